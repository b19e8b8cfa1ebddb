"""Teaches a language model to use tools by LoRA on traces: `./course train 15`, or
`python -m week15_agent.train --help`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week15_agent/train.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared import chat_models, cli, runs
from shared.config import Count, Natural, NonNegative, Positive, Share, TrainConfig
from shared.conversation import end_of_turn
from shared.device import Device, autocast, choose
from shared.errors import CourseError
from shared.loop import Loop
from shared.seed import seed_everything
from shared.terminal import mine
from week15_agent import data, traces
from week15_agent.constrain import Constraint
from week15_agent.decode import Episode, ask
from week15_agent.protocol import FORMATS, begin
from week15_agent.questions import Question, agent_tools, right
from week15_agent.rules import Rules
from week15_agent.search import Ways
from week15_agent.tools import Tools
from week15_agent.traces import IGNORE, Encoded

WEEK_NUMBER = 15
METRIC = "val_success"
FORM = FORMATS["react"]


@dataclass
class Config(TrainConfig):
    """The flags of week 15."""

    data: str = "sample"
    """`sample` (made up for this course, anew each time, by the seed of the data), or a .jsonl of your own with
    question, answer and calls."""
    model: str = "smollm2"
    """The language model to begin with: `smollm2` (135 M parameters, offline), a name of the hub, or a folder."""
    examples: Natural = 720
    """So many traces to train on (of one's own data 0: all). Variety is what carries over to other wordings."""
    most_val: Natural = 60
    """So many questions of val are really put to the agent after every epoch."""
    each: Natural = 0
    """So many made-up questions of each family of test are put to it by eval, the first ones; 0: all."""
    whole: Share = 0.2
    """The share of traces of sums that are learned to their last turn. To hand on what the calculator says is soon
    learned, and each turn costs."""
    rank: Count = 16
    """Rank of the adapters, on all linear layers: more can learn more, and costs more."""
    alpha: Positive = 32.0
    """The adapters' product is multiplied by so much over the rank."""
    layers: Natural = 20
    """Adapters in the uppermost layers only; 0: in all. Below the first adapter no gradient is needed."""
    lr: Positive = 1e-3
    """The largest step. Larger models take less: 2e-4 for 8 B."""
    warmup: Share = 0.1
    """The share of all steps in which the rate grows to --lr; then it falls to zero in half a cosine."""
    clip: NonNegative = 1.0
    """Longest gradient, as the norm over all that learns; longer ones are shortened. 0: none."""
    batch_size: Count = 4
    """Traces of a step. Few: it learns by steps, and the time is that of the tokens. The first to lower when memory
    runs out."""
    epochs: Count = 3
    """An epoch here is --steps-per-epoch steps, after which it looks at val."""
    steps_per_epoch: Count = 60
    """How many steps lie between two rows of the log."""
    max_steps: Natural = 0
    """Stop after so many steps (0: at the end of the epochs). The schedule is fitted to it."""
    search: Ways = "hybrid"
    """How the search finds passages: by words (bm25), by meaning (dense), or by both."""
    constrain: bool = True
    """Let val be answered in turns that always parse (constrain.py); --no-constrain: as the model likes."""
    threads: Natural = 0
    """CPU threads (0: as many as torch takes). With another number results differ in the last digits."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"examples": 24, "most_val": 6, "each": 1, "rank": 4, "alpha": 8.0, "layers": 4, "batch_size": 4,
              "epochs": 2, "steps_per_epoch": 3},
    "quick": {},
    "long": {"examples": 2200, "epochs": 5, "steps_per_epoch": 110},
    "full": {"model": "smollm2-1.7b", "examples": 16_000, "most_val": 300, "layers": 0, "lr": 2e-4, "batch_size": 32,
             "epochs": 5, "steps_per_epoch": 100},
}  # fmt: skip
# What --resume may change: how long and in what steps it goes on, and where it computes.
FREE = ("epochs", "max_steps", "lr", "clip", "device", "threads")


def build(cfg: Config, device: Device) -> tuple[Any, Any]:
    """(tokenizer, model): the published weights frozen, and adapters drawn from the seed.

    Raises:
        CourseError: as chat_models.load; there are not so many layers.
    """
    tokenizer, model = chat_models.load(cfg.model, device=device.name, dtype=device.dtype)
    depth = model.config.num_hidden_layers
    if cfg.layers > depth:
        raise CourseError(f"--layers {cfg.layers}: {cfg.model} has {depth}. 0 takes all of them.")
    seed_everything(cfg.seed)
    with chat_models.quiet():
        from peft import LoraConfig, get_peft_model

        names = sorted({name.rpartition(".")[2] for name, one in model.named_modules()
                        if isinstance(one, nn.Linear) and one is not model.get_output_embeddings()})  # fmt: skip
        upper = list(range(depth - cfg.layers, depth)) if cfg.layers else None
        model = get_peft_model(model, LoraConfig(
            r=cfg.rank, lora_alpha=cfg.alpha, bias="none", target_modules=names, layers_to_transform=upper,
            task_type="CAUSAL_LM",
        ))  # fmt: skip
    return tokenizer, model


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


def order(lengths: Sequence[int], size: int, seed: int, turn: int) -> list[list[int]]:
    """The batches of one pass over the traces: traces of about the same length share one, so that little is padded.

    The rows are shuffled, sorted by length within eight batches at a time, and the batches shuffled again.
    """
    rng = np.random.default_rng([seed, turn])
    rows, found = rng.permutation(len(lengths)).tolist(), []
    for start in range(0, len(rows), 8 * size):
        some = sorted(rows[start : start + 8 * size], key=lambda row: lengths[row])
        found += [some[at : at + size] for at in range(0, len(some), size)]
    return [found[number] for number in rng.permutation(len(found))]


def rows_of(step: int, lengths: Sequence[int], size: int, seed: int) -> list[int]:
    """The rows of step number `step`, from 0: every pass has all of them."""
    turn, place = divmod(step, -(-len(lengths) // size))
    return order(lengths, size, seed, turn)[place]


def trace_loss(model: Any, ids: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
    """The mean cross-entropy of what the model itself is to say, in nats a token.

    Only the places where something is to be guessed go through the output layer, the widest one of a small model.
    """
    language = model.get_base_model()
    hidden = language.model(input_ids=ids, attention_mask=mask.long(), use_cache=False).last_hidden_state
    where = targets != IGNORE
    logits = language.lm_head(hidden[where])  # (rows, time, d_model) -> (places, vocab)
    return F.cross_entropy(logits.float(), targets[where])


def fit(
    cfg: Config, train: Sequence[Encoded], val: Sequence[Encoded], asked: Sequence[Question], tokenizer: Any,
    model: Any, tools: Tools, device: Device, run: runs.Run | None = None,
) -> Iterator[runs.Row]:  # fmt: skip
    """The training loop. Yields a row {epoch, step, train_loss, val_success, …, seconds} every --steps-per-epoch steps.

    Args:
        cfg: how to train.
        train, val: traces as tokens, to train on, and to look at the loss of after every epoch.
        asked: the questions of val, which the agent is asked then, too.
        tokenizer, model: as `build` makes them; the model is changed in place.
        tools: what the agent may call.
        device: what to compute on.
        run: where the state is kept, and which is gone on with; None keeps nothing.

    Raises:
        Diverged: the loss is no longer a number.
        Stopped: Ctrl-C was pressed; the state is saved.
    """
    learning, lengths, end = chat_models.Learned(model), [len(one.ids) for one in train], end_of_turn(tokenizer)
    optimizer = torch.optim.AdamW(learning.parameters.values(), cfg.lr, weight_decay=0.0, fused=True)
    # fp16 cannot hold small gradients, so there the loss is multiplied, and the gradients divided again. Else it rests.
    scaler = torch.amp.GradScaler(device.name, init_scale=2.0**12, enabled=device.dtype == "float16")
    steps, per_epoch = cfg.max_steps or cfg.epochs * cfg.steps_per_epoch, cfg.steps_per_epoch
    parts = {"model": learning, "optimizer": optimizer, "scaler": scaler}

    # A Loop only keeps count: it restores and saves these three, passes over what is done, and hears Ctrl-C.
    with Loop(cfg, run, steps, per_epoch, f"Try --lr {cfg.lr / 5:g}.", "traces", **parts) as loop:
        for epoch in loop.epochs():
            model.train()
            for step in loop.batches(range(epoch * per_epoch, (epoch + 1) * per_epoch)):
                set_lr(optimizer, cfg.lr * learning_rate(step, steps, cfg.warmup))
                rows = rows_of(step, lengths, cfg.batch_size, cfg.seed)
                ids, mask, targets = (x.to(device.name) for x in traces.batch([train[row] for row in rows], end))
                optimizer.zero_grad()
                with autocast(device):
                    loss = trace_loss(model, ids, mask, targets)
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                if cfg.clip:
                    nn.utils.clip_grad_norm_(learning.parameters.values(), cfg.clip)
                scaler.step(optimizer)
                scaler.update()
                loop.add(loss)
            scores, _ = evaluate(cfg, model, tokenizer, asked, tools, device)
            yield loop.row(loss=mean_loss(model, val, end, device), **scores)


@torch.no_grad()
def mean_loss(model: Any, some: Sequence[Encoded], end: int, device: Device, size: int = 16) -> float:
    """What a token that the model is to say costs, in nats. The model is left in evaluation mode."""
    model.eval()
    nats, many, rows = 0.0, 0, sorted(some, key=lambda one: len(one.ids))
    for start in range(0, len(rows), size):
        ids, mask, targets = (x.to(device.name) for x in traces.batch(rows[start : start + size], end))
        count = int((targets != IGNORE).sum())
        with autocast(device):
            nats, many = nats + count * trace_loss(model, ids, mask, targets).item(), many + count
    return nats / many


def evaluate(
    cfg: Any, model: Any, tokenizer: Any, questions: Sequence[Question], tools: Tools, device: Device
) -> tuple[dict[str, float], list[Episode]]:  # fmt: skip
    """Lets the agent answer: the share of right answers, and of turns that did not parse; and what it did.
    The model is left in evaluation mode."""
    model.eval()
    chats = [begin(FORM, tools, one.text) for one in questions]
    constraint = constraint_of(model, tokenizer, tuple(tools)) if cfg.constrain else None
    with autocast(device):
        episodes = ask(model, tokenizer, chats, FORM, tools, constraint)
    good = [right(one, episode.answer) for one, episode in zip(questions, episodes, strict=True)]
    turns = sum(one.turns for one in episodes)
    return {"success": sum(good) / len(good), "unparsable": sum(e.unparsable for e in episodes) / turns}, episodes


def constraint_of(model: Any, tokenizer: Any, names: tuple[str, ...]) -> Constraint:
    """The constraint of a model, kept with it: its masks are worked out once."""
    if not hasattr(model, "react_constraint"):
        size = model.get_output_embeddings().weight.shape[0]
        model.react_constraint = Constraint(tokenizer, end_of_turn(tokenizer), names, size)
    return model.react_constraint


def encoded(cfg: Config, questions: Sequence[Question], tokenizer: Any, tools: Tools) -> list[Encoded]:
    """The traces of questions as tokens: of a sum, most up to the call alone."""
    rng, found = np.random.default_rng([cfg.seed, 15]), []
    for one in questions:
        chat = traces.follow(one, FORM, tools)
        brief = one.tools == ("calculator",) and rng.random() >= cfg.whole
        found.append(traces.encode(chat, tokenizer, turns=int(brief)))
    return found


ALWAYS, RULES = "the commonest answer, always", "rules, no model"


def score_baselines(train: Sequence[Question], val: Sequence[Question], tools: Tools) -> dict[str, Any]:
    """What needs no training: rules with the same tools, and one answer to everything."""
    rules, began = Rules(tools), time.perf_counter()
    found = sum(right(one, rules.answer(one.text).answer) for one in val) / len(val)
    seconds = time.perf_counter() - began
    ((answer, _),) = Counter(one.answer for one in train).most_common(1)
    share = sum(right(one, answer) for one in val) / len(val)
    return {"rows": [{"name": RULES, "params": 0, "seconds": seconds, METRIC: found},
                     {"name": ALWAYS, "params": 0, "seconds": 0.0, METRIC: share}]}  # fmt: skip


def main(cfg: Config) -> dict[str, Any]:
    """Teaches a language model to use tools, and shows the result beside its baselines.

    Returns what result.json holds; the run folder is under the key "run".
    """
    device = choose(cfg.device)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    if Path(cfg.model).expanduser().is_dir():  # a resume may be typed in another folder
        cfg = replace(cfg, model=str(Path(cfg.model).expanduser().absolute()))
    tools = agent_tools(cfg.search)
    sets = data.load(cfg.data, cfg.examples, tools).first(cfg.examples, cfg.seed, cfg.most_val)
    tokenizer, model = build(cfg, device)
    train, val = (encoded(cfg, part.items, tokenizer, tools) for part in (sets.train, sets.val))
    run = runs.begin(WEEK_NUMBER, cfg, FREE)
    run.hold_to(sets)
    runs.describe(sets, "questions")
    learning = chat_models.Learned(model)
    params, total = (sum(p.numel() for p in some) for some in (learning.parameters.values(), model.parameters()))
    tokens = sum(len(one.ids) for one in train)
    print(f"traces of {tokens / len(train):.0f} tokens in the mean, {max(len(one.ids) for one in train)} at most")
    print(f"model: {cfg.model}, {total:,} parameters, {params:,} learn ({params / total:.2%}). Device: {device}")
    baselines = run.once("baselines", lambda: score_baselines(sets.train.items, sets.val.items, tools))
    rows = fit(cfg, train, val, sets.val.items, tokenizer, model, tools, device, run)
    best, last = run.follow(rows, lambda: {"model": learning.state_dict()}, METRIC)
    hint = f"talk to it: ./course run 15 chat{mine()}{{run}}"
    return run.finish(
        best, last, device, params, baselines["rows"], "Try another --lr, or more --examples.", [hint],
        synthetic=sets.synthetic,
    )  # fmt: skip


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS, week=WEEK_NUMBER)
