"""The week's drawings: first-layer weights, confusion matrix, mistakes, decision boundaries."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from shared.plots import BLUE, GREY, INK, ORANGE, figure, images
from week01_numpy_mlp.model import MLP

HEADING = {"x": 0.01, "ha": "left", "fontweight": "bold", "fontsize": 11}


def first_layer(path: Path, model: MLP, shape: tuple[int, ...], count: int = 32) -> None:
    """What each of the first hidden neurons looks for: its incoming weights drawn as an image.

    Blue pixels speak for the neuron, orange ones against it. The largest weight vectors are shown.
    """
    from matplotlib.colors import LinearSegmentedColormap

    weights = model.layers[0].W
    strongest = np.argsort(-np.linalg.norm(weights, axis=0))[:count]
    both = LinearSegmentedColormap.from_list("both", [ORANGE, "#FBFAF6", BLUE])
    with figure(path, rows=4, columns=8, size=(8.0, 4.2)) as (drawing, axes):
        drawing.suptitle(f"What {len(strongest)} neurons of the first layer look for", **HEADING)
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, neuron in zip(axes.flat, strongest, strict=False):
            weight = weights[:, neuron].reshape(shape)
            weight = weight.mean(axis=-1) if weight.ndim == 3 else weight
            limit = np.abs(weight).max() or 1.0
            images(axis, weight, cmap=both, vmin=-limit, vmax=limit)


def confusion(path: Path, matrix: Int[np.ndarray, "classes classes"], classes: Sequence[str]) -> None:
    """Who is taken for whom: rows are the true classes, columns what was thought; only what is wrong has a colour."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    side = max(4.6, 0.42 * len(classes) + 1)
    with figure(path, size=(side + 0.6, side)) as (_, axis):
        axis.imshow(wrong, cmap="Oranges", vmin=0, vmax=max(1, wrong.max()))
        axis.set(title="Mistakes: true class (row) taken for (column)", xlabel="thought to be", ylabel="is")
        axis.set_xticks(range(len(classes)), classes, rotation=0 if max(map(len, classes)) < 3 else 60)
        axis.set_yticks(range(len(classes)), classes)
        axis.grid(False)
        for row, column in np.argwhere(matrix):
            shade = wrong[row, column] > 0.6 * max(1, wrong.max())
            colour = GREY if row == column else ("white" if shade else INK)
            axis.text(column, row, str(matrix[row, column]), ha="center", va="center", fontsize=8, color=colour)


def mistakes(path: Path, pictures: UInt8[np.ndarray, "n H W *C"], titles: Sequence[str]) -> None:
    """Images with a title above each, at most 24 of them, in the order given.

    Args:
        path: where the PNG goes.
        pictures: the images, grey or in colour.
        titles: one for each, as "4 → 9  97%": what it is, what was thought, and how surely.
    """
    with figure(path, rows=3, columns=8, size=(8.0, 3.9)) as (drawing, axes):
        drawing.suptitle("Surest mistakes: what it is → what was thought", **HEADING)
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, picture, title in zip(axes.flat, pictures, titles, strict=False):
            images(axis, picture, title, cmap="gray_r")


def boundary(axis: Any, decide: Callable[[np.ndarray], np.ndarray], x: np.ndarray, y: np.ndarray, title: str) -> None:
    """Shades where `decide` (points (N, 2) to values 0..1) says 1, and draws the examples x (N, 2) of class y (N,)."""
    from matplotlib.colors import LinearSegmentedColormap

    side = np.linspace(-0.5, 1.5, 200)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    two = LinearSegmentedColormap.from_list("two", ["#F6D9A8", "#FBFAF6", "#A9CDE6"])
    axis.imshow(decide(grid).reshape(200, 200), extent=(-0.5, 1.5, -0.5, 1.5), origin="lower", cmap=two, vmin=0, vmax=1)
    for value, colour, marker in ((0, ORANGE, "o"), (1, BLUE, "s")):
        points = x[y == value]
        axis.scatter(*points.T, c=colour, s=90, marker=marker, edgecolors=INK, label=str(value), zorder=3)
    axis.set(title=title, xticks=[0, 1], yticks=[0, 1])
    axis.grid(False)
