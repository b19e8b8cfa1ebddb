"""From one sequence to another, through a needle's eye: `./course run 3 seq2seq` reverses strings of digits.

One LSTM reads the digits, a second one writes the answer. All that the second knows of the first is its last state:
however long the string, it has to fit into 2 x `hidden` numbers. That is the bottleneck, and the accuracy against the
length shows it. Week 5 removes it. The data is synthetic: random digits, made here from the seed.

References
    I. Sutskever, O. Vinyals, Q. Le, "Sequence to sequence learning with neural networks", NIPS 2014
    K. Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014; and K. Cho et al., "On the
        properties of neural machine translation", SSST 2014: how it falls off with the length
    R. Williams, D. Zipser, "A learning algorithm for continually running fully recurrent neural networks", Neural
        Computation 1, 1989: teacher forcing
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week03_lstm/seq2seq.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from shared import cli, race, results, trials
from shared.config import Count, Natural, Positive, Seed
from shared.device import choose
from shared.errors import CourseError
from shared.files import write_json
from shared.plots import BLACK, COLOURS, figure
from shared.runs import RUNS, versions
from shared.terminal import command
from week03_lstm.train import learning_rate, set_lr

DATA = "random digits (synthetic)"
START, END, SYMBOLS = 10, 11, 12  # beside the ten digits

Digits = Int[Tensor, "batch digits"]
Symbols = Int[Tensor, "batch time"]


@dataclass
class Config:
    """The flags of seq2seq."""

    task: Literal["reverse", "sort"] = "reverse"
    """What is to be done with the digits."""
    hidden: tuple[Count, ...] = (32, 64, 128)
    """Sizes of the state to compare: the width of the needle's eye."""
    max_len: Count = 16
    """Longest string in training. Tested are strings of up to half as many digits more."""
    seed: Seed = 0
    """The first seed."""
    seeds: Count = 3
    """How often each size is trained: from --seed and the seeds after it."""
    steps: Count = 2000
    """Training steps of each net."""
    batch_size: Count = 64
    """Strings per step, all of one length, so that nothing needs padding."""
    lr: Positive = 0.005
    """The highest learning rate of Adam; it warms up and falls to zero."""
    clip: Positive = 1.0
    """Longest gradient; longer ones are shortened."""
    test_strings: Count = 200
    """Strings tested at each length."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""
    jobs: Natural = 0
    """Trainings side by side, one thread each (0: as many as there are cores; on a GPU one)."""
    out: str = str(RUNS / "week03" / "seq2seq")
    """The folder for trainings, table and picture. What it holds already is not trained again."""
    preset: str = "quick"
    """A set of defaults: `smoke` (seconds), `quick` (minutes), `full` (more steps, a wider net, longer strings).
    A flag given by hand wins over the preset."""
    publish: bool = False
    """Put the table into the week's RESULTS.md (for whoever looks after the lesson)."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"hidden": (16,), "max_len": 4, "seeds": 2, "steps": 30, "test_strings": 50, "jobs": 1},
    "quick": {},
    "full": {"hidden": (32, 64, 128, 256), "max_len": 24, "seeds": 3, "steps": 10_000, "test_strings": 1000},
}


def answer(digits: Digits, task: str) -> Digits:
    """What the net is to say to the digits (B, T): the same ones backwards, or in ascending order."""
    return digits.flip(1) if task == "reverse" else digits.sort(dim=1).values


def strings(count: int, length: int, generator: torch.Generator) -> Digits:
    """`count` random strings of `length` digits. Drawn on the CPU, so that every device sees the same."""
    return torch.randint(0, 10, (count, length), generator=generator)


class Seq2Seq(nn.Module):
    """An LSTM that reads, an LSTM that writes, and between them nothing but the state (h, c): 2 H numbers."""

    def __init__(self, hidden: int, embed: int = 16) -> None:
        super().__init__()
        self.table = nn.Embedding(SYMBOLS, embed)
        self.encoder = nn.LSTM(embed, hidden, batch_first=True)
        self.decoder = nn.LSTM(embed, hidden, batch_first=True)
        self.head = nn.Linear(hidden, SYMBOLS)

    def forward(self, digits: Digits, before: Symbols) -> Float[Tensor, "batch time symbols"]:
        """Logits of each next symbol, given the digits (B, S) and what stands `before` it in the right answer (B, T).

        That is teacher forcing: in training each step is told the right symbols so far, not the net's own, so that all
        steps can be computed at once and one early mistake does not spoil the rest of the lesson.
        """
        _, state = self.encoder(self.table(digits))  # h and c, each (1, B, H): all that is handed over
        outputs, _ = self.decoder(self.table(before), state)  # (B, T, H)
        return self.head(outputs)

    @torch.no_grad()
    def greedy(self, digits: Digits, steps: int) -> Symbols:
        """What it writes on its own, (B, steps): at each step the likeliest symbol, which is then read back in."""
        _, state = self.encoder(self.table(digits))
        symbol = digits.new_full((len(digits), 1), START)
        written = []
        for _ in range(steps):
            outputs, state = self.decoder(self.table(symbol), state)
            symbol = self.head(outputs).argmax(dim=2)  # (B, 1)
            written.append(symbol)
        return torch.cat(written, dim=1)


