"""Variants × seeds: trained once, kept, gone on with, side by side, and summed up as mean ± standard deviation."""

import json
import math
import multiprocessing
import signal
import statistics
from dataclasses import dataclass

import numpy as np
import pytest
from programs import refused

from shared import cli, trials
from shared.errors import Stopped
from shared.files import read_json
from shared.loop import Loop
from shared.trials import StudyConfig


def made_up(flags, threads):
    return {"val_accuracy": flags["lr"], "seconds": 1.25, "threads": threads}


def never(flags, threads):
    pytest.fail("trained again")


# ---------------------------------------------------------------- trainings, each of them kept


def test_a_training_is_known_by_its_flags_in_any_order():
    assert trials.key({"lr": 0.1, "net": "resnet"}) == trials.key({"net": "resnet", "lr": 0.1})
    assert trials.key({"lr": 0.1}) != trials.key({"lr": 0.2}) != trials.key({"lr": 0.2, "seed": 1})
    assert trials.key({"hidden": (1, 2)}) == trials.key({"hidden": [1, 2]}), "as JSON keeps them"


def test_equal_flags_are_trained_once_and_what_is_kept_is_not_trained_again(tmp_path):
    trained = []

    def one(flags, threads):
        trained.append(flags["lr"])
        return made_up(flags, threads)

    first = {"a": {"lr": 0.1}, ("b", 0): {"lr": 0.2}, "again a": {"lr": 0.1}}
    rows = trials.run_all(first, one, tmp_path, 1, 3)
    assert trained == [0.1, 0.2] and list(rows) == ["a", ("b", 0), "again a"]
    assert rows["a"] == rows["again a"] == {"flags": {"lr": 0.1}, "val_accuracy": 0.1, "seconds": 1.25, "threads": 3}
    assert trials.run_all(first | {"c": {"lr": 0.3}}, one, tmp_path, 1)[("b", 0)] == rows[("b", 0)]
    assert trained == [0.1, 0.2, 0.3]
    assert len(list(tmp_path.iterdir())) == 3
    assert trials.run_all(first, never, tmp_path, 1) == rows


def test_flags_with_tuples_are_found_again(tmp_path):
    todo = {"a": {"lr": 0.1, "hidden": (4, 2)}}
    trials.run_all(todo, made_up, tmp_path, 1)
    assert trials.run_all(todo, never, tmp_path, 1)["a"]["val_accuracy"] == 0.1


def test_it_tells_of_every_training_that_has_ended(tmp_path, capsys):
    def one(flags, threads):
        return {
            "good": {"val_accuracy": 0.5, "seconds": 12.34},
            "loss": {"val_loss": 0.5, "seconds": 2.0},
            "lost": {"diverged": True},
            "other": {"perplexity": 3.0},
        }[flags["how"]]

    todo = {("dropout 0.3", 7): {"how": "good"}, "by loss": {"how": "loss"}, "too large": {"how": "lost"}}
    trials.run_all(todo | {"other": {"how": "other"}, "the same": {"how": "good"}}, one, tmp_path, 1)
    assert capsys.readouterr().out == (
        "  1 of 4   val 50.00%    12.3 s   dropout 0.3, 7\n"
        "  2 of 4   val 0.5000     2.0 s   by loss\n"
        "  3 of 4   diverged       0.0 s   too large\n"
        "  4 of 4   done           0.0 s   other\n"
    )
    trials.run_all(todo, never, tmp_path, 1)
    assert capsys.readouterr() == ("", ""), "nothing to do, nothing to tell"


def test_ctrl_c_loses_one_training_and_the_same_call_goes_on(tmp_path):
    todo = {str(lr): {"lr": lr} for lr in (0.1, 0.2, 0.3)} | {"0.2 again": {"lr": 0.2}}

    def interrupted(flags, threads):
        if flags["lr"] == 0.2:
            raise KeyboardInterrupt
        return made_up(flags, threads)

    with pytest.raises(Stopped, match=r"^stopped with 2 trainings to go; the same command goes on\.$"):
        trials.run_all(todo, interrupted, tmp_path, 1)
    assert len(list(tmp_path.iterdir())) == 1
    assert [row["val_accuracy"] for row in trials.run_all(todo, made_up, tmp_path, 1).values()] == [0.1, 0.2, 0.3, 0.2]


