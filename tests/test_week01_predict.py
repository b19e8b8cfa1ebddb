"""Week 1's predict: photos made from MNIST's digits come back as those digits, and bad pictures get one clear line."""

import io
import sys
from functools import cache

import numpy as np
import pytest
from PIL import Image
from programs import config, refused

from shared import cli, plots
from shared.pictures import read_picture
from week01_numpy_mlp import data, drawing, predict, train
from week01_numpy_mlp.sheet import sheet
from week01_numpy_mlp.trained import load

DIGITS = data.load("sample").test
IMAGES = DIGITS.images.reshape(-1, 28, 28)


def photo(digit, size=(420, 500), side=200, corner=(110, 130), shadow=False, seed=0):
    """A page (rows, columns) of light paper with the digit in dark ink, in grey; shadow adds one, and noise."""
    page = np.zeros(size)
    large = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    page[corner[0] : corner[0] + side, corner[1] : corner[1] + side] = np.asarray(large) / 255
    page = 0.95 - 0.8 * page
    if shadow:
        down, right = np.mgrid[0 : 1 : size[0] * 1j, 0 : 1 : size[1] * 1j]
        page *= (0.5 + 0.5 * right) * (1 - 0.4 / (1 + np.exp(25 * (down - 0.35 - 0.3 * right))))
        page += np.random.default_rng(seed).normal(0, 0.03, size)
    return Image.fromarray(np.uint8(255 * page.clip(0, 1)))


def saved(picture, path, **options):
    """What predict reads of a picture that was saved as a file."""
    picture.save(path, **options)
    return read_picture(path, keep_alpha=True)


def apart(a, b):
    """Mean absolute difference of two images in grey levels; an average digit against a black image is 33."""
    return np.abs(a.astype(float) - b).mean()


@cache
def read(number, shadow=False):
    """What is made of the photo of test digit `number`."""
    return predict.normalise(photo(IMAGES[number], shadow=shadow, seed=number))


@pytest.fixture(scope="module", autouse=True)
def no_pictures():
    """The trainings here are asked for their networks alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "first_layer", lambda *_: None)
        patch.setattr(plots, "curves", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("week01") / "run"
    train.main(config(train, "--preset", "smoke", "--hidden", 64, "--epochs", 2, "--out", out))
    return out


@pytest.fixture
def command(run, monkeypatch, capsys):
    """Calls predict as the command line does; returns its exit code, what it printed, and its error line."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments), "--run", str(run)])
        code = 0
        try:
            cli.launch(predict.main, predict.Config)
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call


# ---------------------------------------------------------------- normalise


@pytest.mark.parametrize("shadow", [False, True], ids=["clean", "shadow and noise"])
def test_a_photo_of_a_digit_comes_back_as_that_digit(shadow):
    differences = [apart(read(number, shadow), IMAGES[number]) for number in range(10)]
    assert np.mean(differences) < 12
    assert np.max(differences) < 30


@pytest.mark.parametrize("label", range(10))
def test_ink_fits_20_pixels_and_its_centre_of_mass_is_in_the_middle(label):
    image = read(int(np.flatnonzero(DIGITS.labels == label)[0])).astype(float)
    rows, columns = image.sum(axis=1), image.sum(axis=0)
    assert max(np.ptp(np.flatnonzero(rows)), np.ptp(np.flatnonzero(columns))) + 1 == 20
    for mass in (rows, columns):
        assert abs((np.arange(28) * mass).sum() / mass.sum() - 14) <= 0.6


def test_mnist_itself_is_centred_on_the_same_pixel():
    mass = IMAGES.astype(float).sum(axis=0)
    centre = [(np.arange(28) * mass.sum(axis=axis)).sum() / mass.sum() for axis in (1, 0)]
    assert centre == pytest.approx([14, 14], abs=0.1)


@pytest.mark.parametrize("light", [0, 0.2], ids=["even light", "uneven light"])
def test_a_negative_gives_the_same_image(light):
    for number in range(5):
        page = np.asarray(photo(IMAGES[number])) * np.linspace(1 - light, 1, 500)
        picture, negative = (Image.fromarray(np.uint8(values)) for values in (page, 255 - page))
        positive = predict.normalise(picture) if light else read(number)
        assert apart(predict.normalise(negative), positive) < 3


def test_moving_the_digit_on_the_page_changes_next_to_nothing():
    size, side = (600, 600), 200  # 600 pixels are the working size: nothing is resampled
    first = predict.normalise(photo(IMAGES[1], size, side, (100, 100)))
    for corner in ((30, 30), (201, 333), (370, 20)):
        assert apart(predict.normalise(photo(IMAGES[1], size, side, corner)), first) < 0.5


def test_twice_the_size_changes_little():
    small = photo(IMAGES[2], shadow=True)
    large = small.resize((2 * small.width, 2 * small.height), Image.Resampling.BICUBIC)
    assert apart(predict.normalise(large), predict.normalise(small)) < 3


