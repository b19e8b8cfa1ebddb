"""The bar and the metrics log."""

import io
import json
import sys

import pytest

from shared.progress import bar, metrics_log, read_metrics


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_bar_is_silent_when_not_on_a_terminal(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with bar(3, label="training") as progress:
        for _ in range(3):
            progress.update()
        progress.set_postfix(loss="0.1")
    assert written.getvalue() == ""


def test_bar_on_a_terminal_goes_on_where_the_run_stopped(monkeypatch):
    written = Terminal()
    monkeypatch.setattr(sys, "stderr", written)
    with bar(8, done=4, label="training") as progress:
        progress.set_postfix(loss="0.1234")
    assert "training:  50%" in written.getvalue()
    assert "4/8" in written.getvalue()
    assert "loss=0.1234" in written.getvalue()


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
