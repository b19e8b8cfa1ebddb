"""The command line as a learner meets it: what is typed, what comes back, and what is said when it is wrong."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
import torch
import tyro
from annotated_types import Ge, Gt, Le
from programs import refused, started

from shared import cli, config, runs
from shared.config import Count, Natural, NonNegative, Positive, Share, TrainConfig
from shared.errors import CourseError, Stopped
from shared.files import ROOT


@dataclass
class Config(TrainConfig):
    """The flags of a small program."""

    hidden: tuple[Count, ...] = (4, 2)
    """Neurons per hidden layer."""
    rates: tuple[Positive, ...] = (0.1,)
    """Learning rates."""
    pair: tuple[int, int] = (1, 2)
    """Two numbers."""
    lr: Positive = 0.1
    """The size of a step."""
    dropout: Share = 0.0
    """The share of neurons silenced."""
    weight_decay: NonNegative = 0.0
    """Pulls towards zero."""
    scale: float = 1.0
    """Of anything."""
    side: Annotated[int, Ge(8), Le(1024)] = 32
    """Pixels."""
    target: Annotated[float, Gt(0), Le(1)] = 0.7
    """To be reached."""
    pool: Literal["max", "avg"] = "max"
    """How to halve."""
    kernel: Literal[3, 5] = 3
    """Pixels of a kernel."""
    marks: tuple[Literal["a", "b"], ...] = ()
    """Any of these."""
    max_steps: Natural = 10
    """Stop after so many steps."""
    fast: bool = False
    """Do it fast."""
    norm: bool = True
    """Batch norm."""


@dataclass
class Parts:
    """The flags of a program that measures: no preset, no seed, nothing to resume."""

    parts: tyro.conf.Positional[tuple[Literal["flops", "params", "all"], ...]] = ()
    """Which parts."""
    rounds: Count = 3
    """How often."""


@dataclass
class Words:
    """The flags of a program that reads what is typed."""

    text: tyro.conf.Positional[tuple[str, ...]] = ()
    """A text."""
    top: Count = 3
    """How many."""


PRESETS = {"smoke": {"hidden": (1,), "max_steps": 2}, "quick": {}, "full": {"data": "mnist"}}
PRESETS_OF = {Config: PRESETS, Parts: None, Words: None}


def parse(*arguments, week=None, flags=Config):
    return cli.parse(flags, PRESETS_OF[flags], arguments, week=week)


def launch(monkeypatch, main, *arguments, flags=Config):
    """cli.launch with these words on the command line; returns the exit code."""
    monkeypatch.setattr(sys, "argv", [str(ROOT / "week01_numpy_mlp" / "train.py"), *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.launch(main, flags, PRESETS_OF[flags])
    return caught.value.code


def never(cfg):
    """Does something."""
    pytest.fail("main must not run")


@pytest.fixture(autouse=True)
def program(monkeypatch):
    """The program is train.py of week 1."""
    monkeypatch.setattr(sys, "argv", [str(ROOT / "week01_numpy_mlp" / "train.py")])


# What is typed


def test_without_flags_it_is_the_quick_preset():
    assert parse() == Config(preset="quick")


@pytest.mark.parametrize("arguments", [["--preset", "smoke"], ["--preset=smoke"]])
def test_preset_gives_defaults(arguments):
    assert parse(*arguments) == Config(preset="smoke", hidden=(1,), max_steps=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--preset", "smoke", "--max-steps", "7"],
        ["--max-steps=7", "--preset=smoke"],
        ["--max_steps", "7", "--preset", "smoke"],
    ],
)
def test_flag_by_hand_wins_over_the_preset_wherever_it_stands(arguments):
    assert parse(*arguments) == Config(preset="smoke", hidden=(1,), max_steps=7)


def test_last_one_wins():
    assert parse("--preset", "full", "--preset", "smoke") == parse("--preset", "smoke")
    assert parse("--lr", "-1", "--lr", "2").lr == 2


@pytest.mark.parametrize(("words", "hidden"), [(["3", "5"], (3, 5)), (["3"], (3,)), ([], ())])
def test_hidden_layers_come_as_a_tuple_of_any_length(words, hidden):
    assert parse("--hidden", *words).hidden == hidden


def test_switches_have_two_names():
    assert parse().fast is False and parse("--fast").fast is True and parse("--fast", "--no-fast").fast is False
    assert parse().norm is True and parse("--no-norm").norm is False and parse("--no-norm", "--norm").norm is True


def test_words_and_parts_stand_without_a_flag():
    assert parse("good", "morning", "--top", "2", flags=Words) == Words(("good", "morning"), 2)
    assert parse("--top", "1", "-5", flags=Words) == Words(("-5",), 1)
    assert parse("flops", "all", flags=Parts) == Parts(("flops", "all"))
    assert parse(flags=Parts) == Parts()


def test_the_edges_of_what_is_allowed_are_allowed():
    typed = "--seed 4294967295 --side 1024 --target 1 --dropout 0 --weight-decay 0 --scale -3 --lr 1e-300 --max-steps 0"
    cfg = parse(*typed.split(), "--pair", "-1", "-2", "--marks", "a", "b", "--kernel", "5")
    assert cfg == Config(
        seed=2**32 - 1, side=1024, target=1, dropout=0, weight_decay=0, scale=-3, lr=1e-300, max_steps=0,
        pair=(-1, -2), marks=("a", "b"), kernel=5,
    )  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_allowed(preset):
    config.check(parse("--preset", preset))


# What is said when it is wrong: one line each, before main runs

WRONG = {
    # out of bounds, or no choice
    "--lr -1": "--lr -1: must be above 0.",
    "--lr=0": "--lr 0: must be above 0.",
    "--lr nan": "--lr nan: must be a finite number.",
    "--lr inf": "--lr inf: must be a finite number.",
    "--lr 1e400": "--lr inf: must be a finite number.",
    "--weight-decay -1e-4": "--weight-decay -0.0001: must be 0 or more.",
    "--dropout 1": "--dropout 1: must be from 0 to below 1.",
    "--scale nan": "--scale nan: must be a finite number.",
    "--seed 4294967296": "--seed 4294967296: must be from 0 to 4294967295.",
    "--seed -1": "--seed -1: must be from 0 to 4294967295.",
    "--max-steps -1": "--max-steps -1: must be 0 or more.",
    "--side 7": "--side 7: must be from 8 to 1024.",
    "--target 0": "--target 0: must be above 0, at most 1.",
    "--hidden 3 0": "--hidden 0: must be at least 1.",
    "--rates 0.1 nan": "--rates nan: must be a finite number.",
    "--pool mean": "--pool mean: must be one of max, avg.",
    "--pool=mean": "--pool mean: must be one of max, avg.",
    "--kernel 4": "--kernel 4: must be one of 3, 5.",
    "--marks a c": "--marks c: must be one of a, b.",
    "--device gpu": "--device gpu: must be one of auto, cpu, cuda, mps.",
    "--preset smoke --lr -1": "--lr -1: must be above 0.",
    # words for numbers
    "--lr abc": "--lr abc: must be a number.",
    "--lr 3,5": "--lr 3,5: must be a number.",
    "--max-steps 1.5": "--max-steps 1.5: must be a whole number.",
    "--max_steps=many": "--max-steps many: must be a whole number.",
    "--hidden 3 x": "--hidden 3 x: must be whole numbers.",
    "--hidden=3 x": "--hidden 3 x: must be whole numbers.",
    "--rates 0.1 x": "--rates 0.1 x: must be numbers.",
    "--pair 1 x": "--pair 1 x: must be whole numbers.",
    # flags that are none
    "--lrr 3": "--lrr: no such flag; did you mean --lr?",
    "--lrr=3": "--lrr: no such flag; did you mean --lr?",
    "-lr 3": "-lr: no such flag; did you mean --lr?",
    "--LR 3": "--LR: no such flag; did you mean --lr?",
    "--max-step 3": "--max-step: no such flag; did you mean --max-steps?",
    "--no-nrom": "--no-nrom: no such flag; did you mean --no-norm?",
    "--hlep": "--hlep: no such flag; did you mean --help?",
    "--quux 3": "--quux: no such flag. ./course train 1 --help lists them.",
    "train": "train: not understood. ./course train 1 --help lists the flags.",
    "--lr 1 2": "2: not understood. ./course train 1 --help lists the flags.",
    "--pair 1 2 3": "3: not understood. ./course train 1 --help lists the flags.",
    "-- --lr 3": "--lr: not understood. ./course train 1 --help lists the flags.",
    # switches, and values that are missing
    "--fast 1": "--fast 1: --fast is a switch and takes no value.",
    "--fast=true": "--fast=true: --fast is a switch and takes no value.",
    "--seed 0 --norm=0": "--norm=0: --norm is a switch and takes no value.",
    "--no_norm=": "--no_norm=: --no-norm is a switch and takes no value.",
    "--help=1": "--help=1: --help is a switch and takes no value.",
    "--lr": "--lr: a value is missing.",
    "--lr=": "--lr: a value is missing.",
    "--lr --fast": "--lr: a value is missing.",
    "--pool": "--pool: a value is missing.",
    "--pool=": "--pool: a value is missing.",
    "--pair 1": "--pair: a value is missing.",
    "--hidden=": "--hidden: a value is missing.",
    "--data": "--data: a value is missing.",
    "--preset": "--preset: a value is missing.",
    "--preset --lr 1": "--preset: a value is missing.",
    # presets
    "--preset smok": "unknown preset 'smok': choose one of smoke, quick, full.",
    "--preset=": "unknown preset '': choose one of smoke, quick, full.",
}


@pytest.mark.parametrize("typed", WRONG)
def test_wrong_flag_or_value_is_told_in_one_line(typed):
    assert refused(parse, *typed.split(" ")) == WRONG[typed]


@pytest.mark.parametrize(
    ("flags", "typed", "line"),
    [
        (Parts, "flop", "flop: must be one of flops, params, all."),
        (Parts, "flops x", "x: must be one of flops, params, all."),
        (Parts, "flops --round 1", "--round: no such flag; did you mean --rounds?"),
        (Parts, "--parts flops", "--parts: no such flag. ./course train 1 --help lists them."),
        (Parts, "--preset smoke", "--preset: no such flag. ./course train 1 --help lists them."),
        (Parts, "--resume", "--resume: no such flag. ./course train 1 --help lists them."),
        (Words, "good --top 0", "--top 0: must be at least 1."),
        (Words, "--top many good", "--top many: must be a whole number."),
    ],
)
def test_programs_with_positional_words(flags, typed, line):
    assert refused(lambda: parse(*typed.split(), flags=flags)) == line


@pytest.mark.parametrize("words", [["--lr", "a\nb"], ["--a\nb"], ["a\nb"], ["--pool", "a\nb"], ["--preset", "a\nb"]])
def test_even_a_word_of_two_lines_is_refused_in_one(words):
    refused(parse, *words)


@pytest.mark.parametrize("typed", ["--lr -1", "--lrr 3", "--fast=1", "--preset=smok", "--lr", "--pool mean", "train"])
def test_a_refusal_is_one_line_without_a_box_and_code_2(monkeypatch, capfd, typed):
    assert launch(monkeypatch, never, *typed.split()) == 2
    out, err = capfd.readouterr()
    assert out == "" and err == f"error: {refused(parse, *typed.split())}\n"


def test_course_error_is_one_line_and_code_2(monkeypatch, capsys):
    def main(cfg):
        raise CourseError(f"--data {cfg.data}: no such file.")

    assert launch(monkeypatch, main, "--data", "here") == 2
    assert capsys.readouterr() == ("", "error: --data here: no such file.\n")


def test_a_bug_keeps_its_traceback():
    def main(cfg):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.launch(main, Config, PRESETS)


def test_ctrl_c_is_one_word_and_code_130(monkeypatch, capsys):
    def main(cfg):
        signal.raise_signal(signal.SIGINT)

    assert launch(monkeypatch, main) == 130
    assert capsys.readouterr() == ("", "stopped.\n")


def test_a_stop_that_was_answered_is_no_error_and_code_130(monkeypatch, capsys):
    def main(cfg):
        raise Stopped("stopped at step 3 of 9; saved.")

    assert launch(monkeypatch, main) == 130
    assert capsys.readouterr() == ("", "stopped at step 3 of 9; saved.\n")


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_closed_pipe_is_quiet(lines):
    """As with `| head`: nobody reads on, whether that shows while printing or only at the end."""
    code = (
        "import sys; from shared import cli, config\n"
        "def main(cfg): sys.stdin.readline(); [print('a line') for _ in range(int(sys.stdin.readline()))]\n"
        "cli.launch(main, config.TrainConfig, {'quick': {}})"
    )
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    with process:
        process.stdout.close()
        process.stdin.write(f"go\n{lines}\n")
        process.stdin.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_main_gets_the_config(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "argv", ["train.py", "--preset", "smoke", "--seed", "3"])
    cli.launch(seen.append, Config, PRESETS)
    assert seen == [Config(preset="smoke", seed=3, hidden=(1,), max_steps=2)]


# --help


def help_of(monkeypatch, capsys, main, flags=Config, word="--help"):
    monkeypatch.setenv("COLUMNS", "200")
    assert launch(monkeypatch, main, word, flags=flags) == 0
    return re.sub(r"[│\s]+", " ", capsys.readouterr().out)


def test_help_teaches_every_flag(monkeypatch, capsys):
    def main(cfg):
        """Trains a small thing,
        and says so.

        Returns nothing.
        """

    text = help_of(monkeypatch, capsys, main)
    assert "usage: ./course train 1" in text
    assert "Trains a small thing, and says so." in text
    assert "Returns" not in text, "what main returns is for who calls it, not for who types"
    for flag, help_text in {
        "--data STR": "a real data set by name (downloaded once), or a path of your own. The week's README says",
        "--device {auto,cpu,cuda,mps}": "auto takes the fastest one that is there and says why. (default: auto)",
        "--seed INT": "The same seed gives the same result on the same machine with the same number of threads.",
        "--out STR": "The run's folder.",
        "--resume, --no-resume": "Go on with the run in --out",
        "--preset STR": "`full` (the real thing). A flag given by hand wins over the preset. (default: quick)",
        "--hidden [INT [INT ...]]": "Neurons per hidden layer. (default: 4 2)",
        "--lr FLOAT": "The size of a step. (default: 0.1)",
        "--pool {max,avg}": "How to halve. (default: max)",
        "--max-steps INT": "Stop after so many steps. (default: 10)",
        "--fast, --no-fast": "Do it fast. (default: False)",
        "--norm, --no-norm": "Batch norm. (default: True)",
    }.items():
        at = text.index(flag + " ")
        assert help_text in text[at : at + 400], flag


def test_help_shows_what_a_program_has_and_nothing_else(monkeypatch, capsys):
    text = help_of(monkeypatch, capsys, never, Parts, "-h")
    assert "[{flops,params,all} [{flops,params,all} ...]]" in text and "--rounds INT" in text
    assert set(re.findall(r" (--\w+)", text)) == {"--help", "--rounds"}


def test_help_shows_the_presets_own_values(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    assert launch(monkeypatch, never, "--preset", "smoke", "--help") == 0
    assert "Neurons per hidden layer. (default: 1)" in capsys.readouterr().out


def test_help_of_a_week_imports_nothing_heavy():
    code = (
        "import sys, runpy; sys.argv[1:] = ['--help']\n"
        "try: runpy.run_module('week01_numpy_mlp.train', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end: print('code', end.code)\n"
        "print('heavy', sorted({'torch', 'sklearn', 'matplotlib'} & sys.modules.keys()))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines()[-2:] == ["code 0", "heavy []"], done.stderr
    assert "usage: ./course train 1 " in done.stdout


# --resume


@pytest.fixture
def saved(tmp_path):
    """Writes a run folder's config.json: from a table, or as the text it is to hold."""

    def write(content):
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "config.json").write_text(text, encoding="utf-8")
        return tmp_path

    return write


