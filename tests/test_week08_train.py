"""Week 8: windows, optimisers, several processes, eval, completions, the bench's recipes and the pictures."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from programs import assert_picture, close, config, refused, rows

from shared import race
from shared.device import Device
from shared.files import ROOT
from week08_gpt import bench, complete, completions, drawing, eval, figures, sample, train, trained
from week08_gpt.corpus import Corpus, Part, encoded
from week08_gpt.model import GPT, GPTConfig
from week08_gpt.tokenizer import BPE, Characters
from week08_gpt.windows import Windows, bits_per_byte, losses

CPU = Device("cpu", "float32", "")
DOC = '"""Return the sum of two numbers."""'
SMALL = (
    "--preset",
    "smoke",
    "--vocab",
    320,
    "--block-size",
    48,
    "--epochs",
    2,
    "--steps-per-epoch",
    6,
    "--device",
    "cpu",
)


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    """A folder of 40 functions with docstrings."""
    folder = tmp_path_factory.mktemp("code")
    for n in range(40):
        text = f"def add{n}(a, b{n % 5}):\n    {DOC}\n    c = a + b{n % 5}\n    return c * {n}\n"
        (folder / f"f{n:02}.py").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(code, tmp_path_factory):
    """A small finished run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_HOME", str(tmp_path_factory.mktemp("home")))
        folder = tmp_path_factory.mktemp("runs") / "run"
        train.main(config(train, *SMALL, "--data", code, "--out", folder))
        yield folder


def part(ids):
    ids = np.asarray(ids)
    return Part((ids,), np.array([0, len(ids)]), np.array([len(ids)]), np.array([1]), False)


# ---------------------------------------------------------------- windows


def test_a_pass_reads_each_token_once_and_a_window_is_always_the_same():
    some = Windows(part(np.arange(103)), 10, seed=3)
    starts = some.starts(0, some.each)
    places = sorted(place for start in starts for place in range(start, start + 10))
    assert places == list(range(min(places), min(places) + 10 * some.each)) and max(places) + 1 <= 102
    again = Windows(part(np.arange(103)), 10, seed=3)
    assert again.starts(5, 20) == some.starts(5, 20) and again.starts(0, some.each) == starts
    assert some.starts(some.each, some.each) != starts, "the next pass has another order"
    inputs, targets = some.batch([4, 70], "cpu")
    assert inputs[1].tolist() == list(range(70, 80)) and targets[1].tolist() == list(range(71, 81))


@pytest.mark.parametrize("stride", [0, 3, 8])
def test_losses_are_those_of_each_token_with_the_context_that_was_said(stride):
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=11, block_size=8, layers=1, heads=1, d_model=8)).eval()
    ids = np.random.default_rng(0).integers(0, 11, 30)
    nats, ranks = losses(model, part(ids), 8, stride)
    step = stride or 8
    for place in range(29):
        block = place // step
        begin = max(0, block * step + step - 8)
        with torch.no_grad():
            logits = model(torch.from_numpy(ids[None, begin : place + 1]))[0, -1]
        cost = F.cross_entropy(logits[None], torch.tensor(ids[place + 1 : place + 2]))
        assert nats[place] == pytest.approx(float(cost), abs=1e-5)
        assert ranks[place] == int((logits > logits[ids[place + 1]]).sum())
    assert bits_per_byte(np.full(30, np.log(2)), part(ids)) == pytest.approx(1.0)


# ---------------------------------------------------------------- the loop


@pytest.mark.parametrize(("schedule", "a_quarter_down"), [("linear", 0.775), ("cosine", 0.868198)])
def test_the_rate_goes_up_in_a_line_and_down_in_a_line_or_a_cosine(schedule, a_quarter_down):
    rates = [train.learning_rate(step, 110, 10, 0.1, schedule) for step in range(111)]
    assert rates[0] == 0.1 and rates[9] == 1.0 and rates[10] == 1.0
    assert rates[35] == pytest.approx(a_quarter_down) and rates[60] == pytest.approx(0.55)
    assert rates[-1] == pytest.approx(0.1) and train.learning_rate(0, 10, 0, 0.0, schedule) == 1.0


def test_one_dial_sets_depth_width_heads_and_the_steps():
    for size in (1, 4):
        cfg = train.Config(size=size, lr=0.01)
        model = GPT(train.shape(cfg, 300))
        assert (model.config.layers, model.config.heads, model.config.d_model) == (size, size, 64 * size)
        optimizers = train.make_optimizers(cfg, model)
        train.set_lr(cfg, optimizers, 0.5)
        (rate,) = {group["lr"] for group in optimizers["optimizer"].param_groups}
        assert rate == 0.5 * 0.01 * 4 / size and optimizers["muon"].param_groups[0]["lr"] == 0.5 * cfg.muon_lr


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_each_weight_has_one_optimiser_and_only_matrices_decay(kind):
    model = GPT(train.shape(train.Config(size=1, llama=False), 300))
    optimizers = train.make_optimizers(train.Config(optimizer=kind), model)
    groups = [(name, group) for name, one in optimizers.items() for group in one.param_groups]
    seen = [id(p) for _, group in groups for p in group["params"]]
    assert sorted(seen) == sorted(id(p) for p in model.parameters())
    for name, group in groups:
        for weight in group["params"]:
            assert (group["weight_decay"] > 0) == (weight.ndim >= 2)
            assert (name == "muon") == (kind == "muon" and weight.ndim == 2 and id(weight) in inside(model))


