"""A trained run of this week, as eval.py, chat.py and sweep.py use it: `net = trained.load()`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from shared import chat_models, runs
from shared.errors import CourseError
from week10_dpo.model import frozen
from week10_dpo.train import WEEK_NUMBER, Config, policy_of, with_learned

Stage = Literal["base", "sft", "dpo"]
STAGES: tuple[Stage, ...] = ("base", "sft", "dpo")


@dataclass(frozen=True)
class Trained:
    """What a run has learned, and the tokenizer of the model that it began with."""

    run: runs.Trained
    tokenizer: Any
    config: Config

    def model(self, stage: Stage, device: str = "cpu") -> Any:
        """The model as it was published (base), after SFT, or after DPO: a plain model of its own, to write with."""
        model = chat_models.load_model(self.config.model, device=device)
        for name in STAGES[1 : STAGES.index(stage) + 1]:
            model = self.added(model, name)
        return model.eval()

    def added(self, model: Any, stage: str) -> Any:
        try:
            return with_learned(self.config, model, self.run.saved[stage])
        except RuntimeError:
            raise self.another() from None

    def policy(self, device: str = "cpu") -> tuple[Any, Any]:
        """The model after DPO, and what model.reference is to be given beside it: its adapters can be switched off, or
        there is a copy of what it was."""
        model = self.model("sft", device)
        copy_of = None if self.config.lora else frozen(model)
        model = policy_of(self.config, model)
        try:
            chat_models.Learned(model).load_state_dict(self.run.saved["dpo"])
        except RuntimeError:
            raise self.another() from None
        return model.eval(), copy_of

    def another(self) -> CourseError:
        return CourseError(
            f"{self.run.folder / runs.MODEL} was trained on another model than {self.config.model} is now. Give it "
            "back as it was, or train again."
        )


def load(folder: str | Path = "", finished: bool = False) -> Trained:
    """A run (default: the newest).

    Raises:
        CourseError: there is none, as runs.load says; or its model is not there any more.
    """
    run = runs.load(WEEK_NUMBER, Config, folder, finished)
    if not {"sft", "dpo"} <= run.saved.keys():
        raise CourseError(f"{run.folder / runs.MODEL} holds no aligned model: `./course train 10` makes one.")
    return Trained(run, chat_models.load_tokenizer(run.config.model), run.config)
