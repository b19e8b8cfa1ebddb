"""Week 11's data: PDFs, bundled or one's own, and questions about them with their answers and where these stand."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """A PDF to read: where it lies, and what it is called (its path in the folder that was given)."""

    path: Path
    name: str


@dataclass(frozen=True)
class Question:
    """A question about a document.

    Attributes:
        id: of the question.
        text: what is asked.
        answers: any of these is right; none for a question that the document does not answer.
        evidence: (page, quote): where the answer stands, word for word as the document has it.
        kind: plain, paraphrase, table, multi (over several pages), unanswerable, …
        part: val (to choose by) or test.
        name: the document's.
    """

    id: str
    text: str
    answers: tuple[str, ...]
    evidence: tuple[tuple[int, str], ...]
    kind: str
    part: str
    name: str = ""

    @property
    def answerable(self) -> bool:
        return bool(self.answers)


def load(data: str = "sample") -> list[Source]:
    """The PDFs of `sample` (the bundled handbook), of a path to a PDF, or of a folder with PDFs, also below it.

    Raises:
        CourseError: there is no such file or folder, or no PDF in it.
    """
    raise NotImplementedError


def questions(data: str = "sample") -> list[Question]:
    """The questions that belong to the data: the bundled ones for `sample`; those of FILE.questions.jsonl beside each PDF.

    Raises:
        CourseError: a line is no question.
    """
    raise NotImplementedError
