"""From PDFs to an index, in portions: what a kill interrupts is gone on with, and nothing is there twice."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from shared.errors import CourseError
from shared.progress import bar
from week11_rag import chunks, pdf
from week11_rag.data import Source
from week11_rag.embed import Embedder
from week11_rag.exact import ExactIndex
from week11_rag.pages import Document
from week11_rag.store import Changes, Index

PORTION = 64  # chunks that are embedded and stored at once, at most: so much is lost by a kill


@dataclass
class Found:
    """A PDF that can be read: its source, its id and its number of pages."""

    source: Source
    id: str
    pages: int


@dataclass
class Plan:
    """What there is to do.

    Attributes:
        wanted: the PDFs, each content once.
        changes: what has to be done for the index to have them and no others.
        notes: what was left out, and why.
    """

    wanted: list[Found]
    changes: Changes
    notes: list[str] = field(default_factory=list)

    @property
    def todo(self) -> list[Found]:
        return [one for one in self.wanted if one.source.name not in self.changes.kept]


def plan(sources: Sequence[Source], index: Index, first: int = 0) -> Plan:
    """What has to be done for an index to have these PDFs. One of several that cannot be read is left out, with a note.

    Raises:
        CourseError: none of them can be read.
    """
    wanted: dict[str, Found] = {}
    notes = []
    for source in sources:
        try:
            id, pages = pdf.about(source.path)
        except CourseError as error:
            if len(sources) == 1:
                raise
            notes.append(f"left out: {error}")
            continue
        if id in wanted:
            notes.append(f"left out {source.name}: it is the same as {wanted[id].source.name}")
            continue
        wanted[id] = Found(source, id, min(pages, first) if first else pages)
    if not wanted:
        raise CourseError(f"none of {len(sources)} PDFs can be read; the first: {notes[0].removeprefix('left out: ')}")
    return Plan(list(wanted.values()), index.plan({id: one.source.name for id, one in wanted.items()}), notes)


@dataclass
class Portion:
    """What was stored: of which PDF, how many new chunks, how many of its pages so far; after how many seconds."""

    found: Found
    new: int
    pages: float
    seconds: float


def store(
    todo: Plan, index: Index, embedder: Embedder, ocr: Literal["auto", "never"] = "auto", first: int = 0,
    watch: ExactIndex | None = None, notes: Callable[[str], None] = print,
) -> Iterator[Portion]:  # fmt: skip
    """Reads, splits, embeds and stores what is to be done, and yields after each portion; at the end removes the rest.

    Args:
        todo: from `plan`.
        index: where to; its settings say in what size.
        embedder: makes the vectors.
        ocr, first: as of pdf.read.
        watch: an index in memory that gets every chunk at once, to be searched meanwhile.
        notes: what to do with what there is to say of a document.
    """
    settings, began = index.settings, time.perf_counter()
    for found in todo.todo:
        document = read(found, ocr, first)
        for note in document.notes:
            notes(f"{document.name}: {note}")
        parts = chunks.split(document, settings.size, settings.overlap, embedder.count)
        if not parts:
            continue
        if any(stored.id == document.id for stored in index.documents()):  # it has another name now
            index.remove(document.id)
        held = index.held(document.id)
        with bar(len(parts), label=f"embedding {document.name[-30:]}") as progress:
            size = max(4, min(PORTION, -(-len(parts) // 8)))
            for start in range(0, len(parts), size):
                portion = parts[start : start + size]
                new = [chunk for chunk in portion if chunk.id not in held]
                if new:
                    vectors = embedder.encode([chunk.embedded for chunk in new])
                    index.add(document, new, vectors, len(parts))
                if watch is not None:
                    watch.add(document, portion, index.vectors([chunk.id for chunk in portion]), start + len(portion))
                progress.update(len(portion))
                share = (start + len(portion)) / len(parts)
                yield Portion(found, len(new), share * found.pages, time.perf_counter() - began)
    index.drop_others([found.id for found in todo.wanted])


def read(found: Found, ocr: Literal["auto", "never"], first: int) -> Document:
    """A PDF, with a bar over its pages."""
    with bar(found.pages, label=f"reading {found.source.name[-30:]}") as progress:
        return pdf.read(
            found.source.path, ocr, found.source.name, each=lambda number: progress.update() and None, first=first
        )


def path_of(sources: dict[str, str], document_id: str) -> Path | None:
    """Where the PDF of a document lies, if it is still there."""
    path = Path(sources.get(document_id, ""))
    return path if path.is_file() else None
