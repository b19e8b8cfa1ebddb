"""Makes the README's pictures again from a trained run and compare's tables: `./course run 2 figures`."""

import contextlib
import io
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from shared import cli, runs
from shared.device import Device
from shared.errors import CourseError
from shared.files import read_json
from week02_cnn import compare, data, pictures, train
from week02_cnn import eval as evaluation

FIGURES = Path(__file__).parent / "figures"
AVERAGED = 64  # photographs over which the influence of a pixel is averaged


@dataclass
class Config(cli.CommonConfig):
    """The flags of figures."""

    run: str = ""
    """The trained run whose network is shown (default: week 2's newest)."""
    tables: str = str(runs.RUNS / "week02" / "compare-sample")
    """The folder that compare wrote its tables into."""
    photograph: int = -1
    """Which validation image is shown on its way through the network (-1: the one that it is surest and right of)."""
    out: str = str(FIGURES)
    """Where the pictures go."""

    # Of the common flags these mean nothing here: they are neither offered nor accepted.
    data: tyro.conf.Suppress[str] = "sample"
    device: tyro.conf.Suppress[str] = "auto"
    seed: tyro.conf.Suppress[int] = 0
    resume: tyro.conf.Suppress[bool] = False


PRESETS: dict[str, dict] = {"smoke": {}, "quick": {}, "full": {}}


def surest(trained: train.Trained, part: data.Part) -> int:
    """Which of the part's images the network is surest of among those that it has right."""
    believed = evaluation.probabilities(trained, part, Device("cpu", "float32", "a few pictures"))
    right = believed[np.arange(len(part)), part.labels]
    return int(np.where(believed.argmax(axis=1) == part.labels, right, 0).argmax())


def of_network(trained: train.Trained, images: data.Data, photograph: int, out: Path) -> None:
    """What the network's first layer looks for, what becomes of one photograph, and how far a number sees."""
    if not -1 <= photograph < len(images.val):
        raise CourseError(f"--photograph {photograph}: from 0 to {len(images.val) - 1}, or -1 for the surest one.")
    shown = images.val.images[photograph if photograph >= 0 else surest(trained, images.val)]
    about = (shown, trained.model, trained.mean, trained.std)
    pictures.filters(out / "filters.png", *about)
    pictures.feature_maps(out / "feature_maps.png", *about)
    pictures.receptive_field(out / "receptive_field.png", *about, others=images.val.images[:AVERAGED])


def main(cfg: Config) -> None:
    """Draws all of the lesson's pictures from a trained network and from the tables of compare."""
    run = Path(cfg.run) if cfg.run else runs.newest(train.WEEK_NUMBER)
    trained, tables = train.load_model(run), Path(cfg.tables) / "compare.json"
    if not tables.is_file():
        raise CourseError(f"{tables} is not there: `./course run 2 compare` makes it, or give --tables its folder.")
    out = Path(cfg.out)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.main(evaluation.Config(run=str(run), out=folder))  # confusion.png, mistakes.png
        pictures.curves(made / "curves.png", run)
        of_network(trained, data.load(trained.config.data, trained.side), cfg.photograph, made)
        compare.draw(read_json(tables)["tables"], made)
        out.mkdir(parents=True, exist_ok=True)
        for picture in sorted(made.glob("*.png")):
            shutil.copyfile(picture, out / picture.name)
            print(f"{out / picture.name}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    cli.run(main, Config, PRESETS)
