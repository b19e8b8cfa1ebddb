"""Diffusion on points in the plane, where every step can be seen: `./course run 14 points`.

Points come from a drawing (two moons, a spiral, …; synthetic); a network of three layers learns to find the noise in
them, and brings a cloud of noise back to the drawing. The kinds are also what one can wish for: guidance can be seen,
too.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week14_clip/points.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from shared import cli
from shared.config import Count, NonNegative, Positive, Seed
from shared.errors import CourseError, Diverged
from shared.progress import bar
from shared.seed import seed_everything
from week14_clip import diffusion
from week14_clip.diffusion import Average, Noise
from week14_clip.unet import time_features

WEEK_NUMBER = 14
SHAPES = ("moons", "spiral", "ring", "grid")
WAVES = 5
Points = Float[Tensor, "N 2"]


@dataclass
class Config:
    """The flags of points."""

    steps: Count = 6000
    """Steps of training."""
    batch_size: Count = 256
    """Points a step."""
    lr: Positive = 5e-3
    """The size of a step at the start; it falls to zero."""
    width: Count = 128
    """Neurons of a layer."""
    schedule: Literal["linear", "cosine"] = "cosine"
    """How the noise comes in. linear leaves next to nothing for its second half to do."""
    noise_steps: Count = 200
    """In how many steps a drawing drowns."""
    sampling_steps: Count = 40
    """In how many steps it comes back."""
    how: Literal["ddim", "ddpm"] = "ddim"
    """ddim goes straight; ddpm with fresh noise at every step, and wants --sampling-steps of about --noise-steps."""
    guidance: NonNegative = 2.0
    """How much the wish counts in the last row of the picture; 1: as it was learned."""
    seed: Seed = 0
    """Everything random follows from this number."""
    out: str = ""
    """Where points.png goes. Default: runs/week14."""
    preset: str = "quick"
    """`smoke` (seconds), `quick` (a minute), `full` (more steps, a wider network). A flag given by hand wins."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"steps": 200, "width": 32},
    "quick": {},
    "full": {"steps": 20_000, "width": 256},
}


