"""Trains the network: `./course train 1`, or `python -m week01_numpy_mlp.train --help`."""

import shlex
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from shared import checkpoint, cli, runs
from shared.errors import CourseError, Stopped
from shared.files import write_json
from shared.interrupt import StopRequest
from shared.progress import bar, metrics_log
from week01_numpy_mlp import data, pictures
from week01_numpy_mlp.fast import FastMLP
from week01_numpy_mlp.model import ACTIVATIONS, INITS, LOSSES, MLP
from week01_numpy_mlp.optim import SGD, Adam, learning_rate

WEEK_NUMBER = 1


@dataclass
class Config(cli.CommonConfig):
    """The flags of week 1. --data also takes mnist, fashion_mnist, a folder of class folders, or an .npz."""

    device: str = "auto"
    """auto or cpu: this week is NumPy alone."""
    preset: str = "quick"
    """A set of defaults: `smoke` and `quick` (seconds, bundled digits), `full` and `best` (MNIST, a minute or so).
    A flag given by hand wins over the preset."""
    hidden: tuple[int, ...] = (256, 128)
    """Neurons per hidden layer, as in `--hidden 256 128`. More can fit more, and takes longer."""
    activation: str = "relu"
    """relu, sigmoid or tanh after each hidden layer. With sigmoid, watch how slowly the loss starts to fall."""
    loss: str = "cross_entropy"
    """cross_entropy or mse (with a sigmoid on the outputs, as in Nielsen's first chapter)."""
    init: str = "he"
    """he (for relu), xavier (for sigmoid and tanh), unit (Nielsen's first), small (too small on purpose)."""
    optimizer: str = "sgd"
    """sgd (with --momentum) or adam."""
    lr: float = 0.05
    """The size of a step. Too small: slow. Too large: the loss jumps or becomes NaN. About 0.001 with adam."""
    schedule: str = "cosine"
    """cosine (warm up, then fall to zero) or constant."""
    momentum: float = 0.9
    """How much of the last step is kept (sgd). 0 is plain gradient descent."""
    weight_decay: float = 5e-4
    """Pulls every weight towards zero. More: smoother, until it can no longer fit."""
    dropout: float = 0.0
    """The share of hidden neurons silenced at random in each step. Wants a larger network and more epochs."""
    shift: int = 2
    """Moves each training image by up to so many pixels each way. The best regulariser here; 0 shows what it brings."""
    batch_size: int = 64
    """Examples per step. Smaller: noisier, more steps an epoch; larger: faster an epoch, wants a larger lr."""
    epochs: int = 40
    """How often each example is seen."""
    max_steps: int = 0
    """Stop after so many steps (0: at the end of the epochs). The schedule is fitted to it."""
    fast: bool = False
    """Use fast.py: the same numbers, no memory allocated in a step."""


MNIST = {"data": "mnist", "batch_size": 128, "lr": 0.1, "fast": True}
PRESETS = {
    "smoke": {"hidden": (128,), "shift": 0, "epochs": 3},
    "quick": {},
    "full": MNIST | {"hidden": (512, 256), "shift": 0, "weight_decay": 1e-4, "epochs": 20},
    "best": MNIST | {"hidden": (800, 400)},
}

# What --resume cannot change: the network, its data, and the order in which it sees them.
KEPT = ("data", "seed", "activation", "loss", "optimizer", "momentum", "dropout", "batch_size")

# What a learning rate seldom needs to be above.
LARGE_LR = {"sgd": 0.1, "adam": 0.001}


class Diverged(CourseError):
    """The loss is no longer a number: the steps were too large."""

    def __init__(self, loss: float, step: int, epoch: int, cfg: Config) -> None:
        super().__init__(
            f"the loss became {loss} at step {step} (epoch {epoch}): the steps are too large. "
            f"Try --lr {min(cfg.lr / 10, LARGE_LR[cfg.optimizer]):g}, or another --init."
        )


