"""Fine-tunes a published BERT to find answers or names: `./course train 7`, or `python -m week07_bert.train --help`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week07_bert/train.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor, nn

from shared import cli, runs
from shared.config import Count, Natural, NonNegative, Positive, Share, TrainConfig
from shared.device import Device, autocast, choose
from shared.errors import CourseError
from shared.loop import Loop
from shared.seed import seed_everything
from shared.sentence_pairs import batch_rows
from shared.splits import Part, Splits
from shared.terminal import mine
from week07_bert import baselines, data, encoders, qa, tagging
from week07_bert.model import Bert, SpanHead, TokenHead
from week07_bert.tokenizer import WordPiece

WEEK_NUMBER = 7


@dataclass
class Config(TrainConfig):
    """The flags of week 7."""

    data: str = "sample"
    """`sample` (bundled), `squad`, `squad_v2`, `wnut17`, `conll2003` (downloaded once), or a path: a file or a folder
    in SQuAD's json, or in CoNLL's and WNUT's columns with --task ner."""
    task: Literal["qa", "ner"] = "qa"
    """qa: find the answer to a question in a passage. ner: find names and say of what kind they are."""
    model: str = "minilm"
    """The encoder to begin with: `minilm` (offline), `distilbert-base-uncased` or another of the hub, or the folder of
    any BERT or DistilBERT."""
    max_len: Annotated[int, Ge(16)] = 128
    """Tokens of a window, question and all. Longer: more context, and more time and memory. Lower it, or raise
    --accumulate, when memory runs out."""
    stride: Count = 64
    """Each window starts so many tokens behind the one before it (qa)."""
    empty: Share = 0.05
    """The share of windows without their answer that are trained on, too (qa)."""
    longest: Count = 30
    """Tokens of the longest answer that is looked for (qa)."""
    examples: Natural = 0
    """Train on so many, drawn by the seed; 0: on all."""
    most_val: Natural = 150
    """Choose the best epoch on so many of val, drawn once; 0: on all."""
    freeze: Natural = 2
    """So many layers from below, and the embeddings, stay as they are: faster, and less is forgotten. 0: all learn."""
    lr: Positive = 2e-4
    """The largest step, at the end of the warm-up. For larger encoders less: 3e-5 for DistilBERT."""
    warmup: Share = 0.1
    """The share of all steps in which the rate grows to --lr; then it falls to zero in a line."""
    weight_decay: NonNegative = 0.01
    """Pulls weight matrices towards zero; biases and norms are left alone."""
    clip: NonNegative = 1.0
    """Longest gradient, as the norm over all parameters; longer ones are shortened. 0: none."""
    batch_size: Count = 16
    """Windows per step."""
    accumulate: Count = 1
    """A batch is worked on in so many pieces, and their gradients are added: less memory, the same step."""
    bucket: bool = True
    """Windows of about the same length share a batch, so that little is padded."""
    epochs: Count = 2
    """How often each window is seen."""
    max_steps: Natural = 0
    """Stop after so many steps (0: at the end of the epochs). The schedule is fitted to it."""
    threads: Natural = 0
    """CPU threads (0: as many as torch takes). With another number results differ in the last digits."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"examples": 64, "most_val": 24, "max_len": 96, "stride": 48, "epochs": 2, "freeze": 4},
    "quick": {"examples": 1000},
    "ner": {"task": "ner", "freeze": 0, "lr": 3e-4, "epochs": 3},
    "full": {"data": "squad", "model": "distilbert-base-uncased", "max_len": 384, "stride": 128, "lr": 3e-5,
             "batch_size": 32, "freeze": 0, "most_val": 0},
}  # fmt: skip
# What --resume may change: how long and in what steps it goes on, and where it computes.
FREE = ("epochs", "max_steps", "lr", "clip", "accumulate", "device", "threads")


class Tuned(nn.Module):
    """An encoder and the head of a task."""

    def __init__(self, bert: Bert, head: nn.Module) -> None:
        super().__init__()
        self.bert, self.head = bert, head
        self.frozen: tuple[nn.Module, ...] = ()  # a tuple, which does not register them a second time

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor | None = None) -> Any:
        return self.head(self.bert(ids, mask, types))

    def train(self, mode: bool = True) -> "Tuned":
        """As of every module; but what is frozen goes without dropout, which would only blur what it sees."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self


