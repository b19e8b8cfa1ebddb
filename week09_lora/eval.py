"""Reads the test set with a tuned model and with the untuned one: `./course eval 9`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week09_lora/eval.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections import Counter
from dataclasses import dataclass
from typing import Any

from shared import cli, held_out, race, runs
from shared.config import Count, EvalConfig, Natural
from shared.conversation import Answer, write
from shared.device import autocast
from shared.results import markdown, publish
from shared.splits import Part
from shared.terminal import command
from week09_lora import answers, data, obeyed
from week09_lora.train import CONSTANT, UNTUNED, evaluate, guesses
from week09_lora.trained import Tuned, load

KINDS = ("format", "exact", "stops")


@dataclass
class Config(EvalConfig):
    """The flags of eval. --data takes other instructions for the same model."""

    prompts: Natural = 8
    """So many prompts of each family are answered before and after (of other data eight times as many); 0: none."""
    tokens: Count = 48
    """How many tokens an answer may have. What is longer has not stopped by itself."""
    show: Natural = 3
    """How many answers to print: the first of them, good or bad."""
    publish: bool = False
    """Put the tables into the week's RESULTS.md (for whoever looks after the lesson)."""


def commonest(train: Part, part: Part) -> list[Answer]:
    """The trivial baseline: of each family the commonest answer of train; of an unknown one the commonest of all."""
    counts: dict[str, Counter[str]] = {}
    for item in train.items:
        counts.setdefault(item.family, Counter())[item.response] += 1
    every = sum(counts.values(), Counter())
    texts = [counts.get(item.family, every).most_common(1)[0][0] for item in part.items]
    return [Answer(text, (), True) for text in texts]


def answered(net: Tuned, cfg: Config, train: Part, part: Part) -> dict[str, list[Answer]]:
    """{who: answers to the prompts of a part}, written greedily."""
    chats = [item.messages for item in part.items]
    found = {"the commonest answer of each family": commonest(train, part)}
    with autocast(net.device):
        with net.as_it_was() as before:
            found[UNTUNED] = write(before, net.tokenizer, chats, cfg.tokens)
        found["tuned"] = write(net.model, net.tokenizer, chats, cfg.tokens)
    return found


def report(cfg: Config, train: Part, part: Part, written: dict[str, list[Answer]], out: Path) -> str:
    """The tables: who obeyed, over all and family by family; and obeyed.png, the second of them as a picture."""
    rows = [[who, *(f"{value:.1%}" for value in answers.shares(part.items, found).values())]
            for who, found in written.items()]  # fmt: skip
    text = markdown(["", "format obeyed", "exactly right", "stops by itself"], rows)
    known, lines, drawn = {item.family for item in train.items}, [], []
    for family in dict.fromkeys(item.family for item in part.items):
        at = [row for row, item in enumerate(part.items) if item.family == family]
        shares = [answers.shares([part.items[row] for row in at], [found[row] for row in at])
                  for who, found in written.items() if who in (UNTUNED, "tuned")]  # fmt: skip
        name = f"{family or 'all'}{'' if family in known else ' (not trained)'}"
        cells = [f"{shares[0][kind]:.0%} → {shares[1][kind]:.0%}" for kind in KINDS[:2]]
        lines.append([name, len(at), *cells])
        drawn.append((name, shares[0]["exact"], shares[1]["exact"]))
    obeyed.draw(out / "obeyed.png", drawn, f"{len(part)} tasks in words that it was not trained on")
    text += "\n\n" + markdown(["family", "prompts", "format, untuned → tuned", "exact, untuned → tuned"], lines)
    return f"*`{command()}`: {len(part)} prompts, answered greedily, at most {cfg.tokens} tokens*\n\n{text}"


def main(cfg: Config) -> dict[str, Any]:
    """Reads the test set: what a response token costs, and whether answers are what was asked for, before and after.

    Returns what result.json holds now; the run folder is under "run", how many were scored under "scored".
    """
    net = load(cfg.run, finished=True, device=cfg.device)
    name = cfg.data or net.config.data
    sets = data.load(name)
    own = sets.first(net.config.examples, net.config.seed, net.config.most_val) if name == net.config.data else sets
    chosen = held_out.choose(net.run, name, own, "instructions")
    test, part = net.encode(chosen.part), chosen.part
    train = net.encode(data.load(net.config.data).first(net.config.examples, net.config.seed).train)
    scores = {"test_loss": evaluate(net.model, test, net.device)["loss"]}
    with net.as_it_was() as before:
        theirs = {UNTUNED: evaluate(before, test, net.device)["loss"]}
    theirs[CONSTANT] = guesses(train, test, net.model.get_input_embeddings().weight.shape[0])
    asked, written = data.each(part, cfg.prompts), {}
    if cfg.prompts:
        written = answered(net, cfg, sets.train, asked)
        scores |= {f"test_{kind}": value for kind, value in answers.shares(asked.items, written["tuned"]).items()}
    out = net.run.folder_for(cfg.out, "" if chosen.own else chosen.name)
    result = net.run.scored(scores, theirs, out if chosen.own else None)
    print(f"{chosen.name}: {len(part):,} instructions, {test.response_tokens:,} response tokens. Run: {net.run.folder}")
    runs.tell(chosen.notes + test.report.lines(net.config.max_len, net.config.long)[1:])
    runs.print_table(result, "test_loss")
    if written:
        text = report(cfg, sets.train, asked, written, out)
        print(f"\n{text}")
        for row in range(min(cfg.show, len(asked))):
            told = [" | ".join(written[who][row].text.splitlines())[:150] for who in (UNTUNED, "tuned")]
            print(f"\n> {' '.join(asked.items[row].prompt.split())[:150]}\n  untuned: {told[0]}\n  tuned:   {told[1]}")
        result["answers"] = {who: answers.shares(asked.items, found) for who, found in written.items()}
        if cfg.publish:
            publish(9, "eval answers", f"{text}\n\n{race.processor()}")
    return result | {"run": str(net.run.folder), "scored": len(part)}


if __name__ == "__main__":
    cli.launch(main, Config)
