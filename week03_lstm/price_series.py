"""The week's prices: two bundled stock indices or a csv of your own, cut into windows and walk-forward folds.

Whoever forecasts must not see the future. So everything here looks back: a window ends the day before the day it is to
forecast, the scaler knows the days to train on alone, and a fold trains on the past, chooses on the days after it, and
is tested on the days after those.
"""

import csv
import io
import itertools
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
from jaxtyping import Float

from shared.errors import CourseError

SAMPLES = Path(__file__).resolve().parent.parent / "shared" / "samples"
BUNDLED = ("sp500", "nasdaq")
LONGEST_PAUSE = 10  # days between two prices; the longest in the bundled data is 7, after 10 September 2001

DATE_FORMATS = {
    "year-month-day": "%Y-%m-%d",
    "year/month/day": "%Y/%m/%d",
    "yearmonthday": "%Y%m%d",
    "day.month.year": "%d.%m.%Y",
    "month/day/year": "%m/%d/%Y",
    "day/month/year": "%d/%m/%Y",
}
NO_PRICE = ("", "nan", "null", "none", "na", "n/a", "-")  # what programs write where they have none

# A fold that is smaller than this says nothing.
FEWEST = {"train": 50, "val": 10, "test": 20}


@dataclass(frozen=True)
class Prices:
    """Closing prices, one a day, in the order of time.

    Attributes:
        name: what was asked for.
        dates: (days,) datetime64[D], each later than the one before.
        close: (days,) float64, all above 0.
        notes: what was done to the file to get there (sorted, rows left out), to be told to the reader.
    """

    name: str
    dates: np.ndarray
    close: Float[np.ndarray, " days"]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.close)


# ---------------------------------------------------------------- reading a file


def load_prices(name: str, gaps: str = "refuse") -> Prices:
    """Reads `sp500` (also called `sample`), `nasdaq`, or a csv with the columns date and close.

    A csv of your own may have other columns too, be separated by commas, semicolons or tabs, and spell Date and CLOSE
    as it likes. Decimals have a point. Dates are spelled in one of DATE_FORMATS; a time after the date is ignored.

    Args:
        name: a bundled series, or a path.
        gaps: what to do about days without a price (an empty, NaN or non-positive close) and about more than
            LONGEST_PAUSE days between two prices. "refuse" says where the first is; "drop" leaves the rows without a
            price out, and `windows` then leaves out what would reach across a pause.

    Raises:
        CourseError: what is wrong with the file, and in which line.
    """
    if gaps not in ("refuse", "drop"):
        raise CourseError(f"--gaps {gaps}: choose refuse or drop.")
    if name == "sample":
        name = BUNDLED[0]
    path = SAMPLES / f"{name}.csv" if name in BUNDLED else Path(name).expanduser()
    if not path.is_file():
        raise CourseError(f"--data {name}: no such file, nor one of {', '.join(BUNDLED)}.")
    lines, texts, closes = read_columns(path)
    days = read_dates(path, lines, texts)
    prices = [read_close(path, line, text) for line, text in zip(lines, closes, strict=True)]
    notes = []

    missing = [i for i, price in enumerate(prices) if price is None]
    if missing and gaps == "refuse":
        first = missing[0]
        count = f"{len(missing):,} row{'s' * (len(missing) > 1)} without a price above 0"
        raise CourseError(
            f"{path}: {count}, the first is line {lines[first]} ({days[first]}: '{closes[first].strip()}'). "
            "Repair the file, or leave such rows out with --gaps drop."
        )
    if missing:
        notes.append(f"left out {len(missing):,} of {len(prices):,} rows: they have no price above 0")
    rows = [i for i, price in enumerate(prices) if price is not None]

    order = sorted(rows, key=lambda i: days[i])
    if order != rows:
        newest_first = order == rows[::-1]
        notes.append("the newest price came first: turned round" if newest_first else "dates out of order: sorted")
    for before, after in itertools.pairwise(order):
        if days[before] == days[after]:
            raise CourseError(
                f"{path}: {days[after]} stands there twice, in lines {lines[before]} and {lines[after]}. "
                "Keep one price a day."
            )
        pause = (days[after] - days[before]).days
        if pause > LONGEST_PAUSE and gaps == "refuse":
            raise CourseError(
                f"{path}: line {lines[after]} ({days[after]}) comes {pause} days after the price before it "
                f"({days[before]}); more than {LONGEST_PAUSE} is a gap. Fill it, or go on without the windows that "
                "reach across it with --gaps drop."
            )
    dates = np.array([days[i] for i in order], dtype="datetime64[D]")
    return Prices(name, dates, np.array([prices[i] for i in order], dtype=np.float64), tuple(notes))


