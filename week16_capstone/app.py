"""A PDF's charts in the browser: ask, and see the page, the figure and its numbers: `./course run 16 app report.pdf`.

Everything stays on this machine. What a visitor uploads is read for that visitor alone and goes within the hour; what a
PDF says is shown as plain text.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week16_capstone/app.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import tempfile
from dataclasses import dataclass, replace
from html import escape
from typing import Annotated, Any, Literal

import tyro
from annotated_types import Ge, Le

from shared import browser, cli
from shared.config import Count
from shared.errors import CourseError
from shared.terminal import printable
from week16_capstone import ask, places
from week16_capstone.exhibits import as_text, shown
from week16_capstone.store import SHELF

LARGEST = "50mb"
MOST_ROWS = 200  # of the table of a chart's data
HINT = "Here one sees what an answer rests on: the figure, with the values used, and its page."
STYLE = """<style>
.gradio-container { width: 100% !important; max-width: 1280px !important; margin: 0 auto !important; }
#about .html-container, #hint .html-container { padding: 8px 0 !important; }
#answer .html-container { padding: 10px 0 !important; }
.said { font-size: 1.15rem; font-weight: 600; overflow-wrap: anywhere; color: var(--body-text-color); }
.refused { font-weight: 500; }
.where, .note { color: var(--body-text-color-subdued); margin-top: 4px; overflow-wrap: anywhere; }
.values { width: 100%; max-width: 460px; border-collapse: collapse; margin-top: 6px; }
.values td, .values th { border-bottom: 1px solid var(--border-color-primary); padding: 3px 8px; text-align: left;
  color: var(--body-text-color); }
.values td:last-child, .values th:last-child { text-align: right; font-variant-numeric: tabular-nums; }
.values tr.used td { font-weight: 700; }
.scroll { max-height: 300px; overflow: auto; }
#page img, #crop img { width: 100%; height: auto; object-fit: contain; background: #fff; }
footer { display: none !important; }
@media (max-width: 640px) {
  .gradio-container { padding: 0 !important; }
  .gradio-container > .main { padding: 12px !important; }
}
</style>"""


@dataclass
class Config:
    """The flags of app."""

    words: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """PDFs or folders of them; without any, a visitor uploads one."""
    run: str = ""
    """The run whose reader reads charts that are bitmaps (default: the week's newest; without one, only charts that are
    drawn as vectors are read)."""
    shelf: str = str(SHELF)
    """Where what was read is kept; uploads are kept elsewhere, and deleted."""
    lm: str = ""
    """What words summaries: nothing (sentences made by rule), smollm2, a folder, or a service's address."""
    endpoint: str = ""
    """A service whose model calls the tools, as in ask."""
    pages: Count = 200
    """Of a longer PDF only so many pages are read."""
    host: str = "127.0.0.1"
    """Who can reach it: this machine alone, or 0.0.0.0: everybody who reaches this machine."""
    port: Annotated[int, Ge(0), Le(65_535)] = 7860
    """Where it listens; 0: at a free place."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there."""


# ---------------------------------------------------------------- what is shown


def said(answer: Any) -> str:
    """An answer as HTML, with its note and where it stands."""
    kind = "said refused" if answer.refused else "said"
    lines = "<br>".join(escape(printable(line)) for line in answer.text.split("\n"))
    parts = [f'<div class="{kind}">{lines}</div>']
    if answer.note:
        parts.append(f'<div class="note">{escape(printable(answer.note))}</div>')
    parts += [f'<div class="where">{escape(printable(source.line))}</div>' for source in answer.sources[:3]]
    return "".join(parts)


def values_of(answer: Any) -> str:
    """The data of the figure that was read, as a table in HTML; those that the answer rests on in bold."""
    exhibit = answer.exhibit
    if exhibit is None or exhibit.chart is None:
        return ""
    used = {mark for source in answer.sources for mark in source.marks}
    several = len(exhibit.series) > 1
    head = "".join(f"<th>{name}</th>" for name in [*["Series"] * several, "At", "Value"])
    rows = []
    for value in exhibit.chart.values[:MOST_ROWS]:
        cells = [*[value.series] * several, as_text(value.x), shown(value.y)]
        row = "".join(f"<td>{escape(printable(cell))}</td>" for cell in cells)
        rows.append(f'<tr class="used">{row}</tr>' if value.box in used else f"<tr>{row}</tr>")
    name = escape(printable(exhibit.head))
    table = f'<table class="values"><tr>{head}</tr>{"".join(rows)}</table>'
    return f'<div class="where">{name}</div><div class="scroll">{table}</div>'


