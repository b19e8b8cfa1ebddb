"""Asks the test questions of a trained agent, of the model as it was, and of rules: `./course eval 15`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week15_agent/eval.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass
from typing import Any, Literal

from shared import cli, held_out, race, runs
from shared.config import Count, EvalConfig, Natural
from shared.files import write_json
from shared.results import publish
from shared.terminal import typed
from week15_agent import data
from week15_agent.contestants import NAMES, Who, asked, report, shares, some_of
from week15_agent.questions import right
from week15_agent.train import score_baselines
from week15_agent.trained import load


@dataclass
class Config(EvalConfig):
    """The flags of eval. --data takes other questions for the same agent."""

    who: tuple[Who, ...] = ("rules", "trained")
    """Who is asked, besides, of direct, thinking, untrained, untrained_free, trained_free, too. trained is this
    network, its turns held to the protocol; trained_free the same without that."""
    each: Natural = 0
    """So many questions of each family, the first ones; 0: as many as the run says, which is all but for smoke."""
    tokens: Count = 128
    """How many tokens the untrained model may think for."""
    part: Literal["test", "val"] = "test"
    """val is for choosing; test is read once, at the end."""
    show: Natural = 3
    """How many of the wrong answers of this network to print."""
    publish: bool = False
    """Put the tables into the week's RESULTS.md (for whoever looks after the lesson)."""


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
    each = cfg.each or (net.config.each if name == "sample" else 0)
    questions = some_of(part, each).items
    done = {who: asked(net, who, questions, cfg.tokens) for who in NAMES if who in cfg.who or who == "trained"}
    success = {who: shares(questions, episodes) for who, episodes in done.items()}
    scores = {f"{cfg.part}_success": success["trained"]["all"]}
    scores |= {f"{cfg.part}_success_{name}": value for name, value in success["trained"].items() if name != "all"}
    rows = score_baselines(sets.train.items, questions, net.tools)["rows"]
    theirs = {row["name"]: row["val_success"] for row in rows}
    out = Path(cfg.out) if cfg.out else net.run.folder
    own_test = chosen.own and not cfg.each and cfg.part == "test"
    result = net.run.scored(scores, theirs, out if own_test else None)
    told = chosen.name if cfg.part == "test" else f"{name} (val)"
    print(f"{told}: {len(questions):,} questions. Run: {net.run.folder}")
    runs.tell(chosen.notes)
    line = typed("--publish", "--run", cfg.run)
    text = report(questions, done, f"`{line}`")
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
    if own_test:
        write_json(out / "families.json", result["asked"])  # figures.py draws it
    return result | {"run": str(net.run.folder), "scored": len(questions)}


if __name__ == "__main__":
    cli.launch(main, Config)
