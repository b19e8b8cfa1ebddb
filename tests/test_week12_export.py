"""Week 12's exported embedder: torch's vectors in floats, nearly so in bytes, which are those of our own quantiser."""

import copy
import shutil
import signal
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
from programs import Lazily, config, refused, rows, tiny_encoder, write_pdf

from shared import runs
from shared.errors import Stopped
from shared.files import read_json, write_json
from week12_deploy import load, parity, speed
from week12_deploy.quantise import REDUCED, SYMMETRIC, quantise, range_of, scale_and_zero_point

train, export, onnx_embedder = (Lazily(f"week12_deploy.{name}") for name in ("train", "export", "onnx_embedder"))
bench, embed = Lazily("week12_deploy.bench"), Lazily("week11_rag.embed")
TEXTS = [
    "The ferry crosses the river every forty minutes.", "bread", "A bicycle may be hired for twelve crowns a day.",
    "The bakery opens at six, and its rye loaf weighs nine hundred grams.", "river", "Who was the first mayor?",
]  # fmt: skip


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """A PDF of three pages without questions, and an encoder that knows its words."""
    folder = tmp_path_factory.mktemp("town")
    write_pdf(folder / "town.pdf", [[(18, f"Part {n}"), (10, f"{TEXTS[n]} {TEXTS[3]}")] for n in (0, 2, 3)])
    tiny_encoder(folder / "encoder", [*TEXTS, "Part 0 2 3"], layers=2, width=64)
    return folder


@pytest.fixture(scope="module")
def torchs(town):
    return embed.Embedder(town / "encoder", "cpu")


def flags(town):
    return [
        "--preset",
        "smoke",
        "--data",
        town / "town.pdf",
        "--embedder",
        town / "encoder",
        "--size",
        32,
        "--overlap",
        4,
    ]


@pytest.fixture(scope="module")
def run(town, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    train.main(config(train, *flags(town), "--out", folder))
    return folder


# ---------------------------------------------------------------- the exported network


def test_floats_are_torchs_vectors_for_any_batch_and_length(run, torchs):
    ours = onnx_embedder.OnnxEmbedder(run, "fp32", batch=4)
    assert (ours.name, ours.dimension) == (torchs.name, 64)
    for texts in (TEXTS, TEXTS[:1], ["river"] * 9, [" ".join(TEXTS * 5)], [""]):
        found, expected = ours.encode(texts), torchs.encode(texts)
        assert found.dtype == np.float32 and np.abs(found - expected).max() < 2e-6
        assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert ours.encode([]).shape == (0, 64)
    assert [ours.count(text) for text in TEXTS] == [torchs.count(text) for text in TEXTS]
    assert ours.count(" ".join(TEXTS * 50)) == torchs.count(" ".join(TEXTS * 50)) > 500, "of what is cut off, too"
    line = "the exported embedder has no vectors of tokens (--rescore late): take week 11's own."
    assert refused(ours.encode_tokens, ["x"]) == line


def test_padding_and_neighbours_change_nothing(run):
    for variant, bound in (("fp32", 1e-6), ("int8", 0.05)):  # bytes share a scale with their neighbours
        ours = onnx_embedder.OnnxEmbedder(run, variant)
        together, alone = ours.encode(TEXTS), np.concatenate([ours.encode([text]) for text in TEXTS])
        assert np.abs(together - alone).max() < bound
        assert np.array_equal(ours.encode(TEXTS[::-1])[::-1], together), "in their order"


def test_the_default_exporter_makes_the_same_network(run, torchs, tmp_path):
    """torch.export takes seconds for each layer; so here it gets a network of none."""
    import torch

    class Small(torch.nn.Module):
        config = torchs.model.config

        def __init__(self):
            super().__init__()
            self.words = torch.nn.Embedding(self.config.vocab_size, 64)
            self.mix = torch.nn.Linear(64, 64)

        def set_attn_implementation(self, name):
            self.config._attn_implementation = name

        def forward(self, input_ids, attention_mask):
            return SimpleNamespace(last_hidden_state=torch.tanh(self.mix(self.words(input_ids))))

    before = torchs.model.config._attn_implementation
    small = copy.copy(torchs)
    small.model, small._recent = Small().eval(), {}
    export.to_onnx(small, tmp_path / "model.onnx", "dynamo")
    export.tokenizer_of(small, tmp_path / "tokenizer.json")
    train.card(tmp_path, small, [export.FLOAT], "fp32")
    ours = onnx_embedder.OnnxEmbedder(tmp_path)
    for texts in (TEXTS, TEXTS[:1], [" ".join(TEXTS * 5)]):
        assert np.abs(ours.encode(texts) - small.encode(texts)).max() < 2e-6
    assert torchs.model.config._attn_implementation == before and not list(tmp_path.glob("*.data"))
    assert b"site-packages" not in (tmp_path / "model.onnx").read_bytes(), "no stacks, so no folders of this machine"


def test_its_bytes_are_those_of_our_quantiser(run):
    """What onnxruntime makes of the weights, matrix by matrix, is what is taught in quantise.py."""
    import onnx
    from onnx import numpy_helper

    def arrays(name):
        model = onnx.load(run / next(one.file for one in export.VARIANTS if one.name == name))
        return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}

    floats = arrays("fp32")
    for name, grid, axis in (("int8", REDUCED, 1), ("int8-full", SYMMETRIC, 1), ("int8-tensor", SYMMETRIC, None)):
        found, seen = arrays(name), 0
        for weight, whole in found.items():
            if not weight.endswith("_quantized") or "embeddings" in weight:  # these have one scale in any case
                continue
            original = floats[weight.removesuffix("_quantized")]
            scale, zero = scale_and_zero_point(*range_of(original, axis), grid, symmetric=True)
            assert np.array_equal(quantise(original, scale, zero, grid, axis), whole), f"{name}: {weight}"
            assert np.allclose(found[weight.removesuffix("_quantized") + "_scale"], scale, rtol=1e-6)
            seen += 1
        assert seen == 12, "six matrices in each of two layers"


