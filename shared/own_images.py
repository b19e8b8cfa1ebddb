"""A learner's own images: an .npz or a folder of class folders, checked, and cut in three the same way each time."""

import warnings
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped, UInt8
from PIL import Image, ImageOps

from shared.errors import CourseError

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
HELD_OUT = 2_500  # images of a large set that are held out to choose on, and as many to test on


@dataclass(frozen=True)
class Labelled:
    """Images as bytes, (N, H, W) or (N, H, W, C), their classes as numbers from 0, and the classes' names."""

    images: UInt8[np.ndarray, "N ..."]
    labels: Int[np.ndarray, " N"]
    classes: tuple[str, ...]
    split: Shaped[np.ndarray, "..."] | None = None
    """0 train, 1 val, 2 test, for each image, as the file has it; None where it says nothing."""


def read_npz(path: Path, colours: Sequence[int] = (1, 3)) -> Labelled:
    """An .npz with `images` (N, H, W[, C]) uint8 and `labels` (N,) from 0; if you like `split` and `classes` (names).

    Args:
        path: the file.
        colours: the Cs that are accepted.

    Raises:
        CourseError: what is wrong with it, in one line.
    """
    if not zipfile.is_zipfile(path):  # np.load would take it for a pickle, and advise to trust it
        raise CourseError(f"{path}: not a whole .npz file. np.savez(path, images=…, labels=…) writes one.")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (ValueError, OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise CourseError(f"{path}: not a readable .npz without pickled objects ({error}).") from None
    missing = {"images", "labels"} - arrays.keys()
    if missing:
        raise CourseError(
            f"{path}: holds {', '.join(sorted(arrays)) or 'nothing'}, but no {' and no '.join(sorted(missing))}."
        )
    images, labels = _bytes(arrays["images"], path), arrays["labels"]
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in colours) or images.size == 0:
        *most, last = map(str, colours)
        expected = f"(N, H, W), or (N, H, W, C) with {', '.join(most)} or {last} colours"
        raise CourseError(f"{path}: images are of shape {images.shape}, expected {expected}.")
    if labels.shape != (len(images),):
        raise CourseError(f"{path}: {len(images):,} images but labels of shape {labels.shape}, they do not match.")
    if not np.issubdtype(labels.dtype, np.integer):
        raise CourseError(f"{path}: labels must be whole numbers from 0, these are {labels.dtype}.")
    if labels.min() < 0:
        raise CourseError(f"{path}: labels must be whole numbers from 0, the smallest here is {labels.min()}.")
    count = int(labels.max()) + 1
    if count > max(1000, len(labels)):
        raise CourseError(f"{path}: a label of {count - 1}, for {len(labels):,} images. Number the classes from 0 on.")
    classes = tuple(map(str, np.atleast_1d(arrays["classes"]) if "classes" in arrays else range(count)))
    if len(classes) < count:
        raise CourseError(f"{path}: label {count - 1} is outside the {len(classes)} classes that are named.")
    return Labelled(images, labels.astype(np.int64), classes, arrays.get("split"))


def _bytes(images: np.ndarray, path: Path) -> np.ndarray:
    """Images as uint8; decimals from 0 to 1 are accepted when every one of them is a number."""
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise CourseError(f"{path}: images are {images.dtype}, expected uint8 from 0 to 255 or decimals from 0 to 1.")
    bad = ~np.isfinite(images)
    if bad.any():
        where = int(np.argwhere(bad)[0][0])
        raise CourseError(
            f"{path}: {int(bad.sum()):,} pixels are NaN or infinite, the first in image {where}. Clean the data first."
        )
    if images.min(initial=0) < 0 or images.max(initial=0) > 1:
        raise CourseError(f"{path}: decimal pixels run from {images.min():g} to {images.max():g}, expected 0 to 1.")
    return np.rint(images * 255).astype(np.uint8)


def class_folders(folder: Path) -> dict[str, list[Path]]:
    """The pictures in a folder of class folders, at any depth, by class; both in alphabetical order.

    Raises:
        CourseError: no pictures, a class without any, or one class only.
    """
    groups = {
        group.name: [f for f in sorted(group.rglob("[!.]*")) if f.suffix.lower() in PICTURES and f.is_file()]
        for group in sorted(folder.glob("[!.]*"))  # a name that begins with a dot is hidden
        if group.is_dir()
    }
    if not any(groups.values()):
        raise CourseError(f"{folder}: no images in it; expected one folder per class with png or jpg files inside.")
    empty = [group for group, files in groups.items() if not files]
    if empty:
        raise CourseError(f"{folder / empty[0]}: a class without images. Fill the folder or remove it.")
    if len(groups) < 2:
        raise CourseError(f"{folder}: one class only ({next(iter(groups))}); there is nothing to tell apart.")
    return groups


def read_picture(path: Path, keep_alpha: bool = False) -> Image.Image:
    """A picture file of any kind as an RGB picture, the right way up, what is transparent in it white.

    Args:
        path: the file.
        keep_alpha: gives a picture with something transparent as it is, as RGBA: for white ink on nothing.

    Raises:
        CourseError: it is missing, a folder, damaged, of absurd size, or no picture.
    """
    if path.is_dir():
        raise CourseError(f"{path}: a folder; name the pictures in it, as in {path / '*.png'}.")
    try:
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # 108-megapixel phones are no attack
            picture = ImageOps.exif_transpose(picture)  # a phone stores its photos lying, with a note how it was held
    except FileNotFoundError:
        raise CourseError(f"{path}: no such file.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CourseError(f"{path}: not a readable image ({error}). Repair or remove it.") from None
    if picture.mode.startswith(("I", "F")):  # more than 8 bits a pixel: Pillow would cut off what is above 255
        values = np.asarray(picture, dtype=np.float32)
        values = values - values.min()
        picture = Image.fromarray(np.uint8(255 * values / max(values.max(), 1e-9)))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        if keep_alpha:
            return picture
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


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


def cut_in_three(path: Path, own: Labelled) -> list[Int[np.ndarray, " _"]]:
    """Row numbers of train, val and test: as `own.split` says, else a tenth of every class for val and one for test.

    Of a large set only 2,500 images each are held out.

    Raises:
        CourseError: one class only, too few images, or a split that leaves some out.
    """
    labels, split = own.labels, own.split
    if len(np.unique(labels)) < 2:
        raise CourseError(f"{path}: one class only; there is nothing to tell apart.")
    if split is None:
        share = min(0.1, HELD_OUT / len(labels))
        rows = stratified(labels, (share, share))
        if not all(map(len, rows)):  # every class has one or two images: draw without regard to it
            rows = stratified(np.zeros_like(labels), (share, share))
        if not all(map(len, rows)):
            raise CourseError(f"{path}: {len(labels)} images are too few for a train, a val and a test part.")
        return rows
    rows = [np.flatnonzero(split == part) for part in range(3)] if split.shape == labels.shape else []
    if sum(map(len, rows)) < len(labels) or not all(map(len, rows)):
        raise CourseError(
            f"{path}: every image needs a split of 0 (train), 1 (val) or 2 (test), and each needs images."
        )
    return rows
