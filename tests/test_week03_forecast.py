"""Week 3's prices: reading files, windows and folds that never see the future, the measures, and the whole program."""

import csv
import gzip
import itertools
import json
import math
import os
import shlex
import signal
import zipfile
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from programs import assert_picture, config, refused, refused_flags

from shared import checkpoint, cli, runs
from shared.errors import Stopped
from shared.files import read_json
from week03_lstm import price_drawing, price_forecast, price_scores, price_series, train
from week03_lstm.price_forecast import Config, Forecaster
from week03_lstm.price_series import Prices, Scaler

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")  # they would print on stderr


def write(path: Path, text: str, encoding="utf-8") -> str:
    path.write_text(text, encoding=encoding)
    return str(path)


def walk(days=400, phi=0.0, seed=0) -> Prices:
    """Synthetic prices whose daily returns follow r[t] = phi · r[t-1] + noise of 1 %; a random walk where phi is 0."""
    noise = np.random.default_rng(seed).normal(0, 0.01, days)
    returns = np.zeros(days)
    for day in range(1, days):
        returns[day] = phi * returns[day - 1] + noise[day]
    dates = np.datetime64("2010-01-01") + np.arange(days)
    return Prices("walk", dates, 100 * np.cumprod(1 + returns))


def save(prices: Prices, path: Path) -> str:
    rows = zip(prices.dates, prices.close.tolist(), strict=True)
    return write(path, "date,close\n" + "".join(f"{day},{price}\n" for day, price in rows))


