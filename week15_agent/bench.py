"""How much does all this cost beside the model? `./course run 15 bench [loop|search|find|constrain]`

    loop         a question with a scripted model, which takes no time: the plain loop, our graph (without and with
                 its memory in SQLite) and LangChain's create_agent; milliseconds a node: a turn, or its tools
    search       our BM25 beside rank_bm25, over the snapshot: a question, building it, and the scores
    find         for how many questions the right passage comes first, by BM25 alone and by each way of the search; made
                 of the facts' own words, and in other words
    constrain    a turn of SmolLM2 with and without constrained decoding: milliseconds a token

How contestants take turns and what counts: shared/race.py. A model's turn takes from 200 ms to seconds.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week15_agent/bench.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tyro

from shared import cli, race
from shared.config import Count
from shared.device import Device, choose
from shared.results import markdown
from shared.runs import RUNS

PARTS = ("loop", "search", "find", "constrain")
CALLS = ("2 + 3", "5 * 7", "35 - 1", "34 / 2", "17 + 8", "25 * 4", "100 - 1")
"""What the scripted model has the calculator work out, one after the other."""
IN_OTHER_WORDS = {  # {a question that has few of its passage's words, or none: the passage}
    "How many people live in Kenya?": "people-of-kenya",
    "How big is Norway?": "geography-of-norway",
    "How long do people in Japan live on average?": "people-of-japan",
    "Who leads the government of Sweden?": "government-of-sweden",
    "How much does Brazil sell abroad?": "trade-of-brazil-in-2024",
    "How tall is the highest mountain of Nepal?": "geography-of-nepal",
    "How much of Italy is online?": "infrastructure-of-italy",
    "What share of workers in Spain has no job?": "economy-of-spain-in-2024",
    "How fast do prices rise in Turkey?": "economy-of-turkey-in-2024",
    "Since when is Macron president of France?": "government-of-france",
    "At what temperature does gold melt?": "element-gold",
    "Who was president of Mexico": "government-of-mexico",
    "When did Ghana become independent?": "capital-of-ghana",
    "What was the CO2 in the air in 1990?": "climate-of-earth-in-1990",
    "How warm was the world in 2016?": "climate-of-earth-in-2016",
    "How many babies does a woman in Niger have?": "people-of-niger",
    "How heavy is an atom of lead?": "element-lead",
    "When does support for Debian 12 end?": "release-of-debian-12",
    "What does Vietnam buy from other countries in 2023": "trade-of-vietnam-in-2023",
    "How rich is a person in Qatar in 2022": "economy-of-qatar-in-2022",
    "length of the rail network of India": "infrastructure-of-india",
    "How many people lived in Egypt in 1957?": "people-of-egypt-in-1957",
    "Which city is the capital of Australia?": "capital-of-australia",
    "What is the size of the economy of Canada": "economy-of-canada-in-2024",
}
GOAL = 1.2
"""Milliseconds a node that the loop may cost."""


@dataclass
class Config(race.BenchConfig):
    """The flags of bench."""

    parts: tyro.conf.Positional[tuple[Literal["loop", "search", "find", "constrain"], ...]] = PARTS
    """Which parts."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why; for `constrain`."""
    questions: Count = 10
    """Questions a round that the agents are asked."""
    lookups: Count = 300
    """Questions a round that BM25 is asked."""
    tokens: Count = 24
    """Tokens that SmolLM2 writes a round."""
    out: str = str(RUNS / "week15" / "bench")
    """The folder for the numbers."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"rounds": 1, "questions": 1, "lookups": 20, "tokens": 2, "threads": (1,)},
    "quick": {},
    "full": {"rounds": 15, "questions": 30, "tokens": 64},
}


def script(chat: Sequence[Any]) -> str:
    """What the scripted model says: a call for each of CALLS, then the answer. It only counts its own turns."""
    done = sum(message["role"] == "assistant" for message in chat[last_question(chat) :])
    return f"Thought: on.\nAction: calculator[{CALLS[done]}]" if done < len(CALLS) else "Answer: 99"


def last_question(chat: Sequence[Any]) -> int:
    """Where the last thing that the user said stands: what is before belongs to questions before."""
    return max(place for place, message in enumerate(chat) if message["role"] == "user")


NODES = 2 * len(CALLS) + 1
"""Turns of the model, and of the tools."""


def bench_loop(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Milliseconds a node, with a model that takes none."""
    from week15_agent import created, graph, loop, memory
    from week15_agent.calculator import CALCULATOR
    from week15_agent.minds import Scripted
    from week15_agent.tools import by_name

    tools, number = by_name(CALCULATOR), iter(range(1_000_000))

    def asked(ask: Callable[[str], Iterator[Any]]) -> Callable[[], None]:
        """A round: so many questions, each in a thread of its own, to the answer."""

        def round_of() -> None:
            for _ in range(cfg.questions):
                *_, last = ask(str(next(number)))
                assert (last.kind, last.text) == ("answer", "99"), last

        return round_of

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        saver = stack.enter_context(memory.saved(Path(folder) / "memory.sqlite"))
        limits = loop.Limits(steps=2 * len(CALLS))
        mind = Scripted(script)
        ours = graph.Agent(mind, tools, limits=limits)
        kept = graph.Agent(mind, tools, saver, limits)
        theirs = created.Agent(mind, tools, limits=limits)
        contestants = {
            "plain loop": asked(lambda _: loop.run(mind, tools, "what?", limits=limits)),
            "our graph": asked(lambda thread: ours.ask("what?", thread)),
            "our graph, with memory": asked(lambda thread: kept.ask("what?", thread)),
            "create_agent": asked(lambda thread: theirs.ask("what?", thread)),
        }
        laps = race.take_turns(contestants, cfg.rounds)
    nodes = cfg.questions * NODES
    table, numbers = race.table(laps, dict.fromkeys(laps, nodes), "nodes", "create_agent", threads)
    each = {name: 1000 * found.best / nodes for name, found in laps.items()}
    for name, milliseconds in each.items():
        numbers[name]["ms"] = milliseconds
    said = ", ".join(f"{name} {milliseconds:.2f} ms" for name, milliseconds in each.items())
    about = f"{cfg.questions} questions of {NODES} nodes, a scripted model. A node: {said} (goal: {GOAL} ms)."
    return f"{about}\n\n{table}", numbers


