"""One result is an anecdote: the same training from several seeds, mean and spread. `./course repeat 2 --seeds 5`

All flags of the week's train.py apply. Each seed is trained, and read once on the test set, in a run folder of its own.
"""

import contextlib
import importlib
import io
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

from shared import band, cli, plan, race, runs, terminal
from shared.config import Count, as_typed
from shared.errors import CourseError, Stopped
from shared.files import read_json, write_json
from shared.results import markdown, publish
from shared.trials import plus_minus, seeds

DONE = "repeat.json"


@dataclass
class Several:
    """The flags of repeat beside those of the week's train.py, in front of them."""

    seeds: Count = 3
    """How many seeds: --seed, and the ones after it."""
    out: str = ""
    """The folder that gets a run folder for every seed. Default: the next free one in runs/weekNN."""
    resume: bool = False
    """Go on with the seeds of the folder in --out (default: the newest of its kind) where it stopped."""
    publish: bool = False
    """Put the table into the week's RESULTS.md (for whoever looks after the lesson)."""
    band: bool = False
    """Put the seeds' curves into the week's band.json, over which `./course curve` draws a run (likewise)."""


def config_of(train: ModuleType) -> type:
    """The flags of repeat for a week: those of its train.py, and ours."""

    @dataclass
    class Config(Several, train.Config):
        __doc__ = Several.__doc__

    return Config


def several(train: ModuleType, evaluation: ModuleType, cfg: Any) -> dict[str, Any]:
    """Trains and scores several seeds, each in a run folder of its own, and prints a Markdown table.

    Args:
        train, evaluation: a week's train.py and eval.py.
        cfg: train.py's flags, and those of Several.

    Returns:
        {name: {metric: [one number a seed], …}} of the network and each baseline, and "run": the folder.

    Raises:
        CourseError: what train.py or eval.py refuses.
        Stopped: Ctrl-C; the seed that was being trained is saved.
    """
    folder = begin(train.WEEK_NUMBER, cfg)
    results = []
    for seed in seeds(cfg):
        results.append(one_seed(train, evaluation, cfg, folder / f"seed{seed}", seed))
        scores = {name: value for name, value in results[-1]["metrics"].items() if not name.startswith("last_")}
        told = (f"{name.replace('_', ' ')} {runs.number(name, value)}" for name, value in scores.items())
        print(f"seed {seed}: {', '.join(told)}", flush=True)
    by_name: dict[str, dict[str, Any]] = {}
    for result in results:
        for row in runs.contestants(result):
            mine = by_name.setdefault(row["name"], {"params": row["params"]})
            for name, value in row.items():
                if name == "seconds" or name.startswith(("val_", "test_")):
                    mine.setdefault(name, []).append(value)
    table = as_markdown(by_name)
    print(f"\n{table}")
    write_json(folder / DONE, {"summary": by_name, "runs": results})
    if cfg.band:
        keep_band(train, cfg, folder)
    if cfg.publish:
        first = results[0]
        where = f"{first['device']}, {first['dtype']}, {race.processor()}, {race.cores()} cores"
        libraries = ", ".join(f"{name} {number}" for name, number in first["versions"].items())
        count = f"{len(results)} seed{'s' * (len(results) > 1)}"
        about = f"*`{terminal.typed('--publish')}`: {cfg.data}, {count}, {where}; {libraries}*"
        publish(train.WEEK_NUMBER, f"repeat {Path(cfg.data).stem}", f"{about}\n\n{table}")
    return by_name | {"run": str(folder)}


