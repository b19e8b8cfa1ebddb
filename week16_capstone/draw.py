"""Draws charts of which every number and every place is known: `drawn = draw(spec)`, `content = pdf(spec)`.

matplotlib draws, and tells where each mark, tick and label has come to stand.
"""

import io
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageFilter

from week16_capstone.chart import Box, Chart, Figure, Value, Word
from week16_capstone.styles import Spec

MARKS = ("bar", "vertex", "dot", "xtick", "ytick", "centre", "rim")
"""What stands somewhere: the end of a bar, a line's vertex, a dot of a scatter plot, a labelled tick of either axis, a
pie's centre, and where two wedges meet at its rim."""
Places = dict[str, Float[np.ndarray, "_ 2"]]


@dataclass(frozen=True)
class Drawn:
    """A chart as a bitmap, and what is true of it. Places in pixels: of `marks` from the upper left corner; of `words`
    and of the truth's boxes from the lower left one, as Figure has them at a scale of 1."""

    spec: Spec
    picture: Any
    truth: Chart
    words: tuple[Word, ...]
    marks: Places

    @property
    def kind(self) -> str:
        """What a reader is to say of it: its kind, or stacked."""
        return "stacked" if self.spec.fault == "stacked" else self.spec.kind

    def figure(self, words: bool = False) -> Figure:
        """The bitmap as it is cut out of a page; with `words`, its labels are known and need no recognition."""
        box = (0.0, 0.0, float(self.picture.width), float(self.picture.height))
        return Figure(self.picture, 1.0, self.words if words else (), (), 1, box)


def written(number: float, unit: str, decimals: int) -> str:
    """A number as labels have it: 1200, 1,200, 1.2k, 12%, $1,200."""
    if unit == "k":
        return f"{number / 1000:.{decimals + 3}f}".rstrip("0").rstrip(".") + "k" if number else "0"
    text = f"{abs(number):,.{decimals}f}" if unit in ("comma", "dollar") else f"{abs(number):.{decimals}f}"
    sign = "-" if number < 0 else ""
    return {"percent": f"{sign}{text}%", "dollar": f"{sign}${text}"}.get(unit, sign + text)


def decimals_of(numbers: Any) -> int:
    """How many decimals tell all of these exactly, up to four."""
    return next((d for d in range(4) if np.allclose(np.round(numbers, d), numbers, rtol=0, atol=1e-9)), 4)


