"""Week 12's service as a process, over a socket: it starts, answers, drains, and ends."""

import asyncio
import json
import re
import runpy
import signal
import socket
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from programs import config, refused, write_pdf

from shared.errors import CourseError
from shared.files import write_json
from week11_rag.chunks import split
from week11_rag.exact import ExactIndex
from week11_rag.pdf import read
from week11_rag.store import Settings as Made
from week11_rag.support import load as support
from week11_rag.train import INDEX, SOURCES, SUPPORT
from week11_rag.train import Config as Rag
from week12_deploy import app, rebuild, serve
from week12_deploy.onnx_embedder import CARD, OnnxEmbedder
from week12_deploy.paper import pdf_of
from week12_deploy.served import Served, flags_of, free_port

PAGES = ["The ferry crosses the river every forty minutes.", "The bakery opens at six and sells rye loaves."]


def words_embedder(folder, texts):
    """What train exports, of a network that takes a second less: the mean of its words' vectors."""
    from onnx import TensorProto, helper, numpy_helper
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    words = sorted({word for text in texts for word in re.findall(r"\w+", text.lower())})
    names = {name: number for number, name in enumerate(["[UNK]", *words])}
    tokenizer = Tokenizer(models.WordLevel(names, "[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.random.default_rng(0).normal(size=(len(names), 64)).astype(np.float32)
    table[0] = 1e-3
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "two"], ["weight"]),
        helper.make_node("Mul", ["words", "weight"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "one"], ["sum"], keepdims=0),
        helper.make_node("LpNormalization", ["sum"], ["vectors"], axis=-1, p=2),
    ]
    ins = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "t"]) for name in ("input_ids", "attention_mask")
    ]
    outs = [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["b", 64])]
    held = {"table": table, "one": np.array([1]), "two": np.array([2])}
    graph = helper.make_graph(nodes, "words", ins, outs, [numpy_helper.from_array(v, k) for k, v in held.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    write_json(
        folder / CARD,
        {"name": "words", "dimension": 64, "longest": 64, "chosen": "fp32", "files": {"fp32": "model.onnx"}},
    )
    return OnnxEmbedder(folder)


@pytest.fixture(scope="module")
def runs_of_both_weeks(tmp_path_factory):
    """The folders of a run of week 11, of a leaflet of two pages, and of one of week 12."""
    folder = tmp_path_factory.mktemp("runs")
    rag, exported = folder / "rag", folder / "exported"
    rag.mkdir(), exported.mkdir()
    embedder = words_embedder(exported, [*PAGES, "This page is about apples pears plums"])
    path = write_pdf(folder / "leaflet.pdf", [[(10, text)] for text in PAGES])
    document = read(path)
    chunks = split(document, 32, 4, embedder.count)
    index = ExactIndex(rag / INDEX, Made("words", 64, 32, 4))
    index.add(document, chunks, embedder.encode([chunk.embedded for chunk in chunks]))
    support().save(rag / SUPPORT)
    write_json(rag / SOURCES, {document.id: str(path)})
    write_json(rag / "config.json", asdict(Rag(embedder="words", size=32, overlap=4)))
    return rag, exported


def upload_in_two(port, key, name, content):
    """A connection over which the first half of an upload has gone, and a function that sends the rest."""
    head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    body = head + content + b"\r\n--x--\r\n"
    line = socket.create_connection(("127.0.0.1", port), timeout=30)
    lines = ["POST /documents HTTP/1.1", "Host: x", f"Authorization: Bearer {key}", f"Content-Length: {len(body)}",
             "Content-Type: multipart/form-data; boundary=x", "", ""]  # fmt: skip
    line.sendall("\r\n".join(lines).encode() + body[:300])

    def rest():
        line.sendall(body[300:])
        return received(line)

    return rest


def received(line):
    """All that comes until the other side closes."""
    found = b""
    with suppress(ConnectionError):
        while piece := line.recv(65_536):
            found += piece
    return found


def test_it_serves_and_drains(runs_of_both_weeks, tmp_path):
    flags = [*flags_of(*runs_of_both_weeks, tmp_path / "store", "--lm", "extractive", "--megabytes", "1")]
    with Served(*flags) as first:
        assert first.cold < 60
        (one,) = first.call("GET", "/documents").json["documents"]
        assert (one["name"], one["pages"], one["status"]) == ("leaflet.pdf", 2, "ready")
        answer = first.call("POST", "/ask", {"question": "How often does the ferry cross the river?"})
        assert answer.status == 200 and answer.json["passages"][0]["text"].startswith("The ferry crosses")
        streamed = first.call("POST", "/ask/stream", {"question": "When does the bakery open?"})
        assert b"event: passages" in streamed.body and b"event: answer" in streamed.body and streamed.first is not None
        assert first.connection().key and first.call("GET", "/ready").json["embedder"] == "words"

        stored = asyncio.run(first.connection().upload("apples.pdf", pdf_of("This page is about apples.")))
        assert stored.status == 201 and stored.json["status"] == "ready", stored.body
        found = first.call("POST", "/search", {"question": "apples", "k": 1}).json["passages"]
        assert found[0]["name"] == "apples.pdf"

        line = socket.create_connection(("127.0.0.1", first.port), timeout=30)
        head = f"POST /documents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {first.key}\r\n"
        line.sendall(
            f"{head}Content-Length: 2000000000\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n".encode()
        )
        said = received(line)
        assert said.startswith(b"HTTP/1.1 413") and b"larger than 1 MB" in said and b"connection: close" in said.lower()
        line = socket.create_connection(("127.0.0.1", first.port), timeout=30)
        line.sendall(
            f"{head}Transfer-Encoding: chunked\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n".encode()
        )
        sent, piece = 0, b"10000\r\n" + b"x" * 65_536 + b"\r\n"
        begin = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\n\r\n'
        with suppress(ConnectionError):
            line.sendall(f"{len(begin):x}\r\n".encode() + begin + b"\r\n")
            while sent < 2_000_000_000:
                line.sendall(piece)
                sent += 65_536
        assert sent < 20_000_000, f"{sent:,} bytes of 2 GB were taken"

        rest = upload_in_two(first.port, first.key, "pears.pdf", pdf_of("This page is about pears."))
        time.sleep(0.2)
        first.process.send_signal(signal.SIGTERM)
        while True:
            try:
                socket.create_connection(("127.0.0.1", first.port), timeout=5).close()
            except OSError:
                break
            time.sleep(0.01)
        said = rest()
        assert said.startswith(b"HTTP/1.1 201"), said
        assert first.process.wait(30) == 0, first.output()
        assert "Traceback" not in first.output() and first.key not in first.output()

    told = rebuild.main(config(rebuild, "--store", tmp_path / "store", "--run", runs_of_both_weeks[0], "--model",
                               runs_of_both_weeks[1]))  # fmt: skip
    assert told == {"documents": 3, "failed": 0}, "what was being sent when it was stopped, too"


def test_what_it_cannot_start_with_is_one_line(tmp_path, monkeypatch, capfd):
    """The process answers that it lives until it knows; then it ends, and says why: `cli.launch` makes code 2 of it."""
    line = "no Chroma server answers at http://127.0.0.1:1: start one."

    def no_server(cfg, wrap):
        raise CourseError(line)

    monkeypatch.setattr("week12_deploy.assembly.bot", no_server)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "COURSE_SERVE"):
        monkeypatch.setenv(name, "1")
    flags = ["--store", tmp_path, "--port", free_port(), "--ui", "none", "--no-key", "--lm", "extractive"]
    assert refused(serve.main, config(serve, *flags)) == line
    said = [json.loads(row) for row in capfd.readouterr().out.splitlines()]
    assert any(row["event"] == "cannot start" and row["what"] == line for row in said)


def test_a_port_on_which_nothing_can_listen():
    port = free_port()
    line = refused(serve.free, config(serve, "--port", port, "--host", "203.0.113.1"))
    assert line.startswith(f"--host 203.0.113.1 --port {port}: ") and line.endswith("Choose another port.")


def test_the_app_is_serve_for_a_browser(monkeypatch, capsys):
    """One server: what `serve` starts, with the pages, without a key, and told where it is in one line."""
    given = []
    monkeypatch.setattr(serve, "main", given.append)
    app.main(config(app, "--port", 0))
    (cfg,) = given
    assert (cfg.lm, cfg.key, cfg.ui, cfg.log, cfg.host) == ("extractive", False, "auto", "warning", "127.0.0.1")
    said = capsys.readouterr().out
    assert cfg.port and said == f"open http://127.0.0.1:{cfg.port}/ui/ in some seconds   (Ctrl-C ends it)\n"
    assert refused(app.main, config(app, "--host", "0.0.0.0")).startswith("--no-key --host 0.0.0.0: without a key")


def test_a_folder_that_is_no_run_of_week_11_is_named(tmp_path):
    from week12_deploy import assembly, settings

    cfg = settings.Settings(run=str(tmp_path / "nothing"), store=str(tmp_path / "store"))
    assert refused(assembly.bot, cfg) == (
        f"--run {cfg.run}: no run of week 11 with a support.json: `./course train 11` makes one."
    )


def test_reading_a_pdf_by_hand_says_what_it_takes(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["looking"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(Path(serve.__file__).with_name("looking.py")), run_name="__main__")
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1 and "FILE PAGES MEGABYTES SECONDS" in said
