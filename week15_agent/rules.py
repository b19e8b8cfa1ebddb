"""The baseline without any model: patterns find the sum, the calculator works it out, BM25 looks facts up.

    Rules(tools).answer("How much is 3 times the number of airports in Chad?")    ->   Answered("…", calls)

It was written by one who had read the wordings of train and val, and not those of test: phrases as a small grammar,
chains and stories by the words that stand for an operation, facts by the words that stand for an attribute (rules.txt).
What it does not understand it says it cannot tell. An agent that is no better than this has learned templates.

Compare D. Bobrow, "Natural Language Input for a Computer Problem Solving System", 1964 (STUDENT), which did the like.
"""

import re
from dataclasses import dataclass
from functools import cache

from week15_agent import snapshot
from week15_agent.rule_sums import in_digits, said, sum_of
from week15_agent.tools import Call, Tools, act

UNKNOWN = "I cannot tell."

NOUN = r"(?:the )?(?:(?:value|number|length|share|size|amount) of (?:the )?)?"


@cache
def subjects() -> re.Pattern[str]:
    """Any name that the snapshot has facts about, the longer ones first."""
    names = sorted({fact.subject for fact in snapshot.facts()}, key=len, reverse=True)
    return re.compile(rf"(?<![\w-])(?:the )?({'|'.join(map(re.escape, names))})(?![\w-])")


@cache
def by_document() -> dict[tuple[str, str], snapshot.Fact]:
    """{(passage, attribute): fact}: the rules need not read, they are given the table that the passages are made of."""
    return {(fact.document, fact.attribute): fact for fact in snapshot.facts()}


@dataclass(frozen=True)
class Answered:
    """What the rules say, and the calls that they made for it."""

    answer: str
    calls: tuple[Call, ...] = ()


class Rules:
    """Answers by rules. `tools`: the agent's own, by name: `calculator` and `search`."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.passages = {one.text: one.id for one in snapshot.documents()}

    def answer(self, question: str) -> Answered:
        """The answer, with the calls that it took; `I cannot tell.` where no rule fits."""
        calls: list[Call] = []
        text = in_digits(re.sub(r"(?<=\d),(?=\d{3})", "", question)).strip()
        facts: list[snapshot.Fact] = []
        while match := subjects().search(text):
            found = self.look_up(text, match, calls)
            if found is None:
                return Answered(UNKNOWN, tuple(calls))
            fact, text = found
            facts.append(fact)
            if not text:  # it asks for the fact, and for nothing else
                return Answered(fact.text, tuple(calls))
        made = sum_of(text.lower())
        if made is None:
            return Answered(facts[0].text if len(facts) == 1 else UNKNOWN, tuple(calls))
        call = Call("calculator", {"expression": made})
        seen = act(call, self.tools)
        return Answered(seen.text if seen.ok else UNKNOWN, (*calls, call))

    def look_up(self, text: str, subject: re.Match[str], calls: list[Call]) -> tuple[snapshot.Fact, str] | None:
        """The fact that a question wants of a subject, and the question with the fact's number in its place: `what is 3
        times the exports of Chad` as `what is 3 times 7`. "" in place of it where nothing is to be reckoned. None: it
        wants what nobody knows."""
        before, after = text[: subject.start()], text[subject.end() :]
        alone = not subjects().search(after)
        attribute = attribute_of(before + after if alone else before)
        year = re.match(r" in (\d{4})\b", after) or re.match(r"In (\d{4}): ", text)
        year = year or (re.search(r" in (\d{4})\b", after) if alone else None)
        if not attribute:
            return None
        call = Call("search", {"query": f"{attribute} of {subject[1]}" + (f" in {year[1]}" if year else "")})
        calls.append(call)
        seen = act(call, self.tools)
        document = next((name for passage, name in self.passages.items() if seen.text.startswith(passage)), "")
        fact = by_document().get((document, attribute))
        if fact is None or fact.subject != subject[1]:
            return None
        noun = re.search(rf"{NOUN}{re.escape(attribute)} (?:of|in) $", before, re.I)
        if isinstance(fact.value, str) or fact.unit == "year" or not noun:
            return fact, ""
        before = re.sub(r"^In \d{4}: ", "", before[: noun.start()])
        return fact, f"{before}{fact.value}{after.replace(year[0], '', 1) if year else after}"


def attribute_of(text: str) -> str:
    """Which attribute the words stand for; "" where none does."""
    return next((name for pattern, name in said("fact") if re.search(pattern, text.lower())), "")
