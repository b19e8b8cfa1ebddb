"""Week 3's reviews: every source and layout, every complaint, words as numbers, and batches of equal length."""

import csv
import gzip
import hashlib
import io
import json
import math
import re
import shutil
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from shared.errors import CourseError
from week03_lstm import data, sentiment_files, tables
from week03_lstm.data import Vocabulary, batch_rows, batches, padded, tokenize


def refused(name, **columns) -> str:
    with pytest.raises(CourseError) as caught:
        data.load(str(name), **columns)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rows(count=40, split=None):
    """Reviews that differ, half of them positive."""
    more = {"split": split} if split else {}
    return [{"text": f"Review number {i}: {('bad', 'good')[i % 2]}!", "label": i % 2} | more for i in range(count)]


def jsonl(path, lines):
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def texts(*parts):
    return [text for part in parts for text in part.texts]


# ---------------------------------------------------------------- the sample


def test_the_bundled_reviews():
    reviews = data.load("sample")
    assert (len(reviews.train), len(reviews.val), len(reviews.test)) == (3500, 500, 1000)
    assert reviews.classes == ("negative", "positive") and (reviews.notes, reviews.own_test) == ((), True)
    assert reviews.everything.labels.sum() == 2500
    for part in (reviews.train, reviews.val, reviews.test):
        assert 0.45 < part.labels.mean() < 0.55 and all(text.strip() for text in part.texts)
    everything = [data.same(text) for text in reviews.everything.texts]
    assert len(set(everything)) == 5000, "a review must not lie in two parts"


# ---------------------------------------------------------------- a file of one's own


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".csv.gz", ".jsonl.gz"])
def test_own_files_are_cut_the_same_way_each_time(tmp_path, ending):
    path = tmp_path / f"own{ending}"
    if "csv" in ending:
        file = io.StringIO()
        writer = csv.DictWriter(file, ["label", "text"])
        writer.writeheader()
        writer.writerows([row | {"text": row["text"] + '\nwith "quotes", a comma'} for row in rows()])
        raw = b"\xef\xbb\xbf" + file.getvalue().encode()
        path.write_bytes(gzip.compress(raw) if ending.endswith("gz") else raw)
    else:
        jsonl(path, rows())
    reviews = data.load(str(path))
    assert reviews.name == str(path)
    assert (len(reviews.train), len(reviews.val), len(reviews.test)) == (28, 4, 8)
    for part in (reviews.train, reviews.val, reviews.test):
        assert part.labels.dtype == np.int64 and part.labels.mean() == 0.5, "each part has its share of both classes"
        assert all(("good" in text) == label for text, label in zip(part.texts, part.labels, strict=True))
    assert len(set(texts(reviews.train, reviews.val, reviews.test))) == 40
    assert texts(data.load(str(path)).test) == texts(reviews.test)


