"""The plan, and what the weeks that are there say of themselves."""

import re

import pytest

from shared import plan
from shared.files import ROOT
from shared.plan import Target

HERE = [number for number in range(1, 17) if plan.is_there(number)]


def test_sixteen_folders_in_order():
    assert len(plan.FOLDERS) == 16
    for number, folder in enumerate(plan.FOLDERS, start=1):
        assert re.fullmatch(rf"week{number:02d}_[a-z][a-z_]*", folder)
        assert plan.folder(number) == folder


def test_every_week_that_is_there_is_in_the_plan():
    assert {path.parent.name for path in ROOT.glob("week*/__init__.py")} == {plan.folder(number) for number in HERE}


def test_week_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setattr(plan, "ROOT", tmp_path)
    assert not plan.is_there(1)
    assert plan.week(1) is None


@pytest.mark.parametrize("number", HERE)
def test_week_says_everything(number):
    week = plan.week(number)
    assert week.number == number
    for name in ("title", "lesson", "time", "result", "picture"):
        text = getattr(week, name)
        assert text == text.strip() != "", name
        assert "\n" not in text, name
        assert not re.search(r"to be measured|TODO|TBD|\?\?", text), f"{name}: {text}"
    assert week.targets


@pytest.mark.parametrize("number", HERE)
def test_weeks_picture_is_there(number):
    picture = ROOT / plan.folder(number) / plan.week(number).picture
    assert picture.read_bytes().startswith(b"\x89PNG\r\n"), picture


@pytest.mark.parametrize(
    ("higher_is_better", "measured", "reached"),
    [(True, 0.95, True), (True, 0.949, False), (True, 1.0, True), (False, 0.95, True), (False, 0.951, False)],
)
def test_target(higher_is_better, measured, reached):
    assert Target("sample", "test_accuracy", 0.95, higher_is_better).reached(measured) is reached