def test_a_matrix_with_large_weights_stays_in_floats(run, tmp_path):
    import onnx
    from onnx import numpy_helper

    source, coarse = run / "model.onnx", tmp_path / "model.onnx"
    assert export.spared(source) == [], "drawn at random, all are alike"
    name, (weight, numbers) = list(export.matrices(source).items())[3]
    model, large = onnx.load(source), numbers.copy()
    large[0] = 10 * np.abs(numbers).max()
    next(one for one in model.graph.initializer if one.name == weight).CopyFrom(numpy_helper.from_array(large, weight))
    onnx.save(model, coarse)
    assert export.spared(coarse) == [name] and export.off(large, REDUCED, 1) > 0.02 > export.off(numbers, REDUCED, 1)
    for variant, kept in ((export.INT8, True), (export.VARIANTS[2], False)):
        export.to_int8(coarse, tmp_path / variant.file, variant)
        left = {one.name for one in onnx.load(tmp_path / variant.file).graph.initializer}
        assert (weight in left, f"{weight}_quantized" in left) == (kept, not kept), variant.name


def test_a_folder_without_a_network_and_a_file_that_is_none(run, tmp_path):
    line = refused(onnx_embedder.OnnxEmbedder, tmp_path)
    assert line == f"{tmp_path} has no embedder.json: `./course train 12` exports an embedder."
    line = refused(onnx_embedder.OnnxEmbedder, run, "int4")
    assert line == f"{run} has no variant 'int4': it has fp32, int8, int8-full, int8-tensor."
    for name in ("embedder.json", "tokenizer.json"):
        shutil.copy(run / name, tmp_path / name)
    line = refused(onnx_embedder.OnnxEmbedder, tmp_path, "fp32")
    assert line.startswith(f"{tmp_path}/model.onnx is no network that onnxruntime can run (")
    (tmp_path / "model.onnx").write_bytes((run / "model.onnx").read_bytes()[:5_000])
    assert refused(onnx_embedder.OnnxEmbedder, tmp_path, "fp32").endswith("): export it again.")


