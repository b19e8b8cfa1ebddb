"""A convolutional network, to be read from top to bottom: the operations written out, then a network of torch's own.

References
    Y. LeCun et al., "Gradient-based learning applied to document recognition", Proc. IEEE 86, 1998: convolutions
    K. Chellapilla, S. Puri, P. Simard, "High performance convolutional neural networks for document processing", 2006:
        convolution as one matrix product (im2col)
    S. Ioffe, C. Szegedy, "Batch normalization", arXiv:1502.03167, algorithm 1 and section 3.1
    N. Srivastava et al., "Dropout", JMLR 15, 2014
    K. Simonyan, A. Zisserman, "Very deep convolutional networks", arXiv:1409.1556: stacks of 3 x 3
    K. He et al., "Delving deep into rectifiers", arXiv:1502.01852: how to initialise the weights
    M. Lin et al., "Network in network", arXiv:1312.4400, section 3.2: global average pooling

Images are (N, C, H, W): which image, which channel, row, column. What torch calls convolution is, in mathematics, a
cross-correlation: the kernel is not turned round before it slides. As it is learned, it makes no difference.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from shared.errors import CourseError

Maps = Float[Tensor, "N C H W"]
Smaller = Float[Tensor, "N C H_out W_out"]
Kernels = Float[Tensor, "C_out C kernel_h kernel_w"]
Bias = Float[Tensor, " C_out"] | None
Convolved = Float[Tensor, "N C_out H_out W_out"]


# ---------------------------------------------------------------- the operations, written out


def padded(x: Maps, padding: int) -> Float[Tensor, "N C _ _"]:
    """x with `padding` rows and columns of zeros on every side."""
    return F.pad(x, (padding, padding, padding, padding))


def out_side(side: int, size: int, stride: int, padding: int = 0) -> int:
    """How many windows of `size` fit along `side` pixels, one every `stride`. A rest at the end is left out."""
    return (side + 2 * padding - size) // stride + 1


def conv2d_loops(x: Maps, weight: Kernels, bias: Bias = None, stride: int = 1, padding: int = 0) -> Convolved:
    """The definition of a convolution, in nested loops: exact, readable, and hundreds of times too slow.

    Every output is a dot product: out[n, o, i, j] = bias[o] + the sum over c, u and v of
    weight[o, c, u, v] * x[n, c, i * stride + u, j * stride + v], with x padded by zeros.
    """
    N, _, H, W = x.shape
    C_out, _, kernel_h, kernel_w = weight.shape
    H_out, W_out = out_side(H, kernel_h, stride, padding), out_side(W, kernel_w, stride, padding)
    x = padded(x, padding)
    out = x.new_zeros(N, C_out, H_out, W_out)
    # exercise 1: convolution by its definition
    # x (N, C, H, W), padded already; weight (C_out, C, kernel_h, kernel_w); bias (C_out,) or None -> out (N, C_out,
    # H_out, W_out), each number the dot product of one kernel with the window of x that it lies on, plus its bias.
    # hint: out[n, o, i, j] = bias[o] + sum over c, u, v of weight[o, c, u, v] x[n, c, i * stride + u, j * stride + v]:
    # one sum over a window that holds all channels, in the middle of four loops. The bias comes last, where there is
    # one.
    for n in range(N):
        for o in range(C_out):
            for i in range(H_out):
                for j in range(W_out):
                    top, left = i * stride, j * stride
                    window = x[n, :, top : top + kernel_h, left : left + kernel_w]  # (C, kernel_h, kernel_w)
                    out[n, o, i, j] = (window * weight[o]).sum()
    return out if bias is None else out + bias[:, None, None]
    # end of exercise 1


def windows(x: Maps, size: tuple[int, int], stride: int) -> Float[Tensor, "N C H_out W_out h w"]:
    """Every window of x as a view, without copying: x.unfold(dim, size, step) slides along one dimension."""
    return x.unfold(2, size[0], stride).unfold(3, size[1], stride)


def conv2d(x: Maps, weight: Kernels, bias: Bias = None, stride: int = 1, padding: int = 0) -> Convolved:
    """The same convolution as one matrix product: im2col.

    Every window becomes a row of a large matrix, every kernel a column of a small one. Pixels are copied up to
    kernel_h * kernel_w times, and it pays: matrix products are what computers do best.
    """
    N, C, H, W = x.shape
    C_out, _, kernel_h, kernel_w = weight.shape
    H_out, W_out = out_side(H, kernel_h, stride, padding), out_side(W, kernel_w, stride, padding)
    # exercise 2: convolution as one matrix product
    # x (N, C, H, W), not padded; weight (C_out, C, kernel_h, kernel_w); bias (C_out,) or None -> (N, C_out, H_out,
    # W_out): the numbers of conv2d_loops by one @ and no loop. windows() and padded() above are yours to use.
    # hint: a row of the matrix is one window, all channels of it; so the three that say where it lies must stand in
    # front of the three that it is made of, and then one reshape makes rows. The kernels are flattened in the same
    # order. A reshape moves no dimension: the result is (N, H_out, W_out, C_out) after one, and needs a second permute.
    patches = windows(padded(x, padding), (kernel_h, kernel_w), stride)
    patches = patches.permute(0, 2, 3, 1, 4, 5)  # (N, H_out, W_out, C, kernel_h, kernel_w)
    rows = patches.reshape(N * H_out * W_out, C * kernel_h * kernel_w)
    out = rows @ weight.reshape(C_out, C * kernel_h * kernel_w).T  # (N * H_out * W_out, C_out)
    if bias is not None:
        out = out + bias
    return out.reshape(N, H_out, W_out, C_out).permute(0, 3, 1, 2)  # (N, C_out, H_out, W_out)
    # end of exercise 2


def max_pool2d(x: Maps, size: int, stride: int | None = None) -> Smaller:
    """The largest value of every window: whether something was seen there, and no longer exactly where.

    Without a stride the windows lie side by side. Of equal values the first one gets the gradient.
    """
    # exercise 3: max pooling
    # x (N, C, H, W) -> the largest value of each window of size x size, (N, C, H_out, W_out). stride None stands for
    # size: windows side by side.
    # hint: the largest over the two last dimensions of windows(), which may be one after a flatten. Of equal values the
    # first one takes the whole gradient, as in torch: .max(dim) does so and gives values and indices; .amax would share
    # it.
    return windows(x, (size, size), stride or size).flatten(4).max(dim=4).values
    # end of exercise 3


def avg_pool2d(x: Maps, size: int, stride: int | None = None) -> Smaller:
    """The mean of every window."""
    return windows(x, (size, size), stride or size).mean(dim=(4, 5))


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """In training, zeroes each number with probability p and scales the others by 1 / (1 - p); else changes nothing."""
    if not training or p == 0:
        return x
    keep = torch.rand_like(x) >= p
    return x * keep / (1 - p)


class BatchNorm2d(nn.Module):
    """Brings every channel to mean 0 and variance 1 over the batch, then scales and shifts it by learned numbers.

    In training, mean and variance are those of the batch (Ioffe and Szegedy, algorithm 1), so what comes out for one
    image depends on the others. In evaluation they are running averages over training: an image is judged alone.

    Its state_dict has the names of torch.nn.BatchNorm2d's, and the two are interchangeable.
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))  # the paper's gamma
        self.bias = nn.Parameter(torch.zeros(channels))  # the paper's beta
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Maps) -> Maps:
        N, _, H, W = x.shape
        count = N * H * W  # how many numbers a channel's mean is taken over
        if self.training and count == 1:
            raise ValueError("one number per channel has no variance: train with more images or larger ones.")
        # exercise 4: batch norm
        # x (N, C, H, W) -> (N, C, H, W), each channel normalised, scaled by weight (C,) and shifted by bias (C,). In
        # training with the batch's own mean and variance, and running_mean, running_var (C,) and num_batches_tracked
        # move on; in evaluation with the running ones, which stay. No gradient goes through the running averages.
        # hint: a channel's mean and variance are over all of its numbers, so over three dimensions. What normalises is
        # the biased variance, divided by count, with eps under the root; what goes into running_var is the unbiased
        # one, times count / (count - 1). A running average moves the share `momentum` of the way to the batch's, in
        # place, under torch.no_grad().
        if self.training:
            mean = x.mean(dim=(0, 2, 3))
            var = x.var(dim=(0, 2, 3), correction=0)
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * count / (count - 1), self.momentum)
                self.num_batches_tracked += 1
        else:
            mean, var = self.running_mean, self.running_var
        scale = self.weight / torch.sqrt(var + self.eps)
        return (x - mean[:, None, None]) * scale[:, None, None] + self.bias[:, None, None]
        # end of exercise 4


