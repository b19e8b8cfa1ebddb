"""Polite against rude in the browser, with the margin and the words that make it: `./course run 10 app`.

Everything stays on this machine: no fonts or scripts from elsewhere, no statistics, and what the model writes is shown
as plain text.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week10_dpo/app.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal

import torch

from shared import browser, cli
from shared.config import Count
from shared.conversation import Answer, write
from shared.device import autocast, choose
from shared.errors import CourseError
from week10_dpo import chats, data
from week10_dpo.data import Pair
from week10_dpo.losses import LogProbs, margins, rewards, token_log_probs
from week10_dpo.model import reference
from week10_dpo.trained import STAGES, load

LONGEST = 2000  # characters of a question or of an answer
PAIRS = 20  # of the bundled test pairs, to try it on
NAMES = {"base": "as it was published", "sft": "after SFT", "dpo": "after DPO"}
ABOUT = (
    "DPO has no reward model: the policy is one. An answer's reward is β times how many nats likelier it has become "
    "in DPO, and the margin is the first answer's reward less the second's."
)
LEGEND = (
    '<p class="note"><mark class="more">Blue</mark> words have become likelier in DPO, '
    '<mark class="less">orange</mark> ones less likely.</p>'
)
STYLE = f"""{browser.STYLE}
.card mark, .note mark {{ color: inherit; border-radius: 3px; padding: 1px 0; background: none; }}
.note mark.more {{ background: rgba(0, 114, 178, 0.5); padding: 1px 4px; }}
.note mark.less {{ background: rgba(213, 94, 0, 0.5); padding: 1px 4px; }}
.bars {{ display: grid; grid-template-columns: max-content 1fr max-content; gap: 6px 10px; align-items: center;
  margin: 10px 0 14px; color: var(--body-text-color); font-variant-numeric: tabular-nums; }}
.bars .track {{ position: relative; height: 16px; }}
.bars .track::before {{ content: ""; position: absolute; left: 50%; top: -3px; bottom: -3px; width: 1px;
  background: var(--body-text-color); opacity: 0.6; }}
.bars .bar {{ position: absolute; top: 0; bottom: 0; border-radius: 3px; }}
"""


@dataclass
class Config(browser.Served):
    """The flags of app."""

    run: str = ""
    """The run's folder (default: the week's newest)."""
    tokens: Count = 60
    """How many tokens an answer of its own may have; an answer that is cut off there ends in …"""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there."""


@dataclass(frozen=True)
class Weighed:
    """An answer: how likely it was before DPO and is now (natural logarithms), its reward, and that of each piece of
    it, as (text, reward)."""

    before: float
    after: float
    reward: float
    pieces: tuple[tuple[str, float], ...]


