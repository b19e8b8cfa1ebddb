"""This week's pictures: patches, where the network and each of its heads looks, how sure it may be."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from shared.plots import BLUE, GREY, HEADING, INK, ORANGE, VERMILLION, figure, images

Grey = UInt8[np.ndarray, "H W"]
Maps = Float[np.ndarray, "h w"]


def spaced(cut: UInt8[np.ndarray, "rows columns patch patch"], gap: int = 2) -> Grey:
    """Patches beside each other with some paper in between."""
    rows, columns, patch, _ = cut.shape
    wide = np.pad(cut, ((0, 0), (0, 0), (0, gap), (0, gap)), constant_values=251)
    return wide.swapaxes(1, 2).reshape(rows * (patch + gap), columns * (patch + gap))  # (rows, columns, …) -> (H, W)


def patches(path: Path, picture: Grey, patch: int, shown: int = 14) -> None:
    """A picture, the patches that it is cut into, and some of them in the row that the encoder reads."""
    rows, columns = picture.shape[0] // patch, picture.shape[1] // patch
    cut = picture.reshape(rows, patch, columns, patch).swapaxes(1, 2)  # (rows, columns, patch, patch)
    first = max(0, min(2 * columns, rows * columns - shown))
    line = cut.reshape(1, rows * columns, patch, patch)[:, first : first + shown]  # (1, shown, patch, patch)
    with figure(path, size=(8.4, 3.9)) as (drawing, axes):
        axes.remove()
        grid, limits = drawing.add_gridspec(2, 2, height_ratios=(3.2, 1)), {"vmin": 0, "vmax": 255}
        images(drawing.add_subplot(grid[0, 0]), picture, f"{picture.shape[0]} x {picture.shape[1]} pixels", **limits)
        title = f"{rows} x {columns} = {rows * columns} patches of {patch} x {patch}"
        images(drawing.add_subplot(grid[0, 1]), spaced(cut), title, **limits)
        words = f"tokens {first + 1} to {first + line.shape[1]} of the sequence (token 0 is CLS)"
        images(drawing.add_subplot(grid[1, :]), spaced(line), words, **limits)


def ellipse(axis: Any, spot: Float[np.ndarray, " 5"], side: int, colour: str) -> None:
    """The edge of an opacity, where a picture of so many pixels is shown."""
    from matplotlib.patches import Ellipse

    row, column, high, wide, angle = map(float, spot)
    middle = side * column - 0.5, side * row - 0.5
    shape = Ellipse(middle, 2 * side * wide, 2 * side * high, angle=np.degrees(angle), fill=False, ec=colour, lw=1.4)
    axis.add_patch(shape)


def rollout(
    path: Path,
    pictures: UInt8[np.ndarray, "n H W"],
    spots: Float[np.ndarray, "n most 5"],
    rows: Sequence[tuple[str, Float[np.ndarray, "n h w"]]],
) -> None:
    """Pictures with what they have outlined, and under each where it is looked, in a row for each of several who look;
    a square on the hottest patch."""
    count, side = len(pictures), pictures.shape[1]
    with figure(path, 1 + len(rows), count, (1.35 * count + 0.5, 1.42 * (1 + len(rows)) + 0.3)) as (drawing, axes):
        for n in range(count):
            images(axes[0, n], pictures[n], vmin=0, vmax=255)
            for line, (_, maps) in enumerate(rows, 1):
                images(axes[line, n], pictures[n], vmin=0, vmax=255)
                heat, cell = maps[n] / maps[n].max(), side / maps.shape[1]
                extent = (-0.5, side - 0.5, side - 0.5, -0.5)
                axes[line, n].imshow(heat, cmap="inferno", alpha=0.62, extent=extent, interpolation="bilinear")
                y, x = np.unravel_index(maps[n].argmax(), maps[n].shape)
                axes[line, n].plot((x + 0.5) * cell - 0.5, (y + 0.5) * cell - 0.5, "s", ms=6, mfc="none", mec="white")
            for spot in spots[n][np.isfinite(spots[n][:, 0])]:
                for line in range(1 + len(rows)):
                    ellipse(axes[line, n], spot, side, "#00E5FF")
        for line, name in enumerate(["synthetic radiograph", *(name for name, _ in rows)]):
            axes[line, 0].text(-0.06, 0.5, name, rotation=90, va="center", ha="right", fontsize=8, color=INK,
                               transform=axes[line, 0].transAxes)  # fmt: skip
        drawing.suptitle("Where does it look? Blue: where the opacity is", **HEADING)


def heads(
    path: Path, picture: Grey, maps: Float[np.ndarray, "blocks heads h w"],
    spots: Float[np.ndarray, "most 5"] | None = None,
) -> None:  # fmt: skip
    """A picture, with what it has outlined, and what each head of each block looks at in it."""
    blocks, count = maps.shape[:2]
    size = (1.25 * (count + 1) + 0.4, 1.3 * blocks + 0.4)
    with figure(path, blocks, count + 1, size) as (drawing, axes):
        axes = axes.reshape(blocks, count + 1)  # of one block they come in a row
        for axis in axes[:, 0]:
            axis.set_axis_off()
        images(axes[0, 0], picture, vmin=0, vmax=255)
        for spot in [] if spots is None else spots[np.isfinite(spots[:, 0])]:
            ellipse(axes[0, 0], spot, len(picture), "#00E5FF")
        for block in range(blocks):
            for head in range(count):
                title = f"head {head + 1}" if block == 0 else ""
                images(axes[block, head + 1], maps[block, head], title, cmap="inferno")
            axes[block, 1].text(-0.08, 0.5, f"block {block + 1}", rotation=90, va="center", ha="right", fontsize=8,
                                transform=axes[block, 1].transAxes)  # fmt: skip
        drawing.suptitle("What the heads look at", **HEADING)


def reliability(path: Path, rows: Sequence[dict[str, Any]], error: float, total: int) -> None:
    """How sure the network was, and how often it was right: on the diagonal the two are equal."""
    with figure(path, size=(4.6, 3.7)) as (_, axis):
        axis.plot((0.5, 1), (0.5, 1), color=GREY, linestyle="--", linewidth=1.2)
        sure, right = [row["sure"] for row in rows], [row["right"] for row in rows]
        axis.vlines(sure, np.minimum(sure, right), np.maximum(sure, right), color=VERMILLION, linewidth=1.4)
        axis.plot(sure, right, "-", color=BLUE, linewidth=1)
        axis.scatter(
            sure, right, [20 + 700 * row["count"] / total for row in rows], color=ORANGE, edgecolor=INK, zorder=3
        )
        for row in rows:
            place = (row["sure"], row["right"])
            axis.annotate(row["count"], place, xytext=(9, -12), textcoords="offset points", fontsize=8)
        axis.set(xlim=(0.48, 1.02), ylim=(0, 1.08), xlabel="how sure it was", ylabel="how often it was right")
        axis.set_title(f"Calibration: off by {error:.3f} in the mean")
