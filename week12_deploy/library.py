"""The store and the index together: what is stored can be found, and nothing else; also after a crash."""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from shared.errors import CourseError
from week12_deploy.store import Record, Store


@dataclass(frozen=True)
class Listed:
    """A document as it stands: its record, how many chunks of it can be found, and why none can."""

    record: Record
    status: Literal["ready", "indexing", "failed"]
    chunks: int = 0
    detail: str = ""


class Library:
    """Adds to both and takes out of both, one at a time, over all processes that share the folder.

    The store comes first: a document is stored before it is indexed, and leaves the store before it leaves the index.
    So an index that lacks something, or has too much, is one that `reconcile` mends.

    Args:
        store: where the documents are safe.
        bot: who can index and find them (week11_rag.answer.Bot).
    """

    def __init__(self, store: Store, bot: Any) -> None:
        self.store, self.bot = store, bot
        self._one, self._process = threading.Lock(), lock_of(store.documents.parent)
        self.failed: dict[str, str] = {}

    def writing(self) -> "_Both":
        """Held while something changes."""
        return _Both(self._one, self._process)

    def keep(self, identity: str, received: Path, name: str, pages: int) -> tuple[Record, bool]:
        """Stores what was received. Returns its record, and whether it is new: the same bytes are stored once, under
        their first name."""
        with self.writing():
            known = self.store.get(identity)
            if known:
                received.unlink(missing_ok=True)
            return known or self.store.commit(identity, received, name, pages), known is None

    def index(self, record: Record) -> None:
        """Makes a stored document one that can be found; older ones of its name leave.

        Raises:
            CourseError: it cannot be read, or the index cannot be written to.
        """
        with self.writing():
            self.bot.add(self.store.file(record.id), record.name)
            for other in self.store.records():
                if other.name == record.name and other.id != record.id:
                    self.bot.remove(other.id)  # first: where the index fails here, the older one is still stored
                    self.store.discard(other.id)
            self.failed.pop(record.id, None)

    def remove(self, identity: str) -> bool:
        """Takes a document out of both; says whether it was there.

        Raises:
            CourseError: the index does not answer; then nothing was taken out.
        """
        with self.writing():
            if self.store.get(identity) is None:
                return False
            self.bot.documents()  # raises where the index is not there
            self.store.discard(identity)
            self.bot.remove(identity)
            self.failed.pop(identity, None)
            return True

    def forget(self, identity: str) -> None:
        """Takes a document that could not be indexed out again: nobody was told that it is there."""
        with self.writing(), suppress(CourseError):
            self.store.discard(identity)
            self.bot.remove(identity)

    def listed(self) -> list[Listed]:
        """All stored documents, by name."""
        found = {stored.id: stored for stored in self.bot.documents()}
        rows = []
        for record in sorted(self.store.records(), key=lambda record: (record.name, record.id)):
            if record.id in found:
                rows.append(Listed(record, "ready", found[record.id].chunks))
            else:
                why = self.failed.get(record.id, "")
                rows.append(Listed(record, "failed" if why else "indexing", detail=why))
        return rows

    def reconcile(self, each: Callable[[str], None] = lambda name: None) -> tuple[int, int]:
        """Makes the index hold what the store holds. Returns how many documents were added to it, and taken out.

        Of several documents of one name the newest that can be read stays: a newer one was on its way to replace it
        when the process ended, and until it is indexed the older one is what somebody was told of.

        Args:
            each: called with the name of each document before it is added.
        """
        with self.writing():
            self.store.tidy()
            by_name: dict[str, list[Record]] = {}
            for record in self.store.records():
                by_name.setdefault(record.name, []).append(record)
            indexed, added, removed = {document.id for document in self.bot.documents()}, 0, 0
            stored = {record.id for records in by_name.values() for record in records}
            for identity in indexed - stored:
                removed += self.bot.remove(identity)
            for name, records in by_name.items():
                while records:
                    newest = records.pop()
                    if newest.id not in indexed:
                        each(name)
                        if not self._mended(newest):
                            continue
                        added += 1
                    for older in records:
                        self.store.discard(older.id)
                        removed += self.bot.remove(older.id)
                    break
            return added, removed

    def _mended(self, record: Record) -> bool:
        try:
            self.bot.add(self.store.file(record.id), record.name)
        except CourseError as error:
            self.failed[record.id] = str(error).replace(str(self.store.file(record.id)), record.name)
            return False
        self.failed.pop(record.id, None)
        return True


def lock_of(folder: Path) -> Any:
    """What keeps the processes apart that write to the folder of a service."""
    from filelock import FileLock

    return FileLock(folder / ".writing.lock", thread_local=False)


class _Both:
    """Two locks as one: of the threads here, and of the processes that share the folder."""

    def __init__(self, threads: threading.Lock, processes: Any) -> None:
        self.threads, self.processes = threads, processes

    def __enter__(self) -> None:
        self.threads.acquire()
        try:
            self.processes.acquire()
        except BaseException:
            self.threads.release()
            raise

    def __exit__(self, *_: object) -> None:
        self.processes.release()
        self.threads.release()
