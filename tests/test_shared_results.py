"""A week's RESULTS.md: programs write between the markers, and nothing outside of them changes."""

import pytest
from programs import refused

from shared import results
from shared.files import ROOT
from shared.results import markdown, publish

PAGE = """\
# Week 2: the measurements in full

## How to read them: Größen

<!-- bench step -->

old

<!-- /bench step -->

Written by hand, with a \\1 and a $.

<!-- bench step 2 -->
another table
<!-- /bench step 2 -->

The end.
"""


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "RESULTS.md"
    path.write_text(PAGE, encoding="utf-8")
    return path


TABLE = markdown(["", "images/s"], [["ours", "1,000"], ["theirs", r"a \1 of \g<0>"]])


def test_markdown():
    assert markdown(["", "n"], [["a", 1], ["b", 2.5]]) == "|  | n |\n| --- | --- |\n| a | 1 |\n| b | 2.5 |"


def test_a_table_takes_the_place_of_the_one_of_its_name(page, capsys):
    publish(2, "bench step", f"\n{TABLE}\n\n", page)
    new = f"<!-- bench step -->\n\n{TABLE}\n\n<!-- /bench step -->"
    text = page.read_text(encoding="utf-8")
    assert text == PAGE.replace("<!-- bench step -->\n\nold\n\n<!-- /bench step -->", new)
    assert capsys.readouterr().out == f"published: {page}, bench step\n"
    publish(2, "bench step", TABLE, page)
    assert page.read_text(encoding="utf-8") == text, "and a second time changes nothing"
    assert list(page.parent.iterdir()) == [page]


def test_a_new_name_comes_at_the_end(page):
    publish(2, "compare CNN", TABLE, page)
    added = f"\n## Compare CNN\n\n<!-- compare CNN -->\n\n{TABLE}\n\n<!-- /compare CNN -->\n"
    assert page.read_text(encoding="utf-8") == PAGE + added
    publish(2, "compare CNN", "new", page)
    assert page.read_text(encoding="utf-8") == PAGE + added.replace(TABLE, "new"), "once, in its place"


def test_a_name_that_begins_like_another_is_another(page):
    publish(2, "bench", TABLE, page)
    assert page.read_text(encoding="utf-8").startswith(PAGE)


@pytest.mark.parametrize("text", [None, ""])
def test_a_page_that_is_not_there_yet(tmp_path, text):
    path = tmp_path / "week07" / "RESULTS.md"
    if text is not None:
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")
    publish(7, "repeat sample", "a table", path)
    block = "\n\n## Repeat sample\n\n<!-- repeat sample -->\n\na table\n\n<!-- /repeat sample -->\n"
    assert path.read_text(encoding="utf-8") == ("# Week 7: the measurements in full" if text is None else "") + block


BEGIN, END = "<!-- bench step -->", "<!-- /bench step -->"


@pytest.mark.parametrize(
    "broken",
    [BEGIN, END, f"{END} {BEGIN}", f"{BEGIN} {BEGIN} {END}", f"{BEGIN} {END} {BEGIN} {END}", f"{BEGIN} {END} {END}"],
)
def test_broken_markers_are_refused_and_nothing_is_written(page, broken):
    text = f"# Week 2\n\n{broken}\n"
    page.write_text(text, encoding="utf-8")
    line = f"{page}: the markers {BEGIN} and {END} belong together, once each."
    assert refused(publish, 2, "bench step", TABLE, page) == line
    assert page.read_text(encoding="utf-8") == text


def test_the_weeks_own_page_by_default(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    publish(2, "bench step", TABLE)
    assert (tmp_path / "week02_cnn" / "RESULTS.md").is_file()
    assert capsys.readouterr().out.replace("\\", "/") == "published: week02_cnn/RESULTS.md, bench step\n"


@pytest.mark.parametrize("path", sorted(ROOT.glob("week*/RESULTS.md")), ids=lambda path: path.parent.name)
def test_markers_on_the_pages_that_are_there_are_whole(path, tmp_path):
    """The programs could not write there otherwise, and would say so after hours of measuring."""
    import re

    text = path.read_text(encoding="utf-8")
    copy = tmp_path / "RESULTS.md"
    for name in set(re.findall(r"<!-- /?([\w .-]+?) -->", text)):
        copy.write_text(text, encoding="utf-8")
        publish(int(path.parent.name[4:6]), name, "new", copy)
        assert f"<!-- {name} -->\n\nnew\n\n<!-- /{name} -->" in copy.read_text(encoding="utf-8")
