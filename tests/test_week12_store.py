"""Week 12's store and index: what was acknowledged is there after kill -9, and the index follows what is stored."""

import hashlib
import io
import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
from programs import refused, write_pdf

from shared.errors import CourseError
from shared.files import ROOT
from week11_rag.answer import Bot
from week11_rag.embed import Embedder
from week11_rag.exact import ExactIndex
from week11_rag.retrieve import Retriever
from week11_rag.store import Settings as Made
from week11_rag.store import Stored
from week11_rag.support import Support
from week12_deploy import store as stores
from week12_deploy.library import Library
from week12_deploy.paper import pdf_of
from week12_deploy.store import Store


class Hashed(Embedder):
    """An embedder of words: each has a place of its own, by its hash."""

    name, dimension = "hashed", 256

    def __init__(self):
        pass

    def encode(self, texts):
        rows = np.full((len(texts), self.dimension), 1e-3, np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                row[int(hashlib.sha256(word.strip(".,?").encode()).hexdigest()[:8], 16) % self.dimension] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def count(self, text):
        return len(text.split())


def library(folder):
    """Week 11's bot over an exact index in a folder, and the library of its documents; without a language model."""
    embedder = Hashed()
    index = ExactIndex(folder / "index", Made("hashed", 256, 64, 8))
    support = object.__new__(Support)  # nobody is asked here
    bot = Bot(Retriever(index, embedder, "dense"), support, folder=folder)
    return Library(Store(folder), bot)


def put(shelf, word, name=""):
    """Stores and indexes a document about a word, as an upload does. Returns its id."""
    content = pdf_of(f"This page is about {word} and about nothing else.")
    id, received, _ = shelf.store.receive(io.BytesIO(content))
    record, new = shelf.keep(id, received, name or f"{word}.pdf", 1)
    if new:
        shelf.index(record)
    return id


# ---------------------------------------------------------------- the store


def test_what_is_received_is_stored_by_its_hash_and_only_once(tmp_path):
    store = Store(tmp_path)
    content = os.urandom(3_000_000)
    id, received, size = store.receive(io.BytesIO(content))
    assert id == hashlib.sha256(content).hexdigest()[:16] and size == len(content)
    assert store.get(id) is None and not store.records(), "not stored before it is committed"
    record = store.commit(id, received, "noise.pdf", 7)
    assert store.file(id).read_bytes() == content and not received.exists()
    assert store.get(id) == record and (record.bytes, record.pages, record.name) == (size, 7, "noise.pdf")
    assert Store(tmp_path).records() == [record], "another process sees it, too"
    assert store.discard(id) and not store.discard(id)
    assert not list(store.documents.iterdir()) and store.get(id) is None
    assert store.get("../../etc/passwd") is None


def test_the_bytes_are_on_the_disk_before_the_record_is(tmp_path, monkeypatch):
    """In this order: bytes, name, record, its name, folder. A crash between any two loses nothing that was told."""
    seen = []
    real_sync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append("fsync") or real_sync(handle))
    path = type(tmp_path)
    monkeypatch.setattr(
        path, "replace", lambda self, target: seen.append(f"-> {target.suffix}") or real_replace(self, target)
    )
    store = Store(tmp_path)
    id, received, _ = store.receive(io.BytesIO(b"x"))
    seen.clear()
    store.commit(id, received, "x.pdf", 1)
    assert seen == ["-> .tmp", "fsync", "-> .pdf", "fsync", "-> .json", "fsync"]


def test_what_a_crash_leaves_is_cleared_away(tmp_path):
    store = Store(tmp_path)
    id, received, _ = store.receive(io.BytesIO(b"whole"))
    store.commit(id, received, "whole.pdf", 1)
    _, stale, _ = store.receive(io.BytesIO(b"never committed"))
    os.utime(stale, (0, 0))
    _, coming, _ = store.receive(io.BytesIO(b"another process is receiving it"))
    (store.documents / "0123456789abcdef.pdf").write_bytes(b"without a record")
    (store.documents / f".{id}.json.17.tmp").write_bytes(b"half")
    store.tidy()
    assert sorted(path.name for path in store.documents.iterdir()) == [f"{id}.json", f"{id}.pdf"]
    assert list(store.incoming.iterdir()) == [coming]


