"""Week 1's programs: training and its seed, Ctrl-C and --resume bit for bit, eval, gates, compare. (What every program
must do: test_contract.py.)"""

import gc
import shlex
import shutil
import statistics
import sys
import tracemalloc
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from programs import assert_picture, config, refused, refused_flags, rows, tensors

from shared import checkpoint, cli, plots, runs
from shared.config import check, hints
from shared.errors import Stopped
from shared.files import read_json
from week01_numpy_mlp import bench, compare, data, drawing, gates, model, predict, train
from week01_numpy_mlp import eval as evaluation
from week01_numpy_mlp.trained import load

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")  # they would print on stderr


def silhouettes(count, seed=0, classes=3, side=8):
    """Noisy images of `classes` patterns: (count, side, side) uint8 and their labels. A network learns them at once."""
    patterns = np.random.default_rng(99).integers(0, 2, (classes, side, side)) * 150
    rng, labels = np.random.default_rng(seed), np.arange(count) % classes
    return (patterns[labels] + rng.integers(0, 105, (count, side, side))).astype(np.uint8), labels


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The path of a small data set: 164 images to train on, 18 to validate, 18 to test, 8 x 8, three classes."""
    path = tmp_path_factory.mktemp("tiny") / "own.npz"
    images, labels = silhouettes(200)
    np.savez(path, images=images, labels=labels)
    return path


@pytest.fixture(scope="module")
def sample_run(tmp_path_factory):
    """The folder of a smoke run on the bundled digits. Tests read it, or change a copy."""
    run = tmp_path_factory.mktemp("sample") / "run"
    train.main(config(train, "--preset", "smoke", "--out", run))
    return run


@pytest.fixture
def run_copy(sample_run, tmp_path):
    return Path(shutil.copytree(sample_run, tmp_path / "copy"))


@pytest.fixture
def no_pictures(monkeypatch):
    """For tests that train often and look at the numbers alone."""
    monkeypatch.setattr(drawing, "first_layer", lambda *_: None)
    monkeypatch.setattr(plots, "curves", lambda *_: None)


def params(run, file="checkpoint"):
    """The network's parameters as bytes."""
    return tensors(run / f"{file}.safetensors")["model.params"]


# ---------------------------------------------------------------- training


def test_a_smoke_run(sample_run):
    for name in ("curves.png", "first_layer.png"):
        assert_picture(sample_run / name)
    log = rows(sample_run)
    assert [(row["epoch"], row["step"]) for row in log] == [(1, 125), (2, 250), (3, 375)]
    assert log[0]["train_loss"] > log[1]["train_loss"] > log[2]["train_loss"] > 0

    result = read_json(sample_run / "result.json")
    assert (result["week"], result["data"], result["seed"]) == (1, "sample", 0)
    assert (result["device"], result["dtype"]) == ("cpu", "float32")
    assert result["params"] == 784 * 128 + 128 + 128 * 10 + 10
    assert result["versions"]["numpy"] == np.__version__
    logistic, constant = result["baselines"]
    assert (logistic["name"], logistic["params"]) == ("logistic regression", 784 * 10 + 10)
    assert constant["val_accuracy"] == np.bincount(data.load("sample").val.labels).max() / 1000
    assert result["metrics"]["last_val_loss"] == log[-1]["val_loss"]


def test_the_smoke_preset_beats_its_baseline(sample_run):
    digits, first = data.load("sample"), read_json(sample_run / "result.json")
    ours, theirs = [first["metrics"]["last_val_accuracy"]], [first["baselines"][0]["val_accuracy"]]
    for seed in (1, 2):
        cfg = config(train, "--preset", "smoke", "--seed", seed)
        *_, last = train.fit(cfg, digits, train.build(cfg, 784, 10))
        ours.append(last["val_accuracy"])
        theirs.append(train.train_baselines(cfg, digits)["rows"][0]["val_accuracy"])
    assert statistics.mean(ours) > statistics.mean(theirs) + 0.02
    assert statistics.mean(theirs) > 0.85, "a baseline that is badly trained proves nothing"


def test_the_saved_network_is_the_best_one_on_val_and_the_one_that_is_drawn(tmp_path, tiny, monkeypatch, capfd):
    """With the accuracies 0.5, 0.9, 0.7 in three epochs it is the second epoch's network that is kept."""
    accuracies, seen, drawn = iter([0.5, 0.9, 0.7]), [], []
    real = train.evaluate

    def evaluate(net, part):
        if len(net.sizes) == 2:  # the baseline
            return real(net, part)
        seen.append(net.params.copy())
        return real(net, part) | {"accuracy": next(accuracies)}

    monkeypatch.setattr(train, "evaluate", evaluate)
    monkeypatch.setattr(drawing, "first_layer", lambda path, net, shape: drawn.append(net.params.copy()))
    result = train.main(config(train, "--preset", "smoke", "--data", tiny, "--out", tmp_path / "run"))
    assert (result["metrics"]["val_accuracy"], result["metrics"]["last_val_accuracy"]) == (0.9, 0.7)
    assert "\n(the weights of the best epoch on val, 2, are kept)\n" in capfd.readouterr().out
    np.testing.assert_array_equal(load(tmp_path / "run").model.params, seen[1])
    np.testing.assert_array_equal(drawn, [seen[1]])


