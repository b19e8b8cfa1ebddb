"""The week's data: the bundled photographs, CIFAR-10 as published, or pictures of your own.

CIFAR-10: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from shared import cifar10_sample
from shared.archives import unpack
from shared.assets import Asset, fetch
from shared.cifar10_sample import CLASSES, SIDE
from shared.errors import CourseError
from shared.image_arrays import moments, read_npz
from shared.image_folders import read_folder
from shared.own_images import HELD_OUT, Labelled, all_to_train_on, in_three, stratified

ARCHIVE = Asset(
    "cifar10/cifar-10-python.tar.gz",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    170_498_071,
    "no formal licence; cite Krizhevsky 2009",
)
BATCHES, BINARY = "cifar-10-batches-py", "cifar-10-batches-bin"  # the folders in the two published archives
BINARY_FILES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
RECORDS, RECORD = 10_000, 1 + 3 * SIDE * SIDE  # images in a binary file, and bytes of one: its label, then its pixels


@dataclass(frozen=True)
class Part:
    """One split: photographs (N, H, W, 3) uint8, still bytes (a quarter of the memory), and labels (N,)."""

    images: UInt8[np.ndarray, "N H W 3"]
    labels: Int[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def examples(self) -> np.ndarray:
        """What tells one example from another (shared.held_out)."""
        return self.images

    def take(self, rows: Int[np.ndarray, " n"]) -> "Part":
        """Some of them."""
        return Part(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class Data:
    """A data set cut in three. Fit on train, choose on val, and read test once."""

    name: str
    classes: tuple[str, ...]
    train: Part
    val: Part
    test: Part
    named: bool = True  # False: its classes have numbers alone
    own_test: bool = False  # whether it brings a test split of its own
    notes: tuple[str, ...] = ()  # what was guessed, left out or dropped, to be told to the reader

    @property
    def side(self) -> int:
        """Pixels, height and width of an image."""
        return self.train.images.shape[1]

    @property
    def everything(self) -> Part:
        parts = (self.train, self.val, self.test)
        return Part(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]))

    @cached_property
    def moments(self) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
        """Mean and standard deviation of the training images' red, green and blue, as decimals 0 to 1."""
        return moments(self.train.images)

    @property
    def mean(self) -> Float[np.ndarray, " 3"]:
        """Of the training images' colours."""
        return self.moments[0]

    @property
    def std(self) -> Float[np.ndarray, " 3"]:
        """Of the same; never 0."""
        return self.moments[1]

    def to_train_on(self) -> "Data":
        """Itself; CourseError where a class has no image in train (which is no fault in data to be scored on)."""
        all_to_train_on(self.name, self.classes, self.train.labels)
        return self


def load(name: str, side: int = SIDE) -> Data:
    """Loads `sample`, `cifar10`, or a path: an .npz, a folder of class folders, or one of CIFAR-10's published files.

    Args:
        name: what to load.
        side: images are brought to so many pixels in height and width.

    Raises:
        CourseError: what is wrong with the data, in one line.
    """
    if name == "sample":
        return resized(load_sample(name), side)
    if name == "cifar10":
        archive = fetch(ARCHIVE)
        return resized(load_batches(unpack(archive, archive.with_name("unpacked")), name), side)
    path = Path(name).expanduser()
    if not path.exists():
        raise CourseError(f"--data {name}: no such file or folder, nor one of sample, cifar10.")
    if path.is_file():
        return load_npz(path, name, side)
    if found := published(path):
        return resized(load_binary(found, name) if found.name == BINARY else load_batches(found.parent, name), side)
    return load_folder(path, name, side)


def published(folder: Path) -> Path | None:
    """The folder of CIFAR-10's published files, which `folder` is or holds."""
    for found in (folder, folder / BATCHES, folder / BINARY):
        if found.name in (BATCHES, BINARY) and found.is_dir():
            return found
    return None


# ---------------------------------------------------------------- CIFAR-10


def load_sample(name: str) -> Data:
    """The bundled photographs: of each class 400 to train on, 100 for val and 100 for test; each part is shuffled, the
    same way every time."""
    parts = []
    for seed, (images, labels) in enumerate(cifar10_sample.read().values()):
        order = np.random.default_rng(seed).permutation(len(labels))
        parts.append(Part(images[order], labels[order]))
    return Data(name, CLASSES, *parts, own_test=True)


def load_batches(root: Path, name: str) -> Data:
    """The published archive, unpacked in `root`, through torchvision.

    Its files are pickles, and opening a pickle runs what is in it. torchvision compares every file's md5 with the
    published one first, so nothing but the files of 2009 is ever opened.
    """
    from torchvision.datasets import CIFAR10

    try:
        full, test = (CIFAR10(str(root), train=train, download=False) for train in (True, False))
    except RuntimeError:
        raise CourseError(
            f"{root / BATCHES}: files are missing or not the published ones. They are pickles, so none is opened "
            "before all have the right md5. Delete the folder and unpack cifar-10-python.tar.gz again."
        ) from None
    return _held_out(name, Part(full.data, np.array(full.targets)), Part(test.data, np.array(test.targets)))


