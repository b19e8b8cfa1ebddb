"""Scores a trained network on photographs it has not seen: `./course eval 4`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from shared import cli, runs
from shared.config import EvalConfig
from shared.device import choose
from shared.scores import confusion_matrix, print_classes, print_confusion, surest_mistakes
from week02_cnn import drawing
from week02_cnn.data import Data
from week02_cnn.eval import SURE_MISTAKES, part_to_score
from week02_cnn.train import evaluate
from week04_lightning import train
from week04_lightning.trained import load


@dataclass
class Config(EvalConfig):
    """The flags of eval. --data also takes cifar10, a folder of class folders, or an .npz."""

    tta: Literal[-1, 0, 1, 2] = -1
    """Test-time augmentation: 0 none, 1 with the mirror image, 2 with moved ones too (-1: as in the run)."""


def main(cfg: Config) -> dict[str, Any]:
    """Reads the test set and shows accuracy beside the baselines, class by class, and the surest mistakes.

    Returns what result.json holds now; the run folder is under "run", the counts under "confusion".
    """
    trained = load(cfg.run, finished=True)
    folder, classes = trained.run.folder, trained.classes
    tta = trained.config.tta if cfg.tta < 0 else cfg.tta
    recipe = trained.model.cfg = replace(trained.config, device=cfg.device, devices=1, tta=tta)
    device = train.choose_device(recipe)
    name, part = part_to_score(cfg.data, trained)
    photos = Data(name, classes, part, part, part)  # the Trainer only tests: it looks at nothing else
    _, logits = train.test(recipe, photos, part, trained.model, device)
    probs = torch.softmax(logits, dim=1).numpy()
    preds = probs.argmax(axis=1)
    matrix = confusion_matrix(part.labels.astype(np.int64), preds, len(classes))
    wrong = int((preds != part.labels).sum())
    theirs = {
        baseline: evaluate(model, part, trained.mean, trained.std, choose(cfg.device))["accuracy"]
        for baseline, model in trained.baselines().items()
    }
    constant = runs.constant_answer(part.labels, "test_accuracy")
    theirs[constant["name"]] = constant["test_accuracy"]
    out = Path(cfg.out) if cfg.out else folder
    own = name == f"{trained.config.data} (test)" and tta == trained.config.tta  # another --tta measures another thing
    result = trained.run.scored({"test_accuracy": float((preds == part.labels).mean())}, theirs, out if own else None)
    drawing.confusion(out / "confusion.png", matrix, classes)
    rows, titles = surest_mistakes(part.labels, probs, classes, SURE_MISTAKES)
    drawing.mistakes(out / "mistakes.png", part.images[rows], titles)

    print(f"{name}: {len(part):,} images, {wrong:,} mistake{'s' * (wrong != 1)}, --tta {tta}. Run: {folder}")
    runs.print_table(result, "test_accuracy")
    print_classes(matrix, classes)
    print_confusion(matrix, classes)
    if titles:
        print("\nsurest mistakes: " + "; ".join(title.replace("→", "taken for") for title in titles[:3]))
    print(f"\npictures: {out / 'confusion.png'}, {out / 'mistakes.png'}")
    return result | {"run": str(folder), "confusion": matrix.tolist()}


if __name__ == "__main__":
    cli.launch(main, Config)
