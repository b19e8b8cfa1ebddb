"""A training loop's bookkeeping: what is restored and passed over, when it stops, what a row says. No torch here."""

import math
import os
import random
import re
import signal
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from programs import refused

from shared import checkpoint, loop, runs
from shared.errors import Diverged, Stopped
from shared.files import ROOT
from shared.loop import Loop
from shared.runs import without_seconds


@dataclass
class Config:
    """What a Loop and a Run read of a week's config."""

    seed: int = 3
    out: str = ""
    resume: bool = False
    preset: str = "quick"
    epochs: int = 0


class Walk:
    """A model that learns nothing and shows everything: it draws from every generator and keeps what it came to."""

    def __init__(self):
        self.place, self.generator, self.seen, self.restored = np.zeros(2), np.random.default_rng(5), [], 0

    def step(self, rows):
        self.seen.append(list(rows))
        draws = [np.random.rand(), self.generator.normal()]  # noqa: NPY002 (the global state is what is tried here)
        self.place = 0.9 * self.place + draws + random.random()
        return float(np.abs(self.place).sum())

    def state_dict(self):
        return {"place": self.place, "generator": self.generator.bit_generator.state}

    def load_state_dict(self, state):
        self.restored += 1
        self.place, self.generator.bit_generator.state = state["place"], state["generator"]


class Resting:
    """A part without a state, as a gradient scaler that is not used."""

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pytest.fail("there is nothing to load")


PER_EPOCH, STEPS = 4, 12


def fit(walk, run=None, steps=STEPS, per_epoch=PER_EPOCH, press=(), losses=None, label="training"):
    """A week's loop in small. `press`: the steps in which Ctrl-C is pressed; "val n" is the n-th epoch's evaluation."""
    parts = {"model": walk, "scaler": Resting()}
    with Loop(run.cfg if run else Config(), run, steps, per_epoch, "Try less.", label, **parts) as loop:
        for epoch in loop.epochs():
            order = np.random.default_rng([3, epoch]).permutation(2 * per_epoch + 1)
            for rows in loop.batches([order[i : i + 2] for i in range(0, len(order), 2)]):
                loss = walk.step(rows) if losses is None else losses[loop.step]
                loop.add(loss)
                if loop.step in press:
                    signal.raise_signal(signal.SIGINT)
            if f"val {epoch + 1}" in press:
                signal.raise_signal(signal.SIGINT)
            yield loop.row(loss=2 * float(walk.place[0]), accuracy=epoch / 10)


@pytest.fixture
def begin(monkeypatch, tmp_path):
    """begin() is a new run, begin(resume=True) goes on with it."""
    monkeypatch.setattr(runs, "RUNS", tmp_path)
    return lambda **flags: runs.begin(1, Config(**flags), free=("epochs",))


def stopped(rows) -> tuple[str, list]:
    """What a training that is stopped says, and the rows that it has yielded before."""
    seen = []
    with pytest.raises(Stopped) as caught:
        seen.extend(rows)
    return str(caught.value), seen


def draw_meanwhile():
    """What else is drawn between two trainings must not matter to either."""
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002


def same(one, other):
    assert one.place.tobytes() == other.place.tobytes()
    assert one.generator.bit_generator.state == other.generator.bit_generator.state


# ---------------------------------------------------------------- the whole


def test_rows_say_exactly_what_was():
    walk = Walk()
    losses = [0.1, 0.2, 0.4, 0.8, 1.0, 3.0, 0.0, 2.0]
    rows = list(fit(walk, steps=8, losses=losses))
    assert all(0 <= row.pop("seconds") < 1 for row in rows)
    assert rows == [
        {"epoch": 1, "step": 4, "train_loss": (0.1 + 0.2 + 0.4 + 0.8) / 4, "val_loss": 0.0, "val_accuracy": 0.0},
        {"epoch": 2, "step": 8, "train_loss": 1.5, "val_loss": 0.0, "val_accuracy": 0.1},
    ]
    assert [list(row) for row in rows] == [["epoch", "step", "train_loss", "val_loss", "val_accuracy"]] * 2


