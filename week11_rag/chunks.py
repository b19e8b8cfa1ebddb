"""Chunks: a document in pieces that an embedder can take in, cut where its structure allows, with some overlap.

A chunk never leaves its section. Within one it is made of whole sentences, list items, rows of a table and lines of
code, as many as go into `size` tokens; the next one begins with the last of them again, as many as go into `overlap`.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from week11_rag.layout import glue
from week11_rag.pages import Block, Document

Span = tuple[int, int, int]
"""Page, start, end."""
ABBREVIATED = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|al|Mr|Mrs|Ms|Dr|St|No|Nos|Fig|Figs|Sec|Eq|p|pp|ca|resp|approx)|\b[A-Z])\.$"
)
SENTENCE = re.compile(r"(?<=[.!?])[\"”’')\]]*\s+(?=[\"“‘'(\[]?[A-Z0-9])|(?<=[。！？])")
ENDED = re.compile(r"[.!?:;。！？][\"”’')\]]*$")
NOTE = re.compile(r"\d{1,3}\s+\S")


@dataclass(frozen=True)
class Chunk:
    """A piece of a document.

    Attributes:
        id: a hash of the document's id, its headings and its text.
        document: the id of the document.
        name: the document's name.
        text: what stands there.
        headings: those above it, chapter first.
        spans: (page, start, end): text[start:end] stands on that page; together they are the whole text.
        number: its place among the document's chunks, from 0.
    """

    id: str
    document: str
    name: str
    text: str
    headings: tuple[str, ...]
    spans: tuple[Span, ...]
    number: int = 0

    def page_at(self, offset: int) -> int:
        """The page on which the character text[offset] stands."""
        return next((page for page, _, end in self.spans if offset < end), self.spans[-1][0])

    @property
    def pages(self) -> tuple[int, ...]:
        """The pages that it is on."""
        return tuple(dict.fromkeys(page for page, _, _ in self.spans))

    @property
    def embedded(self) -> str:
        """What the embedder and BM25 see: the headings, then the text."""
        return "\n".join([above(self.headings), self.text]) if self.headings else self.text


@dataclass(frozen=True)
class Piece:
    """What is not cut if it can be helped: a sentence, a list item, a row, a line. `before` parts it from the last."""

    text: str
    spans: tuple[Span, ...]
    before: str = "\n"


@dataclass(frozen=True)
class Section:
    """What stands below a heading, up to the next one."""

    headings: tuple[str, ...]
    pieces: tuple[Piece, ...]


def above(headings: Sequence[str]) -> str:
    return " > ".join(headings)


@cache
def tokenizer() -> Any:
    """MiniLM's, without its limit of length."""
    from tokenizers import Tokenizer

    from shared import models

    found = Tokenizer.from_file(str(models.fetch("minilm") / "tokenizer.json"))
    found.no_truncation()
    found.no_padding()
    return found


def tokens(text: str) -> int:
    """How many tokens MiniLM's tokenizer makes of a text."""
    return len(tokenizer().encode(text, add_special_tokens=False).ids)


