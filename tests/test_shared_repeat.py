"""Several seeds of one training, by a made-up week: who is trained and scored, what is told, kept and gone on with."""

import statistics
import sys
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Literal

import pytest
from programs import refused, started

from shared import band, cli, plan, repeat, runs, terminal
from shared.config import Count, EvalConfig, Positive, TrainConfig
from shared.errors import Stopped
from shared.files import ROOT, read_json, write_json

VAL, TEST = {4: 0.5, 5: 0.6, 6: 0.8}, {4: 0.4, 5: 0.7, 6: 0.7}


@dataclass
class Config(TrainConfig):
    """The flags of the made-up week."""

    device: Literal["auto", "cpu"] = "auto"
    """There is no GPU in it."""
    hidden: tuple[Count, ...] = (4, 2)
    """Neurons."""
    lr: Positive = 0.1
    """The size of a step."""
    epochs: Count = 1
    """How often."""
    norm: bool = True
    """Batch norm."""


class Week:
    """A train.py and an eval.py that take no time, and the configs that they were called with.

    Attributes:
        trained, scored: the configs so far.
        stop: {seed: what happens in its training}: "Ctrl-C" (saved), "killed" before its first checkpoint, or "late"
            (in eval).
    """

    def __init__(self):
        self.trained, self.scored, self.stop = [], [], {}
        self.train, self.evaluation = ModuleType("train"), ModuleType("eval")
        presets = {"smoke": {"epochs": 2}, "quick": {}}
        vars(self.train).update(Config=Config, PRESETS=presets, main=self.main, WEEK_NUMBER=9)
        vars(self.evaluation).update(Config=EvalConfig, main=self.score)

    def main(self, cfg):
        print("not to be seen")
        self.trained.append(cfg)
        run = runs.begin(9, cfg)
        how = self.stop.pop(cfg.seed, "")
        if how == "killed":
            raise MemoryError
        if how == "Ctrl-C":
            run.save({"step": 3})
            raise run.stopped("stopped at step 3.")
        if how == "late":
            self.stop[cfg.seed] = "eval"
        rows = [
            {"name": "words", "params": 7, "seconds": 0.5, "val_accuracy": 0.1},
            {"name": "CNN", "params": 5, "seconds": 1.0, "val_accuracy": 0.3, "val_loss": 0.9},
            {"name": "always the same answer", "params": 0, "seconds": 0.0, "val_accuracy": 0.1},
        ]
        with run.log() as log:
            for step in (1, 2):
                log({"epoch": step, "step": step, "val_accuracy": VAL[cfg.seed] / step, "seconds": float(step)})
        metrics = {"val_accuracy": VAL[cfg.seed], "last_val_accuracy": 0.01, "last_val_loss": 2.0}
        device = SimpleNamespace(name="cpu", dtype="float32")
        return run.record(metrics, device, 1234, float(cfg.seed), rows)

    def score(self, cfg):
        print("nor this")
        self.scored.append(cfg)
        result = read_json(runs.Path(cfg.run) / "result.json")
        if self.stop.pop(result["seed"], "") == "eval":
            raise KeyboardInterrupt
        trained = runs.Trained(9, runs.Path(cfg.run), None, {}, {})
        theirs = {"words": 0.1, "CNN": 0.2, "always the same answer": 0.1}
        return trained.scored({"test_accuracy": TEST[result["seed"]]}, theirs, trained.folder) | {"run": cfg.run}


