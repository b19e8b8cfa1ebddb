"""This week's pictures: the variants of the embedder, the service under load, how bytes overflow."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.plots import BLUE, GREEN, GREY, HEADING, INK, ORANGE, VERMILLION, figure

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


def under_load(path: Path, rows: Mapping[str, Sequence[Any]]) -> None:
    """Answers a second, and how long they take, by the number of clients."""
    with figure(path, columns=2, size=(8.4, 3.2)) as (drawing, (left, right)):
        for (name, measured), colour in zip(rows.items(), (BLUE, ORANGE), strict=False):
            clients = [row.clients for row in measured]
            left.plot(clients, [row.per_second for row in measured], "o-", color=colour, label=name)
            for percent, style in ((50, "-"), (95, "--"), (99, ":")):
                times = [row.at(percent) for row in measured]
                label = f"{name} p{percent}" if name == "/ask" else None
                right.plot(clients, times, f"o{style}", ms=3, color=colour, label=label)
        for axis in (left, right):
            axis.set_xscale("log", base=2)
            axis.set(xlabel="clients at once", xticks=clients, xticklabels=clients)
            axis.legend(fontsize=8)
        left.set(title="answers a second", ylim=(0, None))
        right.set(title="ms to the whole answer", ylim=(0, None))
        drawing.suptitle("The service under load", **HEADING)
