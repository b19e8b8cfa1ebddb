"""What is installed where a week is deployed: what it imports at work, at the very versions of constraints.txt.

An environment to learn in holds everything that a week trains and is tested with. A service or a Space needs less:
torch with its CUDA libraries alone is 4 GB, and one that embeds with onnxruntime and answers by extraction needs none
of it.
"""

import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, requires

from shared.errors import CourseError
from shared.files import ROOT
from shared.venv import requirements

NEVER_IMPORTED = {"kubernetes"}
"""What chromadb asks for and imports only where it is itself spread over a cluster: 74 MB."""
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def name_of(line: str) -> str:
    """The package of a requirement, `hf-xet` of `hf_xet>=1.0 ; python_version > "3"`, spelled as pip compares them."""
    found = re.match(r"[\w.-]+", line.strip())
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""


def pinned() -> dict[str, str]:
    """{package: its line} of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {name_of(line): line for line in lines if line and not line.startswith("#")}


def direct(extra: str, without: Iterable[str] = ()) -> list[str]:
    """The packages that pyproject.toml names for an extra, without those that are not needed at work."""
    return sorted({name_of(line) for line in requirements({extra})} - set(without))


@cache
def needs(name: str, extra: str = "") -> frozenset[tuple[str, str]] | None:
    """(package, its extra) of what a package of this environment needs on Linux, with any Python of PYTHONS; None where
    it is not installed."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(line) for line in requires(name) or []]
    except PackageNotFoundError:
        return None
    linux = {"extra": extra, "sys_platform": "linux", "platform_system": "Linux"}
    places = [linux | {"python_version": python, "python_full_version": f"{python}.0"} for python in PYTHONS]
    found = [w for w in wanted if w.marker is None or any(w.marker.evaluate(place) for place in places)]
    return frozenset((name_of(w.name), which) for w in found for which in ("", *w.extras))


def closure(names: list[str]) -> set[str]:
    """These packages, and what they need in turn.

    Raises:
        CourseError: one of them is not installed here, so that nobody can tell what it needs.
    """
    seen: set[tuple[str, str]] = set()
    waiting = [(name, "") for name in names]
    while waiting:
        at = waiting.pop()
        if at in seen or at[0] in NEVER_IMPORTED:
            continue
        seen.add(at)
        found = needs(*at)
        if found is None and at[0] in names:
            raise CourseError(f"{at[0]} is not installed here: `./course setup` with the week's number installs it.")
        waiting += found or ()  # what is not installed is what another Python needs
    return {name for name, _ in seen}


def lines(extra: str, without: Iterable[str] = ()) -> list[str]:
    """The lines of requirements.txt: every package with its version, in the order of their names.

    Args:
        extra: whose packages, as week12.
        without: of these, what is not needed at work.
    """
    pins, named = pinned(), direct(extra, without)
    if missing := sorted(set(named) - pins.keys()):
        raise CourseError(
            f"constraints.txt has no version of {', '.join(missing)}: refresh it as CONTRIBUTING.md says."
        )
    # which of CUDA's libraries torch needs is for its own wheel to say
    names = {name for name in closure(named) if not name.startswith(("nvidia-", "cuda-", "triton"))}
    return [pins[name] for name in sorted(names) if name in pins]