# ---------------------------------------------------------------- train


def test_without_questions_cosines_decide(run):
    result = read_json(run / "result.json")
    assert result["chosen"] == "int8" and "val_mrr" not in result["metrics"]
    assert result["metrics"]["val_cosine"] >= 0.98 and {row["name"] for row in result["baselines"]} > {"fp32"}
    assert set(result["times"]) == {"torch", "fp32", "int8", "int8-full", "int8-tensor"}
    card = read_json(run / "embedder.json")
    assert card["chosen"] == "int8" and len(card["files"]) == 4
    assert round(rows(run)[0]["val_cosine"], 4) == 1.0


def test_it_is_stopped_after_a_variant_and_goes_on(run, town, tmp_path, monkeypatch):
    real, built = export.to_int8, []

    def stop(source, path, variant):
        real(source, path, variant)
        built.append(variant.name)
        if len(built) == 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("week12_deploy.export.to_int8", stop)
    out = tmp_path / "run"
    with pytest.raises(Stopped) as stopped:
        train.main(config(train, *flags(town), "--out", out))
    goes_on = f"`./course train 12 --out {out} --resume` goes on."
    assert str(stopped.value) == f"stopped after 2 of 4 variants; they are kept. {goes_on}"
    train.main(config(train, "--out", out, "--resume"))
    assert built == ["int8", "int8-full", "int8-tensor"], "nothing is exported twice"
    assert rows(out) == rows(run) and read_json(out / "embedder.json") == read_json(run / "embedder.json")
    line = refused(train.main, config(train, "--out", out, "--resume"))
    assert line == f"{out} has already finished: start a new run."
    line = refused(train.main, config(train, "--out", out, "--resume", "--size", 48))
    assert line == f"{out} was started with --size 32: leave --size out, or start a new run."


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--overlap", "256"], "--overlap 256: must be below --size 256."),
        (["--size", "8"], "--size 8: must be at least 16."),
        (["--exporter", "tf"], "--exporter tf: must be one of dynamo, script."),
        (["--embedder", "/no/such"], "--embedder /no/such: no such folder."),
    ],
)
def test_flags_that_must_not_be(flags, line, tmp_path):
    def start():
        train.main(config(train, *flags, "--out", tmp_path / "run"))

    assert refused(start).startswith(line) and not (tmp_path / "run").exists()


def test_bytes_are_chosen_only_where_they_hold():
    good = {"val_cosine": 0.99, "val_hit_at_5": 0.9, "val_mrr": 0.8}
    torchs = {"hit_at_5": 0.9, "mrr": 0.8}
    floats = good | {"val_cosine": 1.0}

    def chosen(int8):
        return train.choose([floats, int8, good, good], torchs).name

    assert chosen(good) == "int8" and chosen(good | {"val_mrr": 0.83}) == "int8", "better is no reason to refuse"
    assert chosen(good | {"val_cosine": 0.979}) == "fp32"
    assert chosen(good | {"val_mrr": 0.789}) == "fp32" and chosen(good | {"val_hit_at_5": 0.88}) == "fp32"
    line = refused(train.choose, [good, good | {"val_cosine": 0.5}, good, good], torchs)
    assert line.startswith("the exported network is not torch's: the smallest cosine is 0.9900, at least 0.999")


# ---------------------------------------------------------------- what is found, and how fast


