"""Lookups: what is asked of the snapshot's facts, alone, in a sum, or where nobody can tell."""

import random
from dataclasses import dataclass
from functools import cache
from zlib import crc32

from week15_agent import snapshot
from week15_agent.snapshot import Fact
from week15_agent.steps import Step, Steps, fits
from week15_agent.wording import Part, drawn, sections

YEARLY = ("real GDP", "GDP per person", "GDP growth", "inflation rate", "unemployment rate", "exports", "imports")
SUMS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "percent": "%"}


@dataclass(frozen=True)
class Lookup:
    """A question, the queries that find it out, and then an answer in words, or steps; neither: it cannot be told.

    Attributes:
        accept: other ways to put the answer.
    """

    text: str
    queries: tuple[str, ...]
    answer: str = ""
    steps: Steps | None = None
    accept: tuple[str, ...] = ()
    name: str = ""


def part_of(subject: str) -> Part:
    """Which part of the data asks of a subject: three in twenty val, four in twenty test, by a checksum of its name."""
    number = crc32(subject.encode()) % 20
    return "val" if number < 3 else "test" if number < 7 else "train"


@cache
def known(part: Part) -> dict[str, list[Fact]]:
    """{attribute: facts that may be asked for}, of the subjects of a part: the newest of each, and those of a year."""
    found: dict[str, list[Fact]] = {}
    asked = {name for name, _ in sections("lookups.txt")}
    for fact in snapshot.facts():
        if fact.attribute in asked and part_of(fact.subject) == part:
            newest = snapshot.latest(fact.subject, fact.attribute) is fact
            if newest or fact.attribute in YEARLY:
                found.setdefault(fact.attribute, []).append(fact)
    return found


def line(name: str, part: Part, rng: random.Random) -> str:
    return drawn(rng.choice(sections("lookups.txt")[name, part]), rng)


def fact(part: Part, rng: random.Random, numeric: bool = False) -> tuple[Fact, str]:
    """A fact, and the year that its question names, if it must."""
    names = [name for name, facts in known(part).items() if not numeric or whole(facts)]
    facts = known(part)[rng.choice(names)]
    found = rng.choice(whole(facts) if numeric else facts)
    newest = snapshot.latest(found.subject, found.attribute)
    return found, "" if found is newest else found.date


def whole(facts: list[Fact]) -> list[Fact]:
    """Those whose value is a whole number that one may reckon with."""
    return [
        one for one in facts if isinstance(one.value, int) and one.unit not in ("date", "year", "") and one.value > 9
    ]


def query(found: Fact, year: str) -> str:
    """What a search for it says."""
    return f"{found.attribute} of {snapshot.spoken(found.subject)}" + (f" in {year}" if year else "")


def draw(part: Part, rng: random.Random) -> Lookup:
    """A question for one fact."""
    found, year = fact(part, rng)
    text = line(found.attribute, part, rng).replace("{s}", snapshot.spoken(found.subject))
    if year:
        text = f"In {year}: {text}" if rng.random() < 0.5 else dated(text, year)
    return Lookup(text, (query(found, year),), found.text, accept=(found.number,), name=found.attribute)


def dated(text: str, year: str) -> str:
    """The question with its year at the end, before its mark."""
    return f"{text[:-1]} in {year}{text[-1]}"


def draw_sum(part: Part, rng: random.Random) -> Lookup:
    """A sum with one fact or with two."""
    while True:
        if rng.random() < 0.2:
            made = two(part, rng)
        else:
            found, year = fact(part, rng, numeric=True)
            name = rng.choice(tuple(SUMS))
            if found.value * 10 > 10**8 and name == "multiply":
                continue
            n = share(found.value, name, rng)
            op = SUMS[name]
            step = Step(op, n, found.value) if op == "%" else Step(op, found.value, n)
            text = line(f"sum {name}", part, rng).replace("{n}", str(n)).replace("{p}", named(found, year))
            made = Lookup(text, (query(found, year),), steps=Steps((step,)), name=f"{found.attribute} {name}")
        if fits(made.steps, 10**9):
            return made


def share(value: int, name: str, rng: random.Random) -> int:
    """A number that one would reckon with beside a value."""
    if name == "divide":
        return rng.choice([n for n in range(2, 13) if value % n == 0] or [0])
    if name == "percent":
        return rng.choice([n for n in (5, 10, 20, 25, 40, 50, 75) if value * n % 100 == 0] or [0])
    return rng.randint(2, 12) if name == "multiply" else rng.randint(2, max(3, min(value - 1, 500)))


def named(found: Fact, year: str) -> str:
    """The fact as a phrase: the population of France, the exports of Chad in 2023."""
    noun = {
        "airports": "number of airports",
        "railways": "length of the railways",
        "coastline": "length of the coastline",
        "exports": "value of the exports",
        "imports": "value of the imports",
        "internet users": "share of internet users",
    }
    return f"the {noun.get(found.attribute, found.attribute)} of {snapshot.spoken(found.subject)}" + (
        f" in {year}" if year else "")  # fmt: skip


def two(part: Part, rng: random.Random) -> Lookup:
    """The same of two subjects: their sum, or by how much one is more."""
    name = rng.choice([name for name, facts in known(part).items() if len(whole(facts)) > 3])
    pool = [one for one in whole(known(part)[name]) if snapshot.latest(one.subject, name) is one]
    if len(pool) < 2:
        return Lookup("", (), steps=Steps((Step("-", 0, 1),)))
    first, second = sorted(rng.sample(pool, 2), key=lambda one: -one.value)
    kind, op = rng.choice((("two more", "-"), ("two sum", "+")))
    text = line(kind, part, rng).replace("{p}", named(first, "")).replace("{q}", named(second, ""))
    steps = Steps((Step(op, first.value, second.value),))
    return Lookup(text, (query(first, ""), query(second, "")), steps=steps, name=f"{name} {kind}")


def draw_unknown(part: Part, rng: random.Random) -> Lookup:
    """What no tool can tell: of the asker's own life, or of things that the snapshot does not have."""
    if rng.random() < 0.5:
        return Lookup(line("unknowable", part, rng), (), name="unknowable")
    subject = rng.choice(sorted({one.subject for one in known(part)["capital"]}))
    text = line("unknown of", part, rng)
    what = text.replace("{s}", snapshot.spoken(subject))
    return Lookup(what, (what.rstrip("?"),), name="unknown of")