def inside(model):
    return {id(p) for p in model.blocks.parameters()}


def corpus(count=60):
    tokens = Characters.train(["abcdefgh "])
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdefgh "), 30)) for _ in range(count)]
    return Corpus("made up", tokens, *(encoded(some, tokens) for some in (texts[8:], texts[:4], texts[4:8])))


def test_accumulated_batches_are_one_large_batch():
    found = []
    for size, times in ((8, 1), (2, 4)):
        cfg = config(train, *SMALL, "--batch-size", size, "--accumulate", times, "--block-size", 16, "--epochs", 1)
        data = corpus()
        found += [list(train.fit(cfg, data, train.build(cfg, data.tokenizer.vocab_size), CPU))]
    for name in ("train_loss", "val_loss", "val_bits_per_byte"):
        close(found[0][0][name], found[1][0][name], name, 1e-5)
    assert found[0][0]["tokens_per_second"] > 0 and found[0][0]["mfu"] > 0


def test_two_processes_have_the_losses_of_one(code, run, tmp_path, monkeypatch):
    """This process is the first; the second one is started beside it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    flags = [*map(str, SMALL), "--data", str(code), "--out", str(tmp_path / "two"), "--threads", "1"]
    other = {**os.environ, **world, "RANK": "1", "LOCAL_RANK": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "week08_gpt.train", *flags]
    for name, value in {**world, "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with subprocess.Popen(command, env=other, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as second:
        train.main(config(train, *flags))
        said = second.communicate(timeout=120)[0].decode()
    assert second.returncode == 0 and said == "", said
    for one, two in zip(rows(run), rows(tmp_path / "two"), strict=True):
        for name in ("train_loss", "val_loss", "val_bits_per_byte"):
            close(two[name], one[name], name, 1e-5)


def test_windows_that_cannot_be_dealt_out_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert refused(train.World().share, 8, "--batch-size") == (
        "--batch-size 8 cannot be dealt out to 3 processes: make it a multiple."
    )


# ---------------------------------------------------------------- eval, complete


def test_a_checkpoint_of_another_tokenizer_is_refused(run, tmp_path):
    import shutil

    shutil.copytree(run, tmp_path / "run")
    BPE.train(["other text"], 260).save(tmp_path / "run" / "tokenizer.json")
    line = refused(trained.load, tmp_path / "run")
    assert line.startswith(f"{tmp_path / 'run' / 'model.safetensors'} was made with another tokenizer")


def test_eval_judges_completions_beside_the_true_ones(run, tmp_path, capsys, monkeypatch):
    published = []
    monkeypatch.setattr(completions, "publish", lambda *arguments: published.append(arguments))
    found = eval.main(config(eval, "--run", run, "--out", tmp_path, "--tokens", 6, "--completions", 2, "--publish"))
    metrics = found["metrics"]
    assert 0 <= metrics["test_top1_accuracy"] <= metrics["test_top5_accuracy"] <= 1
    assert found["xz"]["behind train"] < found["xz"]["alone"]
    assert found["completions"]["(the true bodies)"] == {"parses": 1, "defined": 1, "copied": 0}
    assert set(found["completions"]) == {"(the true bodies)", *completions.SETTINGS}
    assert_picture(tmp_path / "validity.png")
    said = capsys.readouterr().out
    assert "2 functions of test, completed from signature and docstring" in said and "temperature 0.7" in said
    assert [arguments[1] for arguments in published] == ["eval completions"]


def test_complete_from_a_signature_from_a_file_and_in_a_class(run, tmp_path, capsys):
    flags = ("--run", run, "--tokens", 5)
    found = complete.main(config(complete, "def add(a, b)", "--doc", "Adds.", "--count", 2, *flags))
    said = capsys.readouterr().out
    assert len(found) == 2 and said.count('def add(a, b):\n    """Adds."""') == 2 and said.count("\n# ") == 2
    path = tmp_path / "x.py"
    path.write_text("import os\n\nclass A:\n    def f(self):\n        a = 1\n\nx = 2\n", encoding="utf-8")
    complete.main(config(complete, "--file", path, "--line", 5, *flags))
    assert capsys.readouterr().out.startswith("    def f(self):\n        a = 1")
    assert complete.moved("class A:\n    def f(self):\n        a = 1") == ("def f(self):\n    a = 1", "    ")
    assert complete.moved("    def f(self):\n        a\nb = 1") == ("    def f(self):\n        a\nb = 1", "")


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("x = 1",), "'x = 1' is no beginning of a function, as 'def mean(numbers):'."),
        (("def f():", "--file", "a.py"), "a signature or --file, not both."),
        (("--file", "none.py"), "--file none.py: there is no such file."),
        (("def f(" + "abcdefg, " * 60 + "):",), "a prompt of "),
        (("--top-p", "0", "def f():"), "--top-p 0: must be above 0, at most 1."),
    ],
)
def test_what_cannot_be_completed_is_refused(run, flags, line):
    assert refused(lambda: complete.main(config(complete, *flags, "--run", run))).startswith(line)


def test_a_line_behind_the_end_of_a_file_is_refused(run, tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n", encoding="utf-8")
    flags = ("--file", tmp_path / "a.py", "--line", 7, "--run", run)
    assert refused(complete.main, config(complete, *flags)) == f"--line 7: {tmp_path / 'a.py'} has 1 lines."


def test_interactive_shows_candidates_and_takes_what_is_typed(run, capsys, monkeypatch):
    answers = iter(["def add(a, b):", "'\\n    return'", "9", "1", ""])
    asked = []

    def typed(prompt=""):
        asked.append(prompt)
        try:
            return next(answers)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", typed)
    (text,) = complete.main(config(complete, "--run", run, "--top-p", 1))
    assert text.startswith("def add(a, b):\n    return")
    assert "'9': must be from 1 to 5" in capsys.readouterr().out
    assert asked[1].count("%") == 5
    assert complete.shaded("x", 0.9, True) == "\33[32mx\33[0m" and complete.shaded("x", 0.01, False) == "x"


def test_candidates_are_the_likeliest_after_the_filters(run):
    net = trained.load(run)
    ids = [net.tokenizer.end, *net.tokenizer.encode("def f(")]
    found = complete.candidates(net, ids, sample.Sampling(top_k=2))
    assert len(found) == 2 and found[0][1] >= found[1][1] and sum(prob for _, prob in found) == pytest.approx(1)


# ---------------------------------------------------------------- bench, pictures


def test_nanogpt_and_ours_on_a_small_text(tmp_path, capsys, monkeypatch):
    published = []
    monkeypatch.setattr(race, "publish", lambda *arguments: published.append(arguments))
    path = tmp_path / "text.txt"
    path.write_text("to be or not to be, that is the question\n" * 60, encoding="utf-8")
    flags = ("--preset", "smoke", "--text", path, "--out", tmp_path, "--publish")
    found = bench.main(config(bench, "nano", *flags))["nano, 1 threads"]
    assert found["ours"]["loss"] > 0 and found["time"]["ratio"] > 0
    assert "nanoGPT's recipe" in capsys.readouterr().out and published[0][1] == "bench nano"
    assert refused(bench.characters, "").startswith("--text ''")


def test_the_recipe_is_nanogpts():
    (model, [(adamw, largest)], steps, share) = bench.recipes(bench.Config(), 65)["nanoGPT's recipe"]
    assert (model.config.layers, model.config.heads, model.config.d_model, model.config.block_size) == (4, 4, 128, 64)
    assert (largest, steps) == (1e-3, 2000) and {g["weight_decay"] for g in adamw.param_groups} == {0.1, 0.0}
    assert share(50 / 2000) == 0.5 and share(1.0) == pytest.approx(0.1) and max(map(share, np.linspace(0, 1, 99))) <= 1


def test_writing_with_and_without_the_cache_is_the_same():
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=20, block_size=32, layers=2, heads=2, d_model=16)).for_writing()
    prompt = torch.tensor([[1, 2, 3]])
    assert torch.equal(bench.written(model, prompt, 20, True), bench.written(model, prompt, 20, False))


def test_a_head_that_copies_is_found():
    class Copies:
        def __call__(self, ids, weights):
            n = ids.shape[1] // 2
            one = torch.full((1, 2, 2 * n, 2 * n), 0.1)
            for query in range(n, 2 * n):
                one[0, 1, query, query - n + 1] = 0.9
            weights += [torch.full((1, 2, 2 * n, 2 * n), 0.1), one]

    layer, head, share, weights = drawing.copying(Copies(), [1, 2, 3, 4])
    assert (layer, head) == (1, 1) and share == pytest.approx(0.9) and weights.shape == (8, 8)


def test_figures_from_end_to_end(run, tmp_path, capsys):
    figures.main(config(figures, "--run", run, "--out", tmp_path, "--text", "def f(a):\n", "--prompt", "def f(a):\n"))
    for name in ("loss", "induction", "temperatures"):
        assert_picture(tmp_path / f"{name}.png")
    assert "left out validity.png" in capsys.readouterr().out
    assert "no finished run in it" in refused(figures.main, config(figures, "--runs", tmp_path))
