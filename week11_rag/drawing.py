"""This week's pictures: who finds what, how sure the bot is of what it refuses, what chunk sizes come to."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared.plots import BLUE, GREEN, GREY, HEADING, INK, ORANGE, PURPLE, SKY, VERMILLION, figure, short
from week11_rag.answer import Answer
from week11_rag.data import Question
from week11_rag.pages import Box
from week11_rag.retrieve import Passage

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
        axis.legend(fontsize=8, loc="upper left")
        drawing.suptitle("What is refused", **HEADING)


def sizes(path: Path, found: Mapping[str, Sequence[tuple[int, float, float]]]) -> None:
    """hit@5 and MRR over the size of the chunks; a line a method of (size, hit@5, MRR)."""
    with figure(path, columns=2, size=(9.6, 3.3)) as (drawing, axes):
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
        axes[1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
        drawing.suptitle("Small chunks or large ones? (val)", **HEADING)


def fusion(
    path: Path, question: str, passages: Sequence[Passage], right: Collection[str], shown: int = 8, deep: int = 12
) -> None:  # fmt: skip
    """Where the best passages stand in each ranking, and where in the fused one; those with the answer in colour."""
    names = {"dense": "chunks", "sentence": "sentences", "bm25": "words (BM25)", "fused": "fused"}
    with figure(path, size=(7.2, 3.7)) as (drawing, axis):
        for passage in reversed(passages[:shown]):
            good = passage.chunk.id in right
            style = {"color": GREEN, "linewidth": 2.8, "zorder": 3} if good else {"color": "#A9ADB3", "linewidth": 1.2}
            ranks = [passage.why.get(name) for name in names]
            at = [min(float(rank or deep + 1), deep + 1) for rank in ranks]
            axis.plot(range(4), at, "o-", ms=7 if good else 4, **style)
            words = short(passage.chunk.headings[-1] if passage.chunk.headings else passage.chunk.text)
            look = {"color": GREEN, "fontweight": "bold"} if good else {"color": GREY}
            axis.annotate(f"  {words}", (3, at[3]), va="center", fontsize=8, **look)
        axis.set_xticks(range(4), names.values())
        axis.set(xlim=(-0.2, 4.9), ylim=(deep + 1.5, 0.4), ylabel="rank")
        axis.set_yticks([1, *range(2, deep + 1, 2), deep + 1], [1, *range(2, deep + 1, 2), f"> {deep}"])
        axis.grid(axis="x", visible=False)
        drawing.suptitle(question, **HEADING)


def page(
    path: Path, image: Any, boxes: Sequence[Box], scale: float, said: Sequence[tuple[str, str, str]]
) -> None:  # fmt: skip
    """A part of a page with what was quoted marked on it, and beside it questions, answers and their sources.

    Args:
        path: where the PNG goes.
        image: of the page, as a PIL image.
        boxes: what is marked, in points from the lower left corner.
        scale: pixels a point.
        said: (question, answer, source) from the top down.
    """
    from textwrap import fill

    pixels = np.asarray(image.convert("RGB")).astype(float)
    marked = [(int(scale * x0), int(len(pixels) - scale * y1), int(scale * x1), int(len(pixels) - scale * y0))
              for x0, y0, x1, y1 in boxes]  # fmt: skip
    for x0, y0, x1, y1 in marked:
        pixels[y0:y1, x0 - 2 : x1 + 2] *= np.array([1.0, 0.88, 0.35])  # a marker: white becomes yellow, black stays
    middle = (min(box[1] for box in marked) + max(box[3] for box in marked)) // 2 if marked else 0
    side = int(0.09 * pixels.shape[1])
    high = int(0.52 * pixels.shape[1])
    top = max(0, min(middle - high // 2, len(pixels) - high))
    with figure(path, columns=2, size=(10.0, 3.6)) as (_, (left, right)):
        left.imshow(pixels[top : top + high, side:-side].astype(np.uint8), interpolation="antialiased")
        left.set(xticks=(), yticks=())
        left.grid(False)
        for edge in left.spines.values():
            edge.set(visible=True, color=GREY)
        right.set_axis_off()
        at = 0.97
        for question, answer, source in said:
            asked, told = fill(question, 46), fill(answer, 50)
            texts = (asked, INK, "bold", 10.5), (told, INK, "normal", 10.5), (source, GREY, "normal", 8.5)
            for text, colour, weight, size in texts:
                right.text(0, at, text, va="top", linespacing=1.25, color=colour, fontweight=weight, fontsize=size)
                at -= 0.062 * (text.count("\n") + 1) + 0.03
            at -= 0.1
