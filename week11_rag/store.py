"""What an index of chunks does, whichever way it is kept: add, remove, make equal to a set of documents, search.

A document is seen when all its chunks are there, so a kill leaves none by halves. The ids of chunks are hashes of what
they say: what is added twice is there once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from shared.errors import CourseError
from week11_rag.chunks import Chunk
from week11_rag.pages import Document

Prepared = tuple[Sequence[Chunk], Float[np.ndarray, "chunks dim"]]


@dataclass(frozen=True)
class Settings:
    """What the vectors of an index depend on; only with equal settings can they be compared."""

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
    """What `sync` does, by documents' names."""

    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        return bool(self.added or self.replaced or self.removed)


class Index:
    """What both stores do. `version` is another one whenever the chunks are others."""

    settings: Settings

    @property
    def version(self) -> object:
        raise NotImplementedError

    def add(
        self, document: Document, chunks: Sequence[Chunk], vectors: Float[np.ndarray, "chunks dim"], total: int = 0
    ) -> None:
        """Adds chunks of a document; those that are there already are not doubled.

        Args:
            document: whose chunks they are.
            chunks, vectors: them, and a vector of unit length for each.
            total: how many it has in all, where these are only a part. It is listed and searched when all are there.
        """
        raise NotImplementedError

    def held(self, document_id: str) -> set[str]:
        """The ids of those chunks of a document that are there, though it may not be complete."""
        raise NotImplementedError

    def remove(self, document_id: str) -> bool:
        """Takes a document out; says whether anything of it was there."""
        raise NotImplementedError

    def documents(self) -> list[Stored]:
        """The complete documents, by name."""
        raise NotImplementedError

    def incomplete(self) -> list[Stored]:
        """The documents of which chunks are missing: after a kill, or because a file of theirs is damaged."""
        raise NotImplementedError

    def chunks(self) -> list[Chunk]:
        """All chunks of the complete documents, by document and place."""
        raise NotImplementedError

    def search(self, vector: Float[np.ndarray, " dim"], k: int) -> list[tuple[Chunk, float]]:
        """The k chunks whose vectors have the largest inner product with this one, the largest first."""
        raise NotImplementedError

    def vectors(self, ids: Sequence[str]) -> Float[np.ndarray, "ids dim"]:
        """The vectors of chunks, in the order of their ids."""
        raise NotImplementedError

    def __len__(self) -> int:
        """How many chunks the complete documents have."""
        return sum(document.chunks for document in self.documents())

    def plan(self, wanted: Mapping[str, str]) -> Changes:
        """What is to be done for the index to have these documents and no others; nothing is done yet.

        Args:
            wanted: {id: name}.
        """
        here = {stored.id: stored.name for stored in self.documents()}
        names = {name: id for id, name in here.items()}
        new = [(id, name) for id, name in wanted.items() if here.get(id) != name]
        return Changes(
            added=tuple(name for _, name in new if name not in names),
            replaced=tuple(name for _, name in new if name in names),
            removed=tuple(name for name in names if name not in wanted.values()),
            kept=tuple(name for id, name in wanted.items() if here.get(id) == name),
        )

    def sync(self, documents: Iterable[Document], prepare: Callable[[Document], Prepared]) -> Changes:
        """Makes these the documents, and returns what was done: new ones are prepared and added, changed ones (same
        name, other id) replaced, those of other names removed; equal ones are left alone."""
        wanted = {document.id: document for document in documents}
        changes = self.plan({id: document.name for id, document in wanted.items()})
        for document in wanted.values():
            if document.name in changes.kept:
                continue
            if any(stored.id == document.id for stored in self.documents()):  # it has another name now
                self.remove(document.id)
            self.add(document, *prepare(document))
        self.drop_others(wanted)
        return changes

    def drop_others(self, wanted: Iterable[str]) -> None:
        """Removes the documents that have none of these ids, incomplete ones, too."""
        keep = set(wanted)
        for stored in [*self.documents(), *self.incomplete()]:
            if stored.id not in keep:
                self.remove(stored.id)


def hold_to(where: str | Path, there: Mapping[str, Any], settings: Settings | None) -> Settings:
    """The settings that an index was made with, held against those that are wanted.

    Raises:
        CourseError: they differ, or are none of ours.
    """
    kinds = {field.name: field.type for field in fields(Settings)}
    if not all(type(there.get(name)) is kind for name, kind in kinds.items()):
        raise CourseError(
            f"{where} is no index of this course: it does not say which embedder made it. Choose another."
        )
    made = Settings(**{name: there[name] for name in kinds})
    if settings and settings != made:
        other = [name for name in kinds if getattr(made, name) != getattr(settings, name)]
        was, now = (", ".join(f"{name} {getattr(one, name)}" for name in other) for one in (made, settings))
        raise CourseError(
            f"{where} was made with {was}, and cannot be used with {now}: go back to {was}, or make a new index "
            "(`./course train 11`)."
        )
    return made


def as_json(chunk: Chunk) -> dict[str, Any]:
    return asdict(chunk)


def from_json(row: Mapping[str, Any]) -> Chunk:
    spans = tuple((int(page), int(start), int(end)) for page, start, end in row["spans"])
    return Chunk(row["id"], row["document"], row["name"], row["text"], tuple(row["headings"]), spans, row["number"])


def checked(settings: Settings, chunks: Sequence[Chunk], vectors: Any) -> None:
    """ValueError where there is not a vector of the right length for each chunk: a mistake in the program."""
    if vectors.shape != (len(chunks), settings.dimension):
        raise ValueError(
            f"{len(chunks)} chunks and vectors of shape {vectors.shape} in an index of {settings.dimension}"
        )


def by_name(stored: Iterable[Stored]) -> list[Stored]:
    return sorted(stored, key=lambda one: (one.name, one.id))
