"""Week 3's recurrent networks against torch.nn's with the same weights, and against what must be true of them.

The tests marked `exercise(K)` are what `./course check 3` holds a learner's piece K to; piece 6 is in test_week03_data.
"""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from week03_lstm import sentiment_model
from week03_lstm.model import CELLS, GRUCell, LSTMCell, Recurrent, RNNCell, TorchRecurrent, pool, turned
from week03_lstm.sentiment_model import ConvClassifier, SentimentClassifier, SentimentConfig, body_params, build

KINDS = ("rnn", "gru", "lstm")
LAYERS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
STEPS = {"rnn": nn.RNNCell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}
LENGTHS = torch.tensor([7, 3, 1, 7, 5])
INPUT, HIDDEN = 4, 6


def close(found, expected, what, tolerance=1e-9):
    """Passes when two tensors are equal; otherwise fails with one line that says in what way `what` is wrong."""
    if not isinstance(found, torch.Tensor):
        raise AssertionError(f"{what} is {type(found).__name__}, should be a tensor")
    if found.shape != expected.shape:
        raise AssertionError(f"{what} has the shape {tuple(found.shape)}, should be {tuple(expected.shape)}")
    if not torch.isfinite(found).all():
        raise AssertionError(f"{what} has NaN or inf in it")
    difference = (found - expected).abs().max().item()
    if difference > tolerance * max(1.0, expected.abs().max().item()):
        raise AssertionError(f"{what} differs by up to {difference:.2g}")


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ((1.0,), "h is tuple, should be a tensor"),
        (torch.ones(2), "h has the shape (2,), should be (3,)"),
        (torch.tensor([1.0, 1.0, torch.nan]), "h has NaN or inf in it"),
        (torch.tensor([1.0, 1.0, 1.5]), "h differs by up to 0.5"),
    ],
)
def test_close_says_in_what_way_a_tensor_is_wrong(found, line):
    with pytest.raises(AssertionError) as caught:
        close(found, torch.ones(3), "h")
    assert str(caught.value) == line
    close(torch.ones(3), torch.ones(3), "h")


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


def gradients(outputs, inputs):
    """Gradients of a fixed weighting of all outputs with respect to each input."""
    torch.manual_seed(1)
    loss = sum((output * torch.randn(output.shape, dtype=output.dtype)).sum() for output in outputs)
    return torch.autograd.grad(loss, inputs)


def none_of(found, slips):
    """Fails with the name of the slip, where `found` is what one of the usual ones leads to."""
    for told, wrong in slips.items():
        same = isinstance(found, torch.Tensor) and found.shape == wrong.shape and torch.allclose(found, wrong)
        if same:
            raise AssertionError(told)


def check_cell(kind):
    ours, theirs, x, state = twins(kind)
    found, expected = ours(x, state), by_torch(theirs, x, state)
    assert isinstance(found, tuple), "return the new state as a tuple, also where it is a tuple of one"
    assert len(found) == len(expected), f"the new state has {len(expected)} parts, not {len(found)}"
    for name, a, b in zip(("h'", "c'"), found, expected, strict=False):
        close(a, b, f"{name} of the {kind.upper()}")
    names = ["x", *("h", "c")[: len(state)], *dict(ours.named_parameters())]
    left = gradients(found, [x, *state, *ours.parameters()])
    right = gradients(expected, [x, *state, *theirs.parameters()])
    for name, a, b in zip(names, left, right, strict=True):
        close(a, b, f"the gradient of the {kind.upper()}'s {name}")
    close(ours(x)[0], by_torch(theirs, x, tuple(map(torch.zeros_like, state)))[0], "h' from a state of zeros")


# ---------------------------------------------------------------- exercises 1 to 3: the cells


@pytest.mark.exercise(1)
def test_rnn_cell_equals_torchs():
    ours, _, x, state = twins("rnn")
    found, (h,) = ours(x, state), state
    W_ih, W_hh, b_ih, b_hh = (p.detach() for p in (ours.weight_ih, ours.weight_hh, ours.bias_ih, ours.bias_hh))
    projected = x @ W_ih.T + b_ih
    none_of(found[0] if isinstance(found, tuple) else found, {
        "weight_hh is as torch has it: h @ weight_hh.T": torch.tanh(projected + h @ W_hh + b_hh),
        "bias_hh is missing": torch.tanh(projected + h @ W_hh.T),
        "the tanh is missing": projected + h @ W_hh.T + b_hh,
        "the input's bias is in `projected` already": torch.tanh(projected + h @ W_hh.T + b_hh + b_ih),
    })  # fmt: skip
    check_cell("rnn")


@pytest.mark.exercise(1)
def test_rnn_step_by_hand():
    (new,) = RNNCell.step(torch.tensor([[0.5]]), (torch.tensor([[2.0]]),), torch.tensor([[3.0]]), torch.tensor([-6.25]))
    close(new, torch.tanh(torch.tensor([[0.25]])), "tanh(0.5 + 2 * 3 - 6.25)", 1e-6)


