"""Week 1's programs from end to end: train, eval, resume, gates, compare, bench, and what each says to bad input."""

import gc
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tracemalloc
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared import checkpoint, cli, runs
from shared.errors import CourseError, Stopped
from shared.files import ROOT, read_json
from week01_numpy_mlp import bench, compare, data, gates, pictures, predict, repeat, train
from week01_numpy_mlp import eval as evaluation

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")  # they would print on stderr


def config(*flags, program=train):
    """What `./course train 1 FLAGS` (or another program of the week) runs with."""
    return cli.parse(program.Config, program.PRESETS, list(map(str, flags)), week=1 if program is train else None)


def refused(main, cfg) -> str:
    """The one line that main(cfg) is refused with."""
    with pytest.raises(CourseError) as caught:
        main(cfg)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_picture(path: Path):
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG" and min(image.size) > 200
        assert len(image.convert("RGB").getcolors(256)) > 10, f"{path} is next to empty"


def silhouettes(count, seed=0, classes=3, side=8):
    """Noisy images of `classes` patterns: (count, side, side) uint8 and their labels. A network learns them at once."""
    patterns = np.random.default_rng(99).integers(0, 2, (classes, side, side)) * 150
    rng, labels = np.random.default_rng(seed), np.arange(count) % classes
    return (patterns[labels] + rng.integers(0, 105, (count, side, side))).astype(np.uint8), labels


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The path of a small data set: 160 images to train on, 20 to validate, 20 to test, 8 x 8, three classes."""
    path = tmp_path_factory.mktemp("tiny") / "own.npz"
    images, labels = silhouettes(200)
    np.savez(path, images=images, labels=labels)
    return path


@pytest.fixture(scope="module")
def sample_run(tmp_path_factory):
    """The folder of a smoke run on the bundled digits. Tests read it, or change a copy."""
    run = tmp_path_factory.mktemp("sample") / "run"
    train.main(config("--preset", "smoke", "--out", run))
    return run


@pytest.fixture
def run_copy(sample_run, tmp_path):
    return Path(shutil.copytree(sample_run, tmp_path / "copy"))


@pytest.fixture
def no_pictures(monkeypatch):
    """For tests that train often and look at the numbers alone."""
    for name in ("curves", "first_layer"):
        monkeypatch.setattr(pictures, name, lambda *_: None)


# ---------------------------------------------------------------- training


def test_a_run_leaves_everything_it_should(sample_run):
    assert {path.name for path in sample_run.iterdir()} == {
        "config.json", "metrics.jsonl", "result.json", "model.safetensors", "checkpoint.safetensors",
        "curves.png", "first_layer.png",
    }  # fmt: skip
    for name in ("curves.png", "first_layer.png"):
        assert_picture(sample_run / name)
    assert train.Config(**read_json(sample_run / "config.json") | {"hidden": (128,)}) == config(
        "--preset", "smoke", "--out", sample_run
    )
    rows = [json.loads(line) for line in (sample_run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 125), (2, 250), (3, 375)]
    assert all(row.keys() == {"epoch", "step", "train_loss", "val_loss", "val_accuracy", "seconds"} for row in rows)
    assert rows[0]["train_loss"] > rows[1]["train_loss"] > rows[2]["train_loss"] > 0
    assert rows[0]["seconds"] < rows[1]["seconds"] < rows[2]["seconds"]

    result = read_json(sample_run / "result.json")
    assert result.keys() == {
        "week", "command", "data", "seed", "device", "dtype", "params", "seconds", "versions", "metrics", "baseline",
    }  # fmt: skip
    assert (result["week"], result["data"], result["seed"]) == (1, "sample", 0)
    assert (result["device"], result["dtype"]) == ("cpu", "float32")
    assert result["params"] == 784 * 128 + 128 + 128 * 10 + 10
    assert result["baseline"]["params"] == 784 * 10 + 10 and result["baseline"]["name"] == "logistic regression"
    assert result["versions"]["numpy"] == np.__version__
    assert result["metrics"].keys() == {"val_accuracy", "last_val_accuracy", "last_val_loss"}
    assert result["metrics"]["val_accuracy"] == max(row["val_accuracy"] for row in rows)
    assert result["metrics"]["last_val_loss"] == rows[-1]["val_loss"]
    assert not any(name.startswith("test") for name in result["metrics"] | result["baseline"]), "test is eval's alone"


def test_the_smoke_preset_beats_its_baseline():
    digits, ours, theirs = data.load("sample"), [], []
    for seed in range(3):
        cfg = config("--preset", "smoke", "--seed", seed)
        *_, last = train.fit(cfg, digits, train.build(cfg, 784, 10))
        ours.append(last["val_accuracy"])
        theirs.append(train.baseline(cfg, digits)[1]["val_accuracy"])
    assert statistics.mean(ours) > statistics.mean(theirs) + 0.02
    assert statistics.mean(theirs) > 0.85, "a baseline that is badly trained proves nothing"


def test_the_saved_network_is_the_best_one_on_val(tmp_path, tiny, monkeypatch, no_pictures, capfd):
    """With the accuracies 0.5, 0.9, 0.7 in three epochs it is the second epoch's network that is kept."""
    accuracies, params = iter([0.5, 0.9, 0.7]), []
    real = train.evaluate

    def evaluate(model, part):
        if len(model.sizes) == 2:  # the baseline
            return real(model, part)
        params.append(model.params.copy())
        return real(model, part) | {"accuracy": next(accuracies)}

    monkeypatch.setattr(train, "evaluate", evaluate)
    result = train.main(config("--preset", "smoke", "--data", tiny, "--out", tmp_path / "run"))
    assert (result["metrics"]["val_accuracy"], result["metrics"]["last_val_accuracy"]) == (0.9, 0.7)
    assert "\n(the weights of the best epoch on val, 2, are kept)\n" in capfd.readouterr().out
    np.testing.assert_array_equal(train.load_model(tmp_path / "run").model.params, params[1])