def canvas(spec: Spec) -> tuple[Any, Any, list[tuple[int, int, Any]]]:
    """(figure, axes, marks): what matplotlib has of a spec, and (series, point, what it drew) of each mark."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Sheet

    sheet = Sheet(figsize=spec.size, dpi=spec.dpi, facecolor=spec.theme.back)
    FigureCanvasAgg(sheet)
    if spec.kind == "photo":
        axes = sheet.add_axes((0, 0, 1, 1))
        axes.imshow(photo(spec.seed), aspect="auto", interpolation="bicubic")
        axes.set_axis_off()
        return sheet, axes, []
    em = spec.font_size / 72
    long = max((len(word) for word in spec.xs if isinstance(word, str)), default=4)
    left = em * (0.62 * (long if spec.horizontal else 7) + 1.2 + 1.6 * bool(spec.y_label))
    right = em * (8 if spec.legend == "right" and len(spec.series) > 1 else 7 if spec.fault == "two axes" else 1.5)
    bottom = em * (2 + 1.6 * bool(spec.x_label) + 0.55 * long * spec.rotated)
    top = em * (1.2 + 1.5 * bool(spec.title) + 2.2 * (spec.legend == "above" and len(spec.series) > 1))
    wide, high = spec.size
    if spec.margins:
        left, right = max(left, 0.125 * wide), max(right, 0.1 * wide)
        bottom, top = max(bottom, 0.11 * high), max(top, 0.12 * high)
    place = (left / wide, bottom / high, 1 - (left + right) / wide, 1 - (bottom + top) / high)
    if spec.kind == "pie":
        place = (0.2, 0.12, 0.6, 0.72)
    axes = sheet.add_axes(place, facecolor=spec.theme.plot)
    if spec.title:
        axes.set_title(spec.title, pad=8 + 25 * (spec.legend == "above" and len(spec.series) > 1))
    marks = {"pie": pie, "table": table}.get(spec.kind, plotted)(spec, axes)
    return sheet, axes, marks


def table(spec: Spec, axes: Any) -> list[Any]:
    """A table of numbers, which is no chart."""
    rows = np.array(spec.numbers).T[:, :3]  # (points, series)
    axes.set_axis_off()
    held = axes.table([[written(n, spec.unit, 1) for n in row] for row in rows], rowLabels=[str(x) for x in spec.xs],
                      loc="center")  # fmt: skip
    for cell in held.get_celld().values():
        cell.set(facecolor=spec.theme.plot, edgecolor=spec.theme.grid_colour)
    return []


def pie(spec: Spec, axes: Any) -> list[tuple[int, int, Any]]:
    """Wedges, with their labels outside and, where printed, their shares inside."""
    colours = [spec.palette[n % len(spec.palette)] for n in range(len(spec.xs))]
    edge = {"edgecolor": spec.theme.back, "linewidth": 1} if spec.edge else {}
    found = axes.pie(spec.numbers[0], labels=spec.xs, colors=colours, startangle=spec.seed % 360, wedgeprops=edge,
                     counterclock=bool(spec.seed % 2), autopct="%.1f%%" if spec.printed else None)  # fmt: skip
    wedges = found.wedges if hasattr(found, "wedges") else found[0]
    axes.set_aspect("equal")
    return [(0, number, wedge) for number, wedge in enumerate(wedges)]


def plotted(spec: Spec, axes: Any) -> list[tuple[int, int, Any]]:
    """Bars, lines or dots with their axes; a mark is where it is in data: (x, y), and of a bar also its base."""
    rng, theme = np.random.default_rng(spec.seed), spec.theme
    categories = isinstance(spec.xs[0], str)
    places = np.arange(len(spec.xs), dtype=float) if categories else np.array(spec.xs)
    numbers = np.array(spec.numbers)  # (series, points)
    totals = np.vstack([numbers, numbers.sum(axis=0)]) if spec.fault == "stacked" else numbers
    low, high = float(totals.min()), float(totals.max())
    if spec.kind == "bar" or rng.random() < 0.4:
        low, high = min(low, 0.0), max(high, 0.0)
    room = (0.05 if spec.margins and not spec.printed else 0.14) * ((high - low) or abs(high) or 1.0)
    low, high = low - room * (low < 0 or spec.kind != "bar"), high + room * (high > 0)
    if spec.kind != "bar" and low < 0 <= numbers.min():
        low = 0.0
    marks: list[tuple[int, int, Any]] = []
    width = spec.wide / (1 if spec.fault == "stacked" else len(numbers))
    base = np.zeros(len(places))
    for row, values in enumerate(numbers):
        colour, name, on = spec.palette[row % len(spec.palette)], spec.series[row] or None, axes
        if spec.fault == "two axes" and row == 1:
            on, values = axes.twinx(), values * 37.0
        if spec.kind == "bar":
            at = places if spec.fault == "stacked" else places + (row - (len(numbers) - 1) / 2) * width
            edge = {"edgecolor": theme.ink, "linewidth": 1.5 if spec.margins else 0.8} if spec.edge else {}
            shades = [spec.palette[n % len(spec.palette)] for n in range(len(at))] if spec.varied else colour
            draw_bars = on.barh if spec.horizontal else on.bar
            draw_bars(at, values, width, base, color=shades, label=name, **edge)
            ends = base + values
            marks += [(row, n, (at[n], base[n], ends[n], width)) for n in range(len(at))]
            base = ends if spec.fault == "stacked" else base
        elif spec.kind == "line":
            at = places
            on.plot(at, values, color=colour, label=name, linewidth=spec.thick, marker=spec.marker, markersize=5)
            marks += [(row, n, (at[n], values[n])) for n in range(len(at))]
        else:
            at = np.array(spec.across[row])
            on.scatter(at, values, color=colour, label=name, s=14 + 10 * spec.thick, marker=spec.marker or "o")
            marks += [(row, n, (at[n], values[n])) for n in range(len(at))]
        if spec.printed:
            print_values(spec, axes, at, values, high - low)
    frame(spec, axes, places, (low, high))
    if spec.series[0] and spec.fault != "two axes":
        where = {"best": {"loc": "best" if spec.kind != "bar" else "upper right"},
                 "above": {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 3},
                 "right": {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}}[spec.legend]  # fmt: skip
        axes.legend(frameon=spec.edge, facecolor=theme.plot, labelcolor=theme.ink, **where)
    return marks


def print_values(spec: Spec, axes: Any, at: Any, values: Any, span: float) -> None:
    """Each value as text beside its mark."""
    for place, value in zip(at, values, strict=True):
        text = written(value, spec.unit, decimals_of([value]))
        beyond = value + np.copysign(0.02 * span, value if spec.kind == "bar" else 1)
        x, y = (beyond, place) if spec.horizontal else (place, beyond)
        across = ("left" if value >= 0 else "right") if spec.horizontal else "center"
        down = "center" if spec.horizontal else "bottom" if value >= 0 or spec.kind != "bar" else "top"
        axes.text(x, y, text, ha=across, va=down, fontsize=0.85 * spec.font_size)


def frame(spec: Spec, axes: Any, places: Any, limits: tuple[float, float]) -> None:
    """Limits, ticks, their labels, grid and spines."""
    from matplotlib.ticker import MaxNLocator

    theme = spec.theme
    values, across = (axes.xaxis, axes.yaxis) if spec.horizontal else (axes.yaxis, axes.xaxis)
    (axes.set_xlim if spec.horizontal else axes.set_ylim)(limits)
    if spec.fault == "log":
        axes.set_yscale("log")
        axes.set_ylim(max(min(min(row) for row in spec.numbers), 1e-6) / 2, limits[1] * 2)
    else:
        ticks = MaxNLocator(4 + spec.seed % 5, steps=[1, 2, 2.5, 5, 10]).tick_values(*limits)
        ticks = ticks[(ticks >= limits[0] - 1e-9 * abs(limits[0])) & (ticks <= limits[1] + 1e-9)]
        decimals = decimals_of(ticks)
        values.set_ticks(ticks, [written(tick, spec.unit, decimals) for tick in ticks])
    if spec.kind == "scatter":
        ticks = np.arange(0, 101, (20, 25, 50)[spec.seed % 3])
        across.set_ticks(ticks, [str(tick) for tick in ticks])
    elif isinstance(spec.xs[0], str):
        turned = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if spec.rotated else {}
        across.set_ticks(places, spec.xs, **turned)
    else:
        step = max(1, -(-len(places) // 6))
        across.set_ticks(places[::step], [f"{place:.0f}" for place in places[::step]])
    axes.tick_params(direction="in" if theme.ticks == "in" else "out", length=0 if theme.ticks == "none" else 3.5)
    if theme.grid:
        grid = {"color": theme.grid_colour, "linewidth": 0.8, "linestyle": ":" if theme.name == "dotted" else "-"}
        axes.grid(axis="both" if theme.grid == "both" else "x" if spec.horizontal else "y", **grid)
        axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in theme.spines)
    if spec.horizontal and spec.seed % 2:
        axes.invert_yaxis()
    labels = (spec.y_label, spec.x_label) if spec.horizontal else (spec.x_label, spec.y_label)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])


@cache
def photos() -> UInt8[np.ndarray, "N 32 32 3"]:
    from shared import cifar10_sample

    return cifar10_sample.read()["train"][0]


def photo(seed: int) -> UInt8[np.ndarray, "32 32 3"]:
    """A small photograph, which is no chart."""
    return photos()[seed % len(photos())]


def options(spec: Spec) -> dict[str, Any]:
    """matplotlib's settings for a spec."""
    ink, size = spec.theme.ink, spec.font_size
    colours = dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "text.color", "xtick.color",
                             "ytick.color"), ink)  # fmt: skip
    sizes = {"font.size": size, "axes.titlesize": 1.2 * size, "legend.fontsize": 0.9 * size}
    cm = spec.font.startswith("cm")  # Computer Modern has no minus of its own
    return {"font.family": spec.font, "axes.formatter.use_mathtext": cm, "axes.unicode_minus": not cm,
            "pdf.fonttype": 42, **colours, **sizes}  # fmt: skip


