"""Reports whose every number is known: PDFs with text, tables and charts, laid out as reports are. All is made up.

    made = make(seed=7, part="val")          # made.content: the PDF's bytes; made.plates: its charts and tables
    questions.ask(made)                      # questions with their answers

What is asked about stands only in a chart (or a table). The layouts, words and chart styles of test are in no report of
val. reportlab sets text and tables; charts are matplotlib's, put onto the page as vectors or as a bitmap.
"""

import io
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from week16_capstone import draw
from week16_capstone.styles import CATEGORIES, SERIES, Spec, sample

Part = Literal["val", "test"]
STRIPS = 0.15  # of the bitmaps are cut in strips, as word processors do


@dataclass(frozen=True)
class Layout:
    """How a report looks: paper and columns, fonts, how captions begin and whether they stand above."""

    paper: tuple[float, float]
    columns: int
    font: str
    size: float
    caption: str
    above: bool
    header: bool


A4, LETTER = (595.3, 841.9), (612.0, 792.0)
LAYOUTS = {
    "val": (
        Layout(A4, 1, "Helvetica", 10.5, "Figure {}: {}", False, True),
        Layout(A4, 2, "Times-Roman", 10.0, "Fig. {}. {}", False, False),
        Layout(LETTER, 1, "Times-Roman", 11.0, "Figure {} – {}", True, True),
    ),
    "test": (
        Layout(LETTER, 1, "Helvetica", 10.0, "Chart {}: {}", True, True),
        Layout(LETTER, 2, "Helvetica", 9.5, "Figure {}. {}", False, True),
        Layout(A4, 1, "Times-Roman", 11.5, "Exhibit {} | {}", True, False),
        Layout(A4, 2, "Times-Roman", 10.5, "Figure {} {}", False, True),
    ),
}
MEASURES = {
    "val": (("Revenue", "million euro"), ("Operating cost", "million euro"), ("Passengers", "thousand"),
            ("Energy use", "GWh"), ("Orders shipped", "thousand"), ("Water use", "megalitres"),
            ("Tickets sold", "thousand"), ("Repairs", "number")),
    "test": (("Net income", "million dollars"), ("Exports", "kilotonnes"), ("Emissions", "tonnes of CO2"),
             ("Hours worked", "thousand"), ("Units made", "thousand"), ("Freight volume", "tonnes"),
             ("Advertising spend", "million dollars"), ("New contracts", "number")),
}  # fmt: skip
GROUPS = {"Rome": "city", "Rail": "mode", "Steel": "metal", "Trucks": "vehicle", "Norway": "country", "1Q24": "quarter"}
ORGANISATIONS = {"val": ("Harbour Transit", "the Alder Institute", "Norvik Works"),
                 "test": ("Meridian Freight", "the Calder Board", "Ostrava Metals")}  # fmt: skip
FACTS = {
    "val": (("The head office moved to {} in {}.", ("Ghent", "Turin", "Malmo"),
             "To which city did the head office move?"),
            ("The annual meeting was led by {}.", ("Ada Brandt", "Luis Ferro", "Mina Okafor"),
             "Who led the annual meeting?"),
            ("A total of {} people answered the staff survey.", ("412", "687", "1,253"),
             "How many people answered the staff survey?")),
    "test": (("The new depot was opened in {}.", ("Gdansk", "Leeds", "Porto"), "Where was the new depot opened?"),
             ("The audit was carried out by {}.", ("Hale and Sons", "Kestrel Partners"), "Who carried out the audit?"),
             ("The training programme took {} days.", ("17", "23", "38"),
              "How many days did the training programme take?")),
}  # fmt: skip
FILLER = (
    "The figures in this report were gathered by the regional offices and reviewed twice.",
    "Conditions remained uneven over the period, and plans were adjusted more than once.",
    "The committee met {} times and received {} written comments.",
    "A working group of {} members looked into the causes.",
    "Readers are referred to the annex for definitions.",
    "Prices of materials were volatile, though less so than in the year before.",
    "In {} a new system of reporting was introduced at {} sites.",
    "The outlook is uncertain, and the estimates should be read with care.",
    "The survey reached {} households in {}.",
)


