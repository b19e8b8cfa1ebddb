"""A trained network of this week, as eval.py and predict.py use it: `net = trained.load()`."""

import math
from dataclasses import dataclass
from pathlib import Path

from shared import runs
from week01_numpy_mlp.model import MLP
from week01_numpy_mlp.train import WEEK_NUMBER, Config, build


@dataclass(frozen=True)
class Trained:
    """The network that was best on val, and what its images were like."""

    run: runs.Trained
    model: MLP
    config: Config
    classes: tuple[str, ...]
    shape: tuple[int, ...]  # of an image: (28, 28), or (H, W, C) in colour

    def baselines(self) -> dict[str, MLP]:
        """The run's baselines by name; all of them are logistic regressions."""
        ends = math.prod(self.shape), len(self.classes)
        models = self.run.baseline_models
        return {name: self.run.fill(MLP(ends), state) for name, state in models.items()}


def load(folder: str | Path = "", finished: bool = False) -> Trained:
    """The best network of a run (default: the newest); CourseError where there is none, as runs.load says."""
    run = runs.load(WEEK_NUMBER, Config, folder, finished)
    classes, shape = run.saved["classes"], run.saved["shape"]
    model = run.fill(build(run.config, math.prod(shape), len(classes)), run.saved["model"])
    return Trained(run, model, run.config, tuple(classes), tuple(shape))
