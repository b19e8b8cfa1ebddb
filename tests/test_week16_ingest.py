"""Week 16: figures and captions on a page, PDFs into a shelf, tables as data, reports whose numbers are known."""

import json

import numpy as np
import pytest
from programs import refused, write_pdf

from week11_rag.lines import Font, Letter, Line
from week11_rag.pages import Block
from week16_capstone import captions, exhibits, find, ingest, questions, reports
from week16_capstone.chart import around
from week16_capstone.store import Shelf

UNIT = (0.0, 0.0, 1.0, 1.0)


def shuffled(boxes, seed=0):
    order = np.random.default_rng(seed).permutation(len(boxes))
    return [boxes[n] for n in order]


def groups(found):
    return sorted(sorted(group) for group in found)


# ---------------------------------------------------------------- pieces


@pytest.mark.exercise(5)
def test_no_boxes_are_no_groups_and_every_box_is_in_one():
    assert find.clusters([], 5.0) == [], "no boxes make no groups"
    one = (0.0, 0.0, 4.0, 4.0)
    assert find.clusters([one], 5.0) == [[one]], "one box is one group"
    assert len(find.clusters([one, one], 5.0)[0]) == 2, "a box that is there twice is in the group twice"


@pytest.mark.exercise(5)
def test_a_strip_wider_than_room_parts_groups():
    left, right, low = (0.0, 20.0, 10.0, 30.0), (16.0, 20.0, 26.0, 30.0), (0.0, 0.0, 26.0, 8.0)
    found = groups(find.clusters(shuffled([left, right, low]), 5.0))
    assert found == groups([[left], [right], [low]]), (
        f"the level strip of 12 parts the low one, then the upright strip of 6 the two above: {found}"
    )
    found = groups(find.clusters(shuffled([left, right, low]), 6.0))
    assert found == groups([[left, right], [low]]), f"a strip as wide as room parts nothing: {found}"


@pytest.mark.exercise(5)
def test_a_long_box_below_short_ones_keeps_them_together():
    axis, bars = (0.0, 0.0, 100.0, 1.0), [(n * 30.0, 1.0, n * 30.0 + 8, 20.0 + n) for n in range(4)]
    found = find.clusters(shuffled([axis, *bars]), 10.0)
    assert len(found) == 1, f"the furthest right side so far counts, not that of the box before: {len(found)} groups"


@pytest.mark.exercise(5)
def test_groups_of_many_boxes_have_no_strip_in_them():
    rng = np.random.default_rng(3)
    corners = rng.uniform(0, 300, (60, 2))
    boxes = [
        (x, y, x + w, y + h)
        for (x, y), (w, h) in zip(corners.tolist(), rng.uniform(2, 30, (60, 2)).tolist(), strict=True)
    ]
    found = find.clusters(boxes, 12.0)
    assert sorted(box for group in found for box in group) == sorted(boxes), "none is lost, none is doubled"
    for group in found:
        for axis in (0, 1):
            held = np.zeros(400, bool)
            for box in group:
                held[int(box[axis] * 1) : int(box[axis + 2]) + 1] = True
            gaps = [len(run) for run in "".join(".x"[int(on)] for on in held).strip(".").split("x")]
            assert max(gaps) <= 13, f"a strip {max(gaps)} wide goes through a group"


@pytest.mark.exercise(5)
def test_labels_near_a_drawing_belong_to_it():
    core = (100.0, 100.0, 200.0, 200.0)
    tick, far = (80.0, 95.0, 92.0, 103.0), (0.0, 100.0, 20.0, 110.0)
    assert find.with_labels(core, []) == core, "without labels it stays as it is"
    found = find.with_labels(core, [tick, far], 10.0, 70.0)
    assert found == around([core, tick]), f"the label 8 away belongs to it, the one 80 away does not: {found}"


@pytest.mark.exercise(5)
def test_labels_of_labels_belong_to_it_within_reach():
    core = (100.0, 100.0, 200.0, 200.0)
    steps = [(100.0, 100.0 - 12 * n - 10, 200.0, 100.0 - 12 * n - 2) for n in range(10)]
    found = find.with_labels(core, shuffled(steps), 9.0, 50.0)
    assert found[1] == 54.0, f"each label brings in the next, as far as 50 below the core: bottom {found[1]}, not 54"


@pytest.mark.exercise(5)
def test_the_nearest_caption_in_the_column_is_tied():
    above, below = (50.0, 400.0, 250.0, 600.0), (50.0, 100.0, 250.0, 300.0)
    first, second = (50.0, 380.0, 200.0, 392.0), (50.0, 80.0, 200.0, 92.0)
    found = captions.tied([above, below], [second, first])
    assert found == {0: 1, 1: 0}, f"each caption stands 8 below its figure: {found}"
    assert captions.tied([], [first]) == {} and captions.tied([above], []) == {}, "nothing to tie"


