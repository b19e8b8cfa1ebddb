"""Makes the README's pictures again: `./course run 4 figures`. Where ablate has not been run yet, it is run first."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week04_lightning/figures.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from shared import cli
from shared.config import Seed
from week02_cnn import data as photographs
from week02_cnn.data import flipped
from week04_lightning import ablate, augment, drawing, lr_finder
from week04_lightning.optim import SCHEDULES, schedule

FIGURES = Path(__file__).parent / "figures"
PHOTO, OTHER = 6, 94  # of the sample's training images: a horse that looks to the left, and a cat to blend it with
TIMES = 7  # how often each augmentation is shown


@dataclass
class Config:
    """The flags of figures."""

    ablation: str = str(ablate.FOLDER)
    """The folder of ablate's rows; what is missing there is trained."""
    out: str = str(FIGURES)
    """Where the pictures go."""
    seed: Seed = 0
    """What augmentations, rate finder and ablation draw from."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """What the rate finder and the ablation compute on; auto takes the fastest one that is there."""


def augmentations(path: Path, photo: UInt8[np.ndarray, "H W 3"], other: UInt8[np.ndarray, "H W 3"], seed: int) -> None:
    """What every augmentation makes of one photograph; mixup blends it with another one."""
    generator = torch.Generator().manual_seed(seed)
    image, second = (torch.from_numpy(one).permute(2, 0, 1) for one in (photo, other))  # (3, H, W)
    batch = image.expand(TIMES, -1, -1, -1)  # (TIMES, 3, H, W)
    colour = batch.float().mean(dim=(0, 2, 3)).to(torch.uint8)  # (3,)

    def blended(alpha: float) -> Tensor:
        both, labels = torch.stack([image, second]), torch.tensor([0, 1])
        return torch.stack([augment.mixup(both, labels, 2, alpha, generator)[0][0] for _ in range(TIMES)])

    made: dict[str, Callable[[], Tensor]] = {
        "flip": lambda: flipped(batch, generator),
        "alternating": lambda: torch.cat(
            [augment.alternating_flip(batch[:1], torch.tensor([0]), epoch, seed) for epoch in range(TIMES)]
        ),
        "crop 4": lambda: augment.crop(batch, 4, generator),
        "cutout 12": lambda: augment.cutout(batch, 12, colour, generator),
        "mixup 1": lambda: blended(1.0),
        "RandAugment": lambda: augment.rand_augment(batch.contiguous(), generator=generator),
    }
    rows = {name: list(make().permute(0, 2, 3, 1).numpy()) for name, make in made.items()}
    drawing.augmentations(path, photo, rows)


def main(cfg: Config) -> None:
    """Draws augmentations and schedules, runs the rate finder and what is missing of ablate, and keeps the pictures."""
    out = Path(cfg.out)
    train = photographs.load("sample").train
    augmentations(out / "augmentations.png", train.images[PHOTO], train.images[OTHER], cfg.seed)
    steps = 400
    shapes = {name: schedule(name, steps, 0.0 if name == "cosine" else 0.25) for name in SCHEDULES}
    rates = {name: [rate(step) for step in range(steps)] for name, rate in shapes.items()}
    drawing.schedules(out / "schedules.png", rates, peak=0.1)
    with tempfile.TemporaryDirectory() as folder:
        recipe = cli.parse(lr_finder.Config, lr_finder.PRESETS, ["--preset", "plain", "--width", "16"])
        found = lr_finder.main(replace(recipe, seed=cfg.seed, device=cfg.device, out=str(Path(folder) / "run")))
        shutil.copyfile(Path(found["out"]) / "lr_finder.png", out / "lr_finder.png")
    summed = ablate.main(ablate.Config(out=cfg.ablation, seed=cfg.seed, device=cfg.device))
    shutil.copyfile(Path(cfg.ablation) / "ablation.png", out / "ablation.png")
    shown = {"plain": summed[""][ablate.PLAIN_ROW], "refined": summed[""][ablate.REFINED_ROW]}
    drawing.versus(out / "curves.png", {name: row["histories"] for name, row in shown.items()})
    print(f"pictures: {out}")


if __name__ == "__main__":
    cli.launch(main, Config)
