"""The service measured from outside: cold start, latency by the number of clients, first words, what HTTP costs."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from shared import race, runs
from shared.errors import CourseError
from shared.terminal import typed
from week12_deploy import load
from week12_deploy.served import Served, flags_of

ALONE = 100
"""What HTTP costs: so many questions of one client, each with the seconds that the bot itself took for it."""


def run_of(rag: str) -> Path | None:
    """The folder of week 11's run that --rag names; None where it names none.

    Raises:
        CourseError: there is no such run.
    """
    from week11_rag.train import SUPPORT

    if rag and not (Path(rag) / SUPPORT).is_file():
        raise CourseError(f"--rag {rag}: no run of week 11 with a {SUPPORT}: `./course train 11` makes one.")
    return Path(rag) if rag else None


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
        run = run_of(cfg.rag) or runs.newest(11, SUPPORT)
    except CourseError as error:
        print(f"  nothing is put under load: {error}")
        return {}
    questions = load.variations(load.asked(cfg.data or "sample"), 0)
    many = ", ".join(map(str, cfg.clients))
    print(f"starting the service; {many} clients at once, {cfg.seconds} s each at most ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        more = ("--lm", cfg.lm, "--at-once", str(max(cfg.clients)), "--timeout", "120")
        flags = flags_of(run, model, Path(folder) / "store", *more)
        with Served(*flags) as served:
            first = served.cold
        with Served(*flags) as served:  # with a store that is there already
            again = served.cold
            asyncio.run(load.run(served.connection, 4, questions, 20, 60))  # nobody is measured by the first ones
            one = asyncio.run(load.run(served.connection, 1, questions, ALONE, 120))
            rows = {
                path: [
                    asyncio.run(load.run(served.connection, clients, questions, cfg.requests, cfg.seconds, path))
                    for clients in cfg.clients
                ]
                for path in ("/ask", "/ask/stream")
            }
    if wrong := [error for some in [[one], *rows.values()] for row in some for error in row.errors]:
        raise CourseError(f"{len(wrong)} answers under load were errors; the first: {wrong[0]}")
    over, inside, asks = one.at(50), one.at(50, "inside"), rows["/ask"]
    share = 1 - inside / over
    found = {"cold_start": max(first, again), "http_share": share, "p50_ms": asks[0].at(50)}
    found["requests_per_second"] = asks[-1].per_second
    about = (
        f"*`{typed('--publish')}`: {cfg.lm}, {race.processor()}, {race.cores()} cores. Ready {first:.1f} s after the "
        f"start with an empty store, {again:.1f} s with a full one. Of {over:.1f} ms, the median of one client, "
        f"{inside:.1f} are the bot's own: {share:.0%} are HTTP's, on both sides.*"
    )
    tables = [f"POST {path}\n\n{load.table(some)}" for path, some in rows.items()]
    return {"scores": found, "rows": rows, "text": "\n\n".join([about, *tables])}
