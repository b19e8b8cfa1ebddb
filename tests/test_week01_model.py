"""Week 1's network against finite differences, against torch, and against what must be true of it.

The tests marked `exercise(K)` are what `./course check 1` holds a learner's piece K to.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
from programs import close, config, refused

from shared import checkpoint
from week01_numpy_mlp import bench, gates, model, optim
from week01_numpy_mlp.fast import FastMLP
from week01_numpy_mlp.model import MLP, Linear, MeanSquaredError, Perceptron, ReLU, Sigmoid, SoftmaxCrossEntropy, Tanh

INPUTS, GATES = gates.INPUTS, gates.GATES


def relative_error(a, b):
    return np.abs(a - b).max() / max(1e-12, np.abs(a).max(), np.abs(b).max())


def equal(found, expected, what, tolerance=1e-6, slips=()):
    """Passes where `found` is `expected`, up to `tolerance` of the largest number; else fails and says in what way not.

    `slips` has (in words, what then comes out), for those that are easily made.
    """
    expected = np.asarray(expected, float)
    size = np.abs(expected).max(initial=0) or 1.0

    def same(other):
        other = np.asarray(other, float)
        return np.shape(found) == other.shape and np.abs(found - other).max() <= 1e-6 * size

    if found is not None and not same(expected):
        for words, wrong in slips:
            assert not same(wrong), f"{what} {words}"
    close(found, expected, what, tolerance * min(1.0, size))


def numerical_gradient(f, x, h=1e-5):
    """∂f/∂x by central differences, for a float f() that looks at x; x is changed in place and put back."""
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        before = x[i]
        x[i] = before + h
        above = f()
        x[i] = before - h
        below = f()
        x[i] = before
        gradient[i] = (above - below) / (2 * h)
    return gradient


def check_layer(layer, x, what):
    """The layer's backward pass is the gradient of its forward pass, seen through a random weighting of its outputs."""
    weighting = np.random.default_rng(1).normal(size=layer.forward(x).shape)
    expected = numerical_gradient(lambda: float((layer.forward(x) * weighting).sum()), x)
    layer.forward(x)
    equal(layer.backward(weighting.copy()), expected, what, 1e-7)


def linear(fan_in, fan_out, dtype=np.float64, seed=0):
    layer = Linear(fan_in, fan_out)
    layer.bind(*np.random.default_rng(seed).normal(size=(2, layer.n_params)).astype(dtype))
    return layer


@pytest.fixture
def rng():
    return np.random.default_rng(7)


# ---------------------------------------------------------------- exercise 1: the perceptron


# what, w, b, x, y; then w and b as one example should leave them
EXAMPLES = [
    ("a missed 1 with one feature", [0.0], 0.0, [2.0], 1, [2.0], 1.0),
    ("a missed 1 with two features", [0.0, 0.0], 0.0, [2.0, -3.0], 1, [2.0, -3.0], 1.0),
    ("a false alarm", [2.0, -3.0], 1.0, [2.0, -3.0], 0, [0.0, 0.0], 0.0),
    ("a 1 that is right", [2.0, -3.0], 1.0, [2.0, -3.0], 1, [2.0, -3.0], 1.0),
    ("a 0 that is right", [-2.0, 3.0], 0.0, [2.0, -3.0], 0, [-2.0, 3.0], 0.0),
]


@pytest.mark.exercise(1)
@pytest.mark.parametrize("case", EXAMPLES, ids=lambda case: case[0])
def test_one_example_moves_the_line_by_its_error(case):
    what, w, b, x, y, new_w, new_b = case
    perceptron = Perceptron(len(x))
    perceptron.w[:], perceptron.b = w, b
    epoch = perceptron.learn(np.array([x]), np.array([y]), max_epochs=1)
    found, wrong = perceptron.w.tolist(), new_w != w
    other_way = (2 * np.array(w) - new_w).tolist()
    assert not wrong or found != other_way, (
        f"after {what} w is {found}, should be {new_w}: the error is y minus the prediction"
    )
    edge = ": the sum is 0, and only one above 0 fires" if found == w and not any(w) and b == 0 else ""
    assert found == new_w, f"after {what} w is {found}, should be {new_w}{edge}"
    assert np.ndim(perceptron.b) == 0, (
        f"after {what} b is {perceptron.b!r}, should be a number: take the one answer of predict, [0]"
    )
    often = ": it moves once for an example, not once for a feature" if perceptron.b == b + len(x) * (new_b - b) else ""
    assert perceptron.b == new_b, f"after {what} b is {perceptron.b}, should be {new_b}{often}"
    should = None if wrong else 0
    assert epoch == should, (
        f"after {what} learn returns {epoch}, should be {should}: `mistakes` counts what was wrong, and that alone"
    )


@pytest.mark.exercise(1)
def test_mistakes_of_either_sign_are_counted():
    epoch = Perceptron(1).learn(np.array([[1.0], [2.0]]), np.array([1, 0]), max_epochs=1)
    assert epoch is None, (
        f"after a missed 1 and a false alarm learn returns {epoch}, should be None: 2 mistakes, not 1 - 1"
    )


@pytest.mark.exercise(1)
def test_the_second_example_meets_the_weights_that_the_first_has_moved():
    perceptron = Perceptron(1)
    perceptron.learn(np.array([[1.0], [2.0]]), np.array([1, 1]), max_epochs=1)
    found = perceptron.w.tolist(), float(perceptron.b)
    assert found == ([1.0], 1.0), (
        f"after two 1s w and b are {found}, should be ([1.0], 1.0): the second meets what the first has moved"
    )


@pytest.mark.exercise(1)
@pytest.mark.parametrize("gate", ["AND", "OR"])
def test_perceptron_learns_and_and_or(gate):
    perceptron = Perceptron(2)
    epoch = perceptron.learn(INPUTS, GATES[gate])
    assert epoch is not None, f"for {gate} learn returns None after 100 epochs, should converge: a line separates it"
    found, should = perceptron.predict(INPUTS).tolist(), GATES[gate].tolist()
    assert found == should, f"having learned {gate} it predicts {found}, should be {should}"


