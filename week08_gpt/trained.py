"""A trained network of this week, as eval.py, sample.py and complete.py use it: `net = trained.load()`."""

from dataclasses import dataclass
from pathlib import Path

from shared import runs
from shared.errors import CourseError
from week08_gpt import data, tokenizer
from week08_gpt.corpus import Corpus
from week08_gpt.model import GPT
from week08_gpt.tokenizer import Tokenizer
from week08_gpt.train import WEEK_NUMBER, Config, build


@dataclass(frozen=True)
class Trained:
    """The network that was best on val, on the CPU and in evaluation mode, and its tokenizer."""

    run: runs.Trained
    model: GPT
    tokenizer: Tokenizer
    config: Config

    def corpus(self, name: str = "") -> Corpus:
        """What it was trained on, or another corpus, in its own tokens."""
        cfg = self.config
        return data.load(name or cfg.data, cfg.tokenizer, cfg.vocab, cfg.max_tokens, self.tokenizer)


def load(folder: str | Path = "", finished: bool = False) -> Trained:
    """The best network of a run (default: the newest).

    Raises:
        CourseError: there is none, as runs.load says; or the tokenizer beside it is of another run.
    """
    run = runs.load(WEEK_NUMBER, Config, folder, finished)
    if "tokenizer" not in run.saved:
        raise CourseError(f"{run.folder / runs.MODEL} does not say which tokenizer it was trained with. Train again.")
    tokens = tokenizer.load(run.folder / "tokenizer.json")
    tokens.hold_to(run.saved["tokenizer"], f"{run.folder / runs.MODEL}")
    model = run.fill(build(run.config, run.saved["vocab"]), run.saved["model"])
    return Trained(run, model.for_writing(), tokens, run.config)
