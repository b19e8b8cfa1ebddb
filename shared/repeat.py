"""The same training from several seeds, mean and spread: what a week's repeat.py does."""

import contextlib
import io
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import tyro

from shared import runs
from shared.errors import CourseError
from shared.files import write_json


@dataclass
class Several:
    """The flags of repeat.py beside those of train.py, in front of them: `class Config(Several, train.Config)`."""

    seeds: int = 3
    """How many seeds: --seed, and the ones after it."""
    seed: int = 0
    """The first seed."""
    out: str = ""
    """The folder that gets a run folder for every seed. Default: the next free one in runs/weekNN."""
    resume: tyro.conf.Suppress[bool] = False  # means nothing here: neither offered nor accepted


def contestants(result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """A result.json's network and baselines by name, each with val_accuracy, test_accuracy, params and seconds."""
    baseline = result["baseline"]
    rows = {"this network": {**result, **result["metrics"]}}
    rows |= {row["name"]: row for row in baseline.values() if isinstance(row, dict) and "params" in row}
    return rows | {baseline["name"]: baseline}


def several(train: ModuleType, evaluation: ModuleType, cfg: Any) -> dict[str, dict[str, Any]]:
    """Trains and scores several seeds, each in a run folder of its own, and prints rows of a Markdown table.

    Args:
        train, evaluation: a week's train.py and eval.py.
        cfg: train.py's flags, and `seeds`: how many.

    Returns:
        {val_accuracy, test_accuracy: (mean, standard deviation), seconds: mean} of the network and each baseline.

    Raises:
        CourseError: fewer than one seed, or what train.py refuses.
    """
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

    by_seed = [contestants(result) for result in results]
    print("\n| | val | test | parameters | seconds | n |\n|---|---|---|---|---|---|")
    summary: dict[str, dict[str, Any]] = {}
    for name in by_seed[0]:
        rows = [found[name] for found in by_seed]
        scores = {metric: spread([row[metric] for row in rows]) for metric in ("val_accuracy", "test_accuracy")}
        summary[name] = scores | {"seconds": statistics.mean(row["seconds"] for row in rows)}
        val, test = (f"{mean:.2%} ± {100 * std:.2f}" for mean, std in scores.values())
        cells = (name, val, test, f"{rows[0]['params']:,}", f"{summary[name]['seconds']:.1f}", len(rows))
        print(f"| {' | '.join(map(str, cells))} |")
    write_json(folder / "repeat.json", {"summary": summary, "runs": results})
    return summary


def spread(values: list[float]) -> tuple[float, float]:
    """Mean and standard deviation (of a sample; 0 for a single value)."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0
