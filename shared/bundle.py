"""A folder that leaves this machine, as a Space or an image: programs, a run, published networks, pinned requirements.

    FOLDER/shared/, weekNN_name/   programs alone: no lessons, pictures or tests
    FOLDER/requirements.txt        at the versions of constraints.txt
    FOLDER/baked/weekNN/           a run
    FOLDER/models/                 published networks, where `$COURSE_HOME` has them

Where files lay on this machine, and what was typed, is told by none of them.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shared import checkpoint, leaks, models, origin, pins, runs
from shared.config import DATA_SETS
from shared.errors import CourseError
from shared.files import ROOT, read_json, write_json, written_whole

LEFT = {
    "metrics.jsonl", "checkpoint.safetensors", "examples.safetensors", "baselines.safetensors", "features.safetensors",
    "indexes",
}  # fmt: skip
"""What a run keeps for resuming, for the lesson, or for folders of this machine."""
PROGRAMS = {".py", ".json", ".txt"}
"""Of a package: its modules, and the tables that they read."""
NOTE = ".packed-by-the-course"
"""Marks a folder that we have written: only such a one is written again."""
OWN = "own data"
"""What a run says of its data in the place of a path."""


def new(folder: Path) -> Path:
    """An empty folder in the place of one of ours.

    Raises:
        CourseError: something else is there.
    """
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / NOTE).is_file())):
        raise CourseError(f"--out {folder}: something else is there. Name a folder that is not there yet.")
    try:
        shutil.rmtree(folder, ignore_errors=False) if folder.exists() else None
        folder.mkdir(parents=True)
        (folder / NOTE).touch()
    except OSError as error:
        raise CourseError(f"--out {folder}: {error.strerror}. Choose a folder that can be written to.") from None
    return folder


def write(path: Path, text: str) -> None:
    """Writes a text file, whole."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def copy(source: Path, target: Path) -> None:
    """Copies a file, with rights that everybody may read it by: whoever runs it is not who has made it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644)


def packages(program: str) -> list[str]:
    """The packages of the course that a program is made of, as `week14_clip.app`: its own, and all that it imports."""
    waiting, seen = [program], set()
    while waiting:
        name = waiting.pop()
        if name not in seen and (path := origin.file_of(name)):
            seen.add(name)
            waiting += origin.imported(path.read_bytes())
    return sorted({"shared", *(name.partition(".")[0] for name in seen)})


def code(folder: Path, weeks: Iterable[str], samples: Iterable[str] = ()) -> None:
    """Copies the programs of these packages, and of the bundled samples those that are named."""
    for package in weeks:
        for path in sorted((ROOT / package).rglob("*")):
            if path.suffix in PROGRAMS and path.name != "band.json" and not {"samples", "__pycache__"} & {*path.parts}:
                copy(path, folder / path.relative_to(ROOT))
    for name in samples:
        copy(ROOT / "shared" / "samples" / name, folder / "shared" / "samples" / name)
    copy(ROOT / "LICENSE", folder / "LICENSE")


def requirements(folder: Path, extra: str, without: Iterable[str] = ()) -> None:
    """Writes the pinned requirements of an extra."""
    head = "# Made of pyproject.toml and constraints.txt: the versions that all of it was tested with.\n"
    write(folder / "requirements.txt", head + "\n".join(pins.lines(extra, without)) + "\n")


def run_of(week: int, given: str, file: str = runs.MODEL) -> Path:
    """The folder of a run; without one, the week's newest.

    Raises:
        CourseError: there is none, or it has no such file.
    """
    found = Path(given).expanduser() if given else runs.newest(week)
    if not (found / file).exists():
        raise CourseError(f"{found} has no {file}: `./course train {week}` makes it.")
    return found


def run(source: Path, folder: Path, also: Iterable[str] = ()) -> None:
    """Copies what a trained run is opened with.

    Args:
        source, folder: where from, where to.
        also: of `LEFT`, what the page needs all the same.

    Raises:
        CourseError: it has not come to its end, or stands on a network in a folder of this machine.
    """
    config, result = read_json(source / "config.json"), source / "result.json"
    if not result.is_file():
        raise CourseError(f"{source} has not been trained to its end: --resume goes on with it, or name another --run.")
    for flag in ("model", "pretrained"):
        if config.get(flag) and Path(str(config[flag])).expanduser().exists():
            raise CourseError(f"{source} was trained with --{flag} {config[flag]}: a Space has no folder of yours.")
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        left = inside.parts[0] in LEFT - {*also} or path.suffix == ".png" or path.name.startswith(".")
        if path.is_file() and not left:
            copy(path, folder / inside)
    saved, kept = checkpoint.load(source / runs.MODEL), read_json(result)
    write_json(folder / "config.json", anonymous(config))
    write_json(folder / "result.json", {name: kept[name] for name in kept.keys() - {"command", "data"}})
    checkpoint.save(folder / runs.MODEL, saved | {"config": anonymous(saved["config"])})
    for name in ("config.json", "result.json", runs.MODEL):
        (folder / name).chmod(0o644)


def anonymous(config: dict[str, Any]) -> dict[str, Any]:
    """Flags of a run without paths of this machine."""
    told = {"out": "", "resume": False, "data": config.get("data") if config.get("data") in DATA_SETS else OWN}
    return config | {name: value for name, value in told.items() if name in config}


def networks(folder: Path, names: Iterable[str]) -> None:
    """Copies published networks (shared/models.py), in the layout of `$COURSE_HOME`."""
    for name in names:
        source = models.fetch(name)
        for path in sorted(source.rglob("*")):
            if path.is_file() and path.suffix != ".lock" and not path.name.endswith(".part"):
                copy(path, folder / models.FOLDER / name / path.relative_to(source))


def measured(folder: Path) -> dict[str, int]:
    """Refuses a folder with a secret in it; else how many files and bytes it has. Published networks have been seen by
    everybody."""
    leaks.refuse(folder, models.FOLDER)
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return {"files": len(sizes), "bytes": sum(sizes)}
