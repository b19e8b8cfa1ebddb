"""Week 3's programs on reviews from end to end: train, eval, classify, order, and what each says to bad input."""

import io
import itertools
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from programs import assert_picture, config, refused, refused_flags, rows, tensors

from shared import checkpoint, cli, device, plots, repeat, runs
from shared.files import ROOT, read_json, write_json
from week03_lstm import data, sentiment_baselines, sentiment_drawing, sentiment_model, train
from week03_lstm import eval as evaluation
from week03_lstm import sentiment_classify as classify
from week03_lstm import sentiment_order as order
from week03_lstm import sentiment_together as together
from week03_lstm.trained import load

CPU = device.Device("cpu", "float32", "a test")
GOOD, BAD = ("good", "fine", "lovely"), ("bad", "poor", "dull")
FILLING = ("the", "film", "was", "a", "with", "some", "actors", "and", "music", "to", "see", "at", "night")


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
    train.main(config(train, "--preset", "smoke", "--data", tiny, *flags, "--out", run))
    return run


@pytest.fixture
def run_copy(tiny_run, tmp_path):
    return Path(shutil.copytree(tiny_run, tmp_path / "copy"))


@pytest.fixture
def quiet(monkeypatch):
    """For tests that train often and look at the numbers alone: no pictures, no counted words."""
    monkeypatch.setattr(plots, "curves", lambda *_: None)
    monkeypatch.setattr(sentiment_drawing, "bars", lambda *_: None)
    row = {"name": sentiment_baselines.BAG_OF_WORDS, "params": 1, "seconds": 0.0, "val_accuracy": 0.5}
    monkeypatch.setattr(sentiment_baselines, "count_words", lambda _: ([row], {row["name"]: {"C": 1.0}}))


def encoded(cfg, name):
    """The train and val parts of a data set as train.py gives them to `fit`, and how many words there are."""
    reviews = data.load(str(name))
    vocabulary = data.Vocabulary.build(reviews.train.texts, cfg.vocab)
    return *(data.encode(part, vocabulary, cfg.max_len) for part in (reviews.train, reviews.val)), len(vocabulary)


def test_repeat_trains_and_scores_every_seed(tmp_path, tiny, quiet, capfd):
    flags = (*SMALL[:-3], "--epochs", 1, "--data", tiny, "--seed", 5, "--seeds", 2, "--out", tmp_path / "out")
    cfg = cli.parse(repeat.config_of(train), train.PRESETS, list(map(str, flags)))
    summary = repeat.several(train, evaluation, cfg)
    assert capfd.readouterr().err == ""
    assert list(summary) == ["this network", "1-D CNN", "bag of words", "always the same answer", "run"]
    for seed in (5, 6):
        result = read_json(tmp_path / "out" / f"seed{seed}" / "result.json")
        assert result["seed"] == seed and result["metrics"]["test_accuracy"] >= 0


# ---------------------------------------------------------------- training


def test_what_only_this_week_leaves_in_a_run(tiny_run):
    assert {path.name for path in tiny_run.iterdir()} == {
        "config.json", "vocabulary.json", "metrics.jsonl", "result.json", "model.safetensors", "baselines.safetensors",
        "checkpoint.safetensors", "examples.safetensors", "curves.png", "accuracy.png",
    }  # fmt: skip
    assert_picture(tiny_run / "accuracy.png")
    result, found = read_json(tiny_run / "result.json"), load(tiny_run)
    assert [(row["epoch"], row["step"]) for row in rows(tiny_run)] == [(i, 9 * i) for i in range(1, 9)]
    assert result["versions"]["torch"] and result["device"] == device.choose().name
    assert result["params"] == sum(p.numel() for p in found.model.parameters())
    assert result["metrics"].keys() == {"val_accuracy", "last_val_accuracy", "last_val_loss"}
    assert result["metrics"]["val_accuracy"] == max(row["val_accuracy"] for row in rows(tiny_run)) > 0.8
    cnn, bag, pairs, constant = result["baselines"]
    assert all(row.keys() >= {"name", "params", "seconds", "val_accuracy"} for row in result["baselines"])
    assert cnn["name"] == "1-D CNN" and abs(cnn["params"] / result["params"] - 1) < 0.1
    assert (bag["name"], pairs["name"]) == ("bag of words", "naive-Bayes bigrams")
    assert min(bag["val_accuracy"], pairs["val_accuracy"]) > 0.8
    for name, kind in sentiment_baselines.COUNTED.items():
        chosen = found.run.baselines["counted"][name]
        assert all(value in kind.CHOICES[setting] for setting, value in chosen.items())
    assert (constant["name"], constant["params"], constant["val_accuracy"]) == ("always the same answer", 0, 0.5)
    convolution = found.convolution()
    val = found.encode(data.load(found.config.data).val)
    assert sum(p.numel() for p in convolution.parameters()) == cnn["params"]
    assert train.evaluate(convolution, val)["accuracy"] == cnn["val_accuracy"], "its best weights on val are kept"


