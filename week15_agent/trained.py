"""A trained agent of this week, as eval.py, chat.py and app.py use it: `net = trained.load()`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared import chat_models, runs
from shared.device import Device, choose
from week15_agent.constrain import Constraint
from week15_agent.questions import agent_tools
from week15_agent.tools import Tools
from week15_agent.train import WEEK_NUMBER, Config, build, constraint_of


@dataclass(frozen=True)
class Trained:
    """The model that was best on val, on the device and in evaluation mode, its tokenizer, and its tools."""

    run: runs.Trained
    model: Any
    tokenizer: Any
    config: Config
    device: Device
    tools: Tools

    @property
    def constraint(self) -> Constraint:
        """What its turns are held to, if they are to be."""
        return constraint_of(self.model, self.tokenizer, tuple(self.tools))

    @contextmanager
    def as_it_was(self) -> Iterator[Any]:
        """Inside `with`, the model before the training: its adapters rest, so that no second copy is needed."""
        with self.model.disable_adapter():
            yield self.model


def load(folder: str | Path = "", finished: bool = False, device: str = "auto") -> Trained:
    """The best adapters of a run (default: the newest), in the published model that they belong to.

    Raises:
        CourseError: there is none, as runs.load says; or the model is not what it was.
    """
    run = runs.load(WEEK_NUMBER, Config, folder, finished)
    where = choose(device)
    tokenizer, model = build(run.config, where)
    run.fill(chat_models.Learned(model), run.saved.get("model", {}))
    return Trained(run, model.eval(), tokenizer, run.config, where, agent_tools(run.config.search))
