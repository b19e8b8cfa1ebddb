"""Week 7's WordPiece against the tokenizers library: token for token, place for place, and vocabulary for vocabulary.

The tests marked `exercise(1)` are what `./course check 7` holds a learner's piece 1 to.
"""

import random
import unicodedata
from collections import Counter

import pytest
from programs import refused
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from shared.models import fetch
from week07_bert import tokenizer as week
from week07_bert.tokenizer import SPECIAL, UNK, WordPiece

LINES = [
    "Hello, world! It's 3.14$ (or 2^10), isn't it?",
    "Crème brûlée à l'École, Ångström, naïve café, ÀÉÎÕÜ, Łódź, İstanbul, straße, ǅungla",
    "e\u0301 and \u00e9, a\u0323\u0301b, \u0301 alone, \u212b and \u00c5, \ufb01sh",
    "机器学习 is 机械学習, 東京タワー, ｆｕｌｌ width, 한국어 텍스트, ไทย, עִבְרִית, العربية, हिन्दी",
    "👩‍👩‍👧 emoji 🎉🎉 👍🏽 and ☃, flags 🇫🇷",
    "odd\u00a0spaces\u2003here\u3000and\u200bthere\ttab\r\nline\u2028end\x0bvertical\x85next",
    "control\x00 ch\x07ars \ufffd and \ufeffmarks \u00adsoft\u00adhyphen, \ue000private",
    f"{'a' * 100} {'b' * 101} {'é' * 100} {'É' * 101} {'x' * 300}.",
    "[CLS] [MASK] [SEP] are words here; ##ing as well; a_b-c/d\\e|f~g`h",
    "",
    "   ",
    "\u0301\u0301",
    "unaffable supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis",
    "Σίσυφος ΟΔΥΣΣΕΎΣ, ЁЛКА й, Ǆ",
]


def library(vocab, lowercase=True):
    """The library's tokenizer with the same vocabulary, without special tokens of its own."""
    found = Tokenizer(models.WordPiece(vocab, unk_token=UNK, max_input_chars_per_word=100))
    found.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return found


@pytest.fixture(scope="module", params=[True, False], ids=["uncased", "cased"])
def both(request):
    """Ours and the library's with MiniLM's vocabulary."""
    ours = WordPiece.from_file(fetch("minilm") / "vocab.txt", request.param)
    return ours, library(ours.vocab, request.param)


def same(both, text):
    ours, theirs = both
    ids, spans = ours.encode(text)
    expected = theirs.encode(text, add_special_tokens=False)
    assert [ours.tokens[at] for at in ids] == expected.tokens, f"tokens of {text!r:.80}"
    assert ids == expected.ids
    assert spans == expected.offsets, f"places in {text!r:.80}"


# ---------------------------------------------------------------- exercise 1: greedy WordPiece


def vocabulary(*pieces):
    return {piece: at for at, piece in enumerate((*SPECIAL, *pieces))}


def held(word, vocab, right):
    """The pieces are right; else says which of the known slips explains what they are."""
    found = week.pieces_of(word, vocab)
    assert isinstance(found, list), f"pieces_of({word!r}) is {found!r:.40}, should be a list of tokens"
    if found == right:
        return
    bare = [piece.removeprefix("##") for piece in found]
    assert bare == found or len(found) < 2 or right == [UNK] or bare != [p.removeprefix("##") for p in right], (
        f"{word!r} is cut into {found}, should be {right}: only the pieces after the first begin with ##"
    )
    if right != [UNK] and bare == found and len(found) > 1:
        raise AssertionError(f"{word!r} is cut into {found}, should be {right}: what continues a word begins with ##")
    assert not (right == [UNK] and UNK in found), f"{word!r} is cut into {found}, should be [UNK] alone: all or nothing"
    assert right != [UNK] or not found, f"{word!r} is cut into {found}, should be [UNK]: a rest of it is in no piece"
    assert len(found) <= len(right) or right == [UNK], (
        f"{word!r} is cut into {found}, should be {right}: the longest piece is to be taken, not the shortest"
    )
    raise AssertionError(f"{word!r} is cut into {found}, should be {right}")


@pytest.mark.exercise(1)
def test_a_word_that_is_in_the_vocabulary():
    held("cat", vocabulary("cat", "dog"), ["cat"])


@pytest.mark.exercise(1)
def test_a_piece_inside_a_word_is_another_than_one_that_begins_it():
    held("catcat", vocabulary("cat", "##cat"), ["cat", "##cat"])
    held("catdog", vocabulary("cat", "dog", "##d", "##o", "##g"), ["cat", "##d", "##o", "##g"])


