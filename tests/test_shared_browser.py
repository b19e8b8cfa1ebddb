"""A page is served to this machine alone, closed at the end, and a place that is taken is one line."""

import pytest
from programs import refused

from shared import browser


class Page:
    """What gradio's Blocks are asked for, without gradio, which takes seconds to load."""

    def __init__(self, taken=False, stopped=False):
        self.taken, self.stopped, self.asked, self.closed = taken, stopped, {}, False

    def queue(self, **asked):
        self.asked |= asked
        return self

    def launch(self, **asked):
        if self.taken:
            raise OSError("address already in use")
        self.asked |= asked
        return self, "http://127.0.0.1:7860/", None

    def block_thread(self):
        if self.stopped:
            raise KeyboardInterrupt

    def close(self, verbose):
        self.closed = True


def test_it_is_served_and_closed(capsys):
    page = Page()
    assert browser.serve(page, "127.0.0.1", 0, "25mb") == {"address": "http://127.0.0.1:7860/"}
    assert capsys.readouterr().out == "open http://127.0.0.1:7860/   (Ctrl-C ends it)\n"
    wanted = {"server_name": "127.0.0.1", "server_port": None, "share": False, "max_file_size": "25mb", "max_size": 32}
    assert page.asked.items() >= wanted.items() and page.closed


def test_ctrl_c_closes_it():
    page = Page(stopped=True)
    with pytest.raises(KeyboardInterrupt):
        browser.serve(page, "127.0.0.1", 0, "25mb")
    assert page.closed


def test_a_place_that_is_taken():
    assert refused(browser.serve, Page(taken=True), "127.0.0.1", 7860, "25mb") == (
        "--port 7860: something else listens there. Take another one, or 0."
    )
