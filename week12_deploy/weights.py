"""What bytes make of the weights, matrix by matrix: one scale for all of a matrix, one a column, and a bit less.

./course run 12 weights
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week12_deploy/weights.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass

import numpy as np

from shared import cli, results, runs
from shared.terminal import typed
from week12_deploy.export import FLOAT, SPARED, matrices, off
from week12_deploy.onnx_embedder import CARD
from week12_deploy.quantise import REDUCED, SYMMETRIC, Grid

WAYS: dict[str, tuple[Grid, int | None]] = {
    "one scale": (SYMMETRIC, None), "one a column": (SYMMETRIC, 1), "7 bits": (REDUCED, 1)
}  # fmt: skip


@dataclass
class Config:
    """The flags of weights."""

    run: str = ""
    """The run whose network is looked at (default: the newest)."""
    publish: bool = False
    """Put the table into the week's RESULTS.md (for whoever looks after the lesson)."""


def main(cfg: Config) -> list[dict[str, float]]:
    """Prints by how much the weights of the exported network are off as bytes, in three ways."""
    run = Path(cfg.run) if cfg.run else runs.newest(12, CARD)
    found, rows = [], []
    for number, (_, weight) in enumerate(matrices(run / FLOAT.file).values(), 1):
        columns = np.abs(weight).max(0)
        found.append({"largest": float(columns.max()), "median column": float(np.median(columns))})
        found[-1] |= {way: off(weight, grid, axis) for way, (grid, axis) in WAYS.items()}
        shape, last = " x ".join(map(str, weight.shape)), found[-1]
        rows.append([number, shape, *(f"{last[name]:.2f}" for name in ("largest", "median column"))])
        rows[-1] += [f"{last[way]:.1%}" for way in WAYS] + ["floats" if last["7 bits"] > SPARED else "bytes"]
    mean = {way: float(np.mean([row[way] for row in found])) for way in WAYS}
    rows.append(["mean", "", "", "", *(f"{value:.1%}" for value in mean.values()), ""])
    text = results.markdown(["", "shape", "largest weight", "median column's largest", *WAYS, "in int8"], rows)
    print(text)
    if cfg.publish:
        about = (
            f"*`{typed('--publish')}`: the length of the errors over the length of the weights, in the order of use*"
        )
        results.publish(12, "weights", f"{about}\n\n{text}")
    return found


if __name__ == "__main__":
    cli.launch(main, Config)
