"""Week 14's painter: what stands for pictures and texts, what a network may say, and a training that goes on."""

import pytest
import torch
from programs import assert_picture, close, config, refused, rows, tensors
from torch import nn

from shared.device import choose
from shared.errors import Stopped
from shared.files import read_json
from shared.minilm import Reader
from week14_clip import diffusion, draw, gallery, judge, paint
from week14_clip.diffusion import Denoising, Noise
from week14_clip.painter import LONGEST, Codec, Painter, TokenReader
from week14_clip.unet import UNetConfig

FLAGS = ("--preset", "smoke", "--limit", 12, "--steps-per-epoch", 4, "--threads", 1)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def some_pictures(count=20, side=16, seed=0):
    """Smooth ones: two waves each, in three colours."""
    rng = torch.Generator().manual_seed(seed)
    place = torch.arange(side) / side
    turns = torch.rand(count, 3, 2, generator=rng) * 3
    waves = (turns[..., :1, None] * place[:, None] + turns[..., 1:, None] * place[None]) * 6.28
    return ((waves.sin() + 1) * 127.5).round().to(torch.uint8)  # (count, 3, side, side)


# ---------------------------------------------------------------- pictures in fewer numbers


def test_all_numbers_give_the_picture_back():
    pictures = some_pictures()
    codec = Codec(16, 4, 48).fit(pictures)
    numbers = codec.encode(pictures)
    assert numbers.shape == (20, 48, 4, 4)
    assert (codec.decode(numbers).int() - pictures.int()).abs().max() <= 1
    assert numbers.square().mean().item() == pytest.approx(1, abs=1e-4)
    assert numbers.mean((0, 2, 3)).abs().max() < 1e-4


def test_what_is_lost_are_the_smallest_eigenvalues():
    """Against torch's SVD: no other linear codec of so many numbers loses less."""
    pictures = some_pictures(40)
    codec = Codec(16, 4, 6).fit(pictures)
    patches = codec.patches(pictures.float() / 127.5 - 1).flatten(0, 2)
    rows = codec.encode(pictures).permute(0, 2, 3, 1).reshape(len(patches), 6)
    lost = (rows * codec.scale @ codec.patterns.T + codec.mean - patches).square().sum()
    singular = torch.linalg.svdvals(patches - patches.mean(0))
    close(lost, singular[6:].square().sum(), "the square error of six numbers", 1e-3)


def test_a_place_of_the_numbers_is_a_place_of_the_picture():
    pictures = some_pictures()
    codec = Codec(16, 4, 48).fit(pictures)
    other = pictures.clone()
    other[:, :, 4:8, 8:12] = 255
    moved = (codec.encode(other) - codec.encode(pictures)).abs().sum((0, 1)) > 1e-3
    assert moved.nonzero().tolist() == [[1, 2]]


# ---------------------------------------------------------------- what a network may say


class Constant(nn.Module):
    """A network that says the same whatever it sees."""

    def __init__(self, said):
        super().__init__()
        self.said = said

    def forward(self, x, t, condition=None):
        return self.said


@pytest.mark.parametrize("says", ["noise", "velocity", "picture"])
def test_whatever_it_says_noise_and_picture_follow(says):
    noise, picture, added = Noise("cosine", 100, clip=False), drawn(6, 3, 4, 4), drawn(6, 3, 4, 4, seed=1)
    t = torch.tensor([0, 20, 40, 60, 80, 95])
    left = noise.left_at(t, picture)
    truth = {"noise": added, "picture": picture, "velocity": left.sqrt() * added - (1 - left).sqrt() * picture}[says]
    denoise, x = Denoising(Constant(truth), noise, says), noise.add(picture, added, t)
    close(denoise(x, t), added, "the noise", 1e-3)
    close(denoise.picture(x, t), picture, "the picture", 1e-3)


@pytest.mark.parametrize("says", ["noise", "velocity", "picture"])
def test_the_loss_wants_what_it_says(says):
    """A network that knows the picture and works out what it is asked for has none."""
    noise, picture = Noise("cosine", 100, clip=False), drawn(64, 2)

    def knows(x, t, condition):
        left = noise.left_at(t, x)
        added = (x - left.sqrt() * picture) / (1 - left).sqrt()
        return {"noise": added, "picture": picture, "velocity": left.sqrt() * added - (1 - left).sqrt() * picture}[says]

    assert diffusion.loss(knows, noise, picture, says=says).item() < 1e-6


