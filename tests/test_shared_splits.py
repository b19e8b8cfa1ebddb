"""shared/splits.py: a data set of items cut in three."""

from dataclasses import dataclass

import numpy as np

from shared import held_out
from shared.splits import Part, Splits


@dataclass(frozen=True)
class Item:
    key: str
    truth: str = ""


def of(count: int, name: str) -> Part[Item]:
    return Part(tuple(Item(f"{name}{number}", str(number % 2)) for number in range(count)))


SPLITS = Splits("made up", of(30, "a"), of(9, "b"), of(5, "c"), notes=("one line was empty",))


def test_more_examples_contain_the_fewer_and_another_seed_draws_others():
    few, more, other = (SPLITS.first(count, seed) for count, seed in ((5, 0), (12, 0), (5, 1)))
    assert (len(few.train), len(more.train), len(few.val)) == (5, 12, 9)
    assert set(few.train.items) < set(more.train.items) and set(few.train.items) != set(other.train.items)
    order = [SPLITS.train.items.index(item) for item in more.train.items]
    assert order == sorted(order)
    assert few.notes == ("one line was empty", "took 5 of 30 to train on (--examples)")


def test_val_is_the_same_for_every_seed_and_zero_or_more_than_there_are_is_all():
    parts = [SPLITS.first(0, seed, 4) for seed in (0, 1)]
    assert parts[0].val == parts[1].val and len(parts[0].val) == 4 and parts[0].train == SPLITS.train
    assert parts[0].notes[1:] == ("took 4 of 9 of val (--most-val)",)
    assert SPLITS.first(0, 0) == SPLITS.first(30, 0, 9) == SPLITS.first(99, 0, 99) == SPLITS


def test_a_run_knows_its_items_by_their_keys_and_sees_another_truth(tmp_path):
    held_out.keep(tmp_path, SPLITS)
    assert held_out.difference(held_out.kept(tmp_path), held_out.prints_of(SPLITS)) == ""
    changed = Part((Item("a0", "7"), *SPLITS.train.items[1:]))
    told = held_out.difference(
        held_out.kept(tmp_path), held_out.prints_of(Splits("x", changed, SPLITS.val, SPLITS.test))
    )
    assert told == "other labels, or another order"
    assert len(SPLITS.everything) == 44 and np.array_equal(SPLITS.test.take([1, 3]).labels, SPLITS.test.labels[[1, 3]])
