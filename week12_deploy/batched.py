"""The embedder as the service's threads see it: what they ask for at the same time is one call of the network."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from jaxtyping import Float32

from week11_rag.embed import Embedder
from week12_deploy.batching import MicroBatcher

FEW = 4
"""So many texts are put together with those of others; more are a batch of their own already."""
RECENT = 1_000
"""Questions whose vectors are kept."""


class BatchedEmbedder(Embedder):
    """An embedder around another one. Questions go through a micro-batcher in the event loop; chunks of a document,
    many at a time, straight to the network, and wait for each other.

    Args:
        embedder: whose work is shared.
        most, wait: as MicroBatcher has them.
        each: called with the number of texts of every call.
    """

    def __init__(self, embedder: Any, most: int, wait: float, each: Callable[[int], None] = lambda count: None) -> None:
        self.embedder, self.most, self.each = embedder, most, each
        self.name, self.dimension = embedder.name, embedder.dimension
        self.batcher: MicroBatcher[str, Any] = MicroBatcher(self._work, most, wait)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="embed")
        self._many, self._recent = threading.Lock(), OrderedDict[str, Any]()

    def start(self) -> None:
        """Shares from now on, in the running loop."""
        self.loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        """Waits for what is being computed; from then on nothing is shared."""
        self.loop = None
        await self.batcher.drain()
        self.pool.shutdown(wait=False)

    def encode(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts dim"]:
        """As the embedder has it; called from a thread that is not the loop's.

        A text that comes alone is a question. The search wants its vector, and the support, and the reader: those of
        the last ones are kept.
        """
        if len(texts) != 1:
            return self._encode(texts)
        found = self._recent.get(texts[0])
        if found is None:
            found = self._encode(texts)
            self._recent[texts[0]] = found
            while len(self._recent) > RECENT:
                self._recent.pop(next(iter(self._recent), ""), None)
        return found.copy()

    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        loop = self.loop
        if 1 <= len(texts) <= FEW:
            if loop is not None and self.most > 1:
                if len(texts) == 1:  # a question, the usual case: one task less than _all
                    return asyncio.run_coroutine_threadsafe(self.batcher.submit(texts[0]), loop).result()[None]
                return asyncio.run_coroutine_threadsafe(self._all(texts), loop).result()
            self.each(len(texts))
            return self.embedder.encode(texts)
        with self._many:
            return self.embedder.encode(texts)

    def encode_tokens(self, texts: Sequence[str]) -> Any:
        """As the embedder has it."""
        return self.embedder.encode_tokens(texts)

    def forget(self) -> None:
        """Drops the vectors of the last questions."""
        self._recent.clear()

    def count(self, text: str) -> int:
        """As the embedder has it."""
        return self.embedder.count(text)

    async def _all(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack(await asyncio.gather(*map(self.batcher.submit, texts)))

    async def _work(self, texts: list[str]) -> np.ndarray:
        self.each(len(texts))
        return await asyncio.get_running_loop().run_in_executor(self.pool, self.embedder.encode, texts)
