"""The rules of the house, held against every file of the repository: who may import whom, what every lesson has, what
stands in the READMEs, what the bundled data is, and what no program here does."""

import ast
import hashlib
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from shared import plan, readme_table
from shared.errors import CourseError
from shared.files import ROOT

SAMPLES = ROOT / "shared" / "samples"
WEEKS = [plan.folder(number) for number in range(1, 17) if plan.is_there(number)]
MAY_IMPORT = {
    "week04_lightning": {"week02_cnn"},  # rewrites it
    "week12_deploy": {"week11_rag"},  # deploys it
    "week16_capstone": set(plan.FOLDERS),  # combines them
}


@cache
def files() -> list[Path]:
    """The repository's own files: those that git tracks, and new ones that it does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
        found = [ROOT / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):  # unpacked from an archive: no git
        left_out = {".venv", ".git", "runs", "exercises", "__pycache__", ".pytest_cache", ".ruff_cache"}
        found = [path for path in ROOT.rglob("*") if not left_out & set(path.relative_to(ROOT).parts)]
    return sorted(path for path in found if path.is_file())


PROGRAMS = [path for path in files() if path.suffix == ".py" or path == ROOT / "course"]
PAGES = [path for path in files() if path.suffix == ".md"]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def every(paths):
    return pytest.mark.parametrize("path", paths, ids=name_of)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.AST) -> set[str]:
    """Every module that is imported, by its full name, also inside functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


def packages(tree: ast.AST) -> set[str]:
    return {name.partition(".")[0] for name in imports(tree)}


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """Every call with the name of what is called, as `torch.load` or `open`."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((word.value for word in call.keywords if word.arg == name), None)


# Programs


@every([path for path in PROGRAMS if path.relative_to(ROOT).parts[0] in (*plan.FOLDERS, "shared", "course")])
def test_imports_between_weeks(path):
    home = path.relative_to(ROOT).parts[0]
    foreign = packages(tree_of(path)) & set(plan.FOLDERS) - {home} - MAY_IMPORT.get(home, set())
    assert not foreign, "a week imports shared and libraries, no other week; shared imports no week"


def modules() -> dict[str, Path]:
    """{shared.runs: its file, …} of the course's own modules."""
    own = [path for path in PROGRAMS if path.relative_to(ROOT).parts[0] in ("shared", *plan.FOLDERS)]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in own}


def imported_modules(tree: ast.AST, known: dict[str, Path]) -> set[str]:
    """Which of the course's own modules a file imports, also inside functions."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names & known.keys()


def test_no_modules_import_each_other_in_a_circle():
    known = modules()
    waiting = {name: imported_modules(tree_of(path), known) - {name} for name, path in known.items()}
    while free := [name for name, needs in waiting.items() if not needs & waiting.keys()]:
        for name in free:
            del waiting[name]
    assert not waiting, "these import each other in a circle, or something that does"


def test_a_circle_is_found():
    known = {"shared.a": ROOT, "shared.b": ROOT, "shared": ROOT}
    text = "from shared import a\ndef f():\n    import shared.b"
    assert imported_modules(ast.parse(text), known) == {"shared", "shared.a", "shared.b"}


@every([path for path in PROGRAMS if path.relative_to(ROOT).parts[0] in plan.FOLDERS])
def test_no_flag_is_inherited_only_to_be_refused(path):
    assert "Suppress" not in path.read_text(encoding="utf-8"), "inherit from a config without that flag"


GUARD = """if __name__ == "__main__" and not __package__:  # started as a file: python {}
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")
"""


@every([path for path in PROGRAMS if path.parent.name in plan.FOLDERS and "cli.launch(" in path.read_text("utf-8")])
def test_every_program_finds_the_course_when_it_is_started_as_a_file(path):
    before, guard, _ = path.read_text(encoding="utf-8").partition(GUARD.format(path.relative_to(ROOT).as_posix()))
    assert guard, "copy the guard of another program"
    assert imports(ast.parse(before)) == {"sys", "pathlib"}, "the guard stands before all other imports"


@pytest.mark.parametrize(("folder", "program"), [("week01_numpy_mlp", "train.py"), (".", "week01_numpy_mlp/train.py")])
def test_a_program_started_as_a_file_is_the_same_program(folder, program):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, program, "--lr", "-1"]
    done = subprocess.run(command, cwd=ROOT / folder, env=environment, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "error: --lr -1: must be above 0.\n")


LINES = {"train.py": 450, "eval.py": 120, "fit": 60}
"""What a reader takes in at once. The life of a run is shared's (CONTRIBUTING.md)."""


