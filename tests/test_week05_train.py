"""Week 5 from sentences to a translation: training, eval, translate, the dictionary, and what is refused."""

import math

import numpy as np
import pytest
from programs import Lazily, assert_picture, config, refused, refused_flags, rows

from shared import runs, sentence_pairs
from shared.files import read_json
from week05_attention import baselines, data, drawing, train

bench, compare, evaluation, figures, translate = (
    Lazily(f"week05_attention.{name}") for name in ("bench", "compare", "eval", "figures", "translate")
)

NOUNS = {"house": "maison", "cat": "chat", "dog": "chien", "tree": "arbre", "car": "voiture", "book": "livre"}
KINDS = {"red": "rouge", "small": "petit", "old": "vieux", "blue": "bleu"}
VERBS = {"sees": "voit", "wants": "veut", "has": "a"}


def toy(path):
    """A file of pairs in which adjectives go behind their nouns: 432 sentences of twenty words."""
    lines = []
    for noun, adjective, verb, other in np.random.default_rng(0).permutation(
        [(n, k, v, o) for n in NOUNS for k in KINDS for v in VERBS for o in NOUNS]
    ):
        english = f"the {adjective} {noun} {verb} a {other}"
        lines.append(f"{english}\tle {NOUNS[noun]} {KINDS[adjective]} {VERBS[verb]} un {NOUNS[other]}\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small translator of the toy language, with everything that train leaves."""
    folder = tmp_path_factory.mktemp("week05")
    flags = ["--preset", "smoke", "--data", toy(folder / "toy.tsv"), "--hidden", 32, "--embed", 24, "--epochs", 8]
    flags += ["--max-steps", 0, "--batch-size", 32, "--lr", 0.01, "--out", folder / "run"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "RUNS", folder / "runs")
        return train.main(config(train, *flags))


def test_it_translates_and_beats_its_baselines(trained):
    theirs = {row["name"]: row["val_bleu"] for row in trained["baselines"]}
    assert trained["metrics"]["val_bleu"] > 90 > max(theirs[baselines.DICTIONARY], theirs[baselines.CONSTANT])
    assert train.NO_ATTENTION in theirs
    log = rows(trained["run"])
    assert [row["epoch"] for row in log] == list(range(1, 9)) and log[-1]["val_loss"] < log[0]["val_loss"] / 5
    assert_picture(runs.Path(trained["run"]) / "alignments.png")
    assert_picture(runs.Path(trained["run"]) / "curves.png")


def test_the_peer_without_attention_has_as_many_parameters(trained):
    ours, theirs = trained["params"], trained["baselines"][0]["params"]
    assert ours <= theirs < 1.06 * ours  # two units more change a small network by 5 %


def test_eval_scores_by_length_and_beam_and_draws(trained, capsys):
    result = evaluation.main(evaluation.Config(run=trained["run"], beams=(1, 2)))
    said = capsys.readouterr().out
    assert result["metrics"]["test_bleu"] > 90 and result["metrics"]["test_exact"] > 0.7
    assert (
        read_json(runs.Path(trained["run"]) / "result.json")["metrics"]["test_bleu"] == result["metrics"]["test_bleu"]
    )
    assert "of the" not in said.partition("beam")[0] or "more than 8 words" in said
    assert "\n  beam    BLEU   seconds\n" in said and "case:lc|eff:no|tok:13a|smooth:exp|version:" in said
    for name in ("alignments.png", "bleu_by_length.png"):
        assert_picture(runs.Path(trained["run"]) / name)


def test_translate_prints_a_map_and_marks_what_it_copies(trained, capsys):
    (found,) = translate.main(translate.Config("The RED house sees a cat", run=trained["run"]))
    assert found["translation"] == ["le", "maison", "rouge", "voit", "un", "chat"]
    said = capsys.readouterr().out
    assert said.startswith("→ le maison rouge voit un chat\n")
    assert "1 the  2 red  3 house  4 sees  5 a  6 cat" in said and "█" in said
    assert_picture(runs.Path(trained["run"]) / "translation.png")
    translate.main(translate.Config("the red zeppelin sees a cat", run=trained["run"]))
    assert "(it does not know: zeppelin)" in capsys.readouterr().out


def test_unknown_words_are_copied_from_where_it_looks(monkeypatch):
    """With a vocabulary of the one, <unk> stands for the word that was looked at most."""
    import torch

    from week05_attention import model

    words = sentence_pairs.Vocabulary(["a", "b"]), sentence_pairs.Vocabulary(["x"])
    weights = torch.tensor([[[0.1, 0.8, 0.1], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8]]])
    found = model.Translations(torch.tensor([[1, 4, 3]]), weights, torch.zeros(1))
    monkeypatch.setattr(model, "translate", lambda *_, **__: found)
    ((answer, looked, unknown),) = train.translate_all(torch.nn.Linear(1, 1), ["b zeppelin"], *words)
    assert (answer, unknown) == (["zeppelin", "x"], [True, False])
    assert looked.shape == (2, 3)


