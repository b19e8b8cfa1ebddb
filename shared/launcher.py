"""What `./course` does: sets up what a command needs on first use (shared/venv.py), then runs it.

Standard library only. It starts fast: what not every call needs is imported where it is needed.
"""

import os
import re
import signal
import sys
from pathlib import Path

from shared.errors import CourseError, Stopped
from shared.terminal import endings
from shared.usage import CALL, OVERVIEW, USAGE
from shared.venv import PYTHON, ROOT, attempt, say, set_up

WEEKS = {int(path.parent.name[4:6]): path.parent for path in sorted(ROOT.glob("week[0-9][0-9]_*/__init__.py"))}


def hand_over(python, *arguments, **environment):
    """Becomes `python -m arguments`, with the course importable from any working directory."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT), PYTHONUTF8="1", **environment)
    measures = {"bench", "speed"} & {word.rpartition(".")[2] for word in arguments[:4]}  # for machines that are idle
    if not measures and not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & set(environment):
        # Threads that wait for each other spin, and where the machine has other work to do they keep the core from the
        # very thread that they wait for. Let them sleep: a step of week 2 takes 159 ms instead of 955 beside another
        # training (two cores), and 95 instead of 89 on an idle machine.
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
    command = [str(python), "-P", "-m", *arguments]
    if os.name != "nt":
        if arguments[0] != "pytest":  # the program lets it through once it can answer (shared/starting.py)
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        os.execve(command[0], command, environment)
    import subprocess

    process = subprocess.Popen(command, env=environment)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the program has had the Ctrl-C too, and saves
            continue


def week_number(text):
    """Reads 1, 01, week01 and week01_numpy_mlp/ as 1."""
    match = re.match(r"(?:week)?(\d{1,2})(?:_\w*)?/?$", text, re.ASCII)
    number = int(match.group(1)) if match else 0
    if not 1 <= number <= 16:
        raise CourseError(f"there is no week {text!r}: the course has weeks 1 to 16")
    if number not in WEEKS:
        raise CourseError(f"week {number} is not here yet (here: {', '.join(map(str, WEEKS))})")
    return number


def near(word, words):
    """`; did you mean train?` where one of the words is like the one that was typed, else a full stop."""
    from difflib import get_close_matches

    return "".join(f"; did you mean {match}?" for match in get_close_matches(word, words, 1)) or "."


def programs(number):
    """{name: first line of its docstring} of the modules of a week that can be run; the others are its libraries."""
    found = {}
    for path in sorted(WEEKS[number].glob("[!_]*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if re.search('^if __name__ == "__main__"', text, re.M):
            docstring = re.match('"""(.*?)("""|\n)', text)
            found[path.stem] = docstring.group(1) if docstring else ""
    return found


def listed(number):
    """The programs of a week as lines of text."""
    found = programs(number)
    return "\n".join(f"  {name:{max(map(len, found))}}   {what}".rstrip() for name, what in found.items())


def run_program(command, number, flags):
    """A program of a week; with --mine, the learner's files are put in front of the week's."""
    if command == "run" and not flags:
        print(f"The programs of week {number}:\n{listed(number)}")
        return 0
    program = flags.pop(0) if command == "run" else command
    if command != "repeat" and program not in programs(number):  # repeat is the same for all weeks
        meant = near(program, programs(number))
        raise CourseError(f"week {number} has no program {program!r}{meant} It has: {', '.join(programs(number))}.")
    mine = take_mine(number, flags)
    # A bench compares with other libraries, which are those of the tests.
    extras = {f"week{number:02}"} | ({"test"} if program == "bench" else set())
    python = set_up(extras, f"week {number}")
    if mine:
        return hand_over(python, "shared.exercise_commands", "run", mine, program, *flags)
    if command == "repeat":
        return hand_over(python, "shared.repeat", str(number), *flags)
    return hand_over(python, f"{WEEKS[number].name}.{program}", *flags)


def take_mine(number, flags):
    """Takes --mine [FOLDER] out of the flags, and returns the folder with the learner's files; "" without it."""
    for at, flag in enumerate(flags):
        if flag == "--mine" or flag.startswith("--mine="):
            del flags[at]
            folder = flag.partition("=")[2]
            if not folder and flags[at:] and re.search(r"(^|/)week\d\d(-bug\d+)?/?$", flags[at]):
                folder = flags.pop(at)
            folder = os.path.normpath(folder or str(ROOT / "exercises" / f"week{number:02}"))
            if not re.match(f"week{number:02}(-|$)", Path(folder).name):
                here = sorted(path.name for path in (ROOT / "exercises").glob(f"week{number:02}*"))
                has = f"has {', '.join(here)}" if here else "has none yet"
                raise CourseError(f"--mine {folder}: not of week {number}, which {has}.")
            return folder
    return ""


def run_exercises(command, number, flags):
    """Writes the exercises of a week, shows them beside the reference, checks them, gives hints or plants bugs."""
    if command == "exercise":
        action, flags = "diff" if flags else "write", []
    elif command == "check" and flags[:1] == ["--bug"]:
        action, flags = "bug", flags[1:]
        if not flags:
            raise CourseError(f"which bug? For example: {CALL} check {number} --bug 1")
    else:
        action = command
    if command == "hint" and not flags:
        raise CourseError(f"which exercise? For example: {CALL} hint {number} 1")
    extras, what = {f"week{number:02}"}, f"week {number}"
    tests = action in ("check", "hint", "bug")
    python = set_up(extras | {"test"}, f"{what} and its tests") if tests else set_up(extras, what)
    return hand_over(python, "shared.exercise_commands", action, str(number), *flags)


def bring_models(python, numbers):
    """Brings the published networks that these weeks use (shared/models.py). Returns "", or what went wrong."""
    error = attempt(python, "-m", "shared.models", *map(str, sorted(numbers)), show=sys.stderr.isatty())
    return error.splitlines()[-1].removeprefix("course: ") if error else ""


def run_tests(number, flags):
    """pytest in the root of the repository, on one week's tests or (None) on all; the counts go to `course list`."""
    from shared.parallel import cores

    files = sorted(str(path) for path in (ROOT / "tests").glob(f"test_week{number:02}*.py")) if number else []
    if number and not files:
        raise CourseError(f"week {number} has no tests yet")
    if number:  # with the part of the contract test that is about this week
        files += [*sorted(map(str, (ROOT / "tests").glob("test_contract*.py"))), f"--week={number}"]
    elif not {"-n", "--mine"} & {flag.partition("=")[0] for flag in flags}:
        files = ["-n", str(cores())]  # on all cores; tests/conftest.py says which tests stay together
    extras = {f"week{n:02}" for n in WEEKS if number in (None, n)} | {"test"}
    python = set_up(extras, f"week {number} and its tests" if number else "all weeks and their tests")
    if error := bring_models(python, [number] if number else WEEKS):
        say(f"{error} The tests that need it will fail.")
    os.chdir(str(ROOT))
    return hand_over(python, "pytest", *files, *flags, COURSE_RECORD_TESTS=str(ROOT / "runs"))


def pack_space(number, flags):
    """The Space of a week's page; what lacks a page or a run is told so before anything is installed."""
    weeks = [n for n in WEEKS if (WEEKS[n] / "space.py").is_file()]
    if not weeks:
        raise CourseError("no week here has a page to put up yet")
    if number not in weeks:
        raise CourseError(f"week {number} has no page to put up: {CALL} space takes {', '.join(map(str, weeks))}")
    if "--run" not in {word.partition("=")[0] for word in flags}:
        finished_run(number)
    python = set_up({f"week{number:02}", "space"}, f"week {number} and its Space")
    return hand_over(python, "shared.space", str(number), *flags)


def finished_run(number):
    """Refuses where the week has no finished run, before torch is installed to say so."""
    if not any((ROOT / "runs" / f"week{number:02}").glob("*/result.json")):
        raise CourseError(f"no run of week {number} has come to its end yet: {CALL} train {number} makes one")


def verify_report(name, flags):
    """Runs again what a report tells of, with what its week needs; its title says which week that is."""
    if not name:
        raise CourseError(f"which report? For example: {CALL} report --verify reports/week01/report.md")
    try:
        with Path(name).expanduser().open(encoding="utf-8", errors="replace") as file:
            title = file.readline(200)
    except OSError as error:
        raise CourseError(f"{name}: {error.strerror}. {CALL} report 1 writes reports/week01/report.md") from None
    match = re.match(r"# Week (\d{1,2}) of 16: ", title)
    if not match:
        raise CourseError(f"{name} is no report: {CALL} report N writes them")
    number = week_number(match[1])
    return hand_over(set_up({f"week{number:02}"}, f"week {number}"), "shared.verify", name, *flags)


def set_up_only(weeks):
    """Installs what these weeks need, or (none named, or all) what all weeks and the tests need."""
    import time

    start, everything = time.monotonic(), weeks in ([], ["all"])
    numbers = sorted(WEEKS) if everything else [week_number(text) for text in weeks]
    extras = {f"week{number:02}" for number in numbers} | ({"test"} if everything else set())
    python = set_up(extras, f"week {', '.join(map(str, numbers))}", look_again=True)
    if error := bring_models(python, numbers):
        raise CourseError(error)
    say(f"ready, after {time.monotonic() - start:.0f} s in all")
    return 0


def show_help(command="", *rest):
    """The help of one command, or of all of them; `run 2 --help` also names the programs of week 2."""
    print(USAGE.get(command, OVERVIEW))
    if command == "run" and rest[:1] and not rest[0].startswith("-"):
        number = week_number(rest[0])
        print(f"\nThe programs of week {number}:\n{listed(number)}")
    return 0


def main(command="help", *rest):
    """Runs one command; returns its exit code, where it does not become the program itself."""
    rest, help_asked = list(rest), command in ("help", "-h", "--help")
    if help_asked:
        if not rest:
            return show_help()
        command = rest.pop(0)
    if os.pathsep in str(ROOT):
        raise CourseError(
            f"Python cannot work in {ROOT}: a path must not have {os.pathsep!r} in it. Rename that folder."
        )
    if command not in USAGE:
        raise CourseError(f"there is no command {command!r}{near(command, USAGE)} There are: {', '.join(USAGE)}")
    # so many words are ours; a --help behind them is the program's
    ours = {"train": 1, "eval": 1, "repeat": 1, "space": 1, "run": 2}.get(command, len(rest))
    if help_asked or {"-h", "--help"} & set(rest[:ours]):
        return show_help(command, *rest)

    if command == "setup":
        return set_up_only(rest)
    if command == "portfolio":
        return hand_over(set_up(set(), "what draws the page"), "shared.portfolio", *rest)
    if command == "report" and rest[:1] and re.match("--verify(=|$)", rest[0]):
        return verify_report(rest[0].partition("=")[2] or "".join(rest[1:2]), rest[2 - ("=" in rest[0]) :])
    takes_week = command not in ("list", "doctor") and (command != "test" or re.match(r"(week)?\d", "".join(rest[:1])))
    if takes_week and not rest:
        example = {"run": " PROGRAM", "hint": " 1"}.get(command, "")
        raise CourseError(f"which week? For example: {CALL} {command} 1{example}")
    number = week_number(rest.pop(0)) if takes_week else None
    if command == "test":
        return run_tests(number, rest)
    if command in ("train", "eval", "repeat", "run"):
        return run_program(command, number, rest)
    if command == "report" and "--run" not in {word.partition("=")[0] for word in rest}:
        finished_run(number)
    if command == "space":
        return pack_space(number, rest)
    if command in ("curve", "report"):
        return hand_over(set_up({f"week{number:02}"}, f"week {number}"), f"shared.{command}", str(number), *rest)
    takes = {"exercise": ["--diff"], "check": ["--bug", "1"], "hint": ["1"], "bugs": ["1"], "doctor": ["--issue"]}
    takes = takes.get(command, [])
    if command == "hint" and rest and not rest[0].isdecimal():
        raise CourseError(f"which exercise? For example: {CALL} hint {number} 1")
    unknown = [word for word in rest if ("1" if word[:1].isdecimal() else word) not in takes] or rest[len(takes) :]
    if unknown:
        raise CourseError(f"{CALL} {command} does not take {unknown[0]!r}: {CALL} {command} --help says what it takes")
    if command in ("exercise", "check", "hint", "bugs"):
        return run_exercises(command, number, rest)
    python = PYTHON if PYTHON.exists() else sys.executable  # list and doctor need no set-up, and make none
    return hand_over(python, "shared.overview" if command == "list" else "shared.doctor", *rest)


def guarded():
    """`main`, with everything a person can put right as one line and exit code 2."""
    with endings("course"):
        try:
            return main(*sys.argv[1:])
        except KeyboardInterrupt:
            raise Stopped("course: stopped; nothing is lost, the same command goes on from here") from None
