"""One result is an anecdote: the same training from several seeds, mean and spread. `./course run 1 repeat --seeds 5`

All flags of train.py apply. Each seed is trained, and read once on the test set, in a run folder of its own.
"""

from dataclasses import dataclass
from typing import Any

import tyro

from shared import cli, repeat
from week01_numpy_mlp import eval as evaluation
from week01_numpy_mlp import train


@dataclass
class Config(train.Config):
    """The flags of train.py, and how many seeds."""

    seeds: int = 5
    """How many seeds: --seed, and the ones after it."""
    seed: int = 0
    """The first seed."""
    out: str = ""
    """The folder that gets a run folder for every seed. Default: the next free one in runs/week01."""
    resume: tyro.conf.Suppress[bool] = False  # means nothing here: neither offered nor accepted


PRESETS = train.PRESETS


def main(cfg: Config) -> dict[str, Any]:
    """Trains and scores several seeds and prints mean ± standard deviation as rows of a Markdown table."""
    return repeat.several(train, evaluation, cfg)


if __name__ == "__main__":
    cli.run(main, Config, PRESETS)
