"""Trains the GPT: `./course train 8`, or `python -m week08_gpt.train --help`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week08_gpt/train.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge, Le
from torch import nn

from shared import cli, runs
from shared.config import Count, Natural, NonNegative, Positive, Share, TrainConfig
from shared.device import Device, autocast, choose
from shared.loop import Loop
from shared.seed import seed_everything
from shared.terminal import mine
from week08_gpt import data, ngram, tokenizer
from week08_gpt.corpus import Corpus, Part
from week08_gpt.distributed import Follower, World
from week08_gpt.model import GPT, GPTConfig, count_parameters, flops_per_token
from week08_gpt.muon import Muon
from week08_gpt.utilisation import peak_flops
from week08_gpt.windows import Windows, bits_per_byte, losses

WEEK_NUMBER = 8
METRIC = "val_bits_per_byte"


@dataclass
class Config(TrainConfig):
    """The flags of week 8."""

    data: str = "sample"
    """`sample` (bundled functions of Python's standard library), `github-code-clean` (downloaded, up to --max-tokens),
    a folder of .py files, or a text file."""
    tokenizer: Literal["bpe", "char"] = "bpe"
    """Tokens are learned pieces of words (bpe), or characters."""
    vocab: Annotated[int, Ge(257)] = 2048
    """How many tokens bpe learns. More: fewer tokens for the same text, but each is seen less often."""
    max_tokens: Count = 100_000_000
    """So many tokens are downloaded at most (github-code-clean)."""
    size: Annotated[int, Ge(1), Le(48)] = 3
    """The one dial: so many layers, heads of 64 numbers, 64 times as wide, and steps (--lr) that fit. 12 is GPT-2's
    smallest. Lower it, or --batch-size, when memory runs out."""
    llama: bool = True
    """Rotary positions, RMSNorm and SwiGLU, as Llama; --no-llama: learned positions, LayerNorm and GELU, as GPT-2."""
    kv_heads: Natural = 0
    """Heads of keys and values; fewer than --size make the cache smaller. 0: as many."""
    block_size: Annotated[int, Ge(2)] = 256
    """How many tokens it reads at most."""
    dropout: Share = 0.0
    """The share of numbers silenced at random in training. Helps where the same text is read many times."""
    optimizer: Literal["muon", "adamw"] = "muon"
    """muon for the matrices inside the blocks and adamw for the rest, or adamw for all, with a --lr of 0.003."""
    lr: Positive = 0.0045
    """AdamW's largest step at --size 4, 256 wide; others have it times 4 / size. Too large: the loss jumps."""
    muon_lr: Positive = 0.015
    """Muon's largest step, for any size."""
    schedule: Literal["linear", "cosine"] = "linear"
    """How the rate falls after the warm-up: in a line, or in half a cosine, which stays high for longer."""
    final_lr: Share = 0.0
    """The share of --lr that is left at the end."""
    warmup: Natural = 50
    """Steps until the rate has grown to --lr; 0: it starts there."""
    weight_decay: NonNegative = 0.01
    """Matrices are pulled towards zero by so much, times the rate; biases and norms are not."""
    clip: NonNegative = 1.0
    """Longest gradient, as the norm over all parameters; longer ones are shortened. 0: none."""
    batch_size: Count = 8
    """Windows that are computed at once."""
    accumulate: Count = 1
    """So many batches make one step: the gradients of a batch so many times as large, in the memory of one."""
    epochs: Count = 5
    """An epoch here is --steps-per-epoch steps, after which it looks at val."""
    steps_per_epoch: Count = 160
    """How many steps lie between two rows of the log."""
    max_steps: Natural = 0
    """Stop after so many steps (0: at the end of the epochs). The schedule is fitted to it."""
    val_tokens: Count = 200_000
    """At most so many tokens of val are looked at, here and by the baseline."""
    compile: bool = False
    """torch.compile: half a minute at the start, faster steps on a GPU."""
    threads: Natural = 0
    """CPU threads (0: as many as torch takes). With another number results differ in the last digits."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"vocab": 512, "size": 1, "block_size": 64, "batch_size": 8, "epochs": 3, "steps_per_epoch": 40,
              "warmup": 10, "val_tokens": 20_000},
    "quick": {},
    "char": {"tokenizer": "char"},
    "full": {"data": "github-code-clean", "vocab": 16_384, "max_tokens": 2_500_000_000, "size": 12, "block_size": 1024,
             "batch_size": 32, "accumulate": 16, "epochs": 40, "steps_per_epoch": 125, "warmup": 200, "compile": True},
}  # fmt: skip
# What --resume may change: how long and in what steps it goes on, and where it computes.
FREE = ("epochs", "max_steps", "lr", "muon_lr", "schedule", "final_lr", "clip", "device", "threads", "compile")


def shape(cfg: Config, vocab: int) -> GPTConfig:
    """What the network of a config looks like: --size sets depth and width."""
    like = GPTConfig(
        vocab_size=vocab, block_size=cfg.block_size, layers=cfg.size, heads=cfg.size, d_model=64 * cfg.size,
        kv_heads=cfg.kv_heads, dropout=cfg.dropout,
    )  # fmt: skip
    return like.llama(tied=True, kv_heads=cfg.kv_heads) if cfg.llama else like


def build(cfg: Config, vocab: int) -> GPT:
    """The network of a config, with weights drawn from its seed."""
    seed_everything(cfg.seed)
    return GPT(shape(cfg, vocab))


def learning_rate(step: int, steps: int, warmup: int, final: float, schedule: str) -> float:
    """What share of the largest rate step number `step` (from 0) of `steps` is to have: up in a line, and down to
    `final` in another (Bergsma et al., arXiv:2502.15938) or in half a cosine (Loshchilov and Hutter, arXiv:1608.03983,
    equation 5)."""
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    left = 1 - done if schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return final + (1 - final) * left


def make_optimizers(cfg: Config, model: GPT) -> dict[str, torch.optim.Optimizer]:
    """AdamW (Loshchilov and Hutter, arXiv:1711.05101) and, for the matrices inside the blocks, Muon.

    Muon (K. Jordan, 2024; Liu et al., arXiv:2502.16982) makes the step of a matrix orthogonal, so that no direction of
    it is forgotten; tables and the output are not for it. With AdamW what is a matrix decays, biases and norms do not.
    """
    inside = {id(p) for p in model.blocks.parameters() if p.ndim == 2 and cfg.optimizer == "muon"}
    rest = [p for p in model.parameters() if id(p) not in inside]
    matrices, others = ([p for p in rest if (p.ndim >= 2) == wide] for wide in (True, False))
    groups = [{"params": matrices, "weight_decay": cfg.weight_decay}, {"params": others, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW([g for g in groups if g["params"]], cfg.lr, betas=(0.9, 0.95), fused=True)
    found: dict[str, torch.optim.Optimizer] = {"optimizer": adamw}
    if inside:
        found["muon"] = Muon(
            [p for p in model.parameters() if id(p) in inside], cfg.muon_lr, weight_decay=cfg.weight_decay
        )
    return found


def set_lr(cfg: Config, optimizers: dict[str, torch.optim.Optimizer], share: float) -> None:
    """The learning rate of the next step, as a share of the largest: AdamW's goes with one over the width (Yang et al.,
    arXiv:2203.03466, table 3), Muon's is the same for any."""
    largest = {"optimizer": cfg.lr * 4 / cfg.size, "muon": cfg.muon_lr}
    for name, optimizer in optimizers.items():
        for group in optimizer.param_groups:
            group["lr"] = largest[name] * share


