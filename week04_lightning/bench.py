"""What Lightning costs, and how soon a fast recipe gets there: `./course run 4 bench`, `./course run 4 bench time_to`.

**step**: the same network on the same images, by week 2's plain loop and by Lightning's Trainer as train.py sets it up
(its callbacks, its checks, no files). They take turns, epoch by epoch, and each one's best epoch counts. Only training
is timed, not what a Trainer does before and after it. Lightning's hooks take a fixed time for each step, so the shorter
the step, the larger their share.

**time_to**: seconds of training until val accuracy first reaches --target, by the `speed` preset's network and recipe,
and by a ResNet-18 with the recipe that most repositories have (SGD 0.1, momentum 0.9, weight decay 5e-4, cosine, batch
128, flips and crops of 4), in the same number format on the same device. Validation is not counted, for either. Both
schedules are made for the short way, which is kinder to the peer than its usual 200 epochs. Where the peer has not got
there within --limit minutes, the ratio is a lower bound, and is told as one.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week04_lightning/bench.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from annotated_types import Gt, Le
from torch import nn

from shared import cli
from shared.config import Count, NonNegative
from shared.device import Device, autocast, choose
from shared.parallel import cores
from shared.progress import bar
from shared.race import BenchConfig, Lap, circumstances, on_threads, ratio, take_turns
from shared.results import markdown, publish
from shared.seed import seed_everything
from week02_cnn import data as photographs
from week02_cnn import train as plain_loop
from week02_cnn.bench import resnet18
from week02_cnn.model import count_parameters
from week04_lightning import lr_finder, train

STEP, LIMIT = 0.020, 1.05  # seconds; once a step takes that long, Lightning may cost 5 % more
RATIO = 5.0  # times sooner than the peer


@dataclass
class Config(BenchConfig):
    """The flags of bench."""

    parts: tyro.conf.Positional[tuple[Literal["step", "time_to"], ...]] = ("step",)
    """step (what Lightning costs), time_to (how soon --target is reached)."""
    data: str = "sample"
    """time_to: what to train on, as in train.py."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""
    threads: tuple[Count, ...] = ()
    """How many CPU threads: step makes a table for each (default: 1), time_to takes the last (default: all cores)."""

    widths: tuple[Count, ...] = (2, 4, 8, 16, 32)
    """step: networks of so many channels, one row each. Wider: a longer step."""
    batch_size: Count = 64
    """step: images per step."""
    steps: Count = 40
    """step: steps per round."""

    target: Annotated[float, Gt(0), Le(1)] = 0.85
    """time_to: the accuracy on val to reach."""
    epochs: Count = 3
    """time_to: epochs that the fast recipe's schedule is made for. Too few: it does not get there; too many: late."""
    peer_epochs: Count = 15
    """time_to: the same for the ResNet-18."""
    limit: NonNegative = 60.0
    """time_to: minutes of training after which the peer is given up (0: it is not run at all)."""
    looks: Count = 4
    """time_to: how often in an epoch of the peer val is looked at; its epochs are long."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"widths": (2,), "steps": 3, "rounds": 1},
    "quick": {},
    "full": {"rounds": 9, "data": "cifar10"},
}


# ---------------------------------------------------------------- what Lightning costs


def random_photos(count: int, seed: int) -> photographs.Data:
    """Images of noise: what is on them does not matter to the time. One to validate: here that is not to be timed."""
    rng = np.random.default_rng(seed)

    def part(size: int) -> photographs.Part:
        return photographs.Part(rng.integers(0, 256, (size, 32, 32, 3), np.uint8), rng.integers(0, 10, size))

    return photographs.Data("noise", photographs.CLASSES, part(count), part(1), part(1))


def by_plain_loop(width: int, photos: photographs.Data, cfg: Config, device: Device) -> Callable[[], Lap]:
    """A function that trains one epoch by week 2's loop, and tells what a step took."""
    recipe = plain_loop.Config(width=width, batch_size=cfg.batch_size, epochs=cfg.rounds + 1, seed=cfg.seed)
    epochs = plain_loop.fit(recipe, photos, plain_loop.build(recipe, len(photos.classes), photos.side), device)
    counted = 0.0  # seconds; week 2's loop adds them up

    def epoch() -> Lap:
        nonlocal counted
        began = time.process_time()
        before, counted = counted, next(epochs)["seconds"]
        return Lap((counted - before) / cfg.steps, (time.process_time() - began) / cfg.steps)

    return epoch


