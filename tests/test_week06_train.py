"""Week 6's programs from end to end: data, train, eval, answer, shapes, leak, ablate, bench, and what they refuse."""

import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from programs import assert_picture, close, config, refused, refused_flags, rows

from shared import results
from shared.device import Device
from shared.files import read_json
from shared.sentence_pairs import BOS, EOS, PAD, Part
from week06_transformer import ablate, answer, baselines, bench, data, drawing, figures, generate, leak, shapes, train
from week06_transformer import eval as evaluation
from week06_transformer.attention import MultiHeadAttention
from week06_transformer.model import Transformer, TransformerConfig, count_parameters
from week06_transformer.trained import load

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")  # they would print on stderr

CPU = Device("cpu", "float32", "for the tests")
SMALL = ("--preset", "smoke", "--examples", 400, "--epochs", 6, "--lr", 0.02, "--task", "sort")


@pytest.fixture(scope="module")
def sorts(tmp_path_factory):
    """The folder of a small run that sorts strings. Tests read it."""
    run = tmp_path_factory.mktemp("sorts") / "run"
    train.main(config(train, *SMALL, "--out", run))
    evaluation.main(config(evaluation, "--run", run, "--longer", 0))
    return run


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    """The path of a tab-separated file in which some nouns are coloured."""
    path = tmp_path_factory.mktemp("pairs") / "own.tsv"
    nouns = {"house": "maison", "car": "voiture", "door": "porte", "table": "table", "chair": "chaise"}
    colours = {"red": "rouge", "green": "verte", "black": "noire", "big": "grande", "small": "petite"}
    verbs = {"I see": "je vois", "you see": "tu vois", "we have": "nous avons"}
    lines = [
        f"{verb} the {colour} {noun}\t{verbs[verb]} la {nouns[noun]} {colours[colour]}"
        for verb, colour, noun in itertools.product(verbs, colours, nouns)
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


# ---------------------------------------------------------------- data


@pytest.mark.parametrize(
    ("task", "source", "answered"),
    [("copy", "dbca", "dbca"), ("reverse", "dbca", "acbd"), ("sort", "dbcab", "abbcd"), ("add", "85+76", "521"),
     ("add", "9+99", "801"), ("add", "0+0", "0")],
)  # fmt: skip
def test_answers(task, source, answered):
    assert data.STRINGS[task](source) == answered


@pytest.mark.parametrize("task", data.STRINGS)
def test_no_string_of_val_or_test_is_trained_on_and_the_name_says_synthetic(task):
    found, again = (data.strings(task, 300, 4) for _ in range(2))
    parts = [set(part.sources) for part in (found.train, found.val, found.test)]
    assert [len(part) for part in parts] == [300, 60, 60] and len(set.union(*parts)) == 420
    assert "synthetic" in found.name and found.test.sources == again.test.sources
    for source, (right,) in zip(found.train.sources, (r for r in found.train.references), strict=True):
        assert right == data.STRINGS[task](source)
        if task == "add":
            a, b = (int(number[::-1]) for number in source.split("+"))
            assert int(right[::-1]) == a + b
    assert max(len(source) for source in parts[0]) == (9 if task == "add" else 4)


@pytest.mark.parametrize(("task", "length"), [("sort", 9), ("add", 7)])
def test_longer_strings_than_in_training(task, length):
    part = data.of_length(task, length, 50)
    assert all(max(map(len, source.split("+"))) == length for source in part.sources)
    assert part.references[0] == (data.STRINGS[task](part.sources[0]),)


def test_a_number_has_the_digits_that_it_has():
    rng = np.random.default_rng(0)
    for number in itertools.chain(*(data.drawn("add", 3, rng).split("+") for _ in range(200))):
        assert number == str(int(number[::-1]))[::-1]


def test_what_data_refuse():
    assert refused(data.strings, "add", 500, 1) == (
        "--examples 700: there are hardly so many different strings. Lower it, or raise --longest."
    )
    assert refused(data.load, "sort", "anki") == (
        "--data anki: --task sort makes its own strings; leave --data out. Only translate reads any."
    )
    assert refused(data.load, "translate", "no/such") == "--data no/such: no such file, nor one of sample, anki."


def test_tokens_there_and_back(sentences):
    letters = data.speller("sort", Part([], []), 10)
    assert letters.sizes == (0, 30) and letters.join(letters.target.decode(letters.target.encode("abz"))) == "abz"
    pairs = data.load("translate", str(sentences))
    words = data.speller("translate", pairs.train, 12)
    assert words.sizes == (12, 12) and words.split("I see") == ["i", "see"]
    encoded = data.encode(pairs.val, words)
    assert all(ids[0] == BOS and ids[-1] == EOS for ids in encoded.targets)
    assert all(ids[-1] == EOS and BOS not in ids for ids in encoded.sources)
    assert len(encoded.lengths) == len(encoded) == len(pairs.val.pairs)


# ---------------------------------------------------------------- loss, schedule


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothed_loss_by_its_definition_and_nothing_on_padding(smoothing):
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 6, generator=rng).requires_grad_()
    target = torch.tensor([[3, 5, EOS, PAD], [4, EOS, PAD, PAD]])
    truth = torch.full((2, 4, 6), smoothing / 5)
    truth[..., PAD] = 0.0
    truth.scatter_add_(2, target[:, :, None], torch.full((2, 4, 1), 1 - smoothing))
    real = target != PAD
    loss, expected = train.smoothed_cross_entropy(logits, target, smoothing), F.cross_entropy(logits[real], truth[real])
    close(loss, expected, "the loss", 1e-6)
    (gradient,), (right,) = (torch.autograd.grad(one, logits) for one in (loss, expected))
    close(gradient, right, "the gradient of logits", 1e-6)
    assert not gradient[0, 3].any() and not gradient[1, 2:].any(), "nothing comes from padding"