def fit(
    cfg: Config, corpus: Corpus, model: GPT, device: Device, run: Any = None, label: str = "training",
    world: World | None = None,
) -> Iterator[runs.Row]:  # fmt: skip
    """The training loop. Yields a row of losses, bits per byte, tokens per second and mfu an epoch.

    Args:
        cfg: how to train.
        corpus: trained on its train part, and looked at val after every epoch.
        model: changed in place, and moved to the device.
        device: what to compute on.
        run: where the state is kept, and which is gone on with; None keeps nothing.
        label: of the progress bar.
        world: the processes that share the work; default: this one alone.

    Raises:
        Diverged: the loss is no longer a number.
        Stopped: Ctrl-C was pressed; the state is saved.
    """
    model.to(device.name)
    world, optimizers = world or World(), make_optimizers(cfg, model)
    windows = Windows(corpus.train, cfg.block_size, cfg.seed)
    # fp16 cannot hold small gradients, so there the loss is multiplied, and the gradients divided again. Else it rests.
    scaler = torch.amp.GradScaler(device.name, init_scale=2.0**12, enabled=device.dtype == "float16")
    steps, val = cfg.max_steps or cfg.epochs * cfg.steps_per_epoch, some(corpus.val, cfg.val_tokens)
    mine, whole = world.share(cfg.batch_size, "--batch-size"), cfg.batch_size * cfg.accumulate
    speed = Speed(model.config, cfg, device)

    # A Loop only keeps count: it restores and saves these, passes over what is done, and hears Ctrl-C.
    parts = {"model": model, "scaler": scaler, **optimizers}
    with Loop(cfg, run, steps, cfg.steps_per_epoch, too_large(cfg), label, **parts) as loop:
        network = world.shared(torch.compile(model) if cfg.compile else model)
        for epoch in loop.epochs():
            model.train()
            speed.begin(loop)
            for step in loop.batches(range(epoch * cfg.steps_per_epoch, (epoch + 1) * cfg.steps_per_epoch)):
                set_lr(cfg, optimizers, learning_rate(step, steps, cfg.warmup, cfg.final_lr, cfg.schedule))
                model.zero_grad()
                total = torch.zeros((), device=device.name)
                for turn in range(cfg.accumulate):
                    first = step * whole + turn * cfg.batch_size + world.rank * mine
                    inputs, targets = windows.batch(windows.starts(first, mine), device.name)
                    last = turn == cfg.accumulate - 1
                    with nullcontext() if last else world.without_averaging(network):
                        with autocast(device):
                            logits = network(inputs)  # (mine, block, vocab)
                        loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten()) / cfg.accumulate
                        scaler.scale(loss).backward()
                    total += loss.detach()
                for optimizer in optimizers.values():
                    scaler.unscale_(optimizer)
                if cfg.clip:
                    nn.utils.clip_grad_norm_(model.parameters(), cfg.clip)
                for optimizer in optimizers.values():
                    scaler.step(optimizer)
                scaler.update()
                loop.add(world.mean(total))
            yield loop.row(**evaluate(model, val, cfg.block_size, device)) | speed.end(loop)


