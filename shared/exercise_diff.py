"""`./course exercise N --diff`: the learner's files beside the reference, and which pieces are the same in both."""

import ast
import difflib
import os
import sys
from pathlib import Path

from shared.exercise import (
    END,
    START,
    Piece,
    as_copy,
    key,
    pieces,
    read,
    shown,
    stub,
    unwritten,
    unwritten_message,
    written_in,
)

SAME = "the same as the reference"


def solutions(text: str) -> dict[tuple[int, str], str]:
    """{(number, title): code} of what stands between the markers of a file that may be a learner's.

    The code is in a form in which neither comments, nor line breaks, nor the kind of quotes tell two solutions apart.
    """
    found, opened, body = {}, None, []
    for line in text.splitlines():
        if start := START.fullmatch(line.rstrip()):
            opened, body = (int(start[2]), start[3]), []
        elif END.fullmatch(line.rstrip()) and opened:
            try:
                found[opened] = ast.dump(ast.parse("\n".join(["if True:", *body])))
            except SyntaxError:  # a region that is no whole statement, an `else:` and what belongs to it
                found[opened] = "\n".join(line.strip() for line in body if line.strip()[:1] not in ("", "#"))
            opened = None
        else:
            body.append(line)
    return found


def region_lines(text: str) -> dict[tuple[int, str], list[tuple[int, str]]]:
    """{(number, title): [(line number, code)]} of what stands between the markers, without comments and empty lines."""
    found, opened = {}, None
    for number, line in enumerate(text.splitlines(), 1):
        if start := START.fullmatch(line.rstrip()):
            opened = (int(start[2]), start[3])
            found[opened] = []
        elif END.fullmatch(line.rstrip()):
            opened = None
        elif opened and line.strip()[:1] not in ("", "#"):
            found[opened].append((number, line.strip().partition("  # ")[0]))
    return found


class Renamed(ast.NodeTransformer):
    """Gives the names that a piece of code makes for itself numbers, in the order in which they are met."""

    def __init__(self, own: set[str]) -> None:
        self.own, self.seen = own, {}

    def visit_Name(self, node: ast.Name) -> ast.Name:
        if node.id in self.own:
            node.id = self.seen.setdefault(node.id, f"name{len(self.seen) + 1}")
        return node


def normal_lines(lines: list[tuple[int, str]], text: str) -> list[tuple[int, str, str]]:
    """(line number, code, what it comes to) of each statement of a region: however its own names are called."""
    if not lines:
        return []
    first, last = lines[0][0], lines[-1][0]
    body = text.splitlines()[first - 1 : last]
    try:
        tree = ast.parse("\n".join(["if True:", *body]))
    except SyntaxError:  # no whole statement
        return [(number, code, code) for number, code in lines]
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)][1:]
    statements.sort(key=lambda node: (node.lineno, node.col_offset))
    renamed, found = Renamed(names), []
    for node in statements:
        code = body[node.lineno - 2].strip()
        head = ast.unparse(renamed.visit(node)).splitlines()[0]
        found.append((first + node.lineno - 2, code.partition("  # ")[0], head))
    return found


def without_hints(text: str) -> str:
    """A file without the recipes: a learner's mostly has none, so they are no difference."""
    kept, hint = [], False
    for line in text.split("\n"):
        comment = line.lstrip().startswith("#") and not END.fullmatch(line.rstrip())
        hint = comment and (hint or line.lstrip().startswith("# hint:"))
        if not hint:
            kept.append(line)
    return "\n".join(kept)


def states(week: Path, folder: Path) -> dict[tuple[int, str], str]:
    """{(number, title): how it stands} of every piece in a file that the learner has."""
    found = {}
    for piece in pieces(week):
        if not (folder / piece.file).is_file():
            continue
        this, mine = key(piece), solutions(read(folder / piece.file))
        if any(message == unwritten_message(piece) for message, _ in unwritten(folder / piece.file)):
            found[this] = "not written yet, and left out here"
        elif this not in mine:
            found[this] = "its lines '# exercise …' and '# end of exercise …' are gone from your file"
        else:
            same = mine[this] == solutions(read(week / piece.file))[this]
            found[this] = SAME if same else "written differently"
    return found


def diff(week: Path, folder: Path) -> None:
    """Prints how the learner's files (-) differ from the reference (+), only where they do, and a line per piece.

    The solution of a piece that is not written yet is left out, so that looking at one gives no other away.
    """
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    colours = {"-": "\33[31m", "+": "\33[32m", "@": "\33[36m"} if coloured else {}
    differ = False
    for path in written_in(folder):
        if (week / path.name).is_file():
            stubs = [message for message, _ in unwritten(path)]

            def cut(piece: Piece, stubs: list[str] = stubs) -> bool:
                return unwritten_message(piece) in stubs

            mine = without_hints(read(path)).splitlines()
            reference = as_copy(read(week / path.name))
            reference = without_hints(stub(reference, path.name, cut)).splitlines()
            for line in difflib.unified_diff(mine, reference, shown(path), shown(week / path.name), lineterm=""):
                differ, colour = True, colours.get(line[:1], "")
                print(f"{colour}{line}\33[0m" if colour else line)
    found = states(week, folder)
    if not differ and set(found.values()) <= {SAME}:
        return print("Your files are the same as the reference.")
    width = max((len(title) for _, title in found), default=0)
    print("\nPiece by piece:" if differ else "Piece by piece:")
    for (number, title), state in found.items():
        print(f"  {number} {title:{width}}   {state}")
