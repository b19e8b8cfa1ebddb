"""Exercises: from the reference to the stub, the learner's files beside it and in front of it."""

import ast
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from made_up_week import MODEL, build, mine, put, run

from shared import exercise, exercise_diff
from shared.errors import CourseError
from shared.files import ROOT


@pytest.fixture
def house(tmp_path):
    return build(tmp_path)


# From the reference to the stub


def test_pieces_have_number_title_file_contract_and_hint(house):
    found = exercise.pieces(house / "week01_numpy_mlp")
    assert [(piece.number, piece.title, piece.file) for piece in found] == [
        (1, "a sum of two numbers", "model.py"),
        (2, "the mean, its sum", "model.py"),
        (2, "the mean, doubled", "model.py"),
        (3, "a sign", "model.py"),
    ]
    assert found[1].function == "Statistics.mean"
    assert (found[1].contract, found[1].hint) == (
        "the values -> their sum, in `total`",
        "Add the values up with `add`.",
    )
    assert found[0].contract == 'two numbers -> a "sum", as a number A backslash: \\t.'
    assert found[0].hint.startswith('write a "plus" b;') and found[0].hint.endswith(
        "80 characters, and so must be wrapped."
    )
    assert found[2].hint == ""


def test_stub_keeps_all_but_the_solutions():
    text = exercise.stub(MODEL)
    for solution in (
        "secret of the sum",
        "return a + b",
        "total = add",
        "2 * self.mean",
        "return -a",
        "# hint",
        "and so",
    ):
        assert solution in MODEL and solution not in text
    kept = [line for line in MODEL.splitlines() if "def " in line or "# exercise" in line or " -> " in line]
    assert set(kept) <= set(text.splitlines()) and "    # A backslash: \\t." in text
    assert max(map(len, text.splitlines())) <= 120
    raised = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Raise)]
    assert len(raised) == 4
    assert [node.exc.args[0].value for node in raised] == [
        f"exercise {title}"
        for title in ("1, a sum of two numbers", "3, a sign", "2, the mean, doubled", "2, the mean, its sum")
    ]


def test_stub_of_a_file_without_pieces_is_the_file():
    assert exercise.stub("x = 1\n") == "x = 1\n"


def inside(*lines):
    return "def f():\n" + "".join(f"    {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (inside("# exercise 1: a", "# Do.", "pass"), "m.py:2: exercise 1 has no '# end of exercise 1'."),
        (inside("pass", "# end of exercise 1"), "m.py:3: exercise 1 ends here, but none is open."),
        (
            inside("# exercise 1: a", "# Do.", "pass", "# end of exercise 2"),
            "m.py:5: exercise 2 ends here, but exercise 1 is open.",
        ),
        (
            inside("# exercise 1: a", "# Do.", "pass", "# exercise 2: b"),
            "m.py:5: exercise 2 begins inside exercise 1.",
        ),
        (
            inside("#Exercise 1 - a", "pass"),
            "m.py:2: write a marker as '# exercise 1: title' or '# end of exercise 1'.",
        ),
        (
            inside("# exercise 1: a", "pass", "# end of exercise 1"),
            "m.py:2: exercise 1 has no contract (comment lines right after the marker).",
        ),
        (
            inside("pass", "# exercise 1: a", "# Do.", "", "# end of exercise 1", "pass"),
            "m.py:3: exercise 1 has no solution.",
        ),
        (
            "# exercise 1: a\n# Do.\nx = 1\n# end of exercise 1\n",
            "m.py:1: exercise 1 must stand inside a function.",
        ),
        (
            inside(*2 * ("# exercise 1: a", "# Do.", "pass", "# end of exercise 1")),
            "m.py:6: two regions are called 'a': give each a name of its own.",
        ),
        ("x = (\n", "m.py:1: this is not valid Python ('(' was never closed)."),
    ],
)
def test_malformed_markers_are_named_with_file_and_line(text, message):
    with pytest.raises(CourseError) as error:
        exercise.regions(text, "m.py")
    assert str(error.value) == message


# write and diff


def test_write_says_what_to_do_and_never_overwrites(house):
    code, out, err = run(house, "write", "1")
    assert (code, err) == (0, "")
    assert mine(house).read_text(encoding="utf-8") == exercise.stub(MODEL)
    assert [path.name for path in mine(house).parent.iterdir()] == ["model.py"]  # helper.py and train.py have no piece
    assert out.splitlines()[0] == "wrote  exercises/week01/model.py"
    assert out.endswith("\nThen: ./course check 1. Where you are stuck on one: ./course hint 1 1\n")
    lines = mine(house).read_text(encoding="utf-8").splitlines()
    places = [line.rsplit(":", 1) for line in out.splitlines() if line.startswith("  ")]
    assert [lines[int(line) - 1].strip() for _, line in places] == [
        "# exercise 1: a sum of two numbers",
        "# exercise 2: the mean, its sum",
        "# exercise 2: the mean, doubled",
        "# exercise 3: a sign",
    ]

    put(house, "mine = 1\n")
    code, out, err = run(house, "write", "1")
    assert (code, err) == (0, "")
    assert mine(house).read_text(encoding="utf-8") == "mine = 1\n"
    kept = "kept   exercises/week01/model.py: it is yours (to start over, move it away and run this again)"
    assert out.splitlines()[0] == kept


