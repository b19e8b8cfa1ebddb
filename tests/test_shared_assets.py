"""The asset layer against a server on loopback that does what servers do: breaks off, lies, shows a login page."""

import errno
import hashlib
import io
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from http.server import BaseHTTPRequestHandler
from multiprocessing import get_context
from pathlib import Path
from socketserver import ThreadingTCPServer

import pytest

import shared.assets
from shared.assets import Asset, _locked, fetch, home
from shared.errors import CourseError
from shared.files import ROOT

DATA = random.Random(0).randbytes(600_000)
OTHER = random.Random(1).randbytes(len(DATA))
NAME = "digits/images.gz"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- Answers: each takes the handler of one request ---


def head(request, status, **headers):
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), str(value))
    request.end_headers()


def whole(data=DATA, ranges=True, upto=None):
    """Sends `data`, from the byte asked for unless `ranges` is False, and breaks off after `upto` bytes."""

    def answer(request):
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        start = int(asked[1]) if asked and ranges else 0
        if start >= len(data):
            return head(request, 416)
        head(request, 206 if start else 200, Content_Length=len(data) - start)
        request.wfile.write(data[start:][:upto])

    return answer


def status(code):
    return lambda request: head(request, code, Content_Length=0)


def page(content_type="text/html; charset=utf-8", body=b"\n<!DOCTYPE html><html>Please log in</html>"):
    def answer(request):
        head(request, 200, Content_Type=content_type, Content_Length=len(body))
        request.wfile.write(body)

    return answer


def endless(request):
    head(request, 200)
    while True:  # ends when the client hangs up
        request.wfile.write(bytes(1 << 16))
        request.server.sent += 1 << 16


def slow(request):
    time.sleep(0.5)
    whole()(request)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        self.server.agents.add(self.headers["User-Agent"])
        answers = self.server.answers.get(self.path, [status(404)])
        try:
            (answers.pop(0) if len(answers) > 1 else answers[0])(self)
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_):
        pass


