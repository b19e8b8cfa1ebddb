"""Ask a text: `./course run 7 ask --text FILE "Who …?"`; without a question it asks for one, again and again.

Without --text the passage is read from standard input, or pasted, and an empty line ends it.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week07_bert/ask.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import os
from collections.abc import Iterator
from dataclasses import dataclass

import tyro

from shared import cli
from shared.config import Count
from shared.errors import CourseError
from shared.files import no_file
from shared.sentence_pairs import text_of
from shared.terminal import printable
from week07_bert import qa
from week07_bert.trained import load


@dataclass
class Config:
    """The flags of ask."""

    questions: tyro.conf.Positional[tuple[str, ...]] = ()
    """What to ask, each question in quotes. None: it waits for yours."""
    text: str = ""
    """A text file. None: the passage is read from standard input, up to an empty line."""
    run: str = ""
    """The run's folder (default: the newest that was trained on questions)."""
    n_best: Count = 1
    """How many answers to show."""


def coloured(text: str, code: str, left: str = "[", right: str = "]") -> str:
    """The text in a colour; in brackets where no colours are shown."""
    if sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        return f"\x1b[{code}m{text}\x1b[0m"
    return f"{left}{text}{right}"


def in_its_sentence(passage: str, answer: qa.Answer) -> str:
    """The sentence in which an answer begins, the answer marked."""
    sentences = qa.sentences_of(passage)
    begin = max(first for first, _ in sentences if first <= answer.start)
    past = max(answer.past, next(last for first, last in sentences if first == begin))
    before, behind = passage[begin : answer.start], passage[answer.past : past]
    return printable(before).lstrip() + coloured(printable(answer.text), "1;30;43") + printable(behind).rstrip()


def read_passage(path: str) -> str:
    """The text of a file, or what is pasted."""
    if path:
        if not Path(path).expanduser().is_file():
            raise CourseError(f"--text {path}: {no_file(path)}.")
        return text_of(Path(path).expanduser())
    if sys.stdin is None:
        raise CourseError("no passage: give a file with --text.")
    if not sys.stdin.isatty():
        return sys.stdin.read()
    print("Paste a passage, and end it by an empty line:")
    return "\n".join(iter(input, ""))


def asked(cfg: Config) -> Iterator[str]:
    """The questions of the command line; or those that are typed, until there is an empty one."""
    yield from cfg.questions
    while not cfg.questions:
        try:
            question = input("question (empty: end) > ").strip()
        except EOFError:
            return
        if not question:
            return
        yield question


def main(cfg: Config) -> list[qa.Found]:
    """Answers questions about a passage. Returns what was found for each."""
    trained = load(cfg.run, task="qa")
    trained.must("qa")
    if not cfg.text and not cfg.questions and not (sys.stdin and sys.stdin.isatty()):
        raise CourseError('no question: write one behind it, as `./course run 7 ask --text FILE "Who …?"`.')
    passage, found = read_passage(cfg.text), []
    for question in asked(cfg):
        one = trained.ask(question, passage)
        found.append(one)
        print(f"\n{printable(question)}")
        for answer in one.best[: cfg.n_best]:
            print(f"  {printable(answer.text)}   ({answer.probability:.0%} of the 20 best, score {answer.score:.1f})")
            print(f"    {in_its_sentence(passage, answer)}")
    return found


if __name__ == "__main__":
    cli.launch(main, Config)
