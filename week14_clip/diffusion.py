"""Diffusion, to be read from top to bottom: how a picture is drowned in noise, and how a network brings one back.

References
    J. Ho, A. Jain, P. Abbeel, "Denoising diffusion probabilistic models" (DDPM), arXiv:2006.11239: eq. 4 (forward),
        algorithm 1 (training), eq. 7 and algorithm 2 (a step back)
    A. Nichol, P. Dhariwal, "Improved denoising diffusion probabilistic models", arXiv:2102.09672, eq. 17: the cosine
    J. Song, C. Meng, S. Ermon, "Denoising diffusion implicit models" (DDIM), arXiv:2010.02502, eq. 12 and 16
    J. Ho, T. Salimans, "Classifier-free diffusion guidance", arXiv:2207.12598, eq. 6
    T. Salimans, J. Ho, "Progressive distillation for fast sampling of diffusion models", arXiv:2202.00512, section 4:
        a network that says the noise, the picture, or v
    T. Li, K. He, "Back to basics: let denoising generative models denoise", arXiv:2511.13720: why it had better say
        the picture where it is narrow
    R. Rombach et al., "High-resolution image synthesis with latent diffusion models" (Stable Diffusion),
        arXiv:2112.10752: the same in the space of an autoencoder, with the text by cross-attention

A step of time t goes from 0 (a little noise) to T - 1 (nothing but noise). What is drowned may be pictures
(N, 3, H, W), points in the plane (N, 2), or any other numbers of about -1 to 1.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from shared.errors import CourseError

Samples = Float[Tensor, "N *shape"]
Times = Int[Tensor, " N"]
Condition = Float[Tensor, "N *about"]
Scalar = Float[Tensor, ""]
Says = Literal["noise", "velocity", "picture"]
Denoiser = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""denoise(x, t, condition) -> the noise in x, of x's shape; condition None where there is none."""

# ---------------------------------------------------------------- the noise


def betas(kind: Literal["linear", "cosine"], T: int) -> Float[Tensor, " T"]:
    """How much noise each step adds: the variance of what comes in, between 0 and 1.

    linear: from 0.0001 to 0.02 in equal steps (DDPM). cosine: such that what is left of the picture falls as cos²: that
    spares small pictures, of which the linear one leaves next to nothing for the second half of the steps to do.
    """
    # exercise 3: a noise schedule
    # kind "linear" or "cosine", T steps -> betas (T,), float32: the share of noise that each step brings in. linear:
    # from 0.0001 to 0.02 in equal steps. cosine: the share of the picture's variance that is left at u = t / T is
    # cos²((u + 0.008) / 1.008 * π/2); step t goes from u = t / T to (t + 1) / T; no beta is above 0.999. Reckon in 64
    # bits, as Python's numbers have: 1 minus a ratio near 1 leaves few digits of 32.
    # hint: linear is torch.linspace(1e-4, 0.02, T). For cosine, a step keeps the ratio of what is left behind it to
    # what was left before it, and beta is 1 minus that; the last one would be 1.
    if kind == "linear":
        return torch.linspace(1e-4, 0.02, T)

    def left(u: float) -> float:
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    return torch.tensor([min(1 - left((t + 1) / T) / left(t / T), 0.999) for t in range(T)])
    # end of exercise 3


@dataclass(frozen=True)
class Noise:
    """A schedule, and what follows from it.

    Attributes:
        kind: linear or cosine.
        T: how many steps it takes until nothing is left but noise.
        clip: whether what is thought to be the picture is held within -1 to 1 at every step back.
        alpha_to_one: whether the last DDIM step arrives at the picture itself (1), or where step 0 had left it.
        offset: what is added to the times of a sampling in few steps; Stable Diffusion has 1, and alpha_to_one off.
    """

    kind: Literal["linear", "cosine"] = "cosine"
    T: int = 1000
    clip: bool = True
    alpha_to_one: bool = True
    offset: int = 0

    def __post_init__(self) -> None:
        limits = (
            ("T", self.T >= 2, "at least 2"),
            ("offset", 0 <= self.offset < self.T, f"from 0 to below {self.T}"),
        )
        for name, right, must in limits:
            if not right:
                raise CourseError(f"the noise's {name} is {getattr(self, name)}: must be {must}.")
        object.__setattr__(self, "_left", torch.cumprod(1 - betas(self.kind, self.T), 0))

    @property
    def left(self) -> Float[Tensor, " T"]:
        """The share of the picture's variance that is left after step t, the papers' alpha bar: the product of what
        each step keeps. The other part, 1 - left, is noise."""
        return self._left  # type: ignore[attr-defined]

    def left_at(self, t: Times | int, like: Tensor) -> Float[Tensor, "..."]:
        """`left` at time t, ready to multiply `like` (N, …) with. Before time 0 there is the picture itself."""
        t = torch.as_tensor(t)
        last = 1.0 if self.alpha_to_one else float(self.left[0])
        found = torch.where(t >= 0, self.left[t.clamp_min(0).cpu()].to(t.device), last).to(like)
        return found.reshape(-1, *[1] * (like.ndim - 1)) if t.ndim else found  # (N, 1, 1, …)

    def add(self, x: Samples, noise: Samples, t: Times | int) -> Samples:
        """x at time t, in one stride: sqrt(left) * x + sqrt(1 - left) * noise (DDPM, eq. 4)."""
        left = self.left_at(t, x)
        return left.sqrt() * x + (1 - left).sqrt() * noise

    def times(self, steps: int) -> list[int]:
        """The times of a sampling in `steps` steps, from the noisiest down, equally far apart, ending at `offset`."""
        if not 1 <= steps <= self.T:
            raise CourseError(f"--steps {steps}: must be from 1 to {self.T}, the steps of the noise.")
        apart = self.T // steps
        return [t * apart + self.offset for t in reversed(range(steps))]