@pytest.fixture
def week(monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    return Week()


def config(week, *flags):
    """What `./course repeat 9 FLAGS` runs with."""
    return cli.parse(repeat.config_of(week.train), week.train.PRESETS, list(map(str, flags)))


def several(week, *flags):
    return repeat.several(week.train, week.evaluation, config(week, *flags))


# ---------------------------------------------------------------- flags


def test_the_flags_are_those_of_train_and_a_few_more(week):
    cfg = config(week, "--seeds", 5, "--lr", 0.5, "--preset", "smoke")
    assert (cfg.seeds, cfg.seed, cfg.lr, cfg.epochs, cfg.publish, cfg.resume) == (5, 0, 0.5, 2, False, False)
    assert set(vars(cfg)) == {*vars(Config()), "seeds", "publish", "band"}
    assert refused(config, week, "--seeds", 0) == "--seeds 0: must be at least 1."
    assert refused(config, week, "--lr", 0) == "--lr 0: must be above 0."
    assert refused(config, week, "--device", "cuda") == "--device cuda: must be one of auto, cpu.", "the week's own"


def test_help_is_about_several_seeds(week, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        config(week, "--help")
    text = capsys.readouterr().out
    assert "How many seeds: --seed, and the ones after it. (default: 3)" in text
    assert "The folder that gets a run folder for every seed." in text and "Batch norm." in text


# ---------------------------------------------------------------- the band


def test_a_band_is_made_of_all_seeds(week, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(band, "ROOT", tmp_path)
    monkeypatch.setattr(plan, "week", lambda number: plan.Week(number, "A week", "", "", "", "", ()))
    (tmp_path / plan.folder(9)).mkdir()
    several(week, "--seed", 4, "--preset", "smoke", "--band", "--out", tmp_path / "out")
    (one,) = band.bands(9)
    assert (one.metric, one.higher, one.flags["lr"], one.flags["epochs"]) == ("val_accuracy", True, 0.1, 2)
    assert one.scores == {"val_accuracy": [0.5, 0.6, 0.8], "test_accuracy": [0.4, 0.7, 0.7]}
    assert (one.steps, one.curves) == ([1, 2], {"val_accuracy": [[0.5, 0.6, 0.8], [0.25, 0.3, 0.4]]})
    assert one.made["device"] == "cpu" and one.made["versions"]
    assert capsys.readouterr().out.endswith(f"\nband: {band.path_of(9)}\n")
    message = "--band: give at least --seeds 2, one seed has no spread."
    assert refused(several, week, "--seed", 4, "--seeds", 1, "--band", "--out", tmp_path / "one") == message


# ---------------------------------------------------------------- several seeds


def test_mean_and_spread_of_every_contestant(week, tmp_path, capsys):
    found = several(week, "--seed", 4, "--epochs", 7, "--device", "cpu", "--no-norm", "--out", tmp_path / "out")
    assert [(cfg.seed, cfg.epochs, cfg.device, cfg.norm) for cfg in week.trained] == [
        (seed, 7, "cpu", False) for seed in (4, 5, 6)
    ]
    folders = [str(tmp_path / "out" / f"seed{seed}") for seed in (4, 5, 6)]
    assert [cfg.out for cfg in week.trained] == [cfg.run for cfg in week.scored] == folders
    assert [cfg.device for cfg in week.scored] == ["cpu"] * 3
    assert found.pop("run") == str(tmp_path / "out")
    assert list(found) == ["this network", "words", "CNN", "always the same answer"]
    ours = {"val_accuracy": list(VAL.values()), "test_accuracy": list(TEST.values()), "seconds": [4.0, 5.0, 6.0]}
    assert found["this network"] == {"params": 1234} | ours
    assert found["CNN"]["test_accuracy"] == [0.2] * 3
    assert (
        capsys.readouterr().out
        == """\
seed 4: val accuracy 50.00%, test accuracy 40.00%
seed 5: val accuracy 60.00%, test accuracy 70.00%
seed 6: val accuracy 80.00%, test accuracy 70.00%

|  | val accuracy | test accuracy | parameters | seconds | n |
| --- | --- | --- | --- | --- | --- |
| this network | 63.33 ± 15.28 % | 60.00 ± 17.32 % | 1,234 | 5.0 | 3 |
| words | 10.00 ± 0.00 % | 10.00 ± 0.00 % | 7 | 0.5 | 3 |
| CNN | 30.00 ± 0.00 % | 20.00 ± 0.00 % | 5 | 1.0 | 3 |
| always the same answer | 10.00 ± 0.00 % | 10.00 ± 0.00 % |  |  | 3 |
"""
    )
    assert (statistics.mean(VAL.values()), statistics.stdev(VAL.values())) == pytest.approx((0.6333, 0.1528), abs=1e-4)
    kept = read_json(tmp_path / "out" / "repeat.json")
    assert kept["summary"] == found and [run["seed"] for run in kept["runs"]] == [4, 5, 6]


def test_one_seed_has_no_spread(week, capsys):
    found = several(week, "--seed", 4, "--seeds", 1)
    assert found["this network"]["val_accuracy"] == [0.5]
    assert "| this network | 50.00 ± 0.00 % | 40.00 ± 0.00 % | 1,234 | 4.0 | 1 |" in capsys.readouterr().out


def test_a_folder_of_its_own_that_is_not_written_over(week, tmp_path):
    found = several(week, "--seed", 4, "--seeds", 1)
    folder = tmp_path / "runs" / "week09" / "001-quick"
    assert found["run"] == str(folder)
    assert {path.name for path in folder.glob("[!.]*")} == {"config.json", "repeat.json", "seed4"}
    line = f"{folder} already holds a run: choose another --out, or go on with it by --resume."
    assert refused(several, week, "--out", folder) == line
    assert len(week.trained) == 1


# ---------------------------------------------------------------- going on


def test_ctrl_c_keeps_what_is_done_and_resume_goes_on(week, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(terminal, "mine", lambda: "")
    out = tmp_path / "out"
    flags = ("--seed", 4, "--lr", 0.5, "--out", out)
    week.stop = {5: "Ctrl-C"}
    with pytest.raises(Stopped) as caught:
        several(week, *flags)
    assert str(caught.value) == (
        f"stopped at seed 5; saved. ./course repeat 9 with the same flags, --out {out} and --resume goes on."
    )
    assert capsys.readouterr().out == "seed 4: val accuracy 50.00%, test accuracy 40.00%\n"
    assert read_json(out / "repeat.json") == {}
    found = several(week, *flags, "--resume")
    assert [(cfg.seed, cfg.resume) for cfg in week.trained] == [(4, False), (5, False), (5, True), (6, False)]
    assert [cfg.run for cfg in week.scored] == [str(out / f"seed{seed}") for seed in (4, 5, 6)], "each once"
    assert found["this network"]["test_accuracy"] == list(TEST.values())


def test_ones_own_code_goes_on_as_such(week, monkeypatch):
    monkeypatch.setattr(terminal, "mine", lambda: " --mine")
    week.stop = {4: "Ctrl-C"}
    with pytest.raises(Stopped, match=r"saved\. \./course repeat 9 --mine with the same flags, --out "):
        several(week, "--seed", 4)


@pytest.mark.parametrize(("how", "trained"), [("killed", [5, 5]), ("late", [5])])
def test_whatever_ended_it_resume_goes_on(week, how, trained):
    week.stop = {5: how}
    with pytest.raises(MemoryError if how == "killed" else KeyboardInterrupt):
        several(week, "--seed", 4)
    found = several(week, "--seed", 4, "--resume")  # the newest folder of its kind
    assert [cfg.seed for cfg in week.trained] == [4, *trained, 6]
    assert found["this network"]["test_accuracy"] == list(TEST.values())


def test_more_seeds_are_added_to_those_that_are_done(week):
    several(week, "--seed", 4, "--seeds", 1)
    found = several(week, "--seed", 4, "--seeds", 3, "--resume")
    assert [cfg.seed for cfg in week.trained] == [4, 5, 6]
    assert found["this network"]["val_accuracy"] == list(VAL.values())
    assert several(week, "--seed", 4, "--seeds", 2, "--resume")["this network"]["val_accuracy"] == [0.5, 0.6]
    assert len(week.trained) == 3, "nothing is trained twice"


@pytest.mark.parametrize(
    ("flags", "typed"),
    [
        (["--seed", 5], "--seed 4"),
        (["--seed", 4, "--lr", 0.2], "--lr 0.1"),
        (["--seed", 4, "--hidden", 8], "--hidden 4 2"),
        (["--seed", 4, "--no-norm"], "--norm"),
        (["--seed", 4, "--data", "mnist"], "--data sample"),
        (["--seed", 4, "--preset", "smoke"], "--epochs 1"),
    ],
)
def test_seeds_of_another_training_are_no_seeds_of_this_one(week, flags, typed):
    folder = several(week, "--seed", 4, "--seeds", 1)["run"]
    assert refused(several, week, *flags, "--resume") == f"{folder} was begun with {typed}: give it again."
    assert len(week.trained) == 1


def test_a_preset_is_no_more_than_its_flags(week):
    several(week, "--seed", 4, "--seeds", 1, "--preset", "smoke")
    several(week, "--seed", 4, "--seeds", 1, "--epochs", 2, "--resume")
    assert len(week.trained) == 1


def test_what_is_no_folder_of_repeat(week, tmp_path):
    line = "no run of week 9 with a repeat.json yet: `./course repeat 9` makes one."
    assert refused(several, week, "--resume") == line
    folder = runs.create(9, Config())  # one of train
    line = f"{folder} is not a folder of repeat: it has no repeat.json. Leave out --resume."
    assert refused(several, week, "--resume", "--out", folder) == line
    write_json(folder / "repeat.json", {})
    write_json(folder / "config.json", {"heads": 8})
    assert "is not of this program (heads)" in refused(several, week, "--resume", "--out", folder)
    assert week.trained == []


# ---------------------------------------------------------------- --publish, and the program


def test_publish_puts_the_table_into_the_weeks_results(week, tmp_path, monkeypatch):
    published = []
    monkeypatch.setattr(repeat, "publish", lambda *what: published.append(what))
    words = ["--seed", "4", "--seeds", "1", "--data", str(tmp_path / "digits.npz"), "--publish"]
    monkeypatch.setattr(sys, "argv", [str(ROOT / "shared" / "repeat.py"), "9", *words])
    monkeypatch.setattr(repeat.race, "processor", lambda: "A processor (AVX2)")
    monkeypatch.setattr(repeat.race, "cores", lambda: 2)
    several(week, *words)
    ((number, name, text),) = published
    assert (number, name) == (9, "repeat digits")
    about, empty, *table = text.splitlines()
    assert about.startswith(f"*`./course repeat 9 {' '.join(words[:-1])}`: {tmp_path / 'digits.npz'}, 1 seed, cpu, ")
    assert "float32, A processor (AVX2), 2 cores; python 3." in about and about.endswith("*") and empty == ""
    assert table[2] == "| this network | 50.00 ± 0.00 % | 40.00 ± 0.00 % | 1,234 | 4.0 | 1 |"


def test_the_program_is_the_same_for_all_weeks(week, monkeypatch, capsys):
    modules = {"week09_lora.train": week.train, "week09_lora.eval": week.evaluation}
    monkeypatch.setattr(repeat.importlib, "import_module", modules.__getitem__)
    monkeypatch.setattr(sys, "argv", [str(ROOT / "shared" / "repeat.py"), "9", "--seed", "4", "--seeds", "2"])
    repeat.program(9)
    assert [cfg.seed for cfg in week.trained] == [4, 5]
    assert "| this network | 55.00 ± 7.07 % |" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [str(ROOT / "shared" / "repeat.py"), "9", "--sedes", "4"])
    with pytest.raises(SystemExit) as ended:
        repeat.program(9)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: --sedes: no such flag; did you mean --seeds?\n"


@pytest.mark.parametrize("words", [[], ["17"], ["--seeds", "5"]])
def test_without_a_week_it_asks_for_one(words):
    done = started("shared.repeat", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: which week? For example: ./course repeat 2 --seeds 5\n"
