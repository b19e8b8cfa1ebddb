"""What the service is started with: the flags of serve.py, handed to its worker processes through the environment."""

import hashlib
import ipaddress
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le

from shared.config import Count, Natural, NonNegative, Positive
from shared.errors import CourseError
from shared.runs import RUNS

KEYS, FLAGS = "COURSE_API_KEY", "COURSE_SERVE"
"""The variables of the environment with the keys, separated by commas, and with the flags, as JSON."""
SHORTEST = 16
"""Characters of a key, at least."""
MB = 1_000_000
Port = Annotated[int, Ge(0), Le(65_535)]


@dataclass
class Flags:
    """The flags of serve."""

    run: str = ""
    """Week 11's run with which an empty store begins: its documents, its index, its settings (default: the newest)."""
    model: str = ""
    """Week 12's run with the exported embedder (default: the newest), or `torch` for week 11's own."""
    lm: str = "smollm2"
    """Who answers: smollm2, extractive, a folder, a name of the hub, or the address of an OpenAI-compatible service."""
    store: str = str(RUNS / "week12" / "service")
    """The folder that it may write to: documents and index."""
    index: str = ""
    """http://host:port of a Chroma server; default: a folder in the store."""
    host: str = "127.0.0.1"
    """Where it listens; 0.0.0.0: to everybody who can reach this machine."""
    port: Port = 8000
    """0: any that is free."""
    workers: Count = 1
    """Processes that answer side by side. More than one wants --index with a Chroma server."""
    key: bool = True
    """Requests need a key of $COURSE_API_KEY; --no-key: they do not, on loopback only."""
    ui: Literal["auto", "open", "none"] = "auto"
    """Week 11's pages at /ui: auto asks for the key as a password, where there is one; open asks nobody."""
    rate: NonNegative = 5.0
    """Requests a second that a key may make in the long run; 0: as many as it likes."""
    burst: Annotated[float, Ge(1)] = 20.0
    """So many it may make at once."""
    megabytes: Positive = 50.0
    """An upload of more is refused, at the first byte too many."""
    uploads: Count = 4
    """Uploads that are received at the same time; more are answered 503 at once."""
    pages: Count = 1_000
    """A PDF of more pages is refused."""
    memory: Count = 1_200
    """Megabytes that a PDF may take while it is looked at, in a process of its own, one at a time."""
    reading: Positive = 120.0
    """Seconds that this may take."""
    patience: Positive = 20.0
    """Seconds after which an upload is answered though its index is not ready yet: 202 in the place of 201."""
    timeout: Positive = 60.0
    """Seconds that an answer may take."""
    body_timeout: Positive = 20.0
    """Seconds without a byte of a request's body after which it is given up."""
    at_once: Count = 32
    """Answers that are worked on at the same time. With a language model on this machine, a few."""
    queue: Natural = 64
    """Requests that may wait for that; more are answered 503 at once."""
    batch: Natural = 0
    """Questions embedded in one call, at most; 1: each alone; 0: what pays, 32 with torch's embedder, else 1."""
    wait: NonNegative = 2.0
    """Milliseconds that a question waits for others to be embedded with."""
    threads: Count = 1
    """CPU threads of the embedder and of a language model on this machine, of each worker."""
    drain: Positive = 20.0
    """Seconds that requests get to end in when the service is stopped."""
    log: Literal["info", "warning"] = "info"
    """info: a line for each request; warning: for what went wrong alone."""


@dataclass
class Settings(Flags):
    """The flags, and what is never one."""

    keys: tuple[str, ...] = field(default=(), repr=False)
    """What a caller may show, as sha256 (see `with_keys`)."""

    @property
    def folder(self) -> Path:
        return Path(self.store).expanduser().absolute()

    @property
    def most_bytes(self) -> int:
        return int(self.megabytes * MB)


def digest(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def with_keys(cfg: Flags, environment: dict[str, str] | None = None) -> Settings:
    """The settings with the keys of the environment, after they were looked at together.

    Raises:
        CourseError: there is no key, or too short a one; none is wanted, but others than this machine can reach it; or
            several workers would share a folder.
    """
    cfg, environment = Settings(**vars(cfg)), dict(os.environ) if environment is None else environment
    if cfg.workers > 1 and not cfg.index:
        raise CourseError(
            f"--workers {cfg.workers}: several processes cannot write to one folder's index. Start `chroma run`, and "
            "give its address: --index http://localhost:8001."
        )
    found = [key.strip() for key in environment.get(KEYS, "").split(",") if key.strip()]
    if not cfg.key:
        if not on_loopback(cfg.host):
            raise CourseError(f"--no-key --host {cfg.host}: without a key it may listen on 127.0.0.1 only.")
        return cfg
    if not found:
        raise CourseError(
            f"the environment has no {KEYS}: put a key of your own into it (`export {KEYS}=$(openssl rand -hex 24)`), "
            "or try it on this machine alone by --no-key."
        )
    if short := min(map(len, found)) < SHORTEST and min(map(len, found)):
        raise CourseError(f"{KEYS} has a key of {short} characters: take {SHORTEST} at least (openssl rand -hex 24).")
    cfg.keys = tuple(map(digest, found))
    return cfg


def on_loopback(host: str) -> bool:
    """Whether nobody but this machine itself can reach what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def hand_over(cfg: Settings) -> None:
    """Puts the settings where the worker processes find them. Of the keys these hold the digests only."""
    os.environ[FLAGS] = json.dumps(asdict(cfg))


def handed_over() -> Settings:
    """The settings of this worker process."""
    found = json.loads(os.environ[FLAGS])
    return Settings(**found | {"keys": tuple(found["keys"])})
