"""What a person sees while training (a bar), and what stays afterwards (metrics.jsonl, one line per log step)."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from shared.files import written_whole


class Lines(tqdm):
    """A bar for a terminal that does not say how wide it is, and for a file: a line now and then."""

    told: float | None = None

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Writes a line where the last one is long enough ago; tqdm asks more often than it is time for one."""
        now = time.monotonic()
        self.told = now if self.told is None else self.told  # nothing is to be told at the beginning
        if now - self.told > 0.9 * self.mininterval:  # tqdm's own clock may be a moment ahead
            self.told = now
            self.fp.write(" ".join(str(self).split()) + "\n")
            self.fp.flush()

    def clear(self, *_: Any, **__: Any) -> None:
        """A line that is written stays."""


def bar(total: int, done: int = 0, label: str = "", every: float = 10.0) -> tqdm:
    """A progress bar with rate and time left on stderr; where that is no terminal, a line a minute.

    Args:
        total: steps there are.
        done: how many of them were done before.
        label: the bar's name, as `training` or `baseline`.
        every: seconds between two lines, on a terminal without a width.
    """
    options = {"total": total, "initial": done, "desc": label, "leave": False}
    if not sys.stderr.isatty():
        every = 6 * every
    if not sys.stderr.isatty() or not _width():
        form = "{desc}: {n_fmt} of {total_fmt}, {rate_fmt}, {remaining} left{postfix}"
        return Lines(**options, ncols=100, mininterval=every, maxinterval=every, bar_format=form)
    return tqdm(**options, dynamic_ncols=True)


def _width() -> int:
    """Columns of the terminal behind stderr; 0 where it has none to tell (some containers' and editors')."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):  # no system's terminal: tqdm knows what to do
        return 80


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl. A last line that a crash cut short is left out."""
    rows = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


@contextmanager
def metrics_log(path: Path, resumed_at: int | None = None) -> Iterator[Any]:
    """Yields `log(step=…, loss=…)`, which appends one JSON line and flushes it.

    A resumed run goes on after `resumed_at`: lines of later steps, which will be computed again, are dropped first.
    """
    path = Path(path)
    if resumed_at is not None and path.exists():
        kept = [row for row in read_metrics(path) if row["step"] <= resumed_at]
        with written_whole(path) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    with path.open("a", encoding="utf-8") as file:

        def log(**values: Any) -> None:
            file.write(json.dumps(values) + "\n")
            file.flush()

        yield log
