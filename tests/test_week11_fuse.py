"""Week 11: reciprocal rank fusion and maximal marginal relevance, by hand and against other ways to compute them.

The tests marked `exercise(K)` are what `./course check 11` holds a learner's piece K to.
"""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from programs import close

from week11_rag import fuse as week

# ---------------------------------------------------------------- exercise 2: reciprocal rank fusion


def fused(rankings, k=60):
    """(ids, scores) of the learner's fusion, with a word where it is no list of pairs."""
    found = week.reciprocal_rank_fusion(rankings, k)
    whole = isinstance(found, list) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in found)
    assert whole, f"the fusion returns {found!r:.50}, should be a list of pairs (id, score)"
    return [one for one, _ in found], [score for _, score in found]


def none_of(found, expected, slips):
    """Fails with the name of the first of these slips that explains the scores {id: number}, where they are wrong."""
    if not same(found, expected):
        for slip, wrong in slips.items():
            assert not same(found, wrong), slip


def same(found, expected):
    return found.keys() == expected.keys() and all(abs(found[one] - expected[one]) < 1e-9 for one in expected)


@pytest.mark.exercise(2)
def test_what_is_in_any_ranking_comes_out_once():
    ids, _ = fused([["a", "b"], ["c", "a"]])
    assert sorted(ids) == ["a", "b", "c"], f"out come {ids}, should be a, b and c, each once"


@pytest.mark.exercise(2)
def test_a_fusion_by_hand():
    """k = 2. a is first and third: 1/3 + 1/5 = 8/15; b second and first: 1/4 + 1/3 = 7/12; c: 1/5; d: 1/4."""
    ids, scores = fused([["a", "b", "c"], ["b", "d", "a"]], k=2)
    found = dict(zip(ids, scores, strict=True))
    none_of(found, {"a": 8 / 15, "b": 7 / 12, "c": 1 / 5, "d": 1 / 4}, {
        "the ranks begin at 0, should begin at 1": {"a": 1 / 2 + 1 / 4, "b": 1 / 3 + 1 / 2, "c": 1 / 4, "d": 1 / 3},
        "k is not used": {"a": 1 + 1 / 3, "b": 1 / 2 + 1, "c": 1 / 3, "d": 1 / 2},
        "ranks are added up, should be their reciprocals": {"a": 4, "b": 3, "c": 3, "d": 2},
        "ranks and k are added up, should be their reciprocals": {"a": 8, "b": 7, "c": 5, "d": 4},
        "a later ranking takes the place of an earlier one, should be added to it":
            {"a": 1 / 5, "b": 1 / 3, "c": 1 / 5, "d": 1 / 4},
        "what a ranking has not got counts in it as if it came first":
            {"a": 8 / 15, "b": 7 / 12, "c": 1 / 5 + 1 / 3, "d": 1 / 4 + 1 / 3},
        "what a ranking has not got counts in it as if it came last":
            {"a": 8 / 15, "b": 7 / 12, "c": 1 / 5 + 1 / 5, "d": 1 / 4 + 1 / 5},
        "what a ranking has not got counts in it as if it stood behind its last":
            {"a": 8 / 15, "b": 7 / 12, "c": 1 / 5 + 1 / 6, "d": 1 / 4 + 1 / 6},
        "the score is a mean over the rankings, should be a sum":
            {"a": 4 / 15, "b": 7 / 24, "c": 1 / 10, "d": 1 / 8},
        "the score is a mean over the rankings that have it: what both find should be ahead":
            {"a": 4 / 15, "b": 7 / 24, "c": 1 / 5, "d": 1 / 4},
    })  # fmt: skip
    close(
        np.array([found[one] for one in "abcd"]), np.array([8 / 15, 7 / 12, 1 / 5, 1 / 4]), "the scores of a, b, c, d"
    )
    assert ids != ["c", "d", "a", "b"], "the worst comes first, should be the best"
    assert ids == ["b", "a", "d", "c"], f"the order is {ids}, should be b, a, d, c: best score first"