def test_a_split_column_is_obeyed_and_what_it_lacks_is_cut(tmp_path):
    some = rows(60)
    for i, row in enumerate(some):
        row["split"] = ("train", "valid", "test")[i // 20]
    reviews = data.load(str(jsonl(tmp_path / "three.jsonl", some)))
    assert texts(reviews.val) == [row["text"] for row in some[20:40]]
    assert texts(reviews.test) == [row["text"] for row in some[40:]]
    for row in some[20:40]:
        row["split"] = None
    reviews = data.load(str(jsonl(tmp_path / "two.jsonl", some)))
    assert (len(reviews.train), len(reviews.val), len(reviews.test)) == (36, 4, 20)
    assert texts(reviews.test) == [row["text"] for row in some[40:]]


def test_large_sets_give_no_more_than_they_must():
    found = {"train": [(f"text {i}", i % 2) for i in range(60_000)]}
    reviews = data.cut("large", found)
    assert (len(reviews.train), len(reviews.val), len(reviews.test)) == (52_500, 2_500, 5_000)


def test_a_text_that_occurs_twice_lies_in_one_split_alone(tmp_path):
    some = rows(20, "train") + rows(4, "val") + rows(2, "test")
    for row in some[20:]:
        row["text"] = row["text"].replace("Review", row["split"])
    some[21]["text"] = some[24]["text"].upper()  # val holds one of test
    some[0]["text"] = some[22]["text"].replace(":", "  - ").lower()  # train one of val
    some[1]["text"] = some[25]["text"]  # train one of test
    some[3]["text"] = some[2]["text"]  # train one of its own
    reviews = data.load(str(jsonl(tmp_path / "twice.jsonl", some)))
    assert (len(reviews.train), len(reviews.val), len(reviews.test)) == (17, 3, 2)
    assert reviews.notes == ("dropped 4 reviews that occur twice",) and reviews.own_test
    assert texts(reviews.test) == [row["text"] for row in some[24:]], "test stays as it was published"
    assert reviews.train.texts[0] == some[2]["text"], "the first of two equal ones stays"
    parts = [{data.same(text) for text in part.texts} for part in (reviews.train, reviews.val, reviews.test)]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_duplicates_go_before_the_cut(tmp_path):
    reviews = data.load(str(jsonl(tmp_path / "twice.jsonl", rows(40) + rows(40))))
    everything = texts(reviews.train, reviews.val, reviews.test)
    assert len(everything) == len(set(everything)) == 40
    assert reviews.notes == ("dropped 40 reviews that occur twice",)


@pytest.mark.parametrize(
    ("label", "number"),
    [
        (0, 0), (1, 1), ("0", 0), (" 1 ", 1), ("Positive", 1), ("NEG", 0), ("pos", 1), ("negative", 0), (True, 1),
        (0.0, 0),
    ],
)  # fmt: skip
def test_labels_as_people_write_them(tmp_path, label, number):
    some = rows(40)
    some[6]["label"] = label
    found, notes = sentiment_files.read_table(jsonl(tmp_path / "own.jsonl", some))
    assert found["train"][6] == (some[6]["text"], number) and notes == ()


@pytest.mark.parametrize("label", ["good", 2, -1, "", None, 0.5, [1], "0.7", math.nan, math.inf, -math.inf])
def test_a_label_outside(tmp_path, label):
    some = rows()
    some[6]["label"] = label
    path = jsonl(tmp_path / "own.jsonl", some)
    assert refused(path) == (
        f"{path}, line 7: the label {label!r} is outside 0 and 1 (or negative and positive, neg and pos)."
    )


FIVE = "stars 1 to 5: took 1 and 2 for negative, 4 and 5 for positive"
TEN = "stars 1 to 10: took 1 to 4 for negative, 7 to 10 for positive"


@pytest.mark.parametrize(
    ("labels", "senses", "note"),
    [
        ([1, 2], [0, 1], "labels 1 and 2: took 1 for negative, 2 for positive"),
        ([-1, 1], [0, 1], "labels -1 and 1: took -1 for negative, 1 for positive"),
        ([0, 4], [0, 1], "labels 0 to 4: took 0 for negative, 4 for positive"),
        ([0, 2, 4], [0, None, 1], "labels 0 to 4: took 0 for negative, 4 for positive"),
        ([1, 2, 3, 4, 5], [0, 0, None, 1, 1], FIVE),
        (["1.0", "3.0", "5.0"], [0, None, 1], FIVE),
        ([1, 4, 5, 6, 7, 10], [0, 0, None, None, 1, 1], TEN),
        ([2, 9], [0, 1], TEN),
        (["negative", "neutral", "positive"], [0, None, 1], ""),
        (["False", "True"], [0, 1], ""),
    ],
)
def test_what_the_labels_of_a_column_mean(tmp_path, labels, senses, note):
    some = [(f"text {n} {label}", label, sense) for n in range(12) for label, sense in zip(labels, senses, strict=True)]
    path = jsonl(tmp_path / "own.jsonl", [{"text": text, "label": label} for text, label, _ in some])
    found, notes = sentiment_files.read_table(path)
    assert found["train"] == [(text, sense) for text, _, sense in some if sense is not None]
    out = 12 * senses.count(None)
    assert notes == tuple(filter(None, (note, f"left out {out} reviews that are neither" if out else "")))


TOOK = "took 'review' for the text and 'sentiment' for the label; --text and --label choose"


def test_columns_of_other_names(tmp_path):
    some = [{"review": row["text"], "sentiment": ("negative", "positive")[row["label"]], "id": 3} for row in rows()]
    path = jsonl(tmp_path / "own.jsonl", some)
    for flags, notes in (({}, (TOOK,)), ({"text": "review", "label": "Sentiment"}, ())):
        reviews = data.load(str(path), **flags)
        assert len(reviews.everything) == 40 and reviews.notes == notes
    there = "there are: review, sentiment, id. Choose with --text and --label."
    assert refused(path, text="body") == f"{path}: no column 'body'; {there}"
    assert refused(path, label="verdict") == f"{path}: no column 'verdict'; {there}"
    path = jsonl(tmp_path / "own.jsonl", [row | {"content": "x"} for row in some])
    assert refused(path) == f"{path}: review, content: which column is the text? Choose with --text."
    path = jsonl(tmp_path / "own.jsonl", [*some, {"review": "x"}])
    assert refused(path) == (
        f"{path}, line 41: no column 'sentiment'; there are: review. Choose with --text and --label."
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("words;label\nfine;1\n", ": no column 'text'; there are: words, label. Choose with --text and --label."),
        (
            "A fine film,positive\nA dull film,negative\n",
            ": no column 'text'; there are: A fine film, positive. Choose with --text and --label. Or write the "
            "missing heading above its first line: text,label",
        ),
        ("text,text,label\na,b,1\n", ": two columns 'text'. Rename one of them in the first line."),
        ("text,label\nfine,1\ncut short\n", ": line 3 has too few fields (1 of 2); is a quote open?"),
        ('text,label\nfine,1\n"open,0\nfine,1\n', ": line 3 has too few fields (1 of 2); is a quote open?"),
        (
            "text,label\nfine,1\ngood, I think,1\n",
            ": line 3 has 3 fields, the first line 2: put texts with a separator in them in quotes.",
        ),
        ("text,label\nNaN,1\n", ", line 2: the review is empty or no text. Remove the line."),
    ],
)
def test_a_csv_that_is_wrong(tmp_path, text, line):
    path = tmp_path / "own.csv"
    path.write_text(text, encoding="utf-8")
    assert refused(path) == f"{path}{line}"


