"""`./course portfolio`: one page with no runs, with one and with many; every text escaped; looked at in a browser.

$COURSE_SCREENSHOTS names a folder to keep the pictures in.
"""

import base64
import io
import os
import shutil
from html.parser import HTMLParser
from pathlib import Path

import chromium
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import assert_picture, refused

from shared import plan, portfolio, portfolio_page, report
from shared.achieved import Solved
from shared.files import read_json, write_json
from shared.portfolio_page import Entry, page

few = settings(max_examples=40, deadline=None, derandomize=True, database=None)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=200)
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "h3", "p", "nav", "a", "span", "main",
    "article", "div", "table", "tbody", "tr", "td", "figure", "img", "figcaption", "blockquote", "details", "summary",
    "code", "footer",
}  # fmt: skip
EVIL = """<script>alert(1)</script>"' onerror=alert(1) &amp; {{7*7}} ]]> <!-- </style><img src=x>"""


class Seen(HTMLParser):
    """What a browser finds in a page: its elements, the addresses in it, its texts."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.addresses, self.texts = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        names = [name for name, _ in attributes]
        assert not [name for name in names if name.startswith("on")] and len(set(names)) == len(names)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data):
        self.texts.append(data)


def a_run(root, week, name="001-quick", **result):
    """A finished run of a week in a course of its own."""
    folder = root / "runs" / f"week{week:02}" / name
    baselines = [{"name": "a baseline", "params": 9, "seconds": 1.0, "test_accuracy": 0.5, "val_mrr": 0.4}]
    metrics = {"test_accuracy": 0.75, "val_mrr": 0.5}
    told = {
        "week": week,
        "command": f"./course train {week}",
        "data": "sample",
        "seed": 0,
        "params": 10,
        "seconds": 2.0,
    }
    told |= {"device": "cpu", "dtype": "float32", "versions": {}, "metrics": metrics, "baselines": baselines}
    write_json(folder / "result.json", told | result)
    write_json(folder / "config.json", {"data": "sample", "preset": "quick"})
    return folder


def a_report(root, week, text):
    (root / "w.txt").write_text(text, encoding="utf-8")
    report.main(week, report.Config(words=str(root / "w.txt")), root)


def made(root, **flags):
    """(the page as a browser finds it, its text)."""
    html = Path(portfolio.main(portfolio.Config(**flags), root)["page"]).read_text(encoding="utf-8")
    return Seen(html), html


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A course with a run and a report in every week, words that try to be HTML, and a link."""
    root = tmp_path_factory.mktemp("many")
    weeks = [number for number in range(1, 17) if plan.is_there(number)]
    for week in weeks:
        a_run(root, week, baselines=[{"name": EVIL, "params": 0, "seconds": 0.0, "test_accuracy": 0.25}])
        write_json(root / f"exercises/week{week:02}/progress.json", {"1": "passed"})
    for week in (1, 12):
        a_report(
            root, week, f"## What I struggled with\n\n{EVIL}\n\nmore\n\n## The analogy that made it click\n\nA bill."
        )
    space = ("11=https://huggingface.co/spaces/ada/bot?a=1&b=2",)
    return root, *made(root, name=f"Ada {EVIL[:30]}", space=space), weeks


def test_nothing_is_done_yet(tmp_path, capsys):
    seen, html = made(tmp_path)
    assert "Nothing to show yet" in html and "article" not in seen.tags and seen.addresses == []
    assert seen.tags.count("span") == len([n for n in range(1, 17) if plan.is_there(n)])
    assert "nothing is done yet: ./course train 1 begins" in capsys.readouterr().out


def test_one_run_without_a_report(tmp_path, capsys):
    a_run(tmp_path, 1)
    seen, html = made(tmp_path)
    assert seen.tags.count("article") == 1 and "1 week trained." in html
    assert "75.00%" in seen.texts and "a baseline" in seen.texts and "50.00%" in seen.texts
    assert "The lesson's picture" in html and "./course train 1 &amp;&amp; ./course eval 1" in html
    assert "week 1 has no report yet: ./course report 1" in capsys.readouterr().out


