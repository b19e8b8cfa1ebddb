"""Answers as pieces of a text: windows over long passages, the best valid span, n-best lists, and what they are worth.

References
    J. Devlin et al., arXiv:1810.04805, section 4.2 and 4.3, and its code, run_squad.py: windows, spans, the null score
    P. Rajpurkar et al., arXiv:1606.05250: exact match and F1, as in the official evaluate-v1.1.py
    P. Rajpurkar, R. Jia, P. Liang, arXiv:1806.03822: the same with questions that have no answer, evaluate-v2.0.py

A window is [CLS] question [SEP] piece of the passage [SEP]. Each starts `stride` tokens behind the one before it, so
that what one of them cuts in two stands whole in the next.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from shared.answer_scores import exact, f1
from shared.errors import CourseError
from shared.sentence_pairs import batch_rows
from shared.splits import Part
from week07_bert.squad import Question
from week07_bert.tokenizer import WordPiece

METRIC = "f1"
Scores = Float[np.ndarray, " _"]  # of each token


@dataclass(frozen=True)
class Window:
    """A question and a piece of its passage, in tokens.

    Attributes:
        row: whose question it is.
        ids: [CLS] question [SEP] passage [SEP].
        first: where the passage begins in ids.
        spans: for each token of the passage the characters that it came from.
        start, end: the answer's first and last token in ids; (0, 0), which is [CLS], where it is not here.
    """

    row: int
    ids: list[int]
    first: int
    spans: list[tuple[int, int]]
    start: int = 0
    end: int = 0


@dataclass(frozen=True)
class Answer:
    """A piece of the passage, by its characters; (0, 0) and an empty text: there is no answer."""

    text: str
    start: int
    past: int
    score: float  # the sum of its start's and its end's logit
    probability: float = 0.0  # among the n-best


@dataclass(frozen=True)
class Found:
    """What was found for a question: the best answers, best first, and the score of there being none."""

    best: list[Answer]
    null: float = -np.inf

    def answer(self, threshold: float | None = None) -> Answer:
        """The best one; or none, where its score does not exceed that of none by more than -threshold."""
        nothing = Answer("", 0, 0, self.null)
        if not self.best or (threshold is not None and self.null - self.best[0].score > threshold):
            return nothing
        return self.best[0]


# ---------------------------------------------------------------- windows


def windows_of(question: Question, row: int, tokenizer: WordPiece, max_len: int, stride: int, known: Any = None):
    """The windows of a question over its passage, from left to right, with the first answer's place in each.

    Args:
        question: with or without answers.
        row: its number.
        tokenizer: of the model.
        max_len: tokens of a window.
        stride: so many tokens further on starts the next one.
        known: {passage: its tokens}, so that a passage of many questions is cut into tokens once.

    Raises:
        CourseError: no room for the passage beside the question, or steps so long that tokens would fall between.
    """
    known = {} if known is None else known
    if question.context not in known:
        known[question.context] = tokenizer.encode(question.context)
    ids, spans = known[question.context]
    asked = tokenizer.encode(question.text)[0][: max_len // 2]  # a question of hundreds of words is cut
    room = max_len - len(asked) - 3
    if room < 1:
        raise CourseError(f"--max-len {max_len}: too few tokens for a question and a passage.")
    found = []
    for begin in range(0, max(1, len(ids)), min(stride, room)):
        piece, places = ids[begin : begin + room], spans[begin : begin + room]
        whole = [tokenizer.cls_id, *asked, tokenizer.sep_id, *piece, tokenizer.sep_id]
        first = len(asked) + 2
        start, end = target(question, places)
        at = (start + first, end + first) if start >= 0 else (0, 0)
        found.append(Window(row, whole, first, places, *at))
        if begin + room >= len(ids):
            break
    return found


def target(question: Question, spans: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The first and last token of the question's first answer among these; (-1, -1) where it is not whole in them."""
    if not question.answers or not spans:
        return -1, -1
    text, begin = question.answers[0]
    past = begin + len(text)
    inside = [at for at, (start, stop) in enumerate(spans) if start < past and stop > begin]
    if not inside or spans[inside[0]][0] > begin or spans[inside[-1]][1] < past:
        return -1, -1
    return inside[0], inside[-1]


