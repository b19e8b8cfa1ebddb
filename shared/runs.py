"""Run folders: runs/weekNN/<name> with config.json, metrics.jsonl, result.json, model.safetensors and pictures."""

import platform
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from shared import cli
from shared.errors import CourseError
from shared.files import ROOT, write_json

RUNS = ROOT / "runs"
LIBRARIES = ("numpy", "torch", "torchvision", "lightning")


def create(week: int, config: cli.CommonConfig) -> Path:
    """Makes the folder of a new run, with its config.json: --out, or the next number in runs/weekNN.

    Raises:
        CourseError: --out already holds a run (nothing is ever overwritten), or is no place for one.
    """
    try:
        folder = _new_folder(week, config)
    except OSError as error:
        raise CourseError(f"cannot make a run folder: {error}. Choose another place with --out.") from None
    write_json(folder / "config.json", asdict(config))
    return folder


def _new_folder(week: int, config: cli.CommonConfig) -> Path:
    if config.out:
        folder = Path(config.out)
        if (folder / "config.json").exists():
            raise CourseError(f"{folder} already holds a run: choose another --out, or go on with it by --resume.")
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    parent = RUNS / f"week{week:02d}"
    parent.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(p.name[:3]) for p in parent.iterdir() if p.name[:3].isdecimal()), default=0)
    while True:  # two trainings started at once race for a number; the second takes the next one
        folder = parent / f"{number:03d}-{config.preset}"
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


def newest(week: int, file: str = "model.safetensors") -> Path:
    """The week's run that was started last and holds `file`.

    Raises:
        CourseError: there is none yet.
    """
    found = (RUNS / f"week{week:02d}").glob(f"*/{file}")
    runs = [path.parent for path in found if (path.parent / "config.json").is_file()]
    if not runs:
        raise CourseError(f"no run of week {week} with a {file} yet: `./course train {week}` makes one.")
    return max(runs, key=lambda run: (run / "config.json").stat().st_mtime_ns)


def result(
    week: int,
    config: cli.CommonConfig,
    *,
    device: str,
    dtype: str,
    params: int,
    seconds: float,
    metrics: Mapping[str, float],
    baseline: Mapping[str, Any],
) -> dict[str, Any]:
    """What result.json holds. `metrics` and `baseline` use the same names (val_accuracy, …).

    Args:
        week, config: whose run it is.
        device, dtype: what was computed on, and in which number format.
        params: how many numbers were trained.
        seconds: of training alone.
        metrics: what was measured; baseline: the same for the trivial solution, with its name.
    """
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        if library in sys.modules:
            try:
                versions[library] = version(library)
            except PackageNotFoundError:
                versions[library] = "unknown"
    return {
        "week": week,
        "command": shlex.join([*cli.command().split(), *sys.argv[1:]]),
        "data": config.data,
        "seed": config.seed,
        "device": device,
        "dtype": dtype,
        "params": params,
        "seconds": round(seconds, 2),
        "versions": versions,
        "metrics": dict(metrics),
        "baseline": dict(baseline),
    }
