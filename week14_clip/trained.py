"""What makes vectors of pictures and texts: the towers of a trained run, or one of open_clip's networks."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from shared import assets, runs
from shared.device import Device
from shared.minilm import Reader
from week14_clip import openclip, train
from week14_clip.data import Pictures
from week14_clip.features import Eyes, Features, Pairs, features, look
from week14_clip.model import DualEncoder


@dataclass
class Which:
    """The flags of every program that looks with towers or with one of open_clip's networks."""

    model: str = ""
    """A network of open_clip's in the place of a run, as ViT-B-32; as in train."""
    pretrained: str = ""
    """Its weights: published ones, as laion2b_s34b_b79k, or a file."""


@runtime_checkable
class Encoder(Protocol):
    """What makes vectors of unit length, of `dim` numbers; of a picture it looks at `side` pixels each way."""

    dim: int
    side: int

    def of_pictures(self, pictures: Iterable[Image.Image]) -> Float[np.ndarray, "N dim"]: ...
    def of_texts(self, texts: Sequence[str]) -> Float[np.ndarray, "N dim"]: ...


@runtime_checkable
class Towers(Encoder, Protocol):
    """An encoder, and what it is made of.

    `print` is a fingerprint of what looks at pictures: vectors of two different ones cannot be compared. `place` is the
    folder for the indexes. `look` prepares a part for `Pairs.embed`, which `model` is called by.
    """

    print: str
    place: Path
    device: Device
    model: Any
    run: runs.Trained | None

    def look(self, part: Pictures) -> Pairs: ...


@dataclass
class Trained:
    """What a run has learned.

    Attributes:
        run: the run.
        model: its towers, in evaluation mode.
        device: what they compute on.
    """

    run: runs.Trained
    model: DualEncoder
    device: Device

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        return self.model.config.dim

    @property
    def side(self) -> int:
        return self.run.saved["side"]

    @property
    def place(self) -> Path:
        return self.run.folder / "indexes"

    @cached_property
    def eyes(self) -> Eyes:
        return Eyes(self.device, self.side)

    @cached_property
    def reader(self) -> Reader:
        return Reader(self.device.name)

    @cached_property
    def print(self) -> str:
        return fingerprint(self.model.picture_tower, str(self.side))

    @torch.no_grad()
    def of_pictures(self, pictures: Iterable[Image.Image]) -> Float[np.ndarray, "N dim"]:
        """Vectors of unit length."""
        return self.model.picture_tower(self.eyes.encode(pictures).to(self.device.name)).cpu().numpy()

    @torch.no_grad()
    def of_texts(self, texts: Sequence[str]) -> Float[np.ndarray, "N dim"]:
        """Vectors of unit length."""
        return self.model.text_tower(self.reader.encode(texts).to(self.device.name)).cpu().numpy()

    def look(self, part: Pictures) -> Features:
        """A part with its features."""
        return features(part, look({"part": part}, self.eyes, self.reader)["part"])


@dataclass
class Published:
    """One of open_clip's networks, as it was published or as a run has trained it on.

    Attributes:
        model: the network, in evaluation mode.
        device: what it computes on.
        run: the run that has trained it, if any.
    """

    model: openclip.OpenClip
    device: Device
    run: runs.Trained | None = None

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        return self.model.dim

    @property
    def side(self) -> int:
        return int(np.max(self.model.network.visual.image_size))

    @property
    def place(self) -> Path:
        return (self.run.folder if self.run else assets.home() / "week14" / self.print) / "indexes"

    @cached_property
    def print(self) -> str:
        return fingerprint(self.model.network.visual, str(self.model.about["preprocess_cfg"]))

    def of_pictures(self, pictures: Iterable[Image.Image]) -> Float[np.ndarray, "N dim"]:
        """Vectors of unit length."""
        return self.model.encode_pictures(pictures, self.device.name)

    def of_texts(self, texts: Sequence[str]) -> Float[np.ndarray, "N dim"]:
        """Vectors of unit length."""
        return self.model.encode_texts(texts, self.device.name)

    def look(self, part: Pictures) -> openclip.Photographs:
        """A part with its captions as tokens."""
        return openclip.photographs(part, self.model)


def fingerprint(network: torch.nn.Module, more: str) -> str:
    """Of all its weights."""
    found = hashlib.sha256(more.encode())
    for name, tensor in sorted(network.state_dict().items()):
        found.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:32]


def load(folder: str, device: Device, finished: bool = False) -> Trained | Published:
    """The run in a folder; without one, the week's newest.

    Raises:
        CourseError: there is none, or it is of another week.
    """
    run = runs.load(train.WEEK_NUMBER, train.Config, folder, finished)
    if about := run.saved.get("open_clip"):
        network = run.fill(openclip.again(about), run.saved["model"])
        return Published(network.to(device.name), device, run)
    model = run.fill(train.build(run.config), run.saved["model"])
    return Trained(run, model.to(device.name), device)


def opened(cfg: Any, device: Device, finished: bool = False) -> Trained | Published:
    """What a program's flags name: --model with --pretrained, else --run.

    Raises:
        CourseError: as `load` and `openclip.load`.
    """
    openclip.check(cfg)
    if not cfg.model:
        return load(cfg.run, device, finished)
    network = openclip.load(cfg.model, cfg.pretrained, needed=True)
    return Published(network.to(device.name).eval(), device)
