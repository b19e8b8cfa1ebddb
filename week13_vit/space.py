"""What this week's Space is made of: `./course space 13`."""

import io
from functools import partial
from typing import Any

from shared import bundle, held_out
from shared.space import Config, Space
from week13_vit import data

ABOUT = """
**A lesson, not a medical device.** A radiograph, what a small vision transformer says of it, and where it looks, beside
the same network with its weights shuffled.

- The pictures to choose from are **drawn by a program**, and so are those that it learned from: it has seen no patient.
- It answers whatever it is shown, be it a photograph of a cat.
- Where it looks is attention rollout. That is no proof of why it says what it says.
"""


def radiograph(_: str) -> list[Any]:
    """The first of the pictures to test with, as a file."""
    from PIL import Image

    pixels, file = data.load("sample").test.images[0], io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
    return [file.getvalue()]


def made_of(cfg: Config) -> Space:
    """The page, with pictures that the run has not seen."""
    return Space(
        title="Where does it look?",
        emoji="🩻",
        short="A lesson on attention, not a medical device",
        about=ABOUT,
        question="a radiograph that it has not seen",
        samples=("synthetic_radiographs.webp", "synthetic_radiographs.npz"),
        unused=("timm", "torchvision", "transformers"),
        bake=partial(bundle.run, also=(held_out.FILE,)),
        event="look",
        values=radiograph,
    )
