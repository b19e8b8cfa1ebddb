"""The life of a run: its folder, what a resume may change, baselines, the log, the best weights, the result, reload."""

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from programs import refused, rows

from shared import checkpoint, origin, plots, runs, terminal
from shared.config import Count, Natural, Positive, Share, TrainConfig
from shared.errors import Stopped
from shared.files import ROOT, read_json, write_json


@dataclass
class Config(TrainConfig):
    """The flags of a small program."""

    hidden: tuple[Count, ...] = (4, 2)
    momentum: Share = 0.9
    lr: Positive = 0.1
    epochs: Count = 3
    max_steps: Natural = 0
    norm: bool = True


FREE = ("epochs", "max_steps", "lr")
CPU = SimpleNamespace(name="cpu", dtype="float32")


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """The runs of these tests, away from the learner's."""
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture(autouse=True)
def drawn(monkeypatch):
    """What finish draws. The picture itself has tests of its own."""
    calls = []
    monkeypatch.setattr(plots, "curves", lambda *what: calls.append(what))
    return calls


@pytest.fixture
def mine(monkeypatch):
    """mine(True): from here on a learner's own code runs, with --mine."""

    def switch(on):
        monkeypatch.setattr(terminal, "mine", lambda: " --mine" * on)
        monkeypatch.setattr(sys, "argv", [str(ROOT / "week01_numpy_mlp" / "train.py")])

    switch(False)
    return switch


def row(epoch, accuracy, loss=0.5, **more):
    scores = {"train_loss": 1 / epoch, "val_loss": loss, "val_accuracy": accuracy}
    return {"epoch": epoch, "step": 10 * epoch, **scores, "seconds": epoch + 0.125} | more


def scored(epoch, metric, value):
    """A row with this value of the metric."""
    return row(epoch, 0.5) | {metric: value}


def train(cfg, accuracies, stop_at=None):
    """A week's main in small: each row is an epoch. Returns the run and what finish returned."""
    run = runs.begin(1, cfg, FREE)

    def fit():
        state = run.take_state()
        for epoch in range(1 + state.get("step", 0) // 10, 1 + len(accuracies)):
            if epoch == stop_at:
                raise run.stopped("stopped.")
            yield row(epoch, accuracies[epoch - 1])
            run.save({"step": 10 * epoch})

    best, last = run.follow(fit(), lambda: {"weights": np.array([accuracies.index(run.rows[-1]["val_accuracy"])])})
    return run, run.finish(best, last, CPU, 1234, [])


# ---------------------------------------------------------------- folders


def test_runs_are_numbered_per_week_and_named_after_their_preset(folder):
    made = [runs.create(1, Config()), runs.create(1, Config(preset="smoke")), runs.create(2, Config())]
    assert made == [folder / "week01/001-quick", folder / "week01/002-smoke", folder / "week02/001-quick"]


def test_numbers_go_on_after_the_highest(folder):
    for name in ("007-quick", "003-smoke", "my own", "x12", "²"):
        (folder / "week01" / name).mkdir(parents=True)
    assert runs.create(1, Config()).name == "008-quick"


def test_config_is_written_down():
    assert read_json(runs.create(1, Config(data="mnist", seed=3)) / "config.json") == {
        "data": "mnist", "device": "auto", "seed": 3, "out": "", "resume": False, "preset": "quick",
        "hidden": [4, 2], "momentum": 0.9, "lr": 0.1, "epochs": 3, "max_steps": 0, "norm": True,
    }  # fmt: skip


def test_out_of_ones_own(tmp_path):
    out = tmp_path / "a" / "my run"
    assert runs.create(1, Config(out=str(out))) == out
    assert (out / "config.json").is_file()


def test_out_that_holds_a_run_is_left_alone(tmp_path):
    cfg = Config(out=str(tmp_path / "mine"), seed=1)
    run = runs.begin(1, cfg).folder
    line = f"{run} already holds a run: choose another --out, or go on with it by --resume."
    assert refused(runs.begin, 1, replace(cfg, seed=2)) == line
    assert read_json(run / "config.json")["seed"] == 1


def test_out_where_no_folder_can_be(tmp_path):
    (tmp_path / "file").touch()
    line = refused(runs.create, 1, Config(out=str(tmp_path / "file")))
    assert re.fullmatch(r"cannot make a run folder: .*file.*\. Choose another place with --out\.", line)


def test_runs_created_at_once_get_folders_of_their_own(folder):
    code = (
        "import sys; from pathlib import Path; from shared import config, runs\n"
        "runs.RUNS = Path(sys.argv[1]); print('ready', flush=True); sys.stdin.readline()\n"
        "for seed in range(40): print(runs.create(1, config.TrainConfig(seed=seed)))"
    )
    several = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder)], env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8",
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in several:
        assert process.stdout.readline() == "ready\n"
    for process in several:  # both stand at the start: go
        process.stdin.write("\n")
        process.stdin.flush()
    made = [line for process in several for line in process.communicate()[0].splitlines()]
    assert len(made) == len(set(made)) == 80
    assert sorted(path.name for path in (folder / "week01").iterdir()) == [f"{n:03d}-quick" for n in range(1, 81)]


