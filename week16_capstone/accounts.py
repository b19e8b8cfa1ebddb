"""What eval shows beside the questions: how well single charts are read, and what is found in PDFs of one's own."""

import tempfile
from typing import Any, Literal

import numpy as np

from shared.errors import CourseError
from shared.terminal import printable
from week16_capstone import ask


def printed(table: list[list[str]]) -> str:
    """A table in columns."""
    wide = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return "\n".join("  ".join(
        cell.ljust(wide[n]) if n == 0 else cell.rjust(wide[n]) for n, cell in enumerate(row)
    ) for row in table)  # fmt: skip


def own(data: str, reader: Any) -> dict[str, Any]:
    """PDFs of one's own: what was found on their pages and read of it, with the seconds."""
    from week16_capstone.ingest import ingest, summary
    from week16_capstone.store import Shelf

    files, _ = ask.divided([data])
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


def charts(
    part: Literal["val", "test"], count: int, reader: Any
) -> tuple[dict[str, float], dict[str, list[list[str]]]]:
    """(scores, tables) of single charts: as vectors, as bitmaps, values printed or not, and by words alone."""
    from week16_capstone import charts_eval
    from week16_capstone.chart import read
    from week16_capstone.data import cases as cases_of

    items = {printed: cases_of(part, count // 2, printed=printed) for printed in (False, True)}
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
