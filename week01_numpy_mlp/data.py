"""The week's data: the bundled digits, MNIST or Fashion-MNIST as published, or images of your own.

MNIST: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", 1998.
Fashion-MNIST: H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747.
"""

import gzip
import math
import tarfile
import tempfile
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL.Image import Image, Resampling

from shared.archives import DAMAGE, unpack
from shared.assets import Asset, fetch
from shared.errors import CourseError
from shared.image_arrays import read_npz
from shared.image_folders import read_folder
from shared.own_images import Labelled, cut_in_three, in_three
from shared.pictures import is_picture

SAMPLE = Path(__file__).resolve().parent.parent / "shared" / "samples" / "mnist_10k.npz"
SIDE = 28  # a learner's own pictures are brought to MNIST's size
CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")

CSV, ARCHIVES = (".csv", ".csv.gz"), (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz")
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_MNIST_HOSTS = ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist")
_FASHION_HOSTS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
)


def _assets(folder: str, hosts: tuple[str, ...], licence: str, published: tuple[tuple[int, str], ...]) -> list[Asset]:
    return [
        Asset(f"{folder}/{file}.gz", tuple(f"{host}/{file}.gz" for host in hosts), sha256, size, licence)
        for file, (size, sha256) in zip(FILES, published, strict=True)
    ]


