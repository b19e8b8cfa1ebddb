"""What the published networks make of pictures and texts. They stay as they are, so each is looked at once.

References
    A. Radford et al., "CLIP", arXiv:2103.00020; X. Zhai et al., "LiT", arXiv:2111.07991: why frozen towers do
    N. Reimers, I. Gurevych, "Sentence-BERT", arXiv:1908.10084, section 3: a text's vector is the mean over its tokens
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor

from shared.device import Device
from shared.minilm import Reader
from shared.progress import bar
from week14_clip import efficientnet
from week14_clip.data import Pictures, numbered
from week14_clip.model import DualEncoder


class Eyes:
    """EfficientNet-Lite0 on a device. `side`: pixels that a picture is brought to; fewer are quicker, and show less.

    A batch of 4 stays in a processor's caches; of 32 each picture takes half as long again. A card wants more.
    """

    def __init__(self, device: Device, side: int) -> None:
        self.network = efficientnet.for_looking(efficientnet.load()).to(device.name)
        self.device, self.side, self.batch = device.name, side, 4 if device.name == "cpu" else 64

    @torch.inference_mode()
    def encode(self, pictures: Iterable[Image.Image]) -> Float[Tensor, "N 1280"]:
        """The features of pictures, in their order. All of a picture is seen, pressed into a square."""
        small = map(self.small, pictures)  # one by one: a batch of photos as they come may not fit into memory
        rows = [self.network(self.pixels(some)).cpu() for some in in_batches(small, self.batch)]
        return torch.cat(rows).clone() if rows else torch.zeros(0, efficientnet.DIM)

    def small(self, picture: Image.Image) -> Image.Image:
        """A picture in the size that it is looked at in."""
        return picture.resize((self.side, self.side), Image.Resampling.BICUBIC, reducing_gap=3.0)

    def pixels(self, pictures: Sequence[Image.Image]) -> Float[Tensor, "N 3 side side"]:
        """Numbers from 0 to 255."""
        stack = torch.from_numpy(np.stack([np.asarray(one) for one in pictures]))
        # (N, side, side, 3) -> (N, 3, side, side); in memory the channels stay last, as the convolutions like them.
        return stack.to(self.device).permute(0, 3, 1, 2).float()


def in_batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` items, the last one shorter."""
    some: list[Any] = []
    for item in items:
        some.append(item)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


class Pairs:
    """A part in pairs: `owner` (M,), whose caption each text is, the number of a picture; `concept` (N,), of each
    picture, as a number. `batch` gives what a network is called with, `embed` the vectors of all of it."""

    owner: Int[np.ndarray, " M"]
    concept: Int[np.ndarray, " N"]

    @property
    def counts(self) -> Int[np.ndarray, " N"]:
        """How many captions each picture has."""
        return np.bincount(self.owner, minlength=len(self.concept))

    @property
    def first(self) -> Int[np.ndarray, " N"]:
        """The number of each picture's first caption."""
        return np.cumsum(self.counts) - self.counts

    @property
    def right(self) -> Bool[np.ndarray, "M N"]:
        """Which pictures are right for each text: those of its concept."""
        return self.concept[self.owner][:, None] == self.concept[None, :]


@dataclass(frozen=True)
class Features(Pairs):
    """A part as the towers see it.

    Attributes:
        pictures: of each picture.
        texts: of all captions, those of the first picture first.
        owner: whose caption each text is: the number of a picture.
        concept: of each picture, as a number.
    """

    pictures: Float[Tensor, "N 1280"]
    texts: Float[Tensor, "M 384"]
    owner: Int[np.ndarray, " M"]
    concept: Int[np.ndarray, " N"]

    def batch(
        self, model: DualEncoder, rows: Int[np.ndarray, " n"], captions: Int[np.ndarray, " n"], device: str
    ) -> tuple[Float[Tensor, "n 1280"], Float[Tensor, "n 384"]]:
        """Pictures, each with one of its captions."""
        chosen = torch.from_numpy(self.first[rows] + captions)
        return self.pictures[torch.from_numpy(rows)].to(device), self.texts[chosen].to(device)

    @torch.no_grad()
    def embed(self, model: DualEncoder, device: str) -> tuple[Float[np.ndarray, "N dim"], Float[np.ndarray, "M dim"]]:
        """The vectors of the pictures and of the texts; the model is left in evaluation mode."""
        model.to(device).eval()
        towers = ((model.picture_tower, self.pictures), (model.text_tower, self.texts))
        pictures, texts = (tower(x.to(device)).cpu().numpy() for tower, x in towers)
        return pictures, texts


def look(parts: dict[str, Pictures], eyes: Eyes, reader: Reader) -> dict[str, dict[str, Tensor]]:
    """{part: {pictures, texts}} of parts, as `Features` has them; a text that several pictures have is read once."""
    found = {}
    with bar(sum(map(len, parts.values())), 0, "looking") as told:
        for name, part in parts.items():

            def pictures(part: Pictures = part) -> Iterator[Image.Image]:
                for one in part.items:
                    told.update()
                    yield one.read()

            texts = [text for one in part.items for text in one.captions]
            once = list(dict.fromkeys(texts))
            place = {text: row for row, text in enumerate(once)}
            rows = torch.tensor([place[text] for text in texts], dtype=torch.long)
            found[name] = {"pictures": eyes.encode(pictures()), "texts": reader.encode(once)[rows]}
    return found


def features(part: Pictures, looked: dict[str, Tensor]) -> Features:
    """What `look` found of a part, with what belongs to what."""
    owner = np.repeat(np.arange(len(part)), [len(one.captions) for one in part.items])
    return Features(looked["pictures"], looked["texts"], owner, numbered(part))
