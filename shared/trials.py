"""Many trainings to compare: variants × seeds, side by side in processes, each kept as soon as it has ended.

    todo = over_seeds({"plain": plain, "dropout 0.3": plain | {"dropout": 0.3}}, seeds(cfg))
    rows = run_all(todo, train_once, folder, cfg.jobs, cfg.threads)
    print(table(summaries(rows), …))

A training is described by its flags, a dict of JSON. The same flags are trained once: a second call takes what is
there, so the same command goes on where it stopped.
"""

import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from shared.config import Count, Natural, Seed
from shared.errors import CourseError, Stopped
from shared.files import read_json, write_json
from shared.parallel import cores, in_processes
from shared.progress import bar
from shared.results import markdown
from shared.runs import Row, number
from shared.terminal import is_share

Flags = dict[str, Any]


@dataclass
class StudyConfig:
    """The flags of every compare.py and ablate.py."""

    data: str = "sample"
    """What to train on, as in train.py."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""
    seed: Seed = 0
    """The first seed."""
    seeds: Count = 3
    """How often each variant is trained: from --seed and the seeds after it."""
    jobs: Natural = 0
    """Trainings side by side, each in a process of its own (0: one per core; on a GPU one). On two cores two small
    trainings with a thread each are done sooner than one after the other with two."""
    threads: Count = 1
    """CPU threads of each training."""
    out: str = ""
    """The folder for trainings, tables and pictures. What it holds already is not trained again."""
    preset: str = "quick"
    """A set of defaults: `smoke` (seconds), `quick` (bundled data), `full` (the real data set).
    A flag given by hand wins over the preset."""
    publish: bool = False
    """Put the tables into the week's RESULTS.md (for whoever looks after the lesson)."""


def side_by_side(jobs: int, device: str = "cpu") -> int:
    """--jobs, or as many trainings as there are cores; on a GPU one."""
    return jobs or (cores() if device == "cpu" else 1)


def key(flags: Flags) -> str:
    """The name of a training's file: the same for the same flags, in whatever order."""
    return sha256(json.dumps(flags, sort_keys=True).encode()).hexdigest()[:16]


def kept(folder: Path, flags: Flags) -> Row | None:
    """The row of a training that has been done before, or None."""
    path = folder / f"{key(flags)}.json"
    if not path.is_file():
        return None
    row = read_json(path)
    if not (isinstance(row, dict) and row.get("flags") == json.loads(json.dumps(flags))):
        raise CourseError(f"{path} is not a training of this program. Delete it, or choose another --out.")
    return row


def run_all(
    todo: Mapping[Any, Flags], work: Callable[[Flags, int], Row], folder: Path, jobs: int, threads: int = 1
) -> dict[Any, Row]:
    """Does the trainings that have not been done yet, and returns the rows of all of them under their names.

    Args:
        todo: {name: flags}; a name is a text, or a tuple of texts and numbers. Equal flags are trained once.
        work: a function of a module: trains with these flags on so many threads and returns a row of JSON, with
            `diverged: True` and without scores where the loss was no number.
        folder: where each row is kept as soon as it is there.
        jobs: trainings side by side; 1 trains in this process.
        threads: of each.

    Raises:
        CourseError: the folder is a file.
        Stopped: Ctrl-C. What has ended by then is kept.
    """
    if file := next((path for path in (folder, *folder.parents) if path.is_file()), None):
        raise CourseError(f"--out {file}: a file, should be a folder.")
    names = {key(flags): name for name, flags in reversed(todo.items())}
    rows = {key(flags): kept(folder, flags) for flags in todo.values()}
    missing = list({key(flags): flags for flags in todo.values() if rows[key(flags)] is None}.values())
    with bar(len(missing), label="training") as progress:
        try:
            for count, (flags, row) in enumerate(in_processes(partial(_paired, work, threads), missing, jobs), 1):
                rows[key(flags)] = {"flags": flags} | row
                write_json(folder / f"{key(flags)}.json", rows[key(flags)])
                name = names[key(flags)]
                name = ", ".join(map(str, name)) if isinstance(name, tuple) else str(name)
                progress.write(
                    f"{count:3d} of {len(missing)}   {_outcome(row):12s}{row.get('seconds', 0):6.1f} s   {name}"
                )
                progress.update()
        except KeyboardInterrupt:
            left = sum(row is None for row in rows.values())
            raise Stopped(f"stopped with {left} training{'s' * (left != 1)} to go; the same command goes on.") from None
    return {name: rows[key(flags)] for name, flags in todo.items()}


