"""One look for every picture: a light card that reads on a white page and on a dark one, colours that colour-blind
people tell apart (Okabe and Ito 2008), and small files."""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from shared.files import written_whole
from shared.terminal import is_share

BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, BLACK, GREY = COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#24292F", "#6B7280",
)  # fmt: skip
PAPER, INK, FAINT = "#FBFAF6", "#24292F", "#D8D6CF"

HEADING = {"x": 0.01, "ha": "left", "fontweight": "bold", "fontsize": 11}

Pictures = UInt8[np.ndarray, "n H W *C"]
Numbers = Sequence[int | float] | np.ndarray

_STYLE = {
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.edgecolor": "#8B8F94",
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "font.size": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "figure.constrained_layout.use": True,
    "text.parse_math": False,
}


def short(text: str) -> str:
    """A class or a file as it stands in a picture: on one line, and no longer than a picture can bear."""
    text = " ".join(text.splitlines())
    return text if len(text) <= 32 else f"{text[:31]}…"


@contextmanager
def _text_as_it_is() -> Iterator[None]:
    """Everything is drawn as it is written: a name with $ in it is no formula (the powers on a log axis are), and what
    is no text at all, of a file's name in another encoding, is a question mark."""
    from matplotlib.text import Text

    set_text = Text.set_text

    def set_as_it_is(self: Text, text: Any) -> None:
        text = "" if text is None else str(text).encode("utf-8", "replace").decode("utf-8")
        self.set_parse_math(text.startswith(r"$\mathdefault{"))
        set_text(self, text)

    Text.set_text = set_as_it_is
    try:
        yield
    finally:
        Text.set_text = set_text


@contextmanager
def figure(
    path: Path, rows: int = 1, columns: int = 1, size: tuple[float, float] = (6.4, 3.6)
) -> Iterator[tuple[Any, Any]]:
    """Yields (figure, axes) in the house style and saves the picture to `path` at the end, whole or not at all.

    Args:
        path: where the PNG goes.
        rows, columns: the grid of axes; a single one comes as itself, more as an array, as from plt.subplots.
        size: width and height in inches, at 120 pixels an inch.
    """
    os.environ["MPLBACKEND"] = "Agg"  # draws into files; needs no screen
    import matplotlib
    import matplotlib.pyplot as plt
    from cycler import cycler

    plt.switch_backend("Agg")
    with plt.rc_context(), _text_as_it_is():
        matplotlib.rcdefaults()  # whatever the user's matplotlibrc says: LaTeX, other fonts, another size
        matplotlib.rcParams.update(_STYLE | {"axes.prop_cycle": cycler(color=COLOURS)})
        drawing, axes = plt.subplots(rows, columns, figsize=size)
        try:
            yield drawing, axes
            with written_whole(Path(path)) as temporary:
                with warnings.catch_warnings():  # of letters that the font lacks: a box stands for each
                    warnings.filterwarnings("ignore", "Glyph .* missing from")
                    drawing.savefig(temporary, format="png", dpi=120)
                _shrink(temporary)
        finally:
            plt.close(drawing)


def _shrink(path: Path) -> None:
    """Reduces the PNG to 256 colours, which a plot does not miss: a quarter of the size."""
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.save(path, format="PNG", optimize=True)


def band(axes: Any, x: Numbers, runs: Sequence[Numbers], label: str, **line: Any) -> None:
    """Draws the mean over several runs (seeds) as a line and their spread, smallest to largest, as a band around it."""
    columns = list(zip(*runs, strict=True))
    (drawn,) = axes.plot(x, [sum(column) / len(column) for column in columns], label=label, **line)
    axes.fill_between(
        x, list(map(min, columns)), list(map(max, columns)), color=drawn.get_color(), alpha=0.18, linewidth=0
    )


def curves(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    metric: str = "val_accuracy",
    baseline: tuple[str, float] | None = None,
) -> None:
    """Both losses over the epochs, and the metric beside them, with a line where a baseline's (name, value) is. Where
    the losses part, learning by heart begins."""
    epochs = [row["epoch"] for row in rows]
    scale, unit = (100, " (%)") if is_share(metric) else (1, "")
    title = metric.replace("val_", "validation ").replace("_", " ").capitalize() + unit
    point = {"marker": "o"} if len(epochs) == 1 else {}  # a line of one point cannot be seen
    with figure(path, columns=2, size=(8.0, 3.2)) as (_, (left, right)):
        left.plot(epochs, [row["train_loss"] for row in rows], label="training", color=BLUE, **point)
        left.plot(epochs, [row["val_loss"] for row in rows], label="validation", color=ORANGE, **point)
        left.set(title="Loss", xlabel="epoch")
        left.legend()
        right.plot(epochs, [scale * row[metric] for row in rows], color=ORANGE, **point)
        if baseline:
            right.axhline(scale * baseline[1], color=GREY, linestyle="--", linewidth=1.2, label=short(baseline[0]))
            right.legend()
        right.set(title=title, xlabel="epoch")
        for axes in (left, right):
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def images(axes: Any, picture: Any, title: str = "", **options: Any) -> None:
    """Shows one image without ticks or grid, with a small title."""
    axes.imshow(picture, **{"cmap": "gray", "interpolation": "nearest"} | options)
    axes.set_axis_off()
    if title:
        axes.set_title(title, fontsize=8, fontweight="normal", loc="center")


def confusion(path: Path, matrix: Int[np.ndarray, "classes classes"], classes: Sequence[str]) -> None:
    """Who is taken for whom: rows are the true classes, columns what was thought; only what is wrong has a colour."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    side, classes = max(4.6, 0.42 * len(classes) + 1), list(map(short, classes))
    with figure(path, size=(side + 0.6, side)) as (_, axis):
        axis.imshow(wrong, cmap="Oranges", vmin=0, vmax=max(1, wrong.max()))
        axis.set(title="Mistakes: true class (row) taken for (column)", xlabel="thought to be", ylabel="is")
        axis.set_xticks(range(len(classes)), classes, rotation=0 if max(map(len, classes)) < 3 else 60)
        axis.set_yticks(range(len(classes)), classes)
        axis.grid(False)
        for row, column in np.argwhere(matrix):
            shade = wrong[row, column] > 0.6 * max(1, wrong.max())
            colour = GREY if row == column else ("white" if shade else INK)
            axis.text(column, row, str(matrix[row, column]), ha="center", va="center", fontsize=8, color=colour)


def mistakes(path: Path, pictures: Pictures, titles: Sequence[str], cmap: str = "gray") -> None:
    """Pictures with a title above each, at most 24 of them, in the order given.

    Args:
        path: where the PNG goes.
        pictures: (n, H, W) grey, or (n, H, W, 3) in colour; bytes.
        titles: one for each, as "cat → dog  97%": what it is, what was thought, and how surely.
        cmap: matplotlib's colours for grey ones.
    """
    with figure(path, rows=3, columns=8, size=(8.4, 4.5)) as (drawing, axes):
        title = "Surest mistakes: what it is → what was thought" if titles else "There was no mistake"
        drawing.suptitle(title, **HEADING)
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, picture, title in zip(axes.flat, pictures, titles, strict=False):
            images(axis, picture, "\n→ ".join(map(short, title.split(" → "))), cmap=cmap)
            axis.title.set_fontsize(7)
