"""Ctrl-C waits for the end of the step; a second one does not. Before there is a step it is one word."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from shared.files import ROOT
from shared.interrupt import StopRequest

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def handlers():
    """Those from before a test, which must stand again after it."""
    before = [signal.getsignal(number) for number in SIGNALS]
    yield before
    after = [signal.getsignal(number) for number in SIGNALS]
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)
    assert after == before


def test_nothing_is_asked_at_first():
    with StopRequest() as stop:
        assert not stop


@pytest.mark.parametrize("number", SIGNALS)
def test_first_signal_asks(number):
    with StopRequest() as stop:
        signal.raise_signal(number)
        assert stop
    assert stop  # and afterwards one can still see it


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_second_signal_interrupts_at_once(first, second):
    with pytest.raises(KeyboardInterrupt), StopRequest() as stop:
        signal.raise_signal(first)
        assert stop
        signal.raise_signal(second)


def test_handlers_are_put_back_after_an_error(handlers):
    with pytest.raises(ZeroDivisionError), StopRequest():
        assert [signal.getsignal(number) for number in SIGNALS] != handlers
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in SIGNALS] == handlers


def test_ctrl_c_after_it_is_the_usual_one():
    with StopRequest():
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_one_inside_another():
    with StopRequest() as outer:
        with StopRequest() as inner:
            signal.raise_signal(signal.SIGINT)
        assert inner and not outer
        signal.raise_signal(signal.SIGINT)
        assert outer


def test_outside_the_main_thread_it_does_nothing(handlers):
    seen = []

    def work():
        with StopRequest() as stop:
            seen.append([signal.getsignal(number) for number in SIGNALS])
            seen.append(bool(stop))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [handlers, False]


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
@pytest.mark.parametrize("start", [["-m", "week99.train"], ["week99/train.py"]], ids=["module", "file"])
@pytest.mark.parametrize("blocked", [True, False], ids=["by the launcher", "plain"])
def test_ctrl_c_while_libraries_are_loaded_is_one_word(tmp_path, start, blocked):
    """The library sends it, and would swallow a KeyboardInterrupt; the launcher holds it back until it can be heard."""
    week = tmp_path / "week99"
    week.mkdir()
    (tmp_path / "shared").symlink_to(ROOT / "shared")
    (week / "__init__.py").write_text("import shared\n", encoding="utf-8")
    slow = "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException:\n    pass\n"
    (week / "library.py").write_text(slow, encoding="utf-8")
    guard = 'import sys\nif not __package__:\n    sys.path[0] = sys.argv[1]\n    __import__("shared.starting")\n'
    (week / "train.py").write_text(f"{guard}import week99.library\nprint('not reached')\n", encoding="utf-8")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT} if blocked else set())
    try:
        done = subprocess.run([sys.executable, *start, tmp_path], cwd=tmp_path, capture_output=True, encoding="utf-8")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped.\n")