def small(data: str, *flags) -> Config:
    """A config that trains in a second."""
    usual = ["--data", data, "--window", 5, "--hidden", 6, "--folds", 2, "--epochs", 3]
    return config(price_forecast, *usual, *flags)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The path of a csv with 300 days of a random walk."""
    return save(walk(300), tmp_path_factory.mktemp("own") / "own.csv")


@pytest.fixture(scope="module")
def run(own, tmp_path_factory):
    """The folder of a small finished run on it, two seeds. Tests read it."""
    out = tmp_path_factory.mktemp("run") / "run"
    price_forecast.main(small(own, "--seeds", 2, "--out", out))
    return out


@pytest.fixture
def no_pictures(monkeypatch):
    """For tests that look at the numbers alone."""
    monkeypatch.setattr(price_drawing, "draw", lambda *_: [])


# ---------------------------------------------------------------- reading prices


@pytest.mark.parametrize(("name", "first", "last"), [("sp500", 1228.099976, 2506.850098), ("nasdaq", 2208.05, 6635.28)])
def test_bundled_prices(name, first, last):
    prices = price_series.load_prices(name)
    assert (prices.name, len(prices), prices.notes) == (name, 5031, ())
    assert (str(prices.dates[0]), str(prices.dates[-1])) == ("1999-01-04", "2018-12-31")
    assert prices.close[[0, -1]] == pytest.approx([first, last], abs=1e-2)
    assert (np.diff(prices.dates) > np.timedelta64(0, "D")).all() and (prices.close > 0).all()
    dates, closes = np.loadtxt(price_series.SAMPLES / f"{name}.csv", dtype=str, delimiter=",", skiprows=1).T
    assert (prices.dates == dates.astype("datetime64[D]")).all() and (prices.close == closes.astype(float)).all()


def test_the_sample_is_the_sp500():
    assert price_series.load_prices("sample").name == "sp500"


def crowd(rows: str, note: str = "", heading: str = "Date,Close", **flags) -> tuple:
    """A layout of the three days below: its heading and rows, what is noted, and the flags that it needs."""
    return f"{heading}\n{rows}", (note,) if note else (), flags


ROUND = "the newest price came first: turned round"
YAHOO = "took 'Close' for the close (not Adj Close); --date and --close choose others"


@pytest.mark.parametrize(
    ("text", "notes", "flags"),
    [
        crowd("2020-01-30,1200\n2020-01-31,1225.5\n2020-02-03,1230\n"),
        crowd("9,1200,7,2020-01-30\n9,1225.5,7,2020-01-31\n\n9,1230,7,2020-02-03\n", "", "Open,CLOSE ,Volume, Date"),
        crowd("2020/01/30;1200\r\n2020/01/31;1225.5\r\n2020/02/03;1230\r\n", "", "\ufeffDate;Close"),
        crowd("2020/01/30,1200\r2020/01/31,1225.5\r2020/02/03,1230\r"),
        crowd("20200130\t1200\n20200131\t1225.5\n20200203\t1.23e3\n", "", "date\tclose"),
        crowd("30.01.2020,1200\n31.01.2020,1225.5\n3.2.2020,1230\n"),
        crowd("01/30/2020,1200\n01/31/2020,1225.5\n2/3/2020,1230\n"),
        crowd("30/01/2020,1200\n31/01/2020,1225.5\n03/02/2020,1230\n"),
        crowd("30-01-20,1200\n31-01-20,1225.5\n03-02-20,1230\n"),
        crowd("30-Jan-2020,1200\n31-Jan-2020,1225.5\n03-Feb-2020,1230\n"),
        crowd('"January 30, 2020",1200\n"January 31, 2020",1225.5\n"February 3, 2020",1230\n'),
        crowd("43860,1200\n43861,1225.5\n43864,1230\n"),  # Excel
        crowd("1580342400,1200\n1580428800,1225.5\n1580688000,1230\n"),
        crowd('2020-01-30 00:00:00-05:00,"1200"\n2020-01-31T16:00:00,1225.5\n2020-02-03 9:30,1230\n'),
        crowd("2020.01.30;1200\n2020.01.31;1225.5\n2020.02.03;1230\n", "", "<DATE>;<CLOSE>"),
        crowd("2020-30-01,1200\n2020-31-01,1225.5\n2020-03-02,1230\n", date_format="%Y-%d-%m"),
        crowd("30/01/2020,1200\n31/01/2020,1225.5\n03/02/2020,1230\n", date_format="day/month/year"),
        crowd("2020-02-03,1,1230\n2020-01-31,1,1225.5\n2020-01-30,1,1200\n", ROUND, "date,open,4. close"),
        crowd("2020-01-30,1200,9\n2020-01-31,1225.5,9\n2020-02-03,1230,9\n", YAHOO, "Date,Close,Adj Close"),
        crowd("2020-01-30,9,1200\n2020-01-31,9,1225.5\n2020-02-03,9,1230\n", "", "Date,Close,Mean", close="mean"),
        crowd("2020-01-30,9,1200\n2020-01-31,9,1225.5\n2020-02-03,9,1230\n", "", "Date,Close,Close", close="3"),
        crowd("2020-01-31,1225.5\n2020-02-03,1230\n", "", "2020-01-30,1200", date="1", close="2"),  # no heading
        crowd(
            "2020-01-30,9,1200\n2020-01-31,9,1225.5\n2020-02-03,9,1230\n",
            "",
            "Price,Close,Close\nTicker,A,B\nDate,,",
            close="Close B",
        ),
        crowd("9,2020-01-30,1200\n9,2020-01-31,1225.5\n9,2020-02-03,1230\n", "", "id,day,Close", date="day"),
        crowd(
            "2020-01-30,1200\n2020-01-31,1225.5\n2020-02-03,1230\n",
            "took 'timestamp' for the date; --date and --close choose others",
            "timestamp,close",
        ),
        crowd(
            "2020-01-30,1200\n2020-01-31,1225.5\n2020-02-03,1230\n",
            "took 'the first column' for the date; --date and --close choose others",
            ",Close",
        ),
        crowd(
            "2020-01-30,1200\n2020-01-31,1225.5\n2020-02-03,1230\n",
            "took 'observation_date' for the date and 'SP500' for the close; --date and --close choose others",
            "observation_date,SP500",
        ),
        crowd(
            "2020-01-30,$1200\n2020-01-31,$1225.5\n2020-02-03,$1230\n",
            "read numbers such as '$1200' as 1200",
        ),
        crowd(
            '2020-01-30,"1,200.00"\n2020-01-31,"1,225.50"\n2020-02-03,"1,230.00"\n',
            "read numbers such as '1,200.00' as 1200",
        ),
        crowd(
            "30.01.2020;9;1.200,0\n31.01.2020;9;1.225,5\n03.02.2020;9;1.230,0\n",
            "read numbers such as '1.200,0' as 1200",
            "Date,Volume,Close",  # separated in another way than the rows
        ),
        crowd(
            "2020-01-30;1\u00a0200\n2020-01-31;1\u00a0225,5\n2020-02-03;1\u00a0230\n",
            "read numbers such as '1 200' as 1200",
            "Date;Close",
        ),
        crowd(
            "2020-01-30,1200\n2020-01-31,1225.5\n2020-02-03,1230\nSource: the exchange,\n",
            "left out 1 line above or below the prices, as line 6: 'Source: the exchange'",
            "Index of shares\nDate,Close",
        ),
        crowd("2020-01-30,1200,9\n2020-01-31,1225.5,9\n2020-02-03,1230,9\n", "", "Price,Close,Low\nTicker,A,A\nDate,,"),
        crowd(
            "2020-01-30,1200\n2020-01-31,1225.5\n2020-02-03,1230\n",
            "left out 1 line above or below the prices, as line 2: 'AAPL'",
            "Date,Close\n,AAPL",
        ),
        crowd(
            "2020-01-30,1200\n2020-01-31,1225.5\n2020-02-03,1230\n2020-02-03,1230\n",
            "left out 1 row: the same day with the same price again",
        ),
        crowd(
            "2020-01-30,12\x0000\n2020-01-31,1225.5\n2020-02-03,1230\n",
            "took out 1 NUL character",
        ),
        crowd("2020-01-30,1200,,\n2020-01-31,1225.5,,\n2020-02-03,1230,,\n"),
    ],
)  # fmt: skip
def test_a_csv_of_ones_own(tmp_path, text, notes, flags):
    prices = price_series.load_prices(write(tmp_path / "own.csv", text), **flags)
    assert [str(day) for day in prices.dates] == ["2020-01-30", "2020-01-31", "2020-02-03"]
    assert prices.close.tolist() == [1200, 1225.5, 1230] and prices.notes == notes


@pytest.mark.parametrize("name", ["own.csv", "own.csv.gz", "own.zip"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_encodings_and_packings(tmp_path, name, encoding):
    raw = "Date;Close;Währung\n2020-01-30;12;€\n2020-01-31;13;€\n".encode(encoding)
    path = tmp_path / name
    if name.endswith("zip"):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("__MACOSX/._prices.csv", b"\0")
            file.writestr("prices.csv", raw)
    else:
        path.write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    prices = price_series.load_prices(str(path))
    assert prices.close.tolist() == [12, 13]
    assert [note.split(":")[0] for note in prices.notes] == {"utf-8-sig": [], "cp1252": ["not UTF-8"]}.get(
        encoding, ["read as UTF-16"]
    )


def test_what_is_odd_about_prices_is_said(tmp_path):
    path = write(tmp_path / "own.csv", "date,close\n2090-01-30,700\n2090-01-31,35\n2090-02-01,70\n")
    assert price_series.load_prices(path).notes == (
        "a move of +100% on 2090-02-01, and 1 more beyond 50%: a split of the shares? It would decide every error; use "
        "adjusted prices",
        "the dates lie in the future, up to 2090-02-01: were they read rightly? --date-format decides",
    )


CHOOSE = "Choose with --{}: a name, or a number from 1."


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("day,close\n1,2\n", f"no column 'date'; the columns there: day, close. {CHOOSE.format('date')}"),
        (
            "Date,Open,High\n1,2,3\n",
            f"no column 'close'; the columns there: Date, Open, High. {CHOOSE.format('close')}",
        ),
        (
            "date,Close,close\n1,2,3\n",
            f"more than one column 'close'; the columns there: date, Close, close. {CHOOSE.format('close')}",
        ),
        ("", "no column 'date'; the columns there: none: the file is empty."),
        ("date,close\n\n", "a heading, but no prices below it."),
        ("open,date,close\n1,2020-01-30,2\n1,2020-01-31\n", "line 3 has 2 columns, the heading has 3."),
        (
            "date,close\n2020-01-30,1201,87\n",
            "line 2 has 3 columns, the heading has 2: are there commas in the numbers? Separate the columns with "
            "semicolons.",
        ),
        (
            '{"finance":{"error":{"code":"Unauthorized"}}}',
            "a web page or JSON, no table. Was it the site's word of an error? Fetch it anew.",
        ),
        ("date,close\n2020-01-30,one\n", "line 2: the close 'one' is not a number. Write it as 1234.56."),
        (
            'date,close\n2020-01-30,"1\n2020-01-31,2',
            "line 2: the close '1 2020-01-31,2' is not a number. Write it as 1234.56.",
        ),
        ("date,close\n2020-01-30,inf\n", "line 2: the close 'inf' is not a number. Write it as 1234.56."),
        ('date,close\n2020-01-30,"1,2,5"\n', "line 2: the close '1,2,5' is not a number. Write it as 1234.56."),
        ('date,close\n2020-01-30,"1,234"\n', "'1,234' can be read as 1234 or as 1.234. Write it as 1234.56."),
        (
            "date,close\n2020-01-30,1e303\n",
            "line 2: the close 1e+303 is not between 1e-12 and 1e+12. Write the prices in another unit.",
        ),
        (
            "date,close\n2020-01-30,1\n2020-01-31,1e-99\n",
            "line 3: the close 1e-99 is not between 1e-12 and 1e+12. Write the prices in another unit.",
        ),
        (
            "date,close\n2020-01-30,1\n2020-02-30,2\n",
            "line 3: '2020-02-30' is no date, or not spelled like the ones above. Readable are year-month-day, "
            "day-month-year, month-day-year, and what --date-format says, as %d/%m/%Y.",
        ),
        (
            "date,close\n01/02/2020,1\n02/02/2020,2\n",
            "the dates can be read as day-month-year or month-day-year, and mean other days each time. "
            "Say which with --date-format.",
        ),
        (
            "date,close\n2020-01-30,1\n2020-01-31,2\n2020-01-30,3\n",
            "2020-01-30 stands there twice, in lines 2 and 4. Keep one price a day.",
        ),
        (
            "date,close\n2020-01-30,1\n2020-01-31,\n2020-02-01,-4\n",
            "2 rows without a price above 0, the first is line 3 (2020-01-31: ''). "
            "Repair the file, or leave such rows out with --gaps drop.",
        ),
        (
            "date,close\n2020-01-30,1\n2020-02-10,2\n",
            "line 3 (2020-02-10) comes 11 days after the price before it (2020-01-30); more than 10 is a gap. "
            "Fill it, or go on without the windows that reach across it with --gaps drop.",
        ),
    ],
)
def test_a_csv_with_something_wrong(tmp_path, text, line):
    path = write(tmp_path / "own.csv", text)
    assert refused(price_series.load_prices, path) == f"{path}: {line}"


def test_flags_about_columns_and_dates(tmp_path):
    path = write(tmp_path / "own.csv", "date,close\n01/02/2020,1\n02/02/2020,1\n")
    for spelling, first in (
        ("day-month-year", "2020-02-01"),
        ("month/day/year", "2020-01-02"),
        ("%d/%m/%Y", "2020-02-01"),
    ):
        assert str(price_series.load_prices(path, "drop", date_format=spelling).dates[0]) == first
    for spelling, line in (
        ("german", "choose one of year-month-day, day-month-year, month-day-year, or a pattern as %d/%m/%Y."),
        ("%Q", "no pattern of dates ('Q' is a bad directive in format '%Q')."),
    ):
        assert refused(lambda flag: price_series.load_prices(path, date_format=flag), spelling) == (
            f"--date-format {spelling}: {line}"
        )
    assert refused(lambda flag: price_series.load_prices(path, close=flag), "Open") == (
        f"{path}: no column 'Open'; the columns there: date, close. {CHOOSE.format('close')}"
    )


def test_ten_days_are_no_gap(tmp_path):
    assert len(price_series.load_prices(write(tmp_path / "own.csv", "date,close\n2020-01-30,1\n2020-02-09,2\n"))) == 2


def test_what_is_no_file_or_no_text(tmp_path):
    assert refused(price_series.load_prices, "dax") == "--data dax: no such file, nor one of sp500, nasdaq."
    assert ": a folder, not a file, nor one of" in refused(price_series.load_prices, str(tmp_path))
    path = tmp_path / "own.csv"
    path.write_bytes(bytes(range(256)))
    assert refused(price_series.load_prices, str(path)) == f"{path}: no text. Save it as a .csv file in UTF-8."
    path = tmp_path / "own.xlsx"
    path.write_bytes(b"PK")
    assert refused(price_series.load_prices, str(path)) == (
        f"{path}: a workbook. Save its sheet as a .csv file, and give that."
    )
    assert refused(price_series.load_prices, "sp500", "fill") == "--gaps fill: choose refuse or drop."


@pytest.mark.parametrize("empty", ["", " ", "NaN", "null", "N/A", "0", "-3", "-"])
def test_rows_without_a_price_are_dropped_if_asked(tmp_path, empty):
    path = write(tmp_path / "own.csv", f"date,close\n2020-01-30,2\n2020-01-31,{empty}\n2020-02-01,3\n")
    assert "1 row without a price above 0, the first is line 3" in refused(price_series.load_prices, path)
    prices = price_series.load_prices(path, gaps="drop")
    assert prices.close.tolist() == [2, 3]
    assert prices.notes == ("left out 1 of 3 rows: they have no price above 0",)


def test_the_order_of_time(tmp_path):
    rows = [f"2020-01-{day},{day}\n" for day in (10, 11, 12, 13)]
    for order, notes in (
        ((0, 1, 2, 3), ()),
        ((3, 2, 1, 0), ("the newest price came first: turned round",)),
        ((1, 0, 3, 2), ("dates out of order: sorted",)),
    ):
        prices = price_series.load_prices(write(tmp_path / "own.csv", "date,close\n" + "".join(rows[i] for i in order)))
        assert prices.close.tolist() == [10, 11, 12, 13] and prices.notes == notes


# ---------------------------------------------------------------- windows, folds, and no leak


def test_windows_by_hand():
    dates = np.datetime64("2020-01-01") + np.arange(6)
    prices = Prices("six", dates, np.array([1.0, 2, 3, 6, 3, 12]))
    levels, returns = (price_series.windows(prices, 2, target) for target in ("levels", "returns"))
    assert levels.features[:, :, 0].tolist() == [[2, 3], [3, 6], [6, 3]]
    assert returns.features[:, :, 0].tolist() == [[1, 0.5], [0.5, 1], [1, -0.5]]
    assert levels.targets.tolist() == [6, 3, 12] and returns.targets.tolist() == [1, -0.5, 3]
    for rows in (levels, returns):
        assert rows.last.tolist() == [3, 6, 3] and rows.close.tolist() == [6, 3, 12]
        assert (rows.dates == dates[3:]).all()
    assert len(price_series.windows(prices, 5, "levels")) == len(price_series.windows(prices, 50, "returns")) == 0


def test_no_window_reaches_across_a_pause():
    prices = walk(60)
    dates = prices.dates + np.where(np.arange(60) >= 30, 20, 0)  # 21 days between prices 29 and 30
    whole, broken = (price_series.windows(replace(prices, dates=d), 5, "returns") for d in (prices.dates, dates))
    assert len(whole) == 54 and len(broken) == 54 - 6
    kept = [row for row, day in enumerate(range(6, 60)) if not day - 6 < 30 <= day]
    assert (broken.features == whole.features[kept]).all() and (broken.close == whole.close[kept]).all()


def test_folds_walk_forward():
    prices = walk(500)
    rows = price_series.windows(prices, 9, "returns")  # 490
    folds = price_series.folds(prices, rows, 4)
    assert [fold.test for fold in folds] == [slice(246 + 61 * k, 246 + 61 * (k + 1)) for k in range(4)]
    assert folds[-1].test.stop == len(rows)
    for fold in folds:
        assert fold.train.start == 0 and fold.train.stop == fold.val.start and fold.val.stop == fold.test.start
        assert (fold.val.stop - fold.val.start) == int(0.15 * fold.test.start)
        assert rows.dates[fold.train].max() < rows.dates[fold.val].min() < rows.dates[fold.test].min()


def test_too_few_prices_says_how_many_are_needed():
    line = refused(lambda n: price_series.folds(walk(n), price_series.windows(walk(n), 20, "levels"), 5), 100)
    assert line == (
        "walk: 100 prices give 79 windows of 20 days and the day after; 5 folds need 200, from 221 prices. "
        "Give more prices, or a smaller --window or --folds."
    )
    for n, right in ((220, False), (221, True)):
        prices = walk(n)
        rows = price_series.windows(prices, 20, "levels")
        assert len(price_series.folds(prices, rows, 5)) == 5 if right else refused(price_series.folds, prices, rows, 5)
    assert "8 prices give 0 windows" in refused(
        price_series.folds, walk(8), price_series.windows(walk(8), 20, "levels"), 1
    )


def test_a_price_that_never_moves():
    prices = walk(300)
    prices.close[226:] = 7.0  # the second test block begins with day 227
    rows = price_series.windows(prices, 5, "returns")
    assert refused(price_series.folds, prices, rows, 2) == (
        "walk: the price never moves from 2010-08-16 to 2010-10-27: no errors to compare."
    )


def test_scaler_knows_the_training_windows_alone():
    rows = price_series.windows(walk(), 5, "levels")
    scaler = Scaler.fit(rows.features[:100])
    scaled = scaler.scale(rows.features[:100])
    assert scaled.mean() == pytest.approx(0) and scaled.std() == pytest.approx(1)
    assert scaler.unscale(scaled) == pytest.approx(rows.features[:100])
    assert Scaler.fit(np.full((3, 2, 1), 5.0)).scale(np.array([5.0])) == 0  # and divides by no zero


@pytest.mark.parametrize("target", ["returns", "levels"])
def test_the_future_changes_nothing_in_the_past(target):
    """Other prices from the 11th test day on: the same features, scaler, baselines and forecasts up to that day."""
    prices = walk(300)
    cfg = small("walk")

    def everything(prices):
        rows, returns = price_series.windows(prices, 5, target), price_series.windows(prices, 5, "returns")
        fold = price_series.folds(prices, rows, 2)[0]
        with price_forecast.StopRequest() as stop:
            done, log = price_forecast.train_once(cfg, rows, fold, target, 0, "cpu", stop)
        free = price_scores.baselines(returns, fold)
        return rows, fold, Scaler.fit(rows.features[fold.train]), free, done["forecast"], log

    rows, fold, scaler, free, ours, log = everything(prices)
    first = 5 + 1 + fold.test.start + 10  # the first day that will be another
    changed = replace(prices, close=prices.close.copy())
    changed.close[first:] *= np.linspace(2, 9, len(prices) - first)
    rows2, fold2, scaler2, free2, ours2, log2 = everything(changed)

    assert (fold2, scaler2, log2) == (fold, scaler, log)
    known = fold.test.start + 11  # the 11th test day is forecast from the ten before it
    assert (rows2.features[:known] == rows.features[:known]).all()
    assert not (rows2.features[known] == rows.features[known]).all()
    for before, after in ((ours, ours2), *((free[name], free2[name]) for name in free)):
        assert (before[:11] == after[:11]).all()
        assert before[11] != after[11], "the change is there, and the day after it is seen"


# ---------------------------------------------------------------- the measures


@pytest.mark.parametrize(("right", "n"), [(0, 10), (5, 10), (10, 10), (520, 1000), (1355, 2505)])
def test_wilson_by_its_definition(right, n):
    """Each end is a share p from which what was seen is just 1.96 standard deviations away."""
    low, high = price_scores.wilson(right / n, n)
    for end, sign in ((low, 1), (high, -1)):
        assert right / n - end == pytest.approx(sign * 1.96 * np.sqrt(end * (1 - end) / n))
    assert 0 <= low < high <= 1


def test_diebold_mariano_by_its_definition():
    rng = np.random.default_rng(0)
    ours, theirs = rng.random(250), rng.random(250) + 0.05
    d = ours - theirs
    lags = int(4 * 2.5 ** (2 / 9))
    covariance = sum(
        max(0.0, 1 - abs(i - j) / (lags + 1)) * (d[i] - d.mean()) * (d[j] - d.mean())
        for i, j in itertools.product(range(250), repeat=2)
    )
    expected = d.mean() / np.sqrt(covariance / 250**2)
    statistic, p = price_scores.diebold_mariano(ours, theirs)
    assert statistic == pytest.approx(expected) and p == pytest.approx(math.erfc(abs(expected) / math.sqrt(2)))
    assert price_scores.diebold_mariano(theirs, ours) == pytest.approx((-statistic, p))
    assert price_scores.diebold_mariano(ours, ours) == (0.0, 1.0)


def test_diebold_mariano_keeps_its_promise():
    """Of equally good forecasts, with differences that depend on the day before, about 5 % are called different."""
    rng, called = np.random.default_rng(0), 0
    for _ in range(400):
        noise = rng.normal(size=501)
        called += price_scores.diebold_mariano(noise[1:] + 0.5 * noise[:-1], np.zeros(500))[1] < 0.05
    assert 0.03 < called / 400 < 0.10


def test_score_of_forecasts_that_can_be_checked_by_hand():
    last, close = np.array([10.0, 10, 10, 10]), np.array([11.0, 9, 10, 13])
    row = price_scores.score(np.array([11.0, 11, 11, 11]), last, close, last)
    assert row["mae"] == pytest.approx((0 + 2 + 1 + 2) / 4) and row["mae_ratio"] == pytest.approx(5 / 5)
    assert row["rmse"] == pytest.approx(1.5) and row["rmse_ratio"] == pytest.approx(1.5 / np.sqrt(11 / 4))
    assert row["direction"] == pytest.approx(2 / 3), "the day without a move does not count"
    assert price_scores.score(close, last, close, last)["direction"] == 1
    still = price_scores.score(last, last, close, last)
    assert (still["direction"], still["mae_ratio"], still["dm_last_p"]) == (None, 1, 1)


def test_shifted_finds_the_day():
    close = walk(300).close
    for late in (-1, 0, 1, 3):
        correlations = price_scores.shifted(np.roll(close, late)[5:-5], close[5:-5])
        assert len(correlations) == 11 and int(np.argmax(correlations)) - 5 == late
        assert max(correlations) == pytest.approx(1)
    assert price_scores.shifted(np.full(300, 7.0), close) == [0.0] * 11


def test_baselines_are_what_they_say():
    prices = walk(400, phi=0.5)
    rows = price_series.windows(prices, 5, "returns")
    fold = price_series.folds(prices, rows, 2)[1]
    found = price_scores.baselines(rows, fold)
    assert (found["last price"] == rows.last[fold.test]).all()
    assert found["drift"] == pytest.approx(rows.last[fold.test] * (1 + rows.targets[fold.train].mean()))
    today = rows.features[:, -1, 0]
    slope, height = np.polyfit(today[fold.train], rows.targets[fold.train], 1)
    assert found["AR(1)"] == pytest.approx(rows.last[fold.test] * (1 + height + slope * today[fold.test]))
    assert 0.3 < slope < 0.7


def rows_of(dm=0.0, p=0.5, ratio=1.0, right=0.5, drift=(0.0, 0.5), seeds=2):
    one = {
        "mae": 1.0, "rmse": 1.0, "mae_ratio": ratio, "rmse_ratio": 1.0, "direction": right,
        "dm_last": dm, "dm_last_p": p, "dm_drift": drift[0], "dm_drift_p": drift[1],
    }  # fmt: skip
    return price_scores.summary([one] * seeds)


def said(returns=None, levels=None, drift=None, up=0.5, shift=0):
    found = {
        "all": {"last price": rows_of(right=None), "drift": drift or rows_of()},
        "days_with_a_move": 1000, "up_days": up, "shift": {}, "new_prices": {"share": 0.0, "mae_ratio_elsewhere": 1.1},
    }  # fmt: skip
    if returns:
        found["all"] |= {"returns": returns, price_scores.BLINDFOLD: rows_of()}
    if levels:
        found["all"]["levels"] = levels
        found["shift"]["levels"] = np.eye(11)[5 + shift].tolist()
    return " ".join(price_scores.verdict(found, "LSTM"))


def test_the_verdict_says_what_came_out():
    assert "does NOT beat the last price: its mean error is 1.0000 times as large, a difference that chance" in said(
        rows_of()
    )
    better = rows_of(dm=-3, p=0.01, ratio=0.9, right=0.6, drift=(-3.0, 0.01))
    text = said(better, up=0.55)
    assert "LSTM on returns beats the last price: its mean error is 0.9000 times as large, a difference beyond" in text
    assert "better than drift" in text
    assert "right on 60.0% of the days (56.9% to 63.0%): better than a coin, better than always saying up" in text
    assert "beats" not in said(rows_of(dm=-3, p=0.2, ratio=0.9)), "better by chance is not better"
    one_of_two = price_scores.summary([better["seeds"][0], rows_of()["seeds"][0]])
    assert "does NOT beat the last price:" in said(one_of_two), "nor is one lucky seed"
    assert "it is worse: its mean error is 9.0 times as large" in said(levels=rows_of(dm=9, p=0.0, ratio=9.0))
    assert "no different from a coin, worse than always saying up" in said(rows_of(), up=0.55)
    assert "repeats it a day late" in said(levels=rows_of(), shift=1)
    assert "a day late" not in said(levels=rows_of(), shift=0)
    assert "Drift does beat the last price, by 0.20%" in said(drift=rows_of(dm=-3, p=0.01, ratio=0.998))


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_the_network_sees_its_window(kind):
    torch.manual_seed(0)
    model = Forecaster(kind, 8)
    x = torch.randn(3, 7, 1, requires_grad=True)
    model(x)[1].backward(torch.tensor(-1.7))
    assert (x.grad[1] != 0).all() and (x.grad[[0, 2]] == 0).all()


def test_the_weights_of_the_best_epoch_are_kept():
    rows = price_series.windows(walk(), 5, "returns")
    fold = price_series.folds(walk(), rows, 1)[0]
    scaler = Scaler.fit(rows.features[fold.train])
    cfg = small("walk", "--epochs", 30, "--patience", 3, "--lr", 0.05)
    torch.manual_seed(0)
    model = Forecaster("gru", 8)
    log = list(price_forecast.fit(cfg, model, rows, fold, scaler, seed=0))
    losses = [row["val_loss"] for row in log]
    best = int(np.argmin(losses))
    assert len(log) == best + 1 + 3 < 30, "stopped three epochs after the best one"
    inputs, targets = price_forecast.tensors(rows, fold.val, scaler, torch.device("cpu"))
    with torch.no_grad():
        assert float(torch.nn.functional.mse_loss(model(inputs), targets)) == losses[best]


def test_it_learns_where_there_is_something_to_learn(tmp_path, capsys, device, no_pictures):
    """Returns that follow the day before's (no market has such): far better than the last price, and it says so."""
    data = save(walk(600, phi=0.8), tmp_path / "follow.csv")
    cfg = small(data, "--target", "returns", "--folds", 1, "--seeds", 2, "--epochs", 15, "--lr", 0.02)
    result = price_forecast.main(replace(cfg, device=device, out=str(tmp_path / "run")))
    scores = result["all"]
    assert result["metrics"]["test_mae_ratio"] == scores["returns"]["mae_ratio"] < 0.8
    assert scores["returns"]["mae_ratio"] == pytest.approx(scores["AR(1)"]["mae_ratio"], abs=0.1)
    assert scores["returns"]["direction"] > 0.65 and scores[price_scores.BLINDFOLD]["mae_ratio"] > 0.95
    printed = capsys.readouterr().out
    assert "LSTM on returns beats the last price" in printed and "better than a coin" in printed
    assert f"device: {device}, float32" in printed


