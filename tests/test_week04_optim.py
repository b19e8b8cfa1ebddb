"""Week 4's optimisers against torch's, its schedules against torch's, and its averages against their definitions.

The tests marked `exercise(K)` are what `./course check 4` holds a learner's piece K to.
"""

import copy
import itertools
from types import SimpleNamespace

import pytest
import torch
from programs import close
from torch import nn
from torch.overrides import TorchFunctionMode

from week04_lightning import optim

SCHEDULERS = torch.optim.lr_scheduler


def recipe(**changes):
    """The part of a Config that optim reads."""
    base = {
        "optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "head_lr": 0.0,
        "bias_lr": 0.0, "muon_momentum": 0.6, "muon_steps": 5, "fixed_norm": False, "schedule": "linear",
        "warmup": 0.25, "epochs": 8, "whiten_epochs": 0.0,
    }  # fmt: skip
    return SimpleNamespace(**base | changes)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).relu().mean(dim=(2, 3)))


def train(net, optimizer, steps=5):
    draws = torch.Generator().manual_seed(3)
    for _ in range(steps):
        x, y = torch.randn(6, 3, 5, 5, generator=draws), torch.randint(0, 4, (6,), generator=draws)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return torch.cat([param.detach().flatten() for param in net.parameters()])


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


# ---------------------------------------------------------------- exercise 5: Muon


def polynomial(matrix, steps, norm=None, coefficients=optim.COEFFICIENTS):
    """What Newton-Schulz comes to, from the singular values themselves."""
    U, S, Vh = torch.linalg.svd(matrix, full_matrices=False)
    S = S / (matrix.norm() if norm is None else norm)
    a, b, c = coefficients
    for _ in range(steps):
        S = a * S + b * S**3 + c * S**5
    return U @ torch.diag(S) @ Vh


class Products(TorchFunctionMode):
    """Notes the shape of every matrix product inside `with`."""

    def __init__(self):
        super().__init__()
        self.shapes = []

    def __torch_function__(self, function, types, arguments=(), options=None):
        out = function(*arguments, **options or {})
        if function.__name__.strip("_") in ("matmul", "mm", "addmm", "einsum", "linear", "bmm", "baddbmm"):
            self.shapes.append(tuple(out.shape))
        return out


# From the simplest on: no step, which leaves the division; one step; other shapes; all five steps. Then at random.
# what, matrix, steps
MATRICES = [
    ("0 steps on the diagonal 3, 4", [[3, 0], [0, 4]], 0),
    ("1 step on the diagonal 3, 4", [[3, 0], [0, 4]], 1),
    ("2 steps on the diagonal 3, 4", [[3, 0], [0, 4]], 2),
    ("1 step on a matrix that turns", [[0, 3], [-4, 0]], 1),
    ("1 step on a full matrix", [[1, 2], [3, 5]], 1),
    ("1 step on a wide matrix", [[1, 2, 0], [3, 5, 1]], 1),
    ("1 step on a tall matrix", [[1, 3], [2, 5], [0, 1]], 1),
    ("5 steps on the README's matrix", [[5.05, 4.95], [4.95, 5.05]], 5),
]


def check_newton_schulz(matrix, steps, what):
    found, expected = optim.orthogonalised(matrix, steps), polynomial(matrix, steps)
    a, b, c = optim.COEFFICIENTS
    slips = {
        "X is not divided, should be by its Frobenius norm": polynomial(matrix, steps, 1),
        "X is divided by its largest singular value, should be by its Frobenius norm": polynomial(
            matrix, steps, torch.linalg.svdvals(matrix)[0]
        ),
        "rows or columns are divided by norms of their own, should be by one: X.norm()": polynomial(
            matrix / matrix.norm(dim=1, keepdim=True), steps, 1
        ),
        "s becomes a s + (b + c) s³, should be a s + b s³ + c s⁵": polynomial(matrix, steps, None, (a, b + c, 0)),
        "s becomes b s³ + c s⁵, should be a s + b s³ + c s⁵": polynomial(matrix, steps, None, (0, b, c)),
    }
    if found.shape == expected.shape and not torch.allclose(found, expected, rtol=1e-4, atol=1e-5):
        for slip, wrong in slips.items():
            assert not torch.allclose(found, wrong, rtol=1e-4, atol=1e-5), f"with {what}, {slip}"
    close(found, expected, f"with {what}, X")


