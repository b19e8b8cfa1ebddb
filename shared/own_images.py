"""A learner's own images: copies dropped, and cut in three, the same way each time.

They are read by shared/image_arrays.py (.npz) and shared/image_folders.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped, UInt8

from shared.errors import CourseError
from shared.held_out import fingerprints

SPLITS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1, "test": 2, "testing": 2}
HELD_OUT = 2_500  # images of a large set that are held out to choose on, and as many to test on
NEAR = 5.0  # of 255: grey thumbnails that differ by less, in the root mean square, look alike (none in MNIST, CIFAR-10)
MOST_PAIRS = 10**8  # so many are compared, in a second or two


@dataclass(frozen=True)
class Labelled:
    """Images as bytes, (N, H, W) or (N, H, W, C), their classes as numbers from 0, and the classes' names."""

    images: UInt8[np.ndarray, "N ..."]
    labels: Int[np.ndarray, " N"]
    classes: tuple[str, ...]
    split: Shaped[np.ndarray, "..."] | None = None
    """0 train, 1 val, 2 test, for each image, as the file has it; None where it says nothing."""
    named: bool = True
    """False where the classes have numbers alone."""
    notes: tuple[str, ...] = ()
    """What was guessed, left out or dropped, to be told to the reader."""

    @property
    def own_test(self) -> bool:
        """Whether it brings a test split of its own."""
        return self.split is not None and bool((self.split == 2).any())


# ---------------------------------------------------------------- copies


def without_copies(own: Labelled) -> Labelled:
    """The same without copies, by content: what was learned by heart must not be tested.

    Of equal images the one in test stays, or that in val, or the first. Test and val keep what they have twice.
    """
    split, count = own.split, len(own.labels)
    if split is not None and (split.shape != (count,) or not np.issubdtype(split.dtype, np.number)):
        return own  # cut_in_three says what is wrong with it
    part, prints = np.zeros(count) if split is None else split.astype(float), fingerprints(own.images)
    order = np.lexsort((np.arange(count), -part, prints))  # equal ones beside each other, the one that stays in front
    again = np.concatenate([[False], prints[order][1:] == prints[order][:-1]])
    first = order[~again][np.cumsum(~again) - 1]  # (N,) the one that stays for each
    dropped = order[again & ((part[first] == 0) | (part[order] < part[first]))]
    if not len(dropped):
        return own
    stays_for = np.empty(count, dtype=np.int64)
    stays_for[order] = first
    other = int((own.labels[dropped] != own.labels[stays_for[dropped]]).sum())
    note = f"dropped {len(dropped):,} cop{'ies' if len(dropped) > 1 else 'y'} of other images"
    note += f", {other:,} of them with another label" if other else ""
    stays = np.setdiff1d(np.arange(count), dropped)
    split = None if split is None else split[stays]
    return replace(own, images=own.images[stays], labels=own.labels[stays], split=split, notes=(*own.notes, note))


def thumbnails(images: UInt8[np.ndarray, "N ..."], side: int = 16) -> Float[np.ndarray, "N pixels"]:
    """Grey images of at most `side` x `side`, flat: the means of blocks. What a change of size or of the file's kind
    leaves of a picture."""
    grey = images.astype(np.float32)
    if grey.ndim == 4:
        grey = grey.mean(axis=3)
    for axis in (1, 2):
        length = grey.shape[axis]
        edges = np.linspace(0, length, min(side, length), endpoint=False).astype(int)
        sizes = np.diff([*edges, length]).astype(np.float32)
        grey = np.add.reduceat(grey, edges, axis=axis) / (sizes[:, None] if axis == 1 else sizes)
    return grey.reshape(len(grey), -1)


def look_alikes(held_out: UInt8[np.ndarray, "n ..."], train: UInt8[np.ndarray, "m ..."]) -> Int[np.ndarray, " _"]:
    """Which images that are held out look nearly like one to train on: another size, or the next picture of a film."""
    if len(held_out) * len(train) > MOST_PAIRS:
        return np.array([], dtype=np.int64)
    ours, theirs = thumbnails(held_out), thumbnails(train)
    squares, near = (theirs**2).sum(axis=1), []
    for start in range(0, len(ours), 500):  # |a - b|² = |a|² - 2 a·b + |b|², a block at a time
        block = ours[start : start + 500]
        distance = (block**2).sum(axis=1) + (squares - 2 * block @ theirs.T).min(axis=1)
        near.append(distance < NEAR**2 * block.shape[1])
    return np.flatnonzero(np.concatenate(near))