def test_a_random_walk_is_not_beaten(run):
    for target in ("returns", "levels"):
        assert price_scores.judged(read_json(run / "result.json")["all"][target], "last") >= 0


def test_too_large_steps_get_one_line(own, tmp_path):
    line = refused(price_forecast.main, small(own, "--lr", "1e30", "--out", tmp_path / "run"))
    assert line == "the loss became inf in epoch 1. Try --lr 0.01."


# ---------------------------------------------------------------- the program


def test_a_run_leaves_everything_it_should(run, own):
    assert {path.name for path in run.iterdir()} == {
        "config.json", "metrics.jsonl", "result.json", "price_forecast.safetensors", "forecasts.csv",
        "shifted_price.png", "error_over_folds.png",
    }  # fmt: skip
    result = read_json(run / "result.json")
    assert (result["week"], result["data"], result["device"], result["dtype"]) == (3, own, "cpu", "float32")
    assert result["params"] == 4 * 6 * (1 + 6 + 2) + 6 + 1 and result["versions"]["torch"]
    *_, last = result["baselines"]
    assert [row["name"] for row in result["baselines"]] == ["AR(1)", "drift", "last price"]
    assert last["params"] == 0 and last["test_mae_ratio"] == 1
    assert set(result["all"]) == {"last price", "drift", "AR(1)", "returns", "levels", "its mean return"}
    assert len(result["fits"]) == 2 * 2 * 2 and len(result["all"]["levels"]["seeds"]) == 2
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 1 + sum(fit["epochs"] for fit in result["fits"].values())))
    for name in ("shifted_price.png", "error_over_folds.png"):
        assert_picture(run / name)
        assert (run / name).stat().st_size < 150_000


