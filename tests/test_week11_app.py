"""Week 11: the chat in the terminal and the one in the browser, over a PDF of two pages and an embedder of words."""

import numpy as np
import pytest
from programs import config, refused, word_embedder, write_pdf

from shared.errors import CourseError
from week11_rag import app, chat
from week11_rag.answer import REFUSAL, Bot
from week11_rag.exact import ExactIndex
from week11_rag.retrieve import Retriever
from week11_rag.store import Settings
from week11_rag.support import Support, Verdict

PAGES = (
    [(20, "Bread"), (11, "Knead the dough for twelve minutes. Let it rest for one hour under a cloth.")],
    [(20, "Soup"), (11, "Boil the leeks in water. Add salt and pepper before serving.")],
)
ASKED = "For how many minutes do I knead the dough?"


class Covered(Support):
    """Believes what has most of the question's words."""

    def judge(self, question, passages, retriever):
        best = max((passage.why["cosine"] for passage in passages), default=0.0)
        return Verdict(best > 0.3, best, {})


class Breaks:
    """A language model that breaks off."""

    name, small, room = "stub", False, 500

    def write(self, messages, most):
        yield "Knead the dough for twelve minutes [1]. Let it"
        raise CourseError("--lm http://x: the service does not answer, or broke off.")

    def count(self, text):
        return len(text) // 4

    def harmless(self, text):
        return text


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    path = tmp_path_factory.mktemp("week11") / "book.pdf"
    write_pdf(path, PAGES)
    return path


@pytest.fixture(scope="module")
def bot(book):
    return made(book)


def made(book, language=None):
    index = ExactIndex(None, Settings("stub", 64, 24, 0))
    found = Bot(Retriever(index, word_embedder()), Covered((), (), (), (), 0.0, 0.3, {}), language, 2)
    found.add(book)
    return found


# ---------------------------------------------------------------- in the terminal


def said(monkeypatch, capsys, bot, *flags, typed=()):
    lines = iter(typed)
    monkeypatch.setattr(Bot, "open", classmethod(lambda cls, *_, **__: bot))
    monkeypatch.setattr("builtins.input", lambda _: next(lines, ""))
    found = chat.main(config(chat, *flags))
    return found, capsys.readouterr().out


def test_an_answer_has_its_sources_under_it(monkeypatch, capsys, bot):
    (found,), out = said(monkeypatch, capsys, bot, ASKED)
    assert found == {"question": ASKED, "answer": "Knead the dough for twelve minutes [1].", "refused": False,
                     "pages": [1]}  # fmt: skip
    assert out.startswith("asking book.pdf: 2 pages\n"), "which documents, as one may have meant another run"
    assert f"> {ASKED}\nKnead the dough for twelve minutes [1].\n" in out
    assert '  [1] book.pdf, page 1, Bread: "Knead the dough for twelve minutes."' in out


def test_what_is_not_there_is_not_answered(monkeypatch, capsys, bot):
    (found,), out = said(monkeypatch, capsys, bot, "Who won the football cup?")
    assert found["refused"] and REFUSAL in out and "Support" in out


def test_a_conversation_goes_on_over_mistakes_and_knows_what_was_asked(monkeypatch, capsys, bot):
    found, out = said(monkeypatch, capsys, bot, typed=[ASKED, "x" * 5_000, "And for how long does it rest?"])
    assert len(found) == 2 and "error: a question of 5,000 characters" in out
    assert "(searched for: And for how long does it rest? (minutes knead dough))" in out
    assert "Let it rest for one hour" in found[1]["answer"]


def test_why_shows_the_ranks(monkeypatch, capsys, bot):
    _, out = said(monkeypatch, capsys, bot, ASKED, "--why")
    assert "dense" in out and "bm25" in out and "fused" in out


def test_a_question_that_is_none_ends_the_program_in_a_line(monkeypatch, capsys, bot):
    assert "no word in that question" in refused(lambda: said(monkeypatch, capsys, bot, "???"))


def test_an_answer_that_broke_off_says_so(monkeypatch, capsys, book):
    _, out = said(monkeypatch, capsys, made(book, Breaks()), ASKED)
    assert "Knead the dough for twelve minutes [1]." in out and "Let it" not in out
    assert "(incomplete)" in out and "broke off" in out


