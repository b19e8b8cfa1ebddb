"""How fast is it, and beside whom? `./course run 6 bench [attention|causal|decode|cost]`

    attention  multi-head self-attention, forward and backward: our fused path, our explicit path, and torch's
               nn.MultiheadAttention without and with weights, at --lengths tokens; and the memory that each keeps
    causal     the same under the causal mask
    decode     writing --tokens tokens with the caches, and without them
    cost       time and memory against the length, explicit and fused; draws cost.png

How the contestants take turns and what counts: shared/race.py.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week06_transformer/bench.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import tyro
from torch import nn

from shared import cli, race, results
from shared.config import Count
from shared.device import Device, choose
from shared.runs import RUNS
from shared.sentence_pairs import BOS
from week06_transformer import drawing
from week06_transformer.attention import MultiHeadAttention
from week06_transformer.model import Transformer, TransformerConfig

PARTS = ("attention", "causal", "decode", "cost")
PEER = "nn.MultiheadAttention"


@dataclass
class Config(race.BenchConfig):
    """The flags of bench."""

    parts: tyro.conf.Positional[tuple[Literal["attention", "causal", "decode", "cost"], ...]] = PARTS
    """Which parts."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""
    lengths: tuple[Count, ...] = (128, 512)
    """How many tokens."""
    batch: Count = 8
    """Sequences side by side."""
    d_model: Count = 256
    """The length of a token's vector."""
    heads: Count = 8
    """How many heads."""
    tokens: Count = 256
    """How many tokens are written (decode)."""
    out: str = str(RUNS / "week06" / "bench")
    """The folder for numbers and the picture."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"rounds": 1, "lengths": (8, 16), "batch": 1, "d_model": 16, "heads": 2, "tokens": 6, "threads": (1,)},
    "quick": {},
    "full": {"rounds": 15, "lengths": (128, 512, 1024)},
}

Contestant = Callable[[], torch.Tensor]


def forward_and_backward(layer: Callable[[torch.Tensor], Any], x: torch.Tensor, upstream: torch.Tensor) -> Contestant:
    """One pass there and back."""

    def work() -> torch.Tensor:
        out = layer(x)
        (out[0] if isinstance(out, tuple) else out).backward(upstream)
        return upstream

    return work


def contestants(cfg: Config, length: int, device: Device, causal: bool) -> dict[str, Contestant]:
    """Everybody with the same weights and the same input."""
    torch.manual_seed(cfg.seed)
    theirs = nn.MultiheadAttention(cfg.d_model, cfg.heads, batch_first=True).to(device.name)
    x = torch.randn(cfg.batch, length, cfg.d_model, device=device.name, requires_grad=True)
    upstream, hidden = torch.randn_like(x), None
    if causal:
        hidden = torch.ones(length, length, dtype=torch.bool, device=device.name).triu(1)
    layers: dict[str, Callable[[torch.Tensor], Any]] = {}
    for name, fused in (("ours, fused", True), ("ours, explicit", False)):
        ours = MultiHeadAttention(cfg.d_model, cfg.heads, fused=fused).to(device.name)
        ours.in_proj.load_state_dict({"weight": theirs.in_proj_weight, "bias": theirs.in_proj_bias})
        ours.out_proj.load_state_dict(theirs.out_proj.state_dict())
        layers[name] = lambda x, ours=ours: ours(x, causal=causal)
    same = {"attn_mask": hidden, "is_causal": causal}
    layers[PEER] = lambda x: theirs(x, x, x, need_weights=False, **same)
    layers[f"{PEER}, weights"] = lambda x: theirs(x, x, x, need_weights=True, **same)
    return {name: forward_and_backward(layer, x, upstream) for name, layer in layers.items()}


def kept_megabytes(work: Contestant) -> float:
    """How much the forward pass keeps for the way back, in MB: what autograd saves, each storage once."""
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        work()
    return sum(storages.values()) / 1e6


def bench_attention(cfg: Config, device: Device, threads: int, causal: bool = False) -> tuple[str, dict[str, Any]]:
    """Tokens a second of self-attention there and back, and the memory that is kept: a table for each length."""
    texts, found = [], {}
    for length in cfg.lengths:
        runners = contestants(cfg, length, device, causal)
        memory = {name: kept_megabytes(work) for name, work in runners.items()}
        laps = race.take_turns(runners, cfg.rounds)
        work = dict.fromkeys(runners, cfg.batch * length)
        _, numbers = race.table(laps, work, "tokens", PEER, threads)
        columns = ["", "tokens/s", "best ms", "median ms", f"time, of {PEER}'s (by round)", "keeps MB"]
        lines = []
        for name, row in numbers.items():
            row["megabytes"], row["share"] = memory[name], 1 / row["ratio"]
            spread = f"{1 / row['ratio']:.2f} ({1 / row['high']:.2f} to {1 / row['low']:.2f})"
            speed = [f"{row['per_second']:,.0f}", f"{1000 * row['best']:.1f}", f"{1000 * row['median']:.1f}"]
            lines.append([name, *speed, spread, f"{memory[name]:.1f}"])
            found[f"{name}, {length}"] = row
        explicit = found[f"ours, explicit, {length}"]["best"] / found[f"ours, fused, {length}"]["best"]
        found[f"explicit over fused, {length}"] = {"ratio": explicit}
        about = f"{length} tokens, batch {cfg.batch}, d_model {cfg.d_model}, {cfg.heads} heads{', causal' * causal}, "
        about += f"{device}, forward and backward. The explicit path takes {explicit:.2f} times as long as the fused."
        texts.append(f"{about}\n\n{results.markdown(columns, lines)}")
    return "\n\n".join(texts), found


@torch.no_grad()
def write_cached(model: Transformer, source: torch.Tensor, count: int) -> torch.Tensor:
    """Writes `count` tokens greedily, each read by itself."""
    state, token = model.encode(source), torch.full_like(source[:, :1], BOS)
    for _ in range(count):
        token = model.step(token, state).argmax(dim=-1, keepdim=True)
    return token


@torch.no_grad()
def write_anew(model: Transformer, source: torch.Tensor, count: int) -> torch.Tensor:
    """Writes the same by reading all that has been written before each token (the source is encoded once)."""
    written = torch.full_like(source[:, :1], BOS)
    memory = model.encode(source)
    for _ in range(count):
        x = model.embedded(model.words, written)
        for block in model.decoder:
            x = block(x, memory.memory, memory.key_mask)
        logits = model.decoder_norm(x[:, -1]) @ model.words.weight.T
        written = torch.cat([written, logits.argmax(dim=-1, keepdim=True)], dim=1)
    return written


def bench_decode(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Tokens a second with and without the caches."""
    torch.manual_seed(cfg.seed)
    shape = TransformerConfig(1000, 1000, cfg.d_model, cfg.heads, 2, 4 * cfg.d_model, 0.0)
    model = Transformer(shape).to(device.name).eval()
    source = torch.randint(4, 1000, (1, 32), device=device.name)
    both = {
        "with caches": lambda: write_cached(model, source, cfg.tokens),
        "all anew": lambda: write_anew(model, source, cfg.tokens),
    }
    laps = race.take_turns(both, max(1, cfg.rounds // 2))
    text, found = race.table(laps, dict.fromkeys(both, cfg.tokens), "tokens", "all anew", threads)
    about = f"One sentence, {cfg.tokens} tokens, 2 + 2 blocks, d_model {cfg.d_model}, {device}."
    return f"{about}\n\n{text}", found


def bench_cost(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Seconds and memory of one head's worth of attention by the length."""
    rows, longest = [], max(cfg.lengths)
    lengths = [length for length in (64, 128, 256, 512, 1024, 2048) if length <= 4 * longest] or [longest]
    for length in lengths:
        one = Config(batch=1, d_model=cfg.d_model, heads=cfg.heads, seed=cfg.seed)
        runners = contestants(one, length, device, causal=False)
        runners = {name.removeprefix("ours, "): work for name, work in runners.items() if name.startswith("ours")}
        memory = {name: kept_megabytes(work) for name, work in runners.items()}
        laps = race.take_turns(runners, cfg.rounds)
        for name, lap in laps.items():
            seconds = lap.best_process if threads == 1 else lap.best  # shared/race.py says why
            rows.append({"path": name, "length": length, "seconds": seconds, "megabytes": memory[name]})
    drawing.cost(Path(cfg.out) / "cost.png", rows)
    columns = ["tokens", "explicit ms", "fused ms", "explicit MB", "fused MB"]
    lines = []
    for length in lengths:
        mine = {row["path"]: row for row in rows if row["length"] == length}
        lines.append([length, *(f"{1000 * mine[name]['seconds']:.1f}" for name in ("explicit", "fused")),
                      *(f"{mine[name]['megabytes']:.1f}" for name in ("explicit", "fused"))])  # fmt: skip
    about = f"One sequence, d_model {cfg.d_model}, {cfg.heads} heads, {device}, forward and backward."
    return f"{about}\n\n{results.markdown(columns, lines)}", {"rows": rows}


BENCHES: dict[str, Callable[..., tuple[str, dict[str, Any]]]] = {
    "attention": bench_attention,
    "causal": lambda cfg, device, threads: bench_attention(cfg, device, threads, causal=True),
    "decode": bench_decode,
    "cost": bench_cost,
}


def main(cfg: Config) -> dict[str, Any]:
    """Times attention beside torch's own, and decoding with and without caches."""
    return race.parts(cfg, 6, BENCHES, choose(cfg.device))


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
