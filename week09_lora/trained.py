"""A tuned model of this week, as eval.py and chat.py use it: `net = trained.load()`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared import chat_models, runs
from shared.conversation import end_of_turn
from shared.device import Device, choose
from shared.splits import Part
from week09_lora.model import without_adapters
from week09_lora.tokens import Encoded, encode
from week09_lora.train import WEEK_NUMBER, Config, build


@dataclass(frozen=True)
class Tuned:
    """The model that was best on val, on the device and in evaluation mode, and its tokenizer."""

    run: runs.Trained
    model: Any
    tokenizer: Any
    config: Config
    device: Device
    end: int

    def encode(self, part: Part) -> Encoded:
        """A part as tokens, as in training."""
        return encode(part, self.tokenizer, self.config.max_len, self.config.long)

    @contextmanager
    def as_it_was(self) -> Iterator[Any]:
        """Inside `with`, the model before the tuning: its adapters rest, so that no second copy is needed."""
        if not self.config.rank:
            yield chat_models.load_model(self.config.model, "none", self.device.name)
        elif self.config.impl == "peft":
            with self.model.disable_adapter():
                yield self.model
        else:
            with without_adapters(self.model):
                yield self.model


def load(folder: str | Path = "", finished: bool = False, device: str = "auto") -> Tuned:
    """The best adapters of a run (default: the newest), in the published model that they belong to.

    Raises:
        CourseError: there is none, as runs.load says; or the model is not what it was.
    """
    run = runs.load(WEEK_NUMBER, Config, folder, finished)
    where = choose(device)
    tokenizer, model = build(run.config, where)
    run.fill(chat_models.Learned(model), run.saved.get("model", {}))
    return Tuned(run, model.eval(), tokenizer, run.config, where, end_of_turn(tokenizer))
