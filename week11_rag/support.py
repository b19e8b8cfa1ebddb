"""Is there an answer in these passages at all? Features of the search, and a logistic regression over them.

A near miss is what makes this hard: a question in the words of the document, about something that the document does not
say. Its passages are near it in meaning. What gives it away is a word that none of them has, a number that is asked for
and is not there, or that no single sentence has its words together.

References
    P. Rajpurkar, R. Jia, P. Liang, arXiv:1806.03822: questions that are like others, and have no answer
    A. Kamath, R. Jia, P. Liang, arXiv:2006.09462: a small model over features says when to answer
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from shared.errors import CourseError
from shared.files import read_json, write_json
from week11_rag import measures, wording
from week11_rag.data import Question
from week11_rag.extractive import reader_of
from week11_rag.retrieve import Passage, Retriever

NAMES = ("cover", "unknown", "sentence", "numberless")
FOLDS = 5
STRENGTH = 0.3  # scikit-learn's C: the smaller, the smaller the weights
NEVER = "\0"  # a word that no document has
NEAR = 4  # sentences that are searched for a number
COUNT = "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|hundred|thousand"
NUMBER = re.compile(rf"\d[\d.,]*(?:-\d+)?|{COUNT}")
UNIT = "seconds?|minutes?|hours?|days?|weeks?|months?|years?|characters?|columns?|lines?|times?|bits|bytes?"
TIME = re.compile(
    rf"\b(?:\d[\d.,]*|{COUNT}|an?|several|half)[\s-]+(?:{UNIT})\b|\b(?:19|20)\d\d\b|\b(?:once|twice|daily|weekly|monthly|"
    r"yearly|annual|annually|every)\b",
    re.I,
)
TIME_ASKED = re.compile(r"\bhow (?:long|often|fast|old|far)\b|^when\b|\b(?:which|what) (?:day|date|year|month)\b", re.I)
AMOUNT_ASKED = re.compile(r"\bhow (?:much|large|big|tall|heavy)\b|\b(?:price|cost|password|phone number)\b", re.I)
DEFAULT = Path(__file__).with_name("support.json")


@dataclass(frozen=True)
class Verdict:
    """Whether there is support, how probable that is, and from which features that follows."""

    supported: bool
    probability: float
    features: Mapping[str, float]


def features(question: str, passages: Sequence[Passage], retriever: Retriever) -> dict[str, float]:
    """What the search tells about the support of a question.

    Returns:
        cover: the share of the question's words, by their weight (idf), that the passage with most of them has.
        unknown: the share of those that are nowhere in the documents.
        sentence: the cosine of the question and the nearest sentence of the passages.
        numberless: 1 where a number, a date or a duration is asked for and no sentence near the question has one that
            fits, else 0.
    """
    reader = reader_of(retriever)
    ranked = reader.rank(question, passages)
    asked = {stem: reader.weight(stem) for stem in wording.content(question)}
    total, never = sum(asked.values()) or 1.0, reader.weight(NEVER)
    have = [set(wording.content(passage.chunk.embedded)) for passage in passages]
    return {
        "cover": max((sum(asked[stem] for stem in asked if stem in words) for words in have), default=0.0) / total,
        "unknown": sum(weight for weight in asked.values() if weight >= never) / total,
        "sentence": max((one.cosine for one in ranked), default=0.0),
        "numberless": float(numberless(question, [one.text for one in ranked[:NEAR]])),
    }


def numberless(question: str, texts: Sequence[str]) -> bool:
    """Whether a question asks for a number, and none of these texts has one that would do: `how many days` wants one
    right before `days`, `how long` and `when` a date or a time, `how much` any digit."""
    text = "\n".join(texts)
    if many := re.search(r"\bhow many (?:more |other |open |different )?([\w-]+)", question, re.I):
        words, unit = wording.words(text), wording.stem(many[1].lower())
        near = (words[max(0, at - 3) : at] for at, word in enumerate(words) if wording.stem(word) == unit)
        return not any(NUMBER.fullmatch(word) for before in near for word in before)
    if TIME_ASKED.search(question):
        return not TIME.search(text)
    return bool(AMOUNT_ASKED.search(question)) and not re.search(r"\d", text)


@dataclass(frozen=True)
class Support:
    """A logistic regression over standardised features.

    Attributes:
        names: of the features.
        mean, scale: of each, over the questions that it was fitted on.
        weights, bias: of the regression: what speaks for an answer is positive.
        threshold: the least probability that is believed.
        scores: of cross-validation: refusal_precision, refusal_recall, refusal_f1.
        questions: how many it was fitted on.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    threshold: float
    scores: Mapping[str, float]
    questions: int = 0

    def probability(self, row: Mapping[str, float]) -> float:
        """How probable it is that there is an answer: 1 / (1 + e^-z)."""
        z = self.bias
        for name, mean, scale, weight in zip(self.names, self.mean, self.scale, self.weights, strict=True):
            z += weight * (row[name] - mean) / scale
        return float(1 / (1 + np.exp(-z)))

    def judge(self, question: str, passages: Sequence[Passage], retriever: Retriever) -> Verdict:
        """Whether the passages, as `retriever` found them for the question, answer it."""
        row = features(question, passages, retriever)
        probability = self.probability(row)
        return Verdict(bool(passages) and probability >= self.threshold, probability, row)

    def save(self, path: Path) -> None:
        """Writes it as JSON."""
        write_json(path, asdict(self))


