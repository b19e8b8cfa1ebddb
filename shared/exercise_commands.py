"""What one does with exercises: `./course exercise N`, its --diff, check, hint and bugs, and --mine of the programs.

python -m shared.exercise_commands write 1         the week's files with the pieces cut out -> exercises/week01
python -m shared.exercise_commands diff 1          the learner's files against the reference
python -m shared.exercise_commands check 1 [3]     each piece, or the third: passed, failed and why, or not written yet
python -m shared.exercise_commands hint 1 3        the next of four hints for piece 3
python -m shared.exercise_commands bugs 1 [2]      lists the week's planted bugs, or plants the second
python -m shared.exercise_commands bug 1 2         whether that bug has been found
python -m shared.exercise_commands run FOLDER train --epochs 3     a program of the week, with the files of FOLDER in it
python -m shared.exercise_commands run FOLDER repeat --seeds 5     the week's training from several seeds, likewise
"""

import re
import runpy
import signal
import sys
import traceback
from pathlib import Path

from shared import plan
from shared.errors import CourseError
from shared.exercise import UNWRITTEN, number_of, parse, pieces, read, shown, use, write, written_in
from shared.exercise_bugs import check_bug, plant, show
from shared.exercise_check import check
from shared.exercise_diff import diff
from shared.exercise_hint import hint
from shared.files import ROOT
from shared.terminal import exit_with


def run(week: Path, folder: Path, program: str, flags: list[str]) -> None:
    """Runs a program of the week, or shared.repeat, with the learner's files in front.

    Raises:
        CourseError: there is no such program, or it came to a piece that is not written yet.
    """
    use(week.name, folder)
    module, number = f"{week.name}.{program}", number_of(folder.name)
    if program == "repeat":
        module, flags = "shared.repeat", [str(number), *flags]
    elif not any((place / f"{program}.py").is_file() for place in (folder, week)):
        raise CourseError(f"week {number} has no program {program!r}: ./course run {number} says which it has.")
    sys.argv[1:] = flags
    if not {"-h", "--help"} & set(flags):
        print(f"with your own code: {', '.join(shown(path) for path in written_in(folder))}")
    for path in written_in(folder):
        parse(read(path), shown(path))  # before anything is begun: the clearest line for a typing mistake
    if "-bug" not in folder.name:
        for name in sorted({piece.file for piece in pieces(week)} - {path.name for path in written_in(folder)}):
            print(f"({shown(folder / name)} is not there: the reference's takes its place)")
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except NotImplementedError as error:
        if not UNWRITTEN.match(str(error)):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{shown(Path(last.filename))}:{last.lineno}"
        raise CourseError(f"{error}, is not written yet ({where}): see ./course check {number}") from None


def main(arguments: list[str]) -> int:
    """Does what the command line says. Returns 0; 1 when `check` found a piece that has not passed."""
    match arguments:
        case ["write" | "diff" | "check" | "bugs" as command, week] | ["run" as command, week, _, *_]:
            number, which = number_of(Path(week).name), None
        case ["check" | "hint" | "bugs" | "bug" as command, week, which]:
            number, which = number_of(week), which_of(command, which)
        case _:
            raise CourseError(
                "usage: python -m shared.exercise_commands COMMAND N …: ./course help says which there are"
            )
    week, folder = ROOT / plan.folder(number), ROOT / "exercises" / f"week{number:02}"
    if not plan.is_there(number) or not (todo := pieces(week)):
        raise CourseError(f"week {number} has no exercises yet.")
    if command in ("check", "hint") and which and which not in {piece.number for piece in todo}:
        raise CourseError(f"week {number} has no exercise {which}: it has 1 to {todo[-1].number}.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, which ends the process of the tests, too
    match command:
        case "run":
            run(week, Path(arguments[1]).absolute(), arguments[2], arguments[3:])
        case "check":
            return 0 if check(week, folder, which) else 1
        case "hint":
            hint(week, folder, which)
        case "bugs":
            plant(number, which) if which else show(number)
        case "bug":
            return 0 if check_bug(number, which) else 1
        case _:
            {"write": write, "diff": diff}[command](week, folder)
    return 0


def which_of(command: str, text: str) -> int:
    """The number of a piece or a bug; a CourseError where it is none."""
    if not re.fullmatch(r"[1-9]\d?", text):
        kind = "bug" if command in ("bug", "bugs") else "exercise"
        raise CourseError(f"{text!r} is no {kind}: write its number, as 3.")
    return int(text)


if __name__ == "__main__":
    exit_with(lambda: main(sys.argv[1:]))
