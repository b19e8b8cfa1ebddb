"""`./course check`, `hint` and `bugs`: what each says of a learner's file."""

import json
import os
import re
import signal
import sys
from typing import Any

import numpy as np
import pytest
from beartype import beartype
from jaxtyping import Float, Float32, TypeCheckError, jaxtyped
from made_up_week import MODEL, MODEL_WITHOUT_HINTS, build, lines_of, mine, progress, put, run

from shared import exercise, exercise_check, exercise_hint, type_words
from shared.exercise_check import Outcome


@pytest.fixture
def house(tmp_path):
    return build(tmp_path)


# check


TESTING = "testing exercises/week01 (some seconds) ...\n"


def test_check_of_fresh_stubs(house):
    run(house, "write", "1")
    code, out, err = run(house, "check", "1")
    assert (code, err) == (1, ""), "it needs no tests to see that"
    assert [line.split(" (")[0] for line in lines_of(out)] == [
        "· 1 a sum of two numbers   not written yet",
        "· 2 the mean               not written yet",
        "· 3 a sign                 not written yet",
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
        "+ 1 a sum of two numbers   passed (2 tests)",
        "+ 2 the mean               passed (2 tests)",
        "+ 3 a sign                 passed (1 test)",
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
    one, two, _ = lines_of(out)
    assert one.startswith("· 1 ") and "not written yet (exercises/week01/model.py:9)" in one
    assert two == "· 2 the mean               waits for exercise 1"
    line = len((stub + "x\nx").splitlines())
    assert out.splitlines()[2:] == [
        "✗ 3 a sign                 failed",
        "    AttributeError: 'float' object has no attribute 'minus'",
        f"    exercises/week01/model.py:{line}: return a.minus",
        "",
        "A hint: ./course hint 1 3",
        "The whole story: ./course test 1 --mine exercises/week01 -k 'test_negative'",
    ]
    assert progress(house) == {"1": "not written", "2": "waits", "3": "failed"}


def test_check_gives_the_first_helpful_line_of_an_assertion(house):
    text = MODEL.replace("return a + b", "return a - b").replace("return -a", "return str(-a)")
    line = text.splitlines().index("    return str(-a)") + 1
    put(house, text)
    code, out, _ = run(house, "check", "1")
    assert code == 1
    assert out.splitlines()[:3] == ["✗ 1 a sum of two numbers   failed", "    1 + 2 is 3", "    in test_add"]
    assert "\n    Not equal to tolerance rtol=1e-07, atol=0; Mismatched elements: 1 / 1\n    (100%);" in out
    assert (
        f"""
✗ 3 a sign                 failed
    negative returns '-2.0', should be of type float
    exercises/week01/model.py:{line}: return str(-a)
"""
        in out
    )
    assert max(map(len, out.splitlines())) <= 80


def shorten(house, module, name, seconds):
    """Lowers a time limit of check in the copy."""
    path = house / "shared" / module
    text, found = re.subn(rf"^{name} = \d+", f"{name} = {seconds}", path.read_text(encoding="utf-8"), flags=re.M)
    assert found == 1
    path.write_text(text, encoding="utf-8")


ENDLESS = MODEL.replace("    return a + b", "    while True:\n        a += b")


@pytest.mark.skipif(not hasattr(signal, "SIGPROF"), reason="needs POSIX signals")
def test_check_names_the_loop_that_never_ends_and_goes_on(house):
    shorten(house, "exercise_plugin.py", "TEST_SECONDS", 0.3)
    put(house, ENDLESS)
    code, out, _ = run(house, "check", "1")
    assert code == 1
    line, lines = ENDLESS.splitlines().index("    while True:") + 1, out.splitlines()
    for piece in (lines[:3], lines[3:6]):
        assert piece[0].endswith("   failed")
        assert piece[1] == "    does not end within 0.3 s: a loop in your code never ends"
        assert piece[2] in (
            f"    exercises/week01/model.py:{line}: while True:",
            f"    exercises/week01/model.py:{line + 1}: a += b",
        )
    assert lines[6].endswith("passed (1 test)")


def test_check_ends_when_the_tests_do_not(house):
    shorten(house, "exercise_check.py", "RUN_SECONDS", 1)
    put(house, ENDLESS)
    code, out, err = run(house, "check", "1")
    assert (code, out) == (2, "")
    assert err.startswith(TESTING + "error: the tests did not end within 1 s, in ")
    assert err.endswith(
        ": a loop in your code never ends, or something else takes all of the machine: then try again.\n"
    )


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
    assert (
        out.startswith("✓ 1 ") and "\nnote: a thread that your code has started was still running at the end.\n" in out
    )


def test_a_file_with_a_byte_order_mark_is_read(house):
    put(house, "\ufeff" + MODEL)
    code, out, _ = run(house, "check", "1")
    assert code == 0 and "Well done" in out
    assert run(house, "diff", "1")[1].startswith("Your files are the same as the reference.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ndef add(:\n", "error: exercises/week01/model.py:2: this is not valid Python (invalid syntax).\n"),
        (
            MODEL + "\nundefined_name\n",
            "error: exercises/week01/model.py:43: NameError: name 'undefined_name' is not defined"
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
    assert err.startswith("error: tests/test_week01_made_up.py: ImportError: cannot import name 'negative' from")
    assert err.count("\n") == 1


def test_the_whole_is_said_in_one_line_when_there_is_nothing_to_work_on(house):
    for command in (
        ["check", "1"],
        ["check", "1", "2"],
        ["hint", "1", "2"],
        ["diff", "1"],
        ["run", "exercises/week01", "train"],
    ):
        message = "error: no exercises in exercises/week01 yet: run ./course exercise 1 first.\n"
        assert run(house, *command) == (2, "", message)
    assert run(house, "check", "2") == (2, "", "error: week 2 has no exercises yet.\n")
    assert run(house, "check", "17") == (2, "", "error: '17' is no week: write a number from 1 to 16.\n")
    code, _, err = run(house, "chekc", "1")
    assert (code, err[:13]) == (2, "error: usage:")


def test_judge_tells_what_failed_from_what_waits():
    def judge(*outcomes):
        return exercise_check.judge(Outcome(2, *outcome) for outcome in outcomes)

    stopped = ("test_d", "failed", "exercise 1, a sum")
    wrong = ("test_c", "failed", "\n\nshapes differ\nassert not True\n + where True = <f at 0x7f>\nmore")
    assert judge() == judge(("test_a", "skipped")) == ("failed", "failed: none of its tests ran here", [])
    assert judge(("test_a", "passed"), ("test_b", "skipped")) == ("passed", "passed (1 test)", [])
    assert judge(("test_a", "passed"), stopped) == ("waits", "waits for exercise 1", [])
    assert judge(stopped, wrong) == ("failed", "failed", ["shapes differ; more", "in test_c"])
    assert judge(wrong, ("test_e", "failed", "exercise 2, a mean", "model.py:3")) == (
        "not written",
        "not written yet (model.py:3)",
        [],
    )


def test_pytests_own_remarks_are_not_repeated():
    message = "AssertionError: dW is wrong\n...Full output truncated (2 lines hidden), use '-vv' to show\n"
    outcome = Outcome(2, "test_dW", "failed", message + "[+2 more lines; full report in element text]")
    assert exercise_check.helpful(outcome) == ["dW is wrong", "in test_dW"]


def test_check_of_one_piece_leaves_the_others_as_they_were(house):
    put(house, MODEL.replace("return -a", "return a"))
    assert run(house, "check", "1", "2")[:2] == (0, "✓ 2 the mean   passed (2 tests)\n")
    assert progress(house) == {"2": "passed"}
    code, out, _ = run(house, "check", "1", "3")
    assert code == 1
    assert out.splitlines()[0] == "✗ 3 a sign   failed"
    assert progress(house) == {"2": "passed", "3": "failed"}
    put(house, MODEL)
    assert "Well done" not in run(house, "check", "1", "3")[1], "the first piece was never tested"
    assert "Well done" in run(house, "check", "1", "1")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("check 1 4", "week 1 has no exercise 4: it has 1 to 3."),
        ("hint 1 0", "'0' is no exercise: write its number, as 3."),
        ("hint 1 two", "'two' is no exercise: write its number, as 3."),
        ("bugs 1 3", "week 1 has no bug 3: it has 1 to 2."),
        ("bugs 1 x", "'x' is no bug: write its number, as 3."),
        ("bug 1 2", "bug 2 is not planted yet: run ./course bugs 1 2 first."),
        ("bugs 2", "week 2 has no exercises yet."),
    ],
)
def test_what_there_is_not_is_one_line(house, arguments, message):
    assert run(house, *arguments.split()) == (2, "", f"error: {message}\n")


