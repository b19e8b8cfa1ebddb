"""Folders of pictures as people have them: one folder a class, perhaps within train and test, among other things."""

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from shared.errors import CourseError
from shared.files import is_hidden
from shared.own_images import SPLITS, Labelled
from shared.pictures import HEIC, NO_HEIC, is_picture, read_picture

PACKED = (".zip", ".tar", ".tgz", ".gz", ".rar", ".7z")
DAMAGED = 0.1  # of a class may be damaged and is left out; where it is more, something else is wrong
Classes = dict[tuple[int, str], list[Path]]
"""The pictures of each class in each split (0 train, 1 val, 2 test)."""


# ---------------------------------------------------------------- what lies where


def visible(folder: Path) -> list[Path]:
    """What lies in a folder, by name, without what systems put there."""
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise CourseError(f"{folder}: cannot be read ({error.strerror}).") from None
    return [path for path in found if not is_hidden(path.name)]


def folders(folder: Path) -> list[Path]:
    """The folders in it."""
    return [path for path in visible(folder) if path.is_dir()]


def loose(folder: Path) -> list[Path]:
    """The pictures that lie in it, and in no folder of it."""
    return [path for path in visible(folder) if path.is_file() and is_picture(path)]


def root_of(folder: Path) -> Path:
    """Where the class folders, or train and test, lie: `folder`, or the one folder in it that holds folders."""
    seen = {folder.resolve()}
    while len(inside := folders(folder)) == 1 and folders(inside[0]) and not loose(folder):
        if inside[0].resolve() in seen:  # a link that leads back
            break
        folder = inside[0]
        seen.add(folder.resolve())
    return folder


def pictures_in(group: Path, left_out: Counter) -> list[Path]:
    """The pictures of a class, at any depth, by name. Counts what else there is, by the ends of the names."""
    found = []
    for path in visible(group):
        if path.is_dir() and path.is_symlink():  # it may lead back to where we are, or into another class
            left_out["link to a folder"] += 1
        elif path.is_dir():
            found += pictures_in(path, left_out)
        elif path.is_file() and is_picture(path):
            found.append(path)
        else:
            left_out["broken link" if path.is_symlink() else path.suffix.lower() or "without an ending"] += 1
    return found


# ---------------------------------------------------------------- classes and splits


def split_of(folder: Path) -> int | None:
    """0, 1 or 2 where a folder's name says train, val or test: also `Training`, `test_set`, `2_valid`."""
    found = {SPLITS[word] for word in re.split(r"[\W\d_]+", folder.name.lower()) if word in SPLITS}
    return found.pop() if len(found) == 1 else None


def splits_in(root: Path) -> dict[Path, int]:
    """The train, val and test folders with class folders in them; none where these are classes: a train is a vehicle.

    Raises:
        CourseError: their pictures lie in no class folders.
    """
    groups = folders(root)
    named = {path: split for path in groups if (split := split_of(path)) is not None}
    found = {path: split for path, split in named.items() if folders(path)}
    if len(set(named.values())) > 1 and len(named) == len(groups) and 0 not in found.values():
        first = next(path.name for path, split in named.items() if split == min(named.values()))
        raise CourseError(
            f"{root}: {' and '.join(path.name for path in named)} are no classes. Put the pictures of each class into "
            f"a folder of its own, as in {root / first / 'cat'}."
        )
    others = [path for path in groups if path not in found]
    if 0 not in found.values() or any(len(folders(root_of(path))) > 1 for path in others):
        return {}
    found = dict(sorted(found.items(), key=lambda one: one[1]))
    return found if len(found) > 1 or len(named) == len(groups) else {}


def name_of(group: Path) -> str:
    """A class folder's name as text; bytes that are none are written out."""
    return os.fsencode(group.name).decode("utf-8", "backslashreplace")


def class_of(group: Path, left_out: Counter, may_be_empty: bool = False) -> list[Path]:
    """The pictures of a class folder; CourseError where there are none, with what there is instead."""
    others: Counter = Counter()
    pictures = pictures_in(group, others)
    left_out.update(others)
    if not pictures and others:
        kind, count = others.most_common(1)[0]
        cure = f"To read them, {NO_HEIC}." if kind in HEIC else "Save its pictures as png or jpg."
        many = f"{count:,} {kind} file{'s' * (count > 1)}" if kind.startswith(".") else f"{count:,} {kind}"
        raise CourseError(f"{group}: a class without readable images, but with {many}. {cure}")
    if not pictures and not may_be_empty:
        raise CourseError(f"{group}: a class without images. Fill the folder or remove it.")
    return pictures


