"""The service measured from outside: cold start, latency by the number of clients, first words, what HTTP costs."""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from shared import race, runs
from shared.errors import CourseError
from shared.terminal import typed
from week12_deploy import load
from week12_deploy.served import Served, flags_of
from week12_deploy.settings import Settings

DIRECT = 100
"""Questions that the bot is asked without HTTP between."""


def measure(cfg: Any, model: Path) -> dict[str, Any]:
    """Serves week 11's run with the exported embedder, and asks it; everything on this machine, and bounded.

    Args:
        cfg: eval's flags.
        model: the folder of week 12's run.

    Returns:
        {scores, rows, text}; nothing where there is no run of week 11.

    Raises:
        CourseError: an answer was an error, or the service does not start.
    """
    from week11_rag.train import SUPPORT

    try:
        run = Path(cfg.rag) if cfg.rag else runs.newest(11, SUPPORT)
    except CourseError as error:
        print(f"  nothing is put under load: {error}")
        return {}
    questions = load.variations(load.asked(cfg.data or "sample"), 0)
    more = ("--lm", cfg.lm, "--at-once", str(max(cfg.clients)), "--timeout", "120")
    with tempfile.TemporaryDirectory() as folder:
        flags = flags_of(run, model, Path(folder) / "store", *more)
        with Served(*flags) as served:
            first = served.cold
        with Served(*flags) as served:  # with a store that is there already
            again = served.cold
            asyncio.run(load.run(served.connection, 4, questions, 20, 60))  # nobody is measured by the first ones
            rows = [
                asyncio.run(load.run(served.connection, clients, questions, cfg.requests, cfg.seconds, path))
                for path in ("/ask", "/ask/stream") for clients in cfg.clients
            ]  # fmt: skip
        direct = alone(Settings(run=str(run), model=str(model), store=f"{folder}/store", lm=cfg.lm), questions)
    if wrong := [error for row in rows for error in row.errors]:
        raise CourseError(f"{len(wrong)} of {sum(len(row.times) for row in rows)} answers were errors: {wrong[0]}")
    asks, streams = rows[: len(cfg.clients)], rows[len(cfg.clients) :]
    over = asks[0].at(50)
    share = max(0.0, 1 - direct / over)
    found = {
        "cold_start": max(first, again),
        "http_share": share,
        "p50_ms": over,
        "requests_per_second": asks[-1].per_second,
    }
    about = (
        f"*`{typed('--publish')}`: {cfg.lm}, {race.processor()}, {race.cores()} cores. Ready {first:.1f} s after the "
        f"start with an empty store, {again:.1f} s with a full one. The same bot without HTTP: p50 {direct:.1f} ms, so "
        f"HTTP, threads and batching are {share:.0%} of p50 at 1 client.*"
    )
    tables = f"POST /ask\n\n{load.table(asks)}\n\nPOST /ask/stream\n\n{load.table(streams)}"
    return {"scores": found, "rows": {"/ask": asks, "/ask/stream": streams}, "text": f"{about}\n\n{tables}"}


def alone(cfg: Settings, questions: Any, count: int = DIRECT) -> float:
    """The median of the milliseconds that the same bot takes for a question in this process, nothing in between."""
    from week12_deploy import assembly

    bot, times = assembly.bot(cfg), []
    for number in range(count + 5):
        question = next(questions)
        began = time.perf_counter()
        bot.ask(question)
        if number >= 5:
            times.append(time.perf_counter() - began)
    bot.lock.release()
    return 1000 * statistics.median(times)