def test_many_weeks_also_those_that_build(many):
    _, seen, html, weeks = many
    assert seen.tags.count("article") == len(weeks) and f"{len(weeks)} weeks trained, {len(weeks)} exercises" in html
    assert seen.addresses.count("https://huggingface.co/spaces/ada/bot?a=1&b=2") == 1
    for week in weeks:
        assert f'<article id="week{week}">' in html and f"#week{week}" in seen.addresses
    assert "1 live demo" in html


def test_every_text_is_escaped_and_nothing_comes_from_elsewhere(many):
    _, seen, html, _ = many
    assert set(seen.tags) <= ALLOWED and "<script" not in html.lower()
    assert any(EVIL in text for text in seen.texts), "it stands there as it was written"
    assert "<h3>What I struggled with</h3>" in html
    for address in seen.addresses:
        assert address.startswith(("data:image/", "#week", "https://huggingface.co/spaces/ada")), address
    assert "url(" not in html and "@import" not in html


def test_the_page_is_bounded_in_size(many, tmp_path):
    from PIL import Image

    _, _, html, weeks = many
    assert len(html) < len(weeks) * portfolio_page.MOST * 1.4
    for side in (1500, 10):
        Image.effect_noise((side, side // 2), 99).convert("RGB").save(tmp_path / "noise.png", compress_level=0)
        address = portfolio_page.inlined(tmp_path / "noise.png")
        with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as shown:
            assert max(shown.size) <= portfolio_page.WIDEST
        assert len(address) < portfolio_page.MOST * 1.34
    (tmp_path / "no.png").write_bytes(b"no picture")
    assert portfolio_page.inlined(tmp_path / "no.png") == ""


@few
@given(TEXTS, TEXTS, TEXTS)
def test_any_text_stands_on_the_page_as_text(first, second, third):
    record = {"week": 1, "columns": ["test_x"], "metrics": {"test_x": 1.0}, "command": third, "scored": False,
              "baselines": [{"name": first, "test_x": 0.5}], "band": {"line": second}, "data": third,
              "hardware": first, "code": second}  # fmt: skip
    solved = Solved((first, second), (second,), 3)
    entry = Entry(1, first, second, record, solved, solved, f"# {first}\n{second}\n## {third}", space="https://a.b/c")
    seen = Seen(page(third, [entry]))
    assert set(seen.tags) <= ALLOWED and seen.tags.count("article") == 1
    assert sorted(set(seen.addresses)) == ["#week1", "https://a.b/c"]


@pytest.mark.parametrize(
    "record",
    [{"week": 1}, {"columns": ["a"], "metrics": []}, {"columns": ["a"], "metrics": {"a": 0}}, {"columns": None},
     {"columns": ["a"], "metrics": {"a": -1.0}, "baselines": [3, {"a": 0.0}, {"a": "x"}], "band": 3, "code": 5}],
)  # fmt: skip
def test_a_strange_record_stops_no_page(record):
    base = {"command": "./course train 1", "scored": False, "week": 1}
    assert "<article" in page("", [Entry(1, "t", "l", base | record)])


def test_links_and_name_are_kept(tmp_path):
    kept = tmp_path / "reports/portfolio.json"
    made(tmp_path, name="Ada", space=("11=https://a.hf.space", "9=https://huggingface.co/spaces/ada/chat"))
    _, html = made(tmp_path)
    assert "Ada: sixteen weeks" in html and 'href="https://a.hf.space"' in html
    made(tmp_path, space=("11=",))
    assert read_json(kept) == {"name": "Ada", "spaces": {"9": "https://huggingface.co/spaces/ada/chat"}}
    kept.write_text("{", encoding="utf-8")
    assert "Ada" not in made(tmp_path)[1], "a damaged file is as none"


@pytest.mark.parametrize(
    ("given_space", "line"),
    [
        ("11", "--space 11: write a week and an address, as 11=https://huggingface.co/spaces/you/bot."),
        ("17=https://a.b", "--space 17=https://a.b: write a week and an address, as 11="),
        ("11=http://a.b", "--space 11=http://a.b: must be an address that begins with https://."),
        ("11=javascript:alert(1)", "must be an address that begins with https://."),
        ('11=https://a.b/"onclick=', "must be an address that begins with https://."),
        ("11=https://user@a.b", "must be an address that begins with https://."),
        ("11=https://localhost", "must be an address that begins with https://."),
    ],
)
def test_what_is_no_link(tmp_path, given_space, line):
    assert line in refused(lambda: made(tmp_path, space=(given_space,)))
    assert not (tmp_path / "reports").exists()
    week, _, address = given_space.partition("=")
    write_json(tmp_path / "reports/portfolio.json", {"spaces": {week: address}})
    if address:
        assert refused(lambda: made(tmp_path)).startswith(str(tmp_path / "reports/portfolio.json"))


def test_a_report_that_was_edited_gives_its_words_and_no_numbers(tmp_path, capsys):
    a_run(tmp_path, 1)
    a_report(tmp_path, 1, "my very own words")
    path = tmp_path / "reports/week01/report.md"
    shutil.rmtree(tmp_path / "runs")
    assert "75.00%" in made(tmp_path)[1], "a whole report tells it, also where the run is gone"
    path.write_text(path.read_text(encoding="utf-8").replace("75.00%", "99.99%").replace("0.75", "0.9999"), "utf-8")
    a_run(tmp_path, 1, metrics={"test_accuracy": 0.625})
    seen, html = made(tmp_path)
    assert "62.50%" in html and "99.99%" not in html and "my very own words" in seen.texts
    assert "was edited by hand" in capsys.readouterr().out


def test_a_week_that_does_not_start_is_left_out(tmp_path, monkeypatch, capsys):
    real = plan.week

    def broken(number):
        if number == 2:
            raise SyntaxError("in the middle of a change")
        return real(number)

    monkeypatch.setattr(plan, "week", broken)
    a_run(tmp_path, 1)
    assert "75.00%" in made(tmp_path)[1]
    assert "week 2 does not start and is left out: SyntaxError" in capsys.readouterr().out


# ---------------------------------------------------------------- in a browser

TEXTS = "h1, h2, h3, p, td, a, span:not(.bar), blockquote, summary, code, figcaption"


@chromium.needed
def test_the_page_in_a_browser(many, tmp_path):
    root, _, _, weeks = many
    address = (root / "reports/portfolio.html").as_uri()
    foreign, errors = [], []
    with chromium.opened() as browser:
        for scheme, width in (("light", 1280), ("light", 390), ("dark", 390), ("dark", 1280)):
            shown = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
            shown.on("request", lambda r: r.url.startswith((address, "data:")) or foreign.append(r.url))
            shown.on("pageerror", lambda error: errors.append(str(error)))
            shown.on("console", lambda message: errors.append(message.text))
            shown.goto(address)
            assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth"), (scheme, width)
            assert shown.locator("article").count() == len(weeks)
            loaded = shown.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 50)")
            assert loaded and shown.locator("img").count() == len(weeks)
            for ratio, paper, what in shown.evaluate(chromium.CONTRASTS, TEXTS):
                assert ratio >= 4.5, (scheme, what)
                assert what == "A" or (paper > 0.8 if scheme == "light" else paper < 0.1), (scheme, what)
            path = Path(os.environ.get("COURSE_SCREENSHOTS") or tmp_path) / f"portfolio-{scheme}-{width}.png"
            shown.screenshot(path=path, clip={"x": 0, "y": 0, "width": width, "height": 844})
            assert_picture(path)
            if (scheme, width) == ("light", 390):
                shown.locator("nav a").last.click()
                assert shown.url.endswith(f"#week{weeks[-1]}")
                shown.locator("summary").last.click()
                assert shown.locator("details code").last.is_visible()
                assert "Ada <script>" in shown.locator("h1").inner_text()
            shown.close()
    assert (foreign, errors) == ([], [])
