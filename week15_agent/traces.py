"""Traces: what a trained agent would have said and been told, as tokens; learned from is what it said itself.

    trace = follow(question, form, tools)             # the conversation, with what the tools really answered
    encoded = encode(trace, tokenizer)                # its tokens, and where those of the model's own turns lie
    ids, mask, targets = batch([encoded, …], pad=0)

References
    Yao et al., "ReAct", arXiv:2210.03629, section 3.3: fine-tuning on trajectories
    Schick et al., "Toolformer", arXiv:2302.04761: no loss on what the tools return
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from shared.conversation import end_of_turn, ids_of, render
from shared.errors import CourseError
from week15_agent.protocol import Format, Message, Turn, begin, said
from week15_agent.questions import Question
from week15_agent.tools import Tools, act

IGNORE = -100
"""A place where nothing is to be guessed: cross_entropy leaves it out."""
Span = tuple[int, int]
"""Where a turn of the model begins, and the place behind its end token."""


@dataclass(frozen=True)
class Encoded:
    """A trace as tokens, up to the end of the last turn that is kept."""

    ids: tuple[int, ...]
    spans: tuple[Span, ...]


def follow(question: Question, form: Format, tools: Tools) -> list[Message]:
    """The conversation in which the agent makes the calls of the question, and then gives its answer."""
    chat, thought = begin(form, tools, question.text), question.thought
    for calls in question.calls:
        chat.append(said(form, Turn(thought, calls), tools))
        chat.append(form.observed([act(call, tools) for call in calls]))
        thought = ""
    return [*chat, said(form, Turn(thought, answer=question.answer), tools)]


def encode(chat: Sequence[Message], tokenizer: Any, turns: int = 0) -> Encoded:
    """The tokens of a conversation, cut behind the model's turn number `turns` (0: its last).

    Each turn is put into tokens as it will be when the model speaks: what it says is apart from what was before.

    Raises:
        CourseError: the template writes a conversation otherwise once it goes on.
    """
    end, ids, spans, before = end_of_turn(tokenizer), [], [], ""
    for number, message in enumerate(chat):
        if message["role"] != "assistant":
            continue
        asked = render(tokenizer, chat[:number], answer=True)
        told = render(tokenizer, chat[: number + 1])
        if not (asked.startswith(before) and told.startswith(asked)):
            raise CourseError("this chat template changes what was said before when a turn comes: not for training.")
        ids += ids_of(tokenizer, asked[len(before) :])
        turn = ids_of(tokenizer, told[len(asked) :])
        stop = turn.index(end) + 1 if end in turn else len(turn)
        spans.append((len(ids), len(ids) + stop))
        ids += turn
        before = told
        if len(spans) == turns:
            break
    return Encoded(tuple(ids[: spans[-1][1]]), tuple(spans))


def targets_of(ids: Int[Tensor, "rows time"], spans: Sequence[Sequence[Span]]) -> Int[Tensor, "rows time"]:
    """What is to be guessed at each place: the next token where the model itself says it, else IGNORE."""
    # exercise 5: labels of a trace
    # ids (rows, time), padded at the end; spans, of each row: the places (start, stop) of the model's own turns, the
    # end token of each the last in it -> targets (rows, time): at place t stands the token ids[t + 1] that is to be
    # guessed there, where t + 1 lies in a span of the row; everywhere else IGNORE. So the system's, the user's and the
    # tools' turns are read and never learned: a model that is trained on observations makes them up.
    # hint: all IGNORE at first; for each span copy ids[row, start:stop] one place to the left.
    targets = torch.full_like(ids, IGNORE)
    for row, of_row in enumerate(spans):
        for start, stop in of_row:
            targets[row, start - 1 : stop - 1] = ids[row, start:stop]
    return targets
    # end of exercise 5


def batch(
    rows: Sequence[Encoded], pad: int
) -> tuple[Int[Tensor, "rows time"], Bool[Tensor, "rows time"], Int[Tensor, "rows time"]]:
    """(ids, mask, targets) of some traces, padded at the end."""
    time = max(len(row.ids) for row in rows)
    ids, mask = torch.full((len(rows), time), pad), torch.zeros(len(rows), time, dtype=torch.bool)
    for number, row in enumerate(rows):
        ids[number, : len(row.ids)] = torch.tensor(row.ids)
        mask[number, : len(row.ids)] = True
    return ids, mask, targets_of(ids, [row.spans for row in rows])