@pytest.mark.exercise(1)
def test_perceptron_can_never_learn_xor():
    epoch = Perceptron(2).learn(INPUTS, GATES["XOR"], max_epochs=1000)
    assert epoch is None, f"for XOR learn returns {epoch}, should be None: no line separates it"
    epochs = gates.cycle(INPUTS, GATES["XOR"])
    assert epochs is not None, "for XOR the weights do not come back within 1000 epochs, should go in a circle"
    assert gates.cycle(INPUTS, GATES["AND"]) is None


@pytest.mark.exercise(1)
def test_perceptron_makes_no_more_mistakes_than_novikoffs_bound(rng):
    """At most (R/γ)² mistakes: R is the longest example, γ the margin of a separating line, the bias an input of 1."""
    x = rng.normal(size=(200, 2))
    line = np.array([1.0, 1.0, 0.0]) / math.sqrt(2)
    margins = np.abs(np.column_stack([x, np.ones(200)]) @ line)
    x, y = x[margins > 0.3], (x @ [1.0, 1.0] > 0).astype(int)[margins > 0.3]
    bound = np.sqrt((x**2).sum(axis=1) + 1).max() ** 2 / 0.3**2
    perceptron, mistakes, wrong = Perceptron(2), 0, 1
    while wrong:
        wrong = 0
        for xi, yi in zip(x, y, strict=True):  # one example a call: the weights move only where it was wrong
            wrong += perceptron.learn(xi[None], np.array([yi]), max_epochs=1) is None
        mistakes += wrong
        assert mistakes <= bound, f"it has made {mistakes} mistakes, should be at most {bound:.0f} (Novikoff)"
    assert mistakes > 0, "it has made 0 mistakes, should be some: it begins with zeros"
    right = (perceptron.predict(x) == y).mean()
    assert right == 1, f"in the end {right:.0%} are right, should be all: a line separates them"


# ---------------------------------------------------------------- exercise 2: the linear layer


def layer_of(W, b):
    """A linear layer with these weights; what its gradients begin with must be forgotten: sevens."""
    layer, W = Linear(len(W), len(b)), np.array(W, float)
    layer.bind(np.concatenate([W.ravel(), np.array(b, float)]), np.full(layer.n_params, 7.0))
    return layer


ONE, TWO = np.array([[1.0, 2.0]]), np.array([[1.0, 2.0], [0.0, -1.0]])  # one example, and two


@pytest.mark.exercise(2)
@pytest.mark.parametrize(
    "case",
    [
        ("one example, one output", ONE, [[3], [4]], [5]),
        ("two examples, three outputs", TWO, [[1, 0, 2], [3, -1, 1]], [10, 20, 30]),
    ],
    ids=lambda case: case[0],
)
def test_linear_forward_by_hand(case):
    what, x, W, b = case
    layer = layer_of(W, b)
    found = layer.forward(x)
    product = x @ np.array(W, float)
    equal(found, product + b, f"with {what}, z", slips=[("lacks the bias, should be x W + b", product)])
    kept = getattr(layer, "x", None)
    assert kept is not None, "after forward self.x is missing, should be the input: the gradients need it"
    equal(kept, x, "after forward self.x")


@pytest.mark.exercise(2)
@pytest.mark.parametrize("name", ["db", "dW"])
def test_linear_fills_its_gradients_in_place(name):
    layer = layer_of(np.ones((2, 3)), np.zeros(3))
    window = getattr(layer, name)
    layer.forward(ONE)
    layer.gradients(np.ones((1, 3)))
    assert getattr(layer, name) is window, (
        f"self.{name} is a new array, should be the old one, filled: self.{name}[:] = …, which the optimiser sees"
    )


@pytest.mark.exercise(2)
@pytest.mark.parametrize(
    "case",
    [
        ("one example", ONE, [[1, -2, 3]]),
        ("two examples", TWO, [[1, 0, 2], [3, -1, 1]]),
        ("three examples", np.array([[1.0, 2.0], [0.0, -1.0], [4.0, 0.0]]), [[1, 2, 0], [3, 4, 0], [0, 0, 5]]),
    ],
    ids=lambda case: case[0],
)
def test_linear_gradients_by_hand(case):
    what, x, dz = case
    layer, dz = layer_of(np.ones((2, 3)), np.zeros(3)), np.array(dz, float)
    layer.forward(x)
    layer.gradients(dz.copy())
    db, dW = dz.sum(axis=0), x.T @ dz
    divided = "is divided by the batch size, should be the sum: the loss has divided already"
    added = "is added to what stood there, should replace it"
    equal(layer.db, db, f"with {what}, db", slips=[
        (f"is {dz.sum():g} for every output, should be one sum for each: over the batch alone, axis 0", [dz.sum()] * 3),
        (divided, db / len(x)), (added, db + 7),
    ])  # fmt: skip
    equal(layer.dW, dW, f"with {what}, dW", slips=[(divided, dW / len(x)), (added, dW + 7)])


@pytest.mark.exercise(2)
@pytest.mark.parametrize(
    "case",
    [
        ("as many inputs as outputs", [[1, 2], [3, 4]], [[1, 10]]),
        ("three inputs, two outputs", [[1, 0], [2, 1], [-1, 3]], [[1, 2], [0, -1]]),
    ],
    ids=lambda case: case[0],
)
def test_linear_gradient_for_the_layer_below_by_hand(case):
    what, W, dz = case
    layer, W, dz = layer_of(W, [0, 0]), np.array(W, float), np.array(dz, float)
    layer.forward(np.ones((len(dz), len(W))))
    slips = [("is dz W, should be dz times W transposed", dz @ W)] if len(W) == 2 else []
    equal(layer.backward(dz.copy()), dz @ W.T, f"with {what}, dx", slips=slips)


