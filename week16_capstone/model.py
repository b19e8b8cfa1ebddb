"""A small network that finds marks in the picture of a chart: a heat map for each kind, with offsets inside cells.

References
    X. Zhou, D. Wang, P. Krähenbühl, "Objects as Points", arXiv:1904.07850: heat maps, their focal loss, offsets
    O. Ronneberger et al., "U-Net", arXiv:1505.04597: fine maps from coarse features and a skip
    K. He et al., "Deep Residual Learning", arXiv:1512.03385
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

WIDE, HIGH = 256, 192
"""Pixels of a picture as the network sees it."""
CELL = 2
"""Pixels of a cell of the heat maps, each way."""
MARKS = ("bar", "vertex", "dot", "xtick", "ytick", "centre", "rim")
KINDS = ("bar", "lying bar", "line", "pie", "scatter", "stacked", "log", "two axes", "table", "photo")


@dataclass(frozen=True)
class ReaderConfig:
    """The network's shape: channels of its first stage; the next have twice and four times as many."""

    width: int = 16


class Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one, self.two = convolution(channels, channels), convolution(channels, channels, relu=False)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return F.relu(x + self.two(self.one(x)))


def convolution(inputs: int, outputs: int, stride: int = 1, side: int = 3, relu: bool = True) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    layers = [nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class ChartReader(nn.Module):
    """Down to a sixteenth of the picture and up to half of it again. It answers heat maps as logits, offsets, kind."""

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        self.stem = convolution(3, w, stride=2)
        self.quarter = nn.Sequential(convolution(w, 2 * w, stride=2), Block(2 * w))
        self.eighth = nn.Sequential(convolution(2 * w, 4 * w, stride=2), Block(4 * w))
        self.sixteenth = nn.Sequential(convolution(4 * w, 4 * w, stride=2), Block(4 * w))
        self.up_eighth = convolution(4 * w, 4 * w)
        self.up_quarter = nn.Sequential(convolution(4 * w, 2 * w, side=1), Block(2 * w))
        self.up_half = convolution(2 * w, w, side=1)
        self.last = convolution(w, 3 * w // 2)
        self.heat = nn.Conv2d(3 * w // 2, len(MARKS), 1)
        self.offset = nn.Conv2d(3 * w // 2, 2, 1)
        self.kind = nn.Sequential(nn.Linear(8 * w, 4 * w), nn.ReLU(), nn.Linear(4 * w, len(KINDS)))
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))  # what confidences become probabilities by
        nn.init.constant_(self.heat.bias, -4.0)  # nearly every cell holds nothing: so the loss starts low

    def forward(
        self, pictures: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B marks h w"], Float[Tensor, "B 2 h w"], Float[Tensor, "B kinds"]]:
        half = self.stem(pictures)
        quarter = self.quarter(half)
        eighth = self.eighth(quarter)
        sixteenth = self.sixteenth(eighth)
        pooled = torch.cat([sixteenth.mean(dim=(2, 3)), sixteenth.amax(dim=(2, 3))], dim=1)  # (B, 8 w)
        up = self.up_eighth(eighth + twice(sixteenth))
        up = self.up_quarter[0](up)
        up = self.up_quarter[1](quarter + twice(up))
        up = self.last(half + twice(self.up_half(up)))
        return self.heat(up), torch.sigmoid(self.offset(up)), self.kind(pooled)


def twice(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
    """Every cell as four."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def count_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def targets(
    marks: Sequence[Mapping[str, Float[np.ndarray, "_ 2"]]], spread: float = 1.0
) -> tuple[Float[Tensor, "B marks h w"], Float[Tensor, "B 2 h w"], Float[Tensor, "B 1 h w"]]:
    """What the network is to answer: heat maps with a bump of height 1 at each mark; where in its cell a mark is; and 1
    in the cells for which that is known. Places are in the network's pixels, (x, y)."""
    high, wide = HIGH // CELL, WIDE // CELL
    heat = np.zeros((len(marks), len(MARKS), high, wide), np.float32)
    offset = np.zeros((len(marks), 2, high, wide), np.float32)
    known = np.zeros((len(marks), 1, high, wide), np.float32)
    for b, found in enumerate(marks):
        for channel, name in enumerate(MARKS):
            for x, y in np.asarray(found[name]) / CELL:
                column, row = int(x), int(y)
                if not (0 <= column < wide and 0 <= row < high):
                    continue
                top, left = max(0, row - 3), max(0, column - 3)
                rows, columns = np.mgrid[top : min(high, row + 4), left : min(wide, column + 4)]
                bump = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * spread**2))
                patch = heat[b, channel, top : top + bump.shape[0], left : left + bump.shape[1]]
                np.maximum(patch, bump, out=patch)
                offset[b, :, row, column] = x - column, y - row
                known[b, 0, row, column] = 1
    return torch.from_numpy(heat), torch.from_numpy(offset), torch.from_numpy(known)


def focal_loss(logits: Float[Tensor, "B marks H W"], heat: Float[Tensor, "B marks H W"]) -> Float[Tensor, ""]:
    """CenterNet's loss (equation 1): cells with a mark are to be 1; the others 0, the less strictly the nearer to one;
    what is nearly right already counts little. Divided by the number of marks."""
    p = torch.sigmoid(logits)
    there = heat.eq(1).float()
    hit = there * (1 - p) ** 2 * F.logsigmoid(logits)
    miss = (1 - there) * (1 - heat) ** 4 * p**2 * F.logsigmoid(-logits)
    return -(hit + miss).sum() / there.sum().clamp(min=1)


def loss(
    answer: tuple[Tensor, Tensor, Tensor], truth: tuple[Tensor, Tensor, Tensor], kinds: Int[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Of the three answers together."""
    logits, offsets, kind = answer
    heat, offset, known = truth
    inside = (known * (offsets - offset).abs()).sum() / known.sum().clamp(min=1)
    return focal_loss(logits, heat) + 0.5 * inside + 0.5 * F.cross_entropy(kind, kinds)


def peaks(
    heat: Float[np.ndarray, "H W"], offset: Float[np.ndarray, "2 H W"], least: float = 0.3
) -> list[tuple[float, float, float]]:
    """The marks of one heat map.

    Args:
        heat: how likely a mark is in each cell, from 0 to 1.
        offset: where inside its cell it would be, (across, down), each from 0 to 1.
        least: peaks below it are none.

    Returns:
        (x, y, heat) of each, the hottest first; x and y in the network's pixels, CELL to a cell.
    """
    # exercise 2: the peaks of a heat map
    # heat (H, W) from 0 to 1, offset (2, H, W) and least -> a list of (x, y, heat), floats, the hottest first. A peak
    # is a cell with at least `least` that no cell around it (up to eight, fewer at the rim) exceeds; of neighbours that
    # are equally hot, the first by rows, then columns, is one, and the others are none. Its place is CELL * (column +
    # offset[0]) across and CELL * (row + offset[1]) down, with the offset of that very cell.
    # hint: pad with -inf, and compare with the maximum over the 3 x 3 around each cell (np.lib.stride_tricks.
    # sliding_window_view). Go through the cells by falling heat (a stable argsort), and pass over one beside a kept one
    # of the same heat.
    around = np.lib.stride_tricks.sliding_window_view(np.pad(heat, 1, constant_values=-np.inf), (3, 3))
    rows, columns = np.nonzero((heat >= least) & (heat >= around.max(axis=(2, 3))))
    found: list[tuple[float, float, float]] = []
    kept: set[tuple[int, int]] = set()
    for n in np.argsort(-heat[rows, columns], kind="stable"):
        row, column = int(rows[n]), int(columns[n])
        if any((row + down, column + right) in kept for down in (-1, 0, 1) for right in (-1, 0, 1)):
            continue
        kept.add((row, column))
        x, y = CELL * (column + offset[0, row, column]), CELL * (row + offset[1, row, column])
        found.append((float(x), float(y), float(heat[row, column])))
    return found
    # end of exercise 2