def load(path: str | Path | None = None) -> Support:
    """Reads what `save` wrote; None: the weights that come with the week, for documents without questions.

    Raises:
        CourseError: the file is not there, or not what `save` writes.
    """
    path = Path(path or DEFAULT)
    kept = read_json(path)
    try:
        rows = {name: tuple(map(float, kept[name])) for name in ("mean", "scale", "weights")}
        found = Support(tuple(kept["names"]), rows["mean"], rows["scale"], rows["weights"], float(kept["bias"]),
                        float(kept["threshold"]), dict(kept["scores"]), int(kept["questions"]))  # fmt: skip
        lengths = {len(found.names), *map(len, rows.values())}
        if len(lengths) > 1 or not set(found.names) <= set(NAMES) or min(found.scale) <= 0:
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError):
        raise CourseError(f"{path} does not hold the weights of a support. Train again, or take another run.") from None
    return found


# ---------------------------------------------------------------- fitting


def fit(questions: Sequence[Question], retriever: Retriever, seed: int = 0, k: int = 5) -> Support:
    """Fits it on questions, both answerable and not: on a bootstrap of them that the seed draws.

    The threshold is chosen by cross-validation, for the F1 of refusals. `scores` are those of questions that neither
    the weights nor the threshold had seen: folds around the folds (nested cross-validation).

    Raises:
        CourseError: there are too few questions of either kind.
    """
    answerable = np.array([question.answerable for question in questions], bool)
    least = min(int(answerable.sum()), int((~answerable).sum()))
    if least < FOLDS:
        raise CourseError(f"{least} questions with or without an answer: at least {FOLDS} of each kind are needed.")
    found = [retriever.search(question.text, k) for question in questions]
    reader_of(retriever).sentences.add([passage.chunk for passages in found for passage in passages])
    pairs = zip(questions, found, strict=True)
    every = [features(question.text, passages, retriever) for question, passages in pairs]
    rows = np.array([[row[name] for name in NAMES] for row in every])
    return fitted(rows, answerable, seed)


def fitted(rows: Float[np.ndarray, "questions features"], answerable: np.ndarray, seed: int = 0) -> Support:
    """The same from the features, in the order of NAMES."""
    rng = np.random.default_rng(seed)
    drawn = np.concatenate([rng.choice(np.flatnonzero(answerable == kind), (answerable == kind).sum())
                            for kind in (True, False)])  # fmt: skip
    x, y = rows[drawn], answerable[drawn]
    probabilities, refused = np.zeros(len(y)), np.zeros(len(y), bool)
    for held in folds(drawn, y, seed):
        inner = np.zeros(len(y))
        for also in folds(drawn[~held], y[~held], seed + 1):
            inside = np.flatnonzero(~held)
            inner[inside[also]] = proba(regression(x[inside[~also]], y[inside[~also]]), x[inside[also]])
        probabilities[held] = proba(regression(x[~held], y[~held]), x[held])
        refused[held] = probabilities[held] < threshold(inner[~held], y[~held])
    mean, scale, weights, bias = regression(x, y)
    scores = {f"refusal_{name}": value for name, value in measures.refusals(refused, y).items()}
    return Support(NAMES, *(tuple(map(float, row)) for row in (mean, scale, weights)), float(bias),
                   threshold(probabilities, y), scores, len(answerable))  # fmt: skip


def folds(drawn: np.ndarray, answerable: np.ndarray, seed: int) -> list[np.ndarray]:
    """FOLDS masks, in which every question is once, with all its doubles."""
    rng, masks = np.random.default_rng(seed), [np.zeros(len(drawn), bool) for _ in range(FOLDS)]
    for kind in (True, False):
        for turn, question in enumerate(rng.permutation(np.unique(drawn[answerable == kind]))):
            masks[turn % FOLDS] |= drawn == question
    return masks


def regression(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """(mean, scale, weights, bias) of a logistic regression of scikit-learn on standardised columns."""
    from sklearn.linear_model import LogisticRegression

    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale < 1e-9] = 1.0
    model = LogisticRegression(C=STRENGTH, class_weight="balanced").fit((x - mean) / scale, y)
    return mean, scale, model.coef_[0], float(model.intercept_[0])


def proba(model: tuple[np.ndarray, np.ndarray, np.ndarray, float], x: np.ndarray) -> np.ndarray:
    mean, scale, weights, bias = model
    return 1 / (1 + np.exp(-((x - mean) / scale @ weights + bias)))


def threshold(probabilities: np.ndarray, answerable: np.ndarray) -> float:
    """What refuses with the best F1 whatever is below it; of several the middle one."""
    grid = np.linspace(0.02, 0.98, 97)
    scores = [measures.refusals(probabilities < at, answerable)["f1"] for at in grid]
    best = np.flatnonzero(np.isclose(scores, max(scores)))
    return float(grid[best[len(best) // 2]])
