"""Makes the README's pictures again, from a run and a comparison that are there.

./course train 11 && ./course eval 11
./course run 11 compare
./course run 11 figures --compare runs/week11/compare-quick
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week11_rag/figures.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import shutil
from dataclasses import dataclass

from shared import cli
from shared.errors import CourseError
from week11_rag import data, drawing, measures, pdf
from week11_rag.answer import Bot
from week11_rag.cite import Citation

FIGURES = Path(__file__).parent / "figures"
ASKED = "How long should the short description of a debconf template be?"
FUSED = "What is so bad about shutting a ticket with a command to the control robot?"
NOT_THERE = 'What is the password of the user "debian" in the request tracker?'
SCALE = 2.0


@dataclass
class Config:
    """The flags of figures."""

    run: str = ""
    """The folder of a run over the handbook (default: the week's newest)."""
    compare: str = ""
    """The folder of a comparison, whose sizes.png is taken."""
    out: str = str(FIGURES)
    """Where the pictures go."""


def draw_page(path: Path, bot: Bot, question: str, other: str) -> None:
    """An answer, and the page that it has it from, with the words marked; and what it says to another question.

    Raises:
        CourseError: the bot does not answer the first.
    """
    answer, second = bot.ask(question), bot.ask(other)
    if not answer.citations:
        raise CourseError(f"no answer to {question!r}: {answer.note}")
    first: Citation = answer.citations[0]
    file = bot.file(first.document)
    same = [one for one in answer.citations if (one.document, one.page) == (first.document, first.page)]
    boxes = [box for one in same for box in pdf.text_boxes(file, one.page, one.quote)]
    numbers, image = " ".join(f"[{one.number}]" for one in same), pdf.render(file, first.page, SCALE)
    said = [(question, answer.text, f"{numbers} {first.name}, page {first.page}"), (other, second.text, second.note)]
    drawing.page(path, image, boxes, SCALE, said)


def draw_fusion(path: Path, bot: Bot, question: str) -> None:
    """Where passages stand in each ranking of a question of the gold set."""
    asked = [one for one in data.questions("sample") if one.text == question]
    [right] = measures.relevant(asked, bot.retriever.index.chunks())
    drawing.fusion(path, question, bot.retriever.search(question, 30), right)


def main(cfg: Config) -> None:
    """Draws page.png and fusion.png, and takes kinds.png, support.png and sizes.png, where they are."""
    out, bot = Path(cfg.out), Bot.open(cfg.run, lm="extractive")
    draw_page(out / "page.png", bot, ASKED, NOT_THERE)
    draw_fusion(out / "fusion.png", bot, FUSED)
    for folder, picture in ((bot.folder, "kinds.png"), (bot.folder, "support.png"), (cfg.compare, "sizes.png")):
        if folder and (Path(folder) / picture).is_file():
            shutil.copyfile(Path(folder) / picture, out / picture)
        else:
            print(f"left out {picture}: it is not in {folder or 'any folder'}")
    for picture in sorted(out.glob("*.png")):
        print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    cli.launch(main, Config)