@pytest.mark.parametrize("name", ["own.csv", "own.tsv", "own.txt", "own.zip", "own.csv.gz", "own.json", "own.parquet"])
def test_tables_of_every_sort(tmp_path, name):
    path, some = tmp_path / name, rows()
    mark = "\t" if name in ("own.tsv", "own.txt") else ";"
    table = f"Text{mark}LABEL\n" + "".join(f"{row['text']}{mark}{row['label']}\n" for row in some)
    if name.endswith(".json"):
        path.write_text(json.dumps(some, indent=1), encoding="utf-8")
    elif name.endswith(".parquet"):
        parquet.write_table(pyarrow.Table.from_pylist(some), path)
    elif name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("IMDB Dataset.csv", table)
            file.writestr("__MACOSX/._IMDB Dataset.csv", b"\0\5")
    else:
        path.write_bytes(gzip.compress(table.encode()) if name.endswith("gz") else table.encode())
    reviews = data.load(str(path))
    assert sorted(texts(reviews.everything)) == sorted(row["text"] for row in some) and reviews.notes == ()
    assert reviews.everything.labels.sum() == 20


@pytest.mark.parametrize(
    ("encoding", "note"),
    [
        ("utf-8-sig", ""),
        ("utf-16", "read as UTF-16"),
        ("utf-16-be", "read as UTF-16"),
        ("cp1252", "not UTF-8: read as Windows-1252; if letters come out wrong, save it as UTF-8"),
    ],
)
def test_encodings(tmp_path, encoding, note):
    path = tmp_path / "own.csv"
    path.write_bytes(("text,label\n" + "".join(f"“Café” No {n}…,{n % 2}\n" for n in range(40))).encode(encoding))
    reviews = data.load(str(path))
    assert "“Café” No 0…" in texts(reviews.everything) and reviews.notes == ((note,) if note else ())


