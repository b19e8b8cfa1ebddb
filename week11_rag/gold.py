"""A gold set and what is made of it: questions are searched and asked, and what comes out is counted, in tables.

Which chunk is a hit, measures.py says: one in which an evidence quote stands, word for word, but for spaces.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.progress import bar
from shared.results import markdown
from shared.terminal import printable
from week11_rag import measures
from week11_rag.answer import Answer, Bot
from week11_rag.chunks import Chunk
from week11_rag.data import Question
from week11_rag.retrieve import Passage, Retriever

DEEP = 10  # how far down the first right passage is looked for
NO_RETRIEVAL, ALWAYS = "no retrieval", "always refuse"
KINDS = ("plain", "list", "table", "multi", "paraphrase")


@dataclass(frozen=True)
class Searched:
    """What a retriever found for questions that have an answer.

    Attributes:
        questions: these.
        found: for each, the passages, best first.
        right: for each, the ids of all chunks of the index that answer it.
        seconds: of the whole search.
    """

    questions: Sequence[Question]
    found: Sequence[Sequence[Passage]]
    right: Sequence[set[str]]
    seconds: float = 0.0

    @property
    def ids(self) -> list[list[str]]:
        return [[passage.chunk.id for passage in passages] for passages in self.found]

    @property
    def kinds(self) -> list[str]:
        """The kinds of questions that there are, the easiest first as far as they are known."""
        names = {question.kind for question in self.questions}
        return [*(kind for kind in KINDS if kind in names), *sorted(names - {*KINDS})]

    def ranks(self) -> list[int]:
        """Of each question the rank of the first right passage, from 1; 0 where none was found."""
        return [next((rank for rank, one in enumerate(ids, 1) if one in right), 0)
                for ids, right in zip(self.ids, self.right, strict=True)]  # fmt: skip

    def scores(self) -> dict[str, float]:
        """{hit_at_1, hit_at_5, hit_at_10, mrr, both_at_5}; the last over those of kind multi, of which two quotes are
        needed, where there are any."""
        found = {f"hit_at_{k}": measures.hit_at_k(self.ids, self.right, k) for k in (1, 5, 10)}
        found["mrr"] = measures.mean_reciprocal_rank(self.ids, self.right)
        several = [row for row, question in enumerate(self.questions) if question.kind == "multi"]
        if several:
            held = [[measures.quotes_in(p.chunk.text, self.questions[row]) for p in self.found[row]] for row in several]
            needed = [len(self.questions[row].evidence) for row in several]
            found["both_at_5"] = measures.complete_at_k(held, needed, 5)
        return found

    def by_kind(self, score: str) -> dict[str, float]:
        """A score of each kind of question that there is."""
        return {name: self.of_kind(name).scores()[score] for name in self.kinds}

    def of_kind(self, kind: str) -> "Searched":
        rows = [row for row, question in enumerate(self.questions) if question.kind == kind]
        return Searched(*([part[row] for row in rows] for part in (self.questions, self.found, self.right)))


def searched(retriever: Retriever, questions: Sequence[Question], chunks: Sequence[Chunk]) -> Searched:
    """Searches for those questions that have an answer."""
    import time

    asked = [question for question in questions if question.answerable]
    right, began = measures.relevant(asked, chunks), time.perf_counter()
    found = [retriever.search(question.text, DEEP) for question in asked]
    return Searched(asked, found, right, time.perf_counter() - began)


def asked(bot: Bot, questions: Sequence[Question]) -> list[Answer]:
    """The bot's answers, each to a question alone."""
    found = []
    with bar(len(questions), label="asking") as progress:
        for question in questions:
            found.append(bot.ask(question.text))
            progress.update()
    return found


def answer_scores(answers: Sequence[Answer], questions: Sequence[Question]) -> dict[str, float]:
    """{answer_exact, answer_f1, answer_holds, citation_precision, refusal_precision, refusal_recall, refusal_f1}."""
    refused = np.array([answer.refused for answer in answers], dtype=bool)
    answerable = np.array([question.answerable for question in questions], dtype=bool)
    said = ["" if answer.refused else answer.text for answer in answers]
    found = {f"answer_{name}": value for name, value in measures.answers(said, questions).items()}
    found["citation_precision"] = measures.citation_precision([answer.citations for answer in answers], questions)
    return found | {f"refusal_{name}": value for name, value in measures.refusals(refused, answerable).items()}


