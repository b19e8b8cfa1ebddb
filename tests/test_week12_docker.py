"""Week 12's image: what its Dockerfile and compose file say, what they are given, and (where it is asked for) that it
is built, started and answers."""

import ast
import http.server
import inspect
import json
import os
import re
import sys
import threading
from pathlib import Path

import pytest
import yaml
from programs import config, refused

from shared import box, checkpoint, dry_run, leaks, models, pins, runs
from shared.files import ROOT, read_json, write_json
from shared.venv import requirements
from week12_deploy import bundle, image, serve
from week12_deploy.container import entry, health

HOME = ROOT / "week12_deploy"
INSTRUCTIONS = dry_run.instructions((HOME / "Dockerfile").read_text(encoding="utf-8"))
COMPOSE = yaml.safe_load((HOME / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
FOREIGN = {"BASE", "packages", "packages-smollm2", "bot"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of an image, what was measured of it, and the small runs of week 11 and 12 that it is made of."""
    place = tmp_path_factory.mktemp("image")
    ours, exported = place / "runs" / "week11", place / "runs" / "week12"
    (ours / "index").mkdir(parents=True)
    exported.mkdir()
    write_json(ours / "config.json", {"data": "/home/ada/secret plans.pdf", "out": "/home/ada/runs", "resume": True})
    write_json(ours / "result.json", {"metrics": {}, "command": "./course train 11 --data 'secret plans.pdf'"})
    checkpoint.save(ours / "model.safetensors", {"week": 11, "config": {"data": "/home/ada/secret plans.pdf"}})
    (place / "secret plans.pdf").write_bytes(b"%PDF-1.7 of Ada's")
    write_json(ours / "sources.json", {"0123456789abcdef": str(place / "secret plans.pdf")})
    (ours / "index" / "chunks.jsonl").write_text("{}\n", encoding="utf-8")
    (ours / "metrics.jsonl").write_text("{}\n", encoding="utf-8")
    (ours / "curves.png").write_bytes(b"\x89PNG")
    card = {"name": "minilm", "dimension": 4, "longest": 16, "chosen": "int8"}
    write_json(exported / "embedder.json", card | {"files": {"fp32": "fp32.onnx", "int8": "int8.onnx"}})
    for name in ("fp32.onnx", "int8.onnx", "tokenizer.json"):
        (exported / name).write_bytes(name.encode())
    found = bundle.service(place / "context", str(ours), str(exported))
    return place / "context", found, (str(ours), str(exported))


# ---------------------------------------------------------------- Dockerfile


def stages() -> dict[str, list[tuple[str, str]]]:
    """{stage: its instructions, of those that it is built from, too} of the Dockerfile."""
    found: dict[str, list[tuple[str, str]]] = {}
    for word, text in INSTRUCTIONS:
        if word == "FROM":
            base, _, name = text.partition(" AS ")
            found[name] = [*found.get(base, []), (word, base)]
        elif found:
            found[list(found)[-1]].append((word, text))
    return found


def test_dockerfile_has_its_stages_and_ends_with_the_service():
    assert list(stages()) == ["packages", "bot", "packages-smollm2", "smollm2", "service"]
    bases = [text.partition(" AS ")[0] for word, text in INSTRUCTIONS if word == "FROM"]
    assert set(bases) == {"${BASE}", "packages", "bot"}
    (base,) = [text for word, text in INSTRUCTIONS if word == "ARG" and text.startswith("BASE=")]
    assert re.fullmatch(r"BASE=python:3\.\d+-slim-\w+", base), "a version of Python and of Debian, not `latest`"


@pytest.mark.parametrize("stage", ["service", "smollm2"])
def test_image_runs_as_nobody_in_particular_and_says_how_it_is(stage):
    said = stages()[stage]
    last = dict(said)
    assert last["USER"] == "1000:1000" and last["VOLUME"] == "/data"
    assert not [word for word, _ in said[[word for word, _ in said].index("USER") :] if word == "RUN"]
    start = json.loads(last["ENTRYPOINT"])  # exec form: the service is process 1, and hears SIGTERM
    assert start[0] == "/opt/venv/bin/python" and start[2] == "/app/week12_deploy/container/entry.py"
    assert re.search(r"--interval=\d+s --timeout=\d+s --start-period=\d+s --retries=\d CMD \[", last["HEALTHCHECK"])
    check = json.loads(last["HEALTHCHECK"].partition(" CMD ")[2])
    assert check[2] == "/app/week12_deploy/container/health.py"
    for path in (start[2], check[2]):
        assert (ROOT / Path(path).relative_to("/app")).is_file()
    assert ("COPY", "--from=packages /opt/venv /opt/venv") in said or stage == "smollm2"


@pytest.mark.parametrize("stage", ["service", "smollm2"])
def test_image_starts_the_service_with_flags_that_it_has(stage):
    last = dict(stages()[stage])
    flags = [*json.loads(last["ENTRYPOINT"])[3:], *json.loads(last["CMD"])]
    cfg = config(serve, *flags)
    assert (cfg.host, cfg.store, cfg.run, cfg.model) == ("0.0.0.0", "/data", "/app/baked/week11", "/app/baked/week12")
    assert cfg.lm == {"service": "extractive", "smollm2": "smollm2"}[stage]
    assert last["EXPOSE"] == str(cfg.port) == str(inspect.signature(health.main).parameters["port"].default)


def test_image_holds_no_secret_and_nothing_from_an_address():
    assert not [text for word, text in INSTRUCTIONS if word == "ADD"]
    named = [text for word, text in INSTRUCTIONS if word in ("ENV", "ARG")]
    assert not [text for text in named if leaks.SECRET.search(text)]
    assert not re.search(r"https?://", " ".join(text for _, text in INSTRUCTIONS))
    for word, text in INSTRUCTIONS:
        if word == "RUN" and "pip install" in text:
            assert "-r /build/requirements" in text and ("--no-deps" in text or "-c /build/constraints.txt" in text)
            assert "pip uninstall --yes pip" in text


def test_everything_that_is_copied_is_there(made):
    folder, _, runs = made
    large = folder.parent / "with smollm2"
    with pytest.MonkeyPatch.context() as patch:
        fake = folder.parent / "smollm2"
        fake.mkdir()
        (fake / "model.safetensors").write_bytes(b"m")
        patch.setattr(models, "fetch", lambda name: fake)
        bundle.service(large, *runs, target="smollm2")
    copied = [text.split()[:-1] for word, text in INSTRUCTIONS if word == "COPY" and "--from=" not in text]
    sources = {source for words in copied for source in words}
    assert {name for name in sources if (folder / name).exists()} == {
        "requirements.txt", "shared", "week11_rag", "week12_deploy", "baked"
    }  # fmt: skip
    assert all((large / name).exists() for name in sources)
    assert (large / "models" / "smollm2" / "model.safetensors").is_file()
    taken = [text for word, text in INSTRUCTIONS if word == "COPY" and "--from=" in text]
    assert {text.split()[0] for text in taken} == {"--from=packages", "--from=packages-smollm2"}


# ---------------------------------------------------------------- what goes into the folder


def test_folder_holds_programs_and_what_is_baked_in(made):
    folder, found, _ = made
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {path for path in files if path.startswith("baked/")} == {
        "baked/week11/config.json", "baked/week11/result.json", "baked/week11/index/chunks.jsonl",
        "baked/week11/model.safetensors", "baked/week11/sources.json", "baked/week11/documents/0123456789abcdef.pdf",
        "baked/week12/embedder.json", "baked/week12/int8.onnx", "baked/week12/tokenizer.json",
    }  # fmt: skip
    assert {path.partition("/")[0] for path in files if path.endswith(".py")} == set(bundle.CODE)
    assert not [path for path in files if path.endswith((".png", ".pyc")) or "/README" in path]
    assert {"Dockerfile", "compose.yaml", ".dockerignore", "requirements.txt", "LICENSE"} < files
    assert found == {"files": len(files), "bytes": sum((folder / p).stat().st_size for p in files), "embedder": "int8"}
    assert read_json(folder / "baked/week12/embedder.json")["files"] == {"int8": "int8.onnx"}
    assert read_json(folder / "baked/week11/config.json") == {"data": "own data", "out": "", "resume": False}
    assert read_json(folder / "baked/week11/sources.json") == {"0123456789abcdef": "documents/0123456789abcdef.pdf"}
    told = [path for path in files if b"secret plans" in (folder / path).read_bytes()]
    assert not told, "where the documents lay on this machine is not told"


def test_folder_that_is_ours_is_written_anew_and_no_other(made, tmp_path):
    folder, _, runs = made
    (folder / "stale.txt").write_text("x", encoding="utf-8")
    bundle.service(folder, *runs)
    assert not (folder / "stale.txt").exists()
    (tmp_path / "thesis.txt").write_text("x", encoding="utf-8")
    assert refused(bundle.service, tmp_path, *runs) == (
        f"--out {tmp_path}: something else is there. Name a folder that is not there yet."
    )
    assert (tmp_path / "thesis.txt").exists()


def test_folder_without_runs(tmp_path):
    assert refused(bundle.service, tmp_path / "x", str(tmp_path), "") == (
        f"{tmp_path} has no sources.json: `./course train 11` makes it."
    )
    assert not (tmp_path / "x").exists()


# ---------------------------------------------------------------- requirements


def test_requirements_are_the_extra_at_the_versions_of_the_constraints(made):
    folder, _, _ = made
    extra = {pins.name_of(line) for line in requirements({"week12"})}
    without = bundle.TO_TRAIN | bundle.OF_TORCH
    service = set(pins.direct("week12", without))
    assert service | without == extra and not service & without
    lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()[1:]
    allowed = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert lines == sorted(set(lines) & set(allowed), key=pins.name_of) and all("==" in line for line in lines)
    names = {pins.name_of(line) for line in lines}
    assert service < names and not names & {"torch", "transformers", "triton", "scipy", "matplotlib", "kubernetes"}


def test_requirements_with_torch_leave_its_libraries_to_it():
    names = {pins.name_of(line) for line in pins.lines("week12", bundle.TO_TRAIN)}
    assert {"torch", "transformers"} < names and not [name for name in names if name.startswith("nvidia")]


def imported_at_once(path: Path) -> set[str]:
    """The modules that a file imports when it is imported itself, not later."""
    found, waiting = set(), list(ast.parse(path.read_text(encoding="utf-8")).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
            waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    return found


def test_service_imports_nothing_that_is_left_out():
    """Followed from the service's programs through our own modules; what a function imports is its own affair."""
    left_out = bundle.TO_TRAIN | bundle.OF_TORCH | {"sentence_transformers", "sklearn", "scipy", "datasets"}
    programs = ("week12_deploy.serve", "week12_deploy.assembly", "week12_deploy.looking", "week11_rag.pdf")
    waiting, seen = [*programs], set()
    while waiting:
        name = waiting.pop()
        path = ROOT / f"{name.replace('.', '/')}.py"
        if name in seen or not path.is_file():
            continue
        seen.add(name)
        modules = imported_at_once(path)
        wrong = {module for module in modules if module.partition(".")[0] in left_out}
        assert not wrong, (
            f"{name} imports {wrong}, which the image has not got: import it in the function that needs it"
        )
        waiting += modules
    assert {"week12_deploy.serve", "week11_rag.pdf", "shared.cli"} < seen


# ---------------------------------------------------------------- compose


def test_every_service_is_held_as_tightly_as_it_can_be():
    assert set(SERVICES) == {"bot", "chroma"}
    for name, service in SERVICES.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["init"], name
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert {"mem_limit", "cpus", "pids_limit"} <= service.keys() and "privileged" not in service
        assert [mount.partition(":")[0] for mount in service["tmpfs"]] == ["/tmp"]
        (mount,) = service["volumes"]
        volume, path = mount.split(":")
        assert volume in COMPOSE["volumes"] and path == "/data"
        assert service["build"] == {"context": ".", "target": "service"} and service["image"] == "course-bot"


def test_key_comes_from_the_environment_and_stands_nowhere():
    (name, value), *others = SERVICES["bot"]["environment"].items()
    assert name == serve.settings.KEYS == entry.KEYS and re.fullmatch(r"\$\{COURSE_API_KEY:\?[^}]+\}", value)
    assert not others and "environment" not in SERVICES["chroma"]
    assert not list(leaks.leaks(HOME / "container", {})) and "secrets" not in COMPOSE  # refused with read_only


def test_bot_waits_for_the_server_and_nobody_else_reaches_it():
    bot, chroma = SERVICES["bot"], SERVICES["chroma"]
    assert bot["depends_on"] == {"chroma": {"condition": "service_healthy"}}
    assert bot["ports"] == ["127.0.0.1:8000:8000"] and "ports" not in chroma
    assert chroma["networks"] == ["back"] and COMPOSE["networks"]["back"] == {"internal": True}
    port = chroma["entrypoint"][chroma["entrypoint"].index("--port") + 1]
    assert chroma["healthcheck"]["test"][-2:] == [port, "/api/v2/heartbeat"]
    last = dict(stages()["service"])
    flags = [*json.loads(last["ENTRYPOINT"])[3:], *bot["command"]]
    cfg = config(serve, *[re.sub(r"\$\{\w+:-(\w+)\}", r"\1", flag) for flag in flags])
    assert (cfg.index, cfg.lm, cfg.workers) == (f"http://chroma:{port}", "extractive", 2)


# ---------------------------------------------------------------- what runs inside


@pytest.fixture
def becomes(monkeypatch):
    """Catches what entry.py becomes; its own environment is a copy."""
    found = []
    monkeypatch.setattr(os, "environ", {"PATH": "/usr/bin"})
    monkeypatch.setattr(os, "execv", lambda program, words: found.append((words, os.environ.get(entry.KEYS))))
    return found


def test_entry_takes_the_key_from_a_file(becomes, tmp_path):
    (tmp_path / "key").write_text("a key of 24 characters!!\n", encoding="utf-8")
    os.environ["COURSE_API_KEY_FILE"] = str(tmp_path / "key")
    entry.main(["--lm", "extractive"])
    module = [sys.executable, "-P", "-m", "week12_deploy.serve"]
    assert becomes == [([*module, "--lm", "extractive"], "a key of 24 characters!!")]
    assert "COURSE_API_KEY_FILE" not in os.environ


def test_entry_without_the_file_says_so(becomes, tmp_path):
    os.environ["COURSE_API_KEY_FILE"] = str(tmp_path / "key")
    with pytest.raises(SystemExit) as ended:
        entry.main([])
    assert ended.value.code == f"error: COURSE_API_KEY_FILE {tmp_path / 'key'}: No such file or directory."
    assert not becomes


@pytest.mark.parametrize(
    ("flags", "made_up"),
    [
        ("--ui open", True), ("--ui=open", True), ("--ui auto --ui open", True), ("--ui open --ui none", False),
        ("", False), ("--lm open", False),
    ],
)  # fmt: skip
def test_entry_makes_a_key_up_for_open_pages_alone(becomes, capsys, flags, made_up):
    entry.main(flags.split())
    ((_, key),) = becomes
    assert (len(key or "") == 48) is made_up
    said = capsys.readouterr().err
    assert bool(said) is made_up and (key or "none") not in said
    os.environ[entry.KEYS] = "of the owner, a key"
    entry.main(flags.split())
    assert becomes[-1][1] == "of the owner, a key"


def test_health_check_tells_200_from_all_else(capsys):
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response({"/health": 200, "/api/v2/heartbeat": 200}.get(self.path, 503))
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = str(server.server_port)
        found = [health.main(port), health.main(port, "/api/v2/heartbeat"), health.main(port, "/ready")]
        server.shutdown()
    assert found == [0, 0, 1] and health.main(port) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"port {port} does not answer: ")


# ---------------------------------------------------------------- secrets

TOKENS = {
    "a token of the hub": "hf_" + "aB3" * 12,
    "a key of a language model's host": "sk-" + "aB3" * 12,
    "a token of GitHub": "ghp_" + "aB3" * 12,
    "a key of AWS": "AKIA" + "ABCD" * 4,
    "a private key": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "an address with a password": "https://ada:" + "lovelace@example.org/",
}


@pytest.mark.parametrize(("what", "secret"), TOKENS.items(), ids=TOKENS)
def test_secrets_are_found_and_not_repeated(tmp_path, what, secret):
    (tmp_path / "notes.txt").write_bytes(b"first\nsecond " + secret.encode() + b"\n\xff")
    assert list(leaks.leaks(tmp_path, {})) == [("notes.txt", 2, what)]
    line = refused(leaks.refuse, tmp_path)
    assert line.startswith(f"{tmp_path / 'notes.txt'}, line 2: {what}. ") and secret not in line


def test_values_of_the_environment_are_secrets_too(tmp_path):
    (tmp_path / "a.json").write_text('{"x": "correct horse"}', encoding="utf-8")
    known = {"MY_API_KEY": "correct horse", "HF_TOKEN": "short", "PWD": "correct horse", "KEYBOARD": "correct horse"}
    assert list(leaks.leaks(tmp_path, known)) == [("a.json", 1, "the value of MY_API_KEY")]
    (tmp_path / "models").mkdir()
    (tmp_path / "a.json").rename(tmp_path / "models" / "a.json")
    assert not list(leaks.leaks(tmp_path, known, without="models"))
    (tmp_path / ".env").touch()
    assert next(leaks.leaks(tmp_path, {})) == (".env", 0, "a file that holds secrets, by its name")


def test_what_we_pack_holds_none(made):
    assert not list(leaks.leaks(made[0], {}))


# ---------------------------------------------------------------- a box, and the image itself

SERVER = """
import http.server, os, signal, sys
def refused(path):
    try:
        open(path, "w")
        return False
    except OSError:
        return True
said = [os.getuid(), refused("/x"), refused("/usr/x"), refused("/data/x"), refused("/tmp/x"), os.environ.get("SECRET")]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(repr(said).encode())
    def log_message(self, *_): pass
signal.signal(signal.SIGTERM, lambda *_: (print("ended as asked"), os._exit(0)))
http.server.HTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
"""
needs_box = pytest.mark.skipif(bool(box.why_not()), reason=f"no box can be built: {box.why_not()}")


@needs_box
def test_box_holds_its_user_its_folders_and_its_network(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "of this machine")
    tmp_path.chmod(0o777)
    libraries = [p for p in (*dry_run.SYSTEM, sys.base_prefix) if Path(p).exists()]
    sees = [box.See("/tmp"), *(box.See(p, p) for p in libraries), box.See("/data", str(tmp_path), writable=True)]
    python = str(Path(sys.base_prefix) / "bin" / "python3")
    with box.Box([python, "-uIc", SERVER], {"PATH": "/usr/bin:/bin"}, "/data", sees=sees) as running:
        running.wait_until_healthy(8000, "/", 20.0)
        assert running.ask(8000, "/") == (200, repr([1000, True, True, False, False, None]))
        assert running.listening() == {8000} and running.memory() > 1_000_000
        assert running.inside([python, "-c", "import os; print(os.getuid())"]) == (0, "1000\n")
        running.stop()
        assert running.last_line() == "ended as asked"
    assert not list(Path("/tmp").glob("course-box-*/*"))


def test_program_that_ends_or_never_answers_is_told_of():
    command = [sys.executable, "-c", "print('no library'); raise SystemExit(3)"]
    with box.Box(command, dict(os.environ), ".", boxed=False) as running:
        assert refused(running.wait_until_healthy, 1, "/", 20.0) == "it ended by itself (code 3): no library"
    with box.Box([sys.executable, "-c", "input()"], dict(os.environ), ".", boxed=False) as running:
        line = refused(running.wait_until_healthy, 1, "/", 0.2)
        assert line.startswith(("port 1 was not healthy after 0.2 s", "it ended by itself (code 1)"))


def test_image_without_the_tools_says_what_to_install(made, tmp_path, monkeypatch, capsys):
    folder, _, (ours, exported) = made
    monkeypatch.setattr(image.shutil, "which", lambda tool: None)
    cfg = config(image, "--run", ours, "--model", exported, "--out", tmp_path / "x", "--build")
    assert refused(image.main, cfg) == (
        "--build: apt-get install buildah debootstrap. On other machines: docker build, as the head of the Dockerfile "
        "says."
    )
    found = image.main(config(image, "--run", ours, "--model", exported, "--out", folder))
    assert found["embedder"] == "int8" and f"docker build -t course-bot {folder}\n" in capsys.readouterr().out


WHY = "COURSE_TEST_IMAGE=1 builds the image: minutes, and 2 GB of disk"


@pytest.mark.skipif(os.environ.get("COURSE_TEST_IMAGE") != "1", reason=WHY)
def test_image_is_built_started_and_answers(tmp_path):
    if why := box.why_not() or ("" if image.shutil.which("buildah") else "buildah is not installed"):
        pytest.skip(why)
    for week, file in ((11, bundle.week11.SOURCES), (12, bundle.CARD)):
        if not list((runs.RUNS / f"week{week}").glob(f"*/{file}")):
            pytest.skip(f"there is no run to bake in: ./course train {week}")
    found = image.main(config(image, "--out", tmp_path / "image", "--build"))
    assert found["without_key"] == 401 and found["ports"] == [8000] and found["stop_seconds"] < 10
    assert found["ready_seconds"] < 60 and found["image_bytes"] < 1_000_000_000 and found["memory"] < 1_000_000_000
    assert found["answer"]["citations"] and not found["answer"]["refused"]
