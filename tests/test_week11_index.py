"""Week 11: both stores keep and find the same; what damaged files leave; the embedder; searches of all kinds.

Vectors are made of words here, by a stub of an embedder: only the tests of the embedder itself load a network.
"""

import dataclasses
import zlib

import numpy as np
import pytest
from programs import close, refused

from week11_rag import retrieve
from week11_rag.chunks import Chunk
from week11_rag.index import ExactIndex, Settings, open_index
from week11_rag.pages import Document, Page
from week11_rag.retrieve import Retriever
from week11_rag.words import Words, words

DIM = 64
SETTINGS = Settings("stub", DIM, 256, 32)


class Stub:
    """An embedder whose vectors have a number for each word, by its checksum."""

    name, dimension = "stub", DIM

    def encode(self, texts):
        found = np.zeros((len(texts), DIM), np.float32)
        for row, text in zip(found, texts, strict=True):
            for word in text.lower().split():
                row[zlib.crc32(word.strip(".,?!").encode()) % DIM] += 1
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)

    def encode_tokens(self, texts):
        return [self.encode(text.split()) for text in texts]


SAID = ("Rye bread is dark.", "Oats are for soup.", "Salt comes last.", "The oven is hot.", "Bread of oats is rare.")


def made(id="d1", name="a.pdf", texts=SAID, pages=2):
    """A document, its chunks and their vectors."""
    document = Document(id, name, tuple(Page(number, 1.0, 1.0, ()) for number in range(1, pages + 1)))
    chunks = [Chunk(f"{id}-{n}", id, name, text, ("Food",), ((1, 0, 3), (2, 3, len(text))), n)
              for n, text in enumerate(texts)]  # fmt: skip
    return document, chunks, Stub().encode([chunk.embedded for chunk in chunks])


@pytest.fixture(params=["exact", "chroma"])
def opened(request, tmp_path):
    """opened() opens the index of this test, anew each time."""
    return lambda settings=SETTINGS: open_index(tmp_path / "index", settings, request.param)


# ---------------------------------------------------------------- what both stores do


def test_what_is_added_is_found_after_it_was_closed_and_opened(opened):
    document, chunks, vectors = made()
    index = opened()
    assert len(index) == 0 and index.search(vectors[0], 3) == [] and index.documents() == []
    index.add(document, chunks, vectors)
    for one in (index, opened(None)):
        assert one.chunks() == chunks and len(one) == 5 and one.settings == SETTINGS
        ((stored),) = one.documents()
        assert dataclasses.astuple(stored) == ("d1", "a.pdf", 2, 5)
        found = one.search(vectors[3], 2)
        assert found[0][0] == chunks[3] and abs(found[0][1] - 1) < 1e-5 and found[1][1] < 0.9
        close(one.vectors(["d1-2", "d1-0"]), vectors[[2, 0]], "vectors")
        assert len(one.search(vectors[0], 99)) == 5


def test_what_is_added_twice_is_there_once(opened):
    index = opened()
    for _ in range(2):
        index.add(*made())
    index.add(*made("d2", "b.pdf"))
    assert len(index) == 10 == len({chunk.id for chunk in index.chunks()}) and len(opened()) == 10


def test_a_document_is_seen_when_it_is_whole(opened):
    document, chunks, vectors = made()
    index = opened()
    index.add(*made("d2", "b.pdf", SAID[:1]))
    index.add(document, chunks[:3], vectors[:3], total=5)
    index = opened()
    assert index.held("d1") == {"d1-0", "d1-1", "d1-2"} and [one.name for one in index.incomplete()] == ["a.pdf"]
    assert [one.name for one in index.documents()] == ["b.pdf"] and len(index) == 1
    assert [chunk.document for chunk, _ in index.search(vectors[1], 5)] == ["d2"]
    index.add(document, chunks[2:], vectors[2:], total=5)
    assert index.chunks() == [*chunks, *made("d2", "b.pdf", SAID[:1])[1]] and index.incomplete() == []


