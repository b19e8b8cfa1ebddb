"""Pictures: written whole, small, closed, and readable for everybody."""

import contextlib
import itertools

import numpy as np
import pytest
from PIL import Image
from programs import assert_picture

from shared import plots
from shared.plots import COLOURS, INK, PAPER, band, curves, figure, images


def open_figures():
    import matplotlib.pyplot as plt

    return plt.get_fignums()


def test_picture_is_written_small_and_closed(tmp_path):
    path = tmp_path / "figures" / "loss.png"
    with figure(path, size=(6.4, 3.6)) as (_, axes):
        x = np.linspace(0, 10, 500)
        for shift in range(4):
            axes.plot(x, np.exp(-x / 3) * np.cos(x + shift), label=f"run {shift}")
        axes.set(title="Loss", xlabel="step", ylabel="loss")
        axes.legend()
        assert not path.exists()
    assert open_figures() == []
    assert path.stat().st_size < 60_000
    with Image.open(path) as image:
        image.load()
        assert (image.format, image.size) == ("PNG", (768, 432))  # 120 pixels an inch
        assert image.convert("RGB").getpixel((1, 1)) == rgb(PAPER)
    assert list(path.parent.iterdir()) == [path]


def test_several_axes(tmp_path):
    with figure(tmp_path / "a.png", rows=2, columns=3) as (_, axes):
        assert axes.shape == (2, 3)


@pytest.mark.parametrize("trouble", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("there_before", [False, True])
def test_drawing_that_fails_leaves_nothing(tmp_path, trouble, there_before):
    path = tmp_path / "a.png"
    if there_before:
        path.write_bytes(b"the old picture")
    with pytest.raises(trouble), figure(path) as (_, axes):
        axes.plot([1, 2])
        raise trouble
    assert open_figures() == []
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"the old picture"] * there_before


def test_picture_that_cannot_be_drawn_at_the_end(tmp_path):
    """A formula that is none is found out only when the picture is saved."""
    with pytest.raises(ValueError), figure(tmp_path / "a.png") as (_, axes):
        axes.set_title(r"$\mathdefault{\frac{1}$")  # a number on a log axis, if that could go wrong
    assert open_figures() == []
    assert list(tmp_path.iterdir()) == []


def test_style_of_others_is_left_alone(tmp_path):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with figure(tmp_path / "a.png") as (_, axes):
        assert mpl.colors.same_color(axes.plot([1])[0].get_color(), COLOURS[0])
    assert dict(mpl.rcParams) == before


FOREIGN = ["cat", "$5", r"$\frac$", "a_b^{", "two\nlines", "caf\udce9.png", "猫", "x" * 200]


@pytest.mark.filterwarnings("error")
def test_names_of_others_are_drawn_as_they_are(tmp_path):
    plots.confusion(tmp_path / "confusion.png", np.eye(len(FOREIGN), dtype=int), FOREIGN)
    titles = [f"{a} → {b}  90%" for a, b in itertools.pairwise(FOREIGN)]
    plots.mistakes(tmp_path / "mistakes.png", np.zeros((len(titles), 8, 8), dtype=np.uint8), titles)
    for name in ("confusion", "mistakes"):
        assert_picture(tmp_path / f"{name}.png")
    with figure(tmp_path / "a.png") as (drawing, axes):
        axes.set(title="$\\frac$ caf\udce9", xscale="log", xlim=(1, 1000))
        drawing.draw_without_rendering()
        assert axes.get_title("left") == r"$\frac$ caf?"
        assert all(label.get_parse_math() for label in axes.get_xticklabels() if label.get_text())


def test_a_users_own_matplotlibrc_plays_no_part(tmp_path):
    import matplotlib as mpl

    def drawn(path):
        plots.confusion(path, np.eye(2, dtype=int), ["a", "b"])
        return path.read_bytes()

    usual, users = drawn(tmp_path / "a.png"), {"text.usetex": True, "font.family": ["No Such Font"], "font.size": 30}
    with mpl.rc_context(users | {"figure.dpi": 20, "savefig.bbox": "tight", "text.parse_math": True}):
        assert drawn(tmp_path / "b.png") == usual


def test_band_is_the_mean_with_smallest_and_largest(tmp_path):
    with figure(tmp_path / "a.png") as (_, axes):
        band(axes, [1, 2], [[0.0, 4.0], [1.0, 5.0], [5.0, 6.0]], "three seeds")
        (line,), (area,) = axes.lines, axes.collections
        assert list(line.get_ydata()) == [2.0, 5.0]
        assert line.get_label() == "three seeds"
        edges = area.get_paths()[0].vertices
        for x, smallest, largest in ((1, 0.0, 5.0), (2, 4.0, 6.0)):
            assert {smallest, largest} == set(edges[edges[:, 0] == x, 1])


def test_band_refuses_runs_of_different_length(tmp_path):
    with pytest.raises(ValueError, match="shorter"), figure(tmp_path / "a.png") as (_, axes):
        band(axes, np.array([1, 2]), [[0, 4], np.array([1.0])], "uneven")


