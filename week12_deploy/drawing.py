"""This week's pictures: variants of the embedder, bytes that overflow, a bucket, batches, the service under load."""

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
        for row, value in enumerate(worst):  # points, not bars: what matters lies close to 1, far from 0
            left.plot(value, row, "o", color=BLUE if value >= 0.98 else VERMILLION)
        left.axvline(0.98, color=INK, linewidth=0.7, linestyle="--", label="0.98: asked of int8")
        left.legend(fontsize=8, loc="center left")
        left.set_yticks(range(len(names)), [f"{name}  {value:.4f}" for name, value in zip(names, worst, strict=True)])
        left.set(
            title="smallest cosine with torch's vector", xlim=(min(worst) - 0.04, 1.005), ylim=(-0.5, len(names) - 0.5)
        )
        left.invert_yaxis()
        both = ["torch", *names]
        bars = right.barh(both, [times[name]["ms"] for name in both], color=[GREY] + [GREEN] * len(names))
        right.bar_label(bars, fmt="%.1f", fontsize=8, padding=3)
        right.set(title="ms a short question, one thread")
        right.margins(x=0.15)
        right.invert_yaxis()
        drawing.suptitle("The same embedder: four files, beside torch", **HEADING)


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
            axis.legend(fontsize=8, handlelength=4)
        left.set(title="answers a second", ylim=(0, None))
        right.set(title="ms to the whole answer", ylim=(0, None))
        drawing.suptitle("The service under load", **HEADING)


def overflow(path: Path, sums: Mapping[str, tuple[Any, Any]]) -> None:
    """What a processor makes of sums of products of bytes, over what they are: a panel for each kind of weights.

    Args:
        path: the picture.
        sums: {title: (exact, computed)}, whole numbers of one shape.
    """
    with figure(path, columns=len(sums), size=(8.4, 3.4)) as (drawing, axes):
        for axis, (title, (exact, found)) in zip(axes, sums.items(), strict=True):
            wrong = exact != found
            for which, colour, label in ((~wrong, BLUE, "right"), (wrong, VERMILLION, "wrong")):
                off = found[which] - exact[which]
                axis.plot(exact[which] / 1000, off / 1000, ".", ms=3, color=colour, label=label)
            axis.set(title=f"{title}: {wrong.mean():.0%} wrong", xlabel="what the sum is, thousands")
            axis.legend(fontsize=8)
        axes[0].set_ylabel("off by, thousands")
        for axis in axes:
            axis.set_ylim(axes[0].get_ylim())
        drawing.suptitle("Sums of 64 products of bytes, added up in pairs in 16 bits (AVX2 without VNNI)", **HEADING)


def bucket(path: Path, times: Sequence[float], tokens: Sequence[float], asked: Sequence[tuple[float, bool]]) -> None:
    """What is in a token bucket over the time, and which requests were let through.

    Args:
        path: the picture.
        times, tokens: of the line, in seconds.
        asked: (second, whether it was let through) of each request.
    """
    with figure(path, size=(6.4, 3.0)) as (_, axis):
        axis.plot(times, tokens, color=BLUE)
        for granted, colour, mark, label in ((True, GREEN, "o", "let through"), (False, VERMILLION, "x", "429")):
            at = [second for second, found in asked if found is granted]
            axis.plot(at, [-0.35] * len(at), mark, color=colour, label=label, clip_on=False)
        axis.set(xlabel="seconds", ylabel="tokens in the bucket", ylim=(-0.7, None), yticks=range(4))
        axis.set_title("2 tokens a second, 3 at most", **HEADING)
        axis.legend(fontsize=8, loc="upper right")


def batches(path: Path, callers: Sequence[tuple[float, float, float, int]]) -> None:
    """Who waited how long for which batch.

    Args:
        path: the picture.
        callers: (came, batch began, batch ended, number of the batch), in milliseconds.
    """
    colours = (BLUE, ORANGE, GREEN, VERMILLION)
    with figure(path, size=(6.4, 3.4)) as (_, axis):
        for row, (came, began, ended, number) in enumerate(callers):
            axis.plot([came, began], [row, row], color=GREY, linewidth=1.5, solid_capstyle="butt")
            colour = colours[number % len(colours)]
            axis.plot([began, ended], [row, row], color=colour, linewidth=4, solid_capstyle="butt")
            axis.plot(came, row, "o", ms=3, color=INK)
        axis.set(xlabel="milliseconds", ylabel="caller", yticks=[])
        axis.set_title("Callers of a micro-batcher: waiting (grey), and computed together", **HEADING)
        axis.invert_yaxis()
