"""What a learner has reached in a week: the run, its result beside the baselines and the band, exercises, bugs, hints.

All of it was written down by the programs themselves (runs/, exercises/); here it is gathered, for the report, the
portfolio and the list. Standard library only, but for the command of a run that was gone on with.
"""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from shared import origin, plan
from shared.errors import CourseError
from shared.files import ROOT, read_json

TIMED = ("ms", "second", "seconds", "times_torch", "cold_start", "http_share", "latency", "mfu", "megabytes")
"""What the name of a number ends in that is another one at every run: times, rates, memory."""
SMOKE = "smoke"


def is_timed(name: str) -> bool:
    """Whether a number of a result or of a log differs from run to run though nothing else does."""
    return name in TIMED or name.endswith(tuple(f"_{ending}" for ending in TIMED))


# ---------------------------------------------------------------- exercises and bugs


@dataclass(frozen=True)
class Solved:
    """Titles of what is solved, of those the ones with hints, and how many there are in all."""

    titles: tuple[str, ...]
    hinted: tuple[str, ...]
    total: int


def read_dict(path: Path) -> dict[str, Any]:
    """The JSON object in a file; {} where there is none, or it is damaged: one bad file must stop no report."""
    try:
        found = read_json(path)
    except (CourseError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


def exercises(week: int, root: Path = ROOT) -> Solved:
    """The pieces that `./course check` has found solved."""
    folder = root / "exercises" / f"week{week:02}"
    progress, hints = read_dict(folder / "progress.json"), read_dict(folder / "hints.json")
    names = titles(week)
    done = [piece for piece in names if progress.get(piece) == "passed"]
    return Solved(tuple(names[piece] for piece in done), tuple(names[p] for p in done if p in hints), len(names))


def titles(week: int) -> dict[str, str]:
    """{piece: its title} of a week's exercises, as `./course check` names them; in a moment, without reading Python."""
    from shared.exercise import START
    from shared.exercise_check import names_of

    files = sorted((ROOT / plan.folder(week)).glob("*.py"))
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in files]
    found = [match for text in texts for line in text.splitlines() if (match := START.fullmatch(line.rstrip()))]
    named = names_of(SimpleNamespace(number=int(one[2]), title=one[3]) for one in found)
    return {str(number): named[number] for number in sorted(named)}


def bugs(week: int, root: Path = ROOT) -> Solved:
    """The planted bugs that were found. No hints are given for these."""
    from shared import exercise_bugs

    try:
        there = exercise_bugs.bugs(week)
    except CourseError:
        there = []
    places = [root / "exercises" / f"week{week:02}-bug{number}" for number in range(1, len(there) + 1)]
    found = [bug.title for bug, place in zip(there, places, strict=True) if exercise_bugs.is_found(place)]
    return Solved(tuple(found), (), len(there))


# ---------------------------------------------------------------- the run


def newest(week: int, root: Path = ROOT) -> Path | None:
    """The week's training that came to its end last: those of more than some seconds (smoke) come first, those with a
    planted bug last; None where there is none. What other programs of the week have trained is passed over."""
    found = []
    for path in (root / "runs" / f"week{week:02}").glob("*/result.json"):
        result, config = read_dict(path), read_dict(path.with_name("config.json"))
        if result.get("metrics") and config and not str(result.get("command")).startswith("./course run "):
            time = path.with_name("config.json").stat().st_mtime_ns
            sound = not re.search(r"week\d\d-bug\d", str(result.get("command")))
            found.append((sound, config.get("preset") != SMOKE, time, path.parent))
    return max(found)[-1] if found else None


def finished(week: int, folder: str = "", root: Path = ROOT) -> Path:
    """The run to tell of: the one that is named, or `newest`.

    Raises:
        CourseError: there is none yet, or the one that is named is none of this week's training, come to its end.
    """
    if not folder:
        found = newest(week, root)
        if found is None:
            raise CourseError(f"no run of week {week} has come to its end yet: ./course train {week} makes one.")
        return found
    path = Path(folder).expanduser()
    result = read_dict(path / "result.json")
    if not result.get("metrics") or not (path / "config.json").is_file():
        raise CourseError(f"--run {folder}: no run that has come to its end lies there: it has no result.json.")
    if result.get("week") != week or str(result.get("command")).startswith("./course run "):
        raise CourseError(f"--run {folder}: it is of `{result.get('command')}`, not of ./course train {week}.")
    return path