def test_the_seed_decides_everything(tmp_path, tiny, no_pictures):
    flags = ("--preset", "smoke", "--data", tiny, "--dropout", 0.2, "--shift", 1)
    for run, seed in (("1", 0), ("2", 0), ("3", 1)):
        train.main(config(train, *flags, "--out", tmp_path / run, "--seed", seed))
    assert params(tmp_path / "1") == params(tmp_path / "2") != params(tmp_path / "3")


def test_every_epoch_and_every_seed_has_its_own_order(tiny, monkeypatch):
    orders, real = [], data.batches
    monkeypatch.setattr(data, "batches", lambda order, size: orders.append(order) or real(order, size))
    digits = data.load(str(tiny))
    for seed in (0, 1):
        cfg = train.Config(hidden=(), shift=0, epochs=2, seed=seed)
        list(train.fit(cfg, digits, train.build(cfg, 64, 3)))
    assert len({order.tobytes() for order in orders}) == 4
    assert all(np.array_equal(np.sort(order), np.arange(164)) for order in orders)


@pytest.mark.parametrize("fast", [False, True])
def test_each_step_has_the_learning_rate_of_its_number(tiny, monkeypatch, fast):
    """Two epochs of plain gradient descent by hand, from the parts that the other tests hold: nothing else is in it."""
    cfg = train.Config(hidden=(5,), momentum=0.0, weight_decay=0.0, shift=0, batch_size=41, epochs=2, fast=fast)
    digits = data.load(str(tiny))
    trained, by_hand = (train.build(cfg, 64, 3) for _ in range(2))
    list(train.fit(cfg, digits, trained))
    for epoch in range(2):
        order = np.random.default_rng([0, epoch]).permutation(164)
        for number in range(4):
            rows = order[41 * number : 41 * number + 41]
            by_hand.loss_and_gradient(data.to_floats(digits.train.images[rows]), digits.train.labels[rows])
            by_hand.params -= by_hand.grads * train.learning_rate(4 * epoch + number, 8, cfg.lr, "cosine")
    np.testing.assert_allclose(trained.params, by_hand.params, rtol=0, atol=1e-6)


@pytest.mark.parametrize("count", [3, 12])
def test_fewer_images_than_a_batch(tmp_path, no_pictures, count):
    images, labels = silhouettes(count)
    np.savez(tmp_path / "few.npz", images=images, labels=labels)
    result = train.main(config(train, "--preset", "smoke", "--data", tmp_path / "few.npz", "--out", tmp_path / "run"))
    assert np.isfinite(result["metrics"]["last_val_loss"])
    assert [row["step"] for row in rows(tmp_path / "run")] == [1, 2, 3]


def test_max_steps_ends_inside_an_epoch(tmp_path, tiny, no_pictures):
    flags = ("--preset", "smoke", "--data", tiny, "--batch-size", 16, "--schedule", "constant")
    train.main(config(train, *flags, "--out", tmp_path / "short", "--max-steps", 13))
    assert [(row["epoch"], row["step"]) for row in rows(tmp_path / "short")] == [(1, 10), (2, 13)]
    train.main(config(train, "--out", tmp_path / "short", "--resume", "--max-steps", 20))
    train.main(config(train, *flags, "--out", tmp_path / "long", "--max-steps", 20))
    assert rows(tmp_path / "short")[2] == rows(tmp_path / "long")[1]


@pytest.mark.parametrize("fast", [False, True])
def test_memory_does_not_grow_with_the_epochs(fast):
    images, labels = silhouettes(320)
    part = data.Part(images.reshape(320, -1), labels)
    digits = data.Data("tiny", (8, 8), ("0", "1", "2"), part, part, part)
    cfg = train.Config(hidden=(64, 64), epochs=6, fast=fast, dropout=0.1, shift=1, optimizer="adam", lr=0.001)
    net, peaks, kept = train.build(cfg, 64, 3), [], []
    gc.freeze()  # what others have left need not be looked through in every epoch
    tracemalloc.start()
    try:
        for _ in train.fit(cfg, digits, net):
            gc.collect()  # NumPy's padding leaves cycles behind
            now, peak = tracemalloc.get_traced_memory()
            peaks.append(peak)
            kept.append(now)
            tracemalloc.reset_peak()
    finally:
        tracemalloc.stop()
        gc.unfreeze()
    assert max(peaks[2:]) <= peaks[1] + 10_000, f"peak bytes of each epoch: {peaks}"
    assert kept[-1] <= kept[1] + 10_000, f"bytes kept after each epoch: {kept}"


