"""BM25: which texts have the words of a question, the rare ones counting most. Equal to rank_bm25's BM25Okapi.

References
    S. Robertson, H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009, section 3
    rank_bm25, BM25Okapi: how a word counts that more than half of all texts have
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

K1, B, EPSILON = 1.5, 0.75, 0.25
"""BM25's constants, as rank_bm25 has them: how soon more of a word is enough, how much length counts, and what share of
the mean weight a word keeps that nearly every passage has."""

WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*")
STOP = frozenset(
    WORD.findall(
        """a an the of in on at to for from by with and or is are was were be been being it its that this these those as
        do does did has have had what which who whom whose when where how many much there their than then i me my you
        your please tell give find current currently latest newest recent now today"""
    )
)


def words(text: str) -> list[str]:
    """The words of a text as BM25 counts them: lower case, without accents, plural or the words that every text has."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return [singular(word) for word in WORD.findall(plain.replace("'s", "")) if word not in STOP]


def singular(word: str) -> str:
    """`exports` as `export`, `countries` as `country`; `gas` and `census` as they are."""
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def bm25_weight(
    frequency: Float64[np.ndarray, " n"],
    length: Float64[np.ndarray, " n"],
    mean_length: float,
    idf: float | Float64[np.ndarray, " n"],
    k1: float = K1,
    b: float = B,
) -> Float64[np.ndarray, " n"]:
    """What one word of a question adds to the scores of passages that have it.

        idf · f (k1 + 1) / (f + k1 (1 - b + b · length / mean length))

    Args:
        frequency: how often the word stands in each passage.
        length: words in each passage.
        mean_length: of all passages.
        idf: how rare the word is; of several words, a number for each entry.
        k1: how soon more of the same word is enough: 0, once is as good as often; large, twice counts double.
        b: how much a long passage is held against: 0, not at all; 1, in full.
    """
    # exercise 6: BM25, what a word adds to the score of a passage
    # frequency (n,) how often a word stands in each of n passages, length (n,) the words of each, mean_length and idf
    # -> (n,): what the word adds to the score of each. It grows with the frequency, ever more slowly, and never beyond
    # idf · (k1 + 1). A passage of mean length that has the word once gets idf itself; a longer one less, by b.
    # hint: with b = 0 it is idf · f (k1 + 1) / (f + k1). b puts k1 · (1 - b + b · length / mean_length) in k1's place,
    # in the denominator alone.
    patience = k1 * (1 - b + b * length / mean_length)
    return idf * frequency * (k1 + 1) / (frequency + patience)
    # end of exercise 6


class BM25:
    """Which texts have the words of a question, the rare ones counting most. Equal to rank_bm25's BM25Okapi.

    For each word it keeps who has it, and what that is worth: a question looks at these lists alone.
    """

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        self.count = len(texts)
        length = np.array([len(text) for text in texts], np.float64)
        mean = float(length.mean()) if self.count else 0.0
        who: dict[str, list[int]] = {}
        often: dict[str, list[int]] = {}
        for row, text in enumerate(texts):
            for word, times in Counter(text).items():
                who.setdefault(word, []).append(row)
                often.setdefault(word, []).append(times)
        having = np.array([len(rows) for rows in who.values()], np.float64)
        idf = np.log((self.count - having + 0.5) / (having + 0.5))
        idf[idf < 0] = EPSILON * idf.mean() if len(idf) else 0.0  # of a word that more than half of the texts have
        rows = np.array([row for found in who.values() for row in found], np.int64)  # one word's after the other's
        frequency = np.array([times for found in often.values() for times in found], np.float64)
        weights = bm25_weight(frequency, length[rows], mean, np.repeat(idf, having.astype(int)))
        ends = np.cumsum(having.astype(int))
        spans = zip(ends - having.astype(int), ends, strict=True)
        self.postings = {
            word: (rows[start:end], weights[start:end]) for word, (start, end) in zip(who, spans, strict=True)
        }

    def scores(self, question: Sequence[str]) -> Float64[np.ndarray, " texts"]:
        """How well each text fits a question's words; 0 where they have none in common."""
        found = np.zeros(self.count)
        for word in question:
            if posting := self.postings.get(word):
                found[posting[0]] += posting[1]
        return found

    def shares(self, question: Sequence[str]) -> Float64[np.ndarray, " texts"]:
        """What share of a question's different words each text has."""
        once, found = set(question), np.zeros(self.count)
        for word in once & self.postings.keys():
            found[self.postings[word][0]] += 1
        return found / max(len(once), 1)
