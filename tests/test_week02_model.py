"""Week 2's operations against torch's own, and what is said of a network against what it does.

The tests marked `exercise(K)` are what `./course check 2` holds a learner's piece K to.
"""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from programs import close
from torch import nn
from torch.overrides import TorchFunctionMode

from shared.errors import CourseError
from week02_cnn import model
from week02_cnn.model import BatchNorm2d, ConvNet, ConvNetConfig


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(7)


def random(rng, *shape):
    return torch.randn(*shape, generator=rng).requires_grad_()


def integers(rng, *shape):
    """Numbers with which one can follow by hand what happens."""
    return torch.randint(-3, 6, shape, generator=rng).float().requires_grad_()


def same_gradients(ours, theirs, inputs, names, rng):
    """Both outputs pass the same random gradient back to the same inputs."""
    weighting = torch.randn(theirs.shape, generator=rng)
    expected = torch.autograd.grad(theirs, inputs, weighting)
    for mine, other, name in zip(torch.autograd.grad(ours, inputs, weighting), expected, names, strict=True):
        close(mine, other, f"the gradient of {name}")


# ---------------------------------------------------------------- exercises 1 and 2: convolution

# From the simplest on, one thing more in each, so that the first that fails names what is wrong. Then all at once.
# what, x, weight, bias, stride, padding
CASES = [
    ("one kernel on one channel", (1, 1, 3, 3), (1, 1, 2, 2), False, 1, 0),
    ("three channels", (1, 3, 3, 3), (1, 3, 2, 2), False, 1, 0),
    ("two kernels", (1, 1, 3, 3), (2, 1, 2, 2), False, 1, 0),
    ("two images", (2, 1, 3, 3), (1, 1, 2, 2), False, 1, 0),
    ("a bias", (1, 1, 3, 3), (2, 1, 2, 2), True, 1, 0),
    ("stride 2", (1, 1, 5, 5), (1, 1, 2, 2), False, 2, 0),
    ("padding 1", (1, 1, 2, 2), (1, 1, 3, 3), False, 1, 1),
    ("high images and flat kernels", (1, 1, 4, 3), (1, 1, 1, 2), False, 1, 0),
    ("all of it, stride 1", (2, 3, 6, 5), (4, 3, 3, 3), True, 1, 1),
    ("all of it, stride 2, a row left over", (2, 3, 8, 7), (4, 3, 3, 3), True, 2, 0),
    ("all of it, stride 3", (2, 3, 7, 9), (4, 3, 5, 2), True, 3, 2),
    ("all of it, 1 x 1 kernels", (2, 3, 4, 3), (4, 3, 1, 1), True, 1, 0),
]


def check_convolution(convolve, what, shape, kernels, bias, stride, padding, rng):
    drawn = random if what.startswith("all of it") else integers
    x, weight = drawn(rng, *shape), drawn(rng, *kernels)
    b = drawn(rng, kernels[0]) if bias else None
    expected = F.conv2d(x, weight, b, stride, padding)
    out = convolve(x, weight, b, stride, padding)
    if isinstance(out, torch.Tensor) and out.shape == expected.shape and not torch.allclose(out, expected, atol=1e-4):
        rows = model.windows(model.padded(x, padding), kernels[2:], stride)
        jumbled = rows.reshape(-1, math.prod(kernels[1:])) @ weight.flatten(1).T + (0 if b is None else b)
        slips = {
            "the kernels lie turned round, should lie as they are: out is right for a flip": F.conv2d(
                x, weight.flip(2, 3), b, stride, padding
            ),
            "the bias is missing, should be added": F.conv2d(x, weight, None, stride, padding),
            "rows of windows were reshaped channels first, should have N, H_out, W_out in front (permute)": (
                jumbled.reshape(len(x), *expected.shape[2:], -1).permute(0, 3, 1, 2)
            ),
            "places and channels are mixed up, should be permuted to (N, C_out, H_out, W_out), not reshaped": (
                expected.permute(0, 2, 3, 1).reshape(expected.shape)
            ),
        }
        for slip, wrong in slips.items():
            assert not torch.allclose(out, wrong, atol=1e-4), f"with {what}, {slip}"
    close(out, expected, f"with {what}, out")
    inputs, names = (x, weight, b)[: 2 + bias], ("x", "weight", "bias")[: 2 + bias]
    same_gradients(out, expected, inputs, names, rng)


