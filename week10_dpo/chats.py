"""Pairs as tokens of the language model that is aligned, in its chat template.

    tokenizer, model = chat_models.load("smollm2")
    encoded = chats.encode(part, tokenizer, 128)       # encoded.batch([0, 1]) -> ids, attention, answer

Any causal language model that transformers knows will do, if its tokenizer has a chat template.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from shared.conversation import end_of_turn, ids_of, render
from shared.errors import CourseError
from shared.splits import Part
from week10_dpo.data import Pair

Long = Literal["refuse", "cut", "drop"]


# ---------------------------------------------------------------- pairs as tokens


@dataclass(frozen=True)
class Encoded:
    """Pairs as tokens: (prompt, chosen, rejected) of each; an answer has its end token, where it was not cut off."""

    rows: tuple[tuple[list[int], list[int], list[int]], ...]
    pad: int
    notes: tuple[str, ...] = ()
    kept: tuple[int, ...] = ()  # which of the pairs they are

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> Int[np.ndarray, " N"]:
        """Tokens of prompt and longer answer."""
        return np.array([len(prompt) + max(len(one), len(other)) for prompt, one, other in self.rows])

    def batch(
        self, rows: Sequence[int], device: str = "cpu", only_chosen: bool = False
    ) -> tuple[Int[Tensor, "rows time"], Int[Tensor, "rows time"], Bool[Tensor, "rows time"]]:
        """(ids, attention, answer) of some pairs: first all chosen, then all rejected, with padding on the right.

        Args:
            rows: numbers of the pairs.
            device: where the tensors are to be.
            only_chosen: without the rejected ones.
        """
        picked = [self.rows[row] for row in rows]
        both = [(prompt, chosen) for prompt, chosen, _ in picked]
        both += [] if only_chosen else [(prompt, rejected) for prompt, _, rejected in picked]
        time = max(len(prompt) + len(answer) for prompt, answer in both)
        ids = np.full((len(both), time), self.pad)
        attention, answers = np.zeros((len(both), time), np.int64), np.zeros((len(both), time), bool)
        for row, (prompt, answer) in enumerate(both):
            end = len(prompt) + len(answer)
            ids[row, :end] = prompt + answer
            attention[row, :end], answers[row, len(prompt) : end] = 1, True
        return tuple(torch.from_numpy(one).to(device) for one in (ids, attention, answers))


def encode(part: Part, tokenizer: Any, max_len: int, long: Long = "refuse") -> Encoded:
    """A part in tokens of the model, in its chat template.

    Args:
        part: the pairs.
        tokenizer: the model's.
        max_len: tokens of a prompt with an answer.
        long: what becomes of longer pairs. refuse: an error; drop: left out, and counted; cut: the answer's end is cut
            off, its end token with it (a model that sees many of these does not learn to stop).

    Raises:
        CourseError: a prompt, or with `refuse` an answer, is longer than the window; both answers are the same up to
            where they are cut; or nothing is left.
    """
    found, kept, gone, short = [], [], 0, 0
    for number, pair in enumerate(part.items):
        prompt, chosen, rejected = (list(map(int, ids)) for ids in tokens_of(pair, tokenizer))
        room, longest = max_len - len(prompt), max(len(chosen), len(rejected))
        if long == "drop" and room < longest:
            gone += 1
            continue
        place = pair.place or f"pair {number + 1}"
        if room < 1:
            raise CourseError(
                f"{place}: its prompt alone has {len(prompt)} tokens, --max-len {max_len}: raise it, or --long drop."
            )
        if chosen[:room] == rejected[:room]:
            raise CourseError(
                f"{place}: up to --max-len {max_len}, where they are cut off, chosen and rejected are the same: raise "
                "it, or --long drop."
            )
        if room < longest and long == "refuse":
            which = "chosen" if len(chosen) > room else "rejected"
            raise CourseError(
                f"{place}: the end of its {which} answer is cut off by --max-len {max_len} (it takes "
                f"{len(prompt) + longest}): raise it, or --long drop, or --long cut."
            )
        short += room < longest
        found.append((prompt, chosen[:room], rejected[:room]))
        kept.append(number)
    notes = []
    if gone:
        notes.append(f"left out {gone:,} of {len(part):,} pairs that are longer than --max-len {max_len}")
    if short:
        notes.append(f"cut off the end of an answer in {short:,} of {len(part):,} pairs (--max-len {max_len})")
    if not found:
        raise CourseError(f"all {len(part):,} pairs are longer than --max-len {max_len}: raise it.")
    return Encoded(tuple(found), tokenizer.pad_token_id, tuple(notes), tuple(kept))


def tokens_of(pair: Pair, tokenizer: Any) -> tuple[list[int], list[int], list[int]]:
    """(prompt, chosen, rejected) as tokens. The prompt ends where the model begins to write, as in `write`."""
    prompt = render(tokenizer, pair.messages, answer=True)
    answers, end = [], end_of_turn(tokenizer)
    for text in (pair.chosen, pair.rejected):
        whole = render(tokenizer, [*pair.messages, {"role": "assistant", "content": text}])
        if not whole.startswith(prompt):
            raise CourseError("this chat template changes what was said before when an answer comes: not for training.")
        ids = ids_of(tokenizer, whole[len(prompt) :])
        # what a template writes behind the end token (a new line) nobody waits for
        answers.append(ids[: ids.index(end) + 1] if end in ids else [*ids, end])
    return ids_of(tokenizer, prompt), *answers
