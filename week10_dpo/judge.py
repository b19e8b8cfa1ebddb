"""Who says whether an answer is polite: sentence vectors of MiniLM and a logistic regression, three classes.

    judge = Judge.trained()
    judge.polite(["It is my pleasure. Two and two are four."])       # array([True])

It learns from a file of its own (shared/samples/synthetic_judge.jsonl.gz), whose phrases no pair has, and never sees
what the policy is trained on: a policy that learns phrases by heart does not please it for that. `accuracy` says how
good it is on phrases that neither of them has seen. `BagOfWords` sees words alone: the trained baseline.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from shared import models
from shared.files import ROOT
from shared.sentence_pairs import text_of
from shared.splits import Part

SAMPLE = ROOT / "shared" / "samples" / "synthetic_judge.jsonl.gz"
LABELS = ("rude", "plain", "polite")
WORDS, LIKELIER, COIN = "bag of words", "the likelier answer, before DPO", "always the same answer"
"""The baselines' names."""
MOST = 12  # sentences of a text that are looked at


@lru_cache(maxsize=1)
def encoder() -> tuple[Any, Any]:
    """MiniLM and its tokenizer."""
    from shared.chat_models import quiet

    folder = models.fetch("minilm")
    with quiet():
        from transformers import BertModel, BertTokenizerFast

        return BertTokenizerFast.from_pretrained(folder), BertModel.from_pretrained(folder).eval()


def vectors(texts: Sequence[str], size: int = 64) -> Float[np.ndarray, "texts width"]:
    """A vector of length 1 for each text: the mean over its tokens (Reimers and Gurevych, arXiv:1908.10084)."""
    import torch

    tokenizer, bert = encoder()
    order = np.argsort([len(text) for text in texts], kind="stable")  # of about the same length together
    found = np.zeros((len(texts), bert.config.hidden_size), np.float32)
    with torch.no_grad():
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            batch = tokenizer([texts[row] for row in rows], padding=True, truncation=True, max_length=128,
                              return_tensors="pt")  # fmt: skip
            hidden, mask = bert(**batch).last_hidden_state, batch["attention_mask"][:, :, None]
            mean = (hidden * mask).sum(1) / mask.sum(1)
            found[rows] = torch.nn.functional.normalize(mean, dim=1).numpy()
    return found


def sentences(text: str) -> list[str]:
    """The first sentences of a text; one with a colon is two."""
    return [one for one in re.split(r"(?<=[.!?:])\s+|\n+", text.strip()) if one][:MOST] or [text]


@dataclass(frozen=True)
class Judge:
    """What says rude, plain or polite of a text, sentence by sentence: one phrase makes an answer polite or rude."""

    model: Any

    @classmethod
    @lru_cache(maxsize=1)
    def trained(cls) -> "Judge":
        """Learns in a few seconds, always the same."""
        from sklearn.linear_model import LogisticRegression

        rows = [json.loads(line) for line in text_of(SAMPLE).splitlines()]
        labels = [LABELS.index(row["label"]) for row in rows]
        return cls(LogisticRegression(C=30, max_iter=2000).fit(vectors([row["text"] for row in rows]), labels))

    def tones(self, texts: Sequence[str]) -> Float[np.ndarray, "texts 3"]:
        """How rude, plain and polite (0 to 1) the rudest, plainest and politest sentence of each text is."""
        cut = [sentences(text) for text in texts]
        each = {one: row for row, one in enumerate(dict.fromkeys(one for some in cut for one in some))}
        probs = self.model.predict_proba(vectors(list(each))) if each else np.zeros((0, 3))
        return np.array([probs[[each[one] for one in some]].max(axis=0) for some in cut]).reshape(-1, 3)

    def labels(self, texts: Sequence[str]) -> Int[np.ndarray, " texts"]:
        """Numbers of LABELS: plain where no sentence is rather rude or polite than plain, else what is stronger."""
        tones = self.tones(texts)
        strongest = np.where(tones[:, 0] >= tones[:, 2], 0, 2)
        return np.where(tones[:, [0, 2]].max(axis=1) < 0.5, 1, strongest).astype(np.int64)

    def polite(self, texts: Sequence[str]) -> Bool[np.ndarray, " texts"]:
        """Which of the texts are polite; plain ones are not."""
        return self.labels(texts) == LABELS.index("polite")

    def score(self, texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
        """How polite, from -1 to 1."""
        tones = self.tones(texts)
        return tones[:, 2] - tones[:, 0]

    def accuracy(self, part: Part) -> dict[str, float]:
        """How often it is right of a part: of single answers, and of which answer of a pair is the more polite."""
        chosen, rejected = ([getattr(pair, name) for pair in part.items] for name in ("chosen", "rejected"))
        right = np.concatenate([self.polite(chosen), self.labels(rejected) == LABELS.index("rude")])
        return {"single": float(right.mean()), "pairs": float((self.score(chosen) > self.score(rejected)).mean())}


class BagOfWords:
    """Which of two answers is preferred, by their words alone: logistic regression on which words an answer has."""

    def __init__(self, train: Part) -> None:
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression

        self.words = CountVectorizer(binary=True, token_pattern=r"\b\w+\b|[!?,.:]")
        answers = [pair.chosen for pair in train.items] + [pair.rejected for pair in train.items]
        counts = self.words.fit_transform(answers)
        self.model = LogisticRegression(max_iter=2000).fit(counts, np.repeat([1, 0], len(train)))

    @property
    def params(self) -> int:
        return self.model.coef_.size + 1

    def accuracy(self, part: Part) -> float:
        """The share of pairs whose chosen answer it prefers; a draw counts half."""
        one, other = (
            self.model.decision_function(self.words.transform([getattr(pair, name) for pair in part.items]))
            for name in ("chosen", "rejected")
        )
        return float((one > other).mean() + (one == other).mean() / 2)


def shorter(part: Part) -> float:
    """How often the shorter answer is the chosen one; of equal length half. What a model that only counts would get."""
    difference = np.array([len(pair.rejected.split()) - len(pair.chosen.split()) for pair in part.items])
    return float((difference > 0).mean() + (difference == 0).mean() / 2)
