"""Questions about reports whose numbers are known, with their answers; and whether an answer is right.

    for question in ask(made, np.random.default_rng(0)):
        right(answer, question)

A number is right within 5 % of the true one; a year or a name has to be the very one. What cannot be answered is
answered rightly by saying so. The wording of test differs from that of val.

References
    A. Masry et al., "ChartQA", arXiv:2203.10244: relaxed accuracy, within 5 %; here years and names exactly
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from week16_capstone.reports import Made, Plate

CLOSE = 0.05
KINDS = ("value", "extreme", "growth", "change", "percent", "count", "compare", "share", "unanswerable", "refused",
         "table", "text")  # fmt: skip
CHARTS = ("value", "extreme", "growth", "change", "percent", "count", "compare", "share")
"""The kinds that only a chart answers."""
APART = 0.12  # between what comes first and second, and between a limit and the values: what eyes can tell apart too

WORDS = {
    "val": {
        "value": ("What was {m}{of} in {x}?", "How much was {m}{of} in {x}?"),
        "highest": ("Which {g} had the highest {m}{of}?", "In which {g} was {m}{of} the largest?"),
        "lowest": ("Which {g} had the lowest {m}{of}?",),
        "growth": ("Which series of {m} grew fastest from {x} to {y}?",),
        "change": ("By how much did {m}{of} change from {x} to {y}?",),
        "percent": ("By what percentage did {m}{of} change from {x} to {y}?",),
        "count": ("How many {g}s had {m}{of} above {t}?",),
        "compare": ("How much higher was {m}{of} in {x} than in {y}?",),
        "share": ("What share of {m} came from {x}?",),
    },
    "test": {
        "value": ("For {x}, what did the report give as {m}{of}?", "{m}{of}, {x}: how much?"),
        "highest": ("Where did {m}{of} reach its maximum, by {g}?", "What {g} recorded the most {m}{of}?"),
        "lowest": ("What {g} recorded the least {m}{of}?",),
        "growth": ("Between {x} and {y}, what had the strongest growth in {m}?",),
        "change": ("How much did {m}{of} rise or fall between {x} and {y}?",),
        "percent": ("In percent, how did {m}{of} develop: growth from {x} to {y}?",
                    "What percentage change did {m}{of} see from {x} to {y}?"),
        "count": ("In how many {g}s was {m}{of} more than {t}?",),
        "compare": ("What is the difference in {m}{of} between {x} and {y}?",),
        "share": ("What percentage of {m} did {x} account for?",),
    },
}  # fmt: skip
PLURALS = {"city": "citie", "country": "countrie"}


@dataclass(frozen=True)
class Question:
    """A question about a report.

    Attributes:
        number, names: what is right; both None and () where it cannot be answered. Any of the names will do.
        plate: the row of the plate that has the answer; -1: the text has.
        source, printed: of that plate.
    """

    text: str
    kind: str
    number: float | None = None
    names: tuple[str, ...] = ()
    plate: int = -1
    source: str = ""
    printed: bool = False

    @property
    def answerable(self) -> bool:
        return self.number is not None or bool(self.names)


def ask(made: Made, rng: np.random.Generator, each: int = 3) -> list[Question]:
    """Questions about a report: some on each plate, on what its text says, and on what is not there."""
    found: list[Question] = []
    for row, plate in enumerate(made.plates):
        if plate.fault:
            found.append(refused(made, row, plate, rng))
            continue
        every = list(about(made, row, plate, rng))
        kept = [every[int(n)] for n in rng.permutation(len(every))[:each]]
        found += [replace(one, kind="table") if plate.kind == "table" else one for one in kept]
    found += [Question(text, "text", None, (answer,)) for text, answer in made.facts]
    return [*found, *missing(made, rng)]


def about(made: Made, row: int, plate: Plate, rng: np.random.Generator) -> Iterator[Question]:
    """Every kind of question that a plate can be asked."""
    place = int(rng.integers(len(plate.series)))
    name, numbers = plate.series[place], plate.numbers[place]
    one, other = sorted(rng.permutation(len(plate.xs))[:2].tolist())

    def words(kind: str, **more: object) -> str:
        choices = WORDS[made.part][kind]
        said = choices[int(rng.integers(len(choices)))]
        of = f" of {name}" if name and kind != "growth" else ""
        group = PLURALS.get(plate.group, plate.group) if kind == "count" else plate.group
        given = {"m": plate.measure.lower(), "of": of, "g": group, "x": plate.xs[one], "y": plate.xs[other], **more}
        text = said.format(**given)
        return text[:1].upper() + text[1:]

    def question(kind: str, text: str, number: float | None = None, names: tuple[str, ...] = ()) -> Question:
        return Question(text, kind, number, names, row, plate.source, plate.printed)

    if plate.kind == "pie":
        yield question("share", words("share"), numbers[one])
    else:
        yield question("value", words("value"), numbers[one])
        yield question("compare", words("compare"), numbers[one] - numbers[other]) if apart(numbers, one, other) else (
            question("value", words("value", x=plate.xs[other]), numbers[other])
        )  # fmt: skip
    ordered = sorted(numbers)
    if ordered[-1] > (1 + APART) * ordered[-2]:
        yield question("extreme", words("highest"), None, (plate.xs[numbers.index(ordered[-1])],))
    if ordered[1] > (1 + APART) * ordered[0]:
        yield question("extreme", words("lowest"), None, (plate.xs[numbers.index(ordered[0])],))
    gaps = [(b - a, (a + b) / 2) for a, b in pairwise(ordered) if b > (1 + 2 * APART) * a]
    if gaps and plate.kind != "pie":
        low = max(gaps)[1]
        limit = float(f"{low:.2g}")
        if all(abs(n - limit) > 0.08 * n for n in numbers):
            yield question("count", words("count", t=f"{limit:,.10g}"), float(sum(n > limit for n in numbers)))
    if plate.group == "year" and apart(numbers, one, other):
        yield question("change", words("change"), numbers[other] - numbers[one])
        yield question("percent", words("percent"), 100 * (numbers[other] - numbers[one]) / numbers[one])
    if plate.group == "year" and len(plate.series) > 1:
        rates = [row[other] / row[one] for row in plate.numbers]
        best = sorted(rates)[::-1]
        if best[0] > 1 and best[0] > (1 + 2 * APART) * best[1]:
            yield question("growth", words("growth"), None, (plate.series[rates.index(best[0])],))


def apart(numbers: Sequence[float], one: int, other: int) -> bool:
    """Whether two values differ so much that 5 % of each does not turn their difference around."""
    return abs(numbers[one] - numbers[other]) > 0.5 * max(numbers[one], numbers[other])


def refused(made: Made, row: int, plate: Plate, rng: np.random.Generator) -> Question:
    """A question on a chart that must not be read: it is right to say so."""
    words, name = WORDS[made.part]["value"], plate.series[0]
    text = words[int(rng.integers(len(words)))].format(
        m=plate.measure.lower(), of=f" of {name}" if name else "", x=plate.xs[0]
    )
    return Question(text[:1].upper() + text[1:], "refused", plate=row, source=plate.source)


def missing(made: Made, rng: np.random.Generator) -> Iterator[Question]:
    """Questions that the report does not answer: a year before all, a measure that is not there."""
    plates = [plate for plate in made.plates if not plate.fault and plate.kind != "table"]
    years = [plate for plate in plates if plate.group == "year"]
    words = WORDS[made.part]["value"]
    said = words[int(rng.integers(len(words)))]
    if years:
        plate = years[int(rng.integers(len(years)))]
        name = f" of {plate.series[0]}" if plate.series[0] else ""
        text = said.format(m=plate.measure.lower(), of=name, x=str(int(plate.xs[0]) - 7))
        yield Question(text[:1].upper() + text[1:], "unanswerable")
    if plates:
        plate = plates[int(rng.integers(len(plates)))]
        text = said.format(m="profit from patents", of="", x=plate.xs[0])
        yield Question(text[:1].upper() + text[1:], "unanswerable")


# ---------------------------------------------------------------- right or wrong


def right(question: Question, refused: bool, number: float | None, names: Sequence[str], text: str) -> bool:
    """Whether an answer is right.

    Args:
        question: what was asked.
        refused: whether it says that there is no answer.
        number, names: what it says, where it says it so.
        text: all of it.
    """
    if not question.answerable:
        return refused
    if refused:
        return False
    if question.number is not None:
        if number is None:
            return False
        goal = abs(question.number) if question.kind in ("compare", "change") else question.number
        said = abs(number) if question.kind in ("compare", "change") else number
        if question.kind == "count":
            return round(said) == round(goal)
        return abs(said - goal) <= CLOSE * abs(goal)
    if question.kind in ("text",):
        return any(name.lower() in text.lower() for name in question.names)
    return any(name == other for name in question.names for other in names)