@pytest.mark.exercise(5)
def test_a_caption_may_stand_above():
    figure, other = (50.0, 100.0, 250.0, 300.0), (50.0, 400.0, 250.0, 600.0)
    caption = (50.0, 306.0, 200.0, 318.0)
    found = captions.tied([other, figure], [caption])
    assert found == {1: 0}, f"6 above the one, 82 below the other: {found}"


@pytest.mark.exercise(5)
def test_a_caption_of_the_other_column_is_not_taken():
    figure, caption = (50.0, 100.0, 250.0, 300.0), (300.0, 85.0, 500.0, 97.0)
    assert captions.tied([figure], [caption]) == {}, "the caption stands in the other column"
    far = (50.0, 20.0, 250.0, 32.0)
    assert captions.tied([figure], [far], 42.0) == {}, "68 below is too far"


@pytest.mark.exercise(5)
def test_none_is_tied_twice_and_the_nearest_pair_goes_first():
    upper, lower = (50.0, 300.0, 250.0, 400.0), (50.0, 150.0, 250.0, 270.0)
    between, beneath = (50.0, 276.0, 250.0, 288.0), (50.0, 120.0, 250.0, 132.0)  # 12 below upper, 6 above lower
    found = captions.tied([upper, lower], [between])
    assert found == {1: 0}, f"the pair that is nearest of all goes first: {found}"
    found = captions.tied([upper, lower], [between, beneath])
    assert found == {1: 0}, f"a figure has one caption; the other is too far from the upper one: {found}"


@pytest.mark.exercise(5)
def test_of_equally_near_ones_the_caption_below_is_taken():
    figure, low, high = (50.0, 100.0, 250.0, 300.0), (50.0, 80.0, 250.0, 92.0), (50.0, 308.0, 250.0, 320.0)
    assert captions.tied([figure], [high, low]) == {0: 1}, "both are 8 away: captions of figures stand below, as a rule"


# ---------------------------------------------------------------- captions


def line(text, left=50.0, base=100.0, size=10.0):
    letters, at, spaced = [], left, False
    for char in text:
        if char != " ":
            letters.append(Letter(char, at, at + 5, base, Font(size, False, False, False), spaced))
        spaced = char == " "
        at += 5
    return Line(letters)


@pytest.mark.parametrize(("text", "number", "said"), [
    ("Figure 3: Revenue by year", "3", "Revenue by year"), ("Fig. 3. revenue", None, None),
    ("Fig. 12. Revenue", "12", "Revenue"), ("Chart 2", "2", ""), ("Exhibit 4 | Costs", "4", "Costs"),
    ("Figure 7-26. Nuts", "7-26", "Nuts"), ("Figure A1 – Plan", "A1", "Plan"),
    ("Figure 3 Revenue by year", "3", "Revenue by year"),
    ("Figure 3 shows the rest", None, None), ("see Figure 3: it tells", None, None),
    ("Figures are rounded", None, None),
    ("figure 3: in lower case", None, None), ("Table 2: Staff", "2", "Staff"),
    ("Figure 3: of what we saw", "3", "of what we saw"),
])  # fmt: skip
def test_what_is_a_caption(text, number, said):
    found, _ = captions.captions([line(text)], 1)
    assert [(one.number, one.text) for one in found] == ([] if number is None else [(number, said)])


def test_a_caption_goes_on_in_the_lines_below_it():
    lines = [
        line("Figure 1: Revenue by region", base=100.0),
        line("and by year.", base=88.0),
        line("The text.", base=60.0),
    ]
    (found,), taken = captions.captions(lines, 1)
    assert found.text == "Revenue by region and by year." and taken == {id(lines[0]), id(lines[1])}


# ---------------------------------------------------------------- reports, and reading them


@pytest.fixture(scope="module")
def made():
    return reports.make(3, "val", charts=4)


