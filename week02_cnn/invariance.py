"""What does the network not care about? Val, shifted, mirrored and turned: `./course run 2 invariance`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week02_cnn/invariance.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from shared import cli
from shared.device import choose
from week02_cnn import data, train
from week02_cnn.trained import load

CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda x: x,
    "8 pixels to the side": lambda x: np.roll(x, 8, axis=2),  # what leaves on the right comes in on the left
    "mirrored": lambda x: x[:, :, ::-1],
    "upside down": lambda x: x[:, ::-1],
    "a quarter turn": lambda x: np.rot90(x, axes=(1, 2)),
}
"""What is done to photographs (N, H, W, 3)."""


@dataclass
class Config:
    """The flags of invariance."""

    run: str = ""
    """The run whose network is asked (default: week 2's newest)."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""


def main(cfg: Config) -> dict[str, float]:
    """Scores a trained network on its validation images, changed in several ways. Add a change of your own to CHANGES.

    Returns the accuracy under each change.
    """
    trained, device, found = load(cfg.run), choose(cfg.device), {}
    val = trained.photos().val
    for name, change in CHANGES.items():
        part = data.Part(np.ascontiguousarray(change(val.images)), val.labels)
        found[name] = train.evaluate(trained.model, part, trained.mean, trained.std, device)["accuracy"]
        print(f"{name:22s}{found[name]:8.2%}")
    return found


if __name__ == "__main__":
    cli.launch(main, Config)
