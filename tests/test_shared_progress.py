"""The bar, the lines where there is no room for one, and the metrics log."""

import io
import json
import os
import sys
from weakref import WeakSet

import pytest

from shared import progress
from shared.progress import bar, metrics_log, read_metrics


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    """Seconds of ours, for our lines and for tqdm's own clock."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(progress.tqdm, "monitor_interval", 0)  # no thread that looks at the real one


@pytest.fixture
def stderr(monkeypatch):
    """stderr(columns) is a terminal of so many columns; of none where it does not say (0) or is no real one (None)."""

    def make(columns=None):
        written = Terminal()
        if columns is not None:
            written.fileno = lambda: 2
            monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((columns, 0)))
        monkeypatch.setattr(sys, "stderr", written)
        monkeypatch.setattr(progress.tqdm, "_instances", WeakSet())  # a bar that others left open would shift ours
        return written

    return make


def test_a_file_gets_a_line_a_minute(monkeypatch):
    written, clock = io.StringIO(), Clock(monkeypatch)
    monkeypatch.setattr(sys, "stderr", written)
    with bar(100, label="training") as shown:
        shown._time = lambda: clock.now
        shown.start_t = shown.last_print_t = clock.now
        for _ in range(100):
            clock.now += 1.5
            shown.update()
    assert written.getvalue().splitlines() == [f"training: {n} of 100, 1.50s/it, {left} left"
                                               for n, left in ((40, "01:30"), (80, "00:30"))]  # fmt: skip


def test_a_file_gets_no_line_of_what_is_soon_over(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with bar(3, label="training") as shown:
        for _ in range(3):
            shown.update()
        shown.set_postfix(loss="0.1")
    assert written.getvalue() == ""


def test_bar_on_a_terminal_goes_on_where_the_run_stopped(stderr):
    written = stderr()
    with bar(8, done=4, label="training") as shown:
        shown.set_postfix(loss="0.1234")
    assert "training:  50%" in written.getvalue()
    assert "4/8" in written.getvalue()
    assert "loss=0.1234" in written.getvalue()
    assert "\n" not in written.getvalue(), "it stays in its line"


def test_bars_bear_their_names(stderr):
    written = stderr()
    for name in ("training", "baseline: logistic regression", "peer"):
        with bar(2, label=name) as shown:
            shown.update()
        assert f"{name}:   0%" in written.getvalue()


def test_a_terminal_without_a_width_gets_a_line_now_and_then(stderr, monkeypatch):
    written, clock = stderr(0), Clock(monkeypatch)
    with bar(100, label="training", every=10.0) as shown:
        shown._time = lambda: clock.now  # tqdm's
        shown.start_t = shown.last_print_t = clock.now
        for step in range(1, 101):
            clock.now += 0.5
            shown.update()
            if step % 10 == 0:
                shown.set_postfix({"loss": f"{1 / step:.4f}"})  # an epoch's end is no reason for a line of its own
    lines = written.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == [f"training: {n} of 100" for n in (20, 40, 60, 80, 100)]
    assert lines[1] == "training: 40 of 100, 2.00it/s, 00:30 left, loss=0.0333"
    assert "\r" not in written.getvalue()


def test_what_takes_a_moment_gets_no_line(stderr, monkeypatch, capsys):
    written, clock = stderr(0), Clock(monkeypatch)
    with bar(3, done=1, label="baseline") as shown:
        for _ in range(2):
            clock.now += 1
            shown.update()
            shown.set_postfix(loss="0.1")
            shown.write("epoch 1")  # as the log's rows are told
    assert written.getvalue() == "" and capsys.readouterr().out == "epoch 1\n" * 2


@pytest.mark.parametrize("trouble", [OSError("no terminal behind it"), ValueError("closed")])
def test_a_terminal_that_cannot_be_asked_gets_a_bar(stderr, monkeypatch, trouble):
    written = stderr(0)

    def refuse(number):
        raise trouble

    monkeypatch.setattr(os, "get_terminal_size", refuse)
    with bar(8, done=4, label="training"):
        pass
    assert "training:  50%" in written.getvalue()


def test_every_line_is_on_disk_at_once(path):
    with metrics_log(path) as log:
        for step in (1, 2, 3):
            log(step=step, loss=1 / step)
            assert len(path.read_text(encoding="utf-8").splitlines()) == step
    assert path.read_text(encoding="utf-8").splitlines()[1] == '{"step": 2, "loss": 0.5}'


def test_log_appends(path):
    for step in (1, 2):
        with metrics_log(path) as log:
            log(step=step)
    assert read_metrics(path) == [{"step": 1}, {"step": 2}]


def test_numbers_come_back_exactly(path):
    with metrics_log(path) as log:
        log(step=1, loss=0.1 + 0.2, name="größer")
    assert read_metrics(path) == [{"step": 1, "loss": 0.1 + 0.2, "name": "größer"}]


@pytest.mark.parametrize(("resumed_at", "kept"), [(0, []), (20, [10, 20]), (25, [10, 20]), (30, [10, 20, 30])])
def test_resumed_run_drops_what_it_will_compute_again(path, resumed_at, kept):
    with metrics_log(path) as log:
        for step in (10, 20, 30):
            log(step=step)
    with metrics_log(path, resumed_at=resumed_at) as log:
        log(step=99)
    assert [row["step"] for row in read_metrics(path)] == [*kept, 99]
    assert list(path.parent.iterdir()) == [path]


def test_resumed_run_without_a_log(path):
    with metrics_log(path, resumed_at=5) as log:
        log(step=6)
    assert read_metrics(path) == [{"step": 6}]


@pytest.mark.parametrize("cut", ["{", '{"step"', '{"step": 3, "loss": 0.', '{"step": 3, "lo'])
def test_last_line_that_a_crash_cut_short(path, cut):
    path.write_text(json.dumps({"step": 1}) + "\n" + json.dumps({"step": 2}) + "\n" + cut, encoding="utf-8")
    assert read_metrics(path) == [{"step": 1}, {"step": 2}]
    with metrics_log(path, resumed_at=2) as log:
        log(step=3)
    assert path.read_text(encoding="utf-8") == '{"step": 1}\n{"step": 2}\n{"step": 3}\n'


def test_log_is_closed_after_an_error(path):
    with pytest.raises(KeyboardInterrupt), metrics_log(path) as log:
        log(step=1)
        raise KeyboardInterrupt
    assert read_metrics(path) == [{"step": 1}]
    with pytest.raises(ValueError, match="closed file"):
        log(step=2)
