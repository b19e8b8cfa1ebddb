"""`./course report --verify`: a report is trained again, and told whether it comes out the same."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from programs import refused

from shared import achieved, band, cli, origin, report, report_file, verify
from shared.errors import Stopped
from shared.files import ROOT, read_json

SAMPLE = {"week": 1, "title": "A week", "lesson": "A lesson", "command": "./course train 1", "scored": True,
          "preset": "quick", "data": "sample", "seed": 0, "device": "cpu", "dtype": "float32", "params": 9,
          "seconds": 1.0, "versions": {"numpy": "2.0"}, "own_data": False, "synthetic": False,
          "metrics": {"test_accuracy": 0.979, "val_accuracy": 0.981}, "columns": ["test_accuracy", "val_accuracy"],
          "baselines": [], "band": {"kind": "", "line": ""}, "hardware": "A Processor, 2 cores", "threads": 2,
          "code": "c" * 64, "run": "a" * 64, "examples": "e" * 64,
          "exercises": {"titles": [], "hinted": [], "total": 6}, "bugs": {"titles": [], "hinted": [], "total": 8},
          "picture": ""}  # fmt: skip


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    """What is trained again lies in a folder of the test's own."""
    monkeypatch.setattr(verify, "FOLDER", tmp_path / "verify")


@pytest.fixture
def nothing_runs(monkeypatch):
    monkeypatch.setattr(verify.subprocess, "run", lambda *_, **__: pytest.fail("it runs something"))


def written(folder, **other):
    """A report with these data, whole and sealed."""
    path = folder / "report.md"
    path.write_text(report_file.render(SAMPLE | other, "my words"), encoding="utf-8")
    return str(path)


def test_a_real_training_comes_out_the_same_to_the_last_digit(tmp_path, capsys):
    from week01_numpy_mlp import train

    run = tmp_path / "runs/week01/001-smoke"
    flags = ["--preset", "smoke", "--max-steps", "125", "--out", str(run)]
    train.main(cli.parse(train.Config, train.PRESETS, flags))
    (tmp_path / "w.txt").write_text("my words", encoding="utf-8")
    path = report.main(1, report.Config(words=str(tmp_path / "w.txt")), tmp_path)["report"]
    told = report_file.read(Path(path))
    assert told["command"] == "./course train 1 --preset smoke --max-steps 125" and not told["scored"]
    assert (told["code"], told["hardware"]) == (origin.code(1), origin.hardware())
    assert verify.main(path, verify.Config()) == 0
    said = capsys.readouterr().out
    assert "THE SAME, to the last digit: val accuracy" in said and "other code" not in said
    [again] = (tmp_path / "verify").glob("week01-*")
    assert read_json(again / "config.json")["max_steps"] == 125


def test_what_is_run_is_the_training_and_where_it_was_scored_the_scoring(tmp_path, monkeypatch, capsys):
    called, found = [], SAMPLE | {"code": origin.code(1)}
    monkeypatch.setattr(verify, "run", lambda *arguments: called.append(arguments))
    monkeypatch.setattr(verify.achieved, "record", lambda week, folder: found)
    monkeypatch.setattr(verify, "read_json", lambda path: {})
    path = written(tmp_path, code=origin.code(1), command="./course train 1 --lr 0.1")
    assert verify.main(path, verify.Config()) == 0
    folder = str(tmp_path / "verify/week01-aaaaaaaa-1")
    assert called == [(1, None, "train", ["--lr", "0.1", "--out", folder]), (1, None, "eval", ["--run", folder])]
    assert "its command: ./course train 1 --lr 0.1 && ./course eval 1\n" in capsys.readouterr().out
    monkeypatch.setattr(verify.achieved, "record", lambda week, folder: found | {"run": "b", "metrics": {}})
    assert verify.main(path, verify.Config()) == 1


def test_a_report_of_other_code_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(verify, "run", lambda *_: None)
    monkeypatch.setattr(verify.achieved, "record", lambda week, folder: SAMPLE | {"code": origin.code(1)})
    monkeypatch.setattr(verify, "read_json", lambda path: {})
    assert verify.main(written(tmp_path), verify.Config()) == 0
    assert "It is a report of other code than what is here: the digits need not be the same." in capsys.readouterr().out