def trained_params(out, *flags):
    train.main(config("--preset", "smoke", "--out", out, *flags))
    return checkpoint.load(out / "checkpoint.safetensors")["params"]


def test_the_seed_decides_everything(tmp_path, tiny, no_pictures):
    flags = ("--data", tiny, "--dropout", 0.2, "--shift", 1)
    first = trained_params(tmp_path / "1", *flags)
    assert first.tobytes() == trained_params(tmp_path / "2", *flags).tobytes()
    assert first.tobytes() != trained_params(tmp_path / "3", *flags, "--seed", 1).tobytes()


def test_every_epoch_and_every_seed_has_its_own_order(tiny, monkeypatch):
    orders, real = [], data.batches
    monkeypatch.setattr(
        data, "batches", lambda part, order, *rest, **more: orders.append(order) or real(part, order, *rest, **more)
    )
    digits = data.load(str(tiny))
    for seed in (0, 1):
        cfg = train.Config(hidden=(), shift=0, epochs=2, seed=seed)
        list(train.fit(cfg, digits, train.build(cfg, 64, 3)))
    assert len({order.tobytes() for order in orders}) == 4
    assert all(np.array_equal(np.sort(order), np.arange(164)) for order in orders)


@pytest.mark.parametrize("count", [3, 12])
def test_fewer_images_than_a_batch(tmp_path, no_pictures, count):
    images, labels = silhouettes(count)
    np.savez(tmp_path / "few.npz", images=images, labels=labels)
    result = train.main(config("--preset", "smoke", "--data", tmp_path / "few.npz", "--out", tmp_path / "run"))
    assert np.isfinite(result["metrics"]["last_val_loss"])
    assert [row["step"] for row in pictures.history(tmp_path / "run")] == [1, 2, 3]


def test_max_steps_ends_inside_an_epoch(tmp_path, tiny, no_pictures):
    flags = ("--preset", "smoke", "--data", tiny, "--batch-size", 16, "--schedule", "constant")
    train.main(config(*flags, "--out", tmp_path / "short", "--max-steps", 13))
    rows = pictures.history(tmp_path / "short")
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 10), (2, 13)]
    train.main(config("--out", tmp_path / "short", "--resume", "--max-steps", 20))
    train.main(config(*flags, "--out", tmp_path / "long", "--max-steps", 20))
    short, long = pictures.history(tmp_path / "short"), pictures.history(tmp_path / "long")
    assert short[2].items() - {("seconds", short[2]["seconds"])} == long[1].items() - {("seconds", long[1]["seconds"])}


@pytest.mark.parametrize("fast", [False, True])
def test_memory_does_not_grow_with_the_epochs(fast):
    images, labels = silhouettes(1000)
    flat = images.reshape(1000, -1)
    part = data.Part(flat, labels)
    digits = data.Data("tiny", (8, 8), ("0", "1", "2"), part, part, part)
    cfg = train.Config(hidden=(64, 64), epochs=6, fast=fast, dropout=0.1, shift=1, optimizer="adam", lr=0.001)
    model, peaks, kept = train.build(cfg, 64, 3), [], []
    tracemalloc.start()
    try:
        for _ in train.fit(cfg, digits, model):
            gc.collect()  # NumPy's padding leaves cycles behind
            now, peak = tracemalloc.get_traced_memory()
            peaks.append(peak)
            kept.append(now)
            tracemalloc.reset_peak()
    finally:
        tracemalloc.stop()
    assert max(peaks[2:]) <= peaks[1] + 10_000, f"peak bytes of each epoch: {peaks}"
    assert kept[-1] <= kept[1] + 10_000, f"bytes kept after each epoch: {kept}"


# ---------------------------------------------------------------- Ctrl-C and --resume


@pytest.fixture
def interrupt(monkeypatch):
    """interrupt(n) presses Ctrl-C while the n-th step of the next training is computed; its baseline does not count."""
    real_batches, real_baseline = data.batches, train.baseline
    left = {"steps": -1, "armed": False}

    def baseline(*arguments):
        left["armed"] = False
        result = real_baseline(*arguments)
        left["armed"] = True
        return result

    def batches(*arguments, **options):
        for batch in real_batches(*arguments, **options):
            if left["armed"]:
                left["steps"] -= 1
                if left["steps"] == 0:
                    signal.raise_signal(signal.SIGINT)
            yield batch

    monkeypatch.setattr(train, "baseline", baseline)
    monkeypatch.setattr(data, "batches", batches)
    return lambda steps: left.update(steps=steps)


def without_seconds(run):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in pictures.history(run)]


HOW = {
    "momentum": ("--optimizer", "sgd", "--momentum", 0.9),
    "no momentum": ("--momentum", 0),
    "adam": ("--optimizer", "adam", "--lr", 0.001),
    "dropout and shifts": ("--dropout", 0.3, "--shift", 1, "--activation", "sigmoid", "--loss", "mse"),
}


