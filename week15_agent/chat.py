"""Asks the agent: `./course run 15 chat`, or `./course run 15 chat "What is 12% of the population of France?"`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week15_agent/chat.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from shared import cli
from shared.errors import CourseError
from shared.terminal import printable
from week15_agent.loop import Event, answer_of
from week15_agent.opening import Which, opened

LONGEST = 1_000
"""Characters of a question."""


@dataclass
class Config(Which):
    """The flags of chat."""

    text: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """What to ask; several questions are one conversation. Without: it asks you, until an empty line."""
    quiet: bool = False
    """Show the answers alone, without thoughts and calls."""


def line(event: Event) -> str:
    """An event as it is shown in a terminal: what comes from elsewhere steers none."""
    text = printable(" ".join(event.text.split()))
    marks = {"thought": f"  thought: {text}", "action": f"  {text}", "observation": f"    = {text}",
             "unparsable": f"  (no turn: {text})", "gave_up": f"({text})", "answer": printable(event.text)}  # fmt: skip
    return marks[event.kind]


def checked(question: str) -> str:
    """The question.

    Raises:
        CourseError: there is nothing in it, or too much, or bytes that are no text.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in question):  # what Python makes of bytes that are not UTF-8
        raise CourseError("the question is not UTF-8 text.")
    if not question.strip():
        raise CourseError("the question is empty.")
    if len(question) > LONGEST:
        raise CourseError(f"a question of {len(question):,} characters: {LONGEST:,} are the most.")
    return question.strip()


def main(cfg: Config) -> list[dict[str, Any]]:
    """Answers questions with a calculator and a search, and shows how: thoughts, calls, observations, the answer.

    Returns {question, answer, events} of each.
    """
    found = []
    with opened(cfg) as agent:
        for question in cfg.text or asked():
            if cfg.text:
                print(f"\n> {printable(question)}" if not cfg.quiet else "", end="\n" * (not cfg.quiet))
            events = []
            try:
                for event in agent.ask(checked(question), cfg.thread or "1"):
                    events.append(event)
                    if not cfg.quiet or event.kind in ("answer", "gave_up"):
                        print(line(event), flush=True)
            except CourseError as error:
                if cfg.text:
                    raise
                print(f"error: {error}")  # a conversation goes on
                continue
            found.append({"question": question, "answer": answer_of(events), "events": events})
    return found


def asked() -> Iterator[str]:
    """What is typed, line by line, up to an empty one."""
    while True:
        try:
            typed = input("\nyou: ").strip()
        except EOFError:
            return
        if not typed:
            return
        yield typed


if __name__ == "__main__":
    cli.launch(main, Config)
