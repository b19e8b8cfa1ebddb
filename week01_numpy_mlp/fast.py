"""The same network with the same numbers, written so that a step allocates nothing: out= throughout.

model.py asks NumPy for a new array at every operation. That is the way to write it first. But memory has a price: a
fresh array is not in the processor's cache, and each pass over a large one costs as much as the arithmetic. Here every
layer keeps its arrays and writes into them again. The tests hold both versions to the same results; bench.py shows what
it brings. Read model.py before this file.
"""

import numpy as np

from week01_numpy_mlp import model
from week01_numpy_mlp.model import MLP, Inputs, Labels, Linear, Matrix, Outputs, ReLU, Scores, SoftmaxCrossEntropy


def _like(buffer: np.ndarray | None, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The buffer itself when it fits, else a new one (at the first batch, or when the batch size changes)."""
    if buffer is None or buffer.shape != shape or buffer.dtype != dtype:
        return np.empty(shape, dtype=dtype)
    return buffer


class FastLinear(Linear):
    """Linear with its products written where they belong: z and dx into kept buffers, dW into the gradient vector."""

    z = dx = None

    def forward(self, x: Inputs, train: bool = False) -> Outputs:
        self.x = x
        self.z = _like(self.z, (len(x), self.fan_out), x.dtype)
        np.matmul(x, self.W, out=self.z)
        self.z += self.b
        return self.z

    def gradients(self, dz: Outputs) -> None:
        np.add.reduce(dz, axis=0, out=self.db)
        np.matmul(self.x.T, dz, out=self.dW)

    def backward(self, dz: Outputs) -> Inputs:
        self.gradients(dz)
        self.dx = _like(self.dx, self.x.shape, dz.dtype)
        return np.matmul(dz, self.W.T, out=self.dx)


class FastReLU(ReLU):
    """ReLU in place: the layer below needs its z no more, and the gradient from above is ours to change."""

    on = None

    def forward(self, x: Matrix, train: bool = False) -> Matrix:
        self.a = np.maximum(x, 0, out=x)
        return self.a

    def backward(self, da: Matrix) -> Matrix:
        self.on = _like(self.on, da.shape, np.dtype(bool))
        np.greater(self.a, 0, out=self.on)
        return np.multiply(da, self.on, out=da)


class FastSoftmaxCrossEntropy(SoftmaxCrossEntropy):
    """Softmax in the logits' own memory; its p becomes the gradient."""

    def forward(self, logits: Scores, labels: Labels) -> float:
        self.labels, self.rows = labels, np.arange(len(labels))
        logits -= logits.max(axis=1, keepdims=True)
        right = logits[self.rows, labels]
        self.p = np.exp(logits, out=logits)
        total = self.p.sum(axis=1, keepdims=True)
        self.p /= total
        return float((np.log(total).sum() - right.sum()) / len(labels))

    def backward(self) -> Scores:
        self.p[self.rows, self.labels] -= 1
        self.p *= 1 / len(self.labels)
        return self.p


class FastMLP(MLP):
    """An MLP of these layers. Dropout, sigmoid, tanh and the squared error stay the plain ones."""

    linear = FastLinear
    activations = model.ACTIVATIONS | {"relu": FastReLU}
    losses = model.LOSSES | {"cross_entropy": FastSoftmaxCrossEntropy}