def resume(run, *flags):
    return parse("--resume", "--out", str(run), *flags, week=1)


def test_resume_takes_the_runs_own_flags_and_keeps_those_by_hand(saved):
    run = saved({"preset": "smoke", "hidden": [3, 3], "lr": 0.5, "max_steps": 2, "seed": 4, "resume": False})
    assert resume(run, "--max-steps", "9", "--no-norm") == Config(
        preset="smoke", hidden=(3, 3), lr=0.5, max_steps=9, seed=4, norm=False, resume=True, out=str(run)
    )


def test_resume_of_a_run_that_has_been_moved(saved):
    assert resume(run := saved({"out": "/where/it/was"})).out == str(run)


def test_resume_without_out_takes_the_weeks_newest_run_with_a_checkpoint(monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "RUNS", tmp_path)
    first = runs.create(1, Config(lr=0.5))
    (first / "checkpoint.safetensors").touch()
    runs.create(1, Config(lr=0.7))  # stopped before its first checkpoint
    assert parse("--resume", week=1) == Config(lr=0.5, resume=True, out=str(first))


def test_another_program_of_the_week_goes_on_with_its_own_newest_run(monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "RUNS", tmp_path)
    ours, theirs = runs.create(3, Config(lr=0.5)), runs.create(3, Config(lr=0.7))
    (ours / "price_forecast.safetensors").touch()
    (theirs / "checkpoint.safetensors").touch()
    assert cli.parse(Config, PRESETS, ["--resume"], week=3, program="price_forecast").out == str(ours)
    assert cli.parse(Config, PRESETS, ["--resume"], week=3).out == str(theirs)


