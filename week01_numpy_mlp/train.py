"""Trains the network: `./course train 1`, or `python -m week01_numpy_mlp.train --help`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week01_numpy_mlp/train.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Le

from shared import cli, runs
from shared.config import Count, Natural, NonNegative, Positive, Share, TrainConfig
from shared.device import Device
from shared.loop import Loop
from week01_numpy_mlp import data, drawing
from week01_numpy_mlp.fast import FastMLP
from week01_numpy_mlp.model import MLP
from week01_numpy_mlp.optim import SGD, Adam, learning_rate

WEEK_NUMBER = 1


@dataclass
class Config(TrainConfig):
    """The flags of week 1. --data also takes mnist, fashion_mnist, a folder of class folders, or an .npz."""

    device: Literal["auto", "cpu"] = "auto"
    """auto or cpu: this week is NumPy alone."""
    preset: str = "quick"
    """A set of defaults: `smoke` and `quick` (seconds, bundled digits), `full` and `best` (MNIST, a minute or so).
    A flag given by hand wins over the preset."""
    hidden: tuple[Count, ...] = (256, 128)
    """Neurons per hidden layer, as in `--hidden 256 128`. More can fit more, and takes longer."""
    activation: Literal["relu", "sigmoid", "tanh"] = "relu"
    """What comes after each hidden layer. With sigmoid, watch how slowly the loss starts to fall."""
    loss: Literal["cross_entropy", "mse"] = "cross_entropy"
    """cross_entropy, or mse (with a sigmoid on the outputs, as in Nielsen's first chapter)."""
    init: Literal["he", "xavier", "unit", "small"] = "he"
    """he (for relu), xavier (for sigmoid and tanh), unit (Nielsen's first), small (too small on purpose)."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    """sgd (with --momentum) or adam (wants a --lr of about 0.001)."""
    lr: Positive = 0.05
    """The size of a step. Too small: slow. Too large: the loss jumps or becomes NaN."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """cosine (warm up, then fall to zero) or constant."""
    momentum: Share = 0.9
    """How much of the last step is kept (sgd). 0 is plain gradient descent."""
    weight_decay: NonNegative = 5e-4
    """Pulls every weight towards zero. More: smoother, until it can no longer fit."""
    dropout: Share = 0.0
    """The share of hidden neurons silenced at random in each step. Wants a larger network and more epochs."""
    shift: Annotated[int, Ge(0), Le(8)] = 2
    """Moves each training image by up to so many pixels each way. The best regulariser here; 0 shows what it brings."""
    batch_size: Count = 64
    """Examples per step. Smaller: noisier, more steps an epoch; larger: faster an epoch, wants a larger lr."""
    epochs: Count = 40
    """How often each example is seen."""
    max_steps: Natural = 0
    """Stop after so many steps (0: at the end of the epochs). The schedule is fitted to it."""
    fast: bool = False
    """Compute with fast.py (the same numbers, no memory allocated in a step) or with model.py."""


MNIST = {"data": "mnist", "batch_size": 128, "lr": 0.1, "fast": True}
PRESETS = {
    "smoke": {"hidden": (128,), "shift": 0, "epochs": 3},
    "quick": {},
    "full": MNIST | {"hidden": (512, 256), "shift": 0, "weight_decay": 1e-4, "epochs": 20},
    "best": MNIST | {"hidden": (800, 400)},
}
# What --resume may change: how long and in what steps it goes on, and how it computes.
FREE = ("epochs", "max_steps", "lr", "schedule", "weight_decay", "shift", "fast", "device")

# What a learning rate seldom needs to be above.
LARGE_LR = {"sgd": 0.1, "adam": 0.001}


def build(cfg: Config, features: int, classes: int) -> MLP:
    """The network of a config, with weights drawn from its seed."""
    network = FastMLP if cfg.fast else MLP
    rng = np.random.default_rng(cfg.seed)
    return network((features, *cfg.hidden, classes), cfg.activation, cfg.loss, cfg.dropout, cfg.init, rng)


def make_optimizer(cfg: Config, model: MLP) -> SGD | Adam:
    """SGD with momentum, or Adam."""
    if cfg.optimizer == "adam":
        return Adam(model.params, cfg.weight_decay)
    return SGD(model.params, cfg.momentum, cfg.weight_decay)


def fit(
    cfg: Config, digits: data.Data, model: MLP, run: runs.Run | None = None, label: str = "training"
) -> Iterator[runs.Row]:
    """The training loop. Yields {epoch, step, train_loss, val_loss, val_accuracy, seconds} after every epoch.

    Args:
        cfg: how to train.
        digits: trained on digits.train, and looked at on digits.val after every epoch.
        model: changed in place.
        run: where the state is kept, and which is gone on with; None keeps nothing.
        label: of the progress bar.

    Raises:
        Diverged: the loss is no longer a number.
        Stopped: Ctrl-C was pressed; the state is saved.
    """
    images, labels = digits.train.images, digits.train.labels
    size = min(cfg.batch_size, len(labels))
    per_epoch = len(labels) // size
    steps = cfg.max_steps or cfg.epochs * per_epoch
    optimizer = make_optimizer(cfg, model)

    # A Loop only keeps count: it restores and saves these two, passes over what is done, and hears Ctrl-C.
    parts = {"model": model, "optimizer": optimizer}
    with Loop(cfg, run, steps, per_epoch, too_large(cfg), label, **parts) as loop:
        for epoch in loop.epochs():
            order = np.random.default_rng([cfg.seed, epoch]).permutation(len(labels))
            for rows in loop.batches(data.batches(order, size)):
                lr = learning_rate(loop.step, steps, cfg.lr, cfg.schedule)
                batch, truth = images[rows], labels[rows]  # (size, features) uint8, (size,)
                if cfg.shift:
                    batch = data.shifted(batch, digits.shape, cfg.shift, model.rng)
                outputs = model.forward(data.to_floats(batch), train=True)  # (size, classes)
                loss = model.loss.forward(outputs, truth)
                model.backward()
                optimizer.step(model.grads, lr)
                loop.add(loss)
            yield loop.row(**evaluate(model, digits.val))


def too_large(cfg: Config) -> str:
    """What to try where the steps were too large."""
    return f"Try --lr {min(cfg.lr / 10, LARGE_LR[cfg.optimizer]):g}, or another --init."


def evaluate(model: MLP, part: data.Part, size: int = 1000) -> dict[str, float]:
    """Mean loss and accuracy of the model on a part, in evaluation mode (no dropout)."""
    loss = right = 0
    for start in range(0, len(part), size):
        labels = part.labels[start : start + size]
        outputs = model.forward(data.to_floats(part.images[start : start + size]))
        right += int((outputs.argmax(axis=1) == labels).sum())  # first: fast.py's loss writes over the outputs
        loss += model.loss.forward(outputs, labels) * len(labels)
    return {"loss": float(loss / len(part)), "accuracy": right / len(part)}


def train_baselines(cfg: Config, digits: data.Data) -> dict[str, Any]:
    """Multinomial logistic regression, the same program without a hidden layer: what it reaches, and is."""
    name = "logistic regression"
    plain = Config(seed=cfg.seed, hidden=(), lr=0.1, weight_decay=1e-4, shift=0, epochs=min(cfg.epochs, 10))
    model = build(plain, digits.train.images.shape[1], len(digits.classes))
    *_, last = fit(plain, digits, model, label=f"baseline: {name}")
    row = runs.baseline(name, len(model.params), last)
    return {"rows": [row, runs.constant_answer(digits.val.labels)], "models": {name: model.state_dict()}}


def main(cfg: Config) -> dict[str, Any]:
    """Trains a multilayer perceptron on digits and shows the result beside its baselines.

    Returns what result.json holds; the run folder is under the key "run".
    """
    digits = data.load(cfg.data)
    run = runs.begin(WEEK_NUMBER, cfg, FREE)
    run.hold_to(digits)
    model = build(cfg, digits.train.images.shape[1], len(digits.classes))
    runs.describe(digits)
    print(f"network: {' - '.join(map(str, model.sizes))}, {len(model.params):,} parameters; NumPy, float32 on the CPU")
    if not cfg.hidden and cfg.loss == "cross_entropy":
        print("no hidden layer: this is logistic regression")
    baselines = run.once("baselines", lambda: train_baselines(cfg, digits))
    info = {"classes": digits.classes, "shape": digits.shape}
    with np.errstate(all="ignore"):  # of numbers that overflow Diverged tells, in one line; NumPy need not warn as well
        best, last = run.follow(fit(cfg, digits, model, run), lambda: info | {"model": model.state_dict()})
    kept = runs.load(WEEK_NUMBER, Config, run.folder)
    drawing.first_layer(run.folder / "first_layer.png", kept.fill(model, kept.saved["model"]), digits.shape)
    lr = "a smaller" if cfg.lr > LARGE_LR[cfg.optimizer] else "another"
    device = Device("cpu", "float32", "NumPy alone")
    advice = f"Try {lr} --lr, or another --init."
    return run.finish(best, last, device, len(model.params), baselines["rows"], advice)


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS, week=WEEK_NUMBER)
