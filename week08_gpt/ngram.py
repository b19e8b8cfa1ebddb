"""The baseline: an n-gram model with interpolated, modified Kneser–Ney smoothing, on the same tokens as the network.

References
    R. Kneser, H. Ney, "Improved backing-off for m-gram language modeling", ICASSP 1995: a lower order counts in how
        many contexts a word occurs, not how often
    S. Chen, J. Goodman, "An empirical study of smoothing techniques for language modeling", TR-10-98, 1998, section
        3, equations 23 to 26: three discounts, estimated from the counts of counts

An n-gram is kept as one number: that of its first n - 1 tokens in the list of the order below, times the size of the
vocabulary, plus its last token. So every order is a sorted row of numbers, and all is done by NumPy.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

NAME = "Kneser–Ney n-gram"
MOST = 5_000_000  # tokens of train that are counted; more would not fit in memory with all their n-grams
Row = Int[np.ndarray, " tokens"]


@dataclass(frozen=True)
class Order:
    """The n-grams of one length.

    Attributes:
        keys: context number * vocabulary + last token of each, sorted; its place here is the n-gram's own number.
        counts: how often it occurs; of a lower order, after how many different tokens (continuation counts).
        totals: by context number, the sum of the counts of what follows it.
        spared: by context number, how much of `totals` the discounts have taken away.
        discounts: what is subtracted from a count of 1, 2, and 3 or more; the first is that of 0, nothing.
    """

    keys: Row
    counts: Row
    totals: Float[np.ndarray, " contexts"]
    spared: Float[np.ndarray, " contexts"]
    discounts: Float[np.ndarray, " 4"]

    def find(self, keys: Row) -> Row:
        """The number of each n-gram, -1 where it was never seen."""
        place = np.searchsorted(self.keys, keys).clip(max=max(0, len(self.keys) - 1))
        there = self.keys[place] == keys if len(self.keys) else np.zeros(len(keys), bool)
        return np.where(there, place, -1)


def discounts_of(counts: Row) -> Float[np.ndarray, " 4"]:
    """Chen and Goodman's equation 26: D_i = i - (i + 1) Y n_{i+1} / n_i, with Y = n_1 / (n_1 + 2 n_2).

    Where a corpus is so small that one of them would fall out of [0, i], it is one half of i.
    """
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(float)
    found = [0.0]
    for i in (1, 2, 3):
        value = i - (i + 1) * n[1] / (n[1] + 2 * n[2]) * n[i + 1] / n[i] if n[1] and n[i] else -1.0
        found.append(value if 0 < value < i else i / 2)
    return np.array(found)


class KneserNey:
    """p(w | context) = (count - D) / total + spared / total * p(w | a context shorter by one), down to 1 / vocabulary.

    Args:
        tokens: (N,) of train, one behind the other.
        vocab: how many different ones there may be.
        order: the longest n-grams: 5 is a token after the four before it.
    """

    def __init__(self, tokens: Row, vocab: int, order: int = 5) -> None:
        self.vocab, self.order = vocab, order
        tokens = np.asarray(tokens[:MOST], np.int64)
        numbers = np.zeros(len(tokens), np.int64)  # of the (n-1)-gram before each place; of the empty one it is 0
        kept: list[tuple[Row, Row, Row]] = []
        for n in range(1, min(order, len(tokens)) + 1):
            keys = numbers[: len(tokens) - n + 1] * vocab + tokens[n - 1 :]
            unique, first, numbers, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
            if kept:  # the order below counts the different tokens in front, once each
                shorter = kept[-1][2][first + 1]
                continued = np.bincount(shorter, minlength=len(kept[-1][0])).clip(min=1)
                kept[-1] = (kept[-1][0], continued, kept[-1][2])
            kept.append((unique, counts, numbers))
        self.orders: list[Order] = []
        contexts = 1
        for unique, counts, _ in kept:
            discounts = discounts_of(counts)
            owner, taken = unique // vocab, discounts[np.minimum(counts, 3)]
            totals = np.bincount(owner, counts, minlength=contexts)
            self.orders.append(Order(unique, counts, totals, np.bincount(owner, taken, minlength=contexts), discounts))
            contexts = len(unique)

    @property
    def parameters(self) -> int:
        """How many n-grams are kept with their counts."""
        return sum(len(order.keys) for order in self.orders)

    def probabilities(self, tokens: Row) -> Float[np.ndarray, " tokens"]:
        """How likely each token was, given those before it (as many as there are, up to the order)."""
        tokens = np.asarray(tokens, np.int64)
        probs = np.full(len(tokens), 1 / self.vocab)
        before = np.zeros(len(tokens), np.int64)  # the number of the (n-1)-gram that ends before each place
        for n, order in enumerate(self.orders, 1):
            known = before >= 0
            here = before.clip(min=0)
            grams = np.where(known, order.find(here * self.vocab + tokens), -1)
            total = np.where(known, order.totals[here], 0.0)
            follows = total > 0
            counts = np.where(grams >= 0, order.counts[grams.clip(min=0)], 0)
            own = counts - order.discounts[np.minimum(counts, 3)]
            safe = np.where(follows, total, 1.0)
            probs = np.where(follows, own / safe + order.spared[here] / safe * probs, probs)
            # The n-gram that ends before a place is the one that ended at the place before it.
            before = np.full(len(tokens), -1)
            before[n:] = self.ending(tokens, n)[:-1] if len(tokens) > n else before[n:]
        return probs

    def ending(self, tokens: Row, n: int) -> Int[np.ndarray, " places"]:
        """The number of the n-gram that begins at each place where one fits, -1 where it was never seen in train."""
        numbers = np.zeros(len(tokens) - n + 1, np.int64)
        for length in range(1, n + 1):
            last = tokens[length - 1 : len(tokens) - n + length]
            found = self.orders[length - 1].find(numbers.clip(min=0) * self.vocab + last)
            numbers = np.where(numbers >= 0, found, -1)
        return numbers


def unigram(tokens: Row, vocab: int) -> KneserNey:
    """The constant answer: at every place the same probabilities, those of the tokens of train."""
    return KneserNey(tokens, vocab, order=1)


def bits(model: KneserNey, tokens: Row) -> float:
    """The bits that the tokens cost, all but the first."""
    return float(-np.log2(model.probabilities(tokens)[1:]).sum())
