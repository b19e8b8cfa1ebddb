"""Week 14's diffusion against diffusers' schedulers; guidance, the U-Net, the averaged weights, one picture by heart.

The tests marked `exercise(K)` are what `./course check 14` holds a learner's piece K to.
"""

import math

import pytest
import torch
from programs import Lazily, close, refused
from torch import nn

from week14_clip import diffusion
from week14_clip.diffusion import Average, Noise
from week14_clip.unet import Attention, UNet, UNetConfig, time_features

diffusers = Lazily("diffusers")
THEIRS = {"linear": "linear", "cosine": "squaredcos_cap_v2"}


def scheduler(name, noise, steps=None, **options):
    """diffusers' own with the same settings; DDPM has no alpha_to_one and always ends at the picture."""
    settings = {"beta_schedule": THEIRS[noise.kind], "clip_sample": noise.clip, "steps_offset": noise.offset}
    if name == "DDIMScheduler":
        settings["set_alpha_to_one"] = noise.alpha_to_one
    found = getattr(diffusers, name)(num_train_timesteps=noise.T, **settings, **options)
    if steps:
        found.set_timesteps(steps)
    return found


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- exercise 3


@pytest.mark.exercise(3)
@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_schedule_has_a_number_for_each_step(kind):
    found = diffusion.betas(kind, 10)
    assert isinstance(found, torch.Tensor), f"betas is {found!r:.40}, should be a tensor: is `return` missing?"
    assert found.shape == (10,), f"betas has the shape {tuple(found.shape)}, should be (10,)"
    assert ((found > 0) & (found < 1)).all(), "betas should lie between 0 and 1"


@pytest.mark.exercise(3)
def test_schedule_by_hand():
    close(diffusion.betas("linear", 3), torch.tensor([0.0001, 0.01005, 0.02]), "three linear betas")
    half = [math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2 for u in (0, 0.5, 1)]
    found = diffusion.betas("cosine", 2)
    assert abs(float(found[1]) - 1) > 1e-4, "the last cosine beta is 1, should be at most 0.999"
    close(found, torch.tensor([1 - half[1] / half[0], 0.999]), "two cosine betas")


@pytest.mark.exercise(3)
@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize("T", [50, 1000])
def test_schedule_equals_diffusers(kind, T):
    theirs = scheduler("DDPMScheduler", Noise(kind, T))
    close(diffusion.betas(kind, T), theirs.betas, f"{T} {kind} betas", 1e-7)
    close(Noise(kind, T).left, theirs.alphas_cumprod, f"what {T} {kind} steps leave", 1e-6)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_nothing_is_left_at_the_end(kind):
    left = Noise(kind, 1000).left
    assert left[0] > 0.999 and left[-1] < 1e-4 and (left[1:] < left[:-1]).all()


def test_noise_is_added_as_in_diffusers_and_keeps_the_variance():
    noise, x, z = Noise("linear"), drawn(4, 3, 8, 8), drawn(4, 3, 8, 8, seed=1)
    t = torch.tensor([0, 10, 500, 999])
    close(noise.add(x, z, t), scheduler("DDPMScheduler", noise).add_noise(x, z, t), "noisy samples", 1e-6)
    many = noise.add(drawn(20_000, 2), drawn(20_000, 2, seed=1), 400)
    assert many.var().item() == pytest.approx(1, abs=0.03)


def test_all_steps_one_by_one_come_to_the_stride():
    """What `add` does at once is what 40 steps do, each of which adds its own noise: the same mean and variance."""
    noise, x = Noise("cosine", 60), torch.full((50_000,), 0.8)
    rng = torch.Generator().manual_seed(0)
    for beta in diffusion.betas("cosine", 60)[:40]:
        x = (1 - beta).sqrt() * x + beta.sqrt() * torch.randn(x.shape, generator=rng)
    left = noise.left[39]
    assert x.mean().item() == pytest.approx(0.8 * left.sqrt().item(), abs=0.02)
    assert x.var().item() == pytest.approx(1 - left.item(), abs=0.02)


