"""Cuts python_stdlib.jsonl.gz, the Python functions of week 8, from CPython's own standard library.

It is the library of CPython 3.11.7 as released; another version is refused, for its functions are others. Taken are the
functions and methods of every module, whole, with decorators and docstrings, moved to the left margin. Left out are
tests, demos and idlelib, what is generated or a table (encodings, pydoc_data, lib2to3's fixers, _sysconfigdata), and
functions of less than three lines or more than 4,000 characters.

No function is there twice, nor nearly: a function is dropped where 60 % of its different runs of five tokens (names,
operators, strings; without comments and docstring) stand in a single function that was kept before it.

Modules are drawn (seed 0) for test and val until each has a sixteenth of the text; all others are to train. So no file
is in two parts, and of two functions that are nearly the same only one is in any.

    python -m shared.samples.cut_stdlib
"""

import ast
import gzip
import io
import json
import platform
import re
import sysconfig
import textwrap
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from shared.errors import CourseError
from shared.files import written_whole

PYTHON = "3.11.7"
LEFT_OUT = re.compile(
    r"(^|/)(tests?|idlelib|turtledemo|encodings|pydoc_data|site-packages|_bundled|fixes|lib-dynload|config-[^/]*)/"
    r"|(^|/)(_sysconfigdata[^/]*|__hello__|__phello__|this|antigravity)\.py$|^__phello__/"
)
SHORTEST, LONGEST = 3, 4_000  # lines, characters
RUN, SAME = 5, 0.6
HELD_OUT = 1 / 16


def functions(source: str) -> Iterator[tuple[str, str]]:
    """(name, text) of each function and method of a module, in order; those inside of functions stay in these."""
    lines = source.splitlines()

    def walk(nodes: list[ast.stmt], inside: str) -> Iterator[tuple[str, str]]:
        for node in nodes:
            if isinstance(node, ast.ClassDef):
                yield from walk(node.body, f"{inside}{node.name}.")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
                yield inside + node.name, textwrap.dedent("\n".join(lines[first - 1 : node.end_lineno])) + "\n"
            elif isinstance(node, ast.If | ast.Try):  # a function for each system
                more = [node.body, node.orelse, getattr(node, "finalbody", [])]
                more += [handler.body for handler in getattr(node, "handlers", [])]
                for body in more:
                    yield from walk(body, inside)

    yield from walk(ast.parse(source).body, "")


def runs(text: str) -> set[tuple[str, ...]]:
    """The different runs of five tokens of a function, without comments, layout and docstring."""
    skip = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    found = [(one.type, one.string) for one in tokenize.generate_tokens(io.StringIO(text).readline)]
    words = []
    for (before, _), (kind, word) in zip([(tokenize.NEWLINE, ""), *found], found, strict=False):
        alone = kind == tokenize.STRING and before in (tokenize.NEWLINE, tokenize.INDENT, tokenize.NL)
        if kind not in skip and not alone:
            words.append(word)
    return {tuple(words[place : place + RUN]) for place in range(max(1, len(words) - RUN + 1))}


def fit(text: str) -> bool:
    """Whether a function is neither a stub nor endless, and reads the same everywhere."""
    parses = True
    try:
        ast.parse(text)
    except SyntaxError:  # a string that reaches over the margin may not bear being moved
        parses = False
    return parses and text.count("\n") >= SHORTEST and len(text) <= LONGEST and text.isascii() and "\f" not in text


def cut(library: Path) -> list[dict[str, str]]:
    """{module, name, code, split} of every function that is kept, by module and place in it."""
    taken: list[dict[str, str]] = []
    where: dict[tuple[str, ...], list[int]] = defaultdict(list)
    paths = sorted(path.relative_to(library).as_posix() for path in library.rglob("*.py"))
    for name in paths:
        if LEFT_OUT.search(name):
            continue
        with tokenize.open(library / name) as file:
            source = file.read()
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for function, text in functions(source):
            if not fit(text):
                continue
            own = runs(text)
            shared = Counter(number for run in own for number in where.get(run, ()))
            if shared and max(shared.values()) >= SAME * len(own):
                continue
            for run in own:
                where[run].append(len(taken))
            taken.append({"module": module, "name": function, "code": text})
    sizes: Counter[str] = Counter()
    for row in taken:
        sizes[row["module"]] += len(row["code"])
    modules, most, split = sorted(sizes), HELD_OUT * sizes.total(), dict.fromkeys(sizes, "train")
    filled = {"test": 0, "val": 0}
    for number in np.random.RandomState(0).permutation(len(modules)):
        size = sizes[modules[number]]
        part = min(filled, key=filled.get)
        if filled[part] + size <= 1.05 * most:
            split[modules[number]] = part
            filled[part] += size
    return [row | {"split": split[row["module"]]} for row in taken]


if __name__ == "__main__":
    if platform.python_version() != PYTHON:
        raise CourseError(f"this is Python {platform.python_version()}: the sample is cut from {PYTHON}'s library.")
    library, here = Path(sysconfig.get_path("stdlib")), Path(__file__).parent
    rows = cut(library)
    with written_whole(here / "python_stdlib_licence.txt") as temporary:
        temporary.write_bytes((library / "LICENSE.txt").read_bytes())
    with written_whole(here / "python_stdlib.jsonl.gz") as temporary:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        temporary.write_bytes(gzip.compress(text.encode(), mtime=0))  # no date: same functions, same bytes
    for part in ("train", "val", "test"):
        mine = [row for row in rows if row["split"] == part]
        modules = len({row["module"] for row in mine})
        print(f"{part}: {len(mine)} functions of {modules} modules, {sum(len(row['code']) for row in mine)} characters")
