"""Makes the README's pictures again, from the bundled data: `./course run 1 figures` (takes as long as compare)."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week01_numpy_mlp/figures.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import shutil
import tempfile
from dataclasses import dataclass

from shared import cli
from shared.config import Seed
from week01_numpy_mlp import compare, gates, train
from week01_numpy_mlp import eval as evaluation

FIGURES = Path(__file__).parent / "figures"
SHOWN = ("decision_boundary", "slow_down", "regularisation", "curves", "first_layer", "mistakes", "confusion")


@dataclass
class Config:
    """The flags of figures."""

    seed: Seed = 0
    """The seed of the training whose network is shown."""
    out: str = str(FIGURES)
    """Where the pictures go."""


def main(cfg: Config) -> None:
    """Runs gates, the quick training, its evaluation and two parts of compare, and keeps their pictures."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        gates.main(gates.Config(out=folder))
        compare.main(compare.Config(out=folder, parts=("saturated", "regularisation")))
        run = train.main(train.Config(out=str(out / "run"), seed=cfg.seed))["run"]
        evaluation.main(evaluation.Config(run=run))
        Path(cfg.out).mkdir(parents=True, exist_ok=True)
        for name in SHOWN:
            made = next(path for path in (out / f"{name}.png", out / "run" / f"{name}.png") if path.exists())
            shutil.copyfile(made, Path(cfg.out) / f"{name}.png")
    print(f"pictures: {cfg.out}")


if __name__ == "__main__":
    cli.launch(main, Config)
