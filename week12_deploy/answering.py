"""Asks the bot, which works in threads, for the event loop, which must not wait: as many at once as it can bear, each
for a limited time, and for nobody who has gone."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from shared.errors import CourseError
from week12_deploy.logs import tell
from week12_deploy.problems import Problem

Result = TypeVar("Result")
END = object()


class Place:
    """The right to have one answer worked on. It is given back once, when that work has ended or was never begun."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back: Callable[[], None] | None = give_back
        self.begun = False

    def give_back(self) -> None:
        if self._give_back:
            self._give_back, call = None, self._give_back
            call()


class Answering:
    """Runs the bot's work in threads.

    Args:
        at_once: answers that are worked on at the same time.
        queue: how many may wait for that.
        timeout: seconds that an answer may take, and seconds that it may wait before.
    """

    def __init__(self, at_once: int, queue: int, timeout: float) -> None:
        self.at_once, self.queue, self.timeout = at_once, queue, timeout
        self.places = asyncio.Semaphore(at_once)
        self.inside = 0  # waiting and worked on; the semaphore alone does not know of those who are about to ask it

    async def place(self) -> Place:
        """A place, as soon as one is free.

        Raises:
            Problem: too many are waiting (503), or it took too long (504).
        """
        if self.inside >= self.at_once + self.queue:
            raise Problem(503, "too many questions at the moment: ask again in a second.", {"Retry-After": "1"}, "busy")
        self.inside += 1
        try:
            await asyncio.wait_for(self.places.acquire(), self.timeout)
        except BaseException as error:
            self.inside -= 1
            if isinstance(error, TimeoutError):
                raise self.too_slow() from None
            raise
        return Place(self._leave)

    def _leave(self) -> None:
        self.inside -= 1
        self.places.release()

    def too_slow(self) -> Problem:
        return Problem(504, f"no answer within {self.timeout:g} seconds: ask again, or ask less.")

    async def run(self, place: Place, work: Callable[[], Result]) -> Result:
        """What `work` returns, done in a thread.

        Raises:
            Problem: it takes too long (504), or what it needs does not answer (503).
        """
        place.begun = True
        future = in_thread(work)
        future.add_done_callback(lambda _: place.give_back())
        try:
            return await asyncio.wait_for(asyncio.shield(future), self.timeout)
        except TimeoutError:
            future.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody asks for it any more
            raise self.too_slow() from None
        except CourseError as error:
            raise unavailable(error) from None

    async def events(
        self, place: Place, bot: Any, question: str, history: Sequence[tuple[str, str]]
    ) -> AsyncIterator[Any]:
        """The events of bot.stream, as they come. Whoever stops listening stops the work, too, at its next event.

        Raises:
            Problem: it takes too long (504), or what it needs does not answer (503).
        """
        loop, found, gone = asyncio.get_running_loop(), asyncio.Queue(), threading.Event()
        deadline = time.monotonic() + self.timeout

        def put(item: Any) -> None:
            with suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(found.put_nowait, item)

        def work() -> None:
            try:
                stream = bot.stream(question, history)
                for event in stream:
                    if gone.is_set():
                        stream.close()
                        return
                    put(event)
                put(END)
            except Exception as error:
                put(error)

        place.begun = True
        in_thread(work).add_done_callback(lambda _: place.give_back())
        try:
            while True:
                try:
                    # Not wait_for: that of Python 3.11 drops a cancellation which comes together with an event.
                    async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                        item = await found.get()
                except TimeoutError:
                    raise self.too_slow() from None
                if item is END:
                    return
                if isinstance(item, CourseError):
                    raise unavailable(item) from None
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            gone.set()


def in_thread(work: Callable[[], Result]) -> "asyncio.Future[Result]":
    """Does `work` in a thread of its own, for which the end of the process does not wait, as it does for those of a
    pool: a language model elsewhere may be silent for minutes, and nobody listens any more."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def hand_over(give: Callable[[Any], None], what: Any) -> None:
        if not future.done():
            give(what)

    def run() -> None:
        try:
            given = future.set_result, work()
        except Exception as error:
            given = future.set_exception, error
        with suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(hand_over, *given)

    threading.Thread(target=run, name="answer", daemon=True).start()
    return future


def unavailable(error: CourseError) -> Problem:
    """What a bot that cannot answer says: its language model, or its index, is not there. The caller hears it, too: it
    names addresses, and no keys."""
    tell("unavailable", logging.WARNING, what=str(error))
    return Problem(503, str(error), {"Retry-After": "5"})
