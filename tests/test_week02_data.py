"""Week 2's data: the bundled photographs, CIFAR-10 as published, one's own pictures, and all that can be wrong."""

import hashlib
import io
import struct
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from shared import cifar10_sample, own_images
from shared.assets import Asset
from shared.errors import CourseError
from week02_cnn import data


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def refused(load, *arguments) -> str:
    """The one line that `load(*arguments)` is refused with."""
    with pytest.raises(CourseError) as caught:
        load(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_same(part, images, labels):
    np.testing.assert_array_equal(part.images, images)
    np.testing.assert_array_equal(part.labels, labels)


def parts(found):
    return found.train, found.val, found.test


# ---------------------------------------------------------------- the bundled sample


@pytest.fixture(scope="module")
def sample():
    return data.load("sample")


def test_sample_holds_as_many_of_every_class_in_every_part_and_no_image_twice(sample):
    assert (sample.name, sample.side, sample.classes) == ("sample", 32, data.CLASSES)
    for part, count in zip(parts(sample), (400, 100, 100), strict=True):
        assert part.images.dtype == np.uint8 and part.images.shape == (10 * count, 32, 32, 3)
        assert np.bincount(part.labels).tolist() == [count] * 10
        assert len(set(part.labels[:50].tolist())) > 5, "sorted by class: not shuffled"
    assert len({image.tobytes() for image in sample.everything.images}) == 6000


def test_sample_is_cut_where_the_photographs_are(sample):
    """The first six rows of 32 x 32 pixels are airplanes: four to train on, one for val, one for test. And so on."""
    with Image.open(cifar10_sample.SHEET) as sheet:
        for row, column, label, part in ((3, 99, 0, 0), (4, 0, 0, 1), (5, 7, 0, 2), (59, 99, 9, 2), (30, 50, 5, 0)):
            box = (32 * column, 32 * row, 32 * column + 32, 32 * row + 32)
            image = np.asarray(sheet.convert("RGB").crop(box)).tobytes()
            found = parts(sample)[part]
            labels = [found.labels[i] for i, photo in enumerate(found.images) if photo.tobytes() == image]
            assert labels == [label]


def test_mean_and_std_are_those_of_the_training_pixels(sample):
    sample = replace(sample, train=sample.val)  # fewer
    pixels = sample.train.images.reshape(-1, 3) / 255
    assert sample.mean.dtype == sample.std.dtype == np.float32
    np.testing.assert_allclose(sample.mean, pixels.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(sample.std, pixels.std(axis=0), rtol=1e-5)
    grey = data.Part(np.full((4, 8, 8, 3), (0, 128, 255), np.uint8), np.arange(4))
    constant = replace(sample, train=grey)
    np.testing.assert_allclose(constant.mean, np.array([0, 128, 255]) / 255, atol=1e-6)
    assert constant.std.tolist() == [1, 1, 1], "one divides by it"


def test_the_same_photographs_at_another_side(sample):
    small = data.load("sample", 16)
    assert small.side == 16 and [len(part) for part in parts(small)] == [4000, 1000, 1000]
    np.testing.assert_array_equal(small.test.labels, sample.test.labels)
    means = sample.test.images.reshape(1000, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    assert np.abs(small.test.images - means).mean() < 6


# ---------------------------------------------------------------- CIFAR-10 as published


def pictures(rng, count):
    """Random images (count, 32, 32, 3) and labels (count,), every class alike."""
    return rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), np.arange(count) % 10


@pytest.fixture
def binary(tmp_path, monkeypatch, rng):
    """A folder of the six binary files with 40 images each instead of 10,000, and what is in them."""
    monkeypatch.setattr(data, "RECORDS", 40)
    folder = tmp_path / "here" / data.BINARY
    folder.mkdir(parents=True)
    (folder / "batches.meta.txt").write_text("\n".join(data.CLASSES), encoding="utf-8")
    images, labels = pictures(rng, 240)
    for number, file in enumerate(data.BINARY_FILES):
        rows = range(40 * number, 40 * number + 40)
        records = [bytes([labels[row]]) + images[row].transpose(2, 0, 1).tobytes() for row in rows]
        (folder / file).write_bytes(b"".join(records))
    return folder, images, labels


def assert_held_out(found, images, labels, monkeypatch=None):
    """Train and val are the first 200 images cut in two, val has as many of every class, and test is the rest."""
    assert found.classes == data.CLASSES
    assert_same(found.test, images[200:], labels[200:])
    label_of = {image.tobytes(): label for image, label in zip(images[:200], labels[:200], strict=True)}
    for part in (found.train, found.val):
        assert [label_of.pop(image.tobytes()) for image in part.images] == part.labels.tolist()
    assert not label_of, "an image is lost, or in two parts"
    assert np.bincount(found.val.labels).tolist() == [2] * 10


def test_binary_files_are_read_from_their_folder_or_the_one_around_it(binary, monkeypatch):
    folder, images, labels = binary
    monkeypatch.setattr(data, "HELD_OUT", 20)
    for path in (folder, folder.parent):
        found = data.load(str(path))
        assert_held_out(found, images, labels)
        assert found.own_test
    np.testing.assert_array_equal(found.val.labels, data.load(str(folder)).val.labels)
    assert data.load(str(folder), 16).side == 16
    assert data.published(folder.parent.parent) is None


def test_binary_files_that_are_wrong(binary):
    folder, _, _ = binary
    path = folder / "data_batch_3.bin"
    whole = path.read_bytes()
    size = 40 * 3073
    for content in (whole[:-1], whole[:-3073], whole + b"x", b""):
        path.write_bytes(content)
        assert refused(data.load, str(folder)) == (
            f"{path}: {len(content):,} bytes, the published file has {size:,}. Unpack cifar-10-binary.tar.gz again."
        )
    path.write_bytes(whole[: 7 * 3073] + b"\x0c" + whole[7 * 3073 + 1 :])
    assert refused(data.load, str(folder)) == f"{path}: label 12 in image 7; CIFAR-10's are 0 to 9."
    path.unlink()
    assert refused(data.load, str(folder)) == f"{path} is missing; the six published files belong together."


def pickled(**arrays) -> bytes:
    """A dict of arrays in the published python files' format (protocol 2), put together from NumPy's own parts."""
    items = [
        b"X" + struct.pack("<i", len(name)) + name.encode() + np.asarray(array).dumps()[2:-1] + b"s"
        for name, array in arrays.items()
    ]
    return b"\x80\x02}" + b"".join(items) + b"."


@pytest.fixture
def batches(tmp_path, monkeypatch, rng):
    """A folder with cifar-10-batches-py, 40 images a file, whose md5 torchvision takes for the published ones."""
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "root" / data.BATCHES
    folder.mkdir(parents=True)
    images, labels = pictures(rng, 240)
    flat = images.transpose(0, 3, 1, 2).reshape(240, -1)
    md5 = {}
    for number, (file, _) in enumerate(CIFAR10.train_list + CIFAR10.test_list):
        rows = slice(40 * number, 40 * number + 40)
        (folder / file).write_bytes(pickled(data=flat[rows], labels=labels[rows]))
    (folder / "batches.meta").write_bytes(pickled(label_names=np.array(data.CLASSES)))
    for path in folder.iterdir():
        md5[path.name] = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", [[file, md5[file]] for file, _ in CIFAR10.train_list])
    monkeypatch.setattr(CIFAR10, "test_list", [[file, md5[file]] for file, _ in CIFAR10.test_list])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5["batches.meta"]})
    monkeypatch.setattr(data, "HELD_OUT", 20)
    return folder, images, labels


