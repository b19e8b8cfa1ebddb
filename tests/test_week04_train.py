"""Week 4's programs from end to end: the same numbers as week 2's loop, resume, several processes, averages, eval."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shared import checkpoint, cli
from shared.errors import CourseError, Stopped
from shared.files import ROOT, read_json
from shared.progress import read_metrics
from week02_cnn import data as photographs
from week02_cnn import pictures
from week02_cnn import train as plain_loop
from week04_lightning import callbacks, repeat, train
from week04_lightning import data as batches
from week04_lightning import eval as evaluation
from week04_lightning.model import Classifier

CPU = train.choose("cpu")
TINY = {"side": 8, "depth": 3, "width": 4, "batch_size": 32, "epochs": 3, "logger": "none"}


def config(*flags):
    """What `./course train 4 FLAGS` runs with."""
    return cli.parse(train.Config, train.PRESETS, list(map(str, flags)), week=4)


def refused(main, cfg) -> str:
    """The one line that main(cfg) is refused with."""
    with pytest.raises(CourseError) as caught:
        main(cfg)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def patterns(count, seed=0, classes=3, side=8):
    """Noisy photographs of `classes` patterns: (count, side, side, 3) uint8 and their labels."""
    shapes = np.random.default_rng(99).integers(0, 2, (classes, side, side, 3)) * 100
    rng, labels = np.random.default_rng(seed), np.arange(count) % classes
    return (shapes[labels] + rng.integers(0, 155, (count, side, side, 3))).astype(np.uint8), labels


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The path of a small data set: 112 images to train on (3 batches of 32), 14 to validate, 14 to test."""
    path = tmp_path_factory.mktemp("tiny") / "own.npz"
    images, labels = patterns(144)
    np.savez(path, images=images, labels=labels)
    return path


@pytest.fixture(scope="module")
def photos(tiny):
    return photographs.load(str(tiny), 8)


@pytest.fixture
def no_pictures(monkeypatch):
    """For tests that look at the numbers alone."""
    monkeypatch.setattr(pictures, "curves", lambda *_: None)


def weights(module):
    """All numbers of a network in one vector, to compare."""
    return torch.cat([value.flatten().float() for value in module.state_dict().values()])


def trained(cfg, photos, run=None, resume=False):
    """A Classifier after training, and its rows."""
    module = train.build(cfg, photos)
    rows = train.fit(cfg, photos, module, CPU, run, resume)
    return module, rows


def without_seconds(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


# ---------------------------------------------------------------- the same as week 2's loop


@pytest.mark.parametrize(
    "flags", [{}, {"dropout": 0.3, "momentum": 0.0}, {"optimizer": "adamw", "lr": 0.002, "max_steps": 5}]
)
def test_lightning_trains_the_very_network_that_the_plain_loop_trains(photos, flags):
    """The same seed and recipe: the same order, the same flips, the same numbers to the last bit."""
    common = {name: TINY[name] for name in ("side", "depth", "width", "batch_size", "epochs")} | flags
    cfg = plain_loop.Config(**common)
    plain = plain_loop.build(cfg, 3, 8)
    expected = list(plain_loop.fit(cfg, photos, plain, CPU))
    module, rows = trained(train.Config(**common, logger="none"), photos)
    assert [(row["epoch"], row["step"]) for row in rows] == [(row["epoch"], row["step"]) for row in expected]
    for ours, theirs in zip(rows, expected, strict=True):
        for name in ("train_loss", "val_loss", "val_accuracy"):
            assert ours[name] == pytest.approx(theirs[name], abs=1e-6), f"{name} of epoch {ours['epoch']}"
    assert torch.equal(weights(module.net), weights(plain))


def test_the_plain_preset_is_week_2s_recipe():
    ours, theirs = asdict(config("--preset", "plain")), asdict(plain_loop.Config())
    same = ours.keys() & theirs.keys() - {"preset", "schedule", "flip"}
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}
    assert (ours["net"], ours["flip"], ours["schedule"], ours["warmup"]) == ("convnet", "random", "linear", 0.25)
    assert not any(ours[name] for name in ("crop", "cutout", "mixup", "randaugment", "label_smoothing", "tta"))


