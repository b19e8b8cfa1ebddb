"""Questions in SQuAD's published json, v1.1 and v2.0, and in the rows that the hub has them in.

References
    P. Rajpurkar et al., "SQuAD: 100,000+ questions for machine comprehension of text", arXiv:1606.05250
    P. Rajpurkar, R. Jia, P. Liang, "Know what you don't know: unanswerable questions for SQuAD", arXiv:1806.03822
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import CourseError
from shared.sentence_pairs import text_of

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Question:
    """A question on a passage.

    Attributes:
        id: as published.
        text: the question.
        context: the passage that it is asked of.
        answers: (text, where it starts in the passage) of each right answer; none: it cannot be answered.
        title: of the article that the passage is from; all of an article belongs into one part.
        split: train, val or test, where the file says so.
    """

    id: str
    text: str
    context: str
    answers: tuple[tuple[str, int], ...]
    title: str = ""
    split: str = ""

    @property
    def key(self) -> str:
        """What tells one question from another."""
        return f"{self.context}\n{self.text}"

    @property
    def truth(self) -> str:
        """The answers, as one text."""
        return str(self.answers)

    @property
    def truths(self) -> tuple[str, ...]:
        """The texts of the answers; the empty one where there is none."""
        return tuple(text for text, _ in self.answers) or ("",)


def read(path: Path) -> list[Question]:
    """The questions of a .json or .json.gz file.

    Raises:
        CourseError: it is no JSON (with the line), or not laid out as SQuAD is (with the place); an answer does not
            stand where it is said to (with the question's id); a question is there twice.
    """
    try:
        content = json.loads(text_of(path))
    except json.JSONDecodeError as error:
        raise CourseError(f"{path}:{error.lineno}: no JSON ({error.msg}). Is the file whole?") from None
    except RecursionError:
        raise CourseError(f"{path}: brackets inside of brackets without end: not SQuAD's json.") from None
    found: list[Question] = []
    for article, where in inside(content, "data", "", path):
        title = str(article.get("title", ""))
        split = str(article.get("split", ""))
        if split not in ("", *SPLITS):
            raise CourseError(f"{path}: {where} has the split {split!r}, none of train, val, test.")
        for paragraph, place in inside(article, "paragraphs", where, path):
            context = text_in(paragraph, "context", place, path)
            for question, at in inside(paragraph, "qas", place, path):
                found.append(question_of(question, context, title, split, at, path))
    return distinct(found, path)


def from_rows(rows: Iterable[Mapping[str, Any]], name: str) -> list[Question]:
    """The questions of a table with id, title, context, question and answers {text: […], answer_start: […]}."""
    found = []
    for number, row in enumerate(rows):
        where, answers = f"row {number}", row.get("answers")
        if not isinstance(answers, Mapping):
            raise CourseError(f"{name}: {where} has no answers. Expected SQuAD's columns.")
        pairs = zip(answers.get("text", ()), answers.get("answer_start", ()), strict=True)
        listed = [{"text": text, "answer_start": int(start)} for text, start in pairs]
        asked = {"id": row.get("id"), "question": row.get("question"), "answers": listed}
        asked["is_impossible"] = not listed
        context = text_in(row, "context", where, name)
        found.append(question_of(asked, context, str(row.get("title", "")), "", where, name))
    return distinct(found, name)


def distinct(found: list[Question], path: Any) -> list[Question]:
    """The same, if there are any and no id is there twice."""
    if not found:
        raise CourseError(f"{path}: no question in it. Expected SQuAD's json: data, paragraphs, qas.")
    ids: set[str] = set()
    for question in found:
        if question.id in ids:
            raise CourseError(f"{path}: question {question.id} is there twice.")
        ids.add(question.id)
    return found


def inside(holder: Any, name: str, where: str, path: Any) -> Iterable[tuple[dict[str, Any], str]]:
    """Each thing in the list `name` of an object, and what to call its place: `data[0].paragraphs[3]`."""
    things = holder.get(name) if isinstance(holder, dict) else None
    if not isinstance(things, list):
        raise CourseError(f"{path}: {where or 'the file'} has no list {name!r}. Expected SQuAD's json.")
    for number, thing in enumerate(things):
        place = f"{where}.{name}[{number}]".lstrip(".")
        if not isinstance(thing, dict):
            raise CourseError(f"{path}: {place} is {type(thing).__name__}, should be an object.")
        yield thing, place


def text_in(holder: Mapping[str, Any], name: str, where: str, path: Any) -> str:
    """A text that has to be there."""
    text = holder.get(name)
    if not isinstance(text, str) or not text.strip():
        raise CourseError(f"{path}: {where} has no text {name!r}. Expected SQuAD's json.")
    return text


def question_of(question: dict[str, Any], context: str, title: str, split: str, where: str, path: Any) -> Question:
    """A question of the file, held against its passage."""
    name = str(question.get("id") or where)
    text = text_in(question, "question", where, path)
    answers: list[tuple[str, int]] = []
    listed = [] if question.get("is_impossible") else question.get("answers")
    if not isinstance(listed, list) or not (listed or question.get("is_impossible")):
        raise CourseError(f"{path}: question {name} has no answers. (Test sets without answers cannot be scored.)")
    for answer in listed:
        found, start = (answer.get(key) if isinstance(answer, dict) else None for key in ("text", "answer_start"))
        if not isinstance(found, str) or not found or type(start) is not int:
            raise CourseError(f"{path}: question {name}: an answer needs a text and a whole number answer_start.")
        there = context[start : start + len(found)] if start >= 0 else ""
        if there != found:
            raise CourseError(
                f"{path}: question {name}: its answer {found[:40]!r} is not at its offset {start}, there stands "
                f"{there[:40]!r}."
            )
        answers.append((found, start))
    return Question(name, text.strip(), context, tuple(dict.fromkeys(answers)), title, split)
