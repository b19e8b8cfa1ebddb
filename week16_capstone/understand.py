"""What a question wants, by rules: which operation, on which categories and series, of which figure.

    wanted("Which city grew fastest from 2015 to 2019?")     # Wanted(what="growth", which="city", …)
    mentions("revenue of Online in 2019", ("Online", "Retail"))

No language model takes part: what is asked for is one of a dozen operations, and the names in it are the chart's own. A
name may be misspelt a little; a year may not (2018 is not nearly 2019).
"""

import difflib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from week11_rag import wording

What = Literal[
    "value", "highest", "lowest", "growth", "decline", "change", "percent", "difference", "share", "total", "mean",
    "above", "below", "summary", "list", "alike",
]  # fmt: skip
LONGEST = 500
"""Characters of a question."""
NEAR = 0.84  # of difflib: so alike a misspelt word is to the name that is meant
YEAR = re.compile(r"\b(?:1[89]|20|21)\d\d\b")
NUMBER = re.compile(r"[-−]?\d[\d,]*(?:\.\d+)?")
FIGURE = re.compile(
    r"\b(?P<what>figure|fig|chart|exhibit|graph|diagram|plot|table)\.?\s+(?P<number>[A-Z]?\d+(?:[.\-–]\d+)*[a-z]?)\b",
    re.I,
)
UP = r"(?:grew|grow\w*|rose|ris\w+|increas\w+|gain\w*|climb\w*)"
DOWN = r"(?:fell|fall\w*|shrank|declin\w+|decreas\w+|drop\w*|lost)"
MOVED = rf"(?:chang\w+|{UP}|{DOWN})"
PATTERNS: tuple[tuple[What, str], ...] = (
    ("alike", r"\b(?:looks? like|look alike|similar to|resembl\w+)\b"),
    ("list", r"\b(?:list|what|which|show|how many)\b.{0,20}\b(?:figures|charts|tables|graphs|exhibits)\b"),
    ("summary", r"\bsummar|\bdescribe\b|\bwhat does (?:the )?(?:fig|chart|graph|table|exhibit)|\btell me about\b"),
    ("above", r"\bhow many\b.*\b(?:above|over|(?:more|greater|higher|larger) than|exceed\w*|at least|beyond)\b"),
    ("below", r"\bhow many\b.*\b(?:below|under|(?:less|fewer|lower|smaller) than|at most)\b"),
    ("decline", rf"\b{DOWN}\b.*\b(?:most|fastest|furthest|sharply)\b"),
    ("growth", rf"\b{UP}\b.*\b(?:most|fastest|quick\w+|strongest|sharply)\b"
               r"|\b(?:fastest|strongest|largest|biggest)\b.{0,12}\b(?:growth|increase|rise|gain)"),
    ("percent", rf"\bper ?cent(?:age)?\b.*\b{MOVED}\b|\bhow many per ?cent\b|\bin (?:what )?per ?cent\b"
                r"|\b(?:growth rate|relative change)\b|\b(?:by|in) (?:what|which) percentage\b"),
    ("share", r"\b(?:what|which) (?:share|fraction|proportion|part|percentage)\b|\bhow large (?:is|was) the share\b"),
    ("change", rf"\bhow much\b.*\b{MOVED}\b"
               r"|\bwhat (?:is|was) the (?:change|increase|decrease|rise|fall|drop|growth)\b"),
    ("difference", r"\bhow much (?:more|less|higher|lower|larger|smaller|greater)\b|\bdifference\b|\bexceed|\bgap\b"),
    ("total", r"\btotal\b|\bsum\b|\baltogether\b|\bcombined\b|\badd(?:ed)? up\b|\bin all\b"),
    ("mean", r"\baverage\b|\bmean\b(?! by)|\bon average\b|\btypical\b"),
    ("highest", r"\b(?:highest|largest|most|greatest|maximum|max|biggest|peak\w*|top|best|strongest)\b"),
    ("lowest", r"\b(?:lowest|smallest|least|fewest|minimum|min|weakest|worst|bottom|trough)\b"),
)  # fmt: skip
LIMIT = re.compile(
    r"(?:above|over|than|exceed\w*|least|beyond|below|under|most)\s+(?:a |an )?\D{0,12}?([-−]?\d[\d,]*(?:\.\d+)?)"
)


