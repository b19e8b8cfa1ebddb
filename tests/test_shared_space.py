"""Spaces of all weeks: what their folders hold, how they run here, and how they are pushed: to a hub of our own on this
machine, which speaks as the real one does."""

import ast
import base64
import hashlib
import importlib
import json
import re
import socket
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import ClassVar
from urllib.parse import unquote, urlsplit

import pytest
from programs import config, refused

from shared import box, bundle, checkpoint, dry_run, hub, models, pins, plan, space
from shared.files import ROOT, read_json, write_json

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

WEEKS = [n for n in range(1, 17) if (ROOT / plan.folder(n) / "space.py").is_file()]
PAGES = [n for n in WEEKS if n != 12]  # that one is a container: tests/test_week12_space.py
SECRET = "/home/ada/secret plans"


def module(number, name="space"):
    return importlib.import_module(f"{plan.folder(number)}.{name}")


def stub_run(folder, number, data="sample"):
    """A run of a week, without weights; what it says of where things lay is nobody's business."""
    flags = {"data": data, "out": SECRET, "resume": True}
    folder.mkdir()
    write_json(folder / "config.json", flags)
    write_json(
        folder / "result.json", {"metrics": {}, "command": f"./course train {number} --data {SECRET}", "data": data}
    )
    checkpoint.save(folder / "model.safetensors", {"week": number, "config": flags})
    for name in ("curves.png", "metrics.jsonl", "checkpoint.safetensors"):
        (folder / name).write_bytes(b"not to go along")
    if number == 11:
        write_json(folder / "sources.json", {})
    return folder


def packing(number, place, *flags, data="sample"):
    """Writes the Space of a week, of a stub run and with a stub network; returns its folder."""
    given = stub_run(place / f"run{number}", number, data)
    network = place / "network"
    network.mkdir(exist_ok=True)
    (network / "model.safetensors").write_bytes(b"weights")
    week = module(number)
    cfg = config(
        SimpleNamespace(Config=getattr(week, "Config", space.Config)), "--run", given, "--out", place / "space", *flags
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "fetch", lambda name: network)
        space.main(number, week, cfg)
    return place / "space"


@pytest.fixture(scope="module", params=PAGES, ids=lambda number: f"week{number}")
def packed(request, tmp_path_factory):
    return request.param, packing(request.param, tmp_path_factory.mktemp("space"))


def test_front_matter_is_what_the_hub_knows(packed):
    number, place = packed
    head = dry_run.front_matter(place)
    lines = (place / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert (head["sdk"], head["app_file"], head["python_version"]) == ("gradio", "app.py", "3.11")
    assert f"gradio=={head['sdk_version']}" in lines, "the hub installs this Gradio before the requirements"
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {head["colorFrom"], head["colorTo"]} <= colours and len(head["short_description"]) <= 60
    assert head["suggested_hardware"] == "cpu-basic" and len(head["emoji"]) == 1
    assert all("/" in name for name in head.get("models", ()))
    text = (place / "README.md").read_text(encoding="utf-8")
    assert f"It is week {number} of a course" in text and max(map(len, text.splitlines())) < 300


def test_requirements_are_pinned_and_leave_cuda_to_torch(packed):
    number, place = packed
    lines = (place / "requirements.txt").read_text(encoding="utf-8").splitlines()[1:]
    assert all("==" in line for line in lines) and not [line for line in lines if line.startswith("nvidia")]
    names, made = {pins.name_of(line) for line in lines}, module(number).made_of(module_config(number))
    assert set(pins.direct(f"week{number:02}", made.unused)) <= names
    assert not set(made.unused) - set(pins.direct(f"week{number:02}")), "nothing is left out that is not asked for"


def module_config(number):
    return getattr(module(number), "Config", space.Config)()


def test_app_gives_its_program_flags_that_it_has(packed):
    number, place = packed
    tree = ast.parse((place / "app.py").read_text(encoding="utf-8"))
    flags = next(ast.literal_eval(node.value) for node in tree.body
                 if isinstance(node, ast.Assign) and node.targets[0].id == "FLAGS")  # fmt: skip
    cfg = config(module(number, "app"), *flags, "--host", "0.0.0.0", "--port", "7860")
    assert (cfg.host, cfg.port, cfg.run) == ("0.0.0.0", 7860, "RUN")
    for word in flags:
        if word.startswith("HERE/"):
            assert (place / word.removeprefix("HERE/")).exists()


def test_all_that_the_page_imports_of_the_course_is_there(packed):
    _, place = packed
    for path in place.rglob("*.py"):
        for name in bundle.origin.imported(path.read_bytes()):
            found = bundle.origin.file_of(name)
            assert not found or (place / found.relative_to(ROOT)).is_file(), f"{path} imports {name}"
    assert not list(place.rglob("__pycache__")) and not list(place.rglob("band.json"))


def test_what_of_a_run_goes_along_tells_nothing_of_this_machine(packed):
    number, place = packed
    baked = place / "baked" / f"week{number:02}"
    files = {path.name for path in baked.iterdir() if path.is_file()} - {"sources.json"}
    assert files == {"config.json", "model.safetensors", "result.json"}
    assert not [path for path in place.rglob("*") if path.is_file() and b"secret plans" in path.read_bytes()]
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in place.rglob("*") if path.name != bundle.NOTE)


