"""The bundled photographs: 6,000 of CIFAR-10's, 600 of each class, in one large picture (shared/samples/SOURCES.md).

A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from shared.files import ROOT

SHEET = ROOT / "shared" / "samples" / "cifar10_6k.webp"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32  # pixels
PARTS = {"train": (0, 400), "val": (400, 500), "test": (500, 600)}  # which of each class's 600


def read() -> dict[str, tuple[UInt8[np.ndarray, "N 32 32 3"], Int[np.ndarray, " N"]]]:
    """{train, val, test: (images, labels)}, class by class; the sheet has 60 rows of 100, six rows to a class."""
    with Image.open(SHEET) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    rows, columns = pixels.shape[0] // SIDE, pixels.shape[1] // SIDE
    cut = pixels.reshape(rows, SIDE, columns, SIDE, 3).swapaxes(1, 2)  # (rows, columns, SIDE, SIDE, 3)
    images = cut.reshape(len(CLASSES), -1, SIDE, SIDE, 3)  # (10, 600, SIDE, SIDE, 3)
    return {
        name: (images[:, first:last].reshape(-1, SIDE, SIDE, 3), np.repeat(np.arange(len(CLASSES)), last - first))
        for name, (first, last) in PARTS.items()
    }
