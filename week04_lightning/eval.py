"""Scores a trained network on photographs it has not seen: `./course eval 4`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week04_lightning/eval.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from shared import cli
from shared.config import EvalConfig
from shared.device import choose
from shared.scores import report
from week02_cnn.data import Data
from week02_cnn.eval import part_to_score
from week02_cnn.train import evaluate
from week04_lightning import train
from week04_lightning.trained import load


@dataclass
class Config(EvalConfig):
    """The flags of eval. --data also takes cifar10, a folder of class folders, or an .npz."""

    tta: Literal[-1, 0, 1, 2] = -1
    """Test-time augmentation: 0 none, 1 with the mirror image, 2 with moved ones too (-1: as in the run)."""


def main(cfg: Config) -> dict[str, Any]:
    """Reads the test set and shows accuracy beside the baselines, class by class, and the surest mistakes.

    Returns what result.json holds now; the run folder is under "run", the counts under "confusion".
    """
    trained = load(cfg.run, finished=True)
    classes = trained.classes
    tta = trained.config.tta if cfg.tta < 0 else cfg.tta
    recipe = trained.model.cfg = replace(trained.config, device=cfg.device, devices=1, tta=tta)
    device = train.choose_device(recipe)
    chosen = part_to_score(cfg.data, trained)
    part = chosen.part
    photos = Data(chosen.name, classes, part, part, part)  # the Trainer only tests: it looks at nothing else
    _, logits = train.test(recipe, photos, part, trained.model, device)
    probs = torch.softmax(logits, dim=1).numpy()
    theirs = {
        baseline: evaluate(model, part, trained.mean, trained.std, choose(cfg.device))["accuracy"]
        for baseline, model in trained.baselines().items()
    }
    if tta != trained.config.tta:  # that measures another thing than the run's own test
        chosen = replace(chosen, own=False)
    return report(trained.run, chosen, probs, theirs, classes, part.images, cfg.out, f", --tta {tta}")


if __name__ == "__main__":
    cli.launch(main, Config)
