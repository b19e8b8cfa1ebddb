"""Scores a trained network on photographs it has not seen: `./course eval 4`."""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shared import cli, runs
from shared.errors import CourseError
from shared.files import read_json, write_json
from week02_cnn import eval as evaluation
from week02_cnn import pictures
from week02_cnn.data import Data
from week02_cnn.train import evaluate
from week04_lightning import train


@dataclass
class Config(evaluation.Config):
    """The flags of eval. --data: default, the data set that the run was trained on."""

    run: str = ""
    """The run's folder (default: week 4's newest)."""
    tta: int = -1
    """Test-time augmentation: 0 none, 1 with the mirror image, 2 with moved ones too (-1: as in the run)."""


PRESETS = {name: {} for name in train.PRESETS}


def main(cfg: Config) -> dict[str, Any]:
    """Reads the test set and shows accuracy beside the baselines, class by class, and the surest mistakes."""
    if cfg.tta not in (-1, 0, 1, 2):
        raise CourseError(f"--tta {cfg.tta}: must be 0, 1 or 2, or -1 for the run's own.")
    run = Path(cfg.run) if cfg.run else runs.newest(train.WEEK_NUMBER)
    trained = train.load_model(run)
    if not (run / "result.json").is_file():
        goes_on = f"./course train 4 --out {shlex.quote(str(run))} --resume"
        raise CourseError(f"{run} has not been trained to its end: `{goes_on}` goes on.")
    own = trained.config.tta if cfg.tta < 0 else cfg.tta
    recipe = replace(trained.config, device=cfg.device, tta=own)
    device = train.choose_device(replace(recipe, devices=1))
    trained.model.cfg = recipe
    name, part = evaluation.part_to_score(cfg, trained)
    photos = Data(name, trained.classes, part, part, part)  # the Trainer only tests: it looks at nothing else
    scored, outputs = train.test(recipe, photos, part, trained.model, device)
    believed = torch.softmax(outputs, dim=1).numpy()
    thought = believed.argmax(axis=1)
    matrix = evaluation.confusion_matrix(part.labels.astype(np.int64), thought, len(trained.classes))
    wrong = int((thought != part.labels).sum())

    result = read_json(run / "result.json")
    models, _ = train.load_baselines(run, trained)
    reached = {
        key: evaluate(model, part, trained.mean, trained.std, train.choose(cfg.device))["accuracy"]
        for key, model in models.items()
    }
    theirs = result["baseline"] | {"test_accuracy": reached[train.LOGISTIC]}
    if "plain" in theirs:
        theirs["plain"] = theirs["plain"] | {"test_accuracy": reached[train.PLAIN]}
    measured = {"test_accuracy": float((thought == part.labels).mean()), "test_loss": scored["loss"]}
    scores = result | {"metrics": result["metrics"] | measured, "baseline": theirs}
    out = Path(cfg.out) if cfg.out else run
    if name == f"{trained.config.data} (test)" and own == trained.config.tta:  # another --tta is another measurement
        write_json(out / "result.json", scores)
    pictures.confusion(out / "confusion.png", matrix, trained.classes)
    rows, titles = evaluation.surest_mistakes(part, believed, trained.classes)
    pictures.mistakes(out / "mistakes.png", part.images[rows], [title.replace("→ ", "→\n") for title in titles])

    print(f"{name}: {len(part):,} images, {wrong:,} mistake{'s' * (wrong != 1)}, --tta {own}. Run: {run}")
    train.print_result(scores, "test_accuracy")
    evaluation.print_classes(matrix, trained.classes)
    evaluation.print_confusion(matrix, trained.classes)
    if titles:
        print("\nsurest mistakes: " + "; ".join(title.replace("→", "taken for") for title in titles[:3]))
    print(f"\npictures: {out / 'confusion.png'}, {out / 'mistakes.png'}")
    return scores | {"run": str(run), "confusion": matrix.tolist()}


if __name__ == "__main__":
    cli.run(main, Config, PRESETS)
