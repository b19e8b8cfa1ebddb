"""Races: who runs when, what counts, how a ratio and its spread come about, and what stands above a table."""

import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from programs import refused

from shared import cli, origin, race
from shared.files import ROOT
from shared.race import BenchConfig, Lap, Laps


@pytest.fixture
def clocks(monkeypatch):
    """clocks(order, name, (clock, process), …) makes a contestant whose rounds take so long, by two clocks of ours."""
    now = SimpleNamespace(clock=100.0, process=10.0)
    times = SimpleNamespace(
        perf_counter=lambda: now.clock,
        process_time=lambda: now.process,
        sleep=lambda seconds: setattr(now, "clock", now.clock + seconds),
    )
    monkeypatch.setattr(race, "time", times)

    def contestant(order, name, *rounds, returns=None):
        left = iter(rounds)

        def work():
            order.append(name)
            clock, process = next(left)
            now.clock, now.process = now.clock + clock, now.process + process
            return returns

        return work

    return contestant


def test_everybody_takes_turns_and_the_first_round_does_not_count(clocks):
    order = []
    ours = clocks(order, "ours", (50, 50), (2, 1), (4, 3))
    theirs = clocks(order, "theirs", (70, 70), (8, 6), (6, 7))
    laps = race.take_turns({"ours": ours, "theirs": theirs}, rounds=2)
    assert order == ["ours", "theirs"] * 3
    assert laps == {"ours": Laps([2.0, 4.0], [1.0, 3.0]), "theirs": Laps([8.0, 6.0], [6.0, 7.0])}
    assert (laps["theirs"].best, laps["theirs"].median, laps["theirs"].best_process) == (6, 7, 6)


def test_a_rest_before_each_turn_is_not_counted(clocks):
    laps = race.take_turns({"a": clocks([], "a", (1, 1), (2, 1)), "b": clocks([], "b", (1, 1), (3, 1))}, 1, rest=0.5)
    assert (laps["a"].clock, laps["b"].clock) == ([2], [3])


def test_a_contestant_may_time_itself(clocks):
    """Where a round holds more than what is to be measured."""
    work = clocks([], "a", (9, 9), (9, 9), (9, 9), returns=Lap(2.0, 1.5))
    assert race.take_turns({"a": work}, 2) == {"a": Laps([2.0, 2.0], [1.5, 1.5])}


@dataclass
class Tensor:
    """As torch's: its number is there only when the device has finished."""

    sizes: list = field(default_factory=lambda: [3, 2])
    is_cuda: bool = True
    read: int = 0

    def numel(self):
        return self.sizes[0] * self.sizes[1]

    def detach(self):
        return self

    def flatten(self):
        return [self]

    def item(self):
        self.read += 1


def test_a_tensor_is_waited_for(clocks):
    tensor = Tensor()
    race.take_turns({"a": clocks([], "a", *[(1, 1)] * 4, returns=tensor)}, 3)
    assert tensor.read == 4, "in every round, the first too"
    race.wait_for(Tensor(sizes=[0, 2]))
    for other in (None, 3.5, "text"):
        race.wait_for(other)


def test_a_small_ratio_keeps_two_digits():
    assert [race.digits(ratio) for ratio in (1.0, 0.156, 0.00244)] == ["1.00", "0.16", "0.0024"], "1 in 400 is not 0.00"


def test_ratio_is_that_of_the_best_rounds_with_the_spread_of_all():
    ours, theirs = Laps([2.0, 4.0, 3.0], [1.0, 2.0, 2.0]), Laps([6.0, 8.0, 12.0], [5.0, 4.0, 8.0])
    assert race.ratio(ours, theirs) == (3.0, 2.0, 4.0), "6 / 2; 6 / 2, 8 / 4 and 12 / 3 by round"
    assert race.ratio(theirs, ours) == (1 / 3, 1 / 4, 1 / 2)
    assert race.ratio(ours, theirs, threads=1) == (4.0, 2.0, 5.0), "on one thread by the processor's time"
    assert race.ratio(Laps([2.0], [0.0]), Laps([6.0], [1.0]), threads=1) == (3.0, 3.0, 3.0), "by one that saw something"


