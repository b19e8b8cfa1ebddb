"""What fine-tuning costs: what a model has learned, and what it has forgotten for that. `./course run 9 forget`.

The same model is tuned on the same instructions with adapters of several ranks and with all its weights. Each is asked
for what it was tuned on (val), and for what it was not: what general text costs (bits per byte of film reviews and of
Python code), and whether it still tells a good review from a bad one. "LoRA learns less and forgets less" (Biderman et
al., arXiv:2405.09673) is what such a table shows, or does not. Finished trainings are kept.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week09_lora/forget.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import gzip
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F

from shared import cli, race, results, trials
from shared.config import Count, Natural, Positive
from shared.conversation import ids_of, render, write
from shared.device import Device, autocast, choose
from shared.errors import CourseError, Diverged
from shared.files import ROOT, write_json
from shared.plots import BLUE, GREY, VERMILLION, figure
from shared.runs import RUNS, Row
from shared.terminal import command
from week09_lora import answers, data, train

SAMPLES = ROOT / "shared" / "samples"
REVIEWS, CODE = SAMPLES / "reviews_5k.jsonl.gz", SAMPLES / "python_stdlib.jsonl.gz"
VAL = 40  # so many of val are looked at, so that a look is short
METRICS = ("val_loss", "exact", "prose", "code", "sentiment", "seconds")
UNTUNED, FULL = "untuned", "all weights"
ASK = "Is this film review positive or negative? Answer with one word.\n\n{}"
WORDS = (("Positive", "positive"), ("Negative", "negative"))


@dataclass
class Config(trials.StudyConfig):
    """The flags of forget."""

    model: str = "smollm2"
    """The model that is tuned."""
    ranks: tuple[Count, ...] = (2, 16, 128)
    """Ranks of the adapters that are compared."""
    full: bool = True
    """All weights learn, too: it takes four times the memory of the model."""
    steps: Count = 40
    """Steps of every training, of 8 examples."""
    lr: Positive = 1e-3
    """The largest step with adapters."""
    full_lr: Positive = 1e-4
    """The largest step where all weights learn: a tenth, as in the paper."""
    texts: Count = 16
    """So many reviews and functions are read to see what general text costs."""
    reviews: Count = 100
    """So many other reviews are judged: good or bad."""
    prompts: Natural = 3
    """So many prompts of val of each family are answered."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"ranks": (2,), "steps": 3, "texts": 2, "reviews": 4, "prompts": 0, "seeds": 1, "jobs": 1},
    "quick": {"seeds": 1, "jobs": 1},
    "full": {"steps": 300, "texts": 100, "reviews": 500, "prompts": 6},
}


