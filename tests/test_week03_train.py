"""Week 3's programs on reviews from end to end: train, eval, classify, resume, and what each says to bad input."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shared import checkpoint, cli, device, runs
from shared.errors import CourseError, Stopped
from shared.files import ROOT, read_json, write_json
from shared.progress import read_metrics
from week03_lstm import baselines, classifiers, classify, data, pictures, repeat, train
from week03_lstm import eval as evaluation

CPU = device.Device("cpu", "float32", "a test")
GOOD, BAD = ("good", "fine", "lovely"), ("bad", "poor", "dull")
FILLING = ("the", "film", "was", "a", "with", "some", "actors", "and", "music", "to", "see", "at", "night")


def config(*flags, program=train):
    """What `./course train 3 FLAGS` (or another program of the week) runs with."""
    return cli.parse(program.Config, program.PRESETS, list(map(str, flags)), week=3 if program is train else None)


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


def write_reviews(path, count, seed=0, **names):
    """Reviews of which one word says it all. A network learns them at once."""
    rng, lines = np.random.default_rng(seed), []
    for i in range(count):
        words = [*rng.choice(FILLING, rng.integers(4, 12)), rng.choice((BAD, GOOD)[i % 2]), f"no{seed}{i}"]
        row = {"text": " ".join(rng.permutation(words)), "label": i % 2}
        lines.append(json.dumps({names.get(name, name): value for name, value in row.items()}) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


SMALL = ("--preset", "smoke", "--embed", 8, "--hidden", 6, "--batch-size", 16, "--epochs", 3, "--no-peer")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The path of a small data set: 140 reviews to train on (9 steps an epoch), 20 to validate, 40 to test."""
    return write_reviews(tmp_path_factory.mktemp("tiny") / "own.jsonl", 200)


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory, tiny):
    """The folder of a run that has learned them, with its convolution. Tests read it, or change a copy."""
    run = tmp_path_factory.mktemp("tiny") / "run"
    flags = ("--batch-size", 16, "--lr", 0.02, "--epochs", 8)
    train.main(config("--preset", "smoke", "--data", tiny, *flags, "--out", run))
    return run


@pytest.fixture
def run_copy(tiny_run, tmp_path):
    return Path(shutil.copytree(tiny_run, tmp_path / "copy"))


@pytest.fixture
def quiet(monkeypatch):
    """For tests that train often and look at the numbers alone: no pictures, no bag of words."""
    for name in ("curves", "bars"):
        monkeypatch.setattr(pictures, name, lambda *_: None)
    fixed = {"name": "bag of words", "params": 1, "seconds": 0.0, "C": 1.0, "val_accuracy": 0.5}
    monkeypatch.setattr(baselines, "bag_of_words", lambda _: fixed | {"majority": {"val_accuracy": 0.5}})


def test_repeat_trains_and_scores_every_seed(tmp_path, tiny, capfd):
    flags = (*SMALL[:-3], "--epochs", 1, "--data", tiny, "--seed", 5, "--seeds", 2, "--out", tmp_path / "out")
    summary = repeat.main(config(*flags, program=repeat))
    assert capfd.readouterr().err == ""
    assert list(summary) == ["this network", "1-D CNN", "bag of words"]
    for seed in (5, 6):
        result = read_json(tmp_path / "out" / f"seed{seed}" / "result.json")
        assert result["seed"] == seed and result["metrics"]["test_accuracy"] >= 0


# ---------------------------------------------------------------- training


def test_a_run_leaves_everything_it_should(tiny_run, tiny):
    assert {path.name for path in tiny_run.iterdir()} == {
        "config.json", "vocabulary.json", "metrics.jsonl", "result.json", "model.safetensors", "peer.safetensors",
        "checkpoint.safetensors", "curves.png", "val_accuracy.png",
    }  # fmt: skip
    for name in ("curves.png", "val_accuracy.png"):
        assert_picture(tiny_run / name)
    rows = read_metrics(tiny_run / "metrics.jsonl")
    assert [(row["epoch"], row["step"]) for row in rows] == [(i, 9 * i) for i in range(1, 9)]
    assert all(row.keys() == {"epoch", "step", "train_loss", "val_loss", "val_accuracy", "seconds"} for row in rows)
    assert rows[0]["train_loss"] > rows[-1]["train_loss"] > 0

    result = read_json(tiny_run / "result.json")
    assert result.keys() == {
        "week", "command", "data", "seed", "device", "dtype", "params", "seconds", "versions", "metrics", "baseline",
    }  # fmt: skip
    assert (result["week"], result["data"], result["seed"]) == (3, str(tiny), 0)
    assert (result["device"], result["dtype"]) == (device.choose().name, device.choose().dtype)
    assert result["versions"]["torch"]
    model = train.load_model(tiny_run).model
    assert result["params"] == sum(p.numel() for p in model.parameters())
    assert result["metrics"].keys() == {"val_accuracy", "last_val_accuracy", "last_val_loss"}
    assert result["metrics"]["val_accuracy"] == max(row["val_accuracy"] for row in rows) > 0.8
    theirs = result["baseline"]
    assert theirs.keys() == {"name", "params", "seconds", "C", "val_accuracy", "majority", "cnn"}
    assert theirs["name"] == "bag of words" and theirs["val_accuracy"] > 0.8
    assert theirs["majority"] == {"val_accuracy": 0.5} and theirs["cnn"]["name"] == "1-D CNN"
    assert abs(theirs["cnn"]["params"] / result["params"] - 1) < 0.1
    assert "test_accuracy" not in json.dumps(result), "test is eval's alone"


