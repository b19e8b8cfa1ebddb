"""Week 2's programs from end to end: train, eval, resume, predict, and what each says to bad input."""

import copy
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from programs import assert_picture, close, config, refused, refused_flags, rows, tensors
from torch.optim.optimizer import register_optimizer_step_pre_hook

from shared import checkpoint, plots, runs
from shared.device import Device
from shared.files import read_json, write_json
from week02_cnn import baselines, data, invariance, predict, train
from week02_cnn import eval as evaluation
from week02_cnn.model import count_parameters, flops
from week02_cnn.trained import load

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")  # they would print on stderr

CPU = Device("cpu", "float32", "for the tests")


def patterns(count, seed=0, classes=3, side=8):
    """Noisy images of `classes` patterns: (count, side, side, 3) uint8 and labels. A network learns them at once."""
    drawn = np.random.default_rng(99).integers(0, 2, (classes, side, side, 3)) * 150
    drawn[:, :, side // 2 :] = drawn[:, :, : side // 2][:, :, ::-1]  # the same in a mirror
    rng, labels = np.random.default_rng(seed), np.arange(count) % classes
    return (drawn[labels] + rng.integers(0, 105, (count, side, side, 3))).astype(np.uint8), labels


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The path of a small data set: 144 images to train on, 18 to validate, 18 to test, 8 x 8, three classes."""
    path = tmp_path_factory.mktemp("tiny") / "own.npz"
    images, labels = patterns(180)
    np.savez(path, images=images, labels=labels)
    return path


TINY = ("--side", 8, "--depth", 3, "--width", 4, "--batch-size", 16, "--epochs", 3, "--lr", 0.05)  # 9 steps an epoch


@pytest.fixture(scope="module")
def sample_run(tmp_path_factory):
    """The folder of a smoke run on the bundled photographs, scored. Tests read it, or change a copy."""
    run = tmp_path_factory.mktemp("sample") / "run"
    train.main(config(train, "--preset", "smoke", "--out", run))
    return run


@pytest.fixture
def run_copy(sample_run, tmp_path):
    return Path(shutil.copytree(sample_run, tmp_path / "copy"))


@pytest.fixture
def few_baselines(monkeypatch):
    """One step is enough for a baseline that no one looks at."""
    real = train.train_baselines
    monkeypatch.setattr(train, "train_baselines", lambda cfg, *rest: real(replace(cfg, max_steps=1), *rest))


@pytest.fixture
def no_pictures(monkeypatch):
    """For tests that train often and look at the numbers alone."""
    monkeypatch.setattr(plots, "curves", lambda *_: None)


fast = pytest.mark.usefixtures("few_baselines", "no_pictures")


# ---------------------------------------------------------------- exercise 6: one step of training


def little(count=48, batch=16, **changes):
    """A small data set, a small network on it, and how to train it: no shuffling that matters, no mirror."""
    images, labels = patterns(count)
    part = data.Part(images, labels)
    found = data.Data("tiny", ("a", "b", "c"), part, part, part)
    cfg = train.Config(side=8, depth=3, width=4, batch_size=batch, flip=False, norm=False, epochs=1, lr=0.05)
    return replace(cfg, **changes), found


def steps_by_hand(cfg, found, model, zero=True):
    """The weights after the steps of one epoch, straight from the definition of SGD with Nesterov's momentum."""
    photos, labels = data.tensors(found.train)
    mean, std = torch.from_numpy(found.mean), torch.from_numpy(found.std)
    order = np.random.default_rng([cfg.seed, 0]).permutation(len(labels))
    weights = list(model.parameters())
    velocity, steps = [torch.zeros_like(w) for w in weights], len(labels) // cfg.batch_size
    total = [torch.zeros_like(w) for w in weights]
    for step in range(steps):
        rows = torch.from_numpy(order[step * cfg.batch_size : (step + 1) * cfg.batch_size])
        loss = F.cross_entropy(model(data.normalise(photos[rows], mean, std)), labels[rows])
        gradients = torch.autograd.grad(loss, weights)
        lr = cfg.lr * train.learning_rate(step, steps, cfg.schedule)
        with torch.no_grad():
            for w, v, g, sum_ in zip(weights, velocity, gradients, total, strict=True):
                sum_ += g
                g = (g if zero else sum_) + cfg.weight_decay * w
                v.mul_(cfg.momentum).add_(g)
                w -= lr * (g + cfg.momentum * v)
    return weights


@pytest.mark.exercise(6)
def test_the_loss_is_the_cross_entropy_of_the_logits():
    cfg, found = little(count=16)
    model = train.build(cfg, 3, 8)
    photos, labels = data.tensors(found.train)
    with torch.no_grad():
        raw = model(data.normalise(photos, torch.from_numpy(found.mean), torch.from_numpy(found.std)))
    loss, twice = (F.cross_entropy(scores, labels).item() for scores in (raw, raw.softmax(1)))
    (row,) = train.fit(cfg, found, model, CPU)
    assert abs(row["train_loss"] - twice) > 1e-5, (
        f"the loss is {twice:.4f}, should be {loss:.4f}: cross_entropy wants logits, and takes the softmax itself"
    )
    close(row["train_loss"], loss, "the loss of the first step")


@pytest.mark.exercise(6)
def test_the_steps_are_those_of_the_definition():
    cfg, found = little()
    model = train.build(cfg, 3, 8)
    start, steps = copy.deepcopy(model), []
    counting = register_optimizer_step_pre_hook(lambda *_: steps.append(1))
    list(train.fit(cfg, found, model, CPU))
    counting.remove()
    count = len(steps)
    assert count <= 3, f"the optimizer makes {count} steps for 3 batches, should make 3: scaler.step(optimizer) is one"

    def same(weights):
        return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(model.parameters(), weights, strict=True))

    assert not same(start.parameters()), "the weights stay, should move: loss backward, then a step of the optimizer"
    assert not same(steps_by_hand(cfg, found, copy.deepcopy(start), zero=False)), (
        "the gradients of all steps add up, should be those of one step: optimizer.zero_grad() forgets the old ones"
    )
    for ours, (name, theirs) in zip(
        steps_by_hand(cfg, found, copy.deepcopy(start)), model.named_parameters(), strict=True
    ):
        close(theirs, ours, f"after three steps {name}")


