"""Scores a trained network on pictures it has not seen: `./course eval 13`.

An external set, of another hospital, is given by --data: the drop is the first thing that it shows.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week13_vit/eval.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass
from typing import Any

import numpy as np

from shared import cli, held_out, plots, runs
from shared.config import EvalConfig
from shared.device import choose
from shared.files import read_json
from shared.scores import confusion_matrix, print_classes, print_confusion, surest_mistakes
from week13_vit import data, drawing, looks, measures, train
from week13_vit.trained import Trained, load

SURE_MISTAKES = 24


@dataclass
class Config(EvalConfig):
    """The flags of eval. --data also takes sample_other (another hospital), pneumoniamnist, eurosat, or a path."""


def part_to_score(name: str, trained: Trained) -> held_out.HeldOut:
    """What of `--data name` (default: what it was trained on) the network has not seen, in its numbering of classes.

    Raises:
        CourseError: a class that the network does not know, or nothing that it has not seen.
    """
    own = not name or name == trained.config.data
    name = name or trained.config.data
    pictures = data.load(name, trained.side)
    if own:
        pictures = pictures.first(trained.config.examples, trained.config.seed)
    chosen = held_out.choose(trained.run, name, pictures)
    return held_out.by_name(chosen, pictures.classes if pictures.named else None, trained.classes)


def main(cfg: Config) -> dict[str, Any]:
    """Reads the test set and shows AUROC with its interval beside the baselines', what the threshold that was chosen on
    val makes of it, whether the percentages can be believed, and where the network looks.

    Returns what result.json holds now; the run folder is under "run", the counts under "confusion".
    """
    device, trained = choose(cfg.device), load(cfg.run, finished=True)
    chosen = part_to_score(cfg.data, trained)
    part, folder = chosen.part, trained.folder_for(cfg.out, "" if chosen.own else cfg.data or trained.config.data)
    data.check_part(part, *trained.mean_std)
    labels, classes = part.labels.astype(np.int64), trained.classes
    probs = train.probabilities(trained.model, part, trained.mean_std, device)
    preds = measures.decided(probs, trained.threshold)
    low, high = measures.bootstrap(labels, probs, part.patients.astype(np.int64))
    error, sureness = measures.calibration(labels, probs)
    scores = {"test_auroc": measures.mean_auroc(labels, probs), "test_auroc_low": low, "test_auroc_high": high}
    scores |= {"test_accuracy": float((preds == labels).mean()), "test_ece": error}
    scores |= {f"test_{name}": value for name, value in measures.at_threshold(labels, preds).items()}
    theirs = {name: measures.mean_auroc(labels, train.probabilities(model, part, trained.mean_std, device))
              for name, model in trained.baselines().items()}  # fmt: skip
    constant = runs.constant_answer(labels)["name"]
    pointing = looks.pointing_game(trained, part, preds, device) if part.spots is not None else {}
    scores |= {f"test_pointing_{name}": value for name, value in pointing.items()}
    before = read_json(trained.run.folder / "result.json")["metrics"]
    result = trained.run.scored(scores, theirs | {constant: 0.5}, folder if chosen.own else None)
    matrix = confusion_matrix(labels, preds, len(classes))
    plots.confusion(folder / "confusion.png", matrix, classes)
    drawing.reliability(folder / "reliability.png", sureness, error, len(labels))
    made = ["confusion.png", "mistakes.png", "reliability.png"]
    said = np.where(np.arange(len(classes)) == preds[:, None], np.maximum(probs, 1e-9), 0)  # by the threshold
    rows, titles = surest_mistakes(labels, said, classes, SURE_MISTAKES)
    plots.mistakes(folder / "mistakes.png", part.images[rows].squeeze(-1) if part.images.shape[-1] == 1
                   else part.images[rows], titles)  # fmt: skip

    print(f"{chosen.name}: {len(labels):,} images. Run: {trained.run.folder}")
    runs.tell([*chosen.notes, train.NO_DEVICE])
    runs.print_table(result, "test_auroc")
    print(f"\nAUROC {scores['test_auroc']:.4f}, with 95 % from {low:.4f} to {high:.4f} (1,000 bootstraps)")
    if len(classes) == 2:
        print(f"from a probability of {trained.threshold:.3f} on (chosen on val) {classes[1]} is said: sensitivity "
              f"{scores.get('test_sensitivity', float('nan')):.1%}, specificity "
              f"{scores.get('test_specificity', float('nan')):.1%}")  # fmt: skip
    print(f"balanced accuracy {scores['test_balanced_accuracy']:.1%}; expected calibration error {error:.3f}")
    if not chosen.own:
        which = "test" if "test_auroc" in before else "val"  # its own test part, if that has been read
        there = before[f"{which}_auroc"]
        less = "less" if scores["test_auroc"] < there else "more"
        print(f"its own {which} has AUROC {there:.4f}: {abs(there - scores['test_auroc']):.4f} {less} here")
    print_classes(matrix, classes)
    print_confusion(matrix, classes)
    if pointing:
        looks.print_pointing(pointing)
        looks.draw(folder / "rollout.png", trained, part, preds, device)
        made.append("rollout.png")
    print("\npictures: " + ", ".join(str(folder / name) for name in made))
    return result | {"run": str(trained.run.folder), "confusion": matrix.tolist()}


if __name__ == "__main__":
    cli.launch(main, Config)
