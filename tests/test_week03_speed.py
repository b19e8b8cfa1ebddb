"""speed, bench and figures: what is raced is equal, what is printed is what was measured."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from programs import assert_picture, config, refused, refused_flags
from torch import nn

from shared import race, results
from shared.device import Device
from week03_lstm import bench, data, figures, sentiment_classify, speed, train
from week03_lstm import eval as evaluation
from week03_lstm.sentiment_model import SentimentClassifier, SentimentConfig, body_params

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")  # they would print on stderr


# ---------------------------------------------------------------- speed


@pytest.mark.parametrize("shape", [(100, 128), (100, 100), (300, 512), (50, 64)])
def test_the_contestants_are_equally_large(shape):
    models = speed.equals(SentimentConfig(vocab=50, embed=shape[0], hidden=shape[1]))
    sizes = {name: body_params(model) for name, model in models.items()}
    assert list(sizes) == list(speed.NETS)
    assert all(abs(size / sizes["LSTM"] - 1) <= 0.03 for size in sizes.values()), sizes
    assert len({sum(p.numel() for p in model.words.parameters()) for model in models.values()}) == 1


def test_nets_too_small_to_be_equal():
    assert refused(speed.main, config(speed, "--hidden", 2, "--embed", 100)) == (
        "the GRU has 953 parameters and the LSTM 838: more than 3 % apart. Give a larger --hidden."
    )


def test_speed_from_end_to_end(tmp_path, capfd, monkeypatch):
    published = []
    monkeypatch.setattr(results, "publish", lambda *arguments: published.append(arguments))
    before = torch.get_num_threads()
    flags = ("--preset", "smoke", "--device", "cpu", "--publish", "--out", tmp_path)
    result = speed.main(config(speed, *flags))
    output, errors = capfd.readouterr()
    assert errors == "" and torch.get_num_threads() == before
    assert "random words (synthetic), 4 texts a step" in output
    assert list(result["tables"]) == ["CPU, 1 thread"]
    for title, found in result["tables"].items():
        assert [(row["length"], row["net"]) for row in found] == [(n, net) for n in (5, 10) for net in speed.NETS]
        for row in found:
            assert row["per_second"] > 0 and row["median"] >= row["best"] > 0
            assert row["epoch_minutes"] == pytest.approx(speed.EPOCH / row["per_second"] / 60)
            assert (row["ratio"] == 1) == (row["net"] == "1-D CNN")
        speeds = " | ".join(f"{row['per_second']:,.0f}" for row in found[4:])
        assert f"| 10 | {title} | {speeds} | " in output, "a line for each length and number of threads"
    ((week, name, text),) = published
    assert (week, name) == (3, "speed") and text in output
    assert json.loads((tmp_path / "speed.json").read_text(encoding="utf-8")) == json.loads(json.dumps(result))
    assert_picture(tmp_path / "speed.png")


def test_a_round_lasts_about_as_long_as_it_is_asked_to():
    done = []
    work, count = speed.some_steps(lambda: done.append(1) or sum(range(20_000)), at_least=0.02)
    assert len(done) == 2 and count > 3, "one to warm up, and one that is timed"
    work()
    assert len(done) == 2 + count


def test_the_table_has_a_line_for_each_length_and_place():
    rows = [
        {"net": net, "length": length, "per_second": 1000 * number, "ratio": number / 4}
        for length in (5, 10) for number, net in enumerate(speed.NETS, 1)
    ]  # fmt: skip
    lines = speed.table({"CPU, 1 thread": rows, "cuda": rows}).splitlines()
    assert [line.split(" | ")[:2] for line in lines[2:]] == [
        ["| 5", "CPU, 1 thread"], ["| 5", "cuda"], ["| 10", "CPU, 1 thread"], ["| 10", "cuda"]
    ]  # fmt: skip
    assert lines[2] == "| 5 | CPU, 1 thread | 1,000 | 2,000 | 3,000 | 4,000 | 4.0 | 2.0 | 1.3 |"


def test_speed_where_there_is_a_gpu(device, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "draw", lambda *_: None)
    flags = ("--preset", "smoke", "--device", device, "--lengths", 6, "--threads", 1, "--out", tmp_path)
    tables = speed.main(config(speed, *flags))["tables"]
    assert len(tables) == 1 + (device == "cuda")


def test_a_training_step_trains():
    torch.manual_seed(0)
    model = speed.equals(SentimentConfig(vocab=20, embed=16, hidden=24))["GRU"]
    before = {name: value.clone() for name, value in model.named_parameters()}
    speed.training_step(model, 7, 5, Device("cpu", "float32", ""))()
    assert all(not torch.equal(value, before[name]) for name, value in model.named_parameters())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--lengths", 0), "--lengths 0: must be at least 1."),
        (("--rounds", 0), "--rounds 0: must be at least 1."),
        (("--vocab", 2), "--vocab 2: must be at least 3."),
        (("--seconds", -1), "--seconds -1: must be from 0 to below 60."),
        (("--threads", 0), "--threads 0: must be at least 1."),
    ],
)
def test_speed_flags_that_cannot_work(flags, message):
    assert refused_flags(speed, *flags) == message


def test_speed_needs_a_length():
    assert refused(speed.main, config(speed, "--lengths")) == "--lengths: give at least one."


# ---------------------------------------------------------------- bench: layers


def test_all_layers_compute_the_same():
    torch.manual_seed(0)
    layers = bench.contestants(6, 5)
    x, dy = torch.randn(3, 11, 6), torch.randn(3, 11, 5)
    found = {}
    for name, layer in layers.items():
        read = x.clone().requires_grad_()
        outputs = layer(read)[0]
        outputs.backward(dy)
        found[name] = outputs.detach(), read.grad, layer
    outputs, dx, reference = found.pop("nn.LSTM")
    for name, (ours, our_dx, layer) in found.items():
        torch.testing.assert_close(ours, outputs, rtol=0, atol=1e-5, msg=f"{name}: outputs")
        torch.testing.assert_close(our_dx, dx, rtol=0, atol=1e-5, msg=f"{name}: dx")
        for parameter, expected in reference.named_parameters():
            if name == "four gates":
                gates = layer.x if "_ih_" in parameter else layer.h
                grad = torch.cat([getattr(gate, parameter.partition("_")[0]).grad for gate in gates])
            else:
                grad = getattr(layer, parameter).grad
            torch.testing.assert_close(grad, expected.grad, rtol=0, atol=1e-5, msg=f"{name}: d{parameter}")


@pytest.mark.parametrize("used", ["both", "hidden", "cell"])
def test_backward_by_hand_equals_finite_differences(used):
    """Also with respect to the state to begin with, and where nobody uses the cells or the hidden states."""
    torch.manual_seed(0)
    T, B, I, H = 4, 2, 3, 2  # noqa: E741
    shapes = ((T, B, I), (4 * H, I), (4 * H, H), (4 * H,), (B, H), (B, H))
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def outputs(*inputs):
        hs, cs = bench.LSTMByHand.apply(*inputs)
        return {"both": (hs, cs), "hidden": hs, "cell": cs}[used]

    assert torch.autograd.gradcheck(outputs, inputs)


def test_backward_by_hand_where_the_input_needs_no_gradient():
    layers, x, dy = bench.contestants(3, 4), torch.randn(2, 5, 3), torch.randn(2, 5, 4)
    for layer in layers.values():
        layer(x)[0].backward(dy)
    expected = layers["nn.LSTM"].weight_hh_l0.grad
    torch.testing.assert_close(layers["by hand"].weight_hh_l0.grad, expected, rtol=0, atol=1e-5)


# ---------------------------------------------------------------- bench: batches


@pytest.fixture
def some_reviews():
    rng = np.random.default_rng(0)
    ids = [rng.integers(2, 30, size=size).tolist() for size in rng.integers(1, 15, 23)]
    return ids, rng.integers(0, 2, 23)


def test_packed_computes_what_padding_computes(some_reviews):
    config = SentimentConfig(vocab=30, embed=6, hidden=5)
    torch.manual_seed(0)
    padding, packing = SentimentClassifier(config), bench.Packed(config)
    packing.load_state_dict(padding.state_dict())
    tokens, lengths = map(torch.from_numpy, data.padded(some_reviews[0], 12))
    logits = [model(tokens, lengths) for model in (padding, packing)]
    torch.testing.assert_close(*logits, rtol=0, atol=1e-5)
    upstream = torch.randn(logits[0].shape)
    for one in logits:
        one.backward(upstream)
    for (name, ours), theirs in zip(padding.named_parameters(), packing.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-5, msg=name)


class Watching(nn.Module):
    """Remembers what it was given to read."""

    def __init__(self):
        super().__init__()
        self.weight, self.seen = nn.Parameter(torch.zeros(2)), []

    def forward(self, tokens, lengths):
        self.seen.append((tokens, lengths))
        return self.weight.expand(len(tokens), 2)


@pytest.mark.parametrize(("bucketed", "full"), [(True, False), (False, False), (False, True)])
def test_everybody_reads_the_same_reviews(bucketed, full, some_reviews):
    cfg = replace(config(bench), batch_size=4, max_len=12)
    ids, labels = some_reviews
    model = Watching()
    bench.passes(model, ids, labels, cfg, bucketed, full)()
    read = [row[:n].tolist() for tokens, lengths in model.seen for row, n in zip(tokens, lengths, strict=True)]
    assert sorted(read) == sorted(text[-12:] for text in ids)
    assert sum(map(len, read)) == bench.words_in(ids, cfg)
    widths = [(tokens.shape[1], int(lengths.max())) for tokens, lengths in model.seen]
    assert all(width == (12 if full else longest) for width, longest in widths)


def test_who_is_given_less_to_do_is_compared_by_what_was_done():
    """As packed is, which reads fewer reviews a round: three times as long for a third of the words is a ninth."""
    laps = {"packed": race.Laps([3.0, 3.3], [3.0, 3.0]), "random": race.Laps([1.0, 1.1], [1.0, 1.5])}
    for threads in (1, 2):
        _, numbers = race.table(laps, {"packed": 100, "random": 300}, "words", "random", threads)
        assert numbers["packed"]["ratio"] == pytest.approx(1 / 9) and numbers["random"]["ratio"] == 1
        assert numbers["packed"]["per_second"] == pytest.approx(100 / 3)
    assert numbers["packed"]["low"] == pytest.approx(numbers["packed"]["high"]) == pytest.approx(1 / 9)


def test_bench_from_end_to_end(capfd, monkeypatch, tmp_path):
    published = []
    monkeypatch.setattr(results, "publish", lambda *arguments: published.append(arguments))
    before = torch.get_num_threads()
    path = tmp_path / "own.jsonl"
    lines = [json.dumps({"text": f"review {number} " * (2 + number % 7), "label": number % 2}) for number in range(60)]
    path.write_text("\n".join(lines), encoding="utf-8")
    result = bench.main(config(bench, "--preset", "smoke", "--data", path, "--publish"))
    output, errors = capfd.readouterr()
    assert errors == "" and torch.get_num_threads() == before
    assert list(result) == ["batches, 1 threads", "layers, 1 threads"]
    for part, found in result.items():
        batches = part.startswith("batches")
        assert list(found) == (
            ["bucketed", "random", "to max_len", "packed"] if batches
            else ["nn.LSTM", "without oneDNN", "model.py", "by hand", "four gates"]
        )  # fmt: skip
        peer = found["random" if batches else "nn.LSTM"]
        assert all(row["process"] > 0 and row["best"] > 0 for row in found.values()) and peer["ratio"] == 1
    assert f"24 reviews of {path}" in output and "8 sequences of 10 steps" in output
    assert [(week, name) for week, name, _ in published] == [(3, "bench batches"), (3, "bench layers")]
    assert all(text.count("(by round)") == 1 and text.split("\n\n")[0] in output for *_, text in published)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("gpu",), "gpu: must be one of batches, layers."),
        (("--rounds", 0), "--rounds 0: must be at least 1."),
        (("--max-len", 0), "--max-len 0: must be at least 1."),
    ],
)
def test_bench_flags_that_cannot_work(flags, message):
    assert refused_flags(bench, *flags) == message


# ---------------------------------------------------------------- figures


def drawing(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        pixels = np.random.default_rng(len(name)).integers(0, 255, (240, 240), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")


def test_figures_keeps_the_pictures_of_the_programs(tmp_path, capfd, monkeypatch):
    """speed is run; the programs on reviews, which have tests of their own, are only asked for the right things."""
    asked = []

    def trained(cfg):
        asked.append(("train", cfg.preset, cfg.seed, cfg.hidden))
        drawing(Path(cfg.out), "curves", "val_accuracy")
        return {"run": cfg.out}

    def evaluated(cfg):
        asked.append(("eval", Path(cfg.run).name))
        drawing(Path(cfg.run), "test_accuracy")

    def classified(cfg):
        asked.append(("classify", *cfg.review))
        drawing(Path(cfg.out), "word_by_word", "gates")

    for program, main in ((train, trained), (evaluation, evaluated), (sentiment_classify, classified)):
        monkeypatch.setattr(program, "main", main)
    flags = ("speed", "reviews", "--preset", "smoke", "--seed", 7, "--out", tmp_path / "figures")
    kept = figures.main(config(figures, *flags))
    output, errors = capfd.readouterr()
    assert errors == ""
    hidden = train.PRESETS["smoke"]["hidden"]
    assert asked == [("train", "smoke", 7, hidden), ("eval", "run"), ("classify", figures.REVIEW)]
    names = {"speed", "curves", "val_accuracy", "test_accuracy", "word_by_word_sample", "gates"}
    assert {path.name for path in kept} == {f"{name}.png" for name in names}
    assert sorted((tmp_path / "figures").iterdir()) == sorted(kept)
    for path in kept:
        assert_picture(path)
        assert str(path) in output


def test_figures_of_runs_that_are_there(tmp_path, monkeypatch):
    drawing(tmp_path / "run", "curves", "gates")
    read = []

    def classified(cfg):
        read.append(Path(cfg.run).name)
        drawing(Path(cfg.out), "word_by_word", "gates")

    monkeypatch.setattr(sentiment_classify, "main", classified)
    before = (tmp_path / "run" / "gates.png").read_bytes()
    flags = ("--run", tmp_path / "run", "--imdb-run", tmp_path / "imdb", "--out", tmp_path / "figures")
    kept = figures.main(config(figures, "reviews", *flags))
    names = {"curves.png", "word_by_word_sample.png", "word_by_word.png", "gates.png"}
    assert {path.name for path in kept} == names and read == ["run", "imdb"]
    assert (tmp_path / "run" / "gates.png").read_bytes() == before


def test_every_experiment_has_its_figures():
    assert list(figures.PARTS) == ["vanish", "seq2seq", "speed", "reviews", "prices"]
    assert refused_flags(figures, "nothing") == "nothing: must be one of vanish, seq2seq, speed, reviews, prices."
    assert refused_flags(figures, "--preset", "huge") == "--preset huge: must be one of smoke, quick, full."