def test_the_smoke_preset_learns_to_read_real_reviews():
    cfg = config("--preset", "smoke")
    reviews = data.load("sample")
    part = data.Part(reviews.train.texts[:2000], reviews.train.labels[:2000])
    vocabulary = data.Vocabulary.build(part.texts, cfg.vocab)
    parts = [train.encode(one, vocabulary, cfg.max_len) for one in (part, reviews.val)]
    *_, last = train.fit(cfg, *parts, train.build(cfg, len(vocabulary)), CPU)
    assert last["val_accuracy"] > baselines.majority(reviews.train, reviews.val) + 0.15


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("shape", [(), ("--bidirectional", "--layers", 2)], ids=["plain", "two layers, both ways"])
def test_scratch_and_torch_train_alike(tiny, kind, shape):
    """From the same seed, the hand-written layers and torch's go the same way."""
    losses = []
    for impl in ("scratch", "torch"):
        cfg = config(*SMALL, "--data", tiny, "--kind", kind, "--impl", impl, "--dropout", 0, *shape)
        reviews = data.load(str(tiny))
        vocabulary = data.Vocabulary.build(reviews.train.texts, cfg.vocab)
        parts = [train.encode(part, vocabulary, cfg.max_len) for part in (reviews.train, reviews.val)]
        losses.append([row["train_loss"] for row in train.fit(cfg, *parts, train.build(cfg, len(vocabulary)), CPU)])
    np.testing.assert_allclose(*losses, rtol=1e-3)
    assert losses[0][-1] < losses[0][0]


@pytest.mark.parametrize(
    "flags",
    [
        ("--kind", "cnn"),
        ("--kind", "gru", "--impl", "scratch", "--pool", "last", "--bidirectional"),
        ("--kind", "lstm", "--pool", "max", "--no-bucket", "--schedule", "constant", "--clip", 0),
    ],
)  # fmt: skip
def test_every_kind_trains_on_every_device(tmp_path, tiny, quiet, device, flags):
    result = train.main(config(*SMALL, *flags, "--data", tiny, "--device", device, "--out", tmp_path / "run"))
    assert result["device"] == device and np.isfinite(result["metrics"]["last_val_loss"])
    assert train.load_model(tmp_path / "run").config.kind == flags[1]


@pytest.mark.parametrize("kind", ["lstm", "cnn"])
@pytest.mark.parametrize("impl", ["scratch", "torch"])
def test_mixed_precision(tiny, kind, impl):
    """The way a GPU takes, on the CPU: bf16 inside autocast, weights in fp32."""
    cfg = config(*SMALL, "--data", tiny, "--kind", kind, "--impl", impl, "--max-steps", 8)
    reviews = data.load(str(tiny))
    vocabulary = data.Vocabulary.build(reviews.train.texts, cfg.vocab)
    parts = [train.encode(part, vocabulary, cfg.max_len) for part in (reviews.train, reviews.val)]
    model = train.build(cfg, len(vocabulary))
    (row,) = train.fit(cfg, *parts, model, device.Device("cpu", "bfloat16", "a test"))
    assert np.isfinite(row["train_loss"]) and {p.dtype for p in model.parameters()} == {torch.float32}


