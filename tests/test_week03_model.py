"""Week 3's recurrent networks against torch.nn's with the same weights, and against what must be true of them.

The tests marked `exercise(K)` are what `./course check 3` holds a learner's piece K to; piece 6 is in test_week03_data.
"""

import itertools
from dataclasses import replace
from functools import partial

import programs
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from week03_lstm import sentiment_model
from week03_lstm.model import CELLS, Cell, LSTMCell, Recurrent, TorchRecurrent, pool, turned
from week03_lstm.sentiment_model import ConvClassifier, SentimentClassifier, SentimentConfig, body_params, build

KINDS = ("rnn", "gru", "lstm")
LAYERS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
STEPS = {"rnn": nn.RNNCell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}
LENGTHS = torch.tensor([7, 3, 1, 7, 5])
INPUT, HIDDEN = 4, 6

close = partial(programs.close, tolerance=1e-9)  # both in float64


def numbers(rows):
    return torch.tensor(rows, dtype=torch.float64)


def twins(kind, seed=0):
    """Our cell and torch's with the same weights, an input and a state, in float64."""
    torch.manual_seed(seed)
    ours, theirs = CELLS[kind](INPUT, HIDDEN).double(), STEPS[kind](INPUT, HIDDEN).double()
    ours.load_state_dict(theirs.state_dict())
    x, h, c = (torch.randn(5, size, dtype=torch.float64, requires_grad=True) for size in (INPUT, HIDDEN, HIDDEN))
    return ours, theirs, x, (h, c) if kind == "lstm" else (h,)


def by_torch(theirs, x, state):
    new = theirs(x, state if len(state) == 2 else state[0])
    return new if isinstance(new, tuple) else (new,)


def torchs_step(kind, projected, state, weight_hh, bias_hh):
    """What torch's cell makes of `projected`: it is the input, and the inputs' matrix is 1."""
    rows = projected.shape[1]
    theirs = STEPS[kind](rows, state[0].shape[1]).double()
    weights = {"weight_ih": torch.eye(rows), "bias_ih": torch.zeros(rows), "weight_hh": weight_hh, "bias_hh": bias_hh}
    theirs.load_state_dict(weights)
    with torch.no_grad():
        return by_torch(theirs, projected, state)


def gradients(outputs, inputs):
    """Gradients of a fixed weighting of all outputs with respect to each input."""
    torch.manual_seed(1)
    loss = sum((output * torch.randn(output.shape, dtype=output.dtype)).sum() for output in outputs)
    return torch.autograd.grad(loss, inputs)


def none_of(found, expected, where, slips):
    """Fails with the name of the slip, where `found` is what one of the usual ones leads to, and not `expected`."""
    if isinstance(found, torch.Tensor) and found.shape == expected.shape and not torch.allclose(found, expected):
        for told, wrong in slips.items():
            assert not torch.allclose(found, wrong), f"{where}: {told}"


def check_step(kind, what, projected, state, weight_hh, bias_hh):
    """One step against torch's, and against the usual slips."""
    projected, weight_hh, bias_hh = map(numbers, (projected, weight_hh, bias_hh))
    state = tuple(map(numbers, state))
    found = CELLS[kind].step(projected, state, weight_hh, bias_hh)
    expected = torchs_step(kind, projected, state, weight_hh, bias_hh)
    for name, slips in SLIPS[kind](projected, state, weight_hh, bias_hh).items():
        place = ("h'", "c'").index(name)
        none_of(found[place], expected[place], what, slips)
    compare_states(found, expected, f"{what}, ")


def compare_states(found, expected, what):
    parts = "one part, (h',)" if len(expected) == 1 else "two parts, (h', c')"
    assert isinstance(found, tuple), f"{what}the new state is a {type(found).__name__}, should be a tuple of {parts}"
    assert len(found) == len(expected), f"{what}the new state has {len(found)} parts, should have {parts}"
    for name, a, b in zip(("h'", "c'"), found, expected, strict=False):
        close(a, b, f"{what}{name}")


def check_cell(kind):
    ours, theirs, x, state = twins(kind)
    found, expected = ours(x, state), by_torch(theirs, x, state)
    parts = tuple(part.detach() for part in (F.linear(x, ours.weight_ih, ours.bias_ih), *state))
    slips = SLIPS[kind](parts[0], parts[1:], ours.weight_hh.detach(), ours.bias_hh.detach())
    for a, b, name in zip(found, expected, ("h'", "c'"), strict=False):
        none_of(a, b, "with random numbers", slips.get(name, {}))
    compare_states(found, expected, "with random numbers, ")
    names = ["x", *("h", "c")[: len(state)], *dict(ours.named_parameters())]
    left = gradients(found, [x, *state, *ours.parameters()])
    right = gradients(expected, [x, *state, *theirs.parameters()])
    for name, a, b in zip(names, left, right, strict=True):
        close(a, b, f"the gradient of the {kind.upper()}'s {name}")
    close(ours(x)[0], by_torch(theirs, x, tuple(map(torch.zeros_like, state)))[0], "from a state of zeros, h'")


