"""Week 13's data: synthetic radiographs, MedMNIST's npz, Kermany's folders, one's own, and all that can be wrong."""

import inspect
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from programs import assert_picture, config, refused

from shared.samples import radiograph as simulation
from shared.samples.radiograph import Machine, in_pixels, radiograph
from week13_vit import data, decoded, figures, patients, train
from week13_vit.model import ViT, ViTConfig


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def parts(found):
    return found.train, found.val, found.test


# ---------------------------------------------------------------- the bundled radiographs


@pytest.fixture(scope="module")
def sample():
    return data.load("sample")


def test_sample_says_that_it_is_synthetic_and_has_a_place_for_every_opacity(sample):
    assert sample.synthetic and "synthetic" in sample.notes[0] and sample.classes == ("normal", "opacity")
    assert [len(part) for part in parts(sample)] == [1500, 300, 600] and sample.side == 64
    assert len({image.tobytes() for image in sample.everything.images}) == 2400
    for part in parts(sample):
        ill = np.isfinite(part.spots[:, 0, 0])
        assert (ill == (part.labels == 1)).all() and 0.25 < ill.mean() < 0.4
        there = part.spots[np.isfinite(part.spots[..., 0])]
        assert ((there[:, :2] > 0) & (there[:, :2] < 1)).all() and (there[:, 2:4] > 0.03).all()


def test_another_hospital_has_other_pictures_to_test_on(sample):
    other = data.load("sample_other")
    assert len(other.test) == 300 and other.synthetic
    known = {image.tobytes() for image in sample.everything.images}
    assert not known & {image.tobytes() for image in other.test.images}


def test_the_script_draws_the_pictures_that_are_bundled(sample):
    """Up to what the file's kind loses, and the last digits of sine and exponential."""
    from shared.samples.write_radiographs import one

    for number in (0, 5):
        picture, spots = one(number)
        at = number if number < 1500 else None
        difference = np.abs(sample.train.images[at, ..., 0].astype(int) - picture)
        assert difference.mean() < 3 and difference.max() < 40
        np.testing.assert_allclose(sample.train.spots[at], spots, atol=1e-5)


def test_the_same_seed_gives_the_same_picture_and_another_one_another():
    first, again, other = (radiograph(seed, 32, 1)[0] for seed in (3, 3, 4))
    assert (first == again).all() and (first != other).any()


def test_an_opacity_is_seen_where_it_is_said_to_be_and_nowhere_else(monkeypatch):
    """The same patient with and without: the pictures differ inside the ellipse, and hardly outside."""
    fixed = lambda attenuation, body, side, taken, machine: attenuation.reshape(side, 2, side, 2).mean((1, 3))  # noqa: E731
    monkeypatch.setattr(simulation, "_exposed", fixed)
    draw = inspect.unwrap(radiograph)  # whose pictures are bytes, where types are checked
    row, column = np.mgrid[0:64, 0:64]
    x, y = (column + 0.5) / 32 - 1, (row + 0.5) / 32 - 1
    for seed in range(4):
        with_it, (spot, *_) = draw(seed, 64, 1)
        more = with_it - draw(seed, 64, 0)[0]
        inside = in_pixels(spot, seed).inside(x, y)
        assert more[inside < 1].mean() > 0.1, "an opacity lets fewer photons through"
        assert more[inside < 1.6].sum() > 0.85 * np.abs(more).sum()
        assert more.min() > -1e-6


def test_less_dose_is_more_noise():
    def noise(photons):
        image = radiograph(5, 48, 0, Machine(photons=photons))[0].astype(float)
        return np.abs(np.diff(image, 2, axis=1)).mean()

    assert noise(2e3) > 1.2 * noise(1e5)


# ---------------------------------------------------------------- PneumoniaMNIST


def pneumoniamnist(path, rng, **changes):
    """A small npz in the published form: six arrays, images (N, 28, 28) uint8 and labels (N, 1) uint8."""
    arrays = {}
    for part, count in (("train", 40), ("val", 10), ("test", 12)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) % 4 > 0).astype(np.uint8)[:, None]
    np.savez(path, **{name: array for name, array in (arrays | changes).items() if array is not None})
    return arrays