def loss(
    network: Denoiser, noise: Noise, x: Samples, condition: Condition | None = None, says: Says = "noise"
) -> Scalar:
    """What a network learns by (DDPM, algorithm 1): the mean square of what it errs by about the added noise.

    For each of x a time is drawn, and noise; the network is shown what comes of it. Or it is asked for something else
    that the noise follows from (`Denoising`).
    """
    t = torch.randint(0, noise.T, (len(x),), device=x.device)
    drawn, left = torch.randn_like(x), noise.left_at(t, x)
    said = network(noise.add(x, drawn, t), t, condition)
    wanted = {"noise": drawn, "velocity": left.sqrt() * drawn - (1 - left).sqrt() * x, "picture": x}
    return F.mse_loss(said, wanted[says])


class Denoising(nn.Module):
    """A denoiser out of a network that says something else: the three follow from each other, and from x.

    noise: easy where a picture is nearly drowned, for there it is nearly x; what the picture might be hardly counts.
    picture: easy where little is drowned. Of noise it need not know anything: that is many numbers without a pattern,
        and a small network cannot pass them on, while the pictures are few.
    velocity: sqrt(left) * noise - sqrt(1 - left) * picture, in between.
    """

    def __init__(self, network: nn.Module, noise: Noise, says: Says) -> None:
        super().__init__()
        self.network, self.noise, self.says = network, noise, says

    def forward(self, x: Samples, t: Times, condition: Condition | None = None) -> Samples:
        """The noise in x."""
        said, left = self.network(x, t, condition), self.noise.left_at(t, x)
        if self.says == "picture":
            return (x - left.sqrt() * said) / (1 - left).sqrt()
        return left.sqrt() * said + (1 - left).sqrt() * x if self.says == "velocity" else said

    def picture(self, x: Samples, t: Times, condition: Condition | None = None) -> Samples:
        """The picture that x comes from."""
        said, left = self.network(x, t, condition), self.noise.left_at(t, x)
        if self.says == "noise":
            return (x - (1 - left).sqrt() * said) / left.sqrt()
        return left.sqrt() * x - (1 - left).sqrt() * said if self.says == "velocity" else said


# ---------------------------------------------------------------- steps back


def picture(noise: Noise, x: Samples, predicted: Samples, t: int) -> Samples:
    """The picture that x at time t must come from, if `predicted` is the noise in it: `add`, solved for x."""
    left = noise.left_at(t, x)
    found = (x - (1 - left).sqrt() * predicted) / left.sqrt()
    return found.clamp(-1, 1) if noise.clip else found


def ddpm_step(noise: Noise, x: Samples, predicted: Samples, t: int, before: int, drawn: Samples | None) -> Samples:
    """From time t back to time `before`, with fresh noise on the way (DDPM, eq. 7 and algorithm 2).

    Given the picture and x at time t, where x was at `before` is known up to a normal distribution: its mean lies
    between the two, its variance is the one added here.

    Args:
        noise: the schedule.
        x: at time t.
        predicted: the noise in x, as the network thinks.
        t, before: times; before < t, below 0 for the end.
        drawn: fresh noise; None in the last step, which adds none.
    """
    left, left_before = noise.left_at(t, x), noise.left_at(before, x) if before >= 0 else torch.ones(()).to(x)
    kept = left / left_before  # of the variance, by the steps in between
    to_picture = left_before.sqrt() * (1 - kept) / (1 - left)
    to_x = kept.sqrt() * (1 - left_before) / (1 - left)
    mean = to_picture * picture(noise, x, predicted, t) + to_x * x
    if drawn is None:
        return mean
    variance = (1 - left_before) / (1 - left) * (1 - kept)
    return mean + variance.clamp_min(1e-20).sqrt() * drawn


