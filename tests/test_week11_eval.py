"""Week 11: the gold set, how a bot is asked it and what is counted, vectors of sentences, and the comparison on val.

The embedder is a stub here: a vector has a place for each word.
"""

import json
import re
import zlib
from collections import Counter
from contextlib import closing
from dataclasses import replace

import numpy as np
import pypdfium2
import pytest
from PIL import Image
from programs import assert_picture, config, handbook, refused, write_pdf

from shared.samples import write_handbook_questions
from week11_rag import compare, data, drawing, gold, measures
from week11_rag.answer import Answer
from week11_rag.chunks import Chunk
from week11_rag.cite import Citation
from week11_rag.data import Question
from week11_rag.embed import Embedder
from week11_rag.exact import ExactIndex
from week11_rag.pages import Document
from week11_rag.retrieve import Passage, Retriever
from week11_rag.sentences import Sentences, spans_of, texts_of
from week11_rag.store import Settings
from week11_rag.support import Verdict

# ---------------------------------------------------------------- the questions


@pytest.fixture(scope="module")
def questions():
    return data.questions("sample")


def test_the_questions_are_those_of_the_script(questions):
    rows = write_handbook_questions.questions()
    lines = data.QUESTIONS.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == rows and len(rows) == len(questions) >= 80


def bare(text):
    """Letters, digits and signs without spaces, hyphens at the ends of lines, and what parts cells of a table."""
    return re.sub(r"[\s\u00ad\ufffe\x02|•-]", "", text)


def test_every_quote_stands_on_its_page_letter_by_letter(questions):
    """As pdfium reads the pages, without anything of ours."""
    with closing(pypdfium2.PdfDocument(data.HANDBOOK)) as file:
        pages = [bare(page.get_textpage().get_text_range()) for page in file]
    for question in questions:
        for page, quote in question.evidence:
            assert bare(quote) in pages[page - 1], f"{question.id}: not on page {page}: {quote}"


def test_every_quote_stands_in_one_block_word_for_word(questions):
    """As week11_rag.pdf reads them, on the first 32 pages; `eval` counts quotes that are in no passage, over all."""
    document, seen = handbook(), 0
    blocks = {page.number: [measures.plain(block.text) for block in page.blocks] for page in document.pages}
    for question in questions:
        for page, quote in question.evidence:
            if page in blocks:
                assert sum(quote in text for text in blocks[page]) == 1, f"{question.id}: not on page {page}: {quote}"
                seen += 1
    assert seen > 40


def test_answers_stand_in_the_quotes(questions):
    """Of each question with one quote at least one of the answers, in the words of the handbook."""
    for question in questions:
        said = " ".join(quote for _, quote in question.evidence).casefold()
        if question.answerable and question.kind != "multi":
            assert any(answer.casefold() in said for answer in question.answers), question.id
        if question.kind == "multi":
            assert len({page for page, _ in question.evidence}) == 2, f"{question.id} is on one page"


def test_no_question_of_test_is_a_copy_of_one_of_val(questions):
    words = {one.id: set(one.text.casefold().strip("?.").split()) for one in questions}
    val, test = ([one for one in questions if one.part == part] for part in ("val", "test"))
    assert len({one.text for one in questions}) == len(questions)
    for one in test:
        for other in val:
            both = words[one.id] & words[other.id]
            assert len(both) < 0.75 * len(words[one.id] | words[other.id]), f"{one.text} / {other.text}"
    for part in (val, test):
        kinds = Counter(one.kind for one in part)
        assert kinds.keys() == {"plain", "paraphrase", "list", "table", "multi", "unanswerable"}
        assert 0.2 < kinds["unanswerable"] / len(part) < 0.35
        assert {page for one in val for page, _ in one.evidence} != {page for one in test for page, _ in one.evidence}


# ---------------------------------------------------------------- what is counted


def chunk(number, text, headings=("Boats",), page=1):
    return Chunk(f"c{number}", "d", "town.pdf", text, headings, ((page, 0, len(text)),), number)


