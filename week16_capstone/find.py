"""Where the figures of a page are: what is drawn close together, with the labels around it, and no table or ornament.

    drawing = drawn(page)                        # words, vector paths and pictures of a page of pypdfium2's
    for found in figures(drawing, lines):        # lines: those of week 11
        found.box, found.source

References
    G. Nagy, S. Seth, "Hierarchical representation of optically scanned documents", ICPR 1984: cutting what is on a page
        again and again where nothing stands
    C. Clark, S. Divvala, "PDFFigures 2.0", JCDL 2016: what is neither text nor caption, grown to a box
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Literal

from week11_rag.lines import Line, placing
from week16_capstone.captions import CAPTION, starts_caption
from week16_capstone.chart import Box, Path, Word, around
from week16_capstone.cut import MOST, contents, inside, objects

ROOM = 10.0  # points between parts of one drawing
LABEL_ROOM = 14.0  # points from a drawing to a label of it
REACH = 70.0  # points that labels may stand away from what is drawn
LEAST = (60.0, 45.0)  # points wide and high
MOST_FIGURES = 24  # of a page
WHOLE = 450.0  # points high: a page of less may be one figure; a picture as large as another page is a scan
THIN = 2.5  # points: what is thinner is a line
WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Drawing:
    """What is on a page beside its lines of text: labels in any direction, vector paths, and the boxes of pictures."""

    width: float
    height: float
    words: tuple[Word, ...]
    paths: tuple[Path, ...]
    images: tuple[Box, ...]


@dataclass(frozen=True)
class Found:
    """A figure: its box, whether it is drawn or a picture, and what stands in it."""

    box: Box
    source: Literal["vector", "raster"]
    words: tuple[Word, ...]
    paths: tuple[Path, ...]


def drawn(page: Any) -> Drawing:
    """What a page of pypdfium2's has. Its caller holds week 11's lock."""
    import pypdfium2.raw as raw

    words, paths = contents(page)
    images = []
    for held, matrix in objects(raw, page):
        if raw.FPDFPageObj_GetType(held) == raw.FPDF_PAGEOBJ_IMAGE:
            images.append(bounds(raw, held, matrix))
    place = placing(page)
    width, height = page.get_size()
    if page.get_rotation() or place(0, 0) != (0, 0):
        words = [Word(word.text, moved(word.box, place), word.angle - page.get_rotation()) for word in words]
        paths = [
            Path(tuple(tuple(place(*point) for point in line) for line in path.lines), path.closed, path.fill,
                 path.stroke, path.width, path.curved)
            for path in paths
        ]  # fmt: skip
        images = [moved(box, place) for box in images]
    return Drawing(width, height, tuple(words), tuple(paths), tuple(images))


def bounds(raw: Any, held: Any, matrix: Any) -> Box:
    """The box of an object on the page."""
    import ctypes

    sides = [ctypes.c_float() for _ in range(4)]
    raw.FPDFPageObj_GetBounds(held, *sides)
    left, bottom, right, top = (side.value for side in sides)
    corners = [(left, bottom), (right, bottom), (left, top), (right, top)]
    (a, b, _), (c, d, _), (e, f, _) = matrix.tolist()
    xs, ys = zip(*((x * a + y * c + e, x * b + y * d + f) for x, y in corners), strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def moved(box: Box, place: Any) -> Box:
    """A box of the page's own as it is shown."""
    (a, b), (c, d) = place(box[0], box[1]), place(box[2], box[3])
    return min(a, c), min(b, d), max(a, c), max(b, d)


# ---------------------------------------------------------------- figures


def figures(drawing: Drawing, lines: Sequence[Line]) -> list[Found]:
    """The figures of a page, from the top down.

    Args:
        drawing: of the page.
        lines: its lines of text, as week 11 puts them together.
    """
    page = (0.0, 0.0, drawing.width, drawing.height)
    visible = [path for path in drawing.paths if is_visible(path, page)]
    pictures = strips(drawing.images)
    pictures = [box for box in pictures if not covers(box, page) or drawing.height < WHOLE]
    shapes = [path.box for path in visible]
    if len(shapes) >= MOST:
        return []
    text = running_text(lines)
    labels = [line.box for line in lines if id(line) not in text]
    usual = median(word.angle for word in drawing.words) if drawing.words else 0.0  # a page may lie on its side
    turned = [word.box for word in drawing.words if abs(word.angle - usual) > 2]
    groups = [part for group in clusters([*shapes, *pictures], ROOM) for part in by_frame(group, visible)]
    kept, scraps = [], []
    for group in groups:
        whole = around(group)
        shown = [box for box in pictures if inside(box, whole)]
        parts = [path for path in visible if inside(path.box, whole)]
        picture = sum(area(box) for box in shown) > 0.6 * area(whole)
        if size(whole) < LEAST or whole[3] - whole[1] < LEAST[1]:
            scraps.append(whole)
        elif picture and not has_text(whole, lines):
            kept.append((around(shown), "raster"))
        elif is_drawing(parts, whole, lines, bool(shown)):
            kept.append((whole, "vector"))
        else:
            scraps.append(whole)
    found = []
    for box, source in kept:
        if source == "vector":
            others = [other for other, _ in kept if other != box]
            own = [scrap for scrap in scraps if area(scrap) < 0.5 * area(box)]
            own += [label for label in labels if all(distance(label, box) <= distance(label, o) for o in others)]
            own += [label for label in turned if not is_of_next(label, box, others)]
            box = with_labels(box, own)
        words = tuple(word for word in drawing.words if inside(word.box, box))
        paths = tuple(path for path in drawing.paths if inside(path.box, box))
        found.append(Found(clipped(box, page), source, words, paths if source == "vector" else ()))
    return sorted(found, key=lambda one: (-one.box[3], one.box[0]))[:MOST_FIGURES]


