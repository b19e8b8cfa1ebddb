"""What completions of functions are worth: do they parse, are their names defined, and are they copied from train?

A completion is parsed, never run.
"""

import ast
import builtins
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt64

from week08_gpt.corpus import Part
from week08_gpt.tokenizer import Tokenizer

COPIED = 30  # consecutive tokens
FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no token is lost; any such number will do


@dataclass(frozen=True)
class Task:
    """A function to complete: its beginning up to the end of the docstring, and the rest as a person wrote it."""

    name: str
    prompt: str
    body: str


def task_of(code: str) -> Task | None:
    """The task that a function makes, or None: it has no docstring, or nothing behind it, or is no function."""
    try:
        nodes = ast.parse(code).body
    except (SyntaxError, ValueError):
        return None
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node) and len(node.body) > 1:
            lines = code.splitlines(keepends=True)
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            last = node.body[0].end_lineno
            return Task(node.name, "".join(lines[first - 1 : last]), "".join(lines[last : node.end_lineno]))
    return None


def tasks(part: Part, tokens: Tokenizer, count: int, room: int) -> list[Task]:
    """At most `count` tasks out of a part, evenly spread over it; their beginnings have at most `room` tokens."""
    found = []
    for row in range(len(part)):
        task = task_of(tokens.decode(part.document(row)[: -1 if part.ends else None].tolist()))
        if task and len(tokens.encode(task.prompt)) <= room:
            found.append(task)
    if len(found) <= count:
        return found
    return [found[place] for place in np.linspace(0, len(found) - 1, count).astype(int)]


def parses(code: str) -> bool:
    """Whether Python can read it."""
    try:
        with warnings.catch_warnings(action="ignore"):  # what Python thinks of a network's numbers and escapes
            ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def undefined(code: str) -> set[str]:
    """The names that a function reads and nobody defines: no builtin, no module of the standard library, nothing that
    it binds itself (parameters, assignments, imports, loops, nested functions).

    What the module around it defines cannot be known from the function alone; so some of the names that people use
    count as undefined, too, and the true bodies stand beside as the measure.
    """
    known = set(dir(builtins)) | set(sys.stdlib_module_names) | {"__file__", "__class__"}
    read = set()
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                read.add(name)
            case ast.Name(id=name) | ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                known.add(name)
            case ast.AsyncFunctionDef(name=name) | ast.ExceptHandler(name=str(name)):
                known.add(name)
            case ast.alias(name=name, asname=other):
                known.add(other or name.partition(".")[0])
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                known.add(name)
    return read - known


def hashes(ids: Sequence[int | np.integer] | np.ndarray, length: int = COPIED) -> UInt64[np.ndarray, " windows"]:
    """A number for each run of `length` consecutive tokens; equal runs have equal ones."""
    ids = np.asarray(ids, np.uint64) + np.uint64(1)
    count = max(0, len(ids) - length + 1)
    found = np.zeros(count, np.uint64)
    for place in range(length):
        found = found * FACTOR + ids[place : place + count]  # modulo 2^64
    return found


class Memory:
    """Remembers every run of tokens of train, to tell what was copied."""

    def __init__(self, train: Part, most: int = 20_000_000) -> None:
        self.known = np.unique(hashes(train.window(0, min(train.tokens, most))))

    def has(self, ids: Sequence[int]) -> bool:
        """Whether some 30 consecutive tokens stand in train, too."""
        wanted = hashes(ids)
        if not len(self.known) or not len(wanted):
            return False
        nearest = self.known[np.searchsorted(self.known, wanted).clip(max=len(self.known) - 1)]
        return bool((nearest == wanted).any())


def verdict(task: Task, text: str, ids: Sequence[int], memory: Memory) -> dict[str, bool]:
    """{parses, defined (which has to parse, too), copied} of one completion."""
    code = task.prompt.rstrip() + text
    good = bool(text.strip()) and parses(code)
    return {"parses": good, "defined": good and not undefined(code), "copied": memory.has(ids)}


def shares(verdicts: Sequence[dict[str, bool]]) -> dict[str, float]:
    """The share of completions that each is true of."""
    return {name: sum(one[name] for one in verdicts) / len(verdicts) for name in ("parses", "defined", "copied")}
