"""The week's pictures of reviews: accuracy bars, the verdict word by word, gates over a sentence."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared.plots import BLUE, GREY, INK, ORANGE, figure, short


def bars(path: Path, rows: Sequence[Mapping[str, Any]], metric: str, name: str) -> None:
    """The accuracy of the network beside its baselines.

    Args:
        path: where the PNG goes.
        rows: {name, metric: share}, the network first.
        metric: val_accuracy or test_accuracy.
        name: of the reviews.
    """
    names, values = zip(*((row["name"], row[metric]) for row in reversed(rows)), strict=True)
    with figure(path, size=(6.4, 2.6)) as (_, axis):
        drawn = axis.barh(names, [100 * value for value in values], color=[GREY] * (len(rows) - 1) + [BLUE])
        axis.bar_label(drawn, [f"{value:.1%}" for value in values], padding=4)
        axis.set(title=f"{metric.replace('_', ' ').capitalize()} on {short(Path(name).name)}", xlim=(0, 108))
        axis.set_xticks([0, 50, 100], ["0 %", "50 %", "100 %"])
        axis.grid(axis="y", visible=False)


def word_by_word(words: Sequence[str], positive: np.ndarray, path: Path, most: int = 60) -> None:
    """The probability of positive after each word, as a curve over the words themselves.

    Args:
        words: in the order in which they were read.
        positive: (N,) the probability of positive after each of them.
        path: where the PNG goes.
        most: how many words to draw; of a longer text the part in which the verdict moves most.
    """
    words, positive = list(words), np.asarray(positive)
    title = "The verdict, word by word"
    if len(words) > most:
        moves = np.convolve(np.abs(np.diff(positive, prepend=0.5)), np.ones(most), mode="valid")
        start = int(moves.argmax())
        title += f" (words {start + 1} to {start + most} of {len(words)})"
        words, positive = words[start : start + most], positive[start : start + most]
    at = np.arange(len(words))
    with figure(path, size=(max(6.4, 0.19 * len(words) + 1), 3.4)) as (_, axis):
        axis.fill_between(at, 0.5, positive, where=positive >= 0.5, color=BLUE, alpha=0.25, interpolate=True)
        axis.fill_between(at, 0.5, positive, where=positive <= 0.5, color=ORANGE, alpha=0.35, interpolate=True)
        axis.plot(at, positive, color=INK, marker="o", markersize=3)
        axis.axhline(0.5, color=GREY, linewidth=1)
        axis.set(title=title, ylabel="probability of positive", ylim=(-0.02, 1.02), xlim=(-0.7, len(words) - 0.3))
        axis.set_xticks(at, words, rotation=90, fontsize=9)
        axis.grid(axis="x", visible=False)


def gates(words: Sequence[str], opened: Mapping[str, np.ndarray], path: Path, units: int = 24) -> None:
    """What an LSTM's gates and cell do over a sentence: a row per unit, a column per word.

    Args:
        words: (T,) as they were read.
        opened: the gates input, forget and output (from 0, shut, to 1, open) and the cell, each (T, H).
        path: where the PNG goes.
        units: how many of the H units to show: those whose cell moves most, in the order in which they end up.
    """
    from matplotlib.colors import LinearSegmentedColormap

    cell = opened["cell"]
    moving = np.argsort(-np.abs(np.diff(cell, axis=0)).sum(axis=0))[:units]
    moving = moving[np.argsort(cell[-1, moving])]
    both = LinearSegmentedColormap.from_list("both", [ORANGE, "#FBFAF6", BLUE])
    titles = {"input": "Input gate", "forget": "Forget gate", "output": "Output gate", "cell": "Cell"}
    width = max(8.0, 0.36 * len(words) + 2)
    with figure(path, rows=2, columns=2, size=(width, 6.4)) as (drawing, axes):
        for axis, (name, title) in zip(axes.flat, titles.items(), strict=True):
            shown = opened[name][:, moving].T
            limit = max(1.0, float(np.abs(shown).max())) if name == "cell" else 1.0
            scale = {"cmap": both, "vmin": -limit, "vmax": limit} if name == "cell" else {"cmap": "cividis"}
            scale = {"vmin": 0, "vmax": 1} | scale
            drawn = axis.imshow(shown, aspect="auto", interpolation="nearest", **scale)
            axis.set(title=title, yticks=[])
            axis.set_xticks(range(len(words)), words, rotation=90, fontsize=8)
            axis.grid(False)
            drawing.colorbar(drawn, ax=axis, fraction=0.04, pad=0.01)
        for axis in axes[:, 0]:
            axis.set_ylabel(f"{len(moving)} units")