def test_each_epoch_takes_its_own_batches_and_no_more():
    walk = Walk()
    list(fit(walk))
    assert len(walk.seen) == STEPS and all(len(rows) == 2 for rows in walk.seen), "the last, of one row, is left out"
    for epoch in range(3):
        seen = [row for rows in walk.seen[epoch * PER_EPOCH : (epoch + 1) * PER_EPOCH] for row in rows]
        assert seen == list(np.random.default_rng([3, epoch]).permutation(9)[:8])


def test_losses_may_be_tensors_of_one_number():
    class Tensor:
        def item(self):
            return 0.25

    for loss in (Tensor(), np.float32(0.25), 0.25):
        assert [row["train_loss"] for row in fit(Walk(), losses=[loss] * STEPS)] == [0.25] * 3


def test_seconds_are_those_of_training_alone(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])

    class Slow(Walk):
        def step(self, rows):
            now[0] += 1
            return super().step(rows)

    rows = fit(Slow())
    told = []
    for row in rows:
        told.append(row["seconds"])
        now[0] += 1000  # evaluation, saving, the log
    assert told == [4, 8, 12]


def test_the_seed_decides_where_nothing_is_restored():
    one, other = Walk(), Walk()
    first = list(fit(one))
    draw_meanwhile()
    assert without_seconds(fit(other)) == without_seconds(first)
    same(one, other)


def test_the_bar_bears_its_name_and_its_numbers(monkeypatch):
    bars = []

    class Bar:
        def __init__(self, total, done, label):
            bars.append(self)
            self.began, self.updates, self.shown, self.closed = (total, done, label), 0, {}, False

        def update(self):
            self.updates += 1

        def set_postfix(self, values):
            self.shown = values

        def close(self):
            self.closed = True

    monkeypatch.setattr(loop, "bar", Bar)
    list(fit(Walk(), losses=[0.5] * STEPS, label="baseline: words"))
    (made,) = bars
    assert made.began == (STEPS, 0, "baseline: words") and made.updates == STEPS and made.closed
    assert made.shown == {"loss": "0.5000", "val loss": "0.0000", "val accuracy": "0.2000"}


# ---------------------------------------------------------------- --max-steps


def test_max_steps_ends_inside_an_epoch():
    walk = Walk()
    rows = list(fit(walk, steps=6, losses=[1.0, 1.0, 1.0, 1.0, 2.0, 5.0]))
    assert [(row["epoch"], row["step"], row["train_loss"]) for row in rows] == [(1, 4, 1.0), (2, 6, 3.5)]
    (row,) = fit(Walk(), steps=3, losses=[1.0, 2.0, 6.0])
    assert (row["epoch"], row["step"], row["train_loss"]) == (1, 3, 3.0), "less than an epoch"


def test_a_training_that_max_steps_has_ended_inside_an_epoch_goes_on_bit_for_bit(begin):
    whole, half, rest = Walk(), Walk(), Walk()
    rows = list(fit(whole))
    first = list(fit(half, begin(), steps=6))
    assert without_seconds(first)[0] == without_seconds(rows)[0]
    again = list(fit(rest, begin(resume=True)))
    assert without_seconds(again) == without_seconds(rows)[1:], "the mean is that of the whole epoch"
    same(rest, whole)


# ---------------------------------------------------------------- Ctrl-C, and going on


@pytest.mark.parametrize(
    ("press", "step", "told"),
    [
        (1, 1, 0),
        (3, 3, 0),  # inside the first epoch
        (4, 4, 1),  # in its last step: its row is told of first
        ("val 1", 4, 1),  # in its evaluation
        (7, 7, 1),
        ("val 2", 8, 2),
        (11, 11, 2),
    ],
)
def test_stopped_and_gone_on_it_is_bit_for_bit_the_same(begin, press, step, told):
    whole, half, rest = Walk(), Walk(), Walk()
    rows = without_seconds(fit(whole))
    line, before = stopped(fit(half, begin(), press=[press]))
    assert line == f"stopped at step {step} of {STEPS}; saved. `./course train 1 --resume` goes on."
    assert without_seconds(before) == rows[:told]
    draw_meanwhile()
    run = begin(resume=True)
    assert run.resumed_at == step
    after = without_seconds(fit(rest, run))
    assert rest.restored == 1
    assert after == rows[told:]
    assert half.seen + rest.seen == whole.seen, "no batch twice, none left out"
    same(rest, whole)