def test_loss_is_the_error_about_the_noise_that_was_added():
    noise, x = Noise("linear", 100), drawn(64, 2)
    seen = {}

    def knows_all(noisy, t, condition):
        left = noise.left_at(t, noisy)
        seen.update(t=t, condition=condition)
        return (noisy - left.sqrt() * x) / (1 - left).sqrt()

    assert diffusion.loss(knows_all, noise, x, x).item() < 1e-8 and seen["condition"] is x
    assert seen["t"].min() >= 0 and seen["t"].max() <= 99 and len(seen["t"].unique()) > 20
    nothing = diffusion.loss(lambda noisy, t, condition: torch.zeros_like(noisy), noise, x)
    assert nothing.item() == pytest.approx(1, abs=0.4)


# ---------------------------------------------------------------- exercise 4

SETTINGS = {
    "plain": {"kind": "linear", "clip": False},
    "clipped": {},
    "stable-diffusion": {"kind": "linear", "clip": False, "alpha_to_one": False, "offset": 1},
    "clipped, not to one": {"T": 100, "alpha_to_one": False},
}


@pytest.mark.exercise(4)
def test_ddim_step_by_hand():
    """One number, from where a quarter of the variance is left to where all is: back at the picture."""
    noise = Noise("linear", 1000, clip=False)
    t = int((noise.left - 0.25).abs().argmin())
    x = noise.add(torch.tensor([[0.6]]), torch.tensor([[-1.0]]), t)
    found = diffusion.ddim_step(noise, x, torch.tensor([[-1.0]]), t, -1)
    assert found is not None, "the step gives None: is `return` missing?"
    close(found, torch.tensor([[0.6]]), "the picture, with all of its noise known", 1e-5)
    half = int((noise.left - 0.5).abs().argmin())
    expected = noise.add(torch.tensor([[0.6]]), torch.tensor([[-1.0]]), half)
    close(diffusion.ddim_step(noise, x, torch.tensor([[-1.0]]), t, half), expected, "half-way back", 1e-5)


@pytest.mark.exercise(4)
def test_ddim_step_with_fresh_noise_by_hand():
    """The same number, half-way back, with half as much fresh noise as DDPM: the noise of before makes room for it."""
    noise = Noise("linear", 1000, clip=False)
    t, half = (int((noise.left - share).abs().argmin()) for share in (0.25, 0.5))
    x, left, before = torch.tensor([[-0.5658]]), float(noise.left[t]), float(noise.left[half])
    spread = 0.5 * math.sqrt((1 - before) / (1 - left) * (1 - left / before))
    said, fresh = torch.tensor([[-1.0]]), torch.tensor([[0.5]])
    found = float(diffusion.ddim_step(noise, x, said, t, half, 0.5, fresh))
    rest = before**0.5 * float(diffusion.picture(noise, x, said, t)) + spread * 0.5
    wrong = {
        rest - math.sqrt(1 - before): "the noise of before makes no room for the fresh noise: too much of both",
        rest - math.sqrt(1 - before - spread): "spread is a standard deviation, and is taken for a variance",
        rest - spread * 0.5 - math.sqrt(1 - before - spread**2): "the fresh noise is missing",
    }
    for value, slip in wrong.items():
        assert abs(found - value) > 1e-4, f"x is {found:.4f}: {slip}"
    expected = rest - math.sqrt(1 - before - spread**2)
    assert found == pytest.approx(expected, abs=1e-4), f"x is {found:.4f}, should be {expected:.4f}"


@pytest.mark.exercise(4)
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("steps", [10, 50])
def test_ddim_equals_diffusers(setting, eta, steps):
    """All steps of a sampling, by a network that is no network: the same at every one of them."""
    noise = Noise(**SETTINGS[setting])
    theirs = scheduler("DDIMScheduler", noise, steps)
    assert torch.allclose(noise.left, theirs.alphas_cumprod, atol=1e-6), "the schedule is not right yet: piece 3 first"
    assert noise.times(steps) == theirs.timesteps.tolist()
    x = other = drawn(2, 3, 4, 4)
    for number, t in enumerate(noise.times(steps)):
        predicted = 0.5 * drawn(2, 3, 4, 4, seed=number) + 0.4 * other.clamp(-3, 3)
        z = drawn(2, 3, 4, 4, seed=1000 + number)
        fresh = {"variance_noise": z} if eta else {}
        before = t - noise.T // steps
        x = diffusion.ddim_step(noise, other, predicted, t, before, eta, z if eta else None)
        other = theirs.step(predicted, t, other, eta, **fresh).prev_sample
        close(x, other, f"x after the step at time {t}", 1e-6)


