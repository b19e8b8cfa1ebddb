"""Week 10's data: the bundled pairs and what they promise, HH-RLHF as it is published, one's own, and damaged ones."""

import gzip
import json
from itertools import product

import numpy as np
import pytest
from programs import refused

from shared.samples import manners_phrases, manners_requests, write_manners
from shared.splits import Part
from week10_dpo import chats, data, exact, judge
from week10_dpo.data import Pair


@pytest.fixture
def written(tmp_path):
    def write(*rows, name="pairs.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
        return path

    return write


@pytest.fixture(scope="module")
def sample():
    return data.load("sample")


# ---------------------------------------------------------------- the bundled pairs


def test_the_sample_has_enough_pairs_and_no_prompt_nor_family_is_in_two_parts(sample):
    parts = (sample.train, sample.val, sample.test)
    assert sum(map(len, parts)) > 1900 and len(sample.test) >= 500
    for what in ("prompt", "family"):
        held = [{getattr(pair, what) for pair in part.items} for part in parts]
        assert not (held[0] & held[1] or held[0] & held[2] or held[1] & held[2]), what
    assert len(data.prompts(sample.everything)) > 350
    assert sample.synthetic and "synthetic" in sample.notes[0], "it is said that a program made them up"


def test_both_answers_of_a_pair_hold_the_same_bare_answer(sample):
    bare = dict(manners_requests.requests())
    for pair in sample.everything.items:
        chosen, rejected = (text.split(bare[pair.prompt]) for text in (pair.chosen, pair.rejected))
        assert len(chosen) == len(rejected) == 2, pair
        assert [bool(text.strip()) for text in chosen] == [bool(text.strip()) for text in rejected], "the same places"


def test_words_and_lengths_do_not_tell_who_is_polite(sample):
    words = judge.BagOfWords(sample.train)
    assert words.accuracy(sample.train) > 0.95, "what it has seen, it knows"
    assert words.accuracy(sample.val) < 0.75 and words.accuracy(sample.test) < 0.70
    assert abs(judge.shorter(sample.test) - 0.5) < 0.05


def test_no_phrase_is_in_two_families_nor_with_the_judge():
    groups = (manners_phrases.TRAIN, manners_phrases.VAL, manners_phrases.TEST, manners_phrases.JUDGE)
    seen = [half for group in groups for family in group.values() for line in family.splitlines() if " | " in line
            for half in line.split(" | ")]  # fmt: skip
    assert len(seen) == len(set(seen)) and len(seen) > 500


def test_the_generator_writes_the_bundled_files(tmp_path, monkeypatch):
    import runpy

    bundled = {name: (write_manners.HERE / name).read_bytes()
               for name in ("synthetic_manners.jsonl.gz", "synthetic_judge.jsonl.gz")}  # fmt: skip
    made = {}
    monkeypatch.setattr("pathlib.Path.write_bytes", lambda path, raw: made.update({path.name: raw}) or path.touch())
    monkeypatch.setattr("shared.files.os.fsync", lambda _: None)
    monkeypatch.setattr("pathlib.Path.replace", lambda path, to: path.unlink() or to)
    runpy.run_path(write_manners.__file__, run_name="__main__")
    found = {name: gzip.decompress(raw) for path, raw in made.items() for name in bundled if name in path}
    assert found == {name: gzip.decompress(raw) for name, raw in bundled.items()}
    assert {name: (write_manners.HERE / name).read_bytes() for name in bundled} == bundled


def test_no_exact_question_is_among_the_prompts(sample):
    asked = {question for question, _ in exact.QUESTIONS}
    assert len(asked) == 60 and not asked & set(data.prompts(sample.everything))
    capitals = {answer for _, (answer, *_) in exact.QUESTIONS}
    assert not any(f"is {answer}." in pair.chosen for pair in sample.train.items for answer in capitals)


def test_an_exact_answer_is_right_whatever_else_it_says():
    texts = ["It is my pleasure: Berlin.", "A COLD one", "four of them", "Lisboa", "upward", "Green!"]
    assert exact.right(texts).tolist() == [True, True, True, False, False, True]
    assert exact.right([]).tolist() == []


# ---------------------------------------------------------------- HH-RLHF


def hh(*turns, chosen=" Yes.", rejected=" No."):
    said = "".join(f"\n\n{who}: {text}" for who, text in turns)
    return {"chosen": f"{said}\n\nAssistant:{chosen}", "rejected": f"{said}\n\nAssistant:{rejected}"}


ASKED = ("Human", "May I?")


def test_hh_is_read_as_it_is_published(written):
    path = written(hh(("Human", "Hi"), ("Assistant", "Hello\n\nthere: you"), ASKED), name="train.jsonl.gz")
    (pair,), dropped = data.read(path)
    assert pair.turns == (("user", "Hi"), ("assistant", "Hello\n\nthere: you"), ("user", "May I?"))
    assert (pair.chosen, pair.rejected, pair.place) == ("Yes.", "No.", f"{path}:1") and not dropped
    assert pair.messages[0] == {"role": "user", "content": "Hi"}


def test_what_is_malformed_in_hh_is_counted_by_its_reason(written):
    other = hh(ASKED) | {"rejected": hh(("Human", "May he?"))["rejected"]}
    ends = dict.fromkeys(("chosen", "rejected"), "\n\nHuman: May I?\n\nAssistant: Yes\n\nHuman: Thanks")
    path = written(
        hh(ASKED), hh(ASKED, rejected=""), hh(ASKED, chosen=""), hh(ASKED, chosen=" No."), hh(ASKED, ASKED), other,
        ends, {"chosen": "Yes.", "rejected": "No."}, {"chosen": 3}, "[1]", "{", name="train.jsonl",
    )  # fmt: skip
    pairs, dropped = data.read(path)
    assert len(pairs) == 1
    assert dropped == {
        "an empty rejected answer": 1, "an empty chosen answer": 1,
        "chosen and rejected are the same, so nothing is preferred": 1, "the same speaker twice in a row": 1,
        "the dialogues differ before the last answer": 1, "a dialogue does not end with the assistant": 1,
        "a dialogue does not begin with Human": 1, "no text 'chosen'": 1, "no JSON object": 2,
    }  # fmt: skip


def test_a_folder_has_train_and_test_here_or_below(written, tmp_path):
    for subset, name in product(("helpful-base", "harmless-base"), ("train", "test")):
        rows = [hh(("Human", f"{subset} {name} {n}?")) for n in range(20)]
        written(*rows, hh(ASKED, rejected=""), name=f"{subset}/{name}.jsonl.gz")
    found = data.load(str(tmp_path))
    assert (len(found.train), len(found.val), len(found.test), found.own_test) == (36, 4, 40, True)
    assert found.notes == ("left out 4 of 84 rows: an empty rejected answer",)
    (tmp_path / "helpful-base" / "train.jsonl.gz").unlink()
    (tmp_path / "harmless-base" / "train.jsonl.gz").unlink()
    assert refused(data.load, str(tmp_path)) == (
        f"{tmp_path}: no train.jsonl.gz in it. Expected that and test.jsonl.gz, here or below."
    )


def test_the_hub_that_does_not_answer(monkeypatch):
    import huggingface_hub

    def fails(*_, **__):
        raise OSError

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    assert refused(data.load, "hh-rlhf").startswith("--data hh-rlhf: the hub does not answer (OSError). Fetch helpful-")


# ---------------------------------------------------------------- one's own


def own(number=0, **more):
    return {"prompt": f"Say {number}", "chosen": "Yes, please.", "rejected": "No."} | more


def test_a_file_of_ones_own_is_cut_by_prompt(written):
    found = data.load(str(written(*(own(number // 2, rejected=f"No {number}") for number in range(60)))))
    sizes = [len(part) for part in (found.train, found.val, found.test)]
    assert sizes == [48, 6, 6] and not found.own_test
    prompts = [set(data.prompts(part)) for part in (found.train, found.val, found.test)]
    assert not (prompts[0] & prompts[1] or prompts[0] & prompts[2] or prompts[1] & prompts[2])


def test_splits_that_are_given_are_kept_and_train_loses_what_is_held_out(written):
    splits = ["train"] * 10 + ["val"] * 3 + ["test"] * 3
    rows = [own(number, split=split) for number, split in enumerate(splits)] + [own(12, rejected="Never.")]
    found = data.load(str(written(*rows)))
    assert [len(part) for part in (found.train, found.val, found.test)] == [10, 3, 3] and found.own_test
    assert found.notes == ("left 1 pairs out of train whose prompt is in val or test, too",)


def test_a_prompt_may_be_a_dialogue(written):
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    assert data.read(written(own(prompt=turns)))[0][0].turns == (("system", "Be kind."), ("user", "Hi"))


def test_answers_may_be_messages_as_trl_has_them(written):
    row = own(chosen=[{"role": "assistant", "content": "Yes."}], rejected=[{"role": "assistant", "content": "No!"}])
    (pair,) = data.read(written(row))[0]
    assert (pair.chosen, pair.rejected) == ("Yes.", "No!")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            own(chosen=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]),
            ":2: 'chosen' has to be a text, or a list of one message, the assistant's; prompts go to 'prompt'.",
        ),
        (own(chosen="No. "), ":2: chosen and rejected are the same, so nothing is preferred."),
        (own(rejected=" \n"), ":2: an empty rejected answer."),
        (own(chosen=""), ":2: an empty chosen answer."),
        (own(prompt=" "), ":2: an empty prompt."),
        (own(prompt=[]), ":2: the prompt does not end with a turn of the user."),
        (own(prompt=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]), ":2: the prompt does"),
        (own(prompt=[{"role": "boss", "content": "a"}]), ":2: the role 'boss' is none of system, user, assistant."),
        (own(prompt=[3]), ":2: no JSON object."),
        (own(split="dev"), ":2: split 'dev' is none of train, val, test."),
        ({"prompt": "a", "chosen": "b"}, ":2: no text 'rejected'."),
        ({"prompt": 3, "chosen": "b", "rejected": "c"}, ":2: no text 'prompt'."),
        ("{", ":2: no JSON object."),
    ],
)
def test_what_is_wrong_with_a_row_is_said_with_its_line(written, row, says):
    path = written(own(1), row)
    assert refused(data.load, str(path)).startswith(f"{path}{says}")


@pytest.mark.parametrize(
    ("content", "says"),
    [("", ": no pair of answers in it."), ("{}\n{}", ": no pair of answers in it (no text 'chosen')."),
     ("<html>", ": no pair of answers in it (no JSON object).")],
)  # fmt: skip
def test_a_file_without_a_pair(written, content, says):
    path = written(content)
    assert refused(data.load, str(path)).startswith(f"{path}{says}")


def test_files_that_are_damaged_missing_or_too_small(written, tmp_path):
    path = written(*map(own, range(50)), name="pairs.jsonl.gz")
    path.write_bytes(path.read_bytes()[:-20])
    assert refused(data.load, str(path)).startswith(f"{path} is damaged (")
    few = written(own(), own())
    assert refused(data.load, str(few)) == (f"--data {few}: 2 pairs are too few to be cut in three; thirty would do.")
    assert refused(data.load, "no/such") == "--data no/such: no such file or folder, nor one of sample, hh-rlhf."


def test_fewer_pairs_are_drawn_by_the_seed_and_more_contain_them(sample):
    few, more, other = (sample.first(count, seed, 5) for count, seed in ((10, 0), (20, 0), (10, 1)))
    assert set(few.train.examples) < set(more.train.examples) and few.train.examples != other.train.examples
    assert few.val == other.val and len(few.val) == 5 and len(few.test) == len(sample.test)
    drawn = data.drawn(sample.test, 7)
    assert len(drawn) == 7 == len(set(data.prompts(drawn))) and len(data.drawn(sample.test, 10_000)) == 130


# ---------------------------------------------------------------- tokens


class Letters:
    """A tokenizer of single letters with a chat template, as far as chats.encode asks."""

    eos_token_id, pad_token_id, chat_template = ord("$"), 0, "role:content$"
    all_special_ids, added_tokens_decoder = (ord("$"),), {}

    def apply_chat_template(self, messages, tokenize, add_generation_prompt=False):
        return "".join(f"{m['role'][0]}:{m['content']}$\n" for m in messages) + "a:" * add_generation_prompt

    def __call__(self, text, add_special_tokens):
        assert not add_special_tokens
        return {"input_ids": list(map(ord, text))}


def pair(prompt="ask", chosen="well", rejected="bad"):
    return Pair((("user", prompt),), chosen, rejected)


def text_of(ids):
    return "".join(map(chr, ids))


def test_an_answer_is_what_stands_behind_the_prompt_its_end_token_included():
    encoded = chats.encode(Part((pair(),)), Letters(), 20)
    assert [text_of(ids) for ids in encoded.rows[0]] == ["u:ask$\na:", "well$", "bad$"]


def test_a_batch_has_all_chosen_first_and_marks_answers():
    encoded = chats.encode(Part((pair(), pair("x", "yes", "nope"))), Letters(), 20)
    ids, attention, answer = encoded.batch([0, 1])
    said = ["".join(text_of(row[marked])) for row, marked in zip(ids.numpy(), answer.numpy(), strict=True)]
    assert said == ["well$", "yes$", "bad$", "nope$"]
    read = [text_of(row[mask.astype(bool)]) for row, mask in zip(ids.numpy(), attention.numpy(), strict=True)]
    assert read == ["u:ask$\na:well$", "u:x$\na:yes$", "u:ask$\na:bad$", "u:x$\na:nope$"]
    assert encoded.lengths.tolist() == [14, 12] and ids.shape == (4, 14)
    assert encoded.batch([1], only_chosen=True)[0].shape == (1, 11)


@pytest.mark.parametrize(
    ("one", "room", "says"),
    [
        (pair(), 9, "pair 1: its prompt alone has 9 tokens, --max-len 9: raise it, or --long drop."),
        (pair(), 13, "pair 1: the end of its chosen answer is cut off by --max-len 13 (it takes 14): raise it, or "
         "--long drop, or --long cut."),
        (pair(chosen="a", rejected="bad"), 12, "pair 1: the end of its rejected answer is cut off by --max-len 12"),
        (pair(chosen="bad one", rejected="bad two"), 13, "pair 1: up to --max-len 13, where they are cut off, chosen "
         "and rejected are the same: raise it, or --long drop."),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_window(one, room, says):
    assert refused(chats.encode, Part((one,)), Letters(), room).startswith(says)
    both = Part((one, pair("x", "a", "b")))
    left = chats.encode(both, Letters(), room, "drop")
    assert left.kept == (1,) and left.notes == (f"left out 1 of 2 pairs that are longer than --max-len {room}",)
    assert refused(chats.encode, Part((one,)), Letters(), room, "drop").startswith("all 1 pairs are longer than")


def test_answers_may_be_cut_but_not_to_the_same():
    cut = chats.encode(Part((pair(),)), Letters(), 12, "cut")
    assert [text_of(ids) for ids in cut.rows[0]] == ["u:ask$\na:", "wel", "bad"]
    assert cut.notes == ("cut off the end of an answer in 1 of 1 pairs (--max-len 12)",)
    same = Part((pair(chosen="bad one", rejected="bad two"),))
    assert "chosen and rejected are the same" in refused(chats.encode, same, Letters(), 13, "cut")


# ---------------------------------------------------------------- the judge


def test_the_judge_reads_sentences_and_takes_the_strongest(monkeypatch):
    class Model:
        def predict_proba(self, rows):
            table = {"Fine": (0.1, 0.1, 0.8), "Bad": (0.9, 0.1, 0), "Go": (0.2, 0.7, 0.1), "Meh": (0.4, 0.3, 0.3)}
            return np.array([table[row] for row in rows])

    monkeypatch.setattr(judge, "vectors", lambda texts: [text.strip(".!") for text in texts])
    own = judge.Judge(Model())
    texts = ["Go. Fine!", "Fine! Go. Bad.", "Go.", "Meh. Go."]
    assert own.labels(texts).tolist() == [2, 0, 1, 1] and own.polite(texts).tolist() == [True, False, False, False]
    assert own.score(["Fine!", "Go. Fine!"]) == pytest.approx([0.7, 0.6])
    part = Part((pair(chosen="Fine.", rejected="Bad."), pair(chosen="Bad.", rejected="Go.")))
    assert own.accuracy(part) == {"single": 0.5, "pairs": 0.5}
