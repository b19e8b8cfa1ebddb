"""What does each part of a Transformer do? `./course run 6 ablate [heads|positions|longer|norm|shape|all]`

    heads      one vector cut into 1, 2, 4, 8 heads: the same number of parameters
    positions  every kind of positions, reversing and sorting
    longer     addition: numbers longer than any in training, for every kind of positions
    norm       pre- and post-norm in a deeper network, with and without the warm-up
    shape      width against depth, at about the same number of parameters

All are trained by train.py's loop, from several seeds; only what a part is about differs. Every finished training is
kept, so a second call goes on where the first one stopped. The strings are synthetic, made here.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week06_transformer/ablate.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
import tyro

from shared import cli, race, results, trials
from shared.config import Count, Natural, Positive
from shared.device import choose
from shared.errors import Diverged
from shared.files import write_json
from shared.runs import RUNS, Row, versions
from shared.terminal import command
from week06_transformer import data, drawing, generate, train
from week06_transformer.model import POSITIONS, Transformer, count_parameters

PARTS = ("heads", "positions", "longer", "norm", "shape")
BEYOND = 4  # digits more than in training
TITLES = {
    "heads": "How many heads",
    "positions": "Positions, task by task",
    "longer": "Addition of longer numbers than trained, by kind of positions",
    "norm": "Pre- and post-norm, with and without warm-up",
    "shape": "Width against depth",
}


@dataclass
class Config(trials.StudyConfig):
    """The flags of ablate."""

    data: str = data.SYNTHETIC
    """Strings made here; there is no other."""
    parts: tyro.conf.Positional[tuple[Literal["heads", "positions", "longer", "norm", "shape", "all"], ...]] = ()
    """Which parts (default: all)."""
    epochs: Count = 4
    """Epochs of every training; of part longer twice as many, of part norm half."""
    examples: Count = 20_000
    """Strings to train on."""
    longest: Count = 12
    """Letters of the longest string; numbers of part longer have at most 5 digits, those of smoke 2."""
    deep: Count = 6
    """How many blocks on each side part norm has."""
    lr: Positive = train.Config.lr
    """The largest step of every training."""
    max_steps: Natural = 0
    """Stop every training after so many steps (0: at the end of the epochs)."""
    seeds: Count = 2
    """How often each variant is trained: from --seed and the seeds after it."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"epochs": 1, "examples": 20, "longest": 4, "max_steps": 2, "seeds": 2, "jobs": 1, "deep": 2},
    "quick": {},
    "full": {"epochs": 10, "seeds": 5},
}


def recipe(cfg: train.Config) -> trials.Flags:
    """What a result follows from: the flags of train.py without those that only say where and how to compute."""
    left_out = ("out", "resume", "preset", "device", "threads", "peer")
    return {name: value for name, value in asdict(cfg).items() if name not in left_out}


def train_once(where: str, flags: trials.Flags, threads: int) -> Row:
    """Trains one network and scores its last epoch on val and test; nothing is chosen by either here.

    Args:
        where: the device.
        flags: from `recipe`; and `causal`, where the decoder is to see the future (leak.py), `beyond`, how many
            letters longer than in training it is tried on.
        threads: of torch.
    """
    torch.set_num_threads(threads)
    causal, beyond = flags.get("causal", True), flags.get("beyond", 0)
    cfg = train.Config(**{name: value for name, value in flags.items() if name not in ("causal", "beyond")})
    device, metric = choose(where), train.metric(cfg.task)
    pairs = data.load(cfg.task, cfg.data, cfg.examples, cfg.longest, cfg.most_words)
    spell = data.speller(cfg.task, pairs.train, cfg.vocab)
    model = train.build(cfg, spell)
    model.causal = causal
    row: Row = {"diverged": False, "device": device.name, "threads": threads, "params": count_parameters(model)}
    try:
        epochs = list(train.fit(cfg, data.encode(pairs.train, spell), pairs.val, spell, model, device))
    except Diverged:
        return row | {"diverged": True}
    test = train.evaluate(model, pairs.test, spell, metric)
    row |= {name: epochs[-1][name] for name in ("train_loss", "val_loss", f"val_{metric}", "seconds")}
    row |= {f"test_{name}": value for name, value in test.items()}
    row["curve"] = [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in epochs]
    if beyond:
        lengths = range(1, cfg.longest + beyond + 1)
        row["by_length"] = [exact(model, spell, cfg.task, length, min(200, cfg.examples)) for length in lengths]
    sources = pairs.test.sources[:4]
    written = generate.answers(model, [spell.source.encode(spell.split(s)) for s in sources], spell, 40)
    row["examples"] = [[s, pairs.test.references[at][0], written[at]] for at, s in enumerate(sources)]
    return row


def exact(model: Transformer, spell: data.Speller, task: str, length: int, count: int) -> float:
    """The share of `count` new strings of one length that are answered right as a whole."""
    part = data.of_length(task, length, count)
    return train.evaluate(model, part, spell)["exact"]