def test_the_schedules():
    paper = [64**-0.5 * min(s**-0.5, s * 300**-1.5) for s in range(1, 2001)]  # equation (3)
    ours = [64**-0.5 * 300**-0.5 * train.learning_rate(step, 2000, 300, "paper") for step in range(2000)]
    assert ours == pytest.approx(paper)
    linear = [train.learning_rate(step, 100, 10, "linear") for step in range(100)]
    assert linear[9] == 1 and linear[0] == 0.1 and 0 < linear[-1] < 0.02 and max(linear) == 1
    assert train.learning_rate(0, 100, 0, "linear") == train.learning_rate(0, 9, 0, "paper") == 1
    assert train.learning_rate(50, 100, 10, "constant") == 1


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("sizes", [(0, 30), (50, 70)])
def test_the_baseline_is_as_large_and_reads_past_no_end(sizes):
    ours = count_parameters(Transformer(TransformerConfig(*sizes)))
    gru = baselines.as_large(ours, *sizes, 64).eval()
    assert abs(count_parameters(gru) / ours - 1) < 0.01
    source, target = torch.tensor([[5, 6, EOS, PAD, PAD], [5, 6, 7, 8, EOS]]), torch.tensor([[BOS, 4, 5]] * 2)
    with torch.no_grad():
        both, state = gru(source, target), gru.encode(source)
        close(gru(source[:1, :3], target[:1]), both[:1], "logits without padding")
        for at in range(3):
            close(gru.step(target[:, at : at + 1], state), both[:, at], f"logits of step {at}")


class Chain:
    """Writes by a table: the chances of the next token follow from the last one and from the place."""

    def __init__(self, seed, words=6):
        rng = torch.Generator().manual_seed(seed)
        self.table = 2 * torch.randn(5, words, words, generator=rng)
        self.table[:, :, [PAD, BOS]] = -1e9

    def encode(self, source):
        return SimpleNamespace(place=0, take=lambda rows: None)

    def step(self, tokens, state):
        state.place += 1
        return self.table[state.place - 1][tokens[:, -1]]


@pytest.mark.parametrize("seed", range(6))
def test_beam_search_against_all_that_can_be_written(seed):
    chain, most, alpha = Chain(seed), 4, 0.6
    best = {}
    for ids in itertools.product((1, EOS, 4, 5), repeat=most):
        ids = ids[: ids.index(EOS) + 1] if EOS in ids else ids
        log_probs = [
            chain.table[at].log_softmax(-1)[before, after]
            for at, (before, after) in enumerate(zip((BOS, *ids), ids, strict=False))
        ]
        best[ids] = sum(log_probs).item() / ((5 + len(ids)) / 6) ** alpha
    right = max(best, key=best.get)
    written = generate.beam(chain, torch.ones(2, 3, dtype=torch.long), most, 64, alpha)
    for row in written.tolist():
        assert tuple(number for number in row if number != PAD) == right
    one, greedy = (f(chain, torch.ones(1, 3, dtype=torch.long), most) for f in (
        lambda *some: generate.beam(*some, 1), generate.greedy,
    ))  # fmt: skip
    assert one.tolist() == greedy.tolist(), "a beam of 1 is greedy"


