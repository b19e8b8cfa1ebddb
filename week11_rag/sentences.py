"""Vectors of sentences: a chunk is as near to a question as the nearest of its sentences.

The vector of a chunk is a mean over some two hundred tokens, of which a sentence of twelve that answers a question is a
small part; alone, it is as near as it is. So hybrid search has three rankings: chunks, sentences, words.
"""

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from shared.files import written_whole
from week11_rag import wording
from week11_rag.chunks import Chunk
from week11_rag.embed import Embedder

MOST = 30_000  # chunks; of more, their sentences take too long to be searched exactly
PORTION = 64  # chunks whose sentences are embedded and kept at once


def spans_of(chunk: Chunk) -> list[tuple[int, int]]:
    """Where its sentences are, in its text; all of it where there are none."""
    return list(wording.sentences(chunk.text)) or [(0, len(chunk.text))]


def texts_of(chunk: Chunk) -> list[str]:
    """Its sentences as they are embedded: each behind the heading above it, which often says what it is about."""
    return [" ".join([*chunk.headings[-1:], chunk.text[start:end]]) for start, end in spans_of(chunk)]


class Sentences:
    """The vectors of the sentences of chunks, by the chunks' ids; embedded once, and kept in a folder.

    Several processes may use a folder: each writes parts of its own, and reads those of the others before it embeds
    anything. A part that is damaged is as if it were not there.

    Args:
        embedder: the one of the index.
        folder: where they are kept; None: in memory alone.
    """

    def __init__(self, embedder: Embedder, folder: str | Path | None = None) -> None:
        self.embedder, self.folder, self.lock = embedder, Path(folder) if folder else None, RLock()
        self.vectors: dict[str, Float32[np.ndarray, "sentences dim"]] = {}
        self.seen: set[Path] = set()
        self.stacked: tuple[Sequence[Chunk], Any, Any] = ((), None, None)

    def add(self, chunks: Sequence[Chunk]) -> None:
        """Embeds the sentences of those chunks that are new."""
        with self.lock:
            if any(chunk.id not in self.vectors for chunk in chunks):
                self.read()
            new = list({chunk.id: chunk for chunk in chunks if chunk.id not in self.vectors}.values())
            for start in range(0, len(new), PORTION):
                part = new[start : start + PORTION]
                texts = [texts_of(chunk) for chunk in part]
                rows = self.embedder.encode([text for found in texts for text in found]).astype(np.float16)
                ends = np.cumsum([len(found) for found in texts])
                found = dict(zip((chunk.id for chunk in part), np.split(rows, ends[:-1]), strict=True))
                self.write(found)
                self.vectors |= {id: one.astype(np.float32) for id, one in found.items()}

    def of(self, chunk: Chunk) -> Float32[np.ndarray, "sentences dim"]:
        """The vectors of a chunk's sentences, in the order of `spans_of`."""
        self.add([chunk])
        return self.vectors[chunk.id]

    def search(
        self, vector: Float[np.ndarray, " dim"], chunks: Sequence[Chunk], k: int
    ) -> list[tuple[Chunk, float]]:  # fmt: skip
        """The k chunks with the sentences nearest to a vector, and the cosine of that sentence; the nearest first."""
        if not chunks or len(chunks) > MOST:
            return []
        with self.lock:
            if self.stacked[0] is not chunks:
                self.add(chunks)
                parts = [self.vectors[chunk.id] for chunk in chunks]
                starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
                self.stacked = chunks, np.concatenate(parts), starts
            _, matrix, starts = self.stacked
        scores = np.maximum.reduceat(matrix @ np.asarray(vector, np.float32), starts)  # (chunks,)
        best = np.argsort(-scores, kind="stable")[:k]
        return [(chunks[row], float(scores[row])) for row in best]

    def keep_only(self, chunks: Sequence[Chunk]) -> None:
        """Drops what belongs to other chunks, and makes one part of all."""
        with self.lock:
            self.add(chunks)
            old = list(self.folder.glob("*.safetensors")) if self.folder else []
            self.vectors = {chunk.id: self.vectors[chunk.id] for chunk in chunks}
            self.write({id: one.astype(np.float16) for id, one in self.vectors.items()})
            for path in old:
                path.unlink(missing_ok=True)

    def tidy(self, chunks: Sequence[Chunk]) -> None:
        """Drops what is kept of chunks that are there no more, if there is anything of them."""
        with self.lock:
            self.read()
            if self.vectors.keys() - {chunk.id for chunk in chunks}:
                self.keep_only(chunks)

    def write(self, found: dict[str, Any]) -> None:
        from safetensors.numpy import save_file

        if not self.folder or not found:
            return
        path = self.folder / f"{uuid.uuid4().hex}.safetensors"
        about = {"ids": json.dumps(list(found)), "counts": json.dumps([len(one) for one in found.values()])}
        with written_whole(path) as temporary:
            save_file({"vectors": np.concatenate(list(found.values()))}, temporary, about | self.made_by)
        self.seen.add(path)

    def read(self) -> None:
        """What other processes, or this one before, have written."""
        from safetensors import SafetensorError, safe_open

        for path in sorted(self.folder.glob("*.safetensors")) if self.folder and self.folder.is_dir() else ():
            if path in self.seen:
                continue
            self.seen.add(path)
            try:
                with safe_open(path, "numpy") as file:
                    rows, about = file.get_tensor("vectors").astype(np.float32), file.metadata() or {}
                ids, counts = json.loads(about["ids"]), json.loads(about["counts"])
                if about.items() >= self.made_by.items() and sum(counts) == len(rows):
                    self.vectors |= zip(ids, np.split(rows, np.cumsum(counts)[:-1]), strict=True)
            except (OSError, SafetensorError, ValueError, KeyError, TypeError):
                continue

    @property
    def made_by(self) -> dict[str, str]:
        return {"embedder": self.embedder.name, "dimension": str(self.embedder.dimension)}
