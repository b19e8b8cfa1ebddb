"""A PDF, page by page, as text, figures, charts and tables in a folder; what is done is kept, what is damaged is named.

    report = ingest("report.pdf", shelf, reader)      # shelf: store.Shelf; reader: trained.load(), for bitmaps
    report.exhibits[2].chart.values

Each page is written as soon as it is read, so a second run goes on where the first was stopped. The words of a chart
that is drawn are the PDF's own; text is recognised in pictures alone.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shared.progress import bar
from week11_rag import layout, ocr, pdf
from week11_rag.checks import whole_pdf
from week11_rag.lines import Line, Raw, Rule
from week11_rag.pages import Block, Document, Page
from week16_capstone import captions, find
from week16_capstone.captions import Caption
from week16_capstone.chart import Figure, Unreadable
from week16_capstone.exhibits import Exhibit, as_json, from_json, table_of
from week16_capstone.read import read
from week16_capstone.store import Shelf

MOST_PAGES = 400
SCALE = 2.0  # pixels a point of a crop
MOST_PIXELS = 6_000_000  # of a crop
VERSION = 1  # of what a page's file holds: a page of another one is read again
REPEATED = 0.4  # what stands in the same place of so many pages is an ornament


@dataclass(frozen=True)
class Report:
    """A PDF that was read: its text in blocks, its exhibits in the order of the pages, what a reader should know."""

    document: Document
    exhibits: tuple[Exhibit, ...]
    seconds: float
    read_now: int

    @property
    def notes(self) -> tuple[str, ...]:
        return self.document.notes


def ingest(path: str | Path, shelf: Shelf, reader: Any = None, most_pages: int = MOST_PAGES) -> Report:
    """Reads a PDF into a shelf; pages that lie there already are not read again.

    Args:
        path: the PDF.
        shelf: where to.
        reader: reads charts that are pictures; None: those are not read.
        most_pages: of a longer one, only so many pages are read, which is said.

    Raises:
        CourseError: it is no PDF that can be read (as week 11's pdf.read), or nothing is on its pages.
    """
    path, began = Path(path), time.perf_counter()
    content, by = whole_pdf(path), held_by(reader)
    name, read_now, damaged, raws, shown = pdf.identity(content), 0, [], [], []
    with pdf.opened(path, content) as opened:
        outline, count = pdf.outline_of(opened), min(len(opened), most_pages)
        notes = [f"only the first {most_pages} of {len(opened)} pages were read"] if len(opened) > count else []
        with bar(count, label=f"reading {path.name[-30:]}") as progress:
            for number in range(1, count + 1):
                raw = pdf.page_of(opened, number, "never" if is_figure(opened, number) else "auto")
                if raw is not None:
                    raw = replace(raw, lines=whole_lines(raw.lines))
                if raw is None:
                    damaged.append(number)
                    raws.append(Raw(0.0, 0.0, [], []))
                    shown.append([])
                else:
                    found = shelf.page(name, number, VERSION, by)
                    if found is None:
                        found = page_exhibits(opened, number, raw, shelf, name, reader)
                        shelf.keep_page(name, number, VERSION, by, found)
                        read_now += 1
                    raws.append(replace(raw, rules=[Rule(*rule) for rule in found["rules"]]))
                    shown.append([from_json(row) for row in found["figures"]])
                progress.update()
    if not any(raw.lines for raw in raws) and not any(shown):
        raise pdf.nothing_in(path, count, [n for n, raw in enumerate(raws, 1) if raw.pictures], damaged, "auto")
    if damaged:
        notes.append(f"left out what is damaged: {layout.page_list(damaged)}")
    if seen := [number for number, raw in enumerate(raws, 1) if raw.scanned and raw.lines]:
        notes.append(f"scans, whose text was recognised and whose figures are not looked for: {layout.page_list(seen)}")
    shown = without_ornaments(shown, lambda one: looks(shelf.crop(name, one)))
    texts = [text_beside(raw, found) for raw, found in zip(raws, shown, strict=True)]
    said = [captions.captions(raw.lines, number) for number, raw in enumerate(texts, 1)]
    texts = [replace(raw, lines=[line for line in raw.lines if id(line) not in own])
             for raw, (_, own) in zip(texts, said, strict=True)]  # fmt: skip
    blocks, more = layout.blocks_of(texts, outline)
    pages = [Page(number, raw.width, raw.height, tuple(text), raw.scanned)
             for number, (raw, text) in enumerate(zip(raws, blocks, strict=True), 1)]  # fmt: skip
    exhibits = [one for found, text, (own, _) in zip(shown, blocks, said, strict=True)
                for one in with_captions(found, text, own)]  # fmt: skip
    document = Document(name, path.name, tuple(pages), (*notes, *more))
    shelf.keep(document, exhibits, path)
    return Report(document, tuple(exhibits), time.perf_counter() - began, read_now)


def is_figure(opened: Any, number: int) -> bool:
    """Whether a page is so low that it may be one figure: no text is recognised on it."""
    with pdf.LOCK:
        return opened.get_page_size(number - 1)[1] < find.WHOLE


def whole_lines(lines: Sequence[Line]) -> list[Line]:
    """The lines of a page; what goes on right behind another, in another piece of the file, is one with it."""
    found: list[Line] = []
    for line in sorted(lines, key=lambda line: (-round(line.base), line.left)):
        last = found[-1] if found else None
        near = last is not None and abs(last.base - line.base) < 0.2 * line.size and abs(last.size - line.size) < 0.3
        if near and 0 <= line.left - last.right < 0.45 * line.size:
            found[-1] = Line([*last.letters, line.letters[0]._replace(spaced=True), *line.letters[1:]])
        else:
            found.append(line)
    return found


def held_by(reader: Any) -> str:
    """A fingerprint of the reader that a page was read with: with another one it is read anew."""
    if reader is None:
        return "none"
    weights = reader.model.state_dict().values() if hasattr(reader, "model") else ()
    seen = hashlib.sha256()
    for one in weights:
        seen.update(one.cpu().numpy().tobytes())
    return seen.hexdigest()[:12]


# ---------------------------------------------------------------- a page


def page_exhibits(opened: Any, number: int, raw: Raw, shelf: Shelf, name: str, reader: Any) -> dict[str, list[Any]]:
    """The figures of a page, read where they are charts, as its file has them; their pictures are kept. Beside them its
    rules: those of week 11 do not know where a form lies that is drawn within the page."""
    if raw.scanned and raw.height >= find.WHOLE:
        return {"figures": [], "rules": []}
    with pdf.LOCK:
        page = opened[number - 1]
        try:
            drawing = find.drawn(page)
            found = find.figures(drawing, raw.lines)
            pictures = [crop(page, one.box) for one in found]
        finally:
            page.close()
    exhibits = []
    for place, (one, (picture, scale)) in enumerate(zip(found, pictures, strict=True), 1):
        figure = with_words(Figure(picture, scale, one.words, one.paths, number, one.box), reader)
        kind, chart, reason = "", None, ""
        try:
            chart = read(figure, reader)
            kind = chart.kind
        except Unreadable as error:
            reason, kind = error.reason, error.kind
        except Exception as error:  # a figure as nobody thought of must not end the book
            reason = f"it could not be read ({type(error).__name__})"
        said = [word.text for word in sorted(figure.words, key=lambda word: (-round(word.box[1] / 6), word.box[0]))]
        file = shelf.keep_crop(name, number, place, picture)
        shown = Exhibit(number, one.box, one.source, kind, chart=chart, reason=reason, words=tuple(said), crop=file)
        exhibits.append(as_json(shown))
    boxes = [path.box for path in drawing.paths]
    rules = [box for box in boxes if min(find.size(box)) < find.THIN and max(find.size(box)) > 5]
    return {"figures": exhibits, "rules": rules}


def with_words(figure: Figure, reader: Any) -> Figure:
    """A figure that is pixels with the words that are recognised in it; a drawn one has the PDF's own."""
    if figure.paths or reader is None or not ocr.is_there() or reader.look([figure.picture])[0].kind == "photo":
        return figure
    from week16_capstone.recognise import recognise

    return replace(figure, words=recognise(figure))


def crop(page: Any, box: tuple[float, float, float, float], scale: float = SCALE) -> tuple[Any, float]:
    """A part of a page of pypdfium2's as a PIL image, and its scale: a smaller one where the part is huge."""
    wide, high = find.size(box)
    scale = min(scale, (MOST_PIXELS / max(1.0, wide * high)) ** 0.5)
    width, height = page.get_size()
    bitmap = page.render(scale=scale, crop=(box[0], box[1], width - box[2], height - box[3]))
    picture = bitmap.to_pil().convert("RGB")
    bitmap.close()
    return picture, scale


def without_ornaments(shown: Sequence[Sequence[Exhibit]], look: Callable[[Exhibit], Any]) -> list[list[Exhibit]]:
    """The exhibits of each page without what stands in the same place of many and looks the same: a logo, a background.

    Args:
        shown: the exhibits of each page.
        look: what one looks like, as something that can be compared; asked of those alone that share their place.
    """

    def place(one: Exhibit) -> tuple[int, ...]:
        return tuple(round(side / 4) for side in one.box)

    many, exhibits = max(3, REPEATED * len(shown)), [one for page in shown for one in page]
    there = Counter(map(place, exhibits))
    seen = {id(one): (place(one), look(one)) for one in exhibits if there[place(one)] >= many}
    alike = Counter(seen.values())
    return [[one for one in page if id(one) not in seen or alike[seen[id(one)]] < many] for page in shown]


def looks(crop: Path | None) -> bytes:
    """A picture, so coarsely that the same one, drawn twice, is the same: 16 times 16 greys of eight."""
    from PIL import Image

    if crop is None:
        return b""
    with Image.open(crop) as picture:
        return bytes(grey // 32 for grey in picture.convert("L").resize((16, 16)).tobytes())


def text_beside(raw: Raw, found: Sequence[Exhibit]) -> Raw:
    """A page without the lines that stand in its figures, and without the rules there."""
    boxes = [one.box for one in found]

    def outside(item: Line | Rule) -> bool:
        middle = ((item.left + item.right) / 2, (item.bottom + item.top) / 2)
        return not any(box[0] <= middle[0] <= box[2] and box[1] <= middle[1] <= box[3] for box in boxes)

    return replace(raw, lines=[line for line in raw.lines if outside(line)],
                   rules=[rule for rule in raw.rules if outside(rule)])  # fmt: skip


def with_captions(found: Sequence[Exhibit], blocks: Sequence[Block], said: Sequence[Caption]) -> list[Exhibit]:
    """The exhibits of a page with their captions, its tables among them, from the top down."""
    tables = [(block, chart) for block in blocks if block.kind == "table" and (chart := table_of(block))]
    exhibits = [*found, *(Exhibit(block.page, block.box, "table", "table", chart=chart) for block, chart in tables)]
    named: list[Exhibit] = []
    for kind in ("figure", "table"):
        ours = [one for one in exhibits if (one.source == "table") == (kind == "table")]
        theirs = [one for one in said if one.kind == kind]
        places, boxes = [one.box for one in ours], [one.box for one in theirs]
        pairs = captions.tied(places, boxes)
        pairs |= {row: pairs[other] for row, other in captions.panels(places, boxes, pairs).items()}
        for row, one in enumerate(ours):
            caption = theirs[pairs[row]] if row in pairs else None
            if caption:
                one = replace(one, number=caption.number, caption=caption.text, caption_box=caption.box)
            named.append(one)
    return sorted(named, key=lambda one: (-one.box[3], one.box[0]))


def as_blocks(exhibits: Sequence[Exhibit]) -> list[Block]:
    """What is written in figures as paragraphs: all that a reader of text alone has of them."""
    return [
        Block(one.page, " ".join(filter(None, (f"{one.name}: {one.caption}" if one.number else "", *one.words))),
              "paragraph", one.box)
        for one in exhibits if one.source != "table" and (one.words or one.caption)
    ]  # fmt: skip


def summary(report: Report) -> dict[str, Any]:
    """What was found, in numbers."""
    kinds = Counter(one.kind or "?" for one in report.exhibits)
    return {"pages": len(report.document.pages), "exhibits": len(report.exhibits), "kinds": dict(kinds),
            "charts": sum(one.chart is not None and one.source != "table" for one in report.exhibits),
            "seconds": report.seconds, "notes": list(report.notes)}  # fmt: skip
