"""Week 11: the splitter: windows with overlap, pages of each part, sections, sentences; and the questions' file.

The tests marked `exercise(1)` are what `./course check 11` holds a learner's piece 1 to.
"""

import json
import random
from itertools import pairwise

import pytest
from programs import refused

from week11_rag import chunks as week
from week11_rag import data
from week11_rag.chunks import Chunk, Piece
from week11_rag.pages import Block, Document, Page

BOX = (0.0, 0.0, 1.0, 1.0)

# ---------------------------------------------------------------- exercise 1: windows


def windows(lengths, size, overlap):
    """The learner's windows, with a word where they are no list of pairs, or have no end."""
    found = week.windows(lengths, size, overlap)
    pairs = isinstance(found, list) and all(isinstance(one, tuple) and len(one) == 2 for one in found)
    assert pairs, f"the windows are {found!r:.60}, should be a list of (start, end)"
    return found


@pytest.mark.exercise(1)
def test_windows_without_overlap_are_as_full_as_they_can_be():
    """3 + 4 + 2 go into 9 tokens, and a 5 does not; 5 + 4 do."""
    found = windows([3, 4, 2, 5, 4], 9, 0)
    assert found != [(0, 2), (2, 4), (4, 5)], "a window has room for another piece: a sum of exactly `size` is allowed"
    assert found == [(0, 3), (3, 5)], f"the windows are {found}, should be [(0, 3), (3, 5)]"


@pytest.mark.exercise(1)
def test_what_fits_into_one_window_is_one_and_nothing_is_none():
    assert windows([3, 4], 9, 5) == [(0, 2)], "all pieces go into one window, so there is no second"
    assert windows([], 9, 5) == [], "of no pieces there is no window"


@pytest.mark.exercise(1)
def test_a_piece_that_is_too_long_is_a_window_of_its_own():
    found = windows([2, 12, 2, 3], 6, 0)
    lost = {0, 1, 2, 3} - {at for start, end in found for at in range(start, end)}
    assert not lost, f"piece {min(lost)} is in no window"
    assert found == [(0, 1), (1, 2), (2, 4)], f"the windows are {found}, should be [(0, 1), (1, 2), (2, 4)]"


@pytest.mark.exercise(1)
def test_the_overlap_is_whole_pieces_from_the_end_of_the_window_before():
    """Of 2, 3, 4, 1 the window (0, 3) has 9 tokens. Of its end, 4 goes into an overlap of 5, 3 + 4 does not."""
    found = windows([2, 3, 4, 1, 3], 9, 5)
    assert found != [(0, 3), (3, 5)], "nothing is repeated, though a piece goes into the overlap"
    assert found != [(0, 3), (1, 4), (2, 5)], "more tokens are repeated than the overlap allows"
    assert found == [(0, 3), (2, 5)], f"the windows are {found}, should be [(0, 3), (2, 5)]"


@pytest.mark.exercise(1)
def test_the_overlap_leaves_room_for_the_next_new_piece():
    """The next piece has 8 of 10 tokens: of an overlap of 4, only 2 can be had."""
    found = windows([4, 2, 2, 8, 1], 10, 4)
    alone = [b for a, b in pairwise(found) if b[1] <= a[1]]
    assert not alone, f"the window {alone[0]} has nothing in it that the one before has not"
    sums = [sum([4, 2, 2, 8, 1][start:end]) for start, end in found]
    assert max(sums) <= 10, f"a window has {max(sums)} tokens, more than 10: the repeated ones count, too"
    assert found == [(0, 3), (2, 4), (4, 5)], f"the windows are {found}, should be [(0, 3), (2, 4), (4, 5)]"


@pytest.mark.exercise(1)
def test_windows_of_any_lengths_keep_to_what_they_promise():
    draw = random.Random(0)
    for _ in range(200):
        size = draw.randint(1, 12)
        lengths, overlap = [draw.randint(0, 9) for _ in range(draw.randint(1, 15))], draw.randint(0, size)
        found = windows(lengths, size, overlap)
        about = f"windows({lengths}, {size}, {overlap}) is {found}"
        assert found[0][0] == 0 and found[-1][1] == len(lengths), f"{about}: a piece at an end is missing"
        for start, end in found:
            assert start < end, f"{about}: ({start}, {end}) is empty"
            assert sum(lengths[start:end]) <= size or end - start == 1, f"{about}: ({start}, {end}) is too long"
            full = end == len(lengths) or sum(lengths[start : end + 1]) > size
            assert full, f"{about}: ({start}, {end}) has room for the next piece"
        for (begin, stop), (start, end) in pairwise(found):
            assert start <= stop < end and begin < start, (
                f"{about}: ({start}, {end}) does not go on from ({begin}, {stop})"
            )
            assert sum(lengths[start:stop]) <= overlap, f"{about}: ({start}, {end}) repeats too much"
            room = start - 1 > begin and sum(lengths[start - 1 : stop]) <= overlap
            more = room and sum(lengths[start - 1 : stop + 1]) <= size
            assert not more, f"{about}: ({start}, {end}) could repeat one piece more"


