"""Texts as vectors by onnxruntime: week 11's Embedder to whoever uses it, without torch."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from shared.errors import CourseError
from shared.files import read_json
from week11_rag.embed import Embedder

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime 1.31 counts what it is used for, and sends that home
CARD = "embedder.json"
"""Beside the exported networks: {name, dimension, longest, chosen, files: {variant: file}}."""


class OnnxEmbedder(Embedder):
    """An exported sentence encoder.

    Args:
        folder: the run that exported it, or a copy of its files.
        variant: fp32, int8, …; default: the one that was chosen on val.
        threads: of the processor, for one call.
        batch: texts of a batch.

    Attributes:
        together: how many questions pay to be embedded in one call: one, since a call costs hardly more than its texts.
        name: that of the encoder that was exported: an index made with the one can be searched with the other.
        dimension: numbers of a vector.

    Raises:
        CourseError: there is no such network in that folder.
    """

    together = 1

    def __init__(self, folder: str | Path, variant: str = "", threads: int = 1, batch: int = 32) -> None:
        from tokenizers import Tokenizer

        folder = Path(folder)
        if not (folder / CARD).is_file():
            raise CourseError(f"{folder} has no {CARD}: `./course train 12` exports an embedder.")
        card = read_json(folder / CARD)
        self.variant = variant or card["chosen"]
        if self.variant not in card["files"]:
            raise CourseError(f"{folder} has no variant {self.variant!r}: it has {', '.join(card['files'])}.")
        self.name, self.dimension, self.batch = card["name"], card["dimension"], batch
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(card["longest"])
        self.counter = Tokenizer.from_str(self.tokenizer.to_str())
        self.counter.no_truncation()
        self.session = session(folder / card["files"][self.variant], threads)

    def encode(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts dim"]:
        """A row of unit length for each text, in their order. Texts of about the same length share a batch."""
        rows = [encoded.ids for encoded in self.tokenizer.encode_batch(list(texts))]
        found = np.zeros((len(rows), self.dimension), np.float32)
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        for start in range(0, len(order), self.batch):
            some = order[start : start + self.batch]
            found[some] = self.run([rows[row] for row in some])
        return found

    def run(self, rows: Sequence[Sequence[int]]) -> Float32[np.ndarray, "rows dim"]:
        """The vectors of rows of token numbers, padded to the longest."""
        longest = max(map(len, rows))
        ids, mask = (np.zeros((len(rows), longest), np.int64) for _ in range(2))
        for place, row in enumerate(rows):
            ids[place, : len(row)], mask[place, : len(row)] = row, 1
        return self.session.run(None, {"input_ids": ids, "attention_mask": mask})[0]

    def encode_tokens(self, texts: Sequence[str]) -> Any:
        """Not exported: CourseError."""
        raise CourseError("the exported embedder has no vectors of tokens (--rescore late): take week 11's own.")

    def forget(self) -> None:
        """Nothing: no vectors are kept here."""

    def count(self, text: str) -> int:
        """How many tokens a text has, without the special ones."""
        return len(self.counter.encode(text, add_special_tokens=False).ids)


def session(path: Path, threads: int = 1) -> Any:
    """A network of a file, ready to be run on so many threads of the processor.

    Raises:
        CourseError: the file is not there, or is no network.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    if threads > 1:  # or waiting threads would take the processor from everybody else
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own kinds have no common base
        said = " ".join(str(error).split())[:200]
        raise CourseError(f"{path} is no network that onnxruntime can run ({said}): export it again.") from None
