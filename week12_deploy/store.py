"""Documents that are safe before anybody hears that they are: a PDF by the hash of its bytes, and a record beside it.

    documents/1f3a….pdf     the bytes, whole and on the disk before they have this name
    documents/1f3a….json    {id, name, bytes, pages, added}; only what has one is stored

A crash (kill -9, a power cut) leaves a PDF without a record, or something in incoming/: nobody was told of these, and
`tidy` takes them away. The index can be made again of what is stored at any time; so it need not be safe, only mended.
"""

import hashlib
import json
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.errors import CourseError
from shared.files import write_json, written_whole

PIECE = 2**20
STALE = 3_600
"""Seconds after which what is in incoming/ was left there by a crash."""


@dataclass(frozen=True)
class Record:
    """What is known of a stored document. `added`: when, in UTC, to the microsecond."""

    id: str
    name: str
    bytes: int
    pages: int
    added: str


class Store:
    """The documents in a folder, which is made where it is not there yet.

    Raises:
        CourseError: it cannot be made or written to.
    """

    def __init__(self, folder: Path) -> None:
        self.documents, self.incoming = Path(folder) / "documents", Path(folder) / "incoming"
        try:
            for place in (self.documents, self.incoming):
                place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.incoming):
                pass
        except OSError as error:
            raise CourseError(f"--store {folder}: {error.strerror}. Choose a folder that can be written to.") from None

    def receive(self, file: Any) -> tuple[str, Path, int]:
        """Copies what a file opened for reading bytes has to incoming/. Returns its id, where it lies, its size."""
        sha256, size = hashlib.sha256(), 0
        handle, name = tempfile.mkstemp(dir=self.incoming, suffix=".pdf")
        try:
            with os.fdopen(handle, "wb") as copy:
                while piece := file.read(PIECE):
                    sha256.update(piece)
                    copy.write(piece)
                    size += len(piece)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return sha256.hexdigest()[:16], Path(name), size

    def commit(self, identity: str, received: Path, name: str, pages: int) -> Record:
        """Stores what was received. When this returns, it is on the disk."""
        size = received.stat().st_size
        with written_whole(self.file(identity)) as temporary:
            received.replace(temporary)
        record = Record(identity, name, size, pages, datetime.now(UTC).isoformat(timespec="microseconds"))
        write_json(self._record(identity), asdict(record))
        on_disk(self.documents)
        return record

    def discard(self, identity: str) -> bool:
        """Takes a document out, for good when this returns; says whether it was there."""
        there = self._record(identity).is_file()
        self._record(identity).unlink(missing_ok=True)  # first: from here on it is not stored
        on_disk(self.documents)
        self.file(identity).unlink(missing_ok=True)
        return there

    def get(self, identity: str) -> Record | None:
        """What is known of a document; None where it is not stored."""
        return record_in(self._record(identity)) if identity.isalnum() else None

    def records(self) -> list[Record]:
        """All documents, the oldest first."""
        found = filter(None, map(record_in, self.documents.glob("*.json")))
        return sorted(found, key=lambda record: (record.added, record.id))

    def file(self, identity: str) -> Path:
        """Where a document's PDF lies."""
        return self.documents / f"{identity}.pdf"

    def tidy(self) -> None:
        """Takes away what a crash has left: what has no record was never stored, and what came in an hour ago is not
        coming any more (another process may be receiving at this moment)."""
        kept, latest = {record.id for record in self.records()}, time.time() - STALE
        for path in self.documents.iterdir():
            if path.name.startswith(".") or path.stem not in kept:
                path.unlink(missing_ok=True)
        for path in self.incoming.iterdir():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < latest:
                    path.unlink()

    def _record(self, identity: str) -> Path:
        return self.documents / f"{identity}.json"


def record_in(path: Path) -> Record | None:
    """The record in a file; None where there is none (any more): another thread may take it out at any time."""
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return Record(**json.loads(content))
    except (ValueError, TypeError):
        raise CourseError(f"{path} is no record of a document: take it away, and upload its PDF again.") from None


def on_disk(folder: Path) -> None:
    """Waits until the names in a folder are on the disk; a file's own bytes are there already. Windows does that by
    itself."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