def find_classes(folder: Path) -> tuple[Classes, bool, list[str]]:
    """The classes of a folder of class folders, or of train, val and test folders with class folders in them; whether
    there are such splits; and what is to be told of it.

    Raises:
        CourseError: no pictures, a class without any (in train), or one class only.
    """
    root, left_out, classes, notes = root_of(folder), Counter(), {}, []
    splits = splits_in(root)
    beside = len(loose(root))
    if root != folder and not splits:
        notes.append(f"its classes are the folders in {root.relative_to(folder)}")
    if splits:
        told = ", ".join(f"{path.name} ({('train', 'val', 'test')[split]})" for path, split in splits.items())
        notes.append(f"its split is that of its folders: {told}")
        for other in folders(root):
            if other not in splits:
                notes.append(f"left out {other.name}: no class folders in it")
        spelled: dict[str, str] = {}  # Cat in train and cat in test are one class
        for path, split in splits.items():
            place = root_of(path)
            beside += len(loose(place))
            for group in folders(place):
                name = spelled.setdefault(name_of(group).strip().casefold(), name_of(group))
                classes.setdefault((split, name), []).extend(class_of(group, left_out, may_be_empty=split > 0))
    else:
        classes = {(0, name_of(group)): class_of(group, left_out) for group in folders(root)}
    names = {name for _, name in classes}
    if not names:
        raise nothing(folder, root, beside)
    if len(names) < 2:
        raise CourseError(f"{folder}: one class only ({names.pop()}); there is nothing to tell apart.")
    for split, name in sorted(classes):
        if (0, name) not in classes:
            there = ", ".join(one for part, one in sorted(classes) if part == 0)
            raise CourseError(
                f"{folder}: class {name!r} is in {('train', 'val', 'test')[split]}, but not in train ({there}). Give "
                "it the name that it has there, or pictures to train on."
            )
    if beside:
        notes.append(f"left out {beside:,} image{'s' * (beside > 1)} outside the class folders")
    if left_out:
        notes.append(told_of(left_out))
    return classes, bool(splits), notes


def told_of(left_out: Counter) -> str:
    """A note on the files that are no pictures for us, by their kinds."""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in left_out.most_common(4))
    more = f" (HEIC: {NO_HEIC})" if set(HEIC) & set(left_out) else ""
    many = f"{left_out.total():,} file{'s' * (left_out.total() > 1)}"
    return f"left out {many} that cannot be read as images: {kinds}{more}"


def nothing(folder: Path, root: Path, beside: int) -> CourseError:
    """Why a folder is refused that has no classes in it."""
    if beside:
        return CourseError(f"{folder}: {beside:,} images, but no class folders. Move those of each class into one.")
    packed = [path.name for path in visible(root) if path.suffix.lower() in PACKED]
    cure = f" Unpack {packed[0]} first." if packed else ""
    expected = "expected one folder per class with png or jpg files inside."
    return CourseError(f"{folder}: no images in it; {expected}{cure}")


# ---------------------------------------------------------------- reading them


def read_folder(folder: Path, make: Callable[[Image.Image], np.ndarray]) -> Labelled:
    """All pictures of a folder of class folders, with its split where it has one.

    Args:
        folder: as `find_classes` takes it.
        make: turns a picture into the image that is kept, all of one shape.

    Raises:
        CourseError: what find_classes refuses; more than a tenth of a class is damaged.
    """
    classes, has_splits, notes = find_classes(folder)
    names = tuple(sorted({name for _, name in classes}))
    images, labels, split, damaged = [], [], [], []
    for (part, name), pictures in classes.items():
        bad = []
        for path in pictures:
            try:
                images.append(make(read_picture(path)))
            except CourseError as error:
                bad.append(error)
        if len(bad) > DAMAGED * len(pictures):
            raise bad[0]
        damaged += bad
        count = len(pictures) - len(bad)
        labels += [names.index(name)] * count
        split += [part] * count
    if damaged:
        first = str(damaged[0]).removeprefix(f"{folder}/")
        notes.append(f"left out {len(damaged):,} damaged image{'s' * (len(damaged) > 1)}; the first: {first}")
    return Labelled(
        np.stack(images), np.array(labels), names, np.array(split) if has_splits else None, notes=tuple(notes)
    )