@pytest.mark.exercise(1)
def test_the_example_to_follow_by_hand():
    held("unaffable", vocabulary("u", "un", "##a", "##aff", "##able", "##ble", "##f"), ["un", "##aff", "##able"])


@pytest.mark.exercise(1)
def test_it_goes_from_left_to_right():
    vocab = vocabulary("v", "vega", "##n", "##egan")
    assert week.pieces_of("vegan", vocab) != ["v", "##egan"], (
        "'vegan' is cut into ['v', '##egan'], should be ['vega', '##n']: the longest piece was taken from the end of "
        "the word, should be from its beginning"
    )
    held("vegan", vocab, ["vega", "##n"])


@pytest.mark.exercise(1)
def test_greedy_does_not_look_ahead():
    held("abcd", vocabulary("ab", "abc", "##cd"), [UNK])  # ab ##cd would do, but abc is longer, and no ##d is left


@pytest.mark.exercise(1)
def test_a_word_is_cut_whole_or_not_at_all():
    held("cats", vocabulary("cat", "s"), [UNK])
    held("xcat", vocabulary("cat", "##cat"), [UNK])


@pytest.mark.exercise(1)
def test_a_word_of_more_than_100_letters_is_unknown():
    vocab = vocabulary("a", "##a")
    assert week.pieces_of("a" * 100, vocab) == ["a"] + ["##a"] * 99, "100 letters are not too many, should be cut"
    assert week.pieces_of("a" * 101, vocab) == [UNK], "a word of 101 letters is cut, should be [UNK]"


@pytest.mark.exercise(1)
def test_pieces_equal_the_library(both):
    rng, ours = random.Random(1), both[0]
    short = [token.removeprefix("##") for token in ours.tokens[2000:12000] if token.isascii() and len(token) < 9]
    for _ in range(2000):
        word = "".join(rng.choices(short, k=rng.randint(1, 4)))
        held(word, ours.vocab, both[1].model.tokenize(word) and [one.value for one in both[1].model.tokenize(word)])


# ---------------------------------------------------------------- the same as the library


@pytest.mark.parametrize("text", LINES, ids=range(len(LINES)))
def test_tokens_and_places_equal_the_library(both, text):
    same(both, text)
    same(both, text * 3)


OLD = [char for char in map(chr, range(1, 0x30000))
       if unicodedata.ucd_3_2_0.category(char) == unicodedata.category(char) not in ("Cn", "Cs")]  # fmt: skip


def test_every_character_that_both_know(both):
    """Those of Unicode 3.2; of the 80,000 ideographs and syllables every fiftieth.

    (The library's tables are of Unicode 8: a mark or a dash from later is a letter for it.)
    """
    some = [char for at, char in enumerate(OLD) if unicodedata.category(char) not in ("Lo", "Co") or at % 50 == 0]
    assert len(some) > 6000
    for start in range(0, len(some), 2000):
        same(both, "".join(f"x{char}y {char} " for char in some[start : start + 2000]))


@pytest.mark.parametrize("seed", range(5))
def test_random_texts(both, seed):
    rng = random.Random(seed)
    common = "aeiostrnlABC   ,.'-éüñ\u0301\u0327\t中文ß"
    for _ in range(60):
        text = "".join(rng.choice(common if rng.random() < 0.8 else OLD) for _ in range(rng.randint(0, 80)))
        same(both, text)


def test_places_are_of_the_text_as_it_was_given():
    text = "A\u0301 cafe\u0301, DÉJÀ\x00 vu 东京!"
    tokenizer = WordPiece([*SPECIAL, "a", "cafe", "deja", "vu", "东", "京", ",", "!"])
    ids, spans = tokenizer.encode(text)
    assert [text[a:b] for a, b in spans] == ["A", "cafe", ",", "DÉJÀ", "vu", "东", "京", "!"]
    assert tokenizer.decode(ids) == "a cafe , deja vu 东 京 !"


def test_special_tokens_in_a_text_are_text():
    tokenizer = WordPiece([*SPECIAL, "[", "]", "sep", "a"])
    ids, _ = tokenizer.encode("a [SEP] a")
    assert not tokenizer.special_ids & set(ids)
    assert [tokenizer.tokens[at] for at in ids] == ["a", "[", "sep", "]", "a"]


def test_decoding_joins_pieces_and_leaves_special_ones_out():
    tokenizer = WordPiece([*SPECIAL, "un", "##aff", "##able", "man"])
    ids = [tokenizer.cls_id, *tokenizer.encode("unaffable man")[0], tokenizer.sep_id]
    assert tokenizer.decode(ids) == "unaffable man"
    assert tokenizer.decode(ids, special=True) == "[CLS] unaffable man [SEP]"
    assert tokenizer.decode([6]) == "##aff"