def clusters(boxes: Sequence[Box], room: float) -> list[list[Box]]:
    """The boxes in groups: between two of them runs an empty strip wider than `room`, across or from top to bottom."""
    # exercise 5: figures and captions, what is drawn close together
    # boxes, each (left, bottom, right, top), and room -> lists of boxes. A group is cut in two wherever an upright or a
    # level strip wider than `room` goes right through it with no box in the strip, and so are its parts, until nowhere
    # such a strip is left. Every box is in one group. No boxes: no groups. The order of groups is of no matter.
    # hint: for axis 0 and 1 sort by the low side, walk along and keep the furthest high side so far; a box that begins
    # more than `room` behind it begins a new part. Where that makes more than one part, cut each of them again.
    for axis in (0, 1):
        parts: list[list[Box]] = []
        furthest = float("-inf")
        for box in sorted(boxes, key=lambda box: box[axis]):
            if not parts or box[axis] - furthest > room:
                parts.append([])
            parts[-1].append(box)
            furthest = max(furthest, box[axis + 2])
        if len(parts) > 1:
            return [group for part in parts for group in clusters(part, room)]
    return [list(boxes)] if boxes else []
    # end of exercise 5


def by_frame(group: list[Box], paths: Sequence[Path]) -> list[list[Box]]:
    """A group in as many parts as it has frames side by side, each with what is nearest to it."""
    whole = around(group)
    large = [path.box for path in paths if path.stroke and size(path.box) > LEAST and inside(path.box, whole)]
    frames: list[Box] = []
    for box in sorted(large, key=area, reverse=True):
        if 0.15 * area(whole) < area(box) < 0.8 * area(whole) and all(distance(box, other) > 0 for other in frames):
            frames.append(box)
    if len(frames) < 2 or sum(map(area, frames)) < 0.6 * area(whole):
        return [group]
    parts: list[list[Box]] = [[] for _ in frames]
    for box in group:
        gaps = [(distance(box, frame), distance(middle(box), middle(frame))) for frame in frames]
        parts[gaps.index(min(gaps))].append(box)
    return parts


def strips(images: Sequence[Box]) -> list[Box]:
    """Pictures; those that were cut in strips, which touch and are equally wide or high, as one."""
    found: list[Box] = []
    for box in sorted(images, key=lambda box: (-box[3], box[0])):
        for number, other in enumerate(found):
            across = abs(box[0] - other[0]) < 1 and abs(box[2] - other[2]) < 1 and abs(box[3] - other[1]) < 1.5
            beside = abs(box[1] - other[1]) < 1 and abs(box[3] - other[3]) < 1 and abs(box[0] - other[2]) < 1.5
            if across or beside:
                found[number] = around([box, other])
                break
        else:
            found.append(box)
    return found


def middle(box: Box) -> Box:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return x, y, x, y


def with_labels(core: Box, labels: Sequence[Box], room: float = LABEL_ROOM, reach: float = REACH) -> Box:
    """The box of a drawing with the labels around it: those near it, those near these, and so on, within reach.

    Args:
        core: what is drawn.
        labels: boxes of what may belong to it.
        room: how far a label is from what it belongs to, at most.
        reach: how far the box may grow beyond the core, on any side.
    """
    # exercise 5: figures and captions, the labels around a drawing
    # core and labels (left, bottom, right, top), room, reach -> the box of core and of all labels that belong to it. A
    # label belongs to it where it is at most `room` away from the box as grown so far (`distance`), and does not stick
    # out of the core by more than `reach` on any side (`inside(label, core, reach)`). A label that belongs to it makes
    # the box larger, and so may bring in others that are further out.
    # hint: go over the labels that are left again and again, until a round takes none; `around` makes one box of two.
    box, left = core, [label for label in labels if inside(label, core, reach)]
    while True:
        taken = [label for label in left if distance(label, box) <= room]
        if not taken:
            return box
        box = around([box, *taken])
        left = [label for label in left if label not in taken]
    # end of exercise 5


