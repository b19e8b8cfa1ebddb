"""Week 13's measures against scikit-learn, its training, and where it looks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from programs import assert_picture, close, config, refused, refused_flags
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from shared.device import Device
from shared.files import read_json
from week13_vit import app, augment, baselines, compare, data, eval, looks, masked, measures, pretrain, train
from week13_vit.model import ViT, ViTConfig, flops, patchify
from week13_vit.weights import fill, in_our_names, load_pretrained

CPU = Device("cpu", "float32", "a test")
SMALL = ["--preset", "smoke", "--side", "16", "--patch", "8", "--width", "16", "--depth", "2", "--heads", "2"]


@pytest.fixture
def rng():
    return np.random.default_rng(7)


# ---------------------------------------------------------------- measures


def test_auroc_is_scikit_learns_with_and_without_ties(rng):
    labels = rng.integers(0, 2, 200)
    for scores in (rng.random(200), rng.integers(0, 5, 200) / 5.0, np.zeros(200), labels.astype(float)):
        assert measures.auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert np.isnan(measures.auroc(np.ones(4, int), rng.random(4)))


def test_mean_auroc_of_three_classes_is_scikit_learns(rng):
    labels, probs = rng.integers(0, 3, 90), rng.dirichlet((1, 1, 1), 90)
    expected = roc_auc_score(labels, probs, multi_class="ovr")
    assert measures.mean_auroc(labels, probs) == pytest.approx(expected, abs=1e-12)
    two = np.stack([1 - probs[:, 0], probs[:, 0]], axis=1)
    ill = (labels == 0).astype(np.int64)
    assert measures.mean_auroc(ill, two) == pytest.approx(roc_auc_score(ill, probs[:, 0]), abs=1e-12)


def test_bootstrap_draws_patients_and_not_pictures(rng):
    labels = np.repeat(rng.integers(0, 2, 60), 5)  # five pictures of each, which are alike
    scores = np.clip(labels * 0.3 + np.repeat(rng.random(60), 5), 0, 1.3) / 1.3
    probs = np.stack([1 - scores, scores], axis=1)
    low, high = measures.bootstrap(labels, probs, np.repeat(np.arange(60), 5), 300)
    narrow = measures.bootstrap(labels, probs, np.arange(300), 300)
    assert low < measures.auroc(labels, scores) < high
    assert high - low > 1.5 * (narrow[1] - narrow[0]), "as if each picture were another person, the interval flatters"
    assert measures.bootstrap(labels, probs, np.arange(300), 300) == narrow, "the same each time"


def test_the_threshold_is_the_one_with_the_best_balanced_accuracy(rng):
    labels = (rng.random(150) < 0.2).astype(np.int64)
    scores = np.clip(0.4 * labels + 0.6 * rng.random(150), 0, 1)
    found = measures.best_threshold(labels, scores)
    best = max(balanced_accuracy_score(labels, scores >= cut) for cut in np.linspace(0, 1, 500))
    preds = measures.decided(np.stack([1 - scores, scores], 1), found)
    assert measures.at_threshold(labels, preds)["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(labels, preds)
    )
    assert balanced_accuracy_score(labels, preds) >= best - 1e-9
    assert measures.best_threshold(np.array([0, 0, 1, 1]), np.array([0.1, 0.3, 0.7, 0.9])) == pytest.approx(0.5)


def test_sensitivity_and_specificity_by_hand():
    labels, preds = np.array([1, 1, 1, 1, 0, 0]), np.array([1, 1, 1, 0, 1, 0])
    found = measures.at_threshold(labels, preds)
    assert found == {"balanced_accuracy": 0.625, "sensitivity": 0.75, "specificity": 0.5}


def test_calibration_by_hand():
    """Four answers with 0.9 of which three are right: 0.15 off; four with 0.6, two right: 0.1 off."""
    probs = np.array([[0.9, 0.1]] * 4 + [[0.4, 0.6]] * 4)
    labels = np.array([0, 0, 0, 1, 1, 1, 0, 0])
    error, rows = measures.calibration(labels, probs)
    assert error == pytest.approx((0.15 + 0.1) / 2) and [row["count"] for row in rows] == [4, 4]


# ---------------------------------------------------------------- augmentation


def test_augmentation_keeps_the_anatomy():
    torch.manual_seed(0)
    images = torch.zeros(64, 1, 32, 32)
    images[:, :, 8:24, 18:26] = 1.0  # a heart, to the right of the middle
    seen = augment.augmented(images, 1.0)
    assert seen.shape == images.shape and seen.min() >= 0 and seen.max() <= 1
    columns = (seen * torch.arange(32.0)).sum((1, 2, 3)) / seen.sum((1, 2, 3))
    assert (columns > 15.5).all(), "the heart stays where it is"
    assert (seen[0] != seen[1]).any(), "each picture is changed by amounts of its own"
    assert augment.augmented(images, 0.0) is images
    mirrored = augment.augmented(images, 0.0, mirror=True)
    assert 10 < int((mirrored[:, 0, 16, 6] == 1).sum()) < 54, "about half of them, where it is asked for"


# ---------------------------------------------------------------- the optimiser


def test_layers_below_learn_more_slowly():
    cfg = replace(train.Config(), layer_decay=0.5, lr=1.0, weight_decay=0.1)
    model = ViT(ViTConfig(side=16, patch=8, width=8, depth=2, heads=2, mlp_width=16, classes=2))
    optimizer = train.make_optimizer(cfg, model)
    train.set_lr(optimizer, cfg.lr)
    rate, decay = {}, {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = next(name for name, one in model.named_parameters() if one is parameter)
            rate[name], decay[name] = group["lr"], group["weight_decay"]
    assert rate.keys() == dict(model.named_parameters()).keys(), "every weight is in one group"
    assert rate["head.weight"] == rate["norm.bias"] == 1
    assert rate["blocks.1.attn.qkv.weight"] == 0.5 and rate["blocks.0.norm1.bias"] == 0.25
    assert rate["patch_embed.proj.weight"] == rate["cls_token"] == rate["pos_embed"] == 0.125
    assert decay["blocks.1.attn.qkv.weight"] == decay["head.weight"] == 0.1
    assert decay["cls_token"] == decay["pos_embed"] == decay["norm.weight"] == decay["head.bias"] == 0


def test_the_rate_grows_and_falls():
    rates = [train.learning_rate(step, 100, 0.1) for step in range(100)]
    assert max(rates) > 0.99 and rates.index(max(rates)) in (9, 10) and rates[0] < 0.11 and rates[-1] < 0.001
    assert train.learning_rate(0, 10, 0.0) < 1


def test_a_rare_class_counts_as_much():
    part = data.Part(np.zeros((10, 4, 4, 1), np.uint8), np.array([0] * 8 + [1] * 2), np.arange(10))
    close(train.class_weights(train.Config(), part, 2), np.array([0.625, 2.5]), "the classes' weights")
    close(train.class_weights(replace(train.Config(), balance=False), part, 2), np.ones(2), "with --no-balance")


def test_the_cnn_costs_as_much():
    from torch.utils.flop_counter import FlopCounterMode

    net = baselines.ConvNet(6, 2).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.features(torch.zeros(1, 3, 32, 32))
    assert counter.get_total_flops() == baselines.cnn_flops(6, 32)
    for shape in (ViTConfig(side=64, patch=8, width=96, depth=6, heads=3, mlp_width=384),):
        wanted = flops(shape)
        assert abs(baselines.cnn_flops(baselines.width_for(wanted, 64), 64) - wanted) < 0.15 * wanted


# ---------------------------------------------------------------- training


def spots_data(path, rng, count=240):
    """Grey noise; every third picture has a patch in one of four corners that is brighter or darker: in the mean over
    such pictures no pixel is."""
    images = rng.integers(60, 120, (count, 16, 16), dtype=np.uint8)
    labels = (np.arange(count) % 3 == 0).astype(np.uint8)
    for row in np.flatnonzero(labels):
        y, x = 8 * rng.integers(0, 2, 2)
        images[row, y + 1 : y + 6, x + 1 : x + 6] += np.uint8(60) if rng.random() < 0.5 else np.uint8(256 - 60)
    np.savez(path, images=images, labels=labels)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("week13")
    path = spots_data(folder / "images.npz", np.random.default_rng(0))
    flags = [*SMALL, "--data", path, "--epochs", "8", "--batch-size", "32", "--lr", "0.005"]
    return train.main(config(train, *flags, "--out", folder / "run"))


def test_it_learns_what_logistic_regression_cannot(run):
    ours = run["metrics"]["val_auroc"]
    theirs = {row["name"]: row["val_auroc"] for row in run["baselines"]}
    assert ours > 0.95 and theirs["logistic regression"] < 0.8 and theirs["always the same answer"] == 0.5


def test_eval_tells_all_and_writes_it_down(run, tmp_path, capsys):
    result = eval.main(config(eval, "--run", run["run"]))
    found = result["metrics"]
    assert 0.5 < found["test_auroc_low"] <= found["test_auroc"] <= found["test_auroc_high"] <= 1
    assert {"test_sensitivity", "test_specificity", "test_balanced_accuracy", "test_ece"} <= found.keys()
    assert read_json(Path(run["run"]) / "result.json")["metrics"] == found
    said = capsys.readouterr().out
    assert "not a medical device" in said and "chosen on val" in said
    assert_picture(Path(run["run"]) / "reliability.png")
    with np.load(spots_data(tmp_path / "other.npz", np.random.default_rng(5), 60)) as file:
        np.savez(tmp_path / "other.npz", images=255 - file["images"], labels=file["labels"])  # white for black
    before = (Path(run["run"]) / "reliability.png").read_bytes()
    eval.main(config(eval, "--run", run["run"], "--data", tmp_path / "other.npz"))
    assert f"its own test has AUROC {found['test_auroc']:.4f}: " in capsys.readouterr().out
    assert_picture(Path(run["run"]) / "other" / "reliability.png")
    assert (Path(run["run"]) / "reliability.png").read_bytes() == before, "the run's own picture stays"


def test_the_page_shows_what_eval_says(run, tmp_path):
    looking = app.Looking(app.Config(run=run["run"], device="cpu"))
    one = looking.some.take(np.array([0]))
    words, pictures = looking.look(one)
    probs = train.probabilities(looking.net.model, one, looking.net.mean_std, CPU)
    assert f"{probs[0, 1]:.1%}" in words and pictures.count("<img") == 4
    assert sorted(looking.some.labels.tolist()) == [0] * 6 + [1] * 6, "as many of each"
    Image.fromarray(one.images[0, ..., 0]).save(tmp_path / "own.png")
    assert (looking.read(str(tmp_path / "own.png")).images == one.images).all(), "as it was trained on"
    Image.new("L", (30, 20), 90).save(tmp_path / "blank.png")
    assert "normalise them" in refused(looking.read, str(tmp_path / "blank.png"))


def test_a_probe_starts_from_a_run_and_only_the_head_is_new(run, tmp_path):
    cfg = config(train, *SMALL, "--data", "sample", "--start", run["run"], "--examples", "100")
    pictures = data.load("sample", 16).first(100, 0)
    model = train.build(cfg, 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    probe = train.linear_probe(cfg, pictures, model, CPU)
    assert 0 <= probe["val_auroc"] <= 1 and tuple(probe["weight"].shape) == (2, 16)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), f"{name} has changed"
    assert "is not there" in refused(train.build, replace(cfg, start=str(tmp_path / "none")), 2)


@pytest.mark.parametrize("task", ["mae", "photos"])
def test_pretraining_is_gone_on_with(task, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (90, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "photos.npz", images=images, labels=np.arange(90) % 3)
    flags = ["--preset", "smoke", "--task", task, "--data", tmp_path / "photos.npz", "--side", "16", "--max-steps", "3"]
    made = pretrain.main(config(pretrain, *flags, "--out", tmp_path / "run"))
    cfg = config(train, *SMALL, "--start", made["run"], "--pool", "cls")
    model = train.build(cfg, 2)
    assert model.config.classes == 2 and model.config.pool == "cls" and model.config.width == 16
    assert not model.head.weight.any(), "the head is new"
    other = load_pretrained(made["run"])
    assert torch.equal(model.blocks[1].mlp.fc1.weight, other.blocks[1].mlp.fc1.weight)
    assert "has already finished" in refused(
        pretrain.main, config(pretrain, *flags, "--out", tmp_path / "run", "--resume")
    )


def test_few_and_many_pictures_are_compared_at_equal_steps(tmp_path, capsys):
    path = spots_data(tmp_path / "images.npz", np.random.default_rng(0), 100)
    flags = ["--preset", "smoke", "--data", path, "--side", "16", "--sizes", "20", "40", "--steps", "2"]
    found = compare.main(config(compare, *flags, "--out", tmp_path / "out"))
    assert found.keys() == {compare.VIT, baselines.CNN, baselines.LOGISTIC} and found[compare.VIT].keys() == {20, 40}
    assert_picture(tmp_path / "out" / "data_efficiency.png")
    assert "| ViT from scratch, 20 |" in capsys.readouterr().out
    assert refused(compare.main, config(compare, *flags, "--sizes", "900")) == (
        f"--sizes 900: {path} has 82 pictures to train on."
    )
    line = refused(compare.main, config(compare, *flags, "--start", tmp_path, "--out", tmp_path / "none"))
    assert line.startswith(f"{tmp_path / 'config.json'} is not there.") and not (tmp_path / "none").exists()
    few = refused(data.load(str(path), 16).first, 1, 0)
    assert few.startswith("1 pictures to train on are too few: class ")


def test_the_bundled_photographs_are_cut_by_class():
    photos = data.load_photographs(16)
    assert [len(part) for part in (photos.train, photos.val, photos.test)] == [4000, 1000, 1000] and photos.side == 16
    assert len({image.tobytes() for image in photos.val.images}) == 1000


def test_pictures_that_are_not_what_a_checkpoint_was_trained_on_are_refused(run, tmp_path):
    images = np.random.default_rng(0).integers(0, 4, (60, 16, 16), dtype=np.uint8)  # 2 bits of 8
    np.savez(tmp_path / "dark.npz", images=images, labels=np.arange(60) % 2)
    told = refused(eval.main, config(eval, "--run", run["run"], "--data", tmp_path / "dark.npz"))
    assert told.startswith("pixels run from -") and told.endswith("normalise them with its mean and deviation.")
    cfg = config(train, *SMALL, "--data", tmp_path / "dark.npz", "--start", run["run"], "--out", tmp_path / "run")
    assert refused(train.main, cfg).startswith("pixels run from -") and not (tmp_path / "run").exists()


def test_sides_that_cannot_be_cut_are_refused():
    assert refused_flags(train, "--augment", "-1") == "--augment -1: must be 0 or more."
    cfg = config(train, "--side", "30")
    assert refused(train.build, cfg, 2) == "--side 30: must be a multiple of --patch 8."


# ---------------------------------------------------------------- masked autoencoding

TINY = ViTConfig(side=16, patch=4, channels=3, width=16, depth=2, heads=2, mlp_width=32, classes=0)


def test_masked_autoencoding_is_that_of_transformers():
    """The same weights and the same patches hidden: the loss is equal, and so are its gradients."""
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    torch.manual_seed(0)
    theirs = ViTMAEForPreTraining(
        ViTMAEConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=16,
            patch_size=4, decoder_hidden_size=8, decoder_num_hidden_layers=1, decoder_num_attention_heads=2,
            decoder_intermediate_size=32, mask_ratio=0.75, norm_pix_loss=False, layer_norm_eps=1e-6,
        )
    )  # fmt: skip
    ours = masked.MaskedAutoencoder(ViT(TINY), 8, depth=1, heads=2)
    state = theirs.state_dict()
    fill(ours.encoder, in_our_names({k: v for k, v in state.items() if k.startswith("vit.")}))
    decoder = {k.replace("decoder.decoder_layers", "layers"): v for k, v in state.items() if "decoder_layers" in k}
    same = {"mask_token": "mask_token", "pos_embed": "decoder_pos_embed", "embed": "decoder_embed",
            "norm": "decoder_norm", "paint": "decoder_pred"}  # fmt: skip
    rest = {name: state.get(f"decoder.{same[name.split('.')[0]]}{name.partition('.')[1]}{name.partition('.')[2]}")
            for name in ours.state_dict() if name.split(".")[0] in same}  # fmt: skip
    fill(ours, {f"encoder.{k}": v for k, v in ours.encoder.state_dict().items()} | in_our_names(decoder) | rest)
    order = torch.arange(48).view(4, 4, 3).permute(2, 0, 1).flatten()  # theirs paint row, column, channel
    with torch.no_grad():
        ours.paint.weight.copy_(ours.paint.weight[order])
        ours.paint.bias.copy_(ours.paint.bias[order])
    images, noise = torch.randn(5, 3, 16, 16), torch.rand(5, 16)
    visible = noise.argsort(dim=1)[:, :4]  # theirs keep those with the least noise
    loss, expected = ours.loss(images, visible), theirs(images, noise=noise).loss
    close(loss, expected, "the loss")
    loss.backward()
    expected.backward()
    close(ours.encoder.patch_embed.proj.weight.grad, theirs.vit.embeddings.patch_embeddings.projection.weight.grad,
          "the gradient of the patches' matrix")  # fmt: skip
    close(ours.mask_token.grad, theirs.decoder.mask_token.grad, "the gradient of the mask token")


def test_what_is_hidden_is_hidden():
    torch.manual_seed(0)
    model = masked.MaskedAutoencoder(ViT(TINY), 8).eval()
    visible = masked.draw_visible(3, 16, 0.75)
    assert visible.shape == (3, 4) and (visible.diff(dim=1) > 0).all()
    images = torch.randn(3, 3, 16, 16)
    patches = patchify(images, 4)
    kept = torch.zeros(3, 16, 1).scatter(1, visible[..., None], 1.0) > 0
    others = masked.put_together(torch.where(kept, patches, torch.randn_like(patches)), images, 4)
    assert torch.equal(model(images, visible), model(others, visible)), "a hidden patch is seen"
    assert torch.equal(masked.put_together(patches, images, 4), images)
    torch.nn.init.zeros_(model.paint.weight)
    torch.nn.init.zeros_(model.paint.bias)
    expected = patches[~kept.expand_as(patches)].square().mean()
    close(model.loss(images, visible), expected, "the loss of who paints nothing, over the hidden patches alone")
    shown, painted = masked.pasted(model, images, visible)
    assert torch.equal(patchify(shown, 4), patches * kept) and torch.equal(patchify(painted, 4), patches * kept)


# ---------------------------------------------------------------- where it looks


def test_a_patch_on_an_opacity_is_one_whose_middle_lies_in_it():
    spots = np.full((2, 2, 5), np.nan, np.float32)
    spots[0, 0] = 0.25, 0.75, 0.01, 0.01, 0.0  # row, column: the upper right quarter of 2 x 2
    spots[1, 0] = 0.5, 0.5, 0.1, 0.45, np.pi / 2  # wide, turned upright: a column in the middle
    there = looks.on_spot(spots, (2, 2))
    assert there[0].tolist() == [[False, True], [False, False]]
    upright = looks.on_spot(spots[1:], (8, 8))[0]
    assert upright[1:7, 3:5].all() and not upright[:, :2].any() and not upright[:, 6:].any()


def test_the_pointing_game_by_hand():
    maps = np.array([[[0, 9.0], [1, 2]], [[5, 1.0], [1, 2]]])
    there = np.array([[[False, True], [False, False]], [[False, True], [True, True]]])
    assert looks.hits(maps, there).tolist() == [True, False]


def test_looks_plays_the_game_wherever_the_places_are_known(run, tmp_path, capsys):
    """With a network that was trained on other pictures, too: the centre prior is the sample's own."""
    found = looks.main(config(looks, "--run", run["run"], "--data", "sample", "--out", tmp_path))
    assert 0 < found["chance"] < found["centre_prior"] < 1 and 0 <= found["rollout"] <= 1
    assert_picture(tmp_path / "rollout.png")
    assert "the hottest patch lies on an opacity" in capsys.readouterr().out
    assert refused(looks.main, config(looks, "--run", run["run"])).endswith("Give sample or sample_other.")


def test_shuffled_weights_are_the_same_numbers():
    model = ViT(ViTConfig(side=16, patch=8, width=8, depth=1, heads=2, mlp_width=16, classes=2))
    other = looks.shuffled(model)
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(a.detach().flatten().sort().values, b.detach().flatten().sort().values), name
    assert not torch.equal(model.blocks[0].attn.qkv.weight, other.blocks[0].attn.qkv.weight)
