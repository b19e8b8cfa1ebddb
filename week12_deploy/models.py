"""What goes in and out over HTTP: typed, bounded, and described for whoever reads /docs."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from week12_deploy.problems import SPOKEN

LONGEST = 2_000
"""Characters of a question; week 11's bot refuses longer ones, too."""
MOST_TURNS = 20
Text = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST, pattern=SPOKEN)]


def whole(value: Any) -> Any:
    """5.0 as 5: to JSON they are one number. "5" and true stay what they are, and are refused."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Model(BaseModel):
    """What ours have in common: a member that is not known is refused, and docstrings become descriptions."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)


class Turn(Model):
    """A question of before, and what was answered."""

    question: Text
    answer: Annotated[str, StringConstraints(max_length=4 * LONGEST)]


class Question(Model):
    """A question to the documents."""

    question: Text
    """What is asked: up to 2,000 characters, a letter or a digit among them."""
    history: Annotated[list[Turn], Field(max_length=MOST_TURNS)] = []
    """The conversation so far, oldest first; the question may refer to it."""


class Search(Model):
    """A question of which the passages alone are wanted."""

    question: Text
    k: Annotated[int, Field(ge=1, le=50, strict=True), BeforeValidator(whole)] = 5
    """How many passages."""


class Passage(Model):
    """A piece of a document that was found."""

    document: str
    """The document's id."""
    name: str
    pages: list[int]
    """The pages that it stands on."""
    headings: list[str]
    text: str
    score: float
    """Comparable within one search only."""
    rank: int


class Citation(Model):
    """Words of a document that support a sentence of the answer. They stand there letter by letter."""

    number: int
    """As in the answer: [1]."""
    document: str
    name: str
    page: int
    quote: str


class Answer(Model):
    """What the bot says."""

    text: str
    """Sentences with the numbers of their sources, [1]; or that it is not in the document."""
    citations: list[Citation]
    refused: bool
    """True: the documents do not answer the question."""
    complete: bool
    """False: the language model broke off; `note` says why."""
    note: str
    question: str
    """What was searched for: the question, rewritten to stand alone."""
    passages: list[Passage]
    seconds: float


class Document(Model):
    """A document of the store."""

    id: str
    """The beginning of the sha256 of its bytes."""
    name: str
    bytes: int
    pages: int
    chunks: int
    status: Literal["ready", "indexing", "failed"]
    """indexing: it is stored and safe, and will be found soon. failed: `detail` says why it cannot be found."""
    detail: str = ""
    added: str
    """When it was stored, in UTC."""


class Documents(Model):
    """All documents, by name."""

    documents: list[Document]


class Found(Model):
    """The passages that were found, best first."""

    passages: list[Passage]


class Health(Model):
    """The process is alive."""

    status: Literal["alive"] = "alive"


class Ready(Model):
    """The bot can answer."""

    status: Literal["ready"] = "ready"
    documents: int
    chunks: int
    language_model: str
    embedder: str


class Token(Model):
    """A piece of the answer, as it comes."""

    text: str


class Wrong(Model):
    """A detail of what is wrong with a request."""

    where: str
    what: str


class ProblemDetails(BaseModel):
    """What is wrong (RFC 9457)."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    type: str
    title: str
    status: int
    detail: str
    """One line: what was wrong, and what to do."""
    instance: str = ""
    request_id: str = ""
    """To be told to whoever looks after the service: its log has the same."""
    errors: list[Wrong] = []


def passages_of(found: Iterable[Any]) -> list[Passage]:
    """Week 11's passages as ours."""
    return [
        Passage(
            document=p.chunk.document, name=p.chunk.name, pages=sorted({page for page, *_ in p.chunk.spans}),
            headings=list(p.chunk.headings), text=p.chunk.text, score=float(p.score), rank=p.rank,
        )
        for p in found
    ]  # fmt: skip


def answer_of(found: Any) -> Answer:
    """Week 11's answer as ours."""
    cited = [
        Citation(number=c.number, document=c.document, name=c.name, page=c.page, quote=c.quote) for c in found.citations
    ]
    return Answer(
        text=found.text, citations=cited, refused=found.refused, complete=found.complete, note=found.note,
        question=found.question, passages=passages_of(found.passages), seconds=round(found.seconds, 4),
    )  # fmt: skip
