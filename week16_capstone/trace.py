"""Marks that the network has passed over: where a label or one series' mark stands, the others are looked for.

A line is followed by its colour to each place along its axis; a bar is looked for where its series would have one. What
is found so is less sure than what the network saw.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from week16_capstone.assemble import Mark, Seen, category_rows, merged, misfit
from week16_capstone.chart import Unreadable
from week16_capstone.colours import OTHER, Canvas

SURE = 0.3
"""How sure a mark is that was found so."""


def anchors(seen: Seen, along: int) -> list[float]:
    """The places of the labels along the axis of the categories, in points; none where no row of words fits."""
    places = merged([mark.point[along] for mark in seen.marks], 3 * seen.near)
    rows = [row for row in category_rows(seen, list(seen.words), along) if len(row) > 1]
    if not rows:
        return []
    return [at for _, at in min(rows, key=lambda row: misfit(row, places))]


def runs(there: np.ndarray, gap: int = 2) -> list[tuple[int, int]]:
    """(first, behind the last) of each run of what is true, with up to `gap` that are not inside it."""
    found: list[tuple[int, int]] = []
    for place in np.flatnonzero(there).tolist():
        if found and place - found[-1][1] <= gap:
            found[-1] = found[-1][0], place + 1
        else:
            found.append((place, place + 1))
    return found


def alike(pixels: np.ndarray, shade: np.ndarray) -> np.ndarray:
    """Which pixels have a colour."""
    return np.linalg.norm(pixels - shade, axis=-1) < 0.8 * OTHER


def vertices_between(canvas: Canvas, seen: Seen, shades: Sequence[np.ndarray]) -> tuple[Mark, ...]:
    """A line chart's marks, and those that its lines have at the other series' places and at labels."""
    figure, marks = canvas.figure, list(seen.marks)
    labels = anchors(seen, 0)
    if not labels:
        return seen.marks
    low, high = plot_rows(canvas, seen)
    marks = [refined(canvas, seen, mark, labels, shades[mark.series]) for mark in marks]
    places = merged([*labels, *(mark.point[0] for mark in marks)], 4 * seen.near)
    for row, shade in enumerate(shades):
        own = sorted((mark for mark in marks if mark.series == row), key=lambda mark: mark.point[0])
        for place in places:
            if any(abs(mark.point[0] - place) < 4 * seen.near for mark in own):
                continue
            x = round(figure.pixel((place, 0))[0])
            if not 0 <= x < canvas.pixels.shape[1]:
                continue
            found = runs(alike(canvas.pixels[low:high, x], shade))
            found = [run for run in found if run[1] - run[0] < 0.4 * (high - low)]
            guess = figure.pixel((0, between(own, place)))[1] - low if own else 0.0
            if len(found) == 1 or (own and found):
                first, last = min(found, key=lambda run: abs((run[0] + run[1]) / 2 - guess))
                at = figure.point((x + 0.5, low + (first + last) / 2))
                marks.append(Mark((place, at[1]), (at[0] - 4, at[1] - 4, at[0] + 4, at[1] + 4), row, SURE))
    return tuple(marks)


def refined(canvas: Canvas, seen: Seen, mark: Mark, labels: Sequence[float], shade: np.ndarray) -> Mark:
    """A vertex moved to its label's place, where that is near, and to the middle of its line there."""
    place = min(labels, key=lambda label: abs(label - mark.point[0]))
    place = place if abs(place - mark.point[0]) < 3 * seen.near else mark.point[0]
    x, y = (round(side - 0.5) for side in canvas.figure.pixel((place, mark.point[1])))
    if not (0 <= x < canvas.pixels.shape[1] and 0 <= y < canvas.pixels.shape[0]):
        return mark
    top = max(0, y - 12)
    near = [(first + last) / 2 + top for first, last in runs(alike(canvas.pixels[top : y + 13, x], shade), 1)]
    best = min(near, key=lambda middle: abs(middle - y - 0.5), default=-99.0)
    if abs(best - y - 0.5) > 6:
        return mark
    left, bottom = canvas.figure.point((x + 0.5, best))
    return Mark((place, bottom), (left - 4, bottom - 4, left + 4, bottom + 4), mark.series, mark.sure)


def plot_rows(canvas: Canvas, seen: Seen) -> tuple[int, int]:
    """The first and last row of pixels in which a line may be: those of its marks and ticks, and a little more."""
    places = [*(mark.point[1] for mark in seen.marks), *seen.ticks_y]
    rows = [canvas.figure.pixel((0, place))[1] for place in places]
    return max(0, round(min(rows)) - 3), min(canvas.pixels.shape[0], round(max(rows)) + 3)


