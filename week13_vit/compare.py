"""How many pictures does each need? `./course run 13 compare`: a ViT, a CNN of equal FLOPs and logistic regression.

Every training makes the same number of steps, so that only what there is to see differs. With --start a ViT that was
pretrained is a third contestant. A finished training is kept: a second call goes on where the first one stopped.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week13_vit/compare.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass, fields, replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from shared import cli, plots, race, results, trials
from shared.config import Count, Positive
from shared.device import choose
from shared.errors import CourseError, Diverged
from shared.runs import RUNS, Row, best_of
from shared.terminal import typed
from week13_vit import baselines, data, measures, train, weights
from week13_vit.model import count_parameters, flops

VIT, PRETRAINED = "ViT from scratch", "ViT pretrained"
METRICS = ("val_auroc", "test_auroc", "seconds")
EVERY = 50  # steps between two looks at val, of which the best counts


@dataclass
class Config(trials.StudyConfig):
    """The flags of compare."""

    start: str = ""
    """A checkpoint, as train's --start: then a pretrained ViT is compared, too."""
    sizes: tuple[Count, ...] = (100, 400, 1500)
    """How many pictures to train on."""
    steps: Count = 250
    """Steps of every training."""
    side: Count = 64
    """Pictures are brought to so many pixels in height and width."""
    patch: Count = 8
    """Pixels, height and width of a patch."""
    lr: Positive = 1e-3
    """The largest step of a ViT from scratch, twice that of a pretrained one; the others have their own
    (baselines.py)."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"sizes": (60, 120), "steps": 20, "seeds": 1, "side": 32, "jobs": 1},
    "quick": {},
    "full": {"data": "pneumoniamnist", "side": 28, "patch": 4, "sizes": (100, 300, 1000, 4000), "steps": 1300},
}


@cache
def loaded(name: str, side: int) -> data.Data:
    """The data of a process, read once."""
    return data.load(name, side).to_train_on()


def train_once(flags: trials.Flags, threads: int, device_name: str = "cpu") -> Row:
    """Trains one contestant on so many pictures, and scores what was best on val."""
    torch.set_num_threads(threads)
    device, kind = choose(device_name), flags["kind"]
    known = {field.name for field in fields(train.Config)}
    cfg = train.Config(**{name: value for name, value in flags.items() if name in known})
    pictures = loaded(cfg.data, cfg.side).first(cfg.examples, cfg.seed)
    if kind == PRETRAINED:
        pictures = replace(pictures, given=weights.normalisation(cfg.start))
    network = train.build(cfg, len(pictures.classes))
    cost = flops(network.config)
    if kind in baselines.RECIPES:
        cfg = replace(cfg, **baselines.RECIPES[kind])
        train.seed_everything(cfg.seed)
        network = baselines.build(kind, cfg.side, len(pictures.classes), cost)
    elif kind == PRETRAINED:
        probe = train.linear_probe(cfg, pictures, network, device)
        with torch.no_grad():
            network.head.weight.copy_(probe["weight"])
            network.head.bias.copy_(probe["bias"])
    # few pictures are seen several times in what the loop calls an epoch, at whose end it looks at val
    count = max(len(pictures.train), EVERY * cfg.batch_size)
    often = replace(pictures, train=pictures.train.take(np.resize(np.arange(len(pictures.train)), count)))
    rows = train.fit(cfg, often, network, device)
    try:
        best, kept = best_of(rows, lambda: {k: v.clone() for k, v in network.state_dict().items()}, "val_auroc")
    except Diverged:
        return {"kind": kind, "diverged": True}
    network.load_state_dict(kept)
    probs = train.probabilities(network, pictures.test, pictures.mean_std, device)
    found = {"val_auroc": best["val_auroc"], "test_auroc": measures.mean_auroc(pictures.test.labels, probs)}
    return found | {"seconds": best["seconds"], "params": count_parameters(network), "flops": cost, "diverged": False}


def recipes(cfg: Config) -> dict[tuple[str, int], trials.Flags]:
    """The flags of every contestant at every size."""
    plain = {"data": cfg.data, "side": cfg.side, "patch": cfg.patch, "max_steps": cfg.steps, "lr": cfg.lr}
    pretrained = {PRETRAINED: {"start": cfg.start, "lr": cfg.lr / 2}} if cfg.start else {}
    kinds: dict[str, trials.Flags] = {kind: {} for kind in (VIT, *baselines.RECIPES)} | pretrained
    return {(kind, size): plain | more | {"kind": kind, "examples": size}
            for kind, more in kinds.items() for size in cfg.sizes}  # fmt: skip


def draw(path: Path, found: dict[str, dict[int, Row]]) -> None:
    """Test AUROC over the number of pictures, a line a contestant, with the deviation over the seeds."""
    with plots.figure(path) as (_, axes):
        for (kind, rows), colour in zip(found.items(), plots.COLOURS, strict=False):
            there = {size: row["test_auroc"] for size, row in rows.items() if "test_auroc" in row}
            means, deviations = zip(*there.values(), strict=True)
            axes.errorbar(list(there), means, deviations, color=colour, marker="o", capsize=3, label=kind)
        axes.set(xscale="log", xlabel="pictures to train on", ylabel="test AUROC", title="How many does each need?")
        sizes = sorted({size for rows in found.values() for size in rows})
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.set_xticks([], minor=True)
        axes.legend()


def main(cfg: Config) -> dict[str, Any]:
    """Trains a ViT and its baselines on ever more pictures, from several seeds; prints a table and draws the curve.

    Returns {contestant: {size: row}}.
    """
    if not cfg.sizes:
        raise CourseError("--sizes needs at least one number.")
    pictures = loaded(cfg.data, cfg.side)
    if max(cfg.sizes) > len(pictures.train):
        raise CourseError(f"--sizes {max(cfg.sizes)}: {cfg.data} has {len(pictures.train):,} pictures to train on.")
    out = Path(cfg.out) if cfg.out else RUNS / "week13" / f"compare-{Path(cfg.data).stem}"
    device = choose(cfg.device)
    if cfg.start:  # its turn comes last, and what is wrong with it is to be told before hours of the others
        weights.load_pretrained(cfg.start)
        weights.normalisation(cfg.start)
    todo = {(f"{kind}, {size:,}", seed): flags | {"seed": seed}
            for (kind, size), flags in recipes(cfg).items() for seed in trials.seeds(cfg)}  # fmt: skip
    jobs = trials.side_by_side(cfg.jobs, device.name)
    rows = trials.run_all(todo, partial(train_once, device_name=device.name), out, jobs, cfg.threads)
    lines = trials.summaries(rows, METRICS)
    how = f"{cfg.steps} steps each; {jobs} at a time, {cfg.threads} thread{'s' * (cfg.threads > 1)}; {race.processor()}"
    about = f"*`{typed('--publish')}`: {cfg.data}, mean ± standard deviation over the seeds; {how}*"
    text = f"{about}\n\n{trials.mean_table(lines, METRICS)}"
    print(f"\n{text}\n")
    if cfg.publish:
        results.publish(13, "compare", text)
    found: dict[str, dict[int, Row]] = {}
    for kind, size in recipes(cfg):
        found.setdefault(kind, {})[size] = lines[f"{kind}, {size:,}"]
    draw(out / "data_efficiency.png", found)
    print(f"picture: {out / 'data_efficiency.png'}")
    return found


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