@dataclass(frozen=True)
class Plate:
    """A chart or table of a report, with what is true of it.

    Attributes:
        number: as its caption has it.
        kind: bar, line, pie or table.
        source: vector, raster or table.
        printed: whether its values are printed beside their marks.
        fault: what should make a reader refuse it, or "".
        measure, unit, group: what its numbers count, in what, and what its categories are (city, year).
        xs, series, numbers: the data; (series, points). Of a pie, numbers are shares in percent.
        page: on which it stands.
    """

    number: str
    kind: str
    source: str
    printed: bool
    fault: str
    measure: str
    unit: str
    group: str
    xs: tuple[str, ...]
    series: tuple[str, ...]
    numbers: tuple[tuple[float, ...], ...]
    page: int = 0


@dataclass(frozen=True)
class Made:
    """A report: its bytes, its plates, and (question, answer) of what its text says."""

    content: bytes
    part: Part
    seed: int
    plates: tuple[Plate, ...]
    facts: tuple[tuple[str, str], ...]


def make(seed: int, part: Part = "val", charts: int = 5, pages: int = 0) -> Made:
    """A report of some pages.

    Args:
        seed: all follows from it.
        part: whose words and looks it has.
        charts: how many there are; beside them a table.
        pages: at least so many, filled with text; 0: as many as it takes.
    """
    rng = np.random.default_rng([seed, {"val": 1, "test": 2}[part]])
    layout = LAYOUTS[part][int(rng.integers(len(LAYOUTS[part])))]
    organisation = str(rng.choice(ORGANISATIONS[part]))
    measures = rng.permutation(len(MEASURES[part]))
    while len(measures) < charts + 1:
        measures = np.concatenate([measures, measures])
    specs, plates = [], []
    for place in range(charts):
        spec, plate = chart_of(rng, part, MEASURES[part][measures[place]], str(place + 1))
        specs.append(spec)
        plates.append(plate)
    plates.append(table_of(rng, part, MEASURES[part][measures[charts]]))
    facts = []
    for text, choices, question in FACTS[part]:
        answer = str(rng.choice(choices))
        facts.append((text.format(answer, int(rng.integers(2001, 2024))), question, answer))
    content, places = set_pages(rng, layout, organisation, specs, plates, [text for text, _, _ in facts], pages)
    plates = [replace(plate, page=places[number]) for number, plate in enumerate(plates)]
    return Made(content, part, seed, tuple(plates), tuple((question, answer) for _, question, answer in facts))


# ---------------------------------------------------------------- numbers


def chart_of(rng: np.random.Generator, part: Part, measure: tuple[str, str], number: str) -> tuple[Spec, Plate]:
    """A chart of one of 16 styles, about this measure."""
    kind = str(rng.choice(["bar", "line", "pie"], p=[0.5, 0.4, 0.1]))
    fault = "" if rng.random() < 0.9 or kind == "pie" else str(rng.choice(["log", "two axes", "stacked"]))
    kind = "bar" if fault == "stacked" else kind
    spec = sample(rng, part, kind, fault, printed=bool(rng.random() < 0.3) and not fault)
    name, unit = measure
    years = kind == "line" or (kind == "bar" and rng.random() < 0.35)
    if years:
        first, count = int(rng.integers(1995, 2014)), int(rng.integers(5, 10 - len(spec.series)))
        xs: tuple[Any, ...] = tuple(range(first, first + count))
        group = "year"
    else:
        words = CATEGORIES[part][int(rng.integers(len(CATEGORIES[part])))]
        xs = words[: int(rng.integers(4, min(len(words), 8 - len(spec.series)) + 1))]
        group = GROUPS[words[0]]
    several = len(spec.series)
    size = float(rng.choice([1.0, 10.0, 100.0, 1000.0]))
    numbers = tuple(tuple(float(f"{n * size:.3g}") for n in rng.uniform(1.2, 9.4, len(xs))) for _ in range(several))
    names = tuple(rng.permutation(SERIES[part])[:several].tolist()) if several > 1 else ("",)
    titled = rng.random() < 0.5
    spec = replace(
        spec, xs=tuple(float(x) for x in xs) if kind == "line" else tuple(map(str, xs)), series=names, numbers=numbers,
        across=(), title=name if titled else "", x_label="Year" if years and rng.random() < 0.3 else "",
        y_label=unit if kind != "pie" and rng.random() < 0.6 else "", unit="plain",
        size=(max(4.4, spec.size[0]), spec.size[1]),
    )  # fmt: skip
    source = "vector" if rng.random() < 0.5 else "raster"
    if kind == "pie":
        numbers = (tuple(100 * n / sum(numbers[0]) for n in numbers[0]),)
    return spec, Plate(
        number, kind, source, spec.printed, fault, name, unit, group, tuple(map(str, xs)), names, numbers
    )