def test_no_convolution_stands_beside_a_convolution(tmp_path, tiny, quiet):
    flags = (*SMALL[:-1], "--data", tiny, "--kind", "cnn", "--max-steps", 1)
    result = train.main(config(train, *flags, "--out", tmp_path / "run"))
    assert [row["name"] for row in result["baselines"]] == ["bag of words", "always the same answer"]
    assert load(tmp_path / "run").convolution() is None


def test_the_smoke_preset_learns_to_read_real_reviews():
    cfg = config(train, "--preset", "smoke", "--epochs", 2)
    reviews = data.load("sample")
    part = data.Part(reviews.train.texts[:2000], reviews.train.labels[:2000])
    vocabulary = data.Vocabulary.build(part.texts, cfg.vocab)
    parts = [data.encode(one, vocabulary, cfg.max_len) for one in (part, reviews.val)]
    *_, last = train.fit(cfg, *parts, train.build(cfg, len(vocabulary)), CPU)
    assert last["val_accuracy"] > runs.constant_answer(reviews.val.labels)["val_accuracy"] + 0.15


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("shape", [(), ("--bidirectional", "--layers", 2)], ids=["plain", "two layers, both ways"])
def test_scratch_and_torch_train_alike(tiny, kind, shape):
    """From the same seed, the hand-written layers and torch's go the same way."""
    losses = []
    for impl in ("scratch", "torch"):
        flags = ("--data", tiny, "--kind", kind, "--impl", impl, "--dropout", 0, "--max-len", 9, "--max-steps", 13)
        cfg = config(train, *SMALL, *flags, *shape)
        *parts, words = encoded(cfg, tiny)
        losses.append([row["train_loss"] for row in train.fit(cfg, *parts, train.build(cfg, words), CPU)])
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
    result = train.main(config(train, *SMALL, *flags, "--data", tiny, "--device", device, "--out", tmp_path / "run"))
    assert result["device"] == device and np.isfinite(result["metrics"]["last_val_loss"])
    assert load(tmp_path / "run").config.kind == flags[1]


@pytest.mark.parametrize("kind", ["lstm", "cnn"])
@pytest.mark.parametrize("impl", ["scratch", "torch"])
def test_mixed_precision(tiny, kind, impl):
    """The way a GPU takes, on the CPU: bf16 inside autocast, weights in fp32."""
    cfg = config(train, *SMALL, "--data", tiny, "--kind", kind, "--impl", impl, "--max-steps", 8)
    *parts, words = encoded(cfg, tiny)
    model = train.build(cfg, words)
    with torch.backends.mkldnn.flags(enabled=False):  # its LSTM refuses bf16 on a CPU without units for it
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
    result = train.main(config(train, *SMALL, "--data", tiny, "--out", tmp_path / "run"))
    assert (result["metrics"]["val_accuracy"], result["metrics"]["last_val_accuracy"]) == (0.9, 0.7)
    assert "\n(the weights of the best epoch on val, 2, are kept)\n" in capfd.readouterr().out
    assert torch.equal(load(tmp_path / "run").model.head.weight, weights[1])


def test_nothing_of_val_or_test_is_in_the_vocabulary(tiny_run, tiny):
    reviews, known = data.load(str(tiny)), load(tiny_run).vocabulary
    assert set(known.words[2:]) <= {word for text in reviews.train.texts for word in data.tokenize(text)}


def test_the_seed_decides_everything(tmp_path, tiny, quiet):
    weights = []
    for name, seed in (("1", 0), ("2", 0), ("3", 1)):
        flags = ("--word-dropout", 0.1, "--embed-dropout", 0.1, "--seed", seed, "--out", tmp_path / name)
        train.main(config(train, *SMALL, "--data", tiny, "--device", "cpu", *flags))
        weights.append(tensors(tmp_path / name / "model.safetensors"))
    assert weights[0] == weights[1] != weights[2]


def test_learning_rate_rises_and_falls():
    rates = [train.learning_rate(step, 100, 0.01) for step in range(100)]
    assert rates[0] == pytest.approx(0.002) and max(rates) == pytest.approx(0.01) and rates[-1] < 1e-5
    assert rates.index(max(rates)) in (4, 5), "after a twentieth"
    assert train.learning_rate(0, 1, 0.01) > 0
    assert {train.learning_rate(step, 100, 0.01, "constant") for step in range(100)} == {0.01}


