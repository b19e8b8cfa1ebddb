"""How slow is it to read one word after the other? `./course run 3 speed`

An LSTM, a GRU and a 1-D CNN of equal size (the parameters beside the embedding differ by at most 3 %) take the same
training steps on texts of random words, at several lengths; the LSTM by torch.nn and by our own model.py. Equal size is
about equal work: what differs is that the convolution looks at all positions at once, while a recurrent net has to
finish each word before it can begin with the next. One core cannot do two things at once anyway; the more hardware
works side by side, the more of it a recurrent net leaves idle. What the words are does not matter to the time, so they
are drawn at random: that part is synthetic, the classifiers are the week's own.

How the contestants take turns, and what counts: shared/race.py.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week03_lstm/speed.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import math
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from shared import cli, race, results
from shared.config import Count
from shared.device import Device, autocast, choose
from shared.errors import CourseError
from shared.files import write_json
from shared.plots import BLUE, GREEN, ORANGE, SKY, figure
from shared.progress import bar
from shared.runs import RUNS, versions
from week03_lstm.sentiment_model import SentimentConfig, body_params, build

EPOCH = 25_000
"""Reviews in IMDB's training set."""
CNN = "1-D CNN"
NETS = {"LSTM": BLUE, "LSTM, model.py": SKY, "GRU": GREEN, CNN: ORANGE}
DATA = "random words (synthetic)"


@dataclass
class Config(race.BenchConfig):
    """The flags of speed."""

    lengths: tuple[Count, ...] = (50, 100, 200, 400, 800)
    """Words in a text."""
    batch_size: Count = 32
    """Texts per step."""
    embed: Count = 100
    """Numbers per word."""
    hidden: Count = 128
    """Units of the LSTM. The GRU's, and the CNN's channels, follow from it."""
    vocab: Annotated[int, Ge(3)] = 20_000
    """Words there are."""
    rounds: Count = 3
    """How often each contestant runs; its best round counts."""
    seconds: Annotated[float, Ge(0), Lt(60)] = 0.4
    """How long a round is at least, about."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """A GPU, where there is one, is timed after the CPU. cpu leaves it out."""
    out: str = str(RUNS / "week03" / "speed")
    """The folder for the table and the picture."""


PRESETS: dict[str, dict[str, Any]] = {
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
        CNN: build(replace(config, kind="cnn")),
    }
    for name, model in models.items():
        if abs(body_params(model) / wanted - 1) > 0.03:
            raise CourseError(
                f"the {name} has {body_params(model):,} parameters and the LSTM {wanted:,}: more than 3 % apart. "
                "Give a larger --hidden."
            )
    return models


def training_step(model: nn.Module, length: int, batch_size: int, device: Device) -> Callable[[], Tensor]:
    """One step of train.py's loop on a batch of random texts that are all `length` words long."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(2, model.config.vocab, (batch_size, length), generator=generator).to(device.name)
    labels = torch.randint(0, 2, (batch_size,), generator=generator).to(device.name)
    lengths = torch.full((batch_size,), length, device=device.name)
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> Tensor:
        optimizer.zero_grad()
        with autocast(device):
            logits = model(tokens, lengths)
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def some_steps(step: Callable[[], Tensor], at_least: float) -> tuple[Callable[[], Tensor], int]:
    """A round of about `at_least` seconds, and how many steps it is: as many as one that is timed now fits into it."""
    race.wait_for(step())
    began = time.perf_counter()
    race.wait_for(step())
    count = max(1, math.ceil(at_least / (time.perf_counter() - began)))
    return lambda: [step() for _ in range(count)][-1], count


def measure(cfg: Config, models: Mapping[str, nn.Module], length: int, device: Device, threads: int) -> list[dict]:
    """A row for each net: texts a second, how many times as fast as the CNN it is, minutes for an epoch.

    Args:
        cfg: the texts of a step, the rounds and how long they are.
        models: by the names of NETS, on the device.
        length: words in a text.
        device: what they are on.
        threads: decides which time the ratios are made of, as in race.table.
    """
    turns, work = {}, {}
    for name, model in models.items():
        turns[name], steps = some_steps(training_step(model, length, cfg.batch_size, device), cfg.seconds)
        work[name] = steps * cfg.batch_size
    _, numbers = race.table(race.take_turns(turns, cfg.rounds), work, "texts", CNN, threads)
    return [
        {"net": name, "length": length, "body_params": body_params(models[name])}
        | row | {"epoch_minutes": EPOCH / row["per_second"] / 60}
        for name, row in numbers.items()
    ]  # fmt: skip


