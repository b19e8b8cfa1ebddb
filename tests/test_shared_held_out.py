"""What a network may be scored on: by content, whatever the data are called and however they are cut."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
from programs import refused

from shared import held_out


@dataclass(frozen=True)
class Part:
    examples: list[str]
    labels: np.ndarray

    def __len__(self):
        return len(self.labels)

    def take(self, rows):
        return Part([self.examples[row] for row in rows], self.labels[rows])


@dataclass(frozen=True)
class Data:
    train: Part
    val: Part
    test: Part
    own_test: bool = False
    notes: tuple[str, ...] = ("read as cp1252",)

    @property
    def everything(self):
        parts = self.train, self.val, self.test
        return Part([one for p in parts for one in p.examples], np.concatenate([p.labels for p in parts]))


def part(words):
    """One example a word; its label is how many letters it has beyond one."""
    return Part(words.split(), np.array([len(word) - 1 for word in words.split()]))


DATA = Data(part("a bb ccc"), part("d ee"), part("f gg hhh"))


@pytest.fixture
def run(tmp_path):
    held_out.keep(tmp_path, DATA)
    return SimpleNamespace(folder=tmp_path, config=SimpleNamespace(data="letters"))


def test_fingerprints_tell_examples_apart_by_their_content():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2000, 3, 4), dtype=np.uint8)
    images[1999] = images[7]
    prints = held_out.fingerprints(images)
    assert prints.dtype == np.int64 and len(set(prints.tolist())) == 1999 and prints[1999] == prints[7]
    np.testing.assert_array_equal(held_out.fingerprints(images[:, :, ::-1][:, :, ::-1]), prints)
    assert held_out.fingerprints(["ä", "a", "\udcff"]).shape == (3,), "a name that is not UTF-8, too"
    assert held_out.fingerprints([]).shape == (0,)


def test_the_runs_own_test_part_is_scored_under_whatever_name(run):
    for name in ("letters", "a copy of them"):
        chosen = held_out.choose(run, name, DATA)
        assert chosen == held_out.HeldOut(f"{name} (test)", DATA.test, True, DATA.notes)


def test_data_that_have_grown_are_scored_where_the_network_has_not_seen_them(run):
    grown = Data(part("f bb new"), part("ccc gg"), part("a d ee hhh x"))  # cut anew: most of test was trained on
    chosen = held_out.choose(run, "letters", grown)
    assert chosen.part.examples == ["f", "new", "gg", "hhh", "x"]
    assert chosen.part.labels.tolist() == [0, 2, 1, 2, 0]
    assert not chosen.own, "so the run's result stays what it was"
    assert chosen.name == "letters" and chosen.notes == (
        "read as cp1252",
        "these data have changed since the training (2 new, 6 in another part)",
        "left out 5 images that this network was trained or chosen on",
    )


def test_of_data_with_a_test_split_only_that_is_scored(run):
    other = Data(part("x"), part("y"), part("a z hhh"), own_test=True)
    chosen = held_out.choose(run, "other", other, "letters", "It is the same alphabet.")
    assert chosen.part.examples == ["z", "hhh"] and chosen.name == "other (test)" and not chosen.own
    assert chosen.notes[1:] == (
        "left out 1 letters that this network was trained or chosen on (It is the same alphabet.)",
    )


def test_nothing_is_left(run):
    known = Data(part("a"), part("bb"), part("ee"))
    assert refused(held_out.choose, run, "known", known, "letters", "It is the same alphabet.") == (
        "--data known: this network was trained or chosen on all of these 3 letters, so a score on them would say "
        "nothing. (It is the same alphabet.)"
    )


@pytest.mark.parametrize(
    ("data", "changed"),
    [
        (Data(part("a bb ccc new"), part("d"), part("f gg hhh")), "1 new, 1 gone"),
        (Data(part("a bb"), part("d ee ccc"), part("f gg hhh")), "1 in another part"),
        (Data(part("bb a ccc"), part("d ee"), part("f gg hhh")), "other labels, or another order"),
        (replace(DATA, train=Part(DATA.train.examples, np.array([1, 1, 2]))), "other labels, or another order"),
    ],
)
def test_who_goes_on_must_have_the_same_data(tmp_path, run, data, changed):
    held_out.hold_to(tmp_path, "letters", DATA, "")
    assert refused(held_out.hold_to, tmp_path, "letters", data, "start a new run.") == (
        f"--data letters is not what {tmp_path} was begun with any more ({changed}): start a new run."
    )


# ---------------------------------------------------------------- classes by name


def chosen(*labels):
    return held_out.HeldOut("pets", Part([""] * len(labels), np.array(labels)), False, ())


def test_classes_are_matched_by_name_not_by_place():
    found = held_out.by_name(chosen(0, 1, 2, 1), ("bird", "Cat", "dog"), ("cat", "dog", "bird"))
    assert found.part.labels.tolist() == [2, 0, 1, 0] and found.notes == ()
    found = held_out.by_name(chosen(0, 1), ("A", "a"), ("a", "A"))
    assert found.part.labels.tolist() == [1, 0], "two that differ in capitals alone stay two"


def test_a_part_of_the_classes_is_scored_as_such():
    found = held_out.by_name(chosen(2, 2), ("a name that no image has", "cat", "dog"), ("bird", "cat", "dog"))
    assert found.part.labels.tolist() == [2, 2]
    assert found.notes == ("only 1 of the network's 3 classes occur: the score is of these alone",)


def test_a_class_that_the_network_does_not_know():
    assert refused(held_out.by_name, chosen(0, 1), ("cats", "dog"), ("cat", "dog")) == (
        "--data pets: class 'cats' (did you mean cat?), but the network knows: cat, dog."
    )
    many = tuple(map(str, range(25)))
    assert refused(held_out.by_name, chosen(0, 1), ("zebra", "1"), many) == (
        f"--data pets: class 'zebra', but the network knows: {', '.join(many[:20])}, …."
    )


def test_classes_without_names_are_taken_by_number_and_that_is_said():
    found = held_out.by_name(chosen(0, 2), None, ("cat", "dog", "bird", "fish"))
    assert found.part.labels.tolist() == [0, 2]
    assert found.notes == (
        "its classes have no names: their numbers were taken for the network's (0 for cat, 2 for bird, …)",
    )
    assert held_out.by_name(chosen(0, 1), None, ("0", "1")).notes == ()
    assert refused(held_out.by_name, chosen(0, 4), None, ("cat", "dog")) == (
        "--data pets: label 4, but the network knows 2 classes."
    )
