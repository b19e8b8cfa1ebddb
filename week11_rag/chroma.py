"""The approximate index: a collection of Chroma, through langchain-chroma, in a folder or on a server.

References
    Y. Malkov, D. Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small
        World graphs", arXiv:1603.09320: what Chroma searches with
"""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import RLock
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from jaxtyping import Float

from shared.errors import CourseError
from week11_rag.chunks import Chunk
from week11_rag.pages import Document
from week11_rag.store import Index, Settings, Stored, as_json, by_name, checked, from_json, hold_to

DATABASE = "chroma.sqlite3"
COLLECTION = "week11"
MOST_AT_ONCE = 5_000  # chunks that Chroma takes in one call: its limit is 5,461 with most builds of SQLite


class ChromaIndex(Index):
    """A collection of Chroma, through langchain-chroma: in a folder, or on a server that several processes share.

    Args:
        where: a folder, or http://host:port.
        settings: those of a new one.
        name: of the collection.
    """

    def __init__(self, where: str | Path, settings: Settings | None = None, name: str = COLLECTION) -> None:
        from chromadb.errors import NotFoundError
        from langchain_chroma import Chroma

        self.where, self.name, self.lock = str(where), name, RLock()
        self.given, self.seen, self.snapshot = given_vectors(), None, None
        with self.in_words():
            self.client = client_of(self.where)
            try:
                there = self.client.get_collection(name, embedding_function=None).metadata or {}
            except NotFoundError:
                if settings is None:
                    raise CourseError(f"{where} holds no index: `./course train 11` makes one.") from None
                there = asdict(settings) | {"revision": uuid.uuid4().hex}
                self.client.create_collection(
                    name, metadata=there, embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
                )
            self.settings = hold_to(where, there, settings)
            self.store = Chroma(name, self.given, client=self.client, create_collection_if_not_exists=False)

    @contextmanager
    def in_words(self) -> Iterator[None]:
        """Errors of Chroma, of its server and of its database, in one line."""
        import sqlite3

        import httpx
        from chromadb.errors import ChromaError

        try:
            yield
        except (httpx.HTTPError, ConnectionError, ValueError) as error:
            if isinstance(error, ValueError) and "Could not connect" not in str(error):
                raise
            raise CourseError(
                f"no Chroma server answers at {self.where}: start one (`chroma run --port "
                f"{urlsplit(self.where).port or 8000}`), or leave the address out for an index in a folder."
            ) from None
        except (ChromaError, sqlite3.Error) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise CourseError(
                f"{self.where}: Chroma cannot use this ({reason}). Delete it, and make it anew."
            ) from None

    @property
    def version(self) -> object:
        """The revision that each change writes into the collection's metadata, so that other processes see it."""
        with self.in_words():
            return (self.client.get_collection(self.name, embedding_function=None).metadata or {}).get("revision")

    def add(
        self, document: Document, chunks: Sequence[Chunk], vectors: Float[np.ndarray, "chunks dim"], total: int = 0
    ) -> None:
        checked(self.settings, chunks, vectors)
        about = {"pages": len(document.pages), "total": total or len(chunks)}
        with self.lock, self.in_words():
            for start in range(0, len(chunks), MOST_AT_ONCE):
                part = chunks[start : start + MOST_AT_ONCE]
                self.given.vectors = np.asarray(vectors[start : start + MOST_AT_ONCE], np.float32).tolist()
                rows = [{**as_json(chunk), **about} for chunk in part]
                self.store.add_texts(
                    [row.pop("text") for row in rows], [flat(row) for row in rows], [c.id for c in part]
                )
            self.changed()

    def changed(self) -> None:
        self.snapshot = None
        metadata = asdict(self.settings) | {"revision": uuid.uuid4().hex}
        self.client.get_collection(self.name, embedding_function=None).modify(metadata=metadata)

    def held(self, document_id: str) -> set[str]:
        with self.in_words():
            return set(self.store.get(where={"document": document_id}, include=[])["ids"])

    def remove(self, document_id: str) -> bool:
        with self.lock, self.in_words():
            ids = sorted(self.held(document_id))
            for start in range(0, len(ids), MOST_AT_ONCE):
                self.store.delete(ids[start : start + MOST_AT_ONCE])
            self.changed()
            return bool(ids)

    def load(self) -> tuple[list[Stored], list[Stored], list[Chunk], set[str]]:
        """Complete documents, incomplete ones, the chunks of the first, their ids; read anew where they are others."""
        with self.lock:
            version = self.version
            if self.snapshot is None or version != self.seen:
                about: dict[str, Stored] = {}
                found: dict[str, list[Chunk]] = {}
                for chunk, pages, total in self.all_rows():
                    about[chunk.document] = Stored(chunk.document, chunk.name, pages, total)
                    found.setdefault(chunk.document, []).append(chunk)
                whole = by_name(one for one in about.values() if len(found[one.id]) == one.chunks)
                torn = by_name(one for one in about.values() if len(found[one.id]) != one.chunks)
                chunks = [c for one in whole for c in sorted(found[one.id], key=lambda chunk: chunk.number)]
                self.seen, self.snapshot = version, (whole, torn, chunks, {chunk.id for chunk in chunks})
            return self.snapshot

    def all_rows(self) -> Iterator[tuple[Chunk, int, int]]:
        with self.in_words():
            start = 0
            while True:
                part = self.store.get(limit=MOST_AT_ONCE, offset=start)
                for text, about in zip(part["documents"], part["metadatas"], strict=True):
                    yield unflat(text, about), about["pages"], about["total"]
                start += MOST_AT_ONCE
                if len(part["ids"]) < MOST_AT_ONCE:
                    return

    def documents(self) -> list[Stored]:
        return self.load()[0]

    def incomplete(self) -> list[Stored]:
        return self.load()[1]

    def chunks(self) -> list[Chunk]:
        return self.load()[2]

    def search(self, vector: Float[np.ndarray, " dim"], k: int) -> list[tuple[Chunk, float]]:
        _, torn, chunks, ids = self.load()
        if not chunks or not k:
            return []
        more = sum(stored.chunks for stored in torn)
        with self.in_words():
            found = self.store.similarity_search_by_vector_with_relevance_scores(
                np.asarray(vector, np.float32).tolist(), min(k + more, len(chunks) + more)
            )
        best = [(unflat(one.page_content, one.metadata), 1.0 - distance) for one, distance in found]
        return [(chunk, score) for chunk, score in best if chunk.id in ids][:k]

    def vectors(self, ids: Sequence[str]) -> Float[np.ndarray, "ids dim"]:
        with self.in_words():
            found = self.store.get(ids=list(ids), include=["embeddings"])
        rows = dict(zip(found["ids"], found["embeddings"], strict=True))
        return np.asarray([rows[id] for id in ids], np.float32)


