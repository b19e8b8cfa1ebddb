"""How well a search finds: recall at k and the mean reciprocal rank, and what needs no network."""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

KS = (1, 5, 10)


def ranks(scores: Float[np.ndarray, "Q N"], right: Bool[np.ndarray, "Q N"]) -> Int[np.ndarray, " Q"]:
    """The place, from 1, at which each question's first right answer comes. Wrong answers of the same score come first.

    Args:
        scores: of every answer to every question; more is better.
        right: which answers are right; at least one for each question.
    """
    best = np.where(right, scores, -np.inf).max(1, keepdims=True)
    return 1 + ((scores >= best) & ~right).sum(1)


def summary(rank: Int[np.ndarray, " Q"]) -> dict[str, float]:
    """{recall_at_1, recall_at_5, recall_at_10, mrr} of ranks."""
    found = {f"recall_at_{k}": float((rank <= k).mean()) for k in KS}
    return found | {"mrr": float((1 / rank).mean())}


def by_chance(right: Bool[np.ndarray, "Q N"]) -> dict[str, float]:
    """What a random order of the answers comes to, on average, worked out exactly.

    With r right ones among N, the first right one comes at place j with a probability of
    (no right one before: (N-r)/N · (N-r-1)/(N-1) · …) times r / (N - j + 1).
    """
    N, total = right.shape[1], np.zeros(right.shape[1])
    for r, count in zip(*np.unique(right.sum(1), return_counts=True), strict=True):
        none_before, first_at = 1.0, np.zeros(N)
        for j in range(N - r + 1):
            first_at[j] = none_before * r / (N - j)
            none_before *= (N - r - j) / (N - j)
        total += count * first_at
    total /= len(right)
    found = {f"recall_at_{k}": float(total[:k].sum()) for k in KS}
    return found | {"mrr": float((total / np.arange(1, N + 1)).sum())}


def words(text: str) -> set[str]:
    """The words of a text in lower case, without their plural."""
    return {word.removesuffix("s") for word in re.findall(r"[^\W\d_]+", text.lower())}


def overlap(questions: Sequence[str], answers: Sequence[str], seed: int = 0) -> Float[np.ndarray, "Q N"]:
    """How many words a question shares with what stands with each answer, rare ones counting more (as tf-idf does).

    Answers of the same score come in a random order, which the seed draws.
    """
    said = [words(one) for one in answers]
    vocabulary = {word: column for column, word in enumerate(sorted(set().union(*said)))}
    has = np.zeros((len(said), len(vocabulary)), np.float32)
    for row, one in enumerate(said):
        has[row, [vocabulary[word] for word in one]] = 1
    rare = np.log(1 + len(said) / np.maximum(has.sum(0), 1))
    asked = np.zeros((len(questions), len(vocabulary)), np.float32)
    for row, question in enumerate(questions):
        asked[row, [vocabulary[word] for word in words(question) if word in vocabulary]] = 1
    scores = (asked * rare) @ has.T / np.sqrt(np.maximum(has.sum(1), 1))
    return scores + 1e-6 * np.random.default_rng(seed).random(scores.shape)
