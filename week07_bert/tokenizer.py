"""WordPiece, BERT's tokenizer: from text to pieces of words, with the place of each piece in the text, and back.

References
    M. Schuster, K. Nakajima, "Japanese and Korean voice search", 2012: WordPiece
    Y. Wu et al., "Google's neural machine translation system", arXiv:1609.08144, section 4.1: pieces of words
    J. Devlin et al., arXiv:1810.04805, and its code: normalisation, [CLS] and [SEP], ## on what continues a word
    R. Sennrich, B. Haddow, A. Birch, arXiv:1508.07909: merging the most frequent pair, by which we train as the
        tokenizers library does; Google's own trainer was never published
"""

import heapq
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from shared.errors import CourseError
from shared.files import written_whole

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL = (PAD, UNK, CLS, SEP, MASK)
CONTINUES = "##"  # what a piece begins with that does not begin a word
LONGEST = 100  # letters; a longer word is [UNK]
CJK = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip
Span = tuple[int, int]
"""Where a token stands: from this character of the text to that one, which is no longer part of it."""


class Forms(dict):
    """What becomes of each character, looked up once: {"É": "e", "\\t": " ", ",": " , ", "中": " 中 ", "\\x00": ""}."""

    def __init__(self, lowercase: bool) -> None:
        super().__init__()
        self.lowercase = lowercase

    def __missing__(self, char: str) -> str:
        self[char] = form = self.form(char)
        return form

    def form(self, char: str) -> str:
        kind, code = unicodedata.category(char), ord(char)
        if char in "\t\n\r" or kind[0] == "Z":
            return " "
        if kind in ("Cc", "Cf", "Cs", "Co") or code == 0xFFFD:  # control and format characters, private use, damage
            return ""
        letters = char
        if self.lowercase:  # é becomes e and an accent, which is dropped
            letters = "".join(c for c in unicodedata.normalize("NFD", char) if unicodedata.category(c) != "Mn")
            letters = "".join(c.lower() for c in letters)
        if any(first <= code <= last for first, last in CJK):
            return f" {letters} "
        return "".join(f" {c} " if is_punctuation(c) else c for c in letters)


def is_punctuation(char: str) -> bool:
    """Unicode's punctuation, and those of ASCII that Unicode calls symbols: $ + < = > ^ ` | ~."""
    return unicodedata.category(char)[0] == "P" or char in "$+<=>^`|~"


def pieces_of(word: str, vocab: Mapping[str, int]) -> list[str]:
    """The pieces of a normalised word, or [UNK] alone."""
    # exercise 1: greedy WordPiece
    # word: letters without spaces; vocab {token: id} -> the word's pieces from left to right, each the longest that the
    # vocabulary has there; all but the first begin with "##". [UNK] alone where it cannot be cut whole, or where it
    # has more than LONGEST letters.
    # hint: start at 0. Try end = len(word), then one less, until word[start:end] (with CONTINUES before it when start
    # > 0) is in vocab; append it and go on at start = end. No end found: return [UNK], whatever was found before.
    if len(word) > LONGEST:
        return [UNK]
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = word[start:end] if start == 0 else CONTINUES + word[start:end]
            if piece in vocab:
                break
        else:
            return [UNK]
        found.append(piece)
        start = end
    return found
    # end of exercise 1


