"""What a PDF is once it was read: a document of pages of blocks in reading order."""

from dataclasses import dataclass
from typing import Literal

Box = tuple[float, float, float, float]
"""Left, bottom, right, top, in points (72 an inch) from the lower left corner of the page as it is shown."""
Kind = Literal["heading", "paragraph", "list", "table", "code"]


@dataclass(frozen=True)
class Block:
    """A piece of a page. `level` counts from 1 for headings (1: a chapter), and is 0 for all else. The rows of a table
    stand on lines of their own, their cells apart by ` | `."""

    page: int
    text: str
    kind: Kind
    box: Box
    level: int = 0


@dataclass(frozen=True)
class Page:
    """A page: its number in the file (from 1), its size in points, its blocks in reading order, and whether it is a
    picture, whose text had to be recognised."""

    number: int
    width: float
    height: float
    blocks: tuple[Block, ...]
    scanned: bool = False


@dataclass(frozen=True)
class Document:
    """A PDF that was read. `id` is the beginning of the sha256 of its bytes, `notes` are what a reader should know."""

    id: str
    name: str
    pages: tuple[Page, ...]
    notes: tuple[str, ...] = ()


def around(boxes: list[Box]) -> Box:
    """The smallest box with all of these in it."""
    left, bottom, right, top = zip(*boxes, strict=True)
    return min(left), min(bottom), max(right), max(top)
