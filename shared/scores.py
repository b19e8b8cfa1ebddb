"""What a classifier gets right and wrong, class by class, and a look whether it knows what it is scored on.

probs are probabilities (N, classes), preds the classes that were taken for the likeliest (N,), labels the true ones
(N,).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from shared import plots, runs
from shared.errors import CourseError

SURE_MISTAKES = 24  # how many are drawn
Matrix = Int[np.ndarray, "classes classes"]


def confusion_matrix(labels: Int[np.ndarray, " N"], preds: Int[np.ndarray, " N"], classes: int) -> Matrix:
    """How often class i (row) was taken for class j (column), as counts."""
    return np.bincount(labels * classes + preds, minlength=classes * classes).reshape(classes, classes)


def print_classes(matrix: Matrix, classes: Sequence[str]) -> None:
    """Of each class: how many of its images were found, and how many of those called so are it."""
    room = max(12, *map(len, classes))
    print(f"\n{'class':{room}s} {'images':>7s} {'recall':>8s} {'precision':>10s}   most often taken for")
    for label, name in enumerate(classes):
        row, right, called = matrix[label], matrix[label, label], matrix[:, label].sum()
        if not row.sum() and not called:
            continue
        others = np.where(np.arange(len(row)) == label, 0, row)
        rival = f"{classes[others.argmax()]} ({others.max()})" if others.any() else "nothing"
        recall = f"{right / row.sum():8.1%}" if row.sum() else f"{'-':>8s}"
        precision = f"{right / called:10.1%}" if called else f"{'-':>10s}"
        print(f"{name:{room}s} {row.sum():7,} {recall} {precision}   {rival if row.sum() else '-'}")


def print_confusion(matrix: Matrix, classes: Sequence[str]) -> None:
    """The confusion matrix as a table: rows are what it is, columns what was thought, by their first letters."""
    if len(classes) > 20:  # no terminal is that wide; the picture has it
        return
    room, cell = max(12, *map(len, classes)), max(5, len(str(matrix.max())) + 1)
    print(f"\n{'is, thought':>{room}s} " + "".join(f"{name[: cell - 1]:>{cell}s}" for name in classes))
    for name, row in zip(classes, matrix, strict=True):
        print(f"{name:>{room}s} " + "".join(f"{count or '.':>{cell}}" for count in row))


def surest_mistakes(
    labels: Int[np.ndarray, " N"], probs: Float[np.ndarray, "N classes"], classes: Sequence[str], count: int
) -> tuple[Int[np.ndarray, " mistakes"], list[str]]:
    """Which rows were wrong and surest so, and a title for each: what it is → what was thought, and how surely."""
    preds = probs.argmax(axis=1)
    wrong = np.flatnonzero(preds != labels)
    wrong = wrong[np.argsort(-probs[wrong, preds[wrong]], kind="stable")][:count]
    return wrong, [f"{classes[labels[i]]} → {classes[preds[i]]}  {probs[i, preds[i]]:.0%}" for i in wrong]


def report(
    run: runs.Trained, name: str, own: bool, labels: Int[np.ndarray, " N"], probs: Float[np.ndarray, "N classes"],
    theirs: dict[str, float], images: UInt8[np.ndarray, "N H W *C"], classes: Sequence[str], out: str = "",
    how: str = "", cmap: str = "gray",
) -> dict[str, Any]:  # fmt: skip
    """The score of a classifier of images beside its baselines', class by class, with its surest mistakes.

    Args:
        run: whose network it is.
        name: of what is scored.
        own: whether that is the run's own test part, whose score goes into result.json.
        labels, probs: the truth, and what the network gives.
        theirs: accuracy by the name of each baseline.
        images: what was looked at, as it is to be drawn.
        classes: their names.
        out: the folder for the pictures (and result.json); default: the run's.
        how: to be said beside the number of mistakes.
        cmap: matplotlib's colours for grey images.

    Returns:
        What result.json holds now; the run's folder under "run", the counts under "confusion".
    """
    preds, folder = probs.argmax(axis=1), Path(out) if out else run.folder
    matrix = confusion_matrix(labels.astype(np.int64), preds, len(classes))
    constant = runs.constant_answer(labels, "test_accuracy")
    accuracy = {"test_accuracy": float((preds == labels).mean())}
    result = run.scored(accuracy, theirs | {constant["name"]: constant["test_accuracy"]}, folder if own else None)
    plots.confusion(folder / "confusion.png", matrix, classes)
    rows, titles = surest_mistakes(labels, probs, classes, SURE_MISTAKES)
    plots.mistakes(folder / "mistakes.png", images[rows], titles, cmap)

    wrong = int((preds != labels).sum())
    print(f"{name}: {len(labels):,} images, {wrong:,} mistake{'s' * (wrong != 1)}{how}. Run: {run.folder}")
    runs.print_table(result, "test_accuracy")
    print_classes(matrix, classes)
    print_confusion(matrix, classes)
    if titles:
        print("\nsurest mistakes: " + "; ".join(title.replace("→", "taken for") for title in titles[:3]))
    print(f"\npictures: {folder / 'confusion.png'}, {folder / 'mistakes.png'}")
    return result | {"run": str(run.folder), "confusion": matrix.tolist()}


def refuse_known(
    images: UInt8[np.ndarray, "N ..."], seen: Sequence[UInt8[np.ndarray, "..."]], name: str, trained_on: str, why: str
) -> None:
    """CourseError where a network was trained or chosen on some of these images, by their content.

    Args:
        images: what it is to be scored on.
        seen: the images of its train and val parts.
        name, trained_on: what --data says now, and what it said then.
        why: what a person may not know, as that the bundled sample is a part of the data set.
    """
    known = {image.tobytes() for part in seen for image in part}
    count = sum(image.tobytes() in known for image in images)
    if count:
        raise CourseError(
            f"--data {name}: this network was trained or chosen on {count:,} of these {len(images):,} images "
            f"({trained_on}), so a score on them would say nothing.{f' ({why})' if why else ''}"
        )