def test_predictions_come_back_in_the_order_of_the_texts(tiny_run, tiny):
    trained, part = load(tiny_run), data.load(str(tiny)).everything
    whole = trained.encode(part)
    probs = train.predict(trained.model, whole, size=7)
    assert probs.shape == (200, 2)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    for row in (0, 57, 199):
        alone = train.predict(trained.model, data.Encoded([whole.ids[row]], part.labels[[row]], 60))
        np.testing.assert_allclose(alone[0], probs[row], atol=1e-6)
    scores = train.score(probs, part.labels)
    assert scores == train.evaluate(trained.model, whole) | {"loss": pytest.approx(scores["loss"], rel=1e-5)}
    assert scores["accuracy"] == np.mean((probs[:, 1] > 0.5) == part.labels)
    assert scores["loss"] == pytest.approx(-np.log(probs[np.arange(200), part.labels]).mean())


# ---------------------------------------------------------------- Ctrl-C and --resume


@pytest.mark.parametrize(
    "flags",
    [
        ("--kind", "lstm", "--dropout", 0.3, "--word-dropout", 0.1, "--embed-dropout", 0.1),
        ("--kind", "gru", "--impl", "scratch", "--layers", 2, "--dropout", 0.3, "--max-len", 9),
        ("--kind", "cnn", "--dropout", 0.3, "--no-bucket"),
    ],
)  # fmt: skip
def test_interrupted_and_continued_is_bit_for_bit_the_same(tmp_path, tiny, ctrl_c, quiet, flags):
    flags = [*SMALL, "--data", tiny, "--device", "cpu", *flags]
    whole, parts = tmp_path / "whole", tmp_path / "in parts"
    train.main(config(train, *flags, "--out", whole))
    ctrl_c(4)  # inside the first of three epochs of nine steps
    assert refused(train.main, config(train, *flags, "--out", parts)) == (
        f"stopped at step 4 of 27; saved. `./course train 3 --out '{parts}' --resume` goes on."
    )
    assert not (parts / "result.json").exists()
    ctrl_c(15)  # at step 19: one step of the third epoch is done
    assert "stopped at step 19 of 27; saved." in refused(train.main, config(train, "--out", parts, "--resume"))
    train.main(config(train, "--out", parts, "--resume"))
    assert rows(parts) == rows(whole)
    for name in ("checkpoint", "model"):
        assert tensors(parts / f"{name}.safetensors") == tensors(whole / f"{name}.safetensors"), f"{name} differs"
    assert read_json(parts / "result.json")["metrics"] == read_json(whole / "result.json")["metrics"]


def test_ctrl_c_while_the_convolution_is_trained(tmp_path, tiny, quiet, monkeypatch):
    real, steps = train.learning_rate, iter(range(100))

    def learning_rate(*arguments):
        if next(steps) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    flags, out = [flag for flag in SMALL if flag != "--no-peer"], tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(train, "learning_rate", learning_rate)
        assert refused(train.main, config(train, *flags, "--data", tiny, "--out", out)) == (
            f"stopped during baselines; this part is not kept. `./course train 3 --out {out} --resume` goes on."
        )
    result = train.main(config(train, "--out", out, "--resume"))
    assert result["baselines"][0]["name"] == "1-D CNN" and len(rows(out)) == 3


def test_more_epochs_and_another_rate_for_a_finished_run(tmp_path, tiny, ctrl_c, quiet, monkeypatch):
    """The baselines are not trained again, and a second resume still knows the new flags."""
    run = tmp_path / "run"
    train.main(config(train, *SMALL, "--data", tiny, "--out", run))
    monkeypatch.setattr(train, "train_baselines", None)
    ctrl_c(10)
    flags = ("--epochs", 5, "--lr", 0.002, "--clip", 0.5, "--schedule", "constant")
    assert "stopped at step 37 of 45" in refused(train.main, config(train, "--out", run, "--resume", *flags))
    train.main(config(train, "--out", run, "--resume"))
    assert [row["epoch"] for row in rows(run)] == [1, 2, 3, 4, 5]
    saved = read_json(run / "config.json")
    assert (saved["epochs"], saved["lr"], saved["clip"], saved["schedule"]) == (5, 0.002, 0.5, "constant")
    (group,) = checkpoint.load(run / "checkpoint.safetensors")["optimizer"]["param_groups"]
    assert group["lr"] == 0.002


@pytest.mark.parametrize(
    ("flags", "was"),
    [
        (("--hidden", 7), "--hidden 32: leave --hidden"), (("--kind", "gru"), "--kind lstm: leave --kind"),
        (("--pool", "max"), "--pool mean: leave --pool"), (("--max-len", 9), "--max-len 60: leave --max-len"),
        (("--bidirectional",), "--no-bidirectional: leave --bidirectional"),
        (("--weight-decay", 0.1), "--weight-decay 0: leave --weight-decay"),
        (("--peer-lr", 0.1), "--peer-lr 0.003: leave --peer-lr"),
    ],
)  # fmt: skip
def test_resume_as_another_network(tiny_run, flags, was):
    assert refused(train.main, config(train, "--out", tiny_run, "--resume", "--epochs", 9, *flags)) == (
        f"{tiny_run} was started with {was} out, or start a new run."
    )
    assert read_json(tiny_run / "config.json")["epochs"] == 8


