"""The exercise mechanism, on a week made up for it in a small copy of the repository."""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared import exercise, exercise_check, exercise_diff
from shared.errors import CourseError
from shared.exercise_check import Outcome
from shared.files import ROOT

MODEL = '''"""A made-up model."""


def add(a: float, b: float) -> float:
    """The sum."""
    # exercise 1: a sum of two numbers
    # Return a "plus" b, both numbers, as a number; this text goes on for so long that it does not fit into one line of
    # 120 characters, and so must be wrapped.
    # TAB

    # the secret of the sum
    return a + b
    # end of exercise 1


class Statistics:
    def mean(self, values: list) -> float:
        total = 0.0
        if values:
            # exercise 2: the mean, its sum
            # Add the values up with `add`.
            for value in values:
                total = add(total, value)
            # end of exercise 2
        return total / len(values)

    def double_mean(self, values: list) -> float:
        # exercise 2: the mean, doubled
        # Return twice the mean.
        return 2 * self.mean(values)
        # end of exercise 2


def negative(a: float) -> float:
    # exercise 3: a sign
    # Return minus a.
    return -a
    # end of exercise 3
'''.replace("TAB", "A backslash: \\t.")

TESTS = '''"""Tests of the made-up week."""

import numpy as np
import pytest

from week01_numpy_mlp.model import Statistics, add, negative
from week01_numpy_mlp.helper import HELP


@pytest.mark.exercise(1)
def test_add():
    assert add(1.0, 2.0) == 3.0, "1 + 2 is 3"


@pytest.mark.exercise(1)
def test_add_negative():
    assert add(1.0, -2.0) == -1.0


@pytest.fixture
def mean():
    return Statistics().mean([1.0, 3.0])


@pytest.mark.exercise(2)
def test_mean(mean):
    np.testing.assert_allclose(mean, 2.0)


@pytest.mark.exercise(2)
def test_double_mean():
    assert Statistics().double_mean([1.0, 3.0]) == 4.0


@pytest.mark.exercise(3)
def test_negative():
    assert negative(2.0) == -2.0


def test_that_is_no_exercise():
    assert HELP == "not run by check"
'''

TRAIN = '''"""Says what it was given, and whose model it has."""

import sys

from week01_numpy_mlp import helper, model

print(__name__, sys.argv[1:], model.__file__, helper.__file__)
sys.exit(7)
'''


SHARED = ROOT / "shared"


