"""Puts the service together: settings → service → routes, gate and pages; and the bot out of week 11's parts."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared import runs
from shared.errors import CourseError
from shared.files import read_json, write_json
from week12_deploy.library import lock_of
from week12_deploy.settings import Settings
from week12_deploy.store import Store

INDEX, SENTENCES, BEGUN, LOCK = "index", "sentences", "begun.json", ".service.lock"
"""What the folder of a service holds beside its documents."""


def application(cfg: Settings, open_bot: Any = None, build: Callable[[Any], Any] | None = None) -> Any:
    """What uvicorn runs.

    Args:
        cfg: the settings.
        open_bot: makes the bot; default: week 11's, by `bot`.
        build: makes the pages of a bot; default: week 11's.
    """
    from week12_deploy import api, ui
    from week12_deploy.service import Service

    service = Service(cfg, open_bot or bot)
    app = api.create(service)
    app.state.service = service
    if cfg.ui != "none":
        service.beside = ui.Pages(cfg, build or week11_pages)
        app.mount(ui.AT, service.beside)
    return app


def week11_pages(some: Any) -> Any:
    """Week 11's pages; gradio is imported here."""
    from week11_rag import app

    return app.build(some)


# ---------------------------------------------------------------- the bot


def bot(cfg: Settings, wrap: Callable[[Any], Any] = lambda embedder: embedder) -> Any:
    """Week 11's bot over the service's own index; an empty store begins with the documents of week 11's run.

    Args:
        cfg: the settings.
        wrap: what becomes of the embedder before anything asks it.

    Raises:
        CourseError: a run, a model, a server or the language model is not there; another service works in the folder.
    """
    from week11_rag.answer import Bot
    from week11_rag.index import open_index
    from week11_rag.language import open_language
    from week11_rag.retrieve import Retriever
    from week11_rag.sentences import Sentences
    from week11_rag.support import load
    from week11_rag.train import INDEX as ITS_INDEX
    from week11_rag.train import SUPPORT, WEEK_NUMBER, Config

    run = Path(cfg.run).expanduser() if cfg.run else runs.newest(WEEK_NUMBER, SUPPORT)
    if not (run / SUPPORT).is_file():
        raise CourseError(f"--run {cfg.run}: no run of week 11 with a {SUPPORT}: `./course train 11` makes one.")
    made = runs.read_config(Config, run)
    if made.rescore != "none" and cfg.model != "torch":
        raise CourseError(f"{run} was made with --rescore {made.rescore}, which takes torch: serve with --model torch.")
    lock = alone(cfg.folder) if cfg.workers == 1 else None
    embedder = wrap(embedder_of(cfg, made))
    first = open_index(made.server or run / ITS_INDEX)
    cfg.folder.mkdir(parents=True, exist_ok=True)
    with lock_of(cfg.folder):  # of several workers one makes the index and fills it
        index = open_index(cfg.index or cfg.folder / INDEX, first.settings)
        begin(cfg.folder, run, first, index)
        sentences = Sentences(embedder, cfg.folder / SENTENCES)
        sentences.tidy(index.chunks())
    retriever = Retriever(index, embedder, made.how, made.rescore, made.mmr, sentences)
    found = Bot(retriever, load(run / SUPPORT), open_language(cfg.lm, timeout=cfg.timeout), folder=cfg.folder)
    found.file = file_in(Store(cfg.folder))  # for the pages' pictures: also of what another worker has stored
    found.lock = lock  # as long as the bot lives
    if len(index):  # words are counted and vectors stacked now, and not for whoever asks first
        found.find.invoke({"question": "What is this about?", "history": [], "began": 0.0})
    return found


def file_in(store: Store) -> Callable[[str], Path]:
    """A function from a document's id to its PDF.

    Raises:
        CourseError: it is not stored (any more).
    """

    def file(identity: str) -> Path:
        if store.get(identity) is None:
            raise CourseError(f"there is no document {identity} any more.")
        return store.file(identity)

    return file


def embedder_of(cfg: Settings, made: Any) -> Any:
    """The exported embedder, or week 11's own."""
    from week12_deploy.onnx_embedder import CARD, OnnxEmbedder

    if cfg.model == "torch":
        from week11_rag.embed import Embedder

        return Embedder(made.embedder)
    folder = Path(cfg.model).expanduser() if cfg.model else runs.newest(12, CARD)
    return OnnxEmbedder(folder, threads=cfg.threads)


def begin(folder: Path, run: Path, first: Any, index: Any) -> None:
    """Lets an empty store begin with what week 11's run has: its PDFs, their passages and vectors. Done once.

    A document whose PDF is nowhere any more is left out: nothing could be shown or mended of it.
    """
    from week11_rag.pages import Document, Page
    from week11_rag.train import SENTENCES as ITS_SENTENCES

    if (folder / BEGUN).is_file():
        return
    store, names = Store(folder), []
    if (run / ITS_SENTENCES).is_dir():
        shutil.copytree(run / ITS_SENTENCES, folder / SENTENCES, dirs_exist_ok=True)
    there = {stored.id for stored in index.documents()}
    for stored in first.documents():
        path = pdf_of(run, stored.id)
        if path is None:
            continue
        with path.open("rb") as file:
            identity, received, _ = store.receive(file)
        if identity != stored.id:  # the file has become another one since
            received.unlink()
            continue
        store.commit(identity, received, stored.name, stored.pages)
        if stored.id not in there:
            chunks = [chunk for chunk in first.chunks() if chunk.document == stored.id]
            blank = Document(stored.id, stored.name, (Page(1, 0.0, 0.0, ()),) * stored.pages)
            index.add(blank, chunks, first.vectors([chunk.id for chunk in chunks]))
        names.append(stored.name)
    write_json(folder / BEGUN, {"run": str(run), "documents": names})


def pdf_of(run: Path, identity: str) -> Path | None:
    """Where the PDF of a document of week 11's run lies: in the run itself, or where it was read from."""
    from week11_rag.train import SOURCES

    sources = read_json(run / SOURCES) if (run / SOURCES).is_file() else {}
    places = (run / "documents" / f"{identity}.pdf", run / sources.get(identity, "nowhere"))
    return next((path for path in places if path.is_file()), None)


def alone(folder: Path) -> Any:
    """Holds the folder of a service for this process: until what is returned is let go by release(), or gone.

    Raises:
        CourseError: another process has it.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(folder / LOCK, timeout=0, thread_local=False, is_singleton=True).acquire().lock
    except Timeout:
        raise CourseError(
            f"--store {folder}: another service works there. Stop it, or choose another folder."
        ) from None
