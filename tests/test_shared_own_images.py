"""A learner's own images: how they are cut in three, and pictures of every kind. (What is refused: weeks 1 and 2.)"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import shared.own_images
from shared.errors import CourseError
from shared.image_arrays import read_npz
from shared.own_images import Labelled, cut_in_three, in_three, look_alikes, stratified, without_copies
from shared.pictures import read_picture

SAMPLE = Path(__file__).resolve().parent.parent / "shared" / "samples" / "mnist_10k.npz"


def three(labels, split=None):
    labels = np.array(labels)
    own = Labelled(np.zeros((len(labels), 2, 2), np.uint8), labels, tuple(map(str, range(9))), split)
    return cut_in_three(Path("own.npz"), own)


def test_stratified_parts_are_disjoint_and_whole():
    labels = np.repeat([0, 1, 2], [100, 50, 7])
    rest, val, test = stratified(labels, (0.1, 0.2))
    assert sorted([*rest, *val, *test]) == list(range(157))
    assert np.bincount(labels[val]).tolist() == [10, 5, 1]
    assert np.bincount(labels[test]).tolist() == [20, 10, 1]


def test_a_tenth_of_every_class_is_held_out_and_never_more_than_2500():
    labels = np.repeat([0, 1], [30_000, 10_000])
    train, val, test = three(labels)
    assert [np.bincount(labels[rows]).tolist() for rows in (train, val, test)] == [
        [26250, 8750],
        [1875, 625],
        [1875, 625],
    ]
    assert sorted([*train, *val, *test]) == list(range(40_000))


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 1, 1], [0, 1, 2, 3, 4, 5, 6, 7, 8]])
def test_where_classes_are_too_small_to_be_shared_all_parts_still_have_images(labels):
    rows = three(labels)
    assert all(map(len, rows)) and sorted(np.concatenate(rows)) == list(range(len(labels)))


def test_two_images_are_too_few():
    with pytest.raises(CourseError, match=r"^own\.npz: 2 images are too few for a train, a val and a test part\.$"):
        three([0, 1])


def test_a_split_of_ones_own_is_kept():
    assert [rows.tolist() for rows in three([0, 1, 0, 1], np.array([2, 0, 1, 0]))] == [[1, 3], [2], [0]]


def test_pictures_of_every_kind_are_read_as_one_sees_them(tmp_path):
    half = np.zeros((8, 8, 3), np.uint8)
    half[:4] = 255  # the upper half is white
    upright = Image.fromarray(half)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me to the right"
    upright.rotate(90).save(tmp_path / "lying.png", exif=exif)
    upright.convert("L").save(tmp_path / "grey.png")
    upright.convert("P").save(tmp_path / "palette.gif")
    upright.convert("CMYK").save(tmp_path / "print.tif")
    Image.fromarray(half[..., 0].astype(np.uint16) * 256).save(tmp_path / "deep.png")
    clear = np.zeros((8, 8, 4), np.uint8)
    clear[4:, :, 3] = 255  # the lower half is black, the upper one nothing
    Image.fromarray(clear).save(tmp_path / "clear.png")
    for path in sorted(tmp_path.iterdir()):
        picture = read_picture(path)
        assert picture.mode == "RGB"
        assert np.abs(np.asarray(picture).astype(int) - half).max() <= 3, path.name


# ---------------------------------------------------------------- copies


def own_images(labels, split=None, same=()):
    """Different images, but for `same`: pairs (copy, original)."""
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8), dtype=np.uint8)
    for copy, original in same:
        images[copy] = images[original]
    return Labelled(images, np.array(labels), ("a", "b"), None if split is None else np.array(split, np.uint8))


@pytest.mark.parametrize(
    ("split", "same", "stays", "note"),
    [
        (None, [], range(6), None),
        (None, [(3, 1), (5, 1)], [0, 1, 2, 4], "dropped 2 copies of other images"),
        (None, [(2, 1)], [0, 1, 3, 4, 5], "dropped 1 copy of other images, 1 of them with another label"),
        ([0, 0, 0, 1, 2, 2], [(0, 4), (1, 3)], [2, 3, 4, 5],
         "dropped 2 copies of other images"),  # what is held out stays
        ([0, 0, 0, 1, 2, 2], [(3, 5), (1, 5)], [0, 2, 4, 5], "dropped 2 copies of other images"),
        ([0, 0, 0, 1, 2, 2], [(4, 5)], range(6), None),  # a published test part stays as it is
    ],
)  # fmt: skip
def test_copies_are_dropped_where_they_would_be_learned(split, same, stays, note):
    own = own_images([0, 1, 0, 1, 0, 1], split, same)
    found = without_copies(own)
    np.testing.assert_array_equal(found.images, own.images[list(stays)])
    np.testing.assert_array_equal(found.labels, own.labels[list(stays)])
    assert found.notes == ((note,) if note else ())


def test_images_that_are_nearly_the_same_are_counted(tmp_path):
    """Saved again, at another size, a little brighter: alike. Other images are not, nor is MNIST to itself."""
    base = np.random.default_rng(1).integers(0, 256, (30, 6, 6), dtype=np.uint8)
    train = np.stack([np.asarray(Image.fromarray(one).resize((32, 32), Image.Resampling.BICUBIC)) for one in base])
    held_out = train[:4].copy()
    Image.fromarray(train[0]).save(tmp_path / "again.jpg", quality=40)
    held_out[0] = np.asarray(Image.open(tmp_path / "again.jpg"))
    held_out[1] = np.asarray(Image.fromarray(train[1]).resize((24, 24)).resize((32, 32)))
    held_out[2] = np.minimum(train[2], 252) + 3
    held_out[3] = train[3][::-1]
    assert look_alikes(held_out, train).tolist() == [0, 1, 2]
    colour = np.repeat(train[..., None], 3, axis=3)
    assert look_alikes(np.repeat(held_out[..., None], 3, axis=3), colour).tolist() == [0, 1, 2]
    images = np.concatenate([train, held_out])
    own = Labelled(images, np.arange(34) % 2, ("a", "b"), np.repeat([0, 1, 2], [30, 1, 3]))
    assert in_three(tmp_path, own)[0].notes == (
        "3 of the 4 images of val and test look nearly like one to train on: the score may flatter",
    )
    digits = read_npz(SAMPLE).images
    assert len(look_alikes(digits[:1000], digits[1000:])) == 0


def test_only_what_can_be_compared_in_a_second_or_two_is(monkeypatch):
    images = own_images([0] * 10).images
    assert len(look_alikes(images, images)) == 10
    monkeypatch.setattr(shared.own_images, "MOST_PAIRS", 99)
    assert len(look_alikes(images, images)) == 0
