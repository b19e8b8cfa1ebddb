"""Many callers, one model call: requests that come at about the same time are computed together.

References
    D. Crankshaw et al., "Clipper: a low-latency online prediction serving system", NSDI 2017, section 4.3
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item, Result = TypeVar("Item"), TypeVar("Result")


class MicroBatcher(Generic[Item, Result]):
    """Gathers what several callers want into one call of `work`, and hands each its own result.

        batcher = MicroBatcher(work)
        row = await batcher.submit("How do I …?")

    Lives in one event loop. One batch is computed at a time; meanwhile the next one gathers.

    Args:
        work: makes a result for each item of a list, in their order.
        most: items of a batch, at most.
        wait: how many seconds the first item of a batch waits for others.
    """

    def __init__(
        self, work: Callable[[list[Item]], Awaitable[Sequence[Result]]], most: int = 32, wait: float = 0.002
    ) -> None:
        self.work, self.most, self.wait = work, most, wait
        self.waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self.busy = False  # a batch is being computed
        self.timer: asyncio.TimerHandle | None = None
        self.tasks: set[asyncio.Task[None]] = set()

    async def submit(self, item: Item) -> Result:
        """The result for this item, computed together with those of others.

        Raises:
            Exception: what `work` raises for the batch.
        """
        # exercise 2: the micro-batcher, gathering
        # Puts (item, a new future of the running loop) into self.waiting, behind the others, and waits for the future.
        # A batch is begun by self.flush(): at once where self.most are waiting, else self.wait seconds after the first
        # of them came. While self.busy, neither: who is computing looks at what waits when it has ended.
        # hint: the event loop makes the future, and calls self.flush later (its handle is self.timer). Only the first
        # one starts the clock; whoever makes the batch full does not wait for it.
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self.waiting.append((item, future))
        if not self.busy:
            if len(self.waiting) >= self.most:
                self.flush()
            elif self.timer is None:
                self.timer = loop.call_later(self.wait, self.flush)
        return await future
        # end of exercise 2

    def flush(self) -> None:
        """Begins a batch of what is waiting, the longest waiting first; without those whose callers have gone."""
        if self.timer:
            self.timer.cancel()
            self.timer = None
        self.waiting = [(item, future) for item, future in self.waiting if not future.done()]
        if self.busy or not self.waiting:
            return
        batch, self.waiting = self.waiting[: self.most], self.waiting[self.most :]
        self.busy = True
        task = asyncio.get_running_loop().create_task(self.compute(batch))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def compute(self, batch: list[tuple[Item, "asyncio.Future[Result]"]]) -> None:
        """Computes a batch, hands out what came of it, and begins the next one."""
        try:
            # exercise 2: the micro-batcher, handing out
            # batch: [(item, future), …] -> one call of self.work with the list of the items; each future gets the
            # result of its own item by set_result. Where self.work raises, every future gets that exception by
            # set_exception, and none is left waiting; a RuntimeError, where it makes more or fewer results than there
            # are items. A future that is done() by now (its caller has gone) is left alone: setting it would raise.
            # hint: three ends: as many results as items, another number of them, an exception. Each has to reach
            # every future that is not done yet, so catch what the work raises around all of it.
            try:
                results = await self.work([item for item, _ in batch])
                if len(results) != len(batch):
                    raise RuntimeError(f"{len(results)} results for a batch of {len(batch)} items")
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            else:
                for (_, future), result in zip(batch, results, strict=True):
                    if not future.done():
                        future.set_result(result)
            # end of exercise 2
        finally:
            self.busy = False
            for _, future in batch:
                if not future.done():
                    future.cancel()  # the loop is being closed, and the work was cancelled
            self.flush()

    async def drain(self) -> None:
        """Waits until nothing is waiting or computed any more."""
        while self.waiting or self.tasks:
            self.flush()
            await asyncio.gather(*self.tasks, return_exceptions=True)