def test_the_shape_of_the_page_does_not_matter():
    wide, tall = (photo(IMAGES[3], size, corner=(50, 60)) for size in ((300, 600), (600, 300)))
    assert apart(predict.normalise(wide), predict.normalise(tall)) < 0.5


def test_a_photo_taken_lying_is_turned_by_its_exif_note(tmp_path):
    upright = photo(IMAGES[4])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise to be looked at
    lying = saved(upright.transpose(Image.Transpose.ROTATE_90), tmp_path / "lying.png", exif=exif)
    np.testing.assert_array_equal(predict.normalise(lying), predict.normalise(upright))


@pytest.mark.parametrize("ink", [0, 255], ids=["black ink", "white ink"])
def test_ink_on_a_transparent_background(ink, tmp_path):
    alpha = Image.fromarray(IMAGES[5]).resize((280, 280), Image.Resampling.BICUBIC)
    picture = saved(Image.merge("RGBA", (*[Image.new("L", alpha.size, ink)] * 3, alpha)), tmp_path / "clear.png")
    on_paper = Image.fromarray(255 - np.asarray(alpha))
    assert apart(predict.normalise(picture), predict.normalise(on_paper)) < 1


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "I;16"])
def test_every_kind_of_pixel_gives_the_same_digit(mode, tmp_path):
    picture = photo(IMAGES[6])
    sixteen = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    other = sixteen if mode == "I;16" else picture.convert(mode, dither=Image.Dither.NONE)
    page = saved(other, tmp_path / ("page.tif" if mode == "CMYK" else "page.png"))
    assert apart(predict.normalise(page), read(6)) < 6


def test_a_page_on_a_dark_table_and_a_ruled_page():
    page = np.asarray(photo(IMAGES[7])).copy()
    expected = predict.normalise(Image.fromarray(page))
    ruled = page.copy()
    ruled[10::30] = (0.6 * ruled[10::30]).astype(np.uint8)
    on_table = np.pad(page, 60, constant_values=40)
    for picture in (ruled, on_table):
        assert apart(predict.normalise(Image.fromarray(picture)), expected) < 8


def on_table(page, table=50, tilt=0, scale=0.5, size=(900, 700), at=(0.5, 0.5)):
    """A photo of a page that lies on a table, aslant, with a gentle shadow."""
    sheet = page.convert("L").resize((round(page.width * scale), round(page.height * scale)))
    mask = Image.new("L", sheet.size, 255).rotate(tilt, Image.Resampling.BICUBIC, expand=True)
    photo = Image.new("L", size, table)
    corner = tuple(round(share * side - half / 2) for share, side, half in zip(at, size, mask.size, strict=True))
    photo.paste(sheet.rotate(tilt, Image.Resampling.BICUBIC, expand=True), corner, mask)
    return Image.fromarray(np.uint8(np.asarray(photo) * np.linspace(0.75, 1, size[0])))


@pytest.mark.parametrize(
    "where",
    [{}, {"table": 120}, {"tilt": 6, "scale": 0.9}, {"tilt": -17}, {"at": (0.17, 0.5)}, {"table": 215}],
    ids=["dark", "grey", "aslant", "more aslant", "cut off on the left", "as bright as the sheet"],
)
def test_a_sheet_on_a_table_is_found_and_straightened(where):
    for number in (0, 5):
        page = photo(IMAGES[number], (560, 420), 200, (180, 110))
        assert apart(predict.normalise(on_table(page, **where)), predict.normalise(page)) < 20, (
            number
        )  # one pixel aside is 17


def test_a_digit_in_chalk_is_no_sheet_nor_is_light_that_fades():
    for image in IMAGES[:6]:
        board = Image.fromarray(image).resize((280, 280), Image.Resampling.BICUBIC)
        assert sheet(board) is board
    rows, columns = np.mgrid[-1:1:420j, -1:1:500j]
    lamp = Image.fromarray(np.uint8(np.asarray(photo(IMAGES[3])) * np.exp(-(rows**2 + columns**2))))
    assert sheet(lamp) is lamp
    for level in (0, 255):
        bare = Image.new("L", (40, 30), level)
        assert sheet(bare) is bare


def test_a_thin_pen_is_drawn_again_wider_and_a_normal_one_is_left_alone():
    thin = np.zeros((200, 200), dtype=bool)
    thin[:, 99:102] = thin[99:102] = True
    assert predict.stroke_width(thin) == pytest.approx(3, rel=0.3)
    assert predict.stroke_width(predict.thickened(thin)) == pytest.approx(predict.PEN * 200, rel=0.3)
    normal = predict.digits(predict.ink(predict.brightness(photo(IMAGES[8]))))[0]
    assert predict.thickened(normal) is normal


