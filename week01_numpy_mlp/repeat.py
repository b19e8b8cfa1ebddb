"""One result is an anecdote: the same training from several seeds, mean and spread. `./course run 1 repeat --seeds 5`

All flags of train.py apply. Each seed is trained, and read once on the test set, in a run folder of its own.
"""

import contextlib
import io
import statistics
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import tyro

from shared import cli, runs
from shared.errors import CourseError
from shared.files import write_json
from week01_numpy_mlp import eval as evaluation
from week01_numpy_mlp import train


@dataclass
class Config(train.Config):
    """The flags of train.py, and how many seeds."""

    seeds: int = 5
    """How many seeds: --seed, and the ones after it."""
    seed: int = 0
    """The first seed."""
    out: str = ""
    """The folder that gets a run folder for every seed. Default: the next free one in runs/week01."""
    resume: tyro.conf.Suppress[bool] = False  # means nothing here: neither offered nor accepted


PRESETS = train.PRESETS


def main(cfg: Config) -> dict[str, Any]:
    """Trains and scores several seeds and prints mean ± standard deviation as a row of a Markdown table."""
    if cfg.seeds < 1:
        raise CourseError(f"--seeds {cfg.seeds}: must be at least 1.")
    train.check(cfg)
    folder = Path(cfg.out) if cfg.out else runs.create(train.WEEK_NUMBER, cfg)
    results = []
    for seed in range(cfg.seed, cfg.seed + cfg.seeds):
        flags = {field.name: getattr(cfg, field.name) for field in fields(train.Config)}
        one = train.Config(**flags | {"seed": seed, "out": str(folder / f"seed{seed}"), "resume": False})
        with contextlib.redirect_stdout(io.StringIO()):
            run = train.main(one)["run"]
            results.append(evaluation.main(evaluation.Config(run=run)))
        scores = results[-1]["metrics"]
        print(f"seed {seed}: val {scores['val_accuracy']:.2%}, test {scores['test_accuracy']:.2%}", flush=True)

    def row(part: str, metric: str) -> tuple[float, float]:
        values = [result[part][metric] for result in results]
        return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0

    seconds = statistics.mean(result["seconds"] for result in results)
    print("\n| | val | test | parameters | seconds | n |\n|---|---|---|---|---|---|")
    for name, part, params in (
        ("this network", "metrics", results[0]["params"]),
        (results[0]["baseline"]["name"], "baseline", results[0]["baseline"]["params"]),
    ):
        val, test = row(part, "val_accuracy"), row(part, "test_accuracy")
        time = seconds if part == "metrics" else statistics.mean(result["baseline"]["seconds"] for result in results)
        numbers = (
            f"{val[0]:.2%} ± {val[1]:.2%} | {test[0]:.2%} ± {test[1]:.2%} | {params:,} | {time:.1f} | {len(results)}"
        )
        print(f"| {name} | {numbers} |")
    summary = {"test_accuracy": row("metrics", "test_accuracy"), "val_accuracy": row("metrics", "val_accuracy")}
    write_json(folder / "repeat.json", summary | {"seconds": seconds, "runs": results})
    return summary | {"seconds": seconds}


if __name__ == "__main__":
    cli.run(main, Config, PRESETS)