def test_stopped_at_every_step_it_still_comes_to_the_same_end(begin):
    whole, seen = Walk(), []
    rows = without_seconds(fit(whole))
    told, flags = [], {}
    for step in range(1, STEPS):
        walk = Walk()
        line, before = stopped(fit(walk, begin(**flags), press=[step]))
        assert line.startswith(f"stopped at step {step} of {STEPS}; saved.")
        told, seen, flags = told + before, seen + walk.seen, {"resume": True}
    last = Walk()
    told += fit(last, begin(resume=True))
    assert without_seconds(told) == rows and seen + last.seen == whole.seen
    same(last, whole)


def test_seconds_go_on_where_they_were(begin, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])

    class Slow(Walk):
        def step(self, rows):
            now[0] += 1
            return super().step(rows)

    stopped(fit(Slow(), begin(), press=[6]))
    now[0] += 1000
    assert [row["seconds"] for row in fit(Slow(), begin(resume=True))] == [8, 12]


@pytest.mark.parametrize("press", [STEPS, "val 3"])
def test_ctrl_c_in_the_very_last_step_comes_too_late(begin, press):
    assert len(list(fit(Walk(), begin(), press=[press]))) == 3


def test_epochs_of_a_single_step_are_left_too(begin):
    whole, half, rest = Walk(), Walk(), Walk()
    rows = without_seconds(fit(whole, steps=5, per_epoch=1))
    line, before = stopped(fit(half, begin(), steps=5, per_epoch=1, press=[2]))
    assert line.startswith("stopped at step 2 of 5; saved.") and without_seconds(before) == rows[:2]
    assert without_seconds(fit(rest, begin(resume=True), steps=5, per_epoch=1)) == rows[2:]
    same(rest, whole)
    with pytest.raises(KeyboardInterrupt):
        list(fit(Walk(), steps=5, per_epoch=1, press=[2]))


def test_a_second_ctrl_c_does_not_wait(begin):
    rows = fit(Walk(), begin(), press=["val 1"])
    next(rows)  # the first has been pressed
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    rows.close()


@pytest.mark.parametrize("press", [2, 4])
def test_without_a_run_ctrl_c_is_a_keyboard_interrupt(press):
    walk = Walk()
    with pytest.raises(KeyboardInterrupt):
        list(fit(walk, press=[press]))
    assert len(walk.seen) == press


class Silent:
    """A bar that only knows whether it is still open."""

    def __init__(self, *_):
        self.open = True

    def update(self): ...

    def set_postfix(self, values): ...

    def close(self):
        self.open = False


@pytest.mark.parametrize("end", ["whole", "left", "stopped", "diverged"])
def test_handlers_are_put_back_and_the_bar_is_closed(begin, end, monkeypatch):
    hear, bars = signal.getsignal(signal.SIGINT), []
    monkeypatch.setattr(loop, "bar", lambda *_: bars.append(Silent()) or bars[-1])
    losses = [math.nan] * STEPS if end == "diverged" else None
    rows = fit(Walk(), begin(), press=[6] * (end == "stopped"), losses=losses)
    try:
        next(rows)
        assert signal.getsignal(signal.SIGINT) is not hear and bars[0].open
        if end != "left":
            list(rows)
        rows.close()
        assert end in ("whole", "left")
    except (Stopped, Diverged):
        assert end in ("stopped", "diverged")
    assert signal.getsignal(signal.SIGINT) is hear and not bars[0].open