def test_a_document_cannot_steer_the_terminal(monkeypatch, capsys, tmp_path):
    from week11_rag.chunks import Chunk
    from week11_rag.pages import Document, Page

    text = "Knead the dough\x1b[31m for twelve\x07 minutes."
    index = ExactIndex(None, Settings("stub", 64, 24, 0))
    part = Chunk("c", "d", "evil\x1b]0;x\x07.pdf", text, ("A\x1b[2Jhead",), ((1, 0, len(text)),))
    index.add(Document("d", part.name, (Page(1, 1.0, 1.0, ()),)), [part], word_embedder().encode([text]))
    evil = Bot(Retriever(index, word_embedder()), Covered((), (), (), (), 0.0, 0.3, {}), None, 2)
    _, out = said(monkeypatch, capsys, evil, ASKED, "--why")
    assert "twelve" in out and "\x1b" not in out and "\x07" not in out


# ---------------------------------------------------------------- in the browser


def yellow(image):
    rows = np.asarray(image).astype(int)
    return (rows[..., 0] > 240) & (rows[..., 1] > 190) & (rows[..., 2] < 60)


def test_the_cited_words_are_marked_on_their_page_and_nothing_else_is(bot, book):
    from week11_rag import pdf

    answer = bot.ask(ASKED)
    image = app.picture(bot, answer.citations[0])
    plain = pdf.render(book, 1, app.SCALE).convert("RGB")
    assert image.size == plain.size
    inside = yellow(image)
    assert inside.any()
    outside = ~inside
    changed = (np.asarray(image) != np.asarray(plain)).any(axis=2)
    (left, bottom, right, top), *_ = pdf.text_boxes(book, 1, "Knead the dough for twelve minutes.")
    rows, columns = np.nonzero(changed)
    assert columns.min() >= app.SCALE * left - 4 and columns.max() <= app.SCALE * right + 4
    assert rows.min() >= image.height - app.SCALE * top - 4 and rows.max() <= image.height - app.SCALE * bottom + 4
    assert outside.any() and np.asarray(image).min() < 60, "the words themselves stay black"


def test_words_on_two_pages_are_shown_on_both(bot):
    from dataclasses import replace

    one = bot.ask(ASKED).citations[0]
    both = replace(one, pieces=((1, "Knead the dough"), (2, "Boil the leeks")))
    image, single = app.picture(bot, both), app.picture(bot, one)
    assert image.size == (single.width, 2 * single.height) and app.where(both) == "pages 1–2"
    half = yellow(image)
    assert half[: single.height].any() and half[single.height :].any()


def test_a_pdf_that_is_gone_has_no_picture(bot, book, tmp_path):
    from dataclasses import replace

    lost = replace(bot.ask(ASKED).citations[0], document="other")
    assert app.seen(bot, [lost], 1) is None and app.seen(bot, [], None) is None


def test_the_answer_comes_as_it_is_checked_and_is_remembered(bot):
    steps = list(app.answered(bot, ASKED, [], []))
    texts = [talk[-1]["content"] for talk, _, _ in steps]
    assert texts[-1] == "Knead the dough for twelve minutes [1].\n[1] page 1"
    assert steps[0][0][0] == {"role": "user", "content": ASKED}
    assert steps[-1][1] == [(ASKED, "Knead the dough for twelve minutes [1].")] and len(steps[-1][2]) == 1
    *_, (talk, turns, cited) = app.answered(bot, "x" * 9_999, *steps[-1][:2])
    assert talk[-1]["content"].startswith("Error: a question of 9,999 characters") and cited == ()
    assert len(turns) == 1
    assert app.described(bot) == "book.pdf: 2 pages"


def test_choices_are_plain_and_not_too_long(bot):
    from dataclasses import replace

    one = replace(bot.ask(ASKED).citations[0], quote="a\x1b[1m\n" + "b " * 400)
    ((text, number),) = app.choices([one])
    assert number == 1 and len(text) < 300 and "\x1b" not in text and "\n" not in text


def test_the_page_asks_nobody_else_for_anything(bot, monkeypatch):
    page = app.build(bot)
    assert page.analytics_enabled is False
    chats = [block for block in page.blocks.values() if type(block).__name__ == "Chatbot"]
    assert [block.render_markdown for block in chats] == [False], "or a document could have pictures fetched"
    assert "ask" in {one.api_name for one in page.fns.values()}, "by this name a Space is asked"
