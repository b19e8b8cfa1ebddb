"""Talks to a model, token by token as they come: tuned, as it was, or both side by side.

./course run 9 chat "List the things: a cup, a rope and a map." --compare
./course run 9 chat                                    # a conversation; an empty line ends it, /new begins a new one
./course run 9 chat --adapter FOLDER --model OWNER/NAME    # anybody's LoRA adapter, in peft's files
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week09_lora/chat.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
import tyro
from annotated_types import Gt, Le

from shared import chat_models, cli
from shared.config import Count, NonNegative, Seed
from shared.conversation import Answer, end_of_turn, ids_of, render
from shared.device import Device, autocast, choose
from shared.errors import CourseError
from shared.seed import seed_everything
from shared.terminal import printable
from week09_lora import trained
from week09_lora.data import Message
from week09_lora.model import load_adapter, without_adapters


@dataclass
class Config:
    """The flags of chat."""

    prompt: tyro.conf.Positional[str] = ""
    """What to say. Without it: a conversation."""
    run: str = ""
    """The run's folder (default: the week's newest)."""
    adapter: str = ""
    """In the place of a run: a folder with an adapter in peft's files."""
    model: str = "smollm2"
    """What --adapter belongs to."""
    compare: bool = False
    """The untuned model answers first, and the tuned one after it."""
    base: bool = False
    """The untuned model alone, of --model; no run is needed."""
    system: str = ""
    """What the model is told before all else; the template's own line where it is empty."""
    tokens: Count = 256
    """How many tokens an answer may have."""
    temperature: NonNegative = 0.0
    """0 always takes the likeliest token; above, it draws, and larger numbers draw unlikely ones more often."""
    top_p: Annotated[float, Gt(0), Le(1)] = 0.9
    """Where it draws: of the fewest tokens that together reach this probability."""
    seed: Seed = 0
    """What the drawing follows from."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""


@dataclass(frozen=True)
class Speaker:
    """A model that answers, under the name that is shown; `ready` is to be entered before it speaks."""

    name: str
    model: Any
    ready: Callable[[], AbstractContextManager[Any]]


class Streamer:
    """Prints tokens as they come, as far as they are whole characters."""

    def __init__(self, tokenizer: Any, say: Callable[[str], Any]) -> None:
        self.tokenizer, self.say = tokenizer, say
        self.ids: list[int] = []
        self.shown, self.prompt = "", True

    def put(self, ids: Any) -> None:
        """transformers calls it: with the whole prompt first, then with every token."""
        if self.prompt:
            self.prompt = False
            return
        self.ids += ids.flatten().tolist()
        text = printable(self.tokenizer.decode(self.ids, skip_special_tokens=True), breaks=True)
        if not text.endswith("\ufffd") and text.startswith(self.shown):  # else half a character: wait for the rest
            self.say(text[len(self.shown) :])
            self.shown = text

    def end(self) -> None:
        """transformers calls it when the answer is over."""


@torch.no_grad()
def speak(
    cfg: Config, who: Speaker, tokenizer: Any, chat: Sequence[Message], end: int, device: Device,
    say: Callable[[str], Any],
) -> Answer:  # fmt: skip
    """Streams an answer through `say`, and returns it."""
    ids = torch.tensor([ids_of(tokenizer, render(tokenizer, chat, answer=True))], device=who.model.device)
    most = getattr(who.model.config, "max_position_embeddings", 0)
    if most and ids.shape[1] >= most:
        raise CourseError(f"a conversation of {ids.shape[1]:,} tokens: the model reads {most:,}. Begin a new one.")
    seed_everything(cfg.seed)
    draws = {"temperature": cfg.temperature, "top_p": cfg.top_p} if cfg.temperature else dict.fromkeys(
        ("temperature", "top_p"))  # fmt: skip
    streamer = Streamer(tokenizer, say)
    with who.ready(), autocast(device):
        who.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=cfg.tokens,
            do_sample=cfg.temperature > 0, top_k=None, eos_token_id=end, pad_token_id=end, streamer=streamer, **draws,
        )  # fmt: skip
    return Answer(streamer.shown.strip(), tuple(streamer.ids), end in streamer.ids)


def speakers(cfg: Config) -> tuple[list[Speaker], Any, Device]:
    """Who answers, in their order, their tokenizer, and the device.

    Raises:
        CourseError: flags that exclude each other; no such run, model or adapter.
    """
    if cfg.base and (cfg.compare or cfg.run or cfg.adapter):
        raise CourseError("--base is the untuned model alone: leave --compare, --run and --adapter out.")
    if cfg.run and cfg.adapter:
        raise CourseError("--run or --adapter, not both.")
    if cfg.base or cfg.adapter:
        device = choose(cfg.device)
        tokenizer, model = chat_models.load(cfg.model, "none", device.name, device.dtype)
        if cfg.base:
            return [Speaker(cfg.model, model, nullcontext)], tokenizer, device
        load_adapter(model, Path(cfg.adapter).expanduser())
        before: Callable[[], Any] = lambda: without_adapters(model)  # noqa: E731
    else:
        net = trained.load(cfg.run, device=cfg.device)
        tokenizer, model, device = net.tokenizer, net.model, net.device
        if not net.config.rank and cfg.compare:
            untuned = chat_models.load_model(net.config.model, "none", device.name)
            return [Speaker("untuned", untuned, nullcontext), Speaker("tuned", model, nullcontext)], tokenizer, device
        before = net.as_it_was
    tuned = Speaker("tuned", model, nullcontext)
    return [Speaker("untuned", model, before), tuned] if cfg.compare else [tuned], tokenizer, device


def main(cfg: Config) -> list[str]:
    """Answers a prompt, or talks with you; with --compare both the untuned and the tuned model do.

    Returns what was answered last.
    """
    who, tokenizer, device = speakers(cfg)
    end = end_of_turn(tokenizer)
    begin: list[Message] = [{"role": "system", "content": cfg.system}] if cfg.system else []
    said = {one.name: list(begin) for one in who}
    answers: list[str] = []
    if not cfg.prompt:
        print("An empty line ends it, /new begins a new conversation.")
    while True:
        text = cfg.prompt or listen("> ").strip()
        if not text:
            return answers
        if text == "/new":
            said = {one.name: list(begin) for one in who}
            continue
        answers = []
        for one in who:
            said[one.name].append({"role": "user", "content": text})
            if len(who) > 1:
                print(f"[{one.name}]")
            answer = speak(cfg, one, tokenizer, said[one.name], end, device, lambda t: print(t, end="", flush=True))
            print()
            said[one.name].append({"role": "assistant", "content": answer.text})
            answers.append(answer.text)
        if cfg.prompt:
            return answers


def listen(prompt: str) -> str:
    """What is typed; nothing at the end of the input."""
    try:
        return input(prompt)
    except EOFError:
        return ""


if __name__ == "__main__":
    cli.launch(main, Config)
