"""This week's pictures: who finds what, how sure the bot is of what it refuses, what chunk sizes come to."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from shared.plots import BLUE, GREEN, GREY, HEADING, INK, ORANGE, PURPLE, SKY, VERMILLION, figure
from week11_rag.answer import Answer
from week11_rag.data import Question

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, GREY)


def kinds(path: Path, by_method: Mapping[str, Mapping[str, float]]) -> None:
    """hit@5 of each kind of question, a bar a method."""
    names = list(dict.fromkeys(kind for found in by_method.values() for kind in found))
    width = 0.8 / max(1, len(by_method))
    with figure(path, size=(7.2, 3.3)) as (drawing, axis):
        for place, ((method, found), colour) in enumerate(zip(by_method.items(), COLOURS, strict=False)):
            at = np.arange(len(names)) + (place - (len(by_method) - 1) / 2) * width
            bars = axis.bar(at, [100 * found.get(kind, 0.0) for kind in names], width, color=colour, label=method)
            axis.bar_label(bars, fmt="%.0f", fontsize=8)
        axis.set_xticks(range(len(names)), names)
        axis.set(ylim=(0, 109), ylabel="hit@5, %")
        axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=len(by_method))
        drawing.suptitle("Questions of which a right passage is among the first five", **HEADING)


def support(path: Path, answers: Sequence[Answer], questions: Sequence[Question], threshold: float) -> None:
    """How probable it is thought that the passages have the answer: of questions that have one, and of others."""
    edges = np.linspace(0, 1, 21)
    with figure(path, size=(7.2, 3.0)) as (drawing, axis):
        both = [[a.support.probability for a, q in zip(answers, questions, strict=True)
                 if a.support and q.answerable is answerable] for answerable in (True, False)]  # fmt: skip
        axis.hist(both, edges, color=(GREEN, VERMILLION), label=("has an answer", "has none"), stacked=True)
        axis.axvline(threshold, color=INK, linestyle="--", linewidth=1.2)
        axis.annotate("refused ", (threshold, 0.94), xycoords=("data", "axes fraction"), ha="right", fontsize=8)
        axis.annotate(" answered", (threshold, 0.94), xycoords=("data", "axes fraction"), fontsize=8)
        axis.set(xlim=(0, 1), xlabel="probability that the passages have the answer", ylabel="questions")
        axis.legend(fontsize=8, loc="upper center")
        drawing.suptitle("What is refused", **HEADING)


def sizes(path: Path, found: Mapping[str, Sequence[tuple[int, float, float]]]) -> None:
    """hit@5 and MRR over the size of the chunks; a line a method of (size, hit@5, MRR)."""
    with figure(path, columns=2, size=(8.4, 3.3)) as (drawing, axes):
        for method, colour in zip(found, COLOURS, strict=False):
            rows = sorted(found[method])
            for axis, column in zip(axes, (1, 2), strict=True):
                points = [row[0] for row in rows], [row[column] for row in rows]
                axis.plot(*points, "o-", ms=4, color=colour, label=method)
        for axis, title in zip(axes, ("hit@5", "MRR"), strict=True):
            axis.set_xscale("log", base=2)
            ticks = sorted({row[0] for rows in found.values() for row in rows})
            axis.set_xticks(ticks, map(str, ticks))
            axis.set(title=title, xlabel="tokens of a chunk")
        axes[0].legend(fontsize=8)
        drawing.suptitle("Small chunks or large ones? (val)", **HEADING)