@pytest.mark.exercise(5)
@pytest.mark.parametrize("case", MATRICES, ids=lambda case: case[0])
def test_newton_schulz_on_small_matrices(case):
    what, matrix, steps = case
    check_newton_schulz(torch.tensor(matrix, dtype=torch.float32), steps, what)


@pytest.mark.exercise(5)
@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
@pytest.mark.parametrize("steps", [1, 5])
def test_newton_schulz_is_its_polynomial_applied_to_the_singular_values(shape, steps):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    check_newton_schulz(matrix, steps, f"{steps} steps on {shape[0]} rows and {shape[1]} columns")


@pytest.mark.exercise(5)
def test_newton_schulz_brings_all_singular_values_near_one():
    draws = torch.Generator().manual_seed(1)
    matrix = torch.randn(16, 40, generator=draws) * torch.logspace(0, -1.5, 16)[:, None]
    values = torch.linalg.svdvals(optim.orthogonalised(matrix))
    assert values.min() > 0.6 and values.max() < 1.3, (
        f"the singular values run from {values.min():.2f} to {values.max():.2f}, should run from 0.6 to 1.3"
    )
    scaled = optim.orthogonalised(1000 * matrix)
    close(scaled, optim.orthogonalised(matrix), "the gradient's size should not matter: with 1000 times it, X")


@pytest.mark.exercise(5)
def test_a_gradient_of_zeros_stays_zeros():
    found = optim.orthogonalised(torch.zeros(2, 3))
    assert not found.isnan().any(), "of zeros only X is NaN, should be zeros: 0 / 0, so add 1e-7 to the norm"
    close(found, torch.zeros(2, 3), "of zeros only X")


@pytest.mark.exercise(5)
@pytest.mark.parametrize("shape", [(40, 3), (3, 40)])
def test_newton_schulz_multiplies_no_larger_matrices_than_it_need(shape):
    with Products() as products:
        optim.orthogonalised(torch.randn(shape, generator=torch.Generator().manual_seed(1)))
    large = [found for found in products.shapes if found == (40, 40)]
    assert not large, f"with {shape}, there is a product of (40, 40), should be none: begin with the short side"


# ---------------------------------------------------------------- exercise 5: one step of Muon, thing by thing


# One thing more in each, from the first step of a matrix that is 0 on.
# what, shape of the weights, values of the group
STEPS = [
    ("the first step", (2, 2), {}),
    ("three Newton-Schulz steps", (2, 2), {"steps": 3}),
    ("a rate of 0.1", (2, 2), {"lr": 0.1}),
    ("momentum 0.5", (2, 2), {"momentum": 0.5}),
    ("weight decay 0.5", (2, 2), {"weight_decay": 0.5}),
    ("weight decay 0.5 and a rate of 0.1", (2, 2), {"weight_decay": 0.5, "lr": 0.1}),
    ("a wide matrix", (1, 3), {}),
    ("a tall matrix", (4, 1), {}),
    ("a convolution", (2, 2, 2, 1), {}),
    ("a tall convolution", (8, 1, 2, 1), {}),
    ("all of it", (6, 2, 3, 3), {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.2, "steps": 3}),
]


@pytest.mark.exercise(5)
@pytest.mark.parametrize("case", STEPS, ids=lambda case: case[0])
def test_one_step_of_muon(case):
    what, shape, values = case
    group = {"lr": 1.0, "momentum": 0.0, "weight_decay": 0.0, "steps": 5} | values
    lr, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
    draws = torch.Generator().manual_seed(6)
    grad, old = (torch.randint(-4, 9, shape, generator=draws).float() for _ in range(2))
    before, old = torch.full(shape, 10.0 * (decay > 0)), old if momentum else torch.zeros(shape)
    rows, columns = shape[0], before[0].numel()
    factor = lr * max(1, rows / columns) ** 0.5

    def step(ahead, steps=group["steps"]):
        return factor * polynomial(ahead.reshape(rows, columns), steps).reshape(shape)

    new = momentum * old + grad
    right, shrunk = step(grad + momentum * new), before * (1 - lr * decay)
    param, velocity = before.clone(), old.clone()
    optim.Muon.matrix_step(param, grad.clone(), velocity, group | {"fixed_norm": False, "matrices": True})
    close(velocity, new, f"with {what}, velocity")
    slips = {
        "param stays, should move, in place: mul_, add_": before,
        "it goes uphill, should go down: subtract": shrunk + right,
        "velocity is orthogonalised, should be grad + momentum * the new velocity, Nesterov's": shrunk - step(new),
        "grad alone is orthogonalised, should be grad + momentum * velocity": shrunk - step(grad),
        "the step is not orthogonalised, should be": shrunk - factor * (grad + momentum * new),
        "Newton-Schulz takes 5 steps, should take group['steps']": shrunk - step(grad + momentum * new, 5),
        "param does not shrink, should by lr * weight_decay": before - right,
        "param shrinks by weight_decay, should by lr * weight_decay": before * (1 - decay) - right,
        "param grows, should shrink: 1 - lr * weight_decay": before * (1 + lr * decay) - right,
        "the step shrinks, too, should not: first param, then the step": (before - right) * (1 - lr * decay),
        "weight decay is in the gradient, should be beside it: param.mul_": before - step(new + decay * before),
    }
    if not torch.allclose(param, shrunk - right, atol=1e-4):
        for slip, wrong in slips.items():
            assert not torch.allclose(param, wrong, atol=1e-4), f"with {what}, {slip}"
        times = ((shrunk - param).flatten() @ right.flatten() / right.square().sum()).item()
        assert not torch.allclose(param, shrunk - times * right, atol=1e-3), (
            f"with {what}, the step is {times * factor:.3g} times the orthogonalised matrix, should be {factor:.3g}"
            f" times: lr {lr:g}, {rows} rows, {columns} columns"
        )
    close(param, shrunk - right, f"with {what}, param", 1e-4)