def test_data_of_somebodys_own_are_to_be_named(tmp_path, monkeypatch):
    path, called = written(tmp_path, own_data=True, data="photos", command="./course train 1 --data photos"), []
    line = f"{path} is on data of somebody's own (photos): say where yours are, by --data."
    assert refused(verify.main, path, verify.Config()) == line
    monkeypatch.setattr(verify, "run", lambda week, own, program, flags: called.append(flags))
    monkeypatch.setattr(verify.achieved, "record", lambda week, folder: SAMPLE | {"examples": "f" * 64})
    monkeypatch.setattr(verify, "read_json", lambda path: {})
    assert verify.main(path, verify.Config(data="/my/photos")) == 1, "they are others"
    assert called[0][:2] == ["--data", "/my/photos"]
    line = refused(verify.main, written(tmp_path), verify.Config(data="/my/photos"))
    assert line.endswith("is on sample, which comes with the course.")


@pytest.mark.parametrize(
    "command",
    [
        "./course train 2",
        "./course run 1 gates",
        "./course train 1 --out /etc",
        "./course train 1 --out=/etc",
        "./course train 1 --resume",
        "./course train 1 --server http://elsewhere",
        "rm -rf /",
        "./course train 1 'open",
        "",
    ],
)
def test_no_command_is_run_but_a_training_of_the_course(tmp_path, nothing_runs, command):
    assert "is no training that is run again" in refused(
        verify.main, written(tmp_path, command=command), verify.Config()
    )


def test_what_cannot_be_verified(tmp_path, nothing_runs, monkeypatch):
    gone = str(tmp_path / "gone.md")
    told = f"{gone} is not there: ./course report 1 writes reports/week01/report.md."
    assert refused(verify.main, gone, verify.Config()) == told
    path = written(tmp_path)
    text = Path(path).read_text(encoding="utf-8")
    Path(path).write_text(text.replace("97.90%", "99.90%"), encoding="utf-8")
    assert "was edited by hand" in refused(verify.main, path, verify.Config())
    monkeypatch.setattr(verify.plan, "is_there", lambda week: False)
    assert refused(verify.main, written(tmp_path), verify.Config()) == "the report is of week 1, which is not here."


def test_a_learners_own_code_is_taken_from_the_exercises_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "ROOT", tmp_path)
    line = "the report is of code of somebody's own, and there is none in"
    mine = SAMPLE | {"command": "./course train 1 --mine --lr 0.1"}
    assert refused(verify.training, mine).startswith(line)
    for folder in ("week01", "week01-bug2"):
        (tmp_path / "exercises" / folder).mkdir(parents=True)
    assert verify.training(mine) == (1, ["--lr", "0.1"], tmp_path / "exercises/week01")
    elsewhere = SAMPLE | {"command": "./course train 1 --mine ../elsewhere/week01-bug2 --seed 1"}
    assert verify.training(elsewhere) == (1, ["--seed", "1"], tmp_path / "exercises/week01-bug2")
    called = []
    monkeypatch.setattr(verify.subprocess, "run", lambda c: called.append(c) or SimpleNamespace(returncode=0))
    verify.run(1, tmp_path, "train", ["--lr", "0.1"])
    assert called[0][3:] == ["shared.exercise_commands", "run", str(tmp_path), "train", "--lr", "0.1"]


def test_a_training_that_fails_or_is_stopped_verifies_nothing(monkeypatch):
    monkeypatch.setattr(verify.subprocess, "run", lambda _: SimpleNamespace(returncode=2))
    told = "nothing is verified: `train` of week 1 has failed (exit code 2), see above."
    assert refused(verify.run, 1, None, "train", []) == told
    for ends in (lambda _: SimpleNamespace(returncode=130), lambda _: (_ for _ in ()).throw(KeyboardInterrupt)):
        monkeypatch.setattr(verify.subprocess, "run", ends)
        with pytest.raises(Stopped, match="nothing is verified"):
            verify.run(1, None, "train", [])


# ---------------------------------------------------------------- the verdict