def test_what_stands_on_the_terminal(tmp_path, tiny, monkeypatch, no_pictures, capfd):
    flags = ["--preset", "smoke", "--data", str(tiny), "--out", str(tmp_path / "my run")]
    monkeypatch.setattr(sys, "argv", [train.__file__, *flags])
    cli.launch(train.main, train.Config, train.PRESETS, week=1)
    output, errors = capfd.readouterr()
    assert errors == ""
    result = read_json(tmp_path / "my run" / "result.json")
    assert result["command"] == shlex.join(["./course", "train", "1", *flags])
    lines = output.splitlines()
    assert lines[0] == f"{tiny}: 164 images to train on, 18 to validate"
    assert lines[1] == "network: 64 - 128 - 3, 8,707 parameters; NumPy, float32 on the CPU"
    (ours,) = (line for line in lines if line.startswith("this network"))
    assert ours.split()[2:4] == [f"{result['metrics']['val_accuracy']:.2%}", "8,707"]
    (theirs,) = (line for line in lines if line.startswith("logistic regression"))
    assert theirs.split()[2:4] == [f"{result['baselines'][0]['val_accuracy']:.2%}", "195"]
    assert lines[-1] == f"on the test set: ./course eval 1 --run '{tmp_path / 'my run'}'"


# ---------------------------------------------------------------- Ctrl-C and --resume


HOW = {
    "momentum": ("--optimizer", "sgd", "--momentum", 0.9),
    "no momentum": ("--momentum", 0),
    "adam": ("--optimizer", "adam", "--lr", 0.001),
    "dropout and shifts": ("--dropout", 0.3, "--shift", 1, "--activation", "sigmoid", "--loss", "mse"),
}


@pytest.mark.parametrize("fast", ["--no-fast", "--fast"])
@pytest.mark.parametrize("how", HOW)
def test_interrupted_and_continued_is_bit_for_bit_the_same(tmp_path, tiny, ctrl_c, no_pictures, how, fast):
    flags = ["--preset", "smoke", "--data", tiny, "--batch-size", 16, *HOW[how], fast]
    whole, parts = tmp_path / "whole", tmp_path / "in parts"
    train.main(config(train, *flags, "--out", whole))
    ctrl_c(4)  # inside the first of three epochs of ten steps
    with pytest.raises(Stopped) as stopped:
        train.main(config(train, *flags, "--out", parts))
    assert str(stopped.value) == (
        f"stopped at step 4 of 30; saved. `./course train 1 --out '{parts}' --resume` goes on."
    )
    assert not (parts / "result.json").exists()
    ctrl_c(16)  # at the last step of the second: that epoch is finished
    assert "stopped at step 20 of 30; saved." in refused(train.main, config(train, "--out", parts, "--resume"))
    train.main(config(train, "--out", parts, "--resume"))
    assert rows(parts) == rows(whole)
    for file in ("checkpoint", "model", "baselines"):
        assert tensors(parts / f"{file}.safetensors") == tensors(whole / f"{file}.safetensors"), file
    ours, theirs = (checkpoint.load(run / "checkpoint.safetensors")["model"]["rng"] for run in (parts, whole))
    assert ours == theirs
    assert read_json(parts / "result.json")["metrics"] == read_json(whole / "result.json")["metrics"]


def test_ctrl_c_in_the_last_step_finishes(tmp_path, tiny, ctrl_c, no_pictures):
    ctrl_c(9)
    result = train.main(config(train, "--preset", "smoke", "--data", tiny, "--out", tmp_path / "run", "--max-steps", 9))
    assert read_json(tmp_path / "run" / "result.json")["metrics"] == result["metrics"]


def test_plain_and_fast_runs_may_continue_each_other(tmp_path, tiny, ctrl_c, no_pictures):
    flags = ("--preset", "smoke", "--data", tiny, "--batch-size", 16)
    train.main(config(train, *flags, "--out", tmp_path / "whole"))
    ctrl_c(14)
    refused(train.main, config(train, *flags, "--out", tmp_path / "parts"))
    train.main(config(train, "--out", tmp_path / "parts", "--resume", "--fast"))
    whole, parts = (np.frombuffer(params(tmp_path / run), np.float32) for run in ("whole", "parts"))
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-5)


