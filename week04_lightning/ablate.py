"""What each ingredient brings, alone: `./course run 4 ablate`, or one part of it: `./course run 4 ablate schedules`.

Two questions, because the answers differ. What does an ingredient bring to the plain recipe, which is week 2's network
and loop? And what is lost when it alone is taken out of the refined one? Ingredients overlap: two that each bring a
point seldom bring two together, and one that brings nothing to a short plain training may carry a longer, richer one.

Every row is trained from the same seeds and for the same number of epochs as the row it is compared with, and its last
weights are measured: none are picked on val. A learning rate is part of what it belongs to (an optimiser is not worse
for wanting another), so where a row may want its own, a small grid is tried from the first seed, and val chooses. A
grid whose best rate is its smallest or its largest goes on in that direction.

Each training that has ended is kept as a JSON file, by what was trained: the same command goes on where it stopped.
"""

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
import tyro

from shared import cli
from shared.device import choose
from shared.errors import CourseError, Stopped
from shared.files import read_json, write_json, written_whole
from shared.parallel import cores, in_processes
from shared.progress import bar
from shared.runs import RUNS
from week02_cnn import baselines
from week02_cnn import data as photographs
from week02_cnn import train as plain_loop
from week02_cnn.model import count_parameters
from week04_lightning import pictures, train

# Flags of train.py. An lr of several values is a grid, searched from the first seed; a row without an lr takes the one
# that was best for the recipe it changes.
Flags = dict[str, Any]

PLAIN: Flags = asdict(train.Config(**train.PRESETS["plain"])) | {"width": 16, "epochs": 8, "lr": (0.05, 0.1, 0.2, 0.4)}
"""Week 2's recipe, with a network half as wide: a quarter of its cost."""

SPEEDNET: Flags = {"net": "speednet", "depth": 6, "width": 16}
RESNET: Flags = {"net": "resnet", "depth": 9, "width": 10}  # both cost as much as PLAIN's, within 5 %
OWN_RATES = ("head_lr", "bias_lr")  # the last layer's and the biases'
TTA = 1  # the image and its mirror image, three looks at val and test with the one without; 2 would take seven
BEYOND = 4  # by how many rates a grid goes on where the best one lies at its edge
ONE_RATE: Flags = dict.fromkeys(OWN_RATES, 0.0)

QUICK: Flags = asdict(train.Config(**train.PRESETS["quick"]))
SMALL_LOGITS: Flags = {name: QUICK[name] for name in OWN_RATES}  # for divided logits: long steps
REFINED: Flags = QUICK | SPEEDNET | {"preset": "plain", "plain_epochs": 0, "epochs": PLAIN["epochs"], "tta": TTA}
REFINED |= {"lr": tuple(QUICK["lr"] * share for share in (0.5, 1, 2))}
"""The recipe of `./course train 4`, in as many epochs as the plain one has, with a network that costs as much."""

PARTS: dict[str, dict[str, Flags]] = {
    "optimizers": {
        "SGD without momentum": {"momentum": 0.0, "lr": (0.25, 0.5, 1.0)},
        "Adam": {"optimizer": "adam", "weight_decay": 1e-4, "lr": (0.002, 0.005, 0.01)},
        "AdamW": {"optimizer": "adamw", "weight_decay": 0.05, "lr": (0.002, 0.005, 0.01)},
        "Muon": {"optimizer": "muon", "lr": (0.05, 0.1, 0.2)},
    },
    "schedules": {
        "constant": {"schedule": "constant", "lr": (0.01, 0.03, 0.1)},
        "step": {"schedule": "step", "lr": (0.03, 0.1, 0.2)},
        "cosine": {"schedule": "cosine", "warmup": 0.0, "lr": (0.2, 0.4, 0.8)},
        "one-cycle": {"schedule": "onecycle", "lr": (0.2, 0.4, 0.8)},
    },
    "augmentation": {
        "no flip": {"flip": "none"},
        "alternating flip": {"flip": "alternating"},
        "crop 2": {"crop": 2},
        "cutout 8": {"cutout": 8},
        "mixup 0.2": {"mixup": 0.2},
        "RandAugment 1": {"randaugment": 1, "randaugment_group": 8},
    },
    "regularisation": {
        "label smoothing 0.1": {"label_smoothing": 0.1},
        "EMA": {"average": "ema", "ema_decay": 0.98},
        "SWA": {"average": "swa"},
        "test-time mirroring": {"tta": TTA},
    },
    "net": {
        "residual net": RESNET | {"lr": (0.1, 0.2, 0.4)},
        "SpeedNet": SPEEDNET | SMALL_LOGITS | {"lr": (0.2, 1.0, 5.0)},
    },
    "refined": {
        "SGD for Muon": {"optimizer": "sgd", "fixed_norm": False, "momentum": 0.9, "lr": (0.2, 1.0, 5.0)},
        "constant rate": {"schedule": "constant", "lr": tuple(QUICK["lr"] * share for share in (0.125, 0.25, 0.5))},
        "random flip": {"flip": "random"},
        "without crop": {"crop": 0},
        "without label smoothing": {"label_smoothing": 0.0},
        "without test-time mirroring": {"tta": 0},
        "week 2's net": ONE_RATE
        | {"net": "convnet", "width": PLAIN["width"], "fixed_norm": False, "lr": (0.05, 0.1, 0.2)},
    },
}
"""What every row changes: of PLAIN, or (in "refined") of REFINED."""

