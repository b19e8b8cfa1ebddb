"""Week 14's programs: what is measured, what is learned, and training, evaluation and search as one calls them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from programs import assert_picture, close, config, refused

from shared.device import choose
from shared.files import read_json
from shared.progress import read_metrics
from week14_clip import baselines, efficientnet, measures, search, train
from week14_clip.features import Features, in_batches

# ---------------------------------------------------------------- measures


def test_ranks_by_hand():
    scores = np.array([[0.1, 0.9, 0.5], [0.3, 0.2, 0.1], [0.4, 0.4, 0.4]])
    right = np.array([[False, False, True], [True, False, True], [True, False, False]])
    assert measures.ranks(scores, right).tolist() == [2, 1, 3]  # of equals the right one comes last
    found = measures.summary(np.array([2, 1, 3, 20]))
    assert found == {"recall_at_1": 0.25, "recall_at_5": 0.75, "recall_at_10": 0.75,
                     "mrr": pytest.approx((1 / 2 + 1 + 1 / 3 + 1 / 20) / 4)}  # fmt: skip


@pytest.mark.parametrize("many", [1, 3, 12])
def test_chance_is_what_a_random_order_comes_to(many):
    rng = np.random.default_rng(0)
    right = np.zeros((4000, 12), bool)
    for row in right:
        row[rng.permutation(12)[:many]] = True
    tried = measures.summary(measures.ranks(rng.random(right.shape), right))
    for name, value in measures.by_chance(right).items():
        assert value == pytest.approx(tried[name], abs=0.025), name


def test_chance_on_flickr():
    right = np.eye(113, dtype=bool)
    assert measures.by_chance(right)["recall_at_10"] == pytest.approx(10 / 113)


def test_words_in_common():
    scores = measures.overlap(["two dogs on a beach", "nothing"], ["beach, dog", "cat", "dog"])
    assert scores[0].argmax() == 0 and scores[0, 2] > scores[0, 1] and scores[1].max() < 1e-5


# ---------------------------------------------------------------- EfficientNet


@pytest.mark.parametrize(
    "side, size, stride, left, right", [(8, 3, 2, 0, 1), (7, 3, 2, 1, 1), (8, 5, 2, 1, 2), (7, 3, 1, 1, 1)]
)
def test_padding_is_that_of_tensorflow(side, size, stride, left, right):
    torch.manual_seed(0)
    conv, x = efficientnet.Conv(2, 3, size, stride), torch.randn(1, 2, side, side)
    expected = F.conv2d(F.pad(x, (left, right, left, right)), conv.weight, stride=stride)
    close(conv(x), expected, "the convolution")
    assert expected.shape[-1] == -(-side // stride)


def test_published_weights_fit_and_see():
    """A picture of one colour is far from one of stripes, and close to the same a little darker."""
    network = efficientnet.load()
    assert sum(p.numel() for p in network.parameters()) == 4_652_008 and not network.training
    plain = torch.full((1, 3, 64, 64), 120.0)
    striped = plain.clone()
    striped[:, :, ::8] = 255
    one, darker, other = network(torch.cat([plain, plain - 10, striped]))
    assert one.shape == (1280,) and (one - darker).norm() < 0.5 * (one - other).norm()


def test_the_network_for_looking_is_the_same_network():
    network = efficientnet.load()
    x = 255 * torch.rand(2, 3, 70, 65, generator=torch.Generator().manual_seed(0))
    expected = network(x)
    close(efficientnet.for_looking(network)(x), expected, "the features", 1e-4)
    close(network(x), expected, "the published network's, untouched")


def test_damaged_weights(tmp_path):
    (tmp_path / efficientnet.FILE).write_bytes(b"nonsense")
    assert "does not hold EfficientNet-Lite0" in refused(efficientnet.load, tmp_path)


def test_batches_of_anything():
    assert list(in_batches(range(5), 2)) == [[0, 1], [2, 3], [4]] and list(in_batches([], 2)) == []


# ---------------------------------------------------------------- training


def made_up(n, seed=0):
    """Pictures and texts that are views of the same few numbers, with two texts to a picture."""
    world = torch.Generator().manual_seed(0)
    to_picture, to_text = (torch.randn(8, dim, generator=world) for dim in (1280, 384))
    rng = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, 8, generator=rng)
    pictures = hidden @ to_picture + torch.randn(n, 1280, generator=rng)
    texts = hidden.repeat_interleave(2, 0) @ to_text + torch.randn(2 * n, 384, generator=rng)
    return Features(pictures, texts, np.repeat(np.arange(n), 2), np.arange(n))


def test_it_learns_what_holds_for_pairs_it_has_not_seen():
    cfg = config(
        train, "--device", "cpu", "--epochs", 4, "--dim", 16, "--batch-size", 32, "--dropout", 0, "--lr", 0.003
    )
    train_part, val = made_up(256), made_up(60, seed=1)
    model = train.begin(cfg, train_part)
    before = train.evaluate(model, val, choose("cpu"))
    rows = list(train.fit(cfg, train_part, val, model, choose("cpu")))
    assert [row["epoch"] for row in rows] == list(range(1, 5))
    assert {"val_recall_at_1", "val_recall_at_10", "val_mrr", "val_loss", "train_loss"} < rows[0].keys()
    assert before["recall_at_1"] < 0.15, "before the first step it knows nothing"
    assert rows[-1]["val_recall_at_1"] > 0.6 and rows[-1]["train_loss"] < 0.6 * rows[0]["train_loss"]


def test_regression_finds_what_is_linear():
    """The least squares: no other map has a smaller error, pull included; and on new pairs it beats chance by far."""
    part, val = made_up(256), made_up(60, seed=1)
    fitted = baselines.regression(part, 1e-2)
    x = part.pictures - fitted["picture_mean"]
    y = part.texts.reshape(256, 2, 384).mean(1) - fitted["text_mean"]
    pull = 1e-2 * (x**2).sum(0).mean()
    slope = x.T @ (x @ fitted["weights"] - y) + pull * fitted["weights"]
    assert slope.abs().max() < 1e-2 * (x.T @ y).abs().max()
    scores = baselines.by_regression(baselines.fit_regression(part, val), val)
    assert measures.summary(measures.ranks(scores, val.right))["recall_at_1"] > 0.5


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny training on the drawings, by its flags."""
    out = tmp_path_factory.mktemp("run") / "run"
    flags = ("--preset", "smoke", "--limit", 24, "--side", 32, "--epochs", 3, "--batch-size", 8)
    return train.main(config(train, *flags, "--device", "cpu", "--out", out)), out


