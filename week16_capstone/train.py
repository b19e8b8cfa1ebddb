"""Trains the reader of charts that are pixels: `./course train 16`, or `python -m week16_capstone.train --help`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week16_capstone/train.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn

from shared import cli, runs
from shared.config import Count, Natural, NonNegative, Positive, TrainConfig
from shared.device import Device, autocast, choose
from shared.loop import Loop
from shared.seed import seed_everything
from shared.splits import Splits
from week16_capstone import charts_eval, data
from week16_capstone.data import Case, Stock
from week16_capstone.model import KINDS, MARKS, ChartReader, ReaderConfig, count_parameters, loss, peaks, targets
from week16_capstone.raster import LEAST, Reader, inputs

WEEK_NUMBER = 16
METRIC = "val_within_5"


@dataclass
class Config(TrainConfig):
    """The flags of week 16."""

    data: Literal["synthetic"] = "synthetic"
    """What to train on: charts that are drawn here, of which every number is known."""
    charts: Count = 1200
    """How many charts to train on. They are drawn once and kept (25 kB each). More: more styles are seen."""
    val_charts: Count = 120
    """How many charts to choose by, in styles that are not trained on."""
    width: Count = 16
    """Channels of the first stage; the next ones have twice and four times as many. Twice the width: four times the
    time. Lower it (or --batch-size) when memory runs out."""
    recolour: bool = True
    """Turns colours around, and light into dark, in what is trained on. --no-recolour shows what it is for."""
    lr: Positive = 3e-3
    """The size of the largest step (AdamW)."""
    weight_decay: NonNegative = 1e-2
    """Pulls every weight towards zero."""
    batch_size: Count = 8
    """Charts per step."""
    epochs: Count = 10
    """How often each chart is seen."""
    max_steps: Natural = 0
    """Stop after so many steps (0: at the end of the epochs). The schedule is fitted to it."""
    threads: Natural = 0
    """CPU threads (0: as many as torch takes)."""


PRESETS = {
    "smoke": {"charts": 24, "val_charts": 6, "width": 8, "epochs": 2, "batch_size": 8},
    "quick": {},
    "full": {"charts": 20_000, "val_charts": 300, "width": 32, "epochs": 12},
}
# What --resume may change: how long and in what steps it goes on, and where it computes.
FREE = ("epochs", "max_steps", "lr", "device", "threads")


def build(cfg: Config) -> ChartReader:
    """The network of a config, with weights drawn from its seed."""
    seed_everything(cfg.seed)
    return ChartReader(ReaderConfig(cfg.width)).to(memory_format=torch.channels_last)


def learning_rate(step: int, steps: int) -> float:
    """What share of --lr step number `step` of `steps` is to have: up in the first tenth, then down as a cosine."""
    progress = (step + 1) / (steps + 1)
    return min(1.0, progress / 0.1) * (1 + math.cos(math.pi * progress)) / 2


def recoloured(pictures: UInt8[np.ndarray, "B H W 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "B H W 3"]:
    """The same charts in other colours: red, green and blue change places, and in three of ten light becomes dark."""
    found = pictures[:, :, :, rng.permutation(3)]
    dark = rng.random(len(found)) < 0.3
    found[dark] = 255 - found[dark]
    return found


def fit(cfg: Config, stock: Stock, charts: Splits[Case], model: ChartReader, device: Device,
        run: runs.Run | None = None) -> Iterator[runs.Row]:  # fmt: skip
    """The training loop. Yields {epoch, step, train_loss, val_within_5, val_kind, val_loss, val_place_error,
    seconds}.

    Raises:
        Diverged: the loss is no longer a number.
        Stopped: Ctrl-C was pressed; the state is saved.
    """
    model.to(device.name)
    size = min(cfg.batch_size, len(stock))
    per_epoch = len(stock) // size  # what is left over is dropped: the order changes, so each chart gets its turn
    steps = cfg.max_steps or cfg.epochs * per_epoch
    optimizer = torch.optim.AdamW(model.parameters(), cfg.lr, weight_decay=cfg.weight_decay)
    scaler = torch.amp.GradScaler(device.name, init_scale=2.0**12, enabled=device.dtype == "float16")

    parts = {"model": model, "optimizer": optimizer, "scaler": scaler}
    with Loop(cfg, run, steps, per_epoch, f"Try --lr {cfg.lr / 10:g}.", **parts) as loop:
        for epoch in loop.epochs():
            model.train()
            order = np.random.default_rng([cfg.seed, epoch]).permutation(len(stock))
            for rows in loop.batches([order[start : start + size] for start in range(0, per_epoch * size, size)]):
                for group in optimizer.param_groups:
                    group["lr"] = cfg.lr * learning_rate(loop.step, steps)
                pictures = stock.pictures[rows]
                if cfg.recolour:
                    pictures = recoloured(pictures, np.random.default_rng([cfg.seed, loop.step]))
                truth = tuple(part.to(device.name) for part in targets([stock.marks[row] for row in rows]))
                kinds = torch.from_numpy(stock.kinds[rows]).to(device.name)
                optimizer.zero_grad()
                with autocast(device):
                    answer = model(inputs(pictures).to(device.name))
                found = loss(tuple(part.float() for part in answer), truth, kinds)
                scaler.scale(found).backward()
                scaler.step(optimizer)
                scaler.update()
                loop.add(found)
            yield loop.row(**evaluate(model, charts.val.items))


@torch.no_grad()
def evaluate(model: nn.Module, items: Sequence[Case]) -> dict[str, float]:
    """Of charts: the share of bar and line values that are read within 5 %, with the drawn words given; the share of
    kinds that are right; and `on_marks`."""
    model.eval()
    reader = Reader(model)
    looked = [one for start in range(0, len(items), 16)
              for one in reader.look([case.drawn.picture for case in items[start : start + 16]])]  # fmt: skip
    views = iter(looked)
    scored = charts_eval.score(lambda figure: reader.raw(figure, next(views)), items, "known")
    slope, start = charts_eval.calibration(*charts_eval.values_with_confidence(scored))
    model.calibration.copy_(torch.tensor([slope, start]))  # so that "0.9" is right nine times out of ten
    kind = charts_eval.kinds_right([one.kind for one in looked], items)
    return {"within_5": charts_eval.within(scored, 0.05), "kind": kind, **on_marks(model, data.drawn(items, 1))}


@torch.no_grad()
def on_marks(model: nn.Module, stock: Stock, most: float = 10.0) -> dict[str, float]:
    """Of charts as the network sees them: the mean loss, and the mean way from a true mark to the nearest one found, in
    the network's pixels; at most `most`."""
    device, losses, ways = next(model.parameters()).device, [], []
    for row in range(len(stock)):
        answer = model(inputs(stock.pictures[row : row + 1]).to(device))
        truth = tuple(part.to(device) for part in targets([stock.marks[row]]))
        losses.append(loss(answer, truth, torch.from_numpy(stock.kinds[row : row + 1]).to(device)).item())
        heats, offsets = torch.sigmoid(answer[0])[0].cpu().numpy(), answer[1][0].cpu().numpy()
        for channel, name in enumerate(MARKS):
            true = stock.marks[row][name]
            if len(true):
                places = [(x, y) for x, y, _ in peaks(heats[channel], offsets, LEAST[name])]
                found = np.array(places or [(-99.0, -99.0)])
                away = np.linalg.norm(true[:, None] - found[None], axis=2).min(axis=1)  # (true marks)
                ways += np.minimum(away, most).tolist()
    return {"loss": float(np.mean(losses)), "place_error": float(np.mean(ways)) if ways else most}