# ---------------------------------------------------------------- training


def recounted(counts, vocab_size):
    """Training with everything counted anew at each step; stops where two pairs are equally frequent."""
    words = {word: [word[0], *(f"##{letter}" for letter in word[1:])] for word in counts}
    letters = {letter for word in counts for letter in word}
    vocab = list(dict.fromkeys([*SPECIAL, *sorted(letters), *sorted({p for ps in words.values() for p in ps[1:]})]))
    while len(vocab) < vocab_size:
        pairs = Counter()
        for word, pieces in words.items():
            for at in range(len(pieces) - 1):
                pairs[pieces[at], pieces[at + 1]] += counts[word]
        (first, count), *rest = pairs.most_common(2) or [(None, 0)]
        if count < 2 or (rest and rest[0][1] == count):
            break
        joined = first[0] + first[1].removeprefix("##")
        if joined not in vocab:
            vocab.append(joined)
        for pieces in words.values():
            at = 0
            while at < len(pieces) - 1:
                if (pieces[at], pieces[at + 1]) == first:
                    pieces[at : at + 2] = [joined]
                at += 1
    return vocab


@pytest.mark.parametrize("seed", range(6))
def test_training_equals_the_library_and_counting_anew(seed):
    rng = random.Random(seed)
    counts = {"".join(rng.choices("abc", k=rng.randint(1, 9))): rng.randint(1, 400) for _ in range(50)}
    right = recounted(counts, 60)
    assert len(right) > 25, "hardly a merge before two pairs are equally frequent: no test"
    assert week.learn(counts, len(right)) == right
    theirs = Tokenizer(models.WordPiece(unk_token=UNK))
    theirs.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=len(right), min_frequency=2, special_tokens=list(SPECIAL), show_progress=False
    )
    theirs.train_from_iterator([" ".join([word] * count) for word, count in counts.items()], trainer)
    assert set(theirs.get_vocab()) == set(right)


def test_training_normalises_counts_and_stops():
    tokenizer = WordPiece.train(["Été, été! 中文", "ÉTÉ"], 100)
    assert tokenizer.tokens[5:] == ["!", ",", "e", "t", "中", "文", "##e", "##t", "et", "ete"]
    assert WordPiece.train(["abab"], 100).tokens[5:] == [
        "a",
        "b",
        "##a",
        "##b",
    ]  # no pair is there twice … but once a word
    assert len(WordPiece.train(["abc abc"], 6)) == 5 + 5  # letters are never left out
    cased = WordPiece.train(["Été été"], 100, lowercase=False)
    assert "É" in cased.vocab and cased.encode("Été")[1] == [(0, 1), (1, 3)]


def test_what_was_trained_on_is_never_unknown():
    rng = random.Random(0)
    texts = ["".join(rng.choices(OLD[:3000] + [" "] * 300, k=200)) for _ in range(20)]
    tokenizer = WordPiece.train(texts, 300)
    words = {token for text in texts for token in tokenizer.encode(text)[0]}
    assert tokenizer.unk_id not in words


# ---------------------------------------------------------------- files


def test_a_vocabulary_survives_its_file(tmp_path):
    tokenizer = WordPiece.train(["some words, and some more words\u2028"], 60)
    tokenizer.save(tmp_path / "vocab.txt")
    again = WordPiece.from_file(tmp_path / "vocab.txt")
    assert again.tokens == tokenizer.tokens
    (tmp_path / "crlf.txt").write_bytes((tmp_path / "vocab.txt").read_bytes().replace(b"\n", b"\r\n"))
    assert WordPiece.from_file(tmp_path / "crlf.txt").tokens == tokenizer.tokens
    assert WordPiece({token: at for at, token in enumerate(tokenizer.tokens)}).tokens == tokenizer.tokens


def test_bad_vocabularies_are_refused(tmp_path):
    path = tmp_path / "vocab.txt"
    assert (
        refused(WordPiece.from_file, path) == f"{path} is not there. A BERT's folder has its vocabulary in vocab.txt."
    )
    path.write_text("\n".join([*SPECIAL, "a", "b", "a"]), encoding="utf-8")
    assert refused(WordPiece.from_file, path) == f"{path}: 'a' is there twice."
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "a"]), encoding="utf-8")
    assert refused(WordPiece.from_file, path) == (f"{path}: the vocabulary has no [SEP], [MASK]: not one of a BERT.")
    path.write_bytes(b"[PAD]\n\xff\n")
    assert refused(WordPiece.from_file, path).startswith(f"{path} is not readable as UTF-8 text (")
    assert refused(WordPiece, ["a"]).startswith("the vocabulary has no [PAD], [UNK], [CLS], [SEP], [MASK]")
