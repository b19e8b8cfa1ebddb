"""Two texts to post of a week, of at most 280 and 1,300 characters, whatever the learner's words are."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from shared.achieved import higher_is_better
from shared.terminal import number
from shared.words import parts

SHORT, LONG = 280, 1300
ACRONYMS = {word: word.upper() for word in ("f1", "mrr", "bleu", "auroc")}
SINGLE = ((0x0, 0x10FF), (0x2000, 0x200D), (0x2010, 0x201F), (0x2032, 0x2037))
"""The characters that count once where posts are counted; all others (most scripts of Asia, emoji) count twice."""


def weight(text: str) -> int:
    """How many characters a text counts as: never fewer than it has."""
    return sum(1 if any(low <= ord(char) <= high for low, high in SINGLE) else 2 for char in text)


def short(record: Mapping[str, Any], text: str) -> str:
    """At most 280 characters: the result beside its baseline, and what made it click.

    Args:
        record: of the week, as shared/achieved.py has it.
        text: the learner's words.
    """
    struggled, clicked = parts(text)
    head = cut(f"Week {record['week']} of 16, {record['title']}: {result(record)}.", SHORT)
    tail = f" Again: {record['command']}"
    tail = tail if weight(head + tail) <= SHORT else ""
    room = SHORT - weight(head + tail)
    own = cut(plain(clicked or struggled), room - 3) if room > 40 else ""
    return f"{head}{f' “{own}”' if own else ''}{tail}"


def long(record: Mapping[str, Any], text: str) -> str:
    """At most 1,300 characters: the same with all baselines, the exercises, and both of the learner's texts."""
    struggled, clicked = parts(text)
    metric = record["columns"][0] if record["columns"] else ""
    others = [f"{row['name']} {number(metric, row[metric])}" for row in record["baselines"] if metric in row]
    facts = [
        f"{named(metric)} {number(metric, record['metrics'][metric])}{circumstance(record)}" if metric else "",
        f"Beside it: {', '.join(others)}" if others else "",
        solved(record),
    ]
    head = cut(f"Week {record['week']} of 16: {record['title']}. {ended(record['lesson'])}", 300)
    middle = cut(". ".join(filter(None, facts)) + "." * any(facts), 300)
    tail = cut(f"Train it again: {record['command']}", 200)
    fixed = [head, middle, tail]
    room = LONG - sum(weight(part) + 2 for part in fixed)
    own = []
    for title, words, share in (("What I struggled with", struggled, 0.5), ("What made it click", clicked, 1.0)):
        head_of = f"{title}: " if re.search(r"(?m)^#+ ", text) else ""  # words without headings may tell of anything
        said = cut(f"{head_of}{plain(words)}", int(share * room) - 2) if words else ""
        own += [said] * bool(said)
        room -= weight(said) + 2 if said else 0
    return "\n\n".join(part for part in (head, middle[:1].upper() + middle[1:], *own, tail) if part)


def ended(sentence: str) -> str:
    """A sentence with its full stop, unless it asks or shouts."""
    return sentence if sentence.endswith(("?", "!", ".")) else f"{sentence}."


def result(record: Mapping[str, Any]) -> str:
    """The number that tells most, with the strongest baseline: `test accuracy 97.90% (logistic regression 91.50%)`."""
    if not record["columns"]:
        return "done"
    metric = record["columns"][0]
    text = f"{named(metric)} {number(metric, record['metrics'][metric])}{circumstance(record)}"
    best = strongest(record, metric)
    return f"{text} ({best['name']} {number(metric, best[metric])})" if best else text


def circumstance(record: Mapping[str, Any]) -> str:
    """What nobody may take the number without: ` on synthetic data`, ` on my own data`, ` after some seconds`."""
    told = [" on synthetic data"] * record["synthetic"] + [" on my own data"] * record["own_data"]
    return "".join(told + [" after some seconds"] * (record["preset"] == "smoke"))


def strongest(record: Mapping[str, Any], metric: str) -> Mapping[str, Any] | None:
    """The baseline that is best by a number."""
    rows = [row for row in record["baselines"] if metric in row]
    sign = 1 if higher_is_better(record["week"], metric) else -1
    return max(rows, key=lambda row: sign * row[metric], default=None)


def solved(record: Mapping[str, Any]) -> str:
    """`5 of 6 exercises solved, 2 with hints; 3 of 7 planted bugs found`; nothing where nothing was tried."""
    pieces, bugs = record["exercises"], record["bugs"]
    told = []
    if pieces["titles"]:
        hints = f", {len(pieces['hinted'])} with hints" if pieces["hinted"] else ", without hints"
        told.append(f"{len(pieces['titles'])} of {pieces['total']} exercises solved{hints}")
    if bugs["titles"]:
        told.append(f"{len(bugs['titles'])} of {bugs['total']} planted bugs found")
    return "; ".join(told)


def named(metric: str) -> str:
    """A metric's name as it is said: `test F1`."""
    return " ".join(ACRONYMS.get(word, word) for word in metric.split("_"))


def plain(text: str) -> str:
    """Words on one line, without Markdown's marks."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return " ".join(re.sub(r"(?m)^\s*(#+|[-*>]|\d+\.)\s+|[*`]|__", "", text).split())


def cut(text: str, most: int) -> str:
    """A text of at most so much weight: whole, or up to the last word that fits, and an ellipsis."""
    text = unicodedata.normalize("NFC", text)
    if weight(text) <= most:
        return text
    kept, left = [], most - weight("…")
    for char in text:
        left -= weight(char)
        if left < 0:
            break
        kept.append(char)
    shortened = "".join(kept)
    if " " in shortened[len(shortened) // 2 :] and not text[len(shortened) : len(shortened) + 1].isspace():
        shortened = shortened.rpartition(" ")[0]
    # What joins characters into one (an accent, a joiner of emoji) is nothing without what comes after it.
    while shortened and (shortened[-1].isspace() or unicodedata.category(shortened[-1]) in ("Cf", "Mn", "Me")):
        shortened = shortened[:-1]
    return f"{shortened.rstrip(' ,;:.')}…" if most >= weight("…") and shortened else ""
