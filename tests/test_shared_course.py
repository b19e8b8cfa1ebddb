"""The launcher, on a made-up course of one week: `course` and shared/venv.py are the real ones, uv and pip are stubs.

The stub of uv makes a venv in no time, writes down how it was called, and can fail in the ways that uv fails.
"""

import ast
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

from shared import usage, venv
from shared.errors import CourseError
from shared.parallel import cores

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stubs are POSIX scripts")

PYPROJECT = """
[project]
name = "sixteen-weeks"
dependencies = ["alpha>=1"]
[project.optional-dependencies]
week01 = ["beta[fast]>=2", "only-elsewhere; sys_platform == 'elsewhere'"]
week02 = ["sixteen-weeks[week01]", "gamma"]
week03 = ["sixteen-weeks[week02,test]"]
test = ["delta"]
"""

SHOW = '''"""Shows how {name} was started.

It does nothing else."""
import json, os, sys

if __name__ == "__main__":
    environment = {{name: os.environ.get(name) for name in ("COURSE_RECORD_TESTS", "OMP_WAIT_POLICY")}}
    print(json.dumps({{"program": {name!r}, "argv": sys.argv[1:], "cwd": os.getcwd(), "python": sys.executable,
                       "utf8": sys.flags.utf8_mode, **environment}}))
    sys.exit(int(os.environ.get("EXIT", 0)))
'''

UV = r"""
import json, os, pathlib, re, signal, sys, time
mode, arguments = os.environ.get("STUB", ""), sys.argv[1:]
with open(sys.argv[0] + ".log", "a", encoding="utf-8") as log:
    log.write(json.dumps(arguments) + "\n")
version = "python%d.%d" % sys.version_info[:2]
if arguments[0] == "venv":
    base, folder = arguments[arguments.index("--python") + 1], pathlib.Path(arguments[-1])
    packages = folder / "lib" / version / "site-packages"
    (packages / "pip").mkdir(parents=True)
    (packages / "pip" / "__init__.py").touch()
    (packages / "pip" / "__main__.py").write_text("raise SystemExit('Failed to establish a new connection')")
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(base)
    (folder / "pyvenv.cfg").write_text("home = " + os.path.dirname(base))
    sys.exit()
if mode == "kill the launcher":
    os.kill(os.getppid(), signal.SIGKILL)
    sys.exit(1)
if mode == "Ctrl-C":
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(0.1)
    sys.exit(1)
if mode == "slow":
    time.sleep(0.5)
if mode == "disk":
    sys.exit("error: Failed to install: numpy\n  Caused by: No space left on device (os error 28)")
if mode == "conflict":
    sys.exit("  x No solution found\nerror: alpha cannot be had")
if mode == "offline" or mode == "cache" and "--offline" not in arguments:
    sys.exit("error: Request failed\n  Caused by: error sending request\n  Caused by: dns error")
venv = pathlib.Path(arguments[arguments.index("--python") + 1]).parent.parent
for line in arguments[arguments.index("-c") + 2:]:
    if not line.startswith("--") and "elsewhere" not in line:
        name = re.split(r"[^\w.-]", line)[0]
        folder = venv / "lib" / version / "site-packages" / (name + "-1.0.dist-info")
        folder.mkdir(exist_ok=True)
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: %s\nVersion: 1.0\n" % name)
"""


