"""Tables as people have them: text of any usual encoding, separated by anything usual, packed or not."""

import csv
import gzip
import io
import math
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from shared.archives import DAMAGE
from shared.errors import CourseError
from shared.files import is_hidden

ENDINGS = (".csv", ".tsv", ".tab", ".txt", ".json", ".jsonl", ".ndjson", ".parquet")
LIMIT = 4 * 2**30  # bytes that a packed file may hold
SEPARATORS = ",;\t|"
MARKS = re.compile(r"[\x01-\x08\x0e-\x1f]")  # no text has these, or hardly any

# How dates are spelled; spaces, slashes, commas and dots between the parts count as hyphens.
DATE_FORMATS = {
    "year-month-day": ("%Y-%m-%d", "%Y%m%d", "%Y-%b-%d"),
    "day-month-year": ("%d-%m-%Y", "%d-%m-%y", "%d-%b-%Y", "%d-%b-%y", "%d-%B-%Y"),
    "month-day-year": ("%m-%d-%Y", "%m-%d-%y", "%b-%d-%Y", "%b-%d-%y", "%B-%d-%Y"),
}
DATE_NUMBERS = {5: ("D", "1899-12-30"), 10: ("s", "unix"), 13: ("ms", "unix")}  # by their digits; 5: Excel's days
TIME = re.compile(r"(?<=\d)(?:T|\s+)\d{1,2}:\d\d.*")  # of a day, and its zone
NO_NUMBER = ("", "nan", "null", "none", "na", "n/a", "#n/a", "-", ".")  # what programs write where they have none

Row = tuple[int, list[str]]  # the line on which it begins, and its cells


def shown(cell: str) -> str:
    """A cell for a line of text."""
    return " ".join(cell.split())[:40]


def is_table(name: str) -> bool:
    """Whether a file's name is that of a table, packed or not."""
    return name.lower().removesuffix(".gz").endswith(ENDINGS)


def inside(path: Path) -> list[str]:
    """The names of the files in a zip, without hidden ones."""
    try:
        with zipfile.ZipFile(path) as file:
            return [name for name in file.namelist() if not name.endswith("/") and not is_hidden(name)]
    except DAMAGE as error:
        raise CourseError(f"{path}: the zip file is cut short or damaged ({error}).") from None