# ---------------------------------------------------------------- spans


def best_spans(start: Scores, end: Scores, first: int, longest: int, n: int) -> list[tuple[int, int, float]]:
    """The n best valid spans of a window, best first."""
    # exercise 3: the best span under constraints
    # start, end (tokens,): a score for each token of a window, that the answer starts or ends there. -> at most n of
    # (i, j, start[i] + end[j]), best first. Valid are first <= i <= j (the question before `first` holds no answer) of
    # at most `longest` tokens, that is j - i < longest. The best of each list alone may not be a valid pair.
    # hint: start as a column plus end as a row is a table of all pairs (i, j). np.triu keeps j >= i, np.tril(…, longest
    # - 1) keeps j - i < longest. Leave the question off before that, sort what is kept, and add first to i and j again.
    scores = start[first:, None] + end[None, first:]  # (passage, passage)
    i, j = np.nonzero(np.tril(np.triu(np.ones(scores.shape, bool)), longest - 1))
    order = np.argsort(-scores[i, j], kind="stable")[:n]
    return [(int(i[at]) + first, int(j[at]) + first, float(scores[i[at], j[at]])) for at in order]
    # end of exercise 3


def across_windows(
    context: str, windows: Sequence[Window], scores: Sequence[tuple[Scores, Scores]], longest: int = 30, n: int = 20
) -> Found:
    """The n best answers of all windows of a question. The same piece in two windows counts once, with its best score.

    The score of no answer is the lowest of any window's [CLS]: the other windows may well say that theirs has none.
    """
    best: dict[tuple[int, int], float] = {}
    null = np.inf
    for window, (start, end) in zip(windows, scores, strict=True):
        null = min(null, float(start[0] + end[0]))
        last = window.first + len(window.spans)  # the [SEP] behind it is none of it
        for i, j, score in best_spans(start[:last], end[:last], window.first, longest, n):
            place = window.spans[i - window.first][0], window.spans[j - window.first][1]
            best[place] = max(score, best.get(place, -np.inf))
    ordered = sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))[:n]
    shares = softmax([score for _, score in ordered])
    answers = [Answer(context[a:b], a, b, score, share) for ((a, b), score), share in zip(ordered, shares, strict=True)]
    return Found(answers, null)


def softmax(scores: Sequence[float]) -> list[float]:
    if not scores:
        return []
    grown = np.exp(np.array(scores) - max(scores))
    return (grown / grown.sum()).tolist()


# ---------------------------------------------------------------- scores


def scores_of(answers: Sequence[str], part: Part) -> dict[str, float]:
    """Mean F1 and exact match."""
    pairs = list(zip(answers, (question.truths for question in part.items), strict=True))
    return {"f1": float(np.mean([f1(*pair) for pair in pairs])), "exact": float(np.mean([exact(*p) for p in pairs]))}


def oracle(found: Sequence[Found], part: Part) -> float:
    """Mean F1 if from each n-best list the best answer could be picked: how much the ranking alone costs."""
    best = [max([f1(a.text, q.truths) for a in one.best] or [f1("", q.truths)])
            for one, q in zip(found, part.items, strict=True)]  # fmt: skip
    return float(np.mean(best))


def best_threshold(found: Sequence[Found], part: Part) -> tuple[float, float]:
    """(threshold, F1 with it) that is best over these questions, some of which have no answer: chosen on val."""
    margins = np.array([one.null - one.best[0].score if one.best else np.inf for one in found])
    said = np.array([f1(one.answer().text, q.truths) for one, q in zip(found, part.items, strict=True)])
    silent = np.array([f1("", q.truths) for q in part.items])
    order = np.argsort(margins, kind="stable")  # the first k of this order are answered, the others are not
    totals = silent.sum() + np.concatenate([[0], np.cumsum(said[order] - silent[order])])
    k = int(totals.argmax())
    threshold = float(margins[order[k - 1]]) if k else float(margins.min()) - 1.0
    return threshold, float(totals[k] / len(found))


