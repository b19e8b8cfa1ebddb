"""How good retrieval, answers, citations and refusals are: counted, without a model that judges.

A chunk is *relevant* to a question where one of the question's evidence quotes stands in it, word for word; how many
spaces or line breaks are between the words is of no matter. So a quote that a splitter has cut in two is in no chunk,
and its question cannot be hit: that is the splitter's fault, and it counts.

References
    E. M. Voorhees, "The TREC-8 question answering track report", 1999: mean reciprocal rank
    P. Rajpurkar et al., arXiv:1606.05250: exact match and F1 (shared/answer_scores.py)
    P. Rajpurkar, R. Jia, P. Liang, arXiv:1806.03822: questions that the text does not answer
    N. F. Liu, T. Zhang, P. Liang, arXiv:2304.09848: citation precision; here a quote stands for their judge
"""

import re
from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Shaped

from shared import answer_scores
from week11_rag.chunks import Chunk
from week11_rag.cite import Citation
from week11_rag.data import Question

Id = TypeVar("Id", bound=Hashable)
RESAMPLED = 2000  # times that the questions are drawn anew for an interval
MARKER = re.compile(r"\s*\[\d+(?:\s*,\s*\d+)*\]")  # of a citation, in an answer


# ---------------------------------------------------------------- retrieval


def hit_at_k(found: Sequence[Sequence[Id]], relevant: Sequence[Collection[Id]], k: int) -> float:
    """The share of the questions that have at least one relevant passage among the first k that were found.

    Args:
        found: for each question the ids of passages, best first.
        relevant: for each question the ids of those that answer it, in any order; there may be none.
        k: how many are looked at.

    Returns:
        From 0 to 1; 0 of no questions.
    """
    # exercise 4: hit@k and MRR, the hits
    # found: for each question a list of ids, best first; relevant: for each question the ids that answer it, one,
    # several or none; k -> a float, the share of all questions with at least one relevant id among their first k.
    # Whether a question has one there or three, it is one hit. A question without relevant ids, or for which nothing
    # was found, is no hit, and counts like any other. Of no questions it is 0.0.
    # hint: any(one in right for one in ids[:k]) for each question; their sum over the number of questions.
    hits = [any(one in right for one in ids[:k]) for ids, right in zip(found, relevant, strict=True)]
    return sum(hits) / max(1, len(hits))
    # end of exercise 4


def mean_reciprocal_rank(found: Sequence[Sequence[Id]], relevant: Sequence[Collection[Id]]) -> float:
    """The mean over the questions of 1 / (rank of the first relevant passage), the first rank being 1; 0 where none is.

    Args:
        found: for each question the ids of passages, best first. What is cut off here, cannot be found.
        relevant: for each question the ids of those that answer it.
    """
    # exercise 4: hit@k and MRR, the ranks
    # found and relevant as above -> a float: the mean over all questions of 1 / rank of the *first* relevant id, the
    # first rank being 1. A question without a relevant id among those found counts 0. Of no questions it is 0.0.
    # hint: for each question the ranks of all relevant ids, of which min; next(..., 0.0) of a generator does both.
    # The mean is taken over 1 / rank, not over ranks.
    total = 0.0
    for ids, right in zip(found, relevant, strict=True):
        total += next((1 / rank for rank, one in enumerate(ids, 1) if one in right), 0.0)
    return total / max(1, len(found))
    # end of exercise 4


def complete_at_k(held: Sequence[Sequence[Collection[int]]], needed: Sequence[int], k: int) -> float:
    """The share of the questions of which *all* evidence is among the first k passages: asked where an answer is put
    together from two pages.

    Args:
        held: for each question, for each passage found, the numbers of the quotes that stand in it.
        needed: for each question how many quotes there are.
        k: how many passages are looked at.
    """
    whole = [len(set().union(*quotes[:k])) == count for quotes, count in zip(held, needed, strict=True)]
    return sum(whole) / max(1, len(whole))


def plain(text: str) -> str:
    """The text with one space wherever there is any."""
    return " ".join(text.split())


def quotes_in(text: str, question: Question) -> frozenset[int]:
    """The numbers of a question's quotes that stand in a text."""
    text = plain(text)
    return frozenset(at for at, (_, quote) in enumerate(question.evidence) if plain(quote) in text)


def relevant(questions: Iterable[Question], chunks: Sequence[Chunk]) -> list[set[str]]:
    """For each question the ids of the chunks with one of its quotes in them; only of the question's own document,
    where it names one."""
    texts = [(chunk, plain(chunk.text)) for chunk in chunks]
    found = []
    for question in questions:
        quotes = [plain(quote) for _, quote in question.evidence]
        found.append({chunk.id for chunk, text in texts
                      if question.name in ("", chunk.name) and any(quote in text for quote in quotes)})  # fmt: skip
    return found


# ---------------------------------------------------------------- answers, citations, refusals


def answers(said: Sequence[str], questions: Sequence[Question]) -> dict[str, float]:
    """{exact, f1, holds}: means over the questions that have an answer. A refusal has none of its words: it counts 0.

    `holds` is the share whose answer has a right one in it, word for word: a sentence is never an exact match.
    """
    pairs = [(MARKER.sub("", text), one.answers) for text, one in zip(said, questions, strict=True) if one.answerable]
    measured = {"exact": answer_scores.exact, "f1": answer_scores.f1, "holds": answer_scores.holds}
    return {name: sum(score(*pair) for pair in pairs) / max(1, len(pairs)) for name, score in measured.items()}


def overlaps(ours: str, theirs: str) -> bool:
    """Whether two quotes of a page are about the same: at least half of the shorter one is a part of the other."""
    one, other = (plain(text).casefold().split(" ") for text in (ours, theirs))
    short, long = sorted((one, other), key=len)
    size = (len(short) + 1) // 2
    runs_of = {tuple(long[start : start + size]) for start in range(len(long) - size + 1)}
    return short != [""] and any(tuple(short[at : at + size]) in runs_of for at in range(len(short) - size + 1))


def is_right(citation: Citation, question: Question) -> bool:
    """Whether a citation shows where the answer stands: on the page of an evidence quote, and overlapping it."""
    pieces = citation.pieces or ((citation.page, citation.quote),)
    return question.name in ("", citation.name) and any(
        page == theirs and overlaps(words, quote) for page, words in pieces for theirs, quote in question.evidence
    )


def citation_precision(cited: Sequence[Sequence[Citation]], questions: Sequence[Question]) -> float:
    """The share of all citations shown that are right; 0 of none. To a question without an answer none is right."""
    right = [is_right(one, question) for shown, question in zip(cited, questions, strict=True) for one in shown]
    return sum(right) / max(1, len(right))


def refusals(refused: Bool[np.ndarray, " n"], answerable: Bool[np.ndarray, " n"]) -> dict[str, float]:
    """{precision, recall, f1} of refusing, where "refused" is the positive class and a question without an answer is
    what should be refused. Of nothing, each is 0."""
    right = int((refused & ~answerable).sum())
    precision, recall = right / max(1, int(refused.sum())), right / max(1, int((~answerable).sum()))
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


def interval(values: Shaped[np.ndarray, " n"], seed: int = 0) -> tuple[float, float]:
    """Where the mean over questions lies in 95 of 100 draws of the questions, with replacement (the bootstrap)."""
    draws = np.random.default_rng(seed).integers(0, len(values), (RESAMPLED, len(values)))
    low, high = np.quantile(values.astype(float)[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
