"""Which search, and chunks of which size? All of them, on the questions of val. `./course run 11 compare`

A question is a hit where one of the passages found holds one of its evidence quotes, word for word but for spaces. Test
is not read: what is chosen here, is chosen on val.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week11_rag/compare.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import time
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import Any, Literal

from shared import cli, results, runs, trials
from shared.config import Count, Natural
from shared.errors import CourseError
from shared.files import ROOT

PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"sizes": (64,), "overlaps": (8,), "first": 20},
    "quick": {},
    "full": {"sizes": (64, 128, 192, 256, 384, 512), "overlaps": (0, 32, 64)},
}
METHODS: dict[str, dict[str, Any]] = {  # flags of Retriever; `sentences` is whether hybrid has them
    "BM25": {"how": "bm25"},
    "dense": {"how": "dense"},
    "dense + BM25": {"how": "hybrid"},
    "hybrid": {"how": "hybrid", "sentences": True},
    "hybrid, late": {"how": "hybrid", "sentences": True, "rescore": "late"},
    "hybrid, mmr 0.3": {"how": "hybrid", "sentences": True, "mmr": 0.3},
}


@dataclass
class Config:
    """The flags of compare: a search by every method, for each of --sizes and --overlaps."""

    data: str = "sample"
    """What to search, as in train.py; with questions beside it."""
    embedder: str = "minilm"
    """What makes vectors of texts."""
    sizes: tuple[Count, ...] = field(default=(64, 128, 256, 384))
    """Tokens of a chunk at most."""
    overlaps: tuple[Natural, ...] = field(default=(0, 32))
    """How many tokens a chunk may repeat of the one before it."""
    first: Natural = 0
    """Read so many pages only; 0: all."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the embedder computes."""
    jobs: Natural = 1
    """Sizes side by side, each in a process of its own (0: one per core)."""
    threads: Count = 1
    """CPU threads of each."""
    out: str = ""
    """The folder for tables and the picture. What it holds already is not measured again."""
    preset: str = "quick"
    """A set of defaults: `smoke` (seconds), `quick` (the handbook), `full` (more sizes)."""
    publish: bool = False
    """Put the tables into the week's RESULTS.md (for whoever looks after the lesson)."""


@cache
def documents(name: str, first: int) -> list[Any]:
    """The PDFs, read once by each process."""
    from week11_rag import data, pdf

    return [pdf.read(source.path, name=source.name, first=first) for source in data.load(name)]


@cache
def embedder_of(name: str, device: str) -> Any:
    """The embedder, which remembers what it has embedded: most sentences are those of other sizes, too."""
    import numpy as np

    from week11_rag.embed import Embedder

    known: dict[str, Any] = {}

    class Remembering(Embedder):
        def encode(self, texts: Any) -> Any:
            new = list(dict.fromkeys(text for text in texts if text not in known))
            known.update(zip(new, super().encode(new), strict=True))
            return np.stack([known[text] for text in texts])

    return Remembering(name, device)


def asked_of(name: str, first: int) -> list[Any]:
    """The questions of val that have an answer, and have it on the pages that are read."""
    from week11_rag import data

    found = [question for question in data.questions(name) if question.part == "val" and question.answerable]
    return [question for question in found if not first or all(page <= first for page, _ in question.evidence)]


def one(flags: trials.Flags, threads: int) -> runs.Row:
    """What all methods come to on val, with chunks of one size: {"scores": {method: …}, "chunks", "lost", …}."""
    import torch

    from week11_rag import gold
    from week11_rag.chunks import split
    from week11_rag.exact import ExactIndex
    from week11_rag.retrieve import Retriever
    from week11_rag.sentences import Sentences
    from week11_rag.store import Settings

    torch.set_num_threads(threads)
    began, read = time.perf_counter(), documents(flags["data"], flags["first"])
    embedder = embedder_of(flags["embedder"], flags["device"])
    index = ExactIndex(None, Settings(embedder.name, embedder.dimension, flags["size"], flags["overlap"]))
    for document in read:
        parts = split(document, flags["size"], flags["overlap"], embedder.count)
        index.add(document, parts, embedder.encode([part.embedded for part in parts]))
    sentences = Sentences(embedder)
    sentences.add(index.chunks())
    questions, found = asked_of(flags["data"], flags["first"]), {}
    for name in flags["methods"]:
        options = dict(METHODS[name])
        has = sentences if options.pop("sentences", False) else None
        found[name] = gold.searched(Retriever(index, embedder, **options, sentences=has), questions, index.chunks())
    some, scores = next(iter(found.values())), {name: one.scores() for name, one in found.items()}
    lost, seconds = sum(not right for right in some.right), time.perf_counter() - began
    return {"scores": scores, "chunks": len(index), "lost": lost, "asked": len(some.questions), "seconds": seconds}


def table(rows: dict[Any, runs.Row], score: str) -> str:
    """A line a method, a column for each size and overlap."""
    best = max(one[score] for row in rows.values() for one in row["scores"].values())
    lines = []
    for method in next(iter(rows.values()))["scores"]:
        found = [row["scores"][method][score] for row in rows.values()]
        lines.append([method, *(f"**{one:.3f}**" if one == best else f"{one:.3f}" for one in found)])
    about = [["*chunks*", *(f"{row['chunks']:,}" for row in rows.values())],
             ["*answers cut in two*", *(str(row["lost"]) for row in rows.values())]]  # fmt: skip
    return results.markdown(["", *(f"{size}/{overlap}" for size, overlap in rows)], [*lines, *about])


def main(cfg: Config) -> dict[str, Any]:
    """Searches val by every method with chunks of every size, and prints and draws hit@5 and MRR.

    Returns {"rows": {"256/32": …}}.
    """
    from week11_rag import drawing

    if not asked_of(cfg.data, cfg.first):
        raise CourseError(f"--data {cfg.data}: no questions of val lie beside it; the README says how they look.")
    out = Path(cfg.out) if cfg.out else ROOT / "runs" / "week11" / f"compare-{cfg.preset}"
    out.mkdir(parents=True, exist_ok=True)
    same = {"data": cfg.data, "embedder": cfg.embedder, "first": cfg.first, "device": cfg.device,
            "methods": list(METHODS)}  # fmt: skip
    both = [(size, overlap) for size, overlap in product(cfg.sizes, cfg.overlaps) if 2 * overlap <= size]
    if not both:
        raise CourseError("--overlaps: each is more than half of every one of --sizes; give smaller ones.")
    todo = {(size, overlap): same | {"size": size, "overlap": overlap} for size, overlap in both}
    rows = trials.run_all(todo, one, out, trials.side_by_side(cfg.jobs, cfg.device), cfg.threads)
    first = next(iter(rows.values()))
    tables = {score: table(rows, score) for score in ("hit_at_5", "mrr")}
    print(f"\n{first['asked']} questions of val; columns: tokens of a chunk / of its overlap")
    for score, text in tables.items():
        print(f"\n{score.replace('hit_at_', 'hit@').replace('mrr', 'MRR')}\n\n{text}")
    lines = {method: [(size, row["scores"][method]["hit_at_5"], row["scores"][method]["mrr"])
                      for (size, overlap), row in rows.items() if overlap == cfg.overlaps[-1]]
             for method in METHODS}  # fmt: skip
    drawing.sizes(out / "sizes.png", lines)
    print(f"\npicture: {out / 'sizes.png'}")
    if cfg.publish:
        for score, text in tables.items():
            results.publish(11, f"compare {score.replace('_', ' ')}", text)
    return {"rows": {f"{size}/{overlap}": row for (size, overlap), row in rows.items()}}


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
