"""Lightning without its announcements. Imports nothing heavy, for train.py and callbacks.py both need it."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

TALKATIVE = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "torch.multiprocessing")]


def hush() -> None:
    """Turns off Lightning's announcements, and its advice for cases that are not ours."""
    for logger in TALKATIVE:
        logger.setLevel(logging.ERROR)
    warnings.simplefilter("ignore")


@contextmanager
def quiet() -> Iterator[None]:
    """Hushed inside `with`, and as before after it."""
    levels = [logger.level for logger in TALKATIVE]
    with warnings.catch_warnings():
        hush()
        try:
            yield
        finally:
            for logger, level in zip(TALKATIVE, levels, strict=True):
                logger.setLevel(level)
