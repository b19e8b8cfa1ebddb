"""Week 16: the training of the chart reader, and the reader of bitmaps that comes of it."""

import numpy as np
import pytest
import torch
from programs import close, config, refused_flags

from shared.device import Device
from shared.splits import Part, Splits
from week16_capstone import charts_eval, data, raster, recognise, train
from week16_capstone.chart import Figure, Unreadable
from week16_capstone.model import KINDS, ChartReader, ReaderConfig
from week16_capstone.raster import Looked, Reader

CPU = Device("cpu", "float32", "in the tests")


def seen(case, jitter=0.0):
    """What a perfect network would say of a chart, but for some pixels."""
    rng = np.random.default_rng(0)
    kinds = {name: float(name == KINDS[case.kind]) for name in KINDS}
    places = {name: [(float(x + rng.normal(0, jitter)), float(y + rng.normal(0, jitter)), 0.9) for x, y in marks]
              for name, marks in case.drawn.marks.items()}  # fmt: skip
    return Looked(kinds, places)


@pytest.fixture(scope="module")
def reader():
    torch.manual_seed(0)
    return Reader(ChartReader(ReaderConfig(8)))


def scored(reader, items, how="known", jitter=0.0):
    views = iter([seen(case, jitter) for case in items])
    return charts_eval.score(lambda figure: reader.read(figure, next(views)), items, how)


def test_geometry_makes_numbers_of_marks(reader):
    for kind in ("bar", "line", "pie", "scatter"):
        items = data.cases("val", 5, kind=kind, fault="")
        assert charts_eval.within(scored(reader, items, jitter=0.4), 0.05, (kind,)) >= 0.9, kind


def test_marks_that_were_passed_over_are_found_by_their_colour(reader, monkeypatch):
    items = [case for kind in ("bar", "line") for case in data.cases("val", 5, kind=kind, fault="", printed=False)]

    def half_blind():
        rng = np.random.default_rng(3)
        for case in items:
            whole = seen(case, 0.3)
            kept = {name: [place for place in places if name not in ("bar", "vertex") or rng.random() < 0.6]
                    for name, places in whole.places.items()}  # fmt: skip
            yield Looked(whole.kinds, kept)

    def right():
        views = half_blind()
        found = charts_eval.score(lambda figure: reader.read(figure, next(views)), items, "known")
        return charts_eval.within(found, 0.05)

    traced = right()
    monkeypatch.setattr(raster, "bars_between", lambda canvas, seen, shades: seen.marks)
    monkeypatch.setattr(raster, "vertices_between", lambda canvas, seen, shades: seen.marks)
    assert traced > 0.8 > 0.7 > right()


def test_stacked_bars_are_refused_though_the_network_sees_none(reader):
    for case in data.cases("val", 4, kind="bar", fault="stacked"):
        looked = seen(case)
        mistaken = Looked({name: float(name == "bar") for name in KINDS}, looked.places)
        with pytest.raises(Unreadable, match="stacked"):
            reader.read(case.drawn.figure(words=True), mistaken)


def test_a_bars_end_is_found_to_a_part_of_a_pixel(reader):
    items = data.cases("val", 4, kind="bar", fault="", printed=False)
    away = charts_eval.errors(scored(reader, items, jitter=1.5), ("bar",))  # the network is a pixel and a half off
    assert np.median(away) < 0.02


def test_what_the_network_refuses_is_refused(reader):
    case = data.cases("val", 1, kind="bar", fault="")[0]
    for kind, says in raster.REFUSED.items():
        looked = Looked({name: float(name == kind) for name in KINDS}, seen(case).places)
        with pytest.raises(Unreadable, match=says):
            reader.read(case.drawn.figure(words=True), looked)
    unsure = Looked({name: 1 / len(KINDS) for name in KINDS}, seen(case).places)
    with pytest.raises(Unreadable, match="not clear"):
        reader.read(case.drawn.figure(words=True), unsure)


def test_a_log_axis_of_pixels_is_refused_by_its_labels(reader):
    case = data.cases("val", 1, kind="line", fault="log")[0]
    looked = seen(case)
    mistaken = Looked({name: float(name == "line") for name in KINDS}, looked.places)
    with pytest.raises(Unreadable, match="logarithmic"):
        reader.read(case.drawn.figure(words=True), mistaken)


