"""RLHF and DPO side by side: three ways from the same pairs to a polite model. `./course run 10 rlhf`

A small language model, made from nothing in a minute, so that all of it runs here: it learns to answer as the sample's
pairs do, the rude as often as the polite (the reference). A reward model learns from the pairs who is preferred, by
Bradley and Terry's loss. Then, each from the reference:

    dpo     learns from the pairs themselves; no reward model, nothing is written while it learns
    ppo     writes answers, has them scored by the reward model, and makes what was better than expected likelier
    grpo    likewise, and expects of an answer what the others to the same prompt got

What comes out is judged by somebody whom none of them has seen (judge.py). It stays small: it has learned manners, next
to nothing of what is asked, and it is easily led astray: --lr 1e-4 shows how. `--preset full` gives it more of all.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week10_dpo/rlhf.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F

from shared import cli, plots, race, results
from shared.chat_models import quiet
from shared.config import Count, Positive, Seed
from shared.files import write_json
from shared.runs import RUNS
from shared.splits import Part, Splits
from shared.terminal import typed
from week10_dpo import data, grpo, judge, ppo
from week10_dpo import model as nets
from week10_dpo.losses import LogProbs, bradley_terry_loss, preference_loss, token_log_probs
from week10_dpo.ppo import Written, in_rows

PAD, END, ASKS, ANSWERS = range(4)  # the tokens that are no text
METHODS = ("dpo", "ppo", "grpo")
Row = dict[str, Any]
Ids = tuple[list[int], list[int], list[int]]  # prompt, chosen, rejected


@dataclass
class Config:
    """The flags of rlhf."""

    methods: tuple[Literal["dpo", "ppo", "grpo"], ...] = METHODS
    """Which of them."""
    data: str = "sample"
    """The pairs, as in train.py."""
    layers: Count = 3
    """Of the small language model."""
    d_model: Count = 128
    """How wide it is."""
    vocab: Count = 2000
    """How many tokens it knows."""
    sft_steps: Count = 400
    """Steps in which it learns to answer at all: 32 answers each."""
    reward_steps: Count = 60
    """Steps of the reward model: 16 pairs each."""
    dpo_steps: Count = 60
    """Steps of DPO: 16 pairs each."""
    rl_steps: Count = 20
    """Rounds of PPO and GRPO: so often answers are written, scored and learned from."""
    answers: Count = 64
    """Answers of a round; GRPO asks 8 for each prompt."""
    longest: Count = 40
    """Tokens of an answer."""
    lr: Positive = 3e-5
    """Rate of all three. Too large, and DPO writes nonsense that its reward likes."""
    beta: Positive = 0.1
    """What being likelier than the reference costs, in all three."""
    scored: Count = 100
    """Prompts held back that are answered for the judge."""
    seed: Seed = 0
    """Everything random follows from it."""
    seeds: Count = 1
    """How often all of it is done: from --seed and the seeds after it."""
    preset: str = "quick"
    """A set of defaults: `smoke` (seconds), `quick` (minutes), `full` (longer). A flag given by hand wins."""
    publish: bool = False
    """Put the table into the week's RESULTS.md (for whoever looks after the lesson)."""
    out: str = str(RUNS / "week10" / "rlhf")
    """The folder for numbers and picture."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"layers": 1, "d_model": 32, "vocab": 300, "sft_steps": 3, "reward_steps": 2, "dpo_steps": 2,
              "rl_steps": 2, "answers": 16, "longest": 6, "scored": 4},
    "quick": {},
    "full": {"layers": 6, "d_model": 256, "sft_steps": 2000, "reward_steps": 300, "dpo_steps": 300, "rl_steps": 100,
             "seeds": 3},
}  # fmt: skip


# ---------------------------------------------------------------- what they begin with


def tokens_for(part: Part, vocab: int) -> Any:
    """A byte-level BPE tokenizer that has learned from the training pairs."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=["<pad>", "<end>", "<asks>", "<answers>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator((text for p in part.items for text in (p.prompt, p.chosen, p.rejected)), trainer)
    return tokenizer


def held_back(part: Part) -> tuple[Part, Part]:
    """Pairs to train on, and those of every eighth prompt, to look at. Their phrasing is the same: a model of this size
    does not know what words mean that it has not seen, so on val's, which is new, its reward model would only guess."""
    held = set(sorted({pair.prompt for pair in part.items})[::8])
    rows = np.array([pair.prompt in held for pair in part.items])
    return part.take(np.flatnonzero(~rows)), part.take(np.flatnonzero(rows))