@pytest.mark.parametrize("fast", ["--no-fast", "--fast"])
@pytest.mark.parametrize("how", HOW)
def test_interrupted_and_continued_is_bit_for_bit_the_same(tmp_path, tiny, interrupt, no_pictures, how, fast):
    flags = [
        "--preset",
        "smoke",
        "--data",
        tiny,
        "--batch-size",
        16,
        *HOW[how],
        *(["--fast"] if fast == "--fast" else []),
    ]
    whole, parts = tmp_path / "whole", tmp_path / "in parts"
    train.main(config(*flags, "--out", whole))
    interrupt(4)  # inside the first of three epochs of ten steps
    cfg = config(*flags, "--out", parts)
    with pytest.raises(Stopped) as stopped:
        train.main(cfg)
    assert str(stopped.value) == (
        f"stopped at step 4 of 30; saved. `./course train 1 --out '{parts}' --resume` goes on."
    )
    assert not (parts / "result.json").exists()
    interrupt(16)  # at the last step of the second: that epoch is finished, and one step of the third
    assert "stopped at step 21 of 30; saved." in refused(train.main, config("--out", parts, "--resume"))
    train.main(config("--out", parts, "--resume"))
    assert without_seconds(parts) == without_seconds(whole)
    for file, key in (("checkpoint", "params"), ("model", "params"), ("model", "baseline")):
        ours, theirs = (checkpoint.load(run / f"{file}.safetensors")[key] for run in (parts, whole))
        assert ours.tobytes() == theirs.tobytes(), f"{key} of {file}.safetensors differ"
    ours, theirs = read_json(parts / "result.json"), read_json(whole / "result.json")
    assert ours["metrics"] == theirs["metrics"]


def test_ctrl_c_in_the_last_step_finishes(tmp_path, tiny, interrupt, no_pictures):
    interrupt(9)
    result = train.main(config("--preset", "smoke", "--data", tiny, "--out", tmp_path / "run", "--max-steps", 9))
    assert read_json(tmp_path / "run" / "result.json")["metrics"] == result["metrics"]


def test_plain_and_fast_runs_may_continue_each_other(tmp_path, tiny, interrupt, no_pictures):
    flags = ("--preset", "smoke", "--data", tiny, "--batch-size", 16)
    train.main(config(*flags, "--out", tmp_path / "whole"))
    interrupt(14)
    refused(train.main, config(*flags, "--out", tmp_path / "parts"))
    train.main(config("--out", tmp_path / "parts", "--resume", "--fast"))
    whole, parts = (checkpoint.load(tmp_path / run / "checkpoint.safetensors")["params"] for run in ("whole", "parts"))
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-5)


def test_resume_of_a_finished_run(tmp_path, tiny, interrupt, no_pictures):
    run = tmp_path / "run"
    train.main(config("--preset", "smoke", "--data", tiny, "--batch-size", 16, "--out", run))
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert refused(train.main, config("--out", run, "--resume")) == (
        f"{run} has already finished: give --epochs a larger number, or start a new run."
    )
    assert before == {path.name: path.read_bytes() for path in run.iterdir()}
    interrupt(15)
    assert "stopped at step 45 of 50" in refused(train.main, config("--out", run, "--resume", "--epochs", 5))
    train.main(config("--out", run, "--resume"))  # still knows that it is to be five
    assert [row["epoch"] for row in pictures.history(run)] == [1, 2, 3, 4, 5]


def test_resume_of_the_newest_run_by_default(tmp_path, tiny, interrupt, monkeypatch, no_pictures):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    run = tmp_path / "runs" / "week01" / "001-smoke"
    with pytest.raises(CourseError, match="no run of week 1 with a checkpoint"):
        config("--resume")
    interrupt(1)
    assert refused(train.main, config("--preset", "smoke", "--data", tiny, "--batch-size", 16)) == (
        "stopped at step 1 of 30; saved. `./course train 1 --resume` goes on."
    )
    assert train.main(config("--resume"))["run"] == str(run)
    assert [row["step"] for row in pictures.history(run)] == [10, 20, 30]


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--hidden", 7), "holds a network of (64, 128, 3), this one is (64, 7, 3): start a new run."),
        (("--optimizer", "adam"), "was started with --optimizer sgd: leave --optimizer out, or start a new run."),
        (("--momentum", 0.5), "was started with --momentum 0.9: leave --momentum out, or start a new run."),
        (("--batch-size", 8), "was started with --batch-size 64: leave --batch-size out, or start a new run."),
        (("--seed", 8), "was started with --seed 0: leave --seed out, or start a new run."),
    ],
)  # fmt: skip
def test_resume_as_another_network(tmp_path, tiny, no_pictures, flags, complaint):
    run = tmp_path / "run"
    train.main(config("--preset", "smoke", "--data", tiny, "--out", run))
    assert refused(train.main, config("--out", run, "--resume", "--epochs", 9, *flags)) == f"{run} {complaint}"
    assert read_json(run / "config.json")["epochs"] == 3


def test_resume_where_there_is_nothing_to_resume(tmp_path, tiny, no_pictures):
    with pytest.raises(CourseError) as caught:
        config("--out", tmp_path / "none", "--resume")
    assert str(caught.value) == (
        f"no run in {tmp_path / 'none'}: it has no config.json. Give --out another folder, or leave out --resume."
    )
    run = tmp_path / "run"
    train.main(config("--preset", "smoke", "--data", tiny, "--out", run))
    (run / "checkpoint.safetensors").write_bytes((run / "checkpoint.safetensors").read_bytes()[:-10])
    assert refused(train.main, config("--out", run, "--resume")).startswith(
        f"{run / 'checkpoint.safetensors'} is not a whole checkpoint of this course ("
    )


