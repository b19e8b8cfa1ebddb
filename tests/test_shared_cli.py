"""The command line as a learner meets it: what is typed, what comes back, and what is said when it is wrong."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from types import ModuleType

import pytest

from shared import cli, runs
from shared.cli import CommonConfig
from shared.errors import CourseError, Stopped
from shared.files import ROOT


@dataclass
class Config(CommonConfig):
    """The flags of a small program."""

    hidden: tuple[int, ...] = (4, 2)
    """Neurons per hidden layer."""
    lr: float = 0.1
    """The size of a step."""
    max_steps: int = 10
    """Stop after so many steps."""
    fast: bool = False
    """Do it fast."""


PRESETS = {"smoke": {"hidden": (1,), "max_steps": 2}, "quick": {}, "full": {"data": "mnist"}}


def parse(*arguments, week=None):
    return cli.parse(Config, PRESETS, arguments, week=week)


def run(monkeypatch, main, *arguments):
    """cli.run with these words on the command line; returns the exit code."""
    monkeypatch.setattr(sys, "argv", [str(ROOT / "week01_numpy_mlp" / "train.py"), *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.run(main, Config, PRESETS)
    return caught.value.code


def never(cfg):
    """Does something."""
    pytest.fail("main must not run")


@pytest.fixture
def saved(tmp_path):
    """Writes a run folder's config.json: from a table, or as the text it is to hold."""

    def write(content):
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "config.json").write_text(text, encoding="utf-8")
        return tmp_path

    return write


# What is typed


def test_without_flags_it_is_the_quick_preset():
    assert parse() == Config(preset="quick")


@pytest.mark.parametrize("arguments", [["--preset", "smoke"], ["--preset=smoke"]])
def test_preset_gives_defaults(arguments):
    assert parse(*arguments) == Config(preset="smoke", hidden=(1,), max_steps=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--preset", "smoke", "--max-steps", "7"],
        ["--max-steps=7", "--preset=smoke"],
        ["--max_steps", "7", "--preset", "smoke"],
    ],
)
def test_flag_by_hand_wins_over_the_preset_wherever_it_stands(arguments):
    assert parse(*arguments) == Config(preset="smoke", hidden=(1,), max_steps=7)


def test_last_preset_wins():
    assert parse("--preset", "full", "--preset", "smoke") == parse("--preset", "smoke")


@pytest.mark.parametrize(("words", "hidden"), [(["3", "5"], (3, 5)), (["3"], (3,)), ([], ())])
def test_hidden_layers_come_as_a_tuple_of_any_length(words, hidden):
    assert parse("--hidden", *words).hidden == hidden


def test_switch_is_on_when_named():
    assert parse("--fast").fast is True
    assert parse().fast is False


# What is said when it is wrong


def test_unknown_preset(monkeypatch, capsys):
    assert run(monkeypatch, never, "--preset=smok") == 2
    assert capsys.readouterr() == ("", "error: unknown preset 'smok': choose one of smoke, quick, full.\n")


