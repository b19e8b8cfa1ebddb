"""Week 7: the training, its pieces, and the programs that use what it has made, on an encoder of two small layers."""

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from programs import assert_picture, config, refused, squad, tiny_bert

from shared import runs
from shared.device import choose
from shared.files import write_json
from week07_bert import ask, baselines, bench, compare, data, encoders, figures, ner, qa, tagging, train, trained
from week07_bert import eval as evaluation

SMALL = ("--preset", "smoke", "--max-len", 32, "--examples", 0, "--most-val", 0, "--freeze", 0, "--batch-size", 8,
         "--lr", 0.02, "--epochs", 3)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an encoder, questions, and tagged sentences."""
    folder = tmp_path_factory.mktemp("week07")
    tiny_bert(folder / "bert")
    write_json(folder / "questions.json", squad(180))
    rng, lines = np.random.default_rng(0), []
    for _ in range(120):
        words = [*rng.choice(["the", "old", "house", "river", "sees", "wall"], 6), "red", "blue"]
        for word in rng.permutation(words):
            tag = {"red": "B-warm", "blue": "B-cold"}.get(word, "O")
            lines.append(f"{word}\t{tag}\n")
        lines.append("\n")
    (folder / "tags.conll").write_text("".join(lines), encoding="utf-8")
    return folder


def made(place, task, *flags):
    out, file = place / task, {"qa": "questions.json", "ner": "tags.conll"}[task]
    flags = (*SMALL, "--task", task, "--data", place / file, "--model", place / "bert", *flags)
    return train.main(config(train, *flags, "--out", out))


@pytest.fixture(scope="module")
def answers(place):
    return made(place, "qa")


@pytest.fixture(scope="module")
def tags(place):
    return made(place, "ner")


def tuned(place, **options):
    bert, tokenizer = encoders.load(str(place / "bert"))
    return train.with_head(bert, (), 0, **options), tokenizer


# ---------------------------------------------------------------- pieces


def test_biases_and_norms_do_not_decay(place):
    model, _ = tuned(place)
    decays, free = train.parameter_groups(model, 0.01)
    assert (decays["weight_decay"], free["weight_decay"]) == (0.01, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert all("norm" in names[id(p)] or names[id(p)].endswith("bias") for p in free["params"])
    assert not any("norm" in names[id(p)] or names[id(p)].endswith("bias") for p in decays["params"])
    assert len(decays["params"]) + len(free["params"]) == len(names)


def test_the_rate_grows_in_a_line_and_falls_to_zero():
    rates = [train.learning_rate(step, 100, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == 1.0 == max(rates)
    np.testing.assert_allclose(np.diff(rates[10:]), -1 / 91)
    assert 0 < rates[-1] < 0.02 and train.learning_rate(0, 1, 0.0) == 1.0


def test_frozen_layers_stay_and_the_others_learn(place):
    model, tokenizer = tuned(place)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    texts = data.load("qa", str(place / "questions.json"))
    cfg = config(train, *SMALL, "--freeze", 1, "--max-steps", 2)
    encoded = qa.to_train(qa.encode(texts.train, tokenizer, 32, 16), 0)
    list(train.fit(cfg, encoded, qa.encode(texts.val, tokenizer, 32, 16), model, choose("cpu")))
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved and not any(name.startswith(("bert.embeddings", "bert.layers.0")) for name in moved)
    assert {"head.output.weight", "bert.layers.1.qkv.weight"} & moved
    model.train()
    assert [model.bert.embeddings.training, *(layer.training for layer in model.bert.layers)] == [False, False, True]
    assert refused(train.freeze, model, 3) == "--freeze 3: the encoder has 2 layers."


@pytest.mark.parametrize("task", ["qa", "ner"])
def test_a_batch_in_pieces_is_the_same_step(place, task):
    texts = data.load(task, str(place / {"qa": "questions.json", "ner": "tags.conll"}[task]))
    found = []
    for pieces in (1, 3):
        bert, tokenizer = encoders.load(str(place / "bert"))
        for module in bert.modules():  # two passes draw other dropouts than one
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            elif hasattr(module, "dropout") and isinstance(module.dropout, float):
                module.dropout = 0.0
        names = tagging.tags_of(texts.train) if task == "ner" else ()
        model = train.with_head(bert, names, 0)
        if task == "ner":
            model.head.dropout.p = 0.0
        cfg = config(train, *SMALL, "--task", task, "--accumulate", pieces, "--max-steps", 3)
        encoded = [train.encode(cfg, part, tokenizer, names) for part in (texts.train, texts.val)]
        (row,) = train.fit(cfg, *encoded, model, choose("cpu"))
        found.append((row["train_loss"], row["val_loss"]))
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_empty_windows_are_drawn_by_the_seed_and_questions_without_answers_keep_one(place):
    _, tokenizer = encoders.load(str(place / "bert"))
    part = data.load("qa", str(place / "questions.json")).train
    encoded = qa.encode(part, tokenizer, 14, 3)
    none, half = qa.to_train(encoded, 0, 0.0), qa.to_train(encoded, 0, 0.5)
    assert all(window.end for window in none.windows) and {w.row for w in none.windows} == set(range(len(part)))
    assert len(none) == len(part), "one window a question, the one with most around the answer"
    assert len(none) < len(half) < len(encoded)
    assert half.windows == qa.to_train(encoded, 0, 0.5).windows != qa.to_train(encoded, 1, 0.5).windows


# ---------------------------------------------------------------- runs


@pytest.mark.parametrize("task", ["qa", "ner"])
def test_a_small_training_beats_always_the_same(request, task):
    result = request.getfixturevalue({"qa": "answers", "ner": "tags"}[task])
    constant = result["baselines"][-1]
    assert constant["name"] == baselines.CONSTANT[task]
    assert result["metrics"]["val_f1"] > constant["val_f1"] + 0.2, "it has learned"
    assert {row["name"] for row in result["baselines"]} == {baselines.NAMES[task], baselines.CONSTANT[task]}


def test_eval_has_a_table_of_causes_and_an_oracle(answers, capsys):
    found = evaluation.main(config(evaluation, "--run", answers["run"]))
    said = capsys.readouterr().out
    assert 0 < found["metrics"]["test_f1"] <= found["metrics"]["test_oracle"] <= 1
    wrong = round((1 - found["metrics"]["test_exact"]) * found["scored"])
    assert sum(found["errors"].values()) == wrong and all(f"| {name} |" in said for name in qa.CAUSES)


def test_eval_of_names_tells_of_each_kind(tags, capsys):
    found = evaluation.main(config(evaluation, "--run", tags["run"]))
    said = capsys.readouterr().out
    assert {"test_f1", "test_precision", "test_recall"} <= found["metrics"].keys()
    assert "| cold |" in said and "| warm |" in said


def test_ask_shows_the_answer_in_its_sentence(answers, tmp_path, capsys, monkeypatch):
    path = tmp_path / "text.txt"
    path.write_text("the old house. near the river sees a Green bird under stone. old wall.", encoding="utf-8")
    flags = ("--run", answers["run"], "--text", path)
    (found,) = ask.main(config(ask, *flags, "Which colour has it?"))
    said = capsys.readouterr().out
    best = found.best[0]
    assert path.read_text(encoding="utf-8")[best.start : best.past] == best.text and f"[{best.text}]" in said
    assert f"{best.probability:.0%} of the 20 best" in said
    assert refused(ask.main, config(ask, *flags, " ")) == "an empty question: there is nothing to read."
    assert refused(ask.main, config(ask, "--run", answers["run"], "--text", "nowhere", "Who?")) == (
        "--text nowhere: no such file."
    )
    monkeypatch.setattr("sys.stdin", io.StringIO("near the Red wall.\n"))
    (again,) = ask.main(config(ask, "--run", answers["run"], "Which colour has it?"))
    assert again.best[0].text in "near the Red wall."


def test_ask_does_not_let_a_text_steer_the_terminal():
    passage = "One. A \x1b[2Jred\u202e house\nis here. Two."
    start = passage.index("red")
    told = ask.in_its_sentence(passage, qa.Answer("red", start, start + 3, 1.0))
    assert told == "A [2J[red] house"


def test_ner_marks_names(tags, capsys):
    (found,) = ner.main(config(ner, "--run", tags["run"], "the old red house, sees blue"))
    said = capsys.readouterr().out
    for name, kind, share in found:
        assert f"[{name} ({kind})]" in said and 0 < share <= 1
    assert {"red", "blue"} >= {name for name, _, _ in found}


def test_a_run_of_the_other_task(answers, tags):
    assert refused(ner.main, config(ner, "--run", answers["run"], "text")).startswith(
        f"{answers['run']} was trained for --task qa. Give --run another folder, or `./course train 7 --preset ner`."
    )
    assert "was trained for --task ner" in refused(ask.main, config(ask, "--run", tags["run"], "Who?"))


def test_newest_of_a_task(answers, tags, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path)
    (tmp_path / "week07").mkdir()
    for made_run in (answers, tags):
        (tmp_path / "week07" / Path(made_run["run"]).name).symlink_to(made_run["run"])
    assert [trained.newest(task).name for task in ("qa", "ner")] == ["qa", "ner"]


def test_a_vocabulary_of_another_run(answers, tmp_path):
    shutil.copytree(answers["run"], tmp_path / "run")
    path = tmp_path / "run" / "vocab.txt"
    path.write_text(path.read_text(encoding="utf-8") + "".join(f"more{n}\n" for n in range(9)), encoding="utf-8")
    assert refused(trained.load, tmp_path / "run").startswith(f"{path}: tokenizer and model do not belong together: ")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--model", "nowhere"), "--model nowhere: no such folder, nor one of minilm, distilbert-base-uncased"),
        (("--max-len", "65"), "--max-len 65: this encoder takes at most 64 tokens."),
        (("--freeze", "9"), "--freeze 9: the encoder has 2 layers."),
        (("--data", "wnut17"), "--data wnut17 is for --task ner."),
    ],
)
def test_bad_flags(place, tmp_path, flags, says):
    given = (*SMALL, "--data", place / "questions.json", "--model", place / "bert", *flags, "--out", tmp_path / "run")
    assert refused(train.main, config(train, *given)).startswith(says)
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- what measures and draws


def test_pictures_of_runs(answers, tags, tmp_path, capsys):
    flags = (
        "--qa",
        answers["run"],
        "--ner",
        tags["run"],
        "--out",
        tmp_path,
        "--curve",
        tmp_path / "none" / "curve.png",
    )
    figures.main(config(figures, *flags, "--passage", "the old house. near the river a Green bird."))
    for name in ("attention", "start_and_end", "embeddings"):
        assert_picture(tmp_path / f"{name}.png")
    assert "left out curve.png" in capsys.readouterr().out


def test_compare_refuses_more_examples_than_there_are(place, tmp_path):
    flags = ("--preset", "smoke", "--data", place / "questions.json", "--model", place / "bert", "--sizes", "8", "4000",
             "--out", tmp_path / "compare")  # fmt: skip
    line = refused(compare.main, config(compare, *flags))
    assert re.fullmatch(r"--sizes 4000: there are \d+ examples to train on\.", line)
    assert not (tmp_path / "compare").exists()


def test_compare_trains_more_and_more_and_nothing_twice(place, tmp_path, capsys):
    flags = ("--preset", "smoke", "--data", place / "questions.json", "--model", place / "bert", "--max-len", 32,
             "--out", tmp_path / "compare")  # fmt: skip
    found = compare.main(config(compare, *flags))
    assert list(found) == ["8", "16"] and all(row["seeds"] == 2 and "val_f1" in row for row in found.values())
    assert_picture(tmp_path / "compare" / "curve.png")
    assert "Twice as many examples bring" in capsys.readouterr().out
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "compare").glob("*[0-9a-f].json")}
    compare.main(config(compare, *flags))
    assert all(path.stat().st_mtime_ns == before for path, before in made.items() if path.name != "compare.json")


def test_bench_by_length_and_frozen(place, tmp_path, capsys):
    flags = ("--preset", "smoke", "--data", place / "questions.json", "--model", place / "bert", "--frozen", 1,
             "--out", tmp_path)  # fmt: skip
    found = bench.main(config(bench, "bucket", "freeze", *flags))
    assert set(found) == {"bucket, 1 threads", "freeze, 1 threads"}
    assert "padded to 64" in capsys.readouterr().out
