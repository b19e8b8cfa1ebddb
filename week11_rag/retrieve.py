"""Questions to passages: by meaning, by words, or both, re-scored and varied if wanted; with the reasons for each rank."""

from dataclasses import dataclass, field
from typing import Literal

from week11_rag.chunks import Chunk
from week11_rag.embed import Embedder
from week11_rag.index import Index

How = Literal["hybrid", "dense", "bm25"]


@dataclass(frozen=True)
class Passage:
    """A chunk that was found.

    Attributes:
        chunk: it.
        score: what it was ranked by; comparable within one search only.
        rank: from 1.
        why: its rank by `dense`, `bm25`, `fused` and `rescored` (None where it is not among them), and, for what is made
            of them: `cosine`, `bm25_score` and `rescored_score`.
    """

    chunk: Chunk
    score: float
    rank: int
    why: dict[str, float | int | None] = field(default_factory=dict)


class Retriever:
    """Finds the passages that belong to a question.

    Args:
        index: where to look.
        embedder: the one that the index was made with.
        how: dense (nearest vectors), bm25 (words in common, rare ones most) or hybrid (both, their ranks fused).
        rescore: none; late (each word of the question looks for its nearest one in the passage); cross:MODEL (a
            cross-encoder from a folder or the hub reads both together).
        mmr: 0: none; else how much passages are to differ from each other, up to below 1.
    """

    def __init__(
        self, index: Index, embedder: Embedder, how: How = "hybrid", rescore: str = "none", mmr: float = 0.0
    ) -> None:
        raise NotImplementedError

    def search(self, question: str, k: int = 5) -> list[Passage]:
        """The k best passages, best first; fewer where there are not so many."""
        raise NotImplementedError
