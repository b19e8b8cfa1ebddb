"""The agent in the browser, its trace unfolding as it thinks: `./course run 15 app`.

Everything stays on this machine: no fonts or scripts from elsewhere, no statistics, and what a search brings is shown
as plain text.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week15_agent/app.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import os
from collections.abc import Iterator
from dataclasses import dataclass
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
#chat { height: 62vh !important; }
footer { display: none !important; }
@media (max-width: 640px) { .gradio-container > .main { padding: 12px !important; } }
"""


@dataclass
class Config(Which):
    """The flags of app."""

    host: str = "127.0.0.1"
    """Who can reach it: this machine alone, or 0.0.0.0: everybody who reaches this machine."""
    port: Annotated[int, Ge(0), Le(65_535)] = 7860
    """Where it listens; 0: at a free place."""


def bubble(event: Event) -> dict[str, Any]:
    """An event as a message of gradio's chat: what leads to the answer folds away under a title."""
    text = printable(event.text)
    if event.kind == "answer":
        return {"role": "assistant", "content": text}
    if event.kind == "gave_up":
        return {"role": "assistant", "content": f"I found no answer ({text})."}
    titles = {"thought": "Thought", "action": text, "unparsable": "What it wrote was no turn"}
    content = "" if event.kind == "action" else text
    return {"role": "assistant", "content": content, "metadata": {"title": titles[event.kind], "status": "done"}}


def added(talk: list[dict[str, Any]], event: Event) -> list[dict[str, Any]]:
    """The conversation with one more event: an observation goes into the oldest call that waits for one."""
    if event.kind != "observation":
        one = bubble(event)
        if event.kind == "action":
            one["metadata"]["status"] = "pending"
        return [*talk, one]
    talk = [dict(message) for message in talk]
    for message in talk:
        if (message.get("metadata") or {}).get("status") == "pending":
            message["content"] = printable(event.text)
            message["metadata"] = message["metadata"] | {"status": "done"}
            break
    return talk


def answered(agent: Any, question: str, talk: list[dict[str, Any]], thread: str) -> Iterator[list[dict[str, Any]]]:
    """What is shown, as it unfolds."""
    talk = [*talk, {"role": "user", "content": printable(question)}]
    yield talk
    try:
        for event in agent.ask(checked(question), thread):
            talk = added(talk, event)
            yield talk
    except CourseError as error:
        yield [*talk, {"role": "assistant", "content": f"Error: {printable(str(error))}"}]


def before(agent: Any, thread: str) -> list[dict[str, Any]]:
    """What was said in a thread, questions and answers."""
    from week15_agent import memory
    from week15_agent.minds import read

    found = []
    for message in memory.shown(agent.history(thread), most=50):
        turn = read(message, agent.mind.form, agent.tools)
        if message["role"] == "user" or (turn and turn.answer):
            text = message["content"] if turn is None else turn.answer
            found.append({"role": message["role"], "content": printable(text)})
    return found


def build(agent: Any, thread: str = "") -> Any:
    """The page, as gradio's Blocks. Each visitor has a thread of their own, unless one is named."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # it is asked for at import
    import gradio as gr

    one_at_a_time = Lock()  # there is one model

    def ask(question: str, talk: list, mine: str) -> Iterator[tuple]:
        with one_at_a_time:
            for shown in answered(agent, question, talk, mine):
                yield shown, shown, ""

    def begin() -> tuple:
        mine = thread or uuid4().hex
        return mine, *[before(agent, mine)] * 2

    with gr.Blocks(title="An agent with tools", analytics_enabled=False) as page:
        mine, shown = gr.State(""), gr.State([])
        gr.Markdown("# An agent with a calculator and a search")
        talk = gr.Chatbot(
            show_label=False, label="Conversation", render_markdown=False, placeholder=WELCOME, elem_id="chat",
            buttons=[],
        )  # fmt: skip
        question = gr.Textbox(
            show_label=False, label="Question", placeholder="Your question", max_lines=4, submit_btn=True,
            elem_id="question", autofocus=True,
        )  # fmt: skip
        gr.Examples([[example] for example in EXAMPLES], [question], label="For example")
        streamed = lambda *given: (yield from ask(*given))  # noqa: E731 (gradio asks of a function whether it yields)
        question.submit(streamed, [question, shown, mine], [talk, shown, question], api_name="ask")
        talk.clear(lambda: (uuid4().hex, []), None, [mine, shown])
        page.load(begin, None, [mine, talk, shown])
    return page


def main(cfg: Config) -> dict[str, Any]:
    """Serves the agent until Ctrl-C.

    Returns where it was.
    """
    with opened(cfg) as agent:
        return browser.serve(build(agent, cfg.thread), cfg.host, cfg.port, "1mb", STYLE)


if __name__ == "__main__":
    cli.launch(main, Config)