def with_end(digits: Digits) -> Symbols:
    """The digits and END behind them: (B, T) to (B, T+1)."""
    return torch.cat([digits, digits.new_full((len(digits), 1), END)], dim=1)


def loss(network: Seq2Seq, digits: Digits, task: str) -> Float[Tensor, ""]:
    """Mean cross-entropy of every symbol of the answer, END included, by teacher forcing."""
    target = with_end(answer(digits, task))  # (B, T+1)
    before = torch.cat([target.new_full((len(target), 1), START), target[:, :-1]], dim=1)
    return F.cross_entropy(network(digits, before).flatten(0, 1), target.flatten())


def accuracy(network: Seq2Seq, digits: Digits, task: str) -> tuple[float, float]:
    """The share of answers that are right as a whole, END included, and the share of digits in their right place."""
    target = with_end(answer(digits, task))
    right = network.greedy(digits, target.shape[1]) == target
    return float(right.all(dim=1).float().mean()), float(right[:, :-1].float().mean())


def guessing(length: int, task: str) -> float:
    """The share of digits right of one who does not look, and says the likeliest digit at each place.

    When they are to be reversed, all are equally likely. Sorted, the k-th of n digits is at most d when at least k of
    them are, and each is with probability (d + 1) / 10; so that small ones are likely at the beginning.
    """
    if task == "reverse":
        return 0.1

    def at_most(place: int, p: float) -> float:
        return sum(math.comb(length, k) * p**k * (1 - p) ** (length - k) for k in range(place, length + 1))

    places = range(1, length + 1)
    return sum(max(at_most(k, (d + 1) / 10) - at_most(k, d / 10) for d in range(10)) for k in places) / length


