"""What the model is to learn from: instructions with their answers, the bundled ones, Alpaca, Dolly, or one's own.

sets = data.load("sample")
sets.train.items[0]              # Example(prompt=…, response=…, family="count")

How they become tokens of a model, and which of these count in the loss, stands in tokens.py.
"""

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import CourseError
from shared.files import ROOT, no_file
from shared.sentence_pairs import text_of
from shared.splits import Part, Splits

SAMPLE = ROOT / "shared" / "samples" / "synthetic_instructions.jsonl.gz"
HUB = {"alpaca": ("tatsu-lab/alpaca", "data/*.parquet"), "dolly": ("databricks/databricks-dolly-15k", "*.jsonl")}
SPLITS = ("train", "val", "test")
PROMPT = ("instruction", "prompt", "question")
MORE = ("input", "context")
RESPONSE = ("output", "response", "answer", "completion")
COLUMNS = f"A row has {', '.join(PROMPT[:-1])} or {PROMPT[-1]}; {', '.join(RESPONSE[:-1])} or {RESPONSE[-1]}; and " \
          f"perhaps {' or '.join(MORE)}; or messages."  # fmt: skip

Message = dict[str, str]
"""{role, content}, as chat templates take them."""


@dataclass(frozen=True)
class Example:
    """A conversation whose last turn is to be learned.

    Attributes:
        before: what has been said, the last of it by the user.
        response: what the assistant is to answer.
        family: of the sample, which kind of task it is, so that a program can check the answer; else nothing.
        split: train, val, test, or nothing where no file says it.
        line: where it stands in its file, from 1.
    """

    before: tuple[tuple[str, str], ...]
    response: str
    family: str = ""
    split: str = ""
    line: int = 0

    @property
    def prompt(self) -> str:
        """The user's last turn."""
        return self.before[-1][1]

    @property
    def key(self) -> str:
        """What tells one prompt from another."""
        return "\n".join(text for _, text in self.before)

    @property
    def truth(self) -> str:
        """What is to be answered."""
        return self.response

    @property
    def messages(self) -> list[Message]:
        """What has been said, for a chat template."""
        return [{"role": role, "content": content} for role, content in self.before]


def each(part: Part[Example], count: int) -> Part[Example]:
    """The first `count` of every family, in their order; of data without families, the first 8 · count."""
    if not any(item.family for item in part.items):
        return part.take(range(min(8 * count, len(part))))
    seen: dict[str, int] = {}
    rows = []
    for row, item in enumerate(part.items):
        seen[item.family] = seen.get(item.family, 0) + 1
        if seen[item.family] <= count:
            rows.append(row)
    return part.take(rows)


def load(name: str) -> Splits:
    """Instructions with answers, cut in three.

    Args:
        name: `sample` (written by a generator: synthetic); `alpaca` or `dolly` from the hub; or a file:
            alpaca_data.json or databricks-dolly-15k.jsonl as they are published, or a .jsonl (.gz) of your own.

    Raises:
        CourseError: what is wrong with the data, in one line.
    """
    if name == "sample":
        with gzip.open(SAMPLE, "rt", encoding="utf-8") as file:
            items = [example(json.loads(line), name, number) for number, line in enumerate(file, 1)]
        note = "synthetic: written by a generator (shared/samples/SOURCES.md)"
        return replace(cut(name, items), notes=(note,), synthetic=True)
    if name in HUB:
        return cut(name, list(from_hub(name)), published=True)
    path = Path(name).expanduser()
    if not name or not path.is_file():
        raise CourseError(f"--data {name}: {no_file(name)}, nor one of sample, {', '.join(HUB)}.")
    published = path.name.startswith(("alpaca_data", "databricks-dolly"))
    return cut(name, read(path), published)


def from_hub(name: str) -> Iterable[Example]:
    """The rows of a data set of the hub; no code of it is run.

    Raises:
        CourseError: the hub does not answer.
    """
    import datasets

    datasets.disable_progress_bars()
    repository, files = HUB[name]
    try:
        rows = datasets.load_dataset(
            files.rpartition(".")[2].replace("jsonl", "json"), data_files=f"hf://datasets/{repository}/{files}",
            split="train",
        )  # fmt: skip
    except Exception as error:  # whatever a library of the network raises where there is none
        raise CourseError(
            f"--data {name}: the hub does not answer ({type(error).__name__}). Fetch alpaca_data.json or "
            "databricks-dolly-15k.jsonl by hand, and give it as --data FILE."
        ) from None
    for number, row in enumerate(rows, 1):
        yield example(row, name, number)


