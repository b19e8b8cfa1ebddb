"""Scores a trained network on reviews it has not seen: `./course eval 3`."""

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared import cli, runs
from shared.config import EvalConfig, Natural
from shared.device import choose
from shared.errors import CourseError
from shared.scores import confusion_matrix, surest_mistakes
from week03_lstm import data, sentiment_drawing, train
from week03_lstm.sentiment_baselines import BAG_OF_WORDS, CNN, BagOfWords
from week03_lstm.trained import load

FEW = 0.01  # of the texts may have been seen in training: these are left out. With more the score is refused


@dataclass
class Config(EvalConfig):
    """The flags of eval. --data also takes imdb, a folder in its layout, or a .csv or .jsonl[.gz] of your own."""

    text: str = ""
    """The column of your own file that holds the review (default: as in training)."""
    label: str = ""
    """The column that holds the label (default: as in training)."""
    show: Natural = 3
    """How many of the surest mistakes to print."""


def part_to_score(cfg: Config, trained_on: train.Config) -> tuple[str, data.Part, data.Data, int]:
    """The reviews to score on, their name, what the run was trained on, and how many were left out as already seen.

    Raises:
        CourseError: the network has been trained, or chosen, on more than a few of them.
    """
    own = data.load(trained_on.data, trained_on.text, trained_on.label)
    name = cfg.data or trained_on.data
    if name == trained_on.data:
        return f"{name} (test)", own.test, own, 0
    found = data.load(name, cfg.text or trained_on.text, cfg.label or trained_on.label)
    named = name in ("sample", "imdb") or data.is_published(name)
    part = found.test if named else found.everything
    seen = {data.same(text) for known in (own.train, own.val) for text in known.texts}
    fresh = [row for row, text in enumerate(part.texts) if data.same(text) not in seen]
    known = len(part) - len(fresh)
    if known > FEW * len(part):
        raise CourseError(
            f"--data {name}: this network was trained or chosen on {known:,} of these {len(part):,} reviews "
            f"({trained_on.data}, train and val), so a score on them would say nothing. (The bundled sample is a part "
            "of IMDB's training reviews.)"
        )
    part = data.Part([part.texts[row] for row in fresh], part.labels[fresh])
    return f"{name} (test)" if named else name, part, own, known


def main(cfg: Config) -> dict[str, Any]:
    """Reads the test set: accuracy beside the baselines, who is taken for whom, and the surest mistakes.

    Returns what result.json holds now; the run folder is under "run", the counts under "confusion".
    """
    device, trained = choose(cfg.device), load(cfg.run, finished=True)
    folder = trained.run.folder
    train.use_threads(trained.config)
    name, part, own, left_out = part_to_score(cfg, trained.config)
    encoded = trained.encode(part)
    probs = train.predict(trained.model.to(device.name), encoded)
    preds, accuracy = probs.argmax(axis=1), train.score(probs, part.labels)["accuracy"]
    theirs = {BAG_OF_WORDS: BagOfWords(trained.run.baselines["C"]).fit(own.train).accuracy(part)}
    if convolution := trained.convolution():
        theirs[CNN] = train.evaluate(convolution.to(device.name), encoded)["accuracy"]
    constant = runs.constant_answer(part.labels, "test_accuracy")
    theirs[constant["name"]] = constant["test_accuracy"]
    out = Path(cfg.out) if cfg.out else folder
    is_own = name == f"{trained.config.data} (test)"
    result = trained.run.scored({"test_accuracy": accuracy}, theirs, out if is_own else None)
    sentiment_drawing.bars(out / "test_accuracy.png", runs.contestants(result), "test_accuracy", name)

    matrix = confusion_matrix(part.labels, preds, len(data.CLASSES))
    wrong = int((preds != part.labels).sum())
    spread = 1.96 * np.sqrt(accuracy * (1 - accuracy) / len(part))
    print(f"{name}: {len(part):,} reviews, {wrong:,} mistake{'s' * (wrong != 1)}. Run: {folder}")
    if left_out:
        print(f"({left_out:,} more were left out: this network has seen them in training)")
    runs.print_table(result, "test_accuracy")
    print(f"(with {len(part):,} reviews, chance alone moves an accuracy by ± {spread:.1%}: 95 % interval)")
    print(f"\n{'':20s}" + "".join(f"{'thought ' + label:>18s}" for label in data.CLASSES))
    for label, row in zip(data.CLASSES, matrix, strict=True):
        print(f"{'is ' + label:20s}" + "".join(f"{count:18,}" for count in row))
    print_mistakes(part, probs, cfg.show)
    print(f"\npicture: {out / 'test_accuracy.png'}")
    return result | {"run": str(folder), "confusion": matrix.tolist()}


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
