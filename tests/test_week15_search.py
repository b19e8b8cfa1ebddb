"""Week 15's snapshot and search: facts with dates, BM25 by hand and beside rank_bm25, and providers on the loopback."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from programs import close, refused

from week15_agent import bm25, providers, search, snapshot
from week15_agent.bm25 import BM25, bm25_weight
from week15_agent.search import Search
from week15_agent.snapshot import Document
from week15_agent.tools import Call, ToolError, act, by_name


@pytest.fixture(scope="module")
def world():
    return Search(snapshot.documents()).ready()


# ---- the snapshot ----------------------------------------------------------------------------------------------------


def test_every_fact_stands_in_its_passage_as_it_is_said():
    texts = {one.id: one.text for one in snapshot.documents()}
    assert len(texts) == len(snapshot.documents()) == 2257
    for fact in snapshot.facts():
        assert fact.text in texts[fact.document], f"{fact} is not in: {texts[fact.document]}"


def test_a_fact_has_a_date_and_a_number_has_a_unit():
    for fact in snapshot.facts():
        assert fact.date[:4].isdigit() and len(fact.date) in (4, 7, 10)
        assert isinstance(fact.value, str) or fact.unit or fact.attribute.startswith("atomic")


def test_the_latest_is_the_newest_by_date_and_older_ones_are_there():
    years = [fact.date for fact in snapshot.all_of("France", "population")]
    assert years == ["1957", "2007", "2025"]
    assert snapshot.latest("France", "population").text == "68,512,806 people"
    assert snapshot.latest("France", "beauty") is None


def test_what_is_later_than_the_snapshot_is_a_plan():
    texts = {one.subject: one.text for one in snapshot.documents() if one.kind == "release"}
    assert "was released on 23 April 2026" in texts["Ubuntu 26.04 LTS"]
    assert "is planned for release on 15 October 2026" in texts["Ubuntu 26.10"]
    assert "Its support ended on" in texts["Debian 4.0"] and "Its support ends on" in texts["Debian 13"]


def test_dates_are_said_as_people_say_them():
    said = {"2017-05-14": "14 May 2017", "2026-01": "January 2026", "1990": "1990"}
    assert {one: snapshot.long_date(one) for one in said} == said


# ---- BM25 ------------------------------------------------------------------------------------------------------------


@pytest.mark.exercise(6)
def test_bm25_gives_a_number_for_each_passage():
    found = bm25_weight(np.array([1.0, 2.0, 3.0]), np.array([5.0, 5.0, 9.0]), 5.0, 1.2)
    assert np.shape(found) == (3,), f"three passages have the word: three numbers, not {np.shape(found)}"


@pytest.mark.exercise(6)
def test_bm25_of_a_passage_of_mean_length_by_hand():
    once = float(bm25_weight(np.array([1.0]), np.array([8.0]), 8.0, 2.0)[0])
    assert once == pytest.approx(2.0), f"once, at mean length, a word of idf 2 adds 2 by hand, not {once:g}"
    twice = float(bm25_weight(np.array([2.0]), np.array([8.0]), 8.0, 2.0)[0])
    assert twice == pytest.approx(2 * 2 * 2.5 / 3.5), f"twice: {twice:.3f}, should be 2 · 2 · 2.5 / (2 + 1.5) = 2.857"


@pytest.mark.exercise(6)
def test_bm25_never_pays_more_than_its_limit():
    often = float(bm25_weight(np.array([1e6]), np.array([8.0]), 8.0, 2.0)[0])
    assert often < 5.0, f"a million times the same word adds less than idf · (k1 + 1) = 5, not {often:g}"
    assert often == pytest.approx(5.0, abs=1e-3), f"a million times the same word comes near 5, not {often:g}"


@pytest.mark.exercise(6)
def test_bm25_holds_length_against_a_passage_as_b_says():
    def of(length, b):
        return float(bm25_weight(np.array([1.0]), np.array([length]), 8.0, 2.0, b=b)[0])

    assert of(16.0, 0.75) < of(8.0, 0.75) < of(4.0, 0.75), "the same word in a longer passage must add less"
    assert of(16.0, 0.75) == pytest.approx(5 / 3.625), "twice the mean length by hand: 5 / (1 + 1.5 · 1.75) = 1.379"
    assert of(16.0, 0.0) == of(4.0, 0.0), "with b = 0 length does not count at all"
    assert of(16.0, 1.0) == pytest.approx(5 / 4), "with b = 1 twice the length doubles k1: 5 / 4 = 1.25"


@pytest.mark.exercise(6)
def test_bm25_equals_rank_bm25(world):
    from rank_bm25 import BM25Okapi

    texts = [bm25.words(one) for one in world.texts]
    theirs = BM25Okapi(texts)
    for question in ("population of France in 2007", "GDP growth of Guinea of Guinea", "in 2024 the the", "zzz"):
        asked = bm25.words(question)
        apart = np.abs(world.bm25.scores(asked) - theirs.get_scores(asked)).max()
        assert apart < 1e-9, f"{question!r}: the scores differ from rank_bm25's by up to {apart:.2g}"
    # A word that more than half of the texts have: its idf is below 0, and rank_bm25 puts a small one in its place.
    few = [["a", "b"], ["a", "c"], ["a", "d", "a"], ["e"]]
    assert np.allclose(BM25(few).scores(["a", "e"]), BM25Okapi(few).get_scores(["a", "e"]))


def test_bm25_of_nothing():
    assert BM25([]).scores(["a"]).shape == (0,)
    assert BM25([[], []]).scores(["a"]).tolist() == [0.0, 0.0]


# ---- the search ------------------------------------------------------------------------------------------------------


def test_each_kind_of_fact_is_found_by_its_name(world):
    facts = snapshot.facts()[::53]
    asked = [(f"{one.attribute} of {one.subject} in {one.date[:4]}", one) for one in facts if one.date[:4] != "2026"]
    missed = [question for question, one in asked if world.find(question, k=1)[0].id != one.document]
    assert len(asked) > 100 and len(missed) <= 1, f"{len(missed)} of {len(asked)} are not first: {missed[:3]}"


def test_without_a_year_the_newest_comes_first_and_with_one_that_year(world):
    assert [one.date for one in world.find("exports of Japan")] == ["2024", "2023", "2022"]
    assert world.find("exports of Japan in 2022")[0].date == "2022"
    assert world.find("population of Egypt")[0].date == "2025"
    assert world.find("population of Egypt in 1957")[0].source == "Gapminder"


def test_names_within_names_are_told_apart(world):
    for name in ("Guinea", "Equatorial Guinea", "Sudan", "South Sudan", "Niger", "Nigeria", "Republic of the Congo"):
        assert world.find(f"population of {name}")[0].title == f"People of {name}"


def test_a_span_of_time_leaves_the_rest_out(world):
    assert [one.date for one in world.find("exports of Japan", until="2023")][:2] == ["2023", "2022"]
    assert all(one.date >= "2025" for one in world.find("population of Japan", since="2025"))
    assert search.within("2024-05-31", "2024-05", "2024") and search.within("2024", "2024-06", "")
    assert not search.within("2024-05-31", "2024-06", "") and not search.within("2024-05", "", "2023")


def test_nothing_is_found_for_words_that_nobody_uses(world):
    assert world.find("xyzzy plugh") == [] and world.find("the of in") == []
    assert search.observation([], "xyzzy") == "nothing found for 'xyzzy'"


def test_the_same_question_is_not_searched_twice(world, monkeypatch):
    first = world.find("Population  of KENYA")
    monkeypatch.setattr(world, "fresh", lambda *_: pytest.fail("it searched again"))
    assert world.find("population of kenya") == first


def test_the_tool_takes_a_call_and_gives_a_short_text(world):
    tools = by_name(search.tool(world))
    found = act(Call("search", {"query": "population of France"}), tools)
    assert found.ok and found.text.startswith("The population of France is 68,512,806 people (2025)")
    assert found.text.endswith("(The World Factbook, 2025)") and len(found.text) < 300
    for arguments, said in (
        ({"query": ""}, "at least 1 character"),
        (
            {"query": "a", "since": "now"},
            "since 'now' is no date. Write it like 2024, 2024-05 or 2024-05-31.",
        ),
        ({"query": "a" * 300}, "at most 200 characters"),
    ):
        refusal = act(Call("search", arguments), tools)
        assert not refusal.ok and said in refusal.text, refusal.text


class Letters:
    """An encoder of the tests: how often each letter comes."""

    def encode(self, texts):
        rows = np.array([[text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    kept = encode


def test_words_and_meaning_in_one_ranking():
    texts = ("zebra zebra", "a long tail", "zoo of abreb")
    documents = [Document(f"d{n}", text, "kind", f"s{n}", "2024", "us", text) for n, text in enumerate(texts)]
    for way, first in (("bm25", "d1"), ("dense", "d2"), ("hybrid", "d1")):
        both = Search(documents, way)
        both.encoder = Letters()
        assert both.find("tail of zoo brea" if way == "dense" else "tail")[0].id == first
    assert search.fused([[3, 1], [1, 2]])[0] == (1, pytest.approx(1 / 62 + 1 / 61))


def test_the_encoder_is_not_changed_by_padding_and_its_vectors_are_kept(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(search, "home", lambda: tmp_path)
    encoder, texts = search.Encoder(), ["How high is Mont Blanc?", "a", "The exports of France " * 9]
    rows = encoder.encode(texts)
    close(np.linalg.norm(rows, axis=1), np.ones(3), "the length of each vector")
    close(
        np.concatenate([encoder.encode([text]) for text in texts]), rows, "a vector alone and among longer texts", 1e-4
    )
    near = encoder.encode(["What does France sell abroad?"])[0] @ rows.T
    assert near.argmax() == 2, f"exports are what one sells: cosines {near}"
    close(encoder.kept(texts), rows, "what is kept")
    monkeypatch.setattr(encoder, "encode", lambda _: rows + 1)
    close(encoder.kept(texts), rows, "what is kept, the second time")
    assert capsys.readouterr().out.count("embedding 3 passages, once") == 1
    [path] = (tmp_path / "week15").iterdir()
    path.write_bytes(path.read_bytes()[:50])  # a file that a crash cut short is made again
    close(encoder.kept(texts), rows + 1, "what is made again")
    assert len(list((tmp_path / "week15").iterdir())) == 1


# ---- providers -------------------------------------------------------------------------------------------------------

PAGES = [
    {
        "pageid": 2,
        "title": "Second",
        "index": 2,
        "extract": "Two.",
        "revisions": [{"timestamp": "2026-02-03T04:05:06Z"}],
    },
    {
        "pageid": 1,
        "ns": 0,
        "title": "Mont Blanc",
        "index": 1,
        "extract": "Mont Blanc is\n4,806 m high.",
        "revisions": [{"timestamp": "2026-01-02T03:04:05Z"}],
    },
    {"pageid": 3, "ns": 0, "title": "Empty", "index": 3},
]
WIKIPEDIA = {"batchcomplete": True, "query": {"pages": PAGES}}
HIT = {"title": "Mont Blanc", "url": "https://www.example.org/a", "page_age": "2026-03-04T00:00:00"}
OTHER = {"title": "Other", "url": "https://example.com/", "description": "No date.", "page_age": None}
HITS = [HIT | {"description": "It is <strong>4,806 m</strong> &amp; white."}, OTHER]
BRAVE = {"type": "search", "web": {"type": "search", "results": HITS}}
FOUND = {"title": "Mont Blanc", "url": "https://example.org/b", "content": "4,806 m.", "score": 0.9}
TAVILY = {"query": "q", "answer": None, "images": [], "response_time": "1.2", "results": [FOUND]}


@contextmanager
def service(*answers):
    """An address on the loopback that gives these (status, headers, body), the last one again and again, and what it
    was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            size = int(self.headers.get("content-length", 0))
            asked.append((self.command, self.path, dict(self.headers), self.rfile.read(size)))
            status, headers, body = answers[min(len(asked), len(answers)) - 1]
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            always = {"content-type": "application/json", "content-length": str(len(body))}
            for name, value in (always | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api", asked
    finally:
        server.shutdown()
        server.server_close()


def asked_of(name, *answers, query="how high is Mont Blanc", pauses=None):
    with service(*answers) as (url, asked):
        found = providers.fetch(providers.PROVIDERS[name], query, 2, url, (pauses if pauses is not None else []).append)
    return found, asked


def failed(name, *answers, pauses=None):
    with pytest.raises(ToolError) as raised:
        asked_of(name, *answers, pauses=pauses)
    text = str(raised.value)
    assert "\n" not in text and text.endswith(providers.ELSE) and "SECRET" not in text
    return text


@pytest.fixture
def keys(monkeypatch):
    monkeypatch.setenv("BRAVE_API_KEY", "SECRET-b")
    monkeypatch.setenv("TAVILY_API_KEY", "SECRET-t")


def test_wikipedia_in_its_published_form():
    found, [(method, path, headers, _)] = asked_of("wikipedia", (200, {}, WIKIPEDIA))
    assert [(one.title, one.text, one.date, one.source) for one in found] == [
        ("Mont Blanc", "Mont Blanc is 4,806 m high.", "2026-01-02", "Wikipedia"),
        ("Second", "Two.", "2026-02-03", "Wikipedia"),
    ]
    assert method == "GET" and "gsrsearch=how+high+is+Mont+Blanc" in path and "sixteen-weeks" in headers["User-Agent"]


def test_brave_in_its_published_form(keys):
    found, [(_, path, headers, _)] = asked_of("brave", (200, {}, BRAVE))
    assert found[0].text == "It is 4,806 m & white." and found[0].source == "example.org"
    assert [one.date for one in found] == ["2026-03-04", ""]
    assert headers["X-Subscription-Token"] == "SECRET-b" and "SECRET" not in path
    assert search.observation(found, "q").endswith("No date. (example.com)")


def test_tavily_in_its_published_form(keys):
    found, [(method, _, headers, body)] = asked_of("tavily", (200, {}, TAVILY))
    assert [(one.text, one.score) for one in found] == [("4,806 m.", 0.9)]
    assert method == "POST" and headers["Authorization"] == "Bearer SECRET-t"
    assert json.loads(body) == {"query": "how high is Mont Blanc", "max_results": 2, "search_depth": "basic"}


def test_it_tries_again_where_that_helps_and_only_there(keys):
    pauses = []
    found, asked = asked_of("brave", (429, {"retry-after": "2"}, {}), (503, {}, {}), (200, {}, BRAVE), pauses=pauses)
    assert len(found) == 2 and len(asked) == 3 and pauses == [2.0, 1.0]
    assert "too many questions (429)" in failed("brave", (429, {}, {}))
    pauses = []
    said = failed("brave", (401, {}, {"message": "SECRET-b"}), pauses=pauses)
    assert "refused the key, or the question (401)" in said
    assert pauses == [], "a wrong key does not become right by waiting"
    assert "too many questions" in failed("brave", (429, {"retry-after": "3600"}, {}), pauses=pauses)
    assert pauses == [], "an hour is not waited for"
    assert "answered 302" in failed("tavily", (302, {"location": "http://127.0.0.1:9/"}, {}))


def test_what_is_no_answer_is_said_in_a_line(monkeypatch):
    login = "the search answered with a web page, not with results"
    assert login in failed("wikipedia", (200, {"content-type": "text/html"}, b"<!doctype html><p>Welcome"))
    assert login in failed("wikipedia", (200, {}, b" <html>"))
    for body in (b"{", b"[1]", b"null", b"[" * 100_000, {"query": {"pages": [3]}}):
        assert "in another form than wikipedia's" in failed("wikipedia", (200, {}, body))
    assert "refused that (bad &)" in failed("wikipedia", (200, {}, {"error": {"code": "x", "info": "bad &amp;"}}))
    assert asked_of("wikipedia", (200, {}, {"batchcomplete": True}))[0] == []
    monkeypatch.setattr(providers, "LARGEST", 1000)
    assert "sent more than" in failed("wikipedia", (200, {}, b" " * 5000))


def test_without_a_network_there_is_one_line(monkeypatch):
    pauses = []
    with pytest.raises(ToolError, match=r"cannot be reached \(ConnectError\), as where there is no network\. Answer"):
        providers.fetch(providers.PROVIDERS["wikipedia"], "q", 1, "http://127.0.0.1:9/", pauses.append)
    assert pauses == [0.5, 1.0]


def test_a_search_that_does_not_exist_or_has_no_key(monkeypatch):
    monkeypatch.delenv("BRAVE_API_KEY", raising=False)
    assert refused(providers.tool, "brave") == (
        "--search brave needs a key: put it into $BRAVE_API_KEY. `--search wikipedia` needs none."
    )
    assert refused(providers.tool, "altavista") == (
        "--search altavista: there is no such search. Choose snapshot, wikipedia, brave, tavily."
    )
    monkeypatch.setenv("BRAVE_API_KEY", "ke\ny")
    assert "holds no key" in refused(providers.tool, "brave")


def test_the_tool_asks_the_provider():
    with service((200, {}, WIKIPEDIA)) as (url, _):
        found = act(Call("search", {"query": "Mont Blanc"}), by_name(providers.tool("wikipedia", 1, url)))
    assert found.ok and found.text == "Mont Blanc is 4,806 m high. (Wikipedia, 2026-01-02)"
