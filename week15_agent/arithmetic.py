"""The arithmetic of the calculator: fractions with units, and operations whose work is bounded before it is done.

    power(Quantity(Fraction(2)), Quantity(Fraction(100)))   is exact
    power(Quantity(Fraction(9)), Quantity(Fraction(9**9)))  is refused: its size is known beforehand

References
    https://docs.python.org/3/library/fractions.html, https://docs.python.org/3/library/decimal.html
"""

import ast
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction

from week15_agent import units
from week15_agent.tools import ToolError
from week15_agent.units import Units

BITS = 4096
"""The largest number: about 1,233 digits."""
CONTEXT = Context(prec=40, Emax=1300, Emin=-1300, rounding=ROUND_HALF_UP)
"""Roots, logarithms and pi are no fractions: they have 40 digits."""


@dataclass(frozen=True)
class Quantity:
    """A number with its units.

    Attributes:
        value: a fraction, exact or the nearest one of 40 digits.
        units: () of a plain number.
        exact: False behind roots and logarithms that are no fractions.
        percent: it was written with a percent sign: `340 + 12%` is 12 % more than 340.

    Raises:
        ToolError: it is too large to go on with.
    """

    value: Fraction
    units: Units = ()
    exact: bool = True
    percent: bool = False

    def __post_init__(self) -> None:
        if bits(self.value) > BITS:
            raise too_large()


def bits(value: Fraction) -> int:
    """The size of a fraction."""
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def too_large() -> ToolError:
    """What is said of numbers that would take too much time or room."""
    return ToolError("too large: numbers may have up to 1,200 digits.")


def suffixed(one: Quantity, name: str) -> Quantity:
    """What a name behind a value makes of it: per cent, a factorial, or so many of a unit."""
    if name == "percent":
        return Quantity(of_number(one) / 100, exact=one.exact, percent=True)
    if name == "factorial":
        return factorial(one)
    unit = units.named(name)
    if unit is None:
        raise ToolError(f"{name[:30]!r} is no unit.")
    return replace(one, units=units.product(one.units, unit), percent=False)


def of_number(one: Quantity) -> Fraction:
    """The value of what has to be a plain number."""
    if one.units:
        raise ToolError(f"a plain number is needed where {units.shown(one.units)} stands.")
    return one.value


def same(one: Quantity, other: Quantity) -> Fraction:
    """The value of `other` in the units of `one`."""
    if one.units == other.units:
        return other.value
    if units.is_point(one.units) or units.is_point(other.units):
        raise ToolError("temperatures of two scales: convert one of them first, as 20 C in F.")
    return units.convert(other.value, other.units, one.units)


def add(one: Quantity, other: Quantity, sign: int = 1) -> Quantity:
    """The sum; where a percentage is added to what is none, so much of it more."""
    exact = one.exact and other.exact
    if other.percent and not one.percent:
        return Quantity(one.value * (1 + sign * other.value), one.units, exact)
    return Quantity(one.value + sign * same(one, other), one.units, exact)


def multiply(one: Quantity, other: Quantity, sign: int = 1) -> Quantity:
    """The product, or the quotient (sign -1). Units that measure nothing any more, as m/cm, become a number."""
    value = one.value * other.value if sign > 0 else one.value / other.value
    both = units.product(one.units, other.units, sign)
    if both and not any(units.dimension(both)):
        value, both = value * units.factor(both), ()
    return Quantity(value, both, one.exact and other.exact)


def remainder(one: Quantity, other: Quantity) -> Quantity:
    """What is left of a division by a whole number of times; it has the divisor's sign."""
    return Quantity(one.value % same(one, other), one.units, one.exact and other.exact)


