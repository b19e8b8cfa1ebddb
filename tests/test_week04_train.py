"""Week 4's programs from end to end: the same numbers as week 2's loop, resume, several processes, averages, eval."""

import errno
import importlib
import os
import shutil
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from programs import Lazily, config, refused, refused_flags, rows

from shared import checkpoint, plots, repeat, runs
from shared.device import choose
from shared.errors import CourseError, Diverged, Stopped
from shared.files import read_json
from shared.progress import read_metrics
from week02_cnn import data as photographs
from week02_cnn import train as plain_loop
from week04_lightning import eval as evaluation
from week04_lightning import train
from week04_lightning.trained import load

batches, callbacks, networks = (Lazily(f"week04_lightning.{name}") for name in ("data", "callbacks", "model"))

CPU = choose("cpu")
TINY = {"side": 8, "depth": 3, "width": 4, "batch_size": 32, "epochs": 3, "logger": "none"}


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
    monkeypatch.setattr(plots, "curves", lambda *_: None)


def weights(module):
    """All numbers of a network in one vector, to compare."""
    return torch.cat([value.flatten().float() for value in module.state_dict().values()])


def trained(cfg, photos, folder=None, resume=False):
    """A Classifier after training, and its rows; what is kept of it goes to the folder."""
    cfg = replace(cfg, out=str(folder or ""), resume=resume)
    run = runs.begin(4, cfg, train.FREE) if folder else None
    module = train.build(cfg, photos)
    return module, train.fit(cfg, photos, module, CPU, run)


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
    module, found = trained(train.Config(**common, logger="none"), photos)
    assert [(row["epoch"], row["step"]) for row in found] == [(row["epoch"], row["step"]) for row in expected]
    for ours, theirs in zip(found, expected, strict=True):
        for name in ("train_loss", "val_loss", "val_accuracy"):
            assert ours[name] == pytest.approx(theirs[name], abs=1e-6), f"{name} of epoch {ours['epoch']}"
    assert torch.equal(weights(module.net), weights(plain))


