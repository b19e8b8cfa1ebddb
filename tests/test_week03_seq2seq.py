"""seq2seq: the task, teacher forcing against greedy decoding, and the program from end to end."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from shared import cli
from shared.errors import CourseError
from week03_lstm import seq2seq
from week03_lstm.seq2seq import END, START, SYMBOLS, Seq2Seq, Task

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")  # they would print on stderr


def config(*flags):
    return cli.parse(seq2seq.Config, seq2seq.PRESETS, list(map(str, flags)))


def refused(cfg) -> str:
    with pytest.raises(CourseError) as caught:
        seq2seq.main(cfg)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def drawn(count, length, seed=0):
    return seq2seq.strings(count, length, torch.Generator().manual_seed(seed))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Seq2Seq(hidden=12)


def test_what_is_to_be_answered():
    digits = torch.tensor([[3, 1, 2, 1], [9, 9, 0, 4]])
    assert seq2seq.answer(digits, "reverse").tolist() == [[1, 2, 1, 3], [4, 0, 9, 9]]
    assert seq2seq.answer(digits, "sort").tolist() == [[1, 1, 2, 3], [0, 4, 9, 9]]
    assert seq2seq.with_end(digits).tolist() == [[3, 1, 2, 1, END], [9, 9, 0, 4, END]]
    assert drawn(500, 3).unique().tolist() == list(range(10))


def test_loss_is_the_mean_cross_entropy_of_each_next_symbol(network):
    digits = drawn(6, 4)
    right = [*digits.flip(1).unbind(dim=1), torch.full((6,), END)]
    so_far, surprises = [torch.full((6,), START)], []
    for symbol in right:  # one more symbol each time, everything read anew
        logits = network(digits, torch.stack(so_far, dim=1))[:, -1]
        surprises.append(F.cross_entropy(logits, symbol))
        so_far.append(symbol)
    torch.testing.assert_close(seq2seq.loss(network, digits, "reverse"), torch.stack(surprises).mean())
    assert surprises[0].item() == pytest.approx(math.log(SYMBOLS), abs=0.5), "at first it can only guess"


def test_greedy_decoding_reads_its_own_words(network):
    digits = drawn(5, 6)
    written = network.greedy(digits, 9)
    before = torch.cat([torch.full((5, 1), START), written[:, :-1]], dim=1)
    assert torch.equal(network(digits, before).argmax(dim=2), written)
    assert torch.equal(network.greedy(digits, 4), written[:, :4])


def test_the_decoder_knows_nothing_but_the_last_state(network):
    """Two strings with the same last state are one to it: that is the bottleneck."""
    digits = drawn(2, 7)
    _, (h, c) = network.encoder(network.table(digits))
    assert h.numel() + c.numel() == 2 * 2 * 12
    with torch.no_grad():
        for parameter in network.encoder.parameters():
            parameter.zero_()
    assert torch.equal(*network(digits, torch.full((2, 3), START)))


@pytest.mark.parametrize("length", [1, 2, 7])
def test_the_baseline_is_the_likeliest_digit_at_each_place(length):
    for what in seq2seq.TASKS:
        right = seq2seq.answer(drawn(50_000, length), what)
        counts = F.one_hot(right, 10).float().mean(dim=0)  # (T, 10)
        assert seq2seq.guessing(length, what) == pytest.approx(counts.amax(dim=1).mean().item(), abs=0.01)


class Says(Seq2Seq):
    """A network that always writes the same."""

    def __init__(self, symbols):
        super().__init__(hidden=1)
        self.symbols = torch.tensor(symbols)

    def greedy(self, digits, steps):
        return self.symbols[:, :steps]


def test_accuracy_of_whole_strings_and_of_digits():
    digits = torch.tensor([[1, 2, 3], [4, 5, 6]])
    for written, expected in (
        ([[3, 2, 1, END], [6, 5, 4, END]], (1.0, 1.0)),
        ([[3, 2, 1, END], [6, 5, 4, 4]], (0.5, 1.0)),  # no end: not right as a whole
        ([[3, 2, 1, END], [6, 5, END, END]], (0.5, 5 / 6)),
        ([[1, 2, 3, END], [END, END, END, END]], (0.0, 1 / 6)),
    ):
        assert seq2seq.accuracy(Says(written), digits, "reverse") == pytest.approx(expected)


def test_learning_rate_rises_and_falls():
    rates = [seq2seq.learning_rate(step, 100, 0.01) for step in range(100)]
    assert rates[0] == pytest.approx(0.002) and max(rates) == pytest.approx(0.01) and rates[-1] < 1e-5
    assert seq2seq.learning_rate(0, 1, 0.01) > 0


def task(seed=0, hidden=16, **flags):
    return Task(hidden, seed, replace(config("--preset", "smoke"), **flags), "cpu")


@pytest.mark.parametrize("what", ["reverse", "sort"])
def test_it_learns_short_strings(what):
    row = seq2seq.train_once(task(hidden=32, task=what, max_len=2, steps=400, lr=0.02))
    assert row["exact"][0] > 0.95 and row["exact"][1] > 0.5, "guessing has 10 % and 1 %"
    assert row["loss"] < 0.5 * math.log(SYMBOLS)
    assert len(row["exact"]) == len(row["digits"]) == 3  # 1, 2, and 3 digits, which it has not been taught
    assert all(each >= whole for whole, each in zip(row["exact"], row["digits"], strict=True))


def test_the_seed_decides_everything():
    first, again, other = (seq2seq.train_once(task(seed=seed)) for seed in (1, 1, 2))
    del first["seconds"], again["seconds"]
    assert first == again and first["loss"] != other["loss"]


def test_the_device_gets_everything(device):
    row = seq2seq.train_once(replace(task(steps=3), device=device))
    assert math.isfinite(row["loss"])


@pytest.mark.parametrize("what", ["reverse", "sort"])
def test_smoke_from_end_to_end(what, tmp_path, capfd):
    result = seq2seq.main(config("--preset", "smoke", "--task", what, "--hidden", 8, 4, "--out", tmp_path))
    output, errors = capfd.readouterr()
    assert errors == ""
    assert f"random digits (synthetic), to {what}; trained on 1 to 4 of them" in output
    saved = json.loads((tmp_path / "seq2seq.json").read_text(encoding="utf-8"))
    assert saved["data"] == "random digits (synthetic)" and saved["lengths"] == [1, 2, 3, 4, 5, 6]
    assert [(row["hidden"], row["seed"]) for row in saved["runs"]] == [(4, 0), (4, 1), (8, 0), (8, 1)]
    for row in result["table"]:
        mine = [run["digits"] for run in saved["runs"] if run["hidden"] == row["hidden"]]
        np.testing.assert_allclose(row["digits"], np.mean(mine, axis=0))
        np.testing.assert_allclose(row["digits_std"], np.std(mine, axis=0, ddof=1))
        assert f"| {row['hidden']} | {row['params']:,} |" in output
    digits, right, written = saved["runs"][-1]["examples"][-1]
    assert len(digits) == len(right) == 6 and len(written) == 7
    assert right == (digits[::-1] if what == "reverse" else "".join(sorted(digits)))
    with Image.open(tmp_path / "accuracy_over_length.png") as image:
        image.load()
        assert min(image.size) > 200 and len(image.convert("RGB").getcolors(256)) > 10


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--task", "copy"), "--task copy: choose one of reverse, sort."),
        (("--hidden", 0), "--hidden (0,): must be numbers of at least 1."),
        (("--max-len", 0), "--max-len 0: must be at least 1."),
        (("--test-strings", 0), "--test-strings 0: must be at least 1."),
        (("--lr", 0), "--lr 0.0: must be a number above 0."),
        (("--clip", "inf"), "--clip inf: must be a number above 0."),
        (("--jobs", -1), "--jobs -1: must be 0 (as many as there are cores) or more."),
        (("--seed", -1), "--seed -1: must be 0 or more."),
    ],
)
def test_flags_that_cannot_work(flags, message):
    assert refused(config(*flags)) == message