@pytest.mark.exercise(5)
@pytest.mark.parametrize("shape", [(6, 10), (10, 6)])
def test_muon_walks_with_torchs(shape):
    """torch.optim.Muon computes in bfloat16, so the two agree to its precision."""
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("torch before 2.9 has no Muon")
    start = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    flags = {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.1}
    optimizers = optim.Muon([ours], **flags), torch.optim.Muon([theirs], **flags)
    for step in range(6):
        gradient = torch.randn(shape, generator=torch.Generator().manual_seed(10 + step))
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    moved, should = ours.detach() - start, theirs.detach() - start
    error = ((moved - should).norm() / should.norm()).item()
    ratio = (moved.norm() / should.norm()).item()
    assert error < 0.02, (
        f"after six steps Muon is {error:.0%} astray of torch's, should be below 2%: {ratio:.2f} times as far"
    )


@pytest.mark.exercise(5)
def test_muon_takes_a_convolution_as_a_matrix_and_moves_it_by_lr_whatever_the_gradient():
    weight = nn.Parameter(torch.zeros(6, 2, 3, 3))
    for scale in (1e-4, 1e4):
        weight.data.zero_()
        weight.grad = scale * torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(1))
        optim.Muon([weight], lr=0.5).step()
        values = torch.linalg.svdvals(weight.detach().reshape(6, 18)) / 0.5
        assert values.min() > 0.6 and values.max() < 1.3, (
            f"a step's singular values are {values.min():.2f} to {values.max():.2f} times lr, should be 0.6 to 1.3"
        )
    downhill = (weight.detach() * weight.grad).sum()
    assert downhill < 0, "the step of a convolution goes uphill, should go down: subtract"


@pytest.mark.exercise(5)
def test_fixed_norm_keeps_a_filter_bank_at_its_size():
    weight = nn.Parameter(5 * torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(1)))
    direction = weight.detach() / weight.detach().norm()
    weight.grad = torch.ones_like(weight)
    optim.Muon([weight], lr=0.0, fixed_norm=True).step()
    close(weight, direction * 6**0.5, "with fixed_norm and a rate of 0, param")


def test_what_is_no_matrix_walks_with_torchs_sgd(net):
    other = copy.deepcopy(net)
    ours = optim.Muon(net.parameters(), lr=0.1, momentum=0.85, weight_decay=0.01, matrices=False)
    theirs = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.85, weight_decay=0.01, nesterov=True)
    torch.testing.assert_close(train(net, ours), train(other, theirs), rtol=1e-6, atol=1e-7)


@pytest.mark.exercise(5)
def test_muon_goes_on_from_its_state_bit_for_bit(net):
    def muon(model):
        return optim.make_optimizer(model.named_parameters(), recipe(optimizer="muon", lr=0.05))

    whole, half = copy.deepcopy(net), copy.deepcopy(net)
    optimizer = muon(whole)
    train(whole, optimizer)
    saved = copy.deepcopy((whole.state_dict(), optimizer.state_dict()))
    expected = train(whole, optimizer)
    half.load_state_dict(saved[0])
    optimizer = muon(half)
    optimizer.load_state_dict(saved[1])
    assert torch.equal(train(half, optimizer), expected), (
        "gone on from a saved state the weights differ, should be equal bit for bit: keep nothing but velocity"
    )