def test_translate_reads_lines_until_they_end(trained, monkeypatch, capsys):
    lines = iter(["the old dog wants a car", "", "the cat has a book"])

    def next_line(_):
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", next_line)
    found = translate.main(translate.Config(run=trained["run"]))
    assert len(found) == 2 and found[0]["translation"] == ["le", "chien", "vieux", "veut", "un", "voiture"]


def test_what_cannot_be_translated_is_one_line(trained):
    def say(text):
        return refused(translate.main, translate.Config(text, run=trained["run"]))

    assert say("") == say(" ") == "an empty sentence: there is nothing to translate."
    assert say("word " * 101) == "101 words: a sentence has at most 100. Give it one sentence at a time."


def test_flags_that_do_not_go_together():
    assert refused(train.main, config(train, "--hidden", 33)) == (
        "--hidden 33: must be even, half of it reads forwards and half backwards."
    )
    assert refused_flags(train, "--own", 1.5) == "--own 1.5: must be from 0 to 1."


# ---------------------------------------------------------------- parts


def test_padding_does_not_change_what_is_learned(tmp_path):
    part = sentence_pairs.Part(["a b c", "a"], [("x y",), ("x", "y z")])
    words = sentence_pairs.Vocabulary(["a", "b", "c"]), sentence_pairs.Vocabulary(["x", "y"])
    encoded = data.encode(part, *words)
    assert encoded.sources == [[4, 5, 6, 3], [4, 3], [4, 3]] and encoded.targets == [[4, 5, 3], [4, 3], [5, 1, 3]]
    source, target = encoded.batch([0, 1])
    assert source.tolist() == [[4, 5, 6, 3], [4, 3, 0, 0]] and target.tolist() == [[4, 5, 3], [4, 3, 0]]


def test_the_dictionary_learns_what_goes_together(tmp_path):
    pairs = sentence_pairs.load(str(toy(tmp_path / "toy.tsv")))
    dictionary = baselines.Dictionary.learn(pairs.train)
    entries = NOUNS | KINDS | VERBS
    assert {word: dictionary.entries[word] for word in entries} == entries
    assert dictionary.translate("red unicorn") == "rouge unicorn", "it has le and un in every sentence"


def test_the_likelihood_ratio_is_the_textbooks():
    """Dunning 1993 by a chi-squared's G: a table of 110, 2442, 111, 29114 has 270.72 (his table for "the swiss")."""
    observed = np.array([[110, 2442], [111, 29114]], float)
    expected = observed.sum(1, keepdims=True) * observed.sum(0) / observed.sum()
    wanted = 2 * (observed * np.log(observed / expected)).sum()
    assert baselines.ratio(110, 2552, 221, 31777) == pytest.approx(wanted)
    assert baselines.ratio(1, 50, 50, 100) < 0, "who avoid each other are no pair"


def test_the_learning_rate_rises_and_falls():
    rates = [train.learning_rate(step, 100, 0.5) for step in range(100)]
    assert rates[9] == 0.5 == max(rates) and rates[0] == pytest.approx(0.05)
    assert np.allclose(np.diff(rates[10:]), rates[11] - rates[10]) and 0 < rates[99] < 0.01


def test_the_map_in_the_terminal():
    said = drawing.in_terminal(["the", "cat"], ["le", "chat"], np.array([[1.0, 0.0], [0.3, 0.7]]))
    assert said == "        1  2\n  le   ██\nchat   ░░ ▓▓\n\n1 the  2 cat"
    said = drawing.in_terminal(["oh"], ["ah"], np.array([[0.1, 0.9]]))
    assert said == "      1  2\nah      ██\n\n1 oh  2 (end)"
    said = drawing.in_terminal([*"abcdef"], ["x"], np.full((1, 6), 1 / 6))
    assert said.splitlines()[1] == "x   ░░"


def test_compare_trains_each_once_and_again_none(tmp_path, capsys):
    flags = ["--preset", "smoke", "--data", toy(tmp_path / "toy.tsv"), "--out", tmp_path / "out"]
    found = compare.main(config(compare, *flags))
    kinds = {"additive", "dot", "general", "dot, not scaled", "general, not scaled", "none"}
    assert set(found["scores"]) == kinds
    assert all(math.isfinite(row["test_bleu"][0]) for row in found["scores"].values())
    again = compare.main(config(compare, *flags))
    assert again == found, "taken from what is kept, seconds and all"
    assert_picture(tmp_path / "out" / "by_length.png")


def test_bench_times_everybody(capsys):
    rows = bench.main(config(bench, "--preset", "smoke"))
    assert [row["name"] for row in rows] == ["batches", "one by one", "keys once", "keys again"]
    assert all(row["seconds"] > 0 for row in rows)


def test_figures_are_made_from_a_run(trained, tmp_path):
    figures.main(figures.Config(run=trained["run"], steps=(0, 2), out=str(tmp_path)))
    names = {path.name for path in tmp_path.glob("*.png")}
    assert names == {"alignments.png", "bleu_by_length.png", "curves.png", "over_training.png"}
