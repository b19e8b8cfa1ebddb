"""Is it still the same embedder? How near an exported one's vectors are to torch's, and whether it finds the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from week11_rag.embed import Embedder
from week11_rag.exact import ExactIndex
from week11_rag.index import Settings
from week11_rag.measures import hit_at_k, mean_reciprocal_rank, relevant
from week11_rag.retrieve import How, Retriever
from week11_rag.sentences import Sentences, texts_of
from week12_deploy.data import Part, Texts

Vectors = Float32[np.ndarray, "texts dim"]
DEEP = 10
"""How far down the first right passage is looked for, as in week 11."""
LEAST = {"fp32": 0.999, "int8": 0.98}
"""The cosine with torch's vector that a variant has to reach for every passage and every question."""
POINT = 0.01
"""By so much hit@5 and MRR may be below torch's."""


@dataclass(frozen=True)
class Embedded:
    """What an embedder makes of some texts; of the sentences of all passages, too, where hybrid search is measured."""

    passages: Float32[np.ndarray, "passages dim"]
    questions: Float32[np.ndarray, "questions dim"]
    sentences: Float32[np.ndarray, "sentences dim"] | None = None

    @classmethod
    def by(cls, embedder: Any, texts: Texts, part: Part, sentences: bool = True) -> "Embedded":
        """The vectors that an embedder makes of all passages, of a part's questions, and of all sentences. A question
        comes alone, as in the service: in bytes a text's vector depends a little on its neighbours in a batch, with
        which it shares a scale."""
        chunks = [chunk.embedded for chunk in texts.chunks]
        none = np.zeros((0, embedder.dimension), np.float32)
        asked = np.concatenate([none, *(embedder.encode([question.text]) for question in texts.asked(part))])
        said = embedder.encode(all_sentences(texts)) if sentences else None
        return cls(embedder.encode(chunks), asked, said)


def all_sentences(texts: Texts) -> list[str]:
    return [text for chunk in texts.chunks for text in texts_of(chunk)]


def cosines(ours: Vectors, theirs: Vectors) -> Float32[np.ndarray, " texts"]:
    """The cosine of each text's two vectors."""
    return (ours * theirs).sum(1)


class Known(Embedder):
    """An embedder that has embedded these texts before."""

    def __init__(self, name: str, dimension: int, vectors: Mapping[str, Any]) -> None:
        self.name, self.dimension, self.vectors = name, dimension, vectors

    def encode(self, texts: Sequence[str]) -> Vectors:
        return np.stack([self.vectors[text] for text in texts])


class Finder:
    """Searches with vectors that are there already, for the questions of one part.

    Args:
        texts: passages and questions.
        part: which questions.
        name: the embedder's.
    """

    def __init__(self, texts: Texts, part: Part, name: str) -> None:
        self.texts, self.name, self.asked = texts, name, [one.text for one in texts.asked(part)]
        self.answerable = [question for question in texts.asked(part) if question.answerable]
        self.right = relevant(self.answerable, texts.chunks) if self.answerable else []

    def scores(self, stored: Embedded, asked: Embedded, how: How = "hybrid") -> dict[str, float]:
        """{hit_at_5, mrr} over the questions that have an answer; nothing where there are none.

        Args:
            stored: by whom the passages (and sentences, if it has any) were embedded.
            asked: by whom the questions are.
            how: as Retriever has it.
        """
        if not self.answerable:
            return {}
        index, start = ExactIndex(None, Settings(self.name, stored.passages.shape[1], 0, 0)), 0
        for document, chunks in self.texts.documents:
            index.add(document, list(chunks), stored.passages[start : start + len(chunks)])
            start += len(chunks)
        known = dict(zip(self.asked, asked.questions, strict=True))
        if stored.sentences is not None:
            known |= zip(all_sentences(self.texts), stored.sentences, strict=True)
        embedder = Known(self.name, stored.passages.shape[1], known)
        sentences = None if stored.sentences is None or how != "hybrid" else Sentences(embedder)
        retriever = Retriever(index, embedder, how, sentences=sentences)
        found = [[p.chunk.id for p in retriever.search(one.text, DEEP)] for one in self.answerable]
        return {"hit_at_5": hit_at_k(found, self.right, 5), "mrr": mean_reciprocal_rank(found, self.right)}

    def all_scores(self, ours: Embedded, theirs: Embedded) -> dict[str, float]:
        """The scores of a variant: dense, by the vectors of passages alone, where an embedder shows most; and, where it
        has embedded sentences, hybrid, as week 11 searches, and mixed: an index of torch's, the questions ours."""
        found = {f"dense_{name}": value for name, value in self.scores(ours, ours, "dense").items()}
        if ours.sentences is not None:
            found |= self.scores(ours, ours)
            found |= {f"mixed_{name}": value for name, value in self.scores(theirs, ours).items()}
        return found


def near(ours: Embedded, theirs: Embedded) -> dict[str, float]:
    """How near the vectors are: the smallest and the mean cosine over passages and questions; the smallest of
    sentences, which may be as short as a number."""
    both = np.concatenate([cosines(ours.passages, theirs.passages), cosines(ours.questions, theirs.questions)])
    found = {"cosine": float(both.min()), "cosine_mean": float(both.mean())}
    if ours.sentences is not None and theirs.sentences is not None:
        found["cosine_sentences"] = float(cosines(ours.sentences, theirs.sentences).min())
    return found


def holds(variant: str, found: Mapping[str, float], torchs: Mapping[str, float]) -> bool:
    """Whether a variant may take the place of torch's: near enough, and it finds as well."""
    least = LEAST["fp32" if variant == "fp32" else "int8"]
    as_well = all(found[name] >= torchs[name] - POINT for name in ("hit_at_5", "mrr") if name in torchs)
    return found["cosine"] >= least and as_well
