"""Captions: which block of text says what a figure or a table is, and which one it belongs to."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from week11_rag.pages import Block
from week16_capstone.chart import Box

NAMES = "Figure|Fig|Chart|Exhibit|Graph|Diagram|Plot|Table|Tab|Abbildung|Abb|Tabelle"
CAPTION = re.compile(
    rf"^\W{{0,2}}(?P<name>{NAMES})\.?\s*(?P<number>[A-Z]?\d+(?:[.\-–]\d+)*[a-z]?|[IVX]{{1,5}}\b|[A-Z]\b)"
    r"(?P<end>\s*[:.|—–-]+\s|\s+(?=[A-Z(“\"'])|\s*$)(?P<text>.*)",
    re.I | re.S,
)
FURTHEST = 42.0  # points between a caption and what it belongs to
SHARED = 0.5  # of the narrower of the two, that stands above the other


@dataclass(frozen=True)
class Caption:
    """A caption: of a figure or a table, its number as it is printed, its text without that, its page and box."""

    kind: Literal["figure", "table"]
    number: str
    text: str
    page: int
    box: Box


def starts_caption(text: str) -> bool:
    """Whether a line begins a caption: `Figure 3: …`, `Fig. 3. …`, `Chart 2` alone, `Figure 3 Revenue`. In a text one
    reads `Figure 3 shows …`, `see Figure 3`, which are none."""
    match = CAPTION.match(text)
    if not match or not text.lstrip("\W")[:1].isupper():
        return False
    rest = match["text"].lstrip()
    return not match["end"].strip() or not rest or not rest[0].islower() or ":" in match["end"]


def captions(blocks: Sequence[Block]) -> list[Caption]:
    """The captions among the blocks of a page, in their order."""
    found = []
    for block in blocks:
        match = CAPTION.match(block.text)
        if not match or block.kind in ("table", "code") or len(block.text) > 600 or not starts_caption(block.text):
            continue
        kind: Literal["figure", "table"] = "table" if match["name"].lower().startswith("tab") else "figure"
        found.append(Caption(kind, match["number"], match["text"].strip(), block.page, block.box))
    return found


def tied(figures: Sequence[Box], captions: Sequence[Box], furthest: float = FURTHEST) -> dict[int, int]:
    """Which caption belongs to which figure of a page.

    Args:
        figures, captions: their boxes.
        furthest: how far apart they may be, up or down.

    Returns:
        {row of a figure: row of its caption}; none of either is there twice.
    """
    # exercise 2: captions to figures
    # figures and captions, boxes (left, bottom, right, top) of one page -> {row of a figure: row of its caption}. A
    # caption stands below its figure or above it, at most `furthest` away, and in its column: what they share across is
    # at least SHARED of the narrower one. The pair that is nearest of all belongs together, then the nearest of the
    # rest, and so on; of equally near ones the caption below its figure. A figure has one caption, a caption one figure.
    # hint: note (gap, 0 below or 1 above, row, row) of all pairs that may be, sort, and take those whose two are free.
    pairs = []
    for row, figure in enumerate(figures):
        for number, caption in enumerate(captions):
            shared = min(figure[2], caption[2]) - max(figure[0], caption[0])
            narrower = min(figure[2] - figure[0], caption[2] - caption[0])
            below, above = figure[1] - caption[3], caption[1] - figure[3]
            gap = max(below, above)
            if shared >= SHARED * narrower and -6 <= gap <= furthest:
                pairs.append((gap, above > below, row, number))
    found: dict[int, int] = {}
    for _, _, row, number in sorted(pairs):
        if row not in found and number not in found.values():
            found[row] = number
    return found
    # end of exercise 2


def panels(figures: Sequence[Box], captions: Sequence[Box], tied: dict[int, int]) -> dict[int, int]:
    """{row of a figure without a caption: the row of one beside it, whose caption stands below both}."""
    found = {}
    for row, box in enumerate(figures):
        if row in tied:
            continue
        for other, number in tied.items():
            near = figures[other]
            level = min(box[3], near[3]) - max(box[1], near[1]) > 0.6 * min(box[3] - box[1], near[3] - near[1])
            caption = captions[number]
            wide = min(box[2], caption[2]) - max(box[0], caption[0]) > 0
            gap = max(box[0] - near[2], near[0] - box[2])
            if level and (wide or gap < 24):
                found[row] = other
                break
    return found
