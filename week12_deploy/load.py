"""Asks a service again and again, by several clients at once, and says how long it took: `./course run 12 load`.

A client asks its next question when the last one is answered. That measures what a number of people see, and what a
service can do at most; it does not show what happens when more come than it can do.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week12_deploy/load.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from shared import cli
from shared.config import Count, Positive, Seed
from shared.errors import CourseError
from shared.results import markdown
from week12_deploy import settings
from week12_deploy.http_calls import Connection, Reply

Path_ = Literal["/ask", "/ask/stream", "/search"]
MOST_CLIENTS = 256
SLOWED = " Start the service with --rate 0."


@dataclass
class Config:
    """The flags of load."""

    port: Count = 8000
    """Where the service listens, on this machine; others are not asked."""
    path: Path_ = "/ask"
    """What is called."""
    clients: tuple[Count, ...] = (1, 8, 32)
    """How many ask at the same time; a row of the table for each."""
    requests: Count = 200
    """How many questions each row takes, at most."""
    seconds: Positive = 30.0
    """How long it may take, at most."""
    data: str = "sample"
    """Whose questions are asked: `sample`, a PDF or a folder, as in week 11."""
    seed: Seed = 0
    """What the order of the questions follows from."""


@dataclass
class Measured:
    """What a number of clients saw.

    Attributes:
        clients: how many.
        times: seconds of each answer.
        first: seconds to the first words, of streamed answers.
        inside: seconds that the bot itself says it took.
        errors: what went wrong, once for each.
        seconds: all of it.
    """

    clients: int
    times: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        return len(self.times) / self.seconds if self.seconds else 0.0

    def at(self, percent: int, which: str = "times") -> float:
        """So many percent of the answers took no longer, in milliseconds."""
        values = getattr(self, which)
        return 1000 * float(np.percentile(values, percent)) if values else float("nan")

    def row(self) -> dict[str, Any]:
        """As numbers, for a result."""
        found = {"clients": self.clients, "requests": len(self.times), "errors": len(self.errors)}
        found |= {f"p{percent}": round(self.at(percent), 2) for percent in (50, 95, 99)}
        found["per_second"] = round(self.per_second, 2)
        return found | ({"first_token_p50": round(self.at(50, "first"), 2)} if self.first else {})


def variations(questions: Sequence[str], seed: int) -> Iterator[str]:
    """The questions, then each of them with a word left out, and so on: no two are alike, and none is known already."""
    rng, seen = np.random.default_rng(seed), set()
    for dropped in range(1_000):
        for row in rng.permutation(len(questions)).tolist():
            words = questions[row].split()
            if dropped:
                keep = sorted(rng.permutation(len(words))[: max(2, len(words) - 1 - dropped // 8)].tolist())
                words = [words[place] for place in keep]
            text = " ".join(words)
            if text not in seen:
                seen.add(text)
                yield text


async def run(
    connect: Any, clients: int, questions: Iterator[str], requests: int, seconds: float, path: str = "/ask"
) -> Measured:  # fmt: skip
    """Lets clients ask until there are no questions left, or no time.

    Args:
        connect: makes a Connection.
        clients: how many, at once.
        questions: each is asked once.
        requests, seconds: at most.
        path: what is called.
    """
    found, left, latest = Measured(clients), iter(range(requests)), time.perf_counter() + seconds

    async def client() -> None:
        connection = connect()
        for _ in left:
            if time.perf_counter() > latest or (question := next(questions, None)) is None:
                return
            try:
                reply = await asyncio.wait_for(connection.call("POST", path, {"question": question}), 120)
            except (OSError, TimeoutError) as error:
                found.errors.append(type(error).__name__)
                continue
            if reply.status != 200:
                found.errors.append(wrong(reply))
                continue
            found.times.append(reply.seconds)
            if path == "/ask":
                found.inside.append(reply.json["seconds"])
            elif reply.first is not None:
                found.first.append(reply.first)
            elif path == "/ask/stream":
                found.errors.append(f"no token came: {reply.body[-200:]!r}")
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    found.seconds = time.perf_counter() - began
    return found


def wrong(reply: Reply) -> str:
    """What was wrong, without what differs from one request to the next, so that they can be counted."""
    try:
        return f"{reply.status} {reply.json['detail']}"
    except (ValueError, TypeError, KeyError):
        return f"{reply.status} {reply.body[:200]!r}"


def table(rows: Sequence[Measured]) -> str:
    """The rows as Markdown."""
    columns = ["clients", "requests/s", "p50 ms", "p95 ms", "p99 ms", "first words p50 ms", "answers", "errors"]
    lines = [
        [row.clients, f"{row.per_second:.1f}", *(f"{row.at(percent):.1f}" for percent in (50, 95, 99)),
         f"{row.at(50, 'first'):.1f}" if row.first else "", len(row.times), len(row.errors)]
        for row in rows
    ]  # fmt: skip
    if not any(row.first for row in rows):
        columns, lines = [c for c in columns if not c.startswith("first")], [line[:5] + line[6:] for line in lines]
    return markdown(columns, lines)


def asked(data: str, part: str = "val") -> list[str]:
    """The questions of a part that belong to the data; of all parts where that one has none.

    Raises:
        CourseError: there are none.
    """
    from week11_rag import data as week11

    found = week11.questions(data)
    texts = [one.text for one in found if one.part == part] or [one.text for one in found]
    if not texts:
        raise CourseError(f"--data {data}: no questions lie beside it.")
    return texts


def main(cfg: Config) -> list[dict[str, Any]]:
    """Asks a service on this machine for some seconds, by several clients at once, and prints how long it took.

    The key is the first one of $COURSE_API_KEY; the service has to be started with --rate 0.
    """
    if max(cfg.clients) > MOST_CLIENTS:
        raise CourseError(f"--clients {max(cfg.clients)}: must be at most {MOST_CLIENTS}.")
    key = os.environ.get(settings.KEYS, "").partition(",")[0].strip()
    questions, rows = variations(asked(cfg.data), cfg.seed), []
    for clients in cfg.clients:
        row = asyncio.run(
            run(lambda: Connection(cfg.port, key), clients, questions, cfg.requests, cfg.seconds, cfg.path)
        )
        if row.errors and not row.times:
            why = row.errors[0]
            cure = " Is it started (./course run 12 serve)?" * (why == "ConnectionRefusedError")
            cure = cure or SLOWED * why.startswith("429")
            raise CourseError(f"nothing was answered on port {cfg.port}: {why.rstrip('.')}.{cure}")
        rows.append(row)
    print(table(rows))
    for error, times in Counter(error for row in rows for error in row.errors).most_common(5):
        print(f"  {times} x {error}{SLOWED * error.startswith('429')}")
    return [row.row() for row in rows]


if __name__ == "__main__":
    cli.launch(main, Config)
