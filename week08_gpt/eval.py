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
from shared.results import markdown, publish
from week08_gpt import drawing, judge, ngram, sample
from week08_gpt.corpus import Part
from week08_gpt.sample import Sampling
from week08_gpt.tokenizer import Tokenizer
from week08_gpt.trained import Trained, load
from week08_gpt.windows import bits_per_byte, losses

LARGEST = 50_000_000  # bytes that xz is given to read first
# How tokens are drawn, one thing changed at a time; everything else is as the model says.
SETTINGS = {
    "greedy": Sampling(temperature=0), "temperature 0.4": Sampling(0.4), "temperature 0.7": Sampling(0.7),
    "temperature 1": Sampling(1.0), "temperature 1.3": Sampling(1.3), "top-k 5": Sampling(top_k=5),
    "top-k 20": Sampling(top_k=20), "top-p 0.5": Sampling(top_p=0.5), "top-p 0.8": Sampling(top_p=0.8),
    "top-p 0.95": Sampling(top_p=0.95),
}  # fmt: skip


@dataclass
class Config(EvalConfig):
    """The flags of eval. --data takes other code, or another text, for the same network."""

    completions: Natural = 10
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


def completions(net: Trained, part: Part, train: Part, cfg: Config) -> tuple[list[list[Any]], list[judge.Task], Any]:
    """The table of the ways of drawing, the functions, and what was written for each of these, way by way.

    The first row is of the true bodies: what a person has written parses, but is not free of names of its module.
    """
    todo = judge.tasks(part, net.tokenizer, cfg.completions, net.model.config.block_size // 2)
    if not todo:
        return [], [], {}
    memory = judge.Memory(train)
    true = [judge.verdict(task, "\n" + task.body, net.tokenizer.encode(task.body), memory) for task in todo]
    rows, written = [["(the true bodies)", *judge.shares(true).values()]], {}
    seeds = [cfg.seed + number for number in range(len(todo))]
    for name, sampling in SETTINGS.items():
        prompts = [task.prompt for task in todo]
        written[name] = sample.complete(net.model, net.tokenizer, prompts, sampling, cfg.tokens, seeds=seeds)
        found = [judge.verdict(t, one.text, one.ids, memory) for t, one in zip(todo, written[name], strict=True)]
        rows.append([name, *judge.shares(found).values()])
    return rows, todo, written


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
    out = Path(cfg.out) if cfg.out else net.run.folder
    result = net.run.scored(scores, theirs, out if chosen.own else None)
    print(f"{chosen.name}: {len(part):,} documents, {part.tokens:,} tokens, {part.text_bytes:,} bytes. "
          f"Run: {net.run.folder}")  # fmt: skip
    runs.tell(chosen.notes)
    runs.print_table(result, "test_bits_per_byte")
    result["xz"] = xz(part, net.tokenizer, train)
    print("xz, for comparison:", ", ".join(f"{value:.4f} {how}" for how, value in result["xz"].items()))
    print(f"the next token is the first guess in {scores['test_top1_accuracy']:.1%}, "
          f"among the first five in {scores['test_top5_accuracy']:.1%}")  # fmt: skip
    rows, todo, written = completions(net, part, train, cfg) if cfg.completions else ([], [], {})
    if rows:
        report(cfg, rows, todo, written, out)
        result["completions"] = {
            way: dict(zip(("parses", "defined", "copied"), row, strict=True)) for way, *row in rows
        }
    return result | {"run": str(net.run.folder), "scored": len(part)}


def report(cfg: Config, rows: list[list[Any]], todo: list[judge.Task], written: Any, out: Path) -> None:
    """Prints the table and some completions, and draws validity.png."""
    columns = ["drawn with", "parses", "and all names defined", f"copies {judge.COPIED} tokens of train"]
    table = markdown(columns, [[way, *(f"{share:.0%}" for share in row)] for way, *row in rows])
    about = f"{len(todo)} functions of test, completed from signature and docstring, at most {cfg.tokens} tokens"
    print(f"\n{about}\n\n{table}")
    drawing.validity(out / "validity.png", rows)
    for number in range(min(cfg.show, len(todo))):
        print(f"\n----- {todo[number].name}, temperature 0.7\n{todo[number].prompt.rstrip()}"
              f"{written['temperature 0.7'][number].text}")  # fmt: skip
    if cfg.publish:
        publish(8, "eval completions", f"*{about}; no completion is run*\n\n{table}")


if __name__ == "__main__":
    cli.launch(main, Config)