def read_columns(path: Path) -> tuple[list[int], list[str], list[str]]:
    """The line number, the date and the close of every row, still as text. Empty lines are skipped.

    Raises:
        CourseError: no text, no rows, a column that is missing or there twice, a row that is too short.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise CourseError(f"{path}: not a readable text file in UTF-8 ({error}). Save it as a csv.") from None
    head = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=head.count))
    lines, dates, closes = [], [], []
    try:
        names = [name.strip() for name in next(rows, [])]
        lower = [name.lower() for name in names]
        for wanted in ("date", "close"):
            if lower.count(wanted) != 1:
                wrong = "no" if wanted not in lower else "more than one"
                there = ", ".join(filter(None, names)) or "none: the file is empty"
                raise CourseError(f"{path}: {wrong} column '{wanted}'; the columns there: {there}.")
        columns = lower.index("date"), lower.index("close")
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) <= max(columns):
                raise CourseError(f"{path}: line {rows.line_num} has {len(row)} columns, the heading has {len(names)}.")
            lines.append(rows.line_num)
            dates.append(row[columns[0]])
            closes.append(row[columns[1]])
    except csv.Error as error:
        raise CourseError(f"{path}: line {rows.line_num} is not readable as csv ({error}).") from None
    if not lines:
        raise CourseError(f"{path}: a heading, but no prices below it.")
    return lines, dates, closes


def read_dates(path: Path, lines: list[int], texts: list[str]) -> list[date]:
    """The dates, all read in the one spelling that fits every line.

    Raises:
        CourseError: no spelling fits (names the line), or two do and would make different days of it.
    """
    found: dict[str, list[date]] = {}
    furthest = 0
    texts = [text.strip().replace("T", " ").partition(" ")[0] for text in texts]
    for spelling, pattern in DATE_FORMATS.items():
        days = []
        try:
            for text in texts:
                days.append(datetime.strptime(text, pattern).date())
            found[spelling] = days
        except ValueError:
            furthest = max(furthest, len(days))  # the line that even the best spelling does not fit
    if not found:
        raise CourseError(
            f"{path}: line {lines[furthest]}: '{texts[furthest]}' is no date, or not spelled like the ones above. "
            f"Readable are {', '.join(DATE_FORMATS)}; year-month-day is safest."
        )
    if len(found) > 1 and len({tuple(days) for days in found.values()}) > 1:
        raise CourseError(
            f"{path}: the dates can be read as {' or '.join(found)}, and mean other days each time. "
            "Write them as year-month-day."
        )
    return next(iter(found.values()))


def read_close(path: Path, line: int, text: str) -> float | None:
    """A closing price, or None where there is none (see NO_PRICE) or it is not above 0."""
    text = text.strip()
    if text.lower() in NO_PRICE:
        return None
    try:
        price = float(text)
    except ValueError:
        price = np.inf
    if price == np.inf:
        raise CourseError(f"{path}: line {line}: the close '{text}' is not a number. Write it as 1234.56.")
    return price if price > 0 else None


# ---------------------------------------------------------------- windows


@dataclass(frozen=True)
class Windows:
    """What a model sees (features) and is to forecast (targets), one row per day that has a whole window before it.

    Attributes:
        features: the `window` days before the day, oldest first: (N, window, 1) returns or closes.
        targets: (N,) the day's own return or close.
        last: (N,) the close of the day before, all that a forecast may start from.
        close: (N,) the day's close.
        dates: (N,) the day.
    """

    features: Float[np.ndarray, "N window features"]
    targets: Float[np.ndarray, " N"]
    last: Float[np.ndarray, " N"]
    close: Float[np.ndarray, " N"]
    dates: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)


def windows(prices: Prices, window: int, target: str) -> Windows:
    """Cuts the prices into windows for the target "returns" (close / close of the day before - 1) or "levels" (closes).

    Both targets get the same days, so that their errors can be compared. A day is left out when a pause of more than
    LONGEST_PAUSE days lies between it and the first price it needs: that step would be no daily return.
    """
    returns = prices.close[1:] / prices.close[:-1] - 1
    series = {"returns": np.concatenate([[np.nan], returns]), "levels": prices.close}[target]
    pause = np.diff(prices.dates) > np.timedelta64(LONGEST_PAUSE, "D")  # between day i and day i + 1
    pauses = np.concatenate([[0], np.cumsum(pause)])  # (days,) how many there were up to this day
    days = np.arange(window + 1, len(prices))  # the first has `window` returns before it, hence window + 1 closes
    days = days[pauses[days] == pauses[days - window - 1]]
    back = days[:, None] + np.arange(-window, 0)  # (N, window): the days t - window … t - 1
    return Windows(
        series[back][:, :, None], series[days], prices.close[days - 1], prices.close[days], prices.dates[days]
    )


@dataclass(frozen=True)
class Scaler:
    """Takes away the mean and divides by the standard deviation, both of the training windows alone."""

    mean: float
    std: float

    @classmethod
    def fit(cls, features: Float[np.ndarray, "N window features"]) -> "Scaler":
        return cls(float(features.mean()), float(features.std()) or 1.0)

    def scale(self, values: np.ndarray) -> np.ndarray:
        return (values - self.mean) / self.std

    def unscale(self, values: np.ndarray) -> np.ndarray:
        return values * self.std + self.mean


# ---------------------------------------------------------------- folds


@dataclass(frozen=True)
class Fold:
    """Rows of `Windows`: train on the first, stop training by the second, test on the third; each follows the other."""

    train: slice
    val: slice
    test: slice


def folds(prices: Prices, rows: Windows, count: int, start: float = 0.5, val: float = 0.15) -> list[Fold]:
    """Walk-forward folds: the test blocks follow each other, and each is forecast from everything before it.

    Args:
        prices: what the windows were cut from, for the message.
        rows: the windows.
        count: how many folds.
        start: the share of the windows before the first test block.
        val: the share of what comes before a test block that is cut from its end, to stop training by.

    Raises:
        CourseError: too few prices (says how many are needed), or a block in which the price never moves.
    """

    def cut(n: int) -> list[Fold]:
        size = int(n * (1 - start)) // count
        first = n - size * count  # what does not divide goes to the first training part
        ends = [first + size * k for k in range(count)]
        vals = [end - int(end * val) for end in ends]
        return [Fold(slice(0, v), slice(v, end), slice(end, end + size)) for v, end in zip(vals, ends, strict=True)]

    def enough(n: int) -> bool:
        return all(part.stop - part.start >= FEWEST[name] for name, part in vars(cut(n)[0]).items())

    if enough(len(rows)):
        for fold in cut(len(rows)):
            for part in (fold.val, fold.test):
                if (rows.last[part] == rows.close[part]).all():
                    first, *_, end = rows.dates[part]
                    raise CourseError(
                        f"{prices.name}: the price never moves from {first} to {end}: no errors to compare."
                    )
        return cut(len(rows))
    needed = next(n for n in itertools.count(len(rows)) if enough(n))
    window = rows.features.shape[1]
    raise CourseError(
        f"{prices.name}: {len(prices):,} prices give {len(rows):,} windows of {window} days and the day after; "
        f"{count} fold{'s' * (count > 1)} need {needed:,}, from {needed + window + 1:,} prices. "
        "Give more prices, or a smaller --window or --folds."
    )