# ---------------------------------------------------------------- exercises 1 to 3: the cells


def rnn_slips(projected, state, weight_hh, bias_hh):
    (h,) = state
    right = projected + h @ weight_hh.T + bias_hh
    return {"h'": {
        "weight_hh is taken as it stands, should be transposed: h @ weight_hh.T, which F.linear(h, weight_hh) does":
            torch.tanh(projected + h @ weight_hh + bias_hh),
        "bias_hh is missing, should be added": torch.tanh(right - bias_hh),
        "the state is not read, should be: h @ weight_hh.T": torch.tanh(projected + bias_hh),
        "the tanh is missing, should be over the whole sum": right,
        "the function is a sigmoid, should be a tanh": torch.sigmoid(right),
        "the tanh is over projected alone, should be over the whole sum": right - projected + torch.tanh(projected),
    }}  # fmt: skip


def gru_slips(projected, state, weight_hh, bias_hh):
    (h,) = state
    x_r, x_z, x_n = projected.chunk(3, dim=1)
    h_r, h_z, h_n = (h @ weight_hh.T + bias_hh).chunk(3, dim=1)
    r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + r * h_n)
    before = (r * h) @ weight_hh.chunk(3)[2].T + bias_hh.chunk(3)[2]
    return {"h'": {
        "z and 1 - z are swapped: where z is 1 h' is n, should be h, the state stays": z * n + (1 - z) * h,
        "r multiplies h before the matrix, should multiply W_hn h + b_hn, after it": (
            (1 - z) * torch.tanh(x_n + before) + z * h
        ),
        "r multiplies the input's part of n too, should multiply the state's part alone": (
            (1 - z) * torch.tanh(r * (x_n + h_n)) + z * h
        ),
        "r multiplies nothing, should multiply the state's part of n": (1 - z) * torch.tanh(x_n + h_n) + z * h,
        "r and z are swapped: the rows are taken as z, r, n, should be r, z, n": (
            (1 - r) * torch.tanh(x_n + z * h_n) + r * h
        ),
        "the tanh of n is missing, should be over x_n + r * h_n": (1 - z) * (x_n + r * h_n) + z * h,
        "n is a sigmoid, should be a tanh": (1 - z) * torch.sigmoid(x_n + r * h_n) + z * h,
    }}  # fmt: skip


def lstm_slips(projected, state, weight_hh, bias_hh):
    h, c = state
    rows = projected + h @ weight_hh.T + bias_hh
    (i, f, g, o), by_units = rows.chunk(4, dim=1), rows.unflatten(1, (-1, 4)).unbind(dim=2)
    (i, f, o), g = map(torch.sigmoid, (i, f, o)), torch.tanh(g)
    cell, mixed = f * c + i * g, torch.sigmoid(by_units[1]) * c + torch.sigmoid(by_units[0]) * torch.tanh(by_units[2])
    return {
        "c'": {
            "i and f are swapped: c' is i * c + f * g, should be f * c + i * g": i * c + f * g,
            "the new state is (c', h'), should be (h', c')": o * torch.tanh(cell),
            "the rows are taken unit by unit, should be gate by gate: H for i, then H for f, and so on": mixed,
            "c' is a tanh, should be f * c + i * g alone: the tanh is for h'": torch.tanh(cell),
        },
        "h'": {
            "the new state is (c', h'), should be (h', c')": cell,
            "h' is o * c', should be o * tanh(c')": o * cell,
            "h' is made of the old cell, should be of the new one: o * tanh(c')": o * torch.tanh(c),
        },
    }


SLIPS = {"rnn": rnn_slips, "gru": gru_slips, "lstm": lstm_slips}


# From the simplest on, one thing more in each, so that the first that fails names what is wrong.
# what, projected, state, weight_hh, bias_hh
@pytest.mark.exercise(1)
@pytest.mark.parametrize("case", [
    ("with projected 1 and all else 0", [[1]], ([[0]],), [[0]], [0]),
    ("with a state", [[0]], ([[2]],), [[1]], [0]),
    ("with a bias", [[0]], ([[0]],), [[0]], [1]),
    ("with all three", [[0.5]], ([[2]],), [[3]], [-6.25]),
    ("with two sequences", [[1], [-1]], ([[0], [2]],), [[1]], [0]),
    ("with two units", [[0, 0]], ([[1, 1]],), [[1, -2], [3, -1]], [0, 0]),
], ids=lambda case: case[0])  # fmt: skip
def test_rnn_step_by_step(case):
    check_step("rnn", *case)


