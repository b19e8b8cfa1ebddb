"""Word problems: story kinds of stories.txt, of which whole kinds are held out."""

import random
import re
from dataclasses import dataclass, field
from functools import cache

from week15_agent.steps import LETTERS, Step, Steps, fits, read
from week15_agent.wording import NAMES, Part, drawn, sections

TWO = 0.15
"""How often a sentence with a number that does not matter stands in a story."""


@dataclass(frozen=True)
class Kind:
    """A kind of story: sentences of a running count (start, more, less, ask), plots, or both."""

    name: str
    things: tuple[str, ...] = ("things",)
    ranges: dict[str, tuple[int, int]] = field(default_factory=dict)
    count: dict[str, str] = field(default_factory=dict)
    plots: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class Story:
    text: str
    steps: Steps
    kind: str


@cache
def kinds(part: Part) -> tuple[Kind, ...]:
    """All kinds of a part of the data."""
    found = []
    for (name, of), lines in sections("stories.txt").items():
        if of != part:
            continue
        things, ranges, count, plots = ("things",), {}, {}, []
        for line in lines:
            head, _, rest = line.partition(": ")
            if head == "things":
                things = tuple(rest.split(", "))
            elif head == "range":
                for one in rest.split(", "):
                    letter, low, high = re.fullmatch(r"(\w) (\d+)-(\d+)", one).groups()
                    ranges[letter] = (int(low), int(high))
            elif head in ("start", "more", "less", "ask"):
                count[head] = rest
            else:
                text, steps = line.split(" => ")
                plots.append((text, tuple(steps.split(";"))))
        found.append(Kind(name, things, ranges, count, tuple(plots)))
    return tuple(found)


def draw(part: Part, rng: random.Random) -> Story:
    """A story of one of the kinds of a part of the data."""
    kind = rng.choice(kinds(part))
    while True:
        counts = kind.count and rng.random() < 1 / (1 + len(kind.plots))
        text, steps = counted(kind, rng) if counts else plotted(kind, rng)
        if fits(steps):
            break
    first, second = rng.sample(NAMES[part], 2)
    things = rng.sample(kind.things, min(2, len(kind.things)))
    slots = {"A": first, "B": second, "x": things[0], "y": things[-1]}
    text = re.sub(r"\{([ABxy])\}", lambda match: slots[match[1]], text)
    text = text[0].upper() + text[1:]
    if rng.random() < TWO:
        text = beside(text, part, rng)
    return Story(text, steps, kind.name)


def number(kind: Kind, letter: str, rng: random.Random) -> int:
    low, high = kind.ranges.get(letter, (20, 400) if letter in "ef" else (2, 20))
    return rng.randint(low, high)


def counted(kind: Kind, rng: random.Random) -> tuple[str, Steps]:
    """A start and one to four events."""
    start = number(kind, "a", rng) if "a" in kind.ranges else rng.randint(12, 200)
    told, steps, last = [drawn(kind.count["start"], rng).replace("{a}", str(start))], [], start
    for many in range(rng.choice((1, 2, 2, 3, 4))):
        what = rng.choice(("more", "less"))
        n = number(kind, "n", rng) if "n" in kind.ranges else rng.randint(2, 40)
        event = drawn(kind.count[what], rng).replace("{n}", str(n))
        told.append(event[0].upper() + event[1:])
        steps.append(Step("+" if what == "more" else "-", last, n))
        last = LETTERS[many]
    told.append(drawn(kind.count["ask"], rng))
    return " ".join(told), Steps(tuple(steps))


def plotted(kind: Kind, rng: random.Random) -> tuple[str, Steps]:
    """A plot with numbers; what it divides by divides most often."""
    text, steps = rng.choice(kind.plots)
    text = drawn(text, rng)
    for _ in range(200):
        numbers = {letter: number(kind, letter, rng) for letter in "abcdef"}
        if fits(made := read(steps, numbers), 50_000):
            break
    return re.sub(r"\{([a-f])\}", lambda match: str(numbers[match[1]]), text), made


def beside(text: str, part: Part, rng: random.Random) -> str:
    """The text with a sentence somewhere before its question that has a number and no say."""
    sentences = re.split(r"(?<=[.?]) ", text)
    more = rng.choice(sections("sums.txt")["other", part]).format(n=rng.randint(2, 60))
    sentences.insert(rng.randrange(len(sentences)), more)
    return " ".join(sentences)
