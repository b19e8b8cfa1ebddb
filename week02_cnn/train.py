"""Trains the network: `./course train 2`, or `python -m week02_cnn.train --help`."""

import math
import shlex
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from shared import checkpoint, cli, runs
from shared.device import Device, choose
from shared.errors import CourseError, Stopped
from shared.files import write_json
from shared.interrupt import StopRequest
from shared.progress import bar, metrics_log
from shared.rng import rng_state, set_rng_state
from shared.seed import seed_everything
from week02_cnn import baselines, data, pictures
from week02_cnn.model import ConvNet, ConvNetConfig, count_parameters, flops, layer_table, receptive_field

WEEK_NUMBER = 2


@dataclass
class Config(cli.CommonConfig):
    """The flags of week 2. --data also takes cifar10, a folder of class folders, or an .npz."""

    depth: int = 6
    """How many 3 x 3 convolutions, spread over three stages; at least 3. Deeper: sees more of the image, takes longer,
    and without --norm may not learn at all."""
    width: int = 32
    """Channels of the first stage; the second has twice, the third four times as many. Twice the width costs four times
    the time. Lower it (or --batch-size) when memory runs out."""
    norm: bool = True
    """Batch norm after every convolution. --no-norm shows what it is good for; lower --lr then."""
    dropout: float = 0.0
    """The share of features silenced at random before the last layer. Helps where training goes on for long."""
    pool: str = "max"
    """How the image is halved between stages: max, avg, or stride (the next convolution takes every second pixel)."""
    side: int = 32
    """Images are brought to so many pixels in height and width. Twice the side costs four times the time."""
    flip: bool = True
    """Shows half of the training images in the mirror, others in every epoch. --no-flip where left and right matter."""
    optimizer: str = "sgd"
    """sgd (with --momentum, Nesterov's) or adamw (wants a --lr of about 0.002)."""
    lr: float = 0.1
    """The size of the largest step. Too small: slow. Too large: the loss jumps or becomes NaN."""
    momentum: float = 0.9
    """How much of the last step is kept (sgd)."""
    weight_decay: float = 1e-3
    """Pulls every weight towards zero. More: smoother, until it can no longer fit."""
    schedule: str = "onecycle"
    """onecycle (up to --lr in the first quarter, then down to zero), cosine (down from the start) or constant."""
    batch_size: int = 64
    """Examples per step. Smaller: noisier, more steps an epoch; larger: faster an epoch, wants a larger lr."""
    epochs: int = 20
    """How often each example is seen."""
    max_steps: int = 0
    """Stop after so many steps (0: at the end of the epochs). The schedule is fitted to it."""
    channels_last: bool = True
    """Keeps the channels of a pixel side by side in memory: the same numbers, sooner. bench.py measures it."""
    threads: int = 0
    """CPU threads (0: as many as torch takes). With another number results differ in the last digits."""


PRESETS = {
    "smoke": {"depth": 4, "width": 12, "epochs": 3},
    "quick": {},
    "full": {"data": "cifar10", "epochs": 8, "batch_size": 128, "lr": 0.2},
}

# What --resume cannot change: the network, its data, and how it is trained, up to the size of the steps.
KEPT = (
    "data", "seed", "depth", "width", "norm", "dropout", "pool", "side", "flip",
    "optimizer", "momentum", "weight_decay", "batch_size",
)  # fmt: skip

# What a learning rate seldom needs to be above; without batch norm it is a tenth of that.
LARGE_LR = {"sgd": 0.1, "adamw": 0.002}


class Diverged(CourseError):
    """The loss is no longer a number: the steps were too large."""

    def __init__(self, loss: float, step: int, epoch: int, cfg: Config) -> None:
        norm, bound = ("", 1) if cfg.norm else (", or leave out --no-norm", 0.1)
        super().__init__(
            f"the loss became {loss} at step {step} (epoch {epoch}): the steps are too large. "
            f"Try --lr {min(cfg.lr / 10, bound * LARGE_LR[cfg.optimizer]):g}{norm}."
        )


