"""Week 7: windows, best spans, answers and their scores; labels of words and entities. The scores are held against the
official SQuAD script's rules, typed anew here, and against seqeval."""

import re
import string
from collections import Counter

import numpy as np
import pytest
import torch
from programs import Lazily, refused

from shared import answer_scores
from shared.splits import Part
from week07_bert import qa, tagging
from week07_bert.conll import Sentence
from week07_bert.qa import Answer, Found
from week07_bert.squad import Question
from week07_bert.tokenizer import SPECIAL, WordPiece

seqeval = Lazily("seqeval.metrics")
span = pytest.mark.exercise(3)
alignment = pytest.mark.exercise(4)
TEXT = "Ada Lovelace wrote notes. She lived in London, and so did Babbage. It rained."
WORDS = [
    *SPECIAL,
    *[
        "ada",
        "love",
        "##lace",
        "wrote",
        "notes",
        "she",
        "lived",
        "in",
        "london",
        "and",
        "so",
        "did",
        "ba",
        "##bb",
        "##age",
        "it",
        "rained",
        "where",
        "?",
        ".",
        ",",
    ],
]


@pytest.fixture(scope="module")
def tokenizer():
    return WordPiece(WORDS)


def question(*answers, text="Where?", context=TEXT):
    return Question("1", text, context, tuple((answer, context.index(answer)) for answer in answers))


# ---------------------------------------------------------------- exercise 3: the best span


def brute(start, end, first, longest, n):
    """Every valid pair, one by one."""
    pairs = [(i, j, float(start[i] + end[j])) for i in range(first, len(start))
             for j in range(i, min(i + longest, len(start)))]  # fmt: skip
    return sorted(pairs, key=lambda pair: -pair[2])[:n]


def spans(start, end, first, longest, n):
    found = qa.best_spans(np.array(start, float), np.array(end, float), first, longest, n)
    assert isinstance(found, list), f"best_spans gives {type(found).__name__}, should be a list of (i, j, score)"
    return found


@span
def test_the_best_span_of_three_tokens():
    found = spans([0, 5, 1], [0, 1, 4], 0, 3, 1)
    assert len(found) == 1, f"{len(found)} spans, should be the one best of n = 1"
    assert found[0][:2] == (1, 2), f"the best span is {found[0][:2]}, should be (1, 2): start 5 and end 4"
    assert abs(found[0][2] - 9) < 1e-9, f"its score is {found[0][2]}, should be 5 + 4 = 9"


@span
def test_an_answer_does_not_end_before_it_starts():
    (best,) = spans([0, 0, 9], [0, 8, 2], 0, 3, 1)
    assert best[1] >= best[0], f"the span {best[:2]} ends before it starts"
    assert best[:2] == (2, 2), f"the best valid span is {best[:2]}, should be (2, 2) with 9 + 2"


@span
def test_an_answer_is_not_in_the_question():
    found = spans([9, 9, 1, 2], [9, 9, 3, 1], 2, 4, 9)
    assert all(i >= 2 for i, _, _ in found), f"{found[0][:2]} begins in the question, before first = 2"
    assert found[0][:2] == (2, 2), f"the best span is {found[0][:2]}, should be (2, 2), counted in the whole window"


@span
def test_an_answer_has_at_most_so_many_tokens():
    found = spans([9, 0, 0, 0], [0, 1, 2, 9], 0, 2, 20)
    longest = max(j - i + 1 for i, j, _ in found)
    assert longest <= 2, f"a span of {longest} tokens, should be at most longest = 2"
    assert longest == 2, "no span of 2 tokens, though longest = 2 allows it"
    assert found[0][:2] == (0, 1), f"the best span is {found[0][:2]}, should be (0, 1)"


@span
@pytest.mark.parametrize("seed", range(4))
def test_the_n_best_are_those_of_trying_every_pair(seed):
    rng = np.random.default_rng(seed)
    start, end = rng.normal(size=(2, 17))
    found, right = spans(start, end, 3, 5, 12), brute(start, end, 3, 5, 12)
    assert len(found) == 12, f"{len(found)} spans, should be n = 12"
    scores = [score for _, _, score in found]
    assert scores == sorted(scores, reverse=True), "the spans are not in order, best first"
    assert [pair[:2] for pair in found] == [pair[:2] for pair in right], "other spans than trying every pair finds"
    np.testing.assert_allclose(scores, [score for _, _, score in right])


# ---------------------------------------------------------------- exercise 4: labels of words


def pieces(words, labels):
    found = tagging.aligned(words, labels, 101, 102)
    assert isinstance(found, tuple) and len(found) == 3, "aligned gives (ids, targets, firsts)"
    return tuple(list(part) for part in found)


