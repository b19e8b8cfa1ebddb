"""Is my curve right? The band in which several seeds of a training lie, and where a run lies in it.

`./course repeat N --seeds 5 --band` puts a band into the week's band.json, one for each set of flags: the log of every
seed, step by step, with the hardware and the versions. A run of the same flags is held against it at the end of its
training, and drawn over it by `./course curve N`.
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shared import plan
from shared.errors import CourseError
from shared.files import ROOT, read_json, written_whole
from shared.terminal import MEASURED, is_share, number

ANY = {"seed", "seeds", "out", "resume", "preset", "publish", "band", "device", "threads", "channels_last", "peer"}
"""Flags that do not move a run out of its band: where it lies, where it is computed, and what else is trained."""
# Of a new run 99 % lie within t standard deviations of n seeds: Student's t, with the new run's own deviation in it.
STUDENT = {2: 63.66, 3: 9.925, 4: 5.841, 5: 4.604, 6: 4.032, 7: 3.707, 8: 3.499, 9: 3.355, 10: 3.25}
CAUSES = "The learning rate? The step of training? The data?"
WRITING = (
    "What is trained is right, what is written is not: the code that only runs there? A cache, a mask, the search?"
)
LEAST = 1e-3  # of the mean: so wide is a band at least, to either side
MOST = 5  # curves of a log that are all kept; of more, the losses and the one that decides: it is a small file


@dataclass(frozen=True)
class Band:
    """Several seeds of one training.

    Attributes:
        flags: its config, without what `ANY` names.
        metric, higher: the number that decides, and whether more of it is better.
        steps: of the rows of the log.
        curves: {name: [one number a seed] for each step}.
        scores: {test_accuracy: [one number a seed], …}.
        made: {hardware, device, versions, command}.
    """

    flags: dict[str, Any]
    metric: str
    higher: bool
    steps: list[int]
    curves: dict[str, list[list[float]]]
    scores: dict[str, list[float]]
    made: dict[str, Any]

    def limits(self, name: str) -> list[tuple[float, float]]:
        """(low, high) for each step: where 99 % of the runs of one more seed lie."""
        seeds = len(self.curves[name][0])
        wide = STUDENT.get(seeds, 3.0) * math.sqrt(1 + 1 / seeds)
        spread = [statistics.variance(values) for values in self.curves[name]]
        found = []
        for at, values in enumerate(self.curves[name]):
            near = spread[max(0, at - 1) : at + 2]  # one step's spread alone is a poor guess from five seeds
            mean = statistics.fmean(values)
            half = max(wide * math.sqrt(statistics.fmean(near)), LEAST * abs(mean))
            found.append(_possible(name, mean - half, mean + half))
        return found

    def scored(self, name: str) -> tuple[float, float]:
        """(low, high) of a final score: where 99 % of the runs of one more seed end."""
        values = self.scores[name]
        wide = STUDENT.get(len(values), 3.0) * math.sqrt(1 + 1 / len(values))
        mean = statistics.fmean(values)
        half = max(wide * statistics.stdev(values), LEAST * abs(mean))
        return _possible(name, mean - half, mean + half)


def _possible(name: str, low: float, high: float) -> tuple[float, float]:
    """Limits of a number, no wider than it can be."""
    if is_share(name) or name.endswith(("auroc", "mrr")):
        return max(0.0, low), min(1.0, high)
    return (max(0.0, low) if name.endswith("loss") else low), high


# ---------------------------------------------------------------- the file


def path_of(week: int) -> Path:
    return ROOT / plan.folder(week) / "band.json"


def bands(week: int) -> list[Band]:
    """The bands of a week; none where there is no file yet."""
    path = path_of(week)
    if not path.is_file():
        return []
    try:
        tables = read_json(path)["bands"]
        return [Band(**t | {"flags": {n: v for n, v in t["flags"].items() if n not in ANY}}) for t in tables]
    except (TypeError, KeyError, AttributeError):
        raise CourseError(f"{path} is not a file of bands. git checkout -- {path} brings it back.") from None


def flags_of(week: int, config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a config decides in which band a run belongs, as JSON has it."""
    own = set(plan.week(week).mine.replace("--", "").replace("-", "_").split()[::2])  # the learner's code, same numbers
    return json.loads(json.dumps({name: value for name, value in config.items() if name not in ANY | own}))