@dataclass
class Config:
    seed: int = 0


def by_a_loop(flags, threads):
    """A training by a Loop that keeps nothing, in which Ctrl-C is pressed."""
    with Loop(Config(), None, 6, 3) as loop:
        for _ in loop.epochs():
            for _ in loop.batches(range(3)):
                loop.add(0.5)
                if loop.step == 2:
                    signal.raise_signal(signal.SIGINT)
            loop.row(loss=0.5)
    return {"val_accuracy": 0.5}


def test_ctrl_c_inside_a_loop_is_heard(tmp_path):
    with pytest.raises(Stopped, match=r"^stopped with 1 training to go; the same command goes on\.$"):
        trials.run_all({"a": {}}, by_a_loop, tmp_path, 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [{"flags": {"lr": 0.2}}, {"lr": 0.1}, [1], None])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / f"{trials.key({'lr': 0.1})}.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    message = f"{path} is not a training of this program. Delete it, or choose another --out."
    assert refused(trials.run_all, {"a": {"lr": 0.1}}, never, tmp_path, 1) == message
    path.write_text('{"flags":', encoding="utf-8")
    assert refused(trials.run_all, {"a": {"lr": 0.1}}, never, tmp_path, 1).startswith(f"{path} is not readable JSON")


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    line = f"--out {tmp_path / 'file'}: a file, should be a folder."
    assert refused(trials.run_all, {"a": {"lr": 0.1}}, never, tmp_path / "file" / "rows", 1) == line


def test_two_processes(tmp_path):
    # dict.fromkeys(flags, threads): a "training" that a new process knows without importing this file
    todo = {name: {"seconds": number, "lr": 0.1} for number, name in enumerate("abc")}
    rows = trials.run_all(todo, dict.fromkeys, tmp_path, 2, 7)
    assert [row["flags"] for row in rows.values()] == list(todo.values())
    assert all((row["seconds"], row["lr"]) == (7, 7) for row in rows.values())
    assert len(list(tmp_path.iterdir())) == 3 and not multiprocessing.active_children()
    kept = [read_json(path) for path in tmp_path.iterdir()]
    assert sorted(kept, key=str) == sorted(rows.values(), key=str)


def test_a_diverged_training_is_kept_as_such(tmp_path):
    todo = {"a": {"lr": 1e30}}
    rows = trials.run_all(todo, lambda flags, threads: {"diverged": True, "seconds": 0.5}, tmp_path, 1)
    assert trials.run_all(todo, never, tmp_path, 1) == rows == {
        "a": {"flags": {"lr": 1e30}, "diverged": True, "seconds": 0.5}
    }  # fmt: skip


def test_how_many_side_by_side(monkeypatch):
    monkeypatch.setattr(trials, "cores", lambda: 6)
    assert [trials.side_by_side(0), trials.side_by_side(3), trials.side_by_side(0, "cuda")] == [6, 3, 1]
    assert trials.side_by_side(2, "cuda") == 2


# ---------------------------------------------------------------- seeds, means, tables


def test_every_variant_gets_every_seed():
    cfg = StudyConfig(seed=7, seeds=2)
    variants = {"plain": {"lr": 0.1, "seed": 0}, "dropout": {"lr": 0.1, "dropout": 0.3}}
    found = trials.over_seeds(variants, trials.seeds(cfg))
    assert found == {
        ("plain", 7): {"lr": 0.1, "seed": 7},
        ("plain", 8): {"lr": 0.1, "seed": 8},
        ("dropout", 7): {"lr": 0.1, "dropout": 0.3, "seed": 7},
        ("dropout", 8): {"lr": 0.1, "dropout": 0.3, "seed": 8},
    }
    assert list(found) == [("plain", 7), ("plain", 8), ("dropout", 7), ("dropout", 8)]
    assert variants["plain"]["seed"] == 0, "and the variants stay as they are"


