"""Week 2's operations against torch's own, and what is said of a network against what it does.

The tests marked `exercise(K)` are what `./course check 2` holds a learner's piece K to.
"""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from shared.errors import CourseError
from week02_cnn import model
from week02_cnn.model import BatchNorm2d, ConvNet, ConvNetConfig

TOLERANCE = 1e-5  # of the largest number; float32 rounds at 6e-8, and a sum of many numbers more than once


def close(found, expected, what):
    """Passes when `found` equals `expected`; otherwise fails with one line that says in what way `what` is wrong."""
    if not isinstance(found, torch.Tensor):
        raise AssertionError(f"{what} is {type(found).__name__}, should be a tensor")
    found, expected = found.detach(), expected.detach()
    if found.shape != expected.shape:
        raise AssertionError(f"{what} has the shape {tuple(found.shape)}, should be {tuple(expected.shape)}")
    if not torch.isfinite(found).all():
        raise AssertionError(f"{what} has NaN or inf in it")
    scale = max(1.0, expected.abs().max().item())
    error = (found - expected).abs().max().item() / scale
    if error > TOLERANCE:
        if found.numel() > 1 and not found.any():
            raise AssertionError(f"{what} is 0 everywhere")
        raise AssertionError(f"{what} differs by up to {error:.1g} (relative to the largest number)")


def test_close_says_in_what_way_a_number_is_wrong():
    right = torch.tensor([1.0, 2.0])
    close(right + 1e-6, right, "out")
    for found, message in (
        (None, "out is NoneType, should be a tensor"),
        (torch.ones(1, 2), "out has the shape (1, 2), should be (2,)"),
        (torch.tensor([1.0, math.nan]), "out has NaN or inf in it"),
        (torch.zeros(2), "out is 0 everywhere"),
        (torch.tensor([1.0, 2.4]), "out differs by up to 0.2 (relative to the largest number)"),
    ):
        with pytest.raises(AssertionError) as error:
            close(found, right, "out")
        assert str(error.value) == message


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(7)


def random(rng, *shape):
    return torch.randn(*shape, generator=rng).requires_grad_()


def same_gradients(ours, theirs, inputs, names, rng):
    """Both outputs pass the same random gradient back to the same inputs."""
    weighting = torch.randn(theirs.shape, generator=rng)
    expected = torch.autograd.grad(theirs, inputs, weighting)
    for mine, other, name in zip(torch.autograd.grad(ours, inputs, weighting), expected, names, strict=True):
        close(mine, other, f"the gradient of {name}")


# ---------------------------------------------------------------- exercises 1 and 2: convolution

HOW = [  # stride, padding, height, width, kernel height, kernel width
    (1, 0, 5, 5, 3, 3),
    (1, 1, 6, 5, 3, 3),
    (2, 1, 7, 7, 3, 3),
    (2, 0, 8, 7, 3, 3),  # a row is left over at the end
    (3, 2, 7, 9, 5, 2),
    (1, 0, 4, 3, 1, 1),
    (1, 0, 3, 3, 3, 3),
]


def check_convolution(convolve, how, bias, rng):
    stride, padding, height, width, kernel_h, kernel_w = how
    x, weight = random(rng, 2, 3, height, width), random(rng, 4, 3, kernel_h, kernel_w)
    b = random(rng, 4) if bias else None
    expected = F.conv2d(x, weight, b, stride, padding)
    out = convolve(x, weight, b, stride, padding)
    if out.shape == expected.shape and max(kernel_h, kernel_w) > 1:
        turned = F.conv2d(x, weight.flip(2, 3), b, stride, padding)
        assert not torch.allclose(out, turned, atol=1e-4), (
            "the kernel must not be turned round: out is right for a flip"
        )
    if out.shape == expected.shape:
        rows = model.windows(model.padded(x, padding), (kernel_h, kernel_w), stride)
        jumbled = rows.reshape(-1, x.shape[1] * kernel_h * kernel_w) @ weight.flatten(1).T + (0 if b is None else b)
        jumbled = jumbled.reshape(len(x), *expected.shape[2:], -1).permute(0, 3, 1, 2)
        assert torch.allclose(out, expected, atol=1e-4) or not torch.allclose(out, jumbled, atol=1e-4), (
            "the windows were reshaped as they come, channels first: bring N, H_out, W_out to the front (permute)"
        )
    if bias and out.shape == expected.shape:
        assert not torch.allclose(out, F.conv2d(x, weight, None, stride, padding), atol=1e-4), "the bias is missing"
    close(out, expected, f"out, with stride {stride} and padding {padding},")
    inputs, names = (x, weight, b)[: 2 + bias], ("x", "weight", "bias")[: 2 + bias]
    same_gradients(out, expected, inputs, names, rng)


@pytest.mark.exercise(1)
@pytest.mark.parametrize("how", HOW)
def test_loops_equal_torch(how, rng):
    check_convolution(model.conv2d_loops, how, True, rng)
    check_convolution(model.conv2d_loops, how, False, rng)


