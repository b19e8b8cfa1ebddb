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

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week04_lightning/ablate.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Literal

import torch
import tyro

from shared import cli, terminal
from shared.config import Natural
from shared.device import choose
from shared.errors import Diverged
from shared.files import write_json, written_whole
from shared.parallel import cores
from shared.race import processor
from shared.results import markdown, publish
from shared.runs import RUNS, Row, versions
from shared.trials import Flags, StudyConfig, difference, over_seeds, plus_minus, run_all, seeds
from week02_cnn import data as photographs
from week02_cnn import train as plain_loop
from week02_cnn.baselines import LOGISTIC, RECIPES
from week02_cnn.model import count_parameters
from week04_lightning import drawing, train

FOLDER = RUNS / "week04" / "ablate"

# Flags are those of train.py. An lr of several values is a grid, searched from the first seed; a row without an lr
# takes the one that was best for the recipe it changes.

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
PLAIN_ROW, REFINED_ROW = "plain: week 2's recipe", "refined: all of it"


@dataclass
class Config(StudyConfig):
    """The flags of ablate. --data also takes cifar10, a folder of class folders, or an .npz."""

    parts: tyro.conf.Positional[
        tuple[Literal["optimizers", "schedules", "augmentation", "regularisation", "net", "refined", "all"], ...]
    ] = ()
    """Which parts. Default (or `all`): all of them."""
    epochs: Natural = 0
    """Epochs of every training (0: 8). Few favour the fast starters, many the strong regularisers."""
    width: Natural = 0
    """Channels of the network's first stage (0: 16). Other networks grow alike. Twice as many: four times the time."""
    jobs: Natural = 0
    """Trainings side by side, each in a process of its own with 1 GB of memory (0: one per core, at most 8; one on a
    GPU). On two cores two small trainings with a thread each are done sooner than one after the other with two."""
    out: str = str(FOLDER)
    """The folder for the rows, the table and the picture. What it holds already is not trained again."""
    preset: str = "quick"
    """A set of defaults: `smoke` (one part, one seed, a tiny network), `quick` (half an hour on two cores with the
    bundled photographs), `full` (CIFAR-10, GPU advised). A flag given by hand wins over the preset."""


PRESETS: dict[str, dict] = {
    "smoke": {
        "parts": ("regularisation",),
        "seeds": 1,
        "epochs": 1,
        "width": 4,
        "jobs": 1,
        # Its picture says nothing: a report, which looks in runs/week04/*, passes it over.
        "out": str(FOLDER.parent / "smoke" / FOLDER.name),
    },
    "quick": {},
    "full": {"data": "cifar10", "epochs": 20, "width": 64},
}


# ---------------------------------------------------------------- one training


@cache
def load(name: str) -> photographs.Data:
    """The data set, read once in each process."""
    return photographs.load(name).to_train_on()


def train_once(flags: Flags, threads: int) -> Row:
    """One training with the flags of train.py, in which nothing but its row is kept.

    Returns:
        val_accuracy and test_accuracy of the last weights, each also with test-time augmentation (…_tta), params,
        seconds of training, and history; of a training that diverged, that alone.
    """
    torch.set_num_threads(threads)
    if "baseline" in flags:
        return logistic(flags)
    cfg, row = train.Config(**flags), {}
    photos, device = load(cfg.data), train.choose_device(cfg)
    classifier = train.build(cfg, photos)
    try:
        history = train.fit(cfg, photos, classifier, device)
    except Diverged:
        return {"diverged": True, "seconds": 0.0}
    for tta, ending in ((0, ""), (TTA, "_tta")):
        classifier.cfg = replace(cfg, tta=tta)
        for name, part in (("val", photos.val), ("test", photos.test)):
            scores, _ = train.test(classifier.cfg, photos, part, classifier, device)
            row[f"{name}_accuracy{ending}"] = round(scores["accuracy"], 6)  # it comes as a float32
    return row | {"params": count_parameters(classifier), "seconds": history[-1]["seconds"], "history": history}


def logistic(flags: Flags) -> Row:
    """The trivial solution: logistic regression on the pixels, by week 2's loop. Returns a row, as train_once does."""
    cfg = plain_loop.Config(seed=flags["seed"], epochs=flags["epochs"], schedule="cosine", **RECIPES[LOGISTIC])
    photos, device = load(flags["data"]), choose(flags["device"])
    model = train.baseline_net(LOGISTIC, asdict(cfg), len(photos.classes), photos.side)
    history = list(plain_loop.fit(cfg, photos, model, device, label=f"baseline: {LOGISTIC}"))
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
    rows: Mapping[str, Mapping[str, Flags]], seed: int, do: Callable[[dict[Any, Flags]], dict[Any, Row]]
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


def summary(flags: Flags, rows: Sequence[Row]) -> Row:
    """What several seeds of one recipe reached."""
    summed: dict[str, Any] = {"flags": flags, "seeds": len(rows)}
    for part in ("val", "test"):
        summed[part] = [a for row in rows if (a := accuracy(row, part, flags.get("tta", 0))) is not None]
    summed["seconds"] = statistics.mean(row["seconds"] for row in rows)
    summed["params"] = next((row["params"] for row in rows if "params" in row), 0)
    summed["histories"] = [row["history"] for row in rows if "history" in row]
    return summed


