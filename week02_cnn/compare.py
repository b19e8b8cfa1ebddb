"""The question of the week: deeper or wider? `./course run 2 compare [flops|params|norm|dropout|pool|all]`

    flops     networks of several depths, each as wide as the same FLOPs an image allow
    params    the same with equal parameters
    norm      the deep ones of the first part with and without batch norm
    dropout   the reference network with more and more of it
    pool      the reference network with its images halved by max, avg or stride

All are trained by train.py's loop and recipe, from several seeds; only what a part is about differs. Every finished
training is kept, so a second call goes on where the first one stopped, and trains nothing twice.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week02_cnn/compare.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import Annotated, Any, Literal

import torch
import tyro
from annotated_types import Ge

from shared import cli, race, results, trials
from shared.config import Count, Natural, Positive
from shared.device import choose
from shared.errors import CourseError, Diverged
from shared.files import read_json, write_json
from shared.runs import RUNS, Row
from shared.terminal import command
from week02_cnn import data, drawing, train
from week02_cnn.model import POOLS, ConvNetConfig, flops, parameters, receptive_field

PARTS = ("flops", "params", "norm", "dropout", "pool")
COSTS: dict[str, Callable[[ConvNetConfig], int]] = {"flops": flops, "params": parameters}
TOLERANCE = 0.03  # how far from equal two costs may be that are called equal
DROPOUTS = (0.0, 0.1, 0.3, 0.5)
DEEP = 6  # from this depth on, part norm looks at what a network does without batch norm
HOW = ("parts", "device", "jobs", "threads", "out", "preset", "publish")  # flags that change no result
METRICS = ("train_loss", "val_accuracy", "test_accuracy", "seconds")


@dataclass
class Config(trials.StudyConfig):
    """The flags of compare."""

    parts: tyro.conf.Positional[tuple[Literal["flops", "params", "norm", "dropout", "pool", "all"], ...]] = ()
    """Which parts (default: all)."""
    depths: tuple[Annotated[int, Ge(3)], ...] = (3, 6, 9, 16)
    """Which depths. For each, a width must exist at which it costs the same as the reference, within 3 %."""
    depth: Annotated[int, Ge(3)] = 6
    """The depth of the reference network, which sets the budget."""
    width: Count = 13
    """The width of the reference network. Twice the width: four times the time."""
    epochs: Count = 8
    """Epochs of every training."""
    max_steps: Natural = 0
    """Stop every training after so many steps (0: at the end of the epochs)."""
    batch_size: Count = 64
    """Examples per step, in every training."""
    lr: Positive = train.Config.lr
    """The learning rate of every network that has batch norm."""
    lrs: tuple[Positive, ...] = (0.1, 0.03, 0.01)
    """Without batch norm, the best one of these on val is taken for each depth (first seed); and --lr is shown too."""
    out: str = ""
    """The folder for trainings, tables and pictures. Default: runs/week02/compare-DATA, of smoke in smoke/."""


SMOKE = {"depths": (3, 4), "depth": 3, "width": 8, "seeds": 2, "epochs": 1, "max_steps": 3, "lrs": (0.1, 0.01)}
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": SMOKE | {"jobs": 1},
    "quick": {},
    "full": {"data": "cifar10", "width": 32, "batch_size": 128, "lr": 0.2, "lrs": (0.2, 0.1, 0.03)},
}


# ---------------------------------------------------------------- shapes of equal cost


def shapes_at(budget_kind: str, reference: ConvNetConfig, depths: Sequence[int]) -> list[ConvNetConfig]:
    """For every depth the network like `reference` whose cost comes closest to the reference's.

    Args:
        budget_kind: what is to be equal: flops (of one image forward) or params.
        reference: whose cost is the budget; everything but depth and width is taken from it.
        depths: which depths.

    Raises:
        CourseError: at some depth no width costs the same within 3 %; the line says which depths have one.
    """
    shapes = {depth: nearest(budget_kind, reference, depth) for depth in depths}
    for depth, shape in shapes.items():
        off = offset(budget_kind, shape, reference)
        if abs(off) > TOLERANCE:
            tried = (nearest(budget_kind, reference, other) for other in range(3, max(30, *depths) + 1))
            fit = [one.depth for one in tried if abs(offset(budget_kind, one, reference)) <= TOLERANCE]
            raise CourseError(
                f"--depths {depth}: no width has the {budget_kind} of depth {reference.depth}, width "
                f"{reference.width} within {TOLERANCE:.0%} (the nearest, {shape.width}, is {off:+.1%} off). "
                f"These depths have one: {', '.join(map(str, fit))}. Another --width has others."
            )
    return list(shapes.values())


def nearest(budget_kind: str, reference: ConvNetConfig, depth: int) -> ConvNetConfig:
    """The network of that depth, of all widths, whose cost is nearest to the reference's."""
    cost, widths = COSTS[budget_kind], range(1, 10_000)
    above = bisect_left(widths, cost(reference), key=lambda width: cost(replace(reference, depth=depth, width=width)))
    around = [replace(reference, depth=depth, width=width) for width in widths[max(0, above - 1) : above + 1]]
    return min(around, key=lambda shape: abs(offset(budget_kind, shape, reference)))


