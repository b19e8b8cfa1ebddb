"""BM25: which chunks have the words of a question, the rare ones counting most.

References
    S. Robertson, H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009, section 3
    rank_bm25, whose BM25Okapi does the counting
"""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from week11_rag.wording import STOP, stem

WORD = re.compile(r"\w+(?:[-./@+:_'’]\w+)*")
PARTS = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """The words of a text as BM25 counts them: their stems, in lower case, without those that every text has;
    `debian/rules` as itself and as its two parts."""
    found = []
    for word in WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        word = re.sub(r"['’]s$", "", word)
        parts = PARTS.findall(word)
        found += [word, *parts] if len(parts) > 1 else [word]
    return [stem(word) for word in found if word not in STOP]


class Words:
    """An index of the words of texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        from rank_bm25 import BM25Okapi

        split = [words(text) for text in texts]
        self.bm25 = BM25Okapi(split) if any(split) else None
        self.count = len(texts)

    def scores(self, question: str) -> Float64[np.ndarray, " texts"]:
        """How well each text fits a question; 0 where they have no word in common."""
        if self.bm25 is None:
            return np.zeros(self.count)
        return np.asarray(self.bm25.get_scores(words(question)), np.float64)
