"""How fast is the exported embedder, and what does it gain to embed together? `./course run 12 bench [embed|service]`

    embed       torch (week 11's embedder as it is) beside onnxruntime in floats and in bytes, by length and batch
    service     the service with micro-batching beside the same without (--batch 1), 32 clients at once; of the exported
                embedder and of torch's

How the contestants take turns and what counts: shared/race.py.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week12_deploy/bench.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import asyncio
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import tyro

from shared import cli, race, runs
from shared.config import Count
from shared.device import choose
from shared.errors import CourseError
from shared.results import markdown
from week12_deploy import load, speed
from week12_deploy.export import VARIANTS
from week12_deploy.served import Served, flags_of

PARTS = ("embed", "service")


@dataclass
class Config(race.BenchConfig):
    """The flags of bench."""

    parts: tyro.conf.Positional[tuple[Literal["embed", "service"], ...]] = PARTS
    """What is raced."""
    run: str = ""
    """Week 11's run, for the service (default: the newest)."""
    model: str = ""
    """Week 12's run (default: the newest)."""
    texts: Count = 16
    """Texts of a turn."""
    clients: Count = 32
    """Who ask the service at the same time."""
    requests: Count = 256
    """Questions of a turn."""
    out: str = str(runs.RUNS / "week12" / "bench")
    """The folder for the numbers."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"rounds": 1, "texts": 4, "requests": 32, "clients": 8, "threads": (1,)},
    "quick": {},
    "full": {"rounds": 15, "texts": 64, "requests": 1_024},
}


def bench_embed(cfg: Config, device: Any, threads: int) -> tuple[str, dict[str, Any]]:
    """One text at a time, short to long; and short ones sixteen at a time."""
    from week11_rag.embed import Embedder
    from week12_deploy import train
    from week12_deploy.onnx_embedder import CARD, OnnxEmbedder

    folder = Path(cfg.model) if cfg.model else runs.newest(12, CARD)
    made = runs.read_config(train.Config, folder)
    contestants = {speed.PEER: Embedder(made.embedder, device.name)}
    contestants |= {one.name: OnnxEmbedder(folder, one.name, threads) for one in VARIANTS}
    texts = train.data.load(made.data, made.size, made.overlap, made.first, contestants[speed.PEER])
    asked, chunks = [one.text for one in texts.asked("val")], [chunk.text for chunk in texts.chunks]
    rows, found = [], {}
    for length, batch in (("short", 1), ("medium", 1), ("long", 1), ("short", 16)):
        some = speed.some_texts(asked, chunks, length, -(-cfg.texts // batch) * batch, cfg.seed)
        numbers = speed.run(contestants, some, batch, cfg.rounds, threads)
        tokens = sum(map(contestants["fp32"].count, some)) / len(some)
        found[f"{length} {batch}"] = numbers
        for name, row in numbers.items():
            times = f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
            rows.append([f"{length}, {tokens:.0f} tokens", batch, name, f"{row['ms']:.2f}", times])
    return markdown(["texts", "a call", "", "ms a text", "x torch (by round)"], rows), found


def bench_service(cfg: Config, device: Any, threads: int) -> tuple[str, dict[str, Any]]:
    """Searches and answers, with micro-batching and without, of the exported embedder and of torch's; every question is
    another one."""
    rows, found = [], {}
    for name, model in (("exported", cfg.model), ("torch", "torch")):
        for path, numbers in together_and_alone(cfg, model, threads).items():
            found[f"{path} {name}"] = numbers
            for how, row in numbers.items():
                times = f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
                rows.append([path, name, how, f"{row['per_second']:.1f}", times])
    return markdown(["", "embedder", "embedded", "requests/s", "x each alone (by round)"], rows), found


def together_and_alone(cfg: Config, model: str, threads: int) -> dict[str, Any]:
    """{path: the numbers of a race between the service with micro-batching and the same without}."""
    questions, found = load.variations(load.asked("sample"), cfg.seed), {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        services = {}
        for name, batch in (("together", 32), ("each alone", 1)):
            more = ("--lm", "extractive", "--batch", str(batch), "--at-once", str(cfg.clients))
            flags = flags_of(cfg.run, model, Path(folder) / name, *more, "--threads", str(threads))
            services[name] = stack.enter_context(Served(*flags))

        def turn(served: Served, path: str) -> Callable[[], race.Lap]:
            def work() -> race.Lap:
                began = time.perf_counter()
                got = asyncio.run(load.run(served.connection, cfg.clients, questions, cfg.requests, 120, path))
                if got.errors:
                    raise CourseError(f"{path}: {got.errors[0]}")
                # Not by our processor's time: it is theirs that counts.
                return race.Lap(time.perf_counter() - began, 0.0)

            return work

        for path in ("/search", "/ask"):
            laps = race.take_turns({name: turn(served, path) for name, served in services.items()}, cfg.rounds)
            _, found[path] = race.table(laps, dict.fromkeys(services, cfg.requests), "requests", "each alone", threads)
    return found


def main(cfg: Config) -> dict[str, Any]:
    """Races the exported embedder with torch, and the service with itself without micro-batching."""
    return race.parts(cfg, 12, {"embed": bench_embed, "service": bench_service}, choose("cpu"))


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
