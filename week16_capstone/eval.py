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

import numpy as np

from shared import cli, results, runs
from shared.config import Count, EvalConfig, Natural
from shared.errors import CourseError
from shared.terminal import printable
from week16_capstone import ask, judge

WEEK_NUMBER = 16
HELD_BACK = {"val": 0, "test": 1_000}
"""Where the seeds of a part's reports begin."""


@dataclass
class Config(EvalConfig):
    """The flags of eval. --data takes a PDF or a folder of them: these are read, and their figures listed."""

    part: Literal["test", "val"] = "test"
    """val is there to choose by: no score of it is kept."""
    charts: Natural = 300
    """Charts that are read, drawn in held-out styles; 0: none."""
    reports: Natural = 20
    """Reports that are made and asked; 0: none."""
    each: Count = 3
    """Questions on each of a report's charts."""
    show: Natural = 5
    """How many wrong answers to print."""
    publish: bool = False
    """Put the tables into the week's RESULTS.md (for whoever looks after the lesson)."""


def printed(table: list[list[str]]) -> str:
    """A table in columns."""
    wide = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return "\n".join("  ".join(
        cell.ljust(wide[n]) if n == 0 else cell.rjust(wide[n]) for n, cell in enumerate(row)
    ) for row in table)  # fmt: skip


def own(cfg: Config, reader: Any) -> dict[str, Any]:
    """PDFs of one's own: what was found on their pages and read of it, with the seconds."""
    from week16_capstone.ingest import ingest, summary
    from week16_capstone.store import Shelf

    files, _ = ask.divided([cfg.data])
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            try:
                report = ingest(file, Shelf(folder), reader)
            except CourseError as error:
                print(f"left out: {printable(str(error))}")
                continue
            about = summary(report)
            found[file.name] = about
            print(f"{printable(file.name)}: {about['pages']} pages in {about['seconds']:.1f} s, {about['exhibits']} "
                  f"figures and tables, {about['charts']} charts read")  # fmt: skip
            for one in report.exhibits:
                state = f"{len(one.chart.values)} values" if one.chart else f"not read: {one.reason}"
                print(f"  page {one.page}: {printable(one.head[:90])} [{one.kind or 'figure'}, {state}]")
    return {"documents": found}


def charts(cfg: Config, reader: Any) -> tuple[dict[str, float], dict[str, list[list[str]]]]:
    """(scores, tables) of single charts: drawn as vectors, as bitmaps, values printed or not, and by words alone."""
    from week16_capstone import charts_eval, data
    from week16_capstone.chart import read

    items = {printed: data.cases(cfg.part, cfg.charts // 2, printed=printed) for printed in (False, True)}
    columns = ["", "charts", "exact", "within 2 %", "within 5 %", "pie 5 %", "scatter 5 %", "RMS-F1", "refused",
               "faulty ones refused"]  # fmt: skip
    rows, scores, sure = [columns], {}, []
    readers: list[tuple[str, Any, str]] = [("vector", lambda figure: read(figure), "vector")]
    if reader is not None:
        readers.append(("bitmap", reader.read, "pixels"))
    readers.append(("words alone", charts_eval.words_only, "pixels"))
    for name, one, how in readers:
        for printed, cases in items.items():
            scored = charts_eval.score(one, cases, how)
            found = charts_eval.summary(scored)
            shares = [f"{found[column]:.1%}" for column in ("exact", "within_2", "within_5", "pie_within_5",
                                                            "scatter_within_5", "rms_f1")]  # fmt: skip
            refused, faulty = (f"{found[a]:.0f} of {found[b]:.0f}" for a, b in (
                ("refused", "charts"), ("faulty_refused", "faulty")
            ))  # fmt: skip
            label = f"{name}, {'values' if printed else 'nothing'} printed"
            rows.append([label, f"{found['charts']:.0f}", *shares, refused, faulty])  # fmt: skip
            scores |= {f"{name.split()[0]}_{'printed_' * printed}{column}": float(found[column])
                       for column in ("within_2", "within_5", "rms_f1")}  # fmt: skip
            if name == "bitmap":
                sure.append(charts_eval.values_with_confidence(scored))
    tables = {"charts": rows}
    if sure:
        confidence, good = (np.concatenate(parts) for parts in zip(*sure, strict=True))
        found = charts_eval.risk_by_coverage(confidence, good)
        tables["risk"] = [["the surest values", "wrong", "least confidence"],
                          *([f"{a:.0%}", f"{b:.1%}", f"{c:.2f}"] for a, b, c in found)]  # fmt: skip
    return scores, tables


def main(cfg: Config) -> dict[str, Any]:
    """Reads charts in held-out styles, and asks reports whose answers are known; beside it, a reader of text alone.

    Returns what result.json holds now; the run folder is under "run".
    """
    from shared.device import choose
    from week11_rag.embed import Embedder

    run = opened(cfg.run)
    reader = ask.reader_of(cfg.run)
    if cfg.data:
        return own(cfg, reader)
    scores: dict[str, float] = {}
    tables: dict[str, list[list[str]]] = {}
    if cfg.charts:
        chart_scores, chart_tables = charts(cfg, reader)
        scores, tables = scores | chart_scores, tables | chart_tables
    if cfg.reports:
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
        print(f"\n{printed(table)}")
        if cfg.publish:
            results.publish(WEEK_NUMBER, f"eval {cfg.part} {name}", results.markdown(table[0], table[1:]))
    found = {f"{cfg.part}_{name}": value for name, value in scores.items()}
    if run is None:
        return {"metrics": found, "run": ""}
    kept = run.folder if cfg.part == "test" else None
    baseline = {"text only (questions)": scores.get("qa_text_only", 0.0)}
    return run.scored({f"test_{name}": value for name, value in scores.items()}, baseline, kept) | {
        "run": str(run.folder)
    }


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
