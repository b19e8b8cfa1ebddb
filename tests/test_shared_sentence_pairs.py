"""Sentences and their translations: published and home-made files, what is refused, a cut that keeps test unseen."""

import gzip
import zipfile

import numpy as np
import pytest
from programs import refused

from shared import assets, held_out, translation_scores
from shared import sentence_pairs as pairs

FRA = "Go.\tVa !\tCC-BY 2.0\nGo.\tMarche.\tCC-BY 2.0\nHi.\tSalut !\nI'm home.\tJe suis à l’hôtel.\n"


def lines(count, start=0):
    return "".join(f"the cat number {n} sleeps\tle chat numéro {n} dort\n" for n in range(start, start + count))


def put(path, text, **how):
    path.write_text(text, encoding="utf-8", **how)
    return path


# ---------------------------------------------------------------- files


def test_the_bundled_sample():
    data = pairs.load("sample")
    assert [len(part) for part in (data.train, data.val, data.test)] == [12479, 1002, 999]
    assert data.own_test and data.notes == ("left out 54 pairs of more than 12 words (--most-words)",)
    seen = set(data.train.examples)
    assert not seen & set(data.val.examples) and not seen & set(data.test.examples)
    assert max(map(len, data.test.references)) > 1, "some sentences have several translations"


@pytest.mark.parametrize("ending", ["fra.txt", "pairs.tsv", "pairs.tsv.gz", "fra-eng.zip"])
def test_published_and_home_made_layouts(tmp_path, ending):
    path = tmp_path / ending
    if ending.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("_about.txt", "About")
            archive.writestr("fra.txt", FRA)
    elif ending.endswith(".gz"):
        path.write_bytes(gzip.compress(FRA.encode()))
    else:
        put(path, "\ufeff" + FRA.replace("\n", "\r\n"), newline="")
    assert pairs.read_table(path) == [
        ("Go.", "Va !", ""),
        ("Go.", "Marche.", ""),
        ("Hi.", "Salut !", ""),
        ("I'm home.", "Je suis à l'hôtel.", ""),
    ]


def test_a_first_line_of_names_gives_the_split(tmp_path):
    path = put(
        tmp_path / "a.tsv", "source\ttarget\tsplit\n" + lines(30).replace("dort\n", "dort\ttrain\n") + "a b\tc\ttest\n"
    )
    data = pairs.load(str(path))
    assert data.own_test and data.test.pairs == [("a b", "c")]
    assert (len(data.train), len(data.val)) == (27, 3), "val was cut from train"
    put(path, "source\ttarget\tsplit\na\tb\tdev\n")
    assert refused(pairs.read_table, path) == f"{path}:2: split 'dev' is none of train, val, test."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a\tb\nno tab\nc\td\nnor here\n",
            "{}: no tab in lines 2, 4. Each line is a sentence, a tab, its translation.",
        ),
        (
            "".join(f"{n}\n" for n in range(8)),
            "{}: no tab in lines 1, 2, 3, 4, 5 and 3 more. Each line is a sentence, a tab, its translation.",
        ),
        ("only\n", "{}: no tab in line 1. Each line is a sentence, a tab, its translation."),
        ("", "{}: no pair of sentences in it. Each line is a sentence, a tab, its translation."),
        ("\t\n \t \n", "{}: no pair of sentences in it. Each line is a sentence, a tab, its translation."),
    ],
)
def test_lines_that_are_no_pairs_are_numbered(tmp_path, text, message):
    path = put(tmp_path / "a.txt", text)
    assert refused(pairs.read_table, path) == message.format(path)


