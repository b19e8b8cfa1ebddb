"""`./course bugs N [K]` and `./course check N --bug K`: the field's real slips, to be found in code that looks right.

A week's bugs stand in tests/bugs_weekNN.toml. Each is a change to the reference, made at the moment when it is planted;
there is no second copy of any line. `tests/test_exercises_bugs.py` proves that the week's tests see every one of them.
"""

import textwrap
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from shared import plan
from shared.errors import CourseError
from shared.exercise import as_copy, number_of, parse, pieces, read, regions, shown
from shared.exercise_check import MARKS, PROGRESS, WIDTH, judge, names_of, read_progress, run_tests
from shared.files import ROOT, write_json, written_whole


@dataclass(frozen=True)
class Bug:
    """One slip.

    Attributes:
        title: its name, shown once it is found.
        piece, file: the exercise, and the file of the reference that is changed.
        old, new: the lines that are taken out, and what stands there then.
        symptom: what one sees of it.
        look: the command that shows it, behind `./course`, with FOLDER for the learner's; empty: the tests alone.
        story: what is wrong, and why it is easily done.
        seen: where it happened to others.
        says: a part of what the tests say of it, and of no other bug of the piece.
    """

    title: str
    piece: int
    file: str
    old: str
    new: str
    symptom: str
    story: str
    seen: str
    says: str
    look: str = ""


def bugs(week: int) -> list[Bug]:
    """The bugs of a week, number 1 first; a CourseError where their file is not as it should be."""
    path = ROOT / "tests" / f"bugs_week{week:02}.toml"
    if not path.is_file():
        raise CourseError(f"week {week} has no bugs yet.")
    try:
        tables = tomllib.loads(read(path)).get("bug", [])
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"{shown(path)} is not TOML: {error}.") from None
    found = []
    for number, table in enumerate(tables, 1):
        names = {field.name for field in fields(Bug)}
        if not names - {"look"} <= table.keys() <= names:
            odd = ", ".join(sorted(names - {"look"} ^ (table.keys() - {"look"})))
            raise CourseError(f"{shown(path)}: bug {number} lacks, or has besides: {odd}.")
        found.append(Bug(**table))
    return found


def bug(week: int, number: int) -> Bug:
    """One of them; a CourseError where there is no such number."""
    found = bugs(week)
    if not 1 <= number <= len(found):
        raise CourseError(f"week {week} has no bug {number}: it has 1 to {len(found)}.")
    return found[number - 1]


def planted(week: Path, one: Bug) -> str:
    """The text of the reference's file with the bug in it, and without the hints.

    Raises:
        CourseError: what it changes is not there (any more), or there twice.
    """
    text = as_copy(read(week / one.file))
    old, new = one.old.strip("\n"), one.new.strip("\n")
    if text.count(old) != 1:
        times = f"{text.count(old)} times" if old in text else "not"
        raise CourseError(f"bug '{one.title}': what it changes is {times} in {shown(week / one.file)}.")
    text = text.replace(old, new)
    lines = text.split("\n")
    for piece in reversed(regions(text, one.file)):
        del lines[piece.cut - 1 : piece.first - 1]
    return "\n".join(lines)


def folder_of(week: int, number: int) -> Path:
    """Where bug `number` is planted."""
    return ROOT / "exercises" / f"week{week:02}-bug{number}"


def show(week: int) -> None:
    """Lists the bugs of a week without naming those that are not found yet."""
    found = bugs(week)
    done = [number for number in range(1, len(found) + 1) if is_found(folder_of(week, number))]
    print(f"Week {week} has {len(found)} bugs, slips that people really make. You have found {len(done)}.")
    for number, one in enumerate(found, 1):
        folder = folder_of(week, number)
        state = f"planted in {shown(folder)}" if folder.exists() else ""
        print(f"  {number}  exercise {one.piece}   {'found: ' + one.title if number in done else state}".rstrip())
    left = [number for number in range(1, len(found) + 1) if not folder_of(week, number).exists()]
    if left:
        print(f"\nPlant one and look for it: ./course bugs {week} {left[0]}")


def is_found(folder: Path) -> bool:
    """Whether all that `check --bug` has tested in a folder has passed."""
    return set(read_progress(folder).values()) == {"passed"}


def plant(week: int, number: int) -> None:
    """Writes the file with the bug in it into a folder of its own, and says what is seen of it.

    Raises:
        CourseError: it is planted already.
    """
    one, folder = bug(week, number), folder_of(week, number)
    if folder.exists():
        raise CourseError(
            f"bug {number} is planted already, in {shown(folder)}: ./course check {week} --bug {number}"
            " tests it. To start over, move that folder away."
        )
    text = planted(ROOT / plan.folder(week), one)
    with written_whole(folder / one.file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"planted in {shown(folder / one.file)}: one slip, in one of its exercises.\n")
    print(textwrap.fill(f"What is seen of it: {one.symptom}", WIDTH, break_on_hyphens=False))
    if one.look:
        print(f"\nSee it: ./course {one.look.replace('FOLDER', shown(folder))}")
    else:
        print("\nTraining does not show it, or not clearly: the tests do.")
    print(f"\nThe tests: ./course check {week} --bug {number}. Mend it there; then the same command again.")


def check_bug(week: int, number: int) -> bool:
    """Tests a folder with a planted bug; once all passes, it says what the bug was. True when it is found.

    Raises:
        CourseError: there is no such bug, or it is not planted.
    """
    one, folder = bug(week, number), folder_of(week, number)
    path = folder / one.file
    if not path.is_file():
        raise CourseError(f"bug {number} is not planted yet: run ./course bugs {week} {number} first.")
    parse(read(path), shown(path))
    here = names_of(piece for piece in pieces(ROOT / plan.folder(week)) if piece.file == one.file)
    statuses = {}
    for piece, outcomes in run_tests(number_of(folder.name), folder, sorted(here)):
        statuses[str(piece)], words, why = judge(outcomes)
        if statuses[str(piece)] != "passed":
            print("\n    ".join([f"{MARKS[statuses[str(piece)]]} {piece} {here[piece]}   {words}", *why]), flush=True)
    write_json(folder / PROGRESS, statuses)
    if not is_found(folder):
        print("\nNot found yet.")
        return False
    print(f"✓ found: {one.title} (exercise {one.piece})\n")
    for text in (one.story, f"It happened to others: {one.seen}"):
        print(textwrap.fill(" ".join(text.split()), WIDTH, break_on_hyphens=False, break_long_words=False))
    return True
