"""Week 11: what is read out of PDFs: order, headings, tables, code, what goes, where a quote stands; and damaged files.

The PDFs are written here, letter by letter, so that it is known what stands where.
"""

import zlib

import numpy as np
import programs
import pytest
from programs import refused

from week11_rag import checks, layout, ocr, pdf
from week11_rag.data import HANDBOOK
from week11_rag.pages import around

FONTS = ("Helvetica", "Helvetica-Bold", "Courier", "Times-Italic")
PLAIN, BOLD, MONO, ITALIC = range(4)


def say(x, y, text, size=10, font=PLAIN):
    """The operators that write a text from (x, y) on."""
    escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return f"BT /F{font} {size} Tf {x} {y} Td ({escaped}) Tj ET"


def down(x, y, *texts, step=12, size=10, font=PLAIN):
    """Lines below each other."""
    return "\n".join(say(x, y - step * number, text, size, font) for number, text in enumerate(texts))


def rule(left, bottom, right, top):
    return f"{left} {bottom} {right - left} {top - bottom} re f"


def write(path, *pages, turn=0, titles=(), more=(), trailer=""):
    """A PDF of these pages, each a list of operators.

    Args:
        turn: by how many degrees a viewer is to turn them.
        titles: of the outline, (title, page from 0).
        more: objects as they are; the first has the number 100.
        trailer: what else stands in it.
    """
    fonts = " ".join(f"/F{n} << /Type /Font /Subtype /Type1 /BaseFont /{name} >>" for n, name in enumerate(FONTS))
    objects = {1: f"<< /Type /Catalog /Pages 2 0 R {'/Outlines 3 0 R' if titles else ''} >>"}
    kids = [10 + 2 * number for number in range(len(pages))]
    objects[2] = f"<< /Type /Pages /Kids [{' '.join(f'{kid} 0 R' for kid in kids)}] /Count {len(kids)} >>"
    for kid, page in zip(kids, pages, strict=True):
        stream = "\n".join(page)
        objects[kid] = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Rotate {turn} /Contents {kid + 1} 0 R "
            f"/Resources << /Font << {fonts} >> /XObject << /X 100 0 R >> >> >>"
        )
        objects[kid + 1] = f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream"
    if titles:
        places = [500 + number for number in range(len(titles))]
        objects[3] = f"<< /Type /Outlines /First {places[0]} 0 R /Last {places[-1]} 0 R /Count {len(places)} >>"
        for number, (place, (title, page)) in enumerate(zip(places, titles, strict=True)):
            after = f"/Next {place + 1} 0 R" if number + 1 < len(places) else ""
            objects[place] = f"<< /Title ({title}) /Parent 3 0 R {after} /Dest [{kids[page]} 0 R /Fit] >>"
    body, where = b"%PDF-1.7\n", {}
    for number, content in {**objects, **{100 + n: one for n, one in enumerate(more)}}.items():
        where[number] = len(body)
        body += f"{number} 0 obj\n".encode() + (content if isinstance(content, bytes) else content.encode("latin-1"))
        body += b"\nendobj\n"
    start = len(body)
    for number, place in where.items():
        body += f"{'xref' if place == where[1] else ''}\n{number} 1\n{place:010} 00000 n ".lstrip("\n").encode() + b"\n"
    path.write_bytes(body + f"trailer\n<< /Size 1000 /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n".encode())
    return path


@pytest.fixture
def read(tmp_path):
    """read(*pages) gives the document; read.path is its file."""

    def made(*pages, **options):
        made.path = write(tmp_path / "made.pdf", *pages, **options)
        return pdf.read(made.path)

    return made


def kinds(page):
    return [(block.kind, block.text) for block in page.blocks]


def texts(page):
    return [block.text for block in page.blocks]


@pytest.fixture(scope="module")
def handbook():
    return programs.handbook()


LEFT = ("Bread rises for two hours in a warm", "place, and is then folded four times", "before it goes into the oven.")
RIGHT = ("Soup wants time. It stands on a low", "flame until the beans are soft, and", "salt is added at the very end.")
WIDE = "A picture of both of them, which goes over the whole width of the page"


# ---------------------------------------------------------------- order


def test_columns_are_read_one_after_the_other(read):
    page = [say(60, 750, "Of bread and of soup, as they are made in the mountains in winter", 14)]
    page += [down(60, 700, *LEFT), down(320, 700, *RIGHT)]
    first, *rest = texts(read(page).pages[0])
    assert first.startswith("Of bread") and rest == [" ".join(LEFT), " ".join(RIGHT)]


