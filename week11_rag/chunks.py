"""Chunks: a document in pieces that an embedder can take in, cut where its structure allows, with some overlap."""

from collections.abc import Callable
from dataclasses import dataclass

from week11_rag.pdf import Document


@dataclass(frozen=True)
class Chunk:
    """A piece of a document.

    Attributes:
        id: a hash of the document's id, its text and its place.
        document: the id of the document.
        name: the document's name.
        text: what stands there.
        headings: those above it, chapter first.
        spans: (page, start, end): text[start:end] stands on that page.
        number: its place among the document's chunks, from 0.
    """

    id: str
    document: str
    name: str
    text: str
    headings: tuple[str, ...]
    spans: tuple[tuple[int, int, int], ...]
    number: int = 0

    def page_at(self, offset: int) -> int:
        """The page on which the character text[offset] stands."""
        return next((page for page, _, end in self.spans if offset < end), self.spans[-1][0])

    @property
    def pages(self) -> tuple[int, ...]:
        """The pages it is on."""
        return tuple(page for page, _, _ in self.spans)

    @property
    def embedded(self) -> str:
        """What the embedder and BM25 see: the headings, then the text."""
        return "\n".join([" > ".join(self.headings), self.text]) if self.headings else self.text


def tokens(text: str) -> int:
    """How many tokens MiniLM's tokenizer makes of a text."""
    raise NotImplementedError


def split(document: Document, size: int = 256, overlap: int = 32, count: Callable[[str], int] = tokens) -> list[Chunk]:
    """The chunks of a document, in order.

    Args:
        document: as pdf.read gives it.
        size: the most tokens of a chunk, headings included.
        overlap: how many tokens a chunk may repeat of the one before it, in whole sentences.
        count: how many tokens a text has.
    """
    raise NotImplementedError
