"""What chat.py and app.py have in common: which model thinks, with which tools, and what is remembered."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from shared.config import Count, Natural, Positive
from shared.errors import CourseError
from week15_agent.loop import Limits
from week15_agent.minds import Local, Mind, Service
from week15_agent.protocol import FORMATS
from week15_agent.tools import Tools

Searches = Literal["snapshot", "wikipedia", "brave", "tavily"]


@dataclass
class Which:
    """Flags that chat and app share."""

    run: str = ""
    """The run whose trained model thinks (default: the week's newest)."""
    model: str = ""
    """Another model instead, untrained for this: smollm2, a folder, or a name of the hub."""
    endpoint: str = ""
    """Or a service that speaks as OpenAI's does, as http://localhost:11434/v1#llama3.2. Its key: COURSE_LM_KEY."""
    protocol: Literal["react", "native"] = "react"
    """How --model or --endpoint are to write their calls: ReAct as text, or function calling of their own."""
    search: Searches = "snapshot"
    """What is searched: the facts that come with the course (offline), or the web, by one of three services."""
    steps: Count = 8
    """How many turns the model has for a question."""
    seconds: Positive = 120.0
    """After so many seconds no new turn begins."""
    remember: Natural = 0
    """So many questions before, with their answers, are shown to the model. The small model that is trained here knows
    single questions only; a larger one makes use of 3."""
    memory: str = ""
    """A file (SQLite) in which conversations are kept by --thread, over restarts as well."""
    thread: str = ""
    """The name of the conversation to go on with, or to begin; wants --memory."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there."""


def thinking(cfg: Which) -> Mind:
    """The model that the flags name.

    Raises:
        CourseError: there is no such model, run or service; or two are named.
    """
    named = [f"--{name}" for name in ("run", "model", "endpoint") if getattr(cfg, name)]
    if len(named) > 1:
        raise CourseError(f"{' and '.join(named)}: name one of them.")
    form = FORMATS[cfg.protocol]
    if cfg.endpoint:
        return Service(cfg.endpoint, form)
    if cfg.model:
        from shared import chat_models
        from shared.device import choose

        device = choose(cfg.device)
        tokenizer, model = chat_models.load(cfg.model, device=device.name, dtype=device.dtype)
        return Local(tokenizer, model, form, cfg.model, brief=False, most=256)
    from week15_agent import train, trained

    net = trained.load(cfg.run, device=cfg.device)
    return Local(net.tokenizer, net.model, train.FORM, str(net.run.folder), constraint=net.constraint)


def with_tools(cfg: Which) -> Tools:
    """The calculator, and the search that the flags name."""
    from week15_agent.questions import agent_tools

    tools = dict(agent_tools())
    if cfg.search != "snapshot":
        from week15_agent import providers

        tools["search"] = providers.tool(cfg.search)
    return tools


@contextlib.contextmanager
def opened(cfg: Which) -> Iterator[Any]:
    """The agent, as a graph (week15_agent/graph.py), with what it remembers.

    Raises:
        CourseError: as `thinking`; or the memory cannot be read.
    """
    from week15_agent import memory
    from week15_agent.graph import Agent

    if cfg.thread and not cfg.memory:
        raise CourseError(f"--thread {cfg.thread}: where is it kept? Give --memory FILE as well.")
    with memory.saved(cfg.memory or ":memory:") as checkpointer:
        tools = with_tools(cfg)
        mind = thinking(cfg)
        today = None if mind.brief else date.today()
        yield Agent(mind, tools, checkpointer, Limits(cfg.steps, cfg.seconds), today, cfg.remember)
