"""`./course report`: what it tells, the learner's words, the seal, and the texts to post."""

import io
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import refused

from shared import achieved, origin, plan, posts, report, report_file, words
from shared.errors import Stopped
from shared.files import ROOT, write_json

few = settings(max_examples=40, deadline=None, derandomize=True, database=None)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=3000)
WORDS = (
    "## What I struggled with\n\nThe axis of the *softmax*.\n\n## The analogy that made it click\n\nA restaurant bill."
)
RESULT = {
    "week": 1, "command": "./course train 1 --lr 0.05 --out /home/ada/secret", "data": "sample", "seed": 3,
    "device": "cpu", "dtype": "float32", "params": 1234, "seconds": 2.5, "versions": {"python": "3.11.1"},
    "hardware": "A Processor, 2 cores", "threads": 1, "code": "c0de" * 16,
    "metrics": {"val_accuracy": 0.981, "last_val_loss": 0.1, "test_accuracy": 0.979},
    "baselines": [
        {"name": "logistic regression", "params": 7850, "seconds": 0.3, "val_accuracy": 0.913, "test_accuracy": 0.915},
        {"name": "always the same answer", "params": 0, "seconds": 0.0, "val_accuracy": 0.126, "test_accuracy": 0.113},
    ],
}  # fmt: skip
CONFIG = {"data": "sample", "seed": 3, "out": "", "resume": False, "preset": "quick", "lr": 0.05}
ROWS = [{"epoch": e, "step": 9 * e, "val_accuracy": 0.9 + e / 100, "seconds": e * 1.1, "ms": 1.0} for e in (1, 2)]


