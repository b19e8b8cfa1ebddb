"""Where an answer stands, as pictures: the page with the figure's box on it, and the figure with the values marked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from week11_rag import pdf
from week16_capstone.chart import Box

SCALE = 1.6  # pixels a point of a page
CROP_SCALE = 2.0
EDGE = (214, 39, 40)  # red: on paper, and on a chart of any colour, beside white
MARK = (255, 214, 10)  # yellow, as of a marker
ROOM = 5.0  # points around a figure


def page_picture(file: Path, page: int, box: Box, marks: Sequence[Box] = (), quoted: bool = False) -> Any:
    """A page as a PIL image with a box on it; quoted words are marked in yellow in its place."""
    image = pdf.render(file, page, SCALE)
    scale = image.height / height_of(file, page)
    return marked(image, scale, marks or (box,)) if quoted else framed(image, scale, (box,))


def crop_picture(file: Path, page: int, box: Box, marks: Sequence[Box] = ()) -> Any:
    """A figure as a PIL image, the values that were used framed."""
    image = pdf.render(file, page, CROP_SCALE)
    high = height_of(file, page)
    scale = image.height / high
    left, bottom, right, top = box
    corner = max(0.0, left - ROOM), min(high, top + ROOM)
    sides = (corner[0] * scale, (high - corner[1]) * scale, min(image.width, (right + ROOM) * scale),
             min(image.height, (high - bottom + ROOM) * scale))  # fmt: skip
    return framed(image, scale, [grown(mark) for mark in marks]).crop(tuple(map(round, sides)))


def height_of(file: Path, page: int) -> float:
    with pdf.opened(file, pdf.whole_pdf(file)) as held, pdf.LOCK:
        return float(held.get_page_size(page - 1)[1])


def grown(box: Box, least: float = 7.0) -> Box:
    """A box that can be seen: that of a point on a line has hardly a size."""
    wide, high = max(0.0, least - (box[2] - box[0])) / 2, max(0.0, least - (box[3] - box[1])) / 2
    return box[0] - wide, box[1] - high, box[2] + wide, box[3] + high


def framed(image: Any, scale: float, boxes: Sequence[Box]) -> Any:
    """The image with a frame around each box: red in white, so that it shows on any ground."""
    from PIL import ImageDraw

    image = image.convert("RGB")
    draw = ImageDraw.Draw(image)
    for box in boxes:
        left, top, right, bottom = pixels(box, scale, image.height)
        draw.rectangle((left - 3, top - 3, right + 3, bottom + 3), outline="white", width=5)
        draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), outline=EDGE, width=3)
    return image


def marked(image: Any, scale: float, boxes: Sequence[Box]) -> Any:
    """The image with boxes in yellow, as by a marker: what is black stays black."""
    from PIL import Image, ImageChops, ImageDraw

    layer = Image.new("RGB", image.size, "white")
    draw = ImageDraw.Draw(layer)
    for box in boxes:
        left, top, right, bottom = pixels(box, scale, image.height)
        draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), fill=MARK)
    return ImageChops.multiply(image.convert("RGB"), layer)


def pixels(box: Box, scale: float, height: int) -> tuple[float, float, float, float]:
    """A box of the page in pixels from the upper left corner."""
    return box[0] * scale, height - box[3] * scale, box[2] * scale, height - box[1] * scale
