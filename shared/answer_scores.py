"""How right a short answer is, beside answers that are known to be right: exact match and F1 over words, as SQuAD's
official script has them (Rajpurkar et al., arXiv:1606.05250, section 6.1)."""

import re
import string
from collections import Counter
from collections.abc import Sequence


def normalised(answer: str) -> str:
    """What of an answer counts: no capitals, punctuation, articles, or extra spaces (the official script's rule)."""
    bare = "".join(char for char in answer.lower() if char not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def exact(answer: str, truths: Sequence[str]) -> float:
    """1 where it is one of the right answers."""
    return float(any(normalised(answer) == normalised(truth) for truth in truths))


def f1(answer: str, truths: Sequence[str]) -> float:
    """The harmonic mean of precision and recall over words, with the right answer that fits best."""
    return max(_overlap(normalised(answer).split(), normalised(truth).split()) for truth in truths)


def holds(answer: str, truths: Sequence[str]) -> float:
    """1 where one of the right answers stands in it, word for word: of sentences, which are never an exact match."""
    said = f" {normalised(answer)} "
    return float(any(normalised(truth) and f" {normalised(truth)} " in said for truth in truths))


def _overlap(ours: list[str], theirs: list[str]) -> float:
    if not ours or not theirs:  # no answer is right only where there is none
        return float(ours == theirs)
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs)) if common else 0.0