# ---------------------------------------------------------------- what train refuses


@pytest.mark.parametrize("fast", [False, True])
def test_a_learning_rate_that_is_too_large(tmp_path, tiny, no_pictures, fast):
    cfg = config(
        "--preset", "smoke", "--data", tiny, "--lr", "1e30", "--schedule", "constant", "--out", tmp_path / "run"
    )
    line = refused(train.main, replace(cfg, fast=fast))
    assert line == (
        "the loss became nan at step 2 (epoch 1): the steps are too large. Try --lr 0.1, or another --init."
    )
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_step_too_far_at_the_very_end(tmp_path, tiny, no_pictures):
    """The loss of the one step was a number; what it made of the network shows on val alone."""
    cfg = config("--data", tiny, "--lr", "1e30", "--max-steps", 1, "--schedule", "constant", "--out", tmp_path / "run")
    assert refused(train.main, cfg).startswith("the loss became nan at step 1 (epoch 1): the steps are too large.")


def test_a_learning_rate_of_a_million_on_the_digits(tmp_path, no_pictures):
    line = refused(
        train.main, config("--preset", "smoke", "--lr", "1e6", "--activation", "relu", "--out", tmp_path / "run")
    )
    assert "the steps are too large. Try --lr 0.1, or another --init." in line


@pytest.mark.parametrize(
    ("optimizer", "lr", "advice"),
    [("sgd", 50.0, "0.1"), ("sgd", 0.5, "0.05"), ("adam", 5.0, "0.001"), ("adam", 0.002, "0.0002")],
)
def test_the_advice_is_a_learning_rate_that_works(optimizer, lr, advice):
    said = str(train.Diverged(float("inf"), 3, 1, train.Config(optimizer=optimizer, lr=lr)))
    assert said == (
        f"the loss became inf at step 3 (epoch 1): the steps are too large. Try --lr {advice}, or another --init."
    )


@pytest.mark.parametrize(
    ("lr", "advice"), [(5, "a smaller"), (1e-9, "another")], ids=["dead at once", "next to no steps"]
)
def test_a_training_that_learns_nothing_says_so(tmp_path, no_pictures, capfd, lr, advice):
    flags = ("--lr", lr, "--init", "small", "--epochs", 1, "--out", tmp_path / "run")
    result = train.main(config(*flags))
    counts = np.bincount(data.load("sample").val.labels)
    guessing = counts.max() / 1000
    assert result["metrics"]["val_accuracy"] <= guessing + 0.01
    assert (
        f"\nit has learned nothing: val accuracy is that of always guessing {counts.argmax()} ({guessing:.2%}). "
        f"Try {advice} --lr, or another --init.\n"
    ) in capfd.readouterr().out


@pytest.mark.parametrize(("accuracy", "warned"), [(0.2, True), (0.61, True), (0.63, False), (1.0, False)])
def test_what_counts_as_nothing_learned(accuracy, warned):
    part = data.Part(np.zeros((100, 4), np.uint8), np.repeat([0, 1, 2], [30, 60, 10]))
    digits = data.Data("letters", (2, 2), ("a", "b", "c"), part, part, part)
    line = "it has learned nothing: val accuracy is that of always guessing b (60.00%). "
    advice = "Try another --lr, or another --init."
    assert train.warning(train.Config(), digits, accuracy) == (line + advice if warned else "")


def test_a_perfect_score_is_never_nothing():
    part = data.Part(np.zeros((3, 4), np.uint8), np.zeros(3, dtype=np.int64))
    assert train.warning(train.Config(), data.Data("one", (2, 2), ("a", "b"), part, part, part), 1.0) == ""


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"activation": "gelu"}, "--activation gelu: choose one of relu, sigmoid, tanh."),
        ({"loss": "hinge"}, "--loss hinge: choose one of cross_entropy, mse."),
        ({"init": "zero"}, "--init zero: choose one of he, xavier, unit, small."),
        ({"optimizer": "muon"}, "--optimizer muon: choose one of sgd, adam."),
        ({"schedule": "linear"}, "--schedule linear: choose one of cosine, constant."),
        ({"device": "cuda"}, "--device cuda: week 1 is NumPy alone and runs on the CPU. Leave it at auto."),
        ({"lr": 0.0}, "--lr 0.0: must be a number above 0."),
        ({"lr": float("nan")}, "--lr nan: must be a number above 0."),
        ({"lr": float("inf")}, "--lr inf: must be a number above 0."),
        ({"batch_size": 0}, "--batch-size 0: must be at least 1."),
        ({"epochs": 0}, "--epochs 0: must be at least 1."),
        ({"max_steps": -1}, "--max-steps -1: must be 0 (no limit) or more."),
        ({"hidden": (128, 0)}, "--hidden (128, 0): must be numbers of at least 1."),
        ({"dropout": 1.0}, "--dropout 1.0: must be from 0 to below 1."),
        ({"dropout": -0.1}, "--dropout -0.1: must be from 0 to below 1."),
        ({"momentum": 1.0}, "--momentum 1.0: must be from 0 to below 1."),
        ({"momentum": -0.1}, "--momentum -0.1: must be from 0 to below 1."),
        ({"weight_decay": -1e-4}, "--weight-decay -0.0001: must be 0 or more."),
        ({"shift": -1}, "--shift -1: must be from 0 to 8."),
        ({"shift": 9}, "--shift 9: must be from 0 to 8."),
        ({"seed": -1}, "--seed -1: must be 0 or more."),
        ({"data": "mnits"}, "--data mnits: no such file or folder, nor one of sample, mnist, fashion_mnist."),
    ],
)  # fmt: skip
def test_flags_that_cannot_work(tmp_path, change, complaint):
    out = tmp_path / "run"
    assert refused(train.main, train.Config(**{"out": str(out)} | change)) == complaint
    assert not out.exists(), "a run folder was made for nothing"


