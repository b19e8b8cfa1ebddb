"""Scores a fine-tuned network on questions or sentences that it has not seen: `./course eval 7`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week07_bert/eval.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass
from typing import Any

from shared import cli, held_out, runs
from shared.config import Count, EvalConfig, Natural
from shared.device import choose
from shared.results import markdown
from shared.splits import Part
from week07_bert import baselines, data, qa, tagging
from week07_bert.trained import Trained, load


@dataclass
class Config(EvalConfig):
    """The flags of eval."""

    n_best: Count = 20
    """How many answers of each question are looked at, for what could be had by ranking them better."""
    show: Natural = 3
    """How many mistakes to print."""


def score_answers(trained: Trained, part: Part, val: Part, n: int, show: int) -> dict[str, Any]:
    """F1, exact match, oracle F1, and an error table. Where questions have no answer, the threshold is val's best."""
    encoded = trained.encode(part)
    found, _ = qa.find(trained.model, encoded, trained.config.longest, n)
    threshold = None
    if qa.has_unanswerable(part):
        on_val, _ = qa.find(trained.model, trained.encode(val), trained.config.longest, n)
        threshold, _ = qa.best_threshold(on_val, val)
        print(f"no answer where [CLS] is above the best answer by more than {threshold:.2f} (chosen on val)")
    answers = [one.answer(threshold) for one in found]
    scores = qa.scores_of([answer.text for answer in answers], part)
    scores["oracle"] = qa.oracle(found, part)
    windows = encoded.of_question()
    counts = qa.errors(answers, part, windows)
    print(f"exact match {scores['exact']:.1%}, F1 {scores['f1']:.1%}; the best of {n} answers each: F1 "
          f"{scores['oracle']:.1%}\n")  # fmt: skip
    wrong = max(1, sum(counts.values()))
    lines = [[name, counts[name], f"{counts[name] / wrong:.0%}"] for name in qa.CAUSES]
    print(markdown(["not exactly right, because", "questions", ""], lines))
    shown = 0
    for row, (answer, question) in enumerate(zip(answers, part.items, strict=True)):
        if shown < show and not qa.exact(answer.text, question.truths):
            why = qa.cause(answer, question, windows[row])
            print(
                f"\n{question.text}\n  is     {question.truths[0]}\n  found  {answer.text or '(no answer)'}   ({why})"
            )
            shown += 1
    return {"scores": scores, "errors": dict(counts)}


def score_tags(trained: Trained, part: Part, show: int) -> dict[str, Any]:
    """F1, precision and recall over entities, of all and of each kind."""
    predicted, _, _ = tagging.find(trained.model, trained.encode(part))
    scores = tagging.scores_of(predicted, part)
    lines = [[kind, f"{f1:.1%}", f"{p:.1%}", f"{r:.1%}", n] for kind, (f1, p, r, n) in
             tagging.by_kind(predicted, part).items()]  # fmt: skip
    three = [f"{scores[name]:.1%}" for name in ("f1", "precision", "recall")]
    lines.append(["all", *three, sum(line[-1] for line in lines)])
    print(markdown(["entities", "F1", "precision", "recall", "there are"], lines))
    wrong = [row for row, sentence in enumerate(part.items) if list(sentence.tags) != predicted[row]]
    for row in wrong[:show]:
        sentence = part.items[row]
        print(f"\n{' '.join(sentence.words)}")
        for what, tags in (("is   ", sentence.tags), ("found", predicted[row])):
            named = [f"{' '.join(sentence.words[a : b + 1])} ({kind})" for kind, a, b in tagging.entities(tags)]
            print(f"  {what}  {', '.join(named) or '(nothing)'}")
    return {"scores": scores}


def main(cfg: Config) -> dict[str, Any]:
    """Reads the test set: the scores beside the baselines', what went wrong and why.

    Returns what result.json holds now; the run folder is under "run", how many were scored under "scored".
    """
    device, trained = choose(cfg.device), load(cfg.run, finished=True)
    flags = trained.config
    name, things = cfg.data or flags.data, data.THINGS[flags.task]
    texts = data.load(flags.task, name)
    if name == flags.data:
        texts = texts.first(flags.examples, flags.seed, flags.most_val)
    chosen = held_out.choose(trained.run, name, texts, things)
    part = chosen.part
    trained.model.to(device.name)
    print(f"{chosen.name}: {len(part):,} {things}. Run: {trained.run.folder}")
    runs.tell(chosen.notes)
    if flags.task == "qa":
        found = score_answers(trained, part, texts.val, cfg.n_best, cfg.show)
    else:
        found = score_tags(trained, part, cfg.show)
    theirs = baselines.scored(flags.task, texts.train, part)
    out = Path(cfg.out) if cfg.out else trained.run.folder
    scores = {f"test_{name}": value for name, value in found["scores"].items()}
    result = trained.run.scored(scores, theirs, out if chosen.own else None)
    runs.print_table(result, "test_f1")
    return result | {"run": str(trained.run.folder), "scored": len(part)} | found


if __name__ == "__main__":
    cli.launch(main, Config)
