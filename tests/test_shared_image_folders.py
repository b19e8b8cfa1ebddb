"""Folders of pictures as people have them: what is taken for a class, for a split, left out, or refused."""

import numpy as np
import pytest
from PIL import Image
from programs import refused

from shared import image_folders
from shared.own_images import in_three


@pytest.fixture
def lay(tmp_path):
    """Lays out a folder: `name*3` are three pictures there, all different, `name` is a file with a few bytes in it."""
    shades = iter(range(1, 250))

    def make(*paths):
        for path in paths:
            name, _, count = path.partition("*")
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            if not count:
                (tmp_path / name).write_bytes(b"no picture")
            for number in range(int(count or 0)):
                place = tmp_path / name / f"{number}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (6, 5), (next(shades), 9, 9)).save(place)
        return tmp_path

    return make


def read(folder):
    return image_folders.read_folder(folder, lambda picture: np.asarray(picture))


def counts(own):
    """{class: images}, and where there is a split {class: [train, val, test]}."""
    split = np.zeros(len(own.labels)) if own.split is None else own.split
    found = {}
    for label, name in enumerate(own.classes):
        parts = [int(((own.labels == label) & (split == part)).sum()) for part in range(3)]
        found[name] = parts[0] if own.split is None else parts
    return found


@pytest.mark.parametrize(
    ("paths", "expected", "notes"),
    [
        (("cat*3", "dog*2"), {"cat": 3, "dog": 2}, ()),
        (("cat*3", "cat/old/deep*2", "dog*2"), {"cat": 5, "dog": 2}, ()),
        (("pets/PetImages/cat*3", "pets/PetImages/dog*2", "pets/readme.txt"), {"cat": 3, "dog": 2},
         ("its classes are the folders in pets/PetImages",)),
        (("cat*3", "dog*2", "__MACOSX/cat/._0.png", "cat/._0.png", "cat/Thumbs.db", "cat/.x.png", "dog/desktop.ini",
          "dog/@eaDir/0.png", ".git/config", "$RECYCLE.BIN/a.png"), {"cat": 3, "dog": 2}, ()),
        (("cat*3", "dog*2", "cat/a.txt", "cat/b.HEIC", "dog/b.heic", "dog/notes"), {"cat": 3, "dog": 2},
         ("left out 4 files that cannot be read as images: 2 .heic, 1 .txt, 1 without an ending "
          "(HEIC: install pillow-heif into the environment, or save them as jpg)",)),
        (("cat*3", "dog*2", "*1"), {"cat": 3, "dog": 2}, ("left out 1 image outside the class folders",)),
        (("train/cat*3", "train/dog*2", "val/cat*1", "val/dog*1", "test/cat*2", "test/dog*2"),
         {"cat": [3, 1, 2], "dog": [2, 1, 2]},
         ("its split is that of its folders: train (train), val (val), test (test)",)),
        (("Training/Cat*3", "Training/dog*2", "TEST/cat*2", "TEST/Dog*1"), {"Cat": [3, 0, 2], "dog": [2, 0, 1]},
         ("its split is that of its folders: Training (train), TEST (test)",)),
        (("all/training_set/training_set/cat*3", "all/training_set/training_set/dog*2", "all/test_set/test_set/cat*1",
          "all/test_set/test_set/dog*1"), {"cat": [3, 0, 1], "dog": [2, 0, 1]},
         ("its split is that of its folders: training_set (train), test_set (test)",)),
        (("train/cat*3", "train/dog*2", "test*4"), {"cat": [3, 0, 0], "dog": [2, 0, 0]},
         ("its split is that of its folders: train (train)", "left out test: no class folders in it")),
        (("seg_train/cat*3", "seg_train/dog*2", "seg_test/cat*1", "seg_test/dog*1", "seg_pred/seg_pred*3"),
         {"cat": [3, 0, 1], "dog": [2, 0, 1]}, ("its split is that of its folders: seg_train (train), seg_test (test)",
                                               "left out seg_pred: no class folders in it")),
        (("train/cat*3", "train/dog*2"), {"cat": 3, "dog": 2}, ("its classes are the folders in train",)),
        (("train*3", "bus*2"), {"bus": 2, "train": 3}, ()),
        (("train/steam*3", "train/electric*1", "bus*2"), {"bus": 2, "train": 4}, ()),
        (("test*1", "train*2", "exam*2"), {"exam": 2, "test": 1, "train": 2}, ()),
    ],
)  # fmt: skip
def test_what_is_read(lay, paths, expected, notes):
    own = read(lay(*paths))
    assert counts(own) == expected
    assert own.notes == notes


