"""From marks and words to a chart: axes fitted, marks named, and what cannot be read surely refused.

The same for vectors and for pixels: they differ in how marks, ticks and colours are found, and in nothing here. All
places are points with y upwards, as in Figure.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from week16_capstone.axes import Axis, fit, number
from week16_capstone.chart import Box, Chart, Kind, Point, Unreadable, Value, Word
from week16_capstone.witness import beside, heard


@dataclass(frozen=True)
class Mark:
    """Something that stands for a number: the end of a bar, a vertex, a dot. `series` is a number by colour."""

    point: Point
    box: Box
    series: int = 0
    sure: float = 1.0


@dataclass(frozen=True)
class Seen:
    """What was found in a figure.

    Attributes:
        kind: bar, line or scatter.
        marks: of any series.
        words: of the whole figure.
        ticks_x, ticks_y: places of ticks or grid lines, to which labels are snapped: x of those of the horizontal axis,
            y of those of the vertical one.
        named: which series a word's swatch has the colour of; None for words that are no legend.
        horizontal: bars lie.
        base: where bars begin, along the value axis; None where that is not known.
        near: how exact places are, in points.
        how, sure: for the Chart.
    """

    kind: Kind
    marks: tuple[Mark, ...]
    words: tuple[Word, ...]
    ticks_x: tuple[float, ...] = ()
    ticks_y: tuple[float, ...] = ()
    named: Callable[[Word], int | None] = field(default=lambda word: None)
    horizontal: bool = False
    base: float | None = None
    near: float = 1.0
    how: Literal["vector", "raster"] = "vector"
    sure: float = 1.0


NO_LABEL = "(no label)"
Labels = list[tuple[Word, float]]
"""Words with their places along an axis."""


def chart(seen: Seen) -> Chart:
    """The chart that was seen.

    Raises:
        Unreadable: no numbers along an axis, a log axis, two value axes, no categories.
    """
    if not seen.marks:
        raise Unreadable("no marks were found in it", seen.kind)
    values = value_axis(seen)
    axis, ticked = values
    used = {id(word) for word, _ in ticked}
    along = 0 if seen.horizontal else 1
    if seen.base is not None and abs(axis.place(0.0) - seen.base) < 3 * seen.near:  # bars begin at zero, exactly
        axis = replace(axis, start=-axis.slope * seen.base)
    rest = [word for word in seen.words if id(word) not in used]
    names, labels = across(seen, rest, 1 - along)
    used |= {id(word) for word in labels}
    legend = {series: word for word in seen.words if id(word) not in used and (series := seen.named(word)) is not None}
    used |= {id(word) for word in legend.values()}
    names_of = {series: word.text for series, word in legend.items()}
    sure = seen.sure * axis_sure(axis)
    printed = second(seen, [word for word in seen.words if id(word) not in used])
    used |= {id(pair[0]) for pair in printed if pair}
    found = []
    several = len({mark.series for mark in seen.marks}) > 1
    for mark, name, pair in zip(seen.marks, names, printed, strict=True):
        series = names_of.get(mark.series, f"series {mark.series + 1}" if several else "")
        y, how_sure = float(f"{axis.value(mark.point[along]):.5g}"), sure * mark.sure
        if pair:
            y, how_sure = heard(y, how_sure, pair[1])
        found.append(Value(series, name, y, mark.box, round(how_sure, 4)))
    if seen.kind != "scatter":  # of two marks with the same names, the surer one
        best = {(value.series, value.x): value for value in sorted(found, key=lambda value: value.confidence)}
        found = [value for value in found if best[value.series, value.x] is value or value.x == NO_LABEL]
    title, x_label, y_label = headings([word for word in seen.words if id(word) not in used], ticked, seen)
    return Chart(seen.kind, title, x_label, y_label, tuple(found), seen.how, seen.horizontal, seen.sure)


def second(seen: Seen, words: Sequence[Word]) -> list[tuple[Word, float] | None]:
    """For each mark of a bitmap the number that is printed at it, if any. Paths need no second witness."""
    if seen.how == "vector" or seen.kind == "scatter":
        return [None] * len(seen.marks)
    numbers = [(word, value) for word in words if abs(word.angle) < 5 and (value := number(word.text)) is not None]
    return beside([mark.point for mark in seen.marks], numbers, seen.horizontal)


def axis_sure(axis: Axis) -> float:
    """How sure an axis is: all of its labels on it, and more than two of them."""
    return len(axis.used) / axis.count * (1.0 if len(axis.used) > 3 else 0.9 if len(axis.used) == 3 else 0.6)


def value_axis(seen: Seen) -> tuple[Axis, Labels]:
    """The axis that numbers are read off, and its labels.

    Raises:
        Unreadable: there is none, it is a log axis, or there are two.
    """
    along = 0 if seen.horizontal else 1
    found = numeric(seen, along)
    if not found:
        raise Unreadable("no axis with numbers was found", seen.kind)
    axis, labels = found[0]
    if axis.scale == "log" or all("^" in labels[n][0].text for n in axis.used):  # 10^3, 10^4: two are on any line
        raise Unreadable("its value axis is logarithmic", seen.kind)
    if seen.how == "raster" and all(re.fullmatch(r"10\d?", labels[n][0].text) for n in axis.used):
        raise Unreadable("its value axis may be logarithmic: 103 and 10^3 look the same to a recogniser", seen.kind)
    for other, theirs in found[1:]:
        apart = abs(theirs[0][0].middle[1 - along] - labels[0][0].middle[1 - along]) > 20 * seen.near
        same = all(abs(axis.place(other.value(at)) - at) < 4 * seen.near for _, at in theirs)
        if len(other.used) >= 3 and apart and not same and outside(theirs, seen, 1 - along):
            raise Unreadable("it has two value axes", seen.kind)
    return axis, [labels[n] for n in axis.used]


def outside(labels: Labels, seen: Seen, across: int) -> bool:
    """Whether labels stand beside all marks, and not among them as printed values do."""
    places = [mark.point[across] for mark in seen.marks]
    return (min(word.box[across] for word, _ in labels) > max(places) - seen.near
            or max(word.box[across + 2] for word, _ in labels) < min(places) + seen.near)  # fmt: skip


def numeric(seen: Seen, along: int) -> list[tuple[Axis, Labels]]:
    """Axes along x (0) or y (1): numbers that stand in a line and grow evenly; the likeliest first."""
    ticks = seen.ticks_y if along else seen.ticks_x
    words = [(word, value) for word in seen.words if abs(word.angle) < 5 and (value := number(word.text)) is not None]
    found: list[tuple[Axis, Labels]] = []
    for edge in (2, 0) if along else (1,):  # a column shares its right or left side, a row its bottom
        for group in lined_up(words, edge, 4 * seen.near):
            labels = [(word, snapped(word, along, ticks)) for word, _ in group]
            if outside(labels, seen, 1 - along) or seen.kind == "scatter":
                try:
                    axis = fit([at for _, at in labels], [value for _, value in group], 2.5 * seen.near)
                except ValueError:
                    continue
                found.append((axis, labels))
    if along:  # a value axis stands at the left more often
        found.sort(key=lambda pair: (-len(pair[0].used), pair[1][0][0].middle[0]))
    else:
        found.sort(key=lambda pair: (-len(pair[0].used), pair[1][0][0].middle[1]))
    return found


def lined_up(words: Sequence[tuple[Word, float]], edge: int, near: float) -> list[list[tuple[Word, float]]]:
    """Groups of at least two words that share a side of their boxes."""
    groups: list[list[tuple[Word, float]]] = []
    for pair in sorted(words, key=lambda pair: pair[0].box[edge]):
        if groups and abs(pair[0].box[edge] - np.mean([word.box[edge] for word, _ in groups[-1]])) <= near:
            groups[-1].append(pair)
        else:
            groups.append([pair])
    return [group for group in groups if len(group) > 1]


def snapped(word: Word, along: int, ticks: Sequence[float]) -> float:
    """Where a label's tick is: the nearest one that is as near as half of the label's height, else its middle."""
    middle, high = word.middle[along], word.box[3] - word.box[1]
    nearest = min(ticks, key=lambda tick: abs(tick - middle), default=None)
    return nearest if nearest is not None and abs(nearest - middle) < 0.5 * high else middle


def across(seen: Seen, words: list[Word], along: int) -> tuple[list[str | float], list[Word]]:
    """What each mark stands at on the other axis, and the labels there: categories, or numbers of an axis.

    Raises:
        Unreadable: there are neither.
    """
    at = [mark.point[along] for mark in seen.marks]
    places = merged(at, 6 * seen.near if seen.kind == "line" else 3 * seen.near)
    if seen.kind != "bar":
        axes = [pair for pair in numeric(replace(seen, words=tuple(words)), along) if pair[0].scale == "linear"]
        if axes and len(axes[0][0].used) >= (2 if seen.kind == "scatter" else 3):
            axis, labels = axes[0]
            xs = [axis.value(place) for place in at]
            years = seen.kind == "line" and float(np.median([abs(x - round(x)) for x in xs])) < 0.15
            most = 0.0 if not years else 0.5 if seen.how == "raster" else 0.1  # a vertex that is between them is none
            xs = [float(round(x)) if abs(x - round(x)) <= most else float(f"{x:.5g}") for x in xs]
            return list(xs), [word for word, _ in labels]
    rows = category_rows(seen, words, along)
    if not rows:
        raise Unreadable("no labels were found along its axis", seen.kind)
    row = min(rows, key=lambda row: misfit(row, places))
    return named(at, row), [word for word, _ in row]


def named(places: Sequence[float], row: Labels) -> list[str | float]:
    """The label of each place: the nearest, unless that is a whole label's room away: then its own was not found."""
    anchors = np.array([at for _, at in row])
    room = np.diff(np.sort(anchors)).min(initial=np.inf)
    found: list[str | float] = []
    for place in places:
        away = np.abs(anchors - place)
        found.append(row[int(away.argmin())][0].text if away.min() < 0.7 * room else NO_LABEL)
    return found


