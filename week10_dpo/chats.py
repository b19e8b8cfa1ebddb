"""The language model that is aligned: its chat template, pairs as tokens, and answers that it writes.

    tokenizer, model = chat_models.load("smollm2")
    encoded = chats.encode(part, tokenizer, 128)       # encoded.batch([0, 1]) -> ids, attention, answer
    answers = chats.write(model, tokenizer, [pair.messages for pair in part.items])

Any causal language model that transformers knows will do, if its tokenizer has a chat template.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from shared.errors import CourseError
from week10_dpo.data import Pair, Part

Long = Literal["refuse", "cut", "drop"]
Messages = Sequence[Mapping[str, str]]
"""What has been said: {"role", "content"} of each turn."""


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
    prompt = prompt_of(pair.messages, tokenizer)
    answers = []
    for text in (pair.chosen, pair.rejected):
        whole = tokenizer.apply_chat_template(
            [*pair.messages, {"role": "assistant", "content": text}], tokenize=False
        )  # fmt: skip
        if not whole.startswith(prompt):
            raise CourseError("this chat template changes what was said before when an answer comes: not for training.")
        ids = tokenizer(whole[len(prompt) :], add_special_tokens=False)["input_ids"]
        end = tokenizer.eos_token_id
        # what a template writes behind the end token (a new line) nobody waits for
        answers.append(ids[: ids.index(end) + 1] if end in ids else [*ids, end])
    return ids_of(prompt, tokenizer), *answers


def prompt_of(messages: Messages, tokenizer: Any) -> str:
    """What the model reads before it writes an answer."""
    return tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)


def ids_of(text: str, tokenizer: Any) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]  # the template has written them


# ---------------------------------------------------------------- answers


@dataclass(frozen=True)
class Answer:
    """What was written: the text, its tokens (the end among them, if it came), and whether it ended by itself."""

    text: str
    ids: tuple[int, ...]
    stopped: bool


@torch.no_grad()
def write(
    model: Any, tokenizer: Any, chats: Sequence[Messages], most: int = 48, temperature: float = 0.0, seed: int = 0,
    size: int = 48,
) -> list[Answer]:  # fmt: skip
    """The model's answers: the likeliest tokens (temperature 0), or drawn ones.

    Args:
        model: a causal language model of transformers; it is left in the mode it was in.
        tokenizer: its tokenizer.
        chats: what has been said, of each answer that is wanted.
        most: so many tokens at most.
        temperature: of the drawing.
        seed: what the drawing follows from.
        size: answers that are written at once, of prompts of about the same length, padded on the left.
    """
    prompts, end = [ids_of(prompt_of(chat, tokenizer), tokenizer) for chat in chats], tokenizer.eos_token_id
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    found: dict[int, Answer] = {}
    mode, device = model.training, next(model.parameters()).device
    draw: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if temperature:
        draw = {"do_sample": True, "temperature": temperature, "top_p": 1.0, "top_k": 0}
    model.eval()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            length = max(len(prompts[row]) for row in rows)
            ids = torch.tensor([[end] * (length - len(prompts[row])) + prompts[row] for row in rows])
            mask = torch.tensor([[0] * (length - len(prompts[row])) + [1] * len(prompts[row]) for row in rows])
            out = model.generate(
                input_ids=ids.to(device), attention_mask=mask.to(device), max_new_tokens=most, eos_token_id=end,
                pad_token_id=end, use_cache=True, repetition_penalty=1.0, **draw,
            )  # fmt: skip
            for row, line in zip(rows, out[:, length:].tolist(), strict=True):
                stopped = end in line
                line = line[: line.index(end) + 1] if stopped else line
                text = tokenizer.decode(line, skip_special_tokens=True).strip()
                found[row] = Answer(text, tuple(line), stopped)
    model.train(mode)
    return [found[row] for row in range(len(prompts))]
