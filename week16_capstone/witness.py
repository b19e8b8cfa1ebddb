"""Numbers that are printed beside marks: a second witness to what was measured, which errs in other ways.

A measured value is off by a little, a number that was read is right or is something else altogether. Where both are
nearly the same, the printed one is meant; where they are not, one of the two is wrong, and nobody knows which.
"""

from collections.abc import Sequence

from week16_capstone.chart import Box, Point, Word

NEAR = 0.12
"""A printed number is the measured one, rounded, when it is within this share of it (chosen on val)."""
REACH = 1.5
"""A number belongs to a mark that is at most so many heights of its letters away."""


def beside(
    points: Sequence[Point], numbers: Sequence[tuple[Word, float]], horizontal: bool
) -> list[tuple[Word, float] | None]:
    """For each mark the number that is printed at it, or None: the nearest pair first, and each number once.

    Args:
        points: the ends of bars, or vertices.
        numbers: words that are numbers, with their values.
        horizontal: bars lie, so their numbers stand to the right or to the left, and not above or below.
    """
    pairs = []
    for row, point in enumerate(points):
        for column, (word, _) in enumerate(numbers):
            high = word.box[3] - word.box[1]
            gap, aside = distances(word.box, point, horizontal)
            if gap <= REACH * high and aside <= (0.6 * high if horizontal else 0.3 * (word.box[2] - word.box[0])):
                pairs.append((gap + aside, row, column))
    found: list[tuple[Word, float] | None] = [None] * len(points)
    taken: set[int] = set()
    for _, row, column in sorted(pairs):
        if found[row] is None and column not in taken:
            found[row] = numbers[column]
            taken.add(column)
    return found


def distances(box: Box, point: Point, horizontal: bool) -> Point:
    """(how far a box is from a mark in the direction of its value, how far its middle is from it across)."""
    along = 0 if horizontal else 1
    gap = max(box[along] - point[along], point[along] - box[along + 2], 0)
    return gap, abs((box[1 - along] + box[3 - along]) / 2 - point[1 - along])


def heard(measured: float, sure: float, printed: float) -> tuple[float, float]:
    """(value, confidence) when both witnesses have spoken: by hand, 4,358 measured with 0.8 and 4,390 printed are 4,390
    with 0.96; beside 439 it stays 4,358, with 0.4."""
    if abs(printed - measured) <= NEAR * max(abs(measured), abs(printed)):
        return printed, 1 - 0.2 * (1 - sure)
    return measured, 0.5 * sure