def test_a_finished_run_goes_on_for_longer(tmp_path, tiny, ctrl_c, no_pictures):
    run = tmp_path / "run"
    train.main(config(train, "--preset", "smoke", "--data", tiny, "--batch-size", 16, "--out", run))
    ctrl_c(15)
    longer = config(train, "--out", run, "--resume", "--epochs", 5, "--lr", 0.01, "--weight-decay", 0.1)
    assert "stopped at step 45 of 50" in refused(train.main, longer)
    cfg = config(train, "--out", run, "--resume")
    assert (cfg.epochs, cfg.lr, cfg.weight_decay) == (5, 0.01, 0.1), "a second resume must go on as the first did"
    train.main(cfg)
    assert [row["epoch"] for row in rows(run)] == [1, 2, 3, 4, 5]


def test_a_new_weight_decay_is_used_from_there_on(tmp_path, tiny, no_pictures):
    flags = ("--preset", "smoke", "--data", tiny, "--max-steps", 1)
    for run, decay in (("as before", 5e-4), ("more", 5)):
        train.main(config(train, *flags, "--out", tmp_path / run))
        train.main(config(train, "--out", tmp_path / run, "--resume", "--max-steps", 2, "--weight-decay", decay))
    as_before, more = (np.frombuffer(params(tmp_path / run), np.float32) for run in ("as before", "more"))
    assert np.linalg.norm(more) < 0.8 * np.linalg.norm(as_before)


def test_resume_of_the_newest_run_and_baselines_trained_once(tmp_path, tiny, ctrl_c, monkeypatch, no_pictures):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    run, times, real = tmp_path / "runs" / "week01" / "001-smoke", [], train.train_baselines
    monkeypatch.setattr(train, "train_baselines", lambda *given: times.append(1) or real(*given))
    ctrl_c(1)
    assert refused(train.main, config(train, "--preset", "smoke", "--data", tiny, "--batch-size", 16)) == (
        "stopped at step 1 of 30; saved. `./course train 1 --resume` goes on."
    )
    assert train.main(config(train, "--resume"))["run"] == str(run)
    assert [row["step"] for row in rows(run)] == [10, 20, 30]
    assert len(times) == 1


@pytest.mark.parametrize(
    ("flag", "value", "was"),
    [
        ("--hidden", "7", "128"), ("--optimizer", "adam", "sgd"), ("--momentum", "0.5", "0.9"),
        ("--loss", "mse", "cross_entropy"),
        ("--activation", "tanh", "relu"), ("--dropout", "0.1", "0"), ("--init", "unit", "he"),
    ],
)  # fmt: skip
def test_resume_as_another_network(sample_run, flag, value, was):
    cfg = config(train, "--out", sample_run, "--resume", "--epochs", 9, flag, value)
    assert refused(train.main, cfg) == (
        f"{sample_run} was started with {flag} {was}: leave {flag} out, or start a new run."
    )
    assert read_json(sample_run / "config.json")["epochs"] == 3


def test_a_checkpoint_that_is_cut_short(run_copy):
    path = run_copy / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    assert refused(train.main, config(train, "--out", run_copy, "--resume", "--epochs", 4)).startswith(
        f"{path} is not a whole checkpoint of this course ("
    )


# ---------------------------------------------------------------- what train refuses


@pytest.mark.parametrize("fast", ["--no-fast", "--fast"])
def test_a_learning_rate_that_is_too_large(tmp_path, tiny, no_pictures, fast):
    run = tmp_path / "run"
    cfg = config(train, "--preset", "smoke", "--data", tiny, "--lr", 1e30, "--schedule", "constant", "--out", run, fast)
    assert refused(train.main, cfg) == (
        "the loss became nan at step 2 (epoch 1): the steps are too large. Try --lr 0.1, or another --init."
    )
    assert not (run / "result.json").exists()


def test_a_step_too_far_at_the_very_end(tmp_path, tiny, no_pictures):
    """The loss of the one step was a number; what it made of the network shows on val alone."""
    flags = ("--data", tiny, "--lr", "1e30", "--max-steps", 1, "--schedule", "constant", "--out", tmp_path / "run")
    assert refused(train.main, config(train, *flags)).startswith(
        "the loss became nan at step 1 (epoch 1): the steps are too large."
    )


def test_a_learning_rate_of_a_million_on_the_digits(tmp_path, no_pictures):
    flags = ("--preset", "smoke", "--lr", "1e6", "--activation", "relu", "--out", tmp_path / "run")
    assert "the steps are too large. Try --lr 0.1, or another --init." in refused(train.main, config(train, *flags))


@pytest.mark.parametrize(
    ("optimizer", "lr", "advice"),
    [("sgd", 50.0, "0.1"), ("sgd", 0.5, "0.05"), ("adam", 5.0, "0.001"), ("adam", 0.002, "0.0002")],
)
def test_the_advice_is_a_learning_rate_that_works(optimizer, lr, advice):
    said = train.too_large(train.Config(optimizer=optimizer, lr=lr))
    assert said == f"Try --lr {advice}, or another --init."