@pytest.mark.exercise(4)
def test_same_start_same_end():
    noise = Noise("cosine", 100)
    ends = [list(diffusion.sample(lambda x, t, c: 0.3 * x, noise, drawn(2, 2), 10))[-1][1] for _ in range(2)]
    assert torch.equal(*ends)


@pytest.mark.parametrize("setting", ["plain", "clipped"])
@pytest.mark.parametrize("steps", [20, 1000])
def test_ddpm_equals_diffusers(setting, steps):
    noise = Noise(**SETTINGS[setting])
    theirs = scheduler("DDPMScheduler", noise, steps)
    other, ours, generator = drawn(2, 3, 4, 4), torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    for number, t in enumerate(noise.times(steps)):
        if number % max(1, steps // 20) and t > 3:  # of a thousand, twenty and the last ones
            continue
        predicted = 0.5 * drawn(2, 3, 4, 4, seed=number) + 0.4 * other.clamp(-3, 3)
        z = torch.randn(other.shape, generator=ours) if t > 0 else None
        x = diffusion.ddpm_step(noise, other, predicted, t, t - noise.T // steps, z)
        other = theirs.step(predicted, t, other, generator=generator).prev_sample
        close(x, other, f"x after the step at time {t}", 1e-6)


def test_ddim_with_all_of_the_fresh_noise_is_ddpm():
    noise, x, z = Noise("linear", 1000, clip=False), drawn(5, 2), drawn(5, 2, seed=1)
    ours = diffusion.ddim_step(noise, x, 0.7 * x, 500, 480, 1.0, z)
    close(ours, diffusion.ddpm_step(noise, x, 0.7 * x, 500, 480, z), "a step of both", 1e-5)


@pytest.mark.parametrize("how", ["ddim", "ddpm"])
def test_a_perfect_denoiser_brings_back_what_it_knows(how):
    """Of one point it knows what noise there is in anything: every start ends there."""
    noise, point = Noise("cosine", 200, clip=False), torch.tensor([0.3, -0.7])

    def denoise(x, t, condition):
        left = noise.left_at(t, x)
        return (x - left.sqrt() * point) / (1 - left).sqrt()

    *_, (time, x) = diffusion.sample(denoise, noise, drawn(6, 2), 50, how=how)
    assert time < 0
    close(x, point.expand(6, 2), f"where {how} ends", 1e-3)


def test_number_of_steps_is_checked():
    assert refused(Noise("linear", 100).times, 101) == "--steps 101: must be from 1 to 100, the steps of the noise."
    assert refused(lambda: Noise(offset=1000)) == "the noise's offset is 1000: must be from 0 to below 1000."


# ---------------------------------------------------------------- exercise 5


class Listens:
    """A denoiser whose noise is what it is told, plus the time; it counts its calls."""

    calls = 0

    def __call__(self, x, t, condition):
        self.calls += 1
        return condition + t[:, None].float() + 0 * x


def guide(weight, denoise=None, times=(1, 2, 3)):
    N, t = len(times), torch.tensor(times)
    wish, nothing = torch.full((N, 2), 5.0), torch.full((N, 2), 2.0)
    return diffusion.guided(denoise or Listens(), torch.zeros(N, 2), t, wish, nothing, weight)


@pytest.mark.exercise(5)
@pytest.mark.parametrize("weight, expected", [(3.0, 11.0), (1.0, 5.0), (0.0, 2.0)])
def test_guidance_by_hand(weight, expected):
    """The lesson's: without the wish the network says 2, with it 5; 3 times the way is 11."""
    found = guide(weight, times=(0,))
    assert found is not None, "guided gives None: is `return` missing?"
    if found.shape == (1, 2):
        says = f"weight {weight:g} gives {float(found[0, 0]):g}, should be {expected:g}: "
        exchanged, wrong_end = torch.tensor(5 - 3 * weight), torch.tensor(5 + 3 * weight)
        assert not torch.allclose(found, exchanged), says + "the halves are exchanged"
        assert not torch.allclose(found, wrong_end), (
            says + "it starts from what is said with the wish, and should from what is said without"
        )
    close(found, torch.full((1, 2), expected), f"guidance of weight {weight:g}")


@pytest.mark.exercise(5)
def test_guidance_tells_each_its_time():
    """A network that adds the time to what it says: 11, and 1, 2 and 3 on top."""
    close(guide(3.0), 11 + torch.tensor([1.0, 2.0, 3.0])[:, None].expand(3, 2), "guidance at times 1, 2 and 3")


@pytest.mark.exercise(5)
def test_guidance_asks_the_network_once():
    denoise = Listens()
    guide(2.0, denoise)
    assert denoise.calls == 1, f"the network is called {denoise.calls} times, should be once, with 2N samples"


# ---------------------------------------------------------------- U-Net


def tiny(**options):
    torch.manual_seed(0)
    unet = UNet(UNetConfig(**{"side": 8, "width": 8, "levels": 2, "heads": 2, "text_dim": 6} | options))
    for parameter in unet.parameters():  # what begins at 0 hides what is wrong behind it
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return unet.eval()


@pytest.mark.parametrize("side, levels", [(8, 1), (8, 2), (12, 3), (16, 4)])
def test_noise_has_the_shape_of_the_picture(side, levels):
    unet = tiny(side=side, levels=levels)
    x = drawn(2, 3, side, side)
    assert unet(x, torch.tensor([3, 900]), drawn(2, 5, 6)).shape == x.shape
    assert unet(x, torch.tensor([3, 900])).shape == x.shape


def test_it_begins_with_no_noise():
    assert not UNet(UNetConfig(side=8, width=8, levels=2)).eval()(drawn(2, 3, 8, 8), torch.tensor([1, 2])).any()


def test_text_time_and_every_pixel_matter():
    unet, x, t, text = tiny(), drawn(1, 3, 8, 8), torch.tensor([300]), drawn(1, 4, 6)
    out = unet(x, t, text)
    assert not torch.allclose(out, unet(x, t, drawn(1, 4, 6, seed=1)), atol=1e-4)
    assert not torch.allclose(out, unet(x, torch.tensor([301]), text), atol=1e-6)
    other = x.clone()
    other[0, 0, 7, 7] += 3
    assert (out - unet(other, t, text))[0, :, 0, 0].abs().max() > 1e-6  # the far corner has seen it


def test_padding_and_the_order_of_a_batch_change_nothing():
    unet, x, t, texts = tiny(), drawn(3, 3, 8, 8), torch.tensor([10, 500, 900]), drawn(3, 4, 6)
    texts[1, 2:] = 0  # a text of two tokens
    out = unet(x, t, texts)
    padded = torch.cat([texts, torch.zeros(3, 3, 6)], dim=1)
    close(unet(x, t, padded), out, "with more padding")
    close(unet(x[1:2], t[1:2], texts[1:2, :2]), out[1:2], "alone")
    close(unet(x.flip(0), t.flip(0), texts.flip(0)), out.flip(0), "in another order")


@pytest.mark.parametrize("text_dim", [0, 6])
def test_attention_equals_torch(text_dim):
    """torch's own, with the same weights: forward and gradients."""
    torch.manual_seed(1)
    ours = Attention(8, 2, text_dim)
    nn.init.normal_(ours.out.weight, std=0.5)
    theirs = nn.MultiheadAttention(8, 2, kdim=text_dim or 8, vdim=text_dim or 8, bias=False, batch_first=True)
    keys, values = ours.keys_values.weight.chunk(2)
    with torch.no_grad():
        if text_dim:
            for name, weight in (("q", ours.queries.weight), ("k", keys), ("v", values)):
                getattr(theirs, f"{name}_proj_weight").copy_(weight)
        else:
            theirs.in_proj_weight.copy_(torch.cat([ours.queries.weight, keys, values]))
        theirs.out_proj.weight.copy_(ours.out.weight)
    x, text = drawn(2, 8, 3, 5).requires_grad_(), drawn(2, 4, text_dim or 8, seed=2)
    there = torch.tensor([[True, True, False, False], [True, True, True, True]])
    places = ours.norm(x).flatten(2).transpose(1, 2)
    other = {"key": text, "value": text, "key_padding_mask": ~there} if text_dim else {"key": places, "value": places}
    expected = x + theirs(places, need_weights=False, **other)[0].transpose(1, 2).reshape(x.shape)
    found = ours(x, text, there) if text_dim else ours(x)
    close(found, expected, "attention")
    upstream = drawn(*x.shape, seed=3)
    (mine,), (others,) = (torch.autograd.grad(y, x, upstream, retain_graph=True) for y in (found, expected))
    close(mine, others, "its gradient")


def test_near_times_look_alike():
    features = time_features(torch.tensor([100, 101, 600]), 32)
    near, far = ((features[0] - features[n]).norm() for n in (1, 2))
    assert features.shape == (3, 32) and near < 0.6 * far


@pytest.mark.parametrize(
    "options, line",
    [
        ({"width": 12}, "--width 12: must be a multiple of 8, the groups of the norm."),
        ({"side": 30}, "--side 30: must be a multiple of 4, as it is halved 2 times."),
        ({"heads": 3}, "--heads 3: must be a divisor of the width, 32."),
        ({"levels": 0}, "--levels 0: must be from 1 to 6."),
    ],
)
def test_bad_shapes(options, line):
    assert refused(lambda: UNetConfig(**options)) == line


# ---------------------------------------------------------------- training


def test_average_of_weights():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average, expected = Average(model, decay=0.9), 0.0
    for count in range(200):
        nn.init.constant_(model.weight, math.sin(count))
        average.update(model)
        decay = min(0.9, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * math.sin(count)
    assert average.model.weight.item() == pytest.approx(expected, rel=1e-4)
    assert not average.model.weight.requires_grad
    again = Average(model)
    again.load_state_dict(average.state_dict())
    assert int(again.updates) == 200 and again.model.weight.item() == pytest.approx(expected, rel=1e-4)


def test_pictures_are_learned_by_heart():
    """A small U-Net has seen two pictures only, each with its text: from the same noise it comes to either of them, and
    without a text to one of the two. Of one picture it would be no harder."""
    torch.manual_seed(0)
    noise, line = Noise("cosine", 100, clip=False), torch.linspace(-1, 1, 8)
    pictures = torch.stack([line[:, None].expand(8, 8), line[None].expand(8, 8)])[:, None]  # (2, 1, 8, 8)
    texts, nothing = drawn(2, 3, 6), torch.ones(1, 3, 6)
    unet = UNet(UNetConfig(side=8, channels=1, width=8, levels=2, heads=2, text_dim=6))
    optimizer, average = torch.optim.AdamW(unet.parameters(), 0.02), Average(unet, 0.9)
    both, steps = torch.arange(16) % 2, 60
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / steps)
        heard = torch.rand(16, 1, 1) > 0.1
        optimizer.zero_grad()
        diffusion.loss(unet, noise, pictures[both], torch.where(heard, texts[both], nothing), "picture").backward()
        optimizer.step()
        average.update(unet)
    denoise = diffusion.Denoising(average, noise, "picture")
    start, unheard = drawn(1, 1, 8, 8).expand(2, 1, 8, 8), nothing.expand(2, 3, 6)
    *_, (_, found) = diffusion.sample(denoise, noise, start, 10, texts, unheard, 1.0)
    error, grey = (found - pictures).abs().mean().item(), pictures.abs().mean().item()
    assert error < 0.3 * grey, f"off by {error:.3f} a pixel; a grey picture would be off by {grey:.3f}"
    *_, (_, found) = diffusion.sample(denoise, noise, start, 10, texts, unheard, 0.0)
    assert torch.allclose(found[0], found[1], atol=1e-5), "with weight 0 the texts should not be heard"
