"""What a model answers, and whether that is what it was asked for: greedy answers, and a judge that is a program.

written = answers.write(model, tokenizer, [item.messages for item in part.items], end)
answers.shares(part.items, written)       # {"format": 0.4, "exact": 0.2, "stops": 0.9}
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from week09_lora.data import Example, Message
from week09_lora.tokens import ids_of, render


@dataclass(frozen=True)
class Answer:
    """What was written, how many tokens that took, and whether the model ended it by itself."""

    text: str
    tokens: int
    stopped: bool


@torch.no_grad()
def write(
    model: Any, tokenizer: Any, chats: Sequence[Sequence[Message]], end: int, most: int = 48, size: int = 16
) -> list[Answer]:
    """The model's likeliest answers, token by token (greedy).

    Args:
        model: a causal language model of transformers; it is left in the mode it was in.
        tokenizer: its tokenizer.
        chats: what has been said, of each answer that is wanted.
        end: the token that ends an answer.
        most: so many tokens, its end not among them; what is longer has not stopped by itself.
        size: answers that are written at once, of prompts of about the same length, padded on the left.
    """
    prompts = [ids_of(tokenizer, render(tokenizer, chat, answer=True)) for chat in chats]
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    found: dict[int, Answer] = {}
    mode = model.training
    model.eval()
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        length = max(len(prompts[row]) for row in rows)
        ids = torch.tensor([[end] * (length - len(prompts[row])) + prompts[row] for row in rows])
        mask = torch.tensor([[0] * (length - len(prompts[row])) + [1] * len(prompts[row]) for row in rows])
        out = model.generate(
            input_ids=ids.to(model.device), attention_mask=mask.to(model.device), max_new_tokens=most + 1,
            do_sample=False, temperature=None, top_p=None, top_k=None, repetition_penalty=1.0, eos_token_id=end,
            pad_token_id=end, use_cache=True,
        )  # fmt: skip
        for row, line in zip(rows, out[:, length:].tolist(), strict=True):
            stopped = end in line
            line = line[: line.index(end)] if stopped else line[:most]
            found[row] = Answer(tokenizer.decode(line, skip_special_tokens=True).strip(), len(line), stopped)
    model.train(mode)
    return [found[row] for row in range(len(prompts))]


# ---------------------------------------------------------------- the judge


def is_json(text: str) -> bool:
    """An object with name, age and city, and nothing beside it."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.keys() == {"name", "age", "city"}


def is_numbered(text: str) -> bool:
    """Lines that begin with 1., 2., 3., …"""
    lines = text.splitlines()
    return len(lines) > 1 and all(re.match(rf"{number}\. \S", line) for number, line in enumerate(lines, 1))


def matches(pattern: str) -> Callable[[str], bool]:
    return lambda text: re.fullmatch(pattern, text) is not None


ONE_WORD = matches(r"[^\W\d]+\.?")
FORMATS: dict[str, Callable[[str], bool]] = {
    "bullets": matches(r"- \S.*(\n- \S.*)+"), "numbered": is_numbered, "semicolons": matches(r"[^;\n]+(; [^;\n]+)+"),
    "count": matches(r"\d+\.?"), "last": ONE_WORD, "first": ONE_WORD, "yes_no": matches(r"(?i)(yes|no)\.?"),
    "upper": matches(r"[^a-z]*[A-Z][^a-z]*"), "quotes": matches(r'"[^"\n]*"'), "json": is_json, "one_word": ONE_WORD,
    "lookup": ONE_WORD,
}  # fmt: skip
"""Of each family, whether an answer has the form that was asked for, right or wrong."""
CAPITALS = ("upper", "quotes")
"""Families where small and capital letters are not the same answer."""


def formed(item: Example, text: str) -> bool:
    """Whether an answer has the form that its family asks for; of data without families, whether there is any."""
    return FORMATS.get(item.family, bool)(text)


def exact(item: Example, text: str) -> bool:
    """Whether it is the answer: the same text, but for a full stop at its end and, in most families, capitals."""
    if item.family == "json" and is_json(text):
        return json.loads(text) == json.loads(item.response)
    texts = (text.strip().removesuffix("."), item.response.strip().removesuffix("."))
    theirs, ours = texts if item.family in CAPITALS else map(str.casefold, texts)
    return theirs == ours


def shares(items: Sequence[Example], written: Sequence[Answer]) -> dict[str, float]:
    """Which share of the answers has the form that was asked for, is exactly right, and ended by itself."""
    pairs = list(zip(items, written, strict=True))
    return {
        "format": sum(formed(item, answer.text) for item, answer in pairs) / len(pairs),
        "exact": sum(exact(item, answer.text) for item, answer in pairs) / len(pairs),
        "stops": sum(answer.stopped for answer in written) / len(pairs),
    }