def make(seconds, file="model.safetensors", week=1):
    """A run that was started so many seconds after the epoch."""
    run = runs.create(week, Config())
    (run / file).touch()
    os.utime(run / "config.json", (seconds, seconds))
    return run


def test_newest_is_the_run_that_was_started_last():
    make(100)
    latest = make(300)
    make(200)
    make(400, week=2)
    assert runs.newest(1) == latest


def test_newest_passes_over_runs_without_the_file(folder):
    finished = make(100)
    interrupted = make(200, file="checkpoint.safetensors")
    (folder / "week01" / "copied model").mkdir()
    (folder / "week01" / "copied model" / "model.safetensors").touch()  # no config.json: not a run
    assert runs.newest(1) == finished
    assert runs.newest(1, "checkpoint.safetensors") == interrupted


def test_it_is_said_where_the_newest_is_a_trial_or_of_ones_own_code(folder, capsys):
    def finished(seconds, name, command="./course train 1", **flags):
        cfg = Config(out=str(folder / "week01" / name), **flags)
        run = runs.create(1, cfg)
        (run / "model.safetensors").touch()
        write_json(run / "result.json", {"command": command, "metrics": {"val_accuracy": 0.9}})
        os.utime(run / "config.json", (seconds, seconds))
        return run

    smoke = finished(100, "001-smoke", preset="smoke")
    assert runs.newest_said(1) == smoke and capsys.readouterr().err == "", "there is no other"
    quick = finished(50, "002-quick")
    assert runs.newest_said(1) == smoke
    line = "taking the newest run, {}, {}; another one: --run {}\n"
    assert capsys.readouterr().err == line.format(smoke, "a trial of some seconds", quick)
    bug = finished(200, "003-quick", "./course train 1 --mine exercises/week01-bug2")
    assert runs.newest_said(1) == bug
    assert capsys.readouterr().err == line.format(bug, "of your own code", quick)
    finished(300, "004-quick")
    assert runs.newest_said(1).name == "004-quick" and capsys.readouterr().err == ""


@pytest.mark.parametrize("began", [False, True])
def test_no_run_yet(began):
    if began:
        runs.create(3, Config())
    assert refused(runs.newest, 3) == "no run of week 3 with a model.safetensors yet: `./course train 3` makes one."


@pytest.mark.parametrize(
    ("program", "makes"),
    [("train", "train 3"), ("repeat", "repeat 3"), ("price_forecast", "run 3 price_forecast")],
)
def test_what_makes_a_run_that_is_not_there(program, makes):
    line = f"no run of week 3 with a some.json yet: `./course {makes}` makes one."
    assert refused(runs.newest, 3, "some.json", program) == line


# ---------------------------------------------------------------- begin, and go on


def stopped_run(**flags):
    """A run of two epochs that was stopped in its third; and its flags."""
    cfg = Config(**flags)
    with pytest.raises(Stopped):
        train(cfg, [0.5, 0.6, 0.7], stop_at=3)
    return runs.newest(1, "checkpoint.safetensors") if not cfg.out else Path(cfg.out)


def goes_on(run, **flags):
    """The config of `--resume --out RUN FLAGS`, as the command line's parser makes it."""
    return replace(runs.read_config(Config, run), out=str(run), resume=True, **flags)


def test_a_new_run_begins_at_the_beginning(folder):
    run = runs.begin(1, Config(), FREE)
    assert (run.folder, run.resumed_at, run.rows) == (folder / "week01" / "001-quick", None, [])
    assert run.take_state() == {} and run.before is None


def test_a_run_goes_on_from_its_checkpoint():
    folder = stopped_run()
    run = runs.begin(1, goes_on(folder), FREE)
    assert (run.folder, run.resumed_at) == (folder, 20)
    assert run.take_state() == {"week": 1, "step": 20}
    assert run.take_state() == {}, "handed out once: it may be large"


def test_without_out_the_newest_goes_on():
    folder = stopped_run()
    make(9e9)  # later, but trained to its end and without a checkpoint
    assert runs.begin(1, Config(resume=True), FREE).folder == folder
    assert refused(runs.begin, 2, Config(resume=True)) == (
        "no run of week 2 with a checkpoint.safetensors yet: `./course train 2` makes one."
    )


