"""The week's drawings: first-layer weights, confusion matrix, mistakes, decision boundaries."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from shared.plots import BLUE, INK, ORANGE, figure, images
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