@pytest.fixture(scope="module")
def read(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    path = folder / "report.pdf"
    path.write_bytes(made.content)
    return path, Shelf(folder / "shelf"), ingest.ingest(path, Shelf(folder / "shelf"))


def test_every_plate_is_found_on_its_page_with_its_caption(made, read):
    report = read[2]
    found = {(one.source == "table", one.number): one for one in report.exhibits}
    assert len(report.exhibits) == len(made.plates)
    for plate in made.plates:
        one = found[plate.kind == "table", plate.number]
        assert (one.page, one.source) == (plate.page, plate.source)
        assert one.caption == reports.caption_of(plate)


def test_what_is_drawn_is_read_and_what_is_pixels_is_not_without_a_reader(made, read):
    by_number = {one.number: one for one in read[2].exhibits if one.source != "table"}
    seen = 0
    for plate in made.plates[:-1]:
        one = by_number[plate.number]
        if plate.source == "raster" or plate.fault:
            assert one.chart is None and one.reason, "what is refused says why"
            continue
        truth = {
            (name, x): plate.numbers[row][n] for row, name in enumerate(plate.series) for n, x in enumerate(plate.xs)
        }
        values = {(value.series, exhibits.as_text(value.x)): value.y for value in one.chart.values}
        assert values.keys() == truth.keys()
        assert max(abs(values[key] / truth[key] - 1) for key in truth) < 0.01
        seen += 1
    assert seen, "this seed has a chart that is drawn"


def test_tables_are_data(made, read):
    plate, one = made.plates[-1], next(one for one in read[2].exhibits if one.source == "table")
    assert one.series == plate.series and one.categories == plate.xs
    assert [value.y for value in one.chart.values] == [n for row in plate.numbers for n in row]


def test_a_second_run_reads_nothing_and_a_lost_page_alone_is_read_again(read):
    path, shelf, report = read
    again = ingest.ingest(path, shelf)
    assert again.read_now == 0 and again.exhibits == report.exhibits
    page = shelf.place(report.document.id) / "0001.json"
    page.write_text("{", encoding="utf-8")
    assert ingest.ingest(path, shelf).read_now == 1, "a damaged file is as if it were not there"
    assert shelf.read(report.document.id)[1] == list(report.exhibits)


def test_the_text_has_no_words_of_figures_nor_captions(made, read):
    text = " ".join(block.text for page in read[2].document.pages for block in page.blocks)
    for plate in made.plates:
        assert reports.caption_of(plate) not in text
    assert made.facts[0][1] in text


def test_a_page_that_is_turned_has_its_figures_where_they_are_shown(made, tmp_path):
    import pypdfium2

    plain, turned = tmp_path / "plain.pdf", tmp_path / "turned.pdf"
    plain.write_bytes(made.content)
    with pypdfium2.PdfDocument(made.content) as pdf:
        page = pdf[0]
        (wide, high), lines = page.get_size(), []
        boxes = [one.box for one in find.figures(find.drawn(page), lines)]
        page.set_rotation(90)
        pdf.save(turned)
    with pypdfium2.PdfDocument(turned) as pdf:
        found = [one.box for one in find.figures(find.drawn(pdf[0]), lines)]
        assert pdf[0].get_size() == pytest.approx((high, wide))
    expected = [(b, wide - r, t, wide - l) for l, b, r, t in boxes]  # noqa: E741
    assert sorted(found) == [pytest.approx(box, abs=3) for box in sorted(expected)] and boxes


def test_a_damaged_page_is_named_and_left_out(tmp_path, monkeypatch):
    path, real = tmp_path / "book.pdf", ingest.pdf.page_of
    write_pdf(path, [[(11, "The first page has a text of some length.")], [(11, "The second one too.")]])
    monkeypatch.setattr(ingest.pdf, "page_of", lambda pdf, n, ocr: None if n == 1 else real(pdf, n, ocr))
    report = ingest.ingest(path, Shelf(tmp_path / "shelf"))
    assert "left out what is damaged: page 1" in report.notes
    assert [len(page.blocks) for page in report.document.pages] == [0, 1]


def test_a_longer_pdf_is_read_in_part_which_is_said(tmp_path):
    path = tmp_path / "book.pdf"
    write_pdf(path, [[(11, f"Page {n} has a text of some length.")] for n in range(4)])
    report = ingest.ingest(path, Shelf(tmp_path / "shelf"), most_pages=2)
    assert len(report.document.pages) == 2 and "only the first 2 of 4 pages were read" in report.notes


def test_a_sentence_right_above_a_chart_is_no_label_of_it():
    lines = [line("Figure 5 shows the details of what was sold there.", base=300.0), line("Orders shipped", base=280.0)]
    assert find.running_text(lines) == {id(lines[0])}


def test_a_frame_around_text_and_a_ruled_table_are_no_figures(tmp_path):
    from reportlab.pdfgen.canvas import Canvas

    path = tmp_path / "frames.pdf"
    canvas = Canvas(str(path), (500, 700))
    for n in range(6):
        canvas.roundRect(50, 560, 400, 90, 8)
        canvas.drawString(
            60, 635 - 12 * n, "A line of a text that stands in a frame and goes from side to side of it all."
        )
    for row in range(6):
        canvas.line(50, 300 + 24 * row, 450, 300 + 24 * row)
        for column in range(4):
            canvas.line(50 + 133 * column, 300, 50 + 133 * column, 420)
            if row < 5 and column < 3:
                canvas.drawString(60 + 133 * column, 308 + 24 * row, f"cell {row} {column}")
    canvas.save()
    report = ingest.ingest(path, Shelf(tmp_path / "shelf"))
    assert [one for one in report.exhibits if one.source != "table"] == []


def test_a_picture_in_strips_is_one(tmp_path):
    boxes = [(50.0, 400.0, 300.0, 450.0), (50.0, 350.0, 300.0, 400.2), (50.0, 300.0, 300.0, 350.0)]
    assert find.strips([*shuffled(boxes), (320.0, 300.0, 400.0, 380.0)]) == [
        (50.0, 300.0, 300.0, 450.0),
        (320.0, 300.0, 400.0, 380.0),
    ]


@pytest.mark.parametrize(("text", "number"), [
    ("1,204", 1204), ("12.5 %", 12.5), ("(3.1)", -3.1), ("-7", -7), ("−7", -7), ("$4.2k", 4200), ("4M", 4e6),
    ("", None),
    ("n/a", None), ("3 to 4", None), ("Q3", None), ("1 204", 1204), ("2.1e3", 2100),
])  # fmt: skip
def test_numbers_in_cells(text, number):
    assert exhibits.number_in(text) == (None if number is None else pytest.approx(number))


def test_a_table_without_names_or_numbers_is_no_data():
    words = Block(1, "Name | Place\nAda | Rome\nLuis | Oslo", "table", UNIT)
    nameless = Block(1, "A | 3 | 4\nB | 5 | 6\nC | 1 | 2", "table", UNIT)
    years = Block(1, "Site | 2019 | 2020\nA | 3 | 4\nB | 5 | 6", "table", UNIT)
    assert exhibits.table_of(words) is None and exhibits.table_of(nameless) is None
    assert exhibits.table_of(years).series == ("2019", "2020")


def test_an_exhibit_comes_back_from_its_file(read):
    for one in read[2].exhibits:
        assert exhibits.from_json(json.loads(json.dumps(exhibits.as_json(one)))) == one
    assert "no figure or table" in refused(exhibits.from_json, {"page": 1})
    assert "no id of a document" in refused(read[1].place, "../elsewhere")


def test_reports_follow_from_their_seed_and_test_is_held_out(made):
    again = reports.make(3, "val", charts=4)
    assert again.plates == made.plates and again.facts == made.facts
    for held in (reports.MEASURES, reports.LAYOUTS, reports.ORGANISATIONS, reports.FACTS):
        assert not set(map(str, held["val"])) & set(map(str, held["test"]))
    asked = questions.ask(made, np.random.default_rng(0))
    assert asked == questions.ask(made, np.random.default_rng(0)) and {"text", "unanswerable", "table"} <= {
        q.kind for q in asked
    }


def test_what_is_right():
    value, count = questions.Question("?", "value", 200.0), questions.Question("?", "count", 3.0)
    year, never = questions.Question("?", "extreme", None, ("2008",)), questions.Question("?", "unanswerable")
    assert questions.right(value, False, 209.0, (), "") and not questions.right(value, False, 211.0, (), "")
    assert questions.right(count, False, 3.0, (), "") and not questions.right(count, False, 3.1 + 0.5, (), "")
    assert not questions.right(year, False, 2008.0, ("2010",), "2010"), (
        "2010 is within 5 % of 2008, and is another year"
    )
    assert questions.right(never, True, None, (), "") and not questions.right(never, False, 1.0, (), "")
    assert not questions.right(value, True, None, (), ""), "a refusal is no answer to what can be answered"


@pytest.mark.parametrize(("caption", "unit"), [
    ("Revenue from 2012 to 2017, in million euro", "million euro"), ("Output (in GWh).", "GWh"), ("Sales, in Asia", ""),
    ("Sales in 2019", ""), ("Profit (restated)", ""), ("", ""),
])  # fmt: skip
def test_a_caption_says_its_unit_and_a_place_is_none(caption, unit):
    assert exhibits.said_unit(caption) == unit


def test_what_stands_in_the_same_place_is_an_ornament_only_if_it_looks_the_same():
    logo, place = (10.0, 10.0, 40.0, 30.0), (60.0, 300.0, 400.0, 500.0)
    pages = [[exhibits.Exhibit(n, logo, "raster", "photo", crop="logo"),
              exhibits.Exhibit(n, place, "raster", "bar", crop=f"chart {n}")] for n in range(1, 5)]  # fmt: skip
    kept = ingest.without_ornaments(pages, lambda one: one.crop)
    assert [[one.crop for one in page] for page in kept] == [[f"chart {n}"] for n in range(1, 5)]
    assert ingest.without_ornaments(pages[:2], lambda one: one.crop) == pages[:2], "twice is not often"
