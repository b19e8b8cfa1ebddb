"""Week 8: corpora: parts, mapped tokens, a folder, a text, the stream from GitHub, and the n-gram model on them."""

import numpy as np
import pytest
from programs import close, refused

from shared.held_out import fingerprints
from week08_gpt import corpus as store
from week08_gpt import data, github, judge, ngram
from week08_gpt.corpus import PARTS
from week08_gpt.tokenizer import BPE, Characters


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "code"
    for n in range(20):
        path = place / f"p{n % 3}" / f"f{n:02}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"def f{n}(a):\n    return a + {n}  # é\n", encoding="utf-8")
    return place


# ---------------------------------------------------------------- sample


def test_no_module_of_the_sample_is_in_two_parts_and_no_function_is_there_twice():
    import gzip
    import json

    with gzip.open(data.SAMPLE, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    split = {}
    for row in rows:
        assert split.setdefault(row["module"], row["split"]) == row["split"]
        assert not row["module"].startswith(("test", "idlelib", "encodings", "pydoc_data"))
    assert len({row["code"] for row in rows}) == len(rows) == 10_064
    sizes = {part: sum(len(row["code"]) for row in rows if row["split"] == part) for part in PARTS}
    assert sizes["train"] > 4_500_000 and min(sizes.values()) > 300_000


def test_near_duplicates_are_found_and_comments_and_docstrings_do_not_count():
    from shared.samples.cut_stdlib import functions, runs

    one = 'def f(a):\n    """Says this."""\n    x = a + 1  # so\n    return x\n'
    other = "def f(a):\n    # and this\n    x = a + 1\n\n    return x\n"
    assert runs(one) == runs(other) and runs(one) != runs(other.replace("+", "-"))
    source = "class A:\n    @property\n    def b(self):\n        def inner(): pass\n        return 1\nif 1:\n"
    source += "    def c(): pass\n"
    found = list(functions(source))
    assert [name for name, _ in found] == ["A.b", "c"]
    assert found[0][1] == "@property\ndef b(self):\n    def inner(): pass\n    return 1\n"


# ---------------------------------------------------------------- parts on disk


def test_a_corpus_comes_back_from_its_files_mapped(folder):
    made = data.load(str(folder), "bpe", 300)
    again = data.load(str(folder), "bpe", 300)
    assert isinstance(again.train.shards[0], np.memmap) and again.train.shards[0].dtype == np.uint16
    for name in PARTS:
        one, other = getattr(made, name), getattr(again, name)
        assert np.array_equal(one.window(0, one.tokens), other.window(0, other.tokens))
        assert np.array_equal(one.prints, other.prints) and one.text_bytes == other.text_bytes
    text = made.tokenizer.decode(again.val.document(0).tolist())
    assert text.endswith("<|endoftext|>") and text.startswith("def f")
    assert again.val.text_bytes == sum(
        len(made.tokenizer.decode(again.val.document(n)[:-1].tolist()).encode()) + 1 for n in (0, 1)
    )


def test_windows_go_over_shards_and_documents():
    tokens = Characters.train(["abcdef"])
    one, two = (store.encoded(texts, tokens) for texts in (["ab", "c"], ["def"]))
    both = one + two
    whole = np.concatenate([one.shards[0], two.shards[0]])
    for start in range(9):
        for length in range(9):
            assert np.array_equal(both.window(start, length), whole[start : start + length])
    assert np.array_equal(both.document(2), two.document(0))
    assert np.array_equal(both.take(np.array([2, 0])).window(0, 9), [*two.document(0), *one.document(0)])


def test_tokens_of_another_tokenizer_and_broken_files_are_refused(folder, tmp_path):
    data.load(str(folder), "char")
    (place,) = (tmp_path / "home" / "week08").iterdir()
    path = place / "train-00000.bin"
    path.write_bytes(path.read_bytes()[:-2])
    assert f"{path} is not whole" in refused(store.read, place)
    path.unlink()
    assert refused(store.read, place).startswith(f"{path}: ")
    Characters.train(["xyz"]).save(place / "tokenizer.json")
    assert "corpus.json was made with another tokenizer" in refused(store.read, place)


def test_a_large_vocabulary_takes_four_bytes(tmp_path):
    tokens = Characters([chr(n) for n in range(0x4E00, 0x4E00 + 20_000)] + [chr(n) for n in range(0x20000, 0x2D000)])
    part = store.encoded(["\u4e00\U0002cfff"], tokens)
    assert part.shards[0].dtype == np.uint32
    name = store.write_part(tmp_path, "train-00000", part)
    assert np.array_equal(store.read_part(tmp_path, [name], "uint32", True).window(0, 9), part.window(0, 9))


# ---------------------------------------------------------------- a learner's own


def test_a_folder_leaves_out_what_is_no_text_or_there_twice(folder):
    (folder / "a.py").write_bytes(b"\xff\xfe\xfd\xfc\xfb")
    (folder / "b.py").write_text("", encoding="utf-8")
    (folder / "c.py").write_text((folder / "p0" / "f00.py").read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "raw.py").write_bytes(b"caf\xe9 = 1\n")
    (folder / ".hidden.py").write_text("x = 1\n", encoding="utf-8")
    found = data.read(str(folder))
    assert len(found.train + found.val + found.test) in (20, 21)  # bytes that happen to be UTF-16 are a text
    assert any("could not be read" in note for note in found.notes)
    assert any("there twice" in note for note in found.notes)


def test_a_text_is_cut_in_order_and_together_it_is_the_text(tmp_path):
    path = tmp_path / "book.txt"
    text = "".join(f"line {n} of it\n" for n in range(3000))
    path.write_bytes(text.replace("\n", "\r\n").encode())
    found = data.read(str(path))
    assert "".join(found.train + found.val + found.test) == text and not found.ends
    corpus = data.load(str(path), "char")
    assert corpus.train.text_bytes + corpus.val.text_bytes + corpus.test.text_bytes == len(text)
    assert corpus.tokenizer.decode(corpus.train.window(0, 30).tolist()) == text[:30]


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (None, "--data {}: no such file or folder"),
        (b"short\n", "--data {}: 6 characters are too little text to be cut in three."),
        (b"caf\xe9\n", "{}:1: not UTF-8 text. Save it as UTF-8."),
    ],
)
def test_what_is_no_corpus_is_refused(tmp_path, make, line):
    path = tmp_path / "x.txt"
    if make is not None:
        path.write_bytes(make)
    assert refused(data.load, str(path)).startswith(line.format(path))


