"""What train.py and eval.py must do in weeks that build something instead of training a network, an index or a service,
and in those that train on data which they draw themselves, so that there is none to be given.

What such a week builds, and how it goes on after a kill, stands in its own tests.
"""

import importlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from programs import assert_picture, config, refused, rows, tensors, tiny_encoder, write_pdf
from test_contract import BUILT, RESULT, press_ctrl_c

from shared import cli, plan, runs
from shared.errors import Stopped
from shared.files import read_json

# Flags beside --preset smoke. DATA has town.pdf, with questions beside it, and an encoder that knows its words.
SMALL: dict[int, str] = {
    11: "--data DATA/town.pdf --size 48 --overlap 8",
    12: "--data DATA/town.pdf --embedder DATA/encoder --size 48 --overlap 8",
    16: "--charts 24 --val-charts 4 --batch-size 4",
}
EVAL = {16: ("--charts", "4")}
METRIC = {11: "mrr", 12: "mrr", 16: "within_5"}
LEARNS = (16,)  # an epoch of six steps
TOWN = {
    "Boats": "A ferry crosses the river every forty minutes. The last one leaves at half past nine in the evening.",
    "Bread": "The bakery opens at six. Its rye loaf weighs nine hundred grams and is baked on Tuesdays.",
    "Bicycles": "A bicycle may be hired for twelve crowns a day. The deposit is two hundred crowns.",
    "Books": "The library lends ten books for four weeks. Whoever is late pays one crown a day.",
}
ASKED = [
    ("How often does the ferry cross?", "every forty minutes", 1),
    ("When does the last boat leave?", "half past nine", 1),
    ("When does the bakery open?", "at six", 2),
    ("What is the price of a bicycle for a day?", "twelve crowns", 3),
    ("How many books may I borrow?", "ten books", 4),
    ("Who was the first mayor?", "", 0),
    ("What does a tram ticket cost?", "", 0),
]


@dataclass
class Built:
    """A week's programs, its small flags, and the folder of a run."""

    number: int
    train: ModuleType
    eval: ModuleType
    flags: list[str]
    folder: Path
    told: str


def town(folder):
    """A town's leaflet of four pages, and questions about it: the same for val and test, since here nobody chooses."""
    pages = [[(18, title), (10, text)] for title, text in TOWN.items()]
    write_pdf(folder / "town.pdf", pages)
    lines = [
        {"id": f"{part}{n}", "text": text, "answers": [answer] * bool(page), "part": part,
         "evidence": [[page, answer]] * bool(page), "kind": "plain" if page else "unanswerable"}
        for part in ("val", "test") for n, (text, answer, page) in enumerate(ASKED)
    ]  # fmt: skip
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "town.questions.jsonl").write_text(text, encoding="utf-8")


def pytest_generate_tests(metafunc):
    if "built" in metafunc.fixturenames:
        wanted = metafunc.config.getoption("--week")
        numbers = [number for number in BUILT if plan.is_there(number) and wanted in (None, number)]
        metafunc.parametrize("built", numbers, ids=[f"week{n:02}" for n in numbers], indirect=True, scope="module")


@pytest.fixture(scope="module")
def built(request, tmp_path_factory):
    number = request.param
    folder = tmp_path_factory.mktemp(f"week{number:02}")
    town(folder)
    if number == 12:
        tiny_encoder(folder / "encoder", [*TOWN, *TOWN.values(), *(asked[0] for asked in ASKED)])
    train, evaluation = (importlib.import_module(f"{plan.folder(number)}.{name}") for name in ("train", "eval"))
    flags = ["--preset", "smoke", *SMALL[number].replace("DATA", str(folder)).split()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "RUNS", folder / "runs")
        train.main(config(train, *flags, "--out", folder / "run"))
        yield Built(number, train, evaluation, flags, folder / "run", "")


def launched(module, capfd, monkeypatch, *flags):
    """The exit code, and what a program says on stdout and stderr to these flags."""
    monkeypatch.setattr(sys, "argv", [str(Path(module.__file__)), *map(str, flags)])
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.launch(module.main, module.Config, getattr(module, "PRESETS", None), getattr(module, "WEEK_NUMBER", None))
    return ended.value.code, *capfd.readouterr()