def check(cfg: Config) -> None:
    """Raises CourseError for values that cannot work, before any data is read."""
    for flag, known in (("optimizer", tuple(LARGE_LR)), ("schedule", ("onecycle", "cosine", "constant"))):
        if getattr(cfg, flag) not in known:
            raise CourseError(f"--{flag} {getattr(cfg, flag)}: choose one of {', '.join(known)}.")
    limits = (
        ("lr", 0 < cfg.lr < math.inf, "a number above 0"),
        ("batch-size", cfg.batch_size >= 1, "at least 1"),
        ("epochs", cfg.epochs >= 1, "at least 1"),
        ("max-steps", cfg.max_steps >= 0, "0 (no limit) or more"),
        ("momentum", 0 <= cfg.momentum < 1, "from 0 to below 1"),
        ("weight-decay", 0 <= cfg.weight_decay < math.inf, "0 or more"),
        ("threads", cfg.threads >= 0, "0 (as many as torch takes) or more"),
        ("seed", 0 <= cfg.seed < 2**32, "from 0 to 4294967295"),
    )
    for flag, right, must in limits:
        if not right:
            raise CourseError(f"--{flag} {getattr(cfg, flag.replace('-', '_'))}: must be {must}.")
    shape(cfg, classes=2, side=cfg.side)


def shape(cfg: Config, classes: int, side: int) -> ConvNetConfig:
    """What the network of a config looks like; CourseError for one that cannot be."""
    return ConvNetConfig(cfg.depth, cfg.width, cfg.norm, cfg.dropout, cfg.pool, classes, side)


def build(cfg: Config, classes: int, side: int) -> ConvNet:
    """The network of a config, with weights drawn from its seed."""
    seed_everything(cfg.seed)
    return ConvNet(shape(cfg, classes, side))


def learning_rate(step: int, steps: int, schedule: str) -> float:
    """What share of --lr step number `step` of `steps` is to have (L. Smith, arXiv:1708.07120: one cycle)."""
    progress = (step + 1) / (steps + 1)
    if schedule == "onecycle":
        return min(progress / 0.25, (1 - progress) / 0.75)
    return (1 + math.cos(math.pi * progress)) / 2 if schedule == "cosine" else 1.0


def autocast(device: Device) -> torch.autocast:
    """Computes in the device's dtype inside `with`, where that is safe; changes nothing where it is float32."""
    return torch.autocast(device.name, getattr(torch, device.dtype), enabled=device.dtype != "float32")


@torch.no_grad()
def logits(
    model: nn.Module,
    part: data.Part,
    mean: Float[np.ndarray, " 3"],
    std: Float[np.ndarray, " 3"],
    device: Device,
    size: int = 500,
) -> Float[Tensor, "N classes"]:
    """The model's outputs for a whole part, on the CPU; in evaluation mode, in which it is left."""
    model.to(device.name).eval()
    centre, spread = (torch.from_numpy(numbers).to(device.name) for numbers in (mean, std))
    rows = []
    for start in range(0, len(part), size):
        some = data.Part(part.images[start : start + size], part.labels[start : start + size])
        images, _ = data.tensors(some, device.name)
        with autocast(device):
            rows.append(model(data.normalise(images, centre, spread)).float().cpu())
    return torch.cat(rows)


def evaluate(
    model: nn.Module,
    part: data.Part,
    mean: Float[np.ndarray, " 3"],
    std: Float[np.ndarray, " 3"],
    device: Device,
) -> dict[str, float]:
    """Mean loss and accuracy of the model on a part, in evaluation mode (running averages, no dropout)."""
    outputs, labels = logits(model, part, mean, std, device), torch.from_numpy(part.labels).long()
    right = int((outputs.argmax(dim=1) == labels).sum())
    return {"loss": F.cross_entropy(outputs, labels).item(), "accuracy": right / len(part)}