def _paired(work: Callable[[Flags, int], Row], threads: int, flags: Flags) -> tuple[Flags, Row]:
    """The flags, and what `work` makes of them: results come as they get ready, and have to say whose they are."""
    return flags, work(flags, threads)


def _outcome(row: Row) -> str:
    metric = next((name for name in ("val_accuracy", "val_exact", "val_bleu", "val_loss") if name in row), None)
    return f"val {number(metric, row[metric])}" if metric else "diverged" if row.get("diverged") else "done"


# ---------------------------------------------------------------- seeds, means, tables


def seeds(cfg: Any) -> range:
    """--seed and the seeds after it, --seeds of them."""
    return range(cfg.seed, cfg.seed + cfg.seeds)


def over_seeds(variants: Mapping[str, Flags], which: Iterable[int]) -> dict[tuple[str, int], Flags]:
    """{(name, seed): flags with that seed} of every variant and seed."""
    return {(name, seed): flags | {"seed": seed} for name, flags in variants.items() for seed in which}


def mean_std(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (of a sample; 0 for a single value)."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def plus_minus(metric: str, values: Sequence[float]) -> str:
    """`70.23 ± 1.40 %` of accuracies, `0.5132 ± 0.0020` of anything else."""
    mean, std = mean_std(values)
    if is_share(metric):
        return f"{100 * mean:.2f} ± {100 * std:.2f} %"
    return f"{mean:.4f} ± {std:.4f}"


def difference(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """The difference of two means and its standard error, sqrt(s1² / n1 + s2² / n2) (Welch); 0 where an n is 1.

    From three seeds that error is itself known to about a half only: look for differences of more than twice its size.
    """
    error = 0.0
    if min(len(ours), len(theirs)) > 1:
        error = math.sqrt(statistics.variance(ours) / len(ours) + statistics.variance(theirs) / len(theirs))
    return statistics.mean(ours) - statistics.mean(theirs), error


def summaries(rows: Mapping[tuple[str, int], Row], metrics: Sequence[str]) -> dict[str, Row]:
    """Per variant: {seeds, diverged, metric: (mean, std), …} over the seeds that came to an end."""
    found: dict[str, Row] = {}
    for name in dict.fromkeys(name for name, _ in rows):
        mine = [row for (other, _), row in rows.items() if other == name]
        whole = [row for row in mine if not row.get("diverged")]
        found[name] = {"seeds": len(mine), "diverged": len(mine) - len(whole)}
        found[name] |= {m: mean_std([row[m] for row in whole]) for m in metrics if whole and all(m in r for r in whole)}
    return found


def mean_table(found: Mapping[str, Row], metrics: Sequence[str]) -> str:
    """The summaries as a Markdown table: a row a variant, mean ± standard deviation, and who diverged."""
    lines = []
    for name, row in found.items():
        cells = []
        for metric in metrics:
            mean, std = row.get(metric, (None, None))
            percent = is_share(metric)
            scale, digits, unit = (100, 2, " %") if percent else (1, 1 if metric == "seconds" else 4, "")
            cells.append("" if mean is None else f"{scale * mean:.{digits}f} ± {scale * std:.{digits}f}{unit}")
        lost = f"{row['diverged']} of {row['seeds']} diverged" if row["diverged"] else str(row["seeds"])
        lines.append([name, *cells, lost])
    return markdown(["", *(metric.replace("_", " ") for metric in metrics), "n"], lines)