def test_the_scores_are_those_of_the_csv(run, own):
    """forecasts.csv, read by itself, gives the numbers of result.json; its prices are those of the file."""
    result, table = read_json(run / "result.json"), price_drawing.read_forecasts(run / "forecasts.csv")
    prices = price_series.load_prices(own)
    days = np.searchsorted(prices.dates, table["date"])
    assert table["close"] == pytest.approx(prices.close[days])
    assert table["last price"] == pytest.approx(prices.close[days - 1])
    assert len(days) == result["test_days"] == sum(fold["test"] for fold in result["folds"])
    naive = np.abs(table["last price"] - table["close"])
    for name in ("drift", "AR(1)", "returns", "levels"):
        columns = [table[name]] if name in table else [table[f"{name} seed {seed}"] for seed in range(2)]
        ratios = [np.abs(column - table["close"]).mean() / naive.mean() for column in columns]
        assert result["all"][name]["mae_ratio"] == pytest.approx(np.mean(ratios), rel=1e-6)
        fold = table["fold"] == 2
        ratios = [np.abs(column - table["close"])[fold].mean() / naive[fold].mean() for column in columns]
        assert result["folds"][1]["scores"][name]["mae_ratio"] == pytest.approx(np.mean(ratios), rel=1e-6)
        if len(columns) == 2:
            assert not np.array_equal(*columns), "two seeds are two networks"