def test_what_may_change_is_written_back_whole_and_kept_by_the_next_resume():
    folder = stopped_run(seed=7)
    before = read_json(folder / "config.json")
    assert runs.begin(1, goes_on(folder, lr=0.5, epochs=9), FREE).cfg.lr == 0.5
    assert read_json(folder / "config.json") == before | {"lr": 0.5, "epochs": 9}
    again = runs.begin(1, goes_on(folder), FREE)
    assert (again.cfg.lr, again.cfg.epochs, again.cfg.seed) == (0.5, 9, 7)
    assert read_json(folder / "config.json")["resume"] is False


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"momentum": 0.5}, "was started with --momentum 0.9: leave --momentum out, or start a new run."),
        ({"seed": 8}, "was started with --seed 0: leave --seed out, or start a new run."),
        ({"hidden": (4, 3)}, "was started with --hidden 4 2: leave --hidden out, or start a new run."),
        ({"norm": False}, "was started with --norm: leave --no-norm out, or start a new run."),
        ({"data": "mnist"}, "was started with --data sample: leave --data out, or start a new run."),
        ({"device": "cpu", "lr": 0.5}, "was started with --device auto: leave --device out, or start a new run."),
        ({"preset": "full"}, "was started with --preset quick: leave --preset out, or start a new run."),
    ],
)
def test_what_may_not_change_is_refused_by_name(changed, line):
    folder = stopped_run()
    before = (folder / "config.json").read_bytes()
    assert refused(runs.begin, 1, goes_on(folder, **changed), FREE) == f"{folder} {line}"
    assert (folder / "config.json").read_bytes() == before


def test_a_run_that_was_killed_before_its_first_step_is_the_one_to_go_on_with():
    stopped_run()
    killed = runs.begin(1, Config())
    assert runs.begin(1, Config(resume=True)).folder == killed.folder


@pytest.mark.parametrize("done, kept", [(0, "nothing new is kept"), (1, "what was saved is kept")])
def test_ctrl_c_before_the_loop_hears_it_says_how_it_goes_on(done, kept):
    run = runs.begin(1, Config())

    def rows():
        for epoch in range(done):
            yield {
                "epoch": epoch + 1,
                "step": 1,
                "train_loss": 1.0,
                "val_loss": 1.0,
                "val_accuracy": 0.5,
                "seconds": 1.0,
            }
        raise KeyboardInterrupt

    with pytest.raises(Stopped) as stopped:
        run.follow(rows(), dict)
    assert str(stopped.value) == f"stopped at once; {kept}. `./course train 1 --resume` goes on."


def test_a_switch_that_was_off_is_named_as_one_types_it():
    folder = stopped_run(norm=False)
    line = f"{folder} was started with --no-norm: leave --norm out, or start a new run."
    assert refused(runs.begin, 1, goes_on(folder, norm=True), FREE) == line


def test_where_a_run_lies_may_change(tmp_path):
    moved = stopped_run(out=str(tmp_path / "here")).rename(tmp_path / "there")
    assert runs.begin(1, goes_on(moved), FREE).folder == moved
    assert read_json(moved / "config.json")["out"] == str(tmp_path / "here"), "as it was begun"


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again():
    folder = runs.create(1, Config())
    (folder / "metrics.jsonl").write_text(json.dumps(row(1, 0.5)) + "\n", encoding="utf-8")
    run = runs.begin(1, goes_on(folder), FREE)
    assert run.resumed_at == 0 and run.take_state() == {}
    best, _ = run.follow([row(1, 0.7)], dict)
    assert rows(folder) == runs.without_seconds([best]) and best["val_accuracy"] == 0.7


