"""Charts that are pixels: the network says where marks are, geometry and colours make numbers of them.

reader = Reader(model)
chart = reader.read(figure)      # words that the figure brings are taken; else they are recognised (rapidocr)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from week16_capstone.assemble import Seen, chart, merged
from week16_capstone.axes import number
from week16_capstone.chart import Chart, Figure, Unreadable, Value
from week16_capstone.colours import OTHER, Canvas, Spot, coloured
from week16_capstone.data import fitted
from week16_capstone.model import KINDS, MARKS, ChartReader, peaks
from week16_capstone.recognise import recognise
from week16_capstone.trace import bars_between, vertices_between
from week16_capstone.vector import away

LEAST = {"bar": 0.3, "vertex": 0.3, "dot": 0.3, "xtick": 0.2, "ytick": 0.2, "centre": 0.05, "rim": 0.2}
REFUSED = {"table": "it is a table", "photo": "it is a photo", "stacked": "its bars are stacked",
           "log": "its value axis is logarithmic", "two axes": "it has two value axes"}  # fmt: skip
SURE = 0.5  # of its kind; below, a figure is not read
CERTAIN = 0.9  # that bars are stacked: above it, no colour is asked
Place = tuple[float, float, float]
"""x, y, heat; in pixels of the picture from its upper left corner."""


@dataclass(frozen=True)
class Looked:
    """What the network says of a picture: how likely each kind is, and the places of marks by name."""

    kinds: dict[str, float]
    places: dict[str, list[Place]]

    @property
    def kind(self) -> str:
        return max(self.kinds, key=lambda name: self.kinds[name])


@dataclass
class Reader:
    """Reads charts off their pixels."""

    model: ChartReader

    @torch.no_grad()
    def look(self, pictures: Sequence[Any]) -> list[Looked]:
        """What the network sees in some pictures."""
        self.model.eval()
        sheets, scales = zip(*map(fitted, pictures), strict=True)
        device = next(self.model.parameters()).device
        views = [self.model(inputs(view).to(device)) for view in in_other_colours(np.stack(sheets))]
        heats = mean_of([torch.sigmoid(heat) for heat, _, _ in views])
        offsets = mean_of([offset for _, offset, _ in views])
        kinds = mean_of([torch.softmax(kind, dim=1) for _, _, kind in views])
        found = []
        for row, scale in enumerate(scales):
            places = {name: [(x / scale, y / scale, h) for x, y, h in peaks(heats[row, n], offsets[row], LEAST[name])]
                      for n, name in enumerate(MARKS)}  # fmt: skip
            found.append(Looked(dict(zip(KINDS, map(float, kinds[row]), strict=True)), places))
        return found

    def read(self, figure: Figure, looked: Looked | None = None) -> Chart:
        """The chart in a figure.

        Args:
            figure: its words are taken where it has some.
            looked: what `look` said of it, where that is known.

        Raises:
            Unreadable: it is none, or none that can be read surely.
        """
        looked = looked or self.look([figure.picture])[0]
        found = self.raw(figure, looked)
        slope, start = self.model.calibration.tolist()
        return replace(found, values=tuple(
            replace(value, confidence=round(calibrated(value.confidence, slope, start), 4)) for value in found.values
        ))  # fmt: skip

    def raw(self, figure: Figure, looked: Looked) -> Chart:
        """The same with confidences that are products of heats, and no probabilities yet."""
        kind, sure = likeliest(looked)
        if kind in REFUSED:
            raise Unreadable(REFUSED[kind], kind)
        if sure < SURE:
            raise Unreadable("it is not clear what kind of chart it is", kind)
        below, beside = ([place[:2] for place in looked.places[name]] for name in ("xtick", "ytick"))
        words = figure.words or recognise(figure, below, beside)
        canvas = Canvas(figure, words)
        if kind == "pie":
            return pie(canvas, looked)
        horizontal = kind == "lying bar"
        kind = "bar" if horizontal else kind
        places = looked.places[{"bar": "bar", "line": "vertex", "scatter": "dot"}[kind]]
        spots = bars(canvas, places, horizontal) if kind == "bar" else dots(canvas, places)
        if not spots:
            raise Unreadable("no marks were found in it", kind)
        marks, shades, named = coloured(canvas, spots)
        x = tuple(figure.point((place[0], 0))[0] for place in looked.places["xtick"])
        y = tuple(figure.point((0, place[1]))[1] for place in looked.places["ytick"])
        near = 1.5 / figure.scale
        seen = Seen(kind, tuple(marks), words, x, y, named, horizontal, None, near, "raster", sure)  # type: ignore[arg-type]
        if kind == "bar":
            seen = replace(seen, marks=bars_between(canvas, seen, shades))
        elif kind == "line":
            seen = replace(seen, marks=vertices_between(canvas, seen, shades))
        return chart(seen)


def likeliest(looked: Looked) -> tuple[str, float]:
    """What kind a picture is, and how surely. Whether bars are stacked is better seen by their colours, where one ends
    (`bars`), than by the network: so its word alone counts where it is sure, and else both are bars."""
    kinds = dict(looked.kinds)
    if kinds["stacked"] < CERTAIN:
        kinds["bar"] += kinds.pop("stacked")
    kind = max(kinds, key=lambda name: kinds[name])
    return kind, kinds[kind]


def calibrated(confidence: float, slope: float, start: float) -> float:
    """Platt's scaling: a confidence as a probability, by two numbers that `charts_eval.calibration` fits on val."""
    odds = slope * math.log(max(confidence, 1e-6) / max(1 - confidence, 1e-6)) + start
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, odds))))