def test_a_batch_is_written_as_its_sentences_alone():
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(0, 30, 16, 2, 1, 16)).eval()
    spell = data.speller("sort", Part([], []), 0)
    sources = [spell.source.encode(text) for text in ("abcdefg", "zy", "qrst", "a")]
    for width in (1, 3):
        together = generate.answers(model, sources, spell, 9, width)
        assert together == [generate.answers(model, [one], spell, 9, width)[0] for one in sources]


# ---------------------------------------------------------------- training


@pytest.mark.parametrize(("norm", "positions", "rms"), [("pre", "sinusoidal", False), ("post", "rope", True)])
def test_it_learns_one_batch_by_heart(norm, positions, rms):
    pairs = data.strings("reverse", 20, 5)
    spell = data.speller("reverse", pairs.train, 0)
    cfg = train.Config(task="reverse", d_model=32, heads=2, layers=1, d_ff=64, norm=norm, positions=positions, rms=rms,
                       batch_size=4, epochs=1, max_steps=120, warmup=10, lr=0.01)  # fmt: skip
    model = train.build(cfg, spell)
    batch = pairs.train.take(np.arange(4))
    encoded = data.encode(batch, spell)
    many = data.Encoded(encoded.sources * 120, encoded.targets * 120)  # 120 steps on 4 strings
    (row,) = train.fit(cfg, many, batch, spell, model, CPU)
    assert row["val_exact"] == 1.0 and row["val_loss"] < 0.1


def test_a_tiny_run_beats_always_the_same_answer(sorts):
    result = read_json(sorts / "result.json")
    assert result["data"] == "sort (synthetic)" and result["task"] == "sort" and result["synthetic"] is True
    ours, (gru, constant) = result["metrics"]["test_exact"], result["baselines"]
    assert ours > constant["test_exact"] + 0.05 and gru["name"] == baselines.NAME and gru["test_exact"] > 0
    found = rows(sorts)
    assert found[-1]["train_loss"] < found[0]["train_loss"] and "val_exact" in found[-1]


def test_eval_tells_of_longer_strings_and_of_mistakes(sorts, capsys):
    found = evaluation.main(config(evaluation, "--run", sorts, "--longer", 2))
    said = capsys.readouterr().out
    assert [length for length, _ in found["by_length"]] == [3, 4, 5, 6]
    assert "sort (synthetic: 3 to 4 letters): 80 strings" in said and "6* " in said and "written  " in said
    assert found["scored"] == 80 and 0 <= found["metrics"]["test_exact"] <= 1


def test_answers_are_judged(sorts, capsys):
    (written,) = answer.main(config(answer, "cba", "--run", sorts))
    said = capsys.readouterr().out
    assert f"sort cba: {written}   (" in said
    answer.main(config(answer, "abcdefghijklmnop", "--run", sorts))
    assert capsys.readouterr().out.endswith(") It has seen at most 4 letters.\n")
    known = "is none of the letters that it knows, abcdefghijklmnopqrstuvwxyz."
    assert refused(answer.main, config(answer, "cb1", "--run", sorts)) == f"'cb1': '1' {known}"
    assert refused(answer.main, config(answer, "", "--run", sorts)) == "an empty sentence: write something."
    assert refused(answer.main, config(answer, "--run", sorts)).startswith("write something behind it")


def test_a_vocabulary_of_another_run_is_refused(sorts, tmp_path):
    for name in ("model.safetensors", "config.json", "vocabulary.json"):
        (tmp_path / name).write_bytes((sorts / name).read_bytes())
    words = json.loads((tmp_path / "vocabulary.json").read_text(encoding="utf-8"))
    words["source"].pop()
    (tmp_path / "vocabulary.json").write_text(json.dumps(words), encoding="utf-8")
    path = tmp_path / "vocabulary.json"
    assert refused(load, tmp_path) == f"{path} has [29, 30] words, the network [30, 30]: not of one run."