def make(week: int, folders: Sequence[Path], metric: str, higher: bool, command: str, hardware: str) -> Band:
    """The band of the scored runs in these folders, one a seed."""
    from shared.progress import read_metrics

    logs, results = (
        [read_metrics(f / "metrics.jsonl") for f in folders],
        [read_json(f / "result.json") for f in folders],
    )
    names = [name for name, value in logs[0][0].items() if isinstance(value, float) and name not in MEASURED]
    names = [
        name for name in names if all(name in row for rows in logs for row in rows)
    ]  # some are not always measured
    if len(names) > MOST:
        names = [name for name in names if name.endswith("loss") or name == metric]
    curves = {name: [[_short(row[name]) for row in rows] for rows in zip(*logs, strict=True)] for name in names}
    scores = {
        name: [_short(result["metrics"][name]) for result in results]
        for name in results[0]["metrics"]
        if not name.startswith("last_")
    }
    made = {
        "hardware": hardware,
        "command": command,
        "device": results[0]["device"],
        "versions": results[0]["versions"],
    }
    flags = flags_of(week, read_json(folders[0] / "config.json"))
    return Band(flags, metric, higher, [row["step"] for row in logs[0]], curves, scores, made)


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def keep(week: int, band: Band) -> None:
    """Puts a band into the week's band.json, in the place of the one of the same flags."""
    kept = [other for other in bands(week) if other.flags != band.flags] + [band]
    tables = [asdict(one) for one in kept]
    # One line a curve: a file that people can read, and git compare.
    text = json.dumps({"bands": tables}, indent=1, ensure_ascii=False)
    for table in tables:
        for values in [*table["curves"].values(), *table["scores"].values(), table["steps"]]:
            text = text.replace(_indented(values, text), json.dumps(values))
    with written_whole(path_of(week)) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _indented(values: list, text: str) -> str:
    """How `values` stand in the indented text."""
    for deep in range(1, 8):
        block = json.dumps(values, indent=1).replace("\n", "\n" + " " * deep)
        if block in text:
            return block
    return "\0"


# ---------------------------------------------------------------- where a run lies


@dataclass(frozen=True)
class Verdict:
    """Where a run lies in its band: `kind` is inside, below, sudden, good or outside; `line` says it in words."""

    kind: str
    line: str


def differences(band: Band, flags: Mapping[str, Any]) -> list[str]:
    """The flags in which a run differs from a band, as `--lr 0.5 (the band: 0.1)`."""
    from shared.config import as_typed, flag

    found = []
    for name in [*band.flags, *(name for name in flags if name not in band.flags)]:
        ours, theirs = flags.get(name), band.flags.get(name)
        if ours != theirs:
            found.append(f"{as_typed(name, ours) if name in flags else f'no {flag(name)}'} (the band: {theirs})")
    return found


def nearest(week: int, flags: Mapping[str, Any]) -> Band | None:
    """The band of a week from which these flags differ least; None where there is none at all."""
    return min(bands(week), key=lambda band: len(differences(band, flags)), default=None)


