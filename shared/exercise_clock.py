"""A pytest plugin of `./course check N`: a test that does not end fails, with the line that it was in.

The clock is the processor's, so that a machine that is busy with other things fails nobody. Only where there is SIGPROF
(not on Windows), and not inside a single long call into C; the time limit for all tests together, in
shared/exercise_check.py, holds everywhere.
"""

import os
import signal
import threading
from pathlib import Path

TEST_SECONDS = 30  # of processor time, summed over the threads; the tests take a second or two

endless: set[int] = set()
"""The pieces a test of which did not end: their other tests need not wait as long again."""


def note(line: str) -> None:
    """Writes down how far the tests are, for shared/exercise_check.py to tell where they end early."""
    if "COURSE_CHECK_NOTE" in os.environ:
        Path(os.environ["COURSE_CHECK_NOTE"]).write_text(line, encoding="utf-8")


def pytest_collection() -> None:
    """The tests import the learner's files."""
    note("the loading of your files")


def pytest_unconfigure() -> None:
    """Ends here, with all reports written, where a thread that was left behind would keep the process alive."""
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        note("a thread that your code has started was still running at the end.")
        os._exit(1)


def pytest_runtest_setup(item) -> None:
    """Starts the clock of a test; fails at once where another test of the same piece did not end."""
    numbers = {mark.args[0] for mark in item.iter_markers("exercise")}
    note(f"{item.name} (exercise {', '.join(map(str, sorted(numbers)))})")

    def time_is_up(*_) -> None:
        endless.update(numbers)
        raise AssertionError(f"does not end within {TEST_SECONDS} s: a loop in your code never ends")

    if numbers & endless:
        raise AssertionError("not tried: an earlier test of this exercise did not end")
    if hasattr(signal, "SIGPROF"):
        signal.signal(signal.SIGPROF, time_is_up)
        signal.setitimer(signal.ITIMER_PROF, TEST_SECONDS)


def pytest_runtest_teardown() -> None:
    """Stops the clock."""
    if hasattr(signal, "SIGPROF"):
        signal.setitimer(signal.ITIMER_PROF, 0)