def record(week: int, folder: Path, root: Path = ROOT) -> dict[str, Any]:
    """All there is to tell of a finished run and of the week, as it goes into a report: plain JSON.

    Raises:
        CourseError: the week is not here, or a file of the run is damaged.
    """
    about = plan.week(week)
    if about is None:
        raise CourseError(f"week {week} is not here yet.")
    result, config = read_json(folder / "result.json"), read_json(folder / "config.json")
    rows = log(folder)
    kept = ("data", "seed", "device", "dtype", "params", "seconds", "versions")
    numbers = as_floats(result["metrics"])
    examples = folder / "examples.safetensors"
    found = {
        "week": week,
        "title": about.title,
        "lesson": about.lesson,
        "command": command(week, result, config),
        "scored": any(name.startswith("test_") for name in numbers),
        "preset": str(config.get("preset", "")),
        **{name: result.get(name) for name in kept},
        "data": shown_data(str(result.get("data", ""))),
        "own_data": is_own(str(result.get("data", ""))),
        "synthetic": bool(result.get("synthetic")),
        "metrics": numbers,
        "columns": columns(about, result, numbers),
        "baselines": [row | as_floats(row) | {"params": row.get("params", 0)} for row in result.get("baselines", [])],
        "band": where_in_band(week, config, rows),
        **{name: result.get(name, "") for name in ("hardware", "threads", "code")},
        "run": run_hash(config, rows),
        "examples": origin.digest([examples.read_bytes()]) if examples.is_file() else "",
        "exercises": vars(exercises(week, root)),
        "bugs": vars(bugs(week, root)),
    }
    return json.loads(json.dumps(found))  # as a report gives it back


def as_floats(row: Mapping[str, Any]) -> dict[str, float]:
    """What of a row is a number: its scores."""
    return {name: float(value) for name, value in row.items() if type(value) in (int, float)}


def log(folder: Path) -> list[dict[str, Any]]:
    from shared.progress import read_metrics

    path = folder / "metrics.jsonl"
    return read_metrics(path) if path.is_file() else []


