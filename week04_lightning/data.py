"""Week 2's photographs as a LightningDataModule: everything in memory, whole batches by index, no worker processes.

A DataLoader was made for images that lie on a disk: workers open them one by one. 60,000 photographs of 32 x 32 are
180 MB of bytes. They fit in any memory, a GPU's too, and there `images[rows]` is a batch. No copies, no waiting.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import lightning as L
import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from week02_cnn.data import Data, Part, flipped, tensors
from week04_lightning import augment

Photos = UInt8[Tensor, "N 3 H W"]
Labels = Int[Tensor, " N"]
Batch = tuple[UInt8[Tensor, "B 3 H W"], Tensor]
"""Images, and their labels (B,), or soft targets (B, classes) where mixup has blended them."""


def augmented(
    images: UInt8[Tensor, "B 3 H W"],
    labels: Int[Tensor, " B"],
    rows: Int[Tensor, " B"],
    epoch: int,
    classes: int,
    mean: UInt8[Tensor, " 3"],
    cfg: Any,
) -> Batch:
    """A batch with all the augmentation that a recipe asks for. Draws from torch's own generator.

    Args:
        images, labels: a batch.
        rows: where in the training set they stand.
        epoch: counted from 0.
        classes: how many there are.
        mean: the mean colour of the training images, for cutout.
        cfg: flip, crop, randaugment, cutout and mixup, as described in train.Config, and seed.
    """
    if cfg.flip == "random":
        images = flipped(images)
    elif cfg.flip == "alternating":
        images = augment.alternating_flip(images, rows, epoch, cfg.seed)
    if cfg.crop:
        images = augment.crop(images, cfg.crop)
    if cfg.randaugment:
        images = augment.rand_augment(images, cfg.randaugment, group=cfg.randaugment_group)
    if cfg.cutout:
        images = augment.cutout(images, cfg.cutout, mean)
    if cfg.mixup:
        return augment.mixup(images, labels, classes, cfg.mixup)
    return images, labels


class TrainBatches:
    """The training images in a new random order every epoch. What is left over after whole batches is dropped.

    The order is that of week 2's plain loop: it follows from seed and epoch alone. With several devices each process
    draws the same batch with the same augmentation and takes its own share of it, so that two processes together see
    exactly what one would.

    Args:
        images, labels: the training set, on the device already.
        size: images in a batch, of all processes together.
        seed: decides the order.
        epoch: tells which epoch it is, from 0.
        change: (images, labels, rows, epoch) -> the batch that is trained on.
        rank, world: which process this is, and of how many.
    """

    def __init__(
        self,
        images: Photos,
        labels: Labels,
        size: int,
        seed: int,
        epoch: Callable[[], int],
        change: Callable[[Tensor, Tensor, Tensor, int], Batch],
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.images, self.labels, self.size = images, labels, min(size, len(labels))
        self.seed, self.epoch, self.change = seed, epoch, change
        self.rank, self.world = rank, world
        self.first = self.done = 0

    def __len__(self) -> int:
        return len(self.labels) // self.size

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.epoch()
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.labels))
        begin, self.first = self.first, 0
        batches = torch.from_numpy(order).to(self.labels.device).split(self.size)
        for done, rows in enumerate(batches[begin : len(self)], begin + 1):
            self.done = done
            images, labels = self.change(self.images[rows], self.labels[rows], rows, epoch)
            yield images[self.rank :: self.world], labels[self.rank :: self.world]

    def state_dict(self) -> dict[str, int]:
        """How many batches of the epoch are done. Lightning puts it into its checkpoint because it is here."""
        return {"done": self.done % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.first = state["done"]


class EvalBatches:
    """Images in their own order, all of them, with their labels; for validation and testing."""

    def __init__(self, images: Photos, labels: Labels, size: int = 500) -> None:
        self.images, self.labels, self.size = images, labels, size

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.size)

    def __iter__(self) -> Iterator[Batch]:
        yield from zip(self.images.split(self.size), self.labels.split(self.size), strict=True)


class CifarData(L.LightningDataModule):
    """Train, val and test for the Trainer.

    Args:
        photos: what week02_cnn.data.load returns.
        cfg: batch_size, seed, and what `augmented` reads.
        test: what to test on instead of photos.test.
    """

    def __init__(self, photos: Data, cfg: Any, test: Part | None = None) -> None:
        super().__init__()
        self.photos, self.cfg = photos, cfg
        self.test = photos.test if test is None else test

    @property
    def steps_per_epoch(self) -> int:
        return max(1, len(self.photos.train) // self.cfg.batch_size)

    def part(self, part: Part) -> tuple[Photos, Labels]:
        """A part as tensors where the training happens: copied there once, not batch by batch."""
        device = self.trainer.strategy.root_device if self.trainer else "cpu"
        return tensors(part, str(device))

    def train_dataloader(self) -> TrainBatches:
        images, labels = self.part(self.photos.train)
        mean = torch.from_numpy(np.rint(self.photos.mean * 255).astype(np.uint8))

        def change(batch: Tensor, truth: Tensor, rows: Tensor, epoch: int) -> Batch:
            return augmented(batch, truth, rows, epoch, len(self.photos.classes), mean, self.cfg)

        trainer = self.trainer
        return TrainBatches(
            images, labels, self.cfg.batch_size, self.cfg.seed,
            epoch=lambda: trainer.current_epoch, change=change, rank=trainer.global_rank, world=trainer.world_size,
        )  # fmt: skip

    def val_dataloader(self) -> EvalBatches:
        return EvalBatches(*self.part(self.photos.val))

    def test_dataloader(self) -> EvalBatches:
        return EvalBatches(*self.part(self.test))
