"""Exercises: the core of a week, cut out of the reference solution for the learner to write.

A piece is marked in the reference by plain comment lines inside a function. The ones after the first are its contract
(what comes in, what goes out, what for), which the learner sees; from `# hint:` on they are the recipe, on request.
A solution that begins with a comment of its own needs an empty line before it.

    # exercise 2: backward pass of a linear layer
    # dz (N, out_features) -> dx (N, in_features), the gradient for the layer below.
    # hint: every input reached every output, by one weight each: dx = dz W^T
    return dz @ self.W.T
    # end of exercise 2

The commands around them are in shared/exercise_commands.py. Standard library only.
"""

import ast
import importlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shared import plan
from shared.errors import CourseError
from shared.files import ROOT, written_whole

START = re.compile(r"(\s*)# exercise (\d+): (\S.*)")
END = re.compile(r"\s*# end of exercise (\d+)")
UNWRITTEN = re.compile(r"(?:NotImplementedError: )?exercise (\d+), ")  # how a stub's message begins
GUARD = "sys.path[0] = str(Path(__file__).resolve().parents[{}])"  # how a program finds the course
ALIKE = re.compile(r"\s*#\s*(end\s+of\s+)?exercise\s*\d", re.IGNORECASE)


@dataclass(frozen=True)
class Piece:
    """One marked region. Lines count from 1: marker on `line`, solution from `first` to before `end`. What the stub
    leaves out begins on `cut`: the hint, or the solution where there is none. `function` is its qualified name."""

    number: int
    title: str
    file: str
    function: str
    contract: str
    hint: str
    indent: str
    line: int
    cut: int
    first: int
    end: int


def shown(path: Path) -> str:
    """The path as we print it: relative to the repository where it lies inside."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def key(piece: Piece) -> tuple[int, str]:
    """What tells one region from another, in the reference as in a learner's file."""
    return piece.number, piece.title


def read(path: Path) -> str:
    """The text of a Python file; a CourseError when it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors (Notepad) put a mark in front
    except UnicodeDecodeError:
        raise CourseError(f"{shown(path)} is not UTF-8 text. Save it as UTF-8 in your editor.") from None


def parse(text: str, name: str) -> ast.Module:
    """The syntax tree of a file's text; a CourseError with its line when it is not Python."""
    try:
        return ast.parse(text)
    except SyntaxError as error:
        raise CourseError(f"{name}:{error.lineno}: this is not valid Python ({error.msg}).") from None


def regions(text: str, name: str) -> list[Piece]:
    """The marked regions of one reference file, in the order of the file.

    Raises:
        CourseError: a marker that is not closed, not opened, nested or misspelt, or a region that `region` refuses.
    """
    lines, bodies = text.split("\n"), functions(parse(text, name))
    found, opened, line = [], None, 0
    for number, content in enumerate(lines, 1):
        start, end, wrong = START.fullmatch(content.rstrip()), END.fullmatch(content.rstrip()), ""
        if start and opened:
            wrong = f"exercise {start[2]} begins inside exercise {opened[2]}"
        elif end and (not opened or opened[2] != end[1]):
            wrong = f"exercise {end[1]} ends here, but " + (
                f"exercise {opened[2]} is open" if opened else "none is open"
            )
        elif not start and not end and ALIKE.match(content):
            wrong = "write a marker as '# exercise 1: title' or '# end of exercise 1'"
        if wrong:
            raise CourseError(f"{name}:{number}: {wrong}.")
        if start:
            opened, line = start, number
        elif end:
            around = [where for where, node in bodies.items() if node.lineno < line <= node.end_lineno]
            if not around:
                raise CourseError(f"{name}:{line}: exercise {opened[2]} must stand inside a function.")
            if any(key(piece) == (int(opened[2]), opened[3]) for piece in found):
                raise CourseError(f"{name}:{line}: two regions are called {opened[3]!r}: give each a name of its own.")
            found.append(region(lines, opened, line, number, name, around[-1]))
            opened = None
    if opened:
        raise CourseError(f"{name}:{line}: exercise {opened[2]} has no '# end of exercise {opened[2]}'.")
    return found


def functions(tree: ast.AST, inside: str = "") -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """{qualified name, as __qualname__ has it: node} of all functions, outer ones first."""
    found = {}
    for node in ast.iter_child_nodes(tree):
        name = f"{inside}{getattr(node, 'name', '')}"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found |= {name: node} | functions(node, f"{name}.<locals>.")
        else:
            found |= functions(node, f"{name}." if isinstance(node, ast.ClassDef) else inside)
    return found