def fit(
    cfg: Config,
    images: data.Data,
    model: nn.Module,
    device: Device,
    run: Path | None = None,
    state: dict[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """The training loop. Yields {epoch, step, train_loss, val_loss, val_accuracy, seconds} after every epoch.

    Args:
        cfg: how to train.
        images: trained on images.train, and looked at on images.val after every epoch.
        model: changed in place, and moved to the device.
        device: what to compute on.
        run: where checkpoint.safetensors goes after every epoch and at Ctrl-C; None keeps nothing.
        state: what checkpoint.safetensors of an interrupted run held.

    Raises:
        Diverged: the loss is no longer a number.
        Stopped: Ctrl-C was pressed; the state is saved.
    """
    layout = torch.channels_last if cfg.channels_last else torch.contiguous_format
    model.to(device.name, memory_format=layout)
    photos, labels = data.tensors(images.train, device.name)  # small enough to be kept there as they are
    mean, std = (torch.from_numpy(numbers).to(device.name) for numbers in (images.mean, images.std))
    size = min(cfg.batch_size, len(labels))
    per_epoch = len(labels) // size  # what is left over is dropped: the order changes, so each image gets its turn
    steps = cfg.max_steps or cfg.epochs * per_epoch

    if cfg.optimizer == "sgd":
        momentum = {"momentum": cfg.momentum, "nesterov": cfg.momentum > 0}
        optimizer = torch.optim.SGD(model.parameters(), lr=cfg.lr, weight_decay=cfg.weight_decay, **momentum)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr, weight_decay=cfg.weight_decay)
    # fp16 cannot hold small gradients, so there the loss is multiplied, and the gradients divided again. Else it rests.
    scaler = torch.amp.GradScaler(device.name, init_scale=2.0**12, enabled=device.dtype == "float16")
    step, losses, seconds = 0, 0.0, 0.0
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        set_rng_state(state["rng"])
        step, losses, seconds = state["step"], state["losses"], state["seconds"]
    else:
        seed_everything(cfg.seed)
    for group in optimizer.param_groups:
        group["initial_lr"] = cfg.lr
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate(step, steps, cfg.schedule), last_epoch=step - 1
    )

    def save() -> None:
        if run:
            now = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scaler": scaler.state_dict()}
            now |= {"rng": rng_state(), "step": step, "losses": losses, "seconds": seconds, "week": WEEK_NUMBER}
            checkpoint.save(run / "checkpoint.safetensors", now)

    with StopRequest() as stop, bar(steps, step, "training") as progress:
        while step < steps:
            epoch, done = divmod(step, per_epoch)
            order = np.random.default_rng([cfg.seed, epoch]).permutation(len(labels))
            began = time.perf_counter()
            model.train()
            for rows in torch.from_numpy(order).to(device.name).split(size)[done:per_epoch]:
                batch, truth = photos[rows], labels[rows]  # (size, 3, H, W) uint8, (size,)
                if cfg.flip:
                    batch = data.flipped(batch)
                inputs = data.normalise(batch, mean, std).contiguous(memory_format=layout)
                # exercise 6: one step of training
                # Forget the old gradients (optimizer.zero_grad()). Inside `with autocast(device):` let the model see
                # inputs (size, 3, H, W), and set loss to the cross-entropy of its logits and truth (size,). Go backward
                # from scaler.scale(loss); let scaler.step(optimizer) move the weights and call scaler.update() (without
                # fp16 the scaler passes everything on: loss.backward(), optimizer.step()). Last, scheduler.step() sets
                # the learning rate of the next step.
                optimizer.zero_grad()
                with autocast(device):
                    loss = F.cross_entropy(model(inputs), truth)
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
                scheduler.step()
                # end of exercise 6
                step += 1
                losses += loss.item()
                if not math.isfinite(losses):
                    raise Diverged(loss.item(), step, epoch + 1, cfg)
                progress.update()
                if stop or step == steps:
                    break
            seconds += time.perf_counter() - began
            if stop and step < steps and step % per_epoch:
                if not run:
                    raise KeyboardInterrupt
                save()
                where = f"{cli.mine()} --out {shlex.quote(str(run))}" if cfg.out else cli.mine()
                raise Stopped(f"stopped at step {step} of {steps}; saved. `./course train 2{where} --resume` goes on.")
            val = evaluate(model, images.val, images.mean, images.std, device)
            if not math.isfinite(val["loss"]):  # it was the epoch's last step that went too far
                raise Diverged(val["loss"], step, epoch + 1, cfg)
            average = losses / (step - epoch * per_epoch)
            progress.set_postfix(loss=f"{average:.4f}", val=f"{val['accuracy']:.2%}")
            if step % per_epoch == 0:  # --max-steps may end inside an epoch, and --resume go on from there
                losses = 0.0
            yield {
                "epoch": epoch + 1, "step": step, "train_loss": average,
                "val_loss": val["loss"], "val_accuracy": val["accuracy"], "seconds": seconds,
            }  # fmt: skip
            save()


def train_baselines(
    cfg: Config, images: data.Data, device: Device, params: int
) -> tuple[dict[str, baselines.MLP], dict[str, Any]]:
    """Logistic regression, and week 1's kind of network with about `params` parameters.

    Returns the two by name, and what they reached, as result.json shows it.
    """
    models, reached, classes = {}, {}, len(images.classes)
    for name, recipe in baselines.RECIPES.items():
        hidden = baselines.hidden_sizes(params, images.side, classes) if name == "mlp" else ()
        plain = Config(seed=cfg.seed, epochs=min(cfg.epochs, 10), max_steps=cfg.max_steps)
        plain = replace(plain, schedule="cosine", **recipe)
        seed_everything(cfg.seed)
        models[name] = baselines.MLP(images.side, hidden, classes)
        *_, last = fit(plain, images, models[name], device)
        reached[name] = {
            "name": "week 1's kind of network" if name == "mlp" else name,
            "params": count_parameters(models[name]),
            "seconds": round(last["seconds"], 2),
            "val_accuracy": last["val_accuracy"],
        }
    return models, reached["logistic regression"] | {"mlp": reached["mlp"]}


