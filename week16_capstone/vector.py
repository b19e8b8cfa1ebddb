"""Charts that are vectors: every bar, vertex and wedge stands in the file, to a hundredth of a point. No network."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from week16_capstone.assemble import Mark, Seen, chart, merged
from week16_capstone.axes import number
from week16_capstone.chart import Box, Chart, Colour, Figure, Path, Point, Unreadable, Value, Word

NEAR = 0.6  # points within which two places are the same


def read(figure: Figure) -> Chart:
    """Reads a chart off its paths.

    Raises:
        Unreadable: it is none, or none that can be read surely.
    """
    paths = [path for path in figure.paths if path.lines and len(path.lines[0]) > 1]
    wedges = [path for path in paths if is_wedge(path)]
    hub = Counter(near_point(point) for path in wedges for point in path.lines[0][:-1]).most_common(1)
    if hub and hub[0][1] >= 2 and (whole := pie(figure, wedges, hub[0][0])):
        return whole
    rectangles = [path for path in paths if is_rectangle(path) and not covers(path.box, figure.box)]
    squares = Counter(size(path) for path in rectangles)
    markers = {size for size, many in squares.items() if many >= 3 and abs(size[0] - size[1]) < 0.3}
    rectangles = [path for path in rectangles if size(path) not in markers]
    if table(rectangles, figure.words):
        raise Unreadable("it is a table", "table")
    horizontal, base, bars = bars_of(rectangles, figure.words)
    lines = [path for path in paths if is_line(path) and not is_handle(path, figure.words)]
    if bars and lines:
        raise Unreadable("it has bars and lines", "bar")
    ticks_x, ticks_y = ticks(paths)
    common = {"words": figure.words, "ticks_x": ticks_x, "ticks_y": ticks_y, "near": NEAR}
    if bars:
        colours = distinct([path.fill for path in bars])
        refuse_stacked(bars, horizontal)
        end = 2 if horizontal else 3
        marks = [bar(path, base, horizontal, end, colours) for path in bars]
        named = legend(figure, colours, [path for path in paths if path not in bars])
        told = any(named(word) is not None for word in figure.words)
        marks = grouped(marks, horizontal, told)
        return chart(Seen("bar", marks, named=named, horizontal=horizontal, base=base, **common))
    if lines:
        colours = distinct([path.stroke for path in lines])
        marks = tuple(Mark(point, spot(point), colours.index(path.stroke)) for path in lines for point in path.lines[0])
        named = legend(figure, colours, [path for path in paths if path not in lines])
        return chart(Seen("line", marks, named=named, **common))
    dots = dots_of(paths, figure.words)
    if len(dots) < 3:
        raise Unreadable("there are no bars, lines, wedges or dots in it")
    colours = distinct([path.fill or path.stroke for path in dots])
    named = legend(figure, colours, [path for path in paths if path not in dots])
    inside = [
        path for path in dots if not any(beside(path.box, word) and named(word) is not None for word in figure.words)
    ]
    marks = tuple(Mark(middle(path.box), path.box, colours.index(path.fill or path.stroke)) for path in inside)
    return chart(Seen("scatter", marks, named=named, **common))


# ---------------------------------------------------------------- what a path is


def is_rectangle(path: Path) -> bool:
    """A filled rectangle with upright sides."""
    if path.fill is None or path.curved or len(path.lines) != 1 or not 4 <= len(path.lines[0]) <= 6:
        return False
    left, bottom, right, top = path.box
    corners = all(min(abs(x - left), abs(x - right)) < 0.01 and min(abs(y - bottom), abs(y - top)) < 0.01
                  for x, y in path.lines[0])  # fmt: skip
    return corners and right > left


def is_line(path: Path) -> bool:
    """A run of at least three points from left to right that is neither filled nor closed."""
    if path.stroke is None or path.fill is not None or path.closed or path.curved or len(path.lines) != 1:
        return False
    xs = [x for x, _ in path.lines[0]]
    return len(xs) >= 3 and bool((np.diff(xs) > 0).all())


def is_wedge(path: Path) -> bool:
    """A filled piece of a disc: large, and with a curved side."""
    left, bottom, right, top = path.box
    return path.fill is not None and path.curved and max(right - left, top - bottom) > 12


def is_handle(path: Path, words: Sequence[Word]) -> bool:
    """Whether a line is the sample in a legend: short, level, with a word at its right."""
    left, bottom, right, top = path.box
    return top - bottom < 0.01 and right - left < 45 and any(beside(path.box, word) for word in words)


def size(path: Path) -> tuple[float, float]:
    """Breadth and height, to a tenth of a point."""
    left, bottom, right, top = path.box
    return round(right - left, 1), round(top - bottom, 1)


def covers(inner: Box, outer: Box) -> bool:
    """Whether a rectangle is the background of a figure or of its plot."""
    wide, high = (inner[2] - inner[0]) / (outer[2] - outer[0]), (inner[3] - inner[1]) / (outer[3] - outer[1])
    return wide > 0.5 and high > 0.5


def middle(box: Box) -> Point:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def spot(point: Point, side: float = 3.0) -> Box:
    return point[0] - side, point[1] - side, point[0] + side, point[1] + side


def near_point(point: Point) -> Point:
    return round(point[0], 1), round(point[1], 1)


def distinct(colours: Sequence[Colour | None]) -> list[Colour]:
    """Each colour once, in the order in which they come."""
    return [colour for colour in dict.fromkeys(colours) if colour is not None]


def ticks(paths: Sequence[Path]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Places of upright strokes along x, and of level ones along y: ticks, grid lines and sides of the frame."""
    upright, level = [], []
    for path in paths:
        for line in path.lines if path.stroke is not None else ():
            if len(line) == 2:
                (x0, y0), (x1, y1) = line
                if abs(x0 - x1) < 0.01 < abs(y0 - y1):
                    upright.append(x0)
                elif abs(y0 - y1) < 0.01 < abs(x0 - x1):
                    level.append(y0)
    return tuple(merged(upright, 0.2)), tuple(merged(level, 0.2))