def read_bytes(path: Path) -> tuple[bytes, str]:
    """A file's bytes, out of their .gz or out of a .zip with one table in it; and the name without the packing.

    Raises:
        CourseError: unreadable, damaged, a zip of several files, an Excel workbook, or more than LIMIT bytes.
    """
    name, raw = path.name.lower(), b""
    try:
        with path.open("rb") as file:
            start = file.read(2)
        if name.endswith((".xls", ".xlsx", ".ods")):
            raise CourseError(f"{path}: a workbook. Save its sheet as a .csv file, and give that.")
        if start == b"PK":
            tables = [one for one in inside(path) if is_table(one)]
            if len(tables) != 1:
                held = ", ".join(tables[:5]) or "none"
                raise CourseError(f"{path}: expected one table in it, found {held}. Unpack it, and give one of them.")
            with zipfile.ZipFile(path) as file, file.open(tables[0]) as packed:
                raw, name = packed.read(LIMIT + 1), tables[0].lower()
        elif start == b"\x1f\x8b" or name.endswith(".gz"):
            with gzip.open(path) as packed:
                raw, name = packed.read(LIMIT + 1), name.removesuffix(".gz")
        else:
            raw = path.read_bytes()
    except (*DAMAGE, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise CourseError(f"{path}: cannot be read ({error.strerror}).") from None
        kind = "zip" if start == b"PK" else "gzip"
        raise CourseError(f"{path}: the {kind} file is cut short or damaged ({error}).") from None
    if len(raw) > LIMIT:
        raise CourseError(f"{path}: holds more than {LIMIT:,} bytes unpacked.")
    return raw, name


def decoded(raw: bytes, path: Path) -> tuple[str, tuple[str, ...]]:
    """Bytes as text, and what was guessed: UTF-8; UTF-16 where a mark or zeros say so; else Windows-1252.

    Raises:
        CourseError: no text at all.
    """
    notes: tuple[str, ...] = ()
    zeros = raw[:1000].count(0) / max(1, len(raw[:1000]))
    try:
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            text, notes = raw.decode("utf-16"), ("read as UTF-16",)
        elif zeros > 0.3:
            text, notes = raw.decode("utf-16-le" if raw[1] == 0 else "utf-16-be"), ("read as UTF-16",)
        else:
            text = raw.decode("utf-8-sig")  # -sig: Excel writes a mark in front
    except UnicodeDecodeError:
        text = raw.decode("cp1252", "replace")
        notes = ("not UTF-8: read as Windows-1252; if letters come out wrong, save it as UTF-8",)
    if len(MARKS.findall(text)) > len(text) / 100:
        raise CourseError(f"{path}: no text. Save it as a .csv file in UTF-8.")
    if count := text.count("\0"):
        text, notes = text.replace("\0", ""), (*notes, f"took out {count:,} NUL character{'s' * (count > 1)}")
    return text, notes


def separator(text: str) -> str:
    """What separates the cells: of SEPARATORS the one that most lines have equally often, quoted cells apart."""
    bare = re.sub(r'"[^"]*"', "", text[:200_000])
    lines = [line for line in bare.splitlines() if line.strip()][:500]

    def lines_alike(mark: str) -> tuple[int, int]:
        counts = Counter(line.count(mark) for line in lines if mark in line)
        return max(((times, count) for count, times in counts.items()), default=(0, 0))

    return max(SEPARATORS, key=lines_alike)


def rows(text: str, path: Path) -> Iterator[Row]:
    """The rows that hold anything.

    Raises:
        CourseError: naming the line that is no csv.
    """
    csv.field_size_limit(1 << 24)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator(text), skipinitialspace=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise CourseError(f"{path}, line {line}: broken CSV ({error}).") from None


# ---------------------------------------------------------------- columns


def as_dates(texts: Sequence[str], date_format: str = "") -> dict[str, np.ndarray]:
    """The dates, datetime64[D], NaT where a text is none, by the spelling in which they were read: each that fits the
    first text, or --date-format.

    Raises:
        CourseError: --date-format is no spelling.
    """
    import pandas as pd

    texts = [TIME.sub("", text.strip()) for text in texts]
    digits = re.fullmatch(r"(\d{5}|\d{10}|\d{13})(?:\.\d*)?", texts[0])
    if digits and not date_format:
        unit, origin = DATE_NUMBERS[len(digits[1])]
        numbers = pd.to_numeric(pd.Series(texts), errors="coerce")
        days = pd.to_datetime(numbers, unit=unit, origin=origin, errors="coerce")
        return {"numbers": days.to_numpy().astype("datetime64[D]")}
    if "%" in date_format:
        patterns = {date_format: (date_format,)}
    else:
        parts = "-".join(re.split(r"\W+", date_format.lower()))
        if parts and parts not in DATE_FORMATS:
            raise CourseError(
                f"--date-format {date_format}: choose one of {', '.join(DATE_FORMATS)}, or a pattern as %d/%m/%Y."
            )
        dots = "." in texts[0] and not parts  # 02.01.2019: whoever writes dots has the day first
        patterns = {parts: DATE_FORMATS[parts]} if parts else dict(list(DATE_FORMATS.items())[: 2 if dots else None])
        texts = [re.sub(r"[\s/.,-]+", "-", text) for text in texts]
    found = {}
    for name, pattern in ((name, pattern) for name, each in patterns.items() for pattern in each):
        try:
            days = [pd.to_datetime(pd.Series(some), format=pattern, errors="coerce") for some in (texts[:1], texts)]
        except ValueError as error:
            raise CourseError(f"--date-format {date_format}: no pattern of dates ({error}).") from None
        if days[0].notna().all():
            found[name] = days[1].to_numpy().astype("datetime64[D]")
    return found


def dates(path: Path, lines: list[int], texts: list[str], date_format: str = "") -> np.ndarray:
    """The dates, (days,) datetime64[D], all read in the one spelling that fits every line.

    Raises:
        CourseError: no spelling fits (names the line), or two do and would make different days of it.
    """
    found = as_dates(texts, date_format)
    whole = {name: days for name, days in found.items() if not np.isnat(days).any()}
    if not whole:
        # The line that even the best spelling does not fit.
        at = max((int(np.isnat(days).argmax()) for days in found.values()), default=0)
        raise CourseError(
            f"{path}: line {lines[at]}: '{shown(texts[at])}' is no date, or not spelled like the ones above. Readable "
            f"are {', '.join(DATE_FORMATS)}, and what --date-format says, as %d/%m/%Y."
        )
    if len({days.tobytes() for days in whole.values()}) > 1:
        raise CourseError(
            f"{path}: the dates can be read as {' or '.join(whole)}, and mean other days each time. "
            "Say which with --date-format."
        )
    return next(iter(whole.values()))


def as_number(text: str, decimal: str) -> float | None:
    """A number as people write it, NaN where there is none (see NO_NUMBER), None for what is no number."""
    text = re.sub(r"[\s'’$€£¥₹]", "", text)
    if text.lower() in NO_NUMBER:
        return math.nan
    group = {".": ",", ",": r"\."}[decimal]
    if not re.fullmatch(rf"[+-]?(\d{{1,3}}({group}\d{{2,3}})+|\d*)({re.escape(decimal)}\d*)?([eE][+-]?\d+)?", text):
        return None
    try:
        return float(re.sub(group, "", text).replace(decimal, "."))
    except ValueError:
        return None


def decimal_mark(path: Path, texts: list[str]) -> str:
    """Whether the decimals stand behind a point or a comma.

    Raises:
        CourseError: nothing decides it: 1,234 is a thousand and more, or one and a bit.
    """
    both = next((text for text in texts if "," in text and "." in text), "")
    if both:
        return max(",.", key=both.rfind)
    commas = [text.strip() for text in texts if "," in text]
    if any(text.count(",") > 1 for text in commas):
        return "."
    if any(text.count(".") > 1 for text in texts) or any(not re.search(r"\d,\d{3}$", text) for text in commas):
        return ","
    if commas and not any("." in text for text in texts):
        raise CourseError(
            f"{path}: '{commas[0]}' can be read as {commas[0].replace(',', '')} or as {commas[0].replace(',', '.')}. "
            "Write it as 1234.56."
        )
    return "."


def numbers(path: Path, lines: list[int], texts: list[str], what: str) -> tuple[list[float], list[str]]:
    """A column of numbers, NaN where there is none (see NO_NUMBER), and a note where they were not written plainly.

    Raises:
        CourseError: something else stands there (names the line).
    """
    decimal, notes = decimal_mark(path, texts), []
    found = [as_number(text, decimal) for text in texts]
    for line, text, number in zip(lines, texts, found, strict=True):
        if number is None or math.isinf(number):
            raise CourseError(f"{path}: line {line}: the {what} '{shown(text)}' is not a number. Write it as 1234.56.")
        if not notes and re.search(r"[^\d.eE+-]", text.strip()) and not math.isnan(number):
            notes.append(f"read numbers such as '{shown(text)}' as {number:.10g}")
    return found, notes