@pytest.mark.exercise(2)
def test_k_says_how_far_the_first_is_ahead():
    """Found by one at place 1, or by both at places 3 and 4: with k = 0 the first wins, with k = 60 the second."""
    rankings = [["sure", "x", "both"], ["y", "z", "w", "both"]]
    for k, first in ((0, "sure"), (60, "both")):
        ids, scores = fused(rankings, k)
        assert ids.index("sure" if first == "both" else "both") > ids.index(first), (
            f"with k = {k} {ids[0]} comes first, should be {first}: is k in the formula?"
        )
    close(np.array(scores[:1]), np.array([1 / 63 + 1 / 64]), "the score of what stands third and fourth, k = 60")


@pytest.mark.exercise(2)
def test_a_double_counts_once():
    ids, scores = fused([["a", "a", "b"], ["b"]], k=1)
    found = dict(zip(ids, scores, strict=True))
    assert abs(found["a"] - (1 / 2 + 1 / 3)) > 1e-9, "an id that a ranking has twice is counted twice there"
    close(
        np.array([found["a"], found["b"]]), np.array([1 / 2, 1 / 3 + 1 / 2]), "the scores of [a, a, b] and [b], a and b"
    )


@pytest.mark.exercise(2)
def test_equal_scores_stay_as_first_seen():
    assert fused([["b", "x"], ["a", "y"]])[0] == ["b", "a", "x", "y"], "ids of equal score are not as first seen"
    assert fused([]) == ([], []) and fused([[], []]) == ([], []), "of nothing it should be an empty list"


@pytest.mark.exercise(2)
def test_fusion_equals_the_formula_in_fractions():
    rng = np.random.default_rng(3)
    for _ in range(50):
        names = [f"p{n}" for n in range(12)]
        rankings = [list(rng.permutation(names)[: rng.integers(0, 12)]) for _ in range(rng.integers(1, 5))]
        k = int(rng.integers(0, 90))
        exact = {one: sum(Fraction(1, k + r.index(one) + 1) for r in rankings if one in r)
                 for one in dict.fromkeys(itertools.chain(*rankings))}  # fmt: skip
        ids, scores = fused(rankings, k)
        assert sorted(ids) == sorted(exact), "an id is lost, or there twice"
        close(np.array(scores), np.array([float(exact[one]) for one in ids]), "the scores", 1e-12)
        assert all(a >= b for a, b in itertools.pairwise(scores)), "the scores do not go down"


def test_scales_change_nothing_and_one_ranking_is_itself():
    """Only ranks count, so a ranking alone comes out as it was, and the order of the rankings does not move a score."""
    one, other = ["d", "a", "c"], ["c", "b"]
    assert fused([one])[0] == one
    there, back = (dict(week.reciprocal_rank_fusion(both)) for both in ([one, other], [other, one]))
    assert there == pytest.approx(back)


# ---------------------------------------------------------------- exercise 3: maximal marginal relevance


def unit(*angles):
    """Rows of unit length at these angles, in degrees."""
    turned = np.radians(angles)
    return np.stack([np.cos(turned), np.sin(turned)], axis=1)


def picked(query, vectors, k, weight):
    found = week.mmr(query, vectors, k, weight)
    assert isinstance(found, list), f"mmr returns {found!r:.40}, should be a list of row numbers"
    return found


@pytest.mark.exercise(3)
def test_so_many_rows_none_twice():
    vectors = unit(0, 10, 20, 30)
    for k, many in ((2, 2), (4, 4), (9, 4), (0, 0)):
        rows = picked(unit(0)[0], vectors, k, 0.5)
        assert len(set(rows)) == len(rows), f"a row is picked twice: {rows}"
        assert len(rows) == many, f"of 4 rows and k = {k} come {len(rows)}, should be {many}"


@pytest.mark.exercise(3)
def test_a_choice_by_hand():
    """The query at 0°; rows at 10°, 12° and -40°, weight 0.5. First 10° (0.985).

    12°: 0.5 · 0.978 - 0.5 · cos 2° = 0.489 - 0.4997 = -0.011;
    -40°: 0.5 · 0.766 - 0.5 · cos 50° = 0.383 - 0.321 = 0.062.
    """
    rows = picked(unit(0)[0], unit(10, 12, -40), 3, 0.5)
    assert rows[0] == 0, f"the first is row {rows[0]}, should be 0, the nearest to the query"
    assert rows != [0, 1, 2], "the order is that of relevance alone: what was picked before is not held against a row"
    assert rows == [0, 2, 1], f"the order is {rows}, should be [0, 2, 1]"


