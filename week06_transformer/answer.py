"""Write to a trained network: `./course run 6 answer transformer`, or `./course run 6 answer "save the file"`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week06_transformer/answer.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import re
from dataclasses import dataclass

import tyro

from shared import cli
from shared.config import Count
from shared.errors import CourseError
from week06_transformer import data
from week06_transformer.trained import load


@dataclass
class Config:
    """The flags of answer."""

    texts: tyro.conf.Positional[tuple[str, ...]] = ()
    """What it is to work on: strings, sums as 58+67 (written as usual), or sentences."""
    run: str = ""
    """The run's folder (default: the week's newest)."""
    beam: Count = 1
    """How many beginnings of a translation are kept at each step; 1 is greedy."""


def turned(total: str) -> str:
    """A sum with its numbers turned round: from the ones on as the network reads them, or back."""
    return "+".join(number[::-1] for number in total.split("+"))


def main(cfg: Config) -> list[str]:
    """Prints what the network writes, and for strings whether it is right. Returns what it has written."""
    if not cfg.texts:
        raise CourseError('write something behind it, as `./course run 6 answer "abc"`.')
    trained = load(cfg.run)
    task, written = trained.config.task, []
    for text in cfg.texts:
        source = turned(text.replace(" ", "")) if task == "add" else text
        if task == "add" and not re.fullmatch(r"[0-9]+\+[0-9]+", source):
            raise CourseError(f"{text!r} is no sum of two numbers, as 58+67.")
        (found,) = trained.answers([source], cfg.beam)
        verdict = ""
        if task in data.STRINGS:
            right = data.STRINGS[task](source)
            shown = right[::-1] if task == "add" else right
            verdict = "   (right)" if found == right else f"   (wrong: {shown})"
            if max(map(len, source.split("+"))) > trained.config.longest:
                verdict += f" It has seen at most {trained.config.longest} {'digits' if task == 'add' else 'letters'}."
            found = found[::-1] if task == "add" else found
        elif unknown := trained.unknown(text):
            verdict = f"   (words that it does not know: {', '.join(unknown)})"
        written.append(found)
        print(f"{task} {text}: {found}{verdict}")
    return written


if __name__ == "__main__":
    cli.launch(main, Config)