def test_table_and_its_numbers():
    laps = {
        "ours": Laps([0.5, 0.25, 1.0], [0.5, 0.75, 1.5]),
        "theirs": Laps([1.0, 1.0, 3.0], [2.0, 2.0, 2.0]),
        "loops": Laps([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),
    }
    text, numbers = race.table(laps, {"ours": 1000, "theirs": 1000, "loops": 10}, "images", "theirs")
    assert (
        text
        == """\
|  | images/s | best s | median s | process s | x theirs (by round) |
| --- | --- | --- | --- | --- | --- |
| ours | 4,000 | 0.25 | 0.5 | 0.5 | 4.00 (2.00 to 4.00) |
| theirs | 1,000 | 1 | 1 | 2 | 1.00 (1.00 to 1.00) |
| loops | 20 | 0.5 | 0.5 | 0.5 | 0.02 (0.02 to 0.06) |"""
    )
    assert numbers["ours"] == {
        "best": 0.25, "median": 0.5, "process": 0.5, "per_second": 4000.0, "ratio": 4.0, "low": 2.0, "high": 4.0,
    }  # fmt: skip
    assert numbers["loops"]["ratio"] == 0.02, "of images, not of rounds: it has fewer to do"
    _, numbers = race.table(laps, dict.fromkeys(laps, 1000), "images", "theirs", threads=1)
    assert numbers["ours"]["ratio"] == 4.0 and numbers["ours"]["low"] == 2 / 1.5


# ---------------------------------------------------------------- threads


class Threads:
    """As torch and threadpoolctl in what on_threads needs of them."""

    def __init__(self, count):
        self.count = count

    def get_num_threads(self):
        return self.count

    def set_num_threads(self, count):
        self.count = count

    def threadpool_limits(self, count):
        before, self.count = self.count, count
        stack = ExitStack()
        stack.callback(self.set_num_threads, before)
        return stack


@pytest.mark.parametrize("there", [("torch", "threadpoolctl"), ("torch",), ("threadpoolctl",), ()])
@pytest.mark.parametrize("trouble", [False, True])
def test_thread_counts_are_restored(monkeypatch, there, trouble):
    libraries = {name: Threads(7) for name in ("torch", "threadpoolctl")}
    for name, library in libraries.items():
        if name in there:
            monkeypatch.setitem(sys.modules, name, library)
        else:
            monkeypatch.delitem(sys.modules, name, raising=False)
    try:
        with race.on_threads(2):
            assert all(library.count == (2 if name in there else 7) for name, library in libraries.items())
            if trouble:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert trouble
    assert [library.count for library in libraries.values()] == [7, 7]


@pytest.mark.parametrize(
    ("wanted", "where", "cores", "counts"),
    [
        ((), "cpu", 2, (1, 2)),
        ((), "cpu", 1, (1,)),
        ((), "cpu", 16, (1, 16)),
        ((4, 2), "cpu", 2, (4, 2)),
        ((), "cuda", 16, (16,)),
        ((1, 2), "cuda", 16, (2,)),
    ],
)
def test_which_thread_counts_are_raced(monkeypatch, wanted, where, cores, counts):
    monkeypatch.setattr(race, "cores", lambda: cores)
    assert race.thread_counts(wanted, where) == counts


# ---------------------------------------------------------------- what stands above a table


CPUINFO = """\
processor\t: 0
model name\t: A Processor @ 2.5 GHz
flags\t\t: fpu sse2 {units}

processor\t: 1
model name\t: another one
"""


@pytest.fixture
def cpuinfo(monkeypatch, tmp_path):
    """cpuinfo(text) is what the system tells of its processors; None: nothing."""

    def write(text):
        path = tmp_path / "cpuinfo"
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text, encoding="utf-8")
        monkeypatch.setattr(origin, "Path", lambda _: path)

    return write


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (CPUINFO.format(units=""), "A Processor @ 2.5 GHz"),
        (CPUINFO.format(units="avx avx2 fma"), "A Processor @ 2.5 GHz (AVX2)"),
        (CPUINFO.format(units="avx2 avx512f"), "A Processor @ 2.5 GHz (AVX-512)"),
        (CPUINFO.format(units="avx2 avx512f amx_bf16"), "A Processor @ 2.5 GHz (AMX)"),
        ("processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\n", "aarch64"),
        ("", "aarch64"),
        (None, "arm"),
    ],
)
def test_the_processors_name_and_its_units(monkeypatch, cpuinfo, text, name):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr("platform.processor", lambda: "arm")
    cpuinfo(text)
    assert race.processor() == name


@pytest.mark.parametrize(
    ("words", "threads", "begin"),
    [
        (["step", "--publish"], 2, "*`./course run 2 bench step`: best of 5 rounds, 2 threads, Fast (AVX2), 4 cores; "),
        (["--publish"], 1, "*`./course run 2 bench`: best of 5 rounds, 1 thread, Fast (AVX2), 4 cores; "),
        ([], None, "*`./course run 2 bench`: best of 5 rounds, Fast (AVX2), 4 cores; "),
        (["--data", "my own"], None, "*`./course run 2 bench --data 'my own'`: best of 5 rounds, "),
    ],
)
def test_circumstances_name_command_rounds_threads_processor_cores_and_versions(monkeypatch, words, threads, begin):
    monkeypatch.setattr(sys, "argv", [str(ROOT / "week02_cnn" / "bench.py"), *words])
    monkeypatch.setattr(race, "processor", lambda: "Fast (AVX2)")
    monkeypatch.setattr(race, "cores", lambda: 4)
    monkeypatch.setattr(race, "versions", lambda: {"python": "3.11.1", "torch": "2.9"})
    line = race.circumstances(5, threads)
    assert line.startswith(begin) and line.endswith("; python 3.11.1, torch 2.9*")


# ---------------------------------------------------------------- flags


def test_flags_of_a_bench():
    presets = {"smoke": {"rounds": 1}, "quick": {}}
    assert cli.parse(BenchConfig, presets, ["--preset", "smoke", "--threads", "1", "2"]).threads == (1, 2)
    for flag, value, line in (
        ("--rounds", "0", "--rounds 0: must be at least 1."),
        ("--threads", "0", "--threads 0: must be at least 1."),
        ("--threads", "two", "--threads two: must be whole numbers."),
    ):
        assert refused(cli.parse, BenchConfig, presets, [flag, value]) == line
