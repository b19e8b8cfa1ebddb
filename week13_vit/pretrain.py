"""Pretrains a vision transformer: `./course run 13 pretrain`; fine-tune it by `./course train 13 --start RUN`.

A transformer knows nothing of pictures when it begins: not that neighbours belong together, nor that a thing is the
same thing wherever it lies. It has to see that in examples, so few X-rays are few (section 4.3 of arXiv:2010.11929).
Two tasks teach it some before it is told what is ill:

    mae     radiographs without their labels, most of each hidden, to be painted (masked.py, arXiv:2111.06377)
    photos  the 4,000 photographs of CIFAR-10 that are bundled, to be named
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week13_vit/pretrain.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Le

from shared import cli, plots, runs
from shared.checkpoint import save
from shared.config import Count, Natural, NonNegative, Positive, TrainConfig
from shared.device import Device, autocast, choose
from shared.loop import Loop
from week13_vit import data, train
from week13_vit.augment import augmented
from week13_vit.masked import MaskedAutoencoder, draw_visible, pasted
from week13_vit.model import ViT, count_parameters, flops
from week13_vit.weights import PRETRAINED

WEEK_NUMBER = 13
PROGRAM = "pretrain"
EPOCHS = {"mae": 60, "photos": 20}
GREY = {"name": "every patch grey", "params": 0, "seconds": 0.0, "val_loss": 1.0}  # of targets with deviation 1
FREE = ("epochs", "max_steps", "lr", "device", "threads")


@dataclass
class Config(TrainConfig):
    """The flags of pretrain."""

    task: Literal["mae", "photos"] = "mae"
    """`mae`: paint the hidden patches of radiographs; `photos`: name photographs."""
    data: str = "sample"
    """`sample` (mae: the bundled radiographs; photos: the bundled photographs of CIFAR-10), or as train's --data. mae
    reads no labels."""
    patch: Count = 8
    """Pixels, height and width of a patch."""
    width: Count = 64
    """Numbers of a token. Lower it (or --batch-size) when memory runs out."""
    depth: Count = 4
    """Blocks."""
    heads: Count = 4
    """Heads of attention in each block; they share the width."""
    side: Annotated[int, Ge(8), Le(1024)] = 64
    """Pictures are brought to so many pixels in height and width. Give train the same --side and --patch."""
    pool: Literal["cls", "mean"] = "mean"
    """What the head sees: the CLS token, or the mean of the patches' tokens. For photos."""
    hidden: Annotated[float, Ge(0.1), Le(0.95)] = 0.75
    """The share of the patches that is hidden. Less: easier, and slower. For mae."""
    decoder_width: Count = 48
    """Numbers of a token in the decoder, which is thrown away. For mae."""
    lr: Positive = 1e-3
    """The largest step."""
    augment: NonNegative = 0.3
    """How strongly pictures are turned, moved, resized and exposed otherwise; of photographs half are mirrored, too."""
    smoothing: Annotated[float, Ge(0), Le(0.5)] = 0.1
    """So much of the truth is shared out among all classes. For photos."""
    batch_size: Count = 50
    """Pictures a step."""
    epochs: Natural = 0
    """How often each picture is seen (0: 60 times for mae, 20 for photos)."""
    max_steps: Natural = 0
    """Stop after so many steps (0: at the end of the epochs)."""
    threads: Natural = 0
    """CPU threads (0: as many as torch takes)."""


PRESETS = {
    "smoke": {"width": 16, "depth": 2, "heads": 2, "decoder_width": 16, "epochs": 1, "max_steps": 20},
    "quick": {},
    "full": {"width": 192, "depth": 6, "heads": 3, "decoder_width": 96, "epochs": 300},
}


def as_train(cfg: Config) -> train.Config:
    """The flags under which train.py's loop names photographs, and its network is built."""
    known = {field.name for field in fields(train.Config)}
    return train.Config(**{name: value for name, value in asdict(cfg).items() if name in known}, mirror=True)


def paint(
    cfg: Config, pictures: data.Data, model: MaskedAutoencoder, device: Device, run: runs.Run
) -> Iterator[runs.Row]:
    """Masked autoencoding. Yields {epoch, step, train_loss, val_loss, seconds} an epoch."""
    model.to(device.name)
    images, _ = data.tensors(pictures.train, device.name)
    mean, std = (torch.from_numpy(numbers).to(device.name) for numbers in pictures.mean_std)
    size, patches = min(cfg.batch_size, len(images)), model.pos_embed.shape[1] - 1
    per_epoch = len(images) // size
    steps = cfg.max_steps or cfg.epochs * per_epoch
    optimizer = torch.optim.AdamW(model.parameters(), cfg.lr, betas=(0.9, 0.95), weight_decay=0.05)
    parts = {"model": model, "optimizer": optimizer}
    with Loop(cfg, run, steps, per_epoch, f"Try --lr {cfg.lr / 10:g}.", PROGRAM, **parts) as loop:
        for epoch in loop.epochs():
            model.train()
            order = torch.from_numpy(np.random.default_rng([cfg.seed, epoch]).permutation(len(images)))
            for rows in loop.batches(order.to(device.name).split(size)):
                for group in optimizer.param_groups:
                    group["lr"] = cfg.lr * train.learning_rate(loop.step, steps, 0.1)
                inputs = data.centred(augmented(images[rows].float() / 255, cfg.augment), mean, std)
                visible = draw_visible(size, patches, cfg.hidden).to(device.name)
                optimizer.zero_grad()
                with autocast(device):
                    loss = model.loss(inputs, visible)
                loss.backward()
                optimizer.step()
                loop.add(loss)
            yield loop.row(loss=painted_loss(cfg, pictures, model, device))


