"""The week's drawings: what each ingredient brings, augmented photographs, schedules, the rate finder, trainings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from shared.plots import BLUE, COLOURS, GREEN, GREY, INK, ORANGE, PAPER, VERMILLION, Numbers, band, figure, images


def ablation(path: Path, parts: Mapping[str, Sequence[tuple[str, float, float]]], title: str) -> None:
    """Bars of differences in accuracy, a group for each part, with twice the standard error on each.

    Args:
        path: where the PNG goes.
        parts: name of the part to its rows (label, difference, its standard error), both in percentage points.
        title: what the differences are differences from.

    A bar is in colour where it is longer than twice its standard error, and grey where it may be chance. From one seed
    nothing is known of chance (the error is 0), so there all are grey.
    """
    rows = [(part, *row) for part, group in parts.items() for row in group]
    places, y = [], 0.0
    for i, (part, *_) in enumerate(rows):
        y += 1.0 if i == 0 or part == rows[i - 1][0] else 1.9  # room for the name of the next part
        places.append(y)
    with figure(path, size=(7.2, max(2.4, 0.27 * (y + 2)))) as (_, axis):
        for place, (_, _, difference, error) in zip(places, rows, strict=True):
            sure = abs(difference) > 2 * error > 0
            colour = (GREEN if difference > 0 else VERMILLION) if sure else "#B9BDC3"
            axis.barh(place, difference, height=0.72, color=colour)
            axis.errorbar(difference, place, xerr=2 * error, color=INK, linewidth=1, capsize=2.5)
        axis.axvline(0, color=INK, linewidth=1)
        axis.set_yticks(places, [label for _, label, *_ in rows], fontsize=8.5)
        for i, (part, *_) in enumerate(rows):
            if i == 0 or part != rows[i - 1][0]:
                head = axis.get_yaxis_transform()
                axis.text(0.005, places[i] - 0.95, part, transform=head, fontsize=8.5, color=BLUE, fontweight="bold")
        axis.set(title=title, xlabel="difference in accuracy, percentage points (line: twice its standard error)")
        axis.set_ylim(y + 0.7, -0.5)
        axis.grid(False, axis="y")


def augmentations(path: Path, photo: UInt8[np.ndarray, "H W 3"], rows: Mapping[str, Sequence[np.ndarray]]) -> None:
    """One photograph as it is (left), and what each augmentation makes of it, time after time.

    Args:
        path: where the PNG goes.
        photo: as it lies in the data.
        rows: name of the augmentation to images (H, W, 3) uint8, as many as are to be seen of each.
    """
    columns = 1 + max(len(row) for row in rows.values())
    with figure(path, rows=len(rows), columns=columns, size=(1.02 * columns, 1.12 * len(rows))) as (_, axes):
        for axis in axes.flat:
            axis.set_axis_off()
        for number, (line, (name, made)) in enumerate(zip(np.atleast_2d(axes), rows.items(), strict=True)):
            images(line[0], photo, "" if number else "as it is")
            for i, (axis, picture) in enumerate(zip(line[1:], made, strict=False)):
                images(axis, picture, "" if i else name)


def schedules(path: Path, rates: Mapping[str, Numbers], peak: float) -> None:
    """The learning rate at every step, under each schedule.

    Args:
        path: where the PNG goes.
        rates: name of the schedule to its rate at every step, as multiples of the peak.
        peak: what 1 stands for, for the label.
    """
    with figure(path, columns=len(rates), size=(1.95 * len(rates), 2.3)) as (_, axes):
        for axis, (name, values), colour in zip(np.atleast_1d(axes), rates.items(), COLOURS, strict=False):
            axis.plot(np.linspace(0, 100, len(values)), values, color=colour)
            axis.set(title=name, ylim=(-0.04, 1.1), xlabel="% of the steps", xticks=[0, 50, 100])
            axis.set_yticks([0, 0.5, 1], ["0", f"{peak / 2:g}", f"{peak:g}"])
        np.atleast_1d(axes)[0].set_ylabel("learning rate")


def lr_finder(
    path: Path,
    rates: Numbers,
    losses: Numbers,
    smooth: Numbers,
    suggestion: float | None,
    checks: Mapping[float, float],
) -> None:
    """The range test: loss against learning rate, the suggestion, and what training at it and beside it reached.

    Args:
        path: where the PNG goes.
        rates: the learning rate of every step.
        losses: the loss of every step; smooth: their running mean.
        suggestion: the learning rate to try; None where the range has not shown one.
        checks: learning rate to the validation accuracy (0 to 1) that a short training at it reached; may be empty.
    """
    with figure(path, columns=1 + bool(checks), size=(8.4 if checks else 5.0, 3.3)) as (_, axes):
        left, *rest = np.atleast_1d(axes)
        left.plot(rates, losses, color="#C9D6DF", linewidth=1, label="loss of each step")
        left.plot(rates, smooth, color=BLUE, label="running mean")
        if suggestion:
            left.axvline(suggestion, color=ORANGE, label=f"suggestion {suggestion:.2g}")
        low, high = min(smooth), max(smooth[0], min(smooth))
        left.set(title="Loss while the rate grows", xlabel="learning rate", xscale="log")
        left.set_ylim(low - 0.15 * (high - low) - 0.05, high + 0.35 * (high - low) + 0.05)
        left.legend(fontsize=8, loc="lower left")
        for right in rest:
            right.bar(
                [f"{rate:.2g}" for rate in checks],
                [100 * accuracy for accuracy in checks.values()],
                color=[ORANGE if rate == suggestion else GREY for rate in checks],
            )
            for i, accuracy in enumerate(checks.values()):
                right.text(i, 100 * accuracy, f"{accuracy:.1%}", ha="center", va="bottom", fontsize=9)
            right.set(title="A short training at it, and beside it", xlabel="learning rate")
            right.set_ylabel("validation accuracy (%)")
            right.grid(False, axis="x")


def versus(path: Path, trainings: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]) -> None:
    """Training curves of several recipes beside each other: mean over the seeds, and their range.

    Args:
        path: where the PNG goes.
        trainings: name of the recipe to one history for each seed: a list of {epoch, train_loss, val_accuracy}.
    """
    with figure(path, columns=2, size=(8.4, 3.3)) as (_, (left, right)):
        for (name, histories), colour in zip(trainings.items(), (GREY, BLUE, GREEN, ORANGE), strict=False):
            epochs = [row["epoch"] for row in histories[0]]
            band(left, epochs, [[row["train_loss"] for row in h] for h in histories], name, color=colour)
            band(right, epochs, [[100 * row["val_accuracy"] for row in h] for h in histories], name, color=colour)
        left.set(title="Training loss", xlabel="epoch")
        right.set(title="Validation accuracy (%)", xlabel="epoch")
        right.legend(fontsize=9, loc="lower right", facecolor=PAPER)
