"""A PDF as text in reading order: pages of blocks, each a heading, a paragraph, a list item, a table or code.

    document = read("handbook.pdf")
    document.pages[19].blocks[0]        # Block(page=20, text="3.2.4 Going on vacation gracefully", kind="heading", …)
    text_boxes("handbook.pdf", 20, "mark yourself as on vacation")

How it is done, from small to large: lines.py (letters to lines), columns.py (their order), layout.py (blocks). pdfium,
which finds the letters, bears one thread at a time: a lock holds the others.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import Any, Literal

from shared.errors import CourseError
from week11_rag import ocr as recogniser
from week11_rag.checks import whole_pdf
from week11_rag.columns import Table, in_reading_order
from week11_rag.layout import Entry, blocks_of, page_list
from week11_rag.lines import Letter, Raw, read_page
from week11_rag.pages import Block, Box, Document, Kind, Page

__all__ = ["Block", "Box", "Document", "Kind", "Page", "about", "read", "render", "text_boxes"]

MOST_PAGES = 5_000
MOST_SIDE = 4_000  # pixels of a picture of a page
BROKEN = 0.3  # with so large a share of letters that stand for nothing, a page is taken for a picture
PART = 12  # letters of a quote that is only partly on a page, at least
LOCK = RLock()


def read(
    path: str | Path, ocr: Literal["auto", "never"] = "auto", name: str = "", most_pages: int = MOST_PAGES,
    each: Callable[[int], None] | None = None, first: int = 0,
) -> Document:  # fmt: skip
    """Reads a PDF.

    Args:
        path: the file.
        ocr: auto recognises pages that are pictures where rapidocr is installed; never does not.
        name: what to call it, as in citations; default: the file's name.
        most_pages: more are refused.
        each: called with the number of each page that is read.
        first: read so many pages only; 0: all.

    Raises:
        CourseError: it is encrypted, empty, cut short, no PDF, all pictures (without rapidocr), or too large.
    """
    path = Path(path)
    content = whole_pdf(path)
    raws, notes, pictures, damaged = [], [], [], []
    with opened(path, content) as pdf:
        if len(pdf) > most_pages:
            raise CourseError(f"{path} has {len(pdf):,} pages, more than {most_pages:,}: split it.")
        outline = outline_of(pdf)
        for number in range(1, (min(first, len(pdf)) if first else len(pdf)) + 1):
            raw = page_of(pdf, number, ocr)
            if raw is None:
                damaged.append(number)
            elif not raw.lines and raw.pictures:
                pictures.append(number)
            raws.append(raw or Raw(0.0, 0.0, [], []))
            if each:
                each(number)
    if not any(raw.lines for raw in raws):
        raise nothing_in(path, len(raws), pictures, damaged, ocr)
    if damaged:
        notes.append(f"left out what is damaged: {page_list(damaged)}")
    if pictures:
        cure = "" if recogniser.is_there() or ocr == "never" else f" (`{recogniser.INSTALL}` lets it be read)"
        notes.append(f"no text was read of pictures: {page_list(pictures)}{cure}")
    if seen := [number for number, raw in enumerate(raws, 1) if raw.scanned]:
        notes.append(f"text was recognised in pictures, with the errors that this makes: {page_list(seen)}")
    blocks, more = blocks_of(raws, outline)
    pages = [
        Page(number, raw.width, raw.height, tuple(found), raw.scanned)
        for number, (raw, found) in enumerate(zip(raws, blocks, strict=True), 1)
    ]
    return Document(identity(content), name or path.name, tuple(pages), (*notes, *more))


def identity(content: bytes) -> str:
    """The id of a document: it is another one when a byte is."""
    return hashlib.sha256(content).hexdigest()[:16]


def about(path: str | Path) -> tuple[str, int]:
    """The id and the number of pages of a PDF, without reading these.

    Raises:
        CourseError: as read, as far as it shows.
    """
    path = Path(path)
    content = whole_pdf(path)
    with opened(path, content) as pdf:
        return identity(content), len(pdf)


def nothing_in(path: Path, pages: int, pictures: list[int], damaged: list[int], ocr: str) -> CourseError:
    """What to say of a PDF without text."""
    if pictures and not recogniser.is_there():
        return CourseError(f"{path}: its pages are pictures (a scan). `{recogniser.INSTALL}` lets their text be read.")
    if pictures:
        how = "" if ocr == "auto" else " as --ocr never wants it"
        return CourseError(f"{path}: its pages are pictures, and no text was found in them{how}.")
    if damaged:
        return CourseError(f"{path} is damaged: none of its {pages} pages can be read. Copy or download it again.")
    return CourseError(f"{path}: there is no text on its {pages} page{'s' * (pages > 1)}.")


@contextmanager
def opened(path: Path, content: bytes) -> Iterator[Any]:
    """pdfium's document, closed at the end.

    Raises:
        CourseError: it is encrypted, damaged, or has no pages.
    """
    import pypdfium2
    import pypdfium2.raw as raw

    with LOCK:
        try:
            pdf = pypdfium2.PdfDocument(content)
        except pypdfium2.PdfiumError as error:
            locked = getattr(error, "err_code", None) in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY)
            if locked and b"/Encrypt" in content:  # the code may be that of the error before
                raise CourseError(f"{path} is encrypted: save a copy without a password, and give that.") from None
            raise CourseError(f"{path} is damaged: it does not open. Copy or download it again.") from None
    try:
        if not len(pdf):
            raise CourseError(f"{path} has no pages.")
        yield pdf
    finally:
        with LOCK:
            pdf.close()


def outline_of(pdf: Any) -> list[Entry]:
    """The bookmarks of a PDF."""
    found = []
    with LOCK:
        for mark in pdf.get_toc(max_depth=6):
            target = mark.get_dest()
            page = target.get_index() if target else None
            if page is not None and len(found) < 20_000:
                found.append(Entry(mark.level + 1, mark.get_title().strip(), page + 1))
    return found


def page_of(pdf: Any, number: int, ocr: str) -> Raw | None:
    """A page, with its text recognised where it is a picture; None where it is damaged."""
    import pypdfium2

    with LOCK:
        try:
            page = pdf[number - 1]
        except pypdfium2.PdfiumError:
            return None
        try:
            raw = read_page(page)
            unread = sum(len(line.letters) for line in raw.lines) < 8 or raw.broken > BROKEN
            if not (unread and (raw.pictures or raw.broken > BROKEN)):
                return raw
            if ocr == "never" or not recogniser.is_there():
                return Raw(raw.width, raw.height, [], [], True)
            image, scale = picture(page, recogniser.SCALE)
        finally:
            page.close()
    lines = recogniser.recognise(image, scale, raw.height)
    return Raw(raw.width, raw.height, lines, [], True, scanned=bool(lines))


def picture(page: Any, scale: float) -> tuple[Any, float]:
    """A page as a PIL image, and its scale, which is smaller than the wanted one where the page is huge."""
    scale = min(scale, MOST_SIDE / max(page.get_size()))
    bitmap = page.render(scale=scale)
    image = bitmap.to_pil().convert("RGB")
    bitmap.close()
    return image, scale


def render(path: str | Path, page: int, scale: float = 1.5) -> Any:
    """A page as a PIL image in RGB; `scale` 1 is a pixel for each point (72 an inch)."""
    path = Path(path)
    with opened(path, whole_pdf(path)) as pdf, LOCK:
        held = pdf[numbered(path, pdf, page) - 1]
        try:
            return picture(held, scale)[0]
        finally:
            held.close()


def numbered(path: Path, pdf: Any, page: int) -> int:
    if not 1 <= page <= len(pdf):
        raise CourseError(f"{path} has {len(pdf)} pages, no page {page}.")
    return page


# ---------------------------------------------------------------- where a quote stands


def text_boxes(path: str | Path, page: int, quote: str) -> list[Box]:
    """Where a quoted text stands on a page: a box for each of its lines, for highlighting; [] where it is not there.

    Of a quote that goes on over a page break, that part is found which stands on this page.

    Args:
        path: the PDF.
        page: its number, from 1.
        quote: the text, as it stands in a block or chunk. Only its letters and digits count.
    """
    path = Path(path)
    state = path.stat() if path.is_file() else None
    text, letters = letters_in_order(str(path), page, (state.st_mtime_ns, state.st_size) if state else (0, 0))
    wanted = "".join(char for char, _ in significant(quote))
    start, length = found_in(text, wanted)
    boxes: list[Box] = []
    last = None
    for letter in letters[start : start + length]:
        bottom, top = letter.base - 0.25 * letter.font.size, letter.base + 0.8 * letter.font.size
        if last and abs(letter.base - last.base) < 0.5 * letter.font.size and letter.left >= last.left:
            left, low, right, high = boxes[-1]
            boxes[-1] = (left, min(low, bottom), max(right, letter.right), max(high, top))
        else:
            boxes.append((letter.left, bottom, letter.right, top))
        last = letter
    return boxes


def found_in(text: str, wanted: str) -> tuple[int, int]:
    """Where a text begins in another and how long it is: all of it, or else its longest beginning or end."""
    if not wanted:
        return 0, 0
    if (at := text.find(wanted)) >= 0:
        return at, len(wanted)
    best = (0, 0)
    for cut in (lambda count: wanted[:count], lambda count: wanted[-count:]):
        low, high = 0, len(wanted)
        while low < high:  # what is longer is not there, if what is shorter is not
            middle = (low + high + 1) // 2
            low, high = (middle, high) if cut(middle) in text else (low, middle - 1)
        if low >= PART and low > best[1]:
            best = text.find(cut(low)), low
    return best


def significant(text: str) -> Iterator[tuple[str, int]]:
    """(character, place) of what is compared of a text: letters and digits, lower case, without ligatures."""
    for place, char in enumerate(text):
        for one in unicodedata.normalize("NFKC", char).casefold():
            if one.isalnum():
                yield one, place


@lru_cache(maxsize=32)
def letters_in_order(path: str, page: int, stamp: tuple[int, int]) -> tuple[str, list[Letter]]:
    """What is compared of a page in reading order, and for each character its letter. `stamp`: the file has changed."""
    content = whole_pdf(Path(path))
    with opened(Path(path), content) as pdf:
        raw = page_of(pdf, numbered(Path(path), pdf, page), "auto")
    text, letters = [], []
    for column in in_reading_order(raw.lines, raw.rules) if raw else []:
        for item in column:
            for line in item.lines if isinstance(item, Table) else [item]:
                for char, letter in line.read:
                    for one, _ in significant(char):
                        text.append(one)
                        letters.append(letter)
    return "".join(text), letters
