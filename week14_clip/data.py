"""The week's data: captioned pictures. The bundled emoji, Flickr8k, Unsplash Lite, or a folder of your own.

Flickr8k: M. Hodosh, P. Young, J. Hockenmaier, "Framing image description as a ranking task", JAIR 47, 2013.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Int

from shared.assets import home
from shared.errors import CourseError
from shared.files import is_hidden
from shared.pictures import is_picture
from shared.splits import Part, Splits
from week14_clip import unsplash
from week14_clip.picture import SAMPLES, Picture, digest

STYLES = ("fluent", "noto", "twemoji")  # to learn from
NEW_STYLE = "openmoji"  # to test with
BY_HAND = ("flickr8k", "unsplash-lite")  # by name: in this folder of home(), where one puts them by hand
FOLDERS = ("", "images", "Images", "Flicker8k_Dataset", "Flickr8k_Dataset")  # where the pictures of captions may lie
PICTURE_COLUMNS = ("image", "picture", "file", "filename", "path", "name")
CAPTION_COLUMNS = ("caption", "text", "title", "description")
CAMERA = re.compile(r"(img|dsc|dscn|dscf|pxl|mvi|p|photo|image|screenshot|whatsapp)?[\W_\d]*", re.IGNORECASE)


Pictures = Part[Picture]


def load(name: str, limit: int = 0, width: int = 400) -> Splits[Picture]:
    """Loads `sample`, `flickr8k`, `unsplash-lite`, or a path to a folder of pictures with captions.

    Args:
        name: what to load.
        limit: at most so many pictures, the first ones; 0: all. What is to be downloaded is no more than that.
        width: in how many pixels the pictures of Unsplash are downloaded.

    Raises:
        CourseError: what is wrong with the data, in one line.
    """
    if name == "sample":
        return sample(limit)
    folder = home() / name if name in BY_HAND else Path(name).expanduser()
    if not folder.is_dir():
        if name in BY_HAND:
            raise CourseError(f"--data {name}: put its published files into {folder}, or give the folder they are in.")
        raise CourseError(f"--data {name}: no such folder, nor one of sample, {', '.join(BY_HAND)}.")
    if unsplash.is_there(folder):
        return three(name, *unsplash.load(folder, limit, width))
    if (folder / "captions_train.jsonl").is_file():
        return flickr_jsonl(folder, name, limit)
    if (folder / "Flickr8k.token.txt").is_file():
        return flickr_published(folder, name, limit)
    return three(name, *own_folder(folder, name, limit))


# ---------------------------------------------------------------- the bundled emoji


@cache
def concepts() -> tuple[dict, ...]:
    """The lines of emoji.jsonl, in the order of the sheets."""
    return tuple(json.loads(line) for line in (SAMPLES / "emoji.jsonl").read_text(encoding="utf-8").splitlines())


def emoji(part: str, styles: Sequence[str], limit: int = 0) -> Pictures:
    """The drawings of a part's concepts in some styles. Of each two texts are right: its name, and its keywords."""
    found = []
    for place, one in enumerate(concepts()):
        if one["part"] != part:
            continue
        words = tuple(word for word in one["keywords"] if word not in one["name"].split())[:6]
        captions = (one["name"], ", ".join(words)) if words else (one["name"],)
        for style in styles:
            key = f"{style}/{one['code']}"
            found.append(Picture(key, captions, one["code"], key, place=place, tags=tuple(one["keywords"])))
    if limit and limit < len(found):  # of all groups: they stand one after the other
        found = [found[row] for row in np.sort(np.random.default_rng(0).permutation(len(found))[:limit])]
    return Part(tuple(found))


def sample(limit: int = 0) -> Splits[Picture]:
    """842 concepts to learn in three styles, 120 others to choose by in the same; 240 others in a fourth to test."""
    parts = (emoji("train", STYLES, limit), emoji("val", STYLES, limit), emoji("test", (NEW_STYLE,), limit))
    note = f"drawings of emoji; the style {NEW_STYLE} and the concepts of val and test are not trained on"
    return Splits("sample", *parts, own_test=True, notes=(note,))


# ---------------------------------------------------------------- Flickr8k


