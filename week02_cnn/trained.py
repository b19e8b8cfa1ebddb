"""A trained network of this week, as eval.py, predict.py and figures.py use it: `net = trained.load()`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from shared import runs
from week02_cnn import baselines, data
from week02_cnn.model import ConvNet
from week02_cnn.train import WEEK_NUMBER, Config, build


@dataclass(frozen=True)
class Trained:
    """The network that was best on val, on the CPU and in evaluation mode, and how its images were made."""

    run: runs.Trained
    model: ConvNet
    config: Config
    classes: tuple[str, ...]
    side: int
    mean: Float[np.ndarray, " 3"]
    std: Float[np.ndarray, " 3"]

    def photos(self) -> data.Data:
        """What it was trained on; CourseError where that has changed since."""
        found = data.load(self.config.data, self.side)
        self.run.hold_to(found)
        return found

    def baselines(self) -> dict[str, baselines.MLP]:
        """The run's baselines by name."""
        models = {}
        for name, weights in self.run.baseline_models.items():
            sizes = [matrix.shape[0] for matrix in weights.values() if matrix.ndim == 2]  # (fan_out, fan_in) a layer
            models[name] = self.run.fill(baselines.MLP(self.side, sizes[:-1], sizes[-1]), weights)
        return models


def load(folder: str | Path = "", finished: bool = False) -> Trained:
    """The best network of a run (default: the newest); CourseError where there is none, as runs.load says."""
    run = runs.load(WEEK_NUMBER, Config, folder, finished)
    classes, side, mean, std = (run.saved[name] for name in ("classes", "side", "mean", "std"))
    model = run.fill(build(run.config, len(classes), side), run.saved["model"])
    return Trained(run, model, run.config, tuple(classes), side, mean, std)