@pytest.mark.exercise(2)
def test_linear_forward_equals_torch(rng):
    torch = pytest.importorskip("torch")
    layer, x = linear(5, 3), rng.normal(size=(4, 5))
    expected = torch.nn.functional.linear(torch.from_numpy(x), torch.from_numpy(layer.W.T), torch.from_numpy(layer.b))
    equal(layer.forward(x), expected.numpy(), "z = x W + b", 1e-12)


@pytest.mark.exercise(2)
def test_linear_gradients_equal_finite_differences(rng):
    layer, x = linear(5, 3), rng.normal(size=(4, 5))
    weighting = rng.normal(size=(4, 3))

    def loss():
        return float((layer.forward(x) * weighting).sum())

    by_hand = {name: numerical_gradient(loss, getattr(layer, name)) for name in ("W", "b")}
    loss()
    layer.gradients(weighting)
    equal(layer.dW, by_hand["W"], "dW (BP4)", 1e-7)
    equal(layer.db, by_hand["b"], "db (BP3)", 1e-7)
    check_layer(layer, x, "dx (BP2)")


# ---------------------------------------------------------------- exercise 3: the activations


def check_forward(layer, x, expected, what, slips=()):
    """The output, that it is kept, and that the input is left alone."""
    given = x.copy()
    equal(layer.forward(given), expected, f"{what} of {x[0].round(3).tolist()}, out", slips=slips)
    kept = getattr(layer, "a", None)
    assert kept is not None, f"after {what}'s forward self.a is missing, should be the output: backward needs it"
    equal(kept, expected, f"after {what}'s forward self.a")
    equal(given, x, f"after {what}'s forward its input x")


LOG_3 = np.array([[0.0, math.log(3), -math.log(3)]])  # where the sigmoid is 1/2, 3/4 and 1/4


@pytest.mark.exercise(3)
def test_sigmoid_by_hand():
    turned = ("is the sigmoid of -x, should be 1 / (1 + e^-x)", [[0.5, 0.25, 0.75]])
    check_forward(Sigmoid(), LOG_3, [[0.5, 0.75, 0.25]], "sigmoid", [turned])


@pytest.mark.exercise(3)
def test_sigmoid_gradient_by_hand():
    layer, da = Sigmoid(), np.array([[8.0, 16.0, -16.0]])
    a = layer.forward(LOG_3.copy())
    again = 1 / (1 + np.exp(-a))
    equal(layer.backward(da.copy()), [[2.0, 3.0, -3.0]], "dz of sigmoid", slips=[
        ("puts the output through the sigmoid again, should be da a (1 - a) of self.a", da * again * (1 - again)),
        ("is da x (1 - x) of the input, should be da a (1 - a) of the output, self.a", da * LOG_3 * (1 - LOG_3)),
        ("is the slope alone, should be da times the slope", a * (1 - a)),
        ("is da times the output, should be da times the slope, a (1 - a)", da * a),
    ])  # fmt: skip


@pytest.mark.exercise(3)
def test_sigmoid_survives_large_numbers():
    with np.errstate(all="raise", under="ignore"):  # otherwise only a warning
        found = Sigmoid().forward(np.array([[-1000.0, 0.0, 1000.0]])).tolist()
    assert found == [[0.0, 0.5, 1.0]], f"sigmoid of [-1000, 0, 1000] is {found[0]}, should be [0.0, 0.5, 1.0]"


@pytest.mark.exercise(3)
def test_relu_by_hand():
    check_forward(ReLU(), np.array([[-1.0, 0.0, 2.0, 3.0]]), [[0.0, 0.0, 2.0, 3.0]], "ReLU")


@pytest.mark.exercise(3)
def test_relu_gradient_by_hand():
    layer, x, da = ReLU(), np.array([[-1.0, 0.0, 2.0, 3.0]]), np.array([[3.0, 4.0, -5.0, 6.0]])
    layer.forward(x.copy())
    equal(layer.backward(da.copy()), [[0.0, 0.0, -5.0, 6.0]], "dz of ReLU", slips=[
        ("lets all of da through, should be 0 where the output is 0: ask for > 0, as it is never below", da),
        ("is 4 where x is 0, should be 0 there", da * (x >= 0)),
        ("is masked by the sign of da, should be by that of the output", da * (da > 0)),
        ("is the slope alone, should be da times the slope", x > 0),
        ("is da times the output, should be da where the output is positive", da * np.maximum(x, 0)),
    ])  # fmt: skip


@pytest.mark.exercise(3)
@pytest.mark.parametrize(("layer", "name"), [(Sigmoid, "sigmoid"), (ReLU, "relu")])
def test_activation_equals_torch(layer, name, rng):
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(6, 4)) * 3
    expected = getattr(torch, name)(torch.from_numpy(x)).numpy()
    equal(layer().forward(x.copy()), expected, f"{name}, forward,", 1e-12)


@pytest.mark.exercise(3)
@pytest.mark.parametrize("layer", [Sigmoid, ReLU])
def test_activation_gradient_equals_finite_differences(layer, rng):
    check_layer(layer(), rng.normal(size=(6, 4)) * 2, f"dz of {layer.__name__}")


@pytest.mark.exercise(3)
@pytest.mark.parametrize("layer", [Sigmoid, ReLU])
def test_activation_keeps_float32(layer):
    found = layer().forward(np.ones((2, 3), dtype=np.float32)).dtype
    assert found == np.float32, f"{layer.__name__} of float32 numbers is {found}, should be float32"


def test_tanh_gradient_equals_finite_differences(rng):
    check_layer(Tanh(), rng.normal(size=(6, 4)), "dz of Tanh")


