"""Week 7's data: SQuAD's json and the columns of CoNLL and WNUT as they are published, cut in three, and damaged."""

import gzip
import json

import numpy as np
import pytest
from programs import refused, squad

from shared.splits import Part
from week07_bert import baselines, conll, data, tagging
from week07_bert.conll import Sentence
from week07_bert.squad import Question
from week07_bert.squad import read as read_squad

CONTEXT = "Ada Lovelace wrote notes. She lived in London, and so did Babbage."


def published(*questions, context=CONTEXT, **article):
    paragraph = {"context": context, "qas": list(questions)}
    return {"version": "v2.0", "data": [{"title": "Ada", "paragraphs": [paragraph], **article}]}


def asked(text="London", start=39, name="56be", **more):
    return {"id": name, "question": " Where? ", "answers": [{"text": text, "answer_start": start}], **more}


@pytest.fixture
def written(tmp_path):
    def write(content, name="train-v1.1.json"):
        path = tmp_path / name
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
        return path

    return write


# ---------------------------------------------------------------- SQuAD


def test_squad_as_it_is_published(written):
    twice = asked() | {"answers": asked()["answers"] * 2 + [{"text": "in London", "answer_start": 36}]}
    (found,) = read_squad(written(published(twice)))
    assert found == Question("56be", "Where?", CONTEXT, (("London", 39), ("in London", 36)), "Ada")
    assert found.truths == ("London", "in London")
    assert read_squad(written(published(asked()), "squad.json.gz"))[0].answers == (("London", 39),)


def test_squad_2_has_questions_without_an_answer(written):
    impossible = {"id": "5a", "question": "Why?", "is_impossible": True, "answers": [],
                  "plausible_answers": [{"text": "London", "answer_start": 39}]}  # fmt: skip
    found = read_squad(written(published(impossible, asked(is_impossible=False))))
    assert [question.truths for question in found] == [("",), ("London",)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (published(asked(start=40)), ": question 56be: its answer 'London' is not at its offset 40, there stands"),
        (published(asked(start=-3)), ": question 56be: its answer 'London' is not at its offset -3, there"),
        (published(asked(start=900)), ": question 56be: its answer 'London' is not at its offset 900, there"),
        (published(asked(start="39")), ": question 56be: an answer needs a text and a whole number answer_start."),
        (published(asked() | {"answers": []}), ": question 56be has no answers."),
        (published(asked() | {"question": ""}), ": data[0].paragraphs[0].qas[0] has no text 'question'."),
        (published(asked(), asked()), ": question 56be is there twice."),
        (published(context=3), ": data[0].paragraphs[0] has no text 'context'."),
        (published(), ": no question in it."),
        (published(asked(), split="dev"), ": data[0] has the split 'dev', none of train, val, test."),
        ({"data": {}}, ": the file has no list 'data'."),
        ({"data": ["x"]}, ": data[0] is str, should be an object."),
        ([], ": the file has no list 'data'."),
        ('{"data": [\n1,\n', ":3: no JSON ("),
        ("<html>", ":1: no JSON ("),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said_with_its_place(written, content, says):
    path = written(content)
    assert refused(read_squad, path).startswith(f"{path}{says}")


def test_the_hubs_rows_are_the_same_questions():
    rows = [{"id": "56be", "title": "Ada", "context": CONTEXT, "question": "Where?",
             "answers": {"text": ["London"], "answer_start": np.array([39])}},
            {"id": "5a", "title": "Ada", "context": CONTEXT, "question": "Why?",
             "answers": {"text": [], "answer_start": []}}]  # fmt: skip
    found = data.squad.from_rows(rows, "squad_v2")
    assert [question.truths for question in found] == [("London",), ("",)]
    rows[0]["answers"]["answer_start"] = [1]
    assert refused(data.squad.from_rows, rows, "squad").startswith(
        "squad: question 56be: its answer 'London' is not at"
    )


# ---------------------------------------------------------------- columns


def test_wnut_has_two_columns_and_conll_four(written):
    wnut = written("Empire\tB-location\nState\tI-location\n=\tO\n\t\n\r\nESB\tB-location\n", "wnut17train.conll")
    assert conll.read(wnut) == [
        Sentence(("Empire", "State", "="), ("B-location", "I-location", "O")), Sentence(("ESB",), ("B-location",)),
    ]  # fmt: skip
    four = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP I-ORG\nrejects VBZ B-VP O\nGerman JJ B-NP I-MISC\n\n"
    assert conll.read(written(four, "eng.train.txt")) == [
        Sentence(("EU", "rejects", "German"), ("B-ORG", "O", "B-MISC"))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tags", "bio"),
    [
        ("I-PER I-PER O I-LOC", "B-PER I-PER O B-LOC"),
        ("I-PER B-PER I-PER", "B-PER B-PER I-PER"),
        ("I-PER I-LOC", "B-PER B-LOC"),
        ("B-PER I-PER O", "B-PER I-PER O"),
    ],
)
def test_iob1_becomes_bio(tags, bio):
    assert conll.as_bio(tags.split()) == bio.split()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("EU\tB-ORG\n\nrejects\n", ":3: 'rejects' has no tag."),
        ("EU\tB-ORG\nin\tX\tO\n", ":2: 3 columns, but 2 in the lines above it."),
        ("EU\tORG\n", ":1: 'ORG' is no tag: O, B-person"),
        ("\n\n", ": no sentence in it."),
        ("EU\tO\n", ": no entity in it"),
    ],
)
def test_a_malformed_line_is_named(written, text, says):
    path = written(text, "a.conll")
    assert refused(conll.read, path).startswith(f"{path}{says}")


