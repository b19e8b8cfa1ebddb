"""`./course list`: the sixteen weeks, and what has been trained, tested and solved here. Standard library only."""

import json
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

from shared import plan, terminal
from shared.files import ROOT
from shared.usage import CALL

WIDTHS = (5, 21, 38, 11, 17, 8)
"""Columns: week, title, result, tests, exercises, bugs. Together they fit a terminal of 100 characters."""

Cell = tuple[str, bool | None]
"""A text, and whether it is good news (green), bad news (red) or neither (None)."""


def read(path: Path) -> Any:
    """The JSON in `path`, or {} where it is not there or damaged: a list must not fail over one bad file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def number(mapping: Any, name: str) -> float | None:
    """The number called `name` in what was read from JSON, or None where there is none."""
    value = mapping.get(name) if isinstance(mapping, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def best_result(week: plan.Week, root: Path) -> Cell:
    """What this week's runs reached, as text, and whether that is the target (None: there is nothing to compare).

    Shown is the best run on the data that was trained on last, if a target is set for that data. A run of the preset
    `smoke` is a trial of some seconds, and is held against nothing.
    """
    found = sorted((root / "runs" / f"week{week.number:02}").glob("*/result.json"), key=lambda p: p.stat().st_mtime_ns)
    trained = {path: result for path in reversed(found) if (result := read(path))}
    presets = {path: read(path.with_name("config.json")).get("preset") for path in trained}
    results = [result for path, result in trained.items() if presets[path] != "smoke"]
    if not results:
        return ("trained (smoke)" if trained else "-"), None
    targets = {target.data: target for target in reversed(week.targets)}
    for newest in results:
        target = targets.get(str(newest.get("data")))
        if target is None:
            continue
        scores = [number(r.get("metrics"), target.metric) for r in results if r.get("data") == target.data]
        scores = sorted((score for score in scores if score is not None), reverse=target.higher_is_better)
        if scores:
            text = f"{target.data}: {target.metric.replace('_', ' ')} {scores[0]:.4g} ({target.value:g})"
            return text, target.reached(scores[0])
    if str(results[0].get("data")) in targets:
        return f"trained; ./course eval {week.number} scores it", None
    name = Path(str(results[0].get("data"))).name
    for target in week.targets:  # of data without a target: the score that the targets are of
        if (score := number(results[0].get("metrics"), target.metric)) is not None:
            return f"{name}: {target.metric.replace('_', ' ')} {score:.4g}", None
    return f"trained on {name}", None


def tests(counts: Any) -> Cell:
    """The last tests that ran, from the counts that tests/conftest.py records."""
    passed, failed = number(counts, "passed") or 0, number(counts, "failed") or 0
    if failed:
        return f"{failed:.0f} failed", False
    return (f"{passed:.0f} passed", True) if passed else ("-", None)


def exercises(week: int, root: Path) -> Cell:
    """How many pieces `./course check` found solved, and how many of these with hints."""
    folder = root / "exercises" / f"week{week:02}"
    progress, hints = read(folder / "progress.json"), read(folder / "hints.json")
    if progress:
        solved = [piece for piece, status in progress.items() if status == "passed"]
        hinted = len(hints.keys() & set(solved))
        text = f"{len(solved)} of {len(progress)}" + f", {hinted} hinted" * bool(hinted)
        return text, len(solved) == len(progress) or None
    return ("begun" if folder.is_dir() else "-"), None


def bugs(week: int, root: Path) -> Cell:
    """How many planted bugs were found, of those that the week has."""
    folders = (root / "exercises").glob(f"week{week:02}-bug*")
    found = sum(set(map(str, read(folder / "progress.json").values())) == {"passed"} for folder in folders)
    try:
        count = len(tomllib.loads((root / "tests" / f"bugs_week{week:02}.toml").read_text(encoding="utf-8"))["bug"])
    except (OSError, ValueError, KeyError):
        count = 0
    return (f"{found} of {count}" if found else "-"), (found == count or None) if found else None


def cells(number: int, counts: Any, root: Path) -> list[Cell]:
    """The row of one week, without its number."""
    try:
        week = plan.week(number)
    except Exception as error:  # a learner may be in the middle of changing it
        return [(plan.folder(number), None), (f"✗ does not start: {type(error).__name__}: {error}", False)]
    if week is None:
        return [(plan.folder(number), None), ("  not here yet", None)]
    text, good = best_result(week, root)
    mark = {True: "✓", False: "✗", None: " "}[good]
    return [(week.title, None), (f"{mark} {text}", good), tests(counts), exercises(number, root), bugs(number, root)]


def table(root: Path = ROOT, colour: bool = False) -> str:
    """The whole list: a heading, one line per week, and the tests of what the weeks share."""
    recorded = read(root / "runs" / "tests.json")
    rows = [[(text, None) for text in ("week", "", "  best run here (target)", "tests", "exercises", "bugs")]]
    for number in range(1, len(plan.FOLDERS) + 1):
        rows.append([(f"{number:>4}", None), *cells(number, recorded.get(f"week{number:02}"), root)])
    rows.append([("", None), ("shared by all weeks", None), ("", None), tests(recorded.get("shared"))])

    def fit(cell: Cell, width: int) -> str:
        text, good = cell
        text = " ".join(text.splitlines())
        text = text if len(text) < width else text[: width - 2] + "…"
        gap = " " * (width - len(text))
        return f"\033[{32 if good else 31}m{text}\033[0m{gap}" if colour and good is not None else text + gap

    def line(row: list[Cell]) -> str:
        widths = *WIDTHS[: len(row) - 1], sum(WIDTHS[len(row) - 1 :])  # the last cell has the rest of the line
        return "".join(map(fit, row, widths)).rstrip()

    return "\n".join(map(line, rows))


def colour_wanted() -> bool:
    """Colour on a terminal that can, unless NO_COLOR is set (no-color.org)."""
    able = sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and (os.name != "nt" or "WT_SESSION" in os.environ)
    return able and not os.environ.get("NO_COLOR")


def reports(root: Path = ROOT) -> str:
    """Of which weeks there is a report, and how one makes one."""
    found = [n for n in range(1, len(plan.FOLDERS) + 1) if (root / "reports" / f"week{n:02}" / "report.md").is_file()]
    if not found:
        return f"no reports yet: {CALL} report N writes the public update on a week"
    weeks = f"week{'s' * (len(found) > 1)} {', '.join(map(str, found))}"
    return f"reports: {weeks}; {CALL} portfolio puts all that is done on one page"


def main() -> int:
    """Prints the list, and what there is to show."""
    print(f"{table(colour=colour_wanted())}\n\n{reports()}")
    return 0


if __name__ == "__main__":
    terminal.exit_with(main)
