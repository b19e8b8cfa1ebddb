"""Says what is on a picture of your own: `./course run 2 predict my_cat.jpg`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week02_cnn/predict.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass
from typing import Literal

import numpy as np
import tyro
from jaxtyping import Float
from PIL import Image, ImageDraw

from shared import cli
from shared.device import choose
from shared.errors import CourseError
from shared.files import written_whole
from shared.pictures import each, free_name, read_picture
from week02_cnn import data
from week02_cnn.eval import probabilities
from week02_cnn.trained import load

SURE = 0.6
SHOWN = 320  # pixels: how large a picture is drawn


@dataclass
class Config:
    """The flags of predict."""

    pictures: tyro.conf.Positional[tuple[str, ...]] = ()
    """Pictures with one thing on each, in the middle: png, jpg, … of any size."""
    run: str = ""
    """The run whose network is asked (default: week 2's newest)."""
    out: str = ""
    """A folder for the pictures of what the network saw (default: the run's folder)."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""


def beside(picture: Image.Image, seen: Image.Image) -> Image.Image:
    """The picture with a frame around what was taken, and beside it, enlarged, what the network saw of it."""
    scale = SHOWN / max(picture.size)
    small = picture.resize([max(1, round(side * scale)) for side in picture.size])
    frame = [round(edge * scale) for edge in data.middle(*picture.size)]
    left, top, right, bottom = frame[0], frame[1], max(frame[0], frame[2] - 1), max(frame[1], frame[3] - 1)
    ImageDraw.Draw(small).rectangle((left, top, right, bottom), outline="#D55E00", width=3)
    page = Image.new("RGB", (2 * SHOWN + 20, SHOWN), "white")
    page.paste(small, ((SHOWN - small.width) // 2, (SHOWN - small.height) // 2))
    page.paste(seen.resize((SHOWN, SHOWN), Image.Resampling.NEAREST), (SHOWN + 20, 0))
    return page


def chart(probs: Float[np.ndarray, " classes"], classes: tuple[str, ...], bar: str) -> list[str]:
    """The three likeliest classes as a bar chart, the likeliest first."""
    first = np.argsort(-probs, kind="stable")[:3]
    room = max(len(classes[label]) for label in first)
    return [f"{classes[label]:>{room}s} {probs[label]:6.1%} {bar * round(40 * probs[label])}" for label in first]


def verdict(probs: Float[np.ndarray, " classes"], classes: tuple[str, ...]) -> str:
    """One sentence: what it is, or what it may be."""
    first, second = np.argsort(-probs, kind="stable")[:2]
    if probs[first] >= SURE:
        return f"This is: {classes[first]} ({probs[first]:.1%} sure)."
    return f"Not sure: {classes[first]} ({probs[first]:.1%}), or {classes[second]} ({probs[second]:.1%})?"


def main(cfg: Config) -> list[Float[np.ndarray, " classes"]]:
    """Looks at pictures of your own and says what may be on them, and what the network saw of each.

    Returns the probabilities (classes,) of each picture.
    """
    if not cfg.pictures:
        raise CourseError("which picture? For example: ./course run 2 predict my_cat.jpg")
    device = choose(cfg.device)
    trained = load(cfg.run)
    try:
        bar = "█"
        bar.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        bar = "#"
    print(f"this network knows: {', '.join(trained.classes)}. It takes everything else for one of them.")
    answers, taken = [], set()
    for path, photo in each(cfg.pictures, read_picture):
        seen = data.squared(photo, trained.side)
        [probs] = probabilities(trained, data.Part(np.asarray(seen)[None], np.zeros(1, dtype=np.int64)), device)
        left, top, right, bottom = data.middle(*photo.size)
        where = free_name(Path(cfg.out) if cfg.out else trained.run.folder, path.stem, "_seen.png", taken)
        with written_whole(where) as temporary:
            beside(photo, seen).save(temporary, "PNG")
        part = "" if photo.width == photo.height else f"the middle {right - left} x {bottom - top} of them, "
        print(f"\n{path}: {photo.width} x {photo.height} pixels, {part}brought to {seen.width} x {seen.height}")
        print("\n".join(chart(probs, trained.classes, bar)))
        print(f"{verdict(probs, trained.classes)} What the network saw: {where}")
        answers.append(probs)
    return answers


if __name__ == "__main__":
    cli.launch(main, Config)
