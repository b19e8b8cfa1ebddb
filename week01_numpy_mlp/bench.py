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

One round is one epoch of `--images` random images, whose content does not matter to the time (per sample: of fewer, and
its time is scaled up). How the contestants take turns and what counts: shared/race.py.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week01_numpy_mlp/bench.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import numpy as np

from shared import cli, race, results
from shared.config import Count
from shared.errors import CourseError
from week01_numpy_mlp import data
from week01_numpy_mlp.fast import FastMLP
from week01_numpy_mlp.model import MLP
from week01_numpy_mlp.optim import SGD

SIZES = (784, 256, 128, 10)
LR = 0.05
PEER = "torch"


@dataclass
class Config(race.BenchConfig):
    """The flags of bench."""

    images: Count = 12_000
    """Images per round."""
    batch_sizes: tuple[Count, ...] = (64, 128)
    """Which batch sizes, one table each."""
    preset: str = "quick"
    """A set of defaults: `smoke` (one short round), `quick` (minutes), `full` (more images, rounds and batch sizes).
    A flag given by hand wins over the preset."""


PRESETS: dict[str, dict[str, Any]] = {
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
        for rows in data.batches(rng.permutation(len(part)), batch):
            model.loss_and_gradient(data.to_floats(part.images[rows], dtype), part.labels[rows])
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


def contestants(part: data.Part, few: data.Part, batch: int) -> dict[str, Callable[[], None]]:
    """Everybody by name; the loop over single examples gets few of them."""
    return {
        "floor": floor(part, batch),
        "fast.py": ours(FastMLP, part, batch),
        "model.py": ours(MLP, part, batch),
        "model.py, f64": ours(MLP, part, batch, np.float64),
        "scikit-learn": with_sklearn(part, batch),
        PEER: with_torch(part, batch, loader=True),
        "torch, sliced": with_torch(part, batch, loader=False),
        "per sample": per_sample(few, batch),
    }


def bench_step(cfg: Config, batch: int, threads: int) -> tuple[str, dict[str, dict[str, float]]]:
    """An epoch of everybody's training: a table, and its numbers."""
    rng = np.random.default_rng(cfg.seed)
    pixels = rng.integers(0, 256, (cfg.images, SIZES[0]), dtype=np.uint8)
    part = data.Part(pixels, rng.integers(0, 10, cfg.images))
    enough = min(cfg.images, max(256, cfg.images // 50, batch))
    few = data.Part(part.images[:enough], part.labels[:enough])
    # The other library's threads keep a core busy for a moment after their work.
    laps = race.take_turns(contestants(part, few, batch), cfg.rounds, rest=0.1)
    scale, slow = (len(part) // batch) / (len(few) // batch), laps["per sample"]
    laps["per sample"] = race.Laps([scale * lap for lap in slow.clock], [scale * lap for lap in slow.process])
    images = len(part) // batch * batch
    table, found = race.table(laps, dict.fromkeys(laps, images), "images", PEER, threads)
    best = {name: row["best"] for name, row in found.items()}
    text = f"Batch {batch}; scikit-learn {version('scikit-learn')}.\n\n{table}\n\nfast.py runs at "
    text += f"{best['floor'] / best['fast.py']:.0%} of the floor, model.py at {best['floor'] / best['model.py']:.0%}."
    return text, found


def main(cfg: Config) -> dict[str, Any]:
    """Times a training step against scikit-learn, torch, a per-sample loop and the bare matrix products."""
    try:
        import sklearn  # noqa: F401
        import threadpoolctl  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise CourseError(f"{error.name} is not installed: `./course run 1 bench` installs it, and races it.") from None
    if not cfg.batch_sizes or cfg.images < max(cfg.batch_sizes):
        raise CourseError(f"--images {cfg.images}: must be at least a batch, and --batch-sizes one number or more.")
    result, texts = {}, []
    for threads in race.thread_counts(cfg.threads):
        texts.append(race.circumstances(cfg.rounds, threads))
        print(f"\n{texts[-1]}")
        for batch in cfg.batch_sizes:
            with race.on_threads(threads):
                text, result[f"{threads} threads, batch {batch}"] = bench_step(cfg, batch, threads)
            texts.append(text)
            print(f"\n{text}")
    if cfg.publish:
        results.publish(1, "bench step", "\n\n".join(texts))
    return result


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
