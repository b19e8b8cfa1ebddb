"""The week's data: synthetic radiographs, PneumoniaMNIST, Kermany's chest X-rays, EuroSAT, or pictures of your own.

None of it makes a medical device of what is trained on it.

References
    J. Yang et al., "MedMNIST v2", arXiv:2110.14795: PneumoniaMNIST, which is Kermany's pictures made small
    D. Kermany et al., "Identifying medical diagnoses and treatable diseases by image-based deep learning", Cell 172(5),
        2018: 5,856 chest X-rays of children, CC BY 4.0
    P. Helber et al., "EuroSAT", arXiv:1709.00029: 27,000 satellite pictures in ten classes

One patient may have many pictures. If some of them are trained on and others tested, the network can know the patient
by the ribs, so where file names tell the patient (Kermany's do), parts are cut by patients. PneumoniaMNIST has lost
them; its test part is Kermany's test folder, which the paper says are other children.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from shared import cifar10_sample
from shared.assets import Asset, fetch
from shared.errors import CourseError
from shared.image_arrays import moments, read_npz
from shared.image_folders import DAMAGED, find_classes
from shared.own_images import Labelled, all_to_train_on, in_three
from week13_vit import decoded, patients

SAMPLES = Path(__file__).resolve().parent.parent / "shared" / "samples"
SHEET, TABLE = SAMPLES / "synthetic_radiographs.webp", SAMPLES / "synthetic_radiographs.npz"
SYNTHETIC_CLASSES, PNEUMONIA = ("normal", "opacity"), ("normal", "pneumonia")
SIDE = 64  # pixels, of the bundled radiographs
NAMES = ("sample", "sample_other", "pneumoniamnist", "eurosat")

# The first checksum is that of MedMNIST's info.py, which states no size; the second that of TensorFlow Datasets.
PNEUMONIAMNIST = Asset(
    "pneumoniamnist/pneumoniamnist.npz",
    ("https://zenodo.org/records/10519652/files/pneumoniamnist.npz",),
    "28209eda62fecd6e6a2d98b1501bb15f",
    0,
    "CC BY 4.0",
    algorithm="md5",
)
EUROSAT = Asset(
    "eurosat/EuroSAT.zip",
    ("https://huggingface.co/datasets/torchgeo/eurosat/resolve/main/EuroSAT.zip",),
    "8ebea626349354c5328b142b96d0430e647051f26efc2dc974c843f25ecf70bd",
    94_280_567,
    "MIT",
)

Rows = Int[np.ndarray, " _"]


@dataclass(frozen=True)
class Part:
    """One split: pictures (N, H, W, 1 or 3) uint8, labels (N,), and of each the patient as a number."""

    images: UInt8[np.ndarray, "N H W C"]
    labels: Int[np.ndarray, " N"]
    patients: Int[np.ndarray, " N"]
    spots: Float[np.ndarray, "N most 5"] | None = None
    """Of the synthetic ones: row, column, half height, half width of each opacity as shares of the side, and its angle;
    NaN where there is none."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def examples(self) -> np.ndarray:
        """What tells one example from another (shared.held_out)."""
        return self.images

    def take(self, rows: Rows) -> "Part":
        """Some of them."""
        spots = None if self.spots is None else self.spots[rows]
        return Part(self.images[rows], self.labels[rows], self.patients[rows], spots)


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
    synthetic: bool = False
    given: tuple[tuple[float, ...], tuple[float, ...]] | None = None  # mean and deviation of the network to go on with

    @property
    def side(self) -> int:
        """Pixels, height and width of a picture."""
        return self.train.images.shape[1]

    @property
    def everything(self) -> Part:
        parts = (self.train, self.val, self.test)
        spots = None if self.test.spots is None else np.concatenate([p.spots for p in parts])
        joined = (np.concatenate([getattr(p, field) for p in parts]) for field in ("images", "labels", "patients"))
        return Part(*joined, spots)

    @cached_property
    def mean_std(self) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
        """Of the training pictures' colours (three equal ones of grey), as decimals 0 to 1; a deviation is never 0. Or
        those that are given: a published network was trained on pictures made so."""
        if self.given:
            return tuple(np.array(numbers, np.float32) for numbers in self.given)
        mean, std = (np.broadcast_to(numbers, 3).copy() for numbers in moments(self.train.images))
        return mean, std

    def first(self, count: int, seed: int) -> "Data":
        """The same with `count` pictures to train on, drawn by the seed, of which more contain the fewer. 0: all."""
        if not count or count >= len(self.train):
            return self
        rows = np.sort(np.random.default_rng([seed, 7]).permutation(len(self.train))[:count])
        for label in np.setdiff1d(self.train.labels, self.train.labels[rows]):
            raise CourseError(
                f"{count} pictures to train on are too few: class {self.classes[label]} is not among them."
            )
        note = f"took {count:,} of {len(self.train):,} to train on (--examples)"
        return replace(self, train=self.train.take(rows), notes=(*self.notes, note))

    def to_train_on(self) -> "Data":
        """Itself; CourseError where a class has no picture in train (which is no fault in data to be scored on)."""
        all_to_train_on(self.name, self.classes, self.train.labels)
        return self