def passage(rank, one, **why):
    ranks = {"dense": rank, "sentence": None, "bm25": None, "fused": rank, "rescored": None, "cosine": 0.5}
    return Passage(one, 1.0 / rank, rank, ranks | why)


def question(number, text, answers=("nine",), evidence=((1, "leaves at nine"),), kind="plain"):
    return Question(f"q{number}", text, answers, evidence, kind, "val")


CHUNKS = [chunk(0, "The last boat leaves at nine."), chunk(1, "It has a blue roof."),
          chunk(2, "It costs a crown.", page=2)]  # fmt: skip
TWO = ((1, "leaves at nine"), (2, "costs a crown"))
BOTH = question(1, "When, and for how much?", ("nine; a crown",), TWO, "multi")
NONE = question(2, "Who rows?", (), (), "unanswerable")


def searched(*orders):
    asked = [question(0, "When does it leave?"), BOTH]
    found = [[passage(rank, CHUNKS[row]) for rank, row in enumerate(order, 1)] for order in orders]
    return gold.Searched(asked, found, measures.relevant(asked, CHUNKS))


def test_scores_of_a_search_by_hand():
    """The first question is hit second, the other one first; of its two quotes both are among three, one among two."""
    one = searched([1, 0, 2], [2, 1, 0])
    assert one.ranks() == [2, 1]
    assert one.scores() == {"hit_at_1": 0.5, "hit_at_5": 1.0, "hit_at_10": 1.0, "mrr": 0.75, "both_at_5": 1.0}
    assert searched([1], [2, 1]).scores()["both_at_5"] == 0 and searched([1], []).scores()["mrr"] == 0
    assert one.kinds == ["plain", "multi"] and one.by_kind("mrr") == {"plain": 0.5, "multi": 1.0}


def answer(text, refused=False, citations=(), probability=0.9):
    verdict = Verdict(not refused, probability, {})
    return Answer(text, citations, refused, (), "?", 0.25, verdict, note="Support 0.10, at least 0.50 is needed.")


def test_scores_of_answers_by_hand():
    asked = [question(0, "When does it leave?"), BOTH, NONE, question(3, "When, again?")]
    cited = Citation(1, "d", "town.pdf", 1, "boat leaves at nine", 9, 28, "c0")
    said = [answer("It leaves at nine [1].", citations=(cited,)), answer("no", True),
            answer("no", True, probability=0.1),
            answer("At ten. [1]", citations=(cited, replace(cited, page=3)))]  # fmt: skip
    scores = gold.answer_scores(said, asked)
    assert scores["answer_holds"] == pytest.approx(1 / 3) and scores["answer_exact"] == 0
    assert scores["citation_precision"] == pytest.approx(2 / 3)  # what was made of a quote is not asked here
    assert (scores["refusal_precision"], scores["refusal_recall"]) == (0.5, 1.0)
    rows = gold.answer_rows(scores, said, asked, "extractive")
    assert [row[0] for row in rows] == ["answers", "extractive", "always refuse", "never refuse"]
    assert rows[2][5:8] == ["25.0%", "100.0%", "40.0%"] and rows[3][7] == "0.0%" and rows[1][-1] == "0.25"
    wrong = gold.wrong(said, asked, 9)
    assert [text.split()[0] for text in wrong] == ["q1", "q3"] and "right: nine; a crown" in wrong[0]
    assert "Support 0.10" in wrong[0] and gold.wrong(said, asked, 1) == wrong[:1]


def test_why_names_every_rank_and_shows_no_foreign_signs():
    class One(Retriever):
        def __init__(self):
            pass

        def search(self, question, k=5):
            second = chunk(5, "red\x1b[31m \n text")
            return [passage(1, CHUNKS[0], bm25=3, sentence=2), passage(2, second, dense=None)]

    head, first, second = gold.why(One(), "When?").splitlines()
    assert head.split() == ["dense", "sentence", "bm25", "fused", "rescored", "cosine", "page", "passage"]
    assert first.split()[:8] == ["1", "1", "2", "3", "1", "-", "0.50", "1"] and first.endswith("leaves at nine.")
    assert second.split()[:3] == ["2", "-", "-"] and "\x1b" not in second


