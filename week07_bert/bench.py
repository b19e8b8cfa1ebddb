"""How fast is it, and beside whom? `./course run 7 bench [bucket|freeze|encoder]`

    bucket    training steps on windows of mixed lengths: batches of about equal length, batches as they come, and all
              padded to --max-len, as run_squad.py had it
    freeze    training steps with all layers learning, and with the embeddings and the --frozen lowest ones frozen
    encoder   our encoder, forward and backward, beside transformers' BertModel on the same weights, both with SDPA

How contestants take turns and what counts: shared/race.py.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week07_bert/bench.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import tyro

from shared import cli, race
from shared.config import Count
from shared.device import Device, autocast, choose
from shared.runs import RUNS
from week07_bert import data, encoders, qa, train
from week07_bert.weights import in_their_names

PARTS = ("bucket", "freeze", "encoder")


@dataclass
class Config(race.BenchConfig):
    """The flags of bench."""

    parts: tyro.conf.Positional[tuple[Literal["bucket", "freeze", "encoder"], ...]] = PARTS
    """Which parts."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""
    data: str = "sample"
    """Whose questions: their lengths make the difference."""
    model: str = "minilm"
    """The encoder."""
    max_len: Count = 384
    """Tokens of the longest window."""
    windows: Count = 48
    """Windows a round."""
    batch: Count = 8
    """Windows a step."""
    frozen: Count = 4
    """So many layers frozen, with the embeddings."""
    out: str = str(RUNS / "week07" / "bench")
    """The folder for the numbers."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"rounds": 1, "windows": 8, "batch": 4, "max_len": 64, "threads": (1,)},
    "quick": {"rounds": 3},
    "full": {"rounds": 10, "windows": 256, "batch": 16},
}
Contestant = Callable[[], Any]


def some_windows(cfg: Config, tokenizer: Any) -> qa.Encoded:
    """Windows with their answers, drawn by the seed, so that their lengths are those of the data."""
    train_part = data.load("qa", cfg.data).train
    rows = np.random.default_rng(cfg.seed).permutation(len(train_part))[: cfg.windows]
    encoded = qa.to_train(qa.encode(train_part.take(rows), tokenizer, cfg.max_len, cfg.max_len // 3), cfg.seed, 0.0)
    return qa.Encoded(encoded.part, encoded.windows[: cfg.windows], encoded.pad_id)


def steps_over(
    model: train.Tuned, encoded: qa.Encoded, batches: list[Any], device: Device, width: int = 0
) -> Contestant:
    """A round: a training step on every batch; with `width` each is padded to so many tokens."""
    optimizer = torch.optim.AdamW(train.parameter_groups(model, 0.01), 1e-5, fused=True)

    def work() -> torch.Tensor:
        model.train()
        for rows in batches:
            inputs = encoded.inputs(rows, device.name)
            if width:
                ids, mask, types = (torch.nn.functional.pad(one, (0, width - one.shape[1])) for one in inputs)
            else:
                ids, mask, types = inputs
            optimizer.zero_grad()
            with autocast(device):
                output = model(ids, mask, types)
            loss = encoded.loss(output, mask, rows) / len(rows)
            loss.backward()
            optimizer.step()
        return loss

    return work


def bench_bucket(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Windows a second by how batches are made."""
    bert, tokenizer = encoders.load(cfg.model)
    model, encoded = train.with_head(bert, (), cfg.seed).to(device.name), some_windows(cfg, tokenizer)
    made = {
        name: train.batches_of(encoded.lengths, cfg.batch, np.random.default_rng(cfg.seed), bucket)
        for name, bucket in (("of about equal length", True), ("as they come", False))
    }
    longest = max(cfg.max_len, int(encoded.lengths.max()))
    peer = f"padded to {longest}"
    both = {name: steps_over(model, encoded, batches, device) for name, batches in made.items()}
    both[peer] = steps_over(model, encoded, made["as they come"], device, longest)
    laps = race.take_turns(both, cfg.rounds)
    text, numbers = race.table(laps, dict.fromkeys(both, len(encoded)), "windows", peer, threads)
    lengths = np.percentile(encoded.lengths, (10, 50, 90)).astype(int).tolist()
    about = (f"{len(encoded)} windows of --data {Path(cfg.data).name}, {lengths[0]}, {lengths[1]}, {lengths[2]} tokens "
             f"(10th, 50th, 90th percentile), {cfg.batch} a step, {device}.")  # fmt: skip
    return f"{about}\n\n{text}", numbers


def bench_freeze(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Windows a second with frozen layers and without."""
    both = {}
    for name, layers in ((f"{cfg.frozen} layers frozen", cfg.frozen), ("all learn", 0)):
        bert, tokenizer = encoders.load(cfg.model)
        model, encoded = train.with_head(bert, (), cfg.seed).to(device.name), some_windows(cfg, tokenizer)
        train.freeze(model, layers)
        batches = train.batches_of(encoded.lengths, cfg.batch, np.random.default_rng(cfg.seed), True)
        both[name] = steps_over(model, encoded, batches, device)
    laps = race.take_turns(both, cfg.rounds)
    text, numbers = race.table(laps, dict.fromkeys(both, len(encoded)), "windows", "all learn", threads)
    return f"{len(encoded)} windows, {cfg.batch} a step, {len(bert.layers)} layers, {device}.\n\n{text}", numbers


def bench_encoder(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Our encoder beside transformers' on the same weights, batch and mask."""
    from transformers import BertConfig, BertModel

    bert, _ = encoders.load(cfg.model)
    shape = bert.config
    theirs = BertModel(
        BertConfig(
            vocab_size=shape.vocab_size, hidden_size=shape.hidden_size, num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads, intermediate_size=shape.intermediate_size,
            max_position_embeddings=shape.max_positions, layer_norm_eps=shape.layer_norm_eps,
            attn_implementation="sdpa",
        ),
        add_pooling_layer=False,
    )  # fmt: skip
    theirs.load_state_dict(in_their_names(bert))
    theirs.to(device.name).train()
    bert.to(device.name).train()
    torch.manual_seed(cfg.seed)
    length = cfg.max_len // 2
    ids = torch.randint(1000, shape.vocab_size, (cfg.batch, length), device=device.name)
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[1::2, length * 3 // 4 :] = False
    types = torch.zeros_like(ids)
    types[:, 12:] = 1
    upstream = torch.randn(cfg.batch, length, shape.hidden_size, device=device.name)

    def ours() -> torch.Tensor:
        bert(ids, mask, types).backward(upstream)
        return upstream

    def other() -> torch.Tensor:
        found = theirs(input_ids=ids, attention_mask=mask.long(), token_type_ids=types)
        found.last_hidden_state.backward(upstream)
        return upstream

    both = {"ours": ours, "transformers": other}
    laps = race.take_turns(both, 2 * cfg.rounds)
    text, numbers = race.table(laps, dict.fromkeys(both, ids.numel()), "tokens", "transformers", threads)
    about = f"{cfg.batch} × {length} tokens, forward and backward in training mode, {device}."
    return f"{about} Ours takes {1 / numbers['ours']['ratio']:.2f} of the time.\n\n{text}", numbers


BENCHES = {"bucket": bench_bucket, "freeze": bench_freeze, "encoder": bench_encoder}


def main(cfg: Config) -> dict[str, Any]:
    """Times batches by length, frozen layers, and the encoder beside transformers'."""
    return race.parts(cfg, 7, BENCHES, choose(cfg.device))


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