def flickr_jsonl(folder: Path, name: str, limit: int = 0) -> Splits[Picture]:
    """captions_train.jsonl, captions_dev.jsonl, perhaps captions_test.jsonl: {"image": …, "captions": […]} a line."""
    parts, notes = {}, []
    for part in ("train", "dev", "test"):
        path, rows = folder / f"captions_{part}.jsonl", {}
        if not path.is_file():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
            try:
                row = json.loads(line)
                rows.setdefault(row["image"], []).extend(map(str, row["captions"]))
            except (ValueError, KeyError, TypeError):
                raise CourseError(f'{path}, line {number}: not {{"image": …, "captions": […]}}.') from None
        parts[part] = list(with_files(folder, rows, notes))[: limit or None]
    return official(name, parts, tuple(notes))


def flickr_published(folder: Path, name: str, limit: int = 0) -> Splits[Picture]:
    """Flickr8k.token.txt, `photo.jpg#0<tab>caption` a line, and the lists Flickr_8k.trainImages.txt, dev and test."""
    rows: dict[str, list[str]] = {}
    path = folder / "Flickr8k.token.txt"
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        image, tab, caption = line.partition("\t")
        if not tab:
            raise CourseError(f"{path}, line {number}: not `photo.jpg#0<tab>caption`.")
        rows.setdefault(image.partition("#")[0], []).append(caption.strip())
    notes: list[str] = []
    lists = {part: folder / f"Flickr_8k.{part}Images.txt" for part in ("train", "dev", "test")}
    if not lists["train"].is_file():
        return three(name, list(with_files(folder, rows, notes))[: limit or None], tuple(notes))
    parts = {}
    for part, listed in lists.items():
        if listed.is_file():
            names = [line.strip() for line in listed.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
            wanted = {one: rows[one] for one in names if one in rows}
            parts[part] = list(with_files(folder, wanted, notes))[: limit or None]
    return official(name, parts, tuple(notes))


def official(name: str, parts: dict[str, list[Picture]], notes: tuple[str, ...]) -> Splits[Picture]:
    """The published parts. Where one of dev and test is missing, the other is to test with, and a tenth of train to
    choose by: what one chooses by cannot be tested with."""
    train, dev, test = (parts.get(part, []) for part in ("train", "dev", "test"))
    if not dev or not test:
        test, order = dev or test, np.random.default_rng(0).permutation(len(train))
        count = max(1, len(train) // 10)
        dev, train = ([train[row] for row in sorted(rows)] for rows in (order[:count], order[count:]))
        notes += (f"{len(dev)} pictures of train are to choose by: there is one published part beside it",)
    if min(map(len, (train, dev, test))) < 1:
        raise CourseError(f"--data {name}: no pictures in one of its parts; are the photos beside the captions?")
    return Splits(name, *(Part(tuple(part)) for part in (train, dev, test)), own_test=True, notes=notes)


def with_files(folder: Path, rows: dict[str, list[str]], notes: list[str]) -> Iterator[Picture]:
    """A Picture for each image that is there; those that are not are counted."""
    missing = []
    for image, captions in rows.items():
        path = next((folder / at / image for at in FOLDERS if (folder / at / image).is_file()), None)
        captions = tuple(dict.fromkeys(text for text in captions if text.strip()))
        if is_hidden(image) or ".." in Path(image).parts or path is None:
            missing.append(image)
        elif captions:
            yield Picture(image, captions, image, digest(path), path)
    if missing:
        notes.append(f"{len(missing):,} of {len(rows):,} pictures with captions are not there, as {missing[0]}")


# ---------------------------------------------------------------- a folder of one's own


def own_folder(folder: Path, name: str, limit: int = 0) -> tuple[list[Picture], tuple[str, ...]]:
    """Pictures with captions.csv (or captions.txt) beside them, one caption a row; else their names are the captions.

    Raises:
        CourseError: there are none, or none says what it shows.
    """
    table = next((folder / one for one in ("captions.csv", "captions.txt") if (folder / one).is_file()), None)
    if table:
        notes: list[str] = []
        found = list(with_files(folder, read_table(table), notes))
        # Two pictures with the very same first caption show the same, as far as anybody can tell.
        return [as_said(one) for one in found][: limit or None], tuple(notes)
    paths = sorted(
        path for path in folder.rglob("*")
        if path.is_file() and not is_hidden(path.relative_to(folder).as_posix()) and is_picture(path)
    )  # fmt: skip
    if not paths:
        raise CourseError(f"--data {name}: no pictures in this folder.")
    named = [(path, words_of(path)) for path in paths]
    found = [Picture(path.relative_to(folder).as_posix(), (text,), text, digest(path), path)
             for path, text in named if text][: limit or None]  # fmt: skip
    if not found:
        raise CourseError(
            f"--data {name}: nothing says what is on these pictures. Name them by what they show (red_car.jpg), or put "
            "a captions.csv with the columns image, caption beside them. To search only: ./course run 14 search"
        )
    without = len(named) - sum(bool(text) for _, text in named)
    note = f"their names are the captions; {without:,} pictures without words in their names are left out"
    return found, (note,)


def read_table(table: Path) -> dict[str, list[str]]:
    """{picture: captions} of a table with a header."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
            which = [next((columns[one] for one in known if one in columns), None)
                     for known in (PICTURE_COLUMNS, CAPTION_COLUMNS)]  # fmt: skip
            if None in which:
                raise CourseError(f"{table}: needs a header with the columns image and caption.")
            rows: dict[str, list[str]] = {}
            for row in reader:
                image, caption = ((row.get(name) or "").strip() for name in which)
                if image and caption:
                    rows.setdefault(image, []).append(caption)
    except (UnicodeDecodeError, csv.Error) as error:
        raise CourseError(f"{table}: not a table in UTF-8 ({error}).") from None
    if not rows:
        raise CourseError(f"{table}: no row has both an image and a caption.")
    return rows


def words_of(path: Path) -> str:
    """What a file's name says: `red_car-02.JPG` is "red car"; nothing where a camera has given it (IMG_2041)."""
    if CAMERA.fullmatch(path.stem):
        return ""
    stem = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", path.stem)
    words = [word.rstrip("0123456789") for word in re.split(r"[\W_]+", stem)]
    return " ".join(word for word in words if len(word) > 1 and word.isalpha()).lower()  # 693b08cb0e is no word


def as_said(one: Picture) -> Picture:
    """The same, its concept being its first caption."""
    return replace(one, concept=one.captions[0].casefold())


def three(name: str, found: Iterable[Picture], notes: tuple[str, ...]) -> Splits[Picture]:
    """Cut in three by concept, always in the same way: a tenth to choose by, a tenth to test with.

    Copies of a picture are taken once: else one would be in train, the other in test.
    """
    by_key = {one.key: one for one in found}
    there = sorted({one.concept for one in by_key.values()})
    if len(there) < 10:
        raise CourseError(f"--data {name}: {len(there)} different captions are too few to cut in three: 10 or more.")
    order, tenth = np.random.default_rng(0).permutation(len(there)), len(there) // 10
    part_of = {there[row]: "val" if place < tenth else "test" if place < 2 * tenth else "train"
               for place, row in enumerate(order)}  # fmt: skip
    parts = ([one for one in by_key.values() if part_of[one.concept] == part] for part in ("train", "val", "test"))
    return Splits(name, *(Part(tuple(part)) for part in parts), notes=notes)


# ---------------------------------------------------------------- batches


def numbered(pictures: Pictures) -> Int[np.ndarray, " N"]:
    """The concept of each picture as a number."""
    return np.unique([one.concept for one in pictures.items], return_inverse=True)[1]


def batches(
    concept: Int[np.ndarray, " N"], captions: Int[np.ndarray, " N"], size: int, rng: np.random.Generator
) -> list[tuple[Int[np.ndarray, " size"], Int[np.ndarray, " size"]]]:
    """An epoch: (pictures, the number of the caption that each comes with) of every batch, all of one size.

    No concept is twice in a batch: each text of a batch counts as wrong for all pictures but its own, and a second
    caption of the same picture, or the same thing drawn in another style, would be a right one that is punished. So
    each picture comes with one caption, another one in other epochs, and concepts go round: the first pictures of all,
    then the second ones, …

    Args:
        concept: of each picture, as a number.
        captions: how many each picture has.
        size: of a batch; at most as many as there are concepts.
        rng: what is drawn follows from it.
    """
    order = rng.permutation(len(concept))
    turn = np.zeros(len(concept), int)  # the how-manieth of its concept each picture is
    seen: dict[int, int] = {}
    for row in order:
        turn[row] = seen.get(concept[row], 0)
        seen[concept[row]] = turn[row] + 1
    size, found = min(size, len(seen)), []
    for number in range(turn.max() + 1):
        rows = order[turn[order] == number]
        for start in range(0, len(rows) - size + 1, size):
            chosen = rows[start : start + size]
            found.append((chosen, rng.integers(0, captions[chosen])))
    return found
