"""Trains the network: `./course train 2`, or `python -m week02_cnn.train --help`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week02_cnn/train.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor, nn

from shared import cli, runs
from shared.config import Count, Natural, NonNegative, Positive, Share, TrainConfig
from shared.device import Device, autocast, choose
from shared.loop import Loop
from shared.seed import seed_everything
from week02_cnn import baselines, data
from week02_cnn.model import ConvNet, ConvNetConfig, count_parameters, flops, layer_table, receptive_field

WEEK_NUMBER = 2


@dataclass
class Config(TrainConfig):
    """The flags of week 2. --data also takes cifar10, a folder of class folders, or an .npz."""

    depth: Annotated[int, Ge(3)] = 6
    """How many 3 x 3 convolutions, spread over three stages. Deeper: sees more of the image, takes longer, and without
    batch norm may not learn at all."""
    width: Count = 32
    """Channels of the first stage; the second has twice, the third four times as many. Twice the width costs four times
    the time. Lower it (or --batch-size) when memory runs out."""
    norm: bool = True
    """Batch norm after every convolution. --no-norm shows what it is good for; lower --lr then."""
    dropout: Share = 0.0
    """The share of features silenced at random before the last layer. Helps where training goes on for long."""
    pool: Literal["max", "avg", "stride"] = "max"
    """How the image is halved between stages; with stride the next convolution takes every second pixel."""
    side: Annotated[int, Ge(8), Le(1024)] = 32
    """Images are brought to so many pixels in height and width. Twice the side costs four times the time."""
    flip: bool = True
    """Shows half of the training images in the mirror, others in every epoch. --no-flip where left and right matter."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """sgd (with --momentum, Nesterov's) or adamw (wants a --lr of about 0.002)."""
    lr: Positive = 0.1
    """The size of the largest step. Too small: slow. Too large: the loss jumps or becomes NaN."""
    momentum: Share = 0.9
    """How much of the last step is kept (sgd)."""
    weight_decay: NonNegative = 1e-3
    """Pulls every weight towards zero. More: smoother, until it can no longer fit."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """linear (up to --lr in the first quarter, then down to zero), cosine (down from the start) or constant."""
    batch_size: Count = 64
    """Examples per step. Smaller: noisier, more steps an epoch; larger: faster an epoch, wants a larger lr."""
    epochs: Count = 20
    """How often each example is seen."""
    max_steps: Natural = 0
    """Stop after so many steps (0: at the end of the epochs). The schedule is fitted to it."""
    channels_last: bool = True
    """Keeps the channels of a pixel side by side in memory: the same numbers, sooner. bench.py measures it."""
    threads: Natural = 0
    """CPU threads (0: as many as torch takes). With another number results differ in the last digits."""


PRESETS = {
    "smoke": {"depth": 4, "width": 12, "epochs": 3},
    "quick": {},
    "full": {"data": "cifar10", "epochs": 8, "batch_size": 128, "lr": 0.2},
}
# What --resume may change: how long and in what steps it goes on, and where it computes.
FREE = ("epochs", "max_steps", "lr", "schedule", "device", "threads", "channels_last")

# What a learning rate seldom needs to be above; without batch norm it is a tenth of that.
LARGE_LR = {"sgd": 0.1, "adamw": 0.002}


def shape(cfg: Config, classes: int, side: int) -> ConvNetConfig:
    """What the network of a config looks like."""
    return ConvNetConfig(cfg.depth, cfg.width, cfg.norm, cfg.dropout, cfg.pool, classes, side)


def build(cfg: Config, classes: int, side: int) -> ConvNet:
    """The network of a config, with weights drawn from its seed."""
    seed_everything(cfg.seed)
    return ConvNet(shape(cfg, classes, side))


def make_optimizer(cfg: Config, model: nn.Module) -> torch.optim.Optimizer:
    """SGD with Nesterov's momentum, or AdamW."""
    if cfg.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), cfg.lr, weight_decay=cfg.weight_decay)
    momentum = {"momentum": cfg.momentum, "nesterov": cfg.momentum > 0}
    return torch.optim.SGD(model.parameters(), cfg.lr, weight_decay=cfg.weight_decay, **momentum)