@every([path for path in PROGRAMS if path.name in LINES and path.parent.name in plan.FOLDERS])
def test_the_training_is_seen_at_once(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES[path.name]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef) and node.name == "fit":
            assert node.end_lineno - node.lineno + 1 <= LINES["fit"], "a loop is one screen"


@every([ROOT / week / "__init__.py" for week in WEEKS])
def test_a_weeks_init_imports_the_plan_alone(path):
    assert imports(tree_of(path)) == {"shared.plan"}


def test_weeks_are_light_to_import():
    code = (
        "import importlib, sys; before = set(sys.modules)\n"
        "for week in sys.argv[1:]: importlib.import_module(week)\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - sys.stdlib_module_names - {'shared', *sys.argv[1:]}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, *WEEKS], env=environment, capture_output=True, encoding="utf-8")
    assert (done.stdout, done.stderr) == ("[]\n", "")


@every(PROGRAMS)
def test_docstring_of_every_module(path):
    assert (ast.get_docstring(tree_of(path)) or "").strip()


@every(PROGRAMS)
def test_nothing_is_pickled_and_no_text_is_run(path):
    assert not packages(tree_of(path)) & {"pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
    for name, call in calls(tree_of(path)):
        where = f"line {call.lineno}: {name}"
        assert name not in ("eval", "exec"), where
        if name == "torch.load":
            only = keyword(call, "weights_only")
            assert isinstance(only, ast.Constant) and only.value is True, f"{where} without weights_only=True"
        allowed = keyword(call, "allow_pickle")
        # A test may make the very file that a loader has to refuse.
        assert path.name.startswith("test_") or not (isinstance(allowed, ast.Constant) and allowed.value), where


NOT_TEXT = {"tarfile", "zipfile", "Image", "os", "webbrowser", "opener"}
"""Whose `open` has no encoding."""


def needs_encoding(name: str, call: ast.Call) -> bool:
    """Whether a call opens text without saying in which encoding."""
    owner, _, method = name.rpartition(".")
    if keyword(call, "encoding") or owner.rpartition(".")[2] in NOT_TEXT:
        return False
    if method in ("read_text", "write_text"):
        return len(call.args) <= (method == "write_text")
    if method not in ("open", "fdopen"):
        return False
    path_comes_first = name in ("open", "io.open", "gzip.open", "bz2.open", "lzma.open")
    mode = keyword(call, "mode") or next(iter(call.args[path_comes_first:]), None)
    if mode is None:
        return not name.startswith(("gzip", "bz2", "lzma"))
    if not (isinstance(mode, ast.Constant) and isinstance(mode.value, str)):
        return False  # no mode at all, as in archive.open(member), or one that only the run can tell
    if name.startswith(("gzip", "bz2", "lzma")):
        return "t" in mode.value
    return re.fullmatch(r"[rwxa]t?\+?t?", mode.value) is not None


@every(PROGRAMS)
def test_text_is_opened_as_utf_8(path):
    found = [f"line {call.lineno}: {name}" for name, call in calls(tree_of(path)) if needs_encoding(name, call)]
    assert not found, "say encoding='utf-8': the default differs from machine to machine"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("open(p)", True), ("open(p, 'w')", True), ("open(p, mode='a')", True), ("path.open()", True),
        ("path.open('r+')", True), ("a.b().read_text()", True), ("path.write_text(text)", True),
        ("gzip.open(p, 'rt')", True), ("open(p, 'rb')", False), ("path.open('wb')", False), ("gzip.open(p)", False),
        ("open(p, encoding='utf-8')", False), ("path.read_text('utf-8')", False), ("Image.open(p)", False),
        ("path.write_text(text, 'utf-8')", False), ("archive.open(member)", False), ("tarfile.open(p, 'w')", False),
    ],
)  # fmt: skip
def test_the_rule_for_text_knows_text(text, wrong):
    ((name, call), *_) = calls(ast.parse(text))
    assert needs_encoding(name, call) is wrong


# Weeks


