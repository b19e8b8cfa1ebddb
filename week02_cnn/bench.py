"""How fast is it, and beside whom? `./course run 2 bench [step|conv|time_to]`

    step      images a second of a training step (forward, backward, optimiser): our network with channels_last, the
              same network without, and torchvision's resnet18 for 32 x 32 pixels; and which share of the speed of a
              plain matrix product each reaches
    conv      one convolution: our loops, our im2col, torch's
    time_to   how long until --target accuracy on val, our network against resnet18, by the same training loop

Without a word, step and conv; time_to takes long. How the contestants take turns and what counts: shared/race.py.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week02_cnn/bench.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
import tyro
from annotated_types import Ge, Gt, Le
from torch import nn

from shared import cli, race, results
from shared.config import Count, Natural, Positive
from shared.device import Device, autocast, choose
from shared.errors import Diverged
from shared.own_images import stratified
from week02_cnn import data, train
from week02_cnn.model import ConvNet, conv2d, conv2d_loops, count_parameters, flops

PARTS = ("step", "conv", "time_to")
GEMM = 2048  # rows and columns of the matrices by whose product a machine is measured
NCHW = "ours, NCHW"


@dataclass
class Config(race.BenchConfig):
    """The flags of bench."""

    parts: tyro.conf.Positional[tuple[Literal["step", "conv", "time_to"], ...]] = ("step", "conv")
    """Which parts."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""
    depth: Annotated[int, Ge(3)] = train.Config.depth
    """The depth of our network."""
    width: Count = train.Config.width
    """The width of our network."""
    batch_size: Count = train.Config.batch_size
    """Images per step."""
    steps: Count = 6
    """Steps per round (resnet18: one)."""
    peer: bool = True
    """Race torchvision's resnet18 too: some fourteen times the work an image."""
    target: Annotated[float, Gt(0), Le(1)] = 0.7
    """time_to: the accuracy on val to be reached."""
    epochs: Count = train.Config.epochs
    """time_to: epochs of our network's schedule. Too few: never reached; too many: reached late."""
    lr: Positive = train.Config.lr
    """time_to: our network's learning rate."""
    peer_epochs: Count = 12
    """time_to: epochs of resnet18's schedule."""
    peer_lr: Positive = 0.05
    """time_to: resnet18's learning rate."""
    limit: Positive = 30.0
    """time_to: minutes after which a contestant is stopped."""
    images: Natural = 0
    """time_to: train on so many images of the data set (0: on all)."""
    data: str = "sample"
    """time_to: which data set, as in train.py."""


SMOKE = {"depth": 3, "width": 8, "batch_size": 16, "steps": 1, "rounds": 1, "threads": (1,), "peer": False}
PRESETS: dict[str, dict[str, Any]] = {"smoke": SMOKE | {"epochs": 1, "limit": 0.5}, "quick": {}, "full": {"rounds": 9}}


def resnet18(classes: int) -> nn.Module:
    """torchvision's ResNet-18 (He et al., arXiv:1512.03385) for small images: the first convolution 3 x 3 with stride 1
    and no pooling behind it, as everybody does; as published it would see 32 pixels as 8 after two layers."""
    from torchvision.models import resnet18 as published

    model = published(num_classes=classes)
    model.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    model.maxpool = nn.Identity()
    return model


def counted_flops(model: nn.Module, side: int) -> int:
    """FLOPs of one image forward, as torch counts them while it computes."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 3, side, side))
    return counter.get_total_flops()


# ---------------------------------------------------------------- step and conv

Contestant = Callable[[], torch.Tensor]


def training(model: nn.Module, batch: int, steps: int, device: Device, channels_last: bool) -> Contestant:
    """Some steps of training on random images, as in train.py's loop."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(device.name, memory_format=layout).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-3, nesterov=True)
    inputs = torch.randn(batch, 3, data.SIDE, data.SIDE).to(device.name, memory_format=layout)
    labels = torch.randint(0, 10, (batch,)).to(device.name)

    def work() -> torch.Tensor:
        for _ in range(steps):
            optimizer.zero_grad()
            with autocast(device):
                loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
        return loss

    return work


