"""Scores a trained network on photographs it has not seen: `./course eval 2`."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from jaxtyping import Float, Int

from shared import cli, runs
from shared.device import choose
from shared.errors import CourseError
from shared.files import read_json, write_json
from week02_cnn import data, pictures, train

SURE_MISTAKES = 24  # how many are drawn


@dataclass
class Config(cli.CommonConfig):
    """The flags of eval. --data: default, the data set that the run was trained on."""

    data: str = ""
    """What to score on: the test images of the run's own data set (default) or of another one by name.
    Of a path of your own all images are scored."""
    run: str = ""
    """The run's folder (default: week 2's newest)."""
    out: str = ""
    """Where the pictures go (default: the run's folder)."""

    # Of the common flags these mean nothing here: they are neither offered nor accepted.
    seed: tyro.conf.Suppress[int] = 0
    resume: tyro.conf.Suppress[bool] = False
    preset: tyro.conf.Suppress[str] = "quick"


PRESETS = {name: {} for name in train.PRESETS}


def confusion_matrix(
    labels: Int[np.ndarray, " N"], thought: Int[np.ndarray, " N"], classes: int
) -> Int[np.ndarray, "classes classes"]:
    """How often class i (row) was taken for class j (column), as counts."""
    return np.bincount(labels * classes + thought, minlength=classes * classes).reshape(classes, classes)


def probabilities(trained: train.Trained, part: data.Part, device: train.Device) -> Float[np.ndarray, "N classes"]:
    """What the network believes: the softmax of its logits."""
    outputs = train.logits(trained.model, part, trained.mean, trained.std, device)
    return torch.softmax(outputs, dim=1).numpy()


def part_to_score(cfg: Config, trained: train.Trained) -> tuple[str, data.Part]:
    """The name of what is scored, and the images.

    Raises:
        CourseError: they have more classes, or the network has been trained or chosen on some of them.
    """
    trained_on = trained.config.data
    name = cfg.data or trained_on
    why = "The bundled sample is cut from CIFAR-10's test images."
    if trained_on == "sample" and name == "cifar10":
        raise CourseError(
            "--data cifar10: this network was trained on the bundled sample, so a score on the test images of CIFAR-10 "
            f"would say nothing. ({why})"
        )
    found = data.load(name, trained.side)
    if len(found.classes) > len(trained.classes):
        raise CourseError(f"--data {name}: {len(found.classes)} classes, the network knows {len(trained.classes)}.")
    if name == trained_on:
        return f"{name} (test)", found.test
    named = data.is_named(name)
    part = found.test if named else found.everything
    before = data.load(trained_on, trained.side)
    seen = {image.tobytes() for known in (before.train, before.val) for image in known.images}
    known = sum(image.tobytes() in seen for image in part.images)
    if known:
        raise CourseError(
            f"--data {name}: this network was trained or chosen on {known:,} of these {len(part):,} images "
            f"({trained_on}), so a score on them would say nothing.{f' ({why})' if trained_on == 'sample' else ''}"
        )
    return f"{name} (test)" if named else name, part


def print_classes(matrix: Int[np.ndarray, "classes classes"], classes: Sequence[str]) -> None:
    """Of each class: how many of its images were found, and how many of those called so are it."""
    room = max(12, *map(len, classes))
    print(f"\n{'class':{room}s} {'images':>7s} {'recall':>8s} {'precision':>10s}   most often taken for")
    for label, name in enumerate(classes):
        row, right, called = matrix[label], matrix[label, label], matrix[:, label].sum()
        if not row.sum() and not called:
            continue
        others = np.where(np.arange(len(row)) == label, 0, row)
        rival = f"{classes[others.argmax()]} ({others.max()})" if others.any() else "nothing"
        recall = f"{right / row.sum():8.1%}" if row.sum() else f"{'-':>8s}"
        precision = f"{right / called:10.1%}" if called else f"{'-':>10s}"
        print(f"{name:{room}s} {row.sum():7,} {recall} {precision}   {rival if row.sum() else '-'}")


def print_confusion(matrix: Int[np.ndarray, "classes classes"], classes: Sequence[str]) -> None:
    """The confusion matrix as a table: rows are what it is, columns what was thought, by their first letters."""
    if len(classes) > 20:  # no terminal is that wide; the picture has it
        return
    room, cell = max(map(len, classes)), max(5, len(str(matrix.max())) + 1)
    print(f"\n{'is, thought':>{room}s} " + "".join(f"{name[: cell - 1]:>{cell}s}" for name in classes))
    for name, row in zip(classes, matrix, strict=True):
        print(f"{name:>{room}s} " + "".join(f"{count or '.':>{cell}}" for count in row))


def surest_mistakes(
    part: data.Part, believed: Float[np.ndarray, "N classes"], classes: Sequence[str], count: int = SURE_MISTAKES
) -> tuple[Int[np.ndarray, " mistakes"], list[str]]:
    """Which of the part's images were wrong and surest so, and a title for each: what it is → what was thought."""
    thought = believed.argmax(axis=1)
    wrong = np.flatnonzero(thought != part.labels)
    wrong = wrong[np.argsort(-believed[wrong, thought[wrong]], kind="stable")][:count]
    titles = [f"{classes[part.labels[i]]} → {classes[thought[i]]}  {believed[i, thought[i]]:.0%}" for i in wrong]
    return wrong, titles


def main(cfg: Config) -> dict[str, Any]:
    """Reads the test set and shows accuracy beside the baselines, class by class, and the surest mistakes."""
    device = choose(cfg.device)
    run = Path(cfg.run) if cfg.run else runs.newest(train.WEEK_NUMBER)
    trained = train.load_model(run)
    if not (run / "result.json").is_file():
        goes_on = f"./course train 2 --out {shlex.quote(str(run))} --resume"
        raise CourseError(f"{run} has not been trained to its end: `{goes_on}` goes on.")
    result = read_json(run / "result.json")
    name, part = part_to_score(cfg, trained)
    believed = probabilities(trained, part, device)
    thought = believed.argmax(axis=1)
    matrix = confusion_matrix(part.labels.astype(np.int64), thought, len(trained.classes))
    wrong = int((thought != part.labels).sum())

    def scored(model: torch.nn.Module) -> float:
        return train.evaluate(model, part, trained.mean, trained.std, device)["accuracy"]

    models, _ = train.load_baselines(run)
    theirs = result["baseline"]
    scores = result | {"metrics": result["metrics"] | {"test_accuracy": float((thought == part.labels).mean())}}
    scores["baseline"] = theirs | {"test_accuracy": scored(models[theirs["name"]])}
    scores["baseline"]["mlp"] = theirs["mlp"] | {"test_accuracy": scored(models["mlp"])}
    out = Path(cfg.out) if cfg.out else run
    if name == f"{trained.config.data} (test)":
        write_json(out / "result.json", scores)
    pictures.confusion(out / "confusion.png", matrix, trained.classes)
    rows, titles = surest_mistakes(part, believed, trained.classes)
    pictures.mistakes(out / "mistakes.png", part.images[rows], [title.replace("→ ", "→\n") for title in titles])

    print(f"{name}: {len(part):,} images, {wrong:,} mistake{'s' * (wrong != 1)}. Run: {run}")
    train.print_result(scores, "test_accuracy")
    print_classes(matrix, trained.classes)
    print_confusion(matrix, trained.classes)
    if titles:
        print("\nsurest mistakes: " + "; ".join(title.replace("→", "taken for") for title in titles[:3]))
    print(f"\npictures: {out / 'confusion.png'}, {out / 'mistakes.png'}")
    return scores | {"run": str(run), "confusion": matrix.tolist()}


if __name__ == "__main__":
    cli.run(main, Config, PRESETS)
