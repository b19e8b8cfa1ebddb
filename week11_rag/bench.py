"""How fast is it, and beside whom? `./course run 11 bench [search|query|embed|ingest]`

    search    the exact index beside Chroma, over 10,000 vectors of real text (the handbook's, and those of the passages
              that week 7 reads), asked with the handbook's questions; and how many of the five nearest Chroma finds
    query     a question to the handbook from its text to its passages, by each way to search
    embed     our embedder beside sentence-transformers', on the same weights and the same chunks
    ingest    PDF pages from the file to the index, each step by itself, and what 1,000 pages take

Vectors are made once and kept in --out. How contestants take turns and what counts: shared/race.py.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week11_rag/bench.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import gzip
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tyro

from shared import cli, race
from shared.chat_models import quiet
from shared.config import Count
from shared.device import Device, choose
from shared.files import ROOT
from shared.results import markdown
from shared.runs import RUNS
from week11_rag import chunks, data, pdf
from week11_rag.chunks import Chunk
from week11_rag.embed import Embedder
from week11_rag.index import ChromaIndex, ExactIndex, Settings
from week11_rag.pages import Document, Page
from week11_rag.retrieve import Retriever
from week11_rag.sentences import Sentences

PARTS = ("search", "query", "embed", "ingest")
PASSAGES = ROOT / "shared" / "samples" / "quoref_2k.json.gz"
K = 5


@dataclass
class Config(race.BenchConfig):
    """The flags of bench."""

    parts: tyro.conf.Positional[tuple[Literal["search", "query", "embed", "ingest"], ...]] = PARTS
    """Which parts."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""
    vectors: Count = 10_000
    """How many are searched."""
    questions: Count = 100
    """Questions a round."""
    texts: Count = 64
    """Chunks that are embedded a round, beside sentence-transformers."""
    pages: Count = 114
    """Pages that are ingested: the handbook, over and over with another text."""
    size: Count = 256
    """Tokens of a chunk at most."""
    out: str = str(RUNS / "week11" / "bench")
    """The folder for the numbers, and for the vectors that are made once."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"rounds": 1, "vectors": 60, "questions": 3, "texts": 4, "pages": 12, "threads": (1,)},
    "quick": {},
    "full": {"rounds": 10, "texts": 256, "pages": 1_000},
}


def kept(cfg: Config, name: str, texts: Sequence[str], embedder: Embedder) -> Any:
    """The vectors of texts, made once and kept in --out by their number."""
    path = Path(cfg.out) / f"{name}-{len(texts)}.npy"
    if not path.is_file():
        print(f"embedding {len(texts):,} texts, once", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, embedder.encode(texts))
    return np.load(path)


def real_texts(count: int) -> list[str]:
    """So many pieces of real text of 64 tokens at most: of the handbook, and of passages from Wikipedia."""
    document = pdf.read(data.HANDBOOK, first=0 if count > 500 else 20)
    found = [chunk.embedded for chunk in chunks.split(document, 64, 0)]
    articles = json.loads(gzip.decompress(PASSAGES.read_bytes()))["data"] if count > len(found) else []
    for article in articles:
        for paragraph in article["paragraphs"]:
            pieces = [chunks.Piece(text, ((1, 0, len(text)),), " ") for text in paragraph["context"].split(". ")]
            lengths = [chunks.tokens(piece.text) for piece in pieces]
            found += [chunks.joined(pieces[start:end])[0] for start, end in chunks.windows(lengths, 48, 0)]
    return list(dict.fromkeys(found))[:count]


def asked(work: Callable[[Any], Any], questions: Sequence[Any], times: list[float]) -> Callable[[], None]:
    """A round: all questions, one after the other, with the seconds of each noted."""

    def round_of() -> None:
        for question in questions:
            began = time.perf_counter()
            work(question)
            times.append(time.perf_counter() - began)

    return round_of


def p50s(times: dict[str, list[float]], per_round: int) -> dict[str, float]:
    """Milliseconds of the median question of each contestant, without the first round, which warms up."""
    return {name: 1000 * statistics.median(found[per_round:]) for name, found in times.items()}


def bench_search(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Milliseconds a search: exact, and Chroma; and Chroma's recall."""
    embedder = Embedder("minilm", cfg.device)
    texts = real_texts(cfg.vectors)
    vectors = kept(cfg, "vectors", texts, embedder)
    questions = [question.text for question in data.questions("sample")][: cfg.questions]
    asking = kept(cfg, "questions", questions, embedder)
    document = Document("bench", "bench", (Page(1, 0.0, 0.0, ()),))
    parts = [Chunk(f"c{n}", "bench", "bench", text, (), ((1, 0, len(text)),), n) for n, text in enumerate(texts)]
    settings = Settings("minilm", embedder.dimension, 64, 0)
    with tempfile.TemporaryDirectory() as folder:
        exact, chroma = ExactIndex(None, settings), ChromaIndex(Path(folder) / "chroma", settings)
        for index in (exact, chroma):
            index.add(document, parts, vectors)
        bare = chroma.client.get_collection(chroma.name, embedding_function=None).query
        searches: dict[str, Callable[[Any], Any]] = {
            "exact (NumPy)": lambda vector: exact.search(vector, K),
            "Chroma": lambda vector: chroma.search(vector, K),
            "Chroma, bare": lambda vector: bare(query_embeddings=[vector], n_results=K),
        }
        nearest = [{chunk.id for chunk, _ in exact.search(vector, K)} for vector in asking]
        found = [{chunk.id for chunk, _ in chroma.search(vector, K)} for vector in asking]
        recall = statistics.mean(len(a & b) / len(a) for a, b in zip(nearest, found, strict=True))
        times: dict[str, list[float]] = {name: [] for name in searches}
        rounds = {name: asked(search, asking, times[name]) for name, search in searches.items()}
        laps = race.take_turns(rounds, cfg.rounds)
    table, numbers = race.table(laps, dict.fromkeys(laps, len(asking)), "searches", "Chroma", threads)
    middle = p50s(times, len(asking))
    for name, milliseconds in middle.items():
        numbers[name]["p50"] = milliseconds
    ratio = middle["Chroma, bare"] / middle["exact (NumPy)"]
    numbers["p50 ratio"], numbers["recall of Chroma"] = {"ratio": ratio}, {"recall_at_5": recall}
    about = (
        f"{len(texts):,} vectors of real text, {len(asking)} questions to the handbook. Median of a search: exact "
        f"{middle['exact (NumPy)']:.2f} ms, Chroma's own query {middle['Chroma, bare']:.2f} ms ({ratio:.1f} times as "
        f"long), with our check for changes {middle['Chroma']:.2f} ms. Recall of the five nearest: exact 1, Chroma "
        f"{recall:.3f}."
    )
    return f"{about}\n\n{table}", numbers


