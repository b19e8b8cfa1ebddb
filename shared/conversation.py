"""A conversation with a language model of transformers: as its chat template writes it, and what the model answers.

end = end_of_turn(tokenizer)
answers = write(model, tokenizer, [[{"role": "user", "content": "Good morning."}]])
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from shared.errors import CourseError
from shared.progress import bar

Message = dict[str, str]
"""{role, content}, as chat templates take them."""


def render(tokenizer: Any, messages: Sequence[Message], answer: bool = False, tools: Any = None) -> str:
    """The conversation as the model's template writes it; with `answer`, up to where the assistant is to speak; with
    `tools`, JSON schemas of functions, as far as the template knows of such.

    Raises:
        CourseError: there is no template, or it refuses these turns (some know no system turn).
    """
    if not tokenizer.chat_template:
        raise CourseError("this tokenizer has no chat template: take an -Instruct or -chat variant of the model.")
    from jinja2 import TemplateError

    try:
        known = {"tools": tools} if tools else {}
        return tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=answer, **known)
    except (TemplateError, TypeError, KeyError) as error:
        roles = ", ".join(message["role"] for message in messages)
        raise CourseError(f"the chat template refuses turns of {roles} ({str(error)[:100]}).") from None


def ids_of(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a text that a template has written: it has put the special ones in already."""
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def end_of_turn(tokenizer: Any) -> int:
    """The token with which the template ends an answer: `<|im_end|>`, `<|eot_id|>`, `</s>`, …

    What comes first behind an answer and is a special token; a template that writes none leaves it to the tokenizer's
    own end token.

    Raises:
        CourseError: neither is there.
    """
    mark = "answer-7"
    said = [{"role": "user", "content": "x"}, {"role": "assistant", "content": mark}]
    behind = ids_of(tokenizer, render(tokenizer, said).rpartition(mark)[2])
    special = {*tokenizer.all_special_ids, *(n for n, t in tokenizer.added_tokens_decoder.items() if t.special)}
    found = next((token for token in behind if token in special), tokenizer.eos_token_id)
    if found is None:
        raise CourseError("neither the chat template nor the tokenizer has an end token: the model could never stop.")
    return found


# ---------------------------------------------------------------- answers


@dataclass(frozen=True)
class Answer:
    """What was written: the text, its tokens (the end among them, if it came), and whether it ended by itself."""

    text: str
    ids: tuple[int, ...]
    stopped: bool

    @property
    def tokens(self) -> int:
        """How many tokens that took, the end apart."""
        return len(self.ids) - self.stopped


@torch.no_grad()
def write(
    model: Any, tokenizer: Any, chats: Sequence[Sequence[Message]], most: int = 48, temperature: float = 0.0,
    seed: int = 0, size: int = 32, label: str = "answers",
) -> list[Answer]:  # fmt: skip
    """The model's answers: the likeliest tokens (temperature 0), or drawn ones.

    Args:
        model: a causal language model of transformers; it is left in the mode it was in.
        tokenizer: its tokenizer.
        chats: what has been said, of each answer that is wanted.
        most: so many tokens, the end not among them; what is longer has not ended by itself.
        temperature: of the drawing.
        seed: what the drawing follows from.
        size: answers that are written at once, of prompts of about the same length, padded on the left.
        label: of the bar, where there is more than that.
    """
    prompts, end = [ids_of(tokenizer, render(tokenizer, chat, answer=True)) for chat in chats], end_of_turn(tokenizer)
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    found: dict[int, Answer] = {}
    mode, device = model.training, next(model.parameters()).device
    draw: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if temperature:
        draw = {"do_sample": True, "temperature": temperature, "top_p": 1.0, "top_k": 0}
    model.eval()
    several = bar(len(order), label=label) if len(order) > size else nullcontext()  # a chat's one answer has no bar
    with torch.random.fork_rng(), several as progress:
        torch.manual_seed(seed)
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            length = max(len(prompts[row]) for row in rows)
            ids = torch.tensor([[end] * (length - len(prompts[row])) + prompts[row] for row in rows])
            mask = torch.tensor([[0] * (length - len(prompts[row])) + [1] * len(prompts[row]) for row in rows])
            out = model.generate(
                input_ids=ids.to(device), attention_mask=mask.to(device), max_new_tokens=most + 1, eos_token_id=end,
                pad_token_id=end, use_cache=True, repetition_penalty=1.0, **draw,
            )  # fmt: skip
            for row, line in zip(rows, out[:, length:].tolist(), strict=True):
                stopped = end in line
                line = line[: line.index(end) + 1] if stopped else line[:most]
                text = tokenizer.decode(line, skip_special_tokens=True).strip()
                found[row] = Answer(text, tuple(line), stopped)
            if progress is not None:
                progress.update(len(rows))
    model.train(mode)
    return [found[row] for row in range(len(prompts))]