def test_the_edges_of_what_is_allowed_are_allowed(tmp_path, tiny, no_pictures, capfd):
    train.check(train.Config(shift=8, weight_decay=0.0, dropout=0.0, momentum=0.0, max_steps=0, device="cpu"))
    result = train.main(
        config(
            "--data", tiny, "--out", tmp_path / "run", "--hidden", "--epochs", 1, "--batch-size", 1, "--device", "cpu"
        )
    )
    assert result["params"] == result["baseline"]["params"] == 64 * 3 + 3, "no hidden layer is logistic regression"
    assert capfd.readouterr().out.splitlines()[2] == "no hidden layer: this is logistic regression"


def test_nothing_is_overwritten(sample_run):
    before = {path.name: path.read_bytes() for path in sample_run.iterdir()}
    assert refused(train.main, config("--preset", "smoke", "--out", sample_run)) == (
        f"{sample_run} already holds a run: choose another --out, or go on with it by --resume."
    )
    assert before == {path.name: path.read_bytes() for path in sample_run.iterdir()}


# ---------------------------------------------------------------- eval


def forward_by_hand(params, x, sizes):
    """The logits of a ReLU network, straight from its vector of parameters."""
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        weights, params = params[: fan_in * fan_out].reshape(fan_in, fan_out), params[fan_in * fan_out :]
        bias, params = params[:fan_out], params[fan_out:]
        x = (np.maximum(x, 0) if i else x) @ weights + bias
    assert len(params) == 0
    return x


def test_eval_adds_the_test_accuracy_to_the_result(run_copy, capfd):
    before = read_json(run_copy / "result.json")
    evaluated = evaluation.main(config("--run", run_copy, program=evaluation))
    output, errors = capfd.readouterr()
    assert errors == ""
    test, saved = data.load("sample").test, checkpoint.load(run_copy / "model.safetensors")
    x = test.images.astype(np.float64) / 255
    thought = forward_by_hand(saved["params"], x, (784, 128, 10)).argmax(axis=1)
    by_baseline = forward_by_hand(saved["baseline"], x, (784, 10)).argmax(axis=1)

    after = read_json(run_copy / "result.json")
    assert (
        after["metrics"].pop("test_accuracy")
        == evaluated["metrics"]["test_accuracy"]
        == np.mean(thought == test.labels)
    )
    assert after["baseline"].pop("test_accuracy") == np.mean(by_baseline == test.labels)
    assert after == before, "the rest of result.json stays"
    confusion = [[int(np.sum((test.labels == i) & (thought == j))) for j in range(10)] for i in range(10)]
    assert evaluated["confusion"] == confusion
    wrong = int(np.sum(thought != test.labels))
    assert f"sample (test): 1,000 images, {wrong} mistakes. Run: {run_copy}" in output
    for name in ("confusion.png", "mistakes.png"):
        assert_picture(run_copy / name)


def test_eval_counts_one_mistake_as_one(run_copy, tmp_path, capfd):
    test = data.load("sample").test
    thought = evaluation.probabilities(train.load_model(run_copy).model, test).argmax(axis=1)
    rows = [np.flatnonzero(thought != test.labels)[0], *np.flatnonzero(thought == test.labels)[:5]]
    path = tmp_path / "own.npz"
    np.savez(
        path, images=test.images[rows].reshape(-1, 28, 28), labels=test.labels[rows], classes=np.arange(10).astype(str)
    )
    evaluation.main(config("--run", run_copy, "--data", path, "--out", tmp_path / "out", program=evaluation))
    assert f"{path}: 6 images, 1 mistake. Run: {run_copy}" in capfd.readouterr().out


def test_eval_on_images_that_it_was_trained_on(run_copy, tmp_path):
    digits = data.load("sample")
    np.savez(tmp_path / "train.npz", images=digits.train.images.reshape(-1, 28, 28), labels=digits.train.labels)
    mixed = np.concatenate([digits.val.images[:90], digits.train.images[:10]])
    labels = np.concatenate([digits.val.labels[:90], digits.train.labels[:10]])
    np.savez(tmp_path / "mixed.npz", images=mixed.reshape(-1, 28, 28), labels=labels)
    before = (run_copy / "result.json").read_bytes()
    for name, known, count in (("train.npz", "8,000", "8,000"), ("mixed.npz", "10", "100")):
        cfg = config("--run", run_copy, "--data", tmp_path / name, program=evaluation)
        assert refused(evaluation.main, cfg) == (
            f"--data {tmp_path / name}: this network was trained on {known} of these {count} images (sample), so a "
            "score on them would say nothing. (The bundled sample is a part of MNIST's training images.)"
        )
    assert (run_copy / "result.json").read_bytes() == before


