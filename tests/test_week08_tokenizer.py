"""Week 8's tokenizers: the merge step by hand, every byte there and back, and files.

Against the tokenizers library: test_week08_transformers.py.
"""

import json
import random
import time

import pytest
from programs import refused

from week08_gpt import tokenizer as week
from week08_gpt.tokenizer import BPE, END, Characters, chunks, learn, learn_plainly, load

SONG = "she sells sea shells by the sea shore; the shells she sells are sea shells, I'm sure\n    return sea\n\n"


@pytest.fixture(scope="module")
def bpe():
    return BPE.train([SONG * 3, "def größe(x):\n\treturn '你好' * 3\n"], 300)


def hand_made(*merges):
    """A BPE with these merges, each a pair of byte strings, in the order in which they were learned."""
    vocabulary = {END.encode(): 0} | {bytes([byte]): byte + 1 for byte in range(256)}
    for a, b in merges:
        vocabulary[a + b] = len(vocabulary)
    return BPE(vocabulary, [(vocabulary[a], vocabulary[b]) for a, b in merges])


# ---------------------------------------------------------------- exercise 4: the merge step


@pytest.mark.exercise(4)
@pytest.mark.parametrize(
    ("ids", "right"),
    [
        ([5, 1, 2, 7, 1, 2], [5, 9, 7, 9]),
        ([1, 2], [9]),
        ([2, 1, 1], [2, 1, 1]),
        ([1], [1]),
        ([], []),
        ([1, 2, 1], [9, 1]),
    ],
)
def test_a_pair_becomes_one(ids, right):
    found = week.merged(ids, (1, 2), 9)
    assert found is not None, "merged returns None: is `return` missing?"
    assert list(found) != right[:-1] or not right, f"{ids} with (1, 2) as 9 is {found}: the last one was lost"
    assert list(found) == right, f"{ids} with (1, 2) as 9 is {found}, should be {right}"


@pytest.mark.exercise(4)
@pytest.mark.parametrize(("count", "right"), [(2, [9]), (3, [9, 1]), (4, [9, 9]), (5, [9, 9, 1])])
def test_what_was_merged_is_not_merged_again(count, right):
    found = list(week.merged([1] * count, (1, 1), 9))
    overlapping = ([9] * (count - 1), [9] * (count - 1) + [1])
    slip = f"{[1] * count} with (1, 1) as 9 is {found}: a 1 was taken into two pairs, should be {right}"
    assert found == right or found not in overlapping, slip
    assert found == right, f"{[1] * count} with (1, 1) as 9 is {found}, should be {right}"


@pytest.mark.exercise(4)
def test_the_merge_that_was_learned_first_comes_first():
    """Learned: u g, then h u. 'hug' is h ug; from left to right it would be hu g."""
    tokenizer = hand_made((b"u", b"g"), (b"h", b"u"))
    words = [tokenizer.tokens[number] for number in tokenizer.encode_chunk(b"hug")]
    slip = "'hug' is hu g: merged from left to right, should be h ug, in the order in which the merges were learned"
    assert words != [b"hu", b"g"], slip
    assert words == [b"h", b"ug"], f"'hug' is {words}, should be h ug: merges in the order in which they were learned"


@pytest.mark.exercise(4)
def test_merges_build_on_merges():
    tokenizer = hand_made((b"a", b"b"), (b"ab", b"ab"), (b"abab", b"c"))
    for text, right in ((b"ababc", [b"ababc"]), (b"abcab", [b"ab", b"c", b"ab"]), (b"xabab", [b"x", b"abab"])):
        words = [tokenizer.tokens[number] for number in tokenizer.encode_chunk(text)]
        assert words == right, f"{text} is {words}, should be {right}: until no pair is left that was learned"


# ---------------------------------------------------------------- training


def test_three_merges_by_hand():
    """The example of the lesson: hug 10 times, pug 5, pun 12, bun 4, hugs 5 (Hugging Face's course, chapter 6)."""
    counted = {b"hug": 10, b"pug": 5, b"pun": 12, b"bun": 4, b"hugs": 5}
    vocabulary = {bytes([byte]): byte for byte in range(256)}
    merges = learn(counted, vocabulary, 259)
    assert [bytes([a, b]) if b < 256 and a < 256 else (a, b) for a, b in merges] == [b"ug", b"un", (ord("h"), 256)]
    assert list(vocabulary)[256:] == [b"ug", b"un", b"hug"]


def test_counting_cleverly_gives_what_counting_plainly_gives():
    rng = random.Random(4)
    for _ in range(30):
        words = ["".join(rng.choice("ab c") for _ in range(rng.randrange(1, 9))).encode() for _ in range(20)]
        counted = {word: words.count(word) for word in words}
        vocabulary = {bytes([byte]): byte for byte in range(256)}
        found = learn(counted, vocabulary, 256 + 12)
        plain = learn_plainly([list(word) for word in words], len(found), 256)
        assert found == plain or len(vocabulary) < 256 + len(found)  # two merges that make the same token


def test_counting_cleverly_is_five_times_faster():
    texts = [SONG * 40]
    words = [list(chunk) for text in texts for chunk in chunks(text)]
    start = time.process_time()
    plain = learn_plainly(words, 30, 257)
    middle = time.process_time()
    tokenizer = BPE.train(texts, 257 + 30)
    clever = time.process_time() - middle
    assert len(tokenizer.merges) == len(plain) == 30
    assert middle - start > 5 * clever, f"{middle - start:.3f} s against {clever:.3f} s"


