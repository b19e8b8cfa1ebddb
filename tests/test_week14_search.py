"""Week 14's index and search: top-k against a full sort, sums of texts and pictures, folders that change, odd files.

The tests marked `exercise(K)` are what `./course check 14` holds a learner's piece K to.
"""

import os

import numpy as np
import pytest
from PIL import Image
from programs import close, config, refused

from shared.errors import Stopped
from week14_clip import search
from week14_clip.index import Index


def unit(x):
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


# ---------------------------------------------------------------- exercise 2


@pytest.mark.exercise(2)
def test_top_k_by_hand():
    matrix = np.array([[0.6, 0.8], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], np.float32)
    found = search.top_k(np.array([1.0, 0.0], np.float32), matrix, 2)
    assert found is not None, "top_k gives None: is `return` missing?"
    rows, scores = found
    rows = np.asarray(rows).tolist()
    assert rows != [3, 2], "the least alike come first: the largest dot products should"
    assert rows == [1, 0], f"the rows are {rows}, should be [1, 0]: the largest dot product first"
    close(scores, np.array([1.0, 0.6]), "their scores")


@pytest.mark.exercise(2)
def test_top_k_of_few():
    rows, scores = search.top_k(np.array([0.0, 1.0], np.float32), np.eye(2, dtype=np.float32), 10)
    assert list(rows) == [1, 0] and len(scores) == 2, "of two rows the ten most alike are both"
    rows, scores = search.top_k(np.array([0.0, 1.0], np.float32), np.zeros((0, 2), np.float32), 10)
    assert len(rows) == len(scores) == 0, "of no rows none is found"


@pytest.mark.exercise(2)
def test_top_k_is_in_order():
    rng = np.random.default_rng(0)
    _, scores = search.top_k(unit(rng.normal(size=4)), unit(rng.normal(size=(2000, 4))), 50)
    assert (np.diff(scores) <= 0).all(), "the scores go up and down: the largest should come first, then the next"


@pytest.mark.exercise(2)
@pytest.mark.parametrize("k", [1, 3, 10, 50, 200])
@pytest.mark.parametrize("ties", [False, True])
def test_top_k_equals_a_full_sort(k, ties):
    rng = np.random.default_rng(k)
    matrix = rng.integers(0, 3, (200, 4)).astype(np.float32) if ties else unit(rng.normal(size=(200, 4)))
    asked = rng.integers(1, 3, 4).astype(np.float32) if ties else unit(rng.normal(size=4))
    expected = np.argsort(-(matrix @ asked), kind="stable")[:k]
    rows, scores = search.top_k(asked, matrix, k)
    where = "of equals the first row should come first" if ties else "the rows should be those of a full sort"
    rows = np.asarray(rows).tolist()
    assert rows == expected.tolist(), f"{where}: got {rows[:8]}, should be {expected[:8].tolist()}"
    close(scores, (matrix @ asked)[expected], "the scores")


# ---------------------------------------------------------------- sums


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a dog", [(1, "a dog")]),
        ("2:dog + beach.jpg - people", [(2, "dog"), (1, "beach.jpg"), (-1, "people")]),
        ("- people + 0.5: a red T-shirt", [(-1, "people"), (0.5, "a red T-shirt")]),
        ("at 10:30 in the morning", [(1, "at 10:30 in the morning")]),
        ("C++ and R", [(1, "C++ and R")]),
    ],
)
def test_terms(text, expected):
    assert search.terms(text) == expected


@pytest.mark.parametrize("text", ["dog + ", "dog - + cat", "2:", "+"])
def test_sums_with_a_hole(text):
    assert refused(search.terms, text).endswith('a term of this sum is empty; for example: "2:dog + beach.jpg".')