def test_python_files_are_read_through_torchvision(batches):
    folder, images, labels = batches
    for path in (folder, folder.parent):
        found = data.load(str(path))
        assert_held_out(found, images, labels)
        assert found.own_test


def test_no_file_with_another_md5_is_ever_opened(batches, monkeypatch):
    from torchvision.datasets import cifar

    folder, _, _ = batches
    opened = []
    monkeypatch.setattr(cifar.pickle, "load", lambda *arguments, **_: opened.append(arguments))
    complaint = (
        f"{folder}: files are missing or not the published ones. They are pickles, so none is opened before all have "
        "the right md5. Delete the folder and unpack cifar-10-python.tar.gz again."
    )
    path = folder / "data_batch_4"
    path.write_bytes(path.read_bytes() + b" ")
    assert refused(data.load, str(folder)) == complaint
    path.unlink()
    assert refused(data.load, str(folder.parent)) == complaint
    assert opened == []


def test_cifar10_by_name_comes_through_the_asset_layer(batches, tmp_path, monkeypatch):
    folder, images, labels = batches
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.add(folder, data.BATCHES)
    content = archive.getvalue()
    mirror = tmp_path / "mirror" / data.ARCHIVE.name
    mirror.parent.mkdir(parents=True)
    mirror.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    own = Asset(data.ARCHIVE.name, ("http://127.0.0.1:9/none",), digest, len(content), data.ARCHIVE.licence)
    monkeypatch.setattr(data, "ARCHIVE", own)
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    assert refused(data.load, "cifar10").startswith(
        f"cannot download cifar10/cifar-10-python.tar.gz, expected {len(content):,} bytes with sha256 {digest}. "
        "Tried http://127.0.0.1:9/none: "
    )
    monkeypatch.setenv("COURSE_MIRROR", str(tmp_path / "mirror"))
    for _ in range(2):  # the second time from $COURSE_HOME
        found = data.load("cifar10")
        assert found.name == "cifar10"
        assert_held_out(found, images, labels)
        monkeypatch.delenv("COURSE_MIRROR", raising=False)
    assert (tmp_path / "home" / "cifar10" / "unpacked" / data.BATCHES / "data_batch_1").is_file()