def bench_search(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Our BM25 and rank_bm25: building, asking, and the largest difference between their scores."""
    from rank_bm25 import BM25Okapi

    from week15_agent import snapshot
    from week15_agent.bm25 import BM25, words

    texts = [words(f"{one.title}. {one.text}") for one in snapshot.documents()]
    facts = snapshot.facts()
    rows = np.random.default_rng(cfg.seed).permutation(len(facts))[: cfg.lookups]
    asked = [words(f"{facts[row].attribute} of {facts[row].subject} in {facts[row].date}") for row in rows]
    ours, theirs = BM25(texts), BM25Okapi(texts)
    apart = max(float(np.abs(ours.scores(one) - theirs.get_scores(one)).max()) for one in asked)
    laps = race.take_turns(
        {
            "ours": lambda: [ours.scores(one) for one in asked],
            "rank_bm25": lambda: [theirs.get_scores(one) for one in asked],
        },
        cfg.rounds,
    )
    built = race.take_turns({"ours": lambda: BM25(texts), "rank_bm25": lambda: BM25Okapi(texts)}, cfg.rounds)
    table, numbers = race.table(laps, dict.fromkeys(laps, len(asked)), "questions", "rank_bm25", threads)
    numbers["difference"] = {"largest": apart}
    building = [[name, f"{1000 * found.best:.0f}"] for name, found in built.items()]
    about = f"{len(texts):,} passages, {len(asked)} questions. The scores differ by at most {apart:.1e}."
    return f"{about}\n\n{table}\n\n{markdown(['building', 'ms'], building)}", numbers


def bench_find(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """For what share of questions the right passage comes first, and is among the first three."""
    from week15_agent import snapshot
    from week15_agent.bm25 import words
    from week15_agent.search import Search

    facts = [fact for fact in snapshot.facts() if not fact.date.startswith(snapshot.DATE[:4])]
    rows = np.random.default_rng(cfg.seed).permutation(len(facts))[: cfg.lookups]
    some = [facts[row] for row in rows]
    plain = {f"{one.attribute} of {one.subject} in {one.date[:4]}": one.document for one in some}
    search = Search(snapshot.documents()).ready()

    def by_bm25(question: str) -> list[str]:
        order = np.argsort(-search.bm25.scores(words(question)), kind="stable")[:3]
        return [search.documents[row].id for row in order]

    def by(way: Any) -> Callable[[str], list[str]]:
        one = Search(snapshot.documents(), way).ready()
        return lambda question: [found.id for found in one.find(question)]

    ways = {"BM25 alone": by_bm25, "bm25": by("bm25"), "dense": by("dense"), "hybrid": by("hybrid")}
    table, numbers = [], {}
    for name, find in ways.items():
        shares = []
        for asked in (plain, IN_OTHER_WORDS):
            found = [(find(question), right) for question, right in asked.items()]
            shares += [sum(ids[:1] == [right] for ids, right in found) / len(found)]
            shares += [sum(right in ids for ids, right in found) / len(found)]
        table.append([name, *(f"{share:.1%}" for share in shares)])
        numbers[name] = dict(zip(("first", "in three", "other words: first", "in three of these"), shares, strict=True))
    columns = ["", f"first, of {len(plain)}", "among three"]
    columns += [f"in other words: first, of {len(IN_OTHER_WORDS)}", "among three"]
    return markdown(columns, table), numbers


def bench_constrain(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Milliseconds a token that SmolLM2 writes, free and within the grammar of a turn. The states that are met have
    been worked out in the first round, which does not count."""
    from shared.chat_models import load
    from shared.conversation import end_of_turn
    from week15_agent.constrain import Constraint
    from week15_agent.writer import Writer

    tokenizer, model = load("smollm2", device=device.name)
    end = end_of_turn(tokenizer)
    constraint = Constraint(tokenizer, end, ("calculator", "search"))
    ids = tokenizer("Question: what is 12 times 7?\n")["input_ids"]

    def write(within: Any, most: int, until: int) -> list[int]:
        writer = Writer(model, until)
        return writer.turn(writer.read([ids]), most, within)[0]

    count = len(write(constraint, cfg.tokens, end))  # the grammar may end a turn sooner; then the free one is as long
    laps = race.take_turns(
        {"free": lambda: write(None, count, -1), "constrained": lambda: write(constraint, cfg.tokens, end)}, cfg.rounds
    )
    table, numbers = race.table(laps, dict.fromkeys(laps, count), "tokens", "free", threads)
    each = {name: 1000 * found.best / count for name, found in laps.items()}
    more = each["constrained"] - each["free"]
    numbers["cost"] = {"ms": more, "share": more / each["free"]}
    about = (
        f"SmolLM2-135M, a turn of {count} tokens, {device}. A token: free {each['free']:.1f} ms, constrained "
        f"{each['constrained']:.1f} ms ({more:+.2f} ms, {more / each['free']:+.1%})."
    )
    return f"{about}\n\n{table}", numbers


BENCHES = {"loop": bench_loop, "search": bench_search, "find": bench_find, "constrain": bench_constrain}


def main(cfg: Config) -> dict[str, Any]:
    """Times the loop, the search and constrained decoding, beside named peers."""
    return race.parts(cfg, 15, BENCHES, choose(cfg.device))


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
