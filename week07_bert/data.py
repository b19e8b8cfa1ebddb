"""Data to read: questions on passages (`--task qa`) and sentences with named entities (`--task ner`), cut in three.

Questions are split by article, never by themselves: a passage of test has been seen in training by no question.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import CourseError
from shared.files import ROOT, is_hidden
from shared.sentence_pairs import same
from shared.splits import Part, Splits
from week07_bert import conll, squad
from week07_bert.conll import Sentence
from week07_bert.squad import SPLITS, Question

SAMPLES = {
    "qa": ROOT / "shared" / "samples" / "quoref_2k.json.gz",
    "ner": ROOT / "shared" / "samples" / "tweets_2k.conll.gz",
}
# By its name on the command line: the task, and where the hub has it as parquet.
HUB = {
    "squad": ("qa", "hf://datasets/rajpurkar/squad/plain_text/{}-*.parquet"),
    "squad_v2": ("qa", "hf://datasets/rajpurkar/squad_v2/squad_v2/{}-*.parquet"),
    "wnut17": ("ner", "hf://datasets/leondz/wnut_17@refs%2Fconvert%2Fparquet/wnut_17/{}/*.parquet"),
    "conll2003": ("ner", "hf://datasets/eriktks/conll2003@refs%2Fconvert%2Fparquet/conll2003/{}/*.parquet"),
}
THEIR_NAMES = {"train": ("train",), "val": ("dev", "valid", "val", "testa"), "test": ("test", "testb")}
ENDINGS = {"qa": (".json", ".json.gz"), "ner": (".conll", ".txt", ".tsv", ".bio", ".iob", ".gz", ".annotated")}
THINGS = {"qa": "questions", "ner": "sentences"}


def load(task: str, name: str) -> Splits:
    """The data of a task.

    Args:
        task: qa or ner.
        name: `sample`; `squad`, `squad_v2`, `wnut17`, `conll2003` from the hub; or a path: a file, or a folder of files
            with train, dev (or valid, val) and test in their names, in the layout that they are published in.

    Raises:
        CourseError: what is wrong with the data, in one line.
    """
    if name == "sample":
        return cut(task, name, {"": read(task, SAMPLES[task])})
    if name in HUB:
        of, where = HUB[name]
        if of != task:
            raise CourseError(f"--data {name} is for --task {of}.")
        return cut(task, name, from_hub(task, name, where))
    path = Path(name).expanduser()
    if path.is_dir():
        return cut(task, name, read_folder(task, path))
    if not name or not path.is_file():
        known = ", ".join(["sample", *(one for one, (of, _) in HUB.items() if of == task)])
        raise CourseError(f"--data {name}: no such file or folder, nor one of {known} (--task {task}).")
    return cut(task, name, {"": read(task, path)})


def read(task: str, path: Path) -> list[Any]:
    """The examples of one file."""
    return squad.read(path) if task == "qa" else conll.read(path)


def read_folder(task: str, folder: Path) -> dict[str, list[Any]]:
    """{split: examples} of the files of a folder, by their names: train-v1.1.json, emerging.dev.conll, testb.txt …"""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if is_hidden(path.name) or not path.is_file() or not path.name.lower().endswith(ENDINGS[task]):
            continue
        split = split_of(path.name)
        if split and split in files:
            raise CourseError(f"{folder}: {files[split].name} and {path.name} both look like {split}. Keep one.")
        if split:
            files[split] = path
    if "train" not in files and len(files) != 1:
        raise CourseError(
            f"{folder}: no file for train in it. Expected names with train, dev and test in them, that end in "
            f"{', '.join(ENDINGS[task])}."
        )
    if "train" not in files:
        return {"": read(task, *files.values())}
    return {split: read(task, path) for split, path in files.items()}


def split_of(name: str) -> str:
    """train, val, test or nothing, by the name of a file."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    for split, names in THEIR_NAMES.items():
        if any(word in names or (word.startswith("wnut") and word.endswith(names)) for word in words):
            return split
    return ""