@pytest.mark.parametrize("week", WEEKS)
def test_programs_of_a_week(week):
    assert (ROOT / week / "data.py").is_file()
    for program in ("train.py", "eval.py"):
        top = {node.name for node in tree_of(ROOT / week / program).body if hasattr(node, "name")}
        assert {"main", "Config"} <= top, program
    assert list((ROOT / "tests").glob(f"test_{week[:6]}*.py")), "a week without tests"


@every([path for path in PROGRAMS if path.name == "model.py" and path.parent.name in plan.FOLDERS])
def test_length_of_a_model(path):
    assert 75 <= len(path.read_text(encoding="utf-8").splitlines()) <= 350, "split the lesson, or tell more of it"


SECTIONS = {
    "the question of the week": r"question|what you will|at the end",
    "the ideas": r"idea",
    "run it": r"run it",
    "the code in reading order": r"code",
    "experiments to try": r"experiment",
    "exercises": r"exercise",
    "results": r"result",
    "when it goes wrong": r"wrong",
    "paper to code, further reading": r"reading",
    "showing your work": r"showing",
}


def without_code(text: str) -> str:
    """Markdown without what stands in code blocks and between backticks."""
    text = re.sub(r"^( *)(```|~~~).*?^ *\2 *$", "", text, flags=re.M | re.S)
    return re.sub(r"(`+)[^\n]*?\1", "", text)


def headings(page: Path, marks: str = "#+") -> list[str]:
    text = re.sub(r"^( *)(```|~~~).*?^ *\2 *$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.findall(rf"^{marks} +(.+?) *#* *$", text, re.M)


@pytest.mark.parametrize("week", WEEKS)
def test_lesson_has_its_ten_sections_in_order(week):
    found = iter(headings(ROOT / week / "README.md", "##"))
    for section, words in SECTIONS.items():
        assert any(re.search(words, heading, re.I) for heading in found), (
            f"no heading '## …' for '{section}', or not in its place: {list(SECTIONS)}"
        )


@pytest.mark.parametrize("week", WEEKS)
def test_lesson_has_a_picture_of_its_own_and_no_gaps(week):
    text = (ROOT / week / "README.md").read_text(encoding="utf-8")
    assert re.search(r"!\[[^\]]+\]\(figures/[^)]+\.png\)", text), "a picture, with words for those who cannot see it"
    assert not re.search(r"\b(TODO|TBD|FIXME|coming soon)\b", text)


@pytest.mark.parametrize("week", WEEKS)
def test_lesson_begins_with_what_to_start_and_is_no_longer_than_it_may_be(week):
    text = (ROOT / week / "README.md").read_text(encoding="utf-8")
    box = re.search(r"\A# [^\n]+\n+((?:>[^\n]*\n)+)", text)
    assert box and f"./course train {int(week[4:6])}" in box[1], "a box under the title, with the command to start now"
    prose = re.sub(r"(?m)^\|.*$", "", re.sub(r"(?s)```.*?```", "", text))
    assert len(prose.split()) <= 4000, "tables and code apart"
    assert (ROOT / week / "RESULTS.md").is_file()


@pytest.mark.parametrize("week", WEEKS)
def test_markers_of_the_results_come_in_pairs(week):
    text = (ROOT / week / "RESULTS.md").read_text(encoding="utf-8")
    begins = re.findall(r"<!-- ([^/][^>]*?) -->", text)
    assert begins and begins == re.findall(r"<!-- /([^>]*?) -->", text) and len(set(begins)) == len(begins)


# Pages


def anchors(page: Path) -> set[str]:
    """What one can link to on a page: its headings, spelled as GitHub does."""
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings(page)]
    given = re.findall(r'<a +(?:id|name)="([^"]+)"', page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain} | set(given)


def links(page: Path) -> list[str]:
    """The links and pictures of a page that lead into this repository."""
    text = without_code(page.read_text(encoding="utf-8"))
    found = re.findall(r"\]\(<?([^)\s>]+)", text)  # [text](target "title") and ![text](target)
    found += re.findall(r"^\[[^\]]+\]: +<?([^\s>]+)", text, re.M)  # [text]: target
    found += re.findall(r'(?:src|href|srcset)="([^"]+)"', text)
    return [link for link in found if not re.match(r"[a-z][a-z+.-]*:|//", link)]