@pytest.mark.exercise(2)
def test_gru_cell_equals_torchs():
    ours, theirs, x, state = twins("gru")
    (found,), h = ours(x, state), state[0]
    expected = theirs(x, h)
    with torch.no_grad():  # for the mistakes that everybody makes
        x_r, x_z, x_n = (x @ ours.weight_ih.T + ours.bias_ih).chunk(3, dim=1)
        h_r, h_z, h_n = (h @ ours.weight_hh.T + ours.bias_hh).chunk(3, dim=1)
        r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
        n = torch.tanh(x_n + r * h_n)
    none_of(found, {
        "z and 1 - z are swapped: where z is 1 the state stays what it was": z * n + (1 - z) * h,
        "r belongs to the state's part of n alone, not to the input's":
            (1 - z) * torch.tanh(r * (x_n + h_n)) + z * h,
        "r and z are swapped: torch's rows are r, z, n": (1 - r) * torch.tanh(x_n + z * h_n) + r * h,
    })  # fmt: skip
    close(found, expected, "h' of the GRU")
    check_cell("gru")


@pytest.mark.exercise(2)
def test_a_gru_whose_update_gate_is_open_keeps_its_state():
    projected = torch.tensor([[0.3, 50.0, -2.0]])  # r, z, n of one unit
    (new,) = GRUCell.step(projected, (torch.tensor([[0.7]]),), torch.zeros(3, 1), torch.zeros(3))
    close(new, torch.tensor([[0.7]]), "the state after a step with z = 1", 1e-6)


@pytest.mark.exercise(3)
def test_lstm_gates_are_sigmoids_and_one_tanh_in_torchs_order():
    projected, h = torch.arange(4.0)[None] - 1.5, torch.zeros(1, 1)  # one unit: rows i, f, g, o
    found = LSTMCell.gates(projected, h, torch.zeros(4, 1), torch.zeros(4))
    assert len(found) == 4, "return four gates: i, f, g, o"
    squash = (torch.sigmoid, torch.sigmoid, torch.tanh, torch.sigmoid)
    for name, gate, function, z in zip("ifgo", found, squash, projected[0], strict=True):
        close(gate, function(z).reshape(1, 1), f"the gate {name} (the rows are i, f, g, o; tanh is for g)", 1e-6)


@pytest.mark.exercise(3)
def test_lstm_cell_equals_torchs():
    ours, theirs, x, state = twins("lstm")
    found, (h, c) = ours(x, state), state
    with torch.no_grad():
        z = x @ theirs.weight_ih.T + theirs.bias_ih + h @ theirs.weight_hh.T + theirs.bias_hh
        i, f, g, o = z.chunk(4, dim=1)
        i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
        cell = f * c + i * g
    none_of(found[0] if isinstance(found, tuple) else found, {
        "return h' first, then c'": cell,
        "h' = o tanh(c'): the tanh is missing": o * cell,
        "h' is made of the new cell, not of the old one": o * torch.tanh(c),
        "i and f are swapped: c' = f c + i g": o * torch.tanh(i * c + f * g),
    })  # fmt: skip
    check_cell("lstm")


@pytest.mark.exercise(3)
def test_an_lstm_with_its_gates_shut_remembers():
    projected = torch.tensor([[-50.0, 50.0, 3.0, 0.0]])  # i shut, f open, o half open
    state = torch.zeros(1, 1), torch.tensor([[1.25]])
    for _ in range(100):
        state = LSTMCell.step(projected, state, torch.zeros(4, 1), torch.zeros(4))
    close(state[1], torch.tensor([[1.25]]), "the cell after a hundred steps with f = 1 and i = 0", 1e-6)
    close(state[0], torch.tanh(state[1]) / 2, "h' = o tanh(c'), from the new cell,", 1e-6)


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


@pytest.mark.exercise(4)
@pytest.mark.parametrize("kind", KINDS)
def test_one_layer_equals_torchs(kind):
    ours, theirs = networks(kind)
    x = batch()
    found, (outputs, state) = ours(x), theirs(x)
    expected = outputs, *(state if isinstance(state, tuple) else (state,))
    assert len(found) == len(expected)
    for name, a, b in zip(("outputs", "the last state h", "the last cell"), found, expected, strict=False):
        close(a, b, f"{kind.upper()}: {name}")


