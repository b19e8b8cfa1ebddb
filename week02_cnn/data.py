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

from shared.archives import unpack
from shared.assets import Asset, fetch
from shared.errors import CourseError
from shared.image_arrays import read_npz
from shared.image_folders import read_folder
from shared.own_images import HELD_OUT, Labelled, in_three, stratified

SAMPLE = Path(__file__).resolve().parent.parent / "shared" / "samples" / "cifar10_6k.webp"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32  # pixels, of CIFAR-10's images

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
    def _histogram(self) -> Float[np.ndarray, "256 3"]:
        """How often each value 0 to 255 occurs in the red, green and blue of the training images, as shares of 1."""
        counts = np.zeros((256, 3))
        for start in range(0, len(self.train), 256):  # a few at a time: bincount wants eight bytes a pixel
            images = self.train.images[start : start + 256]
            for colour in range(3):
                counts[:, colour] += np.bincount(images[..., colour].ravel(), minlength=256)
        return counts / counts[:, 0].sum()

    @property
    def mean(self) -> Float[np.ndarray, " 3"]:
        """Of the training images' red, green and blue, as decimals 0 to 1."""
        return (np.arange(256) / 255 @ self._histogram).astype(np.float32)

    @property
    def std(self) -> Float[np.ndarray, " 3"]:
        """The standard deviation of the same; 1 where a colour never changes, so that one can divide by it."""
        spread = np.arange(256)[:, None] / 255 - self.mean
        std = np.sqrt((spread**2 * self._histogram).sum(axis=0)).astype(np.float32)
        return np.where(std < 1e-4, np.float32(1), std)

    def to_train_on(self) -> "Data":
        """Itself; CourseError where a class has no image in train (which is no fault in data to be scored on)."""
        empty = np.setdiff1d(np.arange(len(self.classes)), self.train.labels)
        if empty.size:
            raise CourseError(
                f"{self.name}: class {self.classes[empty[0]]} has no image to train on. "
                "Add some, or number the classes without gaps."
            )
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
        return resized(load_sheet(SAMPLE, name), side)
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


def load_sheet(path: Path, name: str) -> Data:
    """The bundled sample: one large picture of 60 rows of 100 photographs, six rows to a class. Of each class the
    first 400 are to train on, then 100 for val and 100 for test; each part is shuffled, the same way every time."""
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    rows, columns = pixels.shape[0] // SIDE, pixels.shape[1] // SIDE
    cut = pixels.reshape(rows, SIDE, columns, SIDE, 3).swapaxes(1, 2)  # (rows, columns, SIDE, SIDE, 3)
    images = cut.reshape(len(CLASSES), -1, SIDE, SIDE, 3)  # (10, 600, SIDE, SIDE, 3)
    parts = []
    for seed, (first, last) in enumerate(((0, 400), (400, 500), (500, 600))):
        order = np.random.default_rng(seed).permutation(len(CLASSES) * (last - first))
        photos = images[:, first:last].reshape(-1, SIDE, SIDE, 3)
        parts.append(Part(photos[order], np.repeat(np.arange(len(CLASSES)), last - first)[order]))
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
