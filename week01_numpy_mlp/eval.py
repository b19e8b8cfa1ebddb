"""Scores a trained network on images it has not seen: `./course eval 1`."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from shared import cli, runs
from shared.errors import CourseError
from shared.files import read_json, write_json
from week01_numpy_mlp import data, pictures, train
from week01_numpy_mlp.model import SoftmaxCrossEntropy


@dataclass
class Config(cli.CommonConfig):
    """The flags of eval. --data: default, the data set that the run was trained on."""

    data: str = ""
    """What to score on: the test images of the run's own data set (default) or of another one by name.
    Of a path of your own all images are scored."""
    run: str = ""
    """The run's folder (default: week 1's newest)."""
    out: str = ""
    """Where the pictures go (default: the run's folder)."""
    device: str = "auto"
    """auto or cpu: this week is NumPy alone."""

    # Of the common flags these mean nothing here: they are neither offered nor accepted.
    seed: tyro.conf.Suppress[int] = 0
    resume: tyro.conf.Suppress[bool] = False
    preset: tyro.conf.Suppress[str] = "quick"


PRESETS = {name: {} for name in train.PRESETS}


def confusion_matrix(labels: np.ndarray, thought: np.ndarray, classes: int) -> np.ndarray:
    """How often class i (row) was taken for class j (column), as counts (classes, classes)."""
    return np.bincount(labels * classes + thought, minlength=classes * classes).reshape(classes, classes)


def probabilities(model: train.MLP, part: data.Part, size: int = 1000) -> np.ndarray:
    """What the network believes, (N, classes): the softmax of its logits, or its sigmoids scaled to a sum of 1."""
    rows = []
    for start in range(0, len(part), size):
        outputs = model.forward(data.to_floats(part.images[start : start + size]))
        if isinstance(model.loss, SoftmaxCrossEntropy):
            outputs = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        rows.append(outputs / outputs.sum(axis=1, keepdims=True))
    return np.concatenate(rows)


def part_to_score(cfg: Config, trained: train.Trained) -> tuple[str, data.Part]:
    """The images to score on, and their name.

    Raises:
        CourseError: they are of another size, have more classes, or the network has been trained on some of them.
    """
    trained_on = trained.config.data
    name = cfg.data or trained_on
    found = data.load(name)
    if tuple(found.shape) != tuple(trained.shape):
        raise CourseError(f"--data {name}: images of {found.shape}, the network was trained on {trained.shape}.")
    if len(found.classes) > len(trained.classes):
        raise CourseError(f"--data {name}: {len(found.classes)} classes, the network knows {len(trained.classes)}.")
    if name == trained_on:
        return f"{name} (test)", found.test
    named = name == "sample" or name in data.ASSETS or data.is_published(name)
    part = found.test if named else found.everything
    seen = {image.tobytes() for image in data.load(trained_on).train.images}
    known = sum(image.tobytes() in seen for image in part.images)
    if known:
        raise CourseError(
            f"--data {name}: this network was trained on {known:,} of these {len(part):,} images ({trained_on}), so "
            "a score on them would say nothing. (The bundled sample is a part of MNIST's training images.)"
        )
    return f"{name} (test)" if named else name, part


def main(cfg: Config) -> dict:
    """Reads the test set and shows accuracy beside the baseline, the confusion matrix and the surest mistakes."""
    train.check_device(cfg)
    run = Path(cfg.run) if cfg.run else runs.newest(train.WEEK_NUMBER)
    trained = train.load_model(run)
    if not (run / "result.json").is_file():
        goes_on = f"./course train 1 --out {shlex.quote(str(run))} --resume"
        raise CourseError(f"{run} has not been trained to its end: `{goes_on}` goes on.")
    result = read_json(run / "result.json")
    name, part = part_to_score(cfg, trained)
    believed = probabilities(trained.model, part)
    thought = believed.argmax(axis=1)
    accuracy = float((thought == part.labels).mean())
    reference = train.evaluate(trained.baseline, part)["accuracy"]
    matrix = confusion_matrix(part.labels, thought, len(trained.classes))

    scores = result | {"metrics": result["metrics"] | {"test_accuracy": accuracy}}
    scores["baseline"] = result["baseline"] | {"test_accuracy": reference}
    out = Path(cfg.out) if cfg.out else run
    if name == f"{trained.config.data} (test)":
        write_json(out / "result.json", scores)
    pictures.confusion(matrix, trained.classes, out / "confusion.png")
    shown = part.images.reshape(-1, *trained.shape)
    pictures.mistakes(shown, part.labels, believed, trained.classes, out / "mistakes.png")

    wrong = int((thought != part.labels).sum())
    print(f"{name}: {len(part):,} images, {wrong:,} mistake{'s' * (wrong != 1)}. Run: {run}")
    train.print_result(scores, "test_accuracy")
    print("\nclass         images   right   most often taken for")
    for label, label_name in enumerate(trained.classes):
        row = matrix[label]
        others = np.delete(row, label)
        if row.sum():
            rival = trained.classes[int(np.flatnonzero(np.arange(len(row)) != label)[others.argmax()])]
            taken = f"{rival} ({others.max()})" if others.max() else "nothing"
            print(f"{label_name:12s} {row.sum():7,}  {row[label] / row.sum():6.1%}   {taken}")
    print(f"\npictures: {out / 'confusion.png'}, {out / 'mistakes.png'}")
    return scores | {"run": str(run), "confusion": matrix.tolist()}


if __name__ == "__main__":
    cli.run(main, Config, PRESETS)
