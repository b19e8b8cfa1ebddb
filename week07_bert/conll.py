"""Sentences with named entities in the columns of the CoNLL and WNUT shared tasks: a word and its tag a line.

References
    E. Tjong Kim Sang, F. De Meulder, "Introduction to the CoNLL-2003 shared task", arXiv:cs/0306050: its columns, IOB1
    L. Derczynski et al., "Results of the WNUT2017 shared task on novel and emerging entity recognition", 2017
    L. Ramshaw, M. Marcus, arXiv:cmp-lg/9505040: tags that say where a piece of text begins and goes on

In BIO (IOB2) the first word of a person is B-person, the others are I-person, and what is no entity is O. In the older
IOB1, B- stands only where an entity follows another one of its kind at once.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import CourseError
from shared.sentence_pairs import text_of

START = "-DOCSTART-"
SPLITS = ("train", "val", "test")
TAG = re.compile(r"O|[BI]-\S+")

# The hub keeps these tags as numbers.
TAGS = {
    "wnut17": ("O", *(f"{place}-{kind}" for kind in ("corporation", "creative-work", "group", "location", "person",
               "product") for place in "BI")),
    "conll2003": ("O", *(f"{place}-{kind}" for kind in ("PER", "ORG", "LOC", "MISC") for place in "BI")),
}  # fmt: skip


@dataclass(frozen=True)
class Sentence:
    """Words with their tags in BIO."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    split: str = ""

    @property
    def key(self) -> str:
        """What tells one sentence from another."""
        return " ".join(self.words)

    @property
    def truth(self) -> str:
        """The tags, as one text."""
        return str(self.tags)


def read(path: Path) -> list[Sentence]:
    """The sentences of a file with a word a line, its tag in the last column, and an empty line between sentences.

    Columns are apart by a tab, or else by spaces. A line -DOCSTART- is passed over; the word behind it may name the
    part that begins there: train, val or test.

    Raises:
        CourseError: a line has one column, or a tag that is none (with its number); there is no sentence, or no entity.
    """
    found: list[Sentence] = []
    words: list[str] = []
    tags: list[str] = []
    split, width = "", 0
    for number, line in enumerate([*re.split(r"\r\n|\r|\n", text_of(path)), ""], 1):
        if not line.strip():
            if words:
                found.append(Sentence(tuple(words), tuple(as_bio(tags)), split))
            words, tags = [], []
            continue
        columns = [column.strip() for column in line.split("\t")] if "\t" in line else line.split()
        if columns[0] == START:
            split = columns[1] if columns[1:] and columns[1] in SPLITS else split
            continue
        if len(columns) < 2:
            raise CourseError(f"{path}:{number}: {columns[0][:40]!r} has no tag. Each line is a word, a tab, its tag.")
        width = width or len(columns)
        if len(columns) != width:
            raise CourseError(f"{path}:{number}: {len(columns)} columns, but {width} in the lines above it.")
        if not TAG.fullmatch(columns[-1]):
            raise CourseError(f"{path}:{number}: {columns[-1][:40]!r} is no tag: O, B-person, I-person, …")
        words.append(columns[0])
        tags.append(columns[-1])
    return checked(found, path)


def from_rows(rows: Iterable[Mapping[str, Any]], name: str) -> list[Sentence]:
    """The sentences of a table of the hub, with tokens and ner_tags (numbers, in the order of TAGS)."""
    known = TAGS[name]
    found = [Sentence(tuple(row["tokens"]), tuple(as_bio([known[tag] for tag in row["ner_tags"]]))) for row in rows]
    return checked([sentence for sentence in found if sentence.words], name)


def checked(found: list[Sentence], path: Any) -> list[Sentence]:
    if not found:
        raise CourseError(f"{path}: no sentence in it. Each line is a word, a tab, its tag.")
    if all(tag == "O" for sentence in found for tag in sentence.tags):
        raise CourseError(f"{path}: no entity in it, every tag is O.")
    return found


def as_bio(tags: Sequence[str]) -> list[str]:
    """IOB1 or BIO as BIO: what goes on with an entity that has not begun begins it."""
    found: list[str] = []
    for before, tag in zip(["O", *tags], tags, strict=False):
        found.append(f"B-{tag[2:]}" if tag[0] == "I" and before[2:] != tag[2:] else tag)
    return found
