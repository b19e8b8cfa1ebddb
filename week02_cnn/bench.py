"""How fast is it, and beside whom? `./course run 2 bench [step|conv|time_to]`

    step      images a second of a training step (forward, backward, optimiser): our network with channels_last, the
              same network without, and torchvision's resnet18 for 32 x 32 pixels; and which share of the speed of a
              plain matrix product each reaches
    conv      one convolution: our loops, our im2col, torch's
    time_to   how long until --target accuracy on val, our network against resnet18, by the same training loop

Without a word, step and conv; time_to takes long. The contestants take turns, and each one's best round counts: what
else the machine does slows a round down and never speeds one up. Process time, summed over the threads, stands beside
wall time: where it is far below wall time times threads, something else was running.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
import tyro
from torch import nn

from shared import cli
from shared.device import Device, choose
from shared.errors import CourseError
from shared.own_images import stratified
from shared.parallel import cores
from week02_cnn import data, train
from week02_cnn.model import ConvNet, conv2d, conv2d_loops, count_parameters, flops

PARTS = ("step", "conv", "time_to")
GEMM = 2048  # rows and columns of the matrices by whose product a machine is measured


@dataclass
class Config(cli.CommonConfig):
    """The flags of bench."""

    parts: tyro.conf.Positional[tuple[str, ...]] = ("step", "conv")
    """Which parts: step, conv, time_to."""
    depth: int = train.Config.depth
    """The depth of our network."""
    width: int = train.Config.width
    """The width of our network."""
    batch_size: int = train.Config.batch_size
    """Images per step."""
    steps: int = 6
    """Steps per round (resnet18: one)."""
    rounds: int = 5
    """How often each contestant runs."""
    threads: tuple[int, ...] = ()
    """How many CPU threads, one table each. Default: 1, and all cores."""
    peer: bool = True
    """Race torchvision's resnet18 too: some fourteen times the work an image."""
    target: float = 0.7
    """time_to: the accuracy on val to be reached."""
    epochs: int = train.Config.epochs
    """time_to: epochs of our network's schedule. Too few: never reached; too many: reached late."""
    lr: float = train.Config.lr
    """time_to: our network's learning rate."""
    peer_epochs: int = 12
    """time_to: epochs of resnet18's schedule."""
    peer_lr: float = 0.05
    """time_to: resnet18's learning rate."""
    limit: float = 30.0
    """time_to: minutes after which a contestant is stopped."""
    images: int = 0
    """time_to: train on so many images of the data set (0: on all)."""
    data: str = "sample"
    """time_to: which data set, as in train.py."""

    # Of the common flags these mean nothing here: they are neither offered nor accepted.
    out: tyro.conf.Suppress[str] = ""
    resume: tyro.conf.Suppress[bool] = False


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


# ---------------------------------------------------------------- races

Contestant = Callable[[], Any]
"""One round of somebody's work. It returns a tensor, from which a number is read: then a GPU has really finished."""


def race(contestants: dict[str, Contestant], rounds: int) -> dict[str, dict[str, float]]:
    """Lets everybody take turns. Returns {best, median: wall seconds of a round, cpu: process seconds, the least}."""
    wall: dict[str, list[float]] = {name: [] for name in contestants}
    cpu: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, work in contestants.items():
            began, cpu_began = time.perf_counter(), time.process_time()
            work().sum().item()
            if number:  # the first round only warms up
                wall[name].append(time.perf_counter() - began)
                cpu[name].append(time.process_time() - cpu_began)
    return {
        name: {"best": min(times), "median": statistics.median(times), "cpu": min(cpu[name])}
        for name, times in wall.items()
    }


