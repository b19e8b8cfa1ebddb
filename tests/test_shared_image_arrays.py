"""Images in an .npz: the layouts and kinds of numbers that are read. (What is refused: weeks 1 and 2.)"""

import io
import tarfile
import zipfile

import numpy as np
import pytest
from programs import refused

from shared.image_arrays import moments, read_npz

IMAGES = np.random.default_rng(3).integers(0, 256, (12, 6, 6), dtype=np.uint8)
LABELS = np.arange(12) % 3
SPLIT = np.repeat([0, 1, 2], [7, 2, 3])


@pytest.fixture
def read(tmp_path):
    """Writes arrays as np.savez does and reads them."""

    def save_and_read(**arrays):
        np.savez(tmp_path / "own.npz", **arrays)
        return read_npz(tmp_path / "own.npz")

    return save_and_read


def parts(images="{}_images", labels="{}_labels", names=("train", "val", "test"), shape=()):
    """The arrays in parts of their own, as others publish them."""
    return {
        key.format(name): array[part == SPLIT]
        for part, name in enumerate(names)
        if name
        for key, array in ((images, IMAGES), (labels, LABELS.reshape(-1, *shape)))
    }


@pytest.mark.parametrize(
    ("arrays", "split"),
    [
        ({"images": IMAGES, "labels": LABELS}, None),
        ({"images": IMAGES, "labels": LABELS, "split": SPLIT}, SPLIT),
        ({"X": IMAGES, "y": LABELS}, None),
        (parts(), SPLIT),
        (parts(shape=(1,)), SPLIT),  # MedMNIST
        (parts("x_{}", "y_{}"), SPLIT),
        (parts("X_{}", "Y_{}", ("train", "valid", "test")), SPLIT),
        (parts("x_{}", "y_{}", ("train", "", "test")), SPLIT),  # Keras: no val
    ],
)
def test_layouts(read, arrays, split):
    own = read(**arrays)
    there = np.ones(12, bool) if "y_val" in arrays or "y_test" not in arrays else SPLIT != 1
    np.testing.assert_array_equal(own.images, IMAGES[there])
    np.testing.assert_array_equal(own.labels, LABELS[there])
    np.testing.assert_array_equal(own.split, None if split is None else split[there])
    assert (own.classes, own.named, own.notes) == (("0", "1", "2"), False, ())


@pytest.mark.parametrize(
    ("images", "note"),
    [
        (IMAGES.reshape(12, 36), "rows of 36 pixels were read as 6 x 6"),
        (IMAGES.astype(np.float64), "pixels of float64 were read as 0 to 255"),
        (IMAGES.astype(np.int32), "pixels of int32 were read as 0 to 255"),
        (IMAGES.astype(np.uint16), "pixels of uint16 were read as 0 to 255"),
        (IMAGES / np.float32(255), None),
    ],
)
def test_kinds_of_pixels(read, images, note):
    own = read(images=images, labels=LABELS)
    np.testing.assert_array_equal(own.images, IMAGES, strict=True)
    assert own.notes == ((note,) if note else ())


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64])
def test_black_and_white(read, kind):
    own = read(images=(IMAGES > 99).astype(kind), labels=LABELS)
    np.testing.assert_array_equal(own.images, np.where(IMAGES > 99, 255, 0).astype(np.uint8), strict=True)
    assert own.notes == (() if kind is bool else ("pixels of 0 and 1 were read as black and white",))


def test_colours_in_front(read):
    colour = np.random.default_rng(0).integers(0, 256, (12, 3, 6, 6), dtype=np.uint8)
    own = read(images=colour, labels=LABELS)
    np.testing.assert_array_equal(own.images, colour.transpose(0, 2, 3, 1))
    assert own.notes == ("the colours came first: (N, C, H, W) was turned to (N, H, W, C)",)


NAMES = np.array(["dog", "cat", "eel"])


@pytest.mark.parametrize(
    ("more", "labels", "classes"),
    [
        ({"labels": LABELS[:, None]}, LABELS, None),
        ({"labels": np.eye(3)[LABELS]}, LABELS, None),  # one-hot
        ({"labels": LABELS.astype(float)}, LABELS, None),
        ({"labels": LABELS, "classes": NAMES}, LABELS, NAMES),
        ({"labels": NAMES[LABELS]}, np.array([1, 0, 2])[LABELS], ["cat", "dog", "eel"]),
        ({"labels": NAMES[LABELS], "classes": NAMES}, np.array([1, 0, 2])[LABELS], ["cat", "dog", "eel"]),
    ],
)
def test_kinds_of_labels(read, more, labels, classes):
    own = read(images=IMAGES, **more)
    np.testing.assert_array_equal(own.labels, labels)
    assert own.named == (classes is not None)
    assert own.classes == tuple("012" if classes is None else map(str, classes))


def test_parts_of_two_sizes(read, tmp_path):
    arrays = parts() | {"test_images": IMAGES[:3, :4]}
    assert refused(lambda: read(**arrays)) == (
        f"{tmp_path / 'own.npz'}: its parts have images of other shapes: (4, 6) and (6, 6)."
    )


def test_an_archive_of_folders_is_to_be_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as file:
        file.writestr("cat/1.jpg", b"no picture")
    with tarfile.open(tmp_path / "pets.tar.gz", "w:gz") as file:
        file.addfile(tarfile.TarInfo("cat/1.jpg"), io.BytesIO())
    assert refused(read_npz, tmp_path / "pets.zip") == (
        f"{tmp_path / 'pets.zip'}: an archive with cat/1.jpg in it, no .npz. Unpack it and give the folder."
    )
    assert refused(read_npz, tmp_path / "pets.tar.gz") == (
        f"{tmp_path / 'pets.tar.gz'}: an archive, no .npz. Unpack it and give the folder."
    )


@pytest.mark.parametrize("colours", [1, 3])
def test_moments_are_numpys(colours):
    images = np.random.default_rng(4).integers(0, 256, (300, 5, 4, colours), dtype=np.uint8)
    mean, std = moments(images)
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(std, (images / 255).std(axis=(0, 1, 2)), rtol=1e-6)


def test_a_colour_that_never_changes_can_be_divided_by():
    mean, std = moments(np.full((3, 2, 2, 1), 51, np.uint8))
    assert (mean.tolist(), std.tolist()) == (pytest.approx([0.2]), [1.0])