def test_sync_adds_replaces_removes_and_leaves_alone(opened):
    index, prepared = opened(), []

    def prepare(document):
        prepared.append(document.name)
        return made(document.id, document.name)[1:]

    def sync(*documents):
        prepared.clear()
        changes = index.sync([made(id, name)[0] for id, name in documents], prepare)
        return {what: names for what, names in dataclasses.asdict(changes).items() if names}

    assert sync(("d1", "a.pdf"), ("d2", "b.pdf")) == {"added": ("a.pdf", "b.pdf")}
    version = index.version
    assert sync(("d1", "a.pdf"), ("d2", "b.pdf")) == {"kept": ("a.pdf", "b.pdf")} and not prepared
    assert index.version == version
    assert sync(("d1", "a.pdf"), ("d3", "b.pdf")) == {"replaced": ("b.pdf",), "kept": ("a.pdf",)}
    assert prepared == ["b.pdf"] and index.version != version and {c.document for c in index.chunks()} == {"d1", "d3"}
    assert sync(("d3", "c.pdf")) == {"added": ("c.pdf",), "removed": ("a.pdf", "b.pdf")}
    assert [(one.id, one.name) for one in opened().documents()] == [("d3", "c.pdf")] and len(opened()) == 5
    assert index.remove("d3") and not index.remove("d3") and len(opened()) == 0


def test_other_settings_are_refused_with_the_cure(opened, tmp_path):
    opened()
    other = Settings("minilm", DIM, 128, 32)
    assert refused(opened, other) == (
        f"{tmp_path / 'index'} was made with embedder stub, size 256, and cannot be used with embedder minilm, size "
        "128: go back to embedder stub, size 256, or make a new index (`./course train 11`)."
    )


# ---------------------------------------------------------------- exact


def test_the_exact_index_finds_the_nearest_of_all():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[7] = vectors[3]  # equal ones come in their order
    document, chunks, _ = made(texts=[f"text {n}" for n in range(300)])
    index = ExactIndex(None, SETTINGS)
    index.add(document, chunks, vectors)
    for row in (3, 50, 299):
        expected = sorted(range(300), key=lambda n: (-round(float(vectors[n] @ vectors[row]), 6), n))[:10]
        assert [chunk.number for chunk, _ in index.search(vectors[row], 10)] == expected


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize(
    "damage",
    [
        lambda place: cut(place / "001.safetensors"), lambda place: (place / "001.safetensors").unlink(),
        lambda place: cut(place / "001.jsonl"), lambda place: (place / "001.jsonl").unlink(),
        lambda place: (place / "001.jsonl").write_bytes((place / "000.jsonl").read_bytes()),
    ],
)  # fmt: skip
def test_a_damaged_part_is_as_if_it_were_not_there_and_is_mended_by_adding_it_again(tmp_path, damage):
    document, chunks, vectors = made()
    index = ExactIndex(tmp_path, SETTINGS)
    index.add(document, chunks[:3], vectors[:3], 5)
    index.add(document, chunks[3:], vectors[3:], 5)
    index.add(*made("d2", "b.pdf"))
    damage(tmp_path / "d1")
    index = ExactIndex(tmp_path)
    assert [one.name for one in index.documents()] == ["b.pdf"] and [one.id for one in index.incomplete()] == ["d1"]
    assert index.held("d1") == {"d1-0", "d1-1", "d1-2"}
    index.add(document, chunks, vectors)
    assert ExactIndex(tmp_path).chunks()[:5] == chunks and len(ExactIndex(tmp_path)) == 10


def test_of_a_document_whose_parts_are_all_damaged_the_id_is_known(tmp_path):
    ExactIndex(tmp_path, SETTINGS).add(*made())
    cut(tmp_path / "d1" / "000.safetensors")
    (stored,) = ExactIndex(tmp_path).incomplete()
    assert stored.id == "d1" and ExactIndex(tmp_path).chunks() == []


# ---------------------------------------------------------------- Chroma


def test_chroma_is_given_portions_and_our_ids_and_tells_nobody(tmp_path, monkeypatch):
    from week11_rag import chroma

    monkeypatch.setattr(chroma, "MOST_AT_ONCE", 2)
    index = open_index(tmp_path, SETTINGS, "chroma")
    calls, real = [], index.store.add_texts
    monkeypatch.setattr(
        index.store, "add_texts", lambda texts, about, ids: calls.append(ids) or real(texts, about, ids)
    )
    document, chunks, vectors = made()
    index.add(document, chunks, vectors)
    assert calls == [["d1-0", "d1-1"], ["d1-2", "d1-3"], ["d1-4"]] and index.chunks() == chunks
    assert index.client.get_settings().anonymized_telemetry is False
    assert index.remove("d1") and len(index) == 0


def test_another_process_sees_what_has_changed(tmp_path):
    one, other = (open_index(tmp_path, SETTINGS, "chroma") for _ in range(2))
    one.add(*made())
    assert len(other) == 5
    one.remove("d1")
    one.add(*made("d2", "b.pdf"))
    assert [stored.id for stored in other.documents()] == ["d2"]