def draw(kinds: Int[Tensor, " N"], rng: torch.Generator) -> Points:
    """A point of each drawing, by its number in SHAPES. Each has a quarter of the plane, about from -2 to 2."""
    N = len(kinds)
    u, v = torch.rand(2, N, generator=rng)
    side = (v > 0.5).float()
    angle, turn = math.pi * (u + side), 3 * math.pi * u.sqrt()
    moons = torch.stack([0.6 * angle.cos() + 0.3 - 0.6 * side, 0.6 * angle.sin() - 0.15 + 0.3 * side], 1)
    spiral = (turn / 10)[:, None] * torch.stack([turn.cos(), turn.sin()], 1)
    ring = 0.8 * torch.stack([(2 * math.pi * u).cos(), (2 * math.pi * u).sin()], 1)
    grid = (torch.stack([u, v], 1) * 3).floor() * 0.7 - 0.7
    drawn = torch.stack([moons, spiral, ring, grid], 1)[torch.arange(N), kinds]  # (N, 4, 2) -> (N, 2)
    quarters = torch.tensor([[-1.0, 1.0], [1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    return 0.9 * (drawn + 0.03 * torch.randn(N, 2, generator=rng)) + quarters[kinds]


def wish_for(kinds: Int[Tensor, " N"]) -> Float[Tensor, "N kinds"]:
    """What the network is told: a 1 in the place of the kind. All zeros stand for no wish."""
    return F.one_hot(kinds, len(SHAPES)).float()


class Denoiser(nn.Module):
    """From a noisy point, its time and a wish to the noise in it.

    Beside the point it sees waves of it, as it sees waves of the time: fine detail is hard to learn from two numbers.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(2 + 2 * 2 * WAVES + 32 + len(SHAPES), width)
        self.second, self.third = nn.Linear(width, width), nn.Linear(width, width)
        self.last = nn.Linear(width, 2)

    def forward(self, x: Points, t: Int[Tensor, " N"], wish: Float[Tensor, "N kinds"]) -> Points:
        waves = (x[:, :, None] * 2.0 ** torch.arange(WAVES)).flatten(1)  # (N, 2, WAVES) -> (N, 2 * WAVES)
        h = F.silu(self.first(torch.cat([x, waves.sin(), waves.cos(), time_features(t, 32), wish], 1)))
        h = h + F.silu(self.second(h))
        return self.last(h + F.silu(self.third(h)))


def fit(cfg: Config, noise: Noise) -> Average:
    """The training: one tenth of the wishes are left out, so that the network learns both. Returns averaged weights."""
    seed_everything(cfg.seed)
    rng = torch.Generator().manual_seed(cfg.seed)
    denoiser = Denoiser(cfg.width)
    optimizer, average = torch.optim.AdamW(denoiser.parameters(), cfg.lr), Average(denoiser)
    with bar(cfg.steps, 0, "training") as told:
        for step in range(cfg.steps):
            optimizer.param_groups[0]["lr"] = cfg.lr * (1 - step / cfg.steps)
            kinds = torch.randint(0, len(SHAPES), (cfg.batch_size,), generator=rng)
            heard = (torch.rand(cfg.batch_size, 1, generator=rng) > 0.1).float()
            optimizer.zero_grad()
            loss = diffusion.loss(denoiser, noise, draw(kinds, rng), wish_for(kinds) * heard)
            loss.backward()
            optimizer.step()
            average.update(denoiser)
            if not math.isfinite(loss.item()):
                raise Diverged(loss.item(), step + 1, 1, f"Try --lr {cfg.lr / 10:g}.")
            told.update()
    return average


def path(
    average: Average, cfg: Config, noise: Noise, kinds: Int[Tensor, " N"], weight: float
) -> list[tuple[int, Points]]:
    """Every step from a cloud of noise, always the same one, to the drawings; weight 0: without a wish."""
    rng = torch.Generator().manual_seed(cfg.seed + 1)
    start, wish = torch.randn(len(kinds), 2, generator=rng), wish_for(kinds)
    return list(
        diffusion.sample(
            average, noise, start, cfg.sampling_steps, wish, torch.zeros_like(wish), weight, cfg.how, generator=rng
        )
    )


def miss(points: Points, kinds: Int[Tensor, " N"]) -> float:
    """How far a point is from the drawing it is to belong to: the mean distance to the nearest of 1,000 of its kind."""
    rng, total = torch.Generator().manual_seed(0), 0.0
    for kind in kinds.unique():
        real = draw(kind.repeat(1000), rng)
        total += torch.cdist(points[kinds == kind], real).min(1).values.sum().item()
    return total / len(points)


def show(file: Path, rows: Sequence[tuple[str, list[tuple[int, Points]], bool]], kinds: Int[Tensor, " N"]) -> None:
    """A row of panels for each path, its first step on the left, its last on the right."""
    from shared.plots import COLOURS, GREY, figure

    with figure(file, len(rows), 6, size=(9.6, 1.75 * len(rows))) as (_, axes):
        for line, (name, steps, coloured) in zip(axes, rows, strict=True):
            colours = np.array(COLOURS)[kinds.numpy()] if coloured else GREY
            for axis, place in zip(line, np.linspace(0, len(steps) - 1, 6).round().astype(int), strict=True):
                t, x = steps[place]
                axis.scatter(*x.T.numpy(), s=1.5, c=colours, linewidths=0)
                axis.set(xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), xticks=[], yticks=[], aspect="equal")
                axis.set_title(f"t = {max(t, 0)}", fontsize=8, fontweight="normal")
            line[0].set_ylabel(name, fontsize=9)


def show_paths(file: Path, steps: list[tuple[int, Points]], kinds: Int[Tensor, " N"], most: int = 160) -> None:
    """Where single points wander, from the noise (pale) to the drawing (dark)."""
    from shared.plots import COLOURS, FAINT, figure

    way = torch.stack([x for _, x in steps]).numpy()  # (steps, N, 2)
    with figure(file, size=(5.0, 5.0)) as (_, axis):
        for row in range(min(most, way.shape[1])):
            axis.plot(*way[:, row].T, color=COLOURS[kinds[row]], linewidth=0.5, alpha=0.5)
        axis.scatter(*way[0, :most].T, s=5, color=FAINT, zorder=2)
        axis.scatter(*way[-1].T, s=2, c=np.array(COLOURS)[kinds.numpy()], zorder=3)
        axis.set(title="From noise to a drawing, step by step", xticks=[], yticks=[], aspect="equal")


def main(cfg: Config) -> dict[str, Any]:
    """Learns four drawings in the plane, and shows how noise becomes one of them: points.png and paths.png.

    Returns how far the points end from their drawings, with a wish, guided, and where they began.
    """
    from shared.runs import RUNS

    if cfg.sampling_steps > cfg.noise_steps:
        raise CourseError(f"--sampling-steps {cfg.sampling_steps}: must be at most --noise-steps {cfg.noise_steps}.")
    noise, out = Noise(cfg.schedule, cfg.noise_steps, clip=False), Path(cfg.out or RUNS / f"week{WEEK_NUMBER}")
    began = time.perf_counter()
    average = fit(cfg, noise)
    seconds = time.perf_counter() - began
    kinds = torch.arange(2000) % len(SHAPES)
    ways = {weight: path(average, cfg, noise, kinds, weight) for weight in (0.0, 1.0, cfg.guidance)}
    real = draw(kinds, torch.Generator().manual_seed(cfg.seed))
    fresh = torch.randn(real.shape, generator=torch.Generator().manual_seed(2))
    drowning = [(t, noise.add(real, fresh, t)) for t in range(-1, noise.T)]
    rows = [("drowning", drowning, True), ("no wish", ways[0.0], False), ("wish, as learned", ways[1.0], True),
            (f"guided {cfg.guidance:g} times", ways[cfg.guidance], True)]  # fmt: skip
    show(out / "points.png", rows, kinds)
    show_paths(out / "paths.png", ways[1.0], kinds)
    found = {"noise": miss(ways[1.0][0][1], kinds), "no_wish": miss(ways[0.0][-1][1], kinds),
             "wish": miss(ways[1.0][-1][1], kinds), "guided": miss(ways[cfg.guidance][-1][1], kinds)}  # fmt: skip
    print(f"trained {cfg.steps:,} steps in {seconds:.0f} s; mean distance to the drawing that was wished for:")
    for name, value in found.items():
        print(f"  {name.replace('_', ' '):10} {value:.3f}")
    print(f"pictures: {out / 'points.png'}, {out / 'paths.png'}")
    return found | {"seconds": seconds, "out": str(out)}


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS, week=WEEK_NUMBER)