CAUSES = ("unanswerable", "cut by a window", "boundary", "right sentence", "wrong sentence")


def cause(answer: Answer, question: Question, windows: Sequence[Window]) -> str:
    """Why an answer is not exactly right: the first of CAUSES that holds.

    unanswerable: there is an answer and none was given, or the other way round. cut by a window: no window has the
    right one whole. boundary: it overlaps with a right one. right sentence: it stands in the same sentence as one.
    """
    if not question.answers or not answer.text:
        return "unanswerable"
    if not any(window.end for window in windows):
        return "cut by a window"
    places = [(start, start + len(text)) for text, start in question.answers]
    if any(answer.start < past and answer.past > start for start, past in places):
        return "boundary"
    sentences = [(begin, past) for begin, past in sentences_of(question.context) if begin <= answer.start < past]
    if any(begin <= start < past for begin, past in sentences for start, _ in places):
        return "right sentence"
    return "wrong sentence"


def errors(answers: Sequence[Answer], part: Part, windows: Mapping[int, Sequence[Window]]) -> Counter[str]:
    """How many answers are wrong for which cause."""
    counts: Counter[str] = Counter(dict.fromkeys(CAUSES, 0))
    for row, (answer, question) in enumerate(zip(answers, part.items, strict=True)):
        if not exact(answer.text, question.truths):
            counts[cause(answer, question, windows[row])] += 1
    return counts


def sentences_of(text: str) -> list[tuple[int, int]]:
    """Where each sentence begins and ends: at . ! ? before a space and a capital letter, and at line breaks."""
    ends = [match.end() for match in re.finditer(r"[.!?][\"'”’)\]]*\s+(?=[\"'“‘(\[]*[A-Z0-9])|\n+", text)]
    cuts = [0, *ends, len(text)]
    return [(a, b) for a, b in pairwise(cuts) if b > a]


# ---------------------------------------------------------------- the task, as train.py and eval.py see it


@dataclass
class Encoded:
    """A part in windows. Trained on are those with the answer, and of the others a share, which say [CLS]."""

    part: Part
    windows: list[Window]
    pad_id: int
    lengths: Int[np.ndarray, " N"] = field(init=False)

    def __post_init__(self) -> None:
        self.lengths = np.array([len(window.ids) for window in self.windows])

    def __len__(self) -> int:
        return len(self.windows)

    def of_question(self) -> dict[int, list[Window]]:
        """{row: its windows}."""
        found: dict[int, list[Window]] = {row: [] for row in range(len(self.part))}
        for window in self.windows:
            found[window.row].append(window)
        return found

    def inputs(self, rows: Any, device: str = "cpu") -> tuple[Tensor, Bool[Tensor, "batch time"], Tensor]:
        """Ids, mask and types of these windows, padded to the longest of them."""
        some = [self.windows[row] for row in rows]
        width = max(len(window.ids) for window in some)
        ids = torch.full((len(some), width), self.pad_id)
        mask, types = torch.zeros(len(some), width, dtype=torch.bool), torch.zeros(len(some), width, dtype=torch.long)
        for row, window in enumerate(some):
            size = len(window.ids)
            ids[row, :size] = torch.tensor(window.ids)
            mask[row, :size] = True
            types[row, window.first : size] = 1
        return ids.to(device), mask.to(device), types.to(device)

    def count(self, rows: Any) -> int:
        """How many losses are summed."""
        return len(rows)

    def loss(self, output: tuple[Tensor, Tensor], mask: Bool[Tensor, "batch time"], rows: Any) -> Float[Tensor, ""]:
        """Sum over windows of the mean of two cross-entropies, of the start's and of the end's place (section 4.2)."""
        starts, ends = (torch.tensor([getattr(self.windows[row], name) for row in rows], device=mask.device)
                        for name in ("start", "end"))  # fmt: skip
        losses = [F.cross_entropy(logits.float().masked_fill(~mask, -1e4), where, reduction="sum")
                  for logits, where in zip(output, (starts, ends), strict=True)]  # fmt: skip
        return (losses[0] + losses[1]) / 2