# hint


def hints(house, piece, count):
    """What the next hints say, without the first line of each."""
    said = []
    for _ in range(count):
        code, out, err = run(house, "hint", "1", str(piece))
        assert (code, err) == (0, f"testing exercise {piece} (some seconds) ...\n")
        said.append(out)
    return said


def test_four_hints_and_the_last_one_stays(house):
    put(house, MODEL.replace("return a + b", "return a - b"))
    line = MODEL.splitlines().index("    return a + b") + 1
    head = "exercise 1, a sum of two numbers: hint"
    wanted = [
        f"""{head} 1 of 4, the shapes

1 + 2 is 3
in test_add

add(a 1.0, b 2.0)

in exercises/week01/model.py:{line}: return a - b

returned: a number, as it should be; but another one

The next one: ./course hint 1 1
""",
        f"""{head} 2 of 4, the smallest input that fails

add, with
  a               1.0
  b               2.0

  returned        -1.0
  should be       3.0

The next one: ./course hint 1 1
""",
        f"""{head} 3 of 4, the idea

write a "plus" b; this text goes on for so long that it does not fit into one
line of 80 characters, and so must be wrapped.

The next one: ./course hint 1 1
""",
        f"""{head} 4 of 4, the first line that differs

week01_numpy_mlp/model.py:{line}
    return a + b
exercises/week01/model.py:{line}, which may do the same
    return a - b

That was the last. All of the reference: ./course exercise 1 --diff
""",
    ]
    assert hints(house, 1, 5) == [*wanted, wanted[-1]]
    assert json.loads((house / "exercises/week01/hints.json").read_text(encoding="utf-8")) == {
        "1": {"level": 4, "failure": "1 + 2 is 3"}
    }


