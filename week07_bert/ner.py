"""Marks the names in a text: `./course run 7 ner "a text"`, `--text FILE`, or line after line as you type."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week07_bert/ner.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Iterator
from dataclasses import dataclass

import tyro

from shared import cli
from shared.errors import CourseError
from shared.files import no_file
from shared.sentence_pairs import text_of
from shared.terminal import printable
from week07_bert import tagging
from week07_bert.ask import coloured
from week07_bert.trained import load

COLOURS = (44, 43, 42, 45, 46, 41, 100, 104, 102, 105)  # of the background, one for each kind


@dataclass
class Config:
    """The flags of ner."""

    texts: tyro.conf.Positional[tuple[str, ...]] = ()
    """What to read, each text in quotes. None: it waits for yours."""
    text: str = ""
    """A text file, each line of which is read by itself."""
    run: str = ""
    """The run's folder (default: the newest that was trained with --task ner)."""


def lines(cfg: Config) -> Iterator[str]:
    """The texts of the command line, the lines of the file, or those that are typed."""
    if cfg.text:
        if not Path(cfg.text).expanduser().is_file():
            raise CourseError(f"--text {cfg.text}: {no_file(cfg.text)}.")
        yield from (line for line in text_of(Path(cfg.text).expanduser()).splitlines() if line.strip())
    yield from cfg.texts
    while not cfg.text and not cfg.texts:
        try:
            line = input("text (empty: end) > ") if sys.stdin.isatty() else input()
        except EOFError:
            return
        if not line.strip():
            return
        yield line


def marked(words: tuple[str, ...], tags: list[str], kinds: list[str]) -> str:
    """The words, each entity in the colour of its kind, which stands behind it."""
    found, at = [], 0
    for kind, first, last in tagging.entities(tags):
        found += words[at:first]
        name = f"{' '.join(words[first : last + 1])} ({kind})"
        found.append(coloured(name, f"1;30;{COLOURS[kinds.index(kind) % len(COLOURS)]}"))
        at = last + 1
    return (
        printable(" ".join([*found, *words[at:]])) if "\x1b" not in "".join(found) else " ".join([*found, *words[at:]])
    )


def main(cfg: Config) -> list[list[tuple[str, str, float]]]:
    """Prints texts with their names marked. Returns (name, kind, how sure) of each text's entities."""
    if any(not text.strip() for text in cfg.texts):
        raise CourseError("an empty text: there is nothing to read.")
    trained = load(cfg.run, task="ner")
    trained.must("ner")
    kinds = sorted({tag[2:] for tag in trained.tags if tag != "O"})
    everything = []
    for text in lines(cfg):
        words, tags, sure = trained.tag(printable(text))
        found = [(" ".join(words[a : b + 1]), kind, min(sure[a : b + 1])) for kind, a, b in tagging.entities(tags)]
        print(marked(words, tags, kinds))
        print("  " + (", ".join(f"{name}: {kind} {share:.0%}" for name, kind, share in found) or "(no names)"))
        everything.append(found)
    return everything


if __name__ == "__main__":
    cli.launch(main, Config)
