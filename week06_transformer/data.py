"""What the Transformer learns: strings to copy, reverse, sort and add, made here at random, and translation.

The strings are synthetic, and their data set says so in its name. Each is in one part only: none of val or test has
been trained on. Numbers are written from the ones on, as one adds by hand: 58 + 67 = 125 is `85+76` and `521`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared import sentence_pairs
from shared.errors import CourseError
from shared.sentence_pairs import BOS, Pairs, Part, Vocabulary, detokenize, tokenize

LETTERS, DIGITS = "abcdefghijklmnopqrstuvwxyz", "0123456789"
SYNTHETIC = "synthetic"
SHORTEST = 3  # letters: of one or two there are too few to be split


def added(source: str) -> str:
    """`521` of `85+76`: digit by digit, the carry goes to the right."""
    a, b = (int(number[::-1]) for number in source.split("+"))
    return str(a + b)[::-1]


STRINGS: dict[str, Callable[[str], str]] = {
    "copy": str,
    "reverse": lambda source: source[::-1],
    "sort": lambda source: "".join(sorted(source)),
    "add": added,
}
TASKS = (*STRINGS, "translate")


def drawn(task: str, length: int, rng: np.random.Generator) -> str:
    """A random string of so many letters; for `add` two numbers, the longer one of so many digits.

    A string is made of 2 to 26 different letters, so that repetitions are not rare: the hard part of sorting.
    """
    if task != "add":
        letters = rng.permutation(len(LETTERS))[: rng.integers(2, len(LETTERS) + 1)]
        return "".join(LETTERS[number] for number in rng.choice(letters, length))
    lengths = rng.permutation([length, rng.integers(1, length + 1)])
    first = [rng.integers(length > 1, 10) for length in lengths]  # a number does not begin with 0, so ours end in none
    rest = ["".join(map(str, rng.integers(0, 10, length - 1))) for length in lengths]
    return "+".join(f"{digits}{digit}" for digits, digit in zip(rest, first, strict=True))


def distinct(task: str, count: int, lengths: range, seed: int) -> list[str]:
    """So many different strings; all lengths are equally likely, as long as there are strings of them left.

    Raises:
        CourseError: there are not so many.
    """
    rng, found, in_vain = np.random.default_rng(seed), {}, 0
    while len(found) < count:
        string = drawn(task, int(rng.integers(lengths[0], lengths[-1] + 1)), rng)
        in_vain = in_vain + 1 if string in found else 0
        if in_vain == 1000:
            raise CourseError(
                f"--examples {count}: there are hardly so many different strings. Lower it, or raise --longest."
            )
        found[string] = None
    return list(found)


def part(task: str, sources: Sequence[str]) -> Part:
    """These strings with their answers."""
    return Part(list(sources), [(STRINGS[task](source),) for source in sources])


def strings(task: str, examples: int, longest: int, held_out: int = 1000) -> Pairs:
    """Random strings of up to `longest` letters (digits, for `add`) with their answers, cut in three.

    Always the same ones: they do not follow from --seed, so that all seeds are tested on the same strings.

    Args:
        task: copy, reverse, sort or add.
        examples: to train on.
        longest: at most so many letters, or digits in each of the two numbers.
        held_out: so many for val, and as many for test; at most a fifth of `examples`.
    """
    held_out = min(held_out, max(2, examples // 5))
    shortest = 1 if task == "add" else SHORTEST
    made = distinct(task, examples + 2 * held_out, range(shortest, longest + 1), seed=6)
    train, val, test = made[: -2 * held_out], made[-2 * held_out : -held_out], made[-held_out:]
    what = f"two numbers of up to {longest} digits" if task == "add" else f"{SHORTEST} to {longest} letters"
    return Pairs(f"{task} ({SYNTHETIC}: {what})", *(part(task, one) for one in (train, val, test)))


def of_length(task: str, length: int, count: int, seed: int = 60) -> Part:
    """New strings of one length, also longer than any trained on. Of short ones there may be fewer than `count`."""
    rng = np.random.default_rng([seed, length])
    return part(task, list(dict.fromkeys(drawn(task, length, rng) for _ in range(count))))


def load(task: str, name: str, examples: int = 60_000, longest: int = 12, most_words: int = 12) -> Pairs:
    """The data of a task.

    Args:
        task: one of TASKS.
        name: `synthetic` for strings; for `translate` what shared.sentence_pairs reads.
        examples, longest: of strings.
        most_words: of sentences.

    Raises:
        CourseError: data for a task that makes its own; what is wrong with a file, in one line.
    """
    if task == "translate":
        return sentence_pairs.load(name, most_words)
    if name != SYNTHETIC:
        raise CourseError(
            f"--data {name}: --task {task} makes its own strings; leave --data out. Only translate reads any."
        )
    return strings(task, examples, longest)


# ---------------------------------------------------------------- tokens


@dataclass(frozen=True)
class Speller:
    """How texts become the numbers of tokens and back: letter by letter, or word by word."""

    letters: bool
    source: Vocabulary
    target: Vocabulary

    def split(self, text: str) -> list[str]:
        return list(text) if self.letters else tokenize(text)

    def join(self, words: Sequence[str]) -> str:
        return "".join(words) if self.letters else detokenize(words)

    @property
    def sizes(self) -> tuple[int, int]:
        """(source words, target words) as TransformerConfig has them: strings have one vocabulary for both."""
        return 0 if self.letters else len(self.source), len(self.target)


def speller(task: str, train: Part, vocab: int) -> Speller:
    """The tokens of a task: all letters, or the words that occur twice in the training sentences, at most `vocab`."""
    if task != "translate":
        letters = Vocabulary([*DIGITS, "+"] if task == "add" else LETTERS)
        return Speller(True, letters, letters)
    sides = (train.sources, [text for texts in train.references for text in texts])
    return Speller(False, *(Vocabulary.build(texts, vocab) for texts in sides))


def read_speller(task: str, path: Path) -> Speller:
    """What `sentence_pairs.save_vocabularies` has written of a speller."""
    return Speller(task != "translate", *sentence_pairs.read_vocabularies(path))


@dataclass(frozen=True)
class Encoded:
    """Pairs as numbers: `sources` end in EOS, `targets` begin with BOS and end in EOS."""

    sources: list[list[int]]
    targets: list[list[int]]

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def lengths(self) -> np.ndarray:
        """How long the longer side of each is."""
        return np.array([max(len(s), len(t)) for s, t in zip(self.sources, self.targets, strict=True)])


def encode(some: Part, spell: Speller, every: bool = True) -> Encoded:
    """A part in numbers: each source with every one of its translations, or with the first one alone."""
    pairs = some.pairs if every else [(s, texts[0]) for s, texts in zip(some.sources, some.references, strict=True)]
    sources = [spell.source.encode(spell.split(source)) for source, _ in pairs]
    return Encoded(sources, [[BOS, *spell.target.encode(spell.split(target))] for _, target in pairs])
