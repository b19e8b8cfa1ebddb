"""`./course doctor`: what this machine has, and what to do about what is wrong. Standard library only, but for torch.

Each check yields lines: a topic, what was found, and, where something is wrong, what to do about it. `--issue` prints
the versions alone, as a report to a library's maintainers wants them.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

from shared import origin, parallel, terminal, venv
from shared.assets import home
from shared.files import ROOT

GIB = 2**30
Line = tuple[str, str, str]
"""Topic, finding, cure; the cure is empty where all is well."""


def system() -> Iterator[Line]:
    yield "python", f"{platform.python_version()} ({sys.executable})", ""
    for name, path in astray().items():
        cure = f"unset {name} where it is set (~/.profile, ~/.bashrc): modules in there stand in front of Python's own"
        yield "", f"{name}={path}; the launcher does not hand it on", cure
    total, cores = memory(), parallel.cores()
    yield "machine", f"{platform.system()} {platform.machine()}, {cores} CPU cores, {size(total)} of memory", ""
    if total is not None and total < 3.5 * GIB:
        yield "", "that is little memory", "close other programs, and lower --batch-size where a program asks for more"


def astray() -> dict[str, str]:
    """{name: value} of the user's settings that put other modules into Python's path, as the launcher found them."""
    names = ("PYTHONPATH", "PYTHONHOME")
    found = {name: os.environ.get(f"COURSE_LEFT_OUT_{name}", os.environ.get(name, "")) for name in names}
    return {name: path for name, path in found.items() if path not in ("", str(ROOT))}


def threads() -> Iterator[Line]:
    """With how many threads one computes, what they do while they wait for each other, and how busy the cores are."""
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    policy = ", ".join(f"{name}={os.environ[name]}" for name in names if name in os.environ)
    yield "threads", f"{count_threads()}; while they wait: {policy or 'they spin (OMP_WAIT_POLICY is not set)'}", ""
    load = parallel.load()
    if load is not None:
        cure = "another program has the cores: training takes longer, and times that you measure mean nothing"
        yield "load", f"{load:.0%} of the cores in the last minute", cure if load > 1 else ""


def count_threads() -> str:
    """`2 threads (torch)`: torch's own number where it starts, else what OMP_NUM_THREADS says, else one per core."""
    number, source = os.environ.get("OMP_NUM_THREADS"), "OMP_NUM_THREADS"
    try:
        import torch

        number, source = torch.get_num_threads(), "torch" + f", OMP_NUM_THREADS is {number}" * (number is not None)
    except Exception:  # not installed, or one that does not start: `device` tells
        if number is None:
            number, source = parallel.cores(), "one per core"
    return f"{number} thread{'s' * (str(number) != '1')} ({source})"


def memory() -> int | None:
    """Bytes of memory in this machine; None where the system does not tell (Windows)."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def size(count: int | None) -> str:
    if count is None:
        return "an unknown amount"
    return f"{count / GIB:.1f} GB" if count >= GIB else f"{count / 2**20:.1f} MB"


def setup() -> Iterator[Line]:
    extras, _ = venv.read_stamp()
    if not venv.VENV.exists():
        yield "set-up", "no .venv yet: the first command that needs one makes it", ""
    elif not extras or not venv.is_ready(extras):
        yield "set-up", ".venv is unfinished or out of date", setup_command(extras)
    else:
        yield "set-up", f".venv has {', '.join(sorted(extras))}", ""


def setup_command(extras: set[str]) -> str:
    """The command that brings `.venv` up to date: it installs what is in use, and nothing besides."""
    weeks = sorted(int(extra[4:]) for extra in extras if re.fullmatch(r"week\d\d", extra))
    return " ".join(["./course setup", *map(str, weeks or [1])])


def packages() -> Iterator[Line]:
    """The installed ones of those that pyproject.toml names; and those that .venv should have, and has not."""
    extras, _ = venv.read_stamp()
    optional = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M))
    there, other = [], []
    for line in venv.requirements(set(optional)):
        name = re.split(r"[^\w.-]", line)[0]
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue
        pin = pins.get(canonical(name), installed)
        there.append(f"{name} {installed}" + (f" (tested with {pin})" if installed != pin else ""))
        other += [name] * (installed != pin)
    yield "packages", ", ".join(there) or "none of the course's yet", ""
    if Path(sys.prefix) != venv.VENV:
        return
    lacking = venv.missing(Path(sys.executable), extras)
    half = venv.broken(Path(sys.executable))
    if lacking or half or other:
        found = {"missing": lacking, "parts are missing of": half, "not the tested version": other}
        text = "; ".join(f"{what}: {', '.join(names)}" for what, names in found.items() if names)
        yield "", text, setup_command(extras)


IMPORT_EACH = """
import importlib, sys
for name in sys.argv[1:]:
    print(name, end=": ", flush=True)
    try:
        importlib.import_module(name)
        print("starts", flush=True)
    except BaseException as error:
        print(type(error).__name__, *str(error).split(), flush=True)
"""


def imports() -> Iterator[Line]:
    """Which of the packages in use do not start. They are imported in a process of their own, which one may end."""
    extras, _ = venv.read_stamp()
    if Path(sys.prefix) != venv.VENV or not extras:
        return
    wanted = {canonical(re.split(r"[^\w.-]", line)[0]) for line in venv.requirements(extras)}
    modules = sorted(
        module
        for module, packages in packages_distributions().items()
        if wanted & set(map(canonical, packages)) and module.isidentifier() and not module.startswith("_")
    )
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", IMPORT_EACH, *modules],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8", errors="replace",
    )  # fmt: skip
    *told, last = [line.partition(": ") for line in done.stdout.splitlines()] or [("", "", "starts")]
    ended = (last[0], "", f"ends the process (code {done.returncode})") if not last[2] else last
    bad = [f"{module} ({why})" for module, _, why in [*told, ended] if why != "starts"]
    if bad:
        yield "", f"does not start: {'; '.join(bad)}", f"delete {venv.VENV} and call again: it will be made anew"
    else:
        yield "", f"all {len(modules)} modules of theirs start", ""


def canonical(name: str) -> str:
    """`scikit_learn` as `scikit-learn`: a package's name has several spellings."""
    return re.sub(r"[-_.]+", "-", name).lower()


