"""Numbers as labels write them, and the axis that they stand along: from a place on the page to a number.

References
    M. Fischler, R. Bolles, "Random Sample Consensus", CACM 1981: a line through two of the points, held against all
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

TIMES = {"k": 1e3, "thousand": 1e3, "m": 1e6, "mn": 1e6, "million": 1e6, "b": 1e9, "bn": 1e9, "billion": 1e9, "": 1.0}
NUMBER = re.compile(
    r"(?P<sign>[-+−–‒(]?)\s*(?:[$€£¥]|USD|EUR)?\s*(?P<sign2>[-−–]?)\s*(?P<digits>\d[\d.,' \u00a0\u2009\u202f]*|\.\d+)"
    r"(?:\s*(?:e|×\s*10\^?)\s*(?P<power>[-−+]?\d+))?"
    r"(?:\^(?P<raised>[-−]?\s*\d+))?"
    r"\s*(?P<times>k|thousand|mn|million|m|bn|billion|b|)\s*(?:%|percent|[$€£¥]|USD|EUR)?\)?",
    re.IGNORECASE,
)


def number(text: str) -> float | None:
    """The number that a label says: 1,200; 1.2k; −5; 12 %; $3.4M; 10^3; (7). None where it says something else.

    A comma or a full stop before exactly three digits parts thousands, unless zero alone stands before it; "0.125" and
    "1.25" are decimals, and so is a full stop that stands alone: 1.200 is 1.2, but 1.200.000 and 1.200,50 are not.
    """
    found = NUMBER.fullmatch(text.strip())
    if not found:
        return None
    digits = re.sub(r"[' \u00a0\u2009\u202f]", "", found["digits"]).rstrip(".,")
    if "," in digits and "." in digits:
        last = max(digits.rfind(","), digits.rfind("."))
        digits = re.sub(r"[.,]", "", digits[:last]) + "." + digits[last + 1 :]
    elif re.fullmatch(r"[1-9]\d{0,2}(,\d{3})+", digits) or digits.count(".") > 1:
        digits = re.sub(r"[.,]", "", digits)
    digits = digits.replace(",", ".")
    try:
        value = float(digits) * TIMES[found["times"].lower()]
        if found["raised"]:
            value **= int(found["raised"].replace("−", "-").replace(" ", ""))
        value *= 10.0 ** int((found["power"] or "0").replace("−", "-"))
    except (ValueError, OverflowError, ZeroDivisionError):
        return None
    below = found["sign"] in ("-", "−", "–", "‒", "(") or found["sign2"]
    return (-value if below else value) if math.isfinite(value) else None


Numbers = Sequence[int | float] | np.ndarray


@dataclass(frozen=True)
class Axis:
    """number = slope * place + start, or 10 to the power of it where the scale is log.

    Attributes:
        scale: linear or log.
        slope, start: of the line.
        used: which of the labels lie on it, by their numbers.
        count: how many labels there were.
        error: how far those that lie on it are from it, in places, at the median.
    """

    scale: Literal["linear", "log"]
    slope: float
    start: float
    used: tuple[int, ...]
    count: int
    error: float

    def value(self, place: int | float) -> float:
        """The number at a place."""
        line = self.slope * place + self.start
        return 10.0 ** min(line, 300.0) if self.scale == "log" else line

    def place(self, number: int | float) -> float:
        """Where a number stands."""
        return ((math.log10(number) if self.scale == "log" else number) - self.start) / self.slope


def fit(places: Numbers, numbers: Numbers, near: float = 2.0) -> Axis:
    """The axis on which most of its labels lie, whatever the others say.

    Args:
        places: where each label's tick is, along the axis, in points or pixels.
        numbers: what it says; a wrong one does not matter where most are right.
        near: a label within so many points of its place lies on the axis.

    Raises:
        ValueError: there are not two labels at two places with two numbers.
    """
    # exercise 1: an axis from its labels
    # places and numbers, two equally long sequences -> the Axis; ValueError where no two labels differ in both. Some
    # numbers may be misread. A scale is linear (number = slope * place + start) or log (log10(number) = slope * place +
    # start, which only labels above zero can lie on). A label lies on an axis where the axis' place of its number
    # (Axis.place) is within `near` of its own place. Of all axes through two of the labels, that on which the most
    # lie; of equally many, a linear one, then the one with the smallest sum of distances. Slope and start are then
    # fitted to those that lie on it by least squares (np.polyfit of the numbers, or their logs, over the places);
    # `used` holds which these are (0 is the first), `error` the median of their distances from the fitted axis, and
    # `count` is len(places).
    # hint: for each scale, for each pair from itertools.combinations whose places and (logs of) numbers differ: slope
    # and start of the line through the two, then |(number - start) / slope - place| <= near for all at once. Compare
    # candidates by the tuple (how many, scale == "linear", -sum of distances).
    at, said = np.asarray(places, float), np.asarray(numbers, float)
    best: tuple[tuple[int, bool, float], str, np.ndarray] | None = None
    for scale in ("linear", "log"):
        with np.errstate(divide="ignore", invalid="ignore"):
            height = said if scale == "linear" else np.where(said > 0, np.log10(said), np.nan)
        for i, j in combinations(range(len(at)), 2):
            if at[i] == at[j] or not abs(height[j] - height[i]) > 0:
                continue
            slope = (height[j] - height[i]) / (at[j] - at[i])
            away = np.abs((height - (height[i] - slope * at[i])) / slope - at)
            on = away <= near  # what is no number is not on it
            rank = (int(on.sum()), scale == "linear", -float(away[on].sum()))
            if best is None or rank > best[0]:
                best = rank, scale, on
    if best is None:
        raise ValueError("no two labels at two places with two numbers")
    _, scale, on = best
    height = said if scale == "linear" else np.log10(np.where(on, said, 1.0))
    slope, start = np.polyfit(at[on], height[on], 1)
    error = float(np.median(np.abs((height[on] - start) / slope - at[on])))
    used = tuple(np.flatnonzero(on).tolist())
    return Axis(scale, float(slope), float(start), used, len(at), error)  # type: ignore[arg-type]
    # end of exercise 1