@pytest.mark.exercise(6)
def test_one_batch_is_learned_by_heart():
    cfg, found = little(count=16, norm=True, epochs=40)
    *_, last = train.fit(cfg, found, train.build(cfg, 3, 8), CPU)
    assert last["step"] == 40
    loss = last["train_loss"]
    assert loss < 0.05, f"the loss of one batch, seen forty times, is {loss:.3f}, should be below 0.05"
    assert last["val_accuracy"] == 1.0


@pytest.mark.exercise(6)
def test_the_model_computes_in_the_devices_dtype():
    """bf16 is slow on most CPUs, but it is there: what the head puts out tells whether autocast was on."""
    cfg, found = little()
    model, seen = train.build(cfg, 3, 8), []
    model.head.register_forward_hook(lambda module, _, out: seen.append((module.training, out.dtype)))
    list(train.fit(cfg, found, model, Device("cpu", "bfloat16", "for the test")))
    (dtype,) = {dtype for training, dtype in seen if training}
    assert dtype == torch.bfloat16, (
        f"the logits are {dtype}, should be torch.bfloat16: run the model in autocast(device)"
    )
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters()), "the weights stay float32"


@pytest.mark.exercise(6)
def test_the_loss_passes_through_the_scaler(monkeypatch):
    """With fp16 the loss is multiplied before it goes backward; here only what is asked of the scaler is noted."""
    cfg, found = little(count=16)
    asked = []
    for name in ("scale", "step", "update"):
        real = getattr(torch.amp.GradScaler, name)
        monkeypatch.setattr(
            torch.amp.GradScaler,
            name,
            lambda self, *arguments, name=name, real=real: asked.append(name) or real(self, *arguments),
        )
    list(train.fit(cfg, found, train.build(cfg, 3, 8), CPU))
    assert asked == ["scale", "step", "update"], (
        f"the scaler is asked to {', '.join(asked) or 'do nothing'}, should be scale, step, update"
    )