def lines(path: Path, column: str, split: str) -> Iterator[dict[str, Any]]:
    """The rows of a bundled sample that are of a split."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if row["split"] == split and row[column].strip():
                yield row


@torch.no_grad()
def bits_per_byte(model: Any, tokenizer: Any, texts: Sequence[str], device: Device) -> float:
    """What a byte of these texts costs, without a chat template; of each text the first token is given."""
    model.eval()
    nats, many = 0.0, 0
    for text in texts:
        ids = torch.tensor([ids_of(tokenizer, text)], device=device.name)
        with autocast(device):
            logits = model(input_ids=ids, use_cache=False).logits[0, :-1]
        nats += F.cross_entropy(logits.float(), ids[0, 1:], reduction="sum").item()
        many += len(text.encode()) - len(tokenizer.decode(ids[0, :1].tolist()).encode())
    return nats / math.log(2) / many


@torch.no_grad()
def sentiment(model: Any, tokenizer: Any, reviews: Sequence[tuple[str, int]], device: Device) -> float:
    """Which share of the reviews it judges rightly: whether `Positive` or `Negative` is the likelier first token."""
    first = [[ids_of(tokenizer, word)[0] for word in words] for words in WORDS]
    right = 0
    for text, label in reviews:
        chat = [{"role": "user", "content": ASK.format(text)}]
        ids = torch.tensor([ids_of(tokenizer, render(tokenizer, chat, answer=True))], device=device.name)
        with autocast(device):
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1].float()
        good, bad = (logits[words].logsumexp(0) for words in first)
        right += int((good > bad) == bool(label))
    return right / len(reviews)


def train_once(where: str, measured: dict[str, int], flags: trials.Flags, threads: int) -> Row:
    """Tunes a model with these flags (with none at all: leaves it as it is), and measures it."""
    torch.set_num_threads(threads)
    flags, device = dict(flags), choose(where)
    tuned = flags.pop("tuned")
    cfg = train.Config(**flags)
    tokenizer, model = train.build(cfg, device)
    sets, encoded, val = train.prepared(cfg, tokenizer)
    row: Row = {"seconds": 0.0}
    try:
        for row in train.fit(cfg, encoded, val, model, device) if tuned else ():  # noqa: B007
            pass
    except Diverged:
        return {"diverged": True}
    row = {"seconds": row["seconds"], "val_loss": train.evaluate(model, val, device)["loss"]}
    for name, path, column in (("prose", REVIEWS, "text"), ("code", CODE, "code")):
        texts = [one[column][:600] for one in islice(lines(path, column, "val"), measured["texts"])]
        row[name] = bits_per_byte(model, tokenizer, texts, device)
    judged = [(one["text"][:300], one["label"]) for one in islice(lines(REVIEWS, "text", "test"), measured["reviews"])]
    row["sentiment"] = sentiment(model, tokenizer, judged, device)
    if measured["prompts"]:
        asked = data.each(sets.val, measured["prompts"])
        written = write(model, tokenizer, [item.messages for item in asked.items])
        row["exact"] = answers.shares(asked.items, written)["exact"]
    return row


def flags_of(cfg: Config, rank: int, tuned: bool = True) -> trials.Flags:
    """What a training follows from."""
    flags = train.Config(
        data=cfg.data, model=cfg.model, rank=rank, alpha=2.0 * max(1, rank), lr=cfg.lr if rank else cfg.full_lr,
        rslora=False, max_steps=cfg.steps, steps_per_epoch=cfg.steps, epochs=1, most_val=VAL,
    )  # fmt: skip
    left_out = ("out", "resume", "preset", "device", "threads", "seed", "show")
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(flags).items()
            if name not in left_out} | {"tuned": tuned}  # fmt: skip


def draw(path: Path, found: dict[str, Row]) -> None:
    """What was learned (to the right) against what was forgotten (upwards), a point a variant."""
    base = found[UNTUNED]
    with figure(path, 1, 1, (7.0, 4.4)) as (_, ax):
        for name, row in found.items():
            if "val_loss" not in row:
                continue
            x = base["val_loss"][0] - row["val_loss"][0]
            y = 100 * (row["prose"][0] / base["prose"][0] - 1)
            colour = GREY if name == UNTUNED else VERMILLION if name == FULL else BLUE
            ax.scatter([x], [y], s=60, color=colour, zorder=3)
            ax.annotate(name, (x, y), xytext=(6, 6), textcoords="offset points", fontsize=9, color=colour)
        ax.set_xlabel("learned: response loss on val, lower by (nats a token)")
        ax.set_ylabel("forgotten: film reviews cost more, %")
        ax.set_title("what it learned, and what that cost")
        ax.margins(0.18)


def main(cfg: Config) -> dict[str, Any]:
    """Tunes with several ranks and with all weights; prints what was learned and what was forgotten, and draws it.

    Returns {variant: summary}.
    """
    out = Path(cfg.out) if cfg.out else RUNS / "week09" / "forget"
    for sample in (REVIEWS, CODE):
        if not sample.is_file():
            raise CourseError(f"{sample} is not there: it belongs to this repository.")
    variants = {UNTUNED: flags_of(cfg, cfg.ranks[0], tuned=False)}
    variants |= {f"rank {rank}": flags_of(cfg, rank) for rank in cfg.ranks}
    if cfg.full:
        variants[FULL] = flags_of(cfg, 0)
    measured = {name: getattr(cfg, name) for name in ("texts", "reviews", "prompts")}
    for flags in variants.values():
        flags["measured"] = measured
    todo = trials.over_seeds(variants, trials.seeds(cfg))
    jobs = cfg.jobs or 1  # each holds a model: side by side they would need its memory many times
    rows = trials.run_all(todo, partial(_work, cfg.device), out, jobs, cfg.threads)
    found = trials.summaries(rows, METRICS)
    about = (f"*`{command()}`: {Path(cfg.data).name}, {cfg.model}, {cfg.steps} steps of {train.Config.batch_size}; lr "
             f"{cfg.lr:g}, all weights {cfg.full_lr:g}; {cfg.seeds} seed{'s' * (cfg.seeds > 1)}; loss on {VAL} of val, "
             f"up to {cfg.prompts} of each family answered; {cfg.texts} reviews and functions read, {cfg.reviews} "
             f"reviews judged, so ± {100 / math.sqrt(cfg.reviews) / 2:.0f} points; {race.processor()}*")  # fmt: skip
    table = results.markdown(
        ["", "response loss, val", "exactly right", "film reviews, bits/byte", "Python, bits/byte", "good or bad", "s"],
        [[name, *(cell(row, metric) for metric in METRICS)] for name, row in found.items()],
    )
    text = f"{about}\n\n{table}"
    print(f"\n{text}\n")
    if cfg.publish:
        results.publish(train.WEEK_NUMBER, "forget", text)
    draw(out / "forget.png", found)
    write_json(out / "forget.json", found)
    print(f"table and picture: {out}")
    return found


def cell(row: Row, metric: str) -> str:
    """A mean with its spread, as it stands in the table."""
    if metric not in row:
        return "diverged" if row["diverged"] and metric == "val_loss" else ""
    mean, spread = row[metric]
    digits, scale, unit = {"exact": (0, 100, " %"), "sentiment": (0, 100, " %"), "seconds": (0, 1, "")}.get(
        metric, (3, 1, "")
    )
    return f"{scale * mean:.{digits}f}{unit}" + (f" ± {scale * spread:.{digits}f}" if row["seeds"] > 1 else "")


def _work(where: str, flags: trials.Flags, threads: int) -> Row:
    rest = {name: tuple(value) if isinstance(value, list) else value for name, value in flags.items()}
    return train_once(where, rest.pop("measured"), rest, threads)


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