class Speed:
    """Tokens a second, and which share of the device's operations they make use of (PaLM, appendix B)."""

    def __init__(self, config: GPTConfig, cfg: Config, device: Device) -> None:
        self.tokens = cfg.batch_size * cfg.accumulate * cfg.block_size  # of a step
        self.flops, self.peak = flops_per_token(config, cfg.block_size), peak_flops(device)

    def begin(self, loop: Loop) -> None:
        self.step, self.seconds = loop.step, loop.seconds

    def end(self, loop: Loop) -> dict[str, float]:
        rate = (loop.step - self.step) * self.tokens / max(loop.seconds - self.seconds, 1e-9)
        return {"tokens_per_second": rate, "mfu": rate * self.flops / self.peak}


def too_large(cfg: Config) -> str:
    """What to try where the steps were too large."""
    return f"Try --lr {min(cfg.lr / 3, 0.001):g}{'' if cfg.warmup else ', or --warmup 50'}."


def some(part: Part, tokens: int) -> Part:
    """The first documents of a part, up to so many tokens; all of them where that is all."""
    if part.tokens <= tokens:
        return part
    return part.take(np.arange(max(1, int(np.searchsorted(part.starts, tokens, side="right")) - 1)))


def evaluate(model: GPT, part: Part, block: int, device: Device, stride: int = 0) -> dict[str, float]:
    """What a token costs in nats, and a byte in bits. The model is left in evaluation mode."""
    model.eval()
    with autocast(device):
        nats, _ = losses(model, part, block, stride)
    return {"loss": float(nats.mean()), "bits_per_byte": bits_per_byte(nats, part)}


