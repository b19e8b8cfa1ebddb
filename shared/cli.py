"""The command line of every program: flags from a dataclass, presets, and one clear line when something is wrong."""

import inspect
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from shared import config, runs, starting
from shared.errors import CourseError
from shared.terminal import arguments as typed
from shared.terminal import command, endings

Config = TypeVar("Config")
Presets = Mapping[str, Mapping[str, Any]]


def values_of(flag: str, arguments: Sequence[str]) -> list[str]:
    """What stands behind `--flag` (or `--flag=`) in the arguments, up to the next flag; the last one wins."""
    found: list[str] = []
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name.replace("_", "-") == flag:
            found = [value] if equals else []
            for word in arguments[position + 1 :]:
                if word.startswith("--"):
                    break
                found.append(word)
    return found


def in_one_line(event: Any, flags: Sequence[str], switches: Sequence[str], arguments: Sequence[str]) -> str:
    """What tyro found wrong with the arguments, in one line instead of its box.

    Args:
        event: one of tyro's parse errors.
        flags: all flags of the program, to name the one that was perhaps meant.
        switches: those of them that take no value.
        arguments: what was typed.
    """
    kind, argument = type(event).__name__, getattr(event, "argument", None)
    if argument is None:
        return not_understood(event.tokens[0] if kind == "UnrecognizedArgs" else "", flags, switches, arguments)
    name, metavar = argument.lowered.name_or_flags[0], str(argument.lowered.metavar)
    given = values_of(name, arguments)
    if name.startswith("-") and (kind == "BadValue" or not given or "" in given):
        return f"{name}: a value is missing."
    if kind == "InvalidChoice":
        word = f"{name} {event.value}" if name.startswith("-") else event.value
        return f"{word}: must be one of {', '.join(event.choices)}."
    many = metavar.count("INT") + metavar.count("FLOAT") > 1
    what = "whole number" if "INT" in metavar else "number"
    words = " ".join([name, *(given if many else given[:1])])
    return f"{words}: must be {f'{what}s' if many else f'a {what}'}."


def not_understood(token: str, flags: Sequence[str], switches: Sequence[str], arguments: Sequence[str]) -> str:
    """What to say of a word of the command line that belongs to no flag: a mistyped flag, a switch's value, one too
    many. The arguments are those of in_one_line; the word's flag may have been cut off by tyro (`--norm=0`)."""
    for before, word in zip(["", *arguments], arguments, strict=False):
        name, equals, value = word.replace("_", "-").partition("=")
        if name in switches and equals and token in (value, word):
            return f"{word}: {name} is a switch and takes no value."
        if word == token and not token.startswith("-") and before.replace("_", "-") in switches:
            return f"{before} {token}: {before} is a switch and takes no value."
    name = token.partition("=")[0]
    if not name.startswith("-") or name in flags:
        return f"{token or 'these flags'}: not understood. {command()} --help lists the flags."
    bare = {flag.lstrip("-"): flag for flag in flags}  # the dashes alone would make short flags alike
    near = [bare[word] for word in get_close_matches(name.lower().lstrip("-"), bare, 1)]
    return f"{name}: no such flag" + (f"; did you mean {near[0]}?" if near else f". {command()} --help lists them.")


def parse(
    config_class: type[Config],
    presets: Presets | None,
    arguments: Sequence[str],
    description: str = "",
    week: int | None = None,
    program: str = "train",
) -> Config:
    """Turns the arguments into a config: the preset first, then every flag given by hand on top of it.

    With `--resume` (where `week` is given) the interrupted run's own config takes the preset's place.

    Raises:
        CourseError: an unknown preset, nothing to resume, a run of another preset, a flag that does not exist, a value
            that does not fit or is out of bounds.
        SystemExit: 0 for --help.
    """
    import tyro
    from tyro import _errors

    default = config_class()
    if presets is not None:
        given = values_of("--preset", arguments)
        name = given[0] if given else default.preset
        if name not in presets:
            raise CourseError(f"unknown preset {name!r}: choose one of {', '.join(presets)}.")
        default = replace(default, preset=name, **presets.get(name, {}))
        if week is not None and "--resume" in arguments:
            out = values_of("--out", arguments)
            run = Path(out[0]) if out and out[0] else runs.newest(week, runs.checkpoint_of(program), program)
            default = replace(runs.read_config(config_class, run), out=str(run))
            if given and given[0] != default.preset:
                raise CourseError(
                    f"{run} was started with --preset {default.preset}: leave --preset out, or choose by --out."
                )
    kinds = config.hints(config_class)
    switches = ["--help", *(config.flag(no + name) for name in kinds if kinds[name] is bool for no in ("", "no_"))]
    others = [config.flag(n) for n, k in kinds.items() if tyro.conf.Positional not in getattr(k, "__metadata__", ())]

    def refuse(event: Any) -> None:
        raise CourseError(" ".join(in_one_line(event, [*switches, *others], switches, arguments).split()))

    with _errors.on_parse_error(refuse), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a default that does not fit, out of an old run: check says it in one line
        cfg = tyro.cli(
            config_class,
            prog=command(),
            default=default,
            args=list(arguments),
            description=description,
        )
    config.check(cfg)
    return config.with_whole_path(cfg)


def use_threads(count: int) -> None:
    """Lets torch compute on so many CPU threads, also where it will be imported later."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)


def launch(
    main: Callable[[Config], Any], config_class: type[Config], presets: Presets | None = None, week: int | None = None,
    program: str = "train",
) -> None:  # fmt: skip
    """Parses sys.argv and calls main(config); shared/terminal.py says how it ends (`endings`).

    --help opens with the first paragraph of main's docstring.

    Args:
        main: the program.
        config_class: its flags, a dataclass.
        presets: {name: flags}, where it has a flag --preset.
        week: whose runs --resume goes on with; None where nothing can be resumed.
        program: which of the week's programs has made them.
    """
    description = inspect.cleandoc(main.__doc__ or "").partition("\n\n")[0]
    with endings():
        cfg = parse(config_class, presets, typed(), description, week, program)
        starting.done()
        if isinstance(cfg, config.EvalConfig) and cfg.threads:
            use_threads(cfg.threads)
        main(cfg)
