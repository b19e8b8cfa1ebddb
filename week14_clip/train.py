"""Trains the two towers: `./course train 14`, or `python -m week14_clip.train --help`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week14_clip/train.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import nn

from shared import cli, runs
from shared.config import Count, Natural, NonNegative, Positive, Share, TrainConfig
from shared.device import Device, choose
from shared.errors import CourseError
from shared.loop import Loop
from shared.minilm import Reader
from shared.seed import seed_everything
from week14_clip import baselines, data, measures, openclip
from week14_clip.efficientnet import SIDE
from week14_clip.features import Eyes, Features, Pairs, features, look
from week14_clip.model import DualEncoder, DualEncoderConfig, count_parameters, info_nce

WEEK_NUMBER = 14
PARTS = ("train", "val", "test")


@dataclass
class Config(TrainConfig):
    """The flags of week 14. --data also takes flickr8k, unsplash-lite, or a folder of pictures with captions."""

    model: str = ""
    """A network of open_clip's to train whole, as ViT-B-32; a config of your own (.json), a folder with
    open_clip_config.json, or hf-hub:OWNER/NAME. Nothing: two small towers over published networks that stay as they
    are."""
    pretrained: str = ""
    """Its weights to begin with: published ones, as laion2b_s34b_b79k, or a file. They want --lr 1e-5."""
    limit: Natural = 0
    """At most so many pictures; of Unsplash no more are fetched. 0: all."""
    width: Annotated[int, Ge(32), Le(2048)] = 400
    """In how many pixels the pictures of Unsplash are fetched."""
    side: Natural = 0
    """Pixels that a picture is brought to before it is looked at; 0: 128 for the bundled drawings, 224 for photos.
    Half the side takes a quarter of the time."""
    dim: Annotated[int, Ge(2)] = 256
    """Numbers of a vector in the space that both meet in."""
    hidden: Natural = 0
    """Neurons of a layer inside each tower; 0: a tower is one projection. With few pairs that is as good."""
    dropout: Share = 0.5
    """The share of features silenced at random. With few pairs, much helps."""
    temperature: Annotated[float, Ge(0.01), Le(10.0)] = 0.07
    """Where the temperature begins; it is learned. Lower: small differences of angle decide."""
    lr: Positive = 1e-3
    """The size of the largest step."""
    weight_decay: NonNegative = 0.1
    """Pulls every weight towards zero."""
    batch_size: Annotated[int, Ge(2)] = 128
    """Pairs a step. More: more wrong answers to tell the right one from, and a harder question."""
    epochs: Count = 40
    """How often each picture is seen, each time with one of its captions."""
    max_steps: Natural = 0
    """Stop after so many steps (0: at the end of the epochs). The schedule is fitted to it."""
    threads: Natural = 0
    """CPU threads (0: as many as torch takes)."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"limit": 240, "side": 64, "dim": 64, "epochs": 8, "batch_size": 32},
    "quick": {},
    "full": {"data": "unsplash-lite", "hidden": 512, "batch_size": 512},
}
OWN = ("dim", "hidden", "dropout", "temperature", "side")  # flags that shape the two small towers
# What --resume may change: how long and in what steps it goes on, and where it computes.
FREE = ("epochs", "max_steps", "lr", "device", "threads")


def build(cfg: Config) -> DualEncoder:
    """The towers of a config, with weights drawn from its seed."""
    seed_everything(cfg.seed)
    shape = DualEncoderConfig(dim=cfg.dim, hidden=cfg.hidden, dropout=cfg.dropout, temperature=cfg.temperature)
    return DualEncoder(shape)


def check(cfg: Config) -> None:
    """CourseError where flags do not go together."""
    openclip.check(cfg)
    usual = Config(**PRESETS[cfg.preset])
    if cfg.model and (wrong := [name for name in OWN if getattr(cfg, name) != getattr(usual, name)]):
        raise CourseError(f"--{wrong[0]} is of the two small towers: {cfg.model} has its own. Leave it out.")
    if cfg.pretrained and cfg.lr > 1e-4:
        print(f"--lr {cfg.lr:g} makes published weights forget what they know: 1e-5 is usual")


def begin(cfg: Config, train: Features) -> DualEncoder:
    """The towers as they are before the first step: of the training data they know mean and spread, and no more."""
    model = build(cfg)
    model.picture_tower.fit_scale(train.pictures)
    model.text_tower.fit_scale(train.texts)
    return model


def learning_rate(step: int, steps: int) -> float:
    """What share of --lr a step is to have: up in the first twentieth, then down as a cosine."""
    progress = (step + 1) / (steps + 1)
    return min(progress / 0.05, 1.0) * (1 + math.cos(math.pi * progress)) / 2


