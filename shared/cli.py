"""The command line of every program: flags from a dataclass, presets, and one clear line when something is wrong."""

import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from shared.errors import CourseError, Stopped
from shared.files import read_json


@dataclass
class CommonConfig:
    """The flags that mean the same in every week. A week's `Config` inherits them and adds its own."""

    data: str = "sample"
    """What to train on: `sample` (bundled, offline), a real data set by name (downloaded once), or a path of your own.
    The week's README says which names and layouts it reads."""
    device: str = "auto"
    """auto, cpu, cuda or mps. auto takes the fastest one that is there and says why."""
    seed: int = 0
    """Everything random follows from this number.
    The same seed gives the same result on the same machine with the same number of threads."""
    out: str = ""
    """The run's folder. Default: the next free one in runs/weekNN."""
    resume: bool = False
    """Go on with the run in --out (default: this week's newest) where it stopped, bit for bit on a CPU."""
    preset: str = "quick"
    """A set of defaults: `smoke` (seconds), `quick` (minutes, bundled data), `full` (the real thing).
    A flag given by hand wins over the preset."""


Config = TypeVar("Config", bound=CommonConfig)


def value_of(flag: str, arguments: Sequence[str]) -> str | None:
    """The value of `--flag VALUE` or `--flag=VALUE` in the arguments, before they are parsed; the last one wins."""
    found = None
    for position, argument in enumerate(arguments):
        if argument == flag and position + 1 < len(arguments):
            found = arguments[position + 1]
        elif argument.startswith(flag + "="):
            found = argument[len(flag) + 1 :]
    return found


def mine() -> str:
    """` --mine` where a learner's own code runs in a week's place, that is, lies in front of it; else nothing."""
    weeks = (module for name, module in sys.modules.items() if re.fullmatch(r"week\d\d_\w+", name))
    return " --mine" * any(len(getattr(week, "__path__", ())) > 1 for week in weeks)


def command() -> str:
    """What one types to start the running program: `./course train 1`, or its file's name where it is of no week."""
    program = Path(sys.argv[0])
    week = re.match(r"week(\d\d)", program.parent.name)
    if not week:
        return program.name
    number = int(week[1])
    words = [program.stem, number] if program.stem in ("train", "eval") else ["run", number, program.stem]
    return " ".join(map(str, ["./course", *words])) + mine()


def _fits(value: Any, default: Any) -> bool:
    """Whether a value out of a JSON file is of the kind that the default is."""
    if isinstance(default, tuple):
        return isinstance(value, list)
    if isinstance(default, float):
        return type(value) in (int, float)
    return default is None or type(value) is type(default)


def from_run(config_class: type[Config], run: Path) -> Config:
    """The config that a run was started with, read back from its config.json.

    Raises:
        CourseError: the folder holds no run, or one of another program.
    """
    path = run / "config.json"
    if not path.is_file():
        raise CourseError(f"no run in {run}: it has no config.json. Give --out another folder, or leave out --resume.")
    saved = read_json(path)
    defaults = {field.name: getattr(config_class(), field.name) for field in fields(config_class)}
    if not isinstance(saved, dict):
        strange = ["not a table"]
    else:
        strange = [name for name, value in saved.items() if name not in defaults or not _fits(value, defaults[name])]
    if strange:
        raise CourseError(f"{path} is not of this program ({', '.join(strange)}). Start a new run without --resume.")
    return config_class(**{name: tuple(v) if isinstance(v, list) else v for name, v in saved.items()})


def parse(
    config_class: type[Config],
    presets: Mapping[str, Mapping[str, Any]],
    arguments: Sequence[str],
    description: str = "",
    week: int | None = None,
) -> Config:
    """Turns the arguments into a config: the preset first, then every flag given by hand on top of it.

    With `--resume` (where `week` is given) the interrupted run's own config takes the preset's place.

    Raises:
        CourseError: an unknown preset, nothing to resume, or a run of another preset.
        SystemExit: 2 for a flag that does not exist or a value that does not fit, 0 for --help.
    """
    import tyro

    given = value_of("--preset", arguments)
    name = config_class().preset if given is None else given
    if name not in presets:
        raise CourseError(f"unknown preset '{name}': choose one of {', '.join(presets)}.")
    default = replace(config_class(), preset=name, **presets[name])
    if week is not None and "--resume" in arguments:
        from shared.runs import newest

        out = value_of("--out", arguments)
        run = Path(out) if out else newest(week, file="checkpoint.safetensors")
        default = replace(from_run(config_class, run), out=str(run))
        if given not in (None, default.preset):
            raise CourseError(
                f"{run} was started with --preset {default.preset}: leave --preset out, or choose by --out."
            )
    return tyro.cli(
        config_class,
        prog=command(),
        default=default,
        args=list(arguments),
        description=description,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalRequiredArgs),
    )


def closed_pipe() -> NoReturn:
    """Ends the program as others end whose reader has gone (`| head`): without a word, with code 141."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to be flushed at the end
    sys.exit(141)


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Ends with main's exit code, or quietly where nobody reads on: for programs without flags."""
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        closed_pipe()
    sys.exit(code)


def run(
    main: Callable[[Config], Any],
    config_class: type[Config],
    presets: Mapping[str, Mapping[str, Any]],
    week: int | None = None,
) -> None:
    """Parses sys.argv, calls main(config), and turns a CourseError into one line on stderr and exit code 2.

    --help opens with the first paragraph of main's docstring. Ctrl-C ends with code 130, and a closed pipe (`| head`)
    with 141, as they do for other programs.
    """
    description = inspect.cleandoc(main.__doc__ or "").partition("\n\n")[0]
    try:
        main(parse(config_class, presets, sys.argv[1:], description, week))
        sys.stdout.flush()  # a closed pipe shows here, not only when Python ends
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(130)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        closed_pipe()