# ---------------------------------------------------------------- which parameter gets which step


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("sgd", lambda params: torch.optim.SGD(params, 0.1, 0.9, weight_decay=0.01, nesterov=True)),
        ("adam", lambda params: torch.optim.Adam(params, 0.1, weight_decay=0.01)),
        ("adamw", lambda params: torch.optim.AdamW(params, 0.1, weight_decay=0.01)),
    ],
)
def test_make_optimizer_is_torchs_own_where_nothing_has_a_rate_of_its_own(net, name, reference):
    other = copy.deepcopy(net)
    ours = train(net, optim.make_optimizer(net.named_parameters(), recipe(optimizer=name)))
    assert torch.equal(ours, train(other, reference(other.parameters())))


def test_groups_have_their_rates_and_all_shrink_alike(net):
    net.frozen = nn.Parameter(torch.zeros(2), requires_grad=False)
    net.whiten = nn.Conv2d(3, 4, 2)
    optimizer = optim.make_optimizer(net.named_parameters(), recipe(optimizer="muon", lr=0.2, head_lr=2.0, bias_lr=0.4))
    groups = {group["name"]: group for group in optimizer.param_groups}
    shapes = {name: [tuple(param.shape) for param in group["params"]] for name, group in groups.items()}
    assert shapes == {
        "filters": [(8, 3, 3, 3)], "head": [(4, 8), (4,)], "biases": [(8,), (8,), (8,)], "whiten": [(4, 3, 2, 2), (4,)],
    }  # fmt: skip
    assert {name: group["lr"] for name, group in groups.items()} == {
        "filters": 0.2, "head": 2.0, "biases": 0.4, "whiten": 0.4,
    }  # fmt: skip
    assert {name: group["matrices"] for name, group in groups.items()} == {
        "filters": True, "head": False, "biases": False, "whiten": False,
    }  # fmt: skip
    for group in groups.values():
        assert group["lr"] * group["weight_decay"] == pytest.approx(0.2 * 0.01)
    assert groups["filters"]["momentum"] == 0.6 and groups["head"]["momentum"] == 0.9


# ---------------------------------------------------------------- exercise 6: schedules


def rates(name, steps, warmup=0.0):
    rate = optim.schedule(name, steps, warmup)
    return [rate(step) for step in range(steps)]


