"""How well charts are read, kind by kind: the part of eval.py (and of train.py's val) that is about charts.

scored = score(reader, cases, recognise=False)
within(scored, 0.05, kinds=("bar", "line"))
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from week16_capstone import cut, draw, measures
from week16_capstone.assemble import Seen, chart
from week16_capstone.axes import number
from week16_capstone.chart import Chart, Figure, Unreadable, Value
from week16_capstone.data import Case
from week16_capstone.model import KINDS


@dataclass(frozen=True)
class Scored:
    """What became of a chart: what was read of it (None: it was refused, and why), and the error of each true value."""

    case: Case
    found: Chart | None
    why: str
    errors: tuple[float, ...]
    f1: float

    @property
    def readable(self) -> bool:
        """Whether it is to be read at all."""
        return not self.case.spec.fault and self.case.spec.kind not in ("table", "photo")


def score(
    read: Callable[[Figure], Chart], items: Iterable[Case], how: Literal["known", "pixels", "vector"]
) -> list[Scored]:
    """Reads charts and holds them against the truth.

    Args:
        read: the reader.
        items: the charts.
        how: known: bitmaps, with the drawn words given; pixels: bitmaps alone; vector: the same charts in a PDF.
    """
    return [one(read, case, how) for case in items]


def one(read: Callable[[Figure], Chart], case: Case, how: str) -> Scored:
    """A single chart."""
    found, why, truth = None, "", case.drawn.truth
    try:
        found = read(from_pdf(case) if how == "vector" else case.drawn.figure(words=how == "known"))
    except Unreadable as error:
        why = error.reason
    return Scored(case, found, why, tuple(measures.errors(found, truth)),
                  measures.rms_f1(measures.rows(found) if found else [], measures.rows(truth)))  # fmt: skip


def from_pdf(case: Case) -> Figure:
    """The chart as a vector figure, through a PDF."""
    import pypdfium2

    with pypdfium2.PdfDocument(draw.pdf(case.spec)) as pdf:
        page = pdf[0]
        return cut.figure(page, (0.0, 0.0, *page.get_size()), scale=1.0)


def errors(scored: Sequence[Scored], kinds: Sequence[str] = ("bar", "line")) -> np.ndarray:
    """The errors of all values of these kinds, of charts that are to be read."""
    found = [error for one in scored if one.readable and one.case.spec.kind in kinds for error in one.errors]
    return np.array(found or [np.inf])


def within(scored: Sequence[Scored], tolerance: float, kinds: Sequence[str] = ("bar", "line")) -> float:
    """The share of values of these kinds whose relative error is at most `tolerance`; 0: exact to four digits."""
    return float((errors(scored, kinds) <= max(tolerance, 5e-4)).mean())


def summary(scored: Sequence[Scored]) -> dict[str, float]:
    """The numbers of a table's row."""
    readable, others = [s for s in scored if s.readable], [s for s in scored if not s.readable]
    return {
        "exact": within(scored, 0.0), "within_2": within(scored, 0.02), "within_5": within(scored, 0.05),
        "pie_within_5": within(scored, 0.05, ("pie",)), "scatter_within_5": within(scored, 0.05, ("scatter",)),
        "rms_f1": float(np.mean([s.f1 for s in readable])) if readable else 0.0,
        "charts": len(readable), "refused": sum(s.found is None for s in readable),
        "faulty": len(others), "faulty_refused": sum(s.found is None for s in others),
    }  # fmt: skip