# ---------------------------------------------------------------- training


def test_the_sample_at_smoke_size(sample_run):
    """What every run leaves, tests/test_contract.py looks at; here: real photographs, and what only this week has."""
    found = rows(sample_run)
    assert [(row["epoch"], row["step"]) for row in found] == [(1, 62), (2, 124), (3, 186)]
    assert found[0]["train_loss"] > found[1]["train_loss"] > found[2]["train_loss"] > 0
    result, net = read_json(sample_run / "result.json"), load(sample_run).model
    assert result["params"] == count_parameters(net) and result["flops"] == flops(net.config)
    mlp, logistic, constant = result["baselines"]
    assert (logistic["name"], logistic["params"]) == ("logistic regression", 3072 * 10 + 10)
    assert mlp["params"] >= result["params"] and constant["val_accuracy"] == 0.1
    assert torch.__version__.startswith(result["versions"]["torch"])
    assert result["metrics"]["last_val_loss"] == found[-1]["val_loss"]


def test_the_smoke_preset_beats_its_baselines(sample_run):
    result = read_json(sample_run / "result.json")
    ours = result["metrics"]["val_accuracy"]
    mlp, logistic, _ = (row["val_accuracy"] for row in result["baselines"])
    assert ours > max(mlp, logistic) + 0.03
    assert min(mlp, logistic) > 0.33, "a baseline that is badly trained proves nothing"


@fast
def test_training_works_on_the_device(device, tiny, tmp_path):
    result = train.main(config(train, *TINY, "--data", tiny, "--device", device, "--out", tmp_path / "run"))
    assert result["device"] == device
    assert result["metrics"]["val_accuracy"] > 0.8
    scores = evaluation.main(config(evaluation, "--run", tmp_path / "run", "--device", device))
    assert scores["metrics"]["test_accuracy"] > 0.8


@fast
@pytest.mark.parametrize(
    "flags",
    [
        ("--no-norm",), ("--pool", "avg"), ("--pool", "stride"), ("--dropout", 0.2), ("--no-flip",),
        ("--optimizer", "adamw", "--lr", 0.01), ("--schedule", "cosine"), ("--schedule", "constant"),
        ("--no-channels-last",), ("--threads", 1), ("--momentum", 0), ("--side", 11, "--depth", 5),
    ],
    ids=lambda flags: " ".join(map(str, flags)),
)  # fmt: skip
def test_every_flag_trains(tmp_path, tiny, flags, capfd):
    result = train.main(config(train, *TINY, "--epochs", 5, *flags, "--data", tiny, "--out", tmp_path / "run"))
    assert result["metrics"]["val_accuracy"] > 0.6, "three classes that a child would tell apart"
    assert capfd.readouterr().err == ""


@fast
def test_the_saved_network_is_the_best_one_on_val(tmp_path, tiny, monkeypatch, capfd):
    """With the accuracies 0.5, 0.9, 0.7 in three epochs it is the second epoch's network that is kept."""
    accuracies, heads = iter([0.5, 0.9, 0.7]), []
    real = train.evaluate

    def evaluate(model, *rest):
        if isinstance(model, baselines.MLP):
            return real(model, *rest)
        heads.append(model.head.weight.detach().clone())
        return real(model, *rest) | {"accuracy": next(accuracies)}

    monkeypatch.setattr(train, "evaluate", evaluate)
    result = train.main(config(train, *TINY, "--data", tiny, "--out", tmp_path / "run"))
    assert (result["metrics"]["val_accuracy"], result["metrics"]["last_val_accuracy"]) == (0.9, 0.7)
    assert "\n(the weights of the best epoch on val, 2, are kept)\n" in capfd.readouterr().out
    assert torch.equal(load(tmp_path / "run").model.head.weight, heads[1])


