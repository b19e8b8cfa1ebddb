"""Week 12's service as an application, without a socket: documents, questions, and whatever a caller may do to it."""

import asyncio
import errno
import hashlib
import json
import logging
import threading
import zlib
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from programs import Lazily, refused, write_pdf

from shared.errors import CourseError
from week11_rag import checks, pdf
from week11_rag.answer import REFUSAL, Answer, Event
from week11_rag.chunks import Chunk
from week11_rag.cite import Citation
from week11_rag.retrieve import Passage
from week11_rag.store import Stored
from week12_deploy import docs, looking, problems, settings, ui, uploads
from week12_deploy.metrics import Metrics
from week12_deploy.settings import Settings, with_keys

assembly, gate = Lazily("week12_deploy.assembly"), Lazily("week12_deploy.gate")
KEY = "a-key-of-the-tests"


class Bot:
    """Week 11's bot, as far as the service sees it: finds pages that share a word, and quotes the first."""

    def __init__(self, store):
        self.store, self.known, self.goes_down, self.pause = store, {}, 0, None
        self.paused = threading.Event()  # it has come as far as the pause

    def documents(self):
        return [Stored(id, name, len(pages), len(pages)) for id, (name, pages) in self.known.items()]

    def add(self, path, name=None):
        document = pdf.read(path, name=name or path.name)
        pages = [" ".join(block.text for block in page.blocks) for page in document.pages]
        for id in [id for id, (other, _) in self.known.items() if other == document.name]:
            del self.known[id]
        self.known[document.id] = document.name, pages
        return Stored(document.id, document.name, len(pages), len(pages))

    def remove(self, id):
        return self.known.pop(id, None) is not None

    def retrieve(self, question, k=5):
        words = {word.strip("?.").lower() for word in question.split()}
        found = []
        for id, (name, pages) in self.known.items():
            for number, text in enumerate(pages, 1):
                if shared := words & {word.strip(".").lower() for word in text.split()}:
                    chunk = Chunk(f"{id}{number}", id, name, text, ("Chapter",), ((number, 0, len(text)),))
                    found.append((len(shared), chunk))
        found.sort(key=lambda pair: -pair[0])
        return [Passage(chunk, float(score), rank) for rank, (score, chunk) in enumerate(found[:k], 1)]

    def stream(self, question, history=()):
        if self.goes_down == 1:
            raise CourseError("--lm http://lm: the service does not answer, or broke off. Is it running?")
        passages = tuple(self.retrieve(f"{question} {' '.join(old for old, _ in history)}"))
        yield Event("passages", passages=passages)
        if self.pause:
            self.paused.set()
            self.pause.wait(20)
        for word in passages[0].chunk.text.split()[:3] if passages else [REFUSAL]:
            if self.goes_down == 2:
                raise CourseError("--lm http://lm: the service ended the answer in the middle. Ask again.")
            yield Event("token", f"{word} ")
        chunk = passages[0].chunk if passages else None
        cited = (
            (Citation(1, chunk.document, chunk.name, chunk.spans[0][0], chunk.text, 0, len(chunk.text)),)
            if chunk
            else ()
        )
        text = f"{chunk.text} [1]" if chunk else REFUSAL
        yield Event("answer", answer=Answer(text, cited, not chunk, passages, question, 0.001))