def by_lightning(width: int, photos: photographs.Data, cfg: Config, device: Device) -> Callable[[], Lap]:
    """A function that trains one epoch under Lightning, as train.py does, and tells what a step took."""
    recipe = train.Config(**train.PRESETS["plain"] | {"width": width, "batch_size": cfg.batch_size, "epochs": 1})
    classifier = train.build(recipe, photos)

    def epoch() -> Lap:
        watch = make_watch()
        (row,) = train.fit(recipe, photos, classifier, device, more=[watch])
        return Lap(row["seconds"] / cfg.steps, watch.processor / cfg.steps)

    return epoch


def make_watch(target: float = math.inf) -> Any:
    """A callback that adds up processor time while training, and stops the training once val accuracy is at target."""
    import lightning as L

    class Watch(L.Callback):
        processor = best = 0.0
        reached = False

        def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
            self.began = time.process_time()

        def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()  # what is still in the GPU's queue is training, not validation
            self.processor += time.process_time() - self.began

        def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
            self.best = max(self.best, float(trainer.callback_metrics["val_accuracy"]))
            self.reached = trainer.should_stop = self.best >= target
            self.began = time.process_time()

    return Watch()


def bench_step(cfg: Config) -> dict[str, Any]:
    """Times a step of both at every width; prints a table. Returns its rows by threads and width, seconds a step."""
    device, photos = choose(cfg.device), random_photos(cfg.steps * cfg.batch_size, cfg.seed)
    print(f"device: {device}; batch {cfg.batch_size}, {cfg.steps} steps a round")
    found, tables = {}, []
    for threads in cfg.threads or (1,):
        with on_threads(threads):
            found[threads] = {width: race(width, photos, cfg, device, threads) for width in cfg.widths}
        tables.append(f"{circumstances(cfg.rounds, threads)}\n\n{step_table(found[threads])}")
        print(f"\n{tables[-1]}")
        long = [row["ratio"] for row in found[threads].values() if row["plain"] >= STEP]
        if long:
            verdict = "as demanded" if max(long) <= LIMIT else f"more than the {LIMIT - 1:.0%} demanded"
            most = f"at most {max(long) - 1:.1%} more: {verdict}"
            print(f"\nonce a step takes {1e3 * STEP:.0f} ms, Lightning costs {most}")
    if cfg.publish:
        publish(train.WEEK_NUMBER, "bench step", "\n\n".join(tables))
    return {"step": found}


def race(width: int, photos: photographs.Data, cfg: Config, device: Device, threads: int) -> dict[str, float]:
    """Both take turns at one width: the best seconds of a step by the clock, and Lightning's time as a multiple."""
    racers = {"plain": by_plain_loop(width, photos, cfg, device), "lightning": by_lightning(width, photos, cfg, device)}
    laps = take_turns(racers, cfg.rounds)
    more, low, high = ratio(laps["plain"], laps["lightning"], threads)
    process = laps["lightning"].best_process / laps["plain"].best_process
    best = {name: lap.best for name, lap in laps.items()}
    return best | {"process": process, "ratio": more, "low": low, "high": high}


def step_table(rows: dict[int, dict[str, float]]) -> str:
    """What Lightning costs, a row a width, as a Markdown table."""
    lines = []
    for width, row in rows.items():
        plain, ours = (1e3 * row[name] for name in ("plain", "lightning"))
        share = f"{row['ratio'] - 1:.1%} ({row['low'] - 1:.1%} to {row['high'] - 1:.1%})"
        lines.append([width, f"{plain:.2f} ms", f"{ours:.2f} ms", f"{ours - plain:.2f} ms", share])
        lines[-1].append(f"{row['process'] - 1:.1%}")
    return markdown(["width", "plain loop", "Lightning", "more", "more (by round)", "processor time, more"], lines)


# ---------------------------------------------------------------- how soon it gets there


@dataclass
class Way:
    """How a contestant fared: seconds of training until the target was reached (or it ended), and its best accuracy."""

    name: str
    params: int
    seconds: float
    accuracy: float
    reached: bool


def fast_way(cfg: Config, photos: photographs.Data, device: Device) -> Way:
    """The network and recipe of the `speed` preset, without test-time augmentation; val is looked at once an epoch."""
    recipe, watch = fast_recipe(cfg), make_watch(cfg.target)
    classifier = train.build(recipe, photos)
    rows = train.fit(recipe, photos, classifier, device, more=[watch])
    return Way("speed", count_parameters(classifier), rows[-1]["seconds"], watch.best, watch.reached)