@pytest.mark.exercise(4)
@pytest.mark.parametrize("reverse", [False, True])
def test_what_the_mask_is_for(reverse):
    """The usual slips of a layer with padding, by what they lead to."""
    ours, theirs = networks("rnn", bidirectional=reverse)
    x = batch().detach()
    outputs, state = ours(x, LENGTHS)
    unmasked, final = theirs(x)
    real = torch.arange(x.shape[1]) < LENGTHS[:, None]  # (B, T)
    if reverse:
        forwards, _ = ours.run(x, real, int(LENGTHS.min()), (state[1] * 0,), ours.weights(0, "_reverse"), False)
        none_of(outputs[:, :, HIDDEN:], {"with `reverse` the steps are read from the last to the first": forwards})
    none_of(state[0], {
        "the state goes on in the padding: where real[:, t] is False keep the old one": final[0],
        "in the padding the state is kept as it is, not set to 0": final[0] * real[:, -1:],
    })  # fmt: skip
    none_of(outputs, {"outputs on padding must be 0: multiply them by the mask": unmasked})


@pytest.mark.exercise(4)
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (1, True), (2, True)])
@pytest.mark.parametrize("kind", KINDS)
def test_padded_sequences_equal_torchs_packed_ones(kind, layers, bidirectional):
    ours, theirs = networks(kind, layers, bidirectional)
    x = batch()
    found, expected = ours(x, LENGTHS), packed(theirs, x, LENGTHS)
    shape = f"{kind.upper()}, {layers} layer(s){', both ways' if bidirectional else ''}, with padding: "
    for name, a, b in zip(("outputs", "the last state h", "the last cell"), found, expected, strict=False):
        close(a, b, shape + name)
    names = ["x", *dict(ours.named_parameters())]
    left, right = gradients(found, [x, *ours.parameters()]), gradients(expected, [x, *theirs.parameters()])
    for name, a, b in zip(names, left, right, strict=True):
        close(a, b, f"{shape}the gradient of {name}", 1e-8)


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
    close(outputs_of_other[:, : x.shape[1]], outputs, "outputs with other padding")
    assert not outputs_of_other[:, x.shape[1] :].any(), "outputs on padding must be 0"
    for a, b in zip(state_of_other, state, strict=True):
        close(a, b, "the last state with other padding")
    for row, length in enumerate(LENGTHS):
        alone, *state_alone = ours(x[row : row + 1, :length])
        close(outputs[row : row + 1, :length], alone, "outputs of a sequence in a batch and alone")
        for a, b in zip(state, state_alone, strict=True):
            close(a[:, row : row + 1], b, "the last state of a sequence in a batch and alone")


@pytest.mark.exercise(4)
@pytest.mark.parametrize("kind", KINDS)
def test_the_past_does_not_see_the_future_and_can_be_gone_on_with(kind):
    ours, _ = networks(kind, 2)
    x = batch().detach()
    whole, *state = ours(x)
    first, *between = ours(x[:, :4])
    close(whole[:, :4], first, "outputs of the first four steps, without the rest")
    rest, *last = ours(x[:, 4:], state=between)
    close(rest, whole[:, 4:], "outputs of the rest, begun with the state after the first four")
    for a, b in zip(last, state, strict=True):
        close(a, b, "the last state, in two parts and in one")


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


OUTPUTS = torch.tensor([[[1.0, -8.0], [5.0, -2.0], [3.0, -4.0]], [[2.0, -3.0], [9.0, 9.0], [9.0, 9.0]]])
REAL = torch.tensor([3, 1])


@pytest.mark.exercise(5)
@pytest.mark.parametrize(
    ("how", "directions", "expected"),
    [
        ("last", 1, [[3, -4], [2, -3]]),
        ("last", 2, [[3, -8], [2, -3]]),
        ("max", 1, [[5, -2], [2, -3]]),
        ("mean", 1, [[3, -14 / 3], [2, -3]]),
        ("mean", 2, [[3, -14 / 3], [2, -3]]),
    ],
)
def test_pooling_of_two_sequences(how, directions, expected):
    found = pool(OUTPUTS, REAL, how, directions)
    close(found, torch.tensor(expected), f"pooling by {how} with {directions} direction(s), lengths 3 and 1,", 1e-6)


@pytest.mark.exercise(5)
def test_last_is_the_final_state_of_both_directions():
    torch.manual_seed(0)
    rnn = nn.GRU(INPUT, HIDDEN, batch_first=True, bidirectional=True)
    outputs, final = packed(rnn, torch.randn(5, 7, INPUT), LENGTHS)
    close(pool(outputs, LENGTHS, "last", 2), torch.cat([final[0], final[1]], dim=1), "the two final states", 1e-6)


@pytest.mark.exercise(5)
@pytest.mark.parametrize("how", sentiment_model.POOLS)
def test_pooling_does_not_look_at_padding(how):
    other = OUTPUTS.clone()
    other[1, 1:] = -1e4
    wider = torch.cat([other, torch.full((2, 3, 2), 77.0)], dim=1)
    for changed in (other, wider):
        close(pool(changed, REAL, how), pool(OUTPUTS, REAL, how), f"pooling by {how} with other padding", 1e-6)


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