class Course:
    """A course of one week in a folder with spaces in its name, and a folder of commands that holds the stub of uv."""

    def __init__(self, folder):
        self.root, self.bin, self.away = folder / "a course with spaces", folder / "bin", folder / "elsewhere"
        self.log = self.bin / "uv.py.log"
        for path in (self.root / "shared", self.root / "tests", self.root / "week01_mini", self.bin, self.away):
            path.mkdir(parents=True)
        needed = ("__init__", "errors", "interrupt", "launcher", "parallel", "starting", "terminal", "usage", "venv")
        for name in ("course", *(f"shared/{module}.py" for module in needed)):
            shutil.copy(ROOT / name, self.root / name)
        programs = ["week01_mini/train", "week01_mini/eval", "week01_mini/hello"]
        modules = (
            "exercise_commands",
            "repeat",
            "overview",
            "doctor",
            "curve",
            "models",
            "report",
            "verify",
            "portfolio",
            "space",
        )
        of_all = [*(f"shared/{name}" for name in modules), "pytest"]
        for name in [*programs, *of_all]:
            self.write(f"{name}.py", SHOW.format(name=name))
        self.write("week01_mini/__init__.py", "")
        self.write("week01_mini/library.py", '"""No program: it says `if __name__ == "__main__"` here alone."""\n')
        self.write("tests/test_week01_a.py", "")
        self.write("pyproject.toml", PYPROJECT)
        self.write("constraints.txt", "alpha==1.0\n")
        (self.bin / "uv.py").write_text(UV, encoding="utf-8")
        self.add_command("uv", f'exec "{sys.executable}" "{self.bin}/uv.py" "$@"')

    def write(self, name, text):
        (self.root / name).write_text(text, encoding="utf-8")

    def add_command(self, name, script):
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (self.bin / name).chmod(0o755)

    def environment(self, **more):
        # No PATH but the stubs: what is installed on this machine, and its network, play no part.
        return {"PATH": str(self.bin), "HOME": str(self.away), "PIP_NO_INDEX": "1", **more}

    def __call__(self, *arguments, path=None, **more):
        command = [sys.executable, path or self.root / "course", *arguments]
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", cwd=self.away, env=self.environment(**more), timeout=60
        )

    def calls(self):
        """How uv was called to install, one list of arguments per call."""
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        return [arguments for arguments in map(json.loads, lines) if arguments[0] == "pip"]

    def stamp(self):
        return json.loads((self.root / ".venv" / "course.json").read_text(encoding="utf-8"))


@pytest.fixture
def course(tmp_path):
    return Course(tmp_path)


@pytest.fixture
def answer(course, monkeypatch, capsys):
    """Calls the launcher in this process, which is cheaper, for answers of its own: (exit code, stdout, stderr)."""
    monkeypatch.setattr(venv, "ROOT", course.root)
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("it starts a program"))
    monkeypatch.setattr(venv, "set_up", lambda *_, **__: pytest.fail("it sets something up"))
    launcher = runpy.run_path(str(course.root / "shared" / "launcher.py"))

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["course", *arguments])
        try:
            code = launcher["guarded"]()
        except SystemExit as ended:
            code = ended.code
        return code, *capsys.readouterr()

    return call