def test_a_folder_as_the_hub_has_it(tmp_path):
    place = tmp_path / "imdb" / "plain_text"
    place.mkdir(parents=True)
    for n, split in enumerate(("train", "test", "unsupervised")):
        some = [{"text": f"{split} {row['text']}", "label": row["label"] if n < 2 else -1} for row in rows(20)]
        parquet.write_table(pyarrow.Table.from_pylist(some), place / f"{split}-00000-of-00001.parquet")
    reviews = data.load(str(tmp_path / "imdb"))
    assert (len(reviews.train), len(reviews.val), len(reviews.test)) == (18, 2, 20) and reviews.own_test
    assert all(text.startswith("test ") for text in reviews.test.texts)
    (place / "train-00000-of-00001.parquet").write_bytes(b"PAR1 cut")
    assert f"{place / 'train-00000-of-00001.parquet'}: broken parquet (" in refused(place)
    (place / "more.csv").write_text("text,label\n", encoding="utf-8")
    assert (
        refused(place)
        == f"{place / 'more.csv'}: one of 4 tables, but not called train…, val… or test…. Give one of them."
    )


@pytest.mark.parametrize("name", ["own.zip", "own.csv.gz"])
def test_packed_files_have_a_limit(tmp_path, name, monkeypatch):
    path, raw = tmp_path / name, b"text,label\n" * 100
    if name.endswith("gz"):
        path.write_bytes(gzip.compress(raw))
    else:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("own.csv", raw)
    monkeypatch.setattr(tables, "LIMIT", 1000)
    assert refused(path) == f"{path}: holds more than 1,000 bytes unpacked."


def test_nothing_to_train_on(tmp_path):
    path = jsonl(tmp_path / "own.jsonl", rows(40, "test"))
    assert refused(path) == f"--data {path}: all of it is val or test. Call some of it train, or leave the split out."
    reviews = data.load(str(jsonl(path, rows(40) + [row | {"split": ""} for row in rows(50)[40:]])))
    assert len(reviews.everything) == 50 and not reviews.own_test, "an empty cell is no split"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"text": "cut', "broken JSON (Unterminated string starting at: line 1 column 10 (char 9))."),
        ('["text", 1]', 'expected an object as {"text": …, "label": …}.'),
        ({"text": "  ", "label": 1}, "the review is empty or no text. Remove the line."),
        ({"text": 7, "label": 1}, "the review is empty or no text. Remove the line."),
        ({"text": "x", "label": 1, "split": "exam"}, "the split 'exam' is none of train, val, test."),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path, line, complaint):
    path = jsonl(tmp_path / "own.jsonl", [*rows(3), "", line])
    assert refused(path) == f"{path}, line 5: {complaint}"


@pytest.mark.parametrize("name", ["empty.jsonl", "empty.csv", "empty.jsonl.gz"])
@pytest.mark.parametrize("lines", [[], ["", ""]])
def test_an_empty_file(tmp_path, name, lines):
    path = jsonl(tmp_path / name, lines)
    assert refused(path) == f"{path}: no review in it."


def test_a_header_alone(tmp_path):
    (tmp_path / "own.csv").write_text("text,label\n", encoding="utf-8")
    assert refused(tmp_path / "own.csv") == f"{tmp_path / 'own.csv'}: no review in it."


@pytest.mark.parametrize("words", [lambda n: "👍👎"[n % 2] * (n + 1), lambda n: f"word{n} word{n}"])
def test_reviews_that_share_no_word(tmp_path, words):
    path = jsonl(tmp_path / "own.jsonl", [row | {"text": words(n)} for n, row in enumerate(rows())])
    assert refused(path) == (
        f"--data {path}: no word occurs in two of the reviews to train on (letters and digits make words, emoji do "
        "not): there is nothing to learn from. Give more text."
    )


def test_one_class_only(tmp_path):
    path = jsonl(tmp_path / "own.jsonl", [row | {"label": "pos"} for row in rows()])
    assert refused(path) == f"--data {path}: one class only; there is nothing to tell apart."


def test_too_few(tmp_path):
    path = jsonl(tmp_path / "own.jsonl", rows(4))
    assert refused(path) == (
        f"--data {path}: 4 reviews are too few to be cut in three; ten of each class would do. "
        "The train part has 0 texts, of one class or none. It needs some of both."
    )
    assert len(data.load(str(jsonl(path, rows(6)))).train) == 2


