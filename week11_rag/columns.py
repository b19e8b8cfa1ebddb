"""In what order the lines of a page are read: tables found first, then column by column between what spans them.

References
    G. Nagy, S. Seth, "Hierarchical representation of optically scanned documents", ICPR 1984: cutting a page in two,
        again and again, where nothing stands
    J. Ha, R. Haralick, I. Phillips, "Recursive X-Y cut using bounding boxes of connected components", ICDAR 1995
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from week11_rag.lines import Line, Rule
from week11_rag.pages import Box

SPANNING = 0.3  # the largest share of the lines that may cross a gutter, as titles do
COLUMN = 12  # letters of a column's line, at least, as a mean; the labels of a figure have fewer
CELL = 20  # letters of a cell, at most, as a mean, in a table without rules


@dataclass
class Table:
    """A table: its box and its rows, each a list of cells with the lines in them."""

    box: Box
    rows: list[list[list[Line]]]

    left = property(lambda self: self.box[0])
    bottom = property(lambda self: self.box[1])
    right = property(lambda self: self.box[2])
    top = property(lambda self: self.box[3])

    @property
    def lines(self) -> list[Line]:
        return [line for row in self.rows for cell in row for line in cell]

    @property
    def text(self) -> str:
        """A row to a line, cells apart by a bar; a cell's own lines by a space."""
        rows = [" | ".join(" ".join(line.text for line in cell) for cell in row) for row in self.rows]
        return "\n".join(row for row in rows if row.strip(" |"))


Item = Line | Table


def in_reading_order(lines: Sequence[Line], rules: Sequence[Rule]) -> list[list[Item]]:
    """The lines and tables of a page in columns, the first to be read first; within one from top to bottom."""
    tables, rest = ruled_tables(list(lines), rules)
    return [with_plain_tables(column) for column in columns([*rest, *tables])]


def with_plain_tables(column: list[Item]) -> list[Item]:
    """A column in which lines that make up a table are one."""
    found, rest = plain_tables([item for item in column if isinstance(item, Line)])
    return from_top([*in_one(rest), *found, *(item for item in column if isinstance(item, Table))])


def in_one(lines: Sequence[Line]) -> list[Line]:
    """The lines of a column; what stands side by side, as words that were pulled far apart, is one."""
    found = []
    for row in in_rows(lines, []):
        first, *more = sorted(row, key=lambda line: line.left)
        letters = [letter for line in more for letter in [line.letters[0]._replace(spaced=True), *line.letters[1:]]]
        found.append(Line([*first.letters, *letters]) if more else first)
    return found


def from_top(items: Sequence[Item]) -> list[Item]:
    """The items from top to bottom; those on nearly the same height from left to right."""
    rows: list[list[Item]] = []
    for item in sorted(items, key=lambda item: (-item.top, item.left)):
        level = rows and isinstance(item, Line) and isinstance(rows[-1][0], Line)
        if level and abs(rows[-1][0].base - item.base) < 0.3 * item.size:
            rows[-1].append(item)
        else:
            rows.append([item])
    return [item for row in rows for item in sorted(row, key=lambda item: item.left)]


# ---------------------------------------------------------------- columns


def columns(items: list[Item]) -> list[list[Item]]:
    """The items in columns, by a cut from top to bottom where few cross it; those that do divide it into bands."""
    cut = gutter(items)
    if cut is None:
        return [from_top(items)] if items else []
    found: list[list[Item]] = []
    band: list[Item] = []
    for item in sorted(items, key=lambda item: -item.top):
        if item.left < cut < item.right:
            found += sides(band, cut)
            band = []
            if found and found[-1] and crosses(found[-1][-1], cut):
                found[-1].append(item)
            else:
                found.append([item])
        else:
            band.append(item)
    return found + sides(band, cut)


def crosses(item: Item, cut: float) -> bool:
    return item.left < cut < item.right


def sides(band: list[Item], cut: float) -> list[list[Item]]:
    """The columns of what is left of the cut, then those of what is right of it."""
    return [*columns([i for i in band if i.right <= cut]), *columns([i for i in band if i.left >= cut])]


def gutter(items: Sequence[Item]) -> float | None:
    """Where to cut: the middle of a strip with text on both of its sides and few items across; None: nowhere."""
    lines = [item for item in items if isinstance(item, Line)]
    if len(lines) < 6:
        return None
    least = 0.7 * statistics.median(line.size for line in lines)
    edges = sorted({round(item.right, 1) for item in items} | {round(item.left, 1) for item in items})
    best = None
    for left, right in pairwise(edges):
        if right - left < least:
            continue
        cut = (left + right) / 2
        before = [line for line in lines if line.right <= cut]
        after = [line for line in lines if line.left >= cut]
        across = len(items) - sum(item.right <= cut or item.left >= cut for item in items)
        if across <= SPANNING * len(items) and is_text(before) and is_text(after) and side_by_side(before, after):
            choice = (across, -(right - left), cut)
            best = min(best, choice) if best else choice
    return best[2] if best else None


def is_text(lines: Sequence[Line]) -> bool:
    return len(lines) >= 3 and statistics.mean(len(line.letters) for line in lines) >= COLUMN


def side_by_side(left: Sequence[Line], right: Sequence[Line]) -> bool:
    """Whether two sets of lines share a good part of their height."""
    tops, bottoms = ([f(side) for side in (left, right)] for f in (
        lambda side: max(line.top for line in side), lambda side: min(line.bottom for line in side)
    ))  # fmt: skip
    shared = min(tops) - max(bottoms)
    return shared > 0.3 * min(top - bottom for top, bottom in zip(tops, bottoms, strict=True))


