"""The learner's own words on a week: asked for on a terminal or taken from a file, kept, and never overwritten."""

import re
import sys
from pathlib import Path

from shared import plan
from shared.errors import CourseError, Stopped
from shared.exercise import shown
from shared.files import ROOT, written_whole
from shared.terminal import printable

FILE = "words.md"
STRUGGLED, CLICKED = "What I struggled with", "The analogy that made it click"
MOST = 20_000
"""Characters: a report is no book."""


def of(week: int, folder: Path, given: str = "") -> str:
    """The words on a week, from words.md in `folder`; where it is not there yet, it is made first.

    Args:
        given: a file with them (--words); without one they are asked for.

    Raises:
        CourseError: there are some already and `given` has others; no terminal to ask on; a file that cannot be read,
            is empty or too long.
        Stopped: Ctrl-C at a question; nothing is kept.
    """
    path = folder / FILE
    there = read(path) if path.is_file() else ""
    new = read(Path(given).expanduser()) if given else ""
    if there:
        if new and new != there:
            raise CourseError(
                f"--words {given}: {shown(path)} has your words already, and they are never overwritten. "
                "Edit that file, or move it away."
            )
        return there
    text = new or ask(week)
    with written_whole(path) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")
    return text


def read(path: Path) -> str:
    """A file of words, without what steers a terminal and the empty lines around it."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(MOST + 1)
    except UnicodeDecodeError:
        raise CourseError(f"{shown(path)} is not UTF-8 text. Save it as UTF-8 in your editor.") from None
    except OSError as error:
        raise CourseError(f"{shown(path)}: {error.strerror}.") from None
    if len(text) > MOST:
        raise CourseError(f"{shown(path)} has more than {MOST:,} characters: say it in fewer words.")
    text = printable(text, breaks=True).strip()
    if not text:
        raise CourseError(f"{shown(path)} is empty: write what you struggled with, and what made it click.")
    return text


def ask(week: int) -> str:
    """Asks the two questions on the terminal, with the lesson's own ones above for a start."""
    if not sys.stdin or not sys.stdin.isatty():
        raise CourseError("there is no terminal to ask you for your words on: write them into a file, --words FILE.")
    if questions := lesson_asks(week):
        print("The lesson asks, if you want something to start from:")
        print("\n".join(f"  {question}" for question in questions))
    try:
        answers = {title: answer(title) for title in (STRUGGLED, CLICKED)}
    except KeyboardInterrupt:
        raise Stopped("stopped; no words are kept, and no report is written.") from None
    if not any(answers.values()):
        raise CourseError("a report needs words of yours: what you struggled with, or what made it click.")
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in answers.items() if text)


def answer(title: str) -> str:
    """What is typed on the terminal, up to an empty line (or Ctrl-D)."""
    print(f"\n{title}? (an empty line ends it)", flush=True)
    lines = []
    for line in sys.stdin:
        if not line.strip():
            break
        lines.append(line.rstrip())
    return printable("\n".join(lines), breaks=True).strip()[: MOST // 3]


def lesson_asks(week: int) -> list[str]:
    """The three questions at the end of a week's lesson."""
    path = ROOT / plan.folder(week) / "README.md"
    if not path.is_file():
        return []
    section = re.search(r"^## 10\. .*?(?=^## |\Z)", path.read_text(encoding="utf-8"), re.M | re.S)
    return re.findall(r"^\d\. .+", section[0], re.M) if section else []


def parts(text: str) -> tuple[str, str]:
    """(what was struggled with, what made it click) of somebody's words, each without Markdown's headings; where no
    heading tells them apart, the first paragraph and the last one."""
    found = {"struggl": "", "click|analog": ""}
    for title, body in re.findall(r"^#+ +(.+)\n((?:(?!#+ ).*(?:\n|\Z))*)", text, re.M):
        for word in found:
            if re.search(word, title, re.I) and not found[word]:
                found[word] = body.strip()
    if any(found.values()):
        return tuple(found.values())
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", re.sub(r"(?m)^#+ .*$", "", text)) if part.strip()]
    return (paragraphs[0], paragraphs[-1] if len(paragraphs) > 1 else "") if paragraphs else ("", "")
