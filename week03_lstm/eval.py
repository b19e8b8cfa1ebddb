"""Scores a trained network on reviews it has not seen: `./course eval 3`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week03_lstm/eval.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared import cli, held_out, runs
from shared.config import EvalConfig, Natural
from shared.device import choose
from shared.errors import CourseError
from shared.scores import confusion_matrix, surest_mistakes
from week03_lstm import data, sentiment_drawing, train
from week03_lstm.sentiment_baselines import CNN, COUNTED
from week03_lstm.trained import Trained, load

WHY = "The bundled sample is a part of IMDB's training reviews."


@dataclass
class Config(EvalConfig):
    """The flags of eval. --data also takes imdb, a folder in its layout, or a .csv or .jsonl[.gz] of your own."""

    text: str = ""
    """The column of your own file that holds the review (default: as in training)."""
    label: str = ""
    """The column that holds the label (default: as in training)."""
    show: Natural = 3
    """How many of the surest mistakes to print."""


def load_reviews(cfg: Config, trained: Trained) -> data.Data:
    """What --data, --text and --label say, each as in training where it says nothing."""
    flags = trained.config
    return data.load(cfg.data or flags.data, cfg.text or flags.text, cfg.label or flags.label)


def counted(trained: Trained, part: data.Part) -> dict[str, float]:
    """The accuracy of the baselines that count, by name, fitted again to what the network was trained on.

    Empty where that is not there any more, and of a run that is older than they are.
    """
    settings = trained.run.baselines.get("counted", {})
    if not settings:
        return {}
    try:
        reviews = trained.reviews().train
    except CourseError as error:
        print(f"{', '.join(settings)}: cannot be fitted again. {error}")
        return {}
    return {name: COUNTED[name](**chosen).fit(reviews).accuracy(part) for name, chosen in settings.items()}


def main(cfg: Config) -> dict[str, Any]:
    """Reads the test set: accuracy beside the baselines, who is taken for whom, and the surest mistakes.

    Returns what result.json holds now; the run folder is under "run", the counts under "confusion".
    """
    device, trained = choose(cfg.device), load(cfg.run, finished=True)
    if not cfg.threads:
        train.use_threads(trained.config)
    reviews = load_reviews(cfg, trained)
    why = WHY if "sample" in (reviews.name, trained.config.data) else ""
    chosen = held_out.choose(trained.run, reviews.name, reviews, "reviews", why)
    part, encoded = chosen.part, trained.encode(chosen.part)
    probs = train.predict(trained.model.to(device.name), encoded)
    preds, accuracy = probs.argmax(axis=1), train.score(probs, part.labels)["accuracy"]
    theirs = counted(trained, part)
    if convolution := trained.convolution():
        theirs[CNN] = train.evaluate(convolution.to(device.name), encoded)["accuracy"]
    constant = runs.constant_answer(part.labels, "test_accuracy")
    theirs[constant["name"]] = constant["test_accuracy"]
    folder = trained.run.folder
    out = trained.run.folder_for(cfg.out, "" if chosen.own else chosen.name)
    result = trained.run.scored({"test_accuracy": accuracy}, theirs, out if chosen.own else None)
    contestants = runs.contestants(result, "test_accuracy")
    sentiment_drawing.bars(out / "accuracy.png", contestants, "test_accuracy", chosen.name)

    matrix = confusion_matrix(part.labels, preds, len(data.CLASSES))
    wrong = int((preds != part.labels).sum())
    spread = 1.96 * np.sqrt(accuracy * (1 - accuracy) / len(part))
    print(f"{chosen.name}: {len(part):,} reviews, {wrong:,} mistake{'s' * (wrong != 1)}. Run: {folder}")
    runs.tell((*chosen.notes, *without_known_words(encoded)))
    runs.print_table(result, "test_accuracy")
    print(f"(with {len(part):,} reviews, chance alone moves an accuracy by ± {spread:.1%}: 95 % interval)")
    print(f"\n{'':20s}" + "".join(f"{'thought ' + label:>18s}" for label in data.CLASSES))
    for label, row in zip(data.CLASSES, matrix, strict=True):
        print(f"{'is ' + label:20s}" + "".join(f"{count:18,}" for count in row))
    print_mistakes(part, probs, cfg.show)
    print(f"\npicture: {out / 'accuracy.png'}")
    return result | {"run": str(folder), "confusion": matrix.tolist()}


def without_known_words(encoded: data.Encoded) -> list[str]:
    """A line about the reviews in which the network knows not one word: it answers the same to all of them."""
    count = sum(set(ids) <= {data.UNK} for ids in encoded.ids)
    return [f"in {count:,} of the reviews the network knows not one word: to these it can only guess"] * (count > 0)


def print_mistakes(part: data.Part, probs: np.ndarray, count: int) -> None:
    """The mistakes that the network was surest of, with the end of each review."""
    rows, _ = surest_mistakes(part.labels, probs, data.CLASSES, count)
    for row in rows:
        verdict, truth = data.CLASSES[probs[row].argmax()], data.CLASSES[part.labels[row]]
        print(f"\nthought {verdict} ({probs[row].max():.1%}), is {truth}:")
        review = " ".join(part.texts[row].replace("<br />", " ").split())
        review = review if len(review) <= 400 else "… " + review[-400:].partition(" ")[2]
        print(textwrap.fill(review, 100, initial_indent="    ", subsequent_indent="    "))


if __name__ == "__main__":
    cli.launch(main, Config)
