"""Asks generated reports, or PDFs of one's own: `./course eval 16`, or `python -m week16_capstone.eval --help`.

How well charts are read (charts_eval.py) and how well questions are answered are two tables; what is refused stands
beside what is wrong, since a wrong number is worse than none.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week16_capstone/eval.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import tempfile
from dataclasses import dataclass
from typing import Any, Literal

from shared import cli, race, results, runs, terminal
from shared.config import Count, EvalConfig, Natural
from shared.errors import CourseError
from shared.terminal import printable
from week16_capstone import accounts, ask, judge

WEEK_NUMBER = 16
HELD_BACK = {"val": 0, "test": 1_000}
"""Where the seeds of a part's reports begin."""


@dataclass
class Config(EvalConfig):
    """The flags of eval. --data takes a PDF or a folder of them: these are read, and their figures listed."""

    part: Literal["test", "val"] = "test"
    """val is there to choose by: no score of it is kept."""
    charts: Natural = 150
    """Charts that are read, drawn in held-out styles, with their words given; 0: none."""
    recognised: Natural = 0
    """So many of them are read again with their words by recognition, which takes a second each."""
    reports: Natural = 0
    """Reports that are made and asked, some ten seconds each: --reports 20."""
    each: Count = 3
    """Questions on each of a report's charts."""
    show: Natural = 5
    """How many wrong answers to print."""
    publish: bool = False
    """Put the tables into the week's RESULTS.md (for whoever looks after the lesson)."""


def main(cfg: Config) -> dict[str, Any]:
    """Reads charts in held-out styles, and asks reports whose answers are known; beside it, a reader of text alone.

    Returns what result.json holds now; the run folder is under "run".
    """
    from shared.device import choose

    if not (cfg.data or cfg.charts or cfg.reports):
        raise CourseError("--charts 0 --reports 0: there is nothing to ask.")
    run = opened(cfg.run)
    reader = ask.reader_of(cfg.run)
    if cfg.data:
        return accounts.own(cfg.data, reader)
    scores: dict[str, float] = {}
    tables: dict[str, list[list[str]]] = {}
    if cfg.charts:
        chart_scores, chart_tables = accounts.charts(cfg.part, cfg.charts, cfg.recognised, reader)
        scores, tables = scores | chart_scores, tables | chart_tables
    if cfg.reports:
        from week11_rag.embed import Embedder

        embedder, first = Embedder("minilm", choose(cfg.device).name), HELD_BACK[cfg.part]
        with tempfile.TemporaryDirectory() as folder:
            seeds = range(first, first + cfg.reports)
            scored, readings = judge.examined(seeds, cfg.part, Path(folder), embedder, reader, cfg.each)
        scores |= judge.scores(scored)
        tables |= judge.tables(scored)
        pages, seconds = sum(one.pages for one in readings), sum(one.seconds for one in readings)
        print(f"{cfg.reports} reports of {cfg.part} (made up), {pages} pages read at {seconds / pages:.2f} s a page")
        wrong = [row for row in scored if judge.is_wrong(row, judge.OURS)]
        for row in wrong[: cfg.show]:
            print(f"  wrong: {row.question.text} -> {printable(row.text[judge.OURS])[:120]}")
    for name, table in tables.items():
        print(f"\n{accounts.printed(table)}")
        if cfg.publish:
            about = f"*`{terminal.typed('--publish', '--run', cfg.run)}`, {race.processor()}, {race.cores()} cores*"
            table_of = results.markdown(table[0], table[1:])
            results.publish(WEEK_NUMBER, f"eval {cfg.part} {name.replace(',', '')}", f"{about}\n\n{table_of}")
    found = {f"{cfg.part}_{name}": value for name, value in scores.items()}
    if run is None or cfg.part == "val":
        return {"metrics": found, "run": str(run.folder) if run else ""}
    baselines = {"text only": scores.get("qa_text_only", 0.0)}
    if cfg.charts:
        baselines = {"words alone": scores["words_within_5"], "OpenCV's contours (bars)": scores["contours_within_5"]}
    return run.scored(found, baselines, run.folder) | {"run": str(run.folder)}


def opened(folder: str) -> Any:
    """The run of the reader; None where there is none yet: charts that are vectors are read without one."""
    from week16_capstone.train import Config as Flags

    try:
        return runs.load(WEEK_NUMBER, Flags, folder, finished=True)
    except CourseError:
        if folder:
            raise
        return None


if __name__ == "__main__":
    cli.launch(main, Config)