def test_the_bundled_prices_at_smoke_size(tmp_path, capsys, no_pictures):
    result = price_forecast.main(config(price_forecast, "--preset", "smoke", "--out", tmp_path / "run"))
    printed = capsys.readouterr().out
    assert printed.startswith("sp500: 5,031 closing prices, 1999-01-04 to 2018-12-31\n")
    assert "The price rose on 54.5% of the days." in printed
    assert "LSTM on levels does NOT beat the last price, it is worse" in printed
    assert result["data"] == "sp500" and result["all"]["last price"]["mae"] == pytest.approx(11.39, abs=0.01)
    assert 0.5 < result["new_prices"]["share"] < 0.65, "the index went where it had never been"


def test_what_was_done_to_the_file_is_said(tmp_path, capsys, no_pictures):
    prices = walk(300)
    rows = [f"{day},{price:.4f}" for day, price in zip(prices.dates, prices.close, strict=True)]
    rows[200] = rows[200].partition(",")[0] + ",NaN"
    later = [f"{date.fromisoformat(row[:10]) + timedelta(days=30)}{row[10:]}" for row in rows[250:]]
    path = write(tmp_path / "own.csv", "\n".join(["date,close", *(rows[:250] + later)[::-1]]) + "\n")
    assert "without a price" in refused(price_forecast.main, small(path, "--out", tmp_path / "refused"))
    assert not (tmp_path / "refused").exists(), "nothing is left of a run that was refused"
    flags = ("--gaps", "drop", "--target", "levels", "--seeds", 1, "--out", tmp_path / "run")
    price_forecast.main(small(path, *flags))
    printed = capsys.readouterr().out
    assert "left out 1 of 300 rows: they have no price above 0" in printed
    assert "the newest price came first: turned round" in printed
    assert "left out 6 windows: they reach across more than 10 days without a price" in printed


