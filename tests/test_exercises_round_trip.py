"""Every week's exercises there and back: stubs are not written, and with one piece missing that piece does not pass.

That the reference itself passes need not be shown here: its tests are those of the week. Held is that what is cut out
and put back is the reference, letter by letter.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared import exercise, exercise_check, plan
from shared.files import ROOT

WEEKS = [number for number in range(1, len(plan.FOLDERS) + 1) if plan.is_there(number)]

# Runs pytest once per variant in one process, because importing torch and the like takes longer than the tests.
# What belongs to the week is imported anew each time; only the tests of the piece run, up to the first that misses it.
RUN_VARIANTS = """
import json, sys
import pytest

class Only:
    def __init__(self, piece):
        self.piece = piece

    def pytest_collection_modifyitems(self, items):
        items[:] = [i for i in items if any(m.args[0] == self.piece for m in i.iter_markers("exercise"))]

for piece, arguments in json.load(sys.stdin):
    pytest.main([*arguments, "--maxfail=1"], plugins=[Only(piece)])
    for name in [name for name in sys.modules if name.startswith(("week", "test_week"))]:
        del sys.modules[name]
"""


def with_one_stub(reference, number):
    """The reference with the regions of piece `number` stubbed: the full stub, and all other solutions put back."""
    stub = exercise.stub(reference)
    lines, solved = stub.split("\n"), reference.split("\n")
    both = zip(exercise.regions(stub, "stub"), exercise.regions(reference, "reference"), strict=True)
    for cut, whole in reversed(list(both)):
        if cut.number != number:
            lines[cut.first - 1 : cut.end - 1] = solved[whole.first - 1 : whole.end - 1]
    return "\n".join(lines)


def is_about_others(word, piece):
    """Whether an argument of pytest is a file without a test of the piece: it need not be imported."""
    return word.endswith(".py") and f"exercise({piece})" not in Path(word).read_text(encoding="utf-8")


@pytest.mark.parametrize("number", WEEKS)
def test_three_to_six_pieces_numbered_from_one_and_no_solution_in_the_stub(number):
    week = ROOT / plan.folder(number)
    todo = exercise.pieces(week)
    numbers = sorted({piece.number for piece in todo})
    assert numbers == list(range(1, len(numbers) + 1)) and 3 <= len(numbers) <= 6
    for name in {piece.file for piece in todo}:
        reference = exercise.read(week / name)
        stub, lines = exercise.stub(reference, name).split("\n"), reference.split("\n")
        solution = [line for p in todo if p.file == name for line in lines[p.first - 1 : p.end - 1] if line.strip()]
        for line in solution:
            assert stub.count(line) == lines.count(line) - solution.count(line), f"{name} gives away: {line.strip()}"
        assert all(len(line) <= 120 for line in stub if line not in lines)


@pytest.mark.parametrize("number", WEEKS)
def test_fresh_stubs_are_not_written_yet(number, tmp_path, capsys):
    week, folder = ROOT / plan.folder(number), tmp_path / f"week{number:02}"
    exercise.write(week, folder)
    capsys.readouterr()
    assert exercise_check.check(week, folder) is False
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len({piece.number for piece in exercise.pieces(week)})
    assert all("not written yet" in line for line in lines)


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """{week: {piece: (folder of the learner's files with that piece missing, report of the piece's tests)}}.

    All in one process, because the imports take longer than the tests.
    """
    found, runs = {}, []
    for number in WEEKS:
        week, base = ROOT / plan.folder(number), tmp_path_factory.mktemp(f"round{number:02}")
        todo = exercise.pieces(week)
        found[number] = {}
        for piece in sorted({piece.number for piece in todo}):
            folder, report = base / str(piece) / f"week{number:02}", base / str(piece) / "report.xml"
            folder.mkdir(parents=True)
            for name in {piece.file for piece in todo}:
                reference = exercise.read(week / name)
                assert with_one_stub(reference, 0) == reference, "cut out and put back"
                (folder / name).write_text(with_one_stub(reference, piece), encoding="utf-8")
            arguments = exercise_check.pytest_arguments(number, folder, report)
            runs.append((piece, [word for word in arguments if not is_about_others(word, piece)]))
            found[number][piece] = folder, report
    done = subprocess.run(
        [sys.executable, "-c", RUN_VARIANTS],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "COURSE_RECORD_TESTS"},
        input=json.dumps(runs),
        capture_output=True,
        encoding="utf-8",
    )
    missing = [report for of_week in found.values() for _, report in of_week.values() if not report.is_file()]
    assert not missing, done.stdout + done.stderr
    return found


@pytest.mark.parametrize("number", WEEKS)
def test_no_piece_passes_as_a_stub(number, reports):
    todo = exercise.pieces(ROOT / plan.folder(number))
    for piece, (folder, report) in reports[number].items():
        outcomes = exercise_check.read_report(report, folder)
        reached = [o for o in outcomes if o.message.startswith(f"NotImplementedError: exercise {piece}, ")]
        assert reached, f"no test of exercise {piece} of week {number} calls what it asks for: {outcomes}"
        assert exercise_check.judge(todo, folder, outcomes)[piece][0] == "not written"
