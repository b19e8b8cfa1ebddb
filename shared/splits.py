"""A data set of items cut in three: what is trained on, chosen by, and tested on.

An item is any frozen object with two texts: `key`, what tells it from another (shared.held_out), and `truth`, what it
is to be answered with.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Int

from shared.held_out import fingerprints

Item = TypeVar("Item")


@dataclass(frozen=True)
class Part(Generic[Item]):
    """Some items, in their order."""

    items: tuple[Item, ...]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def examples(self) -> list[str]:
        """What tells one item from another."""
        return [item.key for item in self.items]

    @property
    def labels(self) -> Int[np.ndarray, " N"]:
        """What tells whether the answers are what they were."""
        return fingerprints(item.truth for item in self.items)

    def take(self, rows: Iterable[int | np.integer]) -> "Part[Item]":
        """Those of these places."""
        return Part(tuple(self.items[row] for row in rows))


@dataclass(frozen=True)
class Splits(Generic[Item]):
    """A data set cut in three. Fit on train, choose on val, and read test once.

    Attributes:
        name: as --data has it.
        train, val, test: the parts; no item is in two.
        own_test: whether it brings a test split of its own.
        notes: what was left out, to be told to the reader.
        synthetic: whether a program made it up.
    """

    name: str
    train: Part[Item]
    val: Part[Item]
    test: Part[Item]
    own_test: bool = False
    notes: tuple[str, ...] = ()
    synthetic: bool = False

    @property
    def everything(self) -> Part[Item]:
        """All of it."""
        return Part(self.train.items + self.val.items + self.test.items)

    def first(self, count: int, seed: int, most_val: int = 0) -> Any:
        """The same with `count` items to train on, drawn by the seed, of which more contain the fewer; and with at most
        so many to choose by, always the same ones. 0: all."""
        found = self
        asked = ("train", count, "to train on (--examples)"), ("val", most_val, "of val (--most-val)")
        for part, wanted, of in asked:
            have = getattr(self, part)
            if wanted and wanted < len(have):
                rng = np.random.default_rng([seed, 7] if part == "train" else 7)
                rows = np.sort(rng.permutation(len(have))[:wanted]).tolist()
                note = f"took {wanted:,} of {len(have):,} {of}"
                found = replace(found, **{part: have.take(rows)}, notes=(*found.notes, note))
        return found