# ---------------------------------------------------------------- batches


def loader(photos, rank=0, world=1, epoch=0, **flags):
    cfg = train.Config(**TINY | {"crop": 1, "cutout": 2} | flags)
    images, labels = photographs.tensors(photos.train)
    mean = torch.tensor([100, 110, 120], dtype=torch.uint8)

    def change(some, truth, rows, number):
        return batches.augmented(some, truth, rows, number, 3, mean, cfg)

    return batches.TrainBatches(images, labels, cfg.batch_size, cfg.seed, lambda: epoch, change, rank, world)


def test_every_image_at_most_once_an_epoch_in_a_new_order(photos):
    orders = []
    for epoch in range(2):
        plain = loader(photos, epoch=epoch, flip="none", crop=0, cutout=0)
        shown = torch.cat([images for images, _ in plain])
        assert len(plain) == 3 and len(shown) == 96
        orders.append([image.numpy().tobytes() for image in shown])
        assert len(set(orders[-1])) == 96
    assert orders[0] != orders[1]


@pytest.mark.parametrize("flags", [{}, {"flip": "alternating"}, {"mixup": 0.4}])
def test_two_processes_together_see_what_one_would(photos, flags):
    torch.manual_seed(0)
    whole = list(loader(photos, **flags))
    halves = []
    for rank in range(2):
        torch.manual_seed(0)
        halves.append(list(loader(photos, rank, 2, **flags)))
    for (images, targets), *parts in zip(whole, *halves, strict=True):
        for rank, (share, truth) in enumerate(parts):
            assert torch.equal(share, images[rank::2]) and torch.equal(truth, targets[rank::2])


def test_a_loader_goes_on_inside_an_epoch(photos):
    flags = {"flip": "none", "crop": 0, "cutout": 0}
    first = loader(photos, **flags)
    begun = iter(first)
    next(begun)
    second = loader(photos, **flags)
    second.load_state_dict(first.state_dict())
    for (ours, _), (theirs, _) in zip(begun, second, strict=True):
        assert torch.equal(ours, theirs)
    assert first.state_dict() == {"done": 0} and len(list(second)) == 3, "the next epoch is whole again"


def test_evaluation_sees_all_images_in_order(photos):
    images, labels = photographs.tensors(photos.train)
    found = batches.EvalBatches(images, labels, 50)
    assert len(found) == 3
    assert torch.equal(torch.cat([batch for batch, _ in found]), images)
    assert torch.equal(torch.cat([truth for _, truth in found]), labels)


# ---------------------------------------------------------------- resume


def interrupted_at(call, monkeypatch):
    """Presses Ctrl-C while training batch number `call` is being made."""
    real, calls = batches.augmented, []

    def augmented(*arguments):
        calls.append(1)
        if len(calls) == call:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(batches, "augmented", augmented)