def test_the_bar_of_a_5_belongs_to_it_and_a_neighbour_does_not():
    page = np.full((400, 600), 240, dtype=np.uint8)
    page[100:300, 100:120] = page[280:300, 100:200] = 20  # the body, 200 high
    page[80:95, 130:210] = 20  # a bar beside its top, not connected
    assert [mask.shape for mask in predict.digits(predict.ink(predict.brightness(Image.fromarray(page))))] == [
        pytest.approx((220, 110), abs=4)
    ]
    page[100:300, 400:420] = 20  # as tall as the first
    assert len(predict.digits(predict.ink(predict.brightness(Image.fromarray(page))))) == 2


# ---------------------------------------------------------------- the network


def test_photos_are_read_nearly_as_well_as_the_originals(run):
    model, n = load(run).model, 30
    photos = np.stack([read(number, shadow=number % 2 == 1) for number in range(n)])
    found = train.evaluate(model, data.Part(photos.reshape(n, -1), DIGITS.labels[:n]))["accuracy"]
    original = train.evaluate(model, data.Part(DIGITS.images[:n], DIGITS.labels[:n]))["accuracy"]
    assert original > 0.85
    assert found >= original - 0.04


def test_the_program_shows_image_chart_and_verdict(command, tmp_path):
    photo(IMAGES[0]).save(tmp_path / "four.png")
    code, out, err = command(tmp_path / "four.png", "--out", tmp_path / "seen")
    assert (code, err) == (0, "")
    assert "This is 4 (" in out and "█" in out and "4 " in out
    seen = np.asarray(Image.open(tmp_path / "seen" / "four_28x28.png"))
    np.testing.assert_array_equal(seen, read(0))


def test_one_bad_picture_does_not_stop_the_others_and_none_overwrites_another(command, tmp_path):
    names = ["a/four.png", "b/four.png", "c/Four.png"]
    for name in names:
        (tmp_path / name).parent.mkdir()
        photo(IMAGES[0]).save(tmp_path / name)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    code, out, err = command(tmp_path / names[0], bad, *(tmp_path / name for name in names[1:]), "--out", tmp_path)
    assert code == 2 and err == f"error: 1 of 4 pictures could not be read: {bad}.\n"
    assert out.count("This is 4 (") == 3 and f"\n{bad}: an empty file. Remove it.\n" in out
    assert sorted(path.name for path in tmp_path.glob("*_28x28.png")) == [
        "Four_3_28x28.png", "four_28x28.png", "four_2_28x28.png"
    ]  # fmt: skip


def test_two_digits_are_reported(command, tmp_path):
    both = np.concatenate([np.asarray(photo(IMAGES[i], (400, 300), 200, (100, 50))) for i in (0, 1)], axis=1)
    Image.fromarray(both).save(tmp_path / "both.png")
    code, out, _ = command(tmp_path / "both.png")
    assert code == 0
    assert "There seem to be 2 digits; this is the one with the most ink. Put one on a picture." in out


def test_the_verdict_says_when_it_is_unsure():
    classes = ("bag", "coat", "dress")
    assert predict.verdict(np.array([0.05, 0.9, 0.05]), classes) == "This is coat (90.0% sure)."
    assert predict.verdict(np.array([0.1, 0.4, 0.5]), classes) == "Not sure: dress (50.0%), or coat (40.0%)?"


def test_the_chart_names_the_classes_and_falls_back_to_ascii():
    probs = np.array([0.0, 1.0])
    assert predict.chart(probs, ("bag", "boot"), True) == [" bag   0.0% ", "boot 100.0% " + 30 * "█"]
    assert predict.chart(probs, ("bag", "boot"), False)[1] == "boot 100.0% " + 30 * "#"
    many = predict.chart(np.arange(20) / 190, tuple(map(str, range(20))), False)
    assert [line.split()[0] for line in many] == [str(label) for label in range(10, 20)]


def test_the_drawing_has_every_pixel_in_it():
    image = np.zeros((28, 28), dtype=np.uint8)
    image[0, 0] = image[3, 1] = image[4:6, 2] = 255
    for blocks, top, bottom, both in ((True, "▀", "▄", "█"), (False, "'", ".", "#")):
        lines = predict.drawing(image, blocks)
        assert len(lines) == 14 and {len(line) for line in lines} == {28}
        assert (lines[0][0], lines[1][1], lines[2][2]) == (top, bottom, both)
        assert "".join(lines).replace(" ", "") == top + bottom + both


def test_a_terminal_without_block_characters_gets_ascii(command, tmp_path, monkeypatch):
    photo(IMAGES[0]).save(tmp_path / "four.png")
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    code, *_ = command(tmp_path / "four.png")
    stream.flush()
    assert code == 0
    assert b"#" in stream.buffer.getvalue()