ROWS = [
    {"epoch": 1, "step": 9, "train_loss": 0.9, "val_loss": 0.8, "val_accuracy": 0.25, "seconds": 1.0},
    {"epoch": 2, "step": 18, "train_loss": 0.5, "val_loss": 0.7, "val_accuracy": 0.5, "seconds": 2.0},
    {"epoch": 3, "step": 20, "train_loss": 0.3, "val_loss": 0.75, "val_accuracy": 0.375, "seconds": 3.0},
]


@pytest.fixture
def drawn(monkeypatch):
    """The axes of what is drawn."""
    found, real = [], plots.figure

    @contextlib.contextmanager
    def figure(path, **options):
        with real(path, **options) as (drawing, axes):
            found.extend(axes)
            yield drawing, axes

    monkeypatch.setattr(plots, "figure", figure)
    return found


@pytest.mark.parametrize(
    ("metric", "title", "numbers"),
    [
        ("val_accuracy", "Validation accuracy (%)", [25, 50, 37.5]),
        ("val_loss", "Validation loss", [0.8, 0.7, 0.75]),
        ("val_top5_accuracy", "Validation top5 accuracy (%)", [90, 80, 70]),
    ],
)
def test_curves_show_both_losses_and_the_metric(tmp_path, drawn, metric, title, numbers):
    rows = [row | {"val_top5_accuracy": share} for row, share in zip(ROWS, (0.9, 0.8, 0.7), strict=True)]
    curves(tmp_path / "curves.png", rows, metric)
    left, right = drawn
    assert {line.get_label(): list(line.get_ydata()) for line in left.lines} == {
        "training": [0.9, 0.5, 0.3], "validation": [0.8, 0.7, 0.75],
    }  # fmt: skip
    assert [list(line.get_ydata()) for line in right.lines] == [numbers]
    assert all(list(line.get_xdata()) == [1, 2, 3] for axes in drawn for line in axes.lines)
    assert (left.get_title(loc="left"), right.get_title(loc="left")) == ("Loss", title)
    assert [axes.get_xlabel() for axes in drawn] == ["epoch", "epoch"]
    assert_picture(tmp_path / "curves.png")


def test_curves_beside_a_baseline(tmp_path, drawn):
    curves(tmp_path / "curves.png", ROWS, "val_accuracy", ("a line", 0.25))
    _, right = drawn
    assert [(line.get_label(), set(line.get_ydata())) for line in right.lines[1:]] == [("a line", {25.0})]
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["a line"]


def test_curves_of_one_epoch_can_be_seen(tmp_path, drawn):
    curves(tmp_path / "curves.png", ROWS[:1])
    assert all(line.get_marker() == "o" for axes in drawn for line in axes.lines)
    assert_picture(tmp_path / "curves.png")


@pytest.mark.parametrize("epochs", [1, 2])
def test_epochs_are_whole_numbers(tmp_path, drawn, epochs):
    curves(tmp_path / "curves.png", ROWS[:epochs])
    assert all(axes.get_xticks().size and np.all(axes.get_xticks() % 1 == 0) for axes in drawn)


def test_images_have_no_axes_and_keep_their_pixels(tmp_path):
    picture = np.arange(6).reshape(2, 3)
    with figure(tmp_path / "a.png") as (_, axes):
        images(axes, picture, "seven")
        assert not axes.axison
        assert axes.get_title(loc="center") == "seven"
        assert axes.images[0].get_interpolation() == "nearest"
        np.testing.assert_array_equal(axes.images[0].get_array(), picture)


# Colours


def rgb(colour):
    return tuple(bytes.fromhex(colour[1:]))


def linear(colour):
    """sRGB to linear light, as WCAG 2.2 defines it."""
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in rgb(colour))]


def contrast(one, other):
    """The contrast ratio of WCAG 2.2, 1 to 21."""
    light, dark = sorted((np.dot([0.2126, 0.7152, 0.0722], linear(c)) + 0.05 for c in (one, other)), reverse=True)
    return light / dark


def test_contrast_formula():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)


def test_text_is_readable():
    assert contrast(INK, PAPER) >= 7  # WCAG level AAA


def lab(linear_rgb):
    """CIE L*a*b* (D65): distances in it are about as large as they look."""
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(np.maximum(matrix @ linear_rgb / [0.9505, 1.0, 1.089], 1e-4))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


# What a colour becomes for those without long-wave (red) or middle-wave (green) cones, in linear RGB, full severity:
# Machado, Oliveira and Fernandes 2009, table 1.
EYES = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}


@pytest.mark.parametrize("eye", EYES)
def test_colours_can_be_told_apart(eye):
    seen = {colour: lab(np.clip(EYES[eye] @ linear(colour), 0, 1)) for colour in COLOURS}
    closest = min((np.linalg.norm(seen[a] - seen[b]), a, b) for a, b in itertools.combinations(COLOURS, 2))
    assert closest[0] > 10, closest  # 2.3 is what one can just notice


def test_every_colour_has_its_name():
    names = (plots.BLUE, plots.ORANGE, plots.GREEN, plots.VERMILLION, plots.PURPLE, plots.SKY, plots.BLACK, plots.GREY)
    assert names == COLOURS
