"""Reports made, read and asked: what the agent gets right, what it refuses, and what a reader of text alone gets.

scored = examined(range(10), "val", folder, embedder, reader)
table(scored, "kind")
"""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared.files import written_whole
from shared.progress import bar
from week16_capstone import questions, reports
from week16_capstone.agent import Agent
from week16_capstone.index import Index
from week16_capstone.ingest import ingest
from week16_capstone.questions import CHARTS, Question
from week16_capstone.store import Shelf
from week16_capstone.summarise import SIGNED
from week16_capstone.understand import mentions, wanted

OURS, BASELINE = "with charts", "text only"


@dataclass(frozen=True)
class Scored:
    """A question, and what became of it: by the agent, and by the same without charts.

    Attributes:
        report: the seed of the report.
        right, refused, text: of each.
        page: whether the cited page is the plate's.
        confidence: the agent's.
        seconds: the agent's.
    """

    question: Question
    report: int
    right: dict[str, bool]
    refused: dict[str, bool]
    text: dict[str, str]
    page: bool
    confidence: float
    seconds: float

    @property
    def is_chart(self) -> bool:
        return self.question.kind in CHARTS


@dataclass(frozen=True)
class Reading:
    """How a report was read: its pages, and the seconds that took."""

    pages: int
    seconds: float


def examined(
    seeds: Iterable[int], part: reports.Part, folder: Path, embedder: Any, reader: Any = None, each: int = 3
) -> tuple[list[Scored], list[Reading]]:  # fmt: skip
    """Makes reports, reads them, and asks what can be asked of them."""
    shelf, scored, readings = Shelf(folder / "shelf"), [], []
    seeds = list(seeds)
    with bar(len(seeds), label="reports") as progress:
        for seed in seeds:
            made = reports.make(seed, part)
            path = folder / f"{part}-{seed:03}.pdf"
            with written_whole(path) as temporary:
                temporary.write_bytes(made.content)
            began = time.perf_counter()
            report = ingest(path, shelf, reader)
            agent = Agent(Index(shelf, [report.document.id], embedder))
            readings.append(Reading(len(report.document.pages), time.perf_counter() - began))
            plain = Index(shelf, [report.document.id], embedder, charts=False)
            asked = questions.ask(made, np.random.default_rng([seed, 3]), each)
            for question in asked:
                scored.append(one(question, seed, agent, TextOnly(plain), made))
            progress.update()
    return scored, readings


def one(question: Question, seed: int, agent: Agent, baseline: "TextOnly", made: reports.Made) -> Scored:
    """A question to both."""
    ours, theirs = agent.ask(question.text), baseline.ask(question)
    plate = made.plates[question.plate] if question.plate >= 0 else None
    page = bool(plate and ours.sources and ours.sources[0].page == plate.page)
    return Scored(
        question, seed,
        {OURS: questions.right(question, ours.refused, ours.number, ours.names, ours.text), BASELINE: theirs[0]},
        {OURS: ours.refused, BASELINE: theirs[1]}, {OURS: ours.text, BASELINE: theirs[2]}, page, ours.confidence,
        ours.seconds,
    )  # fmt: skip


class TextOnly:
    """The baseline: the same search over the same text, with the words of figures in it as a text reader finds them.

    It answers with the sentence that is the nearest to the question. A number is taken from it that the question does
    not have: the one behind the name that is asked about, if it stands there, else the first. So it may guess where
    ours refuses, and is given the benefit of that.
    """

    def __init__(self, index: Index) -> None:
        self.agent = Agent(index)

    def ask(self, question: Question) -> tuple[bool, bool, str]:
        """(right, refused, text)."""
        said = self.agent.ask(question.text)
        text = said.text
        if said.refused and question.answerable:
            passages = self.agent.index.text(question.text, 3)
            ranked = self.agent.reader.reader.rank(question.text, passages)
            text = ranked[0].text if ranked else ""
        number, names = self.picked(question, text)
        refused = said.refused if not question.answerable else not text
        return questions.right(question, refused, number, names, text), said.refused, text

    def picked(self, question: Question, text: str) -> tuple[float | None, tuple[str, ...]]:
        """A number and a name of a sentence, as the answer to a question."""
        asked = {match[0] for match in SIGNED.finditer(question.text)}
        found = [(match.start(), match[0]) for match in SIGNED.finditer(re.sub(r"\[\d+\]", "", text))]
        found = [(at, one) for at, one in found if one not in asked and not re.fullmatch(r"(?:19|20)\d\d", one)]
        names = tuple(mentions(text, question.names))
        others = wanted(question.text).words
        after = [text.lower().find(word) for word in [*asked, *others] if word in text.lower()]
        behind = [one for at, one in found if after and at > max(after)]
        number = (behind or [one for _, one in found] or [None])[0]
        said = float(number.replace(",", "").replace("−", "-").rstrip(".")) if number else None
        # Every name of the figure stands in its words: one is an answer only where it stands alone.
        return said, names if len(found) <= 1 else ()


# ---------------------------------------------------------------- tables


def share(rows: Sequence[Scored], who: str, what: Callable[[Scored, str], bool]) -> float:
    return float(np.mean([what(row, who) for row in rows])) if rows else 0.0


def is_right(row: Scored, who: str) -> bool:
    return row.right[who]


def is_refused(row: Scored, who: str) -> bool:
    return row.refused[who] and not row.right[who]


def is_wrong(row: Scored, who: str) -> bool:
    """Said, and not so: worse than a refusal."""
    return not row.right[who] and not row.refused[who]


COLUMNS = ["", "questions", "right", "refused", "wrong", f"{BASELINE}: right"]


def rows_by(scored: Sequence[Scored], key: Callable[[Scored], str]) -> list[list[str]]:
    """A row of COLUMNS for each value of `key`, in the order in which they come; "" is left out."""
    groups: dict[str, list[Scored]] = {}
    for one in scored:
        if name := key(one):
            groups.setdefault(name, []).append(one)
    return [[name, str(len(rows)), *(f"{share(rows, OURS, what):.1%}" for what in (is_right, is_refused, is_wrong)),
             f"{share(rows, BASELINE, is_right):.1%}"] for name, rows in groups.items()]  # fmt: skip


def tables(scored: Sequence[Scored]) -> dict[str, list[list[str]]]:
    """By kind of question; and of those that only a chart answers, by how it is drawn."""
    order = sorted(scored, key=lambda row: questions.KINDS.index(row.question.kind))
    charts = [row for row in order if row.is_chart]

    def drawn(row: Scored) -> str:
        return f"{row.question.source}, {'values printed' if row.question.printed else 'nothing printed'}"

    return {
        "kinds": [COLUMNS, *rows_by(charts, lambda _: "all chart questions"),
                  *rows_by(order, lambda one: one.question.kind)],
        "drawn": [COLUMNS, *sorted(rows_by(charts, drawn))],
    }  # fmt: skip


def scores(scored: Sequence[Scored]) -> dict[str, float]:
    """The numbers of a result."""
    charts = [row for row in scored if row.is_chart]
    never = [row for row in scored if row.question.kind in ("unanswerable", "refused")]
    return {
        "qa_right": share(charts, OURS, is_right), "qa_wrong": share(charts, OURS, is_wrong),
        "qa_text_only": share(charts, BASELINE, is_right), "qa_refusals_right": share(never, OURS, is_right),
        "qa_page": float(np.mean([row.page for row in charts if row.right[OURS]] or [0.0])),
        "qa_seconds": float(np.median([row.seconds for row in scored] or [0.0])),
    }  # fmt: skip
