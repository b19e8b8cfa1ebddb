"""What the agent learns from: questions with the calls that answer them, made for this course, or your own.

A file of your own is a .jsonl of rows {"question", "answer"} and, where tools are needed, "calls": a list of rounds as
["search[population of France]", "calculator[68000000 / 2]"]; calls of one round that do not wait for each other stand
in one text, a line each. "split" may say train, val or test; "thought" is what comes before the first call.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import CourseError
from shared.files import no_file
from shared.held_out import PARTS
from shared.splits import Part, Splits
from week15_agent.protocol import FORMATS, Unparsable
from week15_agent.questions import FAMILIES, Question, agent_tools, make
from week15_agent.tools import Tools

VAL, TEST = 120, 360
"""Questions of the sample that are chosen by, and tested on. They are always the same."""
LARGEST = 64 * 2**20
"""Bytes of a file of one's own."""


def load(name: str, examples: int = 1000, tools: Tools | None = None) -> Splits:
    """The questions, cut in three.

    Args:
        name: sample, or a .jsonl of one's own.
        examples: so many to train on are made of the sample; more begin with the fewer.
        tools: what the sample's questions are proved with.

    Raises:
        CourseError: no such file; or a line of it that is no question, with its number.
    """
    if name == "sample":
        train = make("train", examples or 1000, tools=tools)
        val, test = (make(part, many, families=FAMILIES, tools=tools) for part, many in (("val", VAL), ("test", TEST)))
        return Splits(name, Part(train), Part(val), Part(test), own_test=True, synthetic=True)
    path = Path(name).expanduser()
    if not path.is_file():
        raise CourseError(f"--data {name}: {no_file(name)}. Give sample, or a .jsonl of question, answer and calls.")
    if path.suffix != ".jsonl":
        raise CourseError(f"--data {name}: no .jsonl of question, answer and calls.")
    if path.stat().st_size > LARGEST:
        raise CourseError(f"--data {name}: larger than {LARGEST // 2**20} MB. Give a part of it.")
    return own(name, path)


def own(name: str, path: Path) -> Splits:
    """A file of one's own; without splits a tenth is val, a tenth test, drawn once."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise CourseError(f"--data {name}: not a text in UTF-8.") from None
    rows = [row_of(line, f"{name}, line {number}") for number, line in enumerate(lines, 1)]
    found: dict[str, list[Question]] = {part: [] for part in PARTS}
    unsaid = [one for one, split in rows if not split]
    for one, split in rows:
        if split:
            found[split].append(one)
    if unsaid:
        tenth = max(1, len(unsaid) // 10)
        order = np.random.default_rng(15).permutation(len(unsaid)).tolist()
        for part, places in zip(PARTS, (order[2 * tenth :], order[:tenth], order[tenth : 2 * tenth]), strict=True):
            found[part] += [unsaid[place] for place in sorted(places)]
    if not all(found.values()):
        raise CourseError(f"--data {name}: {len(rows)} questions are too few: each of train, val and test needs one.")
    own_test = any(split == "test" for _, split in rows)
    return Splits(name, *(Part(tuple(found[part])) for part in PARTS), own_test=own_test)


def row_of(line: str, where: str) -> tuple[Question, str]:
    """A line as a question, and the part that it says it belongs to."""
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise CourseError(f"--data {where}: not a JSON object.") from None
    if not isinstance(row, dict):
        raise CourseError(f"--data {where}: not a JSON object.")
    texts = {key: row.get(key, "") for key in ("question", "answer", "thought", "split")}
    wrong = [key for key, text in texts.items() if not isinstance(text, str)]
    wrong += [key for key in ("question", "answer") if key not in wrong and not texts[key].strip()]
    if wrong:
        raise CourseError(f"--data {where}: {wrong[0]} must be a text that is not empty.")
    if texts["split"] not in ("", *PARTS):
        raise CourseError(f"--data {where}: split must be train, val or test.")
    rounds = row.get("calls", [])
    if not isinstance(rounds, list) or not all(isinstance(one, str) for one in rounds):
        raise CourseError(f'--data {where}: calls must be a list of texts such as "calculator[12 * 7]".')
    calls = []
    for one in rounds:
        try:
            text = "\n".join(f"Action: {call}" for call in one.splitlines())
            calls.append(FORMATS["react"].parse(text, agent_tools("bm25")).calls)
        except Unparsable:
            raise CourseError(f'--data {where}: {one[:60]!r} is no call such as "calculator[12 * 7]".') from None
    question = Question(texts["question"], texts["answer"].strip(), tuple(calls), thought=texts["thought"])
    return question, texts["split"]
