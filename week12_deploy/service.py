"""What the service holds while it runs: the bot, the library, the threads; how it gets ready, and how it ends."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from shared.errors import CourseError
from week12_deploy import uploads
from week12_deploy.answering import Answering
from week12_deploy.batched import BatchedEmbedder
from week12_deploy.library import Library, Listed
from week12_deploy.logs import tell
from week12_deploy.metrics import Metrics
from week12_deploy.problems import Problem
from week12_deploy.settings import Settings
from week12_deploy.store import Record, Store

Opener = Callable[[Settings, Callable[[Any], Any]], Any]
"""Opens the bot: given the settings, and what to wrap its embedder in."""
TOGETHER = 32
"""Questions of a call of an embedder that does not say itself how many pay."""


class Service:
    """Made at once, ready later: the bot is opened in a thread, and meanwhile the process can say that it lives.

    Args:
        cfg: the settings.
        open_bot: makes the bot (assembly.py; a test has its own).
        failed: called with the line of what went wrong, where it cannot get ready.
    """

    def __init__(self, cfg: Settings, open_bot: Opener, failed: Callable[[str], None] = lambda line: None) -> None:
        self.cfg, self.open_bot, self.failed = cfg, open_bot, failed
        self.metrics = Metrics()
        self.began = time.perf_counter()
        self.bot: Any = None
        self.library: Library | None = None
        self.embedder: BatchedEmbedder | None = None
        self.answering: Answering | None = None
        self.looking = asyncio.Semaphore(1)  # a PDF may take much memory while it is looked at: one at a time
        self.wrong, self.at = "", "loading the models"
        self.tasks: set[asyncio.Task[Any]] = set()
        self.beside: Any = None  # pages, which are opened with the bot when it is ready, and closed with the service

    @asynccontextmanager
    async def running(self, _: Any = None) -> AsyncIterator[None]:
        """The life of the service, as FastAPI's `lifespan` has it."""
        self.answering = Answering(self.cfg.at_once, self.cfg.queue, self.cfg.timeout)
        loop = asyncio.get_running_loop()
        getting_ready = loop.create_task(self._get_ready())
        try:
            yield
        finally:
            tell("stopping")
            getting_ready.cancel()
            await asyncio.gather(getting_ready, *self.tasks, return_exceptions=True)
            if self.beside:
                await self.beside.close()
            if self.embedder:
                await self.embedder.stop()

    async def _get_ready(self) -> None:
        try:
            bot, store = await asyncio.to_thread(self._open)
            library = Library(store, bot)
            self.at = "bringing the index up to date"
            added, removed = await asyncio.to_thread(library.reconcile, lambda name: tell("mending"))
            if self.embedder:
                self.embedder.start()
            self.library, self.bot = library, bot
            rows = await asyncio.to_thread(library.listed)
            self.metrics.documents.set(len(rows))
            seconds = round(time.perf_counter() - self.began, 2)
            tell("ready", seconds=seconds, documents=len(rows), added=added, removed=removed)
            if self.beside:
                await self.beside.open(bot)
        except CourseError as error:
            self.wrong = str(error)
            tell("cannot start", logging.ERROR, what=self.wrong)
            self.failed(self.wrong)
        except Exception as error:
            self.wrong = f"it broke down while {self.at} ({type(error).__name__})"
            tell("cannot start", logging.ERROR, error)
            self.failed(self.wrong)

    def _open(self) -> tuple[Any, Store]:
        return self.open_bot(self.cfg, self._shared), Store(self.cfg.folder)

    def _shared(self, embedder: Any) -> BatchedEmbedder:
        """The embedder, with its calls shared."""
        each = self.metrics.batches.observe
        together = self.cfg.batch or getattr(embedder, "together", TOGETHER)
        self.embedder = BatchedEmbedder(embedder, together, self.cfg.wait / 1000, each)
        return self.embedder

    # ------------------------------------------------------------ what the routes ask for

    def opened(self) -> tuple[Any, Library, Answering]:
        """The bot, the library and the threads.

        Raises:
            Problem: they are not ready yet.
        """
        if self.bot is None or self.library is None or self.answering is None:
            why = f"it cannot start: {self.wrong}" if self.wrong else f"not ready yet: {self.at}. Ask again."
            raise Problem(503, why, {"Retry-After": "2"}, "starting")
        return self.bot, self.library, self.answering

    async def listed(self, limit: float = 10.0) -> list[Listed]:
        """All documents.

        Raises:
            Problem: not ready, or the index does not answer (503).
        """
        _, library, _ = self.opened()
        try:
            return await asyncio.wait_for(asyncio.to_thread(library.listed), limit)
        except (CourseError, TimeoutError) as error:
            line = str(error) or f"the index does not answer within {limit:g} seconds."
            raise Problem(503, line, {"Retry-After": "5"}) from None

    async def look(self, received: Path, name: str) -> uploads.Looked:
        """What a PDF that was received is, after those that came before it.

        Raises:
            Problem: it cannot be read (413, 415, 422), or it would have to wait too long (503).
        """
        cfg = self.cfg
        try:
            await asyncio.wait_for(self.looking.acquire(), cfg.reading)
        except TimeoutError:
            line = "other uploads are being read: send this one again in a minute."
            raise Problem(503, line, {"Retry-After": "60"}, "busy") from None
        try:
            return await uploads.look(received, name, cfg.pages, cfg.memory, cfg.reading)
        finally:
            self.looking.release()

    async def index(self, record: Record) -> bool:
        """Indexes a stored document. True: it can be found now; False: it takes longer, and goes on by itself.

        Raises:
            CourseError: it cannot be indexed.
        """
        _, library, _ = self.opened()
        task = asyncio.get_running_loop().create_task(asyncio.to_thread(library.index, record))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        try:
            await asyncio.wait_for(asyncio.shield(task), self.cfg.patience)
            return True
        except TimeoutError:
            task.add_done_callback(lambda done: self._late(record, done))
            return False

    def _late(self, record: Record, done: "asyncio.Task[None]") -> None:
        """After its caller was told that it is being indexed: what became of that."""
        with suppress(asyncio.CancelledError):
            error = done.exception()
            if error is None:
                tell("indexed", document=record.id)
            elif self.library:
                known = isinstance(error, CourseError)
                line = str(error).replace(str(self.library.store.file(record.id)), record.name)
                self.library.failed[record.id] = line if known else f"it broke down ({type(error).__name__})"
                tell("not indexed", logging.ERROR, error, document=record.id)
