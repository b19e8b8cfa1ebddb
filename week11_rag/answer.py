"""The bot: question → rewritten with the history → passages → support → prompt → language model → checked citations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from week11_rag.cite import Citation
from week11_rag.index import Stored
from week11_rag.retrieve import Passage
from week11_rag.support import Verdict

Turn = tuple[str, str]
"""A question of before, and what was answered (its text)."""
REFUSAL = "This is not in the document."
LONGEST = 2_000
"""Characters of a question; longer ones are refused."""


@dataclass(frozen=True)
class Answer:
    """What the bot says.

    Attributes:
        text: claims with their markers [1], or REFUSAL.
        citations: by number; each quote stands in the document, word for word.
        refused: whether the document does not answer the question.
        passages: what was found.
        question: what was searched for: the question, rewritten to stand alone.
        seconds: it took.
        support: how the support was judged.
        complete: False where the language model broke off; `note` then says why, in one line.
        note: why it was refused, or broke off.
        dropped: what the model said and nothing supports; not shown.
    """

    text: str
    citations: tuple[Citation, ...]
    refused: bool
    passages: tuple[Passage, ...]
    question: str
    seconds: float
    support: Verdict | None = None
    complete: bool = True
    note: str = ""
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Event:
    """What `stream` yields: once the passages; then text as it is checked, a sentence at a time (`token`); at the end the
    answer."""

    kind: Literal["passages", "token", "answer"]
    text: str = ""
    passages: tuple[Passage, ...] = ()
    answer: Answer | None = None


class Bot:
    """Answers from documents. One bot may be asked by several threads at once."""

    @classmethod
    def open(cls, run: str | Path = "", lm: str = "smollm2", device: str = "auto", **retrieval: Any) -> "Bot":
        """The bot of a run of train.

        Args:
            run: the run's folder (default: the week's newest).
            lm: smollm2, extractive, a folder or a name of the hub, or the address of an OpenAI-compatible service.
            device: where the models compute.
            retrieval: k, how, rescore, mmr: as Retriever has them.

        Raises:
            CourseError: there is no such run, or no such model.
        """
        raise NotImplementedError

    def documents(self) -> list[Stored]:
        """What it knows."""
        raise NotImplementedError

    def add(self, path: str | Path, name: str | None = None) -> Stored:
        """Reads a PDF and adds it; one of the same name is replaced, the same one is left alone.

        Raises:
            CourseError: as pdf.read.
        """
        raise NotImplementedError

    def remove(self, document_id: str) -> bool:
        """Takes a document out; says whether it was there."""
        raise NotImplementedError

    def file(self, document_id: str) -> Path:
        """The PDF of a document, for its pages' pictures.

        Raises:
            CourseError: it is not there any more.
        """
        raise NotImplementedError

    def retrieve(self, question: str, k: int = 5) -> list[Passage]:
        """The best passages for a question."""
        raise NotImplementedError

    def ask(self, question: str, history: Sequence[Turn] = ()) -> Answer:
        """The answer.

        Raises:
            CourseError: the question is empty or too long; or the language model cannot be reached.
        """
        raise NotImplementedError

    def stream(self, question: str, history: Sequence[Turn] = ()) -> Iterator[Event]:
        """The answer as it comes.

        Raises:
            CourseError: as ask.
        """
        raise NotImplementedError