def test_diff_shows_changed_lines_only(house):
    put(house, MODEL.replace("return -a", "return 0 - a"))
    code, out, err = run(house, "diff", "1")
    assert (code, err) == (0, "")
    changed = [line for line in out.splitlines() if line.startswith(("-", "+"))]
    assert changed == [
        "--- exercises/week01/model.py",
        "+++ week01_numpy_mlp/model.py",
        "-    return 0 - a",
        "+    return -a",
    ]
    assert "def add" not in out and "\33" not in out
    assert out.endswith("""
Piece by piece:
  1 a sum of two numbers   the same as the reference
  2 the mean, its sum      the same as the reference
  2 the mean, doubled      the same as the reference
  3 a sign                 written differently
""")
    put(house, MODEL)
    assert run(house, "diff", "1") == (0, "Your files are the same as the reference.\n", "")


def test_diff_gives_no_solution_of_an_unwritten_piece_away(house):
    run(house, "write", "1")
    code, out, err = run(house, "diff", "1")
    assert (code, err) == (0, "")
    first, *pieces = out.splitlines()
    assert first == "Piece by piece:" and len(pieces) == 4
    assert all(line.endswith("   not written yet, and left out here") for line in pieces)
    stub = mine(house).read_text(encoding="utf-8").split("def negative")[0]
    put(house, stub + MODEL[MODEL.index("def negative") :].replace("return -a", "return 0 - a"))
    code, out, err = run(house, "diff", "1")
    assert (code, err) == (0, "")
    changed = [line for line in out.splitlines() if line.startswith(("-", "+"))]
    assert changed[2:] == ["-    return 0 - a", "+    return -a"]
    assert out.count("not written yet, and left out here\n") == 3
    assert out.endswith("\n  3 a sign                 written differently\n")
    assert "return a + b" not in out and "self.mean" not in out


def test_pieces_are_the_same_whatever_their_comments_and_line_breaks(tmp_path):
    week, folder = tmp_path / "week", tmp_path / "mine"
    for place, text in ((week, MODEL), (folder, MODEL)):
        place.mkdir()
        (place / "model.py").write_text(text, encoding="utf-8")

    def states(old, new):
        assert old in MODEL
        (folder / "model.py").write_text(MODEL.replace(old, new), encoding="utf-8")
        return list(exercise_diff.states(week, folder).values())

    same = exercise_diff.SAME
    assert states("    return -a\n", "    # minus\n    return (\n        -a  # a\n    )\n") == [same] * 4
    assert states("    # a number -> minus that\n", "") == [same] * 4, "the contract is no part of the solution"
    assert states("return -a", "return 0 - a") == [same] * 3 + ["written differently"]
    gone = "its lines '# exercise …' and '# end of exercise …' are gone from your file"
    assert states("    # exercise 3: a sign\n", "") == [same] * 3 + [gone]
    (folder / "model.py").unlink()
    assert exercise_diff.states(week, folder) == {}, "a file that the learner has not got"


