"""The week's reviews: the bundled ones, the published IMDB archive, or texts of your own; and how words become numbers.

A. Maas et al., "Learning word vectors for sentiment analysis", ACL 2011: the Large Movie Review Dataset.
The prices of the week are in price_series.py.
"""

import re
import unicodedata
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
from week03_lstm import sentiment_files
from week03_lstm.sentiment_files import Rows, Splits

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
PAD, UNK = 0, 1  # the ids of padding and of every word that is not in the vocabulary


@dataclass(frozen=True)
class Part:
    """One split: texts, and labels (N,) of 0 (negative) or 1 (positive)."""

    texts: list[str]
    labels: Int[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def examples(self) -> list[str]:
        """What tells one text from another (shared.held_out)."""
        return [same(text) for text in self.texts]

    def take(self, rows: Int[np.ndarray, " n"]) -> "Part":
        """Some of them."""
        return Part([self.texts[row] for row in rows], self.labels[rows])


@dataclass(frozen=True)
class Data:
    """A data set cut in three. Fit on train (the vocabulary too), choose on val, and read test once."""

    name: str
    classes: tuple[str, ...]
    train: Part
    val: Part
    test: Part
    own_test: bool = False  # whether it brings a test split of its own
    notes: tuple[str, ...] = ()  # what was guessed, left out or dropped, to be told to the reader

    @property
    def everything(self) -> Part:
        parts = (self.train, self.val, self.test)
        return Part([text for p in parts for text in p.texts], np.concatenate([p.labels for p in parts]))


def load(name: str, text: str = "text", label: str = "label") -> Data:
    """Loads `sample`, `imdb`, or a path: a table with two columns, or folders of texts (README: layouts that are read).

    Args:
        name: what to load.
        text, label: the columns of a file of your own. A column `split` (train, val, test) is used where there is one.

    Raises:
        CourseError: what is wrong with the data, in one line.
    """
    if name == "sample":
        return cut(name, *sentiment_files.read_table(SAMPLE))
    if name == "imdb":
        archive = fetch(IMDB)
        return cut(name, *sentiment_files.read_folder(unpack(archive, archive.with_name("aclImdb_v1"))))
    path = Path(name).expanduser()
    if not name or not path.exists():
        raise CourseError(f"--data {name}: no such file or folder, nor one of sample, imdb.")
    return cut(name, *sentiment_files.read(path, text, label))


# ---------------------------------------------------------------- train, val and test


def same(text: str) -> str:
    """What two texts have in common when they differ in spaces, capitals and punctuation alone."""
    return re.sub(r"\W+", " ", text).lower().strip() or text.strip()  # of 👍 and 👎 nothing would be left


def cut(name: str, found: Splits, notes: tuple[str, ...] = (), most_test: int = 5_000, most_val: int = 2_500) -> Data:
    """Train, val and test, with no text in two of them.

    A text that test or val holds too, or train twice, is dropped from train (from val, if it is in test). What no
    split says is cut from train: a fifth to test, but at most 5,000, and a tenth to val, but at most 2,500. The cut
    keeps the share of the classes, and is the same each time, whatever --seed: every run must hold out the same texts.

    Raises:
        CourseError: one class only, none to train on, too few texts, or texts that share no word.
    """
    train, val, test = (found.get(split, []) for split in ("train", "val", "test"))
    total, everything = len(train), len(train) + len(val) + len(test)
    if len({label for rows in (train, val, test) for _, label in rows}) < 2:
        raise CourseError(f"--data {name}: one class only; there is nothing to tell apart.")
    if not train:
        raise CourseError(f"--data {name}: all of it is val or test. Call some of it train, or leave the split out.")
    own_test, held_out = bool(test), {same(text) for text, _ in test}
    val = [row for row in val if same(row[0]) not in held_out]
    held_out |= {same(text) for text, _ in val}
    once = {same(row[0]): row for row in reversed(train)}  # reversed: the first of equals stays
    train = [row for text, row in reversed(once.items()) if text not in held_out]
    if dropped := everything - len(train) - len(val) - len(test):
        notes += (f"dropped {dropped:,} review{'s' * (dropped > 1)} that occur{'s' * (dropped == 1)} twice",)

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
    if not _share_a_word(text for text, _ in train):
        raise CourseError(
            f"--data {name}: no word occurs in two of the reviews to train on (letters and digits make words, emoji do "
            "not): there is nothing to learn from. Give more text."
        )
    parts = (Part([text for text, _ in rows], np.array([label for _, label in rows])) for rows in (train, val, test))
    return Data(name, CLASSES, *parts, own_test, notes)


def _drawn(rows: Rows, count: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """The rows without about `count` of them, and these; of each class the same share, at least one."""
    labels, taken = np.array([label for _, label in rows]), np.zeros(len(rows), dtype=bool)
    for label in (0, 1):
        of_class = rng.permutation(np.flatnonzero(labels == label))
        taken[of_class[: max(1, round(count * len(of_class) / max(1, len(rows))))]] = True
    return [r for r, t in zip(rows, taken, strict=True) if not t], [r for r, t in zip(rows, taken, strict=True) if t]


def _share_a_word(texts: Iterable[str]) -> bool:
    seen: set[str] = set()
    for text in texts:
        words = set(tokenize(text))
        if words & seen:
            return True
        seen |= words
    return False


# ---------------------------------------------------------------- words


# Thai, Lao, Burmese, Khmer, kana and Chinese characters: they are written without spaces, so each counts as a word.
UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Accents and vowel signs that follow their letter: \w has letters and digits of every script, but not these.
SIGNS = "".join(chr(code) for code in range(0x300, 0xFE00) if unicodedata.category(chr(code))[0] == "M")
SPACED = rf"(?:[^\W{UNSPACED}]|[{SIGNS}])+"
WORD = re.compile(rf"(?=\w)(?:[{UNSPACED}][{SIGNS}]*|{SPACED}(?:'{SPACED})*)|[!?]")
ASCII_WORD = re.compile(r"\w+(?:'\w+)*|[!?]")  # the same for most texts, in half the time


def tokenize(text: str) -> list[str]:
    """Words in lower case, don't in one piece, and ! and ? as words of their own. What is HTML in IMDB is removed.
    Letters are those of any script; where a script has no spaces, each character is a word.

    >>> tokenize("I don't care!<br /><br />WHY?")
    ['i', "don't", 'care', '!', 'why', '?']
    >>> tokenize("好电影 хорошо")
    ['好', '电', '影', 'хорошо']
    """
    text = re.sub(r"<br\s*/?>", " ", text.lower().replace("’", "'"))
    return (ASCII_WORD if text.isascii() else WORD).findall(text)


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
    batches = []
    # exercise 6: batches of texts of about the same length
    # order (N,), all row numbers, shuffled; lengths (N,) -> a list of arrays of row numbers, each row in one batch. A
    # batch has `size` rows, the last one of a pool what is left. In each pool, the next pool * size rows of order,
    # texts of about the same length meet; in what order the batches come is left to chance, that of rng alone.
    # hint: a batch is padded to its longest text, so sort the rows of each pool by length, then cut them into batches.
    # What argsort gives are places within the pool, not row numbers. At the end the list of batches is shuffled, or
    # within each pool short ones would always come before long ones.
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
