"""A trained network of this week, as eval.py, answer.py and figures.py use it: `net = trained.load()`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared import runs
from shared.errors import CourseError
from shared.sentence_pairs import UNK, Pairs
from week06_transformer import baselines, data, generate
from week06_transformer.model import Transformer, count_parameters
from week06_transformer.train import WEEK_NUMBER, Config, build


@dataclass(frozen=True)
class Trained:
    """The network that was best on val, on the CPU and in evaluation mode, and its tokens."""

    run: runs.Trained
    model: Transformer
    spell: data.Speller
    config: Config

    def pairs(self) -> Pairs:
        """What it was trained on; CourseError where that has changed since."""
        cfg = self.config
        found = data.load(cfg.task, cfg.data, cfg.examples, cfg.longest, cfg.most_words)
        self.run.hold_to(found)
        return found

    def baseline(self) -> baselines.GRU | None:
        """The GRU that was trained beside it, or None."""
        weights = self.run.baselines.get("models", {}).get(baselines.NAME)
        if not weights:
            return None
        sizes = (*self.spell.sizes, self.config.d_model)
        return self.run.fill(baselines.as_large(count_parameters(self.model), *sizes), weights)

    def encode(self, text: str) -> list[int]:
        """The tokens of a source.

        Raises:
            CourseError: it is empty, or has a letter that the network does not know.
        """
        words = self.spell.split(text)
        if not words:
            raise CourseError("an empty sentence: write something.")
        ids = self.spell.source.encode(words)
        if self.spell.letters and UNK in ids:
            known = "".join(self.spell.source.words[4:])
            raise CourseError(f"{text!r}: {words[ids.index(UNK)]!r} is none of the letters that it knows, {known}.")
        return ids

    def answers(self, texts: Sequence[str], width: int = 1) -> list[str]:
        """What it writes for each text."""
        ids = [self.encode(text) for text in texts]
        return generate.answers(self.model, ids, self.spell, 2 * max(map(len, ids)) + 5, width)

    def unknown(self, text: str) -> list[str]:
        """The words of a text that it does not know."""
        words = self.spell.split(text)
        return [word for word, number in zip(words, self.spell.source.encode(words), strict=False) if number == UNK]


def load(folder: str | Path = "", finished: bool = False) -> Trained:
    """The best network of a run (default: the newest).

    Raises:
        CourseError: there is none, as runs.load says; or its vocabulary is of another run.
    """
    run = runs.load(WEEK_NUMBER, Config, folder, finished)
    path = run.folder / "vocabulary.json"
    spell = data.read_speller(run.config.task, path)
    sizes = [len(spell.source), len(spell.target)]
    if sizes != run.saved["words"]:
        raise CourseError(f"{path} has {sizes} words, the network {run.saved['words']}: not of one run.")
    return Trained(run, run.fill(build(run.config, spell), run.saved["model"]), spell, run.config)
