"""Reads PDFs into an index and fits when to refuse: `./course train 11`, or `python -m week11_rag.train --help`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week11_rag/train.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge

from shared import band, cli, runs
from shared.config import Count, Natural, Share, TrainConfig
from shared.device import choose
from shared.errors import CourseError
from shared.files import read_json, write_json
from shared.interrupt import StopRequest
from shared.terminal import mine
from week11_rag import data, ingest, support
from week11_rag.data import Question
from week11_rag.embed import Embedder
from week11_rag.exact import ExactIndex
from week11_rag.index import Index, Settings, open_index
from week11_rag.measures import hit_at_k, mean_reciprocal_rank, relevant
from week11_rag.pages import Document, Page
from week11_rag.retrieve import CrossEncoder, How, Retriever, check_rescore
from week11_rag.sentences import Sentences

WEEK_NUMBER = 11
INDEX, SENTENCES, SUPPORT, SOURCES = "index", "sentences", "support.json", "sources.json"
STEPS = 8  # rows of the log: after each eighth of the pages
DEEP = 10  # how far down the first right passage is looked for


@dataclass
class Config(TrainConfig):
    """The flags of week 11."""

    data: str = "sample"
    """`sample` (the bundled handbook), a PDF, or a folder with PDFs. With --resume: what the index is to have from now
    on; what is the same stays, what has changed is replaced, what is gone leaves."""
    embedder: str = "minilm"
    """What makes vectors of texts: `minilm` (offline), a sentence encoder of the hub, or its folder."""
    size: Annotated[int, Ge(16)] = 256
    """Tokens of a chunk at most, its headings included. Small: exact, but without what stands around. Large: vague."""
    overlap: Natural = 32
    """How many tokens a chunk may repeat of the one before, in whole sentences."""
    store: Literal["exact", "chroma"] = "exact"
    """exact (NumPy: right and fast up to some 100,000 chunks) or chroma (HNSW, nearly right)."""
    server: str = ""
    """http://host:port of a Chroma server that keeps the index, for several processes; default: the run's folder."""
    how: How = "hybrid"
    """How val is searched: dense (by meaning), bm25 (by words), hybrid (both). Others can be asked for later on."""
    rescore: str = "none"
    """none, late (token by token) or cross:MODEL (a cross-encoder reads question and passage together)."""
    mmr: Share = 0.0
    """How much passages are to differ from each other; 0: not at all."""
    ocr: Literal["auto", "never"] = "auto"
    """Whether pages that are pictures are recognised, where rapidocr is installed."""
    first: Natural = 0
    """Read so many pages of each PDF only; 0: all."""
    batch: Count = 16
    """Texts that are embedded at once. Lower it when memory runs out."""
    threads: Natural = 0
    """CPU threads (0: as many as torch takes)."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"first": 20},
    "quick": {},
    "full": {"store": "chroma"},
}
# What --resume may change: what is read, how val is searched, and where it computes.
FREE = ("data", "how", "rescore", "mmr", "batch", "device", "threads")


def scores(retriever: Retriever, questions: Sequence[Question]) -> dict[str, float]:
    """{val_hit_at_5, val_mrr} over the questions that have an answer; nothing where there are none."""
    asked = [question for question in questions if question.answerable]
    if not asked:
        return {}
    right = relevant(asked, retriever.index.chunks())
    found = [[passage.chunk.id for passage in retriever.search(question.text, DEEP)] for question in asked]
    return {"val_hit_at_5": hit_at_k(found, right, 5), "val_mrr": mean_reciprocal_rank(found, right)}


def fill(cfg: Config, run: runs.Run, index: Index, embedder: Embedder, todo: ingest.Plan, val: list[Question]) -> None:
    """Stores what is to be done, portion by portion. After each eighth of the pages a row goes to the log.

    Raises:
        Stopped: Ctrl-C was pressed; what is stored is kept.
    """
    state = {"step": 0, "seconds": 0.0} | run.take_state()
    step, before = int(state["step"]), float(state["seconds"])
    finished = (run.folder / "result.json").is_file()  # then this is a change to it
    open_pages = [one for one in todo.wanted if not finished or one in todo.todo]
    pages = max(1, sum(one.pages for one in open_pages))
    done = {one.id: one.pages for one in open_pages if one not in todo.todo}
    watch = watched(index)
    sentences = Sentences(embedder, run.folder / SENTENCES)
    retriever = Retriever(watch, embedder, cfg.how, cfg.rescore, cfg.mmr, sentences)
    with StopRequest() as stop, run.log() as log:
        rows = len(run.rows)
        offset = rows if finished else 0
        for portion in ingest.store(todo, index, embedder, cfg.ocr, cfg.first, watch if val else None, tell):
            step += portion.new
            seconds = before + portion.seconds
            done[portion.found.id] = portion.pages
            run.save({"step": step, "seconds": seconds})
            reached = offset + int(STEPS * sum(done.values()) / pages + 1e-9)
            while rows < reached:
                rows += 1
                log({"epoch": rows, "step": step, **scores(retriever, val), "seconds": seconds})
            if stop and sum(done.values()) < pages:
                raise run.stopped(f"stopped after {step} passages; they are kept.")


def watched(index: Index) -> ExactIndex:
    """A copy of the index in memory, in which documents can be searched that are not complete."""
    copy, chunks = ExactIndex(None, index.settings), index.chunks()
    vectors = index.vectors([chunk.id for chunk in chunks]) if chunks else None
    for stored in index.documents():
        rows = [row for row, chunk in enumerate(chunks) if chunk.document == stored.id]
        document = Document(stored.id, stored.name, (Page(1, 0.0, 0.0, ()),) * stored.pages)
        copy.add(document, [chunks[row] for row in rows], vectors[rows])
    return copy


def tell(note: str) -> None:
    from tqdm import tqdm

    tqdm.write(f"  {note}")


def baselines(index: Index, embedder: Embedder, val: list[Question]) -> list[runs.Row]:
    """What one would do without all this: search by words alone, by vectors alone, and not at all."""
    rows = []
    for name, how in (("BM25 (words alone)", "bm25"), ("dense (vectors alone)", "dense")):
        began = time.perf_counter()
        retriever = Retriever(index, embedder, how)  # type: ignore[arg-type]
        found = scores(retriever, val)
        rows.append({"name": name, "params": 0, "seconds": round(time.perf_counter() - began, 2), **found})
    return [*rows, {"name": "no retrieval", "params": 0, "seconds": 0.0, "val_hit_at_5": 0.0, "val_mrr": 0.0}]


def fit_support(cfg: Config, retriever: Retriever, val: list[Question]) -> tuple[Any, str]:
    """When to refuse, fitted on a bootstrap of val that the seed draws; and a note where there is too little to fit on,
    so that the bundled weights are taken."""
    try:
        return support.fit(val, retriever, cfg.seed), ""
    except CourseError as error:
        return support.load(), f"refusals follow the bundled weights: {error}"


def finish(
    cfg: Config, run: runs.Run, index: Index, embedder: Embedder, val: list[Question], note: str
) -> dict[str, Any]:
    """Scores val, fits the support, writes what the other programs read, and shows the result."""
    sentences = Sentences(embedder, run.folder / SENTENCES)
    device, retriever = embedder.device, Retriever(index, embedder, cfg.how, cfg.rescore, cfg.mmr, sentences)
    began = time.perf_counter()
    if cfg.how == "hybrid":
        sentences.keep_only(index.chunks())
    metrics = scores(retriever, val)
    judge, said = fit_support(cfg, retriever, val)
    if not said:
        metrics |= {f"val_{name}": value for name, value in judge.scores.items()}
    judge.save(run.folder / SUPPORT)
    learned = {"weights": list(judge.weights), "bias": judge.bias}
    run.save_model({"support": learned, "settings": asdict(index.settings)})
    seconds = run.rows[-1]["seconds"] if run.rows else 0.0
    stored = index.documents()
    result = run.record(
        metrics, device, len(judge.weights) + 1, seconds + time.perf_counter() - began,
        baselines(index, embedder, val) if metrics else [],
        documents=[asdict(one) for one in stored], passages=len(index), pages=sum(one.pages for one in stored),
    )  # fmt: skip
    for line in filter(None, (note, said)):
        print(f"  {line}")
    show(result, cfg)
    if metrics:
        draw(run.folder / "curves.png", run.rows)
        if place := band.say(WEEK_NUMBER, asdict(cfg), run.rows):
            print(f"\n{place}")
        if mine():
            run.compare_with_reference()
    where = "" if run.is_newest() else f" --run {shlex.quote(str(run.folder))}"
    print(f"\nrun folder: {run.folder}")
    print(f"ask it: ./course run 11 chat{mine()}{where}")
    if data.questions(cfg.data):
        print(f"the test questions: ./course eval 11{mine()}{where}")
    return result | {"run": str(run.folder)}


def show(result: Mapping[str, Any], cfg: Config) -> None:
    """How much there is, and the result beside its baselines."""
    counts = {"document": len(result["documents"]), "page": result["pages"], "passage": result["passages"]}
    print("\n" + ", ".join(f"{many:,} {what}{'s' * (many != 1)}" for what, many in counts.items()))
    names = [name for name in ("val_hit_at_5", "val_mrr", "val_refusal_f1") if name in result["metrics"]]
    if not names:
        print("(no questions lie beside these PDFs, so nothing can be measured; the README says how they look)")
        return
    print("\n" + f"{'':24}" + "".join(f"{name.removeprefix('val_').replace('_', ' '):>14}" for name in names))
    for row in [{"name": f"this: {cfg.how}", **result["metrics"]}, *result["baselines"]]:
        print(f"{row['name']:24}" + "".join(f"{row[name]:>14.4f}" if name in row else f"{'':14}" for name in names))


def draw(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """hit@5 and MRR on val, while the pages come in."""
    from shared.plots import BLUE, ORANGE, figure

    rows = [row for row in rows if "val_mrr" in row]
    with figure(path) as (_, axes):
        steps = [row["step"] for row in rows]
        for name, label, colour in (("val_hit_at_5", "hit@5", ORANGE), ("val_mrr", "MRR", BLUE)):
            axes.plot(steps, [row[name] for row in rows], marker="o", label=label, color=colour)
        axes.set(xlabel="passages stored", title="Questions of val whose passage is found", ylim=(0, 1))
        axes.legend()


def main(cfg: Config) -> dict[str, Any]:
    """Reads PDFs, splits them, embeds the pieces and keeps them in an index to ask questions of.

    Fits, on the val questions, when the answer is "not in the document", and measures on them how well it finds.
    """
    import torch

    if cfg.overlap >= cfg.size:
        raise CourseError(f"--overlap {cfg.overlap}: must be below --size {cfg.size}.")
    check_rescore(cfg.rescore)
    sources, val = data.load(cfg.data), [one for one in data.questions(cfg.data) if one.part == "val"]
    if cfg.first:  # of what is not read, nothing can be asked
        val = [one for one in val if all(page <= cfg.first for page, _ in one.evidence)]
    if len(sources) == 1:
        ingest.pdf.about(sources[0].path)  # no folder is made for what cannot be read
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    choose(cfg.device)
    if cfg.rescore.startswith("cross:"):
        CrossEncoder(cfg.rescore.partition(":")[2])  # one that does not load is known before anything is stored
    embedder = Embedder(cfg.embedder, cfg.device, cfg.batch)
    settings = Settings(embedder.name, embedder.dimension, cfg.size, cfg.overlap)
    run = runs.begin(WEEK_NUMBER, cfg, FREE)
    index = open_index(cfg.server or run.folder / INDEX, settings, "chroma" if cfg.server else cfg.store)
    todo = ingest.plan(sources, index, cfg.first)
    for note in todo.notes:
        print(f"  {note}")
    note = ""
    if (run.folder / "result.json").is_file():
        if not todo.changes.any:
            print("nothing has changed: the index has these documents already.")
            return read_json(run.folder / "result.json") | {"run": str(run.folder)}
        note = "; ".join(f"{what} {', '.join(names)}" for what, names in asdict(todo.changes).items()
                         if names and what != "kept")  # fmt: skip
    else:
        pages = sum(one.pages for one in todo.wanted)
        print(f"PDFs: {len(todo.wanted)}, with {pages:,} page{'s' * (pages != 1)}; questions to choose by: {len(val)}")
    print(f"{embedder.name} on {embedder.device}")
    fill(cfg, run, index, embedder, todo, val)
    if not len(index):
        raise CourseError(f"--data {cfg.data}: there is no text in these PDFs.")
    write_json(run.folder / SOURCES, {one.id: str(one.source.path.absolute()) for one in todo.wanted})
    return finish(cfg, run, index, embedder, val, note)


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS, WEEK_NUMBER)