def fast_recipe(cfg: Config) -> train.Config:
    """The `speed` preset, with a schedule for fewer epochs."""
    flags = train.PRESETS["speed"] | {"data": cfg.data, "device": cfg.device, "seed": cfg.seed}
    return train.Config(**flags | {"epochs": cfg.epochs, "tta": 0})


def peer_way(cfg: Config, photos: photographs.Data, device: Device) -> Way:
    """A ResNet-18 with the standard recipe, in a plain loop."""
    recipe = train.Config(batch_size=128, flip="random", crop=4, seed=cfg.seed)
    per_epoch = max(1, len(photos.train) // recipe.batch_size)
    steps, every = cfg.peer_epochs * per_epoch, max(1, per_epoch // cfg.looks)
    seed_everything(cfg.seed)
    net = resnet18(len(photos.classes)).to(device.name, memory_format=torch.channels_last)
    mean, std = (torch.from_numpy(numbers).to(device.name) for numbers in (photos.mean, photos.std))
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    scaler = torch.amp.GradScaler(device.name, enabled=device.dtype == "float16")
    seconds, best = 0.0, 0.0
    with bar(steps, label="ResNet-18") as progress:
        began = time.perf_counter()
        for step, (images, labels) in enumerate(lr_finder.batches(recipe, photos, device), 1):
            net.train()
            plain_loop.set_lr(optimizer, 0.1 * plain_loop.learning_rate(step - 1, steps, "cosine"))
            inputs = photographs.normalise(images, mean, std).contiguous(memory_format=torch.channels_last)
            with autocast(device):
                loss = nn.functional.cross_entropy(net(inputs), labels)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            progress.update()
            late = seconds + time.perf_counter() - began > 60 * cfg.limit
            if late or step % every == 0 or step == steps:
                if device.name == "cuda":
                    torch.cuda.synchronize()
                seconds += time.perf_counter() - began
                accuracy = plain_loop.evaluate(net, photos.val, photos.mean, photos.std, device)["accuracy"]
                best = max(best, accuracy)
                progress.set_postfix(val=f"{accuracy:.2%}")
                if best >= cfg.target or late or step == steps:
                    break
                began = time.perf_counter()
    return Way("ResNet-18", count_parameters(net), seconds, best, best >= cfg.target)


def bench_time_to(cfg: Config) -> dict[str, Any]:
    """Trains both until the target is reached; prints seconds and their ratio. Returns the same."""
    device = train.choose_device(fast_recipe(cfg))
    photos = photographs.load(cfg.data)
    print(f"{photos.name}: {len(photos.train):,} images to train on; until val accuracy is {cfg.target:.0%}")
    print(f"device: {device}; threads: {torch.get_num_threads()}")
    print(f"\n{'':12s}{'parameters':>12s}{'seconds':>10s}{'val accuracy':>15s}", flush=True)
    ways = []
    for go in (fast_way, peer_way):
        if go is fast_way or cfg.limit:
            ways.append(way := go(cfg, photos, device))
            told = "" if way.reached else "   not reached"
            print(f"{way.name:12s}{way.params:12,}{way.seconds:10.1f}{way.accuracy:15.2%}{told}", flush=True)
    ours, *peer = ways
    result: dict[str, Any] = {"time_to": [asdict(way) for way in ways], "target": cfg.target}
    if not ours.reached:
        print(f"\nthe fast recipe did not reach {cfg.target:.0%}: give it more --epochs, or a lower --target")
    elif peer:
        result["ratio"] = peer[0].seconds / ours.seconds
        late = f"not within {peer[0].seconds / 60:.1f} minutes: at least " * (not peer[0].reached)
        print(f"\nResNet-18: {late}{result['ratio']:.1f} times the time (at least {RATIO:g} are demanded)")
    if cfg.publish:
        columns = ["", "parameters", "seconds of training", "best on val", ""]
        lines = [[way.name, f"{way.params:,}", f"{way.seconds:.1f}", f"{way.accuracy:.2%}",
                  "reached" if way.reached else "not reached"] for way in ways]  # fmt: skip
        about = f"{circumstances(1, torch.get_num_threads())}\n\n"
        publish(train.WEEK_NUMBER, "bench time_to", about + markdown(columns, lines))
    return result


def main(cfg: Config) -> dict[str, Any]:
    """Times Lightning against week 2's plain loop (step), or the fast recipe against a ResNet-18 (time_to)."""
    found: dict[str, Any] = {}
    if "step" in cfg.parts:
        found |= bench_step(cfg)
    if "time_to" in cfg.parts:
        with on_threads((cfg.threads or (cores(),))[-1]):
            found |= bench_time_to(cfg)
    return found


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