# ---------------------------------------------------------------- what train refuses


def test_steps_that_are_too_large(tmp_path, tiny, quiet):
    flags = ("--data", tiny, "--lr", "1e29", "--clip", 0, "--schedule", "constant", "--out", tmp_path / "run")
    line = refused(train.main, config(train, *SMALL, *flags))
    advice = r"the steps are too large\. Try --lr 0\.002, or --clip 1\."
    assert re.fullmatch(rf"the loss became (nan|inf) at step \d+ \(epoch 1\): {advice}", line)
    assert not (tmp_path / "run" / "result.json").exists()
    flags = ("--data", tiny, "--peer-lr", "1e29", "--schedule", "constant", "--out", tmp_path / "other")
    line = refused(train.main, config(train, *SMALL[:-1], *flags))
    assert line.endswith("the steps are too large. Try --peer-lr 0.002."), "it is the convolution's"


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--kind", "transformer"), "--kind transformer: must be one of lstm, gru, rnn, cnn."),
        (("--impl", "numpy"), "--impl numpy: must be one of torch, scratch."),
        (("--pool", "first"), "--pool first: must be one of last, max, mean."),
        (("--schedule", "linear"), "--schedule linear: must be one of cosine, constant."),
        (("--embed", 0), "--embed 0: must be at least 1."),
        (("--hidden", 0), "--hidden 0: must be at least 1."),
        (("--layers", 0), "--layers 0: must be at least 1."),
        (("--max-len", 0), "--max-len 0: must be at least 1."),
        (("--vocab", 2), "--vocab 2: must be at least 3."),
        (("--max-steps", -1), "--max-steps -1: must be 0 or more."),
        (("--lr", 0), "--lr 0: must be above 0."),
        (("--peer-lr", 0), "--peer-lr 0: must be above 0."),
        (("--clip", -1), "--clip -1: must be 0 or more."),
        (("--clip", "inf"), "--clip inf: must be a finite number."),
        (("--weight-decay", -1e-4), "--weight-decay -0.0001: must be 0 or more."),
        (("--dropout", 1), "--dropout 1: must be from 0 to below 1."),
        (("--embed-dropout", -0.1), "--embed-dropout -0.1: must be from 0 to below 1."),
        (("--word-dropout", 1), "--word-dropout 1: must be from 0 to below 1."),
    ],
)
def test_flags_that_cannot_work(flags, complaint):
    assert refused_flags(train, *flags) == complaint


