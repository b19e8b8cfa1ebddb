"""One result is an anecdote: the same training from several seeds, mean and spread. `./course run 2 repeat --seeds 5`

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
from week02_cnn import eval as evaluation
from week02_cnn import train


@dataclass
class Config(train.Config):
    """The flags of train.py, and how many seeds."""

    seeds: int = 3
    """How many seeds: --seed, and the ones after it."""
    seed: int = 0
    """The first seed."""
    out: str = ""
    """The folder that gets a run folder for every seed. Default: the next free one in runs/week02."""
    resume: tyro.conf.Suppress[bool] = False  # means nothing here: neither offered nor accepted


PRESETS = train.PRESETS


def main(cfg: Config) -> dict[str, Any]:
    """Trains and scores several seeds and prints mean ± standard deviation as rows of a Markdown table."""
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
            results.append(evaluation.main(evaluation.Config(run=run, device=cfg.device)))
        scores = results[-1]["metrics"]
        print(f"seed {seed}: val {scores['val_accuracy']:.2%}, test {scores['test_accuracy']:.2%}", flush=True)

    ours, logistic = [result["metrics"] | result for result in results], [result["baseline"] for result in results]
    contestants = {
        "this network": ours,
        "week 1's kind of network": [one["mlp"] for one in logistic],
        logistic[0]["name"]: logistic,
    }
    print("\n| | val | test | parameters | seconds | n |\n|---|---|---|---|---|---|")
    summary: dict[str, dict[str, Any]] = {}
    for name, rows in contestants.items():
        found = {metric: spread([row[metric] for row in rows]) for metric in ("val_accuracy", "test_accuracy")}
        summary[name] = found | {"seconds": statistics.mean(row["seconds"] for row in rows)}
        val, test = (f"{mean:.2%} ± {100 * std:.2f}" for mean, std in found.values())
        cells = (name, val, test, f"{rows[0]['params']:,}", f"{summary[name]['seconds']:.1f}", len(rows))
        print(f"| {' | '.join(map(str, cells))} |")
    write_json(folder / "repeat.json", {"summary": summary, "runs": results})
    return summary


def spread(values: list[float]) -> tuple[float, float]:
    """Mean and standard deviation (of a sample; 0 for a single value)."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


if __name__ == "__main__":
    cli.run(main, Config, PRESETS)