def test_the_last_hint_is_about_the_function_that_fails(house):
    right_in_other_words = MODEL.replace("total = add(total, value)", "total = total + value")
    put(house, right_in_other_words.replace("return 2 * self.mean(values)", "return 3 * self.mean(values)"))
    *_, last = hints(house, 2, 4)
    assert "    return 2 * self.mean(values)\n" in last and "add(total, value)" not in last


def test_where_no_call_is_wrong_the_last_hint_is_a_line_that_is_missing(house):
    folder = house / "exercises" / "week01"
    other = MODEL.replace("total = add(total, value)", "total += value").replace(
        "        return 2 * self.mean(values)\n", ""
    )
    put(house, other)
    todo = [piece for piece in exercise.pieces(house / "week01_numpy_mlp") if piece.number == 2]
    found = exercise_hint.first_difference(todo, folder, house / "week01_numpy_mlp")
    assert found[1:] == ["    return 2 * self.mean(values)"]


def test_another_failure_begins_with_the_first_hint(house):
    put(house, MODEL.replace("return -a", "return a"))
    assert [text.split(": ")[1][:11] for text in hints(house, 3, 2)] == ["hint 1 of 4", "hint 2 of 4"]
    put(house, MODEL.replace("return -a", "return 2 * a"))
    assert ": hint 1 of 4" in hints(house, 3, 1)[0], "it is about something else"
    put(house, MODEL)
    run(house, "hint", "1", "3")
    put(house, MODEL.replace("return -a", "return 2 * a"))
    assert ": hint 1 of 4" in hints(house, 3, 1)[0], "in between it had passed"


