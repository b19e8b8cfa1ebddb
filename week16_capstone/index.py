"""One index of what PDFs say and show: text, tables, what charts hold as sentences, and what their pictures look like.

    index = Index(shelf, [document_id], embedder, eyes)
    index.text("Who led the meeting?", 5)            # week 11's passages
    index.exhibits("revenue in 2019")                # figures and tables, the likeliest first

Words and meaning are searched as in week 11 (BM25 and MiniLM, their ranks fused). Which figure a question is about
depends on how many of its words a figure's caption, labels and names have, the rare ones counting most, and on meaning.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from shared.errors import CourseError
from shared.files import written_whole
from week11_rag import chunks as splitter
from week11_rag import wording
from week11_rag.chunks import Chunk
from week11_rag.embed import Encoder, unit
from week11_rag.exact import ExactIndex
from week11_rag.pages import Document, Page
from week11_rag.retrieve import Passage, Retriever
from week11_rag.sentences import Sentences
from week11_rag.store import Settings
from week16_capstone.chart import Box
from week16_capstone.exhibits import Exhibit
from week16_capstone.ingest import as_blocks
from week16_capstone.store import Shelf
from week16_capstone.understand import Wanted, mentions, stem

SIZE, OVERLAP = 192, 24  # tokens of a chunk of text
MEANING = 0.5  # how much the cosine counts beside the words that are shared
EXHIBIT = "Figures and tables"  # the heading of their chunks
VECTORS = "vectors.safetensors"
COMMON = frozenset(
    ["city", "country", "mode", "metal", "vehicle", "region", "quarter", "month", "series", "group", "place"]
)


@dataclass(frozen=True)
class Shown:
    """An exhibit of the index.

    Attributes:
        exhibit, document: it, and whose it is.
        cover: the share of the question's words that it has, by their weight, 0 to 1.
        score: what it is ranked by.
    """

    exhibit: Exhibit
    document: str
    cover: float = 0.0
    score: float = 0.0


class Index:
    """What is known of some documents of a shelf.

    Args:
        shelf: where they lie.
        documents: their ids; none: all of the shelf.
        embedder: of texts, as week 11's.
        eyes: of pictures, as week 14's `features.Eyes`; None: pictures are not compared.
        charts: False: figures are text as a reader of text alone has it, the words in them; the baseline of eval.
    """

    def __init__(
        self, shelf: Shelf, documents: Sequence[str], embedder: Encoder, eyes: Any = None, charts: bool = True
    ) -> None:  # fmt: skip
        self.shelf, self.embedder, self.eyes, self.charts = shelf, embedder, eyes, charts
        self.titles: dict[str, str] = {}
        self.paths: dict[str, Path] = {}
        self.sizes: dict[tuple[str, int], tuple[float, float]] = {}
        self.shown: list[Shown] = []
        settings = Settings(embedder.name, embedder.dimension, SIZE, OVERLAP)
        self.exact = ExactIndex(None, settings)
        heads: list[Any] = []
        looks: list[Any] = []
        for id in documents or shelf.documents():
            document, exhibits, path = shelf.read(id)
            self.titles[id], self.paths[id] = document.name, path
            self.sizes |= {(id, page.number): (page.width, page.height) for page in document.pages}
            self.shown += [Shown(one, id) for one in exhibits]
            parts, vectors, own, seen = self.embedded(document, exhibits)
            if parts:
                self.exact.add(document, parts, vectors)
            heads.append(own)
            looks.append(seen)
        self.heads = np.concatenate(heads) if heads else np.zeros((0, embedder.dimension), np.float32)
        self.looks = np.concatenate(looks) if eyes and looks else None
        self.sentences = Sentences(embedder)
        self.retriever = Retriever(self.exact, embedder, "hybrid", sentences=self.sentences)
        self.prose = Prose(self.exact, embedder, "hybrid", sentences=self.sentences)
        self.words = [self.vocabulary(one.exhibit) for one in self.shown]
        self.counts = Counter(word for words in self.words for word in words)

    # ------------------------------------------------------------ making

    def embedded(self, document: Document, exhibits: Sequence[Exhibit]) -> tuple[list[Chunk], Any, Any, Any]:
        """(chunks, their vectors, those of the exhibits' heads, those of their pictures), kept beside the document."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file, save_file

        parts = self.chunks_of(document, exhibits)
        heads = [one.head for one in exhibits]
        stamp = hashlib.sha256("\0".join([*(chunk.id for chunk in parts), *heads]).encode()).hexdigest()[:16]
        name = f"{'charts' if self.charts else 'text'}-{stamp}-{'eyes' if self.eyes else 'blind'}"
        path = self.shelf.place(document.id) / (VECTORS if self.charts else f"text-{VECTORS}")
        try:
            held = load_file(path)
            if f"{name}-texts" in held:
                return parts, held[f"{name}-texts"], held[f"{name}-heads"], held.get(f"{name}-looks")
        except (OSError, SafetensorError):
            pass  # not there yet, or damaged
        texts, owns = (self.encoded(rows) for rows in ([chunk.embedded for chunk in parts], heads))
        kept = {f"{name}-texts": texts, f"{name}-heads": owns}
        if self.eyes:
            kept[f"{name}-looks"] = self.seen(document.id, exhibits)
        with written_whole(path) as temporary:
            save_file(kept, temporary)
        return parts, texts, owns, kept.get(f"{name}-looks")

    def encoded(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts dim"]:
        return self.embedder.encode(texts) if texts else np.zeros((0, self.embedder.dimension), np.float32)

    def seen(self, document: str, exhibits: Sequence[Exhibit]) -> Float32[np.ndarray, "exhibits looks"]:
        """A row of unit length for each picture; zeros for what has none, as a table."""
        from PIL import Image

        files = {row: path for row, one in enumerate(exhibits) if (path := self.shelf.crop(document, one))}
        found = np.zeros((len(exhibits), 1280), np.float32)
        if files:
            found[list(files)] = unit(
                self.eyes.encode(Image.open(path).convert("RGB") for path in files.values()).numpy()
            )
        return found

    def chunks_of(self, document: Document, exhibits: Sequence[Exhibit]) -> list[Chunk]:
        """A document's text in week 11's chunks, then a chunk for each exhibit: its head and its data as sentences."""
        if not self.charts:
            words = {page.number: [] for page in document.pages}
            for block in as_blocks(exhibits):
                words[block.page].append(block)
            pages = [Page(page.number, page.width, page.height, (*page.blocks, *words[page.number]), page.scanned)
                     for page in document.pages]  # fmt: skip
            document = Document(document.id, document.name, tuple(pages))
        count = getattr(self.embedder, "count", lambda text: len(text) // 4)
        parts = splitter.split(document, SIZE, OVERLAP, count)
        if self.charts:
            for row, one in enumerate(exhibits):
                text = "\n".join([one.head, *one.sentences()])
                name = hashlib.sha256(f"{document.id} {row} {text}".encode()).hexdigest()[:16]
                parts.append(
                    Chunk(name, document.id, document.name, text, (EXHIBIT,), ((one.page, 0, len(text)),), len(parts))
                )
        return parts

    # ------------------------------------------------------------ searching

    def text(self, question: str, k: int = 5) -> list[Passage]:
        """The best passages for a question."""
        return self.retriever.search(question, k)

    def vocabulary(self, exhibit: Exhibit) -> frozenset[str]:
        """The stems that an exhibit has a word for."""
        said = " ".join(
            [exhibit.head, *exhibit.series, *exhibit.categories, "" if exhibit.chart else " ".join(exhibit.words)]
        )
        return frozenset(stem(word) for word in wording.words(said))

    def weight(self, word: str) -> float:
        """How much a word tells: less the more exhibits have it; little where it names a sort of thing, as `city`."""
        known = log((len(self.shown) + 1) / (self.counts[word] + 0.5)) + 0.2
        return known * (0.25 if word in COMMON_STEMS else 1.0)

    def exhibits(self, wanted: Wanted) -> list[Shown]:
        """All exhibits, the likeliest to answer first; those of the number that is named alone, where one is."""
        rows = range(len(self.shown))
        if wanted.figure:
            rows = [row for row in rows if self.is_called(self.shown[row].exhibit, wanted)]
        vector = self.embedder.encode([wanted.question])[0] if len(self.shown) else None
        found = []
        for row in rows:
            one, exhibit = self.shown[row], self.shown[row].exhibit
            said = mentions(wanted.question, [*filter(None, exhibit.series), *exhibit.categories])
            named = {stem(word) for word in wording.words(" ".join(said))}
            topic = [word for word in wanted.words if word not in named]  # what it is about, beside names in the chart
            cover = self.share(topic, self.words[row])
            years = sum(year in exhibit.categories for year in wanted.years) / max(1, len(wanted.years))
            score = cover + MEANING * float(self.heads[row] @ vector)
            score += 0.3 * years * bool(wanted.years) + 0.3 * min(1.0, len(said) / 2)
            found.append(Shown(exhibit, one.document, cover, score))
        return sorted(found, key=lambda one: -one.score)

    def share(self, asked: Sequence[str], have: frozenset[str]) -> float:
        """The share of words, by their weight, that are among others, a letter or two aside; 1 where none is asked."""
        total = sum(map(self.weight, asked))
        shared = [word for word in asked if word in have or mentions(word, sorted(have))]
        return sum(map(self.weight, shared)) / total if total else 1.0

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All names of series and categories that any exhibit has."""
        found = (name for one in self.shown for name in (*one.exhibit.series, *one.exhibit.categories))
        return tuple(dict.fromkeys(name for name in found if re.search(r"[^\W\d]{2}", name)))

    def foreign(self, wanted: Wanted, exhibit: Exhibit) -> list[str]:
        """The names in a question that other exhibits have, and this one has not: it is not what is meant."""
        said = " ".join([exhibit.head, *exhibit.series, *exhibit.categories])
        return [name for name in mentions(wanted.question, self.names) if not mentions(said, [name])]

    @staticmethod
    def is_called(exhibit: Exhibit, wanted: Wanted) -> bool:
        """Whether an exhibit has the number and sort that a question names."""
        return exhibit.number == wanted.figure and (exhibit.source == "table") == wanted.table

    def alike(self, shown: Shown, most: int = 3) -> list[tuple[Shown, float]]:
        """(exhibit, cosine) of those whose pictures look the most like this one's."""
        row = next((row for row, one in enumerate(self.shown) if one.exhibit == shown.exhibit), None)
        if self.looks is None or row is None or not self.looks[row].any():
            return []
        cosines = self.looks @ self.looks[row]
        best = [int(other) for other in np.argsort(-cosines) if other != row and self.looks[other].any()]
        return [(self.shown[other], float(cosines[other])) for other in best[:most]]

    def crop(self, shown: Shown) -> Path | None:
        """The picture of an exhibit."""
        return self.shelf.crop(shown.document, shown.exhibit)

    def sheet(self, document: str, page: int) -> Box:
        """All of a page."""
        return 0.0, 0.0, *self.sizes[document, page]

    def file(self, document: str) -> Path:
        """The PDF of a document.

        Raises:
            CourseError: it is not where it was read.
        """
        if not self.paths[document].is_file():
            raise CourseError(f"{self.titles[document]} is not where it was read: {self.paths[document]}.")
        return self.paths[document]


class Prose(Retriever):
    """Searches the text alone: what stands in figures is answered from their data, not by quoting it."""

    def search(self, question: str, k: int = 5) -> list[Passage]:
        found = super().search(question, 6 * k)
        return [one for one in found if one.chunk.headings[:1] != (EXHIBIT,)][:k]


COMMON_STEMS = frozenset(stem(word) for word in COMMON)
