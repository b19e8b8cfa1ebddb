"""The question of the week: deeper or wider? `./course run 2 compare [flops|params|norm|dropout|pool|all]`

    flops     networks of several depths, each as wide as the same FLOPs an image allow
    params    the same with equal parameters
    norm      the deep ones of the first part with and without batch norm
    dropout   the reference network with more and more of it
    pool      the reference network with its images halved by max, avg or stride

All are trained by train.py's loop and recipe, from several seeds; only what a part is about differs. Every finished
training is kept, so a second call goes on where the first one stopped, and trains nothing twice.
"""

import json
import statistics
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
import tyro
from tqdm import tqdm

from shared import cli
from shared.device import choose
from shared.errors import CourseError, Stopped
from shared.files import read_json, write_json
from shared.parallel import in_processes
from shared.progress import bar
from shared.runs import RUNS
from week02_cnn import data, pictures, train
from week02_cnn.model import POOLS, ConvNetConfig, flops, parameters, receptive_field

PARTS = ("flops", "params", "norm", "dropout", "pool")
COSTS: dict[str, Callable[[ConvNetConfig], int]] = {"flops": flops, "params": parameters}
TOLERANCE = 0.03  # how far from equal two costs may be that are called equal
DROPOUTS = (0.0, 0.1, 0.3, 0.5)
DEEP = 6  # from this depth on, part norm looks at what a network does without batch norm


@dataclass
class Config(cli.CommonConfig):
    """The flags of compare."""

    parts: tyro.conf.Positional[tuple[str, ...]] = ()
    """Which parts: flops, params, norm, dropout, pool, or all (the default)."""
    depths: tuple[int, ...] = (3, 6, 9, 16)
    """Which depths. For each, a width must exist at which it costs the same as the reference, within 3 %."""
    depth: int = 6
    """The depth of the reference network, which sets the budget."""
    width: int = 13
    """The width of the reference network. Twice the width: four times the time."""
    seeds: int = 3
    """How often each network is trained: from --seed and the seeds after it."""
    epochs: int = 8
    """Epochs of every training."""
    max_steps: int = 0
    """Stop every training after so many steps (0: at the end of the epochs)."""
    batch_size: int = 64
    """Examples per step, in every training."""
    lr: float = train.Config.lr
    """The learning rate of every network that has batch norm."""
    lrs: tuple[float, ...] = (0.1, 0.03, 0.01)
    """Without batch norm, the best one of these on val is taken for each depth (first seed); and --lr is shown too."""
    jobs: int = 2
    """How many trainings run side by side: as many as you have cores. For small networks that is faster than to lend
    all cores to one training. Each takes some 500 MB of memory."""
    threads: int = 1
    """CPU threads of each training."""
    out: str = ""
    """The folder for tables, pictures and finished trainings. Default: runs/week02/compare-DATA."""
    seed: int = 0
    """The first seed."""
    resume: tyro.conf.Suppress[bool] = False  # means nothing here: a second call always goes on


SMOKE = {"depths": (3, 4), "depth": 3, "width": 8, "seeds": 2, "epochs": 1, "max_steps": 3, "lrs": (0.1, 0.01)}
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": SMOKE | {"jobs": 1},
    "quick": {},
    "full": {"data": "cifar10", "width": 32, "batch_size": 128, "lr": 0.2, "lrs": (0.2, 0.1, 0.03)},
}

Row = dict[str, Any]
"""One training: its recipe, what the network costs, and what came out."""


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


# ---------------------------------------------------------------- one training, and many


def recipe(cfg: train.Config) -> dict[str, Any]:
    """What a result follows from: the flags of train.py without those that only say where and how to compute."""
    left_out = ("out", "resume", "preset", "device", "threads")
    return {name: value for name, value in asdict(cfg).items() if name not in left_out}


def key(cfg: train.Config) -> str:
    """The recipe as a string, by which a finished training is found again."""
    return json.dumps(recipe(cfg), sort_keys=True)


def train_once(cfg: train.Config, images: data.Data) -> Row:
    """Trains one network and scores its last epoch on val and test; nothing is chosen by either here."""
    torch.set_num_threads(cfg.threads)
    device = choose(cfg.device)
    shape = train.shape(cfg, len(images.classes), images.side)
    model = train.build(cfg, shape.classes, shape.side)
    row = {"recipe": recipe(cfg), "diverged": False, "device": device.name, "threads": cfg.threads}
    row |= {"params": parameters(shape), "flops": flops(shape), "receptive_field": receptive_field(shape)}
    try:
        epochs = list(train.fit(cfg, images, model, device))
    except train.Diverged:
        return row | {"diverged": True}
    last = epochs[-1]
    row |= {name: last[name] for name in ("train_loss", "val_accuracy", "seconds")}
    row["test_accuracy"] = train.evaluate(model, images.test, images.mean, images.std, device)["accuracy"]
    return row | {"val_curve": [epoch["val_accuracy"] for epoch in epochs]}


