"""Teaches a language model by pairs of answers, SFT and then DPO: `./course train 10`, or
`python -m week10_dpo.train --help`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week10_dpo/train.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn

from shared import chat_models, cli, runs
from shared.config import Count, Natural, NonNegative, Positive, Share, TrainConfig
from shared.device import Device, autocast, choose
from shared.errors import CourseError
from shared.loop import Loop
from shared.progress import bar
from shared.seed import seed_everything
from shared.splits import Splits
from shared.terminal import mine
from week10_dpo import chats, data, drawing, judge
from week10_dpo.chats import Encoded
from week10_dpo.losses import LogProbs, Loss, accuracy, margins, preference_loss, rewards
from week10_dpo.model import frozen, log_probs, reference, with_adapters

WEEK_NUMBER = 10
KL_PAIRS = 8  # of val, on whose chosen answers the divergence from the reference is watched


@dataclass
class Config(TrainConfig):
    """The flags of week 10."""

    data: str = "sample"
    """`sample` (bundled, made up: polite and rude answers), `hh-rlhf` (downloaded once), a folder in its layout, or a
    .jsonl of your own with prompt, chosen and rejected."""
    model: str = "smollm2"
    """The language model to begin with: `smollm2` (offline), a name of the hub, or a folder."""
    loss: Loss = "dpo"
    """dpo; ipo (a margin to reach and not to pass; --beta is another scale); cdpo (with --label-smoothing); dpo_norm
    (per token, with a larger --beta)."""
    beta: Positive = 0.3
    """How strongly it is held to the reference. Small: it moves far, and may forget how to answer."""
    label_smoothing: Annotated[float, Ge(0), Lt(0.5)] = 0.0
    """How many of the preferences are taken to be wrong (cdpo)."""
    sft_steps: Natural = 20
    """Steps on the chosen answers alone, before DPO; what comes out is the reference. 0: none."""
    sft_lr: Positive = 1e-3
    """The largest step of these."""
    lora: bool = True
    """Train adapters; --no-lora: all weights, with a --lr of 5e-6 and three times the memory."""
    rank: Count = 16
    """Of the adapters: more of it, more that they can learn."""
    alpha: Positive = 32.0
    """The adapters' change is scaled by alpha / rank."""
    trainer: Literal["loop", "trl"] = "loop"
    """The loop that stands here, or trl's DPOTrainer."""
    cache: bool = True
    """What the reference says is computed once and kept; --no-cache: anew in every step, as trl does by default."""
    max_len: Annotated[int, Ge(8)] = 128
    """Tokens of a prompt with an answer. Lower it, or raise --accumulate, when memory runs out."""
    long: chats.Long = "refuse"
    """What becomes of longer pairs: an error (refuse), left out (drop), or the answer's end cut off (cut)."""
    examples: Natural = 0
    """Train on so many pairs, drawn by the seed; 0: on all."""
    most_val: Natural = 40
    """Choose the best weights on so many pairs of val, always the same ones; 0: on all."""
    lr: Positive = 3e-4
    """The largest step of DPO, at the end of the warm-up. Too large: both answers become unlikely, and KL leaps."""
    warmup: Share = 0.1
    """The share of all steps in which the rate grows to --lr; then it falls to zero in a line."""
    clip: NonNegative = 1.0
    """Longest gradient, as the norm over all that learns; longer ones are shortened. 0: none."""
    batch_size: Count = 4
    """Pairs per step: twice as many rows."""
    accumulate: Count = 1
    """A batch is worked on in so many pieces, and their gradients are added: less memory, the same step."""
    epochs: Count = 6
    """An epoch here is --steps-per-epoch steps, after which it looks at val."""
    steps_per_epoch: Count = 10
    """How many steps lie between two rows of the log."""
    max_steps: Natural = 0
    """Stop after so many steps of DPO (0: at the end of the epochs). The schedule is fitted to it."""
    threads: Natural = 0
    """CPU threads (0: as many as torch takes). With another number results differ in the last digits."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"examples": 16, "most_val": 8, "sft_steps": 2, "epochs": 2, "steps_per_epoch": 3},
    "quick": {"examples": 160, "most_val": 48, "sft_steps": 16, "epochs": 3, "steps_per_epoch": 10},
    "full": {"data": "hh-rlhf", "model": "smollm2-1.7b", "max_len": 768, "long": "drop", "sft_steps": 400,
             "sft_lr": 1e-4, "beta": 0.1, "lr": 2e-5, "batch_size": 64, "accumulate": 16, "epochs": 10,
             "steps_per_epoch": 100, "most_val": 500},
}  # fmt: skip
# What --resume may change: how long and in what steps it goes on, and where it computes.
FREE = ("epochs", "max_steps", "lr", "clip", "accumulate", "device", "threads")


class Known:
    """What the reference says of the answers of some pairs, which never changes: computed once, or on demand.

    Args:
        encoded: the pairs.
        sums: (2, pairs): log-probabilities of the chosen and of the rejected answers; None: they are not kept.
        ask: what gives those of a batch, where they are not kept.
    """

    def __init__(self, encoded: Encoded, sums: Tensor | None = None, ask: Any = None) -> None:
        self.encoded, self.sums, self.ask = encoded, sums, ask

    def take(self, rows: Sequence[int], device: str) -> LogProbs:
        """Of these pairs, as (pairs,) tensors on the device."""
        if self.sums is None:
            return LogProbs.halves(*self.ask(self.encoded.batch(rows, device)))
        tokens = torch.tensor([[len(self.encoded.rows[row][which]) for row in rows] for which in (1, 2)], device=device)
        chosen, rejected = self.sums[:, list(rows)].to(device)
        return LogProbs(chosen, rejected, *tokens)


def learning_rate(step: int, steps: int, warmup: float) -> float:
    """What share of --lr step number `step` (from 0) of `steps` is to have: up in a line, then down in a line to 0."""
    rising = max(1, round(warmup * steps))
    return (step + 1) / rising if step < rising else max(0.0, (steps - step) / max(1, steps - rising + 1))


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of the next step, for all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = lr


@lru_cache(maxsize=4)
def shuffled(seed: int, turn: int, count: int) -> list[int]:
    return np.random.default_rng([seed, turn]).permutation(count).tolist()


def rows_of(step: int, size: int, count: int, seed: int) -> list[int]:
    """Which of `count` pairs step number `step` takes: all come once, in a new order, before one comes again."""
    return [shuffled(seed, place // count, count)[place % count] for place in range(step * size, (step + 1) * size)]


def pieces(rows: Sequence[int], many: int) -> list[list[int]]:
    """The rows in so many pieces, as far as they go."""
    return [piece.tolist() for piece in np.array_split(np.asarray(rows), min(many, len(rows)))]


def sft(cfg: Config, train: Encoded, model: nn.Module, device: Device) -> float:
    """Supervised fine-tuning: steps on the chosen answers alone. Returns the mean loss of a token.

    Raises:
        Diverged: the loss is no longer a number.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, cfg.sft_lr, weight_decay=0.0)
    scaler = torch.amp.GradScaler(device.name, init_scale=2.0**12, enabled=device.dtype == "float16")
    with Loop(cfg, None, cfg.sft_steps, cfg.sft_steps, f"Try --sft-lr {cfg.sft_lr / 3:g}.", "SFT") as loop:
        for _ in loop.epochs():
            model.train()
            for step in loop.batches(range(cfg.sft_steps)):
                set_lr(optimizer, cfg.sft_lr * learning_rate(step, cfg.sft_steps, cfg.warmup))
                optimizer.zero_grad()
                rows = rows_of(step, cfg.batch_size, len(train), cfg.seed)
                many, total = sum(len(train.rows[row][1]) for row in rows), 0.0
                for piece in pieces(rows, cfg.accumulate):
                    with autocast(device):
                        sums, _ = log_probs(model, *train.batch(piece, device.name, only_chosen=True))
                    loss = -sums.sum() / many  # of all answers' tokens, so that the pieces add up
                    scaler.scale(loss).backward()
                    total += loss.item()
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(weights, cfg.clip or torch.inf)
                scaler.step(optimizer)
                scaler.update()
                loop.add(total)
    return loop.losses / cfg.sft_steps


