"""What a painter has painted, on sheets: texts in rows; guidance, steps or training from left to right."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from week14_clip.painter import Painter, Tokens

Painted = UInt8[Tensor, "N 3 side side"]
WEIGHTS = (0.0, 1.0, 2.0, 4.0, 8.0)
STEPS = (2, 5, 10, 25, 100)


def grid(path: Path, rows: Sequence[str], columns: Sequence[str], painted: Sequence[Painted]) -> None:
    """A row for each text, a column for each of `painted`, which have a picture for every row."""
    from shared.plots import figure, images, short

    with figure(path, len(rows), len(columns), size=(1.5 + 0.92 * len(columns), 0.3 + 0.92 * len(rows))) as (_, axes):
        for at, line in enumerate(np.asarray(axes).reshape(len(rows), len(columns))):
            for axis, title, column in zip(line, columns, painted, strict=True):
                images(axis, column[at].permute(1, 2, 0).numpy(), title if at == 0 else "")  # (side, side, 3)
            place = {"ha": "right", "va": "center", "fontsize": 8, "transform": line[0].transAxes}
            line[0].text(-0.08, 0.5, short(rows[at]).replace(" ", "\n", 1), **place)


def of_guidance(path: Path, painter: Painter, texts: Tokens, names: Sequence[str], steps: int, seed: int) -> None:
    """The same noise under more and more guidance."""
    start = painter.start(1, seed).expand(len(texts), -1, -1, -1)
    grid(path, names, [f"w = {w:g}" for w in WEIGHTS], [painter.paint(texts, start, w, steps) for w in WEIGHTS])


def of_steps(path: Path, painter: Painter, texts: Tokens, names: Sequence[str], weight: float, seed: int) -> None:
    """The same noise, in more and more steps."""
    start, steps = painter.start(1, seed).expand(len(texts), -1, -1, -1), [n for n in STEPS if n <= painter.noise.T]
    titles = [f"{n} step{'s' * (n > 1)}" for n in steps]
    grid(path, names, titles, [painter.paint(texts, start, weight, n) for n in steps])