class Server(ThreadingTCPServer):
    """Answers each path with its list of answers in turn; the last one stays. `asked` holds (path, Range header)."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.answers, self.asked, self.agents, self.sent = {}, [], set(), 0

    def source(self, *answers, path="/a"):
        self.answers[path] = list(answers)
        return self.url + path


@pytest.fixture
def server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def course_home(tmp_path, monkeypatch):
    """An empty home, no mirror, and next to no waiting between two tries."""
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COURSE_MIRROR", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(shared.assets, "BACKOFF", 0.001)
    return tmp_path / "home"


def asset(*urls, data=DATA):
    return Asset(NAME, urls, sha256(data), len(data), "CC0")


def part(folder: Path) -> Path:
    return folder / f"{NAME}.part"


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")}


# --- It arrives ---


def test_downloads_once_and_finds_it_again(server, course_home):
    wanted = asset(server.source(whole()))
    path = fetch(wanted)
    assert path == course_home / NAME
    assert path.read_bytes() == DATA
    assert fetch(wanted) == path
    assert server.asked == [("/a", None)]
    assert leftovers(course_home) == {"images.gz"}
    assert server.agents == {shared.assets.AGENT} and "Mozilla" in shared.assets.AGENT


def test_home_is_in_the_cache_folder_unless_told(monkeypatch):
    monkeypatch.delenv("COURSE_HOME")
    assert home() == Path("~/.cache/sixteen-weeks").expanduser()
    monkeypatch.setenv("COURSE_HOME", "~/elsewhere")
    assert home() == Path("~/elsewhere").expanduser()


def test_interrupted_download_asks_for_the_rest_only(server, course_home):
    path = fetch(asset(server.source(whole(upto=250_000), whole())))
    assert path.read_bytes() == DATA
    assert server.asked == [("/a", None), ("/a", "bytes=250000-")]


def test_download_of_a_killed_run_is_resumed(server, course_home):
    put(part(course_home), DATA[:599_999])
    assert fetch(asset(server.source(whole()))).read_bytes() == DATA
    assert server.asked == [("/a", "bytes=599999-")]


def test_a_complete_part_is_not_downloaded_again(server, course_home):
    put(part(course_home), DATA)
    assert fetch(asset(server.source(whole()))).read_bytes() == DATA
    assert server.asked == []


def test_keeps_trying_while_the_file_grows(server, monkeypatch):
    monkeypatch.setattr(shared.assets, "BLOCK", 10_000)
    breaks = shared.assets.TRIES * 3
    url = server.source(*[whole(upto=20_000)] * breaks, whole())
    assert fetch(asset(url)).read_bytes() == DATA
    assert server.asked[-1] == ("/a", f"bytes={20_000 * breaks}-")


def test_server_that_ignores_ranges_starts_over(server):
    path = fetch(asset(server.source(whole(upto=250_000), whole(ranges=False))))
    assert path.read_bytes() == DATA
    assert server.asked == [("/a", None), ("/a", "bytes=250000-")]


def test_range_that_is_not_there_starts_over(server, course_home):
    put(part(course_home), OTHER[:1000])
    assert fetch(asset(server.source(status(416), whole()))).read_bytes() == DATA
    assert server.asked == [("/a", "bytes=1000-"), ("/a", None)]


@pytest.mark.parametrize("length", [1000, len(DATA), len(DATA) + 5])
def test_part_of_another_file_is_thrown_away(server, course_home, length):
    put(part(course_home), (OTHER + OTHER)[:length])
    assert fetch(asset(server.source(whole()))).read_bytes() == DATA
    assert server.asked[-1] == ("/a", None)


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_busy_server_is_asked_again(server, code):
    assert fetch(asset(server.source(status(code), status(code), whole()))).read_bytes() == DATA
    assert len(server.asked) == 3


def test_waits_longer_each_time(server, monkeypatch):
    waits = []
    monkeypatch.setattr(shared.assets, "BACKOFF", 1.0)
    monkeypatch.setattr(time, "sleep", waits.append)
    with pytest.raises(CourseError, match=r"HTTP 503 Service Unavailable\. To use"):
        fetch(asset(server.source(status(503))))
    assert waits == [1.0, 2.0, 4.0]
    assert len(server.asked) == shared.assets.TRIES


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_refusal_goes_to_the_next_source_at_once(server, code):
    urls = server.source(status(code), path="/first"), server.source(whole(), path="/second")
    assert fetch(asset(*urls)).read_bytes() == DATA
    assert server.asked == [("/first", None), ("/second", None)]


def test_second_source_continues_what_the_first_began(server, monkeypatch):
    first = server.source(whole(upto=100), *[status(503)] * 5, path="/first")
    assert fetch(asset(first, server.source(whole(), path="/second"))).read_bytes() == DATA
    assert server.asked[-1] == ("/second", "bytes=100-")


def test_silent_server_is_left_for_the_next_one(server, monkeypatch):
    monkeypatch.setattr(shared.assets, "TIMEOUT", 0.05)
    monkeypatch.setattr(shared.assets, "TRIES", 2)
    silent = server.source(lambda request: time.sleep(0.2), path="/silent")
    assert fetch(asset(silent, server.source(whole()))).read_bytes() == DATA
    assert [path for path, _ in server.asked] == ["/silent", "/silent", "/a"]


# --- Mirrors ---


def test_mirror_is_asked_first(server, monkeypatch):
    server.source(whole(), path=f"/mirror/{NAME}")
    monkeypatch.setenv("COURSE_MIRROR", f"{server.url}/mirror/")
    fetch(asset(server.source(whole())))
    assert server.asked == [(f"/mirror/{NAME}", None)]


def test_mirror_without_the_file_is_passed_over(server, monkeypatch):
    monkeypatch.setenv("COURSE_MIRROR", server.url)
    assert fetch(asset(server.source(whole()))).read_bytes() == DATA
    assert server.asked == [(f"/{NAME}", None), ("/a", None)]


@pytest.mark.parametrize("as_address", [False, True])
def test_mirror_may_be_a_folder(tmp_path, monkeypatch, as_address):
    folder = tmp_path / "a folder, 100% mine"
    put(folder / NAME, DATA)
    monkeypatch.setenv("COURSE_MIRROR", folder.as_uri() if as_address else str(folder))
    assert fetch(asset()).read_bytes() == DATA
    assert (folder / NAME).read_bytes() == DATA


# --- Files placed by hand ---


def test_file_placed_by_hand_needs_no_network(course_home, monkeypatch):
    monkeypatch.setattr(shared.assets, "urlopen", None)
    path = put(course_home / NAME, DATA)
    assert fetch(asset("http://nowhere.invalid/a")) == path


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (OTHER, f"600,000 bytes with sha256 {sha256(OTHER)}"),
        (DATA[:-1], f"599,999 bytes with sha256 {sha256(DATA[:-1])}"),
        (b"<html>Not found</html>", f"an HTML page of 22 bytes with sha256 {sha256(b'<html>Not found</html>')}"),
        (b"", f"0 bytes with sha256 {sha256(b'')}"),
    ],
)
def test_wrong_file_placed_by_hand_is_named_and_left_alone(server, course_home, content, found):
    path = put(course_home / NAME, content)
    with pytest.raises(CourseError) as caught:
        fetch(asset(server.source(whole())))
    assert str(caught.value) == (
        f"{path} is not the file it should be: expected 600,000 bytes with sha256 {sha256(DATA)}, found {found}. "
        "Move it away and run the command again to download it, or put the right file in its place."
    )
    assert path.read_bytes() == content
    assert server.asked == []


def test_hashes_once_and_again_when_the_file_has_changed(course_home, monkeypatch):
    hashed = []
    describe = shared.assets._describe
    monkeypatch.setattr(shared.assets, "_describe", lambda path, *kind: hashed.append(path) or describe(path, *kind))
    path = put(course_home / NAME, DATA)
    for _ in range(3):
        fetch(asset())
    assert hashed == [path]
    path.write_bytes(OTHER)
    os.utime(path, ns=(1, 1))  # the same size: only the time tells
    with pytest.raises(CourseError, match="is not the file it should be"):
        fetch(asset())


def test_stamp_of_another_edition_does_not_count(course_home):
    put(course_home / NAME, OTHER)
    fetch(asset(data=OTHER))
    with pytest.raises(CourseError, match="is not the file it should be"):
        fetch(asset(data=DATA))


# --- It does not arrive ---


def failure(wanted: Asset) -> str:
    with pytest.raises(CourseError) as caught:
        fetch(wanted)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_error_says_what_was_expected_what_was_tried_and_what_to_do(server, course_home):
    first, second = server.source(status(404), path="/first"), server.source(page(), path="/second")
    assert failure(asset(first, second)) == (
        f"cannot download {NAME}, expected 600,000 bytes with sha256 {sha256(DATA)}. "
        f"Tried {first}: HTTP 404 Not Found; {second}: sent an HTML page instead of data. "
        f"To use a copy from elsewhere, put it at {course_home / NAME} "
        "or set $COURSE_MIRROR to the address or folder of a mirror."
    )
    assert leftovers(course_home) == set()


def test_wrong_bytes_are_refused(server, course_home):
    url = server.source(whole(OTHER))
    assert f"{url}: sent 600,000 bytes with sha256 {sha256(OTHER)}. " in failure(asset(url))
    assert server.asked == [("/a", None)]
    assert leftovers(course_home) == set()


def test_wrong_bytes_after_a_resume_are_tried_afresh_once(server):
    failure(asset(server.source(whole(OTHER, upto=1000), whole(OTHER))))
    assert server.asked == [("/a", None), ("/a", "bytes=1000-"), ("/a", None)]


def test_file_of_another_size_is_not_even_downloaded(server, course_home):
    url = server.source(whole(DATA + b"more"))
    assert f"{url}: has 600,004 bytes. " in failure(asset(url))
    assert leftovers(course_home) == set()


@pytest.mark.parametrize(
    "answer",
    [page(body=b"<!-- starts with a comment -->"), page("application/gzip"), page("image/png", b"\xef\xbb\xbf<HTML>")],
)
def test_login_page_is_recognised_by_its_type_or_its_first_bytes(server, answer):
    url = server.source(answer)
    assert f"{url}: sent an HTML page instead of data. " in failure(asset(url))
    assert server.asked == [("/a", None)]


def test_after_a_login_page_the_next_source_is_asked(server):
    urls = server.source(page(), path="/login"), server.source(whole())
    assert fetch(asset(*urls)).read_bytes() == DATA
    assert [path for path, _ in server.asked] == ["/login", "/a"]


def test_another_checksum_and_no_size(server, course_home, monkeypatch):
    good, bad = server.source(whole()), server.source(whole(OTHER), path="/b")
    wanted = Asset(NAME, (bad, good), hashlib.sha1(DATA).hexdigest(), 0, "CC0", "sha1")
    assert fetch(wanted).read_bytes() == DATA
    monkeypatch.setattr(shared.assets, "LARGEST", 1 << 20)
    url = server.source(endless)
    message = failure(Asset("b", (url,), wanted.sha256, 0, "CC0", "sha1"))
    assert (
        f"cannot download b, expected sha1 {wanted.sha256}. Tried {url}: sends more than 1,048,576 bytes. " in message
    )


def test_login_page_does_not_spoil_what_had_arrived(server, course_home):
    put(part(course_home), DATA[:1000])
    assert "sent an HTML page instead of data" in failure(asset(server.source(page())))
    assert part(course_home).read_bytes() == DATA[:1000]


def test_endless_body_is_cut_off(server, course_home):
    url = server.source(endless)
    assert f"{url}: sends more than 600,000 bytes. " in failure(asset(url))
    assert part(course_home).stat().st_size == 0
    assert server.sent < 64 * len(DATA)  # what fits into the buffers between the two, and no more


def test_connection_that_always_breaks(server, course_home):
    url = server.source(whole(upto=1000))
    assert f"{url}: the connection ended after 4,000 bytes. " in failure(asset(url))
    assert leftovers(course_home) == {"images.gz.part"}


def test_refused_connection_is_not_tried_again(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]  # bound and not listening: nobody answers there
        monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited"))
        assert f"http://127.0.0.1:{port}/a: Connection refused. " in failure(asset(f"http://127.0.0.1:{port}/a"))


def test_without_a_network_it_says_so_at_once(monkeypatch):
    def no_name(*_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited"))
    message = failure(asset("https://one.invalid/a", "http://two.invalid/a"))
    assert (
        "http://two.invalid/a: Temporary failure in name resolution. This machine seems to have no network" in message
    )
    assert "`--data sample` works offline" in message


@pytest.mark.parametrize("mirror", ["://", "nothing://here", "http://"])
def test_mirror_that_is_no_address_is_named(server, monkeypatch, mirror):
    monkeypatch.setenv("COURSE_MIRROR", mirror)
    assert f"Tried {mirror.rstrip('/')}/{NAME}: " in failure(asset(server.source(status(404))))


def test_missing_mirror_folder_is_not_a_missing_network(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_MIRROR", str(tmp_path / "nothing"))
    message = failure(asset())
    assert "images.gz: No such file or directory" in message.replace("The system cannot find", "No such")
    assert "no network" not in message


# --- The disk ---


class FullDisk(io.BytesIO):
    def write(self, _):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_disk_that_fills_up_is_one_clear_error(server, course_home, monkeypatch):
    open_ = Path.open
    monkeypatch.setattr(Path, "open", lambda p, *args: FullDisk() if p.suffix == ".part" else open_(p, *args))
    assert failure(asset(server.source(whole()))) == (
        f"cannot keep {course_home / NAME}: No space left on device. "
        "Free some space or set $COURSE_HOME to another folder."
    )
    assert leftovers(course_home) == set()
    monkeypatch.undo()


def test_disk_too_small_is_said_before_the_download(server, course_home, monkeypatch):
    put(part(course_home), DATA[:100_000])
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 499_999}))
    assert f"needs 500,000 bytes and {course_home / 'digits'} has 499,999 free" in failure(
        asset(server.source(whole()))
    )
    assert server.asked == []


def test_home_that_cannot_be_written(server, course_home):
    put(course_home, b"a file where the folder should be")
    assert failure(asset(server.source(whole()))).startswith("cannot ")


# --- Several processes ---


def test_two_processes_at_once_download_once(server):
    wanted = asset(server.source(slow))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        first, second = pool.submit(fetch, wanted), pool.submit(fetch, wanted)
        assert first.result(timeout=60) == second.result(timeout=60)
    assert first.result().read_bytes() == DATA
    assert server.asked == [("/a", None)]


def test_second_of_two_threads_waits_and_says_so(tmp_path, capsys):
    order = []

    def second():
        with _locked(tmp_path / "lock", waiting="waiting for the first"):
            order.append("second")

    with _locked(tmp_path / "lock", waiting="nobody is before the first"):
        thread = threading.Thread(target=second)
        thread.start()
        deadline = time.monotonic() + 10
        while "waiting for the first\n" not in (said := capsys.readouterr().err) and time.monotonic() < deadline:
            time.sleep(0.01)
        order.append("first")
    thread.join(timeout=10)
    assert said == "waiting for the first\n"
    assert order == ["first", "second"]


def test_lock_of_a_killed_process_is_free(tmp_path):
    holder = """import pathlib, sys, time; from shared.assets import _locked
with _locked(pathlib.Path(sys.argv[1]), waiting=""): print("held", flush=True); time.sleep(60)"""
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", holder, path], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline().strip() == b"held"
        process.kill()
    began = time.monotonic()
    with _locked(path, waiting=""):
        assert time.monotonic() - began < 5


@pytest.mark.skipif(os.name == "nt", reason="Windows locks in another way")
def test_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with (
        pytest.raises(CourseError, match=r"No locks available\. Choose a folder on a local disk\."),
        _locked(tmp_path / "l", waiting=""),
    ):
        pytest.fail("there was no lock")