def test_the_line_that_differs_is_no_matter_of_names(house):
    own = MODEL.replace("for value in values:", "for v in values:").replace("add(total, value)", "add(v, v)")
    put(house, own)
    *_, last = hints(house, 2, 4)
    assert "    total = add(total, value)\n" in last and "    total = add(v, v)\n" in last


def test_a_hint_for_a_file_that_is_gone(house):
    put(house, MODEL)
    mine(house).rename(mine(house).with_name("other.py"))
    line = "error: exercises/week01/model.py is not there: ./course exercise 1.\n"
    assert run(house, "hint", "1", "1") == (2, "", line)


def test_a_hint_for_a_stub_shows_what_the_reference_makes_of_the_test(house):
    run(house, "write", "1")
    first, second = hints(house, 3, 2)
    assert "\nnegative(a 2.0)\n" in first and "\nreturned: should be a number\n" in first
    assert "\n  returned        nothing yet\n  should be       -2.0\n" in second


def test_no_hint_is_spent_on_what_passes_or_waits(house):
    put(house, MODEL)
    said = "exercise 3 passed (1 test): it needs no hint. The idea of it:\n0 minus it\n"
    assert run(house, "hint", "1", "3")[1] == said
    run(house, "write", "1")
    put(house, exercise.stub(MODEL, cut=lambda piece: piece.number == 1))
    said = "exercise 2 waits for exercise 1: do that first (./course hint 1 1).\n"
    assert run(house, "hint", "1", "2")[1] == said
    assert not (house / "exercises/week01/hints.json").exists()


def test_a_function_with_several_regions_gives_their_hints_by_name(house):
    put(house, MODEL.replace("total = add(total, value)", "total = add(total, 1.0)"))
    _, second, third, fourth = hints(house, 2, 4)
    assert "\n  values          [1.0, 3.0]\n\n  returned        1.0\n  should be       2.0\n" in second
    assert "\nthe mean, its sum: Add the values up with `add`.\n" in third
    assert "    total = add(total, value)\n" in fourth


# bugs


def test_a_bug_is_planted_found_and_named(house):
    code, out, err = run(house, "bugs", "1")
    assert (code, err) == (0, "")
    assert (
        out
        == """Week 1 has 2 bugs, slips that people really make. You have found 0.
  1  exercise 1
  2  exercise 3

Plant one and look for it: ./course bugs 1 1
"""
    )
    code, out, err = run(house, "bugs", "1", "1")
    assert (code, err) == (0, "")
    assert (
        out
        == """planted in exercises/week01-bug1/model.py: one slip, in one of its exercises.

What is seen of it: sums come out too small.

See it: ./course train 1 --mine exercises/week01-bug1 --impl scratch

The tests: ./course check 1 --bug 1. Mend it there; then the same command again.
"""
    )
    path = house / "exercises/week01-bug1/model.py"
    text = path.read_text(encoding="utf-8")
    assert text == MODEL_WITHOUT_HINTS.replace("return a + b", "return a - b")
    message = (
        "bug 1 is planted already, in exercises/week01-bug1: ./course check 1 --bug 1 tests it."
        " To start over, move that folder away."
    )
    assert run(house, "bugs", "1", "1") == (2, "", f"error: {message}\n")
    assert "  1  exercise 1   planted in exercises/week01-bug1\n" in run(house, "bugs", "1")[1]

    code, out, err = run(house, "bug", "1", "1")
    assert (code, err) == (1, "")
    assert out.startswith("✗ 1 a sum of two numbers   failed\n    1 + 2 is 3\n")
    assert out.endswith("\nNot found yet.\n") and "subtracts" not in out

    planted = path.stat()
    path.write_text(text.replace("a - b", "b + a"), encoding="utf-8")
    os.utime(path, ns=(planted.st_atime_ns, planted.st_mtime_ns))  # mended within the same second, and no longer
    code, out, err = run(house, "bug", "1", "1")
    assert (code, err) == (0, "")
    assert (
        out
        == """✓ found: a sum that subtracts (exercise 1)

A minus sign is next to the plus.
It happened to others: nowhere/at-all#1.
"""
    )
    out = run(house, "bugs", "1")[1]
    assert "You have found 1." in out and "  1  exercise 1   found: a sum that subtracts\n" in out
    assert out.endswith("\nPlant one and look for it: ./course bugs 1 2\n")