def tested_lengths(max_len: int) -> range:
    """1 to half as much again as was trained on."""
    return range(1, max_len + max(1, max_len // 2) + 1)


def train_once(flags: trials.Flags, threads: int = 1) -> dict[str, Any]:
    """Trains one net on strings of 1 to max_len digits and tests it on new ones of each length."""
    with race.on_threads(threads):
        return _train_once(**flags)


def _train_once(
    task: str, hidden: int, seed: int, max_len: int, steps: int, batch_size: int, lr: float, clip: float,
    test_strings: int, device: str,
) -> dict[str, Any]:  # fmt: skip
    torch.manual_seed(seed)
    network = Seq2Seq(hidden).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(2 * seed)
    losses, began = [], time.perf_counter()
    for step in range(steps):
        set_lr(optimizer, learning_rate(step, steps, lr))
        length = int(torch.randint(1, max_len + 1, (), generator=generator))
        value = loss(network, strings(batch_size, length, generator).to(device), task)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
        losses.append(value.detach())
    seconds = time.perf_counter() - began
    # Short strings have all been seen in training: there are only ten of one digit. Long ones hardly ever.
    generator = torch.Generator().manual_seed(2 * seed + 1)
    scores = []
    for length in tested_lengths(max_len):
        scores.append(accuracy(network, strings(test_strings, length, generator).to(device), task))
    examples = []
    for length in (max_len // 2, max_len, tested_lengths(max_len)[-1]):
        digits = strings(1, max(1, length), generator)
        written = network.greedy(digits.to(device), digits.shape[1] + 1)[0].tolist()
        examples.append(["".join("0123456789<|"[s] for s in row) for row in
                         (digits[0].tolist(), answer(digits, task)[0].tolist(), written)])  # fmt: skip
    mean_loss = float(torch.stack(losses[-100:]).mean())
    if not math.isfinite(mean_loss):
        return {"hidden": hidden, "seed": seed, "seconds": round(seconds, 2), "diverged": True}
    return {
        "hidden": hidden,
        "seed": seed,
        "params": sum(p.numel() for p in network.parameters()),
        "seconds": round(seconds, 2),
        "loss": mean_loss,
        "exact": [exact for exact, _ in scores],
        "digits": [each for _, each in scores],
        "examples": examples,
    }


def draw(rows: Sequence[dict], cfg: Config, path: Path) -> None:
    """Whole strings right, and single digits right, against the length: each seed a thin line, the mean a thick one."""
    lengths = tested_lengths(cfg.max_len)
    with figure(path, columns=2, size=(9.0, 3.7)) as (_, axes):
        for axis, what in zip(axes, ("exact", "digits"), strict=True):
            for hidden, colour in zip(sorted(set(cfg.hidden)), COLOURS, strict=False):
                mine = [[100 * v for v in row[what]] for row in rows if row["hidden"] == hidden]
                for one in mine:
                    axis.plot(lengths, one, color=colour, linewidth=0.7, alpha=0.6)
                means = [statistics.mean(values) for values in zip(*mine, strict=True)]
                axis.plot(lengths, means, color=colour, label=f"state of 2 x {hidden}")
            axis.axvspan(cfg.max_len + 0.5, lengths[-1] + 0.5, color=BLACK, alpha=0.06, linewidth=0)
            axis.set(xlabel="digits in the string", ylim=(-3, 103), xlim=(1, lengths[-1] + 0.5))
            axis.xaxis.get_major_locator().set_params(integer=True)
        axes[0].set(title=f"To {cfg.task}: whole strings right (%)")
        axes[1].set(title="Digits in their right place (%)")
        blind = [100 * guessing(length, cfg.task) for length in lengths]
        axes[1].plot(lengths, blind, color=BLACK, linewidth=0.8, linestyle=":")
        axes[1].text(lengths[-1], blind[-1] + 1, "guessing", fontsize=8, va="bottom", ha="right")
        axes[0].text(cfg.max_len + 0.8, 100, "longer than\nin training", fontsize=8, va="top")
        axes[0].legend(fontsize=8, loc="lower left")


def trainings(cfg: Config, device: str) -> dict[tuple[str, str], trials.Flags]:
    """{(its state, its seed): flags} of all trainings, the widest first, for it takes longest."""
    same = {name: getattr(cfg, name) for name in ("task", "max_len", "steps", "batch_size", "lr", "clip")}
    same |= {"test_strings": cfg.test_strings, "device": device}
    sizes = sorted(set(cfg.hidden), reverse=True)
    return {
        (f"state of 2 × {size}", f"seed {seed}"): {"hidden": size, "seed": seed} | same
        for size in sizes for seed in trials.seeds(cfg)
    }  # fmt: skip


def summarise(rows: Sequence[dict]) -> list[dict[str, Any]]:
    """One row per size of the state: mean and spread over the seeds of what is right, by the length of the string."""
    found = []
    for hidden in sorted({row["hidden"] for row in rows}):
        mine = [row for row in rows if row["hidden"] == hidden]
        entry: dict[str, Any] = {"hidden": hidden, "params": mine[0]["params"], "seeds": len(mine)}
        entry["seconds"] = statistics.mean(row["seconds"] for row in mine)
        for what in ("exact", "digits"):
            columns = [trials.mean_std(column) for column in zip(*(row[what] for row in mine), strict=True)]
            entry[what], entry[f"{what}_std"] = (list(part) for part in zip(*columns, strict=True))
        found.append(entry)
    return found


def table(summary: Sequence[dict], lengths: Sequence[int]) -> str:
    """Whole strings right at some lengths, in percent, as a Markdown table."""
    lines = []
    for row in summary:
        cells = [f"{100 * row['exact'][n - 1]:.1f} ± {100 * row['exact_std'][n - 1]:.1f}" for n in lengths]
        lines.append([f"2 × {row['hidden']}", f"{row['params']:,}", *cells])
    first, *others = map(str, lengths)
    return results.markdown(["state", "parameters", f"{first} digits", *others], lines)


def main(cfg: Config) -> dict[str, Any]:
    """Trains encoder and decoder without attention to reverse or sort digits; accuracy against the length."""
    if not cfg.hidden:
        raise CourseError("--hidden: give at least one.")
    device, out = choose(cfg.device).name, Path(cfg.out)
    print(f"{DATA}, to {cfg.task}; trained on 1 to {cfg.max_len} of them; {device}, float32")
    jobs = trials.side_by_side(cfg.jobs, device)
    found = trials.run_all(trainings(cfg, device), train_once, out / "trainings", jobs)
    rows = [{key: value for key, value in row.items() if key != "flags"} for row in found.values()]
    rows.sort(key=lambda row: (row["hidden"], row["seed"]))
    if any(row.get("diverged") for row in rows):
        raise CourseError("a net's loss became infinite: give a smaller --lr.")

    half, longest = max(1, cfg.max_len // 2), tested_lengths(cfg.max_len)[-1]
    shown, summary = sorted({half, cfg.max_len, min(cfg.max_len + 1, longest), longest}), summarise(rows)
    about = (
        f"*`{command()}`: strings of 1 to {cfg.max_len} {DATA}, to {cfg.task}; whole strings right, in percent, mean ± "
        f"standard deviation over {cfg.seeds} seeds; {race.processor()}; torch {versions()['torch']}, float32*"
    )
    text = f"{about}\n\n{table(summary, shown)}"
    print(f"\n{text}")
    print(f"\n(digits in their right place, at {shown[-1]}: {summary[-1]['digits'][-1]:.0%}; by guessing "
          f"{guessing(shown[-1], cfg.task):.0%})")  # fmt: skip
    print(f"\nwhat the widest one wrote ('|' is its end)\n{'digits':28s}{'right':28s}written")
    for digits, right, written in rows[-1]["examples"]:
        print(f"{digits:28s}{right + '|':28s}{written}")
    if cfg.publish:
        results.publish(3, "seq2seq", text)

    draw(rows, cfg, out / "accuracy_over_length.png")
    guess = {"name": "guessing", "digits": [guessing(length, cfg.task) for length in tested_lengths(cfg.max_len)]}
    result = {"data": DATA, "task": cfg.task, "lengths": list(tested_lengths(cfg.max_len)), "baseline": guess}
    result |= {"table": summary, "runs": rows}
    write_json(out / "seq2seq.json", result)
    print(f"\ntable and picture: {out}")
    return result


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