def test_an_upload_that_breaks_off_leaves_nothing(tmp_path):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            if self.tell():
                raise ConnectionResetError
            return super().read(10)

    store = Store(tmp_path)
    with pytest.raises(ConnectionResetError):
        store.receive(Broken(b"x" * 100))
    assert not list(store.incoming.iterdir())


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    line = refused(Store, tmp_path / "file" / "store")
    assert line.startswith(f"--store {tmp_path}/file/store: ") and line.endswith(
        "Choose a folder that can be written to."
    )


# ---------------------------------------------------------------- store and index


def names(shelf):
    return {row.record.name: row.status for row in shelf.listed()}


def test_the_index_is_made_to_hold_what_the_store_holds(tmp_path):
    shelf = library(tmp_path)
    kept, lost, extra = (put(shelf, word) for word in ("kept", "lost", "extra"))
    shelf.bot.remove(lost)  # as after a crash between storing and indexing
    shelf.store.discard(extra)  # and one between discarding and taking it out of the index
    assert names(shelf) == {"kept.pdf": "ready", "lost.pdf": "indexing"}
    told = []
    assert library(tmp_path).reconcile(told.append) == (1, 1) and told == ["lost.pdf"]
    again = library(tmp_path)
    assert names(again) == {"kept.pdf": "ready", "lost.pdf": "ready"} and again.reconcile() == (0, 0)
    assert {stored.id for stored in again.bot.documents()} == {kept, lost}
    assert again.bot.retrieve("about lost", 1)[0].chunk.document == lost


def test_a_document_that_was_replacing_another_one_when_it_crashed(tmp_path):
    """Before it is indexed the older one is what somebody was told of; afterwards the newer one."""
    shelf = library(tmp_path)
    old = put(shelf, "old", "same.pdf")
    content = pdf_of("This page is about new.")
    id, received, _ = shelf.store.receive(io.BytesIO(content))
    shelf.keep(id, received, "same.pdf", 1)  # the crash comes here
    assert library(tmp_path).reconcile() == (1, 0)
    assert [(row.record.id, row.status) for row in library(tmp_path).listed()] == [(id, "ready")]
    broken, received, _ = shelf.store.receive(io.BytesIO(b"%PDF-1.4 and nothing more"))
    shelf.keep(broken, received, "same.pdf", 1)
    last = library(tmp_path)
    last.reconcile()
    found = {row.record.id: (row.status, row.detail) for row in last.listed()}
    assert found[id][0] == "ready" and old not in found, "what can be read stays, though something newer cannot"
    assert found[broken] == (
        "failed",
        "same.pdf is cut short: the end of the PDF is missing. Copy or download it again.",
    )


def test_a_truncated_index_is_mended_at_the_start(tmp_path):
    shelf = library(tmp_path)
    ids = [put(shelf, word) for word in ("alpha", "beta", "gamma")]
    for number, id in enumerate(ids[:2]):
        path = next((tmp_path / "index" / id).glob("*.safetensors" if number else "*.jsonl"))
        path.write_bytes(path.read_bytes()[:-7])
    torn = library(tmp_path)
    assert [row.status for row in torn.listed()] == ["indexing", "indexing", "ready"]
    assert torn.reconcile()[0] == 2
    mended = library(tmp_path)
    assert [row.status for row in mended.listed()] == ["ready"] * 3
    for word, id in zip(("alpha", "beta", "gamma"), ids, strict=True):
        assert mended.bot.retrieve(f"about {word}", 1)[0].chunk.document == id


def test_an_index_that_is_not_there_is_an_error_of_the_whole(tmp_path):
    shelf = library(tmp_path)
    put(shelf, "one")

    def documents():
        raise CourseError("no Chroma server answers at http://localhost:1 (ConnectError): start one.")

    shelf.bot.documents = documents
    assert refused(shelf.reconcile).startswith("no Chroma server answers")
    (one,) = shelf.store.records()
    assert one, "and nothing is taken for lost"
    assert refused(shelf.remove, one.id).startswith("no Chroma server answers")
    assert shelf.store.get(one.id) == one, "what was not taken out of the index is still stored"