@pytest.mark.parametrize(
    ("lr", "advice"), [(5, "a smaller"), (1e-9, "another")], ids=["dead at once", "next to no steps"]
)
def test_a_training_that_learns_nothing_says_so(tmp_path, no_pictures, capfd, lr, advice):
    flags = ("--preset", "smoke", "--epochs", 1, "--init", "small", "--lr", lr, "--out", tmp_path / "run")
    result = train.main(config(train, *flags))
    guessing, reached = np.bincount(data.load("sample").val.labels).max() / 1000, result["metrics"]["val_accuracy"]
    assert reached <= guessing + 0.01
    assert (
        f"\nit has learned nothing: val accuracy {reached:.2%}, always the same answer has {guessing:.2%}. "
        f"Try {advice} --lr, or another --init.\n"
    ) in capfd.readouterr().out


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--activation", "gelu"), "--activation gelu: must be one of relu, sigmoid, tanh."),
        (("--loss", "hinge"), "--loss hinge: must be one of cross_entropy, mse."),
        (("--init", "zero"), "--init zero: must be one of he, xavier, unit, small."),
        (("--optimizer", "muon"), "--optimizer muon: must be one of sgd, adam."),
        (("--schedule", "linear"), "--schedule linear: must be one of cosine, constant."),
        (("--device", "cuda"), "--device cuda: must be one of auto, cpu."),
        (("--preset", "huge"), "unknown preset 'huge': choose one of smoke, quick, full, best."),
        (("--lr", 0), "--lr 0: must be above 0."),
        (("--lr", "inf"), "--lr inf: must be a finite number."),
        (("--batch-size", 0), "--batch-size 0: must be at least 1."),
        (("--max-steps", -1), "--max-steps -1: must be 0 or more."),
        (("--hidden", 128, 0), "--hidden 0: must be at least 1."),
        (("--dropout", 1), "--dropout 1: must be from 0 to below 1."),
        (("--dropout", -0.1), "--dropout -0.1: must be from 0 to below 1."),
        (("--momentum", 1), "--momentum 1: must be from 0 to below 1."),
        (("--momentum", -0.1), "--momentum -0.1: must be from 0 to below 1."),
        (("--weight-decay", -1e-4), "--weight-decay -0.0001: must be 0 or more."),
        (("--shift", -1), "--shift -1: must be from 0 to 8."),
        (("--shift", 9), "--shift 9: must be from 0 to 8."),
        (("--seed", -1), "--seed -1: must be from 0 to 4294967295."),
    ],
)  # fmt: skip
def test_flags_that_cannot_work(flags, complaint):
    assert refused_flags(train, *flags) == complaint


@pytest.mark.parametrize(
    ("program", "flags", "complaint"),
    [
        (evaluation, ("--device", "cuda"), "--device cuda: must be one of auto, cpu."),
        (evaluation, ("--seed", "1"), "--seed: no such flag"),
        (predict, ("--data", "mnist"), "--data: no such flag"),
        (predict, ("--preset", "smoke"), "--preset: no such flag"),
        (bench, ("--out", "x"), "--out: no such flag"),
        (gates, ("--hidden", "0"), "--hidden 0: must be at least 1."),
        (gates, ("--steps", "0"), "--steps 0: must be at least 1."),
        (gates, ("--lr", "0"), "--lr 0: must be above 0."),
        (compare, ("widths",),
         "widths: must be one of loss, saturated, init, lr, optimizer, regularisation, all."),
        (compare, ("--seeds", "0"), "--seeds 0: must be at least 1."),
        (compare, ("--epochs", "-1"), "--epochs -1: must be 0 or more."),
        (compare, ("--device", "mps"), "--device mps: must be one of auto, cpu."),
    ],
)  # fmt: skip
def test_flags_of_the_other_programs(program, flags, complaint):
    assert refused_flags(program, *flags).startswith(complaint)


def test_the_edges_of_what_is_allowed_are_allowed(tmp_path, tiny, capfd):
    for flags in (("--shift", 8), ("--weight-decay", 0), ("--dropout", 0), ("--momentum", 0), ("--seed", 2**32 - 1)):
        config(train, *flags)
    flags = ("--data", tiny, "--hidden", "--epochs", 1, "--batch-size", 1, "--device", "cpu")
    result = train.main(config(train, *flags, "--out", tmp_path / "run"))
    assert result["params"] == result["baselines"][0]["params"] == 64 * 3 + 3, "no hidden layer is logistic regression"
    assert capfd.readouterr().out.splitlines()[2] == "no hidden layer: this is logistic regression"
    for name in ("curves.png", "first_layer.png"):  # of one epoch, of three neurons
        assert_picture(tmp_path / "run" / name)


def test_the_choices_are_what_the_network_knows():
    kinds = hints(train.Config)
    for flag, known in (("activation", model.ACTIVATIONS), ("loss", model.LOSSES), ("init", model.INITS)):
        assert get_args(kinds[flag]) == tuple(known)


