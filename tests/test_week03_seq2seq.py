"""seq2seq: the task, teacher forcing against greedy decoding, and the program from end to end."""

import json
import math

import numpy as np
import pytest
import torch
from programs import assert_picture, config, refused, refused_flags
from torch.nn import functional as F

from shared import results
from week03_lstm import seq2seq
from week03_lstm.seq2seq import END, START, SYMBOLS, Seq2Seq

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")  # they would print on stderr


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
    for what in ("reverse", "sort"):
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


def flags_of(seed=0, hidden=16, **changed):
    """The flags of one training of `smoke`, changed."""
    found = seq2seq.trainings(config(seq2seq, "--preset", "smoke", "--seeds", 1, "--hidden", hidden), "cpu")
    (flags,) = found.values()
    return flags | {"seed": seed} | changed


@pytest.mark.parametrize("what", ["reverse", "sort"])
def test_it_learns_short_strings(what):
    row = seq2seq.train_once(flags_of(hidden=32, task=what, max_len=2, steps=250, lr=0.02))
    assert row["exact"][0] > 0.95 and row["exact"][1] > 0.5, "guessing has 10 % and 1 %"
    assert row["loss"] < 0.5 * math.log(SYMBOLS)
    assert len(row["exact"]) == len(row["digits"]) == 3  # 1, 2, and 3 digits, which it has not been taught
    assert all(each >= whole for whole, each in zip(row["exact"], row["digits"], strict=True))


def test_the_seed_decides_everything():
    first, again, other = (seq2seq.train_once(flags_of(seed=seed)) for seed in (1, 1, 2))
    del first["seconds"], again["seconds"]
    assert first == again and first["loss"] != other["loss"]


def test_the_device_gets_everything(device):
    row = seq2seq.train_once(flags_of(steps=3, device=device))
    assert math.isfinite(row["loss"])


@pytest.mark.parametrize("what", ["reverse", "sort"])
def test_smoke_from_end_to_end(what, tmp_path, capfd, monkeypatch):
    published = []
    monkeypatch.setattr(results, "publish", lambda *arguments: published.append(arguments))
    if what == "sort":  # one picture is enough
        monkeypatch.setattr(seq2seq, "draw", lambda rows, cfg, path: path.touch())
    flags = ("--preset", "smoke", "--task", what, "--hidden", 8, 4, "--publish", "--out", tmp_path)
    seq2seq.main(config(seq2seq, *flags))
    output, errors = capfd.readouterr()
    assert errors == ""
    assert f"random digits (synthetic), to {what}; trained on 1 to 4 of them" in output
    saved = json.loads((tmp_path / "seq2seq.json").read_text(encoding="utf-8"))
    assert saved["data"] == "random digits (synthetic)" and saved["lengths"] == [1, 2, 3, 4, 5, 6]
    assert [(row["hidden"], row["seed"]) for row in saved["runs"]] == [(4, 0), (4, 1), (8, 0), (8, 1)]
    for row in saved["table"]:
        mine = [run["digits"] for run in saved["runs"] if run["hidden"] == row["hidden"]]
        np.testing.assert_allclose(row["digits"], np.mean(mine, axis=0))
        np.testing.assert_allclose(row["digits_std"], np.std(mine, axis=0, ddof=1))
        at_four = f"{100 * row['exact'][3]:.1f} ± {100 * row['exact_std'][3]:.1f}"
        (line,) = (line for line in output.splitlines() if line.startswith(f"| 2 × {row['hidden']} |"))
        assert line.split(" | ")[1] == f"{row['params']:,}" and line.split(" | ")[3] == at_four
    digits, right, written = saved["runs"][-1]["examples"][-1]
    assert len(digits) == len(right) == 6 and len(written) == 7
    assert right == (digits[::-1] if what == "reverse" else "".join(sorted(digits)))
    ((week, name, text),) = published
    assert (week, name) == (3, "seq2seq") and text in output
    if what == "reverse":
        assert_picture(tmp_path / "accuracy_over_length.png")


def test_what_has_been_trained_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(seq2seq, "draw", lambda *_: None)
    flags = ("--preset", "smoke", "--steps", 2, "--out", tmp_path)
    first = seq2seq.main(config(seq2seq, *flags))
    trained, real = [], seq2seq.train_once
    monkeypatch.setattr(seq2seq, "train_once", lambda flags, threads: trained.append(flags) or real(flags, threads))
    assert seq2seq.main(config(seq2seq, *flags)) == first and not trained
    seq2seq.main(config(seq2seq, *flags, "--seeds", 3))
    assert [one["seed"] for one in trained] == [2]


def test_a_net_that_diverges_is_told_of_in_one_line(tmp_path, monkeypatch):
    real = seq2seq.loss
    monkeypatch.setattr(seq2seq, "loss", lambda *arguments: real(*arguments) * math.inf)
    cfg = config(seq2seq, "--preset", "smoke", "--seeds", 1, "--out", tmp_path)
    assert refused(seq2seq.main, cfg) == "a net's loss became infinite: give a smaller --lr."


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--task", "copy"), "--task copy: must be one of reverse, sort."),
        (("--hidden", 0), "--hidden 0: must be at least 1."),
        (("--max-len", 0), "--max-len 0: must be at least 1."),
        (("--test-strings", 0), "--test-strings 0: must be at least 1."),
        (("--lr", 0), "--lr 0: must be above 0."),
        (("--clip", "inf"), "--clip inf: must be a finite number."),
        (("--jobs", -1), "--jobs -1: must be 0 or more."),
        (("--seed", -1), "--seed -1: must be from 0 to 4294967295."),
    ],
)
def test_flags_that_cannot_work(flags, message):
    assert refused_flags(seq2seq, *flags) == message


def test_a_size_is_needed():
    assert refused(seq2seq.main, config(seq2seq, "--hidden")) == "--hidden: give at least one."