def test_a_run_leaves_every_file(built):
    names = {path.name for path in built.folder.iterdir()}
    assert names >= {"config.json", "metrics.jsonl", "result.json", "model.safetensors"}
    assert not list(built.folder.rglob("*.tmp"))
    for picture in built.folder.glob("*.png"):
        assert_picture(picture)


def test_the_log_has_rows_in_order(built):
    found = rows(built.folder)
    assert found and [row["epoch"] for row in found] == list(range(1, len(found) + 1))
    assert sorted(row["step"] for row in found) == [row["step"] for row in found]


def test_the_result_stands_beside_its_baselines_and_test_is_not_read(built):
    result = read_json(built.folder / "result.json")
    assert result.keys() >= RESULT and result["week"] == built.number and result["seed"] == 0
    assert "test_" not in json.dumps([result["metrics"], result["baselines"]]), "test is eval's alone"
    metric = f"val_{METRIC[built.number]}"
    least = -1 if built.number in LEARNS else 0  # what twelve steps teach may be nothing
    assert least < result["metrics"][metric] <= 1
    assert result["baselines"] and all("name" in row for row in result["baselines"])


def test_stopped_and_gone_on_it_is_bit_for_bit_the_same(built, tmp_path, monkeypatch):
    if built.number not in LEARNS:
        return
    parts = tmp_path / "in parts"
    press_ctrl_c(monkeypatch, built.number)(4)  # inside the first epoch
    with pytest.raises(Stopped, match=f"stopped at step 4 of 12; saved. `./course train {built.number} --out"):
        built.train.main(config(built.train, *built.flags, "--out", parts))
    built.train.main(config(built.train, "--out", parts, "--resume"))
    assert rows(parts) == rows(built.folder)
    for file in ("model", "checkpoint", "baselines"):
        assert tensors(parts / f"{file}.safetensors") == tensors(built.folder / f"{file}.safetensors"), file


def test_nothing_is_overwritten(built):
    before = {path.name: path.read_bytes() for path in built.folder.iterdir() if path.is_file()}
    assert refused(built.train.main, config(built.train, *built.flags, "--out", built.folder)) == (
        f"{built.folder} already holds a run: choose another --out, or go on with it by --resume."
    )
    assert before == {path.name: path.read_bytes() for path in built.folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--sed", "1"], "--sed: no such flag; did you mean --seed?"),
        (["--seed", "4294967296"], "--seed 4294967296: must be from 0 to 4294967295."),
        (["--preset", "huge"], "unknown preset 'huge': choose one of "),
        (["--device", "tpu"], "--device tpu: must be one of auto, cpu"),
        (["--data", "no/such"], "--data no/such: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_flags_are_one_line_and_exit_code_2(built, capfd, monkeypatch, tmp_path, flags, line):
    out = tmp_path / "run"
    code, said, errors = launched(built.train, capfd, monkeypatch, *flags, "--out", out)
    assert code == 2 and said == ""
    assert errors.startswith(f"error: {line}") and errors.count("\n") == 1, errors
    assert not out.exists(), "a run folder was made for nothing"


def test_resume_where_there_is_nothing(built, capfd, monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "none")
    code, _, errors = launched(built.train, capfd, monkeypatch, "--resume")
    makes = f"`./course train {built.number}` makes one."
    assert errors == f"error: no run of week {built.number} with a checkpoint.safetensors yet: {makes}\n"
    assert code == 2


def test_eval_adds_the_scores_on_test_and_nothing_else(built):
    before = read_json(built.folder / "result.json")
    found = built.eval.main(config(built.eval, "--run", built.folder, *EVAL.get(built.number, ())))
    after = read_json(built.folder / "result.json")
    metric = f"test_{METRIC[built.number]}"
    assert (-1 if built.number in LEARNS else 0) < found["metrics"][metric] <= 1
    scores = {name: after["metrics"].pop(name) for name in list(after["metrics"]) if name.startswith("test_")}
    assert scores == {name: value for name, value in found["metrics"].items() if name.startswith("test_")}
    assert after["metrics"] == before["metrics"], "the scores on val stay"


def test_eval_of_no_run(built, capfd, monkeypatch, tmp_path):
    code, said, errors = launched(built.eval, capfd, monkeypatch, "--run", tmp_path)
    assert code == 2 and said == "" and errors.startswith("error: ") and errors.count("\n") == 1