def merged(places: Sequence[int | float], near: int | float) -> list[int | float]:
    """Places without those that are nearly the same."""
    kept: list[int | float] = []
    for place in sorted(places):
        if not kept or place - kept[-1] > near:
            kept.append(place)
    return kept


def category_rows(seen: Seen, words: list[Word], along: int) -> list[Labels]:
    """Rows (or, for lying bars, columns) of words below (left of) the marks that may be categories."""
    other = 1 - along
    edge = 3 if other else 2  # their tops, or their right sides, are in one line
    end = min(mark.box[other] for mark in seen.marks)
    below = sorted((word for word in words if word.box[edge] < end + 4 * seen.near and abs(word.angle) < 80),
                   key=lambda word: -word.box[edge])  # fmt: skip
    rows: list[list[Word]] = []
    for word in below:
        high = (word.box[3] - word.box[1]) * (0.4 if word.angle > 5 else 0.6)
        if rows and abs(rows[-1][0].box[edge] - word.box[edge]) < max(high, 3 * seen.near):
            rows[-1].append(word)
        else:
            rows.append([word])
    ticks = seen.ticks_x if other else seen.ticks_y
    return [[(word, anchor(word, along, ticks)) for word in row] for row in rows]


def anchor(word: Word, along: int, ticks: Sequence[float]) -> float:
    """The place that a category's label points at: its middle, or its end where it is turned."""
    if along == 0 and 5 < word.angle < 80:
        return word.box[2] - 0.25 * (word.box[3] - word.box[1])
    return snapped(word, along, ticks)