def test_eval_on_images_of_ones_own(run_copy, tmp_path):
    """All of them are scored, and the run's own result stays what it was. Here: the digits upside down."""
    val = data.load("sample").val
    np.savez(tmp_path / "own.npz", images=val.images.reshape(-1, 28, 28)[:, ::-1], labels=val.labels)
    before = (run_copy / "result.json").read_bytes()
    out = tmp_path / "elsewhere"
    cfg = config("--run", run_copy, "--data", tmp_path / "own.npz", "--out", out, program=evaluation)
    evaluated = evaluation.main(cfg)
    assert np.sum(evaluated["confusion"]) == 1000
    assert np.trace(evaluated["confusion"]) / 1000 == evaluated["metrics"]["test_accuracy"] < 0.7
    assert (run_copy / "result.json").read_bytes() == before
    assert {path.name for path in out.iterdir()} == {"confusion.png", "mistakes.png"}


def test_eval_on_images_that_do_not_fit(run_copy, tmp_path, tiny):
    cfg = config("--run", run_copy, "--data", tiny, program=evaluation)
    assert refused(evaluation.main, cfg) == (f"--data {tiny}: images of (8, 8), the network was trained on (28, 28).")
    path = tmp_path / "letters.npz"
    np.savez(path, images=np.zeros((26, 28, 28), np.uint8), labels=np.arange(26))
    assert refused(evaluation.main, replace(cfg, data=str(path))) == (
        f"--data {path}: 26 classes, the network knows 10."
    )
    assert refused(evaluation.main, replace(cfg, data="mnits")).startswith("--data mnits: no such file or folder")
    assert refused(evaluation.main, replace(cfg, device="cuda")).startswith("--device cuda: week 1 is NumPy alone")