class Towers:
    """A text is its letters, a picture its mean colour: three numbers each."""

    dim, side = 3, 224
    texts = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}  # noqa: RUF012

    def of_texts(self, texts):
        return unit(np.array([self.texts[one] for one in texts], float))

    def of_pictures(self, pictures):
        means = [np.asarray(one.convert("RGB"), float).reshape(-1, 3).mean(0) for one in pictures]
        return unit(np.array(means) + 1e-3)


def put(path, colour, size=(20, 12), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)


def test_a_sum_of_texts_and_pictures(tmp_path):
    put(tmp_path / "lime.png", (0, 255, 0))
    found = search.question("3:red + lime.png - blue", Towers(), tmp_path)
    close(found, unit(np.array([3.0, 1.0, -1.0])), "the sum", 1e-2)
    line = '"red - red": nothing is left of this sum; its terms cancel.'
    assert refused(search.question, "red - red", Towers(), tmp_path) == line
    assert "nix.jpg: no such file" in refused(search.question, "nix.jpg", Towers(), tmp_path)


def test_a_picture_that_is_missing_is_told_before_the_folder_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "opened", lambda *_: pytest.fail("the towers were loaded"))
    line = refused(search.main, config(search, tmp_path, "dog + nix.jpg"))
    assert line == f"nix.jpg: no such file, neither here nor in {tmp_path}."


# ---------------------------------------------------------------- the index


class Counting(Towers):
    def __init__(self):
        self.seen = 0

    def of_pictures(self, pictures):
        self.seen += len(pictures)
        return super().of_pictures(pictures)


@pytest.fixture
def folder(tmp_path):
    colours = {"red": (250, 0, 0), "green": (0, 250, 0), "in/blue": (0, 0, 250), "grey": (90, 90, 90)}
    for name, colour in colours.items():
        put(tmp_path / "photos" / f"{name}.png", colour)
    return tmp_path / "photos"


def opened(folder, model="m"):
    return Index(folder, folder.parent / "kept" / "index.safetensors", model, 3)


def update(folder, model="m"):
    index, eyes = opened(folder, model), Counting()
    return index, index.update(eyes.of_pictures), eyes.seen


def test_a_folder_is_looked_at_once(folder):
    index, changes, seen = update(folder)
    assert index.names == ["green.png", "grey.png", "in/blue.png", "red.png"] and seen == 4
    assert sorted(changes.new) == index.names and str(changes) == "4 new, 0 as they were"
    again, changes, seen = update(folder)
    assert seen == 0 and changes.kept == 4 and not changes.new
    assert np.array_equal(again.matrix, index.matrix) and again.names == index.names
    rows, _ = search.top_k(Towers().of_texts(["blue"])[0], again.matrix, 1)
    assert again.names[rows[0]] == "in/blue.png"


def test_what_is_new_changed_moved_or_deleted(folder):
    update(folder)
    put(folder / "new.png", (250, 250, 0))
    put(folder / "green.png", (0, 250, 250))
    os.utime(folder / "green.png", ns=(1, 1))
    (folder / "red.png").rename(folder / "in" / "crimson.png")
    (folder / "grey.png").unlink()
    index, changes, seen = update(folder)
    assert (changes.new, changes.changed, changes.moved) == (["new.png"], ["green.png"], ["in/crimson.png"])
    assert changes.deleted == ["grey.png"] and changes.kept == 1
    assert seen == 2, "what has moved is not looked at again"
    assert index.names == ["green.png", "in/blue.png", "in/crimson.png", "new.png"]
    fresh = Index(folder, folder.parent / "other.safetensors", "m", 3)
    fresh.update(Towers().of_pictures)
    assert np.allclose(fresh.matrix, index.matrix) and fresh.names == index.names


def test_a_touched_file_and_a_copy(folder):
    update(folder)
    os.utime(folder / "red.png", ns=(5, 5))
    (folder / "copy.png").write_bytes((folder / "red.png").read_bytes())
    index, changes, seen = update(folder)
    assert seen == 0 and changes.new == ["copy.png"] and changes.kept == 4
    pairs = search.nearly_same(index.matrix, 0.999)
    assert [(index.names[a], index.names[b]) for a, b, _ in pairs] == [("copy.png", "red.png")]