# ---------------------------------------------------------------- eval


def forward_by_hand(params, x, sizes):
    """The logits of a ReLU network, straight from its vector of parameters."""
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        weights, params = params[: fan_in * fan_out].reshape(fan_in, fan_out), params[fan_in * fan_out :]
        bias, params = params[:fan_out], params[fan_out:]
        x = (np.maximum(x, 0) if i else x) @ weights + bias
    assert len(params) == 0
    return x


def test_eval_adds_the_test_accuracy_to_the_result(run_copy, monkeypatch, capfd):
    drawn, real = {}, plots.mistakes
    monkeypatch.setattr(
        plots, "mistakes", lambda path, *shown: drawn.update(zip(("pictures", "titles"), shown, strict=False))
        or real(path, *shown),
    )  # fmt: skip
    before = read_json(run_copy / "result.json")
    evaluated = evaluation.main(config(evaluation, "--run", run_copy))
    output, errors = capfd.readouterr()
    assert errors == ""
    test, saved = data.load("sample").test, checkpoint.load(run_copy / "model.safetensors")
    baselines = checkpoint.load(run_copy / "baselines.safetensors")["models"]
    x = test.images.astype(np.float64) / 255
    logits = forward_by_hand(saved["model"]["params"], x, (784, 128, 10))
    preds = logits.argmax(axis=1)
    by_baseline = forward_by_hand(baselines["logistic regression"]["params"], x, (784, 10)).argmax(axis=1)

    after = read_json(run_copy / "result.json")
    assert (
        after["metrics"].pop("test_accuracy") == evaluated["metrics"]["test_accuracy"] == np.mean(preds == test.labels)
    )
    logistic, constant = after["baselines"]
    assert logistic.pop("test_accuracy") == np.mean(by_baseline == test.labels)
    assert constant.pop("test_accuracy") == np.bincount(test.labels).max() / 1000
    assert after == before, "the rest of result.json stays"
    confusion = [[int(np.sum((test.labels == i) & (preds == j))) for j in range(10)] for i in range(10)]
    assert evaluated["confusion"] == confusion
    wrong = np.flatnonzero(preds != test.labels)
    assert f"sample (test): 1,000 images, {len(wrong)} mistakes. Run: {run_copy}" in output
    for name in ("confusion.png", "mistakes.png"):
        assert_picture(run_copy / name)

    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    sure = (exp / exp.sum(axis=1, keepdims=True)).max(axis=1)
    surest = wrong[np.argsort(-sure[wrong])][:24]
    np.testing.assert_array_equal(drawn["pictures"], test.images[surest].reshape(-1, 28, 28))
    assert drawn["titles"] == [f"{test.labels[i]} → {preds[i]}  {sure[i]:.0%}" for i in surest]


def test_eval_counts_one_mistake_as_one(sample_run, tmp_path, monkeypatch, capfd):
    for name in ("confusion", "mistakes"):
        monkeypatch.setattr(plots, name, lambda *_: None)
    test = data.load("sample").test
    preds = evaluation.probabilities(load(sample_run).model, test).argmax(axis=1)
    chosen = [np.flatnonzero(preds != test.labels)[0], *np.flatnonzero(preds == test.labels)[:5]]
    path, classes = tmp_path / "own.npz", np.arange(10).astype(str)
    np.savez(path, images=test.images[chosen].reshape(-1, 28, 28), labels=test.labels[chosen], classes=classes)
    evaluation.main(config(evaluation, "--run", sample_run, "--data", path, "--out", tmp_path / "out"))
    assert f"{path}: 6 images, 1 mistake. Run: {sample_run}" in capfd.readouterr().out


def test_eval_on_images_that_it_was_trained_or_chosen_on(sample_run, tmp_path, capfd):
    digits, path, out = data.load("sample"), tmp_path / "own.npz", tmp_path / "out"
    before = (sample_run / "result.json").read_bytes()
    why = "(The bundled sample is a part of MNIST's training images.)"

    def evaluated(*counts):
        parts = list(zip((digits.train, digits.val, digits.test), counts, strict=True))
        images = np.concatenate([part.images[:count] for part, count in parts]).reshape(-1, 28, 28)
        np.savez(path, images=images, labels=np.concatenate([part.labels[:count] for part, count in parts]))
        return evaluation.main(config(evaluation, "--run", sample_run, "--data", path, "--out", out))

    assert refused(evaluated, 60, 40, 0) == (
        f"--data {path}: this network was trained or chosen on all of these 100 images, so a score on them would say "
        f"nothing. {why}"
    )
    assert np.sum(evaluated(20, 10, 70)["confusion"]) == 70, "the others are scored"
    assert f"  left out 30 images that this network was trained or chosen on {why}\n" in capfd.readouterr().out
    assert (sample_run / "result.json").read_bytes() == before


