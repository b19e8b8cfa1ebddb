"""Asks the test questions of a trained agent, of the model as it was, and of rules: `./course eval 15`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week15_agent/eval.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shared import cli, held_out, race, runs
from shared.config import Count, EvalConfig, Natural
from shared.conversation import write
from shared.device import autocast
from shared.results import markdown, publish
from shared.splits import Part
from shared.terminal import command
from week15_agent import data
from week15_agent.decode import Episode, ask
from week15_agent.protocol import begin
from week15_agent.questions import Question, right
from week15_agent.train import ALWAYS, FORM, score_baselines
from week15_agent.trained import Trained, load

Who = Literal["rules", "direct", "thinking", "untrained", "untrained_free", "trained", "trained_free"]
NAMES: dict[Who, str] = {
    "rules": "rules, no model",
    "direct": "the model as it was, answers at once",
    "thinking": "the model as it was, thinks first",
    "untrained_free": "the model as it was, with tools",
    "untrained": "the same, constrained",
    "trained_free": "trained, with tools",
    "trained": "this network",
}
DIRECT = "Answer the question with the answer alone, in a few words or one number."
THINKING = "Think step by step, then end with a line that says Answer: and the answer alone."


@dataclass
class Config(EvalConfig):
    """The flags of eval. --data takes other questions for the same agent."""

    who: tuple[Who, ...] = tuple(NAMES)
    """Who is asked. trained is this network, its turns held to the protocol; trained_free the same without that."""
    each: Natural = 0
    """So many questions of each family, the first ones; 0: all."""
    tokens: Count = 128
    """How many tokens the untrained model may think for."""
    part: Literal["test", "val"] = "test"
    """val is for choosing; test is read once, at the end."""
    show: Natural = 3
    """How many of the wrong answers of this network to print."""
    publish: bool = False
    """Put the tables into the week's RESULTS.md (for whoever looks after the lesson)."""


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


def main(cfg: Config) -> dict[str, Any]:
    """Asks the test questions: who is right, family by family, and what it took.

    Returns what result.json holds now; the run folder is under "run", how many were asked under "scored".
    """
    net = load(cfg.run, finished=True, device=cfg.device)
    name = cfg.data or net.config.data
    sets = data.load(name, net.config.examples, net.tools)
    own = sets.first(net.config.examples, net.config.seed, net.config.most_val) if name == net.config.data else sets
    chosen = held_out.choose(net.run, name, own, "questions")
    part = chosen.part if cfg.part == "test" else sets.val
    questions = some_of(part, cfg.each).items
    done = {who: asked(net, who, questions, cfg.tokens) for who in NAMES if who in cfg.who or who == "trained"}
    success = {who: shares(questions, episodes) for who, episodes in done.items()}
    scores = {f"{cfg.part}_success": success["trained"]["all"]}
    scores |= {f"{cfg.part}_success_{name}": value for name, value in success["trained"].items() if name != "all"}
    theirs = {ALWAYS: score_baselines(sets.train.items, questions)["rows"][0]["val_success"]}
    out = Path(cfg.out) if cfg.out else net.run.folder
    own_test = chosen.own and not cfg.each and cfg.part == "test"
    result = net.run.scored(scores, theirs, out if own_test else None)
    told = chosen.name if cfg.part == "test" else f"{name} (val)"
    print(f"{told}: {len(questions):,} questions. Run: {net.run.folder}")
    runs.tell(chosen.notes)
    text = report(questions, done, f"`{command()}`")
    runs.print_table(result, f"{cfg.part}_success")
    print(f"\n{text}")
    wrong = [(one, e) for one, e in zip(questions, done["trained"], strict=True) if not right(one, e.answer)]
    for one, episode in wrong[: cfg.show]:
        said = [message["content"] for message in episode.chat[2:]]
        told = "\n  ".join("\n".join(said).splitlines())
        print(f"\n> {one.text}\n  {told}\n  right: {one.answer}")
    if cfg.publish:
        publish(15, f"eval {cfg.part}", f"{text}\n\n{race.processor()}")
    result["asked"] = {NAMES[who]: found for who, found in success.items()}
    return result | {"run": str(net.run.folder), "scored": len(questions)}


if __name__ == "__main__":
    cli.launch(main, Config)
