"""`./course list`: every cell of it, and that no damaged file stops it."""

import json
import re

import pytest

from shared import overview, plan

WEEK = plan.Week(
    number=1,
    title="A week",
    lesson="",
    time="",
    result="",
    picture="",
    targets=(
        plan.Target("sample", "test_accuracy", 0.95),
        plan.Target("text", "val_loss", 1.5, higher_is_better=False),
    ),
)


@pytest.fixture(autouse=True)
def one_week(monkeypatch):
    monkeypatch.setattr(plan, "week", lambda number: WEEK if number == 1 else None)


def write(root, name, value):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def run(root, name, data, **metrics):
    return write(root, f"runs/week01/{name}/result.json", {"data": data, "metrics": metrics})


def row(root, colour=False):
    return overview.table(root, colour).splitlines()[1]


def test_an_empty_course_has_sixteen_rows_that_fit(tmp_path):
    lines = overview.table(tmp_path).splitlines()
    assert len(lines) == 18
    assert re.fullmatch(r" +1 A week +- +- +- +-", lines[1])
    assert lines[2].split() == ["2", "week02_cnn", "not", "here", "yet"]
    assert lines[16].split()[:2] == ["16", "week16_capstone"]
    assert all("\033" not in line for line in lines)


def test_the_best_run_stands_against_its_target(tmp_path):
    run(tmp_path, "a", "sample", test_accuracy=0.97123)
    assert "✓ sample: test accuracy 0.9712 (0.95) " in row(tmp_path)
    run(tmp_path, "b", "sample", test_accuracy=0.5)
    assert "✓ sample: test accuracy 0.9712 (0.95) " in row(tmp_path)
    (tmp_path / "runs/week01/a/result.json").unlink()
    assert "✗ sample: test accuracy 0.5 (0.95) " in row(tmp_path)


def test_lower_is_better_where_the_target_says_so(tmp_path):
    run(tmp_path, "a", "text", val_loss=1.25)
    run(tmp_path, "b", "text", val_loss=1.75)
    assert "✓ text: val loss 1.25 (1.5) " in row(tmp_path)


def test_a_run_that_has_no_score_to_compare_says_what_it_is(tmp_path):
    run(tmp_path, "a", "sample", val_accuracy=0.9)
    assert "trained; ./course eval 1 scores it" in row(tmp_path)
    run(tmp_path, "a", "/home/me/my photos", val_accuracy=0.9)
    assert "trained on my photos" in row(tmp_path)
    run(tmp_path, "b", "/home/me/my photos", test_accuracy=0.875)
    assert "  my photos: test accuracy 0.875 " in row(tmp_path)


def test_a_smoke_run_is_held_against_nothing(tmp_path):
    run(tmp_path, "a", "sample", test_accuracy=0.5)
    write(tmp_path, "runs/week01/a/config.json", {"preset": "smoke"})
    assert "  trained (smoke) " in row(tmp_path) and "✗" not in row(tmp_path)
    run(tmp_path, "b", "sample", test_accuracy=0.4)
    write(tmp_path, "runs/week01/b/config.json", {"preset": "quick"})
    assert "✗ sample: test accuracy 0.4 (0.95) " in row(tmp_path), "the smoke run's 0.5 is no best run"


def test_tests_and_exercises_are_counted(tmp_path):
    counts = {"week01": {"passed": 41, "failed": 0, "skipped": 1}, "shared": {"passed": 9, "failed": 2, "skipped": 0}}
    write(tmp_path, "runs/tests.json", counts)
    (tmp_path / "exercises/week01").mkdir(parents=True)
    assert row(tmp_path).split()[-4:] == ["41", "passed", "begun", "-"]
    write(tmp_path, "exercises/week01/progress.json", {"1": "passed", "2": "failed", "3": "not written"})
    assert re.search(r" 41 passed +1 of 3 +-$", row(tmp_path))
    write(tmp_path, "exercises/week01/hints.json", {"1": 2, "2": 4})
    assert re.search(r" 1 of 3, 1 hinted +-$", row(tmp_path)), "the second is not solved yet"
    write(tmp_path, "tests/bugs_week01.toml", "[[bug]]\n[[bug]]\n")
    write(tmp_path, "exercises/week01-bug2/progress.json", {"1": "passed", "2": "failed"})
    assert row(tmp_path).endswith(" -")
    write(tmp_path, "exercises/week01-bug2/progress.json", {"1": "passed", "2": "passed"})
    assert row(tmp_path).endswith(" 1 of 2")
    assert overview.table(tmp_path).splitlines()[-1].split() == ["shared", "by", "all", "weeks", "2", "failed"]


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        "\x00",
        '{"data": 5, "metrics": 7}',
        '{"data": "sample", "metrics": 7}',
        '{"data": "sample", "metrics": {"test_accuracy": "x"}}',
    ],
)
def test_damaged_files_do_not_stop_it(tmp_path, damaged):
    for name in (
        "runs/week01/a/result.json",
        "runs/tests.json",
        "exercises/week01/progress.json",
        "exercises/week01/hints.json",
    ):
        write(tmp_path, name, damaged)
    write(tmp_path, "runs/week01/bytes/result.json", "").write_bytes(b"\xff\xfe\xff")
    assert row(tmp_path).startswith("   1 A week")
    run(tmp_path, "whole", "sample", test_accuracy=0.96)
    assert "0.96 (0.95)" in row(tmp_path)


def test_a_week_that_does_not_start_says_so(tmp_path, monkeypatch):
    def broken(number):
        raise SyntaxError("invalid syntax")

    monkeypatch.setattr(plan, "week", broken)
    assert row(tmp_path).split(maxsplit=2)[2] == "✗ does not start: SyntaxError: invalid syntax"


def test_long_texts_are_cut_and_columns_stay_aligned(tmp_path):
    run(tmp_path, "a", "/data/" + "long" * 30)
    write(tmp_path, "runs/tests.json", {"week01": {"passed": 5, "failed": 0, "skipped": 0}})
    heading, first = overview.table(tmp_path).splitlines()[:2]
    assert heading.index("tests") == first.index("5 passed")
    assert "…" in first
    assert max(map(len, overview.table(tmp_path).splitlines())) <= 100


def test_colour_only_on_a_terminal_and_not_against_no_color(tmp_path, monkeypatch):
    run(tmp_path, "a", "sample", test_accuracy=0.96)
    assert "\033[32m✓ sample" in row(tmp_path, colour=True)
    assert re.sub(r"\033\[\d+m", "", row(tmp_path, colour=True)) == row(tmp_path)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("WT_SESSION", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert overview.colour_wanted()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not overview.colour_wanted()


def test_the_weeks_that_have_a_report_are_named(tmp_path):
    assert overview.reports(tmp_path) == "no reports yet: ./course report N writes the public update on a week"
    write(tmp_path, "reports/week01/report.md", "")
    assert overview.reports(tmp_path) == "reports: week 1; ./course portfolio puts all that is done on one page"
    write(tmp_path, "reports/week12/report.md", "")
    assert overview.reports(tmp_path).startswith("reports: weeks 1, 12; ")