def test_what_is_no_text_is_named_by_its_line(tmp_path):
    path = tmp_path / "a.conll"
    path.write_bytes(b"EU\tB-ORG\nM\xfcnchen\tB-LOC\n")
    assert refused(conll.read, path) == f"{path}:2: not UTF-8 text. Save it as UTF-8."


# ---------------------------------------------------------------- three parts


def test_no_passage_is_in_two_parts_of_the_sample():
    texts = data.load("qa", "sample")
    assert [len(part) for part in (texts.train, texts.val, texts.test)] == [2023, 245, 233]
    passages = [{question.context for question in part.items} for part in (texts.train, texts.val, texts.test)]
    assert not passages[0] & passages[1] and not passages[0] & passages[2] and not passages[1] & passages[2]
    for question in texts.everything.items:
        ((text, start),) = question.answers
        assert question.context[start : start + len(text)] == text and question.context.count(text) >= 1


def test_no_tweet_is_in_two_parts_of_the_sample():
    texts = data.load("ner", "sample")
    assert [len(part) for part in (texts.train, texts.val, texts.test)] == [1829, 228, 228]
    assert len(tagging.tags_of(texts.train)) == 21
    held = {data.group_of(sentence) for part in (texts.val, texts.test) for sentence in part.items}
    assert not held & {data.group_of(sentence) for sentence in texts.train.items}


def test_a_published_folder_has_dev_for_test_and_val_comes_from_train_by_articles(written, tmp_path):
    made = squad(60)
    for number, article in enumerate(made["data"]):  # three questions on each of twenty articles
        article["title"] = f"title {number // 3}"
    written(made, "train-v1.1.json")
    dev = squad(5, seed=1)
    for article in dev["data"]:
        article["paragraphs"][0]["qas"][0]["id"] += " dev"
    written(dev, "dev-v1.1.json")
    texts = data.load("qa", str(tmp_path))
    assert (len(texts.train), len(texts.val), len(texts.test), texts.own_test) == (54, 6, 5, True)
    assert not {q.title for q in texts.train.items} & {q.title for q in texts.val.items}
    assert texts.notes == ("took dev as test, and of train a tenth of the articles as val",)
    fewer, more = texts.first(10, 1), texts.first(20, 1)
    assert len(fewer.train) == 10 and set(fewer.train.items) < set(more.train.items)
    assert len(texts.first(0, 0, 4).val) == 4


def test_files_of_shared_tasks_are_known_by_their_names():
    names = {"wnut17train.conll": "train", "emerging.dev.conll": "val", "eng.testa": "val", "eng.testb": "test",
             "valid.txt": "val", "train-v2.0.json": "train", "dev-v1.1.json": "val", "README.md": "",
             "emerging.test.annotated": "test"}  # fmt: skip
    assert {name: data.split_of(name) for name in names} == names


@pytest.mark.parametrize(
    ("task", "name", "says"),
    [
        ("qa", "nowhere", "--data nowhere: no such file or folder, nor one of sample, squad, squad_v2 (--task qa)."),
        ("ner", "squad", "--data squad is for --task qa."),
    ],
)
def test_data_that_are_not_there(task, name, says):
    assert refused(data.load, task, name) == says


def test_an_empty_folder_and_too_little(written, tmp_path):
    assert refused(data.load, "qa", str(tmp_path)).startswith(f"{tmp_path}: no file for train in it.")
    path = written(squad(2), "two.json")
    assert refused(data.load, "qa", str(path)) == (
        f"--data {path}: 2 questions are too few to be cut in three; thirty would do."
    )


# ---------------------------------------------------------------- baselines


def test_the_overlap_baseline_finds_the_sentence_and_a_name_in_it():
    text = "Ada Lovelace wrote the notes on the engine in 1843. Charles Babbage built an engine. Trains ran on rails."
    part = Part((Question("1", "Who wrote notes?", text, (("Ada Lovelace", 0),)),))
    reader = baselines.WordOverlap(part)
    assert reader.answer(part.items[0]) == "Ada Lovelace"
    assert reader.answer(Question("2", "When were the notes on the engine written?", text, ())) == "1843"
    assert reader.answer(Question("3", "What did trains run on?", text, ())).split()[-1] == "rails."
    assert baselines.first_sentence(part.items[0]).strip() == text.split(" Charles")[0]


def test_the_gazetteer_takes_the_longest_name_of_its_commonest_kind():
    train = Part((
        Sentence(("New", "York", "is", "big"), ("B-loc", "I-loc", "O", "O")),
        Sentence(("York", "!"), ("B-loc", "O")), Sentence(("York",), ("B-per",)), Sentence(("york",), ("B-loc",)),
    ))  # fmt: skip
    names = baselines.Gazetteer(train)
    some = Sentence(("NEW", "York", "and", "York"), ("O",) * 4)
    assert names.tags(some) == ["B-loc", "I-loc", "O", "B-loc"] and names.params == 2
    assert baselines.commonest_kind(train) == "loc"
    assert baselines.capitalised(some, "loc") == ["B-loc", "I-loc", "O", "B-loc"]