def a_run(root, week=1, name="001-quick", config=None, **result):
    """A finished run in a folder of its own course."""
    folder = root / "runs" / f"week{week:02}" / name
    write_json(folder / "result.json", RESULT | {"week": week} | result)
    write_json(folder / "config.json", CONFIG | (config or {}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return folder


def a_report(root, week=1, **flags):
    """What is written, with words from a file where none are there yet: the report's text."""
    given_words = root / "my words.txt"
    given_words.write_text(WORDS, encoding="utf-8")
    kept = (root / f"reports/week{week:02}/words.md").is_file()
    cfg = report.Config(**({} if kept else {"words": str(given_words)}) | flags)
    return Path(report.main(week, cfg, root)["report"]).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    root = tmp_path_factory.mktemp("record")
    return achieved.record(1, a_run(root), root) | {"picture": "own"}


def test_a_run_that_is_not_scored_is_told_how_by_its_own_name(tmp_path, capsys):
    own = "./course train 1 --mine exercises/week01-bug2 --lr 0.1"
    run = a_run(tmp_path, metrics={"val_accuracy": 0.9}, command=own)
    a_report(tmp_path)
    line = f"./course eval 1 --mine exercises/week01-bug2 --run {run}, then ./course report 1 again"
    assert f"it is not scored on test yet: {line}" in capsys.readouterr().out


# ---------------------------------------------------------------- what it tells


def test_a_report_tells_all_that_was_asked_for(tmp_path, capsys):
    a_run(tmp_path)
    titles = list(achieved.exercises(1, tmp_path).titles)
    assert titles == []
    write_json(tmp_path / "exercises/week01/progress.json", {"1": "passed", "2": "passed", "3": "failed"})
    write_json(tmp_path / "exercises/week01/hints.json", {"2": {"level": 0}, "3": {"level": 4}})
    write_json(tmp_path / "exercises/week01-bug2/progress.json", {"4": "passed"})
    text = a_report(tmp_path)
    assert text.startswith("# Week 1 of 16: The Neural Circuit\n")
    for line in (
        "|  | test accuracy | val accuracy | parameters | seconds |",
        "| **this run** | 97.90% | 98.10% | 1,234 | 2.5 |",
        "| logistic regression | 91.50% | 91.30% | 7,850 | 0.3 |",
        "2 of 6 exercises solved, 1 with hints; 1 of 8 planted bugs found.",
        "- a linear layer (with hints)",
        "The axis of the *softmax*.",
        "./course train 1 --lr 0.05 && ./course eval 1",
        f"| code | `{'c0de' * 16}` |",
        "| computed on | A Processor, 2 cores, 1 thread, cpu, float32 |",
        "![Week 1, The Neural Circuit: the lesson's own](picture.png)",
        "No band of seeds has these flags.",
    ):
        assert line in text, line
    assert f"- bug: {achieved.bugs(1, tmp_path).titles[0]}" in text
    folder = tmp_path / "reports/week01"
    names = {"report.md", "picture.png", "words.md", "post280.txt", "post1300.txt"}
    assert {path.name for path in folder.iterdir()} == names
    assert "/home/ada" not in text, "the folders of this machine are nobody's business"
    told = capsys.readouterr().out
    assert "week 1, The Neural Circuit: test accuracy 97.90% (logistic regression 91.50%)" in told
    assert "the code has changed since" in told


def test_the_band_says_where_a_run_lies(tmp_path):
    from shared import band

    flags = next(one for one in band.bands(1) if len(one.steps) == 3)
    folder = a_run(tmp_path, config=flags.flags | {"preset": "smoke"})
    middle = [sum(values) / len(values) for values in flags.curves["val_accuracy"]]
    rows = [{"step": step, "val_accuracy": v} for step, v in zip(flags.steps, middle, strict=True)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert achieved.record(1, folder, tmp_path)["band"]["kind"] == "inside"
    text = a_report(tmp_path)
    assert "Is the curve right? Inside the band of 5 seeds: val accuracy" in text
    assert "preset smoke, a trial of some seconds" in text
    low, high = flags.scored("test_accuracy")
    assert low < min(flags.scores["test_accuracy"]) and max(flags.scores["test_accuracy"]) < high


def test_weeks_that_build_show_what_their_baselines_have(tmp_path):
    metrics = {
        "val_cosine": 0.99,
        "val_mrr": 0.82,
        "times_torch": 3.7,
        "ms": 4.4,
        "test_mrr": 0.72,
        "test_cosine": 0.99,
    }
    baselines = [{"name": "torch, eager", "params": 9, "seconds": 1.0, "val_cosine": 1.0, "test_mrr": 0.71}]
    folder = a_run(tmp_path, 12, metrics=metrics, baselines=baselines, command="./course train 12")
    found = achieved.record(12, folder, tmp_path)
    assert found["columns"][:2] == ["test_mrr", "val_cosine"], "beside a baseline first, test before val, no times"
    assert not {"ms", "times_torch"} & set(found["columns"])
    assert posts.result(found) == "test MRR 0.7200 (torch, eager 0.7100)"
    only_times = achieved.columns(plan.week(12), {}, {"ms": 1.0, "last_val_x": 2})
    assert only_times == ["ms"]
    bare = achieved.record(11, a_run(tmp_path, 11, metrics={"pages": 3}, baselines=[]), tmp_path)
    assert (bare["columns"], posts.result(bare)) == (["pages"], "pages 3.0000")
    assert "| **this run** | 3.0000 |" in report_file.render(bare | {"picture": ""}, "x")


def test_the_strongest_baseline_is_by_the_numbers_own_direction(record):
    rows = [{"name": "a", "val_loss": 1.0}, {"name": "b", "val_loss": 2.0}]
    assert posts.strongest(record | {"baselines": rows}, "val_loss")["name"] == "a"
    assert posts.strongest(record, "test_accuracy")["name"] == "logistic regression"
    assert achieved.higher_is_better(8, "test_bits_per_byte") is False


def test_the_newest_training_is_taken_and_smoke_only_where_there_is_nothing_else(tmp_path):
    assert achieved.newest(1, tmp_path) is None
    smoke = a_run(tmp_path, name="002-smoke", config={"preset": "smoke"})
    assert achieved.newest(1, tmp_path) == smoke
    quick = a_run(tmp_path)
    a_run(tmp_path, name="003-smoke", config={"preset": "smoke"})
    a_run(tmp_path, name="004-other", command="./course run 1 gates")
    (tmp_path / "runs/week01/005-damaged").mkdir()
    (tmp_path / "runs/week01/005-damaged/result.json").write_text("{", encoding="utf-8")
    assert achieved.newest(1, tmp_path) == quick


@pytest.mark.parametrize(
    ("typed", "config", "line"),
    [
        ("./course train 1", {}, "./course train 1"),
        ("./course train 1 --out '/a b' --lr 0.1", {}, "./course train 1 --lr 0.1"),
        ("./course train 1 --out=x --seed 3", {}, "./course train 1 --seed 3"),
        ("./course train 1 --mine --seed 3", {}, "./course train 1 --mine --seed 3"),
        ("./course train 1 --resume", {"seed": 3, "lr": 0.25, "hidden": [8, 4]},
         "./course train 1 --seed 3 --hidden 8 4 --lr 0.25"),
        ("./course repeat 1 --seeds 5", {"seed": 2, "preset": "smoke"}, "./course train 1 --preset smoke --seed 2"),
        ("./course train 1 --mine exercises/week01-bug2 --resume", {}, "./course train 1 --mine exercises/week01-bug2"),
        ("broken ' quote", {}, "./course train 1"),
    ],
)  # fmt: skip
def test_the_one_command(typed, config, line):
    from week01_numpy_mlp import train

    plain = vars(train.Config()) | dict(train.PRESETS[config.get("preset", "quick")])
    whole = json.loads(json.dumps(plain)) | {"out": "x", "resume": False} | config
    assert achieved.command(1, {"command": typed, "data": "sample"}, whole) == line


def test_data_of_ones_own_are_named_without_their_folders(tmp_path):
    typed = "./course train 1 --data '/home/ada/my <b>`photos' --seed 3"
    text = a_report(tmp_path, run=str(a_run(tmp_path, data="/home/ada/my <b>`photos", command=typed)))
    assert "/home/ada" not in text and "<b>" not in text
    assert "./course train 1 --seed 3 --data my__b__photos" in text
    assert "Data: data of my own (`my__b__photos`); seed 3; preset quick." in text


def test_equal_runs_have_one_hash_whatever_the_clock_says():
    one = achieved.run_hash(CONFIG, ROWS)
    later = [row | {"seconds": 99.0, "ms": 7.0} for row in ROWS]
    assert achieved.run_hash(CONFIG | {"out": "/x", "data": "/y"}, later) == one
    assert achieved.run_hash(CONFIG | {"lr": 0.06}, ROWS) != one
    assert achieved.run_hash(CONFIG, [ROWS[0] | {"val_accuracy": 0.91000001}, ROWS[1]]) != one


def test_the_picture_is_the_learners_own_where_there_is_one(tmp_path):
    folder, lesson = a_run(tmp_path), ROOT / "week01_numpy_mlp" / plan.week(1).picture
    assert achieved.picture(1, folder, tmp_path) == (lesson, "lesson")
    for place in (folder / "curves.png", tmp_path / "runs/week01/gates/decision_boundary.png"):
        place.parent.mkdir(exist_ok=True)
        shutil.copy(lesson, place)
        assert achieved.picture(1, folder, tmp_path) == (place, "own")
    assert "decision_boundary" not in a_report(tmp_path)


def test_a_picture_of_ones_own_tells_nothing_but_itself(tmp_path):
    from PIL import Image

    photo = Image.linear_gradient("L").resize((3000, 1000))
    exif = photo.getexif()
    exif[0x010F] = "the camera"
    photo.save(tmp_path / "photo.jpg", exif=exif)
    a_run(tmp_path)
    assert "mine](picture.png)" in a_report(tmp_path, picture=str(tmp_path / "photo.jpg"))
    with Image.open(tmp_path / "reports/week01/picture.png") as shown:
        assert max(shown.size) == 1600 and not shown.getexif() and shown.format == "PNG"
    assert refused(lambda: a_report(tmp_path, picture="nowhere.png")).startswith("nowhere.png")


# ---------------------------------------------------------------- words


def terminal(monkeypatch, text):
    stdin = io.StringIO(text)
    stdin.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", stdin)


def test_words_are_asked_for_once_and_kept(tmp_path, monkeypatch, capsys):
    a_run(tmp_path)
    terminal(monkeypatch, "The axis.\nAnd the \x1b[31msign.\n\nA bill.\n")
    report.main(1, report.Config(), tmp_path)
    asked = capsys.readouterr().out
    assert "What I struggled with? (an empty line ends it)" in asked and "1. Why can one neuron not learn XOR" in asked
    kept = (tmp_path / "reports/week01/words.md").read_text(encoding="utf-8")
    first = "## What I struggled with\n\nThe axis.\nAnd the [31msign.\n\n"
    assert kept == f"{first}## The analogy that made it click\n\nA bill.\n"
    monkeypatch.setattr(sys, "stdin", None)  # nobody to ask, and nobody is asked
    report.main(1, report.Config(), tmp_path)
    assert (tmp_path / "reports/week01/words.md").read_text(encoding="utf-8") == kept
    assert "What I struggled with?" not in capsys.readouterr().out


def test_words_are_never_overwritten(tmp_path):
    a_run(tmp_path)
    a_report(tmp_path)
    other = tmp_path / "other.txt"
    other.write_text("other words", encoding="utf-8")
    line = refused(report.main, 1, report.Config(words=str(other)), tmp_path)
    assert "has your words already, and they are never overwritten" in line
    assert words.read(tmp_path / "reports/week01/words.md") == WORDS
    same = tmp_path / "same.txt"
    same.write_text(f"\n{WORDS}\n\n", encoding="utf-8-sig")
    report.main(1, report.Config(words=str(same)), tmp_path)


def test_no_run_no_terminal_no_words(tmp_path, monkeypatch):
    line = "no run of week 1 has come to its end yet: ./course train 1 makes one."
    assert refused(report.main, 1, report.Config(), tmp_path) == line
    folder = a_run(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO("typed"))
    line = "there is no terminal to ask you for your words on: write them into a file, --words FILE."
    assert refused(report.main, 1, report.Config(), tmp_path) == line
    terminal(monkeypatch, "\n\n")
    assert refused(report.main, 1, report.Config(), tmp_path).startswith("a report needs words of yours")
    stopped = SimpleNamespace(isatty=lambda: True, __iter__=None)
    monkeypatch.setattr(sys, "stdin", stopped)
    monkeypatch.setattr(words, "answer", lambda title: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(Stopped, match="no words are kept"):
        report.main(1, report.Config(), tmp_path)
    assert not (tmp_path / "reports").exists(), "nothing is begun"
    assert "it has no result.json" in refused(report.main, 1, report.Config(run=str(tmp_path)), tmp_path)
    a_run(tmp_path, 2, command="./course train 2")
    second = tmp_path / "runs/week02/001-quick"
    told = "it is of `./course train 2`, not of ./course train 1."
    assert refused(report.main, 1, report.Config(run=str(second)), tmp_path) == f"--run {second}: {told}"
    assert folder.is_dir()


@pytest.mark.parametrize(
    ("raw", "says"),
    [(b"", "is empty"), (b" \n\x1b\n", "is empty"), (b"\xff\xfe", "is not UTF-8"), (b"a" * 20_001, "than 20,000")],
)
def test_files_that_are_no_words(tmp_path, raw, says):
    (tmp_path / "w.txt").write_bytes(raw)
    assert says in refused(words.read, tmp_path / "w.txt")
    assert "No such file" in refused(words.read, tmp_path / "gone.txt")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (WORDS, ("The axis of the *softmax*.", "A restaurant bill.")),
        ("# My struggle\nx\n# Click!\ny\n", ("x", "y")),
        ("one\n\ntwo\n\nthree", ("one", "three")),
        ("only", ("only", "")),
        ("", ("", "")),
        ("## What I struggled with\n\n## The analogy\n", ("", "")),
    ],
)
def test_what_was_hard_is_told_from_what_clicked(text, found):
    assert words.parts(text) == found


# ---------------------------------------------------------------- the seal


@few
@given(TEXTS)
def test_whatever_the_words_are_the_report_is_read_back(record, text):
    whole = report_file.render(record, text)
    assert report_file.own_words(whole) == report_file.safe(text.replace("\r\n", "\n"))
    assert report_file.seal_of(whole) == report_file.SEAL.findall(whole)[-1]
    assert whole.count(report_file.BEGIN) == whole.count(report_file.END) == 1
    assert len(report_file.SEAL.findall(whole)) == 1, "no words forge a seal"


def test_words_that_look_like_marks_are_words(tmp_path, record):
    for text in (report_file.END, f"{report_file.BEGIN} <!-- seal {'0' * 64} -->", "```json\n{\n", "a\n<!--"):
        path = tmp_path / "report.md"
        whole = report_file.render(record, text)
        path.write_text(whole.replace(".  \n", ".\n"), encoding="utf-8", newline="\r\n")
        assert report_file.read(path) == record, "and with the line ends of Windows, and no spaces there"


@few
@given(st.data())
def test_any_edit_of_the_machines_part_is_seen(tmp_path_factory, record, data):
    text = report_file.render(record, "my words")
    begin, end = text.index(report_file.BEGIN), text.index(report_file.END) + len(report_file.END)
    places = st.one_of(st.integers(0, begin - 3), st.integers(end + 1, len(text) - 2))
    at = data.draw(places.filter(lambda at: not text[at].isspace()))
    other = data.draw(st.sampled_from("09azAZ|.").filter(lambda char: char != text[at]))
    path = tmp_path_factory.getbasetemp() / "edited.md"
    path.write_text(text[:at] + other + text[at + 1 :], encoding="utf-8")
    assert "edited by hand" in (line := refused(report_file.read, path)) or "is no report" in line


def test_edited_words_are_no_edit_and_edited_numbers_are(tmp_path):
    a_run(tmp_path)
    text, path = a_report(tmp_path), tmp_path / "reports/week01/report.md"
    path.write_text(text.replace("A restaurant bill.", "A bill, shared."), encoding="utf-8")
    assert report_file.read(path)["week"] == 1
    assert "has other words than words.md beside it" in refused(report.main, 1, report.Config(), tmp_path)
    path.write_text(text.replace("97.90%", "99.90%"), encoding="utf-8")
    line = "was edited by hand: its machine-made part is not what ./course report had written."
    assert refused(report.main, 1, report.Config(), tmp_path).endswith(line)
    assert "99.90%" in path.read_text(encoding="utf-8"), "and nothing is lost"


@pytest.mark.parametrize("raw", [b"", b"# Week 1 of 16: x\n", b"\xff", b"a" * 1_000_001, b"<!-- seal -->"])
def test_what_is_no_report(tmp_path, raw):
    (tmp_path / "r.md").write_bytes(raw)
    assert "is no report" in refused(report_file.read, tmp_path / "r.md")
    assert "is not there" in refused(report_file.read, tmp_path / "gone.md")
    assert refused(report_file.read, tmp_path).endswith("Is a directory.")


@pytest.mark.parametrize("key", ["week", "command", "metrics", "scored"])
def test_a_sealed_report_of_another_form_is_refused(tmp_path, record, key):
    path = tmp_path / "r.md"
    for value in (None, [], 1.5):
        made = report_file.render(record, "x").replace(
            json.dumps(record, indent=1, ensure_ascii=False), json.dumps(record | {key: value}, indent=1)
        )
        made = report_file.SEAL.sub("", made)
        path.write_text(f"{made}<!-- seal {report_file.seal_of(made)} -->", encoding="utf-8")
        assert "its data are of another form" in refused(report_file.read, path)


# ---------------------------------------------------------------- texts to post


@few
@given(TEXTS, TEXTS, st.sampled_from(["short title", "t" * 400]), st.integers(0, 40))
def test_posts_keep_their_limits_whatever_the_words_are(record, struggled, clicked, title, many):
    rows = record["baselines"] + [{"name": f"a baseline called {n}", "test_accuracy": 0.5} for n in range(many)]
    one = record | {"title": title, "baselines": rows, "command": record["command"] + " --lr 0.1" * many}
    for text in (f"## What I struggled with\n{struggled}\n## The analogy that made it click\n{clicked}", clicked):
        short, long = posts.short(one, text), posts.long(one, text)
        assert len(short) <= posts.weight(short) <= 280 and len(long) <= posts.weight(long) <= 1300
        assert short.startswith("Week 1 of 16, ") and long.startswith("Week 1 of 16: ")


@few
@given(TEXTS, st.integers(0, 400))
def test_a_cut_text_begins_as_the_whole_one(text, most):
    import unicodedata

    cut, whole = posts.cut(text, most), unicodedata.normalize("NFC", text)
    assert posts.weight(cut) <= most
    assert cut == whole or whole.startswith(cut.removesuffix("…"))


def test_posts_of_a_usual_week(record):
    assert posts.short(record, WORDS) == (
        "Week 1 of 16, The Neural Circuit: test accuracy 97.90% (logistic regression 91.50%). “A restaurant bill.” "
        "Again: ./course train 1 --lr 0.05"
    )
    other = record | {"synthetic": True, "own_data": True, "preset": "smoke"}
    said = "test accuracy 97.90% on synthetic data on my own data after some seconds"
    assert said in posts.short(other, WORDS) and said.capitalize() in posts.long(other, WORDS)
    long = posts.long(record, WORDS)
    assert ". Beside it: logistic regression 91.50%, always the same answer" in long
    assert "What I struggled with: The axis of the softmax." in long
    plain = posts.long(record, "Blame flows back.\n\nIt is a bill.")
    assert "\n\nBlame flows back.\n\nIt is a bill.\n\n" in plain and "struggled" not in plain
    assert posts.weight("a…✓漢é") == 1 + 2 + 2 + 2 + 1
    assert posts.cut("one two three", 9) == "one two…"


# ---------------------------------------------------------------- where it comes from


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A course of two files and a learner's own."""
    for name, text in {
        "week01_numpy_mlp/train.py": "from shared import a\n\ndef f():\n  from week01_numpy_mlp.model import (\nX)\n",
        "week01_numpy_mlp/model.py": "X = 1\n", "shared/a.py": "import shared.b\n", "shared/b.py": "",
        "shared/c.py": "", "exercises/week01/model.py": "X = 2\n",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(origin, "ROOT", tmp_path)
    return tmp_path, lambda own=None: origin.code.__wrapped__(1, own)


@pytest.mark.parametrize(
    "name", ["week01_numpy_mlp/train.py", "week01_numpy_mlp/model.py", "shared/a.py", "shared/b.py"]
)
def test_the_hash_is_of_all_that_a_week_imports(small, name):
    root, code = small
    before = code()
    (root / "shared/c.py").write_text("# nobody imports it\n", encoding="utf-8")
    text = (root / name).read_text(encoding="utf-8")
    (root / name).write_bytes(text.replace("\n", "\r\n").encode())
    assert code() == before, "line ends are no code"
    (root / name).write_text(f"{text}# changed\n", encoding="utf-8")
    assert code() != before


def test_a_learners_own_code_has_another_hash(small):
    root, code = small
    assert code(root / "exercises/week01") != code()
    (root / "exercises/week01/model.py").write_text("X = 1\n", encoding="utf-8")
    assert code(root / "exercises/week01") == code()


def test_every_week_has_a_hash_and_one_that_is_not_here_has_none(monkeypatch):
    found = [origin.code(number) for number in range(1, 17) if plan.is_there(number)]
    assert len(set(found)) == len(found) and "" not in found
    monkeypatch.setattr(plan, "folder", lambda number: "week99_nothing")
    assert origin.code.__wrapped__(1) == ""


def test_threads_are_those_that_compute(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert origin.threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.setattr("shared.parallel.cores", lambda: 5)
    assert origin.threads() == 5
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(get_num_threads=lambda: 7))
    assert origin.threads() == 7
    assert origin.hardware().endswith("5 cores")
    gpu = SimpleNamespace(cuda=SimpleNamespace(get_device_name=lambda: "A GPU"))
    monkeypatch.setitem(sys.modules, "torch", gpu)
    assert origin.hardware("cuda").endswith("5 cores, A GPU")