def test_training_leaves_a_run(trained):
    result, out = trained
    rows = read_metrics(out / "metrics.jsonl")
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    names = [baselines.UNTRAINED, baselines.REGRESSION, "random order", "words of the tags"]
    assert [row["name"] for row in result["baselines"]] == names
    assert_picture(out / "curves.png")


def test_evaluation(trained, capsys):
    from week14_clip import eval as evaluation

    _, out = trained
    result = evaluation.main(config(evaluation, "--run", out, "--device", "cpu"))
    assert {"test_mrr", "test_recall_at_1", "test_recall_at_5", "test_recall_at_10"} < result["metrics"].keys()
    assert result["scored"] == 24 and read_json(out / "result.json")["metrics"]["test_mrr"] > 0
    assert "this network, picture → text" in capsys.readouterr().out
    assert_picture(out / "search.png")


def test_search_in_a_folder(trained, tmp_path, capsys):
    from week14_clip import data

    _, out = trained
    for one in data.emoji("train", ("noto",), 6).items:
        one.read().save(tmp_path / f"{one.concept}.png")
    flags = ("--run", out, "--device", "cpu", "--k", 3)
    found = search.main(config(search, tmp_path, "2:a", "fruit", "-", "a", "face", *flags))
    assert len(found["paths"]) == 3 and found["scores"] == sorted(found["scores"], reverse=True)
    assert "6 pictures (6 new, 0 as they were)" in capsys.readouterr().out
    own = sorted(tmp_path.glob("*.png"))[2]
    alike = search.main(config(search, tmp_path, own.name, "-f", "--sheet", out / "sheet.png", *flags))
    assert alike["paths"][0] == str(own) and alike["scores"][0] == pytest.approx(1, abs=1e-3)
    assert capsys.readouterr().out.splitlines() == alike["paths"]
    assert_picture(out / "sheet.png")
    chroma = search.main(config(search, tmp_path, own.name, "-f", "--index", "chroma", *flags))
    assert chroma["paths"] == alike["paths"] and capsys.readouterr().out.splitlines() == alike["paths"]
    (tmp_path / "copy.png").write_bytes(own.read_bytes())
    pairs = search.main(config(search, tmp_path, "--same", "--alike", 0.9999, *flags))["pairs"]
    assert {own.name, "copy.png"} in [{a, b} for a, b, _ in pairs]