def test_what_is_no_text_is_one_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("one\tun\ntwo\tdeux caf\xe9\n".encode("latin-1"))
    assert refused(pairs.read_table, path) == f"{path}:2: not UTF-8 text. Save it as UTF-8."
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    assert refused(pairs.read_table, path) == f"{path}: no text, but a binary file (a picture?)."
    path.write_bytes("one\tun é\n".encode("utf-16"))
    assert pairs.read_table(path) == [("one", "un é", "")], "what Windows calls Unicode"
    whole = gzip.compress(FRA.encode() * 100)
    path.write_bytes(whole[: len(whole) // 2])
    assert refused(pairs.read_table, path).startswith(f"{path} is damaged (")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", FRA)
        archive.writestr("b.txt", FRA)
    assert refused(pairs.read_table, path) == f"{path}: 2 text files in it, should be one. Unpack it, and name one."
    assert refused(pairs.load, str(tmp_path / "not.tsv")) == (
        f"--data {tmp_path / 'not.tsv'}: no such file, nor one of sample, anki."
    )
    assert refused(pairs.load, str(tmp_path)) == f"--data {tmp_path}: a folder, not a file, nor one of sample, anki."


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "LARGEST", 1 << 20)
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(bytes(2 << 20)))
    assert refused(pairs.read_table, path) == f"{path}: more than 1 MB of text. Take a part of it."


def test_anki_is_the_published_archive_or_what_lies_in_its_place(tmp_path, monkeypatch):
    """Its host publishes a new export now and then; the mirror's has a published checksum."""
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    monkeypatch.setattr(assets, "TRIES", 1)
    assert pairs.ANKI.expected == "sha1 94646ad1522d915e7b0f9296181140edcf86a4f5"
    path = tmp_path / "anki" / "fra-eng.zip"
    path.parent.mkdir()
    path.write_bytes(b"another export")
    message = refused(pairs.load, "anki")
    assert message.startswith(f"{path} is not the file it should be: expected sha1 94646ad1522d915e7b0f9296181140")


# ---------------------------------------------------------------- the cut


def test_a_source_is_in_one_split_with_all_its_translations(tmp_path):
    rows = lines(40) + "The cat: number 7 sleeps!\til dort, le chat\n" + lines(3)
    data = pairs.load(str(put(tmp_path / "a.tsv", rows)))
    assert [len(part) for part in (data.train, data.val, data.test)] == [32, 4, 4]
    assert data.notes == ("dropped 3 pairs that occur twice",)
    (seven,) = [refs for s, refs in zip(*vars(data.everything).values(), strict=True) if s == "the cat number 7 sleeps"]
    assert seven == ("le chat numéro 7 dort", "il dort, le chat")
    again = pairs.load(str(tmp_path / "a.tsv"))
    assert again == data, "the same cut each time"
    assert sorted(data.everything.sources) == sorted({line.split("\t")[0] for line in lines(40).splitlines()})


def test_long_sentences_are_left_out_and_counted(tmp_path):
    path = put(tmp_path / "a.tsv", lines(40) + "a b c d e f\tun\n")
    data = pairs.load(str(path), most_words=5)
    assert data.notes == ("left out 1 pairs of more than 5 words (--most-words)",)
    assert refused(pairs.load, str(path), 2) == f"--data {path}: no pair of at most 2 words. Raise --most-words."
    put(path, lines(5))
    assert (
        refused(pairs.load, str(path)) == f"--data {path}: 5 sentences are too few to be cut in three; thirty would do."
    )


def test_eval_knows_what_a_network_has_seen(tmp_path):
    data = pairs.load(str(put(tmp_path / "a.tsv", lines(40))))
    before = held_out.prints_of(data)
    put(tmp_path / "a.tsv", lines(40).replace("numéro 7 dort", "numéro 7 mange"))
    assert held_out.difference(before, held_out.prints_of(pairs.load(str(tmp_path / "a.tsv")))) != ""
    part = data.train.take(np.array([2, 0]))
    assert part.sources == [data.train.sources[2], data.train.sources[0]]


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't open l'unité, please!", ["don't", "open", "l'", "unité", ",", "please", "!"]),
        ("Qu’est-ce que c'est ?", ["qu'", "est-ce", "que", "c'", "est", "?"]),
        ("Jusqu'à 1,234.5 %", ["jusqu'", "à", "1,234.5", "%"]),
        ("Cafe\u0301 «noir»", ["café", "«", "noir", "»"]),
        ("Привет, мир", ["привет", ",", "мир"]),
        (" ", []),
    ],
)
def test_words(text, words):
    assert pairs.tokenize(text) == words