def from_hub(task: str, name: str, where: str) -> dict[str, list[Any]]:
    """{split: examples} of a data set of the hub, read from its parquet files; no code of it is run.

    Raises:
        CourseError: the hub does not answer.
    """
    import logging

    import datasets

    datasets.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    found: dict[str, list[Any]] = {}
    make: Callable[..., list[Any]] = squad.from_rows if task == "qa" else conll.from_rows
    theirs = {"train": "train", "val": "validation"} | ({"test": "test"} if task == "ner" else {})
    for split, their in theirs.items():
        try:
            rows = datasets.load_dataset("parquet", data_files=where.format(their), split="train")
        except Exception as error:  # whatever a library of the network raises where there is none
            raise CourseError(
                f"--data {name}: the hub does not answer ({type(error).__name__}). Fetch the published files by hand, "
                "and give the folder that they lie in as --data FOLDER."
            ) from None
        found[split] = make(rows, name)
    return found


# ---------------------------------------------------------------- train, val and test


def group_of(item: Question | Sentence) -> str:
    """What must not be torn apart: all questions of an article; a sentence, however often it is there."""
    if isinstance(item, Question):
        return item.title or same(item.context)
    return same(" ".join(item.words))


def distinct(items: Sequence[Any]) -> list[Any]:
    """Each example once: sentences by their words, questions also by their answers."""
    keys = [(i.context, i.text, i.answers) if isinstance(i, Question) else i.words for i in items]
    return list(dict(zip(reversed(keys), reversed(items), strict=True)).values())[::-1]


def cut(task: str, name: str, given: dict[str, list[Any]]) -> Splits:
    """Train, val and test. Where there are train and dev alone, dev becomes test, and a tenth of train becomes val.

    Raises:
        CourseError: too few to be cut in three.
    """
    things = THINGS[task]
    notes: tuple[str, ...] = ()
    if "" in given:
        marked = {item.split for item in given[""]} - {""}
        if marked:
            given = {split: [item for item in given[""] if (item.split or "train") == split] for split in SPLITS}
    elif "test" not in given and "val" in given:
        given = {"train": given["train"], "test": given["val"]}
        notes = (f"took dev as test, and of train a tenth of the {'articles' if task == 'qa' else 'sentences'} as val",)
    total = sum(map(len, given.values()))
    for split in given.keys() & {"", "train"}:  # val and test stay as they are published
        given[split] = distinct(given[split])
    if twice := total - sum(map(len, given.values())):
        notes += (f"dropped {twice:,} {things} that are there twice",)
    own_test = "test" in given
    parts = {split: given.get(split, []) for split in SPLITS}
    missing = [split for split in ("val", "test") if not parts[split]]
    if missing:
        rest = given[""] if "" in given else parts["train"]
        groups: dict[str, list[Any]] = {}
        for item in rest:
            groups.setdefault(group_of(item), []).append(item)
        if len(groups) < 10 and task == "qa":  # few articles: then a passage is what is not torn apart
            groups = {}
            for item in rest:
                groups.setdefault(same(item.context), []).append(item)
        order = np.random.default_rng(0).permutation(len(groups)).tolist()
        keys, tenth = list(groups), max(1, len(groups) // 10)
        for place, split in enumerate(missing):
            rows = sorted(order[place * tenth : (place + 1) * tenth])
            parts[split] = [item for row in rows for item in groups[keys[row]]]
        rows = sorted(order[len(missing) * tenth :])
        parts["train"] = [item for row in rows for item in groups[keys[row]]]
    elif task == "ner":  # a sentence of test that is in train, too, is not read there
        held = {group_of(item) for split in ("val", "test") for item in parts[split]}
        kept = [item for item in parts["train"] if group_of(item) not in held]
        if gone := len(parts["train"]) - len(kept):
            notes += (f"left {gone:,} sentences out of train that are in val or test, too",)
        parts["train"] = kept
    if not all(parts.values()):
        raise CourseError(f"--data {name}: {total} {things} are too few to be cut in three; thirty would do.")
    return Splits(name, *(Part(tuple(parts[split])) for split in SPLITS), own_test, notes)