@fast
def test_the_seed_decides_everything(tmp_path, tiny):
    flags = (*TINY, "--data", tiny, "--dropout", 0.2)
    for number, seed in enumerate((0, 0, 1)):
        train.main(config(train, *flags, "--seed", seed, "--out", tmp_path / str(number)))
    first, again, other = (tensors(tmp_path / number / "checkpoint.safetensors") for number in "012")
    first, again, other = ({k: v for k, v in one.items() if "model." in k} for one in (first, again, other))
    assert first == again != other


@fast
def test_max_steps_and_fewer_images_than_a_batch(tmp_path):
    images, labels = patterns(12)
    np.savez(tmp_path / "few.npz", images=images, labels=labels)
    flags = (*TINY, "--batch-size", 64, "--data", tmp_path / "few.npz")
    result = train.main(config(train, *flags, "--max-steps", 2, "--out", tmp_path / "run"))
    assert math.isfinite(result["metrics"]["last_val_loss"])
    assert [row["step"] for row in rows(tmp_path / "run")] == [1, 2]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("linear", [0.4, 0.8, 0.9333, 0.8, 0.6667, 0.5333, 0.4, 0.2667, 0.1333]), ("constant", [1.0] * 9)],
)
def test_learning_rate_over_the_steps(schedule, expected):
    assert [round(train.learning_rate(step, 9, schedule), 4) for step in range(9)] == expected


def test_learning_rate_is_never_zero_however_short_the_training():
    for schedule in ("linear", "cosine", "constant"):
        for steps in (1, 2, 1000):
            rates = [train.learning_rate(step, steps, schedule) for step in range(steps)]
            assert min(rates) > 0 and max(rates) <= 1
    rates = [train.learning_rate(step, 1000, "cosine") for step in range(1000)]
    assert rates == sorted(rates, reverse=True) and rates[0] > 0.999 and rates[-1] < 0.001


def test_evaluate_is_mean_loss_and_share_of_right_answers():
    cfg, found = little(count=40, norm=True)
    model = train.build(cfg, 3, 8)
    whole = train.logits(model, found.val, found.mean, found.std, CPU)
    parts = train.logits(model, found.val, found.mean, found.std, CPU, size=7)
    assert torch.allclose(whole, parts, atol=1e-5), "in evaluation a batch's size must not matter"
    log_p = torch.log_softmax(whole, dim=1)[torch.arange(40), torch.from_numpy(found.val.labels)]
    scores = train.evaluate(model, found.val, found.mean, found.std, CPU)
    assert scores["loss"] == pytest.approx(-log_p.mean().item(), abs=1e-5)
    assert scores["accuracy"] == (whole.argmax(dim=1).numpy() == found.val.labels).mean()


@pytest.mark.parametrize("params", [120_000, 288_746, 2_000_000])
def test_the_mlp_has_as_many_parameters_as_the_network(params):
    net = baselines.MLP(32, baselines.hidden_sizes(baselines.MLP_NAME, params, 32, 10), 10)
    assert count_parameters(net) == pytest.approx(params, rel=0.01)


def test_the_mlp_of_a_small_network_is_no_caricature():
    """With 34,774 parameters it would have 11 neurons; it gets 32 and 16, and so is the larger one of the two."""
    assert baselines.hidden_sizes(baselines.MLP_NAME, 34_774, 32, 10) == (32, 16)
    assert baselines.hidden_sizes(baselines.LOGISTIC, 34_774, 32, 10) == ()


def test_logistic_regression_starts_with_no_opinion():
    net = baselines.MLP(8, (), 3)
    assert count_parameters(net) == 192 * 3 + 3
    assert net(torch.randn(2, 3, 8, 8)).tolist() == [[0.0] * 3] * 2


# ---------------------------------------------------------------- Ctrl-C and --resume


