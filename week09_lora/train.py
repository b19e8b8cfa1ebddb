"""Tunes a language model on instructions with LoRA: `./course train 9`, or `python -m week09_lora.train --help`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week09_lora/train.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from shared import chat_models, cli, runs
from shared.config import Count, Natural, NonNegative, Positive, Share, TrainConfig
from shared.conversation import write
from shared.device import Device, autocast, choose
from shared.errors import CourseError
from shared.loop import Loop
from shared.seed import seed_everything
from shared.splits import Part, Splits
from shared.terminal import mine
from week09_lora import data, oom
from week09_lora.model import count_parameters, inject, save_adapter
from week09_lora.tokens import IGNORE, Batch, Encoded, encode, in_batches

WEEK_NUMBER = 9
METRIC = "val_loss"


@dataclass
class Config(TrainConfig):
    """The flags of week 9."""

    data: str = "sample"
    """`sample` (bundled, synthetic), `alpaca` or `dolly` (downloaded once), or a file: as these are published, or a
    .jsonl of your own with instruction (and input) and output, or messages."""
    model: str = "smollm2"
    """The model to begin with: `smollm2` (135 M parameters, offline), `llama3`, `mistral`, any OWNER/NAME of the hub,
    or a folder."""
    rank: Natural = 16
    """Rank of the adapters: more can learn more, and costs more. 0: no adapters, every weight learns (full
    fine-tuning)."""
    alpha: Positive = 32.0
    """The adapters' product is multiplied by so much over the rank."""
    rslora: bool = False
    """Over the square root of the rank instead (rsLoRA): for large ranks."""
    dropout: Share = 0.0
    """The share of an adapter's inputs silenced at random in training."""
    targets: tuple[str, ...] = ("all-linear",)
    """Which layers get adapters: `all-linear` (all but the output), or endings of names, as q_proj v_proj."""
    impl: Literal["scratch", "peft"] = "scratch"
    """The adapters of model.py, or the library's."""
    trainer: Literal["loop", "trl"] = "loop"
    """The loop below, or trl's SFTTrainer (with --impl peft)."""
    quantize: Literal["none", "int8", "nf4"] = "none"
    """Keep the frozen weights in 8 or 4 bits: QLoRA. Saves memory where the model is large, and costs time."""
    max_len: Annotated[int, Ge(8)] = 256
    """Tokens of an example at most, prompt and end included. Memory grows with it."""
    long: Literal["leave_out", "cut", "refuse"] = "leave_out"
    """What becomes of an example that is longer: leave it out, cut off its end (the model then does not learn to stop),
    or refuse the data."""
    pack: bool = False
    """Several short examples share a row of --max-len tokens, without seeing each other: nothing is padded."""
    examples: Natural = 0
    """Train on so many, drawn once; 0: on all."""
    most_val: Natural = 60
    """Look at so many of val, drawn once; 0: at all."""
    lr: Positive = 1e-3
    """The largest step. LoRA takes ten times what full fine-tuning takes; larger models take less: 2e-4 for 8 B."""
    warmup: Share = 0.1
    """The share of all steps in which the rate grows to --lr; then it falls to zero in half a cosine."""
    weight_decay: NonNegative = 0.0
    """Pulls what learns towards zero."""
    clip: NonNegative = 1.0
    """Longest gradient, as the norm over all that learns; longer ones are shortened. 0: none."""
    optimizer: Literal["auto", "adamw", "paged_adamw8bit"] = "auto"
    """paged_adamw8bit keeps its state in 8 bits, and moves it out of the GPU when that is full; auto takes it on CUDA
    with --quantize."""
    checkpointing: bool = False
    """Keep only each layer's input, and compute the rest again on the way back: much less memory, a third more time."""
    batch_size: Count = 8
    """Rows of a step. The first to lower when memory runs out: by half, with --accumulate doubled."""
    accumulate: Count = 1
    """A batch is worked on in so many pieces, and their gradients are added: less memory, the same step."""
    epochs: Count = 3
    """An epoch here is --steps-per-epoch steps, after which it looks at val."""
    steps_per_epoch: Count = 20
    """How many steps lie between two rows of the log."""
    max_steps: Natural = 0
    """Stop after so many steps (0: at the end of the epochs). The schedule is fitted to it."""
    show: Natural = 10
    """So many prompts of val are answered before and after the training, the same ones always."""
    threads: Natural = 0
    """CPU threads (0: as many as torch takes). With another number results differ in the last digits."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"rank": 4, "alpha": 8.0, "batch_size": 4, "epochs": 2, "steps_per_epoch": 3, "most_val": 10, "show": 1},
    "quick": {},
    "full": {"data": "alpaca", "model": "llama3", "quantize": "nf4", "max_len": 512, "pack": True,
             "checkpointing": True, "batch_size": 16, "accumulate": 8, "lr": 2e-4, "epochs": 5, "steps_per_epoch": 50,
             "most_val": 200},
}  # fmt: skip
# What --resume may change: how long and in what steps it goes on, and where it computes.
FREE = ("epochs", "max_steps", "lr", "clip", "accumulate", "checkpointing", "show", "device", "threads")


def build(cfg: Config, device: Device) -> tuple[Any, Any]:
    """(tokenizer, model) of a config, on the device: the published weights frozen and adapters drawn from the seed, or,
    with --rank 0, every weight learns.

    Raises:
        CourseError: as chat_models.load and model.inject; flags that do not go together, or not with the device.
    """
    if not cfg.rank and cfg.quantize != "none":
        raise CourseError(f"--rank 0 with --quantize {cfg.quantize}: rounded weights cannot learn. Give a --rank.")
    if cfg.trainer == "trl" and (cfg.impl != "peft" or cfg.pack):
        raise CourseError("--trainer trl takes --impl peft, and --no-pack.")
    if cfg.optimizer == "paged_adamw8bit" and device.name != "cuda":
        raise CourseError(f"--optimizer paged_adamw8bit: there is no GPU whose memory it could leave ({device.name}).")
    half = device.dtype if cfg.rank else "float32"  # what learns stays in 32 bits
    tokenizer, model = chat_models.load(cfg.model, cfg.quantize, device.name, half)
    seed_everything(cfg.seed)
    targets = oom.targets_of(cfg)
    if cfg.rank and cfg.impl == "scratch":
        inject(model, targets, cfg.rank, cfg.alpha, cfg.dropout, cfg.rslora)
    elif cfg.rank:
        from peft import LoraConfig, get_peft_model

        try:
            model = get_peft_model(model, LoraConfig(
                r=cfg.rank, lora_alpha=cfg.alpha, lora_dropout=cfg.dropout, use_rslora=cfg.rslora, bias="none",
                target_modules=targets, task_type="CAUSAL_LM",
            ))  # fmt: skip
        except ValueError as error:
            raise CourseError(f"--targets {' '.join(cfg.targets)}: {str(error).splitlines()[0][:200]}") from None
    else:
        model.requires_grad_(True)
    if cfg.checkpointing:
        with chat_models.quiet():
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return tokenizer, model


def make_optimizer(cfg: Config, model: nn.Module, device: Device) -> torch.optim.Optimizer:
    """AdamW over what learns (Loshchilov and Hutter, arXiv:1711.05101), or with its state in 8 bits (Dettmers et al.,
    arXiv:2110.02861) in pages that may leave the GPU (QLoRA, arXiv:2305.14314, section 3)."""
    learns = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kind = cfg.optimizer
    if kind == "auto":
        kind = "paged_adamw8bit" if device.name == "cuda" and cfg.quantize != "none" else "adamw"
    if kind == "adamw":
        return torch.optim.AdamW(learns, cfg.lr, weight_decay=cfg.weight_decay, fused=True)
    from bitsandbytes.optim import PagedAdamW8bit

    return PagedAdamW8bit(learns, cfg.lr, weight_decay=cfg.weight_decay)


def learning_rate(step: int, steps: int, warmup: float) -> float:
    """What share of --lr step number `step` (from 0) of `steps` is to have: up in a line, down in half a cosine."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return (1 + math.cos(math.pi * min(1.0, (step - rising + 1) / max(1, steps - rising + 1)))) / 2


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = lr


