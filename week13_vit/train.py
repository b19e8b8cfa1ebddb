"""Fine-tunes a vision transformer: `./course train 13`, or `python -m week13_vit.train --help`.

References
    A. Kumar et al., "Fine-tuning can distort pretrained features and underperform out-of-distribution",
        arXiv:2202.10054: a linear probe first, then all
    K. Clark et al., "ELECTRA", arXiv:2003.10555, and H. Bao et al., "BEiT", arXiv:2106.08254: layer-wise lr decay
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week13_vit/train.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from jaxtyping import Float
from torch import Tensor, nn

from shared import cli, runs
from shared.config import Count, Natural, NonNegative, Positive, Share, TrainConfig
from shared.device import Device, autocast, choose
from shared.loop import Loop
from shared.seed import seed_everything
from week13_vit import baselines, data, measures, weights
from week13_vit.augment import augmented
from week13_vit.model import ViT, ViTConfig, count_parameters, flops

WEEK_NUMBER = 13
NO_DEVICE = "This is a lesson, not a medical device: nothing it says is a diagnosis."


@dataclass
class Config(TrainConfig):
    """The flags of week 13."""

    data: str = "sample"
    """`sample` (bundled, synthetic), `pneumoniamnist`, `eurosat` (downloaded once), or a path: an .npz, or a folder of
    class folders, as Kermany's chest_xray."""
    start: str = "scratch"
    """`scratch` (weights drawn by the seed), or the folder or file of a checkpoint: a run of pretrain, or a ViT of
    transformers, torchvision or timm. Then its shape counts, and the next four flags are passed over."""
    patch: Count = 8
    """Pixels, height and width of a patch. Half the patch: four times the tokens, and the time."""
    width: Count = 64
    """Numbers of a token. Lower it (or --batch-size) when memory runs out."""
    depth: Count = 4
    """Blocks."""
    heads: Count = 4
    """Heads of attention in each block; they share the width."""
    side: Annotated[int, Ge(8), Le(1024)] = 64
    """Pictures are brought to so many pixels in height and width; a multiple of the patch."""
    pool: Literal["cls", "mean"] = "mean"
    """What the head sees: the CLS token, or the mean of the patches' tokens."""
    probe: bool = True
    """First trains the head alone, on features that stay as they are, so that random gradients distort nothing.
    From scratch there is nothing to distort, and it is passed over."""
    lr: Positive = 1e-3
    """The largest step, of the head. For a pretrained network less: 5e-4."""
    layer_decay: Annotated[float, Gt(0), Le(1)] = 1.0
    """Each block from above learns so much more slowly than the one over it: 0.75 keeps what a pretrained network knows
    of edges; 1 treats all alike."""
    weight_decay: NonNegative = 0.1
    """Pulls weight matrices towards zero; biases, norms, CLS and positions are left alone."""
    warmup: Share = 0.1
    """The share of all steps in which the rate grows to --lr; then it falls to zero as a cosine."""
    drop_path: Share = 0.0
    """So many images pass by the last block in training, fewer the blocks before it."""
    smoothing: Share = 0.0
    """So much of the truth is shared out among all classes. More: less sure, often better calibrated."""
    balance: bool = True
    """Weighs each class by the inverse of how often it occurs, so that the rare one counts as much."""
    augment: NonNegative = 0.0
    """How strongly pictures are turned, moved, resized and exposed otherwise; 0: not at all. More: learns
    later, and less by heart; give it more --epochs."""
    mirror: bool = False
    """Shows half of the pictures mirrored. Not for chests, where the heart lies on one side; for EuroSAT it helps."""
    examples: Natural = 0
    """Train on so many, drawn by the seed; 0: on all."""
    batch_size: Count = 50
    """Pictures a step. Smaller: noisier, more steps an epoch."""
    epochs: Count = 20
    """How often each picture is seen."""
    max_steps: Natural = 0
    """Stop after so many steps (0: at the end of the epochs). The schedule is fitted to it."""
    threads: Natural = 0
    """CPU threads (0: as many as torch takes). With another number results differ in the last digits."""


