"""The words of a figure that is pixels, by rapidocr (PP-OCRv4), the recogniser of week 11.

Where lines of text stand is found once; then each is brought to one height of letters and read. Labels of ticks that
the network sees and the recogniser has passed over, as it does with single digits, are read as well. What it takes for
each other, 0 and O or $ and 8, is told apart by what the other labels look like.
"""

import re
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from week11_rag import ocr
from week16_capstone.axes import number
from week16_capstone.chart import Figure, Unreadable, Word

WIDE = 1000  # pixels of a picture's longer side, at least, in which lines are looked for
HIGH = 48  # pixels of a line as it is read, whatever it is in the picture
SURE = 0.5
ALIKE = str.maketrans("Oo。○lI|SGZ", "0000111562")
Sides = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""
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
    places = [place for corners in lines_of(picture) if (place := placed(corners))]
    level = [sides for sides, angle in places if angle == 0.0]
    turned = any(10 < abs(angle) < 80 for _, angle in places)  # then the labels below stand at a slant, all of them
    places += [(sides, 0.0) for sides in missed(level, () if turned else below, beside)]
    read = said([line_at(picture, sides, angle) for sides, angle in places])
    found = [(sides, angle, tidy(text)) for (sides, angle), (text, sure) in zip(places, read, strict=True)
             if sure > SURE and tidy(text)]  # fmt: skip
    texts = mended([text for *_, text in found])
    return tuple(Word(text, box(figure, trimmed(sides, picture) if angle == 0.0 else sides), angle)
                 for (sides, angle, _), text in zip(found, texts, strict=True))  # fmt: skip


def lines_of(picture: Any) -> Any:
    """The four corners of each line of text, clockwise from where it begins; found in an enlarged picture, or labels
    that stand close to each other are one."""
    times = max(1.0, WIDE / max(picture.size))
    large = picture.resize((round(picture.width * times), round(picture.height * times)), Image.Resampling.BICUBIC)
    found = ocr.engine()(np.asarray(large)[:, :, ::-1], use_cls=False, use_rec=False)[0] or []
    return [[(x / times, y / times) for x, y in corners] for corners in found]


def placed(corners: Any) -> tuple[Sides, float] | None:
    """(its box, its angle in degrees) of a line; None where it is too small to be one."""
    xs, ys = zip(*((float(x), float(y)) for x, y in corners), strict=True)
    wide, high = max(xs) - min(xs), max(ys) - min(ys)
    angle = float(np.degrees(np.arctan2(ys[0] - ys[1], xs[1] - xs[0])))
    angle = angle if 10 < abs(angle) < 80 else 90.0 if high > 1.5 * wide else 0.0
    return ((min(xs), min(ys), max(xs), max(ys)), angle) if min(wide, high) >= 3 else None


def line_at(picture: Any, sides: Sides, angle: float) -> Any:
    """A line of text, turned level, HIGH pixels high."""
    left, top, right, bottom = sides
    if angle == 90.0:  # the label of the y axis is written upwards
        part = picture.crop((round(left), round(top), round(right), round(bottom))).rotate(-90, expand=True)
    elif angle:
        part = level_part(picture, sides, angle)
    else:
        part = picture.crop((round(left), round(top), round(right), round(bottom)))
    return part.resize((max(8, round(part.width * HIGH / part.height)), HIGH), Image.Resampling.BICUBIC)


def level_part(picture: Any, sides: Sides, angle: float) -> Any:
    """What stands in a box at a slant: the box turned around its middle, and the line in the middle of that cut out."""
    left, top, right, bottom = sides
    turn = np.radians(abs(angle))
    wide, high = right - left, bottom - top  # wide = long cos + thick sin, high = long sin + thick cos
    long, thick = np.linalg.solve([[np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]], [wide, high])
    x, y = (left + right) / 2, (top + bottom) / 2
    turned = picture.rotate(-angle, Image.Resampling.BICUBIC, center=(x, y))
    half = max(long, 8.0) / 2, max(thick, 4.0) / 2
    return turned.crop((round(x - half[0]), round(y - half[1]), round(x + half[0]), round(y + half[1])))


def box(figure: Figure, sides: tuple[float, float, float, float]) -> Any:
    """Pixels on the page."""
    (left, bottom), (right, top) = figure.point((sides[0], sides[3])), figure.point((sides[2], sides[1]))
    return left, bottom, right, top


