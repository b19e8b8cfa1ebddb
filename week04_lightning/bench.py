"""What Lightning costs, and how soon a fast recipe gets there: `./course run 4 bench`, `./course run 4 bench time_to`.

**step**: the same network on the same images, by week 2's plain loop and by Lightning's Trainer as train.py sets it up
(its callbacks, its checks, no files). They take turns, epoch by epoch, and each one's best epoch counts: what else the
machine does slows a round down and never speeds one up. Lightning's hooks take a fixed time for each step, so the
shorter the step, the larger their share. Beside the wall clock stands the processor time, which other programs'
demands touch less.

**time_to**: seconds of training until val accuracy first reaches --target, by the `speed` preset's network and recipe,
and by a ResNet-18 with the recipe that most repositories have (SGD 0.1, momentum 0.9, weight decay 5e-4, cosine, batch
128, flips and crops of 4), in the same number format on the same device. Validation is not counted, for either. Both
schedules are made for the short way, which is kinder to the peer than its usual 200 epochs. Where the peer has not got
there within --limit minutes, the ratio is a lower bound, and is told as one.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import tyro
from torch import nn

from shared import cli
from shared.device import Device, choose
from shared.errors import CourseError
from shared.progress import bar
from shared.seed import seed_everything
from week02_cnn import data as photographs
from week02_cnn import train as plain_loop
from week02_cnn.bench import resnet18
from week02_cnn.model import count_parameters
from week04_lightning import lr_finder, train

STEP, LIMIT = 0.020, 1.05  # seconds; once a step takes that long, Lightning may cost 5 % more
RATIO = 5.0  # times sooner than the peer


@dataclass
class Config(cli.CommonConfig):
    """The flags of bench."""

    what: tyro.conf.Positional[str] = "step"
    """step (what Lightning costs) or time_to (how soon --target is reached)."""
    threads: int = 0
    """CPU threads (0: one for step, as many as torch takes for time_to)."""

    widths: tuple[int, ...] = (2, 4, 8, 16, 32)
    """step: networks of so many channels, one row each. Wider: a longer step."""
    batch_size: int = 64
    """step: images per step."""
    steps: int = 40
    """step: steps per round."""
    rounds: int = 5
    """step: how often each of the two has its turn."""

    target: float = 0.85
    """time_to: the accuracy on val to reach."""
    epochs: int = 3
    """time_to: epochs that the fast recipe's schedule is made for. Too few: it does not get there; too many: late."""
    peer_epochs: int = 15
    """time_to: the same for the ResNet-18."""
    limit: float = 60.0
    """time_to: minutes of training after which the peer is given up (0: it is not run at all)."""
    looks: int = 4
    """time_to: how often in an epoch of the peer val is looked at; its epochs are long."""
    preset: str = "quick"
    """A set of defaults: `smoke` (one short round), `quick` (minutes), `full` (more rounds; CIFAR-10).
    A flag given by hand wins over the preset."""

    # Of the common flags these mean nothing here: they are neither offered nor accepted.
    out: tyro.conf.Suppress[str] = ""
    resume: tyro.conf.Suppress[bool] = False


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"widths": (2,), "steps": 3, "rounds": 1},
    "quick": {},
    "full": {"rounds": 9, "data": "cifar10"},
}


# ---------------------------------------------------------------- what Lightning costs


@dataclass
class Lap:
    """One round of one contestant: seconds a step on the wall clock, and of processor time."""

    wall: float
    processor: float


def random_photos(count: int, seed: int) -> photographs.Data:
    """Images of noise: what is on them does not matter to the time. One to validate: here that is not to be timed."""
    rng = np.random.default_rng(seed)

    def part(size: int) -> photographs.Part:
        return photographs.Part(rng.integers(0, 256, (size, 32, 32, 3), np.uint8), rng.integers(0, 10, size))

    return photographs.Data("noise", photographs.CLASSES, part(count), part(1), part(1))


def by_plain_loop(width: int, photos: photographs.Data, cfg: Config, device: Device) -> Callable[[], Lap]:
    """A function that trains one epoch by week 2's loop."""
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
    """A function that trains one epoch under Lightning, with the Trainer and the callbacks of train.py."""
    from week04_lightning.callbacks import Journal
    from week04_lightning.data import CifarData

    recipe = train.Config(**train.PRESETS["plain"] | {"width": width, "batch_size": cfg.batch_size, "epochs": 1})
    classifier, images = train.build(recipe, photos), CifarData(photos, recipe)

    def epoch() -> Lap:
        journal, watch = Journal(recipe, None), make_watch()
        with train.quiet():
            train.make_trainer(recipe, device, None, [watch, journal]).fit(classifier, images)
        return Lap(journal.seconds / cfg.steps, watch.processor / cfg.steps)

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


