"""The week's sentences in numbers, and a made-up language whose alignments are known.

Reading files, cutting them in three, words and vocabularies are shared/sentence_pairs.py's, as week 6 has them, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from shared.sentence_pairs import Part, Vocabulary, padded, tokenize


@dataclass(frozen=True)
class Encoded:
    """Pairs in numbers: the ids of each source and of its translation, </s> behind both."""

    sources: list[list[int]]
    targets: list[list[int]]

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def lengths(self) -> Int[np.ndarray, " N"]:
        """What batches are sorted by: by the source, and within one length by the translation."""
        longest = 1 + max(map(len, self.targets))
        return np.array([len(s) * longest + len(t) for s, t in zip(self.sources, self.targets, strict=True)])

    def batch(
        self, rows: Sequence[int] | np.ndarray
    ) -> tuple[Int[np.ndarray, "batch source"], Int[np.ndarray, "batch target"]]:
        """Source ids (B, S) and target ids (B, T) of these rows, padded."""
        return padded([self.sources[row] for row in rows]), padded([self.targets[row] for row in rows])


def encode(part: Part, source: Vocabulary, target: Vocabulary) -> Encoded:
    """A part's pairs, each source once for each of its translations."""
    pairs = part.pairs
    return Encoded([source.encode(tokenize(s)) for s, _ in pairs], [target.encode(tokenize(t)) for _, t in pairs])


# ---------------------------------------------------------------- a language with known alignments


@dataclass(frozen=True)
class Aligned:
    """Pairs whose alignment is known: `origins[n][i]` is the place in source n of the word that target word i renders.

    The last of each is the end of the sentence, which renders the source's.
    """

    encoded: Encoded
    origins: list[list[int]]


def sanity_language(count: int, rng: np.random.Generator, words: int = 30, longest: int = 8) -> Aligned:
    """A synthetic language: every word has one translation, adjectives go behind their nouns, intensifiers are doubled.

    Of the `words` a third are nouns, a third adjectives, and a third others, of which half are written twice. Their
    places are mixed, so that attention by position alone cannot follow: it has to look at what the words are.

    Args:
        count: how many pairs.
        rng: draws them.
        words: how many words the source language has.
        longest: words of a source at most.
    """
    first = 4  # behind <pad>, <unk>, <s>, </s>
    kinds = np.arange(words) % 3  # 0 noun, 1 adjective, 2 other
    doubled = (kinds == 2) & (np.arange(words) % 2 == 1)
    translation = np.random.default_rng(0).permutation(words)  # the same dictionary whatever the pairs
    sources, targets, origins = [], [], []
    for _ in range(count):
        sentence = rng.permutation(words)[: rng.integers(3, longest + 1)]  # none twice: it could be looked at in either
        order = list(range(len(sentence)))
        for at in range(len(order) - 1):
            if kinds[sentence[order[at]]] == 1 and kinds[sentence[order[at + 1]]] == 0:
                order[at], order[at + 1] = order[at + 1], order[at]
        origin = [place for place in order for _ in range(1 + doubled[sentence[place]])]
        sources.append([*(int(word) + first for word in sentence), 3])
        targets.append([*(int(translation[sentence[place]]) + first for place in origin), 3])
        origins.append([*origin, len(sentence)])
    return Aligned(Encoded(sources, targets), origins)
