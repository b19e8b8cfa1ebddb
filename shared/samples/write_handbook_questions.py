"""Writes handbook_questions.jsonl: what is asked of the bundled handbook, with answers and where these stand in it.

    python -m shared.samples.write_handbook_questions

One question a line: id, text, answers (none: the handbook does not say), evidence (page, quote), kind, part. They stand
in handbook_gold.py, where one can read and change them.
"""

import json
import re
from pathlib import Path

from shared.files import written_whole
from shared.samples.handbook_gold import TEST, VAL

HERE = Path(__file__).parent
NAME = "handbook_questions.jsonl"
KINDS = {"plain", "paraphrase", "list", "table", "multi", "none"}


def parsed(part: str, text: str) -> tuple[list[dict], set[str]]:
    """The questions of a part, numbered, and the sections that they are about."""
    rows, sections, section = [], set(), ""
    for line in filter(None, text.splitlines()):
        mark, rest = line.split(" ", 1)
        match mark:
            case "##":
                section = rest
            case "=":
                rows[-1]["answers"].append(rest)
            case "@":
                page, quote = rest.split(" ", 1)
                rows[-1]["evidence"].append([int(page), quote])
            case kind if kind in KINDS:
                sections |= set(re.findall(r"[\d.]+", section))
                kind = "unanswerable" if kind == "none" else kind
                number = f"{part}-{len(rows) + 1:03d}"
                rows.append({"id": number, "text": rest, "answers": [], "evidence": [], "kind": kind, "part": part})
            case _:
                raise ValueError(f"{part}: what is this? {line}")
    return rows, sections


def questions() -> list[dict]:
    """All of them, val first. No section is asked about in both parts."""
    (val, one), (test, other) = parsed("val", VAL), parsed("test", TEST)
    if both := one & other:
        raise ValueError(f"sections in val and in test: {sorted(both)}")
    for row in val + test:
        if bool(row["answers"]) != bool(row["evidence"]) or bool(row["answers"]) == (row["kind"] == "unanswerable"):
            raise ValueError(f"{row['id']}: answers without evidence, or the other way round: {row['text']}")
    return val + test


if __name__ == "__main__":
    rows = questions()
    with written_whole(HERE / NAME) as temporary:
        temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{NAME}: {len(rows)} questions, {(HERE / NAME).stat().st_size} bytes")
