"""What each choice is worth, measured: loss, initialisation, learning rate, optimiser, regularisation.

`./course run 1 compare` trains every variant from three seeds on the bundled digits and prints a table with mean and
spread of the validation accuracy; `./course run 1 compare loss` does one part. Every finished training is kept, so a
second call goes on where the first one stopped, and trains nothing twice.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week01_numpy_mlp/compare.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np
import tyro

from shared import cli, race, results, trials
from shared.config import Natural
from shared.errors import Diverged
from shared.files import write_json
from shared.parallel import cores
from shared.plots import BLUE, GREEN, ORANGE, band, figure
from shared.runs import RUNS, Row
from shared.terminal import command
from week01_numpy_mlp import data, train

PLAIN = train.Config(
    hidden=(100,), momentum=0.0, schedule="constant", weight_decay=0.0, shift=0, batch_size=32, epochs=20
)
USUAL = train.Config(weight_decay=0.0, shift=0, epochs=10)
LONGER = replace(USUAL, epochs=40)

# The variants of a part differ only in what their names say. Each of the three losses has the learning rate, of 0.03,
# 0.1, 0.3, 1, 3 and 10, that gave it the best validation accuracy after ten epochs, mean of two seeds: a loss is not
# worse for wanting another rate. (For ReLU started saturated, 0.1, 0.3 and 1 were equal within 0.2 points.)
PARTS: dict[str, dict[str, train.Config]] = {
    "loss": {
        "sigmoid + squared error": replace(PLAIN, activation="sigmoid", loss="mse", init="xavier", lr=3.0),
        "sigmoid + cross-entropy": replace(PLAIN, activation="sigmoid", init="xavier", lr=1.0),
        "ReLU + cross-entropy": replace(PLAIN, activation="relu", init="he", lr=0.3),
    },
    "saturated": {
        "sigmoid + squared error": replace(PLAIN, activation="sigmoid", loss="mse", init="unit", lr=10.0),
        "sigmoid + cross-entropy": replace(PLAIN, activation="sigmoid", init="unit", lr=3.0),
        "ReLU + cross-entropy": replace(PLAIN, activation="relu", init="unit", lr=0.1),
    },
    "init": {
        f"{activation}, {init}": replace(USUAL, activation=activation, init=init, hidden=(128,) * 5)
        for activation in ("relu", "sigmoid")
        for init in ("he", "xavier", "unit", "small")
    },
    "lr": {f"lr {lr:g}": replace(USUAL, lr=lr) for lr in (0.0005, 0.002, 0.01, 0.05, 0.2, 0.5, 1.0)},
    "optimizer": {
        "SGD": replace(USUAL, momentum=0.0, lr=0.2),
        "SGD + momentum 0.9": replace(USUAL, lr=0.05),
        "Adam": replace(USUAL, optimizer="adam", lr=0.001),
        "SGD, constant rate": replace(USUAL, momentum=0.0, lr=0.2, schedule="constant"),
        "SGD + momentum 0.9, constant rate": replace(USUAL, lr=0.05, schedule="constant"),
        "Adam, constant rate": replace(USUAL, optimizer="adam", lr=0.001, schedule="constant"),
    },
    "regularisation": {
        "none": LONGER,
        "weight decay 0.0005": replace(LONGER, weight_decay=5e-4),
        "weight decay 0.005": replace(LONGER, weight_decay=5e-3),
        "dropout 0.3": replace(LONGER, dropout=0.3),
        "shifts of 1 pixel": replace(LONGER, shift=1),
        "shifts of 2 pixels": replace(LONGER, shift=2),
        "shifts of 2, weight decay 0.0005": replace(LONGER, shift=2, weight_decay=5e-4),
        "shifts of 2, weight decay 0.0005, dropout 0.1": replace(LONGER, shift=2, weight_decay=5e-4, dropout=0.1),
    },
}
TITLES = {
    "loss": "Loss",
    "saturated": "Loss, started saturated",
    "init": "Initialisation",
    "lr": "Learning rate",
    "optimizer": "Optimiser",
    "regularisation": "Regularisation",
}
METRICS = ("val_accuracy", "first_epoch_accuracy")
Curves = Mapping[str, Sequence[Sequence[float]]]
"""The validation accuracy after every epoch, of every seed that came to an end, by variant."""


@dataclass
class Config(trials.StudyConfig):
    """The flags of compare."""

    parts: tyro.conf.Positional[
        tuple[Literal["loss", "saturated", "init", "lr", "optimizer", "regularisation", "all"], ...]
    ] = ()
    """Which parts (default: all)."""
    device: Literal["auto", "cpu"] = "auto"
    """auto or cpu: this week is NumPy alone."""
    epochs: Natural = 0
    """Epochs of every variant (0: as each part says)."""
    out: str = ""
    """The folder for trainings, tables and pictures. What it holds already is not trained again.
    Default: runs/week01/compare-DATA."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"parts": ("lr",), "seeds": 2, "epochs": 2, "jobs": 1},
    "quick": {},
    "full": {"seeds": 10},
}


def recipe(cfg: train.Config) -> trials.Flags:
    """What a result follows from: the flags of train.py without those that only say where and how to compute."""
    left_out = ("out", "resume", "preset", "device", "seed")
    return {name: value for name, value in asdict(cfg).items() if name not in left_out}


load = cache(data.load)  # once in each process