@alignment
def test_a_target_for_every_piece():
    ids, targets, firsts = pieces([[5], [6, 7], [8]], [1, 2, 0])
    assert ids == [101, 5, 6, 7, 8, 102], f"ids are {ids}, should be [CLS], all pieces, [SEP]"
    assert len(targets) == len(ids), f"{len(targets)} targets for {len(ids)} ids: each needs one"
    assert len(firsts) == 3, f"{len(firsts)} places in firsts, should be one a word"


@alignment
def test_a_word_in_pieces_has_its_label_once_at_the_first():
    ids, targets, firsts = pieces([[5], [6, 7, 7], [8]], [1, 2, 3])
    assert targets[0] == targets[-1] == -100, "[CLS] and [SEP] have a label, should be IGNORED"
    assert targets[1] == 1, f"the first word's label is {targets[1]}, should be 1: is all moved by [CLS]?"
    assert targets[3:5] != [2, 2], "the later pieces of a word repeat its label, should be IGNORED"
    assert targets[2:5] != [-100, -100, 2], "the label stands at the last piece, should be at the first"
    assert targets == [-100, 1, 2, -100, -100, 3, -100], f"targets are {targets}"
    assert firsts == [1, 2, 5], f"firsts are {firsts}, should be [1, 2, 5]: places in ids, [CLS] counted"
    assert [ids[place] for place in firsts] == [5, 6, 8]


@alignment
def test_firsts_read_back_the_labels():
    rng = np.random.default_rng(0)
    for _ in range(20):
        words = [rng.integers(1, 99, size).tolist() for size in rng.integers(1, 4, rng.integers(1, 9))]
        labels = rng.integers(0, 5, len(words)).tolist()
        ids, targets, firsts = pieces(words, labels)
        assert [targets[place] for place in firsts] == labels, "the targets at firsts are not the labels"
        assert sum(target != -100 for target in targets) == len(words), "not one label a word"
        assert ids[1:-1] == [piece for word in words for piece in word]


# ---------------------------------------------------------------- windows


def test_windows_cover_the_passage_and_overlap(tokenizer):
    whole, places = tokenizer.encode(TEXT)
    windows = qa.windows_of(question("London"), 3, tokenizer, 13, 5)
    assert all(len(window.ids) <= 13 and window.row == 3 and window.first == 4 for window in windows)
    begun = [places.index(window.spans[0]) for window in windows]
    assert begun == list(range(0, 5 * len(windows), 5))
    assert {place for window in windows for place in window.spans} == set(places)
    for window, begin in zip(windows, begun, strict=True):
        assert window.ids[4:-1] == whole[begin : begin + len(window.spans)]
        assert window.ids[0] == tokenizer.cls_id and window.ids[3] == window.ids[-1] == tokenizer.sep_id
    assert [bool(window.end) for window in windows] == [
        "london" in [tokenizer.tokens[i] for i in w.ids] for w in windows
    ]


def test_the_target_is_the_answer_and_cls_where_it_is_cut(tokenizer):
    for answer in ("London", "Ada Lovelace", "Babbage", "She lived in London"):
        found = question(answer)
        for window in qa.windows_of(found, 0, tokenizer, 16, 4):
            if not window.end:
                assert window.start == 0
                continue
            a, b = window.spans[window.start - window.first][0], window.spans[window.end - window.first][1]
            assert TEXT[a:b] == answer
    (whole,) = qa.windows_of(question("Babbage"), 0, tokenizer, 64, 32)
    assert whole.end - whole.start == 2, "three pieces"
    assert (qa.windows_of(question(), 0, tokenizer, 64, 32)[0].start, whole.first) == (0, 4)


def test_windows_too_short_for_anything(tokenizer):
    assert refused(qa.windows_of, question("London"), 0, tokenizer, 4, 2).startswith("--max-len 4: too few tokens")


def test_the_best_answer_of_all_windows_and_the_lowest_null(tokenizer):
    asked = question("London")
    windows = qa.windows_of(asked, 0, tokenizer, 13, 5)
    scores = []
    for number, window in enumerate(windows):
        start, end = np.zeros((2, len(window.ids)))
        start[0] = end[0] = 3 - number  # [CLS]
        if window.end:
            start[window.start] = end[window.end] = 4 + number
        start[-1] = end[-1] = 99  # [SEP] is no answer
        scores.append((start, end))
    found = qa.across_windows(TEXT, windows, scores, 5, 8)
    best = max(number for number, window in enumerate(windows) if window.end)
    assert (found.best[0].text, found.best[0].score) == ("London", 2 * (4 + best))
    assert found.null == 2 * (3 - (len(windows) - 1))
    assert len({(a.start, a.past) for a in found.best}) == len(found.best) == 8, "the same piece counts once"
    assert sum(a.probability for a in found.best) == pytest.approx(1)
    assert found.answer().text == "London" and found.answer(0.0).text == "London"
    assert found.answer(found.null - found.best[0].score - 1).text == ""


