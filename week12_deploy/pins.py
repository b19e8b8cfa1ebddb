"""What the service installs where it is deployed: what it imports at work, at the very versions of constraints.txt.

An environment to learn in holds everything that a week trains and is tested with: torch with its CUDA libraries alone
is 4 GB. A service that embeds with onnxruntime and answers by extraction needs none of it.
"""

import re
from importlib.metadata import PackageNotFoundError, requires
from typing import Literal

from shared.errors import CourseError
from shared.files import ROOT
from shared.venv import requirements

Target = Literal["service", "smollm2", "week11"]
"""The service by itself; with a language model of torch's; and week 11's program as it is."""

TO_TRAIN = {"langchain", "matplotlib", "onnx", "onnxscript", "scikit-learn", "sentence-transformers"}
"""Of the extra: what only training, exporting and comparing need."""
OF_TORCH = {"accelerate", "gguf", "torch", "transformers"}
"""Of the extra: what a language model of one's own machine needs, and week 11's own embedder."""
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


def direct(target: Target) -> list[str]:
    """The packages that pyproject.toml names for the week, and that are needed at work."""
    left_out = TO_TRAIN | (OF_TORCH if target == "service" else set())
    names = {name_of(line) for line in requirements({"week11" if target == "week11" else "week12"})}
    return sorted(names - left_out)


def closure(names: list[str]) -> set[str]:
    """These packages, and what they need in turn, on Linux with any Python of PYTHONS.

    Raises:
        CourseError: one of them is not installed here, so that nobody can tell what it needs.
    """
    from packaging.requirements import Requirement

    seen: set[tuple[str, str]] = set()
    waiting = [(name, "") for name in names]
    while waiting:
        at = waiting.pop()
        if at in seen or at[0] in NEVER_IMPORTED:
            continue
        seen.add(at)
        try:
            lines = requires(at[0]) or []
        except PackageNotFoundError:
            if at[0] in names:
                raise CourseError(f"{at[0]} is not installed here: `./course setup 12` installs it.") from None
            continue  # what another Python would need
        for line in lines:
            needed, extra = Requirement(line), {"extra": at[1], "sys_platform": "linux", "platform_system": "Linux"}
            versions = [{"python_version": python, "python_full_version": f"{python}.0"} for python in PYTHONS]
            if needed.marker is None or any(needed.marker.evaluate(extra | version) for version in versions):
                waiting += [(name_of(needed.name), which) for which in ("", *needed.extras)]
    return {name for name, _ in seen}


def lines(target: Target) -> list[str]:
    """The lines of requirements.txt: every package with its version, in the order of their names."""
    pins = pinned()
    names = closure(direct(target))
    if target != "service":  # which of CUDA's libraries torch needs is for its own wheel to say
        names = {name for name in names if not name.startswith(("nvidia-", "cuda-", "triton"))}
    if missing := sorted(set(direct(target)) - pins.keys()):
        raise CourseError(
            f"constraints.txt has no version of {', '.join(missing)}: refresh it as CONTRIBUTING.md says."
        )
    return [pins[name] for name in sorted(names) if name in pins]
