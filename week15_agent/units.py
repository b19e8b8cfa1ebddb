"""Units of measurement for the calculator: a small table of exact factors.

An inch is 0.0254 m, a pound 0.45359237 kg, an hour 3600 s: all of these are exact by definition, so conversions are
fractions without any rounding (the calculator says where it rounds what it shows).

References
    NIST Special Publication 811, appendix B: conversion factors (bold there: exact)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from week15_agent.tools import ToolError

Units = tuple[tuple[str, int], ...]
"""((unit, exponent), …), sorted: metres per second are (("m", 1), ("s", -1)). Of a plain number ()."""
METRES = {
    "m": 1, "km": 1000, "dm": "0.1", "cm": "0.01", "mm": "0.001", "inch": "0.0254", "ft": "0.3048", "yd": "0.9144",
    "mi": "1609.344", "nmi": 1852,
}  # fmt: skip
KILOGRAMS = {"kg": 1, "g": "0.001", "mg": "0.000001", "t": 1000, "lb": "0.45359237", "oz": "0.028349523125"}
SECONDS = {"s": 1, "ms": "0.001", "min": 60, "h": 3600, "day": 86_400, "week": 604_800}
LITRES = {"l": 1, "ml": "0.001", "cl": "0.01", "gal": "3.785411784", "hl": 100}
SPEEDS = {"kph": "5/18", "mph": "0.44704", "knot": "463/900"}
OTHER_NAMES = {
    "metre": "m", "meter": "m", "kilometre": "km", "kilometer": "km", "centimetre": "cm", "centimeter": "cm",
    "millimetre": "mm", "millimeter": "mm", "inches": "inch", "foot": "ft", "feet": "ft", "yard": "yd", "mile": "mi",
    "kilogram": "kg", "kilo": "kg", "gram": "g", "milligram": "mg", "tonne": "t", "ton": "t", "pound": "lb",
    "lbs": "lb", "ounce": "oz", "second": "s", "sec": "s", "minute": "min", "mins": "min", "hour": "h", "hr": "h",
    "hrs": "h", "litre": "l", "liter": "l", "millilitre": "ml", "milliliter": "ml", "gallon": "gal", "kmh": "kph",
}  # fmt: skip
# A kelvin and a degree Celsius are equally large; what differs is where they begin: (size, zero) in kelvins.
TEMPERATURES = {"kelvin": (1, 0), "celsius": (1, "273.15"), "fahrenheit": ("5/9", "45967/180")}
OTHER_NAMES |= {"k": "kelvin", "c": "celsius", "°c": "celsius", "degc": "celsius"}
OTHER_NAMES |= {"f": "fahrenheit", "°f": "fahrenheit", "degf": "fahrenheit"}
SIGNS = {"celsius": "°C", "fahrenheit": "°F", "kelvin": "K"}


@dataclass(frozen=True)
class Unit:
    """One of it is `factor` of (metre, kilogram, second, kelvin) to these powers; where it is 0, they are `zero`."""

    factor: Fraction
    dimension: tuple[int, int, int, int]
    zero: Fraction = Fraction(0)


def table() -> dict[str, Unit]:
    """All units by name."""
    kinds = (METRES, (1, 0, 0, 0)), (KILOGRAMS, (0, 1, 0, 0)), (SECONDS, (0, 0, 1, 0)), (SPEEDS, (1, 0, -1, 0))
    found = {name: Unit(Fraction(size), axes) for sizes, axes in kinds for name, size in sizes.items()}
    found |= {name: Unit(Fraction(size) / 1000, (3, 0, 0, 0)) for name, size in LITRES.items()}
    return found | {
        name: Unit(Fraction(size), (0, 0, 0, 1), Fraction(zero)) for name, (size, zero) in TEMPERATURES.items()
    }


UNITS: Mapping[str, Unit] = table()


def named(word: str) -> Units | None:
    """The unit that a word names, in one of its spellings, singular or plural, `m2` being square metres."""
    bare, power = (word[:-1], int(word[-1])) if word[-1:].isdigit() else (word, 1)
    for name in (bare, bare.removesuffix("s")):
        name = OTHER_NAMES.get(name, name)
        if name in UNITS:
            return ((name, power),)
    return None


def is_point(units: Units) -> bool:
    """Whether it is a temperature, which has a zero of its own: 20 °C and 10 °C more are not 30 °C in °F."""
    return any(name in TEMPERATURES for name, _ in units)


def factor(units: Units) -> Fraction:
    """How much one of it is in metres, kilograms, seconds and kelvins."""
    product = Fraction(1)
    for name, power in units:
        product *= UNITS[name].factor ** power
    return product


def dimension(units: Units) -> tuple[int, ...]:
    """What it measures: the powers of metre, kilogram, second and kelvin."""
    return tuple(sum(UNITS[name].dimension[axis] * power for name, power in units) for axis in range(4))


def product(left: Units, right: Units, sign: int = 1) -> Units:
    """The units of a product, or of a quotient (sign -1)."""
    powers = dict(left)
    for name, power in right:
        powers[name] = powers.get(name, 0) + sign * power
    if any(abs(power) > 9 for power in powers.values()):
        raise ToolError("units to a power above 9 are not supported.")
    return tuple(sorted((name, power) for name, power in powers.items() if power))


def convert(value: Fraction, old: Units, new: Units) -> Fraction:
    """The same quantity in other units. A temperature is a point on a scale: its zero is moved as well.

    Raises:
        ToolError: they measure different things.
    """
    if dimension(old) != dimension(new):
        raise ToolError(f"{shown(old) or 'a plain number'} cannot be turned into {shown(new) or 'a plain number'}.")
    if len(old) == len(new) == 1 and old[0][1] == new[0][1] == 1:
        (here, _), (there, _) = old[0], new[0]
        return (value * UNITS[here].factor + UNITS[here].zero - UNITS[there].zero) / UNITS[there].factor
    return value * factor(old) / factor(new)


def shown(units: Units) -> str:
    """`km/h`, `m^2`, `kg*m/s^2`; nothing of a plain number."""

    def power(name: str, n: int) -> str:
        return name if n == 1 else f"{name}^{n}"

    over = "*".join(power(SIGNS.get(name, name), n) for name, n in units if n > 0)
    under = [power(SIGNS.get(name, name), -n) for name, n in units if n < 0]
    return (over or "1" * bool(under)) + "".join(f"/{one}" for one in under)
