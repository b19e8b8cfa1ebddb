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
    """Marks with their series; the colour of each series; and what tells which one a word of the legend names."""
    shades = clustered([spot.colour for spot in spots])
    names = legend(canvas, shades)
    if len(names) > 1:  # what looks like nothing in the legend belongs to what it looks most like there
        shades = [shades[row] for row in names]
        named = {word: row for row, word in enumerate(names.values())}.get
    else:
        counts = np.bincount([nearest(spot.colour, shades) for spot in spots], minlength=len(shades))
        kept = [row for row, count in enumerate(counts) if 4 * count >= counts.max()]
        shades = [shades[row] for row in kept]
        named = {names[row]: kept.index(row) for row in names if row in kept}.get
    marks = (Mark(spot.point, spot.box, nearest(spot.colour, shades), spot.sure) for spot in spots)
    return list(marks), shades, named


def nearest(colour: np.ndarray, shades: Sequence[np.ndarray]) -> int:
    """Which of some colours is most like one."""
    return int(np.argmin([np.linalg.norm(colour - shade) for shade in shades]))


def clustered(colours: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The colours that can be told apart, the commonest first."""
    groups: list[list[np.ndarray]] = []
    for colour in colours:
        near = [group for group in groups if np.linalg.norm(np.median(group, axis=0) - colour) < OTHER]
        (near[0] if near else groups.append([]) or groups[-1]).append(colour)
    return [np.median(group, axis=0) for group in sorted(groups, key=len, reverse=True)]


def legend(canvas: Canvas, shades: Sequence[np.ndarray]) -> dict[int, Word]:
    """For each colour that a swatch at the left of a word has: which word it is that has most of it."""
    best: dict[int, tuple[float, Word]] = {}
    for word in canvas.words:
        if number(word.text) is not None or abs(word.angle) > 5:
            continue
        left, top = canvas.figure.pixel((word.box[0], word.box[3]))
        high = canvas.figure.pixel((word.box[2], word.box[1]))[1] - top
        patch = canvas.patch(left - 2.8 * high, top, left - 0.15 * high, top + high).reshape(-1, 3)  # (pixels, 3)
        if len(patch) < 12:
            continue
        away = np.array([np.linalg.norm(patch - shade, axis=1) for shade in shades])  # (shades, pixels)
        rows = np.where(away.min(axis=0) < 0.9 * OTHER, away.argmin(axis=0), -1)
        counts = np.bincount(rows[rows >= 0], minlength=len(shades)) / len(patch)
        row = int(counts.argmax())
        if counts[row] > 0.04 and counts[row] > best.get(row, (0.0, None))[0]:
            best[row] = float(counts[row]), word
    return {row: word for row, (_, word) in sorted(best.items())}
