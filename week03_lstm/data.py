"""The week's reviews: the bundled ones, the published IMDB archive, or texts of your own; and how words become numbers.

A. Maas et al., "Learning word vectors for sentiment analysis", ACL 2011: the Large Movie Review Dataset.
The prices of the week are in price_series.py.
"""

import csv
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from shared.archives import unpack
from shared.assets import Asset, fetch
from shared.errors import CourseError
from shared.files import ROOT, read_json, write_json

SAMPLE = ROOT / "shared" / "samples" / "reviews_5k.jsonl.gz"
IMDB = Asset(
    "imdb/aclImdb_v1.tar.gz",
    (
        "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
        "https://bj.bcebos.com/dataset/imdb%2FaclImdb_v1.tar.gz",
    ),
    "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
    84_125_825,
    "no formal licence, cite Maas et al. 2011",
)
CLASSES = ("negative", "positive")
SPLITS = {name: name for name in ("train", "val", "test")} | dict.fromkeys(("valid", "validation", "dev"), "val")
LABELS = {"0": 0, "neg": 0, "negative": 0, "1": 1, "pos": 1, "positive": 1}
ENDINGS = (".csv", ".jsonl", ".csv.gz", ".jsonl.gz")
PAD, UNK = 0, 1  # the ids of padding and of every word that is not in the vocabulary

Rows = list[tuple[str, int]]  # (text, label)


