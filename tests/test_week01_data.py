"""Week 1's data: the bundled digits, the published idx format, a learner's own images, and all that can be wrong."""

import gzip
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from programs import refused

from shared.assets import Asset
from shared.errors import CourseError
from week01_numpy_mlp import data


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def assert_same(part, images, labels):
    np.testing.assert_array_equal(part.images, images.reshape(len(images), -1))
    np.testing.assert_array_equal(part.labels, labels)


# ---------------------------------------------------------------- the bundled sample


def test_sample_holds_every_digit_in_every_part_and_no_image_twice():
    digits = data.load("sample")
    assert (digits.name, digits.shape, digits.classes) == ("sample", (28, 28), tuple("0123456789"))
    assert [len(part) for part in (digits.train, digits.val, digits.test)] == [8000, 1000, 1000]
    for part in (digits.train, digits.val, digits.test):
        assert part.images.dtype == np.uint8 and part.images.shape == (len(part), 784)
        assert set(part.labels.tolist()) == set(range(10))
        assert np.bincount(part.labels).min() > 0.07 * len(part), "some digit is rare in one part"
    assert len({image.tobytes() for image in digits.everything.images}) == 10_000
    assert digits.everything.images.max() == 255, "the pixels are bytes, not decimals rounded to 0 and 1"


# ---------------------------------------------------------------- the published idx format