def torchs(make, steps):
    """The rates of one of torch's schedulers, as shares of the peak."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, found = make(optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


# Nine steps, the peak at step 4. First the ends, then half of the way, then all of it.
# what, step, its rate
NINE = [
    ("the first", 0, 0.04),
    ("the peak", 4, 1.0),
    ("the last", 8, 4e-6),
    ("half of the way up", 2, (1 + 0.04) / 2),
    ("half of the way down", 6, (1 + 4e-6) / 2),
    ("a quarter of the way up", 1, 0.04 + 0.96 * (1 - 0.5**0.5) / 2),
    ("a quarter of the way down", 5, 1 - (1 - 4e-6) * (1 - 0.5**0.5) / 2),
    ("behind the last", 9, 4e-6),
]


@pytest.mark.exercise(6)
@pytest.mark.parametrize("case", NINE, ids=lambda case: case[0])
def test_onecycle_over_nine_steps(case):
    what, step, should = case
    found = optim.schedule("onecycle", 9, 5 / 9)(step)
    told = f"with 9 steps and peak 4, the rate of step {step}, {what},"
    if found is None:
        raise AssertionError(f"{told} is None, should be {should:.6g}: is `return` missing?")
    straight = {1: 0.28, 5: 0.75}.get(step, -1)
    why = ": the rate moves along a straight line, not a cosine" * (abs(found - straight) < 1e-4)
    assert abs(found - should) < 1e-9, f"{told} is {found:.6g}, should be {should:.6g}{why}"


@pytest.mark.exercise(6)
@pytest.mark.parametrize(("steps", "warmup"), [(40, 0.5), (100, 0.3), (37, 0.25)])
def test_onecycle_is_torchs(steps, warmup):
    expected = torchs(lambda optimizer: SCHEDULERS.OneCycleLR(optimizer, 1.0, steps, pct_start=warmup), steps)
    found = rates("onecycle", steps, warmup)
    for step, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert abs(ours - theirs) < 1e-9, (
            f"with {steps} steps and peak {warmup * steps - 1:g}, the rate of step {step} is {ours:.6g}, should be"
            f" {theirs:.6g}"
        )


@pytest.mark.exercise(6)
@pytest.mark.parametrize(("warmup", "peak"), [(0.1, 0), (0.0, -1)])
def test_onecycle_without_a_rise(warmup, peak):
    found = rates("onecycle", 10, warmup)
    told = f"with 10 steps and peak {peak}, the rate of step 0"
    assert abs(found[0] - 1) < 0.03, f"{told} is {found[0]:.4g}, should be about 1: there is no rise"
    rising = [step for step, (a, b) in enumerate(itertools.pairwise(found)) if a <= b]
    assert not rising, f"with peak {peak}, the rate rises after step {rising[0]}, should fall all the way"
    assert abs(found[-1] - 4e-6) < 1e-9, f"with peak {peak}, the last rate is {found[-1]:.4g}, should be 4e-06"


def test_step_falls_twice_by_ten():
    expected = torchs(lambda optimizer: SCHEDULERS.MultiStepLR(optimizer, [50, 75]), 100)
    assert rates("step", 100) == pytest.approx(expected)


def test_cosine_without_warmup_is_torchs_a_step_ahead():
    """torch's begins at the peak and stops one step before zero; week 2's begins and ends one step inside."""
    expected = torchs(lambda optimizer: SCHEDULERS.CosineAnnealingLR(optimizer, 101), 101)
    assert rates("cosine", 100) == pytest.approx(expected[1:])


@pytest.mark.parametrize("warmup", [0.0, 0.25])
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_up_and_down_again(name, warmup):
    found = rates(name, 99, warmup)
    peak = found.index(max(found))
    assert all(a < b for a, b in itertools.pairwise(found[: peak + 1]))
    assert all(a > b for a, b in itertools.pairwise(found[peak:]))
    assert peak == (round(warmup * 100) - 1 if warmup else 0) and max(found) > 0.98 and 0 < found[-1] < 0.02


def test_linear_and_cosine_are_those_of_week_2():
    from week02_cnn.train import learning_rate

    for ours, theirs, warmup in (
        ("linear", "linear", 0.25),
        ("cosine", "cosine", 0.0),
        ("constant", "constant", 0.0),
    ):
        assert rates(ours, 77, warmup) == [learning_rate(step, 77, theirs) for step in range(77)]


def test_the_whitening_bias_has_a_schedule_of_its_own(net):
    net.whiten = nn.Conv2d(3, 4, 2)
    cfg = recipe(optimizer="muon", epochs=8, whiten_epochs=2.0, warmup=0.0)
    optimizer = optim.make_optimizer(net.named_parameters(), cfg)
    schedules = optim.group_schedules(optimizer, cfg, 80)
    *others, whiten = schedules
    assert [whiten(step) for step in (0, 5, 10, 20, 79)] == [1.0, 0.75, 0.5, 0.0, 0.0]
    assert all([rate(step) for step in range(80)] == rates("linear", 80) for rate in others)
    cfg.whiten_epochs = 0
    assert optim.group_schedules(optimizer, cfg, 80)[-1](40) == rates("linear", 80)[40]


# ---------------------------------------------------------------- averages


def test_averages_by_their_definitions():
    weights = [torch.tensor(float(value)) for value in (3, 8, -2, 6, 1, 4)]
    for kind, expected in (
        (optim.MovingAverage(0.9), lambda seen: sum(0.9**age * 0.1 * w for age, w in enumerate(reversed(seen[1:])))
         + 0.9 ** (len(seen) - 1) * seen[0]),
        (optim.EqualAverage(0), lambda seen: sum(seen) / len(seen)),
        (optim.EqualAverage(3), lambda seen: sum(seen[3:]) / len(seen[3:]) if len(seen) > 3 else seen[-1]),
    ):  # fmt: skip
        model = torch.optim.swa_utils.AveragedModel(nn.Linear(1, 1), avg_fn=kind)
        for count, weight in enumerate(weights, 1):
            step = nn.Linear(1, 1)
            nn.init.constant_(step.weight, weight.item())
            model.update_parameters(step)
            assert model.module.weight.item() == pytest.approx(expected(weights[:count]).item(), abs=1e-5)


def test_the_moving_average_is_torchs():
    ema, reference = optim.MovingAverage(0.97), torch.optim.swa_utils.get_ema_avg_fn(0.97)
    average, current = torch.randn(5), torch.randn(5)
    torch.testing.assert_close(ema(average, current, 3), reference(average, current, 3))
