"""Text of pages that are pictures, by rapidocr (PP-OCRv4), where it is installed."""

import statistics
from functools import cache
from importlib.util import find_spec
from typing import Any

from week11_rag.lines import Font, Letter, Line

SCALE = 2.0  # pixels a point: 144 dpi
INSTALL = "pip install rapidocr-onnxruntime"


def is_there() -> bool:
    return find_spec("rapidocr_onnxruntime") is not None


@cache
def engine() -> Any:
    """The recogniser; made once, since its three networks take a second to load."""
    import logging

    from rapidocr_onnxruntime import RapidOCR

    logging.getLogger("root").setLevel(logging.WARNING)
    return RapidOCR()


def recognise(image: Any, scale: float, height: float) -> list[Line]:
    """The lines of text of a page's picture.

    Args:
        image: a PIL image.
        scale: its pixels a point.
        height: of the page, in points.
    """
    import numpy as np

    found, _ = engine()(np.asarray(image.convert("RGB"))[:, :, ::-1])
    boxes = []
    for corners, text, _ in found or ():
        across, down = ([corner[axis] / scale for corner in corners] for axis in (0, 1))
        boxes.append((min(across), height - max(down), max(across), height - min(down), text))
    if not boxes:
        return []
    usual = statistics.median(top - bottom for _, bottom, _, top, _ in boxes)
    return [line for box in boxes if (line := line_of(*box, usual))]


def line_of(left: float, bottom: float, right: float, top: float, text: str, usual: float) -> Line | None:
    """A line whose letters are taken to be equally wide; its size is the usual one, unless it clearly is another."""
    high = top - bottom
    size = round(0.75 * (usual if 0.75 < high / usual < 1.3 else high), 1)
    font, wide, letters, spaced = Font(size, False, False, False), (right - left) / max(1, len(text)), [], False
    for number, char in enumerate(text):
        if char.isspace():
            spaced = True
            continue
        start = left + number * wide
        letters.append(Letter(char, start, start + wide, round(bottom + 0.2 * high, 1), font, spaced))
        spaced = False
    return Line(letters) if letters else None