@pytest.mark.exercise(1)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_loops_equal_torch(case, rng):
    check_convolution(model.conv2d_loops, *case, rng)


@pytest.mark.exercise(1)
def test_loops_on_an_example_to_follow_by_hand():
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    edge = torch.tensor([[[[1.0, -1.0]]]])  # this pixel minus its right neighbour: -1 all over
    close(model.conv2d_loops(x, edge), torch.full((1, 1, 3, 2), -1.0), "out of an edge detector")
    corner = torch.tensor([[[[0.0, 0.0], [0.0, 1.0]]]])
    found = model.conv2d_loops(x, corner, torch.tensor([10.0]))
    close(found, torch.tensor([[[[14.0, 15.0], [17.0, 18.0]]]]), "out of a kernel that takes its last pixel, bias 10,")


@pytest.mark.exercise(2)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_im2col_equals_torch(case, rng):
    check_convolution(model.conv2d, *case, rng)


class Calls(TorchFunctionMode):
    """Notes the name of every torch function that is called inside `with`."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, function, types, arguments=(), options=None):
        self.names.append(function.__name__.strip("_"))
        return function(*arguments, **options or {})


@pytest.mark.exercise(2)
def test_im2col_is_one_matrix_product_and_does_not_loop(rng):
    x, weight = random(rng, 2, 3, 8, 8), random(rng, 4, 3, 3, 3)
    with Calls() as few:
        model.conv2d(x, weight, padding=1)
    with Calls() as many:
        model.conv2d(x.repeat(3, 1, 2, 2), weight, padding=1)
    products = [name for name in few.names if name in ("matmul", "mm", "bmm", "addmm", "einsum", "linear", "tensordot")]
    assert len(products) == 1, f"there were {len(products)} matrix products, should be 1 for the whole convolution"
    assert not [name for name in few.names if "conv" in name], "torch's own convolution was called, should be yours"
    assert len(few.names) == len(many.names) - 1, "a larger image needs more calls, should need as many: no loops"


def test_im2col_and_loops_agree_on_a_larger_image(rng):
    x, weight = random(rng, 1, 2, 12, 11), random(rng, 2, 2, 4, 3)
    with torch.no_grad():
        close(model.conv2d(x, weight, None, 2, 1), model.conv2d_loops(x, weight, None, 2, 1), "out")


# ---------------------------------------------------------------- exercise 3: pooling


@pytest.mark.exercise(3)
@pytest.mark.parametrize(("size", "stride"), [(2, None), (2, 1), (3, 2), (3, None)])
def test_max_pool_equals_torch(size, stride, rng):
    x = random(rng, 2, 3, 7, 9)
    if size == 2:  # all different
        x = torch.randperm(16, generator=rng).float().reshape(1, 1, 4, 4).requires_grad_()
    expected = F.max_pool2d(x, size, stride)
    out = model.max_pool2d(x, size, stride)
    close(out, expected, f"the maximum over windows of {size}, stride {stride},")
    same_gradients(out, expected, (x,), ("x",), rng)


@pytest.mark.exercise(3)
def test_of_equal_values_the_first_gets_the_gradient():
    """After a ReLU whole windows are 0. An average of the gradient over all equal ones would not be what torch does."""
    x = torch.zeros(1, 1, 2, 2, requires_grad=True)
    model.max_pool2d(x, 2).backward(torch.tensor([[[[2.0]]]]))
    shares = x.grad.flatten().tolist()
    assert shares == [2.0, 0.0, 0.0, 0.0], (
        f"where 4 values of a window are equal, their gradients are {shares}, should be [2.0, 0.0, 0.0, 0.0]: the first"
        " takes all"
    )


@pytest.mark.parametrize(("size", "stride"), [(2, None), (3, 2), (2, 1)])
def test_avg_pool_equals_torch(size, stride, rng):
    x = random(rng, 2, 3, 7, 9)
    out, expected = model.avg_pool2d(x, size, stride), F.avg_pool2d(x, size, stride)
    close(out, expected, "the mean")
    same_gradients(out, expected, (x,), ("x",), rng)


# ---------------------------------------------------------------- exercise 4: batch norm


def two_norms(rng, channels=3):
    """Ours and torch's, with the same weights."""
    theirs, ours = nn.BatchNorm2d(channels), BatchNorm2d(channels)
    with torch.no_grad():
        theirs.weight.copy_(torch.randn(channels, generator=rng))
        theirs.bias.copy_(torch.randn(channels, generator=rng))
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.exercise(4)
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_eps_is_added_to_the_variance(training):
    """Where the variance is a tenth of eps it decides; where it is 1, as elsewhere here, its place cannot be seen."""
    ours, x = BatchNorm2d(1).train(training), torch.tensor([1e-3, -1e-3])[:, None, None, None]
    ours.running_var.fill_(1e-6)
    out = ours(x)
    slips = {
        "added to the root, should be added to the variance: sqrt(var + eps)": x / (1e-3 + ours.eps),
        "missing, should be added to the variance: sqrt(var + eps)": x / 1e-3,
        "taken twice, should be added to the variance alone": x / ((1e-6 + ours.eps) ** 0.5 + ours.eps),
    }
    for slip, wrong in slips.items():
        found = isinstance(out, torch.Tensor) and out.shape == x.shape and torch.allclose(out, wrong, atol=1e-6)
        assert not found, f"in {'training' if training else 'evaluation'} eps is {slip}"