@cache
def load(name: str) -> data.Data:
    """The data set, read once in each process."""
    return data.load(name).to_train_on()


def train_in_process(cfg: train.Config) -> Row:
    """train_once, where nothing but the recipe is handed over."""
    return train_once(cfg, load(cfg.data))


# ---------------------------------------------------------------- which trainings a part consists of

Rows = Mapping[str, Row]


def base(cfg: Config, **changes: Any) -> train.Config:
    """The recipe of every training: train.py's own, with what the flags and `changes` say."""
    flags = ("data", "device", "seed", "depth", "width", "epochs", "max_steps", "batch_size", "lr", "threads")
    return train.Config(**{name: getattr(cfg, name) for name in flags} | changes)


def variants(part: str, cfg: Config, images: data.Data, rows: Rows) -> dict[str, train.Config]:
    """The networks of a part by name, without their seeds. Those without batch norm need the search to be over."""
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
    found = {}
    for label, one in chosen.items():
        without = replace(one, norm=False)
        lr = best_lr(without, cfg, rows)
        found[f"{label}, batch norm"] = one
        found[f"{label}, none" if lr == cfg.lr else f"{label}, none, same lr"] = without
        if lr not in (None, cfg.lr):
            found[f"{label}, none, its best lr"] = replace(without, lr=lr)
    return found


def search(one: train.Config, cfg: Config) -> list[train.Config]:
    """The trainings by which the learning rate of a network without batch norm is chosen."""
    return [replace(one, norm=False, lr=lr) for lr in cfg.lrs]


def best_lr(one: train.Config, cfg: Config, rows: Rows) -> float | None:
    """The learning rate that was best on val in the search, the first seed's; None while the search is not over."""
    tried = [rows.get(key(candidate)) for candidate in search(one, cfg)]
    if not all(tried):
        return None
    return cfg.lrs[max(range(len(tried)), key=lambda i: tried[i].get("val_accuracy", -1.0))]


def missing(part: str, cfg: Config, images: data.Data, rows: Rows) -> list[train.Config]:
    """The trainings of a part that have not been done yet, as far as they can be known."""
    found = variants(part, cfg, images, rows).values()
    wanted = [replace(one, seed=seed) for one in found for seed in range(cfg.seed, cfg.seed + cfg.seeds)]
    if part == "norm":
        wanted += [one for without in found if not without.norm for one in search(without, cfg)]
    return list({key(one): one for one in wanted if key(one) not in rows}.values())


# ---------------------------------------------------------------- tables


def summary(label: str, cfg: train.Config, rows: Sequence[Row]) -> dict[str, Any]:
    """One line of a table: a network, what it costs, and mean and standard deviation over its seeds."""
    shape = {name: getattr(cfg, name) for name in ("depth", "width", "norm", "lr", "dropout", "pool")}
    cost = {name: rows[0][name] for name in ("params", "flops", "receptive_field")}
    kept = [row for row in rows if not row["diverged"]]
    line = {"name": label} | shape | cost | {"seeds": len(rows), "diverged": len(rows) - len(kept)}
    if kept:
        for metric in ("val_accuracy", "test_accuracy", "train_loss", "seconds"):
            values = [row[metric] for row in kept]
            line[metric] = statistics.mean(values)
            line[f"{metric}_std"] = statistics.stdev(values) if len(values) > 1 else 0.0
    return line | {"val_curves": [row["val_curve"] for row in kept]}


TITLES = {
    "flops": "Deeper or wider at equal FLOPs",
    "params": "Deeper or wider at equal parameters",
    "norm": "With and without batch norm, at equal FLOPs",
    "dropout": "Dropout before the last layer",
    "pool": "How the image is halved",
}


