"""The folder that an image is built in, and a Space is made of: the code that serves, its pinned requirements, and what
is baked in, so that it starts without a network.

    FOLDER/Dockerfile, compose.yaml, .dockerignore
    FOLDER/requirements.txt, requirements-smollm2.txt, constraints.txt
    FOLDER/shared/, week11_rag/, week12_deploy/      programs alone: no lessons, pictures or tests
    FOLDER/baked/week11/                             a run of week 11: documents, index, settings
    FOLDER/baked/week12/                             the exported embedder that was chosen
    FOLDER/models/                                   published networks, where the target needs one
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from shared import checkpoint, models, runs
from shared.errors import CourseError
from shared.files import ROOT, read_json, write_json, written_whole
from week12_deploy import leaks, pins
from week12_deploy.onnx_embedder import CARD
from week12_deploy.pins import Target

CODE = ("shared", "week11_rag", "week12_deploy")
AS_THEY_ARE = {"Dockerfile": "week12_deploy/Dockerfile", "compose.yaml": "week12_deploy/compose.yaml"}
IGNORE = "# The folder holds what the image needs and nothing else.\n**/__pycache__\n**/*.pyc\n.git\n.gitattributes\n"
LEFT = {"metrics.jsonl", "checkpoint.safetensors", "examples.safetensors", "baselines.safetensors"}
"""What a run keeps for resuming and for the lesson."""
SOURCES = "sources.json"
"""{document: its PDF} of a run of week 11; a path in it that is not absolute begins in the run's folder."""
NOTE = ".packed-by-the-course"
"""Marks a folder that we have written: only such a one is written again."""


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


def write(folder: Path, text: str) -> None:
    """Writes a text file, whole."""
    with written_whole(folder) as temporary:
        temporary.write_text(text, encoding="utf-8")


def code(folder: Path, weeks: Iterable[str] = CODE) -> None:
    """Copies the programs of these packages."""
    for package in weeks:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "samples" not in path.parts:
                copy(path, folder / path.relative_to(ROOT))
    copy(ROOT / "LICENSE", folder / "LICENSE")


def copy(source: Path, target: Path) -> None:
    """Copies a file, with rights that everybody may read it by: whoever runs it is not who has made it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644)


def requirements(folder: Path, target: Target) -> None:
    """Writes the pinned requirements."""
    head = "# Made of pyproject.toml and constraints.txt: the versions that all of it was tested with.\n"
    write(folder / "requirements.txt", head + "\n".join(pins.lines(target)) + "\n")


def run_of(week: int, given: str, file: str) -> Path:
    """The folder of a run; without one, the week's newest.

    Raises:
        CourseError: there is none, or it has no such file.
    """
    found = Path(given).expanduser() if given else runs.newest(week)
    if not (found / file).exists():
        raise CourseError(f"{found} has no {file}: `./course train {week}` makes it.")
    return found


def week11_run(source: Path, folder: Path) -> None:
    """Copies what a bot is opened with, and its documents. Where these lay, and what was typed, is nobody's business.

    Raises:
        CourseError: a document is not there any more.
    """
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        if path.is_file() and path.name not in LEFT and path.suffix != ".png" and not path.name.startswith("."):
            copy(path, folder / inside)
    sources = read_json(source / SOURCES)
    for identity, path in sources.items():
        if not (source / path).is_file():
            raise CourseError(f"{path} is not there any more, and a document of {source}: `./course train 11` anew.")
        copy(source / path, folder / "documents" / f"{identity}.pdf")
    write_json(folder / SOURCES, {identity: f"documents/{identity}.pdf" for identity in sources})
    shown = {"out": "", "resume": False}
    if read_json(source / "config.json")["data"] != "sample":
        shown["data"] = "documents"
    saved, result = checkpoint.load(source / runs.MODEL), read_json(source / "result.json")
    write_json(folder / "config.json", read_json(source / "config.json") | shown)
    write_json(folder / "result.json", {name: result[name] for name in result.keys() - {"command", "data"}})
    checkpoint.save(folder / runs.MODEL, saved | {"config": saved["config"] | shown})
    for path in (folder / name for name in ("config.json", "result.json", runs.MODEL, SOURCES)):
        path.chmod(0o644)


def week12_run(source: Path, folder: Path) -> str:
    """Copies the exported embedder that was chosen; returns which it is."""
    card = read_json(source / CARD)
    chosen = card["chosen"]
    write_json(folder / CARD, card | {"files": {chosen: card["files"][chosen]}})
    for name in ("tokenizer.json", card["files"][chosen]):
        copy(source / name, folder / name)
    return chosen


def models_of(target: Target, folder: Path) -> None:
    """Copies the published networks that the target needs, in the layout of `$COURSE_HOME`."""
    for name in {"smollm2": ("smollm2",), "week11": ("minilm",)}.get(target, ()):
        source = models.fetch(name)
        for path in sorted(source.rglob("*")):
            if path.is_file() and path.suffix != ".lock" and not path.name.endswith(".part"):
                copy(path, folder / models.FOLDER / name / path.relative_to(source))


def service(folder: Path, run: str = "", model: str = "", target: Target = "service") -> dict[str, int | str]:
    """Writes all that the image of the service is built of.

    Args:
        folder: where to; what we have written there before is replaced.
        run: week 11's run, model: week 12's; default: the newest.
        target: with a language model of its own (smollm2), or without.

    Returns:
        {files, bytes, embedder}.

    Raises:
        CourseError: a run is missing, the folder is somebody else's, or a secret lies in a file.
    """
    ours, exported = run_of(11, run, SOURCES), run_of(12, model, CARD)
    new(folder)
    code(folder)
    for name, source in AS_THEY_ARE.items():
        copy(ROOT / source, folder / name)
    write(folder / ".dockerignore", IGNORE)
    requirements(folder, "service")
    if target == "smollm2":
        write(folder / "requirements-smollm2.txt", "\n".join(pins.lines("smollm2")) + "\n")
        copy(ROOT / "constraints.txt", folder / "constraints.txt")
    week11_run(ours, folder / "baked" / "week11")
    embedder = week12_run(exported, folder / "baked" / "week12")
    models_of(target, folder)
    return {**measured(folder), "embedder": embedder}


def measured(folder: Path) -> dict[str, int]:
    """Refuses a folder with a secret in it; else how many files and bytes it has."""
    leaks.refuse(folder)
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return {"files": len(sizes), "bytes": sum(sizes)}
