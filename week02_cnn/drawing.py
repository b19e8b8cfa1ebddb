"""The week's drawings: kernels, feature maps, receptive field, deeper against wider."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from shared.plots import BLUE, COLOURS, GREY, HEADING, ORANGE, SKY, VERMILLION, band, figure, images
from week02_cnn import data
from week02_cnn.model import ConvNet, ConvNetConfig, layer_table, steps

# ---------------------------------------------------------------- what a network sees


def as_input(
    photograph: UInt8[np.ndarray, "H W 3"], mean: Float[np.ndarray, " 3"], std: Float[np.ndarray, " 3"]
) -> Float[Tensor, "1 3 H W"]:
    """One photograph as a network is shown it."""
    batch, _ = data.tensors(data.Part(photograph[None], np.zeros(1, np.int64)))
    return data.normalise(batch, torch.from_numpy(mean), torch.from_numpy(std))


@torch.no_grad()
def filters(
    path: Path,
    photograph: UInt8[np.ndarray, "H W 3"],
    model: ConvNet,
    mean: Float[np.ndarray, " 3"],
    std: Float[np.ndarray, " 3"],
    count: int = 16,
) -> None:
    """The largest kernels of the first layer, and beside each what it makes of a photograph: blue is yes, orange no.

    A kernel is drawn as a picture: grey is 0, a colour is what it looks for. Each is scaled on its own, and so is each
    map: with batch norm behind it the size of a kernel means nothing.
    """
    from matplotlib.colors import LinearSegmentedColormap

    conv = model.cpu().features[0].conv
    kernels, maps = conv.weight, conv(as_input(photograph, mean, std))[0]  # (C, 3, h, w), (C, H, W)
    strongest = kernels.flatten(1).norm(dim=1).argsort(descending=True)[:count].tolist()
    both = LinearSegmentedColormap.from_list("both", [ORANGE, "#FBFAF6", BLUE])
    rows = -(-len(strongest) // 4)
    with figure(path, rows, 8, size=(8.0, 0.4 + 1.02 * rows)) as (drawing, axes):
        drawing.suptitle("What kernels of the first layer look for, and where they find it", **HEADING)
        for axis in axes.flat:
            axis.set_axis_off()
        for number, left, right in zip(strongest, axes.flat[::2], axes.flat[1::2], strict=False):
            kernel, found = kernels[number].permute(1, 2, 0).numpy(), maps[number].numpy()  # (h, w, 3), (H, W)
            images(left, 0.5 + 0.5 * kernel / (np.abs(kernel).max() or 1.0))
            limit = np.abs(found).max() or 1.0
            images(right, found, cmap=both, vmin=-limit, vmax=limit)


@torch.no_grad()
def feature_maps(
    path: Path,
    photograph: UInt8[np.ndarray, "H W 3"],
    model: ConvNet,
    mean: Float[np.ndarray, " 3"],
    std: Float[np.ndarray, " 3"],
    count: int = 10,
) -> None:
    """One photograph on its way through the layers: the liveliest channels after every step, bright where they fire."""
    x = as_input(photograph, mean, std)
    model = model.cpu().eval()
    rows = layer_table(model.config)[:-1]  # without the linear layer, which has no maps
    with figure(path, len(rows) + 1, count + 1, size=(8.4, 0.4 + 0.72 * (len(rows) + 1))) as (drawing, axes):
        drawing.suptitle("A photograph on its way through the network", **HEADING)
        for axis in axes.flat:
            axis.set_axis_off()
        images(axes[0, 1], photograph)
        labels = [f"photograph\n3 x {len(photograph)} x {len(photograph)}"]
        for row, layer, line in zip(rows, model.features, axes[1:], strict=True):
            x = layer(x)  # (1, C, H, W)
            labels.append(f"{row.name}\n{' x '.join(map(str, row.shape))}")
            liveliest = x[0].flatten(1).std(dim=1, correction=0).argsort(descending=True)
            for axis, channel in zip(line[1:], liveliest.tolist(), strict=False):
                images(axis, x[0, channel].numpy(), cmap="magma", vmin=0)
        for axis, label in zip(axes[:, 0], labels, strict=True):
            axis.text(1.0, 0.5, label, transform=axis.transAxes, fontsize=7, ha="right", va="center")


def field_box(config: ConvNetConfig, layers: int, row: int, column: int) -> tuple[float, float, int]:
    """Where in the image the number at (row, column) of a map looks: (left, top, side), in pixels.

    The first pixel's corner is (0, 0). Parts of the field may lie outside the image, where there are zeros.
    """
    seen, apart, start = 1, 1, 0.5  # start: the centre of the field of the number at (0, 0)
    for step in steps(config)[:layers]:
        padding = 1 if step.kind == "conv" else 0
        start += ((step.size - 1) / 2 - padding) * apart
        seen += (step.size - 1) * apart
        apart *= step.stride
    return start + column * apart - seen / 2, start + row * apart - seen / 2, seen


def influence(
    model: ConvNet, batch: Float[Tensor, "N 3 H W"], layers: int, row: int, column: int
) -> Float[np.ndarray, "H W"]:
    """How much each pixel moves the number at (row, column) of the maps after `layers` steps, on average.

    It is the size of the gradient, summed over the colours: the effective receptive field (Luo et al.,
    arXiv:1701.04128, section 2), which is smaller than what a number could see.
    """
    model = model.cpu().eval()
    batch = batch.clone().requires_grad_()
    maps = model.features[:layers](batch)  # (N, C, H_out, W_out)
    (gradient,) = torch.autograd.grad(maps[:, :, row, column].sum(), batch)
    return gradient.abs().sum(dim=1).mean(dim=0).numpy()  # (N, 3, H, W) -> (H, W)


def receptive_field(
    path: Path,
    photograph: UInt8[np.ndarray, "H W 3"],
    model: ConvNet,
    mean: Float[np.ndarray, " 3"],
    std: Float[np.ndarray, " 3"],
    others: UInt8[np.ndarray, "N H W 3"],
) -> None:
    """How much of a photograph one number sees: as boxes after several layers, and pixel by pixel.

    Args:
        path: where the PNG goes.
        photograph: what the boxes are drawn on.
        model: whose layers.
        mean, std: of the training images.
        others: photographs over which the influence of the pixels is averaged.
    """
    from matplotlib.patches import Rectangle

    table = layer_table(model.config)
    convs = [number for number, row in enumerate(table, 1) if row.name.startswith("conv")]
    ends = np.cumsum(model.config.stages) - 1  # the last convolution of every stage
    shown = sorted({convs[0], *(convs[end] for end in ends)})
    batch = torch.cat([as_input(other, mean, std) for other in others])
    side = len(photograph)
    with figure(path, columns=1 + len(shown), size=(2.0 + 1.6 * len(shown), 2.5)) as (drawing, (first, *rest)):
        drawing.suptitle("What one number sees: at most the box, in effect what is dark", **HEADING)
        boxes = []
        for layers, colour, axis in zip(shown, COLOURS, rest, strict=False):
            name, (_, height, width), *_ = table[layers - 1]
            left, top, size = box = field_box(model.config, layers, height // 2, width // 2)
            boxes.append(box)
            for where in (first, axis):
                where.add_patch(Rectangle((left, top), size, size, fill=False, edgecolor=colour, linewidth=1.8))
            heat = influence(model, batch, layers, height // 2, width // 2)
            images(axis, heat, cmap="Greys", extent=(0, side, side, 0), vmin=0, vmax=np.quantile(heat, 0.999) or 1)
            axis.set_title(f"after {name}: {size} px", fontsize=9, loc="center", color=colour)
        images(first, photograph, extent=(0, side, side, 0))
        margin = max(0, *(-corner for left, top, _ in boxes for corner in (left, top)))
        margin = max(margin, *(corner + size - side for left, top, size in boxes for corner in (left, top))) + 0.6
        for axis in (first, *rest):
            axis.set(xlim=(-margin, side + margin), ylim=(side + margin, -margin))
            axis.add_patch(Rectangle((0, 0), side, side, fill=False, edgecolor=GREY, linewidth=0.6))


# ---------------------------------------------------------------- compare.py's pictures

Lines = Sequence[Mapping[str, Any]]
"""The lines of one of compare.py's tables."""


