"""Paints what you type, with a painter that `./course run 14 paint` has trained: `./course run 14 draw "a strawberry"`.

./course run 14 draw strawberry "red apple" --guidance 5      # more texts, a row each
./course run 14 draw strawberry --seed 7 --count 6            # other noise, other pictures
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week14_clip/draw.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro
from annotated_types import Ge, Le

from shared import cli
from shared.config import Count, NonNegative, Seed
from shared.device import choose
from shared.errors import CourseError

WEEK_NUMBER = 14


@dataclass
class Config:
    """The flags of draw."""

    texts: tyro.conf.Positional[tuple[str, ...]] = ()
    """What to paint: a text, or several, each in quotes."""
    run: str = ""
    """The folder of a run of paint (default: the newest)."""
    count: Annotated[int, Ge(1), Le(16)] = 6
    """Pictures of each text, from other noise."""
    guidance: NonNegative = 2.0
    """How much the text counts: 0 not at all, 1 as it was learned, more exaggerates."""
    steps: Count = 25
    """Steps of DDIM from noise to picture."""
    seed: Seed = 0
    """The noise follows from this number."""
    out: str = ""
    """Where drawn.png goes (default: the run's folder)."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""


def main(cfg: Config) -> dict[str, Any]:
    """Paints a row of pictures for each text, into drawn.png.

    Returns {"picture": its path, "painted": (N, 3, side, side)}.
    """
    texts = [text.strip() for text in cfg.texts if text.strip()]
    if not texts:
        raise CourseError('what to paint? For example: ./course run 14 draw "a strawberry"')
    from week14_clip import gallery
    from week14_clip import painter as trained

    device = choose(cfg.device)
    folder, flags, painter = trained.load(cfg.run, device)
    if cfg.steps > painter.noise.T:
        raise CourseError(f"--steps {cfg.steps}: must be from 1 to {painter.noise.T}, the steps of the noise.")
    heard = painter.heard(trained.TokenReader(device.name).tokens(texts).to(device.name))
    start = painter.start(cfg.count, cfg.seed).repeat(len(texts), 1, 1, 1)
    painted = painter.paint(heard.repeat_interleave(cfg.count, 0), start, cfg.guidance, cfg.steps)
    picture = Path(cfg.out or folder) / "drawn.png"
    columns = list(painted.unflatten(0, (len(texts), cfg.count)).unbind(1))  # of each, a picture for every text
    gallery.grid(picture, texts, [""] * cfg.count, columns)
    print(f"painted by {folder}, which has seen {flags['data']}: {picture}")
    return {"picture": str(picture), "painted": painted}


if __name__ == "__main__":
    cli.launch(main, Config)