def load(name: str, side: int = 0) -> Data:
    """Loads `sample`, `sample_other`, `pneumoniamnist`, `eurosat`, or a path: an .npz (MedMNIST's or one's own), a
    folder of class folders (Kermany's, EuroSAT's, one's own).

    Args:
        name: what to load.
        side: pictures are brought to so many pixels in height and width; 0: as they are, folders to 64.

    Raises:
        CourseError: what is wrong with the data, in one line.
    """
    if name in ("sample", "sample_other"):
        return resized(load_sample(name), side)
    if name == "pneumoniamnist":
        return load_npz(fetch(PNEUMONIAMNIST), name, side)
    if name == "eurosat":
        from shared.archives import unpack

        archive = fetch(EUROSAT)
        return load_folder(unpack(archive, archive.with_name("unpacked")), name, side or SIDE)
    path = Path(name).expanduser()
    if not path.exists():
        raise CourseError(f"--data {name}: no such file or folder, nor one of {', '.join(NAMES)}.")
    return load_npz(path, name, side) if path.is_file() else load_folder(path, name, side or SIDE)


# ---------------------------------------------------------------- the bundled radiographs


def load_sample(name: str) -> Data:
    """The synthetic radiographs: one large picture, 60 in a row, and the table of what is on them.

    sample_other is those of another hospital with another machine: all of them are to be tested on.
    """
    with np.load(TABLE, allow_pickle=False) as table:
        labels, split, spots = (table[key] for key in ("labels", "split", "spots"))
    with Image.open(SHEET) as sheet:
        pixels = np.asarray(sheet.convert("L"))
    rows, columns = pixels.shape[0] // SIDE, pixels.shape[1] // SIDE
    cut = pixels.reshape(rows, SIDE, columns, SIDE).swapaxes(1, 2)  # (rows, columns, SIDE, SIDE)
    images = cut.reshape(-1, SIDE, SIDE, 1)[: len(labels)]
    whole = Part(images, labels.astype(np.int64), np.arange(len(labels)), spots)
    train, val, test, other = (whole.take(np.flatnonzero(split == part)) for part in range(4))
    notes = ("synthetic: a program made these radiographs; what is learned here says nothing about patients",)
    if name == "sample_other":
        test = other
        notes += ("train and val are those of `sample`; the other hospital's pictures are to test on",)
    return Data(name, SYNTHETIC_CLASSES, train, val, test, own_test=True, notes=notes, synthetic=True)


def load_photographs(side: int = 0) -> Data:
    """The bundled photographs of CIFAR-10, to pretrain on."""
    parts = [Part(images, labels, np.arange(len(labels))) for images, labels in cifar10_sample.read().values()]
    return resized(Data("CIFAR-10 (bundled)", cifar10_sample.CLASSES, *parts, own_test=True), side)


# ---------------------------------------------------------------- an .npz


def load_npz(path: Path, name: str, side: int = 0) -> Data:
    """An .npz with images and labels, or as MedMNIST publishes them: train_images, train_labels, …, test_labels."""
    own = read_npz(path)
    if "pneumoniamnist" in path.name.lower() and not own.named and len(own.classes) == 2:
        told = "PneumoniaMNIST does not say whose picture is whose: a child may be in two parts, and scores may flatter"
        own = replace(own, classes=PNEUMONIA, named=True, notes=(*own.notes, told))
    images = own.images if own.images.ndim == 4 else own.images[..., None]  # (N, H, W, C)
    own = replace(own, images=_to_side(images, side or max(images.shape[1:3])))
    return _cut(name, *in_three(path, own))


def _cut(name: str, own: Labelled, rows: Sequence[Rows], patient: Rows | None = None) -> Data:
    """Pictures with the row numbers of train, val and test; where nobody tells whose they are, each is a patient."""
    patient = np.arange(len(own.labels)) if patient is None else patient
    parts = (Part(own.images[part], own.labels[part], patient[part]) for part in rows)
    return Data(name, own.classes, *parts, own.named, own.own_test, own.notes)


# ---------------------------------------------------------------- folders of pictures


