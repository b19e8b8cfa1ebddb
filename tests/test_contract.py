"""What every week's train.py and eval.py must do, over all weeks that are there: a week's own tests need not repeat it.

One small training a week is done whole, and once more in three parts; the tests look at what both have left.
"""

import importlib
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from programs import (
    assert_picture,
    config,
    instructions,
    photos,
    preferences,
    refused,
    rows,
    squad,
    sums,
    tensors,
    tiny_bert,
    tiny_llama,
)

from shared import cli, held_out, plan, runs, terminal
from shared.errors import Stopped
from shared.files import ROOT, read_json, write_json
from shared.loop import Loop

# What makes a training of `smoke` as small as it can be, with two epochs; and the steps of its epoch. DATA is a small
# data set of ours: images.npz, reviews.csv, pairs.tsv, questions.json, instructions.jsonl, preferences.jsonl,
# sums.jsonl, code, a folder of Python files, or photos, of pictures with captions; DATA/bert is an encoder of two small
# layers, DATA/llama a language model of two.
SMALL: dict[int, tuple[str, int]] = {
    1: ("--data DATA/images.npz --batch-size 16 --epochs 2 --lr 0.02", 9),
    2: ("--data DATA/images.npz --side 8 --depth 3 --width 4 --batch-size 16 --epochs 2 --lr 0.05", 9),
    3: ("--data DATA/reviews.csv --epochs 2 --hidden 8 --embed 8 --batch-size 16 --lr 0.03", 14),
    4: ("--data DATA/images.npz --side 17 --batch-size 16 --epochs 2 --width 4 --logger none", 9),
    5: ("--data DATA/pairs.tsv --max-steps 0 --epochs 2 --hidden 16 --embed 16 --batch-size 16 --lr 0.03", 15),
    6: ("--task translate --data DATA/pairs.tsv --epochs 2 --d-model 16 --batch-size 16 --lr 0.03 --warmup 10", 15),
    7: (
        "--data DATA/questions.json --model DATA/bert --max-len 32 --examples 0 --most-val 0 --freeze 0 --epochs 2 "
        "--batch-size 8 --lr 0.02",
        18,
    ),
    8: (
        "--data DATA/code --epochs 2 --steps-per-epoch 12 --vocab 300 --block-size 16 --batch-size 4 --lr 0.01",
        12,
    ),
    9: (
        "--data DATA/instructions.jsonl --model DATA/llama --rank 8 --most-val 0 --epochs 2 --steps-per-epoch 12 "
        "--batch-size 8 --lr 0.01",
        12,
    ),
    10: (
        "--data DATA/preferences.jsonl --model DATA/llama --no-lora --examples 0 --most-val 0 --max-len 64 "
        "--sft-steps 2 --epochs 2 --steps-per-epoch 9 --batch-size 8 --lr 0.002",
        9,
    ),
    13: (
        "--data DATA/images.npz --side 8 --patch 4 --width 16 --depth 1 --heads 2 --examples 0 --epochs 2 "
        "--batch-size 16 --lr 0.02",
        9,
    ),
    14: ("--data DATA/photos --limit 0 --side 32 --dim 16 --epochs 2 --batch-size 16 --lr 0.01", 9),
    15: (
        "--data DATA/sums.jsonl --model DATA/llama --search bm25 --examples 0 --most-val 0 --layers 0 --rank 8 "
        "--epochs 2 --steps-per-epoch 40 --batch-size 8 --lr 0.01",
        40,
    ),
}
WEEKS = [number for number in SMALL if plan.is_there(number)]
# Weeks whose train.py builds something and learns next to nothing, or draws its data itself: test_contract_built.py.
BUILT = (11, 12, 16)
# The number that decides.
METRIC = dict.fromkeys(SMALL, "accuracy") | {
    5: "bleu",
    6: "bleu",
    7: "f1",
    8: "bits_per_byte",
    9: "loss",
    13: "auroc",
    14: "mrr",
    15: "success",
}
LOWER = {8, 9}  # where less of it is better
RULED = {15}  # where the baseline is rules, which have no parameters
ROW = {"epoch", "step", "train_loss", "val_loss", "seconds"}
RESULT = {"week", "command", "data", "seed", "device", "dtype", "params", "seconds", "versions", "metrics", "baselines"}


