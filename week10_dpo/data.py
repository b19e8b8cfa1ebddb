"""Preferences: a dialogue that ends with a person's words, and two answers of which one was preferred.

What `--data` takes: `sample` (polite and rude answers, made up for this course), `hh-rlhf` (from the hub), a folder in
that data set's published layout (train.jsonl.gz and test.jsonl.gz, or folders that hold such files), or a file of your
own, .jsonl or .jsonl.gz, of rows {"prompt", "chosen", "rejected"}, and if you like "split".
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import CourseError
from shared.files import ROOT, is_hidden
from shared.held_out import PARTS
from shared.sentence_pairs import text_of
from shared.splits import Part, Splits

SAMPLE = ROOT / "shared" / "samples" / "synthetic_manners.jsonl.gz"
HH_RLHF = "Anthropic/hh-rlhf"
SUBSETS = ("helpful-base", "harmless-base")  # what `hh-rlhf` downloads
ENDINGS = (".jsonl", ".jsonl.gz")
ROLES = {"Human": "user", "Assistant": "assistant"}
SPEAKER = re.compile(r"\n\n(Human|Assistant):")
ROW = 'Each line is a JSON object with the texts "prompt", "chosen" and "rejected".'

Turn = tuple[str, str]
"""Who speaks (system, user or assistant), and what is said."""


class Malformed(ValueError):
    """A row that is no preference; its text says why."""


@dataclass(frozen=True)
class Pair:
    """A dialogue with two answers.

    Attributes:
        turns: what was said before; the last turn is the user's.
        chosen, rejected: the answer that was preferred, and the other.
        family: of the sample: how it is phrased.
        split: train, val, test, or nothing.
        place: where it was read, for messages.
    """

    turns: tuple[Turn, ...]
    chosen: str
    rejected: str
    family: str = ""
    split: str = ""
    place: str = ""

    def __post_init__(self) -> None:
        if not self.turns or self.turns[-1][0] != "user":
            raise Malformed("the prompt does not end with a turn of the user")
        if not self.turns[-1][1].strip():
            raise Malformed("an empty prompt")
        for name in ("chosen", "rejected"):
            if not getattr(self, name).strip():
                raise Malformed(f"an empty {name} answer")
        if self.chosen.strip() == self.rejected.strip():
            raise Malformed("chosen and rejected are the same, so nothing is preferred")

    @property
    def prompt(self) -> str:
        """What was said before, as one text: what tells one prompt from another."""
        return "\n".join(text for _, text in self.turns)

    @property
    def key(self) -> str:
        """What tells one pair from another, whichever answer is preferred."""
        return "\n".join([self.prompt, *sorted((self.chosen, self.rejected))])

    @property
    def truth(self) -> str:
        """The answer that is preferred."""
        return self.chosen

    @property
    def messages(self) -> list[dict[str, str]]:
        """What was said before, as chat templates take it."""
        return [{"role": role, "content": text} for role, text in self.turns]


def load(name: str) -> Splits:
    """The data of a name.

    Args:
        name: `sample`, `hh-rlhf`, or a path (see above).

    Raises:
        CourseError: what is wrong with the data, in one line.
    """
    if name == "sample":
        note = "synthetic: written by a program (shared/samples/SOURCES.md)"
        return replace(cut(name, {"": list(read(SAMPLE)[0])}, Counter()), notes=(note,), synthetic=True)
    path = from_hub() if name == "hh-rlhf" else Path(name).expanduser()
    if path.is_dir():
        return cut(name, *read_folder(path))
    if not name or not path.is_file():
        raise CourseError(f"--data {name}: no such file or folder, nor one of sample, hh-rlhf.")
    pairs, dropped = read(path)
    return cut(name, {"": pairs}, dropped)


def from_hub() -> Path:
    """The folder that HH-RLHF was downloaded to; no code of the hub is run."""
    import logging

    from huggingface_hub import snapshot_download

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        return Path(snapshot_download(HH_RLHF, repo_type="dataset", allow_patterns=[f"{one}/*" for one in SUBSETS]))
    except Exception as error:  # whatever a library of the network raises where there is none
        raise CourseError(
            f"--data hh-rlhf: the hub does not answer ({type(error).__name__}). Fetch helpful-base/train.jsonl.gz and "
            f"test.jsonl.gz of {HH_RLHF} by hand, and give the folder that they lie in as --data FOLDER."
        ) from None


# ---------------------------------------------------------------- files


def read_folder(folder: Path) -> tuple[dict[str, list[Pair]], Counter[str]]:
    """({split: pairs}, {why: rows left out}) of all files below a folder, by their names, as train.jsonl.gz."""
    found: dict[str, list[Pair]] = {}
    dropped: Counter[str] = Counter()
    for path in sorted(folder.rglob("*.jsonl*")):
        name = path.name.lower()
        split = next((split for split in PARTS if name.startswith(split)), "")
        if split and name.endswith(ENDINGS) and not is_hidden(str(path.relative_to(folder))):
            pairs, gone = read(path)
            found[split] = found.get(split, []) + pairs
            dropped += gone
    if "train" not in found:
        raise CourseError(f"{folder}: no train.jsonl.gz in it. Expected that and test.jsonl.gz, here or below.")
    return found, dropped


def read(path: Path) -> tuple[list[Pair], Counter[str]]:
    """The pairs of a file, and how many of its rows were left out, by reason.

    Rows with a "prompt" are a learner's own: the first that is wrong is an error with its line. Without one they are
    HH-RLHF's, which is published with rows that are wrong: these are left out and counted.

    Raises:
        CourseError: as said; the file is damaged; or no row of it is right.
    """
    lines = [(number, line) for number, line in enumerate(text_of(path).split("\n"), 1) if line.strip()]
    rows = [(f"{path}:{number}", parsed(line)) for number, line in lines]
    own = any(isinstance(row, dict) and "prompt" in row for _, row in rows)
    pairs: list[Pair] = []
    dropped: Counter[str] = Counter()
    for place, row in rows:
        try:
            pairs.append(own_pair(row, place) if own else hh_pair(row, place))
        except Malformed as error:
            if own:
                raise CourseError(f"{place}: {error}.") from None
            dropped[str(error)] += 1
    if not pairs:
        why = f" ({dropped.most_common(1)[0][0]})" if dropped else ""
        raise CourseError(f"{path}: no pair of answers in it{why}. {ROW}")
    return pairs, dropped


def parsed(line: str) -> Any:
    """The JSON of a line, or nothing."""
    try:
        return json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        return None


def texts(row: Any, *names: str) -> Iterator[str]:
    """The texts of a row by their names; Malformed where it has not all of them."""
    if not isinstance(row, dict):
        raise Malformed("no JSON object")
    for name in names:
        if not isinstance(row.get(name), str):
            raise Malformed(f"no text {name!r}")
        yield row[name]


def own_pair(row: Any, place: str) -> Pair:
    """A row {"prompt", "chosen", "rejected"}; the prompt is a text, or a list of {"role", "content"}, and an answer may
    be a list of one of these, as trl has it."""
    chosen, rejected = (answer_of(row, name) for name in ("chosen", "rejected"))
    if isinstance(row.get("prompt"), list):
        turns = []
        for message in row["prompt"]:
            role, content = texts(message, "role", "content")
            if role not in ("system", "user", "assistant"):
                raise Malformed(f"the role {role!r} is none of system, user, assistant")
            turns.append((role, content))
    else:
        turns = [("user", *texts(row, "prompt"))]
    split = row.get("split") or ""
    if split not in ("", *PARTS):
        raise Malformed(f"split {split!r} is none of train, val, test")
    return Pair(tuple(turns), chosen, rejected, str(row.get("family") or ""), split, place)


def answer_of(row: Any, name: str) -> str:
    """An answer: a text, or the one message of the assistant in a list."""
    if not isinstance(row, dict) or not isinstance(row.get(name), list):
        return next(texts(row, name))
    said = [tuple(texts(message, "role", "content")) for message in row[name]]
    if [role for role, _ in said] != ["assistant"]:
        raise Malformed(f"{name!r} has to be a text, or a list of one message, the assistant's; prompts go to 'prompt'")
    return said[0][1]


def hh_pair(row: Any, place: str = "") -> Pair:
    """A row of HH-RLHF: two dialogues as texts, which differ in the assistant's last turn alone."""
    (*turns, chosen), (*others, rejected) = (dialogue(text) for text in texts(row, "chosen", "rejected"))
    if turns != others:
        raise Malformed("the dialogues differ before the last answer")
    if (chosen[0], rejected[0]) != ("assistant", "assistant"):
        raise Malformed("a dialogue does not end with the assistant")
    return Pair(tuple(turns), chosen[1], rejected[1], place=place)


