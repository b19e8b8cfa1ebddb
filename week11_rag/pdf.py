"""A PDF as text in reading order: pages of blocks, each a heading, a paragraph, a list item, a table or code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Box = tuple[float, float, float, float]
"""Left, bottom, right, top, in points from the page's lower left corner."""
Kind = Literal["heading", "paragraph", "list", "table", "code"]
MOST_PAGES = 5_000


@dataclass(frozen=True)
class Block:
    """A piece of a page. `level` counts from 1 for headings (1: a chapter), and is 0 for all else."""

    page: int
    text: str
    kind: Kind
    box: Box
    level: int = 0


@dataclass(frozen=True)
class Page:
    """A page: its number in the file (from 1), its size in points, its blocks in reading order, and whether it is a
    picture whose text had to be recognised."""

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


def read(
    path: str | Path, ocr: Literal["auto", "never"] = "auto", name: str = "", most_pages: int = MOST_PAGES
) -> Document:
    """Reads a PDF.

    Args:
        path: the file.
        ocr: auto recognises pages that are pictures where rapidocr is installed; never does not.
        name: what to call it, as in citations; default: the file's name.
        most_pages: more are refused.

    Raises:
        CourseError: it is encrypted, empty, cut short, no PDF, all pictures (without rapidocr), or too large.
    """
    raise NotImplementedError


def text_boxes(path: str | Path, page: int, quote: str) -> list[Box]:
    """Where a quoted text stands on a page: a box for each of its lines, for highlighting; [] where it is not there.

    Args:
        path: the PDF.
        page: its number, from 1.
        quote: the text, as it stands in a block or chunk; spaces, line breaks and hyphens at line ends do not count.
    """
    raise NotImplementedError


def render(path: str | Path, page: int, scale: float = 1.5) -> Any:
    """A page as a PIL image in RGB; `scale` 1 is a pixel for each point (72 an inch)."""
    raise NotImplementedError