def load_folder(folder: Path, name: str, side: int = SIDE) -> Data:
    """A folder of class folders, perhaps within train, val and test; of each picture the middle square.

    Where the names of the files tell the patients, as Kermany's do, pictures are grey and no patient is in two parts.
    """
    folder, twice = patients.once(folder)
    classes, splits, notes = find_classes(folder)
    notes += [twice] * bool(twice)
    names = tuple(sorted({label for _, label in classes}))
    paths = [path for group in classes.values() for path in group]
    told = patients.told_by(paths)
    found = dict(zip(paths, decoded.read(folder, paths, side, "L" if told else "RGB"), strict=True))
    rows, damaged = [], []
    for (part, label), group in classes.items():
        bad = [found[path] for path in group if isinstance(found[path], CourseError)]
        if len(bad) > DAMAGED * len(group):
            raise bad[0]
        damaged += bad
        rows += [(path, part, names.index(label)) for path in group if not isinstance(found[path], CourseError)]
    if damaged:
        first = str(damaged[0]).removeprefix(f"{folder}/")
        notes.append(f"left out {len(damaged):,} damaged image{'s' * (len(damaged) > 1)}; the first: {first}")
    paths, split, labels = zip(*rows, strict=True)
    images = np.stack([found[path] for path in paths])  # (N, side, side, 1 or 3)
    own = Labelled(images, np.array(labels), names, np.array(split) if splits else None, notes=tuple(notes))
    return _cut(name, *(patients.in_three(folder, own, paths) if told else in_three(folder, own)))


# ---------------------------------------------------------------- sizes


def _to_side(images: UInt8[np.ndarray, "N H W C"], side: int) -> UInt8[np.ndarray, "N side side C"]:
    if images.shape[1:3] == (side, side):
        return np.ascontiguousarray(images)
    flat = np.ascontiguousarray(images[..., 0] if images.shape[-1] == 1 else images)
    made = [np.asarray(decoded.squared(Image.fromarray(image), side)) for image in flat]
    return np.stack(made).reshape(len(images), side, side, images.shape[3])  # (N, side, side, 1 or 3)


def resized(images: Data, side: int) -> Data:
    """The same data set with pictures of another side; 0: as they are."""
    if not side or images.side == side:
        return images
    parts = (replace(part, images=_to_side(part.images, side)) for part in (images.train, images.val, images.test))
    train, val, test = parts
    return replace(images, train=train, val=val, test=test)


# ---------------------------------------------------------------- tensors


def tensors(part: Part, device: str = "cpu") -> tuple[UInt8[Tensor, "N C H W"], Int[Tensor, " N"]]:
    """A part as tensors on a device, pictures still uint8."""
    pixels = np.require(part.images, requirements="W")  # torch wants memory that may be written to
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)  # (N, H, W, C) -> (N, C, H, W)
    return images.contiguous().to(device), torch.from_numpy(part.labels.astype(np.int64)).to(device)


def normalise(
    images: UInt8[Tensor, "B C H W"], mean: Float[Tensor, " 3"], std: Float[Tensor, " 3"]
) -> Float[Tensor, "B 3 H W"]:
    """Bytes 0 to 255 as decimals around 0, (x / 255 - mean) / std for each colour; grey ones get three equal ones."""
    return centred(images.float() / 255, mean, std)


def centred(
    images: Float[Tensor, "B C H W"], mean: Float[Tensor, " 3"], std: Float[Tensor, " 3"]
) -> Float[Tensor, "B 3 H W"]:
    """The same of decimals 0 to 1."""
    return (images.expand(-1, 3, -1, -1) - mean[:, None, None]) / std[:, None, None]  # (B, C, H, W) -> (B, 3, H, W)


def check_range(images: Float[Tensor, "B 3 H W"], mean: Float[Tensor, " 3"], std: Float[Tensor, " 3"]) -> None:
    """CourseError where pictures are not what `normalise` gives with this mean and deviation.

    A network that is given bytes for decimals, or decimals that nobody has normalised, still answers: always the same.
    """
    low, high = float((-mean / std).min()), float(((1 - mean) / std).max())
    least, most = float(images.min()), float(images.max())
    outside = least < low - 1e-3 or most > high + 1e-3
    faint = most - least < 0.5  # of the deviation that pictures had there: bytes that were taken for decimals, say
    one_sided = least >= 0 and low < -0.2  # nothing is darker than the mean: as decimals from 0 to 1 are
    if outside or one_sided or faint:
        raise CourseError(
            f"pixels run from {least:.3g} to {most:.3g}, but this network was trained on {low:.3g} to {high:.3g}: "
            "normalise them with its mean and deviation."
        )


def check_part(part: Part, mean: Float[np.ndarray, " 3"], std: Float[np.ndarray, " 3"]) -> None:
    """The same for a whole part, by its darkest and its brightest pixel: before a checkpoint's own mean and deviation
    are used on other pictures."""
    ends = torch.tensor([part.images.min(), part.images.max()]).view(1, 1, 1, 2)
    mean, std = (torch.from_numpy(np.asarray(numbers, np.float32)) for numbers in (mean, std))
    check_range(normalise(ends, mean, std), mean, std)
