"""Who is faster? Contestants take turns; the best round of each counts, and the ratio comes with its spread.

What else the machine does slows a round down and never speeds one up, so the best round says most. The processor's time
stands beside the clock's: where it is far below clock times threads, somebody waited. Ratios are made of the time by
the clock, but on one thread of the processor's, which is that of our own work alone.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from shared.config import Count, Seed
from shared.files import write_json
from shared.origin import processor
from shared.parallel import cores
from shared.results import markdown, publish
from shared.runs import versions
from shared.terminal import typed


@dataclass
class BenchConfig:
    """The flags of every bench.py."""

    rounds: Count = 5
    """How often each contestant runs."""
    threads: tuple[Count, ...] = ()
    """How many CPU threads, one table each. Default: 1, and all cores."""
    seed: Seed = 0
    """What the random inputs and weights follow from. The time does not depend on it."""
    preset: str = "quick"
    """A set of defaults: `smoke` (one short round), `quick` (minutes), `full` (more and longer rounds).
    A flag given by hand wins over the preset."""
    publish: bool = False
    """Put the tables into the week's RESULTS.md (for whoever looks after the lesson)."""


@dataclass
class Laps:
    """The rounds of one contestant, in seconds by the clock and by the processor (summed over its threads)."""

    clock: list[float] = field(default_factory=list)
    process: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        return min(self.clock)

    @property
    def median(self) -> float:
        return statistics.median(self.clock)

    @property
    def best_process(self) -> float:
        return min(self.process)


@dataclass(frozen=True)
class Lap:
    """What a contestant returns that times itself, where a round holds more than what is to be measured: seconds."""

    clock: float
    process: float


T = TypeVar("T")


def take_turns(contestants: Mapping[str, Callable[[], Any]], rounds: int, rest: float = 0.0) -> dict[str, Laps]:
    """Lets everybody run `rounds` times in turn, after a first round that only warms up.

    Args:
        contestants: by name, one round of work each. A tensor that it returns is waited for (a GPU works on alone), and
            a Lap counts instead of the round.
        rounds: how often.
        rest: seconds of silence before each turn, for another library's threads to go to sleep.
    """
    laps = {name: Laps() for name in contestants}
    for number in range(rounds + 1):
        for name, work in contestants.items():
            if rest:
                time.sleep(rest)
            clock, process = time.perf_counter(), time.process_time()
            done = work()
            wait_for(done)
            lap = Lap(time.perf_counter() - clock, time.process_time() - process)
            if number:
                lap = done if isinstance(done, Lap) else lap
                laps[name].clock.append(lap.clock)
                laps[name].process.append(lap.process)
    return laps


def wait_for(done: Any) -> None:
    """Reads a number of a tensor, which is there only when the device has finished."""
    if hasattr(done, "is_cuda") and done.numel():
        done.detach().flatten()[0].item()


def ratio(ours: Laps, theirs: Laps, threads: int = 2) -> tuple[float, float, float]:
    """How many times as fast the first is as the second: by the best rounds; and by round, the lowest and highest."""
    by_processor = threads == 1 and all(ours.process) and all(theirs.process)  # a coarse one may say that it took none
    times = [(laps.process if by_processor else laps.clock) for laps in (ours, theirs)]
    by_round = [b / a for a, b in zip(*times, strict=True)]
    return min(times[1]) / min(times[0]), min(by_round), max(by_round)


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Inside `with`, torch and NumPy's BLAS compute on so many threads (those of them that are imported)."""
    with ExitStack() as stack:
        if torch := sys.modules.get("torch"):
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(count)
        if "threadpoolctl" in sys.modules:
            stack.enter_context(sys.modules["threadpoolctl"].threadpool_limits(count))
        yield


def thread_counts(wanted: Sequence[int], device: str = "cpu") -> tuple[int, ...]:
    """The --threads that were asked for, or 1 and all cores; on a GPU the last of them alone."""
    counts = tuple(wanted) or tuple(sorted({1, cores()}))
    return counts if device == "cpu" else counts[-1:]


def digits(ratio: float) -> str:
    """A ratio with two decimals; one below 0.01 with two digits, for 1 in 400 would be 0.00."""
    return f"{ratio:.2f}" if ratio >= 0.01 else f"{ratio:.2g}"


def table(
    laps: Mapping[str, Laps], work: Mapping[str, int | float], unit: str, peer: str, threads: int = 2
) -> tuple[str, dict[str, dict[str, float]]]:
    """A Markdown table of a race, and its numbers.

    Args:
        laps: from take_turns.
        work: by name, how many `unit`s one round does.
        unit: images, tokens, examples.
        peer: whom everybody is compared with.
        threads: decides which time the ratio is made of.

    Returns:
        The table, and per name {best, median, process, per_second, ratio, low, high}.
    """
    numbers, rows = {}, []
    for name, found in laps.items():
        more = work[name] / work[peer]  # a slow contestant may be given less to do
        times, low, high = (more * times for times in ratio(found, laps[peer], threads))
        numbers[name] = {"best": found.best, "median": found.median, "process": found.best_process}
        numbers[name] |= {"per_second": work[name] / found.best, "ratio": times, "low": low, "high": high}
        rows.append([
            name, f"{work[name] / found.best:,.0f}", f"{found.best:.4g}", f"{found.median:.4g}",
            f"{found.best_process:.4g}", f"{digits(times)} ({digits(low)} to {digits(high)})",
        ])  # fmt: skip
    columns = ["", f"{unit}/s", "best s", "median s", "process s", f"x {peer} (by round)"]
    return markdown(columns, rows), numbers


def parts(
    cfg: Any, week: int, benches: Mapping[str, Callable[..., tuple[str, dict[str, Any]]]], device: Any
) -> dict[str, Any]:
    """Runs the parts of a bench that `cfg.parts` names, on each number of threads; prints their tables, puts them into
    RESULTS.md with --publish, and the numbers into bench.json of `cfg.out`.

    Args:
        cfg: a BenchConfig with `parts` and `out`.
        benches: {part: function of (cfg, device, threads)}, which returns a Markdown table and its numbers.
        device: of shared.device.

    Returns:
        {"part, n threads": its numbers}.
    """
    found: dict[str, Any] = {}
    for part, bench in benches.items():
        if part not in cfg.parts:
            continue
        texts = []
        for threads in thread_counts(cfg.threads, device.name):
            with on_threads(threads):
                text, found[f"{part}, {threads} threads"] = bench(cfg, device, threads)
            texts.append(f"{circumstances(cfg.rounds, threads)}\n\n{text}")
            print(f"\n{texts[-1]}", flush=True)
        if cfg.publish:
            publish(week, f"bench {part}", "\n\n".join(texts))
    write_json(Path(cfg.out) / "bench.json", found)
    return found


def circumstances(rounds: int, threads: int | None = None) -> str:
    """The line above a table: the command, the rounds, the threads, the processor and the versions."""
    on = f"{threads} thread{'s' * (threads > 1)}, " if threads else ""
    libraries = ", ".join(f"{name} {number}" for name, number in versions().items())
    return f"*`{typed('--publish')}`: best of {rounds} rounds, {on}{processor()}, {cores()} cores; {libraries}*"