TITLES = {
    "optimizers": "optimiser, for SGD with momentum",
    "schedules": "schedule, for up and down in two lines",
    "augmentation": "augmentation, beside or for the random flip",
    "regularisation": "regularisation",
    "net": "network, for week 2's",
    "refined": "taken out of the refined recipe (difference to that)",
}
LOGISTIC, PLAIN_ROW, REFINED_ROW = train.LOGISTIC, "plain: week 2's recipe", "refined: all of it"


@dataclass
class Config(cli.CommonConfig):
    """The flags of ablate. --data also takes cifar10, a folder of class folders, or an .npz."""

    parts: tyro.conf.Positional[tuple[str, ...]] = ()
    """Which parts: optimizers, schedules, augmentation, regularisation, net, refined. Default (or `all`): all."""
    seeds: int = 3
    """How often each row is trained, each time from another seed."""
    epochs: int = 0
    """Epochs of every training (0: 8). Few favour the fast starters, many the strong regularisers."""
    width: int = 0
    """Channels of the network's first stage (0: 16). Other networks grow alike. Twice as many: four times the time."""
    jobs: int = 0
    """Trainings side by side, each in a process of its own with 1 GB of memory (0: one per core, at most 8; one on a
    GPU). On two cores two small trainings with a thread each are faster than one after the other with two."""
    threads: int = 1
    """Threads of each training on a CPU."""
    out: str = str(RUNS / "week04" / "ablate")
    """The folder for the rows, the table and the picture. What it holds already is not trained again."""
    preset: str = "quick"
    """A set of defaults: `smoke` (one part, one seed, a tiny network), `quick` (half an hour on two cores with the
    bundled photographs), `full` (CIFAR-10, GPU advised). A flag given by hand wins over the preset."""
    resume: tyro.conf.Suppress[bool] = False  # it always goes on where it stopped: neither offered nor accepted


PRESETS: dict[str, dict] = {
    "smoke": {"parts": ("regularisation",), "seeds": 1, "epochs": 1, "width": 4, "jobs": 1},
    "quick": {},
    "full": {"data": "cifar10", "epochs": 20, "width": 64},
}


# ---------------------------------------------------------------- trainings, each of them kept


def key(flags: Flags) -> str:
    """The name of a training's file: the same for the same flags, in whatever order."""
    return sha256(json.dumps(flags, sort_keys=True).encode()).hexdigest()[:16]


def kept(folder: Path, flags: Flags) -> dict[str, Any] | None:
    """The row of a training that has been done before, or None."""
    path = folder / f"{key(flags)}.json"
    if not path.is_file():
        return None
    row = read_json(path)
    if not (isinstance(row, dict) and row.get("flags") == json.loads(json.dumps(flags))):
        raise CourseError(f"{path} is not a row of ablate. Delete it, or choose another --out.")
    return row