def whole(one: Quantity, other: Quantity) -> Quantity:
    """How many times `other` goes into `one`."""
    return Quantity(Fraction(one.value // same(one, other)), (), one.exact and other.exact)


def power(base: Quantity, exponent: Quantity) -> Quantity:
    """A power. How large it gets is known before it is computed."""
    n = of_number(exponent)
    if n.denominator > 1:
        return root_power(base, n, exponent.exact)
    size = bits(base.value)
    if (size > 1 and (size - 1) * abs(n) > BITS) or abs(n) > 10**9 or (base.units and abs(n) > 9):
        raise too_large()
    raised = tuple((unit, times * int(n)) for unit, times in base.units) if n else ()
    return Quantity(base.value ** int(n), raised, base.exact and exponent.exact)


def root_power(base: Quantity, n: Fraction, exact: bool) -> Quantity:
    """A power with a fraction as its exponent: exact where the root is one."""
    if base.value < 0:
        raise ToolError("there is no real root of a negative number.")
    if any(times * n.numerator % n.denominator for _, times in base.units):
        raise ToolError(f"there is no such root of {units.shown(base.units)}.")
    raised = tuple((unit, times * n.numerator // n.denominator) for unit, times in base.units)
    value = Fraction(CONTEXT.power(decimal(base.value), decimal(n)))
    near = value.limit_denominator(10**9)
    right = bits(near) * n.denominator < BITS and bits(base.value) * abs(n.numerator) < BITS
    right = right and near**n.denominator == base.value**n.numerator
    return Quantity(near if right else value, raised, base.exact and exact and right)


def decimal(value: Fraction) -> Decimal:
    """The nearest decimal of 40 digits."""
    return CONTEXT.divide(Decimal(value.numerator), Decimal(value.denominator))


def factorial(one: Quantity) -> Quantity:
    """The product of the integers up to it."""
    n = of_number(one)
    if n < 0 or n.denominator > 1:
        raise ToolError("a factorial is of an integer from 0.")
    if n > 500:
        raise too_large()
    return Quantity(Fraction(math.factorial(int(n))))


def rounded(one: Quantity, places: Quantity | None = None) -> Quantity:
    """To so many decimals, a half away from 0, as at school."""
    n = of_number(places) if places else Fraction(0)
    if n.denominator > 1 or abs(n) > 100:
        raise ToolError("round(number, decimals): decimals is a small integer.")
    scaled = abs(one.value) * Fraction(10) ** int(n)
    value = Fraction(math.floor(scaled + Fraction(1, 2))) / Fraction(10) ** int(n)
    return replace(one, value=value if one.value >= 0 else -value, percent=False)


def each(change: Callable[[Fraction], Fraction | int]) -> Callable[[Quantity], Quantity]:
    """A function of the value, in the same units."""
    return lambda one: replace(one, value=Fraction(change(one.value)), percent=False)


def over(choose: Callable[[Sequence[Fraction]], Fraction]) -> Callable[..., Quantity]:
    """A function of several values, in the units of the first."""

    def found(first: Quantity, *others: Quantity) -> Quantity:
        values = [first.value, *(same(first, other) for other in others)]
        return Quantity(choose(values), first.units, all(one.exact for one in (first, *others)))

    return found


def of_integers(change: Callable[..., int]) -> Callable[..., Quantity]:
    """A function of integers."""

    def found(*given: Quantity) -> Quantity:
        values = [of_number(one) for one in given]
        if any(value.denominator > 1 for value in values):
            raise ToolError("only integers have a common divisor or multiple.")
        return Quantity(Fraction(change(*map(int, values))))

    return found


def irrational(change: Callable[[Decimal], Decimal]) -> Callable[[Quantity], Quantity]:
    """A function of a number that has 40 digits and is hardly ever a fraction."""

    def found(one: Quantity) -> Quantity:
        given = of_number(one)
        if given <= 0 and change != CONTEXT.exp:
            raise ToolError("a logarithm is of a number above 0.")
        value = Fraction(change(decimal(given)))
        return Quantity(value, exact=one.exact and value.denominator == 1 and (value != 0 or given == 1))

    return found


CONSTANTS = {
    "pi": Quantity(Fraction("3.141592653589793238462643383279502884197"), exact=False),
    "e": Quantity(Fraction("2.718281828459045235360287471352662497757"), exact=False),
    "half": Quantity(Fraction(1, 2)),
}
OPERATIONS: dict[type, Callable[[Quantity, Quantity], Quantity]] = {
    ast.Add: add, ast.Sub: lambda one, other: add(one, other, -1), ast.Mult: multiply,
    ast.Div: lambda one, other: multiply(one, other, -1), ast.FloorDiv: whole, ast.Mod: remainder, ast.Pow: power,
}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Quantity]] = {
    "sqrt": lambda one: root_power(one, Fraction(1, 2), True), "abs": each(abs), "round": rounded,
    "floor": each(math.floor), "ceil": each(math.ceil), "min": over(min), "max": over(max), "sum": over(sum),
    "average": over(lambda values: sum(values) / len(values)), "gcd": of_integers(math.gcd),
    "lcm": of_integers(math.lcm), "factorial": factorial, "log": irrational(CONTEXT.log10),
    "ln": irrational(CONTEXT.ln), "exp": irrational(CONTEXT.exp),
}  # fmt: skip
ARGUMENTS = {"round": (1, 2), **dict.fromkeys(("min", "max", "sum", "average", "gcd", "lcm"), (1, 99))}
"""How many arguments a function takes, at least and at most; of the others 1."""


def called(name: str, arguments: Sequence[Quantity]) -> Quantity:
    """What a function gives.

    Raises:
        ToolError: too few or too many arguments; or what the function refuses.
    """
    least, most = ARGUMENTS.get(name, (1, 1))
    if not least <= len(arguments) <= most:
        wanted = "1 number" if most == 1 else f"{least} to {most} numbers"
        raise ToolError(f"{name} takes {wanted}, not {len(arguments)}.")
    return FUNCTIONS[name](*arguments)