def test_pneumoniamnist_as_published(tmp_path, rng):
    path = tmp_path / "pneumoniamnist.npz"
    arrays = pneumoniamnist(path, rng)
    found = data.load(str(path))
    assert found.classes == ("normal", "pneumonia") and found.side == 28 and found.own_test
    for part, name in zip(parts(found), ("train", "val", "test"), strict=True):
        np.testing.assert_array_equal(part.images[..., 0], arrays[f"{name}_images"])
        np.testing.assert_array_equal(part.labels, arrays[f"{name}_labels"][:, 0])
    assert any("does not say whose picture is whose" in note for note in found.notes)
    assert data.load(str(path), 14).side == 14


def test_copies_of_test_pictures_do_not_stay_in_train(tmp_path, rng):
    path = tmp_path / "pneumoniamnist.npz"
    arrays = pneumoniamnist(path, rng)
    arrays["train_images"][3] = arrays["test_images"][5]
    np.savez(path, **arrays)
    found = data.load(str(path))
    assert len(found.train) == 39 and len(found.test) == 12
    assert any(note.startswith("dropped 1 copy of other images") for note in found.notes)


def test_a_damaged_npz_is_refused(tmp_path, rng):
    path = tmp_path / "pneumoniamnist.npz"
    arrays = pneumoniamnist(path, rng)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert refused(data.load, str(path)).startswith(f"{path}: not a whole .npz file.")
    path.write_bytes(b"<html>not found</html>")
    assert refused(data.load, str(path)).startswith(f"{path}: not a whole .npz file.")
    broken = bytearray(whole)
    broken[2000:2600] = bytes(600)
    path.write_bytes(bytes(broken))
    assert refused(data.load, str(path)).startswith(f"{path}: not a readable .npz")
    np.savez(path, **{k: v for k, v in arrays.items() if k != "val_labels"})
    assert "but no images and no labels" in refused(data.load, str(path))
    pneumoniamnist(path, rng, train_labels=arrays["train_labels"][:-1])
    assert "do not match" in refused(data.load, str(path))
    pneumoniamnist(path, rng, train_images=arrays["train_images"] * 300.0)
    assert "expected bytes from 0 to 255" in refused(data.load, str(path))
    line = refused(data.load, str(tmp_path / "none.npz"))
    assert line == (
        f"--data {tmp_path / 'none.npz'}: no such file or folder, nor one of sample, sample_other, pneumoniamnist, "
        "eurosat."
    )


# ---------------------------------------------------------------- Kermany's chest X-rays


def xray(path, rng, size=(40, 30), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 256, (size[1], size[0]), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, quality=95)
    return path


@pytest.fixture
def kermany(tmp_path, rng):
    """The folders that Kaggle serves, small: 30 + 30 children to train on with one or two pictures each, val of 16."""
    root = tmp_path / "chest_xray"
    for child in range(30):
        for number in range(1 + child % 2):
            kind = "bacteria" if child % 3 else "virus"
            xray(
                root / "train" / "PNEUMONIA" / f"person{child}_{kind}_{number}.jpeg", rng, mode="L" if child else "RGB"
            )
            prefix = "NORMAL2-IM" if child > 20 else "IM"
            xray(root / "train" / "NORMAL" / f"{prefix}-{child:04}-{number:04}.jpeg", rng)
    for number in range(8):
        xray(root / "val" / "NORMAL" / f"NORMAL2-IM-{1400 + number}-0001.jpeg", rng)
        xray(root / "val" / "PNEUMONIA" / f"person{1900 + number}_bacteria_{number}.jpeg", rng)
    for child in range(5):
        xray(root / "test" / "NORMAL" / f"NORMAL2-IM-{child:04}-0001-0002.jpeg", rng)
        xray(root / "test" / "PNEUMONIA" / f"person{child}_virus_9.jpeg", rng)
    (root / "test" / "NORMAL" / ".DS_Store").write_bytes(b"")
    return root


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("person1_bacteria_1.jpeg", "person1"), ("person1_virus_12.jpeg", "person1"),
        ("IM-0115-0001.jpeg", "im-0115"), ("IM-0128-0001-0002.jpeg", "im-0128"),
        ("NORMAL2-IM-1442-0001.jpeg", "normal2-im-1442"), ("NORMAL2-IM-0986-0001-0003.jpeg", "normal2-im-0986"),
        ("BACTERIA-1008087-0001.jpeg", "1008087"), ("NORMAL-28501-0002.jpeg", "28501"),
        ("cat.jpg", ""), ("person1.jpg", ""), ("VIRUS-1.jpg", ""),
    ],
)  # fmt: skip
def test_patients_by_the_names_of_files(tmp_path, name, patient):
    assert patients.patient_of(tmp_path / name) == patient


