"""report.md: how it reads, and what in it was made by the machine.

What stands between the two marks is the learner's; all the rest is machine-made and carries a seal, a hash over it: an
edit by hand is seen. A seal is no signature: whoever wants to lie can make it anew. What a report is worth shows when
its command is run again (`--verify`).
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.errors import CourseError
from shared.posts import ended, named, solved
from shared.terminal import number

FILE, PICTURE = "report.md", "picture.png"
BEGIN, END = "<!-- my own words -->", "<!-- end of my own words -->"
SEAL = re.compile(r"<!-- seal ([0-9a-f]{64}) -->")
DATA = re.compile(r"```json\n(\{.*?\})\n```", re.S)
LARGEST = 1_000_000
"""Bytes of a file that is taken for a report."""
NEEDED = {
    "week": int, "title": str, "command": str, "scored": bool, "data": str, "own_data": bool, "metrics": dict,
    "columns": list, "baselines": list, "versions": dict, "hardware": str, "code": str, "run": str, "examples": str,
    "exercises": dict, "bugs": dict, "band": dict, "picture": str, "lesson": str,
}  # fmt: skip


def render(record: Mapping[str, Any], text: str) -> str:
    """The whole file.

    Args:
        record: of the week, as shared/achieved.py has it, and `picture`: whose it is ("own", "lesson", "given", "").
        text: the learner's words, Markdown of theirs. It cannot end its own part.
    """
    week = record["week"]
    own = safe(text)
    shown = {"own": "mine", "given": "mine", "lesson": "the lesson's own"}
    picture = f"![Week {week}, {record['title']}: {shown[record['picture']]}]({PICTURE})" if record["picture"] else ""
    made = "\n\n".join(
        part
        for part in (
            f"# Week {week} of 16: {record['title']}",
            ended(record["lesson"]),
            picture,
            "## The result",
            table(record),
            told(record),
            "## Written and found by myself",
            exercises(record),
            f"{BEGIN}\n\n{own}\n\n{END}",
            "## Run it again",
            f"```\n{again(record)}\n```",
            "`./course report --verify report.md` does so, and says whether it comes out the same.",
            origin(record),
            "<details><summary>For the machine</summary>",
            f"```json\n{json.dumps(record, indent=1, ensure_ascii=False)}\n```",
            "</details>",
        )
        if part
    )
    return f"{made}\n\n<!-- seal {seal_of(made)} -->\n"


def again(record: Mapping[str, Any]) -> str:
    """The one line that trains, and where it was scored scores, all of it again."""
    mine = " --mine" if " --mine" in record["command"] else ""
    return record["command"] + (f" && ./course eval {record['week']}{mine}" if record["scored"] else "")


def table(record: Mapping[str, Any]) -> str:
    """The result beside its baselines, as Markdown."""
    names = record["columns"]
    rows = [["", *map(named, names), "parameters", "seconds"], ["---", *["---:"] * (len(names) + 2)]]
    ours = {"name": "**this run**", **record["metrics"], "params": record["params"], "seconds": record["seconds"]}
    for row in (ours, *record["baselines"]):
        cells = [number(name, row[name]) if name in row else "" for name in names]
        size = [f"{row['params']:,}", f"{row['seconds']:.1f}"] if row.get("params") else ["", ""]
        rows.append([row["name"].replace("|", r"\|"), *cells, *size])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def told(record: Mapping[str, Any]) -> str:
    """What it was trained on, and where it lies in the band of five seeds."""
    data = f"data of my own (`{record['data']}`)" if record["own_data"] else f"`{record['data']}`"
    lines = [f"Data: {data}{', which is synthetic' if record['synthetic'] else ''}; seed {record['seed']}"]
    if record["preset"]:
        lines[0] += f"; preset {record['preset']}{', a trial of some seconds' if record['preset'] == 'smoke' else ''}"
    band = record["band"]["line"]
    lines.append(f"Is the curve right? {band[:1].upper()}{band[1:]}" if band else "No band of seeds has these flags")
    return "\n".join(f"{line.rstrip('.')}.  " for line in lines).rstrip()


def exercises(record: Mapping[str, Any]) -> str:
    """Every exercise that is solved, with or without hints, and every bug that was found."""
    pieces, bugs = record["exercises"], record["bugs"]
    lines = [solved(record) or "no exercises solved and no bugs found yet"]
    lines[0] = f"{lines[0][:1].upper()}{lines[0][1:]}."
    hinted = list(pieces["hinted"])
    lines += [f"- {title}{' (with hints)' if title in hinted else ''}" for title in pieces["titles"]]
    lines += [f"- bug: {title}" for title in bugs["titles"]]
    return "\n".join([lines[0], *[""] * (len(lines) > 1), *lines[1:]])


def origin(record: Mapping[str, Any]) -> str:
    """The hashes, the machine and the versions."""
    threads = record["threads"]
    on = record["hardware"] + (f", {threads} thread{'s' * (threads != 1)}" if threads else "")
    rows = [
        ("code", f"`{record['code'] or 'not noted by this run'}`"),
        ("run", f"`{record['run']}`"),
        ("computed on", ", ".join(filter(None, [on, record["device"], record["dtype"]]))),
        ("versions", ", ".join(f"{name} {version}" for name, version in record["versions"].items())),
    ]
    if record["examples"]:
        rows.insert(2, ("data", f"`{record['examples']}`"))
    return "\n".join(["| | sha256, and where it comes from |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in rows)])


# ---------------------------------------------------------------- reading one


def safe(text: str) -> str:
    """Somebody's words as they stand in a report, which they cannot end."""
    return text.replace("<!--", "&lt;!--").strip()


def seal_of(text: str) -> str:
    """sha256 of the machine-made part: all but the words and the seal. How lines end, and spaces there, are no edit: an
    editor may change them by itself."""
    text = re.sub(r"[ \t\r]+$", "", text, flags=re.M)
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.rpartition(END)
    made = before + begin + end + after if begin and end else text
    return hashlib.sha256(SEAL.sub("", made).strip().encode("utf-8", "surrogatepass")).hexdigest()


def read(path: Path, named_as: str = "") -> dict[str, Any]:
    """The record in a report.

    Args:
        named_as: how the person has named the file.

    Raises:
        CourseError: it is not there, is no report, or was edited by hand.
    """
    name = named_as or str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
        text = raw.decode("utf-8")
    except FileNotFoundError:
        raise CourseError(f"{name} is not there: ./course report 1 writes reports/week01/{FILE}.") from None
    except OSError as error:
        raise CourseError(f"{name}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise CourseError(f"{name} is no report: it is not UTF-8 text.") from None
    seals = SEAL.findall(text)
    if len(raw) > LARGEST or len(seals) != 1 or text.count(BEGIN) != 1 or text.count(END) != 1:
        raise CourseError(f"{name} is no report, or not a whole one: ./course report N writes them.")
    if seals[0] != seal_of(text):
        raise CourseError(f"{name} was edited by hand: its machine-made part is not what ./course report had written.")
    try:
        record = json.loads(DATA.findall(text.replace("\r\n", "\n").rpartition(END)[2])[0])
    except (IndexError, ValueError):
        record = {}
    if not all(type(record.get(key)) is kind for key, kind in NEEDED.items()):
        raise CourseError(f"{name} is no report that can be read: its data are of another form.")
    return record


def own_words(text: str) -> str:
    """The learner's part of a report."""
    return text.replace("\r\n", "\n").partition(BEGIN)[2].rpartition(END)[0].strip()