# ---------------------------------------------------------------- exercise 4: softmax and cross-entropy


LN_2 = math.log(2)
TWO_ROWS, LABELS = np.array([[0.0, 0.0, LN_2], [0.0, LN_2, 0.0]]), np.array([2, 0])
PROBABILITIES = np.array([[0.25, 0.25, 0.5], [0.25, 0.5, 0.25]])


def check_loss(logits, labels, p, expected, what, slips=()):
    """Returns the loss after its forward pass: self.p and self.labels first, then the number."""
    loss = SoftmaxCrossEntropy()
    found = loss.forward(logits.copy(), labels)
    for name in ("p", "labels"):
        assert hasattr(loss, name), f"after forward self.{name} is missing, should be kept: backward needs it"
    exp = np.exp(logits)
    equal(loss.p, p, f"with {what}, self.p", slips=[
        ("sums to 1 down the columns, should in each row: axis 1", exp / exp.sum(axis=0)),
        ("sums to 1 over the whole batch, should in each row: axis 1", exp / exp.sum()),
    ])  # fmt: skip
    equal(loss.labels, labels, f"with {what}, self.labels")
    equal(
        found, expected, f"with {what}, the loss", slips=[("has the wrong sign, should be -log p", -expected), *slips]
    )
    return loss


@pytest.mark.exercise(4)
@pytest.mark.parametrize(
    "case",
    [
        ("two equal logits", np.zeros((1, 2)), [0], [[0.5, 0.5]], LN_2),
        ("a p of 1/4, 1/4, 1/2 and label 1", TWO_ROWS[:1], [1], PROBABILITIES[:1], 2 * LN_2),
    ],
    ids=lambda case: case[0],
)
def test_cross_entropy_of_one_example_by_hand(case):
    what, logits, labels, p, expected = case
    check_loss(logits, np.array(labels), p, expected, what)


@pytest.mark.exercise(4)
def test_cross_entropy_of_two_examples_by_hand():
    summed = ("is the sum over the batch, should be the mean", 3 * LN_2)
    pairs = -np.log(PROBABILITIES[:, LABELS]).mean()
    indexed = ("takes each label from every row, should take one p from each: [np.arange(batch), labels]", pairs)
    check_loss(TWO_ROWS, LABELS, PROBABILITIES, 1.5 * LN_2, "two examples", [summed, indexed])


@pytest.mark.exercise(4)
@pytest.mark.parametrize("batch", [1, 2])
def test_cross_entropy_gradient_by_hand(batch):
    loss, p = SoftmaxCrossEntropy(), PROBABILITIES[:batch]
    loss.forward(TWO_ROWS[:batch].copy(), LABELS[:batch])
    away = p - np.eye(3)[LABELS[:batch]]
    expected = away / batch
    columns = (p - np.isin(range(3), LABELS[:batch])) / batch
    equal(loss.backward(), expected, f"with a batch of {batch}, dlogits", slips=[
        ("has the wrong sign, should be p minus one-hot", -expected),
        ("is p, should be p minus one-hot(label)", p),
        ("is not divided by the batch size, should be: the loss is a mean", away),
        ("is divided by the batch size twice, should be once", expected / batch),
        ("is divided by the number of classes, should be by that of examples", away / 3),
        ("has each label's 1 taken from every row, should from its own: [np.arange(batch), labels]", columns),
    ])  # fmt: skip


@pytest.mark.exercise(4)
def test_cross_entropy_of_a_coin_toss_and_of_certainty():
    found = SoftmaxCrossEntropy().forward(np.zeros((3, 10)), np.array([0, 4, 9]))
    equal(found, math.log(10), "with ten equal logits, the loss")
    kept_away = "is that of a p kept away from 0, should be 1000: take log p from the logits"
    with np.errstate(all="raise", under="ignore"):
        found = SoftmaxCrossEntropy().forward(np.array([[1000.0, 0.0]]), np.array([1]))
        equal(found, 1000.0, "with logits (1000, 0) and label 1, the loss", slips=[
            (kept_away, -math.log(eps)) for eps in (1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15, 1e-16)
        ])  # fmt: skip
        found = SoftmaxCrossEntropy().forward(np.array([[1000.0, 0.0]]), np.array([0]))
    assert found == 0.0, f"with logits (1000, 0) and label 0 the loss is {found}, should be 0.0: sure and right"


@pytest.mark.exercise(4)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_rows_that_lie_far_apart_do_not_disturb_each_other():
    loss = SoftmaxCrossEntropy()
    found = loss.forward(np.array([[1000.0, 1000.0], [0.0, 0.0]]), np.array([0, 1]))
    assert np.isfinite(found), (
        f"with one row 1000 below the other the loss is {found}, should be {LN_2:.4f}: subtract each row's own maximum"
    )
    equal(found, LN_2, "with one row 1000 below the other, the loss", 1e-12)
    equal(loss.backward(), [[-0.25, 0.25], [0.25, -0.25]], "with one row 1000 below the other, dlogits", 1e-12)


@pytest.mark.exercise(4)
def test_the_loss_is_a_float_of_pythons():
    loss = SoftmaxCrossEntropy().forward(np.zeros((2, 3), np.float32), np.array([0, 1]))
    assert type(loss) is float, f"the loss is of type {type(loss).__name__}, should be float: return float(…) of it"


@pytest.mark.exercise(4)
def test_cross_entropy_and_gradient_equal_torch(rng):
    torch = pytest.importorskip("torch")
    logits, labels = rng.normal(size=(8, 5)) * 4, rng.integers(0, 5, 8)
    theirs = torch.from_numpy(logits.copy()).requires_grad_()
    expected = torch.nn.functional.cross_entropy(theirs, torch.from_numpy(labels))
    expected.backward()
    loss = SoftmaxCrossEntropy()
    equal(loss.forward(logits, labels), expected.item(), "the loss", 1e-10)
    equal(loss.backward(), theirs.grad.numpy(), "dlogits (BP1)", 1e-10)