@pytest.mark.exercise(4)
@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (4, 3, 5, 7), (1, 3, 6, 6)])
def test_batch_norm_equals_torch_in_training(shape, rng):
    ours, theirs = two_norms(rng)
    for batch in range(3):  # the running averages move each time
        x = 3 * torch.randn(shape, generator=rng) + 5
        if x.numel() == 6:  # whole numbers, all different
            x = torch.randperm(6, generator=rng).float().reshape(shape)
        x.requires_grad_()
        out, expected = ours(x), theirs(x)
        unbiased = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), keepdim=True) + ours.eps).sqrt()
        unbiased = unbiased * theirs.weight[:, None, None] + theirs.bias[:, None, None]
        if out.shape == expected.shape and not torch.allclose(out, expected, atol=1e-5):
            assert not torch.allclose(out, unbiased, atol=1e-5), (
                "x is divided by its unbiased variance, over count - 1, should be biased, over count (correction=0)"
            )
        close(out, expected, f"out, in training, batch {batch},")
        close(ours.running_mean, theirs.running_mean, f"running_mean after {batch + 1} batches")
        count = x.numel() // 3
        biased = theirs.running_var - ours.momentum * x.var((0, 2, 3), correction=1) / count
        assert batch or not torch.allclose(ours.running_var, biased, atol=1e-6), (
            "running_var keeps the biased variance, should keep the unbiased one: times count / (count - 1)"
        )
        close(ours.running_var, theirs.running_var, f"running_var after {batch + 1} batches")
        tracked = int(ours.num_batches_tracked)
        assert tracked == batch + 1, (
            f"num_batches_tracked is {tracked} after {batch + 1} batches, should be {batch + 1}"
        )
        weighting = torch.randn(shape, generator=rng)
        found = torch.autograd.grad(out, (x, ours.weight, ours.bias), weighting)
        wanted = torch.autograd.grad(expected, (x, theirs.weight, theirs.bias), weighting)
        for mine, other, name in zip(found, wanted, ("x", "weight", "bias"), strict=True):
            close(mine, other, f"the gradient of {name}, in training,")


@pytest.mark.exercise(4)
def test_batch_norm_equals_torch_in_evaluation(rng):
    ours, theirs = two_norms(rng)
    for norm in (ours, theirs):
        norm.running_mean.copy_(torch.tensor([1.0, -2.0, 0.5]))
        norm.running_var.copy_(torch.tensor([4.0, 0.25, 1.0]))
        norm.eval()
    x = random(rng, 2, 3, 4, 4)
    out, expected = ours(x), theirs(x)
    close(out, expected, "out, in evaluation,")
    same_gradients(out, expected, (x,), ("x",), rng)
    mean = ours.running_mean.tolist()
    assert mean == [1.0, -2.0, 0.5], f"in evaluation running_mean becomes {mean}, should stay [1.0, -2.0, 0.5]"
    with torch.no_grad():
        close(ours(x[:1]), expected[:1], "in evaluation an image does not depend on the others: out for one alone")