def print_network(model: ConvNet) -> None:
    """The network layer by layer: what comes out, how much of the image it sees, what it learns and costs."""
    print(f"\n{'layer':8s}{'output':>14s}{'sees':>10s}{'parameters':>13s}{'MFLOPs':>9s}")
    for row in layer_table(model.config):
        size, sees = " x ".join(map(str, row.shape)), f"{row.receptive_field} x {row.receptive_field}"
        print(f"{row.name:8s}{size:>14s}{sees:>10s}{row.params:>13,}{row.flops / 1e6:>9.2f}")
    count, seen = count_parameters(model), receptive_field(model.config)
    cost = flops(model.config) / 1e6
    print(
        f"in all {count:,} parameters and {cost:.1f} MFLOPs an image; before the average a number sees {seen} pixels\n"
    )


def warning(cfg: Config, images: data.Data, accuracy: float) -> str:
    """One line where an accuracy on val is that of always guessing its commonest class (or below 1 point more)."""
    counts = np.bincount(images.val.labels)
    guessing = counts.max() / counts.sum()
    if accuracy == 1 or accuracy > guessing + 0.01:
        return ""
    advice = "a smaller --lr" if cfg.lr > LARGE_LR[cfg.optimizer] else "another --lr, more --epochs"
    return (
        f"it has learned nothing: val accuracy is that of always guessing {images.classes[counts.argmax()]} "
        f"({guessing:.2%}). Try {advice}{'' if cfg.norm else ', or leave out --no-norm'}."
    )


def resumed(cfg: Config) -> tuple[Path, dict[str, Any]]:
    """The folder and the state of the run to go on with; CourseError where the flags do not fit it."""
    run = Path(cfg.out) if cfg.out else runs.newest(WEEK_NUMBER, "checkpoint.safetensors")
    before = cli.from_run(Config, run)
    for name in KEPT:
        if getattr(cfg, name) != getattr(before, name):
            flag, value = f"--{name.replace('_', '-')}", getattr(before, name)
            raise CourseError(f"{run} was started with {flag} {value}: leave {flag} out, or start a new run.")
    state = checkpoint.load(run / "checkpoint.safetensors", "pt")
    if state.get("week") != WEEK_NUMBER:
        raise CourseError(f"{run / 'checkpoint.safetensors'} is not of week 2. Give --out a folder of runs/week02.")
    if cfg.epochs != before.epochs or cfg.max_steps != before.max_steps:  # for when it is interrupted again
        write_json(run / "config.json", asdict(replace(before, epochs=cfg.epochs, max_steps=cfg.max_steps)))
    return run, state