def test_where_pixels_stand_on_the_page(reader):
    case = data.cases("val", 1, kind="bar", fault="", printed=False)[0]
    small = case.drawn.figure(words=True)
    here = reader.read(small, seen(case))
    left, bottom, scale = 100.0, 200.0, 2.0
    words = tuple(type(word)(word.text, tuple(side / scale + (left, bottom)[n % 2] for n, side in enumerate(word.box)),
                             word.angle) for word in small.words)  # fmt: skip
    box = (left, bottom, left + small.box[2] / scale, bottom + small.box[3] / scale)
    there = reader.read(Figure(small.picture, scale, words, (), 3, box), seen(case))
    for one, other in zip(here.values, there.values, strict=True):
        close(one.y, other.y, "a value, wherever the figure stands,", 0.01)
        close(
            np.array(other.box), np.array(one.box) / scale + (left, bottom, left, bottom), "the place on the page", 1e-3
        )


def test_words_are_recognised_and_missed_ticks_looked_at_again():
    case = data.cases("val", 30, kind="bar", fault="", printed=False)[2]
    drawn = case.drawn
    words = recognise.recognise(drawn.figure(), drawn.marks["xtick"], drawn.marks["ytick"])
    read = {"".join(word.text.split()) for word in words}
    true = {"".join(word.text.split()) for word in drawn.words}
    assert len(read & true) > 0.7 * len(true)
    assert recognise.tidy("10,000-") == "10,000" and recognise.tidy("-5") == "-5" and recognise.tidy("Rail -") == "Rail"


# ---------------------------------------------------------------- training


@pytest.fixture(scope="module")
def trained():
    """A small network trained for some seconds on a few charts, which it is then asked to read."""
    items = data.cases("train", 4, kind="bar", fault="", printed=False)
    charts = Splits("a few", Part(items), Part(items), Part(()), synthetic=True)
    cfg = config(train, "--width", 8, "--epochs", 40, "--batch-size", 4, "--no-recolour", "--lr", 0.01)
    model = train.build(cfg)
    before = train.on_marks(model.eval(), data.drawn(items, 1))["place_error"]
    stock = data.drawn(items, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "evaluate", lambda model, items: {"within_5": 0.0, "loss": 0.0})
        rows = list(train.fit(cfg, stock, charts, model, CPU))
    return model, items, rows, before


def test_a_training_learns_where_marks_are(trained):
    model, items, rows, before = trained
    assert rows[-1]["train_loss"] < rows[0]["train_loss"] / 5
    after = train.evaluate(model, items)
    assert after["place_error"] < before / 2
    words = charts_eval.within(charts_eval.score(charts_eval.words_only, items, "known"), 0.05)
    assert after["within_5"] > words + 0.2


def test_other_colours_are_the_same_charts():
    pictures = np.random.default_rng(0).integers(0, 256, (40, 4, 5, 3), dtype=np.uint8)
    found = train.recoloured(pictures, np.random.default_rng(1))
    assert found.dtype == np.uint8 and not np.array_equal(found, pictures)
    light = np.sort(found, axis=3), np.sort(pictures, axis=3)
    dark = np.sort(255 - found, axis=3)
    assert all(np.array_equal(light[0][n], light[1][n]) or np.array_equal(dark[n], light[1][n]) for n in range(40))


def test_charts_are_drawn_once():
    items = data.cases("train", 2)
    first = data.drawn(items, 1)
    path = data.kept_at(items)
    stamp = path.stat().st_mtime_ns
    second = data.drawn(items, 1)
    assert path.stat().st_mtime_ns == stamp and np.array_equal(first.pictures, second.pictures)
    assert first.pictures.shape[1:] == (192, 256, 3) and list(first.kinds) == [item.kind for item in items]
    sheet, scale = data.fitted(items[0].drawn.picture)
    assert np.array_equal(first.pictures[0], sheet)
    for name, places in items[0].drawn.marks.items():
        close(first.marks[0][name], places * scale, f"places of {name}")


def test_flags_have_bounds():
    assert refused_flags(train, "--charts", 0) == "--charts 0: must be at least 1."
    assert "--data" in refused_flags(train, "--data", "elsewhere")


def test_what_a_recogniser_takes_for_each_other_is_told_apart():
    from week16_capstone.recognise import mended

    assert mended(["0slo", "0ld site", "1Q24", "S1", "Old"]) == ["Oslo", "Old site", "1Q24", "S1", "Old"]
    assert mended(["。", "G0000", "1O0", "80000"]) == ["0", "60000", "100", "80000"]
    assert mended(["$200", "8400", "-$600", "Tin"]) == ["$200", "$400", "-$600", "Tin"], "all others have a dollar"
    assert mended(["0", "10.000", "12.500"]) == ["0", "10,000", "12,500"], "a decimal more than is needed is none"
    assert mended(["0.125", "1.250", "1.375"]) == ["0.125", "1.250", "1.375"]


def test_nothing_read_has_no_risk():
    assert charts_eval.risk_by_coverage(np.zeros(0), np.zeros(0, bool)) == []