def test_files_that_are_no_text(tmp_path):
    path = jsonl(tmp_path / "own.jsonl.gz", rows())
    path.write_bytes(path.read_bytes()[:-9])
    assert refused(path).startswith(f"{path}: the gzip file is cut short or damaged (")
    path.write_bytes(b"no gzip")
    assert refused(path).startswith(f"{path}: the gzip file is cut short or damaged (")
    other = tmp_path / "own.xlsx"
    other.write_bytes(b"PK")
    assert refused(other) == f"{other}: a workbook. Save its sheet as a .csv file, and give that."
    other = tmp_path / "own.pdf"
    other.write_bytes(b"%PDF")
    assert refused(other) == f"{other}: {sentiment_files.LAYOUT}"
    other = tmp_path / "own.csv"
    other.write_bytes(bytes(range(256)))
    assert refused(other) == f"{other}: no text. Save it as a .csv file in UTF-8."
    assert refused("no/such") == "--data no/such: no such file or folder, nor one of sample, imdb."


# ---------------------------------------------------------------- the published layout


def published(root, train=20, test=6):
    for split, count in (("train", train), ("test", test)):
        for group in ("pos", "neg"):
            place = root / split / group
            place.mkdir(parents=True)
            for i in range(count // 2):
                (place / f"{i}_{9 if group == 'pos' else 2}.txt").write_text(f"{split} {group} {i}", encoding="utf-8")
        (root / split / "labeledBow.feat").write_text("9 0:9\n", encoding="utf-8")
    (root / "train" / "unsup").mkdir()
    (root / "train" / "unsup" / "0_0.txt").write_text("nobody said what", encoding="utf-8")
    return root


def check_published(reviews):
    assert (len(reviews.train), len(reviews.val), len(reviews.test)) == (18, 2, 6)
    for part, split in ((reviews.train, "train"), (reviews.val, "train"), (reviews.test, "test")):
        for text, label in zip(part.texts, part.labels, strict=True):
            assert text.startswith(f"{split} {('neg', 'pos')[label]} ")


@pytest.mark.parametrize("inside", [True, False])
def test_a_folder_in_the_published_layout(tmp_path, inside):
    root = published(tmp_path / "aclImdb")
    path = root if inside else tmp_path
    check_published(data.load(str(path)))
    assert data.load(str(path)).own_test and data.load(str(path)).notes == ()


@pytest.mark.parametrize("ending", ["zip", "tar.gz"])
def test_archives_as_they_were_downloaded(tmp_path, ending):
    path = tmp_path / f"aclImdb_v1.{ending}"
    published(tmp_path / "made" / "aclImdb")
    shutil.make_archive(str(tmp_path / "aclImdb_v1"), {"zip": "zip", "tar.gz": "gztar"}[ending], tmp_path / "made")
    check_published(data.load(str(path)))
    path.write_bytes(path.read_bytes()[:-30])
    assert str(path) in refused(path)


def test_folders_of_polarity_are_cut_by_us(tmp_path):
    """Capitals and a folder around them do not matter; what a system puts there is passed over."""
    for group, word in (("Neg", "bad"), ("POSITIVE", "good")):
        place = tmp_path / "reviews" / "txt_sentoken" / group
        place.mkdir(parents=True)
        for i in range(20):
            (place / f"cv{i}.txt").write_text(f"{word} {i}", encoding="utf-8")
        (place / "._cv1.txt").write_bytes(b"\0\5\26\7")
        (place / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
        (place / "empty.txt").write_text(" \n", encoding="utf-8")
    (tmp_path / "__MACOSX" / "neg").mkdir(parents=True)
    (place / "cv1.txt").write_bytes("good café".encode("cp1252"))
    reviews = data.load(str(tmp_path))
    assert (len(reviews.train), len(reviews.val), len(reviews.test)) == (28, 4, 8)
    assert all(
        ("good" in text) == label for text, label in zip(texts(reviews.train), reviews.train.labels, strict=True)
    )
    assert not reviews.own_test and "good café" in texts(reviews.everything)
    assert reviews.notes == (
        "not UTF-8: read as Windows-1252; if letters come out wrong, save it as UTF-8 (cv1.txt, and perhaps others)",
        "left out 2 empty files",
        "no folder test: the reviews were cut in three, a fifth of them for test",
    )


def test_folders_that_are_not_in_the_published_layout(tmp_path):
    assert refused(tmp_path) == f"{tmp_path}: no reviews; {sentiment_files.LAYOUT}"
    root = published(tmp_path / "aclImdb")
    for file in (root / "test" / "neg").iterdir():
        file.unlink()
    assert refused(root) == f"{root / 'test' / 'neg'} holds no .txt files; {sentiment_files.LAYOUT}"
    (root / "test" / "neg").rmdir()
    assert refused(root) == f"{root / 'test' / 'neg'} is missing; {sentiment_files.LAYOUT}"


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A mirror of one's own with a small archive in the published form, and an empty $COURSE_HOME."""
    published(tmp_path / "made" / "aclImdb")
    file = tmp_path / "mirror" / data.IMDB.name
    file.parent.mkdir(parents=True)
    with tarfile.open(file, "w:gz") as archive:
        archive.add(tmp_path / "made" / "aclImdb", "aclImdb")
    raw = file.read_bytes()
    monkeypatch.setattr(
        data, "IMDB", replace(data.IMDB, urls=(), sha256=hashlib.sha256(raw).hexdigest(), size=len(raw))
    )
    monkeypatch.setenv("COURSE_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    return file


def test_imdb_through_the_asset_layer(mirror, tmp_path, capfd):
    check_published(data.load("imdb"))
    check_published(data.load("imdb"))  # unpacked once, and found again
    assert capfd.readouterr().err.count("downloading imdb/aclImdb_v1.tar.gz") == 1
    assert (tmp_path / "home" / "imdb" / "aclImdb_v1" / "aclImdb" / "test").is_dir()


def test_imdb_that_is_not_the_published_one(mirror):
    mirror.write_bytes(mirror.read_bytes()[::-1])
    line = refused("imdb")
    assert line.startswith("cannot download imdb/aclImdb_v1.tar.gz, expected ") and "with sha256" in line


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I don't CARE!<br /><br />Why?!", ["i", "don't", "care", "!", "why", "?", "!"]),
        ("It’s 10/10, truly...", ["it's", "10", "10", "truly"]),
        ("Ein schöner Film – été", ["ein", "schöner", "film", "été"]),
        ("'quoted' words' --- (brackets)", ["quoted", "words", "brackets"]),
        ("<br/>", []),
        ("这部电影很好!", ["这", "部", "电", "影", "很", "好", "!"]),
        ("とても良い映画", ["と", "て", "も", "良", "い", "映", "画"]),
        ("หนังดี", ["ห", "นั", "ง", "ดี"]),
        ("फिल्म बहुत अच्छी है", ["फिल्म", "बहुत", "अच्छी", "है"]),
        ("영화가 좋아요, фильм", ["영화가", "좋아요", "фильм"]),
        ("l'e\u0301te\u0301 👍🏽❤️", ["l'e\u0301te\u0301"]),
    ],
)
def test_tokenize(text, words):
    assert tokenize(text) == words


def test_english_has_the_words_that_it_always_had():
    plain = re.compile(r"\w+(?:'\w+)*|[!?]")
    for text in data.load("sample").test.texts:
        assert tokenize(text) == plain.findall(re.sub(r"<br\s*/?>", " ", text.lower().replace("’", "'")))


def test_vocabulary_knows_the_frequent_words_of_train_alone():
    vocabulary = Vocabulary.build(["a b b c", "c b d", "e c"], size=4, min_count=2)
    assert vocabulary.words == ["<pad>", "<unk>", "b", "c"]
    assert vocabulary.encode("B, a! c") == [2, 1, 1, 3]
    assert vocabulary.encode("…") == [1], "a text without words is one unknown word"
    assert Vocabulary.build(["z y x"], min_count=1).words[2:] == ["x", "y", "z"], "equal counts: by the alphabet"
    assert Vocabulary.build(["a a b"], size=10, min_count=1).encode("<pad> a") == [1, 2], "no text says <pad>"


def test_vocabulary_there_and_back(tmp_path):
    vocabulary = Vocabulary.build(["naïve été naïve !", 'a "b" \\ ’'], min_count=1)
    vocabulary.save(tmp_path / "vocabulary.json")
    assert Vocabulary.read(tmp_path / "vocabulary.json").ids == vocabulary.ids
    for wrong in ("[]", '{"words": [1]}', '{"other": []}'):
        (tmp_path / "wrong.json").write_text(wrong, encoding="utf-8")
        with pytest.raises(CourseError, match="is not a vocabulary of week 3"):
            Vocabulary.read(tmp_path / "wrong.json")


# ---------------------------------------------------------------- exercise 6: batches


@pytest.fixture(scope="module")
def lengths():
    return np.random.default_rng(0).integers(1, 400, 1000)


def waste(lengths, found):
    """Words in padded batches, per real word."""
    return sum(len(batch) * lengths[batch].max() for batch in found) / lengths.sum()


# Lists are compared outside of `assert`, or pytest would add to the message where they differ.

SHORT = np.array([5, 2, 7, 4, 1, 8, 3, 6])  # the lengths of eight texts


def once_each(found, count):
    """Fails where not every row number from 0 to count - 1 is in one batch."""
    assert isinstance(found, list), f"a {type(found).__name__} comes back, should be a list of batches"
    rows = sorted(np.concatenate(found).tolist()) if found else []
    twice = next((row for row in rows if rows.count(row) > 1), None)
    assert twice is None, f"row {twice} occurs {rows.count(twice)} times, should once, as every row of `order`"
    missing = next((row for row in range(count) if row not in rows), None)
    assert missing is None, f"row {missing} of {count} is in no batch, should be in one: the short batches count, too"
    assert len(rows) == count, f"row {rows[-1]} is in a batch, should be none above {count - 1}"


def alike(found):
    """Batches as sets, in no order."""
    return sorted(sorted(batch.tolist()) for batch in found)


def by_pools(lengths, size, step, seed, places=False):
    """The batches of batch_rows, as sets, from pools of `step` rows; or of places within a pool, which is a slip."""
    order = np.random.default_rng(seed).permutation(len(lengths))
    pools = [order[start : start + step] for start in range(0, len(order), step)]
    pools = [np.argsort(lengths[rows]) if places else rows[np.argsort(lengths[rows])] for rows in pools]
    return alike([rows[i : i + size] for rows in pools for i in range(0, len(rows), size)])


def check_meetings(found, lengths, size, pool, seed):
    """Fails where other texts meet in a batch than should, with the name of the slip if it is one of the usual ones."""
    met, wanted = alike(found), by_pools(lengths, size, pool * size, seed)
    held = sorted(row for batch in met for row in batch)
    blind = alike(batch_rows(lengths, size, np.random.default_rng(seed), bucketed=False))
    slips = {
        "the batches hold lengths, should hold row numbers": held == sorted(lengths),
        "the batches hold places within a pool, should hold row numbers: rows[np.argsort(lengths[rows])]": (
            met == by_pools(lengths, size, pool * size, seed, places=True)
        ),
        "a pool has `pool` rows, should have pool * size": met == by_pools(lengths, size, pool, seed),
        "all texts are sorted together, should be each pool of pool * size rows by itself": (
            met == by_pools(lengths, size, len(lengths), seed)
        ),
        "nothing is sorted, should be each pool by length": met == blind,
    }
    for told, it_is in slips.items():
        assert met == wanted or not it_is, told


@pytest.mark.exercise(6)
def test_eight_texts_in_batches_of_two():
    found = batch_rows(SHORT, 2, np.random.default_rng(1), pool=4)
    check_meetings(found, SHORT, 2, 4, seed=1)
    once_each(found, 8)
    sizes = [len(batch) for batch in found]
    of_two = sizes == [2, 2, 2, 2]
    assert of_two, f"8 texts are in batches of {sizes}, should be of [2, 2, 2, 2]"
    met = sorted(sorted(SHORT[batch].tolist()) for batch in found)
    alike_meet = met == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert alike_meet, f"in one pool lengths meet as {met}, should as [[1, 2], [3, 4], [5, 6], [7, 8]]"


@pytest.mark.exercise(6)
def test_a_text_that_is_left_over_is_a_batch_of_its_own():
    found = batch_rows(SHORT[:7], 2, np.random.default_rng(1), pool=4)
    once_each(found, 7)
    sizes = sorted(len(batch) for batch in found)
    one_left = sizes == [1, 2, 2, 2]
    assert one_left, f"7 texts are in batches of {sizes}, should be of [1, 2, 2, 2], in any order"


@pytest.mark.exercise(6)
def test_each_pool_is_sorted_by_itself():
    found = batch_rows(SHORT, 2, np.random.default_rng(1), pool=2)
    check_meetings(found, SHORT, 2, 2, seed=1)
    once_each(found, 8)
    wanted = by_pools(SHORT, 2, 4, seed=1)
    by_pool = alike(found) == wanted
    assert by_pool, f"in two pools rows meet as {alike(found)}, should as {wanted}"


@pytest.mark.exercise(6)
def test_every_text_is_in_one_batch(lengths):
    found = batch_rows(lengths, 16, np.random.default_rng(1), pool=10)
    once_each(found, 1000)
    sizes = sorted(map(len, found))
    all_there = sizes == [1000 % 16] + [16] * 62
    assert all_there, (
        f"1000 texts are in {len(sizes)} batches of {sizes[0]} to {sizes[-1]}, should be 62 of 16 and one of 8"
    )


@pytest.mark.exercise(6)
def test_texts_in_a_batch_are_of_about_the_same_length(lengths):
    bucketed = waste(lengths, batch_rows(lengths, 16, np.random.default_rng(1), pool=10))
    blind = waste(lengths, batch_rows(lengths, 16, np.random.default_rng(1), bucketed=False))
    assert blind > 1.8, "the comparison"
    assert bucketed < 1.12, f"{bucketed:.2f} padded words per real one, should be below 1.12: sort each pool by length"


@pytest.mark.exercise(6)
def test_the_batches_come_in_any_order(lengths):
    found = batch_rows(lengths, 16, np.random.default_rng(1), pool=10)
    longest = np.array([lengths[batch].max() for batch in found])
    longer = (np.diff(longest) >= 0).mean()
    assert longer < 0.7, (
        f"{longer:.0%} of the batches are longer than the one before, should be about half: shuffle the list of batches"
    )


@pytest.mark.exercise(6)
def test_chance_decides_who_meets_whom_and_it_is_that_of_rng(lengths):
    first, again, other = (batch_rows(lengths, 16, np.random.default_rng(seed), pool=10) for seed in (1, 1, 2))
    same = [batch.tolist() for batch in first] == [batch.tolist() for batch in again]
    assert same, "the same seed gives other batches, should give the same: draw from rng, from nothing else"
    meetings = [{tuple(sorted(batch.tolist())) for batch in found} for found in (first, other)]
    both = len(meetings[0] & meetings[1])
    assert both < 3, f"with another seed {both} of 63 batches are the same, should be next to none: sort within a pool"


def test_without_chance_the_order_is_by_length(lengths):
    found = batch_rows(lengths, 16, None)
    assert (np.diff(lengths[np.concatenate(found)]) >= 0).all() and waste(lengths, found) < 1.02


def test_padded_keeps_the_end_of_a_long_text():
    tokens, real = padded([[5, 6], [1, 2, 3, 4, 5], [7]], max_len=3)
    assert tokens.tolist() == [[5, 6, 0], [3, 4, 5], [7, 0, 0]] and real.tolist() == [2, 3, 1]
    assert tokens.dtype == real.dtype == np.int64


def test_batches_go_on_where_they_stopped():
    ids, labels = [[i] * (1 + i % 7) for i in range(2, 52)], np.arange(50) % 2
    whole = list(batches(ids, labels, 8, np.random.default_rng(0), max_len=5))
    rest = list(batches(ids, labels, 8, np.random.default_rng(0), max_len=5, first=3))
    assert len(whole) == 7 and len(rest) == 4
    for (tokens, real, some), (tokens_again, *_) in zip(whole[3:], rest, strict=True):
        assert np.array_equal(tokens, tokens_again)
        assert tokens.shape == (len(some), real.max()) and real.max() <= 5
        assert np.array_equal((tokens != 0).sum(axis=1), real)
        assert np.array_equal((tokens[:, 0] - 2) % 2, some), "the label is that of the text"


def test_the_checksum_is_that_of_a_file():
    assert re.fullmatch(r"[0-9a-f]{64}", data.IMDB.sha256) and data.IMDB.size == 84_125_825
