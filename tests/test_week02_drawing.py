"""Week 2's drawings: they are drawn, and what they show is what is there."""

from pathlib import Path

import matplotlib.axes
import numpy as np
import pytest
import torch
from PIL import Image
from programs import config as flags_of

from shared import plots
from shared.errors import CourseError
from week02_cnn import compare, data, drawing, figures, train
from week02_cnn.model import ConvNet, ConvNetConfig, layer_table, receptive_field, steps
from week02_cnn.trained import load

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")  # they would print on stderr
MEAN, STD = np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32)


def assert_picture(path: Path, colours: int = 10):
    """As the lesson shows it: something on it, and a small file."""
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG" and min(image.size) > 150
        assert len(image.convert("RGB").getcolors(256)) > colours, f"{path} is next to empty"
    assert path.stat().st_size < 150_000


def photographs(count, side=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def spied(monkeypatch, owner, name):
    """The arguments of every call of owner.name from now on; what it does, it still does."""
    calls, real = [], getattr(owner, name)

    def call(*arguments, **options):
        calls.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, call)
    return calls


@pytest.fixture
def drawn(monkeypatch):
    """What is shown by shared.plots.images: (axis, picture[, title]) one after the other."""
    return spied(monkeypatch, drawing, "images")


@pytest.fixture
def written(monkeypatch):
    """Every text that is written into a picture by axis.text: (axis, x, y, text)."""
    return spied(monkeypatch, matplotlib.axes.Axes, "text")


# ---------------------------------------------------------------- training and its mistakes


def test_confusion_has_rows_that_are_and_columns_that_were_thought(tmp_path, written):
    plots.confusion(tmp_path / "confusion.png", np.array([[5, 2, 0], [0, 7, 0], [1, 0, 9]]), ("cat", "dog", "car"))
    cells = {(column, row, text) for _, column, row, text in written}
    assert cells == {(0, 0, "5"), (1, 0, "2"), (1, 1, "7"), (0, 2, "1"), (2, 2, "9")}
    assert_picture(tmp_path / "confusion.png")


def test_confusion_without_mistakes_and_with_long_names(tmp_path):
    plots.confusion(tmp_path / "confusion.png", np.diag([3, 0]), ("a name that goes on and on", "b"))
    assert_picture(tmp_path / "confusion.png")


@pytest.mark.parametrize("count", [0, 1, 30])
def test_mistakes_are_drawn_in_their_order_24_at_most(tmp_path, monkeypatch, count):
    drawn = spied(monkeypatch, plots, "images")
    stack = photographs(count)
    plots.mistakes(tmp_path / "mistakes.png", stack, [f"cat → dog  {i}%" for i in range(count)])
    assert [title for *_, title in drawn] == [f"cat\n→ dog  {i}%" for i in range(min(24, count))]
    assert all(np.array_equal(picture, stack[i]) for i, (_, picture, _) in enumerate(drawn))
    assert_picture(tmp_path / "mistakes.png", colours=1)


# ---------------------------------------------------------------- what a network sees


def transparent(config):
    """A network in which every pixel of the receptive field counts: positive weights, nothing cut off by a ReLU."""
    model = ConvNet(config)
    with torch.no_grad():
        for parameter in model.features.parameters():
            parameter.fill_(0.1)
    return model


@pytest.mark.parametrize("depth", [3, 5, 8])
@pytest.mark.parametrize("pool", ["avg", "stride"])
@pytest.mark.parametrize("where", [(0, 0), (1, 2), (-1, -2)])
def test_the_box_is_where_the_gradient_is(depth, pool, where):
    """After every step: the pixels that move a number are exactly those in its box that are inside the image."""
    config = ConvNetConfig(depth, 2, norm=False, pool=pool, side=30)
    model = transparent(config)
    for layers, row in enumerate(layer_table(config)[:-1], 1):
        y, x = (place % row.shape[1] for place in where)
        left, top, size = drawing.field_box(config, layers, y, x)
        assert size == receptive_field(config, layers) == row.receptive_field
        heat = drawing.influence(model, torch.ones(1, 3, 30, 30), layers, y, x)
        rows, columns = np.flatnonzero(heat.any(axis=1)), np.flatnonzero(heat.any(axis=0))
        assert (rows[0], rows[-1] + 1) == (max(0, top), min(30, top + size)), row.name
        assert (columns[0], columns[-1] + 1) == (max(0, left), min(30, left + size)), row.name