def draw(spec: Spec, words: bool = True) -> Drawn:
    """A spec as a bitmap with its truth; without `words`, those are left out, which is sooner."""
    import matplotlib

    with matplotlib.rc_context(options(spec)):
        sheet, axes, marks = canvas(spec)
        sheet.canvas.draw()
        picture = Image.fromarray(np.asarray(sheet.canvas.buffer_rgba())[:, :, :3].copy())
        places, boxes = where(spec, axes, marks, picture.height)
        found = words_of(sheet, picture) if words else ()
    return Drawn(spec, worn(picture, spec), truth(spec, marks, boxes), found, places)


def pdf(spec: Spec) -> bytes:
    """The same as a PDF of one page, of the figure's size."""
    import logging

    import matplotlib

    logging.getLogger("fontTools").setLevel(logging.ERROR)  # Computer Modern is older than its clock
    held = io.BytesIO()
    with matplotlib.rc_context(options(spec)):
        canvas(spec)[0].savefig(held, format="pdf", facecolor=spec.theme.back, metadata={"CreationDate": None})
    return held.getvalue()


def truth(spec: Spec, marks: list[Any], boxes: list[Box]) -> Chart:
    """What a perfect reader would return."""
    values = []
    for (row, n, _), box in zip(marks, boxes, strict=True):
        x, y = (spec.across[row][n] if spec.kind == "scatter" else spec.xs[n]), spec.numbers[row][n]
        y = 100 * y / sum(spec.numbers[0]) if spec.kind == "pie" else y
        values.append(Value(spec.series[row], x, y, box))
    kind = spec.kind if spec.kind in ("bar", "line", "pie", "scatter") else "bar"
    return Chart(kind, spec.title, spec.x_label, spec.y_label, tuple(values), "raster", spec.horizontal)


