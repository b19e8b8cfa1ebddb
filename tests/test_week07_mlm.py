"""Week 7's masked words: what is hidden, what is learned from it, the program from beginning to end.

The tests marked `exercise(2)` are what `./course check 7` holds a learner's piece 2 to.
"""

import numpy as np
import pytest
import torch
from programs import close, config, refused, refused_flags, rows

from shared import runs
from shared.device import choose
from shared.errors import Stopped
from shared.files import read_json
from shared.models import fetch
from week07_bert import mlm
from week07_bert.mlm import IGNORED, hide
from week07_bert.model import Bert, BertConfig, MaskedLMHead
from week07_bert.tokenizer import SPECIAL, WordPiece

MASK_ID, VOCAB, SHAPE = 4, 1000, (400, 200)


def drawn(seed=0, share=0.15, shape=SHAPE):
    """(ids, special, inputs, labels): ids from 5 on, a [CLS] in front and padding behind."""
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, VOCAB, shape, generator=rng)
    ids[:, 0], ids[:, -(shape[1] // 10) :] = 2, 0
    special, before = ids < 5, ids.clone()
    found = hide(ids, special, MASK_ID, VOCAB, rng, share)
    assert isinstance(found, tuple) and len(found) == 2, f"it returns {found!r:.30}, should be (inputs, labels)"
    for tensor, name in zip(found, ("inputs", "labels"), strict=True):
        assert isinstance(tensor, torch.Tensor), f"{name} are {tensor!r:.30}, should be a tensor"
        assert tensor.shape == shape, f"{name} have the shape {tuple(tensor.shape)}, should be {shape}"
        assert not tensor.is_floating_point(), f"{name} are {tensor.dtype}, should be whole numbers"
    assert torch.equal(ids, before), "ids themselves were changed, should stay as they are: make new tensors"
    return ids, special, *found


# ---------------------------------------------------------------- exercise 2: the MLM mask


@pytest.mark.exercise(2)
def test_it_gives_two_tensors_and_leaves_the_ids_alone():
    drawn(shape=(3, 12))  # so few that a hint can print them


@pytest.mark.exercise(2)
def test_labels_are_the_truth_where_something_was_chosen_and_nowhere_else():
    ids, special, inputs, labels = drawn()
    assert not (labels == MASK_ID).any(), "labels hold [MASK], should be what stood there before it was hidden"
    there = labels != IGNORED
    share = float(there[~special].float().mean())
    assert share < 0.5, f"{share:.0%} of the tokens have a label, should be 15 %: of all others it is IGNORED"
    assert torch.equal(labels[there], ids[there]), "some labels are not the ids that stood there, should be"
    assert torch.equal(inputs[~there], ids[~there]), "tokens without a label were changed, should stay as they are"
    assert abs(share - 0.15) < 0.01, f"{share:.1%} of the tokens were chosen, should be about 15 %"


@pytest.mark.exercise(2)
def test_special_tokens_are_never_chosen():
    _, special, inputs, labels = drawn()
    touched = special & ((inputs == MASK_ID) | (labels != IGNORED))
    assert not touched.any(), f"{int(touched.sum())} special tokens ([CLS], padding) were chosen, should be none"


@pytest.mark.exercise(2)
def test_of_the_chosen_80_10_10():
    ids, _, inputs, labels = drawn()
    there = labels != IGNORED
    hidden = float((inputs[there] == MASK_ID).float().mean())
    kept = float((inputs[there] == ids[there]).float().mean())
    other = 1 - hidden - kept
    told = f"of the chosen {hidden:.0%} are [MASK], {other:.0%} another token, {kept:.0%} as they were"
    assert hidden < 0.99, f"{told}: all are hidden, should be 80 %, 10 % and 10 %"
    assert (abs(hidden - 0.8) < 0.02) and (abs(other - 0.1) < 0.02), f"{told}, should be 80 %, 10 % and 10 %"
    random = inputs[there & (inputs != MASK_ID) & (inputs != ids)]
    assert len(random.unique()) > 400, f"only {len(random.unique())} different random tokens, should be any of {VOCAB}"


@pytest.mark.exercise(2)
def test_every_call_hides_something_else_and_every_share_is_kept():
    assert not torch.equal(drawn(0)[3] != IGNORED, drawn(1)[3] != IGNORED), "the same tokens are chosen every time"
    for share in (0.05, 0.5):
        _, special, _, labels = drawn(share=share)
        found = float((labels[~special] != IGNORED).float().mean())
        assert abs(found - share) < 0.02, f"with share {share} {found:.1%} were chosen, should be {share:.0%}"


# ---------------------------------------------------------------- text, batches, baseline


TEXTS = [f"the {a} {b} is {c}." for a in ("big", "small", "old") for b in ("cat", "dog", "bird")
         for c in ("here", "there", "away", "home")]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return WordPiece.train(TEXTS, 200)


def test_texts_become_examples_of_one_length(tokenizer):
    found = mlm.examples(["the big cat", "the old bird is here. " * 3, ""], tokenizer, 10)
    cls, sep, pad = tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id
    the, *_ = tokenizer.encode("the")[0]
    assert found.shape == (3, 10) and (found[:, 0] == cls).all() and (found == sep).sum(1).tolist() == [1, 1, 1]
    assert found[0, 1] == the and (found[0, 5:] == pad).all()
    assert tokenizer.decode(found[1].tolist()) == "the old bird is here . the old"
    assert mlm.examples(["the"], tokenizer, 10).shape == (1, 10)


def test_the_same_batch_hides_the_same_and_the_next_does_not(tokenizer):
    some = mlm.Batches(mlm.examples(TEXTS, tokenizer, 10), tokenizer, 0.3, 0)
    first, again, next_ = (some.batch(slice(0, 9), at) for at in (0, 0, 1))
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(first[0], next_[0]) and torch.equal(first[1], next_[1])
    inputs, mask, labels = first
    assert (inputs[~mask] == tokenizer.pad_id).all() and (labels[~mask] == IGNORED).all()


def test_the_unigram_by_counting(tokenizer):
    train = mlm.Batches(mlm.examples(TEXTS, tokenizer, 10), tokenizer, 0.15, 0)
    val = mlm.Batches(mlm.examples(TEXTS[:9], tokenizer, 10), tokenizer, 0.5, 0)
    counts = np.ones(len(tokenizer))
    for text in TEXTS:
        np.add.at(counts, tokenizer.encode(text)[0], 1)
    labels = val.batch(slice(0, 64), 0)[2]
    truth = labels[labels != IGNORED].numpy()
    found = mlm.unigram(train, val)
    close(found["val_loss"], -np.log(counts / counts.sum())[truth].mean(), "the unigram's loss")
    close(found["val_accuracy"], (truth == counts.argmax()).mean(), "the unigram's accuracy")


def tiny(tokenizer, seed=0):
    torch.manual_seed(seed)
    shape = BertConfig(len(tokenizer), 32, 1, 2, 64, 16, dropout=0.0)
    return mlm.MaskedLM(Bert(shape), MaskedLMHead(shape))


def test_only_the_hidden_places_are_guessed(tokenizer):
    model = tiny(tokenizer)
    some = mlm.Batches(mlm.examples(TEXTS, tokenizer, 10), tokenizer, 0.3, 0)
    inputs, mask, labels = some.batch(slice(0, 7), 0)
    where = labels != IGNORED
    everywhere = model.head(model.bert(inputs, mask), model.bert.embeddings.word.weight)
    close(model(inputs, mask, where), everywhere[where], "the logits of what is hidden")
    loss = mlm.evaluate(model, mlm.Batches(some.rows[:7].numpy(), tokenizer, 0.3, 0))["loss"]
    right = torch.nn.functional.cross_entropy(everywhere.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
    close(loss, right, "the loss")


def test_a_tiny_training_beats_the_unigram_and_knows_what_fits(tokenizer):
    cfg = mlm.Config(batch_size=12, epochs=30, lr=2e-2, length=10)
    train, val = (mlm.Batches(mlm.examples(some, tokenizer, 10), tokenizer, 0.2, 0) for some in (TEXTS, TEXTS[::4]))
    model = tiny(tokenizer)
    *_, last = mlm.fit(cfg, train, val, model, choose("cpu"))
    baseline = mlm.unigram(train, val)
    assert last["val_loss"] < 0.6 * baseline["val_loss"] and last["val_accuracy"] > baseline["val_accuracy"] + 0.2
    ((one, share), *_), = mlm.fill("the small [MASK] is here.", model, tokenizer)  # fmt: skip
    assert one in ("cat", "dog", "bird") and 0.15 < share < 1
    assert {word for word, _ in mlm.neighbours("cat", model.bert, tokenizer, 2)} == {"dog", "bird"}


def test_masks_in_a_sentence():
    tokenizer = WordPiece([*SPECIAL, "a", "b"])
    assert mlm.ids_with_masks("a [MASK] b[MASK]", tokenizer) == [2, 5, 4, 6, 4, 3]
    assert refused(mlm.ids_with_masks, "a b", tokenizer) == "--fill 'a b': there is no [MASK] in it."


# ---------------------------------------------------------------- the program


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "own.txt"
    path.write_text("\n".join(TEXTS), encoding="utf-8")
    return path


@pytest.fixture
def flags(text, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    return ["--preset", "smoke", "--device", "cpu", "--data", text, "--length", "12"]


def test_the_program_from_text_to_a_model_that_it_takes_up_again(flags, capsys):
    result = mlm.main(config(mlm, *flags))
    told = capsys.readouterr().out
    for part in ("unigram (the commonest token)", "before  ", "after   ", "nearest neighbours"):
        assert part in told
    kept = read_json(mlm.Path(result["run"]) / "result.json")
    assert kept["metrics"].keys() == {"val_loss", "val_accuracy"} and kept["baselines"][0]["val_loss"] > 0
    bert = mlm.Path(result["run"]) / "bert"
    assert sorted(path.name for path in bert.iterdir()) == ["config.json", "model.safetensors", "vocab.txt"]
    found = mlm.main(config(mlm, *flags, "--model", bert, "--epochs", "0", "--fill", "the [MASK] dog"))
    assert found["loss"] == pytest.approx(kept["metrics"]["val_loss"])
    assert "the [MASK] dog" in capsys.readouterr().out


def test_ctrl_c_and_resume_come_to_the_same(flags, ctrl_c, tmp_path):
    flags += ["--max-steps", "6"]
    mlm.main(config(mlm, *flags, "--out", tmp_path / "whole"))
    ctrl_c(2)
    with pytest.raises(Stopped, match=r"stopped at step 2 of .*`\./course run 7 mlm --out .* --resume` goes on\."):
        mlm.main(config(mlm, *flags, "--out", tmp_path / "parts"))
    mlm.main(config(mlm, *flags, "--out", tmp_path / "parts", "--resume"))
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")
    again = refused(mlm.main, config(mlm, *flags, "--out", tmp_path / "parts", "--resume"))
    assert again == f"{tmp_path / 'parts'} has already finished: start a new run."


def test_the_bundled_texts_keep_val_out_of_train():
    for name in ("sample", "reviews"):
        train, val = mlm.read(name)
        assert len(train) > 5 * len(val) > 1000 and not set(train) & set(val)


def test_bad_input_gets_one_line(flags, text, tmp_path):
    assert refused(mlm.read, "nowhere.txt") == "--data nowhere.txt: no such file, nor one of sample, reviews."
    short = tmp_path / "short.txt"
    short.write_text("one\n\ntwo\n", encoding="utf-8")
    assert refused(mlm.read, str(short)) == f"{short}: 2 lines of text, should be ten or more."
    says = (
        f"{fetch('minilm') / 'model.safetensors'} has no weights for a MaskedLMHead: it was trained for something else."
    )
    assert refused(mlm.main, config(mlm, *flags, "--model", "minilm")) == says
    before_all = config(mlm, *flags, "--data", "nowhere.txt", "--fill", "no hole")
    assert refused(mlm.main, before_all) == "--fill 'no hole': there is no [MASK] in it."
    assert refused_flags(mlm, "--mask-share", "1.5") == "--mask-share 1.5: must be above 0 and below 1."
