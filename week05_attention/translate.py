"""Translates what you type, and shows where it looks: `./course run 5 translate "Save the file."`, or no sentence."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week05_attention/translate.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass
from typing import Any

import tyro

from shared import cli
from shared.config import Count
from shared.errors import CourseError
from shared.sentence_pairs import clean, detokenize, tokenize
from week05_attention import drawing, train
from week05_attention.trained import Trained, load

MOST = 100  # words of a sentence: a network of short ones says nothing of longer ones


@dataclass
class Config:
    """The flags of translate."""

    sentence: tyro.conf.Positional[str] = "-"
    """What to translate; left out, one line after the other is asked for."""
    run: str = ""
    """The run's folder (default: the week's newest)."""
    beam: Count = 4
    """Hypotheses kept; 1 takes the likeliest word each time."""
    out: str = ""
    """Where the picture goes (default: translation.png in the run's folder)."""


def one(net: Trained, text: str, beam: int, picture: Path) -> dict[str, Any]:
    """Translates a sentence, prints it with its map, and draws the map. Returns {source, translation, unknown}.

    Raises:
        CourseError: there is no word in it, or it is far longer than a sentence.
    """
    source = tokenize(clean(text))
    if not source:
        raise CourseError("an empty sentence: there is nothing to translate.")
    if len(source) > MOST:
        raise CourseError(f"{len(source)} words: a sentence has at most {MOST}. Give it one sentence at a time.")
    ((words, weights, unknown),) = train.translate_all(net.model, [text], *net.words, beam=beam)
    marked = [f"[{word}]" if new else word for word, new in zip(words, unknown, strict=True)]
    print(f"→ {detokenize(marked) or '(nothing)'}")
    strange = [word for word in dict.fromkeys(source) if word not in net.words[0].ids]
    if strange:
        print(f"  (it does not know: {', '.join(strange)})")
    if any(unknown):
        print("  ([…] was copied: the network had no word there, so it stands for the one it looked at most)")
    if words and weights.shape[1] > 1:
        print("\n" + drawing.in_terminal(source, marked, weights))
        drawing.maps(picture, [(source, marked, weights)])
        print(f"\npicture: {picture}")
    return {"source": source, "translation": words, "unknown": unknown}


def main(cfg: Config) -> list[dict[str, Any]]:
    """Translates one sentence, or what is typed until the end of the input."""
    net = load(cfg.run)
    picture = Path(cfg.out) if cfg.out else net.run.folder / "translation.png"
    if cfg.sentence != "-":
        return [one(net, cfg.sentence, cfg.beam, picture)]
    found, ask = [], sys.stdin.isatty()
    if ask:
        print("Type a sentence, and Enter. An empty line ends it.")
    while True:
        try:
            text = input("> " if ask else "")
        except EOFError:
            break
        if text.strip():
            found.append(one(net, text, cfg.beam, picture))
        elif ask:
            break
    return found


if __name__ == "__main__":
    cli.launch(main, Config)