# ---------------------------------------------------------------- the programs


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two epochs, trained at once."""
    out = tmp_path_factory.mktemp("paint") / "whole"
    return paint.main(config(paint, *FLAGS, "--out", out)), out


def test_a_run_has_its_sheets_and_says_what_it_is_worth(whole):
    result, out = whole
    for name in ("training.png", "guidance.png", "steps.png"):
        assert_picture(out / name)
    kept = read_json(out / "result.json")
    assert kept["metrics"].keys() >= {"val_loss", "known", "known_unheard", "known_real", "known_chance", "from_train"}
    assert [row["name"] for row in kept["baselines"]] == ["no text is heard", "always the mean picture"]
    assert kept["metrics"] == result["metrics"]


def test_stopped_and_gone_on_it_is_the_same(whole, ctrl_c, monkeypatch, tmp_path):
    result, out = whole
    for name in ("grid", "of_guidance", "of_steps"):  # drawn once is enough
        monkeypatch.setattr(gallery, name, lambda *_: None)
    known = {name: value for name, value in result["metrics"].items() if "loss" not in name}
    monkeypatch.setattr(paint, "Judge", lambda *_: None)
    monkeypatch.setattr(paint, "judged", lambda *_: known)
    ctrl_c(6)
    with pytest.raises(
        Stopped, match=r"stopped at step 6 of 8; saved. `\./course run 14 paint --out .* --resume` goes"
    ):
        paint.main(config(paint, *FLAGS, "--out", tmp_path / "parts"))
    paint.main(config(paint, *FLAGS, "--out", tmp_path / "parts", "--resume"))
    assert rows(tmp_path / "parts") == rows(out)
    assert tensors(tmp_path / "parts" / "painter.safetensors") == tensors(out / "painter.safetensors")
    again = refused(paint.main, config(paint, *FLAGS, "--out", tmp_path / "parts", "--resume"))
    assert "has already finished" in again


def test_draw_paints_what_it_is_told(whole, tmp_path):
    _, out = whole
    flags = ("strawberry", "red apple", "--run", out, "--count", 2, "--steps", 3, "--out", tmp_path)
    found = [draw.main(config(draw, *flags)) for _ in range(2)]
    assert_picture(tmp_path / "drawn.png", 100)
    assert found[0]["painted"].shape == (4, 3, 32, 32) and torch.equal(found[0]["painted"], found[1]["painted"])


def test_judge_says_under_which_guidance_a_picture_is_known(whole):
    result, out = whole
    found = judge.main(config(judge, "--run", out, "--steps", 4, "--threads", 1))
    assert found["known"].keys() == set(gallery.WEIGHTS)
    assert found["known"][2.0] == pytest.approx(result["metrics"]["known"])
    assert found["known_real"] == pytest.approx(result["metrics"]["known_real"])


@pytest.mark.parametrize(
    "flags, line",
    [
        ((), 'what to paint? For example: ./course run 14 draw "a strawberry"'),
        (("a pear", "--steps", 21), "--steps 21: must be from 1 to 20, the steps of the noise."),
    ],
)
def test_bad_wishes(whole, flags, line):
    assert refused(draw.main, config(draw, *flags, "--run", whole[1])) == line


def test_a_size_that_cannot_be_halved_names_the_flags_that_make_it():
    line = refused(paint.main, config(paint, *FLAGS, "--side", 30, "--patch", 8))
    assert line == (
        "--side 30: must be a multiple of 16, for patches of 8 pixels (--patch) whose rows and columns are halved 1 "
        "times (--levels)."
    )


def test_no_such_group():
    line = refused(paint.main, config(paint, *FLAGS, "--groups", "fruit"))
    assert line.startswith("--groups 'fruit': must be of smileys, people,")


def test_tokens_are_those_whose_mean_a_text_is():
    """What cross-attention sees of a text is what search has made its vector of; what is left over is 0."""
    device, texts = choose("cpu"), ["a red apple", "cheese", ""]
    reader = TokenReader(device.name)
    tokens = reader.tokens(texts)
    there = tokens.ne(0).any(-1)
    assert tokens.shape == (3, LONGEST, 384) and there.sum(1).tolist() == [5, 3, 2]
    close(
        tokens.sum(1) / there.sum(1, keepdim=True), Reader.encode(reader, texts), "the mean over a text's tokens", 1e-4
    )


def test_noise_to_begin_with_hangs_on_the_seed_alone():
    painter = Painter(UNetConfig(4, 2, 8, 1, 1, 6), Codec(16, 4, 2), Noise("cosine", 10), "picture")
    assert torch.equal(painter.start(5, 3)[:2], painter.start(2, 3))
    assert not torch.equal(painter.start(2, 3), painter.start(2, 4))


def test_who_is_known():
    """Two of three are nearest to a picture of what they are to show; a real one does not count as its own likeness."""
    real, shows = torch.eye(4), torch.tensor([0, 0, 1, 1])
    found = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 1.0, 0, 0]])
    assert judge.known_share(found, torch.tensor([0, 0, 1]), real, shows) == pytest.approx(2 / 3)
    alike = torch.tensor([[1.0, 0.1], [1.0, 0.0], [0.0, 1.0], [0.1, 1.0]])
    assert judge.known_share(alike, shows, alike, shows, leave_out=True) == 1