def test_the_order_in_the_file_is_of_no_matter(read):
    page = [down(60, 700, *LEFT), down(320, 700, *RIGHT)]
    expected = texts(read(page).pages[0])
    lines = "\n".join(page).split("\n")
    assert texts(read([*lines[::-1]]).pages[0]) == expected == [" ".join(LEFT), " ".join(RIGHT)]


def test_what_spans_the_columns_parts_them_into_bands(read):
    page = [down(60, 700, *LEFT), down(320, 700, *RIGHT), say(60, 640, WIDE)]
    page += [down(60, 600, *RIGHT), down(320, 600, *LEFT)]
    found = texts(read(page).pages[0])
    assert found == [" ".join(LEFT), " ".join(RIGHT), WIDE,
                     " ".join(RIGHT), " ".join(LEFT)]  # fmt: skip


def test_paragraphs_end_where_there_is_a_gap_and_items_where_a_bullet_is(read):
    page = [down(60, 700, "One goes on", "to here."), say(60, 658, "Two."), say(70, 640, "- an item that is"),
            say(80, 628, "long"), say(70, 616, "- another"), say(70, 604, "1. and a numbered one")]  # fmt: skip
    assert kinds(read(page).pages[0]) == [
        ("paragraph", "One goes on to here."), ("paragraph", "Two."), ("list", "- an item that is long"),
        ("list", "- another"), ("list", "1. and a numbered one"),
    ]  # fmt: skip


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_turned_page_is_read_and_marked_as_it_is_shown(read, turn):
    width, height = (600, 800) if turn in (0, 180) else (800, 600)
    matrix = {0: "1 0 0 1 0 0", 90: "0 1 -1 0 600 0", 180: "-1 0 0 -1 600 800", 270: "0 -1 1 0 0 800"}[turn]
    page = read([f"{matrix} cm", say(60, 400, "Here it stands, and nowhere else.")], turn=turn).pages[0]
    assert (page.width, page.height) == (width, height)
    ((left, bottom, right, top),) = pdf.text_boxes(read.path, 1, "stands")
    assert texts(page) == ["Here it stands, and nowhere else."]
    assert 80 < left < right < 130 and 395 < bottom < 400 < top < 410


# ---------------------------------------------------------------- words


def test_words_broken_at_line_ends_are_whole_again(read):
    page = [down(60, 700, "A depen-", "dency is well-", "known here, and a self-", "made one is self-made.")]
    assert texts(read(page).pages[0]) == ["A dependency is wellknown here, and a self-made one is self-made."]


@pytest.mark.parametrize(
    ("before", "after", "whole"),
    [
        ("see https://example.org/", "docs for it", "see https://example.org/docs for it"),
        ("mail to admin@rt.", "example.org now", "mail to admin@rt.example.org now"),
        ("under /usr/share/", "doc it lies", "under /usr/share/doc it lies"),
        ("this is the end.", "the next one", "this is the end. the next one"),
        ("use Non-", "Maintainer Uploads", "use Non-Maintainer Uploads"),
        ("pages 10-", "12 have it", "pages 10- 12 have it"),
        ("one or", "the other", "one or the other"),
    ],
)
def test_how_lines_are_joined(before, after, whole):
    assert layout.glue(before, after, layout.Counter()) == whole


def test_small_raised_numbers_are_marks_of_notes_and_fractions_are_not(read):
    page = [say(60, 700, "It is said"), say(97, 704, "3", 6), say(104, 700, "so, by 1/2 inch.")]
    assert texts(read(page).pages[0]) == ["It is said so, by 1/2 inch."]


# ---------------------------------------------------------------- what goes


def body(number):
    return down(60, 700, f"Chapter text {number} tells of what happens in {2020 + number % 2}.", "It goes on here.")


def test_headers_footers_and_page_numbers_go(read):
    pages = [[say(60, 770, "The Book of Bread"), body(n), say(300, 30, str(n + 7))] for n in range(4)]
    for number, page in enumerate(read(*pages).pages):
        assert texts(page) == [f"Chapter text {number} tells of what happens in {2020 + number % 2}. It goes on here."]


def test_footers_that_change_with_the_chapter_go_by_their_number(read):
    pages = [[body(n), say(60, 30, f"{n + 1}  Chapter {n}: {'abcdef'[n] * 5}")] for n in range(6)]
    assert all(len(page.blocks) == 1 for page in read(*pages).pages)


def test_text_that_stands_at_the_same_height_of_every_page_stays(read):
    pages = [[down(60, 770, f"{word} comes first on its page, and has", "a second line below it."), body(n)]
             for n, word in enumerate(("Bread", "Soup", "Cake", "Wine"))]  # fmt: skip
    assert all(len(page.blocks) == 2 for page in read(*pages).pages)