@pytest.mark.exercise(1)
def test_rnn_cell_equals_torchs():
    check_cell("rnn")


NOTHING, FROM_STATE, BIASED = [[0], [0], [0]], [[0], [0], [1]], [0, 0, 1]  # rows r, z, n of one unit


@pytest.mark.exercise(2)
@pytest.mark.parametrize("case", [
    ("with x_n 1 and all else 0", [[0, 0, 1]], ([[0]],), NOTHING, [0, 0, 0]),
    ("with z = 1", [[0, 50, 1]], ([[2]],), NOTHING, [0, 0, 0]),
    ("with z = 0", [[0, -50, 1]], ([[2]],), NOTHING, [0, 0, 0]),
    ("with z = 0 and r = 1", [[50, -50, 1]], ([[1]],), FROM_STATE, [0, 0, 0]),
    ("with z = 0 and r = 0", [[-50, -50, 1]], ([[1]],), FROM_STATE, [0, 0, 0]),
    ("with z = 0, r = 0 and b_hn 1", [[-50, -50, 1]], ([[1]],), FROM_STATE, BIASED),
    ("with a state that r and z read", [[0, 0, 1]], ([[1]],), [[2], [-1], [1]], [1, -1, 2]),
    ("with two sequences", [[0, 50, 1], [0, -50, 1]], ([[2], [2]],), NOTHING, [0, 0, 0]),
    ("with two units", [[-50, 50, -50, -50, 0, 0]], ([[1, 2]],), [[0, 0]] * 4 + [[1, -1], [1, 0]], [0] * 6),
], ids=lambda case: case[0])  # fmt: skip
def test_gru_step_by_step(case):
    check_step("gru", *case)


@pytest.mark.exercise(2)
def test_gru_cell_equals_torchs():
    check_cell("gru")


def gate_from(value, rows):
    """How a gate of one unit was made: `sigmoid of row 2`."""
    functions = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "a number": lambda row: row}
    for (name, function), (number, row) in itertools.product(functions.items(), enumerate(rows)):
        if torch.allclose(value, function(row)):
            return f"the {name} of row {number}" if name != "a number" else f"row {number} itself"
    return f"{value.item():.4g}"


@pytest.mark.exercise(3)
@pytest.mark.parametrize("part", ["projected", "the state's part", "bias_hh"])
def test_lstm_gates_of_one_unit(part):
    """Four different rows, all in projected, all in h @ weight_hh.T, or all in the bias."""
    rows, zero = numbers([1, 2, 3, -1]), numbers([0, 0, 0, 0])
    projected, weight, bias = (rows if part == name else zero for name in ("projected", "the state's part", "bias_hh"))
    found = LSTMCell.gates(projected[None], numbers([[1]]), weight[:, None], bias)
    assert len(found) == 4, f"gates returns {len(found)} tensors, should be four: i, f, g, o"
    for number, (name, gate) in enumerate(zip("ifgo", found, strict=True)):
        right = torch.tanh if name == "g" else torch.sigmoid
        made, should = gate_from(gate[0, 0], rows), f"the {right.__name__} of row {number}"
        as_it_should = made == should  # pytest would draw the difference of two texts
        assert as_it_should, f"with {part} alone, {name} is {made}, should be {should} (the rows are i, f, g, o)"


@pytest.mark.exercise(3)
@pytest.mark.parametrize("case", [
    ("with f = 1 and i = 0", [[-50, 50, 1, 0]], ([[0]], [[2]]), [[0]] * 4, [0] * 4),
    ("with f = 0 and i = 1", [[50, -50, 1, 0]], ([[0]], [[2]]), [[0]] * 4, [0] * 4),
    ("with f = 1 and i = 1", [[50, 50, 1, 0]], ([[0]], [[2]]), [[0]] * 4, [0] * 4),
    ("with o = 0", [[50, 50, 1, -50]], ([[0]], [[2]]), [[0]] * 4, [0] * 4),
    ("with a state", [[0, 0, 0, 0]], ([[1]], [[2]]), [[1], [-1], [2], [1]], [0, 1, 1, -1]),
    ("with two sequences", [[0, 0, 1, 0], [1, -1, 2, 1]], ([[0], [0]], [[2], [-1]]), [[0]] * 4, [0] * 4),
    ("with two units", [[-50, 50, 50, -50, 1, 1, 0, 0]], ([[1, 2]], [[2, 3]]), [[1, -1], [0, 1]] * 4, [0] * 8),
], ids=lambda case: case[0])  # fmt: skip
def test_lstm_step_by_step(case):
    check_step("lstm", *case)


