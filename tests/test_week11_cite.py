"""Week 11: claims and the words they rest on: found, checked letter by letter, numbered; and what is dropped."""

import random
from itertools import pairwise

import pytest

from week11_rag import cite, wording
from week11_rag.chunks import Chunk
from week11_rag.cite import Grounder, find, ground, parse, verified
from week11_rag.retrieve import Passage


def chunk(text, page=1, breaks=(), document="d1", headings=(), name="book.pdf", number=0):
    """A chunk that begins on a page, and goes on to the next ones at these places of its text."""
    places = [0, *breaks, len(text)]
    spans = tuple((page + at, a, b) for at, (a, b) in enumerate(pairwise(places)))
    return Chunk(f"{document}-{number}-{hash(text)}", document, name, text, headings, spans, number)


def found(*chunks):
    return tuple(Passage(one, 1.0 / rank, rank, {"cosine": 0.5}) for rank, one in enumerate(chunks, 1))


SID = chunk("The unstable distribution is called sid. Packages enter it first. They are not tested there.", 12)
DAYS = chunk("A porter waits 7 days before the upload. The delayed queue holds it for up to 15 days.", 40, number=1)


# ---------------------------------------------------------------- sentences and words


def test_sentences_end_where_they_end():
    text = "Write to e.g. debian-devel. Version 3.5 is out! Is it?\n• first item\nJ. Smith wrote it. [1] Done"
    said = [text[start:end] for start, end in wording.sentences(text)]
    assert said == ["Write to e.g. debian-devel.", "Version 3.5 is out!", "Is it?", "• first item",
                    "J. Smith wrote it. [1]", "Done"]  # fmt: skip


def test_words_that_mean_the_same_have_one_stem():
    for group in ("upload uploads uploaded uploading uploader", "close closes closed closing", "policy policies"):
        assert len({wording.stem(word) for word in group.split()}) == 1, group
    assert wording.content("What does the maintainer of debian/rules do?") == ("maintain", "debian/rules")
    assert wording.exact("see debian/rules of version 3.5, not the rest") == {"debian/rules", "3.5"}


# ---------------------------------------------------------------- word for word


@pytest.mark.parametrize(
    ("quote", "text", "where"),
    [
        ("called sid", "It is called sid.", "called sid"),
        ("the maintainer's package", "the main-\ntainer’s  package", "the main-\ntainer’s  package"),
        ("“so it is”", 'he said "so it is"', '"so it is"'),
        ("end of line", "end\u00adof\n line", "end\u00adof\n line"),
        ("art", "start of art", "art"),
        ("art", "start", None),
        ("Sid", "It is called sid", None),
        ("called buzz", "It is called sid.", None),
        ("", "text", None),
    ],
)
def test_a_quote_is_found_word_for_word_but_for_spaces_and_hyphens(quote, text, where):
    place = find(quote, text)
    assert (place and text[slice(*place)]) == where
    if quote == "art" and where:
        assert place == (9, 12), "not inside of another word"


def test_every_part_of_a_text_is_found_in_it_however_its_lines_are_broken():
    words = ["the", "quick", "co-maintainer's", "upload", "of", "debian/rules", "(3.5)", "is", "not", "allowed"]
    rng = random.Random(0)
    for _ in range(200):
        start = rng.randrange(len(words))
        quote = words[start : start + rng.randrange(1, 5)]
        broken = "".join(w + rng.choice([" ", "\n", "  ", " \u00ad"]) for w in words)
        assert find(" ".join(quote), broken), (quote, broken)


# ---------------------------------------------------------------- what a model wrote


def test_markers_are_read_wherever_they_stand():
    text = "It is sid [1]. It is new. [2, 3] Also [1][4] this [5–7]. No marker here. 1. A list【2】"
    assert parse(text) == [("It is sid.", (1,)), ("It is new.", (2, 3)), ("Also this.", (1, 4, 5, 6, 7)),
                           ("No marker here.", ()), ("A list", (2,))]  # fmt: skip


def test_a_wild_marker_makes_no_wild_numbers():
    assert parse("So it is [1-999]. And [0].") == [("So it is.", (1,)), ("And.", (0,))]
    assert ground("The unstable distribution is called sid [99].", found(SID)).citations[0].number == 1


# ---------------------------------------------------------------- support


def test_a_claim_gets_the_sentence_that_has_its_words():
    grounded = ground("The unstable distribution is called sid [1].", found(SID, DAYS), "What is unstable called?")
    (one,) = grounded.citations
    assert grounded.text == "The unstable distribution is called sid [1]."
    assert (one.quote, one.page, one.document) == ("The unstable distribution is called sid.", 12, "d1")
    assert SID.text[one.start : one.end] == one.quote and verified(one, SID)


def test_a_marker_that_points_elsewhere_is_put_right():
    grounded = ground("A porter waits 7 days before the upload [1].", found(SID, DAYS))
    assert [one.page for one in grounded.citations] == [40]


@pytest.mark.parametrize(
    "claim",
    [
        "A porter waits 10 days before the upload [2].",  # another number
        "The porter pays a fee for every upload [2].",  # other words
        "A porter does not wait 7 days before the upload [2].",  # turned round
        'The handbook says "a porter should never wait 7 days at all" before the upload [2].',  # a quotation of its own
        "The unstable distribution is called buzz [1].",  # only what was asked is there
        "Yes [1].",
        "How long does one wait [2]?",
        "The unstable distribution is called [1].",  # nothing that was not asked
        "[1]",
    ],
)
def test_a_claim_that_no_passage_has_is_dropped(claim):
    grounded = ground(claim, found(SID, DAYS), "What is the unstable distribution called, and how long does one wait?")
    assert grounded.claims == () and grounded.citations == () and grounded.text == ""