@pytest.mark.parametrize(
    ("stop", "flags"),
    [
        (5, {}),  # inside the second epoch
        (6, {"average": "swa", "swa_share": 0.7}),  # in its last step: it is validated first
        (4, {"optimizer": "muon", "lr": 0.05, "average": "ema", "mixup": 0.3, "dropout": 0.2, "flip": "alternating"}),
    ],
    ids=["sgd", "swa", "muon-ema"],
)
def test_a_resumed_run_ends_bit_for_bit_like_one_that_was_never_stopped(tmp_path, photos, monkeypatch, stop, flags):
    cfg = train.Config(**TINY | {"crop": 1, "early_stop": 3} | flags, out=str(tmp_path / "half"))
    whole, rows = trained(cfg, photos, tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupted_at(stop, patch)
        with pytest.raises(Stopped) as stopped:
            trained(cfg, photos, tmp_path / "half")
    assert str(stopped.value) == (
        f"stopped at step {stop} of 9; saved. `./course train 4 --out {tmp_path / 'half'} --resume` goes on."
    )
    torch.manual_seed(1234)  # what happens in between must not matter
    half, again = trained(cfg, photos, tmp_path / "half", resume=True)
    assert without_seconds(again) == without_seconds(rows) and len(rows) == 3
    assert torch.equal(weights(half.net), weights(whole.net))
    for file in ("checkpoint", "best"):
        ours, theirs = (checkpoint.load(tmp_path / run / f"{file}.safetensors", "pt") for run in ("half", "whole"))
        assert ours["global_step"] == theirs["global_step"] and ours["epoch"] == theirs["epoch"]
        for state in ("state_dict", "optimizer_states"):
            assert flat(ours[state]) == flat(theirs[state])


def flat(state):
    """A nested state as something that can be compared."""
    if isinstance(state, torch.Tensor):
        return state.numpy().tobytes()
    if isinstance(state, dict):
        return {key: flat(value) for key, value in state.items()}
    return [flat(value) for value in state] if isinstance(state, list | tuple) else state


def test_ctrl_c_without_a_folder_is_a_keyboard_interrupt(photos, monkeypatch):
    interrupted_at(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        trained(train.Config(**TINY), photos)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_nothing_on_the_disk_is_a_pickle(tmp_path, photos):
    trained(train.Config(**TINY | {"epochs": 1, "logger": "csv"}), photos, tmp_path)
    kinds = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert kinds == {".safetensors", ".jsonl", ".csv"}


# ---------------------------------------------------------------- several processes


@pytest.mark.skipif(not hasattr(os, "fork") or torch.cuda.is_available(), reason="needs a fork, and no GPU in it")
def test_two_processes_take_the_steps_of_one(tmp_path, photos, monkeypatch):
    """Two gloo processes with half a batch each: the same losses and weights as one process with the whole batch.

    Forked here, because a process that is spawned imports everything anew. Without batch norm, whose statistics are
    those of a process's own images.
    """
    cfg = train.Config(**TINY | {"norm": False, "lr": 0.02, "crop": 1, "flip": "alternating", "epochs": 2})
    one, rows = trained(cfg, photos, tmp_path / "one")
    monkeypatch.setattr(train, "SPAWN", "ddp_fork")
    two, shared = trained(replace(cfg, devices=2, strategy="ddp"), photos, tmp_path / "two")
    torch.testing.assert_close(weights(two.net), weights(one.net), rtol=1e-5, atol=1e-6)
    assert [row["step"] for row in shared] == [row["step"] for row in rows] == [3, 6]
    for ours, theirs in zip(shared, rows, strict=True):
        for name in ("train_loss", "val_loss"):
            assert ours[name] == pytest.approx(theirs[name], abs=1e-5)
    started = train.build(cfg, photos)
    assert (weights(two.net) - weights(started.net)).abs().max() > 1e-3, "it has learned"


def test_what_another_process_ended_with_is_told_in_one_line():
    sent = "\n\n-- Process 1 terminated with the following error:\nTraceback (most recent call last):\n  File …\n"
    stopped = train.told_by(RuntimeError(f"{sent}shared.errors.Stopped: stopped at step 3 of 9; saved.\n"))
    assert isinstance(stopped, Stopped) and str(stopped) == "stopped at step 3 of 9; saved."
    diverged = train.told_by(RuntimeError(f"{sent}week04_lightning.callbacks.Diverged: the loss became nan: too large"))
    assert isinstance(diverged, CourseError) and str(diverged) == "the loss became nan: too large"
    other = RuntimeError(f"{sent}ValueError: a bug")
    assert train.told_by(other) is other


# ---------------------------------------------------------------- what is validated, kept and logged


def fixed_accuracies(monkeypatch, accuracies):
    """Makes val accuracy what the test says; returns the list of weights that each validation saw."""
    numbers, seen = iter(accuracies), []

    def measure(self, name, logits, labels):
        seen.append(weights(self.net))
        self.log_dict({"val_loss": 1.0, "val_accuracy": next(numbers)}, batch_size=1)

    monkeypatch.setattr(Classifier, "measure", measure)
    return seen


@pytest.mark.parametrize("average", ["none", "ema", "swa"])
def test_the_network_that_was_best_on_val_is_kept(tmp_path, tiny, monkeypatch, no_pictures, average, capfd):
    """Also with an average: the one that was validated, not the weights it is made of."""
    seen = fixed_accuracies(monkeypatch, [0.5, 0.9, 0.7])
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    cfg = config(
        "--preset", "plain", *flags, "--data", tiny, "--out", tmp_path, "--average", average, "--swa-share", 0.7
    )
    result = train.main(cfg)
    assert (result["metrics"]["val_accuracy"], result["metrics"]["last_val_accuracy"]) == pytest.approx((0.9, 0.7))
    assert torch.equal(weights(train.load_model(tmp_path).model.net), seen[1])
    last = checkpoint.load(tmp_path / "checkpoint.safetensors", "pt")
    raw = last.get("current_model_state", last["state_dict"])
    raw = torch.cat([value.flatten().float() for name, value in raw.items() if name.startswith("net.")])
    assert torch.equal(raw, seen[2]) == (average == "none"), "the training goes on beside the average"
    out, err = capfd.readouterr()
    assert "\n(the weights of the best epoch on val, 2, are kept)\n" in out and err == ""


def test_early_stopping_waits_so_many_epochs(photos, monkeypatch):
    fixed_accuracies(monkeypatch, [0.5, 0.6, 0.6, 0.55, 0.9, 0.9])
    _, rows = trained(train.Config(**TINY | {"epochs": 6, "early_stop": 2}), photos)
    assert [round(row["val_accuracy"], 2) for row in rows] == [0.5, 0.6, 0.6, 0.55]


def test_swa_is_the_mean_of_the_last_epochs_weights(photos, monkeypatch):
    common = TINY | {"epochs": 4, "norm": False, "lr": 0.02}
    ends, real = [], callbacks.Journal.on_train_epoch_end

    def note(self, trainer, module):
        ends.append(weights(module.net))
        real(self, trainer, module)

    monkeypatch.setattr(callbacks.Journal, "on_train_epoch_end", note)
    trained(train.Config(**common), photos)
    module, _ = trained(train.Config(**common, average="swa", swa_share=0.5), photos)
    torch.testing.assert_close(weights(module.net), (ends[2] + ends[3]) / 2)


def test_loggers_write_into_the_run_folder(tmp_path, photos):
    trained(train.Config(**TINY | {"epochs": 4, "logger": "csv"}), photos, tmp_path)
    text = (tmp_path / "csv" / "version_0" / "metrics.csv").read_text(encoding="utf-8")
    columns = {"epoch", "step", "train_loss", "val_loss", "val_accuracy", "lr-SGD/filters", "lr-SGD/head"}
    assert columns <= set(text.splitlines()[0].split(","))
    assert [row["epoch"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4]
    pytest.importorskip("tensorboard")
    trained(train.Config(**TINY | {"epochs": 1, "logger": "tensorboard"}), photos, tmp_path / "board")
    assert list((tmp_path / "board" / "tensorboard").rglob("events.out.tfevents*"))


def test_without_a_folder_nothing_is_written(tmp_path, photos, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, rows = trained(train.Config(**TINY | {"logger": "csv"}), photos)
    assert len(rows) == 3 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "flags",
    [
        {"optimizer": "adam", "lr": 0.002, "schedule": "onecycle", "cutout": 3},
        {"net": "resnet", "depth": 9, "schedule": "step", "randaugment": 1, "randaugment_group": 16},
        {"net": "speednet", "side": 17, "optimizer": "muon", "fixed_norm": True, "whiten_epochs": 1.0, "tta": 2},
        {"schedule": "cosine", "label_smoothing": 0.1, "mixup": 0.2, "flip": "none", "norm": False, "lr": 0.02},
    ],
    ids=["adam", "resnet", "speednet", "mixup"],
)
def test_recipes_learn(tiny, flags, device):
    """A few steps on patterns that are easy to tell apart: the loss falls."""
    depth = 6 if flags.get("net") == "speednet" else 3
    cfg = train.Config(**TINY | {"epochs": 4, "depth": depth, "device": device} | flags)
    images = photographs.load(str(tiny), cfg.side)
    module = train.build(cfg, images)
    chosen = train.choose_device(cfg)
    rows = train.fit(cfg, images, module, chosen)
    scores, logits = train.test(cfg, images, images.test, module, chosen)
    right = logits.argmax(dim=1) == torch.from_numpy(images.test.labels)
    assert scores["accuracy"] == pytest.approx(right.float().mean().item())
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    if cfg.net == "speednet":
        assert not module.net.whiten.bias.requires_grad, "after its epochs nobody computes its gradient any more"


def test_bf16_trains(photos):
    """On any CPU, if slowly; choose_device asks for it only where it is fast."""
    cfg = train.Config(**TINY | {"epochs": 2, "precision": "bf16"})
    module = train.build(cfg, photos)
    rows = train.fit(cfg, photos, module, replace(CPU, dtype="bfloat16"))
    exact, _ = trained(cfg, photos)
    assert np.isfinite(rows[-1]["val_loss"]) and weights(module.net).dtype == torch.float32
    assert not torch.equal(weights(module.net), weights(exact.net)), "it was computed in another number format"


# ---------------------------------------------------------------- the programs


@pytest.fixture(scope="module")
def sample_run(tmp_path_factory):
    """The folder of a smoke run on the bundled photographs, and what it printed nowhere."""
    run = tmp_path_factory.mktemp("sample") / "run"
    train.main(config("--preset", "smoke", "--out", run))
    return run


def test_a_smoke_run_beats_its_baselines_and_leaves_everything_it_should(sample_run):
    assert {path.name for path in sample_run.iterdir()} == {
        "config.json", "metrics.jsonl", "result.json", "model.safetensors", "checkpoint.safetensors",
        "baselines.safetensors", "curves.png", "csv",
    }  # fmt: skip
    with Image.open(sample_run / "curves.png") as image:
        assert image.format == "PNG" and min(image.size) > 200
    result, rows = read_json(sample_run / "result.json"), read_metrics(sample_run / "metrics.jsonl")
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 31), (2, 62)]
    assert all(row.keys() == {"epoch", "step", "train_loss", "val_loss", "val_accuracy", "seconds"} for row in rows)
    assert (result["week"], result["data"], result["device"], result["dtype"]) == (4, "sample", "cpu", "float32")
    assert result["metrics"].keys() == {"val_accuracy", "last_val_accuracy", "last_val_loss"}
    baseline = result["baseline"]
    assert (baseline["name"], baseline["plain"]["name"]) == ("logistic regression", "week 2's plain loop")
    assert baseline["params"] == 3072 * 10 + 10
    assert result["versions"].keys() >= {"numpy", "torch", "lightning"}
    assert result["metrics"]["val_accuracy"] > max(baseline["val_accuracy"], baseline["plain"]["val_accuracy"]) + 0.05
    assert baseline["val_accuracy"] > 0.25, "a baseline that is badly trained proves nothing"


def test_eval_adds_the_test_figures_and_agrees_with_an_independent_count(sample_run, tmp_path, capfd):
    run = Path(shutil.copytree(sample_run, tmp_path / "copy"))
    scores = evaluation.main(evaluation.Config(run=str(run)))
    out, err = capfd.readouterr()
    assert err == "" and "week 2's plain loop" in out
    saved = read_json(run / "result.json")
    assert saved["metrics"] == scores["metrics"]
    trained_one, test = train.load_model(run), photographs.load("sample").test
    images, labels = photographs.tensors(test)
    with torch.no_grad():
        right = (trained_one.model.predict(images).argmax(dim=1) == labels).float().mean().item()
    assert saved["metrics"]["test_accuracy"] == pytest.approx(right)
    assert saved["metrics"]["test_accuracy"] > saved["baseline"]["test_accuracy"] + 0.05
    assert saved["metrics"]["test_accuracy"] > saved["baseline"]["plain"]["test_accuracy"] + 0.05
    assert sum(map(sum, scores["confusion"])) == len(test)
    assert (run / "confusion.png").is_file() and (run / "mistakes.png").is_file()

    before = (run / "result.json").read_bytes()
    other = evaluation.main(evaluation.Config(run=str(run), tta=0, out=str(tmp_path / "other")))
    assert other["metrics"]["test_loss"] != saved["metrics"]["test_loss"]
    assert (run / "result.json").read_bytes() == before and not (tmp_path / "other" / "result.json").exists()


def test_eval_refuses_what_it_cannot_score(sample_run, tmp_path):
    assert refused(evaluation.main, evaluation.Config(run=str(sample_run), tta=3)) == (
        "--tta 3: must be 0, 1 or 2, or -1 for the run's own."
    )
    run = Path(shutil.copytree(sample_run, tmp_path / "copy"))
    (run / "result.json").unlink()
    assert refused(evaluation.main, evaluation.Config(run=str(run))) == (
        f"{run} has not been trained to its end: `./course train 4 --out {run} --resume` goes on."
    )
    saved = checkpoint.load(run / "model.safetensors", "pt")
    checkpoint.save(run / "model.safetensors", saved | {"week": 2})
    assert refused(evaluation.main, evaluation.Config(run=str(run))) == (
        f"{run / 'model.safetensors'} is not a network of week 4. Give --run a folder of runs/week04."
    )
    broken = saved | {"config": saved["config"] | {"width": 9}}
    checkpoint.save(run / "model.safetensors", broken)
    assert "does not hold the network that it describes" in refused(evaluation.main, evaluation.Config(run=str(run)))


def test_repeat_trains_and_scores_every_seed(tmp_path, tiny, no_pictures, capfd):
    flags = {**TINY, "plain_epochs": 0, "epochs": 1, "data": str(tiny), "out": str(tmp_path / "out")}
    summary = repeat.main(repeat.Config(**flags, seed=5, seeds=2))
    assert capfd.readouterr().err == ""
    assert list(summary) == ["this network", "logistic regression"]
    for seed in (5, 6):
        result = read_json(tmp_path / "out" / f"seed{seed}" / "result.json")
        assert result["seed"] == seed and result["metrics"]["test_accuracy"] >= 0


def test_resume_refuses_what_does_not_fit(sample_run, tmp_path):
    main = lambda cfg: train.main(cfg)  # noqa: E731
    assert refused(main, config("--resume", "--out", sample_run)) == (
        f"{sample_run} has already finished: start a new run."
    )
    assert refused(main, config("--resume", "--out", sample_run, "--lr", "0.3")) == (
        f"{sample_run} was started with --lr {train.PRESETS['smoke']['lr']}: leave --lr out, or start a new run."
    )
    run = Path(shutil.copytree(sample_run, tmp_path / "copy"))
    (run / "result.json").unlink()
    saved = checkpoint.load(run / "checkpoint.safetensors", "pt")
    checkpoint.save(run / "checkpoint.safetensors", saved | {"week": 2})
    assert refused(main, config("--resume", "--out", run)) == (
        f"{run / 'checkpoint.safetensors'} is not of week 4. Give --out a folder of runs/week04."
    )


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"net": "vgg"}, "--net vgg: choose one of convnet, resnet, speednet."),
        ({"optimizer": "lion"}, "--optimizer lion: choose one of sgd, adam, adamw, muon."),
        ({"schedule": "poly"}, "--schedule poly: choose one of constant, step, cosine, onecycle, linear."),
        ({"flip": "yes"}, "--flip yes: choose one of random, alternating, none."),
        ({"average": "mean"}, "--average mean: choose one of none, ema, swa."),
        ({"precision": "int8"}, "--precision int8: choose one of auto, fp32, bf16, fp16."),
        ({"strategy": "fsdp"}, "--strategy fsdp: choose one of auto, ddp."),
        ({"logger": "wandb"}, "--logger wandb: choose one of csv, tensorboard, both, none."),
        ({"lr": 0.0}, "--lr 0.0: must be a number above 0."),
        ({"lr": float("nan")}, "--lr nan: must be a number above 0."),
        ({"batch_size": 0}, "--batch-size 0: must be at least 1."),
        ({"epochs": 0}, "--epochs 0: must be at least 1."),
        ({"warmup": 1.0}, "--warmup 1.0: must be from 0 to below 1."),
        ({"crop": 32}, "--crop 32: must be from 0 to below --side."),
        ({"cutout": 33}, "--cutout 33: must be from 0 to --side."),
        ({"mixup": -1.0}, "--mixup -1.0: must be 0 or more."),
        ({"randaugment": 15}, "--randaugment 15: must be from 0 to 14."),
        ({"label_smoothing": 1.0}, "--label-smoothing 1.0: must be from 0 to below 1."),
        ({"swa_share": 0.0}, "--swa-share 0.0: must be above 0, at most 1."),
        ({"tta": 3}, "--tta 3: must be 0, 1 or 2."),
        ({"devices": 0}, "--devices 0: must be at least 1."),
        ({"devices": 3}, "--batch-size 64: cannot be shared equally by 3 devices."),
        ({"precision": "fp16", "device": "cpu"}, "--precision fp16: is for GPUs; here it is cpu. Leave it at auto."),
        ({"net": "resnet"}, "--depth 6: a residual network has 9 or 18 layers."),
    ],
)  # fmt: skip
def test_values_that_cannot_work(flags, line):
    assert refused(train.main, train.Config(**flags)) == line


