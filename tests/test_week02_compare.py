"""Week 2's question, and its other measuring program: compare and bench."""

import statistics
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from programs import assert_picture, config, refused, refused_flags

from shared import trials
from shared.device import Device
from shared.errors import CourseError, Stopped
from shared.files import read_json
from week02_cnn import bench, compare, data, train
from week02_cnn.model import ConvNet, ConvNetConfig, count_parameters, flops, parameters

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")  # they would print on stderr
CPU = Device("cpu", "float32", "asked for")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The path of 60 noisy pictures of three colours, 32 x 32: 48 to train on, 6 to validate, 6 to test."""
    rng, labels = np.random.default_rng(0), np.arange(60) % 3
    images = rng.integers(0, 150, (60, 32, 32, 3))
    images[np.arange(60), :, :, labels] += 100
    path = tmp_path_factory.mktemp("tiny") / "own.npz"
    np.savez(path, images=images.astype(np.uint8), labels=labels)
    return path


@pytest.fixture(scope="module")
def compared(tiny, tmp_path_factory):
    """What compare returns of all parts at smoke size, and its folder. Tests read it."""
    out = tmp_path_factory.mktemp("compared") / "out"
    return compare.main(smoke(tiny, out)), out


def smoke(tiny, out, *flags):
    return config(compare, "--preset", "smoke", "--data", tiny, "--out", out, "--batch-size", 8, *flags)


# ---------------------------------------------------------------- shapes of equal cost

REAL_COST = {
    "flops": lambda shape: bench.counted_flops(ConvNet(shape), shape.side),
    "params": lambda shape: count_parameters(ConvNet(shape)),
}


@pytest.mark.parametrize("kind", ["flops", "params"])
@pytest.mark.parametrize("pool", ["max", "stride"])
def test_shapes_cost_what_the_reference_costs(kind, pool):
    """Measured on the networks themselves, and by torch's own count; no other width is nearer."""
    reference, depths = ConvNetConfig(6, 13, pool=pool), (3, 4, 9, 16)
    budget = REAL_COST[kind](reference)
    shapes = compare.shapes_at(kind, reference, depths)
    assert [shape.depth for shape in shapes] == list(depths)
    for shape in shapes:
        off = {
            w: abs(REAL_COST[kind](replace(shape, width=w)) - budget) for w in range(shape.width - 1, shape.width + 2)
        }
        assert min(off, key=off.get) == shape.width and off[shape.width] <= 0.03 * budget
        assert shape == replace(reference, depth=shape.depth, width=shape.width)
    assert [shape.width for shape in shapes] == sorted((shape.width for shape in shapes), reverse=True)


def test_the_reference_itself_is_one_of_the_shapes():
    reference = ConvNetConfig(6, 5)
    for kind in ("flops", "params"):
        assert compare.shapes_at(kind, reference, [6]) == [reference]


@pytest.mark.parametrize("kind", ["flops", "params"])
@pytest.mark.parametrize("preset", ["quick", "full"])
def test_the_presets_compare_at_least_four_shapes(kind, preset):
    cfg = config(compare, "--preset", preset)
    shapes = compare.shapes_at(kind, ConvNetConfig(cfg.depth, cfg.width), cfg.depths)
    assert len(set(shapes)) >= 4 and min(cfg.depths) < cfg.depth < max(cfg.depths) and cfg.seeds >= 3


def test_a_depth_without_a_width_is_refused_and_those_that_have_one_are_named():
    reference = ConvNetConfig(6, 8)
    with pytest.raises(CourseError) as caught:
        compare.shapes_at("flops", reference, (6, 12))
    line = str(caught.value)
    assert line.startswith("--depths 12: no width has the flops of depth 6, width 8 within 3% (the nearest, ")
    named = line.partition("These depths have one: ")[2].partition(".")[0].split(", ")
    for depth in (4, 6, 7, 12, 19, 20):
        nearest = min(abs(flops(replace(reference, depth=depth, width=w)) / flops(reference) - 1) for w in range(3, 13))
        assert (str(depth) in named) == (nearest <= 0.03), depth


# ---------------------------------------------------------------- the tables


def test_all_parts_are_measured_and_shown(compared, capfd):
    result, out = compared
    assert list(result) == list(compare.PARTS)
    assert read_json(out / "compare.json")["tables"] == result
    for name in ("depth_or_width.png", "norm.png"):
        assert_picture(out / name)
    assert {line["pool"] for line in result["pool"]} == {"max", "avg", "stride"}
    assert [line["dropout"] for line in result["dropout"]] == [0, 0.1, 0.3, 0.5]
    assert {(line["depth"], line["norm"]) for line in result["norm"]} == {(d, n) for d in (3, 4) for n in (True, False)}
    for part, lines in result.items():
        for line in lines:
            shape = ConvNetConfig(line["depth"], line["width"], line["norm"], line["dropout"], line["pool"], classes=3)
            assert (line["params"], line["flops"]) == (parameters(shape), flops(shape)), part
            assert line["seeds"] == 2 and line["diverged"] == 0 and line["seconds"] > 0


