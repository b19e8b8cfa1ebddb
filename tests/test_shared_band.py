"""Is my curve right? Bands made, kept and read; every verdict; the picture, and what cannot be drawn."""

import math
import shutil
from dataclasses import asdict, replace

import pytest
from programs import assert_picture, refused

from shared import band, curve, plan, runs
from shared.files import ROOT, read_json, write_json

STEPS = [10, 20, 30, 40, 50]
SEEDS = [[0.50, 0.52, 0.51], [0.60, 0.61, 0.62], [0.70, 0.72, 0.71], [0.80, 0.81, 0.79], [0.90, 0.91, 0.89]]
FLAGS = {"data": "sample", "lr": 0.1, "epochs": 5}
MADE = {
    "hardware": "a computer, 2 cores",
    "command": "./course repeat 2",
    "device": "cpu",
    "versions": {"torch": "2.0"},
}
BAND = band.Band(
    FLAGS,
    "val_accuracy",
    True,
    STEPS,
    {"val_accuracy": SEEDS, "train_loss": SEEDS[::-1]},
    {"val_accuracy": [0.9]},
    MADE,
)
MIDDLE = [sum(values) / 3 for values in SEEDS]


@pytest.fixture(autouse=True)
def house(tmp_path, monkeypatch):
    """A repository of its own, with no band in it."""
    for module in (band, runs):
        monkeypatch.setattr(module, "ROOT", tmp_path, raising=False)
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    (tmp_path / plan.folder(2)).mkdir()
    return tmp_path


def rows(values):
    return [{"step": step, "val_accuracy": value, "train_loss": 1.0} for step, value in zip(STEPS, values, strict=True)]


def a_run(house, values, name="001-quick", **flags):
    folder = house / "runs" / "week02" / name
    folder.mkdir(parents=True)
    write_json(folder / "config.json", FLAGS | {"seed": 17, "out": "", "preset": "quick"} | flags)
    lines = "".join(f"{line}\n" for line in map(str, rows(values))).replace("'", '"')
    (folder / "metrics.jsonl").write_text(lines, encoding="utf-8")
    return folder


# ---------------------------------------------------------------- the band


def test_the_band_holds_the_next_run_ninety_nine_times_in_a_hundred():
    """Drawn from a normal distribution, five seeds and one more: the interval is the textbook's prediction interval."""
    import numpy as np

    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        values = rng.normal(0.7, 0.05, (3, 6))
        one = replace(BAND, steps=[1, 2, 3], curves={"val_accuracy": values[:, :5].tolist()})
        low, high = one.limits("val_accuracy")[1]
        inside += low <= values[1, 5] <= high
    assert inside / 2000 > 0.99, "its spread is that of three steps, which is steadier than one's"


def test_a_band_of_equal_seeds_has_a_width():
    one = replace(BAND, steps=[1], curves={"val_accuracy": [[0.5, 0.5]]})
    assert one.limits("val_accuracy") == [(0.5 - 0.5 * band.LEAST, 0.5 + 0.5 * band.LEAST)]


@pytest.mark.parametrize("name", ["val_accuracy", "val_auroc", "val_mrr", "val_within_5", "test_success_story"])
def test_a_band_ends_where_its_number_does(name):
    one = replace(BAND, steps=[1], curves={name: [[0.99, 0.90, 1.0, 0.95, 1.0]]})
    low, high = one.limits(name)[0]
    assert 0.5 < low < 0.9 and high == 1.0


def test_a_band_is_kept_in_the_place_of_the_one_of_the_same_flags(house):
    assert band.bands(2) == []
    other = replace(BAND, flags=FLAGS | {"epochs": 1})
    for one in (BAND, other, replace(BAND, higher=False)):
        band.keep(2, one)
    assert band.bands(2) == [other, replace(BAND, higher=False)]
    text = band.path_of(2).read_text(encoding="utf-8")
    assert f'"steps": {STEPS}' in text and "[[0.5, 0.52, 0.51], [0.6," in text, "a line for each curve"
    assert read_json(band.path_of(2))["bands"][0] == asdict(other)


def test_a_damaged_file_is_refused(house):
    for damaged in ('{"bands": [{"flags": 1}]}', "[]", "{}"):
        band.path_of(2).write_text(damaged, encoding="utf-8")
        path = band.path_of(2)
        assert refused(band.bands, 2) == f"{path} is not a file of bands. git checkout -- {path} brings it back."


