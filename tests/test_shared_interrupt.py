"""Ctrl-C waits for the end of the step; a second one does not."""

import signal
import threading

import pytest

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