def test_sums_are_written_as_usual(tmp_path, capsys):
    run = tmp_path / "run"
    flags = ("--preset", "smoke", "--task", "add", "--examples", 200, "--max-steps", 2, "--no-peer")
    train.main(config(train, *flags, "--out", run))
    capsys.readouterr()
    answer.main(config(answer, "58+67", "--run", run))
    assert "(wrong: 125)" in capsys.readouterr().out
    assert refused(answer.main, config(answer, "58", "--run", run)) == "'58' is no sum of two numbers, as 58+67."


def test_translation_from_end_to_end(sentences, tmp_path, capsys):
    run = tmp_path / "run"
    flags = ("--preset", "smoke", "--task", "translate", "--data", sentences, "--epochs", 8, "--batch-size", 8)
    train.main(config(train, *flags, "--lr", 0.02, "--warmup", 10, "--label-smoothing", 0.1, "--out", run))
    result = read_json(run / "result.json")
    ours, constant = result["metrics"]["val_bleu"], result["baselines"][-1]
    assert result["data"] == str(sentences) and "synthetic" not in result and ours > constant["val_bleu"]
    found = evaluation.main(config(evaluation, "--run", run, "--beam", 2))
    assert {"test_bleu", "test_chrf", "test_exact"} <= found["metrics"].keys()
    capsys.readouterr()
    answer.main(config(answer, "I see the purple house", "--run", run))
    assert "(words that it does not know: purple)" in capsys.readouterr().out
    path = tmp_path / "cross.png"
    drawing.cross_attention(path, load(run), "I see the red house")
    assert_picture(path)


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--heads", 3, "--examples", 100), "d_model 64 is not divisible by 3 heads: each head gets d_model / heads."),
        (("--positions", "learned", "--max-len", 5, "--no-peer", "--examples", 100),
         "length 13: the learned positions end at 5. Train with a larger --max-len, or with --positions sinusoidal or "
         "rope."),
    ],
)  # fmt: skip
def test_what_train_refuses(flags, line, tmp_path):
    assert refused(train.main, config(train, *flags, "--out", tmp_path / "run")) == line


def test_flags_out_of_bounds():
    assert refused_flags(train, "--longest", 2) == "--longest 2: must be from 3 to 64."
    assert refused_flags(train, "--task", "multiply").startswith("--task multiply: must be one of copy, reverse")


# ---------------------------------------------------------------- shapes, leak, ablate, bench, pictures


def test_shapes_prints_a_tree(capsys):
    found = shapes.main(config(shapes, "--batch", 3, "--seq", 6, "--target-seq", 2, "--d-model", 8, "--heads", 2))
    said = capsys.readouterr().out
    by_name = {name.strip("│├└─ "): size for name, size, _ in found}
    assert by_name["in_proj(x)"] == "(3, 2, 24)" and by_name["logits"] == "(3, 2, 24)"
    sizes = [size for name, size, _ in found if name.endswith(" weights")]
    assert sizes == ["(3, 2, 6, 6)", "(3, 2, 2, 2)", "(3, 2, 2, 6)"]
    assert len([line for line in said.splitlines() if line[:1] in "│├└T"]) >= len(found)


def test_wrong_sizes_explain_themselves():
    assert refused(shapes.main, config(shapes, "--d-model", 10, "--heads", 4)) == (
        "--d-model 10 is not divisible by --heads 4: every head gets d_model / heads numbers of each vector. These "
        "divide it: 1, 2, 5, 10."
    )
    assert refused(shapes.main, config(shapes, "--d-model", 9)).startswith("--d-model 9: must be even")


def test_leak_from_end_to_end(tmp_path, capsys):
    found = leak.main(config(leak, "--preset", "smoke", "--out", tmp_path))
    assert list(found) == [leak.WITH, leak.WITHOUT] and "without it" in capsys.readouterr().out
    assert_picture(tmp_path / "leak.png")


def test_with_a_leak_the_loss_is_too_good_to_be_true():
    pairs = data.strings("reverse", 2000, 5)
    spell = data.speller("reverse", pairs.train, 0)
    cfg = train.Config(task="reverse", d_model=32, heads=2, layers=1, d_ff=64, batch_size=32, epochs=3, lr=0.01,
                       warmup=20)  # fmt: skip
    model = train.build(cfg, spell)
    model.causal = False
    *_, row = train.fit(cfg, data.encode(pairs.train, spell), pairs.val, spell, model, CPU)
    assert row["val_loss"] < 0.5 and row["val_exact"] < 0.1