def where(spec: Spec, axes: Any, marks: list[Any], height: int) -> tuple[Places, list[Box]]:
    """The marks' places, and a box for each value."""
    places: dict[str, list[Any]] = {name: [] for name in MARKS}
    boxes: list[Box] = []
    to_pixels = axes.transData.transform
    for _, _, mark in marks:
        if spec.kind == "pie":
            middle, radius = np.array(mark.center), mark.r
            first, last = np.deg2rad([mark.theta1, mark.theta2])
            rim = to_pixels(middle + radius * np.array([np.cos(first), np.sin(first)]))
            places["rim"].append(rim)
            places["centre"] = [to_pixels(middle)]
            at = to_pixels(middle + 0.6 * radius * np.array([np.cos((first + last) / 2), np.sin((first + last) / 2)]))
            boxes.append((*(at - 8), *(at + 8)))
        elif spec.kind == "bar":
            at, base, end, width = mark
            corners = np.array([[at - width / 2, base], [at + width / 2, end], [at, end]])
            corners = to_pixels(corners[:, ::-1] if spec.horizontal else corners)
            boxes.append((*corners[:2].min(axis=0), *corners[:2].max(axis=0)))
            places["bar"].append(corners[2])
        else:
            at = to_pixels(mark)
            places["vertex" if spec.kind == "line" else "dot"].append(at)
            boxes.append((*(at - 4), *(at + 4)))
    if spec.kind in ("bar", "line", "scatter"):
        frame_box = axes.get_window_extent()
        (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
        for name, ticks, low, high in (("xtick", axes.get_xticks(), x0, x1), ("ytick", axes.get_yticks(), y0, y1)):
            for tick in ticks:
                if min(low, high) <= tick <= max(low, high):
                    at = to_pixels((tick, y0) if name == "xtick" else (x0, tick))
                    places[name].append((at[0], frame_box.y0) if name == "xtick" else (frame_box.x0, at[1]))
    flipped = {name: np.array(found, dtype=float).reshape(-1, 2) * (1, -1) + (0, height)  # (marks, 2)
               for name, found in places.items()}  # fmt: skip
    return flipped, [tuple(map(float, box)) for box in boxes]


def words_of(sheet: Any, picture: Any) -> tuple[Word, ...]:
    """Every text that can be seen, with its box."""
    from matplotlib.text import Text

    found, hidden = [], set()
    for each in sheet.axes:  # ticks beyond the limits keep their labels, but are not drawn
        for axis, (low, high) in ((each.xaxis, sorted(each.get_xlim())), (each.yaxis, sorted(each.get_ylim()))):
            beyond = [tick for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]
            hidden |= {id(label) for tick in beyond for label in (tick.label1, tick.label2)}
    for text in sheet.findobj(Text):
        if text.get_text().strip() and text.get_visible() and id(text) not in hidden:
            box = text.get_window_extent()
            if box.x1 > 0 and box.y1 > 0 and box.x0 < picture.width and box.y0 < picture.height:
                said = text.get_text()
                if "$\\mathdefault" in said:  # labels of log axes, and those that matplotlib writes itself
                    said = said.removeprefix("$\\mathdefault{").replace("{", "").replace("}", "").removesuffix("$")
                found.append(Word(said.strip(), tuple(map(float, box.extents)), float(text.get_rotation())))
    return tuple(dict.fromkeys(found))


def worn(picture: Any, spec: Spec) -> Any:
    """The bitmap after a scanner and a careless editor: blurred, with noise, compressed."""
    if spec.blur:
        picture = picture.filter(ImageFilter.GaussianBlur(spec.blur))
    if spec.noise:
        rng = np.random.default_rng(spec.seed)
        noisy = np.asarray(picture, np.float32) + rng.normal(0, spec.noise, (picture.height, picture.width, 1))
        picture = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    if spec.quality:
        held = io.BytesIO()
        picture.save(held, "JPEG", quality=spec.quality)
        picture = Image.open(held).convert("RGB")
    return picture
