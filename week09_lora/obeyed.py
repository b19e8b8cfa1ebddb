"""The picture of eval: of each family of tasks, who was exactly right before the tuning and after it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shared.plots import BLUE, GREY, INK, figure, short


def draw(path: Path, families: Sequence[tuple[str, float, float]], title: str) -> None:
    """A line a family, from the untuned model's share to the tuned one's.

    Args:
        path: of the PNG.
        families: (name, share before, share after), each share from 0 to 1.
        title: of the picture.
    """
    rows = sorted(families, key=lambda row: (row[2], row[1]))
    places = np.arange(len(rows))
    before, after = (np.array([100 * row[column] for row in rows]) for column in (1, 2))
    with figure(path, 1, 1, (8.0, max(2.6, 1.3 + 0.34 * len(rows)))) as (_, ax):
        ax.hlines(places, before, after, color=GREY, linewidth=1.5, zorder=1)
        ax.scatter(before, places, s=55, color=GREY, label="untuned", zorder=3)
        ax.scatter(after, places, s=55, color=BLUE, label="tuned", zorder=3)
        ax.set_yticks(places, [short(row[0]) for row in rows], color=INK)
        ax.set_xlim(-4, 104)
        ax.set_xlabel("answers that are exactly right, %")
        ax.set_title(title)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
