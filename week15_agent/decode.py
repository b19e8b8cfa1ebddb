"""An agent for many questions at once: the model writes a turn for all of them, the tools answer, and so on.

    episodes = ask(model, tokenizer, questions, FORMATS["react"], tools, constraint=Constraint(…))

What follows from a turn is loop.take's, so that the agent that is evaluated is the one that people talk to.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.conversation import end_of_turn, ids_of, render
from week15_agent import loop
from week15_agent.constrain import Constraint
from week15_agent.protocol import Format, Message
from week15_agent.tools import Tools
from week15_agent.writer import Writer


@dataclass
class Episode:
    """What an agent did with a question.

    Attributes:
        chat: the conversation.
        answer: what it answered at last; nothing if it never did.
        calls: how many it made; invalid: how many of them were refused.
        unparsable: turns that were none.
        turns, tokens: how many the model wrote.
        seconds: its share of the time of all.
        seen: what came of each call.
    """

    chat: list[Message]
    answer: str = ""
    calls: int = 0
    invalid: int = 0
    unparsable: int = 0
    turns: int = 0
    tokens: int = 0
    seconds: float = 0.0
    seen: dict[str, str] = field(default_factory=dict)

    def take(self, text: str, tokens: int, form: Format, tools: Tools) -> None:
        """A turn that the model wrote, and what comes of it."""
        self.turns, self.tokens = self.turns + 1, self.tokens + tokens
        events = list(loop.take(text, form, tools, self.chat, self.seen, self.turns))
        counts = loop.counted(events)
        self.answer, self.calls = loop.answer_of(events), self.calls + counts["calls"]
        self.invalid, self.unparsable = self.invalid + counts["errors"], self.unparsable + counts["unparsable"]


def ask(
    model: Any, tokenizer: Any, chats: Sequence[Sequence[Message]], form: Format, tools: Tools,
    constraint: Constraint | None = None, turns: int = 4, most: int = 80, size: int = 32,
) -> list[Episode]:  # fmt: skip
    """Lets an agent answer questions, greedily, `size` at a time.

    Args:
        model, tokenizer: of transformers; the model is in evaluation mode.
        chats: of each question the conversation up to where the model is to speak (protocol.begin).
        form: the protocol.
        tools: what may be called.
        constraint: what forces turns into the protocol; None: they may be anything.
        turns: so many the model may take. A turn that is none is told so, and counts.
        most: tokens of a turn.
    """
    episodes = [Episode(list(chat)) for chat in chats]
    order = sorted(range(len(chats)), key=lambda row: len(chats[row][-1]["content"]))
    for start in range(0, len(order), size):
        began = time.perf_counter()
        some = [episodes[row] for row in order[start : start + size]]
        together(model, tokenizer, some, form, tools, constraint, turns, most)
        for one in some:
            one.seconds = (time.perf_counter() - began) / len(some)
    return episodes


def together(
    model: Any, tokenizer: Any, episodes: list[Episode], form: Format, tools: Tools, constraint: Constraint | None,
    turns: int, most: int,
) -> None:  # fmt: skip
    """`ask` for conversations that are computed at once."""
    writer, going = Writer(model, end_of_turn(tokenizer)), list(episodes)
    for _ in range(turns):
        prompts = [ids_of(tokenizer, render(tokenizer, one.chat, answer=True)) for one in going]
        written = writer.turn(writer.read_whole(prompts), most, constraint, form.stop, tokenizer.decode)
        for one, ids in zip(going, written, strict=True):
            one.take(tokenizer.decode(ids, skip_special_tokens=True).strip(), len(ids), form, tools)
        stay = [row for row, one in enumerate(going) if not one.answer]
        if not stay:
            return
        writer.keep(stay)
        going = [going[row] for row in stay]
