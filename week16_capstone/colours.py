"""A picture as something to take colours from: what has which colour, and which colours a legend names."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from week16_capstone.assemble import Mark
from week16_capstone.axes import number
from week16_capstone.chart import Box, Figure, Number, Point, Word

OTHER = 45.0  # colours further apart than this are two


@dataclass
class Canvas:
    """A picture to take colours from, in pixels from the upper left corner."""

    figure: Figure
    words: tuple[Word, ...]

    @cached_property
    def pixels(self) -> Float[np.ndarray, "H W 3"]:
        return np.asarray(self.figure.picture, np.float32)

    @cached_property
    def back(self) -> Float[np.ndarray, " 3"]:
        """The commonest colour of the middle of the picture."""
        high, wide = self.pixels.shape[:2]
        middle = self.pixels[high // 6 : -high // 6, wide // 6 : -wide // 6].reshape(-1, 3)  # (pixels, 3)
        codes = (middle // 16).astype(int) @ (1, 16, 256)
        return np.median(middle[codes == np.bincount(codes).argmax()], axis=0)

    def run(self, x: Number, y: Number, dx: int, dy: int, colour: np.ndarray) -> int:
        """How many pixels from (x, y) on in a direction have a colour."""
        high, wide = self.pixels.shape[:2]
        column, row, count = round(x), round(y), 0
        misses = 0
        while 0 <= column < wide and 0 <= row < high and misses < 3:
            near = np.abs(self.pixels[row, column] - colour).max() < OTHER
            misses = 0 if near else misses + 1
            count += 1
            column, row = column + dx, row + dy
        return count - misses

    def patch(self, left: Number, top: Number, right: Number, bottom: Number) -> Float[np.ndarray, "H W 3"]:
        """A part of the picture; empty where it lies outside."""
        high, wide = self.pixels.shape[:2]
        sides = [max(0, round(left)), min(wide, round(right)), max(0, round(top)), min(high, round(bottom))]
        return self.pixels[sides[2] : sides[3], sides[0] : sides[1]]

    def box(self, left: Number, top: Number, right: Number, bottom: Number) -> Box:
        """A box of pixels on the page."""
        (x0, y0), (x1, y1) = self.figure.point((left, bottom)), self.figure.point((right, top))
        return x0, y0, x1, y1


@dataclass(frozen=True)
class Spot:
    """A mark before its series is known: its place in points, box, colour, and how sure the network is."""

    point: Point
    box: Box
    colour: np.ndarray
    sure: float


def coloured(canvas: Canvas, spots: Sequence[Spot]) -> tuple[list[Mark], list[np.ndarray], Any]:
    """Marks with their series; the colour of each series; and what tells which one a word of the legend names. Without
    a legend all are of one series."""
    entries = legend(canvas)
    shades = [colour for _, colour in entries] or [np.median([spot.colour for spot in spots], axis=0)]
    named = {word: row for row, (word, _) in enumerate(entries)}.get
    marks = [Mark(spot.point, spot.box, nearest(spot.colour, shades), spot.sure) for spot in spots]
    return marks, shades, named


def nearest(colour: np.ndarray, shades: Sequence[np.ndarray]) -> int:
    """Which of some colours is most like one."""
    return int(np.argmin([np.linalg.norm(colour - shade) for shade in shades]))


def legend(canvas: Canvas) -> list[tuple[Word, np.ndarray]]:
    """The entries of a legend: words with a swatch at their left, in a column or a row, each with a colour of its own.
    Fewer than two are none."""
    found = []
    for word in canvas.words:
        if number(word.text) is None and abs(word.angle) < 5 and (swatch := swatch_of(canvas, word)):
            found.append((word, *swatch))
    best: list[Any] = []
    for word, *_ in found:
        high = word.box[3] - word.box[1]
        for side in (0, 1):  # a column shares its left sides, a row its bottoms
            group = [one for one in found if abs(one[0].box[side] - word.box[side]) < 0.5 * high]
            best = max(best, group, key=len)
    kept: list[tuple[Word, np.ndarray]] = []
    for word, colour, _ in sorted(best, key=lambda one: -one[2]):
        if all(np.linalg.norm(colour - other) > 0.6 * OTHER for _, other in kept):
            kept.append((word, colour))
    order = {word: place for place, (word, *_) in enumerate(best)}
    return sorted(kept, key=lambda one: order[one[0]]) if len(kept) > 1 else []


def swatch_of(canvas: Canvas, word: Word) -> tuple[np.ndarray, float] | None:
    """(colour, share of the place) of what stands at the left of a word and is as wide as a swatch."""
    left, top = canvas.figure.pixel((word.box[0], word.box[3]))
    right, bottom = canvas.figure.pixel((word.box[2], word.box[1]))
    high = bottom - top
    text = canvas.patch(left, top, right, bottom).reshape(-1, 3)  # (pixels, 3)
    patch = canvas.patch(left - 2.8 * high, top, left - 0.15 * high, bottom)
    if len(text) < 12 or patch.shape[0] < 3 or patch.shape[1] < 3:
        return None
    back = commonest(text)
    there = np.abs(patch - back).max(axis=2) > 35
    if there.mean() < 0.04 or longest(there) < 0.7 * high:  # letters are not so wide
        return None
    return commonest(patch[there]), float(there.mean())


def longest(there: np.ndarray) -> int:
    """The longest run of what is true in any row of (H, W)."""
    best, count = 0, np.zeros(there.shape[0], int)
    for column in there.T:
        count = np.where(column, count + 1, 0)
        best = max(best, int(count.max()))
    return best


def commonest(pixels: np.ndarray) -> np.ndarray:
    """The colour that most of some pixels (n, 3) have, more or less."""
    codes = (pixels // 32).astype(int) @ (1, 8, 64)
    middle = np.median(pixels[codes == np.bincount(codes).argmax()], axis=0)
    return np.median(pixels[np.abs(pixels - middle).max(axis=1) < OTHER], axis=0)