def encoded(part: Part, tokenizer: Any) -> list[Ids]:
    """(prompt, chosen, rejected) of each pair."""

    def ids(text: str) -> list[int]:
        return tokenizer.encode(text).ids

    return [
        ([ASKS, *ids(pair.prompt), ANSWERS], [*ids(pair.chosen), END], [*ids(pair.rejected), END])
        for pair in part.items
    ]  # fmt: skip


def both(pairs: Sequence[Ids]) -> Written:
    """Rows: first all chosen, then all rejected."""
    return in_rows(
        [*((prompt, one) for prompt, one, _ in pairs), *((prompt, other) for prompt, _, other in pairs)], PAD
    )


def network(cfg: Config, words: int) -> Any:
    """A small Llama with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = max(1, cfg.d_model // 32)
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=words, hidden_size=cfg.d_model, intermediate_size=8 * cfg.d_model // 3,
        num_hidden_layers=cfg.layers, num_attention_heads=heads, num_key_value_heads=heads, tie_word_embeddings=True,
        max_position_embeddings=512, pad_token_id=PAD, eos_token_id=END, bos_token_id=None,
    ))  # fmt: skip


def drawn(pairs: Sequence[Ids], count: int, rng: np.random.Generator) -> list[Ids]:
    return [pairs[row] for row in rng.permutation(len(pairs))[:count]]


def descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """One step against a loss, its gradient clipped to length 1."""
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
    optimizer.step()


def made_to_answer(cfg: Config, pairs: Sequence[Ids], words: int, rng: np.random.Generator) -> Any:
    """The reference: supervised on all answers, chosen and rejected alike."""
    net = network(cfg, words).train()
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    for step in range(cfg.sft_steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / cfg.sft_steps)
        rows = both(drawn(pairs, 16, rng))
        labels = rows.ids.masked_fill(~rows.answer, -100)[:, 1:]
        logits = net(input_ids=rows.ids, attention_mask=rows.attention).logits[:, :-1]
        descend(optimizer, F.cross_entropy(logits.flatten(0, 1), labels.flatten()))
    return nets.frozen(net)


def made_to_judge(cfg: Config, reference: Any, pairs: Sequence[Ids], rng: np.random.Generator) -> nets.RewardModel:
    """The reward model: the reference with another head, trained by Bradley and Terry's loss."""
    scores = nets.RewardModel(copy.deepcopy(reference)).train().requires_grad_(True)
    optimizer = torch.optim.AdamW(scores.parameters(), 5e-4)
    for _ in range(cfg.reward_steps):
        rows = both(drawn(pairs, 16, rng))
        descend(optimizer, bradley_terry_loss(*scores(rows.ids, rows.attention).chunk(2)).mean())
    return scores.eval().requires_grad_(False)


# ---------------------------------------------------------------- three ways


@torch.no_grad()
def said(net: Any, rows: Written) -> torch.Tensor:
    """The log-probability of each token but the first (batch, time - 1)."""
    return token_log_probs(net(input_ids=rows.ids, attention_mask=rows.attention).logits, rows.ids)


Watch = Callable[[Any, int], None]  # the policy, and how many steps it has made


def dpo(cfg: Config, reference: Any, _: Any, pairs: Sequence[Ids], rng: np.random.Generator, watch: Watch) -> Any:
    """From the pairs alone."""
    policy = copy.deepcopy(reference).train().requires_grad_(True)
    optimizer = torch.optim.AdamW(policy.parameters(), cfg.lr)
    for step in range(cfg.dpo_steps):
        rows = both(drawn(pairs, 16, rng))
        batch = rows.ids, rows.attention, rows.answer
        fixed = nets.reference_log_probs(policy, [batch], reference)[0]
        descend(
            optimizer, preference_loss(LogProbs.halves(*nets.log_probs(policy, *batch)), fixed, "dpo", cfg.beta).mean()
        )
        watch(policy, step + 1)
    return policy