def test_the_plain_preset_is_week_2s_recipe():
    ours, theirs = asdict(config(train, "--preset", "plain")), asdict(plain_loop.Config())
    same = ours.keys() & theirs.keys() - {"preset", "flip"}
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

    monkeypatch.setattr("week04_lightning.data.augmented", augmented)


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
    cfg = train.Config(**TINY | {"crop": 1, "early_stop": 3} | flags)
    whole, expected = trained(cfg, photos, tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupted_at(stop, patch)
        with pytest.raises(Stopped) as stopped:
            trained(cfg, photos, tmp_path / "half")
    assert str(stopped.value) == (
        f"stopped at step {stop} of 9; saved. `./course train 4 --out {tmp_path / 'half'} --resume` goes on."
    )
    torch.manual_seed(1234)  # what happens in between must not matter
    half, again = trained(cfg, photos, tmp_path / "half", resume=True)
    assert runs.without_seconds(again) == runs.without_seconds(expected) and len(expected) == 3
    assert torch.equal(weights(half.net), weights(whole.net))
    for file in ("checkpoint", "best"):
        ours, theirs = (checkpoint.load(tmp_path / run / f"{file}.safetensors") for run in ("half", "whole"))
        assert ours["global_step"] == theirs["global_step"] and ours["epoch"] == theirs["epoch"]
        for state in (ours, theirs):
            assert state["callbacks"]["Journal"].pop("seconds") > 0
            state["callbacks"]["Journal"]["rng"].pop("python")  # beartype, which checks the tests' types, draws from it
        for state in ("state_dict", "optimizer_states", "callbacks"):
            assert flat(ours[state]) == flat(theirs[state])


def test_a_run_whose_folder_was_moved_remembers_which_epoch_was_best(tmp_path, photos, monkeypatch):
    seen = fixed_accuracies(monkeypatch, [0.9, 0.5, 0.7])
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        interrupted_at(5, patch)
        trained(train.Config(**TINY), photos, tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    trained(train.Config(**TINY), photos, tmp_path / "b", resume=True)
    assert [path.name for path in tmp_path.glob("[!.]*")] == ["b"] and len(seen) == 3
    best = checkpoint.load(tmp_path / "b" / "best.safetensors")
    net = {name.removeprefix("net."): value for name, value in best["state_dict"].items() if name.startswith("net.")}
    assert torch.equal(torch.cat([value.flatten().float() for value in net.values()]), seen[0])


@pytest.mark.parametrize("moment", ["baselines", "first step"])
def test_a_run_that_was_stopped_before_its_first_state_begins_anew(tmp_path, tiny, monkeypatch, no_pictures, moment):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in (TINY | {"epochs": 1}).items()]
    cfg = config(train, "--preset", "plain", *flags, "--data", tiny, "--out", tmp_path / "run")

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises((Stopped, KeyboardInterrupt)):
        patch.setattr(plain_loop if moment == "baselines" else train, "fit", stop)
        train.main(cfg)
    train.main(config(train, "--resume", "--out", tmp_path / "run"))
    train.main(replace(cfg, out=str(tmp_path / "whole")))
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


def test_what_a_resume_may_change(tmp_path, photos, monkeypatch):
    cfg = train.Config(**TINY)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        interrupted_at(2, patch)
        trained(cfg, photos, tmp_path / "run")
    changed = {"device": "cpu", "strategy": "auto", "devices": 1, "logger": "csv", "threads": 1}
    assert changed.keys() == set(train.FREE)
    _, found = trained(replace(cfg, **changed), photos, tmp_path / "run", resume=True)
    assert len(found) == 3 and read_json(tmp_path / "run" / "config.json").items() >= changed.items()
    with pytest.raises(CourseError, match=r" was started with --epochs 3: leave --epochs out, or start a new run\.$"):
        trained(replace(cfg, epochs=9), photos, tmp_path / "run", resume=True)


def flat(state):
    """A nested state as something that can be compared."""
    if isinstance(state, torch.Tensor | np.ndarray):
        return np.asarray(state).tobytes()
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
    assert kinds == {".safetensors", ".json", ".jsonl", ".csv"}


# ---------------------------------------------------------------- several processes


@pytest.mark.skipif(not hasattr(os, "fork") or torch.cuda.is_available(), reason="needs a fork, and no GPU in it")
def test_two_processes_take_the_steps_of_one(tmp_path, photos, monkeypatch):
    """Two gloo processes with half a batch each: the same losses and weights as one process with the whole batch.

    Forked here, because a process that is spawned imports everything anew. Without batch norm, whose statistics are
    those of a process's own images.
    """
    cfg = train.Config(**TINY | {"norm": False, "lr": 0.02, "crop": 1, "flip": "alternating", "epochs": 2})
    one, expected = trained(cfg, photos, tmp_path / "one")
    monkeypatch.setattr(train, "SPAWN", "ddp_fork")
    two, shared = trained(replace(cfg, devices=2, strategy="ddp"), photos, tmp_path / "two")
    torch.testing.assert_close(weights(two.net), weights(one.net), rtol=1e-5, atol=1e-6)
    assert [row["step"] for row in shared] == [row["step"] for row in expected] == [3, 6]
    for ours, theirs in zip(shared, expected, strict=True):
        for name in ("train_loss", "val_loss"):
            assert ours[name] == pytest.approx(theirs[name], abs=1e-5)
    started = train.build(cfg, photos)
    assert (weights(two.net) - weights(started.net)).abs().max() > 1e-3, "it has learned"


def test_what_another_process_ended_with_is_told_in_one_line():
    sent = "\n\n-- Process 1 terminated with the following error:\nTraceback (most recent call last):\n  File …\n"
    stopped = train.told_by(RuntimeError(f"{sent}shared.errors.Stopped: stopped at step 3 of 9; saved.\n"))
    assert isinstance(stopped, Stopped) and str(stopped) == "stopped at step 3 of 9; saved."
    diverged = train.told_by(RuntimeError(f"{sent}shared.errors.Diverged: the loss became nan: too large"))
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

    monkeypatch.setattr(networks.Classifier, "measure", measure)
    return seen


@pytest.mark.parametrize("average", ["none", "ema", "swa"])
def test_the_network_that_was_best_on_val_is_kept(tmp_path, tiny, monkeypatch, no_pictures, average, capfd):
    """Also with an average: the one that was validated, not the weights it is made of."""
    seen = fixed_accuracies(monkeypatch, [0.5, 0.9, 0.7])
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    about = ("--preset", "plain", "--data", tiny, "--out", tmp_path, "--average", average, "--swa-share", 0.7)
    cfg = config(train, *about, *flags)
    result = train.main(cfg)
    assert (result["metrics"]["val_accuracy"], result["metrics"]["last_val_accuracy"]) == pytest.approx((0.9, 0.7))
    assert torch.equal(weights(load(tmp_path).model.net), seen[1])
    assert not (tmp_path / "best.safetensors").exists()
    last = checkpoint.load(tmp_path / "checkpoint.safetensors")
    raw = last.get("current_model_state", last["state_dict"])
    raw = torch.cat([value.flatten().float() for name, value in raw.items() if name.startswith("net.")])
    assert torch.equal(raw, seen[2]) == (average == "none"), "the training goes on beside the average"
    out, err = capfd.readouterr()
    assert "\n(the weights of the best epoch on val, 2, are kept)\n" in out and err == ""


def test_early_stopping_waits_so_many_epochs(photos, monkeypatch):
    fixed_accuracies(monkeypatch, [0.5, 0.6, 0.6, 0.55, 0.9, 0.9])
    _, found = trained(train.Config(**TINY | {"epochs": 6, "early_stop": 2}), photos)
    assert [round(row["val_accuracy"], 2) for row in found] == [0.5, 0.6, 0.6, 0.55]


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
    trained(train.Config(**TINY | {"epochs": 4, "logger": "csv"}), photos, tmp_path / "csv only")
    text = (tmp_path / "csv only" / "csv" / "version_0" / "metrics.csv").read_text(encoding="utf-8")
    columns = {"epoch", "step", "train_loss", "val_loss", "val_accuracy", "lr-SGD/filters", "lr-SGD/head"}
    assert columns <= set(text.splitlines()[0].split(","))
    assert [row["epoch"] for row in read_metrics(tmp_path / "csv only" / "metrics.jsonl")] == [1, 2, 3, 4]
    pytest.importorskip("tensorboard")
    trained(train.Config(**TINY | {"epochs": 1, "logger": "tensorboard"}), photos, tmp_path / "board")
    assert list((tmp_path / "board" / "tensorboard").rglob("events.out.tfevents*"))


def test_without_a_folder_nothing_is_written(tmp_path, photos, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, found = trained(train.Config(**TINY | {"logger": "csv"}), photos)
    assert len(found) == 3 and list(tmp_path.iterdir()) == []


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
    found = train.fit(cfg, images, module, chosen)
    scores, logits = train.test(cfg, images, images.test, module, chosen)
    right = logits.argmax(dim=1) == torch.from_numpy(images.test.labels)
    assert scores["accuracy"] == pytest.approx(right.float().mean().item())
    assert found[-1]["train_loss"] < found[0]["train_loss"]
    if cfg.net == "speednet":
        assert not module.net.whiten.bias.requires_grad, "after its epochs nobody computes its gradient any more"


def test_bf16_trains(photos):
    """On any CPU, if slowly; choose_device asks for it only where it is fast."""
    cfg = train.Config(**TINY | {"epochs": 2, "precision": "bf16"})
    module = train.build(cfg, photos)
    found = train.fit(cfg, photos, module, replace(CPU, dtype="bfloat16"))
    exact, _ = trained(cfg, photos)
    assert np.isfinite(found[-1]["val_loss"]) and weights(module.net).dtype == torch.float32
    assert not torch.equal(weights(module.net), weights(exact.net)), "it was computed in another number format"


# ---------------------------------------------------------------- the programs


@pytest.fixture(scope="module")
def sample_run(tmp_path_factory):
    """The folder of a smoke run on the bundled photographs. Tests read it, or change a copy."""
    run = tmp_path_factory.mktemp("sample") / "run"
    train.main(config(train, "--preset", "smoke", "--out", run))
    return run


def test_a_smoke_run_beats_its_baselines(sample_run):
    result, found = read_json(sample_run / "result.json"), rows(sample_run)
    assert [(row["epoch"], row["step"]) for row in found] == [(1, 31), (2, 62)]
    assert all(isinstance(value, int | float) for row in found for value in row.values())
    assert (result["data"], result["device"], result["dtype"]) == ("sample", "cpu", "float32")
    assert result["metrics"].keys() == {"val_accuracy", "last_val_accuracy", "last_val_loss"}
    assert result["versions"].keys() >= {"numpy", "torch", "lightning"}
    assert (sample_run / "csv").is_dir(), "Lightning's logger"
    plain, logistic, constant = result["baselines"]
    assert [row["name"] for row in result["baselines"]] == [
        "week 2's plain loop", "logistic regression", "always the same answer",
    ]  # fmt: skip
    assert logistic["params"] == 3072 * 10 + 10 and constant["val_accuracy"] == 0.1
    assert result["metrics"]["val_accuracy"] > plain["val_accuracy"] + 0.05
    assert plain["val_accuracy"] > logistic["val_accuracy"] > 0.35, "a baseline that is badly trained proves nothing"


def test_the_plain_loop_beside_it_is_week_2s(tiny, photos):
    cfg = train.Config(**TINY, seed=3, plain_epochs=2)
    kept = train.train_baselines(cfg, photos, CPU)
    theirs = plain_loop.Config(seed=3, side=8, epochs=2)
    net = plain_loop.build(theirs, 3, 8)
    best, states = 0.0, []
    for row in plain_loop.fit(theirs, photos, net, CPU):
        states.append((row["val_accuracy"], weights(net)))
    best = max(states, key=lambda state: state[0])
    assert kept["rows"][0]["val_accuracy"] == best[0]
    model = train.baseline_net(train.PLAIN, kept["models"][train.PLAIN]["config"], 3, 8)
    model.load_state_dict(kept["models"][train.PLAIN]["model"])
    assert torch.equal(weights(model), best[1]), "the best epoch on val"


def test_eval_agrees_with_an_independent_count(sample_run, tmp_path, monkeypatch, capfd):
    run = Path(shutil.copytree(sample_run, tmp_path / "copy"))
    scores = evaluation.main(evaluation.Config(run=str(run)))
    out, err = capfd.readouterr()
    assert err == "" and "week 2's plain loop" in out
    saved = read_json(run / "result.json")
    assert saved["metrics"] == scores["metrics"]
    model, test = load(run).model, photographs.load("sample").test
    images, labels = photographs.tensors(test)
    with torch.no_grad():
        mirrored, plain = (
            (outputs.argmax(dim=1) == labels).float().mean().item()
            for outputs in (model.predict(images), model(images))
        )
    assert saved["metrics"]["test_accuracy"] == pytest.approx(mirrored)
    for row in saved["baselines"]:
        assert saved["metrics"]["test_accuracy"] > row["test_accuracy"] + 0.05, row["name"]
    assert sum(map(sum, scores["confusion"])) == len(test)
    assert (run / "confusion.png").is_file() and (run / "mistakes.png").is_file()

    for name in ("confusion", "mistakes"):
        monkeypatch.setattr(plots, name, lambda *_: None)
    before = (run / "result.json").read_bytes()
    other = evaluation.main(evaluation.Config(run=str(run), tta=0, out=str(tmp_path / "other")))
    assert other["metrics"]["test_accuracy"] == pytest.approx(plain) != pytest.approx(mirrored)
    assert (run / "result.json").read_bytes() == before and not (tmp_path / "other" / "result.json").exists()


def test_eval_refuses_what_it_cannot_score(sample_run, tmp_path):
    assert refused_flags(evaluation, "--tta", 3) == "--tta 3: must be one of -1, 0, 1, 2."
    run = Path(shutil.copytree(sample_run, tmp_path / "copy"))
    saved = checkpoint.load(run / "model.safetensors")
    checkpoint.save(run / "model.safetensors", saved | {"week": 2})
    assert refused(evaluation.main, evaluation.Config(run=str(run))) == (
        f"{run / 'model.safetensors'} is not a network of week 4. Give --run a folder of runs/week04."
    )
    broken = saved | {"config": saved["config"] | {"width": 9}}
    checkpoint.save(run / "model.safetensors", broken)
    assert "does not hold the network that it describes" in refused(evaluation.main, evaluation.Config(run=str(run)))


def test_repeat_trains_and_scores_every_seed(tmp_path, tiny, no_pictures, capfd):
    flags = {**TINY, "plain_epochs": 0, "epochs": 1, "data": str(tiny), "out": str(tmp_path / "out")}
    summary = repeat.several(train, evaluation, repeat.config_of(train)(**flags, seed=5, seeds=2))
    assert capfd.readouterr().err == ""
    assert list(summary) == ["this network", "logistic regression", "always the same answer", "run"]
    for seed in (5, 6):
        result = read_json(tmp_path / "out" / f"seed{seed}" / "result.json")
        assert result["seed"] == seed and result["metrics"]["test_accuracy"] >= 0


def test_resume_refuses_what_has_finished_and_the_state_of_another_week(sample_run, tmp_path):
    before = (sample_run / "config.json").read_bytes()
    assert refused(train.main, config(train, "--resume", "--out", sample_run, "--threads", 1)) == (
        f"{sample_run} has already finished: start a new run."
    )
    assert (sample_run / "config.json").read_bytes() == before
    run = Path(shutil.copytree(sample_run, tmp_path / "copy"))
    (run / "result.json").unlink()
    saved = checkpoint.load(run / "checkpoint.safetensors")
    checkpoint.save(run / "checkpoint.safetensors", saved | {"week": 2})
    assert refused(train.main, config(train, "--resume", "--out", run)) == (
        f"{run / 'checkpoint.safetensors'} is not of week 4. Give --out a folder of runs/week04."
    )


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--net", "vgg"], "--net vgg: must be one of convnet, resnet, speednet."),
        (["--optimizer", "lion"], "--optimizer lion: must be one of sgd, adam, adamw, muon."),
        (["--schedule", "poly"], "--schedule poly: must be one of constant, step, cosine, onecycle, linear."),
        (["--flip", "yes"], "--flip yes: must be one of random, alternating, none."),
        (["--average", "mean"], "--average mean: must be one of none, ema, swa."),
        (["--precision", "int8"], "--precision int8: must be one of auto, fp32, bf16, fp16."),
        (["--strategy", "fsdp"], "--strategy fsdp: must be one of auto, ddp."),
        (["--logger", "wandb"], "--logger wandb: must be one of csv, tensorboard, both, none."),
        (["--depth", 2], "--depth 2: must be at least 3."),
        (["--head-lr", -1], "--head-lr -1: must be 0 or more."),
        (["--warmup", 1], "--warmup 1: must be from 0 to below 1."),
        (["--mixup", -1], "--mixup -1: must be 0 or more."),
        (["--muon-steps", 21], "--muon-steps 21: must be from 1 to 20."),
        (["--randaugment", 15], "--randaugment 15: must be from 0 to 14."),
        (["--label-smoothing", 1], "--label-smoothing 1: must be from 0 to below 1."),
        (["--swa-share", 0], "--swa-share 0: must be above 0, at most 1."),
        (["--tta", 3], "--tta 3: must be one of 0, 1, 2."),
        (["--devices", 0], "--devices 0: must be at least 1."),
    ],
)
def test_bad_flags(flags, line):
    assert refused_flags(train, *flags) == line


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"crop": 32}, "--crop 32: must be below --side, 32."),
        ({"cutout": 33}, "--cutout 33: must be at most --side, 32."),
        ({"devices": 3}, "--batch-size 64: cannot be shared equally by 3 devices."),
        ({"precision": "fp16", "device": "cpu"}, "--precision fp16: is for GPUs; here it is cpu. Leave it at auto."),
        ({"net": "resnet"}, "--depth 6: a residual network has 9 or 18 layers."),
        (
            {"head_lr": 84.0},
            "--net convnet: the preset's --head-lr 84 is for a speednet, whose logits are divided. "
            "Add --preset plain and choose from there, or --head-lr 0 --bias-lr 0 and another --lr.",
        ),
    ],
)
def test_flags_that_cannot_go_together(flags, line):
    assert refused(train.main, train.Config(**flags)) == line


