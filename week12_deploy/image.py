"""Writes the folder that the image is built in; with --build, builds it without a Docker daemon, runs it, and asks it.

    ./course run 12 image                writes runs/week12/image; `docker build runs/week12/image` does the rest
    ./course run 12 image --build        builds it by buildah, starts it as a container is started, asks it

The second is for machines without a Docker daemon, on Linux, as root (apt-get install buildah debootstrap). The base
comes from debootstrap: Debian with its own Python, where no registry of images is reached. The built image is started
in a box (shared/box.py): its own configuration, user 1000, a read-only root, /data and /tmp to write to, no network but
its own loopback.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week12_deploy/image.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import json
import os
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from typing import Any, Literal

from shared import assets, box, cli
from shared.config import Positive
from shared.errors import CourseError
from shared.runs import RUNS
from shared.terminal import printable
from week12_deploy import bundle

NAME = "localhost/course-bot"
SUITE = "bookworm"
BASE = f"localhost/course-base:{SUITE}"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INCLUDE = "python3,python3-venv,ca-certificates"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


@dataclass
class Config:
    """The flags of image."""

    out: str = str(RUNS / "week12" / "image")
    """The folder that the image is built in; one that this program has written before is written anew."""
    run: str = ""
    """Week 11's run that is baked in, with its documents (default: the newest)."""
    model: str = ""
    """Week 12's run with the exported embedder (default: the newest)."""
    target: Literal["service", "smollm2"] = "service"
    """service: onnxruntime alone, 0.7 GB. smollm2: torch and a language model, too, 6 GB."""
    build: bool = False
    """Build it here, by buildah, run it and ask it. Linux, root."""
    base: str = ""
    """With --build: the image to build on (default: one that debootstrap makes, once)."""
    store: str = ""
    """With --build: where images lie (default: image in $COURSE_HOME). Delete the folder to free its space."""
    question: str = "How do I orphan a package?"
    """With --build: what the running container is asked."""
    healthy: Positive = 60.0
    """With --build: seconds that it may take to start."""


class Buildah:
    """buildah, with a store of its own: what it makes is found in one folder, and goes with it."""

    def __init__(self, store: Path) -> None:
        missing = [tool for tool in ("buildah", "debootstrap") if not shutil.which(tool)]
        if missing or (why := box.why_not()):
            why = f"apt-get install {' '.join(missing)}" if missing else why
            raise CourseError(f"--build: {why}. On other machines: docker build, as the head of the Dockerfile says.")
        store.mkdir(parents=True, exist_ok=True)
        where = ["--root", str(store / "images"), "--runroot", str(store / "running")]
        self.command = ["buildah", *where, "--storage-driver", "overlay"]
        if subprocess.run([*self.command, "info"], capture_output=True).returncode:
            self.command[-1] = "vfs"  # a machine that is a container itself: slower, every layer is a copy

    def __call__(self, *arguments: str, show: bool = False) -> str:
        """What buildah prints on these arguments.

        Args:
            show: lets it write to the terminal, as something that takes minutes should.

        Raises:
            CourseError: it fails.
        """
        where = None if show else subprocess.PIPE
        done = subprocess.run(
            [*self.command, *arguments], stdout=sys.stderr if show else where, stderr=where, encoding="utf-8",
            errors="replace",
        )  # fmt: skip
        if done.returncode:
            last = (done.stderr or "").strip().splitlines()[-1:] or ["see above"]
            raise CourseError(f"buildah {arguments[0]} failed: {printable(last[0])[:300]}")
        return (done.stdout or "").strip()

    def has(self, image: str) -> bool:
        return bool(self("images", "--quiet", "--filter", f"reference={image}"))

    def made_base(self) -> str:
        """The name of an image with Debian's Python, which debootstrap makes where it is not there yet."""
        if self.has(BASE):
            return BASE
        print(f"making {BASE} by debootstrap, once: some minutes", file=sys.stderr)
        container = self("from", "scratch")
        try:
            root = self("mount", container)
            command = ["debootstrap", "--variant=minbase", f"--include={INCLUDE}", SUITE, root]
            done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
            if done.returncode:
                last = (done.stdout + done.stderr).strip().splitlines()[-1:] or ["it says nothing"]
                raise CourseError(f"debootstrap failed: {printable(last[0])[:300]}. Give an image by --base.")
            for left in [*Path(root).glob("var/cache/apt/archives/*.deb"), *Path(root).glob("var/lib/apt/lists/*_*")]:
                left.unlink()
            self("umount", container)
            self("config", "--env", f"PATH={PATH}", "--cmd", "python3", container)
            self("commit", "--quiet", container, BASE)
        finally:
            self("rm", container)
        return BASE

    def build(self, folder: Path, target: str, base: str) -> dict[str, Any]:
        """Builds the folder's image; returns its configuration, with `name` and `bytes`."""
        name = f"{NAME}:{target}"
        mirrors = [word for pair in environment_of_pip().items() for word in ("--build-arg", "=".join(pair))]
        secret = ["--secret", f"id=ca,src={CERTIFICATES}"] if Path(CERTIFICATES).is_file() else []
        self(
            "build", "--isolation", "chroot", "--format", "docker", "--pull-never", "--layers", "--target", target,
            "--build-arg", f"BASE={base}", *mirrors, *secret, "--tag", name, str(folder), show=True,
        )  # fmt: skip
        found = json.loads(self("inspect", "--type", "image", name))
        return {**found["Docker"]["config"], "name": name, "bytes": self.bytes_of(name)}

    def bytes_of(self, name: str) -> int:
        """The size of an image, unpacked."""
        container = self("from", "--pull-never", name)
        try:
            root = Path(self("mount", container))
            return sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        finally:
            self("rm", container)


