"""The experiment nobody forgets: the causal mask is taken away. `./course run 6 leak`

Two equal networks learn the same task. In one the decoder may look at the whole target, the very token that it is to
say among it. Its loss falls to next to nothing, in training and on val; then both write, token by token, and there is
no target any more to look at.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week06_transformer/leak.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from shared import cli, race, results, trials
from shared.config import Count, Natural
from shared.device import choose
from shared.files import write_json
from shared.runs import RUNS, Row, versions
from shared.terminal import command
from week06_transformer import data, drawing, train
from week06_transformer.ablate import recipe, train_once

WITH, WITHOUT = "with the causal mask", "without it"


@dataclass
class Config(trials.StudyConfig):
    """The flags of leak."""

    data: str = data.SYNTHETIC
    """Strings made here; with --task translate, as in train.py."""
    task: Literal["copy", "reverse", "sort", "add", "translate"] = "reverse"
    """What both learn."""
    epochs: Count = 3
    """Epochs of each of the two."""
    examples: Count = 20_000
    """Strings to train on."""
    longest: Count = 12
    """Letters of the longest string."""
    max_steps: Natural = 0
    """Stop after so many steps (0: at the end of the epochs)."""
    seeds: Count = 1
    """How often each is trained: from --seed and the seeds after it."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"epochs": 2, "examples": 200, "longest": 4, "max_steps": 4, "jobs": 1},
    "quick": {},
    "full": {"task": "translate", "data": "anki"},
}


def variants(cfg: Config) -> dict[str, trials.Flags]:
    """The two networks."""
    flags = {name: getattr(cfg, name) for name in ("task", "epochs", "examples", "longest", "max_steps")}
    if cfg.task == "translate":
        flags |= {"data": "sample" if cfg.data == data.SYNTHETIC else cfg.data, "warmup": 400, "dropout": 0.1}
    base = recipe(train.Config(**flags))
    return {WITH: base, WITHOUT: base | {"causal": False}}


def print_examples(rows: dict[str, Row]) -> None:
    """What both write."""
    for at, (source, right, _) in enumerate(rows[WITH]["examples"]):
        print(f"\n{source}\n  is            {right}")
        for name, row in rows.items():
            print(f"  {name.removesuffix(' the causal mask').removesuffix(' it'):14s}{row['examples'][at][2]}")


def main(cfg: Config) -> dict[str, Any]:
    """Trains both, prints their losses beside what they write, and draws the curves.

    Returns {name: row} of the first seed.
    """
    out = Path(cfg.out) if cfg.out else RUNS / "week06" / f"leak-{cfg.task}"
    metric = train.metric(cfg.task)
    jobs = trials.side_by_side(cfg.jobs, choose(cfg.device).name)
    todo = trials.over_seeds(variants(cfg), trials.seeds(cfg))
    rows = trials.run_all(todo, partial(train_once, cfg.device), out, jobs, cfg.threads)
    metrics = ("train_loss", "val_loss", f"val_{metric}")
    about = f"*`{command()}`: {cfg.task}, {cfg.epochs} epochs; {race.processor()}; torch {versions()['torch']}*"
    text = f"{about}\n\n{trials.mean_table(trials.summaries(rows, metrics), metrics)}"
    print(f"\n{text}")
    first = {name: row for (name, seed), row in rows.items() if seed == cfg.seed}
    if not any(row["diverged"] for row in first.values()):
        print_examples(first)
        drawing.leak(out / "leak.png", first, metric)
    if cfg.publish:
        results.publish(6, f"leak {cfg.task}", text)
    write_json(out / "leak.json", first)
    print(f"\npicture: {out / 'leak.png'}")
    return first


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
