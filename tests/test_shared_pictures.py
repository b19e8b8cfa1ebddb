"""Picture files: which are read, why others are not, and many of them one by one."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from programs import refused

from shared import pictures
from shared.errors import CourseError
from shared.pictures import each, free_name, is_picture, read_picture


@pytest.mark.parametrize("ending", [".jfif", ".JPG", ".Jpeg", ".avif", ".jp2", ".webp", ".tif", ".pgm", ".bmp", ""])
def test_what_pillow_reads_is_a_picture(tmp_path, ending):
    kind = {".jfif": "JPEG", ".pgm": "PPM", "": "PNG"}.get(ending)
    if ending == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no avif")
    path = tmp_path / f"one{ending}"
    Image.new("RGB", (20, 10), (200, 100, 50)).save(path, kind)
    assert is_picture(path)
    read = read_picture(path)
    assert (read.mode, read.size) == ("RGB", (20, 10))


@pytest.mark.parametrize("name", ["notes.txt", "notes", "data.h5", "page.pdf", "x.svg", "y.heic", "z.mp4"])
def test_what_is_no_picture(tmp_path, name):
    (tmp_path / name).write_text("nothing", encoding="utf-8")
    assert not is_picture(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "an empty file. Remove it."),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1", "a photo of the kind HEIC, whatever its name: install pillow-heif into the "
                                            "environment, or save them as jpg."),
        (b"<html>", "not a readable image (cannot identify image file {path!r}). Repair or remove it."),
    ],
)  # fmt: skip
def test_why_a_file_is_not_read(tmp_path, content, complaint):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    assert refused(read_picture, path) == f"{path}: {complaint.format(path=str(path))}"


def test_a_picture_that_may_not_be_read(tmp_path, monkeypatch):
    def forbidden(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pictures.Image, "open", forbidden)
    assert refused(read_picture, tmp_path / "a.png") == (
        f"{tmp_path / 'a.png'}: may not be read. Give yourself the right to, or leave it out."
    )


def test_a_large_photo_and_a_damaged_note_of_the_camera_warn_of_nothing(tmp_path, monkeypatch, recwarn):
    path = tmp_path / "large.jpg"
    Image.new("RGB", (30, 20)).save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff broken")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)  # of which twice as many are an attack
    assert read_picture(path).size == (30, 20)
    assert not recwarn.list


def test_a_picture_that_cannot_be_read_is_named_in_its_place_and_in_the_end(tmp_path, capsys):
    for name in ("a.png", "c.png"):
        Image.new("L", (3, 3)).save(tmp_path / name)
    names = [str(tmp_path / name) for name in ("a.png", "b.png", "c.png", "d.png")]
    seen = []
    with pytest.raises(CourseError) as caught:
        for path, _ in each(names, read_picture):
            seen.append(path.name)
            print(path.name)
    assert seen == ["a.png", "c.png"]
    assert capsys.readouterr().out == (f"a.png\n\n{names[1]}: no such file.\nc.png\n\n{names[3]}: no such file.\n")
    assert str(caught.value) == f"2 of 4 pictures could not be read: {names[1]}, {names[3]}."
    assert refused(lambda: list(each(names[1:2], read_picture))) == f"{names[1]}: no such file."
    assert [path.name for path, _ in each(names[:1], read_picture)] == ["a.png"]


def test_no_two_names_are_one():
    taken = set()
    names = [free_name(Path("out"), stem, ".png", taken).name for stem in ("a", "A", "a", "a_2", "b")]
    assert names == ["a.png", "A_2.png", "a_3.png", "a_2_2.png", "b.png"]


def test_of_a_large_jpeg_no_more_is_worked_out_than_is_needed(tmp_path):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8))
    small.resize((800, 600), Image.Resampling.BICUBIC).save(tmp_path / "a.jpg", quality=95)
    whole = read_picture(tmp_path / "a.jpg")
    for least, size in ((0, (800, 600)), (700, (800, 600)), (300, (400, 300)), (80, (200, 150)), (75, (100, 75))):
        found = read_picture(tmp_path / "a.jpg", least=least)
        assert found.size == size, f"{least} pixels are enough"
        apart = np.asarray(found.resize((40, 30)), float) - np.asarray(whole.resize((40, 30)), float)
        assert np.abs(apart).mean() < 3
    whole.save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png", least=10).size == (800, 600)
