"""The pictures of the prices: the famous plot that looks perfect and is only a day late, and every fold's error."""

import csv
from pathlib import Path

import numpy as np

from shared.errors import CourseError
from shared.files import read_json
from shared.plots import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILLION, figure, short

COLOURS = {"drift": GREY, "AR(1)": PURPLE, "returns": BLUE, "levels": ORANGE}
NAMES = {"sp500": "S&P 500", "sample": "S&P 500", "nasdaq": "NASDAQ"}


def read_forecasts(path: Path) -> dict[str, np.ndarray]:
    """The columns of forecasts.csv: date as datetime64[D], all others as numbers.

    Raises:
        CourseError: there is none.
    """
    if not path.is_file():
        raise CourseError(f"{path} is not there: `./course run 3 price_forecast` makes it.")
    with path.open(encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file)
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    return {
        name: np.array(column, dtype="datetime64[D]" if name == "date" else float) for name, column in columns.items()
    }


def draw(run: Path, out: Path | None = None) -> list[Path]:
    """Draws both pictures of a finished forecast run into `out` (default: the run's folder) and returns their paths."""
    run = Path(run)
    out = Path(out or run)
    result, table = read_json(run / "result.json"), read_forecasts(run / "forecasts.csv")
    target = "levels" if "levels" in result["all"] else "returns"
    # The fold that looks best on val: chosen without a look at its test days.
    val = {
        fold["fold"]: result["fits"][f"{target}, fold {fold['fold']}, seed {result['seed']}"]["val_mae_ratio"]
        for fold in result["folds"]
    }
    fold = min(val, key=val.get)
    rows = table["fold"] == fold
    name = NAMES.get(result["data"], Path(result["data"]).name)
    paths = [out / "shifted_price.png", out / "error_over_folds.png"]
    shifted_price(
        paths[0], name, table["date"][rows], table["close"][rows], table[f"{target} seed {result['seed']}"][rows],
        result["shift"][target],
    )  # fmt: skip
    error_over_folds(paths[1], name, result)
    return paths


def shifted_price(
    path: Path,
    name: str,
    dates: np.ndarray,
    close: np.ndarray,
    forecast: np.ndarray,
    correlations: list[float],
    days: int = 250,
    zoom: int = 25,
) -> None:
    """The plot that looks perfect, the same from close up, and what shows that it is the price a day late.

    Args:
        path: where the PNG goes.
        name: of the prices.
        dates, close, forecast: (N,) test days, what the price was, and what had been forecast.
        correlations: of the forecast's daily changes with the price's k days before, for k = -m … m.
        days: how many of the days to draw, from the first on.
        zoom: how many of them to draw from close up; those with the largest move are taken.
    """
    dates, close, forecast = dates[:days], close[:days], forecast[:days]
    zoom = min(zoom, len(close))
    start = int(np.argmax([np.ptp(close[i : i + zoom]) for i in range(len(close) - zoom + 1)]))
    near = slice(start, start + zoom)
    most = len(correlations) // 2
    late = int(np.argmax(correlations)) == most + 1
    close_by = np.abs(forecast - close).mean() < 0.2 * np.ptp(close)  # else it was hardly trained, and looks it
    with figure(path, rows=2, columns=2, size=(9.0, 6.4)) as (drawing, axes):
        grid = axes[0, 0].get_gridspec()
        for axis in axes[0]:
            axis.remove()
        wide, (left, right) = drawing.add_subplot(grid[0, :]), axes[1]

        wide.plot(dates, close, color=INK, linewidth=2.2, label=f"{name}: the price")
        wide.plot(dates, forecast, color=ORANGE, linewidth=1.3, label="what was forecast the day before")
        wide.axvspan(dates[near][0], dates[near][-1], color=GREEN, alpha=0.12, linewidth=0)
        wide.set(title="It looks perfect …" if close_by and late else "Price and forecast")
        wide.legend(loc="best")

        left.plot(close[near], color=INK, marker="o", markersize=3, label="price")
        left.plot(forecast[near], color=ORANGE, marker="o", markersize=3, label="forecast")
        left.set(title="… and comes a day late" if close_by and late else "The green days, from close up")
        left.set_xlabel(f"trading day from {dates[near][0]} on")
        left.legend(loc="best", fontsize=9)

        lags = np.arange(-most, most + 1)
        right.bar(lags, correlations, color=[VERMILLION if lag == 1 else GREY for lag in lags])
        right.axhline(0, color=INK, linewidth=0.8)
        right.set(title="The forecast's changes are yesterday's" if late else "Are its changes yesterday's?")
        right.set(xticks=lags, ylabel="correlation", xlabel="with the price's change so many days before")


def error_over_folds(path: Path, name: str, result: dict) -> None:
    """Each fold's MAE as a ratio to the last price's: a bar for the mean over the seeds, a dot for every seed.

    The network on levels has a picture (with a log scale) of its own beside the others'.
    """
    folds = result["folds"]
    trained = {"returns": "network on returns", "levels": "network on levels"}
    near = [each for each in ("drift", "AR(1)", "returns") if each in result["all"]]
    panels = [near, ["levels"]] if "levels" in result["all"] else [near]
    x = np.arange(len(folds))
    with figure(path, columns=len(panels), size=(5.2 * len(panels), 3.8)) as (_, axes):
        for axis, names in zip(np.atleast_1d(axes), panels, strict=True):
            axis.axhline(1, color=INK, linewidth=1.2, label="last price")
            for place, each in enumerate(names):
                at = x + 0.22 * (place - (len(names) - 1) / 2)
                values = [[seed["mae_ratio"] for seed in fold["scores"][each]["seeds"]] for fold in folds]
                means = [np.mean(v) for v in values]
                axis.scatter(at, means, marker="_", s=200, linewidths=2.6, color=COLOURS[each])
                label = trained.get(each, each)
                for position, v in zip(at, values, strict=True):
                    axis.scatter([position] * len(v), v, s=16, color=COLOURS[each], linewidths=0, label=label)
                    label = None
            axis.set_xticks(x, [fold["from"][:7] for fold in folds], rotation=45 if len(folds) > 6 else 0)
            axis.set(xlabel="test days from … on", xlim=(-0.5, len(folds) - 0.5))
            axis.legend(loc="best", fontsize=9)
        np.atleast_1d(axes)[0].set(title=f"{short(Path(name).name)}: error / last price's error")
        if len(panels) == 2:
            from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

            axes[1].set(title="The same, network on levels (log scale)", yscale="log")
            axes[1].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes[1].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes[1].yaxis.set_minor_formatter(NullFormatter())