def in_other_colours(pictures: UInt8[np.ndarray, "B H W 3"]) -> list[UInt8[np.ndarray, "B H W 3"]]:
    """The same charts three times: as they are, with red, green and blue in other places, and so with dark for light.
    In colours that it has not met the network errs less often three times in the same way than once."""
    return [pictures, pictures[..., [1, 2, 0]], 255 - pictures[..., [2, 0, 1]]]


def mean_of(views: Sequence[torch.Tensor]) -> np.ndarray:
    return torch.stack(list(views)).mean(dim=0).cpu().numpy()


def inputs(pictures: np.ndarray) -> Float[torch.Tensor, "B 3 H W"]:
    """Bytes as the network takes them: around 0, of about unit size."""
    batch = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255  # (B, H, W, 3) -> (B, 3, H, W)
    return ((batch - 0.5) / 0.25).contiguous(memory_format=torch.channels_last)


# ---------------------------------------------------------------- bars, vertices, dots


def bars(canvas: Canvas, places: Sequence[Place], horizontal: bool) -> list[Spot]:
    """Bars by their ends: which side of an end is the bar, where exactly it ends, and where it begins.

    Raises:
        Unreadable: at several ends both sides are a bar: they are stacked.
    """
    found: list[Spot] = []
    joints = 0
    beside = [both_sides(canvas, x, y, horizontal) for x, y, _ in places]
    back = max((side for sides in beside for side in sides), default=(0, 0, canvas.back), key=lambda side: side[0])[2]
    for (x, y, heat), sides in zip(places, beside, strict=True):
        if not sides:
            continue
        sides.sort(key=lambda side: side[0])  # the bar is at the side where less of one colour stands side by side
        if len(sides) == 2 and sides[1][0] - sides[0][0] <= max(2, 0.1 * sides[1][0]):
            sides.sort(key=lambda side: -np.abs(side[2] - back).max())
            apart = np.abs(sides[0][2] - sides[1][2]).max(), np.abs(sides[1][2] - back).max()
            joints += min(apart) > OTHER and sides[0][0] > 4
        _, sign, colour = sides[0]
        end = edge(canvas, x, y, sign, horizontal, colour)
        dx, dy = (sign, 0) if horizontal else (0, sign)
        start = (end + 3 * sign, y) if horizontal else (x, end + 3 * sign)
        long = canvas.run(*start, dx, dy, colour) + 3
        base = end + sign * long
        half = [canvas.run(start[0] + 2 * dx, start[1] + 2 * dy, *way, colour)
                for way in (((0, -1), (0, 1)) if horizontal else ((-1, 0), (1, 0)))]  # fmt: skip
        low, high = min(end, base), max(end, base)
        box = (low, y - half[0], high, y + half[1]) if horizontal else (x - half[0], low, x + half[1], high)
        point = canvas.figure.point((end, y) if horizontal else (x, end))
        found.append(Spot(point, canvas.box(*box), colour, heat))
    if joints >= 2 and 4 * joints >= len(found):
        raise Unreadable("its bars are stacked", "stacked")
    return [spot for spot in found if not is_ground(canvas, spot, found, 1 if horizontal else 0)]