def main(cfg: Config) -> dict[str, Any]:
    """Trains a convolutional network on photographs and shows the result beside its baselines.

    Returns what result.json holds; the run folder is under the key "run".
    """
    check(cfg)
    device = choose(cfg.device)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    run, state = resumed(cfg) if cfg.resume else (None, None)
    images = data.load(cfg.data, cfg.side).to_train_on()
    run = run or runs.create(WEEK_NUMBER, cfg)
    model = build(cfg, len(images.classes), images.side)
    print(f"{images.name}: {len(images.train):,} images to train on, {len(images.val):,} to validate")
    print(f"device: {device}")
    print_network(model)

    models, reference = load_baselines(run) if (run / "baselines.safetensors").is_file() else ({}, {})
    if not models:
        print("first the baselines: logistic regression, and week 1's kind of network …")
        models, reference = train_baselines(cfg, images, device, count_parameters(model))
        save_baselines(run / "baselines.safetensors", models, reference)
    best, last = -1.0, {}
    with metrics_log(run / "metrics.jsonl", state["step"] if state else None) as log:
        if state:
            print(f"going on in {run} after step {state['step']}")
            best = max((row["val_accuracy"] for row in pictures.history(run)), default=-1.0)
        for last in fit(cfg, images, model, device, run, state):
            log(**last)
            if last["epoch"] == 1 or last["epoch"] % max(1, cfg.epochs // 10) == 0:
                numbers = f"train loss {last['train_loss']:.4f}   val loss {last['val_loss']:.4f}"
                tqdm.write(f"epoch {last['epoch']:3d}   {numbers}   val accuracy {last['val_accuracy']:.2%}")
            if last["val_accuracy"] > best:
                best = last["val_accuracy"]
                save_model(run / "model.safetensors", model, cfg, images)
    if not last:
        raise CourseError(f"{run} has already finished: give --epochs a larger number, or start a new run.")

    result = runs.result(
        WEEK_NUMBER, cfg, device=device.name, dtype=device.dtype, params=count_parameters(model),
        seconds=last["seconds"], baseline=reference,
        metrics={"val_accuracy": best, "last_val_accuracy": last["val_accuracy"], "last_val_loss": last["val_loss"]},
    )  # fmt: skip
    result |= {"flops": flops(model.config), "receptive_field": receptive_field(model.config)}
    write_json(run / "result.json", result)
    pictures.curves(run / "curves.png", run)
    print_result(result, "val_accuracy")
    kept = max(pictures.history(run), key=lambda row: row["val_accuracy"])  # the first of equals, as above
    print(f"(the weights of the best epoch on val, {kept['epoch']}, are kept)")
    if line := warning(cfg, images, best):
        print(f"\n{line}")
    where = f" --run {shlex.quote(str(run))}" if cfg.out else ""
    print(f"\nrun folder: {run}\non the test set, with the mistakes it makes: ./course eval 2{cli.mine()}{where}")
    return result | {"run": str(run)}


def save_model(path: Path, model: ConvNet, cfg: Config, images: data.Data) -> None:
    """The weights, and all that is needed to build the network again and show it images as it knows them."""
    info = {"week": WEEK_NUMBER, "config": asdict(cfg), "classes": images.classes, "side": images.side}
    checkpoint.save(path, info | {"mean": images.mean, "std": images.std, "model": model.state_dict()})


@dataclass(frozen=True)
class Trained:
    """What model.safetensors holds: the network that was best on val, and how its images were made."""

    model: ConvNet
    config: Config
    classes: tuple[str, ...]
    side: int
    mean: Float[np.ndarray, " 3"]
    std: Float[np.ndarray, " 3"]


def load_model(run: Path) -> Trained:
    """The best network of a run, on the CPU and in evaluation mode.

    Raises:
        CourseError: the run has no model, or one of another week.
    """
    path = run / "model.safetensors"
    saved = checkpoint.load(path, "pt")
    known = {field.name for field in fields(Config)}
    if saved.get("week") != WEEK_NUMBER or not saved["config"].keys() <= known:
        raise CourseError(f"{path} is not a network of week 2. Give --run a folder of runs/week02.")
    cfg = Config(**saved["config"])
    model = build(cfg, len(saved["classes"]), saved["side"])
    try:
        model.load_state_dict(saved["model"])
    except RuntimeError:
        raise CourseError(
            f"{path} does not hold the network that it describes. Train again, or use another run."
        ) from None
    mean, std = saved["mean"].numpy(), saved["std"].numpy()
    return Trained(model.eval(), cfg, tuple(saved["classes"]), saved["side"], mean, std)


def save_baselines(path: Path, models: dict[str, baselines.MLP], reached: dict[str, Any]) -> None:
    """The two baselines and what they reached: trained once, also where a run goes on later."""
    states = {name: model.state_dict() for name, model in models.items()}
    checkpoint.save(path, {"week": WEEK_NUMBER, "models": states, "reached": reached})


def load_baselines(run: Path) -> tuple[dict[str, baselines.MLP], dict[str, Any]]:
    """The baselines of a run by name, and what they reached on val."""
    saved = checkpoint.load(run / "baselines.safetensors", "pt")
    models = {}
    for name, weights in saved["models"].items():
        matrices = [matrix for matrix in weights.values() if matrix.ndim == 2]  # (fan_out, fan_in) of every layer
        side = math.isqrt(matrices[0].shape[1] // 3)
        sizes = [matrix.shape[0] for matrix in matrices]
        models[name] = baselines.MLP(side, sizes[:-1], sizes[-1])
        models[name].load_state_dict(weights)
    return models, saved["reached"]


def print_result(result: dict[str, Any], metric: str) -> None:
    """The result beside its baselines, as a small table."""
    theirs = result["baseline"]
    rows = [
        ("this network", result["metrics"][metric], result),
        (theirs["mlp"]["name"], theirs["mlp"][metric], theirs["mlp"]),
        (theirs["name"], theirs[metric], theirs),
    ]
    print(f"\n{'':26s}{metric.replace('_', ' '):>14s}{'parameters':>13s}{'seconds':>10s}")
    for name, accuracy, row in rows:
        print(f"{name:26s}{accuracy:>14.2%}{row['params']:>13,}{row['seconds']:>10.1f}")


if __name__ == "__main__":
    cli.run(main, Config, PRESETS, week=WEEK_NUMBER)