# ---------------------------------------------------------------- bars


def table(rectangles: Sequence[Path], words: Sequence[Word]) -> bool:
    """Whether most rectangles are cells, with a word in each."""
    held = sum(any(b[0] <= x <= b[2] and b[1] <= y <= b[3] for x, y in (word.middle for word in words))
               for b in (path.box for path in rectangles) if b[3] - b[1] < 40)  # fmt: skip
    return len(rectangles) >= 4 and held > 0.6 * len(rectangles)


def bars_of(rectangles: Sequence[Path], words: Sequence[Word]) -> tuple[bool, float, list[Path]]:
    """(whether they lie, where they begin, the bars): the most rectangles of one breadth that begin at one place."""
    best: tuple[bool, float, list[Path]] = (False, 0.0, [])
    swatches = [path for path in rectangles if is_swatch(path.box, words)]
    found = [path for path in rectangles if path not in swatches]
    for horizontal in (False, True):
        low, high, side = (0, 2, 1) if horizontal else (1, 3, 0)
        for breadth in {round(path.box[side + 2] - path.box[side], 1) for path in found}:
            alike = [path for path in found if abs(path.box[side + 2] - path.box[side] - breadth) < 0.3]
            sides = Counter(round(path.box[end], 1) for path in alike for end in (low, high))
            for base, _ in sides.most_common(2):
                held = [path for path in alike if min(abs(path.box[low] - base), abs(path.box[high] - base)) < 0.3]
                stacked = [path for path in alike if path not in held]
                if len(held) > len(best[2]) and len(merged([path.box[side] for path in held], 0.3)) > len(held) / 2:
                    exact = float(np.median([min((path.box[low], path.box[high]), key=lambda s: abs(s - base))
                                             for path in held]))  # fmt: skip
                    best = horizontal, exact, held + stacked
    return best if len(best[2]) >= 2 else (False, 0.0, [])


def is_swatch(box: Box, words: Sequence[Word]) -> bool:
    """A small box with a word close at its right: an entry of a legend."""
    return box[3] - box[1] < 16 and box[2] - box[0] < 40 and any(
        beside(box, word) and number(word.text) is None for word in words
    )  # fmt: skip


def beside(box: Box, word: Word) -> bool:
    """Whether a word stands at the right of a box, at its height."""
    high = word.box[3] - word.box[1]
    level = box[1] - 0.5 * high <= word.middle[1] <= box[3] + 0.5 * high
    return level and -0.5 * high < word.box[0] - box[2] < 2 * high


def bar(path: Path, base: float, horizontal: bool, end: int, colours: list[Colour]) -> Mark:
    """The mark of a bar: the middle of its end that is not at the base."""
    low, high = path.box[end - 2], path.box[end]
    tip = high if abs(low - base) <= abs(high - base) else low
    x, y = middle(path.box)
    return Mark((tip, y) if horizontal else (x, tip), path.box, colours.index(path.fill))