def idx(array, code=8) -> bytes:
    """An array as the data set's page describes it."""
    header = bytes([0, 0, code, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.tobytes()


@pytest.fixture
def published(tmp_path, rng):
    """A folder with the four files of a tiny data set (24 + 5 images of 4 x 3), not gzipped, and what is in them."""
    arrays = {}
    for name, count in (("train", 24), ("t10k", 5)):
        arrays[f"{name}-images-idx3-ubyte"] = rng.integers(0, 256, (count, 4, 3), dtype=np.uint8)
        arrays[f"{name}-labels-idx1-ubyte"] = (np.arange(count) % 10).astype(np.uint8)
    for file, array in arrays.items():
        (tmp_path / file).write_bytes(idx(array))
    return tmp_path, arrays


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("dotted", [False, True])
def test_published_files_are_read_gzipped_or_not_in_both_spellings(published, tmp_path, ending, dotted):
    folder, arrays = published
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for file, array in arrays.items():
        content = gzip.compress(idx(array)) if ending else idx(array)
        (elsewhere / ((file.replace("-idx", ".idx") if dotted else file) + ending)).write_bytes(content)
    found = data.load(str(elsewhere))
    images, labels, test_images, test_labels = arrays.values()
    assert found.shape == (4, 3)
    assert found.classes == tuple("0123456789")
    assert_same(found.train, images[:22], labels[:22])
    assert_same(found.val, images[22:], labels[22:])
    assert_same(found.test, test_images, test_labels)
    assert found.own_test and data.published(folder.parent) is None


@pytest.mark.parametrize("place", ["", "raw", "MNIST/raw", "FashionMNIST/raw"])
def test_published_files_as_torchvision_lays_them(published, tmp_path, place):
    folder, arrays = published
    root = tmp_path / "root" / place
    root.mkdir(parents=True)
    for file in arrays:
        (folder / file).rename(root / file)
    found = data.load(str(tmp_path / "root"))
    assert_same(found.test, *list(arrays.values())[2:])
    assert found.classes == (data.CLOTHES if "Fashion" in place else tuple("0123456789")) and found.own_test


@pytest.mark.parametrize("kind", ["zip", "gztar", "tar"])
def test_published_files_in_an_archive(published, tmp_path, kind):
    folder, arrays = published
    (tmp_path / "in" / "mnist").mkdir(parents=True)
    for file in arrays:
        (folder / file).rename(tmp_path / "in" / "mnist" / file)
    archive = shutil.make_archive(str(tmp_path / "archive"), kind, tmp_path / "in")
    assert_same(data.load(archive).test, *list(arrays.values())[2:])
    missing = tmp_path / "in" / "mnist" / data.FILES[2]
    missing.unlink()
    archive = shutil.make_archive(str(tmp_path / "archive"), kind, tmp_path / "in")
    assert refused(data.load, archive) == (
        f"{archive}/mnist: {missing.name}[.gz] is missing; the four published files belong together."
    )


def test_archives_of_something_else_and_one_file_alone(published, tmp_path):
    folder, arrays = published
    (tmp_path / "pets" / "cat").mkdir(parents=True)
    (tmp_path / "pets" / "cat" / "1.jpg").touch()
    for kind in ("zip", "gztar"):
        archive = shutil.make_archive(str(tmp_path / "pets"), kind, tmp_path / "pets")
        assert refused(data.load, archive) == (
            f"{archive}: none of MNIST's four files is in it. Unpack it and give the folder."
        )
    (tmp_path / "half.zip").write_bytes((tmp_path / "pets.zip").read_bytes()[:40])
    assert refused(data.load, str(tmp_path / "half.zip")).startswith(
        f"{tmp_path / 'half.zip'}: damaged, or no zip or tar file ("
    )
    alone = folder / f"{data.FILES[0]}.gz"
    alone.write_bytes(gzip.compress(idx(arrays[data.FILES[0]])))
    assert refused(data.load, str(alone)) == (
        f"{alone}: one of MNIST's four files. Give the folder that they are in: {folder}."
    )


# ---------------------------------------------------------------- Kaggle's csv


PIXELS = np.random.default_rng(5).integers(0, 256, (30, 16), dtype=np.uint8)


def csv_text(label_at=0, heading=True, more=()):
    rows = np.insert(PIXELS.astype(int), label_at, np.arange(30) % 3, axis=1).tolist()
    head = [f"pixel{number}" for number in range(16)]
    head.insert(label_at, "label")
    return "\n".join(",".join(map(str, row)) for row in ([head] * heading + rows + list(more))) + "\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.csv", csv_text()),
        ("mnist_train.CSV", csv_text(heading=False)),
        ("mnist_784.csv", csv_text(label_at=16)),
        ("excel.csv", "\ufeff" + csv_text()),
        ("train.csv.gz", csv_text()),
    ],
)
def test_a_csv_with_a_label_and_pixels(tmp_path, name, content):
    raw = content.encode()
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    found = data.load(str(tmp_path / name))
    assert (found.shape, found.classes, found.named, found.own_test) == ((4, 4), ("0", "1", "2"), False, False)
    label_of = {image.tobytes(): number % 3 for number, image in enumerate(PIXELS)}
    everything = found.everything
    assert [label_of.pop(image.tobytes()) for image in everything.images] == everything.labels.tolist()
    assert not label_of


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("\n".join(",".join(map(str, row)) for row in PIXELS),
         "16 columns, expected a label and 784 pixels, 785. Its rows have no label: give the file to train on."),
        ("image,label\na.png,3\n", "2 columns, expected a label and 784 pixels, 785."),
        (csv_text(more=[[300] * 17]), "not a readable csv of whole numbers from 0 to 255 (could not convert string "
                                      "'300' to uint8 at row 30, column 1.)."),
        (csv_text(more=[[1] * 5]), "not a readable csv of whole numbers from 0 to 255 (the number of columns changed "
                                   "from 17 to 5 at row 31)."),
        (csv_text().partition("\n")[0] + "\n", "a heading, but no images below it."),
    ],
)  # fmt: skip
def test_a_csv_that_is_none_of_images(tmp_path, content, complaint, recwarn):
    path = tmp_path / "some.csv"
    path.write_text(content, encoding="utf-8")
    assert refused(data.load, str(path)) == f"{path}: {complaint}"
    assert not recwarn.list


def test_read_idx_returns_the_array_itself(tmp_path, rng):
    for shape in ((5, 4, 3), (7,), (0, 28, 28)):
        array = rng.integers(0, 256, shape, dtype=np.uint8)
        (tmp_path / "file").write_bytes(idx(array))
        np.testing.assert_array_equal(data.read_idx(tmp_path / "file"), array, strict=True)


