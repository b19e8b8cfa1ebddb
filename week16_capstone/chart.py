"""A chart as it is cut out of a page, and as it is once it was read.

    chart = read(figure, reader)         # read.py: a Chart, or raises Unreadable: misread numbers are worse than none
    for value in chart.values:
        value.series, value.x, value.y, value.box, value.confidence

All places are boxes in points (72 an inch) from the lower left corner of the page, as in week 11.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Number = int | float
Box = tuple[Number, Number, Number, Number]
"""Left, bottom, right, top."""
Point = tuple[Number, Number]
Colour = tuple[int, int, int]
Kind = Literal["bar", "line", "pie", "scatter"]
KINDS = ("bar", "line", "pie", "scatter", "table", "photo")


@dataclass(frozen=True)
class Word:
    """A piece of text on one line (a whole label, not a single word of it). `angle`: its degrees, anticlockwise."""

    text: str
    box: Box
    angle: float = 0.0

    @property
    def middle(self) -> Point:
        left, bottom, right, top = self.box
        return (left + right) / 2, (bottom + top) / 2


@dataclass(frozen=True)
class Path:
    """A vector path: its lines, each a run of points (curves are cut into short straight pieces). A colour that is None
    is not painted."""

    lines: tuple[tuple[Point, ...], ...]
    closed: bool = False
    fill: Colour | None = None
    stroke: Colour | None = None
    width: float = 0.0
    curved: bool = False

    @property
    def box(self) -> Box:
        xs, ys = zip(*(point for line in self.lines for point in line), strict=True)
        return min(xs), min(ys), max(xs), max(ys)


@dataclass(frozen=True)
class Figure:
    """What is cut out of a page.

    Attributes:
        picture: a PIL image in RGB of `box`, with `scale` pixels a point.
        words, paths: what the page has there as text and as vectors; of a scan or a bitmap, none.
        page, box: where it stands.
    """

    picture: Any
    scale: float
    words: tuple[Word, ...]
    paths: tuple[Path, ...]
    page: int
    box: Box

    def pixel(self, point: Point) -> Point:
        """The place of a point of the page in the picture, in pixels from its upper left corner."""
        return (point[0] - self.box[0]) * self.scale, (self.box[3] - point[1]) * self.scale

    def point(self, pixel: Point) -> Point:
        """The other way round."""
        return self.box[0] + pixel[0] / self.scale, self.box[3] - pixel[1] / self.scale


@dataclass(frozen=True)
class Value:
    """One number of a chart: `y` at `x`, which is a category (text) or a number. Of a pie, y is its share in percent.
    `confidence`, from 0 to 1, is how likely y is within 5 %."""

    series: str
    x: str | float
    y: float
    box: Box
    confidence: float = 1.0


@dataclass(frozen=True)
class Chart:
    """A chart that was read; `how` says whether from its paths or from its pixels. What is not there is ''."""

    kind: Kind
    title: str
    x_label: str
    y_label: str
    values: tuple[Value, ...]
    how: Literal["vector", "raster"]
    horizontal: bool = False
    kind_confidence: float = 1.0

    @property
    def confidence(self) -> float:
        """Of the least sure of its values."""
        return min((value.confidence for value in self.values), default=0.0)

    @property
    def series(self) -> tuple[str, ...]:
        """The names of its series, as they come."""
        return tuple(dict.fromkeys(value.series for value in self.values))


class Unreadable(Exception):
    """A figure that is not read, and why: a photo, a table, a log axis, two y axes, stacked bars, no labels, …"""

    def __init__(self, reason: str, kind: str = "") -> None:
        super().__init__(reason)
        self.reason, self.kind = reason, kind


def around(boxes: Sequence[Box]) -> Box:
    """The smallest box with all of these in it."""
    left, bottom, right, top = zip(*boxes, strict=True)
    return min(left), min(bottom), max(right), max(top)
