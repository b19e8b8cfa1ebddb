"""What a classifier gets right and wrong, class by class.

probs are probabilities (N, classes), preds the classes that were taken for the likeliest (N,), labels the true ones
(N,).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from shared import plots, runs
from shared.held_out import HeldOut

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
    run: runs.Trained, chosen: HeldOut, probs: Float[np.ndarray, "N classes"], theirs: dict[str, float],
    classes: Sequence[str], images: UInt8[np.ndarray, "N H W *C"], out: str = "", how: str = "", cmap: str = "gray",
) -> dict[str, Any]:  # fmt: skip
    """The score of a classifier of images beside its baselines', class by class, with its surest mistakes.

    Args:
        run: whose network it is.
        chosen: what it was scored on, with labels as the network numbers them.
        probs: what the network gives.
        theirs: accuracy by the name of each baseline.
        classes: the network's.
        images: what was looked at, as it is to be drawn.
        out: the folder for the pictures (and result.json); default: the run's, and for other data one in it.
        how: to be said beside the number of mistakes.
        cmap: matplotlib's colours for grey images.

    Returns:
        What result.json holds now; the run's folder under "run", the counts under "confusion".
    """
    labels, preds = chosen.part.labels, probs.argmax(axis=1)
    folder = run.folder_for(out, "" if chosen.own else chosen.name)
    matrix = confusion_matrix(labels.astype(np.int64), preds, len(classes))
    constant = runs.constant_answer(labels, "test_accuracy")
    accuracy = {"test_accuracy": float((preds == labels).mean())}
    theirs = theirs | {constant["name"]: constant["test_accuracy"]}
    result = run.scored(accuracy, theirs, folder if chosen.own else None)
    plots.confusion(folder / "confusion.png", matrix, classes)
    rows, titles = surest_mistakes(labels, probs, classes, SURE_MISTAKES)
    plots.mistakes(folder / "mistakes.png", images[rows], titles, cmap)

    wrong = int((preds != labels).sum())
    print(f"{chosen.name}: {len(labels):,} images, {wrong:,} mistake{'s' * (wrong != 1)}{how}. Run: {run.folder}")
    runs.tell(chosen.notes)
    runs.print_table(result, "test_accuracy")
    print_classes(matrix, classes)
    print_confusion(matrix, classes)
    if titles:
        print("\nsurest mistakes: " + "; ".join(title.replace("→", "taken for") for title in titles[:3]))
    print(f"\npictures: {folder / 'confusion.png'}, {folder / 'mistakes.png'}")
    return result | {"run": str(run.folder), "confusion": matrix.tolist()}