def markdown(part: str, lines: Sequence[Mapping[str, Any]], cfg: Config) -> str:
    """A part as a Markdown table, for the lesson."""
    columns = ["network", "width", "lr", "parameters", "MFLOPs", "sees", "train loss", "val", "test", "seconds"]
    n = f"{cfg.seeds} seed{'s' * (cfg.seeds != 1)}, mean ± standard deviation"
    length = f"{cfg.max_steps} steps" if cfg.max_steps else f"{cfg.epochs} epochs"
    text = [f"### {TITLES[part]}", "", f"{cfg.data}, {length}, {n}; `{cli.command()} {part}`", ""]
    text += [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for line in lines:
        field = f"{line['receptive_field']} px"
        cells = [line["name"], line["width"], f"{line['lr']:g}", f"{line['params']:,}", f"{line['flops'] / 1e6:.1f}"]
        cells += [field]
        if line["diverged"] < line["seeds"]:
            cells += [f"{line['train_loss']:.3f}"]
            cells += [f"{line[m]:.2%} ± {100 * line[f'{m}_std']:.2f}" for m in ("val_accuracy", "test_accuracy")]
            cells += [f"{line['seconds']:.0f}"]
        else:
            cells += ["NaN", "", "", ""]
        if line["diverged"]:
            cells[0] += f" (diverged: {line['diverged']} of {line['seeds']})"
        text.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(text)


def tables(cfg: Config, images: data.Data, rows: Rows) -> dict[str, list[dict[str, Any]]]:
    """All parts whose trainings are all there."""
    found = {}
    for part in PARTS:
        with suppress(CourseError):  # a depth that fits the one budget need not fit the other
            if not missing(part, cfg, images, rows):
                found[part] = [
                    summary(label, one, [rows[key(replace(one, seed=cfg.seed + i))] for i in range(cfg.seeds)])
                    for label, one in variants(part, cfg, images, rows).items()
                ]
    return found


def draw(found: Mapping[str, list[dict[str, Any]]], out: Path) -> None:
    """The pictures of the tables that are there."""
    if both := {part: found[part] for part in ("flops", "params") if part in found}:
        pictures.depth_or_width(out / "depth_or_width.png", both)
    if "norm" in found:
        pictures.norm(out / "norm.png", found["norm"])


# ---------------------------------------------------------------- the program


def check(cfg: Config) -> tuple[str, ...]:
    """The parts to do, in their order; CourseError for flags that cannot work."""
    for part in cfg.parts:
        if part not in (*PARTS, "all"):
            raise CourseError(f"unknown part '{part}': choose from {', '.join(PARTS)}, all.")
    if min(cfg.seeds, cfg.jobs, cfg.threads) < 1:
        raise CourseError("--seeds, --jobs and --threads must be at least 1.")
    if not cfg.depths or not cfg.lrs:
        raise CourseError("--depths and --lrs need at least one number each.")
    for depth in cfg.depths:
        for lr in (cfg.lr, *cfg.lrs):
            train.check(base(cfg, depth=depth, lr=lr))
    train.check(base(cfg))
    return tuple(part for part in PARTS if part in cfg.parts or not cfg.parts or "all" in cfg.parts)


def load_rows(path: Path) -> dict[str, Row]:
    """The finished trainings of an earlier call, by their key.

    Raises:
        CourseError: the file is not one of ours.
    """
    if not path.exists():
        return {}
    saved = read_json(path)
    if not isinstance(saved, list) or not all(isinstance(row, dict) and "recipe" in row for row in saved):
        raise CourseError(f"{path} does not hold trainings of compare. Give --out another folder.")
    return {json.dumps(row["recipe"], sort_keys=True): row for row in saved}


def told(row: Row) -> str:
    """A finished training in one line."""
    how = row["recipe"]
    words = [f"depth {how['depth']:2d}", f"width {how['width']:2d}", f"pool {how['pool']}"]
    words += [f"lr {how['lr']:g}", *(["no norm"] if not how["norm"] else [])]
    words += [f"dropout {how['dropout']:g}"] if how["dropout"] else []
    end = "diverged" if row["diverged"] else f"val {row['val_accuracy']:.2%} in {row['seconds']:.0f} s"
    return f"{', '.join(words)}, seed {how['seed']}: {end}"


def main(cfg: Config) -> dict[str, Any]:
    """Trains networks of equal cost and different shape from several seeds; prints tables and draws pictures.

    Returns the tables by part, those of earlier calls with the same flags among them.
    """
    chosen = check(cfg)
    images = load(cfg.data)
    out = Path(cfg.out) if cfg.out else RUNS / "week02" / f"compare-{Path(cfg.data).stem}"
    rows = load_rows(out / "trainings.json")
    print(f"{images.name}: {len(images.train):,} images to train on. Device: {choose(cfg.device)}")
    with bar(0, label="comparing") as progress:
        while todo := list({key(one): one for part in chosen for one in missing(part, cfg, images, rows)}.values()):
            progress.total = progress.n + len(todo)
            tqdm.write(f"{len(todo)} trainings, {cfg.jobs} at a time; {len(rows)} are there already")
            try:
                for row in in_processes(train_in_process, todo, cfg.jobs):
                    rows[json.dumps(row["recipe"], sort_keys=True)] = row
                    write_json(out / "trainings.json", list(rows.values()))
                    tqdm.write(told(row))
                    progress.update()
            except KeyboardInterrupt:
                raise Stopped(f"stopped; {len(rows)} trainings are kept in {out}. The same command goes on.") from None
    found = tables(cfg, images, rows)
    write_json(out / "compare.json", {"config": asdict(cfg), "tables": found})
    draw(found, out)
    text = "\n\n".join(markdown(part, found[part], cfg) for part in chosen)
    print(f"\n{text}\n\ntables and pictures: {out}")
    return found


if __name__ == "__main__":
    cli.run(main, Config, PRESETS)
