"""Makes the README's pictures again.

./course train 12 && ./course eval 12
./course run 12 figures
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week12_deploy/figures.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import asyncio
import shutil
from dataclasses import dataclass

import numpy as np

from shared import cli, runs
from week12_deploy import cpu, drawing
from week12_deploy.batching import MicroBatcher
from week12_deploy.limits import TokenBucket

FIGURES = Path(__file__).parent / "figures"


@dataclass
class Config:
    """The flags of figures."""

    run: str = ""
    """The run whose pictures are taken (default: the newest)."""
    out: str = str(FIGURES)
    """Where the pictures go."""


def overflow(path: Path) -> None:
    """Random bytes multiplied as AVX2 without VNNI does it, whatever runs this, with weights of 8 and of 7 bits."""
    rng, sums = np.random.default_rng(0), {}
    left = rng.integers(0, 256, (48, 64)).astype(np.uint8)
    for title, most in (("weights of 8 bits", 127), ("weights of 7 bits", 64)):
        right = rng.integers(-most, most + 1, (64, 32)).astype(np.int8)
        exact = left.astype(np.int32) @ right.astype(np.int32)
        sums[title] = exact, cpu.in_pairs(left, right)
    drawing.overflow(path, sums)
    print(f"bytes here: {cpu.in_words()}")


def bucket(path: Path) -> None:
    """A burst, a pause, and then somebody who asks too often."""
    now = [0.0]
    held = TokenBucket(2.0, 3.0, lambda: now[0])
    asks = [0.2, 0.4, 0.6, 0.8, 1.0, *(3.0 + 0.25 * number for number in range(17))]
    times, tokens, asked = [], [], []
    for second in np.round(np.arange(0, 7.2, 0.05), 2).tolist():
        now[0] = second
        held.take(0.0)
        times.append(second)
        tokens.append(held.tokens)
        if any(abs(second - at) < 1e-6 for at in asks):
            asked.append((second, held.take() == 0.0))
            times.append(second)
            tokens.append(held.tokens)
    drawing.bucket(path, times, tokens, asked)


def batches(path: Path) -> None:
    """Callers that come at random, of a network that takes three milliseconds and a little more for each; the first
    of a batch waits two for others."""
    rows: dict[int, list[float]] = {}

    async def trace() -> None:
        loop, number = asyncio.get_running_loop(), [0]
        began = loop.time()

        async def work(items: list[int]) -> list[int]:
            start, mine = loop.time(), number[0]
            number[0] += 1
            await asyncio.sleep(0.30 + 0.02 * len(items))
            for item in items:
                rows[item] += [start - began, loop.time() - began, mine]
            return items

        batcher = MicroBatcher(work, most=8, wait=0.20)

        async def caller(item: int, when: float) -> None:
            await asyncio.sleep(when)
            rows[item] = [loop.time() - began]
            await batcher.submit(item)

        whens = np.sort(np.random.default_rng(3).uniform(0, 1.2, 24)).tolist()
        await asyncio.gather(*(caller(item, when) for item, when in enumerate(whens)))

    asyncio.run(trace())  # a hundred times slower than in the service, so that a timer's jitter does not show
    drawing.batches(path, [(10 * a, 10 * b, 10 * c, int(n)) for a, b, c, n in rows.values()])


def main(cfg: Config) -> None:
    """Draws overflow.png, bucket.png and batches.png, and takes variants.png and load.png from a run."""
    out = Path(cfg.out)
    for draw in (overflow, bucket, batches):
        draw(out / f"{draw.__name__}.png")
    run = Path(cfg.run) if cfg.run else runs.newest(12)
    for picture in ("variants.png", "load.png"):
        if (run / picture).is_file():
            shutil.copyfile(run / picture, out / picture)
        else:
            print(f"left out {picture}: it is not in {run}")
    for picture in sorted(out.glob("*.png")):
        print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    cli.launch(main, Config)
