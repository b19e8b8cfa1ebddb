"""Week 12's pages in a browser, at /ui of a running service: a PDF goes up, a question is asked, its source is seen; in
light, in dark, and as wide as a phone. $COURSE_SCREENSHOTS names a folder to keep the pictures in."""

import os
import socket
import threading
from pathlib import Path

import chromium
import pytest
from programs import Lazily, assert_picture, word_embedder, write_pdf

from week11_rag.answer import Bot
from week11_rag.exact import ExactIndex
from week11_rag.retrieve import Retriever
from week11_rag.store import Settings as IndexSettings
from week11_rag.support import Support, Verdict
from week12_deploy.settings import Settings, with_keys

assembly, uvicorn = Lazily("week12_deploy.assembly"), Lazily("uvicorn")
pytestmark = chromium.needed
KEY = "a key of the browser test"
BREAD = [(20, "Bread"), (11, "Knead the dough for twelve minutes. Let it rest for one hour under a cloth.")]
SOUP = [(20, "Soup"), (11, "Boil the leeks in water. Add salt and pepper before serving.")]
QUOTE = "Knead the dough for twelve minutes."
COLOURS = """name => {
    const rgb = text => text.match(/[\\d.]+/g).map(Number)
    let at = document.querySelector(name)
    const ink = rgb(getComputedStyle(at).color)
    let paper = [0, 0, 0, 0]
    for (; at; at = at.parentElement) {
        paper = rgb(getComputedStyle(at).backgroundColor)
        if (paper.length == 3 || paper[3] > 0.5) break
    }
    return [ink.slice(0, 3), paper.slice(0, 3)]
}"""
"""The colour of a text, and of what it stands on."""


class Believes(Support):
    """Takes every question for one that is answered."""

    def judge(self, question, passages, retriever):
        return Verdict(True, 1.0, {})


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """The address of a running service that has no document yet."""

    def open_bot(cfg, wrap):
        index = ExactIndex(None, IndexSettings("stub", 64, 24, 0))
        return Bot(
            Retriever(index, wrap(word_embedder())), Believes((), (), (), (), 0.0, 0.3, {}), k=2, folder=cfg.folder
        )

    cfg = with_keys(Settings(store=str(tmp_path_factory.mktemp("service")), lm="extractive"), {"COURSE_API_KEY": KEY})
    app = assembly.application(cfg, open_bot)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def page(service):
    """A page of Chromium; `page.foreign` has what it asked for elsewhere, `page.errors` what it complained of."""
    with chromium.opened() as browser:
        yield chromium.tab_of(browser)


def luminance(rgb):
    """Relative luminance, as WCAG 2.2 defines it."""
    linear = [c / 12.92 if (c := part / 255) <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for part in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(page, name):
    """(contrast of a text with what it stands on, from 1 to 21; luminance of the latter)."""
    ink, paper = map(luminance, page.evaluate(COLOURS, name))
    return (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05), paper


def pictured(page, tmp_path, name):
    """A screenshot of the whole page, which is no empty one."""
    path = Path(os.environ.get("COURSE_SCREENSHOTS") or tmp_path) / f"{name}.png"
    page.add_style_tag(
        content="* { transition: none !important; }"
    )  # else it has the colours of before and after mixed
    page.screenshot(path=path, full_page=True)
    assert_picture(path)


def test_upload_ask_and_see_the_source(page, service, tmp_path):
    page.goto(f"{service}/ui/", wait_until="domcontentloaded")
    password = page.locator("input[type=password]")
    password.wait_for()  # the page that says to wait has looked again by itself
    page.locator("input:not([type=password])").first.fill("ada")
    password.fill(KEY)
    password.press("Enter")
    page.locator("#question textarea").wait_for()
    bread = write_pdf(tmp_path / "bread.pdf", [SOUP, BREAD])
    with page.expect_file_chooser() as chosen:
        page.locator("#upload").click()
    chosen.value.set_files(bread)
    page.locator("#about").get_by_text("bread.pdf: 2 pages").wait_for()
    page.locator("#question textarea").fill("For how many minutes do I knead the dough?")
    page.locator("#question textarea").press("Enter")
    page.locator("#sources").get_by_text(QUOTE).wait_for()
    assert "bread.pdf, page 2" in page.locator("#sources").inner_text()
    assert f"{QUOTE.rstrip('.')} [1]" in page.locator("#chat").inner_text().replace("\n", " ")
    page.wait_for_function("document.querySelector('#page img')?.naturalWidth > 500")
    pictured(page, tmp_path, "light")
    ratio, paper = contrast(page, "#sources label span")
    assert ratio >= 4.5 and paper > 0.8


def test_dark_where_the_system_is(page, tmp_path):
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.body.classList.contains('dark')")
    pictured(page, tmp_path, "dark")
    for name in ("#sources label span", "#about", "#question textarea"):
        ratio, paper = contrast(page, name)
        assert ratio >= 4.5 and paper < 0.1, name


def test_all_of_it_fits_a_phone(page, tmp_path):
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="light")
    page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")
    pictured(page, tmp_path, "phone")
    for name in ("#question textarea", "#sources", "#page img", "#upload"):
        box = page.locator(name).first.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["height"] >= 20, name


def test_nothing_came_from_elsewhere_and_nothing_broke(page):
    assert (page.foreign, page.errors) == ([], [])