def test_eval_on_images_of_ones_own(run_copy, tmp_path, monkeypatch):
    """All of them are scored, and the run's own result stays what it was. Here: the digits upside down."""
    for name in ("confusion", "mistakes"):
        monkeypatch.setattr(plots, name, lambda path, *_: path.parent.mkdir(exist_ok=True) or path.touch())
    val = data.load("sample").val
    np.savez(tmp_path / "own.npz", images=val.images.reshape(-1, 28, 28)[:, ::-1], labels=val.labels)
    before = (run_copy / "result.json").read_bytes()
    out = tmp_path / "elsewhere"
    evaluated = evaluation.main(config(evaluation, "--run", run_copy, "--data", tmp_path / "own.npz", "--out", out))
    assert np.sum(evaluated["confusion"]) == 1000
    assert np.trace(evaluated["confusion"]) / 1000 == evaluated["metrics"]["test_accuracy"] < 0.7
    assert (run_copy / "result.json").read_bytes() == before
    assert {path.name for path in out.iterdir()} == {"confusion.png", "mistakes.png"}


def test_eval_on_images_that_do_not_fit(sample_run, tmp_path, tiny):
    def answer(name):
        return refused(evaluation.main, config(evaluation, "--run", sample_run, "--data", name))

    assert answer(tiny) == f"--data {tiny}: images of (8, 8), the network was trained on (28, 28)."
    path = tmp_path / "letters.npz"
    np.savez(path, images=np.arange(26)[:, None, None] * np.ones((28, 28), int), labels=np.arange(26))
    assert answer(path) == f"--data {path}: label 25, but the network knows 10 classes."


def test_eval_of_another_network(run_copy):
    path, cfg = run_copy / "model.safetensors", config(evaluation, "--run", run_copy)
    saved = checkpoint.load(path)
    checkpoint.save(path, {"config": {}, "weights": saved["model"]["params"]})
    assert refused(evaluation.main, cfg) == f"{path} is not a network of week 1. Give --run a folder of runs/week01."
    checkpoint.save(path, saved | {"model": saved["model"] | {"params": saved["model"]["params"][:-1]}})
    assert refused(evaluation.main, cfg) == (
        f"{path} does not hold the network that it describes. Train again, or use another run."
    )