def test_kermanys_folders_are_cut_by_patients(kermany):
    found = data.load(str(kermany.parent), 16)  # the archive unpacks into a folder in a folder
    assert found.classes == ("NORMAL", "PNEUMONIA") and found.own_test and found.side == 16
    assert found.train.images.shape[3] == 1, "grey"
    train, val, test = (set(part.patients.tolist()) for part in parts(found))
    assert not train & val and not train & test and not val & test
    assert sum(map(len, parts(found))) == 90 + 16 + 10 and len(found.test) == 10
    assert len(val) == 8 and set(found.val.labels.tolist()) == {0, 1}, "a tenth of 38 of each class"
    assert "the val folder has 16 pictures, by which nothing can be chosen: it went back into train" in found.notes
    assert "cut by patients: 68 to train on, 8 to validate, 10 to test; none in two" in found.notes
    again = data.load(str(kermany), 16)
    np.testing.assert_array_equal(again.val.images, found.val.images)


def test_a_val_folder_of_some_size_stays(kermany, monkeypatch):
    monkeypatch.setattr(patients, "TINY_VAL", 10)
    found = data.load(str(kermany), 16)
    assert len(found.val) == 16 and not any("went back" in note for note in found.notes)


def test_what_kaggle_serves_twice_is_read_once(kermany):
    expected = data.load(str(kermany), 16)
    shutil.copytree(kermany, kermany / "chest_xray")
    (kermany / "__MACOSX").mkdir()
    found = data.load(str(kermany.parent), 16)
    assert found.notes == (*expected.notes[:1], told := found.notes[1], *expected.notes[1:])
    assert told == "its folders are there twice: those in chest_xray/chest_xray were read"
    np.testing.assert_array_equal(found.train.images, expected.train.images)


def test_copies_under_another_name_are_dropped(kermany):
    shutil.copy(kermany / "test" / "PNEUMONIA" / "person1_virus_9.jpeg",
                kermany / "train" / "PNEUMONIA" / "person77_virus_1.jpeg")  # fmt: skip
    found = data.load(str(kermany), 16)
    assert len(found.test) == 10 and sum(map(len, parts(found))) == 116
    assert "dropped 1 copy of other pictures, 1 of them from train to test" in found.notes


def test_a_few_damaged_pictures_are_named_and_left_out(kermany):
    path = kermany / "train" / "NORMAL" / "IM-0003-0000.jpeg"
    path.write_bytes(path.read_bytes()[:300])
    found = data.load(str(kermany), 16)
    assert sum(map(len, parts(found))) == 115
    assert any(
        note.startswith("left out 1 damaged image; the first: train/NORMAL/IM-0003-0000.jpeg: ") for note in found.notes
    )
    for other in (kermany / "train" / "NORMAL").glob("*.jpeg"):
        other.write_bytes(b"")
    assert refused(data.load, str(kermany), 16).endswith("an empty file. Remove it.")


# ---------------------------------------------------------------- decoded once


@pytest.fixture
def decodings(monkeypatch):
    """The files that are decoded, in their order."""
    done, decode = [], decoded.decode
    monkeypatch.setattr(decoded, "decode", lambda path, *how: done.append(path) or decode(path, *how))
    return done


def test_a_folder_is_decoded_once_and_what_has_changed_is_decoded_anew(kermany, decodings, rng):
    first = data.load(str(kermany), 16)
    assert len(decodings) == 116
    decodings.clear()
    again = data.load(str(kermany), 16)
    assert not decodings
    for part, other in zip(parts(first), parts(again), strict=True):
        np.testing.assert_array_equal(part.images, other.images)
    changed = xray(kermany / "train" / "NORMAL" / "IM-0003-0000.jpeg", rng, (50, 40))
    new = xray(kermany / "train" / "NORMAL" / "IM-0099-0000.jpeg", rng)
    (kermany / "test" / "NORMAL" / "NORMAL2-IM-0000-0001-0002.jpeg").unlink()
    found = data.load(str(kermany), 16)
    assert sorted(decodings) == [changed, new] and sum(map(len, parts(found))) == 116
    decodings.clear()
    assert data.load(str(kermany), 12).side == 12 and len(decodings) == 116, "another side is kept by itself"