def test_a_folder_of_too_few_files_and_a_corpus_smaller_than_a_block(folder, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    (few / "a.py").write_text("a = 1\n", encoding="utf-8")
    assert refused(data.read, str(few)) == (
        f"--data {few}: 1 different .py files below it; it takes ten to be cut in three."
    )
    corpus = data.load(str(folder), "char")
    line = refused(corpus.fit_for, 1000)
    assert "train has" in line and "less than one block of 1000" in line and line.endswith("or a smaller --block-size.")


# ---------------------------------------------------------------- GitHub


def parquet(path, rows):
    import pandas as pd

    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(path)


def row(n, licence="mit", language="Python"):
    code = f"def f{n}(a):\n    return a * {n}\n"
    return {
        "code": code,
        "repo_name": f"r/{n // 2}",
        "path": "a.py",
        "language": language,
        "license": licence,
        "size": 9,
    }


def test_github_is_filtered_deduplicated_sharded_and_gone_on_with(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setattr(github, "SHARD", 300)
    monkeypatch.setattr(github, "HELD_OUT", 5)
    place = tmp_path / "home" / "github-code-clean"
    rows = [row(n) for n in range(80)] + [row(3), row(900, "gpl-3.0"), row(901, language="C")]
    parquet(place / "a.parquet", rows)
    small = github.load("char", 0, 600)
    assert 600 <= small.train.tokens < 1000 and len(small.train.shards) == 2
    again = github.load("char", 0, 600)
    assert again.train.tokens == small.train.tokens, "nothing more was asked for"
    whole = github.load("char", 0, 10**9)
    before = small.train.tokens
    assert np.array_equal(whole.train.window(0, before), small.train.window(0, before)), "what was there stays"
    prints = np.concatenate([getattr(whole, name).prints for name in PARTS])
    assert sorted(prints) == sorted(fingerprints(one["code"] for one in rows[:80])), "each once, the free Python alone"
    repositories = {name: {github.part_of(f"r/{n}") for n in range(40)} for name in PARTS}
    assert repositories["train"] == {"train", "val", "test"}
    monkeypatch.setattr(github, "rows", lambda skip=0: pytest.fail("the stream had ended"))
    assert github.load("char", 0, 10**9).train.tokens == whole.train.tokens
    assert "was made with another tokenizer" in refused(github.load, "char", 0, 1, Characters.train(["q"]))


def test_github_without_a_network_says_what_to_do(monkeypatch, tmp_path):
    datasets = pytest.importorskip("datasets")

    def fails(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(datasets, "load_dataset", fails)
    line = refused(data.load, "github-code-clean")
    assert line.startswith("github-code-clean: the hub does not answer (ConnectionError: no route to host).")
    assert line.endswith(f"put its Python parquet files into {tmp_path / 'home' / 'github-code-clean'}.")


# ---------------------------------------------------------------- the n-gram model


def by_hand(train, vocab, order):
    """Interpolated modified Kneser-Ney with dictionaries, as it stands in Chen and Goodman."""
    grams = [[tuple(train[i : i + n]) for i in range(len(train) - n + 1)] for n in range(1, order + 1)]

    def counts(n):
        if n == order:
            found = {}
            for gram in grams[n - 1]:
                found[gram] = found.get(gram, 0) + 1
            return found
        left = {}
        for gram in set(grams[n]):
            left[gram[1:]] = left.get(gram[1:], 0) + 1
        return {gram: max(1, left.get(gram, 0)) for gram in set(grams[n - 1])}

    tables = [counts(n) for n in range(1, order + 1)]
    cuts = [ngram.discounts_of(np.array(list(table.values()))) for table in tables]

    def prob(context, word):
        n = len(context)
        lower = prob(context[1:], word) if n else 1 / vocab
        follow = {gram[-1]: count for gram, count in tables[n].items() if gram[:-1] == context}
        if not follow:
            return lower
        total, cut = sum(follow.values()), cuts[n]
        own = follow.get(word, 0)
        spared = sum(cut[min(count, 3)] for count in follow.values())
        return (own - cut[min(own, 3)]) / total + spared / total * lower

    return lambda ids, at: prob(tuple(ids[max(0, at - order + 1) : at]), ids[at])


def test_kneser_ney_is_the_one_of_the_paper():
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 6, 300) ** 2 // 6, rng.integers(0, 7, 60)
    model, prob = ngram.KneserNey(train, 8, 3), by_hand(train.tolist(), 8, 3)
    close(model.probabilities(test), [prob(test.tolist(), at) for at in range(60)], "probabilities", 1e-12)


def test_probabilities_sum_to_one_and_more_context_helps():
    text = np.array([n % 7 * (n % 3 > 0) for n in range(400)])
    model = ngram.KneserNey(text, 9, 4)
    for context in ([], [1], [2, 8], [0, 1, 2], [8, 8, 8]):
        total = sum(model.probabilities(np.array([*context, word]))[-1] for word in range(9))
        assert total == pytest.approx(1, abs=1e-12)
    bits = [ngram.bits(ngram.KneserNey(text, 9, n), text) for n in (1, 2, 4)]
    assert bits[0] > bits[1] > bits[2]


# ---------------------------------------------------------------- judging completions


def test_a_task_is_a_beginning_with_a_docstring_and_the_rest():
    code = '@wraps(f)\ndef f(a):\n    """Says.\n\n    More."""\n    b = a\n    return b\n'
    task = judge.task_of(code)
    assert task.name == "f" and task.prompt + task.body == code and task.body == "    b = a\n    return b\n"
    for none in ("x = 1\n", "def f(:\n", "def f(a):\n    return a\n", 'def f():\n    """alone"""\n'):
        assert judge.task_of(none) is None


@pytest.mark.parametrize(
    ("code", "strange"),
    [
        ("def f(a, *b, c=1, **d):\n    return a, b, c, d, len, os", set()),
        ("def f():\n    return g(x)", {"g", "x"}),
        ("def f():\n    import numpy.linalg as la, a.b\n    return la, a", set()),
        ("def f():\n    try:\n        y = 1\n    except ValueError as e:\n        return e, y", set()),
        ("def f():\n    return [i for i in range(3) if (z := i)] and z", set()),
        ("def f(v):\n    match v:\n        case [a, *b]:\n            return a, b\n        case w: w", set()),
        ("def f():\n    for q, (r, s) in []:\n        def g(): pass\n    return q, r, s, g", set()),
    ],
)  # fmt: skip
def test_names_that_nobody_defines(code, strange):
    assert judge.undefined(code) == strange


def test_thirty_tokens_in_a_row_are_copied_and_twenty_nine_are_not():
    tokens = BPE.train(["abc"], 257)
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 250, 500)
    part = store.Part((ids,), np.array([0, 500]), np.array([500]), np.array([1]), True)
    memory = judge.Memory(part)
    new = rng.integers(250, 257, 40).tolist()
    assert memory.has([*new, *ids[100:130].tolist(), *new]) and not memory.has([*new, *ids[100:129].tolist(), *new])
    assert not memory.has([]) and tokens.end == 0


def test_what_does_not_parse_has_no_names_defined():
    task = judge.Task("f", "def f(a):\n    '''Says.'''\n", "")
    memory = judge.Memory(store.Part((np.arange(40),), np.array([0, 40]), np.array([1]), np.array([1]), True))
    assert judge.verdict(task, "\n    return (", [1], memory) == {"parses": False, "defined": False, "copied": False}
    assert judge.verdict(task, "\n    return a", list(range(30)), memory) == {
        "parses": True, "defined": True, "copied": True,
    }  # fmt: skip
    assert judge.shares([{"parses": True, "defined": False, "copied": False}] * 2)["parses"] == 1