def is_ground(canvas: Canvas, spot: Spot, spots: Sequence[Spot], side: int) -> bool:
    """Whether a bar is the ground between bars: of its colour, and much broader than the others."""
    broad = [one.box[side + 2] - one.box[side] for one in spots]
    return bool(spot.box[side + 2] - spot.box[side] > 1.5 * np.median(broad)
                and np.abs(spot.colour - canvas.back).max() < 0.5 * OTHER)  # fmt: skip


def both_sides(canvas: Canvas, x: float, y: float, horizontal: bool) -> list[tuple[int, int, np.ndarray]]:
    """(breadth, sign, colour) of what is just before and just behind a bar's end."""
    found = []
    for sign in (1, -1):
        patch = strip(canvas, x, y, sign, horizontal)
        if patch.size:
            colour = np.median(patch.reshape(-1, 3), axis=0)
            start = (x + 5 * sign, y) if horizontal else (x, y + 5 * sign)
            ways = ((0, -1), (0, 1)) if horizontal else ((-1, 0), (1, 0))
            found.append((sum(canvas.run(*start, *way, colour) for way in ways), sign, colour))
    return found


def strip(canvas: Canvas, x: float, y: float, sign: int, horizontal: bool) -> Float[np.ndarray, "H W 3"]:
    """A few pixels beside a bar's end, to one side."""
    low, high = (3, 7) if sign > 0 else (-6, -2)
    if horizontal:
        return canvas.patch(x + low, y - 1, x + high, y + 2)
    return canvas.patch(x - 1, y + low, x + 2, y + high)


def edge(canvas: Canvas, x: float, y: float, sign: int, horizontal: bool, colour: np.ndarray, reach: int = 6) -> float:
    """Where exactly the colour begins, near a bar's end: the place along the profile where it is half there."""
    at = x if horizontal else y
    first = round(at) - reach
    if horizontal:
        patch = canvas.patch(first, y - 1, first + 2 * reach + 1, y + 2).mean(axis=0) if first >= 0 else np.empty(0)
    else:
        patch = canvas.patch(x - 1, first, x + 2, first + 2 * reach + 1).mean(axis=1) if first >= 0 else np.empty(0)
    if len(patch) < 2 * reach + 1:
        return at
    ahead = patch[::-1] if sign > 0 else patch  # from inside the bar outwards
    outside = np.median(ahead[-3:], axis=0)
    way = colour - outside
    if np.abs(way).max() < 20:
        return at
    share = ((ahead - outside) @ way) / float(way @ way)  # 1 inside, 0 outside
    inside = np.flatnonzero(share > 0.5)
    if not len(inside):
        return at
    for last in range(len(share) - 1):  # the first place from inside where it falls below half
        if share[last] > 0.5 >= share[last + 1]:
            break
    else:
        return at
    beyond = last + float(np.clip(share[last : last + 2], 0, 1).sum())  # a pixel that is half covered counts half
    place = first + (2 * reach + 1 - beyond if sign > 0 else beyond)
    return float(place) if abs(place - at) <= reach else at


