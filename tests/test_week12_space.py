"""Week 12's Space: what its folder holds, how it runs here, and how it is pushed: to a hub of our own on this machine,
which speaks as the real one does."""

import base64
import hashlib
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

import pytest
from programs import config, refused

from shared import checkpoint
from shared.files import write_json
from week12_deploy import dry_run, hub, space

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
        "the hub needs a token with the right to write: make one on https://huggingface.co under Settings, Access "
        "Tokens, then `hf auth login`, or put it into the environment as HF_TOKEN."
    )


@pytest.mark.parametrize("name", ["bot", "ada/", "/bot", "ada/bot/x", "ada/b ot", "ada/--bot", "../bot", "ada/bot.."])
def test_a_name_that_is_none(folder, name):
    assert refused(hub.push, folder, name, "docker") == (
        f"--push {name}: must be user/name, of letters, digits, dots, dashes and underscores."
    )


# ---------------------------------------------------------------- what a Space's folder holds


@pytest.fixture(scope="module")
def runs_of(tmp_path_factory):
    """Flags for space with small runs of weeks 11 and 12, and a sentence encoder that is a stub."""
    place = tmp_path_factory.mktemp("runs")
    ours, exported, encoder = place / "week11", place / "week12", place / "minilm"
    for folder in (ours, exported, encoder):
        folder.mkdir()
    write_json(ours / "config.json", {"data": "sample", "out": "", "resume": False})
    checkpoint.save(ours / "model.safetensors", {"week": 11, "config": {"data": "sample"}})
    for name in ("sources.json", "result.json"):
        write_json(ours / name, {})
    card = {"name": "minilm", "dimension": 4, "longest": 16, "chosen": "int8", "files": {"int8": "int8.onnx"}}
    write_json(exported / "embedder.json", card)
    for path in (exported / "int8.onnx", exported / "tokenizer.json", encoder / "model.safetensors"):
        path.write_bytes(b"weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(space.bundle.models, "fetch", lambda name: encoder)
        yield lambda *flags: config(space, "--run", ours, "--model", exported, *flags)


def test_space_of_the_service_is_its_container(runs_of, tmp_path, capsys):
    space.main(runs_of("--out", tmp_path / "space", "--title", 'My "PDF"'))
    assert "sdk docker; no secret in it\nnext: --dry-run" in capsys.readouterr().out
    head = dry_run.front_matter(tmp_path / "space")
    assert head["sdk"] == "docker" and head["app_port"] == 8000 and head["title"] == 'My "PDF"'
    assert head["base_path"] == "/ui/" and head["license"] == "mit"
    last = dry_run.instructions((tmp_path / "space" / "Dockerfile").read_text(encoding="utf-8"))
    assert [text for word, text in last if word == "FROM"][-1] == "service AS space"
    assert last[-1] == ("CMD", '["--lm", "extractive", "--ui", "open"]')
    files = {path.name for path in (tmp_path / "space").iterdir()}
    assert "compose.yaml" not in files and "app.py" not in files and "COURSE_API_KEY" in readme_of(tmp_path / "space")


def readme_of(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


def test_space_of_week_11_is_its_program(runs_of, tmp_path):
    space.main(runs_of("--out", tmp_path / "space", "--week", "11", "--lm", "smollm2"))
    head = dry_run.front_matter(tmp_path / "space")
    assert head["sdk"] == "gradio" and head["app_file"] == "app.py" and head["python_version"] == "3.11"
    lines = (tmp_path / "space" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert f"gradio=={head['sdk_version']}" in lines, "the hub installs this Gradio before the requirements"
    assert any(line.startswith("torch==") for line in lines) and not [line for line in lines if "nvidia" in line]
    app = (tmp_path / "space" / "app.py").read_text(encoding="utf-8")
    compile(app, "app.py", "exec")
    assert '"--lm", "smollm2"' in app
    for name in ("minilm", "smollm2"):
        assert (tmp_path / "space" / "models" / name / "model.safetensors").is_file()
    assert not (tmp_path / "space" / "week12_deploy").exists() and not (tmp_path / "space" / "Dockerfile").exists()


def test_front_matter_keeps_to_what_the_hub_knows(runs_of):
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    for week in ("11", "12"):
        head = space.front_matter(runs_of("--week", week))
        assert {head["colorFrom"], head["colorTo"]} <= colours and len(head["short_description"]) <= 60
        assert head["suggested_hardware"] == "cpu-basic" and len(head["emoji"]) == 1


def test_space_with_a_secret_in_it_is_refused(runs_of, tmp_path, monkeypatch):
    cfg = runs_of("--out", tmp_path / "space")
    note = Path(cfg.run) / "note.txt"
    note.write_text(f"push with {TOKEN}\n", encoding="utf-8")
    try:
        line = refused(space.main, cfg)
    finally:
        note.unlink()
    assert line == (
        f"{tmp_path / 'space' / 'baked' / 'week11' / 'note.txt'}, line 1: a token of the hub. Take it out; a secret "
        "belongs into the environment, or the settings of the Space."
    )


def test_space_that_is_too_large_is_refused(runs_of, tmp_path, monkeypatch):
    monkeypatch.setattr(space, "MOST", 1000)
    assert re.search(
        r" has 0\.00 GB, and a Space holds 1e-06 GB: ", refused(space.main, runs_of("--out", tmp_path / "s"))
    )


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ("--lm smollm2", "--lm smollm2: week 12's Space goes without torch. Take --week 11, or an address."),
        ("--lm a'b", "--lm a'b: must be extractive, smollm2, a name of the hub, or an address."),
        ("--push bot", "--push bot: must be user/name, of letters, digits, dots, dashes and underscores."),
    ],
)
def test_flags_that_do_not_fit(runs_of, tmp_path, flags, line):
    assert refused(space.main, runs_of("--out", tmp_path / "space", *flags.split())) == line
    assert not (tmp_path / "space").exists()


def test_push_goes_by_the_flag(runs_of, the_hub, tmp_path):
    found = space.main(runs_of("--out", tmp_path / "space", "--push", "ada/bot", "--private"))
    files = the_hub.spaces["ada/bot"]["files"]
    assert found["address"].endswith("/spaces/ada/bot") and {"README.md", "Dockerfile", "baked/week12/int8.onnx"} < set(
        files
    )
    assert not [path for path in files if TOKEN.encode() in files[path]]


# ---------------------------------------------------------------- a Space that is run here

STUB = """
import http.server, json, os, pathlib, signal, sys, threading
def kept(path):
    try:
        return bool(pathlib.Path(path).write_text("x", encoding="utf-8"))
    except OSError:
        return False
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path in ("/health", "/ready", "/ui/") else 404)
        self.end_headers()
    def do_POST(self):
        ours = self.headers["Authorization"] == "Bearer " + os.environ["COURSE_API_KEY"]
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["question"]
        baked = pathlib.Path("baked/x.txt").read_text(encoding="utf-8")
        said = [os.getuid() in (0, 1000), os.environ["HERE"], kept(DATA + "/x"), baked]
        cited = [{"number": 1, "name": "a.pdf", "page": 7, "quote": "so it is"}]
        body = json.dumps({"text": f"{asked} {said} [1]", "citations": cited}).encode()
        self.send_response(200 if ours else 401)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
DATA = sys.argv[1]
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
for port in map(int, sys.argv[2:]):
    threading.Thread(target=http.server.ThreadingHTTPServer(("0.0.0.0", port), Handler).serve_forever).start()
"""


def stub_space(folder, ports):
    """A docker Space of a stub that answers as the service does; returns its folder."""
    (folder / "baked").mkdir(parents=True)
    (folder / "baked" / "x.txt").write_text("baked in", encoding="utf-8")
    (folder / "stub.py").write_text(STUB, encoding="utf-8")
    (folder / "README.md").write_text(f"---\nsdk: docker\napp_port: {ports[0]}\n---\n# A stub\n", encoding="utf-8")
    words = ["/opt/venv/bin/python", "-I", "/app/stub.py", "/data", *map(str, ports)]
    dockerfile = f"FROM x\nWORKDIR /app\nENV HERE=/app/baked\nVOLUME /data\nENTRYPOINT {json.dumps(words)}\nCMD []\n"
    (folder / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.mark.parametrize("boxed", [True, False])
def test_dry_run_starts_asks_and_ends_it(tmp_path, monkeypatch, capsys, boxed):
    if boxed and (why := dry_run.why_not()):
        pytest.skip(why)
    if not boxed:
        monkeypatch.setattr(dry_run, "why_not", lambda: "only root may build one")
    ports = free_ports(1)
    folder = stub_space(tmp_path / "space", ports)
    tmp_path.chmod(0o755)
    found = dry_run.of(folder, config(space, "--question", "Is it so?", "--healthy", "30"))
    where = "/app/baked" if boxed else str(folder / "baked")
    assert found["answer"] == f"Is it so? {[True, where, True, 'baked in']} [1]\n[1] a.pdf, page 7: so it is"
    said = capsys.readouterr().out
    assert f"listens on {ports[0]} alone" in said and ("not in a box" in said) is not boxed
    assert not (folder / "x").exists()


def test_dry_run_refuses_a_second_port(tmp_path, monkeypatch):
    monkeypatch.setattr(dry_run, "why_not", lambda: "it is a test")
    first, second = free_ports(2)
    folder = stub_space(tmp_path / "space", [first, second])
    line = refused(dry_run.of, folder, config(space, "--healthy", "30"))
    assert line == f"it listens on {min(first, second)}, {max(first, second)}: a Space shows {first} alone."


def test_dry_run_of_a_space_that_does_not_start(tmp_path, monkeypatch):
    monkeypatch.setattr(dry_run, "why_not", lambda: "it is a test")
    folder = stub_space(tmp_path / "space", free_ports(1))
    (folder / "stub.py").write_text("raise SystemExit('no index')", encoding="utf-8")
    assert refused(dry_run.of, folder, config(space)) == "it ended by itself (code 1): no index"
    (folder / "README.md").write_text("# no front matter\n", encoding="utf-8")
    assert refused(dry_run.of, folder, config(space)) == (
        f"{folder / 'README.md'} has no front matter: the hub would not know how to run it."
    )
