"""Makes the README's pictures again: `./course run 16 figures`, or `python -m week16_capstone.figures --help`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week16_capstone/figures.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import tempfile
from dataclasses import dataclass
from textwrap import fill
from typing import Any

from shared import cli
from shared.config import Natural
from week16_capstone import ask, places

FIGURES = Path(__file__).parent / "figures"
QUESTION = "Which city had the highest orders shipped of Freight?"


@dataclass
class Config:
    """The flags of figures."""

    seed: Natural = 2
    """Of the report of val that is made and asked."""
    question: str = QUESTION
    """What it is asked."""
    run: str = ""
    """The run whose reader reads bitmaps (default: the newest)."""
    out: str = str(FIGURES)
    """Where the picture goes."""


def answer_picture(path: Path, question: str, answer: Any, page: Any, crop: Any) -> None:
    """The question, the answer and its source; beside them the figure with the values, and the page with the figure."""
    from shared.plots import GREY, INK, figure

    source = answer.sources[0]
    with figure(path, columns=3, size=(10.4, 3.6)) as (_, (text, left, right)):
        text.set_axis_off()
        rows = ((fill(question, 30), INK, "bold", 11.5), (fill(answer.text, 32), INK, "normal", 11.5),
                (fill(source.line, 42), GREY, "normal", 8.5))  # fmt: skip
        top = 0.95
        for said, colour, weight, size in rows:
            text.text(0, top, said, va="top", color=colour, fontweight=weight, fontsize=size, linespacing=1.3)
            top -= 0.085 * (said.count("\n") + 1) + 0.07
        for axes, picture, name in ((left, crop, "the figure, the value used"), (right, page, "the page")):
            axes.imshow(picture, interpolation="antialiased")
            axes.set(xticks=(), yticks=())
            axes.set_title(name, fontsize=9, fontweight="normal")
            axes.grid(False)
            for edge in axes.spines.values():
                edge.set(visible=True, color=GREY)


def main(cfg: Config) -> dict[str, str]:
    """Makes a report, asks it, and draws the answer with its places.

    Returns the picture's path.
    """
    from week16_capstone import reports

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.pdf"
        file.write_bytes(reports.make(cfg.seed, "val").content)
        agent = ask.opened([file], ask.Config(run=cfg.run, shelf=str(Path(folder) / "shelf")))
        answer = agent.ask(cfg.question)
        source = answer.sources[0]
        page = places.page_picture(file, source.page, source.box)
        crop = places.crop_picture(file, source.page, source.box, source.marks)
        path = Path(cfg.out) / "answer.png"
        answer_picture(path, cfg.question, answer, page, crop)
    print(f"written: {path}")
    return {"picture": str(path)}


if __name__ == "__main__":
    cli.launch(main, Config)
