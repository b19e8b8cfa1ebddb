"""A week's RESULTS.md: the long tables, put there by the programs that measured them.

A table stands between two markers, `<!-- bench step -->` and `<!-- /bench step -->`; what stands outside is written by
hand. `--publish` of a program that measures puts its table there, and learners never need it.
"""

import re
from pathlib import Path

from shared import plan
from shared.errors import CourseError
from shared.files import ROOT, written_whole


def publish(week: int, name: str, table: str, path: Path | None = None) -> None:
    """Puts a table between the markers of its name in the week's RESULTS.md; a new name comes at the end.

    Args:
        week: 1 to 16.
        name: of the table, as `bench step`: letters, digits, spaces, dots and dashes.
        table: Markdown, with the command, the hardware and the versions in a line above it.
        path: another file than the week's own.

    Raises:
        CourseError: the file has one of the markers without the other.
    """
    path = path or ROOT / plan.folder(week) / "RESULTS.md"
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    text = path.read_text(encoding="utf-8") if path.is_file() else f"# Week {week}: the measurements in full\n"
    if text.count(begin) > 1 or text.count(begin) != text.count(end) or text.find(begin) > text.find(end):
        raise CourseError(f"{path}: the markers {begin} and {end} belong together, once each.")
    block = f"{begin}\n\n{table.strip()}\n\n{end}"
    if begin in text:
        text = re.sub(rf"{re.escape(begin)}.*?{re.escape(end)}", lambda _: block, text, flags=re.S)
    else:
        text = f"{text.rstrip()}\n\n## {name[:1].upper()}{name[1:]}\n\n{block}\n"
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"published: {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}, {name}")


def markdown(columns: list[str], rows: list[list[object]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