@pytest.mark.exercise(3)
def test_an_lstm_with_its_gates_shut_remembers():
    projected = torch.tensor([[-50.0, 50.0, 3.0, 0.0]])  # i shut, f open, o half open
    state = torch.zeros(1, 1), torch.tensor([[1.25]])
    for _ in range(100):
        state = LSTMCell.step(projected, state, torch.zeros(4, 1), torch.zeros(4))
    programs.close(state[1], torch.tensor([[1.25]]), "after a hundred steps with f = 1 and i = 0, c'", 1e-6)
    programs.close(state[0], torch.tanh(state[1]) / 2, "after them, h' = o * tanh(c')", 1e-6)


@pytest.mark.exercise(3)
def test_lstm_cell_equals_torchs():
    check_cell("lstm")


# ---------------------------------------------------------------- exercise 4: layers over time


def networks(kind, layers=1, bidirectional=False, seed=0):
    torch.manual_seed(seed)
    theirs = LAYERS[kind](INPUT, HIDDEN, layers, batch_first=True, bidirectional=bidirectional).double()
    ours = Recurrent(kind, INPUT, HIDDEN, layers, bidirectional).double()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def batch(seed=2):
    torch.manual_seed(seed)
    return torch.randn(len(LENGTHS), int(LENGTHS.max()), INPUT, dtype=torch.float64, requires_grad=True)


