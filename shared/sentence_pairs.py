"""Sentences with their translations, for weeks 5 and 6: the bundled ones, Anki's, or a file of your own.

A split is drawn by the source sentence: none of test was seen in training with another translation, and a translation
is held against all that are known. Words are in lower case, and scores are told without regard to case, too.
"""

import re
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from shared.archives import DAMAGE
from shared.assets import Asset, fetch
from shared.errors import CourseError
from shared.files import ROOT, is_hidden, no_file, read_json, write_json
from shared.held_out import fingerprints

SAMPLE = ROOT / "shared" / "samples" / "en_fr_15k.tsv.gz"
ANKI = Asset(
    "anki/fra-eng.zip",
    (
        "https://d2l-data.s3-accelerate.amazonaws.com/fra-eng.zip",
        "https://d2l-data.s3.amazonaws.com/fra-eng.zip",
    ),
    "94646ad1522d915e7b0f9296181140edcf86a4f5",
    0,  # its sha1 is published, and its size is not
    "CC BY 2.0 (Tatoeba)",
    "sha1",
)
LINE = "Each line is a sentence, a tab, its translation."
LARGEST = 500 * 2**20  # bytes of a file of pairs, unpacked
PAD, UNK, BOS, EOS = 0, 1, 2, 3
SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Part:
    """One split: source sentences, each once, and of each all its translations."""

    sources: list[str]
    references: list[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def examples(self) -> list[str]:
        """What tells one source from another (shared.held_out)."""
        return [same(source) for source in self.sources]

    @property
    def labels(self) -> Int[np.ndarray, " N"]:
        """What tells whether the translations are what they were."""
        return fingerprints("\n".join(texts) for texts in self.references)

    def take(self, rows: Int[np.ndarray, " n"]) -> "Part":
        """Some of them."""
        return Part([self.sources[row] for row in rows], [self.references[row] for row in rows])

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Each source with each of its translations."""
        return [(source, text) for source, texts in zip(self.sources, self.references, strict=True) for text in texts]


@dataclass(frozen=True)
class Pairs:
    """A data set cut in three. Fit on train (the vocabularies too), choose on val, and read test once."""

    name: str
    train: Part
    val: Part
    test: Part
    own_test: bool = False  # whether it brings a test split of its own
    notes: tuple[str, ...] = ()  # what was left out, to be told to the reader

    @property
    def everything(self) -> Part:
        parts = (self.train, self.val, self.test)
        return Part([s for part in parts for s in part.sources], [r for part in parts for r in part.references])


def load(name: str, most_words: int = 12, most_val: int = 1_000, most_test: int = 1_000) -> Pairs:
    """Loads `sample`, `anki`, or a tab-separated file of your own (.tsv, .txt, .gz, or the published fra-eng.zip).

    Args:
        name: what to load. A file has the sentence, its translation, and if you like more columns, which are passed
            over; with a first line `source`, `target`, `split` the third says train, val or test.
        most_words: longer sentences are left out, on either side.
        most_val, most_test: at most so many sources, and at most a tenth, where no split is given.

    Raises:
        CourseError: what is wrong with the data, in one line.
    """
    if name == "sample":
        return cut(name, read_table(SAMPLE), most_words, most_val, most_test)
    path = fetch(ANKI) if name == "anki" else Path(name).expanduser()
    if not name or not path.is_file():
        raise CourseError(f"--data {name}: {no_file(name)}, nor one of sample, anki.")
    return cut(name, read_table(path), most_words, most_val, most_test)


# ---------------------------------------------------------------- files


Row = tuple[str, str, str]
"""Source, target, and the split or nothing."""


def read_table(path: Path) -> list[Row]:
    """The rows of a tab-separated file.

    Raises:
        CourseError: it is not UTF-8, is damaged, has lines of one column (their numbers are told), or no pair at all.
    """
    lines = re.split(r"\r\n|\r|\n", text_of(path))
    head = [column.strip().lower() for column in lines[0].split("\t")] if lines else []
    named = head[:2] == ["source", "target"]
    rows: list[Row] = []
    short: list[int] = []
    for number, line in enumerate(lines[named:], 1 + named):
        source, *more = (clean(column) for column in line.split("\t"))
        if not source and not any(more):
            continue
        if not more:
            short.append(number)
        elif source and more[0]:
            split = more[1].lower() if named and "split" in head[2:3] and more[1:] else ""
            if split not in ("", *SPLITS):
                raise CourseError(f"{path}:{number}: split {split!r} is none of train, val, test.")
            rows.append((source, more[0], split))
    if short:
        told, more = ", ".join(map(str, short[:5])), f" and {len(short) - 5} more" if len(short) > 5 else ""
        raise CourseError(f"{path}: no tab in line{'s' * (len(short) > 1)} {told}{more}. {LINE}")
    if not rows:
        raise CourseError(f"{path}: no pair of sentences in it. {LINE}")
    return rows


def text_of(path: Path) -> str:
    """A file's text: plain, gzipped, or the one .txt or .tsv file of a zip archive whose name is not _about.txt."""
    import gzip

    raw = path.read_bytes()
    try:
        if raw[:2] == b"\x1f\x8b":
            with gzip.open(path) as file:
                raw = file.read(LARGEST + 1)
        elif raw[:2] == b"PK":
            with zipfile.ZipFile(path) as archive:
                names = [n for n in archive.namelist() if n.endswith((".txt", ".tsv")) and not is_hidden(n)]
                names = [n for n in names if "about" not in n.lower()]
                if len(names) != 1:
                    raise CourseError(f"{path}: {len(names)} text files in it, should be one. Unpack it, and name one.")
                with archive.open(names[0]) as file:
                    raw = file.read(LARGEST + 1)
    except (*DAMAGE, OSError) as error:
        raise CourseError(f"{path} is damaged ({error or type(error).__name__}). Fetch it again.") from None
    if len(raw) > LARGEST:
        raise CourseError(f"{path}: more than {LARGEST >> 20} MB of text. Take a part of it.")
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", errors="replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\0" in raw:
            raise CourseError(f"{path}: no text, but a binary file (a picture?).") from None
        line = raw[: error.start].count(b"\n") + 1
        raise CourseError(f"{path}:{line}: not UTF-8 text. Save it as UTF-8.") from None


def clean(text: str) -> str:
    """One spelling of what looks alike: composed accents, straight apostrophes, plain spaces."""
    text = unicodedata.normalize("NFC", text).replace("’", "'").replace("ʼ", "'")
    return " ".join(text.split())


# ---------------------------------------------------------------- train, val and test


def same(text: str) -> str:
    """What two sentences have in common when they differ in spaces, capitals and punctuation alone."""
    return re.sub(r"\W+", " ", text).lower().strip() or text.strip()


def cut(name: str, rows: Sequence[Row], most_words: int, most_val: int, most_test: int) -> Pairs:
    """Train, val and test, with no source sentence in two of them, whatever its translation.

    Raises:
        CourseError: too few to be cut in three, or none short enough.
    """
    groups: dict[str, dict[tuple[str, str], str]] = {}
    long = twice = 0
    for source, target, split in rows:
        if max(count_words(source), count_words(target)) > most_words or not tokenize(source):
            long += 1
            continue
        group = groups.setdefault(same(source), {})
        twice += (source, target) in group
        group.setdefault((source, target), split)
    notes = (f"left out {long:,} pairs of more than {most_words} words (--most-words)",) * bool(long)
    notes += (f"dropped {twice:,} pair{'s' * (twice > 1)} that occur{'s' * (twice == 1)} twice",) * bool(twice)
    if not groups:
        raise CourseError(f"--data {name}: no pair of at most {most_words} words. Raise --most-words.")
    placed = {key: max(group.values(), key=("", *SPLITS).index) for key, group in groups.items()}  # test before train
    own_test = "test" in placed.values()
    free = [
        key for key in np.random.default_rng(0).permutation(sorted(groups)).tolist() if placed[key] in ("", "train")
    ]
    for split, most in (("test", most_test), ("val", most_val)):
        if split not in placed.values():
            count = min(most, len(groups) // 10)
            placed |= dict.fromkeys(free[:count], split)
            free = free[count:]
    parts = {split: [groups[key] for key in groups if (placed[key] or "train") == split] for split in SPLITS}
    if not all(parts.values()):
        raise CourseError(f"--data {name}: {len(groups)} sentences are too few to be cut in three; thirty would do.")
    made = (Part(*map(list, zip(*map(as_example, parts[split]), strict=True))) for split in SPLITS)
    return Pairs(name, *made, own_test, notes)


def as_example(group: Iterable[tuple[str, str]]) -> tuple[str, tuple[str, ...]]:
    """(source, all its translations) of the pairs of one source sentence, in the spelling that comes first."""
    pairs = list(group)
    return pairs[0][0], tuple(dict.fromkeys(target for _, target in pairs))


# ---------------------------------------------------------------- words


# l'unité is two words, don't is one; a number stays whole, a sign stands alone.
WORD = re.compile(r"\b(?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu|quoiqu)'(?=\w)|\d+(?:[.,]\d+)*|\w+(?:['-]\w+)*|[^\w\s]")


def count_words(text: str) -> int:
    """The length of a sentence as people count it: signs are no words, and l'unité is one."""
    return sum(word[0].isalnum() and word[-1] != "'" for word in tokenize(text))


BEFORE, BEHIND = set(".,…)]}%»?!:;"), set("([{«")


def tokenize(text: str) -> list[str]:
    """Words in lower case, signs as words of their own.

    >>> tokenize("Don't open l'unité, please!")
    ["don't", 'open', "l'", 'unité', ',', 'please', '!']
    """
    return WORD.findall(clean(text).lower())


def detokenize(words: Iterable[str]) -> str:
    """Words as a sentence: no space behind an apostrophe or an opening bracket, none before a full stop.

    >>> detokenize(["ouvre", "l'", "unité", "!"])
    "ouvre l'unité !"
    """
    text, glue, quoted = "", True, False
    for word in words:
        closes = word == '"' and quoted
        narrow = word in BEFORE and word not in set("?!:;»")  # French keeps a space before these
        text += word if glue or narrow or closes else f" {word}"
        quoted ^= word == '"'
        glue = word.endswith("'") or word in BEHIND or (word == '"' and quoted)
    return text


class Vocabulary:
    """The words of one language that a model knows, the most frequent first, behind <pad>, <unk>, <s> and </s>."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = [*SPECIAL, *words]
        self.ids = {word: number for number, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    @classmethod
    def build(cls, texts: Iterable[str], size: int, min_count: int = 2) -> "Vocabulary":
        """The words of these texts (train's alone) that occur `min_count` times, at most `size` with the four above."""
        counts = Counter(word for text in texts for word in tokenize(text))
        frequent = sorted((-count, word) for word, count in counts.items() if count >= min_count)
        return cls(word for _, word in frequent[: max(0, size - len(SPECIAL))])

    def encode(self, words: Iterable[str]) -> list[int]:
        """The ids of a sentence's words, </s> behind them."""
        return [self.ids.get(word, UNK) for word in words] + [EOS]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The words of ids, up to </s>; padding and <s> left out."""
        words = []
        for number in ids:
            if number == EOS:
                break
            if number not in (PAD, BOS):
                words.append(self.words[number])
        return words


def save_vocabularies(path: Path, source: Vocabulary, target: Vocabulary) -> None:
    write_json(path, {"source": source.words[len(SPECIAL) :], "target": target.words[len(SPECIAL) :]})


def read_vocabularies(path: Path) -> tuple[Vocabulary, Vocabulary]:
    """What `save_vocabularies` wrote; a CourseError for anything else."""
    saved = read_json(path)
    words = [saved.get(side) for side in ("source", "target")] if isinstance(saved, dict) else [None]
    if not all(isinstance(side, list) and all(isinstance(word, str) for word in side) for side in words):
        raise CourseError(f"{path} does not hold two vocabularies. Train again, or use another run.")
    return Vocabulary(words[0]), Vocabulary(words[1])


# ---------------------------------------------------------------- batches


def batch_rows(
    lengths: Int[np.ndarray, " N"], size: int, rng: np.random.Generator | None, pool: int = 50
) -> list[Int[np.ndarray, " batch"]]:
    """Row numbers of each batch, sentences of about the same length together; without `rng` sorted, for evaluation."""
    if rng is None:
        order = np.argsort(lengths, kind="stable")
        return [order[start : start + size] for start in range(0, len(order), size)]
    order, batches = rng.permutation(len(lengths)), []
    for start in range(0, len(order), pool * size):
        rows = order[start : start + pool * size]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[first : first + size] for first in range(0, len(rows), size)]
    return [batches[number] for number in rng.permutation(len(batches))]


def padded(ids: Sequence[Sequence[int]]) -> Int[np.ndarray, "batch length"]:
    """Sentences as rows of one array, padded at the end."""
    rows = np.full((len(ids), max(map(len, ids))), PAD, dtype=np.int64)
    for row, sentence in zip(rows, ids, strict=True):
        row[: len(sentence)] = sentence
    return rows


def words_of(part: Part) -> Iterator[tuple[list[str], list[str]]]:
    """The words of each pair of a part."""
    for source, target in part.pairs:
        yield tokenize(source), tokenize(target)