def test_the_pictures(tmp_path):
    one = searched([1, 0, 2], [2, 1, 0])
    drawing.kinds(tmp_path / "kinds.png", {"hybrid": one.by_kind("hit_at_5"), "BM25": one.by_kind("hit_at_1")})
    drawing.support(tmp_path / "support.png", [answer("a"), answer("b", True, probability=0.2)], [BOTH, NONE], 0.5)
    drawing.sizes(tmp_path / "sizes.png", {"hybrid": [(64, 0.5, 0.4), (128, 0.8, 0.6)], "BM25": [(64, 0.4, 0.4)]})
    found = [passage(rank, one, sentence=3 - rank) for rank, one in enumerate(CHUNKS, 1)]
    drawing.fusion(tmp_path / "fusion.png", "When?", found, {"c1"})
    white = Image.new("RGB", (300, 420), "white")
    said = [("When?", "At nine. [1]", "[1] town.pdf, page 1"), ("Who rows?", "This is not in the document.", "")]
    drawing.page(tmp_path / "page.png", white, [(40.0, 300.0, 120.0, 312.0)], 1.0, said)
    assert len(list(tmp_path.iterdir())) == 5
    for path in tmp_path.glob("*.png"):
        assert_picture(path)
    with Image.open(tmp_path / "page.png") as picture:
        colours = picture.convert("RGB").getcolors(1_000_000)
    assert any(red > 240 and 200 < green < 240 and blue < 120 for _, (red, green, blue) in colours), "nothing is marked"


# ---------------------------------------------------------------- sentences


class Stub(Embedder):
    """An embedder of words: each has a place, and a text points where its words do."""

    name, dimension = "stub", 64

    def __init__(self, *_, **__):
        self.asked = []

    def encode(self, texts):
        self.asked += texts
        rows = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.casefold().replace(".", " ").replace("?", " ").split():
                row[zlib.crc32(word.encode()) % self.dimension] += 1
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)

    def encode_tokens(self, texts):
        return [self.encode(text.split() or ["-"]) for text in texts]

    def count(self, text):
        return len(text.split())


LONG = chunk(7, "The ferry has a bar. It is painted blue every spring. Dogs ride for nothing. The captain sings.")
SHORT = chunk(8, "Cats ride in a cage. The fare is two crowns.")


def test_a_chunk_is_as_near_as_the_nearest_of_its_sentences(tmp_path):
    embedder = Stub()
    kept = Sentences(embedder, tmp_path)
    question = embedder.encode(["boats dogs ride for nothing"])[0]
    found = kept.search(question, [SHORT, LONG], 2)
    each = {one.id: max(float(row @ question) for row in embedder.encode(texts_of(one))) for one in (SHORT, LONG)}
    assert [one.id for one, _ in found] == ["c7", "c8"]
    assert [score for _, score in found] == pytest.approx([each["c7"], each["c8"]], abs=1e-3)
    assert found[0][1] == pytest.approx(1.0, abs=1e-3)
    assert [LONG.text[a:b] for a, b in spans_of(LONG)][2] == "Dogs ride for nothing." and len(kept.of(LONG)) == 4
    assert kept.search(question, [SHORT, LONG], 1) == found[:1] and kept.search(question, [], 3) == []