@pytest.mark.exercise(4)
def test_cross_entropy_gradient_equals_finite_differences(rng):
    logits, labels = rng.normal(size=(4, 5)), rng.integers(0, 5, 4)
    loss = SoftmaxCrossEntropy()
    expected = numerical_gradient(lambda: loss.forward(logits, labels), logits)
    loss.forward(logits, labels)
    equal(loss.backward(), expected, "dlogits (BP1)", 1e-7)


@pytest.mark.exercise(4)
def test_cross_entropy_gradient_sums_to_zero_in_each_row(rng):
    loss = SoftmaxCrossEntropy()
    loss.forward(rng.normal(size=(6, 5)), rng.integers(0, 5, 6))
    sums = np.abs(loss.backward().sum(axis=1)).max()
    assert sums < 1e-12, f"a row of dlogits sums to {sums:.3g}, should be 0: what one class gains, the others lose"


def test_squared_error_equals_torch(rng):
    torch = pytest.importorskip("torch")
    outputs, labels = rng.random((8, 5)), rng.integers(0, 5, 8)
    theirs = torch.from_numpy(outputs).requires_grad_()
    target = torch.nn.functional.one_hot(torch.from_numpy(labels), 5).double()
    expected = torch.nn.functional.mse_loss(theirs, target, reduction="sum") / (2 * 8)
    expected.backward()
    loss = MeanSquaredError()
    assert loss.forward(outputs, labels) == pytest.approx(expected.item(), rel=1e-12)
    assert relative_error(loss.backward(), theirs.grad.numpy()) <= 1e-12


# ---------------------------------------------------------------- exercise 5: backpropagation through the network


class Given:
    """A loss whose gradient is given, in whole numbers."""

    def __init__(self, gradient):
        self.gradient = np.array(gradient, float)

    def backward(self):
        return self.gradient.copy()


def after_backward(*weights, activation="relu"):
    """The linear layers of a network with these weights after its backward pass, from x = (1, 2) and (1, -2) above."""
    mlp = MLP((2, *(len(W[0]) for W in weights)), activation, dtype=np.float64)
    layers = [layer for layer in mlp.layers if isinstance(layer, Linear)]
    for layer, W in zip(layers, weights, strict=True):
        layer.W[:] = W
    mlp.forward(np.array([[1.0, 2.0]]))
    mlp.loss = Given([[1.0, -2.0]])
    mlp.grads[:] = 7.0
    mlp.backward()
    return layers


def check_filled(layer, dW, db, what, slips=()):
    for name, found, expected in (("dW", layer.dW, dW), ("db", layer.db, db)):
        assert not (found == 7).all(), (
            f"in {what}, {name} is left as it was, should be filled: hand the gradient down to it"
        )
        equal(found, expected, f"in {what}, {name}", slips=slips if name == "dW" else ())


@pytest.mark.exercise(5)
def test_backpropagation_without_a_hidden_layer_by_hand():
    (only,) = after_backward([[1, -1], [1, -1]])
    check_filled(only, [[1, -2], [2, -4]], [1, -2], "the only layer")


@pytest.mark.exercise(5)
def test_backpropagation_through_a_hidden_layer_by_hand():
    """z = (3, -3), a = (3, 0) and, from above, (1, 4): the second neuron is off, so no blame goes through it."""
    first, last = after_backward([[1, -1], [1, -1]], [[1, 0], [2, -1]])
    check_filled(last, [[3, -6], [0, 0]], [1, -2], "the last layer", slips=[
        ("is for a gradient that came from below, should come down from the loss: reversed", [[3, 0], [0, 0]]),
    ])  # fmt: skip
    check_filled(first, [[1, 0], [2, 0]], [1, 0], "the first layer", slips=[
        ("is for the loss's own gradient, should be for what the layer above returns", [[1, -2], [2, -4]]),
        ("leaves the activation out, should come through its backward, too", [[1, 4], [2, 8]]),
    ])  # fmt: skip


@pytest.mark.exercise(5)
def test_backpropagation_through_two_hidden_layers_by_hand():
    """a = (3, 1), then (5, 2): all neurons are on, and the blame is (1, -2), then (1, 1), then (2, 3)."""
    first, middle, last = after_backward([[1, -1], [1, 1]], [[1, 1], [2, -1]], [[3, 1], [-1, -1]])
    check_filled(last, [[5, -10], [2, -4]], [1, -2], "the last of three layers")
    check_filled(middle, [[3, 3], [1, 1]], [1, 1], "the middle one of three layers")
    check_filled(first, [[2, 1], [4, 2]], [2, 1], "the first of three layers")


def check_network(mlp, found, expected, what):
    """Layer by layer, from the last, as the gradient comes down."""
    layers, stop = [layer for layer in mlp.layers if isinstance(layer, Linear)], len(expected)
    for number, layer in reversed(list(enumerate(layers, 1))):
        start, shape = stop - layer.n_params, (layer.fan_in, layer.fan_out)
        ends = stop - layer.fan_out  # W first, then b
        where = f"with {what}, in linear layer {number} of {len(layers)},"
        equal(found[start:ends].reshape(shape), expected[start:ends].reshape(shape), f"{where} dW", 1e-7)
        equal(found[ends:stop], expected[ends:stop], f"{where} db", 1e-7)
        stop = start


@pytest.mark.exercise(5)
@pytest.mark.parametrize("network", [MLP, FastMLP])
@pytest.mark.parametrize("loss", model.LOSSES)
@pytest.mark.parametrize("activation", model.ACTIVATIONS)
def test_backpropagation_equals_finite_differences(activation, loss, network, rng):
    x, labels = rng.normal(size=(6, 9)), rng.integers(0, 4, 6)
    mlp = network((9, 7, 6, 4), activation, loss, init="xavier", rng=rng, dtype=np.float64)
    mlp.params += rng.normal(size=mlp.params.shape) * 0.1  # biases too
    mlp.loss_and_gradient(x.copy(), labels)
    found = mlp.grads.copy()
    expected = numerical_gradient(lambda: mlp.loss.forward(mlp.forward(x.copy()), labels), mlp.params)
    check_network(mlp, found, expected, f"{activation} and {loss}")