def table_of(rng: np.random.Generator, part: Part, measure: tuple[str, str]) -> Plate:
    """A table with a column a series."""
    words = CATEGORIES[part][int(rng.integers(len(CATEGORIES[part])))]
    xs, names = words[: int(rng.integers(4, len(words) + 1))], tuple(rng.permutation(SERIES[part])[:2].tolist())
    numbers = tuple(tuple(float(n) for n in rng.integers(100, 999, len(xs))) for _ in names)
    return Plate("1", "table", "table", True, "", *measure, GROUPS[words[0]], tuple(xs), names, numbers)


def caption_of(plate: Plate) -> str:
    """What the caption says: what is counted, of what, and in what."""
    by = f"by {plate.group}" if plate.group != "year" else f"from {plate.xs[0]} to {plate.xs[-1]}"
    return f"{plate.measure} {by}, in {plate.unit}" if plate.kind != "pie" else f"{plate.measure}, shares {by}"


# ---------------------------------------------------------------- pages


def set_pages(
    rng: np.random.Generator, layout: Layout, organisation: str, specs: Sequence[Spec], plates: Sequence[Plate],
    facts: Sequence[str], pages: int,
) -> tuple[bytes, list[int]]:  # fmt: skip
    """The PDF's bytes, and the page of each plate."""
    from reportlab.lib import colors
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import BaseDocTemplate, Frame, KeepTogether, PageTemplate, Paragraph, Spacer, Table

    wide, high = layout.paper
    gutter, side, edge = 22.0, 62.0, 70.0
    column = (wide - 2 * side - gutter * (layout.columns - 1)) / layout.columns
    bold = {"Helvetica": "Helvetica-Bold", "Times-Roman": "Times-Bold"}[layout.font]
    body = ParagraphStyle("body", fontName=layout.font, fontSize=layout.size, leading=1.25 * layout.size, spaceAfter=6)
    heading = ParagraphStyle("heading", body, fontName=bold, fontSize=1.4 * layout.size, leading=1.8 * layout.size,
                             spaceBefore=10)  # fmt: skip
    small = ParagraphStyle(
        "caption", body, fontSize=0.9 * layout.size, leading=1.1 * layout.size, spaceBefore=5, spaceAfter=9
    )

    def filled(sentence: str) -> str:
        return sentence.format(*(int(n) for n in rng.integers(3, 90, sentence.count("{}"))))

    def filler(sentences: int) -> Any:
        chosen = [FILLER[int(n)] for n in rng.integers(len(FILLER), size=sentences)]
        return Paragraph(" ".join(map(filled, chosen)), body)

    story: list[Any] = [Paragraph(f"Annual report of {organisation}", heading), filler(5)]
    seen: list[Any] = []
    for number, plate in enumerate(plates):
        story.append(Paragraph(f"{number + 1}. {'Results' if number % 2 else 'Overview'}, part {number + 1}", heading))
        story.append(filler(int(rng.integers(3, 7))))
        if number < len(facts):
            story.append(Paragraph(f"{facts[number]} {filled(FILLER[number])}", body))
        what = "Table" if plate.kind == "table" else "Figure"
        story.append(
            Paragraph(f"{what} {plate.number} shows the details, and see also Figure 1 of the last report.", body)
        )
        said = layout.caption.format(plate.number, caption_of(plate))
        if plate.kind == "table":
            rows = [[plate.group.capitalize(), *plate.series]]
            rows += [[x, *(f"{row[n]:.0f}" for row in plate.numbers)] for n, x in enumerate(plate.xs)]
            lines = (("LINEABOVE", 0), ("LINEBELOW", 0), ("LINEBELOW", -1))
            style = [("FONT", (0, 0), (-1, -1), layout.font, layout.size), ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
                     *((side, (0, row), (-1, row), 0.8, colors.black) for side, row in lines)]  # fmt: skip
            caption = Paragraph(f"Table {plate.number}: {caption_of(plate)}", small)
            seen.append(Mark())
            story.append(
                KeepTogether(
                    [
                        caption,
                        seen[-1].flowable,
                        Table(rows, [min(90.0, column / len(rows[0]))] * len(rows[0]), style=style),
                    ]
                )
            )
        else:
            seen.append(Mark(specs[number], plate.source, column, bool(rng.random() < STRIPS)))
            parts = [seen[-1].flowable, Paragraph(said, small)]
            story.append(KeepTogether(parts[::-1] if layout.above else parts))
        story.append(filler(int(rng.integers(4, 9))))
    story += [filler(9) for _ in range(7 * layout.columns * max(0, pages - len(plates)))]
    frames = [
        Frame(side + place * (column + gutter), edge, column, high - 2 * edge, 0, 0, 0, 0)
        for place in range(layout.columns)
    ]

    def furniture(canvas: Any, document: Any) -> None:
        canvas.setFont(layout.font, 8)
        canvas.drawCentredString(wide / 2, 38, str(document.page))
        if layout.header:
            canvas.drawString(side, high - 44, f"Annual report of {organisation}")
            canvas.line(side, high - 50, wide - side, high - 50)

    held = io.BytesIO()
    template = PageTemplate("page", frames, onPage=furniture)
    document = BaseDocTemplate(held, pagesize=layout.paper, pageTemplates=[template], invariant=1, title="Report")
    story.append(Spacer(1, 1))
    document.build(story)
    return with_vectors(held.getvalue(), [mark for mark in seen if mark.source == "vector"]), [
        mark.page for mark in seen
    ]