def test_a_checkpoint_that_cannot_be_gone_on_with():
    folder = stopped_run()
    path = folder / "checkpoint.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert refused(runs.begin, 1, goes_on(folder)).startswith(f"{path} is not a whole checkpoint of this course (")
    checkpoint.save(path, {"week": 2, "step": 3})
    line = f"{path} is not of week 1. Give --out a folder of runs/week01."
    assert refused(runs.begin, 1, goes_on(folder, lr=0.5), FREE) == line
    assert read_json(folder / "config.json")["lr"] == 0.1
    (folder / "config.json").unlink()
    line = f"no run in {folder}: it has no config.json. Give --out another folder, or leave out --resume."
    assert refused(runs.begin, 1, Config(out=str(folder), resume=True)) == line


@pytest.mark.parametrize("out", ["", "my run"])
def test_a_stop_says_how_it_goes_on(monkeypatch, tmp_path, out, mine):
    monkeypatch.chdir(tmp_path)
    where = " --out 'my run'" if out else ""
    run = runs.begin(1, Config(out=out))
    assert str(run.stopped("stopped at step 3.")) == f"stopped at step 3. `./course train 1{where} --resume` goes on."
    mine(True)
    assert str(run.stopped("stopped.")) == f"stopped. `./course train 1 --mine{where} --resume` goes on."


def test_another_program_keeps_and_finds_its_own():
    run = runs.begin(3, Config(), program="price_forecast")
    run.save({"step": 4})
    assert {path.name for path in run.folder.iterdir()} == {"config.json", "price_forecast.safetensors"}
    assert str(run.stopped("stopped.")) == "stopped. `./course run 3 price_forecast --resume` goes on."
    again = runs.begin(3, Config(resume=True), program="price_forecast")
    assert again.folder == run.folder and again.resumed_at == 4
    assert refused(runs.begin, 3, Config(resume=True)).startswith("no run of week 3 with a checkpoint.safetensors")


# ---------------------------------------------------------------- what is made once


BASELINES = {"rows": [{"name": "words", "params": 7, "val_accuracy": 0.25}], "models": {"words": np.arange(3.0)}}


def unasked():
    pytest.fail("made again")


def test_baselines_are_made_once_in_the_life_of_a_run():
    run = runs.begin(1, Config())
    first = run.once("baselines", lambda: BASELINES)
    assert first["rows"] == BASELINES["rows"] and first["week"] == 1
    np.testing.assert_array_equal(first["models"]["words"], BASELINES["models"]["words"])
    again = runs.begin(1, goes_on(run.folder)).once("baselines", unasked)
    assert str(again) == str(first)
    assert {path.name for path in run.folder.iterdir()} == {
        "config.json", "baselines.safetensors", "checkpoint.safetensors",
    }  # fmt: skip


def interrupted():
    raise KeyboardInterrupt


def test_ctrl_c_while_baselines_are_trained():
    run = runs.begin(1, Config())
    with pytest.raises(Stopped) as caught:
        run.once("baselines", interrupted)
    assert str(caught.value) == "stopped during baselines; this part is not kept. `./course train 1 --resume` goes on."
    assert not (run.folder / "baselines.safetensors").exists()
    again = runs.begin(1, Config(resume=True))  # as the line says
    assert (again.folder, again.resumed_at) == (run.folder, 0)
    assert again.once("baselines", lambda: BASELINES)["rows"] == BASELINES["rows"]


def test_ctrl_c_while_something_is_made_late_keeps_the_checkpoint():
    run = runs.begin(1, Config())
    run.save({"step": 30})
    with pytest.raises(Stopped):
        run.once("peer", interrupted)
    assert runs.begin(1, Config(resume=True)).resumed_at == 30


def finished(baselines=True, **flags):
    """A finished run of the reference."""
    run, _ = train(Config(**flags), [0.5, 0.6, 0.7])
    if baselines:
        run.once("baselines", lambda: BASELINES)
    return run.folder


def test_ones_own_code_takes_the_baselines_of_an_equal_run(mine, capsys):
    folder = finished(lr=0.5)
    mine(True)
    run = runs.begin(1, Config(lr=0.5))
    capsys.readouterr()
    assert run.once("baselines", unasked)["rows"] == BASELINES["rows"]
    assert capsys.readouterr().out == f"baselines: those of {folder}, an equal run\n"
    taken, theirs = (place / "baselines.safetensors" for place in (run.folder, folder))
    assert taken.read_bytes() == theirs.read_bytes()
    theirs.unlink()
    assert runs.begin(1, goes_on(run.folder)).once("baselines", unasked), "a copy, whole in itself"


def test_a_part_of_the_training_is_made_by_ones_own_code(mine):
    finished(lr=0.5)
    mine(True)
    other = BASELINES | {"rows": []}
    assert runs.begin(1, Config(lr=0.5)).once("baselines", lambda: other, own=True)["rows"] == []


def test_the_newest_equal_run_is_taken_wherever_its_folder_was_asked_for(mine, folder):
    finished()
    latest = finished(out=str(folder / "week01" / "my own"))
    run = runs.begin(1, Config())
    assert run.twin() == latest
    mine(True)
    own = runs.begin(1, Config(out=str(folder / "elsewhere")))
    assert own.twin() == latest


def other_flags(folder):
    write_json(folder / "config.json", read_json(folder / "config.json") | {"lr": 0.2})


def by_a_learner(folder):
    write_json(folder / "result.json", read_json(folder / "result.json") | {"command": "./course train 1 --mine"})


@pytest.mark.parametrize(
    "spoil",
    [
        other_flags,
        by_a_learner,
        lambda folder: (folder / "result.json").unlink(),  # not finished
        lambda folder: (folder / "config.json").unlink(),
    ],
    ids=["other flags", "by a learner", "not finished", "no run any more"],
)
def test_no_other_run_is_an_equal_one(mine, spoil):
    spoil(finished())
    mine(True)
    run = runs.begin(1, Config())
    assert run.twin() is None
    made = []
    run.once("baselines", lambda: made.append(1) or BASELINES)
    assert made


def test_an_equal_run_without_the_file_and_a_run_without_mine(mine, capsys):
    finished(baselines=False)
    mine(True)
    made = []
    runs.begin(1, Config()).once("baselines", lambda: made.append(1) or BASELINES)
    assert made == [1], "nothing to take"
    mine(False)
    finished()
    runs.begin(1, Config()).once("baselines", lambda: made.append(2) or BASELINES)
    assert made == [1, 2], "the reference trains its own"


def test_a_run_is_not_equal_to_itself(mine):
    run, _ = train(Config(), [0.5])
    assert run.twin() is None


# ---------------------------------------------------------------- the log, and the best weights


def kept_weights(folder):
    return checkpoint.load(folder / "model.safetensors")


def follow(run, scores, metric="val_accuracy", higher=True):
    """Follows rows with these scores; what is kept is the number of the row."""
    made = [
        row(epoch, **{"accuracy": 0.5, metric.removeprefix("val_"): score}) for epoch, score in enumerate(scores, 1)
    ]
    asked = []

    def keep():
        asked.append(len(run.rows))
        return {"weights": np.array([len(run.rows)])}

    best, last = run.follow(iter(made), keep, metric, higher)
    return best["epoch"], last["epoch"], asked


@pytest.mark.parametrize(
    ("scores", "higher", "best", "asked"),
    [
        ([0.5, 0.7, 0.6], True, 2, [1, 2]),
        ([0.5, 0.7, 0.7], True, 2, [1, 2]),  # the first of equals
        ([0.5, 0.6, 0.7], True, 3, [1, 2, 3]),
        ([0.5, 0.5, 0.5], True, 1, [1]),
        ([0.5, 0.3, 0.4], False, 2, [1, 2]),
        ([0.5, 0.3, 0.3], False, 2, [1, 2]),
        ([0.5, 0.6, 0.7], False, 1, [1]),
    ],
)
def test_the_best_weights_are_kept_and_asked_for_no_more_than_that(scores, higher, best, asked):
    run = runs.begin(1, Config())
    metric = "val_accuracy" if higher else "val_loss"
    assert follow(run, scores, metric, higher) == (best, 3, asked)
    saved = kept_weights(run.folder)
    assert saved["weights"].tolist() == [best] and saved["week"] == 1
    assert Config(**saved["config"]) == Config()


def test_rows_are_written_as_they_come():
    run, seen = runs.begin(1, Config()), []

    def fit():
        for epoch in (1, 2, 3):
            yield row(epoch, 0.5)
            seen.append([line["epoch"] for line in run.rows])

    run.follow(fit(), dict)
    assert seen == [[1], [1, 2], [1, 2, 3]]
    assert run.rows == [row(epoch, 0.5) for epoch in (1, 2, 3)], "every digit"


@pytest.mark.parametrize(("epochs", "told"), [(3, [1, 2, 3]), (20, [1, *range(2, 21, 2)]), (35, [1, *range(3, 36, 3)])])
def test_it_tells_of_ten_rows_or_so(capsys, epochs, told):
    run = runs.begin(1, Config(epochs=epochs))
    run.follow([row(epoch, 0.928, 0.24251) for epoch in range(1, epochs + 1)], dict)
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[1]) for line in lines] == told
    assert lines[0] == "epoch   1   train loss 1.0000   val loss 0.2425   val accuracy 92.80%"