def test_sentences_are_embedded_once_and_kept(tmp_path):
    first = Sentences(Stub(), tmp_path)
    first.add([LONG])
    other = Sentences(Stub(), tmp_path)  # another process
    other.add([LONG, SHORT])
    assert len(other.embedder.asked) == 2, "only what is new is embedded"
    first.add([SHORT])
    assert len(first.embedder.asked) == 4, "what the other process has written is read"
    assert np.allclose(first.of(SHORT), other.of(SHORT), atol=1e-3)
    other.keep_only([SHORT])
    assert len(list(tmp_path.iterdir())) == 1 and LONG.id not in other.vectors
    third = Sentences(Stub(), tmp_path)
    third.add([SHORT, LONG])
    assert len(third.embedder.asked) == 4, "what was dropped is embedded anew"
    last = Sentences(Stub(), tmp_path)
    last.tidy([SHORT, LONG])
    assert len(list(tmp_path.iterdir())) == 2, "nothing is written where nothing is to be dropped"
    last.tidy([LONG])
    assert last.vectors.keys() == {LONG.id} and len(list(tmp_path.iterdir())) == 1 and not last.embedder.asked


def test_a_damaged_part_or_one_of_another_embedder_is_as_if_it_were_not_there(tmp_path):
    Sentences(Stub(), tmp_path).add([LONG])
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors")
    another = Stub()
    another.name = "another"
    kept = Sentences(another, tmp_path)
    kept.add([LONG])
    assert len(another.asked) == 4


def test_hybrid_search_ranks_sentences_too():
    embedder = Stub()
    index = ExactIndex(None, Settings("stub", 64, 64, 0))
    chunks = [*CHUNKS, LONG, SHORT]
    index.add(Document("d", "town.pdf", ()), chunks, embedder.encode([one.embedded for one in chunks]))
    plain, both = (Retriever(index, embedder, sentences=one) for one in (None, Sentences(embedder)))
    asked = "dogs ride for nothing"
    assert all(one.why["sentence"] is None for one in plain.search(asked, 3))
    best = both.search(asked, 3)[0]
    assert best.chunk == LONG and best.why["sentence"] == 1 and best.why["sentence_cosine"] > best.why["cosine"]


# ---------------------------------------------------------------- compare


@pytest.fixture
def town(tmp_path):
    """A leaflet of two pages, with questions of val beside it."""
    pages = [[(18, "Boats"), (10, "A ferry crosses every forty minutes. The last one leaves at half past nine.")],
             [(18, "Bread"), (10, "The bakery opens at six. Its rye loaf weighs nine hundred grams.")]]  # fmt: skip
    write_pdf(tmp_path / "town.pdf", pages)
    rows = [("How often does the ferry cross?", "every forty minutes", 1), ("When does the bakery open?", "at six", 2)]
    every = {"kind": "plain", "part": "val"}
    lines = [{"id": f"v{n}", "text": text, "answers": [said], "evidence": [[page, said]], **every}
             for n, (text, said, page) in enumerate(rows)]  # fmt: skip
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "town.questions.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


def test_compare_searches_val_by_every_method(town, monkeypatch, capsys):
    monkeypatch.setattr("week11_rag.embed.Embedder", Stub)
    compare.embedder_of.cache_clear()
    flags = f"--data {town}/town.pdf --embedder stub --sizes 16 24 --overlaps 4 --out {town}/out".split()
    found = compare.main(config(compare, *flags))
    assert found["rows"].keys() == {"16/4", "24/4"}
    for row in found["rows"].values():
        assert row["scores"].keys() == compare.METHODS.keys() and row["lost"] == 0 and row["asked"] == 2
        assert row["scores"]["hybrid"]["hit_at_5"] == 1.0
    assert_picture(town / "out" / "sizes.png")
    assert "| hybrid, late |" in capsys.readouterr().out
    monkeypatch.setattr(compare, "one", lambda flags, threads: pytest.fail("what is there is measured again"))
    assert compare.main(config(compare, *flags)) == found


def test_compare_wants_questions_and_sizes(town):
    (town / "town.questions.jsonl").write_text("", encoding="utf-8")
    line = refused(compare.main, config(compare, "--data", town / "town.pdf"))
    assert line == f"--data {town / 'town.pdf'}: no questions of val lie beside it; the README says how they look."
    line = refused(compare.main, config(compare, "--sizes", "16", "--overlaps", "12"))
    assert line == "--overlaps: each is more than half of every one of --sizes; give smaller ones."