def region(lines: list[str], start: re.Match, line: int, end: int, name: str, function: str) -> Piece:
    """The piece between the markers on `line` and `end`; a CourseError when its contract or its solution is missing."""
    indent, number, title = start.groups()
    first = line + 1
    while lines[first - 1].startswith(f"{indent}#") and first < end:
        first += 1
    comments = [comment.strip(" #") for comment in lines[line : first - 1]]
    at = next((i for i, comment in enumerate(comments) if comment.startswith("hint:")), len(comments))
    contract, hint = " ".join(comments[:at]), " ".join(comments[at:]).removeprefix("hint:").strip()
    if not contract or not "".join(lines[first - 1 : end - 1]).strip():
        lacks = "solution" if contract else "contract (comment lines right after the marker)"
        raise CourseError(f"{name}:{line}: exercise {number} has no {lacks}.")
    piece = int(number), title, Path(name).name, function, contract, hint, indent
    return Piece(*piece, line=line, cut=line + 1 + at, first=first, end=end)


def pieces(week: Path) -> list[Piece]:
    """All regions of a week's folder, by number; a piece may have several."""
    found = [piece for path in sorted(week.glob("*.py")) for piece in regions(read(path), shown(path))]
    return sorted(found, key=lambda piece: piece.number)


def stub(text: str, name: str = "the reference", cut: Callable[[Piece], bool] = lambda piece: True) -> str:
    """The file's text with hints and solutions replaced by one `raise NotImplementedError` each, under the contract.

    All of them, or those of the pieces for which `cut` says True.
    """
    lines = text.split("\n")
    for piece in filter(cut, reversed(regions(text, name))):
        message = json.dumps(unwritten_message(piece), ensure_ascii=False)  # JSON's escapes are Python's too
        lines[piece.cut - 1 : piece.end - 1] = [f"{piece.indent}raise NotImplementedError({message})"]
    return "\n".join(lines)


def unwritten_message(piece: Piece) -> str:
    """What the stub in the place of a piece says."""
    return f"exercise {piece.number}, {piece.title}"


def as_copy(text: str) -> str:
    """The file's text as it stands in exercises/weekNN, which lies one folder deeper than the week's own."""
    return text.replace(GUARD.format(1), GUARD.format(2))


def unwritten(path: Path) -> list[tuple[str, int]]:
    """(message, line) of every `raise NotImplementedError("exercise …")` that still stands in a learner's file."""
    found = []
    for node in ast.walk(parse(read(path), shown(path))):
        match node:
            case ast.Raise(exc=ast.Call(args=[ast.Constant(str(text))])) if UNWRITTEN.match(text):
                found.append((text, node.lineno))
    return found


def write(week: Path, folder: Path) -> None:
    """Writes the week's files with stubs into `folder`, never over a file that is there, and says what to do next."""
    todo = pieces(week)
    for name in sorted({piece.file for piece in todo}):
        if (folder / name).exists():
            print(f"kept   {shown(folder / name)}: it is yours (to start over, move it away and run this again)")
            continue
        with written_whole(folder / name) as temporary:
            temporary.write_text(stub(as_copy(read(week / name)), name), encoding="utf-8")
        print(f"wrote  {shown(folder / name)}")
    number, width = number_of(folder.name), max(len(piece.title) for piece in todo)
    print("\nThe pieces, in this order:")
    for piece in todo:
        marker = f"# exercise {piece.number}: {piece.title}"
        lines = [line.strip() for line in read(folder / piece.file).splitlines()]
        line = f":{lines.index(marker) + 1}" if marker in lines else ""
        print(f"  {piece.number} {piece.title:{width}}   {shown(folder / piece.file)}{line}")
    print(f"\nThen: ./course check {number}. Where you are stuck on one: ./course hint {number} {todo[0].number}")


def use(week: str, folder: Path) -> None:
    """Puts `folder` in front of the package `week`: `week.model` is the learner's file where there is one.

    Holds for this process; a worker process that is started afresh (spawn) sees the reference again.

    Raises:
        CourseError: the folder holds no exercises, or modules of the week are loaded already.
    """
    written_in(folder)
    package = importlib.import_module(week)
    loaded = sorted(name for name in sys.modules if name.startswith(f"{week}."))
    if loaded:
        raise CourseError(f"{loaded[0]} is loaded already: put the exercises in front before it is imported.")
    # What Python has compiled of it counts by second and size: a - b mended to b - a at once would not be seen.
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    package.__path__.insert(0, str(folder.resolve()))


def written_in(folder: Path) -> list[Path]:
    """The learner's Python files; a CourseError when there is none."""
    files = sorted(folder.glob("*.py"))
    if not files:
        raise CourseError(f"no exercises in {shown(folder)} yet: run ./course exercise {number_of(folder.name)} first.")
    return files


def number_of(text: str) -> int:
    """1 for `1`, `01`, `week01` and `week01-bug3`; a CourseError for a week that there is not."""
    match = re.fullmatch(r"(?:week)?0*(\d{1,2})(?:-bug\d+)?", text)
    if not match or not 1 <= int(match[1]) <= len(plan.FOLDERS):
        raise CourseError(f"'{text}' is no week: write a number from 1 to {len(plan.FOLDERS)}.")
    return int(match[1])
