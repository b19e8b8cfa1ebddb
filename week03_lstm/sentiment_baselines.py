"""What a network has to beat: reviews that are counted, not read. (The other rival, a 1-D CNN: sentiment_model.py.)

S. Wang, C. Manning, "Baselines and bigrams: simple, good sentiment and topic classification", ACL 2012: how far one
gets by counting words, and pairs of neighbours.
"""

import time
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from week03_lstm.data import Data, Part, tokenize

CNN, BAG_OF_WORDS, NB_BIGRAMS = "1-D CNN", "bag of words", "naive-Bayes bigrams"  # the baselines' names in every table
SPLIT = {"tokenizer": tokenize, "token_pattern": None, "lowercase": False, "min_df": 2}  # what counts as a word
Line = tuple[dict[str, float], Float[np.ndarray, " features"], float]  # settings, weights and bias


class Counted:
    """Features that are counted, and a line between the classes: positive is where x · weights + bias > 0.

    A kind of it says what is counted (`words`), which settings there are to choose from (`CHOICES`), and makes the
    line of each (`lines`).
    """

    CHOICES: ClassVar[dict[str, tuple[float, ...]]]
    words: Any  # scikit-learn's vectorizer: texts -> x (N, features), sparse

    def __init__(self, **settings: float) -> None:
        self.settings = settings

    def learned(self, train: Part) -> Any:
        """Learns from train what the features are, and gives its x (N, features)."""
        return self.words.fit_transform(train.texts)

    def features(self, part: Part) -> Any:
        """A part's x (N, features), sparse."""
        return self.words.transform(part.texts)

    def lines(self, x: Any, labels: Int[np.ndarray, " N"], **choices: tuple[float, ...]) -> Iterator[Line]:
        """The line of each setting of these choices, fitted to x."""
        raise NotImplementedError

    def fit(self, train: Part) -> "Counted":
        """Learns features and line from train alone, with its own settings."""
        own = {name: (value,) for name, value in self.settings.items()}
        self.settings, self.weights, self.bias = next(self.lines(self.learned(train), train.labels, **own))
        return self

    def choose(self, train: Part, val: Part) -> "Counted":
        """Fits to train with each of CHOICES, and keeps what is best on val; the first of equals."""
        x, on_val = self.learned(train), self.features(val)

        def right_on_val(line: Line) -> float:
            return np.mean((on_val @ line[1] + line[2] > 0) == val.labels)

        self.settings, self.weights, self.bias = max(self.lines(x, train.labels, **self.CHOICES), key=right_on_val)
        return self

    def margins(self, part: Part) -> Float[np.ndarray, " N"]:
        """How far a part's texts lie from the line: above 0 positive."""
        return self.features(part) @ self.weights + self.bias

    def accuracy(self, part: Part) -> float:
        """The share of a part's texts that it has right."""
        return float(np.mean((self.margins(part) > 0) == part.labels))

    @property
    def n_params(self) -> int:
        """Weights and bias of the line."""
        return self.weights.size + 1


class BagOfWords(Counted):
    """Tf-idf of single words, in no order, and logistic regression on them; scikit-learn's.

    Args:
        C: how little it is regularised.
    """

    CHOICES: ClassVar = {"C": (0.3, 1.0, 3.0, 10.0, 30.0)}

    def __init__(self, C: float = 3.0) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        super().__init__(C=C)
        self.words = TfidfVectorizer(**SPLIT, sublinear_tf=True)

    def lines(self, x: Any, labels: Int[np.ndarray, " N"], C: tuple[float, ...]) -> Iterator[Line]:
        from sklearn.linear_model import LogisticRegression

        for strength in C:
            fitted = LogisticRegression(C=strength, max_iter=1000).fit(x, labels)
            yield {"C": strength}, fitted.coef_[0], float(fitted.intercept_[0])


class NaiveBayesBigrams(Counted):
    """NBSVM: words and pairs of neighbours, there or not, each times its log-count ratio, and a linear SVM on them.

    Unlike in the paper each review's features are brought to length 1, as those of the bag of words are: better on val.

    Args:
        C: how little the SVM is regularised.
        beta: 1 takes the SVM's weights as they are; 0 their mean size for all, which leaves the ratios: naive Bayes.
    """

    CHOICES: ClassVar = {"C": (1.0, 10.0), "beta": (0.25, 0.5, 0.75, 1.0)}

    def __init__(self, C: float = 1.0, beta: float = 0.25) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        super().__init__(C=C, beta=beta)
        self.words = CountVectorizer(**SPLIT, ngram_range=(1, 2), binary=True, dtype=np.float64)

    def learned(self, train: Part) -> Any:
        present = super().learned(train)
        self.r = log_count_ratio(present, train.labels)
        return self._weighted(present)

    def features(self, part: Part) -> Any:
        return self._weighted(super().features(part))

    def _weighted(self, present: Any) -> Any:
        from sklearn.preprocessing import normalize

        return normalize(present.multiply(self.r).tocsr())

    def lines(
        self, x: Any, labels: Int[np.ndarray, " N"], C: tuple[float, ...], beta: tuple[float, ...]
    ) -> Iterator[Line]:
        from sklearn.svm import LinearSVC

        for strength in C:
            svm = LinearSVC(C=strength, random_state=0).fit(x, labels)
            w, bias = svm.coef_[0], float(svm.intercept_[0])
            for share in beta:  # section 2.3: trust naive Bayes, unless the SVM is very sure
                yield {"C": strength, "beta": share}, (1 - share) * np.abs(w).mean() + share * w, bias


def log_count_ratio(present: Any, labels: Int[np.ndarray, " N"], alpha: float = 1.0) -> Float[np.ndarray, " features"]:
    """r: how much each feature speaks for positive (above 0) or for negative (Wang and Manning 2012, section 2.1).

    Args:
        present: (N, features), sparse: 1 where a review has a feature, else 0.
        labels: (N,) 1 positive, 0 negative.
        alpha: what every count begins with, so that none is zero.
    """
    q, p = (alpha + np.asarray(present[labels == label].sum(axis=0)).ravel() for label in (0, 1))
    return np.log(p / p.sum()) - np.log(q / q.sum())


COUNTED = {BAG_OF_WORDS: BagOfWords, NB_BIGRAMS: NaiveBayesBigrams}


def count_words(reviews: Data) -> tuple[list[dict[str, Any]], dict[str, dict[str, float]]]:
    """Those of COUNTED, fitted to train, with settings chosen on val: their rows of the table, and these settings."""
    from sklearn import linear_model, svm  # noqa: F401 (imports take longer than all that is timed below)

    rows, settings = [], {}
    for name, kind in COUNTED.items():
        began = time.perf_counter()
        counted = kind().choose(reviews.train, reviews.val)
        seconds = round(time.perf_counter() - began, 2)
        row = {"name": name, "params": counted.n_params, "seconds": seconds}
        rows.append(row | {"val_accuracy": counted.accuracy(reviews.val)})
        settings[name] = counted.settings
    return rows, settings