@fast
@pytest.mark.parametrize(
    "how",
    [
        ("--dropout", 0.3),
        ("--optimizer", "adamw", "--lr", 0.01, "--pool", "stride"),
        ("--momentum", 0, "--no-norm", "--schedule", "cosine", "--no-channels-last"),
    ],
    ids=["sgd, dropout", "adamw", "plain"],
)
def test_interrupted_and_continued_is_bit_for_bit_the_same(tmp_path, tiny, ctrl_c, how):
    whole, parts = tmp_path / "whole", tmp_path / "in parts"
    flags = (*TINY, "--data", tiny, *how)
    train.main(config(train, *flags, "--out", whole))
    ctrl_c(4)  # inside the first of three epochs of nine steps
    assert refused(train.main, config(train, *flags, "--out", parts)) == (
        f"stopped at step 4 of 27; saved. `./course train 2 --out '{parts}' --resume` goes on."
    )
    assert not (parts / "result.json").exists()
    torch.manual_seed(99)  # what else has been drawn meanwhile must not matter
    train.main(config(train, "--out", parts, "--resume"))
    assert rows(parts) == rows(whole)
    for file in ("checkpoint", "model", "baselines"):
        assert tensors(parts / f"{file}.safetensors") == tensors(whole / f"{file}.safetensors")


@fast
def test_more_epochs_and_another_rate_for_a_finished_run(tmp_path, tiny, ctrl_c):
    run = tmp_path / "run"
    train.main(config(train, *TINY, "--data", tiny, "--out", run))
    ctrl_c(12)
    more = ("--epochs", 5, "--lr", 0.02)
    assert "stopped at step 39 of 45" in refused(train.main, config(train, "--out", run, "--resume", *more))
    kept = config(train, "--out", run, "--resume")
    assert (kept.epochs, kept.lr) == (5, 0.02), "a second resume still knows of both"
    train.main(kept)
    assert [row["epoch"] for row in rows(run)] == [1, 2, 3, 4, 5]


@fast
def test_resume_of_the_newest_run_by_default(tmp_path, tiny, ctrl_c, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    ctrl_c(1)
    assert refused(train.main, config(train, *TINY, "--data", tiny)) == (
        "stopped at step 1 of 27; saved. `./course train 2 --resume` goes on."
    )
    assert train.main(config(train, "--resume"))["run"] == str(tmp_path / "runs" / "week02" / "001-quick")


@fast
def test_resume_as_another_network(tmp_path, tiny):
    run = tmp_path / "run"
    train.main(config(train, *TINY, "--data", tiny, "--out", run))
    for flag, other, value in (
        ("--width", 8, 4), ("--depth", 4, 3), ("--optimizer", "adamw", "sgd"), ("--momentum", 0.5, 0.9),
        ("--pool", "avg", "max"), ("--side", 16, 8), ("--weight-decay", 0.1, 0.001), ("--dropout", 0.5, 0),
    ):  # fmt: skip
        assert refused(train.main, config(train, "--out", run, "--resume", "--epochs", 9, flag, other)) == (
            f"{run} was started with {flag} {value}: leave {flag} out, or start a new run."
        )
    assert read_json(run / "config.json")["epochs"] == 3
    checkpoint.save(run / "checkpoint.safetensors", {"week": 1, "step": 3})
    assert refused(train.main, config(train, "--out", run, "--resume")) == (
        f"{run / 'checkpoint.safetensors'} is not of week 2. Give --out a folder of runs/week02."
    )


def test_a_class_without_images_is_refused_before_a_run_begins(tmp_path):
    images, labels = patterns(60)
    path, out = tmp_path / "gap.npz", tmp_path / "run"
    np.savez(path, images=images, labels=labels * 2)
    line = f"{path}: class 1 has no image to train on. Add some, or number the classes without gaps."
    assert refused(train.main, config(train, "--data", path, "--side", 8, "--out", out)) == line
    assert not out.exists()
    assert data.load(str(path), 8).classes == tuple("01234"), "to be scored on, it will do"


# ---------------------------------------------------------------- what train refuses


@fast
def test_a_learning_rate_that_is_too_large(tmp_path, tiny):
    flags = (*TINY, "--data", tiny, "--lr", "1e30", "--schedule", "constant", "--no-norm")
    line = refused(train.main, config(train, *flags, "--out", tmp_path / "run"))
    assert line.startswith("the loss became nan at step 2 (epoch 1): the steps are too large. ")
    assert line.endswith("Try --lr 0.01, or leave out --no-norm.")
    assert not (tmp_path / "run" / "result.json").exists()
    line = refused(train.main, config(train, *flags, "--max-steps", 1, "--out", tmp_path / "one"))
    assert line.startswith("the loss became nan at step 1 (epoch 1)"), "what the last step did shows on val alone"


@fast
def test_a_training_that_learns_nothing_says_so(tmp_path, tiny, capfd):
    train.main(config(train, *TINY, "--epochs", 1, "--data", tiny, "--lr", "1e-9", "--out", tmp_path / "run"))
    assert (
        "\nit has learned nothing: val accuracy 33.33%, always the same answer has 33.33%. "
        "Try another --lr, more --epochs.\n"
    ) in capfd.readouterr().out


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--depth", 2), "--depth 2: must be at least 3."),
        (("--pool", "min"), "--pool min: must be one of max, avg, stride."),
        (("--side", 4), "--side 4: must be from 8 to 1024."),
        (("--dropout", 1), "--dropout 1: must be from 0 to below 1."),
        (("--optimizer", "muon"), "--optimizer muon: must be one of sgd, adamw."),
        (("--schedule", "onecycle"), "--schedule onecycle: must be one of linear, cosine, constant."),
        (("--width", 0), "--width 0: must be at least 1."),
        (("--max-steps", -1), "--max-steps -1: must be 0 or more."),
        (("--momentum", 1), "--momentum 1: must be from 0 to below 1."),
        (("--weight-decay", -1e-4), "--weight-decay -0.0001: must be 0 or more."),
        (("--weight-decay", "inf"), "--weight-decay inf: must be a finite number."),
        (("--threads", -1), "--threads -1: must be 0 or more."),
        (("--norm=0",), "--norm=0: --norm is a switch and takes no value."),
        (("--no-norn",), "--no-norn: no such flag; did you mean --no-norm?"),
    ],
)
def test_flags_that_cannot_work(flags, line):
    assert refused_flags(train, *flags) == line


