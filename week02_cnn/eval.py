"""Scores a trained network on photographs it has not seen: `./course eval 2`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week02_cnn/eval.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from shared import cli, held_out
from shared.config import EvalConfig
from shared.device import Device, choose
from shared.scores import report
from week02_cnn import data, train
from week02_cnn.trained import Trained, load

WHY = "The bundled sample is cut from CIFAR-10's test images."


@dataclass
class Config(EvalConfig):
    """The flags of eval. --data also takes cifar10, a folder of class folders, or an .npz."""


def probabilities(trained: Trained, part: data.Part, device: Device) -> Float[np.ndarray, "N classes"]:
    """What the network believes: the softmax of its logits."""
    outputs = train.logits(trained.model, part, trained.mean, trained.std, device)
    return torch.softmax(outputs, dim=1).numpy()


def part_to_score(name: str, trained: Trained) -> held_out.HeldOut:
    """What of `--data name` (default: what it was trained on) the network has not seen, in its numbering of classes.

    Raises:
        CourseError: a class that the network does not know, or nothing that it has not seen.
    """
    name = name or trained.config.data
    photos = data.load(name, trained.side)
    chosen = held_out.choose(trained.run, name, photos, why=WHY if "sample" in (name, trained.config.data) else "")
    return held_out.by_name(chosen, photos.classes if photos.named else None, trained.classes)


def main(cfg: Config) -> dict[str, Any]:
    """Reads the test set and shows accuracy beside the baselines, class by class, and the surest mistakes.

    Returns what result.json holds now; the run folder is under "run", the counts under "confusion".
    """
    device, trained = choose(cfg.device), load(cfg.run, finished=True)
    chosen = part_to_score(cfg.data, trained)
    part = chosen.part
    probs = probabilities(trained, part, device)
    theirs = {
        baseline: train.evaluate(model, part, trained.mean, trained.std, device)["accuracy"]
        for baseline, model in trained.baselines().items()
    }
    return report(trained.run, chosen, probs, theirs, trained.classes, part.images, cfg.out)


if __name__ == "__main__":
    cli.launch(main, Config)