def shown(done):
    """What the program that was started says of itself."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# ------------------------------------------------------------------------------------------------ commands and flags


def test_train_sets_up_and_runs_the_program_where_the_learner_stands(course):
    done = course("train", "1", "--epochs", "3", "--note", "two words", "--mines")
    program = shown(done)
    assert program["program"] == "week01_mini/train"
    assert program["argv"] == ["--epochs", "3", "--note", "two words", "--mines"]
    assert program["cwd"] == str(course.away)
    assert program["python"] == str(course.root / ".venv/bin/python")
    assert program["utf8"] == 1
    first, second = done.stderr.splitlines()
    assert first == "course: setting up week 1 (first time, about half a minute) ..."
    assert re.fullmatch(r"course: set up in \d+ s", second)
    [call] = course.calls()
    assert call[call.index("-c") + 1 :] == [
        "constraints.txt", "alpha>=1", "beta[fast]>=2", "only-elsewhere; sys_platform == 'elsewhere'"
    ]  # fmt: skip


def test_a_second_call_starts_within_0_3_s_of_the_program_and_installs_nothing(course):
    course("train", "1")
    own = [course.root / ".venv/bin/python", "-P", "-m", "week01_mini.train"]

    def seconds(start):
        begin = time.perf_counter()
        assert start().returncode == 0
        return time.perf_counter() - begin

    with_launcher = min(seconds(lambda: course("train", "1")) for _ in range(3))
    alone = min(
        seconds(lambda: subprocess.run(own, stdout=subprocess.DEVNULL, env=course.environment(PYTHONPATH=course.root)))
        for _ in range(3)
    )
    assert with_launcher - alone < 0.3
    assert len(course.calls()) == 1


def test_the_exit_code_of_the_program_passes_through(course):
    assert course("train", "1", EXIT="7").returncode == 7


def test_a_week_may_be_named_in_many_ways(course):
    for week in ("1", "01", "week01", "week01_mini", "week01_mini/"):
        assert shown(course("eval", week))["program"] == "week01_mini/eval", week


def test_run_starts_any_program_of_the_week(course):
    assert shown(course("run", "1", "hello", "you"))["argv"] == ["you"]


PROGRAMS = "\n".join(f"  {name:5}   Shows how week01_mini/{name} was started." for name in ("eval", "hello", "train"))


def test_run_without_a_program_lists_programs_alone(answer):
    assert answer("run", "1") == (0, f"The programs of week 1:\n{PROGRAMS}\n", "")


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("helo", "; did you mean hello?"), ("library", "."), ("__init__", "."), ("../week01_mini/hello", ".")],
)
def test_run_of_what_is_no_program_names_a_near_miss_and_the_programs(answer, wrong, meant):
    line = f"course: week 1 has no program {wrong!r}{meant} It has: eval, hello, train.\n"
    assert answer("run", "1", wrong) == (2, "", line)


def test_repeat_is_the_same_for_all_weeks(course):
    program = shown(course("repeat", "01", "--seeds", "5"))
    assert (program["program"], program["argv"]) == ("shared/repeat", ["1", "--seeds", "5"])
    assert course.stamp()["extras"] == ["week01"]


def test_what_concerns_exercises_goes_to_shared_exercise_commands(course):
    own = f"{course.root}/exercises/week01"
    for command, becomes in (
        (["train", "1", "--mine", "--epochs", "3"], ["run", own, "train", "--epochs", "3"]),
        (["train", "1", "--mine", "exercises/week01-bug2"], ["run", "exercises/week01-bug2", "train"]),
        (["train", "1", "--mine=exercises/week01-bug2/"], ["run", "exercises/week01-bug2", "train"]),
        (["run", "1", "hello", "a", "--mine"], ["run", own, "hello", "a"]),
        (["run", "1", "hello", "--mine", "a"], ["run", own, "hello", "a"]),
        (["repeat", "1", "--seeds", "5", "--mine"], ["run", own, "repeat", "--seeds", "5"]),
        (["exercise", "1"], ["write", "1"]),
        (["exercise", "1", "--diff"], ["diff", "1"]),
        (["check", "01"], ["check", "1"]),
        (["check", "1", "3"], ["check", "1", "3"]),
        (["check", "1", "--bug", "3"], ["bug", "1", "3"]),
        (["hint", "1", "3"], ["hint", "1", "3"]),
        (["bugs", "1"], ["bugs", "1"]),
        (["bugs", "1", "2"], ["bugs", "1", "2"]),
    ):
        program = shown(course(*command))
        assert (program["program"], program["argv"]) == ("shared/exercise_commands", becomes)


def test_curve_is_of_a_week(course):
    program = shown(course("curve", "1", "--run", "a folder"))
    assert (program["program"], program["argv"]) == ("shared/curve", ["1", "--run", "a folder"])


def test_a_report_is_of_a_week_and_a_portfolio_of_all(course):
    line = "course: no run of week 1 has come to its end yet: ./course train 1 makes one\n"
    done = course("report", "1")
    assert (done.returncode, done.stderr) == (2, line), "and nothing was installed to say so"
    (course.root / "runs/week01/001-quick").mkdir(parents=True)
    course.write("runs/week01/001-quick/result.json", "{}")
    program = shown(course("report", "1", "--words", "my words.md"))
    assert (program["program"], program["argv"]) == ("shared/report", ["1", "--words", "my words.md"])
    program = shown(course("portfolio", "--name", "Ada L."))
    assert (program["program"], program["argv"]) == ("shared/portfolio", ["--name", "Ada L."])
    assert course.stamp()["extras"] == ["week01"]


def test_a_space_is_of_a_week_with_a_page(course):
    done = course("space", "1", "--dry-run")
    assert (done.returncode, done.stderr) == (2, "course: no week here has a page to put up yet\n")
    course.write("week01_mini/space.py", "")
    (course.root / "week02_more").mkdir()
    course.write("week02_more/__init__.py", "")
    done = course("space", "2")
    assert (done.returncode, done.stderr) == (2, "course: week 2 has no page to put up: ./course space takes 1\n")
    done = course("space", "1", "--dry-run")
    line = "course: no run of week 1 has come to its end yet: ./course train 1 makes one\n"
    assert (done.returncode, done.stderr) == (2, line), "and nothing was installed to say so"
    assert not course.log.exists()
    program = shown(course("space", "1", "--run", "a folder", "--help"))
    assert (program["program"], program["argv"]) == ("shared/space", ["1", "--run", "a folder", "--help"])
    assert course.stamp()["extras"] == ["space", "week01"]


def test_a_report_is_verified_with_what_its_week_needs(course):
    report = course.away / "my report.md"
    report.write_text("# Week 1 of 16: A week\n\nand so on\n", encoding="utf-8")
    for flags in (["--verify", str(report), "--data", "x"], [f"--verify={report}", "--data", "x"]):
        program = shown(course("report", *flags))
        assert (program["program"], program["argv"]) == ("shared/verify", [str(report), "--data", "x"])
    assert course.stamp()["extras"] == ["week01"]


def test_only_a_report_is_verified(answer, tmp_path):
    for text, line in (
        ("# A page\n", "{} is no report: ./course report N writes them"),
        ("# Week 99 of 16: ?\n", "there is no week '99': the course has weeks 1 to 16"),
        ("# Week 5 of 16: ?\n", "week 5 is not here yet (here: 1)"),
        ("\0\n", "{} is no report: ./course report N writes them"),
    ):
        (tmp_path / "r.md").write_text(text, encoding="utf-8")
        told = line.format(tmp_path / "r.md")
        assert answer("report", "--verify", str(tmp_path / "r.md")) == (2, "", f"course: {told}\n")
    told = f"course: {tmp_path / 'gone.md'}: No such file or directory. ./course report 1 writes "
    assert answer("report", "--verify", str(tmp_path / "gone.md")) == (2, "", f"{told}reports/week01/report.md\n")


def test_tests_run_in_the_root_and_are_recorded(course):
    root, contracts = str(course.root), ["test_contract.py", "test_contract_built.py"]
    for name in contracts:
        (course.root / "tests" / name).touch()
    everything, one = shown(course("test", "-x")), shown(course("test", "week01", "-k", "loss"))
    assert everything["program"] == one["program"] == "pytest"
    assert everything["cwd"] == one["cwd"] == root
    assert everything["COURSE_RECORD_TESTS"] == one["COURSE_RECORD_TESTS"] == f"{root}/runs"
    assert everything["argv"] == ["-n", str(cores()), "-x"]
    of_week = [*(f"{root}/tests/{name}" for name in ("test_week01_a.py", *contracts)), "--week=1"]
    assert one["argv"] == [*of_week, "-k", "loss"], "and what the contract says of that week"
    assert shown(course("test", "-n", "1"))["argv"] == ["-n", "1"]


@pytest.mark.parametrize("command", ["list", "doctor"])
def test_list_and_doctor_need_no_set_up(course, command):
    assert shown(course(command))["python"] == sys.executable
    assert not (course.root / ".venv").exists()


def test_list_and_doctor_load_where_nothing_is_installed():
    code = "import sys; sys.path.insert(0, sys.argv[1]); from shared import doctor, overview, exercise_commands"
    command = [sys.executable, "-I", "-S", "-c", code, str(ROOT)]  # the standard library alone
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("users", "program"),
    [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"), ({"GOMP_SPINCOUNT": "9"}, None)],
)
def test_threads_sleep_while_they_wait_unless_the_user_says_otherwise(course, users, program):
    assert shown(course("list", **users))["OMP_WAIT_POLICY"] == program


def test_a_bench_finds_the_threads_as_everybody_has_them(course):
    course.write("week01_mini/bench.py", SHOW.format(name="week01_mini/bench"))
    assert shown(course("run", "1", "bench"))["OMP_WAIT_POLICY"] is None
    assert shown(course("run", "1", "hello"))["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.parametrize("arguments", [[], ["help"], ["-h"], ["--help"]])
def test_help_names_every_command(answer, arguments):
    assert answer(*arguments) == (0, f"{usage.OVERVIEW}\n", "")


def test_every_command_has_a_help_that_fits():
    for command, text in usage.USAGE.items():
        assert f"\n  ./course {command} " in usage.OVERVIEW
        assert text.startswith(f"usage: ./course {command}")
        assert set(re.findall(r"\./course (\w+)", text)) <= set(usage.USAGE)
    for text in (usage.OVERVIEW, *usage.USAGE.values()):
        assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["check", "--help"], "check"),
        (["check", "2", "-h"], "check"),  # a week that is not here, too
        (["exercise", "1", "--diff", "--help"], "exercise"),
        (["list", "--help"], "list"),
        (["test", "1", "--help"], "test"),
        (["train", "--help"], "train"),
        (["help", "repeat"], "repeat"),
        (["help", "help"], "help"),
    ],
)
def test_help_of_a_command_is_the_launchers(answer, arguments, command):
    assert answer(*arguments) == (0, f"{usage.USAGE[command]}\n", "")


def test_help_of_run_with_a_week_names_its_programs(answer):
    assert answer("run", "1", "--help") == (0, f"{usage.USAGE['run']}\n\nThe programs of week 1:\n{PROGRAMS}\n", "")


def test_help_of_a_program_is_its_own(course):
    for arguments in (["train", "1"], ["repeat", "1"], ["run", "1", "hello"], ["run", "1", "hello", "--mine"]):
        assert shown(course(*arguments, "--help"))["argv"][-1] == "--help", arguments


COMMANDS = ", ".join(usage.USAGE)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["trian", "1"],
            f"there is no command 'trian'; did you mean train? There are: {COMMANDS}",
        ),
        (
            ["help", "me"],
            f"there is no command 'me'. There are: {COMMANDS}",
        ),
        (["train"], "which week? For example: ./course train 1"),
        (["run"], "which week? For example: ./course run 1 PROGRAM"),
        (["train", "17"], "there is no week '17': the course has weeks 1 to 16"),
        (["train", "--epochs", "3"], "there is no week '--epochs': the course has weeks 1 to 16"),
        (["train", "²"], "there is no week '²': the course has weeks 1 to 16"),
        (["check", "5"], "week 5 is not here yet (here: 1)"),
        (["setup", "1", "5"], "week 5 is not here yet (here: 1)"),
        (["test", "2"], "week 2 is not here yet (here: 1)"),
        (["list", "1"], "./course list does not take '1': ./course list --help says what it takes"),
        (["check", "1", "-k"], "./course check does not take '-k': ./course check --help says what it takes"),
        (["check", "1", "--bug"], "which bug? For example: ./course check 1 --bug 1"),
        (["hint", "1"], "which exercise? For example: ./course hint 1 1"),
        (["hint", "1", "x"], "which exercise? For example: ./course hint 1 1"),
        (["hint"], "which week? For example: ./course hint 1 1"),
        (["bugs"], "which week? For example: ./course bugs 1"),
        (["bugs", "17"], "there is no week '17': the course has weeks 1 to 16"),
        (["curve", "5"], "week 5 is not here yet (here: 1)"),
        (["report"], "which week? For example: ./course report 1"),
        (["report", "--verify"], "which report? For example: ./course report --verify reports/week01/report.md"),
        (["report", "5"], "week 5 is not here yet (here: 1)"),
        (["doctor", "--all"], "./course doctor does not take '--all': ./course doctor --help says what it takes"),
        (
            ["train", "1", "--mine", "exercises/week02"],
            "--mine exercises/week02: not of week 1, which has none yet.",
        ),
        (["exercise", "1", "-d"], "./course exercise does not take '-d': ./course exercise --help says what it takes"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(answer, arguments, line):
    assert answer(*arguments) == (2, "", f"course: {line}\n")


def test_a_damaged_pyproject_is_one_line(course):
    course.write("pyproject.toml", "<<<<<<< HEAD")
    done = course("train", "1")
    assert done.returncode == 2
    assert re.fullmatch(r"course: .*pyproject\.toml is damaged \(.*\); `git checkout -- .*` .*\n", done.stderr)


def test_called_through_a_link_and_with_a_guarded_path(course):
    link = course.away / "go"
    link.symlink_to(course.root / "course")
    assert shown(course("train", "1", path=link, PYTHONSAFEPATH="1"))["program"] == "week01_mini/train"


@pytest.mark.parametrize("stray", ["random", "json", "numpy"])
def test_modules_in_a_users_pythonpath_break_nothing(course, stray):
    (course.away / f"{stray}.py").write_text("raise SystemExit('astray')", encoding="utf-8")
    course.write("week01_mini/hello.py", 'if __name__ == "__main__":\n    import json, random, os; print(os.environ)\n')
    done = course("run", "1", "hello", PYTHONPATH=f"{course.away}{os.pathsep}{course.root}")
    assert done.returncode == 0, done.stderr
    assert f"'COURSE_LEFT_OUT_PYTHONPATH': '{course.away}{os.pathsep}{course.root}'" in done.stdout
    assert f"'PYTHONPATH': '{course.root}'" in done.stdout


def test_a_path_with_a_colon_is_refused_before_anything_is_tried(tmp_path):
    course = Course(tmp_path / "a:b")
    done = course("train", "1", path="../a course with spaces/course")
    line = f"course: Python cannot work in {course.root}: a path must not have ':' in it. Rename that folder.\n"
    assert (done.returncode, done.stderr) == (2, line)
    assert not (course.root / ".venv").exists()


# ---------------------------------------------------------------------------------------------------- what is set up


def test_programs_start_without_the_launcher_too(course):
    """Its own Python knows where the course is, from any folder; an older venv is told by the next call."""
    course("train", "1")
    [line] = course.root.glob(".venv/lib/python3*/site-packages/sixteen_weeks.pth")
    for remove in (False, True):
        if remove:
            line.unlink()
            course("train", "1")
        command = [course.root / ".venv/bin/python", "-m", "week01_mini.hello"]
        done = subprocess.run(command, cwd=course.away, env=course.environment(), capture_output=True, encoding="utf-8")
        assert shown(done)["program"] == "week01_mini/hello"
    assert len(course.calls()) == 1


def test_extras_add_up_and_the_stamp_says_so(course):
    course("setup", "1")
    assert course.stamp()["extras"] == ["week01"]
    assert course("check", "1").stderr.startswith("course: setting up week 1 and its tests ...\n")
    assert course.stamp()["extras"] == ["test", "week01"]
    assert "beta[fast]>=2" in course.calls()[1]
    assert "delta" in course.calls()[1]
    course("train", "1")
    course("test")
    assert len(course.calls()) == 2


def test_a_bench_gets_the_libraries_it_compares_with(course):
    course.write("week01_mini/bench.py", 'if __name__ == "__main__":\n    pass\n')
    assert course("run", "1", "bench").returncode == 0
    assert course.stamp()["extras"] == ["test", "week01"]


def test_setup_looks_again_even_where_all_seems_to_be_there(course):
    course("setup", "1")
    done = course("setup", "1")
    assert re.search(r"course: ready, after \d+ s in all\n$", done.stderr)
    assert len(course.calls()) == 2


def test_only_what_concerns_the_installed_weeks_is_set_up_again(course):
    course("train", "1")
    course.write("pyproject.toml", PYPROJECT.replace("gamma", "gamma>=2"))
    course("train", "1")
    assert len(course.calls()) == 1
    course.write("pyproject.toml", PYPROJECT.replace("beta", "beta-plus"))
    course("train", "1")
    assert len(course.calls()) == 2
    course.write("constraints.txt", "alpha==1.1\n")
    course("train", "1")
    assert len(course.calls()) == 3


def test_references_to_other_extras_are_followed(course, monkeypatch):
    monkeypatch.setattr(venv, "ROOT", course.root)
    beta = ["beta[fast]>=2", "only-elsewhere; sys_platform == 'elsewhere'"]
    assert venv.requirements({"week03"}) == ["alpha>=1", beta[0], "delta", "gamma", beta[1]]
    assert venv.requirements(set()) == ["alpha>=1"]


def test_every_package_of_every_week_is_pinned_and_no_address_is_named():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    weeks = {f"week{number:02}" for number in range(1, 17)}
    assert set(project["optional-dependencies"]) == weeks | {"test", "all", "ocr", "space"}
    assert venv.requirements({"all"}) == venv.requirements(weeks | {"test"})
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))
    for line in venv.requirements({"all"}):
        name, least = re.match(r"([\w.-]+)(?:>=([\d.]+))?", line).groups()
        pin = pins[re.sub(r"[-_.]+", "-", name).lower()]
        assert [int(n) for n in pin.split(".")[:2]] >= [int(n) for n in least.split(".")[:2]], line
    assert f"rev: v{pins['ruff']} " in (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")


# ------------------------------------------------------------------------------- interruptions, and what is broken


@pytest.mark.parametrize(("mode", "code"), [("kill the launcher", -signal.SIGKILL), ("Ctrl-C", 130)])
def test_an_interrupted_set_up_is_mended_by_the_next_call(course, mode, code):
    done = course("train", "1", STUB=mode)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert course.stamp()["fingerprint"] == "unfinished"
    assert shown(course("train", "1"))["program"] == "week01_mini/train"
    assert ["--reinstall" in call for call in course.calls()] == [False, True]


@pytest.mark.parametrize("damage", ["python is gone", "stamp is damaged"])
def test_a_broken_venv_is_made_anew(course, damage):
    course("train", "1")
    if damage == "python is gone":
        (course.root / ".venv/bin/python").unlink()
        (course.root / ".venv/bin/python").symlink_to("/nowhere/python")
    else:
        course.write(".venv/course.json", "{")
    assert shown(course("train", "1"))["program"] == "week01_mini/train"
    assert course.stamp()["extras"] == ["week01"]


def test_two_at_once_install_once(course):
    start = [sys.executable, course.root / "course", "train", "1"]
    both = [subprocess.Popen(start, stdout=subprocess.PIPE, env=course.environment(STUB="slow")) for _ in range(2)]
    assert [json.loads(process.communicate(timeout=60)[0])["program"] for process in both] == ["week01_mini/train"] * 2
    assert len(course.calls()) == 1


# ---------------------------------------------------------------------------------------- no network, no room, no pip


def test_no_network_and_nothing_there_is_one_line(course):
    done = course("train", "1", STUB="offline")
    assert done.returncode == 2
    assert done.stderr.splitlines()[1:] == [
        "course: no network, and week 1 still lacks alpha, beta. Put that right and call again."
    ]
    assert shown(course("train", "1"))["program"] == "week01_mini/train"


def test_no_network_uses_what_the_venv_has(course):
    course("train", "1")
    course.write("constraints.txt", "alpha==1.1\n")
    done = course("train", "1", STUB="offline")
    python = course.root / ".venv/bin/python"
    assert shown(done)["python"] == str(python)
    assert done.stderr.splitlines()[1:] == [f"course: no network: going on with what {python} has"]
    assert course.stamp()["extras"] == ["week01"]


def test_no_network_uses_the_cache_of_uv(course):
    done = course("train", "1", STUB="cache")
    assert done.stderr.splitlines()[1] == "course: no network: taken from uv's cache"
    assert course("train", "1", STUB="offline").stderr == ""


def test_no_network_uses_the_python_that_runs_the_launcher(course):
    course.write("pyproject.toml", PYPROJECT.replace("alpha>=1", "pytest").replace("beta[fast]>=2", "jaxtyping"))
    done = course("train", "1", STUB="offline")
    assert shown(done)["python"] == sys.executable
    assert done.stderr.splitlines()[1:] == [f"course: no network: going on with what {sys.executable} has"]


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("disk", "the disk is full (a week with torch takes 6 GB)"),
        ("conflict", "no network"),  # uv's own trouble: pip was tried after it, and had no network
    ],
)
def test_a_failed_installation_says_why_in_one_line(course, mode, why):
    done = course("train", "1", STUB=mode)
    assert done.returncode == 2
    assert done.stderr.splitlines()[1:] == [
        f"course: {why}, and week 1 still lacks alpha, beta. Put that right and call again."
    ]


def test_where_uv_cannot_be_had_pip_installs(course):
    """A mirror without uv: a real venv, the pip in it, and two wheels in a folder."""
    (course.bin / "uv").unlink()
    for name in ("alpha", "beta"):
        with zipfile.ZipFile(course.away / f"{name}-2.0-py3-none-any.whl", "w") as wheel:
            folder = f"{name}-2.0.dist-info"
            wheel.writestr(f"{name}.py", "")
            wheel.writestr(f"{folder}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
            wheel.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{folder}/RECORD", "")
    course.write("constraints.txt", "alpha==2.0\n")
    course.write("week01_mini/train.py", 'if __name__ == "__main__":\n    import alpha, beta; print("both are here")')
    done = course("train", "1", PIP_FIND_LINKS=str(course.away))
    assert (done.returncode, done.stdout) == (0, "both are here\n"), done.stderr


def test_a_python_without_ensurepip_is_told_what_to_install(tmp_path, monkeypatch):
    debian = "The virtual environment was not created successfully because ensurepip is not available.  On Debian/..."
    monkeypatch.setattr(venv, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(venv, "PYTHON", tmp_path / ".venv/bin/python")
    monkeypatch.setattr(venv, "attempt", lambda *command: debian)
    with pytest.raises(CourseError, match=r"^this Python's venv is incomplete; `sudo apt install python3-venv` .*$"):
        venv.make_venv(None)
    assert not (tmp_path / ".venv").exists()


def test_a_place_that_cannot_be_written_is_one_line(course):
    (course.root / ".course.lock").mkdir()  # as root, which tests may be, nothing is read-only
    done = course("train", "1")
    assert done.returncode == 2
    why = f"cannot write {course.root / '.course.lock'} (Is a directory)"
    assert done.stderr == f"course: {why}, and week 1 still lacks alpha, beta. Put that right and call again.\n"


# -------------------------------------------------------------------------------------------------------- old Pythons


def test_the_launcher_parses_on_any_python():
    """Python 2 knows no annotations, no text between quotes with an f, no star in a list, and no letters but ASCII."""
    text = (ROOT / "course").read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 4))
    assert text.isascii()
    new = (ast.JoinedStr, ast.Starred, ast.AnnAssign, ast.NamedExpr, ast.Nonlocal, ast.YieldFrom, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        assert not isinstance(node, new), f"line {node.lineno}"
        assert not (isinstance(node, ast.FunctionDef) and (node.returns or node.args.kwonlyargs)), f"line {node.lineno}"
    assert "print(" not in text


def test_an_old_python_starts_a_newer_one(course, monkeypatch, capfd):
    monkeypatch.setattr(sys, "version_info", (3, 8, 10, "final", 0))
    monkeypatch.setattr(sys, "argv", ["course", "train", "1"])
    monkeypatch.setenv("PATH", str(course.bin))
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(course.root / "course"), run_name="__main__")
    assert stopped.value.code == 2
    assert capfd.readouterr().err == "course: Python 3.8 is too old: install Python 3.11 or newer from python.org\n"

    became = []
    monkeypatch.setattr(os, "execvp", lambda path, arguments: became.append((path, arguments)))
    course.add_command("python3.12", f'exec "{sys.executable}" "$@"')
    course.add_command("python3.13", "exit 127")  # a pyenv shim of a version that is not switched on
    with pytest.raises(SystemExit):
        runpy.run_path(str(course.root / "course"), run_name="__main__")
    assert became == [("python3.12", ["python3.12", str(course.root / "course"), "train", "1"])]
