"""Makes the README's pictures again from trained runs and the tables of ablate, leak and bench.

./course run 6 figures --sort runs/week06/… --reverse runs/week06/… --translate runs/week06/…
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week06_transformer/figures.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import shutil
from dataclasses import dataclass

from shared import cli, runs
from shared.errors import CourseError
from week06_transformer import drawing
from week06_transformer.trained import load

FIGURES = Path(__file__).parent / "figures"
HERE = runs.RUNS / "week06"
MEASURED = {"longer.png": "ablate", "norm.png": "ablate", "leak.png": "leak-reverse", "cost.png": "bench"}


@dataclass
class Config:
    """The flags of figures."""

    sort: str = ""
    """A run that sorts (empty: its picture is left out)."""
    reverse: str = ""
    """A run that reverses."""
    translate: str = ""
    """A run that translates."""
    string: str = "transformer"
    """What the first two work on."""
    sentence: str = "the name of the new document is displayed."
    """What the third one translates."""
    measured: str = str(HERE)
    """The folder in which ablate, leak and bench have left theirs."""
    out: str = str(FIGURES)
    """Where the pictures go."""


def of_run(folder: str, task: str, text: str, out: Path) -> None:
    """Where the decoder of a run looks while it works on a text; of two blocks the last one for a translation."""
    trained = load(folder)
    if trained.config.task != task:
        raise CourseError(f"{folder} has learned to {trained.config.task}, not to {task}.")
    layers = (trained.config.layers - 1,) if task == "translate" else ()
    title = f"{task}: a row for each token written, a column for each token looked at"
    drawing.cross_attention(out / f"attention_{task}.png", trained, text.lower(), layers, title)


def main(cfg: Config) -> None:
    """Draws the pictures that need no run, those of the runs that are given, and takes those that were measured."""
    out = Path(cfg.out)
    drawing.positions(out / "positions.png")
    drawing.schedule(out / "schedule.png")
    for task, text in (("sort", cfg.string), ("reverse", cfg.string), ("translate", cfg.sentence)):
        if folder := getattr(cfg, task):
            of_run(folder, task, text, out)
    for name, folder in MEASURED.items():
        path = Path(cfg.measured) / folder / name
        if path.is_file():
            shutil.copyfile(path, out / name)
        else:
            print(f"left out {name}: it is not in {path.parent} yet")
    for picture in sorted(out.glob("*.png")):
        print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    cli.launch(main, Config)