def dialogue(text: str) -> list[Turn]:
    r"""The turns of `\n\nHuman: …\n\nAssistant: …`, as HH-RLHF writes them.

    Raises:
        Malformed: it does not begin with Human, or somebody speaks twice in a row.
    """
    before, *pieces = SPEAKER.split(text)
    turns = [(ROLES[who], said.strip()) for who, said in zip(pieces[::2], pieces[1::2], strict=True)]
    if before.strip() or not turns or turns[0][0] != "user":
        raise Malformed("a dialogue does not begin with Human")
    if any(one[0] == other[0] for one, other in pairwise(turns)):
        raise Malformed("the same speaker twice in a row")
    return turns


# ---------------------------------------------------------------- train, val and test


def cut(name: str, given: dict[str, list[Pair]], dropped: Counter[str]) -> Splits:
    """Train, val and test, with no prompt in two of them. Where there is no val, a tenth of train's prompts become it.

    Raises:
        CourseError: too few to be cut in three.
    """
    if "" in given and any(pair.split for pair in given[""]):
        given = {split: [pair for pair in given[""] if (pair.split or "train") == split] for split in PARTS}
    total = sum(map(len, given.values())) + sum(dropped.values())
    notes = tuple(f"left out {count:,} of {total:,} rows: {why}" for why, count in dropped.most_common())
    parts = {split: given.get(split, []) for split in PARTS}
    rest, missing = given.get("") or parts["train"], [split for split in ("val", "test") if not parts[split]]
    if missing:
        groups: dict[str, list[Pair]] = {}
        for pair in rest:
            groups.setdefault(pair.prompt, []).append(pair)
        keys = [list(groups)[row] for row in np.random.default_rng(0).permutation(len(groups))]
        tenth = max(1, len(keys) // 10)
        for number, split in enumerate(missing):
            parts[split] = [pair for key in keys[number * tenth : (number + 1) * tenth] for pair in groups[key]]
        parts["train"] = [pair for key in keys[len(missing) * tenth :] for pair in groups[key]]
    held = {pair.prompt for split in ("val", "test") for pair in parts[split]}
    kept = [pair for pair in parts["train"] if pair.prompt not in held]
    if gone := len(parts["train"]) - len(kept):
        notes += (f"left {gone:,} pairs out of train whose prompt is in val or test, too",)
    parts["train"] = kept
    if not all(parts.values()):
        raise CourseError(f"--data {name}: {total} pairs are too few to be cut in three; thirty would do.")
    return Splits(name, *(Part(tuple(parts[split])) for split in PARTS), "test" in given, notes)


def drawn(part: Part, count: int, seed: int = 0) -> Part:
    """So many pairs, no two of them with the same prompt; all of the prompts where they are fewer."""
    once = list({pair.prompt: row for row, pair in reversed(list(enumerate(part.items)))}.values())
    order = np.random.default_rng(seed).permutation(len(once))
    return part.take(np.sort(np.asarray(once)[order][:count]))


def prompts(part: Part) -> Sequence[str]:
    """The prompts of a part, each once."""
    return list(dict.fromkeys(pair.prompt for pair in part.items))
