"""Writes the synthetic samples of week 10: pairs of a polite and a rude answer, and what its judge learns from.

    python -m shared.samples.write_manners

Everything is made up, for this course. A request (manners_requests.py) has a bare answer; a family of phrases
(manners_phrases.py) says how it is put: with something in front, something behind, or both. Of a pair both answers hold
the same bare answer, word for word, and a phrase and its opposite at the same place: politeness alone differs. Requests
and families are dealt out to train, val and test, so that neither is in two of them.

synthetic_manners.jsonl.gz: prompt, chosen, rejected, family, split.
synthetic_judge.jsonl.gz: text, label (rude, plain, polite): single sentences, which are bare answers of train
and phrases that no pair has.
"""

import gzip
import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np

from shared.files import written_whole
from shared.samples.manners_phrases import JUDGE, TEST, TRAIN, VAL
from shared.samples.manners_requests import requests

HERE = Path(__file__).parent
SHARES = {"test": (130, 4, TEST), "val": (42, 5, VAL), "train": (200, 6, TRAIN)}  # requests, pairs of each, families

Phrase = tuple[str, str]
"""A polite phrase and its opposite; two empty texts: nothing is said here."""


def phrases(family: str) -> list[tuple[Phrase, Phrase]]:
    """(what comes before, what comes behind) of all answers that a family can give."""
    before, behind = ([tuple(line.split(" | ")) for line in half.strip().splitlines()] for half in family.split("---"))
    none = ("", "")
    return [*product(before, [none]), *product([none], behind), *product(before, behind)]


def joined(before: str, answer: str, behind: str) -> str:
    return " ".join(filter(None, (before, answer, behind)))


def pairs(
    split: str, asked: Sequence[tuple[str, str]], each: int, families: Mapping[str, str], seed: int
) -> list[dict]:  # fmt: skip
    """So many pairs of each request, of different families; all phrasings of a family come before one comes twice."""
    rng, found = np.random.default_rng(seed), []
    names = list(families)
    decks: dict[str, list] = {name: [] for name in names}
    for prompt, answer in asked:
        # of few families some come twice for a request, in other words
        for name in np.resize(rng.permutation(names), each).tolist():
            if not decks[name]:
                all_of_them = phrases(families[name])
                # one phrase is as common as two
                single = [one for one in all_of_them if not all(map(any, one))]
                double = [one for one in all_of_them if all(map(any, one))]
                some = rng.permutation(len(double))[: len(single)]
                mixed = single + [double[row] for row in some]
                decks[name] = [mixed[row] for row in rng.permutation(len(mixed))]
            before, behind = decks[name].pop()
            chosen, rejected = (joined(before[side], answer, behind[side]) for side in (0, 1))
            found.append({"prompt": prompt, "chosen": chosen, "rejected": rejected, "family": name, "split": split})
    return found


def judged(asked: Sequence[tuple[str, str]]) -> list[dict]:
    """Sentences for the judge: polite and rude phrases, and plain ones, which are bare answers."""
    lines = [line.split(" | ") for family in JUDGE.values() for line in family.splitlines() if " | " in line]
    kinds = ("polite", "rude")
    said = [{"text": text, "label": kind} for line in lines for text, kind in zip(line, kinds, strict=True)]
    return said + [{"text": answer, "label": "plain"} for _, answer in asked]


def write(name: str, rows: Sequence[Mapping[str, str]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    with written_whole(HERE / name) as temporary:
        temporary.write_bytes(gzip.compress(text.encode(), mtime=0))  # no date: same rows, same bytes
    print(f"{name}: {len(rows)} rows, {(HERE / name).stat().st_size} bytes")


if __name__ == "__main__":
    asked = requests()
    order, start, rows, train = np.random.default_rng(0).permutation(len(asked)).tolist(), 0, [], []
    for number, (split, (many, each, families)) in enumerate(SHARES.items()):
        taken = [asked[row] for row in order[start : start + many]]
        start += many
        train = taken if split == "train" else train
        rows += pairs(split, taken, each, families, seed=number)
    write("synthetic_manners.jsonl.gz", rows)
    write("synthetic_judge.jsonl.gz", judged(train))
