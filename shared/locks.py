"""A lock between processes: whoever asks second waits. The operating system holds it, so a killed process frees it."""

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from shared.errors import CourseError

PAUSE = 0.1
"""Seconds between two looks at a lock that somebody else holds."""

if os.name == "nt":
    import msvcrt

    def _take(file: BinaryIO) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK, errno.EINTR}
"""What `_take` fails with while another process has the lock. Anything else means that there are no locks here."""


@contextmanager
def lock(path: Path, waiting: str = "") -> Iterator[None]:
    """Holds the lock file `path` for the length of the body, after waiting until no other process does.

    The file is made when it is absent and stays afterwards: removing it would race with a process that has just opened
    it. Closing it frees the lock.

    Args:
        waiting: a line for stderr, printed once when there is somebody to wait for.

    Raises:
        CourseError: the folder may not be written to, or its file system has no locks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise CourseError(f"cannot write in {path.parent}: {error.strerror}. Choose a folder of your own.") from error
    with file:
        while True:
            try:
                _take(file)
                break
            except OSError as error:
                if error.errno not in HELD:
                    raise CourseError(
                        f"cannot lock {path}: {error.strerror}. Choose a folder on a local disk."
                    ) from error
            if waiting:
                print(waiting, file=sys.stderr)
                waiting = ""
            time.sleep(PAUSE)
        yield