def test_where_a_run_lies_and_computes_is_no_flag_of_a_band():
    config = FLAGS | {"seed": 3, "out": "x", "preset": "quick", "device": "cuda", "threads": 2, "impl": "scratch"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "week", lambda number: plan.Week(2, "", "", "", "", "", (), mine="--impl scratch"))
        assert band.flags_of(2, config) == FLAGS


def test_nearest_is_the_band_that_differs_in_fewest_flags():
    band.keep(2, BAND)
    band.keep(2, replace(BAND, flags=FLAGS | {"epochs": 1, "lr": 0.2}))
    assert band.nearest(2, FLAGS | {"epochs": 1}).flags == FLAGS
    assert band.nearest(2, FLAGS | {"epochs": 1, "lr": 0.2}).flags["epochs"] == 1
    assert band.differences(BAND, FLAGS) == []
    assert band.differences(BAND, {"data": "sample", "lr": 0.5, "norm": False}) == [
        "--lr 0.5 (the band: 0.1)",
        "no --epochs (the band: 5)",
        "--no-norm (the band: None)",
    ]


# ---------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("values", "kind", "line"),
    [
        (MIDDLE, "inside", "inside the band of 3 seeds: val accuracy 90.00% at step 50, the band "),
        ([0.1] * 5, "below", "worse than the band of 3 seeds from the first epoch on: val accuracy 10.00%"),
        (
            [*MIDDLE[:3], 0.3, 0.2],
            "sudden",
            "inside the band of 3 seeds, then suddenly worse from step 40 on: val accuracy 20.00%",
        ),
        (
            [0.1, MIDDLE[1], 0.1, MIDDLE[3], MIDDLE[4]],
            "outside",
            "in and out of the band of 3 seeds, outside it at 2 of 5 epochs, first at step 10: val accuracy 90.00%",
        ),
        ([0.1, *MIDDLE[1:]], "inside", "inside"),  # one epoch in twenty may lie anywhere, and so may one
        ([math.nan] * 5, "below", "worse than the band of 3 seeds from the first epoch on: val accuracy nan"),
    ],
)
def test_verdicts(values, kind, line):
    verdict = band.judge(BAND, rows(values))
    assert verdict.kind == kind
    assert verdict.line.startswith(line)


def test_what_is_better_than_the_band_is_asked_for_its_test_data():
    one = replace(BAND, curves={"val_accuracy": [[value - 0.3 for value in values] for values in SEEDS]})
    verdict = band.judge(one, rows(MIDDLE))
    assert verdict.kind == "good"
    assert verdict.line.startswith(
        "too good, better than the band of 3 seeds: val accuracy 90.00% at step 50, the band "
    )
    assert verdict.line.endswith(". Is test in train, or val?")


def test_a_training_loss_above_the_band_tells_from_the_first_epoch_on():
    """Without zero_grad the first epoch's accuracy is still a possible one; its training loss is not."""
    found = [row | {"train_loss": 4.1} for row in rows([MIDDLE[0], MIDDLE[1], 0.1, 0.1, 0.1])]
    verdict = band.judge(BAND, found)
    assert verdict.kind == "below"
    start = "worse than the band of 3 seeds from the first epoch on: train loss 4.1000 at step 10, the band "
    assert verdict.line.startswith(start) and verdict.line.endswith(band.CAUSES)


def test_less_is_better_where_the_band_says_so():
    one = replace(BAND, higher=False)
    assert band.judge(one, rows([0.1] * 5)).kind == "good"
    assert band.judge(one, rows([9.9] * 5)).kind == "below"


def test_a_run_without_a_step_of_the_band_has_no_verdict():
    message = "no step of this run is one of the band's: has it come to the end of its first epoch?"
    assert refused(band.judge, BAND, [{"step": 7, "val_accuracy": 0.5}, {"step": 10}]) == message


