"""Scores a trained network on images it has not seen: `./course eval 1`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week01_numpy_mlp/eval.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from shared import cli, held_out
from shared.config import EvalConfig
from shared.errors import CourseError
from shared.scores import report
from week01_numpy_mlp import data, train
from week01_numpy_mlp.model import MLP, SoftmaxCrossEntropy
from week01_numpy_mlp.trained import Trained, load

WHY = "The bundled sample is a part of MNIST's training images."


@dataclass
class Config(EvalConfig):
    """The flags of eval. --data also takes mnist, fashion_mnist, a folder of class folders, or an .npz."""

    device: Literal["auto", "cpu"] = "auto"
    """auto or cpu: this week is NumPy alone."""


def probabilities(model: MLP, part: data.Part, size: int = 1000) -> Float[np.ndarray, "N classes"]:
    """What the network believes: the softmax of its logits, or its sigmoids scaled to a sum of 1."""
    rows = []
    for start in range(0, len(part), size):
        outputs = model.forward(data.to_floats(part.images[start : start + size]))
        if isinstance(model.loss, SoftmaxCrossEntropy):
            outputs = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        rows.append(outputs / outputs.sum(axis=1, keepdims=True))
    return np.concatenate(rows)


def part_to_score(name: str, trained: Trained) -> held_out.HeldOut:
    """What of `--data name` (default: what it was trained on) the network has not seen, in its numbering of classes.

    Raises:
        CourseError: the images are of another size, of a class that the network does not know, or all known to it.
    """
    name = name or trained.config.data
    digits = data.load(name)
    if tuple(digits.shape) != trained.shape:
        raise CourseError(f"--data {name}: images of {digits.shape}, the network was trained on {trained.shape}.")
    chosen = held_out.choose(trained.run, name, digits, why=WHY if "sample" in (name, trained.config.data) else "")
    return held_out.by_name(chosen, digits.classes if digits.named else None, trained.classes)


def main(cfg: Config) -> dict[str, Any]:
    """Reads the test set and shows accuracy beside the baselines, class by class, and the surest mistakes.

    Returns what result.json holds now; the run folder is under "run", the counts under "confusion".
    """
    trained = load(cfg.run, finished=True)
    chosen = part_to_score(cfg.data, trained)
    part = chosen.part
    probs = probabilities(trained.model, part)
    theirs = {baseline: train.evaluate(net, part)["accuracy"] for baseline, net in trained.baselines().items()}
    shown = part.images.reshape(-1, *trained.shape)
    return report(trained.run, chosen, probs, theirs, trained.classes, shown, cfg.out, cmap="gray_r")


if __name__ == "__main__":
    cli.launch(main, Config)