def test_a_bug_whose_lines_are_gone_or_whose_file_is_wrong_is_refused(house):
    reference, bugs = house / "week01_numpy_mlp/model.py", house / "tests/bugs_week01.toml"
    reference.write_text(MODEL.replace("return -a", "return 0 - a"), encoding="utf-8")
    message = "error: bug 'no sign': what it changes is not in week01_numpy_mlp/model.py.\n"
    assert run(house, "bugs", "1", "2") == (2, "", message)
    reference.write_text(MODEL.replace("total = 0.0", "total = 0.0  # return -a"), encoding="utf-8")
    assert run(house, "bugs", "1", "2")[2] == message.replace("not in", "2 times in")
    bugs.write_text("[[bug]]\ntitle = 'x'\n", encoding="utf-8")
    code, _, err = run(house, "bugs", "1")
    assert (code, err[:55]) == (2, "error: tests/bugs_week01.toml: bug 1 lacks, or has besi")
    bugs.write_text("[[bug]\n", encoding="utf-8")
    code, _, err = run(house, "bugs", "1")
    assert (code, err.count("\n")) == (2, 1) and err.startswith("error: tests/bugs_week01.toml is not TOML: ")


# types in words


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: summed(x[0]), "summed gets x (3,), should be (N, C)"),
        (lambda x: summed(x.astype(int)), "summed gets x as integers, should be floats"),
        (lambda x: summed(x, "a"), "summed gets k = 'a', should be of type int"),
        (lambda x: summed(x, 1), "summed returns (2, 3), should be (C,) with C 3"),
        (lambda x: summed(x, 2), "summed returns 0.5, should be (C,) with C 3"),
        (lambda x: summed(x, 3), "summed returns None, should be (C,) with C 3: is `return` missing?"),
        (lambda x: summed(x, 4), "summed returns a tuple of (3,), (3,), should be (C,) with C 3"),
        (lambda x: halves(x, x), "halves returns (2, 3), should be a tuple of (N,), array of shape () with N 2"),
    ],
)
def test_type_errors_in_words(call, words):
    with pytest.raises(TypeCheckError) as caught:
        call(np.zeros((2, 3)))
    assert type_words.type_error(str(caught.value))[0] == words


@jaxtyped(typechecker=beartype)
def summed(x: Float[np.ndarray, "N C"], k: int = 0) -> Float[np.ndarray, " C"]:
    return [x.sum(0), x, 0.5, None, (x[0], x[1])][k]


@jaxtyped(typechecker=beartype)
def halves(x: Float[np.ndarray, "N C"], out: Any) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, ""]]:
    return out


def test_a_complaint_that_reads_otherwise_is_passed_on():
    assert type_words.type_error("something\n  else") == ("something else", "")


def test_type_errors_of_another_width_say_so():
    @jaxtyped(typechecker=beartype)
    def half(x: Float[np.ndarray, " N"]) -> Float32[np.ndarray, " N"]:
        return x / 2

    with pytest.raises(TypeCheckError) as caught:
        half(np.zeros(3))
    assert type_words.type_error(str(caught.value))[0] == "half returns float64, should be float32"


def test_a_vocabulary_is_not_copied_with_every_call():
    """200 copies of 30,000 entries took longer than the test itself, which was then told to be endless."""
    from shared.exercise_calls import MOST_ENTRIES, Recorder

    def given(words, text):
        return sys._getframe()

    assert Recorder.taken(given({"a": 1}, "b"))[0] == {"words": {"a": 1}, "text": "b"}
    assert Recorder.taken(given(dict.fromkeys(range(MOST_ENTRIES + 1)), "b"))[0] is None


def test_a_module_is_looked_at_before_torch_has_made_it():
    import torch
    from torch import nn

    from shared import exercise_calls

    class Piece(nn.Module):
        def __init__(self):
            self.seen = exercise_calls.count(self)
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3))

    piece = Piece()
    assert (piece.seen, exercise_calls.count(piece)) == (0, 5), "and what it was given: training, seen"