@torch.no_grad()
def painted_loss(cfg: Config, pictures: data.Data, model: MaskedAutoencoder, device: Device) -> float:
    """The loss on val, with the same patches hidden at every epoch."""
    model.eval()
    images, _ = data.tensors(pictures.val, device.name)
    mean, std = (torch.from_numpy(numbers).to(device.name) for numbers in pictures.mean_std)
    visible = draw_visible(len(images), model.pos_embed.shape[1] - 1, cfg.hidden, torch.Generator().manual_seed(0))
    total = 0.0
    for rows in torch.arange(len(images)).split(250):
        loss = model.loss(data.normalise(images[rows], mean, std), visible[rows].to(device.name))
        total += loss.item() * len(rows)
    return total / len(images)


def draw(path: Path, cfg: Config, pictures: data.Data, model: MaskedAutoencoder, device: Device) -> None:
    """Some of val: what the encoder was shown, what was painted, and what was there."""
    shown = pictures.val.take(np.arange(min(6, len(pictures.val))))
    images, _ = data.tensors(shown, device.name)
    mean, std = (torch.from_numpy(numbers).to(device.name) for numbers in pictures.mean_std)
    inputs = data.normalise(images, mean, std)
    visible = draw_visible(len(images), model.pos_embed.shape[1] - 1, cfg.hidden, torch.Generator().manual_seed(0))
    rows = (*pasted(model.eval(), inputs, visible.to(device.name)), inputs)
    words = ("shown", "painted", "was there")
    with plots.figure(path, rows=3, columns=len(images), size=(1.3 * len(images) + 0.8, 4.4)) as (_, axes):
        for line, (word, made) in enumerate(zip(words, rows, strict=True)):
            bytes_ = ((made.cpu() * std.cpu()[:, None, None] + mean.cpu()[:, None, None]) * 255).clamp(0, 255)
            for axis, picture in zip(axes[line], bytes_.byte().permute(0, 2, 3, 1).numpy(), strict=True):
                plots.images(axis, picture, word if axis is axes[line][0] else "")


def main(cfg: Config) -> dict[str, Any]:
    """Pretrains a vision transformer, and keeps it for train's --start.

    Returns what result.json holds; the run folder is under the key "run".
    """
    device, photos = choose(cfg.device), cfg.task == "photos"
    cfg = replace(cfg, epochs=cfg.epochs or EPOCHS[cfg.task])
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    bundled = photos and cfg.data == "sample"
    pictures = (data.load_photographs if bundled else partial(data.load, cfg.data))(side=cfg.side)
    pictures = pictures.to_train_on() if photos else pictures  # a class without a picture is no harm to mae
    flags = as_train(cfg)
    vit: ViT = train.build(flags, len(pictures.classes) if photos else 0)
    model = vit if photos else MaskedAutoencoder(vit, cfg.decoder_width)
    run = runs.begin(WEEK_NUMBER, cfg, FREE, PROGRAM)
    if (run.folder / "result.json").is_file():
        raise run.finished("start a new run.")
    run.hold_to(pictures)
    runs.describe(pictures, "photographs" if photos else "pictures")
    print(f"device: {device}. {count_parameters(vit):,} parameters, {flops(vit.config) / 1e6:.1f} MFLOPs an image")
    naming = partial(train.fit, flags, pictures, vit, device, run, PROGRAM)
    with run.log() as log:
        for row in naming() if photos else paint(cfg, pictures, model, device, run):
            log(row)
    last = run.rows[-1]
    metrics, metric = {k: v for k, v in last.items() if k.startswith("val_")}, "val_accuracy" if photos else "val_loss"
    constant = runs.constant_answer(pictures.val.labels) if photos else GREY
    result = run.record(metrics, device, count_parameters(vit), last["seconds"], [constant])
    mean, std = pictures.mean_std
    save(run.folder / PRETRAINED, {"vit": asdict(vit.config), "model": vit.state_dict(), "mean": mean, "std": std})
    plots.curves(run.folder / "curves.png", run.rows, metric)
    runs.print_table(result, metric)
    if not photos:
        draw(run.folder / "painted.png", cfg, pictures, model, device)
        print(f"\npicture: {run.folder / 'painted.png'}")
    print(f"\nrun folder: {run.folder}\nfine-tune it: ./course train 13 --start {run.folder}")
    return result | {"run": str(run.folder)}


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