def test_help_shows_switches_with_their_opposite(capfd):
    with pytest.raises(SystemExit):
        config(train, "--help")
    assert "--norm, --no-norm" in capfd.readouterr().out


# ---------------------------------------------------------------- eval


def test_eval_adds_the_test_accuracy_to_the_result(run_copy, capfd):
    before = read_json(run_copy / "result.json")
    evaluated = evaluation.main(config(evaluation, "--run", run_copy))
    output, errors = capfd.readouterr()
    assert errors == ""
    test, trained = data.load("sample").test, load(run_copy)
    x = torch.from_numpy((test.images / 255 - trained.mean) / trained.std).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        thought = trained.model(x).argmax(dim=1).numpy()
        others = {name: net(x).argmax(dim=1).numpy() for name, net in trained.baselines().items()}

    after = read_json(run_copy / "result.json")
    right = (thought == test.labels).mean()
    assert after["metrics"].pop("test_accuracy") == evaluated["metrics"]["test_accuracy"] == right
    for row in after["baselines"][:2]:
        assert row.pop("test_accuracy") == (others[row["name"]] == test.labels).mean()
    assert after["baselines"][2].pop("test_accuracy") == 0.1
    assert after == before, "the rest of result.json stays"
    assert right > 0.4, "and it is not what chance would give"
    confusion = [[int(np.sum((test.labels == i) & (thought == j))) for j in range(10)] for i in range(10)]
    assert evaluated["confusion"] == confusion
    wrong = int(np.sum(thought != test.labels))
    assert f"sample (test): 1,000 images, {wrong} mistakes. Run: {run_copy}" in output
    cats = (
        f"cat              100 {confusion[3][3] / 100:8.1%} {confusion[3][3] / sum(row[3] for row in confusion):10.1%}"
    )
    assert cats in output
    for name in ("confusion.png", "mistakes.png"):
        assert_picture(run_copy / name)


WHY = "(The bundled sample is cut from CIFAR-10's test images.)"