def judge(band: Band, rows: Sequence[Mapping[str, Any]]) -> Verdict:
    """Where a run's log lies in the band, by the number that decides.

    Raises:
        CourseError: no step of it is one of the band's.
    """
    sign, limits = 1 if band.higher else -1, dict(zip(band.steps, band.limits(band.metric), strict=True))
    points = [(row["step"], row[band.metric]) for row in rows if row.get("step") in limits and band.metric in row]
    if not points:
        raise CourseError("no step of this run is one of the band's: has it come to the end of its first epoch?")

    def side(step: int, value: float) -> int:
        """-1 worse than the band, 0 inside, 1 better."""
        low, high = limits[step]
        return 0 if low <= value <= high else sign * (1 if value > high else -1)

    lost = first_loss(band, rows)
    stuck = no_answer(band, rows)
    sides = [side(step, value) for step, value in points]
    last, seeds = points[-1], len(band.curves[band.metric][0])
    name, theirs = band.metric.replace("_", " "), f"the band of {seeds} seeds"
    low, high = (number(band.metric, limit) for limit in limits[last[0]])
    at_end = f"{name} {number(band.metric, last[1])} at step {last[0]}, the band {low} to {high}"
    tail = next(
        (at for at in range(len(sides), 0, -1) if sides[at - 1] != -1), 0
    )  # where the last worse stretch begins
    if stuck:
        return Verdict("below", f"{stuck}; {at_end}. {WRITING}")
    if sides.count(0) >= len(sides) - max(1, len(sides) // 20) and sides[-1] == 0:
        return Verdict("inside", f"inside {theirs}: {at_end}")
    if lost and sides[-1] != 1:
        return Verdict("below", f"worse than {theirs} from the first epoch on: {lost}; {at_end}. {CAUSES}")
    if sides[-1] == 1:
        return Verdict("good", f"too good, better than {theirs}: {at_end}. Is test in train, or val?")
    if sides[0] == -1 and sides.count(-1) > len(sides) / 2:
        return Verdict("below", f"worse than {theirs} from the first epoch on: {at_end}. {CAUSES}")
    if tail < len(sides) and sides[:tail].count(-1) <= max(1, tail // 10):
        return Verdict(
            "sudden",
            f"inside {theirs}, then suddenly worse from step {points[tail][0]} on: {at_end}. A step that was too large,"
            " a resume with other flags, or a slip in code of your own?",
        )
    outside = [step for (step, _), where in zip(points, sides, strict=True) if where]
    where = f"at {len(outside)} of {len(points)} epochs, first at step {outside[0]}"
    return Verdict("outside", f"in and out of {theirs}, outside it {where}: {at_end}")


def no_answer(band: Band, rows: Sequence[Mapping[str, Any]]) -> str:
    """In words, where the losses on val are those of the band, and in the end not one answer is right.

    The loss is computed with the truth so far as input; the score is of what the network writes by itself.
    """
    both = [row for row in rows if row.get("step") in band.steps and {"val_loss", band.metric} <= row.keys()]
    if not band.higher or "val_loss" not in band.curves or not both or both[-1][band.metric] > 0:
        return ""
    losses, scores = (dict(zip(band.steps, band.limits(m), strict=True)) for m in ("val_loss", band.metric))
    if scores[both[-1]["step"]][0] <= 0 or any(row["val_loss"] > losses[row["step"]][1] for row in both):
        return ""
    return "the losses are those of the band, but not one answer is right"


def first_loss(band: Band, rows: Sequence[Mapping[str, Any]]) -> str:
    """The training loss of the first epoch in words, where it is higher than the band's; else nothing."""
    if "train_loss" not in band.curves or not rows or rows[0].get("step") != band.steps[0]:
        return ""
    loss, (low, high) = rows[0].get("train_loss", 0.0), band.limits("train_loss")[0]
    if loss <= high:
        return ""
    return f"train loss {number('train_loss', loss)} at step {band.steps[0]}, the band {low:.4f} to {high:.4f}"


def say(week: int, config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Where a run that has ended lies; nothing where no band has its flags, or none of its steps is in it."""
    flags = flags_of(week, config)
    band = nearest(week, flags)
    if band is None or differences(band, flags) or not {row.get("step") for row in rows} & set(band.steps):
        return ""
    return f"{judge(band, rows).line} (./course curve {week} draws it)"
