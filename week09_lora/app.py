"""The model as it was and as it is now, side by side in the browser: `./course run 9 app`.

Everything stays on this machine: no fonts or scripts from elsewhere, no statistics, and what the models write is shown
as plain text.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week09_lora/app.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from queue import Queue
from threading import Event, Lock, Thread
from typing import Any, Literal

from shared import browser, cli, runs
from shared.config import Count, NonNegative
from shared.conversation import Answer, end_of_turn
from shared.errors import CourseError
from week09_lora import chat
from week09_lora.data import Message
from week09_lora.train import WEEK_NUMBER

LONGEST = 2000  # characters of a question
NAMES = {"untuned": "before: as it was published", "tuned": "after: with the adapters"}
WELCOME = "Ask something. Both models answer, each in a conversation of its own."
EXAMPLES = (
    "Tell me only the object that stands last below. Please bring a brush, a basket and a kite.",
    "As JSON, please: who is it (name), how old (age), and where (city)? Yusuf from Madrid is 56 years old.",
    "What is the capital of France?",
)
STYLE = f"""{browser.STYLE}
#talk {{ min-height: 34vh; }}
#talk .welcome {{ opacity: 0.75; padding: 12vh 0; text-align: center; color: var(--body-text-color); }}
#talk .wrong {{ border-left: 3px solid #D55E00; padding-left: 12px; margin-top: 10px; }}
"""


@dataclass
class Config(browser.Served):
    """The flags of app."""

    run: str = ""
    """The run's folder (default: the week's newest)."""
    adapter: str = ""
    """In the place of a run: a folder with an adapter in peft's files."""
    model: str = "smollm2"
    """What --adapter belongs to."""
    tokens: Count = 128
    """How many tokens an answer may have; an answer that is cut off there ends in …"""
    temperature: NonNegative = 0.0
    """0 always takes the likeliest token; above, it draws, and larger numbers draw unlikely ones more often."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""


@dataclass
class Turn:
    """A question, what each model has answered so far, how many tokens that took, and what went wrong."""

    question: str
    answers: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    wrong: str = ""


class Both:
    """The two models, of which one speaks at a time: mostly they are one, with and without its adapters.

    Args:
        cfg: which run or adapter, and how long an answer may be.

    Raises:
        CourseError: there is none, as chat says.
    """

    def __init__(self, cfg: Config) -> None:
        self.name = Path(cfg.adapter or cfg.run or runs.newest(WEEK_NUMBER)).name
        self.cfg = chat.Config(
            run=cfg.run, adapter=cfg.adapter, model=cfg.model, compare=True, tokens=cfg.tokens,
            temperature=cfg.temperature, device=cfg.device,
        )  # fmt: skip
        self.who, self.tokenizer, self.device = chat.speakers(self.cfg)
        self.end, self.one_at_a_time = end_of_turn(self.tokenizer), Lock()
        self.closed = Event()  # set: whoever speaks stops at the next word

    def answer(self, question: str, before: Sequence[Turn]) -> Iterator[tuple[str, str | Answer]]:
        """(who, a piece of the answer) as it comes, and at its end (who, the whole of it)."""

        def work(say: Callable[[tuple[str, str | Answer]], None]) -> None:
            def heard(name: str, piece: str | Answer) -> None:
                if self.closed.is_set():
                    raise Gone
                say((name, piece))

            with self.one_at_a_time:
                for one in self.who:
                    talk = [*said_to(one.name, before), {"role": "user", "content": question}]
                    speak = partial(heard, one.name)
                    speak(chat.speak(self.cfg, one, self.tokenizer, talk, self.end, self.device, speak))

        return streamed(work)


def said_to(name: str, before: Sequence[Turn]) -> list[Message]:
    """What one of the models has heard and said before; a question that it did not answer is forgotten."""
    talk: list[Message] = []
    for turn in before:
        if not turn.wrong:
            talk += [{"role": "user", "content": turn.question}, {"role": "assistant", "content": turn.answers[name]}]
    return talk


class Gone(Exception):
    """Nobody reads on."""


def streamed(work: Callable[[Callable[[Any], None]], None]) -> Iterator[Any]:
    """What `work(say)` says, as it says it. It works in a thread of its own, and ends at its next word when nobody
    reads on: a visitor who leaves costs no more than that."""
    said: Queue[tuple[str, Any]] = Queue()
    gone = Event()

    def say(one: Any) -> None:
        if gone.is_set():
            raise Gone
        said.put(("said", one))

    def run() -> None:
        try:
            work(say)
            said.put(("done", None))
        except Gone:
            said.put(("done", None))
        except Exception as error:  # it is the reader's, who is in another thread
            said.put(("wrong", error))

    Thread(target=run).start()  # no daemon: Python cannot end while one computes
    try:
        while True:
            kind, one = said.get()
            if kind == "done":
                return
            if kind == "wrong":
                raise one
            yield one
    finally:
        gone.set()


def told(answer: Answer) -> str:
    """How long an answer is, and whether it ended by itself."""
    return f"{answer.tokens} token{'s' * (answer.tokens != 1)}, and {'stopped' if answer.stopped else 'cut off'}"


def answered(both: Both, question: str, talk: Sequence[Turn]) -> Iterator[tuple[list[Turn], bool]]:
    """(the conversation, whether more will come), as it is written."""
    turn = Turn(question.strip())
    now = [*talk, turn]
    try:
        if not turn.question:
            raise CourseError("the question is empty.")
        if len(turn.question) > LONGEST:
            raise CourseError(f"a question of {len(turn.question):,} characters: {LONGEST:,} are the most.")
        yield now, True
        for name, piece in both.answer(turn.question, talk):
            if isinstance(piece, str):
                turn.answers[name] = turn.answers.get(name, "") + piece
            else:
                turn.answers[name] = piece.text
                turn.notes[name] = told(piece)
            yield now, True
    except CourseError as error:
        now[-1] = replace(turn, question=turn.question[:LONGEST], wrong=str(error))
    yield now, False


def written(talk: Sequence[Turn], more: bool = False) -> str:
    """The conversation as HTML."""
    if not talk:
        return f'<p class="welcome">{WELCOME}</p>'
    lines = []
    for turn in talk:
        lines.append(f'<p class="asked">{browser.text(turn.question)}</p>')
        if turn.wrong:
            lines.append(f'<p class="said wrong">{browser.text(turn.wrong)}</p>')
            continue
        each = []
        for name, heading in NAMES.items():
            waits = "…" if more and turn is talk[-1] and name not in turn.notes else ""
            text = browser.text(turn.answers.get(name, "")) + waits
            each.append((heading, f'<p>{text}</p><p class="note">{turn.notes.get(name, "")}</p>'))
        lines.append(browser.cards(each))
    return "\n".join(lines)


def build(both: Both) -> Any:
    """The page, as gradio's Blocks."""
    gr = browser.gradio()

    def ask(question: str, talk: list[Turn]) -> Iterator[tuple]:
        for (now, more), box in browser.emptied(answered(both, question, talk)):
            yield written(now, more), now, box

    with gr.Blocks(title="Before and after", analytics_enabled=False) as page:
        talk = gr.State([])
        gr.Markdown("# One model, before and after its tuning")
        gr.HTML(f'<p class="note">The adapters are those of {browser.text(both.name)}.</p>', padding=False)
        shown = gr.HTML(written([]), elem_id="talk", padding=False)
        question = gr.Textbox(
            show_label=False, label="Question", placeholder="Your question", max_lines=4, submit_btn=True,
            elem_id="question", autofocus=True,
        )  # fmt: skip
        gr.Examples([[example] for example in EXAMPLES], [question], label="For example")
        new = gr.Button("New conversation", size="sm")
        streams = lambda *given: (yield from ask(*given))  # noqa: E731 (gradio asks of a function whether it yields)
        question.submit(streams, [question, talk], [shown, talk, question], api_name="ask", show_progress="hidden")
        new.click(lambda: ([], written([])), None, [talk, shown], api_visibility="private")
    return page


def main(cfg: Config) -> dict[str, Any]:
    """Serves both models until Ctrl-C.

    Returns where it was.
    """
    both = Both(cfg)
    try:
        return browser.serve(build(both), cfg.host, cfg.port, "1mb", STYLE)
    finally:
        both.closed.set()


if __name__ == "__main__":
    cli.launch(main, Config)
