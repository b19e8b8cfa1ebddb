"""How good is a forecast of prices? The forecasts that cost nothing, the measures, and what they say in words.

`Forecasts` are what is scored: name -> one per seed (a baseline has one) -> one per fold -> the prices (test days,).
"""

import math
import statistics
from typing import Any

import numpy as np
from jaxtyping import Float

from week03_lstm import price_series

TARGETS = ("returns", "levels")
BASELINES = {"last price": 0, "drift": 1, "AR(1)": 2}  # and how many numbers are fitted to the training days
BLINDFOLD = "its mean return"

Forecasts = dict[str, list[list[np.ndarray]]]

# ---------------------------------------------------------------- what costs nothing


def baselines(returns: price_series.Windows, fold: price_series.Fold) -> dict[str, Float[np.ndarray, " test"]]:
    """The forecast prices of the test days by the three forecasts that cost nothing, from windows of returns."""
    today, tomorrow, last = returns.features[:, -1, 0], returns.targets, returns.last[fold.test]
    ones = np.ones_like(today)
    (a, b), *_ = np.linalg.lstsq(np.stack([ones, today], axis=1)[fold.train], tomorrow[fold.train], rcond=None)
    return {
        "last price": last,
        "drift": last * (1 + tomorrow[fold.train].mean()),
        "AR(1)": last * (1 + a + b * today[fold.test]),
    }


# ---------------------------------------------------------------- how good is a forecast?


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % confidence interval of a share out of n (E. B. Wilson, JASA 22, 1927)."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def diebold_mariano(ours: Float[np.ndarray, " N"], theirs: Float[np.ndarray, " N"]) -> tuple[float, float]:
    """Are our losses (one per day) smaller than theirs by more than chance? Returns (statistic, two-sided p).

    Diebold and Mariano, "Comparing predictive accuracy", JBES 13, 1995, equation S1: the mean difference over its
    standard error, below 0 where ours are smaller. Differences of days that lie close may be correlated; so the error
    is Newey and West's (Econometrica 55, 1987), with their weights over 4 (N/100)^(2/9) days.
    """
    difference = ours - theirs
    n, mean = len(difference), difference.mean()
    centred = difference - mean
    lags = int(4 * (n / 100) ** (2 / 9))
    variance = centred @ centred / n
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * (centred[lag:] @ centred[:-lag]) / n
    if variance <= 0:  # no difference at all, or one that is always the same
        return 0.0, 1.0
    statistic = mean / math.sqrt(variance / n)
    return float(statistic), 2 * (1 - statistics.NormalDist().cdf(abs(statistic)))


def direction(forecast: np.ndarray, last: np.ndarray, close: np.ndarray) -> float | None:
    """The share of days on which the forecast moved to the side that the price did; days without a move do not count.

    None for a forecast that never moves.
    """
    moved = close != last
    if not (forecast != last).any():
        return None
    return float((np.sign(forecast - last) == np.sign(close - last))[moved].mean())


def score(forecast: np.ndarray, last: np.ndarray, close: np.ndarray, drift: np.ndarray) -> dict[str, float | None]:
    """MAE and RMSE in the price's own unit, both also as a ratio to the last price's; the share of right directions;
    Diebold and Mariano's test on absolute errors, against the last price and against drift."""
    ours, theirs = np.abs(forecast - close), np.abs(last - close)
    rmse, rmse_last = math.sqrt((ours**2).mean()), math.sqrt((theirs**2).mean())
    tests = {"last": diebold_mariano(ours, theirs), "drift": diebold_mariano(ours, np.abs(drift - close))}
    return {
        "mae": float(ours.mean()),
        "rmse": rmse,
        "mae_ratio": float(ours.mean() / theirs.mean()),
        "rmse_ratio": rmse / rmse_last,
        "direction": direction(forecast, last, close),
    } | {f"dm_{name}{end}": value for name, test in tests.items() for end, value in zip(("", "_p"), test, strict=True)}


def shifted(forecast: np.ndarray, close: np.ndarray, most: int = 5) -> list[float]:
    """How the forecast's daily changes correlate with the price's changes k days before, for k = -most … most.

    A forecast that knows tomorrow has its peak at 0. One that repeats the last price has it at 1.
    """
    ours, theirs = np.diff(forecast), np.diff(close)
    inner = slice(most, len(ours) - most)
    pairs = [(ours[inner], theirs[most - k : len(theirs) - most - k]) for k in range(-most, most + 1)]
    return [float(np.corrcoef(a, b)[0, 1]) if a.std() and b.std() else 0.0 for a, b in pairs]


# ---------------------------------------------------------------- all folds