def test_own_colour_images_from_train_to_eval(tmp_path, monkeypatch, capfd):
    """The default places and all: the newest run is the one that eval finds. And its own images, under another name."""
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    grey, labels = silhouettes(150)
    path = tmp_path / "own.npz"
    np.savez(path, images=np.stack([grey, grey // 2, 255 - grey], axis=-1), labels=labels, classes=["a", "b", "c"])
    flags = ("--preset", "smoke", "--data", path, "--epochs", 8, "--loss", "mse", "--lr", 0.5)
    result = train.main(config(train, *flags))
    assert capfd.readouterr().out.endswith("\non the test set: ./course eval 1\n")
    assert result["run"] == str(tmp_path / "runs" / "week01" / "001-smoke")
    assert result["params"] == 8 * 8 * 3 * 128 + 128 + 128 * 3 + 3
    evaluated = evaluation.main(config(evaluation))
    assert evaluated["run"] == result["run"]
    assert np.sum(evaluated["confusion"], axis=1).tolist() == np.bincount(data.load(str(path)).test.labels).tolist()
    assert evaluated["metrics"]["test_accuracy"] > 0.6
    for name in ("curves.png", "first_layer.png", "confusion.png", "mistakes.png"):
        assert_picture(tmp_path / "runs" / "week01" / "001-smoke" / name)
    copy = Path(shutil.copy(path, tmp_path / "copy.npz"))
    again = evaluation.main(config(evaluation, "--data", copy))
    assert again["confusion"] == evaluated["confusion"], "a copy has the same test part"


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("fast", [False, True])
def test_probabilities_are_probabilities(loss, fast, tiny):
    cfg = train.Config(hidden=(9,), loss=loss, fast=fast)
    net, part = train.build(cfg, 64, 3), data.load(str(tiny)).everything
    probs = evaluation.probabilities(net, part, size=7)
    assert probs.shape == (200, 3) and probs.min() > 0
    np.testing.assert_allclose(probs.sum(axis=1), 1, rtol=1e-6)
    outputs = net.forward(data.to_floats(part.images)).copy()
    np.testing.assert_array_equal(probs.argmax(axis=1), outputs.argmax(axis=1))
    assert train.evaluate(net, part, size=7)["accuracy"] == np.mean(outputs.argmax(axis=1) == part.labels)


# ---------------------------------------------------------------- gates


def test_gates_learns_what_it_can_and_draws_it(tmp_path, capfd):
    result = gates.main(config(gates, "--out", tmp_path))
    output, errors = capfd.readouterr()
    assert result["XOR"] is None and result["MLP"] is True
    assert 0 < result["AND"] < 20 and 0 < result["OR"] < 20
    assert "perceptron  XOR  never: after" in output and "MLP         XOR  learned" in output
    assert errors == ""
    assert_picture(tmp_path / "decision_boundary.png")


def test_gates_with_a_rate_that_is_far_too_large(tmp_path, monkeypatch, capfd):
    titles = []
    monkeypatch.setattr(drawing, "boundary", lambda axis, decide, x, y, title: (decide(x), titles.append(title)))
    gates.main(config(gates, "--out", tmp_path, "--lr", 1e5, "--steps", 20))
    assert "MLP         XOR  not learned" in capfd.readouterr().out and titles[-1] == "MLP: XOR, not learned"
    assert_picture(tmp_path / "decision_boundary_steps_20_lr_100000.png")
    assert not (tmp_path / "decision_boundary.png").exists(), "what the report shows is the lesson's own call"


# ---------------------------------------------------------------- compare


def test_compare_runs_every_variant_once_and_reports_the_spread(tmp_path, tiny, monkeypatch, capfd):
    flags = ("--preset", "smoke", "--data", tiny, "--out", tmp_path / "out")
    result = compare.main(config(compare, *flags))
    output, errors = capfd.readouterr()
    assert errors == ""
    assert result.keys() == {"lr"} and result["lr"].keys() == compare.PARTS["lr"].keys()
    saved = read_json(tmp_path / "out" / "compare.json")["lr"]
    for label, row in result["lr"].items():
        assert (row["seeds"], row["diverged"]) == (2, 0)
        mean, std = row["val_accuracy"]
        numbers = f"{100 * mean:.2f} ± {100 * std:.2f} %"
        assert any(line.startswith(f"| {label} |") and numbers in line for line in output.splitlines())
        assert saved[label]["val_accuracy"] == [mean, std]
    assert_picture(tmp_path / "out" / "lr.png")
    digits, variant = data.load(str(tiny)), replace(compare.PARTS["lr"]["lr 0.05"], epochs=2)
    by_hand = []
    for seed in (0, 1):
        cfg = replace(variant, seed=seed)
        by_hand.append([row["val_accuracy"] for row in train.fit(cfg, digits, train.build(cfg, 64, 3))])
    for metric, scores in zip(("first_epoch_accuracy", "val_accuracy"), zip(*by_hand, strict=True), strict=True):
        assert result["lr"]["lr 0.05"][metric] == (statistics.mean(scores), statistics.stdev(scores))

    monkeypatch.setattr(train, "fit", lambda *_: pytest.fail("a training that was there has been done again"))
    monkeypatch.setattr(compare, "picture", lambda *_: None)
    assert compare.main(config(compare, *flags)) == result


@pytest.mark.parametrize("alone", [False, True])
def test_a_variant_that_diverges_is_told_of_and_not_fatal(tmp_path, tiny, monkeypatch, capfd, alone):
    usual = compare.PARTS["lr"]["lr 0.05"]
    variants = {"far too large": replace(usual, lr=1e30, schedule="constant")} | ({} if alone else {"usual": usual})
    monkeypatch.setitem(compare.PARTS, "lr", variants)
    result = compare.main(config(compare, "--preset", "smoke", "--data", tiny, "--out", tmp_path))["lr"]
    output, errors = capfd.readouterr()
    assert result["far too large"] == {"seeds": 2, "diverged": 2}
    assert "2 of 2 diverged" in output and errors == ""
    assert alone or result["usual"]["diverged"] == 0
    assert (tmp_path / "lr.png").is_file()


def test_compare_draws_the_slow_down(tmp_path, tiny):
    flags = ("saturated", "--seeds", 1, "--epochs", 2, "--data", tiny, "--out", tmp_path, "--jobs", 1)
    compare.main(config(compare, *flags))
    for name in ("slow_down.png", "saturated.png"):
        assert_picture(tmp_path / name)


def test_every_part_can_be_asked_for_and_has_a_title():
    kind = get_args(get_args(hints(compare.Config)["parts"])[0])[0]  # Positional[tuple[Literal[…], ...]]
    assert get_args(kind) == (*compare.PARTS, "all") and tuple(compare.TITLES) == tuple(compare.PARTS)


def test_the_variants_are_trainable_configs():
    for part in compare.PARTS.values():
        for variant in part.values():
            check(variant)


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


# ---------------------------------------------------------------- drawings


def test_a_network_without_mistakes(tmp_path):
    images, _ = silhouettes(6)
    plots.mistakes(tmp_path / "mistakes.png", images[:0], [])
    plots.confusion(tmp_path / "confusion.png", np.diag([3, 2, 1]), ("a long name", "b", "c"))
    assert_picture(tmp_path / "confusion.png")
    with Image.open(tmp_path / "mistakes.png") as image:
        image.load()