class Mark:
    """Where a plate comes to stand. `flowable` goes into the story; it draws a bitmap, and leaves room for vectors."""

    def __init__(self, spec: Spec | None = None, source: str = "", column: float = 0.0, strips: bool = False) -> None:
        from reportlab.platypus import Flowable

        self.spec, self.source, self.page, self.at, mark = spec, source, 0, (0.0, 0.0), self
        self.scale = min(1.0, column / (72 * spec.size[0])) if spec else 0.0
        self.size = (72 * spec.size[0] * self.scale, 72 * spec.size[1] * self.scale) if spec else (0.0, 0.0)

        class Placed(Flowable):
            def wrap(self, *_: Any) -> tuple[float, float]:
                return mark.size

            def draw(self) -> None:
                mark.page, mark.at = self.canv.getPageNumber(), self.canv.absolutePosition(0, 0)
                if mark.source == "raster":
                    mark.paint(self.canv, strips)

        self.flowable = Placed()

    def paint(self, canvas: Any, strips: bool) -> None:
        """The chart as a bitmap; in strips, three of them."""
        from reportlab.lib.utils import ImageReader

        picture = draw.draw(replace(self.spec, dpi=max(110, self.spec.dpi)), words=False).picture
        wide, high = self.size
        cuts = [round(picture.height * part / 3) for part in range(4)] if strips else [0, picture.height]
        for top, bottom in pairwise(cuts):
            part = picture.crop((0, top, picture.width, bottom))
            low = high * (1 - bottom / picture.height)
            canvas.drawImage(ImageReader(part), 0, low, wide, high * (bottom - top) / picture.height)


def with_vectors(content: bytes, marks: Sequence[Mark]) -> bytes:
    """A PDF with charts as vectors in the places that were left for them."""
    import pypdfium2

    from week11_rag.pdf import LOCK

    with LOCK, ExitStack() as opened:
        pdf = opened.enter_context(pypdfium2.PdfDocument(content))
        for mark in marks:
            source = opened.enter_context(pypdfium2.PdfDocument(draw.pdf(mark.spec)))
            held = source.page_as_xobject(0, pdf)
            placed = held.as_pageobject()
            placed.transform(pypdfium2.PdfMatrix().scale(mark.scale, mark.scale).translate(*mark.at))
            page = pdf[mark.page - 1]
            page.insert_obj(placed)
            page.gen_content()
        out = io.BytesIO()
        pdf.save(out)
    return out.getvalue()