def test_ablate_from_end_to_end(tmp_path, capsys, monkeypatch):
    published = []
    monkeypatch.setattr(results, "publish", lambda *arguments: published.append(arguments))
    monkeypatch.setattr(ablate, "POSITIONS", ("rope", "none"))
    flags = ("--preset", "smoke", "--seeds", 1, "--max-steps", 1, "--publish", "--out", tmp_path)
    found = ablate.main(config(ablate, "longer", "norm", *flags))
    assert list(found) == ["longer", "norm"]
    assert all(len(row["by_length"]) == 3 + ablate.BEYOND for row in found["longer"].values())
    for name in ("longer", "norm"):
        assert_picture(tmp_path / f"{name}.png")
    assert [name for _, name, _ in published] == ["ablate longer", "ablate norm"]
    assert "| post-norm, no warm-up | " in capsys.readouterr().out


def sizes_of(part):
    """How many parameters the variants of a part have."""
    for flags in ablate.variants(part, config(ablate)).values():
        cfg = train.Config(**flags)
        yield count_parameters(train.build(cfg, data.speller(cfg.task, Part([], []), 0)))


def test_heads_cost_no_parameters_and_width_and_depth_about_the_same():
    assert len(set(sizes_of("heads"))) == 1
    sizes = list(sizes_of("shape"))
    assert max(sizes) / min(sizes) < 1.1


def test_bench_from_end_to_end(tmp_path, capsys):
    found = bench.main(config(bench, "--preset", "smoke", "--out", tmp_path))
    assert list(found) == [f"{part}, 1 threads" for part in bench.PARTS]
    row = found["attention, 1 threads"]["ours, fused, 16"]
    assert row["share"] > 0 and row["megabytes"] > 0
    assert "with caches" in capsys.readouterr().out
    assert_picture(tmp_path / "cost.png")


def test_the_contestants_compute_the_same(monkeypatch):
    seen = []
    monkeypatch.setattr(bench, "forward_and_backward", lambda layer, x, _: lambda: seen.append(layer(x)))
    for causal in (False, True):
        seen.clear()
        for work in bench.contestants(config(bench, "--preset", "smoke"), 9, CPU, causal).values():
            work()
        outs = [out[0] if isinstance(out, tuple) else out for out in seen]
        assert len(outs) == 4
        for out in outs[1:]:
            close(out, outs[0], "out of a contestant")
    torch.manual_seed(0)
    model, source = Transformer(TransformerConfig(9, 9, 16, 2, 1, 16, 0.0)).eval(), torch.tensor([[4, 5, 6]])
    assert bench.write_cached(model, source, 7).item() == bench.write_anew(model, source, 7)[0, -1].item()


def test_the_explicit_path_keeps_more():
    layers = {fused: MultiHeadAttention(16, 2, fused=fused) for fused in (True, False)}
    x = torch.randn(1, 200, 16, requires_grad=True)
    kept = {fused: bench.kept_megabytes(lambda layer=layer: layer(x)) for fused, layer in layers.items()}
    assert kept[False] - kept[True] > 0.95 * 2 * 200 * 200 * 4 / 1e6, "the weights of both heads"


def test_watching_changes_nothing_and_ends(sorts):
    trained = load(sorts)
    before = trained.answers(["cba"])
    source, target, weights = drawing.maps(trained, "cba")
    assert trained.answers(["cba"]) == before and source == ["c", "b", "a", "end"]
    assert set(weights) == {"encoder.0.attention", "decoder.0.attention", "decoder.0.cross_attention"}
    assert weights["decoder.0.cross_attention"].shape == (2, len(target), 4)
    for values in weights.values():
        close(values.sum(-1), np.ones(values.shape[:2]), "the sum of a query's weights")
    assert not math.isnan(float(weights["encoder.0.attention"].sum()))


def test_figures_draws_what_is_there_and_says_what_is_not(sorts, tmp_path, capsys):
    flags = ("--measured", tmp_path, "--out", tmp_path / "out")
    figures.main(config(figures, "--sort", sorts, "--string", "badc", *flags))
    for name in ("positions", "schedule", "attention_sort"):
        assert_picture(tmp_path / "out" / f"{name}.png")
    assert f"left out leak.png: it is not in {tmp_path / 'leak-reverse'} yet" in capsys.readouterr().out
    line = f"{sorts} has learned to sort, not to reverse."
    assert refused(figures.main, config(figures, "--reverse", sorts, *flags)) == line
