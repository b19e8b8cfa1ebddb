"""What is sent to be stored: is it a PDF, and one that can be read without harm?"""

import asyncio
import errno
import json
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.errors import CourseError
from week12_deploy.problems import Problem

HEAD = 1_024
"""The bytes in which a PDF has to say that it is one."""
LONGEST_NAME = 120


@dataclass(frozen=True)
class Looked:
    """What was found out about a PDF that can be read."""

    pages: int
    notes: tuple[str, ...] = ()


def name_of(sent: str | None) -> str:
    """What to call a file that a caller names so: no folders, nothing that steers a terminal, not too long."""
    last = (sent or "").replace("\\", "/").rpartition("/")[2]
    plain = "".join(char for char in last if unicodedata.category(char)[0] != "C").strip(" .")
    if len(plain) > LONGEST_NAME:
        stem, dot, ending = plain.rpartition(".")
        ending = dot + ending if stem and len(ending) < 10 else ""
        plain = plain[: LONGEST_NAME - len(ending)] + ending
    return plain or "document.pdf"


def check_type(path: Path, name: str) -> None:
    """Problem where the file does not begin as a PDF does. What the caller says that it is, is not asked."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        raise Problem(422, f"{name} is empty: send a PDF.", reason="empty")
    if b"%PDF-" not in head:
        raise Problem(415, f"{name} is no PDF: it does not begin as one. Send a PDF.")


@contextmanager
def room() -> Iterator[None]:
    """Problem where the disk has no room for what is written within."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        line = "the disk has no room for it: take documents out, or tell whoever runs this."
        raise Problem(503, line, reason="disk-full") from None


async def look(path: Path, name: str, pages: int, memory: int, seconds: float) -> Looked:
    """Reads a PDF in a process of its own (looking.py), which may take so much memory and time. What a PDF can do to
    the library that reads it, it does there.

    Args:
        path: where it lies.
        name: what the caller calls it.
        pages: more are refused.
        memory: megabytes.
        seconds: of the clock.

    Raises:
        Problem: it is encrypted, damaged, a bomb, …; or the process ended without a word (422).
    """
    await asyncio.to_thread(check_type, path, name)
    command = [
        sys.executable,
        "-P",
        "-m",
        "week12_deploy.looking",
        str(path),
        str(pages),
        str(memory),
        str(int(seconds) + 1),
    ]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=Path(__file__).resolve().parents[1], stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        said, _ = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        raise Problem(
            422, f"{name} takes more than {seconds:g} seconds to read: split it.", reason="slow-pdf"
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return understood(said, process.returncode, path, name, memory)


def understood(said: bytes, code: int, path: Path, name: str, memory: int) -> Looked:
    """What the process has found out; Problem where that is something wrong, or nothing."""
    try:
        found = json.loads(said)
    except ValueError:
        how = f"signal {-code}" if code < 0 else f"code {code}"
        raise Problem(
            422, f"{name} cannot be read: what reads it broke down ({how}; it had {memory} MB).", reason="broken-pdf"
        ) from None
    if wrong := found.get("wrong"):
        line = wrong.replace(str(path), name)
        raise Problem(413 if found.get("large") else 422, line, reason=found.get("reason", "pdf"))
    return Looked(found["pages"], tuple(found["notes"]))


def in_words(error: CourseError, path: Path, name: str) -> str:
    """What week 11 says of a file, with the name that the caller knows."""
    return str(error).replace(str(path), name)