def packed(theirs, x, lengths):
    """torch's outputs and final states for padded sequences, by its own packing."""
    outputs, state = theirs(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
    outputs, _ = pad_packed_sequence(outputs, batch_first=True)
    return outputs, *(state if isinstance(state, tuple) else (state,))


class Digits(Cell):
    """With W_hh = 10 its state spells the digits that were read: 1, 2, 3 makes 123."""

    gate_names = ("digit",)

    @staticmethod
    def step(projected, state, weight_hh, bias_hh):
        return (projected + F.linear(state[0], weight_hh, bias_hh),)


class CountingDigits(Digits):
    """Its state has a second part, which counts the steps."""

    states = 2

    @staticmethod
    def step(projected, state, weight_hh, bias_hh):
        return *Digits.step(projected, state, weight_hh, bias_hh), state[1] + 1


PLAIN = [[1]], [[10]], [0], [0]  # weight_ih, weight_hh, bias_ih, bias_hh


def run_digits(cell, digits, lengths, starts, reverse, weights=PLAIN):
    """Recurrent.run over rows of digits."""
    layer = Recurrent("rnn", 1, 1)
    layer.cell = cell
    real = None if lengths is None else torch.arange(len(digits[0])) < torch.tensor(lengths)[:, None]
    shortest = len(digits[0]) if lengths is None else min(lengths)
    state = tuple(numbers(start).reshape(len(digits), -1) for start in starts)
    return layer.run(numbers(digits)[:, :, None], real, shortest, state, [*map(numbers, weights)], reverse)


def spelled(digits, lengths, start, reverse, slip=""):
    """(outputs (B, T), last states (B,)) of Digits by plain loops; with one of the usual slips, if it is named."""
    rows, lasts = [], []
    for row, length, state in zip(digits, lengths, start, strict=True):
        order = [*range(len(row))][:: -1 if reverse and slip != "from the first" else 1]
        outputs = [0] * len(row)
        for count, t in enumerate(order):
            is_real = count < length if slip == "mask turned" else t < length
            if is_real or slip == "read on" or (slip == "one more" and t == length):
                state = 10 * state + row[t]
            elif slip == "zero":
                state = 0
            outputs[count if slip == "in the order of reading" else t] = state * (t < length or slip == "not masked")
        rows.append(outputs)
        lasts.append(state)
    return numbers(rows), numbers(lasts)


OF_STATES = {
    "from the first": "the steps are read from the first on, should be from the last on with reverse=True",
    "read on": "padding is read on, should not move the state: where real[:, t] is False the old one stays",
    "zero": "the state becomes 0 in the padding, should stay what it was",
    "one more": "the first step of padding is read on, should not move the state: mask from t = shortest on",
    "mask turned": "the mask is in the order of reading, should be real[:, t] for the input of the same step t",
}
OF_OUTPUTS = {
    "not masked": "outputs on padding are the state, should be 0: multiply them by the mask",
    "in the order of reading": "outputs stand in the order of reading, should each stand at its own step t",
}


# digits, how many of them are real, the state to begin with, reverse
@pytest.mark.exercise(4)
@pytest.mark.parametrize("case", [
    ("with one step", [[7]], None, [0], False),
    ("with three steps", [[1, 2, 3]], None, [0], False),
    ("with a state to begin with", [[1, 2]], None, [9], False),
    ("with two sequences", [[1, 2, 3], [4, 5, 6]], None, [0, 0], False),
    ("with reverse", [[1, 2, 3]], None, [0], True),
    ("with padding", [[1, 2, 3], [4, 9, 9]], [3, 1], [0, 0], False),
    ("with padding, reverse", [[1, 2, 3], [4, 9, 9]], [3, 1], [0, 0], True),
    ("with padding and a state", [[1, 2, 3], [4, 9, 9]], [3, 1], [5, 6], False),
    ("with padding and a state, reverse", [[1, 2, 3], [4, 9, 9]], [3, 1], [5, 6], True),
    ("with padding in all sequences", [[1, 9, 9, 9], [4, 5, 9, 9]], [1, 2], [0, 0], False),
], ids=lambda case: case[0])  # fmt: skip
def test_a_layer_spells_what_it_reads(case):
    """On a cell that needs no other exercise."""
    what, digits, lengths, start, reverse = case
    outputs, last = run_digits(Digits, digits, lengths, (start,), reverse)
    lengths = lengths or [len(row) for row in digits]
    right, right_last = spelled(digits, lengths, start, reverse)
    slips = {told: spelled(digits, lengths, start, reverse, slip)[1][:, None] for slip, told in OF_STATES.items()}
    none_of(last[0], right_last[:, None], what, slips)
    slips = {told: spelled(digits, lengths, start, reverse, slip)[0][..., None] for slip, told in OF_OUTPUTS.items()}
    none_of(outputs, right[..., None], what, slips)
    close(outputs, right[..., None], f"{what}, outputs")
    close(last[0], right_last[:, None], f"{what}, the last state")


@pytest.mark.exercise(4)
def test_a_layer_masks_all_parts_of_the_state():
    found, (_, counted) = run_digits(CountingDigits, [[1, 2, 3], [4, 9, 9]], [3, 1], ([0, 0], [0, 0]), False)
    close(found, numbers([[1, 12, 123], [4, 0, 0]])[..., None], "with a state of two parts, outputs")
    none_of(counted, numbers([[3], [1]]), "with a state of two parts", {
        "the second part goes on in the padding, should stay, too: mask all parts": numbers([[3], [3]]),
    })  # fmt: skip
    close(counted, numbers([[3], [1]]), "with a state of two parts, the second part")


@pytest.mark.exercise(4)
def test_a_layer_uses_each_weight_in_its_place():
    outputs, _ = run_digits(Digits, [[1, 2]], None, ([0],), False, ([[2]], [[10]], [1], [5]))
    close(outputs, numbers([[[8], [90]]]), "with weight_ih 2, bias_ih 1, weight_hh 10, bias_hh 5, outputs")
    outputs, _ = run_digits(Digits, [[1]], None, ([0, 0],), False, ([[1], [2]], [[0, 0], [0, 0]], [0, 0], [0, 0]))
    close(outputs, numbers([[[1, 2]]]), "with two units, outputs")


@pytest.mark.exercise(4)
@pytest.mark.parametrize("kind", KINDS)
def test_one_layer_equals_torchs(kind):
    ours, theirs = networks(kind)
    x = batch()
    found, (outputs, state) = ours(x), theirs(x)
    expected = outputs, *(state if isinstance(state, tuple) else (state,))
    assert len(found) == len(expected), f"{kind.upper()}: {len(found)} tensors come back, should be {len(expected)}"
    for name, a, b in zip(("outputs", "the last state h", "the last cell"), found, expected, strict=False):
        close(a, b, f"{kind.upper()}: {name}")


@pytest.mark.exercise(4)
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (1, True), (2, True)])
@pytest.mark.parametrize("kind", KINDS)
def test_padded_sequences_equal_torchs_packed_ones(kind, layers, bidirectional):
    ours, theirs = networks(kind, layers, bidirectional)
    x = batch()
    found, expected = ours(x, LENGTHS), packed(theirs, x, LENGTHS)
    shape = f"{kind.upper()}, {layers} layer{'s' * (layers > 1)}{', both ways' * bidirectional}, with padding: "
    for name, a, b in zip(("outputs", "the last state h", "the last cell"), found, expected, strict=False):
        close(a, b, shape + name)
    names = ["x", *dict(ours.named_parameters())]
    left, right = gradients(found, [x, *ours.parameters()]), gradients(expected, [x, *theirs.parameters()])
    for name, a, b in zip(names, left, right, strict=True):
        close(a, b, f"{shape}the gradient of {name}", tolerance=1e-8)