def test_the_published_archive_is_named_with_its_checksum():
    assert data.ARCHIVE.size == 170_498_071
    assert data.ARCHIVE.sha256 == "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
    assert data.ARCHIVE.urls[0].endswith("/cifar-10-python.tar.gz")


def test_data_that_is_not_there(tmp_path):
    assert refused(data.load, "cifer") == "--data cifer: no such file or folder, nor one of sample, cifar10."
    assert refused(data.load, str(tmp_path / "none.npz")).startswith(f"--data {tmp_path / 'none.npz'}: no such file")


# ---------------------------------------------------------------- an .npz of one's own


@pytest.fixture
def npz(tmp_path):
    """Writes arrays as np.savez does and loads them at 8 x 8."""

    def save_and_load(**arrays):
        np.savez(tmp_path / "own.npz", **arrays)
        return data.load(str(tmp_path / "own.npz"), 8)

    return save_and_load


@pytest.fixture
def own(rng):
    return {"images": rng.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8), "labels": np.arange(60) % 3}


def test_own_npz_is_split_80_10_10_class_by_class_the_same_way_each_time(npz, own):
    found = npz(**own)
    assert (found.side, found.classes) == (8, ("0", "1", "2"))
    assert [np.bincount(part.labels).tolist() for part in parts(found)] == [[16] * 3, [2] * 3, [2] * 3]
    label_of = {image.tobytes(): label for image, label in zip(own["images"], own["labels"], strict=True)}
    everything = found.everything
    assert len({image.tobytes() for image in everything.images}) == 60, "an image is lost, or in two parts"
    assert [label_of[image.tobytes()] for image in everything.images] == everything.labels.tolist()
    np.testing.assert_array_equal(npz(**own).train.images, found.train.images)


def test_of_a_large_set_no_more_is_held_out_than_is_needed(npz, own, monkeypatch):
    monkeypatch.setattr(own_images, "HELD_OUT", 3)
    assert [len(part) for part in parts(npz(**own))] == [54, 3, 3]


def test_a_rare_class_is_in_every_part_that_it_can_be_in(npz, own):
    labels = np.zeros(60, int)
    labels[7:10], labels[50] = 1, 2
    found = npz(images=own["images"], labels=labels)
    assert [np.bincount(part.labels, minlength=3).tolist() for part in parts(found)] == [
        [46, 1, 1], [5, 1, 0], [5, 1, 0]
    ]  # fmt: skip


def test_own_npz_with_classes_and_split(npz, own):
    split = np.arange(60) % 4 % 3
    found = npz(images=own["images"], labels=own["labels"].astype(np.uint8), classes=["cat", "dog", "cow"], split=split)
    assert found.classes == ("cat", "dog", "cow")
    for number, part in enumerate(parts(found)):
        assert_same(part, own["images"][split == number], own["labels"][split == number])


@pytest.mark.parametrize("shape", [(60, 8, 8), (60, 8, 8, 1)])
def test_grey_images_get_three_equal_colours(npz, own, shape):
    grey = own["images"][..., 0].reshape(shape)
    found = npz(images=grey, labels=own["labels"], split=np.arange(60) % 3)
    assert_same(found.train, np.repeat(grey.reshape(60, 8, 8, 1)[::3], 3, axis=3), own["labels"][::3])


def test_images_of_another_size_are_resized_and_cut_to_the_middle(npz, own):
    images = np.zeros((60, 16, 40, 3), np.uint8)
    images[:, :, 12:28] = (10, 100, 200)  # the middle square
    images[:, :, 12:28, 0] = np.arange(60)[:, None, None]
    found = npz(images=images, labels=own["labels"])
    assert found.side == 8
    assert (found.everything.images[..., 1:] == (100, 200)).all() and len(found.everything) == 60


