"""How slow is it to read one word after the other? `./course run 3 speed`

An LSTM, a GRU and a 1-D CNN of equal size (the parameters beside the embedding differ by at most 3 %) take the same
training steps on texts of random words, at several lengths; the LSTM by torch.nn and by our own model.py. Equal size is
about equal work: what differs is that the convolution looks at all positions at once, while a recurrent net has to
finish each word before it can begin with the next. One core cannot do two things at once anyway; the more hardware
works side by side, the more of it a recurrent net leaves idle. What the words are does not matter to the time, so they
are drawn at random: that part is synthetic, the classifiers are the week's own.

The contestants take turns, and each one's best round counts: what else the machine does slows a round down and never
speeds one up. On one thread the time is the processor's, which is that of our own work alone; on more threads and on a
GPU it is the clock's. Beside it stands processor / clock: below the number of threads, somebody waited, for the others
at work on the machine or for each other.
"""

import statistics
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import nn
from torch.nn import functional as F

from shared import cli
from shared.device import Device, choose
from shared.errors import CourseError
from shared.files import write_json
from shared.plots import BLUE, GREEN, ORANGE, SKY, figure
from shared.runs import RUNS
from week03_lstm.classifiers import SentimentConfig, body_params, build
from week03_lstm.vanish import cores

EPOCH = 25_000
"""Reviews in IMDB's training set."""
KINDS = {"LSTM": BLUE, "LSTM, model.py": SKY, "GRU": GREEN, "1-D CNN": ORANGE}


@dataclass
class Config(cli.CommonConfig):
    """The flags of speed."""

    lengths: tuple[int, ...] = (50, 100, 200, 400, 800)
    """Words in a text."""
    batch_size: int = 32
    """Texts per step."""
    embed: int = 100
    """Numbers per word."""
    hidden: int = 128
    """Units of the LSTM. The GRU's, and the CNN's channels, follow from it."""
    vocab: int = 20_000
    """Words there are."""
    rounds: int = 3
    """How often each contestant runs; its best round counts."""
    seconds: float = 0.4
    """How long a round is at least."""
    threads: tuple[int, ...] = ()
    """How many threads, one table each. Default: 1, and all."""
    out: str = str(RUNS / "week03" / "speed")
    """The folder for the table and the picture."""
    preset: str = "quick"
    """A set of defaults: `smoke` (seconds), `quick` (two minutes), `full` (longer rounds, and more).
    A flag given by hand wins over the preset."""

    # Of the common flags these mean nothing here: they are neither offered nor accepted.
    data: tyro.conf.Suppress[str] = "random words (synthetic)"
    resume: tyro.conf.Suppress[bool] = False


PRESETS: dict[str, dict] = {
    "smoke": {"lengths": (5, 10), "embed": 16, "hidden": 24, "vocab": 100, "batch_size": 4, "rounds": 1,
              "seconds": 0.05, "threads": (1,)},
    "quick": {},
    "full": {"rounds": 7, "seconds": 1.0},
}  # fmt: skip


def equals(config: SentimentConfig) -> dict[str, nn.Module]:
    """The LSTM of a config, by torch and by us, and a GRU and a CNN with as many parameters beside the embedding.

    As many: within 3 %.

    Raises:
        CourseError: so small a net that no number of units comes so close.
    """
    lstm = build(config)
    wanted = body_params(lstm)

    def size(hidden: int) -> int:
        with torch.device("meta"):  # shapes without memory
            return body_params(build(replace(config, kind="gru", hidden=hidden)))

    hidden = bisect_left(range(2 * config.hidden), wanted, lo=config.hidden, key=size)  # the first that is large enough
    hidden -= abs(size(hidden - 1) - wanted) < abs(size(hidden) - wanted)
    models = {
        "LSTM": lstm,
        "LSTM, model.py": build(replace(config, impl="scratch")),
        "GRU": build(replace(config, kind="gru", hidden=hidden)),
        "1-D CNN": build(replace(config, kind="cnn")),
    }
    for name, model in models.items():
        if abs(body_params(model) / wanted - 1) > 0.03:
            raise CourseError(
                f"the {name} has {body_params(model):,} parameters and the LSTM {wanted:,}: more than 3 % apart. "
                "Give a larger --hidden."
            )
    return models


