"""`./course hint N P`: the next of four hints for a piece, and which of them one has had.

1 the shapes at the failing line, the learner's and those that should be
2 the smallest input that fails, with its numbers
3 the idea or the equation
4 the first line of the reference that differs

The first two are worked out from the failing test (shared/exercise_calls.py), the third is the reference's `# hint:`.
"""

import difflib
import re
import sys
import textwrap
from pathlib import Path

from shared.errors import CourseError
from shared.exercise import Piece, key, number_of, parse, pieces, read, shown, written_in
from shared.exercise_check import (
    PROGRESS,
    WIDTH,
    Outcome,
    judge,
    names_of,
    not_written,
    place,
    pytest_arguments,
    read_progress,
    told,
)
from shared.exercise_diff import normal_lines, region_lines
from shared.files import read_json, write_json

HINTS = "hints.json"
LEVELS = ("the shapes", "the smallest input that fails", "the idea", "the first line that differs")
COMMON = re.compile(r":$|\.shape(\[1:\])?$|^self\.(\w+) = \2$|^super\(\)\.__init__\(\)$")
"""Lines with which many pieces begin, and which tell nobody what to do: names for the sizes of an array, what a
constructor is given, the head of a loop."""


def used(folder: Path) -> dict[str, dict]:
    """{piece: {level: of the last hint, failure: which it was about}}."""
    try:
        found = read_json(folder / HINTS)
    except CourseError:
        return {}
    return found if isinstance(found, dict) else {}


def hint(week: Path, folder: Path, number: int) -> None:
    """Prints the next hint for a piece and remembers it; none where the piece passes, or waits for another one.

    Raises:
        CourseError: there is no such piece, or the learner's file cannot be tested.
    """
    todo = [piece for piece in pieces(week) if piece.number == number]
    if not todo:
        raise CourseError(f"{week_of(folder)} has no exercise {number}: it has 1 to {pieces(week)[-1].number}.")
    for path in written_in(folder):
        parse(read(path), shown(path))
    for piece in todo:
        if not (folder / piece.file).is_file():
            raise CourseError(f"{shown(folder / piece.file)} is not there: ./course exercise {week_number(folder)}.")
    print(f"testing exercise {number} (some seconds) ...", file=sys.stderr, flush=True)
    outcomes, seen = [], {}
    arguments = pytest_arguments(number_of(folder.name), folder, [number])
    for record in told([sys.executable, "-m", "pytest", *arguments, "-p", "shared.exercise_calls"]):
        match record:
            case {"collection": test, "traceback": text}:
                last = text.strip().splitlines()[-1].removeprefix("E").strip()
                raise CourseError(f"{place(text, folder) or test}: {last} (no test could start).")
            case {"shapes": _}:
                seen = record
            case {"piece": piece} if piece == number:
                outcomes.append(Outcome(**record))
    status, words, why = judge(outcomes)
    given = used(folder)
    before = given.get(str(number), {})
    if status == "passed" and number not in not_written(todo, folder):
        write_json(folder / PROGRESS, read_progress(folder) | {str(number): "passed"})
        if before:
            write_json(folder / HINTS, given | {str(number): {"level": 0, "failure": ""}})
        idea = text_of(3, todo, folder, week, seen, why)
        print(f"exercise {number} {words}: it needs no hint." + " The idea of it:" * bool(idea), *idea, sep="\n")
        return
    if status == "waits":
        print(f"exercise {number} {words}: do that first (./course hint {week_number(folder)} {words.split()[-1]}).")
        return
    failure = why[0] if why else words  # of another one the hints begin anew
    level = min(before.get("level", 0) + 1, len(LEVELS)) if before.get("failure") == failure else 1
    if level == 1 and not seen.get("shapes"):  # no single call of it shows what is wrong
        level = 2
    title = LEVELS[level - 1] if level != 2 or seen.get("numbers") else "the test that fails"
    print(f"exercise {number}, {names_of(todo)[number]}: hint {level} of {len(LEVELS)}, {title}\n")
    print("\n".join(text_of(level, todo, folder, week, seen, why)))
    if level < len(LEVELS):
        print(f"\nThe next one: ./course hint {week_number(folder)} {number}")
    else:
        print(f"\nThat was the last. All of the reference: ./course exercise {week_number(folder)} --diff")
    write_json(folder / HINTS, given | {str(number): {"level": level, "failure": failure}})


def text_of(level: int, todo: list[Piece], folder: Path, week: Path, seen: dict, why: list[str]) -> list[str]:
    """The lines of a hint."""
    if level == 3:
        several = len(todo) > 1
        texts = [f"{piece.title}: " * several + piece.hint for piece in todo if piece.hint]
        return "\n\n".join(textwrap.fill(text, WIDTH, break_on_hyphens=False) for text in texts).splitlines()
    if level == 4:
        return first_difference(todo, folder, week, seen.get("region", ""))
    if level == 2 and seen.get("shapes"):
        return seen.get("numbers") or seen.get("source", [])
    return [*why, *[""] * bool(why), *(seen["shapes"] if level == 1 else seen.get("source", []))]


def first_difference(todo: list[Piece], folder: Path, week: Path, region: str = "") -> list[str]:
    """The first line of the reference that the learner's file has not got, beside the learner's. How one's own names
    are called makes no difference.

    The region whose call has failed comes first. Where none is known, a line that is missing tells more than one that
    stands there in other words.
    """
    found: list[tuple[bool, list[str]]] = []  # in other words?, the lines of the hint
    for piece in sorted(todo, key=lambda piece: piece.title != region):
        path = folder / piece.file
        theirs, ours = (
            normal_lines(region_lines(read(p)).get(key(piece), []), read(p)) for p in (path, week / path.name)
        )
        theirs = [line for line in theirs if "NotImplementedError" not in line[1]]
        matcher = difflib.SequenceMatcher(None, [line[2] for line in theirs], [line[2] for line in ours], False)
        for what, first, last, start, end in matcher.get_opcodes():
            if what in ("replace", "insert") and end > start:
                telling = [one for one in ours[start:end] if not COMMON.search(one[1].strip())]
                line, code, _ = (telling or ours[start:end])[0]
                lines = [f"{shown(week / piece.file)}:{line}", f"    {code}"]
                if last > first:
                    line, code, _ = theirs[first]
                    lines += [f"{shown(path)}:{line}, which may do the same", f"    {code}"]
                if piece.title == region:
                    return lines
                found.append((what == "replace", lines))
    if found:
        return min(found, key=lambda one: one[0])[1]
    return ["Every line of the reference is in your file; you have one more, or another order: look at --diff."]


def week_number(folder: Path) -> int:
    return number_of(folder.name)


def week_of(folder: Path) -> str:
    return f"week {week_number(folder)}"