@pytest.mark.exercise(5)
def test_backpropagation_through_dropout_equals_finite_differences(rng):
    mlp = MLP((9, 12, 4), dropout=0.4, rng=np.random.default_rng(3), dtype=np.float64)
    x, labels = rng.normal(size=(6, 9)), rng.integers(0, 4, 6)

    def loss():
        mlp.rng.bit_generator.state = state  # the same neurons silenced each time
        return mlp.loss.forward(mlp.forward(x, train=True), labels)

    state = mlp.rng.bit_generator.state
    loss()
    mlp.backward()
    found = mlp.grads.copy()
    check_network(mlp, found, numerical_gradient(loss, mlp.params), "dropout")


@pytest.mark.exercise(5)
def test_mlp_learns_xor():
    solved = []
    for seed in range(5):
        mlp, losses = gates.learn_xor(seed)
        solved.append(bool((mlp.forward(INPUTS).argmax(axis=1) == GATES["XOR"]).all()))
        assert losses[-1] < losses[0] / 100, (
            f"on XOR the loss falls from {losses[0]:.3f} to {losses[-1]:.3f}, should be below {losses[0] / 100:.3f}"
        )
    assert all(solved), f"XOR is learned from {sum(solved)} of 5 seeds, should be from all"


@pytest.mark.exercise(5)
def test_one_batch_is_learned_by_heart(rng):
    x, labels = rng.random((32, 20), dtype=np.float32), rng.integers(0, 10, 32)
    mlp = MLP((20, 64, 10), rng=rng)
    optimizer = optim.SGD(mlp.params, momentum=0.9)
    for _ in range(300):
        loss = mlp.loss_and_gradient(x, labels)
        optimizer.step(mlp.grads, 0.1)
    assert loss < 0.01, f"the loss of one batch, seen 300 times, is {loss:.3f}, should be below 0.01"
    right = (mlp.forward(x).argmax(axis=1) == labels).mean()
    assert right == 1, f"of a batch that was learned by heart {right:.0%} are right, should be all"


# ---------------------------------------------------------------- exercise 6: the optimisers


def torch_twin(torch, mlp):
    """The same network in torch, float64, with copied weights."""
    modules = []
    for layer in mlp.layers:
        if isinstance(layer, Linear):
            twin = torch.nn.Linear(layer.fan_in, layer.fan_out, dtype=torch.float64)
            with torch.no_grad():
                twin.weight.copy_(torch.from_numpy(layer.W.T))
                twin.bias.copy_(torch.from_numpy(layer.b))
            modules.append(twin)
        else:
            modules.append({Sigmoid: torch.nn.Sigmoid, Tanh: torch.nn.Tanh}.get(type(layer), torch.nn.ReLU)())
    return torch.nn.Sequential(*modules)


