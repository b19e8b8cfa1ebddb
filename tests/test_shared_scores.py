"""What a classifier gets right and wrong: counts by the definitions, the surest mistakes, and images that it knows."""

from pathlib import Path

import numpy as np
import pytest

from shared import runs, scores

NAMES = ("ant", "bee", "cat", "dog", "eel", "fox")


@pytest.fixture(scope="module")
def some():
    """labels of four classes, and what they were taken for, of five; the sixth is neither there nor thought of."""
    rng = np.random.default_rng(0)
    labels, preds = rng.integers(0, 4, 200), rng.integers(0, 5, 200)
    preds[:80] = labels[:80]
    return labels, preds


def test_confusion_matrix_counts(some):
    labels, preds = some
    matrix = scores.confusion_matrix(labels, preds, 6)
    assert matrix.shape == (6, 6) and matrix.sum() == 200
    for i in range(6):
        for j in range(6):
            assert matrix[i, j] == np.sum((labels == i) & (preds == j))


def test_classes_are_scored_by_the_definitions(some, capsys):
    labels, preds = some
    matrix = scores.confusion_matrix(labels, preds, 6)
    scores.print_classes(matrix, NAMES)
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line.strip()}
    for i in range(4):
        found = np.sum((labels == i) & (preds == i))
        recall, precision = found / np.sum(labels == i), found / np.sum(preds == i)
        assert lines[NAMES[i]][1:4] == [str(np.sum(labels == i)), f"{recall:.1%}", f"{precision:.1%}"]
        others = [np.sum((labels == i) & (preds == j)) * (j != i) for j in range(6)]
        assert lines[NAMES[i]][4:] == [NAMES[int(np.argmax(others))], f"({max(others)})"]
    assert lines["eel"][1:] == ["0", "-", "0.0%", "-"], "never there, but thought to be"
    assert "fox" not in lines, "neither there nor thought of"


def test_a_class_that_is_never_mistaken_and_one_that_is_never_called(capsys):
    matrix = scores.confusion_matrix(np.array([0, 0, 1]), np.array([0, 0, 0]), 2)
    scores.print_classes(matrix, ("a class of a longer name", "b"))
    assert (
        capsys.readouterr().out
        == """
class                     images   recall  precision   most often taken for
a class of a longer name       2   100.0%      66.7%   nothing
b                              1     0.0%          -   a class of a longer name (1)
"""
    )


def test_confusion_is_printed_as_it_is(some, capsys):
    labels, preds = some
    scores.print_confusion(scores.confusion_matrix(labels, preds, 6), NAMES)
    rows = capsys.readouterr().out.split("\n")[2:8]
    assert [row.split()[0] for row in rows] == list(NAMES)
    shown = [[0 if n == "." else int(n) for n in row.split()[1:]] for row in rows]
    assert shown == [[int(np.sum((labels == i) & (preds == j))) for j in range(6)] for i in range(6)]
    assert len(set(map(len, rows))) == 1, "in columns"


def test_columns_have_room_for_their_numbers(capsys):
    scores.print_confusion(np.array([[1234567, 0], [3, 12]]), ("automobile", "b"))
    assert capsys.readouterr().out.splitlines() == [
        "",
        " is, thought  automob       b",
        "  automobile  1234567       .",
        "           b        3      12",
    ]


def test_more_classes_than_a_terminal_is_wide(capsys):
    scores.print_confusion(np.eye(21, dtype=np.int64), [str(n) for n in range(21)])
    assert capsys.readouterr().out == ""


def test_surest_mistakes_come_first():
    labels = np.array([0, 1, 0, 1])
    probs = np.array([[0.4, 0.6], [0.9, 0.1], [0.8, 0.2], [0.7, 0.3]], dtype=np.float32)
    rows, titles = scores.surest_mistakes(labels, probs, ("cat", "dog"), 24)
    assert rows.tolist() == [1, 3, 0]
    assert titles == ["dog → cat  90%", "dog → cat  70%", "cat → dog  60%"]
    rows, titles = scores.surest_mistakes(labels, probs, ("cat", "dog"), 2)
    assert rows.tolist() == [1, 3] and len(titles) == 2
    rows, titles = scores.surest_mistakes(np.array([1, 0, 0, 0]), probs, ("cat", "dog"), 24)
    assert rows.tolist() == [] and titles == [], "no mistakes"


def test_of_equally_sure_mistakes_the_first_comes_first():
    probs = np.tile(np.array([[0.25, 0.75], [0.4, 0.6]]), (500, 1))
    rows, _ = scores.surest_mistakes(np.zeros(1000, dtype=np.int64), probs, ("a", "b"), 600)
    assert rows.tolist() == [*range(0, 1000, 2), *range(1, 200, 2)]


def test_pictures_of_other_data_lie_beside_the_runs_own(tmp_path):
    run = runs.Trained(1, tmp_path / "run", None, {}, {})
    assert run.folder_for("", "") == tmp_path / "run"
    assert run.folder_for("", "mnist (test)") == run.folder_for("", "far/mnist.npz") == tmp_path / "run" / "mnist"
    assert run.folder_for("there", "mnist") == run.folder_for("there", "") == Path("there")
