"""Makes the index of a service anew out of the documents that it has stored: `./course run 12 rebuild`.

What is stored are the PDFs; the index follows from them. So whatever has become of it (a disk that was full, half a
backup), this mends it. The service is stopped before.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week12_deploy/rebuild.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import shutil
from contextlib import ExitStack
from dataclasses import dataclass

from shared import cli
from shared.errors import CourseError
from week12_deploy.settings import Settings


@dataclass
class Config:
    """The flags of rebuild, as serve has them."""

    store: str = Settings.store
    """The service's folder."""
    run: str = ""
    """Week 11's run, whose settings are taken (default: the newest)."""
    model: str = ""
    """Week 12's run with the exported embedder (default: the newest), or `torch` for week 11's own."""
    index: str = ""
    """http://host:port of a Chroma server; default: a folder in the store."""


def main(cfg: Config) -> dict[str, int]:
    """Makes the index of a service anew out of the documents that it has stored.

    Returns {documents, failed}.
    """
    from week12_deploy import assembly
    from week12_deploy.library import Library
    from week12_deploy.store import Store

    folder = Path(cfg.store).expanduser().absolute()
    if not (folder / "documents").is_dir():
        raise CourseError(f"--store {cfg.store}: no service has stored documents there.")
    settings = Settings(run=cfg.run, model=cfg.model, store=cfg.store, index=cfg.index, lm="extractive")
    store = Store(folder)
    with ExitStack() as stack:
        stack.callback(assembly.alone(folder).release)
        if not cfg.index:
            shutil.rmtree(folder / assembly.INDEX, ignore_errors=True)
        shutil.rmtree(folder / assembly.SENTENCES, ignore_errors=True)
        library = Library(store, assembly.bot(settings))
        for document in library.bot.documents():  # of a server's, whose collection stays
            library.bot.remove(document.id)
        print("reading and embedding all documents; half a minute of one core for a hundred pages ...", flush=True)
        library.reconcile(lambda name: print(f"  {name}", flush=True))
        rows = library.listed()
    for row in rows:
        if row.status == "failed":
            print(f"  cannot be read any more: {row.record.name}: {row.detail}")
    ready = sum(row.status == "ready" for row in rows)
    print(f"{ready} document{'s' * (ready != 1)}, {sum(row.chunks for row in rows):,} passages: the index is whole.")
    return {"documents": ready, "failed": len(rows) - ready}


if __name__ == "__main__":
    cli.launch(main, Config)