# ---------------------------------------------------------------- scores: the official script's rules, typed anew


def their_f1(prediction, truth):
    """evaluate-v1.1.py and v2.0 in our words: tokens of lower-cased text without punctuation and articles."""

    def tokens(text):
        kept = [char for char in text.lower() if char not in set(string.punctuation)]
        return re.sub(r"\b(a|an|the)\b", " ", "".join(kept)).split()

    ours, theirs = tokens(prediction), tokens(truth)
    if not ours or not theirs:
        return int(ours == theirs), int(ours == theirs)
    same = sum((Counter(ours) & Counter(theirs)).values())
    precision, recall = same / len(ours), same / len(theirs)
    return (2 * precision * recall / (precision + recall) if same else 0), int(ours == theirs)


CASES = [
    "the cat", "The Cat.", "a cat", "cat sat", "an apple, the pear", "apple pear", "U.S.", "US", "", "the", "theatre",
    "10,000", "10000", "naïve café", "naive", "cat cat dog", "cat dog dog", "—", "«cat»", "  cat\n", "Denver Broncos",
    "the Denver Broncos'", "Broncos",
]  # fmt: skip


@pytest.mark.parametrize("answer", CASES)
def test_exact_match_and_f1_are_the_official_scripts(answer):
    for truth in CASES:
        their, same = their_f1(answer, truth)
        assert qa.f1(answer, [truth]) == pytest.approx(their), truth
        assert qa.exact(answer, [truth]) == same, truth
    assert qa.f1(answer, CASES) == max(their_f1(answer, truth)[0] for truth in CASES)


def test_scores_by_hand():
    assert qa.f1("the big cat", ["a cat"]) == pytest.approx(2 / 3)  # 1 of 2, 1 of 1
    assert qa.f1("cat", ["dog", "cat dog"]) == pytest.approx(2 / 3)
    assert answer_scores.normalised("An answer: the U.S. Army's") == "answer us armys"


def test_the_oracle_takes_the_best_of_each_list():
    part = Part((question("London"), question("Babbage")))
    lists = [Found([Answer("Ada", 0, 3, 2.0), Answer("London", 39, 45, 1.0)]), Found([Answer("Ada", 0, 3, 1.0)])]
    assert qa.oracle(lists, part) == 0.5 and qa.scores_of(["Ada", "Ada"], part) == {"f1": 0.0, "exact": 0.0}


def test_the_threshold_is_the_best_of_all_that_could_be(tokenizer):
    rng = np.random.default_rng(1)
    part = Part(tuple(question(*(["London"] * (row % 2))) for row in range(30)))
    names = ["London" if rng.random() < 0.7 else "Ada" for _ in range(30)]
    lists = [Found([Answer(name, 39, 45, float(rng.normal()))], float(rng.normal())) for name in names]
    threshold, best = qa.best_threshold(lists, part)

    def worth(at):
        return qa.scores_of([one.answer(at).text for one in lists], part)["f1"]

    margins = [one.null - one.best[0].score for one in lists]
    assert worth(threshold) == pytest.approx(best) == max(worth(at) for at in [*margins, -99.0, 99.0])


@pytest.mark.parametrize(
    ("found", "right", "why"),
    [
        ("", "London", "unanswerable"),
        ("in London", "London", "boundary"),
        ("Babbage", "London", "right sentence"),
        ("Ada Lovelace", "London", "wrong sentence"),
    ],
)
def test_causes_of_errors(tokenizer, found, right, why):
    asked = question(right)
    windows = qa.windows_of(asked, 0, tokenizer, 64, 32)
    start = TEXT.index(found)
    answer = Answer(found, start, start + len(found), 0.0) if found else Answer("", 0, 0, 0.0)
    assert qa.cause(answer, asked, windows) == why
    counts = qa.errors([answer], Part((asked,)), {0: windows})
    assert counts[why] == counts.total() == 1


def test_other_causes(tokenizer):
    long = question("She lived in London, and so did Babbage")
    windows = qa.windows_of(long, 0, tokenizer, 13, 9)
    assert qa.cause(Answer("Ada", 0, 3, 0.0), long, windows) == "cut by a window"
    alone = qa.Encoded(Part((long,)), windows, tokenizer.pad_id)
    assert len(qa.to_train(alone, 0, empty=0.0)) == 0 and len(qa.to_train(alone, 0, empty=1.0)) == len(windows)
    assert qa.cause(Answer("Ada", 0, 3, 0.0), question(), windows) == "unanswerable"


