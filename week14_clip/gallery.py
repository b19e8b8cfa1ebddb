"""What a painter has painted, as sheets, and what somebody makes of it who did not paint: a network for photographs.

The judge is EfficientNet-Lite0, which has no part in the painting. A painted picture is known where the real drawing
that it is most like, of all things that were trained on, shows what the picture was to show.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from shared.device import Device
from shared.splits import Splits
from week14_clip.data import numbered
from week14_clip.features import Eyes
from week14_clip.painter import Painter, TokenReader, Tokens, pixels
from week14_clip.picture import Picture

Painted = UInt8[Tensor, "N 3 side side"]
WEIGHTS = (0.0, 1.0, 2.0, 4.0, 8.0)
STEPS = (2, 5, 10, 25, 100)
LOOKED_AT = 128  # pixels that the judge sees a picture in


def grid(path: Path, rows: Sequence[str], columns: Sequence[str], painted: Sequence[Painted]) -> None:
    """A row for each text, a column for each of `painted`, which have a picture for every row."""
    from shared.plots import figure, images, short

    with figure(path, len(rows), len(columns), size=(1.5 + 0.92 * len(columns), 0.3 + 0.92 * len(rows))) as (_, axes):
        for at, line in enumerate(np.asarray(axes).reshape(len(rows), len(columns))):
            for axis, title, column in zip(line, columns, painted, strict=True):
                images(axis, column[at].permute(1, 2, 0).numpy(), title if at == 0 else "")  # (side, side, 3)
            place = {"ha": "right", "va": "center", "fontsize": 8, "transform": line[0].transAxes}
            line[0].text(-0.08, 0.5, short(rows[at]).replace(" ", "\n", 1), **place)


def of_guidance(path: Path, painter: Painter, texts: Tokens, names: Sequence[str], steps: int, seed: int) -> None:
    """The same noise under more and more guidance."""
    start = painter.start(1, seed).expand(len(texts), -1, -1, -1)
    grid(path, names, [f"w = {w:g}" for w in WEIGHTS], [painter.paint(texts, start, w, steps) for w in WEIGHTS])


def of_steps(path: Path, painter: Painter, texts: Tokens, names: Sequence[str], weight: float, seed: int) -> None:
    """The same noise, in more and more steps."""
    start, steps = painter.start(1, seed).expand(len(texts), -1, -1, -1), [n for n in STEPS if n <= painter.noise.T]
    titles = [f"{n} step{'s' * (n > 1)}" for n in steps]
    grid(path, names, titles, [painter.paint(texts, start, weight, n) for n in steps])


def looks(eyes: Eyes, pictures: UInt8[Tensor, "N 3 side side"]) -> Float[Tensor, "N 1280"]:
    """What the judge makes of them."""
    return eyes.encode(Image.fromarray(one.permute(1, 2, 0).numpy()) for one in pictures)


def known_share(
    found: Float[Tensor, "M dim"], of: Tensor, real: Float[Tensor, "N dim"], shows: Tensor, leave_out: bool = False
) -> float:
    """The share of `found` whose nearest of `real` shows what they are `of`; without itself where both are one."""
    mean = real.mean(0)
    cosines = torch.nn.functional.normalize(found - mean) @ torch.nn.functional.normalize(real - mean).T
    if leave_out:
        cosines.fill_diagonal_(-2)
    return (shows[cosines.argmax(1)] == of).float().mean().item()


def judge(
    painter: Painter,
    pictures: Splits[Picture],
    reader: TokenReader,
    device: Device,
    weight: float,
    steps: int,
    seed: int,
) -> dict[str, float]:
    """How often what is painted is known for what it is to be: two pictures of each text of train.

    Beside it: with the text not heard; real drawings among the others (of the other styles, then); chance. And how far,
    in pixels from 0 to 255, a painted picture is from the nearest of train, and a real one of val.
    """
    items = pictures.train.items
    real, shows = pixels((one.read() for one in items), painter.codec.side), torch.from_numpy(numbered(pictures.train))
    kinds = shows.unique()
    texts = [
        next(one.captions[0] for one, kind in zip(items, shows, strict=True) if kind == wanted) for wanted in kinds
    ]
    tokens = painter.heard(reader.tokens(texts).to(device.name)).repeat(2, 1, 1)
    start, of = painter.start(len(tokens), seed + 1), kinds.repeat(2)
    painted, unheard = (painter.paint(tokens, start, w, steps) for w in (weight, 0.0))
    eyes = Eyes(device, LOOKED_AT)
    theirs = looks(eyes, real)
    strangers = pixels((one.read() for one in pictures.val.items), painter.codec.side)
    return {
        "known": known_share(looks(eyes, painted), of, theirs, shows),
        "known_unheard": known_share(looks(eyes, unheard), of, theirs, shows),
        "known_real": known_share(theirs, shows, theirs, shows, leave_out=True),
        "known_chance": 1 / len(kinds),
        "from_train": distance(painted, real),
        "val_from_train": distance(strangers, real),
    }


def distance(some: Painted, others: UInt8[Tensor, "M 3 side side"]) -> float:
    """The median, over `some`, of the root mean square difference a pixel to the nearest of `others`."""
    a, b = (one.flatten(1).float() for one in (some, others))  # (N, 3 * side * side)
    return (torch.cdist(a, b).min(1).values / a.shape[1] ** 0.5).median().item()


def in_words(known: dict[str, float]) -> str:
    """What the judge says."""
    return (
        f"known for what they are to show: {known['known']:.1%} of the painted pictures (text not heard "
        f"{known['known_unheard']:.1%}, chance {known['known_chance']:.1%}, real drawings {known['known_real']:.1%})\n"
        f"from the nearest picture of train: {known['from_train']:.0f} of 255 a pixel; real ones of val "
        f"{known['val_from_train']:.0f}"
    )