class Said:
    """An answer over HTTP."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def events(self):
        """(name, data) of each server-sent event."""
        found = []
        for block in self.body.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if fields:
                found.append((fields["event"], json.loads(fields["data"])))
        return found


class Client:
    """Calls an ASGI application. `pieces` of a body are given one at a time, as they are taken."""

    def __init__(self, app, key=KEY):
        self.app, self.key, self.taken = app, key, 0

    async def __call__(self, method, path, body=b"", headers=None, pieces=None, gone=None):
        given = {"content-type": "application/json", **(headers or {})}
        if self.key and "authorization" not in given and "x-api-key" not in given:
            given["authorization"] = f"Bearer {self.key}"
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if pieces is None:
            given.setdefault("content-length", str(len(body)))
            pieces = iter([body])
        path, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path,
            "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "scheme": "http",
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 80), "state": {},
        }  # fmt: skip
        sent, left = [], asyncio.Event()
        self.taken = 0
        rest = iter(pieces)
        waiting = [next(rest, b"")]

        async def receive():
            if not waiting:
                await (gone.wait() if gone else left.wait())
                return {"type": "http.disconnect"}
            piece = waiting.pop()
            if piece is None:  # the caller is silent
                await asyncio.sleep(3_600)
            following = next(rest, b"")
            if following != b"":
                waiting.append(following)
            self.taken += len(piece)
            return {"type": "http.request", "body": piece, "more_body": bool(waiting)}

        async def send(message):
            sent.append(message)

        await self.app(scope, receive, send)
        left.set()
        start = next(message for message in sent if message["type"] == "http.response.start")
        names = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return Said(start["status"], names, b"".join(m.get("body", b"") for m in sent if m["type"].endswith("body")))

    async def upload(self, name, content, **more):
        head, tail = form(name)
        return await self("POST", "/documents", head + content + tail, {"content-type": TYPE, **more})

    async def ask(self, question, **more):
        return await self("POST", "/ask", {"question": question, **more})


TYPE = "multipart/form-data; boundary=xxx"


def form(name):
    head = (
        f'--xxx\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: text/plain\r\n\r\n'
    )
    return head.encode(), b"\r\n--xxx--\r\n"


def some_pdf(folder, *texts, name="some.pdf"):
    """The bytes of a PDF with a page for each text."""
    return write_pdf(folder / name, [[(10, text)] for text in texts]).read_bytes()


async def look_here(path, name, pages, memory, seconds):
    """As uploads.look, without a process of its own, which takes a second."""
    uploads.check_type(path, name)
    return uploads.understood(json.dumps(looking.look(path, pages)).encode(), 0, path, name, memory)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr(uploads, "look", look_here)
    monkeypatch.setattr("week11_rag.checks.MOST_UNPACKED", checks.MOST_UNPACKED)  # looking.py lowers it


@asynccontextmanager
async def running(folder, key=KEY, bot=None, **flags):
    """The application, ready, and its bot; without pages."""
    cfg = Settings(store=str(folder / "store"), ui="none", rate=0.0, **flags)
    cfg = with_keys(replace(cfg, key=bool(key)), {"COURSE_API_KEY": key or ""})
    made = bot or Bot(None)
    app = assembly.application(cfg, lambda cfg, wrap: made)
    service = app.state.service
    async with service.running():
        for _ in range(3_000):
            if service.bot or service.wrong:
                break
            await asyncio.sleep(0.001)
        yield Client(app, (key or "").partition(",")[0]), made


def inside(folder, test, **flags):
    """Runs test(client, bot) in a running application."""

    async def whole():
        async with running(folder, **flags) as (client, bot):
            return await test(client, bot)

    return asyncio.run(asyncio.wait_for(whole(), 60))


def is_problem(said, status, detail):
    """What every problem has."""
    assert (said.status, said.headers["content-type"]) == (status, "application/problem+json"), said.body
    found = said.json
    assert found["status"] == status and found["title"] and found["type"].startswith("urn:course:problem:")
    assert found["detail"] == detail and "\n" not in found["detail"]
    assert found["request_id"] == said.headers["x-request-id"] and found["instance"].startswith("/")
    return found


# ---------------------------------------------------------------- documents and questions


def test_a_document_is_stored_found_listed_and_taken_out(tmp_path):
    content = some_pdf(tmp_path, "The ferry crosses every forty minutes.", "The bakery opens at six.")
    id = hashlib.sha256(content).hexdigest()[:16]

    async def all_of_it(client, _):
        assert (await client("GET", "/documents")).json == {"documents": []}
        stored = await client.upload("../../town\u202e.pdf", content)
        assert stored.status == 201 and stored.headers["location"] == f"/documents/{id}", stored.body
        assert stored.json.pop("added").startswith("20")
        assert {**stored.json, "added": ""} == {
            "id": id, "name": "town.pdf", "bytes": len(content), "pages": 2, "chunks": 2, "status": "ready",
            "detail": "", "added": "",
        }  # fmt: skip
        assert (tmp_path / "store" / "documents" / f"{id}.pdf").read_bytes() == content
        assert (await client.upload("again.pdf", content)).status == 200, "the same bytes change nothing"
        assert (await client("GET", f"/documents/{id}")).json == stored.json
        said = (await client.ask("When does the bakery open?")).json
        assert said["text"] == "The bakery opens at six. [1]" and said["refused"] is False and said["complete"] is True
        assert said["citations"] == [
            {"number": 1, "document": id, "name": "town.pdf", "page": 2, "quote": "The bakery opens at six."}
        ]
        assert said["passages"][0]["pages"] == [2] and said["passages"][0]["headings"] == ["Chapter"]
        found = (await client("POST", "/search", {"question": "ferry", "k": 1.0})).json["passages"]
        assert [(one["rank"], one["text"]) for one in found] == [(1, "The ferry crosses every forty minutes.")]
        assert (await client("DELETE", f"/documents/{id}")).status == 204
        is_problem(
            await client("DELETE", f"/documents/{id}"), 404, f"there is no document {id}: GET /documents lists them."
        )
        is_problem(
            await client("GET", f"/documents/{id}"), 404, f"there is no document {id}: GET /documents lists them."
        )
        assert (await client.ask("When does the bakery open?")).json["refused"] is True
        assert not list((tmp_path / "store" / "documents").iterdir())

    inside(tmp_path, all_of_it)


def test_one_of_the_same_name_replaces_the_older_one(tmp_path):
    old, new = some_pdf(tmp_path, "The ferry is red."), some_pdf(tmp_path, "The ferry is blue.")

    async def twice(client, _):
        assert [(await client.upload("ferry.pdf", content)).status for content in (old, new)] == [201, 201]
        (one,) = (await client("GET", "/documents")).json["documents"]
        assert one["id"] == hashlib.sha256(new).hexdigest()[:16]
        assert (await client.ask("ferry")).json["citations"][0]["quote"] == "The ferry is blue."

    inside(tmp_path, twice)


def test_an_answer_comes_as_events_and_the_history_is_handed_on(tmp_path):
    async def streamed(client, _):
        await client.upload("town.pdf", some_pdf(tmp_path, "The bakery opens at six."))
        turns = [{"question": "Where is the bakery?", "answer": "Here."}]
        said = await client("POST", "/ask/stream", {"question": "When?", "history": turns})
        assert said.status == 200 and said.headers["content-type"].startswith("text/event-stream")
        assert said.headers["cache-control"] == "no-cache" and said.headers["x-request-id"]
        names, data = zip(*said.events, strict=True)
        assert names == ("passages", "token", "token", "token", "answer")
        assert "".join(one["text"] for one in data[1:-1]) == "The bakery opens "
        assert data[0]["passages"] == data[-1]["passages"] and data[-1]["text"] == "The bakery opens at six. [1]"

    inside(tmp_path, streamed)


def test_a_language_model_that_goes_down_before_and_in_the_midst_of_an_answer(tmp_path):
    async def down(client, bot):
        await client.upload("town.pdf", some_pdf(tmp_path, "The bakery opens at six."))
        bot.goes_down = 1
        line = "--lm http://lm: the service does not answer, or broke off. Is it running?"
        said = await client.ask("bakery")
        is_problem(said, 503, line)
        assert said.headers["retry-after"] == "5"
        bot.goes_down = 2
        line = "--lm http://lm: the service ended the answer in the middle. Ask again."
        is_problem(await client.ask("bakery"), 503, line)
        said = await client("POST", "/ask/stream", {"question": "bakery"})
        assert said.status == 200 and [name for name, _ in said.events] == ["passages", "error"]
        error = said.events[-1][1]
        assert (error["status"], error["detail"], error["request_id"]) == (503, line, said.headers["x-request-id"])
        bot.goes_down = 0
        assert (await client.ask("bakery")).status == 200, "and the next one is answered as ever"

    inside(tmp_path, down)


# ---------------------------------------------------------------- what is sent


def encrypted_pdf(folder):
    """A PDF that says it is encrypted: the dictionary of the standard handler, with a password nobody knows."""
    content = some_pdf(folder, "secret")
    lock = b"<< /Filter /Standard /V 1 /R 2 /O <%b> /U <%b> /P -4 >>" % (b"00" * 32, b"11" * 32)
    return content.replace(b"/Root 1 0 R >>", b"/Root 1 0 R /Encrypt %b /ID [<00> <00>] >>" % lock)


def bomb_pdf(folder):
    """A few kilobytes that unpack to forty megabytes."""
    packed = zlib.compress(b"q Q " * 10_000_000, 9)
    content = some_pdf(folder, "small")
    stream = b"9 0 obj\n<< /Length %d /Filter /FlateDecode >>\nstream\n%b\nendstream\nendobj\n" % (len(packed), packed)
    return content.replace(b"xref\n", stream + b"xref\n", 1)


def test_what_is_no_pdf_that_can_be_read_is_refused_and_leaves_nothing(tmp_path):
    good = some_pdf(tmp_path, "good")
    grows = "it unpacks to more than 20 MB, more than an honest PDF needs"
    cases = {
        "empty.pdf": (b"", 422, "empty.pdf is empty: send a PDF."),
        "word.pdf": (b"PK\x03\x04" + bytes(2_000), 415, "word.pdf is no PDF: it does not begin as one. Send a PDF."),
        "cut.pdf": (good[:200], 422, "cut.pdf is cut short: the end of the PDF is missing. Copy or download it again."),
        "locked.pdf": (
            encrypted_pdf(tmp_path), 422, "locked.pdf is encrypted: save a copy without a password, and give that.",
        ),
        "bomb.pdf": (
            bomb_pdf(tmp_path), 422, f"bomb.pdf may be a bomb, and is not read: {grows}.",
        ),
    }  # fmt: skip

    async def one_by_one(client, bot):
        for name, (content, status, line) in cases.items():
            is_problem(await client.upload(name, content), status, line)
        said = await client("POST", "/documents", b"", {"content-type": TYPE})
        assert said.status in (400, 422) and said.headers["content-type"] == "application/problem+json"
        said = await client("POST", "/documents", {"file": "text"})
        is_problem(said, 422, "file: send a PDF as multipart/form-data, with a file name (curl -F file=@paper.pdf).")
        assert not bot.known and (await client("GET", "/documents")).json == {"documents": []}
        assert not list((tmp_path / "store").rglob("*.pdf"))

    inside(tmp_path, one_by_one)


def test_a_pdf_of_too_many_pages_and_one_that_breaks_what_reads_it(tmp_path):
    async def large(client, _):
        said = await client.upload("long.pdf", some_pdf(tmp_path, "one", "two", "three"))
        assert said.status == 413 and said.json["detail"].startswith("long.pdf has 3 pages, more than 2")

    inside(tmp_path, large, pages=2)
    with pytest.raises(problems.Problem) as broken:
        uploads.understood(b"", -11, tmp_path / "x", "odd.pdf", 2_000)
    assert (broken.value.status_code, broken.value.detail) == (
        422, "odd.pdf cannot be read: what reads it broke down (signal 11; it had 2000 MB).",
    )  # fmt: skip


@pytest.mark.parametrize("path", ["/documents", "/ask"])
def test_two_gigabytes_are_refused_at_the_first_byte_too_many(tmp_path, path):
    """Said beforehand, not one byte is taken; unsaid, hardly more than allowed."""
    most = 1_000_000 if path == "/documents" else gate.SMALL
    kind = {"content-type": TYPE} if path == "/documents" else {}
    given = {"pieces": (head for head in [form("big.pdf")[0], *[b"x" * 65_536] * 32_768]), "headers": kind}

    async def huge(client, _):
        said = await client("POST", path, headers={"content-length": str(2 * 10**9), **kind}, pieces=iter([b"x"]))
        line = f"the body is larger than {most / 1e6:g} MB, which is the most here."
        is_problem(said, 413, line)
        assert client.taken == 0 and said.headers["connection"] == "close"
        said = await client("POST", path, **given)
        is_problem(said, 413, line)
        assert most < client.taken <= most + 3 * 65_536, f"{client.taken} bytes of 2 GB were taken"

    inside(tmp_path, huge, megabytes=1.0)


def test_a_body_that_does_not_come_is_given_up(tmp_path):
    async def slow(client, _):
        said = await client("POST", "/ask", pieces=iter([b'{"question":', None]))
        is_problem(said, 408, "no byte of the body came for 0.05 seconds.")

    inside(tmp_path, slow, body_timeout=0.05)


@pytest.mark.parametrize(
    ("body", "status", "line"),
    [
        ({"question": "x" * 100_000}, 422, "question: String should have at most 2000 characters."),
        ({"question": "  ?!  "}, 422, "question: it needs a letter or a digit."),
        ([1], 422, "body: send a JSON object, with the header Content-Type: application/json."),
        ({}, 422, "question: Field required."),
        ({"question": "who?", "history": [{"question": "x"}]}, 422, "history.0.answer: Field required."),
        ({"question": "who?", "k": 3}, 422, "k: Extra inputs are not permitted."),
        ({"question": ["who?"]}, 422, "question: Input should be a valid string."),
        (b'{"question": ', 400, "the body is not JSON: Expecting value."),
        (b"\xff\xfe", 400, "the body is not JSON"),
        (b"", 422, "body: Field required."),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_question_that_is_none(tmp_path, body, status, line):
    async def asked(client, _):
        for path in ("/ask", "/ask/stream"):
            said = await client("POST", path, body)
            assert said.status == status and said.json["detail"].startswith(line), said.body
            assert said.headers["content-type"] == "application/problem+json" and len(said.body) < 2_000

    inside(tmp_path, asked)


def test_what_is_not_there_is_a_problem_too(tmp_path):
    async def elsewhere(client, _):
        is_problem(await client("GET", "/nothing"), 404, "there is nothing here: /docs shows what there is.")
        said = await client("PUT", "/ask", {})
        is_problem(said, 405, "this cannot be done here: see /docs.")
        assert said.headers["allow"] == "POST"
        said = await client("PUT", "/documents", {})
        assert said.headers["allow"] == "GET, POST", "of all routes at that path"
        said = await client("GET", "/documents/..%2f..%2fetc")
        assert said.status in (404, 422)

    inside(tmp_path, elsewhere)


# ---------------------------------------------------------------- keys and rates


def test_without_a_key_or_with_a_wrong_one_nothing_is_read(tmp_path):
    async def keys(client, _):
        how = "send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`."
        client.key = ""
        said = await client("POST", "/documents", pieces=iter([b"x" * 1_000]))
        is_problem(said, 401, f"this needs a key: {how}")
        assert said.headers["www-authenticate"] == "Bearer" and client.taken == 0
        for wrong in ("Bearer no-such-key-here", "Bearer ", f"Basic {KEY}", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}"):
            assert (await client("GET", "/documents", headers={"authorization": wrong})).status == 401
        is_problem(
            await client("GET", "/metrics", headers={"x-api-key": "wrong"}), 401, f"the key is not known here: {how}"
        )
        for right in ({"authorization": f"bearer {KEY}"}, {"x-api-key": "another-key-of-ours"}):
            assert (await client("GET", "/documents", headers=right)).status == 200
        for path in ("/health", "/ready", "/openapi.json", "/docs"):
            assert (await client("GET", path)).status == 200, f"{path} is for everybody"

    inside(tmp_path, keys, key=f"{KEY},another-key-of-ours")


def test_keys_are_compared_in_constant_time_and_kept_as_digests(monkeypatch):
    seen = []
    monkeypatch.setattr(gate.hmac, "compare_digest", lambda a, b: seen.append((a, b)) or a == b)
    cfg = with_keys(Settings(), {"COURSE_API_KEY": "first-key-of-three, second-key-of-them, the-third-of-the-keys"})
    assert len(cfg.keys) == 3 and all(len(key) == 64 for key in cfg.keys) and "first-key" not in repr(cfg)
    scope = {"type": "http", "path": "/ask", "method": "POST", "headers": [(b"x-api-key", b"first-key-of-three")]}
    assert gate.Gate(None, cfg, Metrics()).caller(scope) == settings.digest("first-key-of-three")[:8]
    assert len(seen) == 3, "all keys are compared, whichever one is right"


def test_more_requests_than_the_rate_are_told_when_to_come_again(tmp_path):
    now = [100.0]

    async def many(client, _):
        inner = client.app.middleware_stack
        while not isinstance(inner, gate.Gate):
            inner = inner.app
        inner.limiter = gate.Limiter(0.5, 3.0, lambda: now[0])
        assert [(await client("GET", "/documents")).status for _ in range(5)] == [200, 200, 200, 429, 429]
        said = await client("GET", "/documents")
        is_problem(said, 429, "more than 5 requests a second: the next one in 2 s.")
        assert said.headers["retry-after"] == "2"
        other = {"authorization": "Bearer another-key-of-ours"}
        assert (await client("GET", "/documents", headers=other)).status == 200, "each key has a bucket of its own"
        wrong = {"authorization": "Bearer guess-number-one-x"}
        found = [(await client("GET", "/documents", headers=wrong)).status for _ in range(5)]
        assert found == [401, 401, 401, 429, 429], "who guesses keys is slowed down as well"
        now[0] += 2
        assert (await client("GET", "/documents")).status == 200

    async def warm(client, bot):
        await client("GET", "/health")
        client.app.state.service.cfg.rate = 5.0
        await many(client, bot)

    inside(tmp_path, warm, key=f"{KEY},another-key-of-ours")


@pytest.mark.parametrize(
    ("flags", "environment", "line"),
    [
        ({}, {}, "the environment has no COURSE_API_KEY: put a key of your own into it"),
        ({}, {"COURSE_API_KEY": "short"}, "COURSE_API_KEY has a key of 5 characters: take 16 at least"),
        (
            {"key": False, "host": "0.0.0.0"},
            {},
            "--no-key --host 0.0.0.0: without a key it may listen on 127.0.0.1 only.",
        ),
        ({"workers": 2}, {}, "--workers 2: several processes cannot write to one folder's index."),
    ],
)
def test_settings_that_must_not_be(flags, environment, line):
    assert refused(with_keys, Settings(**flags), environment).startswith(line)


# ---------------------------------------------------------------- what is watched


def test_requests_leave_a_line_without_texts_or_keys(tmp_path, caplog):
    secret = "xyzzy-is-the-word-that-nobody-may-see"
    lines = []

    class Keep(logging.Handler):
        def emit(self, record):
            from week12_deploy.logs import AsJson

            lines.append(AsJson().format(record))

    async def watched(client, bot):
        await client.upload(f"{secret}.pdf", some_pdf(tmp_path, f"The word is {secret}."))
        said = await client("POST", "/ask", {"question": f"what is {secret}?"}, {"x-request-id": "abc-123"})
        assert said.headers["x-request-id"] == "abc-123", "a number that came with the request is kept"
        said = await client("POST", "/ask", {"question": "x"}, {"x-request-id": "two\nlines"})
        assert said.headers["x-request-id"] != "two\nlines" and len(said.headers["x-request-id"]) == 32
        await client("POST", f"/{secret}", {"question": secret})
        bot.retrieve = None  # a bug
        said = await client.ask(secret)
        is_problem(said, 500, "something went wrong here: whoever runs this finds it in the log.")

    logger, handler = logging.getLogger("week12"), Keep()
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel("INFO")
    try:
        inside(tmp_path, watched)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    found = [json.loads(line) for line in lines]
    asked = next(row for row in found if row.get("request_id") == "abc-123")
    assert asked["event"] == "request" and asked["route"] == "/ask" and asked["status"] == 200 and asked["ms"] > 0
    assert asked["caller"] == settings.digest(KEY)[:8]
    assert [row["route"] for row in found if row["event"] == "request"] == [
        "/documents",
        "/ask",
        "/ask",
        "other",
        "/ask",
    ]
    error = next(row for row in found if row["event"] == "error")
    assert error["error"] == "TypeError" and any("retrieve" in place or "stream" in place for place in error["at"])
    assert all(secret not in line and KEY not in line for line in lines), "no text and no key is in the log"


def test_metrics_count_what_happened(tmp_path):
    async def counted(client, _):
        await client.upload("town.pdf", some_pdf(tmp_path, "The bakery opens at six."))
        await client.ask("bakery")
        await client.ask("castle")
        await client("POST", "/ask/stream", {"question": "bakery"})
        await client("GET", "/made-up-by-a-caller")
        said = await client("GET", "/metrics")
        assert said.status == 200 and said.headers["content-type"].startswith("text/plain; version=")
        return said.body.decode()

    text = inside(tmp_path, counted)
    for line in (
        'course_requests_total{method="POST",route="/ask",status="200"} 2.0',
        'course_requests_total{method="POST",route="/documents",status="201"} 1.0',
        'course_requests_total{method="GET",route="other",status="404"} 1.0',
        'course_answers_total{outcome="given"} 2.0',
        'course_answers_total{outcome="refused"} 1.0',
        'course_problems_total{reason="unknown"} 1.0',
        'course_request_seconds_count{route="/ask/stream"} 1.0',
        "course_first_token_seconds_count 1.0",
        "course_documents 1.0",
        "course_requests_open 1.0",
    ):
        assert line in text.splitlines(), text
    assert "made-up" not in text, "what a caller makes up is no label"


def test_it_lives_before_it_is_ready_and_says_why_it_is_not(tmp_path):
    opened = threading.Event()

    async def early():
        cfg = with_keys(Settings(store=str(tmp_path), ui="none", key=False), {})

        def slowly(cfg, wrap):
            opened.wait(20)
            return Bot(None)

        app = assembly.application(cfg, slowly)
        client = Client(app, "")
        async with app.state.service.running():
            assert (await client("GET", "/health")).json == {"status": "alive"}
            said = await client("GET", "/ready")
            is_problem(said, 503, "not ready yet: loading the models. Ask again.")
            assert said.headers["retry-after"] == "2"
            is_problem(await client.ask("x"), 503, "not ready yet: loading the models. Ask again.")
            opened.set()
            while (said := await client("GET", "/ready")).status == 503:
                await asyncio.sleep(0.001)
            assert said.json["status"] == "ready" and said.json["documents"] == 0

    asyncio.run(asyncio.wait_for(early(), 60))


def test_what_cannot_be_opened_is_said(tmp_path):
    async def broken():
        cfg, told = with_keys(Settings(store=str(tmp_path), ui="none", key=False), {}), []

        def no_chroma(cfg, wrap):
            raise CourseError("no Chroma server answers at http://localhost:1 (ConnectError): start one.")

        app = assembly.application(cfg, no_chroma)
        app.state.service.failed = told.append
        async with app.state.service.running():
            while not told:
                await asyncio.sleep(0.001)
            said = await Client(app, "")("GET", "/ready")
        line = "it cannot start: no Chroma server answers at http://localhost:1 (ConnectError): start one."
        is_problem(said, 503, line)
        assert told == [line.removeprefix("it cannot start: ")]

    asyncio.run(asyncio.wait_for(broken(), 60))


def test_an_index_that_stops_answering_makes_it_unready_and_nothing_else(tmp_path):
    async def gone(client, bot):
        line = "no Chroma server answers at http://localhost:1 (ConnectError): start one."

        def documents():
            raise CourseError(line)

        bot.documents = documents
        for path in ("/ready", "/documents"):
            is_problem(await client("GET", path), 503, line)
        assert (await client("GET", "/health")).status == 200

    inside(tmp_path, gone)


# ---------------------------------------------------------------- many at once, and too slow


def test_uploads_are_looked_at_one_by_one_and_only_so_many_are_received(tmp_path, monkeypatch):
    inside_now, most = 0, 0

    async def look(path, name, pages, memory, seconds):
        nonlocal inside_now, most
        inside_now += 1
        most = max(most, inside_now)
        await asyncio.sleep(0.02)
        inside_now -= 1
        return await look_here(path, name, pages, memory, seconds)

    monkeypatch.setattr(uploads, "look", look)

    async def crowd(client, _):
        return await asyncio.gather(*(client.upload(f"{n}.pdf", some_pdf(tmp_path, f"Page {n}.")) for n in range(5)))

    said = inside(tmp_path, crowd, uploads=3)
    assert sorted(one.status for one in said) == [201, 201, 201, 503, 503] and most == 1
    turned_away = next(one for one in said if one.status == 503)
    is_problem(turned_away, 503, "too many uploads at the moment: send it again in 5 s.")
    assert turned_away.headers["retry-after"] == "5"


def test_a_disk_without_room_is_a_problem_and_leaves_nothing(tmp_path, monkeypatch):
    async def full(client, bot):
        def no_room(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        line = "the disk has no room for it: take documents out, or tell whoever runs this."
        for where in ("receive", "commit"):
            with monkeypatch.context() as patch:
                patch.setattr(f"week12_deploy.store.Store.{where}", no_room)
                is_problem(await client.upload("a.pdf", some_pdf(tmp_path, "Apples.")), 503, line)
        with monkeypatch.context() as patch:
            patch.setattr(bot, "add", no_room)
            is_problem(await client.upload("a.pdf", some_pdf(tmp_path, "Apples.")), 503, line)
        assert (await client("GET", "/documents")).json == {"documents": []}
        assert not list((tmp_path / "store").rglob("*.pdf"))

    inside(tmp_path, full)


def test_the_pages_look_at_a_visitors_pdf_before_they_read_it(tmp_path):
    class Reads(Bot):
        def beside(self, path, name):
            return f"a bot of {name}"

    careful = ui.Careful(Reads(None), Settings())
    (tmp_path / "bomb.pdf").write_bytes(bomb_pdf(tmp_path))
    assert refused(careful.beside, tmp_path / "bomb.pdf", "bomb.pdf").startswith("bomb.pdf may be a bomb")
    good = write_pdf(tmp_path / "good.pdf", [[(10, "Bread")]])
    assert careful.beside(good, "good.pdf") == "a bot of good.pdf" and careful.documents() == []


def test_more_than_can_wait_are_turned_away_and_the_others_served(tmp_path):
    async def crowd(client, bot):
        await client.upload("town.pdf", some_pdf(tmp_path, "The bakery opens at six."))
        bot.pause = threading.Event()
        asked = [asyncio.ensure_future(client.ask("bakery")) for _ in range(6)]
        while sum(one.done() for one in asked) < 3:
            await asyncio.sleep(0.001)
        bot.pause.set()
        return [one.status for one in await asyncio.gather(*asked)], await asked[-1]

    statuses, last = inside(tmp_path, crowd, at_once=1, queue=2)
    assert statuses == [200, 200, 200, 503, 503, 503]
    is_problem(last, 503, "too many questions at the moment: ask again in a second.")


def test_an_answer_that_takes_too_long_is_given_up(tmp_path):
    """And the end of the process does not wait for it: its thread is a daemon."""

    async def slow(client, bot):
        await client.upload("town.pdf", some_pdf(tmp_path, "The bakery opens at six."))
        bot.pause = threading.Event()
        is_problem(await client.ask("bakery"), 504, "no answer within 0.5 seconds: ask again, or ask less.")
        assert [thread.daemon for thread in threading.enumerate() if thread.name == "answer"] == [True]
        said = await client("POST", "/ask/stream", {"question": "bakery"})
        bot.pause.set()
        assert [name for name, _ in said.events] == ["passages", "error"] and said.events[1][1]["status"] == 504

    inside(tmp_path, slow, timeout=0.5, at_once=4)


def test_what_is_cut_off_when_the_service_is_stopped_is_told_so(tmp_path):
    """uvicorn cancels what has not ended in time."""

    async def stopped(client, bot):
        await client.upload("town.pdf", some_pdf(tmp_path, "The bakery opens at six."))
        bot.pause = threading.Event()
        asked = asyncio.ensure_future(client.ask("bakery"))
        assert await asyncio.to_thread(bot.paused.wait, 20)
        asked.cancel()
        said = await asked
        bot.pause.set()
        line = "the service is being stopped: ask again in a minute. An upload may be stored all the same."
        is_problem(said, 503, line)

    inside(tmp_path, stopped)


def test_who_leaves_in_the_midst_of_an_answer_gives_his_place_back(tmp_path):
    async def leaves(client, bot):
        await client.upload("town.pdf", some_pdf(tmp_path, "The bakery opens at six."))
        bot.pause, gone = threading.Event(), asyncio.Event()
        asked = asyncio.ensure_future(client("POST", "/ask/stream", {"question": "bakery"}, gone=gone))
        await asyncio.sleep(0.05)
        gone.set()
        await asyncio.sleep(0.05)
        bot.pause.set()
        await asyncio.wait([asked], timeout=20)
        places = client.app.state.service.answering.places
        while places.locked():
            await asyncio.sleep(0.001)
        assert (await client.ask("bakery")).status == 200

    inside(tmp_path, leaves, at_once=1)


# ---------------------------------------------------------------- how it is described


def test_everything_is_described(tmp_path):
    async def described(client, _):
        return (await client("GET", "/openapi.json")).json

    schema = inside(tmp_path, described)
    assert schema["openapi"].startswith("3.") and schema["info"]["description"]
    assert {"bearer", "apiKey"} == {
        kind.get("scheme", kind["type"]) for kind in schema["components"]["securitySchemes"].values()
    }
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"] and operation["description"] and operation["tags"], where
            assert all(response["description"] for response in operation["responses"].values()), where
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert set(response["content"]) == {"application/problem+json"}, f"{where} {status}"
            if path not in ("/health", "/ready"):
                assert operation["security"] and {"401", "429", "500"} <= set(operation["responses"]), where
    shown = docs.page(schema)
    assert all(f"<code>{path}</code>" in shown for path in schema["paths"]), "/docs tells of all"
    assert "http" not in shown.replace("http://127.0.0.1:8000", ""), "and fetches nothing from elsewhere"
    text = json.dumps(schema)
    assert "HTTPValidationError" not in text, "that is not how our problems look"
    for name in set(__import__("re").findall(r"#/components/schemas/(\w+)", text)):
        assert name in schema["components"]["schemas"], name
    for name, model in schema["components"]["schemas"].items():
        assert model.get("description") or name.startswith("Body_"), name


def examined(operation, mode, left_out):
    """Sends three requests made for an operation, and holds the answers against its description. Returns how many."""
    from hypothesis import HealthCheck, Phase, given
    from hypothesis import settings as how
    from hypothesis.errors import Unsatisfiable

    count = 0

    @given(case=operation.as_strategy(generation_mode=mode))
    @how(max_examples=3, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
         suppress_health_check=list(HealthCheck))  # fmt: skip
    def try_it(case):
        nonlocal count
        answer = case.call(headers={"Authorization": f"Bearer {KEY}"})
        count += 1
        case.validate_response(answer, excluded_checks=left_out)

    try:
        try_it()
    except Unsatisfiable:  # where there is nothing to be wrong
        assert operation.method == "get"
    return count


def test_schemathesis_finds_nothing(tmp_path):
    """Requests made of /openapi.json, right and wrong ones, a few of each; all that is answered is as it is described.

    That a file is a PDF cannot be said in a schema, so of uploads it must not ask that all right ones are taken.
    """
    import socket

    import schemathesis
    import uvicorn
    from schemathesis.checks import CHECKS
    from schemathesis.generation import GenerationMode

    cfg = with_keys(Settings(store=str(tmp_path), ui="none", rate=0.0), {"COURSE_API_KEY": KEY})
    app = assembly.application(cfg, lambda cfg, wrap: Bot(None))
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while app.state.service.bot is None:
            thread.join(0.01)
        schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{listening.getsockname()[1]}/openapi.json")
        accepts = [one for one in CHECKS.get_all() if getattr(one, "__name__", "") == "positive_data_acceptance"]
        operations = [found.ok() for found in schema.get_all_operations()]
        assert len(operations) == 10
        for operation in operations:
            left_out = accepts if operation.label == "POST /documents" else []
            modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
            assert sum(examined(operation, mode, left_out) for mode in modes) > 0, operation.label
    finally:
        server.should_exit = True
        thread.join()