def fit(
    cfg: Config, train: Encoded, val: Encoded, model: nn.Module, known: tuple[Known, Known], device: Device,
    copy_of: Any = None, run: runs.Run | None = None, label: str = "DPO",
) -> Iterator[runs.Row]:  # fmt: skip
    """The training loop of DPO. Yields {epoch, step, train_loss, val_loss, val_accuracy, …, seconds} after every epoch.

    Args:
        cfg: how to train.
        train, val: trained on the one, and looked at the other after every epoch.
        model: the policy, changed in place.
        known: what the reference says of train, and of val.
        device: what to compute on; the model is there.
        copy_of: the frozen copy, where all weights learn.
        run: where the state is kept, and which is gone on with; None keeps nothing.
        label: of the progress bar.

    Raises:
        Diverged: the loss is no longer a number.
        Stopped: Ctrl-C was pressed; the state is saved.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, cfg.lr, weight_decay=0.0)
    # fp16 cannot hold small gradients, so there the loss is multiplied, and the gradients divided again. Else it rests.
    scaler = torch.amp.GradScaler(device.name, init_scale=2.0**12, enabled=device.dtype == "float16")
    steps, per_epoch = cfg.max_steps or cfg.epochs * cfg.steps_per_epoch, cfg.steps_per_epoch
    advice = f"Try --lr {cfg.lr / 5:g}."

    # A Loop only keeps count: it restores and saves these, passes over what is done, and hears Ctrl-C.
    parts = {"model": chat_models.Learned(model), "optimizer": optimizer, "scaler": scaler}
    with Loop(cfg, run, steps, per_epoch, advice, label, **parts) as loop:
        for epoch in loop.epochs():
            model.train()
            for step in loop.batches(range(epoch * per_epoch, (epoch + 1) * per_epoch)):
                set_lr(optimizer, cfg.lr * learning_rate(step, steps, cfg.warmup))
                optimizer.zero_grad()
                rows, total = rows_of(step, cfg.batch_size, len(train), cfg.seed), 0.0
                for piece in pieces(rows, cfg.accumulate):
                    with autocast(device):
                        policy = LogProbs.halves(*log_probs(model, *train.batch(piece, device.name)))
                    before = known[0].take(piece, device.name)
                    each = preference_loss(policy, before, cfg.loss, cfg.beta, cfg.label_smoothing)  # (pairs,)
                    loss = each.sum() / len(rows)
                    scaler.scale(loss).backward()
                    total += loss.item()
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(weights, cfg.clip or torch.inf)
                scaler.step(optimizer)
                scaler.update()
                loop.add(total)
            yield loop.row(**evaluate(cfg, model, val, known[1], device, copy_of))


def said(model: nn.Module, encoded: Encoded, device: Device, size: int = 8, label: str = "reading") -> Tensor:
    """(2, pairs) on the CPU: log-probabilities of the chosen and of the rejected answers of all pairs.

    Pairs of about the same length share a batch, so that little is padded.
    """
    found = torch.zeros(2, len(encoded))
    order, mode = np.argsort(encoded.lengths, kind="stable").tolist(), model.training
    model.eval()
    with torch.no_grad(), bar(len(order), label=label) as told:
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            with autocast(device):
                sums, _ = log_probs(model, *encoded.batch(rows, device.name))
            found[:, rows] = sums.float().cpu().view(2, -1)
            told.update(len(rows))
    model.train(mode)
    return found


def kl_per_token(model: Any, encoded: Encoded, device: Device, copy_of: Any = None) -> float:
    """KL(policy ‖ reference) of the next token, exactly, as a mean over the tokens of some chosen answers."""
    ids, attention, answer = encoded.batch(range(min(KL_PAIRS, len(encoded))), device.name, only_chosen=True)
    with torch.no_grad():
        policy = model(input_ids=ids, attention_mask=attention).logits[:, :-1].float().log_softmax(-1)
        with reference(model, copy_of) as asked:
            before = asked(input_ids=ids, attention_mask=attention).logits[:, :-1].float().log_softmax(-1)
    each = (policy.exp() * (policy - before)).sum(-1)  # (rows, time - 1)
    return float(each[answer[:, 1:]].mean())


def evaluate(
    cfg: Config, model: Any, val: Encoded, known: Known, device: Device, copy_of: Any = None
) -> dict[str, float]:
    """What is watched: loss, accuracy, rewards of both answers and their margin, log-probabilities of both, KL. The
    model is left in evaluation mode."""
    model.eval()
    rows = list(range(len(val)))
    before = known.take(rows, "cpu")
    policy = LogProbs(*said(model, val, device), before.chosen_tokens, before.rejected_tokens)
    chosen, rejected = rewards(policy, before, cfg.beta)
    return {
        "loss": preference_loss(policy, before, cfg.loss, cfg.beta, cfg.label_smoothing).mean().item(),
        "accuracy": accuracy(chosen, rejected),
        "chosen_reward": chosen.mean().item(),
        "rejected_reward": rejected.mean().item(),
        "margin": margins(chosen, rejected).mean().item(),
        "chosen_log_prob": policy.chosen.mean().item(),
        "rejected_log_prob": policy.rejected.mean().item(),
        "kl": kl_per_token(model, val, device, copy_of),
    }


# ---------------------------------------------------------------- before DPO


def policy_of(cfg: Config, model: Any) -> Any:
    """The model as it learns: with new adapters, drawn from the seed, or all of it."""
    if not cfg.lora:
        return model.requires_grad_(True)
    seed_everything(cfg.seed)
    with chat_models.quiet():
        return with_adapters(model, cfg.rank, cfg.alpha)


def with_learned(cfg: Config, model: Any, weights: Mapping[str, Tensor]) -> Any:
    """A plain model with what was learned: the adapters are added to its matrices."""
    if not weights:
        return model
    model = policy_of(cfg, model)
    chat_models.Learned(model).load_state_dict(weights)
    with chat_models.quiet():
        return model.merge_and_unload().eval() if cfg.lora else model.eval()


def pretrain(cfg: Config, train: Encoded, model: Any, device: Device) -> dict[str, Any]:
    """The weights that SFT comes to, and its loss; nothing where there is none."""
    if not cfg.sft_steps:
        return {"weights": {}, "loss": 0.0}
    policy = policy_of(cfg, model)
    loss = sft(cfg, train, policy, device)
    found = chat_models.Learned(policy).state_dict()
    with chat_models.quiet():
        model = policy.unload() if cfg.lora else model  # the model as it was
    return {"weights": found, "loss": loss}


def train_baselines(texts: Splits, before: Tensor, params: int) -> dict[str, Any]:
    """What words alone come to on val; and the answer that the reference finds likelier. A coin comes last."""
    words = judge.BagOfWords(texts.train)
    likelier = float((before[0] > before[1]).float().mean())
    return {"rows": [
        {"name": judge.WORDS, "params": words.params, "seconds": 0.0, "val_accuracy": words.accuracy(texts.val)},
        {"name": judge.LIKELIER, "params": params, "seconds": 0.0, "val_accuracy": likelier},
        {"name": judge.COIN, "params": 0, "seconds": 0.0, "val_accuracy": 0.5},
    ]}  # fmt: skip


def check(cfg: Config) -> None:
    """CourseError where two flags do not go together."""
    if cfg.label_smoothing and cfg.loss != "cdpo":
        raise CourseError(f"--label-smoothing {cfg.label_smoothing:g}: only --loss cdpo has it, not {cfg.loss}.")
    if cfg.trainer == "trl":
        from week10_dpo import trl_loop

        trl_loop.check(cfg)


def main(cfg: Config) -> dict[str, Any]:
    """Fine-tunes a language model on chosen answers, aligns it by DPO, and shows the result beside its baselines.

    Returns what result.json holds; the run folder is under the key "run".
    """
    device = choose(cfg.device)
    check(cfg)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    if Path(cfg.model).expanduser().is_dir():  # a resume may be typed in another folder
        cfg = replace(cfg, model=str(Path(cfg.model).expanduser().absolute()))
    texts = data.load(cfg.data).first(cfg.examples, cfg.seed, cfg.most_val)
    tokenizer, model = chat_models.load(cfg.model, device=device.name)
    total = sum(weight.numel() for weight in model.parameters())
    train, val = (chats.encode(part, tokenizer, cfg.max_len, cfg.long) for part in (texts.train, texts.val))
    run = runs.begin(WEEK_NUMBER, cfg, FREE)
    run.hold_to(texts)
    runs.describe(texts, "pairs")
    runs.tell((*train.notes, *val.notes))
    first = run.once("sft", lambda: pretrain(cfg, train, model, device), own=True)
    model = with_learned(cfg, model, first["weights"])
    copy_of = None if cfg.lora else frozen(model)
    model = policy_of(cfg, model)
    params = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    print(f"model: {cfg.model}, {total:,} parameters, {params:,} of them learn. Device: {device}")
    if first["weights"]:
        print(f"SFT: {cfg.sft_steps} steps on chosen answers, mean loss {first['loss']:.4f} a token; now DPO")

    def ask(some: Encoded) -> Tensor:
        with reference(model, copy_of) as asked:
            return said(asked, some, device, label="reference")

    kept = run.once(
        "reference", lambda: {"val": ask(val), **({"train": ask(train)} if cfg.cache else {})}, own=True
    )  # fmt: skip

    def anew(batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        with reference(model, copy_of) as asked, autocast(device):
            return log_probs(asked, *batch)

    known = Known(train, kept.get("train"), anew), Known(val, kept["val"])
    theirs = run.once("baselines", lambda: train_baselines(texts, kept["val"], total))

    learned = chat_models.Learned(model)  # now: trl puts adapters of its own beside these

    def keep() -> dict[str, Any]:
        return {"sft": first["weights"], "dpo": learned.state_dict()}

    if cfg.trainer == "trl":
        from week10_dpo import trl_loop

        def look() -> dict[str, float]:
            return evaluate(cfg, model, val, known[1], device)

        best, last = trl_loop.follow(cfg, run, texts.train, tokenizer, model, look, device, keep)
    else:
        best, last = run.follow(fit(cfg, train, val, model, known, device, copy_of, run), keep)
    advice = "Try another --lr, more --epochs, or --examples 0."
    hint = f"talk to it: ./course run 10 chat{mine()}{{run}} --compare base sft dpo"
    drawing.watched(run.folder / "rewards.png", {"this run": (cfg.beta, run.rows)})
    about = {"loss": cfg.loss, "beta": cfg.beta, "synthetic": texts.synthetic}
    return run.finish(best, last, device, params, theirs["rows"], advice, [hint], **about)


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS, week=WEEK_NUMBER)