def freeze(model: Tuned, layers: int) -> None:
    """Lets the embeddings and so many layers from below stay as they are; 0: nothing.

    Raises:
        CourseError: the encoder has not so many layers.
    """
    if layers > len(model.bert.layers):
        raise CourseError(f"--freeze {layers}: the encoder has {len(model.bert.layers)} layers.")
    if layers:
        model.frozen = (model.bert.embeddings, *model.bert.layers[:layers])
        for part in model.frozen:
            part.requires_grad_(False)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """What learns, in two groups: matrices and tables decay; biases and norms, which have one dimension, do not."""
    learns = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [one for one in learns if one.ndim > 1], "weight_decay": weight_decay},
        {"params": [one for one in learns if one.ndim == 1], "weight_decay": 0.0},
    ]


def learning_rate(step: int, steps: int, warmup: float) -> float:
    """What share of --lr step number `step` (from 0) of `steps` is to have: up in a line, then down in a line to 0."""
    rising = max(1, round(warmup * steps))
    return (step + 1) / rising if step < rising else max(0.0, (steps - step) / max(1, steps - rising + 1))


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of the next step, for all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def batches_of(lengths: np.ndarray, size: int, rng: np.random.Generator, bucket: bool) -> list[np.ndarray]:
    """Row numbers of each batch, of about the same length together, or as they come."""
    if bucket:
        return batch_rows(lengths, size, rng)
    order = rng.permutation(len(lengths))
    return [order[start : start + size] for start in range(0, len(order), size)]


def fit(
    cfg: Config, train: qa.Encoded | tagging.Encoded, val: qa.Encoded | tagging.Encoded, model: Tuned, device: Device,
    run: runs.Run | None = None, label: str = "fine-tuning",
) -> Iterator[runs.Row]:  # fmt: skip
    """The training loop. Yields {epoch, step, train_loss, val_loss, val_f1, …, seconds} after every epoch.

    Args:
        cfg: how to train.
        train, val: trained on the one, and looked at the other after every epoch.
        model: changed in place, and moved to the device.
        device: what to compute on.
        run: where the state is kept, and which is gone on with; None keeps nothing.
        label: of the progress bar.

    Raises:
        Diverged: the loss is no longer a number.
        Stopped: Ctrl-C was pressed; the state is saved.
    """
    model.to(device.name)
    freeze(model, cfg.freeze)
    optimizer = torch.optim.AdamW(parameter_groups(model, cfg.weight_decay), cfg.lr, fused=True)
    # fp16 cannot hold small gradients, so there the loss is multiplied, and the gradients divided again. Else it rests.
    scaler = torch.amp.GradScaler(device.name, init_scale=2.0**12, enabled=device.dtype == "float16")
    per_epoch = math.ceil(len(train) / cfg.batch_size)
    steps = cfg.max_steps or cfg.epochs * per_epoch
    advice = f"Try --lr {min(cfg.lr / 3, 5e-5):g}."

    # A Loop only keeps count: it restores and saves these three, passes over what is done, and hears Ctrl-C.
    with Loop(cfg, run, steps, per_epoch, advice, label, model=model, optimizer=optimizer, scaler=scaler) as loop:
        for epoch in loop.epochs():
            model.train()
            rng = np.random.default_rng([cfg.seed, epoch])
            for rows in loop.batches(batches_of(train.lengths, cfg.batch_size, rng, cfg.bucket)):
                set_lr(optimizer, cfg.lr * learning_rate(loop.step, steps, cfg.warmup))
                optimizer.zero_grad()
                total, many = 0.0, train.count(rows)
                for piece in np.array_split(rows, min(cfg.accumulate, len(rows))):
                    ids, mask, types = train.inputs(piece, device.name)
                    with autocast(device):
                        output = model(ids, mask, types)
                    loss = train.loss(output, mask, piece) / many  # of the whole batch, so that the pieces add up
                    scaler.scale(loss).backward()
                    total += loss.item()
                scaler.unscale_(optimizer)
                if cfg.clip:
                    nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], cfg.clip)
                scaler.step(optimizer)
                scaler.update()
                loop.add(total)
            yield loop.row(**evaluate(cfg, model, val))


