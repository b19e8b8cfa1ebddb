"""speed, bench and figures: what is raced is equal, what is printed is what was measured."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from shared import cli
from shared.errors import CourseError
from shared.plots import figure
from week03_lstm import bench, classify, data, figures, speed, train
from week03_lstm import eval as evaluation
from week03_lstm.classifiers import SentimentClassifier, SentimentConfig, body_params

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")  # they would print on stderr


def config(program, *flags):
    return cli.parse(program.Config, program.PRESETS, list(map(str, flags)))


def refused(program, *flags) -> str:
    with pytest.raises(CourseError) as caught:
        program.main(config(program, *flags))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_picture(path):
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG" and min(image.size) > 200
        assert len(image.convert("RGB").getcolors(256)) > 10, f"{path} is next to empty"


# ---------------------------------------------------------------- speed


@pytest.mark.parametrize("shape", [(100, 128), (100, 100), (300, 512), (50, 64)])
def test_the_contestants_are_equally_large(shape):
    models = speed.equals(SentimentConfig(vocab=50, embed=shape[0], hidden=shape[1]))
    sizes = {name: body_params(model) for name, model in models.items()}
    assert list(sizes) == list(speed.KINDS)
    assert all(abs(size / sizes["LSTM"] - 1) <= 0.03 for size in sizes.values()), sizes
    assert len({sum(p.numel() for p in model.words.parameters()) for model in models.values()}) == 1


def test_nets_too_small_to_be_equal():
    assert refused(speed, "--hidden", 2, "--embed", 100) == (
        "the GRU has 953 parameters and the LSTM 838: more than 3 % apart. Give a larger --hidden."
    )


def test_speed_from_end_to_end(tmp_path, capfd):
    before = torch.get_num_threads()
    result = speed.main(config(speed, "--preset", "smoke", "--device", "cpu", "--out", tmp_path))
    output, errors = capfd.readouterr()
    assert errors == "" and torch.get_num_threads() == before
    assert "random words (synthetic), 4 texts a step" in output
    (rows,) = result["tables"].values()
    assert [(row["length"], row["net"]) for row in rows] == [(n, net) for n in (5, 10) for net in speed.KINDS]
    for row in rows:
        assert row["examples_per_second"] > 0 and row["spread"] >= 0
        minutes = speed.EPOCH / row["examples_per_second"] / 60
        assert row["epoch_minutes"] == pytest.approx(minutes)
        assert f"| {row['length']} | {row['net']} | {row['body_params']:,} | " in output
    assert json.loads((tmp_path / "speed.json").read_text(encoding="utf-8")) == json.loads(json.dumps(result))
    assert_picture(tmp_path / "speed.png")


def test_speed_where_there_is_a_gpu(device, tmp_path):
    flags = ("--preset", "smoke", "--device", device, "--lengths", 6, "--out", tmp_path)
    tables = speed.main(config(speed, *flags))["tables"]
    assert len(tables) == 1 + (device == "cuda")


def test_a_training_step_trains():
    torch.manual_seed(0)
    model = speed.equals(SentimentConfig(vocab=20, embed=16, hidden=24))["GRU"]
    before = {name: value.clone() for name, value in model.named_parameters()}
    speed.training_step(model, 7, 5, speed.Device("cpu", "float32", ""))()
    assert all(not torch.equal(value, before[name]) for name, value in model.named_parameters())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--lengths", 0), "--lengths (0,): must be numbers of at least 1."),
        (("--rounds", 0), "--rounds 0: must be at least 1."),
        (("--vocab", 2), "--vocab 2: must be at least 3 (two stand for padding and unknown words)."),
        (("--seconds", -1), "--seconds -1.0: must be from 0 to below 60."),
        (("--threads", 0), "--threads (0,): must be numbers of at least 1."),
    ],
)
def test_speed_flags_that_cannot_work(flags, message):
    assert refused(speed, *flags) == message


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
    layers, x = bench.contestants(3, 4), torch.randn(2, 5, 3)
    for layer in layers.values():
        layer(x)[0].sum().backward()
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
    for one in logits:
        one.square().sum().backward()
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


def test_report_prints_what_was_measured(capsys):
    times = {"ours": [(1.0, 2.0), (1.5, 1.8)], "theirs": [(3.0, 9.0), (6.0, 7.2)]}
    rows = bench.report(times, 900, "words/s", [("ours", "theirs")], threads=1)
    assert rows["ours"] == {
        "process": 1.0, "clock": 1.8, "per_second": 900.0,
        "x theirs": 3.0, "x theirs, low": 3.0, "x theirs, high": 4.0,
    }  # fmt: skip
    assert "ours is 3.00 x theirs (by round 3.00 to 4.00)" in capsys.readouterr().out
    rows = bench.report(times, 900, "words/s", [("ours", "theirs")], threads=2)
    assert rows["ours"]["per_second"] == 500 and rows["ours"]["x theirs"] == 4.0, "by the clock on more threads"


def test_turns_are_taken_and_the_first_round_does_not_count():
    order = []
    times = bench.take_turns({name: lambda name=name: order.append(name) for name in "abc"}, rounds=2)
    assert order == list("abc" * 3)
    assert {name: len(spent) for name, spent in times.items()} == {"a": 2, "b": 2, "c": 2}


def test_bench_from_end_to_end(capfd):
    before = torch.get_num_threads()
    result = bench.main(config(bench, "--preset", "smoke"))
    output, errors = capfd.readouterr()
    assert errors == "" and torch.get_num_threads() == before
    assert list(result) == ["batches", "layers"]
    assert list(result["batches"]) == ["bucketed", "random", "to max_len", "packed"]
    assert list(result["layers"]) == ["nn.LSTM", "without oneDNN", "model.py", "by hand", "four gates"]
    for part in result.values():
        assert all(row["process"] > 0 and row["clock"] > 0 for row in part.values())
    assert "24 reviews of sample" in output and "model.py is " in output


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("gpu",), "unknown part 'gpu': choose from batches, layers."),
        (("--rounds", 0), "--rounds 0: must be at least 1."),
        (("--max-len", 0), "--max-len 0: must be at least 1."),
    ],
)
def test_bench_flags_that_cannot_work(flags, message):
    assert refused(bench, *flags) == message


# ---------------------------------------------------------------- figures


def drawing(folder, *names):
    for name in names:
        with figure(folder / f"{name}.png", size=(3.0, 2.0)) as (_, axis):
            axis.plot([1, 2, 4], label=name)
            axis.legend()


def test_figures_keeps_the_pictures_of_the_programs(tmp_path, capfd, monkeypatch):
    """speed is run; train, eval and classify, which have tests of their own, are only asked for the right things."""
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

    for program, main in ((train, trained), (evaluation, evaluated), (classify, classified)):
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

    monkeypatch.setattr(classify, "main", classified)
    before = (tmp_path / "run" / "gates.png").read_bytes()
    flags = ("--run", tmp_path / "run", "--imdb-run", tmp_path / "imdb", "--out", tmp_path / "figures")
    kept = figures.main(config(figures, "reviews", *flags))
    names = {"curves.png", "word_by_word_sample.png", "word_by_word.png", "gates.png"}
    assert {path.name for path in kept} == names and read == ["run", "imdb"]
    assert (tmp_path / "run" / "gates.png").read_bytes() == before


def test_every_experiment_has_its_figures():
    assert list(figures.PARTS) == ["vanish", "seq2seq", "speed", "reviews", "prices"]
    assert refused(figures, "nothing") == (
        "unknown part 'nothing': choose from vanish, seq2seq, speed, reviews, prices."
    )