def test_sentences():
    pieces = [TEXT[a:b].strip() for a, b in qa.sentences_of(TEXT)]
    assert pieces == ["Ada Lovelace wrote notes.", "She lived in London, and so did Babbage.", "It rained."]
    assert [b - a for a, b in qa.sentences_of("3.5 million\nU.S. troops")] == [12, 11]


def test_the_loss_passes_over_padding_and_is_the_mean_of_two_cross_entropies(tokenizer):
    encoded = qa.encode(Part((question("London"), question("Ada", context="Ada wrote."))), tokenizer, 64, 32)
    ids, mask, types = encoded.inputs([0, 1])
    assert ids.shape == mask.shape == types.shape and mask.sum(dim=1).tolist() == encoded.lengths.tolist()
    assert types[1].tolist()[:5] == [0, 0, 0, 0, 1] and types[0, : int(mask[0].sum())].sum() == len(ids[0]) - 4
    start, end = torch.randn(2, *ids.shape)
    found = encoded.loss((start, end), mask, [0, 1])
    right = 0.0
    for row, window in enumerate(encoded.windows):
        size = len(window.ids)
        for logits, at in ((start, window.start), (end, window.end)):
            right -= logits[row, :size].log_softmax(dim=0)[at] / 2
    torch.testing.assert_close(found, right)


# ---------------------------------------------------------------- entities


def drawn_tags(rng, kinds=("per", "loc", "org")):
    tags = ["O", *(f"{place}-{kind}" for kind in kinds for place in "BI")]
    return [list(rng.choice(tags, rng.integers(1, 12))) for _ in range(40)]


@pytest.mark.parametrize("seed", range(3))
def test_entities_and_their_scores_are_seqevals(seed):
    rng = np.random.default_rng(seed)
    truth = [tagging.conll.as_bio(tags) if hasattr(tagging, "conll") else tags for tags in drawn_tags(rng)]
    guess = [list(tags) if rng.random() < 0.5 else list(rng.permutation(tags)) for tags in truth]
    part = Part(tuple(Sentence(("w",) * len(tags), tuple(tags)) for tags in truth))
    found = tagging.scores_of(guess, part)
    theirs = {name: getattr(seqeval, f"{name}_score")(truth, guess) for name in ("f1", "precision", "recall")}
    assert found == pytest.approx(theirs)
    report = seqeval.classification_report(truth, guess, output_dict=True)
    for kind, (f1, precision, recall, there) in tagging.by_kind(guess, part).items():
        assert (f1, precision, recall, there) == pytest.approx(
            tuple(report[kind][name] for name in ("f1-score", "precision", "recall", "support"))
        )


def test_entities_by_hand():
    tags = ["B-per", "I-per", "O", "I-loc", "B-loc", "I-per", "I-per"]
    assert tagging.entities(tags) == [("per", 0, 1), ("loc", 3, 3), ("loc", 4, 4), ("per", 5, 6)]


def test_a_long_sentence_is_cut_between_words_and_put_together_again(tokenizer):
    words = ("Lovelace", "wrote", "☃", "Babbage", "and", "Lovelace")
    part = Part((Sentence(words, ("B-per", "O", "O", "B-per", "O", "B-per")), Sentence(("so",), ("O",))))
    tags = tagging.tags_of(part)
    encoded = tagging.encode(part, tokenizer, 6, tags)
    assert tags == ("O", "B-per", "I-per") and all(length <= 6 for length in encoded.lengths)
    assert [(piece.row, piece.word) for piece in encoded.windows] == [(0, 0), (0, 3), (0, 5), (1, 0)]

    class Right(torch.nn.Module):
        """Says of every piece what a table says of its id."""

        def __init__(self):
            super().__init__()
            self.one = torch.nn.Parameter(torch.ones(()))

        def forward(self, ids, mask, types):
            begins = [tokenizer.vocab["love"], tokenizer.vocab["ba"]]
            return torch.stack([torch.tensor([1.0, 5.0 * (i in begins), 0.0]) for i in ids.flatten().tolist()]).view(
                *ids.shape, 3
            )

    predicted, sure, loss = tagging.find(Right(), encoded)
    assert predicted == [list(sentence.tags) for sentence in part.items] and loss > 0
    assert all(0.5 < share < 1 for share in sure[0])
    assert encoded.count(range(len(encoded))) == 7
