"""Trains the network under Lightning: `./course train 4`, or `python -m week04_lightning.train --help`."""

import logging
import math
import shlex
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shared import checkpoint, cli, runs
from shared.device import Device, choose
from shared.errors import CourseError, Stopped
from shared.files import write_json
from shared.interrupt import StopRequest
from shared.progress import read_metrics
from shared.seed import seed_everything
from week02_cnn import baselines, pictures
from week02_cnn import data as photographs
from week02_cnn import train as plain_loop
from week02_cnn.model import count_parameters

# Lightning takes seconds to import: it is imported where it is needed, so that --help need not wait for it.

WEEK_NUMBER = 4
SPAWN = "ddp_spawn"  # Lightning's name for one process per device, started from this one


@dataclass
class Config(cli.CommonConfig):
    """The flags of week 4. --data also takes cifar10, a folder of class folders, or an .npz."""

    preset: str = "quick"
    """A set of defaults: `smoke`, `quick` (minutes, bundled photographs), `plain` (week 2's recipe under Lightning),
    `speed` and `full` (CIFAR-10, the fast recipe), `best` (CIFAR-10, a GPU, the highest accuracy).
    A flag given by hand wins over the preset."""
    net: str = "convnet"
    """convnet (week 2's), resnet (with shortcuts), or speednet (airbench's shape: fast by design)."""
    depth: int = 6
    """Convolutions: at least 3 for a convnet, 9 or 18 for a resnet, 6 or 9 for a speednet."""
    width: int = 32
    """Channels of the first stage; the later ones have a fixed multiple. Twice the width costs four times the time.
    Lower it (or --batch-size) when memory runs out."""
    norm: bool = True
    """Batch norm after every convolution of a convnet. The other two cannot do without."""
    dropout: float = 0.0
    """The share of features silenced at random before the last layer."""
    side: int = 32
    """Images are brought to so many pixels in height and width. Twice the side costs four times the time."""

    optimizer: str = "sgd"
    """sgd (with --momentum), adam, adamw (want a --lr of about 0.002) or muon (0.02 to 0.3)."""
    lr: float = 0.1
    """The size of the largest step. Too small: slow. Too large: the loss jumps or becomes NaN. See lr_finder.py."""
    momentum: float = 0.9
    """How much of the last step is kept (sgd, and what muon leaves to it)."""
    nesterov: bool = True
    """Momentum that looks one step ahead (sgd)."""
    weight_decay: float = 1e-3
    """Pulls every weight towards zero. More: smoother, until it can no longer fit."""
    head_lr: float = 0.0
    """A learning rate of its own for the last layer (0: --lr)."""
    bias_lr: float = 0.0
    """A learning rate of its own for biases and batch norm (0: --lr)."""
    muon_momentum: float = 0.6
    """Momentum of the matrices that muon steps."""
    muon_steps: int = 5
    """Newton-Schulz steps. With 3 the singular values end further from 1, and it is sooner done."""
    fixed_norm: bool = False
    """muon: keeps every filter bank at the same size. Only where batch norm follows each convolution."""

    schedule: str = "linear"
    """constant, step, cosine, onecycle, or linear (up, then down to zero: what week 2 calls onecycle)."""
    warmup: float = 0.25
    """The share of the steps in which the learning rate rises (not of constant and step)."""
    batch_size: int = 64
    """Examples per step, on all devices together. Smaller: noisier, more steps an epoch; larger: faster an epoch, wants
    a larger lr."""
    epochs: int = 20
    """How often each example is seen."""
    max_steps: int = 0
    """Stop after so many steps (0: at the end of the epochs). The schedule is fitted to it."""
    whiten_epochs: float = 0.0
    """speednet: epochs in which the first layer's bias learns, with a rate that falls to zero (0: all of them)."""

    flip: str = "random"
    """random (half of the images in the mirror, others in every epoch), alternating (each image both ways in any two
    epochs), or none where left and right matter."""
    crop: int = 0
    """Moves each image by up to so many pixels each way; what comes in is a reflection."""
    cutout: int = 0
    """Hides a square of so many pixels in each image."""
    mixup: float = 0.0
    """Blends each image, and its label, with another one; the share is drawn from Beta(mixup, mixup). 0.2 is usual."""
    randaugment: int = 0
    """So many random operations on each image (rotate, shear, posterise, …); 2 is usual. Slow: see its batch."""
    randaugment_group: int = 1
    """So many images of a batch share their operations: faster, and less varied."""
    label_smoothing: float = 0.0
    """The share of the target that is spread over all classes, so that no one need be infinitely sure."""

    average: str = "none"
    """What is validated and kept: none (the weights), ema (their moving average), swa (their mean over the end)."""
    ema_decay: float = 0.99
    """ema: how much of the average is kept in a step. It looks back over about 1 / (1 - ema_decay) steps."""
    swa_share: float = 0.25
    """swa: the mean is over so large a share of the epochs, at the end."""
    tta: int = 0
    """Test-time augmentation, on val and test: 0 none, 1 mean over the image and its mirror, 2 also moved ones."""
    early_stop: int = 0
    """Stop when val accuracy has not risen for so many epochs (0: never)."""

    precision: str = "auto"
    """auto (a GPU's fast one, fp32 on a CPU), fp32, bf16 (where the hardware multiplies it, a GPU or a CPU with AMX;
    else fp32), or fp16 (GPUs)."""
    devices: int = 1
    """How many GPUs, or processes on a CPU."""
    strategy: str = "auto"
    """auto (ddp for more than one device), or ddp: a process for each device, the gradients averaged."""
    logger: str = "csv"
    """Lightning's loggers, in the run's folder beside metrics.jsonl: csv, tensorboard, both, or none."""
    threads: int = 0
    """CPU threads (0: as many as torch takes). With another number results differ in the last digits."""
    plain_epochs: int = 0
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
    "smoke": REFINED | {"width": 8, "epochs": 2, "tta": 1, "precision": "auto", "plain_epochs": 1},
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

