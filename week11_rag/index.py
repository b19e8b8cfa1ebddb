"""Where chunks and their vectors are kept and searched: exactly, in NumPy; or approximately, in Chroma."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Float

from week11_rag.chunks import Chunk
from week11_rag.pdf import Document

Prepared = tuple[Sequence[Chunk], Float[np.ndarray, "chunks dim"]]


@dataclass(frozen=True)
class Settings:
    """What the vectors of an index depend on; of two indexes only those with equal settings can be mixed."""

    embedder: str
    dimension: int
    size: int
    overlap: int


@dataclass(frozen=True)
class Stored:
    """A document of an index: its id and name, how many pages and chunks it has."""

    id: str
    name: str
    pages: int
    chunks: int


@dataclass(frozen=True)
class Changes:
    """What `sync` did, by documents' names."""

    added: tuple[str, ...]
    replaced: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]


class Index(Protocol):
    """What both stores do. `version` changes whenever the chunks do."""

    settings: Settings

    @property
    def version(self) -> object: ...

    def add(
        self, document: Document, chunks: Sequence[Chunk], vectors: Float[np.ndarray, "chunks dim"], total: int = 0
    ) -> None:
        """Adds chunks of a document. Those that are there already are not doubled. `total`: how many it has in all, where
        these are a part of them; a document is listed and searched when all are there."""

    def held(self, document_id: str) -> set[str]:
        """The ids of the chunks of a document that are there, of one that is not complete, too."""

    def remove(self, document_id: str) -> bool:
        """Takes a document out; says whether it was there."""

    def sync(self, documents: Iterable[Document], prepare: Callable[[Document], Prepared]) -> Changes:
        """Makes these the documents: new ones are prepared and added, changed ones (same name, other id) replaced, those
        of other names removed; the same ones are left alone."""

    def documents(self) -> list[Stored]:
        """The complete documents, by name."""

    def chunks(self) -> list[Chunk]:
        """All chunks of these, by document and place."""

    def search(self, vector: Float[np.ndarray, " dim"], k: int) -> list[tuple[Chunk, float]]:
        """The k chunks whose vectors have the largest inner product with this one, best first."""

    def vectors(self, ids: Sequence[str]) -> Float[np.ndarray, "ids dim"]:
        """The vectors of chunks, in the order of their ids."""

    def __len__(self) -> int:
        """How many chunks there are."""


def open_index(where: str | Path, settings: Settings | None = None, store: str = "") -> Index:
    """Opens an index, or makes a new one.

    Args:
        where: a folder, or http://host:port of a Chroma server.
        settings: those of a new one; they are held against those of one that is there. None: it has to be there.
        store: exact or chroma; default: what is there, exact for a new folder, chroma for an address.

    Raises:
        CourseError: it was made with other settings, is not there (or damaged), or the server does not answer.
    """
    raise NotImplementedError