def test_val_is_cut_from_the_end_of_train_and_never_from_test(tmp_path, published):
    _, arrays = published
    images, labels, test_images, test_labels = arrays.values()
    found = data.load_idx(tmp_path, "tiny", val_size=5000)
    assert len(found.train) + len(found.val) == len(images) and len(found.val) == 2
    assert_same(found.everything, *(np.concatenate(pair) for pair in ((images, test_images), (labels, test_labels))))
    assert_same(found.test, test_images, test_labels)
    assert len(data.load_idx(tmp_path, "tiny", val_size=1).val) == 1


PLENTY = (2**31).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not an idx file, it starts with nothing instead of 00 00 08."),
        (b"<!DOCTYPE html>", "not an idx file, it starts with 3c 21 44 4f instead of 00 00 08."),
        (b"\x93NUMPY", "not an idx file, it starts with 93 4e 55 4d instead of 00 00 08."),
        (idx(np.zeros((2, 2, 2), np.float32), code=0x0D),
         "the idx type code is 0x0d, only 0x08 (unsigned bytes) is read here."),
        (b"\0\0\x08\x02" + PLENTY * 2, "an idx header of 2 dimensions; images have 3 and labels 1."),
        (b"\0\0\x08\x03\0\0", "an idx header of 3 dimensions; images have 3 and labels 1."),
        (idx(np.zeros((2, 3, 4), np.uint8))[:-5],
         "cut short, the header promises 2 x 3 x 4 = 24 bytes and 19 are there."),
        (idx(np.zeros(9, np.uint8)) + b"xx", "too long, the header promises 9 = 9 bytes and 11 are there."),
        (
            b"\0\0\x08\x03" + (60_000).to_bytes(4, "big") + PLENTY * 2 + b"few",
            "cut short, the header promises 60000 x 2147483648 x 2147483648 = 276,701,161,105,643,274,240,000 bytes "
            "and 3 are there.",
        ),
        (gzip.compress(b"<html>nothing here</html>", mtime=0),
         "not an idx file, it starts with 3c 68 74 6d instead of 00 00 08."),
    ],
)  # fmt: skip
def test_idx_file_that_is_wrong(tmp_path, content, complaint):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    assert refused(data.read_idx, path) == f"{path}: {complaint}"


def test_gzip_that_is_cut_short_or_damaged(tmp_path, rng):
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    whole = gzip.compress(idx(rng.integers(0, 256, (9, 28, 28), dtype=np.uint8)))
    path.write_bytes(whole[:-100])
    assert refused(data.read_idx, path) == (
        f"{path}: the gzip file is cut short or damaged "
        "(Compressed file ended before the end-of-stream marker was reached). Download it again."
    )
    damaged = bytearray(whole)
    damaged[-6] ^= 255  # in the checksum
    path.write_bytes(damaged)
    assert refused(data.read_idx, path).startswith(f"{path}: the gzip file is cut short or damaged (CRC check failed")
    path.write_bytes(whole[:20] + b"\xff" * 50 + whole[70:])
    assert refused(data.read_idx, path).startswith(f"{path}: the gzip file is cut short or damaged (")


def test_labels_where_images_belong(published):
    folder, arrays = published
    images, labels = (folder / file for file in data.FILES[:2])
    images.write_bytes(idx(arrays[labels.name]))
    assert refused(data.load, str(folder)) == f"{images}: holds labels where images belong. Were the files swapped?"
    images.write_bytes(idx(arrays[images.name]))
    labels.write_bytes(idx(arrays[images.name]))
    assert refused(data.load, str(folder)) == f"{labels}: holds images where labels belong. Were the files swapped?"


def test_train_labels_beside_test_images(published):
    folder, arrays = published
    (folder / data.FILES[3]).write_bytes(idx(arrays[data.FILES[1]]))
    assert refused(data.load, str(folder)) == f"{folder}: 5 t10k images but 24 labels, they do not match."


@pytest.mark.parametrize("file", data.FILES)
def test_one_of_the_four_files_is_missing(published, file):
    folder, _ = published
    (folder / file).unlink()
    assert refused(data.load, str(folder)) == (
        f"{folder}: {file}[.gz] is missing; the four published files belong together."
    )


