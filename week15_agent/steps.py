"""A sum as steps: what a question asks for, its exact value, and how the calculator is given it.

    sum = Steps((Step("-", 48, 15), Step("*", "a", 3)))     # 48 - 15 is a; a * 3
    sum.text                                                 # "48-15; *3"
    sum.values                                               # (33, 99), as fractions

A semicolon is the calculator's = key: what comes behind it goes on with the result. It spares brackets, so a
small model writes the steps in the order in which it reads of them, and need not know at its first token how many will
follow (compare Gao et al., "PAL", arXiv:2211.10435). Where a text itself tells a sum in a sum, brackets stand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

LETTERS = "abcdefghij"
Operand = int | str | Fraction
"""A number, or the name of an earlier step."""


@dataclass(frozen=True)
class Step:
    """One operation: + - * / or % (`left` percent of `right`)."""

    op: str
    left: Operand
    right: Operand


@dataclass(frozen=True)
class Steps:
    """Some steps; the value of the last is asked for."""

    items: tuple[Step, ...]

    @property
    def text(self) -> str:
        """As the calculator is given it."""
        return self._keys(len(self.items) - 1)

    def _keys(self, number: int) -> str:
        """Step `number` as keys are pressed: a step that goes on with an earlier one's result stands behind it."""
        op, left, right = self.items[number].op, self.items[number].left, self.items[number].right
        if op == "%" and isinstance(right, str):
            return f"{self._keys(LETTERS.index(right))}; *{left}%"
        if op != "%" and isinstance(left, str) and not isinstance(right, str):
            return f"{self._keys(LETTERS.index(left))}; {op}{right}"
        return self._nested(number)

    def _nested(self, number: int) -> str:
        """Step `number` as one expression, with brackets where they are needed."""
        step = self.items[number]
        if step.op == "%":
            return f"{step.left}% of {self._side(step.right, True, step.op)}"
        if step.op in "+-" and isinstance(step.right, str):
            share = self.items[LETTERS.index(step.right)]
            if share.op == "%" and share.right == step.left:  # a tenth more of it is its own sum on any calculator
                return f"{step.left}{step.op}{share.left}%"
        return f"{self._side(step.left, False, step.op)}{step.op}{self._side(step.right, True, step.op)}"

    def _side(self, side: Operand, right: bool, op: str) -> str:
        if not isinstance(side, str):
            return str(side)
        text, inner = self._nested(LETTERS.index(side)), self.items[LETTERS.index(side)].op
        loose = (inner in "+-") >= (op in "+-") if right else (inner in "+-") > (op in "+-")
        return f"({text})" if loose else text

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
