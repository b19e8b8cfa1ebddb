"""Whether a model answers what it was asked for: a judge that is a program.

written = write(model, tokenizer, [item.messages for item in part.items])    # shared.conversation
answers.shares(part.items, written)       # {"format": 0.4, "exact": 0.2, "stops": 0.9}
"""

import json
import re
from collections.abc import Callable, Sequence

from shared.conversation import Answer
from week09_lora.data import Example


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
