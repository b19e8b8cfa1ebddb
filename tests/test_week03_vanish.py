"""vanish: the adding problem, how the gradients are measured, and the program from end to end."""

import json
import math

import numpy as np
import pytest
import torch
from programs import assert_picture, config, refused, refused_flags
from torch import nn

from shared import results
from week03_lstm import vanish
from week03_lstm.vanish import Adder, Config

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")  # they would print on stderr


def drawn(count, length, seed=0):
    return vanish.adding_problem(count, length, torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- the task


@pytest.mark.parametrize("length", [2, 9, 30])
def test_one_number_of_each_half_is_marked_and_the_target_is_their_sum(length):
    x, y = drawn(200, length)
    numbers, marks = x.unbind(dim=2)
    assert numbers.min() >= 0 and numbers.max() < 1
    assert set(marks.unique().tolist()) <= {0.0, 1.0}
    half = length // 2
    assert (marks[:, :half].sum(dim=1) == 1).all() and (marks[:, half:].sum(dim=1) == 1).all()
    torch.testing.assert_close(y, torch.stack([row[mark > 0].sum() for row, mark in zip(numbers, marks, strict=True)]))
    assert (marks.sum(dim=0) > 0).all(), "every place is marked some time"


def test_the_same_seed_draws_the_same_problem():
    for one, other in zip(drawn(5, 10, seed=3), drawn(5, 10, seed=3), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(drawn(5, 10, seed=3)[0], drawn(5, 10, seed=4)[0])


def test_the_baseline_is_what_always_saying_1_reaches():
    _, y = drawn(100_000, 4)
    assert float(((y - 1) ** 2).mean()) == pytest.approx(vanish.GUESSING, rel=0.02)
    assert float(((y - y.mean()) ** 2).mean()) == pytest.approx(vanish.GUESSING, rel=0.02), "and no number is better"


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_gradients_over_lags_equal_those_of_torchs_own_layers(kind):
    """From each state on, torch's layer reads the rest; autograd gives the prediction's gradient to that state."""
    torch.manual_seed(0)
    network = Adder(kind, 5)
    x, _ = drawn(4, 12)
    found = vanish.gradient_over_lags(network, x)

    network, x = network.double(), x.double()
    norms = []
    for end in range(12, 0, -1):
        with torch.no_grad():
            _, state = network.recurrent(x[:, :end])
        state = [part.requires_grad_() for part in (state if kind == "lstm" else (state,))]
        h = state[0]
        if end < 12:
            outputs, _ = network.recurrent(x[:, end:], tuple(state) if kind == "lstm" else state[0])
            h = outputs[:, -1][None]
        gradients = torch.autograd.grad(network.head(h).sum(), state, allow_unused=True)
        every = torch.cat([g if g is not None else torch.zeros_like(state[0]) for g in gradients], dim=2)
        norms.append(every[0].norm(dim=1))
    expected = [float((norm / norms[0]).mean()) for norm in norms]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found[0] == 1 and len(found) == 12


def test_what_an_rnn_forgets_in_the_simplest_case():
    """Nothing comes in, and W_hh is half the identity: tanh has slope 1 at 0, so half is left at each step."""
    network = Adder("rnn", 3)
    with torch.no_grad():
        for parameter in network.recurrent.parameters():
            parameter.zero_()
        network.recurrent.weight_hh_l0.copy_(0.5 * torch.eye(3))
    found = vanish.gradient_over_lags(network, torch.zeros(2, 30, 2))
    np.testing.assert_allclose(found, 0.5 ** np.arange(30), rtol=1e-6)


def test_an_lstm_whose_forget_gate_is_open_forgets_nothing():
    network = Adder("lstm", 3)
    with torch.no_grad():
        for parameter in network.recurrent.parameters():
            parameter.zero_()
        network.recurrent.bias_ih_l0[3:6] = 50
    found = vanish.gradient_over_lags(network, torch.zeros(2, 500, 2))
    assert found[-1] == pytest.approx(found[1], rel=1e-6) and found[1] > 0.1


def test_float64_reaches_further_than_a_float32_gradient_would():
    torch.manual_seed(0)
    found = vanish.gradient_over_lags(Adder("rnn", 8), drawn(2, 400)[0])
    assert 0 < found[-1] < 1e-45


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_biases(kind):
    H, longest = 40, 100
    torch.manual_seed(0)
    network = Adder(kind, H)
    before = {name: value.clone() for name, value in network.named_parameters()}
    vanish.set_biases(network, "torch", longest)
    assert all(torch.equal(value, before[name]) for name, value in network.named_parameters())

    vanish.set_biases(network, "one", longest)
    both = network.recurrent.bias_ih_l0 + network.recurrent.bias_hh_l0
    assert (both[H : 2 * H] == 1).all()
    for name, value in network.named_parameters():
        same = value.detach() == before[name]
        assert same.all() or ("bias" in name and same[:H].all() and same[2 * H :].all()), name

    vanish.set_biases(network, "chrono", longest)
    both = network.recurrent.bias_ih_l0 + network.recurrent.bias_hh_l0
    forget = both[H : 2 * H]
    assert forget.min() >= 0 and forget.max() <= math.log(longest - 1) and forget.std() > 0.5
    torch.testing.assert_close(both[:H], -forget)


# ---------------------------------------------------------------- training


def flags_of(name="LSTM, chrono", length=10, seed=0, **changed):
    """The flags of one training of `smoke`, changed."""
    found = vanish.trainings(config(vanish, "--preset", "smoke", "--lengths", length, "--seeds", 1), "cpu")
    return found[name, f"length {length}", "seed 0"] | {"seed": seed} | changed


def numbers(row):
    return {key: value for key, value in row.items() if key != "seconds"}


def test_the_seed_decides_everything():
    first, again, other = (vanish.train_once(flags_of(seed=seed)) for seed in (1, 1, 2))
    assert numbers(first) == numbers(again)
    assert first["test_mse"] != other["test_mse"]


@pytest.mark.parametrize("name", ["GRU", "LSTM, chrono"])
def test_a_gated_net_learns_to_add_and_stops_when_it_has(name):
    row = vanish.train_once(flags_of(name, length=6, hidden=16, steps=1500))
    assert row["val_curve"][-1][1] < 0.002 and row["test_mse"] < 0.004
    assert row["guessing"] == pytest.approx(1 / 6, rel=0.1)
    assert row["steps"] < 1500 and row["steps"] == row["val_curve"][-1][0]


def test_the_device_gets_everything(device):
    row = vanish.train_once(flags_of(device=device))
    assert math.isfinite(row["test_mse"]) and len(row["after"]) == 10


def test_a_net_that_diverges_is_told_of_in_one_line(tmp_path):
    cfg = config(vanish, "--preset", "smoke", "--lengths", 8, "--lr", 1e30, "--clip", 0, "--out", tmp_path)
    assert refused(vanish.main, cfg) == "a net's error became infinite: give a smaller --lr, or a --clip above 0."


def test_denormals_count_as_zero_inside_alone():
    tiny = torch.full((1,), 1e-38)
    with vanish.flushed_denormals():
        if torch.set_flush_denormal(True):
            assert (tiny * 1e-3).item() == 0
    assert (tiny * 1e-3).item() > 0


def test_smoke_from_end_to_end(tmp_path, capfd, monkeypatch):
    published = []
    monkeypatch.setattr(results, "publish", lambda *arguments: published.append(arguments))
    result = vanish.main(config(vanish, "--preset", "smoke", "--publish", "--out", tmp_path))
    output, errors = capfd.readouterr()
    assert errors == ""
    assert "synthetic" in output and "Always saying 1: MSE 0.167" in output
    saved = json.loads((tmp_path / "vanish.json").read_text(encoding="utf-8"))
    assert saved["data"] == "adding problem (synthetic)" and saved["baseline"]["test_mse"] == pytest.approx(1 / 6)
    assert len(saved["runs"]) == len(vanish.CONTESTANTS) * 2 * 2 == len(result["runs"])
    lines = {line.split(" | ")[0]: line.strip(" |").split(" | ")[1:] for line in output.splitlines()}
    for row in result["table"]:
        mine = [r["test_mse"] for r in result["runs"] if (r["net"], r["length"]) == (row["net"], row["length"])]
        assert row["test_mse"] == pytest.approx(np.mean(mine)) and row["std"] == pytest.approx(np.std(mine, ddof=1))
        cell = lines[f"| {row['net']}"][{8: 1, 12: 2}[row["length"]]]
        assert cell == f"{row['test_mse']:.4f} ± {row['std']:.4f}, {row['solved']} of 2"
    assert saved["gradients"]["length"] == 12, "100 is none of its lengths: the longest"
    for name in vanish.CONTESTANTS:
        before, after = (saved["gradients"][name][when] for when in ("before", "after"))
        assert len(before) == len(after) == 12 and before[0] == after[0] == 1
    for name in ("gradient_over_lags.png", "adding_problem.png"):
        assert_picture(tmp_path / name)
    ((week, name, text),) = published
    assert (week, name) == (3, "vanish") and text in output
    for name in ("_train_once", "draw_gradients", "draw_adding"):
        monkeypatch.setattr(vanish, name, lambda *_: None)
    assert vanish.main(config(vanish, "--preset", "smoke", "--out", tmp_path)) == saved, "what is trained is kept"


def test_with_ones_own_cells_nothing_is_kept(tmp_path, monkeypatch):
    """They are looked at anew at every call, for they may be others by then."""
    monkeypatch.setattr(vanish, "mine", lambda: " --mine")
    for name in ("draw_gradients", "draw_adding"):
        monkeypatch.setattr(vanish, name, lambda *_: None)
    flags = ("--preset", "smoke", "--lengths", 4, "--steps", 1, "--seeds", 1, "--out", tmp_path)
    for _ in range(2):
        vanish.main(config(vanish, *flags))
    assert not (tmp_path / "trainings").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--lengths", 50, 1), "--lengths 1: must be at least 2."),
        (("--seeds", 0), "--seeds 0: must be at least 1."),
        (("--batch-size", 0), "--batch-size 0: must be at least 1."),
        (("--lr", -1), "--lr -1: must be 0 or more."),
        (("--clip", "nan"), "--clip nan: must be a finite number."),
        (("--jobs", -1), "--jobs -1: must be 0 or more."),
        (("--seed", -1), "--seed -1: must be from 0 to 4294967295."),
        (("--data", "sample"), "--data: no such flag. "),
    ],
)
def test_flags_that_cannot_work(flags, message):
    assert refused_flags(vanish, *flags).startswith(message)


def test_a_length_is_needed():
    assert refused(vanish.main, config(vanish, "--lengths")) == "--lengths: give at least one."


def test_the_contestants_are_equally_wide_and_known():
    for contestant in vanish.CONTESTANTS.values():
        assert isinstance(Adder(contestant.kind, 4).recurrent, nn.RNNBase)
        assert contestant.bias in ("torch", "one", "chrono") and 0 < contestant.lr < 1
    assert Config().lengths == (50, 100, 200, 400)