def test_a_table_of_contents_is_left_out_and_said(read):
    contents = [down(60, 700, *(f"{n} Something about bread {'. ' * 30} {n + 3}" for n in range(8)))]
    document = read(contents, [body(1)])
    assert document.pages[0].blocks == () and document.notes == ("left out the table of contents: page 1",)


# ---------------------------------------------------------------- headings


def test_headings_by_size_number_and_weight(read):
    page = [say(60, 750, "2 Bread", 18, BOLD), say(60, 725, "Text of the chapter, in plain letters."),
            say(60, 690, "2.1 Of flour", 14, BOLD), down(60, 665, "Flour is made of wheat, of rye, of", "much else."),
            say(60, 620, "Rye", 10, BOLD), say(60, 605, "It grows where it is cold."),
            say(60, 575, "Careful: a sentence in bold letters is no heading.", 10, BOLD)]  # fmt: skip
    found = [(block.level, block.text) for block in read(page).pages[0].blocks if block.kind == "heading"]
    assert found == [(1, "2 Bread"), (2, "2.1 Of flour"), (3, "Rye")]


def test_the_outline_decides_what_is_a_heading_and_gives_capitals_their_title(read):
    page = [say(60, 750, "CHAPTER", 10, BOLD), say(60, 730, "ONE", 14, BOLD), say(60, 700, "ALL OF BREAD", 14, BOLD),
            say(60, 670, "What stands here is its text.")]  # fmt: skip
    document = read(page, titles=[("All of Bread", 0)])
    assert kinds(document.pages[0]) == [
        ("heading", "All of Bread"),
        ("paragraph", "What stands here is its text."),
    ]


# ---------------------------------------------------------------- tables and code


def test_a_table_with_rules_is_kept_row_by_row_and_cells_are_whole(read):
    bars, steps = (60, 150, 300, 400), (700, 676, 652, 628)
    grid = [rule(x, 628, x + 1, 700) for x in bars] + [rule(60, y, 401, y + 1) for y in steps]
    page = [say(60, 740, "What it costs:"), *grid, say(65, 685, "bread", font=BOLD), say(155, 685, "made of"),
            say(305, 685, "price"), say(65, 665, "rye"), down(155, 667, "rye flour, water,", "and salt", step=10),
            say(305, 665, "3.20"), say(65, 640, "white"), say(305, 640, "2.80")]  # fmt: skip
    assert kinds(read(page).pages[0]) == [
        ("paragraph", "What it costs:"),
        ("table", "bread | made of | price\nrye | rye flour, water, and salt | 3.20\nwhite |  | 2.80"),
    ]


def test_a_table_between_three_rules_and_one_without_any(read):
    cells = [say(60 + 120 * c, 690 - 15 * r, f"{'abc'[c]}{r}") for r in range(4) for c in range(3)]
    rows = "\n".join(" | ".join(f"{letter}{r}" for letter in "abc") for r in range(4))
    ruled = [rule(55, y, 400, y + 0.5) for y in (703, 685, 640)]
    assert kinds(read([*cells, *ruled]).pages[0]) == kinds(read(cells).pages[0]) == [("table", rows)]


def test_code_keeps_its_lines_indents_and_gaps(read):
    page = [say(60, 720, "It is called so:"), down(60, 700, "if bread:", "    eat( bread )", "", "done()", font=MONO)]
    assert kinds(read(page).pages[0]) == [("paragraph", "It is called so:"),
                                          ("code", "if bread:\n    eat( bread )\n\ndone()")]  # fmt: skip


def test_file_names_in_a_paragraph_are_part_of_it_and_words_pulled_apart_are_one_line(read):
    page = [down(60, 700, "The files that one needs lie in"), say(60, 688, "/usr/share/doc/bread/README", font=MONO),
            say(60, 676, "and"), say(130, 676, "are"), say(210, 676, "short."), say(60, 650, "make bread", font=MONO),
            say(60, 638, ",->now", font=MONO)]  # fmt: skip
    assert kinds(read(page).pages[0]) == [
        ("paragraph", "The files that one needs lie in /usr/share/doc/bread/README and are short."),
        ("code", "make bread\n,->now"),
    ]


# ---------------------------------------------------------------- where a quote stands