def values_with_confidence(scored: Sequence[Scored], right: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """(confidence, whether it is right) of each value that was read; what was read of a chart that should have been
    refused is wrong. A value is right when a true one of its names is within `right` of it."""
    sure, good = [], []
    for one in scored:
        if one.found is None:
            continue
        truth = one.case.drawn.truth
        for value in one.found.values:
            sure.append(value.confidence)
            good.append(one.readable and is_right(value, truth, right))
    return np.array(sure), np.array(good, bool)


def is_right(value: Value, truth: Chart, right: float) -> bool:
    """Whether some true value has its names and is as large."""
    return min(measures.errors(Chart(truth.kind, "", "", "", (value,), "raster"), truth), default=np.inf) <= right


def calibration(sure: np.ndarray, good: np.ndarray, steps: int = 50) -> tuple[float, float]:
    """(slope, start) by which confidences become probabilities: logistic regression on the log odds, by Newton's
    steps, with Platt's softened targets. (1, 0), which changes nothing, where all are right or wrong, or too few."""
    if len(sure) < 20 or good.all() or not good.any():
        return 1.0, 0.0
    clipped = np.clip(sure, 1e-6, 1 - 1e-6)
    x = np.stack([np.log(clipped / (1 - clipped)), np.ones(len(sure))], axis=1)  # (values, 2)
    goods = int(good.sum())
    wanted = np.where(good, (goods + 1) / (goods + 2), 1 / (len(good) - goods + 2))
    weights = np.array([1.0, 0.0])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-3 * np.eye(2)
        weights = weights + np.linalg.solve(hessian, x.T @ (wanted - p) - 1e-3 * weights)
    return (float(weights[0]), float(weights[1])) if np.isfinite(weights).all() and weights[0] > 0 else (1.0, 0.0)


def calibration_error(sure: np.ndarray, good: np.ndarray, bins: int = 10) -> float:
    """The mean difference between confidence and the share that is right, over bins of equally many values (ECE)."""
    parts = [part for part in np.array_split(np.argsort(sure, kind="stable"), bins) if len(part)]
    return float(sum(len(part) * abs(sure[part].mean() - good[part].mean()) for part in parts) / max(1, len(sure)))


def risk_by_coverage(
    sure: np.ndarray, good: np.ndarray, steps: Sequence[float] = (0.5, 0.7, 0.8, 0.9, 1.0)
) -> list[Any]:
    """(coverage, risk, least confidence): what share is wrong of the surest part, for parts of these sizes; of
    no values, nothing."""
    order = np.argsort(-sure, kind="stable")
    rows = []
    for share in steps if len(order) else ():
        count = max(1, round(share * len(order)))
        rows.append((share, float(1 - good[order[:count]].mean()), float(sure[order[count - 1]])))
    return rows


# ---------------------------------------------------------------- baselines


def words_only(figure: Figure) -> Chart:
    """The baseline without any marks: each printed number is given to the category nearest to it along x. It is right
    where values are printed, and has nothing to say elsewhere.

    Raises:
        Unreadable: there are no words.
    """
    from week16_capstone.recognise import recognise

    words = figure.words or recognise(figure)
    numbers = [(word, value) for word in words if (value := number(word.text)) is not None]
    names = [word for word in words if number(word.text) is None or is_year(word.text)]
    if not numbers or not names:
        raise Unreadable("there are no numbers in it")
    values = []
    for word, value in numbers:
        if not is_year(word.text):
            near = min(names, key=lambda name: abs(name.middle[0] - word.middle[0]))
            values.append(Value("", near.text, value, word.box, 0.5))
    return Chart("bar", "", "", "", tuple(values), "raster")


def is_year(text: str) -> bool:
    return text.isdigit() and len(text) == 4 and 1900 <= int(text) <= 2100


def contours(figure: Figure) -> Chart:
    """The baseline without a network: OpenCV's contours of the colours in a picture that are rectangles, read as bars
    by the same axes and labels. It reads bars alone.

    Raises:
        Unreadable: there are no such rectangles, or no axis.
    """
    import cv2

    from week16_capstone.colours import Canvas, coloured
    from week16_capstone.colours import Spot as Found
    from week16_capstone.recognise import recognise

    words = figure.words or recognise(figure)
    canvas = Canvas(figure, words)
    pixels = canvas.pixels.astype(np.uint8)
    codes = (pixels // 24).astype(np.int32) @ np.array([1, 16, 256])
    spots: list[Found] = []
    boxes = []
    for code in np.argsort(-np.bincount(codes.ravel()))[1:9]:
        mask = (codes == code).astype(np.uint8)
        found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for contour in found:
            x, y, wide, high = cv2.boundingRect(contour)
            if wide >= 6 and high >= 3 and cv2.contourArea(contour) > 0.8 * (wide - 1) * (high - 1):
                boxes.append(
                    (x, y, x + wide, y + high, np.median(pixels[y : y + high, x : x + wide].reshape(-1, 3), 0))
                )
    best: list[Any] = []
    for horizontal in (False, True):
        for side in (0, 2) if horizontal else (1, 3):
            for base in {box[side] for box in boxes}:
                held = [box for box in boxes if abs(box[side] - base) <= 2]
                if len(held) > len(best[1] if best else []):
                    best = [horizontal, held, base, side]
    if not best or len(best[1]) < 2:
        raise Unreadable("there are no rectangles in it")
    horizontal, held, base, side = best
    for x0, y0, x1, y1, colour in held:
        end = {0: x1, 2: x0, 1: y1, 3: y0}[side]
        at = figure.point((end, (y0 + y1) / 2) if horizontal else ((x0 + x1) / 2, end))
        spots.append(Found(at, canvas.box(x0, y0, x1, y1), colour.astype(float), 0.5))
    marks, _, named = coloured(canvas, spots)
    start = figure.point((base, 0))[0] if horizontal else figure.point((0, base))[1]
    return chart(Seen("bar", tuple(marks), words, named=named, horizontal=horizontal, base=start,
                      near=1.5 / figure.scale, how="raster", sure=0.5))  # fmt: skip


def kinds_right(kinds: Sequence[str], items: Sequence[Case]) -> float:
    """The share of kinds that are right, every one of KINDS told apart."""
    return float(np.mean([kind == KINDS[case.kind] for kind, case in zip(kinds, items, strict=True)]))
