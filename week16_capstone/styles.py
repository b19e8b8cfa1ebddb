"""What a drawn chart is to be: its numbers, its words and its looks, all drawn by a seed. Made up, every one of them.

    spec = sample(np.random.default_rng(7), "train")

The themes, palettes, fonts and words of val and of test are in no chart of train.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Part = Literal["train", "val", "test"]
Fault = Literal["", "log", "two axes", "stacked"]


@dataclass(frozen=True)
class Theme:
    """How charts look. `grid`: which lines are drawn (y: across the value axis); `spines`: which sides of the frame."""

    name: str
    back: str = "white"
    plot: str = "white"
    ink: str = "black"
    grid: Literal["", "y", "both"] = ""
    grid_colour: str = "#cccccc"
    spines: tuple[str, ...] = ("left", "bottom", "top", "right")
    ticks: Literal["out", "in", "none"] = "out"


L, B = "left", "bottom"
THEMES = {
    "train": (
        Theme("plain"), Theme("open", spines=(L, B)), Theme("inward", ticks="in"),
        Theme("grid", grid="both", spines=(L, B)), Theme("rows", grid="y", grid_colour="#dddddd", spines=(B,)),
        Theme("grey plot", plot="#eeeeee", grid="both", grid_colour="white", spines=(), ticks="none"),
        Theme("paper", back="#fbf7ee", plot="#fbf7ee", ink="#443322", grid="y", grid_colour="#ddd5c4", spines=(B,)),
        Theme("night", back="#20242c", plot="#20242c", ink="#dddddd", grid="y", grid_colour="#3a404c", spines=(L, B)),
        Theme("dotted", grid="both", grid_colour="#999999", ticks="in"),
        Theme("bare", spines=(B,), ticks="none"),
        Theme("blueish", plot="#e9eef8", grid="both", grid_colour="#ffffff", spines=(L, B), ink="#1c2840"),
    ),
    "val": (
        Theme("fog", back="#f2f2f2", plot="#ffffff", grid="y", grid_colour="#e2e2e2", spines=(L, B), ink="#333333"),
        Theme("mint", back="#f1f8f4", plot="#f1f8f4", ink="#12382a", grid="both", grid_colour="#cfe3d8", spines=(B,)),
        Theme("boxed", grid="y", grid_colour="#bbbbbb", ticks="in", spines=(L, B, "top", "right")),
        Theme("dusk", back="#33293a", plot="#3d3246", ink="#f0e6f5", grid="", spines=(L, B)),
    ),
    "test": (
        Theme("gazette", back="#fff1e5", plot="#fff1e5", ink="#33302e", grid="y", grid_colour="#d9ccc3", spines=(B,)),
        Theme("agency", back="#f0f0f0", plot="#f0f0f0", ink="#3c3c3c", grid="both", grid_colour="#cbcbcb", spines=(),
              ticks="none"),
        Theme("sand", plot="#eee8d5", back="#fdf6e3", ink="#586e75", grid="both", grid_colour="#fdf6e3", spines=()),
        Theme("terminal", back="#000000", plot="#000000", ink="#ffffff", grid="", spines=(L, B, "top", "right")),
        Theme("journal", ink="#111111", ticks="in", spines=(L, B, "right", "top")),
        Theme("report", ink="#44546a", grid="y", grid_colour="#d9d9d9", spines=(B,), ticks="none"),
    ),
}  # fmt: skip
PALETTES = {
    "train": (
        ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b"),
        ("#66c2a5", "#fc8d62", "#8da0cb", "#e78ac3", "#a6d854", "#ffd92f"),
        ("#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#66a61e", "#e6ab02"),
        ("#08306b", "#2879b9", "#73b2d8", "#6a51a3", "#41ab5d", "#005a32"),
        ("#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3", "#937860"),
        ("#404040", "#c0504d", "#7f7f7f", "#9bbb59", "#4bacc6", "#8064a2"),
    ),
    "val": (
        ("#003f5c", "#bc5090", "#ffa600", "#58508d", "#ff6361", "#4d908e"),
        ("#2a9d8f", "#e76f51", "#264653", "#e9c46a", "#8ab17d", "#a06cd5"),
    ),
    "test": (
        ("#e41a1c", "#377eb8", "#4daf4a", "#984ea3", "#ff7f00", "#a65628"),
        ("#30a2da", "#fc4f30", "#e5ae38", "#6d904f", "#8b8b8b", "#810f7c"),
        ("#4472c4", "#ed7d31", "#a5a5a5", "#ffc000", "#5b9bd5", "#70ad47"),
        ("#440154", "#21918c", "#b5a41c", "#3b528b", "#5ec962", "#7a2a6b"),
    ),
}
FONTS = {
    "train": ("DejaVu Sans", "DejaVu Sans", "DejaVu Sans Mono"), "val": ("cmss10", "cmr10", "cmtt10"),
    "test": ("DejaVu Serif", "STIXGeneral"),
}  # fmt: skip
CATEGORIES = {
    "train": (
        ("North", "South", "East", "West", "Centre", "Coast", "Islands"),
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
        ("Apples", "Pears", "Plums", "Grapes", "Figs", "Dates", "Limes"),
        ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
        ("Q1", "Q2", "Q3", "Q4"), ("Alpha", "Beta", "Gamma", "Delta", "Epsilon"),
    ),
    "val": (("Rome", "Paris", "Oslo", "Vienna", "Madrid", "Bern"), ("Rail", "Road", "Air", "Sea", "Pipe")),
    "test": (
        ("Steel", "Copper", "Zinc", "Nickel", "Lead", "Tin", "Silver"), ("Trucks", "Vans", "Cars", "Bikes", "Buses"),
        ("Norway", "Spain", "Chile", "Kenya", "Japan", "India", "Peru"), ("1Q24", "2Q24", "3Q24", "4Q24", "1Q25"),
    ),
}  # fmt: skip
SERIES = {
    "train": ("Online", "Retail", "Export", "Plan", "Actual", "Model A", "Model B", "Men", "Women", "Budget"),
    "val": ("Freight", "Mail", "Old site", "New site"), "test": ("Wholesale", "Direct", "Target", "Forecast", "Rural"),
}  # fmt: skip
TITLES = {
    "train": ("Sales by region", "Output", "Visitors", "Harvest", "Cost of repairs", "Energy use", "Orders shipped"),
    "val": ("Passengers", "Water use", "Tickets sold"),
    "test": ("Revenue", "Units made", "Exports", "Hours worked", "Net income"),
}  # fmt: skip
UNITS = ("plain", "plain", "comma", "k", "percent", "dollar")


@dataclass(frozen=True)
class Spec:
    """A chart to be drawn.

    Attributes:
        kind: bar, line, pie, scatter, table or photo.
        fault: what makes a reader refuse it; "": nothing.
        title, x_label, y_label: texts, or "".
        xs: of each point of a series: categories (text) or numbers.
        series: names; of a single series "".
        numbers: (series, points). Of a scatter plot xs stand in `across`, series by series.
        horizontal, printed, rotated: bars lie; values are printed beside their marks; labels of x are turned.
        unit: how numbers are written.
        theme, palette, font, font_size, size: looks; size in inches.
        thick, marker, legend, wide, edge: looks of marks and the legend's place.
        varied, margins: each bar has a colour of its own; margins are as matplotlib has them unless told.
        dpi, blur, noise, quality: of the bitmap; quality is JPEG's, 0 for none.
    """

    kind: Literal["bar", "line", "pie", "scatter", "table", "photo"]
    fault: Fault
    title: str
    x_label: str
    y_label: str
    xs: tuple[str, ...] | tuple[float, ...]
    series: tuple[str, ...]
    numbers: tuple[tuple[float, ...], ...]
    across: tuple[tuple[float, ...], ...]
    horizontal: bool
    printed: bool
    rotated: bool
    unit: str
    theme: Theme
    palette: tuple[str, ...]
    font: str
    font_size: float
    size: tuple[float, float]
    thick: float
    marker: str
    legend: str
    wide: float
    edge: bool
    varied: bool
    margins: bool
    dpi: int
    blur: float
    noise: float
    quality: int
    seed: int


def sample(
    rng: np.random.Generator, part: Part, kind: str = "", fault: Fault | None = None, printed: bool | None = None
) -> Spec:
    """A chart that one might meet, drawn by `rng`.

    Args:
        rng: what everything follows from.
        part: whose styles and words it may have.
        kind: bar, line, pie, scatter, table or photo; by default it is drawn, bars and lines the most often.
        fault: log, two axes or stacked; by default one of seven bars and lines has one, and one of three in train: what
            is to be refused is rare, and there is much to learn about it.
        printed: whether values are printed beside their marks; by default three in ten have them.
    """

    def one(choices):
        return choices[int(rng.integers(len(choices)))]

    kind = kind or str(
        rng.choice(["bar", "line", "pie", "scatter", "table", "photo"], p=[0.4, 0.32, 0.1, 0.1, 0.04, 0.04])
    )
    if fault is None:
        odds = 1 / 3 if part == "train" else 1 / 7
        fault = one(("log", "two axes", "stacked")) if kind in ("bar", "line") and rng.random() < odds else ""
    kind = "bar" if fault == "stacked" else kind
    horizontal = kind == "bar" and not fault and rng.random() < 0.25
    several = (
        1
        if kind == "pie" or (kind == "scatter" and rng.random() < 0.7)
        else int(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2]))
    )
    several = max(several, 2) if fault in ("stacked", "two axes") else several
    xs = points_across(rng, part, kind, several)
    numbers = tuple(numbers_of(rng, kind, fault, len(xs), several))
    across = tuple(
        tuple(np.round(rng.uniform(0, 100, len(xs)), 1).tolist()) for _ in range(several * (kind == "scatter"))
    )
    names = tuple(rng.permutation(SERIES[part])[:several].tolist()) if several > 1 else ("",)
    smooth = rng.random() < 0.5
    unit, size = one(UNITS), float(rng.uniform(7.5, 11))
    unit = "plain" if unit == "k" and max(max(row) for row in numbers) < 3000 else unit
    text = sum(len(x) + 1 for x in xs if isinstance(x, str)) * (not horizontal) * 0.62 * size / 72  # inches
    wide = max(float(rng.uniform(3.6, 6.4)), text + 1.5) + 1.0 * (fault == "two axes")
    theme = one(THEMES[part])
    palette = tuple(colour for colour in one(PALETTES[part]) if far(colour, theme.plot))
    return Spec(
        kind, fault, one(TITLES[part]) if rng.random() < 0.8 else "",
        ("Year" if isinstance(xs[0], float) else "Group") if rng.random() < 0.35 else "",
        one(("Amount", "Index", "Tonnes", "Thousands", "Share", "Euro")) if rng.random() < 0.6 else "",
        xs, names, numbers, across, horizontal,
        (rng.random() < 0.3 if printed is None else printed) and kind in ("bar", "line", "pie") and not fault,
        bool(kind == "bar" and not horizontal and rng.random() < 0.12), unit,
        theme, tuple(np.roll(palette, int(rng.integers(6))).tolist()), one(FONTS[part]),
        size, (wide, float(rng.uniform(2.8, 4.8))),
        float(rng.uniform(1.0, 2.8)), one(("", "", "o", "s", "^", "D", "o")),
        one(("best", "above", "right")), float(rng.uniform(0.5, 0.9)), bool(rng.random() < 0.2),
        bool(kind == "bar" and several == 1 and rng.random() < 0.25), bool(rng.random() < 0.3),
        int(rng.integers(80, 151)), 0.0 if smooth else float(rng.uniform(0, 0.8)),
        0.0 if smooth else float(rng.uniform(0, 6)), 0 if smooth else int(rng.integers(55, 96)),
        int(rng.integers(2**31)),
    )  # fmt: skip


def far(one: str, other: str) -> bool:
    """Whether two colours can be told apart: a series in the colour of its background cannot be read by anybody."""
    from matplotlib.colors import to_rgb

    return bool(np.abs(np.subtract(to_rgb(one), to_rgb(other))).max() > 0.3)


def points_across(rng: np.random.Generator, part: Part, kind: str, several: int) -> tuple[str, ...] | tuple[float, ...]:
    """Categories or years, as many as there is room for."""
    if kind == "scatter":
        return tuple(float(number) for number in range(int(rng.integers(6, 26)) // several + 2))
    if kind != "pie" and rng.random() < (0.6 if kind == "line" else 0.3):
        first, count = int(rng.integers(1960, 2020)), int(rng.integers(3, 13 if kind == "line" else 10 - 2 * several))
        years = [float(first + number) for number in range(count)]
        return tuple(years) if kind == "line" else tuple(f"{year:.0f}" for year in years)
    words = CATEGORIES[part][int(rng.integers(len(CATEGORIES[part])))]
    most = min(len(words), {"pie": 6}.get(kind, 9 - several))
    return words[: int(rng.integers(min(3, most), most + 1))]


def numbers_of(rng: np.random.Generator, kind: str, fault: str, count: int, several: int) -> list[tuple[float, ...]]:
    """Numbers of three digits, of one size, with some below zero now and then."""
    size = 10 ** float(rng.integers(0, 5))
    below = kind in ("bar", "line") and not fault and rng.random() < 0.15
    found = []
    for _ in range(several):
        if kind == "line" and rng.random() < 0.6:  # a walk
            raw = rng.uniform(2, 8) + np.cumsum(rng.normal(0, 0.8, count))
            raw = raw if below else np.abs(raw) + 0.3
        else:
            raw = rng.uniform(0.4, 9.5, count)
            raw = np.where(rng.random(count) < 0.4, -raw, raw) if below else raw
        if fault == "log":
            raw = 10 ** rng.uniform(0, 3.5, count)
        found.append(tuple(float(f"{number:.3g}") for number in raw * size))
    return found
