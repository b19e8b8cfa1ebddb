"""What eval shows beside the questions: how well single charts are read, and what is found in PDFs of one's own."""

import tempfile
from typing import Any, Literal

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
            pages = f"{about['pages']} page{'s' * (about['pages'] != 1)}"
            print(f"{printable(file.name)}: {pages} in {about['seconds']:.1f} s, {about['exhibits']} figures and tables"
                  f", {about['charts']} charts read")  # fmt: skip
            for one in report.exhibits:
                state = f"{len(one.chart.values)} values" if one.chart else f"not read: {one.reason}"
                print(f"  page {one.page}: {printable(one.head[:90])} [{one.kind or 'figure'}, {state}]")
    return {"documents": found}


def charts(
    part: Literal["val", "test"], count: int, recognised: int, reader: Any
) -> tuple[dict[str, float], dict[str, list[list[str]]]]:
    """(scores, tables) of single charts, the same ones in a PDF and as bitmaps.

    Args:
        part: whose charts.
        count: how many; the words of bitmaps are given.
        recognised: so many of them are read once more from their pixels alone, their words by recognition: a second
            each.
        reader: of bitmaps; None: they are left out.
    """
    from week16_capstone import charts_eval
    from week16_capstone.data import cases
    from week16_capstone.read import read

    columns = ["", "charts", "exact", "within 2 %", "within 5 %", "pie 5 %", "scatter 5 %", "RMS-F1", "refused",
               "faulty ones refused"]  # fmt: skip
    rows, scores, tables = [columns], {}, {}
    items = cases(part, count)
    ways: list[tuple[str, str, Any, str, Any]] = []
    if reader is not None:
        ways.append(("", "bitmaps, words given", reader.read, "known", items))
        if recognised:
            ways.append(("pixels_", "bitmaps alone", reader.read, "pixels", items[:recognised]))
    ways += [
        ("vector_", "vectors", read, "vector", items),
        ("words_", "words alone, words given", charts_eval.words_only, "known", items),
        ("contours_", "OpenCV's contours, words given", charts_eval.contours, "known", items),
    ]
    for short, name, one, how, those in ways:
        scored = charts_eval.score(one, those, how)
        found = charts_eval.summary(scored)
        shares = [f"{found[column]:.1%}" for column in ("exact", "within_2", "within_5", "pie_within_5",
                                                        "scatter_within_5", "rms_f1")]  # fmt: skip
        refused, faulty = (f"{found[a]:.0f} of {found[b]:.0f}" for a, b in (
            ("refused", "charts"), ("faulty_refused", "faulty")
        ))  # fmt: skip
        rows.append([name, f"{found['charts']:.0f}", *shares, refused, faulty])
        scores |= {f"{short}{column}": float(found[column]) for column in ("within_5", "within_2", "exact", "rms_f1")}
        if how in ("known", "pixels") and one == getattr(reader, "read", None):
            sure, good = charts_eval.values_with_confidence(scored)
            scores[f"{short}calibration_error"] = charts_eval.calibration_error(sure, good)
            tables[f"risk, {name}"] = [
                ["the surest values", "wrong", "least confidence"],
                *([f"{a:.0%}", f"{b:.1%}", f"{c:.2f}"] for a, b, c in charts_eval.risk_by_coverage(sure, good)),
            ]
    if reader is not None:
        looked = [reader.look([case.drawn.picture])[0].kind for case in items]
        scores["kind"] = charts_eval.kinds_right(looked, items)
        tables["printed"] = printed_or_not(reader, items)
    return scores, {"charts": rows, **tables}


def printed_or_not(reader: Any, items: Any) -> list[list[str]]:
    """Bitmaps whose values are printed, and those where only the axis tells them; words given."""
    from week16_capstone import charts_eval

    rows = [["bitmaps, words given", "charts", "within 2 %", "within 5 %"]]
    for printed, name in ((True, "values printed"), (False, "nothing printed")):
        scored = charts_eval.score(reader.read, [case for case in items if case.spec.printed == printed], "known")
        found = charts_eval.summary(scored)
        rows.append([name, f"{found['charts']:.0f}", f"{found['within_2']:.1%}", f"{found['within_5']:.1%}"])
    return rows