@pytest.mark.parametrize(
    "text", ["ouvre l'unité !", '"oui", dit-il (tout bas).', "qu'est-ce que c'est ?", "un, deux: trois"]
)
def test_words_become_a_sentence_again(text):
    assert pairs.tokenize(pairs.detokenize(pairs.tokenize(text))) == pairs.tokenize(text)


def test_detokenize_spaces():
    assert pairs.detokenize(
        pairs.tokenize('« Oui », dit "le chat" (noir).')
    ) == '« oui », dit "le chat" (noir).'.replace("« ", "«")


def test_words_are_counted_as_people_do():
    assert pairs.count_words("Qu'est-ce que c'est, l'unité ?") == 4


def test_vocabulary_there_and_back(tmp_path):
    source = pairs.Vocabulary.build(["a b b", "b a c"], 20)
    assert source.words == [*pairs.SPECIAL, "b", "a"]
    assert source.encode(["a", "never"]) == [5, pairs.UNK, pairs.EOS]
    assert source.decode([pairs.BOS, 5, 4, pairs.PAD, pairs.EOS, 4]) == ["a", "b"]
    assert len(pairs.Vocabulary.build(["a b b a c c"], 5)) == 5
    pairs.save_vocabularies(tmp_path / "v.json", source, pairs.Vocabulary(["x"]))
    again = pairs.read_vocabularies(tmp_path / "v.json")
    assert [one.words for one in again] == [source.words, [*pairs.SPECIAL, "x"]]
    put(tmp_path / "v.json", '{"source": [1]}')
    message = f"{tmp_path / 'v.json'} does not hold two vocabularies. Train again, or use another run."
    assert refused(pairs.read_vocabularies, tmp_path / "v.json") == message


# ---------------------------------------------------------------- batches


def test_batches_hold_each_row_once_and_are_of_like_length():
    lengths = np.random.default_rng(0).integers(1, 30, 1000)
    for rng in (None, np.random.default_rng(1)):
        batches = pairs.batch_rows(lengths, 32, rng, pool=10)
        assert sorted(np.concatenate(batches).tolist()) == list(range(1000))
        spread = np.mean([np.ptp(lengths[rows]) for rows in batches])
        assert spread < 5
    assert pairs.padded([[5, 3], [7]]).tolist() == [[5, 3], [7, pairs.PAD]]


# ---------------------------------------------------------------- scores


def test_scores_are_against_all_references():
    refs = [("le chat dort ici maintenant",), ("va !", "marche , mon ami , marche")]
    perfect = translation_scores.scores(["Le chat dort ici maintenant", "marche, mon ami, marche"], refs)
    assert perfect["exact"] == 1 and perfect["bleu"] == pytest.approx(100) and perfect["chrf"] == pytest.approx(100)
    half = translation_scores.scores(["le chat dort ici maintenant", "je ne sais pas"], refs)
    assert half["exact"] == 0.5 and 0 < half["bleu"] < 100


def test_bleu_by_the_definition():
    """One sentence of six words with one wrong: by hand, precisions 5/6, 4/5, 3/4 and 2/3, no brevity penalty."""
    found = translation_scores.bleu(["a b c d e x"], [("a b c d e f",)])
    assert found == pytest.approx(100 * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25)


def test_scores_by_length():
    table = translation_scores.by_length(["a", "a b c", "a b c d"], ["x"] * 3, [("x",)] * 3, [(1, 2), (3, 4), (5, 9)])
    assert [(bounds, count) for bounds, count, _ in table] == [((1, 2), 1), ((3, 4), 2)]