def learning_rate(step: int, steps: int, schedule: str) -> float:
    """What share of --lr step number `step` of `steps` is to have (linear: one cycle, L. Smith, arXiv:1708.07120)."""
    progress = (step + 1) / (steps + 1)
    if schedule == "linear":
        return min(progress / 0.25, (1 - progress) / 0.75)
    return (1 + math.cos(math.pi * progress)) / 2 if schedule == "cosine" else 1.0


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of the next step, for all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def fit(
    cfg: Config, images: data.Data, model: nn.Module, device: Device, run: runs.Run | None = None,
    label: str = "training",
) -> Iterator[runs.Row]:  # fmt: skip
    """The training loop. Yields {epoch, step, train_loss, val_loss, val_accuracy, seconds} after every epoch.

    Args:
        cfg: how to train.
        images: trained on images.train, and looked at on images.val after every epoch.
        model: changed in place, and moved to the device.
        device: what to compute on.
        run: where the state is kept, and which is gone on with; None keeps nothing.
        label: of the progress bar.

    Raises:
        Diverged: the loss is no longer a number.
        Stopped: Ctrl-C was pressed; the state is saved.
    """
    layout = torch.channels_last if cfg.channels_last else torch.contiguous_format
    model.to(device.name, memory_format=layout)
    photos, labels = data.tensors(images.train, device.name)  # small enough to be kept there as they are
    mean, std = (torch.from_numpy(numbers).to(device.name) for numbers in (images.mean, images.std))
    size = min(cfg.batch_size, len(labels))
    per_epoch = len(labels) // size  # what is left over is dropped: the order changes, so each image gets its turn
    steps = cfg.max_steps or cfg.epochs * per_epoch
    optimizer = make_optimizer(cfg, model)
    # fp16 cannot hold small gradients, so there the loss is multiplied, and the gradients divided again. Else it rests.
    scaler = torch.amp.GradScaler(device.name, init_scale=2.0**12, enabled=device.dtype == "float16")

    # A Loop only keeps count: it restores and saves these three, passes over what is done, and hears Ctrl-C.
    parts = {"model": model, "optimizer": optimizer, "scaler": scaler}
    with Loop(cfg, run, steps, per_epoch, too_large(cfg), label, **parts) as loop:
        for epoch in loop.epochs():
            model.train()
            order = torch.from_numpy(np.random.default_rng([cfg.seed, epoch]).permutation(len(labels)))
            for rows in loop.batches(order.to(device.name).split(size)):
                set_lr(optimizer, cfg.lr * learning_rate(loop.step, steps, cfg.schedule))
                batch, truth = photos[rows], labels[rows]  # (size, 3, H, W) uint8, (size,)
                if cfg.flip:
                    batch = data.flipped(batch)
                inputs = data.normalise(batch, mean, std).contiguous(memory_format=layout)
                # exercise 6: one step of training
                # inputs (size, 3, H, W) and truth (size,) -> loss, the cross-entropy of the model's logits, a scalar;
                # and the weights have made one step of the optimizer down this loss. The model computes in the device's
                # dtype (`with autocast(device):`), the loss goes through the scaler.
                # hint: gradients are added to those that are there, so the old ones are forgotten first.
                # F.cross_entropy wants logits. The scaler scales the loss before the way back, steps for the optimizer,
                # and is updated last; without fp16 it passes everything on.
                optimizer.zero_grad()
                with autocast(device):
                    loss = F.cross_entropy(model(inputs), truth)
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
                # end of exercise 6
                loop.add(loss)
            yield loop.row(**evaluate(model, images.val, images.mean, images.std, device))


def too_large(cfg: Config) -> str:
    """What to try where the steps were too large."""
    norm, bound = ("", 1) if cfg.norm else (", or leave out --no-norm", 0.1)
    return f"Try --lr {min(cfg.lr / 10, bound * LARGE_LR[cfg.optimizer]):g}{norm}."