def device() -> Iterator[Line]:
    if find_spec("torch") is None:
        yield "device", "cpu, with NumPy alone (torch is not installed; weeks from 2 on install it)", ""
        return
    try:
        from shared.device import choose

        chosen = choose("auto")
    except Exception as error:  # a torch that does not start is what one calls a doctor for
        text = f"torch does not start ({type(error).__name__}: {error})"
        yield "device", text, f"delete {venv.VENV} and call again: it will be made anew"
        return
    yield "device", f"{chosen.name}, {chosen.dtype}: {chosen.reason}", ""
    if chosen.name == "cpu" and shutil.which("nvidia-smi"):
        yield "", "there is an NVIDIA GPU, but torch cannot use it", "update its driver (nvidia-smi tells its version)"


def disk() -> Iterator[Line]:
    for topic, place in (("disk", ROOT), ("", home())):
        nearest = next(folder for folder in (place, *place.parents) if folder.exists())
        free = shutil.disk_usage(nearest).free
        yield topic, f"{size(free)} free in {place}", "" if free > GIB else "make room: torch takes 6 GB, and runs grow"
        if not os.access(nearest, os.W_OK):
            cure = "set COURSE_HOME to a folder that can" if place == home() else "copy the course to one that can"
            yield "", f"{nearest} cannot be written to", cure


def samples(folder: Path = ROOT / "shared" / "samples") -> Iterator[Line]:
    """Holds the bundled data against the table in SOURCES.md: | file | bytes | sha256 | ..."""
    sources = folder / "SOURCES.md"
    if not sources.is_file():
        yield "samples", f"{sources} is missing", "git checkout -- shared/samples"
        return
    whole = []
    for row in sources.read_text(encoding="utf-8").splitlines():
        digest = re.search(r"\b[0-9a-f]{64}\b", row)
        if row.startswith("|") and digest:
            name = row.split("|")[1].strip(" `")
            path = folder / name
            if not path.is_file():
                yield "samples", f"{name} is missing", f"git checkout -- shared/samples/{name}"
            elif hashlib.sha256(path.read_bytes()).hexdigest() != digest[0]:
                yield "samples", f"{name} is damaged (another sha256)", f"git checkout -- shared/samples/{name}"
            else:
                whole.append(name)
    yield "samples", f"{', '.join(whole) or 'none'}: whole", ""


def data() -> Iterator[Line]:
    """What was downloaded, or put there by hand; each file is verified when a program asks for it."""
    files = sorted(path for path in home().rglob("*") if path.is_file() and not path.name.startswith("."))
    found = [f"{path.relative_to(home()).as_posix()} ({size(path.stat().st_size)})" for path in files]
    more = [f"and {len(found) - 20} more"] * (len(found) > 20)
    yield "data", ", ".join(found[:20] + more) or f"nothing downloaded yet into {home()}", ""


ASKED = (
    "python", "torch", "transformers", "peft", "trl", "accelerate", "tokenizers", "safetensors", "datasets",
    "huggingface-hub", "bitsandbytes", "sentence-transformers", "langchain", "langchain-core", "langgraph", "chromadb",
    "lightning", "torchvision", "timm", "open-clip-torch", "onnxruntime", "numpy", "scikit-learn",
)  # fmt: skip
"""The libraries of which the maintainers of one or another ask the versions."""


def issue() -> list[str]:
    """The versions block of a bug report, in Markdown: no name of a machine or a person, and no path."""
    lines = [f"- Platform: {platform.system()} {platform.release()} {platform.machine()}"]
    for name in ASKED:
        try:
            found = platform.python_version() if name == "python" else version(name)
        except PackageNotFoundError:
            continue
        lines.append(f"- {name}: {found}")
    lines.append(f"- Processor: {origin.hardware()}, {size(memory())} of memory")
    lines.append(f"- GPU: {gpu()}")
    return ["### System info", "", *lines]


def gpu() -> str:
    """The GPU that torch would use, with the CUDA that it was built for."""
    if find_spec("torch") is None:
        return "torch is not installed"
    try:
        import torch

        if torch.cuda.is_available():
            return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
        return "mps" if torch.backends.mps.is_available() else "none that torch can use"
    except Exception as error:  # a torch that does not start is the very thing to report
        return f"torch does not start ({type(error).__name__})"


def main(arguments: Sequence[str] = ()) -> int:
    """Prints all of it. Returns 1 where something is to be put right."""
    if "--issue" in arguments:
        print("\n".join(issue()))
        return 0
    wrong = 0
    for check in (system, threads, setup, packages, imports, device, disk, samples, data):
        for topic, text, cure in check():
            print(textwrap.fill(text, 100, initial_indent=f"{topic:<10}", subsequent_indent=" " * 10))
            if cure:
                wrong += 1
                print(f"{'':<10}→ {cure}")
    print("\nall is well" if not wrong else f"\n{wrong} thing{'s' * (wrong > 1)} to put right: see the lines with →")
    return 1 if wrong else 0


if __name__ == "__main__":
    terminal.exit_with(lambda: main(sys.argv[1:]))
