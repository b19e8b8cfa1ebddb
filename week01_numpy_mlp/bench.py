"""How fast is a training step, and beside whom? `./course run 1 bench`

One network (784-256-128-10, ReLU), one batch, one data set, plain SGD, for everybody:

    floor           the matrix products of a step and nothing else: what no NumPy program can go below
    fast.py         our step with out= throughout
    model.py        our step as one would write it
    model.py, f64   the same in float64
    scikit-learn    MLPClassifier.partial_fit, float32 data, one epoch a call
    torch           nn.Sequential with a DataLoader over a TensorDataset, as tutorials write it
    torch, sliced   the same without the DataLoader: batches by indexing one tensor
    per sample      a loop over single examples with column vectors, in the manner of Nielsen's first program

The contestants take turns, and each one's best and middle round count: what else the machine does slows a round down
and never speeds one up. One round is one epoch of `--images` random images (their content does not matter to the time).
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import tyro

from shared import cli
from shared.errors import CourseError
from week01_numpy_mlp import data
from week01_numpy_mlp.fast import FastMLP
from week01_numpy_mlp.model import MLP
from week01_numpy_mlp.optim import SGD

SIZES = (784, 256, 128, 10)
LR = 0.05


@dataclass
class Config(cli.CommonConfig):
    """The flags of bench."""

    images: int = 12_000
    """Images per round."""
    rounds: int = 5
    """How often each contestant runs."""
    batch_sizes: tuple[int, ...] = (64, 128)
    """Which batch sizes."""
    threads: tuple[int, ...] = (1, 2)
    """How many BLAS threads, one table each."""
    preset: str = "quick"
    """A set of defaults: `smoke` (one short round), `quick` (minutes), `full` (more images, rounds and batch sizes).
    A flag given by hand wins over the preset."""
    seed: int = 0
    """What the random images and weights follow from. The time does not depend on it."""

    # Of the common flags these mean nothing here: they are neither offered nor accepted.
    data: tyro.conf.Suppress[str] = "sample"
    device: tyro.conf.Suppress[str] = "auto"
    out: tyro.conf.Suppress[str] = ""
    resume: tyro.conf.Suppress[bool] = False


PRESETS: dict[str, dict] = {
    "smoke": {"images": 512, "rounds": 1, "batch_sizes": (64,), "threads": (1,)},
    "quick": {},
    "full": {"images": 60_000, "rounds": 7, "batch_sizes": (64, 128, 256, 512)},
}


def floor(part: data.Part, batch: int) -> Callable[[], None]:
    """The eight matrix products of a step on arrays of the right shapes, and nothing else."""
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((a, b)).astype(np.float32) / 16 for a, b in pairwise(SIZES)]
    outputs, grads = [np.empty_like(w) for w in weights], [rng.random((batch, n), dtype=np.float32) for n in SIZES]
    x = [rng.random((batch, n), dtype=np.float32) for n in SIZES]

    def epoch() -> None:
        for _ in range(len(part) // batch):
            for i in range(3):
                np.matmul(x[i], weights[i], out=x[i + 1])
            for i in (2, 1, 0):
                np.matmul(x[i].T, grads[i + 1], out=outputs[i])
                if i:
                    np.matmul(grads[i + 1], weights[i].T, out=grads[i])

    return epoch


def ours(network: type[MLP], part: data.Part, batch: int, dtype: type = np.float32) -> Callable[[], None]:
    """An epoch of our training loop, as train.py runs it."""
    model = network(SIZES, dtype=dtype)
    optimizer, rng = SGD(model.params), np.random.default_rng(0)

    def epoch() -> None:
        for images, labels in data.batches(part, rng.permutation(len(part)), batch):
            model.loss_and_gradient(data.to_floats(images, dtype), labels)
            optimizer.step(model.grads, LR)

    return epoch


def with_sklearn(part: data.Part, batch: int) -> Callable[[], None]:
    """scikit-learn's MLPClassifier on the same float32 images."""
    from sklearn.neural_network import MLPClassifier

    x = data.to_floats(part.images)
    model = MLPClassifier(SIZES[1:-1], solver="sgd", batch_size=batch, learning_rate_init=LR, momentum=0, alpha=0)
    classes = np.arange(SIZES[-1])

    def epoch() -> None:
        model.partial_fit(x, part.labels, classes=classes)

    return epoch