def test_what_is_passed_over_is_not_looked_at(begin):
    """Nor made, so it draws no random number: a sequence is cut, not walked through."""

    class Rows(list):
        def __iter__(self):
            pytest.fail("walked through from its beginning")

        def __getitem__(self, cut):
            return [super(Rows, self).__getitem__(i) for i in range(*cut.indices(len(self)))]

    state = {"step": 6, "losses": 1.0, "seconds": 0.0, "model": Walk().state_dict(), "rng": loop.rng_state()}
    begin().save(state)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    with Loop(Config(resume=True), begin(resume=True), STEPS, PER_EPOCH, model=Walk()) as going:
        assert [next(going.epochs()), *going.batches(Rows("abcdef"))] == [1, "c", "d"]
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_a_checkpoint_holds_the_named_parts_and_the_count(begin):
    run = begin()
    walk = Walk()
    rows = fit(walk, run)
    next(rows), next(rows)  # saved after the first epoch
    saved = checkpoint.load(run.folder / "checkpoint.safetensors")
    rows.close()
    assert saved.keys() == {"week", "model", "scaler", "step", "losses", "seconds", "rng"}
    assert (saved["week"], saved["step"], saved["losses"], saved["scaler"]) == (1, 4, 0.0, {})


def test_a_run_that_was_stopped_before_its_first_step_begins_at_the_beginning(begin):
    begin().save({"step": 0})
    walk, whole = Walk(), Walk()
    rows = list(fit(walk, begin(resume=True)))
    assert without_seconds(rows) == without_seconds(fit(whole)) and walk.restored == 0
    same(walk, whole)


# ---------------------------------------------------------------- no number


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_ends_it_with_the_weeks_advice(begin, loss):
    run = begin()
    rows = fit(Walk(), run, losses=[0.1] * 5 + [loss] + [0.1] * 6)
    next(rows)
    assert refused(list, rows) == (f"the loss became {loss} at step 6 (epoch 2): the steps are too large. Try less.")
    assert checkpoint.load(run.folder / "checkpoint.safetensors")["step"] == 4, "the last whole epoch is kept"


def one_row(going, **val):
    with going:
        for _ in going.epochs():
            for _ in going.batches(range(4)):
                going.add(0.5)
            return going.row(**val)


def test_a_step_too_far_at_the_very_end_shows_on_val():
    line = "the loss became inf at step 4 (epoch 1): the steps are too large. Less!"
    assert refused(lambda: one_row(Loop(Config(), None, 4, 4, "Less!"), loss=math.inf, accuracy=0.1)) == line


def test_a_row_needs_no_loss_on_val():
    row = one_row(Loop(Config(), None, 4, 4), perplexity=2.0)
    assert list(row) == ["epoch", "step", "train_loss", "val_perplexity", "seconds"]


# ---------------------------------------------------------------- the module


def test_it_is_short_and_knows_no_torch():
    text = (ROOT / "shared" / "loop.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 130, "it only keeps count"
    imported = re.findall(r"^(?:from|import) (\w+)", text, re.M)
    assert set(imported) - {"shared"} <= sys.stdlib_module_names and text.count("import ") == len(imported)


def test_it_loads_no_torch_behind_its_back():
    code = "import sys, shared.loop; print(sorted({'torch', 'matplotlib', 'tyro', 'safetensors'} & sys.modules.keys()))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, encoding="utf-8")
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_what_an_optimiser_keeps_lies_as_its_weights_lie():
    """A fused optimiser walks through memory: momenta in another order than the weights' would mix them up."""
    import torch

    drawn = torch.Generator().manual_seed(0)
    start, gradients = torch.randn(4, 3, 3, 3, generator=drawn), torch.randn(6, 4, 3, 3, 3, generator=drawn)

    def stepped(weight, optimizer, rows):
        for row in rows:
            weight.grad = row.to(memory_format=torch.channels_last)
            optimizer.step()

    def begun(at):
        weight = torch.nn.Parameter(at.clone().to(memory_format=torch.channels_last))
        return weight, torch.optim.AdamW([weight], 0.1, fused=True)

    whole, optimizer = begun(start)
    stepped(whole, optimizer, gradients)
    weight, optimizer = begun(start)
    stepped(weight, optimizer, gradients[:3])
    state = optimizer.state_dict()
    for kept in state["state"].values():
        kept.update({name: value.contiguous() for name, value in kept.items()})  # as a file holds them
    weight, optimizer = begun(weight.detach())
    checkpoint.restore(optimizer, state)
    stepped(weight, optimizer, gradients[3:])
    assert torch.equal(weight, whole)