def check(cfg: Config) -> None:
    """Raises CourseError for values that cannot work, before any data is read."""
    for flag, known in (("activation", ACTIVATIONS), ("loss", LOSSES), ("init", INITS)):
        if getattr(cfg, flag) not in known:
            raise CourseError(f"--{flag} {getattr(cfg, flag)}: choose one of {', '.join(known)}.")
    for flag, known in (("optimizer", ("sgd", "adam")), ("schedule", ("cosine", "constant"))):
        if getattr(cfg, flag) not in known:
            raise CourseError(f"--{flag} {getattr(cfg, flag)}: choose one of {', '.join(known)}.")
    check_device(cfg)
    limits = (
        ("lr", 0 < cfg.lr < np.inf, "a number above 0"),
        ("batch-size", cfg.batch_size >= 1, "at least 1"),
        ("epochs", cfg.epochs >= 1, "at least 1"),
        ("max-steps", cfg.max_steps >= 0, "0 (no limit) or more"),
        ("hidden", all(width >= 1 for width in cfg.hidden), "numbers of at least 1"),
        ("dropout", 0 <= cfg.dropout < 1, "from 0 to below 1"),
        ("momentum", 0 <= cfg.momentum < 1, "from 0 to below 1"),
        ("weight-decay", cfg.weight_decay >= 0, "0 or more"),
        ("shift", 0 <= cfg.shift <= 8, "from 0 to 8"),
        ("seed", cfg.seed >= 0, "0 or more"),
    )
    for flag, right, must in limits:
        if not right:
            raise CourseError(f"--{flag} {getattr(cfg, flag.replace('-', '_'))}: must be {must}.")


def check_device(cfg: cli.CommonConfig) -> None:
    """Raises CourseError for a device that NumPy cannot use."""
    if cfg.device not in ("auto", "cpu"):
        raise CourseError(f"--device {cfg.device}: week 1 is NumPy alone and runs on the CPU. Leave it at auto.")


def build(cfg: Config, features: int, classes: int) -> MLP:
    """The network of a config, with weights drawn from its seed."""
    network = FastMLP if cfg.fast else MLP
    rng = np.random.default_rng(cfg.seed)
    return network((features, *cfg.hidden, classes), cfg.activation, cfg.loss, cfg.dropout, cfg.init, rng)


def evaluate(model: MLP, part: data.Part, size: int = 1000) -> dict[str, float]:
    """Mean loss and accuracy of the model on a part, in evaluation mode (no dropout)."""
    loss = right = 0
    for start in range(0, len(part), size):
        labels = part.labels[start : start + size]
        outputs = model.forward(data.to_floats(part.images[start : start + size]))
        right += int((outputs.argmax(axis=1) == labels).sum())  # first: fast.py's loss writes over the outputs
        loss += model.loss.forward(outputs, labels) * len(labels)
    return {"loss": float(loss / len(part)), "accuracy": right / len(part)}


def fit(
    cfg: Config, digits: data.Data, model: MLP, run: Path | None = None, state: dict | None = None
) -> Iterator[dict]:
    """The training loop. Yields {epoch, step, train_loss, val_loss, val_accuracy} after every epoch.

    Args:
        cfg: how to train.
        digits: trained on digits.train, and looked at on digits.val after every epoch.
        model: changed in place.
        run: where checkpoint.safetensors goes after every epoch and at Ctrl-C; None keeps nothing.
        state: what checkpoint.safetensors of an interrupted run held.

    Raises:
        Diverged: the loss is no longer a number.
        Stopped: Ctrl-C was pressed; the state is saved.
    """
    adam = cfg.optimizer == "adam"
    optimizer = Adam(model.params, cfg.weight_decay) if adam else SGD(model.params, cfg.momentum, cfg.weight_decay)
    size = min(cfg.batch_size, len(digits.train))
    per_epoch = len(digits.train) // size
    steps = cfg.max_steps or cfg.epochs * per_epoch
    step, losses, seconds = 0, 0.0, 0.0
    if state:
        model.params[:] = state["params"]
        model.rng.bit_generator.state = state["rng"]
        optimizer.restore(state["optimizer"])
        step, losses, seconds = state["step"], state["losses"], state["seconds"]

    def save() -> None:
        if run:
            now = {"params": model.params, "rng": model.rng.bit_generator.state, "optimizer": optimizer.state()}
            now |= {"step": step, "losses": losses, "seconds": seconds, "sizes": model.sizes}
            checkpoint.save(run / "checkpoint.safetensors", now)

    with StopRequest() as stop, bar(steps, step, "training") as progress:
        while step < steps:
            epoch, done = divmod(step, per_epoch)
            order = np.random.default_rng([cfg.seed, epoch]).permutation(len(digits.train))
            began = time.perf_counter()
            for images, labels in data.batches(digits.train, order, size, first=done):
                if cfg.shift:
                    images = data.shifted(images, digits.shape, cfg.shift, model.rng)
                loss = model.loss_and_gradient(data.to_floats(images), labels)
                if not np.isfinite(loss):
                    raise Diverged(loss, step + 1, epoch + 1, cfg)
                optimizer.step(model.grads, learning_rate(step, steps, cfg.lr, cfg.schedule))
                losses += loss
                step += 1
                progress.update()
                if stop or step == steps:
                    break
            seconds += time.perf_counter() - began
            if stop and step < steps and step % per_epoch:
                if not run:
                    raise KeyboardInterrupt
                save()
                where = f"{cli.mine()} --out {shlex.quote(str(run))}" if cfg.out else cli.mine()
                raise Stopped(f"stopped at step {step} of {steps}; saved. `./course train 1{where} --resume` goes on.")
            val = evaluate(model, digits.val)
            if not np.isfinite(val["loss"]):  # it was the epoch's last step that went too far
                raise Diverged(val["loss"], step, epoch + 1, cfg)
            mean = losses / (step - epoch * per_epoch)
            progress.set_postfix(loss=f"{mean:.4f}", val=f"{val['accuracy']:.2%}")
            if step % per_epoch == 0:  # --max-steps may end inside an epoch, and --resume go on from there
                losses = 0.0
            yield {
                "epoch": epoch + 1, "step": step, "train_loss": mean,
                "val_loss": val["loss"], "val_accuracy": val["accuracy"], "seconds": seconds,
            }  # fmt: skip
            save()