def test_data_and_devices_that_are_not_there(tmp_path, tiny, monkeypatch):
    out = tmp_path / "run"
    assert refused(train.main, config(train, "--data", "imbd", "--out", out)) == (
        "--data imbd: no such file or folder, nor one of sample, imdb."
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line = refused(train.main, config(train, "--data", tiny, "--device", "cuda", "--out", out))
    assert line.startswith("no CUDA GPU that torch can use")
    assert not out.exists(), "a run folder was made for nothing"


@pytest.mark.parametrize(("pool", "advice"), [("last", "more --epochs, or --pool max."), ("mean", "more --epochs.")])
def test_a_training_that_learns_nothing_says_so(tmp_path, tiny, quiet, monkeypatch, capfd, pool, advice):
    monkeypatch.setattr(train, "evaluate", lambda *_: {"loss": 0.69, "accuracy": 0.5})
    flags = ("--data", tiny, "--pool", pool, "--max-steps", 1, "--out", tmp_path / "run")
    train.main(config(train, *SMALL, *flags))
    line = f"it has learned nothing: val accuracy 50.00%, always the same answer has 50.00%. Try another --lr, {advice}"
    assert f"\n{line}\n" in capfd.readouterr().out


# ---------------------------------------------------------------- baselines


def test_the_bag_of_words_is_scikit_learns(tiny):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    reviews = data.load(str(tiny))
    by_hand = make_pipeline(
        TfidfVectorizer(token_pattern=r"\w+(?:'\w+)*|[!?]", min_df=2, sublinear_tf=True), LogisticRegression(C=3.0)
    ).fit(reviews.train.texts, reviews.train.labels)
    bag = sentiment_baselines.BagOfWords(3.0).fit(reviews.train)
    assert bag.accuracy(reviews.test) == by_hand.score(reviews.test.texts, reviews.test.labels)
    chosen = sentiment_baselines.BagOfWords().choose(reviews.train, reviews.val)
    strengths = sentiment_baselines.BagOfWords.CHOICES["C"]
    each = [sentiment_baselines.BagOfWords(C).fit(reviews.train).accuracy(reviews.val) for C in strengths]
    assert strengths[int(np.argmax(each))] == chosen.settings["C"] and chosen.accuracy(reviews.val) == max(each)


def test_the_log_count_ratio_is_that_of_the_lesson():
    """Two reviews of each class, counted by hand: positive "good film", "good"; negative "bad film", "bad"."""
    from scipy import sparse

    words = ("bad", "bad film", "film", "good", "good film")
    present = sparse.csr_matrix([[0, 0, 1, 1, 1], [0, 0, 0, 1, 0], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], dtype=float)
    r = dict(zip(words, sentiment_baselines.log_count_ratio(present, np.array([1, 1, 0, 0])), strict=True))
    assert r == pytest.approx(
        {"good": math.log(3), "good film": math.log(2), "film": 0, "bad": -math.log(3), "bad film": -math.log(2)}
    )
    fewer = sentiment_baselines.log_count_ratio(present[1:], np.array([1, 0, 0]))  # p = 1 1 1 2 1, q = 3 2 2 1 1
    assert fewer == pytest.approx(np.log([1 / 3 * 9 / 6, 1 / 2 * 9 / 6, 1 / 2 * 9 / 6, 2 * 9 / 6, 9 / 6]))


def test_naive_bayes_bigrams_agree_with_a_count_in_words():
    """Ratios counted in Python from the texts, each review brought to length 1, an SVM, and the interpolation."""
    from sklearn.svm import LinearSVC

    part = data.load("sample").train.take(np.arange(60))
    reviews = [data.tokenize(text) for text in part.texts]
    features = [{*words, *map(" ".join, itertools.pairwise(words))} for words in reviews]
    counts = Counter(itertools.chain(*features))
    repeated = Counter(itertools.chain(*([*words, *map(" ".join, itertools.pairwise(words))] for words in reviews)))
    known = sorted(name for name in repeated if counts[name] >= 2)
    sums = [[1 + sum(name in f for f, y in zip(features, part.labels, strict=True) if y == label) for name in known]
            for label in (0, 1)]  # fmt: skip
    r = np.array([math.log(p / sum(sums[1]) / (q / sum(sums[0]))) for q, p in zip(*sums, strict=True)])
    x = np.array([[name in f for name in known] for f in features]) * r
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    for beta in (0.0, 0.25, 1.0):
        fitted = sentiment_baselines.NaiveBayesBigrams(C=0.1, beta=beta).fit(part)
        assert list(fitted.words.get_feature_names_out()) == known
        svm = LinearSVC(C=0.1, tol=1e-8, max_iter=100_000).fit(x, part.labels)
        w = svm.coef_[0]
        margins = x @ (beta * w + (1 - beta) * np.abs(w).sum() / len(w)) + svm.intercept_[0]
        assert fitted.margins(part) == pytest.approx(margins, abs=2e-3)


@pytest.mark.parametrize("kind", sentiment_baselines.COUNTED.values())
def test_who_counts_beats_chance(tiny, kind):
    reviews = data.load(str(tiny))
    assert kind().fit(reviews.train).accuracy(reviews.test) > 0.8


def test_pairs_know_what_single_words_cannot():
    """Each word is in as many of the positive reviews as of the negative ones."""
    part = data.Part(["not good , bad", "not bad , good"] * 10, np.array([0, 1] * 10))
    assert sentiment_baselines.BagOfWords().fit(part).accuracy(part) == 0.5
    assert sentiment_baselines.NaiveBayesBigrams().fit(part).accuracy(part) == 1


def test_the_rows_of_who_counts_are_without_the_time_of_imports_and_say_how_to_make_them_again(tiny):
    reviews = data.load(str(tiny))
    found, settings = sentiment_baselines.count_words(reviews)
    assert [row["name"] for row in found] == list(settings) == ["bag of words", "naive-Bayes bigrams"]
    for row in found:
        again = sentiment_baselines.COUNTED[row["name"]](**settings[row["name"]]).fit(reviews.train)
        assert row.keys() == {"name", "params", "seconds", "val_accuracy"} and row["params"] == again.n_params
        assert row["val_accuracy"] == again.accuracy(reviews.val)


# ---------------------------------------------------------------- eval


def test_eval_agrees_with_an_independent_count(run_copy, tiny, capfd):
    (run_copy / "accuracy.png").unlink()  # train's, of val
    evaluated = evaluation.main(config(evaluation, "--run", run_copy))
    output, errors = capfd.readouterr()
    assert errors == ""
    trained, test = load(run_copy), data.load(str(tiny)).test
    with torch.no_grad():
        verdicts = [
            int(trained.model(torch.tensor([ids]), torch.tensor([len(ids)])).argmax())
            for ids in map(trained.vocabulary.encode, test.texts)
        ]
    after = read_json(run_copy / "result.json")
    accuracy = np.mean(np.array(verdicts) == test.labels)
    assert after["metrics"]["test_accuracy"] == evaluated["metrics"]["test_accuracy"] == accuracy
    cnn, bag, pairs, constant = after["baselines"]
    assert cnn["test_accuracy"] > 0.6 and bag["test_accuracy"] > 0.6 and constant["test_accuracy"] == 0.5
    reviews = data.load(str(tiny))
    for row in (bag, pairs):
        chosen = trained.run.baselines["counted"][row["name"]]
        again = sentiment_baselines.COUNTED[row["name"]](**chosen).fit(reviews.train)
        assert row["test_accuracy"] == again.accuracy(test)
    assert evaluated["confusion"] == [
        [int(np.sum((test.labels == i) & (np.array(verdicts) == j))) for j in (0, 1)] for i in (0, 1)
    ]
    wrong = int(np.sum(np.array(verdicts) != test.labels))
    assert f"{tiny} (test): 40 reviews, {wrong} mistake" in output
    assert_picture(run_copy / "accuracy.png")


def test_eval_prints_the_surest_mistakes(capfd):
    part = data.Part(["one", "two", "three<br />", "w " * 300 + "end"], np.array([1, 0, 1, 1]))
    probs = np.array([[0.7, 0.3], [0.1, 0.9], [0.4, 0.6], [0.99, 0.01]])
    evaluation.print_mistakes(part, probs, 9)
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
    path = write_reviews(tmp_path / "other.jsonl", 50, seed=5, text="body", label="verdict")
    flags = ("--run", run_copy, "--data", path, "--out", tmp_path / "out")
    assert "no column 'text'; there are: body, verdict" in refused(evaluation.main, config(evaluation, *flags))
    cfg = config(evaluation, *flags, "--text", "body", "--label", "verdict")
    evaluated = evaluation.main(cfg)
    assert np.sum(evaluated["confusion"]) == 50
    assert evaluated["metrics"]["test_accuracy"] == np.trace(evaluated["confusion"]) / 50 > 0.8
    assert (run_copy / "result.json").read_bytes() == before


def test_eval_says_that_it_knows_no_word_of_some_reviews(run_copy, tmp_path, capfd):
    path = write_reviews(tmp_path / "other.jsonl", 20, seed=5)
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps({"text": text, "label": 1}) + "\n" for text in ("这部电影很好看", "🙂 👍")))
    evaluation.main(config(evaluation, "--run", run_copy, "--data", path, "--out", tmp_path / "out"))
    assert (
        "  in 2 of the reviews the network knows not one word: to these it can only guess\n" in capfd.readouterr().out
    )