def bench_step(cfg: Config, device: Device) -> dict[str, Any]:
    """Times a step of both at every width; prints a table. Returns its rows by width."""
    photos, rows = random_photos(cfg.steps * cfg.batch_size, cfg.seed), {}
    print(f"\n{'width':>5s}{'plain loop':>14s}{'Lightning':>12s}{'more':>10s}{'more':>9s}{'processor time, more':>24s}")
    for width in cfg.widths:
        racers = {"plain": by_plain_loop(width, photos, cfg, device)}
        racers["lightning"] = by_lightning(width, photos, cfg, device)
        laps: dict[str, list[Lap]] = {name: [] for name in racers}
        for round_number in range(cfg.rounds + 1):
            for name, epoch in racers.items():
                lap = epoch()
                if round_number:  # the first round only warms up
                    laps[name].append(lap)
        wall = {name: min(lap.wall for lap in taken) for name, taken in laps.items()}
        processor = {name: min(lap.processor for lap in taken) for name, taken in laps.items()}
        row: dict[str, float] = wall.copy()
        row |= {"ratio": wall["lightning"] / wall["plain"], "processor": processor["lightning"] / processor["plain"]}
        rows[width] = row
        print(
            f"{width:5d}{1e3 * wall['plain']:11.2f} ms{1e3 * wall['lightning']:9.2f} ms"
            f"{1e3 * (wall['lightning'] - wall['plain']):7.2f} ms{row['ratio'] - 1:9.1%}{row['processor'] - 1:24.1%}",
            flush=True,
        )
    long = [row["ratio"] for row in rows.values() if row["plain"] >= STEP]
    if long:
        verdict = "as demanded" if max(long) <= LIMIT else f"more than the {LIMIT - 1:.0%} demanded"
        print(f"\nonce a step takes {1e3 * STEP:.0f} ms, Lightning costs at most {max(long) - 1:.1%} more: {verdict}")
    return {"step": rows}


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
    from week04_lightning.callbacks import Journal
    from week04_lightning.data import CifarData

    recipe = fast_recipe(cfg)
    classifier = train.build(recipe, photos)
    journal, watch = Journal(recipe, None), make_watch(cfg.target)
    with train.quiet():
        train.make_trainer(recipe, device, None, [watch, journal]).fit(classifier, CifarData(photos, recipe))
    return Way("speed", count_parameters(classifier), journal.seconds, watch.best, watch.reached)


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
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    scaler = torch.amp.GradScaler(device.name, enabled=device.dtype == "float16")
    seconds, best = 0.0, 0.0
    with bar(steps, label="ResNet-18") as progress:
        began = time.perf_counter()
        for step, (images, labels) in enumerate(lr_finder.batches(recipe, photos, device), 1):
            net.train()
            inputs = photographs.normalise(images, mean, std).contiguous(memory_format=torch.channels_last)
            with plain_loop.autocast(device):
                loss = nn.functional.cross_entropy(net(inputs), labels)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            scheduler.step()
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
    return result


def check(cfg: Config) -> None:
    """Raises CourseError for values that cannot work."""
    if cfg.what not in ("step", "time_to"):
        raise CourseError(f"unknown bench '{cfg.what}': choose step or time_to.")
    numbers = (cfg.batch_size, cfg.steps, cfg.rounds, cfg.epochs, cfg.peer_epochs, cfg.looks, *cfg.widths)
    if min(numbers) < 1 or cfg.threads < 0 or not 0 <= cfg.limit < math.inf:
        raise CourseError(
            "--widths, --batch-size, --steps, --rounds, --epochs, --peer-epochs and --looks must be at least 1, "
            "--threads and --limit at least 0."
        )
    if not 0 < cfg.target <= 1:
        raise CourseError(f"--target {cfg.target:g}: must be above 0 and at most 1, as 0.85.")


def main(cfg: Config) -> dict[str, Any]:
    """Times Lightning against week 2's plain loop (step), or the fast recipe against a ResNet-18 (time_to)."""
    check(cfg)
    if cfg.threads or cfg.what == "step":
        torch.set_num_threads(cfg.threads or 1)
    if cfg.what == "time_to":
        return bench_time_to(cfg)
    device = choose(cfg.device)
    print(f"device: {device}; threads: {torch.get_num_threads()}; batch {cfg.batch_size}, {cfg.steps} steps a round")
    return bench_step(cfg, device)


if __name__ == "__main__":
    cli.run(main, Config, PRESETS)