def test_gone_on_with_the_best_may_be_a_row_of_before(capsys):
    cfg = Config()
    with pytest.raises(Stopped):
        train(cfg, [0.8, 0.6, 0.7], stop_at=3)
    folder = runs.newest(1)
    capsys.readouterr()
    run, result = train(goes_on(folder), [0.8, 0.6, 0.7])
    assert capsys.readouterr().out.startswith(f"going on in {folder} after step 20\nepoch   3 ")
    assert result["metrics"]["val_accuracy"] == 0.8 and result["metrics"]["last_val_accuracy"] == 0.7
    assert kept_weights(folder)["weights"].tolist() == [0], "those of the first epoch"
    assert [line["epoch"] for line in run.rows] == [1, 2, 3]


def test_rows_that_will_be_computed_again_are_dropped():
    """The log was ahead of the checkpoint when the run was killed."""
    run = runs.begin(1, Config())
    run.save({"step": 10})
    lines = [json.dumps(row(epoch, 0.9)) for epoch in (1, 2)]
    (run.folder / "metrics.jsonl").write_text("\n".join([*lines, '{"epoch": 3']), encoding="utf-8")
    again = runs.begin(1, goes_on(run.folder))
    best, last = again.follow([row(2, 0.4), row(3, 0.5)], dict)
    assert (best, last) == (row(1, 0.9), row(3, 0.5))
    assert again.rows == [row(1, 0.9), row(2, 0.4), row(3, 0.5)]


def test_a_finished_run_is_refused_and_nothing_of_it_changes():
    folder = finished()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    line = f"{folder} has already finished: give --epochs a larger number, or start a new run."
    assert refused(train, goes_on(folder), [0.5, 0.6, 0.7]) == line
    assert refused(train, goes_on(folder, lr=0.9), [0.5, 0.6, 0.7]) == line
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before, "nor is an --lr that was not used"
    _, result = train(goes_on(folder, epochs=4), [0.5, 0.6, 0.7, 0.75])
    assert result["metrics"]["val_accuracy"] == 0.75 and read_json(folder / "config.json")["epochs"] == 4


def test_a_run_that_was_killed_before_its_result_comes_to_its_end():
    run = runs.begin(1, Config())
    run.follow([row(1, 0.5), row(2, 0.6)], dict)
    run.save({"step": 20})
    again = runs.begin(1, goes_on(run.folder))
    best, last = again.follow([], unasked)
    assert (best, last) == (row(2, 0.6), row(2, 0.6))
    assert again.finish(best, last, CPU, 1, [])["metrics"]["val_accuracy"] == 0.6


