"""A sum as steps, each with a name: what a question asks for, its exact value, and how the calculator is given it.

    sum = Steps((Step("-", 48, 15), Step("*", "a", 3)))     # 48 - 15 is a; a * 3
    sum.text                                                 # "a=48-15; a*3"
    sum.values                                               # (33, 99), as fractions

Naming what comes out of a step spares brackets: a small model writes the steps in the order in which it reads of them,
and need not know at its first token how many will follow (compare Gao et al., "PAL", arXiv:2211.10435).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

LETTERS = "abcdefghij"
LONGEST = 300
"""Characters of a step with all names in it put out in full: the calculator takes no more."""
Operand = int | str | Fraction
"""A number, or the name of an earlier step."""


@dataclass(frozen=True)
class Step:
    """One operation: + - * / or % (`left` percent of `right`)."""

    op: str
    left: Operand
    right: Operand

    @property
    def text(self) -> str:
        return f"{self.left}% of {self.right}" if self.op == "%" else f"{self.left}{self.op}{self.right}"


@dataclass(frozen=True)
class Steps:
    """Some steps; the value of the last is asked for."""

    items: tuple[Step, ...]

    @property
    def text(self) -> str:
        """As the calculator takes it."""
        lines = [f"{LETTERS[number]}={step.text}" for number, step in enumerate(self.items[:-1])]
        return "; ".join([*lines, self.items[-1].text])

    @property
    def values(self) -> tuple[Fraction, ...]:
        """What comes out of each step, exactly.

        Raises:
            ZeroDivisionError: as it says.
        """
        found: dict[str, Fraction] = {}
        for letter, step in zip(LETTERS, self.items, strict=False):
            left, right = (found[one] if isinstance(one, str) else Fraction(one) for one in (step.left, step.right))
            match step.op:
                case "+":
                    value = left + right
                case "-":
                    value = left - right
                case "*":
                    value = left * right
                case "/":
                    value = left / right
                case "%":
                    value = left * right / 100
            found[letter] = value
        return tuple(found.values())


def fits(steps: Steps, most: int = 100_000) -> bool:
    """Whether every step gives a whole positive number that is not too large: a question people would ask."""
    try:
        return all(value.denominator == 1 and 0 < value <= most for value in steps.values)
    except ZeroDivisionError:
        return False


def read(steps: Sequence[str], numbers: dict[str, int]) -> Steps:
    """`a*b; r1-c` of stories.txt with its numbers: letters are numbers there, r1 is what the first step gives."""
    found = []
    for text in steps:
        op = next(sign for sign in "+-*/%" if sign in text)
        sides = (one.strip() for one in text.split(op))
        ends = [LETTERS[int(one[1:]) - 1] if one[0] == "r" else numbers.get(one) or int(one) for one in sides]
        found.append(Step(op, *ends))
    return Steps(tuple(found))


def unfolded(text: str) -> str:
    """`a=48-15; b=a*3; b+7` as one expression: ((48-15)*3)+7. A text without a semicolon stays as it is.

    Names are single letters, given once each and before they are used; what is no such name stays where it is, and the
    calculator will say what it makes of it.
    """
    known: dict[str, str] = {}
    *before, last = text.split(";")

    def put(part: str) -> str:
        return re.sub(r"(?<![\w.])([a-j])(?!\w)", lambda match: known.get(match[1], match[1]), part.strip())

    for part in before:
        name, mark, value = part.partition("=")
        if not mark or not re.fullmatch(r"[a-j]", name.strip()):
            return text
        known[name.strip()] = f"({put(value)})"
        if len(known[name.strip()]) > LONGEST:
            return text
    return put(last)
