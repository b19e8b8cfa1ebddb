"""Every week's exercises there and back: stubs are not written, one missing piece does not pass, no planted bug passes.

That the reference itself passes need not be shown here: its tests are those of the week. Held is that what is cut out
and put back is the reference, letter by letter.
"""

import itertools
import json
import os
import subprocess
import sys

import pytest

from shared import exercise, exercise_bugs, exercise_check, plan
from shared.errors import CourseError
from shared.exercise_check import Outcome
from shared.files import ROOT

WEEKS = [number for number in range(1, len(plan.FOLDERS) + 1) if plan.is_there(number)]
every_week = pytest.mark.parametrize("number", WEEKS, ids=lambda number: f"week{number:02}")

# Runs pytest once per variant in one process, because importing torch and the like takes longer than the tests.
# What belongs to the week is imported anew each time; only the tests of the piece run, up to the first that fails.
RUN_VARIANTS = """
import json, sys
import pytest

for name, arguments in json.load(sys.stdin):
    print(f"variant {name}", flush=True)
    pytest.main(arguments)
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
            lines[cut.cut - 1 : cut.end - 1] = solved[whole.cut - 1 : whole.end - 1]
    return "\n".join(lines)


@every_week
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


@every_week
def test_fresh_stubs_are_not_written_yet(number, tmp_path, capsys):
    week, folder = ROOT / plan.folder(number), tmp_path / f"week{number:02}"
    exercise.write(week, folder)
    capsys.readouterr()
    assert exercise_check.check(week, folder) is False
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len({piece.number for piece in exercise.pieces(week)})
    assert all("not written yet" in line for line in lines)


def with_bug(number, bug):
    """The text of the file with a planted bug, as a learner gets it."""
    return exercise_bugs.planted(ROOT / plan.folder(number), bug)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """of(week): {"stub 2" or "bug 3": what the tests of its piece say of it}, found once a week."""
    found = {}

    def of(number):
        if number not in found:
            found[number] = run_variants(number, tmp_path_factory.mktemp(f"round{number:02}"))
        return found[number]

    return of


def run_variants(number, base):
    week, variants, runs = ROOT / plan.folder(number), {}, []
    todo = exercise.pieces(week)
    for piece in {piece.number for piece in todo}:
        for name in {one.file for one in todo}:
            reference = exercise.read(week / name)
            assert with_one_stub(reference, 0) == reference, "cut out and put back"
            variants.setdefault((f"stub {piece}", piece), {})[name] = with_one_stub(reference, piece)
    for count, bug in enumerate(exercise_bugs.bugs(number), 1):
        variants[f"bug {count}", bug.piece] = {bug.file: with_bug(number, bug)}
    for (variant, piece), files in variants.items():
        folder = base / variant.replace(" ", "") / f"week{number:02}"
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        runs.append((variant, exercise_check.pytest_arguments(number, folder, [piece])))
    # Types are not checked: beartype knows dict[str, Tool] by its name, and would ask for the Tool of the first variant.
    done = subprocess.run(
        [sys.executable, "-c", RUN_VARIANTS], cwd=ROOT, input=json.dumps(runs), capture_output=True, encoding="utf-8",
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "JAXTYPING_DISABLE": "1"},
    )  # fmt: skip
    said, variant = {variant: [] for variant, _ in variants}, ""
    for line in done.stdout.split("\n"):  # splitlines would split at our mark, too
        variant = line.removeprefix("variant ") if line.startswith("variant ") else variant
        _, mark, record = line.partition(exercise_check.MARK)
        if mark and "piece" in (record := json.loads(record)):
            said[variant].append(Outcome(**record))
    assert all(said.values()), done.stdout + done.stderr
    return said


@every_week
def test_no_piece_passes_as_a_stub(number, outcomes):
    for variant, said in outcomes(number).items():
        kind, piece = variant.split()
        if kind == "stub":
            reached = [one for one in said if one.message.startswith(f"exercise {piece}, ")]
            assert reached, f"no test of exercise {piece} of week {number} calls what it asks for: {said}"
            assert exercise_check.judge(said)[0] == "not written"


@every_week
def test_every_planted_bug_is_seen_and_told_from_the_others(number, outcomes):
    """The tests have teeth: each slip of the field makes them fail, with a message that is its own."""
    bugs, lines = exercise_bugs.bugs(number), {}
    for count, bug in enumerate(bugs, 1):
        said = outcomes(number)[f"bug {count}"]
        status, _, why = exercise_check.judge(said)
        assert status == "failed", f"week {number}: nobody notices bug {count}, {bug.title}"
        lines[count] = " ".join(why[:-1])
        assert bug.says in lines[count], f"week {number}, bug {count}, {bug.title}: the tests say: {lines[count]}"
        assert max(map(len, why)) <= exercise_check.WIDTH - 4
    for (one, bug), (other, _) in itertools.permutations(enumerate(bugs, 1), 2):
        assert bug.piece != bugs[other - 1].piece or bug.says not in lines[other], f"bugs {one} and {other} read alike"
    assert 5 <= len(bugs) <= 8


@every_week
def test_every_piece_has_a_contract_and_a_hint(number):
    todo = exercise.pieces(ROOT / plan.folder(number))
    for piece in {piece.number for piece in todo}:
        assert any(one.hint for one in todo if one.number == piece), f"exercise {piece} of week {number} has no hint"


def test_a_bug_that_does_not_apply_any_more_is_refused():
    bug = exercise_bugs.bugs(2)[0]
    stale = type(bug)(**{**vars(bug), "old": "no such line"})
    with pytest.raises(CourseError) as caught:
        with_bug(2, stale)
    assert str(caught.value) == f"bug '{bug.title}': what it changes is not in week02_cnn/model.py."