def interrupt_in(monkeypatch, call):
    """Ctrl-C in the middle of the training number `call`, counted from 1."""
    real, calls = price_forecast.fit, itertools.count(1)

    def fit(*arguments, **options):
        rows = real(*arguments, **options)
        yield next(rows)
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGINT)
        yield from rows

    monkeypatch.setattr(price_forecast, "fit", fit)


def kept(folder):
    """The trainings that a run has done."""
    return checkpoint.load(folder / "price_forecast.safetensors")["fits"]


def test_stopped_and_resumed_it_ends_bit_for_bit_the_same(own, run, tmp_path, monkeypatch, no_pictures):
    out = tmp_path / "it's here"
    with monkeypatch.context() as patch, pytest.raises(Stopped) as stopped:
        interrupt_in(patch, call=4)
        price_forecast.main(small(own, "--seeds", 2, "--out", out))
    assert str(stopped.value) == (
        "stopped after 3 of 8 trainings; saved. "
        f"`./course run 3 price_forecast --out {shlex.quote(str(out))} --resume` goes on."
    )
    assert not (out / "result.json").exists() and len(kept(out)) == 3
    trained = []
    real = price_forecast.train_once
    monkeypatch.setattr(price_forecast, "train_once", lambda *a: trained.append(a[3:5]) or real(*a))
    price_forecast.main(config(price_forecast, "--out", out, "--resume"))
    assert len(trained) == 5, "what was done is not done again"
    for file in ("forecasts.csv", "metrics.jsonl"):
        assert (out / file).read_bytes() == (run / file).read_bytes()
    ours, theirs = read_json(out / "result.json"), read_json(run / "result.json")
    assert ours["all"] == theirs["all"] and ours["folds"] == theirs["folds"] and ours["shift"] == theirs["shift"]


