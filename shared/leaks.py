"""Looks for secrets in what is about to leave this machine: tokens, keys, passwords. It says where, never what."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from shared.errors import CourseError

SHAPES = {
    "a token of the hub": rb"\bhf_[A-Za-z0-9]{30,}",
    "a key of a language model's host": rb"\bsk-(?:proj-|ant-)?[A-Za-z0-9_-]{20,}",
    "a token of GitHub": rb"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60,})",
    "a key of AWS": rb"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "a key of Google": rb"\bAIza[A-Za-z0-9_-]{35}\b",
    "a token of Slack": rb"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    "a private key": rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
    "an address with a password": rb"\b[a-z][a-z0-9+.-]*://[^\s/:@'\"{}<>]+:[^\s/@'\"{}<>]{3,}@",
}
"""What a secret looks like where its owner gave it a shape to be found by."""
NAMES = re.compile(r"\.env(\..+)?|\.netrc|\.pypirc|\.git-credentials|id_(rsa|dsa|ecdsa|ed25519)|.+\.(pem|key|p12|pfx)")
SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|(^|_)KEY(_|$)|APIKEY", re.I)
"""The names of variables that hold one."""
SHORT = 8
"""Characters of a value that is too short to be looked for: it would be found in any text."""


def secrets_of(environment: Mapping[str, str]) -> dict[bytes, str]:
    """{value: name} of the variables of the environment that hold a secret, as their names say."""
    found = {name: value for name, value in environment.items() if SECRET.search(name) and len(value) >= SHORT}
    return {value.encode(): name for name, value in found.items() if not Path(value).exists()}


def leaks(
    folder: Path, environment: Mapping[str, str] | None = None, without: str = ""
) -> Iterator[tuple[str, int, str]]:
    """(file, line, what) of every secret in the files of a folder; line 0: the file itself is one by its name.

    Args:
        folder: where to look.
        environment: variables whose values are secrets, as their names say (default: those of this process).
        without: a folder in it that is passed over: of what was published already, half a gigabyte takes long.
    """
    known = secrets_of(os.environ if environment is None else environment)
    shapes = {what: re.compile(shape) for what, shape in SHAPES.items()}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if without and name.startswith(f"{without}/"):
            continue
        if NAMES.fullmatch(path.name):
            yield name, 0, "a file that holds secrets, by its name"
        if not path.is_file():
            continue
        content = path.read_bytes()
        for what, shape in shapes.items():
            if match := shape.search(content):
                yield name, content.count(b"\n", 0, match.start()) + 1, what
        for value, variable in known.items():
            if (at := content.find(value)) >= 0:
                yield name, content.count(b"\n", 0, at) + 1, f"the value of {variable}"


def refuse(folder: Path, without: str = "") -> None:
    """CourseError where there is a secret in a file of the folder: one line, with the first of them."""
    for name, line, what in leaks(folder, without=without):
        where = f"{folder / name}, line {line}" if line else f"{folder / name}"
        raise CourseError(
            f"{where}: {what}. Take it out; a secret belongs into the environment, or the settings of the Space."
        )