@pytest.mark.parametrize(("size", "count"), [((4, 4), 5), ((4, 3), 0)])
def test_files_of_two_data_sets(published, size, count):
    folder, _ = published
    (folder / data.FILES[2]).write_bytes(idx(np.zeros((count, *size), np.uint8)))
    (folder / data.FILES[3]).write_bytes(idx(np.zeros(count, np.uint8)))
    assert refused(data.load, str(folder)) == (
        f"{folder}: train images of shape (24, 4, 3) and t10k images of {(count, *size)} do not belong together: "
        "expected some of each, all of one size."
    )


# ---------------------------------------------------------------- mnist by name


@pytest.fixture
def tiny_mnist(published, tmp_path, monkeypatch):
    """`mnist` with tiny files in the published one's place, a mirror that has them, and an empty home."""
    _, arrays = published
    mirror = tmp_path / "a mirror"
    (mirror / "mnist").mkdir(parents=True)
    assets = []
    for file, array in arrays.items():
        content = gzip.compress(idx(array), mtime=0)
        (mirror / "mnist" / f"{file}.gz").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        assets.append(Asset(f"mnist/{file}.gz", ("http://127.0.0.1:9/none",), digest, len(content), "CC BY-SA 3.0"))
    monkeypatch.setitem(data.ASSETS, "mnist", assets)
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COURSE_MIRROR", str(mirror))
    return mirror, arrays


def test_mnist_comes_through_the_asset_layer_and_is_kept(tiny_mnist, monkeypatch):
    _, arrays = tiny_mnist
    images, labels, test_images, test_labels = arrays.values()
    for _ in range(2):  # the second time from $COURSE_HOME
        found = data.load("mnist")
        assert (found.name, found.shape) == ("mnist", (4, 3))
        assert_same(found.train, images[:22], labels[:22])
        assert_same(found.test, test_images, test_labels)
        monkeypatch.delenv("COURSE_MIRROR", raising=False)


def test_mnist_without_any_source(tiny_mnist, monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_MIRROR")
    asset = data.ASSETS["mnist"][0]
    assert refused(data.load, "mnist") == (
        f"cannot download mnist/train-images-idx3-ubyte.gz, expected {asset.expected}. "
        "Tried http://127.0.0.1:9/none: Connection refused. To use a copy from elsewhere, put it at "
        f"{tmp_path / 'home' / asset.name} or set $COURSE_MIRROR to the address or folder of a mirror."
    )


def test_a_mirror_with_something_else(tiny_mnist):
    mirror, _ = tiny_mnist
    (mirror / "mnist" / f"{data.FILES[0]}.gz").write_bytes(b"<html>please log in</html>")
    assert "sent an HTML page instead of data" in refused(data.load, "mnist")


def test_every_published_file_has_two_hosts_and_a_checksum():
    for name, assets in data.ASSETS.items():
        assert [asset.name for asset in assets] == [f"{name}/{file}.gz" for file in data.FILES]
        for asset in assets:
            assert len(asset.urls) == 2 and len(asset.sha256) == 64 and asset.size > 4000
            assert all(url.endswith(Path(asset.name).name) for url in asset.urls)
    assert len({asset.sha256 for assets in data.ASSETS.values() for asset in assets}) == 8


def test_data_that_is_not_there(tmp_path):
    assert refused(data.load, "mnits") == (
        "--data mnits: no such file or folder, nor one of sample, mnist, fashion_mnist."
    )
    assert refused(data.load, str(tmp_path / "none.npz")).startswith(f"--data {tmp_path / 'none.npz'}: no such file")


# ---------------------------------------------------------------- an .npz of one's own


@pytest.fixture
def npz(tmp_path):
    """Writes arrays as np.savez does and loads them."""

    def save_and_load(**arrays):
        np.savez(tmp_path / "own.npz", **arrays)
        return data.load(str(tmp_path / "own.npz"))

    return save_and_load


@pytest.fixture
def own(rng):
    return {"images": rng.integers(0, 256, (40, 6, 5), dtype=np.uint8), "labels": np.arange(40) % 3}


def test_a_tenth_of_each_class_of_an_own_npz_is_held_out_the_same_way_each_time(npz, own):
    found = npz(**own)
    assert (found.shape, found.classes) == ((6, 5), ("0", "1", "2"))
    counts = [np.bincount(part.labels).tolist() for part in (found.train, found.val, found.test)]
    assert counts == [[12, 11, 11], [1, 1, 1], [1, 1, 1]]
    label_of = {image.tobytes(): label for image, label in zip(own["images"], own["labels"], strict=True)}
    everything = found.everything
    assert len({image.tobytes() for image in everything.images}) == 40, "an image is lost, or in two parts"
    assert [label_of[image.tobytes()] for image in everything.images] == everything.labels.tolist()
    np.testing.assert_array_equal(npz(**own).train.images, found.train.images)


def test_own_npz_in_colour_with_classes_and_split(npz, own, rng):
    images, split = rng.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8), np.arange(40) % 4 % 3
    found = npz(images=images, labels=own["labels"].astype(np.uint8), classes=["cat", "dog", "cow", "hen"], split=split)
    assert (found.shape, found.classes) == ((6, 5, 3), ("cat", "dog", "cow", "hen"))
    for number, part in enumerate((found.train, found.val, found.test)):
        assert_same(part, images[split == number], own["labels"][split == number])


