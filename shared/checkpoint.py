"""Checkpoints in one file: safetensors for the numbers, JSON in its header for the rest. Nothing is ever pickled.

A state is any nesting of dicts, lists and tuples with NumPy arrays or torch tensors, numbers, strings, booleans and
None as leaves: a model's and an optimiser's `state_dict()`, a generator's state and a step counter fit as they are.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import CourseError
from shared.files import written_whole


def _is_torch(value: Any) -> bool:
    torch = sys.modules.get("torch")  # a tensor can only exist where torch has been imported
    return torch is not None and isinstance(value, torch.Tensor)


def _split(value: Any, place: str, tensors: dict[str, Any]) -> Any:
    """Moves the tensors of a nested state into `tensors` and returns the JSON that remembers where they belong."""
    if isinstance(value, np.ndarray) or _is_torch(value):
        while place in tensors or place == "__metadata__":  # {"a": {"b": …}, "a.b": …}, or the format's own name
            place += "_"
        tensors[place] = value
        return {"tensor" if _is_torch(value) else "array": place}
    if isinstance(value, Mapping):  # as pairs: JSON would turn an optimiser's integer keys into strings
        for key in value:
            if not isinstance(key, str | int | float | None):
                raise TypeError(f"{place}: a checkpoint's keys are strings and numbers, not {type(key).__name__}")
        inside = f"{place}." if place else ""
        return {"dict": [[key, _split(item, f"{inside}{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_split(item, f"{place}.{i}" if place else str(i), tensors) for i, item in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{place}: a checkpoint holds arrays, numbers, strings and None, not {type(value).__name__}")


def _join(value: Any, tensors: Mapping[str, Any]) -> Any:
    """The state that `_split` took apart."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "array":  # in a file with torch tensors it is one of them
        return np.asarray(tensors[content])
    if kind == "dict":
        return {key: _join(item, tensors) for key, item in content}
    items = [_join(item, tensors) for item in content]
    return items if kind == "list" else tuple(items)


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a state to `path`, whole or not at all: interrupted half-way, the checkpoint before it is still there.

    Raises:
        CourseError: the disk is full or the folder may not be written to.
        TypeError: the state holds something else than the leaves above.
    """
    from safetensors import SafetensorError

    tensors: dict[str, Any] = {}
    header = {"state": json.dumps(_split(state, "", tensors))}
    if any(_is_torch(tensor) for tensor in tensors.values()):
        import torch
        from safetensors.torch import save_file

        header["framework"] = "pt"
        tensors = {
            name: tensor.detach().cpu().contiguous().clone() if _is_torch(tensor) else torch.tensor(tensor.copy())
            for name, tensor in tensors.items()
        }
    else:
        from safetensors.numpy import save_file

        tensors = {name: np.ascontiguousarray(tensor).reshape(tensor.shape) for name, tensor in tensors.items()}
    with written_whole(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=header)
        except SafetensorError as error:
            _, full_disk, reason = str(error).partition("I/O error: ")
            if full_disk:  # so that written_whole tells of it as of any other file
                raise OSError(reason) from error
            raise


def load(path: Path, framework: str = "") -> dict[str, Any]:
    """Reads the state that `save` wrote; its tensors come as they were, as NumPy arrays or torch tensors on the CPU.

    Args:
        path: the file.
        framework: "numpy", to read a file of torch without torch.

    Raises:
        CourseError: the file is missing, cut short, not one of ours, or of torch, where there is none.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework=framework or "numpy") as file:
            header = (file.metadata() or {})["state"]
            if not framework and file.metadata().get("framework") == "pt":
                return load(path, "pt")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            arrays = [one for one in tensors.values() if isinstance(one, np.ndarray)]
            if not all(one.dtype.isbuiltin == 1 for one in arrays):  # bfloat16, where ml_dtypes has been imported
                raise TypeError("a number format that NumPy has not")
            return _join(json.loads(header), tensors)
    except FileNotFoundError:
        raise CourseError(f"no checkpoint at {path}. Train first, or give the folder of a finished run.") from None
    except (SafetensorError, KeyError, TypeError, ValueError, OSError, ImportError) as error:
        raise CourseError(
            f"{path} is not a whole checkpoint of this course ({error}). Train again, or use another run."
        ) from None


def restore(part: Any, state: Any) -> None:
    """Gives a model, an optimiser or the like its state again.

    What an optimiser keeps of each weight is put into the weight's own order in memory (channels_last, say): a file
    holds plain order, and a fused optimiser walks through both without looking.
    """
    part.load_state_dict(state)
    for weight, kept in getattr(part, "state", {}).items():
        for name, value in kept.items():
            if getattr(value, "shape", None) == weight.shape and value.stride() != weight.stride():
                kept[name] = weight.detach().to(value.dtype).clone().copy_(value)
