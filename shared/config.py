"""What a flag may be: bounds and choices as types, checked in one place, and the flags that programs have in common.

    lr: Positive = 0.1
    pool: Literal["max", "avg", "stride"] = "max"

`check` holds a config against its types: the parser of the command line calls it for every program.
"""

import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from shared.errors import CourseError

Config = TypeVar("Config")
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Lt(1)]
"""From 0 to below 1: a dropout, a momentum."""
Count = Annotated[int, Ge(1)]
Natural = Annotated[int, Ge(0)]
"""0 or more; where 0 has a meaning of its own (no limit, all of them), the flag's help says which."""
LARGEST = 1e30
"""More than any flag means, and so little that a step of that size still fits into float32."""
Seed = Annotated[int, Ge(0), Lt(2**32)]
"""What NumPy and torch both take."""


@dataclass
class TrainConfig:
    """The flags that mean the same in every week. A week's `Config` inherits them and adds its own."""

    data: str = "sample"
    """What to train on: `sample` (bundled, offline), a real data set by name (downloaded once), or a path of your own.
    The week's README says which names and layouts it reads."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""
    seed: Seed = 0
    """Everything random follows from this number.
    The same seed gives the same result on the same machine with the same number of threads."""
    out: str = ""
    """The run's folder. Default: the next free one in runs/weekNN."""
    resume: bool = False
    """Go on with the run in --out (default: this week's newest) where it stopped, bit for bit on a CPU."""
    preset: str = "quick"
    """A set of defaults: `smoke` (seconds), `quick` (minutes, bundled data), `full` (the real thing).
    A flag given by hand wins over the preset."""


@dataclass
class EvalConfig:
    """The flags of every eval.py."""

    data: str = ""
    """What to score on: the test part of the run's own data set (default) or of another one by name.
    Of a path of your own everything is scored."""
    run: str = ""
    """The run's folder (default: the week's newest)."""
    out: str = ""
    """Where the pictures go (default: the run's folder; those of other data into one in it)."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""
    threads: Natural = 0
    """CPU threads of torch and onnxruntime (0: as many as they take)."""


DATA_SETS = {
    "sample", "mnist", "fashion_mnist", "cifar10", "imdb", "sp500", "nasdaq", "anki", "synthetic", "squad", "squad_v2",
    "wnut17", "conll2003", "github-code-clean", "alpaca", "dolly", "hh-rlhf", "sample_other", "pneumoniamnist",
    "eurosat", "flickr8k", "unsplash-lite",
}  # fmt: skip
"""What --data may name, in one week or another; all else is a path."""


def flag(name: str) -> str:
    """`--batch-size` for batch_size."""
    return f"--{name.replace('_', '-')}"


def as_typed(name: str, value: Any) -> str:
    """A flag with its value as one types it: `--lr 0.1`, `--hidden 4 2`, `--no-norm`."""
    if isinstance(value, bool):
        return flag(name if value else f"no_{name}")
    return f"{flag(name)} {shlex.quote(value) if isinstance(value, str) else shown(value)}"


def check(cfg: Any) -> None:
    """Holds every field of a config against its type.

    Raises:
        CourseError: a value out of its bounds, no finite number, or none of the choices; one line.
    """
    for name, kind in hints(type(cfg)).items():
        if name == "data" and not cfg.data and type(cfg)().data:
            raise CourseError("--data '': must be the name of a data set or a path; the current folder is a dot.")
        for value, must in wrong(getattr(cfg, name), kind):
            raise CourseError(f"{flag(name)} {shown(value)}: must be {must}.")
    seed, more = getattr(cfg, "seed", 0), getattr(cfg, "seeds", 1) - 1
    if seed + more >= 2**32:
        raise CourseError(f"--seed {seed}: must leave room for --seeds {more + 1} below {2**32}.")


def with_whole_path(cfg: Config) -> Config:
    """The same config, with a path in --data that holds from any folder: --resume may be typed in another one."""
    data = getattr(cfg, "data", "")
    if not data or data in DATA_SETS or not Path(data).expanduser().exists():
        return cfg
    return replace(cfg, data=str(Path(data).expanduser().absolute()))


def hints(config_class: type) -> dict[str, Any]:
    """{field: its type with all that is annotated} of a config, in the order of its fields."""
    found = get_type_hints(config_class, include_extras=True)
    return {field.name: found[field.name] for field in fields(config_class)}


def wrong(value: Any, kind: Any) -> Iterator[tuple[Any, str]]:
    """(value, what it must be) of each value that its type does not allow, inside tuples too."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        base, *marks = inner
        bounds = [mark for mark in marks if isinstance(mark, Ge | Gt | Le | Lt)]
        if isinstance(value, float) and not math.isfinite(value):
            yield value, "a finite number"
        elif isinstance(value, int | float) and bounds and not all(holds(value, bound) for bound in bounds):
            yield value, in_words(bounds, whole=base is int)
        else:
            yield from wrong(value, base)
    elif origin is Literal:
        if value not in inner:
            yield value, f"one of {', '.join(map(str, inner))}"
    elif origin is tuple and isinstance(value, tuple):
        for item in value:
            yield from wrong(item, inner[0])
    elif kind is float and isinstance(value, float):
        if not math.isfinite(value):
            yield value, "a finite number"
        elif abs(value) > LARGEST:
            yield value, f"at most {LARGEST:g}"


def holds(value: int | float, bound: Ge | Gt | Le | Lt) -> bool:
    """Whether a number keeps a bound."""
    match bound:
        case Ge(limit):
            return value >= limit
        case Gt(limit):
            return value > limit
        case Le(limit):
            return value <= limit
        case Lt(limit):
            return value < limit


def in_words(bounds: list[Ge | Gt | Le | Lt], whole: bool) -> str:
    """`above 0`, `0 or more`, `from 0 to below 1`, `from 8 to 1024`, … as the end of `must be …`."""
    low = next((bound for bound in bounds if isinstance(bound, Ge | Gt)), None)
    high = next((bound for bound in bounds if isinstance(bound, Le | Lt)), None)
    if isinstance(high, Lt) and whole:
        high = Le(high.lt - 1)
    below = f"below {shown(high.lt)}" if isinstance(high, Lt) else ""
    most = shown(high.le) if isinstance(high, Le) else ""
    if low is None:
        return below or f"at most {most}"
    if isinstance(low, Gt):
        end = f" and {below}" if below else f", at most {most}" if high else ""
        return f"above {shown(low.gt)}{end}"
    if high:
        return f"from {shown(low.ge)} to {below or most}"
    return "0 or more" if low.ge == 0 else f"at least {shown(low.ge)}"


def shown(value: Any) -> str:
    """A value as one would type it: a tuple as its items, a list of words; a decimal as short as it is exact."""
    if isinstance(value, tuple | list):
        return " ".join(map(shown, value))
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
