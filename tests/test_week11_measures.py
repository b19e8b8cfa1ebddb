"""Week 11's measures: by hand, by brute force, and against scikit-learn where it has the thing.

The tests marked `exercise(K)` are what `./course check 11` holds a learner's piece K to.
"""

import numpy as np
import pytest
from programs import Lazily, close

from shared import answer_scores
from week11_rag import measures as week
from week11_rag.chunks import Chunk
from week11_rag.cite import Citation
from week11_rag.data import Question

metrics = Lazily("sklearn.metrics")
FOUND = [["a", "b", "c", "d", "o"], ["e", "f", "g", "p", "h"], ["i", "j"], []]
RELEVANT = [{"b", "c", "d", "u", "v"}, {"h"}, {"z"}, {"y"}]


def none_of(found, expected, slips):
    """Fails with the name of the first of these slips that explains the number, where it is not right."""
    assert isinstance(found, int | float), f"is {found!r:.40}, should be a number"
    if abs(found - expected) > 1e-9:
        for slip, wrong in slips.items():
            assert abs(found - wrong) > 1e-9, slip


# ---------------------------------------------------------------- exercise 4: hit@k and MRR


@pytest.mark.exercise(4)
def test_hits_by_hand():
    """At k = 4: the first question has three of its five there, the second's is fifth, the others have none: 1 of 4."""
    found = week.hit_at_k(FOUND, RELEVANT, 4)
    none_of(found, 1 / 4, {
        "three relevant passages count as three hits: a question is hit or it is not": 3 / 4,
        "this is the share of the relevant passages that was found (recall): one is enough for a hit": 3 / 5 / 4,
        "this is the share of the first k that is relevant (precision): one is enough for a hit": 3 / 4 / 4,
        "a question for which nothing was found is left out: it counts, as no hit": 1 / 3,
        "one passage too many is looked at": 2 / 4,
        "the hits are counted, should be their share of the questions": 1.0,
    })  # fmt: skip
    close(found, 1 / 4, "hit@4 of the four questions")


@pytest.mark.exercise(4)
def test_k_is_how_many_are_looked_at():
    """Of one question with its only relevant passage third."""
    for k, right in ((1, 0.0), (2, 0.0), (3, 1.0), (9, 1.0)):
        found = week.hit_at_k([["a", "b", "c", "d"]], [{"c"}], k)
        assert found == right, f"the relevant one is third: hit@{k} is {found}, should be {right:g}"


@pytest.mark.exercise(4)
def test_questions_that_nothing_answers_count():
    """A splitter has cut the answer in two: no passage is relevant, and none can be found. That is a miss."""
    hits, ranks = (
        week.hit_at_k([["a"], ["b"]], [{"a"}, set()], 5),
        week.mean_reciprocal_rank([["a"], ["b"]], [{"a"}, ()]),
    )
    assert hits != 1, "a question that no passage answers is left out of hit@k: it is no hit, and counts"
    assert ranks != 1, "a question that no passage answers is left out of the mean of ranks: it counts 0"
    assert (hits, ranks) == (0.5, 0.5), f"hit@5 and MRR are {hits} and {ranks}, should be 0.5 and 0.5"
    assert week.hit_at_k([], [], 5) == 0 and week.mean_reciprocal_rank([], []) == 0, "of no questions it should be 0"