def test_a_region_that_is_no_whole_statement_is_compared_too():
    text = "def f(x):\n    if x:\n        y = 1\n    # exercise 1: otherwise\n{}    # end of exercise 1\n    return y\n"
    one, same, other = (text.format(f"    else:\n        y = {y}\n") for y in ("2", "2  ", "3"))
    assert exercise_diff.solutions(one) == exercise_diff.solutions(same) != exercise_diff.solutions(other)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_output_into_a_pipe_that_closes_ends_quietly(house):
    put(house, "".join(f"x{i} = {i}\n" for i in range(20_000)))
    command = [sys.executable, "-m", "shared.exercise_commands", "diff", "1"]
    with subprocess.Popen(command, cwd=house, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


# The learner's files in front


WITH_OWN_CODE = "with your own code: exercises/week01/model.py\n"


def test_run_starts_the_program_with_the_learners_model(house):
    put(house, MODEL)
    code, out, err = run(house, "run", "exercises/week01", "train", "--epochs", "3")
    assert (code, err) == (7, "")
    helper = house / "week01_numpy_mlp" / "helper.py"
    assert out == f"{WITH_OWN_CODE}__main__ ['--epochs', '3'] {mine(house)} {helper}\n"
    message = "error: week 1 has no program 'trian': ./course run 1 says which it has.\n"
    assert run(house, "run", "exercises/week01", "trian") == (2, "", message)
    code, out, err = run(house, "run", "exercises/week01", "repeat", "--seeds", "2")
    assert (code, err) == (7, "")
    assert out == f"{WITH_OWN_CODE}__main__ ['1', '--seeds', '2'] {mine(house)} {helper}\n"


def test_run_that_comes_to_an_unwritten_piece_is_one_line(house):
    run(house, "write", "1")
    train = house / "week01_numpy_mlp" / "train.py"
    train.write_text("from week01_numpy_mlp import model\n\nmodel.add(1.0, 2.0)\n", encoding="utf-8")
    place = "(exercises/week01/model.py:9)"
    message = f"error: exercise 1, a sum of two numbers, is not written yet {place}: see ./course check 1\n"
    assert run(house, "run", "exercises/week01", "train") == (2, WITH_OWN_CODE, message)


def test_a_program_among_the_exercises_does_not_run_the_reference(tmp_path):
    """Week 2's train.py has pieces: its copy, started as a file, would train the rest of the week as it is."""
    copy = tmp_path / "exercises" / "week02" / "train.py"
    copy.parent.mkdir(parents=True)
    (tmp_path / "shared").symlink_to(ROOT / "shared")
    reference = (ROOT / "week02_cnn" / "train.py").read_text(encoding="utf-8")
    copy.write_text(exercise.stub(exercise.as_copy(reference)), encoding="utf-8")
    done = subprocess.run([sys.executable, copy], capture_output=True, encoding="utf-8", cwd=tmp_path)
    line = "error: train.py is one file of a program: run it as ./course train 2 --mine\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


def test_use_prefers_the_learners_file_and_falls_through_for_the_rest(tmp_path, monkeypatch):
    package, folder = tmp_path / "invented_week", tmp_path / "week01"
    for path, text in {
        package / "__init__.py": "",
        package / "model.py": "OWNER = 'reference'\n",
        package / "data.py": "from . import model\nOWNER = 'reference'\n",
        folder / "model.py": "from . import data\nOWNER = 'learner'\n",
    }.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        exercise.use("invented_week", folder)
        from invented_week import data, model

        assert (model.OWNER, data.OWNER, data.model) == ("learner", "reference", model)
        with pytest.raises(CourseError, match=r"^invented_week\.data is loaded already: put the exercises in front"):
            exercise.use("invented_week", folder)
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "invented_week"]:
            del sys.modules[name]


def test_pytest_with_mine_runs_all_of_the_weeks_tests_on_the_learners_files(house):
    put(house, MODEL.replace("return -a", "return a"))
    record = house / "runs"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    environment = {**os.environ, "COURSE_RECORD_TESTS": str(record)}

    def pytest_says(*arguments):
        done = subprocess.run([*command, *arguments], cwd=house, env=environment, capture_output=True, encoding="utf-8")
        return done.stdout + done.stderr

    said = pytest_says("--mine", "exercises/week01")
    assert "FAILED tests/test_week01_made_up.py::test_negative" in said and "2 failed, 4 passed" in said
    assert not record.exists()  # the learner's results are not the repository's
    said = pytest_says("--mine", "exercises/elsewhere")
    assert said == "ERROR: 'elsewhere' is no week: write a number from 1 to 16.\n\n"

    (house / "tests/test_shared_made_up.py").write_text(
        "import pytest\n\ndef test_a(): pass\n\n@pytest.mark.skip\ndef test_b(): pass\n", encoding="utf-8"
    )
    record.mkdir()
    (record / "tests.json").write_text('{"week02": {"passed": 1, "failed": 0, "skipped": 0}}', encoding="utf-8")
    pytest_says()
    assert json.loads((record / "tests.json").read_text(encoding="utf-8")) == {
        "week02": {"passed": 1, "failed": 0, "skipped": 0},
        "week01": {"passed": 5, "failed": 1, "skipped": 0},
        "shared": {"passed": 1, "failed": 0, "skipped": 1},
    }


# conftest: no network, types checked, no one's cache


def test_network_is_closed_except_loopback():
    import socket
    import urllib.request

    message = r"^a test tried to reach (example\.org|192\.0\.2\.1): tests use no network but loopback\.$"
    with pytest.raises(RuntimeError, match=message):
        urllib.request.urlopen("http://example.org", timeout=1)
    with socket.socket() as far, pytest.raises(RuntimeError, match=message):
        far.connect(("192.0.2.1", 80))
    with socket.socket(type=socket.SOCK_DGRAM) as far, pytest.raises(RuntimeError, match=message):
        far.sendto(b"hello", ("192.0.2.1", 80))
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            client.sendall(b"hello")
            assert accepted.recv(5) == b"hello"


def test_types_are_checked_and_the_cache_is_not_the_persons():
    from jaxtyping import TypeCheckError

    with pytest.raises(TypeCheckError):
        exercise.number_of(1)
    home = Path(os.environ["COURSE_HOME"])
    assert home.is_dir() and home.parent == Path(tempfile.gettempdir()) and home.name.startswith("course-home-")
    assert os.environ["MPLBACKEND"] == "Agg"