@pytest.mark.exercise(1)
def test_loops_on_an_example_to_follow_by_hand():
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    edge = torch.tensor([[[[1.0, -1.0]]]])  # this pixel minus its right neighbour: -1 all over
    assert model.conv2d_loops(x, edge).tolist() == [[[[-1.0, -1.0]] * 3]]
    assert model.conv2d_loops(x, edge, stride=2).tolist() == [[[[-1.0], [-1.0]]]]
    corner = torch.tensor([[[[0.0, 0.0], [0.0, 1.0]]]])
    assert model.conv2d_loops(x, corner, torch.tensor([10.0])).tolist() == [[[[14.0, 15.0], [17.0, 18.0]]]]


@pytest.mark.exercise(2)
@pytest.mark.parametrize("how", HOW)
def test_im2col_equals_torch(how, rng):
    check_convolution(model.conv2d, how, True, rng)
    check_convolution(model.conv2d, how, False, rng)


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
    assert len(products) == 1, f"one matrix product makes the whole convolution, but there were {len(products)}"
    assert not [name for name in few.names if "conv" in name], "torch's own convolution would be no exercise"
    assert len(few.names) == len(many.names) - 1, "a larger image must not need more calls: no loops"


def test_im2col_and_loops_agree_on_a_larger_image(rng):
    x, weight = random(rng, 1, 2, 12, 11), random(rng, 2, 2, 4, 3)
    with torch.no_grad():
        close(model.conv2d(x, weight, None, 2, 1), model.conv2d_loops(x, weight, None, 2, 1), "out")


# ---------------------------------------------------------------- exercise 3: pooling


@pytest.mark.exercise(3)
@pytest.mark.parametrize(("size", "stride"), [(2, None), (3, 2), (2, 1), (3, None)])
def test_max_pool_equals_torch(size, stride, rng):
    x = random(rng, 2, 3, 7, 9)
    expected = F.max_pool2d(x, size, stride)
    out = model.max_pool2d(x, size, stride)
    close(out, expected, f"the maximum over windows of {size}, stride {stride},")
    same_gradients(out, expected, (x,), ("x",), rng)


@pytest.mark.exercise(3)
def test_of_equal_values_the_first_gets_the_gradient():
    """After a ReLU whole windows are 0. An average of the gradient over all equal ones would not be what torch does."""
    x = torch.zeros(1, 1, 4, 4, requires_grad=True)
    upstream = torch.tensor([[[[1.5, -2.0], [0.5, 3.0]]]])
    model.max_pool2d(x, 2).backward(upstream)
    expected = torch.zeros(1, 1, 4, 4)
    expected[..., ::2, ::2] = upstream  # each window's first value, none of the other three
    close(x.grad, expected, "the gradient of x, where all values of a window are equal,")


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
@pytest.mark.parametrize("shape", [(4, 3, 5, 7), (2, 3, 1, 1), (1, 3, 6, 6)])
def test_batch_norm_equals_torch_in_training(shape, rng):
    ours, theirs = two_norms(rng)
    for batch in range(3):  # the running averages move each time
        x = (3 * torch.randn(shape, generator=rng) + 5).requires_grad_()
        out, expected = ours(x), theirs(x)
        if x.numel() > 3:
            unbiased = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), keepdim=True) + ours.eps).sqrt()
            unbiased = unbiased * theirs.weight[:, None, None] + theirs.bias[:, None, None]
            slip = torch.allclose(out, unbiased, atol=1e-5) and not torch.allclose(out, expected, atol=1e-5)
            assert not slip, "the batch itself is divided by its biased variance, over m, not m - 1 (correction=0)"
        close(out, expected, f"out, in training, batch {batch},")
        close(ours.running_mean, theirs.running_mean, f"running_mean after {batch + 1} batches")
        close(ours.running_var, theirs.running_var, f"running_var (unbiased) after {batch + 1} batches")
        assert int(ours.num_batches_tracked) == batch + 1, "num_batches_tracked counts the batches"
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
    assert ours.running_mean.tolist() == [1.0, -2.0, 0.5], "in evaluation the running averages stay what they are"
    with torch.no_grad():
        close(ours(x[:1]), expected[:1], "in evaluation an image does not depend on the others: out for one alone")


@pytest.mark.exercise(4)
def test_running_averages_are_no_part_of_the_gradient(rng):
    ours, _ = two_norms(rng)
    ours(random(rng, 4, 3, 2, 2))
    assert not ours.running_mean.requires_grad and not ours.running_var.requires_grad, "move them under torch.no_grad()"


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
@pytest.mark.parametrize(
    ("depth", "pool", "pixels"), [(3, "max", 18), (6, "avg", 32), (6, "stride", 23), (9, "max", 46), (12, "max", 60)]
)
def test_receptive_field_of_known_networks(depth, pool, pixels):
    found = model.receptive_field(ConvNetConfig(depth=depth, pool=pool))
    assert found == pixels, f"{depth} convolutions with {pool} pooling see {pixels} pixels across, not {found}"


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
    assert across == [found, found], f"the gradient reaches {across[0]} pixels, receptive_field says {found}"


@pytest.mark.exercise(5)
def test_receptive_field_grows_layer_by_layer():
    found = [model.receptive_field(ConvNetConfig(), layers) for layers in range(9)]
    assert found == [1, 3, 5, 6, 10, 14, 16, 24, 32], f"of 0 to 8 layers: {found}"


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
