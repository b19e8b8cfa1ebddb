"""The plan at a glance: the README's table of sixteen weeks, made from what each week says of itself.

    python -m shared.readme_table

rewrites the lines between the two markers in README.md; a test holds the README to it. Standard library only.
"""

import sys
from pathlib import Path

from shared import plan
from shared.errors import CourseError
from shared.files import ROOT, written_whole

BEGIN, END = "<!-- weeks -->", "<!-- /weeks -->"
COLUMNS = ("week", "lesson", "command", "time", "result", "picture")


def cells(number: int) -> list[str]:
    """One row of the table, as Markdown; of a week that is not there yet, its folder's name."""
    folder, week = plan.folder(number), plan.week(number)
    if week is None:
        return [str(number), f"{folder}: not here yet", "", "", "", ""]
    lesson = f"[**{week.title}**]({folder}/README.md)<br>{week.lesson}"
    picture = f'<img src="{folder}/{week.picture}" alt="{week.title}" width="200">'
    return [str(number), lesson, f"`./course train {number}`", week.time, week.result, picture]


def table() -> str:
    """The whole table, as Markdown."""
    rows = [list(COLUMNS), ["---"] * len(COLUMNS), *(cells(number) for number in range(1, len(plan.FOLDERS) + 1))]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows)


def between(text: str) -> str:
    """What stands between the markers of a README.

    Raises:
        CourseError: the markers are not there once each, in order.
    """
    before, begin, rest = text.partition(BEGIN)
    inside, end, after = rest.partition(END)
    if not (begin and end) or any(mark in part for part in (before, inside, after) for mark in (BEGIN, END)):
        raise CourseError(f"README.md needs the lines {BEGIN} and {END} once each, around the table of the weeks.")
    return inside.strip("\n")


def rewrite(readme: Path) -> None:
    """Puts the table of today between the markers of the README and leaves the rest as it is.

    Raises:
        CourseError: there is no README, or it has no such markers.
    """
    if not readme.is_file():
        raise CourseError(f"{readme} is not there: write it first, with the lines {BEGIN} and {END}.")
    text = readme.read_text(encoding="utf-8")
    between(text)  # or nothing is written
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    with written_whole(readme) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    try:
        rewrite(ROOT / "README.md")
    except CourseError as error:
        sys.exit(f"error: {error}")
