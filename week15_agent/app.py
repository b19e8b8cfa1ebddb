"""The agent in the browser, its trace unfolding as it thinks: `./course run 15 app`.

Everything stays on this machine: no fonts or scripts from elsewhere, no statistics, and what a search brings is shown
as plain text.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week15_agent/app.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from threading import Lock
from typing import Annotated, Any
from uuid import uuid4

from annotated_types import Ge, Le

from shared import browser, cli
from shared.errors import CourseError
from shared.terminal import printable
from week15_agent.chat import checked
from week15_agent.loop import Event
from week15_agent.opening import Which, opened

WELCOME = "Ask something to compute, to look up, or both."
EXAMPLES = (
    "What is 17% of 2,350?",
    "What is the population of France?",
    "How many years after the discovery of helium was argon discovered?",
)
STYLE = """
.gradio-container { width: 100% !important; max-width: 860px !important; margin: 0 auto !important; }
#question textarea::placeholder { color: var(--body-text-color) !important; opacity: 0.65; }
footer { display: none !important; }
#talk { min-height: 40vh; }
#talk p { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; line-height: 1.45; }
#talk .welcome { opacity: 0.7; padding: 16vh 0; text-align: center; }
#talk .asked { background: var(--block-background-fill); border: 1px solid var(--border-color-primary);
  border-radius: 12px; padding: 8px 14px; margin: 18px 0 10px auto; width: fit-content; max-width: 85%; }
#talk .step { border-left: 3px solid var(--border-color-primary); padding: 3px 0 3px 12px; margin-left: 4px; }
#talk .thought { font-style: italic; opacity: 0.85; }
#talk .action { font-family: var(--font-mono); font-size: 0.92em; font-weight: 600; border-left-color: #0072B2; }
#talk .observation { font-family: var(--font-mono); font-size: 0.88em; padding-left: 28px; border-left-color: #0072B2; }
#talk .wrong { border-left-color: #D55E00; }
#talk .answer { font-size: 1.12em; font-weight: 600; padding: 10px 0 0 4px; }
"""
Talk = list[tuple[str, list[Event]]]
"""Questions, and what happened."""


@dataclass
class Config(Which):
    """The flags of app."""

    host: str = "127.0.0.1"
    """Who can reach it: this machine alone, or 0.0.0.0: everybody who reaches this machine."""
    port: Annotated[int, Ge(0), Le(65_535)] = 7860
    """Where it listens; 0: at a free place."""


def paragraph(event: Event) -> str:
    """An event as HTML. All that comes from the model or from a tool is text: it can be read, and does nothing."""
    text, mark = escape(printable(event.text)), "" if event.ok else " wrong"
    if event.kind == "answer":
        return f'<p class="answer">{text}</p>'
    if event.kind == "gave_up":
        return f'<p class="answer">I found no answer ({text}).</p>'
    if event.kind == "observation":
        return f'<p class="step observation{mark}">= {text}</p>'
    said = f"What it wrote was no turn; it was told: {text}" if event.kind == "unparsable" else text
    return f'<p class="step {event.kind}{mark}">{said}</p>'


def written(talk: Talk, thinking: bool = False) -> str:
    """The conversation as HTML."""
    if not talk:
        return f'<p class="welcome">{WELCOME}</p>'
    lines = []
    for question, events in talk:
        lines += [f'<p class="asked">{escape(printable(question))}</p>', *map(paragraph, events)]
    return "\n".join([*lines, *['<p class="step">…</p>'] * thinking])


def answered(agent: Any, question: str, talk: Talk, thread: str) -> Iterator[tuple[Talk, bool]]:
    """(the conversation, whether more will come), as it unfolds."""
    events: list[Event] = []
    talk = [*talk, (question, events)]
    yield talk, True
    try:
        for event in agent.ask(checked(question), thread):
            events.append(event)
            yield talk, event.kind not in ("answer", "gave_up")
    except CourseError as error:
        events.append(Event("gave_up", str(error), ok=False))
        yield talk, False


def before(agent: Any, thread: str) -> Talk:
    """What was said in a thread, questions and answers."""
    from week15_agent import memory
    from week15_agent.minds import read

    talk: Talk = []
    for message in memory.shown(agent.history(thread), most=50):
        turn = read(message, agent.mind.form, agent.tools)
        if message["role"] == "user":
            talk.append((message["content"], []))
        elif turn and turn.answer and talk:
            talk[-1][1].append(Event("answer", turn.answer))
    return talk


def build(agent: Any, thread: str = "") -> Any:
    """The page, as gradio's Blocks. Each visitor has a thread of their own, unless one is named."""
    gr = browser.gradio()

    one_at_a_time = Lock()  # there is one model

    def ask(question: str, talk: Talk, mine: str) -> Iterator[tuple]:
        with one_at_a_time:
            for (now, more), box in browser.emptied(answered(agent, question, talk, mine)):
                yield written(now, more), now, box

    def begin() -> tuple:
        mine = thread or uuid4().hex
        talk = before(agent, mine)
        return mine, talk, written(talk)

    with gr.Blocks(title="An agent with tools", analytics_enabled=False) as page:
        mine, talk = gr.State(""), gr.State([])
        gr.Markdown("# An agent with a calculator and a search")
        shown = gr.HTML(written([]), elem_id="talk", padding=False)
        question = gr.Textbox(
            show_label=False, label="Question", placeholder="Your question", max_lines=4, submit_btn=True,
            elem_id="question", autofocus=True,
        )  # fmt: skip
        gr.Examples([[example] for example in EXAMPLES], [question], label="For example")
        new = gr.Button("New conversation", size="sm")
        streamed = lambda *given: (yield from ask(*given))  # noqa: E731 (gradio asks of a function whether it yields)
        question.submit(
            streamed, [question, talk, mine], [shown, talk, question], api_name="ask", show_progress="hidden"
        )
        new.click(lambda: (uuid4().hex, [], written([])), None, [mine, talk, shown])
        page.load(begin, None, [mine, talk, shown], show_progress="hidden")
    return page


def main(cfg: Config) -> dict[str, Any]:
    """Serves the agent until Ctrl-C.

    Returns where it was.
    """
    with opened(cfg) as agent:
        return browser.serve(build(agent, cfg.thread), cfg.host, cfg.port, "1mb", STYLE)


if __name__ == "__main__":
    cli.launch(main, Config)