def test_eval_without_a_network(run_copy, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    assert refused(evaluation.main, config(program=evaluation)) == (
        "no run of week 1 with a model.safetensors yet: `./course train 1` makes one."
    )
    assert refused(evaluation.main, config("--run", tmp_path, program=evaluation)) == (
        f"no checkpoint at {tmp_path / 'model.safetensors'}. Train first, or give the folder of a finished run."
    )
    path, cfg = run_copy / "model.safetensors", config("--run", run_copy, program=evaluation)
    saved = checkpoint.load(path)
    checkpoint.save(path, {"config": {}, "weights": saved["params"]})
    assert refused(evaluation.main, cfg) == (f"{path} is not a network of week 1. Give --run a folder of runs/week01.")
    checkpoint.save(path, saved | {"params": saved["params"][:-1]})
    assert refused(evaluation.main, cfg) == (f"{path} holds 101,769 numbers where its description needs 101,770.")
    path.write_bytes(b"nothing of the kind")
    assert refused(evaluation.main, cfg).startswith(f"{path} is not a whole checkpoint of this course (")


def test_eval_before_the_training_has_ended(run_copy):
    (run_copy / "result.json").unlink()
    assert refused(evaluation.main, config("--run", run_copy, program=evaluation)) == (
        f"{run_copy} has not been trained to its end: `./course train 1 --out {run_copy} --resume` goes on."
    )


def test_own_colour_images_from_train_to_eval(tmp_path, monkeypatch, capfd):
    """The default places and all: the newest run is the one that eval finds."""
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    grey, labels = silhouettes(150)
    path = tmp_path / "own.npz"
    np.savez(path, images=np.stack([grey, grey // 2, 255 - grey], axis=-1), labels=labels, classes=["a", "b", "c"])
    flags = ("--preset", "smoke", "--data", path, "--epochs", 8, "--loss", "mse", "--lr", 0.5)
    result = train.main(config(*flags))
    assert capfd.readouterr().out.endswith("\non the test set, with the mistakes it makes: ./course eval 1\n")
    assert result["run"] == str(tmp_path / "runs" / "week01" / "001-smoke")
    assert result["params"] == 8 * 8 * 3 * 128 + 128 + 128 * 3 + 3
    evaluated = evaluation.main(config(program=evaluation))
    assert evaluated["run"] == result["run"]
    assert np.sum(evaluated["confusion"], axis=1).tolist() == np.bincount(data.load(str(path)).test.labels).tolist()
    assert evaluated["metrics"]["test_accuracy"] > 0.6
    for name in ("curves.png", "first_layer.png", "confusion.png", "mistakes.png"):
        assert_picture(tmp_path / "runs" / "week01" / "001-smoke" / name)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("fast", [False, True])
def test_probabilities_are_probabilities(loss, fast, tiny):
    cfg = train.Config(hidden=(9,), loss=loss, fast=fast)
    model, part = train.build(cfg, 64, 3), data.load(str(tiny)).everything
    believed = evaluation.probabilities(model, part, size=7)
    assert believed.shape == (200, 3) and believed.min() > 0
    np.testing.assert_allclose(believed.sum(axis=1), 1, rtol=1e-6)
    outputs = model.forward(data.to_floats(part.images)).copy()
    np.testing.assert_array_equal(believed.argmax(axis=1), outputs.argmax(axis=1))
    assert train.evaluate(model, part, size=7)["accuracy"] == np.mean(outputs.argmax(axis=1) == part.labels)


# ---------------------------------------------------------------- the command line


def run_cli(program, *flags, monkeypatch, week=None):
    monkeypatch.setattr(sys, "argv", [program.__file__, *map(str, flags)])
    cli.run(program.main, program.Config, program.PRESETS, week=week)


@pytest.mark.parametrize(
    ("program", "flags", "line"),
    [
        (train, ("--preset", "huge"), "unknown preset 'huge': choose one of smoke, quick, full, best."),
        (train, ("--loss", "hinge"), "--loss hinge: choose one of cross_entropy, mse."),
        (train, ("--optimizer", "muon"), "--optimizer muon: choose one of sgd, adam."),
        (train, ("--data", "no/such"),
         "--data no/such: no such file or folder, nor one of sample, mnist, fashion_mnist."),
        (evaluation, ("--run", "no/such"),
         f"no checkpoint at {Path('no/such/model.safetensors')}. Train first, or give the folder of a finished run."),
        (gates, ("--hidden", "0"), "--hidden and --steps must be at least 1, and --lr a number above 0."),
        (compare, ("widths",),
         "unknown part 'widths': choose from loss, saturated, init, lr, optimizer, regularisation."),
        (compare, ("--seeds", "0"), "--seeds must be at least 1, and --epochs 0 (as each part says) or more."),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(program, flags, line, monkeypatch, capfd, tmp_path):
    with pytest.raises(SystemExit) as caught:
        run_cli(program, *flags, "--out", tmp_path / "out", monkeypatch=monkeypatch)
    assert caught.value.code == 2
    assert capfd.readouterr() == ("", f"error: {line}\n")


@pytest.mark.parametrize(
    ("program", "common"),
    [
        (train, {"--data", "--device", "--seed", "--out", "--resume", "--preset"}),
        (evaluation, {"--data", "--device", "--out"}),
        (predict, {"--out"}),
        (bench, {"--seed", "--preset"}),
        (repeat, {"--data", "--device", "--seed", "--out", "--preset"}),
    ],
)  # fmt: skip
def test_help_names_the_common_flags_that_mean_something(program, common, monkeypatch, capfd):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as caught:
        run_cli(program, "--help", monkeypatch=monkeypatch)
    assert caught.value.code == 0
    starts = {line.split()[1] for line in capfd.readouterr().out.splitlines() if line.startswith("│ --")}
    everywhere = {f"--{field.name}" for field in fields(cli.CommonConfig)}
    assert starts & everywhere == common


@pytest.mark.parametrize(
    ("program", "flags"),
    [
        (evaluation, ("--seed", "1")),
        (predict, ("--data", "mnist")),
        (bench, ("--out", "x")),
        (repeat, ("--resume",)),
    ],
)  # fmt: skip
def test_a_flag_that_would_do_nothing_is_refused(program, flags, monkeypatch, capfd):
    with pytest.raises(SystemExit) as caught:
        run_cli(program, *flags, monkeypatch=monkeypatch)
    assert caught.value.code == 2
    output, errors = capfd.readouterr()
    assert output == "" and f"Unrecognized options: {flags[0]}" in errors


def test_the_program_itself_from_another_folder(tmp_path, tiny):
    """`python train.py` as a process: what stands on stdout, nothing on stderr, the command in the result."""
    flags = ["--preset", "smoke", "--data", str(tiny), "--out", "my run"]
    command = [sys.executable, str(ROOT / "week01_numpy_mlp" / "train.py"), *flags]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    result = read_json(tmp_path / "my run" / "result.json")
    assert result["command"] == shlex.join(["./course", "train", "1", *flags])
    lines = done.stdout.splitlines()
    assert lines[0] == f"{tiny}: 164 images to train on, 18 to validate"
    assert lines[1] == "network: 64 - 128 - 3, 8,707 parameters; NumPy, float32 on the CPU"
    assert lines[-1] == "on the test set, with the mistakes it makes: ./course eval 1 --run 'my run'"
    (ours,) = (line for line in lines if line.startswith("this network"))
    assert ours.split()[2:4] == [f"{result['metrics']['val_accuracy']:.2%}", "8,707"]
    (theirs,) = (line for line in lines if line.startswith("logistic regression"))
    assert theirs.split()[2:4] == [f"{result['baseline']['val_accuracy']:.2%}", "195"]


# ---------------------------------------------------------------- gates


def test_gates_learns_what_it_can_and_draws_it(tmp_path, capfd):
    result = gates.main(config("--out", tmp_path, program=gates))
    output, errors = capfd.readouterr()
    assert result["XOR"] is None and result["MLP"] is True
    assert 0 < result["AND"] < 20 and 0 < result["OR"] < 20
    assert "perceptron  XOR  never: after" in output and "MLP         XOR  learned" in output
    assert errors == ""
    assert_picture(tmp_path / "decision_boundary.png")


def test_the_mlp_learns_xor_from_most_seeds():
    solved = 0
    for seed in range(5):
        model, losses = gates.learn_xor(seed)
        solved += (model.forward(gates.INPUTS).argmax(axis=1) == gates.GATES["XOR"]).all()
        assert losses[-1] < losses[0]
    assert solved >= 4


# ---------------------------------------------------------------- compare


def test_compare_runs_every_variant_and_reports_the_spread(tmp_path, tiny, capfd):
    cfg = config("--preset", "smoke", "--data", tiny, "--out", tmp_path / "out", program=compare)
    result = compare.main(cfg)
    output, errors = capfd.readouterr()
    assert errors == ""
    assert result.keys() == {"lr"} and result["lr"].keys() == compare.PARTS["lr"].keys()
    assert read_json(tmp_path / "out" / "compare.json") == result
    for label, row in result["lr"].items():
        assert (row["seeds"], row["diverged"]) == (2, 0)
        numbers = f"{row['val_accuracy']:.2%} ± {row['std']:.2%}"
        assert any(line.startswith(label) and numbers in line for line in output.splitlines())
    assert_picture(tmp_path / "out" / "lr.png")
    digits, variant = data.load(str(tiny)), replace(compare.PARTS["lr"]["lr 0.05"], epochs=1)
    by_hand = [compare.train_once(replace(variant, seed=seed), digits)[-1] for seed in (0, 1)]
    assert result["lr"]["lr 0.05"]["val_accuracy"] == statistics.mean(by_hand)


@pytest.mark.parametrize("alone", [False, True])
def test_a_variant_that_diverges_is_told_of_and_not_fatal(tmp_path, tiny, monkeypatch, capfd, alone):
    usual = compare.PARTS["lr"]["lr 0.05"]
    variants = {"far too large": replace(usual, lr=1e30, schedule="constant")} | ({} if alone else {"usual": usual})
    monkeypatch.setitem(compare.PARTS, "lr", variants)
    result = compare.main(config("--preset", "smoke", "--data", tiny, "--out", tmp_path, program=compare))["lr"]
    output, errors = capfd.readouterr()
    assert result["far too large"] == {"seeds": 2, "diverged": 2}
    assert "diverged in 2 of 2" in output and errors == ""
    assert alone or result["usual"]["diverged"] == 0
    assert (tmp_path / "lr.png").is_file()


def test_compare_draws_the_slow_down(tmp_path, tiny):
    flags = ("saturated", "--seeds", 1, "--epochs", 2, "--data", tiny, "--out", tmp_path)
    compare.main(config(*flags, program=compare))
    for name in ("slow_down.png", "saturated.png"):
        assert_picture(tmp_path / name)


def test_the_variants_are_trainable_configs():
    for part in compare.PARTS.values():
        for variant in part.values():
            train.check(variant)


def test_one_neuron_learns_by_the_slope_of_its_loss():
    """Every step is lr times the numerical slope; and where it is badly wrong, cross-entropy is the faster one."""
    losses = {"mse": lambda a: a * a / 2, "cross_entropy": lambda a: -np.log1p(-a)}
    for name, loss in losses.items():
        outputs = compare.one_neuron(name, steps=4)
        z = 4.0
        for output in outputs:
            assert output == pytest.approx(1 / (1 + np.exp(-z)), rel=1e-9)
            above, below = (loss(1 / (1 + np.exp(-(z + h)))) for h in (1e-5, -1e-5))
            z -= 2 * 0.15 * (above - below) / 2e-5  # w and b move by the same amount
    slow, quick = compare.one_neuron("mse"), compare.one_neuron("cross_entropy")
    assert slow[0] == quick[0] > 0.98
    assert slow[20] > 0.9 > 0.4 > quick[20]


# ---------------------------------------------------------------- bench


def test_bench_times_everybody(capfd):
    for reference in ("sklearn", "torch", "threadpoolctl"):
        pytest.importorskip(reference)
    (rows,) = bench.main(config("--preset", "smoke", program=bench)).values()
    output, errors = capfd.readouterr()
    assert errors == ""
    assert rows.keys() == {
        "floor", "fast.py", "model.py", "model.py, f64", "scikit-learn", "torch", "torch, sliced", "per sample",
    }  # fmt: skip
    for name, row in rows.items():
        assert 0 < row["best"] <= row["median"], name
        assert row["ratio"] == row["best"] / rows["fast.py"]["best"]
        assert f"  {name:36s}{row['best']:8.3f}" in output
    assert rows["per sample"]["ratio"] > 5, "one example at a time cannot be close"


def test_bench_with_batches_that_are_larger_than_the_slow_loops_share():
    for reference in ("sklearn", "torch", "threadpoolctl"):
        pytest.importorskip(reference)
    flags = ("--images", 512, "--batch-sizes", 512, "--rounds", 1, "--threads", 1)
    (rows,) = bench.main(config(*flags, program=bench)).values()
    assert rows["per sample"]["best"] > rows["fast.py"]["best"] > 0
    assert refused(bench.main, config("--images", 100, program=bench)) == (
        "--rounds, --batch-sizes and --threads must be at least 1, and --images a batch or more."
    )


# ---------------------------------------------------------------- pictures


def test_curves_of_one_epoch_and_a_network_without_mistakes(tmp_path):
    row = {"epoch": 1, "step": 9, "train_loss": 0.5, "val_loss": 0.6, "val_accuracy": 0.9, "seconds": 1.0}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    pictures.curves(tmp_path, tmp_path / "curves.png")
    assert_picture(tmp_path / "curves.png")
    images, labels = silhouettes(6)
    pictures.mistakes(images, labels, np.eye(3)[labels], "abc", tmp_path / "mistakes.png")
    pictures.confusion(np.diag([3, 2, 1]), ("a long name", "b", "c"), tmp_path / "confusion.png")
    assert_picture(tmp_path / "confusion.png")
    with Image.open(tmp_path / "mistakes.png") as image:
        image.load()


def test_mistakes_shows_the_surest_first(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(pictures, "images", lambda axis, picture, title, **_: shown.append((int(picture[0, 0]), title)))
    believed = np.array([[0.6, 0.4], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]])
    stack = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    pictures.mistakes(stack, np.array([1, 0, 1, 1]), believed, ("no", "yes"), tmp_path / "mistakes.png", count=2)
    assert shown[0] in ((1, "no → yes  90%"), (3, "yes → no  90%"))
    assert {number for number, _ in shown} == {1, 3}
