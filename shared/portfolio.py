"""`./course portfolio`: one page of what a learner has done, with everything in it, to put on the web.

What it shows comes from the reports, and where a week has none yet from its newest run; shared/portfolio_page.py has
how it looks. The name and the links are kept in reports/portfolio.json.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shared import achieved, cli, plan, report_file, words
from shared.errors import CourseError
from shared.exercise import shown
from shared.files import ROOT, write_json, written_whole
from shared.portfolio_page import Entry, inlined, page
from shared.report import FOLDER

PAGE, KEPT = "portfolio.html", "portfolio.json"


@dataclass
class Config:
    """The flags of portfolio."""

    name: str = ""
    """Your name, as the page shows it. Kept for the next time."""
    space: tuple[str, ...] = ()
    """Live demos, as `--space 11=https://huggingface.co/spaces/ada/bot 12=…`. Kept; `11=` takes one out."""


def main(cfg: Config, root: Path = ROOT) -> dict[str, Any]:
    """Writes one page of what you have done: results beside baselines, pictures, your words, links to your demos.

    Returns {page, weeks}: the file, and which weeks it shows.

    Raises:
        CourseError: a link that is none, a name that is too long, or what was kept cannot be read.
    """
    reports = root / FOLDER
    kept = remember(cfg, reports / KEPT)
    entries = [entry for number in range(1, len(plan.FOLDERS) + 1) if (entry := entry_of(number, kept, root))]
    html = page(kept["name"], entries)
    with written_whole(reports / PAGE) as temporary:
        temporary.write_text(html, encoding="utf-8", newline="\n")
    weeks = [entry.week for entry in entries if entry.begun]
    print(
        f"{shown(reports / PAGE)}: {len(weeks)} of {len(plan.FOLDERS)} weeks, {len(html) / 1e6:.1f} MB, all in one file"
    )
    if not weeks:
        print("nothing is done yet: ./course train 1 begins")
    for entry in entries:
        if entry.record and not entry.words:
            print(f"  week {entry.week} has no report yet: ./course report {entry.week}")
    return {"page": str(reports / PAGE), "weeks": weeks}


def remember(cfg: Config, path: Path) -> dict[str, Any]:
    """{name, spaces: {week: address}}: what was said before, and what is said now on top of it, which is kept."""
    before = achieved.read_dict(path)
    spaces = before.get("spaces") if isinstance(before.get("spaces"), dict) else {}
    kept = {"name": str(before.get("name", "")), "spaces": {}}
    for week, address in spaces.items():  # by hand somebody may have written anything into the file
        kept["spaces"][str(week_of(f"{week}={address}", path))] = checked(str(address), f"{shown(path)}: {address}")
    if len(cfg.name) > 80:
        raise CourseError("--name: must have at most 80 characters.")
    kept["name"] = cfg.name or kept["name"]
    for given in cfg.space:
        number, address = week_of(given), given.partition("=")[2]
        kept["spaces"].pop(str(number), None)
        if address:
            kept["spaces"][str(number)] = checked(address, f"--space {given}")
    if cfg.name or cfg.space:
        write_json(path, kept)
    return kept


def week_of(given: str, path: Path | None = None) -> int:
    """The week of `11=https://…`."""
    match = re.match(r"(\d{1,2})=", given)
    if not match or not 1 <= int(match[1]) <= len(plan.FOLDERS):
        where = shown(path) + ":" if path else "--space"
        raise CourseError(f"{where} {given}: write a week and an address, as 11=https://huggingface.co/spaces/you/bot.")
    return int(match[1])


def checked(address: str, told: str) -> str:
    """An address of the web; a CourseError for any other, which a browser might run."""
    parts = urlsplit(address) if re.fullmatch(r"https://[^\s\"'<>`\\]{3,300}", address) else None
    if not parts or not parts.hostname or "." not in parts.hostname or "@" in parts.netloc:
        raise CourseError(f"{told}: must be an address that begins with https://.")
    return address


def entry_of(number: int, kept: Mapping[str, Any], root: Path) -> Entry | None:
    """What the page shows of a week; None for a week that is not here."""
    try:
        about = plan.week(number)
    except Exception as error:  # a learner may be in the middle of changing it
        print(f"  week {number} does not start and is left out: {type(error).__name__}")
        return None
    if about is None:
        return None
    folder, run = root / FOLDER / f"week{number:02}", achieved.newest(number, root)
    record, said = of_report(folder)
    record = record or achieved.newest_or_none(number, root) or {}
    source = folder / report_file.PICTURE if said and record.get("picture") else None
    whose = record.get("picture", "")
    if source is None or not source.is_file():
        own = achieved.picture(number, run, root) if record else None
        source, whose = own or (None, "")
    return Entry(
        week=number,
        title=about.title,
        lesson=about.lesson,
        record=record,
        exercises=achieved.exercises(number, root),
        bugs=achieved.bugs(number, root),
        words=said,
        picture=inlined(source) if source else "",
        whose=str(whose),
        space=kept["spaces"].get(str(number), ""),
    )


def of_report(folder: Path) -> tuple[dict[str, Any], str]:
    """(record, words) of a week's report; nothing where there is none. Of one that was edited by hand the numbers are
    not taken, which is said."""
    path = folder / report_file.FILE
    if not path.is_file():
        return {}, ""
    try:
        said = words.read(folder / words.FILE)
    except CourseError:
        said = ""
    try:
        return report_file.read(path, shown(path)), said
    except CourseError as error:
        print(f"  {error} The page takes its numbers from the run.")
        return {}, said


if __name__ == "__main__":
    cli.launch(main, Config)
