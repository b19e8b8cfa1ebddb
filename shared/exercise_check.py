"""`./course check N`: runs a week's exercise tests on the learner's files and prints one line per piece."""

import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from shared import plan
from shared.errors import CourseError
from shared.exercise import UNWRITTEN, Piece, number_of, parse, pieces, read, shown, unwritten, written_in
from shared.files import ROOT, write_json

RUN_SECONDS = 600  # for all tests of a week together; shared/exercise_clock.py ends a single one, where it can
PYTEST_ITSELF = re.compile(
    r"\.\.\.Full output|\[.*full report in element text\]|Use -v|At index "
    r"|assert (\(|not True$|False$)|.* at 0x[0-9a-f]+"
)
MARKS = {"passed": "✓", "failed": "✗", "waits": "·", "not written": "·"}


@dataclass(frozen=True)
class Outcome:
    """How one test ended: of which piece it is, "passed", "failed" or "skipped", and what it said."""

    piece: int
    test: str
    result: str
    message: str = ""
    traceback: str = ""


def pytest_arguments(number: int, folder: Path, report: Path) -> list[str]:
    """What pytest needs to run the exercise tests of a week on the files in `folder`.

    A file of tests that has none for an exercise is left out: it may import libraries that take seconds to load.
    """
    files = sorted((ROOT / "tests").glob(f"test_week{number:02}*.py"))
    files = [str(path) for path in files if "mark.exercise(" in path.read_text(encoding="utf-8")]
    options = ["-m", "exercise", "--tb=native", "-p", "no:cacheprovider", "-p", "shared.exercise_clock"]
    return [*files, *options, f"--rootdir={ROOT}", f"--junitxml={report}", f"--mine={folder.resolve()}"]


def read_report(report: Path, folder: Path) -> list[Outcome]:
    """The outcomes in pytest's JUnit report; tests/conftest.py puts the number of the piece into it.

    Raises:
        CourseError: the tests could not be imported, as a rule because of an error in the learner's file.
    """
    outcomes = []
    for case in ElementTree.parse(report).iter("testcase"):
        bad = next((child for child in case if child.tag in ("failure", "error")), None)
        message, traceback = (bad.get("message", ""), bad.text or "") if bad is not None else ("", "")
        if message == "collection failure":
            last = traceback.strip().splitlines()[-1].removeprefix("E").strip()
            raise CourseError(f"{place(traceback, folder) or case.get('name')}: {last} (no test could start).")
        if wrapped := re.fullmatch(r'failed on \w+ with "(.*)"', message, re.DOTALL):
            message = wrapped[1]
        result = "failed" if bad is not None else "skipped" if case.find("skipped") is not None else "passed"
        for mark in case.iterfind("properties/property[@name='exercise']"):
            outcomes.append(Outcome(int(mark.get("value")), case.get("name"), result, message, traceback))
    return outcomes


def place(traceback: str, folder: Path) -> str:
    """`exercises/week01/model.py:41`: the last line of the learner's that a traceback passes, or nothing."""
    lines = re.findall(rf'\b{re.escape(folder.name)}[\\/]([\w.]+\.py)(?:", line |:)(\d+)', traceback)
    return f"{shown(folder / lines[-1][0])}:{lines[-1][1]}" if lines else ""


def helpful(outcome: Outcome, folder: Path) -> str:
    """What a failed test says, in one line: the first three lines of its message, and where."""
    lines = [line.strip() for line in outcome.message.removeprefix("AssertionError:").splitlines()]
    lines = [line for line in lines if line and not PYTEST_ITSELF.match(line)]
    said = textwrap.shorten("; ".join(lines[:3]) or "assertion without a message", 200, placeholder=" …")
    return f"{said} ({place(outcome.traceback, folder) or outcome.test})"


def stubs_in(path: Path) -> dict[int, str]:
    """{number: file:line} of the pieces whose `raise NotImplementedError("exercise …")` still stands in the file."""
    found = {}
    for text, line in unwritten(path):
        found.setdefault(int(UNWRITTEN.match(text)[1]), f"{shown(path)}:{line}")
    return found


