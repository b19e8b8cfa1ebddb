"""A trained reader of charts, as ask.py, eval.py and app.py use it: `reader = trained.load()`."""

from pathlib import Path

from shared import runs
from week16_capstone.model import ChartReader, ReaderConfig
from week16_capstone.raster import Reader
from week16_capstone.train import WEEK_NUMBER, Config


def load(folder: str | Path = "", finished: bool = False) -> Reader:
    """The best reader of a run (default: the newest).

    Raises:
        CourseError: there is none, as runs.load says.
    """
    run = runs.load(WEEK_NUMBER, Config, folder, finished)
    return Reader(run.fill(ChartReader(ReaderConfig(run.saved["width"])), run.saved["model"]))
