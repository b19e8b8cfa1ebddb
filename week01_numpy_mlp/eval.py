"""Scores a trained network on images it has not seen: `./course eval 1`."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from shared import cli
from shared.config import EvalConfig
from shared.errors import CourseError
from shared.scores import refuse_known, report
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


def part_to_score(name: str, trained: Trained) -> tuple[str, data.Part]:
    """What `--data name` (default: what it was trained on) is to be called, and its images.

    Raises:
        CourseError: they are of another size, have more classes, or the network has been trained or chosen on some.
    """
    trained_on = trained.config.data
    name = name or trained_on
    found = data.load(name)
    if tuple(found.shape) != trained.shape:
        raise CourseError(f"--data {name}: images of {found.shape}, the network was trained on {trained.shape}.")
    if len(found.classes) > len(trained.classes):
        raise CourseError(f"--data {name}: {len(found.classes)} classes, the network knows {len(trained.classes)}.")
    if name == trained_on:
        return f"{name} (test)", found.test
    named = name == "sample" or name in data.ASSETS or data.is_published(name)
    part, before = found.test if named else found.everything, data.load(trained_on)
    seen = (before.train.images, before.val.images)
    refuse_known(part.images, seen, name, trained_on, WHY if "sample" in (name, trained_on) else "")
    return f"{name} (test)" if named else name, part


def main(cfg: Config) -> dict[str, Any]:
    """Reads the test set and shows accuracy beside the baselines, class by class, and the surest mistakes.

    Returns what result.json holds now; the run folder is under "run", the counts under "confusion".
    """
    trained = load(cfg.run, finished=True)
    name, part = part_to_score(cfg.data, trained)
    probs = probabilities(trained.model, part)
    theirs = {baseline: train.evaluate(net, part)["accuracy"] for baseline, net in trained.baselines().items()}
    shown, own = part.images.reshape(-1, *trained.shape), name == f"{trained.config.data} (test)"
    return report(trained.run, name, own, part.labels, probs, theirs, shown, trained.classes, cfg.out, cmap="gray_r")


if __name__ == "__main__":
    cli.launch(main, Config)