@pytest.mark.parametrize(
    ("paths", "complaint"),
    [
        (("cat/a.txt", "dog/b.txt"),
         "{0}/cat: a class without readable images, but with 1 .txt file. Save its pictures as png or jpg."),
        (("cat*2", "dog/b.heic", "dog/c.HEIC", "dog/d.txt"),
         "{0}/dog: a class without readable images, but with 2 .heic files. To read them, install pillow-heif into the "
         "environment, or save them as jpg."),
        (("cat*2", "dog/.x"), "{0}/dog: a class without images. Fill the folder or remove it."),
        (("cat*2",), "{0}: one class only (cat); there is nothing to tell apart."),
        (("*3",), "{0}: 3 images, but no class folders. Move those of each class into one."),
        (("pets.zip",), "{0}: no images in it; expected one folder per class with png or jpg files inside. "
                        "Unpack pets.zip first."),
        (("train*2", "test*2"), "{0}: test and train are no classes. Put the pictures of each class into a folder of "
                                "its own, as in {0}/train/cat."),
        (("train/cat*2", "train/dog*2", "test/cats*1", "test/dog*1"),
         "{0}: class 'cats' is in test, but not in train (cat, dog). Give it the name that it has there, or pictures "
         "to train on."),
    ],
)  # fmt: skip
def test_what_is_refused(lay, paths, complaint):
    folder = lay(*paths)
    assert refused(read, folder) == complaint.format(folder)


def test_links_that_lead_nowhere_or_back(lay):
    folder = lay("cat*3", "dog*2")
    (folder / "cat" / "gone.png").symlink_to(folder / "none.png")
    (folder / "cat" / "loop").symlink_to(folder)
    own = read(folder)
    assert counts(own) == {"cat": 3, "dog": 2}
    assert own.notes == ("left out 2 files that cannot be read as images: 1 broken link, 1 link to a folder",)
    (folder / "round").mkdir()
    (folder / "round" / "round").symlink_to(folder / "round")
    assert refused(read, folder / "round") == (
        f"{folder / 'round' / 'round'}: a class without readable images, but with 1 link to a folder. "
        "Save its pictures as png or jpg."
    )


def test_class_folders_that_are_links_are_read(lay, tmp_path_factory):
    folder, other = lay("cat*3", "dog*2"), tmp_path_factory.mktemp("links")
    for name in ("cat", "dog"):
        (other / name).symlink_to(folder / name)
    assert counts(read(other)) == {"cat": 3, "dog": 2}


def test_a_folder_that_may_not_be_read(lay, monkeypatch):
    folder = lay("cat*2", "dog*2")

    def forbidden(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(folder), "iterdir", forbidden)
    assert refused(read, folder) == f"{folder}: cannot be read (Permission denied)."


def test_one_damaged_picture_in_ten_is_left_out_and_said_and_more_are_refused(lay):
    folder = lay("cat*20", "dog*20")
    for number in (3, 5):
        (folder / "cat" / f"{number}.png").write_bytes(b"")
    own = read(folder)
    assert counts(own) == {"cat": 18, "dog": 20}
    assert own.notes == ("left out 2 damaged images; the first: cat/3.png: an empty file. Remove it.",)
    (folder / "cat" / "6.png").write_bytes(b"")
    assert refused(read, folder) == f"{folder}/cat/3.png: an empty file. Remove it."


def test_what_no_split_holds_is_drawn_from_train(lay):
    own, rows = in_three(lay("train/a*20", "train/b*10", "test/a*2", "test/b*2"), read(lay()))
    assert [len(part) for part in rows] == [27, 3, 4] and own.own_test
    assert own.notes[1] == "val drawn from train: these data bring none"


def test_a_name_that_is_not_utf_8_becomes_text(lay):
    folder = lay("cat*2", "dog*2")
    try:
        (folder / "dog").rename(folder / "d\udcf6g")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    assert read(folder).classes == ("cat", "d\\xf6g")
