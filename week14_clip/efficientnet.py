"""EfficientNet-Lite0, as published: what sees the pictures. It stays as it is, and what it gives is learned from.

References
    M. Sandler et al., "MobileNetV2", arXiv:1801.04381, figure 3: widen, look around channel by channel, narrow
    M. Tan, Q. Le, "EfficientNet", arXiv:1905.11946, table 1: how deep and wide; the "lite" one has neither squeeze and
        excitation nor swish, so that it runs on phones

ImageNet's 1.28 million photographs taught it 1,000 classes; 4.7 million parameters, 0.8 GFLOPs a picture.
"""

import copy
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from shared import models
from shared.errors import CourseError

SIDE = 224  # pixels that it was trained with
DIM = 1280  # features of a picture
FILE = "efficientnet-lite0-57934424.pth"
# Of each stage: kernel, stride of its first block, how much wider it is inside, channels, blocks (table 1).
STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4),
          (3, 1, 6, 320, 1))  # fmt: skip
# The convolutions with what follows them.
NORMS = (("conv_stem", "bn0"), ("conv_head", "bn1"), ("expand_conv", "bn0"), ("depthwise_conv", "bn1"),
         ("project_conv", "bn2"))  # fmt: skip
Maps = Float[Tensor, "N C H W"]


class Conv(nn.Conv2d):
    """A convolution that pads as TensorFlow does: with stride 2, more at the right and below than at the left."""

    def __init__(self, channels_in: int, channels: int, size: int, stride: int = 1, groups: int = 1) -> None:
        padding = size // 2 if stride == 1 else 0  # with stride 1 both sides get the same
        super().__init__(channels_in, channels, size, stride, padding, groups=groups, bias=False)

    def forward(self, x: Maps) -> Float[Tensor, "N C_out H_out W_out"]:
        size, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return super().forward(x)
        pads = []
        for side in (x.shape[3], x.shape[2]):
            missing = max(0, (-(-side // stride) - 1) * stride + size - side)
            pads += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(x, pads))


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """Widens, looks around in each channel by itself, narrows; beside it x as it is, where the shapes allow."""

    def __init__(self, channels_in: int, channels: int, size: int, stride: int, expand: int) -> None:
        super().__init__()
        inside = channels_in * expand
        self.expands, self.skips = expand > 1, stride == 1 and channels_in == channels
        if self.expands:
            self.expand_conv, self.bn0 = Conv(channels_in, inside, 1), norm(inside)
        self.depthwise_conv, self.bn1 = Conv(inside, inside, size, stride, groups=inside), norm(inside)
        self.project_conv, self.bn2 = Conv(inside, channels, 1), norm(channels)

    def forward(self, x: Maps) -> Float[Tensor, "N C_out H_out W_out"]:
        h = F.relu6(self.bn0(self.expand_conv(x)), inplace=True) if self.expands else x
        h = self.bn2(self.project_conv(F.relu6(self.bn1(self.depthwise_conv(h)), inplace=True)))
        return x + h if self.skips else h


class EfficientNetLite0(nn.Module):
    """The network up to its last layer, which names classes (`classes`) and is of no use to us otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem, self.bn0 = Conv(3, 32, 3, 2), norm(32)
        blocks, channels_in = [], 32
        for size, first_stride, expand, channels, count in STAGES:
            for number in range(count):
                blocks.append(Block(channels_in, channels, size, first_stride if number == 0 else 1, expand))
                channels_in = channels
        self.blocks = nn.ModuleList(blocks)
        self.conv_head, self.bn1 = Conv(channels_in, DIM, 1), norm(DIM)
        self.fc = nn.Linear(DIM, 1000)

    def forward(self, x: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N 1280"]:
        """The features of pictures of numbers from 0 to 255: the mean over the places of the last layer."""
        x = (x - 127) / 128
        x = F.relu6(self.bn0(self.conv_stem(x)), inplace=True)
        for block in self.blocks:
            x = block(x)
        return F.relu6(self.bn1(self.conv_head(x)), inplace=True).mean(dim=(2, 3))

    def classes(self, features: Float[Tensor, "N 1280"]) -> Float[Tensor, "N 1000"]:
        """The logits of ImageNet's classes."""
        return self.fc(features)


class Pointwise(nn.Linear):
    """A convolution of 1 x 1: the channels of each place by one matrix; no copy where they lie last in memory."""

    def forward(self, x: Maps) -> Float[Tensor, "N C_out H W"]:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # (N, C, H, W) -> (N, H, W, C) -> …


def for_looking(network: EfficientNetLite0) -> EfficientNetLite0:
    """The same network where nothing is to be learned, in two thirds of the time: each normalisation is taken into the
    convolution before it, and those of 1 x 1 are matrix products. The same numbers but for rounding."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for conv, following in NORMS:
            if hasattr(module, conv) and hasattr(module, following):
                one = fuse_conv_bn_eval(getattr(module, conv), getattr(module, following))
                if one.kernel_size == (1, 1):
                    point = Pointwise(one.in_channels, one.out_channels)
                    point.load_state_dict({"weight": one.weight.flatten(1), "bias": one.bias})  # (out, in, 1, 1) -> …
                    one = point
                setattr(module, conv, one)
                setattr(module, following, nn.Identity())
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def load(folder: Path | None = None) -> EfficientNetLite0:
    """The published weights, out of `shared.models`.

    The file is a pickle, of which torch reads tensors only. Its names have underscores in front, ours have none.
    """
    path = (folder or models.fetch("efficientnet-lite0")) / FILE
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        network = EfficientNetLite0()
        network.load_state_dict({".".join(p.lstrip("_") for p in n.split(".")): w for n, w in weights.items()})
    except Exception as error:  # a damaged pickle raises what it likes
        raise CourseError(f"{path} does not hold EfficientNet-Lite0 ({type(error).__name__}); delete it.") from None
    return network.eval().requires_grad_(False)
