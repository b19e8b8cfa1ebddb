"""A trained network of this week, as eval.py, sentiment_classify.py and others use it: `net = trained.load()`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shared import runs
from shared.errors import CourseError
from week03_lstm import data
from week03_lstm.sentiment_baselines import CNN
from week03_lstm.train import WEEK_NUMBER, Config, build


@dataclass(frozen=True)
class Trained:
    """The network that was best on val, on the CPU and in evaluation mode, and the words that it knows."""

    run: runs.Trained
    model: Any
    vocabulary: data.Vocabulary
    config: Config

    def reviews(self) -> data.Data:
        """What it was trained on; CourseError where that has changed since."""
        found = data.load(self.config.data, self.config.text, self.config.label)
        self.run.hold_to(found)
        return found

    def encode(self, part: data.Part) -> data.Encoded:
        """The part in this network's numbers."""
        return data.encode(part, self.vocabulary, self.config.max_len)

    def convolution(self) -> Any:
        """The 1-D CNN that was trained beside it, or None."""
        weights = self.run.baselines.get("models", {}).get(CNN)
        return weights and self.run.fill(build(replace(self.config, kind="cnn"), len(self.vocabulary)), weights)


def load(folder: str | Path = "", finished: bool = False) -> Trained:
    """The best network of a run (default: the newest).

    Raises:
        CourseError: there is none, as runs.load says; or its vocabulary is of another run.
    """
    run = runs.load(WEEK_NUMBER, Config, folder, finished)
    path, words = run.folder / "vocabulary.json", run.saved["words"]
    vocabulary = data.Vocabulary.read(path)
    if len(vocabulary) != words:
        raise CourseError(f"{path} has {len(vocabulary):,} words, the network {words:,}: not of one run.")
    return Trained(run, run.fill(build(run.config, words), run.saved["model"]), vocabulary, run.config)