CHOICES = {
    "net": ("convnet", "resnet", "speednet"),
    "optimizer": ("sgd", "adam", "adamw", "muon"),
    "schedule": ("constant", "step", "cosine", "onecycle", "linear"),
    "flip": ("random", "alternating", "none"),
    "average": ("none", "ema", "swa"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "strategy": ("auto", "ddp"),
    "logger": ("csv", "tensorboard", "both", "none"),
}

# What --resume may change: where it computes, and what it logs. The schedule is fitted to all the rest.
FREE = {"out", "resume", "device", "devices", "strategy", "logger", "threads"}


def check(cfg: Config) -> None:
    """Raises CourseError for values that cannot work, before any data is read."""
    for flag, known in CHOICES.items():
        if getattr(cfg, flag) not in known:
            raise CourseError(f"--{flag} {getattr(cfg, flag)}: choose one of {', '.join(known)}.")
    above, share, from_0 = "a number above 0", "from 0 to below 1", "0 or more"
    limits = (
        ("lr", 0 < cfg.lr < math.inf, above),
        ("head-lr", 0 <= cfg.head_lr < math.inf, from_0),
        ("bias-lr", 0 <= cfg.bias_lr < math.inf, from_0),
        ("batch-size", cfg.batch_size >= 1, "at least 1"),
        ("epochs", cfg.epochs >= 1, "at least 1"),
        ("max-steps", cfg.max_steps >= 0, "0 (no limit) or more"),
        ("width", cfg.width >= 1, "at least 1"),
        ("side", 8 <= cfg.side <= 1024, "from 8 to 1024 pixels"),
        ("dropout", 0 <= cfg.dropout < 1, share),
        ("momentum", 0 <= cfg.momentum < 1, share),
        ("muon-momentum", 0 <= cfg.muon_momentum < 1, share),
        ("muon-steps", 1 <= cfg.muon_steps <= 20, "from 1 to 20"),
        ("weight-decay", 0 <= cfg.weight_decay < math.inf, from_0),
        ("warmup", 0 <= cfg.warmup < 1, share),
        ("whiten-epochs", 0 <= cfg.whiten_epochs < math.inf, from_0),
        ("crop", 0 <= cfg.crop < cfg.side, "from 0 to below --side"),
        ("cutout", 0 <= cfg.cutout <= cfg.side, "from 0 to --side"),
        ("mixup", 0 <= cfg.mixup < math.inf, from_0),
        ("randaugment", 0 <= cfg.randaugment <= 14, "from 0 to 14"),
        ("randaugment-group", cfg.randaugment_group >= 1, "at least 1"),
        ("label-smoothing", 0 <= cfg.label_smoothing < 1, share),
        ("ema-decay", 0 <= cfg.ema_decay < 1, share),
        ("swa-share", 0 < cfg.swa_share <= 1, "above 0, at most 1"),
        ("tta", cfg.tta in (0, 1, 2), "0, 1 or 2"),
        ("early-stop", cfg.early_stop >= 0, "0 (never) or more"),
        ("devices", cfg.devices >= 1, "at least 1"),
        ("threads", cfg.threads >= 0, "0 (as many as torch takes) or more"),
        ("plain-epochs", cfg.plain_epochs >= 0, "0 (not) or more"),
        ("seed", 0 <= cfg.seed < 2**32, "from 0 to 4294967295"),
    )
    for flag, right, must in limits:
        if not right:
            raise CourseError(f"--{flag} {getattr(cfg, flag.replace('-', '_'))}: must be {must}.")
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


TALKATIVE = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "torch.multiprocessing")]