@pytest.mark.exercise(4)
def test_ranks_by_hand():
    """First relevant: second, fifth, none, none. (1/2 + 1/5 + 0 + 0) / 4 = 0.175."""
    found = week.mean_reciprocal_rank(FOUND, RELEVANT)
    none_of(found, 0.175, {
        "the ranks begin at 0, should begin at 1": (1 + 1 / 4) / 4,
        "a question whose answer was not found is left out of the mean of ranks: it counts 0": 0.7 / 2,
        "a question for which nothing was found is left out of the mean of ranks: it counts 0": 0.7 / 3,
        "the last relevant passage counts, should be the first": (1 / 4 + 1 / 5) / 4,
        "all relevant passages count, should be the first alone": (1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 4,
        "the mean over a question's relevant passages counts, should be the first alone":
            ((1 / 2 + 1 / 3 + 1 / 4) / 3 + 1 / 5) / 4,
        "this is one over the mean rank, should be the mean of one over rank": 2 / 7,
        "this is the mean rank: turn each rank over, 1 / rank": 7 / 4,
        "this is the mean rank of what was found: turn each rank over, 1 / rank": 7 / 2,
        "the sum is not divided by the number of questions": 0.7,
    })  # fmt: skip
    close(found, 0.175, "MRR of the four questions")
    first = week.mean_reciprocal_rank([["a", "b"]], [{"a"}])
    assert first == 1.0, f"the first passage is relevant: MRR is {first}, should be 1"


@pytest.mark.exercise(4)
def test_hits_and_ranks_equal_brute_force_and_scikit_learn():
    """With one relevant passage each, MRR is what scikit-learn calls label ranking average precision, hit@k its top-k
    accuracy."""
    rng = np.random.default_rng(0)
    scores, truth = rng.normal(size=(40, 8)), rng.integers(0, 8, 40)
    found = [[int(one) for one in row] for row in np.argsort(-scores, axis=1)]
    relevant = [[int(one)] for one in truth]
    right = metrics.label_ranking_average_precision_score(np.eye(8)[truth], scores)
    close(week.mean_reciprocal_rank(found, relevant), float(right), "MRR of 40 random rankings", 1e-12)
    for k in (1, 3, 5):
        right = float(metrics.top_k_accuracy_score(truth, scores, k=k, labels=range(8)))
        close(week.hit_at_k(found, relevant, k), right, f"hit@{k} of 40 random rankings", 1e-12)
    several = [set(map(int, rng.permutation(12)[: rng.integers(0, 5)])) for _ in range(40)]
    ranks = [min([ids.index(one) + 1 for one in right if one in ids], default=np.inf)
             for ids, right in zip(found, several, strict=True)]  # fmt: skip
    close(week.mean_reciprocal_rank(found, several), float(np.mean([1 / rank for rank in ranks])), "MRR", 1e-12)
    close(week.hit_at_k(found, several, 3), float(np.mean([rank <= 3 for rank in ranks])), "hit@3", 1e-12)


def test_complete_needs_every_quote():
    held = [[{0}, {1}], [{0}, {0}, {1}], [set(), {0}]]
    assert week.complete_at_k(held, [2, 2, 1], 2) == pytest.approx(2 / 3)
    assert week.complete_at_k(held, [2, 2, 1], 3) == 1.0 and week.complete_at_k([], [], 3) == 0


# ---------------------------------------------------------------- what is relevant


def question(*evidence, name="", answers=("x",)):
    return Question("q", "?", answers, evidence, "plain", "val", name)


def chunk(number, text, name="a.pdf"):
    return Chunk(f"c{number}", "d", name, text, (), ((1, 0, len(text)),), number)


def test_a_chunk_is_relevant_that_holds_a_quote_whatever_its_spaces():
    chunks = [chunk(0, "The list is called\n  debian-devel, and"), chunk(1, "the list is called debian-devel"),
              chunk(2, "The list is called"), chunk(3, "and so on. It is moderated.")]  # fmt: skip
    asked = [
        question((1, "The list is called debian-devel")),
        question((1, "list is"), (2, "is moderated")),
        question(),
    ]
    assert week.relevant(asked, chunks) == [{"c0"}, {"c0", "c1", "c2", "c3"}, set()]
    assert week.quotes_in(chunks[3].text, asked[1]) == {1} and week.quotes_in("list  is moderated", asked[1]) == {0, 1}


def test_a_quote_counts_in_its_own_document():
    chunks = [chunk(0, "It is free."), chunk(1, "It is free.", name="b.pdf")]
    assert week.relevant([question((1, "It is free"), name="b.pdf")], chunks) == [{"c1"}]


# ---------------------------------------------------------------- answers, citations, refusals


def test_answers_are_scored_without_their_markers_and_only_where_there_is_one():
    asked = [question(answers=("twenty",)), question(answers=("debian-mentors", "the list debian-mentors")),
             question(answers=())]  # fmt: skip
    found = week.answers(["Twenty. [1]", "This is not in the document.", "whatever"], asked)
    assert found == {"exact": 0.5, "f1": 0.5, "holds": 0.5}
    found = week.answers(["You have twenty days [1, 2].", "the list debian-mentors[3]", ""], asked)
    assert found == {"exact": 0.5, "f1": pytest.approx((0.4 + 1) / 2), "holds": 1.0}
    assert week.answers([], []) == {"exact": 0, "f1": 0, "holds": 0}


def test_holds_asks_for_whole_words():
    assert answer_scores.holds("It is sent to the NM committee.", ["nm committee"]) == 1
    assert answer_scores.holds("twentyone days", ["twenty"]) == 0
    assert answer_scores.holds("anything", ["the"]) == 0  # of which nothing is left


def test_quotes_overlap_where_half_of_the_shorter_one_is_in_the_other():
    quote = "the upload goes to the delayed queue"
    assert week.overlaps(quote, f"First,  {quote.title()}\nfor days") and week.overlaps("delayed queue", quote)
    assert week.overlaps("goes to the delayed queue of the archive and stays", quote)
    assert not week.overlaps("the queue is empty today, as it was", quote) and not week.overlaps("", quote)


def cited(page, quote, name="a.pdf", pieces=()):
    return Citation(1, "d", name, page, quote, 0, len(quote), "c", pieces)


def test_citation_precision_by_hand():
    """Right: the quote's page and words. Wrong: another page, words or document, or a question without an answer."""
    asked = [question((4, "the queue is called delayed"), name="a.pdf"), question(answers=())]
    right, words = cited(4, "The queue is called DELAYED"), "the queue is called delayed"
    over = cited(3, "x y queue is called", pieces=((3, "x y"), (4, "queue is called")))
    wrong = [cited(5, words), cited(4, "nothing of it"), cited(4, words, "b.pdf")]
    assert week.is_right(right, asked[0]) and week.is_right(over, asked[0])
    assert not any(week.is_right(one, asked[0]) for one in wrong)
    assert week.citation_precision([[right, *wrong, over], [right]], asked) == pytest.approx(2 / 6)
    assert week.citation_precision([[], []], asked) == 0


def test_refusals_equal_scikit_learn():
    rng = np.random.default_rng(1)
    for _ in range(20):
        refused, answerable = rng.random((2, 30)) < rng.random((2, 1))
        theirs = metrics.precision_recall_fscore_support(~answerable, refused, average="binary", zero_division=0)
        assert list(week.refusals(refused, answerable).values()) == pytest.approx(list(theirs[:3]))
    nobody = np.zeros(3, dtype=bool)
    assert week.refusals(nobody, ~nobody) == {"precision": 0, "recall": 0, "f1": 0}


def test_the_interval_holds_the_mean_and_narrows_with_the_questions():
    few, many = (week.interval(np.arange(n) % 4 > 0) for n in (40, 4000))
    assert few[0] < many[0] < 0.75 < many[1] < few[1] and few[1] - few[0] == pytest.approx(0.27, abs=0.04)
    assert week.interval(np.ones(9)) == (1, 1)
