"""The life of a run, once for all weeks: begin or go on, baselines, the log and the best weights, the result, reload.

    run = runs.begin(WEEK_NUMBER, cfg, free=("epochs", "max_steps", "lr"))
    run.hold_to(data)
    baselines = run.once("baselines", lambda: train_baselines(…))
    best, last = run.follow(fit(cfg, …, run), keep=lambda: {"model": model.state_dict()})
    return run.finish(best, last, device, count_parameters(model), baselines["rows"])

A run is a folder, runs/weekNN/<name>: config.json, metrics.jsonl (a row an epoch), checkpoint.safetensors (where it
stands), examples.safetensors (what it has seen), model.safetensors (its best weights), baselines.safetensors,
result.json and pictures. Standard library only, up to where tensors are read and written.
"""

import json
import platform
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from shared import achieved, band, origin, terminal
from shared.errors import CourseError, Stopped
from shared.files import ROOT, only_one, read_json, write_json, written_whole
from shared.terminal import MEASURED, number

RUNS = ROOT / "runs"
LIBRARIES = ("numpy", "sklearn", "torch", "torchvision", "lightning", "transformers", "peft", "trl")
CHECKPOINT, MODEL = "checkpoint.safetensors", "model.safetensors"
BASELINES = "baselines.safetensors"
LEARNED = 0.01  # by so much a network must be better than a constant answer: a point of accuracy, 0.01 of a loss

Row = dict[str, Any]
"""A line of the log, or of a table: {name, params, seconds, val_accuracy, …}."""


# ---------------------------------------------------------------- folders


def create(week: int, cfg: Any) -> Path:
    """Makes the folder of a new run, with its config.json: --out, or the next number in runs/weekNN.

    Raises:
        CourseError: --out already holds a run (nothing is ever overwritten), or is no place for one.
    """
    try:
        folder = _new_folder(week, cfg)
    except OSError as error:
        raise CourseError(f"cannot make a run folder: {error}. Choose another place with --out.") from None
    write_json(folder / "config.json", asdict(cfg))
    return folder


def _new_folder(week: int, cfg: Any) -> Path:
    if cfg.out:
        folder = Path(cfg.out)
        if (folder / "config.json").exists():
            raise CourseError(f"{folder} already holds a run: choose another --out, or go on with it by --resume.")
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    parent = RUNS / f"week{week:02d}"
    parent.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(p.name[:3]) for p in parent.iterdir() if p.name[:3].isdecimal()), default=0)
    while True:  # two trainings started at once race for a number; the second takes the next one
        folder = parent / f"{number:03d}-{cfg.preset}"
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


def checkpoint_of(program: str) -> str:
    """The file that tells where a program's run stands. Another one for each, so that `--resume` finds its own."""
    return CHECKPOINT if program == "train" else f"{program}.safetensors"


def call(week: int, program: str) -> str:
    """How a program of a week is called: `./course train 3`, `./course run 3 price_forecast`."""
    return f"./course {program} {week}" if program in ("train", "repeat") else f"./course run {week} {program}"


def newest(week: int, file: str = MODEL, program: str = "train") -> Path:
    """The week's run that was started last and holds `file`, which `program` makes.

    Raises:
        CourseError: there is none yet.
    """
    found = [path.parent for path in (RUNS / f"week{week:02d}").glob(f"*/{file}")]
    found = [folder for folder in found if (folder / "config.json").is_file()]
    if not found:
        raise CourseError(f"no run of week {week} with a {file} yet: `{call(week, program)}` makes one.")
    return max(found, key=lambda folder: (folder / "config.json").stat().st_mtime_ns)


def newest_said(week: int) -> Path:
    """`newest`, with a line where it is a trial, or of a learner's own code, and there is another to be had."""
    found, most = newest(week), achieved.newest(week, RUNS.parent)
    told = achieved.read_dict(found / "result.json").get("command", "")
    own = " --mine" in str(told) and not terminal.mine()
    what = "of your own code" if own else "a trial of some seconds" if found.name.endswith("-smoke") else ""
    if what and most and most.resolve() != found.resolve():
        print(f"taking the newest run, {_shown(found)}, {what}; another one: --run {_shown(most)}", file=sys.stderr)
    return found


