"""Kills the service in the middle of its work, again and again: is anything lost? `./course run 12 crash`

Uploads and deletions go on in several connections; at a random moment the process, and all that it has started, is
ended by kill -9. What was acknowledged by then has to be there when the service is back, and can be found; what was
deleted has to be gone; and what was neither is there whole, or not at all.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week12_deploy/crash.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import asyncio
import hashlib
import random
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from typing import Any

from shared import cli, results
from shared.config import Count, Natural, Positive, Seed
from shared.errors import CourseError
from shared.race import processor
from shared.terminal import typed
from week12_deploy.paper import pdf_of
from week12_deploy.served import Served, flags_of


@dataclass
class Config:
    """The flags of crash."""

    run: str = ""
    """Week 11's run (default: the newest)."""
    model: str = ""
    """Week 12's run (default: the newest)."""
    kills: Count = 50
    """How often it is killed."""
    within: Positive = 3.0
    """At a random moment of so many seconds after its first request."""
    clients: Count = 3
    """Connections that upload and delete at the same time."""
    index: str = ""
    """http://host:port of a Chroma server in the place of an index in the store's folder."""
    keep: Natural = 0
    """So many documents are kept at most, so that it does not take longer each time; 0: all."""
    seed: Seed = 0
    """What the moments follow from."""
    publish: bool = False
    """Put the numbers into the week's RESULTS.md (for whoever looks after the lesson)."""


@dataclass
class Known:
    """What was told to whoever uploaded and deleted.

    Attributes:
        stored: {id: the word that only this document has} of what was acknowledged and not deleted.
        deleted: ids of which the deletion was acknowledged.
        open: ids whose last request was never answered: either is right.
        counts: of requests that were acknowledged, and of those that were open at a kill.
    """

    stored: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=lambda: {"uploads": 0, "deletions": 0, "open": 0, "kills": 0})


async def work(served: Served, known: Known, rng: random.Random) -> None:
    """Uploads, and deletes now and then, until the connection breaks."""
    connection = served.connection()
    while True:
        if known.stored and rng.random() < 0.2:
            id = rng.choice(sorted(known.stored))
            word = known.stored.pop(id)
            known.open.add(id)
            reply = await connection.call("DELETE", f"/documents/{id}")
            if reply.status != 204:
                raise CourseError(f"deleting {id} ({word}): {reply.status} {reply.body.decode()}")
            known.open.discard(id)
            known.deleted.add(id)
            known.counts["deletions"] += 1
        else:
            word = f"w{rng.getrandbits(60):015x}"
            content = pdf_of(f"This page is about {word}, and about nothing else.")
            id = hashlib.sha256(content).hexdigest()[:16]
            known.open.add(id)
            reply = await connection.upload(f"{word}.pdf", content)
            if reply.status not in (200, 201, 202) or reply.json["id"] != id:
                raise CourseError(f"uploading {word}: {reply.status} {reply.body.decode()}")
            known.open.discard(id)
            known.stored[id] = word
            known.counts["uploads"] += 1


async def kill(served: Served, known: Known, cfg: Config, rng: random.Random) -> None:
    """Lets it work, and kills it at a random moment."""
    workers = [asyncio.ensure_future(work(served, known, rng)) for _ in range(cfg.clients)]
    done, _ = await asyncio.wait(workers, timeout=rng.uniform(0, cfg.within), return_when=asyncio.FIRST_EXCEPTION)
    served.kill()
    known.counts["kills"] += 1
    for one in workers:
        one.cancel()
    ended = await asyncio.gather(*workers, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception) and not isinstance(error, OSError):
            raise error
    if done:
        raise CourseError(f"the service broke a connection before it was killed: {served.last_line()}")
    known.counts["open"] += len(known.open)


async def look(served: Served, known: Known, rng: random.Random, some: int = 5) -> int:
    """Holds what is there against what was acknowledged; some of it is searched for. Returns how many documents it has.

    Raises:
        CourseError: something is lost, back again, or cannot be found.
    """
    connection = served.connection()
    listed = {row["id"]: row for row in (await connection.call("GET", "/documents")).json["documents"]}
    if lost := known.stored.keys() - listed.keys():
        raise CourseError(f"lost: {', '.join(sorted(lost))}, of {len(known.stored)} that were acknowledged.")
    if back := known.deleted & listed.keys():
        raise CourseError(f"back again: {', '.join(sorted(back))}, whose deletion was acknowledged.")
    ours = known.stored.keys() | known.open
    if torn := [row for id, row in listed.items() if row["status"] != "ready" and id in ours]:
        raise CourseError(f"stored, but not to be found: {torn[0]}")
    known.open.clear()
    for id in rng.sample(sorted(known.stored), min(some, len(known.stored))):
        word = known.stored[id]
        # Is it in the index at all? Among hundreds of pages that say the same its own word need not bring it into
        # the first five: others can be before it in two rankings of three.
        asked = {"question": f"What is {word}?", "k": 50}
        found = (await connection.call("POST", "/search", asked)).json["passages"]
        if not any(row["document"] == id and word in row["text"] for row in found):
            raise CourseError(f"{id} is listed, and not found by its own word {word}.")
    connection.close()
    return len(listed)


def main(cfg: Config) -> dict[str, Any]:
    """Kills the service at random moments of uploads and deletions, and looks each time whether anything is lost."""
    rng, known, began, colds = random.Random(cfg.seed), Known(), time.perf_counter(), []
    folder = Path(tempfile.mkdtemp(prefix="course-crash-"))
    flags = flags_of(cfg.run, cfg.model, folder / "store", "--lm", "extractive", "--patience", "60")
    flags = (*flags, "--uploads", str(cfg.clients), *(("--index", cfg.index) if cfg.index else ()))
    try:
        for number in range(cfg.kills + 1):
            served = Served(*flags).start()
            try:
                asyncio.run(served.ready())
                colds.append(served.cold)
                many = asyncio.run(look(served, known, rng))
                if number < cfg.kills:
                    asyncio.run(kill(served, known, cfg, rng))
                if number % 10 == 0 or number == cfg.kills:
                    print(f"{number:3d} kills: {many} documents, {known.counts['uploads']} uploads and "
                          f"{known.counts['deletions']} deletions acknowledged, nothing lost", flush=True)  # fmt: skip
                if cfg.keep and len(known.stored) > cfg.keep and number < cfg.kills:
                    shutil.rmtree(folder / "store")
                    known.stored.clear()
            finally:
                served.kill()
                served.log.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found = {**known.counts, "documents": many, "lost": 0, "seconds": round(time.perf_counter() - began, 1)}
    found["ready_after_kill_p50"] = round(sorted(colds[1:])[len(colds[1:]) // 2], 2)
    text = results.markdown(list(found), [list(found.values())])
    print(f"\n{text}")
    if cfg.publish:
        about = f"*`{typed('--publish')}`: {processor()}; whatever was acknowledged is there after each kill*"
        results.publish(12, "crash", f"{about}\n\n{text}")
    return found


if __name__ == "__main__":
    cli.launch(main, Config)
