"""Trains the network under Lightning: `./course train 4`, or `python -m week04_lightning.train --help`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week04_lightning/train.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import signal
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from shared import checkpoint, cli, runs
from shared.config import Count, Natural, NonNegative, Positive, Share, TrainConfig
from shared.device import Device, choose
from shared.errors import CourseError, Stopped
from shared.interrupt import StopRequest
from shared.seed import seed_everything
from week02_cnn import data as photographs
from week02_cnn import train as plain_loop
from week02_cnn.baselines import LOGISTIC, MLP, RECIPES
from week02_cnn.model import count_parameters
from week04_lightning.quiet import quiet

# Lightning takes seconds to import: it is imported where it is needed, so that --help need not wait for it.

WEEK_NUMBER = 4
SPAWN = "ddp_spawn"  # Lightning's name for one process per device, started from this one


@dataclass
class Recipe:
    """What a training is made of: the flags that lr_finder.py has too."""

    net: Literal["convnet", "resnet", "speednet"] = "convnet"
    """convnet (week 2's), resnet (with shortcuts), or speednet (airbench's shape: fast by design)."""
    depth: Annotated[int, Ge(3)] = 6
    """Convolutions: at least 3 for a convnet, 9 or 18 for a resnet, 6 or 9 for a speednet."""
    width: Count = 32
    """Channels of the first stage; the later ones have a fixed multiple. Twice the width costs four times the time.
    Lower it (or --batch-size) when memory runs out."""
    norm: bool = True
    """Batch norm after every convolution of a convnet; lower --lr for --no-norm. The other two nets always have it."""
    dropout: Share = 0.0
    """The share of features silenced at random before the last layer."""
    side: Annotated[int, Ge(8), Le(1024)] = 32
    """Images are brought to so many pixels in height and width. Twice the side costs four times the time."""

    optimizer: Literal["sgd", "adam", "adamw", "muon"] = "sgd"
    """sgd (with --momentum), adam, adamw (want a --lr of about 0.002) or muon (0.02 to 0.3)."""
    lr: Positive = 0.1
    """The size of the largest step. Too small: slow. Too large: the loss jumps or becomes NaN. See lr_finder.py."""
    momentum: Share = 0.9
    """How much of the last step is kept (sgd, and what muon leaves to it)."""
    nesterov: bool = True
    """Momentum that looks one step ahead (sgd); the plain one with --no-nesterov."""
    weight_decay: NonNegative = 1e-3
    """Pulls every weight towards zero. More: smoother, until it can no longer fit."""
    head_lr: NonNegative = 0.0
    """A learning rate of its own for the last layer (0: --lr)."""
    bias_lr: NonNegative = 0.0
    """A learning rate of its own for biases and batch norm (0: --lr)."""
    muon_momentum: Share = 0.6
    """Momentum of the matrices that muon steps."""
    muon_steps: Annotated[int, Ge(1), Le(20)] = 5
    """Newton-Schulz steps. With 3 the singular values end further from 1, and it is sooner done."""
    fixed_norm: bool = False
    """muon: keeps every filter bank at the same size. Only where batch norm follows each convolution."""

    schedule: Literal["constant", "step", "cosine", "onecycle", "linear"] = "linear"
    """constant, step, cosine, onecycle (both ways along cosines), or linear (up, then down to zero, as in week 2)."""
    warmup: Share = 0.25
    """The share of the steps in which the learning rate rises (not of constant and step)."""
    batch_size: Count = 64
    """Examples per step, on all devices together. Smaller: noisier, more steps an epoch; larger: faster an epoch, wants
    a larger lr."""
    epochs: Count = 20
    """How often each example is seen."""
    max_steps: Natural = 0
    """Stop after so many steps (0: at the end of the epochs). The schedule is fitted to it."""
    whiten_epochs: NonNegative = 0.0
    """speednet: epochs in which the first layer's bias learns, with a rate that falls to zero (0: all of them)."""

    flip: Literal["random", "alternating", "none"] = "random"
    """random (half of the images in the mirror, others in every epoch), alternating (each image both ways in any two
    epochs), or none where left and right matter."""
    crop: Natural = 0
    """Moves each image by up to so many pixels each way; what comes in is a reflection."""
    cutout: Natural = 0
    """Hides a square of so many pixels in each image."""
    mixup: NonNegative = 0.0
    """Blends each image, and its label, with another one; the share is drawn from Beta(mixup, mixup). 0.2 is usual."""
    randaugment: Annotated[int, Ge(0), Le(14)] = 0
    """So many random operations on each image (rotate, shear, posterise, …); 2 is usual. Slow: see its batch."""
    randaugment_group: Count = 1
    """So many images of a batch share their operations: faster, and less varied."""
    label_smoothing: Share = 0.0
    """The share of the target that is spread over all classes, so that no one need be infinitely sure."""

    average: Literal["none", "ema", "swa"] = "none"
    """What is validated and kept: none (the weights), ema (their moving average), swa (their mean over the end)."""
    ema_decay: Share = 0.99
    """ema: how much of the average is kept in a step. It looks back over about 1 / (1 - ema_decay) steps."""
    swa_share: Annotated[float, Gt(0), Le(1)] = 0.25
    """swa: the mean is over so large a share of the epochs, at the end."""
    tta: Literal[0, 1, 2] = 0
    """Test-time augmentation, on val and test: 0 none, 1 mean over the image and its mirror, 2 also moved ones."""
    early_stop: Natural = 0
    """Stop when val accuracy has not risen for so many epochs (0: never)."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto (a GPU's fast one, fp32 on a CPU), fp32, bf16 (where the hardware multiplies it, a GPU or a CPU with AMX;
    else fp32), or fp16 (GPUs)."""
    threads: Natural = 0
    """CPU threads (0: as many as torch takes). With another number results differ in the last digits."""


