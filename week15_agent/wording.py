"""Texts that are composed: what is drawn of the wordings in sums.txt and stories.txt, and by which part of the data.

    == NAME | PART          begins a section of one of train, val and test
    a line each; [one|other] is drawn, {slots} are filled

A question of test has been put together of wordings that no question of train has (README, "What is held out").
"""

import random
import re
from functools import cache
from pathlib import Path
from typing import Literal

Part = Literal["train", "val", "test"]
FOLDER = Path(__file__).parent
NAMES = {
    "train": [
        "Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry", "Ida", "Jack", "Kate", "Leo",
        "Mia", "Noah", "Olga", "Paul", "Rosa", "Sam", "Tina", "Will", "Zoe", "Ahmed", "Bao", "Chen", "Dana",
        "Elif", "Farid", "Gita", "Hana", "Ivan", "Jun", "Kofi", "Lars", "Maria", "Nina", "Omar",
    ],
    "val": ["Piotr", "Quinn", "Ravi", "Sara", "Tomas", "Uma"],
    "test": ["Vera", "Yusuf", "Aisha", "Bruno", "Carla", "Diego", "Erik", "Fiona"],
}  # fmt: skip
ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
TENS = ["_", "_", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


@cache
def sections(file: str) -> dict[tuple[str, Part], list[str]]:
    """{(name, part): its lines} of a file of wordings."""
    found: dict[tuple[str, Part], list[str]] = {}
    for line in (FOLDER / file).read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            name, part = line.removeprefix("== ").split(" | ")
            lines = found.setdefault((name, part), [])
        elif line and not line.startswith("#"):
            lines.append(line)
    return found


def drawn(text: str, rng: random.Random) -> str:
    """The text with one of each [choice|among|several]; spaces that an empty choice leaves are closed."""
    text = re.sub(r"\[([^\[\]]*\|[^\[\]]*)\]", lambda match: rng.choice(match[1].split("|")), text)
    return re.sub(r"\s+([?.!,])", r"\1", " ".join(text.split()))


def in_words(number: int) -> str:
    """`forty-two`, `three hundred and five`, up to 9,999."""
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10] + (f"-{ONES[number % 10]}" if number % 10 else "")
    if number < 1000:
        rest = f" and {in_words(number % 100)}" if number % 100 else ""
        return f"{ONES[number // 100]} hundred{rest}"
    rest = f" {in_words(number % 1000)}" if number % 1000 else ""
    return f"{in_words(number // 1000)} thousand{rest}"
