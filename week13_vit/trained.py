"""A trained network of this week, as eval.py and figures use it: `net = trained.load()`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import nn

from shared import runs
from week13_vit import baselines, data
from week13_vit.model import ViT, ViTConfig, flops
from week13_vit.train import WEEK_NUMBER, Config


@dataclass(frozen=True)
class Trained:
    """The network that was best on val, on the CPU and in evaluation mode, and how its pictures were made."""

    run: runs.Trained
    model: ViT
    config: Config
    classes: tuple[str, ...]
    side: int
    mean_std: tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]
    threshold: float

    def pictures(self) -> data.Data:
        """What it was trained on; CourseError where that has changed since."""
        found = data.load(self.config.data, self.side).first(self.config.examples, self.config.seed)
        self.run.hold_to(found)
        return found

    def folder_for(self, out: str, other: str) -> Path:
        """Where pictures go, as the run says (`runs.Trained.folder_for`); the folder is there."""
        folder = self.run.folder_for(out, other)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def baselines(self) -> dict[str, nn.Module]:
        """The run's baselines by name."""
        found, cost = self.run.baseline_models, flops(self.model.config)
        return {
            name: self.run.fill(baselines.build(name, self.side, len(self.classes), cost), weights)
            for name, weights in found.items()
        }


def load(folder: str | Path = "", finished: bool = False) -> Trained:
    """The best network of a run (default: the newest); CourseError where there is none, as runs.load says."""
    run = runs.load(WEEK_NUMBER, Config, folder, finished)
    classes, side, mean, std = (run.saved[name] for name in ("classes", "side", "mean", "std"))
    model = run.fill(ViT(ViTConfig(**run.saved["vit"])), run.saved["model"])
    mean, std = (np.asarray(numbers) for numbers in (mean, std))
    return Trained(run, model, run.config, tuple(classes), side, (mean, std), run.saved["threshold"])