PRESETS = {
    "smoke": {"side": 32, "width": 32, "depth": 2, "heads": 2, "lr": 3e-3, "epochs": 10},
    "quick": {},
    "full": {"data": "pneumoniamnist", "side": 28, "patch": 4, "batch_size": 64, "augment": 1.0, "drop_path": 0.1},
}
# What --resume may change: how long and in what steps it goes on, and where it computes.
FREE = ("epochs", "max_steps", "lr", "device", "threads")


def build(cfg: Config, classes: int) -> ViT:
    """The network to begin with: drawn from the seed, or a published one with a new head."""
    seed_everything(cfg.seed)
    if cfg.start != "scratch":
        found = weights.load_pretrained(cfg.start)
        return weights.with_head(found, classes, pool=cfg.pool, drop_path=cfg.drop_path)
    shape = ViTConfig(
        side=cfg.side, patch=cfg.patch, width=cfg.width, depth=cfg.depth, heads=cfg.heads, mlp_width=4 * cfg.width,
        classes=classes, pool=cfg.pool, drop_path=cfg.drop_path,
    )  # fmt: skip
    return ViT(shape)


def layer_of(name: str, depth: int) -> int:
    """0 for what makes the tokens, 1 … depth for the blocks, depth + 1 for the last norm and the head."""
    if name.startswith("blocks."):
        return int(name.split(".")[1]) + 1
    return 0 if name.startswith(("patch_embed", "cls_token", "pos_embed")) else depth + 1


