"""Text of pages that are pictures, by rapidocr (PP-OCRv4), where it is installed."""

import statistics
from functools import cache
from importlib.util import find_spec
from typing import Any

from week11_rag.lines import Font, Letter, Line

SCALE = 3.0  # pixels a point: 216 dpi
SURE = 0.5  # what is read less surely is left out
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

    Where lines are is found on the picture in half its size, which is enough; what they say is read line by line in its
    full size: smaller, spaces are lost. That a line may stand on its head is not asked: it takes some for that wrongly.

    Args:
        image: a PIL image.
        scale: its pixels a point.
        height: of the page, in points.
    """
    import numpy as np

    def asked(picture: Any, **parts: bool) -> list[Any]:
        return engine()(np.asarray(picture)[:, :, ::-1], use_cls=False, **parts)[0] or []

    image = image.convert("RGB")
    boxes = []
    for corners in asked(image.resize((image.width // 2, image.height // 2)), use_det=True, use_rec=False):
        across, down = ([2 * float(corner[axis]) for corner in corners] for axis in (0, 1))
        box = (max(0, min(across) - 2), max(0, min(down) - 2), max(across) + 2, max(down) + 2)
        for text, sure in asked(image.crop(tuple(map(round, box))), use_det=False, use_rec=True):
            if text.strip() and sure > SURE:
                left, top, right, bottom = (side / scale for side in box)
                boxes.append((left, height - bottom, right, height - top, text))
    if not boxes:
        return []
    usual = statistics.median(top - bottom for _, bottom, _, top, _ in boxes)
    return [line for box in boxes if (line := line_of(*box, usual))]


def line_of(left: float, bottom: float, right: float, top: float, text: str, usual: float) -> Line | None:
    """A line whose letters are taken to be equally wide; its size is the usual one, unless it clearly is another."""
    high = top - bottom
    size = round(1.5 * (usual if 0.75 < high / usual < 1.3 else high)) / 2
    font, wide, letters, spaced = Font(size, False, False, False), (right - left) / max(1, len(text)), [], False
    for number, char in enumerate(text):
        if char.isspace():
            spaced = True
            continue
        start = left + number * wide
        letters.append(Letter(char, start, start + wide, round(bottom + 0.2 * high, 1), font, spaced))
        spaced = False
    return Line(letters) if letters else None
