"""What one does with exercises: `./course exercise N`, its --diff, `./course check N`, and --mine of the programs.

python -m shared.exercise_commands write 1     the week's files with the pieces cut out -> exercises/week01
python -m shared.exercise_commands diff 1      the learner's files against the reference
python -m shared.exercise_commands check 1     one line per piece: passed, failed and why, or not written yet
python -m shared.exercise_commands run 1 train --epochs 3     a program of the week, with the learner's files in it
python -m shared.exercise_commands run 1 repeat --seeds 5     the week's training from several seeds, likewise
"""

import runpy
import signal
import sys
import traceback
from pathlib import Path

from shared import plan
from shared.errors import CourseError
from shared.exercise import UNWRITTEN, number_of, parse, pieces, read, shown, use, write, written_in
from shared.exercise_check import check
from shared.exercise_diff import diff
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
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except NotImplementedError as error:
        if not UNWRITTEN.match(str(error)):
            raise
        title, last = str(error).partition(": ")[0], traceback.extract_tb(error.__traceback__)[-1]
        where = f"{shown(Path(last.filename))}:{last.lineno}"
        raise CourseError(f"{title}, is not written yet ({where}): see ./course check {number}") from None


def main(arguments: list[str]) -> int:
    """Does what the command line says. Returns 0; 1 when `check` found a piece that has not passed."""
    match arguments:
        case ["write" | "diff" | "check", _] | ["run", _, _, *_]:
            command, number = arguments[0], number_of(arguments[1])
        case _:
            raise CourseError("usage: python -m shared.exercise_commands write|diff|check N, or run N PROGRAM [flags]")
    week, folder = ROOT / plan.folder(number), ROOT / "exercises" / f"week{number:02}"
    if not plan.is_there(number) or not pieces(week):
        raise CourseError(f"week {number} has no exercises yet.")
    if command == "run":
        run(week, folder, arguments[2], arguments[3:])
    elif command == "check":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, on which subprocess.run ends its child
        return 0 if check(week, folder) else 1
    else:
        {"write": write, "diff": diff}[command](week, folder)
    return 0


if __name__ == "__main__":
    exit_with(lambda: main(sys.argv[1:]))
