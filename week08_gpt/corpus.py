"""A corpus as tokens on disk: documents one behind the other in files that are mapped into memory, never read whole.

A file of tokens holds nothing else: uint16 where the vocabulary fits, else uint32, little-endian. Beside it stands, for
each document, how many tokens and bytes it has, and a fingerprint. corpus.json names the files, and the tokenizer that
made them by its fingerprint. It is written last: what it names is whole.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from shared.errors import CourseError
from shared.files import read_json, write_json, written_whole
from shared.held_out import fingerprints
from week08_gpt import tokenizer
from week08_gpt.tokenizer import Tokenizer

PARTS = ("train", "val", "test")
Ids = Int[np.ndarray, " length"]
Numbers = Int[np.ndarray, " documents"]


@dataclass(frozen=True)
class Part:
    """Documents of one split, as one long row of tokens. Each ends with the tokenizer's `end`, where `ends` is true.

    Attributes:
        shards: the tokens, one behind the other, as a rule mapped from files.
        starts: where each document begins, and behind the last one where it ends: (documents + 1,).
        sizes: how many bytes of text each has, in UTF-8.
        prints: a fingerprint of each one's text.
        ends: whether an end token stands behind each.
    """

    shards: tuple[np.ndarray, ...]
    starts: Int[np.ndarray, " edges"]
    sizes: Numbers
    prints: Numbers
    ends: bool

    def __len__(self) -> int:
        return len(self.prints)

    @property
    def examples(self) -> Int[np.ndarray, "documents 1"]:
        """What tells one document from another (shared.held_out)."""
        return self.prints[:, None]

    @property
    def labels(self) -> Numbers:
        """A language model is its own teacher: there are none."""
        return np.zeros(len(self), np.int64)

    @property
    def tokens(self) -> int:
        return int(self.starts[-1])

    @property
    def text_bytes(self) -> int:
        """What bits per byte are counted by: the bytes of the text, and one for each end."""
        return int(self.sizes.sum()) + self.ends * len(self)

    def window(self, start: int, length: int) -> Ids:
        """Tokens start to start + length, whatever documents and shards they are of; fewer at the very end."""
        found, before = [], 0
        for shard in self.shards:
            low, high = max(start - before, 0), min(start + length - before, len(shard))
            if low < high:
                found.append(np.asarray(shard[low:high], np.int64))
            before += len(shard)
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def document(self, row: int) -> Ids:
        """The tokens of one document, its end among them."""
        return self.window(int(self.starts[row]), int(self.starts[row + 1] - self.starts[row]))

    def take(self, rows: Int[np.ndarray, " rows"]) -> "Part":
        """Some of the documents, in memory."""
        kept = [self.document(row) for row in rows.tolist()]
        starts = np.cumsum([0, *map(len, kept)])
        tokens = np.concatenate([np.zeros(0, np.int64), *kept])
        return Part((tokens,), starts, self.sizes[rows], self.prints[rows], self.ends)

    def __add__(self, other: "Part") -> "Part":
        starts = np.concatenate([self.starts, self.tokens + other.starts[1:]])
        sizes, prints = (np.concatenate(both) for both in ((self.sizes, other.sizes), (self.prints, other.prints)))
        return Part(self.shards + other.shards, starts, sizes, prints, self.ends)


@dataclass(frozen=True)
class Corpus:
    """Train, val and test, and the tokenizer that made their tokens. Choose on val, read test once."""

    name: str
    tokenizer: Tokenizer
    train: Part
    val: Part
    test: Part
    own_test: bool = False
    notes: tuple[str, ...] = ()

    @property
    def everything(self) -> Part:
        return self.train + self.val + self.test

    def fit_for(self, block: int) -> "Corpus":
        """Itself, where each part has what a window of `block` tokens and the one behind it need.

        Raises:
            CourseError: a part is smaller than one block.
        """
        for name in PARTS:
            if (tokens := getattr(self, name).tokens) <= block:
                raise CourseError(
                    f"--data {self.name}: {name} has {tokens:,} tokens, less than one block of {block} and the "
                    "token behind it. Give more text, or a smaller --block-size."
                )  # fmt: skip
        return self


# ---------------------------------------------------------------- on disk


def encoded(texts: Iterable[str], tokens: Tokenizer, ends: bool = True) -> Part:
    """Texts as tokens, in memory."""
    kind = np.uint16 if tokens.vocab_size <= 1 << 16 else np.uint32
    texts = list(texts)
    rows = [np.array(tokens.encode(text) + [tokens.end] * ends, kind) for text in texts]
    sizes = np.array([len(text.encode("utf-8", "surrogatepass")) for text in texts], np.int64)
    shard = np.concatenate([np.zeros(0, kind), *rows])
    return Part((shard,), np.cumsum([0, *map(len, rows)]), sizes, fingerprints(texts), ends)


def write_part(folder: Path, name: str, part: Part) -> str:
    """Writes the tokens of a part as `name`.bin, and what is known of its documents beside it. Returns the name."""
    for ending, what in ((".bin", part.shards[0]), (".documents", documents_of(part))):
        with written_whole(folder / f"{name}{ending}") as temporary:
            what.astype(what.dtype.newbyteorder("<")).tofile(temporary)
    return name


def documents_of(part: Part) -> Int[np.ndarray, "documents 3"]:
    """A row for each document: its tokens, its bytes, its fingerprint."""
    return np.stack([np.diff(part.starts), part.sizes, part.prints], axis=1).astype(np.int64)


def read_part(folder: Path, names: Sequence[str], kind: str, ends: bool) -> Part:
    """A part out of its files, the tokens mapped into memory.

    Raises:
        CourseError: a file is missing, or has not the size that belongs to it.
    """
    shards, tables = [], []
    for name in names:
        path = folder / f"{name}.bin"
        try:
            table = np.fromfile(path.with_suffix(".documents"), "<i8").reshape(-1, 3)
            empty = path.stat().st_size == 0  # which cannot be mapped
            shard = np.zeros(0, kind) if empty else np.memmap(path, f"<{np.dtype(kind).str[1:]}", "r")
        except (OSError, ValueError) as error:
            raise CourseError(f"{path}: {error}. Delete {folder}, it is made again.") from None
        if len(shard) != table[:, 0].sum():
            expected = f"{len(shard):,} tokens, should be {table[:, 0].sum():,}"
            raise CourseError(f"{path} is not whole ({expected}). Delete {folder}, it is made again.")
        shards.append(shard)
        tables.append(table)
    table = np.concatenate([np.zeros((0, 3), np.int64), *tables])
    return Part(tuple(shards), np.cumsum([0, *table[:, 0]]), table[:, 1], table[:, 2], ends)


def write(folder: Path, corpus: Corpus) -> None:
    """Writes a corpus that is in memory, one shard a part."""
    corpus.tokenizer.save(folder / "tokenizer.json")
    files = {name: [write_part(folder, f"{name}-00000", getattr(corpus, name))] for name in PARTS}
    note(folder, corpus.name, corpus.tokenizer, files, corpus.train.ends, own_test=corpus.own_test, notes=corpus.notes)


def note(
    folder: Path, name: str, tokens: Tokenizer, files: dict[str, list[str]], ends: bool, **also: object
) -> None:  # fmt: skip
    """Writes corpus.json, which makes of the files a corpus."""
    kind = "uint16" if tokens.vocab_size <= 1 << 16 else "uint32"
    about = {"name": name, "tokenizer": tokens.fingerprint, "dtype": kind, "ends": ends, "files": files}
    write_json(folder / "corpus.json", about | also)


def read(folder: Path) -> Corpus:
    """A corpus out of its folder.

    Raises:
        CourseError: it is not whole, or its tokens were made by another tokenizer than lies beside them.
    """
    about, tokens = read_json(folder / "corpus.json"), tokenizer.load(folder / "tokenizer.json")
    tokens.hold_to(about["tokenizer"], f"{folder / 'corpus.json'}")
    parts = {name: read_part(folder, about["files"][name], about["dtype"], about["ends"]) for name in PARTS}
    own, notes = about.get("own_test", False), tuple(about.get("notes", ()))
    return Corpus(about["name"], tokens, **parts, own_test=own, notes=notes)


def renamed(corpus: Corpus, name: str) -> Corpus:
    return replace(corpus, name=name)
