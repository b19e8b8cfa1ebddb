"""Week 11: a run from PDFs to its result; stopped, killed, gone on with; and brought up to date with its PDFs."""

import json
import re
import shutil

import numpy as np
import pytest
from programs import config, refused, rows, tiny_encoder, write_pdf

from shared.errors import Stopped
from shared.files import read_json
from week11_rag import index as indexes
from week11_rag import ingest, train
from week11_rag.exact import ExactIndex
from week11_rag.store import Index

THINGS = ("rye", "oats", "barley", "wheat", "millet", "spelt", "maize", "rice")
TEXT = """The price of {0} is {1} crowns a sack. Of {0} one makes bread number {1}. It was sown in year {2} by hand.
It is known in many countries of the north and of the south. Nobody knows where it came from at first."""
ASKED = "What is the price of {0} a sack?"


def pages(shift=0):
    """A page for each kind of grain, with a heading."""
    return [[(16, name.title()), (10, TEXT.format(name, 11 * n + shift, 1900 + n))] for n, name in enumerate(THINGS, 1)]


def question(number, name, part="val"):
    evidence = [[number, f"The price of {name} is {11 * number} crowns"]]
    return {"id": f"{part}{number}", "text": ASKED.format(name), "answers": [f"{11 * number} crowns"],
            "evidence": evidence, "kind": "plain", "part": part}  # fmt: skip


def unanswerable(number):
    return {"id": f"no{number}", "text": f"Who is the mayor of town {number}?", "answers": [], "evidence": [],
            "kind": "unanswerable", "part": "val"}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with grain.pdf, its questions, and an encoder that knows its words."""
    folder = tmp_path_factory.mktemp("week11")
    write_pdf(folder / "grain.pdf", pages())
    lines = [*(question(n, name) for n, name in enumerate(THINGS, 1)), *map(unanswerable, range(6))]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "grain.questions.jsonl").write_text(text, encoding="utf-8")
    words = [text for page in pages() for _, text in page] + [line["text"] for line in lines]
    tiny_encoder(folder / "encoder", words)
    return folder


def started(place, out, *flags):
    data = () if "--data" in flags else ("--data", place / "grain.pdf")
    encoder = place / "encoder"
    return config(train, *data, "--embedder", encoder, "--size", 32, "--overlap", 12, "--out", out, *flags)


@pytest.fixture(scope="module")
def whole(place):
    """A run that was never interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest, "PORTION", 4)
        train.main(started(place, place / "whole"))
    return place / "whole"


def stored(run):
    index = indexes.open_index(run / train.INDEX)
    chunks = index.chunks()
    return chunks, index.vectors([chunk.id for chunk in chunks])


def same(one, other):
    chunks, vectors = stored(one)
    others, theirs = stored(other)
    return chunks == others and np.allclose(vectors, theirs, atol=1e-6)


def test_a_run_reads_finds_and_is_better_than_no_retrieval(whole):
    result = read_json(whole / "result.json")
    chunks, _ = stored(whole)
    assert (result["pages"], result["passages"]) == (8, len(chunks)) and len(chunks) > 15
    assert list(result["metrics"])[:2] == ["val_hit_at_5", "val_mrr"] and result["metrics"]["val_mrr"] > 0.7
    assert 0 <= result["metrics"]["val_refusal_f1"] <= 1
    names = [row["name"] for row in result["baselines"]]
    assert names == ["BM25 (words alone)", "dense (vectors alone)", "no retrieval"]
    assert result["baselines"][-1]["val_mrr"] == 0 and read_json(whole / train.SOURCES).keys() == {chunks[0].document}


def test_the_log_has_a_row_for_each_eighth_of_the_pages_and_finds_more_and_more(whole):
    found = rows(whole)
    assert [row["epoch"] for row in found] == list(range(1, 9)) and found[-1]["step"] == len(stored(whole)[0])
    assert found[0]["val_hit_at_5"] < 0.5 < found[-1]["val_hit_at_5"]
    assert found[-1]["val_mrr"] == read_json(whole / "result.json")["metrics"]["val_mrr"]


class Killed(BaseException):
    """Stands for a kill: nothing of the program's own is run after it."""


def killed_at(monkeypatch, number, after):
    """The process ends at the n-th time that something is stored: before it is, or right after."""
    left, real = {"calls": number}, ExactIndex.add

    def add(self, *arguments):
        left["calls"] -= self.folder is not None
        if self.folder and not left["calls"] and not after:
            raise Killed
        real(self, *arguments)
        if self.folder and not left["calls"]:
            raise Killed

    monkeypatch.setattr(ExactIndex, "add", add)


@pytest.mark.parametrize("after", [False, True], ids=["before it is stored", "after it is stored"])
def test_killed_and_gone_on_it_has_everything_once(place, whole, tmp_path, monkeypatch, after):
    run = tmp_path / "run"
    run = tmp_path / "run"
    monkeypatch.setattr(ingest, "PORTION", 4)
    for number in (1, 3):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            killed_at(patch, number, after)
            train.main(started(place, run) if number == 1 else config(train, "--out", run, "--resume"))
    train.main(config(train, "--out", run, "--resume"))
    assert same(run, whole) and [row["epoch"] for row in rows(run)] == list(range(1, 9))
    theirs, ours = (read_json(folder / "result.json")["metrics"] for folder in (whole, run))
    assert ours == pytest.approx(theirs)