def misfit(row: Labels, places: Sequence[float]) -> float:
    """How badly labels fit marks: the mean way from a label to the nearest mark, and from a mark to its label."""
    anchors = np.array([at for _, at in row])
    away = np.abs(anchors[:, None] - np.array(places)[None])  # (labels, marks)
    return float(away.min(axis=1).mean() + away.min(axis=0).mean())


def headings(words: list[Word], ticked: Labels, seen: Seen) -> tuple[str, str, str]:
    """(title, label of the categories' axis, label of the value axis), '' where there is none."""
    top = max(mark.box[3] for mark in seen.marks)
    bottom = min(word.box[1] for word, _ in ticked)
    left = min(word.box[0] for word, _ in ticked)
    plain = [word for word in words if abs(word.angle) < 5 and number(word.text) is None]
    above = [word for word in plain if word.middle[1] > top]
    title = max(above, key=lambda word: word.box[3] - word.box[1]).text if above else ""
    under = [word for word in plain if word.middle[1] < bottom and word.text != title]
    x_label = min(under, key=lambda word: word.middle[1]).text if under else ""
    turned = [word for word in words if 80 < abs(word.angle) < 100 and word.middle[0] < left + 4]
    y_label = turned[0].text if turned else ""
    return (title, y_label, x_label) if seen.horizontal else (title, x_label, y_label)
