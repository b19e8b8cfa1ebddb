"""Which learning rate? Let it grow during one short training and watch the loss: `./course run 4 lr_finder`.

    L. N. Smith, "Cyclical learning rates for training neural networks", arXiv:1506.01186 (2017), section 3.3

The rate grows by the same factor at every step, from far too small to far too large. At first nothing happens, then the
loss falls, then it stops falling and blows up. Two places on the curve are of use. Where the loss falls fastest is a
rate to stay at. Where it has all but stopped falling (nine tenths of the way are done) is Smith's upper bound: the peak
of a schedule that comes down again. Which of the two is suggested follows from --schedule.

Lightning has the same test (`Tuner.lr_find`); here it is a plain loop over the optimiser's groups, because the whole of
it is ten lines. Lightning suggests the steepest place against the rate itself, which favours small rates; here it is
the steepest against the rate's logarithm, as the curve is drawn.

Then the suggestion is put to the test: short trainings at a tenth of it, at it, and at ten times as much.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week04_lightning/lr_finder.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import count
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor, nn

from shared import cli, runs
from shared.config import Natural, Positive, Seed
from shared.device import Device, autocast
from shared.errors import CourseError, Diverged
from shared.files import write_json
from shared.progress import bar
from week02_cnn import data as photographs
from week04_lightning import drawing, train

WINDOW = 21  # steps in the running mean, half of them before and half after: it does not lag behind
BLOWN_UP = 4.0  # times the smallest running mean, Lightning's rule, and above the first losses


@dataclass
class Config(train.Recipe):
    """The flags of train.py, whose recipe is tried, and those of the test. --lr only keeps head_lr and bias_lr in
    proportion."""

    data: str = "sample"
    """What to train on, as in train.py."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""
    seed: Seed = 0
    """Everything random follows from this number."""
    low: Positive = 1e-5
    """The first learning rate."""
    high: Positive = 10.0
    """The last one, if it gets there: it stops when the loss blows up."""
    steps: Annotated[int, Ge(WINDOW)] = 200
    """In how many steps. More: a smoother curve, and each rate has more time to show what it does."""
    check_epochs: Natural = 3
    """Epochs of the three trainings that check the suggestion (0: none)."""
    out: str = ""
    """The folder for the picture and lr_finder.json. Default: the next free one in runs/week04."""
    preset: str = "quick"
    """Whose recipe is tried: one of train.py's presets. A flag given by hand wins over the preset."""


PRESETS = {name: {flag: value for flag, value in preset.items() if flag != "plain_epochs"}
           for name, preset in train.PRESETS.items()}  # fmt: skip
PRESETS["smoke"] |= {"steps": 30, "check_epochs": 1}


def smoothed(losses: Sequence[float], window: int = WINDOW) -> list[float]:
    """Their running mean over `window` steps around each, fewer near the ends."""
    half, last = window // 2, len(losses) - 1
    reach = [min(half, i, last - i) for i in range(len(losses))]
    return [float(np.mean(losses[i - r : i + r + 1])) for i, r in enumerate(reach)]


def places(rates: Sequence[float], smooth: Sequence[float]) -> tuple[float, float]:
    """Two rates: where the smoothed loss falls fastest against the rate's logarithm, and where it has all but fallen.

    All but fallen: the first with nine tenths of the way from the first loss down to the smallest behind it.

    Raises:
        CourseError: the loss never fell.
    """
    end, begin = int(np.argmin(smooth)) + 1, WINDOW // 2  # at the very first the mean is of few steps
    if end - begin < 3:
        raise CourseError(
            f"the loss did not fall from a rate of {rates[0]:.2g} to one of {rates[-1]:.2g}: "
            "try a smaller --low, a larger --high, or more --steps."
        )
    falling = np.asarray(smooth[begin:end])
    slope = np.gradient(falling, np.log(rates[begin:end]))
    enough = falling <= falling[-1] + 0.1 * (falling[0] - falling[-1])
    return rates[begin + int(slope.argmin())], rates[begin + int(enough.argmax())]