def test_ctrl_c_keeps_what_is_stored_and_says_how_to_go_on(place, whole, tmp_path, monkeypatch):
    import signal

    monkeypatch.setattr(ingest, "PORTION", 4)
    real = ExactIndex.add

    def add(self, *arguments):
        real(self, *arguments)
        if self.folder and len(arguments[1]) == 4:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch, pytest.raises(Stopped) as stopped:
        patch.setattr(ExactIndex, "add", add)
        train.main(started(place, tmp_path / "run"))
    assert re.fullmatch(
        rf"stopped after 4 passages; they are kept\. `./course train 11 --out {tmp_path / 'run'} --resume` goes on\.",
        str(stopped.value),
    )
    assert not (tmp_path / "run" / "result.json").exists()
    train.main(config(train, "--out", tmp_path / "run", "--resume"))
    assert same(tmp_path / "run", whole)


def resumed(run, *flags):
    return train.main(config(train, "--out", run, "--resume", *flags))


def test_a_finished_run_follows_its_pdfs(place, whole, tmp_path, capsys, monkeypatch):
    run, folder = tmp_path / "run", tmp_path / "pdfs"
    shutil.copytree(whole, run)
    folder.mkdir()
    shutil.copy(place / "grain.pdf", folder / "grain.pdf")
    shutil.copy(place / "grain.questions.jsonl", folder)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(Index, "add", None)  # nothing is to be stored
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "config.json"}
        resumed(run)
        resumed(run, "--data", folder)
    assert capsys.readouterr().out.count("nothing has changed: the index has these documents already.\n") == 2
    assert {path: path.read_bytes() for path in before} == before

    write_pdf(folder / "more.pdf", [[(10, "Buckwheat is no grain, though it is ground like one.")]])
    result = resumed(run, "--data", folder)
    assert "added more.pdf" in capsys.readouterr().out and len(result["documents"]) == 2
    first = {chunk.id for chunk in stored(whole)[0]}
    assert first < {chunk.id for chunk in stored(run)[0]}

    write_pdf(folder / "grain.pdf", pages(shift=1))
    resumed(run)
    assert "replaced grain.pdf" in capsys.readouterr().out
    texts = [chunk.text for chunk in stored(run)[0] if chunk.name == "grain.pdf"]
    assert texts and all("12 crowns" in text or "crowns" not in text or "11 crowns" not in text for text in texts)

    (folder / "more.pdf").unlink()
    result = resumed(run)
    assert "removed more.pdf" in capsys.readouterr().out and [one["name"] for one in result["documents"]] == [
        "grain.pdf"
    ]
    assert {chunk.name for chunk in stored(run)[0]} == {"grain.pdf"}
    steps = [row["step"] for row in rows(run)]
    assert steps == sorted(steps) and [row["epoch"] for row in rows(run)] == list(range(1, len(steps) + 1))


def test_another_seed_changes_the_support_alone(place, whole, tmp_path):
    train.main(started(place, tmp_path / "run", "--seed", 1))
    assert same(tmp_path / "run", whole)
    one, other = (read_json(run / train.SUPPORT) for run in (whole, tmp_path / "run"))
    assert one["weights"] != other["weights"]


def test_pdfs_without_questions_are_read_and_what_cannot_be_read_is_said(place, tmp_path, capsys):
    folder = tmp_path / "pdfs"
    folder.mkdir()
    write_pdf(folder / "a.pdf", pages()[:2])
    (folder / "b.pdf").write_bytes((folder / "a.pdf").read_bytes())
    (folder / "broken.pdf").write_bytes((folder / "a.pdf").read_bytes()[:200])
    result = train.main(started(place, tmp_path / "run", "--data", folder))
    said = capsys.readouterr().out
    assert result["metrics"] == {} and [one["name"] for one in result["documents"]] == ["a.pdf"]
    assert (
        f"  left out: {folder / 'broken.pdf'} is cut short:" in said
        and "left out b.pdf: it is the same as a.pdf" in said
    )
    assert "no questions lie beside these PDFs" in said and "refusals follow the bundled weights" in said


def test_what_cannot_be_read_makes_no_run(place, tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(b"")
    assert refused(train.main, started(place, tmp_path / "run", "--data", path)).startswith(f"{path} is empty")
    assert (
        refused(train.main, started(place, tmp_path / "run", "--overlap", 32))
        == "--overlap 32: must be below --size 32."
    )
    assert refused(train.main, started(place, tmp_path / "run", "--rescore", "often")).startswith(
        "--rescore often: must"
    )
    assert not (tmp_path / "run").exists()


def test_what_a_resume_must_not_change(place, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    said = refused(resumed, tmp_path / "run", "--size", 64)
    assert said == f"{tmp_path / 'run'} was started with --size 32: leave --size out, or start a new run."
