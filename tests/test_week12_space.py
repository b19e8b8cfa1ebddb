"""Week 12's Space: what is pushed, to a hub of our own on this machine that speaks as the real one does."""

import base64
import hashlib
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import unquote, urlsplit

import pytest
from programs import refused

from week12_deploy import hub

TOKEN = "hf_" + "x" * 34


class Hub(BaseHTTPRequestHandler):
    """A hub: it makes Spaces, says which files it wants as large ones, takes those, and makes commits."""

    protocol_version = "HTTP/1.1"
    spaces: ClassVar[dict] = {}
    lfs: ClassVar[dict] = {}
    status = 0  # answers every commit with this, where it is not 0
    large = 10_000_000

    def log_message(self, *_):
        pass

    def answer(self, value, status=200, **headers):
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", "Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(text))
        self.end_headers()
        self.wfile.write(body)

    def handle_one(self):
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        if path.startswith("/lfs/"):  # a signed address: no token goes there
            assert "Authorization" not in self.headers
            self.lfs[path.removeprefix("/lfs/")] = body
            return self.answer({}, ETag="x")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer({"error": "Invalid username or password."}, 401)
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        name = re.match(r"/(?:api/)?spaces/([^/]+/[^/]+?)(?:\.git)?(/.*|$)", path)
        space = self.spaces.get(name[1])
        if space is None:
            return self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        return self.of_space(space, name[1], name[2], body)

    def create(self, wanted):
        name = f"{wanted['organization']}/{wanted['name']}"
        if wanted["organization"] == "poor":
            return self.answer({"error": "Upgrade to PRO"}, 402)
        if wanted["organization"] != "ada":
            return self.answer({"error": f"You don't have the rights to create a space under {name}"}, 403)
        if name == "ada/hidden":
            return self.answer({"error": "You already created this space repo"}, 409)
        self.spaces[name] = {"files": {}, "sdk": wanted["sdk"], "visibility": wanted.get("visibility"), "commits": 0}
        self.answer({"url": f"{self.address}/spaces/{name}"})

    def of_space(self, space, name, rest, body):
        if not rest:
            return self.answer({"id": name, "sha": "0" * 40})
        if rest.startswith("/tree/"):
            rows = [{"type": "file", "path": path, "size": 1, "oid": "0" * 40} for path in space["files"]]
            return self.answer(rows)
        if rest.startswith("/preupload/"):
            files = json.loads(body)["files"]
            for file in files:
                file |= {"uploadMode": "lfs" if file["size"] > self.large else "regular", "shouldIgnore": False}
            return self.answer({"files": files})
        if rest.endswith("/objects/batch"):
            address = f"{self.address}/lfs/"
            objects = [{**o, "actions": {"upload": {"href": address + o["oid"]}}} for o in json.loads(body)["objects"]]
            return self.answer({"objects": objects, "transfer": "basic"})
        if Hub.status:
            return self.answer({"error": "the hub is being mended"}, Hub.status)
        for line in body.splitlines():
            line = json.loads(line)
            value = line["value"]
            if line["key"] == "file":
                space["files"][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                space["files"][value["path"]] = self.lfs[value["oid"]]
            elif line["key"] == "deletedFile":
                del space["files"][value["path"]]
        space["commits"] += 1
        self.answer({"commitUrl": f"{self.address}/spaces/{name}/commit/1", "commitOid": "1" * 40})

    def do_GET(self):
        self.handle_one()

    def do_POST(self):
        if self.path == "/api/validate-yaml":
            self.rfile.read(int(self.headers["Content-Length"]))
            return self.answer({"warnings": [], "errors": []})
        self.handle_one()

    def do_PUT(self):
        self.handle_one()


@pytest.fixture
def the_hub(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Hub.address = f"http://127.0.0.1:{server.server_port}"
    Hub.spaces, Hub.lfs, Hub.status = {}, {}, 0
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", Hub.address)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield Hub
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def folder(tmp_path):
    """A small Space."""
    place = tmp_path / "space"
    (place / "data").mkdir(parents=True)
    (place / "README.md").write_text("---\nsdk: docker\n---\n", encoding="utf-8")
    (place / "data" / "model.onnx").write_bytes(b"m" * 5000)
    return place


def test_a_space_is_made_and_filled(the_hub, folder):
    assert hub.push(folder, "ada/bot", "docker", private=True) == f"{the_hub.address}/spaces/ada/bot"
    space = the_hub.spaces["ada/bot"]
    assert (space["sdk"], space["visibility"]) == ("docker", "private")
    assert space["files"] == {"README.md": b"---\nsdk: docker\n---\n", "data/model.onnx": b"m" * 5000}


def test_large_files_go_by_the_way_of_large_files(the_hub, folder, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(the_hub, "large", 1000)
    hub.push(folder, "ada/bot", "docker")
    assert the_hub.lfs == {hashlib.sha256(b"m" * 5000).hexdigest(): b"m" * 5000}
    assert the_hub.spaces["ada/bot"]["files"]["data/model.onnx"] == b"m" * 5000


def test_a_space_that_is_there_is_left_alone_until_it_is_meant(the_hub, folder):
    hub.push(folder, "ada/bot", "docker")
    (folder / "data" / "model.onnx").rename(folder / "new.onnx")
    assert refused(hub.push, folder, "ada/bot", "docker") == (
        f"{the_hub.address}/spaces/ada/bot is there already. --update puts this folder in its place (its history keeps "
        "what it was); or choose another name."
    )
    assert the_hub.spaces["ada/bot"]["commits"] == 1
    hub.push(folder, "ada/bot", "docker", update=True)
    assert set(the_hub.spaces["ada/bot"]["files"]) == {"README.md", "new.onnx"}
    assert "is there already" in refused(hub.push, folder, "ada/hidden", "docker")


@pytest.mark.parametrize(
    ("name", "token", "line"),
    [
        ("ada/bot", "hf_wrong", "{} does not take this token (401): it is mistyped, has expired or was withdrawn. Make "
         "a new one under Settings, Access Tokens."),
        ("bob/bot", TOKEN, "this token may not write to bob's Spaces (403): make one with the right to write under "
         "Settings, Access Tokens."),
        ("poor/bot", TOKEN, "{} wants to be paid for a Space of this kind (402, it says: Upgrade to PRO): choose "
         "another account."),
    ],
)  # fmt: skip
def test_what_the_hub_refuses_is_one_line(the_hub, folder, monkeypatch, name, token, line):
    monkeypatch.setenv("HF_TOKEN", token)
    found = refused(hub.push, folder, name, "docker")
    assert found == line.format(the_hub.address)
    assert token not in found and not the_hub.spaces


def test_a_push_that_breaks_off_says_how_it_goes_on(the_hub, folder):
    the_hub.status = 403
    line = refused(hub.push, folder, "ada/bot", "docker")
    assert line.endswith("(ada/bot was made, and is empty: push again with --update).") or "--update" in line
    the_hub.status = 0
    hub.push(folder, "ada/bot", "docker", update=True)
    assert len(the_hub.spaces["ada/bot"]["files"]) == 2


def test_no_network(folder, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    line = refused(hub.push, folder, "ada/bot", "docker")
    assert re.fullmatch(rf"{address} does not answer \(.*onnect.*\): is there a network\?", line), line


def test_no_token(folder, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    assert refused(hub.push, folder, "ada/bot", "docker") == (
        "the hub needs a token with the right to write: make one on https://huggingface.co under Settings, Access Tokens"
        ", then `hf auth login`, or put it into the environment as HF_TOKEN."
    )


@pytest.mark.parametrize("name", ["bot", "ada/", "/bot", "ada/bot/x", "ada/b ot", "ada/--bot", "../bot", "ada/bot.."])
def test_a_name_that_is_none(folder, name):
    assert refused(hub.push, folder, name, "docker") == (
        f"--push {name}: must be user/name, of letters, digits, dots, dashes and underscores."
    )
