"""A sentence encoder of torch's as a file that onnxruntime runs: in float32, and in bytes.

What goes in are token numbers and a mask, what comes out are vectors of unit length: pooling and normalising are part
of the exported network, so that whoever runs it cannot do them otherwise.

References
    ONNX (onnx.ai); torch.onnx.export; onnxruntime, "Quantize ONNX models": dynamic quantisation
    O. Zafrir et al., "Q8BERT", arXiv:1910.06188: what of a BERT can be computed in bytes
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from shared.errors import CourseError
from shared.files import written_whole
from week12_deploy.quantise import REDUCED, Grid, there_and_back

Exporter = Literal["dynamo", "script"]
INPUTS, OUTPUT = ("input_ids", "attention_mask"), "vectors"


@dataclass(frozen=True)
class Variant:
    """A way of keeping the network.

    Attributes:
        name: as it is called.
        file: what it is kept in.
        per_channel: each column of a matrix has a scale of its own.
        reduced: weights of 7 bits, so that two products fit into 16 (cpu.py).
        bits: of a weight.
        spares: matrices that seven bits would change too much stay floats.
    """

    name: str
    file: str
    per_channel: bool = False
    reduced: bool = False
    bits: int = 8
    spares: bool = False


FLOAT = Variant("fp32", "model.onnx", bits=32)
INT8 = Variant("int8", "model.int8.onnx", per_channel=True, reduced=True, spares=True)
VARIANTS = (
    FLOAT,
    INT8,
    Variant("int8-full", "model.int8-full.onnx", per_channel=True),
    Variant("int8-tensor", "model.int8-tensor.onnx"),
)
"""What is deployed is one of the first two; the others are there to be looked at: all matrices in bytes, with weights
of all 8 bits, and with one scale for a whole matrix."""
SPARED = 0.02
"""A matrix whose errors in seven bits are longer than this part of it stays as it is, where a variant spares such."""


def encoder(model: Any, pooling: str) -> Any:
    """The network with its pooling: (ids, mask), both (batch, time) -> (batch, dim) of unit length."""
    from torch import Tensor, nn

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            if pooling == "cls":
                pooled = hidden[:, 0]
            else:
                weight = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (batch, time, 1)
                pooled = (hidden * weight).sum(1) / weight.sum(1)
            return nn.functional.normalize(pooled, dim=-1)

    return Encoder().eval()


def to_onnx(embedder: Any, path: Path, exporter: Exporter = "dynamo") -> None:
    """Exports week 11's embedder, for batches and texts of any length.

    Args:
        embedder: a week11_rag.embed.Embedder.
        path: the file.
        exporter: dynamo, which follows what torch computes; script, torch's old one, quicker by far and on its way out.

    Raises:
        CourseError: torch cannot export this network.
    """
    import torch

    network = encoder(embedder.model, embedder.pooling)
    ids = torch.ones(2, 9, dtype=torch.long, device=embedder.device.name)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    batch, time = torch.export.Dim("batch", min=1, max=4096), torch.export.Dim("time", min=2, max=embedder.longest)
    options: dict[str, Any] = {"dynamic_axes": {name: {0: "batch", 1: "time"} for name in INPUTS}, "dynamo": False}
    if exporter == "dynamo":
        shapes = {name: {0: batch, 1: time} for name in INPUTS}
        options = {"dynamic_shapes": shapes, "dynamo": True, "external_data": False, "verbose": False}
    try:
        with plain_attention(embedder.model), silent(), torch.inference_mode(), written_whole(path) as temporary:
            torch.onnx.export(
                network, (ids, mask), str(temporary), input_names=list(INPUTS), output_names=[OUTPUT], **options
            )
            forget_origin(temporary)
    except CourseError:
        raise
    except Exception as error:  # an exporter fails in as many ways as networks are built
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        cure = "try --exporter script, or minilm"
        raise CourseError(f"torch cannot export {embedder.name} ({reason}): {cure}.") from None


def forget_origin(path: Path) -> None:
    """Takes out of an exported file what torch notes about each operation: the stack that led to it, with the names of
    folders on this machine, which are nobody's business where the file goes (a Space is public)."""
    import onnx

    model = onnx.load(path)
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.functions):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)


def to_int8(source: Path, path: Path, variant: Variant) -> None:
    """Keeps the weights of an exported network as bytes. Activations become bytes as it runs (dynamic quantisation)."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with silent(), written_whole(path) as temporary:
        quantize_dynamic(
            source, temporary, per_channel=variant.per_channel, reduce_range=variant.reduced,
            weight_type=QuantType.QInt8, nodes_to_exclude=spared(source) if variant.spares else [],
        )  # fmt: skip


def matrices(path: Path) -> dict[str, tuple[str, Any]]:
    """{name of the product: (name of the matrix, its numbers (rows, columns))} of an exported network, in order."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    weights = {one.name: one for one in graph.initializer}
    used = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    return {node.name: (node.input[1], numpy_helper.to_array(weights[node.input[1]])) for node in used}


def off(weight: Any, grid: Grid, axis: int | None) -> float:
    """How long the errors of a matrix on a grid are, as a part of its own length."""
    back = there_and_back(weight, grid, symmetric=True, axis=axis)
    return float(np.linalg.norm(back - weight) / np.linalg.norm(weight))


def spared(path: Path) -> list[str]:
    """The products whose matrices are to stay floats: those with single large weights, which make a grid coarse."""
    return [name for name, (_, weight) in matrices(path).items() if off(weight, REDUCED, 1) > SPARED]


def tokenizer_of(embedder: Any, path: Path) -> None:
    """Keeps the tokenizer beside the network."""
    with written_whole(path) as temporary:
        embedder.tokenizer.save(str(temporary))


@contextmanager
def plain_attention(model: Any) -> Iterator[None]:
    """Attention as the textbook has it: what fast kernels do besides (they look for NaN) would be exported, too."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def silent() -> Iterator[None]:
    """What exporters and quantisers tell about themselves is not for the reader."""
    level, nowhere = logging.root.level, io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        warnings.simplefilter("ignore")
        logging.root.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logging.root.setLevel(level)
