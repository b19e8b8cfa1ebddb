"""Is there an answer in these passages at all? Features of the search, and a logistic regression over them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from week11_rag.data import Question
from week11_rag.retrieve import Passage, Retriever


@dataclass(frozen=True)
class Verdict:
    """Whether there is support, how probable that is, and from which features that follows."""

    supported: bool
    probability: float
    features: Mapping[str, float]


@dataclass(frozen=True)
class Support:
    """A logistic regression over standardised features; `threshold` is the least probability that is believed.

    `scores` are those of cross-validation on the questions it was fitted on: refusal_precision, refusal_recall,
    refusal_f1; `questions` is how many these were.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    threshold: float
    scores: Mapping[str, float]
    questions: int = 0

    def judge(self, question: str, passages: Sequence[Passage], retriever: Retriever) -> Verdict:
        """Whether the passages, as `retriever` found them for the question, answer it."""
        raise NotImplementedError

    def save(self, path: Path) -> None:
        """Writes it as JSON."""
        raise NotImplementedError


def load(path: Path | None = None) -> Support:
    """Reads what `save` wrote; None: the weights that come with the week, for documents without questions.

    Raises:
        CourseError: the file is not there, or not what `save` writes.
    """
    raise NotImplementedError


def fit(questions: Sequence[Question], retriever: Retriever, seed: int = 0, k: int = 5) -> Support:
    """Fits it on questions, both answerable and not: on a bootstrap of them that the seed draws.

    The threshold is chosen by cross-validation, for the F1 of refusals; `scores` come from folds that were not fitted on.

    Raises:
        CourseError: there are too few questions of either kind.
    """
    raise NotImplementedError


def features(question: str, passages: Sequence[Passage], retriever: Retriever) -> dict[str, float]:
    """What the search tells about the support of a question, by name."""
    raise NotImplementedError
