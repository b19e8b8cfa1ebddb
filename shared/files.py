"""Files that are whole or not there: everything is written beside its place and then renamed into it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from shared.errors import CourseError

ROOT = Path(__file__).resolve().parent.parent
"""The folder of the repository: `runs/`, `exercises/` and the weeks are found from here, wherever one stands."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yields a temporary path next to `path`, and renames it to `path` once the body has ended without an error.

    Whatever happens inside (Ctrl-C, a full disk, a crash), `path` is what it was before or the complete new file.

    Raises:
        CourseError: the disk is full or the folder may not be written to.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # or a power cut could leave the new name on an empty file
        temporary.replace(path)
    except OSError as error:
        raise CourseError(
            f"cannot write {path}: {error.strerror or error}. Free some space or choose another place."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def no_file(path: str | Path) -> str:
    """What to say of a path that is no file: `no such file`, or `a folder, not a file`."""
    return "a folder, not a file" if Path(path).expanduser().is_dir() else "no such file"


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented UTF-8 JSON, whole or not at all. NaN is refused: it is not JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with written_whole(path) as temporary:  # a name that is not UTF-8 is escaped, as JSON itself would
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


SYSTEM = {"__macosx", "@eadir", "$recycle.bin", "system volume information", "thumbs.db", "desktop.ini", "__pycache__"}


def is_hidden(name: str) -> bool:
    """Whether a path, also one in an archive, leads to what a system put there: .DS_Store, ._cat.jpg, __MACOSX."""
    return any((part[:1] == "." and part.strip(".") != "") or part.lower() in SYSTEM for part in name.split("/"))


def only_one(folder: Path) -> Any:
    """Holds `folder` against other processes that would write there, too, by a file beside it. One process may hold it
    twice.

    Returns:
        filelock's lock: let go by `release()`, at the end of a `with`, or with the last that holds it.

    Raises:
        CourseError: another process has it.
    """
    from filelock import FileLock, Timeout

    folder = Path(folder).absolute()
    try:
        return FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0, is_singleton=True).acquire()
    except Timeout:
        raise CourseError(
            f"{folder}: another process is training in this run. Wait for it, or start a new one with --out."
        ) from None


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        CourseError: the file is missing or is not JSON; the line says which.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CourseError(f"{path} is not there.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CourseError(
            f"{path} is not readable JSON ({error}). Delete it or put a whole one in its place."
        ) from None
