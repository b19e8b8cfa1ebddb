"""The week's pictures: learning curves, first-layer weights, confusion matrix, mistakes, decision boundaries."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared.plots import BLUE, GREY, INK, ORANGE, figure, images
from shared.progress import read_metrics
from week01_numpy_mlp.model import MLP

HEADING = {"x": 0.01, "ha": "left", "fontweight": "bold", "fontsize": 11}


def history(run: Path) -> list[dict]:
    """The lines of a run's metrics.jsonl, one per epoch."""
    return read_metrics(run / "metrics.jsonl")


def curves(run: Path, path: Path) -> None:
    """Loss and accuracy over the epochs. Where the two losses part, the network begins to learn by heart."""
    rows = history(run)
    epochs = [row["epoch"] for row in rows]
    with figure(path, columns=2, size=(8.0, 3.2)) as (_, (left, right)):
        left.plot(epochs, [row["train_loss"] for row in rows], label="training", color=BLUE)
        left.plot(epochs, [row["val_loss"] for row in rows], label="validation", color=ORANGE)
        left.set(title="Loss", xlabel="epoch", yscale="log")
        left.legend()
        right.plot(epochs, [100 * row["val_accuracy"] for row in rows], color=ORANGE)
        right.set(title="Validation accuracy (%)", xlabel="epoch")


def first_layer(model: MLP, shape: tuple[int, ...], path: Path, count: int = 32) -> None:
    """What each of the first hidden neurons looks for: its incoming weights drawn as an image.

    Blue pixels speak for the neuron, orange ones against it. The largest weight vectors are shown.
    """
    from matplotlib.colors import LinearSegmentedColormap

    weights = model.layers[0].W
    strongest = np.argsort(-np.linalg.norm(weights, axis=0))[:count]
    both = LinearSegmentedColormap.from_list("both", [ORANGE, "#FBFAF6", BLUE])
    with figure(path, rows=4, columns=8, size=(8.0, 4.2)) as (drawing, axes):
        drawing.suptitle("What 32 neurons of the first layer look for", **HEADING)
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, neuron in zip(axes.flat, strongest, strict=False):
            weight = weights[:, neuron].reshape(shape)
            weight = weight.mean(axis=-1) if weight.ndim == 3 else weight
            limit = np.abs(weight).max() or 1.0
            images(axis, weight, cmap=both, vmin=-limit, vmax=limit)


def confusion(matrix: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """Who is taken for whom: rows are the true classes, columns what was thought; only what is wrong has a colour."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    side = max(4.6, 0.42 * len(classes) + 1)
    with figure(path, size=(side + 0.6, side)) as (_, axis):
        axis.imshow(wrong, cmap="Oranges")
        axis.set(title="Mistakes: true class (row) taken for (column)", xlabel="thought to be", ylabel="is")
        axis.set_xticks(range(len(classes)), classes, rotation=0 if max(map(len, classes)) < 3 else 60)
        axis.set_yticks(range(len(classes)), classes)
        axis.grid(False)
        for row, column in np.argwhere(matrix):
            right = row == column
            shade = wrong[row, column] > 0.6 * max(1, wrong.max())
            colour = GREY if right else ("white" if shade else INK)
            axis.text(column, row, str(matrix[row, column]), ha="center", va="center", fontsize=8, color=colour)


def mistakes(
    pictures: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    path: Path,
    count: int = 24,
) -> None:
    """The mistakes that the network was surest of.

    Args:
        pictures: (N, H, W[, C]) uint8.
        labels: (N,) true classes.
        probabilities: (N, classes) as the network gave them.
        classes: their names.
        path: where the PNG goes.
        count: how many at most.
    """
    thought = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(thought != labels)
    wrong = wrong[np.argsort(-probabilities[wrong, thought[wrong]])][:count]
    with figure(path, rows=3, columns=8, size=(8.0, 3.9)) as (drawing, axes):
        drawing.suptitle("Surest mistakes: what it is → what was thought", **HEADING)
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, i in zip(axes.flat, wrong, strict=False):
            sure = probabilities[i, thought[i]]
            images(axis, pictures[i], f"{classes[labels[i]]} → {classes[thought[i]]}  {sure:.0%}", cmap="gray_r")


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