def resuming(program, *flags):
    """The config that `--resume` of a program of this week runs with."""
    name = program.__name__.rpartition(".")[2]
    return cli.parse(program.Config, program.PRESETS, ["--resume", *map(str, flags)], "", 3, name)


def test_what_resume_refuses(run, tmp_path, monkeypatch, no_pictures):
    monkeypatch.setattr(runs, "RUNS", tmp_path)
    assert refused(resuming, price_forecast) == (
        "no run of week 3 with a price_forecast.safetensors yet: `./course run 3 price_forecast` makes one."
    )
    assert refused(price_forecast.main, resuming(price_forecast, "--out", run, "--hidden", 9)) == (
        f"{run} was started with --hidden 6: leave --hidden out, or start a new run."
    )
    assert "already holds a run" in refused(price_forecast.main, config(price_forecast, "--out", run))
    other = tmp_path / "run"
    data = save(walk(300), tmp_path / "own.csv")
    price_forecast.main(small(data, "--target", "levels", "--seeds", 1, "--epochs", 1, "--out", other))
    save(walk(301), tmp_path / "own.csv")
    assert refused(price_forecast.main, resuming(price_forecast, "--out", other)) == (
        f"{other} was started with other prices than {data} holds now: start a new run."
    )


def test_the_weeks_two_programs_do_not_go_on_with_each_others_runs(run, tmp_path, monkeypatch):
    """The newest run of each is its own, and a folder of the other's is refused by its flags."""
    monkeypatch.setattr(runs, "RUNS", tmp_path)
    own, forecast = (tmp_path / "week03" / name for name in ("001-quick", "002-quick"))
    for folder, program in ((own, train), (forecast, price_forecast)):
        folder.mkdir(parents=True)
        runs.write_json(folder / "config.json", vars(program.Config()))
        checkpoint.save(folder / runs.checkpoint_of(program.__name__.rpartition(".")[2]), {"week": 3, "step": 0})
    assert resuming(train).out == str(own) and resuming(price_forecast).out == str(forecast)
    assert "is not of this program (gaps, date," in refused(resuming, train, "--out", forecast)
    assert "is not of this program (text, label," in refused(resuming, price_forecast, "--out", own)


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--target", "price"), "--target price: must be one of returns, levels, both."),
        (("--kind", "cnn"), "--kind cnn: must be one of lstm, gru, rnn."),
        (("--window", 0), "--window 0: must be at least 1."),
        (("--batch-size", 0), "--batch-size 0: must be at least 1."),
        (("--folds", -1), "--folds -1: must be at least 1."),
        (("--seeds", 0), "--seeds 0: must be at least 1."),
        (("--lr", "nan"), "--lr nan: must be a finite number."),
        (("--clip", 0), "--clip 0: must be above 0."),
        (("--seed", -1), "--seed -1: must be from 0 to 4294967295."),
        (("--gaps", "fill"), "--gaps fill: must be one of refuse, drop."),
        (("--device", "tpu"), "--device tpu: must be one of auto, cpu, cuda, mps."),
    ],
)
def test_flags_that_cannot_work(flags, line):
    assert refused_flags(price_forecast, *flags) == line


