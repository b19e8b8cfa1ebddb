"""One seed for everything random."""

import random
import sys

import numpy as np


def seed_everything(seed: int) -> np.random.Generator:
    """Seeds Python, NumPy and (where it is already imported) torch, and returns a NumPy generator of the same seed."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (libraries below us still draw from the old global state)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)
    return np.random.default_rng(seed)
