"""Pictures decoded and made small once, and kept: a folder is there at once when it is read again.

To decode a radiograph of a million pixels takes longer than to train on it. What was made of the files of a folder lies
in one .npz for each side and mode, and is found again by a file's path, size and time of change: one that has been
touched is decoded anew, one that is gone is forgotten. The file is written beside its place and renamed, holds no
pickles, and one that is damaged counts as none.
"""

import sys
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from shared.assets import home
from shared.errors import CourseError
from shared.files import written_whole
from shared.held_out import fingerprints
from shared.pictures import read_picture

LARGEST = 1 << 31  # bytes: more is not kept
Picture = UInt8[np.ndarray, "side side C"]


def squared(picture: Image.Image, side: int) -> Image.Image:
    """The middle of a picture, `side` x `side`: the largest square, brought to that size; every pixel counts."""
    short = min(picture.size)
    left, top = (picture.width - short) // 2, (picture.height - short) // 2
    square = picture.crop((left, top, left + short, top + short))
    return square if short == side else square.resize((side, side), Image.Resampling.BILINEAR)


def decode(path: Path, side: int, mode: str) -> Picture:
    """The middle square of a picture file; CourseError where it cannot be read."""
    pixels = np.asarray(squared(read_picture(path).convert(mode), side))
    return pixels.reshape(side, side, -1)  # a grey one has no axis of colours


def read(folder: Path, paths: Sequence[Path], side: int, mode: str) -> list:
    """Of each file its picture, (side, side, C) bytes, or the CourseError that says why there is none.

    Args:
        folder: whose files they are; they are kept together.
        paths: the files.
        side: pixels, height and width of what they are brought to.
        mode: Pillow's, L for grey and RGB for colours.
    """
    file, prints = place(folder, side, mode), prints_of(paths)
    kept = load(file, side)
    found: list[Picture | CourseError] = []
    for path, key in zip(paths, prints.tolist(), strict=True):
        try:
            found.append(kept[key] if key in kept else decode(path, side, mode))
        except CourseError as error:
            found.append(error)
    whole = {key: one for key, one in zip(prints.tolist(), found, strict=True) if not isinstance(one, CourseError)}
    if whole and whole.keys() != kept.keys():
        save(file, whole)
    return found


def place(folder: Path, side: int, mode: str) -> Path:
    """The file in which the pictures of a folder are kept."""
    (name,) = fingerprints([str(folder.resolve())]).view(np.uint64)
    return home() / "week13" / "decoded" / f"{name:016x}-{mode}{side}.npz"


def prints_of(paths: Sequence[Path]) -> Int[np.ndarray, " n"]:
    """What tells a file, as it is now, from others and from what it was."""
    told = []
    for path in paths:
        try:
            state = path.stat()
            told.append(f"{path.resolve()}\n{state.st_size}\n{state.st_mtime_ns}")
        except OSError:  # it is gone, or may not be looked at: decoding says so
            told.append(f"{path}\n")
    return fingerprints(told)


def load(file: Path, side: int) -> dict[int, Picture]:
    """What is kept, by prints; nothing where there is no whole file of such pictures."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            prints, images = arrays["prints"], arrays["images"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return {}
    if images.dtype != np.uint8 or images.shape[:3] != (len(prints), side, side):
        return {}
    return dict(zip(prints.tolist(), images, strict=True))


def save(file: Path, pictures: dict[int, Picture]) -> None:
    """Keeps pictures; where there is no room or no right to, it says so, and nothing is lost but time."""
    images = np.stack(list(pictures.values()))
    if images.nbytes > LARGEST:
        return
    try:
        with written_whole(file) as temporary, temporary.open("wb") as stream:
            np.savez(stream, prints=np.array(list(pictures), np.int64), images=images)
    except CourseError as error:
        print(f"decoded pictures are not kept: {error}", file=sys.stderr)