def environment_of_pip() -> dict[str, str]:
    """A mirror that pip is told of on this machine: the image is built with it, too."""
    return {name: os.environ[name] for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL") if os.environ.get(name)}


def started(buildah: Buildah, image: dict[str, Any], cfg: Config) -> dict[str, Any]:
    """Runs a built image as its own configuration says, and asks it; what was measured.

    Raises:
        CourseError: it does not start, is not healthy, or gives no answer with a source.
    """
    key = secrets.token_hex(24)
    container = buildah("from", "--pull-never", image["name"])
    data = Path(tempfile.mkdtemp(prefix="course-data-"))
    os.chown(data, box.USER, box.USER)
    (port,) = (int(name.partition("/")[0]) for name in image["ExposedPorts"])
    user = str(image["User"]).partition(":")[0]
    if user != str(box.USER):
        raise CourseError(f"the image runs as {user or 'root'}: it should be {box.USER}.")
    environment = dict(line.split("=", 1) for line in image["Env"]) | {"COURSE_API_KEY": key}
    command = [*(image["Entrypoint"] or []), *(image["Cmd"] or [])]
    sees = [box.See("/tmp"), *(box.See(volume, str(data), writable=True) for volume in image["Volumes"])]
    try:
        root = buildah("mount", container)
        with box.Box(command, environment, image["WorkingDir"] or "/", root=root, sees=sees) as running:
            seconds = running.wait_until_healthy(port, "/health", cfg.healthy)
            ready = running.wait_until_healthy(port, "/ready", cfg.healthy)
            code, said = running.inside(image["Healthcheck"]["Test"][1:])
            if code:
                raise CourseError(f"the image's own health check fails: {printable(said)}")
            status, text = running.ask(
                port, "/ask", {"question": cfg.question}, headers={"Authorization": f"Bearer {key}"}
            )
            if status != 200:
                raise CourseError(f"the container answers {status}: {printable(text)[:300]}")
            pages = running.wait_until_healthy(port, "/ui/", cfg.healthy)
            answer, refused = json.loads(text), running.ask(port, "/ask", {"question": cfg.question})[0]
            found = {
                "alive_seconds": round(seconds, 2), "ready_seconds": round(ready, 2), "pages_seconds": round(pages, 2),
                "answer": answer, "without_key": refused, "memory": running.memory(),
                "ports": sorted(running.listening()),
            }  # fmt: skip
            found["stop_seconds"] = round(running.stop(), 2)
            if found["ports"] != [port]:
                raise CourseError(f"it listens on {found['ports']}, and says {port}.")
            return found
    finally:
        buildah("rm", container)
        shutil.rmtree(data, ignore_errors=True)


def main(cfg: Config) -> dict[str, Any]:
    """Writes the folder that the image is built in; with --build, builds it here, runs it, and asks it a question.

    Returns what was measured: {files, bytes, embedder}, and with --build {image_bytes, alive_seconds, answer, …}.
    """
    folder = Path(cfg.out).expanduser().absolute()
    found: dict[str, Any] = bundle.service(folder, cfg.run, cfg.model, cfg.target)
    print(f"{folder}: {found['files']} files, {found['bytes'] / 1e6:.0f} MB, the embedder in {found['embedder']}")
    if not cfg.build:
        target = "" if cfg.target == "service" else f" --target {cfg.target}"
        print(f"docker build -t course-bot{target} {folder}\ndocker compose -f {folder}/compose.yaml up --build --wait")
        return found
    buildah = Buildah(Path(cfg.store).expanduser().absolute() if cfg.store else assets.home() / "image")
    image = buildah.build(folder, cfg.target, cfg.base or buildah.made_base())
    found |= {"image_bytes": image["bytes"], **started(buildah, image, cfg)}
    answer = found["answer"]
    print(
        f"{image['name']}: {image['bytes'] / 1e6:.0f} MB\nalive after {found['alive_seconds']} s, ready after "
        f"{found['ready_seconds']} s, its pages after {found['pages_seconds']} s; {found['memory'] / 1e6:.0f} MB of "
        f"memory; listens on {found['ports'][0]} alone; without a key: {found['without_key']}; ended "
        f"{found['stop_seconds']} s after SIGTERM\n> {cfg.question}\n{printable(answer['text'])}"
    )
    for c in answer["citations"]:
        print(f"  [{c['number']}] {printable(c['name'])}, page {c['page']}: {printable(c['quote'])}")
    return found


if __name__ == "__main__":
    cli.launch(main, Config)
