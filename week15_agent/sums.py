"""Explicit sums of two to six steps, in words: a chain of steps, a phrase, a phrase and then a chain, or symbols."""

import random
from dataclasses import dataclass

from week15_agent.steps import LETTERS, Operand, Step, Steps, fits
from week15_agent.wording import Part, in_words, sections

NAMED = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "%": "percent"}
FIXED = {("*", 2): "double", ("/", 2): "halve", ("*", 3): "triple"}
SHAPES = ("chain", "chain", "chain", "phrase", "phrase", "mixed", "mixed", "symbols")


@dataclass(frozen=True)
class Sum:
    """A question, its steps, and how it is put: chain, phrase, mixed or symbols; `words` where numbers are words."""

    text: str
    steps: Steps
    shape: str


def lines(name: str, part: Part) -> list[str]:
    return sections("sums.txt")[name, part]


def draw(part: Part, rng: random.Random, words: bool = False) -> Sum:
    """A sum in wordings of a part of the data; with `words`, its numbers are in words."""
    while True:
        shape = rng.choice(SHAPES[: -1 if words else None])
        many = rng.choice((2, 2, 3, 3, 4, 4, 5, 6)) if shape != "phrase" else rng.choice((1, 2, 2, 3))
        made = Maker(part, rng, words)
        text = getattr(made, shape)(many)
        if fits(steps := Steps(tuple(made.steps))):
            return Sum(text, steps, f"{shape} in words" if words else shape)


class Maker:
    """Puts one sum together: the text, and beside it the steps."""

    def __init__(self, part: Part, rng: random.Random, words: bool) -> None:
        self.part, self.rng, self.words = part, rng, words
        self.steps: list[Step] = []

    def say(self, number: int) -> str:
        return in_words(number) if self.words else str(number)

    def line(self, name: str, **slots: str) -> str:
        return self.rng.choice(lines(name, self.part)).format(**slots)

    def step(self, op: str, left: Operand, right: Operand) -> str:
        """Notes a step, and gives its name."""
        self.steps.append(Step(op, left, right))
        return LETTERS[len(self.steps) - 1]

    def number(self, op: str = "+", so_far: int = 0) -> int:
        """One that fits: divisors divide, shares of a hundred come out whole, most often."""
        if op == "/":
            return self.rng.choice([n for n in range(2, 21) if so_far % n == 0] or [0])
        if op == "%":
            return self.rng.choice([n for n in range(5, 100) if so_far * n % 100 == 0] or [0])
        if op == "*":
            return self.rng.choice((2, 2, 3, 3, *range(4, 13), self.rng.randrange(13, 60)))
        most = self.rng.choice((20, 100, 100, 1000))
        return self.rng.randrange(2, max(4, min(most, so_far) if op == "-" else most))

    def op(self) -> str:
        return self.rng.choices("+-*/%", (4, 4, 4, 3, 1))[0]

    def tail(self, last: Operand, many: int) -> list[str]:
        """So many steps in a chain, on from `last`."""
        told = []
        for _ in range(many):
            op = self.op()
            so_far = int(Steps(tuple(self.steps)).values[-1]) if self.steps else int(last)
            n = self.number(op, so_far)
            if not n:  # nothing divides it: then something is added
                op, n = "+", self.number()
            name = FIXED.get((op, n))
            if name and self.rng.random() < 0.6:
                told.append(self.line(f"then {name}"))
            else:
                told.append(self.line(f"then {NAMED[op]}", n=self.say(n)))
            last = self.step(op, *((n, last) if op == "%" else (last, n)))
        return told

    def chain(self, many: int) -> str:
        start = self.number(op="+") + self.rng.choice((0, 0, 0, 100))
        try:
            told = [self.line("begin", n=self.say(start)), *self.tail(start, many)]
        except (ValueError, ZeroDivisionError):
            return self.again()
        return " ".join(joined([*told, self.line("ask")], self.rng))

    def phrase_of(self, many: int) -> tuple[str, Operand]:
        """A phrase of so many operations, and the name of what it stands for; of none, a number."""
        if not many:
            n = self.number()
            return self.say(n), n
        op = self.op()
        wordings = lines(f"of {NAMED[op]}", self.part)
        if many > 1:  # an inner phrase comes last, and says itself where it begins
            wordings = [one for one in wordings if one.endswith(("{p}", "{q}"))]
            wording = self.rng.choice(wordings)
            inner, name = self.phrase_of(many - 1)
            if not inner.startswith(("the ", "what ")):
                inner = self.again()
            other = self.number("*" if op == "*" else "+")
            left, right = (other, name) if wording.endswith("{q}") else (name, other)
        else:
            wording = self.rng.choice(wordings)
            right = self.number("*" if op in "*/" else "+")
            left = right * self.number("*") if op == "/" else self.number("*" if op == "%" else "+")
            if op == "%":
                left, right = self.rng.choice((5, 10, 15, 20, 25, 30, 40, 50, 60, 75)), 20 * self.rng.randrange(1, 40)
            inner, other = "", 0
        texts = [inner if isinstance(one, str) else self.say(one) for one in (left, right)]
        return wording.format(p=texts[0], q=texts[1]), self.step(op, left, right)

    def phrase(self, many: int) -> str:
        text, _ = self.phrase_of(many)
        return self.line("what is", p=text)

    def mixed(self, many: int) -> str:
        text, last = self.phrase_of(1)
        try:
            told = [self.line("begin", n=text), *self.tail(last, many - 1)]
        except (ValueError, ZeroDivisionError):
            return self.again()
        return " ".join(joined([*told, self.line("ask")], self.rng))

    def symbols(self, many: int) -> str:
        """As it stands in books: what is in brackets comes first."""
        text, last = str(start := self.number()), start
        for number in range(min(many, 3)):
            op = self.rng.choice("+-*/")
            so_far = int(Steps(tuple(self.steps)).values[-1]) if self.steps else start
            n = self.number(op, so_far)
            if not n:
                op, n = "+", self.number()
            if number and op in "*/" and self.steps[-1].op in "+-":
                text = f"({text})"
            sign = self.rng.choice({"*": "*×x", "/": "/÷", "+": "+", "-": "-"}[op])
            text = f"{text} {sign} {n}"
            last = self.step(op, last, n)
        return self.line("what is", p=text)

    def again(self) -> str:
        """What came out cannot be asked for: `fits` finds these steps wrong, and another sum is drawn."""
        self.steps.append(Step("-", 0, 1))
        return ""


def joined(told: list[str], rng: random.Random) -> list[str]:
    """Sentences; now and then two steps become one sentence: `Add 4, then double it.`"""
    found = told[:1]
    for sentence in told[1:]:
        asks = sentence is told[-1]
        if len(found) > 1 and not asks and rng.random() < 0.35 and found[-1].endswith("."):
            link = rng.choice((", then ", ", and ", "; ", ", after that ")) if "hen " not in sentence else ", "
            found[-1] = found[-1][:-1] + link + sentence[0].lower() + sentence[1:]
        else:
            found.append(sentence)
    return found
