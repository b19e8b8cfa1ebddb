"""The service measured from outside: cold start, latency by the number of clients, first words, what HTTP costs."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from shared import race, runs
from shared.errors import CourseError
from shared.terminal import typed
from week12_deploy import load
from week12_deploy.served import Served, flags_of
from week12_deploy.settings import Settings

PAIRS = 100
"""What HTTP costs: so many questions go to the service and, the moment after, to the bot itself."""


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
    with tempfile.TemporaryDirectory() as folder:
        more = ("--lm", cfg.lm, "--at-once", str(max(cfg.clients)), "--timeout", "120")
        flags = flags_of(run, model, Path(folder) / "store", *more)
        with Served(*flags) as served:
            first = served.cold
        with Served(*flags) as served:  # with a store that is there already
            again = served.cold
            asyncio.run(load.run(served.connection, 4, questions, 20, 60))  # nobody is measured by the first ones
            over, direct = http_and_none(served, alone(run, model, Path(folder) / "other", cfg.lm), questions)
            rows = {
                path: [
                    asyncio.run(load.run(served.connection, clients, questions, cfg.requests, cfg.seconds, path))
                    for clients in cfg.clients
                ]
                for path in ("/ask", "/ask/stream")
            }
    if wrong := [error for some in rows.values() for row in some for error in row.errors]:
        raise CourseError(f"{len(wrong)} answers under load were errors; the first: {wrong[0]}")
    share, asks = max(0.0, 1 - direct / over), rows["/ask"]
    found = {"cold_start": max(first, again), "http_share": share, "p50_ms": asks[0].at(50)}
    found["requests_per_second"] = asks[-1].per_second
    about = (
        f"*`{typed('--publish')}`: {cfg.lm}, {race.processor()}, {race.cores()} cores. Ready {first:.1f} s after the "
        f"start with an empty store, {again:.1f} s with a full one. Of {over:.1f} ms, the median of one client, "
        f"{direct:.1f} are those of the bot asked without HTTP: {share:.0%} are HTTP's, threads' and the batcher's.*"
    )
    tables = [f"POST {path}\n\n{load.table(some)}" for path, some in rows.items()]
    return {"scores": found, "rows": rows, "text": "\n\n".join([about, *tables])}


def http_and_none(served: Served, ask: Callable[[str], Any], questions: Any) -> tuple[float, float]:
    """The medians, in milliseconds, of questions over HTTP, and of the same asked of the bot itself, in turn: what else
    the machine does meets both."""
    over, direct = [], []

    async def both() -> None:
        connection = served.connection()
        for question in islice(questions, PAIRS):
            reply = await connection.call("POST", "/ask", {"question": question})
            if reply.status != 200:
                raise CourseError(f"an answer was an error: {reply.status} {reply.body[:200]!r}")
            over.append(reply.seconds)
            began = time.perf_counter()
            ask(question)
            direct.append(time.perf_counter() - began)
        connection.close()

    asyncio.run(both())
    return 1000 * statistics.median(over), 1000 * statistics.median(direct)


def alone(run: Path, model: Path, store: Path, lm: str) -> Callable[[str], Any]:
    """The same bot in this process, warm, with nothing in between."""
    from week12_deploy import assembly

    bot = assembly.bot(Settings(run=str(run), model=str(model), store=str(store), lm=lm))
    for question in ("What is a bot?", "Who may upload?"):
        bot.ask(question)
    return bot.ask