# ---------------------------------------------------------------- train, val and test


def in_three(path: Path, own: Labelled) -> tuple[Labelled, list[Int[np.ndarray, " _"]]]:
    """The images without copies, and the row numbers of train, val and test among them; its notes tell what was done.

    Raises:
        CourseError: as `cut_in_three` does.
    """
    own = without_copies(own)
    train, val, test = rows = cut_in_three(path, own)
    if own.split is not None and (drawn := [name for part, name in ((1, "val"), (2, "test")) if part not in own.split]):
        own = replace(own, notes=(*own.notes, f"{' and '.join(drawn)} drawn from train: these data bring none"))
    if near := len(look_alikes(own.images[np.concatenate([val, test])], own.images[train])):
        note = f"{near:,} of the {len(val) + len(test):,} images of val and test look nearly like one to train on"
        own = replace(own, notes=(*own.notes, f"{note}: the score may flatter"))
    return own, rows


def stratified(labels: Int[np.ndarray, " N"], shares: Sequence[float]) -> list[Int[np.ndarray, " _"]]:
    """Row numbers of a random part for each share of the images, every class alike, with the rest put in front.

    The parts are the same each time (they do not depend on --seed): every run must hold out the same images. A class of
    at least three images is in each part.
    """
    rng = np.random.default_rng(0)
    parts: list[list[np.ndarray]] = [[] for _ in range(len(shares) + 1)]
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        count = len(rows)
        for part, share in zip(parts[1:], shares, strict=True):
            held = max(int(count * share + 1e-9), int(count > len(shares)))
            part.append(rows[:held])
            rows = rows[held:]
        parts[0].append(rows)
    return [rng.permutation(np.concatenate(part)) for part in parts]


def all_to_train_on(name: str, classes: Sequence[str], labels: Int[np.ndarray, " N"]) -> None:
    """CourseError where a class has no image among those to train on."""
    empty = np.setdiff1d(np.arange(len(classes)), labels)
    if empty.size:
        raise CourseError(
            f"{name}: class {classes[empty[0]]} has no image to train on. Add some, or number the classes without gaps."
        )


def cut_in_three(path: Path, own: Labelled) -> list[Int[np.ndarray, " _"]]:
    """Row numbers of train, val and test: as `own.split` says, else a tenth of every class for val and one for test.

    Of a large set only 2,500 images each are held out. A split that has no val, or no test, gets it from its train.

    Raises:
        CourseError: one class only, too few images, or a split that leaves some out.
    """
    labels, split = own.labels, own.split
    if len(np.unique(labels)) < 2:
        raise CourseError(f"{path}: one class only; there is nothing to tell apart.")
    if split is None:
        split = np.zeros(len(labels))
    numbers = split.shape == labels.shape and np.issubdtype(split.dtype, np.number)
    if not numbers or not np.isin(split, (0, 1, 2)).all() or not (split == 0).any():
        raise CourseError(f"{path}: every image needs a split of 0 (train), 1 (val) or 2 (test), and some must be 0.")
    rows = [np.flatnonzero(split == part) for part in range(3)]
    missing = [part for part in (1, 2) if not len(rows[part])]
    if missing:
        there, share = labels[rows[0]], min(0.1, HELD_OUT / len(rows[0]))
        parts = stratified(there, (share,) * len(missing))
        if not all(map(len, parts)):  # every class has one or two images: draw without regard to it
            parts = stratified(np.zeros_like(there), (share,) * len(missing))
        if not all(map(len, parts)):
            raise CourseError(f"{path}: {len(there)} images are too few for a train, a val and a test part.")
        for part, drawn in zip((0, *missing), [rows[0][drawn] for drawn in parts], strict=True):
            rows[part] = drawn
    return rows
