"""Finds pictures in a folder by text, by picture, or by both: `./course run 14 search FOLDER "a dog in the snow"`.

2:dog + beach.jpg - people      twice a dog, a picture of mine, and nobody on it
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week14_clip/search.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from annotated_types import Ge, Le
from jaxtyping import Float, Int

from shared import cli
from shared.config import Count
from shared.device import choose
from shared.errors import CourseError
from shared.pictures import is_picture, read_picture
from shared.terminal import printable
from week14_clip import sheet
from week14_clip.chroma import nearest
from week14_clip.index import Index
from week14_clip.trained import Encoder, Towers, Which, opened


@dataclass
class Config(Which):
    """The flags of search."""

    words: tyro.conf.Positional[tuple[str, ...]] = ()
    """A folder, and what to look for: a text, a picture's file, or a sum of them: "2:dog + beach.jpg - people"."""
    k: Count = 10
    """How many pictures to show."""
    f: Annotated[bool, tyro.conf.arg(aliases=["-f"])] = False
    """Paths only, one a line, for other programs."""
    same: bool = False
    """Show pictures of the folder that are nearly the same, instead of looking for something."""
    alike: Annotated[float, Ge(0.5), Le(1.0)] = 0.97
    """How alike two pictures are to be for --same: the cosine of the angle between them."""
    index: Literal["exact", "chroma"] = "exact"
    """exact compares with every picture; chroma, for folders of millions, with few of them, and may miss some."""
    sheet: str = ""
    """A PNG to draw what was found on, with its names."""
    run: str = ""
    """The run whose towers look (default: week 14's newest)."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""


def top_k(
    question: Float[np.ndarray, " dim"], matrix: Float[np.ndarray, "N dim"], k: int
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """The rows of the matrix that are most like the question, the most alike first, and how alike they are.

    Both have unit length, so a dot product is the cosine of the angle. Of equals the first row comes first. Where the
    matrix has fewer than k rows, all of them.
    """
    # exercise 2: top-k search
    # question (dim,), matrix (N, dim), k -> (rows, scores), both (min(k, N),): the numbers of the k rows with the
    # largest dot products, the largest first, of equals the first row first; and these dot products.
    # hint: all scores at once, by one product. To sort all of them downwards is right, if equals keep their order
    # (argsort can be asked for that). Sooner, for many rows: np.partition says how large the k-th largest is; what is
    # at least as large are few, so sort only these. (np.argpartition alone takes by chance from equals at the edge.)
    scores = matrix @ question  # (N,)
    if k < len(scores):
        smallest = np.partition(scores, len(scores) - k)[len(scores) - k]  # the k-th largest
        rows = np.flatnonzero(scores >= smallest)  # k of them, or more where the last ones are equal
    else:
        rows = np.arange(len(scores))
    rows = rows[np.argsort(-scores[rows], kind="stable")][:k]
    return rows, scores[rows]
    # end of exercise 2


def terms(text: str) -> list[tuple[float, str]]:
    """(weight, text or file) of a sum: "2:dog + beach.jpg - people" is (2, dog), (1, beach.jpg), (-1, people).

    A + or - counts where spaces stand around it: a T-shirt is no sum.

    Raises:
        CourseError: a term is empty. (What stands before a colon and is no number belongs to the text.)
    """
    found, sign = [], 1.0
    for number, part in enumerate(re.split(r"\s([+-])(?=\s)", f" {text.strip()} ")):
        if number % 2:
            sign = -1.0 if part == "-" else 1.0
            continue
        part = part.strip()
        if not part and number == 0 and text.strip()[:1] in ("+", "-"):
            continue  # it begins with a sign
        weight, colon, rest = part.partition(":")
        if colon and re.fullmatch(r"\d+(\.\d+)?", weight.strip()):
            part, factor = rest.strip(), float(weight)
        else:
            factor = 1.0
        if not part:
            raise CourseError(f'"{printable(text)}": a term of this sum is empty; for example: "2:dog + beach.jpg".')
        found.append((sign * factor, part))
    return found


def file_of(part: str, folder: Path | None) -> Path | None:
    """The picture that a term names, in the folder or elsewhere; None where it is a text.

    Raises:
        CourseError: it has the name of a picture, and there is none.
    """
    if folder is None or len(part) >= 250:  # longer is no name of a file
        return None
    if path := next((one for one in (folder / part, Path(part).expanduser()) if one.is_file()), None):
        return path
    if re.fullmatch(r"\S+\.(jpe?g|png|webp|gif|bmp|tiff?|heic)", part, re.IGNORECASE):
        raise CourseError(f"{printable(part)}: no such file, neither here nor in {folder}.")
    return None


def question(text: str, towers: Encoder, folder: Path | None) -> Float[np.ndarray, " dim"]:
    """The vector of a sum of texts and pictures: each has unit length before it is weighted, and so has the whole.

    A term that is the name of a picture's file, in the folder or elsewhere, stands for the picture. Without a folder
    none is: who asks from elsewhere names no files here.

    Raises:
        CourseError: a file is missing or damaged, or the terms cancel.
    """
    total = np.zeros(towers.dim, np.float32)
    for weight, part in terms(text):
        if path := file_of(part, folder):
            total += weight * towers.of_pictures([read_picture(path, least=towers.side)])[0]
        else:
            total += weight * towers.of_texts([part])[0]
    length = np.linalg.norm(total)
    if length < 1e-4:
        raise CourseError(f'"{printable(text)}": nothing is left of this sum; its terms cancel.')
    return (total / length).astype(np.float32)


def nearly_same(matrix: Float[np.ndarray, "N dim"], alike: float, block: int = 1024) -> list[tuple[int, int, float]]:
    """(row, other row, how alike) of all pairs that are at least so alike, the most alike first; block by block, for
    all pairs at once would not fit into memory."""
    found = []
    for start in range(0, len(matrix), block):
        scores = matrix[start : start + block] @ matrix[start:].T  # (block, N - start)
        rows, columns = np.nonzero(scores >= alike - 1e-6)
        found += [(start + int(row), start + int(column), float(scores[row, column]))
                  for row, column in zip(rows, columns, strict=True) if column > row]  # fmt: skip
    return sorted(found, key=lambda pair: (-round(pair[2], 5), pair[0], pair[1]))


def indexed(folder: Path, towers: Towers, quiet: bool = False) -> Index:
    """The folder's index, up to date."""
    name = sha256(str(folder.resolve()).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    index = Index(folder, towers.place / f"{name}.safetensors", towers.print, towers.dim)
    changes = index.update(towers.of_pictures, towers.side)
    if not quiet:
        print(f"{folder}: {len(index.names):,} pictures ({changes})")
        for name, why in index.wrong.items():
            print(f"  left out: {printable(why) or name}")
    return index


def table(index: Index, rows: Sequence[int], scores: Sequence[float]) -> str:
    """What was found, a line each."""
    names = index.names
    return "\n".join(
        f"{number:3d}  {score:6.3f}  {printable(names[row])}"
        for number, (row, score) in enumerate(zip(rows, scores, strict=True), 1)
    )


def main(cfg: Config) -> dict[str, Any]:
    """Finds pictures in a folder by what is on them. The folder is looked at once, and later on only what has changed.

    Returns {"paths", "scores"}; of --same {"pairs"}.
    """
    folder, text = Path(cfg.words[0]).expanduser() if cfg.words else None, " ".join(cfg.words[1:])
    if folder is None or (not text and not cfg.same):
        raise CourseError('what to look for, and where? For example: ./course run 14 search my_photos "a dog"')
    if not folder.is_dir():
        what = "a file" if folder.is_file() else "no such folder"
        raise CourseError(f"{folder}: {what}. First comes the folder, then what to look for.")
    for _, part in terms(text) if text else ():  # what is wrong with it is said before a folder is looked at
        file_of(part, folder)
    towers = opened(cfg, choose(cfg.device))
    if towers.run and not cfg.f:
        print(f"who looks: {towers.run.folder}")
    index = indexed(folder, towers, quiet=cfg.f)
    names = index.names
    if cfg.same:
        pairs = [(names[a], names[b], score) for a, b, score in nearly_same(index.matrix, cfg.alike)]
        for a, b, score in pairs:
            print(f"{a}\t{b}" if cfg.f else f"{score:6.3f}  {printable(a)}  =  {printable(b)}")
        if not pairs and not cfg.f:
            print(f"no two pictures are {cfg.alike:g} alike")
        return {"pairs": pairs}
    if is_picture(Path(text)) and not cfg.f:
        print(f"pictures like {text}")
    asked = question(text, towers, folder)
    if cfg.index == "chroma":
        rows, scores = nearest(index, asked, cfg.k)
    else:
        rows, scores = top_k(asked, index.matrix, cfg.k)
    paths = [str(folder / names[row]) for row in rows]
    labels = [f"{score:.3f} {name}" for score, name in zip(scores, (names[row] for row in rows), strict=True)]
    if cfg.sheet:
        sheet.save(Path(cfg.sheet).expanduser(), paths, labels, text)
        print(f"contact sheet: {cfg.sheet}", file=sys.stderr)  # not among the paths of -f
    if cfg.f:
        print("\n".join(paths))
    else:
        sheet.show(paths)
        print(table(index, rows.tolist(), scores.tolist()))
    return {"paths": paths, "scores": scores.tolist()}


if __name__ == "__main__":
    cli.launch(main, Config)
