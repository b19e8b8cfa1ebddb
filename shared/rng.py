"""The state of every random generator, to be saved with a checkpoint so that a resumed run draws the same numbers."""

import random
import sys
from typing import Any

import numpy as np


def rng_state() -> dict[str, Any]:
    """Python's, NumPy's and (where it is imported) torch's generator states, ready for `shared.checkpoint.save`."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 (libraries draw from it)
    state: dict[str, Any] = {"python": random.getstate(), "numpy": (kind, keys, position, has_gauss, gauss)}
    if torch := sys.modules.get("torch"):
        state["torch"] = torch.get_rng_state()
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Puts back what `rng_state` returned."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.asarray(keys), *rest))  # noqa: NPY002
    if torch := sys.modules.get("torch"):
        if "torch" in state:
            torch.set_rng_state(torch.as_tensor(state["torch"]))
        if "cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state_all([torch.as_tensor(one) for one in state["cuda"]])