def ddim_step(
    noise: Noise, x: Samples, predicted: Samples, t: int, before: int, eta: float = 0.0, drawn: Samples | None = None
) -> Samples:
    """From time t back to time `before`, straight towards the picture: ten steps do for a thousand (DDIM, eq. 12).

    The picture is worked out from the predicted noise, and noised again, less; by the same noise, so that nothing is
    drawn, and the same start always ends at the same picture. With eta 1 fresh noise takes the place of some of it: the
    variance of DDPM.

    Args:
        noise, x, predicted, t, before: as of `ddpm_step`.
        eta: how much of DDPM's fresh noise there is, 0 to 1.
        drawn: fresh noise, where eta is above 0.
    """
    left, left_before = noise.left_at(t, x), noise.left_at(before, x)
    spread = eta * ((1 - left_before) / (1 - left) * (1 - left / left_before)).sqrt()  # of fresh noise: sigma, eq. 16
    # exercise 4: one DDIM step
    # x (N, …) at time t, predicted (N, …) the noise in it, left and left_before the shares of the picture's variance at
    # t and at `before`, spread the standard deviation of fresh noise -> x at time `before`, (N, …). drawn (N, …) is
    # that noise of variance 1, or None where eta is 0. picture(noise, x, predicted, t) above is yours to use.
    # hint: eq. 12 has three terms: sqrt(left_before) times the picture; the direction back to x, sqrt(1 - left_before -
    # spread²) times predicted; and spread times drawn. The variances of the last two add up to 1 - left_before.
    found = left_before.sqrt() * picture(noise, x, predicted, t)
    found = found + (1 - left_before - spread**2).sqrt() * predicted
    return found if drawn is None else found + spread * drawn
    # end of exercise 4


def guided(denoise: Denoiser, x: Samples, t: Times, condition: Condition, nothing: Condition, weight: float) -> Samples:
    """The noise in x, as it looks to a network that listens to the condition `weight` times as much as it was taught.

    A network that has learned with the condition and, now and then, without it, knows both. What the condition changes
    is the difference: 0 is without, 1 with it, above 1 exaggerates (classifier-free guidance).

    Args:
        denoise: the network.
        x, t: samples (N, …) and the time (N,) of each.
        condition, nothing: what each is to show, and what stands for no wish; (N, …) both.
        weight: of guidance.
    """
    # exercise 5: classifier-free guidance
    # denoise(x, t, condition) -> noise (N, …); x (N, …), t (N,), condition and nothing (N, …), weight a number -> the
    # guided noise (N, …), by one call of denoise with 2N samples: a call costs less than two.
    # hint: one batch of 2N: x twice, t twice, and for the conditions both (torch.cat). .chunk(2) gives the two halves
    # of the answer back, in the order in which you put them in. From `without` go `weight` times the way to `with_it`.
    both = denoise(torch.cat([x, x]), torch.cat([t, t]), torch.cat([nothing, condition]))
    without, with_it = both.chunk(2)
    return without + weight * (with_it - without)
    # end of exercise 5


@torch.no_grad()
def sample(
    denoise: Denoiser, noise: Noise, x: Samples, steps: int, condition: Condition | None = None,
    nothing: Condition | None = None, weight: float = 1.0, how: Literal["ddim", "ddpm"] = "ddim", eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[int, Samples]]:  # fmt: skip
    """Yields (time, x) from pure noise to the picture: first what was given, then what each step has made of it.

    Args:
        denoise: the network, in evaluation mode.
        noise: the schedule that it has learned with.
        x: where to begin: noise of variance 1.
        steps: how many.
        condition, nothing, weight: as of `guided`; without `nothing` the condition goes to the network as it is.
        how: ddim, or ddpm, which wants many steps.
        eta: as of `ddim_step`.
        generator: of fresh noise.
    """
    times = noise.times(steps)
    yield noise.T, x
    for t, before in zip(times, [t - noise.T // steps for t in times], strict=True):
        now = torch.full((len(x),), t, device=x.device)
        if nothing is None or condition is None:
            predicted = denoise(x, now, condition)
        else:
            predicted = guided(denoise, x, now, condition, nothing, weight)
        fresh = (how == "ddpm" and t > 0) or (how == "ddim" and eta > 0)
        drawn = torch.randn(x.shape, generator=generator).to(x) if fresh else None
        if how == "ddpm":
            x = ddpm_step(noise, x, predicted, t, before, drawn)
        else:
            x = ddim_step(noise, x, predicted, t, before, eta, drawn)
        yield before, x


# ---------------------------------------------------------------- the average of the weights


class Average(nn.Module):
    """The weights of a network, averaged over its training: what one samples with.

    The gradient of a diffusion's loss is noisy, for it hangs on which time was drawn; the last weights wander around
    the good ones. Each update goes a share of 1 - decay towards them; at the start a larger one, as 9 / (10 + n).
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        super().__init__()
        from copy import deepcopy

        self.model = deepcopy(model).requires_grad_(False).eval()
        self.decay = decay
        self.register_buffer("updates", torch.tensor(0))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """To be called after every step of the optimiser."""
        count = int(self.updates)
        decay = min(self.decay, (1 + count) / (10 + count))
        for mine, other in zip(self.model.parameters(), model.parameters(), strict=True):
            mine.lerp_(other, 1 - decay)
        for mine, other in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(other)
        self.updates += 1

    def forward(self, *inputs: Tensor | None) -> Tensor:
        """What the averaged network says."""
        return self.model(*inputs)