def fit(
    cfg: Config, train: Pairs, val: Pairs, model: nn.Module, device: Device, run: runs.Run | None = None
) -> Iterator[runs.Row]:
    """The training loop. Yields {epoch, step, train_loss, val_loss, val_recall_at_1, …, seconds} after every epoch.

    Raises:
        Diverged: the loss is no longer a number.
        Stopped: Ctrl-C was pressed; the state is saved.
    """
    model.to(device.name)
    optimizer = torch.optim.AdamW(model.parameters(), cfg.lr, weight_decay=cfg.weight_decay)

    def epoch_of(number: int) -> list:
        return data.batches(train.concept, train.counts, cfg.batch_size, np.random.default_rng([cfg.seed, number]))

    per_epoch = len(epoch_of(0))
    steps = cfg.max_steps or cfg.epochs * per_epoch
    parts = {"model": model, "optimizer": optimizer}
    with Loop(cfg, run, steps, per_epoch, f"Try --lr {cfg.lr / 10:g}.", **parts) as loop:
        for epoch in loop.epochs():
            model.train()
            for rows, captions in loop.batches(epoch_of(epoch)):
                optimizer.param_groups[0]["lr"] = cfg.lr * learning_rate(loop.step, steps)
                pictures, texts = train.batch(model, rows, captions, device.name)
                optimizer.zero_grad()
                loss = info_nce(*model(pictures, texts))
                loss.backward()
                optimizer.step()
                model.keep_in_bounds()
                loop.add(loss)
            yield loop.row(**evaluate(model, val, device))


def evaluate(model: nn.Module, part: Pairs, device: Device) -> dict[str, float]:
    """Loss of a part's pairs (each picture with its first caption, one of each concept), and how well texts find
    pictures among all of the part."""
    pictures, texts = part.embed(model, device.name)
    once = np.unique(part.concept, return_index=True)[1]
    pairs = (torch.from_numpy(pictures[once]), torch.from_numpy(texts[part.first[once]]))
    loss = info_nce(*pairs, model.scale.detach().cpu()).item()
    return {"loss": loss, **measures.summary(measures.ranks(texts @ pictures.T, part.right))}


def train_baselines(
    pictures: data.Pictures, train: Pairs, val: Pairs, model: nn.Module, device: Device
) -> dict[str, Any]:
    """The rows of the baselines on val, the network before its first step among them. With the two small towers also
    what is to be scored on test later: these, and the regression."""
    before = {f"val_{name}": value for name, value in evaluate(model, val, device).items() if name != "loss"}
    untrained = {"name": baselines.UNTRAINED, "params": count_parameters(model), "seconds": 0.0, **before}
    if not isinstance(train, Features):
        return {"rows": [untrained, *baselines.rows(pictures, val, {}, "val")]}
    began = time.perf_counter()
    fitted = baselines.fit_regression(train, val)
    rows = baselines.rows(pictures, val, fitted, "val", time.perf_counter() - began)
    return {"rows": [untrained, *rows], "regression": fitted, "model": model.state_dict()}


def recalls(row: dict[str, Any]) -> str:
    """R@1, R@5 and R@10 of a row, in words."""
    return ", ".join(f"{name[4:].replace('_', ' ')} {v:.1%}" for name, v in row.items() if "recall" in name)


def side_of(cfg: Config) -> int:
    """How large a picture is looked at."""
    return cfg.side or (128 if cfg.data == "sample" else SIDE)


def main(cfg: Config) -> dict[str, Any]:
    """Trains two towers until texts find the pictures that they belong to, and shows the result beside its baselines.

    Returns what result.json holds; the run folder is under the key "run".
    """
    check(cfg)
    device = choose(cfg.device)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    network = openclip.load(cfg.model, cfg.pretrained) if cfg.model else None
    pictures = data.load(cfg.data, cfg.limit, cfg.width)
    run = runs.begin(WEEK_NUMBER, cfg, FREE)
    run.hold_to(pictures)
    runs.describe(pictures, "pictures")
    print(f"device: {device}")
    parts: dict[str, data.Pictures] = {name: getattr(pictures, name) for name in PARTS}
    if network:
        train, val = (openclip.photographs(parts[name], network) for name in ("train", "val"))
        model, about = network, {"open_clip": network.about}
    else:
        looked = run.once("features", lambda: look(parts, Eyes(device, side_of(cfg)), Reader(device.name)))
        train, val = (features(parts[name], looked[name]) for name in ("train", "val"))
        model, about = begin(cfg, train), {"side": side_of(cfg)}
    theirs = run.once("baselines", lambda: train_baselines(pictures.val, train, val, model, device))
    before = {name: value for name, value in theirs["rows"][0].items() if name.startswith("val_")}
    print(f"before the first step: {recalls(before)}")
    best, last = run.follow(
        fit(cfg, train, val, model, device, run),
        lambda: {"model": model.state_dict(), **about},
        metric="val_mrr",
    )
    advice = "Try another --lr, or more --epochs."
    hints = ['search with it: ./course run 14 search FOLDER "a dog in the snow"{run}']
    scores = {name: best[name] for name in best if name.startswith("val_recall")}
    result = run.finish(best, last, device, count_parameters(model), theirs["rows"], advice, hints, at_best=scores)
    print(f"text → picture on val: {recalls(scores)}")
    return result


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS, week=WEEK_NUMBER)