def offset(budget_kind: str, shape: ConvNetConfig, reference: ConvNetConfig) -> float:
    """By which share a network costs more than the reference (negative: less)."""
    cost = COSTS[budget_kind]
    return cost(shape) / cost(reference) - 1


# ---------------------------------------------------------------- one training


def recipe(cfg: train.Config) -> trials.Flags:
    """What a result follows from: the flags of train.py without those that only say where and how to compute."""
    left_out = ("out", "resume", "preset", "device", "threads")
    return {name: value for name, value in asdict(cfg).items() if name not in left_out}


@cache
def load(name: str) -> data.Data:
    """The data set, read once in each process."""
    return data.load(name).to_train_on()


def train_once(where: str, flags: trials.Flags, threads: int) -> Row:
    """Trains one network and scores its last epoch on val and test; nothing is chosen by either here.

    Args:
        where: the device.
        flags: from `recipe`.
        threads: of torch.
    """
    torch.set_num_threads(threads)
    cfg, device = train.Config(**flags), choose(where)
    images = load(cfg.data)
    shape = train.shape(cfg, len(images.classes), images.side)
    model = train.build(cfg, shape.classes, shape.side)
    row = {"diverged": False, "device": device.name, "threads": threads}
    row |= {"params": parameters(shape), "flops": flops(shape), "receptive_field": receptive_field(shape)}
    try:
        epochs = list(train.fit(cfg, images, model, device))
    except Diverged:
        return row | {"diverged": True}
    row |= {name: epochs[-1][name] for name in ("train_loss", "val_accuracy", "seconds")}
    row["test_accuracy"] = train.evaluate(model, images.test, images.mean, images.std, device)["accuracy"]
    return row | {"val_curve": [epoch["val_accuracy"] for epoch in epochs]}


# ---------------------------------------------------------------- which trainings a part consists of

Rows = Mapping[Any, Row]


def base(cfg: Config, **changes: Any) -> train.Config:
    """The recipe of every training: train.py's own, with what the flags and `changes` say."""
    flags = ("data", "seed", "depth", "width", "epochs", "max_steps", "batch_size", "lr")
    return train.Config(**{name: getattr(cfg, name) for name in flags} | changes)


def variants(part: str, cfg: Config, images: data.Data) -> dict[str, train.Config]:
    """The networks of a part by name, from the first seed; of part norm those that need no search."""
    if part == "dropout":
        return {f"dropout {share:g}": base(cfg, dropout=share) for share in DROPOUTS}
    if part == "pool":
        return {f"pool {how}": base(cfg, pool=how) for how in POOLS}
    reference = train.shape(base(cfg), len(images.classes), images.side)
    shapes = shapes_at("params" if part == "params" else "flops", reference, cfg.depths)
    chosen = {f"depth {shape.depth}": base(cfg, depth=shape.depth, width=shape.width) for shape in shapes}
    if part != "norm":
        return chosen
    chosen = {label: one for label, one in chosen.items() if one.depth >= DEEP} or chosen
    with_and_without = {}
    for label, one in chosen.items():
        with_and_without[f"{label}, batch norm"] = one
        with_and_without[f"{label}, none, same lr"] = replace(one, norm=False)
    return with_and_without


def search(found: Mapping[str, train.Config], cfg: Config) -> dict[tuple[str, float], train.Config]:
    """{(name, lr): recipe} by which the rate of a network without batch norm is chosen, from the first seed alone."""
    plain = {name: one for name, one in found.items() if not one.norm}
    return {(name, lr): replace(one, lr=lr) for name, one in plain.items() for lr in cfg.lrs}


def at_best_lr(found: dict[str, train.Config], tried: Rows, cfg: Config) -> dict[str, train.Config]:
    """The networks of part norm, with those without batch norm also at the rate that was best on val in the search."""
    ordered = {}
    for name, one in found.items():
        ordered[name] = one
        if not one.norm:
            best = max(cfg.lrs, key=lambda lr, name=name: tried[name, lr].get("val_accuracy", -1.0))
            if best == cfg.lr:
                ordered[name.removesuffix(", same lr")] = ordered.pop(name)
            else:
                ordered[name.replace("same lr", "its best lr")] = replace(one, lr=best)
    return ordered


# ---------------------------------------------------------------- tables


def summary(label: str, cfg: train.Config, rows: Sequence[Row]) -> dict[str, Any]:
    """One line of a table: a network, what it costs, and mean and standard deviation over its seeds."""
    shape = {name: getattr(cfg, name) for name in ("depth", "width", "norm", "lr", "dropout", "pool")}
    cost = {name: rows[0][name] for name in ("params", "flops", "receptive_field")}
    kept = [row for row in rows if not row["diverged"]]
    line = {"name": label} | shape | cost | {"seeds": len(rows), "diverged": len(rows) - len(kept)}
    for metric in METRICS if kept else ():
        line[metric], line[f"{metric}_std"] = trials.mean_std([row[metric] for row in kept])
    return line | {"val_curves": [row["val_curve"] for row in kept]}


