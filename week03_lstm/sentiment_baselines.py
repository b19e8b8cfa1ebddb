"""What a network has to beat: a bag of words with logistic regression. (The other one, a 1-D CNN: sentiment_model.py.)

S. Wang, C. Manning, "Baselines and bigrams: simple, good sentiment and topic classification", ACL 2012: how far one
gets without knowing the order of the words.
"""

import time
from typing import Any

import numpy as np

from week03_lstm.data import Data, Part, tokenize

CNN, BAG_OF_WORDS = "1-D CNN", "bag of words"  # the baselines' names in every table
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)  # of C, the inverse of the regularisation


class BagOfWords:
    """Tf-idf of single words, in no order, and logistic regression on them; scikit-learn's.

    Args:
        C: how little it is regularised.
        ngrams: 2 also counts pairs of words: a bag that knows `not good`.
    """

    def __init__(self, C: float = 3.0, ngrams: int = 1) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.C = C
        self.words = TfidfVectorizer(
            tokenizer=tokenize,
            token_pattern=None,
            lowercase=False,
            ngram_range=(1, ngrams),
            min_df=2,
            sublinear_tf=True,
        )

    def fit(self, train: Part) -> "BagOfWords":
        """Learns the words, their weights and the line between the classes from train alone."""
        return self._fit_line(self.words.fit_transform(train.texts), train.labels)

    def _fit_line(self, x: object, labels: np.ndarray) -> "BagOfWords":
        from sklearn.linear_model import LogisticRegression

        self.line = LogisticRegression(C=self.C, max_iter=1000).fit(x, labels)
        return self

    def choose(self, train: Part, val: Part) -> "BagOfWords":
        """Fits on train for each C of STRENGTHS, and keeps the one that is best on val."""
        x, on_val = self.words.fit_transform(train.texts), self.words.transform(val.texts)
        best = -1.0
        for self.C in STRENGTHS:
            self._fit_line(x, train.labels)
            accuracy = self.line.score(on_val, val.labels)
            if accuracy > best:
                best, kept = accuracy, (self.C, self.line)
        self.C, self.line = kept
        return self

    def accuracy(self, part: Part) -> float:
        """The share of a part's texts that it has right."""
        return float(self.line.score(self.words.transform(part.texts), part.labels))

    @property
    def n_params(self) -> int:
        """Weights and bias of the line."""
        return self.line.coef_.size + self.line.intercept_.size


def bag_of_words(reviews: Data) -> tuple[BagOfWords, dict[str, Any]]:
    """The bag of words of train, C chosen on val; and {params, seconds, val_accuracy}, its row of the table."""
    bag = BagOfWords()
    from sklearn import linear_model  # noqa: F401 (imports take longer than all that is timed below)

    began = time.perf_counter()
    bag.choose(reviews.train, reviews.val)
    seconds = round(time.perf_counter() - began, 2)
    return bag, {"params": bag.n_params, "seconds": seconds, "val_accuracy": bag.accuracy(reviews.val)}
