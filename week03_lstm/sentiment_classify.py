"""How a verdict comes about, word by word: `./course run 3 sentiment_classify "not as bad as I had feared"`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week03_lstm/sentiment_classify.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import os
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tyro
from jaxtyping import Float

from shared import cli
from shared.config import Natural
from shared.errors import CourseError
from week03_lstm import data, sentiment_drawing, train
from week03_lstm.trained import Trained, load

MOST_GATES = 40  # words: of a longer text the gates cannot be read any more
SHADES = {  # of the terminal's 256 colours, from a small change to a large one
    1: (153, 111, 69, 33),  # blues: the word spoke for positive
    -1: (223, 221, 215, 208),  # oranges: for negative
}


@dataclass
class Config:
    """The flags of sentiment_classify."""

    review: tyro.conf.Positional[tuple[str, ...]] = ()
    """The review, in quotes or not. Without one (and without --file) it is asked for."""
    file: str = ""
    """A text file with a review in it."""
    run: str = ""
    """The run whose network is asked (default: week 3's newest)."""
    out: str = ""
    """Where the pictures go (default: the run's folder)."""
    show: Natural = 8
    """How many of the words that moved the verdict most to list."""


def positive_after(trained: Trained, ids: list[int]) -> Float[np.ndarray, " words"]:
    """The probability of positive after each word, (N,): each beginning of the text is read anew, as a text of its own.

    A network that reads from left to right needs only one pass for this, since a later word changes no earlier state
    (a test shows it). Reading anew gives the same, and fits those that read both ways too.
    """
    beginnings = [ids[:end] for end in range(1, len(ids) + 1)]
    part = data.Encoded(beginnings, np.zeros(len(ids), dtype=np.int64), trained.config.max_len)
    return train.predict(trained.model, part)[:, 1]


def coloured(word: str, change: float) -> str:
    """The word for a terminal: the more it moved the verdict, the stronger the colour."""
    steps = (0.01, 0.05, 0.15, 0.3)
    strength = sum(abs(change) >= step for step in steps)
    if not strength:
        return word
    shade = SHADES[1 if change > 0 else -1][strength - 1]
    return f"\033[38;5;{shade}{';1' if strength > 2 else ''}m{word}\033[0m"


def wrapped(words: list[str], changes: np.ndarray, colour: bool, width: int = 96) -> Iterator[str]:
    """The words in lines of at most `width` characters, coloured where there is colour."""
    line, used = [], 0
    for word, change in zip(words, changes, strict=True):
        if line and used + 1 + len(word) > width:
            yield " ".join(line)
            line, used = [], 0
        line.append(coloured(word, float(change)) if colour else word)
        used += len(word) + 1
    yield " ".join(line)


def classify(trained: Trained, review: str, out: Path, show: int = 8) -> dict:
    """Prints the verdict on a review and how it came about, and draws it. Returns words, positive and the pictures.

    Raises:
        CourseError: there is no word in the text, or none that the network knows.
    """
    words = data.tokenize(review)
    if not words:
        raise CourseError('no word in this review. Write one, as in: ./course run 3 sentiment_classify "what a film!"')
    known = trained.vocabulary
    ids = [known.ids.get(word, data.UNK) for word in words]
    if not any(number != data.UNK for number in ids):
        raise CourseError(
            f"the network knows no word of this review ({', '.join(words[:3])}{', …' * (len(words) > 3)}): whatever it "
            "said would be a guess. Write in the language of the reviews that it was trained on."
        )
    words = [word if number != data.UNK else f"[{word}]" for word, number in zip(words, ids, strict=True)]
    positive = positive_after(trained, ids)
    changes = np.diff(positive, prepend=positive[0])  # the first word has nothing before it to move away from

    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in wrapped(words, changes, colour):
        print(f"  {line}")
    if any(number == data.UNK for number in ids):
        print("  (words in [brackets] are not in its vocabulary)")
    verdict = data.CLASSES[int(positive[-1] >= 0.5)]
    sure = max(positive[-1], 1 - positive[-1])
    began = f" (positive after the first word: {positive[0]:.1%})" if len(words) > 1 else ""
    print(f"\n{verdict}, {sure:.1%} sure{'' if sure >= 0.7 else ': it hesitates'}{began}")
    print("\nthe words that moved it most           positive: before, after")
    before = positive - changes
    for row in 1 + np.argsort(-np.abs(changes[1:]), kind="stable")[:show]:
        place = " ".join(words[max(0, row - 2) : row + 1])
        print(f"  {changes[row]:+7.1%}  {textwrap.shorten(place, 36, placeholder=' …'):40s}"
              f"{before[row]:6.1%} {positive[row]:7.1%}")  # fmt: skip
    drawn = [out / "word_by_word.png"]
    sentiment_drawing.word_by_word(words, positive, drawn[0])
    if trained.config.kind == "lstm" and len(words) <= MOST_GATES:
        drawn.append(out / "gates.png")
        sentiment_drawing.gates(words, opened_gates(trained.model, ids), drawn[1])
    print(f"\npicture{'s' * (len(drawn) > 1)}: {', '.join(map(str, drawn))}")
    return {"words": words, "positive": positive.tolist(), "verdict": verdict, "pictures": drawn}


def opened_gates(model, ids: list[int]) -> dict[str, np.ndarray]:
    """What the gates and the cell of a network's first layer do at each word: arrays (T, H) by name."""
    import torch

    from week03_lstm import sentiment_model

    model = sentiment_model.scratch(model).eval()
    with torch.no_grad():
        opened = model.recurrent.gates(model.words(torch.tensor([ids])))
    return {name: values[0].numpy() for name, values in opened.items()}


def reviews(cfg: Config) -> Iterator[str]:
    """The review of the command line, of --file, or those typed one after the other; an empty line ends it."""
    if cfg.review and cfg.file:
        raise CourseError("a review and --file: give one of them.")
    if cfg.review:
        yield " ".join(cfg.review)
    elif cfg.file:
        try:
            yield Path(cfg.file).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "not UTF-8 text"
            raise CourseError(f"--file {cfg.file}: cannot be read ({why}).") from None
    elif not sys.stdin.isatty():
        yield sys.stdin.read()
    else:
        while True:
            try:
                line = input("\na review (empty: end): ")
            except EOFError:
                return
            if not line.strip():
                return
            yield line


def main(cfg: Config) -> list[dict]:
    """Shows how a network's verdict on a review moves with every word."""
    trained = load(cfg.run)
    out = Path(cfg.out) if cfg.out else trained.run.folder
    return [classify(trained, review, out, cfg.show) for review in reviews(cfg)]


if __name__ == "__main__":
    cli.launch(main, Config)
