"""Run folders are numbered, never overwritten, and say how they came about."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from shared import runs
from shared.cli import CommonConfig
from shared.errors import CourseError
from shared.files import ROOT, read_json, write_json


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """The runs of these tests, away from the learner's."""
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    return tmp_path / "runs"


def test_runs_are_numbered_per_week_and_named_after_their_preset(folder):
    made = [
        runs.create(1, CommonConfig()),
        runs.create(1, CommonConfig(preset="smoke")),
        runs.create(2, CommonConfig()),
    ]
    assert made == [folder / "week01/001-quick", folder / "week01/002-smoke", folder / "week02/001-quick"]


def test_numbers_go_on_after_the_highest(folder):
    for name in ("007-quick", "003-smoke", "my own", "x12", "²"):
        (folder / "week01" / name).mkdir(parents=True)
    assert runs.create(1, CommonConfig()).name == "008-quick"


def test_config_is_written_down():
    config = CommonConfig(data="mnist", seed=3)
    assert read_json(runs.create(1, config) / "config.json") == {
        "data": "mnist", "device": "auto", "seed": 3, "out": "", "resume": False, "preset": "quick",
    }  # fmt: skip


def test_out_of_ones_own(tmp_path):
    out = tmp_path / "a" / "my run"
    assert runs.create(1, CommonConfig(out=str(out))) == out
    assert (out / "config.json").is_file()


def test_out_that_holds_a_run_is_left_alone(tmp_path):
    config = CommonConfig(out=str(tmp_path / "mine"), seed=1)
    run = runs.create(1, config)
    with pytest.raises(CourseError) as caught:
        runs.create(1, CommonConfig(out=config.out, seed=2))
    assert str(caught.value) == f"{run} already holds a run: choose another --out, or go on with it by --resume."
    assert read_json(run / "config.json")["seed"] == 1


def test_out_where_no_folder_can_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CourseError, match=r"^cannot make a run folder: .*file.*\. Choose another place with --out\.$"):
        runs.create(1, CommonConfig(out=str(tmp_path / "file")))


def test_runs_created_at_once_get_folders_of_their_own(folder):
    code = (
        "import sys; from pathlib import Path; from shared import cli, runs\n"
        "runs.RUNS = Path(sys.argv[1]); print('ready', flush=True); sys.stdin.readline()\n"
        "for seed in range(40): print(runs.create(1, cli.CommonConfig(seed=seed)))"
    )
    several = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder)], env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8",
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in several:
        assert process.stdout.readline() == "ready\n"
    for process in several:  # both stand at the start: go
        process.stdin.write("\n")
        process.stdin.flush()
    made = [line for process in several for line in process.communicate()[0].splitlines()]
    assert len(made) == len(set(made)) == 80
    assert sorted(path.name for path in (folder / "week01").iterdir()) == [f"{n:03d}-quick" for n in range(1, 81)]


# newest


def make(seconds, file="model.safetensors", week=1):
    """A run that was started so many seconds after the epoch."""
    run = runs.create(week, CommonConfig())
    (run / file).touch()
    os.utime(run / "config.json", (seconds, seconds))
    return run


def test_newest_is_the_run_that_was_started_last():
    make(100)
    latest = make(300)
    make(200)
    make(400, week=2)
    assert runs.newest(1) == latest


def test_newest_passes_over_runs_without_the_file(folder):
    finished = make(100)
    interrupted = make(200, file="checkpoint.safetensors")
    (folder / "week01" / "copied model").mkdir()
    (folder / "week01" / "copied model" / "model.safetensors").touch()  # no config.json: not a run
    assert runs.newest(1) == finished
    assert runs.newest(1, "checkpoint.safetensors") == interrupted


@pytest.mark.parametrize("began", [False, True])
def test_no_run_yet(began):
    if began:
        runs.create(3, CommonConfig())
    with pytest.raises(CourseError) as caught:
        runs.newest(3)
    assert str(caught.value) == "no run of week 3 with a model.safetensors yet: `./course train 3` makes one."


# result.json


def result(**changed):
    values = {
        "device": "cpu", "dtype": "float32", "params": 1234, "seconds": 1.23456,
        "metrics": {"val_accuracy": 0.9}, "baseline": {"name": "majority", "val_accuracy": 0.1},
    }  # fmt: skip
    return runs.result(1, CommonConfig(seed=5), **values | changed)


def test_result_says_everything_one_needs_to_repeat_it(monkeypatch):
    program = ROOT / "week01_numpy_mlp" / "train.py"
    monkeypatch.setattr(sys, "argv", [str(program), "--data", "my digits", "--preset=smoke"])
    found = result()
    versions = found.pop("versions")
    assert found == {
        "week": 1,
        "command": "./course train 1 --data 'my digits' --preset=smoke",
        "data": "sample",
        "seed": 5,
        "device": "cpu",
        "dtype": "float32",
        "params": 1234,
        "seconds": 1.23,
        "metrics": {"val_accuracy": 0.9},
        "baseline": {"name": "majority", "val_accuracy": 0.1},
    }
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert versions["numpy"] == np.__version__


def test_versions_are_those_of_libraries_in_use(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert "torch" not in result()["versions"]


def test_result_is_json(tmp_path):
    write_json(tmp_path / "result.json", result())
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8")) == result()


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_nan_is_no_result(tmp_path, number):
    path = tmp_path / "result.json"
    write_json(path, {"old": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, result(metrics={"val_accuracy": number}))
    assert read_json(path) == {"old": 1}