# ---------------------------------------------------------------- bad input


DOT = Image.fromarray(np.pad(np.zeros((9, 9), dtype=np.uint8), 300, constant_values=255))
BLOCK = Image.fromarray(np.pad(np.full((90, 80), 20, dtype=np.uint8), 200, constant_values=240))
PLATE = Image.fromarray(np.uint8(40 + 190 * (np.hypot(*(np.mgrid[:300, :400] - [[[150]], [[200]]])) < 110)))
EDGE = Image.fromarray(np.repeat(np.uint8([[255] * 190 + [0] * 20]), 99, axis=0))


def page_file(folder, name, picture):
    picture.save(folder / name)
    return folder / name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: f / "none.png", "{path}: no such file."),
        (lambda f: f, "{path}: a folder; name the pictures in it, as in {path}/*.png."),
        (lambda f: page_file(f, "white.png", Image.new("RGB", (300, 200), "white")),
         "{path}: the page seems empty. Draw one digit, dark and large, and take the photo from near by."),
        (lambda f: page_file(f, "dot.png", DOT),
         "{path}: the page seems empty. Draw one digit, dark and large, and take the photo from near by."),
        (lambda f: page_file(f, "edge.png", EDGE),
         "{path}: all that stands out runs off the picture. "
         "Crop it to the paper, with some left all around the digit."),
        (lambda f: page_file(f, "block.png", BLOCK),
         "{path}: what stands out is too solid for a digit. Crop the picture to the paper with the digit."),
        (lambda f: page_file(f, "plate.png", PLATE),
         "{path}: something bright lies on something dark, but no whole sheet is seen. "
         "Crop the picture to the paper, or take it without shadows."),
    ],
    ids=["missing", "folder", "empty page", "only a dot", "at the edge", "no digit", "a plate on a table"],
)  # fmt: skip
def test_bad_pictures_get_one_line_and_exit_code_2(command, tmp_path, make, message):
    path = make(tmp_path)
    code, out, err = command(path)
    assert (code, out) == (2, "")
    assert err == f"error: {message.format(path=path)}\n"


def test_files_that_are_no_whole_image(command, tmp_path):
    text, cut = tmp_path / "text.png", tmp_path / "cut.png"
    text.write_text("not an image", encoding="utf-8")
    photo(IMAGES[0], shadow=True).save(cut)
    cut.write_bytes(cut.read_bytes()[:2000])
    assert command(text)[2] == (
        f"error: {text}: not a readable image (cannot identify image file {str(text)!r}). Repair or remove it.\n"
    )
    assert command(cut)[2].startswith(f"error: {cut}: not a readable image (")
    assert command(cut)[0] == 2


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(command, tmp_path, monkeypatch):
    path = page_file(tmp_path, "bomb.png", photo(IMAGES[0]))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    code, _, err = command(path)
    assert code == 2
    assert err.startswith(
        f"error: {path}: not a readable image (Image size (210000 pixels) exceeds limit of 2000 pixels"
    )
    assert err.count("\n") == 1


def test_no_picture_and_a_network_of_another_shape(run, tmp_path):
    assert refused(predict.main, config(predict, "--run", run)) == (
        "which picture? For example: ./course run 1 predict my_digit.png"
    )
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (60, 8, 8), dtype=np.uint8), np.arange(60) % 3
    np.savez(tmp_path / "small.npz", images=images, labels=labels)
    small = tmp_path / "small"
    flags = ("--data", tmp_path / "small.npz", "--preset", "smoke", "--hidden", 4, "--max-steps", 2)
    train.main(config(train, *flags, "--out", small))
    assert refused(predict.main, config(predict, "x.png", "--run", small)) == (
        f"{small}: this network sees images of (8, 8), predict makes grey ones of (28, 28)."
    )


def test_another_data_set_with_names_of_its_own(tmp_path, capsys):
    images, labels = IMAGES[:200], DIGITS.labels[:200] % 2
    np.savez(tmp_path / "own.npz", images=images, labels=labels, classes=np.array(["even", "odd"]))
    own, path = tmp_path / "own", page_file(tmp_path, "four.png", photo(IMAGES[0]))
    train.main(config(train, "--data", tmp_path / "own.npz", "--preset", "smoke", "--out", own))
    capsys.readouterr()
    [probs] = predict.main(config(predict, path, "--run", own))
    assert probs.shape == (2,) and probs.sum() == pytest.approx(1)
    assert "even" in capsys.readouterr().out
    as_is = page_file(tmp_path, "bare.png", Image.fromarray(IMAGES[0]))
    [plain] = predict.main(config(predict, as_is, "--run", own, "--as-is"))
    part = data.Part(IMAGES[:1].reshape(1, -1), np.zeros(1, dtype=np.int64))
    np.testing.assert_allclose(plain, predict.probabilities(load(own).model, part)[0])
