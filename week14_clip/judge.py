"""Is it what was asked for? A network that did not paint says what it sees: `./course run 14 judge`.

The judge is EfficientNet-Lite0, which has no part in the painting. A painted picture is *known* where the real drawing
that it is most like, of all that were trained on, shows what the picture was to show. And to see whether a painter only
remembers, it is measured how far a painted picture is from the nearest drawing that was trained on.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week14_clip/judge.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from shared import cli, race, results, runs
from shared.config import Count, Natural, Seed
from shared.device import Device, choose
from shared.splits import Splits
from week14_clip.data import numbered
from week14_clip.features import Eyes
from week14_clip.gallery import WEIGHTS, Painted
from week14_clip.painter import Painter, TokenReader, captioned, load, pixels
from week14_clip.picture import Picture

WEEK_NUMBER = 14
LOOKED_AT = 128  # pixels that the judge sees a picture in
EACH = 2  # pictures of each text


@dataclass
class Config:
    """The flags of judge."""

    run: str = ""
    """The folder of a run of paint (default: the newest)."""
    steps: Count = 25
    """Steps of DDIM from noise to picture."""
    seed: Seed = 0
    """The noise follows from this number."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""
    threads: Natural = 0
    """CPU threads (0: as many as torch takes)."""
    publish: bool = False
    """Put the table into RESULTS.md."""


def known_share(
    found: Float[Tensor, "M dim"], of: Int[Tensor, " M"], real: Float[Tensor, "N dim"], shows: Int[Tensor, " N"],
    leave_out: bool = False,
) -> float:  # fmt: skip
    """The share of `found` whose nearest of `real` shows what they are `of`; without itself where both are one."""
    mean = real.mean(0)
    cosines = F.normalize(found - mean) @ F.normalize(real - mean).T
    if leave_out:
        cosines.fill_diagonal_(-2)
    return (shows[cosines.argmax(1)] == of).float().mean().item()


def distance(some: Painted, others: UInt8[Tensor, "M 3 side side"]) -> float:
    """The median, over `some`, of the root mean square difference a pixel (0 to 255) to the nearest of `others`."""
    a, b = (one.flatten(1).float() for one in (some, others))  # (N, 3 * side * side)
    return (torch.cdist(a, b).min(1).values / a.shape[1] ** 0.5).median().item()


class Judge:
    """What there is to compare with: the drawings of train, what each shows, and what the judge makes of them."""

    def __init__(self, painter: Painter, pictures: Splits[Picture], reader: TokenReader, device: Device) -> None:
        items, self.painter, self.eyes = pictures.train.items, painter, Eyes(device, LOOKED_AT)
        self.real, self.strangers = (
            pixels((one.read() for one in part.items), painter.codec.side) for part in (pictures.train, pictures.val)
        )
        kinds, first, shows = np.unique(numbered(pictures.train), return_index=True, return_inverse=True)
        self.kinds, self.shows = torch.from_numpy(kinds), torch.from_numpy(shows)
        self.tokens = painter.heard(reader.tokens([items[row].captions[0] for row in first]).to(device.name))
        self.features = self.looks(self.real)

    def looks(self, pictures: Painted) -> Float[Tensor, "N 1280"]:
        """What the judge makes of them."""
        return self.eyes.encode(Image.fromarray(one.permute(1, 2, 0).numpy()) for one in pictures)  # (side, side, 3)

    def known(self, weight: float, steps: int, seed: int) -> tuple[float, float]:
        """How many of the painted pictures, EACH of every text, are known; and how far they are from train."""
        tokens, of = self.tokens.repeat(EACH, 1, 1), self.kinds.repeat(EACH)
        painted = self.painter.paint(tokens, self.painter.start(len(of), seed + 1), weight, steps)
        return known_share(self.looks(painted), of, self.features, self.shows), distance(painted, self.real)

    def about_real(self) -> dict[str, float]:
        """What real drawings come to, among those of the other styles; and chance."""
        return {
            "known_real": known_share(self.features, self.shows, self.features, self.shows, leave_out=True),
            "known_chance": 1 / len(self.kinds),
            "val_from_train": distance(self.strangers, self.real),
        }


def judged(judge: Judge, weight: float, steps: int, seed: int) -> dict[str, float]:
    """For a run's result: known, with the text heard and not, and what stands beside it."""
    known, away = judge.known(weight, steps, seed)
    return {"known": known, "known_unheard": judge.known(0.0, steps, seed)[0], "from_train": away, **judge.about_real()}


def in_words(known: dict[str, float]) -> str:
    """What the judge says."""
    return (
        f"known for what they are to show: {known['known']:.1%} of the painted pictures (text not heard "
        f"{known['known_unheard']:.1%}, chance {known['known_chance']:.1%}, real drawings {known['known_real']:.1%})\n"
        f"from the nearest picture of train: {known['from_train']:.0f} of 255 a pixel; real ones of val "
        f"{known['val_from_train']:.0f}"
    )


def main(cfg: Config) -> dict[str, Any]:
    """Paints each thing that was trained on, under more and more guidance, and asks somebody else what it is.

    Returns {"known": {weight: share}, …}.
    """
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    device = choose(cfg.device)
    folder, flags, painter = load(cfg.run, device)
    judge = Judge(painter, captioned(flags["data"], flags["groups"], flags["limit"]), TokenReader(device.name), device)
    real, found = judge.about_real(), {weight: judge.known(weight, cfg.steps, cfg.seed) for weight in WEIGHTS}
    rows = [[f"guidance {weight:g}", f"{share:.1%}", f"{away:.0f}"] for weight, (share, away) in found.items()]
    rows.append(["real drawings", f"{real['known_real']:.1%}", f"{real['val_from_train']:.0f} (those of val)"])
    rows.append(["chance", f"{real['known_chance']:.1%}", ""])
    table = results.markdown(["", "known", "from train, of 255 a pixel"], rows)
    print(f"{folder}: {EACH} pictures each of {len(judge.kinds)} things, {cfg.steps} steps\n\n{table}")
    if cfg.publish:
        size = sum(one.numel() for one in painter.unet.parameters())
        line = (
            f"*`./course run 14 paint && ./course run 14 judge`: {EACH} pictures of each of {len(judge.kinds)} things, "
            f"{cfg.steps} steps; seed {flags['seed']}, {size:,} parameters, {device}, "
            f"{race.processor()}, torch {runs.versions()['torch']}*"
        )
        results.publish(WEEK_NUMBER, "judge", f"{line}\n\n{table}")
    return {"known": {weight: share for weight, (share, _) in found.items()}, **real}


if __name__ == "__main__":
    cli.launch(main, Config)
