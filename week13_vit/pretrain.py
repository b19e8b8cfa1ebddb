"""Pretrains a vision transformer on photographs: `./course run 13 pretrain`; fine-tune it by `--start RUN`.

A transformer knows nothing of pictures when it begins: not that neighbours belong together, nor that a cat is a cat
wherever it sits. It has to see that in examples, so few X-rays are too few (section 4.3 of arXiv:2010.11929). Here it
learns to name the 4,000 photographs of CIFAR-10 that are bundled, and then X-rays with another head.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week13_vit/pretrain.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from shared import cli, runs
from shared.checkpoint import save
from shared.config import Count, Natural, NonNegative, Positive, TrainConfig
from shared.device import choose
from shared.plots import curves
from week13_vit import data, train
from week13_vit.model import count_parameters, flops
from week13_vit.weights import PRETRAINED

WEEK_NUMBER = 13
PROGRAM = "pretrain"
FREE = ("epochs", "max_steps", "lr", "device", "threads")


@dataclass
class Config(TrainConfig):
    """The flags of pretrain."""

    data: str = "sample"
    """`sample` (the bundled photographs of CIFAR-10), or a path: an .npz with images and labels, or a folder of class
    folders."""
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
    """What the head sees: the CLS token, or the mean of the patches' tokens."""
    lr: Positive = 1e-3
    """The largest step."""
    augment: NonNegative = 0.7
    """How strongly pictures are turned, moved, resized and exposed otherwise; half of them are mirrored, too."""
    smoothing: Annotated[float, Ge(0), Le(0.5)] = 0.1
    """So much of the truth is shared out among all classes."""
    batch_size: Count = 50
    """Pictures a step."""
    epochs: Count = 20
    """How often each picture is seen."""
    max_steps: Natural = 0
    """Stop after so many steps (0: at the end of the epochs)."""
    threads: Natural = 0
    """CPU threads (0: as many as torch takes)."""


PRESETS = {
    "smoke": {"width": 16, "depth": 2, "heads": 2, "epochs": 1, "max_steps": 20},
    "quick": {},
    "full": {"width": 192, "depth": 6, "heads": 3, "epochs": 100},
}


def as_train(cfg: Config) -> train.Config:
    """The flags under which train.py's loop does it."""
    known = {field.name for field in fields(train.Config)}
    return train.Config(**{name: value for name, value in asdict(cfg).items() if name in known}, mirror=True)


def main(cfg: Config) -> dict[str, Any]:
    """Trains a vision transformer to name photographs, and keeps it for train's --start.

    Returns what result.json holds; the run folder is under the key "run".
    """
    import torch

    device = choose(cfg.device)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    photos = (data.load_photographs(cfg.side) if cfg.data == "sample" else data.load(cfg.data, cfg.side)).to_train_on()
    flags = as_train(cfg)
    model = train.build(flags, len(photos.classes))
    run = runs.begin(WEEK_NUMBER, cfg, FREE, PROGRAM)
    if (run.folder / "result.json").is_file():
        raise run.finished("start a new run.")
    run.hold_to(photos)
    runs.describe(photos, "photographs")
    print(f"device: {device}. {count_parameters(model):,} parameters, {flops(model.config) / 1e6:.1f} MFLOPs an image")
    with run.log() as log:
        for row in train.fit(flags, photos, model, device, run, PROGRAM):
            log(row)
    last, vit = run.rows[-1], {"vit": asdict(model.config), "model": model.state_dict()}
    metrics = {name: last[name] for name in ("val_accuracy", "val_auroc", "val_loss")}
    baselines = [runs.constant_answer(photos.val.labels)]
    result = run.record(metrics, device, count_parameters(model), last["seconds"], baselines)
    save(run.folder / PRETRAINED, vit)
    curves(run.folder / "curves.png", run.rows)
    runs.print_table(result, "val_accuracy")
    print(f"\nrun folder: {run.folder}\nfine-tune it: ./course train 13 --start {run.folder}")
    return result | {"run": str(run.folder)}


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
