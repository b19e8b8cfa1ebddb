"""Reads a photo or a drawing of your own digit: `./course run 1 predict my_digit.png`.

Most of this file is not about the network. A network knows only what its training images look like, so a picture from
the world outside must first be made the way MNIST was made: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based
learning applied to document recognition", 1998, section III.A.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week01_numpy_mlp/predict.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import tyro
from jaxtyping import Float, UInt8
from PIL import Image, ImageFilter

from shared import cli
from shared.errors import CourseError
from shared.files import written_whole
from shared.pictures import each, free_name, read_picture
from week01_numpy_mlp import data
from week01_numpy_mlp.eval import probabilities
from week01_numpy_mlp.sheet import Mask, pieces, sheet, stroke_width
from week01_numpy_mlp.trained import load

Grey = Float[np.ndarray, "height width"]
Digit = UInt8[np.ndarray, "28 28"]

WORKING_SIDE = 600  # pixels: every picture is brought to this size first, so that its own size does not matter
LEAST_CONTRAST = 0.12  # of the paper's brightness; what is fainter is no ink
THIN, PEN = 0.06, 0.1  # of the digit's longer side: a stroke below THIN is drawn again PEN wide (MNIST: 0.06 to 0.25)
SOLID = 0.35  # of its longer side: what is as wide as that is no stroke (MNIST: up to 0.27)
SURE = 0.6


@dataclass
class Config:
    """The flags of predict."""

    pictures: tyro.conf.Positional[tuple[str, ...]] = ()
    """Pictures of one digit each: png, jpg, … Dark on light or light on dark, of any size."""
    run: str = ""
    """The run whose network is asked (default: week 1's newest)."""
    as_is: bool = False
    """Only shrink the picture to 28 x 28, as data.py does with a folder of your own.
    For a network that was trained on something else than drawn strokes."""
    out: str = ""
    """A folder to save the 28 x 28 images in, as the network sees them."""


def normalise(picture: Image.Image) -> Digit:
    """Turns a picture of a digit into an image as MNIST's are: 28 x 28 bytes, bright strokes (255) on black (0).

    The way there, one function for each step:
    0. `sheet`: where a sheet of paper lies on a darker table, the sheet alone, straightened.
    1. `brightness`: one number per pixel, at a standard size. Colour, transparency and resolution are gone.
    2. `ink`: how much darker than the paper around it each pixel is. Light, shadow and inverted colours are gone.
    3. `digits`: the pixels that belong to the digit. Specks, noise and the edge of the table are gone.
    4. `thickened`: a thin pen becomes as wide as the pencils of MNIST's writers.
    5. `boxed`: size-normalised to fit a 20 x 20 box, keeping the aspect ratio; anti-aliasing gives the grey levels.
    6. `centred`: placed in 28 x 28 so that the centre of mass is in the middle.

    Steps 5 and 6 are LeCun et al.'s. Steps 0 to 4 stand for the scanner and the people who cut out the digits.

    Raises:
        CourseError: nothing is drawn on the page, or too faint or too small; or what stands out is no digit.
    """
    return finished(digits(ink(brightness(sheet(picture))))[0])


def finished(strokes: Mask) -> Digit:
    """The last three steps: a digit's strokes as an image like MNIST's."""
    return centred(boxed(thickened(strokes)))


def brightness(picture: Image.Image) -> Grey:
    """Black 0 to white 1, the longer side WORKING_SIDE long. Behind what is transparent lies the paper: white, or black
    where the ink is white."""
    if picture.mode != "RGBA":
        picture = picture.convert("L")
    scale = WORKING_SIDE / max(picture.size)
    size = tuple(max(2, round(side * scale)) for side in picture.size)
    grey = np.asarray(picture.resize(size, Image.Resampling.BICUBIC).convert("L"), dtype=np.float32) / 255
    if picture.mode == "L":
        return grey
    alpha = np.asarray(picture.getchannel("A").resize(size, Image.Resampling.BICUBIC), dtype=np.float32) / 255
    light_ink = alpha.mean() < 0.5 and (grey * alpha).sum() > 0.5 * alpha.sum()  # white on nothing
    return grey * alpha + (1 - alpha) * (0 if light_ink else 1)


def shrunk(grey: Grey, filters: list[tuple[type, float]]) -> Grey:
    """Applies Pillow's rank filters at a tenth of the size (a hundred times fewer pixels) and enlarges the result.

    Args:
        grey: a page, 0 to 1.
        filters: which filter with which window, as a share of the page's longer side.
    """
    height, width = grey.shape
    small = Image.fromarray(np.uint8(255 * grey)).resize((max(1, width // 10), max(1, height // 10)))
    for rank, share in filters:
        small = small.filter(rank(2 * round(share * max(small.size) / 2) + 1))
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32) / 255


def dark_on_light(grey: Grey) -> Grey:
    """The page itself, or its negative if it is chalk on a board: most of a page is bare, and what is rare is the ink.

    The median in a wide window is the bare page. Sharp edges count most, as strokes have them and shadows do not; and
    cubed, a few large differences outweigh many small ones. But a board is dark: a page on a dark table is none.
    """
    difference = grey - shrunk(grey, [(ImageFilter.MedianFilter, 0.5)])
    down, right = np.gradient(grey)
    light_ink = (difference * difference**2 * (down**2 + right**2)).sum() > 0
    board = np.quantile(grey, 0.65) < (grey.min() + grey.max()) / 2
    return 1 - grey if light_ink and board else grey


def paper(grey: Grey) -> Grey:
    """How bright a page of dark writing would be with nothing written on it.

    A stroke is thin. Give every pixel the brightest value in a window wider than any stroke, and all strokes are gone;
    give every pixel the darkest of those in the same window, and the edges of shadows are back in their places. (In the
    language of mathematical morphology: a closing.)
    """
    return shrunk(grey, [(ImageFilter.MaxFilter, 0.25), (ImageFilter.MinFilter, 0.25)])


def ink(grey: Grey) -> Grey:
    """How much of the paper's light each pixel swallows: 0 for bare paper, up to 1 for black ink.

    A photo is light × what the page reflects, so dividing by the paper takes the light out, and the shadows with it.
    """
    grey = dark_on_light(grey)
    swallowed = 1 - grey / np.maximum(paper(grey), 0.05)
    swallowed -= np.quantile(swallowed, 0.25)  # what noise makes bare paper seem to swallow
    soft = Image.fromarray(np.uint8(255 * swallowed.clip(0, 1))).filter(ImageFilter.GaussianBlur(1.5))
    return np.asarray(soft, dtype=np.float32) / 255


def belongs(part: np.ndarray, main: np.ndarray) -> bool:
    """Whether a smaller piece is a stroke of the same digit: its middle is within the other, or it is low and close by,
    like the bar of a 5. The digits of a number stand apart, and one is as tall as the other."""
    low, high = main.min(axis=0), main.max(axis=0)
    first, last = part.min(axis=0), part.max(axis=0)
    middle = (first + last) / 2
    within = ((low <= middle) & (middle <= high)).all()
    gap = np.maximum(first - high, low - last).max()
    return bool(within or ((last - first)[0] < 0.6 * (high - low)[0] and gap < (high - low).max() / 4))


def digits(swallowed: Grey) -> list[Mask]:
    """The digits on the page as masks of strokes, each cut out to its box, the one with the most ink first.

    Raises:
        CourseError: there is no ink, or only specks, or a solid thing.
    """
    mask = swallowed > max(0.4 * swallowed.max(), LEAST_CONTRAST)
    edge = np.array(mask.shape) - 1
    large = [piece for piece in pieces(mask) if np.ptp(piece, axis=0).max() > 0.02 * WORKING_SIDE]
    # What runs off the picture is a ruled line, a shadow or the edge of the table.
    left = [piece for piece in large if piece.min() > 0 and (piece.max(axis=0) < edge).all()]
    if large and not left:
        raise CourseError(
            "all that stands out runs off the picture. Crop it to the paper, with some left all around the digit."
        )
    if not left or np.ptp(left[0], axis=0).max() < 0.04 * WORKING_SIDE:
        raise CourseError("the page seems empty. Draw one digit, dark and large, and take the photo from near by.")
    found = []
    while left:
        main, *others = left
        own = [part for part in others if belongs(part, main)]
        left = [part for part in others if not belongs(part, main)]
        if not found or np.ptp(main, axis=0).max() > len(found[0]) / 2:
            strokes = np.concatenate([main, *own])
            corner = strokes.min(axis=0)
            box = np.zeros(np.ptp(strokes, axis=0) + 1, dtype=bool)
            box[tuple((strokes - corner).T)] = True
            found.append(box)
    if stroke_width(found[0]) > SOLID * max(found[0].shape):
        raise CourseError("what stands out is too solid for a digit. Crop the picture to the paper with the digit.")
    return found


def thickened(strokes: Mask) -> Mask:
    """Draws strokes that are thinner than THIN again, PEN wide; both are shares of the digit's longer side.

    At 20 pixels a stroke of a thin pen would be a fraction of a pixel wide, and so only a shade of grey.
    """
    side, width = max(strokes.shape), stroke_width(strokes)
    if width >= THIN * side:
        return strokes
    grow = round((PEN * side - width) / 2)
    wide = Image.fromarray(np.pad(strokes, grow)).convert("L").filter(ImageFilter.MaxFilter(2 * grow + 1))
    return np.asarray(wide) > 0


def boxed(strokes: Mask) -> UInt8[np.ndarray, "h w"]:
    """The strokes, brought to a longer side of 20 pixels. A pixel is as bright as its share that is covered."""
    scale = 20 / max(strokes.shape)
    height, width = (max(1, round(side * scale)) for side in strokes.shape)
    picture = Image.fromarray(np.uint8(255 * strokes))
    return np.asarray(picture.resize((width, height), Image.Resampling.BOX))


def centred(box: UInt8[np.ndarray, "h w"]) -> Digit:
    """Moves the box, by whole pixels, until its centre of mass is on pixel (14, 14) of 28 x 28."""
    image = np.zeros((28, 28), dtype=np.uint8)
    start = []
    for axis in (0, 1):
        weights = box.sum(axis=1 - axis)
        mass = (np.arange(box.shape[axis]) * weights).sum() / weights.sum()
        start.append(int(np.clip(round(14 - mass), 0, 28 - box.shape[axis])))
    image[start[0] : start[0] + box.shape[0], start[1] : start[1] + box.shape[1]] = box
    return image


# ---------------------------------------------------------------- the program


def drawing(image: Digit, blocks: bool) -> list[str]:
    """The image as 14 lines of text: each character stands for two pixels, one above the other."""
    bright = (image > 80).reshape(14, 2, 28)
    marks = np.array(list(" ▀▄█" if blocks else " '.#"))
    return ["".join(row) for row in marks[bright[:, 0] + 2 * bright[:, 1]]]


def chart(probs: Float[np.ndarray, " classes"], classes: tuple[str, ...], blocks: bool) -> list[str]:
    """The probabilities as a bar chart, one line a class; of more than ten classes, the likeliest ten."""
    shown = np.sort(np.argsort(-probs)[:10])
    room = max(len(classes[label]) for label in shown)
    bar = "█" if blocks else "#"
    return [f"{classes[label]:>{room}s} {probs[label]:6.1%} {bar * round(30 * probs[label])}" for label in shown]


def verdict(probs: Float[np.ndarray, " classes"], classes: tuple[str, ...]) -> str:
    """One sentence: what it is, or what it may be."""
    first, second = np.argsort(-probs)[:2]
    if probs[first] >= SURE:
        return f"This is {classes[first]} ({probs[first]:.1%} sure)."
    return f"Not sure: {classes[first]} ({probs[first]:.1%}), or {classes[second]} ({probs[second]:.1%})?"


def read_digit(path: Path) -> tuple[Digit, int]:
    """A picture file as `normalise` makes it, and how many digits seem to be on it."""
    picture = read_picture(path, keep_alpha=True)
    try:
        found = digits(ink(brightness(sheet(picture))))
    except CourseError as error:
        raise CourseError(f"{path}: {error}") from None
    return finished(found[0]), len(found)


def small(path: Path) -> tuple[Digit, int]:
    """A picture file as it is, but small."""
    return data.in_small(read_picture(path)), 1


def main(cfg: Config) -> list[np.ndarray]:
    """Reads pictures of your own digits and shows what the network sees and thinks of them.

    Returns the probabilities (classes,) of each picture.
    """
    if not cfg.pictures:
        raise CourseError("which picture? For example: ./course run 1 predict my_digit.png")
    trained = load(cfg.run)
    if trained.shape != (28, 28):
        raise CourseError(
            f"{trained.run.folder}: this network sees images of {trained.shape}, predict makes grey ones of (28, 28)."
        )
    try:
        "▀▄█".encode(sys.stdout.encoding or "ascii")
        blocks = True
    except UnicodeEncodeError:
        blocks = False
    answers, taken = [], set()
    for path, (image, count) in each(cfg.pictures, small if cfg.as_is else read_digit):
        [probs] = probabilities(trained.model, data.Part(image.reshape(1, -1), np.zeros(1, dtype=np.int64)))
        print(f"\n{path}")
        for left, right in zip_longest(drawing(image, blocks), chart(probs, trained.classes, blocks), fillvalue=""):
            print(f"{left:28s}   {right}".rstrip())
        if count > 1:
            print(f"There seem to be {count} digits; this is the one with the most ink. Put one on a picture.")
        print(verdict(probs, trained.classes))
        if cfg.out:
            with written_whole(free_name(Path(cfg.out), path.stem, "_28x28.png", taken)) as temporary:
                Image.fromarray(image).save(temporary, "PNG")
        answers.append(probs)
    return answers


if __name__ == "__main__":
    cli.launch(main, Config)