# ---------------------------------------------------------------- a family of networks, from torch's own layers

POOLS = ("max", "avg", "stride")
STAGES = 3


@dataclass(frozen=True)
class ConvNetConfig:
    """What a network of the family looks like. The names are those of train.py's flags."""

    depth: int = 6  # 3 x 3 convolutions, spread over three stages
    width: int = 32  # channels of the first stage; the second has twice, the third four times as many
    norm: bool = True  # batch norm after every convolution
    dropout: float = 0.0  # before the last layer
    pool: str = "max"  # how the stages halve the image: max, avg or stride
    classes: int = 10
    side: int = 32  # pixels, height and width of the images

    def __post_init__(self) -> None:
        limits = (
            ("depth", self.depth >= STAGES, f"at least {STAGES}, one convolution for each stage"),
            ("width", self.width >= 1, "at least 1"),
            ("dropout", 0 <= self.dropout < 1, "from 0 to below 1"),
            ("pool", self.pool in POOLS, f"one of {', '.join(POOLS)}"),
            ("classes", self.classes >= 2, "at least 2"),
            ("side", 8 <= self.side <= 1024, "from 8 to 1024 pixels"),
        )
        for name, right, must in limits:
            if not right:
                raise CourseError(f"--{name} {getattr(self, name)}: must be {must}.")

    @property
    def stages(self) -> tuple[int, ...]:
        """How many convolutions each stage has: as equal as possible, the later ones larger."""
        return tuple((self.depth + stage) // STAGES for stage in range(STAGES))


class Step(NamedTuple):
    """One step through the network: windows of `size`, one every `stride` pixels. `side` is the output's."""

    name: str
    kind: str  # conv or pool
    channels_in: int
    channels: int
    size: int
    stride: int
    side: int


def steps(config: ConvNetConfig) -> list:
    """The plan of a network, a list of Step: the network, and all that is said about it, are made from it."""
    plan, channels_in, side, convolutions = [], 3, config.side, 0
    for stage, count in enumerate(config.stages):
        channels = config.width * 2**stage
        if stage > 0 and config.pool != "stride":
            side = out_side(side, 2, 2)
            plan.append(Step(f"pool{stage}", "pool", channels_in, channels_in, 2, 2, side))
        for position in range(count):
            stride = 2 if stage > 0 and position == 0 and config.pool == "stride" else 1
            side = out_side(side, 3, stride, padding=1)
            convolutions += 1
            plan.append(Step(f"conv{convolutions}", "conv", channels_in, channels, 3, stride, side))
            channels_in = channels
    return plan


class ConvBlock(nn.Module):
    """3 x 3 convolution, batch norm, ReLU. With batch norm the convolution needs no bias: it would be subtracted."""

    def __init__(self, channels_in: int, channels: int, stride: int, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=not norm)
        self.norm = nn.BatchNorm2d(channels) if norm else nn.Identity()
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")  # keeps the size of what passes through
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Maps) -> Convolved:
        return F.relu(self.norm(self.conv(x)))