def bench_step(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Images a second of training, and the share of a plain matrix product's speed: a table, and its numbers."""
    shape = train.shape(train.Config(depth=cfg.depth, width=cfg.width), 10, data.SIDE)
    a = torch.randn(GEMM, GEMM, device=device.name, dtype=getattr(torch, device.dtype))
    contestants: dict[str, Contestant] = {"matrix product": lambda: a @ a}
    images, cost = {"matrix product": 1}, {"matrix product": 2 * GEMM**3 / 3}  # of a step: three times those forward
    for name, channels_last in (("ours, channels_last", True), (NCHW, False)):
        contestants[name] = training(ConvNet(shape), cfg.batch_size, cfg.steps, device, channels_last)
        images[name], cost[name] = cfg.steps * cfg.batch_size, flops(shape)
    if cfg.peer:
        name, peer = "resnet18, channels_last", resnet18(10)
        images[name], cost[name] = cfg.batch_size, counted_flops(peer, data.SIDE)
        contestants[name] = training(peer, cfg.batch_size, 1, device, True)
    laps = race.take_turns(contestants, cfg.rounds)
    _, found = race.table(laps, images, "images", NCHW, threads)
    for name, row in found.items():
        row["gflops"] = 3 * cost[name] * images[name] / row["best"] / 1e9
        row["share_of_peak"] = row["gflops"] / found["matrix product"]["gflops"]
    columns = ["", "images/s", "GFLOP/s", "of the product", "best s", "median s", "process s", "x NCHW (by round)"]
    lines = [
        [
            name, f"{row['per_second']:.0f}", f"{row['gflops']:.1f}", f"{row['share_of_peak']:.0%}",
            f"{row['best']:.3f}", f"{row['median']:.3f}", f"{row['process']:.3f}",
            f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})" if name.startswith("ours") else "",
        ]
        for name, row in found.items() if name != "matrix product"
    ]  # fmt: skip
    about = (
        f"Batch {cfg.batch_size}, depth {cfg.depth}, width {cfg.width}, {device}. The product of two {GEMM} x {GEMM} "
        f"matrices runs at {found['matrix product']['gflops']:.0f} GFLOP/s; a training step counts as three times the "
        "FLOPs forward."
    )
    return f"{about}\n\n{results.markdown(columns, lines)}", found


