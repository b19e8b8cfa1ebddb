"""A part of a PDF's page as vectors: the words and paths that pdfium finds there, forms within forms too."""

import ctypes
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from week16_capstone.chart import Box, Colour, Figure, Path, Point, Word

DEEPEST = 6  # forms within forms
MOST = 20_000  # objects of a page
PIECES = 6  # straight pieces of a curve


def figure(page: Any, box: Box, number: int = 1, scale: float = 2.0) -> Figure:
    """Cuts a box out of a page of pypdfium2's (which its caller keeps locked): its picture, words and paths."""
    left, bottom, right, top = box
    width, height = page.get_size()
    bitmap = page.render(scale=scale, crop=(left, bottom, width - right, height - top))
    picture = bitmap.to_pil().convert("RGB")
    bitmap.close()
    words, paths = contents(page)
    return Figure(
        picture, scale, tuple(word for word in words if inside((*word.middle, *word.middle), box)),
        tuple(path for path in paths if inside(path.box, box)), number, box,
    )  # fmt: skip


def inside(inner: Box, outer: Box, slack: float = 1.0) -> bool:
    return (inner[0] >= outer[0] - slack and inner[1] >= outer[1] - slack
            and inner[2] <= outer[2] + slack and inner[3] <= outer[3] + slack)  # fmt: skip


def contents(page: Any) -> tuple[list[Word], list[Path]]:
    """All words and paths of a page, in the order in which they are painted."""
    import pypdfium2.raw as raw

    letters: list[tuple[str, Box, float, float]] = []
    paths: list[Path] = []
    textpage = page.get_textpage()
    for held, matrix in objects(raw, page):
        kind = raw.FPDFPageObj_GetType(held)
        if kind == raw.FPDF_PAGEOBJ_PATH and (path := path_of(raw, held, matrix)):
            paths.append(path)
        elif kind == raw.FPDF_PAGEOBJ_TEXT and (piece := text_of(raw, held, textpage, matrix)):
            letters.append(piece)
    textpage.close()
    return joined(letters), paths


def objects(raw: Any, page: Any) -> Iterator[tuple[Any, np.ndarray]]:
    """(object, the matrix of what it stands in) of everything that is painted."""
    todo = [(raw.FPDFPage_GetObject(page.raw, n), np.eye(3), 0) for n in range(raw.FPDFPage_CountObjects(page.raw))]
    todo.reverse()
    count = 0
    while todo and count < MOST:
        held, matrix, depth = todo.pop()
        if raw.FPDFPageObj_GetType(held) == raw.FPDF_PAGEOBJ_FORM:
            if depth < DEEPEST:
                own = matrix_of(raw, held) @ matrix
                inner = range(raw.FPDFFormObj_CountObjects(held))
                todo += [(raw.FPDFFormObj_GetObject(held, n), own, depth + 1) for n in reversed(inner)]
            continue
        count += 1
        yield held, matrix


def matrix_of(raw: Any, held: Any) -> np.ndarray:
    """An object's own matrix; a row (x, y, 1) times it is its place in what it stands in."""
    found = raw.FS_MATRIX()
    raw.FPDFPageObj_GetMatrix(held, found)
    return np.array([[found.a, found.b, 0], [found.c, found.d, 0], [found.e, found.f, 1]])


def path_of(raw: Any, held: Any, outer: np.ndarray) -> Path | None:
    """A path on the page; None where nothing of it is painted."""
    mode, stroked = ctypes.c_int(), ctypes.c_int()
    raw.FPDFPath_GetDrawMode(held, mode, stroked)
    fill = colour(raw.FPDFPageObj_GetFillColor, held) if mode.value else None
    stroke = colour(raw.FPDFPageObj_GetStrokeColor, held) if stroked.value else None
    if fill is None and stroke is None:
        return None
    matrix = matrix_of(raw, held) @ outer
    lines: list[list[Point]] = []
    bend: list[Point] = []
    closed = curved = False
    x, y = ctypes.c_float(), ctypes.c_float()
    for number in range(raw.FPDFPath_CountSegments(held)):
        segment = raw.FPDFPath_GetPathSegment(held, number)
        raw.FPDFPathSegment_GetPoint(segment, x, y)
        placed = np.array([x.value, y.value, 1]) @ matrix
        point = (float(placed[0]), float(placed[1]))
        kind = raw.FPDFPathSegment_GetType(segment)
        closed = closed or bool(raw.FPDFPathSegment_GetClose(segment))
        if kind == raw.FPDF_SEGMENT_MOVETO or not lines:
            lines.append([point])
        elif kind == raw.FPDF_SEGMENT_BEZIERTO:
            curved = True
            bend.append(point)
            if len(bend) == 3:
                lines[-1] += bezier(lines[-1][-1], *bend)
                bend = []
        else:
            lines[-1].append(point)
    width = ctypes.c_float()
    raw.FPDFPageObj_GetStrokeWidth(held, width)
    long = math.sqrt(abs(np.linalg.det(matrix[:2, :2])))
    return Path(tuple(map(tuple, lines)), closed, fill, stroke, width.value * long, curved) if lines else None