def test_own_data_is_not_named(tmp_path):
    place = packing(11, tmp_path, data=SECRET)
    assert read_json(place / "baked" / "week11" / "config.json") == {"data": "own data", "out": "", "resume": False}
    assert checkpoint.load(place / "baked" / "week11" / "model.safetensors")["config"]["data"] == "own data"


def test_titles_may_be_anything(tmp_path):
    assert dry_run.front_matter(packing(11, tmp_path, "--title", 'My "own": # one'))["title"] == 'My "own": # one'


# ---------------------------------------------------------------- what is refused


def test_space_with_a_secret_in_it_is_refused(tmp_path, monkeypatch):
    def bake(source, folder):
        bundle.run(source, folder)
        (folder / "note.txt").write_text(f"push with {TOKEN}\n", encoding="utf-8")

    made = module(11).made_of
    monkeypatch.setattr(module(11), "made_of", lambda cfg: replace(made(cfg), bake=bake))
    assert refused(packing, 11, tmp_path) == (
        f"{tmp_path / 'space' / 'baked' / 'week11' / 'note.txt'}, line 1: a token of the hub. Take it out; a secret "
        "belongs into the environment, or the settings of the Space."
    )


def test_space_that_is_too_large_is_refused_with_what_is_large_in_it(tmp_path, monkeypatch):
    monkeypatch.setattr(space, "MOST", 1_000)
    line = refused(packing, 11, tmp_path)
    told = r" and a Space holds 1e-06 GB; the largest file is [\w/.]+, 0\.\d\d GB\. Take a --run with less in it\."
    assert re.fullmatch(r".*/space has 0\.\d\d GB," + told, line), line


def test_runs_that_cannot_go_along(tmp_path, monkeypatch):
    monkeypatch.setattr(space.runs, "RUNS", tmp_path / "runs")
    made = module(11).made_of(module_config(11))
    assert refused(made.pack, tmp_path / "space", 11, "") == (
        "no run of week 11 with a model.safetensors yet: `./course train 11` makes one."
    )
    given = stub_run(tmp_path / "given", 11)
    write_json(given / "config.json", {"data": "sample", "pretrained": str(tmp_path)})
    assert refused(made.pack, tmp_path / "space", 11, str(given)) == (
        f"{given} was trained with --pretrained {tmp_path}: a Space has no folder of yours."
    )
    (given / "result.json").unlink()
    assert refused(made.pack, tmp_path / "space", 11, str(given)) == (
        f"{given} has not been trained to its end: --resume goes on with it, or name another --run."
    )
    (given / "sources.json").unlink()
    assert refused(made.pack, tmp_path / "space", 11, str(given)) == (
        f"{given} has no sources.json: `./course train 11` makes it."
    )


