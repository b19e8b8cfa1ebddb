"""A page of gradio's, served until Ctrl-C, and to nobody but those who are asked for; and what pages look like."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Annotated, Any

from annotated_types import Ge, Le

from shared.errors import CourseError
from shared.terminal import printable

STYLE = """
.gradio-container { width: 100% !important; max-width: 1080px !important; margin: 0 auto !important; }
textarea::placeholder { color: var(--body-text-color) !important; opacity: 0.65; }
footer { display: none !important; }
.html-container { padding: 0 !important; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 250px), 1fr)); gap: 12px; }
.card { background: var(--block-background-fill); border: 1px solid var(--border-color-primary); border-radius: 12px;
  padding: 10px 14px; color: var(--body-text-color); min-width: 0; }
.card h3 { font-size: 0.9em; font-weight: 600; margin: 0 0 6px; opacity: 0.8; color: var(--body-text-color); }
.card p { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; line-height: 1.5; color: inherit; }
.card p.note { margin-top: 6px; }
.asked { background: var(--block-background-fill); border: 1px solid var(--border-color-primary); border-radius: 12px;
  padding: 8px 14px; margin: 18px 0 10px auto; width: fit-content; max-width: 85%; overflow-wrap: anywhere;
  white-space: pre-wrap; color: var(--body-text-color); }
.said { font-size: 1.12em; font-weight: 600; margin: 10px 0; color: var(--body-text-color); }
.note { font-size: 0.92em; opacity: 0.85; margin: 6px 0; overflow-wrap: anywhere; color: var(--body-text-color); }
"""
"""What the pages of several weeks look like, in light and in dark: cards with answers side by side, and on a phone one
below the other."""
PHONE = """@media (max-width: 640px) {
  .gradio-container { padding: 0 !important; }
  .gradio-container > .main { padding: 12px !important; }
  .gradio-container h1 { font-size: 1.35em !important; }
}"""
"""By itself: in gradio's `css` all that stands in @media is put inside the container, and means nothing of it."""


@dataclass
class Served:
    """The flags of a page: who can reach it, and where."""

    host: str = "127.0.0.1"
    """Who can reach it: this machine alone, or 0.0.0.0: everybody who reaches this machine."""
    port: Annotated[int, Ge(0), Le(65_535)] = 7860
    """Where it listens; 0: at a free place."""


def gradio() -> Any:
    """The library, imported now (it takes seconds), without its statistics."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # it is asked for at import
    import gradio

    return gradio


def emptied(steps: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """(a step of an answer, what becomes of the question's box): emptied once, so what one types meanwhile stays."""
    becomes: Any = ""
    for step in steps:
        yield step, becomes
        becomes = gradio().skip()


def text(words: str) -> str:
    """Foreign words as HTML: they can be read, and do nothing."""
    return escape(printable(words, breaks=True))


def cards(of: Sequence[tuple[str, str]]) -> str:
    """Cards of (heading, HTML), side by side."""
    each = (f'<div class="card"><h3>{text(heading)}</h3>{inside}</div>' for heading, inside in of)
    return f'<div class="cards">{"".join(each)}</div>'


@contextmanager
def served(page: Any, host: str, port: int, largest: str, css: str | None = None) -> Iterator[str]:
    """Inside `with`, a page is served at the address that it yields. Nothing goes elsewhere: no link to share it, no
    statistics, no account of who came.

    Args:
        page: gradio's Blocks.
        host: 127.0.0.1: this machine alone.
        port: where it listens; 0: at a free place.
        largest: of a file that a visitor gives, as "25mb".
        css: of the page.

    Raises:
        CourseError: something else listens there.
    """
    try:
        _, address, _ = page.queue(default_concurrency_limit=2, max_size=32).launch(
            server_name=host, server_port=port or None, share=False, quiet=True, prevent_thread_lock=True,
            max_file_size=largest, footer_links=[], show_error=False, ssr_mode=False, enable_monitoring=False, css=css,
            head=f"<style>{PHONE}</style>" if css else None,
        )  # fmt: skip
    except OSError:
        raise CourseError(f"--port {port}: something else listens there. Take another one, or 0.") from None
    try:
        yield address
    finally:
        page.close(verbose=False)


def serve(page: Any, host: str, port: int, largest: str, css: str | None = None) -> dict[str, str]:
    """The same until Ctrl-C. Returns {"address"}: where it was."""
    with served(page, host, port, largest, css) as address:
        print(f"open {address}   (Ctrl-C ends it)", flush=True)
        page.block_thread()
    return {"address": address}