def table(summed: Mapping[str, Mapping[str, Row]]) -> str:
    """All rows as a Markdown table, each with its difference on test to the recipe that it changes."""
    columns, lines = ["", "lr", "val", "test", "difference on test", "parameters", "seconds"], []
    for part, group in summed.items():
        if part:
            lines.append([f"**{TITLES[part]}**", *[""] * 6])
        for label, row in group.items():
            lost = f" ({row['seeds'] - len(row['val'])} of {row['seeds']} diverged)" * (len(row["val"]) < row["seeds"])
            rate = f"{row['flags']['lr']:g}" if "lr" in row["flags"] else ""
            scores = [plus_minus("accuracy", row[name]) if row[name] else "" for name in ("val", "test")]
            base = summed[""][REFINED_ROW if part == "refined" else PLAIN_ROW]
            compared = row["test"] and label != PLAIN_ROW
            gain = points(*difference(row["test"], base["test"])) if compared else ""
            lines.append([label + lost, rate, *scores, gain, f"{row['params']:,}", f"{row['seconds']:.0f}"])
    return markdown(columns, lines)


def points(gain: float, error: float) -> str:
    """A difference of accuracies in percentage points, with its standard error."""
    return f"{100 * gain:+.1f} ± {100 * error:.1f}" if error else f"{100 * gain:+.1f}"


def draw(summed: Mapping[str, Mapping[str, Row]], path: Path) -> None:
    """The differences of the table as bars."""
    bars: dict[str, list[tuple[str, float, float]]] = {}
    for part, group in summed.items():
        base = summed[""][REFINED_ROW if part == "refined" else PLAIN_ROW]
        for label, row in group.items():
            if row["test"] and label not in (PLAIN_ROW, LOGISTIC):
                gain, error = difference(row["test"], base["test"])
                title = TITLES.get(part, "the refined recipe, for the plain one")
                bars.setdefault(title, []).append((label, 100 * gain, 100 * error))
    drawing.ablation(path, bars, "What each ingredient alone brings to a plain training")


def circumstances(cfg: Config, jobs: int) -> str:
    """The line above the table: the command, the data, the trainings, the hardware and the versions."""
    how = f"{cfg.data}, {cfg.epochs or PLAIN['epochs']} epochs, {cfg.seeds} seeds, {jobs} at a time, "
    how += f"threads: {cfg.threads} each, {processor()}, {cores()} cores"
    libraries = ", ".join(f"{name} {number}" for name, number in versions().items())
    told = "Mean ± standard deviation of the last epoch; difference on test in percentage points ± its standard error"
    return f"*`{terminal.typed('--publish')}`: {how}; {libraries}. {told}*"


def main(cfg: Config) -> dict[str, Any]:
    """Trains every variant from several seeds; prints a table and draws what each ingredient brought.

    Returns the rows of the table, part by part.
    """
    parts = tuple(PARTS) if not cfg.parts or "all" in cfg.parts else tuple(dict.fromkeys(cfg.parts))
    device, photos, out = choose(cfg.device), load(cfg.data), Path(cfg.out)
    jobs = cfg.jobs or (max(1, min(8, cores() // cfg.threads)) if device.name == "cpu" else 1)
    cfg = replace(cfg, device=device.name)
    print(f"{photos.name}: {len(photos.train):,} images to train on, {len(photos.val):,} to validate")
    print(f"device: {device}; {jobs} training{'s' * (jobs > 1)} at a time, threads: {cfg.threads} each")

    if "refined" in parts:
        own = train.Config(device=cfg.device, precision=REFINED["precision"])
        print(f"of the refined recipe: {train.choose_device(own)}")

    def do(todo: dict[Any, Flags]) -> dict[Any, Row]:
        # Test-time augmentation is no matter of the training: it is measured after every one, and read where asked for.
        todo = {name: flags | {"tta": 0} for name, flags in todo.items()}
        return run_all(todo, train_once, out / "rows", jobs, cfg.threads)

    rows = search(recipes(cfg, parts), cfg.seed, do)
    rows[""] = {LOGISTIC: {"baseline": LOGISTIC, "data": cfg.data, "device": cfg.device, "epochs": 10}, **rows[""]}
    done = do(over_seeds({label: flags for group in rows.values() for label, flags in group.items()}, seeds(cfg)))
    summed = {
        part: {label: summary(flags, [done[label, seed] for seed in seeds(cfg)]) for label, flags in group.items()}
        for part, group in rows.items()
    }
    text = table(summed)
    print(f"\n{text}\n\nn = {cfg.seeds}; differences in percentage points, ± their standard error")
    with written_whole(out / "ablate.md") as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    write_json(out / "ablate.json", summed)
    draw(summed, out / "ablation.png")
    print(f"table, rows and picture: {out}")
    if cfg.publish:
        name = "ablate" if len(parts) == len(PARTS) else f"ablate {' '.join(parts)}"
        publish(train.WEEK_NUMBER, name, f"{circumstances(cfg, jobs)}\n\n{text}")
    return summed


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
