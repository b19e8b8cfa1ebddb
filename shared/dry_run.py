"""Runs a Space's folder as the hub would: its packages, its user, its port, its folders, and nothing else of this
machine.

As root on Linux in a box (box.py), whose root is made of the Space's files and the libraries alone, all read-only. What
the hub lets a Space write to is a copy, or empty. Elsewhere as a process like any other: then only its ports are held.
"""

import html
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared import venv
from shared.box import USER, Box, See, why_not
from shared.errors import CourseError
from shared.terminal import printable

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc")
LONGEST = 2_000
"""Characters of an answer that are shown."""


@dataclass(frozen=True)
class Plan:
    """How the hub starts a Space.

    Attributes:
        command: with `python` for the interpreter.
        environment: the variables that it has.
        home: the folder that is the Space's, and where it is.
        writable: whether that is the visitor's to write to; the folders of `empty` are in any case.
        port: that the hub shows.
    """

    command: tuple[str, ...]
    environment: dict[str, str]
    home: str
    writable: bool
    empty: tuple[str, ...]
    port: int


def front_matter(folder: Path) -> dict[str, Any]:
    """What the README of a Space says to the hub.

    Raises:
        CourseError: it says nothing, or what the hub would not understand.
    """
    import yaml

    text = (folder / "README.md").read_text(encoding="utf-8")
    if not text.startswith("---\n") or text.count("\n---\n") < 1:
        raise CourseError(f"{folder / 'README.md'} has no front matter: the hub would not know how to run it.")
    return yaml.safe_load(text.split("---\n")[1])


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """(INSTRUCTION, its text) of a Dockerfile, in order; lines that go on are joined, comments are left out."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    split = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(word.upper(), " ".join(rest[0].split()) if rest else "") for word, *rest in split]


def plan(folder: Path) -> Plan:
    """How the hub would start what lies in a folder."""
    head = front_matter(folder)
    if head["sdk"] == "gradio":
        of_the_hub = {
            "GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": "7860", "GRADIO_NUM_PORTS": "1", "SYSTEM": "spaces",
            "HOME": "/home/user", "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        return Plan(("python", head["app_file"]), of_the_hub, "/home/user/app", True, ("/tmp", "/home/user"), 7860)
    found = instructions((folder / "Dockerfile").read_text(encoding="utf-8"))
    last = dict(found)  # of several, as of several stages, the last one counts
    environment = dict(pair.split("=", 1) for word, text in found if word == "ENV" for pair in text.split())
    start = [*json.loads(last["ENTRYPOINT"]), *json.loads(last["CMD"])]
    command = tuple("python" if word.endswith("/python") else word for word in start)
    return Plan(command, environment, last["WORKDIR"], False, ("/tmp", last["VOLUME"]), head["app_port"])


def python_of(prefix: Path) -> str:
    """The interpreter of an environment."""
    return str(prefix / venv.SCRIPTS.name / f"python{venv.EXE}")


def fresh_venv(folder: Path, requirements: Path) -> str:
    """An environment with these requirements and nothing else; returns its folder.

    Raises:
        CourseError: they cannot be installed.
    """
    place, uv = folder / "venv", shutil.which("uv") or str(venv.SCRIPTS / f"uv{venv.EXE}")
    python, quiet = python_of(place), ["--quiet"]
    if Path(uv).exists():
        steps = [[uv, "venv", *quiet, "--python", sys.executable, str(place)]]
        steps += [[uv, "pip", "install", *quiet, "--python", python, "-r", str(requirements)]]
    else:
        steps = [[sys.executable, "-m", "venv", str(place)]]
        steps += [[python, "-m", "pip", "install", *quiet, "-r", str(requirements)]]
    for step in steps:
        done = subprocess.run(step, capture_output=True, encoding="utf-8", errors="replace")
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
            raise CourseError(f"{requirements} cannot be installed: {printable(last)[:300]}")
    return str(place)


def box_of(plan: Plan, folder: Path, place: Path, prefix: str, environment: dict[str, str]) -> Box:
    """The Space in a box where one can be built, else as it is.

    Args:
        plan: how it is started.
        folder: its files.
        place: a folder for what it writes.
        prefix: the environment with the libraries.
        environment: more variables, as a Space's secrets are.
    """
    python = python_of(Path(prefix))
    if why := why_not():
        print(f"not in a box ({why}): its user and its folders are not held")
        for name in plan.empty:
            (place / name.strip("/")).mkdir(parents=True)
        where = {plan.home: str(folder)} | {name: str(place / name.strip("/")) for name in plan.empty}

        def here(text: str) -> str:
            inside = next((name for name in sorted(where, key=len)[::-1] if text.startswith(name)), "")
            return where[inside] + text.removeprefix(inside) if inside else text

        told = {name: here(value) for name, value in plan.environment.items() if name != "PATH"}
        command = [python if word == "python" else here(word) for word in plan.command]
        of_ours = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
        return Box(command, of_ours | told | environment, where[plan.home], boxed=False)
    libraries = {name: name for name in (*SYSTEM, sys.base_prefix) if Path(name).exists()} | {prefix: prefix}
    sees = [*map(See, plan.empty), *(See(name, name) for name in libraries)]
    if plan.writable:
        shutil.copytree(folder, place / "app")
        for path in (place / "app", *(place / "app").rglob("*")):
            os.chown(path, USER, USER)
        folder = place / "app"
    sees.append(See(plan.home, str(folder), plan.writable))
    command = [python if word == "python" else word for word in plan.command]
    path = f"{prefix}/bin:/usr/local/bin:/usr/bin:/bin"
    return Box(command, plan.environment | environment | {"PATH": path}, plan.home, sees=sees)


def of(folder: Path, space: Any, cfg: Any) -> dict[str, Any]:
    """Runs the Space in a folder, waits until it is up, asks it, and ends it; returns what was measured.

    Args:
        folder: the Space's.
        space: what it is (shared/space.py): when it is up, its secrets, how it is asked.
        cfg: the flags fresh, question and healthy.

    Raises:
        CourseError: its packages cannot be installed, it does not start in time, listens on other ports, or gives no
            answer.
    """
    plan_, question = plan(folder), cfg.question or space.question
    hidden = {name: secrets.token_hex(24) for name in space.secrets}
    with tempfile.TemporaryDirectory(prefix="course-space-") as name:
        place, began = Path(name), time.monotonic()
        place.chmod(0o755)
        prefix = fresh_venv(place, folder / "requirements.txt") if cfg.fresh else sys.prefix
        installed = time.monotonic() - began
        if cfg.fresh:
            print(f"an environment with requirements.txt and nothing else: {installed:.0f} s", flush=True)
        with box_of(plan_, folder, place, prefix, hidden) as box:
            up = max(box.wait_until_healthy(plan_.port, path, cfg.healthy) for path in space.ready)
            began, computed = time.monotonic(), box.processor()
            answer = space.ask(box, plan_.port, question, hidden)
            asked = time.monotonic() - began
            ports, memory = box.listening(), box.memory()
            stopped = box.stop()
    if ports != {plan_.port}:
        raise CourseError(f"it listens on {', '.join(map(str, sorted(ports)))}: a Space shows {plan_.port} alone.")
    if not answer.strip():
        raise CourseError(f"the Space answers nothing to {question!r}.")
    print(
        f"up after {up:.1f} s ({computed:.1f} s of processor time), {memory / 1e6:.0f} MB of memory, listens on "
        f"{plan_.port} alone, ended {stopped:.1f} s after SIGTERM\n"
        f"> {question}\n{printable(answer, breaks=True)}\nanswered after {asked:.1f} s"
    )
    return {
        "installed_seconds": round(installed, 1) if cfg.fresh else None, "up_seconds": round(up, 1),
        "computed_seconds": round(computed, 1), "answer_seconds": round(asked, 1), "memory": memory, "answer": answer,
        "boxed": not why_not(),
    }  # fmt: skip


def ask_gradio(box: Box, port: int, name: str, values: Sequence[Any], timeout: float = 180.0) -> str:
    """What a page of gradio's shows when its event `name` is given these values: through its own interface, which
    sends events. Bytes are a picture, which is uploaded first.

    Raises:
        CourseError: it refuses them, or fails over them.
    """
    data = [uploaded(box, port, value) if isinstance(value, bytes) else value for value in values]
    status, called = box.ask(port, f"/gradio_api/call/{name}", {"data": data})
    if status != 200:
        raise CourseError(f"the Space's page answers {status}: {printable(called)[:300]}")
    _, events = box.ask(port, f"/gradio_api/call/{name}/{json.loads(called)['event_id']}", timeout=timeout)
    kind, _, shown = events.strip().split("\n\n")[-1].partition("\ndata: ")
    if kind != "event: complete":
        raise CourseError(f"the Space's page answers {printable(events)[-300:]}")
    return "\n".join(dict.fromkeys(told(json.loads(shown))))[:LONGEST]


def uploaded(box: Box, port: int, picture: bytes) -> dict[str, Any]:
    """A picture given to a page, as its events want it.

    Raises:
        CourseError: the page does not take it.
    """
    edge = secrets.token_hex(16)
    head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="picture.png"\r\n\r\n'
    body = head.encode() + picture + f"\r\n--{edge}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={edge}"}
    status, text = box.ask(port, "/gradio_api/upload", body, headers=kind)
    if status != 200:
        raise CourseError(f"the Space's page does not take a picture ({status}): {printable(text)[:300]}")
    return {"path": json.loads(text)[0], "meta": {"_type": "gradio.FileData"}}


def told(value: Any) -> Iterator[str]:
    """The lines of text that a component of gradio's shows: of a conversation the last turn, of a choice what there is
    to choose, of a gallery what stands below its pictures."""
    if isinstance(value, str):
        text = re.sub(r"<[^>]+>", " ", re.sub(r"</(?:p|div|tr|li|h\d)>|<br>", "\n", value))
        yield from filter(None, (" ".join(html.unescape(line).split()) for line in text.split("\n")))
    elif isinstance(value, list):
        turns = [one for one in value if isinstance(one, dict) and "role" in one]
        for one in turns[-1:] or value:
            yield from told(one)
    elif isinstance(value, dict):
        for name, _ in value.get("choices") or ():
            yield from told(name)
        for part in ("content", "text", "label", "confidences", "caption", "value"):
            yield from told(value.get(part))
