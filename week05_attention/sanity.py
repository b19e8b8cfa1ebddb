"""Does it look at the right word? A made-up language whose alignments are known: `./course run 5 sanity`

BLEU cannot see where a network looks. Here it can be counted: how often the word that is looked at most is the one that
is being translated. A map that is off by one step, a common slip, reads nearly as well and fails this.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week05_attention/sanity.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from shared import cli, sentence_pairs
from shared.config import Count, Positive, Seed, Share
from week05_attention import data

# torch takes seconds to import: what needs it is imported inside the functions, so that --help comes at once.


@dataclass
class Config:
    """The flags of sanity."""

    attention: Literal["additive", "dot", "general"] = "additive"
    """Which score."""
    steps: Count = 1000
    """Steps of training, each on 64 new sentences."""
    dropout: Share = 0.2
    """Dropped of the words' vectors in training. Without it a neighbour's annotation, which knows the word too, is as
    good a place to look at."""
    hidden: Count = 64
    """Units of the state."""
    lr: Positive = 0.01
    """The size of a step of Adam."""
    seed: Seed = 0
    """Everything random follows from this number."""


def hits(
    weights: Sequence[np.ndarray], origins: Sequence[Sequence[int]], shift: int = 0, moved: bool | None = None
) -> float:
    """The share of written words at which the word that they render was looked at most.

    Args:
        weights: a map of each sentence.
        origins: of each written word the place of the word that it renders.
        shift: moves the maps by so many words.
        moved: only words that stand at another place than in the source (True), or at the same one (False).
    """
    right = total = 0
    for looked, origin in zip(weights, origins, strict=True):
        places, truth = np.roll(looked[: len(origin)].argmax(1), shift), np.array(origin)
        counted = np.ones(len(truth), bool) if moved is None else (truth != np.arange(len(truth))) == moved
        right += int((places == truth[: len(places)])[counted[: len(places)]].sum())
        total += int(counted.sum())
    return right / total


def train_on(cfg: Config) -> Any:
    """A translator of the made-up language, trained on sentences that never come twice but by chance."""
    import torch

    from shared.seed import seed_everything
    from week05_attention.model import Seq2Seq, Seq2SeqConfig, translation_loss

    seed_everything(cfg.seed)
    words = 30 + len(sentence_pairs.SPECIAL)
    model = Seq2Seq(Seq2SeqConfig(words, words, cfg.attention, embed=32, hidden=cfg.hidden, dropout=cfg.dropout))
    optimizer, rng = torch.optim.Adam(model.parameters(), lr=cfg.lr), np.random.default_rng([cfg.seed, 1])
    for step in range(cfg.steps):
        for group in optimizer.param_groups:
            group["lr"] = cfg.lr * (1 - step / cfg.steps)
        batch = data.sanity_language(64, rng).encoded.batch(range(64))
        source, target = map(torch.from_numpy, batch)
        optimizer.zero_grad()
        loss = translation_loss(model(source, target)[0], target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


def look(model: Any, language: data.Aligned) -> tuple[float, list[np.ndarray]]:
    """The share of sentences translated without a mistake, and the map of each, as far as its translation goes."""
    import torch

    from week05_attention.model import translate

    source, target = map(torch.from_numpy, language.encoded.batch(range(len(language.encoded))))
    found = translate(model, source, most=target.shape[1])
    width = target.shape[1]
    ids = torch.nn.functional.pad(found.ids, (0, width - found.ids.shape[1]))
    exact = (ids == target).all(1).float().mean().item()
    with torch.no_grad():
        maps = model(source, target)[1].numpy()
    return exact, [one[: len(origin)] for one, origin in zip(maps, language.origins, strict=True)]


def main(cfg: Config) -> dict[str, float]:
    """Trains a translator of a made-up language and counts how often it looks at the right word.

    Returns {exact, hits, shifted, moved}.
    """
    import torch

    torch.set_num_threads(1)  # the matrices are small
    print(f"{cfg.attention} attention, {cfg.steps} steps on a made-up language ...")
    model = train_on(cfg)
    language = data.sanity_language(500, np.random.default_rng([cfg.seed, 2]))
    exact, maps = look(model, language)
    right, shifted = (hits(maps, language.origins, shift) for shift in (0, 1))
    print(f"translated without a mistake: {exact:.1%} of 500 new sentences")
    print(f"it looks most at the word that it translates: {right:.1%}; with maps off by one: {shifted:.1%}")
    stay, move = (hits(maps, language.origins, moved=moved) for moved in (False, True))
    print(f"  words that keep their place: {stay:.1%}; words that stand elsewhere than in the source: {move:.1%}")
    return {"exact": exact, "hits": right, "shifted": shifted, "moved": move}


if __name__ == "__main__":
    cli.launch(main, Config)