@pytest.mark.exercise(4)
def test_running_averages_are_no_part_of_the_gradient(rng):
    ours, _ = two_norms(rng)
    ours(random(rng, 4, 3, 2, 2))
    tracked = ours.running_mean.requires_grad or ours.running_var.requires_grad
    assert not tracked, "the running averages carry a gradient, should not: move them under torch.no_grad()"


def test_batch_norm_of_one_number_per_channel_is_refused_as_by_torch():
    x = torch.ones(1, 3, 1, 1)
    for norm in (BatchNorm2d(3), nn.BatchNorm2d(3)):
        with pytest.raises(ValueError):
            norm(x)
        assert norm.eval()(x).shape == x.shape


def test_dropout_keeps_the_mean_and_does_nothing_in_evaluation():
    torch.manual_seed(0)
    x = torch.ones(200, 200)
    out = model.dropout(x, 0.3, True)
    assert {round(value, 5) for value in out.unique().tolist()} == {0.0, round(1 / 0.7, 5)}
    assert abs(out.mean().item() - 1) < 0.02
    assert model.dropout(x, 0.3, False) is x and model.dropout(x, 0.0, True) is x


# ---------------------------------------------------------------- exercise 5: the receptive field


@pytest.mark.exercise(5)
def test_receptive_field_grows_layer_by_layer():
    found = [model.receptive_field(ConvNetConfig(), layers) for layers in range(9)]
    wanted = [1, 3, 5, 6, 10, 14, 16, 24, 32]
    if found != wanted:
        first = next(i for i, (a, b) in enumerate(zip(found, wanted, strict=True)) if a != b)
        step = f", a {model.steps(ConvNetConfig())[first - 1].kind}," if first else ""
        raise AssertionError(f"after {first} layers{step} it is {found[first]} pixels, should be {wanted[first]}")


@pytest.mark.exercise(5)
@pytest.mark.parametrize(
    ("depth", "pool", "pixels"), [(6, "stride", 23), (3, "max", 18), (6, "avg", 32), (9, "max", 46), (12, "max", 60)]
)
def test_receptive_field_of_known_networks(depth, pool, pixels):
    found = model.receptive_field(ConvNetConfig(depth=depth, pool=pool))
    assert found == pixels, f"of {depth} convolutions with {pool} pooling it is {found} pixels, should be {pixels}"


@pytest.mark.exercise(5)
@pytest.mark.parametrize(("depth", "pool"), [(3, "avg"), (5, "stride"), (7, "avg")])
def test_receptive_field_is_what_the_gradient_reaches(depth, pool):
    """With positive weights nothing cancels: the pixels that change an output are those with a gradient."""
    config = ConvNetConfig(depth=depth, width=1, norm=False, pool=pool, side=96)
    net = ConvNet(config)
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.1)
    x = torch.ones(1, 3, 96, 96, requires_grad=True)
    out = net.features(x)
    out[0, 0, 12, 12].backward()  # far from every edge
    reached = torch.nonzero(x.grad[0, 0])
    across = (reached.max(dim=0).values - reached.min(dim=0).values + 1).tolist()
    found = model.receptive_field(config)
    assert across == [found, found], f"it is {found} pixels, should be {across[0]}: so many the gradient reaches"


# ---------------------------------------------------------------- the networks

FAMILY = list(itertools.product((3, 4, 8), model.POOLS, (True, False), (8, 33)))


