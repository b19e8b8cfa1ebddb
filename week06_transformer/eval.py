"""Scores a trained network on strings or sentences that it has not seen: `./course eval 6`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week06_transformer/eval.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass
from typing import Any

from shared import cli, held_out, runs, translation_scores
from shared.config import Count, EvalConfig, Natural
from shared.device import choose
from week06_transformer import baselines, data, generate, train
from week06_transformer.trained import Trained, load


@dataclass
class Config(EvalConfig):
    """The flags of eval. --data takes other sentences for a network that translates."""

    beam: Count = 1
    """How many beginnings of a translation are kept at each step; 1 is greedy."""
    longer: Natural = 4
    """Strings: so many letters (digits) more than the longest of the training are tried, too; 0: none."""
    show: Natural = 3
    """How many mistakes to print."""


def by_length(trained: Trained, longer: int, count: int = 200) -> list[tuple[int, float]]:
    """(length, share of whole answers right) for new strings of each length, up to `longer` more than in training."""
    cfg, found = trained.config, []
    shortest = 1 if cfg.task == "add" else data.SHORTEST
    for length in range(shortest, cfg.longest + longer + 1):
        if cfg.positions == "learned" and 2 * length + 2 > cfg.max_len:
            break
        part = data.of_length(cfg.task, length, count)
        right = sum(a == b for a, (b,) in zip(trained.answers(part.sources), part.references, strict=True))
        found.append((length, right / len(part)))
    return found


def print_by_length(found: list[tuple[int, float]], longest: int, unit: str) -> None:
    """How the share falls off beyond what was trained."""
    print(f"\nwhole answers right by length, new strings of each ({unit} up to {longest} were trained):")
    print("  " + "   ".join(f"{length}{'*' * (length > longest)} {share:.0%}" for length, share in found))
    print("  * longer than any in training")


def main(cfg: Config) -> dict[str, Any]:
    """Reads the test set: the score beside the baselines', mistakes, and for strings what longer ones come to.

    Returns what result.json holds now; the run folder is under "run", how many were scored under "scored".
    """
    device, trained = choose(cfg.device), load(cfg.run, finished=True)
    flags, spell, metric = trained.config, trained.spell, train.metric(trained.config.task)
    name = cfg.data or flags.data
    pairs = data.load(flags.task, name, flags.examples, flags.longest, flags.most_words)
    things = "sentences" if flags.task == "translate" else "strings"
    chosen = held_out.choose(trained.run, name, pairs, things)
    part, model = chosen.part, trained.model.to(device.name)
    sources = data.encode(part, spell, every=False).sources
    written = generate.answers(model, sources, spell, train.longest_answer(part, spell), cfg.beam)
    scores = train.scores(written, part, metric)
    theirs = {}
    if gru := trained.baseline():
        theirs[baselines.NAME] = train.evaluate(gru.to(device.name), part, spell, metric)[metric]
    constant, worth = train.constant_answer(pairs, part, metric)
    theirs["always the same answer"] = worth[metric]
    out = trained.run.folder_for(cfg.out, "" if chosen.own else chosen.name)
    ordered = {f"test_{metric}": scores[metric]} | {f"test_{name}": value for name, value in scores.items()}
    result = trained.run.scored(ordered, theirs, out if chosen.own else None)

    same = translation_scores.is_exact if flags.task == "translate" else lambda text, texts: text in texts
    right = [same(text, texts) for text, texts in zip(written, part.references, strict=True)]
    print(f"{pairs.name if name == data.SYNTHETIC else chosen.name}: {len(part):,} {things}, {sum(right):,} right as a "
          f"whole. Run: {trained.run.folder}")  # fmt: skip
    runs.tell(chosen.notes)
    runs.print_table(result, f"test_{metric}")
    print(f"(always the same answer: {constant!r})")
    for row in [row for row, good in enumerate(right) if not good][: cfg.show]:
        print(f"\n{part.sources[row]}\n  is       {part.references[row][0]}\n  written  {written[row]}")
    if flags.task != "translate" and cfg.longer:
        trained.model.to("cpu")
        result["by_length"] = by_length(trained, cfg.longer)
        print_by_length(result["by_length"], flags.longest, "digits" if flags.task == "add" else "letters")
    return result | {"run": str(trained.run.folder), "scored": len(part)}


if __name__ == "__main__":
    cli.launch(main, Config)
