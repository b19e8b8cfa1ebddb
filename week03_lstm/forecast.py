"""Tomorrow's price, and whether anything beats today's: `./course run 3 forecast`.

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

import copy
import csv
import itertools
import math
import shlex
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn
from tqdm import tqdm

from shared import checkpoint, cli, runs
from shared.device import choose
from shared.errors import CourseError, Stopped
from shared.files import write_json, written_whole
from shared.interrupt import StopRequest
from shared.progress import bar, metrics_log
from week03_lstm import forecast_pictures, series
from week03_lstm.forecast_scores import BASELINES, TARGETS, Forecasts, baselines, headline, print_scores, scores

WEEK_NUMBER = 3
RECURRENT = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
SAVED = "forecasts.safetensors"  # every training that is done, with its forecasts: what --resume goes on from


@dataclass
class Config(cli.CommonConfig):
    """The flags of forecast."""

    data: str = "sp500"
    """sp500, nasdaq (both bundled, daily, 1999 to 2018), or a csv of your own with the columns date and close."""
    gaps: str = "refuse"
    """What to do where prices are missing: refuse (says where), or drop (leaves out such days and says how many)."""
    target: str = "both"
    """returns, levels or both: what the network is to forecast. Levels make the plot that looks perfect."""
    kind: str = "lstm"
    """lstm, gru or rnn."""
    window: int = 20
    """How many days it reads. 20 trading days are a month."""
    hidden: int = 32
    """Size of the hidden state. More can learn more by heart; here there is little else to learn."""
    folds: int = 5
    """How many blocks of test days, one after the other, each with a training of its own."""
    seeds: int = 3
    """How often each training is done, from --seed on, each time from another seed."""
    epochs: int = 60
    """How often each training day is seen, at most."""
    patience: int = 10
    """Stop after so many epochs without a better loss on val; the best epoch's weights are kept."""
    lr: float = 3e-3
    """The size of a step (Adam)."""
    batch_size: int = 64
    """Windows per step."""
    clip: float = 1.0
    """The gradient's norm is cut to this: a crash in the window must not throw the weights away."""
    preset: str = "quick"
    """A set of defaults: `smoke` (seconds), `quick` (minutes), `full` (ten folds, ten seeds).
    A flag given by hand wins over the preset."""


PRESETS = {
    "smoke": {"window": 10, "hidden": 8, "folds": 2, "seeds": 1, "epochs": 2},
    "quick": {},
    "full": {"folds": 10, "seeds": 10},
}


def check(cfg: Config) -> None:
    """Raises CourseError for values that cannot work, before any price is read."""
    for flag, known in (("target", (*TARGETS, "both")), ("kind", tuple(RECURRENT))):
        if getattr(cfg, flag) not in known:
            raise CourseError(f"--{flag} {getattr(cfg, flag)}: choose one of {', '.join(known)}.")
    for flag in ("window", "hidden", "folds", "seeds", "epochs", "patience", "batch_size"):
        if getattr(cfg, flag) < 1:
            raise CourseError(f"--{flag.replace('_', '-')} {getattr(cfg, flag)}: must be at least 1.")
    for flag in ("lr", "clip"):
        if not 0 < getattr(cfg, flag) < math.inf:
            raise CourseError(f"--{flag} {getattr(cfg, flag)}: must be a number above 0.")
    if cfg.seed < 0:
        raise CourseError(f"--seed {cfg.seed}: must be 0 or more.")


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
    windows: series.Windows, part: slice, scaler: series.Scaler, device: torch.device
) -> tuple[torch.Tensor, ...]:
    """The scaled features (N, window, 1) and targets (N,) of a part, float32."""
    scaled = scaler.scale(windows.features[part]), scaler.scale(windows.targets[part])
    return tuple(torch.from_numpy(values.astype(np.float32)).to(device) for values in scaled)


def fit(
    cfg: Config,
    model: Forecaster,
    windows: series.Windows,
    fold: series.Fold,
    scaler: series.Scaler,
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
    model: Forecaster, target: str, windows: series.Windows, part: slice, scaler: series.Scaler
) -> Float[np.ndarray, " N"]:
    """The forecast prices of a part. A forecast return becomes a price by growing the last one."""
    model.eval()
    inputs, _ = tensors(windows, part, scaler, next(model.parameters()).device)
    values = scaler.unscale(model(inputs).cpu().double().numpy())
    return values if target == "levels" else windows.last[part] * (1 + values)


# ---------------------------------------------------------------- the program


def resumed(cfg: Config) -> tuple[Config, Path, dict[str, Any]]:
    """The config of the run to go on with, its folder, and its state: trainings that are done, last step, prices.

    Raises:
        CourseError: nothing to resume, or a flag that would make another run of it.
    """
    if cfg.out:
        run = Path(cfg.out)
    else:
        found = sorted((runs.RUNS / f"week{WEEK_NUMBER:02d}").glob(f"*/{SAVED}"), key=lambda p: p.stat().st_mtime_ns)
        if not found:
            raise CourseError("no forecast to resume yet: `./course run 3 forecast` starts one.")
        run = found[-1].parent
    before = cli.from_run(Config, run)
    usual = asdict(replace(Config(), preset=cfg.preset, **PRESETS[cfg.preset]))
    for name, value in asdict(cfg).items():
        old = getattr(before, name)
        if name not in ("out", "resume", "device") and value not in (usual[name], old):
            raise CourseError(f"{run} was started with --{name.replace('_', '-')} {old}: leave it out, or start anew.")
    return replace(before, out=cfg.out, device=cfg.device), run, checkpoint.load(run / SAVED)


