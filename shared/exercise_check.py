"""`./course check N [P]`: runs a week's exercise tests on the learner's files and tells of each piece as it ends."""

import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared import plan
from shared.errors import CourseError
from shared.exercise import UNWRITTEN, Piece, number_of, parse, pieces, read, shown, unwritten, written_in
from shared.files import ROOT, read_json, write_json

RUN_SECONDS = 600  # for all tests of a week together; shared/exercise_plugin.py ends a single one, where it can
WIDTH = 80  # of what is printed
MARK = "\x1e"  # of shared/exercise_plugin.py, which needs pytest to be imported
PYTEST_ITSELF = re.compile(
    r"(Left|Right) contains |\.\.\.Full output|\[.*full report|Use -v|At index |[+-] |assert | \+ |.* at 0x[0-9a-f]+"
)
MARKS = {"passed": "✓", "failed": "✗", "waits": "·", "not written": "·"}
PROGRESS = "progress.json"
ENDLESS = "a loop in your code never ends, or something else takes all of the machine: then try again"


@dataclass(frozen=True)
class Outcome:
    """How one test ended: of which piece it is, "passed", "failed" or "skipped", what it said, and the learner's line
    where it happened (place, code)."""

    piece: int
    test: str
    result: str
    message: str = ""
    place: str = ""
    code: str = ""


def pytest_arguments(number: int, folder: Path, wanted: Collection[int]) -> list[str]:
    """What pytest needs to run the tests of some pieces of a week on the files in `folder`.

    A file of tests that has none for them is left out: it may import libraries that take seconds to load.
    """
    marks = [f"mark.exercise({piece})" for piece in wanted]
    files = sorted((ROOT / "tests").glob(f"test_week{number:02}*.py"))
    files = [str(path) for path in files if any(mark in path.read_text(encoding="utf-8") for mark in marks)]
    options = ["--tb=native", "-p", "no:cacheprovider", "-p", "no:unraisableexception", "-p", "shared.exercise_plugin"]
    chosen = f"--pieces={','.join(map(str, wanted))}"
    return [*files, *options, chosen, f"--rootdir={ROOT}", f"--mine={folder.resolve()}"]


def told(command: list[str]) -> Iterator[dict[str, Any]]:
    """Runs pytest and yields what the plugin tells, as it tells it.

    Raises:
        CourseError: the tests did not start, or ended before the last one; they did not end within RUN_SECONDS.
    """
    env = {name: v for name, v in os.environ.items() if name not in ("COURSE_RECORD_TESTS", "PYTEST_ADDOPTS")}
    # Plugins of libraries that happen to be installed would take more than half of the time.
    env |= {"PYTHONUTF8": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    at, ended, last = "", False, ""
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
            encoding="utf-8", errors="replace",
        ) as process,
    ):  # fmt: skip
        late = threading.Event()
        clock = threading.Timer(RUN_SECONDS, lambda: (late.set(), process.kill()))
        clock.start()
        try:
            for line in process.stdout:
                words, mark, record = line.partition(MARK)
                last = words.strip() or last
                if mark:
                    record = json.loads(record)
                    at, ended = record.get("at", at), ended or "end" in record
                    yield record
            code = process.wait()
        finally:
            clock.cancel()
            process.kill()
        if late.is_set():
            raise CourseError(f"the tests did not end within {RUN_SECONDS} s, in {at}: {ENDLESS}.")
        if at and not ended:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise CourseError(f"the tests ended early, with {how}, in {at}: os._exit or a crash in your code?")
        if not at:
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace").strip().splitlines()[-1:] or [last]
            raise CourseError(f"the tests did not start: {said[0]}")


def place(traceback: str, folder: Path) -> str:
    """`exercises/week01/model.py:41`: the last line of the learner's that a traceback passes, or nothing."""
    lines = re.findall(rf'\b{re.escape(folder.name)}[\\/]([\w.]+\.py)(?:", line |:)(\d+)', traceback)
    return f"{shown(folder / lines[-1][0])}:{lines[-1][1]}" if lines else ""


def run_tests(
    number: int, folder: Path, wanted: Collection[int], extra: Iterable[str] = ()
) -> Iterator[tuple[int, list[Outcome]]]:
    """Yields (piece, its outcomes) for each piece whose tests have ended, in a process of their own.

    Raises:
        CourseError: they did not start, or ended before the last one.
    """
    outcomes: dict[int, list[Outcome]] = {piece: [] for piece in wanted}
    arguments = [*pytest_arguments(number, folder, wanted), *extra]
    for record in told([sys.executable, "-m", "pytest", *arguments]):
        match record:
            case {"collection": test, "traceback": text}:
                last = text.strip().splitlines()[-1].removeprefix("E").strip()
                raise CourseError(f"{place(text, folder) or test}: {last} (no test could start).")
            case {"over": piece} if piece in outcomes:
                yield piece, outcomes.pop(piece)
            case {"piece": piece} if piece in outcomes:
                outcomes[piece].append(Outcome(**record))
            case {"note": note}:
                print(f"note: {note}", flush=True)
    yield from outcomes.items()