def test_another_model_and_a_damaged_index(folder):
    update(folder)
    assert update(folder, model="other")[2] == 4
    (folder.parent / "kept" / "index.safetensors").write_bytes(b"nonsense")
    assert update(folder, model="other")[2] == 4


def test_odd_files(folder):
    """What cannot be read is named and passed over; turned, transparent, grey, 16-bit and huge ones are read."""
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture", encoding="utf-8")
    (folder / ".hidden.png").write_bytes((folder / "red.png").read_bytes())
    Image.new("RGBA", (9, 9), (255, 0, 0, 0)).save(folder / "clear.png")
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(folder / "deep.png")
    Image.new("L", (9, 9), 100).save(folder / "old.gif")
    put(folder / "huge.jpg", (200, 10, 10), (6000, 4000))
    turned = Image.new("RGB", (30, 10), (0, 0, 200))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / "turned.jpg", exif=exif)
    sizes = []

    def encode(pictures):
        sizes.extend(one.size for one in pictures)
        return Towers().of_pictures(pictures)

    index = opened(folder)
    changes = index.update(encode)
    assert sorted(changes.unreadable) == ["broken.jpg", "empty.png"] == sorted(index.wrong)
    assert "empty file" in index.wrong["empty.png"] and "not a readable image" in index.wrong["broken.jpg"]
    assert {"clear.png", "deep.png", "huge.jpg", "old.gif", "turned.jpg"} < set(index.names)
    assert (10, 30) in sizes and max(map(max, sizes)) <= 512
    assert index.matrix[index.names.index("clear.png")] == pytest.approx(unit(np.ones(3)), abs=1e-2)  # white
    _, changes, seen = update(folder)
    assert seen == 0 and sorted(changes.unreadable) == ["broken.jpg", "empty.png"]  # named again, not opened again
    put(folder / "broken.jpg", (9, 9, 200))
    assert update(folder)[2] == 1


def test_ctrl_c_keeps_what_was_looked_at(folder, monkeypatch):
    monkeypatch.setattr("week14_clip.index.BATCH", 2)
    import signal

    def encode(pictures):
        signal.raise_signal(signal.SIGINT)
        return Towers().of_pictures(pictures)

    with pytest.raises(Stopped, match="the same command goes on"):
        opened(folder).update(encode)
    _, changes, seen = update(folder)
    assert seen < 4 and changes.kept + len(changes.new) == 4 and changes.kept


@pytest.mark.parametrize("make", [False, True])
def test_no_pictures(tmp_path, make):
    place = tmp_path / "none"
    if make:
        place.mkdir()
    says = "no pictures in this folder." if make else "no such folder."
    assert refused(opened(place).update, Towers().of_pictures) == f"{place}: {says}"


def test_pairs_block_by_block():
    rng = np.random.default_rng(0)
    matrix = unit(rng.normal(size=(60, 6)))
    matrix[40], matrix[59] = matrix[3], matrix[7]
    pairs = search.nearly_same(matrix, 0.8, block=7)
    all_scores = np.triu(matrix @ matrix.T, 1)
    assert {pair[:2] for pair in pairs} == set(zip(*map(list, np.nonzero(all_scores >= 0.8)), strict=True))
    assert {pair[:2] for pair in pairs[:2]} == {(3, 40), (7, 59)}


@pytest.mark.parametrize(
    "flags, says",
    [
        ((), "what to look for, and where?"),
        (("/no/where", "dog"), "/no/where: no such folder. First comes the folder, then what to look for."),
        ((".", "dog + "), "a term of this sum is empty"),
    ],
)
def test_bad_questions(flags, says):
    assert says in refused(search.main, config(search, *flags))