def test_numbers_are_mean_and_spread_of_trainings_by_hand(compared, tiny):
    """The first line of the first table again, by train.py alone."""
    line, images = compared[0]["flops"][1], data.load(str(tiny))
    val, test = [], []
    for seed in (0, 1):
        cfg = train.Config(data=str(tiny), depth=line["depth"], width=line["width"], seed=seed, epochs=1, max_steps=3,
                           batch_size=8, threads=1)  # fmt: skip
        model = train.build(cfg, 3, 32)
        *_, last = train.fit(cfg, images, model, CPU)
        val.append(last["val_accuracy"])
        test.append(train.evaluate(model, images.test, images.mean, images.std, CPU)["accuracy"])
    assert (line["val_accuracy"], line["val_accuracy_std"]) == (statistics.mean(val), statistics.stdev(val))
    assert (line["test_accuracy"], line["test_accuracy_std"]) == (statistics.mean(test), statistics.stdev(test))


def no_training(*_):
    pytest.fail("trained again")


def test_a_second_call_trains_nothing_and_says_the_same(compared, tiny, monkeypatch, capfd):
    result, out = compared
    monkeypatch.setattr(compare, "train_once", no_training)
    assert compare.main(smoke(tiny, out)) == result
    assert compare.main(smoke(tiny, out, "pool")) == result, "the other parts' tables stay"
    output, errors = capfd.readouterr()
    assert errors == ""
    *_, last = output.split("### ")
    assert last.startswith("How the image is halved\n\n*`") and last.count("\n| pool ") == 3
    for line in result["pool"]:
        numbers = f"| {line['val_accuracy']:.2%} ± {100 * line['val_accuracy_std']:.2f} |"
        assert any(row.startswith(f"| {line['name']} |") and numbers in row for row in last.splitlines())


def test_other_flags_are_other_trainings(compared, tiny, monkeypatch):
    """Where and how it is computed changes no result; all else is trained anew."""
    _, out = compared
    monkeypatch.setattr(compare, "train_once", no_training)
    compare.main(smoke(tiny, out, "flops", "--threads", 2, "--device", "cpu"))
    for flags in (
        ("--epochs", 2),
        ("--lr", 0.05),
        ("--seed", 5),
        ("--batch-size", 4),
        ("--max-steps", 2),
        ("--seeds", 3),
    ):
        with pytest.raises(pytest.fail.Exception, match="trained again"):
            compare.main(smoke(tiny, out, "flops", *flags))


def fake(done, **found):
    """A train_once that takes no time, notes the flags, and returns what `found` says of a recipe."""

    def train_once(where, flags, threads):
        cfg = train.Config(**flags)
        shape = train.shape(cfg, 3, 32)
        done.append(flags)
        row = {"diverged": False, "params": parameters(shape), "flops": flops(shape), "receptive_field": 9}
        row |= {"train_loss": 1.0, "val_accuracy": 0.5, "test_accuracy": 0.5, "seconds": 1.0, "val_curve": [0.5]}
        return row | {name: value(cfg) for name, value in found.items()}

    return train_once


def test_interrupted_it_keeps_what_is_done_and_goes_on(tmp_path, tiny, monkeypatch, capfd):
    done = []

    def third(cfg):
        if len(done) == 4:
            raise KeyboardInterrupt
        return 0.5

    monkeypatch.setattr(compare, "train_once", fake(done, val_accuracy=third))
    with pytest.raises(Stopped, match=r"^stopped with 1 training to go; the same command goes on\.$"):
        compare.main(smoke(tiny, tmp_path, "flops"))
    assert not (tmp_path / "compare.json").exists()
    before, again = done[:3], []
    monkeypatch.setattr(compare, "train_once", fake(again))
    assert list(compare.main(smoke(tiny, tmp_path, "flops"))) == ["flops"]
    assert len(again) == 1 and again[0] not in before
    assert capfd.readouterr().err == ""