ASSETS = {
    "mnist": _assets(
        "mnist", _MNIST_HOSTS, "CC BY-SA 3.0", (
            (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ),
    ),
    "fashion_mnist": _assets(
        "fashion_mnist", _FASHION_HOSTS, "MIT", (
            (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One split: images (N, features) uint8, flattened and still bytes (a quarter of the memory), and labels (N,)."""

    images: UInt8[np.ndarray, "N features"]
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
    shape: tuple[int, ...]  # of one image: (28, 28), or (H, W, C) in colour
    classes: tuple[str, ...]
    train: Part
    val: Part
    test: Part
    named: bool = True  # False: its classes have numbers alone
    own_test: bool = False  # whether it brings a test split of its own
    notes: tuple[str, ...] = ()  # what was guessed, left out or dropped, to be told to the reader

    @property
    def everything(self) -> Part:
        parts = (self.train, self.val, self.test)
        return Part(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]))


def load(name: str) -> Data:
    """Loads `sample`, `mnist`, `fashion_mnist`, or a path: an .npz, a folder of class folders, the published idx files
    (in a folder, a zip or a tar), or a csv with a label and 784 pixels a row.

    Raises:
        CourseError: what is wrong with the data, in one line.
    """
    if name == "sample":
        own = read_npz(SAMPLE)
        return _data(name, replace(own, named=True), cut_in_three(SAMPLE, own))
    if name in ASSETS:
        files = [fetch(asset) for asset in ASSETS[name]]
        return load_idx(files[0].parent, name)
    path = Path(name).expanduser()
    if not path.exists():
        raise CourseError(f"--data {name}: no such file or folder, nor one of sample, {', '.join(ASSETS)}.")
    if path.is_file():
        if is_picture(path):
            raise CourseError(
                f"{path}: one picture. --data takes an .npz, a .csv, MNIST's files, or a folder with one folder of "
                "pictures per class; `./course run 1 predict` reads a single digit."
            )
        ending = path.name.lower()
        read = load_csv if ending.endswith(CSV) else load_archive if ending.endswith(ARCHIVES) else load_npz
        return read(path, name)
    if found := published(path):
        return load_idx(found, name)
    return load_folder(path, name)


# ---------------------------------------------------------------- the published idx format


def read_idx(path: Path) -> UInt8[np.ndarray, "..."]:
    """Reads one idx file (gzipped or not) of unsigned bytes: images (N, rows, columns) or labels (N,).

    The format, from the data set's own page: two zero bytes, a type code (8 = unsigned byte), the number of dimensions,
    each dimension as a big-endian 32-bit integer, then the bytes themselves, the last dimension fastest.

    Raises:
        CourseError: not an idx file, cut short, too long, or a header that promises more than is there.
    """
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, OSError, zlib.error) as error:
            raise CourseError(f"{path}: the gzip file is cut short or damaged ({error}). Download it again.") from None
    if len(raw) < 4 or raw[:2] != b"\0\0":
        raise CourseError(
            f"{path}: not an idx file, it starts with {raw[:4].hex(' ') or 'nothing'} instead of 00 00 08."
        )
    if raw[2] != 8:
        raise CourseError(f"{path}: the idx type code is 0x{raw[2]:02x}, only 0x08 (unsigned bytes) is read here.")
    dimensions = raw[3]
    header = 4 + 4 * dimensions
    if dimensions not in (1, 3) or len(raw) < header:
        raise CourseError(f"{path}: an idx header of {dimensions} dimensions; images have 3 and labels 1.")
    shape = tuple(int.from_bytes(raw[i : i + 4], "big") for i in range(4, header, 4))
    promised, there = math.prod(shape), len(raw) - header
    if promised != there:
        wrong = "cut short" if there < promised else "too long"
        size = " x ".join(map(str, shape))
        raise CourseError(f"{path}: {wrong}, the header promises {size} = {promised:,} bytes and {there:,} are there.")
    return np.frombuffer(raw, dtype=np.uint8, offset=header).reshape(shape)


def _idx_file(folder: Path, name: str) -> Path | None:
    """The file in the folder, gzipped or not; also with the dot that some unpackers put for the last dash."""
    for spelling in (name, name.replace("-idx", ".idx")):
        for ending in (".gz", ""):
            if (folder / (spelling + ending)).is_file():
                return folder / (spelling + ending)
    return None


def published(folder: Path) -> Path | None:
    """The folder of published files, which `folder` is or holds as torchvision lays them (MNIST/raw)."""
    for found in (folder, folder / "raw", folder / "MNIST" / "raw", folder / "FashionMNIST" / "raw"):
        if any(_idx_file(found, file) for file in FILES):
            return found
    return None


def load_archive(path: Path, name: str) -> Data:
    """The four published files in a zip or a tar, as some pages hand them out."""
    if any(path.name.startswith((file, file.replace("-idx", ".idx"))) for file in FILES):
        raise CourseError(f"{path}: one of MNIST's four files. Give the folder that they are in: {path.parent}.")
    try:
        with zipfile.ZipFile(path) if zipfile.is_zipfile(path) else tarfile.open(path) as file:
            members = file.namelist() if isinstance(file, zipfile.ZipFile) else file.getnames()
    except (*DAMAGE, OSError) as error:
        why = str(error).partition("\n")[0].rstrip(":")
        raise CourseError(f"{path}: damaged, or no zip or tar file ({why}). Get a new copy.") from None
    if not any("-ubyte" in member for member in members):
        raise CourseError(f"{path}: none of MNIST's four files is in it. Unpack it and give the folder.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = unpack(path, Path(temporary) / path.name, limit=2**30)
        places = filter(Path.is_dir, (folder, *sorted(folder.rglob("*"))))
        try:
            return load_idx(next(filter(None, map(published, places)), folder), name)
        except CourseError as error:  # speaks of a folder that is gone then
            raise CourseError(str(error).replace(str(folder), str(path))) from None


def load_idx(folder: Path, name: str, val_size: int = 5_000) -> Data:
    """The four published files. The last 5,000 training images (a twelfth of a smaller set) become the val split."""
    arrays = []
    for file, dimensions in zip(FILES, (3, 1, 3, 1), strict=True):
        path = _idx_file(folder, file)
        if path is None:
            raise CourseError(f"{folder}: {file}[.gz] is missing; the four published files belong together.")
        array = read_idx(path)
        if array.ndim != dimensions:
            kinds = {1: "labels", 3: "images"}
            raise CourseError(
                f"{path}: holds {kinds[array.ndim]} where {kinds[dimensions]} belong. Were the files swapped?"
            )
        arrays.append(array)
    if arrays[0].shape[1:] != arrays[2].shape[1:] or len(arrays[0]) < 2 or arrays[2].size == 0:
        raise CourseError(
            f"{folder}: train images of shape {arrays[0].shape} and t10k images of {arrays[2].shape} do not belong "
            "together: expected some of each, all of one size."
        )
    parts = []
    for images, labels, which in ((*arrays[:2], "train"), (*arrays[2:], "t10k")):
        if len(images) != len(labels):
            raise CourseError(
                f"{folder}: {len(images):,} {which} images but {len(labels):,} labels, they do not match."
            )
        parts.append(Part(images.reshape(len(images), -1), labels.astype(np.int64)))
    full, test = parts
    cut = len(full) - min(val_size, max(1, len(full) // 12))
    clothes = "fashion" in f"{name} {folder}".lower()
    classes = CLOTHES if clothes else _digits(int(max(full.labels.max(), test.labels.max())) + 1)
    train, val = (Part(full.images[part], full.labels[part]) for part in (slice(cut), slice(cut, None)))
    return Data(name, arrays[0].shape[1:], classes, train, val, test, own_test=True)


def _digits(count: int) -> tuple[str, ...]:
    return tuple(str(digit) for digit in range(count))


# ---------------------------------------------------------------- a learner's own data


def load_npz(path: Path, name: str) -> Data:
    """An .npz as `shared.image_arrays.read_npz` takes it, also with transparency (four colours)."""
    return _in_three(name, path, read_npz(path, colours=(1, 3, 4)))


def load_csv(path: Path, name: str) -> Data:
    """A csv with the label and the pixels of one image in a row, as Kaggle's train.csv: with a heading or without."""
    try:
        with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rt", encoding="utf-8-sig") as file:
            head, below = file.readline(), file.readline()
        columns = head.count(",") + 1
        side = math.isqrt(columns - 1)
        if side < 2 or side**2 != columns - 1:
            square = math.isqrt(columns) ** 2 == columns
            only_pixels = " Its rows have no label: give the file to train on." if square else ""
            raise CourseError(f"{path}: {columns} columns, expected a label and 784 pixels, 785.{only_pixels}")
        names = [name.strip(' "\n').lower() for name in head.split(",")]
        heading = int(not names[0].isdecimal())
        if heading and not below:
            raise CourseError(f"{path}: a heading, but no images below it.")
        table = np.loadtxt(path, np.uint8, delimiter=",", skiprows=heading, encoding="utf-8-sig", ndmin=2)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise CourseError(
            f"{path}: not a readable csv of whole numbers from 0 to 255 ({str(error).partition(';')[0]})."
        ) from None
    column = next((names.index(word) for word in ("label", "class", "target") if word in names), 0)
    labels = table[:, column].astype(np.int64)
    images, classes = np.delete(table, column, axis=1).reshape(-1, side, side), _digits(int(labels.max()) + 1)
    return _in_three(name, path, Labelled(images, labels, classes, named=False))


def load_folder(folder: Path, name: str) -> Data:
    """A folder of class folders with pictures of any size, read as grey and brought to 28 x 28."""
    return _in_three(name, folder, read_folder(folder, in_small))


def in_small(picture: Image) -> UInt8[np.ndarray, "28 28"]:
    """A picture in grey, brought to 28 x 28 as it is, without regard to its shape."""
    return np.asarray(picture.convert("L").resize((SIDE, SIDE), Resampling.BILINEAR))


def _in_three(name: str, path: Path, own: Labelled) -> Data:
    return _data(name, *in_three(path, own))


def _data(name: str, own: Labelled, rows: list[Int[np.ndarray, " _"]]) -> Data:
    flat = own.images.reshape(len(own.images), -1)  # (N, H, W[, C]) -> (N, features)
    parts = (Part(flat[part], own.labels[part]) for part in rows)
    return Data(name, own.images.shape[1:], own.classes, *parts, own.named, own.own_test, own.notes)


# ---------------------------------------------------------------- batches


def to_floats(images: UInt8[np.ndarray, "N features"], dtype: type = np.float32) -> Float[np.ndarray, "N features"]:
    """Bytes 0 to 255 as decimals 0 to 1."""
    return images * np.asarray(1 / 255, dtype=dtype)


def shifted(
    images: UInt8[np.ndarray, "N features"], shape: tuple[int, ...], pixels: int, rng: np.random.Generator
) -> np.ndarray:
    """Moves every image by its own random number of pixels, up to `pixels` each way, and fills up with zeros.

    A digit a little to the left is the same digit. Telling the network so is worth more than any regulariser here.
    """
    n, (height, width) = len(images), shape[:2]
    margin = ((0, 0), (pixels, pixels), (pixels, pixels)) + ((0, 0),) * (len(shape) - 2)
    padded = np.pad(images.reshape(n, *shape), margin)
    windows = np.lib.stride_tricks.sliding_window_view(
        padded, (height, width), axis=(1, 2)
    )  # (n, 2p+1, 2p+1, [C,] H, W)
    down, right = rng.integers(0, 2 * pixels + 1, size=(2, n))
    moved = windows[np.arange(n), down, right]
    if len(shape) == 3:
        moved = np.moveaxis(moved, 1, -1)  # (n, C, H, W) -> (n, H, W, C)
    return moved.reshape(n, -1)


def batches(order: Int[np.ndarray, " N"], size: int) -> list[Int[np.ndarray, " batch"]]:
    """The row numbers of an epoch's batches, `size` in each.

    What is left over at the end is dropped: the order changes with every epoch, so each image gets its turn.
    """
    return [order[start : start + size] for start in range(0, len(order) - size + 1, size)]