def test_decimals_from_0_to_1_become_bytes(npz, own):
    for dtype in (np.float32, np.float64):
        found = npz(images=own["images"].astype(dtype) / 255, labels=own["labels"], split=np.arange(60) % 3)
        assert_same(found.train, own["images"][::3], own["labels"][::3])


def with_nan(images):
    decimals = images / 255
    decimals[[17, 17, 30], 0, [1, 2, 3], 0] = np.nan, np.inf, -np.inf
    return decimals


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda own: {"labels": own["labels"][:-1]}, "60 images but labels of shape (59,), they do not match."),
        (lambda own: {"labels": np.ones((60, 3), int)}, "60 images but labels of shape (60, 3), they do not match."),
        (lambda own: {"labels": own["labels"] / 2}, "labels must be whole numbers from 0, these are float64."),
        (lambda own: {"labels": own["labels"] - 1}, "labels must be whole numbers from 0, the smallest here is -1."),
        (lambda own: {"labels": own["labels"] + 10**12},
         "a label of 1000000000002, for 60 images. Number the classes from 0 on."),
        (lambda own: {"labels": own["labels"] * 0}, "one class only; there is nothing to tell apart."),
        (lambda own: {"classes": ["cat", "dog"]}, "label 2 is outside the 2 classes that are named."),
        (lambda own: {"images": with_nan(own["images"])},
         "3 pixels are NaN or infinite, the first in image 17. Clean the data first."),
        (lambda own: {"images": own["images"].astype(int) * 2},
         "pixels run from 0 to 510, expected bytes from 0 to 255 or decimals from 0 to 1."),
        (lambda own: {"images": own["images"].reshape(60, 192)},
         "images are of shape (60, 192), expected (N, H, W), or (N, H, W, C) with 1 or 3 colours."),
        (lambda own: {"images": np.zeros((60, 2, 8, 8), np.uint8)},
         "images are of shape (60, 2, 8, 8), expected (N, H, W), or (N, H, W, C) with 1 or 3 colours."),
        (lambda own: {"images": np.zeros((0, 8, 8), np.uint8), "labels": np.zeros(0, int)},
         "images are of shape (0, 8, 8), expected (N, H, W), or (N, H, W, C) with 1 or 3 colours."),
        (lambda own: {"images": own["images"][:2], "labels": own["labels"][:2]},
         "2 images are too few for a train, a val and a test part."),
        (lambda own: {"images": own["images"].astype(object)},
         "not a readable .npz without pickled objects (Object arrays cannot be loaded when allow_pickle=False)."),
        *((lambda own, split=split: {"split": np.array(split)},
           "every image needs a split of 0 (train), 1 (val) or 2 (test), and some must be 0.")
          for split in ([1, 2] * 30, [0, 1, 2, 3] * 15, [0, 1, 2], ["train"] * 60)),
    ],
)  # fmt: skip
def test_own_npz_that_is_wrong(tmp_path, npz, own, change, complaint):
    with pytest.raises(CourseError) as caught:
        npz(**own | change(own))
    assert str(caught.value) == f"{tmp_path / 'own.npz'}: {complaint}"


def test_own_npz_with_other_names_says_which_are_there(tmp_path, own):
    path = tmp_path / "own.npz"
    np.savez(path, photos=own["images"], labels=own["labels"])
    assert refused(data.load, str(path)) == f"{path}: holds labels, photos, but no images."
    np.savez(path)
    assert refused(data.load, str(path)) == f"{path}: holds nothing, but no images and no labels."


def test_a_file_that_is_no_npz_or_damaged(tmp_path, own):
    np.save(tmp_path / "images.npy", own["images"])
    (tmp_path / "labels.csv").write_text("image,label\na.png,3\n", encoding="utf-8")
    np.savez(tmp_path / "whole.npz", **own)
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[:700])
    for name in ("images.npy", "labels.csv", "half.npz"):
        assert refused(data.load, str(tmp_path / name)) == (
            f"{tmp_path / name}: not a whole .npz file. np.savez(path, images=…, labels=…) writes one."
        )
    damaged = bytearray(whole)
    damaged[300] ^= 255
    (tmp_path / "whole.npz").write_bytes(damaged)
    assert refused(data.load, str(tmp_path / "whole.npz")) == (
        f"{tmp_path / 'whole.npz'}: not a readable .npz without pickled objects (Bad CRC-32 for file 'images.npy')."
    )


# ---------------------------------------------------------------- a folder of class folders


