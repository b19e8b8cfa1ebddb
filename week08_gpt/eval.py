"""Reads the test set with a trained GPT: `./course eval 8`, or `python -m week08_gpt.eval --help`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week08_gpt/eval.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import lzma
from dataclasses import dataclass
from typing import Any

from shared import cli, held_out, runs
from shared.config import Count, EvalConfig, Natural, Seed
from shared.device import choose
from shared.errors import CourseError
from week08_gpt import completions, ngram
from week08_gpt.corpus import Part
from week08_gpt.tokenizer import Tokenizer
from week08_gpt.trained import load
from week08_gpt.windows import bits_per_byte, losses

LARGEST = 50_000_000  # bytes that xz is given to read first


@dataclass
class Config(EvalConfig):
    """The flags of eval. --data takes other code, or another text, for the same network."""

    completions: Natural = 50
    """So many functions of test are completed from signature and docstring, with each way of drawing; 0: none."""
    tokens: Count = 80
    """How many tokens a completion may have."""
    show: Natural = 2
    """How many completions to print: the first of them, good or bad."""
    seed: Seed = 0
    """What the drawing follows from."""
    publish: bool = False
    """Put the tables into the week's RESULTS.md (for whoever looks after the lesson)."""


def xz(part: Part, tokens: Tokenizer, train: Part) -> dict[str, float]:
    """Bits per byte of xz: of the part alone, and of what it adds behind train, which the network has read, too."""
    raw = (
        [tokens.decode_bytes(one.window(0, one.tokens).tolist()) for one in (part, train)]
        if train.tokens < LARGEST
        else []
    )
    if not raw:
        return {"alone": 8 * packed(tokens.decode_bytes(part.window(0, part.tokens).tolist())) / part.text_bytes}
    more = packed(raw[1] + raw[0]) - packed(raw[1])
    return {"alone": 8 * packed(raw[0]) / part.text_bytes, "behind train": 8 * more / part.text_bytes}


def packed(raw: bytes) -> int:
    return len(lzma.compress(raw, preset=6))


def main(cfg: Config) -> dict[str, Any]:
    """Reads the test set: bits per byte beside the baselines', guesses of the next token, completions of functions.

    Returns what result.json holds now; the run folder is under "run", how many were scored under "scored".
    """
    device, net = choose(cfg.device), load(cfg.run, finished=True)
    name = cfg.data or net.config.data
    corpus, block = net.corpus(name), net.model.config.block_size
    chosen = held_out.choose(net.run, name, corpus, "documents")
    part = chosen.part
    if part.tokens < 2:
        raise CourseError(f"--data {name}: nothing in it to guess.")
    nats, ranks = losses(net.model.to(device.name), part, block, block // 2)
    net.model.to("cpu")
    scores = {"test_bits_per_byte": bits_per_byte(nats, part), "test_loss": float(nats.mean())}
    scores |= {f"test_top{k}_accuracy": float((ranks < k).mean()) for k in (1, 5)}
    train, ids, theirs = net.corpus().train, part.window(0, part.tokens), {}
    for baseline, order in ((ngram.NAME, 5), ("always the same answer", 1)):
        counted = ngram.KneserNey(train.window(0, ngram.MOST), net.tokenizer.vocab_size, order)
        theirs[baseline] = ngram.bits(counted, ids) / part.text_bytes
    out = net.run.folder_for(cfg.out, "" if chosen.own else chosen.name)
    result = net.run.scored(scores, theirs, out if chosen.own else None)
    print(f"{chosen.name}: {len(part):,} documents, {part.tokens:,} tokens, {part.text_bytes:,} bytes. "
          f"Run: {net.run.folder}")  # fmt: skip
    runs.tell(chosen.notes)
    runs.print_table(result, "test_bits_per_byte")
    result["xz"] = xz(part, net.tokenizer, train)
    print("xz, for comparison:", ", ".join(f"{value:.4f} {how}" for how, value in result["xz"].items()))
    print(f"the next token is the first guess in {scores['test_top1_accuracy']:.1%}, "
          f"among the first five in {scores['test_top5_accuracy']:.1%}")  # fmt: skip
    rows, todo, written = completions.complete_all(net, part, train, cfg) if cfg.completions else ([], [], {})
    if rows:
        completions.report(cfg, rows, todo, written, out)
        result["completions"] = {
            way: dict(zip(("parses", "defined", "copied"), row, strict=True)) for way, *row in rows
        }
    return result | {"run": str(net.run.folder), "scored": len(part)}


if __name__ == "__main__":
    cli.launch(main, Config)