@pytest.fixture
def house(tmp_path):
    """A small copy of the repository with one made-up week."""
    root = tmp_path / "a house"
    modules = [
        "__init__",
        "errors",
        "files",
        "plan",
        "starting",
        "terminal",
        *(path.stem for path in SHARED.glob("exercise*.py")),
    ]
    for name in [*(f"shared/{module}.py" for module in modules), "conftest.py", "tests/conftest.py", "pyproject.toml"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    week = {
        "__init__.py": '"""A week."""\nfrom shared.plan import Week\n'
        'WEEK = Week(1, "A week", "", "", "", "", (), mine="--impl scratch")\n',
        "model.py": MODEL,
        "train.py": TRAIN,
        "helper.py": '"""Help."""\n\nHELP = ""\n',
    }
    for name, text in week.items():
        (root / "week01_numpy_mlp" / name).parent.mkdir(exist_ok=True)
        (root / "week01_numpy_mlp" / name).write_text(text, encoding="utf-8")
    (root / "shared/repeat.py").write_text(TRAIN, encoding="utf-8")
    (root / "tests/test_week01_made_up.py").write_text(TESTS, encoding="utf-8")
    return root


def run(house, *arguments, encoding="utf-8"):
    """`python -m shared.exercise_commands …` in the copy: (exit code, stdout, stderr)."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONUTF8")}
    done = subprocess.run(
        [sys.executable, "-m", "shared.exercise_commands", *arguments],
        cwd=house,
        env={**environment, "PYTHONIOENCODING": encoding},
        capture_output=True,
        encoding=encoding,
    )
    return done.returncode, done.stdout, done.stderr


def mine(house):
    return house / "exercises" / "week01" / "model.py"


def put(house, text):
    """Writes the learner's model."""
    mine(house).parent.mkdir(parents=True, exist_ok=True)
    mine(house).write_text(text, encoding="utf-8")


def progress(house):
    return json.loads((house / "exercises/week01/progress.json").read_text(encoding="utf-8"))


def lines_of(check_output):
    return [line for line in check_output.splitlines() if line.startswith(("✓", "✗", "·"))]


# From the reference to the stub


def test_pieces_have_number_title_file_and_task(house):
    found = exercise.pieces(house / "week01_numpy_mlp")
    assert [(piece.number, piece.title, piece.file) for piece in found] == [
        (1, "a sum of two numbers", "model.py"),
        (2, "the mean, its sum", "model.py"),
        (2, "the mean, doubled", "model.py"),
        (3, "a sign", "model.py"),
    ]
    assert found[1].text == "Add the values up with `add`."
    assert found[0].text.startswith('Return a "plus" b, both') and found[0].text.endswith("wrapped. A backslash: \\t.")


def test_stub_keeps_all_but_the_solutions():
    text = exercise.stub(MODEL)
    for solution in ("secret of the sum", "return a + b", "total = add", "2 * self.mean", "return -a"):
        assert solution in MODEL and solution not in text
    outside = [line for line in MODEL.splitlines() if "def " in line or line.strip().startswith(("#", "total = 0.0"))]
    for line in outside:
        assert line in text.splitlines() or "secret" in line
    assert max(map(len, text.splitlines())) <= 120
    raised = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Raise)]
    assert len(raised) == 4
    message = next(n.exc.args[0].value for n in raised if n.exc.args[0].value.startswith("exercise 1"))
    assert message == f"exercise 1, a sum of two numbers: {exercise.regions(MODEL, 'model.py')[0].text}"


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
            "m.py:2: exercise 1 has no task (comment lines right after the marker).",
        ),
        (inside("pass", "# exercise 1: a", "# Do.", "", "# end of exercise 1"), "m.py:3: exercise 1 has no solution."),
        (
            "# exercise 1: a\n# Do.\nx = 1\n# end of exercise 1\n",
            "m.py:1: exercise 1 must stand inside a function.",
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
    assert out.endswith("\nThen: ./course check 1\n")
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
    assert states("    # Return minus a.\n", "") == [same] * 4, "the task is no part of the solution"
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


# check


TESTING = "testing exercises/week01 (some seconds) ...\n"


def test_check_of_fresh_stubs(house):
    run(house, "write", "1")
    code, out, err = run(house, "check", "1")
    assert (code, err) == (1, ""), "it needs no tests to see that"
    assert [line.split(" (")[0] for line in lines_of(out)] == [
        "· 1 a sum of two numbers            not written yet",
        "· 2 the mean, its sum, and 1 more   not written yet",
        "· 3 a sign                          not written yet",
    ]
    assert "(exercises/week01/model.py:" in out
    assert progress(house) == {"1": "not written", "2": "not written", "3": "not written"}


def test_check_of_the_solution_passes_and_congratulates(house):
    put(house, MODEL)
    other = house / "tests/test_week01_other.py"  # without an exercise in it
    other.write_text("raise ImportError('it was loaded')\n", encoding="utf-8")
    code, out, err = run(house, "check", "1", encoding="ascii")
    assert (code, err) == (0, TESTING)
    assert out.splitlines() == [
        "+ 1 a sum of two numbers            passed (2 tests)",
        "+ 2 the mean, its sum, and 1 more   passed (2 tests)",
        "+ 3 a sign                          passed (1 test)",
        "",
        "Well done: the core of week 1 is yours. See it learn: ./course train 1 --mine --impl scratch",
    ]
    assert progress(house) == {"1": "passed", "2": "passed", "3": "passed"}


def test_check_tells_what_failed_what_waits_and_where(house):
    stub = exercise.stub(MODEL).split("def negative")[0]
    start = stub.index("            raise NotImpl")
    stub = stub[:start] + MODEL[MODEL.index("            for value") : MODEL.index("def negative")]
    put(house, stub + "def negative(a: float) -> float:\n    return a.minus\n")
    code, out, _ = run(house, "check", "1")
    assert code == 1
    one, two, three = lines_of(out)
    assert one.startswith("· 1 ") and "not written yet (exercises/week01/model.py:10)" in one
    assert two == "· 2 the mean, its sum, and 1 more   waits for exercise 1"
    line = len((stub + "x\nx").splitlines())
    failed = f"failed: AttributeError: 'float' object has no attribute 'minus' (exercises/week01/model.py:{line})"
    assert three == f"✗ 3 a sign                          {failed}"
    assert out.endswith("\nThe whole story: ./course test 1 -m exercise --mine exercises/week01\n")
    assert progress(house) == {"1": "not written", "2": "waits", "3": "failed"}


def test_check_gives_the_first_helpful_line_of_an_assertion(house):
    put(house, MODEL.replace("return a + b", "return a - b").replace("return -a", "return str(a)"))
    code, out, _ = run(house, "check", "1")
    one, two, three = lines_of(out)
    assert code == 1
    assert one.endswith("   failed: 1 + 2 is 3; assert -1.0 == 3.0; + where -1.0 = add(1.0, 2.0) (test_add)")
    assert "failed: Not equal to tolerance rtol=1e-07, atol=0; Mismatched elements: 1 / 1 (100%); " in two
    assert two.endswith("(test_mean)")
    assert "failed: " in three and "type" in three.lower()  # the annotations of the learner's file are checked as well


def shorten(house, module, name, seconds):
    """Lowers a time limit of check in the copy."""
    path = house / "shared" / module
    text, found = re.subn(rf"^{name} = \d+", f"{name} = {seconds}", path.read_text(encoding="utf-8"), flags=re.M)
    assert found == 1
    path.write_text(text, encoding="utf-8")


ENDLESS = MODEL.replace("    return a + b", "    while True:\n        a += b")


@pytest.mark.skipif(not hasattr(signal, "SIGPROF"), reason="needs POSIX signals")
def test_check_names_the_loop_that_never_ends_and_goes_on(house):
    shorten(house, "exercise_clock.py", "TEST_SECONDS", 0.3)
    put(house, ENDLESS)
    code, out, _ = run(house, "check", "1")
    assert code == 1
    one, two, three = lines_of(out)
    line = ENDLESS.splitlines().index("    while True:") + 1
    said = "failed: does not end within 0.3 s: a loop in your code never ends (exercises/week01/model.py:"
    assert said in one and one.endswith((f":{line})", f":{line + 1})"))
    assert said in two
    assert three.endswith("passed (1 test)")


def test_check_ends_when_the_tests_do_not(house):
    shorten(house, "exercise_check.py", "RUN_SECONDS", 1)
    put(house, ENDLESS)
    code, out, err = run(house, "check", "1")
    assert (code, err) == (1, TESTING)
    assert out.startswith("✗ the tests did not end within 1 s: a loop in your code never ends, or something else")


EARLY = "error: the tests ended early, with {}, in {}: os._exit or a crash in your code?\n"


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
@pytest.mark.parametrize(
    ("text", "how", "where"),
    [
        (MODEL.replace("return a + b", "__import__('os')._exit(3)"), "exit code 3", "test_add (exercise 1)"),
        (MODEL + "import signal\nsignal.raise_signal(11)\n", "signal 11", "the loading of your files"),
    ],
)
def test_check_of_code_that_ends_the_tests_is_one_line(house, text, how, where):
    put(house, text)
    assert run(house, "check", "1") == (2, "", TESTING + EARLY.format(how, where))


def test_check_does_not_wait_for_a_thread_that_was_left_behind(house):
    thread = "    t = __import__('threading'); t.Thread(target=t.Event().wait).start()\n"
    put(house, MODEL.replace("    return a + b", f"{thread}    return a + b"))
    code, out, _ = run(house, "check", "1")
    assert code == 0
    assert out.startswith("note: a thread that your code has started was still running at the end.\n✓ 1 ")


def test_a_file_with_a_byte_order_mark_is_read(house):
    put(house, "\ufeff" + MODEL)
    code, out, _ = run(house, "check", "1")
    assert code == 0 and "Well done" in out
    assert run(house, "diff", "1")[1].startswith("Your files are the same as the reference.")


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ndef add(:\n", "error: exercises/week01/model.py:2: this is not valid Python (invalid syntax).\n"),
        (
            MODEL + "\nundefined_name\n",
            "error: exercises/week01/model.py:40: NameError: name 'undefined_name' is not defined"
            " (no test could start).\n",
        ),
        (
            '"""Nothing."""\n\nimport nothing_of_the_kind\n',
            "error: exercises/week01/model.py:3: ModuleNotFoundError: No module named 'nothing_of_the_kind'"
            " (no test could start).\n",
        ),
    ],
)
def test_a_file_that_does_not_load_is_one_line_with_its_place(house, text, message):
    put(house, text)
    code, out, err = run(house, "check", "1")
    assert (code, out, err.removeprefix(TESTING)) == (2, "", message)