@pytest.mark.exercise(4)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_changes_nothing(kind, bidirectional):
    """Neither what stands in it, nor how much of it there is; and a sequence alone gives what it gives in a batch."""
    ours, _ = networks(kind, 2, bidirectional)
    x = batch().detach()
    outputs, *state = ours(x, LENGTHS)
    other = torch.cat([x, torch.zeros(len(x), 4, INPUT, dtype=x.dtype)], dim=1)
    other[torch.arange(other.shape[1]) >= LENGTHS[:, None]] = 1e3
    outputs_of_other, *state_of_other = ours(other, LENGTHS)
    close(outputs_of_other[:, : x.shape[1]], outputs, "outputs, with other padding,")
    close(outputs_of_other[:, x.shape[1] :], torch.zeros(len(x), 4, outputs.shape[2]), "outputs on padding")
    for a, b in zip(state_of_other, state, strict=True):
        close(a, b, "the last state, with other padding,")
    for row, length in enumerate(LENGTHS):
        alone, *state_alone = ours(x[row : row + 1, :length])
        close(outputs[row : row + 1, :length], alone, "outputs of a sequence in a batch, against the same alone,")
        for a, b in zip(state, state_alone, strict=True):
            close(a[:, row : row + 1], b, "the last state of a sequence in a batch, against the same alone,")


@pytest.mark.exercise(4)
@pytest.mark.parametrize("kind", KINDS)
def test_the_past_does_not_see_the_future_and_can_be_gone_on_with(kind):
    ours, _ = networks(kind, 2)
    x = batch().detach()
    whole, *state = ours(x)
    first, *between = ours(x[:, :4])
    close(whole[:, :4], first, "outputs of the first four steps, against those without the rest,")
    rest, *last = ours(x[:, 4:], state=between)
    close(rest, whole[:, 4:], "outputs of the rest, begun with the state after the first four,")
    for a, b in zip(last, state, strict=True):
        close(a, b, "the last state, in two parts, against in one,")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_same_seed_gives_torchs_weights(kind, bidirectional):
    torch.manual_seed(3)
    theirs = LAYERS[kind](INPUT, HIDDEN, 2, bidirectional=bidirectional)
    torch.manual_seed(3)
    ours = Recurrent(kind, INPUT, HIDDEN, 2, bidirectional)
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_dropout_is_between_the_layers_and_in_training_alone():
    torch.manual_seed(0)
    x = torch.randn(3, 5, INPUT)
    for make in (Recurrent, TorchRecurrent):
        one, two = make("lstm", INPUT, HIDDEN, 1, dropout=0.5), make("lstm", INPUT, HIDDEN, 2, dropout=0.5)
        assert torch.equal(one(x)[0], one(x)[0])
        assert not torch.equal(two(x)[0], two(x)[0])
        two.eval()
        assert torch.equal(two(x)[0], two(x)[0])


def test_gates_are_those_that_made_the_outputs():
    ours, _ = networks("lstm", 2)
    x = batch().detach()
    opened = ours.gates(x)
    assert list(opened) == ["input", "forget", "candidate", "output", "cell", "hidden"]
    single = Recurrent("lstm", INPUT, HIDDEN).double()
    single.load_state_dict({name: w for name, w in ours.state_dict().items() if "_l0" in name})
    outputs, _, cell = single(x)
    close(opened["hidden"], outputs, "hidden")
    close(opened["cell"][:, -1], cell[0], "cell")
    before = torch.cat([torch.zeros_like(opened["cell"][:, :1]), opened["cell"][:, :-1]], dim=1)
    close(opened["cell"], opened["forget"] * before + opened["input"] * opened["candidate"], "c' = f c + i g")
    close(opened["hidden"], opened["output"] * torch.tanh(opened["cell"]), "h' = o tanh(c')")
    with pytest.raises(ValueError, match="of an LSTM, this is of kind gru"):
        Recurrent("gru", INPUT, HIDDEN).gates(x)


# ---------------------------------------------------------------- torch's layers on padded batches


def dropping_alike(layer, x, lengths):
    """What a layer returns, with the same numbers dropped each time."""
    torch.manual_seed(5)
    return layer(x, lengths)


