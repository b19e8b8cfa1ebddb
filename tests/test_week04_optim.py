"""Week 4's optimisers against torch's, its schedules against torch's, and its averages against their definitions.

The tests marked `exercise(K)` are what `./course check 4` holds a learner's piece K to.
"""

import copy
import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import nn

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


@pytest.mark.exercise(5)
@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
@pytest.mark.parametrize("steps", [1, 5])
def test_newton_schulz_is_its_polynomial_applied_to_the_singular_values(shape, steps):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = optim.orthogonalised(matrix, steps)
    if found is None or found.shape != matrix.shape:
        raise AssertionError(f"the result has the shape {getattr(found, 'shape', None)}, should be {tuple(shape)}")
    U, S, Vh = torch.linalg.svd(matrix, full_matrices=False)
    a, b, c = optim.COEFFICIENTS
    S = S / S.norm()
    for _ in range(steps):
        S = a * S + b * S**3 + c * S**5
    torch.testing.assert_close(
        found, U @ torch.diag(S) @ Vh, rtol=1e-4, atol=1e-5,
        msg=f"divided by the norm, every singular value s must become a s + b s³ + c s⁵, {steps} times",
    )  # fmt: skip


@pytest.mark.exercise(5)
def test_newton_schulz_brings_all_singular_values_near_one():
    draws = torch.Generator().manual_seed(1)
    matrix = torch.randn(16, 40, generator=draws) * torch.logspace(0, -1.5, 16)[:, None]
    values = torch.linalg.svdvals(optim.orthogonalised(matrix))
    assert values.min() > 0.6 and values.max() < 1.3, f"they run from {values.min():.2f} to {values.max():.2f}"
    scaled = optim.orthogonalised(1000 * matrix)
    torch.testing.assert_close(scaled, optim.orthogonalised(matrix), msg="the gradient's size must not matter")


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
    assert error < 1.5, "Muon goes uphill: subtract the step"
    assert error < 0.02, f"after six steps Muon has gone {ratio:.2f} times as far as torch's, and {error:.0%} astray"


@pytest.mark.exercise(5)
def test_muon_takes_a_convolution_as_a_matrix_and_moves_it_by_lr_whatever_the_gradient():
    weight = nn.Parameter(torch.zeros(6, 2, 3, 3))
    for scale in (1e-4, 1e4):
        weight.data.zero_()
        weight.grad = scale * torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(1))
        optim.Muon([weight], lr=0.5).step()
        values = torch.linalg.svdvals(weight.detach().reshape(6, 18)) / 0.5
        assert values.min() > 0.6 and values.max() < 1.3, "a step must be lr times an orthogonal (C_out, C_in * h * w)"
    downhill = (weight.detach() * weight.grad).sum()
    assert downhill < 0, "it went uphill: subtract"


@pytest.mark.exercise(5)
def test_fixed_norm_keeps_a_filter_bank_at_its_size():
    weight = nn.Parameter(5 * torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(1)))
    direction = weight.detach() / weight.detach().norm()
    weight.grad = torch.ones_like(weight)
    optim.Muon([weight], lr=0.0, fixed_norm=True).step()
    torch.testing.assert_close(weight.detach(), direction * 6**0.5)


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
    assert torch.equal(train(half, optimizer), expected)


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


@pytest.mark.exercise(6)
@pytest.mark.parametrize(("steps", "warmup"), [(100, 0.3), (37, 0.25), (40, 0.5)])
def test_onecycle_is_torchs(steps, warmup):
    expected = torchs(lambda optimizer: SCHEDULERS.OneCycleLR(optimizer, 1.0, steps, pct_start=warmup), steps)
    found = rates("onecycle", steps, warmup)
    for step, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        told = f"step {step} of {steps}: the rate is {ours:.6g}, must be {theirs:.6g} (peak at {warmup * steps - 1:g}, "
        assert ours == pytest.approx(theirs, abs=1e-9), told + f"end at {steps - 1})"


@pytest.mark.exercise(6)
def test_onecycle_starts_low_peaks_at_one_and_ends_at_next_to_nothing():
    found = rates("onecycle", 101, 0.3)
    assert found[0] == pytest.approx(1 / 25), "at step 0 the rate is `start`"
    assert max(found) == pytest.approx(1, abs=1e-3), "at its peak the rate is 1"
    assert found[-1] == pytest.approx(1 / 25e4), "at the last step the rate is `end`"


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
