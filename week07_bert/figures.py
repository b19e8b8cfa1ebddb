"""Makes the README's pictures again from fine-tuned runs.

./course run 7 figures --qa runs/week07/… --ner runs/week07/…
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week07_bert/figures.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import shutil
from dataclasses import dataclass

import torch

from shared import cli, runs
from shared.splits import Part
from week07_bert import data, drawing, encoders, qa, tagging
from week07_bert.squad import Question
from week07_bert.trained import Trained, load

FIGURES = Path(__file__).parent / "figures"
PASSAGE = (
    "Ada Lovelace met Charles Babbage at a party in London in 1833. Nine years later she wrote the notes on his "
    "engine, in which the first program for a machine is printed."
)


@dataclass
class Config:
    """The flags of figures."""

    qa: str = ""
    """A run that answers questions (empty: its pictures are left out)."""
    ner: str = ""
    """A run that finds names (empty: its picture is left out)."""
    question: str = "Where did Lovelace meet Babbage?"
    """What is asked."""
    passage: str = PASSAGE
    """Of what text."""
    curve: str = str(runs.RUNS / "week07" / "compare" / "curve.png")
    """The picture that compare.py has left."""
    out: str = str(FIGURES)
    """Where the pictures go."""


@torch.no_grad()
def of_question(trained: Trained, question: str, passage: str, out: Path) -> None:
    """Attention of the last layer over the first sentence, and the probabilities of start and end over all of it."""
    trained.must("qa")
    begin, past = qa.sentences_of(passage)[0]
    for attended, text in ((True, passage[begin:past].strip()), (False, passage)):
        encoded = trained.encode(Part((Question("asked", question, text, ()),)))
        ids, mask, types = encoded.inputs([0])
        tokens = drawing.names_of(trained.tokenizer, ids[0].tolist())
        if attended:  # of a whole passage nobody could read the names of the tokens
            weights = trained.model.bert.attentions(ids, mask, types)
            drawing.attention(out / "attention.png", weights[-1][0].numpy(), tokens, len(weights) - 1)
    start, end = (logits[0].softmax(dim=-1).numpy() for logits in trained.model(ids, mask, types))
    drawing.start_and_end(out / "start_and_end.png", encoded.windows[0], start, end, tokens)


def of_names(trained: Trained, out: Path, sentences: int = 150, kinds: int = 4) -> None:
    """The words of val in two dimensions, as the published encoder sees them and as the fine-tuned one does."""
    trained.must("ner")
    part = data.load("ner", trained.config.data).val
    named = [row for row, sentence in enumerate(part.items) if tagging.entities(sentence.tags)][:sentences]
    part = Part(tuple(part.items[row] for row in named))
    encoded = trained.encode(part)
    published, _ = encoders.load(trained.config.model)
    both = [drawing.states_of(bert, encoded, range(len(encoded))) for bert in (published, trained.model.bert)]
    counts = sorted(tagging.by_kind([["O"] * len(s.words) for s in part.items], part).items(), key=lambda kv: -kv[1][3])
    known = {kind for kind, _ in counts[:kinds]}
    groups = []
    for piece in encoded.windows:
        tags = part.items[piece.row].tags[piece.word : piece.word + len(piece.firsts)]
        groups += ["no name" if tag == "O" else tag[2:] if tag[2:] in known else "rarer kinds" for tag in tags]
    order = sorted(range(len(groups)), key=lambda row: groups[row] != "no name")  # no name first, at the back
    drawing.embeddings(out / "embeddings.png", *(one[order] for one in both), [groups[row] for row in order])


def main(cfg: Config) -> None:
    """Draws the pictures of the runs that are given, and takes the one that was measured."""
    out = Path(cfg.out)
    out.mkdir(parents=True, exist_ok=True)
    if cfg.qa:
        of_question(load(cfg.qa), cfg.question, cfg.passage, out)
    if cfg.ner:
        of_names(load(cfg.ner), out)
    if Path(cfg.curve).is_file():
        shutil.copyfile(cfg.curve, out / "curve.png")
    else:
        print(f"left out curve.png: it is not in {Path(cfg.curve).parent} yet")
    for picture in sorted(out.glob("*.png")):
        print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    cli.launch(main, Config)
