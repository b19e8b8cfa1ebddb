"""How good a diagnosis is: what does not depend on a threshold, what does, and whether the percentages mean anything.

scores are probabilities of the second class (N,), or of all classes (N, classes); labels are 0, 1, ….

References
    J. Hanley, B. McNeil, "The meaning and use of the area under a ROC curve", Radiology 143, 1982: AUROC is the chance
        that of a sick and a healthy person drawn at random the sick one gets the higher score
    B. Efron, R. Tibshirani, "An introduction to the bootstrap", 1993
    C. Guo et al., "On calibration of modern neural networks", arXiv:1706.04599: the expected calibration error
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

Labels = Int[np.ndarray, " N"]
Scores = Float[np.ndarray, " N"]
Probs = Float[np.ndarray, "N classes"]


def auroc(labels: Labels, scores: Scores) -> float:
    """By ranks (Mann and Whitney): equal scores share theirs. NaN where one of the two classes is not there."""
    _, groups, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[groups]  # from 1 on, the mean of those that are equal
    sick = labels == 1
    many, others = int(sick.sum()), int((~sick).sum())
    if not many or not others:
        return float("nan")
    return float((ranks[sick].sum() - many * (many + 1) / 2) / (many * others))


def mean_auroc(labels: Labels, probs: Probs) -> float:
    """Of two classes the AUROC of the second; of more the mean over each against the rest, of those that occur."""
    if probs.shape[1] == 2:
        return auroc(labels, probs[:, 1])
    each = [auroc((labels == k).astype(np.int64), probs[:, k]) for k in range(probs.shape[1]) if (labels == k).any()]
    return float(np.nanmean(each)) if not np.isnan(each).all() else float("nan")


def bootstrap(
    labels: Labels, probs: Probs, groups: Labels, times: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """The interval in which the AUROC lies if other people of the same kind had come: people are drawn anew with
    replacement, all pictures of one (`groups`) together."""
    rng, found = np.random.default_rng(seed), []
    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order, starts = np.argsort(group, kind="stable"), np.cumsum(counts) - counts
    for _ in range(times):
        drawn = rng.integers(len(counts), size=len(counts))
        if counts.max() == 1:
            rows = order[starts[drawn]]
        else:
            rows = np.concatenate([order[starts[one] : starts[one] + counts[one]] for one in drawn])
        value = mean_auroc(labels[rows], probs[rows])
        if not np.isnan(value):
            found.append(value)
    if not found:
        return float("nan"), float("nan")
    low, high = np.quantile(found, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def best_threshold(labels: Labels, scores: Scores) -> float:
    """The threshold with the best balanced accuracy, half-way between two scores; called on val, never on test."""
    levels = np.unique(scores)
    if len(levels) < 2:
        return 0.5
    cuts = (levels[1:] + levels[:-1]) / 2
    sick, well = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    if not len(sick) or not len(well):
        return 0.5
    sensitivity = 1 - np.searchsorted(sick, cuts) / len(sick)
    specificity = np.searchsorted(well, cuts) / len(well)
    both = sensitivity + specificity
    best = np.flatnonzero(both >= both.max() - 1e-12)
    return float(cuts[best[len(best) // 2]])  # in the middle of equals: no closer to either side than it must be


def decided(probs: Probs, threshold: float) -> Labels:
    """The class that is said: of two the second from the threshold on, of more the likeliest."""
    return (probs[:, 1] >= threshold).astype(np.int64) if probs.shape[1] == 2 else probs.argmax(axis=1)


def at_threshold(labels: Labels, preds: Labels) -> dict[str, float]:
    """Of two classes sensitivity (the sick that are found), specificity (the healthy that are let go), and their mean,
    the balanced accuracy; of more the balanced accuracy, the mean of the classes' recalls."""
    recalls = [float((preds[labels == k] == k).mean()) for k in np.unique(labels)]
    found = {"balanced_accuracy": float(np.mean(recalls))}
    if set(np.unique(labels)) == {0, 1}:
        found |= {"sensitivity": recalls[1], "specificity": recalls[0]}
    return found


def calibration(labels: Labels, probs: Probs, bins: int = 10) -> tuple[float, list[dict[str, Any]]]:
    """The expected calibration error, and what is behind it: of each tenth of the confidence how many answers fell
    there, how sure the network was of them in the mean, and how many were right."""
    sure, right = probs.max(axis=1), probs.argmax(axis=1) == labels
    which = np.minimum((sure * bins).astype(int), bins - 1)
    rows = [
        {"count": int((which == k).sum()), "sure": float(sure[which == k].mean()),
         "right": float(right[which == k].mean())}
        for k in range(bins) if (which == k).any()
    ]  # fmt: skip
    error = sum(row["count"] * abs(row["sure"] - row["right"]) for row in rows) / len(labels)
    return float(error), rows
