"""Jobs in processes of their own: results, errors, a killed process, Ctrl-C, a learner's own code."""

import math
import multiprocessing
import os
import signal
from functools import partial
from types import ModuleType

import pytest

from shared import parallel
from shared.errors import CourseError
from shared.parallel import cores, in_processes, load

TASKS = [-3, -1, -2]


@pytest.fixture
def no_process(monkeypatch):
    monkeypatch.setattr(parallel, "ProcessPoolExecutor", lambda *_, **__: pytest.fail("started a process"))


def test_two_jobs_give_what_one_gives():
    assert sorted(in_processes(abs, TASKS, jobs=2)) == [1, 2, 3]
    assert not multiprocessing.active_children()


def test_one_job_stays_in_this_process_and_in_order(no_process):
    assert list(in_processes(abs, TASKS, jobs=1)) == [3, 1, 2]
    assert list(in_processes(abs, [-5], jobs=8)) == [5], "one task, too"
    assert list(in_processes(abs, [], jobs=2)) == []


def test_what_a_job_raises_arrives_and_no_process_is_left():
    with pytest.raises(ValueError):
        list(in_processes(math.sqrt, [-1, -1], jobs=2))
    assert not multiprocessing.active_children()


def test_a_killed_process_is_one_line():
    with pytest.raises(CourseError, match=r"^a training's process was killed; most likely memory ran out\. Try fewer"):
        list(in_processes(os._exit, [1, 1], jobs=2))


@pytest.mark.skipif(os.name == "nt", reason="os.kill ends a process there")
def test_ctrl_c_ends_the_processes_and_is_passed_on():
    hear = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):  # one job presses Ctrl-C, the others do nothing (signal 0)
        list(in_processes(partial(os.kill, os.getpid()), [signal.SIGINT, *[0] * 50], jobs=2))
    assert not multiprocessing.active_children()
    assert signal.getsignal(signal.SIGINT) is hear


def test_who_leaves_the_loop_leaves_no_process():
    for _ in in_processes(abs, TASKS * 20, jobs=2):
        break
    assert not multiprocessing.active_children()


def test_a_learners_own_code_stays_in_this_process(no_process, monkeypatch, capsys):
    """With --mine the package has a second folder in front, of which a process started afresh would not know."""
    package = ModuleType("week99_made_up")
    package.__path__ = ["exercises/week99", "week99_made_up"]
    monkeypatch.setitem(parallel.sys.modules, package.__name__, package)
    assert list(in_processes(abs, TASKS, jobs=2)) == [3, 1, 2]
    assert capsys.readouterr().out == "with your own code: one training at a time\n"


def test_each_process_computes_with_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert list(in_processes(os.getenv, ["OMP_NUM_THREADS"] * 2, jobs=2)) == ["1", "1"]
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    assert 1 <= cores() <= os.cpu_count()
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {5}, raising=False)
    assert cores() == 1


def test_load_is_per_core(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (3.0, 0.0, 0.0), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert load() == 1.5
    monkeypatch.delattr(os, "getloadavg")
    assert load() is None