# ---------------------------------------------------------------- exercise 1: pages


def piece(text, *pages, before="\n"):
    """A piece whose words are on these pages, one after the other."""
    words, spans, at = text.split(" "), [], 0
    for number, page in enumerate(pages):
        part = words[number * len(words) // len(pages) : (number + 1) * len(words) // len(pages)]
        end = len(text) if number == len(pages) - 1 else at + len(" ".join(part)) + 1
        spans.append((page, at, end))
        at = end
    return Piece(text, tuple(spans), before)


@pytest.mark.exercise(1)
def test_pieces_of_one_page_make_one_span():
    text, spans = week.joined([piece("Rye.", 4), piece("Oats.", 4, before=" ")])
    assert text == "Rye. Oats.", f"the text is {text!r}, should be 'Rye. Oats.'"
    assert tuple(spans) == ((4, 0, 10),), f"the spans are {spans}, should be ((4, 0, 10),): a page comes once in a row"


@pytest.mark.exercise(1)
def test_the_second_page_begins_where_its_first_letter_is():
    """`Rye.`, a line break, then `Oats.` of page 5: its O is character 5."""
    text, spans = week.joined([piece("Rye.", 4), piece("Oats.", 5)])
    spans = tuple(map(tuple, spans))
    assert text == "Rye.\nOats." and spans[-1:] != ((5, 0, 5),), "the second piece's spans are not moved to its place"
    assert spans != ((4, 0, 4), (5, 5, 10)), "what parts two pieces is on no page, should be on that of the first"
    assert spans == ((4, 0, 5), (5, 5, 10)), f"the spans are {spans}, should be ((4, 0, 5), (5, 5, 10))"


@pytest.mark.exercise(1)
def test_a_piece_over_a_page_break_keeps_both_pages():
    pieces = [piece("one", 7), piece("two three", 7, 8), piece("four", 8, before=" "), piece("five", 9)]
    text, spans = week.joined(pieces)
    spans = tuple(map(tuple, spans))
    pages = [page for page, _, _ in spans]
    assert pages == [7, 8, 9], f"the pages are {pages}, should be [7, 8, 9]"
    parts, broken = [text[start:end] for _, start, end in spans], ["one\ntwo ", "three four\n", "five"]
    assert parts == broken, f"the pages have {parts} of the text, should have {broken}"


# ---------------------------------------------------------------- documents


def words(text):
    return len(text.split())


def document(*pages, name="a.pdf"):
    """Pages as lists of (kind, text[, level])."""
    blocks = [
        tuple(Block(number, text, kind, BOX, *level) for kind, text, *level in page)
        for number, page in enumerate(pages, 1)
    ]
    return Document("d1", name, tuple(Page(number, 1.0, 1.0, page) for number, page in enumerate(blocks, 1)))


def split(*pages, size=50, overlap=0):
    return week.split(document(*pages), size, overlap, words)


def test_a_chunk_never_leaves_its_section_and_knows_the_path_to_it():
    found = split(
        [("heading", "Bread", 1), ("paragraph", "It rises."), ("heading", "Rye", 2), ("paragraph", "It is dark.")],
        [("paragraph", "It keeps."), ("heading", "Soup", 1), ("heading", "Beans", 2), ("paragraph", "They are white.")],
    )
    assert [(chunk.headings, chunk.text, chunk.pages) for chunk in found] == [
        (("Bread",), "It rises.", (1,)), (("Bread", "Rye"), "It is dark.\nIt keeps.", (1, 2)),
        (("Soup", "Beans"), "They are white.", (2,)),
    ]  # fmt: skip
    assert found[1].embedded == "Bread > Rye\nIt is dark.\nIt keeps." and [one.number for one in found] == [0, 1, 2]


def test_a_heading_with_nothing_below_it_is_not_lost():
    titles = [("heading", "The Book", 1), ("heading", "By A. Baker", 1), ("heading", "One", 1)]
    found = split([*titles, ("paragraph", "So.")])
    assert [(chunk.headings, chunk.text) for chunk in found] == [
        ((), "The Book"), ((), "By A. Baker"), (("One",), "So.")
    ]  # fmt: skip


def test_no_chunk_is_larger_than_its_size_headings_included():
    text = " ".join(f"Sentence {n} has six words." for n in range(20))
    found = split([("heading", "Two words", 1), ("paragraph", text)], size=20, overlap=6)
    assert all(words(chunk.embedded.replace(" > ", " ")) <= 20 for chunk in found)
    assert len({chunk.id for chunk in found}) == len(found) and found[1].text.startswith(found[0].text[-25:])
    long = split([("paragraph", "word " * 99 + "end")], size=30)
    assert [words(chunk.text) for chunk in long] == [25, 25, 25, 25] and "".join(c.text for c in long).endswith("end")


def test_a_sentence_over_a_page_break_is_whole_and_its_pages_are_right():
    found = split([("paragraph", "First. The bread is in the depart-"), ("paragraph", "1 A note.")],
                  [("paragraph", "ment of ovens. Then it is out.")], size=9)  # fmt: skip
    (one, two) = found[:2]
    assert one.text == "First. The bread is in the department of ovens."
    assert [one.page_at(one.text.index(word)) for word in ("First", "depart", "ment of", "ovens")] == [1, 1, 2, 2]
    assert "A note." in two.text and two.pages == (2, 1), "a note at the foot of a page does not part it"


def test_code_and_tables_are_cut_between_lines_alone():
    lines = [f"    call({n})  # does n" for n in range(6)]
    found = split([("code", "\n".join(lines))], size=9)
    assert [chunk.text.split("\n") for chunk in found] == [lines[0:2], lines[2:4], lines[4:6]]
    table = split([("table", "a. B | c\nd. E | f")], size=3)
    assert [chunk.text for chunk in table] == ["a. B", "| c", "d. E", "| f"], "only what is too long is cut inside"


def test_sentences_end_where_they_end():
    text = 'He said "no." Then e.g. Rye, cf. Fig. 3. J. Smith (see p. 4) ate. "Yes." 3 loaves were left! What now?'
    pieces = list(week.pieces_of([Block(1, text, "paragraph", BOX)]))
    assert [one.text for one in pieces] == [
        'He said "no."', "Then e.g. Rye, cf. Fig. 3.", "J. Smith (see p. 4) ate.", '"Yes."', "3 loaves were left!",
        "What now?",
    ]  # fmt: skip
    assert week.joined(pieces)[0] == text


def test_equal_texts_have_ids_of_their_own_and_the_same_document_has_the_same_ids():
    pages = [[("heading", "A", 1), ("paragraph", "So."), ("heading", "A", 1), ("paragraph", "So.")]]
    first, again = split(*pages), split(*pages)
    assert first == again and len({chunk.id for chunk in first}) == 2
    assert {chunk.id for chunk in week.split(document(*pages, name="b.pdf"), 50, 0, words)} == {c.id for c in first}


def test_which_page_a_character_is_on():
    chunk = Chunk("c", "d", "a.pdf", "one two three", (), ((3, 0, 4), (4, 4, 13)))
    assert [chunk.page_at(at) for at in (0, 3, 4, 12, 99)] == [3, 3, 4, 4, 4] and chunk.pages == (3, 4)


# ---------------------------------------------------------------- data


def test_the_pdfs_of_a_file_a_folder_and_the_sample(tmp_path):
    (tmp_path / "b" / ".hidden").mkdir(parents=True)
    for name in ("z.pdf", "b/A.PDF", "b/.hidden/x.pdf", "b/no.txt"):
        (tmp_path / name).write_bytes(b"%PDF-")
    assert [source.name for source in data.load(str(tmp_path))] == ["b/A.PDF", "z.pdf"]
    assert data.load(str(tmp_path / "z.pdf")) == [data.Source(tmp_path / "z.pdf", "z.pdf")]
    assert data.load("sample")[0].path.is_file()
    (tmp_path / "empty").mkdir()
    for name, says in (("no/such", "no such file or folder; `sample` is the bundled handbook."),
                       (tmp_path / "empty", "no PDF in this folder, nor below it.")):  # fmt: skip
        assert refused(data.load, str(name)) == f"--data {name}: {says}"


def question(**more):
    row = {"id": "q1", "text": "What?", "answers": ["rye"], "evidence": [[2, "of rye"]], "kind": "plain", "part": "val"}
    return json.dumps(row | more) + "\n"


def test_questions_lie_beside_their_pdf(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF-")
    assert data.questions(str(tmp_path)) == []
    none = question(id="q2", answers=[], evidence=[])
    (tmp_path / "a.questions.jsonl").write_text(question() + "\n" + none, encoding="utf-8")
    one, two = data.questions(str(tmp_path))
    assert one == data.Question("q1", "What?", ("rye",), ((2, "of rye"),), "plain", "val", "a.pdf") and one.answerable
    assert not two.answerable


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "no question (Expecting property name"),
        ("3", "no question (no JSON object)"),
        ("{}", "no question (no 'answers')"),
        (question(part="dev"), "no question (part 'dev' is none of val, test)"),
        (question(text=" "), "no question (a text is empty, or is none)"),
        (question(answers="rye"), "no question (answers and evidence are lists, the latter of [page, quote])"),
        (question(evidence=[[0, "of rye"]]), "no question (a page is no number from 1)"),
        (question(evidence=[]), "no question (it has an answer, and no evidence)"),
        (question(), "the id 'q1' is there twice."),
    ],
)
def test_what_is_wrong_with_a_question_is_said_with_its_line(tmp_path, line, says):
    path = tmp_path / "a.questions.jsonl"
    path.write_text(question() + line, encoding="utf-8")
    assert refused(lambda: list(data.read(path))).startswith(f"{path}:2: {says}")