def words_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPERATORS = words_of(
    """highest largest most greatest maximum biggest peaked peak top best strongest lowest smallest least fewest minimum
    weakest worst grew grow grown growth rose rise risen increase increased fell fall fallen decline declined decrease
    decreased drop dropped change changed changes gain gained lost fastest sharply percent percentage cent share
    fraction proportion difference total sum altogether combined add added average mean typical above over below under
    more less fewer than exceed exceeded exceeds higher lower larger smaller greater value number amount figure chart
    table graph exhibit report according show shown shows come came made make year years level reach reached stood stand
    record recorded part account accounted many much far large big compare compared versus between and reported
    amounted first last ever one name develop developed"""
)
"""Words that say what to do with the numbers, not which ones."""
NO_SORT = words_of("is was were are did does do the of has had have will can")
SORTS = words_of("year years part name")
"""Among the operators, what a `which` may ask for."""


@dataclass(frozen=True)
class Wanted:
    """What a question asks for.

    Attributes:
        what: the operation.
        which: what an answer is to name, as `city`; "" where it is a number.
        figure: the number of the figure or table that is named, or "".
        table: whether that one is a table.
        years: those in the question, in order.
        limit: the number that above and below compare with.
        words: the stems that say what it is about.
    """

    question: str
    what: What
    which: str
    figure: str
    table: bool
    years: tuple[str, ...]
    limit: float | None
    words: tuple[str, ...]

    @property
    def names(self) -> bool:
        """Whether the answer is a name, not a number."""
        return self.what in ("growth", "decline") or (self.what in ("highest", "lowest") and bool(self.which))


def wanted(question: str) -> Wanted:
    """What a question asks for."""
    figure = FIGURE.search(question)
    plain = FIGURE.sub(" ", question)
    lower = " ".join(plain.lower().split())
    found = (name for name, pattern in PATTERNS if re.search(pattern, question.lower() if name == "summary" else lower))
    what = next(found, "value")
    asked = re.match(r"(?:in |for |at |by )?(?:which|what) (\w+)\b", lower)
    which = asked[1] if asked and asked[1] not in NO_SORT and asked[1] not in OPERATORS - SORTS else ""
    who = re.match(r"^(?:who|when|where)\b", lower)
    which = "year" if who and who[0] == "when" else which
    limit = None
    if what in ("above", "below"):
        after = LIMIT.search(lower)
        limit = float(after[1].replace(",", "").replace("−", "-")) if after else None
        what = what if limit is not None else "value"
    years = tuple(dict.fromkeys(year for year in YEAR.findall(plain) if limit is None or float(year) != limit))
    stems = [stem(word) for word in wording.words(plain)
             if word not in wording.STOP and word not in OPERATORS and not NUMBER.fullmatch(word)]  # fmt: skip
    return Wanted(
        question, what, which, figure["number"] if figure else "", bool(figure and figure["what"].lower() == "table"),
        years, limit, tuple(dict.fromkeys(stems)),
    )  # fmt: skip


def stem(word: str) -> str:
    """Week 11's stem of a word, of a plural that of its singular."""
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        word = f"{word[:-3]}y" if word.endswith("ies") else word[:-1]
    return wording.stem(word)


# ---------------------------------------------------------------- names


def plain(text: str) -> list[str]:
    """The words of a name or a question as they are compared."""
    return re.findall(r"[^\W_]+(?:[.'’-][^\W_]+)*", unicodedata.normalize("NFKC", text).casefold())


def mentions(question: str, names: Sequence[str]) -> list[str]:
    """Which of these names stand in a question, in the order in which they do; longer ones first where two overlap.

    A name of letters may be a little misspelt, one with a digit in it may not.
    """
    words = plain(question)
    free = [True] * len(words)
    found: list[tuple[int, str]] = []
    for name in sorted(dict.fromkeys(names), key=lambda name: -len(plain(name))):
        parts = plain(name)
        if not parts:
            continue
        for start in range(len(words) - len(parts) + 1):
            window = range(start, start + len(parts))
            if all(free[at] and alike(words[at], part) for at, part in zip(window, parts, strict=True)):
                found.append((start, name))
                for at in window:
                    free[at] = False
                break
    return [name for _, name in sorted(found)]


def alike(word: str, name: str) -> bool:
    """Whether a word of a question means a word of a name."""
    if word == name:
        return True
    if any(char.isdigit() for char in word + name) or min(len(word), len(name)) < 4:
        return False
    if stem(word) == stem(name):
        return True
    return difflib.SequenceMatcher(None, word, name, autojunk=False).ratio() >= NEAR and word[0] == name[0]