def test_an_index_that_fails_while_a_document_is_replaced_does_not_lose_the_older_one(tmp_path):
    shelf = library(tmp_path)
    old = put(shelf, "old", "same.pdf")
    id, received, _ = shelf.store.receive(io.BytesIO(pdf_of("This page is about new.")))
    record, _ = shelf.keep(id, received, "same.pdf", 1)

    def remove(id):
        raise CourseError("no Chroma server answers at http://localhost:1 (ConnectError): start one.")

    shelf.bot.remove = remove
    assert refused(shelf.index, record).startswith("no Chroma server answers")
    shelf.forget(id)  # as the service does, which tells its caller that nothing was stored
    again = library(tmp_path)
    again.reconcile()
    assert [(row.record.id, row.status) for row in again.listed()] == [(old, "ready")]


# ---------------------------------------------------------------- kill -9

WORKS = """
import random, sys
sys.path[:0] = [sys.argv[2], sys.argv[2] + "/tests"]
from pathlib import Path
import test_week12_store as here

shelf = here.library(Path(sys.argv[1]))
shelf.reconcile()
rng, mine = random.Random(int(sys.argv[3])), []
print("ready", flush=True)
while True:
    if mine and rng.random() < 0.25:
        word = mine.pop(rng.randrange(len(mine)))
        print("try", word, flush=True)
        content = here.pdf_of(f"This page is about {word} and about nothing else.")
        shelf.remove(here.hashlib.sha256(content).hexdigest()[:16])
        print("gone", word, flush=True)
    else:
        word = f"w{rng.getrandbits(40):010x}"
        print("try", word, flush=True)
        here.put(shelf, word)
        mine.append(word)
        print("here", word, flush=True)
"""


def test_kill_9_in_the_middle_of_writing_loses_nothing_that_was_acknowledged(tmp_path):
    """Twice, at random moments; `./course run 12 crash` does it fifty times to the whole service."""
    rng, told, last = random.Random(0), {}, ""
    for seed in range(2):
        command = [sys.executable, "-P", "-c", WORKS, tmp_path, ROOT, str(seed)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", env=os.environ) as child:
            left = rng.randrange(5, 60)
            for line in child.stdout:
                what, _, word = line.strip().partition(" ")
                if what == "ready":
                    continue
                told[word], last, left = what, word, left - 1
                if left == 0:
                    child.send_signal(signal.SIGKILL)
                    for rest in child.stdout:  # what it had said before it died
                        what, _, word = rest.strip().partition(" ")
                        told[word], last = what, word
        assert child.returncode == -signal.SIGKILL and last
    shelf = library(tmp_path)
    shelf.reconcile()
    there = names(shelf)
    acknowledged = {word for word, what in told.items() if what == "here"}
    assert len(acknowledged) > 5 and "gone" in told.values()
    assert all(there.get(f"{word}.pdf") == "ready" for word in acknowledged), "lost"
    assert not [word for word, what in told.items() if what == "gone" and f"{word}.pdf" in there], "back again"
    assert set(there.values()) == {"ready"}, "what was not acknowledged is there whole, or not at all"
    for word in sorted(acknowledged)[:5]:
        assert word in shelf.bot.retrieve(f"about {word}", 1)[0].chunk.text


def test_the_papers_of_the_crash_can_be_read(tmp_path):
    from week11_rag import pdf

    (tmp_path / "a.pdf").write_bytes(pdf_of("A page (with brackets) and a backslash \\.", "The second\none."))
    found = pdf.read(tmp_path / "a.pdf")
    assert len(found.pages) == 2 and found.pages[0].blocks[0].text == "A page (with brackets) and a backslash \\."
    write_pdf(tmp_path / "b.pdf", [[(10, "b")]])
    assert stores.on_disk(tmp_path) is None and isinstance(Stored("a", "b", 1, 1), Stored)
