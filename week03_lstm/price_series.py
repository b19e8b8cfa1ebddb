"""The week's prices: two bundled stock indices or a table of your own, cut into windows and walk-forward folds.

Whoever forecasts must not see the future. So everything here looks back: a window ends the day before the day it is to
forecast, the scaler knows the days to train on alone, and a fold trains on the past, chooses on the days after it, and
is tested on the days after those.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date as Date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from shared.errors import CourseError
from shared.files import no_file
from week03_lstm import tables

if TYPE_CHECKING:
    import pandas as pd

SAMPLES = Path(__file__).resolve().parent.parent / "shared" / "samples"
BUNDLED = ("sp500", "nasdaq")
LONGEST_PAUSE = 10  # days between two prices; the longest in the bundled data is 7, after 10 September 2001
WILD_MOVE = 0.5  # in a day; a larger one is more often a split of the shares than the market
SMALLEST, LARGEST = 1e-12, 1e12  # of prices: squares of their errors still are numbers, and fit into a table

# What the columns are called, the likeliest first: Yahoo, Alpha Vantage, FRED, Nasdaq, Investing.com.
DATE_NAMES = ("date", "datetime", "timestamp", "observation date", "trade date", "time", "datum")
CLOSE_NAMES = ("close", "close last", "last", "price", "adj close", "adjusted close", "closing price", "close price")
HEADING = 20  # lines in which it is looked for: some files have a title above it

# A fold that is smaller than this says nothing.
FEWEST = {"train": 50, "val": 10, "test": 20}


@dataclass(frozen=True)
class Prices:
    """Closing prices, one a day, in the order of time.

    Attributes:
        name: what was asked for.
        dates: (days,) datetime64[D], each later than the one before.
        close: (days,) float64, all above 0.
        notes: what was guessed in the file or done to it (sorted, rows left out), to be told to the reader.
    """

    name: str
    dates: np.ndarray
    close: Float[np.ndarray, " days"]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.close)


# ---------------------------------------------------------------- reading a file


def load_prices(name: str, gaps: str = "refuse", date: str = "", close: str = "", date_format: str = "") -> Prices:
    """Reads `sp500` (also called `sample`), `nasdaq`, or a table of your own as text (README, "Layouts that are read").

    Args:
        name: a bundled series, or a path.
        gaps: what to do about days without a price (an empty, NaN or non-positive close) and about more than
            LONGEST_PAUSE days between two prices. "refuse" says where the first is; "drop" leaves the rows without a
            price out, and `windows` then leaves out what would reach across a pause.
        date, close: the columns, by name or by number from 1. Default: the likeliest of DATE_NAMES and CLOSE_NAMES.
        date_format: one of tables.DATE_FORMATS, or a pattern of strptime. Default: the one that fits all dates.

    Raises:
        CourseError: what is wrong with the file, and in which line.
    """
    import pandas as pd

    if gaps not in ("refuse", "drop"):
        raise CourseError(f"--gaps {gaps}: choose refuse or drop.")
    if name == "sample":
        name = BUNDLED[0]
    path = SAMPLES / f"{name}.csv" if name in BUNDLED else Path(name).expanduser()
    if not path.is_file():
        raise CourseError(f"--data {name}: {no_file(name)}, nor one of {', '.join(BUNDLED)}.")
    lines, texts, closes, notes = read_columns(path, date, close, date_format)
    prices, guess = tables.numbers(path, lines, closes, "close")
    notes += guess
    table = pd.DataFrame({"day": tables.dates(path, lines, texts, date_format), "price": prices}, index=lines)
    beyond = table[(table.price > 0) & ~table.price.between(SMALLEST, LARGEST)]
    if len(beyond):
        raise CourseError(
            f"{path}: line {beyond.index[0]}: the close {beyond.price.iloc[0]:g} is not between {SMALLEST:g} and "
            f"{LARGEST:g}. Write the prices in another unit."
        )

    missing = table[~(table.price > 0)]
    if len(missing) and gaps == "refuse":
        line, day = missing.index[0], missing.day.iloc[0]
        count = f"{len(missing):,} row{'s' * (len(missing) > 1)} without a price above 0"
        raise CourseError(
            f"{path}: {count}, the first is line {line} ({day:%Y-%m-%d}: '{closes[lines.index(line)].strip()}'). "
            "Repair the file, or leave such rows out with --gaps drop."
        )
    if len(missing):
        notes.append(f"left out {len(missing):,} of {len(table):,} rows: they have no price above 0")
        table = table[table.price > 0]
    if not table.day.is_monotonic_increasing:
        newest_first = table.day.is_monotonic_decreasing
        notes.append("the newest price came first: turned round" if newest_first else "dates out of order: sorted")
        table = table.sort_values("day", kind="stable")
    if copies := int(table.duplicated().sum()):
        notes.append(f"left out {copies:,} row{'s' * (copies > 1)}: the same day with the same price again")
        table = table.drop_duplicates()
    if (twice := table[table.duplicated("day", keep=False)]).size:
        first, second = twice.index[:2]
        raise CourseError(
            f"{path}: {twice.day.iloc[0]:%Y-%m-%d} stands there twice, in lines {first} and {second}. "
            "Keep one price a day."
        )
    pause = table.day.diff().dt.days
    if (pause > LONGEST_PAUSE).any() and gaps == "refuse":
        at = int((pause > LONGEST_PAUSE).argmax())
        raise CourseError(
            f"{path}: line {table.index[at]} ({table.day.iloc[at]:%Y-%m-%d}) comes {pause.iloc[at]:.0f} days after the "
            f"price before it ({table.day.iloc[at - 1]:%Y-%m-%d}); more than {LONGEST_PAUSE} is a gap. Fill it, or go "
            "on without the windows that reach across it with --gaps drop."
        )
    notes += remarks(table)
    return Prices(name, table.day.to_numpy().astype("datetime64[D]"), table.price.to_numpy(), tuple(notes))


def remarks(table: "pd.DataFrame") -> list[str]:
    """What is odd about the prices, though they can be read."""
    notes, moves = [], table.price.pct_change().abs().fillna(0)
    if count := int((moves > WILD_MOVE).sum()):
        at = int(moves.argmax())
        move = table.price.iloc[at] / table.price.iloc[at - 1] - 1
        more = f", and {count - 1:,} more beyond {WILD_MOVE:.0%}" if count > 1 else ""
        notes.append(
            f"a move of {move:+.0%} on {table.day.iloc[at]:%Y-%m-%d}{more}: a split of the shares? It would decide "
            "every error; use adjusted prices"
        )
    if (last := table.day.iloc[-1].date() if len(table) else Date.min) > Date.today():
        notes.append(f"the dates lie in the future, up to {last}: were they read rightly? --date-format decides")
    return notes


def read_columns(
    path: Path, date: str = "", close: str = "", date_format: str = ""
) -> tuple[list[int], list[str], list[str], list[str]]:
    """The line number, the date and the close of every row, still as text; and what was guessed or left out.

    Raises:
        CourseError: no text, no rows, a column that is missing or there twice, a row that is too short.
    """
    text, notes = tables.decoded(tables.read_bytes(path)[0], path)
    if text.lstrip().lower().startswith(("{", "[", "<!doctype", "<html")):
        raise CourseError(f"{path}: a web page or JSON, no table. Was it the site's word of an error? Fetch it anew.")
    found = [(line, _split(row)) for line, row in tables.rows(text, path)]
    if not found:
        raise CourseError(f"{path}: no column 'date'; the columns there: none: the file is empty.")
    above, rows = heading(found, date, close)
    day, price, guess = choose_columns(path, above, date, close)
    if not rows:
        raise CourseError(f"{path}: a heading, but no prices below it.")

    def is_price(row: list[str]) -> bool:
        cells = [row[at].strip() if at < len(row) else "" for at in (day, price)]
        numbers = [tables.as_number(cells[1], decimal) for decimal in ".,"]
        number = any(one is not None and one == one for one in numbers)
        return bool(tables.as_dates(cells[:1], date_format)) or (number and bool(re.search(r"\d", cells[0])))

    ends, table = [], rows.copy()
    for at in (0, -1):  # a second heading or units; a footer
        while table and not is_price(table[at][1]):
            ends.append(table.pop(at))
    if ends and table:
        count = f"{len(ends)} line{'s' * (len(ends) > 1)} above or below the prices"
        guess.append(f"left out {count}, as line {ends[-1][0]}: {' '.join(ends[-1][1]).strip()[:60]!r}")
    table = table or rows  # nothing but strange rows: the first of them will be told
    for line, row in table:
        if len(row) <= max(day, price):
            raise CourseError(f"{path}: line {line} has {len(row)} columns, the heading has {len(above)}.")
        if any(row[len(above) :]):
            raise CourseError(
                f"{path}: line {line} has {len(row)} columns, the heading has {len(above)}: are there commas in the "
                "numbers? Separate the columns with semicolons."
            )
    lines, dates, closes = zip(*((line, row[day], row[price]) for line, row in table), strict=True)
    return list(lines), list(dates), list(closes), [*notes, *guess]


def _split(row: list[str]) -> list[str]:
    """A row; a heading that is separated in another way than the rows below it is taken apart."""
    return re.split(r"[,;\t|]", row[0]) if len(row) == 1 else row


def plain(cell: str) -> str:
    """A heading without what is put around a name, as in Close*, <CLOSE>, 4. close, observation_date, Close/Last."""
    return " ".join(re.findall(r"[^\W\d_]+", cell.lower()))


def _means(cell: str, name: str) -> bool:
    return cell.strip().lower() == name.lower() or plain(cell) == name.lower()


def heading(found: list[tables.Row], date: str, close: str) -> tuple[list[list[str]], list[tables.Row]]:
    """What stands above each column, and the rows below. The heading ends where the date is named: newer yfinance files
    have three rows, with the price, the share and the date; others have a title above theirs."""
    top = [[cell.strip() for cell in row] for _, row in found[:HEADING]]

    def first_with(given: str, usual: Sequence[str]) -> int | None:
        names = (*usual, given) if given and not given.isdigit() else usual
        named = (at for at, row in enumerate(top) if any(_means(cell, name) for cell in row for name in names))
        return next(named, None)

    fullest = max(range(len(top)), key=lambda at: sum(map(bool, top[at])))
    price = first_with(close, CLOSE_NAMES)
    day = first_with(date, DATE_NAMES)
    if day is None and price is None and date.isdigit() and close.isdigit():  # then there need be no heading
        return [[str(at)] for at in range(1, max(map(len, top)) + 1)], found
    last = day if day is not None and (price is None or price <= day) else price
    last = fullest if last is None else last
    start = last if price is None else min(price, last)
    width = max(map(len, top[start : last + 1]))
    above = [[row[at] for row in top[start : last + 1] if at < len(row) and row[at]] for at in range(width)]
    return above, found[last + 1 :]


def choose_columns(path: Path, above: list[list[str]], date: str, close: str) -> tuple[int, int, list[str]]:
    """Which columns hold the date and the close, and a note where that was a guess."""
    there = [" ".join(cells) for cells in above]
    guess = []

    def column(given: str, names: Sequence[str], what: str) -> int:
        if given.isdigit() and 0 < int(given) <= len(above):
            return int(given) - 1
        for name in [given] if given else names:
            found = [at for at, cells in enumerate(above) if any(_means(cell, name) for cell in (*cells, there[at]))]
            if len(found) == 1:
                return found[0]
            if found:
                break
        wrong = f"more than one column '{name}'" if found else f"no column '{given or what}'"
        raise CourseError(
            f"{path}: {wrong}; the columns there: {', '.join(name[:30] for name in there if name)}. "
            f"Choose with --{what}: a name, or a number from 1."
        )

    if not (date or there[0]):
        there[0], above[0] = "the first column", ["date"]  # as pandas writes the names of rows
    day = column(date, DATE_NAMES, "date")
    others = [at for at, name in enumerate(there) if name and at != day]
    price = others[0] if len(others) == 1 and not close else column(close, CLOSE_NAMES, "close")
    rivals = [there[at] for at in others if at != price and any(_means(there[at], name) for name in CLOSE_NAMES)]
    if not (date or any(_means(cell, "date") for cell in above[day])) or there[day] == "the first column":
        guess.append(f"'{there[day]}' for the date")
    if not close and (rivals or not any(_means(cell, "close") for cell in above[price])):
        instead = f" (not {', '.join(rivals)})" if rivals else ""
        guess.append(f"'{there[price]}' for the close{instead}")
    return day, price, [f"took {' and '.join(guess)}; --date and --close choose others"] if guess else []


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
