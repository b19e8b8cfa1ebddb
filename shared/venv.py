"""Set-up: a `.venv` in this repository, with what the weeks in use need. Standard library only.

The packages are those that pyproject.toml names for a week (its extra), at the versions of constraints.txt, installed
by uv or else by pip. `.venv/course.json`, written last, says what is in place, so that the next call starts at once.
The project itself is not installed: a line in the venv (sixteen_weeks.pth) puts the repository on its path.
"""

import hashlib
import json
import os
import re
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import IO

from shared.errors import CourseError

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
SCRIPTS, EXE = (VENV / "Scripts", ".exe") if os.name == "nt" else (VENV / "bin", "")
PYTHON = SCRIPTS / f"python{EXE}"
STAMP = VENV / "course.json"


def say(line: str) -> None:
    print(f"course: {line}", file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------ what is needed, and what is there


def requirements(extras: set[str]) -> list[str]:
    """The packages pyproject.toml names for these extras; a reference such as sixteen-weeks[week02] is followed."""
    file = ROOT / "pyproject.toml"
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    except (ValueError, KeyError) as error:
        raise CourseError(f"{file} is damaged ({error}); `git checkout -- {file.name}` brings it back") from None
    lines, wanted, seen = set(project["dependencies"]), set(extras), set()
    while wanted - seen:
        extra = (wanted - seen).pop()
        seen.add(extra)
        for line in project["optional-dependencies"].get(extra, []):
            if line.startswith(project["name"] + "["):
                wanted.update(re.findall(r"\w+", line.partition("[")[2]))
            else:
                lines.add(line)
    return sorted(lines)


def fingerprint(extras: set[str]) -> str:
    """Changes when an installation of these extras has to be looked at again: other packages, versions or Python."""
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    return hashlib.sha256("\n".join([*requirements(extras), pins, str(PYTHON.resolve())]).encode()).hexdigest()


def read_stamp() -> tuple[set[str], str]:
    """What `.venv` holds: its extras and their fingerprint. No stamp, or a damaged one: nothing."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
        return set(stamp["extras"]), str(stamp["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return set(), ""


def write_stamp(extras: set[str], value: str) -> None:
    temporary = STAMP.with_suffix(".tmp")
    temporary.write_text(json.dumps({"extras": sorted(extras), "fingerprint": value}) + "\n", encoding="utf-8")
    temporary.replace(STAMP)


def is_ready(extras: set[str]) -> bool:
    there, value = read_stamp()
    return extras <= there and PYTHON.exists() and value == fingerprint(there)


def missing(python: Path, extras: set[str]) -> list[str]:
    """The packages these extras need that `python` has not got. One that only some systems need is left out."""
    names = [re.split(r"[^\w.-]", line)[0] for line in requirements(extras) if ";" not in line]
    query = "import sys, importlib.metadata as m; has = lambda name: any(True for _ in m.distributions(name=name))\n"
    query += "sys.exit(' '.join(name for name in sys.argv[1:] if not has(name)) or 0)"
    return attempt(python, "-c", query, *names).split() if python.exists() else names


def broken(python: Path) -> list[str]:
    """The packages that `python` has by name, but not with all the modules that were installed."""
    query = "import sys, importlib.metadata as m; code = ('.py', '.so', '.pyd', '.dll', '.dylib')\n"
    query += "lost = lambda d: any(f.suffix in code and not f.locate().is_file() for f in d.files or ())\n"
    query += (
        "sys.exit(' '.join(sorted({d.metadata['Name'] for d in m.distributions(path=sys.argv[1:]) if lost(d)})) or 0)"
    )
    return attempt(python, "-c", query, *map(str, site_packages())).split() if python.exists() else []


def site_packages() -> list[Path]:
    """Where `.venv` has its packages; nothing where it is not there yet."""
    return [*VENV.glob("lib/python3*/site-packages"), *VENV.glob("Lib/site-packages")][:1]


# ------------------------------------------------------------------------------------------------------ installing


def attempt(*command: str | Path, show: bool = False) -> str:
    """Runs an installer. Returns "" when all went well, else what it wrote. `show`: it draws its progress instead."""
    import subprocess

    astray = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "PIP_TARGET", "PIP_PREFIX"}
    environment = {name: value for name, value in os.environ.items() if name not in astray}
    environment |= {"PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUTF8": "1"}
    pipes = {} if show else {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    texts = {"encoding": "utf-8", "errors": "replace", "env": environment, "cwd": ROOT}
    try:
        done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, **pipes, **texts)
    except OSError as error:
        return str(error)
    return (done.stdout or "").strip() or f"exit code {done.returncode}" if done.returncode else ""


def reason(output: str) -> str:
    """What went wrong, in a few words, from what uv or pip wrote."""
    network = "dns error|sending request|tcp connect|timed out|refused|unreachable|reset by peer|Max retries"
    network += "|new connection|Temporary failure|Name or service|getaddrinfo|Could not fetch URL"
    if re.search(r"No space left|Errno 28|os error 28|quota exceeded|not enough space", output, re.I):
        return "the disk is full (a week with torch takes 6 GB)"
    if re.search(network, output, re.I):
        return "no network"
    if re.search(
        r"Resource temporarily unavailable|os error 11\b|can't start new thread|failed to spawn", output, re.I
    ):
        return "this system allows no more processes or threads (ulimit -u): end other programs"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.match("error", line, re.I)] + lines[-1:]
    return f"the installation failed ({telling[0][:300]})"


def make_venv(uv: str | None) -> None:
    """Leaves a living `.venv`: a broken one (its Python gone after an upgrade of the system) is made anew."""
    import shutil

    if PYTHON.exists():
        state = attempt(PYTHON, "-c", "import sys; sys.exit('too old' if sys.version_info < (3, 11) else 0)")
        if state == "too old":
            raise CourseError(f"{VENV} was made with a Python older than 3.11; move it away")
        if not state:
            return
    if VENV.exists():
        shutil.rmtree(VENV)
    base = getattr(sys, "_base_executable", None) or sys.executable
    if uv and not attempt(uv, "venv", "--quiet", "--python", base, VENV):
        return
    error = attempt(base, "-m", "venv", VENV)
    if error:
        shutil.rmtree(VENV, ignore_errors=True)
        cure = "this Python's venv is incomplete; `sudo apt install python3-venv` completes it"
        raise CourseError(cure if "ensurepip" in error else reason(error))


def pip_install(*arguments: str) -> str:
    """pip of `.venv`, which is put there first where uv made the venv; like `attempt`."""
    if attempt(PYTHON, "-c", "import pip"):
        attempt(PYTHON, "-m", "ensurepip")
    return attempt(PYTHON, "-m", "pip", "install", "--quiet", "--retries", "2", *arguments)


def install(packages: list[str], uv: str | None, again: bool, half: list[str]) -> None:
    """Installs into `.venv` by uv, from uv's cache alone, or by pip: the first that works.

    `again` installs also what seems to be there: an interrupted installation may have left half of it. `half` are
    packages of which parts are known to be missing.
    """
    own = SCRIPTS / f"uv{EXE}"
    error = "" if uv or own.exists() else pip_install("uv")
    if not error:
        by_uv = [uv or own, "pip", "install", "--python", PYTHON, "-c", "constraints.txt", *packages]
        by_uv += ["--reinstall"] * again + [f"--reinstall-package={name}" for name in half if not again]
        # uv shows its progress on a terminal; a dry run before that finds what may be wrong, to be told in one line.
        terminal = sys.stderr.isatty()
        error = (terminal and attempt(*by_uv, "--dry-run")) or attempt(*by_uv, show=terminal)
        if error and reason(error) == "no network" and not attempt(*by_uv, "--offline"):
            return say("no network: taken from uv's cache")
    if error and "disk is full" not in reason(error):
        # uv does not read pip's settings: where only a mirror named in pip.conf can be reached, pip gets through.
        error = pip_install("-c", "constraints.txt", *packages, *["--force-reinstall"] * (again or bool(half)))
    if error:
        raise CourseError(reason(error))


# ---------------------------------------------------------------------------------------------------------- set-up


def lock(file: IO[str]) -> None:
    """Waits while another launcher sets up here. The system ends the lock with the file or with the process.

    The rest of the course locks with `filelock`; this runs before anything is installed.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        while True:
            try:
                return msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # tries for ten seconds
            except OSError:
                continue
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another set-up is under way here, waiting for it ...")
        fcntl.flock(file, fcntl.LOCK_EX)


def put_on_path() -> None:
    """Lets the Python of `.venv` find the course from any folder: a program then starts without the launcher, too."""
    for packages in site_packages():
        line, file = f"{os.path.relpath(ROOT, packages)}\n", packages / "sixteen_weeks.pth"
        if not file.is_file() or file.read_text(encoding="utf-8") != line:
            with suppress(OSError):  # a venv that may only be read: the launcher works all the same
                file.write_text(line, encoding="utf-8")


def prepare(extras: set[str], what: str) -> None:
    """Brings `.venv` up to what `extras` need besides what it holds. Interrupted anywhere, the next call mends it."""
    import shutil
    import time

    start, uv = time.monotonic(), shutil.which("uv")
    large = any(line.startswith("torch") for line in requirements(extras))
    guess = "some minutes: torch is large" if large else "about half a minute"
    say(f"setting up {what} " + ("..." if read_stamp()[0] else f"(first time, {guess}) ..."))
    make_venv(uv)
    there, value = read_stamp()
    write_stamp(there, "unfinished")
    try:
        install(requirements(there | extras), uv, again=value == "unfinished", half=broken(PYTHON))
    except CourseError as error:
        if str(error) == "no network":  # then nothing was touched, and what was whole is still whole
            write_stamp(there, value)
        raise
    write_stamp(there | extras, fingerprint(there | extras))
    say(f"set up in {time.monotonic() - start:.0f} s")


def set_up(extras: set[str], what: str, look_again: bool = False) -> Path:
    """Returns a Python that has what `extras` need: that of `.venv`, or, where set-up fails, one that happens to.

    Args:
        extras: as in pyproject.toml, {"week01", "test"}.
        what: what is set up, in words, for the lines that are printed.
        look_again: asks the installer even where the stamp says that all is there; mends what was broken by hand.

    Raises:
        CourseError: set-up fails, and packages are missing; the line says why, and which.
    """
    if is_ready(extras) and not look_again:
        put_on_path()
        return PYTHON
    try:
        with (ROOT / ".course.lock").open("w", encoding="utf-8") as file:
            lock(file)
            if look_again or not is_ready(extras):
                prepare(extras, what)
        put_on_path()
        return PYTHON
    except CourseError as error:
        why = str(error)
    except OSError as error:
        why = f"cannot write {error.filename or ROOT} ({error.strerror})"
    lacking = missing(PYTHON, extras)
    python = Path(sys.executable) if lacking else PYTHON
    if lacking and missing(python, extras):
        raise CourseError(f"{why}, and {what} still lacks {', '.join(lacking)}. Put that right and call again.")
    say(f"{why}: going on with what {python} has")
    return python