def train_all(
    todo: Mapping[str, Flags], folder: Path, jobs: int, threads: int, one: Callable[[Flags, int], dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Does the trainings that have not been done yet, and returns the rows of all of them.

    Args:
        todo: what to call each training, and its flags. The same flags under two names are trained once.
        folder: where each row is kept as soon as it is there.
        jobs: trainings side by side; 1 trains in this process.
        threads: of each.
        one: trains and returns a row; called with the flags and the threads, in another process where jobs > 1.

    Raises:
        Stopped: Ctrl-C. What has ended by then is kept.
    """
    names = {key(flags): name for name, flags in reversed(todo.items())}
    rows = {key(flags): kept(folder, flags) for flags in todo.values()}
    missing = list({key(flags): flags for flags in todo.values() if rows[key(flags)] is None}.values())
    with bar(len(missing), label="training") as progress:
        try:
            for number, (flags, row) in enumerate(in_processes(partial(paired, one, threads), missing, jobs), 1):
                row = {"flags": flags} | row
                write_json(folder / f"{key(flags)}.json", row)
                rows[key(flags)] = row
                outcome = f"val {row['val_accuracy']:.2%}" if "val_accuracy" in row else "diverged  "
                line = f"{number:3d} of {len(missing)}   {outcome}   {row['seconds']:5.1f} s   {names[key(flags)]}"
                progress.write(line)
                progress.update()
        except KeyboardInterrupt:
            left = sum(row is None for row in rows.values())
            raise Stopped(f"stopped with {left} trainings to go; the same command goes on.") from None
    return {name: rows[key(flags)] for name, flags in todo.items()}


def paired(one: Callable[[Flags, int], dict[str, Any]], threads: int, flags: Flags) -> tuple[Flags, dict[str, Any]]:
    """The flags, and what `one` makes of them: results come as they get ready, and have to say whose they are."""
    return flags, one(flags, threads)


@cache
def load(name: str) -> photographs.Data:
    """The data set, read once in each process."""
    return photographs.load(name).to_train_on()


def train_once(flags: Flags, threads: int) -> dict[str, Any]:
    """One training with the flags of train.py, in which nothing but its row is kept.

    Returns:
        val_accuracy and test_accuracy of the last weights, each also with test-time augmentation (…_tta), params,
        seconds of training, and history; of a training that diverged, seconds (0) alone.
    """
    from week04_lightning.callbacks import Diverged

    torch.set_num_threads(threads)
    if "baseline" in flags:
        return logistic(flags)
    cfg, row = train.Config(**flags), {}
    photos, device = load(cfg.data), train.choose_device(cfg)
    classifier = train.build(cfg, photos)
    try:
        history = train.fit(cfg, photos, classifier, device)
    except Diverged:
        return {"seconds": 0.0}
    except SystemExit:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from None
    for tta, ending in ((0, ""), (TTA, "_tta")):
        classifier.cfg = replace(cfg, tta=tta)
        for name, part in (("val", photos.val), ("test", photos.test)):
            scores, _ = train.test(classifier.cfg, photos, part, classifier, device)
            row[f"{name}_accuracy{ending}"] = round(scores["accuracy"], 6)  # it comes as a float32
    return row | {"params": count_parameters(classifier), "seconds": history[-1]["seconds"], "history": history}


def logistic(flags: Flags) -> dict[str, Any]:
    """The trivial solution: logistic regression on the pixels, by week 2's loop. Returns a row, as train_once does."""
    cfg = plain_loop.Config(
        seed=flags["seed"], epochs=flags["epochs"], schedule="cosine", **baselines.RECIPES[flags["baseline"]]
    )
    photos, device = load(flags["data"]), choose(flags["device"])
    model = train.baseline_net(flags["baseline"], asdict(cfg), photos)
    history = list(plain_loop.fit(cfg, photos, model, device))
    row = {"params": count_parameters(model), "seconds": history[-1]["seconds"], "history": history}
    for name, part in (("val", photos.val), ("test", photos.test)):
        row[f"{name}_accuracy"] = plain_loop.evaluate(model, part, photos.mean, photos.std, device)["accuracy"]
    return row


# ---------------------------------------------------------------- what comes out


def at_rate(flags: Flags, lr: float) -> Flags:
    """The flags with this learning rate, and beside Muon those of the last layer and of the biases in proportion."""
    share = lr / QUICK["lr"] if flags["optimizer"] == "muon" else 1.0  # other rates are no measure
    own = {name: flags[name] * share for name in OWN_RATES}
    return flags | own | {"lr": lr}


def beyond(reached: Mapping[float, float]) -> float | None:
    """The rate to try next where the best one lies at the edge of the grid, a step as large as the last; else None.

    Args:
        reached: rate to accuracy on val, 0 where the training diverged.
    """
    rates = sorted(reached)
    best = max(rates, key=reached.__getitem__)
    if len(rates) < 2 or best not in (rates[0], rates[-1]):
        return None
    neighbour = rates[1] if best == rates[0] else rates[-2]
    return float(f"{best * best / neighbour:.2g}")


def accuracy(row: Mapping[str, Any], part: str, tta: int = 0) -> float | None:
    """What a training reached on val or test; None where it diverged."""
    return row.get(f"{part}_accuracy{'_tta' if tta else ''}")


def difference(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """The difference of two means and its standard error, sqrt(s1² / n1 + s2² / n2) (Welch); 0 where an n is 1.

    From three seeds that error is itself known to about a half only: look for differences of more than twice its size.
    """
    error = 0.0
    if min(len(ours), len(theirs)) > 1:
        error = math.sqrt(statistics.variance(ours) / len(ours) + statistics.variance(theirs) / len(theirs))
    return statistics.mean(ours) - statistics.mean(theirs), error


def recipes(cfg: Config, parts: Sequence[str]) -> dict[str, dict[str, Flags]]:
    """The complete flags of all rows, part by part; those of the plain and the refined recipe come first, under "".

    "lr" is a number, a grid, or None: that of the recipe it changes.
    """
    common = {"data": cfg.data, "device": cfg.device, "epochs": cfg.epochs or PLAIN["epochs"]}
    scale = (cfg.width or PLAIN["width"]) / PLAIN["width"]

    def complete(base: Flags, changes: Flags) -> Flags:
        flags = base | common | changes
        return flags | {"width": max(1, round(flags["width"] * scale))}

    rows = {"": {PLAIN_ROW: complete(PLAIN, {})}}
    if "refined" in parts:
        rows[""][REFINED_ROW] = complete(REFINED, {})
    for part in parts:
        base = REFINED if part == "refined" else PLAIN
        rows[part] = {label: complete(base, {"lr": None} | changes) for label, changes in PARTS[part].items()}
    return rows


def search(
    rows: Mapping[str, Mapping[str, Flags]], seed: int, do: Callable[[dict[str, Flags]], dict[str, dict[str, Any]]]
) -> dict[str, dict[str, Flags]]:
    """The rows with a learning rate each: where there is a grid, the one that was best on val from this seed."""
    own = {label: flags for part in rows.values() for label, flags in part.items() if flags["lr"]}
    reached: dict[str, dict[float, float]] = {label: {} for label in own}
    ahead = {label: list(flags["lr"]) for label, flags in own.items()}
    for _ in range(BEYOND + 1):
        tried = {f"{label}, lr {lr:g}, seed {seed}": (label, lr) for label, rates in ahead.items() for lr in rates}
        done = do({name: at_rate(own[label], lr) | {"seed": seed} for name, (label, lr) in tried.items()})
        for name, (label, lr) in tried.items():
            reached[label][lr] = accuracy(done[name], "val") or 0.0
        ahead = {label: [lr] for label, values in reached.items() if (lr := beyond(values))}
    best = {label: max(values, key=values.__getitem__) for label, values in reached.items()}
    print("\nlearning rates, val accuracy from one seed:")
    for label, values in reached.items():
        edge = " (at the edge of the grid)" if beyond(values) else ""
        told = ", ".join(f"{lr:g}: {values[lr]:.1%}" if values[lr] else f"{lr:g}: diverged" for lr in sorted(values))
        print(f"  {label:26s}{best[label]:<8g}{told}{edge}")

    def settled(part: str, label: str, flags: Flags) -> Flags:
        return at_rate(flags, best[label if flags["lr"] else REFINED_ROW if part == "refined" else PLAIN_ROW])

    return {part: {label: settled(part, label, f) for label, f in group.items()} for part, group in rows.items()}


def summary(flags: Flags, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What several seeds of one recipe reached."""
    summed: dict[str, Any] = {"flags": flags, "seeds": len(rows)}
    for part in ("val", "test"):
        summed[part] = [a for row in rows if (a := accuracy(row, part, flags.get("tta", 0))) is not None]
    summed["seconds"] = statistics.mean(row["seconds"] for row in rows)
    summed["params"] = next((row["params"] for row in rows if "params" in row), 0)
    summed["histories"] = [row["history"] for row in rows if "history" in row]
    return summed


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation, in percent."""
    return f"{statistics.mean(values):.2%}" + (f" ± {statistics.stdev(values):.2%}" if len(values) > 1 else "")


def table(summed: Mapping[str, Mapping[str, dict[str, Any]]]) -> str:
    """All rows as a Markdown table, each with its difference on test to the recipe that it changes."""
    lines = ["| | lr | val | test | difference on test | parameters | seconds |", "|---|---|---|---|---|---|---|"]
    bases = summed[""]
    for part, group in summed.items():
        if part:
            lines.append(f"| **{TITLES[part]}** | | | | | | |")
        for label, row in group.items():
            base = bases[REFINED_ROW] if part == "refined" else None if label == PLAIN_ROW else bases[PLAIN_ROW]
            lost = f" ({row['seeds'] - len(row['val'])} of {row['seeds']} diverged)"
            cells = [
                label + (lost if len(row["val"]) < row["seeds"] else ""),
                f"{row['flags']['lr']:g}" if "lr" in row["flags"] else "",
            ]
            cells += [spread(row[name]) if row[name] else "" for name in ("val", "test")]
            cells.append(points(*difference(row["test"], base["test"])) if base and row["test"] else "")
            cells += [f"{row['params']:,}", f"{row['seconds']:.0f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def points(gain: float, error: float) -> str:
    """A difference of accuracies in percentage points, with its standard error."""
    return f"{100 * gain:+.1f} ± {100 * error:.1f}" if error else f"{100 * gain:+.1f}"


def draw(summed: Mapping[str, Mapping[str, dict[str, Any]]], path: Path) -> None:
    """The differences of the table as bars."""
    bars: dict[str, list[tuple[str, float, float]]] = {}
    for part, group in summed.items():
        base = summed[""][REFINED_ROW if part == "refined" else PLAIN_ROW]
        for label, row in group.items():
            if row["test"] and label not in (PLAIN_ROW, LOGISTIC):
                gain, error = difference(row["test"], base["test"])
                title = TITLES.get(part, "the refined recipe, for the plain one")
                bars.setdefault(title, []).append((label, 100 * gain, 100 * error))
    pictures.ablation(path, bars, "What each ingredient alone brings to a plain training")


def check(cfg: Config) -> tuple[str, ...]:
    """The parts to do; CourseError for values that cannot work."""
    parts = tuple(PARTS) if not cfg.parts or "all" in cfg.parts else tuple(dict.fromkeys(cfg.parts))
    for part in parts:
        if part not in PARTS:
            raise CourseError(f"unknown part '{part}': choose from {', '.join(PARTS)}, all.")
    for flag, least in (("seeds", 1), ("epochs", 0), ("width", 0), ("jobs", 0), ("threads", 1), ("seed", 0)):
        if getattr(cfg, flag) < least:
            raise CourseError(f"--{flag} {getattr(cfg, flag)}: must be at least {least}.")
    return parts


def main(cfg: Config) -> dict[str, Any]:
    """Trains every variant from several seeds; prints a table and draws what each ingredient brought."""
    parts = check(cfg)
    device, photos, out = choose(cfg.device), load(cfg.data), Path(cfg.out)
    jobs = cfg.jobs or (max(1, min(8, cores() // cfg.threads)) if device.name == "cpu" else 1)
    cfg = replace(cfg, device=device.name)
    print(f"{photos.name}: {len(photos.train):,} images to train on, {len(photos.val):,} to validate")
    print(f"device: {device}; {jobs} training{'s' * (jobs > 1)} at a time, threads: {cfg.threads} each")

    if "refined" in parts:
        own = train.Config(device=cfg.device, precision=REFINED["precision"])
        print(f"of the refined recipe: {train.choose_device(own)}")

    def do(todo: dict[str, Flags]) -> dict[str, dict[str, Any]]:
        # Test-time augmentation is no matter of the training: it is measured after every one, and read where asked for.
        todo = {name: flags | {"tta": 0} for name, flags in todo.items()}
        return train_all(todo, out / "rows", jobs, cfg.threads, train_once)

    rows = search(recipes(cfg, parts), cfg.seed, do)
    trivial = {"baseline": LOGISTIC, "data": cfg.data, "device": cfg.device, "epochs": 10}
    rows[""] = {LOGISTIC: trivial, **rows[""]}
    seeds = range(cfg.seed, cfg.seed + cfg.seeds)
    trainings = {
        f"{label}, seed {seed}": flags | {"seed": seed}
        for group in rows.values()
        for label, flags in group.items()
        for seed in seeds
    }
    done = do(trainings)
    summed = {
        part: {label: summary(flags, [done[f"{label}, seed {seed}"] for seed in seeds]) for label, flags in g.items()}
        for part, g in rows.items()
    }
    text = table(summed)
    print(f"\n{text}\n\nn = {cfg.seeds}; differences in percentage points, ± their standard error")
    with written_whole(out / "ablate.md") as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    write_json(out / "ablate.json", summed)
    draw(summed, out / "ablation.png")
    print(f"table, rows and picture: {out}")
    return summed


if __name__ == "__main__":
    cli.run(main, Config, PRESETS)