def test_eval_knows_reviews_by_their_words(run_copy, tmp_path, tiny):
    """The same texts in capitals, under another name: still the run's own test part."""
    copy = tmp_path / "renamed.jsonl"
    shouted = Path(tiny).read_text(encoding="utf-8").upper().replace("TEXT", "text").replace("LABEL", "label")
    copy.write_text(shouted, encoding="utf-8")
    found = evaluation.main(config(evaluation, "--run", run_copy, "--data", copy))
    assert np.sum(found["confusion"]) == 40


def test_eval_leaves_out_the_few_that_it_has_seen(run_copy, tmp_path, tiny, capfd):
    path = write_reviews(tmp_path / "other.jsonl", 150, seed=5)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"text": data.load(str(tiny)).train.texts[0], "label": 1}) + "\n")
    cfg = config(evaluation, "--run", run_copy, "--data", path, "--out", tmp_path / "out")
    assert np.sum(evaluation.main(cfg)["confusion"]) == 150
    assert "  left out 1 reviews that this network was trained or chosen on" in capfd.readouterr().out


def test_eval_of_a_run_from_before_they_were_kept_shows_the_others(run_copy, capfd):
    """Or one whose baselines are gone: the network is scored, and what always says the same."""
    (run_copy / "baselines.safetensors").unlink()
    evaluation.main(config(evaluation, "--run", run_copy))
    table = capfd.readouterr().out
    assert "this network" in table and "always the same answer" in table and "bag of words" not in table


def test_eval_without_what_it_was_trained_on_has_no_bag_of_words(run_copy, tmp_path, tiny, capfd):
    path = run_copy / "config.json"
    saved = checkpoint.load(run_copy / "model.safetensors")
    checkpoint.save(run_copy / "model.safetensors", saved | {"config": saved["config"] | {"data": "gone.csv"}})
    cfg = config(evaluation, "--run", path.parent, "--data", tiny, "--out", tmp_path / "out")
    evaluation.main(cfg)
    said = capfd.readouterr().out
    assert "bag of words, naive-Bayes bigrams: cannot be fitted again. --data gone.csv: no such file" in said
    assert "1-D CNN" in said


