"""Images in an .npz, as people and data sets have them: checked, and brought to bytes (N, H, W[, C])."""

import re
import tarfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from shared.errors import CourseError
from shared.own_images import SPLITS, Labelled


def read_npz(path: Path, colours: Sequence[int] = (1, 3)) -> Labelled:
    """An .npz with `images` (N, H, W[, C]) and `labels` (N,) from 0; if you like `split` and `classes` (names).

    Also as others publish them: `x_train`, `y_train`, `x_test`, … (Keras), `train_images`, `train_labels`, …
    (MedMNIST), whose parts become the split.

    Args:
        path: the file.
        colours: the Cs that are accepted.

    Raises:
        CourseError: what is wrong with it, in one line.
    """
    if tarfile.is_tarfile(path):
        raise CourseError(f"{path}: an archive, no .npz. Unpack it and give the folder.")
    if not zipfile.is_zipfile(path):  # np.load would take it for a pickle, and advise to trust it
        raise CourseError(f"{path}: not a whole .npz file. np.savez(path, images=…, labels=…) writes one.")
    with zipfile.ZipFile(path) as archive:
        strange = [name for name in archive.namelist() if not name.endswith(".npy")]
    if strange:
        raise CourseError(f"{path}: an archive with {strange[0]} in it, no .npz. Unpack it and give the folder.")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (ValueError, OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise CourseError(f"{path}: not a readable .npz without pickled objects ({error}).") from None
    arrays = _one_layout(arrays, path)
    images, notes = _bytes(*_shaped(arrays["images"], path, colours), path)
    labels, named = _numbers(arrays["labels"], len(images), path)
    if "classes" in arrays and not named:
        named = tuple(map(str, np.atleast_1d(arrays["classes"])))
    count = int(labels.max()) + 1
    if count > max(1000, len(labels)):
        raise CourseError(f"{path}: a label of {count - 1}, for {len(labels):,} images. Number the classes from 0 on.")
    classes = named or tuple(map(str, range(count)))
    if len(classes) < count:
        raise CourseError(f"{path}: label {count - 1} is outside the {len(classes)} classes that are named.")
    return Labelled(images, labels, classes, arrays.get("split"), bool(named), notes)


def moments(images: UInt8[np.ndarray, "N H W C"]) -> tuple[Float[np.ndarray, " C"], Float[np.ndarray, " C"]]:
    """Mean and standard deviation of each colour, as decimals 0 to 1; the deviation is 1 where a colour never changes,
    so that one can divide by it."""
    counts = np.zeros((256, images.shape[3]))  # how often each value occurs
    for start in range(0, len(images), 256):  # a few at a time: bincount wants eight bytes a pixel
        some = images[start : start + 256]
        for colour in range(counts.shape[1]):
            counts[:, colour] += np.bincount(some[..., colour].ravel(), minlength=256)
    shares, values = counts / counts[:, 0].sum(), np.arange(256) / 255
    mean = (values @ shares).astype(np.float32)
    std = np.sqrt(((values[:, None] - mean) ** 2 * shares).sum(axis=0)).astype(np.float32)
    return mean, np.where(std < 1e-4, np.float32(1), std)


def _one_layout(arrays: Mapping[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """The arrays under our names: {images, labels[, split][, classes]}."""
    if {"images", "labels"} <= arrays.keys():
        return dict(arrays)
    found: dict[int, dict[str, np.ndarray]] = {}
    for key, array in arrays.items():
        words = set(re.split(r"[_\W]+", key.lower()))
        part = [SPLITS[word] for word in words if word in SPLITS]
        kind = "images" if words & {"x", "images"} else "labels" if words & {"y", "labels"} else ""
        if kind and len(words) <= 2:
            found.setdefault(part[0] if part else 0, {})[kind] = array
    whole = {part: group for part, group in found.items() if group.keys() == {"images", "labels"}}
    if not whole or len(whole) < len(found):
        missing = {"images", "labels"} - arrays.keys()
        there = ", ".join(sorted(arrays)) or "nothing"
        raise CourseError(f"{path}: holds {there}, but no {' and no '.join(sorted(missing))}.")
    parts = sorted(whole)
    shapes = {whole[part]["images"].shape[1:] for part in parts}
    if len(shapes) > 1:
        raise CourseError(f"{path}: its parts have images of other shapes: {' and '.join(map(str, sorted(shapes)))}.")
    arranged = {kind: np.concatenate([whole[part][kind] for part in parts]) for kind in ("images", "labels")}
    if len(parts) > 1:
        arranged["split"] = np.repeat(parts, [len(whole[part]["images"]) for part in parts])
    return arranged


def _shaped(images: np.ndarray, path: Path, colours: Sequence[int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Images as (N, H, W[, C]), and a note where they came otherwise: flat, or with the colours in front."""
    shape = images.shape
    if images.ndim == 2 and images.size and int(shape[1] ** 0.5) ** 2 == shape[1]:
        side = int(shape[1] ** 0.5)
        return images.reshape(-1, side, side), (f"rows of {shape[1]} pixels were read as {side} x {side}",)
    if images.ndim == 4 and shape[1] in (1, 3) and shape[3] not in colours and images.size:
        return np.moveaxis(images, 1, -1), ("the colours came first: (N, C, H, W) was turned to (N, H, W, C)",)
    if images.ndim not in (3, 4) or (images.ndim == 4 and shape[3] not in colours) or images.size == 0:
        *most, last = map(str, colours)
        expected = f"(N, H, W), or (N, H, W, C) with {', '.join(most)} or {last} colours"
        raise CourseError(f"{path}: images are of shape {shape}, expected {expected}.")
    return images, ()


def _bytes(images: np.ndarray, notes: tuple[str, ...], path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Images as uint8: numbers of other kinds may run from 0 to 255, or from 0 to 1."""
    if images.dtype == np.uint8 and images.max() != 1:
        return images, notes
    if images.dtype == bool:
        return images.astype(np.uint8) * 255, notes
    if not np.issubdtype(images.dtype, np.number) or np.issubdtype(images.dtype, np.complexfloating):
        raise CourseError(f"{path}: images are {images.dtype}, expected uint8 from 0 to 255 or decimals from 0 to 1.")
    bad = ~np.isfinite(images)
    if bad.any():
        where = int(np.argwhere(bad)[0][0])
        raise CourseError(
            f"{path}: {int(bad.sum()):,} pixels are NaN or infinite, the first in image {where}. Clean the data first."
        )
    low, high = images.min(initial=0), images.max(initial=0)
    if low < 0 or high > 255:
        raise CourseError(
            f"{path}: pixels run from {low:g} to {high:g}, expected bytes from 0 to 255 or decimals from 0 to 1."
        )
    if high <= 1 and not np.issubdtype(images.dtype, np.floating):
        notes = (*notes, "pixels of 0 and 1 were read as black and white")
    if high <= 1:
        return np.rint(images * 255).astype(np.uint8), notes
    return np.rint(images).astype(np.uint8), (*notes, f"pixels of {images.dtype} were read as 0 to 255")


def _numbers(labels: np.ndarray, count: int, path: Path) -> tuple[Int[np.ndarray, " N"], tuple[str, ...]]:
    """Labels as whole numbers (N,), and the classes' names where the labels are names."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]  # (N, 1), as MedMNIST and CIFAR-10 of Keras have them
    elif labels.ndim == 2 and np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all():
        labels = labels.argmax(axis=1)  # one-hot
    if labels.shape != (count,):
        raise CourseError(f"{path}: {count:,} images but labels of shape {labels.shape}, they do not match.")
    if np.issubdtype(labels.dtype, np.str_):
        names, numbers = np.unique(labels, return_inverse=True)
        return numbers.astype(np.int64), tuple(map(str, names))
    if np.issubdtype(labels.dtype, np.floating) and (labels == np.rint(labels)).all() and np.isfinite(labels).all():
        labels = labels.astype(np.int64)
    if not np.issubdtype(labels.dtype, np.integer):
        raise CourseError(f"{path}: labels must be whole numbers from 0, these are {labels.dtype}.")
    if labels.min() < 0:
        raise CourseError(f"{path}: labels must be whole numbers from 0, the smallest here is {labels.min()}.")
    return labels.astype(np.int64), ()
