"""Scores a trained network on reviews it has not seen: `./course eval 3`."""

import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from shared import cli, device, runs
from shared.errors import CourseError
from shared.files import read_json, write_json
from week03_lstm import baselines, data, pictures, train

FEW = 0.01  # of the texts may have been seen in training: these are left out. With more the score is refused


@dataclass
class Config(cli.CommonConfig):
    """The flags of eval. --data: default, the data set that the run was trained on."""

    data: str = ""
    """What to score on: the test reviews of the run's own data set (default) or of another one by name.
    Of a file of your own all reviews are scored."""
    text: str = ""
    """The column of your own file that holds the review (default: as in training)."""
    label: str = ""
    """The column that holds the label (default: as in training)."""
    run: str = ""
    """The run's folder (default: week 3's newest)."""
    out: str = ""
    """Where the picture goes (default: the run's folder)."""
    show: int = 3
    """How many of the surest mistakes to print."""

    # Of the common flags these mean nothing here: they are neither offered nor accepted.
    seed: tyro.conf.Suppress[int] = 0
    resume: tyro.conf.Suppress[bool] = False
    preset: tyro.conf.Suppress[str] = "quick"


PRESETS = {name: {} for name in train.PRESETS}


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
            f"--data {name}: this network was trained on {known:,} of these {len(part):,} reviews "
            f"({trained_on.data}, train and val), so a score on them would say nothing. (The bundled sample is a part "
            "of IMDB's training reviews.)"
        )
    part = data.Part([part.texts[row] for row in fresh], part.labels[fresh])
    return f"{name} (test)" if named else name, part, own, known


def main(cfg: Config) -> dict:
    """Reads the test set: accuracy beside the baselines, who is taken for whom, and the surest mistakes."""
    run = Path(cfg.run) if cfg.run else runs.newest(train.WEEK_NUMBER)
    chosen = device.choose(cfg.device)
    trained = train.load_model(run)
    if not (run / "result.json").is_file():
        goes_on = f"./course train 3 --out {shlex.quote(str(run))} --resume"
        raise CourseError(f"{run} has not been trained to its end: `{goes_on}` goes on.")
    result = read_json(run / "result.json")
    name, part, own, left_out = part_to_score(cfg, trained.config)
    encoded = train.encode(part, trained.vocabulary, trained.config.max_len)
    believed = train.predict(trained.model.to(chosen.name), encoded)
    accuracy = train.score(believed, part.labels)["accuracy"]

    theirs = result["baseline"]
    bag = baselines.BagOfWords(theirs["C"]).fit(own.train)
    scores = result | {"metrics": result["metrics"] | {"test_accuracy": accuracy}}
    scores["baseline"] = theirs | {
        "test_accuracy": bag.accuracy(part),
        "majority": theirs["majority"] | {"test_accuracy": baselines.majority(own.train, part)},
    }
    if trained.peer:
        of_peer = train.evaluate(trained.peer.to(chosen.name), encoded)["accuracy"]
        scores["baseline"]["cnn"] = theirs["cnn"] | {"test_accuracy": of_peer}
    out = Path(cfg.out) if cfg.out else run
    if name == f"{trained.config.data} (test)":
        write_json(out / "result.json", scores)
    pictures.bars(scores | {"data": name}, "test_accuracy", out / "test_accuracy.png")

    thought = believed.argmax(axis=1)
    matrix = np.bincount(part.labels * 2 + thought, minlength=4).reshape(2, 2)
    wrong = int((thought != part.labels).sum())
    spread = 1.96 * np.sqrt(accuracy * (1 - accuracy) / len(part))
    print(f"{name}: {len(part):,} reviews, {wrong:,} mistake{'s' * (wrong != 1)}. Run: {run}")
    if left_out:
        print(f"({left_out:,} more were left out: this network has seen them in training)")
    train.print_result(scores, "test_accuracy")
    print(f"(with {len(part):,} reviews, chance alone moves an accuracy by ± {spread:.1%}: 95 % interval)")
    print(f"\n{'':20s}" + "".join(f"{'thought ' + label:>18s}" for label in data.CLASSES))
    for label, row in zip(data.CLASSES, matrix, strict=True):
        print(f"{'is ' + label:20s}" + "".join(f"{count:18,}" for count in row))
    print_mistakes(part, believed, cfg.show)
    print(f"\npicture: {out / 'test_accuracy.png'}")
    return scores | {"run": str(run), "confusion": matrix.tolist()}


def print_mistakes(part: data.Part, believed: np.ndarray, count: int) -> None:
    """The mistakes that the network was surest of, with the end of each review."""
    sure = believed.max(axis=1)
    wrong = np.flatnonzero(believed.argmax(axis=1) != part.labels)
    for row in wrong[np.argsort(-sure[wrong], kind="stable")][:count]:
        verdict, truth = data.CLASSES[believed[row].argmax()], data.CLASSES[part.labels[row]]
        print(f"\nthought {verdict} ({sure[row]:.1%}), is {truth}:")
        review = " ".join(part.texts[row].replace("<br />", " ").split())
        review = review if len(review) <= 400 else "… " + review[-400:].partition(" ")[2]
        print(textwrap.fill(review, 100, initial_indent="    ", subsequent_indent="    "))


if __name__ == "__main__":
    cli.run(main, Config, PRESETS)
