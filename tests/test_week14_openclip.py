"""Week 14 through open_clip's networks, on a tiny one of its own form: built, loaded from files, trained, asked."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from programs import Lazily, close, config, photos, refused, rows
from safetensors.torch import save_file

from shared.device import choose
from week14_clip import openclip, search, train, trained, zero_shot

open_clip = Lazily("open_clip")
SHAPE = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a network's shape, weights of it in three formats, and some pictures with captions."""
    folder = tmp_path_factory.mktemp("open_clip")
    (folder / "tiny14.json").write_text(json.dumps(SHAPE), encoding="utf-8")
    torch.manual_seed(3)
    weights = openclip.load(str(folder / "tiny14.json")).network.state_dict()
    save_file(weights, folder / "tiny.safetensors")
    torch.save(weights, folder / "tiny.pt")
    (folder / "whole").mkdir()
    about = {"model_cfg": SHAPE, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (folder / "whole" / openclip.CONFIG).write_text(json.dumps(about), encoding="utf-8")
    save_file(weights, folder / "whole" / "open_clip_model.safetensors")
    photos(folder / "photos", 120)
    return folder


def published(place, file="tiny.safetensors"):
    network = openclip.load(str(place / "tiny14.json"), str(place / file), needed=True)
    return trained.Published(network.eval(), choose("cpu"))


PICTURES = [Image.new("RGB", (40, 20), colour) for colour in ("red", "green", "blue")]


@pytest.mark.parametrize("file", ["tiny.safetensors", "tiny.pt"])
def test_vectors_are_those_of_open_clip(place, file):
    towers = published(place, file)
    theirs, preprocess = open_clip.create_model_from_pretrained("tiny14", str(place / "tiny.safetensors"))
    theirs.eval()
    with torch.no_grad():
        expected = theirs.encode_image(torch.stack([preprocess(one) for one in PICTURES]), normalize=True)
        tokens = open_clip.get_tokenizer("tiny14")(["a dog", "two cats"])
        words = theirs.encode_text(tokens, normalize=True)
    close(towers.of_pictures(iter(PICTURES)), expected, "the vectors of pictures")
    close(towers.of_texts(["a dog", "two cats"]), words, "the vectors of texts")
    pixels, scale = torch.stack([preprocess(one) for one in PICTURES[:2]]), towers.model.scale
    close(towers.model(pixels, tokens)[2], theirs.logit_scale.exp(), "the scale")
    assert scale.shape == () and towers.dim == 16


def test_a_folder_brings_its_own_weights_and_preprocessing(place):
    network = openclip.load(str(place / "whole"), needed=True)
    assert network.about["preprocess_cfg"]["std"] == [0.25] * 3
    again = openclip.again(network.about)
    again.load_state_dict(network.state_dict())
    both = [one.eval().encode_pictures(PICTURES, "cpu") for one in (network, again)]
    assert np.array_equal(*both)


def test_networks_learned_with_quick_gelu_are_given_it(monkeypatch, place):
    """open_clip builds ViT-B-32 without it for OpenAI's weights, warns, and answers worse."""
    asked = {}

    def create(name, tag, **options):
        asked.update(options, name=name, tag=tag)
        raise OSError("no network here")

    monkeypatch.setattr("open_clip.create_model_and_transforms", create)
    says = "the hub does not answer, or has them no longer. Fetch the weights by hand, and give their file as"
    assert says in refused(openclip.load, "ViT-B-32", "openai")
    assert asked == {"name": "ViT-B-32", "tag": "openai", "weights_only": True, "force_quick_gelu": True}
    asked.clear()
    refused(openclip.load, "ViT-B-32", "laion2b_s34b_b79k")
    assert "force_quick_gelu" not in asked and asked["weights_only"]


def test_it_learns_a_batch_by_heart(place):
    cfg = config(train, "--model", place / "tiny14.json", "--epochs", 30, "--batch-size", 6, "--lr", 0.005)
    from week14_clip import data

    part = data.load(str(place / "photos")).train.take(range(6))
    torch.manual_seed(0)
    network = openclip.load(cfg.model)
    pairs = openclip.photographs(part, network)
    log = list(train.fit(cfg, pairs, pairs, network, choose("cpu")))
    assert log[-1]["train_loss"] < 0.3 < log[0]["train_loss"] and log[-1]["val_recall_at_1"] > 0.8


@pytest.fixture(scope="module")
def run(place):
    flags = ("--data", place / "photos", "--model", place / "tiny14.json", "--pretrained", place / "tiny.safetensors")
    flags += ("--epochs", 2, "--batch-size", 16, "--lr", 1e-4, "--device", "cpu", "--out", place / "run")
    return train.main(config(train, *flags)), place / "run"


def test_training_begins_with_what_was_published(run, place, capsys):
    result, out = run
    names = [row["name"] for row in result["baselines"]]
    assert names == ["the towers before the first step", "random order"]
    before = result["baselines"][0]["val_recall_at_1"]
    val = train.data.load(str(place / "photos")).val
    towers = published(place)
    part = towers.look(val)
    p, t = part.embed(towers.model, "cpu")
    assert before == pytest.approx(((t @ p.T).argmax(1) == np.arange(len(val))).mean())
    assert {"val_recall_at_1", "val_mrr"} < rows(out)[0].keys() and len(rows(out)) == 2


def test_a_run_needs_neither_shape_nor_weights_again(run, place, tmp_path, capsys):
    from week14_clip import eval as evaluation

    _, out = run
    (place / "tiny14.json").rename(place / "away.json")
    try:
        scored = evaluation.main(config(evaluation, "--run", out, "--device", "cpu"))
        found = search.main(config(search, place / "photos", "a red card", "--run", out, "--k", 3, "--device", "cpu"))
    finally:
        (place / "away.json").rename(place / "tiny14.json")
    assert scored["scored"] == 12 and 0 < scored["metrics"]["test_mrr"] <= 1
    assert len(found["paths"]) == 3 and (out / "indexes").is_dir()


def test_programs_take_a_published_network_without_a_run(place, monkeypatch, tmp_path, capsys):
    from week14_clip import eval as evaluation

    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    which = ("--model", place / "tiny14.json", "--pretrained", place / "tiny.safetensors", "--device", "cpu")
    found = search.main(config(search, place / "photos", "3.png", *which, "--k", 2))
    assert found["paths"][0].endswith("3.png") and found["scores"][0] == pytest.approx(1, abs=1e-4)
    assert list((tmp_path / "week14").glob("*/indexes/*.safetensors"))
    scored = evaluation.main(config(evaluation, "--data", place / "photos", *which))
    assert scored["scored"] == 120 and "may have been among it" in capsys.readouterr().out
    for name, colour in (("red", "red"), ("sea", "blue")):
        (tmp_path / "classes" / name).mkdir(parents=True)
        Image.new("RGB", (20, 20), colour).save(tmp_path / "classes" / name / "a.png")
    result = zero_shot.main(config(zero_shot, tmp_path / "classes", *which))
    assert result["scored"] == 2 and result["majority"] == 0.5


@pytest.mark.parametrize(
    "model, pretrained, line",
    [
        ("", "x.pt", "--pretrained: of which network? Say so with --model, as ViT-B-32."),
        ("ViT-B-23", "", "--model ViT-B-23: open_clip has no such network (did you mean"),
        ("none.json", "", "--model none.json: No such file or directory."),
        ("PLACE/whole", "x.pt", "whole brings its own weights: leave --pretrained out."),
        ("PLACE/photos", "", "no open_clip_config.json in that folder."),
        ("ViT-B-32", "nix.safetensors", "--pretrained nix.safetensors: no such file, nor weights of ViT-B-32: openai,"),
        ("PLACE/tiny14.json", "", "it has learned nothing yet. Give --pretrained, a file or one of none"),
        ("PLACE/bad.json", "", "bad.json: not a config of open_clip: embed_dim, vision_cfg, text_cfg."),
        ("PLACE/odd.json", "PLACE/tiny.pt", "TypeError"),
        ("PLACE/tiny14.json", "PLACE/other.safetensors", "does not hold the weights of"),
        ("PLACE/tiny14.json", "PLACE/evil.pt", "a pickle that holds more than numbers may run any program"),
        ("PLACE/tiny14.json", "PLACE/cut.safetensors", "does not hold the weights of"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(place, model, pretrained, line):
    (place / "bad.json").write_text("[1]", encoding="utf-8")
    (place / "odd.json").write_text(json.dumps(SHAPE | {"vision_cfg": {"wings": 2}}), encoding="utf-8")
    save_file({"positional_embedding": torch.zeros(3)}, place / "other.safetensors")
    (place / "cut.safetensors").write_bytes((place / "tiny.safetensors").read_bytes()[:1000])
    torch.save({"state_dict": Image.new("RGB", (2, 2))}, place / "evil.pt")
    names = [one.replace("PLACE", str(place)) for one in (model, pretrained)]
    cfg = config(zero_shot, "--model", names[0], "--pretrained", names[1], "--device", "cpu")
    assert line in refused(trained.opened, cfg, choose("cpu"))


def test_the_hub_out_of_reach(place):
    assert "the hub does not answer" in refused(openclip.load, "ViT-B-32", "laion2b_s34b_b79k")
    assert "--model hf-hub:a/b: the hub does not answer" in refused(openclip.load, "hf-hub:a/b")


@pytest.mark.parametrize(
    "flags, line",
    [
        (("--dim", 8), "--dim is of the two small towers: PLACE has its own. Leave it out."),
        (("--dropout", 0.1), "--dropout is of the two small towers"),
    ],
)
def test_flags_that_do_not_go_together(place, flags, line):
    name = place / "tiny14.json"
    assert line.replace("PLACE", str(name)) in refused(train.main, config(train, "--model", name, *flags))