def dots(canvas: Canvas, places: Sequence[Place]) -> list[Spot]:
    """Vertices and dots: the colour of each is that of its middle which differs most from the background."""
    found = []
    for x, y, heat in places:
        patch = canvas.patch(x - 1.5, y - 1.5, x + 2.5, y + 2.5).reshape(-1, 3)  # (pixels, 3)
        if not len(patch):
            continue
        far = np.abs(patch - canvas.back).max(axis=1)
        colour = np.median(patch[far >= np.quantile(far, 0.8)], axis=0)
        found.append(Spot(canvas.figure.point((x, y)), canvas.box(x - 4, y - 4, x + 4, y + 4), colour, heat))
    return found


# ---------------------------------------------------------------- pies


def pie(canvas: Canvas, looked: Looked, turns: int = 720) -> Chart:
    """A pie: colours around its centre, each run of one colour a wedge."""
    centres, rim = looked.places["centre"], looked.places["rim"]
    if not centres or not rim:
        raise Unreadable("no centre of a pie was found", "pie")
    cx, cy, sure = centres[0]
    radius = float(np.median([math.hypot(x - cx, y - cy) for x, y, _ in rim]))
    angles = np.arange(turns) * 2 * np.pi / turns
    high, wide = canvas.pixels.shape[:2]
    rings = []
    for share in (0.8, 0.85, 0.9):
        columns = np.clip(np.round(cx + share * radius * np.cos(angles)), 0, wide - 1).astype(int)
        rows = np.clip(np.round(cy - share * radius * np.sin(angles)), 0, high - 1).astype(int)
        rings.append(canvas.pixels[rows, columns])
    around = np.median(rings, axis=0)  # (turns, 3)
    jump = np.abs(np.roll(around, -2, axis=0) - np.roll(around, 2, axis=0)).max(axis=1)
    kernel = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1]) / 25
    jump = sum(weight * np.roll(jump, step) for step, weight in enumerate(kernel, -4))
    highest = np.max([np.roll(jump, step) for step in range(-8, 9)], axis=0)
    starts = np.flatnonzero((jump > 0.35 * OTHER) & (jump == highest)).tolist()
    starts = merged(starts, 8)
    if len(starts) > 1 and starts[0] + turns - starts[-1] <= 8:
        starts = starts[:-1]
    if len(starts) < 2:
        raise Unreadable("its wedges cannot be told apart", "pie")
    words = [word for word in canvas.words if number(word.text) is None]
    values = []
    hub, far = canvas.figure.point((cx, cy)), radius / canvas.figure.scale
    for first, last in zip(starts, [*starts[1:], starts[0] + turns], strict=True):
        mean, part = (first + last) / 2 * 2 * math.pi / turns, (last - first) / turns
        way = hub[0] + 1.15 * far * math.cos(mean), hub[1] + 1.15 * far * math.sin(mean)
        near = min(words, key=lambda word: away(word.box, way), default=None)
        if near is None or away(near.box, way) > far:
            raise Unreadable("its wedges have no names", "pie")
        x, y = hub[0] + 0.6 * far * math.cos(mean), hub[1] + 0.6 * far * math.sin(mean)
        box = (x - far / 8, y - far / 8, x + far / 8, y + far / 8)
        values.append(Value("", near.text, round(100 * part, 3), box, round(sure * looked.kinds["pie"], 4)))
    heads = [word for word in words if word.middle[1] > hub[1] + far and word.text not in {v.x for v in values}]
    title = max(heads, key=lambda word: word.box[3] - word.box[1]).text if heads else ""
    return Chart("pie", title, "", "", tuple(values), "raster", kind_confidence=looked.kinds["pie"])