def test_a_name_or_a_token_that_is_wrong_is_said_before_anything_is_written(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    for name, line in (("bot", "--push bot: must be user/name, "), ("ada/bot", "the hub needs a token ")):
        assert refused(space.main, 11, module(11), space.Config(out=str(tmp_path / "s"), push=name)).startswith(line)
    assert not (tmp_path / "s").exists()


def test_push_goes_by_the_flag(the_hub, tmp_path, capsys):
    place = packing(11, tmp_path, "--push", "ada/bot", "--private")
    files = the_hub.spaces["ada/bot"]["files"]
    assert {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()} - set(files) <= {
        bundle.NOTE
    }
    assert not [path for path in files if TOKEN.encode() in files[path]]
    address = f"{the_hub.address}/spaces/ada/bot"
    assert f"next: ./course portfolio --space 11={address}\n" in capsys.readouterr().out


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


class Stubbed(space.Space):
    """Asked as week 12's service is."""

    def ask(self, box, port, question, secrets):
        status, text = box.ask(
            port, "/ask", {"question": question}, headers={"Authorization": f"Bearer {secrets[KEY]}"}
        )
        assert status == 200
        return json.loads(text)["text"]


KEY = "COURSE_API_KEY"
STUBBED = Stubbed("A stub", "📖", "", "", "Well?", ready=("/health", "/ready", "/ui/"), secrets=(KEY,))


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
    found = dry_run.of(folder, STUBBED, config(space, "--no-fresh", "--question", "Is it so?", "--healthy", "30"))
    where = "/app/baked" if boxed else str(folder / "baked")
    assert found["answer"] == f"Is it so? {[True, where, True, 'baked in']} [1]"
    said = capsys.readouterr().out
    assert f"listens on {ports[0]} alone" in said and ("not in a box" in said) is not boxed
    assert not (folder / "x").exists()


def test_dry_run_refuses_a_second_port(tmp_path, monkeypatch):
    monkeypatch.setattr(dry_run, "why_not", lambda: "it is a test")
    first, second = free_ports(2)
    folder = stub_space(tmp_path / "space", [first, second])
    line = refused(dry_run.of, folder, STUBBED, config(space, "--no-fresh", "--healthy", "30"))
    assert line == f"it listens on {min(first, second)}, {max(first, second)}: a Space shows {first} alone."


def test_dry_run_of_a_space_that_does_not_start(tmp_path, monkeypatch):
    monkeypatch.setattr(dry_run, "why_not", lambda: "it is a test")
    folder = stub_space(tmp_path / "space", free_ports(1))
    (folder / "stub.py").write_text("raise SystemExit('no index')", encoding="utf-8")
    assert refused(dry_run.of, folder, STUBBED, config(space, "--no-fresh")) == "it ended by itself (code 1): no index"
    (folder / "README.md").write_text("# no front matter\n", encoding="utf-8")
    assert refused(dry_run.of, folder, STUBBED, config(space, "--no-fresh")) == (
        f"{folder / 'README.md'} has no front matter: the hub would not know how to run it."
    )


def test_what_a_page_shows_as_text():
    source = {"choices": [["[1] a.pdf, page 7: so", 1]], "value": 1, "__type__": "update"}
    talk = [
        {"role": "user", "content": "Is it?"},
        {"role": "assistant", "content": [{"text": "It is [1].", "type": "text"}]},
    ]
    shown = [
        talk,
        None,
        source,
        {"path": "/tmp/x.png"},
        "<p>3 &lt; 4</p><p>so</p>",
        [{"image": {}, "caption": "0.9 cat"}],
    ]
    shown.append({"label": "healthy", "confidences": [{"label": "healthy", "confidence": 0.9}]})
    assert list(dict.fromkeys(dry_run.told(shown))) == (
        ["It is [1].", "[1] a.pdf, page 7: so", "3 < 4", "so", "0.9 cat", "healthy"]
    )


def test_a_fresh_environment_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_OFFLINE", "1")
    (tmp_path / "requirements.txt").write_text("no-such-package-of-ours==0.0.1\n", encoding="utf-8")
    line = refused(dry_run.fresh_venv, tmp_path, tmp_path / "requirements.txt")
    assert line.startswith(f"{tmp_path / 'requirements.txt'} cannot be installed: ")


def test_space_needs_a_week_that_has_one(monkeypatch, capsys):
    import runpy

    for words in ([], ["3"], ["x"]):
        monkeypatch.setattr(space.sys, "argv", ["space", *words])
        monkeypatch.delitem(sys.modules, "shared.space", raising=False)  # it is run as a program, not twice a module
        with pytest.raises(SystemExit) as ended:
            runpy.run_module("shared.space", run_name="__main__")
        assert ended.value.code == 2
        assert capsys.readouterr().err == f"error: which week? For example: ./course space {WEEKS[0]}\n"


class Page(box.Box):
    """A page of gradio's behind a box: takes an upload and a call, and tells how the call ended."""

    def __init__(self, end, taken=200):
        self.end, self.taken, self.asked = end, taken, []

    def ask(self, port, path, body=None, timeout=60.0, headers=None):
        self.asked.append((path, body))
        if path.endswith("/upload"):
            edge = headers["Content-Type"].partition("boundary=")[2].encode()
            assert body.startswith(b"--" + edge) and body.endswith(b"\r\n--" + edge + b"--\r\n")
            return self.taken, '["/tmp/gradio/picture.png"]'
        if path.endswith("/call/look"):
            return 200, '{"event_id": "7"}'
        return 200, f"event: generating\ndata: []\n\nevent: {self.end}\n\n"


def test_a_picture_is_uploaded_before_the_page_is_asked():
    page = Page('complete\ndata: ["<p>It says: healthy</p>"]')
    assert dry_run.ask_gradio(page, 7860, "look", ["x", b"\x89PNG"]) == "It says: healthy"
    assert b"\x89PNG" in page.asked[0][1]
    file = {"path": "/tmp/gradio/picture.png", "meta": {"_type": "gradio.FileData"}}
    assert page.asked[1:] == [("/gradio_api/call/look", {"data": ["x", file]}), ("/gradio_api/call/look/7", None)]


def test_a_page_that_fails_is_one_line():
    line = refused(dry_run.ask_gradio, Page("error\ndata: null"), 7860, "look", ["x"])
    assert line.startswith("the Space's page answers ") and "error" in line
    line = refused(dry_run.ask_gradio, Page("", taken=413), 7860, "look", [b"x"])
    assert line.startswith("the Space's page does not take a picture (413)")