def depth_or_width(path: Path, tables: Mapping[str, Lines]) -> None:
    """Accuracy over depth at an equal budget, mean and standard deviation over the seeds, with the width at each point.

    Args:
        path: where the PNG goes.
        tables: compare.py's lines under "flops" and "params", or one of the two.
    """
    titles = {"flops": "Equal FLOPs", "params": "Equal parameters"}
    with figure(path, columns=len(tables), size=(4.4 * len(tables), 3.6)) as (_, axes):
        axes = np.atleast_1d(axes)
        for axis, (part, lines) in zip(axes, tables.items(), strict=True):
            budget = np.mean([line["flops"] for line in lines]) / 1e6
            budget = f"{budget:.1f} MFLOPs" if part == "flops" else f"{np.mean([ln['params'] for ln in lines]):,.0f}"
            lines = [line for line in lines if line["diverged"] < line["seeds"]]
            depths = [line["depth"] for line in lines]
            for metric, colour, label in (("val", SKY, "validation"), ("test", BLUE, "test")):
                means = [100 * line[f"{metric}_accuracy"] for line in lines]
                spread = [100 * line[f"{metric}_accuracy_std"] for line in lines]
                axis.errorbar(depths, means, spread, color=colour, label=label, marker="o", markersize=5, capsize=3)
            for line in lines:
                lowest = min(100 * (line[f"{m}_accuracy"] - line[f"{m}_accuracy_std"]) for m in ("val", "test"))
                axis.annotate(
                    f"width\n{line['width']}", (line["depth"], lowest), (0, -5), textcoords="offset points",
                    ha="center", va="top", fontsize=7, color=GREY,
                )  # fmt: skip
            axis.set(title=f"{titles[part]} ({budget})", xlabel="depth (convolutions)", ylabel="accuracy (%)")
            axis.set_xscale("log")
            axis.set_xticks(depths, map(str, depths))
            axis.minorticks_off()
            axis.margins(x=0.1, y=0.25)
            axis.legend()