@dataclass
class Config(Recipe, TrainConfig):
    """The flags of week 4. --data also takes cifar10, a folder of class folders, or an .npz."""

    preset: str = "quick"
    """A set of defaults: `smoke` (seconds), `quick` (minutes, bundled data), `plain` (week 2's recipe under Lightning),
    `speed` and `full` (CIFAR-10, the fast recipe), `best` (CIFAR-10, a GPU, the highest accuracy).
    A flag given by hand wins over the preset."""
    devices: Count = 1
    """How many GPUs, or processes on a CPU."""
    strategy: Literal["auto", "ddp"] = "auto"
    """auto (ddp for more than one device), or ddp: a process for each device, the gradients averaged."""
    logger: Literal["csv", "tensorboard", "both", "none"] = "csv"
    """Lightning's loggers, in the run's folder beside metrics.jsonl: csv, tensorboard, both, or none."""
    plain_epochs: Natural = 0
    """Trains week 2's plain loop beside it, on the same images for so many epochs (0: not)."""


SPEED = {
    "net": "speednet", "width": 64, "optimizer": "muon", "lr": 0.2, "momentum": 0.85, "weight_decay": 0.01,
    "head_lr": 670.0, "bias_lr": 53.0, "muon_steps": 3, "fixed_norm": True, "schedule": "linear", "warmup": 0.0,
    "whiten_epochs": 3.0, "batch_size": 1000, "epochs": 12, "flip": "alternating", "crop": 2, "label_smoothing": 0.2,
    "tta": 2, "precision": "bf16",
}  # fmt: skip
REFINED = SPEED | {
    "width": 16, "batch_size": 128, "head_lr": 84.0, "bias_lr": 6.6, "weight_decay": 0.001, "epochs": 30,
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": REFINED | {"width": 8, "epochs": 2, "tta": 1, "precision": "auto", "plain_epochs": 2},
    "quick": REFINED | {"plain_epochs": 20},
    "plain": {},
    "speed": SPEED | {"data": "cifar10"},
    "full": SPEED | {"data": "cifar10"},
    "best": {
        "data": "cifar10", "net": "resnet", "depth": 18, "width": 64, "lr": 0.2, "weight_decay": 5e-4,
        "batch_size": 256, "epochs": 60, "flip": "alternating", "crop": 4, "cutout": 8, "label_smoothing": 0.1,
        "average": "ema", "ema_decay": 0.998, "tta": 2,
    },
}  # fmt: skip
# What --resume may change: where it computes, and what it logs. The schedule is fitted to all the rest.
FREE = ("device", "devices", "strategy", "logger", "threads")


