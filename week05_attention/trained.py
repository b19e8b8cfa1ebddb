"""A trained translator, as eval.py, translate.py and others use it: `net = trained.load()`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shared import runs, sentence_pairs
from shared.errors import CourseError
from week05_attention import train
from week05_attention.train import NO_ATTENTION, WEEK_NUMBER, Config, build


@dataclass(frozen=True)
class Trained:
    """The translator that was best on val, on the CPU and in evaluation mode, and the words that it knows."""

    run: runs.Trained
    model: Any
    words: tuple[sentence_pairs.Vocabulary, sentence_pairs.Vocabulary]
    config: Config

    def pairs(self) -> sentence_pairs.Pairs:
        """What it was trained on; CourseError where that has changed since."""
        found = train.load_data(self.config)
        self.run.hold_to(found)
        return found

    def without_attention(self) -> Any:
        """The translator without attention that was trained beside it, or None."""
        kept = self.run.baselines.get("models", {}).get(NO_ATTENTION)
        if not kept:
            return None
        other = replace(self.config, attention="none", hidden=kept["hidden"])
        return self.run.fill(build(other, *map(len, self.words)), kept["model"])


def load(folder: str | Path = "", finished: bool = False) -> Trained:
    """The best translator of a run (default: the newest).

    Raises:
        CourseError: there is none, as runs.load says; or its vocabularies are of another run.
    """
    run = runs.load(WEEK_NUMBER, Config, folder, finished)
    path, sizes = run.folder / "vocabularies.json", run.saved["words"]
    words = sentence_pairs.read_vocabularies(path)
    if [*map(len, words)] != list(sizes):
        raise CourseError(f"{path} has {len(words[0]):,} and {len(words[1]):,} words, the network others.")
    return Trained(run, run.fill(build(run.config, *sizes), run.saved["model"]), words, run.config)
