"""Drawn charts to train on, to choose by and to test on; each part has its own themes, palettes, fonts and words.

charts = load(Sizes(1200, 120, 300))      # Splits of cases: a case is a spec, and is drawn when it is needed
stock = drawn(charts.train.items)          # as the network sees them; kept on disk, drawn once
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from shared.files import written_whole
from shared.parallel import cores, in_processes
from shared.splits import Part, Splits
from week16_capstone import draw, styles
from week16_capstone.model import HIGH, KINDS, MARKS, WIDE
from week16_capstone.styles import Spec

CHUNK = 50  # charts of a job


@dataclass(frozen=True)
class Case:
    """A chart that can be drawn."""

    spec: Spec

    @property
    def key(self) -> str:
        return repr(self.spec)

    @property
    def truth(self) -> str:
        return repr(self.spec.numbers)

    @cached_property
    def drawn(self) -> draw.Drawn:
        """It, as a bitmap with its words and its truth."""
        return draw.draw(self.spec)

    @property
    def kind(self) -> int:
        """What the network is to call it, a number of KINDS."""
        spec = self.spec
        name = spec.fault or ("lying bar" if spec.horizontal else spec.kind)
        return KINDS.index(name)


def cases(part: styles.Part, count: int, **wanted: Any) -> tuple[Case, ...]:
    """The first so many charts of a part: always the same ones. `wanted` as in styles.sample."""
    number = styles_of(part)
    return tuple(Case(styles.sample(np.random.default_rng([16, number, n]), part, **wanted)) for n in range(count))


def styles_of(part: styles.Part) -> int:
    return ("train", "val", "test").index(part)


def load(train: int, val: int, test: int = 0) -> Splits[Case]:
    """Charts in three parts, so many of each."""
    parts = (Part(cases(name, count)) for name, count in (("train", train), ("val", val), ("test", test)))
    return Splits("drawn charts", *parts, own_test=True, synthetic=True)


# ---------------------------------------------------------------- as the network sees them


def fitted(picture: Any) -> tuple[UInt8[np.ndarray, "H W 3"], float]:
    """A picture brought to the network's size without being stretched, in its upper left corner; and by how much."""
    scale = min(WIDE / picture.width, HIGH / picture.height)
    wide, high = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    small = np.asarray(picture.convert("RGB").resize((wide, high), Image.Resampling.BOX if scale < 1 else None))
    back = np.median(np.concatenate([small[0], small[-1]]), axis=0)
    sheet = np.empty((HIGH, WIDE, 3), np.uint8)
    sheet[:] = back
    sheet[:high, :wide] = small
    return sheet, scale


@dataclass(frozen=True)
class Stock:
    """Charts as arrays: pictures, their kinds, and of each the places of its marks in the network's pixels."""

    pictures: UInt8[np.ndarray, "N H W 3"]
    kinds: Int[np.ndarray, " N"]
    marks: tuple[dict[str, Float[np.ndarray, "_ 2"]], ...]

    def __len__(self) -> int:
        return len(self.kinds)


def small(case: Case) -> tuple[bytes, dict[str, Any]]:
    """A chart drawn and brought to the network's size: a PNG, and its marks."""
    one = draw.draw(case.spec, words=False)
    sheet, scale = fitted(one.picture)
    held = io.BytesIO()
    Image.fromarray(sheet).save(held, "PNG", compress_level=1)
    return held.getvalue(), {name: places * scale for name, places in one.marks.items()}


def several(chunk: Sequence[Case]) -> list[tuple[bytes, dict[str, Any]]]:
    return [small(case) for case in chunk]


def drawn(items: Sequence[Case], jobs: int = 0) -> Stock:
    """Charts as the network sees them. They are drawn once and kept in $COURSE_HOME/week16, some 30 kB each.

    Args:
        items: which.
        jobs: processes that draw side by side; 0: as many as there are cores.
    """
    path = kept_at(items)
    if not path.is_file():
        chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
        from shared.progress import bar

        found: list[tuple[int, list[Any]]] = []
        with bar(len(chunks), 0, "drawing") as progress:
            for result in in_processes(numbered, list(enumerate(chunks)), jobs or (cores() if len(chunks) > 2 else 1)):
                found.append(result)
                progress.update()
        pairs = [pair for _, chunk in sorted(found, key=lambda one: one[0]) for pair in chunk]
        keep(path, pairs)
    return read(path, items)


def numbered(task: tuple[int, Sequence[Case]]) -> tuple[int, list[Any]]:
    return task[0], several(task[1])


def kept_at(items: Sequence[Case]) -> Path:
    """Where charts are kept: a name made of what they are and of the code that draws them."""
    import matplotlib

    from shared.assets import home

    code = b"".join(Path(module.__file__).read_bytes() for module in (draw, styles))
    told = "".join(item.key for item in items).encode() + code + matplotlib.__version__.encode()
    return home() / "week16" / f"charts-{len(items)}-{hashlib.sha256(told).hexdigest()[:12]}.npz"


def keep(path: Path, pairs: Sequence[tuple[bytes, dict[str, Any]]]) -> None:
    """Writes pictures and marks as plain arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lengths = np.array([len(png) for png, _ in pairs])
    counts = np.array([[len(marks[name]) for name in MARKS] for _, marks in pairs])
    places = np.concatenate([marks[name] for _, marks in pairs for name in MARKS]).astype(np.float32)
    content = np.frombuffer(b"".join(png for png, _ in pairs), np.uint8)
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, content=content, lengths=lengths, counts=counts, places=places)


def read(path: Path, items: Sequence[Case]) -> Stock:
    """What `keep` wrote."""
    with np.load(path, allow_pickle=False) as file:
        content, lengths, counts, places = (file[name] for name in ("content", "lengths", "counts", "places"))
    pictures = np.empty((len(items), HIGH, WIDE, 3), np.uint8)
    ends = np.cumsum(lengths)
    for row, (end, long) in enumerate(zip(ends, lengths, strict=True)):
        pictures[row] = np.asarray(Image.open(io.BytesIO(content[end - long : end].tobytes())))
    splits = np.split(places, np.cumsum(counts.ravel())[:-1])
    marks = tuple(dict(zip(MARKS, splits[row * len(MARKS) : (row + 1) * len(MARKS)], strict=True))
                  for row in range(len(items)))  # fmt: skip
    return Stock(pictures, np.array([item.kind for item in items]), marks)
