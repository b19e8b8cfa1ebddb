"""Makes the README's pictures again, from runs and a comparison that are there.

./course run 13 pretrain;  ./course train 13;  ./course eval 13;  ./course run 13 compare
./course run 13 figures --pretrained runs/week13/PRETRAINED --compare runs/week13/compare-sample
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
from shared.device import choose
from week13_vit import data, drawing, measures, train
from week13_vit.model import ViT, on_grid
from week13_vit.trained import load

FIGURES = Path(__file__).parent / "figures"
MeanStd = tuple[np.ndarray, np.ndarray]


@dataclass
class Config:
    """The flags of figures."""

    run: str = ""
    """The folder of a run that eval has scored (default: the week's newest), whose rollout.png and reliability.png are
    taken."""
    pretrained: str = ""
    """The folder of a run of pretrain, whose painted.png is taken."""
    compare: str = ""
    """The folder of a comparison, whose data_efficiency.png is taken."""
    out: str = str(FIGURES)
    """Where the pictures go."""


def kept(before: ViT, after: ViT) -> float:
    """The mean cosine of each place's position with what it was drawn as."""
    drawn, learned = (model.pos_embed.detach()[0, 1:] for model in (before, after))  # (patches, D)
    return F.cosine_similarity(drawn, learned, dim=1).mean().item()


def heads(
    model: ViT, part: data.Part, mean_std: tuple[np.ndarray, np.ndarray]
) -> Float[np.ndarray, "blocks heads h w"]:
    """What each head of each block looks at in the first picture."""
    images = data.normalise(data.tensors(part.take(np.array([0])))[0], *map(torch.from_numpy, mean_std))
    maps = [on_grid(one, model.grid(images), model.config.pool)[0] for one in model.attentions(images)]
    return torch.stack(maps).numpy()


def main(cfg: Config) -> None:
    """Draws patches.png and heads.png, takes the other pictures, and tells what became of the positions."""
    out, net = Path(cfg.out), load(cfg.run, finished=True)
    out.mkdir(parents=True, exist_ok=True)
    print(f"drawn from {net.run.folder}")
    test = net.pictures().test
    preds = measures.decided(train.probabilities(net.model, test, net.mean_std, choose("cpu")), net.threshold)
    ill = test.take(np.flatnonzero((test.labels == 1) & (preds == 1)))
    drawing.patches(out / "patches.png", ill.images[0, ..., 0], net.model.config.patch)
    known = None if ill.spots is None else ill.spots[0]
    drawing.heads(out / "heads.png", ill.images[0, ..., 0], heads(net.model, ill, net.mean_std), known)
    taken = [(net.run.folder, name, name) for name in ("rollout.png", "reliability.png")]
    taken += [(cfg.pretrained, "painted.png", "painted.png"), (cfg.compare, "data_efficiency.png", "efficiency.png")]
    for folder, name, ours in taken:
        if folder and (Path(folder) / name).is_file():
            shutil.copyfile(Path(folder) / name, out / ours)
        else:
            print(f"left out {ours}: it is not in {folder or 'any folder'}")
    if net.config.start == "scratch":
        same = kept(train.build(net.config, len(net.classes)), net.model)
        print(f"positions: cosine of each with what it was drawn as {same:.4f} in the mean")
    for picture in sorted(out.glob("*.png")):
        print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    cli.launch(main, Config)
