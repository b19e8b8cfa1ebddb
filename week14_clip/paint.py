"""Trains a painter of texts, Stable Diffusion in small: `./course run 14 paint`; paint with it: `./course run 14 draw`.

A picture becomes few numbers (painter.py:Codec), these are drowned in noise (diffusion.py), a U-Net that hears the text
learns to find the noise (unet.py), and one text in ten is left out, so that guidance can be had when painting.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week14_clip/paint.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import math
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge, Le
from torch import Tensor, nn

from shared import checkpoint, cli, runs
from shared.config import Count, Natural, NonNegative, Positive, Share, TrainConfig
from shared.device import Device, choose
from shared.loop import Loop
from shared.splits import Part, Splits
from week14_clip import diffusion, gallery
from week14_clip.diffusion import Average
from week14_clip.judge import Judge, in_words, judged
from week14_clip.model import count_parameters
from week14_clip.painter import GROUPS, PAINTER, Painter, TokenReader, build, captioned, pixels
from week14_clip.picture import Picture

WEEK_NUMBER, PROGRAM = 14, "paint"
PROMPTS = ("strawberry", "pineapple", "watermelon", "cheese wedge", "grapes", "cocktail glass",
           "red apple", "green apple")  # fmt: skip
VAL_TIMES = 4  # times, and noises, that each picture of val is drowned to


@dataclass
class Config(TrainConfig):
    """The flags of paint. --data also takes flickr8k, unsplash-lite, or a folder of pictures with captions."""

    groups: tuple[str, ...] = ("food and drink",)
    """Of the bundled drawings those of these groups: smileys, people, "animals and nature", "food and drink", "travel
    and places", activities, objects. Few things are painted well in five minutes; all of them want an hour."""
    limit: Natural = 0
    """At most so many pictures; 0: all."""
    side: Annotated[int, Ge(8), Le(512)] = 64
    """Pixels of a painted picture, in height and width."""
    patch: Count = 8
    """Pixels of a patch, in height and width. What the U-Net sees is --side / --patch numbers high and wide."""
    channels: Count = 32
    """How many numbers a patch becomes. Fewer: less to learn, and a blur."""
    width: Count = 64
    """Channels of the U-Net's first floor. Twice as many take nearly four times as long."""
    levels: Count = 2
    """Floors of the U-Net; each but the last halves the side."""
    heads: Count = 4
    """Heads of attention."""
    schedule: Literal["linear", "cosine"] = "cosine"
    """How the noise comes in."""
    noise_steps: Annotated[int, Ge(2)] = 1000
    """In how many steps a picture drowns."""
    says: diffusion.Says = "picture"
    """What the U-Net is asked for: the noise, the picture, or v, between both. The others follow from it."""
    unheard: Share = 0.1
    """The share of texts that are left out in training. With 0 there is no guidance."""
    decay: Share = 0.995
    """How much of the averaged weights a step keeps."""
    lr: Positive = 2e-3
    """The size of the largest step."""
    batch_size: Count = 32
    """Pictures a step."""
    epochs: Count = 24
    """How often the log is written."""
    steps_per_epoch: Count = 100
    """Steps between two lines of the log; each draws its pictures anew."""
    max_steps: Natural = 0
    """Stop after so many steps (0: at the end of the epochs)."""
    guidance: NonNegative = 2.0
    """How much the text counts where the result is shown."""
    sampling_steps: Count = 25
    """Steps of DDIM where the result is shown."""
    threads: Natural = 0
    """CPU threads (0: as many as torch takes)."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"limit": 24, "side": 32, "width": 16, "epochs": 2, "steps_per_epoch": 20, "batch_size": 8,
              "sampling_steps": 4, "noise_steps": 20},
    "quick": {},
    "full": {"groups": GROUPS, "width": 128, "levels": 3, "epochs": 200, "batch_size": 128, "decay": 0.999},
}  # fmt: skip
FREE = ("device", "threads", "guidance", "sampling_steps")  # what --resume may change


@dataclass
class Known:
    """Pictures as the U-Net is given them.

    Attributes:
        latents: of each picture (N, channels, places, places).
        tokens: of each picture's first caption (N, LONGEST, text_dim), as the painter hears them.
    """

    latents: Tensor
    tokens: Tensor


def prepare(painter: Painter, part: Part[Picture], reader: TokenReader, device: Device) -> Known:
    """A part's pictures and texts in numbers."""
    seen = pixels((one.read() for one in part.items), painter.codec.side).to(device.name)
    texts = list(dict.fromkeys(one.captions[0] for one in part.items))
    rows = [texts.index(one.captions[0]) for one in part.items]
    return Known(painter.codec.encode(seen), painter.heard(reader.tokens(texts).to(device.name))[rows])