def encode(part: Part, tokenizer: WordPiece, max_len: int, stride: int) -> Encoded:
    """All windows of a part, to be answered."""
    known: dict[str, Any] = {}
    windows = [w for row, q in enumerate(part.items) for w in windows_of(q, row, tokenizer, max_len, stride, known)]
    return Encoded(part, windows, tokenizer.pad_id)


def to_train(encoded: Encoded, seed: int, empty: float = 0.1) -> Encoded:
    """Windows to train on: of each question the one with most around its answer; and a share, drawn by the seed, of the
    windows without it, which are to say [CLS]. Of a question without an answer there is at least one of those.
    """
    rng, kept = np.random.default_rng([seed, 70]), []
    for row, windows in encoded.of_question().items():
        with_answer = [window for window in windows if window.end]
        others = [window for window in windows if not window.end]
        drawn = [window for window in others if rng.random() < empty]
        if not encoded.part.items[row].answers and not drawn:
            drawn = [others[rng.integers(len(others))]]
        kept += ([max(with_answer, key=around)] if with_answer else []) + drawn
    return Encoded(encoded.part, kept, encoded.pad_id)


def around(window: Window) -> int:
    """How many tokens of the passage stand before or behind the answer, whichever are fewer."""
    return min(window.start - window.first, len(window.ids) - 2 - window.end)


def logits_of(model: Any, encoded: Encoded, size: int = 32) -> Iterator[tuple[Any, Tensor, Tensor, Tensor]]:
    """(rows, start, end, mask) of every batch of windows, of about equal length together."""
    device = next(model.parameters()).device.type
    model.eval()
    for rows in batch_rows(encoded.lengths, size, None):
        ids, mask, types = encoded.inputs(rows, device)
        start, end = model(ids, mask, types)
        yield rows, start.float(), end.float(), mask


@torch.no_grad()
def find(model: Any, encoded: Encoded, longest: int = 30, n: int = 20) -> tuple[list[Found], float]:
    """The n best answers to every question, and the mean loss of a window."""
    scores: dict[int, tuple[Scores, Scores]] = {}
    total = 0.0
    for rows, start, end, mask in logits_of(model, encoded):
        total += encoded.loss((start, end), mask, rows).item()
        for place, row in enumerate(rows):
            size = encoded.lengths[row]
            scores[int(row)] = start[place, :size].cpu().numpy(), end[place, :size].cpu().numpy()
    numbers: dict[int, list[int]] = {row: [] for row in range(len(encoded.part))}
    for at, window in enumerate(encoded.windows):
        numbers[window.row].append(at)
    found = [
        across_windows(question.context, [encoded.windows[at] for at in numbers[row]],
                       [scores[at] for at in numbers[row]], longest, n)
        for row, question in enumerate(encoded.part.items)
    ]  # fmt: skip
    return found, total / len(encoded)


def has_unanswerable(part: Part) -> bool:
    """Whether there are questions without an answer."""
    return any(not question.answers for question in part.items)


def evaluate(model: Any, encoded: Encoded, longest: int = 30) -> dict[str, float]:
    """{loss, f1, exact}, and a threshold where some questions have no answer: the one that is best on these."""
    found, loss = find(model, encoded, longest)
    threshold = best_threshold(found, encoded.part)[0] if has_unanswerable(encoded.part) else None
    texts = [one.answer(threshold).text for one in found]
    return {"loss": loss} | scores_of(texts, encoded.part) | ({} if threshold is None else {"threshold": threshold})
