"""Writes week 13's synthetic radiographs, synthetic_radiographs.webp and .npz. Nobody was x-rayed for them.

    python -m shared.samples.write_radiographs

radiograph.py, beside this file, says how they are made. The .webp is one sheet of 45 rows of 60 pictures of 64 x 64
grey values. The .npz says of each, row by row:

    labels (N,)       0 normal, 1 opacity: one patient in three has one or two
    split (N,)        0 train, 1 val, 2 test; 3 is another hospital, with another machine (OTHER)
    spots (N, 2, 5)   of each opacity the row and column of its middle, half its height and width, all as shares of the
                      picture's side, and its angle; NaN where there is none
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from shared.files import written_whole
from shared.samples.cut_mnist import write_npz
from shared.samples.radiograph import OTHER, Machine, in_pixels, radiograph

HERE = Path(__file__).parent
SIDE, COLUMNS, ILL = 64, 60, 1 / 3
QUALITY = 90  # off by 1.5 of 256 greys in the mean, as published radiographs are that come as JPEG
PARTS = (1500, 300, 600, 300)  # train, val, test, another hospital
MOST = 2  # opacities in a picture


def one(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Picture `number`, and its opacities as rows of the table; the patient's number is its seed."""
    rng = np.random.default_rng([number, 13])
    count = int(rng.integers(1, MOST + 1)) if rng.uniform() < ILL else 0
    machine = OTHER if number >= sum(PARTS[:3]) else Machine()
    picture, found = radiograph(number, SIDE, count, machine)
    rows = np.full((MOST, 5), np.nan, np.float32)
    for row, spot in zip(rows, found, strict=False):
        s = in_pixels(spot, number, machine)
        row[:] = (s.y + 1) / 2, (s.x + 1) / 2, s.half_height / 2, s.half_width / 2, s.angle
    return picture, rows


def main(folder: Path = HERE) -> None:
    pictures, spots = (np.stack(some) for some in zip(*map(one, range(sum(PARTS))), strict=True))
    labels = np.isfinite(spots[:, 0, 0]).astype(np.uint8)
    sheet = pictures.reshape(-1, COLUMNS, SIDE, SIDE).swapaxes(1, 2).reshape(-1, COLUMNS * SIDE)
    with written_whole(folder / "synthetic_radiographs.webp") as temporary:
        Image.fromarray(sheet).convert("RGB").save(temporary, "webp", quality=QUALITY, method=6)
    split = np.repeat(np.arange(4, dtype=np.uint8), PARTS)
    write_npz(folder / "synthetic_radiographs.npz", {"labels": labels, "split": split, "spots": spots})


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
