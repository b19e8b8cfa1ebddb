"""How right a chart was read: value errors and RMS-F1.

References
    F. Liu et al., "DePlot: One-shot visual language reasoning by plot-to-table translation", arXiv:2212.10505, sec. 3
    A. Masry et al., "ChartQA", arXiv:2203.10244: relaxed accuracy, which takes 2008 for 2010
"""

from collections.abc import Sequence

import numpy as np

from week16_capstone.axes import number
from week16_capstone.chart import Chart

Row = tuple[str, str | float, float]
"""Series, category, number."""


def rows(chart: Chart) -> list[Row]:
    """A chart as a table."""
    return [(value.series, value.x, value.y) for value in chart.values]


def relative(found: float, true: float) -> float:
    """|found - true| / |true|; of a true zero, 0 where found is zero, too, and else infinite."""
    return abs(found - true) / abs(true) if true else (0.0 if found == 0 else float("inf"))


def same(found: str | float, true: str | float, tolerance: float = 0.05) -> bool:
    """Whether an answer is right: numbers by their relative error, but years and words exactly.

    Args:
        found, true: numbers, or texts, which are numbers where they read as such.
        tolerance: of a number that is no year.
    """
    # exercise 3: right within a tolerance, years exactly
    # found and true, each a text or a number -> whether `found` is right. A text that reads as a number (axes.number:
    # "1,200", "12%") counts as that number. Where either is still a text: right when they are equal, apart from
    # capitals and spaces (recognisers lose them). A true number that is whole and from 1900 to 2100 is a year where it
    # came as four digits alone (2010, 2010.0 or "2010", not "2,010"): right only when found is exactly it. Any other
    # number: right when relative(found, true) <= tolerance.
    # hint: parse both first; compare texts by "".join(text.split()).casefold(). A float is a year by its value, a text
    # only when it is four digits (isdigit, len 4).
    parsed = [number(one) if isinstance(one, str) else float(one) for one in (found, true)]
    if parsed[0] is None or parsed[1] is None:
        one, other = ("".join(str(text).split()).casefold() for text in (found, true))
        return one == other
    bare = not isinstance(true, str) or (true.strip().isdigit() and len(true.strip()) == 4)
    if bare and parsed[1].is_integer() and 1900 <= parsed[1] <= 2100:
        return parsed[0] == parsed[1]
    return relative(parsed[0], parsed[1]) <= tolerance
    # end of exercise 3


def edit_distance(one: str, other: str) -> float:
    """Levenshtein's distance over the longer one's length: 0 for equal texts, 1 for wholly different ones."""
    before = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
        before = row
    return before[-1] / max(len(one), len(other), 1)


def rms_f1(found: Sequence[Row], true: Sequence[Row], tau: float = 0.5, theta: float = 0.5) -> float:
    """Relative mapping similarity of two tables, DePlot's measure: rows are matched by their names, then names and
    numbers are scored together.

    Args:
        found, true: rows (series, category, number).
        tau: names whose normalised edit distance is above it have nothing in common.
        theta: numbers whose relative distance is above it have nothing in common.

    Returns:
        From 0 to 1; 1 where the tables are equal, in whatever order.
    """
    # exercise 4: RMS-F1
    # found and true, rows of (series, category, number) -> F1. A row's name is f"{series} {category}". Two names differ
    # by edit_distance, taken as 1 where it is above tau; two numbers by min(1, relative(found, true)), taken as 1 where
    # it is above theta. Rows are matched one to one so that the sum of (1 - name distance) is largest. The similarity
    # of a matched pair is (1 - name distance) * (1 - number distance). Precision is the sum of these over len(found),
    # recall over len(true), and F1 2PR / (P + R); 0 where either table is empty or P + R is 0, but 1 where both are.
    # hint: scipy.optimize.linear_sum_assignment(names, maximize=True) finds the matching in a (found, true) array.
    from scipy.optimize import linear_sum_assignment

    if not found or not true:
        return float(len(found) == len(true))
    names = np.array([[edit_distance(f"{a} {b}", f"{c} {d}") for c, d, _ in true] for a, b, _ in found])
    names = 1 - np.where(names > tau, 1.0, names)  # (found, true)
    numbers = np.array([[min(1.0, relative(y, z)) for *_, z in true] for *_, y in found])
    numbers = 1 - np.where(numbers > theta, 1.0, numbers)  # (found, true)
    pairs = linear_sum_assignment(names, maximize=True)
    total = float((names * numbers)[pairs].sum())
    precision, recall = total / len(found), total / len(true)
    return 2 * precision * recall / (precision + recall) if total else 0.0
    # end of exercise 4


def errors(found: Chart | None, true: Chart) -> list[float]:
    """The relative error of each true value: infinite where no value has its series and category. A dot of a scatter
    plot has no name: dots are matched one to one, and the error is how far one is away in either direction, as a share
    of 100 (x) and of the range of y."""
    left = list(found.values) if found else []
    if true.kind == "scatter":
        return dot_errors([(v.x, v.y) for v in left if not isinstance(v.x, str)], [(v.x, v.y) for v in true.values])
    result = []
    lone = len({value.series for value in true.values}) == 1 and len({value.series for value in left}) == 1
    for value in true.values:
        mine = [same(v.x, value.x, 0.0) and (lone or same(v.series, value.series)) for v in left]
        away = [relative(v.y, value.y) if own else np.inf for v, own in zip(left, mine, strict=True)]
        best = int(np.argmin(away)) if away else -1
        result.append(float(away[best]) if away else float("inf"))
        if np.isfinite(result[-1]):
            left.pop(best)
    return result


def dot_errors(found: Sequence[tuple[float, float]], true: Sequence[tuple[float, float]]) -> list[float]:
    """How far each true dot is from its own: see `errors`."""
    from scipy.optimize import linear_sum_assignment

    if not found:
        return [float("inf")] * len(true)
    ys = [y for _, y in true]
    away = np.array([[max(abs(x - u) / 100, abs(y - v) / ((max(ys) - min(ys)) or 1.0)) for u, v in found]
                     for x, y in true])  # (true, found)  # fmt: skip
    rows, columns = linear_sum_assignment(np.minimum(away, 0.2))  # one that is far off shall not push others away
    result = [float("inf")] * len(true)
    for row, column in zip(rows, columns, strict=True):
        result[row] = float(away[row, column])
    return result
