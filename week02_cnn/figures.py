"""Makes the README's pictures again from a trained run and compare's tables: `./course run 2 figures`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week02_cnn/figures.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import contextlib
import io
import shutil
import tempfile
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from shared import cli, runs
from shared.device import Device
from shared.errors import CourseError
from shared.files import read_json
from shared.plots import curves
from shared.progress import read_metrics
from week02_cnn import compare, data, drawing
from week02_cnn import eval as evaluation
from week02_cnn.trained import Trained, load

FIGURES = Path(__file__).parent / "figures"
AVERAGED = 64  # photographs over which the influence of a pixel is averaged


@dataclass
class Config:
    """The flags of figures."""

    run: str = ""
    """The trained run whose network is shown (default: week 2's newest)."""
    tables: str = str(runs.RUNS / "week02" / "compare-sample")
    """The folder that compare wrote its tables into."""
    photograph: Annotated[int, Ge(-1)] = -1
    """Which validation image is shown on its way through the network (-1: the one that it is surest and right of)."""
    out: str = str(FIGURES)
    """Where the pictures go."""


def surest(trained: Trained, part: data.Part) -> int:
    """Which of the part's images the network is surest of among those that it has right."""
    probs = evaluation.probabilities(trained, part, Device("cpu", "float32", "a few pictures"))
    right = probs[np.arange(len(part)), part.labels]
    return int(np.where(probs.argmax(axis=1) == part.labels, right, 0).argmax())


def of_network(trained: Trained, images: data.Data, photograph: int, out: Path) -> None:
    """What the network's first layer looks for, what becomes of one photograph, and how far a number sees."""
    if photograph >= len(images.val):
        raise CourseError(f"--photograph {photograph}: from 0 to {len(images.val) - 1}, or -1 for the surest one.")
    shown = images.val.images[photograph if photograph >= 0 else surest(trained, images.val)]
    about = (shown, trained.model, trained.mean, trained.std)
    drawing.filters(out / "filters.png", *about)
    drawing.feature_maps(out / "feature_maps.png", *about)
    drawing.receptive_field(out / "receptive_field.png", *about, others=images.val.images[:AVERAGED])


def main(cfg: Config) -> None:
    """Draws all of the lesson's pictures from a trained network and from the tables of compare."""
    trained, tables = load(cfg.run), Path(cfg.tables) / "compare.json"
    if not tables.is_file():
        raise CourseError(f"{tables} is not there: `./course run 2 compare` makes it, or give --tables its folder.")
    out = Path(cfg.out)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.main(evaluation.Config(run=str(trained.run.folder), out=folder))  # confusion.png, mistakes.png
        curves(made / "curves.png", read_metrics(trained.run.folder / "metrics.jsonl"))
        of_network(trained, trained.photos(), cfg.photograph, made)
        compare.draw(read_json(tables)["tables"], made)
        out.mkdir(parents=True, exist_ok=True)
        for picture in sorted(made.glob("*.png")):
            shutil.copyfile(picture, out / picture.name)
            print(f"{out / picture.name}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    cli.launch(main, Config)