BAND = band.Band({}, "val_accuracy", True, [1], {"val_accuracy": [[0.98, 0.982]]},
                 {"val_accuracy": [0.978, 0.979, 0.98, 0.981, 0.982],
                  "test_accuracy": [0.977, 0.978, 0.979, 0.98, 0.981]}, {})  # fmt: skip


def found(**other):
    """What came out here: as the report has it, but for this."""
    scores = {name: other.pop(name) for name in list(other) if name.endswith("accuracy")}
    return SAMPLE | {"metrics": SAMPLE["metrics"] | scores} | other


@pytest.mark.parametrize(
    ("here", "one", "same", "line"),
    [
        ({}, None, True, "THE SAME, to the last digit: test accuracy 97.90%, and every row of the log."),
        ({"seconds": 9.0, "threads": 1, "hardware": "B"}, None, True, "THE SAME, to the last digit: test accuracy"),
        ({"val_accuracy": 0.98}, BAND, False, "NOT THE SAME: val accuracy 98.10% in the report, 98.00% here, with"),
        ({"val_accuracy": 0.98100000001, "run": "b"}, BAND, False, "val accuracy 0.981 in the report, 0.98100000001 h"),
        ({"run": "b"}, None, False, "NOT THE SAME: the scores are the same, rows of the log are not, with the same"),
        ({"val_accuracy": 0.979, "hardware": "B"}, BAND, True, "THE SAME, within the band: "),
        ({"val_accuracy": 0.979, "code": "d"}, BAND, True, "98.10% in the report, 97.90% here, the band 9"),
        ({"val_accuracy": 0.9, "threads": 1}, BAND, False, "90.00% here; this run is outside the band"),
        ({"val_accuracy": 0.979, "versions": {}}, None, False, "other versions here. No band of seeds has these flags"),
        ({"examples": "f"}, BAND, False, "NOT THE SAME: the data are others than those of the report."),
        ({"val_accuracy": 0.979, "device": "cuda"}, BAND, True, "(another device here)."),
        ({"metrics": {}, "device": "cuda"}, BAND, False, "nothing here; this run is outside the band"),
    ],
)
def test_verdicts(here, one, same, line):
    verdict = verify.judge(SAMPLE, found(**here), one)
    assert verdict.same is same and line in verdict.line, verdict.line


def test_a_number_that_no_run_reaches_is_not_believed_elsewhere():
    """Somebody who makes the seal anew with a better number is found out on any machine."""
    forged = SAMPLE | {"metrics": {"test_accuracy": 0.999, "val_accuracy": 0.981}, "run": "f" * 64}
    verdict = verify.judge(forged, found(hardware="another"), BAND)
    assert not verdict.same and "the report is outside the band" in verdict.line
    assert not verify.judge(forged, found(), BAND).same


def test_a_gpu_is_held_to_the_band_alone():
    told, here = SAMPLE | {"device": "cuda"}, found(val_accuracy=0.979, device="cuda")
    verdict = verify.judge(told, here, BAND)
    assert verdict.same and "(a GPU, which adds up in another order each time, here)" in verdict.line
    assert not verify.judge(told, here | {"metrics": {"val_accuracy": 0.9}}, BAND).same


def test_times_are_no_digits():
    told = SAMPLE | {"metrics": SAMPLE["metrics"] | {"test_p50_ms": 20.0, "test_requests_per_second": 40.0}}
    assert verify.judge(told, found(), None).same
    assert [name for name in ("ms", "mrr", "times_torch", "items", "val_p50_ms") if achieved.is_timed(name)] == [
        "ms", "times_torch", "val_p50_ms",
    ]  # fmt: skip


def test_bands_of_this_course_hold_their_own_seeds():
    for path in ROOT.glob("week*/band.json"):
        for one in band.bands(int(path.parent.name[4:6])):
            for name, values in one.scores.items():
                low, high = one.scored(name)
                assert all(low <= value <= high for value in values), (path, name)


def test_each_verification_has_a_folder_of_its_own():
    first = verify.new_folder(1, "../../etc" + "0" * 60)
    assert first.parent == verify.FOLDER and first.name == "week01-ec000000-1"
    first.mkdir(parents=True)
    assert verify.new_folder(1, "../../etc" + "0" * 60).name == "week01-ec000000-2"