def count_baselines(cfg: Config, corpus: Corpus) -> dict[str, Any]:
    """A Kneser–Ney model of the same tokens, and the frequencies of the tokens, always."""
    import time

    val = some(corpus.val, cfg.val_tokens)
    train, held = corpus.train.window(0, ngram.MOST), val.window(0, val.tokens)
    rows = []
    for name, order in ((ngram.NAME, 5), ("always the same answer", 1)):
        began = time.perf_counter()
        model = ngram.KneserNey(train, corpus.tokenizer.vocab_size, order)
        bits, constant = ngram.bits(model, held), order == 1
        seconds = 0.0 if constant else round(time.perf_counter() - began, 2)
        row = {"name": name, "params": 0 if constant else model.parameters, "seconds": seconds}
        rows.append(row | {METRIC: bits / val.text_bytes, "val_loss": bits * math.log(2) / (len(held) - 1)})
    return {"rows": rows}


def load_corpus(cfg: Config, folder: Path | None = None) -> Corpus:
    """The corpus of a config; with the tokenizer in `folder`, where a run has one already."""
    kept = folder / "tokenizer.json" if folder else None
    tokens = tokenizer.load(kept) if kept and kept.is_file() else None
    return data.load(cfg.data, cfg.tokenizer, cfg.vocab, cfg.max_tokens, tokens).fit_for(cfg.block_size)


def main(cfg: Config) -> dict[str, Any]:
    """Trains a GPT on Python code and shows the result beside an n-gram model of the same tokens.

    Returns what result.json holds; the run folder is under the key "run".
    """
    device, world = choose(cfg.device), World()
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    with world.joined(device.name):
        return train(cfg, device, world)


def train(cfg: Config, device: Device, world: World) -> dict[str, Any]:
    """The life of a run, in every process of a training."""
    world.share(cfg.batch_size, "--batch-size")
    before = (Path(cfg.out) if cfg.out else runs.newest(WEEK_NUMBER, runs.CHECKPOINT)) if cfg.resume else None
    corpus = world.first(lambda: load_corpus(cfg, before))
    model = build(cfg, corpus.tokenizer.vocab_size)
    params = count_parameters(model)
    if world.rank:
        world.wait()
        folder = Path(cfg.out) if cfg.out else runs.newest(WEEK_NUMBER, runs.CHECKPOINT)
        for _ in fit(cfg, corpus, model, device, Follower(folder, cfg), world=world):
            pass
        return {}
    run = runs.begin(WEEK_NUMBER, cfg, FREE)
    run.hold_to(corpus)
    corpus.tokenizer.save(run.folder / "tokenizer.json")
    fingerprint = corpus.tokenizer.fingerprint
    runs.describe(corpus, "documents")
    about = model.config
    passes = cfg.batch_size * cfg.accumulate * cfg.block_size * (cfg.max_steps or cfg.epochs * cfg.steps_per_epoch)
    print(f"tokens: {corpus.train.tokens:,} to train on, {corpus.tokenizer.vocab_size:,} different ones; "
          f"each is read {passes / corpus.train.tokens:.1f} times")  # fmt: skip
    print(f"network: {about.layers} layers, {about.d_model} wide, {about.heads} heads, block {about.block_size}, "
          f"{'as Llama' if cfg.llama else 'as GPT-2'}; {params:,} parameters. Device: {device}")  # fmt: skip
    baselines = run.once("baselines", lambda: count_baselines(cfg, corpus))
    world.wait()
    best, last = run.follow(
        fit(cfg, corpus, model, device, run, world=world),
        lambda: {"tokenizer": fingerprint, "vocab": about.vocab_size, "model": model.state_dict()}, METRIC,
        higher=False,
    )  # fmt: skip
    advice = "Try another --lr, more --epochs, or more text."
    hint = f"let it complete a function: ./course run 8 complete{mine()}{{run}} 'def mean(numbers):'"
    return run.finish(best, last, device, params, baselines["rows"], advice, [hint])


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS, week=WEEK_NUMBER)