@pytest.mark.parametrize(("kind", "layers", "bidirectional"), [*itertools.product(KINDS, (1, 2), (False, True))])
def test_torch_recurrent_equals_ours(kind, layers, bidirectional):
    """Outputs, final states and gradients, with and without lengths, dropout and in evaluation; the state dict goes
    over by its names."""
    shape = {"embed": INPUT, "hidden": HIDDEN, "layers": layers, "bidirectional": bidirectional, "dropout": 0.3}
    model = SentimentClassifier(SentimentConfig(50, kind, **shape)).double()
    ours, theirs = sentiment_model.scratch(model).double().recurrent, model.recurrent
    x = batch()
    for lengths, training in itertools.product((LENGTHS, None), (True, False)):
        found, expected = (dropping_alike(layer.train(training), x, lengths)[:2] for layer in (theirs, ours))
        for name, a, b in zip(("outputs", "final"), found, expected, strict=True):
            close(a, b, name)
        close(*(gradients(some, [x])[0] for some in (found, expected)), "the gradient of x")
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters())


def test_turned_turns_the_real_part_alone():
    x = torch.arange(1.0, 9.0).reshape(2, 4, 1)
    assert turned(x, torch.tensor([4, 2]))[:, :, 0].tolist() == [[4, 3, 2, 1], [6, 5, 7, 8]]
    assert torch.equal(turned(turned(x, torch.tensor([3, 1])), torch.tensor([3, 1])), x)


# ---------------------------------------------------------------- exercise 5: pooling


OUTPUTS = numbers([[[1.0, -8.0], [5.0, -2.0], [3.0, -4.0]], [[2.0, -3.0], [9.0, 9.0], [9.0, 9.0]]])
ZERO_PADDED = numbers([[[1.0, -8.0], [5.0, -2.0], [3.0, -4.0]], [[2.0, -3.0], [0.0, 0.0], [0.0, 0.0]]])
REAL = torch.tensor([3, 1])


def pool_slips(outputs, lengths, how, directions):
    B, T, features = outputs.shape
    real, half = (torch.arange(T) < lengths[:, None])[:, :, None], features // 2
    at_end = outputs[torch.arange(B), lengths - 1]
    if how == "last":
        return {
            "of the half read backwards the step lengths - 1 is taken, should be step 0, where it has read all": at_end,
            "the step T - 1 is taken, should be lengths - 1, the last real one of each sequence": outputs[:, -1],
            "the step T - 1 is taken, should be lengths - 1 for the half read forwards": (
                torch.cat([outputs[:, -1, :half], outputs[:, 0, half:]], dim=1)
            ),
            "the halves are swapped, should be: the first one read forwards, the second one backwards": (
                torch.cat([outputs[:, 0, :half], at_end[:, half:]], dim=1)
            ),
        }
    if how == "max":
        return {
            "padding counts as 0 and wins over negative numbers, should be filled with -inf": (
                outputs.masked_fill(~real, 0).amax(dim=1)
            ),
            "padding takes part in the maximum, should be filled with -inf": outputs.amax(dim=1),
        }
    total = outputs.masked_fill(~real, 0).sum(dim=1)
    return {
        "lengths divides the features, should divide the rows: lengths[:, None]": (
            total / lengths if features == B else total
        ),
        "the sum is divided by T, should be divided by lengths": total / T,
        "padding takes part in the mean, should be filled with 0 and the sum divided by lengths": outputs.mean(dim=1),
        "padding takes part in the sum, should be filled with 0": outputs.sum(dim=1) / lengths[:, None],
        "the sum is not divided, should be divided by lengths": total,
    }


# what, outputs, lengths, how, directions, what comes out
@pytest.mark.exercise(5)
@pytest.mark.parametrize("case", [
    ("without padding", OUTPUTS[:1], REAL[:1], "last", 1, [[3, -4]]),
    ("with lengths 3 and 1", OUTPUTS, REAL, "last", 1, [[3, -4], [2, -3]]),
    ("without padding", OUTPUTS[:1], REAL[:1], "last", 2, [[3, -8]]),
    ("with lengths 3 and 1", OUTPUTS, REAL, "last", 2, [[3, -8], [2, -3]]),
    ("without padding", OUTPUTS[:1], REAL[:1], "max", 1, [[5, -2]]),
    ("with lengths 3 and 1", ZERO_PADDED, REAL, "max", 1, [[5, -2], [2, -3]]),
    ("with lengths 3 and 1, 9 on padding", OUTPUTS, REAL, "max", 2, [[5, -2], [2, -3]]),
    ("without padding", OUTPUTS[:1], REAL[:1], "mean", 1, [[3, -14 / 3]]),
    ("with lengths 3 and 1", ZERO_PADDED, REAL, "mean", 1, [[3, -14 / 3], [2, -3]]),
    ("with lengths 3 and 1, 9 on padding", OUTPUTS, REAL, "mean", 2, [[3, -14 / 3], [2, -3]]),
], ids=lambda case: f"{case[3]}-{case[4]} {case[0]}")  # fmt: skip
def test_pooling_of_two_sequences(case):
    what, outputs, lengths, how, directions, expected = case
    found, expected = pool(outputs, lengths, how, directions), numbers(expected)
    what = f"{how}{', both ways' * (directions == 2)}, {what}"
    none_of(found, expected, what, pool_slips(outputs, lengths, how, directions))
    close(found, expected, f"{what}, the result")


