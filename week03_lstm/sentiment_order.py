"""Does the network read, or does it count? Val with its words in another order: `./course run 3 sentiment_order`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week03_lstm/sentiment_order.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shared import cli
from week03_lstm import data, train
from week03_lstm.trained import load

CHANGES: dict[str, Callable[[list[int], np.random.Generator], list[int]]] = {
    "as they are": lambda ids, rng: ids,
    "words shuffled": lambda ids, rng: rng.permutation(ids).tolist(),
    "backwards": lambda ids, rng: ids[::-1],
    "first 50 words": lambda ids, rng: ids[:50],
    "last 50 words": lambda ids, rng: ids[-50:],
}
"""What is done to the ids of a review's words, as many as the network reads."""


@dataclass
class Config:
    """The flags of sentiment_order."""

    run: str = ""
    """The run whose network is asked (default: week 3's newest)."""


def main(cfg: Config) -> dict[str, float]:
    """Scores a trained network on its validation reviews, changed in several ways. Add a change of your own to CHANGES.

    Returns the accuracy under each change.
    """
    trained, found = load(cfg.run), {}
    val = trained.encode(trained.reviews().val)
    for name, change in CHANGES.items():
        rng = np.random.default_rng(0)
        ids = [change(text[-val.max_len :], rng) for text in val.ids]
        found[name] = train.evaluate(trained.model, data.Encoded(ids, val.labels, val.max_len))["accuracy"]
        print(f"{name:16s}{found[name]:8.2%}")
    return found


if __name__ == "__main__":
    cli.launch(main, Config)
