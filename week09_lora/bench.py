"""How fast is it, how small, and beside whom? `./course run 9 bench [step|merged|size]`

    step    a training step of LoRA: ours, and peft's on the same Llama with the same loss and optimiser
    merged  reading a text: with adapters, with them merged, and the base alone
    size    bytes of the weights: float32, int8 and NF4, ours and bitsandbytes', of the matrices and of whole models

How the contestants take turns and what counts: shared/race.py.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week09_lora/bench.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
import tyro

from shared import chat_models, cli, race, results
from shared.config import Count
from shared.device import Device, autocast, choose
from shared.files import write_json
from shared.runs import RUNS
from week09_lora import memory, quant
from week09_lora.model import inject, merge

PARTS = ("step", "merged", "size")


@dataclass
class Config(race.BenchConfig):
    """The flags of bench."""

    parts: tyro.conf.Positional[tuple[Literal["step", "merged", "size"], ...]] = PARTS
    """Which parts."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""
    layers: Count = 6
    """Layers of the Llama (step, merged)."""
    hidden: Count = 256
    """How wide it is; a multiple of 64."""
    rank: Count = 16
    """Rank of the adapters, in all linear layers."""
    batch_size: Count = 4
    """Rows of a step."""
    length: Count = 64
    """Tokens of a row."""
    steps: Count = 5
    """Steps of a round."""
    out: str = str(RUNS / "week09" / "bench")
    """The folder for the numbers."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"rounds": 1, "layers": 1, "hidden": 64, "batch_size": 2, "length": 8, "steps": 1, "threads": (1,)},
    "quick": {},
    "gpu": {"layers": 16, "hidden": 2048, "batch_size": 4, "length": 512},
}


def llama(cfg: Config, device: Device) -> Any:
    """A Llama with random weights, the same each time, frozen."""
    with chat_models.quiet():
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(cfg.seed)
        model = LlamaForCausalLM(LlamaConfig(
            vocab_size=2048, hidden_size=cfg.hidden, intermediate_size=cfg.hidden // 64 * 176,
            num_hidden_layers=cfg.layers, num_attention_heads=cfg.hidden // 32, num_key_value_heads=cfg.hidden // 64,
        ))  # fmt: skip
    return model.requires_grad_(False).to(device.name)


def ours(cfg: Config, device: Device) -> Any:
    """The Llama with our adapters, in all linear layers."""
    model = llama(cfg, device)
    inject(model, rank=cfg.rank)
    return model


def theirs(cfg: Config, device: Device) -> Any:
    """The Llama with peft's."""
    with chat_models.quiet():
        from peft import LoraConfig, get_peft_model

        settings = LoraConfig(r=cfg.rank, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
        return get_peft_model(llama(cfg, device), settings)


def bench_step(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Steps of training: forward, backward, fused AdamW, everybody alike."""
    ids = torch.randint(2048, (cfg.batch_size, cfg.length), device=device.name)

    def contestant(model: Any) -> Callable[[], Any]:
        model.train()
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-4, fused=True)

        def work() -> torch.Tensor:
            for _ in range(cfg.steps):
                optimizer.zero_grad()
                with autocast(device):
                    logits = model(input_ids=ids, use_cache=False).logits
                    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten())
                loss.backward()
                optimizer.step()
            return loss

        return work

    contestants = {"ours": contestant(ours(cfg, device)), "peft": contestant(theirs(cfg, device))}
    laps = race.take_turns(contestants, cfg.rounds)
    work = dict.fromkeys(contestants, cfg.steps * cfg.batch_size * cfg.length)
    text, found = race.table(laps, work, "tokens", "peft", threads)
    return f"{about(cfg, device)}\n\n{text}", found


def bench_merged(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Reading a text, without gradients."""
    ids = torch.randint(2048, (cfg.batch_size, cfg.length), device=device.name)
    merged = ours(cfg, device)
    merge(merged)
    models = {"merged": merged, "adapters beside it": ours(cfg, device), "base": llama(cfg, device)}

    def contestant(model: Any) -> Callable[[], Any]:
        model.eval()

        def work() -> torch.Tensor:
            with torch.inference_mode(), autocast(device):
                for _ in range(cfg.steps):
                    logits = model(input_ids=ids, use_cache=False).logits
            return logits

        return work

    laps = race.take_turns({name: contestant(model) for name, model in models.items()}, cfg.rounds)
    work = dict.fromkeys(models, cfg.steps * cfg.batch_size * cfg.length)
    text, found = race.table(laps, work, "tokens", "base", threads)
    return f"{about(cfg, device)}\n\n{text}", found


def about(cfg: Config, device: Device) -> str:
    """The line above a table of speeds."""
    return (
        f"A Llama of {cfg.layers} layers, {cfg.hidden} wide; rank {cfg.rank} in all linear layers; "
        f"{cfg.batch_size} x {cfg.length} tokens, {device}."
    )


def bench_size(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Bytes, counted on one matrix and computed for whole models (there with the rest in 32 and in 16 bits)."""
    torch.manual_seed(cfg.seed)
    rows, found = [], {}
    weight = torch.randn(cfg.hidden, 4 * cfg.hidden)
    sizes = {"int8, ours": weight.numel() + 4 * len(weight), "NF4, ours": quant.quantise_nf4(weight).bytes}
    if (theirs := bitsandbytes_bytes(weight)) is not None:
        sizes["NF4, bitsandbytes"] = theirs
    for name, size in sizes.items():
        rows.append([f"a matrix {tuple(weight.shape)}", name, f"{size:,}", f"{4 * weight.numel() / size:.2f}"])
        found[name] = {"ratio": 4 * weight.numel() / size}
    for model in ("smollm2", "llama3", "mistral"):
        shape = memory.KNOWN[model]
        whole = 4.0 * (shape.inside + shape.outside)
        for rest, size in (("32", 4), ("16", 2)):
            four = memory.NF4_BYTES * shape.inside + size * shape.outside
            name = f"NF4, the rest in {rest} bits"
            rows.append([f"{model}, computed", name, f"{four:,.0f}", f"{whole / four:.2f}"])
            found[f"{model}, {name}"] = {"ratio": whole / four}
    return results.markdown(["", "stored as", "bytes", "x smaller than float32"], rows), found


def bitsandbytes_bytes(weight: torch.Tensor) -> int | None:
    """What bitsandbytes takes for a matrix in NF4 with double quantisation; None where it is not installed."""
    try:
        with chat_models.quiet():
            from bitsandbytes.functional import quantize_4bit
    except ImportError:
        return None
    packed, state = quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    parts = (packed, state.absmax, state.state2.absmax, state.offset)
    return sum(part.numel() * part.element_size() for part in parts)


BENCHES: dict[str, Callable[..., tuple[str, dict[str, Any]]]] = {
    "step": bench_step, "merged": bench_merged, "size": bench_size,
}  # fmt: skip


def main(cfg: Config) -> dict[str, Any]:
    """Times a step beside peft's and a merged model beside its base, and counts the bytes of weights in 4 bits."""
    device = choose(cfg.device)
    result: dict[str, Any] = {}
    for part in cfg.parts:
        texts = []
        counts = race.thread_counts(cfg.threads, device.name)
        for threads in counts[:1] if part == "size" else counts:
            with race.on_threads(threads):
                text, result[f"{part}, {threads} threads"] = BENCHES[part](cfg, device, threads)
            texts.append(f"{race.circumstances(cfg.rounds, threads)}\n\n{text}")
            print(f"\n{texts[-1]}", flush=True)
        if cfg.publish:
            results.publish(9, f"bench {part}", "\n\n".join(texts))
    write_json(Path(cfg.out) / "bench.json", result)
    return result


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
