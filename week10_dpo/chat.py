"""Talks with an aligned model, or lets several stages of it answer: `./course run 10 chat --compare base sft dpo`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week10_dpo/chat.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

from shared import cli
from shared.config import Count, NonNegative, Seed
from shared.conversation import write
from week10_dpo.trained import STAGES, Stage, load


@dataclass
class Config:
    """The flags of chat."""

    text: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """What to ask; several are asked one after the other, each anew. Without: it asks you, until an empty line."""
    run: str = ""
    """The run's folder (default: the week's newest)."""
    compare: tuple[Stage, ...] = field(default=("dpo",))
    """Which stages answer: base, sft, dpo. Each of them needs the memory of a model."""
    tokens: Count = 80
    """How many tokens an answer may have."""
    temperature: NonNegative = 0.0
    """0: the likeliest token each time; 1: drawn as likely as they are."""
    seed: Seed = 0
    """What the drawing follows from."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there."""


def main(cfg: Config) -> list[dict[str, str]]:
    """Lets a model answer, before and after it was aligned.

    Returns {stage: answer} of each question.
    """
    from shared.device import choose

    net, device = load(cfg.run), choose(cfg.device)
    stages = [stage for stage in STAGES if stage in cfg.compare] or ["dpo"]
    models = {stage: net.model(stage, device.name) for stage in stages}
    found, past = [], {stage: [] for stage in stages}
    for question in cfg.text or asked():
        if cfg.text:
            past = {stage: [] for stage in stages}
            print(f"\n> {question}")
        row = {}
        for stage, model in models.items():
            past[stage].append({"role": "user", "content": question})
            (answer,) = write(model, net.tokenizer, [past[stage]], cfg.tokens, cfg.temperature, cfg.seed)
            past[stage].append({"role": "assistant", "content": answer.text})
            row[stage] = answer.text
            print(f"{stage + ': ' if len(stages) > 1 else ''}{answer.text}{'' if answer.stopped else ' …'}")
        found.append(row)
    return found


def asked() -> Any:
    """What is typed, line by line, up to an empty one."""
    while True:
        try:
            line = input("\nyou: ").strip()
        except EOFError:
            return
        if not line:
            return
        yield line


if __name__ == "__main__":
    cli.launch(main, Config)