def split(document: Document, size: int = 256, overlap: int = 32, count: Callable[[str], int] = tokens) -> list[Chunk]:
    """The chunks of a document, in order.

    Args:
        document: as pdf.read gives it.
        size: the most tokens of a chunk, headings included.
        overlap: how many tokens a chunk may repeat of the one before it, in whole pieces.
        count: how many tokens a text has.
    """
    found: list[Chunk] = []
    seen: Counter[str] = Counter()
    for section in sections(document):
        headings = section.headings
        while len(headings) > 1 and count(above(headings)) > size // 3:  # the outermost ones tell least
            headings = headings[1:]
        room = max(size - count(above(headings)), size // 2)
        pieces = [part for piece in section.pieces for part in shortened(piece, room, count)]
        for start, end in windows([count(piece.text) for piece in pieces], room, min(overlap, room // 2)):
            text, spans = joined(pieces[start:end])
            content = "\n".join([document.id, *headings, text])
            seen[content] += 1
            name = hashlib.sha256(f"{seen[content]} {content}".encode()).hexdigest()[:16]
            found.append(Chunk(name, document.id, document.name, text, headings, spans, len(found)))
    return found


# ---------------------------------------------------------------- the splitter


def windows(lengths: Sequence[int], size: int, overlap: int) -> list[tuple[int, int]]:
    """Which pieces go together: (start, end) of each window over pieces of these lengths, in tokens.

    No window is longer than `size`, unless a single piece is; each takes as many pieces as it can. It begins with the
    last pieces of the window before it again, as many of them as have `overlap` tokens at most, and fewer where the
    next piece would not go in beside them: so each window has a piece that no window had before.
    """
    # exercise 1: chunks with overlap, the windows
    # lengths (pieces,), in tokens -> a list of (start, end), pieces[start:end] being a window: at most `size` tokens
    # (a longer piece is a window of its own), as many pieces as go in, none left out. A window repeats the last pieces
    # of the one before, at most `overlap` tokens and only as many as leave room for the next new piece.
    # hint: grow `end` while the sum fits, but by one piece at least; note (start, end); then go back from `end` piece
    # by piece while the repeated ones and the next new piece keep to both limits, but never to `start` itself.
    found, start, end = [], 0, 0
    while end < len(lengths):
        total = sum(lengths[start:end])
        while end < len(lengths) and (total + lengths[end] <= size or end == start):
            total += lengths[end]
            end += 1
        found.append((start, end))
        repeated, start = 0, end
        while (
            end < len(lengths)
            and start - 1 > found[-1][0]
            and repeated + lengths[start - 1] <= overlap
            and repeated + lengths[start - 1] + lengths[end] <= size
        ):
            start -= 1
            repeated += lengths[start]
    return found
    # end of exercise 1


def joined(pieces: Sequence[Any]) -> tuple[str, tuple[Span, ...]]:
    """The text of pieces (`Piece`), and which part of it stands on which page."""
    # exercise 1: chunks with overlap, the pages
    # pieces, each with its text, the spans (page, start, end) of it, and what parts it from the one before -> the
    # whole text, and its spans (page, start, end) in order: without a gap from 0 to the end, a page once in a row.
    # What parts two pieces belongs to the page on which the first of them ends; nothing stands before the first piece.
    # hint: a piece's spans move by the length of the text before it; where a new page begins, the span before
    # it reaches up to there. Where the page is that of the span before, make this one longer and add none.
    text, spans = "", []
    for piece in pieces:
        if text:
            text += piece.before
        shift = len(text)
        for page, start, end in piece.spans:
            if spans and spans[-1][0] == page:
                spans[-1] = (page, spans[-1][1], shift + end)
            else:
                if spans:
                    spans[-1] = (*spans[-1][:2], shift + start)
                spans.append((page, shift + start, shift + end))
        text += piece.text
    return text, tuple(spans)
    # end of exercise 1


def shortened(piece: Piece, size: int, count: Callable[[str], int]) -> Iterator[Piece]:
    """A piece; cut in two between words, again and again, where it is longer than `size`."""
    gaps = [match.span() for match in re.finditer(r"\s+", piece.text)]
    if count(piece.text) <= size or len(piece.text) < 2:
        yield piece
        return
    middle = len(piece.text) // 2
    start, end = min(gaps, key=lambda gap: abs(gap[0] - middle)) if gaps else (middle, middle)
    if not 0 < start < end + (not gaps) <= len(piece.text):
        start = end = middle
    yield from shortened(part(piece, 0, start, piece.before), size, count)
    yield from shortened(part(piece, end, len(piece.text), piece.text[start:end]), size, count)


def part(piece: Piece, start: int, end: int, before: str) -> Piece:
    """piece.text[start:end] with its spans."""
    spans = [(page, max(a, start) - start, min(b, end) - start) for page, a, b in piece.spans if a < end and b > start]
    return Piece(piece.text[start:end], tuple(spans), before)


# ---------------------------------------------------------------- sections and pieces


def sections(document: Document) -> Iterator[Section]:
    """The sections of a document in order. One without text is part of the path of those below it; where there are
    none, its heading is its text."""
    path: list[tuple[int, str]] = []
    blocks: list[list[Block]] = []
    bare: Block | None = None  # a heading with nothing below it yet
    for run in flowing(document):
        first = run[0]
        if first.kind != "heading":
            blocks.append(run)
            bare = None
            continue
        if blocks:
            yield section(path, blocks)
        elif bare and first.level <= bare.level:
            yield section(path[:-1], [[bare]])
        blocks, bare = [], first
        path = [*(entry for entry in path if entry[0] < first.level), (first.level, first.text)]
    if blocks or bare:
        yield section(path, blocks) if blocks else section(path[:-1], [[bare]])


def section(path: Sequence[tuple[int, str]], runs: Sequence[Sequence[Block]]) -> Section:
    return Section(tuple(text for _, text in path), tuple(piece for run in runs for piece in pieces_of(run)))


def flowing(document: Document) -> Iterator[list[Block]]:
    """The blocks in order, each in a list; with it the one that it goes on in at the top of the next page."""
    pages = [list(page.blocks) for page in document.pages]
    for here, there in pairwise(pages):
        last = next((at for at in range(len(here) - 1, -1, -1) if not NOTE.match(here[at].text)), None)
        if last is not None and there and goes_on(here[last], there[0]):
            here[last] = [here[last], there.pop(0)]  # type: ignore[call-overload]
    for blocks in pages:
        for block in blocks:
            yield block if isinstance(block, list) else [block]


def goes_on(block: Block, following: Block) -> bool:
    """Whether a paragraph or list item at the end of a page goes on at the top of the next."""
    text = block.kind in ("paragraph", "list") and following.kind == "paragraph"
    return text and not ENDED.search(block.text) and (following.text[:1].islower() or block.text.endswith("-"))


def pieces_of(run: Sequence[Block]) -> Iterator[Piece]:
    """The pieces of a block, or of one and that which it goes on in."""
    text, spans = run[0].text, [(run[0].page, 0, len(run[0].text))]
    for block in run[1:]:
        both = glue(text, block.text, Counter())
        start = len(both) - len(block.text)
        spans[-1] = (*spans[-1][:2], start)
        spans.append((block.page, start, len(both)))
        text = both
    whole = Piece(text, tuple(spans))
    if run[0].kind in ("code", "table"):
        cuts = [match.end() for match in re.finditer(r"\n+", text)]
    else:
        cuts = [m.end() for m in SENTENCE.finditer(text) if not ABBREVIATED.search(text[: m.start()].rstrip("\"”’')]"))]
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        said = text[start:end].rstrip() if run[0].kind != "code" else text[start:end].rstrip("\n")
        if said.strip():
            before = "\n" if not start else re.search(r"\s*$", text[:start])[0]
            yield part(whole, start, start + len(said), before)
