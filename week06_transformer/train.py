"""Trains the Transformer: `./course train 6`, or `python -m week06_transformer.train --help`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week06_transformer/train.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import math
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Le
from jaxtyping import Float, Int
from torch import Tensor, nn

from shared import cli, runs, sentence_pairs
from shared.config import Count, Natural, NonNegative, Positive, Share, TrainConfig
from shared.device import Device, autocast, choose
from shared.loop import Loop
from shared.seed import seed_everything
from shared.sentence_pairs import PAD, Pairs, Part, batch_rows, padded
from shared.terminal import mine
from week06_transformer import baselines, data, generate
from week06_transformer.model import Transformer, TransformerConfig, count_parameters

WEEK_NUMBER = 6


@dataclass
class Config(TrainConfig):
    """The flags of week 6."""

    data: str = data.SYNTHETIC
    """`synthetic`: strings made here. With --task translate: `sample` (bundled, the default then), `anki` (downloaded
    once), or a tab-separated file of your own."""
    task: Literal["copy", "reverse", "sort", "add", "translate"] = "reverse"
    """What to learn: to copy, reverse or sort strings, to add two numbers, or to translate."""
    examples: Annotated[int, Ge(20)] = 60_000
    """How many strings to train on. Fewer: it begins to learn them by heart."""
    longest: Annotated[int, Ge(3), Le(64)] = 12
    """Letters of the longest string, or digits of the longest number."""
    most_words: Count = 12
    """Sentences with more words are left out (translate)."""
    vocab: Annotated[int, Ge(5)] = 8000
    """How many words of each language are known (translate); the others are <unk>."""
    d_model: Count = 64
    """The length of a token's vector. Twice as long: four times the weights. Lower it, or --batch-size, when memory
    runs out."""
    heads: Count = 4
    """How many attentions side by side; --d-model must be divisible by it."""
    layers: Count = 2
    """Blocks of the encoder, and of the decoder."""
    d_ff: Count = 256
    """The width inside of the feed-forward layers; as a rule four times --d-model."""
    dropout: Share = 0.0
    """The share of numbers silenced at random in training. Helps where training goes on for long, as in translation."""
    norm: Literal["pre", "post"] = "pre"
    """pre: as today, x + f(norm(x)). post: as in the paper, norm(x + f(x)), which needs its warm-up."""
    rms: bool = False
    """RMSNorm in place of LayerNorm."""
    positions: Literal["sinusoidal", "learned", "rope", "none"] = "sinusoidal"
    """How a token knows where it stands; with none the encoder sees a bag of tokens."""
    max_len: Count = 256
    """How many learned positions there are."""
    lr: Positive = 0.003
    """The largest step, at the end of the warm-up (paper: d_model^-0.5 warmup^-0.5). Too large: the loss jumps."""
    warmup: Natural = 300
    """Steps until the rate has grown to --lr; 0: it starts there."""
    schedule: Literal["linear", "paper", "constant"] = "linear"
    """After the warm-up: down to zero in a line, with the square root of the step (equation 3), or constant."""
    label_smoothing: Share = 0.0
    """So much of the truth is spread over all words, none of it on padding (paper: 0.1)."""
    clip: NonNegative = 1.0
    """Longest gradient, as the norm over all parameters; longer ones are shortened. 0: none."""
    batch_size: Count = 64
    """Examples per step."""
    epochs: Count = 6
    """How often each example is seen."""
    max_steps: Natural = 0
    """Stop after so many steps (0: at the end of the epochs). The schedule is fitted to it."""
    peer: bool = True
    """Also trains the GRU without attention, to compare with. --no-peer: sooner done."""
    threads: Natural = 0
    """CPU threads (0: as many as torch takes). With another number results differ in the last digits."""


TRANSLATE = {
    "task": "translate", "d_model": 128, "d_ff": 512, "dropout": 0.2, "label_smoothing": 0.1, "schedule": "paper",
    "warmup": 400,
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"examples": 1000, "longest": 4, "d_model": 32, "heads": 2, "layers": 1, "d_ff": 64, "vocab": 1000,
              "epochs": 8, "batch_size": 32, "warmup": 30, "lr": 0.01},
    "quick": {},
    "add": {"task": "add", "examples": 40_000, "longest": 5},
    "translate": TRANSLATE,
    "full": TRANSLATE | {
        "data": "anki", "most_words": 10, "d_model": 256, "heads": 8, "layers": 3, "d_ff": 1024, "epochs": 12,
    },
}  # fmt: skip
# What --resume may change: how long and in what steps it goes on, and where it computes.
FREE = ("epochs", "max_steps", "lr", "schedule", "clip", "device", "threads")
METRIC = {"translate": "bleu"}  # else the share of whole answers that are right


def metric(task: str) -> str:
    """The score by which the best epoch is chosen."""
    return METRIC.get(task, "exact")


def shape(cfg: Config, spell: data.Speller) -> TransformerConfig:
    """What the network of a config looks like."""
    same = {one.name for one in fields(TransformerConfig)} & {one.name for one in fields(cfg)}
    return TransformerConfig(*spell.sizes, **{name: getattr(cfg, name) for name in same})


def build(cfg: Config, spell: data.Speller) -> Transformer:
    """The network of a config, with weights drawn from its seed."""
    seed_everything(cfg.seed)
    return Transformer(shape(cfg, spell))


def learning_rate(step: int, steps: int, warmup: int, schedule: str) -> float:
    """What share of --lr step number `step` (from 0) of `steps` is to have.

    `paper` is equation (3) over its largest value: min(s^-0.5, s warmup^-1.5) / warmup^-0.5 for s = step + 1.
    """
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "paper":
        return math.sqrt(max(1, warmup) / (step + 1))
    return 1 - (step - warmup) / max(1, steps - warmup) if schedule == "linear" else 1.0


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of the next step, for all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def smoothed_cross_entropy(
    logits: Float[Tensor, "batch steps words"], target: Int[Tensor, "batch steps"], smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """The mean cross-entropy over all tokens but padding (section 5.4; Szegedy et al., arXiv:1512.00567, section 7).

    The truth is 1 - smoothing at the right token, and the rest is spread evenly over all words, PAD excepted: no token
    is to be taken for padding, not even a little.
    """
    log_probs = logits.float().log_softmax(dim=-1)
    right = log_probs.gather(2, target[:, :, None])[:, :, 0]  # (batch, steps)
    loss = -right
    if smoothing:
        others = (log_probs.sum(dim=2) - log_probs[:, :, PAD]) / (logits.shape[2] - 1)
        loss = -(1 - smoothing) * right - smoothing * others
    return loss[target != PAD].mean()


def tensors(some: data.Encoded, rows: Any, device: str) -> tuple[Int[Tensor, "batch keys"], Int[Tensor, "batch steps"]]:
    """Sources and targets of these rows, each padded to the longest of them."""
    sides = ([some.sources[row] for row in rows], [some.targets[row] for row in rows])
    source, target = (torch.from_numpy(padded(side)).to(device) for side in sides)
    return source, target


def fit(
    cfg: Config, train: data.Encoded, val: Part, spell: data.Speller, model: nn.Module, device: Device,
    run: runs.Run | None = None, label: str = "training",
) -> Iterator[runs.Row]:  # fmt: skip
    """The training loop. Yields {epoch, step, train_loss, val_loss, val_exact (or val_bleu), seconds} an epoch.

    Args:
        cfg: how to train.
        train, val: trained on the one, and looked at the other after every epoch.
        spell: its tokens.
        model: changed in place, and moved to the device.
        device: what to compute on.
        run: where the state is kept, and which is gone on with; None keeps nothing.
        label: of the progress bar.

    Raises:
        Diverged: the loss is no longer a number.
        Stopped: Ctrl-C was pressed; the state is saved.
    """
    model.to(device.name)
    optimizer = torch.optim.Adam(model.parameters(), cfg.lr, betas=(0.9, 0.98), eps=1e-9, fused=True)  # section 5.3
    # fp16 cannot hold small gradients, so there the loss is multiplied, and the gradients divided again. Else it rests.
    scaler = torch.amp.GradScaler(device.name, init_scale=2.0**12, enabled=device.dtype == "float16")
    per_epoch, lengths = math.ceil(len(train) / cfg.batch_size), train.lengths
    steps = cfg.max_steps or cfg.epochs * per_epoch

    # A Loop only keeps count: it restores and saves these three, passes over what is done, and hears Ctrl-C.
    parts = {"model": model, "optimizer": optimizer, "scaler": scaler}
    with Loop(cfg, run, steps, per_epoch, too_large(cfg), label, **parts) as loop:
        for epoch in loop.epochs():
            model.train()
            rng = np.random.default_rng([cfg.seed, epoch])
            for rows in loop.batches(batch_rows(lengths, cfg.batch_size, rng)):
                set_lr(optimizer, cfg.lr * learning_rate(loop.step, steps, cfg.warmup, cfg.schedule))
                source, target = tensors(train, rows, device.name)  # each target is BOS … EOS
                optimizer.zero_grad()
                with autocast(device):
                    logits = model(source, target[:, :-1])  # teacher forcing: at each step it is told the truth so far
                loss = smoothed_cross_entropy(logits, target[:, 1:], cfg.label_smoothing)
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                if cfg.clip:
                    nn.utils.clip_grad_norm_(model.parameters(), cfg.clip)
                scaler.step(optimizer)
                scaler.update()
                loop.add(loss)
            yield loop.row(**evaluate(model, val, spell, metric(cfg.task)))


def too_large(cfg: Config) -> str:
    """What to try where the steps were too large."""
    return f"Try --lr {min(cfg.lr / 3, 0.003):g}{'' if cfg.warmup else ', or --warmup 300'}."


def longest_answer(some: Part, spell: data.Speller) -> int:
    """How many tokens an answer may have: twice what the longest source has, and some more."""
    return 2 * max(len(spell.split(source)) for source in some.sources) + 5


@torch.no_grad()
def mean_loss(model: nn.Module, some: data.Encoded, size: int = 250) -> float:
    """The mean cross-entropy of each token of the first answers, in nats, by teacher forcing."""
    device = next(model.parameters()).device.type
    model.eval()
    total = count = 0
    for rows in batch_rows(some.lengths, size, None):
        source, target = tensors(some, rows, device)
        tokens = int((target[:, 1:] != PAD).sum())
        total += smoothed_cross_entropy(model(source, target[:, :-1]), target[:, 1:]).item() * tokens
        count += tokens
    return total / count


def evaluate(
    model: nn.Module, some: Part, spell: data.Speller, name: str = "exact", width: int = 1
) -> dict[str, float]:
    """Loss, and how many whole answers are right: written token by token, with nothing told. For translation BLEU, too.

    Returns:
        {loss, NAME: the score that decides, and for `bleu` also chrf and exact}.
    """
    encoded = data.encode(some, spell, every=False)
    written = generate.answers(model, encoded.sources, spell, longest_answer(some, spell), width)
    return {"loss": mean_loss(model, encoded)} | scores(written, some, name)


def scores(written: list[str], some: Part, name: str) -> dict[str, float]:
    """What answers are worth."""
    if name == "bleu":
        from shared import translation_scores

        return translation_scores.scores(written, some.references)
    right = sum(text in texts for text, texts in zip(written, some.references, strict=True))
    return {"exact": right / len(some)}


def constant_answer(pairs: Pairs, some: Part, name: str) -> tuple[str, dict[str, float]]:
    """The commonest answer of train, and what it is worth as the answer to everything."""
    commonest, _ = Counter(text for texts in pairs.train.references for text in texts).most_common(1)[0]
    return commonest, scores([commonest] * len(some), some, name)


def train_baselines(cfg: Config, pairs: Pairs, train: data.Encoded, spell: data.Speller, device: Device, params: int):
    """A GRU without attention, trained by the same loop on as many parameters, and the commonest answer, always."""
    name, rows, models = f"val_{metric(cfg.task)}", [], {}
    if cfg.peer:
        seed_everything(cfg.seed)
        model = baselines.as_large(params, *spell.sizes, cfg.d_model, cfg.dropout)
        training = fit(cfg, train, pairs.val, spell, model, device, label=f"baseline: {baselines.NAME}")
        best, models[baselines.NAME] = runs.best_of(training, lambda: deepcopy(model.state_dict()), name)
        rows.append(runs.baseline(baselines.NAME, count_parameters(model), best) | {name: best[name]})
    _, worth = constant_answer(pairs, pairs.val, metric(cfg.task))
    rows.append({"name": "always the same answer", "params": 0, "seconds": 0.0, name: worth[metric(cfg.task)]})
    return {"rows": rows, "models": models}


def main(cfg: Config) -> dict[str, Any]:
    """Trains a Transformer from scratch and shows the result beside its baselines.

    Returns what result.json holds; the run folder is under the key "run".
    """
    if cfg.task == "translate" and cfg.data == data.SYNTHETIC:
        cfg = replace(cfg, data="sample")
    device = choose(cfg.device)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    pairs = data.load(cfg.task, cfg.data, cfg.examples, cfg.longest, cfg.most_words)
    spell = data.speller(cfg.task, pairs.train, cfg.vocab)
    model = build(cfg, spell)
    run = runs.begin(WEEK_NUMBER, cfg, FREE)
    run.hold_to(pairs)
    sentence_pairs.save_vocabularies(run.folder / "vocabulary.json", spell.source, spell.target)
    train, params = data.encode(pairs.train, spell), count_parameters(model)
    words = [len(spell.source), len(spell.target)]
    runs.describe(pairs, "sentences" if cfg.task == "translate" else "strings")
    print(f"network: {cfg.layers} + {cfg.layers} blocks, d_model {cfg.d_model}, {cfg.heads} heads, {cfg.norm}-norm, "
          f"positions: {cfg.positions}; {params:,} parameters. Device: {device}")  # fmt: skip
    theirs = run.once("baselines", lambda: train_baselines(cfg, pairs, train, spell, device, params))
    best, last = run.follow(
        fit(cfg, train, pairs.val, spell, model, device, run), lambda: {"words": words, "model": model.state_dict()},
        f"val_{metric(cfg.task)}",
    )  # fmt: skip
    advice = "Try another --lr, more --epochs, or more --examples."
    about = {} if cfg.task == "translate" else {"data": f"{cfg.task} ({data.SYNTHETIC})", "synthetic": True}
    example = {"add": "58+67", "translate": '"open the file"'}.get(cfg.task, "transformer")
    hint = f"write to it yourself: ./course run 6 answer{mine()}{{run}} {example}"
    return run.finish(best, last, device, params, theirs["rows"], advice, [hint], **about, task=cfg.task)


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS, week=WEEK_NUMBER)
