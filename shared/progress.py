"""What a person sees while training (a bar), and what stays afterwards (metrics.jsonl, one line per log step)."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from shared.files import written_whole


def bar(total: int, done: int = 0, label: str = "") -> tqdm:
    """A progress bar with rate and time left on stderr; silent when stderr is not a terminal."""
    return tqdm(total=total, initial=done, desc=label, disable=not sys.stderr.isatty(), dynamic_ncols=True, leave=False)


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