def helpful(outcome: Outcome) -> list[str]:
    """What a failed test says, in lines of at most 80 columns: its message, the learner's line or the test's name."""
    lines = [line.strip() for line in outcome.message.removeprefix("AssertionError:").splitlines()]
    lines = [line for line in lines if line and not PYTEST_ITSELF.match(line)] or outcome.message.splitlines()[:1]
    said = textwrap.shorten("; ".join(lines[:3]) or "an assertion without a message", 3 * WIDTH - 20, placeholder=" …")
    where = ": ".join(filter(None, (outcome.place, outcome.code))) or f"in {outcome.test}"
    places = textwrap.wrap(where, WIDTH - 4, subsequent_indent="  ", max_lines=3, placeholder=" …")
    return [*textwrap.wrap(said, WIDTH - 4, break_on_hyphens=False), *places]


def stubs_in(path: Path) -> dict[int, str]:
    """{number: file:line} of the pieces whose `raise NotImplementedError("exercise …")` still stands in the file."""
    found = {}
    for text, line in unwritten(path):
        found.setdefault(int(UNWRITTEN.match(text)[1]), f"{shown(path)}:{line}")
    return found


def not_written(todo: Iterable[Piece], folder: Path) -> dict[int, str]:
    """{number: file:line} of the pieces that are stubs still, or whose file is not there."""
    found = {}
    for piece in todo:
        path = folder / piece.file
        found |= stubs_in(path) if path.is_file() else {piece.number: f"{shown(path)} is not there"}
    return found


def judge(outcomes: Iterable[Outcome]) -> tuple[str, str, list[str]]:
    """(status, in words, what failed) of a piece, from its tests: "passed", "failed", or "waits" for another piece."""
    outcomes = list(outcomes)
    number = outcomes[0].piece if outcomes else 0
    failed = [outcome for outcome in outcomes if outcome.result == "failed"]
    stopped = {int(cut[1]): outcome for outcome in failed if (cut := UNWRITTEN.match(outcome.message))}
    wrong = [outcome for outcome in failed if not UNWRITTEN.match(outcome.message)]
    passed = sum(outcome.result == "passed" for outcome in outcomes)
    if number in stopped:
        return "not written", f"not written yet ({stopped[number].place})", []
    if wrong:
        return "failed", "failed", helpful(wrong[0])
    if stopped:
        return "waits", f"waits for exercise {min(stopped)}", []
    if not passed:
        return "failed", "failed: none of its tests ran here", []
    return "passed", f"passed ({passed} test{'s' * (passed > 1)})", []


def names_of(todo: Iterable[Piece]) -> dict[int, str]:
    """{number: title} of the pieces; of one with several regions what their titles have in common before a comma, or
    the first title, and how many more."""
    titles: dict[int, list[str]] = {}
    for piece in todo:
        titles.setdefault(piece.number, []).append(piece.title)
    found = {}
    for number, (first, *more) in titles.items():
        begin = first.partition(", ")[0]
        alike = more and all(title.partition(", ")[0] == begin for title in more)
        found[number] = begin if alike else first + (f", and {len(more)} more" if more else "")
    return found


def check(week: Path, folder: Path, only: int | None = None) -> bool:
    """Tests the learner's files, tells of each piece as it ends, and writes progress.json. True when all of it passed.

    Args:
        only: the number of one piece; all are tested without.
    """
    number, todo = number_of(folder.name), pieces(week)
    numbers = sorted({piece.number for piece in todo if only in (None, piece.number)})
    for path in written_in(folder):
        parse(read(path), shown(path))  # before any test: the clearest line there is for a typing mistake
    names = names_of(todo)
    width = max(len(names[piece]) for piece in numbers)
    stubs, statuses, failed = not_written(todo, folder), read_progress(folder), []

    def show(piece: int, status: str, words: str, why: Iterable[str] = ()) -> None:
        print(f"{MARKS[status]} {piece} {names[piece]:{width}}   {words}", flush=True)
        for line in why:
            print(f"    {line}", flush=True)
        statuses[str(piece)] = status

    for piece in numbers:
        if piece in stubs:
            show(piece, "not written", f"not written yet ({stubs[piece]})")
    if written := [piece for piece in numbers if piece not in stubs]:
        print(f"testing {shown(folder)} (some seconds) ...", file=sys.stderr, flush=True)
        for piece, outcomes in run_tests(number, folder, written):
            status, words, why = judge(outcomes)
            show(piece, status, words, why)
            failed += [(piece, next(o for o in outcomes if o.result == "failed").test)] if why else []
    write_json(folder / PROGRESS, dict(sorted(statuses.items())))
    if all(statuses.get(str(piece.number)) == "passed" for piece in todo):
        flags = " ".join(filter(None, ["--mine", plan.week(number).mine]))
        print(f"\nWell done: the core of week {number} is yours. See it learn: ./course train {number} {flags}")
    for piece, test in failed[:1]:
        print(f"\nA hint: ./course hint {number} {piece}")
        print(f"The whole story: ./course test {number} --mine {shown(folder)} -k '{test.partition('[')[0]}'")
    return all(statuses[str(piece)] == "passed" for piece in numbers)


def read_progress(folder: Path) -> dict[str, str]:
    """{piece: status} as the last check left it; nothing where there was none."""
    try:
        found = read_json(folder / PROGRESS)
    except CourseError:
        return {}
    return found if isinstance(found, dict) else {}
