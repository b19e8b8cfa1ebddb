"""A real browser, as several tests drive it: where it is, how it is started, what it complains of, and whether a page
can be read in light and dark, wide and as wide as a phone. $COURSE_SCREENSHOTS names a folder to keep pictures in."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

FOUND = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needed = pytest.mark.skipif(FOUND is None, reason="no Chromium here: apt-get install chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
FLAGS += ["--disable-component-update", "--disable-extensions", "--disable-dev-shm-usage", "--disable-quic"]
WIDE, PHONE = {"width": 1280, "height": 844}, {"width": 390, "height": 844}
CONTRASTS = """names => {
    const linear = c => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4
    const light = rgb => { const [r, g, b] = rgb.map(linear)
                           return .2126 * r + .7152 * g + .0722 * b }
    const rgb = text => text.match(/[\\d.]+/g).map(Number)
    return [...document.querySelectorAll(names)].map(element => {
        let at = element, paper = [0, 0, 0, 0]
        for (; at; at = at.parentElement) {
            paper = rgb(getComputedStyle(at).backgroundColor)
            if (paper.length == 3 || paper[3] > .5) break
        }
        const two = [light(rgb(getComputedStyle(element).color).slice(0, 3)), light(paper.slice(0, 3))]
        return [(Math.max(...two) + .05) / (Math.min(...two) + .05), two[1], element.tagName]
    })
}"""
"""Of every text of these names: its contrast with what it stands on (1 to 21), the luminance of that, and what it is."""


@contextmanager
def opened() -> Iterator:
    """Chromium, until the end of `with`; in a process one at a time."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=FOUND, args=FLAGS)
        yield browser
        browser.close()


def tab_of(browser):
    """A new tab; `tab.foreign` has what it asked for elsewhere, `tab.errors` what went wrong in it."""
    tab = browser.new_page(viewport=WIDE, color_scheme="light")
    tab.foreign, tab.errors = [], []
    tab.on("request", lambda r: urlsplit(r.url).hostname in ("127.0.0.1", None) or tab.foreign.append(r.url))
    tab.on("pageerror", lambda error: tab.errors.append(str(error)))
    tab.set_default_timeout(60_000)
    return tab


def can_be_read(tab, name: str, texts: str) -> None:
    """Passes where all of these texts stand out from what is behind them, in light and in dark, and nothing is wider
    than the window, of a phone either."""
    tab.add_style_tag(content="* { transition: none !important; }")  # else colours of before and after are mixed
    for scheme, size in (("light", WIDE), ("light", PHONE), ("dark", PHONE), ("dark", WIDE)):
        tab.set_viewport_size(size)
        tab.emulate_media(color_scheme=scheme)
        tab.wait_for_function(f"document.body.classList.contains('dark') == {str(scheme == 'dark').lower()}")
        tab.wait_for_function("document.documentElement.scrollWidth <= innerWidth")
        found = tab.evaluate(CONTRASTS, texts)
        assert found, f"{name}: nothing of {texts} is there"
        for ratio, paper, what in found:
            assert ratio >= 4.5, (name, scheme, what, ratio)
            assert paper > 0.8 if scheme == "light" else paper < 0.1, (name, scheme, what, paper)
        if os.environ.get("COURSE_SCREENSHOTS"):
            path = Path(os.environ["COURSE_SCREENSHOTS"]) / f"{name}-{scheme}-{size['width']}.png"
            tab.screenshot(path=path, full_page=True)