def test_what_is_found_is_found_with_the_vectors_that_are_given(town, torchs):
    texts = train.data.load(str(town / "town.pdf"), 32, 4, 0, torchs)
    from week11_rag.data import Question

    said = {"ferry": "every forty minutes", "bicycle": "twelve crowns"}
    asked = tuple(Question(text, text, ("x",), ((1, words),), "plain", "val") for text, words in said.items())
    texts = type(texts)(texts.name, texts.documents, asked)
    finder = parity.Finder(texts, "val", "any")
    count = len(texts.chunks)
    right = [next(n for n, chunk in enumerate(texts.chunks) if words in chunk.text) for words in said.values()]
    vectors = np.eye(count, 8, dtype=np.float32)
    perfect = parity.Embedded(vectors, vectors[right])
    assert finder.scores(perfect, perfect, "dense") == {"hit_at_5": 1.0, "mrr": 1.0}
    second = parity.Embedded(vectors, vectors[right] * np.float32(0.5) + vectors[right[::-1]])
    assert finder.scores(second, second, "dense")["mrr"] == 0.5, "the other question's passage comes first"
    near = parity.near(second, perfect)
    assert near["cosine"] == pytest.approx(0.5) and near["cosine"] <= near["cosine_mean"] <= 1.0


def test_torch_is_raced_without_its_memory_of_the_last_questions(run, torchs):
    numbers = speed.run({"torch": torchs, "int8": onnx_embedder.OnnxEmbedder(run)}, ["river"] * 4, 1, 2)
    assert numbers["torch"]["ratio"] == 1.0 and numbers["torch"]["ms"] > 0.05, "it computes each time"
    some = speed.some_texts(["a b", "long " * 40], ["w " * 200], "short", 5, 0)
    assert some == ["a b"] * 5 and speed.some_texts([], ["w " * 200], "medium", 1, 0) == [" ".join(["w"] * 32)]


def test_bench_writes_its_numbers(run, tmp_path):
    found = bench.main(config(bench, "--preset", "smoke", "embed", "--model", run, "--out", tmp_path))
    numbers = found["embed, 1 threads"]
    assert set(numbers) == {"short 1", "medium 1", "long 1", "short 16"} and read_json(tmp_path / "bench.json")
    assert all(row["ms"] > 0 for part in numbers.values() for row in part.values())


def test_no_question_of_the_load_is_asked_twice():
    asked = [f"who of the {n} people there eats all of the red apples before noon ?" for n in range(9)]
    many = list(islice(load.variations(asked, 0), 500))
    assert len(set(many)) == 500 and many[:9] != asked and sorted(many[:9]) == sorted(asked)
    assert 2 < len(many[-1].split()) < 14
    row = load.Measured(8, [0.1, 0.2, 0.3, 0.4], [], [], ["503"], 2.0).row()
    assert row == {
        "clients": 8,
        "requests": 4,
        "errors": 1,
        "p50": 250.0,
        "p95": 385.0,
        "p99": 397.0,
        "per_second": 2.0,
    }


def test_eval_without_anything_to_score(run, tmp_path, monkeypatch):
    evaluation = Lazily("week12_deploy.eval")
    monkeypatch.setattr(runs, "RUNS", tmp_path)
    assert refused(evaluation.main, config(evaluation, "--run", run, "--rag", run)) == (
        f"--rag {run}: no run of week 11 with a support.json: `./course train 11` makes one."
    )
    line = refused(evaluation.main, config(evaluation, "--run", run))
    assert line == "nothing to score: no questions lie beside these PDFs, and no run of week 11 can be served."
    before = read_json(run / "result.json")
    write_json(run / "result.json", before)


def test_what_went_wrong_under_load_is_counted_and_not_said_again_and_again(monkeypatch, capsys):
    from week12_deploy.http_calls import Reply

    body = b'{"detail": "more than 5 requests a second: the next one in 1 s.", "request_id": "%d"}'
    errors = [load.wrong(Reply(429, {}, body % number, 0.1)) for number in range(3)]
    assert load.wrong(Reply(502, {}, b"bad gateway", 0.1)) == "502 b'bad gateway'"

    async def run(*_):
        return load.Measured(1, [0.1], [], [], [*errors, "TimeoutError"], 1.0)

    monkeypatch.setattr(load, "run", run)
    load.main(config(load, "--clients", 1))
    said = capsys.readouterr().out.splitlines()[-2:]
    line = "  3 x 429 more than 5 requests a second: the next one in 1 s. Start the service with --rate 0."
    assert said == [line, "  1 x TimeoutError"]
