"""A search over the snapshot without a network: words by BM25, meaning by MiniLM, both in one ranking, with dates.

    search = Search(snapshot.documents())
    search.find("population of France")      ->   [Result(title, text, date, source, score), …], best first
    tool(search)                             ->   what the agent calls: `search[population of France]`

Of passages that differ in their year alone the newest comes first: who asks for the exports of France means the latest
that are known. If the question names a year, those come first that have it.

References
    G. V. Cormack, C. L. A. Clarke, S. Büttcher, "Reciprocal rank fusion", SIGIR 2009
    N. Reimers, I. Gurevych, "Sentence-BERT", arXiv:1908.10084, section 3: a text's vector is the mean over its tokens
"""

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Float64
from pydantic import Field

from shared.assets import home
from shared.files import written_whole
from week15_agent import snapshot
from week15_agent.bm25 import BM25, words
from week15_agent.snapshot import Document
from week15_agent.tools import Arguments, Tool, ToolError

RRF = 60
LONGEST = 200
"""Characters of a query."""
RECENT = 512
"""Queries whose results are kept."""
Ways = Literal["hybrid", "bm25", "dense"]

YEAR = re.compile(r"\b(1\d{3}|20\d{2})\b")
SPAN = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?")


class Encoder:
    """MiniLM: a text as 384 numbers of length 1. The vectors of texts are kept under the course's home."""

    def __init__(self) -> None:
        from tokenizers import Tokenizer
        from transformers import AutoModel

        from shared import models
        from shared.chat_models import quiet

        folder = models.fetch("minilm")
        with quiet():
            self.network = AutoModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False).eval()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(128)
        self.tokenizer.enable_padding()

    def encode(self, texts: Sequence[str], batch: int = 32) -> Float32[np.ndarray, "texts 384"]:
        """A row for each text, in their order; those of about the same length share a batch."""
        import torch

        found = np.zeros((len(texts), 384), np.float32)
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            tokens = self.tokenizer.encode_batch([texts[row] for row in rows])
            ids, mask = (torch.tensor([getattr(one, name) for one in tokens]) for name in ("ids", "attention_mask"))
            with torch.inference_mode():
                hidden = self.network(input_ids=ids, attention_mask=mask).last_hidden_state  # (rows, tokens, 384)
            weight = mask[:, :, None].float()
            found[rows] = ((hidden * weight).sum(1) / weight.sum(1)).numpy()
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)

    def kept(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts 384"]:
        """The same, made once for the same texts: a file under the course's home, by the checksum of what they say."""
        digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
        path = home() / "week15" / f"vectors-{digest}.npy"
        if path.is_file():
            try:
                found = np.load(path, allow_pickle=False)
            except (OSError, ValueError, EOFError):
                found = np.zeros(0)
            if found.shape == (len(texts), 384):
                return found
        print(f"embedding {len(texts):,} passages, once", flush=True)
        found = self.encode(texts)
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as temporary, temporary.open("wb") as file:
            np.save(file, found, allow_pickle=False)
        return found


@dataclass(frozen=True)
class Result:
    """A passage that was found.

    Attributes:
        score: of the ranking it comes from: `Search.by_words`, a cosine, or the fusion's sum of 1 / (60 + rank).
    """

    title: str
    text: str
    date: str
    source: str
    score: float
    id: str = ""


def fused(rankings: Sequence[Sequence[int]], k: int = RRF) -> list[tuple[int, float]]:
    """Reciprocal rank fusion: (row, sum of 1 / (k + rank)), best first."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, row in enumerate(ranking, 1):
            scores[row] = scores.get(row, 0.0) + 1 / (k + rank)
    return sorted(scores.items(), key=lambda pair: -pair[1])


def newest_first(
    ranked: Sequence[tuple[int, float]],
    documents: Sequence[Document],
    query: str,
    shares: Float64[np.ndarray, " texts"],
) -> list[tuple[int, float]]:
    """The same ranking, but passages whose titles differ in the year alone share their places anew: first those that
    have a year of the query, then those that have more of its words, then the newest."""
    years = set(YEAR.findall(query))

    def order(row: int) -> tuple[bool, float, str]:
        one = documents[row]
        return bool(years & set(YEAR.findall(f"{one.title} {one.text}"))), float(shares[row]), one.date

    places: dict[str, list[int]] = {}
    for place, (row, _) in enumerate(ranked):
        places.setdefault(series(documents[row].title), []).append(place)
    found = list(ranked)
    for held in places.values():
        rows = sorted((ranked[place][0] for place in held), key=order, reverse=True)
        for place, row in zip(held, rows, strict=True):
            found[place] = (row, ranked[place][1])
    return found


def series(title: str) -> str:
    """A title without its year."""
    return re.sub(r" in \d{4}$", "", title)


class Search:
    """Finds passages. It may be asked by several threads at once.

    Args:
        documents: what is searched.
        way: `bm25` by words, `dense` by meaning, `hybrid` by both.
        depth: how many of each ranking are looked at.
    """

    def __init__(self, documents: Sequence[Document], way: Ways = "bm25", depth: int = 30) -> None:
        self.documents, self.way, self.depth = tuple(documents), way, depth
        self.texts = [f"{one.title}. {one.text}" for one in self.documents]
        names = sorted({one.subject for one in self.documents})
        self.subjects = [frozenset(words(name)) for name in names]
        place = {name: number for number, name in enumerate(names)}
        self.subject_of = np.array([place[one.subject] for one in self.documents], np.int64)
        self.kept: OrderedDict[tuple[str, str, str, int], list[Result]] = OrderedDict()
        self.lock = threading.Lock()

    @cached_property
    def bm25(self) -> BM25:
        return BM25([words(text) for text in self.texts])

    @cached_property
    def encoder(self) -> Encoder:
        return Encoder()

    @cached_property
    def vectors(self) -> Float32[np.ndarray, "texts dim"]:
        return self.encoder.kept(self.texts)

    def ready(self) -> "Search":
        """Makes what a search needs, now: a tool has but a few seconds."""
        _ = self.bm25, (self.vectors if self.way != "bm25" else None)
        return self

    def find(self, query: str, since: str = "", until: str = "", k: int = 3) -> list[Result]:
        """The best `k` passages for a question, best first; none where no word of it is known.

        Args:
            since, until: only passages of these dates (year, year-month or year-month-day), both included.
        """
        key = (" ".join(query.split()).lower(), since, until, k)
        with self.lock:
            if key not in self.kept:
                self.kept[key] = self.fresh(query, since, until, k)
                while len(self.kept) > RECENT:
                    self.kept.popitem(last=False)
            self.kept.move_to_end(key)
            return list(self.kept[key])

    def fresh(self, query: str, since: str, until: str, k: int) -> list[Result]:
        """The same without looking at what was asked before."""
        allowed = np.ones(len(self.documents), bool)
        if since or until:
            allowed[:] = [within(one.date, since, until) for one in self.documents]
        rankings = []
        if self.way != "dense":
            rankings.append(best(allowed * self.by_words(words(query)), self.depth))
        if self.way != "bm25":
            cosines = self.vectors @ self.encoder.encode([query])[0]
            rankings.append(best(allowed * cosines, self.depth))
        ranked = rankings[0] if len(rankings) == 1 else fused([[row for row, _ in ranking] for ranking in rankings])
        ranked = newest_first(ranked, self.documents, query, self.bm25.shares(words(query)))
        found = [(self.documents[row], score) for row, score in ranked[:k]]
        return [Result(one.title, one.text, one.date, one.source, float(score), one.id) for one, score in found]

    def by_words(self, asked: Sequence[str]) -> Float64[np.ndarray, " texts"]:
        """BM25's score, times the share of the question's words that a passage has (Lucene's old `coord`): these
        passages are short and repeat their subject's name, and one that has all words shall beat one that has a word
        often. And half of it goes where the subject is not the one asked for: South Sudan is not Sudan."""
        once = set(asked)
        same = np.array([len(subject & once) / max(len(subject), 1) for subject in self.subjects])[self.subject_of]
        return self.bm25.scores(asked) * self.bm25.shares(asked) * (1 + same) / 2


def best(scores: Float[np.ndarray, " texts"], depth: int) -> list[tuple[int, float]]:
    """(row, score) of the highest scores above 0, best first; of equal ones the first."""
    order = np.argsort(-scores, kind="stable")[:depth]
    return [(int(row), float(scores[row])) for row in order if scores[row] > 0]


def within(date: str, since: str, until: str) -> bool:
    """Whether a date lies in a span. A year that is part of the span's end lies in it: 2024-05 until 2024."""
    return (not since or date[: len(since)] >= since[: len(date)]) and (not until or date[: len(until)] <= until)


class Query(Arguments):
    """What the agent may ask the search."""

    query: str = Field(min_length=1, max_length=LONGEST, description="what to look for, in a few words")
    since: str = Field("", description="only from this date on: 2024, 2024-05 or 2024-05-31")
    until: str = Field("", description="only up to this date")


def observation(results: Sequence[Result], query: str) -> str:
    """What the agent reads of the results: the passages, each with its date and its source."""
    if not results:
        return f"nothing found for {query!r}"
    return " ".join(f"{one.text} ({', '.join(filter(None, (one.source, one.date)))})" for one in results)


def tool(search: Search | None = None, k: int = 1) -> Tool:
    """The search as the agent's tool. `search`: by words and meaning over the snapshot, unless told otherwise.
    `k`: passages that it shows; each costs a small model some eighty tokens to read."""
    found = search or Search(snapshot.documents(), "hybrid").ready()

    def run(query: str, since: str = "", until: str = "") -> str:
        for name, date in (("since", since), ("until", until)):
            if date and not SPAN.fullmatch(date):
                raise ToolError(f"{name} {date[:40]!r} is no date. Write it like 2024, 2024-05 or 2024-05-31.")
        return observation(found.find(query, since, until, k), query)

    about = f"finds facts about states, elements, releases and the climate, as of {snapshot.long_date(snapshot.DATE)}"
    return Tool("search", about, Query, run)