def baselines(items: Sequence[Case]) -> list[runs.Row]:
    """What one would do without this network: printed numbers alone, and rectangles found by OpenCV."""
    import time

    rows = []
    readers = (("words alone", charts_eval.words_only), ("OpenCV's contours (bars)", charts_eval.contours))
    for name, read in readers:
        began = time.perf_counter()
        scored = charts_eval.score(read, items, "known")
        seconds = round(time.perf_counter() - began, 2)
        rows.append({"name": name, "params": 0, "seconds": seconds, METRIC: charts_eval.within(scored, 0.05)})
    return rows


def main(cfg: Config) -> dict[str, Any]:
    """Trains the network that finds marks, on charts drawn in many styles, and shows how well charts are read.

    Returns what result.json holds; the run folder is under the key "run".
    """
    device = choose(cfg.device)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    charts = data.load(cfg.charts, cfg.val_charts)
    run = runs.begin(WEEK_NUMBER, cfg, FREE)
    run.hold_to(charts)
    runs.describe(charts, "charts")
    model = build(cfg)
    params = count_parameters(model)
    print(f"device: {device}\n{params:,} parameters; {len(KINDS)} kinds of figure, {len(MARKS)} kinds of mark")
    stock = data.drawn(charts.train.items)
    theirs = run.once("baselines", lambda: {"rows": baselines(charts.val.items)})
    keep: dict[str, Any] = {"width": cfg.width, "kinds": KINDS, "marks": MARKS}
    best, last = run.follow(
        fit(cfg, stock, charts, model, device, run), lambda: keep | {"model": model.state_dict()}, METRIC
    )
    advice = "Try more --charts, or more --epochs."
    return run.finish(best, last, device, params, theirs["rows"], advice)


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS, week=WEEK_NUMBER)