def keep_band(train: ModuleType, cfg: Any, folder: Path) -> None:
    """Puts the band of all these seeds into the week's band.json."""
    if cfg.seeds < 2:
        raise CourseError("--band: give at least --seeds 2, one seed has no spread.")
    first = read_json(folder / f"seed{cfg.seed}" / "result.json")
    metric = next(name for name in first["metrics"] if name.startswith("val_"))
    higher = not metric.endswith(("loss", "perplexity", "error", "per_byte"))
    hardware = f"{race.processor()}, {race.cores()} cores"
    folders = [folder / f"seed{seed}" for seed in seeds(cfg)]
    one = band.make(train.WEEK_NUMBER, folders, metric, higher, terminal.typed("--band", "--resume"), hardware)
    band.keep(train.WEEK_NUMBER, one)
    print(f"\nband: {band.path_of(train.WEEK_NUMBER)}")


def begin(week: int, cfg: Any) -> Path:
    """The folder: a new one; or, with --resume, one that repeat made before."""
    if not cfg.resume:
        folder = runs.create(week, cfg)
        write_json(folder / DONE, {})
        return folder
    folder = Path(cfg.out) if cfg.out else runs.newest(week, DONE, "repeat")
    if not (folder / DONE).is_file():
        raise CourseError(f"{folder} is not a folder of repeat: it has no {DONE}. Leave out --resume.")
    before = vars(runs.read_config(type(cfg), folder))
    for name, value in vars(cfg).items():
        if name not in ("seeds", "out", "resume", "publish", "band", "preset") and value != before[name]:
            raise CourseError(f"{folder} was begun with {as_typed(name, before[name])}: give it again.")
    return folder


def one_seed(train: ModuleType, evaluation: ModuleType, cfg: Any, folder: Path, seed: int) -> dict[str, Any]:
    """The scored result of one seed: trained, gone on with, or taken as it is where it has been scored before."""
    if (folder / "result.json").is_file() and any(
        name.startswith("test_") for name in read_json(folder / "result.json")["metrics"]
    ):
        return read_json(folder / "result.json")
    flags = {field.name: getattr(cfg, field.name) for field in fields(train.Config)}
    goes_on = (folder / "config.json").is_file()  # with a checkpoint, or killed before its first
    one = train.Config(**flags | {"seed": seed, "out": str(folder), "resume": goes_on})
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            if not (folder / "result.json").is_file():
                train.main(one)
            return evaluation.main(evaluation.Config(run=str(folder), device=cfg.device))
    except Stopped:
        again = f"./course repeat {train.WEEK_NUMBER}{terminal.mine()}"
        raise Stopped(
            f"stopped at seed {seed}; saved. {again} with the same flags, --out {folder.parent} and --resume goes on."
        ) from None


def as_markdown(by_name: dict[str, dict[str, Any]]) -> str:
    """The contestants as a Markdown table: mean ± standard deviation of every score, parameters, seconds, n."""
    metrics = [name for name in next(iter(by_name.values())) if name.startswith(("val_", "test_"))]
    lines = []
    for name, row in by_name.items():
        scores = [plus_minus(metric, row[metric]) if metric in row else "" for metric in metrics]
        params = f"{row['params']:,}" if row["params"] else ""
        seconds = sum(row["seconds"]) / len(row["seconds"])
        lines.append([name, *scores, params, f"{seconds:.1f}" if params else "", len(row["seconds"])])
    columns = ["", *(metric.replace("_", " ") for metric in metrics), "parameters", "seconds", "n"]
    return markdown(columns, lines)


def program(week: int) -> None:
    """Runs repeat for a week, with the flags of sys.argv."""
    train, evaluation = (importlib.import_module(f"{plan.folder(week)}.{name}") for name in ("train", "eval"))

    def main(cfg: Any) -> dict[str, Any]:
        """Trains and scores several seeds and prints mean ± standard deviation as rows of a Markdown table."""
        return several(train, evaluation, cfg)

    cli.launch(main, config_of(train), train.PRESETS)


if __name__ == "__main__":
    number = int(sys.argv[1]) if sys.argv[1:] and sys.argv[1].isdecimal() else 0
    if not 1 <= number <= len(plan.FOLDERS) or not plan.is_there(number):
        print("error: which week? For example: ./course repeat 2 --seeds 5", file=sys.stderr)
        sys.exit(2)
    program(number)