class Album:
    """What a few texts look like as the training goes on; a part of the training, so that --resume does not lose it."""

    def __init__(self) -> None:
        self.pages: dict[int, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"pages": dict(self.pages)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.pages = dict(state["pages"])


def learning_rate(step: int, steps: int) -> float:
    """What share of --lr a step is to have: up in the first twentieth, then down as a cosine."""
    progress = (step + 1) / (steps + 1)
    return min(progress / 0.05, 1.0) * (1 + math.cos(math.pi * progress)) / 2


def fit(
    cfg: Config, train: Known, val: Known, prompts: Tensor, painter: Painter, device: Device,
    run: runs.Run | None = None, album: Album | None = None,
) -> Iterator[runs.Row]:  # fmt: skip
    """The training loop. Yields {epoch, step, train_loss, val_loss, val_loss_unheard, seconds} after every epoch.

    At its end the painter has the averaged weights.

    Raises:
        Diverged: the loss is no longer a number.
        Stopped: Ctrl-C was pressed; the state is saved.
    """
    unet, album = painter.unet.to(device.name).train(), album or Album()
    unet.to(memory_format=torch.channels_last)  # a tenth faster on a CPU
    average = Average(unet, cfg.decay)
    optimizer = torch.optim.AdamW(unet.parameters(), cfg.lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    steps = cfg.max_steps or cfg.epochs * cfg.steps_per_epoch
    pages = {max(1, round(cfg.epochs * share)) for share in (1 / 24, 1 / 8, 1 / 4, 1 / 2, 1)}
    parts = {"unet": unet, "average": average, "optimizer": optimizer, "album": album}
    with Loop(cfg, run, steps, cfg.steps_per_epoch, f"Try --lr {cfg.lr / 10:g}.", "painting", **parts) as loop:
        for epoch in loop.epochs():
            drawn = np.random.default_rng([cfg.seed, epoch])
            chosen = drawn.integers(0, len(train.latents), (cfg.steps_per_epoch, cfg.batch_size))
            for rows in loop.batches(torch.from_numpy(chosen).to(device.name).unbind()):
                optimizer.param_groups[0]["lr"] = cfg.lr * learning_rate(loop.step, steps)
                heard = torch.rand(cfg.batch_size, 1, 1, device=device.name) >= cfg.unheard
                texts = torch.where(heard, train.tokens[rows], painter.nothing)  # (batch, LONGEST, text_dim)
                optimizer.zero_grad()
                loss = diffusion.loss(unet, painter.noise, train.latents[rows], texts, cfg.says)
                loss.backward()
                nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
                optimizer.step()
                average.update(unet)
                loop.add(loss)
            if epoch + 1 in pages:
                start = painter.start(1, cfg.seed).expand(len(prompts), -1, -1, -1)
                album.pages[loop.step] = painter.paint(prompts, start, cfg.guidance, cfg.sampling_steps, average)
            yield loop.row(**evaluate(average, painter, val))
    unet.load_state_dict(average.model.state_dict())


@torch.no_grad()
def evaluate(unet: nn.Module, painter: Painter, part: Known) -> dict[str, float]:
    """How far off the network is about the pictures of a part, drowned, with their texts and without: the mean square
    error, where the spread of the numbers is 1. The same times and noises are asked each time; the first and the last
    twentieth, too easy and too hard for anybody, are left out."""
    rng, device, T = torch.Generator().manual_seed(0), part.latents.device, painter.noise.T
    rows = torch.arange(len(part.latents)).repeat(VAL_TIMES)
    t = torch.linspace(0.05 * T, 0.95 * T, len(rows)).long()[torch.randperm(len(rows), generator=rng)].to(device)
    x, tokens = part.latents[rows], part.tokens[rows]
    noisy = painter.noise.add(x, torch.randn(x.shape, generator=rng).to(device), t)
    denoise, nothing = painter.denoiser(unet), painter.nothing.expand_as(tokens)
    heard, unheard = (F.mse_loss(denoise.picture(noisy, t, texts), x).item() for texts in (tokens, nothing))
    return {"loss": heard, "loss_unheard": unheard}


def main(cfg: Config) -> dict[str, Any]:
    """Trains a painter, shows how it came to paint, and how often a painted picture is known for what it is to be.

    Returns what result.json holds; the run folder is under the key "run".
    """
    device = choose(cfg.device)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    pictures = captioned(cfg.data, cfg.groups, cfg.limit)
    painter = build(asdict(cfg))
    run = runs.begin(WEEK_NUMBER, cfg, FREE, PROGRAM)
    if (run.folder / "result.json").is_file():
        raise run.finished("start a new run.")
    run.hold_to(pictures)
    runs.describe(pictures, "pictures")
    reader = TokenReader(device.name)
    names = list(dict.fromkeys(one.captions[0] for one in pictures.train.items))
    painter.codec.fit(pixels((one.read() for one in pictures.train.items), cfg.side))
    painter.fit_texts(reader.tokens(names), reader.tokens([""]))
    painter.to(device.name)
    train, val = (prepare(painter, part, reader, device) for part in (pictures.train, pictures.val))
    shape, params = painter.unet.config, count_parameters(painter.unet)
    print(f"device: {device}. A picture of {3 * cfg.side**2:,} numbers becomes {train.latents[0].numel():,}: "
          f"{shape.channels} x {shape.side} x {shape.side}. The U-Net has {params:,} parameters.")  # fmt: skip
    album, texts = Album(), prompts_of(cfg, pictures)
    heard = painter.heard(reader.tokens(texts).to(device.name))
    with run.log() as log:
        for row in fit(cfg, train, val, heard, painter, device, run, album):
            log(row)
    painter.eval()
    checkpoint.save(run.folder / PAINTER, {"week": WEEK_NUMBER, "config": asdict(cfg), "painter": painter.state_dict()})
    gallery.grid(
        run.folder / "training.png", texts, [f"{step:,} steps" for step in album.pages], list(album.pages.values())
    )
    gallery.of_guidance(run.folder / "guidance.png", painter, heard, texts, cfg.sampling_steps, cfg.seed)
    gallery.of_steps(run.folder / "steps.png", painter, heard, texts, cfg.guidance, cfg.seed)
    known = judged(Judge(painter, pictures, reader, device), cfg.guidance, cfg.sampling_steps, cfg.seed)
    last, mean = run.rows[-1], train.latents.mean(0).expand_as(val.latents)
    scores = {name: value for name, value in last.items() if name.startswith("val_")}
    baselines = [{"name": "no text is heard", "params": params, "seconds": 0.0, "val_loss": last["val_loss_unheard"]},
                 {"name": "always the mean picture", "params": 0, "seconds": 0.0,
                  "val_loss": F.mse_loss(mean, val.latents).item()}]  # fmt: skip
    result = run.record(scores | known, device, params, last["seconds"], baselines)
    runs.print_table(result, "val_loss")
    where = f" --run {shlex.quote(str(run.folder))}" if cfg.out else ""
    print(f'\n{in_words(known)}\n\nrun folder: {run.folder}\npaint: ./course run 14 draw "a strawberry"{where}')
    return result | {"run": str(run.folder)}


def prompts_of(cfg: Config, pictures: Splits[Picture]) -> list[str]:
    """The texts of the gallery: well-known ones, or, where those are not there, some of train and two of val."""
    there = {one.captions[0] for one in pictures.train.items + pictures.val.items}
    if set(PROMPTS) <= there:
        return list(PROMPTS)
    train, val = (list(dict.fromkeys(one.captions[0] for one in part.items)) for part in (pictures.train, pictures.val))
    rng = np.random.default_rng(0)
    return [part[row] for part, most in ((train, 6), (val, 2)) for row in rng.permutation(len(part))[:most]]


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