@pytest.mark.parametrize(("depth", "pool", "norm", "side"), FAMILY)
def test_the_table_says_what_the_network_does(depth, pool, norm, side):
    config = ConvNetConfig(depth=depth, width=4, norm=norm, pool=pool, classes=5, side=side)
    net = ConvNet(config)
    rows = model.layer_table(config)
    x = torch.randn(1, 3, side, side)
    for (name, layer), row in zip(net.features.named_children(), rows, strict=False):
        x = layer(x)
        assert (name, tuple(x.shape[1:])) == (row.name, row.shape)
        assert row.params == model.count_parameters(layer)
    assert len(rows) == len(net.features) + 1 and rows[-1].shape == (5,)
    assert model.parameters(config) == model.count_parameters(net) == sum(row.params for row in rows)
    products = []  # multiplications, each with an addition
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(
                lambda layer, _, out: products.append(layer.weight.numel() * math.prod(out.shape[2:]))
            )
    assert net(torch.randn(1, 3, side, side)).shape == (1, 5)
    assert model.flops(config) == 2 * sum(products) == sum(row.flops for row in rows)


@pytest.mark.parametrize(
    ("depth", "stages"), [(3, (1, 1, 1)), (4, (1, 1, 2)), (5, (1, 2, 2)), (6, (2, 2, 2)), (19, (6, 6, 7))]
)
def test_stages_are_as_equal_as_can_be(depth, stages):
    assert ConvNetConfig(depth=depth).stages == stages


def by_hand(net, x):
    """The network's logits by the operations of this file alone, with its weights."""
    for block in net.features:
        if isinstance(block, model.ConvBlock):
            x = model.conv2d(x, block.conv.weight, block.conv.bias, block.conv.stride[0], block.conv.padding[0])
            if isinstance(block.norm, nn.BatchNorm2d):
                own = BatchNorm2d(x.shape[1])
                own.load_state_dict(block.norm.state_dict())
                own.train(block.training)
                x = own(x)
            x = x.clamp(min=0)
        else:
            x = model.max_pool2d(x, 2) if isinstance(block, nn.MaxPool2d) else model.avg_pool2d(x, 2)
    return x.mean(dim=(2, 3)) @ net.head.weight.T + net.head.bias


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("pool", "norm"), [("max", True), ("avg", True), ("stride", True), ("max", False)])
def test_our_operations_make_the_same_network(training, pool, norm, rng):
    torch.manual_seed(0)
    net = ConvNet(ConvNetConfig(depth=4, width=4, pool=pool, norm=norm, side=10))
    x = random(rng, 3, 3, 10, 10)
    net(x)  # the running averages are no longer those of the beginning
    net.train(training)
    ours = by_hand(net, x)
    theirs = net(x)
    close(ours, theirs, "the logits")
    same_gradients(ours, theirs, (x, net.features[0].conv.weight), ("x", "the first kernels"), rng)


def test_weights_are_drawn_by_he_so_that_depth_keeps_the_size():
    torch.manual_seed(0)
    net = ConvNet(ConvNetConfig(depth=12, width=32, norm=False, side=32))
    x = net.features[:4](torch.randn(8, 3, 32, 32))
    deep = net.features[4:](x)
    assert 0.3 < (deep.square().mean() / x.square().mean()).sqrt().item() < 3


def test_dropout_acts_in_training_alone():
    net = ConvNet(ConvNetConfig(depth=3, width=16, dropout=0.5, side=8, norm=False))
    x = torch.randn(2, 3, 8, 8)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_channels_last_changes_nothing_but_the_layout():
    torch.manual_seed(0)
    net = ConvNet(ConvNetConfig(depth=4, width=8)).eval()
    x = torch.randn(2, 3, 32, 32)
    before = net(x)
    after = net.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    close(after, before, "the logits")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"depth": 2}, "--depth 2: must be at least 3, one convolution for each stage."),
        ({"width": 0}, "--width 0: must be at least 1."),
        ({"dropout": 1.0}, "--dropout 1.0: must be from 0 to below 1."),
        ({"pool": "min"}, "--pool min: must be one of max, avg, stride."),
        ({"classes": 1}, "--classes 1: must be at least 2."),
        ({"side": 7}, "--side 7: must be from 8 to 1024 pixels."),
    ],
)
def test_networks_that_cannot_be(change, complaint):
    with pytest.raises(CourseError) as caught:
        ConvNetConfig(**change)
    assert str(caught.value) == complaint
