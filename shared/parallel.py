"""Many small jobs side by side, each in a process of its own: `for result in in_processes(work, tasks, jobs)`."""

import io
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from shared import terminal
from shared.errors import CourseError
from shared.interrupt import StopRequest


def cores() -> int:
    """How many processors this process may use: all, or those that `taskset` or a scheduler of jobs leaves it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load() -> float | None:
    """How busy this machine was in the last minute: 1.0 where there was work for each of its processors, more where
    some of it had to wait. None where the system does not tell (Windows)."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else None


def in_processes(work: Callable[[Any], Any], tasks: Sequence[Any], jobs: int) -> Iterator[Any]:
    """Yields work(task) of every task, as they get ready.

    Small networks leave a second core idle most of the time, so two trainings side by side are done sooner than one
    after the other with both cores.

    Args:
        work: a function of a module; it is imported anew by each process.
        tasks: what it is called with.
        jobs: how many processes, of one thread each unless `work` says otherwise. 1 stays in this process, and so
            does what runs with a learner's own code (--mine), of which a new process would not know.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed. What has not been yielded is lost, and the processes are ended.
        CourseError: a process was killed.
    """
    if jobs > 1 and terminal.mine():
        print("with your own code: one training at a time")
        jobs = 1
    if min(jobs, len(tasks)) <= 1:
        yield from map(work, tasks)
        return
    others = set(multiprocessing.active_children())
    spawn = multiprocessing.get_context("spawn")  # a forked process inherits threads and locks that torch holds
    executor = ProcessPoolExecutor(min(jobs, len(tasks)), spawn, initializer=_begin)
    try:
        with StopRequest() as stop:
            with _deaf(), _one_thread():
                pending = {executor.submit(work, task) for task in tasks}
            while pending:
                done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
                if stop:
                    raise KeyboardInterrupt
        executor.shutdown()
    except BrokenProcessPool:
        raise CourseError("a training's process was killed; most likely memory ran out. Try fewer --jobs.") from None
    finally:
        for process in set(multiprocessing.active_children()) - others:  # after Ctrl-C: nobody waits for them
            process.kill()
        executor.shutdown(cancel_futures=True)


def _begin() -> None:
    """In a new process: no bars, for several would write over each other; and no lock of theirs between processes,
    which one that is killed would leave behind."""
    from tqdm import tqdm

    sys.stderr = io.StringIO()
    tqdm.set_lock(threading.RLock())


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes that are started inside compute with one thread: torch and NumPy's libraries read this when loaded."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes that are started inside do not hear Ctrl-C: this one does, and ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
