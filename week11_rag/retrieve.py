"""Questions to passages: by meaning, by words, or both; re-scored and varied if wanted; with the reasons for each rank.

References
    O. Khattab, M. Zaharia, "ColBERT", arXiv:2004.12832, section 3.3: the sum over the question's tokens of the largest
        cosine with a token of the passage, here over MiniLM's tokens, which were not trained for it
    R. Nogueira, K. Cho, "Passage re-ranking with BERT", arXiv:1901.04085: a network that reads both together
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from threading import RLock
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from shared.errors import CourseError
from week11_rag.chunks import Chunk
from week11_rag.embed import Encoder
from week11_rag.fuse import mmr, reciprocal_rank_fusion
from week11_rag.sentences import Sentences
from week11_rag.store import Index
from week11_rag.words import Words

How = Literal["hybrid", "dense", "bm25"]
POOL = 50  # candidates of each search before they are fused
RESCORED = 20  # of the best candidates
KEPT = 1_000  # chunks whose tokens' vectors are kept for the next question: some 130 KB each
FUSED = 10  # k of reciprocal rank fusion; 60, the paper's, found less on val (README)


@dataclass(frozen=True)
class Passage:
    """A chunk that was found.

    Attributes:
        chunk: it.
        score: what it was ranked by; comparable within one search only.
        rank: from 1.
        why: its ranks by `dense`, `sentence`, `bm25`, `fused` and `rescored`, None where it is not among those
            candidates; `cosine` of it and the question, `sentence_cosine`, `bm25_score` and `rescored_score`.
    """

    chunk: Chunk
    score: float
    rank: int
    why: dict[str, float | int | None] = field(default_factory=dict)


def check_rescore(name: str) -> None:
    """Raises CourseError where no second look is called that."""
    if name not in ("none", "late") and not name.startswith("cross:"):
        raise CourseError(f"--rescore {name}: must be none, late or cross:MODEL.")


class Retriever:
    """Finds the passages that belong to a question. Several threads may ask at once.

    Args:
        index: where to look.
        embedder: the one that the index was made with.
        how: dense (nearest vectors), bm25 (words in common, rare ones most) or hybrid (both, and sentences where there
            are some, their ranks fused).
        rescore: none; late (each token of the question looks for its nearest one in the passage); cross:MODEL (a
            cross-encoder from a folder or the hub reads both together).
        mmr: 0: none; else, up to below 1, how much passages are to differ from each other.
        sentences: the vectors of all chunks' sentences; None: hybrid does without.

    Raises:
        CourseError: the embedder is another one than the index was made with, or `rescore` is not known.
    """

    def __init__(
        self, index: Index, embedder: Encoder, how: How = "hybrid", rescore: str = "none", mmr: float = 0.0,
        sentences: Sentences | None = None,
    ) -> None:  # fmt: skip
        made = index.settings
        if (made.embedder, made.dimension) != (embedder.name, embedder.dimension):
            raise CourseError(
                f"the index was made with --embedder {made.embedder} ({made.dimension} numbers), and cannot be "
                f"searched with {embedder.name} ({embedder.dimension}): give that one, or make a new index."
            )
        check_rescore(rescore)
        self.index, self.embedder, self.how, self.rescore, self.mmr = index, embedder, how, rescore, mmr
        self.sentences = sentences
        self._lock, self._seen, self._words = RLock(), None, (Words([]), [])
        self._tokens: dict[str, Any] = {}

    def search(self, question: str, k: int = 5) -> list[Passage]:
        """The k best passages, best first; fewer where there are not so many."""
        vector = self.embedder.encode([question])[0]
        chunks: dict[str, Chunk] = {}
        whys: dict[str, dict[str, float | int | None]] = {}
        pool = max(POOL, k)

        def found(what: str, score: str, ranked: Sequence[tuple[Chunk, float]]) -> list[str]:
            for rank, (chunk, value) in enumerate(ranked, 1):
                chunks[chunk.id] = chunk
                whys.setdefault(chunk.id, {}).update({what: rank, score: value})
            return [chunk.id for chunk, _ in ranked]

        rankings = []
        if self.how != "bm25":
            rankings.append(found("dense", "cosine", self.index.search(vector, pool)))
        if self.how != "dense":
            rankings.append(found("bm25", "bm25_score", self.by_words(question, pool)))
        if self.how == "hybrid" and self.sentences:
            nearest = self.sentences.search(vector, self.words()[1], pool)
            rankings.append(found("sentence", "sentence_cosine", nearest))
        order = reciprocal_rank_fusion(rankings, FUSED)
        for rank, (id, _) in enumerate(order, 1):
            whys[id]["fused"] = rank
        if self.how != "hybrid":  # there is nothing to fuse, and its own scores say more
            order = [(id, float(whys[id]["cosine" if self.how == "dense" else "bm25_score"] or 0.0)) for id, _ in order]
        if self.rescore != "none":
            best = [id for id, _ in order[: max(RESCORED, k)]]
            scores = self.score(question, [chunks[id] for id in best])
            order = sorted(zip(best, scores, strict=True), key=lambda pair: -pair[1])
            for rank, (id, value) in enumerate(order, 1):
                whys[id] |= {"rescored": rank, "rescored_score": value}
        if self.mmr:
            order = order[: max(4 * k, RESCORED)]
            order = [order[row] for row in mmr(vector, self.index.vectors([id for id, _ in order]), k, 1 - self.mmr)]
        order = order[:k]
        missing = [id for id, _ in order if "cosine" not in whys[id]]
        if missing:
            for id, row in zip(missing, self.index.vectors(missing), strict=True):
                whys[id]["cosine"] = float(row @ vector)
        names = ("dense", "sentence", "bm25", "fused", "rescored", "cosine", "sentence_cosine", "bm25_score",
                 "rescored_score")  # fmt: skip
        return [
            Passage(chunks[id], float(score), rank, {name: whys[id].get(name) for name in names})
            for rank, (id, score) in enumerate(order, 1)
        ]

    def by_words(self, question: str, k: int) -> list[tuple[Chunk, float]]:
        """The k best chunks by BM25, of those that have a word of the question."""
        words, chunks = self.words()
        scores = words.scores(question)
        best = np.argsort(-scores, kind="stable")[:k]
        return [(chunks[row], float(scores[row])) for row in best if scores[row] > 0]

    def words(self) -> tuple[Words, list[Chunk]]:
        """The words of all chunks, counted anew when these are others."""
        with self._lock:
            version = self.index.version
            if version != self._seen:
                chunks = self.index.chunks()
                self._words, self._seen = (Words([chunk.embedded for chunk in chunks]), chunks), version
            return self._words

    @cached_property
    def score(self) -> Callable[[str, Sequence[Chunk]], list[float]]:
        """What re-scores chunks for a question."""
        return self.late if self.rescore == "late" else CrossEncoder(self.rescore.partition(":")[2]).score

    def late(self, question: str, chunks: Sequence[Chunk]) -> list[float]:
        """How well each token of the question is matched in a chunk, as a mean over these tokens."""
        new = [chunk for chunk in chunks if chunk.id not in self._tokens]
        asked, *vectors = self.embedder.encode_tokens([question, *(chunk.embedded for chunk in new)])
        with self._lock:
            self._tokens |= zip((chunk.id for chunk in new), (one.astype(np.float16) for one in vectors), strict=True)
            scores = [late_interaction(asked, self._tokens[chunk.id].astype(np.float32)) for chunk in chunks]
            while len(self._tokens) > KEPT:
                del self._tokens[next(iter(self._tokens))]
        return scores


def late_interaction(question: Float32[np.ndarray, "asked dim"], passage: Float32[np.ndarray, "said dim"]) -> float:
    """The mean over the question's tokens of the largest cosine with a token of the passage."""
    if not len(question) or not len(passage):
        return 0.0
    return float((question @ passage.T).max(1).mean())


