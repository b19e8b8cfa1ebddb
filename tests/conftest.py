"""What every test here shares: types checked at run time, no network, no cache of the person at the keyboard.

`pytest --mine exercises/week01` runs the tests on the learner's files instead of the reference.
"""

import ipaddress
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
THERE = {path.parent.name[:6] for path in ROOT.glob("week*/__init__.py")}
# A week that is being written has no __init__.py yet: what it needs is not installed, and its tests are not run.
collect_ignore_glob = [f"test_week{n:02}_*.py" for n in range(1, 17) if f"week{n:02}" not in THERE]
os.environ["MPLBACKEND"] = "Agg"
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")  # the matrices here are tiny; a second thread would only wait for the first
# Before any of these packages is imported: from now on their jaxtyping annotations are checked at every call.
install_import_hook(["shared", *(path.parent.name for path in ROOT.glob("week*/__init__.py"))], "beartype.beartype")


def pytest_configure(config):
    from shared import exercise, plan
    from shared.errors import CourseError

    home = tempfile.TemporaryDirectory(prefix="course-home-")
    config.add_cleanup(home.cleanup)
    lend_models(Path(home.name))
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    patch.setenv("COURSE_HOME", home.name)
    close_network(patch)
    mine = config.getoption("--mine")
    record = os.environ.get("COURSE_RECORD_TESTS")
    if mine:
        folder = Path(mine).resolve()
        try:
            exercise.use(plan.folder(exercise.number_of(folder.name)), folder)
        except CourseError as error:
            raise pytest.UsageError(str(error)) from None
    elif record and not hasattr(config, "workerinput"):  # of several processes the one that hears of all tests
        config.pluginmanager.register(Recorder(Path(record) / "tests.json"))


def lend_models(home):
    """Puts the published networks of the real `$COURSE_HOME`, brought by `./course test`, into that of the tests."""
    from shared import assets, models

    real, here = assets.home() / models.FOLDER, home / models.FOLDER
    if not real.is_dir():
        return
    try:
        here.symlink_to(real, target_is_directory=True)
    except OSError:  # Windows allows links to some people only
        shutil.copytree(real, here)


def close_network(patch):
    """From here on this process reaches nothing but itself: loopback and Unix sockets. Its children are not held."""
    look_up = socket.getaddrinfo

    def refuse_far(host):
        host = host.decode() if isinstance(host, bytes) else host
        if not host or host == "localhost":
            return
        try:
            near = ipaddress.ip_address(host).is_loopback
        except ValueError:
            near = False
        if not near:
            raise RuntimeError(f"a test tried to reach {host}: tests use no network but loopback.")

    def guarded(method):
        def call(self, *arguments):
            # The address comes last, in connect(address) as in sendto(data, flags, address); a Unix socket's is a path.
            if self.family in (socket.AF_INET, socket.AF_INET6):
                refuse_far(arguments[-1][0])
            return method(self, *arguments)

        return call

    def guarded_look_up(host, *arguments, **options):
        refuse_far(host)
        return look_up(host, *arguments, **options)

    for name in ("connect", "connect_ex", "sendto"):
        patch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))
    patch.setattr(socket, "getaddrinfo", guarded_look_up)


def pytest_generate_tests(metafunc):
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", devices(), indirect=True, scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Leaves out tests over several weeks where none of these is there, or none was asked for (`--week`)."""
    empty = [item for item in items if "NOTSET" in item.name]
    if empty:
        config.hook.pytest_deselected(items=empty)
        items[:] = [item for item in items if "NOTSET" not in item.name]


def devices():
    """The devices to test on. Imports torch, which takes seconds, only for a test that asks for a device."""
    if find_spec("torch") is None:
        return ["cpu"]
    import torch

    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@pytest.fixture
def ctrl_c(monkeypatch):
    """ctrl_c(n) presses Ctrl-C at the n-th step from now of a training that keeps its state (no baseline's)."""
    from shared.loop import Loop

    left, real = {"steps": 0}, Loop.add

    def add(self, loss):
        real(self, loss)
        left["steps"] -= self.run is not None
        if self.run and left["steps"] == 0:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Loop, "add", add)
    return lambda steps: left.update(steps=steps)


@pytest.fixture(scope="session")
def device(request):
    """The name of a device: every test that takes it runs on "cpu", and again on "cuda" where there is one."""
    return request.param


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Where several processes test side by side (`-n 2`): which tests stay in one of them.

    Those of a week, so that its imports (16 s for Lightning) and its trained runs are paid once; else those of a file.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByWeek(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            week = re.search(r"test_(week\d\d)|\[(week\d\d)\]", nodeid)
            return (week[1] or week[2]) if week else nodeid.partition("::")[0]

    return ByWeek(config, log)


class Recorder:
    """Counts passed, failed and skipped tests per week for `./course list`, and merges them into `path` at the end."""

    def __init__(self, path):
        self.path, self.results = path, {}

    def pytest_runtest_logreport(self, report):
        if report.failed or (report.skipped and self.results.get(report.nodeid) != "failed"):
            self.results[report.nodeid] = report.outcome
        elif report.when == "call":
            self.results[report.nodeid] = "passed"

    def pytest_collectreport(self, report):
        if report.failed:
            self.results[report.nodeid] = "failed"

    def pytest_sessionfinish(self):
        from shared.errors import CourseError
        from shared.files import read_json, write_json

        try:
            counts = read_json(self.path)
        except CourseError:
            counts = {}
        ran = {}
        for test, result in self.results.items():
            week = re.search(r"test_(week\d\d)", test)
            group = ran.setdefault(week[1] if week else "shared", {"passed": 0, "failed": 0, "skipped": 0})
            group[result] += 1
        write_json(self.path, {**(counts if isinstance(counts, dict) else {}), **ran})
