"""Texts as vectors: a published sentence encoder, mean pooling, unit length."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32


class Embedder:
    """A sentence encoder.

    Attributes:
        name: as it was given, `minilm`, a hub's name; of a folder its path.
        dimension: numbers of a vector.
    """

    name: str
    dimension: int

    def __init__(self, model: str | Path = "minilm", device: str = "cpu", batch: int = 32) -> None:
        raise NotImplementedError

    def encode(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts dim"]:
        """A row of unit length for each text, in their order. Texts of about the same length share a batch."""
        raise NotImplementedError

    def count(self, text: str) -> int:
        """How many tokens a text has, without the special ones."""
        raise NotImplementedError
