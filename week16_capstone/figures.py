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

from shared import cli, runs
from shared.config import Count, Natural
from week16_capstone import ask, places, train

FIGURES = Path(__file__).parent / "figures"
QUESTION = "What was revenue in Vienna?"


@dataclass
class Config:
    """The flags of figures."""

    seed: Natural = ask.NUMBER
    """Of the report of val that is made and asked."""
    question: str = QUESTION
    """What it is asked."""
    run: str = ""
    """The run whose reader reads bitmaps (default: the newest)."""
    out: str = str(FIGURES)
    """Where the pictures go."""
    charts: Count = 150
    """Charts of test for risk against coverage."""
    answer: bool = True
    """The picture of an answer, too: it wants MiniLM and reads a report, which takes a minute."""


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


def bare(axes: Any, picture: Any, title: str = "") -> None:
    """A picture without axes."""
    axes.imshow(picture, interpolation="antialiased")
    axes.set_axis_off()
    axes.set_title(title, fontsize=9, fontweight="normal")


def read_picture(path: Path, reader: Any, numbers: tuple[int, int] = (2, 22)) -> None:
    """Bitmaps of val with the marks that were found, beside what was read: drawn again from the values alone."""
    from shared.plots import COLOURS, VERMILLION, figure
    from week16_capstone.data import cases

    items = cases("val", max(numbers) + 1)
    drawings = [items[number].drawn for number in numbers]  # before the house style, which would change their looks
    with figure(path, rows=2, columns=2, size=(9.2, 6.4)) as (_, grid):
        for (left, right), drawn in zip(grid, drawings, strict=True):
            chart = reader.read(drawn.figure(words=True))
            bare(left, drawn.picture, "a bitmap, and the marks that were found")
            for place in reader.look([drawn.picture])[0].places[{"bar": "bar", "line": "vertex"}[chart.kind]]:
                left.plot(*place[:2], "o", markersize=9, markerfacecolor="none", markeredgecolor=VERMILLION)
            right.set_title("its values as they were read", fontsize=9, fontweight="normal")
            names = list(dict.fromkeys(value.x for value in sorted(chart.values, key=lambda value: value.box[0])))
            for n, series in enumerate(chart.series):
                found = {value.x: value.y for value in chart.values if value.series == series}
                at = [place for place, name in enumerate(names) if name in found]
                ys, wide = [found[names[place]] for place in at], 0.8 / len(chart.series)
                if chart.kind == "bar":
                    right.bar([place + n * wide for place in at], ys, wide, color=COLOURS[n], label=series or None)
                else:
                    right.plot(at, ys, "o-", color=COLOURS[n], label=series or None)
            middle = 0.4 * (1 - 1 / len(chart.series)) if chart.kind == "bar" else 0
            step = 1 + len(names) // 8
            right.set_xticks([place + middle for place in range(0, len(names), step)],
                             [name if isinstance(name, str) else f"{name:g}" for name in names[::step]])  # fmt: skip
            if chart.series != ("",):
                right.legend(fontsize=8)