def between(own: Sequence[Mark], place: float) -> float:
    """Where a line would be at a place, were it straight between its marks."""
    xs, ys = zip(*(mark.point for mark in own), strict=True)
    return float(np.interp(place, xs, ys))


def bars_between(canvas: Canvas, seen: Seen, shades: Sequence[np.ndarray]) -> tuple[Mark, ...]:
    """A bar chart's marks but for those that stand on no common base, and bars of their colours at other labels."""
    side, end = int(seen.horizontal), int(not seen.horizontal)
    refuse_stacked(seen, side)
    ends = [mark.box[at] for mark in seen.marks for at in (end, end + 2)]
    base = max(ends, key=lambda one: sum(abs(one - other) < 3 * seen.near for other in ends))
    base = float(np.median([one for one in ends if abs(one - base) < 3 * seen.near]))
    marks = [found for mark in seen.marks if (found := stood_on(mark, base, end, 8 * seen.near))]
    labels = anchors(replace(seen, marks=tuple(marks)), side) if marks else []
    if not labels:
        return tuple(marks) or seen.marks
    half = float(np.median([(mark.box[side + 2] - mark.box[side]) / 2 for mark in marks]))
    seen_at = {row: [mark.point[side] for mark in marks if mark.series == row] for row in range(len(shades))}
    offsets = {row: float(np.median([min((place - label for label in labels), key=abs) for place in places]))
               for row, places in seen_at.items() if places}  # fmt: skip
    for row, shade in enumerate(shades):
        steps = [n * 2 * half for n in (-2, -1, 1, 2)]  # a series that none was seen of stands beside another
        tried = [offsets[row]] if row in offsets else [o + step for o in offsets.values() for step in steps]
        best: list[Mark] = []
        for offset in tried:
            free = [
                label + offset
                for label in labels
                if all(abs(mark.point[side] - label - offset) > max(half, 2 * seen.near) for mark in marks)
            ]
            found = [bar_at(canvas, seen, place, base, half, shade, row) for place in free]
            best = max(best, [mark for mark in found if mark], key=len)
        marks += best
    return tuple(marks)


def refuse_stacked(seen: Seen, side: int) -> None:
    """Unreadable where several bars stand on a bar of another colour."""
    end, near, upper = 1 - side, 3 * seen.near, 0
    for one in seen.marks:
        upper += any(
            other.series != one.series
            and abs(other.point[side] - one.point[side]) < 2 * near
            and abs(other.box[end + 2] - one.box[end]) < near
            for other in seen.marks
        )
    if upper >= 2:
        raise Unreadable("its bars are stacked", "stacked")


def stood_on(mark: Mark, base: float, end: int, near: float) -> Mark | None:
    """A bar with its mark at the end that is not at the base, wherever the network saw it; None where neither is."""
    low, high = mark.box[end], mark.box[end + 2]
    if min(abs(low - base), abs(high - base)) > near:
        return None
    tip, own = (high if abs(low - base) < abs(high - base) else low), mark.point[end]
    if abs(own - tip) < near:
        return mark
    point = (tip, mark.point[1]) if end == 0 else (mark.point[0], tip)
    return Mark(point, mark.box, mark.series, mark.sure)


def bar_at(
    canvas: Canvas, seen: Seen, place: float, base: float, half: float, shade: np.ndarray, row: int
) -> Mark | None:
    """A bar of a colour at a place along the axis, that begins at the base; None where there is none."""
    figure, near = canvas.figure, 4
    if seen.horizontal:
        at, start = figure.pixel((0, place))[1], figure.pixel((base, 0))[0]
        line = canvas.pixels[min(max(0, round(at)), canvas.pixels.shape[0] - 1)]
    else:
        at, start = figure.pixel((place, 0))[0], figure.pixel((0, base))[1]
        line = canvas.pixels[:, min(max(0, round(at)), canvas.pixels.shape[1] - 1)]
    found = [run for run in runs(alike(line, shade), 3) if min(abs(run[0] - start), abs(run[1] - start)) <= near]
    if not found:
        return None
    first, last = max(found, key=lambda run: run[1] - run[0])
    tip = first if abs(last - start) < abs(first - start) else last
    point = figure.point((tip, at) if seen.horizontal else (at, tip))
    low, high = sorted((base, point[0 if seen.horizontal else 1]))
    box = (low, place - half, high, place + half) if seen.horizontal else (place - half, low, place + half, high)
    return Mark(point, box, row, SURE)