def bezier(start: Point, one: Point, two: Point, end: Point) -> list[Point]:
    """Points on a cubic curve, its end the last."""
    found = []
    for t in (np.arange(PIECES) + 1) / PIECES:
        weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
        sums = (sum(w * p[axis] for w, p in zip(weights, (start, one, two, end), strict=True)) for axis in (0, 1))
        found.append(tuple(map(float, sums)))
    return found


def colour(ask: Any, held: Any) -> Colour | None:
    """A colour mixed with white as its alpha says; None where it cannot be seen."""
    parts = [ctypes.c_uint() for _ in range(4)]
    if not ask(held, *parts) or not parts[3].value:
        return None
    share = parts[3].value / 255
    red, green, blue = (round(share * part.value + (1 - share) * 255) for part in parts[:3])
    return red, green, blue


def text_of(raw: Any, held: Any, textpage: Any, outer: np.ndarray) -> tuple[str, Box, float, float] | None:
    """(text, box, angle, size of the font) of an object of text."""
    long = raw.FPDFTextObj_GetText(held, textpage.raw, None, 0)
    buffer = (ctypes.c_ushort * (long // 2 + 1))()
    raw.FPDFTextObj_GetText(held, textpage.raw, buffer, long)
    text = bytes(buffer)[: max(0, long - 2)].decode("utf-16-le", errors="ignore")
    if not text.strip():
        return None
    sides = [ctypes.c_float() for _ in range(4)]
    raw.FPDFPageObj_GetBounds(held, *sides)
    left, bottom, right, top = (side.value for side in sides)
    corners = np.array([[left, bottom, 1], [right, bottom, 1], [left, top, 1], [right, top, 1]]) @ outer
    matrix = matrix_of(raw, held) @ outer
    size = ctypes.c_float()
    raw.FPDFTextObj_GetFontSize(held, size)
    box = (*map(float, corners[:, :2].min(axis=0)), *map(float, corners[:, :2].max(axis=0)))
    angle = math.degrees(math.atan2(matrix[0, 1], matrix[0, 0]))
    return text, box, angle, size.value * math.hypot(matrix[0, 0], matrix[0, 1])


def joined(pieces: list[tuple[str, Box, float, float]]) -> list[Word]:
    """Pieces of text that stand behind each other on one line as one word; a piece may be a letter or a whole label."""
    words: list[Word] = []
    before = 0.0  # the size of the piece before
    for text, box, angle, size in pieces:
        last = words[-1] if words else None
        if last and abs(last.angle - angle) < 2:
            turned = 45 < abs(angle) < 135
            along, across = (1, 0) if turned else (0, 1)
            gap = box[along] - last.box[along + 2]
            level = min(last.box[across + 2], box[across + 2]) - max(last.box[across], box[across])
            if -0.2 * size < gap < 0.45 * size and level > -0.1 * size:
                raised = size < 0.85 * before and box[across] > last.box[across] + 0.25 * before  # 10^3
                space = "^" if raised else " " if gap > 0.2 * size and not last.text.endswith(" ") else ""
                whole = (min(last.box[0], box[0]), min(last.box[1], box[1]),
                         max(last.box[2], box[2]), max(last.box[3], box[3]))  # fmt: skip
                words[-1] = Word(last.text + space + text, whole, angle)
                before = before if raised else size
                continue
        words.append(Word(text, box, angle))
        before = size
    return [Word(word.text.strip(), word.box, word.angle) for word in words]
