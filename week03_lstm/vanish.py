"""Why a plain RNN forgets: how much of the gradient comes back through time, and who learns to remember.

`./course run 3 vanish` trains an RNN, a GRU and two LSTMs, equally wide, on the adding problem: a sequence of random
numbers, two of which are marked; at the end say their sum. The data is synthetic, made here from the seed. How long the
memory has to last is the length of the sequence, and nothing else changes.

References
    S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9, 1997, section 5.4: the task. Numbers
        between 0 and 1, one mark in each half, the sum as target: as in Q. Le, N. Jaitly, G. Hinton, "A simple way to
        initialize recurrent networks of rectified linear units", arXiv 1504.00941, 2015, section 4.1
    Y. Bengio, P. Simard, P. Frasconi, "Learning long-term dependencies with gradient descent is difficult", IEEE
        Transactions on Neural Networks 5, 1994; R. Pascanu, T. Mikolov, Y. Bengio, ICML 2013: vanishing, and clipping
    R. Jozefowicz, W. Zaremba, I. Sutskever, "An empirical exploration of recurrent network architectures", ICML 2015,
        section 3: a forget gate whose bias is 1
    C. Tallec, Y. Ollivier, "Can recurrent neural networks warp time?", ICLR 2018, section 2: the chrono initialisation
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week03_lstm/vanish.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from shared import cli, race, results, trials
from shared.config import Count, Natural, NonNegative, Seed
from shared.device import choose
from shared.errors import CourseError
from shared.files import write_json
from shared.plots import BLACK, BLUE, GREEN, ORANGE, SKY, figure
from shared.runs import RUNS, versions
from shared.terminal import command, mine
from week03_lstm.model import CELLS

DATA = "adding problem (synthetic)"
LEARNED = 0.01
"""The mean squared error below which a net has learned the task."""
GUESSING = 1 / 6
"""The mean squared error of always saying 1: twice the variance 1/12 of a number drawn evenly from 0 to 1."""


@dataclass(frozen=True)
class Contestant:
    """What is trained: its kind, how the gates' biases start (torch, one or chrono), its learning rate, and how its
    lines are drawn."""

    kind: str
    bias: str
    lr: float
    colour: str
    line: str = "-"


# The rates come from a search with two seeds and 1000 steps. At length 100, of 0.01 and 0.03 (the chrono LSTM: 0.003
# too, where it was slower), the GRU and the chrono LSTM learned it at both, the other LSTM from one seed at 0.01. The
# RNN did not learn it at any of 0.0003, 0.001, 0.003 and 0.01, not even at length 50.
CONTESTANTS = {
    "RNN": Contestant("rnn", "torch", 0.001, ORANGE),
    "GRU": Contestant("gru", "torch", 0.01, GREEN),
    "LSTM, forget bias 1": Contestant("lstm", "one", 0.01, SKY, "--"),
    "LSTM, chrono": Contestant("lstm", "chrono", 0.01, BLUE),
}


@dataclass
class Config:
    """The flags of vanish."""

    lengths: tuple[Annotated[int, Ge(2)], ...] = (50, 100, 200, 400)
    """Lengths of the sequences: how long the nets have to remember. Time grows with them."""
    seed: Seed = 0
    """The first seed."""
    seeds: Count = 3
    """How often each net is trained at each length: from --seed and the seeds after it."""
    hidden: Count = 32
    """Units of every net."""
    batch_size: Count = 32
    """Sequences per step."""
    steps: Count = 1000
    """Steps at most. A net that has learned the task (val MSE below 0.002) stops earlier."""
    lr: NonNegative = 0.0
    """One learning rate for all (0: each its own, as found by a search)."""
    clip: NonNegative = 1.0
    """Longest gradient; longer ones are shortened. 0 takes the brake off."""
    show: Count = 100
    """The length whose gradients are drawn; one of --lengths, else the longest."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""
    jobs: Natural = 0
    """Trainings side by side, one thread each (0: as many as there are cores; on a GPU one)."""
    out: str = str(RUNS / "week03" / "vanish")
    """The folder for trainings, table and pictures. What it holds already is not trained again."""
    preset: str = "quick"
    """A set of defaults: `smoke` (seconds), `quick` (minutes), `full` (five times the steps, five seeds: an hour).
    A flag given by hand wins over the preset."""
    publish: bool = False
    """Put the table into the week's RESULTS.md (for whoever looks after the lesson)."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"lengths": (8, 12), "seeds": 2, "hidden": 8, "steps": 20, "jobs": 1},
    "quick": {},
    "full": {"seeds": 5, "steps": 5000},
}


def adding_problem(
    count: int, length: int, generator: torch.Generator
) -> tuple[Float[Tensor, "batch time 2"], Float[Tensor, " batch"]]:
    """Sequences x (count, length, 2) of a number from 0 to 1 and a mark, and y (count,), the sum of the two marked.

    One mark stands in the first half, one in the second. Drawn on the CPU, so that every device sees the same.
    """
    numbers, marks = torch.rand(count, length, generator=generator), torch.zeros(count, length)
    half, rows = length // 2, torch.arange(count)
    marks[rows, torch.randint(0, half, (count,), generator=generator)] = 1
    marks[rows, torch.randint(half, length, (count,), generator=generator)] = 1
    return torch.stack([numbers, marks], dim=2), (numbers * marks).sum(dim=1)


class Adder(nn.Module):
    """A recurrent net of torch.nn that reads the sequence, and a number made from its last state."""

    def __init__(self, kind: str, hidden: int) -> None:
        super().__init__()
        self.kind = kind
        self.recurrent = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[kind](2, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x: Float[Tensor, "batch time 2"]) -> Float[Tensor, " batch"]:
        outputs, _ = self.recurrent(x)  # (B, T, H)
        return self.head(outputs[:, -1])[:, 0]


def set_biases(network: Adder, bias: str, longest: int) -> None:
    """How far each gate is open when training starts.

    torch: as torch.nn draws them, so that a forget gate is half open and half of the cell is lost at every step.
    one: the LSTM's forget gates start at σ(1) = 0.73.
    chrono: the forget gate of each unit forgets over a time of its own, drawn from 1 to `longest` - 1; its input gate
    does the opposite.
    """
    if bias == "torch":
        return
    H = network.recurrent.hidden_size
    with torch.no_grad():
        both = network.recurrent.bias_ih_l0, network.recurrent.bias_hh_l0
        forget = torch.ones(H)
        if bias == "chrono":
            forget = torch.log(1 + torch.rand(H) * max(1, longest - 2))
            both[0][:H], both[1][:H] = -forget, 0
        both[0][H : 2 * H], both[1][H : 2 * H] = forget, 0


def gradient_over_lags(network: Adder, x: Float[Tensor, "batch time 2"]) -> list[float]:
    """How much of the gradient is left `lag` steps before the end, for every lag from 0 to T-1; at lag 0 it is 1.

    Backpropagation through time, step by step: the gradient with respect to the state at time t is that at t+1 times
    the matrix of slopes ∂state(t+1)/∂state(t). The state is h, and h and c together in an LSTM. A net's loss only
    multiplies it by a number that is the same for all lags. Mean over the batch of the gradient's length. float64:
    float32 would end at 1e-45.
    """
    layer, cell = network.recurrent, CELLS[network.kind]
    w_ih, w_hh, b_ih, b_hh = (getattr(layer, f"{name}_l0").detach().double() for name in
                              ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))  # fmt: skip
    state = (x.new_zeros(len(x), layer.hidden_size, dtype=torch.float64),) * cell.states
    pairs = []
    for projected in F.linear(x.double(), w_ih, b_ih).unbind(dim=1):
        old = tuple(part.detach().requires_grad_() for part in state)
        state = cell.step(projected, old, w_hh, b_hh)
        pairs.append((old, state))
    # The prediction is a weighted sum of the last h; so are the weights the gradient there, and 0 for the cell.
    gradient = [network.head.weight.detach().double().expand_as(state[0]), *map(torch.zeros_like, state[1:])]
    start = torch.cat(gradient, dim=1).norm(dim=1)
    shares = [1.0]
    for old, new in reversed(pairs[1:]):
        gradient = torch.autograd.grad(new, old, gradient)
        shares.append(float((torch.cat(gradient, dim=1).norm(dim=1) / start).mean()))
    return shares


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Numbers below 1e-38 count as 0 in here. A vanishing gradient is full of them, and they are slow to multiply:
    at 400 steps they cost this training ten times its time on a CPU."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def trainings(cfg: Config, device: str) -> dict[tuple[str, str, str], trials.Flags]:
    """{(net, its length, its seed): flags} of all trainings, the longest first."""
    same = {"hidden": cfg.hidden, "batch_size": cfg.batch_size, "steps": cfg.steps, "clip": cfg.clip, "device": device}
    return {
        (net, f"length {length}", f"seed {seed}"):
            {"net": net, "length": length, "seed": seed, "lr": cfg.lr or one.lr} | same
        for length in sorted(set(cfg.lengths), reverse=True) for seed in trials.seeds(cfg)
        for net, one in CONTESTANTS.items()
    }  # fmt: skip


def train_once(flags: trials.Flags, threads: int = 1) -> dict[str, Any]:
    """Trains one net and returns what it reached on sequences it has not seen, and its gradients before and after."""
    with race.on_threads(threads):
        return _train_once(**flags)


def _train_once(
    net: str, length: int, seed: int, lr: float, hidden: int, batch_size: int, steps: int, clip: float, device: str
) -> dict[str, Any]:
    contestant = CONTESTANTS[net]
    torch.manual_seed(seed)
    network = Adder(contestant.kind, hidden)
    set_biases(network, contestant.bias, length)
    network.to(device)

    def drawn(count: int, purpose: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(4 * seed + purpose)
        return tuple(part.to(device) for part in adding_problem(count, length, generator))

    def error(x: Tensor, y: Tensor) -> float:
        with torch.no_grad():
            return float(F.mse_loss(network(x), y))

    val, test = drawn(500, 1), drawn(2000, 2)
    looked_at, _ = drawn(32, 3)
    before = gradient_over_lags(network, looked_at)
    generator = torch.Generator().manual_seed(4 * seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    curve, began = [], time.perf_counter()
    with flushed_denormals():
        for step in range(1, steps + 1):
            x, y = (part.to(device) for part in adding_problem(batch_size, length, generator))
            loss = F.mse_loss(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(network.parameters(), clip)
            optimizer.step()
            if step % 50 == 0 or step == steps:
                curve.append((step, error(*val)))
                if curve[-1][1] < 0.002 or not math.isfinite(curve[-1][1]):
                    break
    reached = {"net": net, "length": length, "seed": seed, "seconds": round(time.perf_counter() - began, 2)}
    mse = error(*test)
    if not math.isfinite(mse):
        return reached | {"diverged": True}
    return reached | {
        "params": sum(p.numel() for p in network.parameters()),
        "steps": step,
        "val_loss": curve[-1][1],
        "test_mse": mse,
        "guessing": float(F.mse_loss(torch.ones_like(test[1]), test[1])),
        "val_curve": curve,
        "before": before,
        "after": gradient_over_lags(network, looked_at),
    }


def draw_gradients(rows: Sequence[dict], path: Path) -> None:
    """How much of the gradient is left at each lag, before and after training: the middle seed, and the range."""
    length = rows[0]["length"]
    with figure(path, columns=2, size=(9.0, 3.7)) as (_, axes):
        for axis, when in zip(axes, ("before", "after"), strict=True):
            for name, contestant in CONTESTANTS.items():
                shares = np.array([row[when] for row in rows if row["net"] == name])
                shares = np.maximum(shares, 1e-300)  # what is 0 has no logarithm
                axis.plot(np.median(shares, axis=0), contestant.line, color=contestant.colour, label=name)
                low, high = shares.min(axis=0), shares.max(axis=0)
                axis.fill_between(range(length), low, high, color=contestant.colour, alpha=0.18, linewidth=0)
            axis.axhline(1e-7, color=BLACK, linewidth=0.8, linestyle=":")
            axis.set(title=f"{when.capitalize()} training", xlabel="steps back from the end", yscale="log")
        axes[0].set_ylabel("gradient that is left (at the end: 1)")
        axes[0].text(0, 3e-8, "float32 keeps\n7 digits of a sum", fontsize=8, va="top")
        low = min(axis.get_ylim()[0] for axis in axes)
        for axis in axes:
            axis.set_ylim(low, 100)
        axes[1].legend(loc="lower left", fontsize=8)


def draw_adding(rows: Sequence[dict], path: Path) -> None:
    """The error at each length, every seed a dot and the mean a line; and how it fell at the longest length."""
    lengths = sorted({row["length"] for row in rows})
    with figure(path, columns=2, size=(9.0, 3.7)) as (_, (left, right)):
        for name, contestant in CONTESTANTS.items():
            mine = [row for row in rows if row["net"] == name]
            means = [statistics.mean(r["test_mse"] for r in mine if r["length"] == length) for length in lengths]
            left.plot(lengths, means, contestant.line, color=contestant.colour, label=name)
            left.scatter([r["length"] for r in mine], [r["test_mse"] for r in mine], color=contestant.colour, s=14)
            for row in mine:
                if row["length"] == lengths[-1]:
                    steps, errors = zip(*row["val_curve"], strict=True)
                    right.plot(steps, errors, contestant.line, color=contestant.colour, linewidth=1.2)
        for axis in (left, right):
            axis.axhline(GUESSING, color=BLACK, linewidth=0.8, linestyle=":")
            axis.set(yscale="log", ylim=(5e-4, 1))
        left.text(lengths[0], GUESSING * 1.1, "always saying 1", fontsize=8, va="bottom")
        left.set(title="The adding problem", xlabel="length of the sequence", ylabel="mean squared error")
        left.set_xticks(lengths)
        left.legend(fontsize=8, loc="center right")
        right.set(title=f"Learning it at length {lengths[-1]}", xlabel="step")


def summarise(rows: Sequence[dict]) -> list[dict[str, Any]]:
    """One row per net and length: mean and spread of the error over the seeds, how many learned it, and how fast."""
    found = []
    for name in CONTESTANTS:
        for length in sorted({row["length"] for row in rows}):
            mine = [row for row in rows if row["net"] == name and row["length"] == length]
            mean, std = trials.mean_std([row["test_mse"] for row in mine])
            found.append({
                "net": name, "length": length, "params": mine[0]["params"], "seeds": len(mine),
                "test_mse": mean, "std": std, "guessing": statistics.mean(row["guessing"] for row in mine),
                "solved": sum(row["test_mse"] < LEARNED for row in mine),
                "steps": statistics.mean(row["steps"] for row in mine),
                "seconds": statistics.mean(row["seconds"] for row in mine),
            })  # fmt: skip
    return found


def table(summary: Sequence[dict]) -> str:
    """The error of every net at every length, and how many seeds learned it, as a Markdown table."""
    first, *others = map(str, sorted({row["length"] for row in summary}))
    lines = []
    for name in CONTESTANTS:
        mine = [row for row in summary if row["net"] == name]
        cells = [f"{r['test_mse']:.4f} ± {r['std']:.4f}, {r['solved']} of {r['seeds']}" for r in mine]
        lines.append([name, f"{mine[0]['params']:,}", *cells])
    lines.append(["always saying 1", "", *[f"{GUESSING:.3f}"] * (1 + len(others))])
    return results.markdown(["net", "parameters", f"length {first}", *others], lines)


def main(cfg: Config) -> dict[str, Any]:
    """Trains RNN, GRU and LSTM on the adding problem at several lengths, and measures how far their gradients reach."""
    if not cfg.lengths:
        raise CourseError("--lengths: give at least one.")
    device, out = choose(cfg.device).name, Path(cfg.out)
    print(f"{DATA}: say the sum of the two marked numbers. Always saying 1: MSE {GUESSING:.3f}")
    print(f"{cfg.hidden} units, batches of {cfg.batch_size}, at most {cfg.steps:,} steps; {device}, float32")
    # With --mine a learner's own cells measure the gradients, others at every call: then nothing is kept.
    with tempfile.TemporaryDirectory() if mine() else nullcontext(out / "trainings") as folder:
        jobs = trials.side_by_side(cfg.jobs, device)
        found = trials.run_all(trainings(cfg, device), train_once, Path(folder), jobs)
    rows = sorted(found.values(), key=lambda row: (list(CONTESTANTS).index(row["net"]), row["length"], row["seed"]))
    if any(row.get("diverged") for row in rows):
        raise CourseError("a net's error became infinite: give a smaller --lr, or a --clip above 0.")

    summary = summarise(rows)
    about = (
        f"*`{command()}`: the {DATA}, {cfg.hidden} units, batches of {cfg.batch_size}, at most {cfg.steps:,} steps; "
        f"mean squared error on 2,000 new sequences, mean ± standard deviation, and how many of {cfg.seeds} seeds "
        f"learned it, that is, came below {LEARNED}; {race.processor()}; torch {versions()['torch']}, float32*"
    )
    print(f"\n{about}\n\n{table(summary)}")
    if cfg.publish:
        results.publish(3, "vanish", f"{about}\n\n{table(summary)}")

    shown = cfg.show if cfg.show in cfg.lengths else max(cfg.lengths)
    gradients = [row for row in rows if row["length"] == shown]
    print(f"\nleft of the gradient {shown - 1} steps back, middle seed   before training   after")
    middle = {
        name: {when: np.median([row[when] for row in gradients if row["net"] == name], axis=0).tolist()
               for when in ("before", "after")}
        for name in CONTESTANTS
    }  # fmt: skip
    for name, left in middle.items():
        print(f"{name:51s}{left['before'][-1]:>15.0e}{left['after'][-1]:>8.0e}")

    draw_gradients(gradients, out / "gradient_over_lags.png")
    draw_adding(rows, out / "adding_problem.png")
    result = {"data": DATA, "baseline": {"name": "always saying 1", "test_mse": GUESSING}, "table": summary}
    result |= {"gradients": {"length": shown} | middle}
    left_out = ("before", "after", "flags")
    result["runs"] = [{key: value for key, value in row.items() if key not in left_out} for row in rows]
    write_json(out / "vanish.json", result)
    print(f"\ntable and pictures: {out}")
    return result


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
