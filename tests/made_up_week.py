"""A week made up for the tests of exercises, in a small copy of the repository."""

import json
import os
import re
import shutil
import subprocess
import sys

from shared.files import ROOT

MODEL = '''"""A made-up model."""


def add(a: float, b: float) -> float:
    """The sum."""
    # exercise 1: a sum of two numbers
    # two numbers -> a "sum", as a number
    # TAB
    # hint: write a "plus" b; this text goes on for so long that it does not fit into one line of 80 characters,
    # and so must be wrapped.

    # the secret of the sum
    return a + b
    # end of exercise 1


class Statistics:
    def mean(self, values: list) -> float:
        total = 0.0
        if values:
            # exercise 2: the mean, its sum
            # the values -> their sum, in `total`
            # hint: Add the values up with `add`.
            for value in values:
                total = add(total, value)
            # end of exercise 2
        return total / len(values)

    def double_mean(self, values: list) -> float:
        # exercise 2: the mean, doubled
        # the values -> twice their mean
        return 2 * self.mean(values)
        # end of exercise 2


def negative(a: float) -> float:
    # exercise 3: a sign
    # a number -> minus that
    # hint: 0 minus it
    return -a
    # end of exercise 3
'''.replace("TAB", "A backslash: \\t.")

HINTS = re.compile(r" *# hint: .*?\n(?=\n|  +[^# ])", re.DOTALL)
MODEL_WITHOUT_HINTS = HINTS.sub("", MODEL)

TESTS = '''"""Tests of the made-up week."""

import numpy as np
import pytest

from week01_numpy_mlp.model import Statistics, add, negative
from week01_numpy_mlp.helper import HELP


@pytest.mark.exercise(1)
def test_add():
    assert add(1.0, 2.0) == 3.0, "1 + 2 is 3"


@pytest.mark.exercise(1)
def test_add_negative():
    assert add(1.0, -2.0) == -1.0


@pytest.fixture
def mean():
    return Statistics().mean([1.0, 3.0])


@pytest.mark.exercise(2)
def test_mean(mean):
    np.testing.assert_allclose(mean, 2.0)


@pytest.mark.exercise(2)
def test_double_mean():
    assert Statistics().double_mean([1.0, 3.0]) == 4.0


@pytest.mark.exercise(3)
def test_negative():
    assert negative(2.0) == -2.0, f"minus 2 is {negative(2.0)}, should be -2.0"


def test_that_is_no_exercise():
    assert HELP == "not run by check"
'''

TRAIN = '''"""Says what it was given, and whose model it has."""

import sys

from week01_numpy_mlp import helper, model

print(__name__, sys.argv[1:], model.__file__, helper.__file__)
sys.exit(7)
'''


BUGS = """[[bug]]
title = "a sum that subtracts"
piece = 1
file = "model.py"
old = "return a + b"
new = "return a - b"
symptom = "sums come out too small."
look = "train 1 --mine FOLDER --impl scratch"
story = "A minus sign is next to the plus."
seen = "nowhere/at-all#1."
says = "1 + 2 is 3"

[[bug]]
title = "no sign"
piece = 3
file = "model.py"
old = "return -a"
new = "return a"
symptom = "nothing is negative."
story = "Forgotten."
seen = "nowhere/at-all#2."
says = "minus 2"
"""


def build(base):
    """A small copy of the repository with one made-up week."""
    root = base / "a house"
    modules = [
        "__init__",
        "assets",
        "errors",
        "files",
        "models",
        "plan",
        "starting",
        "terminal",
        "type_words",
        "venv",
        "wheels",
        *(path.stem for path in (ROOT / "shared").glob("exercise*.py")),
    ]
    for name in [*(f"shared/{module}.py" for module in modules), "conftest.py", "tests/conftest.py", "pyproject.toml"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    week = {
        "__init__.py": '"""A week."""\nfrom shared.plan import Week\n'
        'WEEK = Week(1, "A week", "", "", "", "", (), mine="--impl scratch")\n',
        "model.py": MODEL,
        "train.py": TRAIN,
        "helper.py": '"""Help."""\n\nHELP = ""\n',
    }
    for name, text in week.items():
        (root / "week01_numpy_mlp" / name).parent.mkdir(exist_ok=True)
        (root / "week01_numpy_mlp" / name).write_text(text, encoding="utf-8")
    (root / "shared/repeat.py").write_text(TRAIN, encoding="utf-8")
    (root / "tests/test_week01_made_up.py").write_text(TESTS, encoding="utf-8")
    (root / "tests/bugs_week01.toml").write_text(BUGS, encoding="utf-8")
    return root


def run(house, *arguments, encoding="utf-8"):
    """`python -m shared.exercise_commands …` in the copy: (exit code, stdout, stderr)."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONUTF8")}
    done = subprocess.run(
        [sys.executable, "-m", "shared.exercise_commands", *arguments],
        cwd=house,
        env={**environment, "PYTHONIOENCODING": encoding},
        capture_output=True,
        encoding=encoding,
    )
    return done.returncode, done.stdout, done.stderr


def mine(house):
    return house / "exercises" / "week01" / "model.py"


def put(house, text):
    """Writes the learner's model."""
    mine(house).parent.mkdir(parents=True, exist_ok=True)
    mine(house).write_text(text, encoding="utf-8")


def progress(house):
    return json.loads((house / "exercises/week01/progress.json").read_text(encoding="utf-8"))


def lines_of(check_output):
    return [line for line in check_output.splitlines() if line.startswith(("✓", "✗", "·"))]