class Order:
    """Which rows a step reads: all of them in an order drawn by the seed, then all again in another one."""

    def __init__(self, cfg: Config, encoded: Encoded) -> None:
        self.cfg, self.encoded, self.passes = cfg, encoded, {}
        if cfg.pack:  # once, so that every pass has as many rows
            order = np.random.default_rng([cfg.seed, 9]).permutation(len(encoded)).tolist()
            self.rows = encoded.packed(cfg.max_len, order)
        else:
            self.rows = [[number] for number in range(len(encoded))]

    def of_step(self, step: int) -> list[list[int]]:
        """The rows of step number `step`, from 0: of each the examples in it."""
        found = []
        for number in range(step * self.cfg.batch_size, (step + 1) * self.cfg.batch_size):
            turn, place = divmod(number, len(self.rows))
            if turn not in self.passes:
                self.passes = {turn: np.random.default_rng([self.cfg.seed, turn]).permutation(len(self.rows))}
            found.append(self.rows[self.passes[turn][place]])
        return found


def response_loss(model: nn.Module, batch: Batch) -> Tensor:
    """The cross-entropy of all response tokens of a batch, their end tokens among them: a sum, in nats.

    Only the places where something is to be guessed go through the output layer: of 128,000 tokens of a Llama 3 the
    logits of a whole batch would take more memory than the model.
    """
    places = (batch.targets != IGNORE).any(dim=0).nonzero().squeeze(1)
    mask = batch.mask if batch.mask.ndim == 4 else batch.mask.long()
    logits = model(
        input_ids=batch.ids, attention_mask=mask, position_ids=batch.positions, logits_to_keep=places, use_cache=False
    ).logits  # (batch, places, vocab)
    targets = batch.targets[:, places]
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORE, reduction="sum")


