"""What a network without attention reaches: logistic regression on the pixels, and a CNN of the same cost an image."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

LOGISTIC, CNN = "logistic regression", "a CNN of equal FLOPs"
RECIPES: dict[str, dict[str, Any]] = {
    CNN: {"lr": 2e-3, "weight_decay": 0.05},
    LOGISTIC: {"lr": 1e-3, "weight_decay": 0.5, "augment": 0.0},
}
"""What is different from the flags of train.py, by the name of the baseline."""
STAGES = 4  # each half as high and wide as the one before, with twice as many channels


class Logistic(nn.Module):
    """Multinomial logistic regression: a weight for each pixel and class."""

    def __init__(self, side: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(side * side, classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N classes"]:
        return self.linear(x.mean(dim=1).flatten(1))  # (N, 3, H, W) -> (N, H, W) -> (N, H * W)


class ConvNet(nn.Module):
    """Four stages of two 3 x 3 convolutions with batch norm and ReLU, then the mean over all places."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stage in range(STAGES):
            wide = width * 2**stage
            for _ in range(2):
                layers += [nn.Conv2d(channels, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]
                channels = wide
            layers.append(nn.MaxPool2d(2) if stage < STAGES - 1 else nn.AdaptiveAvgPool2d(1))
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N classes"]:
        pixels_together = x.contiguous(memory_format=torch.channels_last)  # 1.5 times as fast on a CPU
        return self.head(self.features(pixels_together))


def cnn_flops(width: int, side: int) -> int:
    """What one image costs a ConvNet forward, in additions and multiplications of its convolutions."""
    cost, channels = 0, 3
    for stage in range(STAGES):
        wide = width * 2**stage
        cost += 2 * 9 * side * side * (channels * wide + wide * wide)
        channels, side = wide, side // 2
    return cost


def width_for(flops: int, side: int) -> int:
    """The width of a ConvNet that costs about as much."""
    return min(range(2, 129), key=lambda width: abs(cnn_flops(width, side) - flops))


def build(name: str, side: int, classes: int, flops: int) -> nn.Module:
    """A baseline by its name, untrained."""
    return Logistic(side, classes) if name == LOGISTIC else ConvNet(width_for(flops, side), classes)