class WordPiece:
    """Normalises a text, splits it into words, and cuts these into pieces of a vocabulary.

    Special tokens written in the text ("[SEP]") are text like any other: [, sep, ]. The library, by default, takes them
    for the real ones, so that whoever writes the text can end it.

    Attributes:
        vocab: {token: id}.
        tokens: the tokens in the order of their ids.
        pad_id, unk_id, cls_id, sep_id, mask_id: the special ones.
        lowercase: whether case and accents are dropped (an "uncased" model).
    """

    def __init__(self, vocab: Sequence[str] | Mapping[str, int], lowercase: bool = True) -> None:
        if isinstance(vocab, Mapping):
            vocab = sorted(vocab, key=vocab.__getitem__)
        self.tokens, self.lowercase = list(vocab), lowercase
        self.vocab = {token: at for at, token in enumerate(self.tokens)}
        if missing := [token for token in SPECIAL if token not in self.vocab]:
            raise CourseError(f"the vocabulary has no {', '.join(missing)}: not one of a BERT.")
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (self.vocab[token] for token in SPECIAL)
        self.special_ids = frozenset(self.vocab[token] for token in SPECIAL)
        self.forms = Forms(lowercase)
        self.known: dict[str, list[tuple[int, int]]] = {}  # word: its pieces as (id, letters)

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> tuple[list[int], list[Span]]:
        """Ids of the text's tokens, without special ones, and of each the characters of `text` that it came from."""
        forms, known = self.forms, self.known
        normal, places = normalised(text, forms)
        ids: list[int] = []
        spans: list[Span] = []
        for match in re.finditer("[^ ]+", normal):
            word, at = match[0], match.start()
            if word not in known:
                known[word] = self.cut(word)
            for token, letters in known[word]:
                ids.append(token)
                spans.append((places[at], places[at + letters - 1] + 1))
                at += letters
        return ids, spans

    def cut(self, word: str) -> list[tuple[int, int]]:
        """The pieces of a word, as their ids and how many letters of it each has."""
        pieces = pieces_of(word, self.vocab)
        if pieces == [UNK]:
            return [(self.unk_id, len(word))]
        lengths = [len(pieces[0]), *(len(piece) - len(CONTINUES) for piece in pieces[1:])]
        return [(self.vocab[piece], letters) for piece, letters in zip(pieces, lengths, strict=True)]

    def decode(self, ids: Iterable[int], special: bool = False) -> str:
        """Words with spaces between them. Case, accents and the original spaces are gone: show text by its spans."""
        words: list[str] = []
        for token in (self.tokens[at] for at in ids if special or at not in self.special_ids):
            if token.startswith(CONTINUES) and words:
                words[-1] += token.removeprefix(CONTINUES)
            else:
                words.append(token)
        return " ".join(words)

    @classmethod
    def from_file(cls, path: Path | str, lowercase: bool = True) -> "WordPiece":
        """Reads a vocab.txt, one token a line.

        Raises:
            CourseError: it is not there, not UTF-8, names a token twice, or lacks a special token.
        """
        try:
            tokens = Path(path).read_text(encoding="utf-8").removesuffix("\n").split("\n")
        except FileNotFoundError:
            raise CourseError(f"{path} is not there. A BERT's folder has its vocabulary in vocab.txt.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise CourseError(f"{path} is not readable as UTF-8 text ({error}).") from None
        tokens = [token.rstrip("\r") for token in tokens]
        if len(set(tokens)) < len(tokens):
            twice, _ = Counter(tokens).most_common(1)[0]
            raise CourseError(f"{path}: {twice!r} is there twice.")
        try:
            return cls(tokens, lowercase)
        except CourseError as error:
            raise CourseError(f"{path}: {error}") from None

    def save(self, path: Path | str) -> None:
        """Writes a vocab.txt."""
        with written_whole(Path(path)) as temporary:
            temporary.write_bytes("".join(f"{token}\n" for token in self.tokens).encode("utf-8"))

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, lowercase: bool = True, least: int = 2) -> "WordPiece":
        """A tokenizer whose vocabulary is learned from texts."""
        forms, counts = Forms(lowercase), Counter()
        for text in texts:
            counts.update(normalised(text, forms)[0].split(" "))
        del counts[""]
        return cls(learn(counts, vocab_size, least), lowercase)


def normalised(text: str, forms: Forms) -> tuple[str, Sequence[int]]:
    """The text as WordPiece sees it, words apart by spaces, and for each of its letters the place in `text`."""
    parts = [forms[char] for char in text]
    normal = "".join(parts)
    if all(len(part) == 1 for part in parts):
        return normal, range(len(text))
    return normal, [at for at, part in enumerate(parts) for _ in part]


def learn(counts: Mapping[str, int], vocab_size: int, least: int = 2) -> list[str]:
    """The vocabulary of words with these counts: letters first, then what joining the most frequent pairs makes.

    Each word starts as its letters, all but the first with ## before them. Again and again the two neighbours that
    stand together most often, over all words, become one piece, which enters the vocabulary, until that is full or no
    pair is there `least` times. Where two pairs are equally frequent, the one whose pieces came first is taken; in the
    tokenizers library it is an arbitrary one, so that its last tokens differ from one call to the next.
    """
    words = [[word[0], *(CONTINUES + letter for letter in word[1:])] for word in sorted(counts)]
    numbers = [counts[word] for word in sorted(counts)]
    letters = {letter for word in counts for letter in word}
    continuing = {CONTINUES + letter for word in counts for letter in word[1:]}
    vocab = dict.fromkeys((*SPECIAL, *sorted(letters), *sorted(continuing)))
    pairs: Counter[tuple[str, str]] = Counter()
    where: dict[tuple[str, str], set[int]] = defaultdict(set)
    for at, pieces in enumerate(words):
        for pair in pairwise(pieces):
            pairs[pair] += numbers[at]
            where[pair].add(at)
    # A heap that may be out of date: a count that has shrunk since is put back with what it is now.
    order = {piece: at for at, piece in enumerate(vocab)}
    heap = [(-count, order[a], order[b], (a, b)) for (a, b), count in pairs.items()]
    heapq.heapify(heap)
    while heap and len(vocab) < vocab_size:
        count, first, second, pair = heapq.heappop(heap)
        if -count != pairs[pair]:
            if pairs[pair] > 0:
                heapq.heappush(heap, (-pairs[pair], first, second, pair))
            continue
        if -count < least:
            break
        joined = pair[0] + pair[1].removeprefix(CONTINUES)
        vocab.setdefault(joined)
        order.setdefault(joined, len(order))
        grown = set()
        for at in where.pop(pair):
            for old in pairwise(words[at]):
                pairs[old] -= numbers[at]
            words[at] = join(words[at], pair, joined)
            for new in pairwise(words[at]):
                pairs[new] += numbers[at]
                where[new].add(at)
                if joined in new:
                    grown.add(new)
        for a, b in grown:
            heapq.heappush(heap, (-pairs[a, b], order[a], order[b], (a, b)))
    return list(vocab)


def join(pieces: Sequence[str], pair: tuple[str, str], joined: str) -> list[str]:
    """The pieces with every such pair made one, from left to right."""
    found: list[str] = []
    for piece in pieces:
        if found and (found[-1], piece) == pair:
            found[-1] = joined
        else:
            found.append(piece)
    return found