def test_resume_with_nothing_to_resume(monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "RUNS", tmp_path)
    line = "no run of week 1 with a checkpoint.safetensors yet: `./course train 1` makes one."
    assert refused(lambda: parse("--resume", week=1)) == line


def test_programs_that_resume_nothing_take_the_flag_as_it_is(tmp_path):
    """As repeat: what --resume means there is its own affair."""
    assert parse("--resume", "--out", str(tmp_path)) == Config(resume=True, out=str(tmp_path))


def test_resume_of_a_run_from_before_a_flag_was_there(saved):
    """A newer version of a program has more flags: an old run takes their defaults."""
    assert parse("--resume", f"--out={saved({'lr': 2})}", week=1).lr == 2


@pytest.mark.filterwarnings("error")
def test_resume_of_a_run_whose_choice_is_gone(saved):
    run = saved({"pool": "median"})
    assert refused(resume, run) == "--pool median: must be one of max, avg."
    assert resume(run, "--pool", "avg").pool == "avg"


def test_resume_under_the_name_of_another_preset(saved):
    run = saved({"preset": "smoke"})
    assert resume(run, "--preset", "smoke").preset == "smoke"
    line = f"{run} was started with --preset smoke: leave --preset out, or choose by --out."
    assert refused(resume, run, "--preset", "full") == line


