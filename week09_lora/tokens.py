"""Conversations as tokens of a model: its chat template, which tokens count in the loss, packing, batches.

encoded = encode(part, tokenizer, max_len=512)
batch = encoded.batch([[0], [1], [2]], pad=0)           # three rows, one example in each
batch = encoded.batch(encoded.packed(512), pad=0)       # as many examples as fit, in each row

Three things go wrong here in the field, and no loss curve shows them: the end token is never trained, because it is
the padding, too, and padding was masked by its number (the model then never stops); the prompt is trained, too; and
examples that share a row see each other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from shared.conversation import end_of_turn, ids_of, render
from shared.errors import CourseError
from shared.splits import Part
from week09_lora.data import Example

IGNORE = -100
"""A place where nothing is to be guessed: cross_entropy leaves it out."""
Span = tuple[int, int]
"""Where a response begins, and the place behind its end token."""


# ---------------------------------------------------------------- chat template


def conversation(tokenizer: Any, item: Example, end: int) -> tuple[list[int], int]:
    """The tokens of an example, up to its end token where it has one, and where its response begins."""
    asked = render(tokenizer, item.messages, answer=True)
    told = render(tokenizer, [*item.messages, {"role": "assistant", "content": item.response}])
    if not told.startswith(asked):
        raise CourseError("the chat template writes a prompt otherwise once it is answered: it cannot be tuned with.")
    prompt, ids = ids_of(tokenizer, asked), ids_of(tokenizer, told)
    if ids[: len(prompt)] != prompt:  # a piece of a word across the border: then as generation has it, cut there
        ids = prompt + ids_of(tokenizer, told[len(asked) :])
    if end not in ids[len(prompt) :]:
        ids = [*ids, end]
    return ids, len(prompt)


def response_span(ids: Sequence[int], start: int, end: int) -> Span:
    """Where a response begins and where it is over.

    Args:
        ids: the tokens of a conversation.
        start: how many of them are the prompt, the assistant's heading included.
        end: the end token; earlier turns end with it, too.

    Returns:
        The place of its first token, and the place behind its end token.
    """
    # exercise 4: the response mask, where it lies
    # ids: tokens of a whole conversation. start: so many of them are the prompt. end: the token that ends a turn.
    # -> (first, stop): the response is ids[first:stop], its own end token the last of it. Earlier turns end with that
    # token, too, and behind it the template may write more (a new line), which is not the response.
    # hint: look for `end` from `start` on, not from the beginning; a slice's stop is one behind the last token in it.
    return start, ids.index(end, start) + 1
    # end of exercise 4


def response_targets(ids: Int[Tensor, "batch length"], spans: Sequence[Sequence[Span]]) -> Int[Tensor, "batch length"]:
    """What is to be guessed at each place: the next token where that is of a response, else IGNORE.

    Args:
        ids: rows of tokens, padded at the end. The padding may be the end token.
        spans: of each row, where its responses lie: one, or several where examples share a row.

    Returns:
        At place t of a row stands ids[t + 1], if t + 1 lies in a span of the row.
    """
    # exercise 4: the response mask, what counts in the loss
    # ids (batch, length), spans of each row -> targets (batch, length) of the same kind: at place t the token that is
    # to be guessed there, ids[t + 1], where t + 1 lies in a span (start, stop) of its row; everywhere else IGNORE. So
    # the first token of a response is guessed at the last place of its prompt, and its end token is trained, too.
    # hint: begin with IGNORE everywhere; for each span copy ids[start:stop] one place to the left. Do not ask whether a
    # token is the padding: padding and end token may be the same number.
    targets = torch.full_like(ids, IGNORE)
    for row, of_row in enumerate(spans):
        for start, stop in of_row:
            targets[row, start - 1 : stop - 1] = ids[row, start:stop]
    return targets
    # end of exercise 4


# ---------------------------------------------------------------- a part


@dataclass(frozen=True)
class Report:
    """How long the examples are, and what the window has done to them. Lengths are in tokens."""

    longest: int
    median: int
    most_common: int  # 95 of 100 are no longer
    long_prompts: int  # of these nothing is left to guess: left out
    cut: int  # their answers are longer than the window: left out, or cut

    def lines(self, max_len: int, long: str) -> tuple[str, ...]:
        """What to tell of it."""
        told = f"lengths in tokens: median {self.median}, 95 % up to {self.most_common}, longest {self.longest}"
        found: tuple[str, ...] = (told,)
        if self.long_prompts:
            found += (f"left out {self.long_prompts:,} whose prompt alone fills the window of {max_len} (--max-len)",)
        if self.cut:
            what = "cut off the end of" if long == "cut" else "left out"
            found += (f"{what} {self.cut:,} whose answer does not fit into the window of {max_len} (--max-len)",)
        return found


@dataclass(frozen=True)
class Batch:
    """Rows for a model.

    Attributes:
        ids: (batch, length) tokens, padded at the end.
        mask: (batch, length), where there is no padding; of packed rows (batch, 1, length, length), what sees what.
        positions: (batch, length), counted from the beginning of each example.
        targets: (batch, length), what is to be guessed at each place, or IGNORE.
    """

    ids: Int[Tensor, "batch length"]
    mask: Bool[Tensor, "batch *more length"]
    positions: Int[Tensor, "batch length"]
    targets: Int[Tensor, "batch length"]

    def to(self, device: str) -> "Batch":
        return Batch(*(getattr(self, name).to(device) for name in ("ids", "mask", "positions", "targets")))


@dataclass(frozen=True)
class Encoded:
    """Examples as tokens.

    Attributes:
        ids: of each example.
        spans: of each, where its response lies.
        rows: which example of the part each one was.
        report: lengths, and what was left out.
        end: the end token.
    """

    ids: tuple[tuple[int, ...], ...]
    spans: tuple[Span, ...]
    rows: tuple[int, ...]
    report: Report
    end: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> Int[np.ndarray, " N"]:
        return np.array([len(ids) for ids in self.ids])

    @property
    def response_tokens(self) -> int:
        """How many tokens are to be guessed."""
        return sum(stop - start for start, stop in self.spans)

    def packed(self, max_len: int, order: Sequence[int] | None = None) -> list[list[int]]:
        """Rows of at most `max_len` tokens: each example goes into the first of the last 32 rows that has room."""
        found: list[list[int]] = []
        room: list[int] = []
        for number in range(len(self)) if order is None else order:
            need, first = len(self.ids[number]), max(0, len(found) - 32)
            place = next((row for row in range(first, len(found)) if room[row] >= need), None)
            if place is None:
                found.append([])
                room.append(max_len)
                place = len(found) - 1
            found[place].append(number)
            room[place] -= need
        return found

    def batch(self, rows: Sequence[Sequence[int]], pad: int) -> Batch:
        """A batch with the examples `rows[0]` in its first row, and so on: one in each, or several (packed)."""
        lines, spans = [], []
        for numbers in rows:
            line: list[int] = []
            of_row = []
            for number in numbers:
                start, stop = self.spans[number]
                of_row.append((start + len(line), stop + len(line)))
                line += self.ids[number]
            lines.append(line)
            spans.append(of_row)
        length = max(map(len, lines))
        ids = torch.full((len(lines), length), pad)
        owner = torch.full((len(lines), length), -1)  # which example of its row a place belongs to; -1: padding
        positions = torch.zeros(len(lines), length, dtype=torch.long)
        for row, (line, numbers) in enumerate(zip(lines, rows, strict=True)):
            ids[row, : len(line)] = torch.tensor(line)
            at = 0
            for place, number in enumerate(numbers):
                many = len(self.ids[number])
                owner[row, at : at + many] = place
                positions[row, at : at + many] = torch.arange(many)
                at += many
        mask = owner >= 0
        if any(len(numbers) > 1 for numbers in rows):
            mask = sees(owner)
        return Batch(ids, mask, positions, response_targets(ids, spans))


def sees(owner: Int[Tensor, "batch length"]) -> Bool[Tensor, "batch 1 length length"]:
    """What each place of packed rows sees: of its own example what is not behind it; padding sees itself, since a
    softmax over nothing is no number."""
    same = owner[:, :, None] == owner[:, None, :]
    length = owner.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    alone = (owner < 0)[:, :, None] & ~torch.eye(length, dtype=torch.bool)
    return (same & causal & ~alone)[:, None]


def encode(
    part: Part, tokenizer: Any, max_len: int, long: Literal["leave_out", "cut", "refuse"] = "leave_out"
) -> Encoded:
    """The examples of a part as tokens; what does not fit into the window is told of in the report.

    Args:
        part: the examples.
        tokenizer: with a chat template.
        max_len: tokens of an example, prompt and end token included.
        long: what becomes of an example whose answer does not fit: leave it out; cut off its end, so that its end token
            is not trained; or refuse the data.

    Raises:
        CourseError: no chat template; nothing is left; with `refuse`, the first example that does not fit.
    """
    end = end_of_turn(tokenizer)
    found, lengths, long_prompts, cut = [], [], 0, 0
    for row, item in enumerate(part.items):
        ids, start = conversation(tokenizer, item, end)
        first, stop = response_span(ids, start, end)
        ids = ids[:stop]
        lengths.append(len(ids))
        where = f"example {item.line or row + 1}"
        if start >= max_len:
            long_prompts += 1
            if long == "refuse":
                raise CourseError(
                    f"{where}: its prompt of {start} tokens is longer than the window of {max_len}. Raise --max-len to "
                    f"{len(ids)}, or shorten it."
                )
            continue
        if len(ids) > max_len:
            cut += 1
            if long == "refuse":
                raise CourseError(
                    f"{where}: the window of {max_len} cuts off the end of its answer, so the model would not learn to "
                    f"stop. Raise --max-len to {len(ids)}, or shorten it."
                )
            if long == "leave_out":
                continue
        found.append((tuple(ids[:max_len]), (first, min(stop, max_len)), row))
    if not found:
        raise CourseError(
            f"--max-len {max_len}: of {len(part):,} examples none fits ({long_prompts:,} prompts are as long as that, "
            f"{cut:,} answers end behind it). Half of them fit into {int(np.median(lengths))}, all into {max(lengths)}."
        )
    report = Report(max(lengths), int(np.median(lengths)), int(np.quantile(lengths, 0.95)), long_prompts, cut)
    return Encoded(*map(tuple, zip(*found, strict=True)), report, end)


def in_batches(encoded: Encoded, size: int) -> Iterator[list[list[int]]]:
    """All examples, sorted by length, so that little is padded: for evaluation."""
    order = np.argsort(encoded.lengths, kind="stable").tolist()
    for start in range(0, len(order), size):
        yield [[number] for number in order[start : start + size]]
