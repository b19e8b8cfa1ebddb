"""Names in a text: a tag for each word, of which a tokenizer makes several pieces; entities, and what they are worth.

References
    J. Devlin et al., arXiv:1810.04805, section 5.3: the first piece of a word stands for it
    E. Tjong Kim Sang, F. De Meulder, arXiv:cs/0306050: an entity counts as found only with both its ends and its kind
    H. Nakayama, seqeval, github.com/chakki-works/seqeval: the same scores, our reference
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from shared.sentence_pairs import batch_rows
from shared.splits import Part
from week07_bert.conll import Sentence
from week07_bert.tokenizer import WordPiece

METRIC = "f1"
IGNORED = -100  # a piece with this label has no part in the loss
Entity = tuple[str, int, int]
"""(kind, first word, last word)."""


def aligned(
    words: Sequence[Sequence[int]], labels: Sequence[int], cls_id: int, sep_id: int
) -> tuple[list[int], list[int], list[int]]:
    """A sentence in pieces, with the labels of its words.

    Returns:
        ids [CLS] … [SEP]; a label for each of them; where in ids each word begins.
    """
    # exercise 4: label alignment
    # words: the ids of each word's pieces, at least one each; labels: a number a word. -> (ids, targets, firsts): ids
    # are cls_id, all pieces, sep_id; targets, as long as ids, have a word's label at its first piece, and IGNORED at
    # its other pieces, at cls_id and at sep_id; firsts has the place of each word's first piece in ids.
    # hint: begin with ids = [cls_id], targets = [IGNORED]. For each word note len(ids) in firsts, then add its pieces
    # to ids, and its label and IGNORED * (len(pieces) - 1) to targets. At the end sep_id, and IGNORED.
    ids, targets, firsts = [cls_id], [IGNORED], []
    for pieces, label in zip(words, labels, strict=True):
        firsts.append(len(ids))
        ids += pieces
        targets += [label, *[IGNORED] * (len(pieces) - 1)]
    return [*ids, sep_id], [*targets, IGNORED], firsts
    # end of exercise 4


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of a sentence in BIO. An I- that goes on with nothing of its kind begins one, as CoNLL counts it."""
    found: list[Entity] = []
    for place, tag in enumerate(tags):
        goes_on = tag[0] == "I" and place and tags[place - 1][0] != "O" and tags[place - 1][2:] == tag[2:]
        if goes_on:
            found[-1] = (*found[-1][:2], place)
        elif tag != "O":
            found.append((tag[2:], place, place))
    return found


def scores_of(predicted: Sequence[Sequence[str]], part: Part) -> dict[str, float]:
    """Precision, recall and F1 over entities, all sentences together."""
    return dict(zip(("f1", "precision", "recall"), _scores(predicted, part), strict=True))


def _scores(predicted: Sequence[Sequence[str]], part: Part, kind: str = "") -> tuple[float, float, float]:
    ours, theirs = (
        {(row, *one) for row, tags in enumerate(side) for one in entities(tags) if kind in ("", one[0])}
        for side in (predicted, [sentence.tags for sentence in part.items])
    )
    right = len(ours & theirs)
    precision, recall = right / max(1, len(ours)), right / max(1, len(theirs))
    return 2 * right / max(1, len(ours) + len(theirs)), precision, recall


def by_kind(predicted: Sequence[Sequence[str]], part: Part) -> dict[str, tuple[float, float, float, int]]:
    """{kind: (F1, precision, recall, how many there are)}."""
    counts: dict[str, int] = {}
    for sentence in part.items:
        for kind, _, _ in entities(sentence.tags):
            counts[kind] = counts.get(kind, 0) + 1
    return {kind: (*_scores(predicted, part, kind), counts[kind]) for kind in sorted(counts)}


def tags_of(part: Part) -> tuple[str, ...]:
    """All tags that a part may need, O first: B- and I- of every kind that occurs."""
    kinds = sorted({tag[2:] for sentence in part.items for tag in sentence.tags if tag != "O"})
    return ("O", *(f"{place}-{kind}" for kind in kinds for place in "BI"))


# ---------------------------------------------------------------- the task, as train.py and eval.py see it


@dataclass(frozen=True)
class Piece:
    """A sentence, or as much of it as a window takes, in pieces of words.

    Attributes:
        row, word: whose sentence it is, and which word of it comes first here.
        ids, targets: as `aligned` has them.
        firsts: where in ids each word begins.
    """

    row: int
    word: int
    ids: list[int]
    targets: list[int]
    firsts: list[int]


