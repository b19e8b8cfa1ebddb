"""The words of a figure that is pixels, by rapidocr (PP-OCRv4), the recogniser of week 11."""

import numpy as np

from week11_rag import ocr
from week16_capstone.chart import Figure, Unreadable, Word

WIDE = 1000  # pixels of a picture's longer side: smaller ones are enlarged, or small digits are lost
SURE = 0.5


def recognise(figure: Figure) -> tuple[Word, ...]:
    """The labels in a figure's picture.

    Raises:
        Unreadable: rapidocr is not installed.
    """
    if not ocr.is_there():
        raise Unreadable(f"its labels are pixels, and nothing is there to read them (`{ocr.INSTALL}`)")
    picture = figure.picture
    times = max(1.0, WIDE / max(picture.size))
    if times > 1.0:
        picture = picture.resize((round(picture.width * times), round(picture.height * times)))
    found = ocr.engine()(np.asarray(picture)[:, :, ::-1], use_cls=False)[0] or []
    words = []
    for corners, text, sure in found:
        if text.strip() and float(sure) > SURE:
            xs, ys = zip(*((float(x) / times, float(y) / times) for x, y in corners), strict=True)
            (left, bottom), (right, top) = figure.point((min(xs), max(ys))), figure.point((max(xs), min(ys)))
            angle = float(np.degrees(np.arctan2(ys[0] - ys[1], xs[1] - xs[0])))
            words.append(Word(text.strip(), (left, bottom, right, top), angle if abs(angle) > 10 else 0.0))
    return tuple(words)