def test_eval_on_images_that_it_knows_by_their_content(run_copy, tmp_path, capfd):
    sample = data.load("sample")
    before = (run_copy / "result.json").read_bytes()
    path, out = tmp_path / "own.npz", tmp_path / "out"
    np.savez(path, images=sample.val.images, labels=sample.val.labels)
    assert refused(evaluation.main, config(evaluation, "--run", run_copy, "--data", path)) == (
        f"--data {path}: this network was trained or chosen on all of these 1,000 images, so a score on them would say "
        f"nothing. {WHY}"
    )
    images, labels = (
        np.concatenate([getattr(part, field)[:count] for part, count in ((sample.test, 90), (sample.train, 10))])
        for field in ("images", "labels")
    )
    np.savez(path, images=images, labels=labels)
    found = evaluation.main(config(evaluation, "--run", run_copy, "--data", path, "--out", out))
    assert np.sum(found["confusion"]) == 90
    assert f"  left out 10 images that this network was trained or chosen on {WHY}\n" in capfd.readouterr().out
    assert (run_copy / "result.json").read_bytes() == before


def test_eval_on_images_of_ones_own(run_copy, tmp_path, capfd):
    """All of them are scored, and the run's own result stays what it was. Here: test photographs upside down."""
    test = data.load("sample").test
    path, out = tmp_path / "own.npz", tmp_path / "elsewhere"
    np.savez(path, images=test.images[:200, ::-1], labels=test.labels[:200])
    before = (run_copy / "result.json").read_bytes()
    evaluated = evaluation.main(config(evaluation, "--run", run_copy, "--data", path, "--out", out))
    assert np.sum(evaluated["confusion"]) == 200
    assert np.trace(evaluated["confusion"]) / 200 == evaluated["metrics"]["test_accuracy"]
    assert f"{path}: 200 images, " in capfd.readouterr().out
    assert (run_copy / "result.json").read_bytes() == before
    assert_picture(out / "confusion.png")


def test_eval_refuses_what_it_cannot_score(run_copy, tmp_path):
    images, labels = patterns(60, classes=12)
    np.savez(tmp_path / "many.npz", images=images, labels=labels)
    assert refused(evaluation.main, config(evaluation, "--run", run_copy, "--data", tmp_path / "many.npz")) == (
        f"--data {tmp_path / 'many.npz'}: label 11, but the network knows 10 classes."
    )
    path = run_copy / "model.safetensors"
    saved = checkpoint.load(path, "pt")
    checkpoint.save(path, saved | {"config": saved["config"] | {"width": 5}})
    assert refused(evaluation.main, config(evaluation, "--run", run_copy)) == (
        f"{path} does not hold the network that it describes. Train again, or use another run."
    )
    checkpoint.save(path, saved | {"week": 1})
    assert refused(evaluation.main, config(evaluation, "--run", run_copy)) == (
        f"{path} is not a network of week 2. Give --run a folder of runs/week02."
    )


@fast
def test_a_learners_own_folder_from_train_to_eval(tmp_path, capfd):
    images, labels = patterns(60, side=16)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = tmp_path / "own" / "abc"[label] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).resize((40, 32), Image.Resampling.NEAREST).save(path)
    run = tmp_path / "run"
    train.main(config(train, *TINY, "--side", 16, "--data", tmp_path / "own", "--out", run))
    assert load(run).classes == ("a", "b", "c") and load(run).side == 16
    scores = evaluation.main(config(evaluation, "--run", run))
    assert scores["metrics"]["test_accuracy"] > 0.6
    assert f"{tmp_path / 'own'} (test): 6 images" in capfd.readouterr().out
    assert (run / "confusion.png").is_file() and (run / "mistakes.png").is_file()


# ---------------------------------------------------------------- predict


def test_a_very_thin_picture_has_a_frame_as_well():
    for size in ((5000, 10), (10, 5000), (3000, 1), (1, 1)):
        picture = Image.new("RGB", size)
        assert predict.beside(picture, data.squared(picture, 8)).size == (2 * predict.SHOWN + 20, predict.SHOWN)