def test_the_saved_network_is_the_best_one_on_val(tmp_path, tiny, monkeypatch, quiet, capfd):
    """With the accuracies 0.5, 0.9, 0.7 in three epochs it is the second epoch's network that is kept."""
    accuracies, weights = iter([0.5, 0.9, 0.7]), []
    real = train.evaluate

    def evaluate(model, part):
        weights.append(model.head.weight.detach().clone())
        return real(model, part) | {"accuracy": next(accuracies)}

    monkeypatch.setattr(train, "evaluate", evaluate)
    result = train.main(config(*SMALL, "--data", tiny, "--out", tmp_path / "run"))
    assert (result["metrics"]["val_accuracy"], result["metrics"]["last_val_accuracy"]) == (0.9, 0.7)
    assert "\n(the weights of the best epoch on val, 2, are kept)\n" in capfd.readouterr().out
    assert torch.equal(train.load_model(tmp_path / "run").model.head.weight, weights[1])


def test_nothing_of_val_or_test_is_in_the_vocabulary(tiny_run, tiny):
    reviews, known = data.load(str(tiny)), train.load_model(tiny_run).vocabulary
    assert set(known.words[2:]) <= {word for text in reviews.train.texts for word in data.tokenize(text)}


def weights_of(run, name="checkpoint"):
    state = checkpoint.load(run / f"{name}.safetensors")["model"]
    return b"".join(state[key].tobytes() for key in sorted(state))


def test_the_seed_decides_everything(tmp_path, tiny, quiet):
    for name, seed in (("1", 0), ("2", 0), ("3", 1)):
        flags = ("--word-dropout", 0.1, "--embed-dropout", 0.1, "--seed", seed, "--out", tmp_path / name)
        train.main(config(*SMALL, "--data", tiny, "--device", "cpu", *flags))
    assert weights_of(tmp_path / "1") == weights_of(tmp_path / "2") != weights_of(tmp_path / "3")


def test_predictions_come_back_in_the_order_of_the_texts(tiny_run, tiny):
    trained, part = train.load_model(tiny_run), data.load(str(tiny)).everything
    encoded = train.encode(part, trained.vocabulary, trained.config.max_len)
    believed = train.predict(trained.model, encoded, size=7)
    assert believed.shape == (200, 2)
    np.testing.assert_allclose(believed.sum(axis=1), 1)
    for row in (0, 57, 199):
        alone = train.predict(trained.model, train.Encoded([encoded.ids[row]], part.labels[[row]], 60))
        np.testing.assert_allclose(alone[0], believed[row], atol=1e-6)
    scores = train.score(believed, part.labels)
    assert scores == train.evaluate(trained.model, encoded) | {"loss": pytest.approx(scores["loss"], rel=1e-5)}
    assert scores["accuracy"] == np.mean((believed[:, 1] > 0.5) == part.labels)
    assert scores["loss"] == pytest.approx(-np.log(believed[np.arange(200), part.labels]).mean())


# ---------------------------------------------------------------- Ctrl-C and --resume


@pytest.fixture
def interrupt(monkeypatch):
    """interrupt(n) presses Ctrl-C in the n-th step of the next training."""
    real, left = train.learning_rate, {"steps": -1}

    def learning_rate(*arguments):
        left["steps"] -= 1
        if left["steps"] == 0:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(train, "learning_rate", learning_rate)
    return lambda steps: left.update(steps=steps)


def without_seconds(run):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(run / "metrics.jsonl")]


@pytest.mark.parametrize(
    "flags",
    [
        ("--kind", "lstm", "--dropout", 0.3, "--word-dropout", 0.1, "--embed-dropout", 0.1),
        ("--kind", "gru", "--impl", "scratch", "--layers", 2, "--dropout", 0.3),
        ("--kind", "cnn", "--dropout", 0.3, "--no-bucket"),
    ],
)  # fmt: skip
def test_interrupted_and_continued_is_bit_for_bit_the_same(tmp_path, tiny, interrupt, quiet, flags):
    flags = [*SMALL, "--data", tiny, "--device", "cpu", *flags]
    whole, parts = tmp_path / "whole", tmp_path / "in parts"
    train.main(config(*flags, "--out", whole))
    interrupt(4)  # inside the first of three epochs of nine steps
    assert refused(train.main, config(*flags, "--out", parts)) == (
        f"stopped at step 4 of 27; saved. `./course train 3 --out '{parts}' --resume` goes on."
    )
    assert not (parts / "result.json").exists()
    interrupt(14)  # at the last step of the second: that epoch is finished, and one step of the third
    assert "stopped at step 19 of 27; saved." in refused(train.main, config("--out", parts, "--resume"))
    train.main(config("--out", parts, "--resume"))
    assert without_seconds(parts) == without_seconds(whole)
    for name in ("checkpoint", "model"):
        assert weights_of(parts, name) == weights_of(whole, name), f"{name}.safetensors differs"
    assert read_json(parts / "result.json")["metrics"] == read_json(whole / "result.json")["metrics"]


