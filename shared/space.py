"""`./course space N`: writes the folder of a Hugging Face Space, runs it here as the hub would, and pushes it there.

    ./course space 14                     writes runs/week14/space
    ./course space 14 --dry-run           and runs it: fresh packages, the hub's user, port and folders; asks it
    ./course space 14 --push ada/search   and pushes it; the token from `hf auth login`, or HF_TOKEN

What there is in it is said in the week's own space.py, by `made_of(cfg)`, which returns a `Space`; and by a `Config`,
where it has flags of its own.
"""

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from shared import bundle, cli, hub, models, pins, plan, runs
from shared.config import Positive
from shared.errors import CourseError
from shared.exercise import shown

MOST = 1_000_000_000
"""Bytes of a Space's repository."""
PORT = 7860
"""The hub's own for Gradio."""
PYTHON = "3.11"
APP = '''"""What the Space starts: the page of week {number}, with what lies beside it, where the hub looks for it."""

import os
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
os.environ.setdefault("COURSE_HOME", str(HERE))  # the published networks lie in models/
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # of two cores that are shared, as `./course` has it
PLACES = {{"HERE": str(HERE), "RUN": str(HERE / "baked" / "week{number:02}")}}
FLAGS = {flags}


def placed(word):
    """HERE/pictures as a path."""
    first, slash, rest = word.partition("/")
    return PLACES.get(first, first) + slash + rest


port = os.environ.get("GRADIO_SERVER_PORT", "{port}")
sys.argv = [sys.argv[0], *map(placed, FLAGS), "--host", "0.0.0.0", "--port", port, *sys.argv[1:]]
signal.signal(signal.SIGTERM, signal.default_int_handler)  # to process 1 of a container it means nothing by itself

from shared import cli  # noqa: E402
from {package} import app  # noqa: E402

if __name__ == "__main__":
    cli.launch(app.main, app.Config)
'''
ABOUT = """
# {title}

{about}

It is week {number} of a course, *{week}*, and starts without a network: {networks} in this repository.

The code is under the MIT licence{licences}.
"""


@dataclass
class Config:
    """The flags of space."""

    run: str = ""
    """The run that goes along (default: the week's newest)."""
    out: str = ""
    """The Space's folder (default: runs/weekNN/space); one that was written before is written anew."""
    title: str = ""
    """What the Space is called (default: as the week's page is)."""
    dry_run: bool = False
    """Run it here as the hub would, and ask it a question."""
    fresh: bool = True
    """With --dry-run: install requirements.txt into an environment of its own, which proves that it is enough.
    --no-fresh: with the packages that are here."""
    question: str = ""
    """With --dry-run: what it is asked (default: something that the week's page knows)."""
    healthy: Positive = 180.0
    """With --dry-run: seconds that it may take to start."""
    push: str = ""
    """user/name of the Space to make. The token is that of `hf auth login`, or HF_TOKEN; never a flag."""
    private: bool = False
    """With --push: only you see it."""
    update: bool = False
    """With --push: put this version into a Space of yours that is there."""


def as_it_is(question: str) -> list[Any]:
    """A page whose event wants the question alone."""
    return [question]


@dataclass(frozen=True)
class Space:
    """What a week's Space is made of.

    Attributes:
        title, emoji, short: how the hub shows it; `short` has at most 60 characters.
        about: Markdown: what it does, on what, and what it cannot do.
        question: what a dry run asks.
        flags: of the week's app, beside --host and --port. RUN is the run's folder, HERE the Space's, HERE/x in it.
        models: the published networks (shared/models.py) that go along.
        samples: the files of shared/samples that go along.
        unused: what of the week's packages only training needs.
        file: what a run must have; `bake(run, folder)` copies it.
        add: puts more into the Space's folder.
        event: of the page, that answers; `values` makes of a question what it is given.
        sdk, head: who starts it, and what else is to stand in its front matter.
        ready: the paths that answer 200 once it is up.
        secrets: the names of variables that its owner sets on its page.

    One that is not the week's page (week 12) overrides `pack` and `ask`.
    """

    title: str
    emoji: str
    short: str
    about: str
    question: str
    flags: tuple[str, ...] = ("--run", "RUN")
    models: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    file: str = runs.MODEL
    bake: Callable[[Path, Path], None] = bundle.run
    add: Callable[[Path], None] | None = None
    event: str = "ask"
    values: Callable[[str], list[Any]] = as_it_is
    sdk: hub.Sdk = "gradio"
    head: Mapping[str, Any] = field(default_factory=dict)
    ready: tuple[str, ...] = ("/",)
    secrets: tuple[str, ...] = ()

    def pack(self, folder: Path, number: int, given: str) -> None:
        """Writes its folder, but for README.md.

        Args:
            folder: where to; what we have written there before is replaced.
            number: the week's.
            given: the run; default: the newest.

        Raises:
            CourseError: the run is missing, or the folder is somebody else's.
        """
        package, extra = plan.folder(number), f"week{number:02}"
        run = bundle.run_of(number, given, self.file)
        bundle.new(folder)
        bundle.code(folder, bundle.packages(f"{package}.app"), self.samples)
        bundle.requirements(folder, extra, self.unused)
        self.bake(run, folder / "baked" / extra)
        bundle.networks(folder, self.models)
        if self.add:
            self.add(folder)
        app = APP.format(number=number, package=package, port=PORT, flags=json.dumps(self.flags))
        bundle.write(folder / "app.py", app)

    def ask(self, box: Any, port: int, question: str, secrets: Mapping[str, str]) -> str:
        """The Space's answer in a dry run, as text."""
        from shared import dry_run

        return dry_run.ask_gradio(box, port, self.event, self.values(question))