def test_a_damaged_cache_is_as_good_as_none(kermany, decodings):
    expected = data.load(str(kermany), 16).test.images
    root = kermany
    file = decoded.place(root, 16, "L")
    whole = file.read_bytes()
    broken = bytearray(whole)
    broken[len(whole) // 2 :] = bytes(len(whole) - len(whole) // 2)
    for wrong in (whole[:1000], bytes(broken), b""):
        file.write_bytes(wrong)
        decodings.clear()
        np.testing.assert_array_equal(data.load(str(kermany), 16).test.images, expected)
        assert len(decodings) == 116 and file.read_bytes() == whole, "and it is made again"
    np.savez(file, prints=np.zeros(2, np.int64), images=np.zeros((2, 8, 8, 1), np.uint8))
    np.testing.assert_array_equal(data.load(str(kermany), 16).test.images, expected)


def test_where_nothing_can_be_kept_nothing_is_lost(kermany, monkeypatch, tmp_path, capsys):
    (tmp_path / "home").write_bytes(b"")  # a file, where a folder should be
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    assert len(data.load(str(kermany), 16).test) == 10
    assert capsys.readouterr().err.startswith("decoded pictures are not kept: cannot write ")


# ---------------------------------------------------------------- EuroSAT, one's own


def test_eurosats_folders(tmp_path, rng):
    for name in ("AnnualCrop", "Forest", "River"):
        for number in range(1, 21):
            path = tmp_path / "2750" / name / f"{name}_{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    found = data.load(str(tmp_path), 32)
    assert found.classes == ("AnnualCrop", "Forest", "River") and found.train.images.shape[1:] == (32, 32, 3)
    assert [len(part) for part in parts(found)] == [48, 6, 6] and not found.own_test


def test_one_class_is_refused(tmp_path, rng):
    xray(tmp_path / "NORMAL" / "IM-0001-0001.jpeg", rng)
    line = refused(data.load, str(tmp_path))
    assert line == f"{tmp_path}: one class only (NORMAL); there is nothing to tell apart."


# ---------------------------------------------------------------- tensors and their range


def test_normalised_grey_pictures_have_three_equal_colours_of_mean_0_and_deviation_1(sample):
    images, labels = data.tensors(sample.val)
    mean, std = map(torch.from_numpy, sample.mean_std)
    found = data.normalise(images, mean, std)
    assert found.shape == (300, 3, 64, 64) and (found[:, 0] == found[:, 2]).all() and labels.shape == (300,)
    assert abs(found.mean()) < 0.1 and abs(found.std() - 1) < 0.1


def test_pictures_out_of_the_networks_range_are_refused():
    half = torch.full((3,), 0.5)
    decimals = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    data.check_range((decimals - 0.5) / 0.5, half, half)
    assert refused(data.check_range, decimals * 255, half, half).endswith(
        "but this network was trained on -1 to 1: normalise them with its mean and deviation."
    )
    assert refused(data.check_range, decimals, half, half).startswith("pixels run from 0.00")
    imagenet = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    mean, std = (x[:, None, None] for x in imagenet)
    data.check_range((decimals - mean) / std, *imagenet)
    refused(data.check_range, (decimals - mean) / std, half, half)


# ---------------------------------------------------------------- the lesson's pictures


def test_the_lessons_pictures_are_drawn_or_taken(sample, tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    model = ViT(ViTConfig(side=64, patch=16, width=8, depth=1, heads=2, mlp_width=16, classes=2)).eval()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "rollout.png").write_bytes(b"drawn by eval")
    run = SimpleNamespace(folder=tmp_path / "run")
    flags = ["--patch", "16", "--width", "8", "--depth", "1", "--heads", "2"]
    net = SimpleNamespace(model=model, mean_std=sample.mean_std, threshold=0.0, pictures=lambda: sample, run=run,
                          config=config(train, *flags), classes=sample.classes)  # fmt: skip
    monkeypatch.setattr(figures, "load", lambda run, finished: net)
    out = tmp_path / "out"
    figures.main(config(figures, "--compare", tmp_path, "--out", out))
    assert {path.stem for path in out.glob("*.png")} == {"patches", "heads", "rollout"}
    for name in ("patches", "heads"):
        assert_picture(out / f"{name}.png", 150)
    said = capsys.readouterr().out
    assert "positions: cosine of each with what it was drawn as " in said
    assert (out / "rollout.png").read_bytes() == b"drawn by eval"
    assert f"left out efficiency.png: it is not in {tmp_path}\n" in said
    assert "left out painted.png: it is not in any folder\n" in said
