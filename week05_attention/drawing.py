"""The week's pictures: what was looked at for each word, quality over length, attention over training."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from shared.plots import BLUE, COLOURS, GREY, HEADING, figure

Map = tuple[list[str], list[str], Float[np.ndarray, "words source"]]
"""The words of a source, of its translation, and the weights; the source's </s> may have a last column of its own."""
SHADES = " ░▒▓█"


def maps(path: Path, several: Sequence[Map], titles: Sequence[str] = (), columns: int = 3) -> None:
    """Alignment maps: a row a written word, a column a word of the source, the darker the more it was looked at."""
    columns = min(columns, len(several))
    rows = -(-len(several) // columns)
    size = (4.4 * columns, 3.9 * rows)
    with figure(path, rows=rows, columns=columns, size=size) as (_, axes):
        cells = np.atleast_1d(np.asarray(axes, dtype=object)).flatten()
        for at, (axis, (source, words, weights)) in enumerate(zip(cells, several, strict=False)):
            axis.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
            names = [*source, "(end)"][: weights.shape[1]]
            axis.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
            axis.set_yticks(range(len(words)), words, fontsize=8)
            axis.grid(visible=False)
            if titles:
                axis.set_title(titles[at], **HEADING)
        for axis in cells[len(several) :]:
            axis.axis("off")


def by_length(path: Path, tables: Mapping[str, Sequence[tuple[tuple[int, int], int, float]]], title: str) -> None:
    """BLEU by the length of the source: {name: [((fewest, most), sentences, BLEU)]}, a line for each."""
    with figure(path, size=(6.4, 3.6)) as (_, axis):
        for (name, table), colour in zip(tables.items(), (BLUE, GREY, *COLOURS[1:]), strict=False):
            middles = [(low + high) / 2 for (low, high), _, _ in table]
            axis.plot(middles, [score for *_, score in table], color=colour, marker="o", label=name)
        axis.set(title=title, xlabel="words of the source", ylabel="BLEU", ylim=(0, None))
        axis.legend()


def in_terminal(source: Sequence[str], words: Sequence[str], weights: Float[np.ndarray, "words source"]) -> str:
    """The map in characters: a row a written word; the columns are numbered, and the numbers explained below.

    The last column is the end of the sentence. Of a row that is spread so thin that no square would show, one does.
    """
    room, names = max(map(len, words)), [*source, "(end)"][: weights.shape[1]]
    head = " " * (room + 2) + "".join(f"{number:>3}" for number in range(1, len(names) + 1))
    lines = [head]
    for word, row in zip(words, weights, strict=True):
        levels = [min(4, int(5 * share)) for share in row]
        levels[int(row.argmax())] = max(1, *levels)
        shades = "".join(" " + 2 * SHADES[level] for level in levels)
        lines.append(f"{word:>{room}}  {shades}".rstrip())
    legend = "  ".join(f"{number} {word}" for number, word in enumerate(names, 1))
    return "\n".join([*lines, "", legend])