def test_influence_is_the_size_of_the_gradient():
    """Of one convolution it is the sum of the kernels' absolute values over the colours, where the ReLU lets pass."""
    torch.manual_seed(0)
    model = ConvNet(ConvNetConfig(3, 1, norm=False))
    with torch.no_grad():
        model.features[0].conv.bias.fill_(100.0)  # passes all
    heat = drawing.influence(model, torch.randn(5, 3, 32, 32), 1, 10, 20)
    expected = np.zeros((32, 32), np.float32)
    expected[9:12, 19:22] = model.features[0].conv.weight[0].abs().sum(dim=0).detach().numpy()
    np.testing.assert_allclose(heat, expected, rtol=1e-5)


def test_feature_maps_are_the_networks_own(tmp_path, drawn, written):
    """The photograph, then a row of maps for every step: each is what the network computes, the liveliest first."""
    torch.manual_seed(0)
    config, (photograph,) = ConvNetConfig(4, 4), photographs(1)
    model = ConvNet(config).eval()
    drawing.feature_maps(tmp_path / "maps.png", photograph, model, MEAN, STD, count=3)
    assert_picture(tmp_path / "maps.png")
    (_, first), *shown = drawn
    np.testing.assert_array_equal(first, photograph)
    x = torch.from_numpy((photograph / 255 - 0.5) / 0.25).float().permute(2, 0, 1)[None]
    assert len(shown) == 3 * len(steps(config))
    for number, step in enumerate(steps(config)):
        x = model.features[number](x).detach()
        by_spread = x[0].flatten(1).std(dim=1).argsort(descending=True)
        for (_, one), channel in zip(shown[3 * number :], by_spread[:3], strict=False):
            np.testing.assert_allclose(one, x[0, channel], atol=1e-5)
        assert f"{step.name}\n{step.channels} x {step.side} x {step.side}" in [text for *_, text in written]


def test_filters_stand_beside_what_they_find(tmp_path, drawn):
    torch.manual_seed(0)
    (photograph,) = photographs(1)
    model = ConvNet(ConvNetConfig(3, 6))
    drawing.filters(tmp_path / "filters.png", photograph, model, MEAN, STD, count=5)
    assert_picture(tmp_path / "filters.png")
    conv = model.features[0].conv
    order = conv.weight.flatten(1).norm(dim=1).argsort(descending=True)[:5]
    found = conv(drawing.as_input(photograph, MEAN, STD))[0].detach()
    assert len(drawn) == 10
    for number, (_, kernel), (_, one) in zip(order, drawn[::2], drawn[1::2], strict=True):
        assert kernel.shape == (3, 3, 3) and kernel.min() >= 0 and kernel.max() <= 1
        colours = conv.weight[number].detach().permute(1, 2, 0).numpy()
        np.testing.assert_allclose((kernel - 0.5) * 2, colours / np.abs(colours).max(), atol=1e-6)
        np.testing.assert_array_equal(one, found[number])


@pytest.mark.parametrize("config", [ConvNetConfig(3, 2), ConvNetConfig(9, 2, pool="stride", norm=False, side=24)])
def test_the_receptive_field_is_drawn(tmp_path, drawn, config):
    stack = photographs(4, config.side)
    about = (stack[0], ConvNet(config), MEAN, STD)
    drawing.receptive_field(tmp_path / "field.png", *about, others=stack)
    assert_picture(tmp_path / "field.png")
    assert len(drawn) == 1 + len({0, *np.cumsum(config.stages) - 1})


# ---------------------------------------------------------------- compare's pictures


def line(depth, **changes):
    found = {"name": f"depth {depth}, batch norm", "depth": depth, "width": 8, "norm": True, "lr": 0.1}
    found |= {"params": 1000, "flops": 10**6, "seeds": 3, "diverged": 0}
    for metric in ("val_accuracy", "test_accuracy"):
        found |= {metric: 0.5 + depth / 100, f"{metric}_std": 0.01}
    return found | {"val_curves": [[0.2, 0.4, 0.5], [0.1, 0.3, 0.6]]} | changes


def diverged(depth, **changes):
    found = line(depth, name=f"depth {depth}, none, same lr", norm=False, diverged=3, val_curves=[], **changes)
    return {name: value for name, value in found.items() if "accuracy" not in name}