def training(model: nn.Module, batch: int, side: int, steps: int, device: Device, channels_last: bool) -> Contestant:
    """Some steps of training on random images, as in train.py's loop."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(device.name, memory_format=layout).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-3, nesterov=True)
    inputs = torch.randn(batch, 3, side, side).to(device.name, memory_format=layout)
    labels = torch.randint(0, 10, (batch,)).to(device.name)

    def work() -> torch.Tensor:
        for _ in range(steps):
            optimizer.zero_grad()
            with train.autocast(device):
                loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
        return loss.detach()

    return work


def bench_step(cfg: Config, device: Device, threads: int) -> dict[str, dict[str, float]]:
    """Images a second of training, and the share of a plain matrix product's speed. Prints a table."""
    side = data.SIDE
    shape = train.shape(train.Config(depth=cfg.depth, width=cfg.width), 10, side)
    a = torch.randn(GEMM, GEMM, device=device.name, dtype=getattr(torch, device.dtype))
    contestants: dict[str, Contestant] = {"matrix product": lambda: (a @ a)[0]}
    work: dict[str, tuple[int, int]] = {}  # by name: images a round, FLOPs of an image forward
    for name, channels_last in (("ours, channels_last", True), ("ours, NCHW", False)):
        contestants[name] = training(ConvNet(shape), cfg.batch_size, side, cfg.steps, device, channels_last)
        work[name] = cfg.steps * cfg.batch_size, flops(shape)
    if cfg.peer:
        peer = resnet18(10)
        work["resnet18, channels_last"] = cfg.batch_size, counted_flops(peer, side)
        contestants["resnet18, channels_last"] = training(peer, cfg.batch_size, side, 1, device, True)
    seconds = race(contestants, cfg.rounds)
    peak = 2 * GEMM**3 / seconds["matrix product"]["best"] / 1e9
    reference = seconds["ours, NCHW"]
    where = f"{threads} thread{'s' * (threads > 1)}" if device.name == "cpu" else str(device)
    print(
        f"\n{where}, batch {cfg.batch_size}, depth {cfg.depth}, width {cfg.width}. The product of two {GEMM} x {GEMM}"
    )
    print(f"matrices runs at {peak:.0f} GFLOP/s; a training step counts as three times the FLOPs forward.")
    columns = ["", "images/s", "median", "GFLOP/s", "of the product", "wall s", "process s", "x NCHW (process)"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    found = {"matrix product": seconds["matrix product"] | {"gflops": peak}}
    for name, (images, cost) in work.items():
        times = seconds[name]
        gflops = 3 * cost * images / times["best"] / 1e9
        times |= {"images_per_second": images / times["best"], "gflops": gflops, "share_of_peak": gflops / peak}
        times |= {"ratio": reference["best"] / times["best"], "cpu_ratio": reference["cpu"] / times["cpu"]}
        found[name] = times
        ratio = f"{times['ratio']:.2f} ({times['cpu_ratio']:.2f})" if name.startswith("ours") else ""
        cells = [name, f"{images / times['best']:.0f}", f"{images / times['median']:.0f}", f"{gflops:.1f}"]
        cells += [f"{gflops / peak:.0%}", f"{times['best']:.3f}", f"{times['cpu']:.3f}", ratio]
        print(f"| {' | '.join(cells)} |")
    return found


def bench_conv(cfg: Config, device: Device, threads: int) -> dict[str, dict[str, float]]:
    """One convolution forward, by our loops, our im2col and torch, on a tiny input and on a batch. Prints a table."""
    found: dict[str, dict[str, float]] = {}
    for shape, channels in (((1, 8, 16, 16), 8), ((cfg.batch_size, 32, 32, 32), 32)):
        x = torch.randn(shape, device=device.name)
        weight = torch.randn(channels, shape[1], 3, 3, device=device.name)
        contestants: dict[str, Contestant] = {
            "im2col": lambda x=x, weight=weight: conv2d(x, weight, padding=1)[0, 0],
            "torch": lambda x=x, weight=weight: F.conv2d(x, weight, padding=1)[0, 0],
        }
        if shape[0] == 1:
            contestants["loops"] = lambda x=x, weight=weight: conv2d_loops(x, weight, padding=1)[0, 0]
        with torch.no_grad():
            times = race(contestants, cfg.rounds)
        size = " x ".join(map(str, shape))
        cores = f"{threads} thread{'s' * (threads > 1)}"
        print(f"\na 3 x 3 convolution of {size} into {channels} channels, forward, {cores}")
        print("| | best ms | median ms | x torch |\n|---|---|---|---|")
        for name, row in times.items():
            ratio = row["best"] / times["torch"]["best"]
            found[f"{name}, {size}"] = row | {"ratio": ratio}
            print(f"| {name} | {1000 * row['best']:.3f} | {1000 * row['median']:.3f} | {ratio:.1f} |")
    return found


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
    except train.Diverged as error:
        return {"seconds": None, "epochs": epochs, "best": best, "stopped": str(error)}
    return {"seconds": None, "epochs": epochs, "best": best, "stopped": f"not reached in {epochs} epochs"}


def bench_time_to(cfg: Config, device: Device, threads: int) -> dict[str, dict[str, Any]]:
    """Our network against resnet18: who is at --target sooner. Prints a table."""
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
    print(f"\n{cfg.data}, {len(images.train):,} images to train on, {threads} thread{'s' * (threads > 1)}, {device}")
    print(f"until {cfg.target:.0%} on val ({len(images.val):,} images), the same loop for both")
    print("| | lr | schedule | parameters | MFLOPs | training s | epochs | best val | |\n|---|" + "---|" * 8)
    found = {}
    for name, (recipe, model) in contestants.items():
        cost = counted_flops(model, side)
        row = time_to(recipe, cfg.target, cfg.limit, images, model, device)
        found[name] = row | {"params": count_parameters(model), "flops": cost, "lr": recipe.lr}
        took = f"{row['seconds']:.0f}" if row["seconds"] is not None else ""
        cells = [name, f"{recipe.lr:g}", f"{recipe.epochs} epochs", f"{found[name]['params']:,}", f"{cost / 1e6:.0f}"]
        cells += [took, row["epochs"], f"{row['best']:.1%}", row["stopped"]]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
    mine = found["ours"]["seconds"]
    if mine and cfg.peer:
        other = found["resnet18"]["seconds"]
        print(f"resnet18 takes {'more than ' * (other is None)}{(other or 60 * cfg.limit) / mine:.1f} x as long")
    return found


def check(cfg: Config) -> None:
    """Raises CourseError for flags that cannot work."""
    for part in cfg.parts:
        if part not in PARTS:
            raise CourseError(f"unknown part '{part}': choose from {', '.join(PARTS)}.")
    if min(cfg.rounds, cfg.steps, *cfg.threads) < 1:
        raise CourseError("--rounds, --steps and --threads must be at least 1.")
    if not 0 < cfg.target <= 1 or cfg.limit <= 0 or cfg.images < 0:
        raise CourseError("--target must be a share of 1 such as 0.7, --limit above 0, and --images 0 (all) or more.")
    for epochs, lr in ((cfg.epochs, cfg.lr), (cfg.peer_epochs, cfg.peer_lr)):
        train.check(train.Config(depth=cfg.depth, width=cfg.width, batch_size=cfg.batch_size, epochs=epochs, lr=lr))


def main(cfg: Config) -> dict[str, Any]:
    """Times a training step, a convolution and the way to an accuracy, ours beside others'."""
    check(cfg)
    device = choose(cfg.device)
    counts = cfg.threads or tuple(sorted({1, cores()}))
    if device.name != "cpu":
        counts = counts[-1:]
    result: dict[str, Any] = {}
    before = torch.get_num_threads()
    try:
        for part, work in (("step", bench_step), ("conv", bench_conv), ("time_to", bench_time_to)):
            if part in cfg.parts:
                for threads in counts if part != "time_to" else counts[-1:]:
                    torch.set_num_threads(threads)
                    result[f"{part}, {threads} threads"] = work(cfg, device, threads)
    finally:
        torch.set_num_threads(before)
    return result


if __name__ == "__main__":
    cli.run(main, Config, PRESETS)