@dataclass
class Trained:
    """A week's programs, its small flags, and two folders: trained at once, and in three parts."""

    number: int
    train: ModuleType
    eval: ModuleType
    flags: list[str]
    per_epoch: int
    whole: Path
    parts: Path
    told: list[str]  # what the two stops said

    @property
    def most(self) -> int:
        """The best score there is, or a bound of it."""
        return 1 if METRIC[self.number] in ("accuracy", "f1") else 100


@pytest.fixture(scope="module")
def small_data(tmp_path_factory):
    """The folder of the small data sets: 180 noisy images of three patterns, 300 reviews of good and bad words, 300
    sentences of five words, of which one tells how to translate it, 180 questions on the colour in a passage, 180
    instructions to say a colour, and 60 Python files of one function each.

    In more/ lie the same with 20 more of each.
    """
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    drawn, labels = rng.integers(0, 2, (3, 8, 8, 3)) * 150, np.arange(200) % 3
    images = (drawn[labels] + rng.integers(0, 105, (200, 8, 8, 3))).astype(np.uint8)
    words = (["dull", "poor", "boring", "flat"], ["fine", "great", "lovely", "bright"])
    lines = []
    for row in range(320):
        mixed = [*rng.choice(words[row % 2], 3), *(f"word{n}" for n in rng.integers(0, 400, 5))]
        lines.append(f"{' '.join(rng.permutation(mixed))},{row % 2}")
    for place, fewer in ((folder, 20), (folder / "more", 0)):
        place.mkdir(exist_ok=True)
        np.savez(place / "images.npz", images=images[: 200 - fewer], labels=labels[: 200 - fewer])
        (place / "reviews.csv").write_text("\n".join(["text,label", *lines[: 320 - fewer]]), encoding="utf-8")
        pairs = [f"the w{n % 4} is here x{n}\tle m{n % 4} est ici\n" for n in range(320 - fewer)]
        (place / "pairs.tsv").write_text("".join(pairs), encoding="utf-8")
        write_json(place / "questions.json", squad(200 - fewer))
        instructions(place / "instructions.jsonl", 200 - fewer)
        preferences(place / "preferences.jsonl", 200 - fewer)
        sums(place / "sums.jsonl", 200 - fewer)
        (place / "code").mkdir(exist_ok=True)
        for n in range(80 - fewer):
            code = f"def f{n}(a{n % 7}, b):\n    c = a{n % 7} + {n}\n    return c * b\n"
            (place / "code" / f"f{n:02}.py").write_text(code, encoding="utf-8")
        photos(place / "photos", 200 - fewer)
    return folder


def test_every_week_is_held_to_a_contract():
    assert {number for number in range(1, 17) if plan.is_there(number)} <= {*SMALL, *BUILT}


def pytest_generate_tests(metafunc):
    if "week" in metafunc.fixturenames:
        wanted = metafunc.config.getoption("--week")
        numbers = [number for number in WEEKS if wanted in (None, number)]
        metafunc.parametrize("week", numbers, ids=[f"week{n:02}" for n in numbers], indirect=True, scope="module")


def press_ctrl_c(patch, number):
    """Returns press(n): Ctrl-C at the n-th step from now of a training that keeps its state (of no baseline)."""
    left = {"steps": 0}

    def count(keeps):
        left["steps"] -= bool(keeps)
        if keeps and left["steps"] == 0:
            signal.raise_signal(signal.SIGINT)

    if number == 4:  # Lightning keeps its own loop
        from week04_lightning.callbacks import Journal

        ended = Journal.on_train_batch_end

        def on_train_batch_end(self, *arguments):
            count(self.run)
            ended(self, *arguments)

        patch.setattr(Journal, "on_train_batch_end", on_train_batch_end)
    else:
        real = Loop.add

        def add(self, loss):
            real(self, loss)
            count(self.run)

        patch.setattr(Loop, "add", add)
    return lambda steps: left.update(steps=steps)