def test_classify_of_a_review_without_a_known_word(tiny_run, tmp_path):
    line = refused(classify.main, config(classify, "这部电影很好", "--run", tiny_run, "--out", tmp_path))
    assert line.startswith("the network knows no word of this review (这, 部, 电, …): whatever it said")


def test_eval_of_what_is_not_of_one_run(run_copy):
    path, cfg = run_copy / "model.safetensors", config(evaluation, "--run", run_copy)
    saved, words = checkpoint.load(path), read_json(run_copy / "vocabulary.json")
    checkpoint.save(path, saved | {"model": {"head.bias": saved["model"]["head.bias"]}})
    assert refused(evaluation.main, cfg) == (
        f"{path} does not hold the network that it describes. Train again, or use another run."
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
    (found,) = classify.main(config(classify, *flags))
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
    trained = load(tiny_run)
    ids = trained.vocabulary.encode("the film was bad and dull with lovely music")
    found = classify.positive_after(trained, ids)
    for end in (1, 4, len(ids)):
        one = train.predict(trained.model, data.Encoded([ids[:end]], np.zeros(1, dtype=int), 60))
        assert found[end - 1] == pytest.approx(one[0, 1], abs=1e-6)
    model, tokens = trained.model, torch.tensor([ids])
    with torch.no_grad():
        outputs = model.recurrent(model.words(tokens))[0]
        running = outputs.cumsum(dim=1) / torch.arange(1, len(ids) + 1)[:, None]
        np.testing.assert_allclose(model.head(running).softmax(dim=2)[0, :, 1].numpy(), found, atol=1e-6)


@pytest.mark.parametrize("kind", ["gru", "cnn"])
def test_classify_with_other_networks_and_long_reviews(tmp_path, tiny, quiet, kind, capfd):
    run = tmp_path / "run"
    train.main(config(train, *SMALL, "--data", tiny, "--kind", kind, "--max-len", 5, "--max-steps", 1, "--out", run))
    (tmp_path / "review.txt").write_text("fine " * 100, encoding="utf-8")
    (found,) = classify.main(config(classify, "--file", tmp_path / "review.txt", "--run", run))
    assert len(found["positive"]) == 100 and found["pictures"] == [run / "word_by_word.png"]
    assert found["positive"][-1] == pytest.approx(found["positive"][10], abs=1e-6), "it reads the last five words"
    assert_picture(run / "word_by_word.png")
    assert max(map(len, capfd.readouterr().out.splitlines())) <= 240


def test_classify_reads_what_is_typed(tiny_run, tmp_path, monkeypatch, capfd):
    for name in ("word_by_word", "gates"):
        monkeypatch.setattr(sentiment_drawing, name, lambda *_: None)
    cfg = config(classify, "--run", tiny_run, "--out", tmp_path)
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
        return refused(classify.main, config(classify, "--run", tiny_run, "--out", tmp_path, *flags))

    assert said("…") == 'no word in this review. Write one, as in: ./course run 3 sentiment_classify "what a film!"'
    assert said("a", "--file", "b") == "a review and --file: give one of them."
    assert said("--file", "no/such") == "--file no/such: cannot be read (No such file or directory)."
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    path = tmp_path / "latin.txt"
    assert said("--file", path) == f"--file {path}: cannot be read (not UTF-8 text)."
    assert refused_flags(classify, "a", "--show", -1) == "--show -1: must be 0 or more."


# ---------------------------------------------------------------- order


def test_what_the_order_of_the_words_is_worth(tiny_run, tiny, capfd):
    """Of these reviews one word says it all, wherever it stands; and each change does what its name says."""
    found = order.main(config(order, "--run", tiny_run))
    output, errors = capfd.readouterr()
    assert errors == "" and output.splitlines()[0] == f"as they are     {found['as they are']:8.2%}"
    names = ["as they are", "words shuffled", "backwards", "first 50 words", "last 50 words"]
    assert list(found) == names == [line[:16].strip() for line in output.splitlines()]
    trained = load(tiny_run)
    val = trained.encode(data.load(str(tiny)).val)
    assert found["as they are"] == train.evaluate(trained.model, val)["accuracy"] > 0.8
    assert found["first 50 words"] == found["last 50 words"] == found["as they are"], "none is longer"
    ids, rng = list(range(100)), np.random.default_rng(0)
    as_it_is, shuffled, backwards, first, last = (change(ids, rng) for change in order.CHANGES.values())
    assert as_it_is == ids == sorted(shuffled) != shuffled and backwards == ids[::-1]
    assert first == ids[:50] and last == ids[50:]


def test_two_verdicts_together():
    """Each is as loud as the other, whatever its unit; and one that always says the same is not divided by zero."""
    sure, unsure = np.array([4.0, -4, 4, -4]), np.array([1.0, -1, -1, 3])
    assert together.together(sure, unsure) == pytest.approx(sure / 4 + unsure / np.sqrt(2.75))
    assert together.together(100 * sure, unsure) == pytest.approx(together.together(sure, unsure))
    assert np.array_equal(together.together(np.ones(3)), np.ones(3))
    assert together.log_odds(np.array([[0.5, 0.5], [0.2, 0.8], [1, 0]])) == pytest.approx(
        [0, math.log(4), math.log(1e-12)]
    )


def test_the_network_together_with_those_who_count(tiny_run, run_copy, tiny, capfd):
    found = together.main(config(together, "--run", tiny_run))
    output, errors = capfd.readouterr()
    trained, reviews = load(tiny_run), data.load(str(tiny))
    settings = trained.run.baselines["counted"]
    assert errors == "" and list(found) == ["this network", *(n + t for n in settings for t in ("", ", together"))]
    network = train.predict(trained.model, trained.encode(reviews.val))[:, 1] > 0.5
    assert found["this network"] == np.mean(network == reviews.val.labels) > 0.8
    for name, line in zip(settings, output.splitlines()[4:], strict=False):
        other = sentiment_baselines.COUNTED[name](**settings[name]).fit(reviews.train).margins(reviews.val) > 0
        mine, theirs = network == reviews.val.labels, other == reviews.val.labels
        assert found[name] == np.mean(theirs) and found[f"{name}, together"] > 0.8
        assert line.startswith(name) and line.split()[-2:] == [str(sum(theirs & ~mine)), str(sum(mine & ~theirs))]
    (run_copy / "baselines.safetensors").unlink()
    assert "has no settings of those who count." in refused(together.main, config(together, "--run", run_copy))


# ---------------------------------------------------------------- the command line, pictures


def run_cli(program, *flags, monkeypatch, week=None):
    monkeypatch.setattr(sys, "argv", [program.__file__, *map(str, flags)])
    cli.launch(program.main, program.Config, getattr(program, "PRESETS", None), week=week)


@pytest.mark.parametrize("program", [classify, order])
def test_a_run_that_is_not_there_is_one_line_and_exit_code_2(program, monkeypatch, capfd):
    review = ["good"] if program is classify else []
    with pytest.raises(SystemExit) as caught:
        run_cli(program, *review, "--run", "no/such", monkeypatch=monkeypatch)
    assert caught.value.code == 2
    line = f"no checkpoint at {Path('no/such/model.safetensors')}. Train first, or give the folder of a finished run."
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
    assert lines[-2] == f"on the test set: ./course eval 3 --run '{out}'"
    assert (
        lines[-1]
        == f"the verdict word by word: ./course run 3 sentiment_classify --run '{out}' \"a review of your own\""
    )
    (ours,) = (line for line in lines if line.startswith("this network"))
    assert ours.split()[2:4] == [f"{result['metrics']['val_accuracy']:.2%}", f"{result['params']:,}"]
    assert any(line.split() == ["always", "the", "same", "answer", "50.00%"] for line in lines)


def test_help_comes_without_torch():
    code = (
        "import sys\nfrom importlib import import_module\nfrom shared import cli\n"
        "for name in ('train', 'eval', 'sentiment_classify', 'sentiment_order', 'sentiment_together', 'figures'):\n"
        "    program = import_module(f'week03_lstm.{name}')\n    try:\n"
        "        cli.parse(program.Config, getattr(program, 'PRESETS', None), ['--help'])\n"
        "    except SystemExit as end:\n"
        "        print('ended', end.code, sorted({'torch', 'sklearn', 'matplotlib'} & set(sys.modules)))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "160"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, encoding="utf-8")
    assert [line for line in done.stdout.splitlines() if line.startswith("ended")] == ["ended 0 []"] * 6, done.stderr


def test_word_by_word_of_a_long_text_shows_where_it_moves(tmp_path):
    positive = np.full(300, 0.5)
    positive[200:] = 0.9
    sentiment_drawing.word_by_word([f"w{i}" for i in range(300)], positive, tmp_path / "long.png")
    assert_picture(tmp_path / "long.png")


def test_gates_of_a_bidirectional_network_of_torchs(tmp_path):
    shape = sentiment_model.SentimentConfig(50, "lstm", embed=8, hidden=6, layers=2, bidirectional=True)
    opened = classify.opened_gates(sentiment_model.build(shape), [3, 4, 5])
    assert all(values.shape == (3, 6) for values in opened.values())
    sentiment_drawing.gates(["a", "b", "c"], opened, tmp_path / "gates.png")
    assert_picture(tmp_path / "gates.png")