# ---------------------------------------------------------------- tables


COLUMNS = ("hit_at_1", "hit_at_5", "hit_at_10", "mrr")


def columns(first: str) -> list[str]:
    return [first, "hit@1", "hit@5", "hit@10", "MRR"]


def line(name: str, scores: Mapping[str, float]) -> list[str]:
    return [name, *(f"{scores[column]:.3f}" if column in scores else "" for column in COLUMNS)]


def methods(by_name: Mapping[str, Searched]) -> list[list[str]]:
    """A row a method; the last one is what one has without any."""
    rows = [line(name, one.scores()) for name, one in by_name.items()]
    return [*rows, line(NO_RETRIEVAL, dict.fromkeys(COLUMNS, 0.0))]


def kinds(one: Searched) -> list[list[Any]]:
    """A row a kind of question, with how many there are."""
    return [[*line(name, (part := one.of_kind(name)).scores()), len(part.questions)] for name in one.kinds]


def printed(rows: Sequence[Sequence[object]]) -> str:
    """Rows as text in columns, the first one to the left."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in texts) for column in range(len(texts[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in texts
    )


def as_markdown(rows: Sequence[Sequence[object]]) -> str:
    return markdown([str(cell) for cell in rows[0]], [list(row) for row in rows[1:]])


def why(retriever: Retriever, question: str, k: int = 10) -> str:
    """For each passage its rank by each search, fused and re-scored; `-` where it is not among those candidates."""
    rows = [["", "dense", "sentence", "bm25", "fused", "rescored", "cosine", "page", "passage"]]
    for passage in retriever.search(question, k):
        ranks = [passage.why.get(name) for name in ("dense", "sentence", "bm25", "fused", "rescored")]
        cosine, chunk = passage.why.get("cosine"), passage.chunk
        begins = " ".join(printable(f"{' > '.join(chunk.headings[-1:])}: {chunk.text}").split())
        rows.append([f"{passage.rank}", *("-" if rank is None else f"{rank}" for rank in ranks),
                     "" if cosine is None else f"{cosine:.2f}", f"{chunk.pages[0]}", begins[:60]])  # fmt: skip
    width = [max(len(row[column]) for row in rows) for column in range(8)]
    return "\n".join(
        "  ".join([*(cell.rjust(w) for cell, w in zip(row[:8], width, strict=True)), row[8]]) for row in rows
    )


def wrong(answers: Sequence[Answer], questions: Sequence[Question], most: int) -> list[str]:
    """The first answers that are not right, good to read: what was asked, what was said, what is right."""
    found = []
    for answer, question in zip(answers, questions, strict=True):
        right = answer.refused or measures.answers([answer.text], [question])["holds"]
        if right and answer.refused != question.answerable:
            continue
        said = answer.text if not answer.refused else f"{answer.text} ({answer.note})"
        truth = question.answers[0] if question.answerable else "that it is not in the document"
        lines = (f"{question.id} {question.text}", f"  said:  {said}", f"  right: {truth}")
        found.append("\n".join(map(printable, lines)))
    return found[:most]


def answer_rows(
    scores: Mapping[str, float], answers: Sequence[Answer], questions: Sequence[Question], lm: str
) -> list[list[str]]:
    """What the bot's answers are worth, beside one that always refuses, and one that never does."""
    answerable = np.array([question.answerable for question in questions], dtype=bool)
    names = {"answer_exact": "exact", "answer_f1": "F1", "answer_holds": "right one in it",
             "citation_precision": "citations right", "refusal_precision": "refusals right",
             "refusal_recall": "refused of those to refuse", "refusal_f1": "refusal F1"}  # fmt: skip
    rows = [["answers", *names.values(), "seconds a question"]]
    rows.append([lm, *(f"{scores[name]:.1%}" for name in names), f"{np.mean([one.seconds for one in answers]):.2f}"])
    for name, refused in ((ALWAYS, np.ones_like(answerable)), ("never refuse", np.zeros_like(answerable))):
        found = measures.refusals(refused, answerable)
        rows.append([name, *[""] * 4, *(f"{found[key]:.1%}" for key in ("precision", "recall", "f1")), ""])
    return rows
