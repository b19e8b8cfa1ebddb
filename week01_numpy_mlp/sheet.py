"""Finds the sheet of paper in a photo: where a digit was written on one, and the sheet lies on a darker table."""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageFilter

from shared.errors import CourseError

Mask = Bool[np.ndarray, "_ _"]  # of any size
Levels = UInt8[np.ndarray, "height width"]

SIDE = 120  # pixels: a sheet is looked for in a small copy
RECTANGLE = 0.86  # of the smallest rectangle around it is filled by a sheet of paper, seen a little aslant
LUMP = 0.29  # of its longer side: what is as wide as that is no stroke (MNIST: up to 0.28)


def sheet(picture: Image.Image) -> Image.Image:
    """The sheet of paper in a photo of it on a darker table, straightened; the picture itself where there is none.

    What is brighter than Otsu's threshold, in one piece, without holes and with sharp edges, is a sheet if it has four
    corners, nearly fills a rectangle (turned as it may be), and lies within the picture, but for one side at most.

    Raises:
        CourseError: something bright and solid lies on something dark, but is no such sheet, or is half in the shade.
    """
    if picture.mode == "RGBA":
        return picture
    small = picture.convert("L")
    small.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    grey = np.asarray(small)
    bright = grey > otsu(grey)
    if np.concatenate(edges(bright)).mean() > 0.5:  # the paper is all around
        return picture
    page = filled(bright)
    sides = sum(side.any() for side in edges(page))
    if sides > 1 or not page.any() or is_soft(page, grey):
        return picture
    corners, size = corners_of(page)
    if min(size) < max(max(size) / 3, 0.12 * max(page.shape)):
        return picture
    x, y = corners.T
    quad = abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2  # the area between the corners (shoelace); of a disc: 0.64
    if not 0.85 < quad / page.sum() < 1.1 or page.sum() < RECTANGLE * size[0] * size[1]:
        if stroke_width(page & bright) > LUMP * max(np.ptp(np.argwhere(page), axis=0) + 1):
            raise CourseError(
                "something bright lies on something dark, but no whole sheet is seen. Crop the picture to the paper, "
                "or take it without shadows."
            )
        return picture
    corners += 0.06 * (corners.mean(axis=0) - corners)  # and no edge of the table
    scale = picture.width / small.width
    width, height = (round(scale * float(side)) for side in size)
    at = (corners * scale).ravel().tolist()
    return picture.transform((width, height), Image.Transform.QUAD, at, Image.Resampling.BICUBIC)


def edges(mask: Mask) -> tuple[np.ndarray, ...]:
    """The first and last row and column."""
    return mask[0], mask[-1], mask[:, 0], mask[:, -1]


def filled(bright: Mask) -> Mask:
    """The largest connected part of a mask, without holes."""
    page = np.zeros_like(bright)
    for piece in pieces(bright)[:1]:
        page[tuple(piece.T)] = True
    for hole in pieces(~page):
        page[tuple(hole.T)] = hole.min() > 0 and (hole.max(axis=0) < np.array(page.shape) - 1).all()
    return page


def is_soft(page: Mask, grey: Levels) -> bool:
    """Whether it is hardly brighter within a mask's edge than without, as where a shadow begins."""
    mask = Image.fromarray(page).convert("L")
    within = page & (np.asarray(mask.filter(ImageFilter.MinFilter(5))) == 0)
    without = ~page & (np.asarray(mask.filter(ImageFilter.MaxFilter(5))) > 0)
    return bool(np.median(grey[without]) > 0.8 * np.median(grey[within]))


def corners_of(page: Mask) -> tuple[Float[np.ndarray, "4 2"], tuple[float, float]]:
    """The corners (x, y) of what a mask shows, top left first and against the clock, and the width and the height of
    the smallest rectangle around it."""
    points = np.argwhere(page)[:, ::-1] + 0.5
    angles = np.deg2rad(np.arange(-45, 45, 3))
    across = points @ np.stack([np.cos(angles), np.sin(angles)])  # (n, angles), along the rectangle's top …
    down = points @ np.stack([-np.sin(angles), np.cos(angles)])  # … and along its side
    widths, heights = np.ptp(across, axis=0) + 1, np.ptp(down, axis=0) + 1
    best = (widths * heights).argmin()
    u, v = across[:, best], down[:, best]
    rows = [(u + v).argmin(), (v - u).argmax(), (u + v).argmax(), (v - u).argmin()]
    return points[rows], (float(widths[best]), float(heights[best]))


def otsu(grey: Levels) -> int:
    """The threshold that sets the means of what is darker and what is brighter furthest apart, weighted by both sizes.

    N. Otsu, "A threshold selection method from gray-level histograms", 1979.
    """
    shares = np.bincount(grey.ravel(), minlength=256) / grey.size
    dark, level = shares.cumsum(), (shares * np.arange(256)).cumsum()
    return int(((level[-1] * dark - level) ** 2 / np.maximum(dark * (1 - dark), 1e-9)).argmax())


def pieces(mask: Mask) -> list[np.ndarray]:
    """The connected parts of a mask, largest first, each as its pixels' (row, column) in an array (n, 2).

    Flood fill: take any pixel, go to its neighbours, to theirs, and so on until there are none left; then start again.
    """
    left, found = set(map(tuple, np.argwhere(mask).tolist())), []
    while left:
        piece = [left.pop()]
        for row, column in piece:  # it grows while it is read
            around = {(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & left
            left -= around
            piece.extend(around)
        found.append(np.array(piece))
    return sorted(found, key=len, reverse=True)


def stroke_width(strokes: Mask) -> float:
    """Roughly how wide the pen was, in pixels: the strokes' area over half the length of their outline."""
    padded = np.pad(strokes, 1)
    edges = sum((padded != np.roll(padded, 1, axis)).sum() for axis in (0, 1))
    return float(2.5 * strokes.sum() / edges)  # and not 2: along a slope, counting pixel edges overstates the outline