TITLES = {
    "flops": "Deeper or wider at equal FLOPs",
    "params": "Deeper or wider at equal parameters",
    "norm": "With and without batch norm, at equal FLOPs",
    "dropout": "Dropout before the last layer",
    "pool": "How the image is halved",
}


def markdown(part: str, lines: Sequence[Mapping[str, Any]], cfg: Config) -> str:
    """A part as a Markdown table, with its circumstances above it."""
    columns = ["network", "width", "lr", "parameters", "MFLOPs", "sees", "train loss", "val", "test", "seconds", "n"]
    length = f"{cfg.max_steps} steps" if cfg.max_steps else f"{cfg.epochs} epochs"
    jobs = trials.side_by_side(cfg.jobs, choose(cfg.device).name)
    how = f"{jobs} at a time, {cfg.threads} thread{'s' * (cfg.threads > 1)} each; {race.processor()}"
    about = f"*`{command()} {part}`: {cfg.data}, {length}, mean ± standard deviation over the seeds; {how}*"
    table = []
    for line in lines:
        cells = [line["name"], line["width"], f"{line['lr']:g}", f"{line['params']:,}", f"{line['flops'] / 1e6:.1f}"]
        cells += [f"{line['receptive_field']} px"]
        if line["diverged"] < line["seeds"]:
            cells += [f"{line['train_loss']:.3f}"]
            cells += [f"{line[m]:.2%} ± {100 * line[f'{m}_std']:.2f}" for m in ("val_accuracy", "test_accuracy")]
            cells += [f"{line['seconds']:.0f}"]
        else:
            cells += ["NaN", "", "", ""]
        lost = f" ({line['diverged']} diverged)" if line["diverged"] else ""
        table.append([*cells, f"{line['seeds']}{lost}"])
    return f"{about}\n\n{results.markdown(columns, table)}"


def draw(found: Mapping[str, list[dict[str, Any]]], out: Path) -> None:
    """The pictures of the tables that are there."""
    if both := {part: found[part] for part in ("flops", "params") if part in found}:
        drawing.depth_or_width(out / "depth_or_width.png", both)
    if "norm" in found:
        drawing.norm(out / "norm.png", found["norm"])


# ---------------------------------------------------------------- the program


def compare(
    part: str, cfg: Config, images: data.Data, work: Callable[[trials.Flags, int], Row], out: Path
) -> list[Row]:
    """Does what is missing of a part's trainings and returns the lines of its table."""

    def do(todo: Mapping[Any, trials.Flags]) -> Rows:
        return trials.run_all(todo, work, out, trials.side_by_side(cfg.jobs, choose(cfg.device).name), cfg.threads)

    found = variants(part, cfg, images)
    if part == "norm":
        tried = do({name: recipe(one) for name, one in search(found, cfg).items()})
        found = at_best_lr(found, tried, cfg)
    rows = do(trials.over_seeds({label: recipe(one) for label, one in found.items()}, trials.seeds(cfg)))
    return [summary(label, one, [rows[label, seed] for seed in trials.seeds(cfg)]) for label, one in found.items()]


def folder(cfg: Config) -> Path:
    """Where it goes by default. What smoke draws says nothing; a report, which looks in runs/week02/*, misses it."""
    return RUNS / "week02" / ("smoke" if cfg.preset == "smoke" else "") / f"compare-{Path(cfg.data).stem}"


def main(cfg: Config) -> dict[str, Any]:
    """Trains networks of equal cost and different shape from several seeds; prints tables and draws pictures.

    Returns the tables by part.
    """
    if not cfg.depths or not cfg.lrs:
        raise CourseError("--depths and --lrs need at least one number each.")
    parts = [part for part in PARTS if part in cfg.parts or not cfg.parts or "all" in cfg.parts]
    images = load(cfg.data)
    out = Path(cfg.out) if cfg.out else folder(cfg)
    print(f"{images.name}: {len(images.train):,} images to train on. Device: {choose(cfg.device)}")
    found = {}
    for part in parts:
        found[part] = compare(part, cfg, images, partial(train_once, cfg.device), out)
        text = markdown(part, found[part], cfg)
        print(f"\n### {TITLES[part]}\n\n{text}\n")
        if cfg.publish:
            results.publish(2, f"compare {part}", text)
    recipes = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(cfg).items() if name not in HOW}
    if (out / "compare.json").is_file():
        before = read_json(out / "compare.json")
        if before.get("config") == recipes:  # tables of other parts, of an earlier call with the same flags, stay
            found = before["tables"] | found
    write_json(out / "compare.json", {"config": recipes, "tables": found})
    draw(found, out)
    print(f"tables and pictures: {out}")
    return {part: found[part] for part in PARTS if part in found}


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