def test_no_token_reaches_across_chunks():
    assert chunks("def f(x1):\n    return  x\n\n") == [
        b"def", b" f", b"(", b"x", b"1", b"):", b"\n   ", b" return", b" ", b" x", b"\n\n"
    ]  # fmt: skip
    assert chunks("it's I'm 12 ,,") == [b"it", b"'s", b" I", b"'m", b" 12", b" ,,"]


def test_a_small_corpus_ends_early_and_a_small_vocabulary_is_refused():
    assert BPE.train(["ab"], 1000).vocab_size == 258
    assert refused(BPE.train, ["ab"], 256) == "a vocabulary of 256: the 256 bytes and 1 special token must fit."


# ---------------------------------------------------------------- there and back


def test_every_byte_string_comes_back(bpe):
    rng = random.Random(5)
    pieces = [b"", bytes(range(256)), b"\xff\xfe", "é".encode()[:1], "👩‍🔬".encode()[2:]]
    pieces += [rng.randbytes(rng.randrange(60)) for _ in range(200)]
    pieces += [
        "".join(chr(rng.choice([32, 10, 97, 228, 0x4F60, 0x1F469])) for _ in range(30)).encode() for _ in range(50)
    ]
    for data in pieces:
        assert bpe.decode_bytes(bpe.encode(data)) == data


def test_ids_are_those_of_the_vocabulary(bpe):
    ids = bpe.encode(SONG)
    assert bpe.vocab_size == len(bpe.tokens) == 300 and set(bpe.tokens) == set(range(300))
    assert max(ids) < 300 and len(ids) < len(SONG) / 2 and bpe.decode(ids) == SONG
    assert bpe.encode(SONG) == ids, "the second time from memory"


def test_the_end_is_never_made_from_text(bpe):
    ids = bpe.encode(f"a{END}b")
    assert bpe.end == 0 and bpe.end not in ids and bpe.decode(ids) == f"a{END}b"
    assert bpe.decode([bpe.end]) == END


def test_half_a_letter_is_shown_as_such(bpe):
    assert bpe.decode(bpe.encode("é".encode()[:1])) == "\N{REPLACEMENT CHARACTER}"


def test_unknown_ids_are_refused(bpe):
    assert refused(bpe.decode, [3, 300]) == "token 300: the vocabulary has 300, from 0 on."


def test_characters():
    tokenizer = Characters.train(["hello", "wörld"])
    assert tokenizer.vocab_size == 1 + len(set("hellowörld")) + 1
    assert tokenizer.decode(tokenizer.encode("drow")) == "drow" and tokenizer.end not in tokenizer.encode("hello")
    assert tokenizer.decode(tokenizer.encode("hex")) == "he\N{REPLACEMENT CHARACTER}"
    assert tokenizer.decode_bytes(tokenizer.encode("ö")) == "ö".encode()


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("kind", ["bpe", "char"])
def test_saved_and_loaded(kind, bpe, tmp_path):
    tokenizer = bpe if kind == "bpe" else Characters.train([SONG])
    tokenizer.save(tmp_path / "tokenizer.json")
    for place in (tmp_path, tmp_path / "tokenizer.json"):
        found = load(place)
        assert type(found) is type(tokenizer) and found.fingerprint == tokenizer.fingerprint
        assert found.encode(SONG) == tokenizer.encode(SONG) and found.end == tokenizer.end
    assert json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))["kind"] == kind


def test_fingerprints_tell_tokenizers_apart(bpe):
    others = [BPE.train([SONG * 3], 299), BPE.train([SONG * 4, "x y z x y"], 300), Characters.train([SONG])]
    assert len({bpe.fingerprint, *(one.fingerprint for one in others)}) == 4
    bpe.hold_to(bpe.fingerprint, "the checkpoint")
    line = (
        f"the checkpoint was made with another tokenizer (abc, this one is {bpe.fingerprint}): its numbers would mean "
        "other tokens. Use the tokenizer.json that lies beside it."
    )
    assert refused(bpe.hold_to, "abc", "the checkpoint") == line


def test_broken_files_are_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    assert refused(load, path) == f"{path} is not there."
    path.write_text('{"kind": "bpe", "special": [], "tokens": ["a"]}', encoding="utf-8")
    assert refused(load, path) == f"{path} is not a tokenizer of this course (KeyError: 'merges')."
    path.write_text("[1", encoding="utf-8")
    assert "is not readable JSON" in refused(load, path)


def test_broken_published_files_are_refused(tmp_path):
    vocabulary, merges = tmp_path / "vocab.json", tmp_path / "merges.txt"
    letters = {letter: number for number, letter in enumerate(sorted(week.BYTE))} | {"ab": 256}
    vocabulary.write_text(json.dumps(letters), encoding="utf-8")
    assert "merges.txt is not readable" in refused(load, tmp_path)
    merges.write_text("#version: 0.2\na b\na c\n", encoding="utf-8")
    assert refused(load, tmp_path) == f'{vocabulary}: must be {{"token": id, …}} with {END} among the tokens.'
    vocabulary.write_text(json.dumps(letters | {END: 257}), encoding="utf-8")
    assert refused(load, tmp_path) == f"{merges}, line 3: 'a c' is no pair of tokens of vocab.json."
    merges.write_text("#version: 0.2\na b\n", encoding="utf-8")
    assert load(tmp_path).encode("cab") == [letters["c"], 256]
