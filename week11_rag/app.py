"""A chat in the browser, the cited page beside each answer with the cited words marked: `./course run 11 app`.

Everything stays on this machine: no fonts or scripts from elsewhere, no statistics, and what a document says is shown
as plain text, so that no picture that it names is fetched.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week11_rag/app.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from shared import browser, cli
from shared.config import Count
from shared.errors import CourseError
from shared.terminal import printable

SCALE = 1.6  # pixels of a page's picture for each point
MARK = (255, 214, 10)  # yellow, as of a marker
LARGEST = "50mb"
WELCOME = "Ask something that the document may answer."
HINT = "The page that an answer rests on is shown here, with the cited words marked."
STYLE = """<style>
.gradio-container { width: 100% !important; max-width: 1280px !important; margin: 0 auto !important; }
#about .html-container, #hint .html-container { padding: 10px 0 !important; }
#question textarea::placeholder { color: var(--body-text-color) !important; opacity: 0.65; }
#page img { width: 100%; height: auto; object-fit: contain; background: #fff; }
#sources label { width: 100%; }
#sources label span { white-space: normal; overflow-wrap: anywhere; }
footer { display: none !important; }
@media (max-width: 640px) {
  .gradio-container { padding: 0 !important; }
  .gradio-container > .main { padding: 12px !important; }
  #chat { height: 46vh !important; }
}
</style>"""


@dataclass
class Config:
    """The flags of app."""

    run: str = ""
    """The run whose index is asked (default: the week's newest)."""
    lm: str = "smollm2"
    """What answers: smollm2 (offline), extractive (quotes sentences, quick), a folder or a name of the hub, or the
    address of a service that speaks as OpenAI's does, as http://localhost:11434/v1#llama3.2."""
    k: Count = 5
    """How many passages it answers from."""
    host: str = "127.0.0.1"
    """Who can reach it: this machine alone, or 0.0.0.0: everybody who reaches this machine."""
    port: Annotated[int, Ge(0), Le(65_535)] = 7860
    """Where it listens; 0: at a free place."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there."""


# ---------------------------------------------------------------- what is shown


def where(citation: Any) -> str:
    """The pages of a citation: `page 12` or `pages 12–13`."""
    pages = sorted({page for page, _ in citation.pieces} or {citation.page})
    return f"page {pages[0]}" if len(pages) == 1 else f"pages {pages[0]}–{pages[-1]}"


def choices(citations: Sequence[Any]) -> list[tuple[str, int]]:
    """(what stands beside the button, its number) of each source."""
    rows = []
    for one in citations:
        quote = printable(" ".join(one.quote.split()))
        quote = quote if len(quote) < 240 else f"{quote[:240]} …"
        rows.append((f"[{one.number}] {printable(one.name)}, {where(one)}: “{quote}”", one.number))
    return rows


def picture(bot: Any, citation: Any) -> Any:
    """The page of a citation as a PIL image, with its words marked; of two pages both, one below the other.

    Raises:
        CourseError: the PDF is gone.
    """
    from PIL import Image

    path, pages = bot.file(citation.document), []
    for page, words in citation.pieces or ((citation.page, citation.quote),):
        pages.append(marked(path, page, words))
    whole = Image.new("RGB", (max(one.width for one in pages), sum(one.height for one in pages)), "white")
    top = 0
    for one in pages:
        whole.paste(one, (0, top))
        top += one.height
    return whole


def marked(path: Path, page: int, words: str) -> Any:
    """A page with these words in yellow, as by a marker: what is black stays black."""
    from PIL import Image, ImageChops, ImageDraw

    from week11_rag import pdf

    image = pdf.render(path, page, SCALE).convert("RGB")
    layer = Image.new("RGB", image.size, "white")
    draw = ImageDraw.Draw(layer)
    for left, bottom, right, top in pdf.text_boxes(path, page, words):
        draw.rectangle((SCALE * left - 2, image.height - SCALE * top - 2, SCALE * right + 2,
                        image.height - SCALE * bottom + 2), fill=MARK)  # fmt: skip
    return ImageChops.multiply(image, layer)


def seen(bot: Any, citations: Sequence[Any], number: int | None) -> Any:
    """The picture of a source; None where there is none, or its PDF is gone."""
    one = next((one for one in citations if one.number == number), None)
    try:
        return picture(bot, one) if one else None
    except CourseError:
        return None


# ---------------------------------------------------------------- what happens


def answered(bot: Any, question: str, talk: list[dict[str, str]], turns: list[tuple[str, str]]) -> Iterator[tuple]:
    """(talk, turns, citations) as the answer comes: `talk` is what is shown, `turns` what the bot is told of before."""
    talk = [*talk, {"role": "user", "content": question}, {"role": "assistant", "content": "…"}]
    yield talk, turns, ()
    text = ""
    try:
        for event in bot.stream(question, turns):
            if event.kind == "token":
                text += printable(event.text)
                talk[-1]["content"] = text
                yield talk, turns, ()
            elif event.kind == "answer":
                answer = event.answer
                lines = [text, *(f"[{one.number}] {where(one)}" for one in answer.citations)]
                if answer.note:
                    lines.append(f"({printable(answer.note)})")
                talk[-1]["content"] = "\n".join(lines)
                yield talk, [*turns, (question, answer.text)], answer.citations
    except CourseError as error:
        talk[-1]["content"] = "\n".join(filter(None, [text, f"Error: {printable(str(error))}"]))
        yield talk, turns, ()


def described(bot: Any) -> str:
    """What a bot answers from, in a line."""
    found = bot.documents()
    names = ", ".join(printable(one.name) for one in found[:3]) + (", …" if len(found) > 3 else "")
    pages = sum(one.pages for one in found)
    return f"{names or 'nothing'}: {pages:,} page{'s' * (pages != 1)}"


def build(bot: Any) -> Any:
    """The page, as gradio's Blocks. What a visitor uploads is asked alone, by that visitor, and kept in memory only."""
    gr = browser.gradio()

    def sources(mine: Any, citations: Sequence[Any]) -> tuple:
        """What becomes of the list of sources and of the picture: the first source is shown."""
        first = citations[0].number if citations else None
        listed = gr.update(choices=choices(citations), value=first, visible=bool(citations))
        return listed, gr.update(value=seen(mine, citations, first), visible=bool(citations))

    def ask(question: str, shown: list, turns: list, own: Any) -> Iterator[tuple]:
        mine = own or bot
        for (talk, told, citations), box in browser.emptied(answered(mine, question, shown, turns)):
            yield talk, talk, told, citations, box, *sources(mine, citations)

    def show(number: int | None, citations: Sequence[Any], own: Any) -> Any:
        return gr.update(value=seen(own or bot, citations, number), visible=number is not None)

    def upload(path: str) -> tuple:
        try:
            own = bot.beside(path, Path(path).name)
        except CourseError as error:
            said = str(error).replace(path, Path(path).name)  # where it lies here is nobody's business
            raise gr.Error(escape(printable(said)), print_exception=False) from None
        return own, about(own), [], [], [], (), *sources(own, ())

    def about(one: Any) -> str:
        return f"<b>{escape(described(one))}</b>"

    with gr.Blocks(title="Talk to your data", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        own, shown, turns, citations = gr.State(None), gr.State([]), gr.State([]), gr.State(())
        gr.HTML(STYLE, padding=False)
        gr.Markdown("# Talk to your data")
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=320):
                known = gr.HTML(about(bot), elem_id="about", padding=False)
                talk = gr.Chatbot(
                    show_label=False, label="Conversation", height=460, render_markdown=False, placeholder=WELCOME,
                    elem_id="chat", buttons=[],
                )  # fmt: skip
                question = gr.Textbox(
                    show_label=False, label="Question", placeholder="Your question", max_lines=4, submit_btn=True,
                    elem_id="question", autofocus=True,
                )  # fmt: skip
                pdf = gr.UploadButton("Ask a PDF of your own", file_types=[".pdf"], elem_id="upload", size="sm")
            with gr.Column(scale=6, min_width=320):
                gr.HTML(HINT, elem_id="hint", padding=False)
                source = gr.Radio([], label="Sources", visible=False, elem_id="sources")
                image = gr.Image(
                    show_label=False, label="The page, with the cited words marked", interactive=False, visible=False,
                    format="png", buttons=["fullscreen"], elem_id="page",
                )  # fmt: skip
        streamed = lambda *given: (yield from ask(*given))  # noqa: E731 (gradio asks of a function whether it yields)
        question.submit(
            streamed,
            [question, shown, turns, own],
            [talk, shown, turns, citations, question, source, image],
            api_name="ask",
        )
        talk.clear(lambda: ([], [], (), *sources(None, ())), None, [shown, turns, citations, source, image])
        source.input(show, [source, citations, own], image)
        pdf.upload(upload, pdf, [own, known, talk, shown, turns, citations, source, image])
    return page


def main(cfg: Config) -> dict[str, Any]:
    """Serves the chat until Ctrl-C.

    Returns where it was.
    """
    from week11_rag.answer import Bot

    page = build(Bot.open(cfg.run, lm=cfg.lm, device=cfg.device, k=cfg.k))
    return browser.serve(page, cfg.host, cfg.port, LARGEST)


if __name__ == "__main__":
    cli.launch(main, Config)