def fit(
    cfg: Config, train: Encoded, val: Encoded, model: nn.Module, device: Device, run: runs.Run | None = None,
    label: str = "fine-tuning",
) -> Iterator[runs.Row]:  # fmt: skip
    """The training loop. Yields a row {epoch, step, train_loss, val_loss, seconds} every --steps-per-epoch steps.

    Args:
        cfg: how to train.
        train, val: trained on the one, and looked at the other at the end of every epoch.
        model: as `build` makes it, on the device; changed in place.
        device: what to compute on.
        run: where the state is kept, and which is gone on with; None keeps nothing.
        label: of the progress bar.

    Raises:
        Diverged: the loss is no longer a number.
        Stopped: Ctrl-C was pressed; the state is saved.
    """
    optimizer, order = make_optimizer(cfg, model, device), Order(cfg, train)
    # fp16 cannot hold small gradients, so there the loss is multiplied, and the gradients divided again. Else it rests.
    scaler = torch.amp.GradScaler(device.name, init_scale=2.0**12, enabled=device.dtype == "float16")
    steps, learning = cfg.max_steps or cfg.epochs * cfg.steps_per_epoch, chat_models.Learned(model)
    parts = {"model": learning, "optimizer": optimizer, "scaler": scaler}
    advice = f"Try --lr {cfg.lr / 5:g}."

    # A Loop only keeps count: it restores and saves these three, passes over what is done, and hears Ctrl-C.
    with Loop(cfg, run, steps, cfg.steps_per_epoch, advice, label, **parts) as loop:
        for epoch in loop.epochs():
            model.train()
            for step in loop.batches(range(epoch * cfg.steps_per_epoch, (epoch + 1) * cfg.steps_per_epoch)):
                set_lr(optimizer, cfg.lr * learning_rate(step, steps, cfg.warmup))
                rows = order.of_step(step)
                batches = [train.batch(rows[i :: cfg.accumulate], train.end) for i in range(cfg.accumulate) if rows[i:]]
                # Over the tokens of the whole step: a mean of the pieces' means would weigh short answers more.
                many = sum(int((batch.targets != IGNORE).sum()) for batch in batches)
                optimizer.zero_grad()
                total = 0.0
                for batch in batches:
                    with autocast(device):
                        loss = response_loss(model, batch.to(device.name)) / many
                    scaler.scale(loss).backward()
                    total += loss.item()
                scaler.unscale_(optimizer)
                if cfg.clip:
                    nn.utils.clip_grad_norm_(learning.parameters.values(), cfg.clip)
                scaler.step(optimizer)
                scaler.update()
                loop.add(total)
            yield loop.row(**evaluate(model, val, device))


@torch.no_grad()
def evaluate(model: nn.Module, some: Encoded, device: Device, size: int = 16) -> dict[str, float]:
    """What a response token costs, in nats. The model is left in evaluation mode."""
    model.eval()
    nats = 0.0
    for rows in in_batches(some, size):
        with autocast(device):
            nats += response_loss(model, some.batch(rows, some.end).to(device.name)).item()
    return {"loss": nats / some.response_tokens}


def guesses(train: Encoded, val: Encoded, vocab: int) -> float:
    """What a response token of val costs him who knows nothing but how often each occurs in the responses of train
    (with half an occurrence more for every token)."""
    counts = np.full(vocab, 0.5)
    for ids, (start, stop) in zip(train.ids, train.spans, strict=True):
        np.add.at(counts, list(ids[start:stop]), 1)
    cost = -np.log(counts / counts.sum())
    total = sum(cost[list(ids[start:stop])].sum() for ids, (start, stop) in zip(val.ids, val.spans, strict=True))
    return float(total / val.response_tokens)


UNTUNED, CONSTANT = "the untuned model", "the commonest tokens, always"


def score_baselines(model: nn.Module, train: Encoded, val: Encoded, params: int, device: Device) -> dict[str, Any]:
    """The published model as it is (its adapters still add nothing), and the frequencies of the response tokens."""
    import time

    began = time.perf_counter()
    untuned = evaluate(model, val, device)["loss"]
    seconds = round(time.perf_counter() - began, 2)
    vocab = model.get_input_embeddings().weight.shape[0]
    return {"rows": [
        {"name": UNTUNED, "params": params, "seconds": seconds, METRIC: untuned},
        {"name": CONSTANT, "params": 0, "seconds": 0.0, METRIC: guesses(train, val, vocab)},
    ]}  # fmt: skip


