"""A trained run: its towers, what they look through, and the two together as vectors of pictures and texts."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from shared import runs
from shared.device import Device
from week14_clip import train
from week14_clip.features import Eyes, Reader
from week14_clip.model import DualEncoder


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
    def config(self) -> Any:
        return self.run.config

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        return self.model.config.dim

    @cached_property
    def eyes(self) -> Eyes:
        return Eyes(self.device, self.run.saved["side"])

    @cached_property
    def reader(self) -> Reader:
        return Reader(self.device)

    @cached_property
    def print(self) -> str:
        """A fingerprint of the pictures' tower: vectors of two different ones cannot be compared."""
        found = hashlib.sha256(str(self.run.saved["side"]).encode())
        for name, tensor in sorted(self.model.picture_tower.state_dict().items()):
            found.update(name.encode() + tensor.cpu().numpy().tobytes())
        return found.hexdigest()[:32]

    @torch.no_grad()
    def of_pictures(self, pictures: Iterable[Image.Image]) -> Float[np.ndarray, "N dim"]:
        """Vectors of unit length."""
        return self.model.picture_tower(self.eyes.encode(pictures).to(self.device.name)).cpu().numpy()

    @torch.no_grad()
    def of_texts(self, texts: Sequence[str]) -> Float[np.ndarray, "N dim"]:
        """Vectors of unit length."""
        return self.model.text_tower(self.reader.encode(texts).to(self.device.name)).cpu().numpy()


def load(folder: str, device: Device, finished: bool = False) -> Trained:
    """The run in a folder; without one, the week's newest.

    Raises:
        CourseError: there is none, or it is of another week.
    """
    run = runs.load(train.WEEK_NUMBER, train.Config, folder, finished)
    model = run.fill(train.build(run.config), run.saved["model"])
    return Trained(run, model.to(device.name), device)