def test_ctrl_c_while_the_convolution_is_trained(tmp_path, tiny, interrupt, quiet):
    flags = [flag for flag in SMALL if flag != "--no-peer"]
    interrupt(27 + 4)
    with pytest.raises(Stopped) as stopped:
        train.main(config(*flags, "--data", tiny, "--out", tmp_path / "run"))
    assert str(stopped.value) == (
        "stopped while the 1-D CNN was trained; the network itself is saved. "
        f"`./course train 3 --out {tmp_path / 'run'} --resume` goes on."
    )
    result = train.main(config("--out", tmp_path / "run", "--resume"))
    assert result["baseline"]["cnn"]["name"] == "1-D CNN" and len(read_metrics(tmp_path / "run/metrics.jsonl")) == 3


def test_resume_of_a_finished_run(tmp_path, tiny, interrupt, quiet):
    run = tmp_path / "run"
    train.main(config(*SMALL, "--data", tiny, "--out", run))
    assert refused(train.main, config("--out", run, "--resume")) == (
        f"{run} has already finished: give --epochs a larger number, or start a new run."
    )
    interrupt(10)
    assert "stopped at step 37 of 45" in refused(train.main, config("--out", run, "--resume", "--epochs", 5))
    train.main(config("--out", run, "--resume"))  # still knows that it is to be five
    assert [row["epoch"] for row in read_metrics(run / "metrics.jsonl")] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("flags", "was"),
    [
        (("--hidden", 7), "--hidden 32: leave --hidden"), (("--kind", "gru"), "--kind lstm: leave --kind"),
        (("--pool", "max"), "--pool mean: leave --pool"), (("--max-len", 9), "--max-len 60: leave --max-len"),
        (("--bidirectional",), "--bidirectional False: leave --bidirectional"),
        (("--seed", 8), "--seed 0: leave --seed"),
    ],
)  # fmt: skip
def test_resume_as_another_network(tiny_run, flags, was):
    assert refused(train.main, config("--out", tiny_run, "--resume", "--epochs", 9, *flags)) == (
        f"{tiny_run} was started with {was} out, or start a new run."
    )
    assert read_json(tiny_run / "config.json")["epochs"] == 8


def test_resume_on_a_file_that_has_changed(tmp_path, quiet):
    path, run = write_reviews(tmp_path / "own.jsonl", 60), tmp_path / "run"
    train.main(config(*SMALL, "--data", path, "--max-steps", 1, "--out", run))
    write_reviews(path, 80, seed=3)
    assert refused(train.main, config("--out", run, "--resume", "--max-steps", 3)) == (
        f"{run} was started on other reviews than --data {path} holds now: start a new run."
    )


# ---------------------------------------------------------------- what train refuses


def test_steps_that_are_too_large(tmp_path, tiny, quiet):
    flags = ("--data", tiny, "--lr", "1e29", "--clip", 0, "--schedule", "constant", "--out", tmp_path / "run")
    line = refused(train.main, config(*SMALL, *flags))
    advice = r"the steps are too large\. Try --lr 0\.002, or --clip 1\."
    assert re.fullmatch(rf"the loss became (nan|inf) at step \d+ \(epoch 1\): {advice}", line)
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kind": "transformer"}, "--kind transformer: choose one of lstm, gru, rnn, cnn."),
        ({"impl": "numpy"}, "--impl numpy: choose one of torch, scratch."),
        ({"pool": "first"}, "--pool first: choose one of last, max, mean."),
        ({"schedule": "linear"}, "--schedule linear: choose one of cosine, constant."),
        ({"device": "tpu"}, "unknown device 'tpu': choose auto, cpu, cuda or mps."),
        ({"embed": 0}, "--embed 0: must be at least 1."),
        ({"hidden": 0}, "--hidden 0: must be at least 1."),
        ({"layers": 0}, "--layers 0: must be at least 1."),
        ({"max_len": 0}, "--max-len 0: must be at least 1."),
        ({"batch_size": 0}, "--batch-size 0: must be at least 1."),
        ({"epochs": 0}, "--epochs 0: must be at least 1."),
        ({"vocab": 2}, "--vocab 2: must be at least 3 (two stand for padding and unknown words)."),
        ({"max_steps": -1}, "--max-steps -1: must be 0 (no limit) or more."),
        ({"lr": 0.0}, "--lr 0.0: must be a number above 0 and below 1e30."),
        ({"lr": float("nan")}, "--lr nan: must be a number above 0 and below 1e30."),
        ({"lr": 1e30}, "--lr 1e+30: must be a number above 0 and below 1e30."),
        ({"peer_lr": 0.0}, "--peer-lr 0.0: must be a number above 0 and below 1e30."),
        ({"clip": -1.0}, "--clip -1.0: must be 0 (no limit) or more."),
        ({"weight_decay": -1e-4}, "--weight-decay -0.0001: must be 0 or more."),
        ({"dropout": 1.0}, "--dropout 1.0: must be from 0 to below 1."),
        ({"embed_dropout": -0.1}, "--embed-dropout -0.1: must be from 0 to below 1."),
        ({"word_dropout": 1.0}, "--word-dropout 1.0: must be from 0 to below 1."),
        ({"seed": -1}, "--seed -1: must be 0 or more."),
        ({"data": "imbd"}, "--data imbd: no such file or folder, nor one of sample, imdb."),
    ],
)
def test_flags_that_cannot_work(tmp_path, change, complaint):
    out = tmp_path / "run"
    assert refused(train.main, train.Config(**{"out": str(out)} | change)) == complaint
    assert not out.exists(), "a run folder was made for nothing"


