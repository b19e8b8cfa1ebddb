"""Bounds and choices as types: what each kind allows, and the words in which it refuses the rest."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Gt, Le, Lt
from programs import refused

from shared import config
from shared.config import Count, EvalConfig, Natural, NonNegative, Positive, Seed, Share, TrainConfig

NAN, INF = math.nan, math.inf


def said(kind, value) -> list[str]:
    """What config.wrong says of a value of this type."""
    return [f"{config.shown(item)}: must be {must}." for item, must in config.wrong(value, kind)]


ALLOWED = [
    (Positive, [5e-324, 0.1, 1e30, 2]),
    (NonNegative, [0.0, -0.0, 0.5]),
    (Share, [0.0, 0.9999999, 0]),
    (Count, [1, 10**12]),
    (Natural, [0, 7]),
    (Seed, [0, 2**32 - 1]),
    (Annotated[int, Ge(8), Le(1024)], [8, 1024]),
    (Annotated[float, Gt(0), Le(1)], [1.0, 1e-9]),
    (float, [-1.5, 0.0]),
    (int, [-3]),
    (str, ["", "nan"]),
    (bool, [True, False]),
    (Literal["max", "avg"], ["max", "avg"]),
    (Literal[3, 5], [5]),
    (tuple[Count, ...], [(), (1, 2)]),
    (tuple[Literal["a", "b"], ...], [(), ("a", "b", "a")]),
]


@pytest.mark.parametrize(("kind", "values"), ALLOWED, ids=[str(kind) for kind, _ in ALLOWED])
def test_the_edges_of_what_is_allowed_are_allowed(kind, values):
    for value in values:
        assert said(kind, value) == [], value


@pytest.mark.parametrize(
    ("kind", "value", "lines"),
    [
        (Positive, -1.0, ["-1: must be above 0."]),
        (Positive, 0.0, ["0: must be above 0."]),
        (Positive, NAN, ["nan: must be a finite number."]),
        (Positive, INF, ["inf: must be a finite number."]),
        (Positive, 1e39, ["1e+39: must be at most 1e+30."]),
        (Positive, -1e-9, ["-1e-09: must be above 0."]),
        (NonNegative, -1e-4, ["-0.0001: must be 0 or more."]),
        (NonNegative, INF, ["inf: must be a finite number."]),
        (Share, 1.0, ["1: must be from 0 to below 1."]),
        (Share, 1, ["1: must be from 0 to below 1."]),
        (Share, -0.1, ["-0.1: must be from 0 to below 1."]),
        (Share, NAN, ["nan: must be a finite number."]),
        (Count, 0, ["0: must be at least 1."]),
        (Natural, -1, ["-1: must be 0 or more."]),
        (Seed, -1, ["-1: must be from 0 to 4294967295."]),
        (Seed, 2**32, ["4294967296: must be from 0 to 4294967295."]),
        (float, NAN, ["nan: must be a finite number."]),
        (float, -INF, ["-inf: must be a finite number."]),
        (Literal["max", "avg"], "mean", ["mean: must be one of max, avg."]),
        (Literal[3, 5], 4, ["4: must be one of 3, 5."]),
        (tuple[Count, ...], (3, 0, -1), ["0: must be at least 1.", "-1: must be at least 1."]),
        (tuple[float, ...], (0.5, NAN), ["nan: must be a finite number."]),
        (tuple[Literal["a", "b"], ...], ("a", "c"), ["c: must be one of a, b."]),
        (Annotated[tuple[Count, ...], "whatever"], (0,), ["0: must be at least 1."]),
        (Annotated[int, Ge(8), Le(1024)], 7, ["7: must be from 8 to 1024."]),
        (Annotated[int, Ge(8), Le(1024)], 1025, ["1025: must be from 8 to 1024."]),
        (Annotated[int, Ge(3)], 2, ["2: must be at least 3."]),
        (Annotated[int, Ge(1), Lt(10)], 10, ["10: must be from 1 to 9."]),
        (Annotated[int, Lt(10)], 10, ["10: must be at most 9."]),
        (Annotated[int, Gt(0), Lt(10)], 0, ["0: must be above 0, at most 9."]),
        (Annotated[int, Ge(1_000_000)], 1, ["1: must be at least 1000000."]),
        (Annotated[float, Gt(0), Le(1)], 1.5, ["1.5: must be above 0, at most 1."]),
        (Annotated[float, Gt(0), Lt(0.5)], 0.5, ["0.5: must be above 0 and below 0.5."]),
        (Annotated[float, Ge(0), Le(1)], 2.0, ["2: must be from 0 to 1."]),
        (Annotated[float, Ge(0.5)], 0.1, ["0.1: must be at least 0.5."]),
        (Annotated[float, Le(2.5)], 3.0, ["3: must be at most 2.5."]),
        (Annotated[float, Lt(2.5)], 2.5, ["2.5: must be below 2.5."]),
    ],
)
def test_what_is_refused_and_how(kind, value, lines):
    assert said(kind, value) == lines


@dataclass
class Config(TrainConfig):
    """The flags of a small program."""

    batch_size: Count = 64
    """Examples per step."""
    hidden: tuple[Count, ...] = (4, 2)
    """Neurons."""
    ema_decay: Share = 0.9
    """How much stays."""


def test_check_names_the_flag_as_one_types_it():
    config.check(Config())
    assert refused(config.check, Config(batch_size=0)) == "--batch-size 0: must be at least 1."
    assert refused(config.check, Config(hidden=(8, 0))) == "--hidden 0: must be at least 1."
    assert refused(config.check, Config(ema_decay=1.0)) == "--ema-decay 1: must be from 0 to below 1."
    assert refused(config.check, Config(device="gpu")) == "--device gpu: must be one of auto, cpu, cuda, mps."
    assert refused(config.check, Config(seed=2**32)) == "--seed 4294967296: must be from 0 to 4294967295."


def test_seeds_that_follow_a_seed_have_room():
    @dataclass
    class Several(TrainConfig):
        seeds: Count = 3

    config.check(Several(seed=2**32 - 3))
    line = "--seed 4294967294: must leave room for --seeds 3 below 4294967296."
    assert refused(config.check, Several(seed=2**32 - 2)) == line


def test_no_data_is_not_the_current_folder():
    line = "--data '': must be the name of a data set or a path; the current folder is a dot."
    assert refused(config.check, Config(data="")) == line
    config.check(EvalConfig(data=""))  # the run's own


def test_a_path_to_data_holds_from_any_folder(tmp_path, monkeypatch):
    for name in ("digits", "mnist"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    kept = {"digits": str(tmp_path / "digits"), "sample": "sample", "mnist": "mnist", "nowhere": "nowhere"}
    assert {data: config.with_whole_path(Config(data=data)).data for data in kept} == kept


def test_a_weeks_own_type_takes_the_place_of_the_common_one():
    @dataclass
    class Narrow(Config):
        device: Literal["auto", "cpu"] = "auto"

    assert refused(config.check, Narrow(device="cuda")) == "--device cuda: must be one of auto, cpu."
    assert list(config.hints(Narrow)) == [*vars(TrainConfig()), "batch_size", "hidden", "ema_decay"]


@pytest.mark.parametrize(
    ("name", "value", "typed"),
    [
        ("lr", 0.1, "--lr 0.1"),
        ("lr", 3e-4, "--lr 0.0003"),
        ("lr", 0.1 + 0.2, "--lr 0.30000000000000004"),
        ("max_steps", 7, "--max-steps 7"),
        ("hidden", (4, 2), "--hidden 4 2"),
        ("lrs", [0.1, 1e-5], "--lrs 0.1 1e-05"),
        ("channels_last", True, "--channels-last"),
        ("norm", False, "--no-norm"),
        ("data", "my digits", "--data 'my digits'"),
        ("device", "cpu", "--device cpu"),
    ],
)
def test_flags_are_shown_as_typed(name, value, typed):
    assert config.as_typed(name, value) == typed


@pytest.mark.parametrize(("program", "flags"), [(TrainConfig, 6), (EvalConfig, 5)])
def test_common_flags_have_defaults_that_are_allowed(program, flags):
    config.check(program())
    assert len(config.hints(program)) == flags