def test_predict_says_what_eval_would(sample_run, tmp_path, capfd):
    """A test photograph in the middle of a wide picture: the network sees just what eval shows it."""
    test, trained = data.load("sample").test, load(sample_run)
    probs = evaluation.probabilities(trained, data.Part(test.images[:8], test.labels[:8]), CPU)
    paths = []
    for i in range(8):
        page = Image.new("RGB", (50, 32), "white")
        page.paste(Image.fromarray(test.images[i]), (9, 0))
        paths.append(tmp_path / str(i) / "photo.png")
        paths[-1].parent.mkdir()
        page.save(paths[-1])
    cfg = config(predict, *paths, "--run", sample_run, "--out", tmp_path / "seen")
    answers = predict.main(cfg)
    output, errors = capfd.readouterr()
    assert errors == ""
    for answer, expected, path in zip(answers, probs, paths, strict=True):
        np.testing.assert_allclose(answer, expected, atol=1e-5)
        best = np.argsort(-answer)[:3]
        said = output.split(f"{path}: 50 x 32 pixels, the middle 32 x 32 of them, brought to 32 x 32\n")[1]
        chart = [line.split() for line in said.splitlines()[:3]]
        assert [line[:2] for line in chart] == [[trained.classes[i], f"{answer[i]:.1%}"] for i in best]
    names = {path.name for path in (tmp_path / "seen").iterdir()}
    assert names == {"photo_seen.png", *(f"photo_{number}_seen.png" for number in range(2, 9))}
    with Image.open(tmp_path / "seen" / "photo_seen.png") as page:
        right = np.asarray(page)[5::10, 340:][:, 5::10]
    assert np.array_equal(right, test.images[0]), "the right half shows what the network saw"


def test_verdict_is_honest_when_unsure():
    classes = ("cat", "dog", "eel")
    assert predict.verdict(np.array([0.1, 0.7, 0.2]), classes) == "This is: dog (70.0% sure)."
    assert predict.verdict(np.array([0.5, 0.1, 0.4]), classes) == "Not sure: cat (50.0%), or eel (40.0%)?"
    assert predict.chart(np.array([0.5, 0.1, 0.4]), classes, "#") == [
        f"cat  50.0% {'#' * 20}", f"eel  40.0% {'#' * 16}", f"dog  10.0% {'#' * 4}"
    ]  # fmt: skip


def test_predict_refuses_what_is_no_picture(sample_run, tmp_path, capfd):
    def line(*names):
        return refused(predict.main, config(predict, *names, "--run", sample_run))

    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.new("RGB", (40, 40), "green").save(good)
    bad.write_text("not a picture", encoding="utf-8")
    assert line() == "which picture? For example: ./course run 2 predict my_cat.jpg"
    assert line(tmp_path / "none.png") == f"{tmp_path / 'none.png'}: no such file."
    assert line(tmp_path) == f"{tmp_path}: a folder; name the pictures in it, as in {tmp_path / '*.png'}."
    assert line(bad).startswith(f"{bad}: not a readable image (cannot identify image file")
    assert "This is" not in capfd.readouterr().out
    assert line(good, bad) == f"1 of 2 pictures could not be read: {bad}."
    out = capfd.readouterr().out
    assert f"{good}: 40 x 40 pixels" in out and f"\n{bad}: not a readable image (" in out
    write_json(tmp_path / "config.json", {})
    assert refused(predict.main, config(predict, good, "--run", tmp_path)).startswith("no checkpoint at ")


# ---------------------------------------------------------------- invariance


def test_invariance_scores_each_change_of_the_photographs(sample_run, capfd):
    found = invariance.main(config(invariance, "--run", sample_run))
    trained, val = load(sample_run), data.load("sample").val
    upside_down = data.Part(np.ascontiguousarray(val.images[:, ::-1]), val.labels)
    score = train.evaluate(trained.model, upside_down, trained.mean, trained.std, CPU)["accuracy"]
    assert found["upside down"] == score < found["as it is"] - 0.05
    assert found["as it is"] == read_json(sample_run / "result.json")["metrics"]["val_accuracy"]
    assert f"upside down           {score:8.2%}\n" in capfd.readouterr().out
