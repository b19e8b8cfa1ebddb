"""Questions for an agent with a calculator and a search, made up for this course: each with the answer that is right,
and the calls that find it out, all of which have really been made.

    arithmetic   explicit sums of one to six steps in words or symbols          held out: the wordings
    paraphrase   the same with numbers in words, where a regular expression finds no digits
    story        word problems                                                  held out: whole kinds of stories
    lookup       a fact of the snapshot                                         held out: subjects, and the wordings
    lookup_sum   facts, and then a sum with them
    unknown      what no tool can tell; the right answer says so

    make("val", 60, seed=0)      the same questions every time
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle
from typing import Literal

from week15_agent import lookups, snapshot, stories, sums
from week15_agent.calculator import CALCULATOR
from week15_agent.search import Search, Ways
from week15_agent.search import tool as search_tool
from week15_agent.steps import Steps
from week15_agent.tools import Call, Tools, act, by_name
from week15_agent.wording import Part

Family = Literal["arithmetic", "paraphrase", "story", "lookup", "lookup_sum", "unknown"]
FAMILIES: tuple[Family, ...] = ("arithmetic", "paraphrase", "story", "lookup", "lookup_sum", "unknown")
MIXTURE: tuple[Family, ...] = ("arithmetic", "story", "arithmetic", "story", "lookup_sum", "arithmetic", "story",
                               "lookup", "story", "paraphrase", "unknown", "lookup_sum")  # fmt: skip
"""In what proportion the families are trained on."""
UNKNOWN = "I cannot tell."
THOUGHTS = {"arithmetic": "a sum", "paraphrase": "a sum", "story": "a sum", "lookup": "a fact",
            "lookup_sum": "a fact, then a sum"}  # fmt: skip
"""What the model is to think first: what kind of question this is. More tokens would cost more than they teach."""
ADMITS = re.compile(
    r"\b(can(no|'|’)?t (tell|know|say|answer|determine)|not (be )?(know|determine|possible to)"
    r"|(do|does)(n['’]t| not) know|unknown|no way (to|of) know|not enough information|impossible to (know|tell|say))",
    re.I,
)
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True)
class Question:
    """A question with what is right.

    Attributes:
        text: what is asked.
        answer: as the agent should give it.
        calls: the rounds of calls that find it out; the calls of a round do not wait for each other.
        family, name: of what family it is, and which wording, story kind or attribute it comes from.
        accept: other ways to put the answer.
        thought: what the agent thinks first.
    """

    text: str
    answer: str
    calls: tuple[tuple[Call, ...], ...] = ()
    family: str = ""
    name: str = ""
    accept: tuple[str, ...] = ()
    thought: str = ""

    @property
    def key(self) -> str:
        """What tells it from another."""
        return self.text

    @property
    def truth(self) -> str:
        return self.answer

    @property
    def tools(self) -> tuple[str, ...]:
        """Which tools it takes."""
        return tuple(dict.fromkeys(call.tool for calls in self.calls for call in calls))


def right(question: Question, answer: str) -> bool:
    """Whether an answer is right: its last number is the number; it has the words; or it says that nobody can tell."""
    if question.answer == UNKNOWN:
        return bool(ADMITS.search(answer))
    numbers = NUMBER.findall(answer)
    for wanted in (question.answer, *question.accept):
        if re.fullmatch(r"-?[\d,]+(\.\d+)?", wanted):
            if numbers and float(numbers[-1].replace(",", "")) == float(wanted.replace(",", "")):
                return True
        elif wanted.casefold() in answer.casefold():
            return True
    return False


# ---------------------------------------------------------------- tools


def computed(steps: Steps) -> Call:
    return Call("calculator", {"expression": steps.text})


@cache
def agent_tools(way: Ways = "hybrid") -> Tools:
    """The tools that questions are made with: the calculator, and the search's best passage."""
    return by_name(CALCULATOR, search_tool(Search(snapshot.documents(), way), k=1))


# ---------------------------------------------------------------- families


def of_sum(part: Part, rng: random.Random, family: Family = "arithmetic") -> Question:
    made = sums.draw(part, rng, words=family == "paraphrase")
    return Question(made.text, str(made.steps.values[-1]), ((computed(made.steps),),), family, made.shape)


def of_story(part: Part, rng: random.Random) -> Question:
    made = stories.draw(part, rng)
    return Question(made.text, str(made.steps.values[-1]), ((computed(made.steps),),), "story", made.kind)


def of_lookup(draw: Callable[..., lookups.Lookup], family: Family, part: Part, rng: random.Random) -> Question:
    made = draw(part, rng)
    searches = tuple(Call("search", {"query": query}) for query in made.queries)
    answer = str(made.steps.values[-1]) if made.steps else made.answer or UNKNOWN
    calls = ((searches,) if searches else ()) + (((computed(made.steps),),) if made.steps else ())
    return Question(made.text, answer, calls, family, made.name, made.accept)


def draw(family: Family, part: Part, rng: random.Random) -> Question:
    """A question of a family, not yet proved."""
    match family:
        case "arithmetic" | "paraphrase":
            found = of_sum(part, rng, family)
        case "story":
            found = of_story(part, rng)
        case "lookup":
            found = of_lookup(lookups.draw, family, part, rng)
        case "lookup_sum":
            found = of_lookup(lookups.draw_sum, family, part, rng)
        case "unknown":
            found = of_lookup(lookups.draw_unknown, family, part, rng)
    if family == "lookup_sum" and len(found.calls[0]) > 1:
        return replace(found, thought="two facts, then a sum")
    thought = THOUGHTS.get(family) or ("a fact" if found.calls else "nobody told me")
    return replace(found, thought=thought)


def proved(question: Question, tools: Tools) -> bool:
    """Whether the calls, really made, find the answer out: the passages hold the facts, the calculator the result."""
    seen = ""
    for calls in question.calls:
        observed = [act(call, tools) for call in calls]
        if not all(one.ok for one in observed):
            return False
        for call in calls:
            if call.tool == "calculator" and seen:  # what it reckons with must have been found
                facts = [n for n in re.findall(r"\d+", call.arguments["expression"]) if len(n) > 1]
                known = f"{seen} {question.text}".replace(",", "")
                if not all(re.search(rf"(?<!\d){n}(?!\d)", known) for n in facts):
                    return False
        seen = " ".join(one.text for one in observed)
    if question.answer == UNKNOWN or not question.calls:
        return True
    if question.calls[-1][0].tool == "calculator":
        return seen == question.answer
    return any(wanted in seen for wanted in (question.answer, *question.accept))


def make(
    part: Part, count: int, seed: int = 0, families: Sequence[Family] = MIXTURE, tools: Tools | None = None
) -> tuple[Question, ...]:
    """So many questions, all different, of the families in turn; more of them begin with the fewer."""
    tools, rng, found = tools or agent_tools(), random.Random(f"{part} {seed}"), {}
    for family in cycle(families):
        if len(found) == count:
            return tuple(found.values())
        for _ in range(100):  # there are but a few things that nobody can know
            one = draw(family, part, rng)
            if one.text not in found and proved(one, tools):
                found[one.text] = one
                break
    raise AssertionError
