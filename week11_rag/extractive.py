"""The sentences of passages, by how near they are to a question; and a reader that answers with the best of them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log
from weakref import WeakKeyDictionary

from week11_rag import wording
from week11_rag.retrieve import Passage, Retriever
from week11_rag.sentences import Sentences, spans_of

WORDS = 0.5  # how much the words that a sentence shares with the question count, beside the cosine
LATER = 0.02  # how much a sentence falls behind with each passage before its own
CELLS = " | "  # between the cells of a row
SECOND = 0.97  # a second sentence is quoted where it is as good as this share of the first


@dataclass(frozen=True)
class Sentence:
    """A sentence of a passage: passages[place].chunk.text[start:end].

    Attributes:
        cosine: how near its meaning is to the question's, -1 to 1.
        share: how many of the question's words it (or the heading above it, or over its column) has, by their weight,
            0 to 1.
        score: what it is ranked by.
        header: (start, end) of the first row of its table, where it is another row of one.
    """

    place: int
    start: int
    end: int
    text: str
    cosine: float
    share: float
    score: float
    header: tuple[int, int] | None = None


class Reader:
    """Ranks the sentences of what a retriever finds."""

    def __init__(self, retriever: Retriever) -> None:
        self.embedder, self.index = retriever.embedder, retriever.index
        self.sentences = retriever.sentences or Sentences(retriever.embedder)
        self._counts: Counter[str] = Counter()
        self._chunks, self._version = 0, object()

    def weight(self, stem: str) -> float:
        """How much a word tells: the logarithm of one over the share of the chunks that have it (idf)."""
        if self._version != self.index.version:
            chunks, version = self.index.chunks(), self.index.version
            self._counts = Counter(word for chunk in chunks for word in wording.content(chunk.embedded))
            self._chunks, self._version = len(chunks), version
        return log((self._chunks + 1) / (self._counts[stem] + 0.5))

    def rank(self, question: str, passages: Sequence[Passage]) -> list[Sentence]:
        """The sentences of the passages, best first."""
        self.sentences.add([passage.chunk for passage in passages])
        vector = self.embedder.encode([question])[0]
        asked = {stem: self.weight(stem) for stem in wording.content(question)}
        total, found = sum(asked.values()) or 1.0, []
        for place, passage in enumerate(passages):
            chunk = passage.chunk
            heading = set(wording.content(" ".join(chunk.headings[-1:])))
            cosines = self.sentences.of(chunk) @ vector
            spans = spans_of(chunk)
            headers = headers_of(chunk.text, spans)
            for (start, end), cosine, header in zip(spans, cosines.tolist(), headers, strict=True):
                if header == (start, end):
                    continue  # the names of columns answer nothing, they only say what the rows below are about
                text = chunk.text[start:end]
                have = heading.union(wording.content(text))
                if header:
                    have |= set(wording.content(chunk.text[slice(*header)]))
                share = sum(weight for stem, weight in asked.items() if stem in have) / total
                score = cosine + WORDS * share - LATER * place
                found.append(Sentence(place, start, end, text, cosine, share, score, header))
        return sorted(found, key=lambda one: (-one.score, one.place, one.start))


def headers_of(text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int] | None]:
    """For each sentence the first row of the table that it is a row of; None where it is none."""
    found: list[tuple[int, int] | None] = []
    for number, (start, end) in enumerate(spans):
        row = CELLS in text[max(0, start - 2) : end]  # the first row may begin with an empty cell
        follows = found and found[-1] and "\n" in text[spans[number - 1][1] : start]
        below = spans[number + 1 : number + 2]
        heads = row and any(CELLS in text[a:b] and "\n" in text[end:a] for a, b in below)
        found.append(found[-1] if row and follows else (start, end) if heads else None)
    return found


def best(ranked: Iterable[Sentence], most: int = 2) -> list[Sentence]:
    """The sentences to answer with: the best one, and others that are about as good and say something else."""
    taken: list[Sentence] = []
    for one in ranked:
        if taken and (len(taken) == most or one.score < SECOND * taken[0].score):
            break
        if not any(alike(one.text, other.text) for other in taken):
            taken.append(one)
    return taken


def alike(one: str, other: str) -> bool:
    """Whether of two sentences the one says little that the other does not."""
    first, second = set(wording.content(one)), set(wording.content(other))
    return len(first & second) >= 0.8 * min(len(first), len(second))


_readers: "WeakKeyDictionary[Retriever, Reader]" = WeakKeyDictionary()


def reader_of(retriever: Retriever) -> Reader:
    """The one reader of a retriever."""
    if retriever not in _readers:
        _readers[retriever] = Reader(retriever)
    return _readers[retriever]