def test_decimals_from_0_to_1_become_bytes(npz, own):
    images = own["images"]
    for dtype in (np.float32, np.float64):
        found = npz(images=images.astype(dtype) / 255, labels=own["labels"], split=np.arange(40) % 3)
        assert found.train.images.dtype == np.uint8
        assert_same(found.train, images[::3], own["labels"][::3])


def with_nan(images):
    decimals = images / 255
    decimals[[17, 17, 30], 0, [1, 2, 3]] = np.nan, np.inf, -np.inf
    return decimals


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda own: {"labels": own["labels"][:-1]}, "40 images but labels of shape (39,), they do not match."),
        (lambda own: {"labels": np.ones((40, 3), int)}, "40 images but labels of shape (40, 3), they do not match."),
        (lambda own: {"labels": own["labels"] / 2}, "labels must be whole numbers from 0, these are float64."),
        (lambda own: {"labels": own["labels"] * np.nan}, "labels must be whole numbers from 0, these are float64."),
        (lambda own: {"labels": np.array(["cat"] * 40)}, "one class only; there is nothing to tell apart."),
        (lambda own: {"labels": own["labels"] - 1}, "labels must be whole numbers from 0, the smallest here is -1."),
        (lambda own: {"labels": own["labels"] + 10**12},
         "a label of 1000000000002, for 40 images. Number the classes from 0 on."),
        (lambda own: {"labels": own["labels"] * 0}, "one class only; there is nothing to tell apart."),
        (lambda own: {"classes": ["cat", "dog"]}, "label 2 is outside the 2 classes that are named."),
        (lambda own: {"classes": "cats and dogs"}, "label 2 is outside the 1 classes that are named."),
        (lambda own: {"images": with_nan(own["images"])},
         "3 pixels are NaN or infinite, the first in image 17. Clean the data first."),
        (lambda own: {"images": own["images"] / 255 - 1},
         "pixels run from -1 to 0, expected bytes from 0 to 255 or decimals from 0 to 1."),
        (lambda own: {"images": own["images"].astype(int) * 2},
         "pixels run from 0 to 510, expected bytes from 0 to 255 or decimals from 0 to 1."),
        (lambda own: {"images": own["images"].astype(str)},
         "images are <U3, expected uint8 from 0 to 255 or decimals from 0 to 1."),
        (lambda own: {"images": own["images"].reshape(40, 30)},
         "images are of shape (40, 30), expected (N, H, W), or (N, H, W, C) with 1, 3 or 4 colours."),
        (lambda own: {"images": np.zeros((40, 2, 6, 5), np.uint8)},
         "images are of shape (40, 2, 6, 5), expected (N, H, W), or (N, H, W, C) with 1, 3 or 4 colours."),
        (lambda own: {"images": np.zeros((0, 6, 5), np.uint8), "labels": np.zeros(0, int)},
         "images are of shape (0, 6, 5), expected (N, H, W), or (N, H, W, C) with 1, 3 or 4 colours."),
        (lambda own: {"images": own["images"][:2], "labels": own["labels"][:2]},
         "2 images are too few for a train, a val and a test part."),
        (lambda own: {"images": own["images"].astype(object)},
         "not a readable .npz without pickled objects (Object arrays cannot be loaded when allow_pickle=False)."),
        (lambda own: {"labels": own["labels"].astype(object)},
         "not a readable .npz without pickled objects (Object arrays cannot be loaded when allow_pickle=False)."),
        *((lambda own, split=split: {"split": np.array(split)},
           "every image needs a split of 0 (train), 1 (val) or 2 (test), and some must be 0.")
          for split in ([1, 2] * 20, [0, 1, 2, 3] * 10, [0, 1, 2], ["train"] * 40)),
    ],
)  # fmt: skip
def test_own_npz_that_is_wrong(tmp_path, npz, own, change, complaint):
    with pytest.raises(CourseError) as caught:
        npz(**own | change(own))
    assert str(caught.value) == f"{tmp_path / 'own.npz'}: {complaint}"