def test_depth_or_width_has_error_bars_and_widths(tmp_path, monkeypatch):
    bars, notes = (spied(monkeypatch, matplotlib.axes.Axes, name) for name in ("errorbar", "annotate"))
    lines = [line(3), line(9, width=4), diverged(16)]
    drawing.depth_or_width(tmp_path / "both.png", {"flops": lines, "params": lines[:2]})
    assert_picture(tmp_path / "both.png")
    assert len(bars) == 4
    for _, depths, means, spread in bars:
        assert (depths, means, spread) == ([3, 9], pytest.approx([53, 59]), pytest.approx([1, 1]))
    assert [(text, place[0]) for _, text, place, _ in notes] == [("width\n8", 3), ("width\n4", 9)] * 2


@pytest.mark.parametrize("lines", [[line(3)], [diverged(3)]])
def test_one_table_alone_or_nothing_but_failures(tmp_path, lines):
    drawing.depth_or_width(tmp_path / "one.png", {"params": lines})
    assert_picture(tmp_path / "one.png")


def test_with_and_without_norm(tmp_path):
    lines = [
        line(6),
        line(6, name="depth 6, none, its best lr", norm=False, lr=0.01),
        diverged(6),
        line(9),
        diverged(9),
    ]
    drawing.norm(tmp_path / "norm.png", lines)
    assert_picture(tmp_path / "norm.png")
    drawing.norm(tmp_path / "failed.png", [diverged(6)])
    assert_picture(tmp_path / "failed.png")


# ---------------------------------------------------------------- figures


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folders of a tiny trained run and of compare's tables, both on the same 60 drawing."""
    folder = tmp_path_factory.mktemp("figures")
    rng, labels = np.random.default_rng(0), np.arange(60) % 3
    images = rng.integers(0, 150, (60, 32, 32, 3))
    images[np.arange(60), :, :, labels] += 100
    np.savez(folder / "own.npz", images=images.astype(np.uint8), labels=labels)
    flags = ["--preset", "smoke", "--data", str(folder / "own.npz"), "--batch-size", "8"]
    train.main(flags_of(train, *flags, "--out", folder / "run"))
    compare.main(flags_of(compare, "params", *flags, "--out", folder / "tables"))
    return folder


def test_all_figures_are_made_from_a_run_and_from_tables(trained, tmp_path, capfd):
    before = (trained / "run" / "result.json").read_bytes()
    figures.main(figures.Config(run=str(trained / "run"), tables=str(trained / "tables"), out=str(tmp_path / "out")))
    output, errors = capfd.readouterr()
    names = ["confusion", "curves", "depth_or_width", "feature_maps", "filters", "mistakes", "receptive_field"]
    assert errors == "" and [Path(row.partition(":")[0]).stem for row in output.splitlines()] == names
    for name in names:
        assert_picture(tmp_path / "out" / f"{name}.png", colours=5)
    assert (trained / "run" / "result.json").read_bytes() == before, "the run stays as it is"


def test_the_photograph_is_the_surest_one_that_is_right(trained):
    run, images = load(trained / "run"), data.load(str(trained / "own.npz"))
    inputs = torch.cat([drawing.as_input(image, run.mean, run.std) for image in images.val.images])
    scores = torch.softmax(run.model(inputs), dim=1).detach().numpy()
    found = zip(scores, images.val.labels, strict=True)
    right = [row[label] if row.argmax() == label else 0 for row, label in found]
    assert right[figures.surest(run, images.val)] == pytest.approx(max(right))


def test_figures_refuse_what_is_not_there(trained, tmp_path):
    with pytest.raises(CourseError) as caught:
        figures.main(figures.Config(run=str(trained / "run"), tables=str(tmp_path), out=str(tmp_path / "out")))
    assert str(caught.value) == (
        f"{tmp_path / 'compare.json'} is not there: `./course run 2 compare` makes it, or give --tables its folder."
    )
    with pytest.raises(CourseError, match=r"^--photograph 6: from 0 to 5, or -1 for the surest one\.$"):
        figures.main(figures.Config(
            run=str(trained / "run"), tables=str(trained / "tables"), out=str(tmp_path / "out"), photograph=6,
        ))  # fmt: skip
    assert not (tmp_path / "out").exists()