def baseline(cfg: Config, digits: data.Data) -> tuple[MLP, dict]:
    """Multinomial logistic regression: the same program without a hidden layer. Returns it and what it reached."""
    plain = Config(seed=cfg.seed, hidden=(), lr=0.1, weight_decay=1e-4, shift=0, epochs=min(cfg.epochs, 10))
    model = build(plain, digits.train.images.shape[1], len(digits.classes))
    *_, last = fit(plain, digits, model)
    return model, {
        "name": "logistic regression",
        "params": len(model.params),
        "seconds": round(last["seconds"], 2),
        "val_accuracy": last["val_accuracy"],
    }


def warning(cfg: Config, digits: data.Data, accuracy: float) -> str:
    """One line where an accuracy on val is that of always guessing its commonest class (or below 1 point more)."""
    counts = np.bincount(digits.val.labels)
    guessing = counts.max() / counts.sum()
    if accuracy == 1 or accuracy > guessing + 0.01:
        return ""
    advice = "a smaller" if cfg.lr > LARGE_LR[cfg.optimizer] else "another"
    return (
        f"it has learned nothing: val accuracy is that of always guessing {digits.classes[counts.argmax()]} "
        f"({guessing:.2%}). Try {advice} --lr, or another --init."
    )


def main(cfg: Config) -> dict:
    """Trains a multilayer perceptron on digits and shows the result beside logistic regression.

    Returns what result.json holds; the run folder is under the key "run".
    """
    check(cfg)
    digits = data.load(cfg.data)
    features, classes = digits.train.images.shape[1], len(digits.classes)
    model = build(cfg, features, classes)
    state = None
    if cfg.resume:
        run = Path(cfg.out) if cfg.out else runs.newest(WEEK_NUMBER, "checkpoint.safetensors")
        before = cli.from_run(Config, run)
        state = checkpoint.load(run / "checkpoint.safetensors")
        if tuple(state["sizes"]) != model.sizes:
            raise CourseError(f"{run} holds a network of {state['sizes']}, this one is {model.sizes}: start a new run.")
        for name in KEPT:
            if getattr(cfg, name) != getattr(before, name):
                flag = f"--{name.replace('_', '-')}"
                raise CourseError(
                    f"{run} was started with {flag} {getattr(before, name)}: leave {flag} out, or start a new run."
                )
        if cfg.epochs != before.epochs or cfg.max_steps != before.max_steps:  # for when it is interrupted again
            write_json(run / "config.json", asdict(replace(before, epochs=cfg.epochs, max_steps=cfg.max_steps)))
    else:
        run = runs.create(WEEK_NUMBER, cfg)
    print(f"{digits.name}: {len(digits.train):,} images to train on, {len(digits.val):,} to validate")
    print(f"network: {' - '.join(map(str, model.sizes))}, {len(model.params):,} parameters; NumPy, float32 on the CPU")
    if not cfg.hidden and cfg.loss == "cross_entropy":
        print("no hidden layer: this is logistic regression")

    plain, reference = baseline(cfg, digits)
    best, last = -1.0, {}
    resumed_at = state["step"] if state else None
    # Numbers that overflow are told of by Diverged, in one line; NumPy need not warn of them as well.
    with metrics_log(run / "metrics.jsonl", resumed_at) as log, np.errstate(all="ignore"):
        if state:
            print(f"going on in {run} after step {state['step']}")
            best = max((row["val_accuracy"] for row in pictures.history(run)), default=-1.0)
        for last in fit(cfg, digits, model, run, state):
            log(**last)
            if last["epoch"] == 1 or last["epoch"] % max(1, cfg.epochs // 10) == 0:
                numbers = f"train loss {last['train_loss']:.4f}   val loss {last['val_loss']:.4f}"
                tqdm.write(f"epoch {last['epoch']:3d}   {numbers}   val accuracy {last['val_accuracy']:.2%}")
            if last["val_accuracy"] > best:
                best = last["val_accuracy"]
                save_model(run / "model.safetensors", model, plain, cfg, digits)
    if not last:
        raise CourseError(f"{run} has already finished: give --epochs a larger number, or start a new run.")

    result = runs.result(
        WEEK_NUMBER, cfg, device="cpu", dtype="float32", params=len(model.params), seconds=last["seconds"],
        metrics={"val_accuracy": best, "last_val_accuracy": last["val_accuracy"], "last_val_loss": last["val_loss"]},
        baseline=reference,
    )  # fmt: skip
    write_json(run / "result.json", result)
    pictures.curves(run, run / "curves.png")
    pictures.first_layer(load_model(run).model, digits.shape, run / "first_layer.png")
    print_result(result, "val_accuracy")
    kept = max(pictures.history(run), key=lambda row: row["val_accuracy"])  # the first of equals, as above
    print(f"(the weights of the best epoch on val, {kept['epoch']}, are kept)")
    if line := warning(cfg, digits, best):
        print(f"\n{line}")
    where = f" --run {shlex.quote(str(run))}" if cfg.out else ""
    print(f"\nrun folder: {run}\non the test set, with the mistakes it makes: ./course eval 1{cli.mine()}{where}")
    return result | {"run": str(run)}


def save_model(path: Path, model: MLP, plain: MLP, cfg: Config, digits: data.Data) -> None:
    """The weights, the baseline's, and what is needed to build the network again."""
    info = {"config": asdict(cfg), "sizes": model.sizes, "classes": digits.classes, "shape": digits.shape}
    checkpoint.save(path, info | {"params": model.params, "baseline": plain.params})


@dataclass(frozen=True)
class Trained:
    """What model.safetensors holds: the network that was best on val, its baseline, and what they were trained on."""

    model: MLP
    baseline: MLP
    config: Config
    shape: tuple[int, ...]
    classes: tuple[str, ...]


def load_model(run: Path) -> Trained:
    """The best network of a run.

    Raises:
        CourseError: the run has no model, or one of another week.
    """
    path = run / "model.safetensors"
    saved = checkpoint.load(path)
    if saved.keys() != {"config", "sizes", "classes", "shape", "params", "baseline"}:
        raise CourseError(f"{path} is not a network of week 1. Give --run a folder of runs/week01.")
    cfg = Config(**saved["config"])
    ends = saved["sizes"][0], saved["sizes"][-1]
    model, plain = build(cfg, *ends), build(replace(cfg, hidden=(), loss="cross_entropy"), *ends)
    for network, params in ((model, saved["params"]), (plain, saved["baseline"])):
        if network.params.shape != params.shape:
            raise CourseError(
                f"{path} holds {params.size:,} numbers where its description needs {network.params.size:,}."
            )
        network.params[:] = params
    return Trained(model, plain, cfg, saved["shape"], saved["classes"])


def print_result(result: dict, metric: str) -> None:
    """The result beside its baseline, as a small table."""
    ours, theirs = result["metrics"], result["baseline"]
    print(f"\n{'':24s}{metric.replace('_', ' '):>14s}{'parameters':>13s}{'seconds':>10s}")
    for name, accuracy, row in (("this network", ours[metric], result), (theirs["name"], theirs[metric], theirs)):
        print(f"{name:24s}{accuracy:>14.2%}{row['params']:>13,}{row['seconds']:>10.1f}")


if __name__ == "__main__":
    cli.run(main, Config, PRESETS, week=WEEK_NUMBER)