def train_once(flags: trials.Flags, threads: int) -> Row:
    """Trains one network: its validation accuracy after the last epoch, after the first, and after each.

    Args:
        flags: from `recipe`, with a seed.
        threads: of NumPy, where threadpoolctl is installed to set it.
    """
    cfg, digits = train.Config(**flags), load(flags["data"])
    model = train.build(cfg, digits.train.images.shape[1], len(digits.classes))
    with suppress(ImportError):
        import threadpoolctl  # noqa: F401 (on_threads sets what is imported)
    try:
        # A rate that is too large overflows; that is what its variant is to show.
        with race.on_threads(threads), np.errstate(all="ignore"):
            rows = list(train.fit(cfg, digits, model))
    except Diverged:
        return {"diverged": True}
    curve = [row["val_accuracy"] for row in rows]
    return {"val_accuracy": curve[-1], "first_epoch_accuracy": curve[0], "curve": curve, "seconds": rows[-1]["seconds"]}


def one_neuron(loss: str, steps: int = 300, w: float = 2.0, b: float = 2.0, lr: float = 0.15) -> list[float]:
    """Nielsen's example of the slow-down (chapter 3): a sigmoid neuron, input 1, is to output 0 but starts badly wrong.

    Returns its output at every step. With the squared error the slope is (a - 0)·σ'(z), and σ'(z) is nearly 0 just
    where the neuron is most wrong; with cross-entropy it is a - 0: the more wrong, the faster it learns.
    """
    outputs = []
    for _ in range(steps):
        a = 1 / (1 + np.exp(-(w + b)))
        outputs.append(float(a))
        slope = a * a * (1 - a) if loss == "mse" else a
        w, b = w - lr * slope, b - lr * slope
    return outputs


def picture(part: str, curves: Curves, path: Path) -> None:
    """The validation accuracy over the epochs, mean and range over the seeds, of every variant that survived."""
    with figure(path, size=(7.2, 3.8)) as (_, axis):
        for label, seeds in curves.items():
            if seeds:
                band(axis, range(1, len(seeds[0]) + 1), [[100 * v for v in curve] for curve in seeds], label)
        axis.set(title=f"{TITLES[part]}: validation accuracy (%)", xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        if any(curves.values()):
            axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)


def slow_down(curves: Curves, path: Path) -> None:
    """The learning slow-down: in one neuron, and in a network whose neurons start saturated."""
    with figure(path, columns=2, size=(9.0, 3.4)) as (_, (left, right)):
        left.plot(one_neuron("mse"), label="squared error", color=ORANGE)
        left.plot(one_neuron("cross_entropy"), label="cross-entropy", color=BLUE)
        left.set(title="One neuron unlearns a 1", xlabel="step", ylabel="output (should be 0)", ylim=(0, 1.02))
        left.legend()
        for (label, seeds), colour in zip(curves.items(), (ORANGE, BLUE, GREEN), strict=True):
            if seeds:
                percent = [[100 * v for v in curve] for curve in seeds]
                band(right, range(1, len(seeds[0]) + 1), percent, label, color=colour)
        right.set(title="A network that starts saturated", xlabel="epoch", ylabel="validation accuracy (%)")
        right.xaxis.get_major_locator().set_params(integer=True)
        if any(curves.values()):
            right.legend(fontsize=8)


def about(part: str, cfg: Config) -> str:
    """The line above a table: the command, the data, the seeds, and what it was computed on."""
    many = f"{cfg.seeds} seed{'s' * (cfg.seeds > 1)}"
    jobs = f"{trials.side_by_side(cfg.jobs)} at a time, {race.processor()}, {cores()} cores; NumPy {np.__version__}"
    return f"*`{command()} {part}`: {cfg.data}, {many}, mean ± standard deviation of the last epoch; {jobs}*"


def main(cfg: Config) -> dict[str, dict[str, Row]]:
    """Trains all variants of a part, or of all parts, from several seeds; prints tables and draws the curves.

    Returns {part: {variant: {seeds, diverged, val_accuracy: (mean, standard deviation), …}}}.
    """
    out = Path(cfg.out) if cfg.out else RUNS / "week01" / f"compare-{Path(cfg.data).stem}"
    load(cfg.data)  # what is wrong with it is said before anything is trained
    found = {}
    for part in PARTS if not cfg.parts or "all" in cfg.parts else dict.fromkeys(cfg.parts):
        changes = {"data": cfg.data} | ({"epochs": cfg.epochs} if cfg.epochs else {})
        variants = {label: recipe(replace(variant, **changes)) for label, variant in PARTS[part].items()}
        todo = trials.over_seeds(variants, trials.seeds(cfg))
        rows = trials.run_all(todo, train_once, out / "trainings", trials.side_by_side(cfg.jobs), cfg.threads)
        found[part] = trials.summaries(rows, METRICS)
        text = f"{about(part, cfg)}\n\n{trials.mean_table(found[part], METRICS)}"
        print(f"\n### {TITLES[part]}\n\n{text}\n")
        if cfg.publish:
            results.publish(train.WEEK_NUMBER, f"compare {part}", text)
        curves = {
            label: [rows[label, seed]["curve"] for seed in trials.seeds(cfg) if "curve" in rows[label, seed]]
            for label in variants
        }
        if part == "saturated":
            slow_down(curves, out / "slow_down.png")
        picture(part, curves, out / f"{part}.png")
    write_json(out / "compare.json", found)
    print(f"tables and pictures: {out}")
    return found


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
