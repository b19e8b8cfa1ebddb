"""Asks the test questions of an index: `./course eval 11`, or `python -m week11_rag.eval --help`.

A question is a hit where one of the passages found holds one of its evidence quotes, word for word but for spaces.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week11_rag/eval.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from shared import cli, results, runs
from shared.config import Count, EvalConfig, Natural
from shared.errors import CourseError
from week11_rag import data, drawing, gold, ingest, measures
from week11_rag.answer import Bot
from week11_rag.exact import ExactIndex
from week11_rag.retrieve import Retriever
from week11_rag.sentences import Sentences
from week11_rag.train import WEEK_NUMBER
from week11_rag.train import Config as TrainFlags

SEARCHES = {"BM25 (words alone)": "bm25", "dense (vectors alone)": "dense"}


@dataclass
class Config(EvalConfig):
    """The flags of eval. --data takes another PDF, or a folder of them, with questions of its own beside it."""

    lm: str = "extractive"
    """What answers: extractive (quotes sentences: quick), smollm2, another language model, or a service's address."""
    k: Count = 5
    """How many passages it answers from."""
    part: Literal["test", "val"] = "test"
    """val is there to choose by: no score of it is kept."""
    most: Natural = 0
    """Ask at most so many questions, always the same ones, and keep no score; 0: all."""
    why: str = ""
    """Only this: a question, and for each passage found its rank by each search, fused and re-scored."""
    show: Natural = 3
    """How many wrong answers to print."""
    publish: bool = False
    """Put the tables into the week's RESULTS.md (for whoever looks after the lesson)."""


def opened(cfg: Config) -> tuple[Bot, runs.Trained, str, bool]:
    """The bot, its run, what it is asked about, and whether these are the run's own PDFs; others are read here."""
    run = runs.load(WEEK_NUMBER, TrainFlags, cfg.run, finished=True)
    bot, flags = Bot.open(run.folder, lm=cfg.lm, device=cfg.device, k=cfg.k), run.config
    name, old = cfg.data or flags.data, bot.retriever
    if name == flags.data:
        return bot, run, name, True
    index = ExactIndex(None, old.index.settings)
    plan = ingest.plan(data.load(name), index, flags.first)
    deque(ingest.store(plan, index, old.embedder, flags.ocr, flags.first), maxlen=0)
    retriever = Retriever(index, old.embedder, old.how, old.rescore, old.mmr, Sentences(old.embedder))
    return Bot(retriever, bot.support, bot.language, cfg.k), run, name, False


def chosen(cfg: Config, name: str, own: bool) -> list[data.Question]:
    """The questions to ask: those of --part, of other PDFs than the run's own all."""
    found = [question for question in data.questions(name) if not own or question.part == cfg.part]
    if not found:
        raise CourseError(f"--data {name}: no questions lie beside these PDFs; the README says how they look.")
    if cfg.most and cfg.most < len(found):
        rows = np.sort(np.random.default_rng(0).permutation(len(found))[: cfg.most])
        found = [found[row] for row in rows]
    return found


def main(cfg: Config) -> dict[str, Any]:
    """Searches and answers the test questions: hit@k, MRR, exact match and F1, citations, refusals, beside baselines.

    Returns what result.json holds now; the run folder is under "run", how many were asked under "scored".
    """
    bot, run, name, own = opened(cfg)
    old, chunks = bot.retriever, bot.retriever.index.chunks()
    if cfg.why:
        print(gold.why(old, cfg.why, gold.DEEP))
        return {"run": str(run.folder)}
    questions, out = chosen(cfg, name, own), run.folder_for(cfg.out, "" if own else name)
    by = {f"this: {old.how}": old} | {n: Retriever(old.index, old.embedder, how) for n, how in SEARCHES.items()}
    found = {method: gold.searched(retriever, questions, chunks) for method, retriever in by.items()}
    ours, answers, part = next(iter(found.values())), gold.asked(bot, questions), cfg.part if own else "own"
    scores, said = ours.scores(), gold.answer_scores(answers, questions)
    print(f"{name}: {len(questions)} questions of {part}, {len(ours.questions)} with an answer, over {len(chunks):,} "
          f"passages. Run: {run.folder}")  # fmt: skip
    if lost := sum(not right for right in ours.right):
        print(f"{lost} of them cannot be hit: the splitter has cut the words that answer them")
    tables = {"methods": [gold.columns(""), *gold.methods(found)],
              "kinds": [[*gold.columns("kind"), "n"], *gold.kinds(ours)],
              "answers": gold.answer_rows(said, answers, questions, cfg.lm)}  # fmt: skip
    print("".join(f"\n{gold.printed(table)}\n" for table in tables.values()))
    low, high = measures.interval(np.array([0 < rank <= 5 for rank in ours.ranks()]))
    print(f"hit@5 {scores['hit_at_5']:.1%}, in 95 of 100 draws of the questions {low:.1%} to {high:.1%}")
    print("".join(f"\n{text}\n" for text in gold.wrong(answers, questions, cfg.show)), end="")
    drawing.kinds(out / "kinds.png", {method: one.by_kind("hit_at_5") for method, one in found.items()})
    drawing.support(out / "support.png", answers, questions, bot.support.threshold)
    if cfg.publish:
        for table, rows in tables.items():
            lm = f" {Path(cfg.lm).stem}" * (table == "answers")
            results.publish(WEEK_NUMBER, f"eval {part} {table}{lm}", gold.as_markdown(rows))
    scores = {f"test_{metric}": value for metric, value in ({"mrr": scores["mrr"]} | scores | said).items()}
    theirs = {method: one.scores()["mrr"] for method, one in found.items() if one is not ours}
    kept = own and cfg.part == "test" and not cfg.most
    result = run.scored(scores, theirs | {gold.NO_RETRIEVAL: 0.0}, out if kept else None)
    return result | {"run": str(run.folder), "scored": len(questions)}


if __name__ == "__main__":
    cli.launch(main, Config)
