"""A picture with what is said of it: a file, or a drawing on one of the bundled sheets."""

from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path

from PIL import Image

from shared.pictures import read_picture

SAMPLES = Path(__file__).resolve().parent.parent / "shared" / "samples"
SIDE, COLUMNS = 64, 50  # of a drawing on its sheet, and drawings in a row


@dataclass(frozen=True)
class Picture:
    """A picture and what is said of it.

    Attributes:
        name: its file, or its style and number.
        captions: one or more texts that are right for it.
        concept: what it shows. Two pictures of one concept have the same texts, so both are right for either.
        key: of its content; tells it from others.
        path: its file; None: it is on one of the bundled sheets, in the place `place`.
        tags: keywords, where somebody has given it some.
    """

    name: str
    captions: tuple[str, ...]
    concept: str
    key: str
    path: Path | None = None
    place: int = -1
    tags: tuple[str, ...] = ()

    @property
    def truth(self) -> str:
        return "\n".join((self.concept, *self.captions))

    def read(self) -> Image.Image:
        """The picture itself, in colour.

        Raises:
            CourseError: the file is damaged.
        """
        if self.path:
            return read_picture(self.path)
        row, column = divmod(self.place, COLUMNS)
        return sheet(self.name.partition("/")[0]).crop(
            (SIDE * column, SIDE * row, SIDE * (column + 1), SIDE * (row + 1))
        )


@cache
def sheet(style: str) -> Image.Image:
    """All drawings of one style."""
    with Image.open(SAMPLES / f"emoji_{style}.webp") as picture:
        return picture.convert("RGB")


def digest(path: Path) -> str:
    """A fingerprint of a file's content."""
    with path.open("rb") as file:
        found = blake2b(digest_size=16)
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()
