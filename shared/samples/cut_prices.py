"""Cuts sp500.csv and nasdaq.csv, the prices that week 3 ships with, from the package `arch`, version 8.0.0.

The package holds two stock indices day by day from 4 January 1999 to 31 December 2018. Here the date (as
year-month-day) and the closing price are kept, in the order of time; nothing is filled in.

    pip download --no-deps arch==8.0.0
    python -m shared.samples.cut_prices arch-8.0.0-*.whl
"""

import csv
import gzip
import io
import sys
import zipfile
from datetime import datetime
from pathlib import Path

from shared.files import written_whole

if __name__ == "__main__":
    for index in ("sp500", "nasdaq"):
        with zipfile.ZipFile(sys.argv[1]) as archive:
            text = gzip.decompress(archive.read(f"arch/data/{index}/{index}.csv.gz")).decode()
        rows = list(csv.DictReader(io.StringIO(text)))
        days = sorted((datetime.strptime(row["Date"], "%m/%d/%Y").date(), row["Close"]) for row in rows)
        lines = ["date,close\n"] + [f"{day.isoformat()},{close}\n" for day, close in days]
        with written_whole(Path(__file__).parent / f"{index}.csv") as temporary:
            temporary.write_text("".join(lines), encoding="utf-8", newline="\n")