def range_test(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, Tensor]],
    low: float,
    high: float,
    steps: int,
    device: Device,
    label_smoothing: float = 0.0,
) -> tuple[list[float], list[float]]:
    """Trains `net` for a while with a growing learning rate. The net is worn out afterwards.

    Args:
        net: images (B, 3, H, W) to logits (B, classes); changed in place.
        optimizer: over its parameters. Groups with rates of their own keep their proportion to the first one's.
        batches: images and their labels (B,) or soft targets (B, classes); at least `steps` of them.
        low, high: the first and the last learning rate.
        steps: in how many steps; at least 2. It ends early once the loss is four times its smallest (running means).
        device: where the net and the images are.
        label_smoothing: as in the training to come.

    Returns:
        The rates and the losses, one of each for every step that was taken.
    """
    net.train()
    first = optimizer.param_groups[0]["lr"]
    shares = [group["lr"] / first for group in optimizer.param_groups]
    rates: list[float] = []
    losses: list[float] = []
    for step, (images, targets) in zip(range(steps), batches, strict=False):
        rate = low * (high / low) ** (step / (steps - 1))
        for group, share in zip(optimizer.param_groups, shares, strict=True):
            group["lr"] = rate * share
        with autocast(device):
            loss = nn.functional.cross_entropy(net(images), targets, label_smoothing=label_smoothing)
        if not torch.isfinite(loss):
            break
        rates.append(rate)
        losses.append(loss.item())
        now, first_ones = np.mean(losses[-WINDOW // 2 :]), np.mean(losses[: WINDOW // 2])
        if now > max(BLOWN_UP * min(smoothed(losses)), first_ones):
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return rates, losses


def batches(cfg: train.Config, photos: photographs.Data, device: Device) -> Iterator[tuple[Tensor, Tensor]]:
    """What a training would see, epoch after epoch without end: images (B, 3, H, W) uint8 and their targets."""
    from week04_lightning.data import TrainBatches, augmented

    images, labels = photographs.tensors(photos.train, device.name)
    mean = torch.from_numpy(np.rint(photos.mean * 255).astype(np.uint8))

    def change(batch: Tensor, truth: Tensor, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        return augmented(batch, truth, rows, epoch, len(photos.classes), mean, cfg)

    for epoch in count():
        yield from TrainBatches(images, labels, cfg.batch_size, cfg.seed, lambda now=epoch: now, change)


def trained_at(cfg: train.Config, lr: float, photos: photographs.Data, device: Device) -> float:
    """The validation accuracy that a training at this rate ends with; that of guessing where it diverged."""
    share = lr / cfg.lr
    cfg = replace(cfg, lr=lr, head_lr=cfg.head_lr * share, bias_lr=cfg.bias_lr * share)
    try:
        return train.fit(cfg, photos, train.build(cfg, photos), device)[-1]["val_accuracy"]
    except Diverged:
        return 1 / len(photos.classes)


def main(cfg: Config) -> dict[str, Any]:
    """Finds a learning rate for a recipe by the range test, draws the curve, and checks the suggestion."""
    flags = [*(field.name for field in fields(train.Recipe)), "data", "device", "seed"]
    recipe = train.Config(**{name: getattr(cfg, name) for name in flags})
    train.check(recipe)
    if cfg.low >= cfg.high:
        raise CourseError(f"--low {cfg.low:g} --high {cfg.high:g}: the second must be above the first.")
    device = train.choose_device(recipe)
    if device.dtype == "float16":  # without loss scaling gradients would vanish; it is a few steps only
        device = replace(device, dtype="float32", reason=f"{device.reason}; but the range test is in fp32")
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    photos = photographs.load(cfg.data, cfg.side).to_train_on()
    out = runs.create(train.WEEK_NUMBER, cfg)
    print(f"{photos.name}: {len(photos.train):,} images to train on\ndevice: {device}")

    from week04_lightning.optim import make_optimizer

    classifier = train.build(recipe, photos).to(device.name)
    optimizer = make_optimizer(classifier.net.named_parameters(), recipe)
    with bar(cfg.steps, label="range test") as progress, contextlib.closing(batches(recipe, photos, device)) as source:

        def counted() -> Iterator[tuple[Tensor, Tensor]]:
            for batch in source:
                progress.update()
                yield batch

        rates, losses = range_test(
            classifier, optimizer, counted(), cfg.low, cfg.high, cfg.steps, device, cfg.label_smoothing
        )
    smooth = smoothed(losses)
    steepest, fallen = places(rates, smooth)
    found = steepest if cfg.schedule == "constant" else fallen
    suggestion = float(f"{found:.2g}") if found < rates[-1] else None  # at the end: it has seen no minimum
    end = "blew up" if len(rates) < cfg.steps else "ended"
    print(
        f"the loss falls fastest at {steepest:.2g}, has all but fallen at {fallen:.2g}, and it {end} at {rates[-1]:.2g}"
    )
    checks = {}
    if suggestion is None:
        print("no suggestion: the loss was lowest at the end of the range. Give a larger --high, or more --steps.")
    else:
        print(f"suggestion for --schedule {cfg.schedule}: --lr {suggestion:g}")
    if cfg.check_epochs and suggestion:
        short = replace(recipe, epochs=cfg.check_epochs, max_steps=0)
        print(f"\nlr          val accuracy after {cfg.check_epochs} epoch{'s' * (cfg.check_epochs > 1)}")
        for rate in (suggestion / 10, suggestion, suggestion * 10):
            checks[rate] = trained_at(short, rate, photos, device)
            print(f"{rate:<12.2g}{checks[rate]:.2%}{'   (the suggestion)' * (rate == suggestion)}", flush=True)
    drawing.lr_finder(out / "lr_finder.png", rates, losses, smooth, suggestion, checks)
    result = {"suggestion": suggestion, "steepest": steepest, "fallen": fallen, "rates": rates, "losses": losses}
    result["checks"] = [{"lr": rate, "val_accuracy": reached} for rate, reached in checks.items()]
    write_json(out / "lr_finder.json", result)
    print(f"\npicture: {out / 'lr_finder.png'}")
    return result | {"out": str(out)}


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
