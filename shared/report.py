"""`./course report N`: the public update on a week: what came out beside its baseline, and what one makes of it.

It goes into reports/weekNN: report.md, picture.png, the two texts to post (post280.txt, post1300.txt) and words.md, the
learner's own words, which are asked for once and never overwritten. `--verify` is in shared/verify.py.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared import achieved, cli, origin, plan, posts, report_file, words
from shared.errors import CourseError
from shared.exercise import shown
from shared.files import ROOT, written_whole

FOLDER = "reports"
SHORT, LONG = "post280.txt", "post1300.txt"
WIDEST = 1600
"""Pixels a side of the picture: what a post shows."""


@dataclass
class Config:
    """The flags of report."""

    run: str = ""
    """The run's folder (default: the week's newest training that has come to its end)."""
    words: str = ""
    """A text file with your own words, where you would rather not be asked."""
    picture: str = ""
    """Another picture to show (default: the one that the lesson names, from your own runs)."""


def main(week: int, cfg: Config, root: Path = ROOT) -> dict[str, Any]:
    """Writes the public update on a week into reports/weekNN, with two texts to post.

    Returns {report, short, long}: the file, and the texts.

    Raises:
        CourseError: no run has come to its end; no terminal to ask on; a report that is there was edited by hand; a
            file that is named cannot be read.
        Stopped: Ctrl-C while asking.
    """
    run = achieved.finished(week, cfg.run, root)
    folder = root / FOLDER / f"week{week:02}"
    keep_what_is_there(folder)
    text = words.of(week, folder, cfg.words)
    record = achieved.record(week, run, root)
    source = (Path(cfg.picture).expanduser(), "given") if cfg.picture else achieved.picture(week, run, root)
    record["picture"] = source[1] if source else ""
    if source:
        copy_picture(source[0], folder / report_file.PICTURE)
    short, long = posts.short(record, text), posts.long(record, text)
    texts = {report_file.FILE: report_file.render(record, text), SHORT: f"{short}\n", LONG: f"{long}\n"}
    for name, content in texts.items():
        with written_whole(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8", newline="\n")
    tell(week, run, record, folder, short, long)
    return {"report": str(folder / report_file.FILE), "short": short, "long": long}


def keep_what_is_there(folder: Path) -> None:
    """CourseError where writing the report anew would lose what somebody has written into it."""
    path = folder / report_file.FILE
    if not path.is_file():
        return
    report_file.read(path, shown(path))  # edited by hand: it says so, and nothing is lost
    there = report_file.own_words(path.read_text(encoding="utf-8"))
    kept = words.read(folder / words.FILE) if (folder / words.FILE).is_file() else ""
    if there != report_file.safe(kept):
        raise CourseError(
            f"{shown(path)} has other words than {words.FILE} beside it: put them in there, or move the report away."
        )


def copy_picture(path: Path, to: Path) -> None:
    """The picture as a PNG of bounded size that tells nothing else, such as where a photograph was taken."""
    from shared.pictures import read_picture

    picture = read_picture(path)
    picture.thumbnail((WIDEST, WIDEST))
    with written_whole(to) as temporary:
        picture.save(temporary, format="PNG", optimize=True)


def tell(week: int, run: Path, record: dict[str, Any], folder: Path, short: str, long: str) -> None:
    """What was written, what is missing in it, and where to go next."""
    print(f"\nweek {week}, {record['title']}: {posts.result(record)}")
    print(f"  of {shown(run)}; {posts.solved(record) or 'no exercises solved yet'}")
    if not record["scored"]:
        print(f"  it is not scored on test yet: {scoring(week, run, record)}, then ./course report {week} again")
    if record["picture"] == "lesson":
        print("  the picture is the lesson's own; its last section says how you make yours")
    if not record["code"]:
        print("  the run is older than this line: with what code it was trained, it does not tell")
    elif record["code"] != origin.code(week) and " --mine" not in record["command"]:
        print("  the code has changed since: the report tells of that which it was trained with")
    print(f"\n{short}\n\nreport: {shown(folder / report_file.FILE)}")
    for name, text in ((SHORT, short), (LONG, long)):
        print(f"to post: {shown(folder / name)}, {posts.weight(text)} characters")
    print(f"your words: {shown(folder / words.FILE)}; change them there, then ./course report {week} again")
    print(f"does it come out the same? ./course report --verify {shown(folder / report_file.FILE)}")


def scoring(week: int, run: Path, record: dict[str, Any]) -> str:
    """The command that scores this very run; without --run eval would take the newest, which may be another one."""
    words = shlex.split(record["command"])
    at = words.index("--mine") if "--mine" in words else len(words)
    bug = [word for word in words[at + 1 : at + 2] if not word.startswith("-")]
    return shlex.join(["./course", "eval", str(week), *words[at : at + 1], *bug, "--run", shown(run)])


if __name__ == "__main__":
    number = int(sys.argv.pop(1)) if sys.argv[1:] and sys.argv[1].isdecimal() else 0
    if not 1 <= number <= len(plan.FOLDERS) or not plan.is_there(number):
        print("error: which week? For example: ./course report 2", file=sys.stderr)
        sys.exit(2)
    cli.launch(lambda cfg: main(number, cfg), Config)
