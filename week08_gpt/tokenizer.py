"""Tokens: byte-level byte-pair encoding, as GPT-2's, from counting pairs to ids, and characters beside it.

References
    R. Sennrich, B. Haddow, A. Birch, "Neural machine translation of rare words with subword units", arXiv:1508.07909,
        section 3.2 and algorithm 1: merging the most frequent pair
    A. Radford et al., "Language models are unsupervised multitask learners", 2019, section 2.2: on bytes, and within
        chunks; github.com/openai/gpt-2, src/encoder.py has the pattern and the letters for bytes

    tokenizer = BPE.train(texts, vocab_size=4096)
    tokenizer.decode(tokenizer.encode("def f(x):")) == "def f(x):"
"""

import hashlib
import heapq
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from shared.errors import CourseError
from shared.files import read_json, written_whole

END = "<|endoftext|>"
UNKNOWN = "\N{REPLACEMENT CHARACTER}"
# Words with the space before them, numbers, other signs, white space: what a token may not reach across.
CHUNKS = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CACHED = 200_000  # chunks whose ids are remembered
Pair = tuple[int, int]


def letters() -> dict[int, str]:
    """A visible letter for each of the 256 bytes, as GPT-2's files write them: those of Latin-1 that can be seen stand
    for themselves, the others for the letters from number 256 on (a space becomes Ġ)."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {byte: chr(byte) for byte in seen} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}


LETTER = letters()
BYTE = {letter: byte for byte, letter in LETTER.items()}
ALPHABET = [bytes([BYTE[letter]]) for letter in sorted(BYTE)]  # the single bytes, in the order of their letters


def as_letters(token: bytes) -> str:
    return "".join(LETTER[byte] for byte in token)


def as_bytes(word: str) -> bytes:
    return bytes(BYTE[letter] for letter in word)


def chunks(text: str) -> list[bytes]:
    """The text cut into pieces that are encoded each by itself. Together they are all its bytes."""
    import regex

    return [chunk.encode("utf-8", "surrogateescape") for chunk in regex.findall(CHUNKS, text)]


# ---------------------------------------------------------------- learning merges


def merged(ids: Sequence[int], pair: Pair, new: int) -> list[int]:
    """The ids with every occurrence of a pair replaced by one new id."""
    # exercise 4: the merge step, one merge
    # ids, the two ids of a pair, and the id of what they become -> a list of ids. From left to right; what has been
    # merged is not looked at again: in 1 1 1 the pair (1, 1) occurs once.
    # hint: a while loop over i: where ids[i] and ids[i + 1] are the pair, append new and go on at i + 2; else append
    # ids[i] and go on at i + 1. Mind the last id, which has none behind it.
    out, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and ids[i] == pair[0] and ids[i + 1] == pair[1]:
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out
    # end of exercise 4


def learn_plainly(words: Sequence[Sequence[int]], merges: int, first: int) -> list[Pair]:
    """Algorithm 1 as it stands in the paper: count all pairs, merge the most frequent one everywhere, and again.

    Slow: every merge reads the whole corpus. `learn` gives the same merges.

    Args:
        words: the ids of every chunk of the corpus, one after another.
        merges: how many.
        first: the id of the first new token. The new ones are numbered from there.
    """
    words, found = [list(word) for word in words], []
    for new in range(first, first + merges):
        counts: Counter[Pair] = Counter()
        for word in words:
            counts.update(pairwise(word))
        if not counts:
            break
        pair = min(counts, key=lambda pair: (-counts[pair], pair))  # of equally frequent ones the one of smaller ids
        words = [merged(word, pair, new) for word in words]
        found.append(pair)
    return found


def learn(counted: Mapping[bytes, int], vocabulary: dict[bytes, int], size: int) -> list[Pair]:
    """The merges that fill a vocabulary up to `size` tokens; it grows by what they make.

    Each distinct chunk is kept once, with its count. A merge changes the counts of pairs in those chunks alone that
    have the pair; a heap has the most frequent pair on top. An entry of the heap may be out of date, and is put right
    when it comes up.
    """
    words = [[vocabulary[bytes([byte])] for byte in chunk] for chunk in counted]
    times = list(counted.values())
    tokens = {number: token for token, number in vocabulary.items()}
    counts: Counter[Pair] = Counter()
    where: dict[Pair, set[int]] = defaultdict(set)  # the chunks that have a pair, or had it once
    for index, (word, count) in enumerate(zip(words, times, strict=True)):
        for pair in pairwise(word):
            counts[pair] += count
            where[pair].add(index)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    merges: list[Pair] = []
    while len(vocabulary) < size and heap:
        count, pair = heapq.heappop(heap)
        if -count != counts[pair]:
            if counts[pair] > 0:
                heapq.heappush(heap, (-counts[pair], pair))
            continue
        token = tokens[pair[0]] + tokens[pair[1]]
        new = vocabulary.setdefault(token, len(vocabulary))  # two merges may make the same token
        tokens[new] = token
        merges.append(pair)
        grown = set()
        for index in where.pop(pair):
            word, times_here = words[index], times[index]
            for old in pairwise(word):
                counts[old] -= times_here
            words[index] = word = merged(word, pair, new)
            for now in pairwise(word):
                counts[now] += times_here
                if new in now:
                    where[now].add(index)
                    grown.add(now)
        for now in grown:
            heapq.heappush(heap, (-counts[now], now))
    return merges


# ---------------------------------------------------------------- tokenizers


class Tokenizer:
    """Text to ids and back. `end` is the id of the token that stands between documents; it is never made from text."""

    kind = ""
    end: int

    def __init__(self, tokens: Mapping[int, bytes], special: Sequence[str]) -> None:
        self.tokens = dict(tokens)
        self.special = {
            word: number for number, token in tokens.items() if (word := token.decode("utf-8", "ignore")) in special
        }
        self.end = self.special[END]

    @property
    def vocab_size(self) -> int:
        return len(self.tokens)

    def encode(self, text: str | bytes) -> list[int]:
        """The ids of a text. Special tokens that are spelled out in it are text like any other."""
        raise NotImplementedError

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes that the ids stand for; special tokens stand for their names.

        Raises:
            CourseError: an id that the vocabulary does not have.
        """
        try:
            return b"".join([self.tokens[int(number)] for number in ids])
        except KeyError as error:
            raise CourseError(f"token {error}: the vocabulary has {self.vocab_size}, from 0 on.") from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text. Bytes that are no UTF-8 (half a letter) become �."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def state(self) -> dict[str, Any]:
        """All of it as JSON."""
        raise NotImplementedError

    @property
    def fingerprint(self) -> str:
        """Tells tokenizers apart: equal ones have equal fingerprints."""
        text = json.dumps(self.state(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def hold_to(self, fingerprint: str, what: str) -> None:
        """Refuses what was made with another tokenizer.

        Args:
            fingerprint: of the tokenizer that `what` was made with.
            what: a checkpoint or a file of tokens, for the message.

        Raises:
            CourseError: it is not this one's.
        """
        if fingerprint != self.fingerprint:
            raise CourseError(
                f"{what} was made with another tokenizer ({fingerprint}, this one is {self.fingerprint}): its numbers "
                "would mean other tokens. Use the tokenizer.json that lies beside it."
            )

    def save(self, path: Path) -> None:
        """Writes it as one JSON file, whole or not at all."""
        text = json.dumps(self.state(), ensure_ascii=False, indent=0) + "\n"
        with written_whole(Path(path)) as temporary:
            temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


class BPE(Tokenizer):
    """Byte-level byte-pair encoding. The 256 bytes are tokens, so every text can be written, in whatever script."""

    kind = "bpe"

    def __init__(
        self, vocabulary: Mapping[bytes, int], merges: Sequence[Pair], special: Sequence[str] = (END,)
    ) -> None:
        """vocabulary: {token: id}; merges: pairs of ids, the first learned first; special: tokens that are not text."""
        super().__init__({number: token for token, number in vocabulary.items()}, special)
        self.vocabulary, self.merges = dict(vocabulary), list(merges)
        self.bytes = [vocabulary[bytes([byte])] for byte in range(256)]
        self.ranks: dict[Pair, tuple[int, int]] = {}  # {pair: (rank, what it becomes)}
        for rank, (a, b) in enumerate(self.merges):
            self.ranks.setdefault((a, b), (rank, vocabulary[self.tokens[a] + self.tokens[b]]))
        self.known: dict[bytes, list[int]] = {}

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, special: Sequence[str] = (END,)) -> "BPE":
        """Learns the merges from texts, up to `vocab_size` tokens: the special ones first, the 256 bytes, the merges.

        Raises:
            CourseError: not even the bytes fit.
        """
        if vocab_size < len(special) + 256:
            raise CourseError(f"a vocabulary of {vocab_size}: the 256 bytes and {len(special)} special token must fit.")
        counted: Counter[bytes] = Counter()
        for text in texts:
            counted.update(chunks(text))
        first = [word.encode() for word in special] + ALPHABET
        vocabulary = {token: number for number, token in enumerate(first)}
        merges = learn(counted, vocabulary, vocab_size)
        return cls(vocabulary, merges, special)

    def encode(self, text: str | bytes) -> list[int]:
        """As Tokenizer.encode; bytes may be anything, also no UTF-8, and come back by decode_bytes."""
        if isinstance(text, bytes):
            text = text.decode("utf-8", "surrogateescape")
        ids: list[int] = []
        for chunk in chunks(text):
            found = self.known.get(chunk)
            if found is None:
                if len(self.known) >= CACHED:
                    self.known.clear()
                found = self.known[chunk] = self.encode_chunk(chunk)
            ids.extend(found)
        return ids

    def encode_chunk(self, chunk: bytes) -> list[int]:
        """The merges, applied to the bytes of one chunk in the order in which they were learned."""
        ids = [self.bytes[byte] for byte in chunk]
        # exercise 4: the merge step, encoding
        # ids of the chunk's bytes, self.ranks {(id, id): (rank, new id)} -> the ids after all merges that apply. Of the
        # pairs that stand side by side, the one that was learned first (of the smallest rank) is merged, everywhere;
        # then the pairs are looked at anew, until none is left that was ever learned.
        # hint: a loop. Of all neighbours (itertools.pairwise) take the pair of the smallest rank; one never learned has
        # infinite rank. Where that is the smallest, or one id is left alone, it ends; else your merge step merges it.
        while len(ids) > 1:
            pair = min(pairwise(ids), key=lambda pair: self.ranks[pair][0] if pair in self.ranks else math.inf)
            if pair not in self.ranks:
                break
            ids = merged(ids, pair, self.ranks[pair][1])
        # end of exercise 4
        return ids

    def state(self) -> dict[str, Any]:
        special = set(self.special.values())
        words = [
            token.decode() if number in special else as_letters(token) for number, token in sorted(self.tokens.items())
        ]
        return {
            "kind": self.kind,
            "special": list(self.special),
            "tokens": words,
            "merges": [list(m) for m in self.merges],
        }


class Characters(Tokenizer):
    """Each character a token. Those that training has not seen become �."""

    kind = "char"

    def __init__(self, characters: Sequence[str]) -> None:
        self.characters = sorted({*characters, UNKNOWN})
        tokens = {0: END.encode()} | {n: c.encode("utf-8", "replace") for n, c in enumerate(self.characters, 1)}
        super().__init__(tokens, (END,))
        self.numbers = {character: number for number, character in enumerate(self.characters, 1)}

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int = 0, special: Sequence[str] = (END,)) -> "Characters":
        """All characters of the texts; there are as many as there are."""
        seen: set[str] = set()
        for text in texts:
            seen.update(text)
        return cls(sorted(seen))

    def encode(self, text: str | bytes) -> list[int]:
        text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        unknown = self.numbers[UNKNOWN]
        return [self.numbers.get(character, unknown) for character in text]

    def state(self) -> dict[str, Any]:
        return {"kind": self.kind, "characters": self.characters}