def is_of_next(label: Box, core: Box, others: Sequence[Box]) -> bool:
    """Whether text that is turned stands between a drawing and the next on its right: it labels that one's axis."""
    behind = label[0] > core[2] - 1
    return behind and any(
        0 < other[0] - label[0] < REACH and other[1] < label[3] and label[1] < other[3] for other in others
    )


def distance(one: Box, other: Box) -> float:
    """How far two boxes are apart, across or up; 0 where they touch."""
    across = max(one[0] - other[2], other[0] - one[2], 0.0)
    up = max(one[1] - other[3], other[1] - one[3], 0.0)
    return max(across, up)


def size(box: Box) -> tuple[float, float]:
    return box[2] - box[0], box[3] - box[1]


def area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def covers(box: Box, page: Box, share: float = 0.9) -> bool:
    """Whether a box is as large as the page in both directions."""
    return all(side > share * whole for side, whole in zip(size(box), size(page), strict=True))


def clipped(box: Box, page: Box) -> Box:
    return max(box[0] - 2, page[0]), max(box[1] - 2, page[1]), min(box[2] + 2, page[2]), min(box[3] + 2, page[3])


# ---------------------------------------------------------------- what is no figure


def is_visible(path: Path, page: Box) -> bool:
    """Whether a path is more than white on white, a frame or background of the whole page, or a rule along it."""
    wide, high = size(path.box)
    if path.stroke is None and path.fill == WHITE:
        return False
    on_page = inside(path.box, page, 5.0)  # what leaves it is cut off somewhere
    between_columns = wide < THIN and high > 0.6 * page[3]
    return on_page and not covers(path.box, page) and not between_columns


def is_drawing(paths: Sequence[Path], box: Box, lines: Sequence[Line], pictures: bool) -> bool:
    """Whether paths make up a figure: not rules, not a box around text, not a table."""
    bent = sum(path.curved or is_slanted(path) for path in paths)
    if len(paths) + 2 * pictures < (3 if bent else 5):
        return False
    within = [line for line in lines if box[0] <= (line.left + line.right) / 2 <= box[2]
              and box[1] <= line.base <= box[3]]  # fmt: skip
    return not has_text(box, within) and (bent > 0 or not is_table(paths, box, within))


def has_text(box: Box, lines: Sequence[Line]) -> bool:
    """Whether a box is a frame around a text, or lies behind one: whole lines take up half of its height."""
    within = [line for line in lines if inside(line.box, box, 3.0)]
    full = [line.size for line in within if line.right - line.left > 0.6 * size(box)[0]]
    return len(full) >= 3 and 1.4 * sum(full) > 0.5 * size(box)[1]


def is_slanted(path: Path) -> bool:
    """Whether it has a line that is neither level nor upright."""
    return any(abs(a[0] - b[0]) > 1 and abs(a[1] - b[1]) > 1 for line in path.lines for a, b in pairwise(line))


def is_table(paths: Sequence[Path], box: Box, within: Sequence[Line]) -> bool:
    """Whether straight paths rule a table: its rows of text take up a good part of its height, and nothing in it looks
    like bars, which stand on one line and have different heights."""
    rows: dict[int, list[Line]] = {}
    for line in within:
        near = next((base for base in rows if abs(base - line.base) < 3), round(line.base))
        rows.setdefault(near, []).append(line)
    filled = [row for row in rows.values() if len(row) > 1]
    covered = sum(max(line.size for line in row) for row in filled)
    return len(filled) >= 2 and covered > 0.3 * (box[3] - box[1]) and not has_bars(paths)


def has_bars(paths: Sequence[Path]) -> bool:
    """Whether three filled boxes stand on one line (or begin at one) and end at three different ones."""
    solid = [path.box for path in paths if path.fill and path.fill != WHITE and min(size(path.box)) > THIN]
    for axis in (0, 1):  # level bars begin at one left side, upright ones at one bottom
        ends: dict[int, set[int]] = {}
        for box in solid:
            ends.setdefault(round(box[axis]), set()).add(round(box[axis + 2] / 2))
        if any(len(found) >= 3 for found in ends.values()):
            return True
    return False


def running_text(lines: Sequence[Line]) -> set[int]:
    """The ids of lines that label no figure: captions with their second lines, and lines of paragraphs."""
    found: set[int] = set()
    ordered = sorted(lines, key=lambda line: -line.base)
    for number, line in enumerate(ordered):
        if starts_caption(line.text):
            found.add(id(line))
        below = [
            other for other in ordered[number + 1 : number + 12]
            if 0 < line.base - other.base < 1.6 * line.size and abs(other.size - line.size) < 0.6
            and abs(other.left - line.left) < 2 * line.size
        ]  # fmt: skip
        long = len(line.letters) > 38
        for other in below:
            if (id(line) in found and CAPTION.match(line.text)) or long:
                found |= {id(line), id(other)}
        ended = line.text.endswith((".", "?", "!")) and len(line.letters) > 24  # as no label does
        if len(line.letters) > 70 or ended:
            found.add(id(line))
    return found
