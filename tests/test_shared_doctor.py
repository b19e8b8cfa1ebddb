"""`./course doctor`: each check, with something wrong and without."""

import hashlib
import json
import sys
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest

from shared import doctor, venv


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """A course in a folder of its own, with a .venv that holds week01."""
    (tmp_path / ".venv").mkdir()
    (tmp_path / "constraints.txt").write_text("pytest==1.0 ; sys_platform != 'x'\nabsent==2.0\n", encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "sixteen-weeks"\ndependencies = ["pytest>=0.1"]\n'
        '[project.optional-dependencies]\nweek01 = ["absent-one"]\nweek02 = ["absent-two"]\n',
        encoding="utf-8",
    )
    for module in (venv, doctor):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(venv, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(venv, "STAMP", tmp_path / ".venv/course.json")
    monkeypatch.setattr(venv, "PYTHON", Path(sys.executable))
    venv.write_stamp({"week01"}, venv.fingerprint({"week01"}))
    return tmp_path


def test_set_up_is_whole_or_out_of_date_or_not_there(made_up, monkeypatch):
    assert list(doctor.setup()) == [("set-up", ".venv has week01", "")]
    venv.write_stamp({"week01", "week02", "test"}, "unfinished")
    assert list(doctor.setup()) == [("set-up", ".venv is unfinished or out of date", "./course setup 1 2")]
    monkeypatch.setattr(venv, "VENV", made_up / "nowhere")
    assert list(doctor.setup()) == [("set-up", "no .venv yet: the first command that needs one makes it", "")]


def test_packages_that_are_missing_or_not_the_tested_ones(made_up, monkeypatch):
    installed = f"pytest {pytest.__version__} (tested with 1.0)"
    monkeypatch.setattr(venv, "VENV", made_up / "another")
    assert list(doctor.packages()) == [("packages", installed, "")]
    monkeypatch.setattr(venv, "VENV", Path(sys.prefix))
    assert list(doctor.packages()) == [
        ("packages", installed, ""),
        ("", "missing: absent-one; not the tested version: pytest", "./course setup 1"),
    ]


def test_device_with_its_reason_and_a_gpu_that_torch_cannot_use(monkeypatch):
    fake = SimpleNamespace(choose=lambda wanted: SimpleNamespace(name="cpu", dtype="float32", reason="no GPU found"))
    monkeypatch.setitem(sys.modules, "shared.device", fake)
    monkeypatch.setattr(doctor, "find_spec", lambda name: True)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert list(doctor.device()) == [("device", "cpu, float32: no GPU found", "")]
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    [_, (_, text, cure)] = doctor.device()
    assert text == "there is an NVIDIA GPU, but torch cannot use it"
    assert cure.startswith("update its driver")


def test_no_torch_and_a_torch_that_does_not_start(monkeypatch):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    [(_, text, cure)] = doctor.device()
    assert text.startswith("cpu, with NumPy alone")
    assert cure == ""

    def choose(wanted):
        raise ImportError("libcudart.so: cannot open")

    monkeypatch.setitem(sys.modules, "shared.device", SimpleNamespace(choose=choose))
    monkeypatch.setattr(doctor, "find_spec", lambda name: True)
    [(_, text, cure)] = doctor.device()
    assert text == "torch does not start (ImportError: libcudart.so: cannot open)"
    assert cure == f"delete {venv.VENV} and call again: it will be made anew"


def test_modules_of_the_users_in_front_of_pythons_are_named(monkeypatch):
    for name in ("PYTHONPATH", "PYTHONHOME", "COURSE_LEFT_OUT_PYTHONPATH", "COURSE_LEFT_OUT_PYTHONHOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(doctor.ROOT))  # the launcher's own
    assert doctor.astray() == {}
    monkeypatch.setenv("COURSE_LEFT_OUT_PYTHONPATH", "/my/modules")
    monkeypatch.setenv("PYTHONHOME", "/my/python")
    assert doctor.astray() == {"PYTHONPATH": "/my/modules", "PYTHONHOME": "/my/python"}
    texts = [(text, cure[:16]) for _, text, cure in doctor.system()]
    assert ("PYTHONPATH=/my/modules; the launcher does not hand it on", "unset PYTHONPATH") in texts


def test_a_package_that_is_half_gone_is_named(made_up):
    packages = made_up / ".venv/lib/python3.11/site-packages"
    for name in ("whole", "half"):
        told = {"METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "RECORD": f"{name}/__init__.py,,\n"}
        for file, text in told.items():
            (packages / f"{name}-1.0.dist-info").mkdir(parents=True, exist_ok=True)
            (packages / f"{name}-1.0.dist-info" / file).write_text(text, encoding="utf-8")
    (packages / "whole").mkdir()
    (packages / "whole/__init__.py").touch()
    assert venv.broken(Path(sys.executable)) == ["half"]


@pytest.mark.parametrize(
    ("code", "finding"),
    [
        ("", "all 1 modules of theirs start"),
        ("import nothing_such", "does not start: half_gone (ModuleNotFoundError No module named 'nothing_such')"),
        ("import os; os._exit(3)", "does not start: half_gone (ends the process (code 3))"),
    ],
)
def test_a_package_that_does_not_start_is_named(code, finding, made_up, monkeypatch):
    monkeypatch.setattr(venv, "VENV", Path(sys.prefix))
    monkeypatch.setattr(doctor, "packages_distributions", lambda: {"half_gone": ["Absent_One"], "other": ["other"]})
    folder = made_up / "modules"
    folder.mkdir()
    (folder / "half_gone.py").write_text(code, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    [(_, text, cure)] = doctor.imports()
    assert text == finding
    assert cure == (f"delete {venv.VENV} and call again: it will be made anew" if code else "")


def test_little_memory_is_said(monkeypatch):
    monkeypatch.setattr(doctor, "memory", lambda: 16 * 2**30)
    assert [cure for _, _, cure in doctor.system()] == ["", ""]
    monkeypatch.setattr(doctor, "memory", lambda: 2**31)
    [*_, (_, text, cure)] = doctor.system()
    assert text == "that is little memory"
    assert "--batch-size" in cure


def test_threads_policy_and_a_machine_that_is_busy(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr("shared.parallel.load", lambda: 0.42)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(get_num_threads=lambda: 2))
    spin = "while they wait: they spin (OMP_WAIT_POLICY is not set)"
    assert list(doctor.threads()) == [
        ("threads", f"2 threads (torch, OMP_NUM_THREADS is 3); {spin}", ""),
        ("load", "42% of the cores in the last minute", ""),
    ]
    monkeypatch.setitem(sys.modules, "torch", None)  # not installed
    monkeypatch.setattr("shared.parallel.load", lambda: 1.5)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    [(_, text, _), (_, busy, cure)] = doctor.threads()
    assert text == "3 threads (OMP_NUM_THREADS); while they wait: OMP_WAIT_POLICY=PASSIVE"
    assert busy == "150% of the cores in the last minute"
    assert cure.startswith("another program has the cores")
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr("shared.parallel.cores", lambda: 1)
    monkeypatch.setattr("shared.parallel.load", lambda: None)  # Windows does not tell
    assert [text.split(";")[0] for _, text, _ in doctor.threads()] == ["1 thread (one per core)"]


def test_little_disk_is_said_also_for_a_home_that_is_not_there_yet(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "not" / "yet"))
    usage = namedtuple("usage", "free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(5 * 2**30))
    assert [(text, cure) for _, text, cure in doctor.disk()] == [
        (f"5.0 GB free in {doctor.ROOT}", ""),
        (f"5.0 GB free in {tmp_path / 'not' / 'yet'}", ""),
    ]
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(2**20))
    assert [cure for *_, cure in doctor.disk()] == ["make room: torch takes 6 GB, and runs grow"] * 2


def test_samples_are_held_against_sources(tmp_path):
    [(_, text, cure)] = doctor.samples(tmp_path)
    assert text == f"{tmp_path / 'SOURCES.md'} is missing"
    assert cure == "git checkout -- shared/samples"

    digest = hashlib.sha256(b"data").hexdigest()
    rows = [f"| `{name}` | 4 | `{digest}` | MIT |" for name in ("whole.npz", "damaged.npz", "gone.npz")]
    (tmp_path / "SOURCES.md").write_text("# Sources\n| file | bytes | sha256 | licence |\n" + "\n".join(rows), "utf-8")
    (tmp_path / "whole.npz").write_bytes(b"data")
    (tmp_path / "damaged.npz").write_bytes(b"dato")
    assert list(doctor.samples(tmp_path)) == [
        ("samples", "damaged.npz is damaged (another sha256)", "git checkout -- shared/samples/damaged.npz"),
        ("samples", "gone.npz is missing", "git checkout -- shared/samples/gone.npz"),
        ("samples", "whole.npz: whole", ""),
    ]


def test_data_in_course_home_is_listed(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    assert list(doctor.data()) == [("data", f"nothing downloaded yet into {tmp_path / 'home'}", "")]
    (tmp_path / "home/mnist").mkdir(parents=True)
    (tmp_path / "home/mnist/images.gz").write_bytes(bytes(3 * 2**20))
    (tmp_path / "home/.lock").touch()
    assert list(doctor.data()) == [("data", "mnist/images.gz (3.0 MB)", "")]


def test_the_exit_code_says_whether_something_is_wrong(monkeypatch, capsys):
    names = ("threads", "setup", "packages", "imports", "device", "disk", "samples", "data")
    monkeypatch.setattr(doctor, "memory", lambda: 16 * 2**30)
    for name in names:
        monkeypatch.setattr(doctor, name, lambda: iter([]))
    assert doctor.main() == 0
    assert capsys.readouterr().out.endswith("\n\nall is well\n")
    monkeypatch.setattr(doctor, "disk", lambda: iter([("disk", "full", "make room")]))
    assert doctor.main() == 1
    assert capsys.readouterr().out.endswith(
        "disk      full\n          → make room\n\n1 thing to put right: see the lines with →\n"
    )


def test_a_stamp_with_strange_extras_does_not_stop_it(made_up):
    venv.STAMP.write_text(json.dumps({"extras": ["week99", "x"], "fingerprint": ""}), encoding="utf-8")
    assert [cure for *_, cure in doctor.setup()] == ["./course setup 99"]
    assert list(doctor.packages())


def test_the_versions_block_of_a_bug_report_names_no_machine_and_no_path(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)  # torch takes seconds to import
    monkeypatch.setattr("platform.node", lambda: pytest.fail("the machine's name is nobody's business"))
    assert doctor.main(["--issue"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("### System info\n\n- Platform: ")
    assert f"- python: {'.'.join(map(str, sys.version_info[:3]))}\n" in text and "- numpy: " in text
    assert "cores" in text and text.endswith("- GPU: torch is not installed\n")
    assert str(Path.home()) not in text and str(doctor.ROOT) not in text and "→" not in text


@pytest.mark.parametrize(
    ("cuda", "mps", "line"),
    [(True, False, "A GPU, CUDA 12.8"), (False, True, "mps"), (False, False, "none that torch can use")],
)
def test_the_gpu_as_torch_sees_it(monkeypatch, cuda, mps, line):
    fake = SimpleNamespace(
        cuda=SimpleNamespace(is_available=lambda: cuda, get_device_name=lambda: "A GPU"),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps)),
        version=SimpleNamespace(cuda="12.8"),
    )
    monkeypatch.setitem(sys.modules, "torch", fake)
    monkeypatch.setattr(doctor, "find_spec", lambda name: True)
    assert doctor.gpu() == line
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())
    assert doctor.gpu() == "torch does not start (AttributeError)"
