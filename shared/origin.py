"""Where a result comes from: a hash of the code that made it, the processor, and with how many threads it computed.

It stands in every result.json, so that whoever reads a report can tell why their digits differ. Standard library only.
"""

import hashlib
import os
import platform
import re
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from shared import plan
from shared.files import ROOT

OURS = rb"(?:shared|week\d\d_\w+)"
IMPORT = re.compile(rb"^ *(?:from (%b[\w.]*) import (\([^)]*\)|[^\n]+)|import (%b[\w.]*))" % (OURS, OURS), re.M)


def code_in_use(week: int) -> str:
    """`code` of a week as this process has it, with a learner's own files (--mine) where these stand in front."""
    module = sys.modules.get(plan.folder(week))
    places = [Path(place) for place in getattr(module, "__path__", ())]
    return code(week, places[0] if len(places) > 1 else None)


@cache
def code(week: int, own: Path | None = None) -> str:
    """sha256 of the programs that train and score a week, and of all of the course that these import; "" where there
    are none. Lines may end as they do on Windows.

    Args:
        own: the folder with a learner's files, which stand in the place of the week's.
    """
    package = plan.folder(week)
    todo, texts = [f"{package}.train", f"{package}.eval"], {}
    while todo:
        name = todo.pop()
        path = file_of(name, own if name.startswith(f"{package}.") else None)
        if path and name not in texts:
            texts[name] = path.read_bytes().replace(b"\r\n", b"\n")
            todo += imported(texts[name])
    return digest(part for name in sorted(texts) for part in (name.encode(), texts[name])) if texts else ""


def imported(text: bytes) -> list[str]:
    """The modules of the course that a file imports, also inside functions; with what may be names in them."""
    found = []
    for module, names, plain in IMPORT.findall(text):
        found += [(module or plain).decode()]
        found += [f"{module.decode()}.{name.decode()}" for name in re.findall(rb"\w+", names)]
    return found


def file_of(module: str, own: Path | None = None) -> Path | None:
    """Where a module of the course stands; None where there is none of this name."""
    places = [own / f"{module.rpartition('.')[2]}.py"] if own else []
    path = ROOT / Path(*module.split("."))
    return next((place for place in (*places, path.with_suffix(".py"), path / "__init__.py") if place.is_file()), None)


def digest(parts: Iterable[bytes]) -> str:
    """sha256 of some parts, as hexadecimal digits; where one ends and the next begins counts."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()


def threads() -> int:
    """With how many threads the sums are made: another number adds up in another order, which moves the last digits."""
    if "torch" in sys.modules:
        return sys.modules["torch"].get_num_threads()
    from shared.parallel import cores

    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) else cores()


def hardware(device: str = "cpu") -> str:
    """The processor, how many of its cores this process may use, and the GPU where it computes on one."""
    from shared.parallel import cores

    gpu = f", {sys.modules['torch'].cuda.get_device_name()}" if device == "cuda" else ""
    return f"{processor()}, {cores()} core{'s' * (cores() > 1)}{gpu}"


def processor() -> str:
    """The processor's name, with the units that make the difference to us, as far as the system tells."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    lines = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in lines.items()}
    units = facts.get("flags", "").split()
    has = next(
        (word for flag, word in (("amx_bf16", "AMX"), ("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in units), ""
    )
    return f"{facts.get('model name', platform.machine())}{f' ({has})' if has else ''}"