def train_once(
    cfg: Config, windows: series.Windows, fold: series.Fold, target: str, seed: int, device: str, stop: StopRequest
) -> tuple[dict[str, Any], list[dict]]:
    """One training: what it forecasts for the fold's test days and how it went, and the rows that `fit` yielded."""
    began = time.perf_counter()
    scaler = series.Scaler.fit(windows.features[fold.train])
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


def main(cfg: Config) -> dict[str, Any]:
    """Forecasts the next day's price by an LSTM, walking forward, and says whether it beats the last price.

    Returns what result.json holds; the run folder is under the key "run".
    """
    check(cfg)
    run, state = None, {"fits": {}, "step": 0}
    if cfg.resume:
        cfg, run, state = resumed(cfg)
    device = choose(cfg.device)
    prices = series.load_prices(cfg.data, cfg.gaps)
    cfg = replace(cfg, data=prices.name)
    windows = {target: series.windows(prices, cfg.window, target) for target in TARGETS}
    folds = series.folds(prices, windows["returns"], cfg.folds)
    targets = TARGETS if cfg.target == "both" else (cfg.target,)
    if run and not np.array_equal(prices.close, state["close"]):
        raise CourseError(f"{run} was started with other prices than {prices.name} holds now: start a new run.")
    resumed_at = state["step"] if run else None
    run = run or runs.create(WEEK_NUMBER, cfg)
    fits, step = state["fits"], state["step"]

    print(f"{prices.name}: {len(prices):,} closing prices, {prices.dates[0]} to {prices.dates[-1]}")
    for note in prices.notes:
        print(f"  {note}")
    left_out = len(prices) - cfg.window - 1 - len(windows["returns"])
    if left_out:
        print(
            f"  left out {left_out:,} windows: they reach across more than {series.LONGEST_PAUSE} days without a price"
        )
    network, params = cfg.kind.upper(), sum(p.numel() for p in Forecaster(cfg.kind, cfg.hidden).parameters())
    print(f"network: {network} of {cfg.hidden}, {params:,} parameters, reads {cfg.window} days")
    print(f"device: {device.name}, float32 (bf16 keeps three digits of a price, and a day's move is in the third)\n")

    seeds, numbers = range(cfg.seed, cfg.seed + cfg.seeds), range(1, len(folds) + 1)
    jobs = list(itertools.product(numbers, targets, seeds))
    threads = torch.get_num_threads()
    if device.name == "cpu":
        torch.set_num_threads(1)  # matrices of this size are done before a second thread is awake
    try:
        with (
            metrics_log(run / "metrics.jsonl", resumed_at) as log,
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
                    checkpoint.save(run / SAVED, {"fits": fits, "step": step, "close": prices.close})
                    where = f"{cli.mine()} --out {shlex.quote(str(run))}" if cfg.out else cli.mine()
                    raise Stopped(
                        f"stopped after {len(fits)} of {len(jobs)} trainings; saved. "
                        f"`./course run {WEEK_NUMBER} forecast{where} --resume` goes on."
                    ) from None
                for row in rows:
                    step += 1
                    log(step=step, target=target, fold=number, seed=seed, **row)
                fits[key] = done
                checkpoint.save(run / SAVED, {"fits": fits, "step": step, "close": prices.close})
                progress.update()
                error = f"val error {done['val_mae_ratio']:.3f} times the last price's"
                tqdm.write(f"{key}: best epoch {done['best_epoch']} of {done['epochs']}, {error}")
    finally:
        torch.set_num_threads(threads)

    free = [baselines(windows["returns"], fold) for fold in folds]
    forecasts: Forecasts = {name: [[one[name] for one in free]] for name in BASELINES}
    for target in targets:
        forecasts[target] = [[fits[key_of(target, k, seed)]["forecast"] for k in numbers] for seed in seeds]
    found = scores(forecasts, windows, folds)
    print_scores(found, network)
    how = {key: {name: value for name, value in one.items() if name != "forecast"} for key, one in fits.items()}
    seconds = sum(one["seconds"] for one in fits.values())
    result = runs.result(
        WEEK_NUMBER, cfg, device=device.name, dtype="float32", params=params, seconds=seconds,
        metrics=headline(found, targets[0]), baseline={"name": "last price"} | headline(found, "last price"),
    ) | {"fits": how} | found  # fmt: skip
    write_forecasts(run / "forecasts.csv", forecasts, windows["returns"], folds, cfg.seed)
    write_json(run / "result.json", result)
    pictures = forecast_pictures.draw(run)
    print(f"\n{len(jobs)} trainings in {seconds:.0f} s; run folder: {run}")
    print(f"pictures: {', '.join(map(str, pictures))}")
    return result | {"run": str(run)}


def write_forecasts(
    path: Path, forecasts: Forecasts, days: series.Windows, folds: list[series.Fold], seed: int
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
    cli.run(main, Config, PRESETS)