def heat_picture(path: Path, reader: Any, number: int = 13) -> None:
    """What the network says of a chart: where marks and ticks are."""
    import numpy as np
    import torch

    from shared.plots import figure
    from week16_capstone.data import cases, fitted
    from week16_capstone.model import MARKS
    from week16_capstone.raster import inputs

    sheet, _ = fitted(cases("val", number + 1)[number].drawn.picture)
    with torch.no_grad():
        heat = torch.sigmoid(reader.model(inputs(sheet[None]))[0])[0].numpy()  # (marks, h, w)
    grey = np.repeat(sheet.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    names = {"bar": "ends of bars", "vertex": "vertices", "xtick": "ticks below", "ytick": "ticks at the left"}
    with figure(path, columns=4, size=(10.4, 2.3)) as (_, row):
        for axes, (name, title) in zip(row, names.items(), strict=True):
            bare(axes, grey, f"{title}: at most {heat[MARKS.index(name)].max():.2f}")
            own = heat[MARKS.index(name)]
            axes.imshow(own, cmap="autumn", vmin=0, vmax=1, alpha=np.where(own > 0.1, np.minimum(1, 3 * own), 0),
                        extent=(0, grey.shape[1], grey.shape[0], 0))  # fmt: skip


def styles_picture(path: Path, each: int = 4) -> None:
    """Charts in the styles of train, and in those of test."""
    from shared.plots import figure
    from week16_capstone.data import cases

    shown = []
    for part in ("train", "test"):
        themes = {case.spec.theme.name: case for case in cases(part, 60) if case.spec.kind in ("bar", "line")}
        shown += [(f"{part}: {name}", case.drawn.picture) for name, case in list(themes.items())[:each]]
    with figure(path, rows=2, columns=each, size=(10.4, 4.2)) as (_, grid):
        for axes, (name, picture) in zip(grid.flat, shown, strict=True):
            bare(axes, picture, name)


def risk_picture(path: Path, reader: Any, count: int) -> None:
    """What share of the surest values is wrong, from the surest to all."""
    import numpy as np

    from shared.plots import BLUE, figure
    from week16_capstone.charts_eval import score, values_with_confidence
    from week16_capstone.data import cases

    sure, good = values_with_confidence(score(reader.read, cases("test", count), "known"))
    wrong = ~good[np.argsort(-sure, kind="stable")]
    share = np.arange(1, len(wrong) + 1) / len(wrong)
    with figure(path, size=(5.2, 3.0)) as (_, axes):
        axes.plot(100 * share, 100 * np.cumsum(wrong) / np.arange(1, len(wrong) + 1), color=BLUE)
        axes.set(xlabel="values kept, the surest first (%)", ylabel="of these wrong (%)", xlim=(0, 100), ylim=(0, None))
        axes.set_title(f"Risk against coverage ({count} test charts)")


def ways_picture(path: Path, scores: dict[str, float]) -> None:
    """How many values are within 5 %, by what a chart is made of and who reads it."""
    from shared.plots import BLUE, GREY, figure

    ways = {"vector": "in a PDF, as vectors", "": "bitmap, words given", "pixels": "bitmap alone",
            "contours": "OpenCV's contours, words given", "words": "words alone, words given"}  # fmt: skip
    rows = [(name, scores[key]) for way, name in ways.items()
            if (key := f"test_{way}{'_' if way else ''}within_5") in scores]  # fmt: skip
    with figure(path, size=(6.4, 2.4)) as (_, axes):
        names, shares = zip(*rows[::-1], strict=True)
        colours = [GREY if name.startswith(("OpenCV", "words")) else BLUE for name in names]
        bars = axes.barh(names, [100 * share for share in shares], color=colours)
        axes.bar_label(bars, [f"{100 * share:.1f} %" for share in shares], padding=3)
        axes.set(xlim=(0, 112), xticks=(0, 25, 50, 75, 100))
        axes.set_title("Values of bar and line charts within 5 %, test")


def chart_pictures(cfg: Config) -> list[str]:
    """The pictures on the reader of charts."""
    from shared.files import read_json
    from week16_capstone import trained

    reader, out = trained.load(cfg.run), Path(cfg.out)
    found = runs.load(16, train.Config, cfg.run).folder / "result.json"
    read_picture(out / "read.png", reader)
    heat_picture(out / "heat.png", reader)
    styles_picture(out / "styles.png")
    risk_picture(out / "risk.png", reader, cfg.charts)
    ways_picture(out / "ways.png", read_json(found)["metrics"])
    return [str(out / f"{name}.png") for name in ("read", "heat", "styles", "risk", "ways")]


def main(cfg: Config) -> dict[str, list[str]]:
    """Draws what the reader of charts does; then makes a report, asks it, and draws the answer with its places.

    Returns the pictures' paths.
    """
    from week16_capstone import reports

    pictures = chart_pictures(cfg)
    if not cfg.answer:
        return {"pictures": pictures}

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sample.pdf"
        file.write_bytes(reports.make(cfg.seed, "val").content)
        agent = ask.opened([file], ask.Config(run=cfg.run, shelf=str(Path(folder) / "shelf")))
        answer = agent.ask(cfg.question)
        source = answer.sources[0]
        page = places.page_picture(file, source.page, source.box)
        crop = places.crop_picture(file, source.page, source.box, source.marks)
        path = Path(cfg.out) / "answer.png"
        answer_picture(path, cfg.question, answer, page, crop)
    print(f"written: {path}")
    return {"pictures": [*pictures, str(path)]}


if __name__ == "__main__":
    cli.launch(main, Config)