def test_prices_that_cannot_work_leave_no_folder(own, tmp_path):
    line = "own.csv: 300 prices give 9 windows of 290 days and the day after; 2 folds need "
    assert line in refused(price_forecast.main, small(own, "--window", 290, "--out", tmp_path / "run"))
    for flag, word in (("--date-format", "german"), ("--close", "Open"), ("--date", "day")):
        assert word in refused(price_forecast.main, small(own, flag, word, "--out", tmp_path / "run"))
    path = tmp_path / "none.csv"
    assert refused(price_forecast.main, small(path, "--out", tmp_path / "run")) == (
        f"--data {path}: no such file, nor one of sp500, nasdaq."
    )
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- pictures


def test_pictures_can_be_drawn_again(run, tmp_path):
    paths = price_drawing.draw(run, tmp_path)
    assert [path.name for path in paths] == ["shifted_price.png", "error_over_folds.png"]
    for path in paths:
        assert path.read_bytes() == (run / path.name).read_bytes()
    assert "price_forecast` makes it" in refused(price_drawing.read_forecasts, tmp_path / "forecasts.csv")


def test_the_plotted_fold_is_chosen_without_its_test_days(run, tmp_path, monkeypatch):
    """The fold whose val error is smallest, though its test error may not be."""
    result = read_json(run / "result.json")
    for fold, error in ((1, 5.0), (2, 1.5)):
        result["fits"][f"levels, fold {fold}, seed 0"]["val_mae_ratio"] = error
    drawn = []
    monkeypatch.setattr(price_drawing, "read_json", lambda path: result)
    monkeypatch.setattr(price_drawing, "shifted_price", lambda path, name, dates, *_: drawn.append(str(dates[0])))
    price_drawing.draw(run, tmp_path)
    assert drawn == [result["folds"][1]["from"]]


def test_the_csv_opens_with_names_that_say_what_they_are(run):
    with (run / "forecasts.csv").open(encoding="utf-8", newline="") as file:
        heading = next(csv.reader(file))
    assert heading == [
        "date", "fold", "close", "last price", "drift", "AR(1)", "returns seed 0", "returns seed 1", "levels seed 0",
        "levels seed 1",
    ]  # fmt: skip