def ten_steps_beside_torch(ours, theirs, network=MLP, activation="relu"):
    """Ten steps of both from the same weights on the same batches. Returns the largest relative difference."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    mlp = network((12, 10, 8, 4), activation, rng=rng, dtype=np.float64)
    twin = torch_twin(torch, mlp)
    optimizer, reference = ours(mlp.params), theirs(torch.optim, twin.parameters())
    for step in range(10):
        x, labels = rng.normal(size=(16, 12)), rng.integers(0, 4, 16)
        lr = 0.05 / (step + 1)  # a rate that changes, as every schedule's does
        mlp.loss_and_gradient(x.copy(), labels)
        optimizer.step(mlp.grads, lr)
        reference.param_groups[0]["lr"] = lr
        reference.zero_grad()
        torch.nn.functional.cross_entropy(twin(torch.from_numpy(x)), torch.from_numpy(labels)).backward()
        reference.step()
    parts = [p.detach().numpy() for p in twin.parameters()]
    expected = np.concatenate([p.T.ravel() for p in parts])  # W is (in, out) here and (out, in) there
    return relative_error(mlp.params, expected)


SGDS = [{}, {"momentum": 0.9}, {"momentum": 0.9, "weight_decay": 0.01}]


@pytest.mark.parametrize("network", [MLP, FastMLP])
@pytest.mark.parametrize("activation", model.ACTIVATIONS)
@pytest.mark.parametrize("options", SGDS, ids=["plain", "momentum", "momentum and weight decay"])
def test_ten_sgd_steps_equal_torch(options, activation, network):
    def ours(params):
        return optim.SGD(params, **options)

    def theirs(torch_optim, params):
        return torch_optim.SGD(params, lr=0.1, **options)

    assert ten_steps_beside_torch(ours, theirs, network, activation) <= 1e-6


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_ten_adam_steps_of_a_network_equal_torch(weight_decay):
    def ours(params):
        return optim.Adam(params, weight_decay)

    def theirs(torch_optim, params):
        return torch_optim.AdamW(params, weight_decay=weight_decay)

    assert ten_steps_beside_torch(ours, theirs) <= 1e-6


def adam_by_hand():
    """One step: g = 8 and both betas 3/4, so m = 2, v = 16, corrected 8 and 64, and the step is lr · 8 / 8 = 1."""
    params = np.zeros(1)
    optimizer = optim.Adam(params, betas=(0.75, 0.75))
    with np.errstate(all="ignore"):
        optimizer.step(np.array([8.0]), lr=1.0)
    return params, optimizer


@pytest.mark.exercise(6)
def test_adams_running_means_by_hand():
    _, optimizer = adam_by_hand()
    assert optimizer.t == 1, f"after the first step t is {optimizer.t}, should be 1: count each step in self.t"
    over, kept = "has beta and 1 - beta changed over, should be", "is corrected already, should stay"
    equal(optimizer.m, [2.0], "after the first step m", slips=[
        (f"{over} 0.75 · 0 + 0.25 · 8 = 2", [6.0]), (f"{kept} 2: only the step takes m_hat", [8.0]),
    ])  # fmt: skip
    equal(optimizer.v, [16.0], "after the first step v", slips=[
        ("is made from grads, should be from grads squared: 0.25 · 64 = 16", [2.0]),
        (f"{over} 0.75 · 0 + 0.25 · 64 = 16", [48.0]), (f"{kept} 16: only the step takes v_hat", [64.0]),
    ])  # fmt: skip


@pytest.mark.exercise(6)
def test_adam_moves_params_in_place():
    params, _ = adam_by_hand()
    assert params.any(), (
        "after the first step params is [0.], should be [-1.]: move it in place (-=); a new array is seen by nobody"
    )


@pytest.mark.exercise(6)
def test_adams_first_step_by_hand():
    params, _ = adam_by_hand()
    assert np.isfinite(params).all(), (
        f"after the first step params is {params}, should be [-1.]: count t before you divide by 1 - beta^t"
    )
    uncorrected = "goes by {}, should be divided by 1 - beta^t: the bias of the zeros is left in"
    equal(params, [-1.0], "the first step of lr 1", slips=[
        ("goes uphill, should go down: params -= …", [1.0]),
        (uncorrected.format("m and v as they are"), [-0.5]),
        (uncorrected.format("v as it is"), [-2.0]),
        (uncorrected.format("m as it is"), [-0.25]),
        ("is divided by v_hat, should be by its root", [-0.125]),
    ])  # fmt: skip


@pytest.mark.exercise(6)
def test_adams_first_step_is_lr_whatever_the_slope():
    params, should = np.zeros(3), np.array([-0.01, 0.01, -0.01])
    optim.Adam(params).step(np.array([1e-3, -1.0, 1e3]), lr=0.01)
    assert np.allclose(params, should, rtol=0.01), (
        f"for slopes of 0.001, -1 and 1000 the first step is {params.round(5)}, should be {should}: lr, steep or not"
    )


@pytest.mark.exercise(6)
def test_adam_counts_its_steps_and_corrects_each_for_the_zeros_it_began_with():
    params = np.zeros(2)
    optimizer = optim.Adam(params)
    for step in (1, 2, 3):
        optimizer.step(np.array([1.0, -2.0]), lr=0.01)
        assert optimizer.t == step, f"after step {step} t is {optimizer.t}, should be {step}: add 1 in every step"
        equal(params, [-0.01 * step, 0.01 * step], f"under a constant slope, after step {step} of lr 0.01 params")


@pytest.mark.exercise(6)
def test_adam_adds_eps_outside_of_the_root():
    params = np.zeros(1)
    optim.Adam(params, eps=1e-8).step(np.array([1e-8]), lr=0.01)  # √v̂ is eps, so half a step
    assert np.allclose(params, -0.005, rtol=1e-6), (
        f"for a slope as small as eps the step is {params[0]:.4g}, should be -0.005: divide by sqrt(v_hat) + eps, eps"
        " outside of the root"
    )


@pytest.mark.exercise(6)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_ten_adam_steps_equal_torch(weight_decay, rng):
    """Gradients drawn at random: no other piece has a part in it."""
    torch = pytest.importorskip("torch")
    params = rng.normal(size=20)
    theirs = torch.from_numpy(params.copy())
    optimizer, reference = optim.Adam(params, weight_decay), torch.optim.AdamW([theirs], weight_decay=weight_decay)
    for step in range(10):
        grads, lr = rng.normal(size=20), 0.05 / (step + 1)
        theirs.grad, reference.param_groups[0]["lr"] = torch.from_numpy(grads.copy()), lr
        optimizer.step(grads, lr)
        reference.step()
    equal(params, theirs.numpy(), "after ten steps of Adam params", 1e-10)


def test_schedule_rises_then_falls_to_zero():
    rates = [optim.learning_rate(step, 200, 0.1, "cosine") for step in range(200)]
    assert max(rates) == pytest.approx(0.1)
    assert rates.index(max(rates)) in (9, 10)
    assert all(a <= b for a, b in pairwise(rates[:10]))
    assert all(a >= b for a, b in pairwise(rates[10:]))
    assert 0 < rates[-1] < 1e-4
    assert {optim.learning_rate(step, 200, 0.1, "constant") for step in range(200)} == {0.1}


# ---------------------------------------------------------------- the whole


@pytest.mark.parametrize("loss", model.LOSSES)
@pytest.mark.parametrize("activation", model.ACTIVATIONS)
def test_fast_gives_the_same_numbers(activation, loss, rng):
    x, labels = rng.random((3, 16, 30), dtype=np.float32), rng.integers(0, 5, (3, 16))
    plain, fast = (
        network((30, 20, 10, 5), activation, loss, rng=np.random.default_rng(0)) for network in (MLP, FastMLP)
    )
    a, b = optim.SGD(plain.params, momentum=0.9), optim.SGD(fast.params, momentum=0.9)
    for step in range(3):
        assert plain.loss_and_gradient(x[step].copy(), labels[step]) == pytest.approx(
            fast.loss_and_gradient(x[step].copy(), labels[step]), rel=1e-5
        )
        assert relative_error(plain.grads, fast.grads) <= 1e-5
        a.step(plain.grads, 0.1)
        b.step(fast.grads, 0.1)
    assert relative_error(plain.params, fast.params) <= 1e-6


def test_fast_follows_a_batch_that_changes_size(rng):
    plain, fast = (network((30, 20, 5), rng=np.random.default_rng(0)) for network in (MLP, FastMLP))
    for size in (16, 3, 16):
        x = rng.random((size, 30), dtype=np.float32)
        assert np.abs(plain.forward(x.copy()) - fast.forward(x.copy())).max() < 1e-5


def test_a_steps_memory_is_allocated_once(rng):
    """fast.py's promise: after the first step every array stays where it is."""
    mlp = FastMLP((30, 20, 5), rng=rng)
    places = []
    for _ in range(3):
        mlp.loss_and_gradient(rng.random((8, 30), dtype=np.float32), rng.integers(0, 5, 8))
        places.append([a.ctypes.data for a in (mlp.layers[0].z, mlp.layers[2].z, mlp.layers[2].dx, mlp.grads)])
    assert places[0] == places[1] == places[2]


