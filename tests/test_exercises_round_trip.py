"""Every week's exercises there and back: stubs are not written, the reference passes, and no piece passes as a stub."""

import json
import os
import subprocess
import sys

import pytest

from shared import exercise, exercise_check, plan
from shared.files import ROOT

WEEKS = [number for number in range(1, len(plan.FOLDERS) + 1) if plan.is_there(number)]

# Runs pytest once per variant in one process, because importing torch and the like takes longer than the tests.
# What belongs to the week is imported anew each time; of a variant with a piece, only the tests of that piece run.
RUN_VARIANTS = """
import json, sys
import pytest

class Only:
    def __init__(self, piece):
        self.piece = piece

    def pytest_collection_modifyitems(self, items):
        items[:] = [i for i in items if any(m.args[0] == self.piece for m in i.iter_markers("exercise"))]

for piece, arguments in json.load(sys.stdin):
    pytest.main(arguments, plugins=[Only(piece)] if piece else [])
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


@pytest.mark.parametrize("number", WEEKS)
def test_the_reference_passes_and_no_piece_passes_as_a_stub(number, tmp_path):
    week = ROOT / plan.folder(number)
    todo = exercise.pieces(week)
    variants = {}
    for piece in [0, *sorted({piece.number for piece in todo})]:  # 0: nothing is stubbed
        folder = tmp_path / str(piece) / f"week{number:02}"
        folder.mkdir(parents=True)
        for name in {piece.file for piece in todo}:
            text = with_one_stub(exercise.read(week / name), piece)
            assert piece or text == exercise.read(week / name)
            (folder / name).write_text(text, encoding="utf-8")
        report = folder.parent / "report.xml"
        variants[piece] = folder, report, exercise_check.pytest_arguments(number, folder, report)
    done = subprocess.run(
        [sys.executable, "-c", RUN_VARIANTS],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "COURSE_RECORD_TESTS"},
        input=json.dumps([(piece, arguments) for piece, (_, _, arguments) in variants.items()]),
        capture_output=True,
        encoding="utf-8",
    )
    for piece, (folder, report, _) in variants.items():
        assert report.is_file(), done.stdout + done.stderr
        outcomes = exercise_check.read_report(report, folder)
        verdicts = exercise_check.judge(todo, folder, outcomes)
        if piece == 0:
            assert {status for status, _ in verdicts.values()} == {"passed"}, verdicts
        else:
            reached = [o for o in outcomes if o.message.startswith(f"NotImplementedError: exercise {piece}, ")]
            assert reached, f"no test of exercise {piece} of week {number} calls what it asks for"
            assert verdicts[piece][0] == "not written"