@pytest.mark.exercise(3)
def test_weight_is_that_of_the_relevance():
    """With weight 1 it is the order of the cosines; near 0 the second is the row that is least like the first."""
    query, vectors = unit(0)[0], unit(5, 8, 20, 90)
    one, zero = picked(query, vectors, 4, 1.0), picked(query, vectors, 2, 0.01)
    turned = zero == [0, 1] and one[:2] == [0, 3]
    assert not turned, "weight and 1 - weight are exchanged: weight is that of the relevance"
    assert one == [0, 1, 2, 3], f"with weight 1 the order is {one}, should be that of the cosines, [0, 1, 2, 3]"
    assert zero == [0, 3], f"with weight 0.01 the first two are {zero}, should be [0, 3]: the nearest and its opposite"


@pytest.mark.exercise(3)
def test_the_largest_cosine_counts_not_the_mean_or_the_last():
    """Five rows, of which the other ways to look at what was picked come to four other orders."""
    query, vectors = unit(0)[0], unit(85, 5, 25, -100, 75)
    rows, expected = picked(query, vectors, 5, 0.4), brute(query, vectors, 5, 0.4)
    slips = {
        "a row is held against all that was picked, by the mean: should be against the one it is most like": np.mean,
        "a row is held against what it is least like of all that was picked: should be by the largest cosine": np.min,
        "a row is held against the one picked last alone, should be against the one it is most like": lambda x: x[-1],
        "the cosines with all that was picked are added up, should be the largest of them": np.sum,
    }
    for slip, gather in slips.items():
        assert rows != brute(query, vectors, 5, 0.4, gather), slip
    assert rows == expected, f"the order is {rows}, should be {expected}"


def brute(query, vectors, k, weight, gather=np.max):
    """The formula, read out: each candidate against everything that was picked."""
    rows = [int(np.argmax(vectors @ query))]
    while len(rows) < min(k, len(vectors)):
        worth = {row: weight * vectors[row] @ query - (1 - weight) * gather([vectors[row] @ vectors[s] for s in rows])
                 for row in range(len(vectors)) if row not in rows}  # fmt: skip
        rows.append(max(worth, key=lambda row: worth[row]))
    return rows


@pytest.mark.exercise(3)
def test_opposites_are_farther_than_what_has_nothing_in_common():
    """First 0°. Then 150° (cosine -0.866): 0.3 · -0.866 + 0.7 · 0.866 = 0.35; 90°: 0. Cut at 0, 150° would be -0.26."""
    rows = picked(unit(0)[0], unit(0, 90, 150), 2, 0.3)
    assert rows != [0, 1], "a negative cosine counts as 0: begin the largest cosine at -inf, not at 0"
    assert rows == [0, 2], f"the first two are {rows}, should be [0, 2]"


@pytest.mark.exercise(3)
def test_mmr_equals_brute_force():
    rng = np.random.default_rng(5)
    for _ in range(40):
        vectors = rng.normal(size=(rng.integers(1, 12), 6))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        query, k, weight = vectors.mean(0) / np.linalg.norm(vectors.mean(0)), int(rng.integers(1, 13)), rng.random()
        rows, right = picked(query, vectors, k, weight), brute(query, vectors, k, weight)
        assert rows == right, f"of {len(vectors)} random rows the order is {rows}, should be {right}"


@pytest.mark.exercise(3)
def test_of_equal_rows_the_first_and_nothing_is_changed():
    vectors = unit(10, 10, 10)
    query, before = unit(0)[0], vectors.copy()
    assert picked(query, vectors, 3, 0.5) == [0, 1, 2], "of equal rows the smaller number should come first"
    assert (vectors == before).all(), "the vectors were changed; they are the index's"
    assert picked(query, np.zeros((0, 2)), 3, 0.5) == [], "of no rows it should be an empty list"