def test_tensorboard_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(train, "find_spec", lambda name: None)
    line = "--logger both: the package is not installed; pip install tensorboard."
    assert refused(train.main, train.Config(logger="both")) == line


def test_presets_are_valid():
    for name in train.PRESETS:
        train.check(config("--preset", name))


@pytest.mark.parametrize(("fast", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_bf16_on_a_cpu_only_where_the_hardware_multiplies_it(monkeypatch, fast, dtype):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: fast)
    device = train.choose_device(train.Config(device="cpu", precision="bf16"))
    assert (device.name, device.dtype) == ("cpu", dtype)
    assert ("multiplies bf16 in hardware" if fast else "has no fast bf16, so fp32") in device.reason
    assert train.choose_device(train.Config(device="cpu")).dtype == "float32", "auto stays where numbers repeat"


def test_a_loss_that_is_no_number_ends_the_run_in_one_line(tmp_path, photos):
    cfg = train.Config(**TINY | {"lr": 1e30, "norm": False})
    with pytest.raises(callbacks.Diverged) as caught:
        trained(cfg, photos, tmp_path)
    line = str(caught.value)
    assert line.startswith("the loss became nan at step ") and line.endswith("too large. Try --lr 1e+29.")


def test_a_training_step_that_returns_nothing_is_told(photos, monkeypatch):
    monkeypatch.setattr(Classifier, "training_step", lambda self, batch, number: None)
    with pytest.raises(CourseError, match=r"^training_step returned nothing: return the batch's loss\.$"):
        trained(train.Config(**TINY), photos)


def test_help_does_not_wait_for_lightning():
    code = "import sys; from week04_lightning import eval, train; print('lightning' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, encoding="utf-8")
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_metrics_are_json_without_surprises(sample_run):
    for line in (sample_run / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        assert all(isinstance(value, int | float) for value in json.loads(line).values())