def test_own_npz_with_other_names_says_which_are_there(tmp_path, own):
    path = tmp_path / "own.npz"
    np.savez(path, digits=own["images"], labels=own["labels"])
    assert refused(data.load, str(path)) == f"{path}: holds digits, labels, but no images."
    np.savez(path, x_train=own["images"], y_train=own["labels"], x_test=own["images"])
    assert refused(data.load, str(path)) == f"{path}: holds x_test, x_train, y_train, but no images and no labels."
    np.savez(path)
    assert refused(data.load, str(path)) == f"{path}: holds nothing, but no images and no labels."


def test_a_file_that_is_no_npz(tmp_path, own):
    np.save(tmp_path / "images.npy", own["images"])
    (tmp_path / "labels.csv").write_text("image,label\na.png,3\n", encoding="utf-8")
    (tmp_path / "nothing.npz").touch()
    np.savez(tmp_path / "whole.npz", **own)
    (tmp_path / "half.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:700])
    for name in ("images.npy", "nothing.npz", "half.npz"):
        assert refused(data.load, str(tmp_path / name)) == (
            f"{tmp_path / name}: not a whole .npz file. np.savez(path, images=…, labels=…) writes one."
        )


def test_one_picture_is_no_data_set(tmp_path):
    path = tmp_path / "my_digit.png"
    path.write_bytes(b"whatever it holds")
    assert refused(data.load, str(path)) == (
        f"{path}: one picture. --data takes an .npz, a .csv, MNIST's files, or a folder with one folder of pictures "
        "per class; `./course run 1 predict` reads a single digit."
    )


def test_an_npz_with_damaged_content(tmp_path, own):
    path = tmp_path / "own.npz"
    np.savez(path, **own)
    content = bytearray(path.read_bytes())
    content[300] ^= 255
    path.write_bytes(content)
    assert refused(data.load, str(path)) == (
        f"{path}: not a readable .npz without pickled objects (Bad CRC-32 for file 'images.npy')."
    )


# ---------------------------------------------------------------- a folder of class folders


@pytest.fixture
def folder(tmp_path):
    """Ten bright and ten dark pictures, of several sizes and formats."""
    for label, (name, shade) in enumerate((("bright", 230), ("dark", 20))):
        (tmp_path / "own" / name).mkdir(parents=True)
        for i in range(10):
            ending = ("png", "JPG", "jpeg", "PNG", "bmp")[i % 5]
            picture = Image.new("RGB" if i % 2 else "L", (20 + 9 * i, 30), (shade + i,) * 3 if i % 2 else shade + i)
            picture.save(tmp_path / "own" / name / f"{label}{i}.{ending}")
    return tmp_path / "own"


def test_pictures_in_class_folders_become_grey_28_by_28(folder):
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails" / "broken.png").write_bytes(b"no picture")
    (folder / "dark" / "._01.png").write_bytes(b"what a Mac leaves behind")
    (folder / "dark" / "notes.txt").write_text("not a picture", encoding="utf-8")
    (folder / "dark" / "album.png").mkdir()
    (folder / "readme.md").write_text("not a class", encoding="utf-8")
    found = data.load(str(folder))
    assert (found.shape, found.classes) == ((28, 28), ("bright", "dark"))
    assert [len(part) for part in (found.train, found.val, found.test)] == [16, 2, 2]
    everything = found.everything
    assert np.bincount(everything.labels).tolist() == [10, 10]
    shades = np.array([230, 20])[everything.labels]
    assert np.abs(everything.images - shades[:, None] - 4.5).max() <= 4.5 + 2  # jpeg is not exact
    assert found.notes[0] == "left out 1 file that cannot be read as images: 1 .txt" and not found.own_test
    np.testing.assert_array_equal(data.load(str(folder)).train.images, found.train.images)


def test_folder_without_images(tmp_path):
    complaint = f"{tmp_path}: no images in it; expected one folder per class with png or jpg files inside."
    assert refused(data.load, str(tmp_path)) == complaint
    Image.new("L", (9, 9)).save(tmp_path / "loose.png")
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "notes.txt").write_text("none yet", encoding="utf-8")
    assert refused(data.load, str(tmp_path)) == (
        f"{tmp_path / 'cats'}: a class without readable images, but with 1 .txt file. Save its pictures as png or jpg."
    )


