"""The sixteen weeks: which folders there are to be, and what each week says of itself. Standard library only."""

import importlib
from dataclasses import dataclass

from shared.files import ROOT

FOLDERS = (
    "week01_numpy_mlp", "week02_cnn", "week03_lstm", "week04_lightning",
    "week05_attention", "week06_transformer", "week07_bert", "week08_gpt",
    "week09_lora", "week10_dpo", "week11_rag", "week12_deploy",
    "week13_vit", "week14_clip", "week15_agent", "week16_capstone",
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A result to reach: `metric` of result.json on the data set `data`. `higher_is_better` says which way."""

    data: str
    metric: str
    value: float
    higher_is_better: bool = True

    def reached(self, measured: float) -> bool:
        return measured >= self.value if self.higher_is_better else measured <= self.value


@dataclass(frozen=True)
class Week:
    """What a week's `__init__.py` says of it; the README's table and `course list` are made from this.

    Attributes:
        number: 1 to 16.
        title: the name of the lesson.
        lesson: what one builds and learns, in a few words.
        time: how long `./course train N` takes, on which hardware.
        result: what came out, beside its baseline, as measured by the code.
        picture: the picture to look at first, relative to the week's folder.
        targets: what `course list` holds the runs made here against.
        models: the published networks (shared/models.py) that it trains on or is tested with.
        mine: the flags with which `./course train N --mine` computes with all of a learner's code; as a rule none.
    """

    number: int
    title: str
    lesson: str
    time: str
    result: str
    picture: str
    targets: tuple[Target, ...]
    models: tuple[str, ...] = ()
    mine: str = ""


def folder(number: int) -> str:
    """The package name of week `number`, as `week01_numpy_mlp`, whether or not it is there yet."""
    return FOLDERS[number - 1]


def is_there(number: int) -> bool:
    return (ROOT / folder(number) / "__init__.py").is_file()


def week(number: int) -> Week | None:
    """What week `number` says of itself, or None when it has not been written yet."""
    return importlib.import_module(folder(number)).WEEK if is_there(number) else None
