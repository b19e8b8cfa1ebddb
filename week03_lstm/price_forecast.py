"""Tomorrow's price, and whether anything beats today's: `./course run 3 price_forecast`.

A small LSTM reads a window of days and forecasts the next. It is trained twice: on returns (by how much the price
changed) and on levels (the price itself, as most tutorials have it). Beside it stand three forecasts that cost nothing:

    last price   tomorrow's price is today's
    drift        today's, grown by the mean return of the training days
    AR(1)        today's, grown by a + b · today's return, a and b by least squares on the training days

Everything is walk-forward: train on the past, stop by the days after it, forecast the block of days after those, then
move on. Nothing was chosen on a test day. If markets are efficient (E. Fama, "Efficient capital markets", Journal of
Finance 25, 1970), past prices say next to nothing of tomorrow's, and a network that does not beat the last price is no
failure of the network.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week03_lstm/price_forecast.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import copy
import csv
import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import nn
from tqdm import tqdm

from shared import cli, runs
from shared.config import Count, Positive, TrainConfig
from shared.device import Device, choose
from shared.errors import CourseError
from shared.files import written_whole
from shared.interrupt import StopRequest
from shared.progress import bar, metrics_log
from shared.race import on_threads
from week03_lstm import price_drawing, price_series
from week03_lstm.price_scores import BASELINES, TARGETS, Forecasts, baselines, headline, print_scores, scores

WEEK_NUMBER = 3
RECURRENT = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
PROGRAM = "price_forecast"


@dataclass
class Config(TrainConfig):
    """The flags of price_forecast."""

    data: str = "sp500"
    """sp500, nasdaq (both bundled, daily, 1999 to 2018), or a csv of your own: dates and prices."""
    gaps: Literal["refuse", "drop"] = "refuse"
    """What to do where prices are missing: refuse (says where), or drop (leaves out such days and says how many)."""
    date: str = ""
    """The column of the dates in your csv, by name or number from 1 (default: Date, timestamp, …; says which)."""
    close: str = ""
    """The column of the prices (default: Close, Close/Last, Price, Adj Close, …; says which)."""
    date_format: str = ""
    """day-month-year, month-day-year, year-month-day, or a pattern as %d/%m/%Y (default: the one that fits)."""
    target: Literal["returns", "levels", "both"] = "both"
    """What the network is to forecast. Levels make the plot that looks perfect."""
    kind: Literal["lstm", "gru", "rnn"] = "lstm"
    """The recurrent layer."""
    window: Count = 20
    """How many days it reads. 20 trading days are a month."""
    hidden: Count = 32
    """Size of the hidden state. More can learn more by heart; here there is little else to learn."""
    folds: Count = 5
    """How many blocks of test days, one after the other, each with a training of its own."""
    seeds: Count = 3
    """How often each training is done, from --seed on, each time from another seed."""
    epochs: Count = 60
    """How often each training day is seen, at most."""
    patience: Count = 10
    """Stop after so many epochs without a better loss on val; the best epoch's weights are kept."""
    lr: Positive = 3e-3
    """The size of a step (Adam)."""
    batch_size: Count = 64
    """Windows per step."""
    clip: Positive = 1.0
    """The gradient's norm is cut to this: a crash in the window must not throw the weights away."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"window": 10, "hidden": 8, "folds": 2, "seeds": 1, "epochs": 2},
    "quick": {},
    "full": {"folds": 10, "seeds": 10},
}
FREE = ("device",)  # what --resume may change: the trainings that are done stay as they are


# ---------------------------------------------------------------- the network


class Forecaster(nn.Module):
    """A recurrent layer over the window, and a linear layer on its last state."""

    def __init__(self, kind: str = "lstm", hidden: int = 32) -> None:
        super().__init__()
        self.recurrent = RECURRENT[kind](1, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x: Float[torch.Tensor, "batch window 1"]) -> Float[torch.Tensor, " batch"]:
        """Scaled windows to the scaled forecast of the next day."""
        outputs, _ = self.recurrent(x)  # (batch, window, hidden)
        return self.head(outputs[:, -1]).squeeze(1)  # (batch, hidden) -> (batch, 1) -> (batch,)


def tensors(
    windows: price_series.Windows, part: slice, scaler: price_series.Scaler, device: torch.device
) -> tuple[torch.Tensor, ...]:
    """The scaled features (N, window, 1) and targets (N,) of a part, float32."""
    scaled = scaler.scale(windows.features[part]), scaler.scale(windows.targets[part])
    return tuple(torch.from_numpy(values.astype(np.float32)).to(device) for values in scaled)


def fit(
    cfg: Config,
    model: Forecaster,
    windows: price_series.Windows,
    fold: price_series.Fold,
    scaler: price_series.Scaler,
    seed: int,
    stop: StopRequest | None = None,
) -> Iterator[dict]:
    """Trains on the fold's train part and stops by its val part. Yields {epoch, train_loss, val_loss} per epoch.

    At the end the model holds the weights of the best epoch on val. The test part is not touched.

    Raises:
        CourseError: the loss is no longer a number.
        KeyboardInterrupt: `stop` became true.
    """
    device = next(model.parameters()).device
    inputs, targets = tensors(windows, fold.train, scaler, device)
    val_inputs, val_targets = tensors(windows, fold.val, scaler, device)
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    shuffle = torch.Generator().manual_seed(seed)
    best, kept, waited = math.inf, {}, 0
    for epoch in range(1, cfg.epochs + 1):
        model.train()
        total = torch.zeros((), device=device)
        for rows in torch.randperm(len(inputs), generator=shuffle).to(device).split(cfg.batch_size):
            loss = nn.functional.mse_loss(model(inputs[rows]), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), cfg.clip)
            optimizer.step()
            total += loss.detach() * len(rows)
            if stop:
                raise KeyboardInterrupt
        model.eval()
        with torch.no_grad():
            val_loss = float(nn.functional.mse_loss(model(val_inputs), val_targets))
        train_loss = float(total) / len(inputs)
        for loss in (train_loss, val_loss):
            if not math.isfinite(loss):
                raise CourseError(f"the loss became {loss} in epoch {epoch}. Try --lr {min(cfg.lr / 10, 0.01):g}.")
        yield {"epoch": epoch, "train_loss": train_loss, "val_loss": val_loss}
        waited += 1
        if val_loss < best:
            best, kept, waited = val_loss, copy.deepcopy(model.state_dict()), 0
        if waited >= cfg.patience:
            break
    model.load_state_dict(kept)


@torch.no_grad()
def predict(
    model: Forecaster, target: str, windows: price_series.Windows, part: slice, scaler: price_series.Scaler
) -> Float[np.ndarray, " N"]:
    """The forecast prices of a part. A forecast return becomes a price by growing the last one."""
    model.eval()
    inputs, _ = tensors(windows, part, scaler, next(model.parameters()).device)
    values = scaler.unscale(model(inputs).cpu().double().numpy())
    return values if target == "levels" else windows.last[part] * (1 + values)


# ---------------------------------------------------------------- the program


def train_once(
    cfg: Config, windows: price_series.Windows, fold: price_series.Fold, target: str, seed: int, device: str,
    stop: StopRequest,
) -> tuple[dict[str, Any], list[dict]]:  # fmt: skip
    """One training: what it forecasts for the fold's test days and how it went, and the rows that `fit` yielded."""
    began = time.perf_counter()
    scaler = price_series.Scaler.fit(windows.features[fold.train])
    torch.manual_seed(seed)
    model = Forecaster(cfg.kind, cfg.hidden).to(device)
    rows = list(fit(cfg, model, windows, fold, scaler, seed, stop))
    close, last = windows.close[fold.val], windows.last[fold.val]
    error = np.abs(predict(model, target, windows, fold.val, scaler) - close).mean() / np.abs(last - close).mean()
    done = {
        "forecast": predict(model, target, windows, fold.test, scaler),
        "val_mae_ratio": float(error),
        "best_epoch": min(rows, key=lambda row: row["val_loss"])["epoch"],
        "epochs": len(rows),
        "seconds": time.perf_counter() - began,
    }
    return done, rows