class CrossEncoder:
    """A classifier that reads question and passage together, as ms-marco-MiniLM-L6-v2.

    Raises:
        CourseError: there is no such folder, or the hub does not answer; or it is no classifier.
    """

    def __init__(self, model: str, batch: int = 8) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        from shared.chat_models import quiet
        from week11_rag.embed import folder_of

        folder = folder_of(model, "--rescore cross:", bundled="")
        try:
            with quiet():
                self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
                self.model: Any = AutoModelForSequenceClassification.from_pretrained(
                    folder, local_files_only=True
                ).eval()
        except Exception as error:  # a damaged file raises what its library likes
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CourseError(f"--rescore cross:{model}: this is no cross-encoder that loads ({reason}).") from None
        self.batch = batch

    def score(self, question: str, chunks: Sequence[Chunk]) -> list[float]:
        """A number for each chunk, the larger the better: the logit of the last class (the only one, as a rule)."""
        import torch

        found: list[float] = []
        for start in range(0, len(chunks), self.batch):
            texts = [chunk.embedded for chunk in chunks[start : start + self.batch]]
            inputs = self.tokenizer(
                [question] * len(texts),
                texts,
                truncation="only_second",
                max_length=512,
                padding=True,
                return_tensors="pt",
            )
            with torch.inference_mode():
                found += self.model(**inputs).logits[:, -1].float().tolist()
        return found