@dataclass
class Encoded:
    """A part in pieces."""

    part: Part
    windows: list[Piece]
    pad_id: int
    tags: tuple[str, ...]
    lengths: Int[np.ndarray, " N"] = field(init=False)

    def __post_init__(self) -> None:
        self.lengths = np.array([len(window.ids) for window in self.windows])

    def __len__(self) -> int:
        return len(self.windows)

    def inputs(self, rows: Any, device: str = "cpu") -> tuple[Tensor, Bool[Tensor, "batch time"], None]:
        """Ids and mask of these sentences, padded to the longest of them."""
        ids = self.padded([self.windows[row].ids for row in rows], self.pad_id)
        sizes = torch.tensor([len(self.windows[row].ids) for row in rows])
        return ids.to(device), (torch.arange(ids.shape[1]) < sizes[:, None]).to(device), None

    def padded(self, lists: Sequence[Sequence[int]], value: int) -> Int[Tensor, "batch time"]:
        found = torch.full((len(lists), max(map(len, lists))), value)
        for row, numbers in zip(found, lists, strict=True):
            row[: len(numbers)] = torch.tensor(numbers)
        return found

    def count(self, rows: Any) -> int:
        """How many losses are summed: one a word."""
        return sum(len(self.windows[row].firsts) for row in rows)

    def loss(self, output: Tensor, mask: Bool[Tensor, "batch time"], rows: Any) -> Float[Tensor, ""]:
        """Sum over words of the cross-entropy of their tags."""
        targets = self.padded([self.windows[row].targets for row in rows], IGNORED).to(mask.device)
        return F.cross_entropy(output.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum")


def encode(part: Part, tokenizer: WordPiece, max_len: int, tags: Sequence[str]) -> Encoded:
    """Sentences in pieces; one with more than max_len is cut between words. A tag that is not known counts as O."""
    numbers, found = {tag: number for number, tag in enumerate(tags)}, []
    for row, sentence in enumerate(part.items):
        words = [(tokenizer.encode(word)[0] or [tokenizer.unk_id])[: max_len - 2] for word in sentence.words]
        labels = [numbers.get(tag, 0) for tag in sentence.tags]
        begin, used = 0, 0
        for place, pieces in enumerate([*words, None]):
            if pieces is None or used + len(pieces) > max_len - 2:
                some = aligned(words[begin:place], labels[begin:place], tokenizer.cls_id, tokenizer.sep_id)
                found.append(Piece(row, begin, *some))
                begin, used = place, 0
            used += len(pieces or ())
    return Encoded(part, found, tokenizer.pad_id, tuple(tags))


@torch.no_grad()
def find(model: Any, encoded: Encoded, size: int = 64) -> tuple[list[list[str]], list[list[float]], float]:
    """The likeliest tag of every word, how likely it is, and the mean loss of a word."""
    device = next(model.parameters()).device.type
    model.eval()
    tags = [["O"] * len(sentence.words) for sentence in encoded.part.items]
    sure = [[0.0] * len(sentence.words) for sentence in encoded.part.items]
    total = 0.0
    for rows in batch_rows(encoded.lengths, size, None):
        ids, mask, types = encoded.inputs(rows, device)
        logits = model(ids, mask, types).float()
        total += encoded.loss(logits, mask, rows).item()
        best, which = (x.cpu() for x in logits.softmax(dim=-1).max(dim=-1))  # (batch, time)
        for place, row in enumerate(rows):
            piece = encoded.windows[row]
            for word, first in enumerate(piece.firsts, piece.word):
                tags[piece.row][word] = encoded.tags[which[place, first]]
                sure[piece.row][word] = float(best[place, first])
    return tags, sure, total / max(1, encoded.count(range(len(encoded))))


def evaluate(model: Any, encoded: Encoded) -> dict[str, float]:
    """{loss, f1, precision, recall}."""
    predicted, _, loss = find(model, encoded)
    return {"loss": loss} | scores_of(predicted, encoded.part)


def sentence_of(text: str) -> Sentence:
    """Plain text as words and signs, with the tags still to be found."""
    import re

    words = re.findall(r"https?://\S+|[@#]?\w+(?:['’-]\w+)*|[^\w\s]", text)
    return Sentence(tuple(words), ("O",) * len(words))
