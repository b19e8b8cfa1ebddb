"""A learner's own images: how they are cut in three, and pictures of every kind. (What is refused: weeks 1 and 2.)"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.errors import CourseError
from shared.own_images import Labelled, cut_in_three, read_picture, stratified


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
