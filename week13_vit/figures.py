"""Makes the README's pictures again, from a run and a comparison that are there.

./course run 13 pretrain;  ./course train 13 --start RUN
./course run 13 compare
./course run 13 figures --compare runs/week13/compare-sample
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week13_vit/figures.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import shutil
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float

from shared import cli
from shared.device import Device, choose
from shared.errors import CourseError
from week13_vit import data, drawing, looks, measures, train
from week13_vit.model import ViT, on_grid
from week13_vit.trained import load

FIGURES = Path(__file__).parent / "figures"
EFFICIENCY = "data_efficiency.png"
MeanStd = tuple[np.ndarray, np.ndarray]


@dataclass
class Config:
    """The flags of figures."""

    run: str = ""
    """The folder of a run over the synthetic radiographs (default: the week's newest)."""
    compare: str = ""
    """The folder of a comparison, whose data_efficiency.png is taken."""
    count: int = 6
    """How many radiographs rollout.png shows: the first of test that have an opacity and are found."""
    out: str = str(FIGURES)
    """Where the pictures go."""


def similarity(model: ViT) -> Float[np.ndarray, "h w h w"]:
    """The cosine of the learned positions of every two patches, after what all have in common is taken away."""
    rows = model.pos_embed.detach()[0, 1:]
    rows = F.normalize(rows - rows.mean(dim=0), dim=1)
    return (rows @ rows.T).reshape(*model.config.grid, *model.config.grid).numpy()  # (patches, patches) -> (h, w, h, w)


def draw_rollout(path: Path, model: ViT, part: data.Part, mean_std: MeanStd, device: Device) -> None:
    """Where the network looks in some pictures, and where the same with shuffled weights does."""
    both = (("rollout", model), ("weights shuffled", looks.shuffled(model)))
    maps = [(name, looks.rollouts(one, part, mean_std, device)) for name, one in both]
    drawing.rollout(path, part.images[..., 0], part.spots, maps)


def draw_heads(path: Path, model: ViT, part: data.Part, mean_std: MeanStd) -> None:
    """What each head of each block looks at in one picture."""
    images = data.normalise(data.tensors(part)[0], *map(torch.from_numpy, mean_std))
    seen = [on_grid(one, model.grid(images), model.config.pool)[0] for one in model.attentions(images)]
    drawing.heads(path, part.images[0, ..., 0], torch.stack(seen).numpy())


def main(cfg: Config) -> None:
    """Draws patches.png, positions.png, rollout.png, heads.png and reliability.png, and takes efficiency.png."""
    out, device, net = Path(cfg.out), choose("cpu"), load(cfg.run, finished=True)
    test = net.pictures().test
    if test.spots is None:
        raise CourseError(f"{net.run.folder}: nobody knows where the opacities of {net.config.data} are; needs sample.")
    probs = train.probabilities(net.model, test, net.mean_std, device)
    found = np.flatnonzero((test.labels == 1) & (measures.decided(probs, net.threshold) == 1))[: cfg.count]
    drawing.patches(out / "patches.png", test.images[found[0], ..., 0], net.model.config.patch)
    h, w = net.model.config.grid
    drawing.positions(out / "positions.png", similarity(net.model), [(1, 1), (h // 2, w // 2), (h - 2, 1), (2, w - 2)])
    draw_rollout(out / "rollout.png", net.model, test.take(found), net.mean_std, device)
    draw_heads(out / "heads.png", net.model, test.take(found[:1]), net.mean_std)
    error, rows = measures.calibration(test.labels, probs)
    drawing.reliability(out / "reliability.png", rows, error, len(test))
    if cfg.compare and (Path(cfg.compare) / EFFICIENCY).is_file():
        shutil.copyfile(Path(cfg.compare) / EFFICIENCY, out / "efficiency.png")
    else:
        print(f"left out efficiency.png: there is no {EFFICIENCY} in --compare {cfg.compare or '(not given)'}")
    for picture in sorted(out.glob("*.png")):
        print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    cli.launch(main, Config)