def variants(part: str, cfg: Config) -> dict[str, trials.Flags]:
    """The networks of a part by name."""
    same = {name: getattr(cfg, name) for name in ("epochs", "examples", "longest", "lr", "max_steps")}
    smoke = {"d_model": 16, "heads": 2, "d_ff": 16} if cfg.preset == "smoke" else {}
    base = train.Config(**same | smoke)
    found: dict[str, train.Config] = {}
    if part == "heads":
        found = {f"{heads} head{'s' * (heads > 1)}": replace(base, heads=heads) for heads in (1, 2, 4, 8)}
    elif part == "positions":
        for task in ("reverse", "sort"):
            for positions in POSITIONS:
                found[f"{task}, {positions}"] = replace(base, task=task, positions=positions)
    elif part == "longer":
        add = replace(base, task="add", longest=digits(cfg), epochs=2 * cfg.epochs)
        found = {positions: replace(add, positions=positions) for positions in POSITIONS}
        return {name: recipe(one) | {"beyond": BEYOND} for name, one in found.items()}
    elif part == "norm":
        for norm in ("pre", "post"):
            for warmup in (base.warmup, 0):
                name = f"{norm}-norm, {f'warm-up of {warmup} steps' if warmup else 'no warm-up'}"
                found[name] = replace(base, norm=norm, warmup=warmup, layers=cfg.deep, epochs=max(1, cfg.epochs // 2))
    else:
        for layers, d_model in ((1, 88), (2, 64), (4, 44), (8, 32)):
            one = replace(base, layers=layers, d_model=d_model, d_ff=4 * d_model)
            found[f"{layers} + {layers} blocks, d_model {d_model}"] = one
    return {name: recipe(one) for name, one in found.items()}


def digits(cfg: Config) -> int:
    """How long the numbers of part longer are."""
    return 3 if cfg.preset == "smoke" else 5


def table(part: str, rows: Mapping[tuple[str, int], Row], cfg: Config) -> str:
    """A part as a Markdown table: of each variant mean ± standard deviation over its seeds."""
    names, lines = list(dict.fromkeys(name for name, _ in rows)), []
    found = {name: [row for (other, _), row in rows.items() if other == name] for name in names}
    columns = ["", "parameters", "train loss", "val exact", "test exact", "seconds", "n"]
    if part == "longer":
        first, last = digits(cfg) - 1, digits(cfg) + BEYOND
        columns = ["positions", *(f"{n} digits{'*' * (n > digits(cfg))}" for n in range(first, last + 1)), "n"]
    for name, mine in found.items():
        whole = [row for row in mine if not row["diverged"]]
        lost = f"{len(mine)}{f' ({len(mine) - len(whole)} diverged)' if len(whole) < len(mine) else ''}"
        if part == "longer":
            cells = [percent([row["by_length"][n - 1] for row in whole]) for n in range(first, last + 1)]
        else:
            cells = [f"{mine[0]['params']:,}"]
            cells += [trials.plus_minus("train_loss", [row["train_loss"] for row in whole]) if whole else ""]
            cells += [percent([row[metric] for row in whole]) for metric in ("val_exact", "test_exact")]
            cells += [f"{sum(row['seconds'] for row in whole) / len(whole):.0f}" if whole else ""]
        lines.append([name, *cells, lost])
    return results.markdown(columns, lines)


def percent(values: Sequence[float]) -> str:
    """`99.10 ± 0.20 %`; nothing of nothing."""
    return trials.plus_minus("accuracy", values) if values else ""


def main(cfg: Config) -> dict[str, Any]:
    """Trains networks that differ in one thing from several seeds, prints tables and draws pictures.

    Returns the rows by part and name.
    """
    parts = [part for part in PARTS if part in cfg.parts or not cfg.parts or "all" in cfg.parts]
    out = Path(cfg.out) if cfg.out else RUNS / "week06" / "ablate"
    jobs, found = trials.side_by_side(cfg.jobs, choose(cfg.device).name), {}
    for part in parts:
        todo = trials.over_seeds(variants(part, cfg), trials.seeds(cfg))
        rows = trials.run_all(todo, partial(train_once, cfg.device), out, jobs, cfg.threads)
        about = (
            f"*`{command()} {part}`: synthetic strings, {cfg.examples:,} to train on, mean ± standard deviation over "
            f"{cfg.seeds} seed{'s' * (cfg.seeds > 1)}; {jobs} at a time, {cfg.threads} "
            f"thread{'s' * (cfg.threads > 1)} each; {race.processor()}; torch {versions()['torch']}*"
        )
        text = f"{about}\n\n{table(part, rows, cfg)}"
        print(f"\n### {TITLES[part]}\n\n{text}\n")
        if cfg.publish:
            results.publish(6, f"ablate {part}", text)
        if part == "longer":
            drawing.longer(out / "longer.png", rows, digits(cfg))
        if part == "norm":
            drawing.norm(out / "norm.png", rows)
        found[part] = {f"{name}, seed {seed}": row for (name, seed), row in rows.items()}
        write_json(out / f"{part}.json", found[part])
    print(f"tables and pictures: {out}")
    return found


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