def test_a_quote_is_found_over_line_ends_and_nothing_else_is_marked(read):
    read([down(60, 700, "First comes a line, and a depen-", "dency of it is here.")])
    one, two = pdf.text_boxes(read.path, 1, "a dependency of it")
    assert one[0] > 140 and abs(one[1] - 697.5) < 2 and abs(two[0] - 60) < 1 and two[2] < 120
    assert pdf.text_boxes(read.path, 1, "nothing of this kind") == pdf.text_boxes(read.path, 1, "...") == []


def test_of_a_quote_over_a_page_break_each_page_marks_its_part(read):
    read([down(60, 700, "The bread is in the oven,")], [down(60, 700, "and the soup is on the table.")])
    quote = "bread is in the oven, and the soup is on"
    one, two = (pdf.text_boxes(read.path, page, quote) for page in (1, 2))
    assert len(one) == len(two) == 1 and one[0][0] > 70 and abs(two[0][0] - 60) < 1


def test_every_block_is_where_it_says(handbook):
    for page in handbook.pages[18:21]:
        for block in page.blocks:
            boxes = pdf.text_boxes(HANDBOOK, page.number, block.text)
            left, bottom, right, top = around(boxes)
            assert np.allclose((bottom, right, top), block.box[1:], atol=3), block
            assert -1 < left - block.box[0] < 16, "all but a bullet"


def test_a_page_as_a_picture(read):
    read([say(60, 700, "Here.")])
    image = pdf.render(read.path, 1, 0.5)
    assert image.size == (300, 400) and image.mode == "RGB"
    marked = np.asarray(image.convert("L"))[int(0.5 * (800 - 709)) : int(0.5 * (800 - 698)), 30:45]
    assert marked.min() < 128, "the text stands where its box is"
    assert refused(pdf.render, read.path, 2) == f"{read.path} has 1 pages, no page 2."


# ---------------------------------------------------------------- the handbook


def test_the_handbook_has_its_headings_and_nothing_that_runs_along(handbook):
    assert len(handbook.pages) == 32 and handbook.notes == ("left out the table of contents: pages 3-8",)
    blocks = [block for page in handbook.pages[1:] for block in page.blocks]
    headings = [(block.level, block.text) for block in blocks if block.kind == "heading"]
    assert (1, "Debian Developer's Duties") in headings and (3, "3.2.4 Going on vacation gracefully") in headings
    everything = "\n".join(block.text for block in blocks)
    assert not any(text in everything for text in ("Release 12.18", "Chapter 3.", "3.2. Administrative"))
    assert 'marked as "emeritus" when the process in Retiring is followed, and "removed" otherwise.' in everything
    shell = "vore$ dchroot unstable\nExecuting shell in chroot: /org/vore.debian.org/chroots/user/unstable"
    assert ("code", shell) in kinds(handbook.pages[26])


# ---------------------------------------------------------------- pictures


GREY = zlib.compress(bytes([200]) * 100 * 100)
PICTURE = (
    f"<< /Type /XObject /Subtype /Image /Width 100 /Height 100 /ColorSpace /DeviceGray /BitsPerComponent 8 "
    f"/Filter /FlateDecode /Length {len(GREY)} >>\nstream\n".encode() + GREY + b"\nendstream"
)  # fmt: skip
SCAN = ["q 600 0 0 800 0 0 cm /X Do Q"]


def test_a_scan_without_rapidocr_is_named_with_the_cure(read, monkeypatch, tmp_path):
    monkeypatch.setattr(ocr, "is_there", lambda: False)
    cure = "`pip install rapidocr-onnxruntime` lets"
    path = write(tmp_path / "scan.pdf", SCAN, more=[PICTURE])
    assert refused(pdf.read, path) == f"{path}: its pages are pictures (a scan). {cure} their text be read."
    document = read(SCAN, [body(1)], SCAN, more=[PICTURE])
    assert document.notes == (f"no text was read of pictures: pages 1, 3 ({cure} it be read)",)
    assert [len(page.blocks) for page in document.pages] == [0, 1, 0]


def test_a_scan_is_recognised_line_by_line_and_can_be_marked(read, monkeypatch):
    """The recogniser is a stub, which finds two boxes and reads them."""
    asked = []

    def engine():
        def call(picture, use_det, use_rec=True, use_cls=True):
            asked.append(picture.shape)
            if use_det:
                return [[[x, y] for x, y in ((90, 150), (390, 150), (390, 165), (90, 165))],
                        [[x, y] for x, y in ((90, 168), (240, 168), (240, 183), (90, 183))]], None  # fmt: skip
            return [["Bread is made of flour", 0.9] if picture.shape[1] > 400 else ["and of water.", 0.9]], None

        return call

    monkeypatch.setattr(ocr, "engine", engine)
    monkeypatch.setattr(ocr, "is_there", lambda: True)
    document = read(SCAN, [body(1)], more=[PICTURE])
    assert document.pages[0].scanned and not document.pages[1].scanned
    assert texts(document.pages[0]) == ["Bread is made of flour and of water."]
    assert document.notes == ("text was recognised in pictures, with the errors that this makes: page 1",)
    assert asked[0] == (1200, 900, 3), "where lines are is asked of the smaller picture"
    ((left, bottom, right, top),) = pdf.text_boxes(read.path, 1, "of flour")
    assert 150 < left < right < 262 and 800 - 112 < bottom < top < 800 - 98
    assert pdf.read(read.path, ocr="never").notes == ("no text was read of pictures: page 1",)