@pytest.mark.parametrize(("arguments", "name"), [(["--preset="], ""), (["--preset", "--lr", "1"], "--lr")])
def test_preset_without_its_name(arguments, name):
    with pytest.raises(CourseError, match=f"^unknown preset '{name}': choose one of smoke, quick, full.$"):
        parse(*arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--wrong", "3"], "Unrecognized options: --wrong"),
        (["train"], "Unrecognized options: train"),
        (["--max-step", "3"], "--max-steps INT"),  # what was perhaps meant
        (["--lr", "abc"], "Error parsing --lr: could not convert string to float: 'abc'"),
        (["--max-steps", "1.5"], "Error parsing --max-steps"),
        (["--hidden", "3", "x"], "Error parsing --hidden"),
        (["--lr"], "Missing value for argument '--lr'"),
        (["--preset"], "Missing value for argument '--preset'"),
        (["--fast=1"], "1"),
    ],
)
def test_wrong_flag_or_value_is_told_on_one_screen(monkeypatch, capsys, arguments, said):
    assert run(monkeypatch, never, *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "./course train 1 --help" in err  # something one can type
    assert "Traceback" not in err
    assert err.count("\n") <= 20


def test_course_error_is_one_line_and_code_2(monkeypatch, capsys):
    def main(cfg):
        raise CourseError(f"--lr {cfg.lr}: must be above 0.")

    assert run(monkeypatch, main, "--lr", "-1") == 2
    assert capsys.readouterr() == ("", "error: --lr -1.0: must be above 0.\n")


def test_a_bug_keeps_its_traceback(monkeypatch):
    def main(cfg):
        raise ZeroDivisionError

    monkeypatch.setattr(sys, "argv", ["train.py"])
    with pytest.raises(ZeroDivisionError):
        cli.run(main, Config, PRESETS)


def test_ctrl_c_is_one_word_and_code_130(monkeypatch, capsys):
    def main(cfg):
        signal.raise_signal(signal.SIGINT)

    assert run(monkeypatch, main) == 130
    assert capsys.readouterr() == ("", "stopped.\n")


def test_a_stop_that_was_answered_is_no_error_and_code_130(monkeypatch, capsys):
    def main(cfg):
        raise Stopped("stopped at step 3 of 9; saved.")

    assert run(monkeypatch, main) == 130
    assert capsys.readouterr() == ("", "stopped at step 3 of 9; saved.\n")


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_closed_pipe_is_quiet(lines):
    """As with `| head`: nobody reads on, whether that shows while printing or only at the end."""
    code = (
        "import sys; from shared import cli\n"
        "def main(cfg): sys.stdin.readline(); [print('a line') for _ in range(int(sys.stdin.readline()))]\n"
        "cli.run(main, cli.CommonConfig, {'quick': {}})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    with process:
        process.stdout.close()
        process.stdin.write(f"go\n{lines}\n")
        process.stdin.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.parametrize("program", ["overview", "doctor"])
def test_list_and_doctor_are_as_quiet_on_a_closed_pipe(program):
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    command = [sys.executable, "-m", f"shared.{program}"]
    done = subprocess.run(command, env=environment, stdout=writer, stderr=subprocess.PIPE, encoding="utf-8")
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_main_gets_the_config(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "argv", ["train.py", "--preset", "smoke", "--seed", "3"])
    cli.run(seen.append, Config, PRESETS)
    assert seen == [Config(preset="smoke", seed=3, hidden=(1,), max_steps=2)]


# --help


def test_help_teaches_every_flag(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")

    def main(cfg):
        """Trains a small thing,
        and says so.

        Returns nothing.
        """

    assert run(monkeypatch, main, "--help") == 0
    text = re.sub(r"[│\s]+", " ", capsys.readouterr().out)
    assert "usage: ./course train 1" in text
    assert "Trains a small thing, and says so." in text
    assert "Returns" not in text, "what main returns is for who calls it, not for who types"
    for flag, help_text in {
        "--data STR": "a real data set by name (downloaded once), or a path of your own. The week's README says",
        "--device STR": "auto, cpu, cuda or mps.",
        "--seed INT": "The same seed gives the same result on the same machine with the same number of threads.",
        "--out STR": "The run's folder.",
        "--resume": "Go on with the run in --out",
        "--preset STR": "`full` (the real thing). A flag given by hand wins over the preset. (default: quick)",
        "--hidden [INT [INT ...]]": "Neurons per hidden layer. (default: 4 2)",
        "--lr FLOAT": "The size of a step. (default: 0.1)",
        "--max-steps INT": "Stop after so many steps. (default: 10)",
        "--fast": "Do it fast. (default: False)",
    }.items():
        at = text.index(flag + " ")
        assert help_text in text[at : at + 400], flag


def test_help_of_a_week_imports_nothing_heavy():
    code = (
        "import sys, runpy; sys.argv[1:] = ['--help']\n"
        "try: runpy.run_module('week01_numpy_mlp.train', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end: print('code', end.code)\n"
        "print('heavy', sorted({'torch', 'sklearn', 'matplotlib'} & sys.modules.keys()))"
    )
    environment = {**os.environ, "PYTHONUTF8": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines()[-2:] == ["code 0", "heavy []"], done.stderr
    assert "usage: ./course train 1 " in done.stdout


# How the program was started


@pytest.mark.parametrize(
    ("program", "typed"),
    [
        ("week01_numpy_mlp/train.py", "./course train 1"),
        ("week12_deploy/eval.py", "./course eval 12"),
        ("week05_attention/translate.py", "./course run 5 translate"),
        ("exercises/week01/train.py", "./course train 1"),
        ("shared/readme_table.py", "readme_table.py"),
    ],
)
def test_command_is_what_one_types(monkeypatch, program, typed):
    monkeypatch.setattr(sys, "argv", [str(ROOT / program)])
    assert cli.command() == typed
    package = ModuleType("week99_made_up")
    monkeypatch.setitem(sys.modules, package.__name__, package)
    package.__path__ = ["week99_made_up"]
    assert cli.mine() == ""
    package.__path__.insert(0, "exercises/week99")  # what --mine does
    assert cli.mine() == " --mine" and cli.command() == (f"{typed} --mine" if "course" in typed else typed)


# --resume


def test_resume_takes_the_runs_own_flags_and_keeps_those_by_hand(saved):
    run_folder = saved({"preset": "smoke", "hidden": [3, 3], "lr": 0.5, "max_steps": 2, "seed": 4, "resume": False})
    assert parse("--resume", "--out", str(run_folder), "--max-steps", "9", week=1) == Config(
        preset="smoke", hidden=(3, 3), lr=0.5, max_steps=9, seed=4, resume=True, out=str(run_folder)
    )


def test_resume_without_out_takes_the_weeks_newest_run_with_a_checkpoint(monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "RUNS", tmp_path)
    first = runs.create(1, Config(lr=0.5))
    (first / "checkpoint.safetensors").touch()
    runs.create(1, Config(lr=0.7))  # stopped before its first checkpoint
    assert parse("--resume", week=1) == Config(lr=0.5, resume=True, out=str(first))


def test_resume_with_nothing_to_resume(monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "RUNS", tmp_path)
    with pytest.raises(CourseError) as caught:
        parse("--resume", week=1)
    assert str(caught.value) == "no run of week 1 with a checkpoint.safetensors yet: `./course train 1` makes one."


def test_resume_of_a_run_from_before_a_flag_was_there(saved):
    """A newer version of a program has more flags: an old run takes their defaults."""
    assert parse("--resume", f"--out={saved({'lr': 2})}", week=1).lr == 2


def test_resume_under_the_name_of_another_preset(saved):
    run_folder = saved({"preset": "smoke"})
    assert parse("--resume", "--out", str(run_folder), "--preset", "smoke", week=1).preset == "smoke"
    with pytest.raises(CourseError) as caught:
        parse("--resume", "--out", str(run_folder), "--preset", "full", week=1)
    assert str(caught.value) == (
        f"{run_folder} was started with --preset smoke: leave --preset out, or choose by --out."
    )


def test_out_without_a_run_in_it(tmp_path):
    with pytest.raises(CourseError) as caught:
        parse("--resume", "--out", str(tmp_path), week=1)
    assert str(caught.value) == (
        f"no run in {tmp_path}: it has no config.json. Give --out another folder, or leave out --resume."
    )


@pytest.mark.parametrize(
    ("config", "strange"),
    [
        ({"lr": 0.1, "heads": 8, "context": 64}, "heads, context"),
        ([1, 2], "not a table"),
        ("null", "not a table"),
        ({"lr": "large"}, "lr"),
        ({"hidden": 3}, "hidden"),
        ({"seed": None}, "seed"),
        ({"seed": True, "fast": 1}, "seed, fast"),
        ({"max_steps": 1.5}, "max_steps"),
    ],
)
def test_config_of_another_program(saved, config, strange):
    run_folder = saved(config)
    with pytest.raises(CourseError) as caught:
        parse("--resume", "--out", str(run_folder), week=1)
    path = run_folder / "config.json"
    assert str(caught.value) == f"{path} is not of this program ({strange}). Start a new run without --resume."


@pytest.mark.parametrize("text", ["", '{"lr": 0.', "\x00\x00"])
def test_damaged_config(saved, text):
    run_folder = saved(text)
    with pytest.raises(CourseError, match=re.escape(f"{run_folder / 'config.json'} is not readable JSON")):
        parse("--resume", "--out", str(run_folder), week=1)