def make_optimizer(cfg: Config, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW, a group of parameters for each layer and kind: `scale` says what share of the learning rate it gets."""
    depth = len(getattr(model, "blocks", ()))
    groups: dict[tuple[int, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        decays = parameter.ndim > 1 and name not in ("cls_token", "pos_embed")
        groups.setdefault((layer_of(name, depth), decays), []).append(parameter)
    return torch.optim.AdamW([
        {"params": params, "scale": cfg.layer_decay ** (depth + 1 - layer) if depth else 1.0,
         "weight_decay": cfg.weight_decay * decays}
        for (layer, decays), params in groups.items()
    ], cfg.lr)  # fmt: skip


def learning_rate(step: int, steps: int, warmup: float) -> float:
    """What share of --lr step number `step` of `steps` is to have: up in a line, then down as a cosine."""
    progress = (step + 1) / (steps + 1)
    if progress < warmup:
        return progress / warmup
    return (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of the next step, for each group its share."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["scale"]


def class_weights(cfg: Config, part: data.Part, classes: int) -> Float[Tensor, " classes"]:
    """What each class counts in the loss: with --balance as much as the others, however few its pictures are."""
    counts = np.bincount(part.labels, minlength=classes).clip(1)
    found = counts.sum() / (classes * counts) if cfg.balance else np.ones(classes)
    return torch.from_numpy(found.astype(np.float32))


def fit(
    cfg: Config, pictures: data.Data, model: nn.Module, device: Device, run: runs.Run | None = None,
    label: str = "training",
) -> Iterator[runs.Row]:  # fmt: skip
    """The training loop. Yields {epoch, step, train_loss, val_loss, val_auroc, val_accuracy, seconds} an epoch.

    Args:
        cfg: how to train.
        pictures: trained on pictures.train, and looked at on pictures.val after every epoch.
        model: changed in place, and moved to the device.
        device: what to compute on.
        run: where the state is kept, and which is gone on with; None keeps nothing.
        label: of the progress bar.

    Raises:
        Diverged: the loss is no longer a number.
        Stopped: Ctrl-C was pressed; the state is saved.
    """
    model.to(device.name)
    images, labels = data.tensors(pictures.train, device.name)
    mean, std = (torch.from_numpy(numbers).to(device.name) for numbers in pictures.mean_std)
    weight = class_weights(cfg, pictures.train, len(pictures.classes)).to(device.name)
    size = min(cfg.batch_size, len(labels))
    per_epoch = len(labels) // size  # what is left over is dropped: the order changes, so each picture gets its turn
    steps = cfg.max_steps or cfg.epochs * per_epoch
    optimizer = make_optimizer(cfg, model)
    scaler = torch.amp.GradScaler(device.name, init_scale=2.0**12, enabled=device.dtype == "float16")

    # A Loop only keeps count: it restores and saves these three, passes over what is done, and hears Ctrl-C.
    parts = {"model": model, "optimizer": optimizer, "scaler": scaler}
    with Loop(cfg, run, steps, per_epoch, f"Try --lr {cfg.lr / 10:g}.", label, **parts) as loop:
        for epoch in loop.epochs():
            model.train()
            order = torch.from_numpy(np.random.default_rng([cfg.seed, epoch]).permutation(len(labels)))
            for rows in loop.batches(order.to(device.name).split(size)):
                set_lr(optimizer, cfg.lr * learning_rate(loop.step, steps, cfg.warmup))
                seen = augmented(images[rows].float() / 255, cfg.augment, cfg.mirror)  # (size, C, H, W)
                inputs = data.centred(seen, mean, std)
                optimizer.zero_grad()
                with autocast(device):
                    loss = F.cross_entropy(model(inputs), labels[rows], weight, label_smoothing=cfg.smoothing)
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                scaler.step(optimizer)
                scaler.update()
                loop.add(loss)
            yield loop.row(**evaluate(model, pictures.val, pictures.mean_std, device))


@torch.no_grad()
def outputs(
    model: Callable[[Tensor], Tensor],
    part: data.Part,
    mean_std: tuple[np.ndarray, np.ndarray],
    device: Device,
    size: int = 250,
) -> Float[Tensor, "N numbers"]:
    """What a network (or a part of it: model.features) gives for all pictures of a part, on the CPU; in evaluation
    mode, in which a network is left."""
    if isinstance(model, nn.Module):
        model.to(device.name).eval()
    mean, std = (torch.from_numpy(numbers).to(device.name) for numbers in mean_std)
    rows = []
    for start in range(0, len(part), size):
        images, _ = data.tensors(part.take(np.arange(start, min(start + size, len(part)))), device.name)
        with autocast(device):
            rows.append(model(data.normalise(images, mean, std)).float().cpu())
    return torch.cat(rows)


def probabilities(
    model: nn.Module, part: data.Part, mean_std: tuple[np.ndarray, np.ndarray], device: Device
) -> Float[np.ndarray, "N classes"]:
    """The softmax of the logits."""
    return torch.softmax(outputs(model, part, mean_std, device), dim=1).numpy()


def evaluate(
    model: nn.Module, part: data.Part, mean_std: tuple[np.ndarray, np.ndarray], device: Device
) -> dict[str, float]:
    """Loss, AUROC and accuracy of the model on a part."""
    logits, labels = outputs(model, part, mean_std, device), torch.from_numpy(part.labels).long()
    probs = torch.softmax(logits, dim=1).numpy()
    return {
        "loss": F.cross_entropy(logits, labels).item(),
        "auroc": measures.mean_auroc(part.labels, probs),
        "accuracy": float((probs.argmax(axis=1) == part.labels).mean()),
    }


def linear_probe(cfg: Config, pictures: data.Data, model: ViT, device: Device) -> dict[str, Any]:
    """A head on features that stay as they are: {weight, bias} of it, and what it reaches on val.

    The features are made once, without augmentation, so it takes seconds: logistic regression by L-BFGS.
    """
    model.to(device.name).eval()
    parts = (pictures.train, pictures.val)
    features, held_out = (outputs(model.features, part, pictures.mean_std, device) for part in parts)
    labels = torch.from_numpy(pictures.train.labels).long()
    classes = len(pictures.classes)
    weight = class_weights(cfg, pictures.train, classes)
    centre, spread = features.mean(dim=0), features.std(dim=0) + 1e-6
    head = nn.Linear(features.shape[1], classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(head((features - centre) / spread), labels, weight) + 1e-3 * head.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        matrix = head.weight / spread  # the same head for features that nobody has centred
        bias = head.bias - matrix @ centre
        probs = torch.softmax(held_out @ matrix.T + bias, dim=1).numpy()
    return {"weight": matrix, "bias": bias, "val_auroc": measures.mean_auroc(pictures.val.labels, probs)}


def train_baselines(cfg: Config, pictures: data.Data, device: Device, cost: int) -> dict[str, Any]:
    """Logistic regression on the pixels and a CNN of `cost` FLOPs an image: what they reach, and are."""
    rows, models, classes = [], {}, len(pictures.classes)
    for name, recipe in baselines.RECIPES.items():
        plain = replace(cfg, start="scratch", layer_decay=1.0, **recipe)
        seed_everything(cfg.seed)
        model = baselines.build(name, pictures.side, classes, cost)
        kept = lambda model=model: {key: tensor.clone() for key, tensor in model.state_dict().items()}  # noqa: E731
        best, models[name] = runs.best_of(
            fit(plain, pictures, model, device, label=f"baseline: {name}"), kept, "val_auroc"
        )
        row = {"name": name, "params": count_parameters(model), "seconds": round(best["seconds"], 2)}
        rows.append(row | {key: best[key] for key in ("val_auroc", "val_accuracy", "val_loss")})
    constant = runs.constant_answer(pictures.val.labels) | {"val_auroc": 0.5}
    return {"rows": [*rows, constant], "models": models}


def main(cfg: Config) -> dict[str, Any]:
    """Trains a vision transformer on pictures and shows the result beside its baselines.

    Returns what result.json holds; the run folder is under the key "run".
    """
    device = choose(cfg.device)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    pictures = data.load(cfg.data, cfg.side).first(cfg.examples, cfg.seed).to_train_on()
    if cfg.start != "scratch":
        pictures = replace(pictures, given=weights.normalisation(cfg.start))
        data.check_part(pictures.train, *pictures.mean_std)
    model = build(cfg, len(pictures.classes))
    run = runs.begin(WEEK_NUMBER, cfg, FREE)
    run.hold_to(pictures)
    params, cost = count_parameters(model), flops(model.config)
    runs.describe(pictures)
    print(f"{NO_DEVICE}\ndevice: {device}")
    shape = model.config
    print(f"{cfg.side // shape.patch} x {cfg.side // shape.patch} patches of {shape.patch} x {shape.patch} pixels, "
          f"{shape.depth} blocks of width {shape.width}: {params:,} parameters, {cost / 1e6:.1f} MFLOPs")  # fmt: skip
    theirs = run.once("baselines", lambda: train_baselines(cfg, pictures, device, cost))
    if cfg.probe and cfg.start != "scratch":
        probe = run.once("probe", lambda: linear_probe(cfg, pictures, model, device))
        print(f"linear probe: val AUROC {probe['val_auroc']:.4f}; now all of it")
        with torch.no_grad():
            model.head.weight.copy_(probe["weight"])
            model.head.bias.copy_(probe["bias"])
    mean, std = pictures.mean_std
    info = {"classes": pictures.classes, "side": pictures.side, "mean": mean, "std": std, "vit": asdict(model.config)}
    best, last = run.follow(
        fit(cfg, pictures, model, device, run),
        lambda: info | {"model": model.state_dict(), "threshold": threshold(model, pictures, device)},
        "val_auroc",
    )
    synthetic = {"synthetic": True} if pictures.synthetic else {}
    return run.finish(best, last, device, params, theirs["rows"], "Try more --epochs.", flops=cost, **synthetic)


def threshold(model: nn.Module, pictures: data.Data, device: Device) -> float:
    """From which probability on the second class is said: chosen on val. Of more than two classes the likeliest is."""
    probs = probabilities(model, pictures.val, pictures.mean_std, device)
    return measures.best_threshold(pictures.val.labels, probs[:, 1]) if probs.shape[1] == 2 else 0.5


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS, week=WEEK_NUMBER)