def test_what_is_no_index_of_ours_is_refused(tmp_path):
    from week11_rag.chroma import client_of

    client_of(str(tmp_path / "other")).create_collection("week11", embedding_function=None)
    assert refused(open_index, tmp_path / "other", SETTINGS) == (
        f"{tmp_path / 'other'} is no index of this course: it does not say which embedder made it. Choose another."
    )
    assert (
        refused(open_index, tmp_path / "no", None)
        == f"{tmp_path / 'no'} holds no index: `./course train 11` makes one."
    )
    ExactIndex(tmp_path / "exact", SETTINGS)
    assert refused(open_index, tmp_path / "exact", None, "chroma") == (
        f"{tmp_path / 'exact'} holds an index of the kind exact, not chroma: leave --store out."
    )


def test_a_server_that_does_not_answer():
    assert refused(open_index, "http://127.0.0.1:9", SETTINGS) == (
        "no Chroma server answers at http://127.0.0.1:9: start one (`chroma run --port 9`), or leave the address out "
        "for an index in a folder."
    )
    assert refused(open_index, "http://127.0.0.1:x", SETTINGS).endswith("is no address: write http://host:port.")
    assert refused(open_index, "http://127.0.0.1:9", SETTINGS, "exact") == (
        "http://127.0.0.1:9: an exact index lies in a folder; on a server it is chroma."
    )


# ---------------------------------------------------------------- search


@pytest.fixture
def index():
    found = ExactIndex(None, SETTINGS)
    found.add(*made())
    return found


def ids(passages):
    return [passage.chunk.id for passage in passages]


def test_dense_search_is_that_of_the_index(index):
    found = Retriever(index, Stub(), "dense").search("bread of oats", 3)
    expected = index.search(Stub().encode(["bread of oats"])[0], 3)
    assert ids(found) == [chunk.id for chunk, _ in expected] and found[0].chunk.id == "d1-4"
    assert [(p.rank, p.score, p.why["dense"], p.why["cosine"], p.why["bm25"]) for p in found] == [
        (rank, score, rank, score, None) for rank, (_, score) in enumerate(expected, 1)
    ]  # fmt: skip


def test_words_are_counted_as_rank_bm25_does_and_those_without_any_are_not_found(index):
    from rank_bm25 import BM25Okapi

    chunks, question = index.chunks(), "Is the dark bread of rye?"
    expected = BM25Okapi([words(chunk.embedded) for chunk in chunks]).get_scores(words(question))
    close(Words([chunk.embedded for chunk in chunks]).scores(question), expected, "BM25")
    found = Retriever(index, Stub(), "bm25").search(question, 5)
    assert ids(found) == ["d1-0", "d1-4"] and found[0].score == pytest.approx(expected[0])
    assert found[1].why["cosine"] == pytest.approx(float(Stub().encode([question])[0] @ index.vectors(["d1-4"])[0]))
    assert Retriever(index, Stub(), "bm25").search("nothing of this", 5) == []


def test_words_of_files_and_options_are_found_whole_and_in_parts():
    found = words("See debian/rules, it's in Apt-get's docs.")
    assert found == ["see", "debian/rules", "debian", "rul", "apt-get", "apt", "doc"]
    assert words("uploads uploaded uploading") == ["upload"] * 3


def test_hybrid_is_the_fusion_of_both_and_says_why(index):
    question = "hot bread, dark oats"
    both = Retriever(index, Stub()).search(question, 5)
    dense, bm25 = (Retriever(index, Stub(), how).search(question, 5) for how in ("dense", "bm25"))
    for passage in both:
        ranks = [next((p.rank for p in other if p.chunk == passage.chunk), None) for other in (dense, bm25)]
        assert [passage.why["dense"], passage.why["bm25"]] == ranks and passage.why["fused"] == passage.rank
        close(passage.score, sum(1 / (retrieve.FUSED + rank) for rank in ranks if rank), "fused score")
    assert [p.score for p in both] == sorted((p.score for p in both), reverse=True) and len(both) == 5


def test_late_rescoring_looks_token_by_token(index):
    asked, passage = np.eye(3, dtype=np.float32)[[0, 1]], np.array([[0.6, 0.8, 0], [0, 0, 1]], np.float32)
    assert retrieve.late_interaction(asked, passage) == pytest.approx((0.6 + 0.8) / 2)
    assert retrieve.late_interaction(asked[:0], passage) == 0.0
    retriever = Retriever(index, Stub(), "dense", "late")
    for _ in range(2):  # the second time from what was kept
        found = retriever.search("oats rare", 5)
        assert found[0].chunk.id == "d1-4" and found[0].why["rescored"] == 1
        assert found[0].score == found[0].why["rescored_score"] == pytest.approx(1, abs=1e-3)


