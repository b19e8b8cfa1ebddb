"""The exact index: all vectors in one matrix, in memory, and in a folder of safetensors and JSON lines."""

import hashlib
import json
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from jaxtyping import Float

from shared.errors import CourseError
from shared.files import read_json, write_json, written_whole
from week11_rag.chunks import Chunk
from week11_rag.pages import Document
from week11_rag.store import Index, Settings, Stored, as_json, by_name, checked, from_json, hold_to

SETTINGS = "settings.json"


class ExactIndex(Index):
    """All vectors in one matrix: a search is a product with it, and finds the nearest without fail.

    On disk a document is a folder of parts: NNN.jsonl with its chunks, then NNN.safetensors with their vectors, which
    holds the checksum of the first. A part without its second file, or with a damaged one, is as if it were not there.

    Args:
        folder: where it is kept; None: in memory alone.
        settings: those of a new one.
    """

    def __init__(self, folder: str | Path | None = None, settings: Settings | None = None) -> None:
        self.folder, self.lock = Path(folder) if folder else None, RLock()
        self.parts: dict[str, dict[str, tuple[Chunk, Any]]] = {}  # {document: {chunk: (it, its vector)}}
        self.about: dict[str, Stored] = {}  # how many chunks each is to have
        self.number = 0
        self.matrix: Any = None
        there = self.folder / SETTINGS if self.folder else None
        if there and there.is_file():
            self.settings = hold_to(self.folder or "", read_json(there), settings)
            for place in sorted(path for path in there.parent.iterdir() if path.is_dir() and path.name[:1] != "."):
                self.read(place)
        elif settings is None:
            raise CourseError(f"{self.folder} holds no index: `./course train 11` makes one.")
        else:
            self.settings = settings
            if there:
                write_json(there, {"store": "exact", **asdict(settings)})

    @property
    def version(self) -> object:
        return self.number

    def read(self, place: Path) -> None:
        """A document's parts, those that are whole."""
        from safetensors import SafetensorError, safe_open

        for path in sorted(place.glob("*.safetensors")):
            try:
                lines = path.with_suffix(".jsonl").read_bytes()
                with safe_open(path, "numpy") as file:
                    vectors, about = file.get_tensor("vectors"), file.metadata() or {}
                if (
                    about.get("sha256") != hashlib.sha256(lines).hexdigest()
                    or vectors.shape[1] != self.settings.dimension
                ):
                    continue
                head, *rows = map(json.loads, lines.decode("utf-8").splitlines())
                chunks = [from_json(row) for row in rows]
                stored = Stored(**head)
            except (OSError, SafetensorError, ValueError, KeyError, TypeError, IndexError):
                continue
            self.about[stored.id] = stored
            self.parts.setdefault(stored.id, {}).update((c.id, (c, v)) for c, v in zip(chunks, vectors, strict=True))
        if not self.parts.get(place.name):  # nothing of it is whole: not even its name is known
            self.about.setdefault(place.name, Stored(place.name, place.name, 0, 1))

    def add(
        self, document: Document, chunks: Sequence[Chunk], vectors: Float[np.ndarray, "chunks dim"], total: int = 0
    ) -> None:
        checked(self.settings, chunks, vectors)
        with self.lock:
            held = self.parts.setdefault(document.id, {})
            new = [row for row, chunk in enumerate(chunks) if chunk.id not in held]
            stored = Stored(document.id, document.name, len(document.pages), total or len(chunks))
            rows = np.ascontiguousarray(vectors[new], np.float32)
            if self.folder and new:
                self.write(stored, [chunks[row] for row in new], rows)
            held.update((chunks[row].id, (chunks[row], vector)) for row, vector in zip(new, rows, strict=True))
            self.about[document.id] = stored
            self.changed()

    def write(self, stored: Stored, chunks: Sequence[Chunk], vectors: Any) -> None:
        from safetensors.numpy import save_file

        assert self.folder
        place = self.folder / stored.id
        number = max((int(path.stem) + 1 for path in place.glob("*.safetensors") if path.stem.isdecimal()), default=0)
        lines = [json.dumps(row, ensure_ascii=False) for row in (asdict(stored), *map(as_json, chunks))]
        content = "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
        with written_whole(place / f"{number:03}.jsonl") as temporary:
            temporary.write_bytes(content)
        with written_whole(place / f"{number:03}.safetensors") as temporary:
            save_file({"vectors": vectors}, temporary, {"sha256": hashlib.sha256(content).hexdigest()})

    def held(self, document_id: str) -> set[str]:
        return set(self.parts.get(document_id, ()))

    def remove(self, document_id: str) -> bool:
        with self.lock:
            place = self.folder / document_id if self.folder else None
            if place and place.is_dir():
                gone = place.with_name(f".gone-{uuid.uuid4().hex}")  # it disappears at once, not file by file
                place.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)
            there = self.about.pop(document_id, None) is not None
            self.parts.pop(document_id, None)
            self.changed()
            return there

    def changed(self) -> None:
        self.number += 1
        self.matrix = None

    def documents(self) -> list[Stored]:
        return by_name(stored for stored in self.about.values() if self.is_complete(stored))

    def incomplete(self) -> list[Stored]:
        return by_name(stored for stored in self.about.values() if not self.is_complete(stored))

    def is_complete(self, stored: Stored) -> bool:
        return len(self.parts.get(stored.id, ())) == stored.chunks

    def chunks(self) -> list[Chunk]:
        return self.rows()[0]

    def rows(self) -> tuple[list[Chunk], Any, dict[str, int]]:
        """All chunks, the matrix of their vectors (chunks, dim), and in which row each is."""
        with self.lock:
            if self.matrix is None:
                order = [
                    sorted(self.parts[one.id].values(), key=lambda pair: pair[0].number) for one in self.documents()
                ]
                kept = [pair for pairs in order for pair in pairs]
                chunks = [chunk for chunk, _ in kept]
                vectors = np.stack([vector for _, vector in kept]) if kept else np.zeros((0, self.settings.dimension))
                matrix = vectors.astype(
                    np.float32, order="F"
                )  # column by column: the product takes a third of the time
                self.matrix = chunks, matrix, {chunk.id: row for row, chunk in enumerate(chunks)}
            return self.matrix

    def search(self, vector: Float[np.ndarray, " dim"], k: int) -> list[tuple[Chunk, float]]:
        chunks, matrix, _ = self.rows()
        scores = matrix @ np.asarray(vector, np.float32)  # (chunks,)
        k = min(k, len(chunks))
        best = np.argpartition(-scores, k - 1)[:k] if 0 < k < len(chunks) else np.arange(len(chunks))
        return [(chunks[row], float(scores[row])) for row in best[np.lexsort((best, -scores[best]))]]

    def vectors(self, ids: Sequence[str]) -> Float[np.ndarray, "ids dim"]:
        _, matrix, rows = self.rows()
        if all(id in rows for id in ids):
            return matrix[[rows[id] for id in ids]]
        every = {id: vector for held in self.parts.values() for id, (_, vector) in held.items()}
        return np.stack([every[id] for id in ids])
