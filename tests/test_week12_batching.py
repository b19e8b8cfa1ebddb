"""Week 12's micro-batcher, in an event loop whose time is ours: who waits 2 ms waits as long as it takes to say so."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from week12_deploy.batched import BatchedEmbedder
from week12_deploy.batching import MicroBatcher
from week12_deploy.service import Service
from week12_deploy.settings import Settings


class Timeless(asyncio.SelectorEventLoop):
    """An event loop that sleeps for nobody: where there is nothing to do, it is later."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        select = self._selector.select

        def soon(timeout):
            found = select(0)
            if not found and timeout:
                self.now += timeout
            return found

        self._selector.select = soon

    def time(self):
        return self.now


def run(coroutine):
    """Runs it; who still waits after a thousand seconds of its time waits for ever."""
    loop = Timeless()
    try:
        return loop.run_until_complete(asyncio.wait_for(coroutine, 1_000))
    except TimeoutError:
        raise AssertionError("somebody waits for ever") from None
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


class Calls:
    """A network that squares, keeps what it was called with and when, and takes `seconds` for a call."""

    def __init__(self, seconds=0.0):
        self.seconds, self.seen, self.at = seconds, [], []

    async def __call__(self, items):
        self.seen.append(list(items))
        self.at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.seconds)
        return [item * item for item in items]


async def at(seconds, coroutine):
    await asyncio.sleep(seconds)
    return await coroutine


@pytest.mark.exercise(2)
def test_one_caller_gets_its_own_result():
    work = Calls()
    found = run(MicroBatcher(work, most=4, wait=0.01).submit(3))
    assert found == 9, f"submit(3) gives {found!r}, should be what the work makes of it, 9"
    assert work.seen == [[3]], f"one call with [3], not {work.seen}"


@pytest.mark.exercise(2)
def test_those_who_come_together_share_a_call_and_each_gets_its_own():
    work = Calls()

    async def all_of_them():
        batcher = MicroBatcher(work, most=8, wait=0.01)
        return await asyncio.gather(*map(batcher.submit, [5, 1, 4, 2]))

    found = run(all_of_them())
    assert len(work.seen) == 1, f"four callers at once are one call, not {len(work.seen)}: {work.seen}"
    assert found == [25, 1, 16, 4], f"each caller gets the result of its own item: {found}, should be [25, 1, 16, 4]"


@pytest.mark.exercise(2)
def test_a_full_batch_waits_for_nobody_and_one_that_is_not_waits_its_time():
    work = Calls()

    async def three_of_two():
        batcher = MicroBatcher(work, most=2, wait=0.5)
        await asyncio.gather(batcher.submit(1), batcher.submit(2))
        await batcher.submit(3)

    run(three_of_two())
    assert work.seen == [[1, 2], [3]]
    assert work.at[0] == 0.0, f"a full batch begins at once, not after {work.at[0]:g} s"
    assert work.at[1] == pytest.approx(0.5), f"the first of a batch waits 0.5 s for others, not {work.at[1]:g}"


@pytest.mark.exercise(2)
def test_the_time_counts_from_the_first_of_a_batch():
    work = Calls()

    async def one_after_the_other():
        batcher = MicroBatcher(work, most=100, wait=1.0)
        await asyncio.gather(*(at(0.4 * number, batcher.submit(number)) for number in range(4)))

    run(one_after_the_other())
    assert work.seen == [[0, 1, 2], [3]], f"those of the first second, then the fourth; not {work.seen}"
    assert work.at == pytest.approx([1.0, 2.2]), "who comes later does not put the batch off"


@pytest.mark.exercise(2)
def test_while_one_batch_is_computed_the_next_one_gathers():
    work = Calls(seconds=1.0)

    async def many():
        batcher = MicroBatcher(work, most=3, wait=0.1)
        return await asyncio.gather(*(at(0.15 * number, batcher.submit(number)) for number in range(6)))

    assert run(many()) == [number**2 for number in range(6)]
    assert work.seen == [[0], [1, 2, 3], [4, 5]], f"one call at a time, and those that came meanwhile: {work.seen}"
    assert work.at == pytest.approx([0.1, 1.1, 2.1]), "the next batch begins when the last one ends"


@pytest.mark.exercise(2)
def test_what_goes_wrong_reaches_every_caller_of_the_batch_and_nobody_else():
    async def broken(items):
        if 13 in items:
            raise ValueError("thirteen")
        return items

    async def two_batches():
        batcher = MicroBatcher(broken, most=3, wait=0.1)
        first = await asyncio.gather(*map(batcher.submit, [1, 13, 2]), return_exceptions=True)
        return first, await batcher.submit(7)

    first, after = run(two_batches())
    assert [type(one) for one in first] == [ValueError] * 3, f"all three hear of the error: {first}"
    assert after == 7, "and the next batch is computed as ever"


