"""How fast is a step of DPO, and beside whom? `./course run 10 bench`

    ours, kept            the plain loop; what the reference says was computed once, beforehand
    ours, asked           the same, the reference asked at each step
    trl                   DPOTrainer with its defaults: it asks the reference at each step, and checkpoints gradients
    trl, kept             with precompute_ref_log_probs and without checkpoints: the fastest that it can be set to

All train on the same pairs with AdamW and a clipped gradient. What is done once, before the first step, is not timed.
How the contestants take turns and what counts: shared/race.py.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week10_dpo/bench.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import contextlib
import copy
import io
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from shared import cli, race, results
from shared.chat_models import quiet
from shared.config import Count
from shared.device import choose
from shared.files import write_json
from shared.runs import RUNS
from week10_dpo import model as nets
from week10_dpo.losses import LogProbs, preference_loss
from week10_dpo.ppo import Written, in_rows

TRL = "trl"
PAD, END, FIRST = 0, 1, 2  # FIRST: the first number that is a word
Pair = tuple[list[int], list[int], list[int]]  # ids of prompt, chosen, rejected


@dataclass
class Config(race.BenchConfig):
    """The flags of bench."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""
    layers: Count = 4
    """How many layers."""
    d_model: Count = 192
    """How wide; a head has 64 numbers."""
    vocab: Count = 4000
    """How many different tokens."""
    pairs: Count = 8
    """Pairs of a step."""
    prompt: Count = 24
    """Tokens of a prompt, at most; at least half as many."""
    answer: Count = 32
    """Tokens of an answer, likewise."""
    steps: Count = 3
    """Steps of a round."""
    adapters: bool = False
    """LoRA adapters, by peft, in the place of all weights; the reference is then the model without them."""
    out: str = str(RUNS / "week10" / "bench")
    """The folder for the numbers."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"rounds": 1, "layers": 1, "d_model": 64, "vocab": 50, "pairs": 2, "prompt": 4, "answer": 4, "steps": 2,
              "threads": (1,)},
    "quick": {},
    "full": {"layers": 12, "d_model": 768, "vocab": 32_000, "pairs": 16, "prompt": 128, "answer": 256},
}  # fmt: skip


def network(cfg: Config, device: str) -> Any:
    """A Llama with random weights, in training mode."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(cfg.seed)
    heads = max(1, cfg.d_model // 64)
    made = LlamaForCausalLM(LlamaConfig(
        vocab_size=cfg.vocab, hidden_size=cfg.d_model, intermediate_size=8 * cfg.d_model // 3,
        num_hidden_layers=cfg.layers, num_attention_heads=heads, num_key_value_heads=heads,
        max_position_embeddings=2048, pad_token_id=PAD, eos_token_id=END, bos_token_id=None,
    ))  # fmt: skip
    return made.to(device).train()


def random_pairs(cfg: Config) -> list[Pair]:
    """As many pairs as a round needs, of random tokens and lengths; each answer has its end token."""
    draw = torch.Generator().manual_seed(cfg.seed)

    def words(most: int) -> list[int]:
        count = int(torch.randint((most + 1) // 2, most + 1, (), generator=draw))
        return torch.randint(FIRST, cfg.vocab, (count,), generator=draw).tolist()

    return [
        (words(cfg.prompt), [*words(cfg.answer), END], [*words(cfg.answer), END]) for _ in range(cfg.steps * cfg.pairs)
    ]


def ours(cfg: Config, pairs: list[Pair], device: str, kept: bool) -> Callable[[], torch.Tensor]:
    """A round of the plain loop."""
    policy = network(cfg, device)
    reference = None if cfg.adapters else nets.frozen(policy)
    policy = nets.with_adapters(policy).to(device) if cfg.adapters else policy
    optimizer = torch.optim.AdamW([p for p in policy.parameters() if p.requires_grad], 1e-6, fused=device != "mps")
    starts = range(0, len(pairs), cfg.pairs)
    batches = [rows(pairs[start : start + cfg.pairs], device) for start in starts]
    known = nets.reference_log_probs(policy, batches, reference) if kept else []

    def work() -> torch.Tensor:
        for number, batch in enumerate(batches):
            fixed = known[number] if kept else nets.reference_log_probs(policy, [batch], reference)[0]
            spoken = LogProbs.halves(*nets.log_probs(policy, *batch))
            loss = preference_loss(spoken, fixed).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
        return loss

    return work


def rows(pairs: list[Pair], device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(ids, attention, answer): first all chosen, then all rejected."""
    chosen = [(prompt, answer) for prompt, answer, _ in pairs]
    written: Written = in_rows([*chosen, *((prompt, answer) for prompt, _, answer in pairs)], PAD, device)
    return written.ids, written.attention, written.answer


def theirs(cfg: Config, pairs: list[Pair], device: str, folder: str, kept: bool) -> Callable[[], race.Lap]:
    """A round of trl's DPOTrainer: the time from its first step to its last."""
    import datasets
    import peft
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import DPOConfig, DPOTrainer

    began: list[float] = []
    laps: list[race.Lap] = []

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            began[:] = time.perf_counter(), time.process_time()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            if device == "cuda":
                torch.cuda.synchronize()
            laps.append(race.Lap(time.perf_counter() - began[0], time.process_time() - began[1]))

    names = ["<pad>", "<end>", *(f"w{number}" for number in range(FIRST, cfg.vocab))]
    level = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, "<pad>"))
    level.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=level, pad_token="<pad>", eos_token="<end>")

    def text(ids: list[int]) -> str:  # trl makes tokens of it again, the same ones
        return "".join(f" {names[number]}" for number in ids)

    columns = ("prompt", "chosen", "rejected")
    texts = [dict(zip(columns, map(text, pair), strict=True)) for pair in pairs]
    policy = network(cfg, device)
    options: dict[str, Any] = {"precompute_ref_log_probs": True, "gradient_checkpointing": False} if kept else {}
    args = DPOConfig(
        output_dir=folder, per_device_train_batch_size=cfg.pairs, max_steps=cfg.steps, seed=cfg.seed,
        use_cpu=device == "cpu", bf16=False, report_to="none", save_strategy="no", disable_tqdm=True,
        logging_strategy="no", **options,
    )  # fmt: skip
    trainer = DPOTrainer(
        model=policy, ref_model=None if cfg.adapters or kept else copy.deepcopy(policy), args=args,
        train_dataset=datasets.Dataset.from_list(texts),
        processing_class=tokenizer, callbacks=[Clock()],
        peft_config=peft.LoraConfig(
            r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
        ) if cfg.adapters else None,
    )  # fmt: skip

    def work() -> race.Lap:
        trainer.train()
        return laps[-1]

    return work


def bench_step(cfg: Config, device: str, threads: int) -> tuple[str, dict[str, Any]]:
    """The four contestants."""
    pairs = random_pairs(cfg)
    bars = contextlib.redirect_stderr(io.StringIO())  # trl's, which no flag switches off
    with tempfile.TemporaryDirectory() as folder, quiet(), bars:
        contestants: dict[str, Callable[[], Any]] = {
            "ours, kept": ours(cfg, pairs, device, kept=True),
            "ours, asked": ours(cfg, pairs, device, kept=False),
            TRL: theirs(cfg, pairs, device, folder, kept=False),
            f"{TRL}, kept": theirs(cfg, pairs, device, folder, kept=True),
        }
        laps = race.take_turns(contestants, cfg.rounds)
    text, found = race.table(laps, dict.fromkeys(contestants, len(pairs)), "pairs", TRL, threads)
    for name, peer in (("kept over asked", "ours, asked"), ("kept over trl, kept", f"{TRL}, kept")):
        found[name] = {"ratio": race.ratio(laps["ours, kept"], laps[peer], threads)[0]}
    millions = sum(p.numel() for p in network(cfg, "cpu").parameters()) / 1e6
    about = (
        f"A Llama of {millions:.1f} M parameters{', LoRA of rank 16' * cfg.adapters}, {cfg.pairs} pairs a step, "
        f"prompts of {(cfg.prompt + 1) // 2} to {cfg.prompt} tokens, answers of {(cfg.answer + 1) // 2} to "
        f"{cfg.answer}, {device}. Ours with what is kept is {found['ours, kept']['ratio']:.2f} times as fast as trl's "
        f"default, {found['kept over asked']['ratio']:.2f} times as fast as ours that asks, and "
        f"{found['kept over trl, kept']['ratio']:.2f} times as fast as trl that keeps it, too."
    )
    return f"{about}\n\n{text}", found


def main(cfg: Config) -> dict[str, Any]:
    """Times steps of DPO: with a reference that is asked once or at each step, beside trl's."""
    device = choose(cfg.device)
    result: dict[str, Any] = {}
    texts = []
    for threads in race.thread_counts(cfg.threads, device.name):
        with race.on_threads(threads):
            text, result[f"step, {threads} threads"] = bench_step(cfg, device.name, threads)
        texts.append(f"{race.circumstances(cfg.rounds, threads)}\n\n{text}")
        print(f"\n{texts[-1]}", flush=True)
    if cfg.publish:
        results.publish(10, "bench adapters" if cfg.adapters else "bench step", "\n\n".join(texts))
    write_json(Path(cfg.out) / "bench.json", result)
    return result


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
