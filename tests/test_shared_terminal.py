"""What was typed to start a program, and how a program ends whose reader has gone."""

import os
import subprocess
import sys
from types import ModuleType

import pytest

from shared import terminal
from shared.files import ROOT


@pytest.fixture
def typed(monkeypatch):
    """typed(program, *words) puts a command line into sys.argv, as Python does."""
    return lambda program, *words: monkeypatch.setattr(sys, "argv", [str(ROOT / program), *words])


@pytest.fixture
def package(monkeypatch):
    """The package of a week, made up, as it is without --mine."""
    week = ModuleType("week99_made_up")
    week.__path__ = ["week99_made_up"]
    monkeypatch.setitem(sys.modules, week.__name__, week)
    return week


COMMANDS = {
    "week01_numpy_mlp/train.py": "./course train 1",
    "week12_deploy/eval.py": "./course eval 12",
    "week05_attention/translate.py": "./course run 5 translate",
    "week03_lstm/sentiment_classify.py": "./course run 3 sentiment_classify",
    "exercises/week01/train.py": "./course train 1",
    "shared/readme_table.py": "readme_table.py",
    "repeat.py": "repeat.py",
}


@pytest.mark.parametrize("program", COMMANDS)
def test_command_is_what_one_types(typed, package, program):
    typed(program)
    assert terminal.command() == COMMANDS[program]
    assert terminal.mine() == ""
    package.__path__.insert(0, "exercises/week99")  # what --mine does
    assert terminal.mine() == " --mine"
    assert terminal.command() == COMMANDS[program] + " --mine" * COMMANDS[program].startswith("./course")


def test_modules_of_other_names_are_no_weeks(monkeypatch):
    for name in ("week1_short", "weekly", "week99_made_up.data"):
        module = ModuleType(name)
        module.__path__ = ["here", "there"]
        monkeypatch.setitem(sys.modules, name, module)
    assert terminal.mine() == ""


@pytest.mark.parametrize(
    ("program", "words", "flags"),
    [
        ("week01_numpy_mlp/train.py", ["--lr", "2"], ["--lr", "2"]),
        ("week01_numpy_mlp/train.py", [], []),
        ("week02_cnn/compare.py", ["flops", "--seeds", "2"], ["flops", "--seeds", "2"]),
        ("shared/repeat.py", ["2", "--seeds", "5"], ["--seeds", "5"]),
        ("shared/repeat.py", ["2"], []),
    ],
)
def test_arguments_are_the_flags_after_the_command(typed, program, words, flags):
    typed(program, *words)
    assert terminal.arguments() == flags


def test_the_whole_line_as_typed(typed):
    typed("week02_cnn/bench.py", "step", "--publish", "--data", "my own")
    assert terminal.typed() == "./course run 2 bench step --publish --data 'my own'"
    assert terminal.typed("--publish") == "./course run 2 bench step --data 'my own'"
    typed("shared/repeat.py", "2")
    assert terminal.typed() == "./course repeat 2"


def test_repeat_is_the_same_command_for_all_weeks(typed, package):
    typed("shared/repeat.py", "2", "--seeds", "5")
    assert terminal.command() == "./course repeat 2"
    package.__path__.insert(0, "exercises/week99")
    assert terminal.command() == "./course repeat 2 --mine"


# A closed pipe, as with `| head`


@pytest.mark.parametrize("program", ["overview", "doctor"])
def test_list_and_doctor_are_quiet_on_a_closed_pipe(program):
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    command = [sys.executable, "-m", f"shared.{program}"]
    done = subprocess.run(command, env=environment, stdout=writer, stderr=subprocess.PIPE, encoding="utf-8")
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def ended(code, **settings):
    """(exit code, stdout, stderr) of `code` in a program."""
    program = f"from shared import terminal\nwith terminal.endings():\n    {code}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "0", "PYTHONUNBUFFERED": ""}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
    options["env"] = environment | options.pop("env", {})
    done = subprocess.run([sys.executable, "-c", program], **options)
    return done.returncode, done.stdout and done.stdout.decode("latin-1"), done.stderr.decode("latin-1")


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", "+ x > . \\u732b \\udce9 +-\n"),
        ("cp1252", "+ x > \x85 \\u732b \\udce9 \xb1\n"),
        ("utf-8", "✓ ✗ → … 猫 \\udce9 ±\n".encode().decode("latin-1")),
    ],
)
def test_no_character_makes_a_print_fail(encoding, shown):
    code = r"print('\u2713 \u2717 \u2192 \u2026 \u732b \udce9 \xb1')"
    assert ended(code, env={"PYTHONIOENCODING": encoding}) == (0, shown.replace("\n", os.linesep), "")


CLOSED = "error: standard output is closed (>&-): send it somewhere, if only to /dev/null.\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_foreign_text_does_not_steer_the_terminal():
    text = "a\nb\tc\x1b[2J\u202e\x07d"
    assert terminal.printable(text, breaks=True) == "a\nb c[2Jd" and terminal.printable(text) == "a b c[2Jd"


def test_a_full_or_closed_output_is_one_line():
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        line = "error: standard output cannot be written to: No space left on device.\n"
        assert ended("print('a line')", stdout=full) == (2, None, line)
    assert ended("print('a line')", stdout=None, preexec_fn=lambda: os.close(1)) == (2, None, CLOSED)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(36, "File name too long", "aaa"), "aaa: File name too long."),
        (OSError(5, "Input/output error"), "Input/output error."),
        (
            OSError(28, "No space left on device", "runs"),
            "runs: No space left on device. Free some space, then try again.",
        ),
        (MemoryError(), "not enough memory: lower what makes the model or its batches large; --help says what does."),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1099511627776 bytes. E"),
            "not enough memory (1024 GiB more were asked for): lower what makes the model or its batches large; "
            "--help says what does.",
        ),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has ..."),
            "not enough memory (20 GiB more were asked for): lower what makes the model or its batches large; "
            "--help says what does.",
        ),
        (RuntimeError("can't start new thread"), "this system allows no more threads (ulimit -u): end other programs, "
         "then try again."),
        (RuntimeError("Could not determine home directory."), "there is no such home: what follows ~ at the start of a "
         "path is a user's name. Write the path in full."),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
        (ValueError("x"), None),
    ],
)  # fmt: skip
def test_what_a_person_can_put_right_is_a_line_and_what_is_wrong_in_the_program_is_not(error, line):
    assert terminal.in_words(error) == line


def test_exit_with_ends_with_mains_code():
    for code in (0, 3):
        with pytest.raises(SystemExit) as ended:
            terminal.exit_with(lambda code=code: code)
        assert ended.value.code == code


def test_it_needs_the_standard_library_alone():
    code = (
        "import sys, shared.terminal; found = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(found - sys.stdlib_module_names - {'__main__'}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-S", "-c", code], env=environment, capture_output=True, encoding="utf-8")
    assert (done.stdout, done.stderr) == ("shared\n", "")
