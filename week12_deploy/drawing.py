"""This week's pictures: the variants of the embedder, the service under load, how bytes overflow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.plots import BLUE, GREEN, GREY, HEADING, INK, VERMILLION, figure

Rows = Mapping[str, Mapping[str, Any]]


def variants(path: Path, rows: Rows, times: Rows) -> None:
    """How near each variant is to torch's vectors at worst, and how long a question takes with it."""
    names = list(rows)
    with figure(path, columns=2, size=(8.4, 3.0)) as (drawing, (left, right)):
        worst = [row["val_cosine"] for row in rows.values()]
        bars = left.barh(names, worst, color=[BLUE if value >= 0.98 else VERMILLION for value in worst])
        left.bar_label(bars, fmt="%.4f", fontsize=8, padding=3)
        left.axvline(0.98, color=INK, linewidth=0.7, linestyle="--")
        left.set(title="smallest cosine with torch's vector", xlim=(min(0.6, *worst) - 0.05, 1.09))
        left.invert_yaxis()
        both = ["torch", *names]
        bars = right.barh(both, [times[name]["ms"] for name in both], color=[GREY] + [GREEN] * len(names))
        right.bar_label(bars, fmt="%.1f", fontsize=8, padding=3)
        right.set(title="ms of one short question, one thread")
        right.margins(x=0.15)
        right.invert_yaxis()
        drawing.suptitle("The same embedder, kept in five ways", **HEADING)