def run_hash(config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """sha256 of a run's flags and of every row of its log, but for what differs from run to run. Two runs of the same
    code on the same machine have the same one."""
    flags = {name: value for name, value in config.items() if name not in ("out", "resume", "data")}
    numbers = [{name: value for name, value in row.items() if not is_timed(name)} for row in rows]
    return origin.digest([json.dumps([flags, numbers], sort_keys=True).encode()])


def where_in_band(week: int, config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """{kind, line} of a run in its week's band (shared/band.py); both empty where no band has its flags."""
    from shared import band

    flags = band.flags_of(week, config)
    one = band.nearest(week, flags)
    if one is None or band.differences(one, flags):
        return {"kind": "", "line": ""}
    try:
        return dict(vars(band.judge(one, rows)))
    except CourseError:  # it has no step of the band's
        return {"kind": "", "line": ""}


def columns(about: plan.Week, result: Mapping[str, Any], numbers: Mapping[str, float], most: int = 4) -> list[str]:
    """Which of a result's numbers stand in its table, the one that tells most first: what a baseline has, too, on test
    before val; in the order of the targets. Where there is none of all these, the first numbers."""
    targets = sorted(about.targets, key=lambda target: target.data != result.get("data"))
    names = [name for target in targets for name in twins(target.metric)]
    theirs = [name for row in result.get("baselines", []) for name in row if name.startswith(("test_", "val_"))]
    found = [name for name in dict.fromkeys(names + theirs) if name in numbers and not is_timed(name)]
    found.sort(key=lambda name: (name not in theirs, not name.startswith("test_")))
    return (found or [name for name in numbers if not name.startswith("last_")])[:most]


def twins(metric: str) -> tuple[str, str]:
    """A number on test, and the same on val."""
    return f"test_{metric.partition('_')[2]}", f"val_{metric.partition('_')[2]}"


def higher_is_better(week: int, metric: str) -> bool:
    """Whether more of a number is better: as the week's targets have it, else by its name."""
    about = plan.week(week)
    for target in about.targets if about else ():
        if metric in twins(target.metric):
            return target.higher_is_better
    return not metric.endswith(("loss", "perplexity", "error", "per_byte", "ece"))


def is_own(data: str) -> bool:
    """Whether --data was a path: data of the learner's own, which nobody else has."""
    return "/" in data or "\\" in data


def shown_data(data: str) -> str:
    """The name of the data, without the folders of this machine, and without what means something in Markdown."""
    name = data.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return re.sub(r"[<>`|*\[\]\s]", "_", name.encode("utf-8", "replace").decode()) or "data"


# ---------------------------------------------------------------- the one command


def command(week: int, result: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """What anyone types to train this run again: as it was typed, without --out; made of its flags where it was gone
    on with, or was one of several seeds. Data of one's own are named without their folders."""
    try:
        words = shlex.split(str(result.get("command", "")))
    except ValueError:
        words = []
    begin, own = ["./course", "train", str(week)], str(result.get("data", ""))
    if words[:3] != begin or "--resume" in words:
        at = words.index("--mine") if "--mine" in words else len(words)
        bug = [word for word in words[at + 1 : at + 2] if re.search(r"week\d\d-bug\d+$", word)]
        words = [*begin, *words[at : at + 1], *bug, *flags_of(week, config)]
    words = without(words, "--out")
    if is_own(own):
        words = [*without(words, "--data"), "--data", shown_data(own)]
    return shlex.join(words)


def without(words: Sequence[str], flag: str) -> list[str]:
    """The words of a command without a flag and its value."""
    kept, skip = [], False
    for word in words:
        if not skip and word.partition("=")[0] != flag:
            kept.append(word)
        skip = not skip and word == flag
    return kept


def flags_of(week: int, config: Mapping[str, Any]) -> list[str]:
    """The flags that lead to this config: its preset, and what differs from it."""
    import importlib

    from shared.config import as_typed

    train = importlib.import_module(f"{plan.folder(week)}.train")
    default = vars(train.Config()) | dict(train.PRESETS.get(config.get("preset"), {}))
    words = [] if config.get("preset") == train.Config().preset else ["--preset", str(config.get("preset"))]
    for name, value in config.items():
        usual = default.get(name)
        if name in default and name not in ("out", "resume", "preset") and value != json.loads(json.dumps(usual)):
            words += shlex.split(as_typed(name, value))
    return words


def newest_or_none(week: int, root: Path = ROOT) -> dict[str, Any] | None:
    """`record` of the week's newest run; None where there is none, or where it cannot be read."""
    folder = newest(week, root)
    try:
        return record(week, folder, root) if folder else None
    except (CourseError, OSError, KeyError, TypeError, AttributeError):
        return None


def picture(week: int, folder: Path | None, root: Path = ROOT) -> tuple[Path, str] | None:
    """The picture of the week and whose it is: the learner's own of the kind that the lesson shows first, then the
    curve of the run, then the lesson's."""
    about = plan.week(week)
    if about is None:
        return None
    name = Path(about.picture).name
    near = [folder / name] if folder else []
    far = sorted((root / "runs" / f"week{week:02}").glob(f"*/{name}"), key=lambda p: p.stat().st_mtime_ns, reverse=True)
    curves = [folder / curve for curve in ("curve.png", "curves.png")] if folder else []
    for path in (*near, *far, *curves):
        if path.is_file():
            return path, "own"
    lesson = ROOT / plan.folder(week) / about.picture
    return (lesson, "lesson") if lesson.is_file() else None
