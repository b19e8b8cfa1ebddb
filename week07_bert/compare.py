"""What do more questions bring? `./course run 7 compare --data FOLDER`: F1 against the number of training examples.

All are trained by train.py's loop, each number from several seeds, which draw other questions, too. Every finished
training is kept, so a second call goes on where the first one stopped, and trains nothing twice.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week07_bert/compare.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import math
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

from shared import cli, race, results, trials
from shared.config import Count, Natural
from shared.device import choose
from shared.errors import CourseError, Diverged
from shared.files import write_json
from shared.runs import RUNS, Row
from shared.terminal import typed
from week07_bert import baselines, data, drawing, encoders, qa, tagging, train

METRICS = ("val_f1", "val_loss", "seconds")


@dataclass
class Config(trials.StudyConfig):
    """The flags of compare."""

    task: Literal["qa", "ner"] = "qa"
    """What is learned."""
    model: str = "minilm"
    """The encoder to begin with."""
    sizes: tuple[Count, ...] = (125, 500, 2000)
    """How many examples to train on, each so many times as many as the one before it."""
    steps: Count = 160
    """Steps of every training; more, where one pass over its examples takes more. With too few the F1 of all sizes is
    that of a network that has hardly begun."""
    freeze: Natural = train.Config.freeze
    """So many layers from below stay as they are."""
    max_len: Count = train.Config.max_len
    """Tokens of a window."""
    most_val: Natural = train.Config.most_val
    """So many of val are looked at."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"seeds": 2, "sizes": (8, 16), "steps": 4, "jobs": 1, "most_val": 8},
    "quick": {},
    "full": {"data": "squad", "sizes": (1000, 4000, 16000, 64000), "steps": 4000, "most_val": 0},
}


def train_once(where: str, flags: trials.Flags, threads: int) -> Row:
    """Trains one network, and scores its last step on val; nothing is chosen by it here."""
    import torch

    torch.set_num_threads(threads)
    cfg, device = train.Config(**flags), choose(where)
    texts = train.texts_of(cfg)
    bert, tokenizer = encoders.load(cfg.model)
    tags = tagging.tags_of(texts.train) if cfg.task == "ner" else ()
    encoded, val = (train.encode(cfg, part, tokenizer, tags) for part in (texts.train, texts.val))
    if cfg.task == "qa":
        encoded = qa.to_train(encoded, cfg.seed, cfg.empty)
    have = encoded.windows
    cfg = replace(cfg, max_steps=max(cfg.max_steps, math.ceil(len(have) / cfg.batch_size)))
    wanted = cfg.max_steps * cfg.batch_size
    encoded = replace(encoded, windows=(have * math.ceil(wanted / len(have)))[:wanted])  # one long epoch: val once
    seconds = 0.0
    try:
        for row in train.fit(cfg, encoded, val, train.with_head(bert, tags, cfg.seed), device):
            seconds = row["seconds"]
    except Diverged:
        return {"diverged": True}
    return {"val_f1": row["val_f1"], "val_loss": row["val_loss"], "seconds": seconds}


def flags_of(cfg: Config, examples: int) -> trials.Flags:
    """What a training follows from."""
    flags = train.Config(
        data=cfg.data, task=cfg.task, model=cfg.model, examples=examples, max_len=cfg.max_len, most_val=cfg.most_val,
        stride=max(1, cfg.max_len // 2), freeze=cfg.freeze, max_steps=cfg.steps,
    )  # fmt: skip
    left_out = ("out", "resume", "preset", "device", "threads", "seed")
    return {name: value for name, value in asdict(flags).items() if name not in left_out}


def gain(found: dict[str, Row]) -> str:
    """What a line through F1 over the logarithm of the examples says of twice as many."""
    points = [(math.log2(int(name)), 100 * row["val_f1"][0]) for name, row in found.items() if "val_f1" in row]
    if len(points) < 2:
        return ""
    mean_x, mean_y = (sum(point[axis] for point in points) / len(points) for axis in (0, 1))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return f"Twice as many examples bring {slope:+.1f} points of F1, on the average of this range."


def main(cfg: Config) -> dict[str, Any]:
    """Trains on more and more examples, from several seeds; prints a table and draws the curve.

    Returns {number of examples: summary}.

    Raises:
        CourseError: there are not so many examples.
    """
    texts = data.load(cfg.task, cfg.data).first(0, 0, cfg.most_val)
    if max(cfg.sizes) > len(texts.train):
        raise CourseError(f"--sizes {max(cfg.sizes)}: there are {len(texts.train):,} examples to train on.")
    out = Path(cfg.out) if cfg.out else RUNS / "week07" / "compare"
    device = choose(cfg.device).name
    todo = trials.over_seeds({str(size): flags_of(cfg, size) for size in cfg.sizes}, trials.seeds(cfg))
    work, jobs = partial(train_once, cfg.device), trials.side_by_side(cfg.jobs, device)
    rows = trials.run_all(todo, work, out, jobs, cfg.threads)
    found = trials.summaries(rows, METRICS)
    simple = next(iter(baselines.scored(cfg.task, texts.train, texts.val).values()))
    seeds = f"{cfg.seeds} seed{'s' * (cfg.seeds > 1)}"
    how = f"{cfg.steps} steps of {train.Config.batch_size} windows or one pass"
    about = (
        f"*`{typed('--publish')}`: {Path(cfg.data).name}, {cfg.model}, {how}, mean ± standard deviation over {seeds}; "
    )
    about += f"{race.processor()}*"
    lines = []
    for name, row in found.items():
        f1 = f"{100 * row['val_f1'][0]:.1f} ± {100 * row['val_f1'][1]:.1f}" if "val_f1" in row else "diverged"
        lines.append([f"{int(name):,}", f1, f"{row['seconds'][0]:.0f}" if "seconds" in row else ""])
    lines.append([f"({baselines.NAMES[cfg.task]})", f"{100 * simple:.1f}", ""])
    table = results.markdown(["examples", "val F1, %", "seconds"], lines)
    text = f"{about}\n\n{table}\n\n{gain(found)}"
    print(f"\n{text}\n")
    if cfg.publish:
        results.publish(train.WEEK_NUMBER, f"compare {cfg.task}", text)
    drawn = [{"examples": int(name), "seed": seed, "f1": row["val_f1"]} for (name, seed), row in rows.items()
             if "val_f1" in row]  # fmt: skip
    drawing.learning_curve(out / "curve.png", drawn, simple)
    write_json(out / "compare.json", {"summary": found, "baseline": simple})
    print(f"table and picture: {out}")
    return found


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
