"""Claims and where they stand: what an answer says is tied to words of a passage, checked letter by letter, or not shown."""

from collections.abc import Sequence
from dataclasses import dataclass

from week11_rag.retrieve import Passage


@dataclass(frozen=True)
class Citation:
    """Words of a document that support a claim.

    Attributes:
        number: as it stands in the answer, [1]; in the order in which the answer needs them.
        document: the id of the document.
        name: the document's name.
        page: where the quote begins.
        quote: the words, as the chunk has them: chunk.text[start:end].
        start, end: where, in the chunk's text.
        chunk: the id of the chunk.
        pieces: (page, words) of each page that the quote is on: one, or two where it runs over a page break.
    """

    number: int
    document: str
    name: str
    page: int
    quote: str
    start: int
    end: int
    chunk: str = ""
    pieces: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Claim:
    """A sentence of an answer, without markers, and the numbers of the citations that support it (none: not supported)."""

    text: str
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Grounded:
    """What is left of an answer: its claims that have support, and the citations; `dropped` are those that have none."""

    claims: tuple[Claim, ...]
    citations: tuple[Citation, ...]
    dropped: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The claims with their markers: `It is called sid [1]. …`."""
        raise NotImplementedError


def ground(text: str, passages: Sequence[Passage], question: str = "") -> Grounded:
    """Ties each sentence of an answer to words of the passages.

    Args:
        text: the answer as a model wrote it; its markers [n] mean passages[n - 1], and are checked, not believed.
        passages: what it was given, in the order of the prompt.
        question: what was asked: words from it need no support.
    """
    raise NotImplementedError