def by_ppo(
    cfg: Config, reference: Any, scores: Any, pairs: Sequence[Ids], rng: np.random.Generator, watch: Watch
) -> Any:  # fmt: skip
    """From answers of its own: written, scored, learned from."""
    policy = copy.deepcopy(reference).train().requires_grad_(True)
    actor, flags = ppo.ActorCritic(policy), ppo.PPOConfig(beta=cfg.beta)
    optimizer = torch.optim.AdamW(actor.parameters(), cfg.lr)
    draw = torch.Generator().manual_seed(int(rng.integers(2**31)))
    for step in range(cfg.rl_steps):
        prompts = [pairs[row][0] for row in rng.integers(len(pairs), size=cfg.answers)]
        written = ppo.write(policy, prompts, cfg.longest, END, PAD)
        with torch.no_grad():
            gained = scores(written.ids, written.attention)
        rollout = ppo.judge(actor, said(reference, written), written, gained, cfg.beta)
        ppo.update(actor, optimizer, rollout, flags, draw)
        watch(policy, step + 1)
    return policy


def by_grpo(
    cfg: Config, reference: Any, scores: Any, pairs: Sequence[Ids], rng: np.random.Generator, watch: Watch
) -> Any:  # fmt: skip
    """From answers in groups."""
    policy = copy.deepcopy(reference).train().requires_grad_(True)
    optimizer, flags = torch.optim.AdamW(policy.parameters(), cfg.lr), grpo.GRPOConfig(beta=cfg.beta, epochs=4)
    for step in range(cfg.rl_steps):
        asked = rng.integers(len(pairs), size=max(1, cfg.answers // flags.group))
        written = ppo.write(
            policy, [pairs[row][0] for row in asked for _ in range(flags.group)], cfg.longest, END, PAD
        )  # fmt: skip
        with torch.no_grad():
            gained = scores(written.ids, written.attention)
        grpo.update(policy, optimizer, written, said(reference, written), gained, flags)
        watch(policy, step + 1)
    return policy


WAYS: dict[str, Callable[..., Any]] = {"dpo": dpo, "ppo": by_ppo, "grpo": by_grpo}


# ---------------------------------------------------------------- what came of it


def seen(cfg: Config, net: Any, reference: Any, scores: Any, prompts: Sequence[list[int]]) -> tuple[Row, Written]:
    """What a model writes to these prompts: {reward, kl (nats an answer), tokens, ended}, and the answers."""
    with torch.random.fork_rng():
        torch.manual_seed(cfg.seed)
        written = ppo.write(net, prompts, cfg.longest, END, PAD)
    with torch.no_grad():
        reward = scores(written.ids, written.attention).mean().item()
    kl = ((said(net.eval(), written) - said(reference, written)) * written.mask).sum(1).mean().item()
    net.train()
    ended = ((written.ids == END) & written.answer).any(1).float().mean().item()
    return {"reward": reward, "kl": kl, "tokens": written.answer.sum(1).float().mean().item(), "ended": ended}, written


@torch.no_grad()
def prefers(net: Any, reference: Any, pairs: Sequence[Ids]) -> float:
    """The share of pairs whose chosen answer has the larger implicit reward (any model has one: log p / p_ref)."""
    right = []
    for start in range(0, len(pairs), 64):
        rows = both(pairs[start : start + 64])
        gain = ((said(net, rows) - said(reference, rows)) * rows.mask).sum(1)
        chosen, rejected = gain.chunk(2)
        right.append(chosen > rejected)
    return torch.cat(right).float().mean().item()


def once(cfg: Config, seed: int, pairs: Splits, polite: Callable[[list[str]], np.ndarray]) -> tuple[list[Row], Row]:
    """All of it from one seed: a row for the reference and for each method, and the way that each has gone."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 10])
    part, held = held_back(pairs.train)
    tokenizer = tokens_for(part, cfg.vocab)
    train, val = encoded(part, tokenizer), encoded(held, tokenizer)
    asked = list({tuple(prompt): prompt for prompt, _, _ in val}.values())
    prompts = [asked[row % len(asked)] for row in range(cfg.scored)]
    began = time.process_time()
    reference = made_to_answer(cfg, train, tokenizer.get_vocab_size(), rng)
    between = time.process_time()
    scores = made_to_judge(cfg, reference, train, rng)
    judged = time.process_time()
    right = [scores(rows.ids, rows.attention) for rows in (both(val[at : at + 64]) for at in range(0, len(val), 64))]
    right = torch.cat([one > other for one, other in (row.chunk(2) for row in right)]).float().mean().item()
    print(f"seed {seed}: the reward model prefers the chosen answer in {right:.1%} of the {len(val)} pairs held back")
    found: list[Row] = []
    ways: Row = {}

    def add(name: str, net: Any, seconds: float) -> None:
        row, written = seen(cfg, net, reference, scores, prompts)
        texts = [tokenizer.decode(ids[answer].tolist()).strip() or "(nothing)"
                 for ids, answer in zip(written.ids, written.answer, strict=True)]  # fmt: skip
        row |= {"method": name, "seed": seed, "seconds": seconds, "polite": float(np.mean(polite(texts)))}
        row |= {"prefers": prefers(net, reference, val), "example": texts[0], "reward_model": right}
        found.append(row)
        measured = f"reward {row['reward']:+6.2f}   KL {row['kl']:z5.2f}   {row['tokens']:4.1f} tokens"
        print(
            f"  {name:10s} polite {row['polite']:6.1%}   {measured}   {seconds:5.1f} s\n{'':13s}{texts[0]!r:.100}",
            flush=True,
        )

    add("reference", copy.deepcopy(reference), between - began)
    for name in cfg.methods:
        ways[name] = []
        spent, last = 0.0, time.process_time()
        steps = cfg.dpo_steps if name == "dpo" else cfg.rl_steps

        def watch(net: Any, step: int, name: str = name, steps: int = steps) -> None:
            nonlocal spent, last
            spent += time.process_time() - last
            if step % max(1, steps // 10) == 0:
                row, _ = seen(cfg, net, reference, scores, prompts)
                ways[name].append({"step": step, "reward": row["reward"], "kl": row["kl"], "seconds": spent})
            last = time.process_time()

        net = WAYS[name](cfg, reference, scores, train, rng, watch)
        add(name, net, spent + (judged - between if name != "dpo" else 0.0))
    return found, ways


def draw(path: Path, ways: dict[str, list[Row]]) -> None:
    """How far each has gone from the reference, and what it got for it."""
    with plots.figure(path, 1, 1, (6.4, 3.6)) as (_, axes):
        for name, points in ways.items():
            axes.plot([p["kl"] for p in points], [p["reward"] for p in points], marker="o", markersize=3, label=name)
        axes.set_xlabel("KL from the reference, nats an answer")
        axes.set_ylabel("the reward model's mean score")
        axes.legend()


def main(cfg: Config) -> dict[str, Any]:
    """Trains a small language model by DPO, by PPO and by GRPO from the same pairs, and compares them."""
    with quiet():
        import transformers  # noqa: F401  what it says of itself, now
    pairs = data.load(cfg.data)
    somebody = judge.Judge.trained()
    rows: list[Row] = []
    ways: dict[str, list[Row]] = {}
    for seed in range(cfg.seed, cfg.seed + cfg.seeds):
        found, gone = once(cfg, seed, pairs, somebody.polite)
        for row in found:  # scores of another reward model have another zero
            row["gain"] = row["reward"] - found[0]["reward"]
        rows, ways = [*rows, *found], ways or gone
    lines = []
    for name in ("reference", *cfg.methods):
        mine = [row for row in rows if row["method"] == name]
        cell = {key: [row[key] for row in mine] for key in ("polite", "gain", "kl", "tokens", "prefers", "seconds")}

        def shown(key: str, form: str, scale: float = 1.0, cell: Row = cell) -> str:
            mean = f"{scale * np.mean(cell[key]):{form}}"
            return f"{mean} ± {scale * np.std(cell[key], ddof=1):{form.lstrip('+')}}" if len(cell[key]) > 1 else mean

        lines.append([name, shown("polite", ".0f", 100), shown("prefers", ".0f", 100), shown("gain", "+.2f"),
                      shown("kl", "z.1f"), shown("tokens", ".1f"), shown("seconds", ".0f")])  # fmt: skip
    columns = ["", "polite, %", "prefers the chosen, %", "reward gained", "KL, nats", "tokens", "processor s"]
    about = (
        f"*`{typed('--publish')}`: {cfg.scored} answers to prompts held back, {cfg.seeds} seed{'s' * (cfg.seeds > 1)}; "
        f"the reward model's time is in that of ppo and grpo; {race.processor()}*"
    )
    text = f"{about}\n\n{results.markdown(columns, lines)}"
    print(f"\n{text}\n")
    out = Path(cfg.out)
    draw(out / "rlhf.png", ways)
    write_json(out / "rlhf.json", {"rows": rows, "ways": ways})
    if cfg.publish:
        results.publish(10, "rlhf", text)
    print(f"numbers and picture: {out}")
    return {"rows": rows, "ways": ways}


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
