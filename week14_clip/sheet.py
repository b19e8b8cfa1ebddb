"""What was found as pictures: a contact sheet in a PNG, and thumbnails in terminals that show them.

References
    kitty's graphics protocol (sw.kovidgoyal.net/kitty/graphics-protocol), iTerm2's inline images
        (iterm2.com/documentation-images.html), and sixel, of DEC's terminals since 1987 (vt100.net/docs/vt3xx-gp)
"""

import base64
import contextlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw, ImageFont

from shared.errors import CourseError
from shared.files import written_whole
from shared.pictures import read_picture
from shared.terminal import printable
from week14_clip.data import Pictures

SIDE, GAP, COLUMNS, LINE = 200, 12, 5, 18  # pixels; pictures in a row
SMALL = 96  # pixels of a thumbnail in the terminal
PAPER, INK, FAINT = "#FBFAF6", "#24292F", "#D8D6CF"
SHOWN = 6  # questions in search.png
CHUNK = 4096  # characters that kitty takes at once


def draw(paths: Sequence[str], labels: Sequence[str] = (), title: str = "", side: int = SIDE) -> Image.Image:
    """Pictures in rows, in the order of their paths, each as it is within a square. What has gone or is damaged leaves
    an empty place.

    Args:
        paths: of the pictures.
        labels: a line below each; none: a number in the corner.
        title: above all.
        side: of a square, in pixels.
    """
    font = ImageFont.load_default(13)
    columns = max(1, min(COLUMNS, len(paths)))
    rows = -(-len(paths) // columns)
    top, below = (GAP + LINE if title else 0), (LINE if labels else 0)
    width, height = GAP + columns * (side + GAP), top + GAP + rows * (side + below + GAP)
    page = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((GAP, GAP), fitting(printable(title), width - 2 * GAP, font), INK, font)
    for number, path in enumerate(paths):
        row, column = divmod(number, columns)
        left, upper = GAP + column * (side + GAP), top + GAP + row * (side + below + GAP)
        pen.rectangle((left - 1, upper - 1, left + side, upper + side), outline=FAINT)
        with contextlib.suppress(CourseError):
            picture = read_picture(Path(path), least=side)
            picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
            page.paste(picture, (left + (side - picture.width) // 2, upper + (side - picture.height) // 2))
        if labels:
            pen.text((left, upper + side + 2), fitting(printable(labels[number]), side, font), INK, font)
        else:
            said = f" {number + 1} "
            pen.rectangle((left, upper, left + font.getlength(said), upper + 17), PAPER)
            pen.text((left, upper), said, INK, font)
    return page


def fitting(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """As much of a text as fits."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def save(path: Path, paths: Sequence[str], labels: Sequence[str], title: str) -> None:
    """The contact sheet as a PNG.

    Raises:
        CourseError: it cannot be written there, or its name is not that of a PNG.
    """
    if path.suffix.lower() != ".png":
        raise CourseError(f"--sheet {path}: a contact sheet is a .png.")
    path.parent.mkdir(parents=True, exist_ok=True)
    page = draw(paths, labels, title)
    with written_whole(path) as temporary:
        page.save(temporary, "PNG")


def questions(path: Path, pictures: Pictures, scores: Float[np.ndarray, "M N"], right: Bool[np.ndarray, "M N"]) -> None:
    """A few questions, always the same ones, and the five pictures that each finds; a right one has a frame."""
    from shared.plots import GREEN, figure, images

    texts = [text for one in pictures.items for text in one.captions]
    asked = np.random.default_rng(0).permutation(len(texts))[:SHOWN]
    with figure(path, len(asked), 5, size=(7.2, 1.6 * len(asked))) as (_, axes):
        for line, row in zip(np.atleast_2d(axes), asked, strict=True):
            for axis, place in zip(line, np.argsort(-scores[row], kind="stable")[:5], strict=False):
                images(axis, np.asarray(pictures.items[place].read()))
                if right[row, place]:
                    axis.set_axis_on()
                    axis.set(xticks=[], yticks=[])
                    for spine in axis.spines.values():
                        spine.set(visible=True, color=GREEN, linewidth=3)
            line[0].set_title(texts[row][:90], fontsize=8, loc="left", fontweight="normal")


# ---------------------------------------------------------------- in the terminal


def protocol(environment: Mapping[str, str]) -> str:
    """kitty, iterm or sixel: how the terminal shows pictures, by what it says of itself; "" where it does not."""
    said = {name: environment.get(name, "") for name in ("TERM", "TERM_PROGRAM", "LC_TERMINAL")}
    if "TMUX" in environment or said["TERM"].startswith(("screen", "tmux", "dumb")):
        return ""  # what is between swallows them
    if "KITTY_WINDOW_ID" in environment or "kitty" in said["TERM"] or "ghostty" in said["TERM"]:
        return "kitty"
    if said["TERM_PROGRAM"] in ("iTerm.app", "WezTerm", "mintty") or said["LC_TERMINAL"] == "iTerm2":
        return "iterm"
    return "sixel" if "sixel" in said["TERM"] or said["TERM"].startswith(("foot", "mlterm", "yaft")) else ""


def show(paths: Sequence[str]) -> None:
    """Thumbnails with numbers, where somebody looks at a terminal that shows them; nothing goes into a pipe."""
    how = protocol(os.environ) if sys.stdout.isatty() else ""
    if how and paths:
        print(escaped(draw(paths, side=SMALL), how))


def escaped(picture: Image.Image, how: str) -> str:
    """A picture as what a terminal takes for one."""
    if how == "sixel":
        return sixel(picture)
    file = io.BytesIO()
    picture.save(file, "PNG")
    content = base64.b64encode(file.getvalue()).decode()
    if how == "iterm":
        return f"\x1b]1337;File=inline=1;size={len(file.getvalue())}:{content}\x07"
    parts = [content[start : start + CHUNK] for start in range(0, len(content), CHUNK)]
    heads = ["a=T,f=100,", *[""] * (len(parts) - 1)]  # show at once, a PNG; m=1: more comes
    return "".join(f"\x1b_G{head}m={int(number + 1 < len(parts))};{part}\x1b\\"
                   for number, (head, part) in enumerate(zip(heads, parts, strict=True)))  # fmt: skip


def sixel(picture: Image.Image) -> str:
    """Bands of six lines; in a band, for each of its colours, a character a column tells which of the six have it."""
    small = picture.quantize(64, dither=Image.Dither.NONE)
    palette, pixels = np.reshape(small.getpalette(), (-1, 3)), np.asarray(small)  # (colours, 3), (H, W)
    colours = [f"#{number};2;{';'.join(str(round(100 * int(value) / 255)) for value in colour)}"
               for number, colour in enumerate(palette)]  # fmt: skip
    bands = []
    for top in range(0, len(pixels), 6):
        band = pixels[top : top + 6]
        bits = 1 << np.arange(len(band))[:, None]  # the first line is the lowest bit
        lines = [f"#{colour}" + packed(((band == colour) * bits).sum(0)) for colour in np.unique(band)]
        bands.append("$".join(lines))  # $: back to the start of the band
    return f'\x1bP0;1q"1;1;{picture.width};{picture.height}{"".join(colours)}{"-".join(bands)}\x1b\\'


def packed(values: np.ndarray) -> str:
    """A character for each value, equal ones as a count and one."""
    starts = np.flatnonzero(np.diff(values, prepend=-1))
    lengths = np.diff(np.append(starts, len(values)))
    return "".join(f"!{length}{chr(63 + values[start])}" if length > 3 else chr(63 + values[start]) * length
                   for start, length in zip(starts, lengths, strict=True))  # fmt: skip