def test_out_without_a_run_in_it(tmp_path):
    line = f"no run in {tmp_path}: it has no config.json. Give --out another folder, or leave out --resume."
    assert refused(resume, tmp_path) == line


@pytest.mark.parametrize(
    ("content", "strange"),
    [
        ({"lr": 0.1, "heads": 8, "context": 64}, "heads, context"),
        ([1, 2], "not a table"),
        ("null", "not a table"),
        ({"lr": "large"}, "lr"),
        ({"hidden": 3}, "hidden"),
        ({"hidden": [3, "x"]}, "hidden"),
        ({"hidden": [[3]], "rates": [1, 0.5]}, "hidden"),
        ({"seed": None}, "seed"),
        ({"seed": True, "fast": 1}, "seed, fast"),
        ({"max_steps": 1.5}, "max_steps"),
    ],
)
def test_config_of_another_program(saved, content, strange):
    run = saved(content)
    path = run / "config.json"
    assert refused(resume, run) == f"{path} is not of this program ({strange}). Start a new run without --resume."


@pytest.mark.parametrize("text", ["", '{"lr": 0.', "\x00\x00"])
def test_damaged_config(saved, text):
    run = saved(text)
    assert refused(resume, run).startswith(f"{run / 'config.json'} is not readable JSON")


# As a process: the programs of a week end as they should


def test_a_program_ends_with_one_line():
    done = started("week01_numpy_mlp.train", "--lr", "-1")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "error: --lr -1: must be above 0.\n")


def test_eval_computes_with_the_threads_that_are_asked_for(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["eval.py", "--threads", "1"])
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    before = torch.get_num_threads()
    try:
        cli.launch(lambda cfg: None, config.EvalConfig)
        assert torch.get_num_threads() == 1 and os.environ["OMP_NUM_THREADS"] == "1"
    finally:
        torch.set_num_threads(before)
