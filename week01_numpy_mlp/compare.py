"""What each choice is worth, measured: loss, initialisation, learning rate, optimiser, regularisation.

`./course run 1 compare` trains every variant from three seeds on the bundled digits and prints a table with mean and
spread of the validation accuracy; `./course run 1 compare loss` does one part.
"""

import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from shared import cli
from shared.errors import CourseError
from shared.files import write_json
from shared.plots import BLUE, GREEN, ORANGE, band, figure
from shared.progress import bar
from shared.runs import RUNS
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


@dataclass
class Config(cli.CommonConfig):
    """The flags of compare."""

    parts: tyro.conf.Positional[tuple[str, ...]] = ()
    """Which parts: loss, saturated, init, lr, optimizer, regularisation. Default: all of them, four minutes."""
    seeds: int = 3
    """How often each variant is trained, each time from another seed."""
    epochs: int = 0
    """Epochs of every variant (0: as each part says)."""
    out: str = str(RUNS / "week01" / "compare")
    """The folder for the tables and pictures."""


PRESETS: dict[str, dict] = {"smoke": {"parts": ("lr",), "seeds": 2, "epochs": 1}, "quick": {}, "full": {"seeds": 10}}


def train_once(cfg: train.Config, digits: data.Data) -> list[float] | None:
    """The validation accuracy after every epoch, or None when the loss became NaN."""
    model = train.build(cfg, digits.train.images.shape[1], len(digits.classes))
    try:
        with np.errstate(all="ignore"):  # a rate that is too large overflows; that is what this variant is to show
            return [row["val_accuracy"] for row in train.fit(cfg, digits, model)]
    except train.Diverged:
        return None


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


def picture(part: str, curves: dict[str, list[list[float]]], path: Path) -> None:
    """The validation accuracy over the epochs, mean and range over the seeds, of every variant that survived."""
    with figure(path, size=(7.2, 3.8)) as (_, axis):
        for label, runs in curves.items():
            if len(runs) > 0:
                band(axis, range(1, len(runs[0]) + 1), [[100 * v for v in run] for run in runs], label)
        axis.set(title=f"{part.capitalize()}: validation accuracy (%)", xlabel="epoch")
        if any(curves.values()):
            axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)


def slow_down(curves: dict[str, list[list[float]]], path: Path) -> None:
    """The learning slow-down: in one neuron, and in a network whose neurons start saturated."""
    with figure(path, columns=2, size=(9.0, 3.4)) as (_, (left, right)):
        left.plot(one_neuron("mse"), label="squared error", color=ORANGE)
        left.plot(one_neuron("cross_entropy"), label="cross-entropy", color=BLUE)
        left.set(title="One neuron unlearns a 1", xlabel="step", ylabel="output (should be 0)", ylim=(0, 1.02))
        left.legend()
        for (label, runs), colour in zip(curves.items(), (ORANGE, BLUE, GREEN), strict=True):
            if runs:
                band(right, range(1, len(runs[0]) + 1), [[100 * v for v in r] for r in runs], label, color=colour)
        right.set(title="A network that starts saturated", xlabel="epoch", ylabel="validation accuracy (%)")
        right.xaxis.get_major_locator().set_params(integer=True)
        if any(curves.values()):
            right.legend(fontsize=8)


def main(cfg: Config) -> dict[str, Any]:
    """Trains all variants from several seeds; prints a table and draws the curves."""
    chosen = cfg.parts or tuple(PARTS)
    for part in chosen:
        if part not in PARTS:
            raise CourseError(f"unknown part '{part}': choose from {', '.join(PARTS)}.")
    if cfg.seeds < 1 or cfg.epochs < 0:
        raise CourseError("--seeds must be at least 1, and --epochs 0 (as each part says) or more.")
    train.check_device(cfg)
    digits = data.load(cfg.data)
    out, result = Path(cfg.out), {}
    with bar(sum(len(PARTS[part]) for part in chosen) * cfg.seeds, label="comparing") as progress:
        for part in chosen:
            curves: dict[str, list[list[float]]] = {}
            print(f"\n{part:48s}{'val accuracy, last epoch':>26s}{'after epoch 1':>16s}   n = {cfg.seeds}")
            result[part] = {}
            for label, variant in PARTS[part].items():
                if cfg.epochs:
                    variant = replace(variant, epochs=cfg.epochs)
                runs = []
                for seed in range(cfg.seed, cfg.seed + cfg.seeds):
                    runs.append(train_once(replace(variant, seed=seed), digits))
                    progress.update()
                curves[label] = [run for run in runs if run is not None]
                lost = len(runs) - len(curves[label])
                last, first = ([run[i] for run in curves[label]] for i in (-1, 0))
                row: dict[str, Any] = {"seeds": cfg.seeds, "diverged": lost}
                text = f"diverged in {lost} of {len(runs)}" if lost else ""
                if last:
                    mean, early = statistics.mean(last), statistics.mean(first)
                    spread = statistics.stdev(last) if len(last) > 1 else 0.0
                    row |= {"val_accuracy": mean, "std": spread, "after_epoch_1": early}
                    print(f"{label:48s}{mean:>17.2%} ± {spread:.2%}{early:>16.1%}   {text}")
                else:
                    print(f"{label:48s}{text:>26s}")
                result[part][label] = row
            if part == "saturated":
                slow_down(curves, out / "slow_down.png")
            picture(part, curves, out / f"{part}.png")
    write_json(out / "compare.json", result)
    print(f"\ntables and pictures: {out}")
    return result


if __name__ == "__main__":
    cli.run(main, Config, PRESETS)