@pytest.fixture(scope="module")
def week(request, tmp_path_factory, small_data):
    number = request.param
    if number == 7:
        tiny_bert(small_data / "bert")
    if number in (9, 10, 15):
        tiny_llama(small_data / "llama")
    train, evaluation = (importlib.import_module(f"{plan.folder(number)}.{name}") for name in ("train", "eval"))
    flags, per_epoch = SMALL[number]
    flags = ["--preset", "smoke", *flags.replace("DATA", str(small_data)).split()]
    folder = tmp_path_factory.mktemp(f"week{number:02}")
    found = Trained(number, train, evaluation, flags, per_epoch, folder / "whole", folder / "in parts", [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "RUNS", folder / "runs")
        train.main(config(train, *found.flags, "--out", found.whole))
        press = press_ctrl_c(patch, number)
        press(4)  # inside the first epoch
        with pytest.raises(Stopped) as first:
            train.main(config(train, *found.flags, "--out", found.parts))
        press(per_epoch - 4)  # at its last step: it is finished first
        with pytest.raises(Stopped) as second:
            train.main(config(train, "--out", found.parts, "--resume"))
        found.told += [str(first.value), str(second.value)]
        train.main(config(train, "--out", found.parts, "--resume"))
        yield found


def launched(week, capfd, monkeypatch, *flags, program="train"):
    """The exit code, and what a program of the week says on stdout and stderr to these flags."""
    module = getattr(week, program)
    monkeypatch.setattr(sys, "argv", [str(Path(module.__file__)), *map(str, flags)])
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.launch(module.main, module.Config, getattr(module, "PRESETS", None), getattr(module, "WEEK_NUMBER", None))
    return ended.value.code, *capfd.readouterr()


def grown(week):
    """The data that the week was trained on, with 20 examples more."""
    data = Path(read_json(week.whole / "config.json")["data"])
    return data.parent / "more" / data.name


# ---------------------------------------------------------------- what a run leaves


def test_a_run_leaves_every_file(week):
    assert {path.name for path in week.whole.iterdir()} >= {
        "config.json", "metrics.jsonl", "result.json", "model.safetensors", "checkpoint.safetensors",
        "baselines.safetensors", "examples.safetensors", "curves.png",
    }  # fmt: skip
    assert not list(week.whole.glob("*.tmp")) and not list(week.whole.glob(".*"))
    for picture in week.whole.glob("*.png"):
        assert_picture(picture)
    assert week.train.Config(**as_config(week)) == config(week.train, *week.flags, "--out", week.whole)


def as_config(week):
    saved = read_json(week.whole / "config.json")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}


def test_the_log_has_a_row_an_epoch(week):
    found = [json.loads(line) for line in (week.whole / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["epoch"], row["step"]) for row in found] == [(1, week.per_epoch), (2, 2 * week.per_epoch)]
    assert all(row.keys() >= ROW and row["seconds"] > 0 for row in found)
    assert 0 < found[1]["train_loss"] < found[0]["train_loss"], "it learns"


def test_the_result_stands_beside_its_baselines_and_test_is_not_read(week):
    result = read_json(week.whole / "result.json")
    assert result.keys() >= RESULT and result["week"] == week.number and result["seed"] == 0
    assert "test_" not in json.dumps([result["metrics"], result["baselines"]]), "test is eval's alone"
    metric = f"val_{METRIC[week.number]}"
    sign = -1 if week.number in LOWER else 1
    best = max((row[metric] for row in rows(week.whole)), key=lambda score: sign * score)
    assert result["metrics"][metric] == best
    *trained, constant = result["baselines"]
    assert trained
    assert all((row["params"] > 0) != (week.number in RULED) and 0 < row[metric] <= week.most for row in trained)
    assert constant["params"] == 0 and sign * constant[metric] < sign * best, "better than always the same answer"


# ---------------------------------------------------------------- stop and go on


def test_stopped_and_gone_on_it_is_bit_for_bit_the_same(week):
    assert rows(week.parts) == rows(week.whole)
    for file in ("model", "checkpoint", "baselines", "examples"):
        assert tensors(week.parts / f"{file}.safetensors") == tensors(week.whole / f"{file}.safetensors"), file
    theirs, ours = (read_json(folder / "result.json") for folder in (week.whole, week.parts))
    assert ours["metrics"] == theirs["metrics"] and ours["params"] == theirs["params"]
    assert {**read_json(week.parts / "config.json"), "out": ""} == {**read_json(week.whole / "config.json"), "out": ""}