def ask(cfg: Config, model: Any, tokenizer: Any, some: Part, device: Device) -> dict[str, Any]:
    """What the model answers to the prompts of a part, as a checkpoint can hold it."""
    with autocast(device):
        written = write(model, tokenizer, [item.messages for item in some.items])
    return {"answers": [[one.text, one.tokens, one.stopped] for one in written]}


def compare(some: Part, before: list[list[Any]], after: list[list[Any]]) -> list[dict[str, str]]:
    """Prints what was answered before and after, and returns it."""
    found = []
    for item, old, new in zip(some.items, before, after, strict=True):
        told = [f"{one[0]}{'' if one[2] else ' …(does not stop)'}".replace("\n", " | ") for one in (old, new)]
        print(f"\n> {' '.join(item.prompt.split())[:150]}\n  before: {told[0][:150]}\n  after:  {told[1][:150]}"
              f"\n  wanted: {item.response[:150]!r}")  # fmt: skip
        found.append({"prompt": item.prompt, "before": told[0], "after": told[1], "wanted": item.response})
    return found


def prepared(cfg: Config, tokenizer: Any) -> tuple[Splits, Encoded, Encoded]:
    """The data of a config, and its train and val as tokens."""
    sets = data.load(cfg.data).first(cfg.examples, cfg.seed, cfg.most_val)
    return sets, *(encode(getattr(sets, part), tokenizer, cfg.max_len, cfg.long) for part in ("train", "val"))


def main(cfg: Config) -> dict[str, Any]:
    """Tunes a language model on instructions and shows the result beside the model as it was.

    Returns what result.json holds; the run folder is under the key "run".
    """
    device = choose(cfg.device)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    if Path(cfg.model).expanduser().is_dir():  # a resume may be typed in another folder
        cfg = replace(cfg, model=str(Path(cfg.model).expanduser().absolute()))
    with oom.told(cfg):
        return train(cfg, device)


def train(cfg: Config, device: Device) -> dict[str, Any]:
    """The life of a run."""
    data.load(cfg.data)  # refused before a model is fetched
    tokenizer, model = build(cfg, device)
    sets, train, val = prepared(cfg, tokenizer)
    run = runs.begin(WEEK_NUMBER, cfg, FREE)
    run.hold_to(sets)
    runs.describe(sets, "instructions")
    runs.tell(train.report.lines(cfg.max_len, cfg.long))
    params, total = count_parameters(model)
    published = total - params if cfg.rank else total
    print(f"model: {cfg.model}, {total:,} parameters, {params:,} of them learn ({params / total:.2%})"
          f"{'' if cfg.quantize == 'none' else f'; frozen ones as {cfg.quantize}'}. Device: {device}")  # fmt: skip
    baselines = run.once("baselines", lambda: score_baselines(model, train, val, published, device))
    asked = Part(data.each(sets.val, 1 + cfg.show // 10).items[: cfg.show])
    before = run.once("before", lambda: ask(cfg, model, tokenizer, asked, device)) if cfg.show else {}
    if cfg.trainer == "trl":
        from week09_lora.with_trl import fit_with_trl

        rows = fit_with_trl(cfg, sets, train, val, model, tokenizer, device, run, evaluate)
    else:
        rows = fit(cfg, train, val, model, device, run)
    learning = chat_models.Learned(model)
    best, last = run.follow(rows, lambda: {"model": learning.state_dict()}, METRIC, higher=False)
    from shared import checkpoint

    learning.load_state_dict(checkpoint.load(run.folder / runs.MODEL)["model"])
    save(cfg, model, run.folder)
    told = compare(asked, before["answers"], ask(cfg, model, tokenizer, asked, device)["answers"]) \
        if cfg.show else []  # fmt: skip
    hint = f"talk to it: ./course run 9 chat{mine()}{{run}} --compare"
    return run.finish(
        best, last, device, params, baselines["rows"], "Try another --lr, or more --epochs.", [hint],
        synthetic=sets.synthetic, answers=told,
    )  # fmt: skip


def save(cfg: Config, model: Any, folder: Path) -> None:
    """Writes the adapters into the run folder as peft has them: adapter_config.json, adapter_model.safetensors."""
    if not cfg.rank:
        return
    if cfg.impl == "scratch":
        save_adapter(model, folder, str(chat_models.HUB.get(cfg.model, cfg.model)))
    else:
        model.save_pretrained(str(folder))
        (folder / "README.md").unlink(missing_ok=True)


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS, week=WEEK_NUMBER)
