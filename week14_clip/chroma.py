"""The approximate search, for folders of millions of pictures: a collection of Chroma beside the index.

The exact search multiplies with every vector: 25,000 take a millisecond or two, and a hundred times as many a hundred
times as long. Chroma walks from neighbour to neighbour instead, looks at a few hundred vectors, and misses some.

References
    Y. Malkov, D. Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small
        World graphs", arXiv:1603.09320: how it walks
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from shared.errors import CourseError
from week14_clip.index import Index

NAME = "pictures"
MOST_AT_ONCE = 5_000  # vectors that Chroma takes in one call: its limit is 5,461 with most builds of SQLite
LOOKED_AT = 200  # neighbours that a search keeps in sight (ef in the paper); more are slower, and miss fewer


class Chroma:
    """A collection in a folder, by the pictures' contents: a picture and its copies are there once.

    Args:
        place: the folder.
        model: a fingerprint of what makes the vectors; with another one it is begun anew.

    Raises:
        CourseError: what lies there is none of Chroma's.
    """

    def __init__(self, place: Path, model: str) -> None:
        import chromadb
        from chromadb.config import Settings

        place.mkdir(parents=True, exist_ok=True)
        shape = {"hnsw": {"space": "ip", "ef_construction": LOOKED_AT, "ef_search": LOOKED_AT, "max_neighbors": 32}}
        try:
            client = chromadb.PersistentClient(str(place), settings=Settings(anonymized_telemetry=False))
            there = {one.name: one for one in client.list_collections()}
            if NAME in there and (there[NAME].metadata or {}).get("model") != model:
                client.delete_collection(NAME)
            self.collection = client.get_or_create_collection(
                NAME, metadata={"model": model}, configuration=shape, embedding_function=None
            )
        except Exception as error:  # a damaged database raises what it likes
            raise CourseError(f"{place}: Chroma cannot use this ({type(error).__name__}). Delete it.") from None

    def sync(self, contents: Sequence[str], matrix: Float[np.ndarray, "N dim"]) -> int:
        """Brings it to these contents and their vectors. Returns how many were new."""
        before = set(self.collection.get(include=[])["ids"])
        gone = sorted(before - set(contents))
        for start in range(0, len(gone), MOST_AT_ONCE):
            self.collection.delete(gone[start : start + MOST_AT_ONCE])
        row_of = {content: row for row, content in enumerate(contents) if content not in before}
        new = list(row_of)
        for start in range(0, len(new), MOST_AT_ONCE):
            some = new[start : start + MOST_AT_ONCE]
            self.collection.add(some, embeddings=matrix[[row_of[one] for one in some]])
        return len(new)

    def query(self, question: Float[np.ndarray, " dim"], k: int) -> list[str]:
        """The contents that it takes for the k most alike, the most alike first."""
        k = min(k, self.collection.count())
        return self.collection.query(query_embeddings=[question], n_results=k, include=[])["ids"][0] if k else []


def nearest(
    index: Index, question: Float[np.ndarray, " dim"], k: int
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """The rows of the index that Chroma takes for the most alike, and how alike they are: `top_k` but for what it
    misses. The collection lies beside the index, and is brought up to date first."""
    chroma = Chroma(index.place.with_suffix(".chroma"), index.model)
    contents = [one.content for one in index.good]
    matrix = index.matrix
    chroma.sync(contents, matrix)
    place = {content: number for number, content in enumerate(chroma.query(question, k))}
    rows = np.array([row for row, content in enumerate(contents) if content in place], int)
    scores = matrix[rows] @ question
    order = np.argsort(-scores, kind="stable")[:k]  # copies of a picture share a place
    return rows[order], scores[order]
