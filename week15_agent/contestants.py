"""Who is asked beside the trained agent, what each does with a question, and the tables of what came of it."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

from shared.conversation import write
from shared.device import autocast
from shared.results import markdown
from shared.splits import Part
from week15_agent.decode import Episode, ask
from week15_agent.protocol import begin
from week15_agent.questions import Question, right
from week15_agent.train import FORM, RULES
from week15_agent.trained import Trained

Who = Literal["rules", "direct", "thinking", "untrained", "untrained_free", "trained", "trained_free"]
NAMES: dict[Who, str] = {
    "rules": RULES,
    "direct": "the model as it was, answers at once",
    "thinking": "the model as it was, thinks first",
    "untrained_free": "the model as it was, with tools",
    "untrained": "the same, constrained",
    "trained_free": "trained, with tools",
    "trained": "this network",
}
DIRECT = "Answer the question with the answer alone, in a few words or one number."
THINKING = "Think step by step, then end with a line that says Answer: and the answer alone."


def some_of(part: Part, each: int) -> Part:
    """The first `each` questions of each family."""
    seen: dict[str, int] = {}
    rows = []
    for row, item in enumerate(part.items):
        seen[item.family] = seen.get(item.family, 0) + 1
        if not each or seen[item.family] <= each:
            rows.append(row)
    return part.take(rows)


def plainly(model: Any, net: Trained, system: str, questions: Sequence[Question], tokens: int) -> list[Episode]:
    """What the model answers without tools: all of its text, or what stands behind its last `Answer:`."""
    began, episodes = time.perf_counter(), []
    chats = [[{"role": "system", "content": system}, {"role": "user", "content": one.text}] for one in questions]
    for chat, answer in zip(chats, write(model, net.tokenizer, chats, tokens), strict=True):
        text = answer.text.rpartition("Answer:")[2].strip()
        said = {"role": "assistant", "content": answer.text}
        episodes.append(Episode([*chat, said], text, turns=1, tokens=answer.tokens))
    for one in episodes:
        one.seconds = (time.perf_counter() - began) / len(episodes)
    return episodes


def by_rules(net: Trained, questions: Sequence[Question]) -> list[Episode]:
    """What rules.py answers: no model, but the same tools."""
    from week15_agent.rules import Rules

    rules, found = Rules(net.tools), []
    for one in questions:
        began = time.perf_counter()
        answered = rules.answer(one.text)
        seconds = time.perf_counter() - began
        found.append(Episode([], answered.answer, len(answered.calls), turns=1, seconds=seconds))
    return found


def asked(net: Trained, who: Who, questions: Sequence[Question], tokens: int) -> list[Episode]:
    """What one of them does with the questions."""
    trained = who.startswith("trained")

    def with_tools(model: Any) -> list[Episode]:
        chats = [begin(FORM, net.tools, one.text, brief=trained) for one in questions]
        return ask(model, net.tokenizer, chats, FORM, net.tools, None if who.endswith("free") else net.constraint)

    ways: dict[str, Callable[[Any], list[Episode]]] = {
        "direct": lambda model: plainly(model, net, DIRECT, questions, 24),
        "thinking": lambda model: plainly(model, net, THINKING, questions, tokens),
    }
    if who == "rules":
        return by_rules(net, questions)
    with autocast(net.device):
        if trained:
            return with_tools(net.model)
        with net.as_it_was() as model:
            return ways.get(who, with_tools)(model)


def shares(questions: Sequence[Question], episodes: Sequence[Episode]) -> dict[str, float]:
    """{family: the share of right answers, …, "all": the mean over all questions}."""
    found: dict[str, list[bool]] = {}
    for one, episode in zip(questions, episodes, strict=True):
        found.setdefault(one.family or "own", []).append(right(one, episode.answer))
    return {name: sum(good) / len(good) for name, good in found.items()} | {
        "all": sum(map(sum, found.values())) / len(questions)
    }


def report(questions: Sequence[Question], done: dict[Who, list[Episode]], intro: str) -> str:
    """Two tables: who was right, family by family; and what it took."""
    success = {who: shares(questions, episodes) for who, episodes in done.items()}
    families = list(next(iter(success.values())))
    first = [[NAMES[who], *(f"{found[name]:.0%}" for name in families)] for who, found in success.items()]
    second = []
    for who, episodes in done.items():
        many, turns = len(episodes), sum(one.turns for one in episodes)
        calls, refused = sum(one.calls for one in episodes), sum(one.invalid for one in episodes)
        unparsable = sum(one.unparsable for one in episodes)
        tokens, seconds = sum(one.tokens for one in episodes), sum(one.seconds for one in episodes)
        second.append([NAMES[who], f"{turns / many:.2f}", f"{calls / many:.2f}", refused, f"{unparsable} of {turns}",
                       f"{tokens / many:.0f}", f"{seconds / many:.2f}"])  # fmt: skip
    columns = ["", "turns", "calls", "refused calls", "turns that do not parse", "tokens", "seconds"]
    counts = ", ".join(f"{name} {sum((one.family or 'own') == name for one in questions)}" for name in families[:-1])
    return (f"*{intro}: {len(questions)} questions ({counts}); right answers*\n\n{markdown(['', *families], first)}\n\n"
            f"*The mean of a question:*\n\n{markdown(columns, second)}")  # fmt: skip