def test_cuda_where_there_is_none(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert refused(train.main, config("--data", tiny, "--device", "cuda", "--out", tmp_path / "run")).startswith(
        "no CUDA GPU that torch can use"
    )


def test_nothing_is_overwritten(tiny_run, tiny):
    before = (tiny_run / "model.safetensors").read_bytes()
    assert refused(train.main, config(*SMALL, "--data", tiny, "--out", tiny_run)) == (
        f"{tiny_run} already holds a run: choose another --out, or go on with it by --resume."
    )
    assert (tiny_run / "model.safetensors").read_bytes() == before


def test_a_training_that_learns_nothing_says_so(tmp_path, tiny, quiet, monkeypatch, capfd):
    monkeypatch.setattr(train, "evaluate", lambda *_: {"loss": 0.69, "accuracy": 0.5})
    train.main(config(*SMALL, "--data", tiny, "--pool", "last", "--max-steps", 1, "--out", tmp_path / "run"))
    assert (
        "\nit has learned next to nothing: always guessing gets 50.00% on val. "
        "Try another --lr, more --epochs, or --pool max.\n"
    ) in capfd.readouterr().out
    part = data.Part([""] * 100, np.repeat([0, 1], [40, 60]))
    reviews = data.Data("letters", data.CLASSES, part, part, part)
    assert train.warning(train.Config(), reviews, 0.61).endswith("Try another --lr, more --epochs.")
    assert train.warning(train.Config(), reviews, 0.63) == ""


# ---------------------------------------------------------------- baselines


def test_the_bag_of_words_is_scikit_learns(tiny):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    reviews = data.load(str(tiny))
    by_hand = make_pipeline(
        TfidfVectorizer(token_pattern=r"\w+(?:'\w+)*|[!?]", min_df=2, sublinear_tf=True), LogisticRegression(C=3.0)
    ).fit(reviews.train.texts, reviews.train.labels)
    bag = baselines.BagOfWords(3.0).fit(reviews.train)
    assert bag.accuracy(reviews.test) == by_hand.score(reviews.test.texts, reviews.test.labels)
    chosen = baselines.BagOfWords().choose(reviews.train, reviews.val)
    each = [baselines.BagOfWords(C).fit(reviews.train).accuracy(reviews.val) for C in baselines.STRENGTHS]
    assert baselines.STRENGTHS[int(np.argmax(each))] == chosen.C and chosen.accuracy(reviews.val) == max(each)


def test_majority_is_trains_commonest_class():
    part = [data.Part([""] * len(labels), np.array(labels)) for labels in ([0, 1, 1], [0, 0, 0, 1])]
    assert baselines.majority(*part) == 0.25


# ---------------------------------------------------------------- eval


def test_eval_adds_the_test_accuracy_to_the_result(run_copy, tiny, capfd):
    before = read_json(run_copy / "result.json")
    evaluated = evaluation.main(config("--run", run_copy, program=evaluation))
    output, errors = capfd.readouterr()
    assert errors == ""
    trained, test = train.load_model(run_copy), data.load(str(tiny)).test
    with torch.no_grad():
        verdicts = [
            int(trained.model(torch.tensor([ids]), torch.tensor([len(ids)])).argmax())
            for ids in map(trained.vocabulary.encode, test.texts)
        ]
    after = read_json(run_copy / "result.json")
    accuracy = np.mean(np.array(verdicts) == test.labels)
    assert after["metrics"].pop("test_accuracy") == evaluated["metrics"]["test_accuracy"] == accuracy
    for one in (after["baseline"], after["baseline"]["cnn"], after["baseline"]["majority"]):
        assert 0.5 <= one.pop("test_accuracy") <= 1
    assert after == before, "the rest of result.json stays"
    assert evaluated["confusion"] == [
        [int(np.sum((test.labels == i) & (np.array(verdicts) == j))) for j in (0, 1)] for i in (0, 1)
    ]
    wrong = int(np.sum(np.array(verdicts) != test.labels))
    assert f"{tiny} (test): 40 reviews, {wrong} mistake" in output
    assert_picture(run_copy / "test_accuracy.png")


def test_eval_prints_the_surest_mistakes(capfd):
    part = data.Part(["one", "two", "three<br />", "w " * 300 + "end"], np.array([1, 0, 1, 1]))
    believed = np.array([[0.7, 0.3], [0.1, 0.9], [0.4, 0.6], [0.99, 0.01]])
    evaluation.print_mistakes(part, believed, 9)
    lines = capfd.readouterr().out.split("\n")
    assert [line for line in lines if line.startswith("thought")] == [
        "thought negative (99.0%), is positive:",
        "thought positive (90.0%), is negative:",
        "thought negative (70.0%), is positive:",
    ]
    assert "three" not in "".join(lines) and lines[2].startswith("    … w w") and max(map(len, lines)) <= 100


def test_eval_on_reviews_of_ones_own(run_copy, tmp_path):
    """All of them are scored, and the run's own result stays what it was."""
    before = (run_copy / "result.json").read_bytes()
    path = write_reviews(tmp_path / "other.jsonl", 50, seed=5, text="review", label="stars")
    flags = ("--run", run_copy, "--data", path, "--out", tmp_path / "out")
    assert "no column 'text'; there are: review, stars" in refused(evaluation.main, config(*flags, program=evaluation))
    cfg = config(*flags, "--text", "review", "--label", "stars", program=evaluation)
    evaluated = evaluation.main(cfg)
    assert np.sum(evaluated["confusion"]) == 50
    assert evaluated["metrics"]["test_accuracy"] == np.trace(evaluated["confusion"]) / 50 > 0.8
    assert (run_copy / "result.json").read_bytes() == before


def test_eval_on_reviews_that_it_was_trained_on(run_copy, tmp_path, tiny):
    copy = tmp_path / "renamed.jsonl"
    shouted = Path(tiny).read_text(encoding="utf-8").upper().replace("TEXT", "text").replace("LABEL", "label")
    copy.write_text(shouted, encoding="utf-8")
    assert refused(evaluation.main, config("--run", run_copy, "--data", copy, program=evaluation)) == (
        f"--data {copy}: this network was trained on 160 of these 200 reviews ({tiny}, train and val), so a score on "
        "them would say nothing. (The bundled sample is a part of IMDB's training reviews.)"
    )


def test_eval_leaves_out_the_few_that_it_has_seen(run_copy, tmp_path, tiny, capfd):
    path = write_reviews(tmp_path / "other.jsonl", 150, seed=5)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"text": data.load(str(tiny)).train.texts[0], "label": 1}) + "\n")
    cfg = config("--run", run_copy, "--data", path, "--out", tmp_path / "out", program=evaluation)
    assert np.sum(evaluation.main(cfg)["confusion"]) == 150
    assert "(1 more were left out: this network has seen them in training)" in capfd.readouterr().out


