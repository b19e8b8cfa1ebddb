"""Where chunks and their vectors are kept and searched: exactly, in NumPy; or approximately, in Chroma.

    index = open_index("runs/week11/001-quick/index", Settings("minilm", 384, 256, 32))
    index.add(document, chunks, vectors)
    index.search(vector, 5)                     # [(Chunk(…), 0.71), …]

What both do stands in store.py, how in exact.py and chroma.py.
"""

from pathlib import Path
from typing import Literal

from shared.errors import CourseError
from week11_rag.chroma import COLLECTION, DATABASE, ChromaIndex
from week11_rag.exact import SETTINGS, ExactIndex
from week11_rag.store import Changes, Index, Settings, Stored

__all__ = ["Changes", "ChromaIndex", "ExactIndex", "Index", "Settings", "Stored", "open_index"]

Store = Literal["", "exact", "chroma"]


def open_index(where: str | Path, settings: Settings | None = None, store: Store = "", name: str = COLLECTION) -> Index:
    """Opens an index, or makes a new one.

    Args:
        where: a folder, or http://host:port of a Chroma server.
        settings: of a new one; an index that is there is held against them. None: it has to be there.
        store: exact or chroma; default: what is there; for a new one exact in a folder, chroma on a server.
        name: of the collection in Chroma.

    Raises:
        CourseError: it was made with other settings, is not there or not readable, or the server does not answer.
    """
    address = str(where).startswith(("http://", "https://"))
    if address and store == "exact":
        raise CourseError(f"{where}: an exact index lies in a folder; on a server it is chroma.")
    if not address:
        where = Path(where)
        found: Store = "chroma" if (where / DATABASE).is_file() else "exact" if (where / SETTINGS).is_file() else ""
        if not found and settings is None:
            raise CourseError(f"{where} holds no index: `./course train 11` makes one.")
        if found and store and found != store:
            raise CourseError(f"{where} holds an index of the kind {found}, not {store}: leave --store out.")
        store = found or store or "exact"
    return ChromaIndex(where, settings, name) if store == "chroma" or address else ExactIndex(where, settings)
