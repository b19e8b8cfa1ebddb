"""Captions: which block of text says what a figure or a table is, and which one it belongs to."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from week11_rag.layout import join
from week11_rag.lines import Line
from week16_capstone.chart import Box, around

NAMES = "Figure|Fig|Chart|Exhibit|Graph|Diagram|Plot|Table|Tab|Abbildung|Abb|Tabelle"
CAPTION = re.compile(
    rf"\W{{0,2}}(?P<name>(?i:{NAMES}))\.?\s*(?P<number>[A-Z]?\d+(?:[.\-–]\d+)*[a-z]?|[IVX]{{1,5}}\b|[A-Z]\b)"
    r"(?P<end>\s*[:.|—–-]+(?:\s+|$)|\s+(?=[A-Z(“\"'])|\s*$)(?P<text>.*)",
    re.S,
)
MOST_LINES = 8
FURTHEST = 64.0  # points between a caption and what it belongs to: a pie has wide margins that one cannot see
SHARED = 0.1
"""Of the narrower of the two: a short caption begins at the left of its column, and a table may stand in the middle."""


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
    return bool(match and match["name"][0].isupper() and (":" in match["end"] or not match["text"][:1].islower()))


def captions(lines: Sequence[Line], page: int) -> tuple[list[Caption], set[int]]:
    """The captions among the lines of a page, from the top down, and the ids of their lines.

    A caption goes on in the lines below it that are as large, begin about where it does, and follow closely.
    """
    ordered = sorted(lines, key=lambda line: (-line.base, line.left))
    found, taken = [], set()
    for place, line in enumerate(ordered):
        if id(line) in taken or not starts_caption(line.text):
            continue
        own = [line]
        for other in ordered[place + 1 :]:
            step = own[-1].base - other.base
            if len(own) == MOST_LINES or step > 1.45 * line.size:
                break
            same = abs(other.size - line.size) < 0.3 and abs(other.left - line.left) < 2 * line.size
            if step > 0.5 * line.size and same and not starts_caption(other.text):
                own.append(other)
        match = CAPTION.match(join([one.text for one in own], Counter()))
        if match is None:
            continue
        kind: Literal["figure", "table"] = "table" if match["name"].lower().startswith("tab") else "figure"
        found.append(Caption(kind, match["number"], match["text"].strip(), page, around([one.box for one in own])))
        taken |= {id(one) for one in own}
    return found, taken


def tied(figures: Sequence[Box], captions: Sequence[Box], furthest: float = FURTHEST) -> dict[int, int]:
    """Which caption belongs to which figure of a page.

    Args:
        figures, captions: their boxes.
        furthest: how far apart they may be, up or down.

    Returns:
        {row of a figure: row of its caption}; none of either is there twice.
    """
    # exercise 5: figures and captions, which caption is whose
    # figures and captions, boxes (left, bottom, right, top) of one page -> {row of a figure: row of its caption}. A
    # caption stands below its figure or above it, at most `furthest` away, and in its column: what they share across is
    # at least SHARED of the narrower one. The pair that is nearest of all belongs together, then the nearest of the
    # rest, and so on; of equally near ones the caption below its figure. None of either is in two pairs.
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
    # end of exercise 5


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