def load_binary(folder: Path, name: str) -> Data:
    """The published binary files: of each image one byte for the label, then 1024 each for red, green and blue."""
    parts = []
    for file in BINARY_FILES:
        path = folder / file
        if not path.is_file():
            raise CourseError(f"{path} is missing; the six published files belong together.")
        if path.stat().st_size != RECORDS * RECORD:
            raise CourseError(
                f"{path}: {path.stat().st_size:,} bytes, the published file has {RECORDS * RECORD:,}. "
                "Unpack cifar-10-binary.tar.gz again."
            )
        records = np.fromfile(path, dtype=np.uint8).reshape(RECORDS, RECORD)
        labels = records[:, 0].astype(np.int64)
        if labels.max() >= len(CLASSES):
            raise CourseError(f"{path}: label {labels.max()} in image {labels.argmax()}; CIFAR-10's are 0 to 9.")
        images = records[:, 1:].reshape(RECORDS, 3, SIDE, SIDE).transpose(0, 2, 3, 1)  # (RECORDS, SIDE, SIDE, 3)
        parts.append(Part(np.ascontiguousarray(images), labels))
    images, labels = (np.concatenate([getattr(part, field) for part in parts[:5]]) for field in ("images", "labels"))
    return _held_out(name, Part(images, labels), parts[5])


def _held_out(name: str, full: Part, test: Part) -> Data:
    """CIFAR-10 with a val split out of its training images; its test images stay what they are."""
    train, val = stratified(full.labels, (HELD_OUT / len(full),))
    return Data(
        name, CLASSES, *(Part(full.images[rows], full.labels[rows]) for rows in (train, val)), test, own_test=True
    )


# ---------------------------------------------------------------- a learner's own data


def load_npz(path: Path, name: str, side: int = SIDE) -> Data:
    """An .npz as `shared.image_arrays.read_npz` takes it: grey images get three equal colours, others than `side` x
    `side` are resized."""
    own = read_npz(path)
    images = own.images if own.images.ndim == 4 else own.images[..., None]  # (N, H, W, 1 or 3)
    images = _to_side(np.broadcast_to(images, (*images.shape[:3], 3)), side)
    return _in_three(name, path, replace(own, images=images))


def load_folder(folder: Path, name: str, side: int = SIDE) -> Data:
    """A folder of class folders with pictures of any size; of each the middle is taken, `side` x `side`."""
    own = read_folder(folder, lambda picture: np.asarray(squared(picture, side)))
    return _in_three(name, folder, own)


def _in_three(name: str, path: Path, own: Labelled) -> Data:
    own, rows = in_three(path, own)
    parts = (Part(own.images[part], own.labels[part]) for part in rows)
    return Data(name, own.classes, *parts, own.named, own.own_test, own.notes)


def middle(width: int, height: int) -> tuple[int, int, int, int]:
    """The largest square in the middle of a picture: left, top, right, bottom, in pixels."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def squared(picture: Image.Image, side: int) -> Image.Image:
    """The middle of a picture, `side` x `side`: the largest square, brought to that size."""
    square = picture.crop(middle(*picture.size))
    return square if square.width == side else square.resize((side, side), Image.Resampling.BILINEAR)


def _to_side(images: UInt8[np.ndarray, "N H W 3"], side: int) -> UInt8[np.ndarray, "N side side 3"]:
    if images.shape[1:3] == (side, side):
        return np.ascontiguousarray(images)
    return np.stack([np.asarray(squared(Image.fromarray(np.ascontiguousarray(image)), side)) for image in images])


def resized(images: Data, side: int) -> Data:
    """The same data set with images of another side."""
    if images.side == side:
        return images
    parts = (images.train, images.val, images.test)
    train, val, test = (Part(_to_side(part.images, side), part.labels) for part in parts)
    return replace(images, train=train, val=val, test=test)


# ---------------------------------------------------------------- tensors


def tensors(part: Part, device: str = "cpu") -> tuple[UInt8[Tensor, "N 3 H W"], Int[Tensor, " N"]]:
    """A part as tensors on a device: images still uint8, in channels_last (the bytes stay in the order they are in)."""
    pixels = np.require(part.images, requirements="W")  # torch wants memory that may be written to
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)  # (N, H, W, 3) -> (N, 3, H, W), nothing is moved
    return images.to(device), torch.from_numpy(part.labels.astype(np.int64)).to(device)


def normalise(
    images: UInt8[Tensor, "B 3 H W"], mean: Float[Tensor, " 3"], std: Float[Tensor, " 3"]
) -> Float[Tensor, "B 3 H W"]:
    """Bytes 0 to 255 as decimals around 0: (x / 255 - mean) / std for each colour."""
    return images.float().mul_(1 / 255).sub_(mean[:, None, None]).div_(std[:, None, None])


def flipped(images: UInt8[Tensor, "B 3 H W"], generator: torch.Generator | None = None) -> UInt8[Tensor, "B 3 H W"]:
    """Each image, or with probability 1/2 its mirror image. A horse that looks to the left is still a horse.

    Args:
        images: a batch.
        generator: on the CPU, what the coins are tossed with; torch's default one where None.
    """
    heads = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(heads.to(images.device)[:, None, None, None], images.flip(3), images)