def test_mmr_varies_what_is_alike():
    index = ExactIndex(None, SETTINGS)
    index.add(*made(texts=["bread is dark", "bread is dark", "bread is dark", "bread and soup"]))
    alike, varied = (ids(Retriever(index, Stub(), "dense", mmr=much).search("bread", 2)) for much in (0.0, 0.7))
    assert alike == ["d1-0", "d1-1"] and varied == ["d1-0", "d1-3"]


def test_words_are_counted_anew_when_the_index_has_changed(index):
    retriever = Retriever(index, Stub(), "bm25")
    assert retriever.search("salt", 1)[0].chunk.id == "d1-2"
    index.add(*made("d2", "b.pdf", ["Pepper is hot, too."]))
    assert ids(retriever.search("pepper", 3)) == ["d2-0"]
    index.remove("d1")
    assert retriever.search("salt", 3) == []


def test_another_embedder_and_another_rescoring_are_refused(index):
    other = type("Other", (Stub,), {"name": "minilm"})()
    assert refused(Retriever, index, other) == (
        "the index was made with --embedder stub (64 numbers), and cannot be searched with minilm (64): give that one, "
        "or make a new index."
    )
    assert refused(Retriever, index, Stub(), "dense", "often") == "--rescore often: must be none, late or cross:MODEL."
    assert refused(lambda: Retriever(index, Stub(), "dense", "cross:./no").search("a")) == (
        "--rescore cross:./no: no such folder. Give a folder, or a name of the hub (user/name)."
    )


# ---------------------------------------------------------------- the embedder


@pytest.fixture(scope="module")
def minilm():
    from week11_rag.embed import Embedder

    return Embedder("minilm", "cpu", batch=2)


TEXTS = ("Rye bread is dark.", "Oats", "The oven is hot, and the bread is in it; the soup stands beside it.", "Oats")


def test_vectors_are_the_mean_of_the_last_layer_and_do_not_depend_on_the_batch(minilm):
    import torch

    expected = []
    for text in TEXTS:  # one by one, so nothing is padded
        ids = torch.tensor([minilm.tokenizer.encode(text).ids])
        with torch.inference_mode():
            expected.append(minilm.model(input_ids=ids).last_hidden_state[0].mean(0).numpy())
    expected = np.stack(expected)
    found = minilm.encode(TEXTS)
    close(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), "vectors", 1e-6)
    close(minilm.encode(TEXTS[::-1])[::-1], found, "in another order", 1e-6)
    assert found.dtype == np.float32 and minilm.dimension == 384 and minilm.encode([]).shape == (0, 384)
    near = minilm.encode(["dark bread", "warm weather"]) @ found[0]
    assert near[0] > 0.5 > near[1], "what means the same is near"


def test_a_question_that_was_embedded_is_not_embedded_again(minilm, monkeypatch):
    first = minilm.encode(["Is it dark?"])
    monkeypatch.setattr(minilm, "model", None)
    kept = minilm.encode(["Is it dark?"])
    kept[:] = 0
    close(minilm.encode(["Is it dark?"]), first, "the vector", 0)
    minilm.forget()
    with pytest.raises(TypeError):
        minilm.encode(["Is it dark?"])


def test_vectors_of_tokens_are_in_the_texts_order(minilm):
    one, two = minilm.encode_tokens(["Rye bread is dark.", "Bread"])
    assert one.shape == (5, 384) and two.shape == (1, 384) and minilm.count("Rye bread is dark.") == 5
    close(np.linalg.norm(one, axis=1), np.ones(5), "lengths")
    assert minilm.count("bread " * 900) == 900 and minilm.longest == 512
    assert minilm.encode_tokens(["bread " * 900])[0].shape == (510, 384)


def test_encoders_that_are_none(tmp_path):
    from week11_rag.embed import Embedder

    assert refused(Embedder, "./no") == (
        "--embedder ./no: no such folder. Give minilm, a folder, or a name of the hub (user/name)."
    )
    assert refused(Embedder, tmp_path).startswith(f"--embedder {tmp_path}: {tmp_path} has no tokenizer.json")
    (tmp_path / "modules.json").write_text('[{"type": "sentence_transformers.models.Dense"}]', encoding="utf-8")
    assert refused(Embedder, tmp_path) == (
        f"{tmp_path}: we pool by the mean or by [CLS], not by mean_tokens, sentence_transformers.models.Dense."
    )
