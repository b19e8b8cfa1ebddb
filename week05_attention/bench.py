"""How fast is it, and beside whom? `./course run 5 bench`

    ours           words a second of a training step on batches of 64, padded and masked
    one by one     the same network, one sentence at a time, as many tutorials train it
    keys again     decoding with U h_j computed anew for every word, as the formula reads, beside once a sentence

How the contestants take turns and what counts: shared/race.py.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week05_attention/bench.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from shared import cli, race, results
from shared.config import Count
from shared.sentence_pairs import EOS
from week05_attention.model import Memory, Seq2Seq, Seq2SeqConfig, masked_softmax, translation_loss

WORDS = 3_000  # of either vocabulary


@dataclass
class Config(race.BenchConfig):
    """The flags of bench."""

    batch: Count = 64
    """Sentences a step."""
    length: Count = 10
    """Words of a sentence, of its translation too."""
    hidden: Count = 256
    """Units of the state."""
    source: Count = 30
    """Words of the source while keys are compared."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"batch": 4, "hidden": 16, "rounds": 1, "threads": (1,)},
    "quick": {},
    "full": {"rounds": 15},
}


def sentences(count: int, length: int) -> torch.Tensor:
    """Random ids (count, length + 1) with </s> at the end."""
    return torch.cat([torch.randint(4, WORDS, (count, length)), torch.full((count, 1), EOS)], dim=1)


def training(model: Seq2Seq, source: torch.Tensor, target: torch.Tensor, size: int) -> Callable[[], torch.Tensor]:
    """Once over all sentences in batches of `size`, a step of Adam each."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def work() -> torch.Tensor:
        model.train()
        for first in range(0, len(source), size):
            optimizer.zero_grad()
            ours, theirs = source[first : first + size], target[first : first + size]
            loss = translation_loss(model(ours, theirs)[0], theirs)
            loss.backward()
            optimizer.step()
        return loss

    return work


def attending(model: Seq2Seq, memory: Memory, steps: int, again: bool) -> Callable[[], torch.Tensor]:
    """The attention of a decoder's steps, forward and backward; `again`: the keys are projected at each."""
    attention = model.decoder.attention
    queries = torch.randn(steps, len(memory.mask), model.config.hidden)

    def work() -> torch.Tensor:
        keys = attention.keys(memory.annotations)
        total = 0.0
        for query in queries:
            if again:
                keys = attention.keys(memory.annotations)
            weights = masked_softmax(attention.score(query, keys), memory.mask)
            total = total + (weights[:, None] @ memory.annotations).sum()
        attention.zero_grad()
        total.backward()
        return total

    return work


def main(cfg: Config) -> list[dict[str, Any]]:
    """Races a training step on batches against one sentence at a time, and keys once against keys at every step.

    Returns {name, threads, seconds, ratio, lowest, highest} of each row.
    """
    torch.manual_seed(cfg.seed)
    rows = []
    for threads in cfg.threads or race.thread_counts(()):
        with race.on_threads(threads):
            model = Seq2Seq(Seq2SeqConfig(WORDS, WORDS, hidden=cfg.hidden))
            source, target = sentences(cfg.batch, cfg.length), sentences(cfg.batch, cfg.length)
            annotations = torch.randn(cfg.batch, cfg.source, cfg.hidden)
            memory = Memory(annotations, annotations, torch.ones(annotations.shape[:2], dtype=torch.bool))
            races = {
                ("batches", "one by one"): (training(model, source, target, n) for n in (cfg.batch, 1)),
                ("keys once", "keys again"): (attending(model, memory, cfg.source, again) for again in (False, True)),
            }
            for names, contestants in races.items():
                laps = race.take_turns(dict(zip(names, contestants, strict=True)), cfg.rounds)
                ratio, low, high = race.ratio(laps[names[0]], laps[names[1]], threads)
                for name in names:
                    row = {"name": name, "threads": threads, "seconds": laps[name].best}
                    row |= {"words": cfg.batch * (cfg.length + 1) / laps[name].best if "keys" not in name else 0.0}
                    rows.append(row | ({"ratio": ratio, "lowest": low, "highest": high} if name == names[0] else {}))
    text = f"{race.circumstances(cfg.rounds)}\n\n{table(rows)}"
    print(text)
    if cfg.publish:
        results.publish(5, "bench", text)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = []
    for row in rows:
        spread = f"{row['ratio']:.2f} ({row['lowest']:.2f} to {row['highest']:.2f})" if "ratio" in row else "1"
        words = f"{row['words']:,.0f}" if row["words"] else ""
        lines.append([row["name"], row["threads"], f"{1000 * row['seconds']:.1f}", words, spread])
    return results.markdown(["", "threads", "ms", "words a second", "times as fast"], lines)


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