def judge(todo: Iterable[Piece], folder: Path, outcomes: Iterable[Outcome]) -> dict[int, tuple[str, str]]:
    """{number: (status, why)} with status "passed", "failed", "waits" (for another piece) or "not written"."""
    stubs, verdicts = {}, {}
    for piece in todo:
        path = folder / piece.file
        stubs |= stubs_in(path) if path.is_file() else {piece.number: f"{shown(path)} is not there"}
    for number in sorted({piece.number for piece in todo}):
        mine = [outcome for outcome in outcomes if outcome.piece == number]
        failed = [outcome for outcome in mine if outcome.result == "failed"]
        stopped = {int(cut[1]): outcome for outcome in failed if (cut := UNWRITTEN.match(outcome.message))}
        wrong = [outcome for outcome in failed if not UNWRITTEN.match(outcome.message)]
        passed = sum(outcome.result == "passed" for outcome in mine)
        if number in stubs or number in stopped:
            where = stubs.get(number) or place(stopped[number].traceback, folder)
            verdicts[number] = "not written", f"not written yet ({where})"
        elif wrong:
            verdicts[number] = "failed", f"failed: {helpful(wrong[0], folder)}"
        elif stopped:
            verdicts[number] = "waits", f"waits for exercise {min(stopped)}"
        elif not passed:
            verdicts[number] = "failed", "failed: none of its tests ran here"
        else:
            verdicts[number] = "passed", f"passed ({passed} test{'s' if passed > 1 else ''})"
    return verdicts


def run_tests(number: int, folder: Path) -> list[Outcome]:
    """Runs the exercise tests of a week on the learner's files, in a process of their own.

    Raises:
        subprocess.TimeoutExpired: they did not end within RUN_SECONDS; the process has been killed.
        CourseError: they did not start, or ended before the last one.
    """
    with tempfile.TemporaryDirectory() as temporary:
        report, note = Path(temporary) / "report.xml", Path(temporary) / "note.txt"
        command = [sys.executable, "-m", "pytest", *pytest_arguments(number, folder, report)]
        env = {name: v for name, v in os.environ.items() if name not in ("COURSE_RECORD_TESTS", "PYTEST_ADDOPTS")}
        env["COURSE_CHECK_NOTE"] = str(note)
        done = subprocess.run(
            command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=RUN_SECONDS
        )
        said, code = note.read_text(encoding="utf-8") if note.is_file() else "", done.returncode
        if said and not report.is_file():
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise CourseError(f"the tests ended early, with {how}, in {said}: os._exit or a crash in your code?")
        if said.startswith("a thread"):
            print(f"note: {said}")
        if not report.is_file():
            last = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()[-1:]
            raise CourseError(f"the tests of week {number} did not start: {' '.join(last)}")
        return read_report(report, folder)


def check(week: Path, folder: Path) -> bool:
    """Tests the learner's files, prints a line per piece, and writes `progress.json`. True when all of it passed."""
    number, todo = number_of(folder.name), pieces(week)
    for path in written_in(folder):
        parse(read(path), shown(path))  # before any test: the clearest line there is for a typing mistake
    verdicts = judge(todo, folder, [])
    if any(status != "not written" for status, _ in verdicts.values()):
        print(f"testing {shown(folder)} (some seconds) ...", file=sys.stderr, flush=True)
        try:
            verdicts = judge(todo, folder, run_tests(number, folder))
        except subprocess.TimeoutExpired:
            cause = "a loop in your code never ends, or something else takes all of the machine: then try again"
            print(f"{MARKS['failed']} the tests did not end within {RUN_SECONDS} s: {cause}")
            return False
    titles: dict[int, list[str]] = {}
    for piece in todo:
        titles.setdefault(piece.number, []).append(piece.title)
    names = {n: first + (f", and {len(more)} more" if more else "") for n, (first, *more) in titles.items()}
    width = max(map(len, names.values()))
    for piece, (status, why) in verdicts.items():
        print(f"{MARKS[status]} {piece} {names[piece]:{width}}   {why}")
    write_json(folder / "progress.json", {str(piece): status for piece, (status, _) in verdicts.items()})
    statuses = {status for status, _ in verdicts.values()}
    if statuses == {"passed"}:
        flags = " ".join(filter(None, ["--mine", plan.week(number).mine]))
        print(f"\nWell done: the core of week {number} is yours. See it learn: ./course train {number} {flags}")
    elif "failed" in statuses:
        print(f"\nThe whole story: ./course test {number} -m exercise --mine {shown(folder)}")
    return statuses == {"passed"}
