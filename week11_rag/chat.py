"""Asks your documents: `./course run 11 chat`, or `./course run 11 chat "How do I orphan a package?"`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week11_rag/chat.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import shorten
from typing import Annotated, Any, Literal

import tyro

from shared import cli
from shared.config import Count
from shared.errors import CourseError
from shared.terminal import printable


@dataclass
class Config:
    """The flags of chat."""

    text: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """What to ask; several questions are one conversation. Without: it asks you, until an empty line."""
    run: str = ""
    """The run whose index is asked (default: the week's newest)."""
    lm: str = "smollm2"
    """What answers: smollm2 (offline), extractive (quotes sentences, quick), a folder or a name of the hub, or the
    address of a service that speaks as OpenAI's does, as http://localhost:11434/v1#llama3.2."""
    k: Count = 5
    """How many passages it answers from."""
    why: bool = False
    """Show for each passage its rank by each search, fused and re-scored."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there."""


def sources(answer: Any) -> str:
    """The sources of an answer, a line each: [1] handbook.pdf, page 12, 2.1 Uploads: "the words"."""
    sections = {passage.chunk.id: passage.chunk.headings[-1:] for passage in answer.passages}
    lines = []
    for citation in answer.citations:
        pages = sorted({page for page, _ in citation.pieces} or {citation.page})
        where = f"page {pages[0]}" if len(pages) == 1 else f"pages {pages[0]}–{pages[-1]}"
        place = ", ".join(map(printable, (citation.name, where, *sections.get(citation.chunk, ()))))
        lines.append(f'  [{citation.number}] {place}: "{printable(" ".join(citation.quote.split()))}"')
    if not answer.complete:
        lines.append("  (incomplete)")
    if answer.note:
        lines.append(f"  ({printable(answer.note)})")
    return "\n".join(lines)


def main(cfg: Config) -> list[dict[str, Any]]:
    """Answers questions from the documents of a run, with the words that each answer rests on.

    What is not in the documents is not answered. Returns {question, answer, refused, pages} of each.
    """
    from week11_rag import gold
    from week11_rag.answer import Bot
    from week11_rag.app import described

    bot = Bot.open(cfg.run, lm=cfg.lm, device=cfg.device, k=cfg.k)
    print(f"asking {printable(described(bot))}" + (f" ({bot.folder})" if bot.folder else ""))
    history: list[tuple[str, str]] = []
    found = []
    for question in cfg.text or asked():
        if cfg.text:
            print(f"\n> {printable(shorten(question, 300, placeholder=' …'))}")
        try:
            answer = None
            for event in bot.stream(question, history):
                if event.kind == "token":
                    print(printable(event.text), end="", flush=True)
                answer = event.answer or answer
        except CourseError as error:
            if cfg.text:
                raise
            print(f"error: {error}")  # a conversation goes on
            continue
        print(f"\n{sources(answer)}".rstrip())
        if answer.question != question:
            print(f"  (searched for: {printable(answer.question)})")
        if cfg.why:
            print(f"\n{gold.why(bot.retriever, answer.question, cfg.k)}")
        history.append((question, answer.text))
        pages = [citation.page for citation in answer.citations]
        found.append({"question": question, "answer": answer.text, "refused": answer.refused, "pages": pages})
    return found


def asked() -> Iterator[str]:
    """What is typed, line by line, up to an empty one."""
    while True:
        try:
            line = input("\nyou: ").strip()
        except EOFError:
            return
        if not line:
            return
        yield line


if __name__ == "__main__":
    cli.launch(main, Config)
