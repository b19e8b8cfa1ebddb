"""A pytest plugin of `./course check N` and `./course hint N P`: tells, test by test and piece by piece, what came out.

It writes one JSON object a line to the standard output that pytest was started with, each behind a character that is in
no other output. A piece's tests run in the order of the file, simplest first, up to its first failure.

A test that does not end fails, with the line that it was in. The clock is the processor's, so that a machine that is
busy with other things fails nobody. Only where there is SIGPROF (not on Windows), and not inside a call into C; the
time limit for all tests together, in shared/exercise_check.py, holds everywhere.
"""

import ast
import json
import os
import signal
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest

from shared.exercise import UNWRITTEN, functions, shown
from shared.type_words import type_error

TEST_SECONDS = 30  # of processor time, summed over the threads; the tests take a second or two
MARK = "\x1e"
OUT = os.dup(1)  # before pytest takes the standard output for itself

over: set[int] = set()
"""The pieces of which a test has failed."""


def tell(**what: Any) -> None:
    """Sends one record to shared/exercise_check.py."""
    os.write(OUT, f"{MARK}{json.dumps(what)}\n".encode())


def pieces_of(item: pytest.Item) -> list[int]:
    """The numbers of the pieces that a test belongs to."""
    return [mark.args[0] for mark in item.iter_markers("exercise")]


def pytest_addoption(parser) -> None:
    parser.addoption("--pieces", default="", help="of the exercise tests only those of these pieces: 1,3")


def pytest_collection() -> None:
    """The tests import the learner's files."""
    over.clear()
    tell(at="the loading of your files")


def pytest_collectreport(report) -> None:
    if report.failed:
        tell(collection=report.nodeid, traceback=str(report.longrepr))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items) -> None:
    """The tests of the pieces that were asked for, piece by piece."""
    wanted = {int(number) for number in config.getoption("--pieces").split(",") if number}
    items[:] = sorted((item for item in items if wanted & set(pieces_of(item))), key=lambda item: max(pieces_of(item)))
    last = {number: item for item in items for number in pieces_of(item)}
    for item in items:
        item.last_of = [number for number, other in last.items() if other is item]


def pytest_runtest_setup(item) -> None:
    """Passes over what is behind a failure; starts the clock."""
    numbers = pieces_of(item)
    tell(at=f"{item.name} (exercise {', '.join(map(str, numbers))})")
    if over & set(numbers):
        pytest.skip("an earlier test of this exercise has failed")

    def time_is_up(*_) -> None:
        raise AssertionError(f"does not end within {TEST_SECONDS} s: a loop in your code never ends")

    if hasattr(signal, "SIGPROF"):
        signal.signal(signal.SIGPROF, time_is_up)
        signal.setitimer(signal.ITIMER_PROF, TEST_SECONDS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Sends how a test ended; behind the last one of a piece, that the piece is over."""
    report = yield
    if report.failed:
        over.update(pieces_of(item))
        item.ended = {"result": "failed", **failure(call.excinfo.value, Path(item.config.getoption("--mine")))}
    elif not hasattr(item, "ended") and (report.when == "call" or report.skipped):
        item.ended = {"result": "skipped" if report.skipped else "passed"}
    if report.when == "teardown":
        for piece in pieces_of(item):
            tell(piece=piece, test=item.name, **item.ended)
        for piece in item.last_of:
            tell(over=piece)
    return report


def pytest_runtest_teardown() -> None:
    """Stops the clock."""
    if hasattr(signal, "SIGPROF"):
        signal.setitimer(signal.ITIMER_PROF, 0)


def pytest_unconfigure() -> None:
    """Ends here, with everything told, where a thread that was left behind would keep the process alive."""
    tell(end=True)
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        tell(note="a thread that your code has started was still running at the end.")
        os._exit(1)


# ---------------------------------------------------------------- what a failed test says


def failure(error: BaseException, folder: Path) -> dict[str, Any]:
    """What is said of an exception: {message, place, code}; `place` is the last line of the learner's it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).parent == folder]
    place, code = (f"{shown(Path(own[-1].filename))}:{own[-1].lineno}", own[-1].line) if own else ("", "")
    if type(error).__name__ == "TypeCheckError":
        message, function = type_error(str(error))
        if " returns " in message:
            place, code = returning(function, folder, "returns None" not in message) or (place, code)
    elif isinstance(error, AssertionError) or (isinstance(error, NotImplementedError) and UNWRITTEN.match(str(error))):
        message = str(error)
    elif "does not require grad" in str(error):
        message = "what your code returns carries no gradient: .item(), .detach() or a new tensor has cut it off"
    else:
        message = f"{type(error).__name__}: {error}"
    return {"message": message, "place": place, "code": code or ""}


def returning(function: str, folder: Path, last: bool) -> tuple[str, str] | None:
    """(place, code) of the last `return` of `package.module.function`, or of its `def`; None where it is not there."""
    _, module, *qualified = function.split(".")
    path = folder / f"{module}.py"
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8-sig")
    node = functions(ast.parse(text)).get(".".join(qualified))
    if node is None:
        return None
    inner = [one for function in functions(node).values() for one in ast.walk(function)]
    returns = [one.lineno for one in ast.walk(node) if isinstance(one, ast.Return) and one not in inner]
    line = max(returns, default=node.lineno) if last else node.lineno
    return f"{shown(path)}:{line}", text.splitlines()[line - 1].strip()