# ---------------------------------------------------------------- what a Space's folder holds


def front_matter(space: Space, title: str = "") -> dict[str, Any]:
    """What the hub reads at the head of a Space's README."""
    head: dict[str, Any] = {
        "title": title or space.title, "emoji": space.emoji, "colorFrom": "blue", "colorTo": "gray", "sdk": space.sdk,
    }  # fmt: skip
    if space.sdk == "gradio":
        version = pins.pinned()["gradio"].partition("==")[2]
        head |= {"sdk_version": version, "python_version": PYTHON, "app_file": "app.py"}
    repositories = [found for name in space.models if (found := models.MODELS[name].repository)]
    return {
        **head,
        "pinned": False,
        "license": "mit",
        "short_description": space.short,
        **({"models": repositories} if repositories else {}),
        "startup_duration_timeout": "30m",
        "suggested_hardware": "cpu-basic",
        **space.head,
    }


def readme(number: int, space: Space, title: str = "") -> str:
    """The Space's README.md."""
    head = front_matter(space, title)
    lines = "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in head.items())
    week, used = plan.week(number), [models.MODELS[name] for name in space.models]
    about = ABOUT.format(
        title=head["title"], about=space.about.strip(), number=number, week=week.title if week else "",
        networks="all that it needs is" if not used else "its networks and data are",
        licences="".join(f"; {one.what.partition(':')[0]} under {one.licence}" for one in used),
    )  # fmt: skip
    return f"---\n{lines}---\n{about}"


def write(folder: Path, number: int, space: Space, cfg: Config) -> dict[str, int]:
    """Writes the Space's folder; returns {files, bytes}.

    Raises:
        CourseError: a run is missing, the folder is somebody else's, a secret lies in a file, or it is too large.
    """
    space.pack(folder, number, cfg.run)
    bundle.write(folder / "README.md", readme(number, space, cfg.title))
    found = bundle.measured(folder)
    if found["bytes"] > MOST:
        largest = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        raise CourseError(
            f"{folder} has {found['bytes'] / 1e9:.2f} GB, and a Space holds {MOST / 1e9:g} GB; the largest file is "
            f"{largest.relative_to(folder)}, {largest.stat().st_size / 1e9:.2f} GB. Take a --run with less in it."
        )
    return found


# ---------------------------------------------------------------- the command


def main(number: int, week: ModuleType, cfg: Config) -> dict[str, Any]:
    """Writes the folder of a Space; runs it as the hub would (--dry-run); pushes it there (--push user/name).

    Args:
        number: the week's.
        week: its space.py.
        cfg: the flags, of its Config.

    Returns {files, bytes}, of --dry-run what was measured, too, and of --push the address.
    """
    if cfg.push:  # before anything takes minutes
        hub.check_name(cfg.push)
        hub.token()
    space = week.made_of(cfg)
    folder = Path(cfg.out or runs.RUNS / f"week{number:02}" / "space").expanduser().absolute()
    found: dict[str, Any] = {**write(folder, number, space, cfg)}
    print(f"{shown(folder)}: {found['files']} files, {found['bytes'] / 1e6:.0f} MB, sdk {space.sdk}; no secret in it")
    if cfg.dry_run:
        from shared import dry_run

        found |= dry_run.of(folder, space, cfg)
    if cfg.push:
        found["address"] = hub.push(folder, cfg.push, space.sdk, cfg.private, cfg.update)
        print(
            f"pushed: {found['address']}\nthe hub builds it now; its page shows how far it is\n"
            f"next: ./course portfolio --space {number}={found['address']}"
        )
    elif not cfg.dry_run:
        print("next: --dry-run runs it here as the hub would, --push user/name puts it there")
    return found


def program(number: int) -> None:
    """Runs space for a week, with the flags of sys.argv."""
    week = importlib.import_module(f"{plan.folder(number)}.space")

    def packed(cfg: Any) -> dict[str, Any]:
        """Writes the folder of a Space; runs it as the hub would (--dry-run); pushes it there (--push user/name)."""
        return main(number, week, cfg)

    cli.launch(packed, getattr(week, "Config", Config))


if __name__ == "__main__":
    from shared.usage import CALL

    weeks = [n for n in range(1, len(plan.FOLDERS) + 1) if (bundle.ROOT / plan.folder(n) / "space.py").is_file()]
    if not sys.argv[1:] or sys.argv[1] not in map(str, weeks):
        print(f"error: which week? For example: {CALL} space {weeks[0]}", file=sys.stderr)
        sys.exit(2)
    program(int(sys.argv[1]))