def test_train_says_where_a_run_of_the_bands_flags_lies():
    assert band.say(2, FLAGS, rows(MIDDLE)) == ""
    band.keep(2, BAND)
    assert band.say(2, FLAGS | {"lr": 0.5}, rows(MIDDLE)) == ""
    said = band.say(2, FLAGS | {"seed": 3}, rows(MIDDLE))
    assert said.startswith("inside the band of 3 seeds: ") and said.endswith(" (./course curve 2 draws it)")
    assert band.say(2, FLAGS, [{"step": 7}]) == "", "a run of no whole epoch"


# ---------------------------------------------------------------- curve


def test_curve_draws_the_newest_run_and_says_where_it_lies(house, capsys):
    band.keep(2, BAND)
    folder = a_run(house, MIDDLE)
    write_json(folder / "result.json", {"versions": {"torch": "3.0", "numpy": "1"}})
    result = curve.main(2, curve.Config())
    assert (result["kind"], result["picture"]) == ("inside", str(folder / "curve.png"))
    assert_picture(folder / "curve.png")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("inside the band of 3 seeds: val accuracy 90.00% at step 50, the band ")
    assert lines[-3:] == [
        "other versions than the band's, which may move it a little: torch 3.0 (the band: 2.0)",
        "band: ./course repeat 2, a computer, 2 cores",
        f"picture: {folder / 'curve.png'}",
    ]
    worse = a_run(house, [0.1] * 5, "002-quick")
    assert curve.main(2, curve.Config(run=str(worse)))["kind"] == "below"
    a_run(house, [0.1] * 5, "003-forecast", horizon=5)
    (worse / "metrics.jsonl").unlink()
    assert curve.newest(2) == folder, "a run of another program is passed over"


def test_what_cannot_be_drawn_is_one_line(house, tmp_path):
    assert refused(curve.main, 2, curve.Config()).startswith("no run of week 2 with a metrics.jsonl yet")
    folder = a_run(house, MIDDLE, lr=0.5, flip=True)
    assert refused(curve.main, 2, curve.Config()) == (
        "week 2 has no band yet: ./course repeat 2 --seeds 5 --band makes one."
    )
    band.keep(2, BAND)
    assert refused(curve.main, 2, curve.Config()) == (
        f"{folder} has other flags than the band: --lr 0.5 (the band: 0.1), --flip (the band: None)."
        " Train without them, or name another run: --run FOLDER."
    )
    (folder / "config.json").unlink()
    assert refused(curve.main, 2, curve.Config(run=str(folder))) == (
        f"no run of week 2 in {folder}: it has no config.json, or no metrics.jsonl."
    )


# ---------------------------------------------------------------- the bands that are committed


WEEKS = [number for number in range(1, len(plan.FOLDERS) + 1) if plan.is_there(number)]


@pytest.mark.parametrize("number", WEEKS, ids=lambda number: f"week{number:02}")
def test_every_week_has_bands_of_five_seeds_of_quick_and_smoke(number, house):
    from importlib import import_module

    band.path_of(number).parent.mkdir(exist_ok=True)
    shutil.copy(ROOT / plan.folder(number) / "band.json", band.path_of(number))
    train = import_module(f"{plan.folder(number)}.train")
    for preset in ("quick", "smoke"):
        config = asdict(train.Config(**train.PRESETS[preset]))
        (one,) = [one for one in band.bands(number) if not band.differences(one, band.flags_of(number, config))]
        assert {len(values) for curve in one.curves.values() for values in curve} == {5}
        first = [{"step": s, one.metric: v[0]} for s, v in zip(one.steps, one.curves[one.metric], strict=True)]
        assert band.judge(one, first).kind == "inside"
    assert band.path_of(number).stat().st_size < 10_000


def test_losses_of_the_band_and_no_answer_right_point_at_the_writing():
    curves = {"val_loss": [[2.0, 2.1] * 2] * 3, "val_exact": [[0.0] * 4, [0.0, 0.3] * 2, [0.85, 0.9] * 2]}
    bands = band.Band({}, "val_exact", True, [10, 20, 30], curves, {}, {})
    told = [{"step": step, "val_loss": 2.05, "val_exact": 0.0} for step in (10, 20, 30)]
    verdict = band.judge(bands, told)
    assert verdict.kind == "below"
    assert verdict.line.startswith("the losses are those of the band, but not one answer is right; val exact 0.00% at ")
    assert band.judge(bands, [row | {"val_loss": 9.0} for row in told]).kind != "below"
