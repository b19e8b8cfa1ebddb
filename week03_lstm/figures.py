"""Makes the lesson's pictures again: `./course run 3 figures`; or only some: `./course run 3 figures vanish`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week03_lstm/figures.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import contextlib
import importlib
import io
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import tyro

from shared import cli
from shared.config import Seed

FIGURES = Path(__file__).parent / "figures"
REVIEW = (
    "The first half hour is slow and the jokes are not funny, and I nearly left. But then the story finds its feet, "
    "and the ending is one of the best I have seen."
)
"""Written for the picture: it turns around in the middle. Does the verdict?"""


@dataclass
class Config:
    """The flags of figures."""

    parts: tyro.conf.Positional[tuple[Literal["vanish", "seq2seq", "speed", "reviews", "prices"], ...]] = ()
    """Which parts. Default: all of them, as long as they take together."""
    run: str = ""
    """reviews: a trained run, whose network is shown (default: one is trained for it, from --seed)."""
    imdb_run: str = ""
    """reviews: a run of --preset full, whose network reads the same review (default: its picture stays as it is)."""
    out: str = str(FIGURES)
    """Where the pictures go."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""
    seed: Seed = 0
    """Where the programs that make them begin to draw at random."""
    preset: Literal["smoke", "quick", "full"] = "quick"
    """The preset of the programs that make them."""


def config_of(program: ModuleType, cfg: Config, **flags: Any) -> Any:
    """The config of another program of the week, of the same preset, device and seed."""
    settings = program.PRESETS[cfg.preset] | {"preset": cfg.preset, "device": cfg.device, "seed": cfg.seed} | flags
    return program.Config(**settings)


def of_experiment(name: str) -> Callable[[Config, Path], None]:
    """The pictures of vanish, seq2seq or speed, which need nothing but a folder."""

    def make(cfg: Config, folder: Path) -> None:
        program = importlib.import_module(f"week03_lstm.{name}")
        program.main(config_of(program, cfg, out=str(folder)))

    return make


def of_reviews(cfg: Config, folder: Path) -> None:
    """What train, eval and sentiment_classify draw: curves, bars, the verdict word by word, the gates."""
    from week03_lstm import eval as evaluation
    from week03_lstm import sentiment_classify, train

    run = cfg.run
    if not run:
        run = train.main(config_of(train, cfg, out=str(folder / "run")))["run"]
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.main(evaluation.Config(run=run, device=cfg.device))
    sentiment_classify.main(sentiment_classify.Config(review=(REVIEW,), run=run, out=str(folder)))
    (folder / "word_by_word.png").rename(folder / "word_by_word_sample.png")
    if cfg.imdb_run:
        sentiment_classify.main(sentiment_classify.Config(review=(REVIEW,), run=cfg.imdb_run, out=str(folder / "imdb")))
        shutil.copyfile(folder / "imdb" / "word_by_word.png", folder / "word_by_word.png")
    for picture in Path(run).glob("*.png"):
        if not (folder / picture.name).exists():
            shutil.copyfile(picture, folder / picture.name)


def of_prices(cfg: Config, folder: Path) -> None:
    """The famous plot, and the error over the folds."""
    from week03_lstm import price_drawing, price_forecast

    run = price_forecast.main(config_of(price_forecast, cfg, out=str(folder / "run")))["run"]
    price_drawing.draw(Path(run), folder)


PARTS: dict[str, Callable[[Config, Path], None]] = {
    **{name: of_experiment(name) for name in ("vanish", "seq2seq", "speed")},
    "reviews": of_reviews,
    "prices": of_prices,
}


def main(cfg: Config) -> list[Path]:
    """Runs the week's programs and keeps their pictures. Returns their paths."""
    out, kept = Path(cfg.out), []
    for part in cfg.parts or PARTS:
        print(f"\n--- {part}")
        with tempfile.TemporaryDirectory() as folder:
            PARTS[part](cfg, Path(folder))
            out.mkdir(parents=True, exist_ok=True)
            for picture in sorted(Path(folder).glob("*.png")):
                kept.append(Path(shutil.copyfile(picture, out / picture.name)))
    print()
    for picture in kept:
        print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")
    return kept


if __name__ == "__main__":
    cli.launch(main, Config)
