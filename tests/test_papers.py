"""The walks through papers (section 9 of some lessons): each line that they name is there, and none is one that a
learner is to write. And every `file.py:name` of every lesson leads to something."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from shared import plan
from shared.files import ROOT

LESSONS = [plan.folder(number) for number in range(1, 17) if plan.is_there(number)]
WALKS = ["week05_attention", "week06_transformer", "week07_bert", "week13_vit", "week14_clip"]
PLACE = re.compile(r"`((?:\w+/)*\w+\.py):(\w+(?:\.\w+)*)`(?: \(piece (\d)\))?(?:: ((?:`[^`]+`(?:, )?)+))?")
PIECE = re.compile(r"# exercise (\d+):.*?# end of exercise \1", re.S)


def page(week: str) -> str:
    return (ROOT / week / "README.md").read_text(encoding="utf-8")


def file_of(week: str, name: str) -> Path:
    """The file that a lesson names: of its week, or from the top of the repository."""
    own = ROOT / week / name
    return own if own.is_file() else ROOT / name


def names_of(node: ast.AST) -> list[str]:
    """What a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [one.id for one in targets if isinstance(one, ast.Name)]


@cache
def source_of(path: Path, name: str) -> str:
    """The text of a function, class, constant or method (`Class.method`, or `method`); empty where there is none."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    node: ast.AST | None = ast.parse(text)
    for part in name.split("."):
        near = getattr(node, "body", [])
        classes = [one for one in near if isinstance(node, ast.Module) and isinstance(one, ast.ClassDef)]
        inside = [one for top in classes for one in top.body]
        node = next((one for one in [*near, *inside] if part in names_of(one)), None)
    return (ast.get_source_segment(text, node) if node else None) or ""


def in_one_line(text: str) -> str:
    return " ".join(text.split())


def wrong_places(week: str, text: str) -> list[str]:
    """What a text names that is not there: a function, a piece in it, or a line that stands in it and is given."""
    wrong = []
    for name, inside, piece, quoted in PLACE.findall(text):
        source = source_of(file_of(week, name), inside)
        given = in_one_line(PIECE.sub("", source))
        wrong += [f"{name}:{inside}"] * (not source)
        wrong += [f"{name}:{inside}, piece {piece}"] * bool(piece and f"# exercise {piece}:" not in source)
        wrong += [f"{name}:{inside}: {line}" for line in re.findall("`([^`]+)`", quoted) if line not in given]
    return wrong


def walk(week: str) -> list[list[str]]:
    """The rows of a walk: place in the paper, what it says, the line that does it."""
    section = page(week).partition("\n### The paper, paragraph by paragraph\n")[2].partition("\n#")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in rows[2:]]


@pytest.mark.parametrize("week", LESSONS)
def test_what_a_lesson_names_is_there(week):
    assert not wrong_places(week, page(week))


@pytest.mark.parametrize("week", WALKS)
def test_a_walk_goes_from_the_abstract_through_the_paper(week):
    rows = walk(week)
    assert len(rows) >= 15 and all(len(row) == 3 for row in rows)
    assert rows[0][0].startswith("abstract")
    assert sum("**Ours:**" in row[1] for row in rows) >= 6, "where the code departs from the paper is what experts seek"
    for row in rows:
        assert PLACE.search(row[2]) or row[2].startswith("not here"), f"{row[0]}: no line"


def test_a_place_that_is_not_there_is_found(tmp_path):
    (tmp_path / "a.py").write_text(
        "N = 1\nclass A:\n    def f(self):\n        # exercise 2: x\n        y = 3\n        # end of exercise 2\n"
        "        return g(\n            y)\n",
        encoding="utf-8",
    )
    week = str(tmp_path)
    right = "`a.py:N` `a.py:f` `a.py:A.f` (piece 2) and `a.py:A.f`: `return g( y)`, `y)`"
    assert wrong_places(week, right) == []
    wrong = "`b.py:N` `a.py:g` `a.py:A.g` `a.py:A.f` (piece 1), `a.py:A.f`: `y = 3`, `return`"
    assert wrong_places(week, wrong) == ["b.py:N", "a.py:g", "a.py:A.g", "a.py:A.f, piece 1", "a.py:A.f: y = 3"]