def given_vectors() -> Any:
    """What langchain takes for an embedder: it gives the vectors that were laid into it."""
    from langchain_core.embeddings import Embeddings

    class Given(Embeddings):
        vectors: list[list[float]]

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return self.vectors

        def embed_query(self, text: str) -> list[float]:
            raise NotImplementedError("questions are embedded by week11_rag.embed")

    return Given()


def client_of(where: str) -> Any:
    """Chroma's client for a folder or an address, which tells nobody of its use."""
    import chromadb
    from chromadb.config import Settings as Options

    options = Options(anonymized_telemetry=False)
    if not where.startswith(("http://", "https://")):
        Path(where).mkdir(parents=True, exist_ok=True)
        return chromadb.PersistentClient(where, options)
    parts = urlsplit(where)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 8000)
    except ValueError:
        raise CourseError(f"{where} is no address: write http://host:port.") from None
    return chromadb.HttpClient(parts.hostname or "", port, parts.scheme == "https", settings=options)


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """What Chroma keeps beside a text: numbers and strings."""
    return {name: json.dumps(value) if isinstance(value, list | tuple) else value for name, value in row.items()}


def unflat(text: str, about: Mapping[str, Any]) -> Chunk:
    row = {**about, "text": text, "headings": json.loads(about["headings"]), "spans": json.loads(about["spans"])}
    return from_json(row)
