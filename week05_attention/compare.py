"""Which attention, and is it worth it? `./course run 5 compare [scores|own|all]`

    scores    additive, dot, general, the latter two as published, and none with as many parameters as additive
    own       teacher forcing alone, or with more and more of the model's own words (scheduled sampling)

All are trained by train.py's loop, from several seeds; only what a part is about differs. Every finished training is
kept, so a second call goes on where the first one stopped, and trains nothing twice.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week05_attention/compare.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import tyro

from shared import cli, race, results, sentence_pairs, translation_scores, trials
from shared.config import Count, Natural
from shared.device import choose
from shared.errors import Diverged
from shared.files import write_json
from shared.runs import RUNS, Row
from shared.terminal import command
from week05_attention import data, drawing, train
from week05_attention.breakdown import LENGTHS

PARTS = ("scores", "own")
OWN = (0.0, 0.25, 0.5)
METRICS = ("val_bleu", "test_bleu", "test_chrf", "seconds")
TITLES = {"scores": "How the decoder looks back", "own": "How much of its own it reads in training"}


@dataclass
class Config(trials.StudyConfig):
    """The flags of compare."""

    parts: tyro.conf.Positional[tuple[Literal["scores", "own", "all"], ...]] = ("scores",)
    """Which parts."""
    epochs: Count = train.Config.epochs
    """Epochs of every training."""
    max_steps: Natural = 0
    """Stop every training after so many steps (0: at the end of the epochs)."""
    hidden: Count = train.Config.hidden
    """Units of the state."""
    embed: Count = train.Config.embed
    """Numbers per word."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"seeds": 2, "epochs": 1, "max_steps": 2, "hidden": 8, "embed": 8, "jobs": 1},
    "quick": {},
    "full": {"data": "anki", "seeds": 1},
}


def variants(part: str, cfg: Config) -> dict[str, train.Config]:
    """The trainings of a part by name, from the first seed."""
    base = {
        "data": cfg.data,
        "epochs": cfg.epochs,
        "max_steps": cfg.max_steps,
        "hidden": cfg.hidden,
        "embed": cfg.embed,
    }
    plain = train.Config(**base, peer=False)
    if part == "own":
        return {f"own words {share:.0%}": replace(plain, own=share) for share in OWN}
    words = map(len, train.vocabularies(plain, train.load_data(plain).train))
    none = train.without_attention(plain, *words)
    kinds = {kind: replace(plain, attention=kind) for kind in ("additive", "dot", "general")}
    large = {f"{kind}, not scaled": replace(kinds[kind], scaled=False) for kind in ("dot", "general")}
    return kinds | large | {"none": none}


def train_once(where: str, flags: trials.Flags, threads: int) -> Row:
    """Trains one translator and scores its last epoch on val and test; nothing is chosen by either here."""
    import torch

    torch.set_num_threads(threads)
    cfg, device = train.Config(**flags), choose(where)
    pairs = train.load_data(cfg)
    words = train.vocabularies(cfg, pairs.train)
    encoded, val = (data.encode(part, *words) for part in (pairs.train, pairs.val))
    model = train.build(cfg, *map(len, words)).to(device.name)
    row = {"params": train.count(model)}
    try:
        epochs = list(train.fit(cfg, encoded, val, pairs.val, words, model, device))
    except Diverged:
        return row | {"diverged": True}
    row |= {name: epochs[-1][name] for name in ("train_loss", "val_loss", "val_bleu", "seconds")}
    found = [
        sentence_pairs.detokenize(one[0]) for one in train.translate_all(model, pairs.test.sources, *words, beam=4)
    ]
    row |= {f"test_{name}": score for name, score in translation_scores.scores(found, pairs.test.references).items()}
    table = translation_scores.by_length(pairs.test.sources, found, pairs.test.references, LENGTHS)
    return row | {"by_length": [[list(bounds), count, score] for bounds, count, score in table]}


def flags_of(cfg: train.Config) -> trials.Flags:
    """What a result follows from: the flags of train.py without those that only say where and how to compute."""
    left_out = ("out", "resume", "preset", "device", "threads", "beam")
    return {name: value for name, value in asdict(cfg).items() if name not in left_out}


def markdown(part: str, found: Mapping[str, Row], params: Mapping[str, int], cfg: Config) -> str:
    """A part as a Markdown table, with its circumstances above it."""
    seeds = f"{cfg.seeds} seed{'s' * (cfg.seeds > 1)}"
    about = f"*`{command()} {part}`: {cfg.data}, {cfg.epochs} epochs, mean ± standard deviation over {seeds}"
    about += f", {cfg.threads} thread{'s' * (cfg.threads > 1)} each; {race.processor()}*"
    lines = []
    for name, row in found.items():
        cells = [f"{row[m][0]:.1f} ± {row[m][1]:.1f}" if m in row else "" for m in METRICS]
        lines.append([name, f"{params[name]:,}", *cells])
    return f"{about}\n\n{results.markdown(['', 'parameters', 'val BLEU', 'test BLEU', 'test chrF', 'seconds'], lines)}"


def main(cfg: Config) -> dict[str, Any]:
    """Trains translators that differ in one thing, from several seeds; prints tables and draws BLEU over length.

    Returns {part: {name: summary}}.
    """
    out = Path(cfg.out) if cfg.out else RUNS / "week05" / f"compare-{Path(cfg.data).stem}"
    device, found = choose(cfg.device).name, {}
    for part in PARTS if "all" in cfg.parts else dict.fromkeys(cfg.parts):
        todo = trials.over_seeds({n: flags_of(one) for n, one in variants(part, cfg).items()}, trials.seeds(cfg))
        work, jobs = partial(train_once, cfg.device), trials.side_by_side(cfg.jobs, device)
        rows = trials.run_all(todo, work, out, jobs, cfg.threads)
        found[part] = trials.summaries(rows, METRICS)
        text = markdown(part, found[part], {name: row["params"] for (name, _), row in rows.items()}, cfg)
        print(f"\n### {TITLES[part]}\n\n{text}\n")
        if cfg.publish:
            results.publish(train.WEEK_NUMBER, f"compare {part}", text)
        if part == "scores":
            first = {name: row for (name, seed), row in rows.items() if seed == cfg.seed and "by_length" in row}
            tables = {name: [(tuple(b), *rest) for b, *rest in row["by_length"]] for name, row in first.items()}
            drawing.by_length(out / "by_length.png", tables, "BLEU by length")
    write_json(out / "compare.json", found)
    print(f"tables and pictures: {out}")
    return found


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
