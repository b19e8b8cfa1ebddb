"""How fast are charts read, and beside whom? `./course run 16 bench [bars|kinds]`

    bars      plain and grouped bars as bitmaps, words given: this reader beside OpenCV's contours, which find
              rectangles of one colour; how many of their values each has within 5 %
    kinds     a figure of each kind: from its paths; from its pixels with the words given; and with recognised words

How contestants take turns and what counts: shared/race.py.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week16_capstone/bench.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import tyro

from shared import cli, race
from shared.config import Count
from shared.device import Device, choose
from shared.errors import CourseError
from shared.results import markdown
from shared.runs import RUNS
from week16_capstone import charts_eval, data, trained
from week16_capstone.chart import Chart, Figure, Unreadable
from week16_capstone.model import ChartReader, ReaderConfig
from week16_capstone.raster import Reader
from week16_capstone.read import read

PARTS = ("bars", "kinds")


@dataclass
class Config(race.BenchConfig):
    """The flags of bench."""

    parts: tyro.conf.Positional[tuple[Literal["bars", "kinds"], ...]] = PARTS
    """Which parts."""
    run: str = ""
    """The run whose reader is timed (default: the week's newest)."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""
    charts: Count = 30
    """Charts a round, of val's styles."""
    out: str = str(RUNS / "week16" / "bench")
    """The folder for the numbers."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"rounds": 1, "charts": 3, "threads": (1,)},
    "quick": {"rounds": 3},
    "full": {"rounds": 10, "charts": 100},
}


def reader(cfg: Config, device: Device) -> Reader:
    """The trained reader, on its device; where none has been trained, one that finds nothing: then its time says little
    and its accuracy nothing."""
    try:
        found = trained.load(cfg.run)
    except CourseError as error:
        if cfg.run:
            raise
        print(f"timed without training: {error}")
        found = Reader(ChartReader(ReaderConfig()).eval())
    found.model.to(device.name)
    return found


def all_of(read_one: Callable[[Figure], Chart], figures: list[Figure]) -> Callable[[], None]:
    """A round: every figure, those that are refused too."""

    def work() -> None:
        for figure in figures:
            try:
                read_one(figure)
            except Unreadable:
                continue

    return work


def bench_bars(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """This reader beside OpenCV's contours on bars: figures a second, and what share of values is right."""
    items = data.cases("val", cfg.charts, kind="bar", fault="", printed=False)
    ours = reader(cfg, device).read
    figures = [case.drawn.figure(words=True) for case in items]
    contestants = {"this reader": all_of(ours, figures), "OpenCV's contours": all_of(charts_eval.contours, figures)}
    laps = race.take_turns(contestants, cfg.rounds)
    text, numbers = race.table(laps, dict.fromkeys(contestants, len(figures)), "charts", "OpenCV's contours", threads)
    rows = []
    for name, one in (("this reader", ours), ("OpenCV's contours", charts_eval.contours)):
        right = charts_eval.within(charts_eval.score(one, items, "known"), 0.05)
        numbers[name]["within_5"] = right
        rows.append([name, f"{right:.1%}"])
    return f"{text}\n\n{markdown(['', 'values within 5 %'], rows)}", numbers


def bench_kinds(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Milliseconds a figure, by its kind and by what it is made of; the median."""
    ours = reader(cfg, device).read
    rows, numbers = [], {}
    for kind in ("bar", "line", "pie", "scatter"):
        items = data.cases("val", max(2, cfg.charts // 6), kind=kind, fault="")
        ways = {
            "paths": (read, [charts_eval.from_pdf(case) for case in items]),
            "pixels, words given": (ours, [case.drawn.figure(words=True) for case in items]),
            "pixels alone": (ours, [case.drawn.figure() for case in items]),
        }
        numbers[kind] = {}
        for name, (one, figures) in ways.items():
            all_of(one, figures[:1])()  # warm
            took = []
            for figure in figures:
                began = time.perf_counter()
                all_of(one, [figure])()
                took.append(1000 * (time.perf_counter() - began))
            numbers[kind][name] = statistics.median(took)
        rows.append([kind, *(f"{value:.1f}" for value in numbers[kind].values())])
    return markdown(["ms a figure", "paths", "pixels, words given", "pixels alone"], rows), numbers


BENCHES = {"bars": bench_bars, "kinds": bench_kinds}


def main(cfg: Config) -> dict[str, Any]:
    """Times the reader of charts beside OpenCV's contours, and by kind and by what a chart is made of."""
    return race.parts(cfg, 16, BENCHES, choose(cfg.device))


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