def table(tables: Mapping[str, Sequence[dict]]) -> str:
    """Texts a second of every net, and how many times the CNN's time the others take, in Markdown."""
    others, lines = [name for name in NETS if name != CNN], []
    for length in dict.fromkeys(row["length"] for rows in tables.values() for row in rows):
        for where, rows in tables.items():
            of = {row["net"]: row for row in rows if row["length"] == length}
            speeds = [f"{of[name]['per_second']:,.0f}" for name in NETS]
            lines.append([length, where, *speeds, *(f"{1 / of[name]['ratio']:.1f}" for name in others)])
    return results.markdown(["words", "on", *NETS, *(f"{name}: × the CNN's time" for name in others)], lines)


def draw(tables: Mapping[str, Sequence[dict]], path: Path) -> None:
    """Texts a second against their length, a panel for each device and number of threads."""
    with figure(path, columns=len(tables), size=(1 + 3.7 * len(tables), 3.5)) as (_, axes):
        panels = [axes] if len(tables) == 1 else list(axes)
        for axis, (title, rows) in zip(panels, tables.items(), strict=True):
            for name, colour in NETS.items():
                mine = [row for row in rows if row["net"] == name]
                x, y = [row["length"] for row in mine], [row["per_second"] for row in mine]
                axis.plot(x, y, marker="o", markersize=4, color=colour, label=name)
            axis.set(title=title, xscale="log", yscale="log", xlabel="words in a text")
            axis.set_xticks([row["length"] for row in mine], [str(row["length"]) for row in mine])
            axis.minorticks_off()
        values = [row["per_second"] for rows in tables.values() for row in rows]
        for axis in panels:
            axis.set_ylim(0.7 * min(values), 1.4 * max(values))
        panels[0].set_ylabel("texts trained on per second")
        panels[0].legend()


def main(cfg: Config) -> dict[str, Any]:
    """Times a training step of an LSTM, a GRU and a 1-D CNN of equal size at several lengths, and draws it."""
    if not cfg.lengths:
        raise CourseError("--lengths: give at least one.")
    fastest, shape = choose(cfg.device), SentimentConfig(vocab=cfg.vocab, embed=cfg.embed, hidden=cfg.hidden)
    places = [
        (f"CPU, {threads} thread{'s' * (threads > 1)}", Device("cpu", "float32", ""), threads)
        for threads in race.thread_counts(cfg.threads)
    ]
    if fastest.name != "cpu":
        places.append((f"{fastest.name}, {fastest.dtype}", fastest, 2))  # 2: by the clock
    tables: dict[str, list[dict]] = {title: [] for title, *_ in places}
    with bar(len(places) * len(cfg.lengths), label="timing") as progress:
        for title, device, threads in places:
            torch.manual_seed(cfg.seed)
            models = {name: model.to(device.name) for name, model in equals(shape).items()}
            for length in cfg.lengths:
                with race.on_threads(threads):
                    tables[title] += measure(cfg, models, length, device, threads)
                progress.update()
    sizes = ", ".join(f"{name} {body_params(model):,}" for name, model in models.items())
    text = (
        f"{race.circumstances(cfg.rounds)}\n\n{DATA}, {cfg.batch_size} texts a step, {cfg.embed} numbers a word; texts "
        f"a second. Parameters beside the embedding: {sizes}.\n\n{table(tables)}"
    )
    print(text)
    longest = max(cfg.lengths)
    for title, rows in tables.items():
        minutes = {row["net"]: row["epoch_minutes"] for row in rows if row["length"] == longest}
        took = ", ".join(f"{name} {value:.1f}" for name, value in minutes.items())
        print(f"\nminutes for {EPOCH:,} texts of {longest} words on {title}: {took}")
    if cfg.publish:
        results.publish(3, "speed", text)
    out = Path(cfg.out)
    draw(tables, out / "speed.png")
    result = {"data": DATA, "versions": versions(), "tables": tables}
    write_json(out / "speed.json", result)
    print(f"\ntable and picture: {out}")
    return result


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
