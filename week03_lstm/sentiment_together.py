"""Do the network and those who count make the same mistakes? And both together? `./course run 3 sentiment_together`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week03_lstm/sentiment_together.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from shared import cli
from shared.errors import CourseError
from week03_lstm import train
from week03_lstm.sentiment_baselines import COUNTED
from week03_lstm.trained import load


@dataclass
class Config:
    """The flags of sentiment_together."""

    run: str = ""
    """The run whose network is asked (default: week 3's newest)."""


def log_odds(probs: Float[np.ndarray, "N classes"]) -> Float[np.ndarray, " N"]:
    """How sure the network is, without bounds: ln of positive over negative."""
    small = np.clip(probs, 1e-12, 1)  # the surest have a probability of 0
    return np.log(small[:, 1]) - np.log(small[:, 0])


def together(*verdicts: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """The sum of several verdicts, above 0 positive, each divided by its spread: none is louder than another."""
    return sum(verdict / (verdict.std() or 1) for verdict in verdicts)


def main(cfg: Config) -> dict[str, float]:
    """Scores a trained network on its validation reviews, beside and together with the baselines that count.

    Returns the accuracy of each, and of each pair.
    """
    trained = load(cfg.run)
    settings, reviews = trained.run.baselines.get("counted"), trained.reviews()
    if not settings:
        raise CourseError(f"{trained.run.folder} has no settings of those who count. Train again, or use another run.")
    val = reviews.val
    network, positive = log_odds(train.predict(trained.model, trained.encode(val))), val.labels == 1

    def right(verdict: np.ndarray) -> np.ndarray:
        return (verdict > 0) == positive

    found = {"this network": float(right(network).mean())}
    print(
        f"{len(val):,} reviews of val\n\n{'':24s}{'alone':>8s}{'together':>10s}{'only it':>9s}{'only the network':>18s}"
    )
    print(f"{'this network':24s}{found['this network']:8.2%}")
    for name, chosen in settings.items():
        other = COUNTED[name](**chosen).fit(reviews.train).margins(val)
        found[name] = float(right(other).mean())
        found[f"{name}, together"] = float(right(together(network, other)).mean())
        only = int((right(other) & ~right(network)).sum()), int((right(network) & ~right(other)).sum())
        print(f"{name:24s}{found[name]:8.2%}{found[f'{name}, together']:10.2%}{only[0]:9,}{only[1]:18,}")
    print("(the last columns: how many reviews one of the two has right, and the other wrong)")
    return found


if __name__ == "__main__":
    cli.launch(main, Config)