def test_a_negation_has_to_be_there_too():
    assert ground("Packages are not tested there.", found(SID)).claims
    assert not ground("Packages are tested there.", found(SID)).claims


def test_a_long_sentence_that_denies_something_supports_itself():
    text = "Upload it to unstable, not to testing, unless the release team says so, and never on a Friday."
    assert ground(text, found(chunk(text))).text.endswith("Friday [1].")


def test_two_places_may_support_one_claim_together():
    grounded = ground("The distribution sid is unstable, and the porter waits 7 days.", found(SID, DAYS))
    assert [one.page for one in grounded.citations] == [12, 40]
    assert grounded.text == "The distribution sid is unstable, and the porter waits 7 days [1][2]."


def test_words_that_are_not_about_the_question_support_nothing():
    odd = chunk("The word of the day is PWNED.", 3)
    assert ground("PWNED", found(odd, SID), "What is unstable called?").claims == ()
    assert ground("PWNED", found(odd, SID), "What is the word of the day?").claims


def test_barred_sentences_support_nothing():
    grounder = Grounder(found(SID), "What is unstable called?", [(0, *wording.sentences(SID.text)[0])])
    assert grounder.add("The unstable distribution is called sid.") is None
    assert grounder.dropped == ["The unstable distribution is called sid."]


# ---------------------------------------------------------------- numbers


def test_numbers_follow_the_answer_and_not_the_passages():
    text = "A porter waits 7 days before the upload [2]. The unstable distribution is called sid [1]."
    for order in ((SID, DAYS), (DAYS, SID)):  # whatever the order of the search
        grounded = ground(text, found(*order))
        assert [(one.number, one.page) for one in grounded.citations] == [(1, 40), (2, 12)]
        assert (
            grounded.text == "A porter waits 7 days before the upload [1]. The unstable distribution is called sid [2]."
        )


def test_one_place_has_one_number_also_where_two_chunks_have_it():
    """Chunks overlap: the same sentence stands in both, at another place of each."""
    second = chunk(f"They are built first. {DAYS.text}", 40, number=2)
    for passages in (found(DAYS, second), found(second, DAYS), found(SID, second, DAYS)):
        grounder = Grounder(passages)
        grounder.add("A porter waits 7 days before the upload.", [1])
        grounder.add("For 7 days the porter waits, before the upload.", [2])
        grounder.add("The delayed queue holds it for up to 15 days.", [3])
        result = grounder.result()
        assert [claim.numbers for claim in result.claims] == [(1,), (1,), (2,)]
        assert [one.number for one in result.citations] == [1, 2]


def test_the_same_words_on_another_page_are_another_source():
    again = chunk(SID.text, 90, number=5)
    grounder = Grounder(found(SID, again))
    assert grounder.add("The unstable distribution is called sid.", [2]).numbers == (1,)
    assert grounder.citations[0].page == 90, "the passage that the model named, of two that are as good"


def test_a_claim_that_was_dropped_takes_no_number():
    text = "The moon is a cheese [1]. A porter waits 7 days before the upload [2]."
    grounded = ground(text, found(SID, DAYS))
    assert grounded.text == "A porter waits 7 days before the upload [1]."
    assert grounded.dropped == ("The moon is a cheese.",)


def test_what_is_said_twice_is_shown_once():
    grounder = Grounder(found(SID))
    assert grounder.add("The unstable distribution is called sid.") and not grounder.repeated
    assert grounder.add("The unstable distribution is called sid") is None and grounder.repeated
    assert len(grounder.claims) == 1 and not grounder.dropped


def test_a_quote_over_a_page_break_is_on_both_pages():
    text = "Uploads are delayed. The delayed queue holds an upload for fifteen days at most. Then it goes on."
    broken = text.index("for fifteen")
    passages = found(chunk(text, 7, (broken,)))
    one = ground("The delayed queue holds an upload for fifteen days at most.", passages).citations[0]
    assert one.page == 7
    assert one.pieces == ((7, "The delayed queue holds an upload"), (8, "for fifteen days at most."))
    after = ground("Then it goes on.", passages).citations[0]
    assert (after.page, after.pieces) == (8, ((8, "Then it goes on."),))


def test_a_citation_that_was_tampered_with_is_not_verified():
    from dataclasses import replace

    one = ground("The unstable distribution is called sid.", found(SID)).citations[0]
    assert verified(one, SID)
    for changed in ({"quote": "The unstable distribution is called buzz."}, {"page": 13}, {"start": 5},
                    {"document": "d2"}, {"chunk": "x"}, {"pieces": ()}):  # fmt: skip
        assert not verified(replace(one, **changed), SID), changed


def test_whatever_is_written_only_words_of_the_passages_are_quoted():
    """Random answers, made of the passages' own words and of others: each quote stands in its chunk, numbers count up
    from 1, and each number is used."""
    rng, passages = random.Random(1), found(SID, DAYS, chunk(f"Before. {SID.text}", 12, number=3))
    pool = (SID.text + " " + DAYS.text + " the moon not 99 sid: [1] [7] queue. days.").split()
    for _ in range(40):
        text = " ".join(rng.choice(pool) for _ in range(rng.randrange(3, 30)))
        grounded = ground(text, passages)
        used = {number for claim in grounded.claims for number in claim.numbers}
        assert sorted(used) == [one.number for one in grounded.citations] == list(range(1, len(used) + 1))
        by_id = {passage.chunk.id: passage.chunk for passage in passages}
        assert all(verified(one, by_id[one.chunk]) for one in grounded.citations)
        assert not any("[" in claim.text for claim in grounded.claims)


def test_markers_go_before_the_full_stop():
    assert (
        str(cite.Claim("So it is.", (2, 3))) == "So it is [2][3]." and str(cite.Claim("A list", (1,))) == "A list [1]"
    )