def norm(path: Path, lines: Lines) -> None:
    """Validation accuracy over the epochs with and without batch norm, one panel a depth."""
    depths = sorted({line["depth"] for line in lines})
    with figure(path, columns=len(depths), size=(3.2 * len(depths) + 0.4, 3.4)) as (_, axes):
        axes = np.atleast_1d(axes)
        for axis, depth in zip(axes, depths, strict=True):
            for line in lines:
                if line["depth"] == depth:
                    name, colour = line["name"].partition(", ")[2], (BLUE if line["norm"] else ORANGE)
                    style = {"color": VERMILLION, "linestyle": "--"} if name.endswith("same lr") else {"color": colour}
                    draw_curves(axis, line, f"{name}, lr {line['lr']:g}", style)
            axis.set(title=f"Depth {depth}", xlabel="epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.legend(fontsize=7)
        axes[0].set_ylabel("validation accuracy (%)")
        low, high = (end([axis.get_ylim()[i] for axis in axes]) for i, end in ((0, min), (1, max)))
        for axis in axes:
            axis.set_ylim(low, high)


def draw_curves(axis: Any, line: Mapping[str, Any], label: str, style: Mapping[str, Any]) -> None:
    """One line's validation accuracy over the epochs, mean and range over its seeds; those that diverged are named."""
    if line["diverged"]:
        label += f", {line['diverged']} of {line['seeds']} diverged"
    if curves := line["val_curves"]:
        band(
            axis,
            range(1, len(curves[0]) + 1),
            [[100 * v for v in curve] for curve in curves],
            label,
            marker=".",
            **style,
        )
    else:
        axis.plot([], [], label=label, **style)