def hush() -> None:
    """Turns off Lightning's announcements, and its advice for cases that are not ours."""
    for logger in TALKATIVE:
        logger.setLevel(logging.ERROR)
    warnings.simplefilter("ignore")


@contextmanager
def quiet() -> Iterator[None]:
    """Hushed inside `with`, and as before after it."""
    levels = [logger.level for logger in TALKATIVE]
    with warnings.catch_warnings():
        hush()
        try:
            yield
        finally:
            for logger, level in zip(TALKATIVE, levels, strict=True):
                logger.setLevel(level)


def make_trainer(cfg: Config, device: Device, run: Path | None = None, callbacks: list[Any] | None = None) -> Any:
    """A Lightning Trainer for this recipe. Without a run's folder it writes nothing, without callbacks it tests."""
    import lightning as L
    from lightning.pytorch.callbacks import TQDMProgressBar

    from week04_lightning.callbacks import SafeFiles

    seen = callbacks is None and sys.stderr.isatty()  # of training Journal shows a bar
    spread = callbacks is not None and (cfg.devices > 1 or cfg.strategy == "ddp")
    return L.Trainer(
        accelerator={"cuda": "gpu"}.get(device.name, device.name),
        devices=cfg.devices if callbacks is not None else 1,
        strategy=SPAWN if spread else "auto",
        precision={"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}[device.dtype],
        max_epochs=-1 if cfg.max_steps else cfg.epochs,  # Journal counts the steps
        callbacks=[*(callbacks or []), *([TQDMProgressBar(leave=False)] if seen else [])],
        enable_progress_bar=seen,
        logger=make_loggers(cfg, run) if run and callbacks is not None else False,
        log_every_n_steps=10,
        plugins=[SafeFiles()],
        enable_checkpointing=run is not None,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        benchmark=device.name == "cuda",
    )


def make_loggers(cfg: Config, run: Path) -> list[Any]:
    """Lightning's loggers, in run/csv and run/tensorboard; a new version_N there each time a run goes on."""
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    loggers: list[Any] = [CSVLogger(run, name="csv")] if cfg.logger in ("csv", "both") else []
    if cfg.logger in ("tensorboard", "both"):
        loggers.append(TensorBoardLogger(run, name="tensorboard"))
    return loggers


def fit(
    cfg: Config,
    photos: photographs.Data,
    classifier: Any,
    device: Device,
    run: Path | None = None,
    resume: bool = False,
) -> list[dict[str, Any]]:
    """Trains the classifier in place, and returns {epoch, step, train_loss, val_loss, val_accuracy, seconds} an epoch.

    Args:
        cfg: how to train.
        photos: trained on photos.train, and looked at on photos.val after every epoch.
        classifier: what `build` returns. At the end it holds the last weights, or their average.
        device: from choose_device.
        run: where checkpoint.safetensors (the last state), best.safetensors (the best on val) and the logs go.
            None keeps nothing.
        resume: go on from run's checkpoint.

    Raises:
        Diverged: the loss is no longer a number.
        Stopped: Ctrl-C was pressed; the state is saved.
    """
    from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
    from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

    from week04_lightning.callbacks import Average, Journal
    from week04_lightning.data import CifarData

    journal = Journal(cfg, run)
    callbacks: list[Any] = [Average(cfg)] if cfg.average != "none" else []
    callbacks.append(journal)
    if cfg.early_stop:
        callbacks.append(EarlyStopping("val_accuracy", mode="max", patience=cfg.early_stop))
    if run:
        run.mkdir(parents=True, exist_ok=True)
        if cfg.logger != "none":
            callbacks.append(LearningRateMonitor("step"))
        files = {"dirpath": run, "enable_version_counter": False}
        callbacks.append(ModelCheckpoint(filename="best", monitor="val_accuracy", mode="max", **files))
        callbacks.append(ModelCheckpoint(filename="checkpoint", **files))
        for callback in callbacks[-2:]:
            callback.FILE_EXTENSION = ".safetensors"
    spread = cfg.devices > 1 or cfg.strategy == "ddp"
    # Ctrl-C reaches all processes: this one, which only waits for the others, must let them save.
    with quiet(), StopRequest() if spread else nullcontext() as stop:
        trainer = make_trainer(cfg, device, run, callbacks)
        try:
            ckpt_path = run / "checkpoint.safetensors" if run and resume else None
            trainer.fit(classifier, CifarData(photos, cfg), ckpt_path=ckpt_path)
        except ProcessRaisedException as error:  # what a process of --strategy ddp has said, as a text
            raise told_by(error) from None
        except ProcessExitedException:
            if stop:
                raise KeyboardInterrupt from None
            raise
        except SystemExit:  # Lightning's answer to Ctrl-C, after which it hears no other
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from None
    classifier.to("cpu")
    return read_metrics(run / "metrics.jsonl") if run else journal.rows


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

LOGISTIC, PLAIN = "logistic regression", "week 2's plain loop"


def train_baselines(cfg: Config, photos: photographs.Data, device: Device) -> tuple[dict[str, Any], dict[str, Any]]:
    """Logistic regression on the pixels, and where --plain-epochs asks for it week 2's network and loop.

    Returns what each needs to be built again, by name, and what they reached, as result.json shows it.
    """
    kept, reached = {}, {}
    recipes = {LOGISTIC: {"epochs": min(cfg.epochs, 10), "schedule": "cosine", **baselines.RECIPES[LOGISTIC]}}
    if cfg.plain_epochs:
        recipes[PLAIN] = {"epochs": cfg.plain_epochs}
        if cfg.preset == "smoke":
            recipes[PLAIN] |= plain_loop.PRESETS["smoke"] | recipes[PLAIN]
    for name, recipe in recipes.items():
        config = plain_loop.Config(**{"seed": cfg.seed, "side": cfg.side, "max_steps": cfg.max_steps} | recipe)
        model = baseline_net(name, asdict(config), photos)
        best = None
        for row in plain_loop.fit(config, photos, model, device):
            if best is None or row["val_accuracy"] > best["val_accuracy"]:
                best = row
                state = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
        kept[name] = {"config": asdict(config), "model": state}
        reached[name] = {
            "name": name,
            "params": count_parameters(model),
            "seconds": round(row["seconds"], 2),
            "val_accuracy": best["val_accuracy"],
        }
    return kept, reached[LOGISTIC] | ({"plain": reached[PLAIN]} if PLAIN in reached else {})


def baseline_net(name: str, config: dict[str, Any], photos: Any) -> nn.Module:
    """The network of a baseline, with weights drawn from its seed."""
    cfg = plain_loop.Config(**config)
    if name == PLAIN:
        return plain_loop.build(cfg, len(photos.classes), photos.side)
    seed_everything(cfg.seed)
    return baselines.MLP(photos.side, (), len(photos.classes))


def load_baselines(run: Path, photos: Any) -> tuple[dict[str, nn.Module], dict[str, Any]]:
    """The baselines of a run by name, and what they reached on val."""
    saved = checkpoint.load(run / "baselines.safetensors", "pt")
    models = {}
    for name, kept in saved["models"].items():
        models[name] = baseline_net(name, kept["config"], photos)
        models[name].load_state_dict(kept["model"])
    return models, saved["reached"]


# ---------------------------------------------------------------- the program


def resumed(cfg: Config) -> Path:
    """The folder of the run to go on with; CourseError where there is nothing to go on with, or other flags."""
    run = Path(cfg.out) if cfg.out else runs.newest(WEEK_NUMBER, "checkpoint.safetensors")
    before = cli.from_run(Config, run)
    for field in fields(Config):
        if field.name not in FREE and getattr(cfg, field.name) != getattr(before, field.name):
            flag, value = f"--{field.name.replace('_', '-')}", getattr(before, field.name)
            raise CourseError(f"{run} was started with {flag} {value}: leave {flag} out, or start a new run.")
    if (run / "result.json").is_file():
        raise CourseError(f"{run} has already finished: start a new run.")
    path = run / "checkpoint.safetensors"
    if checkpoint.load(path).get("week") != WEEK_NUMBER:
        raise CourseError(f"{path} is not of week 4. Give --out a folder of runs/week04.")
    return run


def main(cfg: Config) -> dict[str, Any]:
    """Trains a network on photographs under Lightning and shows the result beside its baselines.

    Returns what result.json holds; the run folder is under the key "run".
    """
    check(cfg)
    device = choose_device(cfg)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    run = resumed(cfg) if cfg.resume else None
    photos = photographs.load(cfg.data, cfg.side).to_train_on()
    classifier = build(cfg, photos)
    run = run or runs.create(WEEK_NUMBER, cfg)
    params = count_parameters(classifier)
    print(f"{photos.name}: {len(photos.train):,} images to train on, {len(photos.val):,} to validate")
    several = f", {cfg.devices} processes" if cfg.devices > 1 else ""
    print(f"device: {device}{several}\nnetwork: {cfg.net}, {params:,} parameters")
    if not (run / "baselines.safetensors").is_file():
        kept, reached = train_baselines(cfg, photos, choose(cfg.device))
        checkpoint.save(run / "baselines.safetensors", {"week": WEEK_NUMBER, "models": kept, "reached": reached})
    reference = checkpoint.load(run / "baselines.safetensors")["reached"]
    if cfg.resume:
        print(f"going on in {run}")

    rows = fit(cfg, photos, classifier, device, run, cfg.resume)
    best = checkpoint.load(run / "best.safetensors", "pt")
    classifier.load_state_dict(best["state_dict"])
    save_model(run / "model.safetensors", classifier, cfg, photos)
    (run / "best.safetensors").unlink()  # the same network, with an optimiser that nobody needs any more
    last, kept_row = rows[-1], max(rows, key=lambda row: row["val_accuracy"])
    result = runs.result(
        WEEK_NUMBER, cfg, device=device.name, dtype=device.dtype, params=params, seconds=last["seconds"],
        baseline=reference,
        metrics={
            "val_accuracy": kept_row["val_accuracy"],
            "last_val_accuracy": last["val_accuracy"], "last_val_loss": last["val_loss"],
        },
    )  # fmt: skip
    write_json(run / "result.json", result)
    pictures.curves(run / "curves.png", run)
    print_result(result, "val_accuracy")
    print(f"(the weights of the best epoch on val, {kept_row['epoch']}, are kept)")
    where = f" --run {shlex.quote(str(run))}" if cfg.out else ""
    print(f"\nrun folder: {run}\non the test set, with the mistakes it makes: ./course eval 4{cli.mine()}{where}")
    return result | {"run": str(run)}


def save_model(path: Path, classifier: Any, cfg: Config, photos: photographs.Data) -> None:
    """The weights, and all that is needed to build the network again and show it images as it knows them."""
    info = {"week": WEEK_NUMBER, "config": asdict(cfg), "classes": photos.classes, "side": photos.side}
    checkpoint.save(path, info | {"mean": photos.mean, "std": photos.std, "model": classifier.net.state_dict()})


@dataclass(frozen=True)
class Trained(plain_loop.Trained):
    """What model.safetensors holds: the Classifier that was best on val, and how its images were made."""

    model: Any
    config: Any


def load_model(run: Path) -> Trained:
    """The best network of a run, as a Classifier on the CPU and in evaluation mode.

    Raises:
        CourseError: the run has no model, or one of another week.
    """
    from week04_lightning.model import Classifier, make_net

    path = run / "model.safetensors"
    saved = checkpoint.load(path, "pt")
    known = {field.name for field in fields(Config)}
    if saved.get("week") != WEEK_NUMBER or not saved["config"].keys() <= known:
        raise CourseError(f"{path} is not a network of week 4. Give --run a folder of runs/week04.")
    cfg, mean, std = Config(**saved["config"]), saved["mean"].numpy(), saved["std"].numpy()
    net = make_net(cfg, len(saved["classes"]), saved["side"])
    try:
        net.load_state_dict(saved["model"])
    except RuntimeError:
        raise CourseError(
            f"{path} does not hold the network that it describes. Train again, or use another run."
        ) from None
    return Trained(Classifier(net, cfg, mean, std).eval(), cfg, tuple(saved["classes"]), saved["side"], mean, std)


def print_result(result: dict[str, Any], metric: str) -> None:
    """The result beside its baselines, as a small table."""
    theirs = result["baseline"]
    rows = [("this network", result["metrics"][metric], result)]
    rows += [(row["name"], row[metric], row) for row in (theirs.get("plain"), theirs) if row]
    print(f"\n{'':26s}{metric.replace('_', ' '):>14s}{'parameters':>13s}{'seconds':>10s}")
    for name, accuracy, row in rows:
        print(f"{name:26s}{accuracy:>14.2%}{row['params']:>13,}{row['seconds']:>10.1f}")


if __name__ == "__main__":
    cli.run(main, Config, PRESETS, week=WEEK_NUMBER)
