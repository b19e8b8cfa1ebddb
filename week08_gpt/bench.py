"""How fast is it, and beside whom? `./course run 8 bench [train|write|nano]`

    train   tokens a second of training, beside transformers' GPT2LMHeadModel of the same shape
    write   tokens a second of writing: with the cache, all anew, and by transformers' generate
    nano    nanoGPT's published recipe for a CPU (its README: "4 layers, 4 heads, 128 wide, block 64, batch 12, 2,000
            steps", 1.88 on val of tinyshakespeare's characters) beside ours of the same shape: who is at 1.88 first?
            It needs the text: --text tinyshakespeare.txt

How the contestants take turns and what counts: shared/race.py.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week08_gpt/bench.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
import tyro

from shared import cli, race, results
from shared.config import Count, Positive
from shared.device import Device, autocast, choose
from shared.errors import CourseError
from shared.runs import RUNS
from shared.sentence_pairs import text_of
from week08_gpt import train as training
from week08_gpt.model import GPT, GPTConfig, flops_per_token
from week08_gpt.utilisation import peak_flops

PARTS = ("train", "write")
THEIRS = "transformers"


@dataclass
class Config(race.BenchConfig):
    """The flags of bench."""

    parts: tyro.conf.Positional[tuple[Literal["train", "write", "nano"], ...]] = PARTS
    """Which parts."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""
    layers: Count = 4
    """How many layers, and heads."""
    d_model: Count = 128
    """How wide."""
    vocab: Count = 65
    """How many different tokens."""
    block: Count = 64
    """Tokens of a window (train)."""
    batch: Count = 12
    """Windows of a step (train)."""
    tokens: Count = 400
    """How many tokens are written (write)."""
    compile: bool = False
    """torch.compile ours (train), for a GPU."""
    text: str = ""
    """tinyshakespeare.txt (nano)."""
    steps: Count = 2000
    """Steps of nanoGPT's recipe (nano)."""
    ours: Count = 650
    """Steps of ours (nano)."""
    goal: Positive = 1.88
    """The loss on val to be reached (nano)."""
    out: str = str(RUNS / "week08" / "bench")
    """The folder for the numbers."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"rounds": 1, "layers": 1, "d_model": 16, "block": 8, "batch": 2, "tokens": 6, "threads": (1,),
              "steps": 4, "ours": 4},
    "quick": {},
    "gpu": {"parts": ("train",), "layers": 12, "d_model": 768, "vocab": 50_304, "block": 1024, "batch": 32,
            "compile": True},
}  # fmt: skip


def shape(cfg: Config, block: int) -> GPTConfig:
    return GPTConfig(
        vocab_size=cfg.vocab, block_size=block, layers=cfg.layers, heads=cfg.layers, d_model=cfg.d_model
    )  # fmt: skip


def hugging_face(config: GPTConfig) -> Any:
    """transformers' GPT-2 of the same shape, without dropout, with its fused attention."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(
        vocab_size=config.vocab_size, n_positions=config.block_size, n_embd=config.d_model, n_layer=config.layers,
        n_head=config.heads, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=None,
        pad_token_id=0,
    ))  # fmt: skip