def test_folder_with_an_empty_class_or_one_only(folder):
    (folder / "medium").mkdir()
    assert refused(data.load, str(folder)) == (
        f"{folder / 'medium'}: a class without images. Fill the folder or remove it."
    )
    (folder / "medium").rmdir()
    (folder / "dark").rename(folder.parent / "dark")
    assert refused(data.load, str(folder)) == f"{folder}: one class only (bright); there is nothing to tell apart."


# ---------------------------------------------------------------- batches


def test_bytes_become_decimals_from_0_to_1():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 256)
    for dtype, tolerance in ((np.float32, 1e-7), (np.float64, 1e-15)):
        decimals = data.to_floats(pixels, dtype)
        assert decimals.dtype == dtype
        np.testing.assert_allclose(decimals[0], np.arange(256) / 255, atol=tolerance)


def moved_by_hand(image, down, right):
    """The image moved down and right (or, below 0, up and left), pixel by pixel."""
    moved = np.zeros_like(image)
    for row, column in np.ndindex(image.shape[:2]):
        if 0 <= row - down < image.shape[0] and 0 <= column - right < image.shape[1]:
            moved[row, column] = image[row - down, column - right]
    return moved


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3), (6, 5, 1)])
@pytest.mark.parametrize("pixels", [1, 2])
def test_every_shift_appears_and_moves_the_image_by_exactly_that_much(shape, pixels, rng):
    image = rng.integers(1, 256, shape, dtype=np.uint8)
    shifts = [(d, r) for d in range(-pixels, pixels + 1) for r in range(-pixels, pixels + 1)]
    expected = {moved_by_hand(image, *shift).tobytes(): shift for shift in shifts}
    batch = np.tile(image.reshape(1, -1), (600, 1))
    moved = data.shifted(batch, shape, pixels, rng)
    assert moved.shape == batch.shape and moved.dtype == np.uint8
    seen = [expected[row.tobytes()] for row in moved]  # a KeyError here is an image that is no shift of the original
    assert set(seen) == set(shifts)
    assert min(map(seen.count, shifts)) > 600 / len(shifts) / 4, "some shifts are rare"
    np.testing.assert_array_equal(batch, np.tile(image.reshape(1, -1), (600, 1)), err_msg="the original has changed")


def test_each_image_keeps_its_place_in_the_batch(rng):
    images = np.repeat(np.arange(1, 51, dtype=np.uint8)[:, None], 30, axis=1)
    moved = data.shifted(images, (6, 5), 2, rng)
    assert moved.max(axis=1).tolist() == list(range(1, 51))


def test_batches_follow_the_order_and_drop_what_is_left_over(rng):
    order = rng.permutation(23)
    found = data.batches(order, 5)
    assert [len(rows) for rows in found] == [5, 5, 5, 5]
    np.testing.assert_array_equal(np.concatenate(found), order[:20])
    assert len(data.batches(order, 23)) == 1
    assert data.batches(order, 24) == []
