"""Reads the test questions with the exported embedder, and puts the service under load: `./course eval 12`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week12_deploy/eval.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass
from typing import Any

from shared import cli, results, runs
from shared.config import Count, EvalConfig, Natural
from shared.errors import CourseError
from week12_deploy import data, drawing, parity, under_load
from week12_deploy.export import VARIANTS
from week12_deploy.onnx_embedder import OnnxEmbedder
from week12_deploy.train import TORCH, WEEK_NUMBER
from week12_deploy.train import Config as TrainConfig


@dataclass
class Config(EvalConfig):
    """The flags of eval. --data takes other PDFs, with questions beside them, for the same embedder."""

    rag: str = ""
    """Week 11's run that is served (default: the newest; without one nothing is put under load)."""
    lm: str = "extractive"
    """Who answers under load: extractive always says the same; smollm2, an address, …"""
    clients: tuple[Count, ...] = (1, 8, 32)
    """How many ask at the same time."""
    requests: Natural = 200
    """Questions of each row, at most; 0: nothing is put under load."""
    seconds: Count = 60
    """How long each row may take, at most."""
    publish: bool = False
    """Put the tables into the week's RESULTS.md (for whoever looks after the lesson)."""


def on_test(cfg: Config, net: runs.Trained) -> tuple[dict[str, float], dict[str, float], int]:
    """Of the chosen variant, {test_mrr, test_hit_at_5, test_cosine, …}; torch's MRR; how many questions were asked."""
    from shared.race import cores
    from week11_rag.embed import Embedder

    made, chosen = net.config, net.saved["chosen"]
    ours, torchs = OnnxEmbedder(net.folder, chosen, cfg.threads or cores()), Embedder(made.embedder, cfg.device)
    texts = data.load(cfg.data or made.data, made.size, made.overlap, made.first, torchs)
    finder = parity.Finder(texts, "test", torchs.name)
    if not finder.answerable:
        return {}, {}, 0
    print(f"embedding {len(texts.chunks):,} passages and the test questions, by {chosen} and by torch ...", flush=True)
    a, b = (parity.Embedded.by(embedder, texts, "test") for embedder in (ours, torchs))
    found = finder.all_scores(a, b) | parity.near(a, b)
    scores = {"test_mrr": found.pop("mrr")} | {f"test_{name}": value for name, value in found.items()}
    theirs = finder.all_scores(b, b)
    print(f"{chosen}, {len(finder.answerable)} test questions with an answer: hit@5 {found['hit_at_5']:.4f} "
          f"(torch {theirs['hit_at_5']:.4f}), MRR {scores['test_mrr']:.4f} (torch {theirs['mrr']:.4f}), "
          f"smallest cosine {found['cosine']:.4f}")  # fmt: skip
    return scores, {TORCH: theirs["mrr"]}, len(finder.answerable)


def main(cfg: Config) -> dict[str, Any]:
    """Reads the test questions with the exported embedder beside torch's, and measures the service under load.

    Returns what result.json holds now; the run folder is under "run".
    """
    under_load.run_of(cfg.rag)  # a wrong one is named now, not after minutes
    net = runs.load(WEEK_NUMBER, TrainConfig, cfg.run, finished=True)
    if net.saved.get("chosen") not in {variant.name for variant in VARIANTS}:
        raise CourseError(f"{net.folder} does not say which variant was chosen: train again.")
    own = not cfg.data or cfg.data == net.config.data
    out = net.folder_for(cfg.out, "" if own else cfg.data)
    scores, theirs, count = on_test(cfg, net)
    measured = under_load.measure(cfg, net.folder) if cfg.requests else {}
    scores |= {f"test_{name}": value for name, value in measured.get("scores", {}).items()}
    if not scores:
        raise CourseError("nothing to score: no questions lie beside these PDFs, and no run of week 11 can be served.")
    result = net.scored(scores, theirs, out if own else None)
    if measured:
        print(f"\n{measured['text']}")
        drawing.under_load(out / "load.png", measured["rows"])
        if cfg.publish:
            results.publish(WEEK_NUMBER, "eval load", measured["text"])
    return result | {"run": str(net.folder), "scored": count}


if __name__ == "__main__":
    cli.launch(main, Config)