def bench_conv(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """One convolution forward, by our loops, our im2col and torch, on a tiny input and on a batch."""
    found, texts = {}, []
    for shape, channels in (((1, 8, 16, 16), 8), ((cfg.batch_size, 32, 32, 32), 32)):
        x = torch.randn(shape, device=device.name)
        weight = torch.randn(channels, shape[1], 3, 3, device=device.name)
        ways = {"im2col": conv2d, "torch": F.conv2d} | ({"loops": conv2d_loops} if shape[0] == 1 else {})
        with torch.no_grad():
            laps = race.take_turns(
                {name: lambda way=way, x=x, w=weight: way(x, w, padding=1) for name, way in ways.items()}, cfg.rounds
            )
        table, numbers = race.table(laps, dict.fromkeys(ways, shape[0]), "images", "torch", threads)
        size = " x ".join(map(str, shape))
        texts.append(f"A 3 x 3 convolution of {size} into {channels} channels, forward.\n\n{table}")
        found |= {f"{name}, {size}": row for name, row in numbers.items()}
    return "\n\n".join(texts), found


# ---------------------------------------------------------------- time to an accuracy


class OutOfTime(Exception):
    """A contestant has used up its --limit."""


def time_to(
    cfg: train.Config, target: float, minutes: float, images: data.Data, model: nn.Module, device: Device
) -> dict[str, Any]:
    """Trains by train.py's loop until an epoch ends with `target` accuracy on val, at most `minutes`.

    Returns {seconds: of training until then, or None; epochs, best: what was reached; stopped: why it ended}.
    """
    deadline = time.perf_counter() + 60 * minutes

    def look_at_the_clock(*_: Any) -> None:
        if time.perf_counter() > deadline:
            raise OutOfTime

    model.register_forward_pre_hook(look_at_the_clock)  # epochs can be longer than the limit
    epochs, best = 0, 0.0
    try:
        for row in train.fit(cfg, images, model, device):
            epochs, best = row["epoch"], max(best, row["val_accuracy"])
            if best >= target:
                return {"seconds": row["seconds"], "epochs": epochs, "best": best, "stopped": "reached"}
    except OutOfTime:
        return {"seconds": None, "epochs": epochs, "best": best, "stopped": f"not reached within {minutes:g} minutes"}
    except Diverged as error:
        return {"seconds": None, "epochs": epochs, "best": best, "stopped": str(error)}
    return {"seconds": None, "epochs": epochs, "best": best, "stopped": f"not reached in {epochs} epochs"}


def bench_time_to(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Our network against resnet18: who is at --target sooner."""
    images = data.load(cfg.data)
    if cfg.images:  # a data set's rows are shuffled or not, so draw them
        share = 1 - min(1.0, cfg.images / len(images.train))
        rows, *_ = stratified(images.train.labels, (share,))
        images = replace(images, train=data.Part(images.train.images[rows], images.train.labels[rows]))
    side, classes = images.side, len(images.classes)
    ours = train.Config(
        depth=cfg.depth, width=cfg.width, batch_size=cfg.batch_size, epochs=cfg.epochs, lr=cfg.lr, seed=cfg.seed
    )
    contestants = {"ours": (ours, train.build(ours, classes, side))}
    if cfg.peer:
        theirs = replace(ours, epochs=cfg.peer_epochs, lr=cfg.peer_lr)
        torch.manual_seed(cfg.seed)
        contestants["resnet18"] = (theirs, resnet18(classes))
    found, lines = {}, []
    for name, (recipe, model) in contestants.items():
        cost = counted_flops(model, side)
        row = time_to(recipe, cfg.target, cfg.limit, images, model, device)
        found[name] = row | {"params": count_parameters(model), "flops": cost, "lr": recipe.lr}
        took = f"{row['seconds']:.0f}" if row["seconds"] is not None else ""
        print(f"{name}: best val {row['best']:.1%} in {row['epochs']} epochs, {row['stopped']}", flush=True)
        cells = [name, f"{recipe.lr:g}", f"{recipe.epochs} epochs", f"{found[name]['params']:,}", f"{cost / 1e6:.0f}"]
        lines.append([*cells, took, row["epochs"], f"{row['best']:.1%}", row["stopped"]])
    columns = ["", "lr", "schedule", "parameters", "MFLOPs", "training s", "epochs", "best val", ""]
    text = f"{cfg.data}, {len(images.train):,} images to train on, {device}; until {cfg.target:.0%} on val "
    text += f"({len(images.val):,} images), the same loop for both.\n\n{results.markdown(columns, lines)}"
    mine = found["ours"]["seconds"]
    if mine and cfg.peer:
        other = found["resnet18"]["seconds"]
        text += f"\n\nresnet18 takes {'more than ' * (other is None)}{(other or 60 * cfg.limit) / mine:.1f} x as long"
    return text, found


BENCHES = {"step": bench_step, "conv": bench_conv, "time_to": bench_time_to}


def main(cfg: Config) -> dict[str, Any]:
    """Times a training step, a convolution and the way to an accuracy, ours beside others'."""
    device = choose(cfg.device)
    counts = race.thread_counts(cfg.threads, device.name)
    result: dict[str, Any] = {}
    for part in (part for part in PARTS if part in cfg.parts):
        texts = []
        for threads in counts if part != "time_to" else counts[-1:]:
            with race.on_threads(threads):
                text, result[f"{part}, {threads} threads"] = BENCHES[part](cfg, device, threads)
            texts.append(f"{race.circumstances(cfg.rounds, threads)}\n\n{text}")
            print(f"\n{texts[-1]}")
        if cfg.publish:
            results.publish(2, f"bench {part}", "\n\n".join(texts))
    return result


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