class Assistant:
    """The model of a run, at all three stages; one question at a time."""

    def __init__(self, cfg: Config) -> None:
        self.net, self.device, self.tokens = load(cfg.run), choose(cfg.device), cfg.tokens
        self.policy, self.copy_of = self.net.policy(self.device.name)
        self.base: Any = None  # half a gigabyte: not before it is asked
        self.one_at_a_time = Lock()

    @property
    def beta(self) -> float:
        return self.net.config.beta

    @torch.no_grad()
    def weigh(self, question: str, first: str, second: str) -> tuple[Weighed, Weighed, float]:
        """Two answers to a question, and the margin by which the first one is preferred.

        Raises:
            CourseError: one of the three is empty or too long, or both answers are the same.
        """
        question, first, second = (one.strip() for one in (question, first, second))
        check({"question": question, "first answer": first, "second answer": second})
        if first == second:
            raise CourseError("both answers are the same: there is nothing to prefer.")
        prompt, *answers = chats.tokens_of(Pair((("user", question),), first, second), self.net.tokenizer)
        with self.one_at_a_time:
            each = [self.token_log_probs(prompt, answer) for answer in answers]
        lengths = [torch.tensor([len(answer)]) for answer in answers]
        after, before = (LogProbs(each[0][k].sum()[None], each[1][k].sum()[None], *lengths) for k in (0, 1))
        ours = rewards(after, before, self.beta)
        weighed = [
            Weighed(then.sum().item(), now.sum().item(), reward.item(),
                    pieces(self.net.tokenizer, answer, (self.beta * (now - then)).tolist()))
            for answer, (now, then), reward in zip(answers, each, ours, strict=True)
        ]  # fmt: skip
        return *weighed, margins(*ours).item()

    def token_log_probs(self, prompt: Sequence[int], answer: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """log p of each token of an answer, now and before DPO: (tokens,) twice."""
        ids = torch.tensor([[*prompt, *answer]], device=self.device.name)
        most = getattr(self.policy.config, "max_position_embeddings", 0)
        if most and ids.shape[1] > most:
            raise CourseError(f"question and answer are {ids.shape[1]:,} tokens: the model reads {most:,}.")
        found = []
        with autocast(self.device):
            found.append(token_log_probs(self.policy(input_ids=ids).logits.float(), ids))
            with reference(self.policy, self.copy_of) as asked:
                found.append(token_log_probs(asked(input_ids=ids).logits.float(), ids))
        now, then = (one[0, len(prompt) - 1 :].float().cpu() for one in found)
        return now, then

    def write(self, question: str) -> Iterator[tuple[str, Answer]]:
        """(stage, its answer), one after the other: as published, after SFT, after DPO."""
        check({"question": question.strip()})
        chat = [[{"role": "user", "content": question.strip()}]]
        for stage in STAGES:
            with self.one_at_a_time, autocast(self.device):
                if stage == "base":
                    self.base = self.base or self.net.model("base", self.device.name)
                    (answer,) = write(self.base, self.net.tokenizer, chat, self.tokens)
                elif stage == "sft":
                    with reference(self.policy, self.copy_of) as asked:
                        (answer,) = write(asked, self.net.tokenizer, chat, self.tokens)
                else:
                    (answer,) = write(self.policy, self.net.tokenizer, chat, self.tokens)
            yield stage, answer


def check(texts: dict[str, str]) -> None:
    """CourseError where one of the texts is empty or too long."""
    for name, words in texts.items():
        if not words:
            raise CourseError(f"the {name} is empty.")
        if len(words) > LONGEST:
            raise CourseError(f"the {name} has {len(words):,} characters: {LONGEST:,} are the most.")


def pieces(tokenizer: Any, ids: Sequence[int], gains: Sequence[float]) -> tuple[tuple[str, float], ...]:
    """An answer's tokens as (text, what it gained); tokens that are half a character wait for the other half. The end
    token is the last piece, without a text."""
    found: list[tuple[str, float]] = []
    shown, waiting = "", 0.0
    for place, gain in enumerate(gains, 1):
        whole, waiting = tokenizer.decode(ids[:place], skip_special_tokens=True), waiting + gain
        if whole.endswith("\ufffd") or not whole.startswith(shown):
            continue
        found.append((whole[len(shown) :], waiting))
        shown, waiting = whole, 0.0
    return tuple(found)


# ---------------------------------------------------------------- what is shown


def coloured(one: Weighed, most: float) -> str:
    """An answer as HTML, each piece the bluer the more it gained, and the more orange the more it lost."""
    spans = []
    for words, gain in one.pieces:
        colour = "0, 114, 178" if gain > 0 else "213, 94, 0"
        style = f"background: rgba({colour}, {0.5 * min(1.0, abs(gain) / max(most, 1e-9)):.2f})"
        shown = browser.text(words) or '<span class="note">(end)</span>'
        spans.append(f'<mark style="{style}" title="{gain:+.2f}">{shown}</mark>')
    return f"<p>{''.join(spans)}</p>"


def verdict(first: Weighed, second: Weighed, margin: float) -> str:
    """Two answers side by side, their rewards as bars, and which of them is preferred, and how surely."""
    most = max(abs(gain) for one in (first, second) for _, gain in one.pieces)
    sure = torch.sigmoid(torch.tensor(abs(margin))).item()
    which = f"the {'first' if margin > 0 else 'second'} answer" if margin else "neither answer"
    said = f'<p class="said">It prefers {which}: margin {margin:+.2f}, so it would bet {sure:.0%} on it.</p>'
    scale, bars, each = max(abs(first.reward), abs(second.reward), 1e-9), [], []
    for name, one in (("first", first), ("second", second)):
        wide, colour = 50 * abs(one.reward) / scale, "#0072B2" if one.reward > 0 else "#D55E00"
        left = 50 if one.reward > 0 else 50 - wide
        style = f"left: {left:.1f}%; width: {wide:.1f}%; background: {colour}"
        bars.append(f'<span>{name}</span><div class="track"><div class="bar" style="{style}"></div></div>'
                    f"<span>{one.reward:+.2f}</span>")  # fmt: skip
        note = f"reward {one.reward:+.2f}; log p {one.before:.1f} before DPO, {one.after:.1f} after"
        each.append((f"{name} answer", f'{coloured(one, most)}<p class="note">{note}</p>'))
    return "\n".join([said, f'<div class="bars">{"".join(bars)}</div>', browser.cards(each), LEGEND])


def shown(answers: dict[str, Answer]) -> str:
    """What the stages answer, side by side; … where one is still to come."""
    each = []
    for stage, name in NAMES.items():
        one = answers.get(stage)
        words = "…" if one is None else browser.text(one.text) + ("" if one.stopped else " …")
        each.append((name, f"<p>{words}</p>"))
    return browser.cards(each)


def wrong(error: CourseError) -> str:
    """What is wrong, as HTML."""
    return f'<p class="said">{browser.text(str(error))}</p>'


def build(assistant: Assistant) -> Any:
    """The page, as gradio's Blocks."""
    gr = browser.gradio()
    pairs = data.drawn(data.load("sample").test, PAIRS).items

    def compare(question: str, first: str, second: str) -> str:
        try:
            return verdict(*assistant.weigh(question, first, second))
        except CourseError as error:
            return wrong(error)

    def answer(question: str) -> Iterator[str]:
        answers: dict[str, Answer] = {}
        try:
            check({"question": question.strip()})
            yield shown(answers)
            for stage, one in assistant.write(question):
                answers[stage] = one
                yield shown(answers)
        except CourseError as error:
            yield wrong(error)

    def another(number: int) -> tuple:
        pair = pairs[(number + 1) % len(pairs)]
        return number + 1, pair.prompt, pair.chosen, pair.rejected, "", ""

    with gr.Blocks(title="Polite or rude", analytics_enabled=False) as page:
        number = gr.State(0)
        gr.Markdown("# Polite or rude: what does it prefer?")
        gr.HTML(f'<p class="note">{ABOUT} (β is {assistant.beta:g} here.)</p>', padding=False)
        asked = gr.Textbox(pairs[0].prompt, label="Question", max_lines=4, elem_id="question")
        with gr.Row():
            first = gr.Textbox(pairs[0].chosen, label="First answer", lines=3, max_lines=8, min_width=260,
                               elem_id="first")  # fmt: skip
            second = gr.Textbox(pairs[0].rejected, label="Second answer", lines=3, max_lines=8, min_width=260,
                                elem_id="second")  # fmt: skip
        with gr.Row():
            weigh = gr.Button("Which does it prefer?", variant="primary", elem_id="compare", min_width=150)
            let = gr.Button("Let it answer itself", elem_id="answer", min_width=150)
            more = gr.Button("Another pair", elem_id="another", min_width=150)
        result = gr.HTML("", elem_id="result", padding=False)
        own = gr.HTML("", elem_id="own", padding=False)
        weigh.click(compare, [asked, first, second], result, api_name="ask", show_progress="hidden")
        streams = lambda question: (yield from answer(question))  # noqa: E731 (gradio asks whether it yields)
        let.click(streams, asked, own, api_name="answer", show_progress="hidden")
        given = [number, asked, first, second, result, own]
        more.click(another, number, given, api_visibility="private", show_progress="hidden")
    return page


def main(cfg: Config) -> dict[str, Any]:
    """Serves the page until Ctrl-C.

    Returns where it was.
    """
    return browser.serve(build(Assistant(cfg)), cfg.host, cfg.port, "1mb", STYLE)


if __name__ == "__main__":
    cli.launch(main, Config)