@torch.no_grad()
def logits(
    model: nn.Module, part: data.Part, mean: Float[np.ndarray, " 3"], std: Float[np.ndarray, " 3"], device: Device,
    size: int = 500,
) -> Float[Tensor, "N classes"]:  # fmt: skip
    """The model's outputs for a whole part, on the CPU; in evaluation mode, in which it is left."""
    model.to(device.name).eval()
    centre, spread = (torch.from_numpy(numbers).to(device.name) for numbers in (mean, std))
    rows = []
    for start in range(0, len(part), size):
        some = data.Part(part.images[start : start + size], part.labels[start : start + size])
        images, _ = data.tensors(some, device.name)
        with autocast(device):
            rows.append(model(data.normalise(images, centre, spread)).float().cpu())
    return torch.cat(rows)


def evaluate(
    model: nn.Module, part: data.Part, mean: Float[np.ndarray, " 3"], std: Float[np.ndarray, " 3"], device: Device
) -> dict[str, float]:
    """Mean loss and accuracy of the model on a part, in evaluation mode (running averages, no dropout)."""
    outputs, labels = logits(model, part, mean, std, device), torch.from_numpy(part.labels).long()
    right = int((outputs.argmax(dim=1) == labels).sum())
    return {"loss": F.cross_entropy(outputs, labels).item(), "accuracy": right / len(part)}


def train_baselines(cfg: Config, images: data.Data, device: Device, params: int) -> dict[str, Any]:
    """Week 1's kind of network with about `params` parameters, and logistic regression: what they reach, and are."""
    rows, models, classes = [], {}, len(images.classes)
    for name, recipe in baselines.RECIPES.items():
        epochs = min(max(cfg.epochs, 8), 10)  # with fewer they would be no rivals, and they take a moment each
        plain = Config(seed=cfg.seed, epochs=epochs, max_steps=cfg.max_steps, schedule="cosine")
        seed_everything(cfg.seed)
        model = baselines.MLP(images.side, baselines.hidden_sizes(name, params, images.side, classes), classes)
        *_, last = fit(replace(plain, **recipe), images, model, device, label=f"baseline: {name}")
        models[name] = model.state_dict()
        rows.append(runs.baseline(name, count_parameters(model), last))
    return {"rows": [*rows, runs.constant_answer(images.val.labels)], "models": models}


def print_network(model: ConvNet) -> None:
    """The network layer by layer: what comes out, how much of the image it sees, what it learns and costs."""
    print(f"\n{'layer':8s}{'output':>14s}{'sees':>10s}{'parameters':>13s}{'MFLOPs':>9s}")
    for row in layer_table(model.config):
        size, sees = " x ".join(map(str, row.shape)), f"{row.receptive_field} x {row.receptive_field}"
        print(f"{row.name:8s}{size:>14s}{sees:>10s}{row.params:>13,}{row.flops / 1e6:>9.2f}")
    count, seen, cost = count_parameters(model), receptive_field(model.config), flops(model.config) / 1e6
    print(f"in all {count:,} parameters and {cost:.1f} MFLOPs an image; "
          f"before the average a number sees {seen} pixels\n")  # fmt: skip


def main(cfg: Config) -> dict[str, Any]:
    """Trains a convolutional network on photographs and shows the result beside its baselines.

    Returns what result.json holds; the run folder is under the key "run".
    """
    device = choose(cfg.device)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    images = data.load(cfg.data, cfg.side).to_train_on()
    run = runs.begin(WEEK_NUMBER, cfg, FREE)
    run.hold_to(images)
    model = build(cfg, len(images.classes), images.side)
    params = count_parameters(model)
    runs.describe(images)
    print(f"device: {device}")
    print_network(model)
    theirs = run.once("baselines", lambda: train_baselines(cfg, images, device, params))
    info = {"classes": images.classes, "side": images.side, "mean": images.mean, "std": images.std}
    best, last = run.follow(fit(cfg, images, model, device, run), lambda: info | {"model": model.state_dict()})
    lr = "a smaller --lr" if cfg.lr > LARGE_LR[cfg.optimizer] else "another --lr, more --epochs"
    advice = f"Try {lr}{'' if cfg.norm else ', or leave out --no-norm'}."
    return run.finish(best, last, device, params, theirs["rows"], advice, flops=flops(model.config))


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS, week=WEEK_NUMBER)