def summary(each: list[dict[str, float | None]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds of every score, and the scores of each seed."""
    means: dict[str, Any] = {}
    for name in each[0]:
        values = [one[name] for one in each if one[name] is not None]
        means[name] = statistics.mean(values) if values else None
        means[f"{name}_std"] = statistics.stdev(values) if len(values) > 1 else 0.0
    return means | {"seeds": each}


def scores(
    forecasts: Forecasts, windows: dict[str, price_series.Windows], folds: list[price_series.Fold]
) -> dict[str, Any]:
    """The scores of every forecast per fold and over all test days, as they go into result.json.

    Args:
        forecasts: by name: the BASELINES, and one or two of TARGETS.
        windows: of "returns" and "levels".
        folds: whose test parts were forecast.
    """
    days = windows["returns"]
    last, close = ([array[fold.test] for fold in folds] for array in (days.last, days.close))
    targets = [name for name in TARGETS if name in forecasts]
    if "returns" in targets:  # what reading the window is worth: the same network, made to say the same every day
        blind = [
            [before * (1 + (one / before - 1).mean()) for one, before in zip(seed, last, strict=True)]
            for seed in forecasts["returns"]
        ]
        forecasts = forecasts | {BLINDFOLD: blind}

    def table(which: slice) -> dict[str, dict]:
        truth = [np.concatenate(part[which]) for part in (last, close, forecasts["drift"][0])]
        return {
            name: summary([score(np.concatenate(seed[which]), *truth) for seed in seeds])
            for name, seeds in forecasts.items()
        }

    def up_days(which: slice) -> float:
        before, after = np.concatenate(last[which]), np.concatenate(close[which])
        return float((after > before).sum() / max(1, (after != before).sum()))

    by_fold = [
        {
            "fold": k + 1,
            "from": str(days.dates[fold.test][0]),
            "to": str(days.dates[fold.test][-1]),
            "train": fold.train.stop,
            "val": fold.val.stop - fold.val.start,
            "test": fold.test.stop - fold.test.start,
            "up_days": up_days(slice(k, k + 1)),
            "scores": table(slice(k, k + 1)),
        }
        for k, fold in enumerate(folds)
    ]
    lags = {
        target: [shifted(one, truth) for seed in forecasts[target] for one, truth in zip(seed, close, strict=True)]
        for target in targets
    }
    found = {
        "folds": by_fold,
        "all": table(slice(None)),
        "test_days": sum(map(len, close)),
        "days_with_a_move": sum(int((a != b).sum()) for a, b in zip(last, close, strict=True)),
        "up_days": up_days(slice(None)),
        "shift": {target: np.mean(each, axis=0).tolist() for target, each in lags.items()},
    }
    if "levels" in targets:
        # A price that the training days did not have: the network has never been asked what comes after it.
        seen = [windows["levels"].features[fold.train] for fold in folds]
        new = [(one < old.min()) | (one > old.max()) for one, old in zip(last, seen, strict=True)]
        new, truth, naive = map(np.concatenate, (new, close, last))
        errors, errors_last = (
            [np.abs(np.concatenate(one) - truth) for one in forecasts["levels"]],
            np.abs(naive - truth),
        )
        found["new_prices"] = {"share": float(new.mean())} | {
            name: float(np.mean([error[rows].mean() for error in errors]) / errors_last[rows].mean())
            for name, rows in (("mae_ratio_there", new), ("mae_ratio_elsewhere", ~new))
            if errors_last[rows].any()
        }
    return found


def headline(found: dict[str, Any], name: str) -> dict[str, float]:
    """The scores of one forecast over all test days, under the names that result.json has."""
    row = found["all"][name]
    metrics = ("mae", "rmse", "mae_ratio", "rmse_ratio", "direction")
    numbers = {f"test_{metric}{end}": row[f"{metric}{end}"] for metric in metrics for end in ("", "_std")}
    return {key: value for key, value in numbers.items() if value is not None}


# ---------------------------------------------------------------- and in words


def print_scores(found: dict[str, Any], network: str) -> None:
    """The errors fold by fold, the table over all test days, and what they say in words; `network` is its name."""
    labels = {name: f"{network} on {name}" if name in TARGETS else name for name in found["all"]}
    count = max(len(row["seeds"]) for row in found["all"].values())
    names = list(found["all"])
    shown = [name for name in names if name not in ("last price", BLINDFOLD)]
    print(f"\nMAE of each fold as a ratio to the last price's, mean of {count} seed{'s' * (count > 1)}\n")
    heads = "".join(f"{labels[name]:>17s}" for name in shown)
    print(f"fold  test days                  train   val  test{heads}")
    for fold in found["folds"]:
        ratios = "".join(f"{fold['scores'][name]['mae_ratio']:>17.3f}" for name in shown)
        counts = f"{fold['train']:>6,}{fold['val']:>6,}{fold['test']:>6,}"
        print(f"{fold['fold']:>4}  {fold['from']} to {fold['to']}  {counts}{ratios}")

    digits = max(2, 1 - math.floor(math.log10(found["all"]["last price"]["mae"])))  # enough for prices far below 1
    print(f"\nAll {found['test_days']:,} test days; the network: mean ± standard deviation over the seeds\n")
    heads = f"{'MAE':>15s}{'RMSE':>15s}{'MAE ratio':>17s}    direction right (95 %)"
    print(f"{'':17s}{heads}{'p against last price':>24s}{'p against drift':>19s}")
    for name in names:
        row, seeds = found["all"][name], found["all"][name]["seeds"]
        cells = [plus_minus(row[key], row[f"{key}_std"], digits) for key in ("mae", "rmse")]
        ratio, way = plus_minus(row["mae_ratio"], row["mae_ratio_std"], 4), "-"
        if row["direction"] is not None:
            low, high = wilson(row["direction"], found["days_with_a_move"])
            way = f"{row['direction']:.1%} ({low:.1%} to {high:.1%})"
        last = "-" if name == "last price" else spread([one["dm_last_p"] for one in seeds])
        drift = "-" if name == "drift" else spread([one["dm_drift_p"] for one in seeds])
        print(f"{labels[name]:17s}{cells[0]:>15s}{cells[1]:>15s}{ratio:>17s}{way:>26s}{last:>24s}{drift:>19s}")
    print(f"\nThe price rose on {found['up_days']:.1%} of the days. p: Diebold and Mariano's test on absolute errors.")
    for line in verdict(found, network):
        print(f"\n{line}")


def plus_minus(mean: float, std: float, digits: int) -> str:
    return f"{mean:.{digits}f}" + (f" ± {std:.{digits}f}" if std else "")


def spread(values: list[float]) -> str:
    """The smallest and the largest of some p-values."""
    low, high = (f"{p:.2f}" if p >= 0.01 else "< 0.01" for p in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def judged(row: dict[str, Any], rival: str) -> int:
    """-1 where every seed's absolute error is smaller than the rival's with p < 0.05, 1 where larger, else 0."""
    signs = {np.sign(one[f"dm_{rival}"]) if one[f"dm_{rival}_p"] < 0.05 else 0.0 for one in row["seeds"]}
    return int(signs.pop()) if len(signs) == 1 else 0


def verdict(found: dict[str, Any], network: str) -> list[str]:
    """Says for each trained network whether it beats the last price, drift, a coin, and always saying up."""
    lines = []
    for name in (name for name in found["all"] if name in TARGETS):
        row = found["all"][name]
        each = "with every seed" if len(row["seeds"]) > 1 else "with its one seed"
        lead, tail = {
            -1: ("beats the last price", f"a difference beyond chance {each}"),
            0: ("does NOT beat the last price", "a difference that chance gives too"),
            1: ("does NOT beat the last price, it is worse", f"a difference beyond chance {each}"),
        }[judged(row, "last")]
        ratio = plus_minus(row["mae_ratio"], row["mae_ratio_std"], 4 if row["mae_ratio"] < 2 else 1)
        line = f"{network} on {name} {lead}: its mean error is {ratio} times as large, {tail}."
        if name == "returns":
            drift = {-1: "better than", 0: "no different from", 1: "worse than"}[judged(row, "drift")]
            blind = found["all"][BLINDFOLD]["mae_ratio"]
            line += (
                f" It is {drift} drift ({found['all']['drift']['mae_ratio']:.4f}), which has one parameter. "
                f"Made to say its mean return every day, whatever the window shows, it has {blind:.4f}."
            )
        if row["direction"] is not None:
            low, high = wilson(row["direction"], found["days_with_a_move"])
            coin, up = (
                "better than" if low > share else "worse than" if high < share else "no different from"
                for share in (0.5, found["up_days"])
            )
            line += (
                f" It has the direction right on {row['direction']:.1%} of the days ({low:.1%} to {high:.1%}): "
                f"{coin} a coin, {up} always saying up ({found['up_days']:.1%})."
            )
        lines.append(line)
    drift = found["all"]["drift"]
    if judged(drift, "last") == -1:
        lines.append(
            f"Drift does beat the last price, by {1 - drift['mae_ratio']:.2%} of its error: so much it is worth "
            "to know the mean return of the past."
        )
    if "levels" in found["shift"]:
        correlations = found["shift"]["levels"]
        middle = len(correlations) // 2
        if int(np.argmax(correlations)) == middle + 1:
            lines.append(
                "The famous plot (shifted_price.png): the curve forecast from levels follows the price because it "
                f"repeats it a day late. Its daily changes correlate {correlations[middle + 1]:+.2f} with the price's "
                f"changes of the day before, and {correlations[middle]:+.2f} with those of the day that it forecasts."
            )
        new = found["new_prices"]
        if "mae_ratio_there" in new:
            line = (
                f"On {new['share']:.0%} of the test days the price stood outside all that the training days had seen; "
                f"there the network on levels has {new['mae_ratio_there']:.1f} times the last price's error"
            )
            if "mae_ratio_elsewhere" in new:
                line += f", on the other days {new['mae_ratio_elsewhere']:.2f} times"
            lines.append(f"{line}.")
    return lines
