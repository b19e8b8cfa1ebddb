"""From a chart's values to an answer: which values a question asks for, what is computed of them, how it is said.

    found = answered(wanted, exhibit)       # Found(text="4.2", used=(Value(…),), expression="")

Every number that is said is one of the chart's values or what the calculator makes of these; both are kept for citing.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from week16_capstone.chart import Value
from week16_capstone.exhibits import Exhibit, as_text, shown
from week16_capstone.understand import Wanted, mentions

Calculator = Callable[[str], float]
TWO_PLACES = 1.03  # the first is said to be first where it is so many times the second; else both are named


class Missing(Exception):
    """A question asks for what an exhibit does not have; in words."""


@dataclass(frozen=True)
class Found:
    """An answer from an exhibit.

    Attributes:
        text: the answer, a sentence.
        number: its number, where it is one.
        names: the categories or series that it names.
        used: the values that it rests on.
        expression: what was computed, as the calculator was given it.
        close: whether the first two are so near that their order is not sure.
    """

    text: str
    number: float | None = None
    names: tuple[str, ...] = ()
    used: tuple[Value, ...] = field(default=(), repr=False)
    expression: str = ""
    close: bool = False

    @property
    def confidence(self) -> float:
        """Of the least sure value that it rests on."""
        return min((value.confidence for value in self.used), default=0.0)


def chosen(values: Sequence[Value], xs: Sequence[str], series: Sequence[str]) -> list[Value]:
    """The values that a question asks for.

    Args:
        values: of a chart.
        xs: the categories or years that are named, in the question's order; none: all.
        series: likewise.

    Raises:
        Missing: something that is named has no value; it is never replaced by what is near.
    """
    # exercise 6: the values that a question asks for
    # values (Value: series, x, y, …), xs and series, names as text -> a list of values. With names, only values at
    # these xs and of these series, ordered by the names: series first, then xs, as the question has them; without, all
    # in the chart's order. `as_text(value.x)` is an x as text: 2019.0 is "2019". Names are compared exactly. For each
    # named x there has to be a value of each series (of the named ones; where none is named, of all); raise Missing,
    # naming what is not there. Where one that is asked for has two values (the chart was misread): Missing, too, also
    # where nothing is named. Without any values there is nothing to choose: Missing.
    # hint: a dict {(series, x): value}, and a set of the keys that came twice. Go over the series and, for each, over
    # the xs (those that are named, or those that the series has), and look each pair up in both.
    held: dict[tuple[str, str], Value] = {}
    twice = set()
    for value in values:
        key = value.series, as_text(value.x)
        twice |= {key} & held.keys()
        held[key] = value
    rows = list(series) or list(dict.fromkeys(row for row, _ in held))
    found = []
    for row in rows:
        for x in list(xs) or list(dict.fromkeys(x for other, x in held if other == row)):
            if (row, x) not in held:
                raise Missing(f"there is no value of {' in '.join(filter(None, (row, x)))}")
            if (row, x) in twice:
                raise Missing(f"there are two values of {' in '.join(filter(None, (row, x)))}")
            found.append(held[row, x])
    if not found:
        raise Missing(f"there is no {', '.join(rows) or 'value'}")
    return found
    # end of exercise 6


def asked_of(wanted: Wanted, exhibit: Exhibit) -> tuple[list[str], list[str]]:
    """(xs, series) of an exhibit that a question names.

    Raises:
        Missing: it names a year that the exhibit does not have, though it is one of years.
    """
    series = [name for name in exhibit.series if name]
    said = mentions(wanted.question, [*series, *exhibit.categories])  # `series 2` does not name the category 2
    xs, named = ([name for name in said if name in names] for names in (exhibit.categories, series))
    for year in wanted.years:
        if year not in xs and not any(year in name for name in (*xs, *named)):
            raise Missing(f"{exhibit.name} has no {year}")
    return xs, named


def answered(wanted: Wanted, exhibit: Exhibit, calculate: Calculator) -> Found:
    """What an exhibit answers to a question.

    Raises:
        Missing: it does not have what is asked for; or the question leaves open which of several values it means.
    """
    if exhibit.chart is None:
        raise Missing(f"{exhibit.name} was not read: {exhibit.reason}")
    xs, series = asked_of(wanted, exhibit)
    values = exhibit.chart.values
    if wanted.what in ("growth", "decline", "change", "percent"):
        return grown(wanted, exhibit, xs, series, calculate)
    if wanted.what == "difference" and len(xs) + len(series) >= 2:
        return apart(exhibit, chosen(values, xs, series), calculate)
    if wanted.what in ("highest", "lowest"):
        return first(wanted, exhibit, chosen(values, xs, series))
    if wanted.what in ("above", "below"):
        return counted(wanted, exhibit, chosen(values, xs, series))
    if wanted.what in ("total", "mean"):
        return added(wanted, exhibit, chosen(values, xs, series), calculate)
    if wanted.what == "share" and exhibit.chart.kind != "pie":
        return share(exhibit, xs, series, calculate)
    if not xs and not series:
        raise Missing("it is not said which category or year is meant")
    found = chosen(values, xs, series)
    if len(found) > 4:
        raise Missing("it is not said which of its values is meant")
    said = "; ".join(f"{label(value)}: {with_unit(value.y, exhibit)}" for value in found)
    return Found(f"{said}.", found[0].y if len(found) == 1 else None, used=tuple(found))


# ---------------------------------------------------------------- operations


def first(wanted: Wanted, exhibit: Exhibit, values: Sequence[Value]) -> Found:
    """The highest or lowest of values, by what is not named of them."""
    most = wanted.what == "highest"
    ordered = sorted(values, key=lambda value: -value.y if most else value.y)
    best, second = ordered[0], ordered[1] if len(ordered) > 1 else None
    close = second is not None and is_close(best.y, second.y, exhibit)
    name = label(best)
    if len({value.series for value in values}) == len(values):  # one value a series: a series is asked for
        name = best.series
    elif len({value.series for value in values}) == 1 or wanted.which.lower() in ("year", "month", "quarter", "day"):
        name = as_text(best.x)
    text = f"{name}, with {with_unit(best.y, exhibit)}."
    if close and second:
        text += f" {label(second)} is about as {'high' if most else 'low'} ({with_unit(second.y, exhibit)})."
    used = (best, second) if close and second else (best,)
    return Found(text, best.y, (name, best.series, as_text(best.x)), used, close=close)


def grown(
    wanted: Wanted, exhibit: Exhibit, xs: Sequence[str], series: Sequence[str], calculate: Calculator
) -> Found:  # fmt: skip
    """How much something grew between two of its categories, or which of several did so the most (or the least)."""
    values = exhibit.chart.values if exhibit.chart else ()
    ends = list(xs)
    if len(ends) < 2 and wanted.what in ("growth", "decline"):
        ends = [exhibit.categories[0], exhibit.categories[-1]]
    if len(ends) != 2:
        if len(xs) == 1 and len(series) == 2:
            return apart(exhibit, chosen(values, xs, series), calculate)
        raise Missing("it is not said from when to when")
    if wanted.what in ("change", "percent"):
        if len(exhibit.series) > 1 and not series:
            raise Missing(f"it is not said which series is meant: {', '.join(exhibit.series)}")
        start, end = chosen(values, ends, series[:1])
        expression = f"{number(end.y)} - {number(start.y)}"
        if wanted.what == "percent":
            if start.y == 0:
                raise Missing("it begins at 0, of which nothing is a percentage")
            expression = f"({expression}) / {number(abs(start.y))} * 100"
        result = calculate(expression)
        way = "up" if result > 0 else "down" if result < 0 else "unchanged"
        by = f"{shown(abs(result))} %" if wanted.what == "percent" else with_unit(abs(result), exhibit)
        text = f"{way.capitalize()} by {by}: from {shown(start.y)} in {ends[0]} to {shown(end.y)} in {ends[1]}."
        return Found(text, result, used=(start, end), expression=expression)
    rates = []
    for name in series or exhibit.series:
        start, end = chosen(values, ends, [name])
        if start.y <= 0:
            raise Missing(f"{name} begins at {shown(start.y)}, of which growth is no percentage")
        expression = f"({number(end.y)} - {number(start.y)}) / {number(start.y)} * 100"
        rates.append((calculate(expression), name, expression, (start, end)))
    rates.sort(reverse=wanted.what == "growth")
    rate, name, expression, _ = rates[0]
    close = len(rates) > 1 and exhibit.is_estimated and abs(rates[0][0] - rates[1][0]) < 3
    text = f"{name or exhibit.measure}, by {shown(rate)} % from {ends[0]} to {ends[1]}."
    if close:
        text += f" {rates[1][1]} is about equal, with {shown(rates[1][0])} %."
    return Found(text, rate, (name,), tuple(v for _, _, _, pair in rates for v in pair), expression, close)


def apart(exhibit: Exhibit, values: Sequence[Value], calculate: Calculator) -> Found:
    """How far two values are apart."""
    if len(values) != 2:
        raise Missing("it is not said which two values are compared")
    one, other = values
    expression = f"{number(one.y)} - {number(other.y)}"
    result = calculate(expression)
    text = f"{with_unit(abs(result), exhibit)}: {label(one)} {shown(one.y)}, {label(other)} {shown(other.y)}."
    return Found(text, result, used=tuple(values), expression=expression)


def counted(wanted: Wanted, exhibit: Exhibit, values: Sequence[Value]) -> Found:
    """How many values are beyond a limit."""
    limit = wanted.limit or 0.0
    if len({value.series for value in values}) > 1 and len({as_text(value.x) for value in values}) > 1:
        raise Missing(f"it is not said which series is meant: {', '.join(exhibit.series)}")
    above = wanted.what == "above"
    held = [value for value in values if (value.y > limit if above else value.y < limit)]
    one_x = len({as_text(value.x) for value in values}) == 1 and len(values) > 1
    names = tuple(value.series if one_x else as_text(value.x) for value in held)
    text = f"{len(held)}{': ' + ', '.join(names) if names else ''}."
    return Found(
        text, float(len(held)), names, tuple(values), close=any(is_close(value.y, limit, exhibit) for value in values)
    )


def added(wanted: Wanted, exhibit: Exhibit, values: Sequence[Value], calculate: Calculator) -> Found:
    """The total or the mean of values."""
    if len({value.series for value in values}) > 1 and len({as_text(value.x) for value in values}) > 1:
        raise Missing(f"it is not said which series is meant: {', '.join(exhibit.series)}")
    if len(values) < 2:
        raise Missing("there is only one value")
    expression = " + ".join(number(value.y) for value in values)
    if wanted.what == "mean":
        expression = f"({expression}) / {len(values)}"
    result = calculate(expression)
    what = "in total" if wanted.what == "total" else "on average"
    return Found(f"{with_unit(result, exhibit)} {what}, over {len(values)} values.", result, used=tuple(values),
                 expression=expression)  # fmt: skip


def share(exhibit: Exhibit, xs: Sequence[str], series: Sequence[str], calculate: Calculator) -> Found:
    """What part of the whole the named value is."""
    values = exhibit.chart.values if exhibit.chart else ()
    if len(exhibit.series) > 1 and not (len(series) == 1 or len(xs) == 1):
        raise Missing("it is not said which part of what is meant")
    every = chosen(values, [], series) if xs else chosen(values, xs, [])
    part = chosen(values, xs, series)
    if len(part) != 1 or any(value.y < 0 for value in every):
        raise Missing("it is not said which part is meant")
    expression = f"{number(part[0].y)} / ({' + '.join(number(value.y) for value in every)}) * 100"
    result = calculate(expression)
    return Found(f"{label(part[0])}: {shown(result)} % of the whole.", result, used=tuple(every), expression=expression)


# ---------------------------------------------------------------- words


def label(value: Value) -> str:
    """`Online in 2019`, `Online at 0.5`."""
    at = " in " if isinstance(value.x, str) or 1800 <= value.x <= 2200 else " at "
    return at.join(filter(None, (value.series, as_text(value.x))))


def with_unit(amount: float, exhibit: Exhibit) -> str:
    """`4.2 million euro`, `12 %`; `512 (Trams)` where the axis says what is counted rather than in what; without a unit
    where the exhibit says none."""
    unit = exhibit.unit.strip()
    if inner := re.search(r"\(([^()]+)\)$", unit):  # `Revenue (million euro)`
        unit = inner[1].strip()
    if not unit or len(unit) > 24 or unit.lower() in ("number", "amount"):
        return shown(amount)
    return f"{shown(amount)} ({unit})" if unit[0].isupper() and unit[1:2].islower() else f"{shown(amount)} {unit}"


def number(value: float) -> str:
    """A number as the calculator reads it: in brackets below zero, never with an exponent."""
    text = f"{value:.10f}".rstrip("0").rstrip(".")
    text = text if text not in ("", "-0") else "0"
    return f"({text})" if value < 0 else text


def is_close(one: float, other: float, exhibit: Exhibit) -> bool:
    """Whether two values are too near each other for a reader of pixels, which errs by some percent."""
    return exhibit.is_estimated and abs(one - other) <= (TWO_PLACES - 1) * max(abs(one), abs(other))