class ConvNet(nn.Module):
    """Three stages of convolutions, the image halved and the channels doubled in between; then one linear layer.

    `features` holds the steps under the names of layer_table.
    """

    def __init__(self, config: ConvNetConfig) -> None:
        super().__init__()
        self.config = config
        pool = nn.MaxPool2d if config.pool == "max" else nn.AvgPool2d
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for step in steps(config):
            convolves = step.kind == "conv"
            layers[step.name] = (
                ConvBlock(step.channels_in, step.channels, step.stride, config.norm) if convolves else pool(2)
            )
        self.features = nn.Sequential(layers)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(4 * config.width, config.classes)

    def forward(self, x: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N classes"]:
        """The logits for normalised images."""
        x = self.features(x)  # (N, C, H_out, W_out)
        x = x.mean(dim=(2, 3))  # global average pool: (N, C), wherever in the image it was
        return self.head(self.dropout(x))


# ---------------------------------------------------------------- what one can say of a network without running it


def receptive_field(config: ConvNetConfig, layers: int | None = None) -> int:
    """How many pixels of the image, across, one number sees after the first `layers` steps (None: after the last).

    That is before the global average pool, with which the whole image is seen. It may be larger than the image.
    """
    plan = steps(config)[:layers]
    # exercise 5: the receptive field
    # plan, a list of Step (with .size and .stride) -> how many pixels of the image, across, one number sees after them.
    # hint: go through plan with two numbers: how many pixels are seen, and how many pixels apart two neighbours are. A
    # step sees size - 1 neighbours more, each that far apart; then its stride moves them further apart. In this order:
    # a step's own stride does not widen its own window.
    seen, apart = 1, 1
    for step in plan:
        seen += (step.size - 1) * apart
        apart *= step.stride
    return seen
    # end of exercise 5


class LayerRow(NamedTuple):
    """A row of layer_table: the output's shape is (channels, height, width)."""

    name: str
    shape: tuple[int, ...]
    receptive_field: int
    params: int
    flops: int


def layer_table(config: ConvNetConfig) -> list[LayerRow]:
    """What every step gives out, sees, learns and costs.

    flops: of one image forward, a multiplication and an addition being two; of convolutions and the linear layer only.
    """
    rows = []
    for number, step in enumerate(steps(config), 1):
        weights = step.size**2 * step.channels_in * step.channels if step.kind == "conv" else 0
        others = step.channels * (2 if config.norm else 1) if step.kind == "conv" else 0  # batch norm's, or the bias
        shape = (step.channels, step.side, step.side)
        cost = 2 * weights * step.side**2
        rows.append(LayerRow(step.name, shape, receptive_field(config, number), weights + others, cost))
    features, classes = 4 * config.width, config.classes
    rows.append(LayerRow("head", (classes,), config.side, features * classes + classes, 2 * features * classes))
    return rows


def flops(config: ConvNetConfig) -> int:
    """What one image costs forward, in additions and multiplications. A training step costs three times as much."""
    return sum(row.flops for row in layer_table(config))


def parameters(config: ConvNetConfig) -> int:
    """How many numbers a network learns, without building it."""
    return sum(row.params for row in layer_table(config))


def count_parameters(model: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
