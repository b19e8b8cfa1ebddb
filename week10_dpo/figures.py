"""Makes the README's pictures again, from runs that are there.

./course train 10 --out runs/week10/healthy
./course train 10 --out runs/week10/degenerate --beta 0.1 --examples 200 --epochs 5
./course run 10 figures --healthy runs/week10/healthy --degenerate runs/week10/degenerate
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week10_dpo/figures.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import shutil
from dataclasses import dataclass

from shared import cli
from shared.errors import CourseError
from shared.files import read_json
from shared.progress import read_metrics
from week10_dpo import drawing

FIGURES = Path(__file__).parent / "figures"


@dataclass
class Config:
    """The flags of figures."""

    healthy: str = ""
    """The folder of a run as it should be."""
    degenerate: str = ""
    """The folder of one that went too far; may be left out."""
    sweep: str = ""
    """The folder of a sweep, whose trade_off.png is taken."""
    out: str = str(FIGURES)
    """Where the pictures go."""


def main(cfg: Config) -> None:
    """Draws rewards.png from the logs of one or two runs, and takes answers.png and trade_off.png, where they are."""
    if not cfg.healthy:
        raise CourseError("--healthy: the folder of a run, as `./course train 10 --out FOLDER` makes it.")
    out, logs = Path(cfg.out), {}
    for name in ("healthy", "degenerate"):
        if folder := getattr(cfg, name):
            if not (Path(folder) / "metrics.jsonl").is_file():
                raise CourseError(f"--{name} {folder}: no run in it.")
            beta = float(read_json(Path(folder) / "config.json")["beta"])
            logs[name] = beta, read_metrics(Path(folder) / "metrics.jsonl")
    drawing.watched(out / "rewards.png", logs)
    for folder, picture in ((cfg.healthy, "answers.png"), (cfg.sweep, "trade_off.png")):
        if folder and (Path(folder) / picture).is_file():
            shutil.copyfile(Path(folder) / picture, out / picture)
        else:
            print(f"left out {picture}: it is not in {folder or 'any folder'}")
    for picture in sorted(out.glob("*.png")):
        print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    cli.launch(main, Config)