@pytest.mark.exercise(2)
def test_a_caller_who_has_gone_is_left_out_and_takes_nobodys_result():
    work = Calls(seconds=1.0)

    async def one_leaves(when):
        batcher = MicroBatcher(work, most=8, wait=0.1)
        callers = [asyncio.ensure_future(batcher.submit(number)) for number in (1, 2, 3)]
        await asyncio.sleep(when)
        callers[1].cancel()
        return await asyncio.gather(callers[0], callers[2], at(5, batcher.submit(4)), return_exceptions=True)

    assert run(one_leaves(0.05)) == [1, 9, 16], "gone before the call: the others get their own"
    assert work.seen[0] == [1, 3], f"who has gone is not computed for: {work.seen[0]}"
    found = run(one_leaves(0.5))
    assert found == [1, 9, 16], (
        f"gone while it is computed: the others get their own, and the next batch goes on; {found}"
    )


@pytest.mark.exercise(2)
def test_a_network_that_gives_too_few_rows_is_an_error_for_all():
    async def short(items):
        return items[:-1]

    async def three():
        batcher = MicroBatcher(short, most=3, wait=0.1)
        return await asyncio.gather(*map(batcher.submit, [1, 2, 3]), return_exceptions=True)

    found = run(three())
    assert [type(one) for one in found] == [RuntimeError] * 3, f"2 results for 3 items: an error for each, not {found}"


def test_a_thousand_callers_at_random_times_each_get_their_own():
    work, rng = Calls(seconds=0.003), np.random.default_rng(0)

    async def crowd():
        batcher = MicroBatcher(work, most=16, wait=0.002)
        return await asyncio.gather(*(at(float(rng.exponential(0.05)), batcher.submit(n)) for n in range(1_000)))

    assert run(crowd()) == [number**2 for number in range(1_000)]
    assert max(map(len, work.seen)) == 16 and sum(map(len, work.seen)) == 1_000
    assert len(work.seen) < 150, "and few calls were made"


def test_draining_waits_for_all_that_is_under_way():
    work = Calls(seconds=1.0)

    async def drained():
        batcher = MicroBatcher(work, most=2, wait=60.0)
        callers = [asyncio.ensure_future(batcher.submit(number)) for number in range(5)]
        await asyncio.sleep(0)
        await batcher.drain()
        return [caller.result() for caller in callers], asyncio.get_running_loop().time()

    found, seconds = run(drained())
    assert found == [0, 1, 4, 9, 16] and seconds == pytest.approx(3.0), "three calls, and nobody waits 60 seconds"


class Lengths:
    """An embedder whose vectors say how long a text is."""

    name, dimension = "lengths", 2

    def __init__(self):
        self.calls, self.threads = [], set()

    def encode(self, texts):
        self.calls.append(len(texts))
        self.threads.add(threading.current_thread().name)
        return np.array([[len(text), 1.0] for text in texts], np.float32).reshape(-1, 2)

    def count(self, text):
        return len(text.split())


def test_threads_that_embed_at_the_same_time_share_a_call():
    own, counted = Lengths(), []

    async def many(most):
        shared = BatchedEmbedder(own, most=most, wait=0.2, each=counted.append)
        shared.start()
        gate = threading.Barrier(8, timeout=30)

        def ask(number):
            gate.wait()
            return shared.encode(["x" * number])

        with ThreadPoolExecutor(8) as pool:
            loop = asyncio.get_running_loop()
            found = await asyncio.gather(*(loop.run_in_executor(pool, ask, number) for number in range(1, 9)))
        await shared.stop()
        return [row[0, 0] for row in found], shared.encode(["after", "the end"])[:, 0].tolist()

    assert asyncio.run(many(8)) == ([1, 2, 3, 4, 5, 6, 7, 8], [5, 7])
    assert own.calls == [8, 2] and counted == [8, 2]
    own.calls.clear()
    assert asyncio.run(many(1))[0] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert own.calls == [1] * 8 + [2], "--batch 1: each alone"


def test_the_chunks_of_a_document_go_straight_to_the_network():
    own = Lengths()

    async def chunks():
        shared = BatchedEmbedder(own, most=32, wait=0.001)
        shared.start()
        found = await asyncio.to_thread(shared.encode, ["x" * n for n in range(20)])
        none = await asyncio.to_thread(shared.encode, [])
        await shared.stop()
        return found, none

    found, none = asyncio.run(chunks())
    assert found[:, 0].tolist() == list(range(20)) and own.calls[0] == 20 and len(none) == 0


@pytest.mark.parametrize(("batch", "said", "most"), [(0, {}, 32), (0, {"together": 1}, 1), (8, {"together": 1}, 8)])
def test_how_many_share_a_call_follows_from_the_embedder_unless_it_is_said(batch, said, most):
    service = Service(Settings(batch=batch), lambda cfg, wrap: None)
    assert service._shared(SimpleNamespace(name="any", dimension=4, **said)).most == most
