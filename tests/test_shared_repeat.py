"""Several seeds of one training: who is trained and scored, what is told and kept."""

import statistics
from dataclasses import dataclass
from types import ModuleType

import pytest

from shared import cli, repeat
from shared.errors import CourseError
from shared.files import read_json


@dataclass
class TrainConfig(cli.CommonConfig):
    epochs: int = 1


@dataclass
class Config(TrainConfig):
    seeds: int = 3


@dataclass
class EvalConfig(cli.CommonConfig):
    run: str = ""


VAL, TEST = {4: 0.5, 5: 0.6, 6: 0.8}, {4: 0.4, 5: 0.7, 6: 0.7}


def week():
    """A train.py and an eval.py that take no time, and the configs that they were called with."""
    trained = {}

    def main(cfg):
        print("not to be seen")
        trained[cfg.out] = cfg
        return {"run": cfg.out}

    def score(cfg):
        seed = trained[cfg.run].seed
        cnn = {"name": "CNN", "val_accuracy": 0.3, "test_accuracy": 0.2, "params": 5, "seconds": 1.0}
        trivial = {"name": "words", "val_accuracy": 0.1, "test_accuracy": 0.1, "params": 7, "seconds": 0.5, "cnn": cnn}
        trivial |= {"majority": {"val_accuracy": 0.1}}
        scores = {"val_accuracy": VAL[seed], "test_accuracy": TEST[seed]}
        return {"seed": seed, "metrics": scores, "params": 1234, "seconds": float(seed), "baseline": trivial}

    train, evaluation = ModuleType("train"), ModuleType("eval")
    vars(train).update(Config=TrainConfig, main=main, check=lambda cfg: None, WEEK_NUMBER=9)
    vars(evaluation).update(Config=EvalConfig, main=score)
    return train, evaluation, trained


def test_mean_and_spread_of_every_contestant(tmp_path, capsys):
    train, evaluation, trained = week()
    summary = repeat.several(train, evaluation, Config(seed=4, epochs=7, device="cpu", out=str(tmp_path)))
    assert [(cfg.seed, cfg.epochs, cfg.device) for cfg in trained.values()] == [(s, 7, "cpu") for s in (4, 5, 6)]
    assert list(trained) == [str(tmp_path / f"seed{seed}") for seed in (4, 5, 6)]
    ours = [(statistics.mean(of.values()), statistics.stdev(of.values())) for of in (VAL, TEST)]
    assert summary["this network"] == {"val_accuracy": ours[0], "test_accuracy": ours[1], "seconds": 5.0}
    assert list(summary) == ["this network", "CNN", "words"]
    output = capsys.readouterr().out
    assert output.startswith("seed 4: val 50.00%, test 40.00%\nseed 5:") and "not to be seen" not in output
    assert "| this network | 63.33% ± 15.28 | 60.00% ± 17.32 | 1,234 | 5.0 | 3 |\n" in output
    assert "| words | 10.00% ± 0.00 | 10.00% ± 0.00 | 7 | 0.5 | 3 |\n" in output
    assert [run["seed"] for run in read_json(tmp_path / "repeat.json")["runs"]] == [4, 5, 6]


def test_one_seed_has_no_spread(tmp_path):
    train, evaluation, _ = week()
    summary = repeat.several(train, evaluation, Config(seed=4, seeds=1, out=str(tmp_path)))
    assert summary["this network"]["val_accuracy"] == (0.5, 0.0)


def test_no_seed_at_all_is_refused(tmp_path):
    train, evaluation, trained = week()
    with pytest.raises(CourseError, match=r"^--seeds 0: must be at least 1\.$"):
        repeat.several(train, evaluation, Config(seeds=0, out=str(tmp_path)))
    assert not trained