def test_a_library_that_keeps_the_loop_uses_the_log_and_the_model_alone(capsys):
    run = runs.begin(4, Config())
    with run.log() as log:
        log(row(1, 0.5))
        assert run.rows == [row(1, 0.5)]
        run.save_model({"weights": np.zeros(2)})
    assert capsys.readouterr().out.startswith("epoch   1   train loss")
    assert kept_weights(run.folder).keys() == {"week", "config", "weights"}
    assert run.best([row(1, 0.5), row(2, 0.6), row(3, 0.6)]) == row(2, 0.6)


# ---------------------------------------------------------------- the result


WORDS = {"name": "words", "params": 7, "seconds": 0.5, "val_accuracy": 0.25}
CONSTANT = {"name": "always the same answer", "params": 0, "seconds": 0.0, "val_accuracy": 0.1}


def finish(best=0.75, baselines=(WORDS, CONSTANT), metric="val_accuracy", higher=True, run=None, **more):
    run = run or runs.begin(1, Config(seed=5))
    made = [scored(1, metric, best), scored(2, metric, best + (-0.2 if higher else 0.2))]
    return run, run.finish(*run.follow(made, dict, metric, higher), CPU, 1234, baselines, **more)


def test_result_says_everything_one_needs_to_repeat_it(monkeypatch, drawn):
    program = ROOT / "week01_numpy_mlp" / "train.py"
    monkeypatch.setattr(sys, "argv", [str(program), "--data", "my digits", "--preset=smoke"])
    run, found = finish(best=0.75, flops=99)
    assert found.pop("run") == str(run.folder)
    assert read_json(run.folder / "result.json") == found, "it is JSON as it is returned"
    versions, code, hardware, threads = (found.pop(name) for name in ("versions", "code", "hardware", "threads"))
    assert (code, hardware) == (origin.code(1), origin.hardware()) and threads >= 1
    assert found == {
        "week": 1,
        "command": "./course train 1 --data 'my digits' --preset=smoke",
        "data": "sample",
        "seed": 5,
        "device": "cpu",
        "dtype": "float32",
        "params": 1234,
        "seconds": 2.12,
        "metrics": {"val_accuracy": 0.75, "last_val_loss": 0.5, "last_val_accuracy": 0.55},
        "baselines": [WORDS, CONSTANT],
        "flops": 99,
    }
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert versions["numpy"] == np.__version__
    beside = (WORDS["name"], WORDS["val_accuracy"])
    assert drawn == [(run.folder / "curves.png", run.rows, "val_accuracy", beside)], "the better baseline"