def key_of(target: str, fold: int, seed: int) -> str:
    """The name of a training; folds are counted from 1."""
    return f"{target}, fold {fold}, seed {seed}"


def train_all(
    cfg: Config, run: runs.Run, close: Float[np.ndarray, " days"], windows: Mapping[str, price_series.Windows],
    folds: Sequence[price_series.Fold], device: Device,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Does every training that the run does not hold yet. Each is kept, and logged, as soon as it has ended.

    Args:
        cfg, run: which trainings, and where those that are done lie.
        close: all prices, which are kept with them.
        windows: by target.
        folds: each a training of its own.
        device: what to compute on.

    Returns:
        What `train_once` returned of each, by `key_of`.

    Raises:
        CourseError: the run was started with other prices.
        Stopped: Ctrl-C; the training that was going on is lost, and those before it are kept.
    """
    state = run.take_state() or {"fits": {}, "step": 0, "close": close}
    if not np.array_equal(close, state["close"]):
        raise CourseError(f"{run.folder} was started with other prices than {cfg.data} holds now: start a new run.")
    fits, step = state["fits"], state["step"]
    jobs = trainings(cfg)
    # Matrices of this size are done before a second thread is awake.
    threads = 1 if device.name == "cpu" else torch.get_num_threads()
    with (
        on_threads(threads),
        metrics_log(run.folder / "metrics.jsonl", run.resumed_at) as log,
        StopRequest() as stop,
        bar(len(jobs), len(fits), "training") as progress,
    ):
        for number, target, seed in jobs:
            key = key_of(target, number, seed)
            if key in fits:
                continue
            try:
                done, rows = train_once(cfg, windows[target], folds[number - 1], target, seed, device.name, stop)
            except KeyboardInterrupt:
                run.save({"fits": fits, "step": step, "close": close})
                raise run.stopped(f"stopped after {len(fits)} of {len(jobs)} trainings; saved.") from None
            for row in rows:
                step += 1
                log(step=step, target=target, fold=number, seed=seed, **row)
            fits[key] = done
            run.save({"fits": fits, "step": step, "close": close})
            progress.update()
            error = f"val error {done['val_mae_ratio']:.3f} times the last price's"
            tqdm.write(f"{key}: best epoch {done['best_epoch']} of {done['epochs']}, {error}")
    return fits


def trainings(cfg: Config) -> list[tuple[int, str, int]]:
    """(fold, target, seed) of each training, in the order in which they are done."""
    targets = TARGETS if cfg.target == "both" else (cfg.target,)
    return list(itertools.product(range(1, cfg.folds + 1), targets, range(cfg.seed, cfg.seed + cfg.seeds)))


def describe(cfg: Config, prices: price_series.Prices, windows: int, params: int, device: Device) -> None:
    """What is trained on what."""
    print(f"{prices.name}: {len(prices):,} closing prices, {prices.dates[0]} to {prices.dates[-1]}")
    for note in prices.notes:
        print(f"  {note}")
    if left_out := len(prices) - cfg.window - 1 - windows:
        pause = price_series.LONGEST_PAUSE
        print(f"  left out {left_out:,} windows: they reach across more than {pause} days without a price")
    print(f"network: {cfg.kind.upper()} of {cfg.hidden}, {params:,} parameters, reads {cfg.window} days")
    print(f"device: {device.name}, float32 (bf16 keeps three digits of a price, and a day's move is in the third)\n")


def main(cfg: Config) -> dict[str, Any]:
    """Forecasts the next day's price by an LSTM, walking forward, and says whether it beats the last price.

    Returns what result.json holds; the run folder is under the key "run".
    """
    device = choose(cfg.device)
    prices = price_series.load_prices(cfg.data, cfg.gaps, cfg.date, cfg.close, cfg.date_format)
    cfg = replace(cfg, data=prices.name)
    windows = {target: price_series.windows(prices, cfg.window, target) for target in TARGETS}
    days = windows["returns"]
    folds = price_series.folds(prices, days, cfg.folds)
    run = runs.begin(WEEK_NUMBER, cfg, FREE, PROGRAM)
    params = sum(p.numel() for p in Forecaster(cfg.kind, cfg.hidden).parameters())
    describe(cfg, prices, len(days), params, device)
    fits = train_all(cfg, run, prices.close, windows, folds, device)

    free = [baselines(days, fold) for fold in folds]
    forecasts: Forecasts = {name: [[one[name] for one in free]] for name in BASELINES}
    for number, target, seed in trainings(cfg):
        by_seed = forecasts.setdefault(target, [[] for _ in range(cfg.seeds)])
        by_seed[seed - cfg.seed].append(fits[key_of(target, number, seed)]["forecast"])
    found = scores(forecasts, windows, folds)
    print_scores(found, cfg.kind.upper())
    target = TARGETS[0] if cfg.target == "both" else cfg.target
    about = {key: {name: value for name, value in one.items() if name != "forecast"} for key, one in fits.items()}
    seconds = sum(one["seconds"] for one in fits.values())
    theirs = [
        {"name": name, "params": BASELINES[name], "seconds": 0.0} | headline(found, name)
        for name in reversed(BASELINES)
    ]
    result = run.record(headline(found, target), device, params, seconds, theirs, dtype="float32", fits=about, **found)
    write_forecasts(run.folder / "forecasts.csv", forecasts, days, folds, cfg.seed)
    pictures = price_drawing.draw(run.folder)
    print(f"\n{len(fits)} trainings in {seconds:.0f} s; run folder: {run.folder}")
    print(f"pictures: {', '.join(map(str, pictures))}")
    return result | {"run": str(run.folder)}


def write_forecasts(
    path: Path, forecasts: Forecasts, days: price_series.Windows, folds: list[price_series.Fold], seed: int
) -> None:
    """A csv with a line per test day: date, fold, close, and what everybody had forecast the day before."""
    columns = {
        f"{name} seed {seed + k}" if name in TARGETS else name: np.concatenate(by_fold)
        for name, by_seed in forecasts.items()
        for k, by_fold in enumerate(by_seed)
    }
    tested = [(number, day) for number, fold in enumerate(folds, 1) for day in range(fold.test.start, fold.test.stop)]
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["date", "fold", "close", *columns])
        for (number, day), *values in zip(tested, *columns.values(), strict=True):
            numbers = [f"{value:.10g}" for value in (days.close[day], *values)]
            writer.writerow([days.dates[day], number, *numbers])


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS, WEEK_NUMBER, PROGRAM)
