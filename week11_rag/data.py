"""Week 11's data: PDFs, bundled or one's own, and questions about them with their answers and where these stand.

Questions of one's own lie beside the PDF, a line of JSON each, in manual.questions.jsonl for manual.pdf:

    {"id": "q1", "text": "Who …?", "answers": ["…"], "evidence": [[12, "words of page 12"]], "kind": "plain",
     "part": "val"}

`answers` is empty where the document does not answer it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import CourseError
from shared.files import ROOT, is_hidden

HANDBOOK = ROOT / "shared" / "samples" / "handbook.pdf"
QUESTIONS = ROOT / "shared" / "samples" / "handbook_questions.jsonl"
PARTS = ("val", "test")


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
    if data == "sample":
        return [Source(HANDBOOK, HANDBOOK.name)]
    path = Path(data).expanduser()
    if path.is_file():
        return [Source(path, path.name)]
    if not path.is_dir():
        raise CourseError(f"--data {data}: no such file or folder; `sample` is the bundled handbook.")
    found = sorted(
        (one.relative_to(path).as_posix(), one)
        for one in path.rglob("*")
        if one.suffix.lower() == ".pdf" and one.is_file()
    )
    found = [(name, one) for name, one in found if not is_hidden(name)]
    if not found:
        raise CourseError(f"--data {data}: no PDF in this folder, nor below it.")
    return [Source(one, name) for name, one in found]


def questions(data: str = "sample") -> list[Question]:
    """The questions that belong to the data: the bundled ones, or those that lie beside the PDFs; none where none do.

    Raises:
        CourseError: a line is no question.
    """
    found = []
    for source in load(data):
        bundled = source.path == HANDBOOK
        path = QUESTIONS if bundled else source.path.with_suffix(".questions.jsonl")
        if path.is_file():
            found += read(path, source.name)
    return found


def read(path: Path, name: str = "") -> Iterator[Question]:
    """The questions of a file.

    Raises:
        CourseError: a line is no question, or two have the same id; with its number.
    """
    seen = set()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise CourseError(f"{path} is not UTF-8 text ({error}).") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            question = question_of(json.loads(line), name)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            missing = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise CourseError(f"{path}:{number}: no question ({missing}); the README says how one looks.") from None
        if question.id in seen:
            raise CourseError(f"{path}:{number}: the id {question.id!r} is there twice.")
        seen.add(question.id)
        yield question


def question_of(row: Any, name: str) -> Question:
    """A question of a line; ValueError or KeyError where it is none."""
    if not isinstance(row, dict):
        raise ValueError("no JSON object")
    answers, evidence = row["answers"], row["evidence"]
    if not isinstance(answers, list) or not all(isinstance(one, list) and len(one) == 2 for one in evidence):
        raise ValueError("answers and evidence are lists, the latter of [page, quote]")
    texts = (row["id"], row["text"], row["kind"], *answers, *(quote for _, quote in evidence))
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError("a text is empty, or is none")
    if not all(type(page) is int and page > 0 for page, _ in evidence):
        raise ValueError("a page is no number from 1")
    if answers and not evidence:
        raise ValueError("it has an answer, and no evidence")
    if row["part"] not in PARTS:
        raise ValueError(f"part {row['part']!r} is none of {', '.join(PARTS)}")
    places = tuple((page, quote) for page, quote in evidence)
    return Question(row["id"], row["text"], tuple(answers), places, row["kind"], row["part"], name)