def refuse_stacked(bars: Sequence[Path], horizontal: bool) -> None:
    """Unreadable where one bar stands on another."""
    low, side = (0, 1) if horizontal else (1, 0)
    for one in bars:
        for other in bars:
            same = abs(one.box[side] - other.box[side]) < 0.3 and one is not other
            if same and abs(one.box[low + 2] - other.box[low]) < 0.3 and one.fill != other.fill:
                raise Unreadable("its bars are stacked", "stacked")


def grouped(marks: Sequence[Mark], horizontal: bool, told: bool = False) -> tuple[Mark, ...]:
    """The marks; all of one series where bars of different colours stand alone, each at its own category, and no legend
    has `told` what the colours mean."""
    along = 1 if horizontal else 0
    order = sorted(marks, key=lambda mark: mark.point[along])
    colours = [mark.series for mark in order]
    gaps = np.diff([mark.point[along] for mark in order])
    even = len(gaps) == 0 or gaps.max() < 1.2 * gaps.min()
    alone = len(set(colours)) == len(colours) or colours.count(colours[0]) == 1 or not told
    if even and len(set(colours)) > 1 and alone:
        return tuple(Mark(mark.point, mark.box, 0, mark.sure) for mark in marks)
    return tuple(marks)


# ---------------------------------------------------------------- dots, legends, pies


def dots_of(paths: Sequence[Path], words: Sequence[Word]) -> list[Path]:
    """The small shapes that come most often, of one size."""
    small = [path for path in paths if path.fill is not None and path.closed and not covers_much(path.box)]
    sizes = Counter((*size(path), len(path.lines[0])) for path in small).most_common(1)
    return [path for path in small if (*size(path), len(path.lines[0])) == sizes[0][0]]


def covers_much(box: Box) -> bool:
    return max(box[2] - box[0], box[3] - box[1]) > 16


def legend(figure: Figure, colours: Sequence[Colour], others: Sequence[Path]):
    """What tells which series a word belongs to: something of its colour stands close at the word's left."""
    found: dict[Word, int] = {}
    for word in figure.words:
        for path in others:
            shade = path.fill if path.fill in colours else path.stroke
            if shade in colours and beside(path.box, word) and number(word.text) is None:
                found[word] = colours.index(shade)
    for word in figure.words:  # dots of a legend look like those of the plot
        for path in figure.paths:
            small = path.fill in colours and not covers_much(path.box)
            if word not in found and small and beside(path.box, word) and number(word.text) is None:
                found[word] = colours.index(path.fill)
    return found.get


def pie(figure: Figure, wedges: Sequence[Path], hub: Point) -> Chart | None:
    """A pie: each wedge's share of the angle, named by the word that stands next to it, or by the legend."""
    parts, total = [], 0.0
    for path in wedges:
        line = path.lines[0][:-1] if path.lines[0][0] == path.lines[0][-1] else path.lines[0]
        points = np.array(line) - hub  # (points, 2)
        far = np.hypot(*points.T)
        if far.min() > 0.5 and len(wedges) > 1:
            continue
        turns = np.unwrap(np.arctan2(*points[far > 0.9 * far.max()].T[::-1]))
        angle = abs(float(turns[-1] - turns[0]))
        parts.append((path, angle, float(turns.mean()), float(far.max())))
        total += angle
    if not parts or abs(total - 2 * math.pi) > 0.1:
        return None
    words = [word for word in figure.words if number(word.text) is None]
    colours = distinct([path.fill for path, *_ in parts])
    named = legend(figure, colours, [path for path in figure.paths if path not in wedges])
    legends = {named(word): word.text for word in words if named(word) is not None}
    values = []
    for path, angle, mean, radius in parts:
        way = hub[0] + 1.15 * radius * math.cos(mean), hub[1] + 1.15 * radius * math.sin(mean)
        near = min(words, key=lambda word: away(word.box, way), default=None)
        name = legends.get(colours.index(path.fill)) or (near.text if near and away(near.box, way) < radius else "")
        if not name:
            raise Unreadable("its wedges have no names", "pie")
        values.append(Value("", name, float(f"{100 * angle / total:.5g}"), path.box, 0.99))
    heads = [w for w in words if w.middle[1] > hub[1] + 1.1 * parts[0][3] and w.text not in {v.x for v in values}]
    title = max(heads, key=lambda word: word.box[3] - word.box[1]).text if heads else ""
    return Chart("pie", title, "", "", tuple(values), "vector")


def away(box: Box, point: Point) -> float:
    """How far a point is from a box."""
    x = max(box[0] - point[0], 0, point[0] - box[2])
    return math.hypot(x, max(box[1] - point[1], 0, point[1] - box[3]))