def test_tensorboard_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(train, "find_spec", lambda name: None)
    line = "--logger both: the package is not installed; pip install tensorboard."
    assert refused(train.main, train.Config(logger="both")) == line


def test_presets_are_valid():
    for name in train.PRESETS:
        train.check(config(train, "--preset", name))


@pytest.mark.parametrize(("fast", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_bf16_on_a_cpu_only_where_the_hardware_multiplies_it(monkeypatch, fast, dtype):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: fast)
    device = train.choose_device(train.Config(device="cpu", precision="bf16"))
    assert (device.name, device.dtype) == ("cpu", dtype)
    assert ("multiplies bf16 in hardware" if fast else "has no fast bf16, so fp32") in device.reason
    assert train.choose_device(train.Config(device="cpu")).dtype == "float32", "auto stays where numbers repeat"


def test_a_loss_that_is_no_number_ends_the_run_in_one_line(tmp_path, photos):
    cfg = train.Config(**TINY | {"lr": 1e30, "norm": False})
    with pytest.raises(Diverged) as caught:
        trained(cfg, photos, tmp_path)
    line = str(caught.value)
    assert line.startswith("the loss became nan at step ") and line.endswith("too large. Try --lr 1e+29.")


def test_a_training_step_that_returns_nothing_is_told(photos, monkeypatch):
    monkeypatch.setattr(networks.Classifier, "training_step", lambda self, batch, number: None)
    with pytest.raises(CourseError, match=r"^training_step returned nothing: return the batch's loss\.$"):
        trained(train.Config(**TINY), photos)


def test_it_has_learned_nothing(tmp_path, tiny, monkeypatch, no_pictures, capfd):
    fixed_accuracies(monkeypatch, [1 / 3, 0.3, 0.3])
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    train.main(config(train, "--preset", "plain", "--data", tiny, "--out", tmp_path, *flags))
    told = capfd.readouterr().out
    assert "it has learned nothing: val accuracy 33.33%, always the same answer has 33.33%. Try another --lr " in told


def test_help_does_not_wait_for_lightning(monkeypatch, capfd):
    """All programs are imported anew, where there is no Lightning."""
    for name in [name for name in sys.modules if name.startswith("week04_lightning")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lightning", None)
    for program in ("train", "eval", "ablate", "bench", "lr_finder", "figures"):
        module = importlib.import_module(f"week04_lightning.{program}")
        with pytest.raises(SystemExit) as ended:
            config(module, "--help")
        out, err = capfd.readouterr()
        assert ended.value.code == 0 and "--device" in out and err == ""


@pytest.mark.parametrize("logger", ["csv", "tensorboard"])
def test_a_disk_that_is_full_when_a_logger_writes_is_one_line(tmp_path, photos, monkeypatch, logger):
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(CSVLogger if logger == "csv" else TensorBoardLogger, "save", full)
    line = f"cannot write {tmp_path}: No space left on device. Free some space; then --resume goes on."
    assert refused(trained, train.Config(**TINY | {"logger": logger}), photos, tmp_path) == line
    assert checkpoint.load(tmp_path / "checkpoint.safetensors")["week"] == 4