def read_config(config_class: type, folder: Path) -> Any:
    """The config that a run was started with, read back from its config.json.

    Raises:
        CourseError: the folder holds no run, or one of another program.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise CourseError(
            f"no run in {folder}: it has no config.json. Give --out another folder, or leave out --resume."
        )
    saved = read_json(path)
    defaults = {field.name: getattr(config_class(), field.name) for field in fields(config_class)}
    if not isinstance(saved, dict):
        strange = ["not a table"]
    else:
        strange = [name for name, value in saved.items() if name not in defaults or not _fits(value, defaults[name])]
    if strange:
        raise CourseError(f"{path} is not of this program ({', '.join(strange)}). Start a new run without --resume.")
    return config_class(**{name: tuple(v) if isinstance(v, list) else v for name, v in saved.items()})


def _fits(value: Any, default: Any) -> bool:
    """Whether a value out of a JSON file is of the kind that the default is."""
    if isinstance(default, tuple):
        return isinstance(value, list) and all(_fits(item, default[0]) for item in value if default)
    if isinstance(default, float):
        return type(value) in (int, float)
    return default is None or type(value) is type(default)


# ---------------------------------------------------------------- a run


def begin(week: int, cfg: Any, free: Sequence[str] = (), program: str = "train") -> "Run":
    """A new run with its folder; or, with --resume, the one to go on with, whose whole config is written back.

    Args:
        week, cfg: whose run it is.
        free: which flags a resume may change. Any other that differs is refused by its name.
        program: what to call to go on: train, or another program of the week.

    Raises:
        CourseError: the folder cannot be made or holds a run already; nothing to resume, or another run than this one.
    """
    if not cfg.resume:
        run = Run(week, cfg, create(week, cfg), program=program)
        run.lock = only_one(run.folder)
        if program == "train":
            run.save({"step": 0})  # so that --resume finds it, however early it is stopped or killed
        return run
    from shared import checkpoint
    from shared.config import as_typed, flag

    folder = Path(cfg.out) if cfg.out else newest(week, checkpoint_of(program), program)
    before = read_config(type(cfg), folder)
    lock = only_one(folder)
    for field in fields(cfg):
        name, was = field.name, getattr(before, field.name)
        if name not in (*free, "out", "resume") and getattr(cfg, name) != was:
            started, now = as_typed(name, was), getattr(cfg, name)
            given = as_typed(name, now) if isinstance(now, bool) else flag(name)
            raise CourseError(f"{folder} was started with {started}: leave {given} out, or start a new run.")
    path = folder / checkpoint_of(program)
    state = checkpoint.load(path) if path.is_file() else {}
    if state and state.get("week") != week:
        raise CourseError(f"{path} is not of week {week}. Give --out a folder of runs/week{week:02d}.")
    write_json(folder / "config.json", asdict(replace(cfg, out=before.out, resume=False)))
    run = Run(week, cfg, folder, state, program)
    run.before, run.lock = asdict(before), lock
    return run


class Run:
    """A training and its folder.

    Attributes:
        week, cfg: whose it is.
        folder: where everything of it lies.
        resumed_at: the step after which it goes on; None for a new run.
        before: the flags that it had until it is gone on with; None for a new run.
        lock: keeps other processes out of the folder, for as long as this one trains.
    """

    before: dict[str, Any] | None = None
    lock: Any = None

    def __init__(
        self, week: int, cfg: Any, folder: Path, state: dict[str, Any] | None = None, program: str = "train"
    ) -> None:
        self.week, self.cfg, self.folder, self.program = week, cfg, folder, program
        self._state = state or {}
        self.resumed_at = self._state.get("step", 0) if cfg.resume else None
        self.code = origin.code_in_use(week)  # as it is now: it may be changed while it trains
        self.metric, self.sign = "val_accuracy", 1  # the number of a row that decides, and whether more is better

    def take_state(self) -> dict[str, Any]:
        """What the checkpoint held; handed out once, so that the memory is free as soon as it is restored."""
        state, self._state = self._state, {}
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Keeps where the training stands, for --resume."""
        from shared import checkpoint

        checkpoint.save(self.folder / checkpoint_of(self.program), {"week": self.week, **state})

    def stopped(self, what: str) -> Stopped:
        """What to raise after Ctrl-C: what became of the work, and the command that goes on."""
        where = f" --out {shlex.quote(str(self.folder))}" if self.cfg.out else ""
        return Stopped(f"{what} `{call(self.week, self.program)}{terminal.mine()}{where} --resume` goes on.")

    def hold_to(self, data: Any) -> None:
        """Keeps a fingerprint of every example, so that eval can tell what the network has seen. A run that goes on is
        to be given the same examples again, in the same parts.

        Raises:
            CourseError: they are others now.
        """
        from shared import held_out

        if (self.folder / held_out.FILE).is_file():
            held_out.hold_to(self.folder, self.cfg.data, data, "give it back as it was, or start a new run.")
        else:
            held_out.keep(self.folder, data)

    def once(self, name: str, make: Callable[[], dict[str, Any]], own: bool = False) -> dict[str, Any]:
        """What `make` returns (tensors, numbers, rows), made once in the life of the run and kept in NAME.safetensors.

        With a learner's own code (--mine) it is taken from an equal run of the reference, where there is one; unless it
        is `own`: a part of the training, which that code must make by itself.

        Raises:
            Stopped: Ctrl-C was pressed meanwhile.
        """
        from shared import checkpoint

        path = self.folder / f"{name}.safetensors"
        if not path.is_file():
            twin = self.twin() if terminal.mine() and not own else None
            if twin and (twin / path.name).is_file():
                print(f"{name}: those of {_shown(twin)}, an equal run")
                with written_whole(path) as temporary:
                    shutil.copyfile(twin / path.name, temporary)
            else:
                try:
                    made = make()
                except KeyboardInterrupt:
                    raise self.stopped(f"stopped during {name}; this part is not kept.") from None
                checkpoint.save(path, {"week": self.week, **made})
        return checkpoint.load(path)

    def twin(self) -> Path | None:
        """The newest finished run of the reference with the same flags, to compare a learner's own with."""
        own = {"out": "", "resume": False}
        flags = json.loads(json.dumps(asdict(self.cfg))) | own
        found = (RUNS / f"week{self.week:02d}").glob("*/result.json")
        found = [path for path in found if path.parent != self.folder and path.with_name("config.json").is_file()]
        for path in sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True):
            reference = " --mine" not in str(read_json(path).get("command"))
            if reference and read_json(path.with_name("config.json")) | own == flags:
                return path.parent
        return None

    @property
    def rows(self) -> list[Row]:
        """The log so far."""
        from shared.progress import read_metrics

        path = self.folder / "metrics.jsonl"
        return read_metrics(path) if path.is_file() else []

    def follow(
        self, rows: Iterable[Row], keep: Callable[[], dict[str, Any]], metric: str = "val_accuracy", higher: bool = True
    ) -> tuple[Row, Row]:
        """Writes the rows of a training to the log, tells of them now and then, and keeps the best weights.

        Args:
            rows: {epoch, step, train_loss, val_…, seconds}, as a week's `fit` yields them.
            keep: what model.safetensors is to hold, called whenever a row is the best so far.
            metric: the number of the row that decides; of equals the first is kept.
            higher: whether more of it is better (an accuracy), or less (a loss).

        Returns:
            The best row and the last one, those of before a resume among them.

        Raises:
            CourseError: the run had come to its end before.
        """
        self.metric, self.sign = metric, 1 if higher else -1
        with self.log() as log:
            seen = self.rows
            before = len(seen)
            try:
                for row in rows:
                    log(row)
                    seen.append(row)
                    if self.best(seen) is row:
                        self.save_model(keep())
            except KeyboardInterrupt:  # before the loop could hear it, or a second Ctrl-C, which waits for no step
                kept = "what was saved is kept" if seen else "nothing new is kept"
                raise self.stopped(f"stopped at once; {kept}.") from None
        if len(seen) == before and (not seen or (self.folder / "result.json").is_file()):
            raise self.finished("give --epochs a larger number, or start a new run.")
        return self.best(seen), seen[-1]

    def finished(self, advice: str) -> CourseError:
        """What to raise where a run had come to its end before; its flags are what they were."""
        if self.before:  # nothing was trained with the flags of this call
            write_json(self.folder / "config.json", self.before)
        return CourseError(f"{self.folder} has already finished: {advice}")

    @contextmanager
    def log(self) -> Iterator[Callable[[Row], None]]:
        """Yields log(row), which writes a row to metrics.jsonl and tells of it now and then.

        `follow` is made of it. A library that keeps the loop to itself (Lightning, a Trainer) calls it from its hooks.
        """
        from tqdm import tqdm

        from shared.progress import metrics_log

        every = max(1, getattr(self.cfg, "epochs", 0) // 10)
        with metrics_log(self.folder / "metrics.jsonl", self.resumed_at) as write:
            if self.resumed_at is not None:
                print(f"going on in {_shown(self.folder)} after step {self.resumed_at}")

            def log(row: Row) -> None:
                write(**row)
                if row["epoch"] == 1 or row["epoch"] % every == 0:
                    tqdm.write(in_words(row))

            yield log

    def save_model(self, what: Mapping[str, Any]) -> None:
        """Writes model.safetensors: the weights to be used from now on, and what belongs to them."""
        from shared import checkpoint

        checkpoint.save(self.folder / MODEL, {"week": self.week, "config": asdict(self.cfg), **what})

    def best(self, rows: Sequence[Row]) -> Row:
        """The row with the best metric, the first of equals."""
        return max(rows, key=lambda row: self.sign * row[self.metric])

    def record(
        self, metrics: Mapping[str, float], device: Any, params: int, seconds: float, baselines: Sequence[Row],
        **also: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """Writes result.json, and returns what it holds: for `finish`, and for programs that end otherwise."""
        result = {
            "week": self.week,
            "command": terminal.typed(),
            "data": self.cfg.data,
            "seed": self.cfg.seed,
            "device": device.name,
            "dtype": device.dtype,
            "params": params,
            "seconds": round(seconds, 2),
            "versions": versions(),
            "hardware": origin.hardware(device.name),
            "threads": origin.threads(),
            "code": self.code,
            "metrics": dict(metrics),
            "baselines": [dict(row) for row in baselines],
            **also,
        }
        write_json(self.folder / "result.json", result)
        return result

    def finish(
        self, best: Row, last: Row, device: Any, params: int, baselines: Sequence[Row], advice: str = "",
        hints: Sequence[str] = (), **also: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """Writes result.json and curves.png, and shows the result beside its baselines and where to go next.

        Args:
            best, last: what `follow` returned.
            device: what was computed on; its `name` and `dtype` are noted.
            params: how many numbers were trained.
            baselines: rows {name, params, seconds, val_…}; of those without parameters the worst is a constant answer.
            advice: what to try where the network is no better than that.
            hints: more lines for the end: what one can do with this run.
            also: more for result.json.

        Returns:
            What result.json holds; the run's folder is under the key "run".
        """
        from shared.plots import curves

        metrics = {self.metric: best[self.metric]}
        metrics |= {f"last_{name}": value for name, value in last.items() if name.startswith("val_")}
        result = self.record(metrics, device, params, last["seconds"], baselines, **also)
        theirs = [(row["name"], row[self.metric]) for row in baselines if self.metric in row]
        curves(self.folder / "curves.png", self.rows, self.metric, max(
            theirs, key=lambda row: self.sign * row[1], default=None
        ))  # fmt: skip
        print_table(result, self.metric)
        print(f"(the weights of the best epoch on val, {best['epoch']}, are kept)")
        reached, free = best[self.metric], [row for row in baselines if not row["params"] and self.metric in row]
        constant = min(free, key=lambda row: self.sign * row[self.metric], default=None)  # rules may be far better
        if constant and reached != 1 and self.sign * reached <= self.sign * constant[self.metric] + LEARNED:
            ours, theirs = (number(self.metric, row[self.metric]) for row in (best, constant))
            print(
                f"\nit has learned nothing: {self.metric.replace('_', ' ')} {ours}, {constant['name']} has {theirs}.",
                advice,
            )
        if place := band.say(self.week, asdict(self.cfg), self.rows):
            print(f"\n{place}")
        if terminal.mine():
            self.compare_with_reference()
        where = "" if self.is_newest() else f" --run {shlex.quote(str(self.folder))}"
        print(f"\nrun folder: {self.folder}\non the test set: ./course eval {self.week}{terminal.mine()}{where}")
        for hint in hints:
            print(hint.format(run=where))
        return result | {"run": str(self.folder)}

    def is_newest(self) -> bool:
        """Whether other programs take this run when they are given none: no later one was begun beside it."""
        own = self.folder.parent.resolve() == (RUNS / f"week{self.week:02d}").resolve()
        return own and newest(self.week).resolve() == self.folder.resolve()

    def compare_with_reference(self) -> None:
        """Says aloud when a learner's own code has come to the reference's result, to the last digit."""
        twin = self.twin()
        if twin is None:
            print(f"\n(`./course train {self.week}` with the same flags trains the reference, to compare yours with)")
        elif without_seconds(Run(self.week, self.cfg, twin).rows) == without_seconds(self.rows):
            print(f"\nYour code has come to the reference's result, to the last digit of every row: {_shown(twin)}.")
        else:
            print(f"\nThese are not the reference's digits: compare metrics.jsonl here and in {_shown(twin)}.")


def without_seconds(rows: Iterable[Row]) -> list[Row]:
    """The rows of a log without what differs from run to run."""
    return [{name: value for name, value in row.items() if name not in MEASURED} for row in rows]


def _shown(folder: Path) -> str:
    return folder.relative_to(ROOT).as_posix() if folder.is_relative_to(ROOT) else str(folder)


def versions() -> dict[str, str]:
    """Of Python, and of the libraries that are in use."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        if library in sys.modules:
            try:
                found[library] = version({"sklearn": "scikit-learn"}.get(library, library))
            except PackageNotFoundError:
                found[library] = "unknown"
    return found


# ---------------------------------------------------------------- numbers and tables


def in_words(row: Row) -> str:
    """A row of the log as a line: `epoch   3   train loss 0.1818   val loss 0.2425   val accuracy 92.80%`."""
    told = [f"{name.replace('_', ' ')} {number(name, value)}" for name, value in row.items()
            if name not in ("epoch", "step", "seconds")]  # fmt: skip
    return "   ".join([f"epoch {row['epoch']:3d}", *told])


def describe(data: Any, things: str = "images") -> None:
    """How much there is to train on and to choose by, and what was guessed, left out or dropped of it."""
    print(f"{data.name}: {len(data.train):,} {things} to train on, {len(data.val):,} to validate")
    tell(data.notes)


def tell(notes: Iterable[str]) -> None:
    """The notes on data, a line each."""
    for note in notes:
        print(f"  {note}")


def baseline(name: str, params: int, row: Row) -> Row:
    """The row of a trained baseline: its name, its size, and what the last (or best) row of its training says."""
    scores = {name: value for name, value in row.items() if name in ("val_accuracy", "val_loss")}
    return {"name": name, "params": params, "seconds": round(row["seconds"], 2), **scores}


def best_of(rows: Iterable[Row], keep: Callable[[], Any], metric: str = "val_accuracy") -> tuple[Row, Any]:
    """The best row of a training that keeps nothing else, with the seconds of all of it; and what `keep` gave then."""
    best, kept = None, None
    for row in rows:
        if best is None or row[metric] > best[metric]:
            best, kept = row, keep()
    return best | {"seconds": row["seconds"]}, kept


def constant_answer(labels: Any, metric: str = "val_accuracy") -> Row:
    """The baseline that needs no network: the commonest of the labels (N,), always. No constant does better."""
    import numpy as np

    counts = np.unique(np.asarray(labels), return_counts=True)[1]
    return {"name": "always the same answer", "params": 0, "seconds": 0.0, metric: float(counts.max() / counts.sum())}


def contestants(result: Mapping[str, Any], metric: str = "") -> list[Row]:
    """A result.json as rows of one table: this network first, then its baselines; those that have the metric."""
    ours = {"name": "this network", "params": result["params"], "seconds": result["seconds"], **result["metrics"]}
    return [row for row in (ours, *result["baselines"]) if not metric or metric in row]


def print_table(result: Mapping[str, Any], metric: str) -> None:
    """The result beside its baselines."""
    rows = contestants(result, metric)
    width = max(24, *(len(row["name"]) + 2 for row in rows))
    print(f"\n{'':{width}s}{metric.replace('_', ' '):>14s}{'parameters':>13s}{'seconds':>10s}")
    for row in rows:
        line = f"{row['name']:{width}s}{number(metric, row[metric]):>14s}"
        print(line + (f"{row['params']:>13,}{row['seconds']:>10.1f}" if row["params"] else ""))


# ---------------------------------------------------------------- a trained run


@dataclass(frozen=True)
class Trained:
    """A run that can be used: its config, what `keep` had put into model.safetensors, and its baselines (or {})."""

    week: int
    folder: Path
    config: Any
    saved: dict[str, Any]
    baselines: dict[str, Any]

    def fill(self, model: Any, weights: Any) -> Any:
        """The model with these weights, in evaluation mode where it has one; CourseError where they do not fit."""
        try:
            model.load_state_dict(weights)
        except (RuntimeError, ValueError, KeyError):
            raise CourseError(
                f"{self.folder / MODEL} does not hold the network that it describes. Train again, or use another run."
            ) from None
        return model.eval() if hasattr(model, "eval") else model

    @property
    def baseline_models(self) -> dict[str, Any]:
        """The weights of the baselines by name; CourseError where their file is gone."""
        if "models" not in self.baselines:
            raise CourseError(f"{self.folder}: its {BASELINES} is gone. Train again, or use another run.")
        return self.baselines["models"]

    def hold_to(self, data: Any) -> None:
        """CourseError where `data` are not what the network was trained on: then their val part is another one, too."""
        from shared import held_out

        held_out.hold_to(self.folder, self.config.data, data, "give it back as it was, or train again.")

    def folder_for(self, out: str, other: str) -> Path:
        """Where eval's pictures go: --out, or the run's folder; those of other data than its own test part, by name or
        path, into a folder in it, for the run's own pictures stay."""
        if out or not other:
            return Path(out) if out else self.folder
        return self.folder / Path(other.removesuffix(" (test)")).resolve().stem

    def scored(
        self, scores: Mapping[str, float], theirs: Mapping[str, float], out: Path | None = None
    ) -> dict[str, Any]:
        """The result with scores on test: of the network, and of its baselines by name.

        Args:
            scores: {test_accuracy: …}; its first name is that of the baselines' score.
            theirs: {name of a baseline: score}; one that has no row yet gets one.
            out: the folder whose result.json is written, where this is the run's own test part.
        """
        metric, result = next(iter(scores)), read_json(self.folder / "result.json")
        rows = {row["name"]: row for row in result["baselines"]}
        for name, score in theirs.items():
            rows[name] = {**rows.get(name, {"name": name, "params": 0, "seconds": 0.0}), metric: score}
        result |= {"metrics": result["metrics"] | dict(scores), "baselines": list(rows.values())}
        if out:
            write_json(out / "result.json", result)
        return result


def load(week: int, config_class: type, folder: str | Path = "", finished: bool = False) -> Trained:
    """The trained run in a folder; without one, the week's newest.

    Raises:
        CourseError: there is none, it is of another week, or (`finished`) it has not come to its end.
    """
    from shared import checkpoint

    found = Path(folder) if folder else newest_said(week)
    saved = checkpoint.load(found / MODEL)
    cfg = saved.get("config")
    if (
        saved.get("week") != week
        or not isinstance(cfg, dict)
        or not cfg.keys() <= {f.name for f in fields(config_class)}
    ):
        raise CourseError(
            f"{found / MODEL} is not a network of week {week}. Give --run a folder of runs/week{week:02d}."
        )
    if finished and not (found / "result.json").is_file():
        goes_on = f"./course train {week} --out {shlex.quote(str(found))} --resume"
        raise CourseError(f"{found} has not been trained to its end: `{goes_on}` goes on.")
    path = found / BASELINES
    return Trained(week, found, config_class(**cfg), saved, checkpoint.load(path) if path.is_file() else {})