# ---------------------------------------------------------------- tables


def ruled_tables(lines: list[Line], rules: Sequence[Rule]) -> tuple[list[Table], list[Line]]:
    """Tables that are drawn: with a grid, or between horizontal rules of one width. And the lines that are in none."""
    tables, rest = [], lines
    for grid in [*touching(rules), *stacked(rules)]:
        left, bottom, right, top = (
            min(r.left for r in grid), min(r.bottom for r in grid), max(r.right for r in grid), max(r.top for r in grid)
        )  # fmt: skip
        inside = [line for line in rest if left - 3 <= (line.left + line.right) / 2 <= right + 3
                  and bottom - 1 <= line.base <= top + 1]  # fmt: skip
        bars = distinct([rule.left for rule in grid if rule.upright])
        steps = distinct([rule.bottom for rule in grid if not rule.upright])
        if len(bars) < 3 or not inside:
            bars = gaps(inside) if len(steps) >= 3 else []
        rows = in_rows(inside, steps if len(steps) > 3 else [])
        filled = sum(len(row) > 1 for row in rows)
        if len(bars) >= 3 and filled >= 2 and filled >= 0.5 * len(rows):
            tables.append(Table((left, bottom, right, top), [in_cells(row, bars) for row in rows]))
            rest = [line for line in rest if line not in inside]
    return tables, rest


def touching(rules: Sequence[Rule]) -> list[list[Rule]]:
    """Rules in groups that hang together."""
    groups: list[list[Rule]] = []
    if len(rules) > 2_000:  # a drawing
        return []
    for rule in rules:
        near = [group for group in groups if any(meets(rule, other) for other in group)]
        groups = [group for group in groups if group not in near] + [[rule, *(one for group in near for one in group)]]
    return [group for group in groups if len(group) > 3]


def meets(one: Rule, other: Rule, room: float = 2.0) -> bool:
    return (
        one.left <= other.right + room and other.left <= one.right + room
        and one.bottom <= other.top + room and other.bottom <= one.top + room
    )  # fmt: skip


def stacked(rules: Sequence[Rule]) -> list[list[Rule]]:
    """Three or more horizontal rules of the same width, one above the other."""
    groups: dict[tuple[int, int], list[Rule]] = {}
    for rule in rules:
        if not rule.upright:
            groups.setdefault((round(rule.left / 3), round(rule.right / 3)), []).append(rule)
    return [group for group in groups.values() if len(group) >= 3]


def distinct(numbers: Sequence[float], room: float = 3.0) -> list[float]:
    """The numbers in order, those that are nearly the same once."""
    found: list[float] = []
    for number in sorted(numbers):
        if not found or number - found[-1] > room:
            found.append(number)
    return found


def gaps(lines: Sequence[Line]) -> list[float]:
    """Where the columns of a table without upright rules begin, and where the last one ends."""
    spans: list[list[float]] = []
    for line in sorted(lines, key=lambda line: line.left):
        if spans and line.left <= spans[-1][1] + 2:
            spans[-1][1] = max(spans[-1][1], line.right)
        else:
            spans.append([line.left, line.right])
    return [span[0] for span in spans] + [spans[-1][1] + 1] if len(spans) > 1 else []


def in_rows(lines: Sequence[Line], steps: Sequence[float]) -> list[list[Line]]:
    """The lines in rows: between rules, where each row has them, else by their baselines."""
    rows: dict[float, list[Line]] = {}
    for line in sorted(lines, key=lambda line: (-line.base, line.left)):
        near = [base for base in rows if abs(base - line.base) < 0.4 * line.size]
        key = sum(step <= line.base for step in steps) if steps else near[0] if near else line.base
        rows.setdefault(key, []).append(line)
    return list(rows.values())


def in_cells(row: Sequence[Line], bars: Sequence[float]) -> list[list[Line]]:
    """A row's lines in the cells between bars."""
    cells: list[list[Line]] = [[] for _ in bars[1:]]
    for line in row:
        at = sum(bar <= line.left + 2 for bar in bars) - 1
        cells[min(max(at, 0), len(cells) - 1)].append(line)
    return cells


def plain_tables(lines: list[Line]) -> tuple[list[Table], list[Line]]:
    """Tables that are not drawn: three or more rows of short cells, which begin below each other."""
    rows = in_rows(lines, [])
    found: list[Table] = []
    run: list[list[Line]] = []
    for row in [*rows, []]:
        if run and aligned(run[-1], row):
            run.append(row)
            continue
        cells = [line for one in run for line in one]
        if len(run) >= 3 and statistics.mean(len(line.letters) for line in cells) <= CELL:
            bars = gaps(cells)
            if len(bars) >= 3:
                box = (min(c.left for c in cells), min(c.bottom for c in cells),
                       max(c.right for c in cells), max(c.top for c in cells))  # fmt: skip
                found.append(Table(box, [in_cells(one, bars) for one in run]))
        run = [row] if len(row) > 1 else []
    taken = {id(line) for table in found for line in table.lines}
    return found, [line for line in lines if id(line) not in taken]


def aligned(above: Sequence[Line], row: Sequence[Line]) -> bool:
    """Whether two rows follow each other closely, and two cells of the one begin or end below two of the other."""
    if len(row) < 2 or above[0].base - row[0].base > 3 * row[0].size:
        return False
    same = sum(any(abs(a.left - b.left) < 3 or abs(a.right - b.right) < 3 for a in above) for b in row)
    return same >= 2