def test_dropout_keeps_the_mean_and_is_off_when_testing(rng):
    layer = model.Dropout(0.3, rng)
    x = np.ones((200, 500), dtype=np.float32)
    out = layer.forward(x, train=True)
    assert out.mean() == pytest.approx(1, abs=0.01)
    assert (out == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert (layer.backward(x) == out).all(), "the same neurons are silent on the way back"
    assert layer.forward(x, train=False) is x


@pytest.mark.parametrize(("activation", "init"), [("relu", "he"), ("tanh", "xavier")])
def test_init_keeps_the_size_of_the_signal(activation, init, rng):
    """Ten layers deep the activations are neither gone nor huge; with weights of 0.001 they are gone."""
    x = rng.normal(size=(100, 200))

    def size_after_ten(init):
        mlp = MLP((200,) * 11, activation, init=init, rng=np.random.default_rng(0), dtype=np.float64)
        return float(mlp.forward(x).std())

    assert 0.1 < size_after_ten(init) < 5
    assert size_after_ten("small") < 1e-10


def test_no_hidden_layer_is_logistic_regression(rng):
    """The baseline is the real thing: its optimum is scikit-learn's."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    x = rng.normal(size=(300, 4))
    labels = (x @ rng.normal(size=(4, 3)) + rng.normal(size=(300, 3))).argmax(axis=1)
    mlp = MLP((4, 3), rng=rng, dtype=np.float64)
    optimizer = optim.SGD(mlp.params, momentum=0.9)
    for _ in range(3000):
        loss = mlp.loss_and_gradient(x, labels)
        optimizer.step(mlp.grads, 0.5)
    reference = linear_model.LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x, labels)
    p = reference.predict_proba(x)
    assert loss == pytest.approx(-np.log(p[np.arange(300), labels]).mean(), abs=1e-6)


# ---------------------------------------------------------------- what a checkpoint holds

OPTIMIZERS = {
    "sgd": optim.SGD,
    "momentum": lambda params: optim.SGD(params, momentum=0.9, weight_decay=0.01),
    "adam": lambda params: optim.Adam(params, weight_decay=0.01),
}


@pytest.mark.parametrize("network", [MLP, FastMLP])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_state_that_is_put_back_goes_on_bit_for_bit(optimizer, network, rng, tmp_path):
    """Also through a file, and where both have been somewhere else meanwhile."""
    x, labels = rng.random((6, 16, 30), dtype=np.float32), rng.integers(0, 5, (6, 16))
    mlp = network((30, 20, 5), dropout=0.3, rng=np.random.default_rng(1))
    steps = OPTIMIZERS[optimizer](mlp.params)

    def train(which):
        for i in which:
            mlp.loss_and_gradient(x[i].copy(), labels[i])
            steps.step(mlp.grads, 0.01)
        return mlp.params.tobytes(), mlp.rng.random()

    train(range(3))
    checkpoint.save(tmp_path / "state", {"model": mlp.state_dict(), "optimizer": steps.state_dict()})
    went_on = train(range(3, 6))
    state = checkpoint.load(tmp_path / "state", "numpy")
    mlp.load_state_dict(state["model"])
    steps.load_state_dict(state["optimizer"])
    assert train(range(3, 6)) == went_on


def test_a_state_of_another_network_is_refused():
    with pytest.raises(ValueError, match=r"^78 parameters, and this network has 81$"):
        MLP((9, 6, 3)).load_state_dict(MLP((9, 7, 1)).state_dict())


# ---------------------------------------------------------------- bench (here, where the other libraries are loaded)


@pytest.fixture
def contestants():
    for other in ("sklearn", "torch", "threadpoolctl"):
        pytest.importorskip(other)


def test_bench_times_everybody(contestants, capfd):
    (rows,) = bench.main(config(bench, "--preset", "smoke")).values()
    output, errors = capfd.readouterr()
    assert errors == ""
    assert rows.keys() == {
        "floor", "fast.py", "model.py", "model.py, f64", "scikit-learn", "torch", "torch, sliced", "per sample",
    }  # fmt: skip
    for name, row in rows.items():
        assert 0 < row["best"] <= row["median"], name
        assert row["ratio"] == pytest.approx(rows["torch"]["process"] / row["process"])
        assert f"| {name} | {512 / row['best']:,.0f} | {row['best']:.4g} |" in output
    share = rows["floor"]["best"] / rows["fast.py"]["best"]
    assert f"fast.py runs at {share:.0%} of the floor" in output
    assert rows["per sample"]["best"] > 5 * rows["fast.py"]["best"], "one example at a time cannot be close"


def test_bench_with_batches_that_are_larger_than_the_slow_loops_share(contestants):
    flags = ("--images", 300, "--batch-sizes", 300, "--rounds", 1, "--threads", 1)
    (rows,) = bench.main(config(bench, *flags)).values()
    assert rows["per sample"]["best"] > rows["fast.py"]["best"] > 0
    assert refused(bench.main, config(bench, "--images", 100)) == (
        "--images 100: must be at least a batch, and --batch-sizes one number or more."
    )
