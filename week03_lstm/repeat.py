"""One result is an anecdote: the same training from several seeds, mean and spread. `./course run 3 repeat`

All flags of train.py apply. Each seed is trained, and read once on the test set, in a run folder of its own.
"""

from dataclasses import dataclass
from typing import Any

from shared import cli, repeat
from week03_lstm import eval as evaluation
from week03_lstm import train

PRESETS = train.PRESETS


@dataclass
class Config(repeat.Several, train.Config):
    """The flags of train.py, and how many seeds."""


def main(cfg: Config) -> dict[str, Any]:
    """Trains and scores several seeds and prints mean ± standard deviation as rows of a Markdown table."""
    return repeat.several(train, evaluation, cfg)


if __name__ == "__main__":
    cli.run(main, Config, PRESETS)
