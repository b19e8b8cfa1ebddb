"""An index of a folder of pictures: a vector of each, kept beside the run, and brought up to date by what has changed.

A file whose size and time are as they were is not opened. One that has moved is known by its content, and not looked at
again. What cannot be read is named, passed over, and tried again when it has changed.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from shared.errors import CourseError, Stopped
from shared.files import is_hidden, only_one, written_whole
from shared.interrupt import StopRequest
from shared.pictures import is_picture, read_picture
from shared.progress import bar
from week14_clip.picture import digest

SAVED_EVERY = 20.0  # seconds: no more than that is lost when the power goes
BATCH = 32
Encode = Callable[[list[Image.Image]], Float[np.ndarray, "N dim"]]


@dataclass(frozen=True)
class Entry:
    """A file that was looked at: where it lies below the folder, its size, its time, its content, what is wrong."""

    name: str
    size: int
    time: int
    content: str
    wrong: str = ""


@dataclass
class Changes:
    """What an update has found: names of files."""

    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    kept: int = 0

    def __str__(self) -> str:
        told = [f"{len(names):,} {what}" for what, names in asdict(self).items() if what != "kept" and names]
        return ", ".join([*told, f"{self.kept:,} as they were"])


class Index:
    """The vectors of a folder's pictures.

    Args:
        folder: whose pictures.
        place: the file that it is kept in.
        model: a fingerprint of what makes the vectors; with another one they are made anew.
        dim: numbers of a vector.
    """

    def __init__(self, folder: Path, place: Path, model: str, dim: int) -> None:
        self.folder, self.place, self.model, self.dim = folder.resolve(), place, model, dim
        self.entries: dict[str, Entry] = {}
        self.vectors: dict[str, Any] = {}  # by content: a file and its copies have one
        self.read()

    def read(self) -> None:
        """What was kept, if it is whole, and of this model and folder; else nothing."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.place, "numpy") as file:
                about, rows = file.metadata() or {}, file.get_tensor("vectors")
            if (about["model"], about["folder"]) != (self.model, str(self.folder)):
                return
            entries = [Entry(**one) for one in json.loads(about["entries"])]
            contents = json.loads(about["contents"])
        except (OSError, SafetensorError, KeyError, ValueError, TypeError):
            return
        if rows.shape == (len(contents), self.dim):
            self.entries = {one.name: one for one in entries}
            self.vectors = dict(zip(contents, rows, strict=True))

    def save(self) -> None:
        """Writes it, whole or not at all."""
        from safetensors.numpy import save_file

        used = {one.content for one in self.entries.values() if not one.wrong}
        contents = [one for one in self.vectors if one in used]
        rows = np.stack([self.vectors[one] for one in contents]) if contents else np.zeros((0, self.dim), np.float32)
        about = {"model": self.model, "folder": str(self.folder), "contents": json.dumps(contents),
                 "entries": json.dumps([asdict(one) for one in self.entries.values()])}  # fmt: skip
        with written_whole(self.place) as temporary:
            save_file({"vectors": np.ascontiguousarray(rows, np.float32)}, temporary, about)

    def found(self) -> Iterator[tuple[str, Path]]:
        """(name, path) of every picture in the folder and below, by name. Links to folders are not followed."""
        for where, folders, files in os.walk(self.folder):
            folders[:] = sorted(one for one in folders if not is_hidden(one))
            for file in sorted(files):
                path = Path(where) / file
                if not is_hidden(file) and is_picture(path):
                    yield path.relative_to(self.folder).as_posix(), path

    def update(self, encode: Encode, side: int = 224) -> Changes:
        """Brings it up to date with the folder, and keeps it.

        Args:
            encode: pictures -> their vectors, of unit length.
            side: in how many pixels each way it looks at them: no picture is read in many more.

        Raises:
            CourseError: there is no such folder, or no picture in it.
            Stopped: Ctrl-C was pressed; what was looked at is kept.
        """
        if not self.folder.is_dir():
            raise CourseError(f"{self.folder}: no such folder.")
        self.place.parent.mkdir(parents=True, exist_ok=True)
        with only_one(self.place):
            try:
                return self._update(encode, side)
            finally:
                for name in ("good", "names", "matrix"):  # worked out anew when they are asked for
                    self.__dict__.pop(name, None)

    def _update(self, encode: Encode, side: int) -> Changes:
        changes, todo, before = Changes(), [], dict(self.entries)
        there = dict(self.found())
        if not there:
            raise CourseError(f"{self.folder}: no pictures in this folder.")
        for name, path in there.items():
            try:
                seen = path.stat()
            except OSError:  # it went away meanwhile, or is a link to nothing
                self.entries.pop(name, None)
                continue
            old = before.get(name)
            if old and (old.size, old.time) == (seen.st_size, seen.st_mtime_ns):
                changes.kept += not old.wrong
                changes.unreadable += [name] * bool(old.wrong)
            else:
                todo.append((name, path, seen))
        gone = [name for name in before if name not in there]
        for name in gone:
            del self.entries[name]
        left = {before[name].content for name in gone}
        begun = time.monotonic()
        waiting: list[tuple[Entry, Image.Image]] = []
        with StopRequest() as stop, bar(len(todo), 0, "looking") as told:
            for number, (name, path, seen) in enumerate(todo):
                entry, picture = self.open(name, path, seen, side)
                told.update()
                if entry.wrong:
                    changes.unreadable.append(name)
                elif name in before and entry.content == before[name].content:  # only its time is another one
                    changes.kept += 1
                elif name in before:
                    changes.changed.append(name)
                else:
                    (changes.moved if entry.content in left else changes.new).append(name)
                if picture is None:
                    self.entries[name] = entry
                else:
                    waiting.append((entry, picture))
                if len(waiting) == BATCH or number + 1 == len(todo) or stop:
                    self.keep(waiting, encode)
                    waiting = []
                    if time.monotonic() - begun > SAVED_EVERY:
                        self.save()
                        begun = time.monotonic()
                if stop:
                    self.save()
                    raise Stopped(f"stopped after {number + 1:,} of {len(todo):,} pictures; the same command goes on.")
        moved_from = {before[name].content for name in gone} & {one.content for one in self.entries.values()}
        changes.deleted = [name for name in gone if before[name].content not in moved_from or before[name].wrong]
        self.save()
        return changes

    def open(self, name: str, path: Path, seen: os.stat_result, side: int) -> tuple[Entry, Image.Image | None]:
        """A file's entry, and its picture where nobody has looked at that content yet."""
        try:
            content = digest(path)
            picture, wrong = None, ""
            if content not in self.vectors:
                picture = read_picture(path, least=side)
                most = max(2 * side, 512)
                picture.thumbnail((most, most))  # some wait for others, and those of a good camera take 100 MB each
        except (CourseError, OSError) as error:
            content, picture, wrong = "", None, str(error)
        return Entry(name, seen.st_size, seen.st_mtime_ns, content, wrong), picture

    def keep(self, waiting: list[tuple[Entry, Image.Image]], encode: Encode) -> None:
        """Looks at pictures, and keeps their vectors."""
        if waiting:
            vectors = encode([picture for _, picture in waiting])
            for (entry, _), vector in zip(waiting, vectors, strict=True):
                self.entries[entry.name] = entry
                self.vectors[entry.content] = vector

    @cached_property
    def good(self) -> list[Entry]:
        """What can be found, by name."""
        return sorted((one for one in self.entries.values() if not one.wrong), key=lambda one: one.name)

    @cached_property
    def names(self) -> list[str]:
        """The names of the pictures that can be found."""
        return [one.name for one in self.good]

    @cached_property
    def matrix(self) -> Float[np.ndarray, "N dim"]:
        """A row for each of `names`."""
        rows = [self.vectors[one.content] for one in self.good]
        return np.stack(rows) if rows else np.zeros((0, self.dim), np.float32)

    @property
    def wrong(self) -> dict[str, str]:
        """{name: what is wrong with it} of what could not be read."""
        return {one.name: one.wrong for one in self.entries.values() if one.wrong}
