"""Reads the test set with an aligned model: `./course eval 10`, or `python -m week10_dpo.eval --help`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week10_dpo/eval.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass
from typing import Any

import numpy as np

from shared import cli, held_out, results, runs
from shared.config import Count, EvalConfig, Natural, Seed
from shared.device import choose
from week10_dpo import data, drawing, exact, judge, measures
from week10_dpo.trained import load


@dataclass
class Config(EvalConfig):
    """The flags of eval. --data takes other pairs for the same model."""

    most: Natural = 0
    """Score at most so many pairs of test, always the same ones, and keep no score; 0: all."""
    prompts: Natural = 48
    """So many prompts of test are answered by the model before and after; 0: none."""
    questions: Natural = 60
    """So many exact questions (60 at most) are asked before and after; 0: none."""
    tokens: Count = 40
    """How many tokens an answer may have."""
    drawn: Natural = 16
    """So many answers are drawn (temperature 1) to measure how far the policy is from its reference; 0: none."""
    show: Natural = 3
    """How many prompts to print with all answers: the first ones, good or bad."""
    seed: Seed = 0
    """What the drawing follows from."""
    publish: bool = False
    """Put the tables into the week's RESULTS.md (for whoever looks after the lesson)."""


def main(cfg: Config) -> dict[str, Any]:
    """Reads the test set: preferences beside the baselines', and the answers before and after: polite, exact, long?

    Returns what result.json holds now; the run folder is under "run", how many were scored under "scored".
    """
    device, net = choose(cfg.device), load(cfg.run, finished=True)
    name, texts = cfg.data or net.config.data, data.load(net.config.data)
    texts = texts.first(net.config.examples, net.config.seed, net.config.most_val)  # as it was trained on
    chosen = held_out.choose(net.run, name, texts if name == net.config.data else data.load(name), "pairs")
    part = chosen.part
    if cfg.most and cfg.most < len(part):
        part = part.take(np.sort(np.random.default_rng(0).permutation(len(part))[: cfg.most]))
    model, copy_of = net.policy(device.name)
    scores, theirs, ahead, part = measures.preference(cfg, net, part, model, copy_of, device)
    theirs = {judge.WORDS: judge.BagOfWords(texts.train).accuracy(part), **theirs, judge.COIN: 0.5}
    out = net.run.folder_for(cfg.out, "" if chosen.own else chosen.name)
    print(f"{chosen.name}: {len(part):,} pairs over {len(data.prompts(part)):,} prompts. Run: {net.run.folder}")
    runs.tell(chosen.notes)
    _, low, high = measures.interval(ahead > 0, [pair.prompt for pair in part.items])
    some = data.drawn(part, cfg.prompts)
    if cfg.drawn and len(some):
        far = measures.divergence(model, net.tokenizer, data.drawn(part, cfg.drawn), copy_of, cfg)
        scores |= {f"test_{name}": value for name, value in far.items()}
    del model, copy_of
    found = measures.written(cfg, net, some, device) if cfg.prompts or cfg.questions else {}
    polite = name == "sample" and len(some) > 0
    wins = {}
    if polite:
        own = judge.Judge.trained()
        sure, wins = own.accuracy(part), measures.judged(found, some, own)
    for stage, row in found.items():
        scores |= {f"test_{k}_{stage}": v for k, v in row.items() if k != "answers"}
    scores |= {f"test_win_rate_{stage}": win[0] for stage, win in wins.items()}
    result = net.run.scored(scores, theirs, out if chosen.own and not cfg.most else None)
    runs.print_table(result, "test_accuracy")
    print(f"{scores['test_accuracy']:.1%} of the pairs, {low:.1%} to {high:.1%} in 95 of 100 draws of the prompts; "
          f"always the shorter answer: {judge.shorter(part):.1%}")  # fmt: skip
    print(f"by the likelier answer, the rule of the baseline, it is right of {scores['test_likelier_accuracy']:.1%}")
    if families := measures.by_family(part, ahead):
        print(f"by family: {families}")
    if found:
        rows = measures.table(found)
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        asked = min(cfg.questions, len(exact.QUESTIONS))
        print(f"\nanswers to {len(some)} prompts of test, and to {asked} exact questions")
        for row in rows:
            print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
        for stage, (rate, low, high) in wins.items():
            print(f"{stage} is more polite than base in {rate:.1%} ({low:.1%} to {high:.1%})")
        if polite:
            single, both = sure["single"], sure["pairs"]
            print(f"the judge is right of {single:.1%} of the test set's answers, and of {both:.1%} of its pairs")
        if cfg.publish:
            results.publish(10, "eval answers", results.markdown(rows[0], rows[1:]))
        drawing.answers(out / "answers.png", found)
        measures.show(found, some, cfg.show)
    if "test_kl_per_token" in scores:
        print(f"\nKL from the reference: {scores['test_kl_per_token']:.3f} a token, "
              f"{scores['test_kl_per_answer']:.2f} an answer (drawn by the policy)")  # fmt: skip
    return result | {"run": str(net.run.folder), "scored": len(part)}


if __name__ == "__main__":
    cli.launch(main, Config)
