"""The words of a figure that is pixels, by rapidocr (PP-OCRv4), the recogniser of week 11.

It is asked twice: for all lines of text in the picture; then, a line at a time, for what stands upright and for the
labels of ticks that the network sees and the recogniser has passed over, as it does with single digits.
"""

import re
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from week11_rag import ocr
from week16_capstone.chart import Figure, Unreadable, Word

WIDE = 1000  # pixels of a picture's longer side: smaller ones are enlarged, or small digits are lost
SURE = 0.5
Ticks = Sequence[tuple[float, float]] | np.ndarray
"""Places in pixels."""


def recognise(figure: Figure, below: Ticks = (), beside: Ticks = ()) -> tuple[Word, ...]:
    """The labels in a figure's picture.

    Args:
        figure: whose picture is read.
        below, beside: ticks with a label below them, and with one at their left.

    Raises:
        Unreadable: rapidocr is not installed.
    """
    if not ocr.is_there():
        raise Unreadable(f"its labels are pixels, and nothing is there to read them (`{ocr.INSTALL}`)")
    picture = figure.picture
    times = max(1.0, WIDE / max(picture.size))
    large = picture.resize((round(picture.width * times), round(picture.height * times))) if times > 1 else picture
    words = []
    for corners, text, sure in asked(large):
        xs, ys = zip(*((float(x) / times, float(y) / times) for x, y in corners), strict=True)
        sides = min(xs), min(ys), max(xs), max(ys)
        angle = float(np.degrees(np.arctan2(ys[0] - ys[1], xs[1] - xs[0])))
        angle = angle if abs(angle) > 10 else 0.0
        if sides[3] - sides[1] > 1.5 * (sides[2] - sides[0]) and len(text.strip()) > 1:  # a label of the y axis
            turned = large.crop([round(side * times) for side in sides]).rotate(90 - 180, expand=True)
            text, sure, angle = (*line(turned), 90.0)
        if text.strip() and float(sure) > SURE:
            words.append((sides, tidy(text), angle))
    if words:
        words += missed(large, times, words, below, beside)
    if any(re.fullmatch(r"\D*\d{1,3},\d{3}\D*", text) for _, text, _ in words):  # then a full stop is a comma misread
        words = [(sides, re.sub(r"(?<=\d)\.(?=\d{3}(\D|$))", ",", text), angle) for sides, text, angle in words]
    return tuple(Word(text, box(figure, sides), angle) for sides, text, angle in words if text)


def box(figure: Figure, sides: tuple[float, float, float, float]) -> Any:
    """Pixels on the page."""
    (left, bottom), (right, top) = figure.point((sides[0], sides[3])), figure.point((sides[2], sides[1]))
    return left, bottom, right, top


def asked(picture: Any) -> list[Any]:
    """[corners, text, how sure] of each line in a picture."""
    return ocr.engine()(np.asarray(picture)[:, :, ::-1], use_cls=False)[0] or []


def line(picture: Any) -> tuple[str, float]:
    """(text, how sure) of a picture of one line."""
    if min(picture.size) < 4:
        return "", 0.0
    pixels = np.asarray(picture)[:, :, ::-1]
    found = ocr.engine()(pixels, use_cls=False, use_det=False, use_rec=True)[0]
    return (found[0][0], float(found[0][1])) if found else ("", 0.0)


def tidy(text: str) -> str:
    """Without the tick that was read as a dash at an end."""
    return re.sub(r"(?<=\w)\s*[-–—_|]+$", "", text.strip()).strip()


def missed(large: Any, times: float, words: Sequence[Any], below: Ticks, beside: Ticks) -> list[Any]:
    """Labels of ticks at which no word was found, read one by one."""
    level = [sides for sides, _, angle in words if angle == 0.0]
    if not level:
        return []
    high = statistics.median(sides[3] - sides[1] for sides in level)
    found = []
    for x, y in beside:
        if not any(abs((top + bottom) / 2 - y) < 0.6 * high and right < x + high and right > x - 4 * high
                   for _, top, right, bottom in level):  # fmt: skip
            found.append((x - 3 * high, y - 0.7 * high, x - 0.2 * high, y + 0.7 * high))
    for x, y in below:
        if not any(
            left - high < x < right + high and -0.5 * high < top - y < 2 * high for left, top, right, _ in level
        ):
            found.append((x - 1.5 * high, y + 0.2 * high, x + 1.5 * high, y + 1.7 * high))
    lines = []
    for sides in found[:12]:
        edges = [round(side * times) for side in sides]
        text, sure = line(large.crop([max(0, edges[0]), max(0, edges[1]), edges[2], edges[3]]))
        if sure > SURE and tidy(text):
            lines.append((trimmed(sides, large, times), tidy(text), 0.0))
    return lines


def trimmed(sides: tuple[float, float, float, float], large: Any, times: float) -> tuple[float, float, float, float]:
    """A box of pixels narrowed to what is written in it."""
    left, top, right, bottom = (max(0, round(side * times)) for side in sides)
    pixels = np.asarray(large.crop((left, top, right, bottom)), float)
    ink = np.abs(pixels - np.median(pixels.reshape(-1, 3), axis=0)).max(axis=2) > 60
    columns, rows = np.flatnonzero(ink.any(axis=0)), np.flatnonzero(ink.any(axis=1))
    if not len(columns):
        return sides
    return ((left + columns[0]) / times, (top + rows[0]) / times, (left + columns[-1] + 1) / times,
            (top + rows[-1] + 1) / times)  # fmt: skip