def evaluate(cfg: Config, model: Tuned, some: qa.Encoded | tagging.Encoded) -> dict[str, float]:
    """Loss and scores."""
    return qa.evaluate(model, some, cfg.longest) if cfg.task == "qa" else tagging.evaluate(model, some)


def encode(cfg: Config, part: Part, tokenizer: WordPiece, tags: tuple[str, ...]) -> qa.Encoded | tagging.Encoded:
    """A part in windows of tokens."""
    if cfg.task == "qa":
        return qa.encode(part, tokenizer, cfg.max_len, cfg.stride)
    return tagging.encode(part, tokenizer, cfg.max_len, tags)


def with_head(bert: Bert, tags: tuple[str, ...], seed: int) -> Tuned:
    """The encoder with a new head, drawn from the seed: for spans, or for tags where there are any."""
    seed_everything(seed)
    return Tuned(bert, TokenHead(bert.config, len(tags)) if tags else SpanHead(bert.config))


def texts_of(cfg: Config) -> Splits:
    """What a config trains on."""
    return data.load(cfg.task, cfg.data).first(cfg.examples, cfg.seed, cfg.most_val)


def train_baselines(cfg: Config, texts: Splits) -> dict[str, Any]:
    """What the rules of baselines.py come to on val; the one that learns nothing comes last."""
    rows = [{"name": name, "params": 0, "seconds": 0.0, "val_f1": worth}
            for name, worth in baselines.scored(cfg.task, texts.train, texts.val).items()]  # fmt: skip
    rows[0]["params"] = baselines.params(cfg.task, texts.train)
    return {"rows": rows}


def main(cfg: Config) -> dict[str, Any]:
    """Fine-tunes a published encoder and shows the result beside its baselines.

    Returns what result.json holds; the run folder is under the key "run".
    """
    device = choose(cfg.device)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    if Path(cfg.model).expanduser().is_dir():  # a resume may be typed in another folder
        cfg = replace(cfg, model=str(Path(cfg.model).expanduser().absolute()))
    texts = texts_of(cfg)
    bert, tokenizer = encoders.load(cfg.model)
    if cfg.max_len > bert.config.max_positions:
        raise CourseError(f"--max-len {cfg.max_len}: this encoder takes at most {bert.config.max_positions} tokens.")
    tags = tagging.tags_of(texts.train) if cfg.task == "ner" else ()
    model = with_head(bert, tags, cfg.seed)
    freeze(model, cfg.freeze)  # refused before anything is made
    params = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    run = runs.begin(WEEK_NUMBER, cfg, FREE)
    run.hold_to(texts)
    tokenizer.save(run.folder / "vocab.txt")
    val = encode(cfg, texts.val, tokenizer, tags)
    train = encode(cfg, texts.train, tokenizer, tags)
    if cfg.task == "qa":
        train = qa.to_train(train, cfg.seed, cfg.empty)
    runs.describe(texts, data.THINGS[cfg.task])
    total = sum(parameter.numel() for parameter in model.parameters())
    print(f"encoder: {cfg.model}, {len(bert.layers)} layers, {bert.config.hidden_size} wide, {total:,} parameters, "
          f"{params:,} of them learn; {len(train):,} windows. Device: {device}")  # fmt: skip
    theirs = run.once("baselines", lambda: train_baselines(cfg, texts))
    about = {"bert": vars(bert.config), "tags": list(tags), "lowercase": tokenizer.lowercase}
    best, last = run.follow(
        fit(cfg, train, val, model, device, run), lambda: {**about, "model": model.state_dict()}, "val_f1"
    )
    advice = "Try another --lr, more --epochs, or --examples 0."
    hint = {
        "qa": f'ask it: ./course run 7 ask{mine()}{{run}} --text FILE "Who …?"',
        "ner": f'let it read: ./course run 7 ner{mine()}{{run}} "a text"',
    }[cfg.task]
    return run.finish(best, last, device, params, theirs["rows"], advice, [hint], task=cfg.task)


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS, week=WEEK_NUMBER)
