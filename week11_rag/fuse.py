"""Several rankings made into one, and a ranking whose entries do not repeat each other: plain functions, no index.

References
    G. V. Cormack, C. L. A. Clarke and S. Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank
        learning methods", SIGIR 2009: section 2, the formula; k = 60 is theirs
    J. Carbonell and J. Goldstein, "The use of MMR, diversity-based reranking for reordering documents and producing
        summaries", SIGIR 1998: section 2, the formula
"""

from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float

Id = TypeVar("Id", bound=Hashable)


def reciprocal_rank_fusion(rankings: Sequence[Sequence[Id]], k: int | float = 60) -> list[tuple[Id, float]]:
    """One ranking out of several, by ranks alone: how a ranking came by its order, and on what scale, is of no matter.

        score(d) = sum over the rankings that have d of 1 / (k + rank of d), the first rank being 1

    Args:
        rankings: ids, best first. They may differ in length, and in what they contain.
        k: how little the first places are ahead. With 0 the first has twice the second's share; with 60, 1.6 % more.

    Returns:
        (id, score) of everything that is in any of them, best first; of equal scores, as first seen.
    """
    # exercise 2: reciprocal rank fusion
    # rankings, each a list of ids with the best first, and k -> a list of (id, score), best first, of every id that is
    # in any ranking. What is high in several rankings comes first; a ranking that has not got an id adds nothing to it.
    # An id that stands twice in one ranking counts there once, where it stands first. Ids of equal score stay in the
    # order in which they are first seen, ranking by ranking.
    # hint: score(d) = sum of 1 / (k + rank), the first rank being 1, over the rankings that have d. A dict keeps the
    # order in which ids came, dict.fromkeys(ranking) drops doubles, and sorted is stable.
    scores: dict[Id, float] = {}
    for ranking in rankings:
        for rank, one in enumerate(dict.fromkeys(ranking), 1):
            scores[one] = scores.get(one, 0.0) + 1 / (k + rank)
    return sorted(scores.items(), key=lambda pair: -pair[1])
    # end of exercise 2


def mmr(
    query: Float[np.ndarray, " dim"], vectors: Float[np.ndarray, "n dim"], k: int, weight: int | float = 0.7
) -> list[int]:
    """Maximal marginal relevance: picks one after the other what is near the query and not near what was picked.

        next = argmax over d not yet picked of: weight * q·d - (1 - weight) * max over s picked of d·s

    The first is the nearest one to the query.

    Args:
        query: of unit length.
        vectors: the candidates' rows, of unit length, so that a product is a cosine.
        k: how many to pick; fewer where there are not so many.
        weight: the paper's lambda. 1: the nearest ones, however alike; towards 0: as unlike each other as can be.

    Returns:
        Row numbers in the order in which they were picked; of equal ones the smaller number first.
    """
    # exercise 3: maximal marginal relevance
    # query (dim,), vectors (n, dim), all of unit length, k and weight -> a list of min(k, n) row numbers, none twice,
    # in the order in which they are picked. First the row nearest to the query. Then again and again the row for which
    # weight * (cosine with the query) - (1 - weight) * (largest cosine with any row picked before) is largest; of equal
    # ones the smaller number. A cosine may be negative.
    # hint: keep, for each row, the largest cosine with what was picked: after each pick np.maximum of that and of
    # vectors @ vectors[pick]. It begins at -inf, not at 0. What was picked is put out of the race with -inf.
    relevance = vectors @ query  # (n,)
    picked: list[int] = []
    nearest = np.full(len(vectors), -np.inf)  # the largest cosine with what was picked
    for _ in range(min(k, len(vectors))):
        worth = weight * relevance - (1 - weight) * nearest if picked else relevance.copy()
        worth[picked] = -np.inf
        picked.append(int(worth.argmax()))
        nearest = np.maximum(nearest, vectors @ vectors[picked[-1]])
    return picked
    # end of exercise 3