def training_step(model: nn.Module, length: int, batch_size: int, where: Device) -> Callable[[], None]:
    """One step of train.py's loop on a batch of random texts that are all `length` words long."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(2, model.config.vocab, (batch_size, length), generator=generator).to(where.name)
    labels = torch.randint(0, 2, (batch_size,), generator=generator).to(where.name)
    lengths = torch.full((batch_size,), length, device=where.name)
    optimizer, mixed = torch.optim.AdamW(model.parameters()), where.dtype != "float32"

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(where.name, getattr(torch, where.dtype)) if mixed else nullcontext():
            logits = model(tokens, lengths)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return step


def seconds_of(step: Callable[[], None], at_least: float, alone: bool, where: Device) -> tuple[float, float]:
    """Seconds a step takes, over as many steps as `at_least` seconds need; and processor time / time by the clock.

    The seconds are the processor's for a single thread `alone`, else the clock's.
    """
    wait = torch.cuda.synchronize if where.name == "cuda" else lambda: None
    now = time.process_time if alone else time.perf_counter
    wait()
    began, clock, process, count = now(), time.perf_counter(), time.process_time(), 0
    while count == 0 or now() - began < at_least:
        step()
        wait()
        count += 1
    return (now() - began) / count, (time.process_time() - process) / (time.perf_counter() - clock)


def measure(cfg: Config, where: Device) -> list[dict[str, Any]]:
    """One row for each length and net: examples a second, the spread over the rounds, minutes for an epoch."""
    torch.manual_seed(cfg.seed)
    alone = where.name == "cpu" and torch.get_num_threads() == 1
    shape = SentimentConfig(vocab=cfg.vocab, embed=cfg.embed, hidden=cfg.hidden)
    models = {name: model.to(where.name) for name, model in equals(shape).items()}
    rows = []
    for length in cfg.lengths:
        steps = {name: training_step(model, length, cfg.batch_size, where) for name, model in models.items()}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
        for step in steps.values():  # warm up
            step()
        for _ in range(cfg.rounds):
            for name, step in steps.items():
                times[name].append(seconds_of(step, cfg.seconds, alone, where))
        for name, model in models.items():
            seconds, busy = min(times[name])
            middle = statistics.median(one for one, _ in times[name])
            rows.append({
                "net": name, "length": length, "body_params": body_params(model),
                "examples_per_second": cfg.batch_size / seconds,
                "spread": middle / seconds - 1,
                "processor_over_clock": busy,
                "epoch_minutes": EPOCH / cfg.batch_size * seconds / 60,
            })  # fmt: skip
    return rows


def report(rows: Sequence[dict], title: str) -> None:
    """Prints one table, in Markdown."""
    print(f"\n{title}\n\n| words | net | parameters | texts/s | slower, middle round | processor / clock | epoch of "
          f"{EPOCH:,} | times the CNN |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    for row in rows:
        cnn = next(r for r in rows if r["net"] == "1-D CNN" and r["length"] == row["length"])
        print(
            f"| {row['length']} | {row['net']} | {row['body_params']:,} | {row['examples_per_second']:,.0f} "
            f"| {row['spread']:.0%} | {row['processor_over_clock']:.2f} | {row['epoch_minutes']:.1f} min "
            f"| {cnn['examples_per_second'] / row['examples_per_second']:.1f} |"
        )


def draw(tables: dict[str, list[dict]], path: Path) -> None:
    """Texts a second against their length, a panel for each device and number of threads."""
    with figure(path, columns=len(tables), size=(1 + 3.7 * len(tables), 3.5)) as (_, axes):
        panels = [axes] if len(tables) == 1 else list(axes)
        for axis, (title, rows) in zip(panels, tables.items(), strict=True):
            for name, colour in KINDS.items():
                mine = [row for row in rows if row["net"] == name]
                x, y = [row["length"] for row in mine], [row["examples_per_second"] for row in mine]
                axis.plot(x, y, marker="o", markersize=4, color=colour, label=name)
            axis.set(title=title, xscale="log", yscale="log", xlabel="words in a text")
            axis.set_xticks([row["length"] for row in mine], [str(row["length"]) for row in mine])
            axis.minorticks_off()
        values = [row["examples_per_second"] for rows in tables.values() for row in rows]
        for axis in panels:
            axis.set_ylim(0.7 * min(values), 1.4 * max(values))
        panels[0].set_ylabel("texts trained on per second")
        panels[0].legend()


def check(cfg: Config) -> None:
    """Raises CourseError for values that cannot work."""
    counts = ("batch-size", "embed", "hidden", "rounds")
    limits = (
        ("lengths", bool(cfg.lengths) and min(cfg.lengths, default=0) >= 1, "numbers of at least 1"),
        *((flag, getattr(cfg, flag.replace("-", "_")) >= 1, "at least 1") for flag in counts),
        ("vocab", cfg.vocab >= 3, "at least 3 (two stand for padding and unknown words)"),
        ("seconds", 0 <= cfg.seconds < 60, "from 0 to below 60"),
        ("threads", all(count >= 1 for count in cfg.threads), "numbers of at least 1"),
    )
    for flag, right, must in limits:
        if not right:
            raise CourseError(f"--{flag} {getattr(cfg, flag.replace('-', '_'))}: must be {must}.")


def main(cfg: Config) -> dict[str, Any]:
    """Times a training step of an LSTM, a GRU and a 1-D CNN of equal size at several lengths, and draws it."""
    check(cfg)
    fastest = choose(cfg.device)
    print(f"random words (synthetic), {cfg.batch_size} texts a step, {cfg.embed} numbers a word; best of {cfg.rounds}")
    tables, before = {}, torch.get_num_threads()
    try:
        for threads in cfg.threads or sorted({1, cores()}):
            torch.set_num_threads(threads)
            title = f"CPU, {threads} thread{'s' * (threads > 1)}"
            tables[title] = measure(cfg, Device("cpu", "float32", ""))
            report(tables[title], title)
    finally:
        torch.set_num_threads(before)
    if fastest.name != "cpu":
        title = f"{fastest.name}, {fastest.dtype}"
        tables[title] = measure(cfg, fastest)
        report(tables[title], f"{title} ({fastest.reason})")
    out = Path(cfg.out)
    draw(tables, out / "speed.png")
    result = {"data": cfg.data, "versions": {"torch": torch.__version__}, "tables": tables}
    write_json(out / "speed.json", result)
    print(f"\ntable and picture: {out}")
    return result


if __name__ == "__main__":
    cli.run(main, Config, PRESETS)