def pictures(agent: Any, answer: Any) -> tuple[Any, Any]:
    """(page with the box, figure with the values), as PIL images; None where there is none or the PDF is gone."""
    if not answer.sources:
        return None, None
    source = answer.sources[0]
    try:
        file = agent.index.file(source.document)
        quoted = answer.exhibit is None
        page = places.page_picture(file, source.page, source.box, source.marks if quoted else (), quoted)
        crop = None if quoted else places.crop_picture(file, source.page, source.box, source.marks)
    except CourseError:
        return None, None
    return page, crop


def described(agent: Any) -> str:
    """What is asked, in a line of HTML."""
    if agent is None:
        return "<b>No PDF yet: give one below.</b>"
    names = ", ".join(printable(name) for name in list(agent.index.titles.values())[:3])
    read = sum(one.exhibit.chart is not None for one in agent.index.shown)
    return f"<b>{escape(names)}</b>: {len(agent.index.shown)} figures and tables, {read} of them read"


# ---------------------------------------------------------------- the page


def build(agent: Any, cfg: Config) -> Any:
    """The page, as gradio's Blocks."""
    gr = browser.gradio()

    def answer(question: str, own: Any) -> tuple:
        mine = own or agent
        if mine is None:
            raise gr.Error("Give a PDF first.", print_exception=False)
        try:
            found = mine.ask(question)
        except CourseError as error:
            raise gr.Error(escape(printable(str(error))), print_exception=False) from None
        page, crop = pictures(mine, found)
        return (said(found), values_of(found), gr.update(value=page, visible=page is not None),
                gr.update(value=crop, visible=crop is not None))  # fmt: skip

    def upload(path: str, progress: Any = gr.Progress()) -> tuple:  # noqa: B008 (gradio finds it there)
        progress(0.2, desc="reading the PDF")
        shelf = tempfile.mkdtemp(prefix="shelf-", dir=str(Path(path).parent))  # goes with the upload
        try:
            own = ask.opened([Path(path)], replace(cfg, shelf=shelf))
        except CourseError as error:
            words = str(error).replace(path, Path(path).name)  # where it lies here is nobody's business
            raise gr.Error(escape(printable(words)), print_exception=False) from None
        hidden = gr.update(value=None, visible=False)
        return own, described(own), "", listed(own), hidden, hidden

    def listed(one: Any) -> str:
        if one is None:
            return ""
        return "".join(f'<div class="where">{escape(printable(line))}</div>' for line in one.listed()[:40])

    with gr.Blocks(title="Ask a report", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        own = gr.State(None)
        gr.HTML(STYLE, padding=False)
        gr.Markdown("# Ask a report")
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=320):
                about = gr.HTML(described(agent), elem_id="about", padding=False)
                question = gr.Textbox(
                    show_label=False, label="Question", placeholder="What was revenue in 2019?", max_lines=3,
                    submit_btn=True, elem_id="question", autofocus=True,
                )  # fmt: skip
                text = gr.HTML("", elem_id="answer", padding=False)
                data = gr.HTML(listed(agent), elem_id="data", padding=False)
                given = gr.UploadButton("Ask a PDF of your own", file_types=[".pdf"], elem_id="upload", size="sm")
            with gr.Column(scale=6, min_width=320):
                gr.HTML(HINT, elem_id="hint", padding=False)
                crop = gr.Image(show_label=False, label="The figure", interactive=False, visible=False, format="png",
                                buttons=["fullscreen"], elem_id="crop")  # fmt: skip
                whole = gr.Image(show_label=False, label="The page", interactive=False, visible=False, format="png",
                                 buttons=["fullscreen"], elem_id="page")  # fmt: skip
        question.submit(answer, [question, own], [text, data, whole, crop], api_name="ask")
        given.upload(upload, given, [own, about, text, data, whole, crop])
    return page


def main(cfg: Config) -> dict[str, Any]:
    """Serves the page until Ctrl-C.

    Returns where it was.
    """
    agent = ask.opened(ask.divided(cfg.words)[0], cfg) if cfg.words else None
    return browser.serve(build(agent, cfg), cfg.host, cfg.port, LARGEST)


if __name__ == "__main__":
    cli.launch(main, Config)