def handbook_index(cfg: Config, embedder: Embedder) -> ExactIndex:
    """The handbook in an exact index, with its vectors from --out."""
    document = pdf.read(data.HANDBOOK, first=min(cfg.pages, 114))
    parts = chunks.split(document, cfg.size, 32)
    index = ExactIndex(None, Settings(embedder.name, embedder.dimension, cfg.size, 32))
    index.add(document, parts, kept(cfg, f"handbook-{cfg.size}", [chunk.embedded for chunk in parts], embedder))
    return index


def bench_query(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Milliseconds from a question's text to its passages."""
    embedder = Embedder("minilm", cfg.device)
    index = handbook_index(cfg, embedder)
    questions = [question.text for question in data.questions("sample")][: cfg.questions]
    sentences = Sentences(embedder, Path(cfg.out) / "sentences")
    ways: dict[str, Retriever] = {
        "hybrid": Retriever(index, embedder, sentences=sentences), "dense": Retriever(index, embedder, "dense"),
        "bm25": Retriever(index, embedder, "bm25"),
        "hybrid, late": Retriever(index, embedder, rescore="late", sentences=sentences),
    }  # fmt: skip

    def ask(retriever: Retriever) -> Callable[[str], Any]:
        def search(question: str) -> Any:
            embedder.forget()  # or the second round would embed nothing
            return retriever.search(question, K)

        return search

    times: dict[str, list[float]] = {name: [] for name in ways}
    rounds = {name: asked(ask(retriever), questions, times[name]) for name, retriever in ways.items()}
    laps = race.take_turns(rounds, cfg.rounds)
    table, numbers = race.table(laps, dict.fromkeys(laps, len(questions)), "questions", "dense", threads)
    middle = p50s(times, len(questions))
    for name, milliseconds in middle.items():
        numbers[name]["p50"] = milliseconds
    said = ", ".join(f"{name} {milliseconds:.1f} ms" for name, milliseconds in middle.items())
    about = (
        f"{len(index):,} chunks of the handbook, {len(questions)} questions, {device}. Median of a question: {said}."
    )
    return f"{about} (late: with the chunks' token vectors already there)\n\n{table}", numbers


def bench_embed(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Chunks a second: ours, and sentence-transformers; and how far their vectors differ."""
    from shared import models

    with quiet():
        from sentence_transformers import SentenceTransformer

        theirs = SentenceTransformer(str(models.fetch("minilm")), device=device.name)
    ours = Embedder("minilm", cfg.device)
    document = pdf.read(data.HANDBOOK, first=min(cfg.pages, 114))
    texts = [chunk.embedded for chunk in chunks.split(document, cfg.size, 32)]
    texts = [texts[row] for row in np.random.default_rng(cfg.seed).permutation(len(texts))[: cfg.texts]]
    peer = "sentence-transformers"
    options = {"normalize_embeddings": True, "show_progress_bar": False}
    apart = float(np.abs(ours.encode(texts) - theirs.encode(texts, **options)).max())
    contestants = {"ours": lambda: ours.encode(texts), peer: lambda: theirs.encode(texts, **options)}
    laps = race.take_turns(contestants, cfg.rounds)
    table, numbers = race.table(laps, dict.fromkeys(laps, len(texts)), "chunks", peer, threads)
    numbers["difference"] = {"largest": apart}
    lengths = [ours.count(text) for text in texts]
    about = (
        f"{len(texts)} chunks of {min(lengths)} to {max(lengths)} tokens, {device}. The vectors differ by {apart:.1e}."
    )
    return f"{about}\n\n{table}", numbers


def bench_ingest(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Seconds of each step from PDF pages to an index, and what 1,000 pages take."""
    embedder, count, copy, many = Embedder("minilm", cfg.device), 0, 0, 0
    steps = dict.fromkeys(("read", "split", "embed", "sentences", "store"), 0.0)

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        done = work()
        steps[name] += time.perf_counter() - began
        return done

    with tempfile.TemporaryDirectory() as folder:
        index = ExactIndex(Path(folder) / "index", Settings("minilm", embedder.dimension, cfg.size, 32))
        sentences = Sentences(embedder, Path(folder) / "sentences")
        while count < cfg.pages:
            first = min(114, cfg.pages - count)
            document = timed("read", lambda first=first: pdf.read(data.HANDBOOK, first=first))
            document = other(document, copy)
            parts = timed("split", lambda document=document: chunks.split(document, cfg.size, 32))
            vectors = timed("embed", lambda parts=parts: embedder.encode([chunk.embedded for chunk in parts]))
            timed("sentences", lambda parts=parts: sentences.add(parts))
            timed("store", lambda d=document, p=parts, v=vectors: index.add(d, p, v))
            count, copy, many = count + first, copy + 1, many + len(parts)
    total = sum(steps.values())
    rows = [[name, f"{seconds:.1f}", f"{1000 * seconds / count:.1f}", f"{seconds / total:.0%}"]
            for name, seconds in steps.items()]  # fmt: skip
    rows.append(["all", f"{total:.1f}", f"{1000 * total / count:.1f}", ""])
    how = "measured" if count >= 1_000 else f"extrapolated from {count}"
    about = f"{count:,} pages, {many:,} chunks, {device}. 1,000 pages: {1000 * total / count:.0f} s ({how})."
    numbers = {**{name: {"seconds": seconds} for name, seconds in steps.items()},
               "thousand pages": {"seconds": 1000 * total / count, "pages": count}}  # fmt: skip
    return f"{about}\n\n{markdown(['step', 's', 'ms a page', 'share'], rows)}", numbers


def other(document: Document, copy: int) -> Document:
    """The document with another number in each of its texts, so that nothing of it has been embedded before."""
    from dataclasses import replace

    pages = tuple(
        replace(page, blocks=tuple(replace(block, text=f"{block.text} ({copy})") for block in page.blocks))
        for page in document.pages
    )
    return Document(f"{document.id[:12]}{copy:04}", f"{copy} {document.name}", pages)


BENCHES = {"search": bench_search, "query": bench_query, "embed": bench_embed, "ingest": bench_ingest}


def main(cfg: Config) -> dict[str, Any]:
    """Times searches, questions, the embedder and the way from a PDF into the index, beside named peers."""
    return race.parts(cfg, 11, BENCHES, choose(cfg.device))


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
