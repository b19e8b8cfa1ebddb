"""Words and sentences: what of a text carries its meaning, and where its sentences begin and end."""

import re
import unicodedata
from functools import lru_cache


def _words_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


STOP = _words_of(
    """a about above after again all also although am an and any anyone are as at be because been before being below
    between both but by can could did do does doing done during each either else ever every for from further had has
    have having he her here hers him his how however i if in instead into is it its itself just let like many may me
    might more most much must my myself need of off on once one only or other others our ours out over own per please
    quite rather same shall she should since so some somebody someone something such than that the their theirs them
    then there therefore these they this those though through thus to too towards under until up upon us use used using
    very was we well were what whatever when where whether which while who whom whose why will with within without
    would yes yet you your yours tell say says give gives get gets happen happens mean means called know"""
)
"""Words that a question or a sentence can do without."""
NEGATIONS = _words_of("no not never none nobody nothing neither nor cannot without except unless")
GLUE = _words_of("according passage passages document text above answer based mentioned mentions states stated")
"""With these an answer speaks of the passages themselves."""
ABBREVIATIONS = _words_of("e.g i.e etc cf vs mr mrs ms dr st no nos fig figs sec ch p pp vol ed eds approx al resp")
WORD = re.compile(r"[^\W_](?:[\w+./:@'-]*[\w+])?")
ENDINGS = (
    ("ies", "y"), ("sses", "ss"), ("ation", "at"), ("ating", "at"), ("ated", "at"), ("ates", "at"), ("ate", "at"),
    ("ing", ""), ("ied", "y"), ("ers", ""), ("er", ""), ("ed", ""), ("es", ""), ("ly", ""), ("ment", ""), ("ors", ""),
    ("or", ""), ("s", ""),
)  # fmt: skip
END = re.compile(r"[.!?](?=[\"')\]]*(?:\s|$))[\"')\]]*(?:\s*\[\d[\d, ]*\])*|\n+")


def words(text: str) -> list[str]:
    """The words of a text, in lower case; what dots, dashes or slashes join (`apt-get`, `debian/rules`) is one."""
    text = unicodedata.normalize("NFKC", text).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").replace("\xad", "")
    return [re.sub(r"'s?$", "", word.lower()) for word in WORD.findall(text)]


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """A word without its commonest endings: uploads, uploaded, uploading → upload. Rough, but the same everywhere."""
    if len(word) < 4 or not word.isalpha():
        return word
    for ending, instead in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) + len(instead) >= 3 and not word.endswith("ss"):
            word = word[: len(word) - len(ending)] + instead
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]  # submitted → submit
    return word[:-1] if len(word) > 4 and word[-1] == "e" else word


@lru_cache(maxsize=16_384)
def content(text: str) -> tuple[str, ...]:
    """The stems of the words that carry a text's meaning, each once, in order; numbers and negations are among them."""
    return tuple(dict.fromkeys(stem(word) for word in words(text) if word not in STOP))


def exact(text: str) -> set[str]:
    """Words that nobody can paraphrase: with a digit in them, or made like a file's name, an option or an address."""
    return {word for word in words(text) if any(c.isdigit() for c in word) or re.search(r"\w[./:@_+]\w", word)}


def negated(text: str) -> bool:
    """Whether a text denies something."""
    return any(word in NEGATIONS or word.endswith("n't") for word in words(text))


def sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence; a line break ends one, too: lists, tables and code have one item a line."""
    found, start = [], 0
    for match in END.finditer(text):
        end = match.start() if match[0][0] == "\n" else match.end()
        if match[0][0] == "." and not _ends(text, match):
            continue
        found.append((start, end))
        start = match.end()
    found.append((start, len(text)))
    return [trimmed for start, end in found if (trimmed := _trim(text, start, end))]


def _ends(text: str, match: re.Match[str]) -> bool:
    """Whether this full stop ends a sentence: not one of `e.g.` or `J. Smith`, nor one before a small letter."""
    before = re.search(r"[\w.]*$", text[: match.start()])[0].lower()
    if before in ABBREVIATIONS or (len(before) == 1 and before.isalpha()) or (before.isdigit() and len(before) < 3):
        return text[match.end() :].strip() == "" or text[match.end() :].lstrip(" ")[:1] == "\n"
    following = text[match.end() :].lstrip()[:1]
    return not following.islower()


def _trim(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The same without space at its ends; None where nothing is left but signs."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return (start, end) if any(c.isalnum() for c in text[start:end]) else None
