"""Makes the README's pictures again, from runs that are there.

./course train 14
./course run 14 points && ./course run 14 paint
./course run 14 draw strawberry pineapple "cheese wedge" "leafy green" "red apple" "green apple" --count 8
./course run 14 figures
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week14_clip/figures.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import shutil
from dataclasses import dataclass
from textwrap import fill

import torch
from torch import Tensor

from shared import cli, runs
from shared.device import choose
from shared.errors import CourseError
from week14_clip import data
from week14_clip.diffusion import Noise
from week14_clip.painter import PAINTER, pixels

FIGURES = Path(__file__).parent / "figures"
SHOWN = "strawberry"
ASKED = ("something red", "an animal with horns", "fast food", "a sad face", "music", "bad weather")
TIMES = (0, 100, 250, 400, 550, 700, 850, 999)


@dataclass
class Config:
    """The flags of figures."""

    run: str = ""
    """The folder of a run of train (default: the newest)."""
    painter: str = ""
    """The folder of a run of paint, whose sheets are taken (default: the newest)."""
    points: str = ""
    """The folder with points.png (default: runs/week14)."""
    out: str = str(FIGURES)
    """Where the pictures go."""


def drawing(name: str) -> Tensor:
    """One of the bundled pictures, (3, 64, 64), from -1 to 1."""
    [one] = [one for one in data.emoji("train", data.STYLES[:1]).items if one.captions[0] == name]
    return pixels([one.read()], 64)[0].float() / 127.5 - 1


def noise(path: Path, name: str = SHOWN) -> None:
    """How a picture drowns under both schedules, and what is left of it in numbers."""
    from shared.plots import BLUE, ORANGE, figure, images

    x, schedules = drawing(name), {"linear": Noise("linear"), "cosine": Noise("cosine")}
    fresh = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    with figure(path, 3, 1, size=(8.4, 4.9)) as (card, axes):
        for axis in axes:
            axis.remove()
        grid = card.add_gridspec(2, 1, height_ratios=(2, 2.6))
        above, below = grid[0].subgridspec(2, len(TIMES)), grid[1].subgridspec(1, 2)
        for row, (kind, schedule) in enumerate(schedules.items()):
            for column, t in enumerate(TIMES):
                axis = card.add_subplot(above[row, column])
                seen = schedule.add(x, fresh, t).clamp(-1, 1)  # (3, 64, 64)
                images(axis, ((seen + 1) / 2).permute(1, 2, 0).numpy(), f"t = {t}" if row == 0 else "")
                if column == 0:
                    axis.text(-0.12, 0.5, kind, ha="right", va="center", fontsize=9, transform=axis.transAxes)
        left, right = card.add_subplot(below[0]), card.add_subplot(below[1])
        for (kind, schedule), colour in zip(schedules.items(), (BLUE, ORANGE), strict=True):
            share = schedule.left.double()
            left.plot(share.numpy(), color=colour, label=kind)
            right.plot((share / (1 - share)).log().numpy(), color=colour, label=kind)
        left.set(title="Share of the picture's variance that is left", xlabel="t")
        right.set(title="Logarithm of picture over noise", xlabel="t", ylim=(-12, 10))
        left.legend()


def search(path: Path, folder: str) -> None:
    """What the towers find among all things in the style that they have never seen, for questions that nobody has
    written on them. They were not chosen by what comes out."""
    from shared.plots import figure, images
    from week14_clip.search import top_k
    from week14_clip.trained import load

    towers = load(folder, choose("cpu"))
    pictures = [one for part in ("train", "val", "test") for one in data.emoji(part, (data.NEW_STYLE,)).items]
    matrix, questions = towers.of_pictures(one.read() for one in pictures), towers.of_texts(ASKED)
    with figure(path, len(ASKED), 8, size=(7.8, 0.95 * len(ASKED))) as (_, axes):
        for line, name, question in zip(axes, ASKED, questions, strict=True):
            for axis, row in zip(line, top_k(question, matrix, 8)[0], strict=True):
                images(axis, pictures[row].read())
            place = {"ha": "right", "va": "center", "fontsize": 9, "transform": line[0].transAxes}
            line[0].text(-0.15, 0.5, fill(name, 12), **place)


def main(cfg: Config) -> None:
    """Draws noise.png and search.png, and takes the sheets of a painter, and the points, where they are."""
    out = Path(cfg.out)
    noise(out / "noise.png")
    try:
        search(out / "search.png", cfg.run)
    except CourseError as error:
        print(f"left out search.png: {error}")
    painter = Path(cfg.painter) if cfg.painter else runs.newest(14, PAINTER, "paint")
    places = [(painter, one) for one in ("training.png", "guidance.png", "drawn.png")]
    places.append((Path(cfg.points or runs.RUNS / "week14"), "points.png"))
    for folder, picture in places:
        if (folder / picture).is_file():
            shutil.copyfile(folder / picture, out / picture)
        else:
            print(f"left out {picture}: it is not in {folder}")
    for picture in sorted(out.glob("*.png")):
        print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    cli.launch(main, Config)
