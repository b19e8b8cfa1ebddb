"""What the search without a network knows: 2,257 short passages of dated facts about the world, as of 25 April 2026.

The facts are real, and each has its source and its date (`shared/samples/cut_world.py` cut them): states by the last
World Factbook, of January 2026, and by Gapminder (1957 and 2007); the chemical elements; when Debian and Ubuntu came
out, and until when they are cared for; the Earth's air and warmth. Of many things there are several figures of
different years, so that the latest must be chosen by its date. What is later than `DATE` is a plan, and its passage
says so.

    facts()                      all of them: (subject, attribute, value, unit, date), to make questions of
    latest("France", "exports")  the newest one
    documents()                  the passages, which our own sentences make of the facts
"""

import gzip
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache

from shared.files import ROOT

SAMPLE = ROOT / "shared" / "samples" / "world_facts.jsonl.gz"
DATE = "2026-04-25"
WITH_THE = re.compile(
    "Central African|Comoros|Czech|Democratic Republic|Dominican|Gambia|Netherlands|Philippines|Republic of"
    "|Solomon Islands|United "
)


@dataclass(frozen=True)
class Fact:
    """One thing that is known.

    Attributes:
        subject: what it is about: a state, an element, a release, or Earth.
        attribute: what is said of it, such as "population" or "chief of state since".
        value: a number in `unit`, or words; a date is year-month-day, or a year.
        unit: "" of words, "date" of dates, "year" of a year.
        date: of when it is: year, year-month or year-month-day.
        kind: of passage: economy, trade, people, history, geography, infrastructure, capital, government, element,
            release, climate.
        document: the id of the passage that says it.
        source: who says so.
    """

    subject: str
    attribute: str
    value: int | float | str
    unit: str
    date: str
    kind: str
    document: str
    source: str

    @property
    def number(self) -> str:
        """The value as the passage prints it, without its unit: 68,512,806 or 7.4 or 14 May 2017."""
        if self.unit == "date":
            return long_date(str(self.value))
        grouped = isinstance(self.value, int | float) and self.unit not in ("year", "")
        return f"{self.value:,}" if grouped else str(self.value)

    @property
    def text(self) -> str:
        """The value with its unit, as the passage prints it."""
        if self.unit == "%":
            return f"{self.number}%"
        return self.number if self.unit in ("", "date", "year", "airports") else f"{self.number} {self.unit}"


@dataclass(frozen=True)
class Document:
    """A passage: a title and one to four sentences, about one subject at one time."""

    id: str
    title: str
    kind: str
    subject: str
    date: str
    source: str
    text: str


@cache
def facts() -> tuple[Fact, ...]:
    """All facts, passage by passage."""
    return tuple(fact for _, held in _lines() for fact in held)


@cache
def documents() -> tuple[Document, ...]:
    """All passages, in the sample's order."""
    keys = ("id", "title", "kind", "subject", "date", "source")
    return tuple(Document(*(about[key] for key in keys), passage(held)) for about, held in _lines())


def latest(subject: str, attribute: str) -> Fact | None:
    """The newest fact of its kind, by its date; None where there is none."""
    return max(_by_name().get((subject, attribute), ()), key=lambda fact: fact.date, default=None)


def all_of(subject: str, attribute: str) -> list[Fact]:
    """Every fact of its kind, the oldest first."""
    return sorted(_by_name().get((subject, attribute), ()), key=lambda fact: fact.date)


def long_date(iso: str) -> str:
    """14 May 2017 of 2017-05-14; January 2026 of 2026-01; a year as it is."""
    if len(iso) < 7:
        return iso
    day = date.fromisoformat(iso if len(iso) > 7 else f"{iso}-01")
    return f"{day.day} {day:%B %Y}" if len(iso) > 7 else f"{day:%B %Y}"


def spoken(subject: str) -> str:
    """A subject as a sentence has it: the Netherlands."""
    return f"the {subject}" if WITH_THE.match(subject) else subject


def passage(held: Sequence[Fact]) -> str:
    """The sentences that say these facts, which are all about one subject."""
    by_name, first = {fact.attribute: fact for fact in held}, held[0]
    of, kind = spoken(first.subject), first.kind
    if kind in ("capital", "government"):
        return " ".join(_government(of, by_name))
    if kind == "release":
        return _release(first.subject, by_name)
    year = first.date if kind in ("economy", "trade", "history", "climate") else ""
    said = []
    for fact in held:
        if fact.attribute not in _SAID_APART:
            alone = year or kind == "element" or fact.date.startswith(DATE[:4])  # the edition's: of no year of its own
            said.append((fact.attribute, fact.text if alone else f"{fact.text} ({fact.date})"))
    (main, value), *rest = said
    plural = main in ("exports", "imports", "land borders")
    verb = ("were" if plural else "was") if year else ("are" if plural else "is")
    text = listed([f"the {main} of {of} {verb} {value}", *(f"its {name} {value}" for name, value in rest)])
    sentences = [f"In {year}, {text}." if year else f"{text[0].upper()}{text[1:]}."]
    if "highest point" in by_name:
        peak, height = by_name["highest point"], by_name["height of the highest point"]
        sentences.append(f"Its highest point is {peak.value}, with a height of {height.text}.")
    if "discovery" in by_name:
        sentences.append(f"It was discovered in {by_name['discovery'].value}.")
    return " ".join(sentences)


_SAID_APART = ("highest point", "height of the highest point", "discovery")


def listed(parts: Sequence[str]) -> str:
    """a, b and c."""
    return ", ".join(parts[:-1]) + f" and {parts[-1]}" if len(parts) > 1 else parts[0]


def _government(of: str, by_name: dict[str, Fact]) -> Iterator[str]:
    if "capital" in by_name:
        yield f"The capital of {of} is {by_name['capital'].text}."
    if "independence" in by_name:
        yield f"{'It' if 'capital' in by_name else of} has been independent since {by_name['independence'].text}."
    offices = [office for office in ("chief of state", "head of government") if office in by_name]
    for office in offices:
        whose = f"The {office} of {of}" if office == offices[0] else f"Its {office}"
        yield f"{whose} is {by_name[office].text}, since {by_name[f'{office} since'].text}."
    if "latest election" in by_name:
        yield f"Its latest election was on {by_name['latest election'].text}."


def _release(subject: str, by_name: dict[str, Fact]) -> str:
    release, end = by_name["release"], by_name.get("end of support")
    when = "was released on" if release.date <= DATE else "is planned for release on"
    text = f"{subject}, code name {by_name['code name'].value}, {when} {release.text}"
    if not end:
        return f"{text}."
    return f"{text}. Its support {'ended' if end.date <= DATE else 'ends'} on {end.text}."


@cache
def _lines() -> tuple[tuple[dict, tuple[Fact, ...]], ...]:
    with gzip.open(SAMPLE, "rt", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return tuple(
        (line, tuple(Fact(line["subject"], *fact, line["kind"], line["id"], line["source"]) for fact in line["facts"]))
        for line in lines
    )


@cache
def _by_name() -> dict[tuple[str, str], list[Fact]]:
    found: dict[tuple[str, str], list[Fact]] = {}
    for fact in facts():
        found.setdefault((fact.subject, fact.attribute), []).append(fact)
    return found
