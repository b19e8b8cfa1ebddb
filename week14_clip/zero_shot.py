"""Names of classes as a classifier: `./course run 14 zero_shot cifar10`, or a folder of class folders.

A picture is given the class whose name, put into some sentences, is most like it. Nothing is trained on these classes.
But the network that our towers look through was, on ImageNet's 1,000, among which are dogs, frogs, ships and trucks.

Reference
    A. Radford et al., "CLIP", arXiv:2103.00020, sections 3.1.2 and 3.1.4: zero-shot classification, prompts, and the
        mean over several of them
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week14_clip/zero_shot.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tyro
from jaxtyping import Float, Int
from PIL import Image

from shared import cifar10_sample, cli
from shared.device import choose
from shared.errors import CourseError
from shared.image_folders import find_classes
from shared.pictures import read_picture
from shared.progress import bar
from shared.runs import tell
from week14_clip import data
from week14_clip.trained import Encoder, Which, opened

TEMPLATES = ("{}", "a photo of a {}", "a picture of a {}", "a drawing of a {}", "a small {}", "a blurry photo of a {}")


@dataclass
class Config(Which):
    """The flags of zero_shot."""

    data: tyro.conf.Positional[str] = "cifar10"
    """cifar10 (the bundled photographs that are to test with), sample (the emoji to test with, by their groups), or a
    folder of class folders."""
    templates: tuple[str, ...] = TEMPLATES
    """Sentences that a class's name is put into, in the place of {}."""
    run: str = ""
    """The run whose towers look (default: week 14's newest)."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""


@dataclass(frozen=True)
class Classes:
    """Pictures, read one by one, the class of each as a number, and the names of the classes."""

    pictures: Sequence[Callable[[], Image.Image]]
    labels: Int[np.ndarray, " N"]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def classifier(towers: Encoder, names: Sequence[str], templates: Sequence[str]) -> Float[np.ndarray, "classes dim"]:
    """A vector of each class: the mean over its sentences, each of unit length, brought to unit length again."""
    texts = [one.replace("{}", name) for name in names for one in templates]
    vectors = towers.of_texts(texts).reshape(len(names), len(templates), -1)  # (classes * templates, dim) -> …
    mean = vectors.mean(1)
    return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)


def cifar10(part: str = "test") -> Classes:
    """The bundled photographs."""
    images, labels = cifar10_sample.read()[part]
    return Classes([lambda one=one: Image.fromarray(one) for one in images], labels, cifar10_sample.CLASSES)


def groups(part: str = "test") -> Classes:
    """The emoji of a part in the style that is to test with (val: in those that are to learn from), by their groups."""
    items = data.emoji(part, (data.NEW_STYLE,) if part == "test" else data.STYLES).items
    group_of = {one["code"]: one["group"] for one in data.concepts()}
    names = tuple(sorted(set(group_of.values())))
    labels = np.array([names.index(group_of[one.concept]) for one in items])
    return Classes([one.read for one in items], labels, names)


def folder(path: Path) -> Classes:
    """The pictures of a folder of class folders; where it has a test part, this alone.

    Raises:
        CourseError: as `shared.image_folders.find_classes`.
    """
    found, _, notes = find_classes(path)
    last = max(part for part, _ in found)
    of = {name: paths for (part, name), paths in found.items() if part == last}
    paths = [(one, number) for number, name in enumerate(of) for one in of[name]]
    names = tuple(data.words_of(Path(name)) or name for name in of)
    readers = [lambda one=one: read_picture(one) for one, _ in paths]
    return Classes(readers, np.array([number for _, number in paths]), names, tuple(notes))


def load(name: str) -> Classes:
    """cifar10, sample, or a folder of class folders."""
    if name in ("cifar10", "sample"):
        return cifar10() if name == "cifar10" else groups()
    path = Path(name).expanduser()
    if not path.is_dir():
        raise CourseError(f"{name}: no such folder, nor cifar10 or sample.")
    return folder(path)


def predict(towers: Encoder, classes: Classes, templates: Sequence[str]) -> tuple[np.ndarray, np.ndarray, int]:
    """(the class that each picture is given, the rows that could be read, how many could not)."""
    read: list[int] = []

    def pictures() -> Iterator[Image.Image]:
        with bar(len(classes.pictures), 0, "looking") as told:
            for row, one in enumerate(classes.pictures):
                told.update()
                try:
                    picture = one()
                except CourseError:
                    continue
                read.append(row)
                yield picture

    vectors = towers.of_pictures(pictures())
    scores = vectors @ classifier(towers, classes.names, templates).T  # (N, classes)
    return scores.argmax(1), np.array(read, int), len(classes.pictures) - len(read)


def main(cfg: Config) -> dict[str, Any]:
    """Classifies pictures by the names of the classes alone, beside the answer that needs no network.

    Returns {"accuracy", "majority", "scored", "by_class"}.
    """
    if not cfg.templates or (bad := [one for one in cfg.templates if "{}" not in one]):
        named = f" {bad[0]!r}" if cfg.templates else ""
        raise CourseError(f"--templates{named}: the name of a class stands at {{}}, as in 'a photo of a {{}}'.")
    classes = load(cfg.data)
    towers = opened(cfg, choose(cfg.device))
    guessed, rows, damaged = predict(towers, classes, cfg.templates)
    labels = classes.labels[rows]
    if not len(labels):
        raise CourseError(f"{cfg.data}: none of its pictures can be read.")
    right = guessed == labels
    counts = np.bincount(labels, minlength=len(classes.names))
    by_class = {name: float(right[labels == number].mean()) for number, name in enumerate(classes.names)
                if counts[number]}  # fmt: skip
    result = {"accuracy": float(right.mean()), "majority": float(counts.max() / counts.sum()),
              "scored": len(labels), "by_class": by_class}  # fmt: skip
    tell(classes.notes)
    if damaged:
        print(f"  {damaged:,} damaged pictures are left out")
    print(f"{cfg.data}: {len(labels):,} pictures of {len(by_class)} classes, {len(cfg.templates)} sentences a class")
    width = max(22, *(len(name) + 4 for name in classes.names))
    print(f"{'accuracy':{width}}{result['accuracy']:>8.1%}\n{'always the commonest':{width}}{result['majority']:>8.1%}")
    for name, share in sorted(by_class.items(), key=lambda one: -one[1]):
        print(f"  {name:{width - 2}}{share:>8.1%}{counts[classes.names.index(name)]:>8,} pictures")
    return result


if __name__ == "__main__":
    cli.launch(main, Config)