# ---------------------------------------------------------------- damaged files, and worse


def test_the_id_is_that_of_the_content(read, tmp_path):
    one = read([body(1)])
    copy = tmp_path / "copy.pdf"
    copy.write_bytes(read.path.read_bytes())
    assert pdf.read(copy).id == one.id == pdf.about(copy)[0] and pdf.read(copy).name == "copy.pdf"
    assert pdf.read(copy, name="books/copy.pdf").name == "books/copy.pdf"
    assert read([body(2)]).id != one.id and len(one.id) == 16


def test_files_that_are_no_whole_pdf(tmp_path):
    whole = write(tmp_path / "whole.pdf", [body(1)]).read_bytes()
    again, first = "Copy or download it again.", "Save or print it as PDF first."
    for content, says in (
        (b"", "is empty (0 bytes): copy or download it again."),
        (whole[:-300], f"is cut short: the end of the PDF is missing. {again}"),
        (b"<!DOCTYPE html>", f"is no PDF: it is HTML or XML, as a page that a server sent in its place. {first}"),
        (b"PK\x03\x04...", f"is no PDF: it is a Word, Excel or zip file. {first}"),
        (b"\x1b[31mred", f"is no PDF: it begins with b'\\x1b[31mred'. {first}"),
        (b"%PDF-1.7\nnothing\n%%EOF", f"is damaged: it does not open. {again}"),
    ):
        path = tmp_path / "file.pdf"
        path.write_bytes(content)
        assert refused(pdf.read, path) == f"{path} {says}"
    assert refused(pdf.read, tmp_path / "no.pdf") == f"{tmp_path / 'no.pdf'} is not there."
    assert refused(pdf.read, tmp_path) == f"{tmp_path} is a folder, no PDF."


def test_pdfs_without_text_or_pages_or_with_a_password_or_too_many_pages(tmp_path):
    path = write(tmp_path / "a.pdf", [rule(0, 0, 100, 100)])
    assert refused(pdf.read, path) == f"{path}: there is no text on its 1 page."
    assert refused(pdf.read, write(path)).startswith(f"{path} is damaged: it does not open.")
    locked = f"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <{'41' * 32}> /U <{'42' * 32}> >> /ID [<41> <41>]"
    assert refused(pdf.read, write(path, [body(1)], trailer=locked)) == (
        f"{path} is encrypted: save a copy without a password, and give that."
    )
    write(path, *[[body(n)] for n in range(3)])
    assert refused(lambda: pdf.read(path, most_pages=2)) == f"{path} has 3 pages, more than 2: split it."


def test_what_unpacks_without_end_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "MOST_UNPACKED", 1_000_000)
    once = zlib.compress(bytes(2_000_000), 9)
    for name, data in (("/FlateDecode", once), ("[/FlateDecode /FlateDecode]", zlib.compress(once, 9))):
        stream = f"<< /Filter {name} /Length {len(data)} >>\nstream\n".encode() + data + b"\nendstream"
        path = write(tmp_path / "bomb.pdf", [body(1)], more=[stream])
        says = f"{path} may be a bomb, and is not read: it unpacks to more than 1 MB, more than an honest PDF needs."
        assert refused(pdf.read, path) == says and len(data) < 3_000
    small = zlib.compress(bytes(900_000), 9)
    stream = f"<< /Filter /FlateDecode /Length {len(small)} >>\nstream\n".encode() + small + b"\nendstream"
    assert len(pdf.read(write(path, [body(1)], more=[stream])).pages) == 1
    huge = PICTURE.replace(b"/Width 100 /Height 100", b"/Width 90000 /Height 90000")
    assert "a picture in it has 90,000 × 90,000 pixels" in refused(pdf.read, write(path, SCAN, more=[huge]))
    monkeypatch.setattr(checks, "MOST_OBJECTS", 5)
    assert "it has 8 objects" in refused(pdf.read, write(path, [body(1)], [body(2)], [body(3)]))