def with_torch(part: data.Part, batch: int, loader: bool) -> Callable[[], None]:
    """torch.nn on the same float32 images; with a DataLoader, or by indexing the whole tensor with a permutation."""
    import torch

    x, y = torch.from_numpy(data.to_floats(part.images)), torch.from_numpy(part.labels)
    layers = [torch.nn.Linear(784, 256), torch.nn.ReLU(), torch.nn.Linear(256, 128), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    dataset = torch.utils.data.TensorDataset(x, y)
    shuffled = torch.utils.data.DataLoader(dataset, batch_size=batch, shuffle=True, drop_last=True)

    def sliced() -> Any:
        for rows in torch.randperm(len(x)).split(batch):
            if len(rows) == batch:
                yield x[rows], y[rows]

    def epoch() -> None:
        for images, labels in shuffled if loader else sliced():
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()

    return epoch


def per_sample(part: data.Part, batch: int) -> Callable[[], None]:
    """One example at a time, float64 column vectors, gradients added up over the batch: correct, and very slow."""
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((b, a)) / np.sqrt(a) for a, b in pairwise(SIZES)]
    biases = [np.zeros((b, 1)) for b in SIZES[1:]]
    x, y = data.to_floats(part.images, np.float64)[:, :, None], np.eye(SIZES[-1])[part.labels][:, :, None]

    def gradient(example: np.ndarray, target: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        activations = [example]
        for w, b in zip(weights, biases, strict=True):
            activations.append(1 / (1 + np.exp(-(w @ activations[-1] + b))))
        delta = activations[-1] - target
        dw, db = [delta @ activations[-2].T], [delta]
        for i in (2, 1):
            delta = (weights[i].T @ delta) * activations[i] * (1 - activations[i])
            dw.insert(0, delta @ activations[i - 1].T)
            db.insert(0, delta)
        return dw, db

    def epoch() -> None:
        for start in range(0, len(part) - batch + 1, batch):
            sum_w, sum_b = [np.zeros_like(w) for w in weights], [np.zeros_like(b) for b in biases]
            for i in range(start, start + batch):
                dw, db = gradient(x[i], y[i])
                sum_w = [s + d for s, d in zip(sum_w, dw, strict=True)]
                sum_b = [s + d for s, d in zip(sum_b, db, strict=True)]
            for w, b, sw, sb in zip(weights, biases, sum_w, sum_b, strict=True):
                w -= LR / batch * sw
                b -= LR / batch * sb

    return epoch


def contestants(part: data.Part, batch: int) -> dict[str, Callable[[], None]]:
    """Everybody by name."""
    return {
        "floor": floor(part, batch),
        "fast.py": ours(FastMLP, part, batch),
        "model.py": ours(MLP, part, batch),
        "model.py, f64": ours(MLP, part, batch, np.float64),
        "scikit-learn": with_sklearn(part, batch),
        "torch": with_torch(part, batch, loader=True),
        "torch, sliced": with_torch(part, batch, loader=False),
    }


def main(cfg: Config) -> dict[str, Any]:
    """Times a training step against scikit-learn, torch, a per-sample loop and the bare matrix products."""
    try:
        import sklearn  # noqa: F401
        import torch
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise CourseError(f"{error.name} is not installed: `./course run 1 bench` installs it, and races it.") from None
    if min(cfg.rounds, *cfg.batch_sizes, *cfg.threads) < 1 or cfg.images < max(cfg.batch_sizes, default=0):
        raise CourseError("--rounds, --batch-sizes and --threads must be at least 1, and --images a batch or more.")
    rng = np.random.default_rng(cfg.seed)
    pixels = rng.integers(0, 256, (cfg.images, SIZES[0]), dtype=np.uint8)
    part = data.Part(pixels, rng.integers(0, 10, cfg.images))
    enough = max(256, cfg.images // 50, *cfg.batch_sizes)
    few = data.Part(part.images[:enough], part.labels[:enough])
    result: dict[str, Any] = {}
    for threads in cfg.threads:
        torch.set_num_threads(threads)
        with threadpool_limits(threads):
            for batch in cfg.batch_sizes:
                seconds: dict[str, list[float]] = {}
                racers = contestants(part, batch)
                for round_number in range(cfg.rounds + 1):
                    for name, epoch in racers.items():
                        time.sleep(0.1)  # the other library's threads keep a core busy for a moment after their work
                        began = time.perf_counter()
                        epoch()
                        if round_number:  # the first round only warms up
                            seconds.setdefault(name, []).append(time.perf_counter() - began)
                slow = per_sample(few, batch)
                began = time.perf_counter()
                slow()
                seconds["per sample"] = [(time.perf_counter() - began) * (len(part) // batch) / (len(few) // batch)]
                result[f"{threads} threads, batch {batch}"] = report(seconds, threads, batch, len(part))
    return result


def report(seconds: dict[str, list[float]], threads: int, batch: int, images: int) -> dict[str, dict[str, float]]:
    """Prints one table: best round, middle round, and how many times the time of fast.py (best rounds)."""
    reference = min(seconds["fast.py"])
    print(f"\n{threads} thread{'s' * (threads > 1)}, batch {batch}, {images:,} images   best s    median s   x fast.py")
    rows = {}
    for name, times in seconds.items():
        rows[name] = {"best": min(times), "median": statistics.median(times), "ratio": min(times) / reference}
        print(f"  {name:36s}{min(times):8.3f}{statistics.median(times):12.3f}{min(times) / reference:12.2f}")
    print(f"  fast.py runs at {min(seconds['floor']) / reference:.0%} of the floor, model.py at ", end="")
    print(f"{min(seconds['floor']) / min(seconds['model.py']):.0%}")
    return rows


if __name__ == "__main__":
    cli.run(main, Config, PRESETS)