def check(cfg: Config) -> None:
    """Raises CourseError for flags that cannot go together, before any data is read."""
    if cfg.crop >= cfg.side:
        raise CourseError(f"--crop {cfg.crop}: must be below --side, {cfg.side}.")
    if cfg.cutout > cfg.side:
        raise CourseError(f"--cutout {cfg.cutout}: must be at most --side, {cfg.side}.")
    if cfg.logger in ("tensorboard", "both") and not find_spec("tensorboard"):
        raise CourseError(f"--logger {cfg.logger}: the package is not installed; pip install tensorboard.")
    if cfg.net != "speednet" and cfg.head_lr > 1:
        raise CourseError(
            f"--net {cfg.net}: the preset's --head-lr {cfg.head_lr:g} is for a speednet, whose logits are divided. "
            "Add --preset plain and choose from there, or --head-lr 0 --bias-lr 0 and another --lr."
        )
    if cfg.batch_size % cfg.devices:
        raise CourseError(f"--batch-size {cfg.batch_size}: cannot be shared equally by {cfg.devices} devices.")


def choose_device(cfg: Config) -> Device:
    """The device, in the number format that --precision asks for and the hardware multiplies, with the reason.

    Raises:
        CourseError: no such device, or not so many, or fp16 where no GPU is.
    """
    device = choose(cfg.device)
    if device.name == "cuda" and cfg.devices > torch.cuda.device_count():
        raise CourseError(f"--devices {cfg.devices}: {torch.cuda.device_count()} GPU(s) here.")
    if cfg.precision == "fp32":
        return replace(device, dtype="float32", reason=f"{device.reason}; --precision fp32")
    if cfg.precision == "fp16":
        if device.name != "cuda":
            raise CourseError(f"--precision fp16: is for GPUs; here it is {device.name}. Leave it at auto.")
        return replace(device, dtype="float16", reason=f"{device.reason}; --precision fp16")
    if cfg.precision == "bf16" and device.name == "cpu":
        if torch.cpu._is_amx_tile_supported():
            return replace(device, dtype="bfloat16", reason=f"{device.reason}; this CPU multiplies bf16 in hardware")
        return replace(device, reason=f"{device.reason}; this CPU has no fast bf16, so fp32")
    return device  # auto, and bf16 on a GPU, are what choose() has decided


# ---------------------------------------------------------------- training


def build(cfg: Config, photos: photographs.Data) -> Any:
    """The Classifier of a config, with weights drawn from its seed; SpeedNet's first layer from the training images."""
    from week04_lightning.model import Classifier, make_net

    whiten = None
    if cfg.net == "speednet":
        some = photographs.Part(photos.train.images[:5000], photos.train.labels[:5000])
        images, _ = photographs.tensors(some)
        whiten = photographs.normalise(images, torch.from_numpy(photos.mean), torch.from_numpy(photos.std))
    seed_everything(cfg.seed)
    return Classifier(make_net(cfg, len(photos.classes), photos.side, whiten), cfg, photos.mean, photos.std)


