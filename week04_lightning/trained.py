"""A trained network of this week, as eval.py uses it: `net = trained.load()`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from shared import runs
from week02_cnn import trained as plain
from week04_lightning.train import WEEK_NUMBER, Config, baseline_net


@dataclass(frozen=True)
class Trained(plain.Trained):
    """The Classifier that was best on val, on the CPU and in evaluation mode, and how its images were made."""

    model: Any
    config: Config

    def baselines(self) -> dict[str, nn.Module]:
        """The run's baselines by name."""
        models = {}
        for name, kept in self.run.baseline_models.items():
            model = baseline_net(name, kept["config"], len(self.classes), self.side)
            models[name] = self.run.fill(model, kept["model"])
        return models


def load(folder: str | Path = "", finished: bool = False) -> Trained:
    """The best network of a run (default: the newest); CourseError where there is none, as runs.load says."""
    from week04_lightning.model import Classifier, make_net  # and with it Lightning, which takes seconds

    run = runs.load(WEEK_NUMBER, Config, folder, finished)
    classes, side, mean, std = (run.saved[name] for name in ("classes", "side", "mean", "std"))
    net = run.fill(make_net(run.config, len(classes), side), run.saved["model"])
    return Trained(run, Classifier(net, run.config, mean, std).eval(), run.config, tuple(classes), side, mean, std)
