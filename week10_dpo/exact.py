"""Short questions with one right answer, which no pair asks: whether a model has forgotten anything by being polite.

share = exact.accuracy(["Rome, with pleasure.", …])       # of QUESTIONS[:len(answers)]
"""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

_CAPITALS = """Germany Berlin; Portugal Lisbon; Russia Moscow; China Beijing; India Delhi; Canada Ottawa; Turkey Ankara;
Denmark Copenhagen; Argentina Buenos; Colombia Bogot; Iran Tehran; Iraq Baghdad; Cambodia Phnom; Syria Damascus;
Lebanon Beirut; Romania Bucharest; Ukraine Kyiv|Kiev; Switzerland Bern; Philippines Manila; Venezuela Caracas"""
_OPPOSITES = """hot cold; up down; big small|little; day night; left right; fast slow; happy sad|unhappy;
open closed|close|shut; high low; wet dry;
full empty; young old; hard soft|easy; light dark|heavy; early late; rich poor; begin end|finish;
inside outside; love hate; strong weak"""
_FACTS = """How many legs does a dog have?|four|4; What colour do you get from blue and yellow?|green;
What do bees make?|honey; How many days are in a week?|seven|7; Which planet do we live on?|earth;
Which month comes after March?|april; What is frozen water called?|ice; Which animal barks?|dog;
How many months are in a year?|twelve|12; What is the largest ocean?|pacific; Which season follows winter?|spring;
What is 2 plus 2?|four|4; What is 3 plus 5?|eight|8; What is 10 minus 4?|six|6; Who wrote Romeo and Juliet?|shakespeare;
On which continent is Egypt?|africa; On which continent is Brazil?|america; Which metal has the symbol Au?|gold;
What gas do plants take in?|carbon; How many letters has the English alphabet?|twenty-six|26"""


def _made() -> list[tuple[str, tuple[str, ...]]]:
    cut = [[one.strip().split() for one in " ".join(table.split()).split(";")] for table in (_CAPITALS, _OPPOSITES)]
    capitals = [(f"What is the capital city of {country}?", (city,)) for country, city in cut[0]]
    opposites = [(f"What is the opposite of {word}?", tuple(other.split("|"))) for word, other in cut[1]]
    capitals = [(asked, tuple(names[0].split("|"))) for asked, names in capitals]
    facts = [one.strip().split("|") for one in " ".join(_FACTS.split()).split(";")]
    mixed = zip(capitals, opposites, [(asked, tuple(answers)) for asked, *answers in facts], strict=True)
    return [one for three in mixed for one in three]


QUESTIONS = _made()
"""(question, words of which one must be in the answer), the kinds by turns."""


def right(answers: Sequence[str]) -> Bool[np.ndarray, " answers"]:
    """Which of the answers to the first questions hold the right word; what else they say does not matter."""
    return np.array([
        any(re.search(rf"\b{re.escape(word)}", answer, re.I) for word in words)
        for answer, (_, words) in zip(answers, QUESTIONS, strict=False)
    ], bool)  # fmt: skip
