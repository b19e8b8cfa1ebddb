"""Week 1's network against finite differences, against torch, and against what must be true of it.

The tests marked `exercise(K)` are what `./course check 1` holds a learner's piece K to.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
from programs import config, refused

from shared import checkpoint
from week01_numpy_mlp import bench, gates, model, optim
from week01_numpy_mlp.fast import FastMLP
from week01_numpy_mlp.model import MLP, Linear, MeanSquaredError, Perceptron, ReLU, Sigmoid, SoftmaxCrossEntropy, Tanh

INPUTS, GATES = gates.INPUTS, gates.GATES


def relative_error(a, b):
    return np.abs(a - b).max() / max(1e-12, np.abs(a).max(), np.abs(b).max())


def close(found, expected, tolerance, what, batch=None):
    """Passes when `found` equals `expected`; otherwise fails with one line that says in what way `what` is wrong."""
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    if found.shape != expected.shape:
        raise AssertionError(f"{what} has the shape {found.shape}, should be {expected.shape}")
    if not np.isfinite(found).all():
        raise AssertionError(f"{what} has NaN or inf in it")
    if relative_error(found, expected) <= tolerance:
        return
    ratio = float((found * expected).sum() / (expected * expected).sum()) if expected.any() else math.nan
    constant = relative_error(found, ratio * expected) <= 1e-6 < abs(ratio - 1)
    if constant and abs(ratio) < 1e-9:
        wrong = "is 0"
    elif constant and math.isclose(ratio, -1, rel_tol=1e-6):
        wrong = "has the wrong sign"
    elif constant and batch and math.isclose(ratio, batch, rel_tol=1e-6):
        wrong = f"is {batch} times too large: divide by the batch, once"
    elif constant and batch and math.isclose(ratio, 1 / batch, rel_tol=1e-6):
        wrong = f"is {batch} times too small: divided by the batch once too often"
    elif found.size == 1:
        wrong = f"is {found.item():.6g}, should be {expected.item():.6g}"
    elif constant:
        wrong = f"is wrong: everything is {ratio:.4g} times the right value"
    else:
        wrong = f"differs by up to {relative_error(found, expected):.1g} (relative)"
    raise AssertionError(f"{what} {wrong}")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([[1.0, 2.0]], "dx has the shape (1, 2), should be (3,)"),
        ([1.0, np.nan, 3.0], "dx has NaN or inf in it"),
        ([0.0, 0.0, 0.0], "dx is 0"),
        ([-1.0, -2.0, -4.0], "dx has the wrong sign"),
        ([8.0, 16.0, 32.0], "dx is 8 times too large: divide by the batch, once"),
        ([1 / 8, 2 / 8, 4 / 8], "dx is 8 times too small: divided by the batch once too often"),
        ([3.0, 6.0, 12.0], "dx is wrong: everything is 3 times the right value"),
        ([1.0, 2.0, 4.4], "dx differs by up to 0.09 (relative)"),
    ],
)
def test_close_says_in_what_way_a_number_is_wrong(found, message):
    with pytest.raises(AssertionError) as error:
        close(found, [1.0, 2.0, 4.0], 1e-7, "dx", batch=8)
    assert str(error.value) == message
    close([1.0, 2.0, 4.0 + 1e-8], [1.0, 2.0, 4.0], 1e-7, "dx")


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
    close(layer.backward(weighting.copy()), expected, 1e-7, what, batch=len(x))


def linear(fan_in, fan_out, dtype=np.float64, seed=0):
    layer = Linear(fan_in, fan_out)
    layer.bind(*np.random.default_rng(seed).normal(size=(2, layer.n_params)).astype(dtype))
    return layer


@pytest.fixture
def rng():
    return np.random.default_rng(7)


# ---------------------------------------------------------------- exercise 1: the perceptron


@pytest.mark.exercise(1)
def test_one_mistake_moves_the_line_by_the_error_times_the_example():
    perceptron = Perceptron(2)
    perceptron.learn(np.array([[2.0, -3.0]]), np.array([1]), max_epochs=1)
    assert perceptron.w.tolist() == [2.0, -3.0], "a missed 1 must add the example to w"
    assert perceptron.b == 1.0, "a missed 1 must add 1 to b"
    perceptron.learn(np.array([[2.0, -3.0]]), np.array([0]), max_epochs=1)
    assert perceptron.w.tolist() == [0.0, 0.0], "a false alarm must subtract the example from w"
    assert perceptron.b == 0.0, "a false alarm must subtract 1 from b"


@pytest.mark.exercise(1)
def test_the_second_example_meets_the_weights_that_the_first_has_moved():
    perceptron = Perceptron(1)
    perceptron.learn(np.array([[1.0], [2.0]]), np.array([1, 1]), max_epochs=1)
    if (perceptron.w.tolist(), perceptron.b) != ([1.0], 1.0):
        raise AssertionError("move the weights after each example: the next is predicted with the weights as they are")


@pytest.mark.exercise(1)
@pytest.mark.parametrize("gate", ["AND", "OR"])
def test_perceptron_learns_and_and_or(gate):
    perceptron = Perceptron(2)
    assert perceptron.learn(INPUTS, GATES[gate]) is not None, f"{gate} can be separated by a line, so it must converge"
    assert perceptron.predict(INPUTS).tolist() == GATES[gate].tolist()


@pytest.mark.exercise(1)
def test_perceptron_can_never_learn_xor():
    assert Perceptron(2).learn(INPUTS, GATES["XOR"], max_epochs=1000) is None
    assert gates.cycle(INPUTS, GATES["XOR"]) is not None, "its weights must come back to where they were: it cycles"
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
        assert mistakes <= bound, f"{mistakes} mistakes, and a line with a margin is found after {bound:.0f} at most"
    assert mistakes > 0
    assert (perceptron.predict(x) == y).all()


# ---------------------------------------------------------------- exercise 2: the linear layer


@pytest.mark.exercise(2)
def test_linear_forward_equals_torch(rng):
    torch = pytest.importorskip("torch")
    layer, x = linear(5, 3), rng.normal(size=(4, 5))
    expected = torch.nn.functional.linear(torch.from_numpy(x), torch.from_numpy(layer.W.T), torch.from_numpy(layer.b))
    close(layer.forward(x), expected.numpy(), 1e-12, "z = x W + b")


@pytest.mark.exercise(2)
def test_linear_gradients_equal_finite_differences(rng):
    layer, x = linear(5, 3), rng.normal(size=(4, 5))
    weighting = rng.normal(size=(4, 3))

    def loss():
        return float((layer.forward(x) * weighting).sum())

    by_hand = {name: numerical_gradient(loss, getattr(layer, name)) for name in ("W", "b")}
    windows = layer.dW, layer.db
    loss()
    layer.gradients(weighting)
    close(layer.dW, by_hand["W"], 1e-7, "dW (BP4)", batch=4)
    close(layer.db, by_hand["b"], 1e-7, "db (BP3)", batch=4)
    assert layer.dW is windows[0] and layer.db is windows[1], (
        "fill dW[:] and db[:]; a new array is not seen by the optimiser"
    )
    check_layer(layer, x, "dx (BP2)")


# ---------------------------------------------------------------- exercise 3: the activations


@pytest.mark.exercise(3)
@pytest.mark.parametrize(("layer", "name"), [(Sigmoid, "sigmoid"), (ReLU, "relu")])
def test_activation_equals_torch(layer, name, rng):
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(6, 4)) * 3
    close(layer().forward(x.copy()), getattr(torch, name)(torch.from_numpy(x)).numpy(), 1e-12, f"{name}, forward,")


@pytest.mark.exercise(3)
@pytest.mark.parametrize("layer", [Sigmoid, ReLU])
def test_activation_gradient_equals_finite_differences(layer, rng):
    check_layer(layer(), rng.normal(size=(6, 4)) * 2, f"dz of {layer.__name__}")


@pytest.mark.exercise(3)
def test_sigmoid_survives_large_numbers():
    with np.errstate(all="raise", under="ignore"):  # otherwise only a warning
        assert Sigmoid().forward(np.array([[-1000.0, 0.0, 1000.0]])).tolist() == [[0.0, 0.5, 1.0]]


@pytest.mark.exercise(3)
@pytest.mark.parametrize("layer", [Sigmoid, ReLU])
def test_activation_keeps_float32(layer):
    x = np.ones((2, 3), dtype=np.float32)
    assert layer().forward(x).dtype == np.float32


def test_tanh_gradient_equals_finite_differences(rng):
    check_layer(Tanh(), rng.normal(size=(6, 4)), "dz of Tanh")


# ---------------------------------------------------------------- exercise 4: softmax and cross-entropy


@pytest.mark.exercise(4)
def test_cross_entropy_and_gradient_equal_torch(rng):
    torch = pytest.importorskip("torch")
    logits, labels = rng.normal(size=(8, 5)) * 4, rng.integers(0, 5, 8)
    theirs = torch.from_numpy(logits.copy()).requires_grad_()
    expected = torch.nn.functional.cross_entropy(theirs, torch.from_numpy(labels))
    expected.backward()
    loss = SoftmaxCrossEntropy()
    close(loss.forward(logits, labels), expected.item(), 1e-10, "the loss", batch=8)
    close(loss.backward(), theirs.grad.numpy(), 1e-10, "dlogits (BP1)", batch=8)


@pytest.mark.exercise(4)
def test_cross_entropy_gradient_equals_finite_differences(rng):
    logits, labels = rng.normal(size=(4, 5)), rng.integers(0, 5, 4)
    loss = SoftmaxCrossEntropy()
    expected = numerical_gradient(lambda: loss.forward(logits, labels), logits)
    loss.forward(logits, labels)
    close(loss.backward(), expected, 1e-7, "dlogits (BP1)", batch=4)


@pytest.mark.exercise(4)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_rows_that_lie_far_apart_do_not_disturb_each_other():
    loss = SoftmaxCrossEntropy()
    found = loss.forward(np.array([[1000.0, 1000.0], [0.0, 0.0]]), np.array([0, 1]))
    close(found, math.log(2), 1e-12, "with one row 1000 below the other, the loss", batch=2)
    close(loss.backward(), [[-0.25, 0.25], [0.25, -0.25]], 1e-12, "with one row 1000 below the other, dlogits", batch=2)


@pytest.mark.exercise(4)
def test_cross_entropy_of_a_coin_toss_and_of_certainty():
    loss = SoftmaxCrossEntropy()
    assert loss.forward(np.zeros((3, 10)), np.array([0, 4, 9])) == pytest.approx(math.log(10)), "no idea: log(classes)"
    with np.errstate(all="raise", under="ignore"):
        assert loss.forward(np.array([[1000.0, 0.0]]), np.array([0])) == 0.0, "sure and right: no loss, no overflow"
        assert loss.forward(np.array([[1000.0, 0.0]]), np.array([1])) == pytest.approx(1000.0), (
            "sure and wrong: not inf"
        )


@pytest.mark.exercise(4)
def test_the_loss_is_a_float_of_pythons():
    loss = SoftmaxCrossEntropy().forward(np.zeros((2, 3), np.float32), np.array([0, 1]))
    assert type(loss) is float, f"forward returned {type(loss).__name__}; return float(…) of it"


@pytest.mark.exercise(4)
def test_cross_entropy_gradient_sums_to_zero_in_each_row(rng):
    loss = SoftmaxCrossEntropy()
    loss.forward(rng.normal(size=(6, 5)), rng.integers(0, 5, 6))
    assert np.abs(loss.backward().sum(axis=1)).max() < 1e-12


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
    close(found, expected, 1e-7, "the gradient of the whole network", batch=6)


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
    close(found, numerical_gradient(loss, mlp.params), 1e-7, "the gradient through dropout", batch=6)


@pytest.mark.exercise(5)
def test_mlp_learns_xor():
    solved = []
    for seed in range(5):
        mlp, losses = gates.learn_xor(seed)
        solved.append(bool((mlp.forward(INPUTS).argmax(axis=1) == GATES["XOR"]).all()))
        assert losses[-1] < losses[0] / 100, f"on XOR the loss falls only from {losses[0]:.3f} to {losses[-1]:.3f}"
    assert all(solved), f"XOR is learned from {sum(solved)} of 5 seeds"


@pytest.mark.exercise(5)
def test_one_batch_is_learned_by_heart(rng):
    x, labels = rng.random((32, 20), dtype=np.float32), rng.integers(0, 10, 32)
    mlp = MLP((20, 64, 10), rng=rng)
    optimizer = optim.SGD(mlp.params, momentum=0.9)
    for _ in range(300):
        loss = mlp.loss_and_gradient(x, labels)
        optimizer.step(mlp.grads, 0.1)
    assert loss < 0.01, f"one batch should be learned by heart, but after 300 steps the loss is {loss:.3f}"
    assert (mlp.forward(x).argmax(axis=1) == labels).all()


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


@pytest.mark.exercise(6)
def test_adams_first_step_is_lr_whatever_the_slope():
    params = np.zeros(3)
    optim.Adam(params).step(np.array([1e-3, -1.0, 1e3]), lr=0.01)
    if not np.isfinite(params).all():
        raise AssertionError("the first step is no number: count t up before you divide by 1 - beta ** t")
    if not params.any():
        raise AssertionError("params did not move: change them in place (params -= …); a new array is seen by nobody")
    if np.sign(params).tolist() != [-1, 1, -1]:
        raise AssertionError("step downhill: against the sign of the gradient")
    if not np.allclose(np.abs(params), 0.01, rtol=0.01):
        raise AssertionError("with the bias corrected, the first step is ±lr for every slope, steep or not")


@pytest.mark.exercise(6)
def test_adam_counts_its_steps_and_corrects_each_for_the_zeros_it_began_with():
    params = np.zeros(2)
    optimizer = optim.Adam(params)
    for step in (1, 2, 3):
        optimizer.step(np.array([1.0, -2.0]), lr=0.01)
        if optimizer.t != step:
            raise AssertionError(f"self.t is {optimizer.t} after step {step}: add 1 in every step, before it is used")
        close(params, [-0.01 * step, 0.01 * step], 1e-6, f"under a constant slope, params after step {step} of lr each")


@pytest.mark.exercise(6)
def test_adam_adds_eps_outside_of_the_root():
    params = np.zeros(1)
    optim.Adam(params, eps=1e-8).step(np.array([1e-8]), lr=0.01)  # √v̂ is eps, so half a step
    if not np.allclose(params, -0.005, rtol=1e-6):
        raise AssertionError(
            "for a slope as small as eps the step is wrong: divide by √v̂ + eps, eps outside of the root"
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
    close(params, theirs.numpy(), 1e-10, "params after ten steps of Adam")


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
