"""Does it look where the opacity is? `./course run 13 looks` scores that and draws it.

Of the synthetic sample the place of each opacity is known, so a map can be scored.

The pointing game (J. Zhang et al., "Top-down neural attention by excitation backprop", arXiv:1608.00507): a point for
each picture whose hottest patch lies on the thing. It is played only where there is one to be pointed at, and beside
three who do not look: chance (any patch), the centre prior (always the patch that is right most often on val), and the
same network with shuffled weights (J. Adebayo et al., "Sanity checks for saliency maps", arXiv:1810.03292).
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week13_vit/looks.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from shared import cli
from shared.config import EvalConfig
from shared.device import Device, choose
from shared.errors import CourseError
from week13_vit import data, drawing, measures, train
from week13_vit.model import ViT, on_grid, rollout
from week13_vit.trained import Trained, load

Maps = Float[np.ndarray, "N h w"]
SHOWN = 6


@dataclass
class Config(EvalConfig):
    """The flags of looks. --data: `sample`, or `sample_other` (another hospital)."""


def on_spot(spots: Float[np.ndarray, "N most 5"], grid: tuple[int, int]) -> Bool[np.ndarray, "N h w"]:
    """Which patches lie on an opacity: those whose middle is inside its ellipse, made half a patch larger all round."""
    h, w = grid
    row, column = (np.arange(h) + 0.5) / h, (np.arange(w) + 0.5) / w
    dy = row[None, None, :, None] - spots[..., 0, None, None]  # (N, most, h, 1)
    dx = column[None, None, None, :] - spots[..., 1, None, None]  # (N, most, 1, w)
    cos, sin = (f(spots[..., 4])[..., None, None] for f in (np.cos, np.sin))
    across = (cos * dx + sin * dy) / (spots[..., 3, None, None] + 0.5 / w)
    along = (cos * dy - sin * dx) / (spots[..., 2, None, None] + 0.5 / h)
    return (np.nan_to_num(across**2 + along**2, nan=np.inf) <= 1).any(axis=1)


@torch.no_grad()
def rollouts(model: ViT, part: data.Part, mean_std: tuple[np.ndarray, np.ndarray], device: Device) -> Maps:
    """Attention rollout of every picture, as shares on the grid of patches."""

    def seen(images: Any) -> torch.Tensor:
        return on_grid(rollout(model.attentions(images)), model.grid(images), model.config.pool).flatten(1)

    model.to(device.name).eval()
    flat = train.outputs(seen, part, mean_std, device, size=100)
    rows = part.images.shape[1] // model.config.patch
    return flat.reshape(len(part), rows, -1).numpy()  # (N, h * w) -> (N, h, w)


def hits(maps: Maps, there: Bool[np.ndarray, "N h w"]) -> Bool[np.ndarray, " N"]:
    """Whether the hottest patch of each map is one of those."""
    hottest = maps.reshape(len(maps), -1).argmax(axis=1)
    return there.reshape(len(maps), -1)[np.arange(len(maps)), hottest]


def shuffled(model: ViT, seed: int = 0) -> ViT:
    """The same network with the numbers of each weight in another order: it has learned nothing, and looks alike."""
    found, rng = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in found.parameters():
            order = torch.randperm(parameter.numel(), generator=rng).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return found


def pointing_game(
    trained: Trained, part: data.Part, preds: Int[np.ndarray, " N"], device: Device
) -> dict[str, float]:  # fmt: skip
    """The share of the pictures with an opacity whose hottest patch lies on one: of the rollout, of the rollout where
    the opacity was found, and of three who do not look."""
    sick = np.flatnonzero(np.isfinite(part.spots[:, 0, 0]))
    ill = part.take(sick)
    rows = ill.images.shape[1] // trained.model.config.patch
    there = on_spot(ill.spots, (rows, rows))
    right = hits(rollouts(trained.model, ill, trained.mean_std, device), there)
    found = preds[sick] == 1
    val = data.load("sample", trained.side).val  # whatever it was trained on: of no other is it known
    prior = on_spot(val.spots, (rows, rows)).sum(axis=0).astype(float)  # how often each patch is right on val
    return {
        "rollout": float(right.mean()),
        "rollout_where_found": float(right[found].mean()) if found.any() else float("nan"),
        "centre_prior": float(hits(np.broadcast_to(prior, there.shape), there).mean()),
        "shuffled_weights": float(hits(rollouts(shuffled(trained.model), ill, trained.mean_std, device), there).mean()),
        "chance": float(there.mean()),
    }


def print_pointing(found: dict[str, float]) -> None:
    """The pointing game as a table."""
    print("\npointing game: the hottest patch lies on an opacity")
    for name, value in found.items():
        print(f"  {name.replace('_', ' '):22s}{value:7.1%}")


def draw(path: Path, trained: Trained, part: data.Part, preds: Int[np.ndarray, " N"], device: Device) -> None:
    """Where the network looks in the first pictures whose opacity it found, and where it does with shuffled weights."""
    found = np.flatnonzero((part.labels == 1) & (preds == 1))[:SHOWN]
    some = part.take(found if len(found) > 1 else np.flatnonzero(part.labels == 1)[:SHOWN])
    both = (("rollout", trained.model), ("weights shuffled", shuffled(trained.model)))
    maps = [(name, rollouts(one, some, trained.mean_std, device)) for name, one in both]
    drawing.rollout(path, some.images[..., 0], some.spots, maps)


def main(cfg: Config) -> dict[str, float]:
    """Plays the pointing game on the test pictures that have an opacity, and draws some: rollout.png.

    Returns the share of the pictures in which each hits.
    """
    device, trained = choose(cfg.device), load(cfg.run, finished=True)
    pictures = data.load(cfg.data or trained.config.data, trained.side)
    part, folder = pictures.test, trained.folder_for(cfg.out, "" if cfg.data == trained.config.data else cfg.data)
    if part.spots is None:
        raise CourseError(f"--data {pictures.name}: nobody knows where the opacities are. Give sample or sample_other.")
    probs = train.probabilities(trained.model, part, trained.mean_std, device)
    preds = measures.decided(probs, trained.threshold)
    found = pointing_game(trained, part, preds, device)
    print_pointing(found)
    draw(folder / "rollout.png", trained, part, preds, device)
    print(f"\npicture: {folder / 'rollout.png'}")
    return found


if __name__ == "__main__":
    cli.launch(main, Config)
