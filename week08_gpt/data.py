"""What the GPT reads: the bundled functions, GitHub's Python, or a learner's own files, cut in three and as tokens.

corpus = data.load("sample", "bpe", 2048)
corpus.train.window(0, 10)                        # ten tokens
corpus.tokenizer.decode(corpus.val.document(0))   # a function
"""

import gzip
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from shared.assets import home
from shared.errors import CourseError
from shared.files import ROOT, is_hidden
from shared.held_out import fingerprints
from shared.sentence_pairs import text_of
from shared.terminal import mine
from week08_gpt import corpus as store
from week08_gpt.corpus import PARTS, Corpus, encoded
from week08_gpt.tokenizer import KINDS, Tokenizer

SAMPLE = ROOT / "shared" / "samples" / "python_stdlib.jsonl.gz"
GITHUB = "github-code-clean"
PIECE = 1_000  # characters that a piece of a single text has at least


@dataclass(frozen=True)
class Texts:
    """Documents, cut in three. `ends`: whether they are documents of their own, or pieces of one text."""

    name: str
    train: list[str]
    val: list[str]
    test: list[str]
    ends: bool = True
    own_test: bool = False
    notes: tuple[str, ...] = ()


def load(
    name: str, kind: str = "bpe", vocab: int = 2048, max_tokens: int = 100_000_000, tokens: Tokenizer | None = None
) -> Corpus:
    """A corpus as tokens. They are made once and kept in `$COURSE_HOME/week08`.

    Args:
        name: `sample`; `github-code-clean` (downloaded); a folder of .py files; a text file.
        kind: of the tokenizer that is trained on its train part: `bpe` or `char`.
        vocab: how many tokens it has (bpe).
        max_tokens: of github-code-clean at most so many are taken.
        tokens: a tokenizer that is there already (a trained network's), in the place of a new one.

    Raises:
        CourseError: there is no such thing; it is no text; it is too little to be cut in three.
    """
    if name == GITHUB:
        from week08_gpt import github

        return github.load(kind, vocab, max_tokens, tokens)
    texts = read(name)
    new = KINDS[kind] if tokens is None else None
    key = blake2b(digest_size=8)
    for part in PARTS:
        key.update(fingerprints(getattr(texts, part)).tobytes() + b"|")
    key.update((f"{kind} {vocab}" if new else tokens.fingerprint).encode())
    folder = home() / "week08" / f"{re.sub(r'[^A-Za-z0-9]+', '-', Path(name).stem)[:30]}-{key.hexdigest()}"
    if not mine() and (folder / "corpus.json").is_file():
        return store.renamed(store.read(folder), texts.name)
    tokens = tokens or new.train(texts.train, vocab)
    parts = {part: encoded(getattr(texts, part), tokens, texts.ends) for part in PARTS}
    made = Corpus(texts.name, tokens, **parts, own_test=texts.own_test, notes=texts.notes)
    if not mine():  # what a learner's own code makes of it is not kept for others
        store.write(folder, made)
    return made


# ---------------------------------------------------------------- texts


def read(name: str) -> Texts:
    """The documents behind a name or a path; `load` says what is refused."""
    if name == "sample":
        return sample()
    path = Path(name).expanduser()
    if path.is_dir():
        return of_folder(path, name)
    if path.is_file():
        return of_text(path, name)
    raise CourseError(
        f"--data {name}: no such file or folder, and no data set of this week (sample, {GITHUB}). Give a folder of .py "
        "files or a text file."
    )


def sample() -> Texts:
    """The functions of Python's standard library: shared/samples/SOURCES.md."""
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    with gzip.open(SAMPLE, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            parts[row["split"]].append(row["code"])
    return Texts("sample", **parts)


def of_folder(path: Path, name: str) -> Texts:
    """Every .py file below a folder is a document. A tenth of them goes to val, a tenth to test, drawn by seed 0.

    Raises:
        CourseError: there are less than ten that are not the same.
    """
    files = [
        Path(folder) / file
        for folder, folders, names in os.walk(path)
        if not folders.sort()  # in place: that is the order in which they are walked
        for file in sorted(names)
        if file.endswith(".py") and not is_hidden(str((Path(folder) / file).relative_to(path)))
    ]
    found: dict[str, Path] = {}
    foreign = empty = 0
    for file in files:
        try:
            text = text_of(file)
        except (CourseError, OSError):
            foreign += 1
            continue
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        empty += not text.strip()
        if text.strip():
            found.setdefault(text, file)
    if len(found) < 10:
        raise CourseError(f"--data {name}: {len(found)} different .py files below it; it takes ten to be cut in three.")
    twice = len(files) - foreign - empty - len(found)
    counts = ((foreign, "that could not be read as UTF-8"), (twice, "that were there twice"), (empty, "without text"))
    notes = tuple(f"left out {count:,} files {why}" for count, why in counts if count)
    texts = list(found)
    order = np.random.default_rng(0).permutation(len(texts))
    held = max(1, len(texts) // 10)
    cuts = {"val": order[:held], "test": order[held : 2 * held], "train": order[2 * held :]}
    parts = {part: [texts[row] for row in np.sort(rows)] for part, rows in cuts.items()}
    return Texts(name, **parts, notes=notes)


def of_text(path: Path, name: str) -> Texts:
    """One text, in the order in which it stands: nine tenths to train, a twentieth for val, a twentieth for test."""
    text = text_of(path).replace("\r\n", "\n").replace("\r", "\n")
    pieces = cut(text)
    if len(pieces) < 3:
        raise CourseError(f"--data {name}: {len(text):,} characters are too little text to be cut in three.")
    held = max(1, len(pieces) // 20)
    train, val, test = pieces[: -2 * held], pieces[-2 * held : -held], pieces[-held:]
    return Texts(name, train, val, test, ends=False)


def cut(text: str, size: int = PIECE) -> Sequence[str]:
    """A text in pieces of whole lines, each of `size` characters or a line more; together they are the text."""
    pieces, piece = [], ""
    for line in text.splitlines(keepends=True):
        piece += line
        if len(piece) >= size:
            pieces.append(piece)
            piece = ""
    return [*pieces, piece] if piece else pieces