def said(pictures: list[Any]) -> list[tuple[str, float]]:
    """(text, how sure) of each picture of one line."""
    if not pictures:
        return []
    found, _ = ocr.engine().text_rec([np.asarray(picture)[:, :, ::-1] for picture in pictures])
    return [(text, float(sure)) for text, sure in (one[:2] for one in found)]


def tidy(text: str) -> str:
    """Without the tick that was read as a dash at an end."""
    return re.sub(r"(?<=[^\s\-–—_|])\s*[-–—_|]+$", "", text.strip()).strip()


def mended(texts: Sequence[str]) -> list[str]:
    """Labels of one figure without what recognisers take for each other: letters in numbers and digits in words; the
    dollar that became a digit where all others have one; and the comma that became a full stop, which is seen where
    there are commas, or where every number has three digits behind it, the last of them 0."""
    found = []
    for text in texts:
        digits, bare = sum(map(str.isdigit, text)), text.translate(ALIKE)
        if number(bare) is not None and (text in ("O", "o", "。", "○") or (digits and len(text) > 2)):
            text = bare
        elif number(text) is None:
            text = re.sub(r"\b0(?=[a-z]{2})", "O", re.sub(r"(?<=[a-z])0(?=[a-z])", "o", text))
        found.append(text)
    numbers = [text for text in found if number(text) is not None]
    if sum("$" in text for text in numbers) > len(numbers) / 2:
        found = [re.sub(r"^(-?)[8S63](?=\d)", r"\1$", text) if number(text) is not None and "$" not in text
                 and len(text) > 1 else text for text in found]  # fmt: skip
    parted = [text for text in numbers if re.fullmatch(r"\D*[1-9]\d{0,2}\.\d{3}\D*", text)]
    others = [text for text in numbers if "." in text and text not in parted]
    commas = any(re.fullmatch(r"\D*\d{1,3},\d{3}\D*", text) for text in numbers)
    if commas or (len(parted) > 1 and not others and all(re.search(r"0\D*$", text) for text in parted)):
        found = [re.sub(r"(?<=\d)\.(?=\d{3}(\D|$))", ",", text) for text in found]
    return found


def missed(level: Sequence[Sides], below: Ticks, beside: Ticks, most: int = 12) -> list[Sides]:
    """Where labels of ticks would stand at which no line of text was found."""
    if not level:
        return []
    high = statistics.median(bottom - top for _, top, _, bottom in level)
    found = []
    for x, y in beside:
        if not any(abs((top + bottom) / 2 - y) < 0.6 * high and right < x + high and right > x - 4 * high
                   for _, top, right, bottom in level):  # fmt: skip
            found.append((x - 3 * high, y - 0.6 * high, x - 0.2 * high, y + 0.6 * high))
    for x, y in below:
        if not any(
            left - high < x < right + high and -0.5 * high < top - y < 2 * high for left, top, right, _ in level
        ):
            found.append((x - 1.5 * high, y + 0.2 * high, x + 1.5 * high, y + 1.5 * high))
    return [(max(0.0, left), max(0.0, top), right, bottom) for left, top, right, bottom in found[:most]
            if right > 4 and bottom - max(0.0, top) > 4]  # fmt: skip


def trimmed(sides: Sides, picture: Any) -> Sides:
    """A box narrowed to what is written in it, without the axis' tick at its right or its top."""
    left, top, right, bottom = (max(0, round(side)) for side in sides)
    pixels = np.asarray(picture.crop((left, top, right, bottom)), float)
    ink = np.abs(pixels - np.median(pixels.reshape(-1, 3), axis=0)).max(axis=2) > 60  # (pixels, 3)
    without_tick(ink[:, ::-1])
    without_tick(ink.T)
    columns, rows = np.flatnonzero(ink.any(axis=0)), np.flatnonzero(ink.any(axis=1))
    if not len(columns):
        return sides
    return (float(left + columns[0]), float(top + rows[0]), float(left + columns[-1] + 1), float(top + rows[-1] + 1))


def without_tick(ink: np.ndarray, thick: int = 3) -> None:
    """Takes a stroke out of (H, W) that stands in its first columns, with a gap before the letters begin."""
    there = ink.sum(axis=0)
    blank = np.flatnonzero(there == 0)
    start = int(np.flatnonzero(there)[0]) if there.any() else 0
    behind = blank[blank > start]
    if len(behind) and not there[behind[0] : behind[0] + 3].any() and there[start : behind[0]].max() <= thick:
        ink[:, : behind[0]] = False
