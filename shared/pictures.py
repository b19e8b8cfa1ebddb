"""Picture files as people have them: which can be read, and reading one."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from shared.errors import CourseError

Read = TypeVar("Read")
HEIC = (".heic", ".heif", ".hif")
HEIC_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"hevc")
NO_HEIC = "install pillow-heif into the environment, or save them as jpg"
DAMAGE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for a file that is cut off, corrupt, of absurd size or no picture."""


@cache
def endings() -> frozenset[str]:
    """What the names of pictures end in that Pillow reads here; of .heic too, where pillow-heif is installed."""
    with contextlib.suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    Image.init()
    return frozenset(ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN) - {
        ".pdf", ".eps", ".ps", ".mpg", ".mpeg", ".h5", ".hdf", ".bufr", ".grib", ".wmf", ".emf",
    }  # fmt: skip


def is_picture(path: Path) -> bool:
    """Whether the file's name says so; without an ending, whether its first bytes do."""
    if path.suffix:
        return path.suffix.lower() in endings()
    try:
        with Image.open(path):
            return True
    except DAMAGE:
        return False


def read_picture(path: Path, keep_alpha: bool = False, least: int = 0) -> Image.Image:
    """A picture file of any kind as an RGB picture, the right way up, what is transparent in it white.

    Args:
        path: the file.
        keep_alpha: gives a picture with something transparent as it is, as RGBA: for white ink on nothing.
        least: so many pixels a side are enough: of a JPEG then no more are worked out than a half, a quarter or an
            eighth, if that is enough. 0: all.

    Raises:
        CourseError: it is missing, a folder, damaged, of absurd size, or no picture.
    """
    if path.is_dir():
        raise CourseError(f"{path}: a folder; name the pictures in it, as in {path / '*.png'}.")
    endings()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # 108-megapixel phones are no attack, and notes of a camera may be damaged
            with Image.open(path) as picture:
                if least:
                    picture.draft(None, (least, least))
                picture = upright(picture)
    except FileNotFoundError:
        raise CourseError(f"{path}: no such file.") from None
    except DAMAGE as error:
        raise CourseError(f"{path}: {why_not(path, error)}") from None
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


def upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its camera was held: a phone stores its photos lying, with a note. A damaged note is
    none."""
    picture.load()
    try:
        return ImageOps.exif_transpose(picture)
    except DAMAGE:
        return picture.copy()


def why_not(path: Path, error: Exception) -> str:
    """What is wrong with a picture that cannot be read, and what to do."""
    if isinstance(error, PermissionError):
        return "may not be read. Give yourself the right to, or leave it out."
    with contextlib.suppress(OSError), path.open("rb") as file:
        start = file.read(12)
        if not start:
            return "an empty file. Remove it."
        if start[4:8] == b"ftyp" and start[8:12] in HEIC_BRANDS:
            return f"a photo of the kind HEIC, whatever its name: {NO_HEIC}."
    return f"not a readable image ({error}). Repair or remove it."


def each(names: Sequence[str], read: Callable[[Path], Read]) -> Iterator[tuple[Path, Read]]:
    """Reads pictures one by one. What is wrong with one of several is said in its place, and the others are read.

    Raises:
        CourseError: one alone cannot be read; of several, at the end, which could not.
    """
    bad = []
    for path in map(Path, names):
        try:
            found = read(path)
        except CourseError as error:
            if len(names) == 1:
                raise
            print(f"\n{error}")
            bad.append(str(path))
            continue
        yield path, found
    if bad:
        raise CourseError(f"{len(bad)} of {len(names)} pictures could not be read: {', '.join(bad)}.")


def free_name(folder: Path, stem: str, ending: str, taken: set[str]) -> Path:
    """A name for a file that no other of this call has: two pictures may be called cat.jpg, in two folders."""
    name, number = stem + ending, 2
    while name.casefold() in taken:  # to some systems A.png and a.png are one
        name, number = f"{stem}_{number}{ending}", number + 1
    taken.add(name.casefold())
    return folder / name