def test_mean_and_standard_deviation():
    values = [0.70, 0.72, 0.77]
    assert trials.mean_std(values) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert trials.mean_std([0.5]) == (0.5, 0.0), "from one seed nothing is known of the spread"
    assert trials.plus_minus("test_accuracy", values) == "73.00 ± 3.61 %"
    assert trials.plus_minus("val_loss", values) == "0.7300 ± 0.0361"


def test_difference_and_its_standard_error():
    ours, theirs = [0.70, 0.72, 0.74], [0.60, 0.61, 0.59, 0.60]
    gain, error = trials.difference(ours, theirs)
    assert gain == pytest.approx(0.12)
    assert error == pytest.approx(math.sqrt(np.var(ours, ddof=1) / 3 + np.var(theirs, ddof=1) / 4))
    assert trials.difference([0.5], [0.25]) == trials.difference([0.5], [0.2, 0.3]) == (0.25, 0.0)


METRICS = ("val_accuracy", "val_loss", "seconds")


def row(accuracy, seconds=10.0):
    return {"val_accuracy": accuracy, "val_loss": 1 - accuracy, "seconds": seconds}


ROWS = {
    ("plain", 0): row(0.5), ("plain", 1): row(0.6, 20.0), ("plain", 2): row(0.7, 30.0),
    ("shaky", 0): {"diverged": True, "seconds": 1.0}, ("shaky", 1): row(0.4), ("shaky", 2): row(0.6),
    ("once", 0): row(0.9) | {"diverged": False},
    ("lost", 0): {"diverged": True}, ("lost", 1): {"diverged": True},
    ("no loss", 0): {"val_accuracy": 0.25, "seconds": 3.0},
}  # fmt: skip


def test_summaries_are_over_the_seeds_that_came_to_an_end():
    found = trials.summaries(ROWS, METRICS)
    assert list(found) == ["plain", "shaky", "once", "lost", "no loss"]
    assert found["plain"] == {
        "seeds": 3, "diverged": 0, "val_accuracy": (pytest.approx(0.6), pytest.approx(0.1)),
        "val_loss": (pytest.approx(0.4), pytest.approx(0.1)), "seconds": (20.0, 10.0),
    }  # fmt: skip
    assert (found["shaky"]["seeds"], found["shaky"]["diverged"]) == (3, 1)
    assert found["shaky"]["val_accuracy"] == pytest.approx((0.5, statistics.stdev([0.4, 0.6])))
    assert found["lost"] == {"seeds": 2, "diverged": 2}
    assert found["no loss"].keys() == {"seeds", "diverged", "val_accuracy", "seconds"}


def test_table_of_summaries():
    assert (
        trials.mean_table(trials.summaries(ROWS, METRICS), METRICS)
        == """\
|  | val accuracy | val loss | seconds | n |
| --- | --- | --- | --- | --- |
| plain | 60.00 ± 10.00 % | 0.4000 ± 0.1000 | 20.0 ± 10.0 | 3 |
| shaky | 50.00 ± 14.14 % | 0.5000 ± 0.1414 | 10.0 ± 0.0 | 1 of 3 diverged |
| once | 90.00 ± 0.00 % | 0.1000 ± 0.0000 | 10.0 ± 0.0 | 1 |
| lost |  |  |  | 2 of 2 diverged |
| no loss | 25.00 ± 0.00 % |  | 3.0 ± 0.0 | 1 |"""
    )


def test_flags_of_a_study():
    presets = {"smoke": {"seeds": 1}, "quick": {}}
    assert cli.parse(StudyConfig, presets, ["--preset", "smoke"]) == StudyConfig(seeds=1, preset="smoke")
    for flag, value, line in (
        ("--seeds", "0", "--seeds 0: must be at least 1."),
        ("--jobs", "-1", "--jobs -1: must be 0 or more."),
        ("--threads", "0", "--threads 0: must be at least 1."),
    ):
        assert refused(cli.parse, StudyConfig, presets, [flag, value]) == line
    assert refused(cli.parse, StudyConfig, presets, ["--resume"]).startswith("--resume: no such flag")
