"""Scores a trained network on photographs it has not seen: `./course eval 2`."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from shared import cli
from shared.config import EvalConfig
from shared.device import Device, choose
from shared.errors import CourseError
from shared.scores import refuse_known, report
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


def part_to_score(name: str, trained: Trained) -> tuple[str, data.Part]:
    """What `--data name` (default: what it was trained on) is to be called, and its images.

    Raises:
        CourseError: they have more classes, or the network has been trained or chosen on some of them.
    """
    trained_on = trained.config.data
    name = name or trained_on
    if trained_on == "sample" and name == "cifar10":
        raise CourseError(
            "--data cifar10: this network was trained on the bundled sample, so a score on the test images of CIFAR-10 "
            f"would say nothing. ({WHY})"
        )
    found = data.load(name, trained.side)
    if len(found.classes) > len(trained.classes):
        raise CourseError(f"--data {name}: {len(found.classes)} classes, the network knows {len(trained.classes)}.")
    if name == trained_on:
        return f"{name} (test)", found.test
    named = data.is_named(name)
    part, before = found.test if named else found.everything, data.load(trained_on, trained.side)
    seen = (before.train.images, before.val.images)
    refuse_known(part.images, seen, name, trained_on, WHY if trained_on == "sample" else "")
    return f"{name} (test)" if named else name, part


def main(cfg: Config) -> dict[str, Any]:
    """Reads the test set and shows accuracy beside the baselines, class by class, and the surest mistakes.

    Returns what result.json holds now; the run folder is under "run", the counts under "confusion".
    """
    device, trained = choose(cfg.device), load(cfg.run, finished=True)
    name, part = part_to_score(cfg.data, trained)
    probs = probabilities(trained, part, device)
    theirs = {
        baseline: train.evaluate(model, part, trained.mean, trained.std, device)["accuracy"]
        for baseline, model in trained.baselines().items()
    }
    own = name == f"{trained.config.data} (test)"
    return report(trained.run, name, own, part.labels, probs, theirs, part.images, trained.classes, cfg.out)


if __name__ == "__main__":
    cli.launch(main, Config)
