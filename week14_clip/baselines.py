"""What there is to beat: a random order, words of files' names and of tags, and a regression without contrast."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from shared import runs
from week14_clip import data, measures
from week14_clip.features import Features, Pairs
from week14_clip.model import unit

REGRESSION, UNTRAINED = "ridge regression to texts", "the towers before the first step"
STRENGTHS = (0.1, 1.0, 10.0)  # of the pull towards zero, times the mean variance; the best on val is taken


def regression(train: Features, strength: float) -> dict[str, Tensor]:
    """The linear map from a picture's features to the mean features of its texts with the least squared error: it is
    pulled to what is right, and, unlike with InfoNCE, pushed from nothing."""
    owner = torch.from_numpy(train.owner)
    texts = torch.zeros(len(train.pictures), train.texts.shape[1]).index_add_(0, owner, train.texts)
    texts = texts / torch.from_numpy(train.counts)[:, None]  # (N, text_dim)
    x, y = train.pictures - train.pictures.mean(0), texts - texts.mean(0)
    gram = x.T @ x  # (picture_dim, picture_dim)
    pull = strength * gram.diagonal().mean() * torch.eye(len(gram))
    weights = torch.linalg.solve(gram + pull, x.T @ y)  # (picture_dim, text_dim)
    return {"weights": weights, "picture_mean": train.pictures.mean(0), "text_mean": texts.mean(0)}


def by_regression(fitted: dict[str, Tensor], part: Features) -> Float[np.ndarray, "M N"]:
    """How alike each text and picture are to it."""
    pictures = unit((part.pictures - fitted["picture_mean"]) @ fitted["weights"])
    return (unit(part.texts - fitted["text_mean"]) @ pictures.T).numpy()


def fit_regression(train: Features, val: Features) -> dict[str, Tensor]:
    """The one whose pull is best on val."""
    fitted = [regression(train, strength) for strength in STRENGTHS]
    mrr = [measures.summary(measures.ranks(by_regression(one, val), val.right))["mrr"] for one in fitted]
    return fitted[int(np.argmax(mrr))]


def rows(
    pictures: data.Pictures, part: Pairs, fitted: dict[str, Tensor], metric: str, seconds: float = 0.0
) -> list[runs.Row]:
    """{name, params, seconds, METRIC_mrr, METRIC_recall_at_1, …} of each; without a fitted regression of the others."""
    right = part.right
    texts = [text for one in pictures.items for text in one.captions]
    found = {"random order": measures.by_chance(right)}
    if fitted:
        found = {REGRESSION: measures.summary(measures.ranks(by_regression(fitted, part), right)), **found}
    said = {
        "words of the files' names": [data.words_of(one.path) if one.path else "" for one in pictures.items],
        "words of the tags": [" ".join(one.tags) for one in pictures.items],
    }
    for name, answers in said.items():
        if any(answers):
            found[name] = measures.summary(measures.ranks(measures.overlap(texts, answers), right))
    listed: list[dict[str, Any]] = []
    for name, scores in found.items():
        params = fitted["weights"].numel() if name == REGRESSION else 0
        row = {"name": name, "params": params, "seconds": round(seconds, 2) if params else 0.0}
        listed.append(row | {f"{metric}_{key}": value for key, value in scores.items()})
    return listed