@pytest.mark.exercise(5)
def test_last_is_the_final_state_of_both_directions():
    torch.manual_seed(0)
    rnn = nn.GRU(INPUT, HIDDEN, batch_first=True, bidirectional=True)
    outputs, final = packed(rnn, torch.randn(5, 7, INPUT), LENGTHS)
    found, both = pool(outputs, LENGTHS, "last", 2), torch.cat([final[0], final[1]], dim=1)
    programs.close(found, both, "last, both ways, of torch's GRU, against its two final states,", 1e-6)


@pytest.mark.exercise(5)
@pytest.mark.parametrize("how", sentiment_model.POOLS)
def test_pooling_does_not_look_at_padding(how):
    other = OUTPUTS.clone()
    other[1, 1:] = -1e4
    wider = torch.cat([other, torch.full((2, 3, 2), 77.0, dtype=torch.float64)], dim=1)
    for changed in (other, wider):
        close(pool(changed, REAL, how), pool(OUTPUTS, REAL, how), f"{how}, with other padding,")


# ---------------------------------------------------------------- classifiers


def tokens_of(lengths, seed=0):
    torch.manual_seed(seed)
    tokens = torch.randint(2, 50, (len(lengths), int(lengths.max())))
    return tokens.masked_fill(torch.arange(tokens.shape[1]) >= lengths[:, None], 0)


CONFIGS = [
    SentimentConfig(50, kind, impl, embed=8, hidden=6, bidirectional=both, pool=how, dropout=0.2, word_dropout=0.1)
    for kind, impl, both, how in [
        ("lstm", "torch", False, "max"), ("lstm", "scratch", True, "last"), ("gru", "torch", True, "last"),
        ("rnn", "scratch", False, "mean"), ("cnn", "torch", False, "max"),
    ]
]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.kind}-{c.impl}-{c.pool}")
def test_a_review_gets_the_same_verdict_alone_and_in_any_batch(config, device):
    model = build(config).eval().to(device)
    tokens, lengths = tokens_of(LENGTHS).to(device), LENGTHS.to(device)
    logits = model(tokens, lengths)
    assert logits.shape == (5, 2)
    wider = torch.nn.functional.pad(tokens, (0, 6))
    torch.testing.assert_close(model(wider, lengths), logits, rtol=0, atol=1e-5)
    for row, length in enumerate(LENGTHS):
        alone = model(tokens[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(alone, logits[row : row + 1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.kind}-{c.impl}-{c.pool}")
def test_a_classifier_learns_one_batch_by_heart(config):
    torch.manual_seed(0)
    model = build(replace(config, dropout=0.0, word_dropout=0.0))
    tokens, labels = tokens_of(LENGTHS), torch.tensor([0, 1, 0, 1, 1])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(tokens, LENGTHS), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert not model.words.table.weight[0].any(), "the vector of padding is never trained"


@pytest.mark.parametrize("hidden", [64, 128, 200])
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (2, True)])
def test_the_convolution_is_as_large_as_the_recurrent_net(hidden, layers, bidirectional):
    config = SentimentConfig(1000, "lstm", embed=100, hidden=hidden, layers=layers, bidirectional=bidirectional)
    recurrent, convolution = build(config), build(replace(config, kind="cnn"))
    assert body_params(convolution) == pytest.approx(body_params(recurrent), rel=0.03)
    assert body_params(ConvClassifier(config, channels=10)) == 12 * 100 * 10 + 3 * 10 + 3 * 10 * 2 + 2


def test_word_dropout_hides_words_and_never_padding():
    words = sentiment_model.Words(SentimentConfig(50, embed=8, word_dropout=0.5))
    tokens = torch.tensor([[7] * 400 + [0] * 100])
    torch.manual_seed(0)
    vectors = words(tokens)[0]
    unknown = (vectors == words.table.weight[1]).all(dim=1)
    assert 150 < unknown[:400].sum() < 250 and not unknown[400:].any() and not vectors[400:].any()
    assert torch.equal(vectors[:400][~unknown[:400]][0], words.table.weight[7])
    words.eval()
    assert (words(tokens)[0, :400] == words.table.weight[7]).all()
