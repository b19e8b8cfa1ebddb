"""`./course hint N P`: the next of four hints for a piece, and which of them one has had.

1 the shapes at the failing line, the learner's and those that should be
2 the smallest input that fails, with its numbers
3 the idea or the equation
4 the first line of the reference that differs

The first two are worked out from the failing test (shared/exercise_calls.py), the third is the reference's `# hint:`.
"""

import difflib
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
from shared.exercise_diff import region_lines
from shared.files import read_json, write_json

HINTS = "hints.json"
LEVELS = ("the shapes", "the smallest input that fails", "the idea", "the first line that differs")


def used(folder: Path) -> dict[str, int]:
    """{piece: how many hints were given}."""
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
    if status == "passed" and number not in not_written(todo, folder):
        write_json(folder / PROGRESS, read_progress(folder) | {str(number): "passed"})
        print(f"exercise {number} {words}: it needs no hint.")
        return
    if status == "waits":
        print(f"exercise {number} {words}: do that first (./course hint {week_number(folder)} {words.split()[-1]}).")
        return
    given = used(folder)
    level = min(given.get(str(number), 0) + 1, len(LEVELS))
    print(f"exercise {number}, {names_of(todo)[number]}: hint {level} of {len(LEVELS)}, {LEVELS[level - 1]}\n")
    print("\n".join(text_of(level, todo, folder, week, seen, why)))
    if level < len(LEVELS):
        print(f"\nThe next one: ./course hint {week_number(folder)} {number}")
    else:
        print(f"\nThat was the last. All of the reference: ./course exercise {week_number(folder)} --diff")
    write_json(folder / HINTS, given | {str(number): level})


def text_of(level: int, todo: list[Piece], folder: Path, week: Path, seen: dict, why: list[str]) -> list[str]:
    """The lines of a hint."""
    if level == 3:
        several = len(todo) > 1
        texts = [f"{piece.title}: " * several + piece.hint for piece in todo if piece.hint]
        return "\n\n".join(textwrap.fill(text, WIDTH, break_on_hyphens=False) for text in texts).splitlines()
    if level == 4:
        return first_difference(todo, folder, week)
    lines = seen.get("shapes" if level == 1 else "numbers") or []
    said = [] if level == 2 or not why else [*why, ""]
    if lines:
        return lines if level == 2 else [*said, *lines]
    if level == 1:
        return [*why, "", "No single call of it shows what is wrong. The next hint is the test that fails."]
    return ["The test that fails, from top to bottom:", "", *seen.get("source", [])]


def first_difference(todo: list[Piece], folder: Path, week: Path) -> list[str]:
    """The first line of the reference that the learner's file has not got, region by region."""
    for piece in todo:
        path = folder / piece.file
        theirs = region_lines(read(path)).get(key(piece), []) if path.is_file() else []
        ours = region_lines(read(week / piece.file))[key(piece)]
        matcher = difflib.SequenceMatcher(None, [line for _, line in theirs], [line for _, line in ours], False)
        for what, _, _, start, end in matcher.get_opcodes():
            if what in ("replace", "insert") and end > start:
                line, code = ours[start]
                return [f"{shown(week / piece.file)}:{line}", f"    {code}"]
    return ["Every line of the reference is in your file; you have one more, or another order: look at --diff."]


def week_number(folder: Path) -> int:
    return number_of(folder.name)


def week_of(folder: Path) -> str:
    return f"week {week_number(folder)}"