def test_a_name_that_is_gone_is_one_line(house):
    put(house, MODEL.replace("def negative", "def positive"))
    code, out, err = run(house, "check", "1")
    err = err.removeprefix(TESTING)
    assert (code, out) == (2, "")
    assert err.startswith("error: tests.test_week01_made_up: ImportError: cannot import name 'negative' from")
    assert err.count("\n") == 1


def test_the_whole_is_said_in_one_line_when_there_is_nothing_to_work_on(house):
    for command in (["check", "1"], ["diff", "1"], ["run", "1", "train"]):
        message = "error: no exercises in exercises/week01 yet: run ./course exercise 1 first.\n"
        assert run(house, *command) == (2, "", message)
    assert run(house, "check", "2") == (2, "", "error: week 2 has no exercises yet.\n")
    assert run(house, "check", "17") == (2, "", "error: '17' is no week: write a number from 1 to 16.\n")
    code, _, err = run(house, "chekc", "1")
    assert (code, err[:13]) == (2, "error: usage:")


def test_judge_counts_a_missing_file_as_not_written_and_no_test_as_failed(house):
    todo, folder = exercise.pieces(house / "week01_numpy_mlp"), house / "exercises" / "week01"
    assert {status for status, _ in exercise_check.judge(todo, folder, []).values()} == {"not written"}
    put(house, MODEL)
    outcomes = [
        Outcome(1, "test_a", "skipped"),
        Outcome(2, "test_b", "passed"),
        Outcome(2, "test_c", "failed", "NotImplementedError: exercise 1, a sum: Add."),
        Outcome(
            2,
            "test_d",
            "failed",
            "AssertionError: \n\nshapes differ\nassert not True\n + where True = <f at 0x7f>\nmore",
        ),
        Outcome(3, "test_e", "failed", "NotImplementedError: exercise 3, a sign: Change it."),
    ]
    verdicts = exercise_check.judge(todo, folder, outcomes)
    assert verdicts[1] == ("failed", "failed: none of its tests ran here")
    said = "failed: shapes differ; more (test_d)"
    assert verdicts[2] == ("failed", said)
    assert verdicts[3][0] == "not written"


