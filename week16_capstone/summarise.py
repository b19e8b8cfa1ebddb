"""A chart in a few sentences: by rule, or by a language model whose every number is held against the chart.

A model that says a number which is neither one of the chart's nor follows from two of them by a change or a percentage
is not believed, and the sentences made by rule stand in its place.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from week16_capstone.answer import label
from week16_capstone.chart import Value
from week16_capstone.exhibits import Exhibit, as_text, shown

MOST = 90
"""Tokens of a summary."""
SIGNED = re.compile(r"(?<![\w.])[-−]?\d[\d,]*(?:\.\d+)?")
SAME = 0.03  # less of a change is none worth a word
WITHIN = 0.01  # so near a number has to be to one of the chart's


def by_rule(exhibit: Exhibit) -> str:
    """What a chart shows: how many values of what, its highest and lowest, and how each series of years went."""
    chart = exhibit.chart
    assert chart is not None
    values, names = chart.values, [name for name in chart.series if name]
    what = exhibit.measure or "its values"
    of = f" of {', '.join(names)}" if names else ""
    spread = (
        f"{exhibit.categories[0]} to {exhibit.categories[-1]}"
        if in_order(exhibit)
        else f"{len(exhibit.categories)} groups"
    )
    if chart.kind == "scatter":
        spread = f"{len(values)} points"
    known = in_order(exhibit) and all(end in what for end in (exhibit.categories[0], exhibit.categories[-1]))
    spread = "" if known else f", {spread}"
    unit = f" ({exhibit.unit})" if exhibit.unit and exhibit.unit.lower() not in what.lower() else ""
    said = [f"{exhibit.name[:1].upper()}{exhibit.name[1:]} shows {what}{unit}{of}{spread}."]
    high, low = max(values, key=lambda value: value.y), min(values, key=lambda value: value.y)
    said.append(f"The highest value is {shown(high.y)} ({label(high)}), the lowest {shown(low.y)} ({label(low)}).")
    if in_order(exhibit) and chart.kind != "scatter":
        for start, end in ends(values):
            way = (
                "stayed about the same"
                if abs(end.y - start.y) < SAME * abs(start.y)
                else "rose"
                if end.y > start.y
                else "fell"
            )
            by = f" ({100 * (end.y - start.y) / start.y:+.0f} %)" if start.y > 0 and way[0] != "s" else ""
            who = f"{end.series} " if end.series else "It "
            said.append(
                f"{who}{way}, from {shown(start.y)} in {as_text(start.x)} to {shown(end.y)} in {as_text(end.x)}{by}."
            )
    return " ".join(said)


def summary(exhibit: Exhibit, language: Any = None) -> tuple[str, str]:
    """(text, how it was made): the language model's words, where every number in them is the chart's."""
    rule = by_rule(exhibit)
    if language is None:
        return rule, "by rule"
    said = "".join(language.write(messages(exhibit, rule, language), MOST)).strip()
    said = re.sub(r"\s+", " ", said)
    if (wrong := unfounded(said, exhibit)) or len(said) < 20:
        return rule, f"by rule: the model said {', '.join(wrong) or 'nothing'}, which is not in the chart"
    return said, "by the language model; every number was checked"


def messages(exhibit: Exhibit, rule: str, language: Any) -> list[dict[str, str]]:
    """What the model is told: sentences whose numbers are right, to be said better. A caption may hold orders, and is
    made harmless as week 11 does."""
    task = "Rewrite the facts as two plain sentences for a reader in a hurry. Use only these numbers, and no others."
    return [{"role": "system", "content": task}, {"role": "user", "content": language.harmless(f"Facts: {rule}")}]


def unfounded(text: str, exhibit: Exhibit) -> list[str]:
    """The numbers of a text that are not in the chart, and do not follow from it."""
    known = list(numbers_of(exhibit))
    wrong = []
    for match in SIGNED.finditer(text):
        said = match[0].replace("−", "-").replace(",", "").rstrip(".")
        number = float(said)
        digits = len(said.partition(".")[2])
        # Half a unit of the last digit that is said, or 1 %; a year has to be the very one.
        room = (
            0.0
            if re.fullmatch(r"(?:1[89]|20|21)\d\d", said)
            else max(WITHIN * abs(number), 0.5 * 10.0**-digits * (digits > 0))
        )
        near = [
            one for one in known if abs(abs(one) - abs(number)) <= room + 1e-9 or round(abs(one)) == abs(number) < 1000
        ]
        if not near:
            wrong.append(match[0])
    return wrong


def numbers_of(exhibit: Exhibit) -> Iterator[float]:
    """What a summary may say: the values, what they stand at, how many there are, changes from end to end."""
    chart = exhibit.chart
    assert chart is not None
    for value in chart.values:
        yield value.y
    for text in (*exhibit.categories, *exhibit.series, exhibit.head):
        yield from (float(found.replace(",", "").replace("−", "-")) for found in SIGNED.findall(text))
        yield from (float(found) for found in re.findall(r"\d+", text) if len(found) < 16)
    yield from (float(len(chart.values)), float(len(exhibit.categories)), float(len(chart.series)))
    for start, end in ends(chart.values):
        yield end.y - start.y
        if start.y > 0:
            yield 100 * (end.y - start.y) / start.y


def ends(values: Sequence[Value]) -> list[tuple[Value, Value]]:
    """The first and the last value of each series."""
    rows: dict[str, list[Value]] = {}
    for value in values:
        rows.setdefault(value.series, []).append(value)
    return [(row[0], row[-1]) for row in rows.values() if len(row) > 1]


def in_order(exhibit: Exhibit) -> bool:
    """Whether its categories are years or other numbers that grow, so that one can speak of a course."""
    numbers = [float(text) for text in exhibit.categories if re.fullmatch(r"-?\d+(?:\.\d+)?", text)]
    return len(numbers) == len(exhibit.categories) > 1 and numbers == sorted(numbers)
