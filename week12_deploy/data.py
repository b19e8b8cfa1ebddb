"""What an exported embedder is held to: week 11's passages and questions, out of the same PDFs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from week11_rag import data, pdf
from week11_rag.chunks import Chunk, split
from week11_rag.data import Question, Source
from week11_rag.pages import Document

Part = Literal["val", "test"]


@dataclass(frozen=True)
class Texts:
    """The passages of some PDFs and the questions about them.

    Attributes:
        name: `sample`, or the path.
        documents: with their chunks, in order.
        questions: of all parts.
    """

    name: str
    documents: tuple[tuple[Document, tuple[Chunk, ...]], ...]
    questions: tuple[Question, ...]

    @property
    def chunks(self) -> list[Chunk]:
        return [chunk for _, chunks in self.documents for chunk in chunks]

    def asked(self, part: Part) -> list[Question]:
        """The questions of a part, those without an answer, too."""
        return [question for question in self.questions if question.part == part]


def load(name: str, size: int, overlap: int, first: int, embedder: Any) -> Texts:
    """Reads and splits as week 11 does.

    Args:
        name: `sample`, a PDF, or a folder with PDFs.
        size, overlap: of a chunk, in the embedder's tokens.
        first: read so many pages of each PDF; 0: all.
        embedder: which counts tokens.

    Raises:
        CourseError: as week 11: no such file, no PDF, a line that is no question.
    """
    sources, questions = data.load(name), tuple(data.questions(name))
    read = [pdf.read(source.path, name=source.name, first=first) for source in sources]
    documents = [(document, tuple(split(document, size, overlap, embedder.count))) for document in read]
    return Texts(name, tuple(documents), questions)


def found(name: str) -> Sequence[Source]:
    """The PDFs of that name; CourseError where there are none."""
    return data.load(name)