# The learner's files in front


WITH_OWN_CODE = "with your own code: exercises/week01/model.py\n"


def test_run_starts_the_program_with_the_learners_model(house):
    put(house, MODEL)
    code, out, err = run(house, "run", "1", "train", "--epochs", "3")
    assert (code, err) == (7, "")
    helper = house / "week01_numpy_mlp" / "helper.py"
    assert out == f"{WITH_OWN_CODE}__main__ ['--epochs', '3'] {mine(house)} {helper}\n"
    message = "error: week 1 has no program 'trian': ./course run 1 says which it has.\n"
    assert run(house, "run", "1", "trian") == (2, "", message)
    code, out, err = run(house, "run", "1", "repeat", "--seeds", "2")
    assert (code, err) == (7, "")
    assert out == f"{WITH_OWN_CODE}__main__ ['1', '--seeds', '2'] {mine(house)} {helper}\n"


def test_run_that_comes_to_an_unwritten_piece_is_one_line(house):
    run(house, "write", "1")
    train = house / "week01_numpy_mlp" / "train.py"
    train.write_text("from week01_numpy_mlp import model\n\nmodel.add(1.0, 2.0)\n", encoding="utf-8")
    place = "(exercises/week01/model.py:10)"
    message = f"error: exercise 1, a sum of two numbers, is not written yet {place}: see ./course check 1\n"
    assert run(house, "run", "1", "train") == (2, WITH_OWN_CODE, message)


def test_pytests_own_remarks_are_not_repeated(tmp_path):
    message = "AssertionError: dW is wrong\n...Full output truncated (2 lines hidden), use '-vv' to show\n"
    outcome = Outcome(2, "test_dW", "failed", message + "[+2 more lines; full report in element text]")
    assert exercise_check.helpful(outcome, tmp_path / "week01") == "dW is wrong (test_dW)"


def test_use_prefers_the_learners_file_and_falls_through_for_the_rest(tmp_path, monkeypatch):
    package, folder = tmp_path / "made_up_week", tmp_path / "week01"
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
        exercise.use("made_up_week", folder)
        from made_up_week import data, model

        assert (model.OWNER, data.OWNER, data.model) == ("learner", "reference", model)
        with pytest.raises(CourseError, match=r"^made_up_week\.data is loaded already: put the exercises in front"):
            exercise.use("made_up_week", folder)
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "made_up_week"]:
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
    assert Path(os.environ["COURSE_HOME"]).is_dir() and not any(Path(os.environ["COURSE_HOME"]).iterdir())
    assert os.environ["MPLBACKEND"] == "Agg"
