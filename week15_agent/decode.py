"""An agent for many questions at once: the model writes a turn for all of them, the tools answer, and so on.

    episodes = ask(model, tokenizer, questions, FORMATS["react"], tools, constraint=Constraint(…))

What has been read is kept (keys and values of every layer), also from turn to turn: each turn costs its own tokens
alone. Rows that have less to read are padded on the left; the mask hides it, and positions are counted without it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from shared.conversation import end_of_turn, ids_of, render
from week15_agent.constrain import START, Constraint
from week15_agent.protocol import Format, Message, Unparsable
from week15_agent.tools import Call, Tools, act


@dataclass
class Episode:
    """What an agent did with a question.

    Attributes:
        chat: the conversation.
        answer: what it answered at last; nothing if it never did.
        calls: all that it made; invalid: how many of them the tools refused.
        unparsable: turns that were none.
        turns, tokens: how many the model wrote.
        seconds: its share of the time of all.
    """

    chat: list[Message]
    answer: str = ""
    calls: list[Call] = field(default_factory=list)
    invalid: int = 0
    unparsable: int = 0
    turns: int = 0
    tokens: int = 0
    seconds: float = 0.0
    over: bool = False


class Writer:
    """Several conversations with one model, which it has read up to some place.

    Args:
        model: a causal language model of transformers, in evaluation mode.
        end: the token that ends a turn; it pads, too.
    """

    def __init__(self, model: Any, end: int) -> None:
        self.model, self.end, self.device = model, end, next(model.parameters()).device
        self.cache: Any = None
        self.mask = torch.zeros(0, 0, dtype=torch.long)

    @torch.no_grad()
    def read(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """Reads on in every conversation (some may have nothing new), and gives the logits behind the last token."""
        time_ = max(1, *(len(row) for row in rows))
        ids = torch.tensor([[self.end] * (time_ - len(row)) + list(row) for row in rows])
        new = torch.tensor([[0] * (time_ - len(row)) + [1] * len(row) for row in rows])
        before = self.mask.sum(1, keepdim=True) if self.cache is not None else torch.zeros(len(rows), 1).long()
        self.mask = torch.cat([self.mask, new], 1) if self.cache is not None else new
        positions = (before + new.cumsum(1) - 1).clamp(min=0)  # (rows, time), without the padding
        out = self.model(
            input_ids=ids.to(self.device), attention_mask=self.mask.to(self.device), use_cache=True,
            position_ids=positions.to(self.device), past_key_values=self.cache, logits_to_keep=1,
        )  # fmt: skip
        self.cache = out.past_key_values
        return out.logits[:, -1].float()  # (rows, time, vocab) -> (rows, vocab)

    def keep(self, rows: Sequence[int]) -> None:
        """Only these conversations go on."""
        self.cache.batch_select_indices(torch.tensor(rows, device=self.device))
        self.mask = self.mask[list(rows)]

    def turn(
        self, logits: torch.Tensor, most: int, constraint: Constraint | None = None, stop: Sequence[str] = (),
        decode: Any = None,
    ) -> list[list[int]]:  # fmt: skip
        """Writes a turn in each conversation: the likeliest tokens, up to the end token, which is among them, or to
        `most` tokens. With a constraint, every turn is one of its grammar's."""
        count = len(logits)
        written: list[list[int]] = [[] for _ in range(count)]
        states, open_ = [START] * count, [True] * count
        for left in range(most, 0, -1):
            if constraint:
                logits = constraint.masked(logits, states, left)
            best = logits.argmax(-1).tolist()
            for row, token in enumerate(best):
                if not open_[row]:
                    continue
                written[row].append(token)
                open_[row] = token != self.end
                if constraint:
                    states[row] = constraint.after(states[row], token)
                elif stop and open_[row] and len(written[row]) % 4 == 0:  # it goes on with what the tools should say
                    open_[row] = not any(mark in decode(written[row]) for mark in stop)
            if not any(open_):
                break
            logits = self.read([written[row][-1:] if open_[row] else [] for row in range(count)])
        return written


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
    end = end_of_turn(tokenizer)
    writer, going = Writer(model, end), list(episodes)
    told = [render(tokenizer, one.chat, answer=True) for one in going]
    news = [ids_of(tokenizer, text) for text in told]
    for _ in range(turns):
        written = writer.turn(writer.read(news), most, constraint, form.stop, tokenizer.decode)
        news, stay = [], []
        for row, (one, ids) in enumerate(zip(going, written, strict=True)):
            take(one, tokenizer.decode(ids, skip_special_tokens=True).strip(), form, tools)
            one.turns, one.tokens = one.turns + 1, one.tokens + len(ids)
            if not one.over:
                stay.append(row)
                behind = tokenizer.decode([end])
                said = f"{one.chat[-2]['content']}{behind}"
                whole = render(tokenizer, one.chat, answer=True)
                rest = whole[whole.rindex(said) + len(said) - len(behind) :]
                news.append(ids_of(tokenizer, rest))  # from its end token on: that is written, and not yet read
        if not stay:
            return
        writer.keep(stay)
        going = [going[row] for row in stay]


def take(one: Episode, text: str, form: Format, tools: Tools) -> None:
    """What comes of a turn that was written: an answer, observations, or a word on what a turn is."""
    one.chat.append({"role": "assistant", "content": text})
    try:
        turn = form.parse(text, tools)
    except Unparsable as error:
        one.unparsable += 1
        one.chat.append({"role": "tool", "content": f"Error: {error}"})
        return
    if turn.answer:
        one.answer, one.over = turn.answer, True
        return
    observed = [act(call, tools) for call in turn.calls]
    one.calls += turn.calls
    one.invalid += sum(not seen.ok for seen in observed)
    one.chat.append(form.observed(observed))