def test_without_batch_norm_the_learning_rate_is_chosen_on_val(tmp_path, tiny, monkeypatch):
    """0.01 is best on val, 0.1 on test and by the loss: it is 0.01 that all seeds are trained with."""
    done = []
    val, test = (lambda cfg: 0.6 if cfg.lr == 0.01 else 0.5), (lambda cfg: 0.4 if cfg.lr == 0.01 else 0.9)
    monkeypatch.setattr(compare, "train_once", fake(done, val_accuracy=val, test_accuracy=test))
    flags = ("--preset", "smoke", "--data", tiny, "--out", tmp_path, "--lrs", 0.1, 0.01, 0.001)
    lines = compare.main(config(compare, "norm", *flags))["norm"]
    assert [(line["name"], line["lr"], line["seeds"]) for line in lines if line["depth"] == 3] == [
        ("depth 3, batch norm", 0.1, 2), ("depth 3, none, same lr", 0.1, 2), ("depth 3, none, its best lr", 0.01, 2),
    ]  # fmt: skip
    used = {(flags["lr"], flags["seed"]) for flags in done}
    assert used == {(0.1, 0), (0.1, 1), (0.01, 0), (0.01, 1), (0.001, 0)}, "one seed to search, all of them to report"


def test_where_the_usual_rate_is_the_best_one_it_is_shown_once(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(compare, "train_once", fake([]))
    lines = compare.main(smoke(tiny, tmp_path, "norm"))["norm"]
    assert [line["name"] for line in lines if line["depth"] == 3] == ["depth 3, batch norm", "depth 3, none"]


def test_what_diverges_is_told_of_and_never_chosen(tmp_path, tiny, capfd):
    flags = ("norm", "--lr", 1e30, "--lrs", 1e30, 0.01, "--depths", 3, "--epochs", 2)
    lines = compare.main(smoke(tiny, tmp_path, *flags))["norm"]
    output, errors = capfd.readouterr()
    assert errors == ""
    by_name = {line["name"]: line for line in lines}
    assert (
        by_name["depth 3, none, same lr"]["diverged"] == 2 and "val_accuracy" not in by_name["depth 3, none, same lr"]
    )
    assert by_name["depth 3, none, its best lr"]["lr"] == 0.01
    assert by_name["depth 3, none, its best lr"]["diverged"] == 0
    assert "| depth 3, none, same lr | 8 | 1e+30 |" in output and "| NaN |  |  |  | 2 (2 diverged) |" in output
    assert_picture(tmp_path / "norm.png")


def test_deep_networks_are_those_that_batch_norm_is_taken_from(tiny):
    images = data.load(str(tiny))
    found = compare.variants("norm", config(compare, "--data", tiny), images)
    assert {one.depth for one in found.values()} == {6, 9, 16}
    same = compare.variants("flops", config(compare, "--data", tiny), images)
    widths = {one.depth: one.width for one in same.values()}
    assert all(one.width == widths[one.depth] for one in found.values()), "at equal FLOPs"


def test_a_training_can_be_sent_to_another_process():
    """That two processes give what one gives, tests/test_shared_trials.py shows; here: ours can be handed over."""
    from multiprocessing.reduction import ForkingPickler

    assert len(ForkingPickler.dumps(partial(compare.train_once, "cpu"))) < 1000


@pytest.mark.parametrize(
    ("program", "flags", "line"),
    [
        (compare, ("depth",), "depth: must be one of flops, params, norm, dropout, pool, all."),
        (compare, ("--seeds", 0), "--seeds 0: must be at least 1."),
        (compare, ("--depths", 3, 2), "--depths 2: must be at least 3."),
        (compare, ("--lrs", 0), "--lrs 0: must be above 0."),
        (compare, ("--preset", "huge"), "unknown preset 'huge': choose one of smoke, quick, full."),
        (bench, ("speed",), "speed: must be one of step, conv, time_to."),
        (bench, ("--rounds", 0), "--rounds 0: must be at least 1."),
        (bench, ("--target", 70), "--target 70: must be above 0, at most 1."),
    ],
)
def test_bad_flags_are_one_line(program, flags, line):
    assert refused_flags(program, *flags) == line


def test_compare_refuses_data_that_are_not_there_and_empty_lists(tmp_path):
    line = "--data no/such: no such file or folder, nor one of sample, cifar10."
    assert refused(compare.main, config(compare, "--data", "no/such")) == line
    line = "--depths and --lrs need at least one number each."
    assert refused(compare.main, replace(config(compare), depths=())) == line


def test_a_file_that_is_not_compares_own(compared, tiny, tmp_path):
    cfg = smoke(tiny, tmp_path)
    flags = trials.over_seeds({"": compare.recipe(compare.base(cfg, dropout=0.0))}, [0])["", 0]
    path = tmp_path / f"{trials.key(flags)}.json"
    path.write_text('{"a": 1}', encoding="utf-8")
    line = f"{path} is not a training of this program. Delete it, or choose another --out."
    assert refused(compare.main, smoke(tiny, tmp_path, "dropout")) == line
    assert path.read_text(encoding="utf-8") == '{"a": 1}'


def test_a_report_does_not_find_what_smoke_draws():
    """It takes the newest picture of runs/week02/*, of networks that have learned something."""
    found = [
        compare.folder(config(compare, "--preset", preset)).relative_to(compare.RUNS) for preset in ("quick", "smoke")
    ]
    assert [str(path) for path in found] == ["week02/compare-sample", "week02/smoke/compare-sample"]


# ---------------------------------------------------------------- bench


def test_bench_times_everybody(capfd):
    result = bench.main(config(bench, "--preset", "smoke"))
    output, errors = capfd.readouterr()
    assert errors == "" and list(result) == ["step, 1 threads", "conv, 1 threads"]
    step, conv = result.values()
    assert step.keys() == {"matrix product", "ours, channels_last", "ours, NCHW"}
    peak, cost = step["matrix product"]["gflops"], flops(ConvNetConfig(3, 8))
    assert peak == pytest.approx(2 * 2048**3 / step["matrix product"]["best"] / 1e9)
    for name in ("ours, channels_last", "ours, NCHW"):
        row = step[name]
        assert 0 < row["best"] <= row["median"] and row["process"] > 0
        assert row["per_second"] == 16 / row["best"]
        assert row["share_of_peak"] == pytest.approx(3 * 16 * cost / row["best"] / 1e9 / peak)
        assert f"| {name} | {row['per_second']:.0f} |" in output
    assert step["ours, NCHW"]["ratio"] == 1
    assert conv["loops, 1 x 8 x 16 x 16"]["ratio"] < 0.2, "an output at a time cannot be close"
    assert len(conv) == 5


def test_flops_are_those_that_torch_counts():
    for shape in (ConvNetConfig(7, 5, pool="avg", side=20), ConvNetConfig(9, 4, norm=False, classes=3)):
        assert bench.counted_flops(ConvNet(shape), shape.side) == flops(shape)


def test_resnet18_keeps_the_resolution_of_small_images():
    """As published, for 224 pixels, it has 0.07 GFLOPs on 32; adapted more than a whole one, and 11 M numbers."""
    model = bench.resnet18(10)
    assert bench.counted_flops(model, 32) > 1e9
    assert 11.1e6 < count_parameters(model) < 11.3e6
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(
    ("target", "minutes", "lr", "stopped"),
    [
        (0.3, 5.0, 0.05, "reached"),
        (1.1, 5.0, 0.05, "not reached in 2 epochs"),
        (1.1, 0.0, 0.05, "not reached within 0 minutes"),
        (1.1, 5.0, 1e30, "the loss became"),
    ],
)
def test_time_to_an_accuracy(tiny, target, minutes, lr, stopped):
    images = data.load(str(tiny))
    cfg = train.Config(depth=3, width=8, epochs=2, batch_size=8, lr=lr)
    row = bench.time_to(cfg, target, minutes, images, train.build(cfg, 3, 32), CPU)
    assert row["stopped"].startswith(stopped)
    assert (row["seconds"] is not None) == (stopped == "reached")
    if stopped == "reached":
        assert row["best"] >= target and row["epochs"] in (1, 2) and 0 < row["seconds"] < 60


def test_bench_time_to_races_both_by_the_same_loop(tiny, monkeypatch, capfd):
    small = lambda classes: ConvNet(ConvNetConfig(4, 4, classes=classes))  # noqa: E731
    monkeypatch.setattr(bench, "resnet18", small)
    flags = (
        "time_to",
        "--data",
        tiny,
        "--preset",
        "smoke",
        "--peer",
        "--target",
        1,
        "--peer-epochs",
        2,
        "--images",
        24,
    )
    monkeypatch.setattr(bench, "time_to", lambda cfg, target, minutes, images, model, device: {
        "seconds": None if cfg.epochs == 2 else 3.0, "epochs": len(images.train), "best": cfg.lr, "stopped": "?",
    })  # fmt: skip
    (result,) = bench.main(config(bench, *flags)).values()
    output, _ = capfd.readouterr()
    assert result.keys() == {"ours", "resnet18"}
    assert (result["ours"]["best"], result["resnet18"]["best"]) == (train.Config.lr, 0.05)
    assert result["ours"]["epochs"] == 24, "as many training images as --images says, of every class alike"
    assert result["resnet18"]["params"] == count_parameters(small(3))
    assert output.endswith("resnet18 takes more than 10.0 x as long\n")