@every(PAGES)
def test_no_dead_links(path):
    known = set(files()) | {parent for file in files() for parent in file.parents}
    later = {ROOT / week / "README.md" for week in plan.FOLDERS if week not in WEEKS}  # weeks that are not here yet
    dead = []
    for link in links(path):
        target, _, anchor = link.partition("#")
        there = Path(os.path.normpath(path.parent / target)) if target else path
        if there in later:
            continue
        if there not in known or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
            dead.append(link)
    assert not dead


def test_dead_links_are_found(tmp_path):
    page = tmp_path / "a.md"
    page.write_text(
        "# The `code`, in *order*\n[a](b.md) ![c](figures/d.png 'e') <img src=\"f.png\"> [g](#the-code-in-order)\n"
        "[web](https://example.org/h.md) `[i](j.md)`\n```\n# no heading\n[k](l.md)\n```\n[m]: n.md\n",
        encoding="utf-8",
    )
    assert links(page) == ["b.md", "figures/d.png", "#the-code-in-order", "n.md", "f.png"]
    assert anchors(page) == {"the-code-in-order"}


# The table in the README


def test_readme_shows_the_weeks_as_they_are():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme_table.between(text) == readme_table.table(), "run `python -m shared.readme_table`"


def test_table_has_a_row_for_every_week(monkeypatch):
    here = plan.Week(3, "A | B", "c", "1 s", "99 %", "figures/d.png", ())
    monkeypatch.setattr(plan, "week", lambda number: here if number == 3 else None)
    head, rule, *rows = readme_table.table().splitlines()
    assert head == "| week | lesson | command | time | result | picture |"
    assert rule == "| --- | --- | --- | --- | --- | --- |"
    assert len(rows) == 16
    assert rows[0] == "| 1 | week01_numpy_mlp: not here yet |  |  |  |  |"
    assert rows[2] == (
        r"| 3 | [**A \| B**](week03_lstm/README.md)<br>c | `./course train 3` | 1 s | 99 % | "
        r'<img src="week03_lstm/figures/d.png" alt="A \| B" width="200"> |'
    )


def test_table_is_written_between_the_markers(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# Ü\n\n<!-- weeks -->\nold\n<!-- /weeks -->\n\nthe end\n", encoding="utf-8")
    for _ in range(2):  # and a second time changes nothing
        readme_table.rewrite(readme)
        text = readme.read_text(encoding="utf-8")
        assert text == f"# Ü\n\n<!-- weeks -->\n{readme_table.table()}\n<!-- /weeks -->\n\nthe end\n"


@pytest.mark.parametrize(
    "text", ["", "<!-- weeks -->", "<!-- /weeks --><!-- weeks -->", "<!-- weeks --><!-- weeks --><!-- /weeks -->"]
)
def test_readme_without_its_markers_is_left_alone(tmp_path, text):
    readme = tmp_path / "README.md"
    readme.write_text(text, encoding="utf-8")
    with pytest.raises(CourseError) as caught:
        readme_table.rewrite(readme)
    assert str(caught.value) == (
        "README.md needs the lines <!-- weeks --> and <!-- /weeks --> once each, around the table of the weeks."
    )
    assert readme.read_text(encoding="utf-8") == text


def test_no_readme(tmp_path):
    with pytest.raises(CourseError, match=r"README\.md is not there: write it first"):
        readme_table.rewrite(tmp_path / "README.md")


# Bundled data


def sources() -> list[dict[str, str]]:
    """The rows of SOURCES.md."""
    lines = (SAMPLES / "SOURCES.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def samples() -> list[Path]:
    return [path for path in files() if SAMPLES in path.parents and path.suffix != ".py" and path.name != "SOURCES.md"]


def test_every_sample_is_listed_and_every_listed_one_is_there():
    assert sorted(row["file"] for row in sources()) == sorted(p.relative_to(SAMPLES).as_posix() for p in samples())


@pytest.mark.parametrize("row", sources(), ids=lambda row: row["file"])
def test_sample_is_the_listed_one(row):
    content = (SAMPLES / row["file"]).read_bytes()
    assert (row["bytes"], row["sha256"]) == (str(len(content)), hashlib.sha256(content).hexdigest())
    assert row["what"] and row["origin"] and row["licence"]
    script = re.search(r"\w+\.py", row["cut by"])
    assert script and (SAMPLES / script[0]) in files(), "the script that cut it is committed beside it"


def test_samples_are_small():
    assert sum(path.stat().st_size for path in samples()) <= 40_000_000
