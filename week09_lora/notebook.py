"""Writes colab.ipynb from the lesson's own lines: `python -m week09_lora.notebook`.

The lines stand in README.md, between two markers; there every block of commands is a cell, and the text before it, too.
A test holds the notebook to them. Standard library only.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from shared.errors import CourseError
from shared.files import written_whole

FOLDER = Path(__file__).resolve().parent
README, NOTEBOOK = FOLDER / "README.md", FOLDER / "colab.ipynb"
BEGIN, END = "<!-- colab -->", "<!-- /colab -->"


def cells(text: str) -> list[tuple[str, str]]:
    """[(kind, text)] of what stands between the markers: markdown, or code, the lines of a shell block as they are.

    Raises:
        CourseError: the markers are not there once each, or there is no block between them.
    """
    before, begin, rest = text.partition(BEGIN)
    inside, end, after = rest.partition(END)
    if not (begin and end) or any(mark in part for part in (before, inside, after) for mark in (BEGIN, END)):
        raise CourseError(f"README.md needs the lines {BEGIN} and {END} once each, around the commands for Colab.")
    found: list[tuple[str, str]] = []
    for number, piece in enumerate(re.split(r"^```(?:bash)?\n(.*?)^```$", inside, flags=re.M | re.S)):
        if piece.strip():
            found.append(("code" if number % 2 else "markdown", piece.strip()))
    if not any(kind == "code" for kind, _ in found):
        raise CourseError(f"README.md has no block of commands between {BEGIN} and {END}.")
    return found


def as_cell(kind: str, text: str, number: int) -> dict[str, Any]:
    """A cell as nbformat 4.5 has it. A command of the shell begins with `!` there, and a change of folder with `%`."""
    if kind == "code":
        lines = text.splitlines()
        goes_on = [False, *(line.endswith("\\") for line in lines)]  # a command that is longer than its line
        text = "\n".join(line if more else marked(line) for line, more in zip(lines, goes_on, strict=False))
    cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": text}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def marked(line: str) -> str:
    if not line.strip() or line.startswith("#"):
        return line
    return f"{'%' if line.startswith('cd ') else '!'}{line}"


def notebook(text: str) -> str:
    """The notebook of a README, as JSON."""
    made = [as_cell(kind, piece, number) for number, (kind, piece) in enumerate(cells(text))]
    about = {"accelerator": "GPU", "colab": {"gpuType": "T4"}, "language_info": {"name": "python"},
             "kernelspec": {"name": "python3", "display_name": "Python 3"}}  # fmt: skip
    whole = {"cells": made, "metadata": about, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    try:
        text = notebook(README.read_text(encoding="utf-8"))
        with written_whole(NOTEBOOK) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except CourseError as error:
        sys.exit(f"error: {error}")
