"""What a document shows beside its text: figures, charts and tables, each with its page, box and caption, as data.

A table is data as a chart is: its first column the categories, each other column of numbers a series. What is asked of
the one can be asked of the other.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from shared.errors import CourseError
from week11_rag.pages import Block
from week16_capstone.chart import Box, Chart, Value

Source = Literal["vector", "raster", "table"]
DIGITS = r"\d[\d,\u202f\u00a0 ]*(?:\.\d+)?(?:[eE][-+]?\d+)?"
NUMBER = re.compile(rf"[-−–(]?\s*[$€£¥]?\s*[-−–]?{DIGITS}\s*(?:%|[kKmMbB]n?\b)?\)?")
SAID = re.compile(r"(?:, | \()in ([^\W\d][^,.;()]{0,23})\)?\.?$")
TIMES = {"k": 1e3, "m": 1e6, "b": 1e9}
MOST_CELLS = 5_000
MOST_SAID = 400
"""Values of an exhibit that are written out as sentences."""
LOW = 0.6
"""With less confidence an answer says so."""


@dataclass(frozen=True)
class Exhibit:
    """A figure or table of a document.

    Attributes:
        page, box: where it stands; `caption_box` is where its caption does, if it has one.
        source: how it is drawn.
        kind: bar, line, pie, scatter, table, photo, or "" where nobody knows.
        number, caption: as printed: "3", "Revenue by region".
        chart: its data; None where it was not read, and `reason` says why.
        words: what is written in it, in reading order.
        crop: the file of its picture, beside the document's own.
    """

    page: int
    box: Box
    source: Source
    kind: str
    number: str = ""
    caption: str = ""
    caption_box: Box | None = None
    chart: Chart | None = None
    reason: str = ""
    words: tuple[str, ...] = ()
    crop: str = ""

    @property
    def name(self) -> str:
        """`Figure 3`, `Table 1`, or where it is."""
        what = "Table" if self.source == "table" else "Figure"
        return f"{what} {self.number}" if self.number else f"the {what.lower()} on page {self.page}"

    @property
    def placed(self) -> str:
        """`Figure 3 on page 2`, as a sentence begins."""
        return f"{self.name} on page {self.page}" if self.number else f"{self.name[:1].upper()}{self.name[1:]}"

    @property
    def measure(self) -> str:
        """What its numbers are numbers of, as far as it says so."""
        if self.chart is None:
            return self.caption
        label = self.chart.x_label if self.chart.horizontal else self.chart.y_label
        return self.chart.title or self.caption or label

    @property
    def unit(self) -> str:
        """The label of the axis that the numbers are read from, else what its caption says; of a pie, percent."""
        if self.chart is None:
            return ""
        if self.chart.kind == "pie":
            return "%"
        return (self.chart.x_label if self.chart.horizontal else self.chart.y_label) or said_unit(self.caption)

    @property
    def is_estimated(self) -> bool:
        """Whether its numbers were measured in pixels, not taken from vectors or a table."""
        return self.chart is not None and self.chart.how == "raster"

    @property
    def head(self) -> str:
        """Its name, caption, title and labels: what it is about."""
        parts = [self.caption]
        if self.chart:
            parts += [self.chart.title, self.chart.x_label, self.chart.y_label, ", ".join(filter(None, self.series))]
        kept: list[str] = []
        for part in (part.strip(" .") for part in parts):
            if part and not any(part.lower() in other.lower() for other in kept):  # a title often stands in the caption
                kept.append(part)
        said = ". ".join(kept)
        return f"{self.name[:1].upper()}{self.name[1:]}: {said}" if said else f"{self.name[:1].upper()}{self.name[1:]}"

    @property
    def series(self) -> tuple[str, ...]:
        return self.chart.series if self.chart else ()

    @property
    def categories(self) -> tuple[str, ...]:
        """What its values stand at, as text, in their order."""
        return tuple(dict.fromkeys(as_text(value.x) for value in self.chart.values)) if self.chart else ()

    def sentences(self) -> list[str]:
        """Its data, a sentence a value: `Revenue, Online in 2019: 4.2 (Figure 3)`."""
        if self.chart is None:
            return []
        what = self.measure or self.name
        return [
            f"{', '.join(filter(None, (what, value.series)))} in {as_text(value.x)}: {shown(value.y)} ({self.name})"
            for value in self.chart.values[:MOST_SAID]
        ]


def as_text(x: str | float) -> str:
    """A category or a number on an axis as one would write it: 2019, not 2019.0."""
    return x if isinstance(x, str) else f"{x:.0f}" if abs(x - round(x)) < 1e-6 else f"{x:.4g}"


def shown(number: float) -> str:
    """A number as an answer has it: four digits that count, thousands apart."""
    if number == 0:
        return "0"
    if abs(number) >= 1e9 or abs(number) < 1:
        return f"{number:.4g}"
    digits = max(0, 4 - len(str(int(abs(number)))))
    text = f"{number:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def said_unit(caption: str) -> str:
    """The unit that a caption ends in: `Revenue by region, in million euro`, `Output (in GWh)`; "" where it says none.
    A word that begins as a name does (`, in Asia`) is a place."""
    found = SAID.search(caption.strip())
    first = found[1].split()[0] if found else ""
    return found[1].strip() if found and (first.islower() or sum(map(str.isupper, first)) > 1) else ""


def number_in(text: str) -> float | None:
    """The number that a cell is: `1,204`, `12.5 %`, `(3.1)`, `4k`; None where it is none, or more than one."""
    text = text.strip()
    match = NUMBER.fullmatch(text)
    if not match:
        return None
    digits = re.search(DIGITS, text)[0]
    scale = re.search(r"[kKmMbB]", re.sub(r"[eE][-+]?\d+", "", text))
    value = float(re.sub(r"[,\u202f\u00a0 ]", "", digits)) * (TIMES[scale[0].lower()] if scale else 1.0)
    return -value if text[0] in "(-−–" else value


def table_of(block: Block) -> Chart | None:
    """A block of the kind table as data: its first row names the columns, its first column the rows; None where its
    columns are no numbers."""
    rows = [[cell.strip() for cell in row.split(" | ")] for row in block.text.split("\n")]
    wide = max(map(len, rows))
    rows = [row + [""] * (wide - len(row)) for row in rows]
    if len(rows) < 3 or wide < 2 or len(rows) * wide > MOST_CELLS:
        return None
    if all(number_in(cell) is not None for cell in rows[0][1:]) and not looks_like_years(rows[0][1:]):
        return None  # nobody has said what its columns are
    head, body = rows[0], rows[1:]
    columns = []
    for column in range(1, wide):
        numbers = [number_in(row[column]) for row in body]
        if sum(number is not None for number in numbers) >= max(2, 0.6 * len(body)) and head[column]:
            columns.append((head[column], numbers))
    if not columns:
        return None
    values = tuple(
        Value(name if len(columns) > 1 else "", row[0], number, block.box)
        for name, numbers in columns for row, number in zip(body, numbers, strict=True) if number is not None and row[0]
    )  # fmt: skip
    label = columns[0][0] if len(columns) == 1 else ""
    return Chart("bar", "", head[0], label, values, "vector") if values else None


def looks_like_years(cells: Sequence[str]) -> bool:
    return all(re.fullmatch(r"(?:19|20)\d\d", cell) for cell in cells)


# ---------------------------------------------------------------- as JSON


def as_json(exhibit: Exhibit) -> dict[str, Any]:
    return asdict(exhibit)


def from_json(row: Mapping[str, Any]) -> Exhibit:
    """An exhibit of a file.

    Raises:
        CourseError: it is none.
    """
    try:
        held = dict(row)
        chart = held.pop("chart")
        if chart:
            values = tuple(Value(**(value | {"box": tuple(value["box"])})) for value in chart.pop("values"))
            chart = Chart(**chart, values=values)
        caption_box = held.pop("caption_box")
        return Exhibit(**held | {
            "box": tuple(held["box"]), "words": tuple(held["words"]), "chart": chart,
            "caption_box": tuple(caption_box) if caption_box else None,
        })  # fmt: skip
    except (TypeError, KeyError, AttributeError) as error:
        raise CourseError(f"this is no figure or table of an index ({error}).") from None