def test_eval_without_a_network(run_copy, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    assert refused(evaluation.main, config(program=evaluation)) == (
        "no run of week 3 with a model.safetensors yet: `./course train 3` makes one."
    )
    assert refused(evaluation.main, config("--run", tmp_path, program=evaluation)) == (
        f"no checkpoint at {tmp_path / 'model.safetensors'}. Train first, or give the folder of a finished run."
    )
    path, cfg = run_copy / "model.safetensors", config("--run", run_copy, program=evaluation)
    saved, words = checkpoint.load(path, framework="pt"), read_json(run_copy / "vocabulary.json")
    (run_copy / "result.json").rename(run_copy / "kept.json")
    assert refused(evaluation.main, cfg) == (
        f"{run_copy} has not been trained to its end: `./course train 3 --out {run_copy} --resume` goes on."
    )
    checkpoint.save(path, saved | {"model": {"head.bias": saved["model"]["head.bias"]}})
    assert refused(evaluation.main, cfg) == (
        f"{path} does not fit its own description. Train again, or use another run."
    )
    checkpoint.save(path, saved)
    write_json(run_copy / "vocabulary.json", {"words": words["words"][1:]})
    assert refused(evaluation.main, cfg) == (
        f"{run_copy / 'vocabulary.json'} has {saved['words'] - 1} words, the network {saved['words']}: not of one run."
    )
    checkpoint.save(path, {"config": {}, "weights": np.zeros(2)})
    assert refused(evaluation.main, cfg) == f"{path} is not a network of week 3. Give --run a folder of runs/week03."


# ---------------------------------------------------------------- classify


def test_classify_says_how_the_verdict_comes_about(tiny_run, tmp_path, capfd):
    flags = ("the film was lovely with", "some Unheard-of music", "--run", tiny_run, "--out", tmp_path, "--show", 2)
    (found,) = classify.main(config(*flags, program=classify))
    output, errors = capfd.readouterr()
    assert errors == "" and "\033" not in output, "plain, for this is no terminal"
    words = ["the", "film", "was", "lovely", "with", "some", "[unheard]", "[of]", "music"]
    assert found["words"] == words and found["verdict"] == "positive"
    assert int(np.abs(np.diff(found["positive"])).argmax()) == 2, "it is `lovely` that moves it"
    lines = output.splitlines()
    assert lines[0] == "  " + " ".join(words) and lines[1] == "  (words in [brackets] are not in its vocabulary)"
    assert lines[3].startswith(f"positive, {found['positive'][-1]:.1%} sure")
    assert "film was lovely" in lines[6] and lines[6].split()[-1] == f"{found['positive'][3]:.1%}"
    for name in ("word_by_word.png", "gates.png"):
        assert_picture(tmp_path / name)


def test_each_beginning_is_read_as_a_text_of_its_own(tiny_run):
    """And with a network that reads forwards, one pass over the whole gives the same, by a running mean."""
    trained = train.load_model(tiny_run)
    ids = trained.vocabulary.encode("the film was bad and dull with lovely music")
    found = classify.positive_after(trained, ids)
    for end in (1, 4, len(ids)):
        one = train.predict(trained.model, train.Encoded([ids[:end]], np.zeros(1, dtype=int), 60))
        assert found[end - 1] == pytest.approx(one[0, 1], abs=1e-6)
    model, tokens = trained.model, torch.tensor([ids])
    with torch.no_grad():
        outputs = model.recurrent(model.words(tokens))[0]
        running = outputs.cumsum(dim=1) / torch.arange(1, len(ids) + 1)[:, None]
        np.testing.assert_allclose(model.head(running).softmax(dim=2)[0, :, 1].numpy(), found, atol=1e-6)


@pytest.mark.parametrize("kind", ["gru", "cnn"])
def test_classify_with_other_networks_and_long_reviews(tmp_path, tiny, quiet, kind, capfd):
    run = tmp_path / "run"
    train.main(config(*SMALL, "--data", tiny, "--kind", kind, "--max-len", 5, "--max-steps", 1, "--out", run))
    (tmp_path / "review.txt").write_text("fine " * 100, encoding="utf-8")
    (found,) = classify.main(config("--file", tmp_path / "review.txt", "--run", run, program=classify))
    assert len(found["positive"]) == 100 and found["pictures"] == [run / "word_by_word.png"]
    assert found["positive"][-1] == pytest.approx(found["positive"][10], abs=1e-6), "it reads the last five words"
    assert_picture(run / "word_by_word.png")
    assert max(map(len, capfd.readouterr().out.splitlines())) <= 240


def test_classify_reads_what_is_typed(tiny_run, tmp_path, monkeypatch, capfd):
    cfg = config("--run", tiny_run, "--out", tmp_path, program=classify)
    monkeypatch.setattr(sys, "stdin", io.StringIO("a lovely film\nwith good music\n"))
    (found,) = classify.main(cfg)
    assert found["words"] == ["a", "lovely", "film", "with", "good", "music"]
    typed = iter(["a bad film", ""])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    assert [one["verdict"] for one in classify.main(cfg)] == ["negative"]


def test_colours_follow_the_change():
    assert classify.coloured("word", 0.001) == "word"
    blue, strong, orange = (classify.coloured("word", change) for change in (0.02, 0.5, -0.02))
    assert len({blue, strong, orange}) == 3 and all(one.endswith("mword\033[0m") for one in (blue, strong, orange))
    lines = list(classify.wrapped(["abc"] * 50, np.zeros(50), colour=True, width=20))
    assert max(map(len, lines)) <= 20 and " ".join(lines).split() == ["abc"] * 50


def test_classify_refuses(tiny_run, tmp_path):
    def said(*flags):
        return refused(classify.main, config("--run", tiny_run, "--out", tmp_path, *flags, program=classify))

    assert said("…") == 'no word in this review. Write one, as in: ./course run 3 classify "what a film!"'
    assert said("a", "--file", "b") == "a review and --file: give one of them."
    assert said("--file", "no/such") == "--file no/such: cannot be read (No such file or directory)."
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    path = tmp_path / "latin.txt"
    assert said("--file", path) == f"--file {path}: cannot be read (not UTF-8 text)."
    assert said("a", "--show", -1) == "--show -1: must be 0 or more."


# ---------------------------------------------------------------- the command line, pictures


def run_cli(program, *flags, monkeypatch, week=None):
    monkeypatch.setattr(sys, "argv", [program.__file__, *map(str, flags)])
    cli.run(program.main, program.Config, program.PRESETS, week=week)


@pytest.mark.parametrize(
    ("program", "flags", "line"),
    [
        (train, ("--preset", "huge"), "unknown preset 'huge': choose one of smoke, quick, full."),
        (train, ("--kind", "lstmm"), "--kind lstmm: choose one of lstm, gru, rnn, cnn."),
        (evaluation, ("--run", "no/such"),
         f"no checkpoint at {Path('no/such/model.safetensors')}. Train first, or give the folder of a finished run."),
        (classify, ("good", "--run", "no/such"),
         f"no checkpoint at {Path('no/such/model.safetensors')}. Train first, or give the folder of a finished run."),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(program, flags, line, monkeypatch, capfd, tmp_path):
    with pytest.raises(SystemExit) as caught:
        run_cli(program, *flags, "--out", tmp_path / "out", monkeypatch=monkeypatch)
    assert caught.value.code == 2
    assert capfd.readouterr() == ("", f"error: {line}\n")


def test_what_a_training_prints(tmp_path, tiny, quiet, monkeypatch, capfd):
    out = tmp_path / "my run"
    run_cli(train, *SMALL, "--data", tiny, "--device", "cpu", "--out", out, monkeypatch=monkeypatch, week=3)
    output, errors = capfd.readouterr()
    assert errors == ""
    result = read_json(out / "result.json")
    assert result["command"].startswith("./course train 3 --preset smoke --embed 8") and f"'{out}'" in result["command"]
    lines = output.splitlines()
    assert lines[0] == f"{tiny}: 140 reviews to train on, 20 to validate"
    assert lines[2] == (
        f"network: lstm, 6 units, pooled by mean; {result['params']:,} parameters. Device: cpu, float32 (asked for)"
    )
    assert lines[-2] == f"on the test set, with the mistakes it makes: ./course eval 3 --run '{out}'"
    (ours,) = (line for line in lines if line.startswith("this network"))
    assert ours.split()[2:4] == [f"{result['metrics']['val_accuracy']:.2%}", f"{result['params']:,}"]
    assert any(line.split() == ["always", "the", "same", "answer", "50.00%"] for line in lines)


@pytest.mark.parametrize("program", ["train", "eval", "classify"])
def test_help_comes_without_torch(program):
    code = (
        f"import sys\nfrom week03_lstm import {program} as program\nfrom shared import cli\n"
        "try:\n    cli.parse(program.Config, program.PRESETS, ['--help'])\nexcept SystemExit as end:\n"
        "    print(end.code, sorted({'torch', 'sklearn', 'matplotlib'} & set(sys.modules)))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "160"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, encoding="utf-8")
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


def test_word_by_word_of_a_long_text_shows_where_it_moves(tmp_path):
    positive = np.full(300, 0.5)
    positive[200:] = 0.9
    pictures.word_by_word([f"w{i}" for i in range(300)], positive, tmp_path / "long.png")
    assert_picture(tmp_path / "long.png")


def test_gates_of_a_bidirectional_network_of_torchs(tmp_path):
    config = classifiers.SentimentConfig(50, "lstm", embed=8, hidden=6, layers=2, bidirectional=True)
    opened = classify.opened_gates(
        train.Trained(classifiers.build(config), None, data.Vocabulary([]), train.Config()), [3, 4, 5]
    )
    assert all(values.shape == (3, 6) for values in opened.values())
    pictures.gates(["a", "b", "c"], opened, tmp_path / "gates.png")
    assert_picture(tmp_path / "gates.png")