def bench_train(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Steps of training: forward, backward, clipping, fused AdamW, everybody alike."""
    config = shape(cfg, cfg.block)
    ours, theirs = GPT(config).to(device.name).train(), hugging_face(config).to(device.name).train()
    run = torch.compile(ours) if cfg.compile else ours
    ids = torch.randint(cfg.vocab, (cfg.batch, cfg.block + 1), device=device.name)
    calls = {"ours": (ours, lambda x: run(x)), THEIRS: (theirs, lambda x: theirs(x).logits)}
    count = 20

    def contestant(model: torch.nn.Module, logits: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], Any]:
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)

        def work() -> torch.Tensor:
            for _ in range(count):
                optimizer.zero_grad()
                with autocast(device):
                    loss = F.cross_entropy(logits(ids[:, :-1]).flatten(0, 1).float(), ids[:, 1:].flatten())
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
            return loss

        return work

    laps = race.take_turns({name: contestant(*call) for name, call in calls.items()}, cfg.rounds)
    text, found = race.table(laps, dict.fromkeys(calls, count * cfg.batch * cfg.block), "tokens", THEIRS, threads)
    share = found["ours"]["per_second"] * flops_per_token(config, cfg.block) / peak_flops(device)
    found["mfu"] = {"ratio": share}
    about = (
        f"{cfg.layers} layers, {cfg.d_model} wide, vocabulary {cfg.vocab}, {cfg.batch} x {cfg.block} tokens, {device}."
    )
    return f"{about} Ours makes use of {share:.0%} of the device.\n\n{text}", found


@torch.inference_mode()
def written(model: GPT, prompt: torch.Tensor, count: int, cached: bool) -> torch.Tensor:
    """Writes greedily, reading each token once, or all of them anew for each."""
    cache, ids = model.cache(1) if cached else None, prompt
    logits = model(ids, cache, last=True)
    for _ in range(count):
        token = logits[:, -1].argmax(dim=-1, keepdim=True)
        ids = torch.cat([ids, token], dim=1)
        logits = model(token if cached else ids, cache, last=True)
    return ids


def bench_write(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Tokens a second of writing one text."""
    torch.manual_seed(cfg.seed)
    config = shape(cfg, cfg.tokens + 16)
    ours, theirs = GPT(config).to(device.name).for_writing(), hugging_face(config).to(device.name).eval()
    prompt = torch.randint(1, cfg.vocab, (1, 8), device=device.name)
    options = {"max_new_tokens": cfg.tokens, "min_new_tokens": cfg.tokens, "do_sample": False}

    def generate() -> torch.Tensor:
        with torch.inference_mode():
            return theirs.generate(prompt, attention_mask=torch.ones_like(prompt), **options)

    contestants = {
        "ours, with the cache": lambda: written(ours, prompt, cfg.tokens, cached=True),
        "ours, all anew": lambda: written(ours, prompt, cfg.tokens, cached=False),
        f"{THEIRS}' generate": generate,
    }
    laps = race.take_turns(contestants, cfg.rounds)
    work, peers = dict.fromkeys(contestants, cfg.tokens), list(contestants)[1:]
    text, found = race.table(laps, work, "tokens", peers[1], threads)
    found["cached over anew"] = {"ratio": race.ratio(laps["ours, with the cache"], laps["ours, all anew"], threads)[0]}
    about = f"{cfg.tokens} tokens, one text, {cfg.layers} layers, {cfg.d_model} wide, {device}."
    return f"{about} The cache makes it {found['cached over anew']['ratio']:.1f} times as fast.\n\n{text}", found


# ---------------------------------------------------------------- nanoGPT's recipe


def characters(path: str) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Train and val as nanoGPT cuts them: nine tenths and the rest, a number for each character."""
    if not Path(path).is_file():
        raise CourseError(f"--text {path!r}: give the path of tinyshakespeare.txt (nanoGPT's data/shakespeare_char).")
    text = text_of(Path(path))
    letters = {letter: number for number, letter in enumerate(sorted(set(text)))}
    ids = torch.tensor([letters[letter] for letter in text])
    return ids[: int(0.9 * len(ids))], ids[int(0.9 * len(ids)) :], len(letters)


@torch.no_grad()
def val_loss(model: GPT, ids: torch.Tensor, block: int = 64) -> float:
    """The mean loss over all of val, window by window."""
    model.eval()
    rows = ids[: (len(ids) - 1) // block * block + 1].unfold(0, block + 1, block)
    losses = [F.cross_entropy(model(r[:, :-1]).flatten(0, 1), r[:, 1:].flatten()) * len(r) for r in rows.split(200)]
    model.train()
    return float(sum(losses)) / len(rows)


def recipes(cfg: Config, vocab: int) -> dict[str, tuple[GPT, list[tuple[Any, float]], int, Callable[[float], float]]]:
    """By name: the model, its optimisers with their largest steps, how many steps, and the schedule's share.

    nanoGPT: GPT-2's shape, AdamW 1e-3 with decay 0.1 of matrices, betas 0.9 and 0.99, 100 steps of warm-up, then a
    cosine down to a tenth. Ours: Llama's choices, Muon, 30 steps of warm-up, and from 40 % on a line down to zero.
    """
    plain = GPTConfig(vocab_size=vocab, block_size=64, layers=4, heads=4, d_model=128, bias=False)
    torch.manual_seed(cfg.seed)
    theirs, ours = GPT(plain), GPT(plain.llama(tied=True))
    wide, thin = ([p for p in theirs.parameters() if (p.ndim >= 2) == w] for w in (True, False))
    groups = [{"params": wide, "weight_decay": 0.1}, {"params": thin, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, 1e-3, betas=(0.9, 0.99))
    flags = training.Config(lr=0.01, size=4, weight_decay=0.0)
    pair = training.make_optimizers(flags, ours)
    mixed = [(pair["optimizer"], 0.01), (pair["muon"], 0.02)]
    warm = 100 / cfg.steps
    return {
        "nanoGPT's recipe": (theirs, [(adamw, 1e-3)], cfg.steps,
                             lambda t: min(t / warm, training.learning_rate(int(t * 1e4), 10_000, 0, 0.1, "cosine"))),
        "ours": (ours, mixed, cfg.ours, lambda t: min(1, t * cfg.ours / 30, (1 - t) / 0.6)),
    }  # fmt: skip


def trained_on(
    ids: torch.Tensor, model: GPT, optimizers: list[tuple[Any, float]], steps: int, share: Callable[[float], float]
) -> Iterator[int]:  # fmt: skip
    """Trains on 12 random windows of 64 characters a step; yields the number of each step that is done."""
    draw = torch.Generator().manual_seed(1337)
    for step in range(1, steps + 1):
        for optimizer, largest in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = largest * share(step / steps)
        starts = torch.randint(len(ids) - 64, (12,), generator=draw)
        rows = ids[starts[:, None] + torch.arange(65)]  # (12, 65)
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, _ in optimizers:
            optimizer.step()
        yield step


def bench_nano(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Both recipes from the start to the end, once each; what counts is the time up to the end, or up to the goal."""
    train, val, vocab = characters(cfg.text)
    rows, found = [], {}
    for name, (model, optimizers, steps, share) in recipes(cfg, vocab).items():
        spent, clock, reached, last = 0.0, 0.0, None, float("inf")
        began = time.process_time(), time.perf_counter()
        for step in trained_on(train, model, optimizers, steps, share):
            if step % 250 and step != steps:
                continue
            spent, clock = spent + time.process_time() - began[0], clock + time.perf_counter() - began[1]
            last = val_loss(model, val)
            if last <= cfg.goal and reached is None:
                reached = step, spent, clock
            began = time.process_time(), time.perf_counter()
        found[name] = {"loss": last, "process": spent, "best": clock, "reached": reached}
        goal = f"step {reached[0]}, {reached[1]:.1f} s" if reached else "not"
        rows.append([name, steps, f"{last:.3f}", f"{clock:.1f}", f"{spent:.1f}", goal])
    ours, theirs = found["ours"], found["nanoGPT's recipe"]
    found["time"] = {"ratio": ours["process"] / theirs["process"]}
    columns = ["", "steps", "val loss at the end", "clock s", "process s", f"at {cfg.goal:g} (looked every 250 steps)"]
    about = f"Ours takes {found['time']['ratio']:.2f} of the processor time of nanoGPT's recipe, our own run of it."
    return f"{about}\n\n{results.markdown(columns, rows)}", found


BENCHES: dict[str, Callable[..., tuple[str, dict[str, Any]]]] = {
    "train": bench_train, "write": bench_write, "nano": bench_nano,
}  # fmt: skip


def main(cfg: Config) -> dict[str, Any]:
    """Times training and writing beside transformers', and the way to 1.88 beside nanoGPT's recipe."""
    return race.parts(cfg, 8, BENCHES, choose(cfg.device))


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