KINDS = {"bpe": BPE, "char": Characters}


# ---------------------------------------------------------------- files


def load(path: Path) -> Tokenizer:
    """A tokenizer from its file, or from a folder with it, or with GPT-2's two: vocab.json and merges.txt, also named
    encoder.json and vocab.bpe.

    Raises:
        CourseError: nothing of the kind is there, or it is broken; the line says where.
    """
    path = Path(path)
    if path.is_dir():
        for vocabulary, merges in (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")):
            if (path / vocabulary).exists():
                return published(path / vocabulary, path / merges)
        path = path / "tokenizer.json"
    state = read_json(path)
    try:
        if state["kind"] == "char":
            return Characters(state["characters"])
        special = state["special"]
        numbered = enumerate(state["tokens"])
        vocabulary = {word.encode() if word in special else as_bytes(word): number for number, word in numbered}
        return BPE(vocabulary, [(a, b) for a, b in state["merges"]], special)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CourseError(f"{path} is not a tokenizer of this course ({type(error).__name__}: {error}).") from None


def published(vocabulary: Path, merges: Path) -> BPE:
    """GPT-2's own two files: {token in letters: id}, and a pair of tokens in letters on each line.

    Raises:
        CourseError: one is missing or broken, or they do not fit together.
    """
    ids = read_json(vocabulary)
    try:
        lines = merges.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(f"{merges} is not readable ({error}).") from None
    if not isinstance(ids, dict) or END not in ids:
        raise CourseError(f'{vocabulary}: must be {{"token": id, …}} with {END} among the tokens.')
    pairs = []
    for number, line in enumerate(lines, 1):
        if (number == 1 and line.startswith("#version")) or not line.strip():
            continue
        words = line.split(" ")
        if len(words) != 2 or any(word not in ids for word in (*words, "".join(words))):
            raise CourseError(f"{merges}, line {number}: {line!r:.60} is no pair of tokens of {vocabulary.name}.")
        pairs.append((ids[words[0]], ids[words[1]]))
    special = [word for word in ids if any(letter not in BYTE for letter in word) or word == END]
    tokens = {word.encode() if word in special else as_bytes(word): number for word, number in ids.items()}
    return BPE(tokens, pairs, special)