@dataclass(frozen=True)
class Part:
    """One split: texts, and labels (N,) of 0 (negative) or 1 (positive)."""

    texts: list[str]
    labels: Int[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Data:
    """A data set cut in three. Fit on train (the vocabulary too), choose on val, and read test once."""

    name: str
    classes: tuple[str, ...]
    train: Part
    val: Part
    test: Part
    dropped: int = 0  # texts that were left out because they occur twice

    @property
    def everything(self) -> Part:
        parts = (self.train, self.val, self.test)
        return Part([text for p in parts for text in p.texts], np.concatenate([p.labels for p in parts]))


def load(name: str, text: str = "text", label: str = "label") -> Data:
    """Loads `sample`, `imdb`, or a path: a folder in IMDB's layout, or a .csv or .jsonl (also .gz) with two columns.

    Args:
        name: what to load.
        text, label: the columns of a file of your own. A column `split` (train, val, test) is used where there is one.

    Raises:
        CourseError: what is wrong with the data, in one line.
    """
    if name == "sample":
        return cut(name, read_table(SAMPLE, "text", "label"))
    if name == "imdb":
        archive = fetch(IMDB)
        return cut(name, read_published(unpack(archive, archive.with_name("aclImdb_v1"))))
    path = Path(name).expanduser()
    if not path.exists():
        raise CourseError(f"--data {name}: no such file or folder, nor one of sample, imdb.")
    return cut(name, read_published(path) if path.is_dir() else read_table(path, text, label))


# ---------------------------------------------------------------- files


def is_published(name: str) -> bool:
    """Whether `name` is a folder with published files, which bring their own test split."""
    path = Path(name).expanduser()
    return path.is_dir() and any((root / "train" / "pos").is_dir() for root in (path, path / "aclImdb"))


def read_published(folder: Path) -> dict[str, Rows]:
    """The published layout: train and test, each with the folders pos and neg, one .txt file a review."""
    root = folder / "aclImdb" if (folder / "aclImdb").is_dir() else folder
    found: dict[str, Rows] = {"train": [], "test": []}
    for split, rows in found.items():
        for group, label in (("neg", 0), ("pos", 1)):
            place = root / split / group
            files = sorted(place.glob("*.txt"))
            if not files:
                why = "holds no .txt files" if place.is_dir() else "is missing"
                raise CourseError(
                    f"{place} {why}; expected a .csv or .jsonl file, or a folder with train/pos, train/neg, test/pos "
                    "and test/neg in it, one .txt file a review."
                )
            for file in files:
                review = _decoded(file.read_bytes(), file)
                if not review.strip():
                    raise CourseError(f"{file}: an empty review. Remove the file.")
                rows.append((review, label))
    return found


def read_table(path: Path, text: str, label: str) -> dict[str, Rows]:
    """A .csv with a header line, or a .jsonl with an object a line; either may be gzipped.

    Raises:
        CourseError: naming the line: a column that is missing (and those that are there), a label that is none, a
            split of another name, an empty review, JSON that is broken.
    """
    if not path.name.lower().endswith(ENDINGS):
        raise CourseError(f"{path}: expected a file that ends in {', '.join(ENDINGS)}.")
    raw = path.read_bytes()
    if path.name.lower().endswith(".gz"):
        try:
            raw = gzip.decompress(raw)
        except (EOFError, OSError, zlib.error) as error:
            raise CourseError(f"{path}: the gzip file is cut short or damaged ({error}).") from None
    content = _decoded(raw, path)
    read = _csv_rows if ".csv" in path.suffixes[-2:] or path.suffix.lower() == ".csv" else _json_rows
    found: dict[str, Rows] = {"train": [], "val": [], "test": []}
    for line, row in read(content, path):
        missing = [column for column in (text, label) if row.get(column) is None]
        if missing:
            there = ", ".join(map(str, row)) or "none"
            raise CourseError(
                f"{path}, line {line}: no column {missing[0]!r}; there are: {there}. Choose with --text and --label."
            )
        found[_split_of(row, path, line)].append((_text_of(row[text], path, line), _label_of(row[label], path, line)))
    if not any(found.values()):
        raise CourseError(f"{path}: no review in it.")
    return found


def _decoded(raw: bytes, path: Path) -> str:
    try:
        return raw.decode("utf-8-sig")  # -sig: Excel writes a mark in front
    except UnicodeDecodeError as error:
        raise CourseError(f"{path}: not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None


def _csv_rows(content: str, path: Path) -> Iterator[tuple[int, dict]]:
    csv.field_size_limit(1 << 24)
    reader = csv.DictReader(io.StringIO(content, newline=""), restval=None)
    try:
        for row in reader:
            yield reader.line_num, {name: value for name, value in row.items() if name is not None}
    except csv.Error as error:
        raise CourseError(f"{path}, line {reader.line_num}: broken CSV ({error}).") from None


def _json_rows(content: str, path: Path) -> Iterator[tuple[int, dict]]:
    for line, one in enumerate(content.split("\n"), 1):  # not splitlines(): a text may hold other line separators
        if not one.strip():
            continue
        try:
            row = json.loads(one)
        except (json.JSONDecodeError, RecursionError) as error:
            raise CourseError(f"{path}, line {line}: broken JSON ({error}).") from None
        if not isinstance(row, dict):
            raise CourseError(f'{path}, line {line}: expected an object as {{"text": …, "label": …}}.')
        yield line, row


def _text_of(value: object, path: Path, line: int) -> str:
    if not isinstance(value, str) or not value.strip():
        raise CourseError(f"{path}, line {line}: the review is empty or no text. Remove the line.")
    return value


def _label_of(value: object, path: Path, line: int) -> int:
    found = LABELS.get(str(int(value) if isinstance(value, bool | float) else value).strip().lower())
    if found is None or (isinstance(value, float) and found != value):
        raise CourseError(
            f"{path}, line {line}: the label {value!r} is outside 0 and 1 (or negative and positive, neg and pos)."
        )
    return found


def _split_of(row: dict, path: Path, line: int) -> str:
    if row.get("split") is None:
        return "train"
    found = SPLITS.get(str(row["split"]).strip().lower())
    if found is None:
        raise CourseError(f"{path}, line {line}: the split {row['split']!r} is none of train, val, test.")
    return found


# ---------------------------------------------------------------- train, val and test


def same(text: str) -> str:
    """What two texts have in common when they differ in spaces, capitals and punctuation alone."""
    return re.sub(r"\W+", " ", text).lower().strip()


def cut(name: str, found: dict[str, Rows], most_test: int = 5_000, most_val: int = 2_500) -> Data:
    """Train, val and test, with no text in two of them.

    A text that test or val holds too, or train twice, is dropped from train (from val, if it is in test). What no
    split says is cut from train: a fifth to test, but at most 5,000, and a tenth to val, but at most 2,500. The cut
    keeps the share of the classes, and is the same each time, whatever --seed: every run must hold out the same texts.

    Raises:
        CourseError: one class only, or too few texts.
    """
    train, val, test = (found.get(split, []) for split in ("train", "val", "test"))
    total, everything = len(train), len(train) + len(val) + len(test)
    if len({label for rows in (train, val, test) for _, label in rows}) < 2:
        raise CourseError(f"--data {name}: one class only; there is nothing to tell apart.")
    held_out = {same(text) for text, _ in test}
    val = [row for row in val if same(row[0]) not in held_out]
    held_out |= {same(text) for text, _ in val}
    once = {same(row[0]): row for row in reversed(train)}  # reversed: the first of equals stays
    train = [row for text, row in reversed(once.items()) if text not in held_out]
    dropped = everything - len(train) - len(val) - len(test)

    rng = np.random.default_rng(0)
    if not test:
        train, test = _drawn(train, min(total // 5, most_test), rng)
    if not val:
        train, val = _drawn(train, min(total // 10, most_val), rng)
    for which, rows in (("train", train), ("val", val), ("test", test)):
        if len({label for _, label in rows}) < 2:
            few = f"{total} reviews are too few to be cut in three; ten of each class would do. " if total < 20 else ""
            raise CourseError(
                f"--data {name}: {few}The {which} part has {len(rows)} text{'s' * (len(rows) != 1)}, of one class or "
                "none. It needs some of both."
            )
    parts = (Part([text for text, _ in rows], np.array([label for _, label in rows])) for rows in (train, val, test))
    return Data(name, CLASSES, *parts, dropped)


def _drawn(rows: Rows, count: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """The rows without about `count` of them, and these; of each class the same share, at least one."""
    labels, taken = np.array([label for _, label in rows]), np.zeros(len(rows), dtype=bool)
    for label in (0, 1):
        of_class = rng.permutation(np.flatnonzero(labels == label))
        taken[of_class[: max(1, round(count * len(of_class) / max(1, len(rows))))]] = True
    return [r for r, t in zip(rows, taken, strict=True) if not t], [r for r, t in zip(rows, taken, strict=True) if t]


# ---------------------------------------------------------------- words


def tokenize(text: str) -> list[str]:
    """Words in lower case, don't in one piece, and ! and ? as words of their own. What is HTML in IMDB is removed.

    >>> tokenize("I don't care!<br /><br />WHY?")
    ['i', "don't", 'care', '!', 'why', '?']
    """
    text = re.sub(r"<br\s*/?>", " ", text.lower().replace("’", "'"))
    return re.findall(r"\w+(?:'\w+)*|[!?]", text)


class Vocabulary:
    """The words a model knows, most frequent first. Id 0 is padding, id 1 every other word."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = ["<pad>", "<unk>", *words]
        self.ids = {word: number for number, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    @classmethod
    def build(cls, texts: Iterable[str], size: int = 20_000, min_count: int = 2) -> "Vocabulary":
        """The words of these texts (train's alone) that occur `min_count` times, at most `size` with the two above."""
        counts = Counter(word for text in texts for word in tokenize(text))
        frequent = sorted((-count, word) for word, count in counts.items() if count >= min_count)
        return cls(word for _, word in frequent[: max(0, size - 2)])

    def encode(self, text: str) -> list[int]:
        """The ids of a text's words; at least one, so that a text without words is one unknown word."""
        return [self.ids.get(word, UNK) for word in tokenize(text)] or [UNK]

    def save(self, path: Path) -> None:
        write_json(path, {"words": self.words[2:]})

    @classmethod
    def read(cls, path: Path) -> "Vocabulary":
        """Reads what `save` wrote; a CourseError for anything else."""
        saved = read_json(path)
        words = saved.get("words") if isinstance(saved, dict) else None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise CourseError(f"{path} is not a vocabulary of week 3. Train again, or use another run.")
        return cls(words)


@dataclass(frozen=True)
class Encoded:
    """A part in numbers: the word ids of each text, labels (N,), and how many words of a text are read."""

    ids: list[list[int]]
    labels: Int[np.ndarray, " N"]
    max_len: int

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> Int[np.ndarray, " N"]:
        """How many words are read of each text."""
        return np.array([min(len(text), self.max_len) for text in self.ids])


def encode(part: Part, vocabulary: Vocabulary, max_len: int) -> Encoded:
    """The part's texts as the ids of their words."""
    return Encoded([vocabulary.encode(text) for text in part.texts], part.labels, max_len)


# ---------------------------------------------------------------- batches


def batch_rows(
    lengths: Int[np.ndarray, " N"], size: int, rng: np.random.Generator | None, bucketed: bool = True, pool: int = 50
) -> list[Int[np.ndarray, " batch"]]:
    """Which texts make up each batch: a list of arrays of row numbers, each row once.

    Args:
        lengths: of each text, in words.
        size: texts a batch; the last one may be smaller.
        rng: shuffles. None: no chance at all, sorted by length over the whole set, for evaluation.
        bucketed: puts texts of about the same length together; otherwise batches are drawn blindly.
        pool: how many batches are sorted together. More: less padding, but less chance in who meets whom.
    """
    if rng is None:
        order = np.argsort(lengths, kind="stable")
        return [order[start : start + size] for start in range(0, len(order), size)]
    order = rng.permutation(len(lengths))
    if not bucketed:
        return [order[start : start + size] for start in range(0, len(order), size)]
    # exercise 6: batches of texts of about the same length
    # A batch is padded to its longest text. Cut `order` (N,), which is shuffled, into pools of pool * size rows, sort
    # each pool by lengths[rows] (np.argsort, kind="stable"), and cut it into batches of `size`. Then shuffle the list
    # of batches with rng.permutation(len(batches)), or short and long ones would take turns in always the same way.
    batches = []
    for start in range(0, len(order), pool * size):
        rows = order[start : start + pool * size]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[first : first + size] for first in range(0, len(rows), size)]
    return [batches[number] for number in rng.permutation(len(batches))]
    # end of exercise 6


def padded(ids: Sequence[list[int]], max_len: int) -> tuple[Int[np.ndarray, "batch time"], Int[np.ndarray, " batch"]]:
    """Tokens (B, T) padded with 0 at the end, and lengths (B,). Of a text longer than max_len its end is kept: that is
    where a review comes to its verdict."""
    clipped = [text[-max_len:] for text in ids]
    lengths = np.array([len(text) for text in clipped])
    tokens = np.full((len(clipped), lengths.max()), PAD, dtype=np.int64)
    for row, text in zip(tokens, clipped, strict=True):
        row[: len(text)] = text
    return tokens, lengths


def batches(
    ids: Sequence[list[int]],
    labels: Int[np.ndarray, " N"],
    size: int,
    rng: np.random.Generator | None,
    bucketed: bool = True,
    max_len: int = 400,
    first: int = 0,
) -> Iterator[tuple[Int[np.ndarray, "batch time"], Int[np.ndarray, " batch"], Int[np.ndarray, " batch"]]]:
    """Tokens (B, T), lengths (B,) and labels (B,) of one epoch, from batch number `first` on; see batch_rows."""
    all_lengths = np.array([min(len(text), max_len) for text in ids])
    for rows in batch_rows(all_lengths, size, rng, bucketed)[first:]:
        yield *padded([ids[row] for row in rows], max_len), labels[rows]