def make_trainer(cfg: Config, device: Device, folder: Path | None = None, callbacks: list[Any] | None = None) -> Any:
    """A Lightning Trainer for this recipe. Without a run's folder it writes nothing, without callbacks it tests."""
    import lightning as L
    from lightning.pytorch.callbacks import TQDMProgressBar

    from week04_lightning.callbacks import SafeFiles

    seen = callbacks is None and sys.stderr.isatty()  # of training Journal shows a bar
    spread = callbacks is not None and several(cfg)
    return L.Trainer(
        accelerator={"cuda": "gpu"}.get(device.name, device.name),
        devices=cfg.devices if callbacks is not None else 1,
        strategy=SPAWN if spread else "auto",
        precision={"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}[device.dtype],
        max_epochs=-1 if cfg.max_steps else cfg.epochs,  # Journal counts the steps
        callbacks=[*(callbacks or []), *([TQDMProgressBar(leave=False)] if seen else [])],
        enable_progress_bar=seen,
        logger=make_loggers(cfg, folder) if folder and callbacks is not None else False,
        log_every_n_steps=10,
        plugins=[SafeFiles()],
        enable_checkpointing=folder is not None,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        benchmark=device.name == "cuda",
    )


def several(cfg: Config) -> bool:
    """Whether the training has a process for each device."""
    return cfg.devices > 1 or cfg.strategy == "ddp"


def make_loggers(cfg: Config, folder: Path) -> list[Any]:
    """Lightning's loggers, in folder/csv and folder/tensorboard; a new version_N there each time a run goes on."""
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    loggers: list[Any] = [CSVLogger(folder, name="csv")] if cfg.logger in ("csv", "both") else []
    if cfg.logger in ("tensorboard", "both"):
        loggers.append(TensorBoardLogger(folder, name="tensorboard"))
    return loggers


def make_callbacks(cfg: Config, journal: Any, folder: Path | None) -> list[Any]:
    """What the Trainer does beside training, in the order in which it does it."""
    from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor

    from week04_lightning.callbacks import Average, KeptState

    callbacks: list[Any] = [Average(cfg)] if cfg.average != "none" else []
    callbacks.append(journal)
    if cfg.early_stop:
        callbacks.append(EarlyStopping("val_accuracy", mode="max", patience=cfg.early_stop))
    if folder:
        if cfg.logger != "none":
            callbacks.append(LearningRateMonitor("step"))
        callbacks.append(KeptState(folder, "best", monitor="val_accuracy", mode="max"))
        callbacks.append(KeptState(folder, "checkpoint"))
    return callbacks


def fit(
    cfg: Config, photos: photographs.Data, classifier: Any, device: Device, run: runs.Run | None = None,
    more: Sequence[Any] = (),
) -> list[runs.Row]:  # fmt: skip
    """Trains the classifier in place, and returns {epoch, step, train_loss, val_loss, val_accuracy, seconds} an epoch.

    The loop itself is Lightning's; Journal does what week 2's Loop did, and writes the run's log.

    Args:
        cfg: how to train.
        photos: trained on photos.train, and looked at on photos.val after every epoch.
        classifier: what `build` returns. At the end it holds the last weights, or their average.
        device: from choose_device.
        run: where checkpoint.safetensors (the last state), best.safetensors (the best on val) and the logs go, and what
            is gone on with. None keeps nothing.
        more: callbacks besides ours (bench.py's stop watch).

    Raises:
        Diverged: the loss is no longer a number.
        Stopped: Ctrl-C was pressed; the state is saved. KeyboardInterrupt where there is no run.
    """
    from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

    from week04_lightning.callbacks import Journal
    from week04_lightning.data import CifarData

    folder = run.folder if run else None
    begun = run is not None and run.take_state().get("step")  # 0: stopped before its first step
    journal = Journal(cfg, run)
    # Ctrl-C reaches all processes: this one, which only waits for the others, must let them save.
    with quiet(), StopRequest() if several(cfg) else nullcontext() as stop:
        trainer = make_trainer(cfg, device, folder, [*more, *make_callbacks(cfg, journal, folder)])
        try:
            trainer.fit(classifier, CifarData(photos, cfg), ckpt_path=folder / runs.CHECKPOINT if begun else None)
        except ProcessRaisedException as error:  # what a process of --strategy ddp has said, as a text
            raise told_by(error) from None
        except ProcessExitedException:
            if stop:
                raise KeyboardInterrupt from None
            raise
        except OSError as error:  # out of one of Lightning's loggers
            why = error.strerror or str(error)
            raise CourseError(f"cannot write {folder}: {why}. Free some space; then --resume goes on.") from None
        except SystemExit:  # Lightning's answer to Ctrl-C, after which it hears no other
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from None
    classifier.to("cpu")
    return run.rows if run else journal.rows


def told_by(error: Exception) -> Exception:
    """The CourseError that another process ended with, out of the traceback it has sent; else the error itself."""
    last = str(error).strip().splitlines()[-1]
    name, _, message = last.partition(": ")
    if name.startswith(("shared.", "week04_lightning.")):
        return (Stopped if name.endswith("Stopped") else CourseError)(message)
    return error


def test(
    cfg: Config, photos: photographs.Data, part: photographs.Part, classifier: Any, device: Device
) -> tuple[dict[str, float], Tensor]:
    """Loss and accuracy of a classifier on a part, with --tta as it says, and its logits (N, classes)."""
    from week04_lightning.data import CifarData

    classifier.tested.clear()
    with quiet():
        trainer = make_trainer(cfg, device)
        trainer.test(classifier, CifarData(photos, cfg, part), verbose=False)
    scores = {name.removeprefix("test_"): float(score) for name, score in trainer.callback_metrics.items()}
    return scores, torch.cat(classifier.tested)


# ---------------------------------------------------------------- baselines

PLAIN = "week 2's plain loop"
PLAIN_SMOKE = {"depth": 4, "width": 8, "batch_size": 32}  # what is ahead of logistic regression within seconds


def train_baselines(cfg: Config, photos: photographs.Data, device: Device) -> dict[str, Any]:
    """Week 2's network and loop (with --plain-epochs), and logistic regression: what they reach, and what they are."""
    recipes: dict[str, dict[str, Any]] = {}
    if cfg.plain_epochs:
        recipes[PLAIN] = (PLAIN_SMOKE if cfg.preset == "smoke" else {}) | {"epochs": cfg.plain_epochs}
    recipes[LOGISTIC] = {"epochs": min(cfg.epochs, 10), "schedule": "cosine", **RECIPES[LOGISTIC]}
    rows, models = [], {}
    for name, recipe in recipes.items():
        config = plain_loop.Config(**{"seed": cfg.seed, "side": cfg.side, "max_steps": cfg.max_steps} | recipe)
        model = baseline_net(name, asdict(config), len(photos.classes), photos.side)
        training = plain_loop.fit(config, photos, model, device, label=f"baseline: {name}")
        best, weights = runs.best_of(training, lambda model=model: deepcopy(model.state_dict()))
        models[name] = {"config": asdict(config), "model": weights}
        rows.append(runs.baseline(name, count_parameters(model), best))
    return {"rows": [*rows, runs.constant_answer(photos.val.labels)], "models": models}


def baseline_net(name: str, flags: Mapping[str, Any], classes: int, side: int) -> nn.Module:
    """The network of a baseline, with weights drawn from its seed; `flags` are those of week 2's train.py."""
    cfg = plain_loop.Config(**flags)
    if name == PLAIN:
        return plain_loop.build(cfg, classes, side)
    seed_everything(cfg.seed)
    return MLP(side, (), classes)


# ---------------------------------------------------------------- the program


def main(cfg: Config) -> dict[str, Any]:
    """Trains a network on photographs under Lightning and shows the result beside its baselines.

    Returns what result.json holds; the run folder is under the key "run".
    """
    check(cfg)
    device = choose_device(cfg)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    photos = photographs.load(cfg.data, cfg.side).to_train_on()
    classifier = build(cfg, photos)
    run = runs.begin(WEEK_NUMBER, cfg, FREE)
    run.hold_to(photos)
    if (run.folder / "result.json").is_file():  # the schedule was fitted to its epochs: more of them are a new run
        raise run.finished("start a new run.")
    params = count_parameters(classifier)
    runs.describe(photos)
    processes = f", {cfg.devices} processes" if cfg.devices > 1 else ""
    print(f"device: {device}{processes}\nnetwork: {cfg.net}, {params:,} parameters")
    theirs = run.once("baselines", lambda: train_baselines(cfg, photos, choose(cfg.device)))
    rows = fit(cfg, photos, classifier, device, run)

    best = run.folder / "best.safetensors"
    classifier.load_state_dict(checkpoint.load(best)["state_dict"])
    info = {"classes": photos.classes, "side": photos.side, "mean": photos.mean, "std": photos.std}
    run.save_model(info | {"model": classifier.net.state_dict()})
    advice = "Try another --lr (`./course run 4 lr_finder` with the same flags looks for one), or more --epochs."
    result = run.finish(run.best(rows), rows[-1], device, params, theirs["rows"], advice)
    best.unlink()  # the network that model.safetensors holds, with an optimiser that nobody needs any more
    return result


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS, week=WEEK_NUMBER)
