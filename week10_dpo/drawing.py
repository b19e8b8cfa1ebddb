"""This week's pictures: what is watched in a training, healthy and not; answers before and after; the trade-off."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared.plots import BLUE, GREEN, GREY, HEADING, INK, ORANGE, VERMILLION, figure

Rows = Sequence[Mapping[str, Any]]


def watched(path: Path, trainings: Mapping[str, tuple[float, Rows]]) -> None:
    """How much likelier both answers are than under the reference, their log-probabilities and the KL over the steps;
    a row of panels for each training, on the same scales.

    Rewards are shown in nats, which is without beta: only so can trainings with different ones be compared.
    """
    with figure(path, rows=len(trainings), columns=3, size=(9.6, 2.9 * len(trainings))) as (drawing, axes):
        lines = np.atleast_2d(axes)
        for line, (name, (beta, rows)) in zip(lines, trainings.items(), strict=True):
            rows = [at_the_start(rows[0], beta), *rows]
            steps = [row["step"] for row in rows]
            for what, colour in (("chosen", BLUE), ("rejected", VERMILLION)):
                moved = [row[f"val_{what}_reward"] / beta for row in rows]
                line[0].plot(steps, moved, "o-", ms=3, color=colour, label=what)
                line[1].plot(steps, [row[f"val_{what}_log_prob"] for row in rows], "o-", ms=3, color=colour)
            line[0].plot(steps, [row["val_margin"] / beta for row in rows], "--", color=GREY, label="margin")
            line[0].axhline(0, color=INK, linewidth=0.7)
            line[2].plot(steps, [row["val_kl"] for row in rows], "o-", ms=3, color=ORANGE)
            line[0].set_title(f"{name}: rewards / β, nats")
            line[1].set_title("log p of the answers, nats")
            line[2].set_title("KL, nats a token")
            line[0].legend(fontsize=8)
            for axis in line:
                axis.set_xlabel("step of DPO")
        for column in lines.T:
            low, high = (pick(edge(axis.get_ylim()) for axis in column) for pick, edge in ((min, min), (max, max)))
            for axis in column:
                axis.set_ylim(low, high)
        drawing.suptitle("What is watched, on pairs of val", **HEADING)


def at_the_start(row: Mapping[str, Any], beta: float) -> dict[str, Any]:
    """What a row before the first step would say: the policy is the reference, so nothing has moved."""
    before = {f"val_{what}_log_prob": row[f"val_{what}_log_prob"] - row[f"val_{what}_reward"] / beta
              for what in ("chosen", "rejected")}  # fmt: skip
    return {"step": 0, "val_chosen_reward": 0.0, "val_rejected_reward": 0.0, "val_margin": 0.0, "val_kl": 0.0} | before


def answers(path: Path, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Bars for each stage: polite answers, exact questions, repetition; those that were measured."""
    looks = [("polite", "polite answers", GREEN), ("exact", "exact questions right", BLUE),
             ("repeats", "runs of four tokens said again", GREY)]  # fmt: skip
    looks = [look for look in looks if any(look[0] in row for row in found.values())]
    if not looks:
        return
    width = 0.8 / len(looks)
    with figure(path, size=(6.4, 3.3)) as (drawing, axis):
        for place, (name, label, colour) in enumerate(looks):
            at = np.arange(len(found)) + (place - (len(looks) - 1) / 2) * width
            bars = axis.bar(at, [100 * row.get(name, 0) for row in found.values()], width, color=colour, label=label)
            axis.bar_label(bars, fmt="%.0f", fontsize=8)
        axis.set_xticks(range(len(found)), list(found))
        axis.set(ylim=(0, 109), ylabel="%")
        axis.legend(fontsize=8)
        drawing.suptitle("Answers before and after", **HEADING)


def trade_off(path: Path, rows: Rows) -> None:
    """What each beta comes to: polite answers and exact questions over how far it has moved."""
    with figure(path, columns=2, size=(8.4, 3.4)) as (drawing, (left, right)):
        for axis, name, label in ((left, "polite", "polite answers, %"), (right, "exact", "exact questions right, %")):
            order = sorted(rows, key=lambda row: row["kl"])
            axis.plot([row["kl"] for row in order], [100 * row[name] for row in order], "o-", color=BLUE)
            for row in order:
                axis.annotate(f"β {row['beta']:g}", (row["kl"], 100 * row[name]), xytext=(0, -14), ha="center",
                              textcoords="offset points", fontsize=8)  # fmt: skip
            axis.margins(x=0.1)
            axis.set(xlabel="KL from the reference, nats a token", ylabel=label, ylim=(-4, 109))
        drawing.suptitle("The trade-off: how far it moves, and what that buys", **HEADING)