def test_versions_are_those_of_libraries_in_use(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert "torch" not in runs.versions()
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())
    monkeypatch.setattr(runs, "version", lambda library: f"1.0 of {library}")
    assert runs.versions()["torch"] == "1.0 of torch"

    def unknown(library):
        raise runs.PackageNotFoundError(library)

    monkeypatch.setattr(runs, "version", unknown)
    assert runs.versions()["torch"] == "unknown", "as where it lies on the path without being installed"


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_nan_is_no_result(number):
    run = runs.begin(1, Config())
    write_json(run.folder / "result.json", {"old": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.record({"val_accuracy": number}, CPU, 1, 1.0, [])
    assert read_json(run.folder / "result.json") == {"old": 1}


def test_the_table_shows_the_result_beside_its_baselines(capsys, mine):
    run, _ = finish(hints=["one picture: ./course run 1 predict a.png{run}", "and so on"])
    assert (
        capsys.readouterr().out
        == f"""\
epoch   1   train loss 1.0000   val loss 0.5000   val accuracy 75.00%
epoch   2   train loss 0.5000   val loss 0.5000   val accuracy 55.00%

                          val accuracy   parameters   seconds
this network                    75.00%        1,234       2.1
words                           25.00%            7       0.5
always the same answer          10.00%
(the weights of the best epoch on val, 1, are kept)

run folder: {run.folder}
on the test set: ./course eval 1
one picture: ./course run 1 predict a.png
and so on
"""
    )


def test_where_a_later_run_was_begun_beside_it_the_commands_name_the_run(capsys, mine):
    run, later = (runs.begin(1, Config()) for _ in range(2))
    (later.folder / runs.MODEL).touch()
    os.utime(later.folder / "config.json", (2**32, 2**32))
    finish(run=run, hints=["./course run 1 predict a.png{run}"])
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"on the test set: ./course eval 1 --run {run.folder}",
        f"./course run 1 predict a.png --run {run.folder}",
    ]


def test_where_a_folder_was_asked_for_the_commands_name_it(capsys, tmp_path, mine):
    mine(True)
    out = tmp_path / "my run"
    finish(run=runs.begin(1, Config(out=str(out))), hints=["./course run 1 predict a.png{run}"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:] == [
        f"run folder: {out}",
        f"on the test set: ./course eval 1 --mine --run '{out}'",
        f"./course run 1 predict a.png --run '{out}'",
    ]


@pytest.mark.parametrize(
    ("metric", "best", "constant", "warned"),
    [
        ("val_accuracy", 0.2, 0.6, True),
        ("val_accuracy", 0.61, 0.6, True),  # a point
        ("val_accuracy", 0.11, 0.1, True),
        ("val_accuracy", 0.6101, 0.6, False),
        ("val_accuracy", 0.63, 0.6, False),
        ("val_accuracy", 1.0, 1.0, False),  # a perfect score is never nothing
        ("val_accuracy", 1.0, 0.995, False),
        ("val_loss", 0.7, 0.69, True),
        ("val_loss", 0.68, 0.69, True),
        ("val_loss", 0.6799, 0.69, False),
        ("val_loss", 0.2, 0.69, False),
    ],
)
def test_what_counts_as_nothing_learned(capsys, metric, best, constant, warned):
    answer = {**CONSTANT, metric: constant}
    peer = {**WORDS, metric: 0.99}  # however good a trained baseline is
    finish(best, (peer, answer), metric, metric == "val_accuracy", advice="Try another --lr.")
    ours, theirs = (runs.number(metric, value) for value in (best, constant))
    name = metric.replace("_", " ")
    line = f"\nit has learned nothing: {name} {ours}, always the same answer has {theirs}. Try another --lr.\n"
    assert (line in capsys.readouterr().out) is warned


def test_without_a_constant_answer_nothing_is_said_of_it(capsys):
    finish(0.01, (WORDS,))
    finish(0.01, ())
    assert "learned nothing" not in capsys.readouterr().out
    rules = {"name": "rules", "params": 0, "seconds": 0.0, "val_accuracy": 0.9}
    finish(best=0.5, baselines=(rules, CONSTANT))
    assert "learned nothing" not in capsys.readouterr().out, "rules are no constant answer"


def test_ones_own_code_at_the_references_last_digit_is_told_so(mine, capsys):
    accuracies = [0.5, 0.1 + 0.2, 0.7]
    reference, _ = train(Config(), accuracies)
    assert "reference" not in capsys.readouterr().out
    mine(True)
    train(Config(), accuracies)
    line = f"\nYour code has come to the reference's result, to the last digit of every row: {reference.folder}.\n"
    assert line in capsys.readouterr().out
    train(Config(), [0.5, 0.3, 0.7])  # differs in the seventeenth
    line = f"\nThese are not the reference's digits: compare metrics.jsonl here and in {reference.folder}.\n"
    assert line in capsys.readouterr().out
    train(Config(lr=0.5), accuracies)
    said = "\n(`./course train 1` with the same flags trains the reference, to compare yours with)\n"
    assert said in capsys.readouterr().out


def test_the_clock_is_no_digit_of_the_result():
    rows_ = [row(1, 0.5, seconds=1.0), row(2, 0.6, seconds=9.0)]
    assert runs.without_seconds(rows_) == runs.without_seconds([line | {"seconds": 0.0} for line in rows_])
    assert "seconds" not in runs.without_seconds(rows_)[0]


# ---------------------------------------------------------------- rows of tables


def test_baselines_are_rows():
    assert runs.baseline("words", 7, row(3, 0.25, 0.5)) == {
        "name": "words", "params": 7, "seconds": 3.12, "val_accuracy": 0.25, "val_loss": 0.5,
    }  # fmt: skip
    assert runs.constant_answer(np.array([2, 0, 2, 2, 1, 0, 2, 9])) == {**CONSTANT, "val_accuracy": 0.5}
    assert runs.constant_answer([1, 0, 1], "test_accuracy") == {
        "name": "always the same answer", "params": 0, "seconds": 0.0, "test_accuracy": 2 / 3,
    }  # fmt: skip


def test_a_table_has_those_that_have_the_number_and_room_for_long_names(capsys):
    long = {"name": "a convolution over words, of equal size", "params": 1_234_567, "seconds": 70.04, "test_loss": 1.5}
    metrics = {"val_accuracy": 0.5, "test_loss": 0.25}
    runs.print_table({"params": 5, "seconds": 1.0, "metrics": metrics, "baselines": [WORDS, long]}, "test_loss")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "",
        "                                              test loss   parameters   seconds",
        "this network                                     0.2500            5       1.0",
        "a convolution over words, of equal size          1.5000    1,234,567      70.0",
    ]


def test_numbers():
    assert runs.number("val_accuracy", 0.70231) == "70.23%"
    assert runs.number("val_loss", 0.70236) == "0.7024"
    assert runs.in_words({"epoch": 12, "step": 9, "val_loss": 1.0, "seconds": 3.0}) == "epoch  12   val loss 1.0000"


# ---------------------------------------------------------------- a trained run


class Model:
    """As torch's in what is needed of it."""

    def __init__(self):
        self.training = True

    def load_state_dict(self, weights):
        if weights.shape != (2,):
            raise ValueError("another shape")
        self.weights = weights

    def eval(self):
        self.training = False
        return self


def trained(**flags):
    run = runs.begin(1, Config(**flags))
    run.once("baselines", lambda: BASELINES)
    run.follow([row(1, 0.5)], lambda: {"model": np.array([1.5, 2.5])})
    return run


def test_a_trained_run_is_loaded_as_it_was_kept():
    run = trained(hidden=(8,), norm=False)
    found = runs.load(1, Config)
    assert (found.week, found.folder, found.config) == (1, run.folder, Config(hidden=(8,), norm=False))
    assert found.baselines["rows"] == BASELINES["rows"]
    assert runs.load(1, Config, str(run.folder)).folder == runs.load(1, Config, run.folder).folder == run.folder
    model = found.fill(Model(), found.saved["model"])
    assert model.weights.tolist() == [1.5, 2.5] and model.training is False
    (run.folder / "baselines.safetensors").unlink()
    assert runs.load(1, Config).baselines == {}
    assert refused(lambda: runs.load(1, Config).baseline_models) == (
        f"{run.folder}: its baselines.safetensors is gone. Train again, or use another run."
    )


def test_a_model_without_a_mode_is_filled_too():
    trained()
    found = runs.load(1, Config)

    class Plain:
        load_state_dict = Model.load_state_dict

    assert found.fill(Plain(), np.zeros(2)).weights.tolist() == [0, 0]


@pytest.mark.parametrize("error", [RuntimeError, ValueError, KeyError])
def test_weights_that_do_not_fit(error):
    run = trained()

    class Other(Model):
        def load_state_dict(self, weights):
            raise error("several\nlines of torch")

    path = run.folder / "model.safetensors"
    assert refused(runs.load(1, Config).fill, Other(), np.zeros(3)) == (
        f"{path} does not hold the network that it describes. Train again, or use another run."
    )


def test_what_is_no_trained_run_of_this_week(tmp_path):
    assert refused(runs.load, 1, Config) == (
        "no run of week 1 with a model.safetensors yet: `./course train 1` makes one."
    )
    path = tmp_path / "model.safetensors"
    assert refused(runs.load, 1, Config, tmp_path) == (
        f"no checkpoint at {path}. Train first, or give the folder of a finished run."
    )
    line = f"{path} is not a network of week 1. Give --run a folder of runs/week01."
    for saved in (
        {"week": 2, "config": {}},
        {"week": 1},
        {"week": 1, "config": {"heads": 8}},
        {"week": 1, "config": [1]},
        {"config": {}},
    ):
        checkpoint.save(path, saved)
        assert refused(runs.load, 1, Config, tmp_path) == line
    checkpoint.save(path, {"week": 1, "config": {"lr": 0.5}})  # from before the other flags were there
    assert runs.load(1, Config, tmp_path).config == Config(lr=0.5)
    path.write_bytes(path.read_bytes()[:-1])
    assert refused(runs.load, 1, Config, tmp_path).startswith(f"{path} is not a whole checkpoint of this course (")


def test_a_run_that_has_not_come_to_its_end(tmp_path):
    run = trained(out=str(tmp_path / "my run"))
    assert runs.load(1, Config, run.folder), "for a look at it that is enough"
    goes_on = f"./course train 1 --out '{run.folder}' --resume"
    line = f"{run.folder} has not been trained to its end: `{goes_on}` goes on."
    assert refused(lambda: runs.load(1, Config, run.folder, finished=True)) == line
    write_json(run.folder / "result.json", {})
    assert runs.load(1, Config, run.folder, finished=True).folder == run.folder


def test_scores_on_test_are_added_to_the_result_and_its_rows(tmp_path):
    run, before = finish(baselines=[{**WORDS, "note": "kept"}, CONSTANT])
    before.pop("run")
    found = runs.load(1, Config, run.folder)
    theirs = {"words": 0.2, "always the same answer": 0.1, "chance": 0.05}
    scores = {"test_accuracy": 0.5, "test_accuracy_tta": 0.6}
    result = found.scored(scores, theirs)
    assert result == before | {
        "metrics": before["metrics"] | scores,
        "baselines": [
            {**WORDS, "note": "kept", "test_accuracy": 0.2},
            {**CONSTANT, "test_accuracy": 0.1},
            {"name": "chance", "params": 0, "seconds": 0.0, "test_accuracy": 0.05},
        ],
    }
    assert read_json(run.folder / "result.json") == before, "another data set's scores are not the run's"
    assert found.scored(scores, theirs, run.folder) == result == read_json(run.folder / "result.json")
    assert found.scored(scores, theirs, run.folder) == result, "a second time changes nothing"


def test_it_needs_the_standard_library_alone_until_numbers_are_written():
    code = (
        "import sys, shared.runs; found = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(found - sys.stdlib_module_names - {'__main__'}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-S", "-c", code], env=environment, capture_output=True, encoding="utf-8")
    assert (done.stdout, done.stderr) == ("shared\n", "")
