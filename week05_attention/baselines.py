"""What a translator is held against: a dictionary learned from train, word by word, and always the same sentence."""

import math
from collections import Counter
from dataclasses import dataclass

from shared.sentence_pairs import Part, detokenize, tokenize

DICTIONARY, CONSTANT = "a dictionary, word by word", "always the same answer"
PROMISING = 20  # of each source word, so many partners of the most shared sentences are compared


@dataclass(frozen=True)
class Dictionary:
    """For each source word the target word that goes with it most closely; a word it does not know stays as it is."""

    entries: dict[str, str]

    @classmethod
    def learn(cls, part: Part) -> "Dictionary":
        """From co-occurrence alone: by the likelihood ratio of the two words' meeting in a pair (Dunning 1993)."""
        both: dict[str, Counter[str]] = {}
        ours, theirs, total = Counter(), Counter(), 0
        for source, target in part.pairs:
            sources, targets = set(tokenize(source)), set(tokenize(target))
            ours.update(sources)
            theirs.update(targets)
            total += 1
            for word in sources:
                both.setdefault(word, Counter()).update(targets)
        entries = {}
        for word, partners in both.items():
            found = partners.most_common(PROMISING)
            entries[word] = max(found, key=lambda pair: ratio(pair[1], ours[word], theirs[pair[0]], total))[0]
        return cls(entries)

    def translate(self, text: str) -> str:
        """Each word by its entry, in the same order."""
        return detokenize(self.entries.get(word, word) for word in tokenize(text))


def ratio(both: int, ours: int, theirs: int, total: int) -> float:
    """How much likelier the counts are if the two words depend on each other; negative where they avoid each other."""

    def part(count: int, expected: float) -> float:
        return count * math.log(count / expected) if count else 0.0

    rest = total - ours - theirs + both
    cells = (
        (both, ours * theirs / total),
        (ours - both, ours * (total - theirs) / total),
        (theirs - both, (total - ours) * theirs / total),
        (rest, (total - ours) * (total - theirs) / total),
    )
    value = 2 * sum(part(count, max(expected, 1e-9)) for count, expected in cells)
    return value if both >= ours * theirs / total else -value


def commonest(part: Part) -> str:
    """The translation that occurs most often in train."""
    return Counter(target for _, target in part.pairs).most_common(1)[0][0]