@pytest.fixture
def folder(tmp_path):
    """Ten red and ten blue pictures, of several sizes and formats."""
    for name, (red, green, blue) in (("red", (230, 20, 20)), ("blue", (20, 20, 230))):
        (tmp_path / "own" / name).mkdir(parents=True)
        for i in range(10):
            picture = Image.new("RGB", (20 + 9 * i, 30), (red, green + 3 * i, blue))
            picture.save(tmp_path / "own" / name / f"{i}.{('png', 'JPG', 'jpeg', 'PNG', 'bmp')[i % 5]}")
    return tmp_path / "own"


def test_pictures_in_class_folders_become_squares(folder):
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails" / "broken.png").write_bytes(b"no picture")
    (folder / "red" / "._01.png").write_bytes(b"what a Mac leaves behind")
    (folder / "red" / "notes.txt").write_text("not a picture", encoding="utf-8")
    (folder / "red" / "album.png").mkdir()
    (folder / "readme.md").write_text("not a class", encoding="utf-8")
    for side in (32, 12):
        found = data.load(str(folder), side)
        assert (found.side, found.classes) == (side, ("blue", "red"))
        assert [np.bincount(part.labels).tolist() for part in parts(found)] == [[8, 8], [1, 1], [1, 1]]
        colours = np.array([(20, 230), (230, 20)])[found.everything.labels]
        red_and_blue = found.everything.images[..., [0, 2]]
        assert np.abs(red_and_blue - colours[:, None, None].astype(int)).max() <= 4  # jpeg is not exact
    np.testing.assert_array_equal(data.load(str(folder), 12).train.images, found.train.images)


def test_the_shorter_side_is_resized_and_the_middle_taken():
    picture = Image.new("RGB", (90, 30), "black")
    picture.paste((255, 255, 255), (30, 0, 60, 30))
    assert np.asarray(data.squared(picture, 10)).min() == 255
    assert np.asarray(data.squared(picture.rotate(90, expand=True), 10)).min() == 255
    assert np.asarray(data.squared(Image.new("RGB", (5, 7), "white"), 32)).shape == (32, 32, 3)


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
    (folder / "green").mkdir()
    assert (
        refused(data.load, str(folder)) == f"{folder / 'green'}: a class without images. Fill the folder or remove it."
    )
    (folder / "green").rmdir()
    (folder / "red").rename(folder.parent / "red")
    assert refused(data.load, str(folder)) == f"{folder}: one class only (blue); there is nothing to tell apart."


# ---------------------------------------------------------------- tensors


def test_tensors_are_the_same_pixels_in_channels_last(rng):
    images, labels = pictures(rng, 6)
    found, truth = data.tensors(data.Part(images, labels.astype(np.int16)))
    assert found.shape == (6, 3, 32, 32) and found.dtype == torch.uint8 and truth.dtype == torch.int64
    np.testing.assert_array_equal(found.permute(0, 2, 3, 1).numpy(), images)
    assert truth.tolist() == labels.tolist()
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert found[torch.tensor([4, 1])].is_contiguous(memory_format=torch.channels_last), "nor when some are picked"


def test_tensors_of_pixels_that_may_not_be_written_to(rng, recwarn):
    images, labels = pictures(rng, 2)
    images.flags.writeable = False
    found, _ = data.tensors(data.Part(images, labels))
    np.testing.assert_array_equal(found.permute(0, 2, 3, 1).numpy(), images)
    assert not recwarn.list


def test_normalise_is_the_formula(sample):
    images, _ = data.tensors(sample.val)
    mean, std = torch.from_numpy(sample.mean), torch.from_numpy(sample.std)
    found = data.normalise(images, mean, std)
    expected = (sample.val.images / 255 - sample.mean) / sample.std
    np.testing.assert_allclose(found.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert images.dtype == torch.uint8, "the bytes themselves stay"


def test_flipped_turns_about_half_of_the_images_each_by_its_own_coin(rng):
    images, _ = data.tensors(data.Part(*pictures(rng, 400)))
    found = data.flipped(images, torch.Generator().manual_seed(0))
    assert found.is_contiguous(memory_format=torch.channels_last) and found.dtype == torch.uint8
    turned = [not torch.equal(new, old) for new, old in zip(found, images, strict=True)]
    for new, old, flip in zip(found, images, turned, strict=True):
        assert torch.equal(new, old.flip(2) if flip else old), "left and right, and nothing else"
    assert 150 < sum(turned) < 250
    again = data.flipped(images, torch.Generator().manual_seed(0))
    assert torch.equal(found, again) and not torch.equal(found, data.flipped(images, torch.Generator().manual_seed(1)))
    torch.manual_seed(3)
    first = data.flipped(images)
    torch.manual_seed(3)
    assert torch.equal(first, data.flipped(images)), "without a generator it is torch's default one"
