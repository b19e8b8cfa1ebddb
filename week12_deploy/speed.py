"""How fast an embedder answers one question, and beside whom: the race that train, eval and bench share."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shared import race

LENGTHS = {"short": 10, "medium": 32, "long": 128}
"""Words of the texts."""
PEER = "torch"


def some_texts(questions: Sequence[str], chunks: Sequence[str], length: str, count: int, seed: int) -> list[str]:
    """So many texts of about one length, drawn by the seed: questions; longer ones are beginnings of passages."""
    rng = np.random.default_rng(seed)
    source = [text for text in questions if len(text.split()) <= LENGTHS["short"]] if length == "short" else []
    source = source or [" ".join(text.split()[: LENGTHS[length]]) for text in chunks] or ["a text that is not there"]
    return [source[row] for row in rng.integers(0, len(source), count)]


def run(
    embedders: Mapping[str, Any], texts: Sequence[str], batch: int, rounds: int, threads: int = 1
) -> dict[str, dict[str, float]]:
    """Lets embedders take turns on the same texts, `batch` of them a call.

    Args:
        embedders: by name, torch's among them, with whom all are compared; each set to so many threads before.
        texts: a whole number of batches.
        batch: texts of a call.
        rounds: how often each has its turn.
        threads: decides which time the ratio is made of (shared/race.py).

    Returns:
        By name {best, median, process, per_second, ratio, low, high}, and `ms` of a text.
    """

    def turn(embedder: Any) -> Any:
        def encode_all() -> None:
            for at in range(0, len(texts), batch):
                embedder.forget()  # week 11's keeps the vectors of the last questions
                embedder.encode(texts[at : at + batch])

        return encode_all

    laps = race.take_turns({name: turn(embedder) for name, embedder in embedders.items()}, rounds)
    _, numbers = race.table(laps, dict.fromkeys(embedders, len(texts)), "texts", PEER, threads)
    for name, row in numbers.items():
        row["ms"] = 1000 * (laps[name].best_process if threads == 1 else laps[name].best) / len(texts)
    return numbers