def read(path: Path) -> list[Example]:
    """The examples of a file: a JSON list of rows (Alpaca's), or a row a line (Dolly's, and one's own).

    Raises:
        CourseError: no UTF-8, damaged, not JSON, or a row without its columns; with the number of its line.
    """
    text = text_of(path)
    if text.lstrip()[:1] == "[":
        try:
            rows = list(enumerate(json.loads(text), 1))
        except (ValueError, RecursionError) as error:
            raise CourseError(f"{path}: not JSON ({str(error)[:100]}). Is it whole? Fetch it again.") from None
    else:
        rows = []
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                try:
                    rows.append((number, json.loads(line)))
                except (ValueError, RecursionError) as error:
                    raise CourseError(f"{path}:{number}: not JSON ({str(error)[:80]}). {COLUMNS}") from None
    if not rows:
        raise CourseError(f"{path}: nothing in it. {COLUMNS}")
    return [example(row, str(path), number) for number, row in rows]


def example(row: Any, where: str, number: int) -> Example:
    """A row in one of the layouts that are about: Alpaca's, Dolly's, prompt and completion, or messages.

    Raises:
        CourseError: it has not the columns, or a value is no text.
    """
    if not isinstance(row, dict):
        raise CourseError(f"{where}:{number}: not a row with columns. {COLUMNS}")
    about = {"family": str(row.get("family") or ""), "split": str(row.get("split") or ""), "line": number}
    if about["split"] not in ("", *SPLITS):
        raise CourseError(f"{where}:{number}: split {about['split']!r:.30} is none of {', '.join(SPLITS)}.")
    if "messages" in row:
        turns = row["messages"]
        try:
            said = tuple((str(turn["role"]), text(turn["content"])) for turn in turns)
        except (TypeError, KeyError):
            raise CourseError(f"{where}:{number}: messages must be a list of {{role, content}}, both text.") from None
        if [role for role, _ in said[-2:]] != ["user", "assistant"]:
            raise CourseError(f"{where}:{number}: messages must end with a turn of user and one of assistant.")
        return Example(said[:-1], said[-1][1].strip(), **about)
    prompt, more, response = (next((n for n in names if n in row), "") for names in (PROMPT, MORE, RESPONSE))
    if not prompt or not response:
        missing = " or ".join(PROMPT if not prompt else RESPONSE)
        raise CourseError(f"{where}:{number}: no column {missing}. {COLUMNS}")
    try:
        asked = [text(row[name]).strip() for name in (prompt, more) if name and row[name] is not None]
        answer = text(row[response]).strip()
    except TypeError:
        raise CourseError(f"{where}:{number}: {prompt} and {response} must be text.") from None
    return Example((("user", "\n\n".join(part for part in asked if part)),), answer, **about)


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


# ---------------------------------------------------------------- train, val and test


def cut(name: str, items: list[Example], published: bool = False) -> Splits:
    """Train, val and test: as their rows say, else a tenth each to val and test, drawn once; no prompt is in two.

    Published data have empty answers (28 of Alpaca's): these are left out and counted. In one's own they are an error.

    Raises:
        CourseError: an empty prompt or answer; too few to be cut in three.
    """
    notes: tuple[str, ...] = ()
    empty = [item for item in items if not item.response or not item.prompt.strip()]
    if empty and not published:
        what = "response" if not empty[0].response else "prompt"
        others = f" (and {len(empty) - 1} more)" if len(empty) > 1 else ""
        raise CourseError(f"{name}:{empty[0].line}: an empty {what}{others}: there is nothing to learn. Take it out.")
    if empty:
        notes += (f"left out {len(empty):,} rows with an empty answer or prompt",)
    once: dict[str, Example] = {}
    for item in items:
        if item.response and item.prompt.strip():
            once.setdefault(item.key, item)
    if twice := len(items) - len(empty) - len(once):
        notes += (f"dropped {twice:,} rows whose prompt is there twice",)
    kept = list(once.values())
    parts = {split: [item for item in kept if (item.split or "train") == split] for split in SPLITS}
    own_test = bool(parts["test"])
    order = np.random.default_rng(0).permutation(len(parts["train"])).tolist()
    missing, tenth = [split for split in ("val", "test") if not parts[split]], max(1, len(kept) // 10)
    whole = parts["train"]
    for split in missing:
        parts[split], order = [whole[row] for row in sorted(order[:tenth])], order[tenth:]
    parts["train"] = [whole[row] for row in sorted(order)]
    if not all(parts.values()):
        raise CourseError(f"--data {name}: {len(kept)} rows are too few to be cut in three; thirty would do.")
    return Splits(name, *(Part(tuple(parts[split])) for split in SPLITS), own_test, notes)