def test_a_stop_says_where_it_stands_and_how_it_goes_on(week):
    goes_on = f"`./course train {week.number} --out '{week.parts}' --resume` goes on."
    assert week.told == [
        f"stopped at step {step} of {2 * week.per_epoch}; saved. {goes_on}" for step in (4, week.per_epoch)
    ]


def test_a_finished_run_is_not_gone_on_with_nor_changed(week):
    before = {path.name: path.read_bytes() for path in week.whole.iterdir()}
    assert "has already finished" in refused(week.train.main, config(week.train, "--out", week.whole, "--resume"))
    after = {path.name: path.read_bytes() for path in week.whole.iterdir()}
    assert before == after


def test_one_process_at_a_time_trains_in_a_run(week, tmp_path):
    shutil.copytree(week.whole, tmp_path / "run")
    holds = (
        "import sys; from pathlib import Path; from shared.files import only_one; lock = only_one(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", f"{holds}; print('held', flush=True); sys.stdin.read()", tmp_path / "run"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as other:
        other.stdout.readline()
        line = refused(week.train.main, config(week.train, "--out", tmp_path / "run", "--resume", "--epochs", 9))
        other.stdin.close()
    assert line == (
        f"{tmp_path / 'run'}: another process is training in this run. Wait for it, or start a new one with --out."
    )


def test_nothing_is_overwritten(week):
    assert refused(week.train.main, config(week.train, *week.flags, "--out", week.whole)) == (
        f"{week.whole} already holds a run: choose another --out, or go on with it by --resume."
    )


@pytest.mark.parametrize(("flag", "value", "was"), [("--seed", "8", "0"), ("--batch-size", "7", None)])
def test_what_a_resume_must_not_change_is_refused_by_name(week, flag, value, was):
    before = (week.whole / "config.json").read_bytes()
    was = was or str(read_json(week.whole / "config.json")[flag.strip("-").replace("-", "_")])
    cfg = config(week.train, "--out", week.whole, "--resume", flag, value)
    assert refused(week.train.main, cfg) == (
        f"{week.whole} was started with {flag} {was}: leave {flag} out, or start a new run."
    )
    assert (week.whole / "config.json").read_bytes() == before


def test_a_run_goes_on_only_with_the_data_that_it_was_begun_with(week, tmp_path):
    shutil.copytree(week.whole, tmp_path / "run")
    data = grown(week)
    path = tmp_path / "run" / "config.json"
    write_json(path, read_json(path) | {"data": str(data), "epochs": 9})  # as if that had been added to the file
    assert refused(week.train.main, config(week.train, "--out", path.parent, "--resume")).startswith(
        f"--data {data} is not what {path.parent} was begun with any more (20 new"
    )
    assert rows(path.parent) == rows(week.whole)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--lr", "-1"], "--lr -1: must be above 0."),
        (["--lr", "nan"], "--lr nan: must be a finite number."),
        (["--lr", "much"], "--lr much: must be a number."),
        (["--lrr", "1"], "--lrr: no such flag; did you mean --lr?"),
        (["--seed", "4294967296"], "--seed 4294967296: must be from 0 to 4294967295."),
        (["--epochs", "0"], "--epochs 0: must be at least 1."),
        (["--batch-size", "1.5"], "--batch-size 1.5: must be a whole number."),
        (["--preset", "huge"], "unknown preset 'huge': choose one of "),
        (["--device", "tpu"], "--device tpu: must be one of auto, cpu"),
        (["--data", "no/such"], "--data no/such: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_flags_are_one_line_and_exit_code_2(week, capfd, monkeypatch, tmp_path, flags, line):
    out = tmp_path / "run"
    code, said, errors = launched(week, capfd, monkeypatch, *flags, "--out", out)
    assert code == 2 and said == ""
    assert errors.startswith(f"error: {line}") and errors.count("\n") == 1, errors
    assert not out.exists(), "a run folder was made for nothing"


def test_resume_where_there_is_nothing(week, capfd, monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "none")
    code, _, errors = launched(week, capfd, monkeypatch, "--resume")
    makes = f"`./course train {week.number}` makes one."
    assert errors == f"error: no run of week {week.number} with a checkpoint.safetensors yet: {makes}\n"
    assert code == 2


# ---------------------------------------------------------------- eval


def test_eval_adds_the_scores_on_test_and_nothing_else(week, capfd):
    before = read_json(week.parts / "result.json")
    found = week.eval.main(config(week.eval, "--run", week.parts))
    after = read_json(week.parts / "result.json")
    metric = f"test_{METRIC[week.number]}"
    score = found["metrics"][metric]
    assert 0 < score <= week.most and all(0 < row.pop(metric) <= week.most for row in after["baselines"])
    scores = {name: after["metrics"].pop(name) for name in list(after["metrics"]) if name.startswith("test_")}
    assert scores == {name: value for name, value in found["metrics"].items() if name.startswith("test_")}
    assert after == before, "the rest of result.json stays"
    table = capfd.readouterr().out
    assert "this network" in table and all(row["name"] in table for row in before["baselines"])
    again = week.eval.main(config(week.eval, "--run", week.parts))
    assert again["metrics"][metric] == score


def test_eval_of_data_that_have_grown_scores_what_the_network_has_not_seen(week, capfd, tmp_path):
    before = read_json(week.parts / "result.json")
    data, examples = grown(week), held_out.kept(week.parts)
    trained_on, tested = (sum(len(examples[part]) for part in parts) for parts in (("train", "val"), ("test",)))
    found = week.eval.main(config(week.eval, "--run", week.parts, "--data", data, "--out", tmp_path / "out"))
    assert found.get("scored", np.sum(found.get("confusion", 0))) == tested + 20
    said = capfd.readouterr().out
    assert f"  left out {trained_on:,} " in said and " that this network was trained or chosen on" in said
    assert read_json(week.parts / "result.json") == before, "that is no score of the run's own test part"


def test_eval_of_a_run_that_has_not_come_to_its_end(week, capfd, monkeypatch, tmp_path):
    (tmp_path / "model.safetensors").write_bytes((week.whole / "model.safetensors").read_bytes())
    code, said, errors = launched(week, capfd, monkeypatch, "--run", tmp_path, program="eval")
    assert (code, said) == (2, "")
    goes_on = f"./course train {week.number} --out {tmp_path} --resume"
    assert errors == f"error: {tmp_path} has not been trained to its end: `{goes_on}` goes on.\n"


def test_eval_of_no_run(week, capfd, monkeypatch, tmp_path):
    code, _, errors = launched(week, capfd, monkeypatch, "--run", tmp_path, program="eval")
    assert code == 2 and errors.startswith(f"error: no checkpoint at {tmp_path / 'model.safetensors'}.")
    (tmp_path / "model.safetensors").write_bytes((week.whole / "model.safetensors").read_bytes()[:-9])
    code, _, errors = launched(week, capfd, monkeypatch, "--run", tmp_path, program="eval")
    assert code == 2 and errors.count("\n") == 1 and "is not a whole checkpoint of this course" in errors
    code, _, errors = launched(week, capfd, monkeypatch, "--data", "no/such", "--run", week.whole, program="eval")
    assert code == 2 and errors.startswith("error: --data no/such: ") and errors.count("\n") == 1


# ---------------------------------------------------------------- with one's own code


def test_mine_is_marked_takes_the_references_baselines_and_is_compared_with_it(week, capfd, monkeypatch, tmp_path):
    """Here the learner's code is the reference itself, so it has to come to the same digits."""
    monkeypatch.setattr(runs, "RUNS", tmp_path)
    made = tmp_path / f"week{week.number:02}" / "001-smoke"
    made.parent.mkdir()
    week.whole.rename(made)
    try:
        monkeypatch.setattr(terminal, "mine", lambda: " --mine")
        monkeypatch.setattr(sys, "argv", [str(Path(week.train.__file__)), *week.flags])
        capfd.readouterr()
        result = week.train.main(config(week.train, *week.flags))
    finally:
        made.rename(week.whole)
    said = capfd.readouterr().out
    assert " --mine" in result["command"] and f"./course eval {week.number} --mine" in said
    assert f"baselines: those of {made}, an equal run\n" in said
    assert f"Your code has come to the reference's result, to the last digit of every row: {made}." in said
